"""The event loop over ``heapq``: the faster one where nothing is compiled, and the oracle of the other.

``make_loop`` is the one place that chooses between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from mypy_extensions import i64

from mptcpsim.sim.loop import DEFAULT_BUDGET, LOOK_EVERY, Callback, Loop, LoopEvent, describe_source
from mptcpsim.units import NEVER

#: Whether this module, and with it the other loop, is compiled.
_COMPILED: Final = not __file__.endswith(".py")


class HeapqLoop(Loop):
    """A ``Loop`` whose heap is a list of tuples, which C code of the interpreter's own keeps in order."""

    __slots__ = ("_count", "_heap")

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        super().__init__(budget)
        self._heap: list[tuple[int, int, LoopEvent]] = []
        self._count: int = 0

    def schedule(self, at: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` at instant ``at`` (ns, not before now), after what is already due then."""
        self._count = count = self._count + 1
        heappush(self._heap, (min(at, NEVER), count, Callback(callback)))

    def schedule_urgent(self, at: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` at ``at`` before all that is not urgent at that instant (SimPy's URGENT)."""
        self._count = count = self._count + 1
        heappush(self._heap, (min(at, NEVER), count - NEVER, Callback(callback)))

    def push(self, at: i64, event: LoopEvent) -> None:
        """Put an event on the heap: it happens at ``at`` (ns, not before now), after what is due then."""
        self._count = count = self._count + 1
        heappush(self._heap, (at, count, event))

    def peek(self) -> int:
        """Return the instant of the next event, or ``NEVER``."""
        return self._heap[0][0] if self._heap else NEVER

    def pending(self) -> int:
        """Return how many events are on the heap."""
        return len(self._heap)

    def step(self) -> None:
        """Let the next event happen.

        Raises:
            IndexError: nothing is due any more.
        """
        at, _, event = heappop(self._heap)
        self.now = at
        self.executed += 1
        event.fire()

    def run(self, until: int) -> None:
        """Let every event happen that is due before ``until`` (ns); the clock then stands at ``until``.

        Raises:
            EventBudgetExceeded: the run makes no progress in time.
        """
        heap = self._heap
        end = min(until, NEVER)
        budget = self.budget
        instant: int = self.now
        first: int = self.executed
        executed = first
        exceeded = False
        look_at = executed
        try:
            while heap:
                entry = heap[0]
                at = entry[0]
                if at >= end:
                    break
                if at != instant:
                    self.now = instant = at
                    first = executed
                if executed >= look_at:
                    if executed - first >= budget:
                        exceeded = True
                        break
                    if self.watch is not None:
                        self.watch()
                    look_at = min(executed + LOOK_EVERY, first + budget)
                heappop(heap)
                executed += 1
                entry[2].fire()
        finally:
            self.executed = executed
        if exceeded:
            self._give_up()
        if until < NEVER and until > self.now:
            self.now = until

    def _next_source(self) -> str:
        return describe_source(self._heap[0][2])


def make_loop(budget: int = DEFAULT_BUDGET) -> Loop:
    """Return a loop of the faster kind."""
    return Loop(budget) if _COMPILED else HeapqLoop(budget)
