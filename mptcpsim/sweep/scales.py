"""The units of figures: which one an axis or a metric gets, and what its label says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mptcpsim.scenario.sweep_settings import quantity
from mptcpsim.units import MILLISECOND, SECOND, UnitError

_STEPS = {
    "bps": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "rate": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")),
    "size": ((1024.0**2, "MiB"), (1024.0, "KiB"), (1.0, "B")),
    "time": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
}

#: What the kinds of metrics are called among quantities.
_QUANTITY = {"bps": "rate", "bytes": "size"}

#: Parentheses at the end of a label, and words in them that look like a unit and are none there.
_PARENTHESES = re.compile(r"\(([^()]+)\)\s*$")
_NO_UNIT = ("min", "h")

#: Beyond it a number of ticks is hard to read: a larger unit is taken.
_MANY = 10_000.0


class Scale(NamedTuple):
    """How numbers are drawn: divided by ``factor``, under a label that says so."""

    factor: float
    label: str


def metric_scale(metric: str, label: str, values: Sequence[float]) -> Scale:
    """Return the scale of a metric, whose unit the end of its name tells."""
    largest = max(abs(value) for value in values)
    if metric.endswith("_bps"):
        return _scale(label, "bps", step(largest, "bps"))
    if "bytes" in metric:
        return _scale(label, "bytes", step(largest, "bytes"))
    for ending, unit, base in (("_ms", "ms", MILLISECOND), ("_s", "s", SECOND)):
        if metric.endswith(ending):
            found = _scale(label, "time", (base, unit))
            return found._replace(factor=found.factor / base)
    return Scale(1.0, label)


def axis_scale(kind: str, label: str, numbers: Sequence[float]) -> Scale:
    """Return the scale of an axis: the largest unit in which its smallest value is at least one.

    A larger one where its largest value would have too many digits.
    """
    if kind not in _STEPS:
        return Scale(1.0, label)
    positive = [number for number in numbers if number > 0]
    factor, unit = step(min(positive, default=1.0), kind)
    for larger in reversed(_STEPS[kind]):
        if larger[0] > factor and max(positive, default=1.0) / factor >= _MANY:
            factor, unit = larger
    return _scale(label, kind, (factor, unit))


def step(number: float, kind: str) -> tuple[float, str]:
    """Return the largest unit of a kind in which a number is at least one."""
    for factor, unit in _STEPS[kind]:
        if number >= factor:
            return factor, unit
    return _STEPS[kind][-1]


def _scale(label: str, kind: str, chosen: tuple[float, str]) -> Scale:
    """Return the scale of the unit that a label ends with in parentheses, else of the one chosen."""
    parentheses = _PARENTHESES.search(label)
    if parentheses is None:
        return Scale(chosen[0], f"{label} ({chosen[1]})")
    if parentheses[1] not in _NO_UNIT:
        try:
            factor, found = quantity(f"1 {parentheses[1]}")
        except UnitError:
            found = ""
        if found == _QUANTITY.get(kind, kind):
            return Scale(float(factor), label)
    return Scale(chosen[0], f"{label}, {chosen[1]}")


def number_text(number: float) -> str:
    """Return a number for a tick: four digits, and no exponent for what five or six digits tell."""
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e6 else f"{number:.4g}"
