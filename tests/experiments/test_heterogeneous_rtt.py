"""Three corners of experiments/heterogeneous-rtt, its plan, and the stored means."""

from __future__ import annotations

import csv

from mptcpsim.results.series import NoSeries
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import open_source
from mptcpsim.scenario.run import measure
from mptcpsim.sweep.agenda import Sweep
from tests.paths import EXPERIMENTS, ROOT

SWEEP = Sweep(open_source(EXPERIMENTS / "heterogeneous-rtt" / "scenario.toml"))


def goodput(**wanted: object) -> float:
    """Return the goodput of replicate 0 of a point, bit/s."""
    (point,) = [point for point in SWEEP.plan.points if point.parameters == wanted]
    scenario = SWEEP.source.scenario(SWEEP.plan.changes(point))
    summary = measure(build(scenario), NoSeries())
    assert summary.intact
    goodput = summary.flows[0].goodput_bps
    assert goodput is not None
    return goodput


def test_the_plan_is_ratio_by_buffer_by_scheduler_by_seed() -> None:
    assert len(SWEEP.plan) == 10 * 5 * 3
    assert SWEEP.spec.replicates == 5


def test_a_large_buffer_adds_both_paths_and_a_small_one_makes_the_second_a_burden() -> None:
    one_path = goodput(ratio=10, buffer="128KiB", scheduler="redundant")
    assert 9.2e6 < one_path < 9.6e6
    assert goodput(ratio=10, buffer="1MiB", scheduler="minrtt") > 1.5 * one_path
    assert goodput(ratio=10, buffer="128KiB", scheduler="roundrobin") < 0.7 * one_path


def test_the_stored_means_are_those_of_the_plan() -> None:
    text = (ROOT / "results" / "heterogeneous-rtt" / "means.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    planned = [{name: str(value) for name, value in point.parameters.items()} for point in SWEEP.plan.points]
    assert [{name: row[name] for name in SWEEP.plan.axes} for row in rows] == planned
    assert {row["goodput_bps.runs"] for row in rows} == {"5"}
    assert all(float(row["goodput_bps.low"]) <= float(row["goodput_bps.mean"]) for row in rows)
