"""A scheduler that chooses nothing for a while, as one does that waits for a better subflow and is wrong."""

from mptcpsim import Scheduler, register
from mptcpsim.units import SECOND


@register
class Hesitant(Scheduler):
    """Chooses the first subflow, but none between 1 and 2 s."""

    NAME = "hesitant"

    def choose(self, available, now):
        """Return the first one, or None."""
        return None if SECOND <= now < 2 * SECOND else available[0]
