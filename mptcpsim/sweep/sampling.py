"""The values of an axis: ranges counted out, samples spread over ranges (scipy.stats.qmc)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from mptcpsim.scenario.quantities import rate_text, size_text, time_text
from mptcpsim.scenario.sweep_settings import RangeSpec, SampleSpec, Span, quantity

_TEXT = {"time": time_text, "rate": rate_text, "size": size_text}


def axis_values(axis: Sequence[Any] | RangeSpec) -> list[Any]:
    """Return the values of an axis, each once, in their order."""
    if not isinstance(axis, RangeSpec):
        return list(axis)
    low, high = axis.numbers()
    if axis.steps == 1:
        shares = [0.0]
    elif axis.steps is not None:
        shares = [step / (axis.steps - 1) for step in range(axis.steps)]
    else:
        assert axis.step is not None
        width = quantity(axis.step)[0] if isinstance(axis.step, str) else axis.step
        # A step that meets the end but for a rounding error includes it.
        count = math.floor((high - low) / width + 1e-9) + 1
        shares = [min(1.0, step * width / (high - low)) if high > low else 0.0 for step in range(count)]
    return list(dict.fromkeys(value_at(axis, share) for share in shares))


def value_at(span: Span, share: float) -> Any:
    """Return the value at a share, 0 to 1, of the way between both ends.

    A quantity is rounded to whole nanoseconds, bit/s or bytes; between whole numbers lie whole
    numbers (write ``1.0`` where fractions are meant).
    """
    low, high = span.numbers()
    if span.scale == "log":
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    value = min(max(value, low), high)
    if isinstance(span.start, str):
        return _TEXT[quantity(span.start)[1]](round(value))
    if isinstance(span.start, int) and isinstance(span.end, int) and _whole_step(span):
        return round(value)
    # Twelve digits, so that 0.1 + 0.2 is 0.3 in a table and in a scenario.
    return float(f"{value:.12g}")


def _whole_step(span: Span) -> bool:
    return not (isinstance(span, RangeSpec) and isinstance(span.step, float))


def sampled_points(sample: SampleSpec) -> list[dict[str, Any]]:
    """Return the points of a sample; they depend on the table alone."""
    from scipy.stats import qmc

    dimensions = len(sample.axes)
    if sample.method == "sobol":
        engine: Any = qmc.Sobol(dimensions, scramble=True, rng=sample.seed)
        with warnings.catch_warnings():
            # Balance needs a power of two; docs/sweeps.md says so, the number is the user's.
            warnings.filterwarnings("ignore", "The balance properties of Sobol", UserWarning)
            shares = engine.random(sample.points)
    elif sample.method == "latin-hypercube":
        shares = qmc.LatinHypercube(dimensions, rng=sample.seed).random(sample.points)
    else:
        import numpy as np

        shares = np.random.default_rng(sample.seed).random((sample.points, dimensions))
    axes = sample.axes.items()
    return [
        {name: _chosen(axis, float(share)) for (name, axis), share in zip(axes, row, strict=True)}
        for row in shares
    ]


def _chosen(axis: Sequence[Any] | Span, share: float) -> Any:
    if isinstance(axis, Span):
        return value_at(axis, share)
    return axis[min(len(axis) - 1, int(share * len(axis)))]
