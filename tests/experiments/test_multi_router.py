"""The two-router topology of the seed: its seven tests, and what starves four paths."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.experiments.programs import program
from tests.paths import ROOT

two_routers = program("seed/multi-router", "measure")


@pytest.mark.parametrize("test", two_routers.TESTS, ids=lambda test: test.name)
def test_what_the_authors_expected(test: Any) -> None:
    result = two_routers.transfer(*test.changes())
    assert result.whole
    assert test.low * two_routers.ONE <= result.goodput <= test.high * two_routers.ONE
    assert len(result.subflows) == (1 + test.test1.count(",")) * (1 + test.test2.count(","))
    used = {end for subflow in result.subflows for end in subflow.ends.split(" > ")}
    wanted = {f"1.{name}" for name in test.test1.split(", ")} | {
        f"2.{name}" for name in test.test2.split(", ")
    }
    assert used == wanted


@pytest.mark.parametrize("pull", [False, True], ids=["push", "pull"])
def test_large_mappings_starve_four_paths_and_small_ones_do_not(pull: bool) -> None:
    both = 2 * two_routers.RATE
    starved = two_routers.without("nothing", pull)
    restored = two_routers.without("large mappings: one segment each", pull)
    assert starved.whole
    assert starved.goodput < 0.5 * both
    assert min(subflow.idle for subflow in starved.subflows) > 0.5
    assert restored.goodput >= 0.9 * both
    assert max(subflow.idle for subflow in restored.subflows) < 0.05


def test_the_stored_results_are_as_expected() -> None:
    stored = json.loads((ROOT / "results" / "multi-router" / "results.json").read_text(encoding="utf-8"))
    assert [record["test"] for record in stored["tests"]] == [test.name for test in two_routers.TESTS]
    assert all(record["inside"] and record["whole"] for record in stored["tests"])
