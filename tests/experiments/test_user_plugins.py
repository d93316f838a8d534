"""Plug-ins of the user's, named in the scenario."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import dumps, load, loads
from tests.paths import EXPERIMENTS

EXAMPLE = EXPERIMENTS / "own-congestion-control" / "scenario.toml"


def test_the_example_runs_shares_fairly_and_repeats_from_its_run_directory(tmp_path: Path) -> None:
    run = CliRunner()
    out = tmp_path / "out"
    result = run.invoke(app, ["run", str(EXAMPLE), "--out", str(out), "--no-figures"])
    assert result.exit_code == 0, result.output
    assert (out / "careful.py").read_text() == (EXAMPLE.parent / "careful.py").read_text()
    goodput = {
        flow["name"]: flow["goodput_bps"] for flow in json.loads((out / "summary.json").read_text())["flows"]
    }
    assert 0.7 < goodput["careful"] / goodput["reno"] < 1.4
    again = tmp_path / "again"
    result = run.invoke(app, ["run", str(out / "scenario.toml"), "--out", str(again), "--no-figures"])
    assert result.exit_code == 0, result.output
    assert (again / "summary.json").read_bytes() == (out / "summary.json").read_bytes()


@pytest.mark.parametrize(
    ("scheduler", "median_ms", "slow"),
    [("weighted", 61.5, 78_520), ("minrtt", 28.7, 0), ("roundrobin", 63.9, 168_480)],
)
def test_the_example_of_a_scheduler(tmp_path: Path, scheduler: str, median_ms: float, slow: int) -> None:
    """The table of its README."""
    scenario = EXAMPLE.parent.parent / "own-scheduler" / "scenario.toml"
    given = ["--set", f"hosts.server.mptcp.scheduler={scheduler}", "--no-figures"]
    result = CliRunner().invoke(app, ["run", str(scenario), "--out", str(tmp_path / "out"), *given])
    assert result.exit_code == 0, result.output
    (flow,) = json.loads((tmp_path / "out" / "summary.json").read_text())["flows"]
    assert round(flow["latency_ms"]["median"], 1) == median_ms
    assert flow["subflows"][1]["bytes_sent"] == slow


def test_the_example_of_a_middlebox(tmp_path: Path) -> None:
    """The table of its README."""
    scenario = EXAMPLE.parent.parent / "own-middlebox" / "scenario.toml"
    drop = '{name="drop", match="icmp"}'
    found: dict[str, Any] = {}
    for boxes in ("", f"[{drop}]", "[]"):
        out = tmp_path / str(len(found))
        given = ["--set", f"links.access.middleboxes={boxes}"] if boxes else []
        result = CliRunner().invoke(app, ["run", str(scenario), "--out", str(out), "--no-figures", *given])
        assert result.exit_code == 0, result.output
        summary = json.loads((out / "summary.json").read_text())
        (flow,) = summary["flows"]
        big = summary["nodes"]["near"]["drops"].get("too-big", 0)
        found[boxes] = flow["bytes_delivered"], flow["completed_s"] and round(flow["completed_s"], 3), big
    assert found == {"": (5_000_000, 2.17, 0), f"[{drop}]": (0, None, 18), "[]": (5_000_000, 2.18, 10)}


def test_a_loaded_scenario_names_the_file_absolutely() -> None:
    scenario = load(EXAMPLE)
    assert scenario.plugins == (str(EXAMPLE.parent / "careful.py"),)
    assert loads(dumps(scenario)) == scenario


@pytest.mark.parametrize(
    ("plugins", "content", "words"),
    [
        ('"careful.py"', None, "write a list of Python files"),
        ("[3]", None, "write a list of Python files"),
        ('["absent.py"]', None, "no such file"),
        ('["."]', None, "no such file"),
        ('["plugin.txt"]', "x = 1", "has to end in .py"),
        ('["plugin.py"]', "x = (", "SyntaxError"),
        ('["plugin.py"]', "raise ValueError('boo')", "ValueError: boo; mend the plug-in"),
        ('["plugin.py"]', "import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, plugins: str, content: str | None, words: str) -> None:
    text = EXAMPLE.read_text().replace('plugins = ["careful.py"]', f"plugins = {plugins}")
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(text)
    if content is not None:
        (tmp_path / json.loads(plugins)[0]).write_text(content)
    with pytest.raises(ScenarioError) as failure:
        load(scenario)
    message = str(failure.value)
    assert words in message
    assert str(scenario) in message
    assert "plugins" in message
    assert "\n" not in message
