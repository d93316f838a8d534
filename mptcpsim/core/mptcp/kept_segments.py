"""Segments whose bytes are checked later, when their mapping is known or complete."""

from __future__ import annotations

from bisect import bisect_left, insort_right
from typing import Final

from mptcpsim.core.segment import Segment

_Entry = tuple[int, int, Segment]


def _seq(entry: _Entry) -> int:
    return entry[0]


def _arrival(entry: _Entry) -> int:
    return entry[1]


class KeptSegments:
    """Segments with payload, sorted by sequence number so that a range is found by bisection."""

    __slots__ = ("_arrivals", "_entries", "_longest")

    def __init__(self) -> None:
        #: Sequence number, number of arrival, segment.
        self._entries: Final[list[_Entry]] = []
        self._arrivals: int = 0
        self._longest: int = 0

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self._entries)

    def add(self, segment: Segment) -> None:
        """Keep a segment."""
        self._arrivals += 1
        self._longest = max(self._longest, segment.length)
        insort_right(self._entries, (segment.seq, self._arrivals, segment), key=_seq)

    def between(self, left: int, right: int) -> list[Segment]:
        """Return the segments with a byte in [left, right), those that arrived first in front."""
        entries = self._entries
        if not entries:
            return []
        first = bisect_left(entries, left - self._longest + 1, key=_seq)
        last = bisect_left(entries, right, lo=first, key=_seq)
        found = [entry for entry in entries[first:last] if entry[0] + entry[2].length > left]
        found.sort(key=_arrival)
        return [entry[2] for entry in found]

    def forget_below(self, seq: int) -> None:
        """Forget the segments that lie below a sequence number completely."""
        entries = self._entries
        if not entries:
            return
        old = bisect_left(entries, seq, key=_seq)
        if old:
            entries[:old] = [entry for entry in entries[:old] if entry[0] + entry[2].length > seq]

    def clear(self) -> None:
        """Forget all of them."""
        self._entries.clear()
