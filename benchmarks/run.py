"""Measure workloads, each in a process of its own, and compare checkouts in one run.

    python benchmarks/run.py                                   # W1 and W2 of this checkout
    python benchmarks/run.py --list                            # what there is
    python benchmarks/run.py W1 W2 W3/1000 --against ../before # ratios to ../before
    python benchmarks/run.py W4/k8/8 --size 0.2 --repeat 5 --json result.json
    python benchmarks/run.py all --size 0.05 --repeat 1

A name stands for all workloads that begin with it: ``W3`` for ``W3/1/one`` to ``W3/1000/pairs``. The
checkouts take turns, so that a busy minute falls upon all of them; what is printed are medians, and
behind the deciding figure the smallest and the largest one. The program of the workloads is that of
this checkout; only the package, and the interpreter in ``.venv``, are those of the other ones. For
compiled modules build them in each checkout first; the column ``core`` says what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from cases import CASES, Case, chosen
from rich import box
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: Columns beside the deciding figure: the figure, the heading, its format.
BESIDE = (
    ("hops/CPU s", "hops/CPU s", ",.0f"),
    ("simulated/wall", "sim/wall", ",.3g"),
    ("peak MiB", "peak MiB", ",.0f"),
    ("set-up s", "set-up s", ",.2f"),
)


class Failed(Exception):
    """A workload gave no figures; the message says which, where and why."""


@dataclass
class Cost:
    """What a workload cost in one checkout.

    Attributes:
        case: the workload.
        checkout: as the user named it.
        core: whether the modules on the packet path were ``compiled`` or ``interpreted``.
        runs: the figures of each run.
    """

    case: Case
    checkout: str
    core: str = ""
    runs: list[dict[str, float]] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        """Return a figure of all runs, in order of size."""
        return sorted(run[name] for run in self.runs if name in run)

    def median(self, name: str) -> float | None:
        """Return the median of a figure, or None where the workload has no such one."""
        values = self.values(name)
        return median(values) if values else None


def interpreter_of(checkout: Path) -> str:
    """Return the interpreter of the checkout's own environment, or else the one that runs this program."""
    own = checkout / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def measure(cost: Cost, size: float) -> None:
    """Run the workload of ``cost`` once in a process of its own, and add the figures.

    Raises:
        Failed: the process ended with an error, or measured another checkout.
    """
    root = Path(cost.checkout).resolve()
    if not (root / "mptcpsim" / "__init__.py").exists():
        raise Failed(f"{cost.checkout} has no mptcpsim/__init__.py: name the root of a checkout")
    done = subprocess.run(
        [interpreter_of(root), str(HERE / "one.py"), cost.case.name, str(size)],
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{cost.case.name} in {cost.checkout} ended with {done.returncode}:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    if Path(found["checkout"]) != root:
        raise Failed(f"{cost.checkout}: the package in {found['checkout']} was measured: is the path right?")
    cost.core = "compiled" if found["compiled"] else "interpreted"
    cost.runs.append(found["figures"])


def measure_all(
    cases: Sequence[Case], checkouts: Sequence[str], size: float, repeat: int
) -> Iterator[list[Cost]]:
    """Measure each workload ``repeat`` times in each checkout, in turn; yield the costs of each workload.

    Raises:
        Failed: as ``measure``.
    """
    for case in cases:
        costs = [Cost(case, checkout) for checkout in checkouts]
        for _ in range(repeat):
            for cost in costs:
                measure(cost, size)
        yield costs


def ratio(cost: Cost, first: Cost, name: str) -> str:
    """Return a figure as a multiple of that of the first checkout, and as a part where it is less."""
    mine, other = cost.median(name), first.median(name)
    if cost is first or not mine or not other:
        return ""
    return f"{mine / other:.3f}" + (f" (1/{other / mine:.2f})" if mine < other else "")


def table(all_costs: Sequence[Sequence[Cost]]) -> Table:
    """Return the medians as a table: a line for each workload, deciding figure and checkout."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("workload", "checkout", "core"):
        result.add_column(name)
    for name in ("median", "from", "to"):
        result.add_column(name, justify="right")
    result.add_column("unit")
    several = any(len(costs) > 1 for costs in all_costs)
    if several:
        result.add_column("ratio")
    for _, heading, _ in BESIDE:
        result.add_column(heading, justify="right")
    for costs in all_costs:
        for number, name in enumerate(costs[0].case.decides):
            for cost in costs:
                values = cost.values(name)
                row = [
                    cost.case.name,
                    cost.checkout,
                    cost.core,
                    *(f"{value:,.4g}" for value in (median(values), values[0], values[-1])),
                    name,
                ]
                if several:
                    row.append(ratio(cost, costs[0], name))
                for figure, _, form in BESIDE:
                    value = cost.median(figure) if number == 0 else None
                    row.append("" if value is None else format(value, form))
                result.add_row(*row)
    return result


def as_json(all_costs: Sequence[Sequence[Cost]], size: float) -> str:
    """Return every figure of every run."""
    rows = [
        {
            "workload": cost.case.name,
            "checkout": cost.checkout,
            "core": cost.core,
            "decides": cost.case.decides,
            "runs": cost.runs,
        }
        for costs in all_costs
        for cost in costs
    ]
    load = os.getloadavg()[2] if hasattr(os, "getloadavg") else None
    return json.dumps({"size": size, "load_15_min": load, "costs": rows}, indent=1)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["W1", "W2"], help="default: W1 W2; all: all")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="CHECKOUT",
        help="compare with this one; repeatable; the first one is what the others are compared with",
    )
    parser.add_argument("--checkout", default=str(ROOT), help="what is measured; default: this one")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs each; default 5")
    parser.add_argument(
        "--size", type=float, default=1.0, metavar="SHARE", help="of the full size; default 1"
    )
    parser.add_argument("--json", metavar="FILE", help="write every figure; - prints them and no table")
    chosen_ones = parser.parse_args(arguments)
    if chosen_ones.repeat < 1:
        parser.error(f"--repeat {chosen_ones.repeat}: at least 1")
    if not chosen_ones.size > 0:
        parser.error(f"--size {chosen_ones.size}: more than 0")
    return chosen_ones


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status: 2 where a workload failed."""
    options = parse(arguments)
    # A table is never folded: in a file, or where the terminal is narrow, its lines are long.
    console = Console(width=200 if not sys.stdout.isatty() else None)
    if options.list:
        for case in CASES.values():
            print(f"{case.name:16} {case.about}")
        return 0
    costs: list[list[Cost]] = []
    try:
        cases = list(CASES.values()) if "all" in options.workloads else chosen(options.workloads)
        for measured in measure_all(
            cases, [*options.against, options.checkout], options.size, options.repeat
        ):
            costs.append(measured)
            print(f"{measured[0].case.name} measured", file=sys.stderr)
    except (Failed, ValueError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    finally:
        if costs and options.json != "-":
            console.print(table(costs))
        if costs and options.json:
            text = as_json(costs, options.size)
            print(text) if options.json == "-" else Path(options.json).write_text(
                text + "\n", encoding="utf-8"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
