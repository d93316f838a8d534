"""Measure what validation rows 2.1, 2.2, 2.3 and 3.1 ask for and compare it with the laws.

    python experiments/validation/run.py --out results/validation

writes ``results.json``, ``results.md`` (the tables of README.md) and ``window.png/.pdf``.
The whole takes about a quarter of an hour on two cores; ``--quick`` leaves the longest runs out, ``--rows
3.1`` measures some rows and keeps what is stored of the others.
The exit status is 1 if a row is outside its tolerance.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import dumbbell, lossy_config, lossy_flow, lossy_paths, mptcp, periodic_law, pftk_law, reno_law

from mptcpsim.units import MILLISECOND, SECOND

SEEDS = range(1, 11)

#: Loss probabilities of the two paths of row 3.1.
TWO_PATHS = ((1e-3, 1e-3), (1e-3, 4e-3), (1e-3, 1e-2), (5e-4, 2e-3))

#: PFTK's time-out for a path of 100 ms: what the table of row 2.1 assumes, seconds.
PFTK_RTO = 0.4


@dataclass(frozen=True)
class Row:
    """A measured value beside the expected one; ``low`` and ``high`` bound their ratio, or the value."""

    row: str
    what: str
    measured: float
    expected: float
    low: float
    high: float
    note: str

    @property
    def inside(self) -> bool:
        """Whether the measured value is within the tolerance."""
        return self.low <= self.measured / self.expected <= self.high


def random_loss(p: float, seconds: int) -> Row:
    """Row 2.1: Reno under independent random loss, RTT 100 ms, against PFTK with b = 1."""
    r = lossy_flow(
        lossy_config("reno"),
        rtt=100 * MILLISECOND,
        duration=seconds * SECOND,
        warm_up=20 * SECOND,
        loss=p,
    )
    tolerance = 0.10 if p <= 1e-2 else 0.25
    return Row(
        "2.1",
        f"Reno, p = {p:g}, packets/s",
        r.packets_per_s,
        pftk_law(p, 0.1, PFTK_RTO),
        1 - tolerance,
        1 + tolerance,
        f"window {r.window:.2f} = {r.window * p**0.5:.2f}/sqrt(p); simple law {10 * reno_law(p):.0f}",
    )


def periodic_loss(congestion: str, rtt_ms: int, p: float, epochs: int) -> Row:
    """Row 2.2: average window under deterministic loss, against RFC 9438 tables 1 and 2."""
    law = periodic_law(p, congestion, rtt_ms / 1000)
    duration = int(epochs / p / law * rtt_ms * MILLISECOND)
    period = round(1 / p)
    common = {"rtt": rtt_ms * MILLISECOND, "duration": duration, "warm_up": duration // 4}
    as_law = lossy_flow(lossy_config(congestion), **common, epochs=period)
    as_path = lossy_flow(lossy_config(congestion), **common, every=period)
    tolerance = 0.10 if congestion == "cubic" and 1e-4 <= p <= 1e-3 else 0.05
    return Row(
        "2.2",
        f"{congestion}, RTT {rtt_ms} ms, p = {p:g}, window",
        as_law.window,
        law,
        1 - tolerance,
        1 + tolerance,
        f"every {period}-th packet of the path, recoveries included: {as_path.window:.2f}",
    )


def equal_flows(congestion: str) -> Row:
    """Row 2.3: two flows of one RTT share a bottleneck of 10 Mbit/s, buffer of one BDP."""
    runs = [
        dumbbell(
            congestion,
            (40 * MILLISECOND, 40 * MILLISECOND),
            rate=10_000_000,
            queue=33,
            duration=120 * SECOND,
            warm_up=20 * SECOND,
            seed=seed,
        )
        for seed in SEEDS
    ]
    index = fmean(run.jain for run in runs)
    low = min(run.jain for run in runs)
    return Row(
        "2.3",
        f"two {congestion} flows, Jain index",
        index,
        1.0,
        0.98,
        1.0 + 1e-9,
        f"10 seeds, least {low:.3f}",
    )


def unequal_rtts() -> Row:
    """Row 2.3: RTTs of 40 and 80 ms; the rates differ by a factor of 2 to 4."""
    runs = [
        dumbbell(
            "reno",
            (40 * MILLISECOND, 80 * MILLISECOND),
            rate=10_000_000,
            queue=17,
            duration=120 * SECOND,
            warm_up=20 * SECOND,
            seed=seed,
        )
        for seed in SEEDS
    ]
    ratio = sum(run.rates[0] for run in runs) / sum(run.rates[1] for run in runs)
    each = ", ".join(f"{run.rates[0] / run.rates[1]:.2f}" for run in runs)
    return Row("2.3", "two Reno flows, RTT 1:2, ratio of rates", ratio, 1.0, 2.0, 4.0, f"10 seeds: {each}")


def utilisation(congestion: str, queue: int, low: float, high: float) -> Row:
    """Row 2.3: utilisation of a bottleneck of 10 Mbit/s, 40 ms (BDP 33 packets) by one flow."""
    runs = [
        dumbbell(
            congestion,
            (40 * MILLISECOND,),
            rate=10_000_000,
            queue=queue,
            duration=120 * SECOND,
            warm_up=20 * SECOND,
            seed=seed,
        )
        for seed in SEEDS
    ]
    value = fmean(run.utilisation for run in runs)
    return Row("2.3", f"one {congestion} flow, queue {queue}, utilisation", value, 1.0, low, high, "10 seeds")


def two_paths(
    congestion: str, p1: float, p2: float, share: float, seconds: int, runs_each: int = 2
) -> list[Row]:
    """Row 3.1: two disjoint paths with random loss, RTT 100 ms: the second one's share, and the total."""
    seeds = SEEDS[:runs_each]
    common = {"rtt": 100 * MILLISECOND, "duration": seconds * SECOND, "warm_up": 20 * SECOND}
    runs = [lossy_paths(congestion, (p1, p2), seed=seed, **common) for seed in seeds]
    alone = [
        fmean(lossy_flow(lossy_config("reno"), loss=p, seed=seed, **common).packets_per_s for seed in seeds)
        for p in ((p1,) if congestion == "lia" else (p1, p2))
    ]
    value = fmean(run.share for run in runs)
    total = fmean(run.total for run in runs)
    name = f"{congestion}, p = {p1:g} and {p2:g}"
    each = ", ".join(f"{run.share:.3f}" for run in runs)
    against = "TCP on path 1" if congestion == "lia" else "TCP on both"
    low, high = (0.85, 1.10) if congestion == "lia" else (0.90, 1.10)
    return [
        Row(
            "3.1",
            f"{name}, share of path 2",
            value,
            share,
            1 - 0.04 / share,
            1 + 0.04 / share,
            f"{len(seeds)} seeds: {each}",
        ),
        Row("3.1", f"{name}, packets/s and {against}", total, sum(alone), low, high, f"{len(seeds)} seeds"),
    ]


def subflows_at_a_bottleneck(congestion: str, subflows: int, low: float, high: float) -> Row:
    """Row 3.1: a connection of several subflows and one TCP share a bottleneck of 10 Mbit/s."""
    runs = [
        dumbbell(
            "reno",
            (40 * MILLISECOND, 40 * MILLISECOND),
            rate=10_000_000,
            queue=33,
            duration=120 * SECOND,
            warm_up=20 * SECOND,
            seed=seed,
            first=mptcp(lossy_config(congestion), "ndiffports", subflows=subflows),
        )
        for seed in SEEDS[:3]
    ]
    ratio = sum(run.rates[0] for run in runs) / sum(run.rates[1] for run in runs)
    each = ", ".join(f"{run.rates[0] / run.rates[1]:.2f}" for run in runs)
    return Row(
        "3.1",
        f"{congestion}, subflows: {subflows}, ratio to one TCP",
        ratio,
        1.0 if congestion == "lia" else float(subflows),
        low,
        high,
        f"3 seeds: {each}",
    )


#: The row, its measurement, which makes one row of the table or several, and its arguments.
Job = tuple[str, Callable[..., Row | list[Row]], tuple[object, ...]]


def jobs(quick: bool) -> list[Job]:
    """Return the measurements, longest first."""
    work: list[Job] = []
    if not quick:
        work.append(("2.1", random_loss, (1e-4, 8000)))
        # Between equal paths nothing pulls the shares back but the losses themselves.
        work.append(("3.1", two_paths, ("lia", *TWO_PATHS[0], 0.5, 1500, 4)))
        for losses, share in zip(TWO_PATHS[1:], (0.20, 0.09, 0.20), strict=True):
            work.append(("3.1", two_paths, ("lia", *losses, share, 1000)))
        for losses in TWO_PATHS:
            work.append(("3.1", two_paths, ("reno", *losses, 1 / (1 + sqrt(losses[1] / losses[0])), 400)))
    for kind, subflows in (("lia", 1), ("lia", 2), ("reno", 2)):
        work.append(("3.1", subflows_at_a_bottleneck, (kind, subflows, 0.8, 1.2)))
    for congestion, rtt in (("cubic", 100), ("reno", 100), ("cubic", 10)):
        for p in (1e-4, 1e-3, 1e-2):
            work.append(("2.2", periodic_loss, (congestion, rtt, p, 40 if p < 1e-3 else 120)))
    for congestion in ("reno", "cubic"):
        work.append(("2.3", equal_flows, (congestion,)))
    work.append(("2.3", unequal_rtts, ()))
    # The buffer "near zero" keeps three slots for bursts.
    for arguments in (
        ("reno", 33, 0.98, 1.0),
        ("reno", 3, 0.70, 0.85),
        ("cubic", 14, 0.98, 1.0),
        ("cubic", 3, 0.85, 0.92),
    ):
        work.append(("2.3", utilisation, arguments))
    for p, seconds in ((1e-3, 4000), (3e-3, 3000), (1e-2, 3000), (3e-2, 3000), (5e-2, 3000)):
        work.append(("2.1", random_loss, (p, seconds)))
    return work


def stored(out: Path, without: list[str]) -> list[Row]:
    """Return the rows of an earlier run, those that are measured again left out."""
    path = out / "results.json"
    if not without or not path.exists():
        return []
    records = json.loads(path.read_text(encoding="utf-8"))
    return [
        Row(**{key: value for key, value in record.items() if key != "inside"})
        for record in records
        if record["row"] not in without
    ]


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| row | what | measured | expected | ratio | allowed | inside | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.row} | {r.what} | {r.measured:.4g} | {r.expected:.4g} | {r.measured / r.expected:.3f} "
        f"| {r.low:.2f} to {r.high:.2f} | {'yes' if r.inside else '**no**'} | {r.note} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def write(rows: list[Row], out: Path) -> str:
    """Store the rows; return the table."""
    text = table(rows)
    (out / "results.md").write_text(text, encoding="utf-8")
    records = [asdict(r) | {"inside": r.inside} for r in rows]
    (out / "results.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return text


def draw(rows: list[Row], out: Path) -> None:
    """Draw measured windows beside the laws."""
    figure, axes = plt.subplots(figsize=(6.3, 3.6), layout="constrained")
    grid = [10 ** (-4.2 + 0.1 * i) for i in range(24)]
    styles = (("reno", 100, "#0072B2", "o"), ("cubic", 100, "#D55E00", "s"), ("cubic", 10, "#009E73", "^"))
    for congestion, rtt, colour, marker in styles:
        axes.plot(
            grid,
            [periodic_law(p, congestion, rtt / 1000) for p in grid],
            color=colour,
            linewidth=1,
            linestyle="--" if marker == "^" else "-",
        )
        points = [r for r in rows if r.what.startswith(f"{congestion}, RTT {rtt} ms")]
        axes.plot(
            [float(r.what.split("p = ")[1].split(",")[0]) for r in points],
            [r.measured for r in points],
            marker,
            color=colour,
            markersize=6,
            markerfacecolor="none" if marker == "^" else colour,
            label=f"{congestion.upper() if congestion == 'cubic' else 'Reno'}, RTT {rtt} ms",
        )
    axes.set(xscale="log", yscale="log", xlabel="Loss probability", ylabel="Average window (segments)")
    axes.set_title("Deterministic loss: simulated (marks), laws of RFC 9438 (lines)", loc="left", fontsize=10)
    axes.grid(color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    for suffix in ("png", "pdf"):
        figure.savefig(
            out / f"window.{suffix}", dpi=200, metadata={"CreationDate": None} if suffix == "pdf" else {}
        )
    plt.close(figure)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/validation"), help="directory to write")
    parser.add_argument("--jobs", type=int, default=2, help="processes, default 2")
    parser.add_argument("--quick", action="store_true", help="leave the longest runs out")
    parser.add_argument("--rows", nargs="+", default=[], help="measure these rows only, such as 3.1")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = stored(arguments.out, arguments.rows)
    text = ""
    with ProcessPoolExecutor(arguments.jobs) as pool:
        futures = [
            pool.submit(function, *args)
            for row, function, args in jobs(arguments.quick)
            if not arguments.rows or row in arguments.rows
        ]
        for future in track(as_completed(futures), description="Measuring", total=len(futures)):
            result = future.result()
            rows += result if isinstance(result, list) else [result]
            rows.sort(key=lambda r: (r.row, r.what))
            text = write(rows, arguments.out)
    draw(rows, arguments.out)
    print(text)
    outside = [r.what for r in rows if not r.inside]
    print(f"{len(rows) - len(outside)} of {len(rows)} rows inside their tolerance", *outside, sep="\n  ")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
