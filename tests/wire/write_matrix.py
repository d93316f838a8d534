"""Carries out the interoperation matrix and stores the table, with date and kernel.

    python -m tests.wire.write_matrix --out results/wire

Exit status 1: a row failed; the table says why.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import sys
from pathlib import Path

from mptcpsim.wire import probe
from tests.wire.interop import Outcome, Row, run_row
from tests.wire.rows import ROWS

#: Bytes that stand for 1 in a row.
SIZE = 10_000_000


def table(found: list[tuple[Row, Outcome]], size: int) -> str:
    """Return the table as Markdown."""
    failed = sum(bool(outcome.problems) for _, outcome in found)
    lines = [
        "# Our stack and the Linux kernel: the interoperation matrix",
        "",
        f"{datetime.date.today().isoformat()}, Linux {os.uname().release}, "
        f"Python {platform.python_version()}; {size / 1e6:g} MB stand for one part of a row. "
        f"{len(found)} rows, {failed} failed.",
        "",
        "A row is right if the SHA-256 of what each application got is that of what the other one sent, "
        "both ended as the row says, and the counters of the kernel (`nstat`) and of our stack are the "
        "expected ones. `python -m tests.wire.write_matrix --out results/wire` makes the table, "
        "`tests/wire/test_interoperation.py` carries out the same rows with less data.",
        "",
        "| row | MB | s | kernel's counters of MPTCP | |",
        "|---|--:|--:|---|---|",
    ]
    for row, outcome in found:
        counters = ", ".join(
            f"{name.removeprefix('MPTcpExt')} {value}"
            for name, value in sorted(outcome.kernel.items())
            if name.startswith("MPTcpExt") and name != "MPTcpExtMPCurrEstab"
        )
        verdict = "; ".join(outcome.problems) or "right"
        lines.append(
            f"| {row.name} | {outcome.bytes / 1e6:.1f} | {outcome.seconds:.1f} | {counters} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Carry out the rows."""
    parser = argparse.ArgumentParser(description="the interoperation matrix with the kernel")
    parser.add_argument("--out", type=Path, required=True, help="directory of the table")
    parser.add_argument("--rows", default="", help="only rows whose names match this expression")
    parser.add_argument("--size", type=int, default=SIZE, help="bytes that stand for 1 in a row")
    asked = parser.parse_args()
    try:
        probe.require([probe.TUN, probe.PACKET, probe.MPTCP])
    except probe.Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    found: list[tuple[Row, Outcome]] = []
    for row in ROWS:
        if re.search(asked.rows, row.name):
            outcome = run_row(row, asked.size)
            found.append((row, outcome))
            print(f"{'right' if not outcome.problems else 'WRONG'}  {row.name}", flush=True)
            for problem in outcome.problems:
                print(f"       {problem}", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "matrix.md").write_text(table(found, asked.size), encoding="utf-8")
    data = [
        {
            "row": row.name,
            "problems": outcome.problems,
            "seconds": round(outcome.seconds, 3),
            "bytes": outcome.bytes,
            "kernel": outcome.kernel,
            "ours": outcome.ours,
        }
        for row, outcome in found
    ]
    (asked.out / "matrix.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return int(any(outcome.problems for _, outcome in found))


if __name__ == "__main__":
    sys.exit(main())
