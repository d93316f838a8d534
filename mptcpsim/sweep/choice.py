"""Which figures a campaign gets: what the scenario names, the rest chosen by the kinds of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mptcpsim.scenario.sweep_settings import FigureSpec, SweepSpec, quantity
from mptcpsim.suggest import did_you_mean
from mptcpsim.sweep.metrics import DEFAULT
from mptcpsim.sweep.store import StoreError
from mptcpsim.units import UnitError

#: Lines of one panel that can be told apart, and panels that fit on a page.
MAX_LINES = 7
MAX_PANELS = 12

#: Values of both axes from which on a heat map is worth drawing.
HEATMAP_FROM = 4

#: Runs of a point from which on their distribution is worth drawing.
CDF_FROM = 20


class Axis(NamedTuple):
    """An axis of the sweep as figures see it.

    Attributes:
        name: its name.
        values: its values, each once: numbers in their order, others as they come.
        kind: ``number``, ``time``, ``rate``, ``size``, or ``word``.
        numbers: the values as numbers of the base unit; empty for words.
    """

    name: str
    values: list[Any]
    kind: str
    numbers: list[float]

    @property
    def is_numeric(self) -> bool:
        """Whether the values lie on a line."""
        return self.kind != "word"


def axis_of(name: str, column: Sequence[Any]) -> Axis:
    """Return what the values of a column are."""
    values = list(dict.fromkeys(column))
    numbers: list[tuple[float, str]] = []
    for value in values:
        if isinstance(value, bool):
            break
        if isinstance(value, int | float):
            numbers.append((float(value), "number"))
            continue
        try:
            found, kind = quantity(str(value))
        except UnitError:
            break
        numbers.append((float(found), kind))
    kinds = {kind for _, kind in numbers}
    if len(numbers) < len(values) or len(kinds) != 1:
        return Axis(name, values, "word", [])
    order = sorted(range(len(values)), key=lambda place: numbers[place][0])
    return Axis(name, [values[i] for i in order], kinds.pop(), [numbers[i][0] for i in order])


def chosen_figures(rows: Sequence[dict[str, Any]], axes: Sequence[str], spec: SweepSpec) -> list[FigureSpec]:
    """Return the figures of a campaign, every axis in its place.

    Args:
        rows: the campaign's table.
        axes: the names of the sweep's axes.
        spec: the table ``[sweep]``.

    Raises:
        StoreError: a figure of the scenario names a column that is not there, or one that is too full.
    """
    found = {name: axis_of(name, [row[name] for row in rows]) for name in axes}
    varying = {name: axis for name, axis in found.items() if len(axis.values) > 1}
    sampled = set(spec.sample.axes) if spec.sample is not None else set()
    if spec.figures:
        return [_completed(figure, rows, varying, sampled) for figure in spec.figures]
    return [_completed(figure, rows, varying, sampled) for figure in _automatic(rows, varying, sampled)]


def _automatic(
    rows: Sequence[dict[str, Any]], varying: dict[str, Axis], sampled: set[str]
) -> list[FigureSpec]:
    """Return a figure for each way in which these axes are worth looking at."""
    metric = DEFAULT
    figures = [FigureSpec(name=metric, y=metric)]
    numeric = [axis for axis in varying.values() if axis.is_numeric and axis.name not in sampled]
    if len(numeric) == 2 and all(len(axis.values) >= HEATMAP_FROM for axis in numeric):
        figures.append(FigureSpec(name=f"{metric}-map", kind="heatmap", y=metric))
    replicates = max((row["replicate"] for row in rows), default=0) + 1
    if varying and replicates >= CDF_FROM:
        figures.append(FigureSpec(name=f"{metric}-cdf", kind="cdf", y=metric))
    return figures


def _completed(
    figure: FigureSpec, rows: Sequence[dict[str, Any]], varying: dict[str, Axis], sampled: set[str]
) -> FigureSpec:
    """Give every axis that varies a place in a figure, as far as there are places."""
    columns = list(rows[0]) if rows else []
    for what in ("y", "x", "lines", "panels", "rows"):
        name = getattr(figure, what)
        if name is not None and name not in columns:
            raise StoreError(
                f"figure {figure.name!r}: {what} = {name!r} is no column; {did_you_mean(name, columns)}"
            )
    named = [name for name in (figure.x, figure.lines, figure.panels, figure.rows) if name is not None]
    free = [axis for axis in varying.values() if axis.name not in named]
    kind = figure.kind or _kind(figure, free, sampled)
    x, rows_, lines, panels = figure.x, figure.rows, figure.lines, figure.panels
    if kind in ("line", "heatmap", "scatter") and x is None:
        x = _take(free, lambda axis: (axis.is_numeric, len(axis.values)))
    if kind == "heatmap" and rows_ is None:
        rows_ = _take(free, lambda axis: (axis.is_numeric, len(axis.values)))
    if kind == "box" and x is None:
        x = _take(free, lambda axis: (len(axis.values),))
    if kind in ("line", "cdf", "box") and lines is None:
        few = [axis for axis in free if len(axis.values) <= MAX_LINES]
        lines = _take(few, lambda axis: (not axis.is_numeric, -len(axis.values)))
        free = [axis for axis in free if axis.name != lines]
    if panels is None:
        few = [axis for axis in free if len(axis.values) <= MAX_PANELS]
        panels = _take(few, lambda axis: (not axis.is_numeric, -len(axis.values)))
    if kind in ("line", "heatmap", "scatter") and x is None:
        raise StoreError(f"figure {figure.name!r}: no axis is left for x: name one")
    if kind == "heatmap" and rows_ is None:
        raise StoreError(f"figure {figure.name!r}: a heat map has two axes: name x and rows")
    chosen = {"kind": kind, "x": x, "rows": rows_, "lines": lines, "panels": panels}
    return figure.model_copy(update=chosen)


def _kind(figure: FigureSpec, free: list[Axis], sampled: set[str]) -> str:
    if figure.rows is not None:
        return "heatmap"
    if figure.x is not None:
        x = [figure.x]
    else:
        x = [axis.name for axis in free if axis.is_numeric]
    if any(name in sampled for name in x):
        return "scatter"
    if x:
        return "line"
    return "box" if free else "cdf"


def _take(free: list[Axis], rank: Any) -> str | None:
    """Take the axis with the highest rank, the first of equals, out of a list."""
    if not free:
        return None
    best = max(free, key=rank)
    free.remove(best)
    return best.name
