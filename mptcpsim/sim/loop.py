"""The event loop: a heap of events and an integer clock.

Everything that moves a packet is an ``LoopEvent`` on this heap: a pipe is one, and ``schedule`` makes one of
any callback. SimPy's processes are put on the same heap by ``sim.engine``. This module imports no simpy
and compiles.

Events of one instant happen in the order in which they were put on the heap. A run in which more than
``budget`` events happen at one instant is a livelock (two zero-window peers answering each other for
ever, say) and ends with ``EventBudgetExceeded``, which names who was busiest. Whoever limits a run by the
clock on the wall hands in a ``watch``: it is called every so many events and ends the run by raising.

The heap of ``Loop`` is a pairing heap (Fredman, Sedgewick, Sleator and Tarjan, 1986): events are linked
through themselves, so that compiled code allocates nothing for one. ``sim.heapq_loop`` has the same loop
over ``heapq``, which is faster where nothing is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64, mypyc_attr

from mptcpsim.units import NEVER

#: Events at one instant after which a run is taken for a livelock.
DEFAULT_BUDGET: Final = 1_000_000

#: Events between two looks at the budget and two calls of ``watch``: some milliseconds.
LOOK_EVERY: Final = 4_096

#: Events that are looked at to find the busiest sources once the budget is used up.
_SAMPLE: Final = 1_000

#: Where an event is that is on no heap.
_NOWHERE: Final = -1


# Not native: mypyc cannot derive from RuntimeError.
@mypyc_attr(native_class=False)
class EventBudgetExceeded(RuntimeError):
    """More events at one instant than the budget allows; the text names the busiest sources."""


class LoopEvent:
    """What happens at an instant; on one heap at a time, and once.

    The fields belong to the ``Loop`` that has the event on its heap.
    """

    __slots__ = ("_at", "_child", "_order", "_sibling")

    def __init__(self) -> None:
        self._at: i64 = _NOWHERE
        self._order: i64 = 0
        #: The first of the events that come later than this one, and the next of those beside it.
        self._child: LoopEvent | None = None
        self._sibling: LoopEvent | None = None

    def fire(self) -> None:
        """Happen; the event is on no heap meanwhile and may be pushed again."""
        raise NotImplementedError


@mypyc_attr(free_list_len=1)
class Callback(LoopEvent):
    """Calls something."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self.callback = callback

    def fire(self) -> None:
        """Call it."""
        self.callback()


def describe_source(callback: object) -> str:
    """Return a name for the owner of a callback, or for an event: its type, and its ``name`` if any."""
    if isinstance(callback, Callback):
        callback = callback.callback
    owner = getattr(callback, "__self__", None)
    method = getattr(callback, "__name__", "")
    if owner is None:
        if hasattr(callback, "__qualname__"):
            return str(callback.__qualname__)
        owner = callback  # an object that can be called, or an event
    name = getattr(owner, "name", None)
    kind = type(owner).__name__.lstrip("_")
    label = f"{kind} {name}" if name else kind
    return f"{label} ({method})" if method else label


class Loop:
    """A clock in nanoseconds and the events that are due on it.

    Attributes:
        now: the current instant, ns.
        executed: events that have happened so far.
        budget: most events at one instant.
        watch: called every ``LOOK_EVERY`` events of ``run``, unless None; what it raises ends the run.
    """

    __slots__ = ("_order", "_root", "budget", "executed", "now", "watch")

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self.now: i64 = 0
        self.executed: int = 0
        self.budget = budget
        self.watch: Callable[[], None] | None = None
        self._root: LoopEvent | None = None
        self._order: i64 = 0

    def schedule(self, at: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` at instant ``at`` (ns, not before now), after what is already due then."""
        self.push(min(at, NEVER), Callback(callback))

    def schedule_urgent(self, at: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` at ``at`` before all that is not urgent at that instant (SimPy's URGENT)."""
        event = Callback(callback)
        self._order += 1
        event._at = min(at, NEVER)
        event._order = self._order - NEVER
        root = self._root
        self._root = event if root is None else _meld(root, event)

    def push(self, at: i64, event: LoopEvent) -> None:
        """Put an event on the heap: it happens at ``at`` (ns, not before now), after what is due then.

        Raises:
            RuntimeError: the event is on a heap already.
        """
        if event._at != _NOWHERE:
            raise RuntimeError(f"{describe_source(event)} is due at {event._at} ns already")
        order = self._order + 1
        self._order = order
        event._at = at
        event._order = order
        root = self._root
        if root is None:
            self._root = event
        elif at < root._at:
            event._child = root
            self._root = event
        else:
            # No event on the heap has a higher order.
            event._sibling = root._child
            root._child = event

    def peek(self) -> int:
        """Return the instant of the next event, or ``NEVER``."""
        root = self._root
        return NEVER if root is None else root._at

    def pending(self) -> int:
        """Return how many events are on the heap; it counts them."""
        count = 0
        found = [] if self._root is None else [self._root]
        while found:
            event: LoopEvent | None = found.pop()
            while event is not None:
                count += 1
                if event._child is not None:
                    found.append(event._child)
                event = event._sibling
        return count

    def step(self) -> None:
        """Let the next event happen.

        Raises:
            IndexError: nothing is due any more.
        """
        event = self._root
        if event is None:
            raise IndexError("no event is due")
        self.now = event._at
        self._remove_first(event)
        self.executed += 1
        event.fire()

    def run(self, until: int) -> None:
        """Let every event happen that is due before ``until`` (ns); the clock then stands at ``until``.

        Raises:
            EventBudgetExceeded: the run makes no progress in time.
        """
        end: i64 = min(until, NEVER)
        budget: i64 = self.budget
        instant: i64 = self.now
        first: i64 = self.executed
        executed: i64 = first
        exceeded = False
        # One comparison an event. No look is further away than the end of the budget of an instant
        # that begins now, and each sets the next one to that end at the latest: the budget is met exactly.
        look_at: i64 = executed
        try:
            while True:
                event = self._root
                if event is None:
                    break
                at = event._at
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
                    look_at = executed + LOOK_EVERY
                    if first + budget < look_at:
                        look_at = first + budget
                self._remove_first(event)
                executed += 1
                event.fire()
        finally:
            # Also when an event raises: SimPy ends ``run(until=event)`` that way.
            self.executed = executed
        if exceeded:
            self._give_up()
        if until < NEVER and until > self.now:
            self.now = until

    def _remove_first(self, first: LoopEvent) -> None:
        """Take the root from the heap: its children are melded in pairs, then all pairs into one."""
        first._at = _NOWHERE
        child = first._child
        if child is None:
            self._root = None
            return
        first._child = None
        after = child._sibling
        if after is None:
            self._root = child
            return
        pairs: LoopEvent | None = None
        left: LoopEvent | None = child
        while left is not None:
            right = left._sibling
            if right is None:
                left._sibling = pairs
                pairs = left
                break
            after = right._sibling
            if left._at < right._at or (left._at == right._at and left._order < right._order):
                right._sibling = left._child
                left._child = right
                left._sibling = pairs
                pairs = left
            else:
                left._sibling = right._child
                right._child = left
                right._sibling = pairs
                pairs = right
            left = after
        assert pairs is not None
        best = pairs
        rest = best._sibling
        best._sibling = None
        while rest is not None:
            after = rest._sibling
            rest._sibling = None
            best = _meld(best, rest)
            rest = after
        self._root = best

    def _next_source(self) -> str:
        """Return a name for what is due next."""
        return describe_source(self._root)

    def _give_up(self) -> None:
        """Let a sample of what is due now happen, count its sources and raise."""
        instant = self.now
        counts: dict[str, int] = {}
        for _ in range(_SAMPLE):
            if self.peek() != instant:
                break
            source = self._next_source()
            counts[source] = counts.get(source, 0) + 1
            self.step()
        busiest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
        total = sum(counts.values())
        names = "; ".join(f"{name}: {100 * n // total} %" for name, n in busiest)
        raise EventBudgetExceeded(
            f"more than {self.budget} events at {instant} ns: the run makes no progress in time. "
            f"Busiest sources of the last {total} events: {names}"
        )


def _meld(one: LoopEvent, other: LoopEvent) -> LoopEvent:
    """Return the earlier of two roots, the other one being its child now."""
    if one._at < other._at or (one._at == other._at and one._order < other._order):
        other._sibling = one._child
        one._child = other
        return one
    one._sibling = other._child
    other._child = one
    return other
