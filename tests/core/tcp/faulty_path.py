"""A path that loses, delays, doubles, damages and marks, and that watches what crosses it.

``FaultyPath`` is the hook of a ``Pair``. What it checks it computes from the packets
alone, as their receiver reads them: the window field of a segment means what the shift
on the sender's SYN makes of it, and a right edge is known to the other end once a segment
that carries it has arrived. No variable of a sender or receiver is trusted here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from mptcpsim.core.options import OPTION_SPACE, SACK_BLOCK, SACK_HEADER, TIMESTAMPS_LENGTH
from mptcpsim.core.segment import (
    ACK,
    CE,
    ECT0,
    FIN,
    ICMP_FRAGMENTATION_NEEDED,
    PSH,
    RST,
    SYN,
    TCP_HEADER,
    IcmpError,
    Packet,
    Segment,
    ip_header_length,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.endpoint import LEAST_MSS
from mptcpsim.units import MILLISECOND
from tests.core.tcp.packet_rate import PacketRate
from tests.core.tcp.pair import Pair

ROUTER = "10.0.0.254"

#: What may happen to a packet, and how long after the usual time its copies arrive (ms).
FATES: dict[str, tuple[int, ...]] = {
    "pass": (0,),
    "drop": (),
    "twice": (0, 0),
    "twice, once late": (0, 70),
    "twice, once very late": (0, 3_000),
    "late": (3,),
    "later": (45,),
    "very late": (900,),
    "longer": (0,),
    "split": (0,),
    "damage": (0,),
    "mark": (0,),
}
#: What noise does; half of it is loss.
FAULTS = tuple(fate for fate in FATES if fate != "pass") + ("drop",) * 8


class Violation(AssertionError):
    """An invariant does not hold; the message begins with its name."""


def hold(name: str, condition: bool, detail: Callable[[], str]) -> None:
    """Raise ``Violation`` with the name of the invariant unless the condition is true."""
    if not condition:
        raise Violation(f"{name}: {detail()}")


def connection_of(stack: Stack) -> Connection | None:
    """Return the connection under test at a host, or None where no SYN has arrived yet.

    A server may have others: those that failed before they were established, and those
    that a late copy of a SYN made.
    """
    for connection in stack.connections:
        if connection.established:
            return connection
    return stack.connections[-1] if stack.connections else None


def begun_earlier(segment: Segment, count: int) -> Segment:
    """Return a segment that begins ``count`` bytes earlier in the stream."""
    other = segment.clone()
    other.seq -= count
    other.offset -= count
    other.length += count
    other.size += count
    return other


def pieces(segment: Segment) -> tuple[Segment, Segment]:
    """Return two segments that carry what one does; what ends the stream is in the second."""
    half = segment.length // 2
    first, second = segment.clone(), segment.clone()
    first.length = half
    first.size -= segment.length - half
    first.flags &= ~(FIN | PSH)
    second.seq += half
    second.offset += half
    second.length -= half
    second.size -= half
    return first, second


class Direction:
    """One direction of the path: its state, and what the packets of its connection have said so far.

    Attributes:
        fates: what happens to the next packets, in order.
        noise: what chooses the fate of ``percent`` of 100 packets after those.
        dark: everything is lost.
        mutes_updates: segments without data or SACK that move the right edge are lost, ACKs of data, too.
        mtu: packets larger than this are answered with ICMP "fragmentation needed".
        sent, lost: packets that were sent, and those that did not arrive intact.
        last: the last segment that was sent.
        announced: the largest right edge that was sent, as the other end reads it.
        read: the largest right edge that has arrived at the other end.
        highest: the end of the data (and FIN) that was sent so far.
        acked: the largest acknowledgment number that was sent.
    """

    def __init__(self, mtu: int) -> None:
        self.fates: deque[str] = deque()
        self.noise = Random(0)
        self.percent = 0
        self.dark = False
        self.mutes_updates = False
        self.mtu = mtu
        self.sent = 0
        self.lost = 0
        self.begin(None)

    def begin(self, sequences: SequenceMap | None) -> None:
        """Forget what was said: another connection speaks now."""
        self.sequences = sequences
        self.last: Segment | None = None
        self.announced = 0
        self.read = 0
        self.highest = 1
        self.acked = 0
        self.mss = 0
        self.shift = UNKNOWN
        self._arriving: list[tuple[int, int]] = []

    def next_fate(self) -> str:
        """Return what happens to the next packet, a dark path aside."""
        if self.fates:
            return self.fates.popleft()
        if self.percent and self.noise.randrange(100) < self.percent:
            return self.noise.choice(FAULTS)
        return "pass"

    def arrives(self, when: int, edge: int) -> None:
        """Note that a segment with this right edge reaches the other end at ``when`` (ns)."""
        heappush(self._arriving, (when, edge))

    def read_until(self, now: int) -> int:
        """Return the largest right edge that the other end can have read by ``now``."""
        while self._arriving and self._arriving[0][0] <= now:
            self.read = max(self.read, heappop(self._arriving)[1])
        return self.read


class FaultyPath:
    """The hook of a ``Pair``: faults on both directions, and checks on every packet sent."""

    def __init__(self, mtu: int) -> None:
        self.directions = {"c>s": Direction(mtu), "s>c": Direction(mtu)}
        self.rate = PacketRate(hold)
        self.pair: Pair | None = None

    @property
    def lost(self) -> int:
        """Packets that did not arrive intact, both directions."""
        return self.directions["c>s"].lost + self.directions["s>c"].lost

    def heal(self) -> None:
        """Let everything through from now on; only the MTU stays."""
        for direction in self.directions.values():
            direction.fates.clear()
            direction.percent = 0
            direction.dark = direction.mutes_updates = False

    # --- What happens to a packet -----------------------------------------------------------------

    def __call__(self, way: str, packet: Packet, now: int) -> list[Any]:
        """Check a packet that was sent and return its deliveries, as a hook of ``Pair`` does."""
        direction = self.directions[way]
        direction.sent += 1
        update = False
        edge = -1
        if isinstance(packet, Segment) and self._is_of_the_connection(way, packet):
            announced = direction.announced
            edge = self._check(way, packet, now)
            update = edge > announced and packet.length == 0 and packet.flags == ACK and packet.sack is None
        if isinstance(packet, Segment):
            self.rate.on_sent(way, packet, now)
        deliveries = self._deliveries(way, packet, update, now)
        self.rate.lost = self.lost
        assert self.pair is not None
        for extra, copy in deliveries:
            if isinstance(copy, Segment):
                self.rate.on_arrival(way, copy)
            if edge >= 0 and not copy.damaged:
                direction.arrives(now + self.pair.delay + extra, edge)
        return deliveries

    def _deliveries(self, way: str, packet: Packet, update: bool, now: int) -> list[tuple[int, Packet]]:
        direction = self.directions[way]
        fate = direction.next_fate()
        if direction.dark or (direction.mutes_updates and update):
            fate = "drop"
        elif packet.size > direction.mtu:
            fate = "drop"
            self._too_big(way, packet)
        if fate == "damage":
            packet = packet.clone()
            packet.damaged = True
        elif fate == "mark" and packet.ecn == ECT0:
            packet = packet.clone()
            packet.ecn = CE
        if fate in ("drop", "damage"):
            direction.lost += 1
        if isinstance(packet, Segment) and packet.length > 1 and not packet.flags & SYN:
            # A sender may put what it sent before into other segments (RFC 9293 section 3.8.6), and so
            # do middleboxes.
            if fate == "longer":
                return [(0, begun_earlier(packet, min(60, packet.seq - 1, direction.mtu - packet.size)))]
            if fate == "split":
                return [(0, piece) for piece in reversed(pieces(packet))]
        return [
            (extra * MILLISECOND, packet if copy == 0 else packet.clone())
            for copy, extra in enumerate(FATES[fate])
        ]

    def _too_big(self, way: str, packet: Packet) -> None:
        """Send the ICMP error of RFC 1191, unless the way back is dark."""
        back = self.directions["s>c" if way == "c>s" else "c>s"]
        if back.dark or not isinstance(packet, Segment):
            return
        pair = self.pair
        assert pair is not None
        sender = pair.client if way == "c>s" else pair.server
        error = IcmpError(ROUTER, packet, ICMP_FRAGMENTATION_NEEDED, self.directions[way].mtu)
        pair.inject(sender, error)

    # --- What a segment must not say --------------------------------------------------------------

    def _is_of_the_connection(self, way: str, segment: Segment) -> bool:
        """Leave out resets that belong to no connection, and connections made by stray SYNs."""
        assert self.pair is not None
        connection = connection_of(self.pair.client if way == "c>s" else self.pair.server)
        if connection is None or segment.flags & RST:
            return False
        sequences = connection.subflows[0].sequences
        if segment.sequences is not sequences:
            return False
        direction = self.directions[way]
        if direction.sequences is not sequences:
            direction.begin(sequences)
        direction.last = segment
        return True

    def _check(self, way: str, segment: Segment, now: int) -> int:
        """Check a segment of the connection; return the right edge that it announces."""
        own = self.directions[way]
        peer = self.directions["s>c" if way == "c>s" else "c>s"]
        flags = segment.flags

        def told() -> str:
            return f"{way} {segment!r} at {now} ns"

        self._check_size(way, segment, told)
        if flags & SYN:
            assert segment.syn is not None
            own.shift = segment.syn.window_scale
            own.mss = segment.syn.mss
            # The window of a SYN is not scaled (RFC 7323 section 2.2), and without
            # an acknowledgment it counts from the first byte of the peer.
            edge = max(segment.ack, 1) + segment.window
        else:
            shift = own.shift if peer.shift != UNKNOWN and own.shift != UNKNOWN else 0
            edge = segment.ack + (segment.window << shift)
        if flags & ACK:
            hold("acknowledgment moved back", segment.ack >= own.acked, lambda: f"{told()} after {own.acked}")
            own.acked = segment.ack
        # A SYN that is sent again may follow an ACK with a larger, scaled window. But nobody reads both:
        # in a synchronized state a SYN is not processed (RFC 9293 section 3.10.7.4, fourth step).
        kept = edge >= own.announced or flags & SYN != 0
        hold("right edge moved left", kept, lambda: f"{told()}: {edge} < {own.announced}")
        own.announced = max(own.announced, edge)
        self._check_edge(own, segment, peer.read_until(now), told)
        return edge

    def _check_size(self, way: str, segment: Segment, told: Callable[[], str]) -> None:
        """RFC 9293 section 3.1: 40 bytes of options; section 3.7.1: the peer's MSS and the MTU."""
        assert self.pair is not None
        connection = connection_of(self.pair.client if way == "c>s" else self.pair.server)
        assert connection is not None
        mtu = connection.subflows[0].mtu
        hold("segment larger than the MTU", segment.size <= mtu, lambda: f"{told()}: {segment.size} > {mtu}")
        options = segment.size - ip_header_length(segment.flow.dst) - TCP_HEADER - segment.length
        hold("more than 40 bytes of options", 0 <= options <= OPTION_SPACE, lambda: f"{told()}: {options}")
        if segment.flags & SYN:
            return
        carried = TIMESTAMPS_LENGTH if segment.ts_val != UNKNOWN else 0
        carried += SACK_HEADER + SACK_BLOCK * len(segment.sack) if segment.sack else 0
        hold("size is not that of the options", options == carried, lambda: f"{told()}: {options}, {carried}")
        peer = self.directions["s>c" if way == "c>s" else "c>s"]
        if segment.length:
            fits = segment.length + options <= max(peer.mss, LEAST_MSS)
            hold("segment larger than the peer's MSS", fits, lambda: f"{told()}: mss {peer.mss}")

    def _check_edge(self, own: Direction, segment: Segment, edge: int, told: Callable[[], str]) -> None:
        """New data stays inside the window, but for the octet (or FIN) of a probe of a closed one."""
        end = segment.seq + segment.length + (1 if segment.flags & FIN else 0)
        if segment.flags & SYN or end <= own.highest:
            return
        if end > edge:
            octets = end - segment.seq
            probe = octets == 1 and segment.seq >= edge
            hold("data beyond the right edge", probe, lambda: f"{told()}: the peer offered up to {edge}")
            return
        own.highest = end
