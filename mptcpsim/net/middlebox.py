"""Middleboxes: what stands on a link and looks at, changes, delays or drops what passes.

The boxes of a link stand at its **second end**, between pipe and interface, in the order of the
list as seen from the first end. What goes *forward* (from the first end to the second) has
crossed the pipe, its queue and its delay, before a box sees it; what goes *backward* meets the
boxes before the pipe, so that what they drop takes no room in its queue. Captures at the second
end show forward packets behind the boxes and backward packets in front of them; captures at
the first end the other way round. A link without boxes pays nothing for them.

A box of one's own is a subclass of ``Middlebox`` with ``on_packet``::

    @register
    class NoUrgency(Middlebox):
        NAME = "no-urgency"
        SUMMARY = "clears the urgent pointer"

        def on_packet(self, packet, forward, now):
            if not isinstance(packet, Segment) or not packet.urgent:
                return packet
            packet = packet.clone()
            packet.urgent = 0
            packet.flags &= ~URG
            return packet

What it gets is a ``core.segment.Segment`` or an ``IcmpError``; a packet that was sent may not be changed,
but for a ``clone()``. Checksums are computed from what a packet carries, so whoever changes
it has mended them. ``size`` is to be kept right (``codec.options.wire_length`` computes it).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.plugins import Plugin
from mptcpsim.sim.loop import Loop

#: Returned by ``Middlebox.on_packet``: the box has taken the packet, and sends it, or others, itself.
HELD: Final = Packet(FourTuple("", 0, "", 0), 0)


class BoxCounts:
    """What a middlebox did with the packets of one direction.

    Attributes:
        packets: seen.
        changed: that went on as another one.
        dropped: that did not go on.
        sent: that the box has let go on, its own ones included.
    """

    __slots__ = ("changed", "dropped", "packets", "sent")

    def __init__(self) -> None:
        self.packets: int = 0
        self.changed: int = 0
        self.dropped: int = 0
        self.sent: int = 0


@mypyc_attr(allow_interpreted_subclasses=True)
class Middlebox(Plugin):
    """A box on a link; one instance serves both directions of it.

    Attributes:
        forward, backward: what it did, by direction.
        on_drop: called with each packet that the box drops, if set.
        rng: the box's own stream of random numbers.
        first_address: the first address of an IP version at the link's first end:
            ``first_address(ipv6)``; empty if there is none.
    """

    FAMILY: ClassVar[str] = "middlebox"
    #: What arrives may have other numbers in its header than were sent: hosts read its bytes.
    RENUMBERS: ClassVar[bool] = False

    def __init__(self) -> None:
        self.forward = BoxCounts()
        self.backward = BoxCounts()
        self.on_drop: Callable[[Packet], None] | None = None
        self.rng: random.Random = random.Random(0)
        self.first_address: Callable[[bool], str] = _no_address
        self._passage: Passage | None = None
        self._position: int = 0

    # --- What a kind of box says --------------------------------------------------------------

    def start(self) -> None:
        """Begin: the box is in its place and configured."""

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Return what goes on in a packet's place: the packet itself, or a changed clone.

        None drops it. ``HELD`` says that the box has taken it and sends it later, or sends
        others in its place (``send``, ``send_at``).

        Args:
            packet: a ``Segment`` or an ``IcmpError``.
            forward: it goes from the first end of the link to the second.
            now: ns.
        """
        return packet

    def answers(self, address: str) -> bool:
        """Return whether the box answers for an address that the second end looks for (ARP)."""
        return False

    # --- What it may do -----------------------------------------------------------------------

    def send(self, packet: Packet, forward: bool) -> None:
        """Send a packet on from here, in either direction; boxes that follow see it."""
        assert self._passage is not None
        self._passage.send_from(self._position, packet, forward)

    def send_at(self, at: int, packet: Packet, forward: bool) -> None:
        """Send a packet on from here at an instant (ns, not before now)."""
        assert self._passage is not None
        self._passage.send_later(at, self._position, packet, forward)

    def call_at(self, at: int, callback: Callable[[], None]) -> None:
        """Call back at an instant (ns, not before now); it cannot be taken back."""
        assert self._passage is not None
        self._passage.loop.schedule(at, callback)

    def now(self) -> int:
        """Return the instant, ns."""
        return self._passage.loop.now if self._passage is not None else 0

    # --- What the passage does ----------------------------------------------------------------

    def place(self, passage: Passage, position: int, rng: random.Random) -> None:
        """Put the box into its place."""
        self._passage = passage
        self._position = position
        self.rng = rng

    def take(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Show the box a packet, and count what it says; return what goes on at once, if anything does."""
        counts = self.forward if forward else self.backward
        counts.packets += 1
        result = self.on_packet(packet, forward, now)
        if result is None:
            counts.dropped += 1
            if self.on_drop is not None:
                self.on_drop(packet)
            return None
        if result is HELD:
            return None
        counts.sent += 1
        if result is not packet:
            counts.changed += 1
        return result


def _no_address(ipv6: bool) -> str:
    return ""


class Passage:
    """The middleboxes of a link, between its pipes and the interface at its second end.

    Attributes:
        loop: the clock.
        boxes: in order, the first end's neighbour first.
        deliver: takes what goes forward behind the last box; the interface sets it.
    """

    __slots__ = (
        "_deferred",
        "_entering",
        "_flush_event",
        "_later",
        "_later_event",
        "_leave",
        "_order",
        "boxes",
        "deliver",
        "loop",
    )

    def __init__(self, loop: Loop, boxes: Sequence[Middlebox], leave: Callable[[Packet], None]) -> None:
        """Line boxes up.

        Args:
            loop: the clock.
            boxes: configured; from here on they belong to this passage.
            leave: takes what goes backward behind the first box.
        """
        self.loop = loop
        self.boxes: list[Middlebox] = list(boxes)
        self.deliver: Callable[[Packet], None] = _nowhere
        self._leave = leave
        #: Packets of the second end that are on their way in: it must not get any meanwhile.
        self._entering: int = 0
        self._deferred: deque[Packet] = deque()
        #: What is sent later: (instant, order, position, packet, direction), a heap.
        self._later: list[tuple[int, int, int, Packet, bool]] = []
        self._order: int = 0
        self._flush_event: Callable[[], None] = self._flush
        self._later_event: Callable[[], None] = self._send_due

    def answers(self, address: str) -> bool:
        """Return whether one of the boxes answers for an address."""
        return any(box.answers(address) for box in self.boxes)

    def inward(self, packet: Packet) -> None:
        """Take a packet from the pipe."""
        self._advance(packet, 0, True)

    def outward(self, packet: Packet) -> None:
        """Take a packet from the interface."""
        self._entering += 1
        self._advance(packet, len(self.boxes) - 1, False)
        self._entering -= 1

    def send_from(self, position: int, packet: Packet, forward: bool) -> None:
        """Send a packet on from behind a box."""
        box = self.boxes[position]
        counts = box.forward if forward else box.backward
        counts.sent += 1
        self._advance(packet, position + 1 if forward else position - 1, forward)

    def send_later(self, at: int, position: int, packet: Packet, forward: bool) -> None:
        """Send a packet on from behind a box at an instant; those of one instant keep their order."""
        self._order += 1
        heappush(self._later, (at, self._order, position, packet, forward))
        self.loop.schedule(at, self._later_event)

    def _advance(self, packet: Packet, position: int, forward: bool) -> None:
        boxes = self.boxes
        now = self.loop.now
        step = 1 if forward else -1
        while 0 <= position < len(boxes):
            result = boxes[position].take(packet, forward, now)
            if result is None:
                return
            packet = result
            position += step
        if not forward:
            self._leave(packet)
        elif self._entering:
            # The second end is in the midst of sending: it takes an answer when it has done so.
            self._deferred.append(packet)
            self.loop.schedule(now, self._flush_event)
        else:
            self.deliver(packet)

    def _flush(self) -> None:
        self.deliver(self._deferred.popleft())

    def _send_due(self) -> None:
        """Send the packet that is due."""
        _, _, position, packet, forward = heappop(self._later)
        self.send_from(position, packet, forward)


def _nowhere(packet: Packet) -> None:
    raise RuntimeError(f"the middleboxes that {packet!r} has passed have no interface behind them")
