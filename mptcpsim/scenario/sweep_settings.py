"""``[sweep]``: which values the keys of a scenario take, and how their runs are judged.

``mptcpsim.sweep.plan`` turns the table into points. An axis is named by a key of the
scenario as ``--set`` takes it (``"links.path2.delay"``), or by a word of one's own, which
``[sweep.set]`` then puts into keys.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, Tag, model_validator

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.quantities import Time, Whole
from mptcpsim.units import MINUTE, UnitError, parse_rate, parse_size, parse_time

#: Values that one axis may have, and points that one sweep may have.
MAX_VALUES = 100_000

ValueCount = Annotated[Whole, Field(ge=1, le=MAX_VALUES)]

#: A number, or a quantity with its unit.
Bound = int | float | str


def _bound(value: Any) -> Bound:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f'{value!r} is not the end of a range: write a number, or a string such as "10ms"')
    if isinstance(value, str):
        quantity(value)
    elif not math.isfinite(value):
        raise ValueError(f"{value!r} is not the end of a range: write a finite number")
    return value


def quantity(text: str) -> tuple[int, str]:
    """Return a quantity in its base unit, and what it is: ``time``, ``rate`` or ``size``.

    Raises:
        UnitError: it is none of them.
    """
    for kind, parse in (("time", parse_time), ("rate", parse_rate), ("size", parse_size)):
        try:
            return parse(text), kind
        except UnitError:
            continue
    raise UnitError(f'{text!r} is not a quantity: write a time, a rate or a size, such as "10ms" or "8Mbps"')


class Span(Model):
    """What ranges and samples have in common: two ends, both included, and how to go between them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)

    start: Annotated[Bound, BeforeValidator(_bound), Field(alias="from")]
    end: Annotated[Bound, BeforeValidator(_bound), Field(alias="to")]
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ends_fit(self) -> Span:
        low, high = self.numbers()
        if low > high:
            raise ValueError(f"from {self.start!r} to {self.end!r} runs backwards: exchange them")
        if self.scale == "log" and low <= 0:
            raise ValueError(f'scale "log" begins above zero, not at {self.start!r}')
        return self

    def numbers(self) -> tuple[float, float]:
        """Return both ends in their base unit."""
        (low, kind), (high, other) = (
            quantity(bound) if isinstance(bound, str) else (bound, "number")
            for bound in (self.start, self.end)
        )
        if kind != other:
            raise ValueError(
                f"from {self.start!r} to {self.end!r}: a {kind} and a {other}; give both ends one unit"
            )
        return low, high


class RangeSpec(Span):
    """Values from one end to the other: so many ``steps``, or a ``step`` apart."""

    steps: ValueCount | None = None
    step: Annotated[Bound, BeforeValidator(_bound)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> RangeSpec:
        if (self.steps is None) == (self.step is None):
            raise ValueError("a range has either steps (how many values) or step (how far apart): give one")
        if self.step is not None:
            if self.scale == "log":
                raise ValueError('scale "log" goes with steps, not with step')
            width = quantity(self.step)[0] if isinstance(self.step, str) else self.step
            if isinstance(self.step, str) != isinstance(self.start, str):
                raise ValueError(f"step {self.step!r} is in another unit than from {self.start!r}")
            if width <= 0:
                raise ValueError(f"step {self.step!r} leads nowhere: it must be more than zero")
            low, high = self.numbers()
            if (high - low) / width >= MAX_VALUES:
                raise ValueError(f"step {self.step!r} gives more than {MAX_VALUES} values: make it larger")
        return self


def _axis_kind(value: Any) -> str:
    return "<range>" if isinstance(value, dict | Span) else "<values>"


def _values(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{value!r} is not an axis: write a list of values, or {{from = 1, to = 10, steps = 10}}"
        )
    if not value:
        raise ValueError("an axis without values gives no point: write at least one")
    return tuple(value)


Values = Annotated[tuple[Any, ...], BeforeValidator(_values)]
AxisSpec = Annotated[
    Annotated[Values, Tag("<values>")] | Annotated[RangeSpec, Tag("<range>")], Discriminator(_axis_kind)
]
SampledAxisSpec = Annotated[
    Annotated[Values, Tag("<values>")] | Annotated[Span, Tag("<range>")], Discriminator(_axis_kind)
]


def _flat(value: Any) -> Any:
    """Join the names of nested tables: TOML reads ``links.a.delay = [...]`` as tables in tables."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict) and not {"from", "to"} & set(item):
            inner = _flat(item)
            flat.update({f"{name}.{key}": one for key, one in inner.items()})
        else:
            flat[name] = item
    return flat


Axes = Annotated[dict[str, AxisSpec], BeforeValidator(_flat)]


class SampleSpec(Model):
    """Points spread over ranges: ``latin-hypercube``, ``sobol`` (scrambled) or ``random``."""

    method: Literal["latin-hypercube", "sobol", "random"] = "latin-hypercube"
    points: ValueCount
    seed: Annotated[Whole, Field(ge=0)] = 1
    axes: Annotated[dict[str, SampledAxisSpec], BeforeValidator(_flat), Field(min_length=1)]


class PrecisionSpec(Model):
    """More replicates until the 95 % interval of a metric's mean is narrow enough.

    Judged whenever a whole batch of ``replicates`` is complete, from those replicates alone: the
    order in which runs end plays no part.
    """

    metric: str = "goodput_bps"
    #: Half the width of the interval, as a part of the mean's magnitude.
    relative: Annotated[float, Field(gt=0.0)]
    max_replicates: ValueCount = 100


class FigureSpec(Model):
    """A figure: ``y`` over the axis ``x``, a line for each value of ``lines``, a panel for each ``panels``.

    What is absent is chosen by the sweep's axes (``mptcpsim.sweep.choice``).
    """

    name: Annotated[str, Field(min_length=1, pattern=r"^[\w.-]+$")]
    kind: Literal["line", "heatmap", "cdf", "box", "scatter"] | None = None
    y: str = "goodput_bps"
    x: str | None = None
    lines: str | None = None
    panels: str | None = None
    #: The second axis of a heat map.
    rows: str | None = None
    title: str = ""


class SweepSpec(Model):
    """The table ``[sweep]``. The parts that are given are crossed with one another."""

    #: Every combination of the values.
    grid: Axes = Field(default_factory=dict)
    #: The first values of all axes, then the second ones, and so on.
    zip: Axes = Field(default_factory=dict)
    #: Points one by one, all with the same keys.
    points: tuple[Annotated[dict[str, Any], BeforeValidator(_flat), Field(min_length=1)], ...] = ()
    sample: SampleSpec | None = None
    #: Keys of the scenario and what they become: text with ``{expressions}`` of the axes.
    set: Annotated[dict[str, Any], BeforeValidator(_flat)] = Field(default_factory=dict)
    #: Only points of which all of these expressions are true.
    where: tuple[str, ...] = ()
    replicates: ValueCount = 1
    #: "common": replicate k has one seed at all points. "independent": each point has seeds of its own.
    seeds: Literal["common", "independent"] = "common"
    precision: PrecisionSpec | None = None
    #: Wall-clock time of one run; 0 is no limit.
    time_limit: Time = 60 * MINUTE
    #: Keep the time series: all (true), none (false), or those of some metrics.
    series: StrictBool | tuple[str, ...] = False
    #: Columns of the results: a name, and where the value stands in summary.json.
    metrics: dict[str, str] = Field(default_factory=dict)
    figures: tuple[FigureSpec, ...] = ()
    #: What an axis or a metric is called in figures, unit included.
    labels: Annotated[dict[str, str], BeforeValidator(_flat)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _replicates_fit(self) -> SweepSpec:
        if self.precision is not None and self.precision.max_replicates < self.replicates:
            raise ValueError(
                f"precision.max_replicates = {self.precision.max_replicates} is less than the "
                f"{self.replicates} replicates to begin with: make one of them fit the other"
            )
        return self

    @model_validator(mode="after")
    def _figures_differ(self) -> SweepSpec:
        names = [figure.name for figure in self.figures]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two figures are called {name!r}, and would be one file: rename one")
        return self

    @property
    def axes(self) -> list[str]:
        """The names of the axes, in the order in which the parts are crossed."""
        points = self.points[0] if self.points else ()
        return [*points, *self.zip, *self.grid, *(self.sample.axes if self.sample is not None else ())]

    @model_validator(mode="before")
    @classmethod
    def _one_condition(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("where"), str):
            return {**data, "where": [data["where"]]}
        return data
