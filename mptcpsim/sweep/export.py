"""A campaign's table as a file: CSV or Parquet, equal for equal campaigns."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mptcpsim.sweep.campaign import Campaign
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
    write: Callable[[Path], None]
    if kind == "csv":

        def write(path: Path) -> None:
            _write_csv(rows, path)
    else:
        table = campaign.table(timings=timings, everything=everything)

        def write(path: Path) -> None:
            import pyarrow.parquet as pq

            pq.write_table(table, path, compression="zstd")

    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
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
        writer.writerows([_cell(value) for value in row.values()] for row in rows)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
