"""Who watches a campaign; light to import, for the command line derives from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mptcpsim.sweep.store import PlannedRun
    from mptcpsim.sweep.worker import Outcome


class Observer:
    """Is told how a campaign goes on; this one does nothing with it."""

    def begun(self, total: int, stored: int, cost: float) -> None:
        """There are so many runs, so many of them done before; the rest is expected to cost so much."""

    def grown(self, more: int, cost: float) -> None:
        """A point needs more replicates."""

    def finished(self, run: PlannedRun, outcome: Outcome) -> None:
        """A run has ended and is stored."""
