"""Count the instructions that W1 and W2 take per data packet, under callgrind.

Seconds depend on the machine and on what else it does; instructions hardly do. Each workload runs
at two lengths, and the difference in instructions is divided by the difference in delivered data
packets, so that start, imports and building drop out. Name checkouts to compare: each one's own
``benchmarks/w1.py`` and ``w2.py`` run with its own ``.venv/bin/python``, if it has one, and the
first checkout is what the others are compared with:

    python benchmarks/instructions.py                                    # this checkout
    python benchmarks/instructions.py ../before . --limit 2              # exit status 1 above +2 %
    python benchmarks/instructions.py --python /usr/bin/python3.13       # with another interpreter

For compiled modules run ``make compiled`` in each checkout first; the column ``modules`` says which
were measured. It needs valgrind and takes about half a minute for each checkout and workload.
"""

from __future__ import annotations

import argparse
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

from mptcpsim.results.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = ("w1", "w2")
LENGTHS = (0.1, 0.3)

#: Makes a run repeatable to some dozen instructions: the order of sets is the same, and the threads
#: of numpy's OpenBLAS, which wait for each other in a loop when it is imported, are not started.
FIXED = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}

COLLECTED = re.compile(r"^==\d+== Collected : (\d+)$", re.MULTILINE)
DELIVERED = re.compile(r"^delivered packets +(\d+)$", re.MULTILINE)
COMPILED = re.compile(r"^compiled +(True|False)$", re.MULTILINE)


class Failed(Exception):
    """A run did not give a figure; the message says why and what to do."""


@dataclass(frozen=True)
class Run:
    """One run of a workload under callgrind.

    Attributes:
        instructions: instructions executed by the whole process.
        packets: data packets delivered.
        compiled: whether the compiled modules were imported.
    """

    instructions: int
    packets: int
    compiled: bool


@dataclass(frozen=True)
class Cost:
    """What a workload costs in one checkout.

    Attributes:
        workload: ``w1`` or ``w2``.
        checkout: the checkout, as the user named it.
        short: the run of the first length.
        long: the run of the second length.
    """

    workload: str
    checkout: str
    short: Run
    long: Run

    @property
    def per_packet(self) -> float:
        """Instructions per data packet of the difference between the two runs."""
        return (self.long.instructions - self.short.instructions) / self.packets

    @property
    def packets(self) -> int:
        """Data packets of the difference between the two runs."""
        return self.long.packets - self.short.packets


def read_run(output: str, log: str) -> Run:
    """Return the figures in a workload's ``output`` and in callgrind's ``log``.

    Raises:
        Failed: one of the figures is missing.
    """
    found = [COLLECTED.search(log), DELIVERED.search(output), COMPILED.search(output)]
    for match, name in zip(found, ("callgrind's total", "delivered packets", "compiled"), strict=True):
        if match is None:
            raise Failed(f"no line with {name!r} in what the run printed:\n{output}{log}")
    collected, delivered, compiled = (match[1] for match in found if match is not None)
    return Run(int(collected), int(delivered), compiled == "True")


def count(python: str, script: Path, seconds: float) -> Run:
    """Run ``script`` for ``seconds`` of simulated time under callgrind.

    Raises:
        Failed: valgrind is missing, or the run ended with an error.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Failed("valgrind is not installed (Debian and Ubuntu: apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as directory:
        command = [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={directory}/callgrind.out",
            python,
            "-B",
            str(script),
            "--seconds",
            str(seconds),
        ]
        done = subprocess.run(
            command,
            cwd=directory,
            env=os.environ | FIXED | {"PYTHONPATH": str(script.parent.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr}")
    return read_run(done.stdout, done.stderr)


def interpreter_of(checkout: Path) -> str:
    """Return the interpreter of the checkout's own environment, or else the one that runs this program."""
    own = checkout / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def measure(
    workload: str, checkout: str, lengths: Sequence[float] = LENGTHS, python: str | None = None
) -> Cost:
    """Return what ``workload`` costs in ``checkout``.

    Raises:
        Failed: the checkout has no such workload, a run failed, or the lengths deliver equally much.
    """
    root = Path(checkout).resolve()
    script = root / "benchmarks" / f"{workload}.py"
    if not script.exists():
        raise Failed(f"{checkout} has no benchmarks/{workload}.py: name the root of a checkout")
    short, long = (count(python or interpreter_of(root), script, seconds) for seconds in sorted(lengths))
    cost = Cost(workload, checkout, short, long)
    if cost.packets <= 0:
        raise Failed(f"{workload} delivers no more packets in {max(lengths)} s: take lengths further apart")
    return cost


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
        modules = "compiled" if cost.long.compiled else "interpreted"
        by = change(cost, costs)
        result.add_row(
            cost.workload.upper(),
            cost.checkout,
            modules,
            f"{cost.packets:,}",
            f"{cost.long.instructions - cost.short.instructions:,}",
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
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS, metavar="NAME")
    parser.add_argument(
        "--seconds", nargs=2, type=float, default=LENGTHS, metavar="S", help="default 0.1 0.3"
    )
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
    if len({cost.long.compiled for cost in costs}) > 1:
        print("Compiled and interpreted modules are compared with each other.", file=sys.stderr)
    above = [by for cost in costs if (by := change(cost, costs)) is not None]
    if chosen.limit is not None and any(by > chosen.limit for by in above):
        print(f"instructions.py: more than {chosen.limit:+g} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
