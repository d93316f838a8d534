"""Short variants of experiments/validation: rows 2.1, 2.2, 2.3 and 3.1.

The whole, with ten seeds and down to p = 1e-4, is run by ``experiments/validation/run.py``; its
stored results are checked here too.
"""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from mptcpsim.units import MILLISECOND, SECOND
from tests.experiments.programs import program
from tests.paths import ROOT

validation = program("validation", "measure")

RTT = 100 * MILLISECOND


@pytest.mark.parametrize(("p", "seconds"), [(1e-2, 2000), (3e-3, 1500), (1e-3, 1500)])
def test_reno_under_random_loss(p: float, seconds: int) -> None:
    """Row 2.1: 10 % around PFTK (b = 1, time-out 0.4 s)."""
    rate = validation.lossy_flow(
        validation.lossy_config("reno"), rtt=RTT, duration=seconds * SECOND, warm_up=20 * SECOND, loss=p
    )
    assert rate.packets_per_s == pytest.approx(validation.pftk_law(p, 0.1, 0.4), rel=0.10)
    assert 1.05 <= rate.window * p**0.5 <= 1.4


@pytest.mark.parametrize("p", [3e-2, 5e-2])
def test_reno_under_heavy_random_loss(p: float) -> None:
    """Row 2.1: 25 % where time-outs and limited transmit count."""
    rate = validation.lossy_flow(
        validation.lossy_config("reno"), rtt=RTT, duration=1500 * SECOND, warm_up=20 * SECOND, loss=p
    )
    assert rate.packets_per_s == pytest.approx(validation.pftk_law(p, 0.1, 0.4), rel=0.25)


@pytest.mark.parametrize(("congestion", "rtt_ms"), [("reno", 100), ("cubic", 100), ("cubic", 10)])
@pytest.mark.parametrize(
    ("p", "epochs", "tolerance"), [(1e-2, 100, 0.05), (1e-3, 60, 0.05), (1e-4, 16, 0.05)]
)
def test_window_under_periodic_loss(
    congestion: str, rtt_ms: int, p: float, epochs: int, tolerance: float
) -> None:
    """Row 2.2: RFC 9438 tables 1 and 2; 10 % where Reno-friendly and cubic region meet."""
    law = validation.periodic_law(p, congestion, rtt_ms / 1000)
    duration = int(epochs / p / law * rtt_ms * MILLISECOND)
    if congestion == "cubic" and p <= 1e-3:
        tolerance = 0.10
    rate = validation.lossy_flow(
        validation.lossy_config(congestion),
        rtt=rtt_ms * MILLISECOND,
        duration=duration,
        warm_up=duration // 4,
        epochs=round(1 / p),
    )
    assert rate.window == pytest.approx(law, rel=tolerance)
    assert rate.timeouts == 0


@pytest.mark.parametrize("congestion", ["reno", "cubic"])
def test_equal_flows_share_equally(congestion: str) -> None:
    """Row 2.3: Jain index at least 0.98."""
    runs = [
        validation.dumbbell(
            congestion,
            (40 * MILLISECOND, 40 * MILLISECOND),
            rate=10_000_000,
            queue=33,
            duration=100 * SECOND,
            warm_up=30 * SECOND,
            seed=seed,
        )
        for seed in (1, 2)
    ]
    assert fmean(run.jain for run in runs) >= 0.98
    assert min(run.utilisation for run in runs) > 0.98


@pytest.mark.parametrize(
    ("congestion", "queue", "low", "high"),
    [("reno", 33, 0.98, 1.0), ("reno", 3, 0.70, 0.85), ("cubic", 14, 0.98, 1.0), ("cubic", 3, 0.85, 0.92)],
)
def test_utilisation_by_buffer(congestion: str, queue: int, low: float, high: float) -> None:
    """Row 2.3: one BDP of buffer fills the link for Reno, 3/7 of it for CUBIC; near zero 75, 85 to 92 %."""
    run = validation.dumbbell(
        congestion,
        (40 * MILLISECOND,),
        rate=10_000_000,
        queue=queue,
        duration=60 * SECOND,
        warm_up=20 * SECOND,
    )
    assert low <= run.utilisation <= high


def tcp_rate(p: float, seconds: int) -> float:
    """Return the packets/s of one Reno flow on a path with random loss."""
    return validation.lossy_flow(
        validation.lossy_config("reno"), rtt=RTT, duration=seconds * SECOND, warm_up=20 * SECOND, loss=p
    ).packets_per_s


@pytest.mark.parametrize(("p1", "p2", "share"), [(4e-3, 1.6e-2, 1 / 5), (2e-3, 2e-2, 1 / 11)])
def test_lia_over_two_paths(p1: float, p2: float, share: float) -> None:
    """Row 3.1 with more loss, which needs less time: p times window is the same on both paths."""
    run = validation.lossy_paths("lia", (p1, p2), rtt=RTT, duration=500 * SECOND, warm_up=20 * SECOND)
    assert run.share == pytest.approx(share, abs=0.04)
    assert 0.85 <= run.total / tcp_rate(p1, 500) <= 1.1


def test_uncoupled_reno_over_two_paths() -> None:
    """Row 3.1: each subflow is a TCP of its own."""
    run = validation.lossy_paths("reno", (4e-3, 1.6e-2), rtt=RTT, duration=300 * SECOND, warm_up=20 * SECOND)
    assert run.share == pytest.approx(1 / 3, abs=0.04)
    assert run.total == pytest.approx(tcp_rate(4e-3, 300) + tcp_rate(1.6e-2, 300), rel=0.10)


@pytest.mark.parametrize(("congestion", "ratio"), [("lia", 1.0), ("reno", 2.0)])
def test_two_subflows_share_a_bottleneck_with_tcp(congestion: str, ratio: float) -> None:
    """Row 3.1: LIA takes what one TCP takes, two uncoupled subflows take what two take."""
    runs = [
        validation.dumbbell(
            "reno",
            (40 * MILLISECOND, 40 * MILLISECOND),
            rate=10_000_000,
            queue=33,
            duration=60 * SECOND,
            warm_up=10 * SECOND,
            seed=seed,
            first=validation.mptcp(validation.lossy_config(congestion), "ndiffports", subflows=2),
        )
        for seed in (1, 2)
    ]
    found = sum(run.rates[0] for run in runs) / sum(run.rates[1] for run in runs)
    assert found / ratio == pytest.approx(1.0, abs=0.2)


def test_stored_results_are_inside_their_tolerances() -> None:
    """The results of the whole experiment that are in the repository, row by row."""
    stored = ROOT / "results" / "validation" / "results.json"
    rows = json.loads(stored.read_text(encoding="utf-8"))
    assert len(rows) >= 20
    assert {row["row"] for row in rows} == {"2.1", "2.2", "2.3", "3.1"}
    for row in rows:
        assert row["low"] <= row["measured"] / row["expected"] <= row["high"], row
