"""Count the instructions that W1 and W2 take per data packet, under callgrind.

Seconds depend on the machine and on what else it does; instructions hardly do. What is counted lies
between two instants of one run (W1 from 0.1 to 0.3 s, W2 from 0.5 to 1 s of simulated time), so that start,
imports and building drop out. Name checkouts to compare: the package of each one is measured with its own
``.venv/bin/python``, if it has one, and the first checkout is what the others are compared with:

    python benchmarks/instructions.py                                    # this checkout
    python benchmarks/instructions.py ../before . --limit 2              # exit status 1 above +2 %
    python benchmarks/instructions.py --python /usr/bin/python3.13       # with another interpreter

For compiled modules build them in each checkout first; the column ``modules`` says which were measured.
It needs valgrind and takes half a minute of CPU for each checkout and workload. expected.py compares
the counts with those that are stored.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from run import HERE, ROOT, Failed, interpreter_of

from mptcpsim.results.terminal import Terminal

#: The instants between which a workload is counted, s.
SPANS = {"W1": (0.1, 0.3), "W2": (0.5, 1.0)}

#: Makes a run repeatable to some dozen instructions: the order of sets is the same, and the threads
#: of numpy's OpenBLAS, which wait for each other in a loop when it is imported, are not started.
FIXED = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}

#: The function of the C library at whose calls callgrind writes down its count; see counted.py.
MARK = "getppid"
COUNTED = HERE / "counted.py"
TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """What a workload costs in one checkout.

    Attributes:
        workload: ``W1`` or ``W2``.
        checkout: the checkout, as the user named it.
        instructions: executed between the two instants.
        packets: data packets delivered between them.
        compiled: whether the modules on the packet path were compiled.
    """

    workload: str
    checkout: str
    instructions: int
    packets: int
    compiled: bool

    @property
    def per_packet(self) -> float:
        """Instructions per data packet."""
        return self.instructions / self.packets


def read_cost(workload: str, checkout: str, output: str, counts: Sequence[str]) -> Cost:
    """Return the cost from what counted.py printed and from what callgrind wrote at each mark.

    Raises:
        Failed: a mark or a count is missing, no packet was delivered, or another package was measured.
    """
    totals = [TOTALS.search(text) for text in counts]
    if len(totals) != 2 or totals[1] is None:
        raise Failed(f"callgrind wrote {len(totals)} counts at the calls of {MARK}: two were to be")
    found = json.loads(output)
    if found["checkout"] != str(Path(checkout).resolve()):
        raise Failed(f"{checkout}: the package in {found['checkout']} was measured: is the path right?")
    if found["packets"] <= 0:
        raise Failed(f"{workload} delivers no packet between the two instants: take them further apart")
    return Cost(workload, checkout, int(totals[1][1]), found["packets"], found["compiled"])


def measure(
    workload: str, checkout: str, span: Sequence[float] | None = None, python: str | None = None
) -> Cost:
    """Run ``workload`` with the package of ``checkout`` under callgrind.

    Raises:
        Failed: valgrind is missing, the folder is no checkout, or the run gave no figure.
    """
    root = Path(checkout).resolve()
    if not (root / "mptcpsim" / "__init__.py").exists():
        raise Failed(f"{checkout} has no mptcpsim/__init__.py: name the root of a checkout")
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Failed("valgrind is not installed (Debian and Ubuntu: apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as directory:
        command = [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={directory}/out",
            f"--dump-before={MARK}",
            python or interpreter_of(root),
            "-B",
            str(COUNTED),
            workload,
            *map(str, sorted(span or SPANS[workload])),
        ]
        done = subprocess.run(
            command,
            cwd=directory,
            env=os.environ | FIXED | {"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr}")
        marks = sorted(Path(directory).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        return read_cost(workload, checkout, done.stdout, [path.read_text("utf-8") for path in marks])


def change(cost: Cost, costs: Iterable[Cost]) -> float | None:
    """Return the relative change against the first of ``costs`` with the same workload, in per cent.

    It is None for the first one itself.
    """
    first = next(other for other in costs if other.workload == cost.workload)
    return None if first is cost else 100 * (cost.per_packet / first.per_packet - 1)


def table(costs: Sequence[Cost]) -> Table:
    """Return the figures as a table, a line for each cost."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    result.add_column("workload")
    result.add_column("checkout")
    result.add_column("modules")
    for name in ("packets", "instructions", "per packet", "change"):
        result.add_column(name, justify="right")
    for cost in costs:
        modules = "compiled" if cost.compiled else "interpreted"
        by = change(cost, costs)
        result.add_row(
            cost.workload,
            cost.checkout,
            modules,
            f"{cost.packets:,}",
            f"{cost.instructions:,}",
            f"{cost.per_packet:,.0f}",
            "" if by is None else f"{by:+.2f} %",
        )
    return result


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkouts", nargs="*", default=[str(ROOT)], help="default: this checkout")
    parser.add_argument(
        "--python", help="interpreter for all checkouts; default: each one's .venv/bin/python"
    )
    parser.add_argument("--workloads", nargs="+", choices=SPANS, default=list(SPANS), metavar="NAME")
    parser.add_argument("--seconds", nargs=2, type=float, metavar="S", help="the two instants")
    parser.add_argument("--limit", type=float, metavar="PERCENT", help="largest change allowed")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status: 1 above the limit, 2 where a run failed."""
    chosen = parse(arguments)
    try:
        costs = [
            measure(workload, checkout, chosen.seconds, chosen.python)
            for workload in chosen.workloads
            for checkout in chosen.checkouts
        ]
    except Failed as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 2
    Terminal().show(table(costs))
    if len({cost.compiled for cost in costs}) > 1:
        print("Compiled and interpreted modules are compared with each other.", file=sys.stderr)
    above = [by for cost in costs if (by := change(cost, costs)) is not None]
    if chosen.limit is not None and any(by > chosen.limit for by in above):
        print(f"instructions.py: more than {chosen.limit:+g} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
