"""The transmission control block, which the parts of a TCP connection share (RFC 9293 section 3.3.1).

Sender, receiver, timers and the like see their connection as what stands here. ``TcpEndpoint`` builds
segments and carries out commands, ``Tcp`` (in ``arrives``) takes the segments that arrive.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.counters import Counters
from mptcpsim.core.host import TimerOwner, TransportHost
from mptcpsim.core.segment import TCP_HEADER, FourTuple, Segment, ip_header_length
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.core.tcp.seams import Extension, Owner
from mptcpsim.core.tcp.states import CLOSED, TRANSITION_TEXTS, TRANSITIONS
from mptcpsim.units import MILLISECOND, NEVER

_MASK: Final = 0xFFFFFFFF


class ControlBlock(TimerOwner):
    """State of one TCP connection; sequence numbers relative, sizes in bytes, times in ns.

    Attributes:
        connection: the connection that it carries, alone or with other TCP connections.
        identifier: its number within that connection.
        flow: addresses and ports of the segments that it sends.
        config: its settings.
        state: one of ``core.tcp.states``; only the transition table there changes it.
        sequences: converter to the numbers on the wire.
        extension: the extension (MPTCP), or None for a connection that never offered it.
        passive: a listener has accepted it.
        timestamps, ecn: both ends use them.
        snd_scale: shift of the windows that the peer announces.
        mtu: path MTU known so far.
        header: bytes of the IP and TCP headers, timestamps included.
        option_bytes: what timestamps and further options take of the MSS.
        signal_bytes: bytes of the options of the extension on a data segment.
        last_heard: when a segment last arrived.
        established_at: when ESTABLISHED was reached, or -1.
        wait_over_at: when FIN-WAIT-2 or TIME-WAIT ends by itself.
        error: why the connection failed, or an empty string.
        soft_error: the last ICMP error that may be temporary, or an empty string.
    """

    __slots__ = (
        "_timestamp_offset",
        "config",
        "connection",
        "ecn",
        "error",
        "established_at",
        "extension",
        "flow",
        "header",
        "identifier",
        "last_heard",
        "mtu",
        "option_bytes",
        "passive",
        "sequences",
        "signal_bytes",
        "snd_scale",
        "soft_error",
        "state",
        "timestamps",
        "wait_over_at",
    )

    def __init__(
        self,
        host: TransportHost,
        connection: Owner,
        identifier: int,
        flow: FourTuple,
        config: TcpConfig,
        mtu: int,
        iss: int,
        timestamp_offset: int,
    ) -> None:
        super().__init__(host)
        self.connection = connection
        self.identifier = identifier
        self.flow = flow
        self.config = config
        self.mtu = mtu
        self.state: int = CLOSED
        self.sequences = SequenceMap(iss)
        self.extension: Extension | None = None
        self.passive: bool = False
        self.timestamps: bool = config.timestamps
        self.ecn: bool = config.ecn
        self.snd_scale: int = 0
        self.option_bytes: int = 0
        self.signal_bytes: int = 0
        self.header: int = ip_header_length(flow.dst) + TCP_HEADER
        self.last_heard: int = 0
        self.established_at: int = -1
        self.wait_over_at: int = NEVER
        self.error: str = ""
        self.soft_error: str = ""
        self._timestamp_offset = timestamp_offset

    # --- The state ------------------------------------------------------------------------------

    def _enter(self, cause: str) -> int:
        """Change the state according to the table in ``core.tcp.states``; return the one before."""
        before = self.state
        self.state = TRANSITIONS[before, cause]
        return before

    def move(self, cause: str) -> None:
        """Change the state, and note it on the event log."""
        before = self._enter(cause)
        self.note("state", TRANSITION_TEXTS[before, cause])

    # --- Small services -------------------------------------------------------------------------

    def counters(self) -> Counters:
        """Return the counters of the host."""
        return self._host.counters

    def count(self, name: str) -> None:
        """Count under a name of Linux's MIB."""
        self._host.counters.add(name)

    def note(self, what: str, detail: str) -> None:
        """Put a rare event on the event log of the host."""
        self._host.note(self.connection.identifier, self.identifier, what, detail)

    def timestamp(self, now: int) -> int:
        """Return the value of the timestamp clock, one tick a millisecond (RFC 7323 section 5.4)."""
        return (now // MILLISECOND + self._timestamp_offset) & _MASK

    def log(self, what: str, now: int, seq: int, length: int) -> None:
        """Note what happens to windows, where that is logged."""
        raise NotImplementedError

    def log_now(self, what: str) -> None:
        """Note the same of an ACK that is being sent."""
        raise NotImplementedError

    def log_opened(self, segment: Segment) -> None:
        """Note that a segment has opened a window that was closed."""
        raise NotImplementedError

    # --- What a part asks of the whole ------------------------------------------------------------

    def emit(self, seq: int, length: int, flags: int, ect: bool, now: int) -> None:
        """Send one segment with the current acknowledgment, window and options."""
        raise NotImplementedError

    def send_ack(self, now: int) -> None:
        """Send a segment without data."""
        raise NotImplementedError

    def emit_syn(self, now: int) -> None:
        """Send the SYN, or the SYN/ACK, again or for the first time."""
        raise NotImplementedError

    def last_sent(self) -> Segment:
        """Return the segment that was sent last."""
        raise NotImplementedError

    def initial_window(self) -> int:
        """Return the initial congestion window, bytes (RFC 6928 section 2)."""
        raise NotImplementedError

    def most_timeouts(self) -> int:
        """Return after how many time-outs in a row the connection is given up."""
        raise NotImplementedError

    def give_up(self, reason: str, now: int) -> None:
        """The peer does not answer any more (RFC 9293 section 3.8.3)."""
        raise NotImplementedError

    def check(self, segment: Segment, left: int, right: int) -> None:
        """Check the content of those bytes of a segment that are new."""
        raise NotImplementedError

    def deliver(self, left: int, length: int, now: int) -> None:
        """Deliver the next bytes."""
        raise NotImplementedError

    def deliver_whole(self, segment: Segment, now: int) -> None:
        """Check and deliver all of a segment that is next in order."""
        raise NotImplementedError

    def acknowledged(self, now: int) -> None:
        """Data of ours was acknowledged."""
        raise NotImplementedError

    def fin_was_sent(self) -> None:
        """Our FIN has a sequence number now."""
        raise NotImplementedError
