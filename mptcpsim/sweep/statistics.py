"""Means with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

#: Resamples of the bootstrap, and the seed that makes them the same every time.
RESAMPLES = 9_999
BOOTSTRAP_SEED = 1

Method = Literal["t", "bootstrap"]


class Interval(NamedTuple):
    """A mean and the ends of its interval; NaN where there are too few values."""

    values: int
    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def mean_interval(values: Sequence[float], method: Method = "t", confidence: float = 0.95) -> Interval:
    """Return mean and confidence interval of independent values.

    ``t``: Student's, exact for normal values. ``bootstrap``: BCa, for any distribution, and for more
    than a handful of values. One value has a mean and no interval, none has neither.
    """
    import numpy as np

    found = np.asarray([value for value in values if not math.isnan(value)], dtype=float)
    number = len(found)
    if number < 2:
        return Interval(number, float(found[0]) if number else math.nan, math.nan, math.nan)
    mean = float(found.mean())
    # Equal values may have a mean that is off by a rounding error, and with it a deviation.
    if (found == found[0]).all():
        return Interval(number, float(found[0]), float(found[0]), float(found[0]))
    if method == "bootstrap":
        from scipy.stats import bootstrap

        result = bootstrap(
            (found,), np.mean, confidence_level=confidence, n_resamples=RESAMPLES, rng=BOOTSTRAP_SEED
        )
        ends = result.confidence_interval
        return Interval(number, mean, float(ends.low), float(ends.high))
    from scipy.special import stdtrit

    half = float(stdtrit(number - 1, (1 + confidence) / 2)) * float(found.std(ddof=1)) / math.sqrt(number)
    return Interval(number, mean, mean - half, mean + half)


def is_narrow(values: Sequence[float], relative: float) -> bool:
    """Return whether half the 95 % interval is at most this part of the mean's magnitude."""
    found = mean_interval(values)
    return found.values >= 2 and found.half_width <= relative * abs(found.mean)
