"""A campaign's table as a file: CSV or Parquet, equal for equal campaigns."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mptcpsim.sweep.campaign import Campaign, arrow_table, cell
from mptcpsim.sweep.statistics import Method
from mptcpsim.sweep.store import StoreError


def export(
    campaign: Campaign, kind: str, out: Path, *, timings: bool = False, everything: bool = False
) -> int:
    """Write the table to a file, whole or not at all; return the number of rows.

    Args:
        campaign: the campaign.
        kind: ``csv`` or ``parquet``.
        out: the file.
        timings: with what depends on the machine and the hour.
        everything: runs of former plans and of other versions of the code, too.

    Raises:
        StoreError: the file cannot be written.
    """
    rows = campaign.rows(timings=timings, everything=everything)
    return _write(rows, kind, out)


def export_means(
    campaign: Campaign, metrics: Sequence[str], kind: str, out: Path, method: Method = "t"
) -> int:
    """Write the means of some metrics with their 95 % intervals, a row a point; return the number of rows.

    Raises:
        StoreError: there is no such metric, or the file cannot be written.
    """
    columns = [campaign.means(metric, method=method) for metric in metrics]
    rows = []
    for groups in zip(*columns, strict=True):
        row: dict[str, Any] = {name: cell(value) for name, value in groups[0].parameters.items()}
        for metric, found in zip(metrics, groups, strict=True):
            row[f"{metric}.runs"] = len(found.values)
            for part, number in zip(("mean", "low", "high"), found.interval[1:], strict=True):
                row[f"{metric}.{part}"] = None if math.isnan(number) else number
        rows.append(row)
    return _write(rows, kind, out)


def _write(rows: Sequence[dict[str, Any]], kind: str, out: Path) -> int:
    if not out.name or out.is_dir():
        raise StoreError(f"{out}: is a directory; name a file in it for --out")
    if not out.parent.is_dir():
        raise StoreError(f"{out}: there is no directory {out.parent}; make it, or choose another --out")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        try:
            if kind == "csv":
                _write_csv(rows, partial)
            else:
                import pyarrow.parquet as pq

                pq.write_table(arrow_table(rows), partial, compression="zstd")
            partial.rename(out)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror}; choose another --out") from None
    return len(rows)


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if rows:
            writer.writerow(rows[0])
        writer.writerows([_text(value) for value in row.values()] for row in rows)


def _text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
