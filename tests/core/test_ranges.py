"""Sets of ranges against sets of integers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mptcpsim.core.ranges import Ranges
from tests.profiles import examples

POINTS = st.integers(0, 60)


def pairs(ranges: Ranges) -> list[tuple[int, int]]:
    return list(zip(ranges.lefts, ranges.rights, strict=True))


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
        assert numbers(pairs(self.ranges)) == sorted(self.model)
        assert self.ranges.total == len(self.model)
        assert self.ranges.highest() == (max(self.model) + 1 if self.model else -1)

    @invariant()
    def is_disjoint_and_not_adjacent(self) -> None:
        parts = pairs(self.ranges)
        assert len(self.ranges) == len(parts)
        assert all(left < right for left, right in parts)
        assert all(before[1] < after[0] for before, after in pairwise(parts))


TestRangesMachine = RangesMachine.TestCase
TestRangesMachine.settings = examples(200)


def test_neighbours_join() -> None:
    ranges = Ranges()
    assert ranges.add(10, 20) == [(10, 20)]
    assert ranges.add(30, 40) == [(30, 40)]
    assert ranges.add(20, 30) == [(20, 30)]
    assert pairs(ranges) == [(10, 40)]


def test_what_is_new_comes_in_pieces() -> None:
    ranges = Ranges()
    ranges.add(10, 20)
    ranges.add(30, 40)
    assert ranges.add(5, 45) == [(5, 10), (20, 30), (40, 45)]
    assert pairs(ranges) == [(5, 45)]


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
    assert pairs(one) == pairs(other)
