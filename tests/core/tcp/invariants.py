"""What must hold at an end of a TCP connection at every instant.

Each check raises ``Violation`` with the name of the invariant. What concerns single
packets is checked where they are sent (``faulty_path``).
"""

from __future__ import annotations

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.recovery import RECOVERY
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, STATE_NAMES
from mptcpsim.units import NEVER
from tests.core.tcp.watched_path import connection_of, hold


class End:
    """One end of the connection and what its application has done.

    Attributes:
        way: the direction in which it sends.
        eager: its application reads whatever arrives.
        una, lost: what the peer has acknowledged, and the packets lost on the path when that last moved.
        judged: the connection whose failure was found justified.
        excuse: why the connection may fail, for instance because its application aborted it.
    """

    def __init__(self, stack: Stack, way: str) -> None:
        self.stack = stack
        self.way = way
        self.eager = False
        self.una = -1
        self.lost = 0
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


def check_end(end: End, peer: End, lost: int, now: int) -> None:
    """Check everything at one end.

    Args:
        end: the one to check.
        peer: the other one.
        lost: packets that the path has lost so far, both directions.
        now: ns.
    """
    connection = end.connection
    if connection is None:
        return
    tcp = connection.subflows[0]
    if tcp.sender.una != end.una:
        end.una = tcp.sender.una
        end.lost = lost
    if connection.error and end.judged is not connection:
        if not peer.failed:
            check_failure(end, peer, connection, lost)
        end.judged = connection
    other = peer.connection
    check_delivered(connection, other)
    check_end_of_stream(connection, other)
    check_acknowledged(connection, other)
    if tcp.state != CLOSED:
        check_memory(connection, tcp.receiver.out_of_order.total)
        check_scoreboard(tcp)
        check_window(tcp)
        check_timers(tcp, now)
        check_window_update(tcp)
        check_deadline(end.stack, tcp.next_deadline(), now)


def check_failure(
    end: End, peer: End, connection: Connection, lost: int, retries: int | None = None, excused: bool = False
) -> None:
    """The first of two ends fails only for a reason that the applications or the path have given.

    That is an excuse, or nothing got through for all ``retries``, by default those of TCP. Lost are packets
    that the path lost, and those that the peer discarded because rounding up window fields had promised
    more than twice its buffer (RFC 7323 section 2.4: "beyond what it previously advertised (and perhaps
    beyond the buffer)").
    """
    config = connection.config
    if retries is None:
        retries = config.data_retries
    established = connection.established and peer.connection is not None and peer.connection.established
    if not established:
        retries = min(retries, config.syn_retries)
    retries = before_giving_up(config, retries)
    lost = lost - end.lost + peer.stack.counters["TcpExtTCPRcvQDrop"]
    excused = excused or bool(end.excuse or peer.excuse)
    hold(
        "failed without cause",
        excused or lost >= retries,
        lambda: f"{end.way}: {connection.error}; {lost} packets were lost",
    )


def before_giving_up(config: TcpConfig, retries: int) -> int:
    """Return how many packets are lost in a row before an end gives up that has so many retries for data."""
    return min(retries, config.keepalive_probes) if config.keepalive else retries


def check_delivered(connection: Connection, other: Connection | None) -> None:
    """What is delivered is a prefix of what was written."""
    written = other.written if other is not None else 0
    hold(
        "delivered is no prefix of written",
        connection.consumed <= connection.delivered <= written,
        lambda: f"read {connection.consumed}, delivered {connection.delivered}, written {written}",
    )


def check_end_of_stream(connection: Connection, other: Connection | None) -> None:
    """The stream ends where its writer closed it."""
    if connection.peer_closed:
        closed = other is not None and other.closing and connection.delivered == other.written
        hold("end of stream before its end", closed, lambda: f"{connection.delivered}")


def check_acknowledged(connection: Connection, other: Connection | None) -> None:
    """What is acknowledged was received."""
    if other is not None:
        hold(
            "acknowledged and not received",
            connection.acked <= other.delivered,
            lambda: f"{connection.acked} acknowledged, {other.delivered} delivered",
        )


def check_window(tcp: Tcp) -> None:
    """The congestion window holds a segment, but while PRR measures out a recovery (RFC 6937)."""
    if tcp.state >= ESTABLISHED and not (tcp.sender.recovery.ca_state == RECOVERY and tcp.receiver.sack):
        cwnd, mss = tcp.sender.congestion.cwnd, tcp.sender.mss
        hold("cwnd below one segment", cwnd >= mss, lambda: f"{cwnd} < {mss}")


def check_memory(connection: Connection, out_of_order: int) -> None:
    """What waits to be read or to be put in order takes at most twice the buffer."""
    held = connection.readable + out_of_order
    bound = 2 * connection.receive_buffer
    hold("receive memory unbounded", held <= bound, lambda: f"{held} > {bound}")


def check_scoreboard(tcp: Tcp) -> None:
    """The records tile SND.UNA to SND.NXT, and the byte counts are theirs."""
    sender = tcp.sender
    board = sender.board
    records = board.records[board.head :]
    hold("SND.UNA beyond SND.NXT", sender.una <= sender.nxt, lambda: f"{sender.una} > {sender.nxt}")
    position = sender.una
    sacked = lost = resent = 0
    for record in records:
        hold("gap on the scoreboard", record.seq == position < record.end, lambda: f"at {position}")  # noqa: B023
        position = record.end
        if record.sacked:
            sacked += record.end - record.seq
            continue
        if record.lost:
            lost += record.end - record.seq
        if record.in_flight_again:
            resent += record.end - record.seq
    if records:
        hold("scoreboard does not end at SND.NXT", position == sender.nxt, lambda: f"{position} {sender.nxt}")
    counted = (board.sacked, board.lost, board.resent)
    hold(
        "scoreboard miscounts",
        counted == (sacked, lost, resent),
        lambda: f"{counted}, {sacked, lost, resent}",
    )
    hold("SACKed ranges miscount", board.ranges.total == sacked, lambda: f"{board.ranges.total} != {sacked}")
    hold("pipe is negative", sender.pipe() >= 0, lambda: f"{sender.pipe()}")


def check_timers(tcp: Tcp, now: int) -> None:
    """Who waits for something has a timer."""
    sender = tcp.sender
    state = STATE_NAMES[tcp.state]
    probe = sender.window_probe
    if tcp.state < ESTABLISHED:
        hold("handshake without a timer", sender.rto_at < NEVER, lambda: state)
    elif len(sender.board):
        hold("data in flight without a timer", sender.rto_at < NEVER, lambda: state)
    elif sender.nxt < sender.end or (sender.fin_wanted and not sender.fin_sent):
        timers = (probe.at, probe.override_at, sender.rto_at)
        hold("data pending without a timer", min(timers) < NEVER, lambda: f"{state} {timers}")
    if probe.at < NEVER:
        # Time goes on while a window is closed: the next probe is neither now nor out of reach.
        pause = tcp.config.persist_max
        hold("probe that is never sent", 0 < probe.interval <= pause, lambda: f"{probe.interval}")
        hold("probe too far away", probe.at <= now + pause, lambda: f"{probe.at} at {now}")
    receiver = tcp.receiver
    hold("acknowledgment owed", not receiver.ack_now or tcp.state < ESTABLISHED, lambda: state)
    waiting = receiver.ack_at < NEVER
    hold("acknowledgment without a timer", waiting or not receiver.unacked, lambda: f"{receiver.unacked}")


def check_window_update(tcp: Tcp) -> None:
    """A window that has opened far enough is announced."""
    receiver = tcp.receiver
    if tcp.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2) and receiver.wnd_end - receiver.nxt < receiver.mss:
        owed = receiver.wants_window_update() and receiver.ack_at >= NEVER
        hold("window update owed", not owed, lambda: f"{receiver.wnd_end} could be {receiver.limit}")


def check_deadline(stack: Stack, deadline: int, now: int) -> None:
    """The stack knows of a deadline, and it is not over."""
    forgotten = stack.next_timer() > deadline
    hold("deadline that the stack forgot", not forgotten, lambda: f"{stack.next_timer()} > {deadline}")
    hold("deadline in the past", deadline >= now, lambda: f"{deadline} < {now}")
