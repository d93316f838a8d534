"""What became of packets that did not arrive: the evidence of loss from which a stall is explained."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from mptcpsim.core.segment import FourTuple, IcmpError, Packet, Segment
from mptcpsim.net.pipe import Pipe
from mptcpsim.net.topology import Topology
from mptcpsim.sim.loop import Loop

# Who dropped a packet.
LINK: Final = "link"
NODE: Final = "node"
BOX: Final = "middlebox"

#: Drops that are kept for each direction of a subflow; of more than these the last ones.
_MOST: Final = 1024

#: The reasons of links in words; the others are names of queue disciplines.
_LINK_WORDS: Final[dict[str, str]] = {
    "loss": "lost at random on link {}",
    "queue": "dropped by the full queue of link {}",
    "down": "lost on link {}, which was down",
    "profile": "lost on link {}, by its delay profile",
}


class DroppedPacket(NamedTuple):
    """A packet that ended on its way.

    Attributes:
        time: ns.
        packet: as it was there; behind a middlebox it may differ from what was sent.
        who: ``LINK``, ``NODE`` or ``BOX``.
        place: the name of the link or node; of a middlebox its name and its link's.
        reason: as the summary counts it.
    """

    time: int
    packet: Packet
    who: str
    place: str
    reason: str

    @property
    def words(self) -> str:
        """What happened to the packet, as the end of a sentence: ``it was ...``."""
        if self.who == BOX:
            return f"dropped by {self.place}"
        if self.who == NODE:
            return f"dropped at {self.place} ({self.reason})"
        return _LINK_WORDS.get(self.reason, "dropped by the " + self.reason + " of link {}").format(
            self.place
        )


class DropLog:
    """The drops of a run, by addresses and ports of the packets; an ICMP error counts for its cause."""

    def __init__(self) -> None:
        self._drops: dict[FourTuple, deque[DroppedPacket]] = {}

    def add(self, drop: DroppedPacket) -> None:
        """Note a drop."""
        packet = drop.packet
        flow = packet.quoted_flow if isinstance(packet, IcmpError) else packet.flow
        drops = self._drops.get(flow)
        if drops is None:
            drops = self._drops[flow] = deque(maxlen=_MOST)
        drops.append(drop)

    def segments(self, flow: FourTuple, since: int) -> list[tuple[DroppedPacket, Segment]]:
        """Return the segments of a direction that were dropped at ``since``, ns, or later, oldest first."""
        found: list[tuple[DroppedPacket, Segment]] = []
        for drop in reversed(self._drops.get(flow, ())):
            if drop.time < since:
                break
            if isinstance(drop.packet, Segment):
                found.append((drop, drop.packet))
        return found[::-1]

    def errors(self, flow: FourTuple, since: int) -> list[DroppedPacket]:
        """Return the ICMP errors about segments of a direction that were dropped, as ``segments``."""
        return [
            drop
            for drop in self._drops.get(flow, ())
            if drop.time >= since and isinstance(drop.packet, IcmpError)
        ]


def watch_drops(topology: Topology, loop: Loop) -> DropLog:
    """Note every packet that a link, a node or a middlebox drops from now on; return the log, which fills."""
    log = DropLog()
    for name, link in topology.links.items():
        for pipe in link.pipes():
            _watch_pipe(pipe, log, loop, name)
        for box in link.middleboxes:
            place = f"the middlebox {box.NAME} of link {name}"
            box.on_drop = partial(_note_box, log, loop, place)
    for name, node in topology.nodes.items():
        node.on_drop = partial(_note, log, loop, NODE, name)
    return log


def _watch_pipe(pipe: Pipe, log: DropLog, loop: Loop, name: str) -> None:
    before: Callable[[Packet, str], None] | None = pipe.on_drop

    def note(packet: Packet, reason: str) -> None:
        if before is not None:
            before(packet, reason)
        _note(log, loop, LINK, name, packet, reason)

    pipe.on_drop = note


def _note(log: DropLog, loop: Loop, who: str, place: str, packet: Packet, reason: str) -> None:
    log.add(DroppedPacket(loop.now, packet, who, place, reason))


def _note_box(log: DropLog, loop: Loop, place: str, packet: Packet) -> None:
    _note(log, loop, BOX, place, packet, "middlebox")
