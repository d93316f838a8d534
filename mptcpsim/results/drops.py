"""What became of packets that did not arrive: the evidence of loss from which a stall is explained."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from mptcpsim.core.segment import FourTuple, IcmpError, Packet, Segment

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


class Drop(NamedTuple):
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
        self._drops: dict[FourTuple, deque[Drop]] = {}

    def add(self, drop: Drop) -> None:
        """Note a drop."""
        packet = drop.packet
        flow = packet.quoted_flow if isinstance(packet, IcmpError) else packet.flow
        drops = self._drops.get(flow)
        if drops is None:
            drops = self._drops[flow] = deque(maxlen=_MOST)
        drops.append(drop)

    def segments(self, flow: FourTuple, since: int) -> list[tuple[Drop, Segment]]:
        """Return the segments of a direction that were dropped at ``since``, ns, or later, oldest first."""
        found: list[tuple[Drop, Segment]] = []
        for drop in reversed(self._drops.get(flow, ())):
            if drop.time < since:
                break
            if isinstance(drop.packet, Segment):
                found.append((drop, drop.packet))
        return found[::-1]

    def errors(self, flow: FourTuple, since: int) -> list[Drop]:
        """Return the ICMP errors about segments of a direction that were dropped, as ``segments``."""
        return [
            drop
            for drop in self._drops.get(flow, ())
            if drop.time >= since and isinstance(drop.packet, IcmpError)
        ]
