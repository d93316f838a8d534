"""Data that goes out again at the connection: which, on whose behalf, and how much at once.

RFC 8684 section 3.3.6. Numbers are relative data sequence numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from mptcpsim.units import NEVER

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.mappings import Mapping

#: Origin of data that any subflow may carry.
NOBODY: Final = -1


class Reinjection(NamedTuple):
    """Data that another subflow than ``origin`` is to carry, too; relative DSNs [dsn, end)."""

    dsn: int
    end: int
    origin: int


def unqueued(mappings: Iterable[Mapping], una: int, origin: int) -> list[Reinjection]:
    """Return what of these mappings the connection has not acknowledged; mark it as queued for others.

    Args:
        mappings: of one subflow, the oldest first.
        una: the DATA_ACK.
        origin: the subflow that need not carry it again, or ``NOBODY``.
    """
    items: list[Reinjection] = []
    for mapping in mappings:
        end = mapping.dsn + mapping.length
        if mapping.reinjected or end <= una:
            continue
        mapping.reinjected = True
        if items and items[-1].end == mapping.dsn:
            items[-1] = Reinjection(items[-1].dsn, end, origin)
        else:
            items.append(Reinjection(max(mapping.dsn, una), end, origin))
    return items


def merged(items: Iterable[Reinjection]) -> deque[Reinjection]:
    """Return a queue, lowest DSN first, in which what one subflow carries twice is once."""
    queued: list[Reinjection] = []
    right: dict[int, int] = {}
    for item in sorted(items):
        dsn = max(item.dsn, right.get(item.origin, 0))
        if dsn < item.end:
            queued.append(Reinjection(dsn, item.end, item.origin))
            right[item.origin] = item.end
    return deque(sorted(queued))


class Repair:
    """What follows a retransmission of the connection, as a partial ACK follows one of TCP (RFC 6582).

    The subflows have acknowledged data that the connection has not. Where the DATA_ACK of what was sent
    again comes to a byte that again no subflow carries, the next piece goes out at once, twice as long: one
    lost mapping costs one segment, many of them a few round trips.

    Attributes:
        end: up to here data was sent again; ``NEVER`` while nothing is repaired.
        point: what was sent by the time of the retransmission ends here.
    """

    __slots__ = ("_length", "end", "point")

    def __init__(self) -> None:
        self.end: int = NEVER
        self.point: int = 0
        self._length: int = 0

    def begin(self, una: int, end: int, nxt: int) -> None:
        """The connection's timer has [una, end) sent again; ``nxt`` comes next for the first time."""
        self._length = end - una
        self.end = end
        self.point = nxt

    def follow(self, una: int, nxt: int, origin: int) -> Reinjection:
        """Return the piece that follows, for others than ``origin``."""
        self._length *= 2
        self.end = min(una + self._length, nxt)
        return Reinjection(una, self.end, origin)

    def stop(self) -> None:
        """Nothing is missing any more, or some subflow has it."""
        self.end = NEVER
