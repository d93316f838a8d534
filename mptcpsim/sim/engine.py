"""SimPy on the package's own event loop.

``Environment`` is SimPy's, over the heap and the integer clock of ``sim.loop``:
an application written as a SimPy process and the packet callbacks share one time
line. Times are whole nanoseconds, or strings with a unit::

    def application(env, connection):
        yield env.timeout("10ms")
        yield connection.readable()
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, Condition, Event, Timeout

from mptcpsim.sim.garbage import rare_collections
from mptcpsim.sim.heapq_loop import make_loop
from mptcpsim.sim.loop import DEFAULT_BUDGET
from mptcpsim.units import NEVER, parse_time


class Environment(simpy.Environment):
    """A ``simpy.Environment`` with an integer-nanosecond clock.

    Attributes:
        loop: the event loop below, for callbacks on the packet path.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self.loop = make_loop(budget)
        super().__init__()

    @property
    def now(self) -> int:
        """The current instant in nanoseconds."""
        return self.loop.now

    def schedule(self, event: Event, priority: int = NORMAL, delay: float = 0) -> None:
        """Put a SimPy event on the heap; called by SimPy itself."""
        at = self.loop.now + self._whole(delay)
        if priority == NORMAL:
            self.loop.schedule(at, _Process(event))
        else:
            self.loop.schedule_urgent(at, _Process(event))

    def timeout(self, delay: float | str = 0, value: Any = None) -> Timeout:
        """Return an event after ``delay``: whole nanoseconds, or a string such as ``"10ms"``.

        Raises:
            ValueError: the delay is negative, fractional, or a string that is not a time.
        """
        return Timeout(self, parse_time(delay) if isinstance(delay, str) else self._whole(delay), value)

    def call_at(self, at: int, callback: Callable[[], None]) -> None:
        """Run ``callback`` at instant ``at`` (ns, not in the past)."""
        if at < self.loop.now:
            raise ValueError(f"{at} ns lies in the past, it is {self.loop.now} ns now")
        self.loop.schedule(at, callback)

    def peek(self) -> int:
        """Return the instant of the next event, or ``NEVER``."""
        return self.loop.peek()

    def step(self) -> None:
        """Run the next event.

        Raises:
            simpy.core.EmptySchedule: no event is left.
        """
        if self.loop.peek() == NEVER:
            raise EmptySchedule
        self.loop.step()

    def run(self, until: float | str | Event | None = None) -> Any:
        """Run until an instant (ns or a string such as ``"5s"``), an event, or the end.

        Raises:
            EventBudgetExceeded: too many events at one instant.
            ValueError: ``until`` lies in the past.
        """
        if isinstance(until, Event):
            if until.processed:
                return until.value
            until.callbacks.append(StopSimulation.callback)
            try:
                self._run(NEVER)
            except StopSimulation as stop:
                return stop.args[0]
            raise RuntimeError(f"no event is left, but {until} was never triggered")
        if until is None:
            self._run(NEVER)
            return None
        at = parse_time(until) if isinstance(until, str) else self._whole(until)
        if at < self.loop.now:
            raise ValueError(f"until={at} ns lies in the past, it is {self.loop.now} ns now")
        self._run(at)
        return None

    def _run(self, until: int) -> None:
        with rare_collections():
            self.loop.run(until)

    @staticmethod
    def _whole(delay: float) -> int:
        whole = int(delay) if isfinite(delay) else None
        if whole is None or whole != delay:
            raise ValueError(f"{delay!r} is not a whole number of nanoseconds; write a string such as '10ms'")
        if whole < 0:
            raise ValueError(f"negative delay {delay!r}")
        return whole


def _waiting_process(event: Event) -> str:
    """Return the name of a process that waits for an event, directly or by AnyOf and AllOf, or ""."""
    for callback in event.callbacks or ():
        waiting = getattr(callback, "__self__", None)
        if isinstance(waiting, simpy.Process):
            return waiting.name
        # A condition is among its own callbacks.
        if isinstance(waiting, Condition) and waiting is not event and (name := _waiting_process(waiting)):
            return name
    return ""


class _Process:
    """The callback that does what ``simpy.Environment.step`` does with one event."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event

    @property
    def name(self) -> str:
        """The name of a process that waits for the event, for the event budget's message."""
        return _waiting_process(self.event) or type(self.event).__name__

    def __call__(self) -> None:
        event = self.event
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)
        if not event._ok and not getattr(event, "_defused", False):
            failure = event._value
            raise type(failure)(*failure.args) from failure
