"""Read size x buffer x reader, for each profile: where it stalls, for how long, and the goodput.

    python experiments/zero-window/seed/run.py [--processes 2] [--out results/zero-window]

Writes ``seed.csv``, a line a run, ``seed-summary.json`` and the heat maps ``seed-PROFILE.png`` and ``.pdf``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from mptcpsim.results.series import SeriesRecorder, read_series
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import load
from mptcpsim.scenario.run import measure
from mptcpsim.sim.loop import EventBudgetExceeded

HERE = Path(__file__).resolve().parent
SCENARIO = HERE / "scenario.toml"

PROFILES = ("rfc8684", "rfc6824", "linux-6.18", "linux-6.17-noprobe", "caia-v0.4", "caia-v0.51")
READ_SIZES = (1, 8, 64, 512)
BUFFERS = (32, 128, 512, 1024)
READERS = ("slower", "equal", "faster", "pauses")

#: Payload rate, bit/s, of 10 Mbit/s with 1424 of 1514 bytes. Both addresses of A are in one network, and its
#: one routing table sends everything out of A1: the two subflows share that link, as they do in the seed.
PATHS = 10e6 * 1424 / 1514
#: What the reader takes, bit/s; 0: whatever is there.
RATES = {"slower": PATHS / 2, "equal": PATHS, "faster": 0.0, "pauses": 0.0}
#: Base round trip: four times 100 us, and what a segment and its ACK take on 10 and 100 Mbit/s.
ROUND_TRIP_S = 0.0018
PAUSE_S = 2.0
DURATION_S = 10.0
#: One minimum RTO.
RTO_S = 0.2


class Cell(NamedTuple):
    """What is varied; sizes in KiB."""

    profile: str
    reader: str
    read: int
    buffer: int


def bound(cell: Cell) -> float:
    """Return min(reader, paths, buffer / RTT), bit/s; a read takes no more than the buffer holds."""
    limits = [PATHS, cell.buffer * 1024 * 8 / ROUND_TRIP_S]
    if RATES[cell.reader]:
        every = cell.read * 1024 * 8 / RATES[cell.reader]
        taken = min(cell.read, cell.buffer) * 1024 * 8
        # A reader that empties the buffer waits, the next time, for what one round trip and the paths bring.
        limits.append(
            min(
                taken / every,
                PATHS * max(0.0, every - ROUND_TRIP_S) / every if cell.read >= cell.buffer else taken / every,
            )
        )
    return min(limits)


def run(cell: Cell) -> dict[str, Any]:
    """Run one cell and return what came of it."""
    reader: dict[str, Any] = {"read_size": f"{cell.read}KiB"}
    if RATES[cell.reader]:
        reader["every"] = f"{round(cell.read * 1024 * 8e9 / RATES[cell.reader])}ns"
    if cell.reader == "pauses":
        reader |= {"pause": f"{PAUSE_S}s", "pause_after": "1MB"}
    given = ", ".join(f'{key} = "{value}"' for key, value in reader.items())
    scenario = load(
        SCENARIO,
        [
            f"defaults.mptcp.profile={cell.profile}",
            f"flows.iperf.reader={{{given}}}",
            f"flows.iperf.server_tcp.receive_buffer={cell.buffer}KiB",
            f"duration={DURATION_S}s",
        ],
    )
    row: dict[str, Any] = {**cell._asdict(), "bound_mbps": round(bound(cell) / 1e6, 3)}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "series.parquet"
        try:
            with SeriesRecorder(path) as recorder:
                summary = measure(build(scenario), recorder)
        except EventBudgetExceeded as error:
            return row | {"error": f"event budget: {error}"}
        (series,) = (s for s in read_series(path) if s.key.metric == "bytes_delivered")
    first = float(series.values[series.times <= 1.0 + 1e-9][-1])
    (flow,) = summary.flows
    took = DURATION_S - 1.0 - (PAUSE_S if cell.reader == "pauses" else 0.0)
    goodput = (flow.bytes_delivered - first) * 8 / took
    causes = Counter(stall.cause for stall in flow.stalls)
    longest = max((stall.end_s - stall.start_s for stall in flow.stalls), default=0.0)
    return row | {
        "goodput_mbps": round(goodput / 1e6, 3),
        "share": round(goodput / bound(cell), 3),
        "stalls": len(flow.stalls),
        "stalled_s": round(flow.stalled_s, 3),
        "longest_s": round(longest, 3),
        "causes": "; ".join(f"{cause} x {count}" for cause, count in causes.most_common()),
        "unread_kib": round(flow.bytes_unread_most / 1024),
        "repeated_kib": round(flow.bytes_repeated_while_closed / 1024),
        "subflows": len(flow.subflows),
        "error": flow.error or "",
    }


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page says of each profile, and whether ``rfc8684`` keeps what it must."""
    told: dict[str, Any] = {}
    for profile in PROFILES:
        mine = [row for row in rows if row["profile"] == profile]
        stalled = [row for row in mine if row["stalls"]]
        told[profile] = {
            "runs": len(mine),
            "runs that stalled": len(stalled),
            "longest stall, s": max(row["longest_s"] for row in mine),
            "stalled of all time, %": round(
                sum(r["stalled_s"] for r in mine) / len(mine) / DURATION_S * 100, 1
            ),
            "least share of the bound": min(row["share"] for row in mine),
            "most unread, KiB": max(row["unread_kib"] for row in mine),
            "causes": dict(
                Counter(
                    part.rpartition(" x ")[0] for row in mine for part in row["causes"].split("; ") if part
                )
            ),
            "errors": sorted({row["error"] for row in mine if row["error"]}),
        }
    return told


def draw(rows: list[dict[str, Any]], profile: str, out: Path) -> None:
    """Draw the two heat maps of a profile: share of the bound, and time stalled, for each reader."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(
        2, len(READERS), figsize=(11, 5.2), sharex=True, sharey=True, layout="constrained"
    )
    for column, reader in enumerate(READERS):
        cells = {
            (row["read"], row["buffer"]): row
            for row in rows
            if row["profile"] == profile and row["reader"] == reader
        }
        for line, (key, name, most, palette) in enumerate(
            (("share", "goodput / bound", 1.0, "viridis"), ("stalled_s", "stalled, s", DURATION_S, "magma_r"))
        ):
            grid = np.array(
                [[cells[read, buffer][key] for read in READ_SIZES] for buffer in BUFFERS], dtype=float
            )
            ax = axes[line][column]
            image = ax.imshow(grid, origin="lower", aspect="auto", vmin=0, vmax=most, cmap=palette)
            for (y, x), value in np.ndenumerate(grid):
                dark = value < most / 2 if line == 0 else value > most / 2
                ax.text(
                    x,
                    y,
                    f"{value:.2f}" if line == 0 else f"{value:.1f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if dark else "black",
                )
            ax.set_xticks(range(len(READ_SIZES)), [str(size) for size in READ_SIZES])
            ax.set_yticks(range(len(BUFFERS)), [str(size) for size in BUFFERS])
            if line == 0:
                ax.set_title(f"reader {reader}", fontsize=9)
            else:
                ax.set_xlabel("read size (-l), KiB")
            if column == 0:
                ax.set_ylabel("receive buffer (-k), KiB")
            if column == len(READERS) - 1:
                figure.colorbar(image, ax=axes[line], label=name)
    figure.suptitle(f"{profile}: two subflows over one link of 10 Mbit/s, {DURATION_S:.0f} s", fontsize=11)
    for suffix in ("png", "pdf"):
        metadata = {"CreationDate": None} if suffix == "pdf" else None
        figure.savefig(out / f"seed-{profile}.{suffix}", dpi=100, metadata=metadata)
    plt.close(figure)


def main() -> int:
    """Run everything, or draw again what was stored."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/zero-window"))
    parser.add_argument("--profiles", nargs="*", default=PROFILES, help="run these; keep the others' rows")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "seed.csv"
    cells = [Cell(*values) for values in product(options.profiles, READERS, READ_SIZES, BUFFERS)]
    with ProcessPoolExecutor(options.processes) as pool:
        rows = list(pool.map(run, cells))
    if table.exists():
        with table.open(encoding="utf-8") as file:
            stored = [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]
        rows += [row for row in stored if row["profile"] not in options.profiles]
    rows.sort(key=lambda row: PROFILES.index(str(row["profile"])))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    told = judge(rows)
    (options.out / "seed-summary.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for profile in PROFILES:
        draw(rows, profile, options.out)
        print(profile, json.dumps(told[profile]))
    good = told["rfc8684"]
    kept = good["least share of the bound"] >= 0.95 and good["longest stall, s"] <= RTO_S
    print(
        "rfc8684 keeps above 0.95 of the bound and never stalls for more than one RTO:",
        "yes" if kept else "NO",
    )
    return 0 if kept else 1


def _number(text: str) -> Any:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
