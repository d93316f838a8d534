"""Short variants of experiments/two-paths, and its stored results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mptcpsim import load
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.scenario.run import run_scenario
from mptcpsim.units import SECOND
from tests.experiments.programs import program
from tests.paths import ROOT

two = program("two-paths", "measure")

profiles = pytest.mark.parametrize("profile", ["linux-6.18", "rfc8684", "rfc6824"])
paths = pytest.mark.parametrize("path", [1, 2])


def of(profile: str) -> str:
    return f"defaults.mptcp.profile={profile}"


@profiles
def test_both_paths_are_filled(profile: str) -> None:
    result = two.transfer(of(profile), *two.lasting(12))
    most = sum(two.RATES.values()) * two.MPTCP_PAYLOAD / two.FRAME
    assert 0.95 * most <= result.goodput <= most
    assert result.whole
    assert all(path.retransmitted == path.dropped * two.MPTCP_PAYLOAD for path in result.paths.values())


@paths
def test_a_lossy_path_does_no_harm_to_the_other(path: int) -> None:
    short = two.lasting(15)
    clean = two.transfer(*two.tcp_alone(3 - path), *short).goodput
    lossy = two.transfer(*two.tcp_alone(path), *two.loss(path), *short).goodput
    result = two.transfer(*two.loss(path), *short)
    assert result.goodput >= 0.9 * (clean + lossy)
    assert result.whole
    found = result.paths[path]
    assert found.dropped > 20
    assert found.retransmitted == pytest.approx(found.dropped * two.MPTCP_PAYLOAD, rel=0.1)


@profiles
@paths
def test_a_path_is_cut_and_restored(path: int, profile: str) -> None:
    other = 3 - path
    result = two.transfer(of(profile), *two.cut(path), *two.lasting(14))
    rto = result.rto[path]
    assert result.new_data_after_cut(other) <= 2 * rto
    assert result.longest_pause(other) <= rto
    assert result.back_after(path) <= 3
    assert result.paths[other].reinjected > 0
    assert result.paths[path].reinjected == 0
    assert result.whole


@profiles
def test_a_backup_is_used_while_it_is_needed(profile: str) -> None:
    result = two.transfer(of(profile), *two.BACKUP, *two.cut(1), *two.lasting(16))
    assert result.carried(2, 0, two.CUT) == 0
    assert result.first_sent(2) <= 2 * result.rto[1]
    assert result.carried(2, two.CUT, two.RESTORED) * 8 / 5 > 10e6
    assert result.carried(2, two.RESTORED + 4 * SECOND, 1 << 62) == 0
    assert result.carried(1, two.RESTORED + 4 * SECOND, 1 << 62) > 1_000_000
    assert result.whole


def test_encoding_changes_nothing(tmp_path: Path) -> None:
    """A cut, reinjections, and a path that comes back."""
    changes = [*two.cut(2), 'flows.transfer.duration="10500ms"', "duration=11s"]
    results = []
    for roundtrip in (False, True):
        out = tmp_path / str(roundtrip)
        with RunDirectory(out, force=False) as directory:
            run_scenario(load(two.SCENARIO, changes), directory, roundtrip=roundtrip)
        results.append([(out / f).read_bytes() for f in ("summary.json", "series.parquet", "events.jsonl")])
    assert results[0] == results[1]


def test_stored_results_are_as_expected() -> None:
    """The results of the whole experiment that are in the repository, row by row."""
    rows = json.loads((ROOT / "results" / "two-paths" / "results.json").read_text(encoding="utf-8"))
    assert len(rows) >= 70
    for row in rows:
        assert row["low"] <= row["measured"] <= row["high"], row
