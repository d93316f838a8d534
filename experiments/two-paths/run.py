"""Measure one MPTCP connection over two paths and put what is expected beside it.

    python experiments/two-paths/run.py --out results/two-paths

writes ``results.json`` and ``results.md`` and takes about two minutes on two cores. The exit
status is 1 if a row is outside what is expected.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    BACKUP,
    CUT,
    FRAME,
    MPTCP_PAYLOAD,
    RATES,
    RESTORED,
    TCP_PAYLOAD,
    Result,
    cut,
    loss,
    tcp_alone,
    transfer,
)

from mptcpsim.units import SECOND

PROFILES = ("linux-6.18", "rfc8684", "rfc6824")

#: Goodput of the Linux kernel over the same paths, Mbit/s.
KERNEL = {"tcp 1": 9.54, "tcp 2": 18.53, "mptcp": 27.17}


@dataclass(frozen=True)
class Row:
    """A measured value, and the range in which it is expected; ``expected`` says it in words."""

    case: str
    profile: str
    what: str
    measured: float
    low: float
    high: float
    expected: str
    note: str = ""

    @property
    def inside(self) -> bool:
        """Whether the measured value is as expected."""
        return self.low <= self.measured <= self.high


def _whole(case: str, profile: str, result: Result) -> Row:
    return Row(case, profile, "every byte once", float(result.whole), 1, 1, "1")


def alone(path: int) -> list[Row]:
    """Plain TCP on one path: what the headers leave of its rate."""
    most = RATES[path] * TCP_PAYLOAD / FRAME / 1e6
    result = transfer(*tcp_alone(path))
    goodput = result.goodput / 1e6
    note = f"Linux: {KERNEL[f'tcp {path}']}"
    return [
        Row(
            f"TCP, path {path}",
            "-",
            "goodput, Mbit/s",
            goodput,
            0.95 * most,
            most,
            f"0.95 to 1 x {most:.2f}",
            note,
        ),
        _whole(f"TCP, path {path}", "-", result),
    ]


def clean(profile: str) -> list[Row]:
    """Both paths without a fault: the sum of what the headers leave."""
    most = sum(RATES.values()) * MPTCP_PAYLOAD / FRAME / 1e6
    result = transfer(_profile(profile))
    goodput = result.goodput / 1e6
    expected = f"0.95 to 1 x {most:.2f}"
    note = f"Linux: {KERNEL['mptcp']}"
    return [
        Row("clean", profile, "goodput, Mbit/s", goodput, 0.95 * most, most, expected, note),
        _whole("clean", profile, result),
    ]


def lossy(profile: str, path: int) -> list[Row]:
    """One path loses 1 % of the data packets: the other one, and what TCP alone gets there."""
    case = f"loss on path {path}"
    other = 3 - path
    base = transfer(*tcp_alone(other)).goodput + transfer(*tcp_alone(path), *loss(path)).goodput
    result = transfer(_profile(profile), *loss(path))
    low = 0.9 * base / 1e6
    rows = [
        Row(case, profile, "goodput, Mbit/s", result.goodput / 1e6, low, 1e3, f">= 0.9 x {base / 1e6:.2f}")
    ]
    for number, found in result.paths.items():
        lost = found.dropped * MPTCP_PAYLOAD
        rows.append(
            Row(
                case,
                profile,
                f"sent again / lost, path {number}",
                found.retransmitted / lost if lost else 1.0,
                0.99,
                1.1,
                "0.99 to 1.1",
                f"{found.retransmitted / 1e3:.0f} kB of {found.sent / 1e6:.1f} MB",
            )
        )
    return [*rows, _whole(case, profile, result)]


def cut_and_restored(profile: str, path: int) -> list[Row]:
    """One path is gone from 5 s to 10 s."""
    case = f"cut of path {path}"
    other = 3 - path
    result = transfer(_profile(profile), *cut(path))
    rto = result.rto[path]
    reinjected = f"{result.paths[other].reinjected / 1e3:.0f} kB reinjected"
    return [
        Row(
            case,
            profile,
            f"new data by path {other} after, s",
            result.new_data_after_cut(other),
            0,
            2 * rto,
            f"<= 2 RTO = {2 * rto:.2f}",
            reinjected,
        ),
        Row(
            case, profile, f"longest pause of path {other}, s", result.longest_pause(other), 0, rto, "<= RTO"
        ),
        Row(case, profile, f"data by path {path} again after, s", result.back_after(path), 0, 3, "<= 3"),
        _whole(case, profile, result),
    ]


def backup(profile: str) -> list[Row]:
    """Path 2 is a backup, path 1 is gone from 5 s to 10 s."""
    case = "backup"
    result = transfer(_profile(profile), *BACKUP, *cut(1))
    rto = result.rto[1]
    grace = RESTORED + 4 * SECOND
    used = result.carried(2, CUT, RESTORED)
    goodput = used * 8 * SECOND / (RESTORED - CUT) / 1e6
    later = result.carried(2, grace, 1 << 62)
    return [
        Row(case, profile, "bytes by the backup before the cut", result.carried(2, 0, CUT), 0, 0, "0"),
        Row(
            case,
            profile,
            "backup used after, s",
            result.first_sent(2),
            0,
            2 * rto,
            f"<= 2 RTO = {2 * rto:.2f}",
        ),
        Row(case, profile, "rate of the backup, Mbit/s", goodput, 10, 20, "10 to 20", "slow start included"),
        Row(case, profile, "bytes by the backup from 14 s on", later, 0, 0, "0"),
        Row(case, profile, "data by path 1 again after, s", result.back_after(1), 0, 3, "<= 3"),
        _whole(case, profile, result),
    ]


def _profile(name: str) -> str:
    return f"defaults.mptcp.profile={name}"


def jobs() -> list[tuple[Callable[..., list[Row]], tuple[object, ...]]]:
    """Return the measurements in the order of the table."""
    work: list[tuple[Callable[..., list[Row]], tuple[object, ...]]] = [(alone, (path,)) for path in RATES]
    for profile in PROFILES:
        work.append((clean, (profile,)))
        work += [(lossy, (profile, path)) for path in RATES]
        work += [(cut_and_restored, (profile, path)) for path in RATES]
        work.append((backup, (profile,)))
    return work


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| case | profile | what | expected | measured | inside | note |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.case} | {r.profile} | {r.what} | {r.expected} | {r.measured:.4g} "
        f"| {'yes' if r.inside else '**no**'} | {r.note} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/two-paths"), help="directory to write")
    parser.add_argument("--jobs", type=int, default=2, help="processes, default 2")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        futures = [pool.submit(function, *args) for function, args in jobs()]
        rows = [row for future in track(futures, description="Measuring") for row in future.result()]
    text = table(rows)
    (arguments.out / "results.md").write_text(text, encoding="utf-8")
    records = [asdict(r) | {"inside": r.inside} for r in rows]
    (arguments.out / "results.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(text)
    outside = [f"{r.case}, {r.profile}: {r.what}" for r in rows if not r.inside]
    print(f"{len(rows) - len(outside)} of {len(rows)} rows as expected", *outside, sep="\n  ")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
