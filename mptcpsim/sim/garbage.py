"""How often Python looks for unreachable objects while a simulation runs: the one place that says so."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

#: The thresholds of ``gc`` during a run. After 10,000 more objects than before Python looks through the young
#: ones, and after 100,000 through all, if those are a quarter of all: about as often as by default (70,000),
#: so that connections which have ended take no more memory than they did. Packets are freed by their
#: reference counts and never wait for this; the default, 700, has Python look at those under way.
RARELY: Final = (10_000, 5, 2)


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
