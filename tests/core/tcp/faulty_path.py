"""A path that loses, delays, doubles, damages and marks, and that watches what crosses it.

``FaultyPath`` is the hook of a ``Pair``. What it checks it computes from the packets
alone, as their receiver reads them: the window field of a segment means what the shift
on the sender's SYN makes of it, and a right edge is known to the other end once a segment
that carries it has arrived. No variable of a sender or receiver is trusted here.
"""

from __future__ import annotations

from collections.abc import Callable

from mptcpsim.core.options import OPTION_SPACE, SACK_BLOCK, SACK_HEADER, TIMESTAMPS_LENGTH
from mptcpsim.core.segment import (
    ACK,
    FIN,
    ICMP_FRAGMENTATION_NEEDED,
    RST,
    SYN,
    TCP_HEADER,
    IcmpError,
    Segment,
    ip_header_length,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp.send_state import LEAST_MSS
from tests.core.tcp.other_bytes import other_bytes
from tests.core.tcp.pair import BACK, Pair
from tests.core.tcp.watched_path import Arriving, Lane, WatchedPath, connection_of, hold

ROUTER = "10.0.0.254"


def begun_earlier(segment: Segment, count: int) -> Segment:
    """Return a segment that begins ``count`` bytes earlier in the stream."""
    other = segment.clone()
    other.seq -= count
    other.offset -= count
    other.length += count
    other.size += count
    if segment.payload is not None:
        other.payload = other_bytes(other.offset, count) + segment.payload
    return other


class Direction(Lane):
    """One direction of the path: its state, and what the packets of its connection have said so far.

    Attributes:
        mutes_updates: segments without data or SACK that move the right edge are lost, ACKs of data, too.
        mtu: packets larger than this are answered with ICMP "fragmentation needed".
        sent: packets that were sent.
        updates: the last segment did nothing but move the right edge.
        last: the last segment that was sent.
        announced: the largest right edge that was sent, as the other end reads it.
        read: the largest right edge that has arrived at the other end.
        highest: the end of the data (and FIN) that was sent so far.
        acked: the largest acknowledgment number that was sent.
    """

    def __init__(self, mtu: int) -> None:
        super().__init__()
        self.mutes_updates = False
        self.mtu = mtu
        self.sent = 0
        self.begin(None)

    def begin(self, sequences: SequenceMap | None) -> None:
        """Forget what was said: another connection speaks now."""
        self.sequences = sequences
        self.updates = False
        self.last: Segment | None = None
        self.announced = 0
        self.read = Arriving(0)
        self.highest = 1
        self.acked = 0
        self.mss = 0
        self.shift = UNKNOWN

    def heal(self) -> None:
        """Let everything through from now on; only the MTU stays."""
        super().heal()
        self.mutes_updates = False


class FaultyPath(WatchedPath[Pair, Direction]):
    """The hook of a ``Pair``: faults on both directions, and checks on every packet sent."""

    def __init__(self, mtu: int) -> None:
        super().__init__()
        self.directions = {"c>s": Direction(mtu), "s>c": Direction(mtu)}

    def heal(self) -> None:
        """Let everything through from now on; only the MTU stays."""
        for direction in self.directions.values():
            direction.heal()

    # --- What happens to a packet -----------------------------------------------------------------

    def _lane_of(self, way: str, segment: Segment) -> Direction:
        return self.directions[way]

    def _fate(self, way: str, lane: Direction, segment: Segment) -> str:
        fate = lane.next_fate()
        if lane.dark or (lane.mutes_updates and lane.updates):
            return "drop"
        if segment.size > lane.mtu:
            self._too_big(way, segment)
            return "drop"
        return fate

    def _resegmented(self, lane: Direction, fate: str, segment: Segment) -> list[Segment]:
        if fate == "longer":
            return [begun_earlier(segment, min(60, segment.seq - 1, lane.mtu - segment.size))]
        return super()._resegmented(lane, fate, segment)

    def _too_big(self, way: str, segment: Segment) -> None:
        """Send the ICMP error of RFC 1191, unless the way back is dark."""
        if not self.directions[BACK[way]].dark:
            error = IcmpError(ROUTER, segment, ICMP_FRAGMENTATION_NEEDED, self.directions[way].mtu)
            self.pair.inject(self.pair.sender(way), error)

    def _arrives(self, way: str, segment: Segment, when: int) -> None:
        self.directions[way].read.comes(when, self._edge(way, segment))

    # --- What a segment must not say --------------------------------------------------------------

    def _check(self, way: str, segment: Segment, now: int) -> bool:
        own = self.directions[way]
        own.sent += 1
        own.updates = False
        speaks = self._is_of_the_connection(way, segment)
        if speaks:
            announced = own.announced
            self._check_segment(way, segment, now)
            moved = self._edge(way, segment) > announced
            own.updates = moved and segment.length == 0 and segment.flags == ACK and segment.sack is None
        return speaks

    def _is_of_the_connection(self, way: str, segment: Segment) -> bool:
        """Leave out resets that belong to no connection, and connections made by stray SYNs."""
        connection = connection_of(self.pair.sender(way))
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

    def _edge(self, way: str, segment: Segment) -> int:
        """Return the right edge that a segment announces, as the other end reads it."""
        if segment.flags & SYN:
            # The window of a SYN is not scaled (RFC 7323 section 2.2), and without
            # an acknowledgment it counts from the first byte of the peer.
            return max(segment.ack, 1) + segment.window
        own, peer = self.directions[way].shift, self.directions[BACK[way]].shift
        shift = own if peer != UNKNOWN and own != UNKNOWN else 0
        return segment.ack + (segment.window << shift)

    def _check_segment(self, way: str, segment: Segment, now: int) -> None:
        """Check a segment of the connection."""
        own = self.directions[way]
        flags = segment.flags

        def told() -> str:
            return f"{way} {segment!r} at {now} ns"

        self._check_size(way, segment, told)
        if flags & SYN:
            assert segment.syn is not None
            own.shift = segment.syn.window_scale
            own.mss = segment.syn.mss
        if flags & ACK:
            hold("acknowledgment moved back", segment.ack >= own.acked, lambda: f"{told()} after {own.acked}")
            own.acked = segment.ack
        edge = self._edge(way, segment)
        # A SYN that is sent again may follow an ACK with a larger, scaled window. But nobody reads both:
        # in a synchronized state a SYN is not processed (RFC 9293 section 3.10.7.4, fourth step).
        kept = edge >= own.announced or flags & SYN != 0
        hold("right edge moved left", kept, lambda: f"{told()}: {edge} < {own.announced}")
        own.announced = max(own.announced, edge)
        self._check_edge(own, segment, self.directions[BACK[way]].read.until(now), told)

    def _check_size(self, way: str, segment: Segment, told: Callable[[], str]) -> None:
        """RFC 9293 section 3.1: 40 bytes of options; section 3.7.1: the peer's MSS and the MTU."""
        connection = connection_of(self.pair.sender(way))
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
        peer = self.directions[BACK[way]]
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
