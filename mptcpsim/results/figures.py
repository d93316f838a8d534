"""The figures of a run, drawn from its stored series: PNG for the screen, PDF for the paper.

Sizes, fonts and colours suit a paper's column; the palette is Okabe and Ito's, which
colour-blind readers tell apart, and every second round of it changes the line style.
Equal series give equal files, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mptcpsim.results.series import FILE_NAME, Series, SeriesKey, read_series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Okabe and Ito's palette without yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
TOTAL_COLOUR = "#555555"

WIDTH_INCHES = 6.3
HEIGHT_INCHES = 3.0
PNG_DPI = 200

#: Lines above which the legend would hide the data; it then stands beside the axes.
LEGEND_INSIDE = 5
#: Characters that fit into the width of the figure below the axes, and those that a line's sample takes.
LEGEND_CHARACTERS = 96
HANDLE_CHARACTERS = 8
#: Lines above which no legend is readable at all.
LEGEND_MAX = 21

#: matplotlib's settings for all figures of the package.
RC: Any = {
    "font.family": "DejaVu Sans",
    # Names and titles are the user's: a dollar in them is one.
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "path.simplify": True,
}


def draw_figures(directory: Path, title: str = "") -> list[Path]:
    """Draw every figure that the series of a run directory allow.

    Args:
        directory: a run directory, with ``series.parquet``.
        title: the scenario's title, printed above the axes.

    Returns:
        The PNG files; beside each stands a PDF of the same name.

    Raises:
        RunDirectoryError: the series cannot be read.
    """
    import matplotlib

    series = read_series(directory / FILE_NAME)
    written: list[Path] = []
    with matplotlib.rc_context(RC):
        for name, draw in (
            ("throughput", draw_throughput),
            ("cwnd", draw_cwnd),
            ("rtt", draw_rtt),
            ("queue", draw_queue),
        ):
            figure = draw(series, title)
            if figure is not None:
                written.append(save(figure, directory, name))
    return written


def draw_throughput(series: Sequence[Series], title: str = "") -> Figure | None:
    """Draw the throughput of each subflow at its receiver, and the total; None without data."""
    chosen = _chosen(series, "throughput_bps")
    if not chosen:
        return None
    figure, axes = _axes(title)
    factor, unit = _scale(max(float(s.values.max()) for s in chosen), _RATES)
    if len(chosen) > 1:
        times, total = _sum(chosen)
        axes.step(times, total / factor, where="pre", color=TOTAL_COLOUR, linewidth=0.9, label="total")
    for line, one in enumerate(chosen):
        times, values = _from_start(one)
        axes.step(times, values / factor, where="pre", label=_label(one.key, series), **_style(line))
    return _finished(figure, axes, f"Throughput ({unit})", len(chosen) + (len(chosen) > 1))


def draw_cwnd(series: Sequence[Series], title: str = "") -> Figure | None:
    """Draw congestion window and slow-start threshold of each subflow; None without data."""
    windows = _chosen(series, "cwnd_bytes")
    if not windows:
        return None
    thresholds = {s.key[:3]: s for s in _chosen(series, "ssthresh_bytes")}
    figure, axes = _axes(title)
    factor, unit = _scale(max(float(s.values.max()) for s in windows), _SIZES)
    shown = 0
    for line, one in enumerate(windows):
        style = _style(line)
        label = _label(one.key, series)
        axes.plot(one.times, one.values / factor, label=f"{label}: cwnd", **style)
        shown += 1
        threshold = thresholds.get(one.key[:3])
        if threshold is not None:
            axes.plot(
                threshold.times,
                threshold.values / factor,
                label=f"{label}: ssthresh",
                color=style["color"],
                linestyle=(0, (1, 1.5)),
                linewidth=0.9,
            )
            shown += 1
    return _finished(figure, axes, f"Window ({unit})", shown)


def draw_rtt(series: Sequence[Series], title: str = "") -> Figure | None:
    """Draw the smoothed round-trip time of each subflow; None without data."""
    chosen = _chosen(series, "srtt_ms")
    if not chosen:
        return None
    figure, axes = _axes(title)
    for line, one in enumerate(chosen):
        axes.plot(one.times, one.values, label=_label(one.key, series), **_style(line))
    return _finished(figure, axes, "Smoothed RTT (ms)", len(chosen))


def draw_queue(series: Sequence[Series], title: str = "") -> Figure | None:
    """Draw the queue of each link that ever queues a packet; None if none does."""
    chosen = [s for s in _chosen(series, "queue_packets") if s.values.max() > 0]
    if not chosen:
        return None
    figure, axes = _axes(title)
    for line, one in enumerate(chosen):
        axes.plot(one.times, one.values, label=one.key.host, **_style(line))
    return _finished(figure, axes, "Queue (packets)", len(chosen))


# --- Parts --------------------------------------------------------------------------------------

_RATES = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s"))
_SIZES = ((1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def _chosen(series: Sequence[Series], metric: str) -> list[Series]:
    return [s for s in series if s.key.metric == metric and len(s.values)]


def _scale(largest: float, steps: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """Return factor and unit in which the largest value reads best."""
    for factor, unit in steps:
        if largest >= factor:
            return factor, unit
    return steps[-1]


def _label(key: SeriesKey, series: Sequence[Series]) -> str:
    """Return the flow's name, with the subflow's number where the flow has several."""
    siblings = {s.key.subflow for s in series if s.key.connection == key.connection} - {None}
    name = key.connection or key.host
    return f"{name}, subflow {key.subflow}" if len(siblings) > 1 else name


def _style(line: int) -> dict[str, Any]:
    rounds, place = divmod(line, len(PALETTE))
    return {"color": PALETTE[place], "linestyle": LINE_STYLES[rounds % len(LINE_STYLES)]}


def _from_start(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the series with the beginning of its first interval, so that a step shows all of it."""
    times, values = series.times, series.values
    if len(times) < 2:
        return times, values
    start = max(0.0, 2 * float(times[0]) - float(times[1]))
    return np.concatenate(([start], times)), np.concatenate((values[:1], values))


def _sum(chosen: Sequence[Series]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum over series that were sampled at common instants, though not all at each."""
    times = np.unique(np.concatenate([s.times for s in chosen]))
    total = np.zeros(len(times))
    for one in chosen:
        total[np.searchsorted(times, one.times)] += one.values
    return _from_start(Series(chosen[0].key, times, total))


def _axes(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.add_subplot()
    if title:
        axes.set_title(title, loc="left")
    return figure, axes


def _finished(figure: Figure, axes: Axes, label: str, lines: int) -> Figure:
    axes.set_xlabel("Time (s)")
    axes.set_ylabel(label)
    axes.margins(x=0.0)
    axes.autoscale_view()
    axes.set_xlim(left=0.0)
    top = axes.get_ylim()[1]
    axes.set_ylim(bottom=0.0, top=top if math.isfinite(top) and top > 0 else 1.0)
    if 1 <= lines <= LEGEND_INSIDE:
        longest = max(len(label) for label in axes.get_legend_handles_labels()[1])
        columns = max(1, LEGEND_CHARACTERS // (longest + HANDLE_CHARACTERS))
        figure.legend(loc="outside lower center", ncols=min(lines, 4, columns))
    elif lines <= LEGEND_MAX:
        figure.legend(loc="outside right upper")
    return figure


def save(figure: Figure, directory: Path, name: str) -> Path:
    """Write PNG and PDF without dates and versions in them."""
    target = directory / f"{name}.png"
    figure.savefig(target, dpi=PNG_DPI, metadata={"Software": None})
    figure.savefig(
        target.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None, "Creator": None}
    )
    return target
