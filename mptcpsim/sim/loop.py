"""The event loop: a heap of callbacks and an integer clock.

Everything that moves a packet is a callback on this heap; SimPy's processes are
put on the same heap by ``sim.engine``. This module imports no simpy and compiles.

Callbacks of one instant run in the order in which they were scheduled. A run
that executes more than ``budget`` callbacks at one instant is a livelock (two
zero-window peers answering each other for ever, say) and ends with
``EventBudgetExceeded``, which names who was busiest. Whoever limits a run by the
clock on the wall hands in a ``watch``: it is called every so many callbacks and ends
the run by raising.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from mypy_extensions import mypyc_attr

from mptcpsim.units import NEVER

#: Callbacks at one instant after which a run is taken for a livelock.
DEFAULT_BUDGET: Final = 1_000_000

#: Callbacks between two looks at the budget and two calls of ``watch``: some ten milliseconds.
LOOK_EVERY: Final = 4_096

#: Callbacks that are looked at to find the busiest sources once the budget is used up.
_SAMPLE: Final = 1_000


# Not native: mypyc cannot derive from RuntimeError.
@mypyc_attr(native_class=False)
class EventBudgetExceeded(RuntimeError):
    """More callbacks at one instant than the budget allows; the text names the busiest sources."""


def describe_source(callback: Callable[[], None]) -> str:
    """Return a name for the owner of a callback: its type, and its ``name`` if it has one."""
    owner = getattr(callback, "__self__", None)
    method = getattr(callback, "__name__", "")
    if owner is None:
        if hasattr(callback, "__qualname__"):
            return str(callback.__qualname__)
        owner = callback  # an object that can be called
    name = getattr(owner, "name", None)
    kind = type(owner).__name__.lstrip("_")
    label = f"{kind} {name}" if name else kind
    return f"{label} ({method})" if method else label


class Loop:
    """A clock in nanoseconds and the callbacks that are due on it.

    Attributes:
        now: the current instant, ns.
        executed: callbacks run so far.
        budget: most callbacks at one instant.
        watch: called every ``LOOK_EVERY`` callbacks of ``run``, unless None; what it raises ends the run.
    """

    __slots__ = ("_heap", "_order", "budget", "executed", "now", "watch")

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self.now: int = 0
        self.executed: int = 0
        self.budget = budget
        self.watch: Callable[[], None] | None = None
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order: int = 0

    def schedule(self, at: int, callback: Callable[[], None]) -> None:
        """Run ``callback`` at instant ``at`` (ns, not before now), after those already due then."""
        self._order += 1
        heappush(self._heap, (at, self._order, callback))

    def schedule_urgent(self, at: int, callback: Callable[[], None]) -> None:
        """Run ``callback`` at ``at`` before every ordinary callback of that instant (SimPy's URGENT)."""
        self._order += 1
        heappush(self._heap, (at, self._order - NEVER, callback))

    def peek(self) -> int:
        """Return the instant of the next callback, or ``NEVER``."""
        return self._heap[0][0] if self._heap else NEVER

    def step(self) -> None:
        """Run the next callback.

        Raises:
            IndexError: nothing is due any more.
        """
        at, _, callback = heappop(self._heap)
        self.now = at
        self.executed += 1
        callback()

    def run(self, until: int) -> None:
        """Run every callback due before ``until`` (ns); the clock then stands at ``until``.

        Raises:
            EventBudgetExceeded: the run makes no progress in time.
        """
        heap = self._heap
        budget = self.budget
        instant = self.now
        first = self.executed
        executed = first
        exceeded = False
        # One comparison a callback. No look is further away than the end of the budget of an instant
        # that begins now, and each sets the next one to that end at the latest: the budget is met exactly.
        look_at = executed
        try:
            while heap:
                entry = heap[0]
                at = entry[0]
                if at >= until:
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
                entry[2]()
        finally:
            # Also when a callback raises: SimPy ends ``run(until=event)`` that way.
            self.executed = executed
        if exceeded:
            self._give_up()
        if until < NEVER and until > self.now:
            self.now = until

    def _give_up(self) -> None:
        """Run a sample of what is due now, count its sources and raise."""
        instant = self.now
        counts: dict[str, int] = {}
        for _ in range(_SAMPLE):
            if not self._heap or self._heap[0][0] != instant:
                break
            source = describe_source(self._heap[0][2])
            counts[source] = counts.get(source, 0) + 1
            self.step()
        busiest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
        total = sum(counts.values())
        names = "; ".join(f"{name}: {100 * n // total} %" for name, n in busiest)
        raise EventBudgetExceeded(
            f"more than {self.budget} events at {instant} ns: the run makes no progress in time. "
            f"Busiest sources of the last {total} events: {names}"
        )
