"""Measure the seven tests of the two-router topology, and what starves four paths.

    python experiments/seed/multi-router/run.py

writes ``results.json``, ``results.md`` and ``buffers.png`` and ``.pdf`` into results/multi-router and takes
about a minute on two cores. The exit status is 1 if a row is outside what is expected.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    BUFFERS,
    FACTORS,
    MAPPINGS,
    ONE,
    PROFILE,
    RATE,
    SCHEDULERS,
    TESTS,
    Result,
    of_buffer,
    transfer,
    without,
)

DIRECTIONS = {"push": False, "pull": True}

#: What the removal of the factor must restore, of the two bottlenecks.
RESTORED = 0.9
#: The factor, by its name in ``FACTORS``.
FACTOR = "large mappings: one segment each"


def _columns(rows: list[list[str]]) -> str:
    """Return a table in Markdown, its columns aligned; the first row has the heads."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def _mbps(value: float) -> str:
    return f"{value / 1e6:.2f}"


def tests_table(results: list[Result]) -> tuple[str, list[dict[str, Any]]]:
    """Return the seven tests as a table and as records."""
    heads = ["test", "Test1", "Test2", "data", "authors expected", "that is, Mbit/s", "goodput", "subflows",
             "whole", "as expected"]  # fmt: skip
    rows, records = [heads], []
    for test, result in zip(TESTS, results, strict=True):
        low, high = test.low * ONE, test.high * ONE
        inside = low <= result.goodput <= high and result.whole
        subflows = ", ".join(f"{s.ends} {_mbps(s.goodput)}" for s in result.subflows)
        rows.append([
            test.name, test.test1, test.test2, test.data, test.words,
            f"{_mbps(low)} to {_mbps(high)}", _mbps(result.goodput), subflows,
            "yes" if result.whole else "**no**", "yes" if inside else "**no**",
        ])  # fmt: skip
        records.append({"test": test.name, "test1": test.test1, "test2": test.test2, "data": test.data,
                        "expected_bps": [low, high], "inside": inside, **_record(result)})  # fmt: skip
    return _columns(rows), records


def _record(result: Result) -> dict[str, Any]:
    return {
        "goodput_bps": result.goodput,
        "whole": result.whole,
        "subflows": [subflow._asdict() for subflow in result.subflows],
    }


def _title(scheduler: str, mapping: int) -> str:
    return f"{scheduler}, {'a segment' if mapping == 1 else f'{mapping} segments'} a mapping"


def buffers_table(found: dict[tuple[int, str, int, str], Result]) -> tuple[str, list[dict[str, Any]]]:
    """Return send buffer x scheduler as a table, push and pull, and as records."""
    kinds = [(scheduler, mapping) for scheduler in SCHEDULERS for mapping in MAPPINGS]
    rows = [["send buffer, KiB", *(_title(*kind) for kind in kinds)]]
    for buffer in BUFFERS:
        cells = [
            " / ".join(_mbps(found[buffer, *kind, data].goodput) for data in DIRECTIONS) for kind in kinds
        ]
        rows.append([str(buffer), *cells])
    records = [
        {"send_buffer_kib": b, "scheduler": s, "mapping_segments": m, "data": d, **_record(result)}
        for (b, s, m, d), result in found.items()
    ]
    return _columns(rows), records


def factors_table(found: dict[tuple[str, str], Result]) -> tuple[str, list[dict[str, Any]]]:
    """Return the starved case with one factor after the other removed, and as records."""
    rows = [["removed", "push, Mbit/s", "pull, Mbit/s", "of the two bottlenecks", "subflows idle, push"]]
    for factor in FACTORS:
        both = [found[factor, data] for data in DIRECTIONS]
        least = min(result.goodput for result in both) / (2 * RATE)
        idle = ", ".join(f"{subflow.idle:.0%}" for subflow in both[0].subflows)
        rows.append([factor, *(_mbps(result.goodput) for result in both), f"{least:.0%}", idle])
    records = [
        {"removed": factor, "data": data, **_record(result)} for (factor, data), result in found.items()
    ]
    return _columns(rows), records


def draw(found: dict[tuple[int, str, int, str], Result], out: Path) -> None:
    """Draw goodput over the send buffer, a line for each scheduler and mapping."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Okabe and Ito's colours, which colour-blind people tell apart.
    colours = {1: "#0072B2", MAPPINGS[1]: "#D55E00"}
    markers = {"roundrobin": "o", "minrtt": "s"}
    figure, panels = pyplot.subplots(1, 2, figsize=(7.0, 3.3), sharey=True, layout="constrained")
    for panel, data in zip(panels, DIRECTIONS, strict=True):
        for scheduler in SCHEDULERS:
            for mapping in MAPPINGS:
                goodputs = [found[buffer, scheduler, mapping, data].goodput / 1e6 for buffer in BUFFERS]
                panel.plot(
                    BUFFERS,
                    goodputs,
                    color=colours[mapping],
                    marker=markers[scheduler],
                    linestyle="-" if scheduler == "roundrobin" else "--",
                    label=_title(scheduler, mapping),
                )
        panel.axhline(2 * ONE / 1e6, color="0.6", linewidth=0.8)
        panel.axhline(RESTORED * 2 * RATE / 1e6, color="0.6", linewidth=0.8, linestyle=":")
        panel.set_xscale("log", base=2)
        panel.set_xticks(BUFFERS, [str(buffer) for buffer in BUFFERS])
        panel.set_xlabel("Send buffer (KiB)")
        panel.set_title(f"Four paths, {data}", fontsize="medium")
        panel.set_ylim(0, 18)
    panels[0].set_ylabel("Goodput (Mbit/s)")
    top, bottom = 2 * ONE / 1e6, RESTORED * 2 * RATE / 1e6
    panels[0].text(BUFFERS[0], top + 0.5, "payload of both bottlenecks", fontsize="x-small")
    panels[0].text(BUFFERS[0], bottom - 0.5, "90 % of 16 Mbit/s", va="top", fontsize="x-small")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    for suffix in ("png", "pdf"):
        figure.savefig(
            out / f"buffers.{suffix}", dpi=200, metadata={"CreationDate": None} if suffix == "pdf" else None
        )
    pyplot.close(figure)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/multi-router"), help="directory to write")
    parser.add_argument("--jobs", type=int, default=2, help="processes, default 2")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        tests = [pool.submit(transfer, *test.changes()) for test in TESTS]
        buffers = {
            (b, s, m, d): pool.submit(of_buffer, b, s, m, pull)
            for b in BUFFERS
            for s in SCHEDULERS
            for m in MAPPINGS
            for d, pull in DIRECTIONS.items()
        }
        factors = {(f, d): pool.submit(without, f, pull) for f in FACTORS for d, pull in DIRECTIONS.items()}
        pending: list[Future[Result]] = [*tests, *buffers.values(), *factors.values()]
        for future in track(pending, description="Measuring"):
            future.result()
    seven, seven_records = tests_table([future.result() for future in tests])
    by_buffer = {key: future.result() for key, future in buffers.items()}
    grid, grid_records = buffers_table(by_buffer)
    by_factor = {key: future.result() for key, future in factors.items()}
    causes, cause_records = factors_table(by_factor)
    restored = min(by_factor[FACTOR, data].goodput for data in DIRECTIONS) / (2 * RATE)
    text = (
        f"Profile {PROFILE}, scheduler roundrobin, goodput in Mbit/s:\n\n{seven}\n"
        f"Four paths, goodput in Mbit/s, push / pull:\n\n{grid}\n"
        f"Four paths, a send buffer of 64 KiB and mappings of 45 segments, one factor removed:\n\n{causes}\n"
        f'Removed "{FACTOR}": {restored:.1%} of the two bottlenecks (8 + 8 Mbit/s).\n'
    )
    (arguments.out / "results.md").write_text(text, encoding="utf-8")
    records = {"tests": seven_records, "buffers": grid_records, "factors": cause_records}
    (arguments.out / "results.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    draw(by_buffer, arguments.out)
    print(text)
    outside = [record["test"] for record in seven_records if not record["inside"]]
    outside += [] if restored >= RESTORED else [f"removal of {FACTOR}"]
    print(f"{len(TESTS) + 1 - len(outside)} of {len(TESTS) + 1} as expected", *outside, sep="\n  ")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
