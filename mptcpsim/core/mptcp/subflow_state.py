"""What the mechanisms of MPTCP share about one subflow, and what a scheduler sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp.fail_signal import FailSignal
from mptcpsim.core.mptcp.handshake import Handshake
from mptcpsim.core.mptcp.join_handshake import JoinHandshake
from mptcpsim.core.mptcp.mapped_data import MappedData
from mptcpsim.core.mptcp.mappings import SentMappings
from mptcpsim.core.mptcp.path_watch import PathWatch
from mptcpsim.core.mptcp.priority import Priority
from mptcpsim.core.mptcp.reset_reason import ResetReason
from mptcpsim.core.mptcp.signals import Signals
from mptcpsim.core.mptcp.stages import OPENING, READY
from mptcpsim.core.segment import FIN, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.recovery import OPEN
from mptcpsim.core.tcp.seams import Extension
from mptcpsim.core.tcp.states import ESTABLISHED

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.tcp.arrives import Tcp

_MASK: Final = 0xFFFFFFFF


class SubflowState(Extension):
    """The MPTCP side of a subflow. Numbers relative, sizes in bytes, times in ns.

    Attributes:
        number: identifier within the connection; 0 is the first subflow.
        is_join: it was opened with MP_JOIN.
        stage: ``OPENING``, ``PRE_ESTABLISHED``, ``READY`` or ``PLAIN``.
        handshake: the exchange that opens it.
        join: the same if that is MP_JOIN, else None.
        priority: whether it is a backup.
        confirmed: a DATA_ACK has arrived: the peer has our keys.
        dss_received: a DSS has arrived.
        fin_with_dss: the FIN of the peer brought one, so that it is no plain peer's end of stream.
        keys_due: the peer may not have our key yet: MP_CAPABLE goes with ACKs and the first data.
        mappings: what was sent and is not acknowledged on this subflow.
        incoming: data that has arrived, and where it belongs.
        watch: whether its path is there.
        fail: MP_FAIL, where it is the only subflow.
        reset_reason: what the RST that ends it says.
        bare_acks: ACKs of new data since the last DATA_ACK came.
        signals: options that wait for room on an ACK.
    """

    __slots__ = (
        "_ack_on_updates",
        "_ahead",
        "_edge_sent",
        "_own_books",
        "_own_window",
        "_seen_ack",
        "_seen_window",
        "bare_acks",
        "confirmed",
        "connection",
        "dss_received",
        "dss_sent",
        "fail",
        "fin_with_dss",
        "handshake",
        "incoming",
        "is_join",
        "join",
        "keys_due",
        "mappings",
        "number",
        "priority",
        "proven",
        "reset_reason",
        "signals",
        "stage",
        "tcp",
        "watch",
    )

    incoming: MappedData
    watch: PathWatch
    fail: FailSignal
    handshake: Handshake
    join: JoinHandshake | None
    priority: Priority
    signals: Signals

    def __init__(self, connection: MptcpConnection, tcp: Tcp, is_join: bool) -> None:
        super().__init__()
        self.connection = connection
        self.tcp = tcp
        self.number: int = tcp.identifier
        self.is_join = is_join
        self.stage: int = OPENING
        self.confirmed: bool = False
        #: A DATA_ACK came on an acknowledgment of data: the DSS passes in both directions (section 3.7).
        self.proven: bool = False
        self.dss_received: bool = False
        self.fin_with_dss: bool = False
        #: A DSS was sent, from which the peer may have learned that options pass.
        self.dss_sent: bool = False
        self.keys_due: bool = False
        self.mappings = SentMappings()
        #: DATA_ACK and window field of the last segment, as on the wire.
        self._seen_ack: int = UNKNOWN
        self._seen_window: int = UNKNOWN
        mptcp = connection.config.mptcp
        #: Its own window holds beside that of the connection.
        self._own_window: bool = not mptcp.share_send_window
        #: It keeps books of its own of the window that it announces.
        self._own_books: bool = mptcp.receive_window != "connection"
        self._ack_on_updates: bool = mptcp.data_ack_on_updates
        self._ahead: bool = mptcp.map_ahead
        #: The right edge of the connection's window that was announced here last.
        self._edge_sent: int = 1
        #: DSN of a byte that goes out before anything else, to probe the window of the connection; or 0.
        self.reset_reason = ResetReason(connection.agreed, connection.inbound, connection.counters())
        self.bare_acks: int = 0

    # --- What a scheduler sees ------------------------------------------------------------------

    @property
    def identifier(self) -> int:
        """Number of the subflow within its connection."""
        return self.number

    @property
    def backup(self) -> bool:
        """One of the two ends wants it used as a backup only."""
        return self.priority.is_backup

    @property
    def srtt(self) -> int:
        """Smoothed round-trip time."""
        return self.tcp.sender.rtt.srtt

    @property
    def cwnd(self) -> int:
        """Congestion window."""
        return self.tcp.sender.congestion.cwnd

    @property
    def in_flight(self) -> int:
        """Bytes in flight."""
        return self.tcp.sender.pipe()

    @property
    def mss(self) -> int:
        """Payload of a full segment."""
        return self.tcp.sender.mss

    # --- State ------------------------------------------------------------------------------------

    @property
    def works(self) -> bool:
        """Established in both directions, and neither end has begun to close it."""
        tcp = self.tcp
        return self.stage == READY and tcp.state == ESTABLISHED and not tcp.sender.fin_wanted

    @property
    def failing(self) -> bool:
        """A retransmission time-out was not answered yet (Linux's out-of-tree line: potentially failed)."""
        return self.tcp.sender.timeouts_in_a_row > 0

    def syn_window(self) -> int:
        """Return the window field of a SYN, and note the edge that it promises on this subflow."""
        inbound = self.connection.inbound
        field = inbound.syn_window()
        self.tcp.receiver.promise(1 + field)
        self._edge_sent = inbound.edge
        inbound.is_news(inbound.edge)
        return field

    def stretch_window(self, segment: Segment) -> None:
        """A segment is judged by the connection's window, not the subflow's (RFC 8684 section 3.3.4)."""
        receiver = self.tcp.receiver
        inbound = self.connection.inbound
        # A FIN of the subflow takes no number there: it is welcome in a closed window, too.
        fin = 1 if segment.flags & FIN and not segment.length else 0
        if self._own_books:
            receiver.promise(receiver.nxt + fin)
            return
        receiver.promise(receiver.nxt + max(inbound.edge - inbound.nxt, fin))

    def room(self, now: int) -> int:
        """Return how many bytes of new data may be sent now; 0 or less for none."""
        return self.tcp.sender.room(now, self._own_window)

    def own_window_closed(self) -> bool:
        """Return whether the window of this subflow alone keeps it from sending."""
        sender = self.tcp.sender
        return self._own_window and sender.edge <= sender.nxt

    def is_blocked(self) -> bool:
        """Return whether data waits for a window to open, this one's or the connection's."""
        outbound = self.connection.outbound
        sender = self.tcp.sender
        if sender.nxt < sender.end:
            return sender.edge <= sender.nxt
        if outbound.nxt < outbound.end and outbound.edge <= outbound.nxt:
            return True
        return (
            outbound.nxt < outbound.end or len(outbound.reinjections.queue) > 0
        ) and self.own_window_closed()

    @property
    def reinjected_bytes(self) -> int:
        """Bytes sent here that another subflow had carried before."""
        return self.connection.outbound.reinjections.bytes_on(self.number)

    @property
    def blocked_at(self) -> int:
        """The DSN that was last sent here because another subflow held it up, or -1."""
        return self.connection.outbound.reinjections.held_up_at(self.number)

    def penalise(self) -> None:
        """Halve the window of a subflow that holds the connection up; how often is the scheduler's affair."""
        sender = self.tcp.sender
        if sender.recovery.state == OPEN:
            sender.window.halve(sender.mss)
