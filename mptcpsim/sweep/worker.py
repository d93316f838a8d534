"""What happens where a run is carried out: in a process of the pool, or on a worker of a cluster.

Everything here takes and returns plain data that can be pickled; nothing touches the campaign.
"""

from __future__ import annotations

import io
import json
import os
import platform
import signal
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple

from mptcpsim.core.errors import IntegrityError
from mptcpsim.guard import PluginFailure, let_pass
from mptcpsim.plugins import Scope
from mptcpsim.results.rundir import json_text
from mptcpsim.results.series import ChosenSeries, NoSeries, SeriesRecorder
from mptcpsim.results.summary import INTACT, Summary
from mptcpsim.scenario.build import build
from mptcpsim.scenario.catalogue import in_scope, load_plugin_text
from mptcpsim.scenario.errors import Problem, ScenarioError
from mptcpsim.scenario.load import ScenarioSource
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.sim.loop import EventBudgetExceeded
from mptcpsim.sweep.advice import Look, look_at
from mptcpsim.sweep.cost import expected_packets
from mptcpsim.sweep.identity import PluginFile, code_version, point_id, scenario_data
from mptcpsim.sweep.plan import Plan, Point
from mptcpsim.units import SECOND, format_time

#: How a run can end. "died": its worker did, time and again.
DONE, FAILED, TIMEOUT, DIED = "done", "failed", "timeout", "died"

#: Seconds after a run's limit at which a callback that never returns is interrupted by a signal.
GRACE_S = 1.0


class TimeLimitExceeded(Exception):
    """A run takes longer than it may."""


let_pass(TimeLimitExceeded)


class Task(NamedTuple):
    """A run to carry out."""

    run: str
    #: The resolved scenario, as ``pack`` has it.
    scenario: bytes
    seed: int
    plugins: tuple[PluginFile, ...]
    time_limit_ns: int
    #: All series, none, or those of some metrics.
    series: bool | tuple[str, ...]


class Outcome(NamedTuple):
    """What became of a run."""

    run: str
    status: str
    message: str = ""
    traceback: str = ""
    #: The text of ``summary.json``, "" without one.
    summary: str = ""
    #: The content of ``series.parquet``, if it was asked for.
    series: bytes | None = None
    #: Seconds of the simulation itself, by the wall clock and of CPU.
    wall_s: float = 0.0
    cpu_s: float = 0.0
    #: Seconds of everything that the worker did for the run.
    task_s: float = 0.0
    events: int = 0
    worker: str = ""
    code: str = ""


class Resolved(NamedTuple):
    """A point that was checked as a whole scenario; ``error`` says why it is none."""

    point: str
    scenario: bytes
    base_seed: int
    cost: float
    code: str
    error: str = ""
    #: What lint says of it.
    look: Look = Look({}, None)


class Question(NamedTuple):
    """What is needed to resolve points, on a machine that has the scenario's files."""

    source: ScenarioSource
    plugins: tuple[PluginFile, ...]
    plan: Plan
    #: Points that lint looks at.
    sample: frozenset[int] = frozenset()


def pack(data: dict[str, Any]) -> bytes:
    """Return a resolved scenario in few bytes."""
    return zlib.compress(json.dumps(data, ensure_ascii=False).encode(), 6)


def unpack(packed: bytes, seed: int) -> Scenario:
    """Return the scenario that was packed, with a seed; it was checked before it was packed."""
    return Scenario.model_validate({**json.loads(zlib.decompress(packed)), "seed": seed})


# --- Points -------------------------------------------------------------------------------------


def resolve(question: Question, points: Sequence[Point]) -> list[Resolved]:
    """Turn points into scenarios and check each as a whole; stop at the first that is wrong."""
    found: list[Resolved] = []
    code = code_version(question.plugins)
    try:
        for point in points:
            changes = question.plan.changes(point)
            scenario, places = question.source.read(changes)
            data = scenario_data(scenario)
            cost = expected_packets(scenario)
            look = look_at(scenario, places, changes, point.number in question.sample)
            found.append(Resolved(point_id(data), pack(data), scenario.seed, cost, code, "", look))
    except Problem as problem:
        found.append(Resolved("", b"", 0, 0.0, code, str(question.source.error(problem))))
    except ScenarioError as error:
        found.append(Resolved("", b"", 0, 0.0, code, str(error)))
    return found


#: The plug-ins of the campaign at hand, and what they have registered.
_loaded: tuple[tuple[PluginFile, ...], list[Scope]] = ((), [])


def _load(plugins: tuple[PluginFile, ...]) -> list[Scope]:
    """Return what the user's plug-ins register; the last ones are remembered."""
    global _loaded
    if plugins != _loaded[0]:
        _loaded = plugins, [load_plugin_text(plugin.name, plugin.text) for plugin in plugins]
    return _loaded[1]


# --- Runs ---------------------------------------------------------------------------------------


def carry_out(task: Task) -> Outcome:
    """Run a scenario; whatever goes wrong with it is part of the outcome."""
    started = time.perf_counter()
    found = Outcome(task.run, FAILED, worker=f"{platform.node()}:{os.getpid()}")
    watch = _Watch()
    simulation: Simulation | None = None
    try:
        scopes = _load(task.plugins)
        with in_scope(scopes), _Limit(task.time_limit_ns) as limit:
            simulation = build(unpack(task.scenario, task.seed))
            simulation.env.loop.watch = limit
            buffer = io.BytesIO()
            with _recorder(task.series, buffer) as recorder:
                watch.start()
                summary = measure(simulation, recorder)
                watch.stop()
        found = found._replace(
            status=DONE if summary.intact else FAILED,
            message=_broken(summary),
            summary=json_text(summary.as_dict()),
            series=buffer.getvalue() if task.series else None,
        )
    except TimeLimitExceeded as error:
        found = found._replace(status=TIMEOUT, message=str(error))
    except PluginFailure as error:
        found = found._replace(
            message=str(error), traceback=traceback.format_exc() if error.__cause__ else ""
        )
    except EventBudgetExceeded as error:
        found = found._replace(message=str(error), traceback=traceback.format_exc())
    except IntegrityError as error:
        found = found._replace(message=f"the bytes delivered are not those sent: {error}")
    except Exception as error:
        found = found._replace(message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    watch.stop()
    return found._replace(
        wall_s=watch.wall_s,
        cpu_s=watch.cpu_s,
        task_s=time.perf_counter() - started,
        events=simulation.env.loop.executed if simulation is not None else 0,
        code=code_version(task.plugins),
    )


def _broken(summary: Summary) -> str:
    wrong = [f"flow {flow.name!r}: {flow.integrity}" for flow in summary.flows if flow.integrity != INTACT]
    return f"the bytes delivered are not those sent: {'; '.join(wrong)}" if wrong else ""


def _recorder(series: bool | tuple[str, ...], buffer: io.BytesIO) -> SeriesRecorder:
    if series is True:
        return SeriesRecorder(buffer)
    return ChosenSeries(buffer, frozenset(series)) if series else NoSeries()


class _Watch:
    """Wall and CPU seconds between start and stop."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0
        self._running: tuple[float, float] | None = None

    def start(self) -> None:
        self._running = time.perf_counter(), time.thread_time()

    def stop(self) -> None:
        if self._running is not None:
            self.wall_s = time.perf_counter() - self._running[0]
            self.cpu_s = time.thread_time() - self._running[1]
            self._running = None


class _Limit:
    """The wall-clock limit of a run: asked by the event loop now and then.

    A callback that never returns is never followed by a question; for it there is an alarm, where
    the run has the main thread to itself (in a process of the pool, not on a Dask worker).
    """

    def __init__(self, limit_ns: int) -> None:
        self._limit_s = limit_ns / SECOND
        self._text = f"the run took longer than its time limit of {format_time(limit_ns)}"
        self._end = time.monotonic() + self._limit_s if limit_ns else float("inf")
        self._former: Any = None

    def __call__(self) -> None:
        if time.monotonic() > self._end:
            raise TimeLimitExceeded(self._text)

    def __enter__(self) -> Callable[[], None]:
        if self._limit_s and threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGALRM, self._alarm)
            # Again and again: a plug-in may catch the first one.
            signal.setitimer(signal.ITIMER_REAL, self._limit_s + GRACE_S, GRACE_S)
        return self

    def __exit__(self, *unused: object) -> None:
        if self._former is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._former)

    def _alarm(self, number: int, frame: FrameType | None) -> None:
        raise TimeLimitExceeded(f"{self._text}, and hangs in one callback")
