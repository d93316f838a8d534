"""Compare the coverage of the suite with what must be kept: what ``make coverage`` ends with.

    python -m tests.coverage_table .coverage.json            # the table; exit status 1 if a value is too low
    python -m tests.coverage_table .coverage.json --store    # takes what was measured as what must be kept

The JSON is coverage.py's report. ``coverage_table.toml`` beside this file has a value for each folder
of the package: the share of its statements, in whole per cent, that the interpreted suite executes in
its own processes, slow tests left out. What runs only in processes that tests start (workers of sweeps,
the command line) does not count.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from mptcpsim.results.terminal import Terminal

STORED = Path(__file__).with_name("coverage_table.toml")

#: These folders, and those below them, are covered to at least so many per cent, whatever is stored.
LEAST = {"core": 90, "codec": 90, "net": 90}

#: A stored value is at least so many points below the measured one: another order of the tests or
#: another version of Python moves a few lines.
MARGIN = 0.25

HEADER = """\
# Per cent of the statements of each folder of mptcpsim/ that the suite executes: no folder may fall
# below its value. After a change that raises coverage, or lowers it for a good reason:
#
#     make coverage; python -m tests.coverage_table .coverage.json --store
"""


@dataclass(frozen=True)
class Share:
    """What was executed of a folder.

    Attributes:
        statements: number of its statements.
        executed: how many of them were executed.
    """

    statements: int
    executed: int

    @property
    def percent(self) -> float:
        """Per cent of the statements that were executed."""
        return 100 * self.executed / self.statements if self.statements else 100.0


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        folder: name below the package; "." is the package's own modules.
        share: what was measured; None for a folder that is not there any more.
        least: per cent that must be reached; None for a folder without a stored value.
    """

    folder: str
    share: Share | None
    least: int | None

    @property
    def problem(self) -> str:
        """What is wrong, or nothing."""
        if self.share is None:
            return "not measured: take it out of the table"
        if self.least is None:
            return "new: store its value"
        return "too low" if self.share.percent < self.least else ""


def shares(report: Mapping[str, Any]) -> dict[str, Share]:
    """Return what was executed of each folder of the package, by coverage.py's JSON report."""
    counts: dict[str, list[int]] = {}
    for name, file in report["files"].items():
        parts = Path(name).parent.parts
        folder = "/".join(parts[parts.index("mptcpsim") + 1 :]) or "."
        count = counts.setdefault(folder, [0, 0])
        count[0] += file["summary"]["num_statements"]
        count[1] += file["summary"]["covered_lines"]
    return {folder: Share(*counts[folder]) for folder in sorted(counts)}


def rows(measured: Mapping[str, Share], stored: Mapping[str, int]) -> list[Row]:
    """Return a row for each folder that was measured or has a stored value."""
    result = []
    for folder in sorted({*measured, *stored}):
        least = stored.get(folder)
        floor = LEAST.get(folder.split("/")[0])
        if least is not None and floor is not None:
            least = max(least, floor)
        result.append(Row(folder, measured.get(folder), least))
    return result


def table(result: Sequence[Row]) -> Table:
    """Return the rows as a table."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("folder")
    for name in ("statements", "executed", "per cent", "at least"):
        shown.add_column(name, justify="right")
    shown.add_column("")
    for row in result:
        share = row.share
        figures = ("", "", "") if share is None else (
            f"{share.statements:,}",
            f"{share.executed:,}",
            f"{share.percent:.1f}",
        )  # fmt: skip
        shown.add_row(row.folder, *figures, "" if row.least is None else str(row.least), row.problem)
    return shown


def store(measured: Mapping[str, Share], path: Path) -> None:
    """Write what must be kept from now on, as TOML."""
    lines = [
        f'"{folder}" = {max(0, math.floor(share.percent - MARGIN))}' for folder, share in measured.items()
    ]
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a folder is below its value, has none, or is gone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("report", type=Path, help="coverage.py's JSON report")
    parser.add_argument("--stored", type=Path, default=STORED, help="default: tests/coverage_table.toml")
    parser.add_argument("--store", action="store_true", help="write the stored values first")
    chosen = parser.parse_args(arguments)
    measured = shares(json.loads(chosen.report.read_text(encoding="utf-8")))
    if chosen.store:
        store(measured, chosen.stored)
    result = rows(measured, tomllib.loads(chosen.stored.read_text(encoding="utf-8")))
    Terminal().show(table(result))
    if not any(row.problem for row in result):
        return 0
    print(
        "Add tests, or store new values with the reason in the commit:\n"
        f"    python -m tests.coverage_table {chosen.report} --store",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
