"""Ends a hook of a user's plug-in that does not return."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mptcpsim.guard import Endless, running

#: A hook that has not returned when the process has worked for so many seconds since it was first seen
#: is endless. Processor time: a machine that is busy, or sleeps, makes no hook endless.
LIMIT_S = 5.0

_watching = False


@contextmanager
def hook_watch() -> Iterator[None]:
    """Have a hook that does not return end with ``PluginFailure``; in the main thread, as signals are."""
    global _watching
    seen = 0

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        innermost = running[-1].number if running else 0
        if innermost and innermost == seen:
            raise Endless
        seen = innermost

    if _watching:
        yield
        return
    try:
        former = signal.signal(signal.SIGPROF, look)
    except ValueError:  # another thread
        yield
        return
    _watching = True
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, former)
        _watching = False
