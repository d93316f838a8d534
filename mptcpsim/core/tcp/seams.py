"""The seams of TCP: base classes that TCP calls and that do nothing by themselves.

An ``Extension`` adds options to a TCP connection. A ``DataSource`` gives it data at the moment the
data may be sent. An ``Owner`` is the connection that the application sees. MPTCP implements the first
two; TCP does not know MPTCP. Without an extension, a call costs one comparison with None.
"""

from __future__ import annotations

from mptcpsim.core.byte_store import ByteStore
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.host import TimerOwner, TransportHost
from mptcpsim.core.mptcp_options import MptcpOption
from mptcpsim.core.segment import Segment
from mptcpsim.core.window_log import WindowLog
from mptcpsim.plugins import Path, SendView


class Extension(Path):
    """An extension of one TCP connection. Times in ns.

    Attributes:
        is_active: segments carry its options, and pass through ``emit``, ``take`` and ``deliver``.
    """

    __slots__ = ("is_active",)

    def __init__(self) -> None:
        self.is_active: bool = False

    # --- The handshake --------------------------------------------------------------------------

    def syn_option(self, answer: bool, transmissions: int) -> MptcpOption | None:
        """Return the option of a SYN, or with ``answer`` of a SYN/ACK.

        Args:
            answer: it is a SYN/ACK.
            transmissions: how often this SYN was sent before.
        """
        raise NotImplementedError

    def syn_window(self) -> int:
        """Return the window field of a SYN."""
        raise NotImplementedError

    def on_syn_ack(self, segment: Segment, now: int) -> bool:
        """Take a SYN/ACK at the end that sent the SYN; return False if the connection was reset."""
        raise NotImplementedError

    def on_third_ack_sent(self, now: int) -> None:
        """The ACK that answers the SYN/ACK is on its way."""
        raise NotImplementedError

    def on_third_ack(self, segment: Segment, now: int) -> bool:
        """Take the ACK of our SYN/ACK; return False if it does not complete the handshake."""
        raise NotImplementedError

    def on_simultaneous_open(self, now: int) -> bool:
        """Both ends have sent a SYN; return False if the connection was given up."""
        raise NotImplementedError

    def answers_with_syn(self) -> bool:
        """Return whether in SYN-RECEIVED a SYN/ACK, not an ACK, answers unacceptable segments."""
        raise NotImplementedError

    def is_joining(self) -> bool:
        """Return whether the extension repeats the last segment of its handshake by a timer of its own."""
        raise NotImplementedError

    # --- Segments -------------------------------------------------------------------------------

    def emit(self, seq: int, length: int, flags: int, ect: bool, now: int, data_fin: bool = False) -> None:
        """Send a segment with the present acknowledgment, window and options."""
        raise NotImplementedError

    def complete(self, segment: Segment) -> None:
        """Complete a segment that TCP has built, while the extension is not active."""
        raise NotImplementedError

    def reset_options(self) -> tuple[MptcpOption, ...]:
        """Return the options of a RST."""
        raise NotImplementedError

    def extend_window(self, segment: Segment) -> None:
        """Move the right edge by which an arriving segment is judged."""
        raise NotImplementedError

    def take(self, segment: Segment, now: int) -> bool:
        """Act on the options of an acceptable segment; return False if the connection ended with it."""
        raise NotImplementedError

    def keep(self, segment: Segment, left: int, right: int) -> None:
        """Keep the bytes [left, right) of a segment, which are new, to check them later."""
        raise NotImplementedError

    def deliver(self, left: int, length: int, now: int) -> None:
        """Take bytes that are in order."""
        raise NotImplementedError

    def deliver_whole(self, segment: Segment, now: int) -> None:
        """Take all of a segment, which comes next: ``keep`` and ``deliver`` in one."""
        raise NotImplementedError

    def on_fin(self, segment: Segment) -> None:
        """The FIN of the peer has arrived, in order or not."""
        raise NotImplementedError

    def on_reset(self, segment: Segment, now: int) -> None:
        """The peer resets the connection."""
        raise NotImplementedError

    # --- Windows and timers ---------------------------------------------------------------------

    def is_blocked(self) -> bool:
        """Return whether data waits for a window to open."""
        raise NotImplementedError

    def most_timeouts(self, most: int) -> int:
        """Return after how many time-outs in a row to give up; ``most`` is the limit of TCP alone."""
        raise NotImplementedError

    def on_timeout(self, now: int) -> None:
        """The retransmission timer expired."""
        raise NotImplementedError

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        raise NotImplementedError

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        raise NotImplementedError


class DataSource(SendView):
    """The source of data that is assigned to a TCP connection only when it is sent.

    Attributes:
        push_pending: a window has opened or an acknowledgment has come since ``push`` last ran.
        probe: how a closed window is probed: "empty", "byte" or "none" (``MptcpConfig.subflow_probe``).
        persist_min: least interval between two probes, ns.
        persist_shift: how often the first interval is doubled already.
    """

    __slots__ = ("persist_min", "persist_shift", "probe", "push_pending")

    def __init__(self, probe: str, persist_min: int, persist_shift: int) -> None:
        self.push_pending: bool = False
        self.probe = probe
        self.persist_min = persist_min
        self.persist_shift = persist_shift

    def push(self, now: int) -> None:
        """Send all that may be sent."""
        raise NotImplementedError


class Owner(TimerOwner):
    """The connection that one or more TCP connections carry.

    They report to it with their numbers (``TcpEndpoint.identifier``).

    Attributes:
        identifier: number of the connection at its host, from 0.
        config: its settings.
        delivered_at: when bytes last arrived in order, ns, or -1.
        window_log: what happened to the windows, None where that is not logged.
        sent_bytes: the bytes written that may still be sent, by their offset in the stream; None where the
            connection carries the pattern.
        received_bytes: the bytes that have arrived and are not read, in order or not; None likewise.
    """

    __slots__ = ("config", "delivered_at", "identifier", "received_bytes", "sent_bytes", "window_log")

    def __init__(self, host: TransportHost, identifier: int, config: TcpConfig) -> None:
        super().__init__(host)
        self.identifier = identifier
        self.config = config
        self.delivered_at: int = -1
        self.window_log: WindowLog | None = WindowLog() if host.logs_windows else None
        carries_bytes = config.payload == "bytes"
        self.sent_bytes: ByteStore | None = ByteStore() if carries_bytes else None
        self.received_bytes: ByteStore | None = ByteStore() if carries_bytes else None

    @property
    def receives(self) -> bool:
        """More of the peer's stream may come, and the application may still read it."""
        raise NotImplementedError

    def extension_of(self, tcp: TimerOwner) -> Extension | None:
        """Return the extension of a new TCP connection that carries this one, or None."""
        raise NotImplementedError

    def on_established(self, number: int, now: int) -> None:
        """The handshake is complete."""
        raise NotImplementedError

    def on_data(self, number: int, offset: int, length: int, now: int) -> None:
        """Take the next bytes of the peer's stream, from ``offset`` on."""
        raise NotImplementedError

    def take_new(self, segment: Segment, left: int, right: int, offset: int) -> None:
        """Take the content of bytes that have not arrived before, perhaps out of order.

        Args:
            segment: the segment.
            left: relative sequence number of the first of the bytes.
            right: relative sequence number behind the last.
            offset: the place of the first in the peer's stream.
        """
        raise NotImplementedError

    def on_acked(self, number: int, now: int) -> None:
        """Data was acknowledged."""
        raise NotImplementedError

    def on_fin_acked(self, number: int, now: int) -> None:
        """The peer has acknowledged our FIN: all that was sent has arrived."""
        raise NotImplementedError

    def on_peer_closed(self, number: int, now: int) -> None:
        """The peer's FIN has arrived, and everything before it."""
        raise NotImplementedError

    def on_closed(self, number: int, now: int) -> None:
        """CLOSED was reached."""
        raise NotImplementedError
