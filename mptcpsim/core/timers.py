"""Lazy timers: deadlines that are stored, and looked at no earlier than is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.units import NEVER

if TYPE_CHECKING:
    from mptcpsim.core.stack import Stack


class TimerOwner:
    """What a stack wakes: it keeps its deadlines itself, and is called at the earliest or before.

    Attributes:
        ended: it wants no call any more.
        wake_at: the earliest call that the stack holds.
    """

    __slots__ = ("_calls", "_timer_stack", "ended", "wake_at")

    def __init__(self, stack: Stack) -> None:
        self._timer_stack = stack
        self.ended: bool = False
        #: Calls of ``on_wake`` that the stack holds, the next one last, and that one's instant.
        self._calls: list[int] = []
        self.wake_at: int = NEVER

    def wake_by(self, at: int) -> None:
        """Make sure that ``handle_timers`` is called no later than ``at``; early is harmless."""
        if at < self.wake_at:
            self.wake_at = at
            self._calls.append(at)
            self._timer_stack.wake_by(at, self)

    def on_wake(self, now: int) -> None:
        """Answer the earliest call that ``wake_by`` asked for; later ones stay in use."""
        calls = self._calls
        calls.pop()
        self.wake_at = calls[-1] if calls else NEVER
        if not self.ended:
            self.handle_timers(now)

    def handle_timers(self, now: int) -> None:
        """Do what is due, and ask to be woken for what is not."""
        raise NotImplementedError
