"""The DSN figure: what was sent when on which subflow, and what kept the rest back.

Above: data sequence numbers over time, coloured by subflow; the DATA_ACK (of plain TCP: the ACK) and the
right edge of the window as the sender knows them. Below: a line for each subflow with its own window, open
or closed, the probes, and the window updates that came or were lost. Stalls are shaded in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mptcpsim.results.figures import PALETTE, RC, save
from mptcpsim.results.rundir import RunDirectoryError
from mptcpsim.results.segments import AGAIN, DATA, HEARD, PROBE, TOLD, Row, read_segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shown before and after a stall, as a share of it, and at least so many seconds.
_MARGIN: Final = 0.25
_LEAST_MARGIN_S: Final = 0.15

#: Bytes of the name of a flow that can be part of the name of a file.
_LONGEST_NAME: Final = 200
_CLOSED: Final = "#d9d9d9"
_STALL: Final = "#f4a582"
_OPEN: Final = "#009E73"
_SHUT: Final = "#D55E00"
_KIB: Final = 1024.0

#: More bars of data than this are drawn as every n-th.
_MOST_BARS: Final = 20_000


class Update(NamedTuple):
    """A window update that the receiver sent: when, on which subflow, the edge, and whether it came."""

    time_s: float
    subflow: int
    edge: int
    lost: bool


def draw_dsn(
    directory: Path, summary: dict[str, Any], start: float | None = None, end: float | None = None
) -> list[Path]:
    """Draw the figure of every flow that was recorded; return the PNG files, beside each a PDF.

    Args:
        directory: a run directory, with ``segments.parquet``.
        summary: the content of its ``summary.json``.
        start: second to show from; by default a little before the longest stall, or from the beginning.
        end: second to show to; by default a little after that stall, or to the end. A figure of which
            one of both is given has a name of its own, and leaves the others as they are.

    Raises:
        RunDirectoryError: the segments were not recorded, or none of that time.
    """
    import matplotlib

    rows = read_segments(directory)
    _check_recorded(directory, rows, start, end)
    part = _part(start, end)
    written = []
    with matplotlib.rc_context(RC):
        for number, flow in enumerate(summary["flows"]):
            mine = [row for row in rows if row.flow == flow["name"]]
            if not mine:
                continue
            shown = _span(flow, mine, start, end)
            figure = draw_flow(mine, flow, *shown, str(summary.get("scenario", "")))
            name = "dsn" if len(summary["flows"]) == 1 else f"dsn-{_file_word(flow['name'], number)}"
            written.append(save(figure, directory, f"{name}{part}"))
    return written


def _part(start: float | None, end: float | None) -> str:
    """Return what a figure of some seconds has at the end of its name; nothing for the usual one."""
    begin = "" if start is None else f"-from-{start:g}s"
    return f"{begin}-to-{end:g}s" if end is not None else begin


def _check_recorded(directory: Path, rows: Sequence[Row], start: float | None, end: float | None) -> None:
    """Refuse a time in which nothing was recorded."""
    if not rows:
        return
    first, last = rows[0].time_s, rows[-1].time_s
    if (start is not None and start >= last) or (end is not None and end <= first):
        asked = f"from {start:g} s on" if end is None or end > first else f"up to {end:g} s"
        raise RunDirectoryError(
            f"{directory}: nothing was recorded {asked}: choose a time between {first:.3f} and {last:.3f} s"
        )


def _file_word(name: str, number: int) -> str:
    """Return the name of a flow, or its number where the name cannot be part of a file's."""
    usable = name.isprintable() and "/" not in name and len(name.encode()) <= _LONGEST_NAME
    return name if usable else str(number)


def _span(
    flow: dict[str, Any], rows: Sequence[Row], start: float | None, end: float | None
) -> tuple[float, float]:
    first, last = rows[0].time_s, rows[-1].time_s
    stalls = flow["stalls"]
    if stalls and start is None and end is None:
        longest = max(stalls, key=lambda stall: float(stall["end_s"] - stall["start_s"]))
        margin = max(_LEAST_MARGIN_S, _MARGIN * (longest["end_s"] - longest["start_s"]))
        # The window closed before the stall: show that, too, unless it is very long ago.
        told = [packet["time_s"] for packet in longest["packets"] if packet["what"] == "window 0"]
        begin = max(min([longest["start_s"], *told]), longest["start_s"] - 4 * margin)
        return max(first, begin - margin), min(last, longest["end_s"] + margin)
    return (first if start is None else start), (last if end is None else end)


def updates(rows: Sequence[Row]) -> list[Update]:
    """Return the window updates of a flow: ACKs that name no new data and move the edge of their subflow."""
    heard = Counter(_key(row) for row in rows if row.kind == HEARD)
    told = [row for row in rows if row.kind == TOLD]
    sent = Counter(_key(row) for row in told)
    seen: Counter[tuple[int, ...]] = Counter()
    last: dict[int, Row] = {}
    found: list[Update] = []
    for row in told:
        key = _key(row)
        seen[key] += 1
        before = last.get(row.subflow)
        last[row.subflow] = row
        if before is not None and before.ack == row.ack and before.size < row.size and before.dsn == row.dsn:
            # Of equal ones the first were lost, if fewer came than were sent.
            lost = seen[key] <= sent[key] - heard[key]
            found.append(Update(row.time_s, row.subflow, max(row.dsn, 0) + row.size, lost))
    return found


def _key(row: Row) -> tuple[int, ...]:
    return (row.subflow, row.seq, row.ack, row.dsn, row.size)


def draw_flow(rows: Sequence[Row], flow: dict[str, Any], start: float, end: float, title: str = "") -> Figure:
    """Draw one flow from ``start`` to ``end`` (seconds)."""
    from matplotlib.figure import Figure

    subflows = sorted({row.subflow for row in rows})
    figure = Figure(figsize=(7.2, 3.6 + 0.32 * len(subflows)), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[3.2, 0.5 + 0.45 * len(subflows)])
    top = figure.add_subplot(grid[0])
    low = figure.add_subplot(grid[1], sharex=top)
    _draw_sequence(top, rows, subflows, start, end, plain=not flow["multipath"])
    _draw_windows(low, rows, subflows, start, end)
    for stall in flow["stalls"]:
        if stall["end_s"] > start and stall["start_s"] < end:
            for ax in (top, low):
                ax.axvspan(stall["start_s"], stall["end_s"], color=_STALL, alpha=0.25, lw=0, zorder=0)
            middle = (max(stall["start_s"], start) + min(stall["end_s"], end)) / 2
            top.annotate(
                f"stalled {stall['end_s'] - stall['start_s']:.2f} s:\n{stall['cause']}",
                (middle, 0.5), xycoords=("data", "axes fraction"), ha="center", va="center", fontsize=8,
                bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": _SHUT, "alpha": 0.9}, zorder=6,
            )  # fmt: skip
    top.set_xlim(start, end)
    top.set_title(f"{title}: flow {flow['name']}" if title else f"flow {flow['name']}")
    top.tick_params(labelbottom=False)
    low.set_xlabel("Time (s)")
    handles, labels = top.get_legend_handles_labels()
    more, names = low.get_legend_handles_labels()
    figure.legend([*handles, *more], [*labels, *names], loc="outside lower center", ncols=5, fontsize=7)
    return figure


def _draw_sequence(
    ax: Axes, rows: Sequence[Row], subflows: list[int], start: float, end: float, plain: bool
) -> None:
    from matplotlib.collections import LineCollection

    lowest, highest = [], []
    for subflow in subflows:
        colour = PALETTE[subflow % len(PALETTE)]
        for kind, alpha, style in ((DATA, 1.0, "-"), (AGAIN, 0.9, ":")):
            sent = [r for r in rows if r.kind == kind and r.subflow == subflow and start <= r.time_s <= end]
            sent = sent[:: 1 + len(sent) // _MOST_BARS]
            bars = [[(r.time_s, r.dsn / _KIB), (r.time_s, (r.dsn + r.size) / _KIB)] for r in sent]
            label = f"subflow {subflow}" if kind == DATA else f"sent again on {subflow}"
            if bars:
                ax.add_collection(
                    LineCollection(
                        bars, colors=colour, linewidths=2.2, linestyles=style, alpha=alpha, label=label
                    )
                )
                lowest.append(bars[0][0][1])
                highest.append(max(bar[1][1] for bar in bars))
        probes = [r for r in rows if r.kind == PROBE and r.subflow == subflow and start <= r.time_s <= end]
        ax.plot(
            [r.time_s for r in probes], [r.dsn / _KIB for r in probes], "v", color=colour, markersize=5,
            markeredgecolor="black", markeredgewidth=0.4, linestyle="none", zorder=5,
        )  # fmt: skip
    times, acks, edges = _known(rows)
    inside = [index for index, time in enumerate(times) if start <= time <= end]
    if inside:
        first = max(inside[0] - 1, 0)
        chosen = slice(first, inside[-1] + 1)
        for values, name, colour, style in (
            (acks, "ACK" if plain else "DATA_ACK", "black", "-"),
            (edges, "right edge", "#777777", "--"),
        ):
            steps = [*(value / _KIB for value in values[chosen]), values[inside[-1]] / _KIB]
            ax.step(
                [*times[chosen], end],
                steps,
                where="post",
                color=colour,
                lw=1.0,
                ls=style,
                label=name,
                zorder=3,
            )
        lowest.append(acks[first] / _KIB)
        highest.append(edges[inside[-1]] / _KIB)
        closed = [edge <= ack for ack, edge in zip(acks, edges, strict=True)]
        _shade(ax, times, closed, start, end)
    if lowest:
        room = 0.04 * (max(highest) - min(lowest) or 1.0)
        ax.set_ylim(min(lowest) - room, max(highest) + room)
    ax.set_ylabel("Sequence number (KiB)" if plain else "Data sequence number (KiB)")


def _known(rows: Sequence[Row]) -> tuple[list[float], list[int], list[int]]:
    """Return what the sender knows, ACK by ACK: instants, the highest DATA_ACK, the highest right edge."""
    times: list[float] = []
    acks: list[int] = []
    edges: list[int] = []
    ack = edge = 0
    for row in rows:
        if row.kind == HEARD and row.dsn >= 0:
            ack = max(ack, row.dsn)
            edge = max(edge, row.dsn + row.size)
            times.append(row.time_s)
            acks.append(ack)
            edges.append(edge)
    return times, acks, edges


def _shade(ax: Axes, times: list[float], closed: list[bool], start: float, end: float) -> None:
    """Shade the times in which the window of the connection is closed."""
    since: float | None = None
    label: str | None = "window closed"
    for time, shut in [*zip(times, closed, strict=True), (end, False)]:
        if shut and since is None:
            since = time
        elif not shut and since is not None:
            if time > start and since < end:
                ax.axvspan(
                    max(since, start), min(time, end), color=_CLOSED, alpha=0.6, lw=0, zorder=0, label=label
                )
                label = None
            since = None


def _draw_windows(ax: Axes, rows: Sequence[Row], subflows: list[int], start: float, end: float) -> None:
    """Draw a bar for each subflow: its window as the sender knows it; and who told or asked when."""
    found = updates(rows)
    for place, subflow in enumerate(subflows):
        heard = [(row.time_s, row.size > 0) for row in rows if row.kind == HEARD and row.subflow == subflow]
        changes: list[tuple[float, bool]] = []
        for time, is_open in heard:
            if not changes or changes[-1][1] != is_open:
                changes.append((time, is_open))
        for (begin, is_open), (until, _) in zip(changes, [*changes[1:], (end, True)], strict=True):
            left, right = max(begin, start), min(until, end)
            if right > left:
                ax.barh(place, right - left, left=left, height=0.34, color=_OPEN if is_open else _SHUT,
                        alpha=0.45, zorder=1)  # fmt: skip
        probes = [
            r.time_s for r in rows if r.kind == PROBE and r.subflow == subflow and start <= r.time_s <= end
        ]
        ax.plot(probes, [place + 0.3] * len(probes), "v", color="black", markersize=5, zorder=4,
                label="probe" if not place else None)  # fmt: skip
        mine = [u for u in found if u.subflow == subflow and start <= u.time_s <= end]
        came = [u.time_s for u in mine if not u.lost]
        ax.plot(came, [place - 0.3] * len(came), "^", color="#0072B2", markersize=5, zorder=4,
                label="window update" if not place else None)  # fmt: skip
        lost = [u.time_s for u in mine if u.lost]
        ax.plot(lost, [place - 0.3] * len(lost), "X", color="#B2182B", markersize=9, zorder=5,
                label="window update, lost" if not place else None)  # fmt: skip
    ax.barh(0, 0, color=_OPEN, alpha=0.45, label="its window open")
    ax.barh(0, 0, color=_SHUT, alpha=0.45, label="its window closed")
    ax.set_yticks(range(len(subflows)), [f"subflow {number}" for number in subflows])
    ax.set_ylim(-0.7, len(subflows) - 0.3)
    ax.grid(visible=False)
