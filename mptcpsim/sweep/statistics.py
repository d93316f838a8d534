"""Means with intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

#: Resamples of the bootstrap, and the seed that makes them the same every time.
RESAMPLES = 9_999
BOOTSTRAP_SEED = 1

Method = Literal["t", "bootstrap"]


class Interval(NamedTuple):
    """A mean of independent values and the ends of its interval; NaN where there are too few of them."""

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


def pooled_interval(
    values: Iterable[tuple[Hashable, Hashable, float]], method: Method = "t", confidence: float = 0.95
) -> Interval:
    """Return mean and interval over several points that each have replicates.

    The points are fixed, and how they differ is no chance; chance are the replicates, and with common
    seeds those of equal number depend on one another. So the independent values are the means of each
    replicate over all points (Law, Simulation Modeling and Analysis, chapter 10). Only replicates that
    every point has are taken; where there is none, there is a mean of the points' means without an interval.

    Args:
        values: point, replicate, value.
        method: as for ``mean_interval``.
        confidence: as well.
    """
    points: dict[Hashable, dict[Hashable, list[float]]] = {}
    for point, replicate, value in values:
        points.setdefault(point, {}).setdefault(replicate, []).append(value)
    found = list(points.values())
    common = [replicate for replicate in found[0] if all(replicate in one for one in found)] if found else []
    if found and not common:
        return Interval(
            1, fmean(fmean(v for each in one.values() for v in each) for one in found), math.nan, math.nan
        )
    return mean_interval(
        [fmean(fmean(one[replicate]) for one in found) for replicate in common], method, confidence
    )


def is_narrow(values: Sequence[float], relative: float) -> bool:
    """Return whether half the 95 % interval is at most this part of the mean's magnitude."""
    found = mean_interval(values)
    return found.values >= 2 and found.half_width <= relative * abs(found.mean)
