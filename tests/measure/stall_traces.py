"""What the two captures of a run show: what was sent, what was delivered, what was told of windows.

Deliveries are found by reassembling what arrived in the receiver's capture, round trips and right edges in
the sender's. Numbers are relative: of a subflow its SYN has 0, of the stream the first byte 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.measure.stall_captures import ACK, RST, SYN, Four, Seen, first_data_number, read, relative

MS = 1_000_000
SHORTEST = 200 * MS
FAR = 1 << 62
#: How long every run lasts, ns.
DURATION = 2000 * MS


class Act(NamedTuple):
    """What an application did: ``write``, ``read``, ``close``; ``wait`` and ``go`` (for room to write)."""

    time: int
    what: str
    size: int


class Run(NamedTuple):
    """What a run leaves.

    Attributes:
        text: the scenario.
        captures: of the host that sends the data and the one that gets it.
        wrote, read: what the applications did at these two.
        eager: the receiver takes whatever arrives at once.
        buffer, send_buffer: sizes of the receiver's and the sender's buffer.
        profile: of both ends; empty: plain TCP.
        failed_at: when the flow failed, ns, or -1.
        client_sends: the data goes from the client to the server.
        stalls: as in ``summary.json``.
    """

    text: str
    captures: tuple[Path, Path]
    wrote: list[Act]
    read: list[Act]
    eager: bool
    buffer: int
    send_buffer: int
    profile: str
    failed_at: int
    client_sends: bool
    stalls: list[dict[str, Any]]


def back(flow: Four) -> Four:
    """Return addresses and ports of the other direction."""
    return flow[2], flow[3], flow[0], flow[1]


class Stretches:
    """Ranges of bytes that are there; whole numbers, sorted, without overlap."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def add(self, left: int, right: int) -> None:
        apart = [r for r in self.ranges if r[1] < left or r[0] > right]
        joined = [r for r in self.ranges if not (r[1] < left or r[0] > right)]
        low = min([left, *(r[0] for r in joined)])
        high = max([right, *(r[1] for r in joined)])
        self.ranges = sorted([*apart, (low, high)])

    def end_from(self, left: int) -> int:
        """Return how far what is there goes on from ``left`` without a hole."""
        return next((high for low, high in self.ranges if low <= left < high), left)


class Way:
    """One subflow, or the connection: what one capture shows of its packets."""

    def __init__(self, flow: Four) -> None:
        self.flow = flow
        self.isn = self.peer_isn = -1
        self.scale = self.peer_scale = -1
        self.established = self.usable = -1
        self.ended = FAR
        self.mappings: list[tuple[int, int, int]] = []
        # At the receiver.
        self.there = Stretches()
        self.next = 1
        self.edge = 1
        # At the sender.
        self.sent: list[list[int]] = []
        self.highest = 1
        self.acked = 0
        self.stamps: dict[int, int] = {}
        self.srtt: list[int] = [0, 0, 0]
        self.heard: list[tuple[int, int]] = []


class Trace:
    """One capture, as far as sender and receiver of the data have something to do with it."""

    def __init__(self, segments: list[Seen], at_sender: bool, client_sends: bool) -> None:
        self.at_sender = at_sender
        self.segments = segments
        self.ways: dict[Four, Way] = {}
        self.order: list[Way] = []
        self.version = -1
        self.idsn = -1
        self.multipath = False
        self.mss = 536
        self.client_sends = client_sends
        self._keys: dict[bool, bytes] = {}

    def is_data_side(self, segment: Seen) -> bool:
        """Return whether a segment goes from the sender of the data to its receiver."""
        return segment.outgoing == self.at_sender

    def way_of(self, segment: Seen) -> Way | None:
        """Return the subflow of a segment; a SYN begins one."""
        flow = segment.flow if self.is_data_side(segment) else back(segment.flow)
        way = self.ways.get(flow)
        begins = segment.flags & (SYN | ACK) == SYN
        if begins and (way is None or way.ended < segment.time):
            way = self.ways[flow] = Way(flow)
            self.order.append(way)
        return way

    def take_handshake(self, way: Way, segment: Seen) -> None:
        """Take what SYNs and third ACKs say."""
        data_side = self.is_data_side(segment)
        if segment.flags & SYN:
            if data_side:
                way.isn, way.scale = segment.seq, segment.scale
            else:
                way.peer_isn, way.peer_scale = segment.seq, segment.scale
                if way is self.order[0] and segment.mss:
                    self.mss = segment.mss
        capable = segment.capable
        if capable is not None and way is self.order[0]:
            from_client = data_side == self.client_sends
            self.version = capable.version
            if segment.flags & SYN:
                if segment.flags & ACK:
                    self.multipath = True
                if capable.keys:
                    self._keys[from_client] = capable.keys[0]
            elif capable.keys:
                self._keys[from_client] = capable.keys[0]
                self._keys[not from_client] = capable.keys[1]
            key = self._keys.get(self.client_sends)
            if key is not None:
                self.idsn = first_data_number(self.version, key)

    def seq(self, way: Way, segment: Seen) -> int:
        return relative(segment.seq, way.isn)

    def ack(self, way: Way, segment: Seen) -> int:
        return relative(segment.ack, way.isn)

    def window(self, way: Way, segment: Seen) -> int:
        """Return the window of a segment that goes to the sender, bytes."""
        scaled = way.scale >= 0 and way.peer_scale >= 0 and not segment.flags & SYN
        return segment.window << (way.peer_scale if scaled else 0)

    def data_ack(self, segment: Seen) -> int:
        """Return the relative DATA_ACK of a segment, -1 if it has none."""
        if segment.data_ack_octets == 0 or self.idsn < 0:
            return -1
        return relative(segment.data_ack, self.idsn, segment.data_ack_octets)

    def map(self, way: Way, segment: Seen) -> None:
        """Note the mapping of a segment with data."""
        mapping, capable = segment.mapping, segment.capable
        if mapping is not None and mapping.length > 0:
            dsn = relative(mapping.dsn, self.idsn, mapping.octets)
            found = (mapping.ssn, dsn, mapping.length)
        elif capable is not None and segment.length and not segment.flags & SYN:
            found = (1, 1, segment.length)
        else:
            return
        if found not in way.mappings[-8:]:
            way.mappings.append(found)

    def places(self, way: Way, left: int, right: int) -> Iterator[tuple[int, int]]:
        """Return where bytes of a subflow belong in the stream, as ranges of data sequence numbers."""
        while left < right:
            found = next((m for m in reversed(way.mappings) if m[0] <= left < m[0] + m[2]), None)
            assert found is not None, f"no mapping for byte {left} of {way.flow}"
            end = min(right, found[0] + found[2])
            yield found[1] + left - found[0], found[1] + end - found[0]
            left = end


class Told(NamedTuple):
    """A segment that the receiver sent: its right edge, in the stream; ``subflow``: in the order of SYNs."""

    time: int
    subflow: int
    edge: int
    own_edge: int
    window: int
    with_ack: bool
    raw: bytes


class Receiver:
    """The receiver's capture: what was delivered, and when; what it told of its window."""

    def __init__(self, run: Run) -> None:
        self.trace = Trace(read(run.captures[1]), False, run.client_sends)
        self.run = run
        self.deliveries: list[tuple[int, int]] = []
        self.told: list[Told] = []
        #: When each segment of the sender has come.
        self.heard: dict[bytes, list[int]] = {}
        self.established = -1
        self.shared = run.profile not in ("caia-v0.4", "caia-v0.51")
        self.whole = Way(("", 0, "", 0))
        for segment in self.trace.segments:
            self._take(segment)

    def _take(self, segment: Seen) -> None:
        trace = self.trace
        way = trace.way_of(segment)
        if way is None:
            return
        trace.take_handshake(way, segment)
        if segment.flags & RST:
            way.ended = min(way.ended, segment.time)
        elif segment.outgoing:
            self._tell(way, segment)
        else:
            self.heard.setdefault(segment.raw, []).append(segment.time)
            self._hear(way, segment)

    def _tell(self, way: Way, segment: Seen) -> None:
        trace = self.trace
        window = trace.window(way, segment)
        ack = trace.ack(way, segment) if segment.flags & ACK else 1
        way.edge = max(way.edge, ack + window)
        data_ack = trace.data_ack(segment) if trace.multipath else ack
        if segment.flags & SYN:
            if way is trace.order[0]:
                self.whole.edge = max(self.whole.edge, 1 + window)
            return
        if data_ack >= 0:
            self.whole.edge = max(self.whole.edge, data_ack + window)
            # One for the end of the stream.
            assert data_ack <= self.whole.next + 1, (
                f"{data_ack} acknowledged, {self.whole.next} found: {segment}"
            )
        number = trace.order.index(way)
        edge = (data_ack if data_ack >= 0 else ack) + window
        self.told.append(Told(segment.time, number, edge, ack + window, window, data_ack >= 0, segment.raw))

    def _hear(self, way: Way, segment: Seen) -> None:
        trace = self.trace
        if segment.flags & ACK and way.established < 0 and way.peer_isn >= 0:
            begun = segment.flags & SYN or relative(segment.ack, way.peer_isn) >= 1
            keys = not trace.multipath or segment.flags & SYN or trace.version == 0 or trace.idsn >= 0
            if begun and keys:
                way.established = segment.time
                if way is trace.order[0]:
                    self.established = segment.time
        if not segment.length or segment.time > way.ended or way.established < 0:
            return
        if trace.multipath:
            trace.map(way, segment)
        left = trace.seq(way, segment)
        edge = way.edge
        if trace.multipath and self.shared:
            edge = max(edge, way.next + max(0, self.whole.edge - self.whole.next))
        right = min(left + segment.length, edge)
        if left < right:
            way.there.add(left, right)
        end = way.there.end_from(way.next)
        if end <= way.next:
            return
        before, way.next = way.next, end
        if not trace.multipath:
            self._deliver(end, segment.time)
            return
        for low, high in trace.places(way, before, end):
            high = min(high, self.whole.edge) if self.shared else high
            if low < high:
                self.whole.there.add(low, high)
        self._deliver(self.whole.there.end_from(self.whole.next), segment.time)

    def _deliver(self, end: int, time: int) -> None:
        if end > self.whole.next:
            self.whole.next = end
            self.deliveries.append((time, end - 1))


class Sent(NamedTuple):
    """Data that the sender sent: its place in the stream, the subflow, and the segment."""

    time: int
    left: int
    right: int
    subflow: int
    raw: bytes


class Sender:
    """The sender's capture: what was sent, what it heard of the window, and its round trips."""

    def __init__(self, run: Run) -> None:
        self.trace = Trace(read(run.captures[0]), True, run.client_sends)
        self.sent: list[Sent] = []
        #: (instant, byte after the last one sent, largest right edge heard), whenever one of them grows.
        self.states: list[tuple[int, int, int]] = [(0, 1, 1)]
        #: (instant, smallest and largest of what may be the largest SRTT), whenever there is a sample.
        self.trips: list[tuple[int, int, int]] = [(0, 0, 0)]
        #: When each segment of the receiver has come.
        self.heard: dict[bytes, list[int]] = {}
        self.without_ack: list[int] = []
        self.probes: list[int] = []
        self.established = -1
        for segment in self.trace.segments:
            self._take(segment)

    def _take(self, segment: Seen) -> None:
        trace = self.trace
        way = trace.way_of(segment)
        if way is None:
            return
        trace.take_handshake(way, segment)
        if segment.flags & RST:
            way.ended = min(way.ended, segment.time)
        elif segment.outgoing:
            self._send(way, segment)
        else:
            self._hear(way, segment)

    def _send(self, way: Way, segment: Seen) -> None:
        trace = self.trace
        if segment.ts_val >= 0:
            way.stamps.setdefault(segment.ts_val, segment.time)
        left = trace.seq(way, segment)
        if segment.flags & SYN:
            way.sent.append([0, 1, segment.time, sum(1 for s in way.sent if s[1] == 1)])
            return
        if not segment.length:
            if left < way.highest:
                self.probes.append(segment.time)
            return
        right = left + segment.length
        again = sum(1 for s in way.sent if s[0] < right and s[1] > left)
        way.sent.append([left, right, segment.time, again])
        way.highest = max(way.highest, right)
        number = trace.order.index(way)
        if trace.multipath:
            trace.map(way, segment)
            for low, high in trace.places(way, left, right):
                self._sent(Sent(segment.time, low, high, number, segment.raw))
        else:
            self._sent(Sent(segment.time, left, right, number, segment.raw))

    def _sent(self, sent: Sent) -> None:
        time, left, right = sent.time, sent.left, sent.right
        if right - left == 1:
            self.probes.append(time)
        self.sent.append(sent)
        _, highest, edge = self.states[-1]
        if right > highest:
            self.states.append((time, right, edge))

    def _hear(self, way: Way, segment: Seen) -> None:
        trace = self.trace
        self.heard.setdefault(segment.raw, []).append(segment.time)
        if not segment.flags & ACK:
            return
        ack = trace.ack(way, segment)
        window = trace.window(way, segment)
        if way.established < 0:
            way.established = segment.time
            if way is trace.order[0]:
                self.established = segment.time
        elif way.usable < 0:
            # The fourth ACK of a join (RFC 8684 section 3.2).
            way.usable = segment.time
        data_ack = trace.data_ack(segment) if trace.multipath else ack
        if segment.flags & SYN:
            data_ack = 1 if way is trace.order[0] else -1
        if data_ack < 0:
            if not segment.flags & SYN and window:
                self.without_ack.append(segment.time)
        else:
            _, highest, edge = self.states[-1]
            if data_ack + window > edge:
                self.states.append((segment.time, highest, data_ack + window))
        self._sample(way, segment, ack)

    def _sample(self, way: Way, segment: Seen, ack: int) -> None:
        """Take a sample as RFC 6298 has it.

        It leaves open whether of the oldest or the newest of what was acknowledged, and whether of what was
        acknowledged selectively, too: three estimators.
        """
        blocks = [tuple(relative(edge, way.isn) for edge in block) for block in segment.sack]
        picked = [s for s in way.sent if any(low <= s[0] and s[1] <= high for low, high in blocks)]
        samples: list[int | None] = [None, None, None]
        if ack > way.acked:
            fresh = [s for s in way.sent if s[1] <= ack]
            way.acked = ack
            way.sent = [s for s in way.sent if s[1] > ack]
            once = self._sent_once(fresh)
            if once:
                samples = [segment.time - s[2] for s in (once[0], once[-1], once[-1])]
            elif segment.ts_ecr in way.stamps and ack > 1:
                samples = [segment.time - way.stamps[segment.ts_ecr]] * 3
        elif picked:
            once = self._sent_once(picked)
            if once:
                samples[2] = segment.time - once[-1][2]
        way.sent = [s for s in way.sent if s not in picked]
        if samples == [None, None, None]:
            return
        for index, sample in enumerate(samples):
            if sample is not None:
                way.srtt[index] = (7 * way.srtt[index] + sample) // 8 if way.srtt[index] else sample
        everything = [w for w in self.trace.order if w.established >= 0]
        alive = [w for w in everything if w.ended > segment.time] or everything
        low = max((min(w.srtt) for w in alive), default=0)
        high = max((max(w.srtt) for w in everything), default=0)
        self.trips.append((segment.time, low, high))

    @staticmethod
    def _sent_once(segments: list[list[int]]) -> list[list[int]]:
        """Karn's rule: what was sent again says nothing."""
        return [
            s
            for s in segments
            if not s[3] and not any(o is not s and o[0] < s[1] and o[1] > s[0] for o in segments)
        ]

    def state_at(self, time: int) -> tuple[int, int]:
        """Return up to which byte the sender had sent, and up to which it was allowed to, at an instant."""
        _, highest, edge = self.states[bisect_right(self.states, (time, FAR, FAR)) - 1]
        return highest, edge

    def limits_at(self, time: int) -> tuple[int, int]:
        """Return max(2 SRTT, 200 ms) at an instant: at least and at most, for estimators differ."""
        _, low, high = self.trips[bisect_right(self.trips, (time, FAR, FAR)) - 1]
        return max(SHORTEST, 2 * low * 3 // 4), max(SHORTEST, 2 * high * 4 // 3)
