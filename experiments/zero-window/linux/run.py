"""What Linux 6.18 was measured to do behind a slow or pausing reader, and what the profile does.

    python experiments/zero-window/linux/run.py [--out results/zero-window]

Writes ``linux.csv``, a line a figure: the kernel's beside ours.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

from mptcpsim.core.window_log import PROBE, UPDATE, ZERO
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import load
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.units import MILLISECOND, SECOND

HERE = Path(__file__).resolve().parent

#: First new byte after the reader went on, ms: median of five runs of the kernel, smallest and largest.
KERNEL: dict[tuple[str, int], tuple[float, float, float]] = {
    ("one subflow, no loss", 1): (2.0, 0.4, 5.4),
    ("one subflow, no loss", 3): (1.2, 0.5, 3.1),
    ("one subflow, update lost", 1): (847, 841, 853),
    ("one subflow, update lost", 3): (575, 555, 580),
    ("two subflows, no loss", 1): (1.4, 0.5, 1.7),
    ("two subflows, no loss", 3): (1.3, 0.6, 2.1),
    ("two subflows, update lost on path 0", 1): (1.6, 0.6, 1.7),
    ("two subflows, update lost on path 0", 3): (1.8, 1.7, 2.3),
    ("two subflows, updates lost on both", 1): (783, 155, 1021),
    ("two subflows, updates lost on both", 3): (574, 557, 749),
}

#: In the kernel's runs the window closed so long after the reader had stopped, s: both of its figures for one
#: subflow say so, with the intervals of its probes. In ours it closes at once, so the pause is shorter.
CLOSES = 0.135

LOSE = '[{name="drop", match="window-update", direction="backward", from="800ms", first=1}]'


def slow_reader() -> list[list[Any]]:
    """Run the transfer of 1.2 MB to a reader of 32 KiB every 0.3 s."""
    simulation = build(load(HERE / "scenario.toml", []))
    with (
        tempfile.TemporaryDirectory() as directory,
        SeriesRecorder(Path(directory) / "s.parquet") as recorder,
    ):
        summary = measure(simulation, recorder)
    (flow,) = summary.flows
    server = simulation.flows[0].server
    assert server is not None
    assert server.window_log is not None
    events = server.window_log.events
    found: list[list[Any]] = [
        ["slow reader: duration, s", "11.1 to 11.4", round(flow.completed_s or 0.0, 2)],
        ["slow reader: stalls", "0", len(flow.stalls)],
        [
            "slow reader: bytes twice / delivered, %",
            "32",
            round(100 * flow.bytes_duplicate / flow.bytes_delivered, 1),
        ],
    ]
    for what, name, kernel in (
        (ZERO, "segments with window 0", (39, 7)),
        (UPDATE, "window updates", (34, 6)),
    ):
        for subflow in (0, 1):
            count = sum(event.what == what and event.subflow == subflow for event in events)
            found.append([f"slow reader: {name} on subflow {subflow}", str(kernel[subflow]), count])
    reads = {event.time for event in events if event.what == UPDATE}
    both = sum({e.subflow for e in events if e.what == UPDATE and e.time == time} == {0, 1} for time in reads)
    found.append(
        [
            "slow reader: reads with updates on both subflows at once, %",
            "all seen",
            round(100 * both / len(reads)),
        ]
    )
    client = simulation.flows[0].client
    assert client is not None
    assert client.window_log is not None
    probes = [event for event in client.window_log.events if event.what == PROBE]
    found.append(["slow reader: probes without data", "some", sum(not event.length for event in probes)])
    found.append(
        [
            "slow reader: probes of one byte of the connection",
            "some",
            sum(event.length == 1 for event in probes),
        ]
    )
    return found


def first_byte(case: str, pause: int) -> float:
    """Return how long after the reader went on the first new byte arrived, ms."""
    changes = [
        f"flows.transfer.reader={{read_size='64KiB', pause='{pause - CLOSES:.3f}s', pause_after='100B'}}"
    ]
    if "two" not in case:
        changes.append('hosts.C.mptcp.path_manager={name="endpoints", subflows=0}')
    lost = ["path0"] if "lost" in case else []
    if "both" in case:
        lost.append("path1")
    for number in (0, 1):
        if f"path{number}" in lost:
            changes.append(f"links.path{number}.middleboxes={LOSE}")
    simulation = build(load(HERE / "loss.toml", changes))
    for host in simulation.hosts.values():
        host.stack.logs_windows = True
    return _wait(simulation) / MILLISECOND


def _wait(simulation: Simulation) -> int:
    """Run until the reader goes on, and return how long it is from there to the next new byte, ns."""
    env = simulation.env
    flow = simulation.flows[0]
    now, step = 0, MILLISECOND // 20
    read = -1
    before = 0
    while now < 10 * SECOND:
        now += step
        env.run(now)
        server = flow.server
        if server is None:
            continue
        if read < 0 and server.free_since > SECOND // 2:
            read, before = server.free_since, server.delivered
        elif read >= 0 and server.delivered > before:
            return server.delivered_at - read if server.delivered_at > read else now - read
    return -1


def main() -> int:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/zero-window"))
    options = parser.parse_args()
    rows = slow_reader()
    for (case, pause), (median, low, high) in KERNEL.items():
        ours = first_byte(case, pause)
        rows.append(
            [
                f"{case}, pause {pause} s: first new byte, ms",
                f"{median:g} ({low:g} to {high:g})",
                round(ours, 1),
            ]
        )
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "linux.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["figure", "Linux 6.18.44", "profile linux-6.18"])
        writer.writerows(rows)
    for name, kernel, ours in rows:
        print(f"{name:64} {kernel:>20} {ours:>10}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
