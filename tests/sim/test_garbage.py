"""While a simulation runs Python looks for unreachable objects rarely; afterwards as before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator
from typing import Any

import pytest

from mptcpsim.sim.engine import Environment
from mptcpsim.sim.garbage import RARELY
from mptcpsim.units import SECOND

DEFAULT = (700, 10, 10)


@pytest.fixture(autouse=True)
def thresholds() -> Generator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*DEFAULT)
    yield
    gc.set_threshold(*before)


def run_and_note(env: Environment, until: Any) -> tuple[int, int, int]:
    """Run, and return the thresholds that were in force in the middle."""
    seen: list[tuple[int, int, int]] = []
    env.call_at(env.now + 1, lambda: seen.append(gc.get_threshold()))
    env.run(until)
    (found,) = seen
    return found


def test_only_while_it_runs() -> None:
    env = Environment()
    assert run_and_note(env, SECOND) == RARELY
    assert gc.get_threshold() == DEFAULT
    assert run_and_note(env, None) == RARELY
    assert gc.get_threshold() == DEFAULT
    assert run_and_note(env, env.timeout("1s")) == RARELY
    assert gc.get_threshold() == DEFAULT


def test_as_before_when_a_run_raises() -> None:
    env = Environment()

    def fail() -> None:
        raise RuntimeError("in the middle")

    env.call_at(5, fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        env.run(SECOND)
    assert gc.get_threshold() == DEFAULT
    with pytest.raises(ValueError, match="past"):
        env.run(1)
    assert gc.get_threshold() == DEFAULT


def test_a_run_within_a_run() -> None:
    outer, inner = Environment(), Environment()
    seen: list[Any] = []
    outer.call_at(1, lambda: seen.append(run_and_note(inner, SECOND)))
    outer.call_at(2, lambda: seen.append(gc.get_threshold()))
    outer.run(SECOND)
    assert seen == [RARELY, RARELY]
    assert gc.get_threshold() == DEFAULT


@pytest.mark.parametrize("chosen", [(0, 10, 10), (70_000, 20, 20)])
def test_who_looks_less_often_has_it_that_way(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    assert run_and_note(Environment(), SECOND) == chosen
    assert gc.get_threshold() == chosen


def test_what_is_chosen_during_a_run_stays() -> None:
    env = Environment()
    env.call_at(1, lambda: gc.set_threshold(123, 4, 5))
    env.run(SECOND)
    assert gc.get_threshold() == (123, 4, 5)


class _Circle:
    def __init__(self) -> None:
        self.itself = self
        self.weight = [[] for _ in range(50)]  # type: ignore[var-annotated]


@pytest.mark.parametrize("steps", [1, 100])
def test_unreachable_circles_do_not_pile_up(steps: int) -> None:
    """Also where a program runs a simulation in many short steps."""
    env = Environment()
    made: list[weakref.ref[_Circle]] = []
    most = 0

    def make() -> None:
        nonlocal most
        made.append(weakref.ref(_Circle()))
        if len(made) % 500 == 0:
            made[:] = [circle for circle in made if circle() is not None]
            most = max(most, len(made))

    for number in range(1, 20_001):
        env.call_at(number, make)
    for step in range(1, steps + 1):
        env.run(20_001 * step // steps)
    assert gc.get_threshold() == DEFAULT
    # Some 51 objects each, a million in all: the young ones are looked through after 50,000.
    assert most < 3_000
