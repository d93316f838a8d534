"""One stack against a scripted peer, in the manner of packetdrill.

The script injects hand-made segments, lets virtual time pass and names the segments
that the stack must answer with, in order::

    script = Script.accepted(TcpConfig(ack_every=1))    # the stack is the server, connected
    script.inject(length=1000)                          # the peer's next 1000 bytes
    script.expect("A", ack=1001)
    script.quiet()                                      # and nothing else

Numbers are relative: the SYNs are 0, the first byte of either stream is 1.
"""

from __future__ import annotations

import random
from typing import Any

import mptcpsim.congestion
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import (
    ACK,
    CWR,
    ECE,
    FIN,
    NOT_ECT,
    PSH,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Segment,
    SynOptions,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.stack import Listener, Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import STATE_NAMES
from mptcpsim.units import MILLISECOND

assert mptcpsim.congestion

#: As in ``Segment.__repr__``.
LETTERS = {"S": SYN, "F": FIN, "R": RST, "P": PSH, "A": ACK, "E": ECE, "W": CWR}

LOCAL = "10.0.0.1"
PEER = "10.0.0.2"
LOCAL_PORT = 5001
PEER_PORT = 40000

PEER_ISS = 5_000_000


def flags_of(letters: str) -> int:
    """Return the control bits for letters such as "SA"."""
    bits = 0
    for letter in letters:
        bits |= LETTERS[letter]
    return bits


def letters_of(flags: int) -> str:
    """Return the letters of control bits, PSH left out: it says nothing here."""
    return "".join(letter for letter, bit in LETTERS.items() if flags & bit and bit != PSH)


class Script:
    """A stack at 10.0.0.1 and a scripted peer at 10.0.0.2.

    Attributes:
        now: virtual time, ns.
        stack, connection: the end under test; the connection is None before there is one.
        sent: every segment of the stack as (time, segment).
        seq, ack: what the peer sends next and acknowledges, unless ``inject`` is told otherwise;
            ``seq`` follows what is injected in order, ``ack`` follows what ``expect`` saw.
        window: the window field of what is injected.
        ts_val, ts_ecr: the peer's timestamps; ``UNKNOWN`` leaves the option out.
    """

    def __init__(self, config: TcpConfig | None = None, *, mtu: int = 1500) -> None:
        self.now = 0
        self.stack = Stack("stack", random.Random(7), config or TcpConfig())
        self.stack.add_address(LOCAL, mtu)
        self.connection: Connection | None = None
        self.sent: list[tuple[int, Segment]] = []
        self.map = SequenceMap(PEER_ISS)
        self.flow = FourTuple(PEER, PEER_PORT, LOCAL, LOCAL_PORT)
        self.seq = 0
        self.ack = 0
        self.window = 65535
        self.ts_val = 1000
        self.ts_ecr = 0
        self._seen = 0

    # --- Ready-made beginnings ------------------------------------------------------------------

    @classmethod
    def accepted(cls, config: TcpConfig | None = None, **syn: Any) -> Script:
        """Return a script in which the stack has accepted a connection at time 0."""
        mtu = syn.pop("mtu", 1500)
        script = cls(config, mtu=mtu)
        script.listen()
        script.inject("S", **syn)
        script.expect("SA")
        script.inject("A")
        script.quiet()
        script.connection = script.stack.connections[0]
        return script

    @classmethod
    def connected(cls, config: TcpConfig | None = None, *, rtt: int = 0, **syn: Any) -> Script:
        """Return a script in which the stack has opened a connection; the SYN,ACK took ``rtt``."""
        mtu = syn.pop("mtu", 1500)
        script = cls(config, mtu=mtu)
        script.connect()
        script.expect("S")
        script.run(script.now + rtt)
        script.inject("SA", **syn)
        script.expect("A")
        return script

    def listen(self) -> Listener:
        """Let the stack listen."""
        return self.stack.listen(LOCAL_PORT)

    def connect(self) -> Connection:
        """Let the stack open a connection to the peer."""
        self.connection = self.stack.connect(LOCAL, (PEER, PEER_PORT), self.now, local_port=LOCAL_PORT)
        self.drain()
        return self.connection

    # --- What the end under test is -------------------------------------------------------------

    @property
    def tcp(self) -> Tcp:
        """The TCP of the last connection of the stack."""
        return self.stack.connections[-1].subflows[0]

    @property
    def state(self) -> str:
        """The name of its state."""
        return STATE_NAMES[self.tcp.state]

    def count(self, name: str) -> int:
        """Return a counter of the stack."""
        return self.stack.counters[name]

    # --- The peer -------------------------------------------------------------------------------

    def segment(
        self,
        letters: str = "A",
        *,
        seq: int | None = None,
        ack: int | None = None,
        length: int = 0,
        window: int | None = None,
        sack: tuple[tuple[int, int], ...] | None = None,
        ts_val: int | None = None,
        ts_ecr: int | None = None,
        ecn: int = NOT_ECT,
        mss: int = 1460,
        window_scale: int = 0,
        sack_permitted: bool = True,
        iss: int = PEER_ISS,
    ) -> Segment:
        """Return a segment of the peer without sending it; the last four are options of a SYN."""
        flags = flags_of(letters)
        stamp = self.ts_val if ts_val is None else ts_val
        echo = self.ts_ecr if ts_ecr is None else ts_ecr
        segment = Segment(
            self.flow,
            40 + length,
            self.map,
            flags,
            self.seq if seq is None else seq,
            (self.ack if ack is None else ack) if flags & ACK else 0,
            self.window if window is None else window,
            length,
            stamp,
            UNKNOWN if stamp == UNKNOWN else echo,
            sack,
            ecn,
        )
        if flags & SYN:
            segment.syn = SynOptions(mss, window_scale, sack_permitted)
            segment.iss = iss
        return segment

    def inject(self, letters: str = "A", **fields: Any) -> Segment:
        """Hand the stack a segment of the peer now; ``fields`` are those of ``segment``."""
        segment = self.segment(letters, **fields)
        if segment.seq == self.seq:
            self.seq = segment.end
        if segment.ts_val == UNKNOWN and segment.flags & SYN:
            self.ts_val = UNKNOWN
        self.stack.receive_packet(segment, self.now)
        self.drain()
        return segment

    def icmp(self, cause: Segment, kind: str, mtu: int = 0, source: str = "10.0.0.254") -> None:
        """Hand the stack an ICMP error about ``cause``."""
        self.stack.receive_packet(IcmpError(source, cause, kind, mtu), self.now)
        self.drain()

    # --- The application ------------------------------------------------------------------------

    def write(self, count: int) -> int:
        """Let the application write."""
        accepted = self.stack.connections[-1].write(count, self.now)
        self.drain()
        return accepted

    def read(self, limit: int) -> int:
        """Let the application read."""
        count = self.stack.connections[-1].read(limit, self.now)
        self.drain()
        return count

    def close(self) -> None:
        """Let the application close."""
        self.stack.connections[-1].close(self.now)
        self.drain()

    def abort(self) -> None:
        """Let the application abort."""
        self.stack.connections[-1].abort(self.now)
        self.drain()

    # --- Time -----------------------------------------------------------------------------------

    def run(self, until: int) -> None:
        """Let time pass up to an instant (ns), the timers at it included."""
        while (due := self.stack.next_timer()) <= until:
            self.now = due
            self.stack.handle_timer(due)
            self.drain()
        self.now = max(self.now, until)

    def elapse(self, ms: float) -> None:
        """Let ``ms`` milliseconds pass."""
        self.run(self.now + round(ms * MILLISECOND))

    # --- What the stack sent --------------------------------------------------------------------

    def drain(self) -> None:
        """Take what the stack wants to send."""
        for packet in self.stack.outbox:
            assert isinstance(packet, Segment)
            self.sent.append((self.now, packet))
        self.stack.outbox.clear()
        self.stack.ready.clear()
        self.stack.arrivals.clear()

    def fresh(self) -> list[tuple[int, Segment]]:
        """Return what was sent and not yet expected, and consume it."""
        rest = self.sent[self._seen :]
        self._seen = len(self.sent)
        for _, segment in rest:
            self._follow(segment)
        return rest

    def _follow(self, segment: Segment) -> None:
        if not segment.flags & RST:
            self.ack = max(self.ack, segment.end)
        if self.map.irs == UNKNOWN and segment.flags & SYN:
            self.map.irs = segment.iss
        if segment.ts_val != UNKNOWN:
            self.ts_ecr = segment.ts_val

    def expect(self, letters: str, at: int | None = None, **fields: Any) -> Segment:
        """Check the next segment sent: its flags (but PSH), when it was sent (ns), and its fields."""
        assert self._seen < len(self.sent), f"expected {letters} {fields}, but nothing was sent"
        when, segment = self.sent[self._seen]
        self._seen += 1
        assert letters_of(segment.flags) == letters_of(flags_of(letters)), f"expected {letters}: {segment!r}"
        if at is not None:
            assert when == at, f"sent at {when}, not at {at}: {segment!r}"
        for name, value in fields.items():
            actual = getattr(segment, name)
            assert actual == value, f"{name} is {actual!r}, not {value!r}: {segment!r}"
        self._follow(segment)
        return segment

    def expect_data(self, *pieces: tuple[int, int], at: int | None = None) -> None:
        """Check the next segments: data (sequence number, length) each, in this order."""
        for seq, length in pieces:
            self.expect("A", at=at, seq=seq, length=length)

    def quiet(self) -> None:
        """Check that nothing more was sent."""
        rest = [segment for _, segment in self.sent[self._seen :]]
        assert not rest, f"sent unexpectedly: {rest}"
