"""The tables of a campaign for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from mptcpsim.sweep.campaign import Campaign
from mptcpsim.sweep.statistics import Interval, Method
from mptcpsim.units import format_rate, format_size

#: Values below which an interval by bootstrap is markedly too narrow: of 2 it lies between them, and holds
#: the mean of a normal distribution every second time.
FEW = 10


def _table(title: str, columns: Sequence[tuple[str, bool]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table


def means_table(
    campaign: Campaign, metrics: Sequence[str], by: Sequence[str] | None, method: Method
) -> Table:
    """Return means with 95 % intervals, a row for each combination of the axes' values."""
    axes = list(campaign.axes if by is None else by)
    columns = [campaign.means(metric, axes, method) for metric in metrics]
    what = "Student's t"
    if method == "bootstrap":
        values = [group.interval.values for column in columns for group in column]
        few = any(2 <= number < FEW for number in values)
        what = f"bootstrap, too narrow for fewer than {FEW} values" if few else "bootstrap"
    table = _table(
        f"{campaign.title}: means and 95 % intervals ({what})",
        [(axis, False) for axis in axes] + [("runs", True)] + [(metric, True) for metric in metrics],
    )
    for groups in zip(*columns, strict=True):
        first = groups[0]
        counts = "/".join(str(count) for count in dict.fromkeys(len(group.values) for group in groups))
        table.add_row(
            *(_value(value) for value in first.parameters.values()),
            counts,
            *(_interval(group.interval, metric) for group, metric in zip(groups, metrics, strict=True)),
        )
    return table


def run_table(campaign: Campaign, everything: bool) -> Table:
    """Return the runs, one a row, with how they ended."""
    rows = campaign.rows(everything=everything)
    hidden = {"seed", "status", "message"}
    names = ["run", "point", "replicate", *(["code"] if everything else [])]
    names += [axis for axis in campaign.axes if axis not in hidden]
    table = _table(campaign.title, [(name, name in ("point", "replicate")) for name in (*names, "status")])
    for row in rows:
        ended = row["status"] + (f": {row['message']}" if row["message"] else "")
        table.add_row(*(_value(row[name]) for name in names), ended)
    return table


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _interval(interval: Interval, metric: str) -> str:
    """Return ``9.31 Mbit/s [9.29, 9.33]``; the interval is missing where there is one value only."""
    if interval.values == 0:
        return "-"
    if metric.endswith("_bps"):
        mean = format_rate(interval.mean)
        scale = interval.mean / float(mean.split()[0]) if interval.mean else 1.0
    elif ".bytes_" in metric:
        mean = format_size(interval.mean)
        scale = interval.mean / float(mean.split()[0]) if interval.mean else 1.0
    else:
        mean, scale = f"{interval.mean:.4g}", 1.0
    if interval.values < 2:
        return mean
    scale = float(f"{scale:.1e}")
    return f"{mean} [{interval.low / scale:.4g}, {interval.high / scale:.4g}]"
