"""SimPy on the event loop: the integer clock, and everything else as SimPy has it."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from simpy.core import EmptySchedule
from typer.testing import CliRunner

import mptcpsim.scenario.run as run_module
from mptcpsim.cli import app
from mptcpsim.scenario.build import build
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.loop import EventBudgetExceeded
from mptcpsim.units import NEVER, SECOND, UnitError
from tests.profiles import examples

Process = Generator[Any, Any, Any]


class TestClock:
    def test_it_counts_whole_nanoseconds(self) -> None:
        env = Environment()
        seen = []

        def process() -> Process:
            for delay in (5, "1.5us", 2.0, 0, "0s"):
                yield env.timeout(delay)
                seen.append(env.now)

        env.process(process())
        env.run()
        assert seen == [5, 1505, 1507, 1507, 1507]
        assert all(type(at) is int for at in seen)

    @pytest.mark.parametrize("delay", [0.5, 1e-9, -1, -0.5, float("inf"), float("-inf"), float("nan"), "-1s"])
    def test_other_delays_are_refused(self, delay: float | str) -> None:
        env = Environment()
        with pytest.raises(ValueError, match=r"whole number|negative"):
            env.timeout(delay)
        with pytest.raises(ValueError, match=r"whole number|negative"):
            env.run(delay)
        assert env.peek() == NEVER

    @pytest.mark.parametrize("delay", ["5", "5 parsec", "soon"])
    def test_strings_need_a_unit(self, delay: str) -> None:
        with pytest.raises(UnitError):
            Environment().timeout(delay)

    def test_fractional_delays_of_simpys_own_are_refused(self) -> None:
        env = Environment()
        with pytest.raises(ValueError, match="whole number"):
            simpy.Timeout(env, 0.5)

    def test_the_value_of_a_timeout(self) -> None:
        env = Environment()
        assert env.run(until=env.timeout("1s", value="done")) == "done"
        assert env.now == SECOND


class TestRun:
    def test_until_an_instant_leaves_what_is_due_then(self) -> None:
        env = Environment()
        log: list[int] = []
        for at in (9, 10):
            env.call_at(at, partial(log.append, at))
        assert env.run(until=10) is None
        assert (log, env.now) == ([9], 10)
        env.run("11ns")
        assert (log, env.now) == ([9, 10], 11)

    def test_the_past_is_refused(self) -> None:
        env = Environment()
        env.run(10)
        with pytest.raises(ValueError, match="lies in the past"):
            env.run(9)
        with pytest.raises(ValueError, match="lies in the past"):
            env.call_at(9, lambda: None)
        env.run(10)
        assert env.now == 10

    def test_until_an_event(self) -> None:
        env = Environment()

        def process() -> Process:
            yield env.timeout(5)
            return "value"

        late: list[int] = []
        env.call_at(6, lambda: late.append(env.now))
        running = env.process(process())
        assert env.run(until=running) == "value"
        assert (env.now, late) == (5, [])
        assert env.loop.executed == 3  # start, time-out, end of the process
        assert env.run(until=running) == "value"

    def test_until_an_event_that_fails(self) -> None:
        env = Environment()

        def process() -> Process:
            yield env.timeout(5)
            raise KeyError("what")

        with pytest.raises(KeyError, match="what"):
            env.run(until=env.process(process()))

    def test_until_an_event_that_never_comes(self) -> None:
        env = Environment()
        with pytest.raises(RuntimeError, match="no event is left"):
            env.run(until=env.event())

    def test_step_and_peek(self) -> None:
        env = Environment()
        env.timeout(5)
        assert env.peek() == 5
        env.step()
        assert (env.now, env.peek()) == (5, NEVER)
        with pytest.raises(EmptySchedule):
            env.step()

    def test_callbacks_and_processes_share_the_order_of_an_instant(self) -> None:
        env = Environment()
        log: list[str] = []

        def process(name: str) -> Process:
            yield env.timeout(5)
            log.append(name)

        env.call_at(5, lambda: log.append("callback before"))
        env.process(process("process"))
        env.call_at(0, lambda: env.call_at(5, lambda: log.append("callback after")))
        env.run()
        assert log == ["callback before", "process", "callback after"]


class TestFailures:
    def test_an_exception_in_a_process_ends_the_run_with_its_cause(self) -> None:
        env = Environment()

        def process() -> Process:
            yield env.timeout(5)
            raise KeyError("what")

        env.process(process())
        with pytest.raises(KeyError, match="what") as caught:
            env.run()
        assert isinstance(caught.value.__cause__, KeyError)
        assert env.now == 5

    def test_an_exception_reaches_who_waits(self) -> None:
        env = Environment()
        caught = []

        def child() -> Process:
            yield env.timeout(5)
            raise KeyError("what")

        def parent() -> Process:
            try:
                yield env.process(child())
            except KeyError as error:
                caught.append(error)
            yield env.timeout(1)

        env.process(parent())
        env.run()
        assert len(caught) == 1
        assert env.now == 6


def livelock(env: Environment) -> None:
    """Start two processes that hand each other an event for ever, and a third that waits by AnyOf."""
    ball = simpy.Store(env)
    back = simpy.Store(env)

    def server() -> Process:
        while True:
            yield ball.get()
            yield back.put(1)

    def returner() -> Process:
        while True:
            yield ball.put(1)
            yield back.get() | env.timeout("1s")

    env.process(server())
    env.process(returner())


class TestBudget:
    def test_processes_in_a_livelock_are_named(self) -> None:
        env = Environment(budget=1000)
        livelock(env)
        with pytest.raises(EventBudgetExceeded, match="more than 1000 events at 0 ns") as caught:
            env.run("1s")
        busiest = str(caught.value).split("events: ")[1]
        assert "Process server: " in busiest
        assert "Process returner: " in busiest
        assert "object at" not in busiest

    def test_a_process_that_spins_alone(self) -> None:
        env = Environment(budget=1000)

        def spin() -> Process:
            while True:
                yield env.timeout(0)

        env.process(spin())
        with pytest.raises(EventBudgetExceeded, match="Process spin: 100 %"):
            env.run("1s")

    def test_at_the_command_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        original = build

        def build_with_livelock(*args: Any, **kwargs: Any) -> Any:
            simulation = original(*args, **kwargs)
            simulation.env.loop.budget = 1000
            livelock(simulation.env)
            return simulation

        monkeypatch.setattr(run_module, "build", build_with_livelock)
        scenario = tmp_path / "s.toml"
        scenario.write_text(
            'title = "x"\nduration = "1s"\n'
            '[hosts.a]\ninterfaces = { e = "10.0.0.1/24" }\n[hosts.b]\ninterfaces = { e = "10.0.0.2/24" }\n'
            '[[links]]\nends = ["a:e", "b:e"]\n[[flows]]\nclient = "a"\nserver = "b"\n'
        )
        result = CliRunner().invoke(app, ["run", str(scenario), "--out", str(tmp_path / "out"), "--pcap"])
        assert result.exit_code == 3
        assert "Process server: " in result.stderr
        assert "nothing was written" in result.stderr
        assert "Traceback" not in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


class TestFeatures:
    """Each feature of SimPy that an application may use."""

    def test_interrupt(self) -> None:
        env = Environment()
        log = []

        def sleeper() -> Process:
            try:
                yield env.timeout(100)
            except simpy.Interrupt as interrupt:
                log.append((env.now, interrupt.cause))
            yield env.timeout(1)
            return "awake"

        process = env.process(sleeper())
        env.call_at(7, lambda: process.interrupt("alarm"))
        assert env.run(until=process) == "awake"
        assert (log, env.now) == ([(7, "alarm")], 8)

    def test_conditions(self) -> None:
        env = Environment()
        log: list[tuple[int, list[Any]]] = []

        def process() -> Process:
            slow, fast = env.timeout(9, "slow"), env.timeout(4, "fast")
            first = yield slow | fast
            log.append((env.now, list(first.values())))
            both = yield env.all_of([slow, fast])
            log.append((env.now, list(both.values())))

        env.process(process())
        env.run()
        assert log == [(4, ["fast"]), (9, ["slow", "fast"])]

    def test_resources(self) -> None:
        env = Environment()
        desk = simpy.PriorityResource(env, capacity=1)
        log: list[tuple[int, str]] = []

        def visitor(name: str, arrival: int, priority: int) -> Process:
            yield env.timeout(arrival)
            with desk.request(priority=priority) as request:
                yield request
                yield env.timeout(10)
                log.append((env.now, name))

        for name, arrival, priority in (("a", 0, 1), ("b", 1, 2), ("c", 2, 0)):
            env.process(visitor(name, arrival, priority))
        env.run()
        assert log == [(10, "a"), (20, "c"), (30, "b")]

    def test_preemption_container_and_store(self) -> None:
        env = Environment()
        machine = simpy.PreemptiveResource(env)
        tank = simpy.Container(env, capacity=10)
        box = simpy.FilterStore(env)
        log: list[tuple[int, Any]] = []

        def worker(priority: int) -> Process:
            with machine.request(priority=priority) as request:
                yield request
                try:
                    yield env.timeout(10)
                    log.append((env.now, priority))
                except simpy.Interrupt as interrupt:
                    cause: Any = interrupt.cause
                    log.append((env.now, cause.usage_since))
            yield tank.put(4)
            yield box.put(priority)

        def consumer() -> Process:
            yield tank.get(8)
            item = yield box.get(lambda item: item == 0)
            log.append((env.now, f"item {item}"))

        def late() -> Process:
            yield env.timeout(3)
            yield env.process(worker(0))

        env.process(worker(1))
        env.process(late())
        env.process(consumer())
        env.run()
        assert log == [(3, 0), (13, 0), (13, "item 0")]


# --- Plain SimPy as the oracle ------------------------------------------------------------------

DELAYS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("sleep"), DELAYS),
    st.tuples(st.just("any"), DELAYS, DELAYS),
    st.tuples(st.just("all"), DELAYS, DELAYS),
    st.tuples(st.just("put"), st.just(0)),
    st.tuples(st.just("get or"), DELAYS),
    st.tuples(st.just("hold"), DELAYS),
    st.tuples(st.just("trigger"), st.integers(0, 2)),
    st.tuples(st.just("wait or"), st.integers(0, 2), DELAYS),
    st.tuples(st.just("interrupt"), st.integers(0, 3)),
    st.tuples(st.just("spawn"), DELAYS),
    st.tuples(st.just("join or"), st.integers(0, 3), DELAYS),
    st.tuples(st.just("fail"), DELAYS),
)
PROGRAMS = st.lists(st.lists(STEPS, max_size=8), min_size=1, max_size=4)


class World:
    """A program of processes on an environment, and a log of what happened when."""

    def __init__(self, env: simpy.Environment, program: list[list[tuple[Any, ...]]]) -> None:
        self.env = env
        self.log: list[tuple[Any, ...]] = []
        self.store = simpy.Store(env, capacity=1)
        self.desk = simpy.Resource(env, capacity=1)
        self.signals = [env.event() for _ in range(3)]
        self.processes = [env.process(self.run(str(i), steps)) for i, steps in enumerate(program)]

    def run(self, name: str, steps: list[tuple[Any, ...]]) -> Process:
        for number, step in enumerate(steps):
            self.log.append((self.env.now, name, number))
            try:
                result = yield from self.perform(name, step)
            except simpy.Interrupt as interrupt:
                result = f"interrupted by {interrupt.cause}"
            except KeyError as error:
                result = repr(error)
            self.log.append((self.env.now, name, number, result))
        return name

    def child(self, delay: int, fails: bool) -> Process:
        yield self.env.timeout(delay)
        self.log.append((self.env.now, "child"))
        if fails:
            raise KeyError(delay)
        return delay

    def perform(self, name: str, step: tuple[Any, ...]) -> Process:
        env = self.env
        kind, argument = step[0], step[1]
        if kind == "sleep":
            return (yield env.timeout(argument, value=argument))
        if kind in ("any", "all"):
            events = [env.timeout(delay, value=delay) for delay in step[1:]]
            found = yield (env.any_of if kind == "any" else env.all_of)(events)
            return list(found.values())
        if kind == "put":
            put = self.store.put(name)
            yield put | env.timeout(5)
            return put.triggered
        if kind == "get or":
            get = self.store.get()
            yield get | env.timeout(argument)
            return get.value if get.triggered else "nothing"
        if kind == "hold":
            with self.desk.request() as request:
                yield request
                yield env.timeout(argument)
            return "held"
        if kind == "trigger":
            if not self.signals[argument].triggered:
                self.signals[argument].succeed(name)
            return "triggered"
        if kind == "wait or":
            found = yield self.signals[argument] | env.timeout(step[2], value="late")
            return list(found.values())
        if kind == "interrupt":
            victim = self.processes[argument % len(self.processes)]
            if victim.is_alive and victim is not env.active_process:
                victim.interrupt(name)
            return "interrupted"
        if kind == "join or":
            other = self.processes[argument % len(self.processes)]
            if other is env.active_process:
                return "self"
            found = yield other | env.timeout(step[2], value="late")
            return list(found.values())
        process = env.process(self.child(argument, kind == "fail"))
        return (yield process)


def outcome(env: simpy.Environment, program: list[list[tuple[Any, ...]]], until: int | None) -> Any:
    world = World(env, program)
    try:
        env.run(until)
        end: Any = env.now if until is not None else "end"
    except Exception as error:
        end = repr(error)
    return world.log, end, [process.is_alive for process in world.processes]


@examples(400)
@given(PROGRAMS, st.one_of(st.none(), st.integers(1, 12)))
def test_every_program_runs_as_on_simpy(program: list[list[tuple[Any, ...]]], until: int | None) -> None:
    assert outcome(Environment(), program, until) == outcome(simpy.Environment(), program, until)


@examples(100)
@given(PROGRAMS)
def test_running_step_by_step_is_running(program: list[list[tuple[Any, ...]]]) -> None:
    env = Environment()
    world = World(env, program)
    failure = ""
    try:
        while env.peek() < NEVER:
            env.step()
    except Exception as error:
        failure = repr(error)
    log, end, _ = outcome(Environment(), program, None)
    assert (world.log, failure or "end") == (log, end)
