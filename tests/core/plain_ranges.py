"""``core.ranges`` as one plain list of ranges: its oracle."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class PlainRanges:
    """Disjoint, non-adjacent ranges [left, right) in increasing order.

    Attributes:
        lefts, rights: the two ends of each range, same length, increasing.
        total: sum of the lengths.
    """

    __slots__ = ("lefts", "rights", "total")

    def __init__(self) -> None:
        self.lefts: list[int] = []
        self.rights: list[int] = []
        self.total: int = 0

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self.lefts)

    def clear(self) -> None:
        """Forget everything."""
        self.lefts.clear()
        self.rights.clear()
        self.total = 0

    def add(self, left: int, right: int) -> list[tuple[int, int]]:
        """Add [left, right) and return the parts of it that were not in the set."""
        if left >= right:
            return []
        lefts, rights = self.lefts, self.rights
        first = bisect_left(rights, left)
        last = bisect_right(lefts, right)
        fresh: list[tuple[int, int]] = []
        position = left
        for i in range(first, last):
            if lefts[i] > position:
                fresh.append((position, lefts[i]))
            position = max(position, rights[i])
        if position < right:
            fresh.append((position, right))
        if first < last:
            left = min(left, lefts[first])
            right = max(right, rights[last - 1])
        lefts[first:last] = [left]
        rights[first:last] = [right]
        for low, high in fresh:
            self.total += high - low
        return fresh

    def remove_below(self, point: int) -> None:
        """Remove everything below ``point``."""
        lefts, rights = self.lefts, self.rights
        while rights and rights[0] <= point:
            self.total -= rights[0] - lefts[0]
            del lefts[0], rights[0]
        if lefts and lefts[0] < point:
            self.total -= point - lefts[0]
            lefts[0] = point

    def around(self, point: int) -> tuple[int, int] | None:
        """Return the range that holds ``point``, or None."""
        i = bisect_right(self.lefts, point) - 1
        if i >= 0 and point < self.rights[i]:
            return self.lefts[i], self.rights[i]
        return None

    def missing(self, left: int, right: int) -> list[tuple[int, int]]:
        """Return the parts of [left, right) that are not in the set."""
        lefts, rights = self.lefts, self.rights
        gaps: list[tuple[int, int]] = []
        for i in range(bisect_right(rights, left), bisect_left(lefts, right)):
            if lefts[i] > left:
                gaps.append((left, lefts[i]))
            left = rights[i]
        if left < right:
            gaps.append((left, right))
        return gaps

    def covers(self, left: int, right: int) -> bool:
        """Return whether all of [left, right) is in the set."""
        i = bisect_right(self.lefts, left) - 1
        return i >= 0 and right <= self.rights[i]

    def highest(self) -> int:
        """Return the end of the last range, or -1 when empty."""
        return self.rights[-1] if self.rights else -1
