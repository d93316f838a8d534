"""How much of a fat tree do subflows use? TCP, and MPTCP with 2, 4 and 8 subflows, on one permutation.

    python experiments/fat-tree/run.py --out results/fat-tree

writes ``results.json`` and ``results.md``. The exit status is 1 if bytes are missing, or if a connection with
distinct paths has fewer of them than there can be.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mptcpsim import build, load
from mptcpsim.scenario.subflow_paths import subflow_paths

SCENARIO = Path(__file__).resolve().parent / "scenario.toml"

PLAIN = ("defaults.mptcp=false", "defaults.tcp.congestion=reno", "flows.0.distinct_paths=false")
ANY = "flows.0.distinct_paths=false"


@dataclass(frozen=True)
class Case:
    """A row of the table: what is changed in the scenario."""

    name: str
    subflows: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What a case gave; goodput in percent of the rate of a host's link."""

    case: str
    connections: int
    intact: int
    distinct: dict[int, int]
    mean: float
    lowest: float
    last_s: float
    cpu_s: float
    wall_s: float


def cases() -> list[Case]:
    """Return the rows."""
    some = [
        Case(
            f"MPTCP, {count} subflows, any ports",
            count,
            (f"defaults.mptcp.path_manager.subflows={count}", ANY),
        )
        for count in (2, 4, 8)
    ]
    return [
        Case("TCP (Reno)", 1, PLAIN),
        *some,
        Case("MPTCP, 8 subflows, distinct paths", 8, ("defaults.mptcp.path_manager.subflows=8",)),
    ]


def measure(case: Case, k: int, size: str) -> Result:
    """Run one case to its end."""
    groups = ", ".join(f'"h{pod}-*"' for pod in range(k))
    scenario = load(
        SCENARIO,
        [
            f"topology.k={k}",
            f"flows.0.groups=[{groups}]",
            f"flows.0.bytes={size}",
            "duration=20s",
            *case.changes,
        ],
    )
    wall = time.perf_counter()
    simulation = build(scenario)
    env = simulation.env
    while env.now < scenario.duration and any(flow.completed_at < 0 for flow in simulation.flows):
        env.run(env.now + 10_000_000)
    wall = time.perf_counter() - wall
    paths: dict[str, set[tuple[str, ...]]] = {}
    for path in subflow_paths(simulation):
        paths.setdefault(path.flow, set()).add(path.links)
    goodputs, intact = [], 0
    for flow in simulation.flows:
        sender, receiver = flow.sender, flow.receiver
        assert sender is not None
        assert receiver is not None
        intact += flow.completed_at >= 0 and receiver.delivered == sender.written
        goodputs.append(receiver.delivered * 8e9 / max(1, flow.completed_at))
    rate = scenario.links[0].rate
    counts = [len(found) for found in paths.values()]
    return Result(
        case=case.name,
        connections=len(simulation.flows),
        intact=intact,
        distinct={count: counts.count(count) for count in sorted(set(counts))},
        mean=100 * statistics.mean(goodputs) / rate,
        lowest=100 * min(goodputs) / rate,
        last_s=max(flow.completed_at for flow in simulation.flows) / 1e9,
        cpu_s=resource.getrusage(resource.RUSAGE_SELF).ru_utime,
        wall_s=wall,
    )


def table(results: list[Result]) -> str:
    """Return the results in Markdown."""
    lines = [
        "| | connections, intact | distinct paths: connections | mean goodput | lowest | last done | CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results:
        distinct = ", ".join(f"{count}: {number}" for count, number in row.distinct.items())
        measured = f"{row.mean:.1f} % | {row.lowest:.1f} % | {row.last_s:.3f} s | {row.cpu_s:.0f} s"
        lines.append(f"| {row.case} | {row.connections}, {row.intact} | {distinct} | {measured} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure all cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/fat-tree"))
    parser.add_argument("--k", type=int, default=8, help="ports of a router")
    parser.add_argument("--bytes", default="2MB", help="of each connection")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a change for all cases"
    )
    given = parser.parse_args()
    rows = [replace(case, changes=(*case.changes, *given.set)) for case in cases()]
    # A process for each case, so that the CPU time is that of the case.
    with ProcessPoolExecutor(given.workers, max_tasks_per_child=1) as pool:
        futures = [pool.submit(measure, case, given.k, given.bytes) for case in rows]
        results = [future.result() for future in futures]
    given.out.mkdir(parents=True, exist_ok=True)
    document = {"k": given.k, "bytes": given.bytes, "results": [asdict(result) for result in results]}
    (given.out / "results.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    text = f"k = {given.k}, {given.bytes} each, seed 1\n\n{table(results)}"
    (given.out / "results.md").write_text(text, encoding="utf-8")
    print(text)
    possible = min(8, (given.k // 2) ** 2)
    whole = all(result.intact == result.connections for result in results)
    return 0 if whole and set(results[-1].distinct) == {possible} else 1


if __name__ == "__main__":
    sys.exit(main())
