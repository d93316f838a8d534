"""What must hold at an end of an MPTCP connection at every instant, at both levels.

Each check raises ``Violation`` with the name of the invariant. What concerns single
segments is checked where they are sent (``mptcp_faulty_path``).
"""

from __future__ import annotations

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import DATA_STATE_NAMES, M_CLOSED, M_FASTCLOSE_WAIT, M_INIT, M_TIME_WAIT
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.endpoint import Tcp
from mptcpsim.core.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    STATE_NAMES,
    SYN_RECEIVED,
)
from mptcpsim.units import NEVER
from tests.core.mptcp.faulty_path import MptcpFaultyPath
from tests.core.tcp.faulty_path import connection_of, hold
from tests.core.tcp.invariants import check_scoreboard

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


class MptcpEnd:
    """One end of the connection and what its application has done.

    Attributes:
        way: the direction in which it sends.
        eager: its application reads whatever arrives.
        una, lost: what the peer has acknowledged, and the packets lost on the paths when that last moved.
        silent: an address of the connection has been away since: nothing leaves it, so nothing is lost.
        judged: the connection whose failure was found justified.
        excuse: why the connection may fail, for instance because its application aborted it.
    """

    def __init__(self, stack: Stack, way: str) -> None:
        self.stack = stack
        self.way = way
        self.eager = False
        self.una = -1
        self.lost = 0
        self.silent = False
        self.judged: Connection | None = None
        self.excuse = ""

    @property
    def connection(self) -> Connection | None:
        """The connection, None at a server that no SYN has reached."""
        return connection_of(self.stack)

    @property
    def failed(self) -> bool:
        """The connection ended with an error."""
        connection = self.connection
        return connection is not None and connection.error != ""


def check_mptcp_end(end: MptcpEnd, peer: MptcpEnd, path: MptcpFaultyPath, now: int, cut: bool) -> None:
    """Check everything at one end, at ``now`` (ns); for ``cut`` see ``check_stream``."""
    connection = end.connection
    if connection is None:
        return
    if connection.acked != end.una:
        end.una = connection.acked
        end.lost = path.lost
        end.silent = False
    end.silent |= any(tcp.flow.src in path.gone or tcp.flow.dst in path.gone for tcp in connection.subflows)
    if connection.error and end.judged is not connection:
        if not peer.failed:
            check_failure(end, peer, connection, path)
        end.judged = connection
    check_stream(connection, peer.connection, bool(path.tampered and cut))
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
        check_memory(connection)
        check_data_timers(end.stack, connection, now)


def check_failure(end: MptcpEnd, peer: MptcpEnd, connection: Connection, path: MptcpFaultyPath) -> None:
    """The first of two ends fails only for a reason that the applications or the paths have given."""
    config = connection.config
    established = connection.established and peer.connection is not None and peer.connection.established
    retries = min(config.data_retries, config.mptcp.subflow_retries)
    if not established:
        retries = min(retries, config.syn_retries)
    if config.keepalive:
        retries = min(retries, config.keepalive_probes)
    lost = path.lost - end.lost + peer.stack.counters["TcpExtTCPRcvQDrop"]
    excused = bool(end.excuse or peer.excuse or path.tampered or end.silent)
    if config.mptcp.data_timeout or (peer.connection and peer.connection.config.mptcp.data_timeout):
        # It takes a reader that pauses for a dead peer.
        excused = True
    hold(
        "failed without cause",
        excused or lost >= retries,
        lambda: f"{end.way}: {connection.error}; {lost} packets were lost",
    )


def check_stream(connection: Connection, other: Connection | None, cut: bool) -> None:
    """What is delivered is a prefix of what was written; what is acknowledged was received.

    With ``cut`` the only subflow may have been closed, with a FIN, before its opener learned that the
    other end speaks plain TCP, to which the FIN of a subflow is the end of the stream.
    """
    written = other.written if other is not None else 0
    hold(
        "delivered is no prefix of written",
        connection.consumed <= connection.delivered <= written,
        lambda: f"read {connection.consumed}, delivered {connection.delivered}, written {written}",
    )
    if connection.peer_closed and not cut:
        closed = other is not None and other.closing and connection.delivered == written
        hold("end of stream before its end", closed, lambda: f"{connection.delivered} of {written}")
    fallen = isinstance(connection, MptcpConnection) and connection.fell_back
    if other is not None and not fallen:
        # After a fallback TCP acknowledges what the peer delivers once it has fallen back, too.
        hold(
            "acknowledged and not received",
            connection.acked <= other.delivered,
            lambda: f"{connection.acked} acknowledged, {other.delivered} delivered",
        )


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
            out.edge <= other.inbound.edge or not connection.config.mptcp.connection_window,
            lambda: f"{out.edge} > {other.inbound.edge}",
        )
    last: dict[int, int] = {}
    for item in out.reinjections:
        hold("reinjection of what was never sent", item.dsn < item.end <= out.nxt, lambda i=item: f"{i}")
        first = item.dsn >= last.get(item.origin, 0)
        hold("queued twice for reinjection", first, lambda: f"{out.reinjections}")
        last[item.origin] = item.end


def check_memory(connection: MptcpConnection) -> None:
    """What waits to be read or to be put in order takes at most twice the buffer."""
    held = connection.readable + connection.inbound.out_of_order.total
    if connection.config.mptcp.receive_window != "connection":
        # No flow control at the connection: memory is bounded by nothing.
        return
    bound = 2 * connection.receive_buffer
    hold("receive memory unbounded", held <= bound, lambda: f"{held} > {bound}")
    edge = connection.inbound.edge - connection.inbound.nxt
    hold("negative window", edge >= 0, lambda: f"{edge}")


def check_data_timers(stack: Stack, connection: MptcpConnection, now: int) -> None:
    """Data that waits while nothing is in flight has a timer, and the stack knows of it."""
    out = connection.outbound
    state = DATA_STATE_NAMES[connection.state]
    unsent = out.nxt < out.end or (out.fin_wanted and not out.fin_sent)
    unsent = unsent or any(item.end > out.una for item in out.reinjections)
    if connection.state != M_TIME_WAIT and (unsent or out.una < out.highest()):
        open_ones = [tcp for tcp in connection.subflows if tcp.state != CLOSED]
        timers = [out.rto_at, out.override_at, connection.ending.abandoned_at]
        for tcp in open_ones:
            sender = tcp.sender
            subflow = tcp.extension
            assert subflow is not None
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
            owed = inbound.wants_window_update(receiver.scale) and inbound.edge - inbound.nxt < inbound.mss
            hold("window update owed", coming or not owed, lambda: f"{inbound.edge} could be {inbound.limit}")
    check_deadline(stack, connection.next_deadline(), now)


def check_subflow(stack: Stack, connection: Connection, tcp: Tcp, now: int) -> None:
    """The subflow as a TCP connection."""
    check_scoreboard(tcp)
    sender = tcp.sender
    state = STATE_NAMES[tcp.state]
    if tcp.state < ESTABLISHED:
        hold("handshake without a timer", sender.rto_at < NEVER, lambda: state)
    elif len(sender.board):
        hold("data in flight without a timer", sender.rto_at < NEVER, lambda: state)
    elif sender.nxt < sender.end or (sender.fin_wanted and not sender.fin_sent):
        timers = (sender.window_probe.at, sender.window_probe.override_at, sender.rto_at)
        hold("data pending without a timer", min(timers) < NEVER, lambda: f"{state} {timers}")
    probe = sender.window_probe
    if probe.at < NEVER:
        # Time goes on while a window is closed: the next probe is neither now nor out of reach.
        pause = tcp.config.persist_max
        hold("probe that is never sent", 0 < probe.interval <= pause, lambda: f"{probe.interval}")
        hold("probe too far away", probe.at <= now + pause, lambda: f"{probe.at} at {now}")
    receiver = tcp.receiver
    hold("acknowledgment owed", not receiver.ack_now or tcp.state <= SYN_RECEIVED, lambda: state)
    waiting = receiver.ack_at < NEVER
    hold("acknowledgment without a timer", waiting or not receiver.unacked, lambda: f"{receiver.unacked}")
    subflow = tcp.extension
    if subflow is not None and subflow.speaks and isinstance(connection, MptcpConnection):
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


def check_deadline(stack: Stack, deadline: int, now: int) -> None:
    """The stack knows of a deadline, and it is not over."""
    forgotten = stack.next_timer() > deadline
    hold("deadline that the stack forgot", not forgotten, lambda: f"{stack.next_timer()} > {deadline}")
    hold("deadline in the past", deadline >= now, lambda: f"{deadline} < {now}")
