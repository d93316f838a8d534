"""The event loop: order, boundaries, the event budget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.sim.loop import LOOK_EVERY, EventBudgetExceeded, Loop, describe_source
from mptcpsim.units import NEVER


def note(loop: Loop, log: list[tuple[int, int]], index: int) -> None:
    log.append((loop.now, index))


def noting(log: list[str], what: str) -> Callable[[], None]:
    return lambda: log.append(what)


class TestOrder:
    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
    def test_by_instant_then_urgency_then_order_of_scheduling(self, plan: list[tuple[int, bool]]) -> None:
        loop = Loop()
        log: list[tuple[int, int]] = []
        for index, (at, urgent) in enumerate(plan):
            schedule = loop.schedule_urgent if urgent else loop.schedule
            schedule(at, partial(note, loop, log, index))
        loop.run(NEVER)
        order = sorted(range(len(plan)), key=lambda index: (plan[index][0], not plan[index][1], index))
        assert log == [(plan[index][0], index) for index in order]
        assert loop.executed == len(plan)

    def test_what_is_scheduled_for_now_runs_after_what_is_due(self) -> None:
        loop = Loop()
        log: list[str] = []

        def first() -> None:
            log.append("first")
            loop.schedule(loop.now, noting(log, "later"))
            loop.schedule_urgent(loop.now, noting(log, "urgent"))

        loop.schedule(3, first)
        loop.schedule(3, noting(log, "second"))
        loop.run(NEVER)
        assert log == ["first", "urgent", "second", "later"]


class TestRun:
    def test_the_boundary_belongs_to_the_next_run(self) -> None:
        loop = Loop()
        log: list[str] = []
        for at in (9, 10, 11):
            loop.schedule(at, noting(log, str(at)))
        loop.run(10)
        assert (log, loop.now, loop.peek()) == (["9"], 10, 10)
        loop.run(10)
        assert log == ["9"]
        loop.run(11)
        assert (log, loop.now) == (["9", "10"], 11)

    def test_the_clock_stands_at_the_end_though_nothing_is_due(self) -> None:
        loop = Loop()
        loop.run(10)
        assert (loop.now, loop.peek(), loop.executed) == (10, NEVER, 0)

    def test_without_an_end_it_stands_at_the_last_event(self) -> None:
        loop = Loop()
        loop.schedule(7, lambda: None)
        loop.run(NEVER)
        assert loop.now == 7

    def test_step(self) -> None:
        loop = Loop()
        log: list[str] = []
        loop.schedule(5, noting(log, "5"))
        loop.step()
        assert (log, loop.now, loop.executed) == (["5"], 5, 1)
        with pytest.raises(IndexError):
            loop.step()

    def test_an_exception_passes_through_and_the_loop_goes_on(self) -> None:
        loop = Loop()
        log: list[str] = []

        def fail() -> None:
            raise ZeroDivisionError

        loop.schedule(1, noting(log, "1"))
        loop.schedule(2, fail)
        loop.schedule(3, noting(log, "3"))
        with pytest.raises(ZeroDivisionError):
            loop.run(10)
        assert (loop.now, loop.executed) == (2, 2)
        loop.run(10)
        assert (log, loop.now, loop.executed) == (["1", "3"], 10, 3)

    @given(st.lists(st.integers(0, 50), max_size=20), st.lists(st.integers(0, 60), max_size=6))
    def test_running_in_slices_changes_nothing(self, instants: list[int], ends: list[int]) -> None:
        logs: list[list[tuple[int, int]]] = []
        for slices in ([60], [*sorted(ends), 60]):
            loop = Loop()
            log: list[tuple[int, int]] = []
            for index, at in enumerate(instants):
                loop.schedule(at, partial(note, loop, log, index))
            for end in slices:
                loop.run(end)
                assert loop.now == end
            logs.append(log)
        assert logs[0] == logs[1]


class Spinner:
    """Two of them answer each other for ever without time going by."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.peer: Spinner = self

    def answer(self) -> None:
        self.loop.schedule(self.loop.now, self.peer.answer)


class TestBudget:
    def test_a_livelock_ends_and_its_sources_are_named(self) -> None:
        loop = Loop(budget=100)
        left, right = Spinner(loop, "left"), Spinner(loop, "right")
        left.peer, right.peer = right, left
        loop.schedule(5, left.answer)
        with pytest.raises(EventBudgetExceeded) as caught:
            loop.run(10)
        message = str(caught.value)
        assert "more than 100 events at 5 ns" in message
        assert "Spinner left (answer): 50 %; Spinner right (answer): 50 %" in message
        assert loop.now == 5

    def test_the_busiest_come_first_and_there_are_five_at_most(self) -> None:
        loop = Loop(budget=10)
        for name, count in zip("abcdefg", (5, 30, 10, 20, 2, 1, 15), strict=True):
            for _ in range(count):
                loop.schedule(0, Spinner(loop, name).answer)
        with pytest.raises(EventBudgetExceeded) as caught:
            loop.run(1)
        names = [part.split()[1] for part in str(caught.value).split("events: ")[1].split("; ")]
        assert len(names) == 5
        assert names[:4] == ["b", "d", "g", "c"]

    @pytest.mark.parametrize(("events", "fails"), [(100, False), (101, True)])
    def test_exactly_the_budget_is_allowed(self, events: int, fails: bool) -> None:
        loop = Loop(budget=100)
        log: list[str] = []
        for _ in range(events):
            loop.schedule(3, noting(log, "x"))
        if fails:
            with pytest.raises(EventBudgetExceeded):
                loop.run(10)
        else:
            loop.run(10)
            assert len(log) == loop.executed == events

    def test_every_instant_has_the_whole_budget(self) -> None:
        loop = Loop(budget=10)
        for at in range(100):
            for _ in range(10):
                loop.schedule(at, lambda: None)
        loop.run(NEVER)
        assert loop.executed == 1000


class TestWatch:
    def test_it_is_called_every_so_many_callbacks(self) -> None:
        loop = Loop()
        calls: list[int] = []
        loop.watch = lambda: calls.append(loop.now)
        for at in range(3 * LOOK_EVERY):
            loop.schedule(at, lambda: None)
        loop.run(NEVER)
        assert calls == [0, LOOK_EVERY, 2 * LOOK_EVERY]

    def test_what_it_raises_ends_the_run_between_two_callbacks(self) -> None:
        loop = Loop()
        log: list[int] = []

        def refuse() -> None:
            if loop.now > 0:
                raise TimeoutError("long enough")

        loop.watch = refuse
        for at in range(2 * LOOK_EVERY):
            loop.schedule(at, lambda: log.append(loop.now))
        with pytest.raises(TimeoutError, match="long enough"):
            loop.run(NEVER)
        assert len(log) == loop.executed == LOOK_EVERY
        loop.watch = None
        loop.run(NEVER)
        assert log == list(range(2 * LOOK_EVERY))

    def test_it_sees_a_livelock_as_well(self) -> None:
        loop = Loop(budget=10 * LOOK_EVERY)
        spinner = Spinner(loop, "x")
        calls: list[int] = []
        loop.watch = lambda: calls.append(loop.now)
        loop.schedule(0, spinner.answer)
        with pytest.raises(EventBudgetExceeded):
            loop.run(1)
        assert len(calls) == 10


class TestNames:
    def test_a_method_is_named_by_its_owner(self) -> None:
        assert describe_source(Spinner(Loop(), "x").answer) == "Spinner x (answer)"
        assert describe_source([].clear) == "list (clear)"

    def test_a_function_is_named_by_its_place(self) -> None:
        assert describe_source(lambda: None).endswith(
            "test_a_function_is_named_by_its_place.<locals>.<lambda>"
        )

    def test_an_object_that_can_be_called_is_named_by_its_type(self) -> None:
        class _Caller:
            name = "who"

            def __call__(self) -> None:
                """Do nothing."""

        assert describe_source(_Caller()) == "Caller who"
