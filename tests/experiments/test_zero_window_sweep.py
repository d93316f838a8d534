"""Z2, a few cells of it: the whole sweep is experiments/zero-window/seed/run.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.experiments.programs import program
from tests.paths import ROOT


@pytest.fixture(scope="module")
def sweep() -> Any:
    """Return the sweep as a module."""
    return program("zero-window/seed", "run")


@pytest.mark.parametrize(
    ("reader", "read", "buffer"), [("slower", 512, 128), ("equal", 8, 32), ("pauses", 64, 32)]
)
def test_z2_the_rfc_loses_nothing(sweep: Any, reader: str, read: int, buffer: int) -> None:
    row = sweep.run(sweep.Cell("rfc8684", reader, read, buffer))
    assert row["error"] == ""
    assert row["share"] >= 0.95
    assert row["longest_s"] <= sweep.RTO_S


def test_z2_where_the_seed_stalls(sweep: Any) -> None:
    """Large reads, not small ones; each of the stalls for the same reason."""
    large = sweep.run(sweep.Cell("caia-v0.4", "pauses", 512, 128))
    small = sweep.run(sweep.Cell("caia-v0.4", "pauses", 8, 128))
    assert large["causes"] == "update sent on another subflow x 1"
    assert large["longest_s"] > 2
    assert small["stalls"] == 0


def test_z2_what_is_stored_keeps_its_promises(sweep: Any) -> None:
    """The table in results/ has every cell, without an error, and the judgement that the page gives."""
    with (ROOT / "results" / "zero-window" / "seed.csv").open(encoding="utf-8") as file:
        rows = [
            {key: sweep._number(value) for key, value in row.items()} for row in sweep.csv.DictReader(file)
        ]
    per_profile = len(sweep.READERS) * len(sweep.READ_SIZES) * len(sweep.BUFFERS)
    assert len(rows) == per_profile * len(sweep.PROFILES)
    told = sweep.judge(rows)
    assert all(not one["errors"] for one in told.values())
    assert told["rfc8684"]["least share of the bound"] >= 0.95
    assert told["rfc8684"]["longest stall, s"] <= sweep.RTO_S
    assert set(told["caia-v0.4"]["causes"]) == {"update sent on another subflow"}
