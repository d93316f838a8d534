"""The figures of a campaign: PNG, PDF and PGF, as wide as a column of a paper, or the page for panels.

Kinds: ``line`` (means over an axis, with their 95 % intervals as a band), ``heatmap``, ``cdf``, ``box``,
``scatter`` (sampled axes); any of them as small multiples, a panel for each value of an axis.
Equal campaigns give equal files.
"""

from __future__ import annotations

import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from mptcpsim.results.directories import made
from mptcpsim.results.figures import LINE_STYLES, PALETTE, RC, save
from mptcpsim.scenario.sweep_settings import FigureSpec, SweepSpec
from mptcpsim.sweep.campaign import Campaign, group
from mptcpsim.sweep.choice import MAX_LINES, MAX_PANELS, Axis, axis_of, chosen_figures
from mptcpsim.sweep.scales import Scale, axis_scale, metric_scale, number_text, step
from mptcpsim.sweep.store import StoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A column and a page of a two-column paper, inches (IEEE's 88.9 mm and 181.9 mm).
COLUMN_INCHES = 3.5
PAGE_INCHES = 7.16
HEIGHT_INCHES = 2.3
PANEL_INCHES = 1.75
PANELS_A_ROW = 3

#: Ticks of a heat map with many numbers.
MAX_TICKS = 12

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_SMALL: Any = {
    **RC,
    "text.parse_math": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.6,
}

#: Characters of a value in ticks and legends, and those that an inch below an x axis holds.
MAX_TEXT = 20
TICK_CHARACTERS_AN_INCH = 15
SLANTED_CHARACTERS_AN_INCH = 30

#: Characters of a label in an inch, and the inches beside the axes that no label can have.
LABEL_CHARACTERS_AN_INCH = 16
BESIDE_INCHES = 0.4


#: matplotlib's warning of a letter that the font does not have.
_NO_GLYPH = re.compile(r"Glyph (\d+) ")


def draw_campaign(
    campaign: Campaign, directory: Path, say: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Draw the figures of a campaign, all or none; return the PNG files, beside which stand PDF and PGF.

    Args:
        campaign: the campaign.
        directory: where the files go.
        say: is told what is not in the figures.

    Raises:
        StoreError: there is nothing to draw, or a figure of the scenario does not fit the table.
    """
    import matplotlib

    planned = campaign.rows()
    rows = [row for row in planned if row["status"] == "done"]
    if not rows:
        raise StoreError(f"{campaign.path}: no run is done, there is nothing to draw")
    if len(rows) < len(planned):
        say(f"{len(planned) - len(rows)} of {len(planned)} runs are not done, and in no figure")
    wanted = chosen_figures(rows, campaign.axes, campaign.spec)
    with (
        matplotlib.rc_context(_SMALL),
        made(directory),
        TemporaryDirectory(prefix=".", suffix=".partial", dir=directory) as partial,
    ):
        for spec in wanted:
            if lacking := sum(row[spec.y] is None for row in rows):
                say(
                    f"figure {spec.name!r}: {lacking} of {len(rows)} runs have no {spec.y!r}, "
                    "and are left out: it is that of the others"
                )
            with _glyphs(spec.name, say):
                _write(draw(rows, spec, campaign.spec, campaign.title), Path(partial), spec.name)
        for path in Path(partial).iterdir():
            path.rename(directory / path.name)
    return [directory / f"{spec.name}.png" for spec in wanted]


def _write(figure: Figure, directory: Path, name: str) -> None:
    """Write a figure in all formats."""
    from mptcpsim.sweep.pgf import write_pgf

    try:
        save(figure, directory, name)
    except ValueError as error:
        # matplotlib's parser of mathematics: the last line of what it says tells what is wrong.
        raise StoreError(
            f"figure {name!r}: a text with $ in it is no mathematics "
            f"({str(error).strip().splitlines()[-1]}): mend it, or write \\$ for a dollar"
        ) from None
    write_pgf(figure, directory / f"{name}.pgf")


@contextmanager
def _glyphs(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Tell once what the font cannot draw, where matplotlib warns of every letter in every format."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing: dict[str, None] = {}
    for warning in caught:
        if found := _NO_GLYPH.match(str(warning.message)):
            missing[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        say(f"figure {name!r}: its font, DejaVu Sans, has no {' '.join(missing)}: a box stands there")


def draw(rows: Sequence[dict[str, Any]], spec: FigureSpec, sweep: SweepSpec, title: str = "") -> Figure:
    """Draw one figure from the rows of a table.

    Raises:
        StoreError: more panels or lines than can be read.
    """
    return _Drawing(rows, spec, sweep, title).figure


class _Drawing:
    """One figure while it is being drawn."""

    def __init__(
        self, rows: Sequence[dict[str, Any]], spec: FigureSpec, sweep: SweepSpec, title: str
    ) -> None:
        self._spec = spec
        self._sweep = sweep
        self._labels = sweep.labels
        self._rows = [row for row in rows if row[spec.y] is not None]
        if not self._rows:
            raise StoreError(f"figure {spec.name!r}: no run has a value of {spec.y!r}")
        values = [row[spec.y] for row in self._rows]
        if any(isinstance(value, str) for value in values):
            raise StoreError(f"figure {spec.name!r}: {spec.y!r} is text: choose another column for y")
        self._factor, self._y_label = metric_scale(
            spec.y, self._labels.get(spec.y) or _metric_name(spec.y), values
        )
        self._panels = self._axis(spec.panels, MAX_PANELS, "panels")
        self._lines = self._axis(spec.lines, MAX_LINES, "lines")
        #: Characters of the longest tick that had to be put aslant.
        self._slanted = 0
        self.figure, grid = self._layout(spec.title or title)
        draw = {
            "line": self._line, "heatmap": self._heatmap, "cdf": self._cdf, "box": self._box,
            "scatter": self._scatter,
        }[spec.kind or "line"]  # fmt: skip
        for place, axes in enumerate(grid):
            here = self._rows
            if self._panels is not None:
                value = self._panels.values[place]
                here = [row for row in here if row[self._panels.name] == value]
                axes.set_title(_wrapped(self._named(self._panels, value), self._width()), loc="left")
            draw(axes, here)
        self._finish(grid)

    # --- Frame --------------------------------------------------------------------------------

    def _axis(self, name: str | None, most: int, what: str) -> Axis | None:
        if name is None:
            return None
        axis = axis_of(name, [row[name] for row in self._rows])
        if len(axis.values) > most:
            raise StoreError(
                f"figure {self._spec.name!r}: {what} = {name!r} has {len(axis.values)} values, more than the "
                f"{most} that can be read; name another axis in [[sweep.figures]]"
            )
        return axis

    def _layout(self, title: str) -> tuple[Figure, list[Axes]]:
        from matplotlib.figure import Figure

        count = len(self._panels.values) if self._panels is not None else 1
        if count == 1:
            figure = Figure(figsize=(COLUMN_INCHES, HEIGHT_INCHES), layout="constrained")
            grid = [figure.add_subplot()]
            if title:
                grid[0].set_title(title, loc="left", wrap=True)
        else:
            columns = self._columns(count)
            lines = math.ceil(count / columns)
            size = (PAGE_INCHES, PANEL_INCHES * lines + 0.5)
            figure = Figure(figsize=size, layout="constrained")
            made = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
            for empty in made[count:]:
                empty.remove()
            grid = list(made[:count])
            # Where the last row is not full, the panels above the gap have the numbers.
            for axes in grid[max(0, count - columns) :]:
                axes.tick_params(labelbottom=True)
            if title:
                figure.suptitle(_wrapped(title, 0.9 * PAGE_INCHES), x=0.01, ha="left", fontsize=8.5)
        return figure, grid

    def _finish(self, grid: list[Axes]) -> None:
        figure, spec = self.figure, self._spec
        figure.set_figheight(figure.get_figheight() + self._slanted / SLANTED_CHARACTERS_AN_INCH)
        handles, labels = grid[0].get_legend_handles_labels()
        for axes in grid[1:]:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                if label not in labels:
                    handles.append(handle)
                    labels.append(label)
        if len(labels) > 1:
            room = 60 if len(grid) == 1 else 120
            columns = max(1, min(len(labels), room // (max(map(len, labels)) + 8)))
            name = self._name(self._lines) if self._lines is not None else ""
            figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=name)
        y = self._y_label
        bottom, left = (None, y)
        if spec.kind == "cdf":
            bottom, left = y, "Share of the runs"
        elif spec.kind == "heatmap":
            left = self._label(self._axis(spec.rows, 10_000, "rows"))
        if spec.kind != "cdf" and spec.x is not None:
            bottom = self._label(self._axis(spec.x, 100_000, "x"))
        columns = self._columns(len(grid))
        for place, axes in enumerate(grid):
            if place >= len(grid) - columns:
                axes.set_xlabel(_wrapped(bottom or "", self._width()))
            if place % columns == 0:
                axes.set_ylabel(_wrapped(left, self._height()))
            bottom_end, top = axes.get_ylim()
            if spec.kind in ("line", "scatter") and bottom_end > 0.0:
                # The margin above the data is a part of the whole height, or markers are cut.
                margin = axes.get_ymargin()
                highest = top - (top - bottom_end) * margin / (1 + 2 * margin)
                axes.set_ylim(0.0, highest * (1 + margin))

    def _width(self) -> float:
        """Return how wide a panel is, inches."""
        panels = 1 if self._panels is None else len(self._panels.values)
        whole = COLUMN_INCHES if panels == 1 else PAGE_INCHES
        return whole / self._columns(panels) - BESIDE_INCHES

    def _height(self) -> float:
        """Return how high a panel is, inches."""
        alone = self._panels is None or len(self._panels.values) == 1
        return (HEIGHT_INCHES if alone else PANEL_INCHES) - BESIDE_INCHES

    @staticmethod
    def _columns(panels: int) -> int:
        return {1: 1, 2: 2, 4: 2}.get(panels, PANELS_A_ROW)

    # --- Kinds --------------------------------------------------------------------------------

    def _line(self, axes: Axes, rows: list[dict[str, Any]]) -> None:
        assert self._spec.x is not None
        x = self._axis(self._spec.x, 100_000, "x")
        assert x is not None
        positions = self._positions(x)
        for place, (label, mine) in enumerate(self._split(rows)):
            found = {
                each.parameters[x.name]: each.interval
                for each in group(mine, self._spec.y, [x.name], self._sweep)
            }
            at = [value for value in x.values if value in found]
            means = [found[value].mean / self._factor for value in at]
            across = [positions[value] for value in at]
            style = _style(place)
            axes.plot(across, means, label=label, marker=MARKERS[place % len(MARKERS)], **style)
            low = [found[value].low / self._factor for value in at]
            high = [found[value].high / self._factor for value in at]
            if not all(math.isnan(value) for value in low):
                axes.fill_between(across, low, high, color=style["color"], alpha=0.2, linewidth=0)
        if not x.is_numeric:
            self._word_ticks(axes, x)
        elif _is_logarithmic(x):
            _logarithmic(axes, list(positions.values()))

    def _scatter(self, axes: Axes, rows: list[dict[str, Any]]) -> None:
        x = self._axis(self._spec.x, 100_000, "x")
        assert x is not None
        positions = self._positions(x)
        for place, (label, mine) in enumerate(self._split(rows)):
            axes.scatter(
                [positions[row[x.name]] for row in mine],
                [row[self._spec.y] / self._factor for row in mine],
                s=8, label=label, color=PALETTE[place % len(PALETTE)], marker=MARKERS[place % len(MARKERS)],
                linewidths=0,
            )  # fmt: skip
        if not x.is_numeric:
            self._word_ticks(axes, x)
        sample = self._sweep.sample
        if sample is not None and getattr(sample.axes.get(x.name), "scale", "linear") == "log":
            axes.set_xscale("log")

    def _heatmap(self, axes: Axes, rows: list[dict[str, Any]]) -> None:
        x = self._axis(self._spec.x, 100_000, "x")
        y = self._axis(self._spec.rows, 100_000, "rows")
        assert x is not None
        assert y is not None
        found = {
            (each.parameters[y.name], each.parameters[x.name]): each.interval.mean / self._factor
            for each in group(rows, self._spec.y, [y.name, x.name], self._sweep)
        }
        field = np.array([[found.get((down, across), math.nan) for across in x.values] for down in y.values])
        means = [
            each.interval.mean / self._factor
            for each in group(
                self._rows,
                self._spec.y,
                [y.name, x.name, *([self._panels.name] if self._panels else [])],
                self._sweep,
            )
        ]
        low, high = min(means), max(means)
        mesh = axes.pcolormesh(
            np.arange(len(x.values) + 1), np.arange(len(y.values) + 1), field, cmap="cividis", vmin=low,
            vmax=high if high > low else low + 1.0,
        )  # fmt: skip
        axes.grid(visible=False)
        self._word_ticks(axes, x, 0.5)
        texts = self._texts(y)
        each = math.ceil(len(texts) / MAX_TICKS)
        axes.set_yticks([place + 0.5 for place in range(0, len(texts), each)], texts[::each])
        first = self._panels is None or axes.get_title(loc="left") == self._named(
            self._panels, self._panels.values[-1]
        )
        if first:
            bar = self.figure.colorbar(
                mesh, ax=self.figure.axes, label=_wrapped(self._y_label, self._height())
            )
            bar.outline.set_linewidth(0.6)
            # PGF pictures have no raster images.
            assert bar.solids is not None
            bar.solids.set_rasterized(False)
            bar.solids.set_edgecolor("face")

    def _cdf(self, axes: Axes, rows: list[dict[str, Any]]) -> None:
        for place, (label, mine) in enumerate(self._split(rows)):
            values = np.sort([row[self._spec.y] / self._factor for row in mine])
            if len(values):
                shares = np.arange(1, len(values) + 1) / len(values)
                axes.step(
                    np.concatenate((values[:1], values)), np.concatenate(([0.0], shares)), where="post",
                    label=label, **_style(place),
                )  # fmt: skip
        axes.set_ylim(0.0, 1.0)

    def _box(self, axes: Axes, rows: list[dict[str, Any]]) -> None:
        x = self._axis(self._spec.x, 100, "x")
        values = x.values if x is not None else [None]
        split = self._split(rows)
        width = 0.8 / len(split)
        for place, (label, mine) in enumerate(split):
            colour = PALETTE[place % len(PALETTE)]
            groups = [
                [row[self._spec.y] / self._factor for row in mine if x is None or row[x.name] == value]
                for value in values
            ]
            made = axes.boxplot(
                groups, positions=[p - 0.4 + width * (place + 0.5) for p in range(len(values))],
                widths=0.85 * width, patch_artist=True, manage_ticks=False,
                medianprops={"color": "black", "linewidth": 0.9}, flierprops={"markersize": 2.0},
                boxprops={"facecolor": colour, "alpha": 0.6, "linewidth": 0.6},
                whiskerprops={"linewidth": 0.6}, capprops={"linewidth": 0.6},
            )  # fmt: skip
            made["boxes"][0].set_label(label)
        if x is None:
            axes.set_xticks([])
        else:
            self._word_ticks(axes, x)
        axes.grid(visible=False, axis="x")

    # --- Names --------------------------------------------------------------------------------

    def _split(self, rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the rows of each line with its label."""
        if self._lines is None:
            return [("", rows)]
        name = self._lines.name
        return [
            (self._value(self._lines, value), [row for row in rows if row[name] == value])
            for value in self._lines.values
        ]

    def _value(self, axis: Axis, value: Any) -> str:
        if axis.kind == "word":
            return _cut([_text(each) for each in axis.values])[axis.values.index(value)]
        if axis.kind == "number":
            return _text(value)
        number = axis.numbers[axis.values.index(value)]
        factor, unit = step(number, axis.kind)
        return f"{number / factor:.4g} {unit}"

    def _named(self, axis: Axis, value: Any) -> str:
        return f"{self._name(axis)}: {self._value(axis, value)}"

    def _name(self, axis: Axis) -> str:
        """Return what an axis is called where its values have their units with them."""
        name = self._labels.get(axis.name, _short(axis.name))
        return name if axis.kind in ("word", "number") else name.partition(" (")[0]

    def _scale(self, axis: Axis) -> Scale:
        return axis_scale(axis.kind, self._labels.get(axis.name, _short(axis.name)), axis.numbers)

    def _label(self, axis: Axis | None) -> str:
        return "" if axis is None else self._scale(axis).label

    # --- Places -------------------------------------------------------------------------------

    def _positions(self, axis: Axis) -> dict[Any, float]:
        """Return where the values of an axis stand: numbers on their scale, words one after the other."""
        if not axis.is_numeric:
            return {value: float(place) for place, value in enumerate(axis.values)}
        factor = self._scale(axis).factor
        return {value: n / factor for value, n in zip(axis.values, axis.numbers, strict=True)}

    def _texts(self, axis: Axis) -> list[str]:
        """Return the values of an axis for its ticks."""
        if axis.is_numeric:
            factor = self._scale(axis).factor
            return [number_text(number / factor) for number in axis.numbers]
        return _cut([_text(value) for value in axis.values])

    def _word_ticks(self, axes: Axes, axis: Axis, offset: float = 0.0) -> None:
        """Put the values of an axis below it, one after the other; aslant where they are too long."""
        texts = self._texts(axis)
        each = math.ceil(len(texts) / MAX_TICKS) if axis.is_numeric else 1
        shown = texts[::each]
        axes.set_xticks([place + offset for place in range(0, len(texts), each)], shown)
        if max(map(len, shown)) * len(shown) > TICK_CHARACTERS_AN_INCH * self._width():
            for text in axes.get_xticklabels():
                text.set(rotation=30, rotation_mode="anchor", ha="right")
            self._slanted = max(map(len, shown))


def _style(line: int) -> dict[str, Any]:
    return {"color": PALETTE[line % len(PALETTE)], "linestyle": LINE_STYLES[line % len(LINE_STYLES)]}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrapped(text: str, inches: float) -> str:
    """Return a label in lines that fit; mathematics, whose width nobody knows here, stays in one."""
    if "$" in text:
        return text
    return textwrap.fill(text, int(inches * LABEL_CHARACTERS_AN_INCH), break_long_words=False)


def _cut(texts: list[str]) -> list[str]:
    """Return texts without what is too long to be read, unless it is what tells them apart."""
    short = [text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…" for text in texts]
    return short if len(set(short)) == len(set(texts)) else texts


def _short(name: str) -> str:
    """Return the last words of a key: ``links.path2.delay`` is the ``path2 delay``."""
    return " ".join(name.split(".")[-2:]).replace("_", " ")


def _metric_name(metric: str) -> str:
    words = metric.rpartition(".")
    name = words[2].removesuffix("_bps").removesuffix("_s").removesuffix("_ms").replace("_", " ")
    return f"{words[0]}: {name}" if words[0] else name.capitalize()


def _is_logarithmic(axis: Axis) -> bool:
    """Return whether the values are spread by factors: an equal step of the logarithm, and far apart."""
    numbers = axis.numbers
    if len(numbers) < 3 or numbers[0] <= 0 or numbers[-1] < 8 * numbers[0]:
        return False
    steps = [math.log(high / low) for low, high in pairwise(numbers)]
    return max(steps) < 1.5 * min(steps)


def _logarithmic(axes: Axes, numbers: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(numbers[:: math.ceil(len(numbers) / 6)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, place: number_text(value))
