"""How an MPTCP connection ends: by DATA_FIN, MP_FASTCLOSE, or the loss of all its subflows.

RFC 8684 sections 3.3.3 and 3.5, appendix D. RFC 6824 is the same, without MP_FASTCLOSE on a RST.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.data_states import (
    ABANDONED,
    ABORTED,
    DATA_FIN_ACKED,
    DATA_FIN_ARRIVED,
    DATA_FIN_SENT,
    DATA_TRANSITION_TEXTS,
    DATA_TRANSITIONS,
    ENDINGS,
    ESTABLISHED,
    FASTCLOSE_ARRIVED,
    FASTCLOSE_SENT,
    M_CLOSED,
    M_CLOSING,
    M_FASTCLOSE_WAIT,
    M_FIN_WAIT_2,
    M_INIT,
    M_LAST_ACK,
    M_TIME_WAIT,
    SUBFLOWS_CLOSED,
    TIMED_OUT,
)
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp_options import (
    REASON_TOO_MUCH_OUTSTANDING,
    VERSION_0,
    MpFastclose,
)
from mptcpsim.core.tcp.states import CLOSED
from mptcpsim.units import NEVER

#: RFC 8684 section 3.5: retransmissions of an MP_FASTCLOSE, as recommended.
_FASTCLOSE_RETRIES: Final = 3


class Closing:
    """The state of one connection at the data level, and its way to the end; times in ns.

    Attributes:
        state: one of ``core.mptcp.data_states``; it changes in ``_move`` alone.
        abandoned_at: when a connection that has lost all its subflows is given up.
    """

    __slots__ = (
        "_connection",
        "_fastclose_at",
        "_fastclose_tries",
        "_inbound",
        "_outbound",
        "abandoned_at",
        "state",
    )

    def __init__(self, connection: Session, outbound: DataSender, inbound: DataReceiver) -> None:
        self._connection = connection
        self._outbound = outbound
        self._inbound = inbound
        self.state: int = M_INIT
        self.abandoned_at: int = NEVER
        #: When an MP_FASTCLOSE is sent again that was not answered, and how often it was sent.
        self._fastclose_at: int = NEVER
        self._fastclose_tries: int = 0

    def _move(self, cause: str) -> None:
        """Change the state according to the transition table."""
        before = self.state
        self.state = DATA_TRANSITIONS[before, cause]
        if cause not in ENDINGS:
            # Those have an event of their own, with the reason (``Session.on_ended``).
            self._connection.note("data state", DATA_TRANSITION_TEXTS[before, cause])

    def _end(self, cause: str) -> None:
        """Enter M_CLOSED: from here on no data moves to other subflows, and no new ones are opened."""
        if self.state != M_CLOSED:
            self._move(cause)

    # --- The handshake ------------------------------------------------------------------------------

    def on_established(self) -> None:
        """The first subflow is established, and both ends speak MPTCP."""
        self._move(ESTABLISHED)

    def on_join_established(self) -> None:
        """Another subflow is established, so the connection is not abandoned."""
        self.abandoned_at = NEVER

    # --- DATA_FIN -----------------------------------------------------------------------------------

    def on_data_fin_sent(self) -> None:
        """Our DATA_FIN was sent for the first time."""
        self._move(DATA_FIN_SENT)

    def on_data_fin_acked(self, subflow: SubflowState, now: int) -> None:
        """Our DATA_FIN was acknowledged on a subflow: all data has arrived, and the subflows may close."""
        if self.state in (M_CLOSED, M_TIME_WAIT, M_FASTCLOSE_WAIT):
            return
        both = self.state in (M_CLOSING, M_LAST_ACK)
        self._move(DATA_FIN_ACKED)
        self._close_subflows(both, subflow, now)
        self.on_subflow_closed(now)
        self._connection.notify_application()

    def on_data_fin(self, subflow: SubflowState, now: int) -> None:
        """The peer's DATA_FIN has arrived, and all data before it, the last of it on a subflow."""
        if self.state == M_FASTCLOSE_WAIT:
            return
        self._move(DATA_FIN_ARRIVED)
        if self.state == M_TIME_WAIT:
            # Subflows may have joined since our own DATA_FIN was acknowledged.
            self._close_subflows(True, subflow, now)
        self._connection.notify_application()
        self.on_subflow_closed(now)

    def _close_subflows(self, both: bool, working: SubflowState, now: int) -> None:
        """Close all subflows, with a FIN where that makes sense (section 3.3.3).

        Args:
            both: both DATA_FINs were acknowledged.
            working: the subflow that the last news came on.
            now: the time, ns.
        """
        connection = self._connection
        for subflow in list(connection.extensions):
            tcp = subflow.tcp
            if tcp.state == CLOSED:
                continue
            if subflow.stage != READY:
                tcp.abort(now, "the connection is closing")
            elif both and subflow.failing and subflow is not working:
                # Its data has arrived on another subflow; repeating it would keep the connection open.
                subflow.reset(REASON_TOO_MUCH_OUTSTANDING, "stale data at the end", now)
            else:
                tcp.close(now)
                tcp.wait_for_fin(now)

    # --- The last subflow ---------------------------------------------------------------------------

    def on_subflow_closed(self, now: int) -> None:
        """Subflows may have closed: without any, end or wait for a new one (section 3.3.3)."""
        connection = self._connection
        if any(tcp.state != CLOSED for tcp in connection.subflows):
            return
        if self.state == M_TIME_WAIT:
            self._move(SUBFLOWS_CLOSED)
        if self.state == M_CLOSED:
            self._finish(connection.error)
        elif self.state == M_FASTCLOSE_WAIT:
            self._end(ABORTED)
            self._finish(connection.error or "aborted")
        elif self.state == M_FIN_WAIT_2 and connection.orphaned:
            # The peer has all of our data, and the application would not read what a new subflow brings.
            self._end(ABANDONED)
            self._finish(connection.error)
        elif self.abandoned_at == NEVER:
            # Break before make: a new subflow may still join.
            connection.note("no subflow left", "")
            self.abandoned_at = now + connection.config.mptcp.close_timeout
            connection.wake_by(self.abandoned_at)

    def _give_up(self, now: int) -> None:
        """No new subflow has come in time."""
        connection = self._connection
        why = ""
        for tcp in connection.subflows:
            why = tcp.error or why
        error = f"timed out: no subflow is left ({why})" if why else "timed out: no subflow is left"
        self._end(ABANDONED)
        self._finish(error)
        for tcp in list(connection.subflows):
            # One that is being opened comes too late.
            if tcp.state != CLOSED:
                tcp.abort(now, error)

    def time_out(self, why: str, now: int) -> None:
        """The peer does not answer any more."""
        self._fail(TIMED_OUT, f"timed out: {why}", False, now)

    def _fail(self, cause: str, error: str, with_option: bool, now: int) -> None:
        """Reset all subflows, with MP_FASTCLOSE or without, and end the connection."""
        self._connection.fail(error)
        self._reset_all(cause, with_option, error, now)
        self._finish(error)

    def _reset_all(self, cause: str, with_option: bool, why: str, now: int) -> None:
        self._end(cause)
        connection = self._connection
        for subflow in list(connection.extensions):
            tcp = subflow.tcp
            if tcp.state == CLOSED:
                continue
            if with_option and connection.agreed.version != VERSION_0 and subflow.stage == READY:
                subflow.on_fast_close()
            tcp.abort(now, why)

    def _finish(self, error: str) -> None:
        """The connection is over at both levels."""
        if not self._connection.ended:
            self._connection.on_ended(error)

    # --- MP_FASTCLOSE -------------------------------------------------------------------------------

    def fast_close(self, now: int) -> None:
        """Abort (section 3.5): variant R resets all subflows, variant A asks on one of them."""
        connection = self._connection
        if connection.ended:
            return
        alive = connection.alive()
        by_reset = connection.config.mptcp.fastclose == "rst" and connection.agreed.version != VERSION_0
        if self.state in (M_CLOSED, M_TIME_WAIT, M_FASTCLOSE_WAIT) or not alive or by_reset:
            connection.fail(connection.error or "aborted")
            self._reset_all(ABORTED, True, "aborted", now)
            self._finish("aborted")
            return
        chosen = next((subflow for subflow in alive if not subflow.failing), alive[0])
        connection.fail("aborted")
        self._move(FASTCLOSE_SENT)
        self._outbound.stop()
        for tcp in list(connection.subflows):
            if tcp is not chosen.tcp:
                tcp.abort(now)
        self._ask(chosen, now)
        self._arm_fastclose(now + chosen.tcp.sender.rtt.timeout())
        connection.notify_application()

    def _repeat_fast_close(self, now: int) -> None:
        """MP_FASTCLOSE was not answered with a RST: send it again, and at last a RST of our own."""
        self._fastclose_at = NEVER
        for subflow in list(self._connection.extensions):
            tcp = subflow.tcp
            if tcp.state == CLOSED:
                continue
            self._arm_fastclose(now + tcp.sender.rtt.timeout())
            if self._fastclose_tries <= 1 + _FASTCLOSE_RETRIES:
                self._ask(subflow, now)
                return
            self._reset_all(ABORTED, True, "aborted", now)
        self._end(ABORTED)
        self._finish("aborted")

    def _arm_fastclose(self, at: int) -> None:
        self._fastclose_at = at
        self._fastclose_tries += 1
        self._connection.wake_by(at)

    def _ask(self, subflow: SubflowState, now: int) -> None:
        """Send MP_FASTCLOSE on an ACK."""
        connection = self._connection
        connection.count("MPTcpExtMPFastcloseTx")
        option = MpFastclose(connection.agreed.remote_key.value)
        subflow.send_ack_with(self._inbound.ack_dss(), (option,), now)

    def on_fastclose(self, option: MpFastclose, now: int) -> None:
        """Variant A: with the right key, reset this subflow and all others."""
        connection = self._connection
        if option.receiver_key != connection.agreed.local_key.value:
            return
        connection.count("MPTcpExtMPFastcloseRx")
        # A peer that closes in the same instant gets our RST, which is what it waits for.
        closing_too = self.state == M_FASTCLOSE_WAIT
        error = "aborted" if closing_too else "connection reset by peer (MP_FASTCLOSE)"
        self._fail(FASTCLOSE_ARRIVED, error, False, now)

    def on_fastclose_reset(self, option: MpFastclose, subflow: SubflowState, now: int) -> None:
        """Variant R: the subflow is gone already; reset the others."""
        connection = self._connection
        if option.receiver_key != connection.agreed.local_key.value:
            return
        connection.count("MPTcpExtMPFastcloseRx")
        error = "connection reset by peer (MP_FASTCLOSE)"
        connection.fail(error)
        self._end(FASTCLOSE_ARRIVED)
        for tcp in list(connection.subflows):
            if tcp is not subflow.tcp:
                tcp.abort(now, error)
        self._finish(error)

    # --- Timers -------------------------------------------------------------------------------------

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        return min(self.abandoned_at, self._fastclose_at)

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        if self.abandoned_at <= now:
            self._give_up(now)
        if self._fastclose_at <= now:
            self._repeat_fast_close(now)
