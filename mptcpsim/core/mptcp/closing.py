"""How an MPTCP connection ends: DATA_FIN, the FINs of its subflows, MP_FASTCLOSE, no subflow left.

RFC 8684 sections 3.3.3 and 3.5, appendix D; RFC 6824 the same, without MP_FASTCLOSE on a RST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp import fallback
from mptcpsim.core.mptcp.data_states import (
    DATA_FIN_ACKED,
    DATA_FIN_ARRIVED,
    DATA_FIN_SENT,
    FASTCLOSE_SENT,
    M_CLOSED,
    M_CLOSING,
    M_FASTCLOSE_WAIT,
    M_FIN_WAIT_2,
    M_LAST_ACK,
    M_TIME_WAIT,
    SUBFLOWS_CLOSED,
)
from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp_options import (
    REASON_TOO_MUCH_OUTSTANDING,
    VERSION_0,
    MpFastclose,
)
from mptcpsim.core.tcp.states import CLOSED
from mptcpsim.units import NEVER

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.mptcp.subflow import Subflow

#: RFC 8684 section 3.5: retransmissions of an MP_FASTCLOSE, as recommended.
_FASTCLOSE_RETRIES: Final = 3


def on_data_fin_sent(connection: MptcpConnection) -> None:
    """Our DATA_FIN has left."""
    connection.move(DATA_FIN_SENT)


def on_data_fin_acked(connection: MptcpConnection, heard: Subflow, now: int) -> None:
    """Our DATA_FIN was acknowledged on a subflow: all data has arrived, and the subflows may go."""
    if connection.state in (M_CLOSED, M_TIME_WAIT, M_FASTCLOSE_WAIT):
        return
    both = connection.state in (M_CLOSING, M_LAST_ACK)
    connection.move(DATA_FIN_ACKED)
    _close_subflows(connection, both, heard, now)
    check(connection, now)
    connection.settle()


def on_data_fin(connection: MptcpConnection, heard: Subflow, now: int) -> None:
    """The DATA_FIN of the peer has arrived, and all data before it, the last of it on a subflow."""
    if connection.state == M_FASTCLOSE_WAIT:
        return
    connection.move(DATA_FIN_ARRIVED)
    if connection.state == M_TIME_WAIT:
        # Subflows may have joined since our own DATA_FIN was acknowledged.
        _close_subflows(connection, True, heard, now)
    connection.settle()
    check(connection, now)


def _close_subflows(connection: MptcpConnection, both: bool, heard: Subflow, now: int) -> None:
    """Close all subflows: with a FIN as far as that makes sense (section 3.3.3).

    Args:
        connection: whose DATA_FIN was acknowledged.
        both: so was the peer's.
        heard: the subflow on which the peer said so, which works.
        now: the time, ns.
    """
    for subflow in list(connection.extensions):
        tcp = subflow.tcp
        if tcp.state == CLOSED:
            continue
        if subflow.stage != READY:
            tcp.abort(now, "the connection is closing")
        elif both and subflow.failing and subflow is not heard:
            # Its data has arrived on another subflow; repeating it would keep the connection open.
            connection.reset_subflow(subflow, REASON_TOO_MUCH_OUTSTANDING, "stale data at the end", now)
        else:
            tcp.close(now)
            tcp.wait_for_fin(now)


def check(connection: MptcpConnection, now: int) -> None:
    """Look whether the connection has ended, or has no subflow left (section 3.3.3)."""
    if any(tcp.state != CLOSED for tcp in connection.subflows):
        return
    if connection.state == M_TIME_WAIT:
        connection.move(SUBFLOWS_CLOSED)
    if connection.state == M_CLOSED:
        finish(connection, connection.error, now)
    elif connection.state == M_FASTCLOSE_WAIT:
        finish(connection, connection.error or "aborted", now)
    elif connection.state == M_FIN_WAIT_2 and connection.orphaned:
        # All of ours has arrived, and nobody would read what a new subflow brings.
        finish(connection, connection.error, now)
    elif connection.abandoned_at == NEVER:
        # Break before make: a new subflow may still join.
        connection.note("no subflow left", "")
        connection.abandoned_at = now + connection.config.mptcp.close_timeout
        connection.wake_by(connection.abandoned_at)


def give_up(connection: MptcpConnection, now: int) -> None:
    """No new subflow has come in time."""
    why = ""
    for tcp in connection.subflows:
        why = tcp.error or why
    error = f"timed out: no subflow is left ({why})" if why else "timed out: no subflow is left"
    finish(connection, error, now)
    for tcp in list(connection.subflows):
        # One may be on its way to be opened: too late.
        if tcp.state != CLOSED:
            tcp.abort(now, error)


def finish(connection: MptcpConnection, error: str, now: int) -> None:
    """The connection is over."""
    if connection.ended:
        return
    connection.ended = True
    connection.state = M_CLOSED
    if error:
        connection.error = error
    connection.note("CLOSED", error)
    connection.uncount_established()
    connection.local_release()
    connection.settle()


# --- MP_FASTCLOSE -----------------------------------------------------------------------------------


def fast_close(connection: MptcpConnection, now: int) -> None:
    """Abort (section 3.5): variant R resets all subflows, variant A asks on one of them."""
    if connection.ended:
        return
    alive = connection.alive()
    by_reset = connection.config.mptcp.fastclose == "rst" and connection.agreed.version != VERSION_0
    if connection.state in (M_CLOSED, M_TIME_WAIT, M_FASTCLOSE_WAIT) or not alive or by_reset:
        connection.error = connection.error or "aborted"
        _reset_all(connection, True, "aborted", now)
        finish(connection, "aborted", now)
        return
    chosen = next((subflow for subflow in alive if not subflow.failing), alive[0])
    connection.error = "aborted"
    connection.move(FASTCLOSE_SENT)
    connection.outbound.stop()
    for tcp in list(connection.subflows):
        if tcp is not chosen.tcp:
            tcp.abort(now)
    _ask(chosen, now)
    connection.arm_fastclose(now + chosen.tcp.sender.rtt.timeout())
    connection.settle()


def repeat_fast_close(connection: MptcpConnection, now: int) -> None:
    """MP_FASTCLOSE was not answered with a RST: again, and at last with a RST of our own."""
    for subflow in list(connection.extensions):
        tcp = subflow.tcp
        if tcp.state == CLOSED:
            continue
        timeout = tcp.sender.rtt.timeout()
        if connection.arm_fastclose(now + timeout) <= 1 + _FASTCLOSE_RETRIES:
            _ask(subflow, now)
            return
        _reset_all(connection, True, "aborted", now)
    finish(connection, "aborted", now)


def on_fastclose(connection: MptcpConnection, option: MpFastclose, now: int) -> None:
    """Variant A: with the right key, reset this subflow and all others."""
    if option.receiver_key != connection.agreed.local_key.value:
        return
    connection.count("MPTcpExtMPFastcloseRx")
    # A peer that closes in the same instant gets our RST, which is what it waits for.
    error = "connection reset by peer (MP_FASTCLOSE)" if connection.state != M_FASTCLOSE_WAIT else "aborted"
    connection.error = error
    _reset_all(connection, False, error, now)
    finish(connection, error, now)


def on_fastclose_reset(connection: MptcpConnection, option: MpFastclose, subflow: Subflow, now: int) -> None:
    """Variant R: the subflow is gone already; reset the others."""
    if option.receiver_key != connection.agreed.local_key.value:
        return
    connection.count("MPTcpExtMPFastcloseRx")
    error = "connection reset by peer (MP_FASTCLOSE)"
    connection.error = error
    connection.state = M_CLOSED
    for tcp in list(connection.subflows):
        if tcp is not subflow.tcp:
            tcp.abort(now, error)
    finish(connection, error, now)


def _ask(subflow: Subflow, now: int) -> None:
    connection = subflow.connection
    connection.count("MPTcpExtMPFastcloseTx")
    option = MpFastclose(connection.agreed.remote_key.value)
    fallback.send_with(subflow.tcp, connection.inbound.ack_dss(), (option,), now)


def time_out(connection: MptcpConnection, why: str, now: int) -> None:
    """End a connection whose peer does not answer any more."""
    connection.error = f"timed out: {why}"
    _reset_all(connection, False, connection.error, now)
    finish(connection, connection.error, now)


def _reset_all(connection: MptcpConnection, with_option: bool, why: str, now: int) -> None:
    # From here on nobody moves data to other subflows, or opens new ones.
    connection.state = M_CLOSED
    for subflow in list(connection.extensions):
        tcp = subflow.tcp
        if tcp.state == CLOSED:
            continue
        if with_option and connection.agreed.version != VERSION_0 and subflow.stage == READY:
            connection.count("MPTcpExtMPFastcloseTx")
            subflow.reset_option = MpFastclose(connection.agreed.remote_key.value)
        tcp.abort(now, why)
