"""The pairing heap of ``Loop`` and the ``heapq`` of ``HeapqLoop`` do the same, whatever is put on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.net.fifo import FifoPipe
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.sim import heapq_loop
from mptcpsim.sim.heapq_loop import HeapqLoop, make_loop
from mptcpsim.sim.loop import LOOK_EVERY, Callback, EventBudgetExceeded, Loop
from mptcpsim.units import NEVER
from tests.profiles import examples

KINDS: tuple[type[Loop], ...] = (Loop, HeapqLoop)
FLOW = FourTuple("10.0.0.1", 1, "10.0.0.2", 2)


class Act(NamedTuple):
    """What an event does beside being noted: it puts others on the heap, or raises.

    Attributes:
        how: ``schedule``, ``urgent`` or ``push``; how it was put on the heap itself.
        gap: ns between the instant at which that was done and its own.
        then: what it puts on the heap when it happens.
        raises: it raises then.
    """

    how: str
    gap: int
    then: tuple[Act, ...]
    raises: bool


HOW = st.sampled_from(["schedule", "push", "urgent"])
# Few instants, so that many events share one.
GAP = st.sampled_from([0, 0, 1, 2, 3, 7])
ACT: st.SearchStrategy[Act] = st.recursive(
    st.builds(Act, HOW, GAP, st.just(()), st.just(False)),
    lambda acts: st.builds(
        Act, HOW, GAP, st.lists(acts, max_size=5).map(tuple), st.sampled_from([False] * 9 + [True])
    ),
    max_leaves=40,
)
COMMAND = st.one_of(
    st.tuples(st.just("add"), ACT),
    st.tuples(st.just("add"), ACT),
    st.tuples(st.just("run"), st.integers(0, 6)),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("peek"), st.just(0)),
    st.tuples(st.just("all"), st.just(0)),
)


class Driven:
    """One loop, what was done with it, and all that can be seen of it."""

    def __init__(self, kind: type[Loop], budget: int = 1000) -> None:
        self.loop = kind(budget)
        self.seen: list[Any] = []
        self._number = 0

    def add(self, act: Act) -> None:
        """Put an event on the heap."""
        self._number += 1
        loop = self.loop
        call = partial(self._happen, self._number, act)
        at = loop.now + act.gap
        if act.how == "push":
            loop.push(at, Callback(call))
        elif act.how == "urgent":
            loop.schedule_urgent(at, call)
        else:
            loop.schedule(at, call)

    def _happen(self, number: int, act: Act) -> None:
        self.seen.append((self.loop.now, number))
        for other in act.then:
            self.add(other)
        if act.raises:
            raise ZeroDivisionError(number)

    def carry_out(self, command: tuple[str, Any]) -> None:
        """Do one thing, and note what the loop says of itself after it."""
        what, value = command
        loop = self.loop
        try:
            if what == "add":
                self.add(value)
            elif what == "run":
                loop.run(loop.now + value)
            elif what == "all":
                loop.run(NEVER)
            elif what == "step":
                for _ in range(value):
                    loop.step()
        except (ZeroDivisionError, IndexError) as error:
            self.seen.append((type(error).__name__, str(error) if what != "step" else ""))
        self.seen.append((what, loop.now, loop.executed, loop.peek(), loop.pending()))


@examples(150)
@given(st.lists(COMMAND, max_size=30))
@example([("add", Act("urgent", 0, (Act("urgent", 0, (), False),) * 3, False)), ("all", 0)])
def test_any_schedule(commands: Sequence[tuple[str, Any]]) -> None:
    runs = [Driven(kind) for kind in KINDS]
    for run in runs:
        for command in [*commands, ("all", 0)]:
            run.carry_out(command)
    assert runs[0].seen == runs[1].seen
    assert sum(1 for entry in runs[0].seen if isinstance(entry[1], int) and len(entry) == 2) == (
        runs[0].loop.executed
    )


@pytest.mark.parametrize("spread", [1, 100, 10_000_000])
def test_many_events_that_make_others(spread: int) -> None:
    """3,000 events on the heap, each of which puts another one there once."""
    seen: list[list[tuple[int, int]]] = []
    for kind in KINDS:
        loop = kind()
        rng = random.Random(7)
        log: list[tuple[int, int]] = []
        seen.append(log)

        def again(number: int, loop: Loop = loop, rng: random.Random = rng, log: Any = log) -> None:
            log.append((loop.now, number))
            if number < 3_000:
                loop.schedule(loop.now + rng.randrange(spread), partial(again, number + 3_000))

        for number in range(3_000):
            loop.schedule(rng.randrange(spread), partial(again, number))
        loop.run(NEVER)
        assert loop.executed == 6_000
    assert seen[0] == seen[1]
    assert seen[0] == sorted(seen[0], key=lambda entry: entry[0])


def test_what_is_beyond_all_instants_never_happens() -> None:
    for kind in KINDS:
        loop = kind()
        loop.schedule(10**30, pytest.fail)
        loop.schedule_urgent(NEVER, pytest.fail)
        loop.run(10**40)
        assert (loop.executed, loop.peek(), loop.pending()) == (0, NEVER, 2)


class Spinner:
    """Puts itself on the heap again without time going by."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name

    def spin(self) -> None:
        self.loop.schedule(self.loop.now, self.spin)


def livelock(kind: type[Loop], shares: Sequence[int]) -> tuple[str, int, int, int]:
    loop = kind(50)
    pipe = FifoPipe(loop, "ring", PipeSettings(delay_ns=0), 0)
    pipe.sink = lambda packet: pipe.send(packet)
    for number, share in enumerate(shares):
        for _ in range(share):
            loop.schedule(3, Spinner(loop, f"s{number}").spin)
    loop.schedule(3, lambda: pipe.send(Packet(FLOW, 10)))
    with pytest.raises(EventBudgetExceeded) as caught:
        loop.run(10)
    return str(caught.value), loop.now, loop.executed, loop.pending()


@examples(30)
@given(st.lists(st.integers(0, 6), max_size=7))
def test_the_budget_ends_at_the_same_event_and_names_the_same_sources(shares: list[int]) -> None:
    found = [livelock(kind, shares) for kind in KINDS]
    assert found[0] == found[1]
    assert "more than 50 events at 3 ns" in found[0][0]


def test_a_pipe_is_named_among_the_busiest() -> None:
    for kind in KINDS:
        assert "Busiest sources of the last 1000 events: FifoPipe ring: 100 %" in livelock(kind, [])[0]


def test_the_watch_is_called_at_the_same_events() -> None:
    calls: list[list[int]] = []
    for kind in KINDS:
        loop = kind(3 * LOOK_EVERY)
        log: list[int] = []
        calls.append(log)
        loop.watch = lambda loop=loop, log=log: log.append(loop.now)
        for at in range(4 * LOOK_EVERY + 5):
            loop.schedule(at // 7, lambda: None)
        for end in (100, 101, 5_000, NEVER):
            loop.run(end)
    assert calls[0] == calls[1]
    assert len(calls[0]) > 4


def test_an_event_is_on_one_heap_at_a_time() -> None:
    event = Callback(lambda: None)
    loop = Loop()
    loop.push(4, event)
    with pytest.raises(RuntimeError, match=r"is due at 4 ns already"):
        Loop().push(5, event)
    loop.run(5)
    loop.push(6, event)
    loop.run(7)
    assert (loop.executed, loop.pending()) == (2, 0)


def test_a_run_takes_the_loop_that_fits_the_build() -> None:
    compiled = not str(heapq_loop.__file__).endswith(".py")
    assert type(make_loop()) is (Loop if compiled else HeapqLoop)


# --- Long chains -----------------------------------------------------------------------------------

#: Far more than the C stack has room for, if freeing one took a frame for the next.
MANY = 300_000


def _in_a_row(loop: Loop) -> None:
    """Each event after the one before: all become children or neighbours of few."""
    nothing: list[int] = []
    for at in range(MANY):
        loop.schedule(at, nothing.clear)


def _backwards(loop: Loop) -> None:
    """Each event before the one before: a chain of children."""
    nothing: list[int] = []
    for at in range(MANY, 0, -1):
        loop.schedule(at, nothing.clear)


@pytest.mark.parametrize("fill", [_in_a_row, _backwards])
def test_a_loop_with_many_events_is_dropped(fill: Callable[[Loop], None]) -> None:
    loop = Loop()
    fill(loop)
    assert loop.pending() == MANY
    loop.run(3)
    del loop


@pytest.mark.parametrize("reached", [0, 40])
def test_a_pipe_with_many_packets_is_dropped(reached: int) -> None:
    loop = Loop()
    arrived: list[Packet] = []
    pipe = FifoPipe(loop, "p", PipeSettings(rate_bps=8_000_000_000, limit=MANY), 0)
    pipe.sink = arrived.append
    for _ in range(MANY):
        pipe.send(Packet(FLOW, 1))
    assert pipe.queue_packets(0) == MANY - 1
    loop.run(reached)
    assert len(arrived) == max(0, reached - 1)
    del pipe, loop


def test_a_packet_that_outlives_its_pipe_holds_no_others() -> None:
    loop = Loop()
    pipe = FifoPipe(loop, "p", PipeSettings(rate_bps=8_000_000_000, limit=MANY), 0)
    packets = [Packet(FLOW, 1) for _ in range(3)]
    for packet in packets:
        pipe.send(packet)
    pipe.set_up(False)
    assert [packet.behind for packet in packets] == [None] * 3
    assert pipe.drops == {"down": 3}
