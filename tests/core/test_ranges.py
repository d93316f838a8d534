"""Sets of ranges against sets of integers."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mptcpsim.core.ranges import _BLOCK, Ranges
from tests.core.plain_ranges import PlainRanges
from tests.profiles import examples

POINTS = st.integers(0, 60)


def numbers(parts: list[tuple[int, int]]) -> list[int]:
    return [number for left, right in parts for number in range(left, right)]


class RangesMachine(RuleBasedStateMachine):
    """Every operation is done on a plain set as well."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = Ranges()
        self.model: set[int] = set()

    @rule(left=POINTS, right=POINTS)
    def add(self, left: int, right: int) -> None:
        fresh = self.ranges.add(left, right)
        assert numbers(fresh) == sorted(set(range(left, right)) - self.model)
        assert all(low < high for low, high in fresh)
        self.model |= set(range(left, right))

    @rule(point=POINTS)
    def remove_below(self, point: int) -> None:
        self.ranges.remove_below(point)
        self.model = {number for number in self.model if number >= point}

    @rule()
    def clear(self) -> None:
        self.ranges.clear()
        self.model.clear()

    @rule(point=POINTS)
    def around(self, point: int) -> None:
        found = self.ranges.around(point)
        assert (found is not None) == (point in self.model)
        if found is not None:
            left, right = found
            assert left <= point < right
            assert set(range(left, right)) <= self.model
            assert left - 1 not in self.model
            assert right not in self.model

    @rule(left=POINTS, right=POINTS)
    def covers(self, left: int, right: int) -> None:
        if left < right:
            assert self.ranges.covers(left, right) == (set(range(left, right)) <= self.model)

    @invariant()
    def holds_the_same(self) -> None:
        assert numbers(self.ranges.pairs()) == sorted(self.model)
        assert self.ranges.total == len(self.model)
        assert self.ranges.highest() == (max(self.model) + 1 if self.model else -1)

    @invariant()
    def is_disjoint_and_not_adjacent(self) -> None:
        parts = self.ranges.pairs()
        assert len(self.ranges) == len(parts)
        assert all(left < right for left, right in parts)
        assert all(before[1] < after[0] for before, after in pairwise(parts))


TestRangesMachine = RangesMachine.TestCase
TestRangesMachine.settings = examples(200)


FAR = st.integers(0, 2000)


class BlocksMachine(RuleBasedStateMachine):
    """Many ranges, in several blocks: every operation is done on the plain list as well."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = Ranges()
        self.plain = PlainRanges()

    @rule(start=FAR, count=st.integers(1, 300), step=st.integers(2, 9), rng=st.randoms(use_true_random=False))
    def comb(self, start: int, count: int, step: int, rng: Random) -> None:
        """Every second segment arrives, in any order."""
        lefts = [start + step * number for number in range(count)]
        rng.shuffle(lefts)
        for left in lefts:
            self.add(left, left + step // 2)

    @rule(left=FAR, length=st.sampled_from([0, 1, 3, 50, 400, 2500]))
    def add(self, left: int, length: int) -> None:
        assert self.ranges.add(left, left + length) == self.plain.add(left, left + length)

    @rule(gap=st.integers(-3, 3), length=st.integers(1, 5), times=st.integers(1, 200))
    def add_above(self, gap: int, length: int, times: int) -> None:
        for _ in range(times):
            left = max(self.plain.highest(), 0) + gap
            lies_above = not len(self.plain) or left >= self.plain.highest()
            assert self.ranges.add_above(left, left + length) == lies_above
            if lies_above:
                self.plain.add(left, left + length)

    @rule(gap=st.integers(-1, 1), times=st.integers(1, 200))
    def take_first(self, gap: int, times: int) -> None:
        for _ in range(times):
            if not len(self.plain):
                assert self.ranges.take_first(gap) == gap
                break
            first = self.plain.lefts[0]
            end = self.plain.rights[0] if gap == 0 else -1 if gap > 0 else first + gap
            assert self.ranges.take_first(first + gap) == end
            if gap == 0:
                self.plain.remove_below(end)

    @rule(point=FAR)
    def remove_below(self, point: int) -> None:
        self.ranges.remove_below(point)
        self.plain.remove_below(point)

    @rule(points=st.lists(FAR, min_size=1, max_size=20), length=st.integers(1, 300))
    def ask(self, points: list[int], length: int) -> None:
        for point in points:
            assert self.ranges.around(point) == self.plain.around(point)
            assert self.ranges.covers(point, point + length) == self.plain.covers(point, point + length)
            assert self.ranges.missing(point, point + length) == self.plain.missing(point, point + length)

    @rule()
    def clear(self) -> None:
        self.ranges.clear()
        self.plain.clear()

    @invariant()
    def holds_the_same(self) -> None:
        pairs = list(zip(self.plain.lefts, self.plain.rights, strict=True))
        assert self.ranges.pairs() == pairs
        assert (len(self.ranges), self.ranges.total) == (len(self.plain), self.plain.total)
        assert self.ranges.highest() == self.plain.highest()
        assert self.ranges.highest_ranges(3) == pairs[:-4:-1]
        assert not pairs or self.ranges.last() == pairs[-1]
        for block in self.ranges._blocks:
            assert len(block.lefts) <= _BLOCK, "what moves in memory does not grow with the number of ranges"


TestBlocksMachine = BlocksMachine.TestCase
TestBlocksMachine.settings = examples(100)


def test_neighbours_join() -> None:
    ranges = Ranges()
    assert ranges.add(10, 20) == [(10, 20)]
    assert ranges.add(30, 40) == [(30, 40)]
    assert ranges.add(20, 30) == [(20, 30)]
    assert ranges.pairs() == [(10, 40)]


def test_what_is_new_comes_in_pieces() -> None:
    ranges = Ranges()
    ranges.add(10, 20)
    ranges.add(30, 40)
    assert ranges.add(5, 45) == [(5, 10), (20, 30), (40, 45)]
    assert ranges.pairs() == [(5, 45)]


@pytest.mark.parametrize(("left", "right"), [(5, 5), (7, 3)])
def test_nothing_is_no_range(left: int, right: int) -> None:
    ranges = Ranges()
    assert ranges.add(left, right) == []
    assert len(ranges) == 0


@examples(100)
@given(st.lists(st.tuples(POINTS, POINTS), max_size=20), st.randoms(use_true_random=False))
def test_order_does_not_matter(parts: list[tuple[int, int]], rng: object) -> None:
    one, other = Ranges(), Ranges()
    for left, right in parts:
        one.add(left, right)
    rng.shuffle(parts)  # type: ignore[attr-defined]
    for left, right in parts:
        other.add(left, right)
    assert one.pairs() == other.pairs()
