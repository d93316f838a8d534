"""Stalls: times during which a flow had data to deliver and delivered nothing."""

from __future__ import annotations

from collections import Counter

from mptcpsim.results.summary import Stall
from mptcpsim.units import MILLISECOND, SECOND

#: Shorter pauses are the ordinary life of a transport protocol.
SHORTEST = 500 * MILLISECOND


class StallDetector:
    """Finds stalls in samples; begin and end are exact to the sampling interval.

    Attributes:
        found: the stalls so far.
    """

    def __init__(self, shortest: int = SHORTEST) -> None:
        self.found: list[Stall] = []
        self._shortest = shortest
        self._delivered = -1
        self._since = 0
        self._causes: Counter[str] = Counter()

    def sample(self, now: int, delivered: int, pending: bool, cause: str) -> None:
        """Take a sample.

        Args:
            now: ns.
            delivered: bytes delivered so far.
            pending: there are bytes that were written and are not delivered.
            cause: why nothing arrives, if nothing does; of a stall, the commonest counts.
        """
        if delivered != self._delivered or not pending:
            self.finish(now)
            self._delivered = delivered
            self._since = now
        else:
            self._causes[cause] += 1

    def finish(self, now: int) -> None:
        """End the stall that may be going on at ``now``, ns."""
        if self._causes and now - self._since >= self._shortest:
            cause = max(sorted(self._causes), key=self._causes.__getitem__)
            self.found.append(Stall(self._since / SECOND, now / SECOND, cause))
        self._causes = Counter()
