"""Sets of half-open integer ranges: what was received out of order, what was SACKed.

The ranges stand in blocks, so that where one comes or goes at most a block moves in memory, however many
holes there are. Both ends take constant time: there nearly everything happens. Data arrives above all that
has arrived, and fills the first hole. A plain list of ranges is the oracle (``tests/core/test_ranges.py``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

#: Most ranges in a block.
_BLOCK: Final = 64


class _Block:
    """Neighbouring ranges: their ends, both increasing."""

    __slots__ = ("lefts", "rights")

    def __init__(self, lefts: list[int], rights: list[int]) -> None:
        self.lefts = lefts
        self.rights = rights

    def cut(self, index: int) -> _Block:
        """Give up the ranges from ``index`` on, and return a block with them."""
        rest = _Block(self.lefts[index:], self.rights[index:])
        del self.lefts[index:]
        del self.rights[index:]
        return rest


#: The block of a set that has been empty all along, as most are: they share it, and nothing is put into it.
_NOTHING: Final = _Block([], [])
_NO_BLOCKS: Final[list[_Block]] = [_NOTHING]


class Ranges:
    """Disjoint, non-adjacent ranges [left, right) in increasing order.

    Attributes:
        total: sum of the lengths.
    """

    __slots__ = ("_blocks", "_count", "_first", "_last", "total")

    def __init__(self) -> None:
        #: None is empty, unless it is the only one.
        self._blocks: list[_Block] = _NO_BLOCKS
        self._first = _NOTHING
        self._last = _NOTHING
        self._count: int = 0
        self.total: int = 0

    def __len__(self) -> int:
        """Return the number of ranges."""
        return self._count

    def pairs(self) -> list[tuple[int, int]]:
        """Return all ranges."""
        return [pair for block in self._blocks for pair in zip(block.lefts, block.rights, strict=True)]

    def clear(self) -> None:
        """Forget everything."""
        self._use(_NO_BLOCKS)
        self._count = 0
        self.total = 0

    def _use(self, blocks: list[_Block]) -> None:
        self._blocks = blocks
        self._first = blocks[0]
        self._last = blocks[-1]

    # --- Both ends ----------------------------------------------------------------------------

    def add_above(self, left: int, right: int) -> bool:
        """Add [left, right), not empty, if nothing lies above ``left``; return whether that is so."""
        last = self._last
        rights = last.rights
        if rights:
            highest = rights[-1]
            if left == highest:
                rights[-1] = right
                self.total += right - left
                return True
            if left < highest:
                return False
            if len(rights) >= _BLOCK:
                last = _Block([], [])
                self._blocks.append(last)
                self._last = last
        elif last is _NOTHING:
            last = _Block([], [])
            self._use([last])
        last.lefts.append(left)
        last.rights.append(right)
        self._count += 1
        self.total += right - left
        return True

    def take_first(self, point: int) -> int:
        """Everything up to ``point`` is there; take away the range that begins there, if one does.

        Returns:
            the end of that range; ``point`` if none begins there; -1 if one begins below, and nothing was
            done.
        """
        first = self._first
        if not first.lefts:
            return point
        left = first.lefts[0]
        if point != left:
            return point if point < left else -1
        right = first.rights[0]
        first.lefts.pop(0)
        first.rights.pop(0)
        self._count -= 1
        self.total -= right - left
        if not first.lefts:
            self._drop_first()
        return right

    def _drop_first(self) -> None:
        """The first block has become empty."""
        if len(self._blocks) > 1:
            del self._blocks[0]
            self._first = self._blocks[0]

    def remove_below(self, point: int) -> None:
        """Remove everything below ``point``."""
        while True:
            first = self._first
            lefts, rights = first.lefts, first.rights
            if not lefts or lefts[0] >= point:
                return
            while rights and rights[0] <= point:
                self.total -= rights.pop(0) - lefts.pop(0)
                self._count -= 1
            if lefts:
                if lefts[0] < point:
                    self.total -= point - lefts[0]
                    lefts[0] = point
                return
            self._drop_first()

    def highest(self) -> int:
        """Return the end of the last range, or -1 when empty."""
        rights = self._last.rights
        return rights[-1] if rights else -1

    def last(self) -> tuple[int, int]:
        """Return the last range; there has to be one."""
        last = self._last
        return last.lefts[-1], last.rights[-1]

    def highest_ranges(self, most: int) -> list[tuple[int, int]]:
        """Return the last ranges, the highest first, at most ``most``."""
        found: list[tuple[int, int]] = []
        blocks = self._blocks
        number = len(blocks)
        while number > 0:
            number -= 1
            block = blocks[number]
            index = len(block.lefts)
            while index > 0:
                if len(found) >= most:
                    return found
                index -= 1
                found.append((block.lefts[index], block.rights[index]))
        return found

    # --- Anywhere -----------------------------------------------------------------------------

    def _at(self, point: int) -> int:
        """Return the number of the first block with a range that ends at ``point`` or above it."""
        blocks = self._blocks
        low, high = 0, len(blocks) - 1
        while low < high:
            middle = (low + high) // 2
            if blocks[middle].rights[-1] >= point:
                high = middle
            else:
                low = middle + 1
        return low

    def add(self, left: int, right: int) -> list[tuple[int, int]]:
        """Add [left, right) and return the parts of it that were not in the set."""
        if left >= right:
            return []
        if self.add_above(left, right):
            return [(left, right)]
        blocks = self._blocks
        number = self._at(left)
        block = blocks[number]
        first = bisect_left(block.rights, left)
        if right <= block.rights[first] and left >= block.lefts[first]:
            return []
        # Go over the ranges that it overlaps or touches, through further blocks if need be.
        fresh: list[tuple[int, int]] = []
        position = low = left
        after, index = number, first
        current = block
        while True:
            if index == len(current.lefts):
                if after + 1 == len(blocks):
                    break
                after += 1
                index = 0
                current = blocks[after]
            start = current.lefts[index]
            if start > right:
                break
            if start > position:
                fresh.append((position, start))
            elif start < low:
                low = start
            position = current.rights[index]
            index += 1
        if position < right:
            fresh.append((position, right))
            position = right
        for start, end in fresh:
            self.total += end - start
        if after == number + 1 and index == 0:
            after, index = number, len(block.lefts)
        if after == number:
            self._count += 1 - (index - first)
            block.lefts[first:index] = [low]
            block.rights[first:index] = [position]
            if len(block.lefts) > _BLOCK:
                blocks.insert(number + 1, block.cut(_BLOCK // 2))
                self._last = blocks[-1]
        else:
            self._replace(number, first, after, index, low, position)
        return fresh

    def _replace(self, number: int, first: int, after: int, index: int, left: int, right: int) -> None:
        """Put one range in the place of those from ``first`` of one block up to ``index`` of a later one."""
        blocks = self._blocks
        gone = index
        for between in range(number + 1, after):
            gone += len(blocks[between].lefts)
        block = blocks[number]
        gone += len(block.lefts) - first
        block.cut(first)
        block.lefts.append(left)
        block.rights.append(right)
        rest = blocks[after].cut(index)
        blocks[number + 1 : after + 1] = [rest] if rest.lefts else []
        self._count += 1 - gone
        self._last = blocks[-1]

    def around(self, point: int) -> tuple[int, int] | None:
        """Return the range that holds ``point``, or None."""
        block = self._last
        if not block.lefts or point >= block.rights[-1]:
            return None
        if point < block.lefts[0]:
            block = self._blocks[self._at(point + 1)]
        index = bisect_right(block.lefts, point) - 1
        if index >= 0 and point < block.rights[index]:
            return block.lefts[index], block.rights[index]
        return None

    def missing(self, left: int, right: int) -> list[tuple[int, int]]:
        """Return the parts of [left, right) that are not in the set."""
        gaps: list[tuple[int, int]] = []
        blocks = self._blocks
        number = self._at(left + 1)
        index = bisect_right(blocks[number].rights, left)
        while number < len(blocks) and left < right:
            block = blocks[number]
            while index < len(block.lefts) and left < right:
                start = block.lefts[index]
                if start > left:
                    gaps.append((left, min(start, right)))
                left = block.rights[index]
                index += 1
            number += 1
            index = 0
        if left < right:
            gaps.append((left, right))
        return gaps

    def covers(self, left: int, right: int) -> bool:
        """Return whether all of [left, right) is in the set."""
        found = self.around(left)
        return found is not None and right <= found[1]
