"""How often Python looks for unreachable objects while a simulation runs: the one place that says so."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

#: The thresholds of ``gc`` during a run. After 50,000 more objects than before Python looks through the
#: young ones, and after a million through all: that bounds what connections that have ended take, to some
#: 100 MB. By default it is 700, which are the packets under way, though these are freed by their reference
#: counts and never wait for this; and 70,000, so that half the time in which 10,000 connections are opened
#: is spent on looking through those that are there.
RARELY: Final = (50_000, 5, 4)


@contextmanager
def rare_collections() -> Generator[None]:
    """Have Python look for unreachable objects rarely in the block, and as before behind it.

    Who has set ``gc`` to look even less often, or never, has it that way here, too. Nothing is collected
    and nothing is frozen: a program that runs a simulation in many short steps loses nothing by it.
    """
    before = gc.get_threshold()
    if not 0 < before[0] < RARELY[0]:
        yield
        return
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        if gc.get_threshold() == RARELY:
            gc.set_threshold(*before)
