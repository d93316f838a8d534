"""The examples of the README do what is said of them."""

from __future__ import annotations

import re
from pathlib import Path

from mptcpsim.lint.lint import lint
from mptcpsim.lint.subject import Subject
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.results.summary import FlowResult
from mptcpsim.scenario.load import ScenarioSource, loads
from mptcpsim.scenario.run import run_scenario
from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST, SECOND = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[:2]


def run(text: str, out: Path) -> FlowResult:
    """Run an example of one flow."""
    with RunDirectory(out) as directory:
        (flow,) = run_scenario(loads(text), directory).flows
    return flow


def test_the_first_example_is_a_transfer_and_its_receive_buffer_counts(tmp_path: Path) -> None:
    assert lint(Subject(*ScenarioSource(FIRST).read())) == []
    flow = run(FIRST, tmp_path / "first")
    assert flow.completed_s is not None
    narrow = run(FIRST.replace('"64KiB" }', '"8KiB" }'), tmp_path / "narrow")
    assert (narrow.goodput_bps or 0) < (flow.goodput_bps or 0) / 2


def test_the_example_of_multipath_tcp_has_a_subflow_on_each_link(tmp_path: Path) -> None:
    head, tail = FIRST.partition("[hosts.a]")[0], FIRST[FIRST.index("[[flows]]") :]
    text = head + SECOND + tail
    assert lint(Subject(*ScenarioSource(text).read())) == []
    flow = run(text, tmp_path / "second")
    assert [subflow.links for subflow in flow.subflows] == [["a:eth0--b:eth0"], ["a:eth1--b:eth1"]]
    assert all(subflow.bytes_acked > 100_000 for subflow in flow.subflows)
