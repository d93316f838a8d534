"""What paths do to packets, and the part of watching them that does not depend on what they carry.

``WatchedPath`` is the hook of a ``Pair``: it lets the fate of every packet happen and counts the packets
that each end sends. What a packet says is checked by its subclasses, for TCP (``faulty_path``) and for MPTCP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import Random
from typing import Any, ClassVar, Generic, TypeVar

from mptcpsim.core.segment import CE, ECT0, FIN, PSH, SYN, Packet, Segment
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.units import MILLISECOND
from tests.core.tcp.packet_rate import PacketRate
from tests.core.tcp.pair import Pair

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


class Violation(AssertionError):
    """An invariant does not hold; the message begins with its name."""


def hold(name: str, condition: bool, detail: Callable[..., str]) -> None:
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
    if segment.payload is not None:
        first.payload, second.payload = segment.payload[:half], segment.payload[half:]
    return first, second


def faults(fates: Iterable[str]) -> tuple[str, ...]:
    """Return what noise chooses from; half of it is loss."""
    return tuple(fate for fate in fates if fate != "pass") + ("drop",) * 8


class Arriving:
    """A number that grows with what arrives: the largest one that an end can have read."""

    def __init__(self, value: int) -> None:
        self.value = value
        self._coming: list[tuple[int, int]] = []

    def comes(self, when: int, value: int) -> None:
        """Note that a segment with this number arrives at ``when`` (ns)."""
        if value > self.value:
            heappush(self._coming, (when, value))

    def until(self, now: int) -> int:
        """Return the largest number that has arrived by ``now``."""
        while self._coming and self._coming[0][0] <= now:
            self.value = max(self.value, heappop(self._coming)[1])
        return self.value


class Lane:
    """One direction of one path, and what happens to the packets on it.

    Attributes:
        FAULTS: what noise chooses from.
        fates: what happens to the next packets, in order.
        percent, noise: so many of 100 packets after those suffer a random fate.
        dark: everything is lost.
    """

    FAULTS: ClassVar[tuple[str, ...]] = faults(FATES)

    def __init__(self) -> None:
        self.fates: deque[str] = deque()
        self.noise = Random(0)
        self.percent = 0
        self.dark = False

    def heal(self) -> None:
        """Let everything through from now on."""
        self.fates.clear()
        self.percent = 0
        self.dark = False

    def next_fate(self) -> str:
        """Return what happens to the next packet, a dark path aside."""
        if self.fates:
            return self.fates.popleft()
        if self.percent and self.noise.randrange(100) < self.percent:
            return self.noise.choice(self.FAULTS)
        return "pass"


AnyLane = TypeVar("AnyLane", bound=Lane)
AnyPair = TypeVar("AnyPair", bound=Pair)


class WatchedPath(Generic[AnyPair, AnyLane]):
    """The hook of a ``Pair``: faults, and a check of how many packets are sent.

    Attributes:
        pair: the pair whose hook this is, set by ``watch``.
        lost: packets that did not arrive intact.
        tampered: segments whose options a middlebox has changed.
    """

    pair: AnyPair

    def __init__(self) -> None:
        self.rate = PacketRate(hold)
        self.lost = 0
        self.tampered = 0

    def watch(self, pair: AnyPair) -> None:
        """Watch a pair whose hook this is."""
        self.pair = pair
        pair.on_arrival = self.rate.on_arrival

    def __call__(self, way: str, packet: Packet, now: int) -> list[Any]:
        """Check a packet that was sent and return its deliveries, as a hook of ``Pair`` does."""
        assert isinstance(packet, Segment)
        speaks = self._check(way, packet, now)
        self.rate.on_sent(way, packet, now)
        delay = self.pair.delay_of(way, packet)
        deliveries = self._deliveries(way, packet)
        self.rate.lost = self.lost + self.tampered
        for extra, copy in deliveries:
            if speaks and not copy.damaged:
                self._arrives(way, copy, now + delay + extra)
        return deliveries

    # --- What subclasses know ---------------------------------------------------------------------

    def _check(self, way: str, segment: Segment, now: int) -> bool:
        """Check a segment that was sent; return whether it belongs to the connection under test."""
        raise NotImplementedError

    def _arrives(self, way: str, segment: Segment, when: int) -> None:
        """Note what the other end learns from a segment that arrives at ``when`` (ns)."""
        raise NotImplementedError

    def _lane_of(self, way: str, segment: Segment) -> AnyLane | None:
        """Return the lane that a segment takes, None where there is none any more."""
        raise NotImplementedError

    def _fate(self, way: str, lane: AnyLane, segment: Segment) -> str:
        """Return what happens to a segment, a key of ``FATES``."""
        return "drop" if lane.dark else lane.next_fate()

    def _tampered(self, lane: AnyLane, segment: Segment) -> Segment:
        """Return what a middlebox makes of a segment."""
        return segment

    def _resegmented(self, lane: AnyLane, fate: str, segment: Segment) -> list[Segment]:
        """Return the segments in which a fate delivers the data of one, none where it leaves it as it is."""
        return [] if fate != "split" else list(reversed(pieces(segment)))

    # --- What happens to a packet -----------------------------------------------------------------

    def _deliveries(self, way: str, segment: Segment) -> list[tuple[int, Segment]]:
        lane = self._lane_of(way, segment)
        fate = "drop" if lane is None else self._fate(way, lane, segment)
        if fate in ("drop", "damage"):
            self.lost += 1
        if lane is None or fate == "drop":
            return []
        if fate == "damage":
            segment = segment.clone()
            segment.damaged = True
        elif fate == "mark" and segment.ecn == ECT0:
            segment = segment.clone()
            segment.ecn = CE
        segment = self._tampered(lane, segment)
        if segment.length > 1 and not segment.flags & SYN:
            # A sender may put what it sent before into other segments (RFC 9293 section 3.8.6), and so
            # do middleboxes.
            others = self._resegmented(lane, fate, segment)
            if others:
                return [(0, other) for other in others]
        return [
            (extra * MILLISECOND, segment if copy == 0 else segment.clone())
            for copy, extra in enumerate(FATES[fate])
        ]
