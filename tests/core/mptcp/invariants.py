"""What must hold at an end of an MPTCP connection at every instant, at both levels.

Each check raises ``Violation`` with the name of the invariant. What concerns single
segments is checked where they are sent (``mptcp_faulty_path``).
"""

from __future__ import annotations

from collections.abc import Callable

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import DATA_STATE_NAMES, M_CLOSED, M_FASTCLOSE_WAIT, M_INIT, M_TIME_WAIT
from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp.subflow import Subflow
from mptcpsim.core.segment import FourTuple
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
)
from mptcpsim.units import NEVER
from tests.core.mptcp.faulty_path import MptcpFaultyPath
from tests.core.tcp.invariants import (
    End,
    before_giving_up,
    check_acknowledged,
    check_deadline,
    check_delivered,
    check_end_of_stream,
    check_failure,
    check_memory,
    check_scoreboard,
    check_timers,
)
from tests.core.tcp.watched_path import hold

#: Why a subflow may only be reset if a middlebox has removed options or changed a checksum.
INTERFERENCE = (
    "a mapping changed",
    "a window of data without mapping",
    "a checksum was wrong",
    "checksum presence",
    "an infinite mapping that does not fit",
    "an ACK of data came without DATA_ACK",
    "the first data came without DSS",
    "no valid MP_JOIN",
)


class MptcpEnd(End):
    """One end of the connection and what its application has done.

    Attributes:
        silent: an address of the connection has been away since: nothing leaves it, so nothing is lost.
        explained: subflows that commands closed, or that ended because the path lost what they repeated.
        marks: of each subflow that is open what was acknowledged, and the packets lost when that last moved.
    """

    def __init__(self, stack: Stack, way: str) -> None:
        super().__init__(stack, way)
        self.silent = False
        self.explained: set[FourTuple] = set()
        self.marks: dict[FourTuple, tuple[int, int]] = {}

    def watch_subflows(self, connection: Connection, lost: int) -> None:
        """Note the progress of the subflows, and which of them the path has ended."""
        config = connection.config
        least = before_giving_up(config, fewest_retries(config))
        for tcp in connection.subflows:
            if tcp.state != CLOSED:
                if self.marks.get(tcp.flow, (-1, 0))[0] != tcp.sender.una:
                    self.marks[tcp.flow] = (tcp.sender.una, lost)
            elif tcp.flow in self.marks:
                _, before = self.marks.pop(tcp.flow)
                if tcp.error.startswith("timed out") and lost - before >= least:
                    self.explained.add(tcp.flow)

    def explain(self, connection: Connection, closed: Callable[[FourTuple], bool]) -> None:
        """Note which subflows that are open a command closes."""
        self.explained |= {
            tcp.flow for tcp in connection.subflows if tcp.state != CLOSED and closed(tcp.flow)
        }


def fewest_retries(config: TcpConfig) -> int:
    """Return how often a subflow repeats data before it gives up."""
    return min(config.data_retries, config.mptcp.subflow_retries)


def check_mptcp_end(end: MptcpEnd, peer: MptcpEnd, path: MptcpFaultyPath, now: int, cut: bool) -> None:
    """Check everything at one end.

    Args:
        end: the one to check.
        peer: the other one.
        path: what lies between them.
        now: ns.
        cut: the only subflow may have been closed, with a FIN, before its opener learned that the other end
            speaks plain TCP, to which the FIN of a subflow is the end of the stream.
    """
    connection = end.connection
    if connection is None:
        return
    if connection.acked != end.una:
        end.una = connection.acked
        end.lost = path.lost
        end.silent = False
    end.watch_subflows(connection, path.lost)
    end.silent |= any(tcp.flow.src in path.gone or tcp.flow.dst in path.gone for tcp in connection.subflows)
    if connection.error and end.judged is not connection:
        if not peer.failed:
            check_mptcp_failure(end, peer, connection, path)
        end.judged = connection
    check_delivered(connection, peer.connection)
    if not (path.tampered and cut):
        check_end_of_stream(connection, peer.connection)
    if not (isinstance(connection, MptcpConnection) and connection.fell_back):
        # After a fallback TCP acknowledges what the peer delivers once it has fallen back, too.
        check_acknowledged(connection, peer.connection)
    for tcp in connection.subflows:
        if not path.tampered:
            bad = any(reason in tcp.error for reason in INTERFERENCE)
            hold("subflow reset without cause", not bad, lambda error=tcp.error: error)
        if tcp.state != CLOSED:
            check_subflow(end.stack, connection, tcp, now)
    if not isinstance(connection, MptcpConnection) or connection.is_plain:
        return
    if connection.state not in (M_INIT, M_CLOSED, M_FASTCLOSE_WAIT):
        check_data_sender(connection, peer.connection)
        check_inbound(connection)
        check_data_timers(end.stack, connection, now)


def check_mptcp_failure(end: MptcpEnd, peer: MptcpEnd, connection: Connection, path: MptcpFaultyPath) -> None:
    """The first of two ends fails only for a reason that the applications or the paths have given."""
    config = connection.config
    excused = bool(path.tampered or end.silent)
    if config.mptcp.data_timeout or (peer.connection and peer.connection.config.mptcp.data_timeout):
        # It takes a reader that pauses for a dead peer.
        excused = True
    if "no subflow is left" in connection.error:
        # One after the other, each for a reason: what was acknowledged meanwhile does not count.
        excused |= all(
            tcp.flow in end.explained or tcp.flow.reverse() in peer.explained
            for tcp in connection.subflows
            if isinstance(tcp.extension, Subflow) and tcp.extension.stage == READY
        )
    check_failure(end, peer, connection, path.lost, fewest_retries(config), excused)


def check_data_sender(connection: MptcpConnection, other: Connection | None) -> None:
    """The data sequence space of what is sent, and the data that waits to be sent elsewhere."""
    out = connection.outbound
    ordered = 1 <= out.una <= out.highest() and out.nxt <= out.end == connection.written + 1
    hold(
        "DATA_ACK, next and end of the data are not in order",
        ordered and out.una <= out.nxt + (1 if out.fin_sent else 0),
        lambda: f"{out.una} {out.nxt} {out.end}, {connection.written} written",
    )
    if isinstance(other, MptcpConnection) and not other.is_plain:
        hold(
            "window beyond what was promised",
            out.wnd_end <= other.inbound.wnd_end or not connection.config.mptcp.connection_window,
            lambda: f"{out.wnd_end} > {other.inbound.wnd_end}",
        )
    last: dict[int, int] = {}
    for item in out.reinjections.queue:
        hold("reinjection of what was never sent", item.dsn < item.end <= out.nxt, lambda i=item: f"{i}")
        first = item.dsn >= last.get(item.origin, 0)
        hold("queued twice for reinjection", first, lambda: f"{out.reinjections.queue}")
        last[item.origin] = item.end


def check_inbound(connection: MptcpConnection) -> None:
    """The memory of the connection is bounded, and so is its window."""
    if connection.config.mptcp.receive_window != "connection":
        # No flow control at the connection: memory is bounded by nothing.
        return
    check_memory(connection, connection.inbound.out_of_order.total)
    edge = connection.inbound.wnd_end - connection.inbound.nxt
    hold("negative window", edge >= 0, lambda: f"{edge}")


def check_data_timers(stack: Stack, connection: MptcpConnection, now: int) -> None:
    """Data that waits while nothing is in flight has a timer, and the stack knows of it."""
    out = connection.outbound
    state = DATA_STATE_NAMES[connection.state]
    unsent = out.nxt < out.end or (out.fin_wanted and not out.fin_sent)
    unsent = unsent or any(item.end > out.una for item in out.reinjections.queue)
    if connection.state != M_TIME_WAIT and (unsent or out.una < out.highest()):
        open_ones = [tcp for tcp in connection.subflows if tcp.state != CLOSED]
        timers = [out.rto_at, out.override_at, connection.ending.abandoned_at]
        for tcp in open_ones:
            sender = tcp.sender
            subflow = tcp.extension
            assert isinstance(subflow, Subflow)
            probe = sender.window_probe
            timers += [sender.rto_at, probe.at, probe.override_at, tcp.wait_over_at]
            timers.append(subflow.handshake.repeat_at)
            if tcp.state == FIN_WAIT_2:
                # It is the peer's turn to close, and then there is no subflow left.
                return
        hold("data of the connection pending without a timer", min(timers) < NEVER, lambda: f"{state}")
    if out.una < out.highest() and connection.state != M_TIME_WAIT:
        hold("no timer for the DATA_ACK", out.rto_at < NEVER, lambda: f"{state} {out.una} {out.nxt}")
    inbound = connection.inbound
    config = connection.config.mptcp
    switches = (config.window_update, config.receive_window, config.window_update_rule)
    # A DATA_ACK that lags behind leaves the room unsaid that does not fit into the window field with it.
    usual = switches == ("all", "connection", "rfc") and not config.data_ack_lag
    coming = not usual or any(subflow.tcp.receiver.ack_at < NEVER for subflow in connection.alive())
    for subflow in connection.alive():
        if subflow.tcp.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2) and not connection.peer_closed:
            receiver = subflow.tcp.receiver
            owed = inbound.wants_window_update(receiver.scale) and inbound.wnd_end - inbound.nxt < inbound.mss
            hold(
                "window update owed",
                coming or not owed,
                lambda: f"{inbound.wnd_end} could be {inbound.limit}",
            )
    check_deadline(stack, connection.next_deadline(), now)


def check_subflow(stack: Stack, connection: Connection, tcp: Tcp, now: int) -> None:
    """The subflow as a TCP connection."""
    check_scoreboard(tcp)
    check_timers(tcp, now)
    sender = tcp.sender
    subflow = tcp.extension
    if isinstance(subflow, Subflow) and subflow.is_active and isinstance(connection, MptcpConnection):
        assigned = sender.nxt == sender.end + (1 if sender.fin_sent else 0)
        if connection.config.mptcp.map_ahead:
            # One mapping may wait on a subflow; the next one is made when it was sent.
            last = subflow.mappings.outstanding()[-1:]
            assigned = assigned or bool(last and last[0].ssn <= sender.nxt < sender.end)
        hold("data on a subflow that was not sent", assigned, lambda: f"{sender.nxt} {sender.end}")
        signals = subflow.signals
        if signals.waiting and tcp.state in (ESTABLISHED, CLOSE_WAIT):
            hold("signal without a timer", signals.send_at < NEVER, lambda: f"{signals.waiting}")
    check_deadline(stack, tcp.next_deadline(), now)
