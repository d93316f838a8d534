"""Sampling costs what changes: a flow that is over is not looked at again, and the series say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mptcpsim.measure import sampler as sampler_module
from mptcpsim.measure.ends import End
from mptcpsim.measure.sampler import FlowProbe
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.run import measure

SCENARIO = """\
title = "Short flows"
duration = "10s"
[defaults.tcp]
time_wait = "500ms"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[[links]]
ends = ["a:e", "b:e"]
rate = "8Mbps"
delay = "5ms"
[[flows]]
name = "short"
client = "a"
server = "b"
bytes = "200kB"
[[flows]]
name = "multipath"
client = "a"
server = "b"
bytes = "100kB"
port = 5002
start = "1s"
[[flows]]
name = "slow reader"
client = "b"
server = "a"
bytes = "30kB"
port = 5003
reader = { read_size = "1kB", every = "200ms" }
"""


def looks(monkeypatch: pytest.MonkeyPatch, path: Path, *overrides: str) -> list[int]:
    """Run with a recorder, and return the instants at which the sampler looked at an end of a flow."""
    found: list[int] = []
    end: Any = End

    def counting(connection: Any, now: int) -> Any:
        found.append(now)
        return end(connection, now)

    with monkeypatch.context() as patch, SeriesRecorder(path) as recorder:
        patch.setattr(sampler_module, "End", counting)
        measure(build(loads(SCENARIO, overrides=overrides)), recorder)
    return found


@pytest.mark.parametrize("mptcp", ["true", "false"])
def test_what_is_over_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mptcp: str) -> None:
    few = looks(monkeypatch, tmp_path / "few", f"defaults.mptcp={mptcp}")
    with monkeypatch.context() as patch:
        patch.setattr(FlowProbe, "_is_over", lambda self, sender, receiver: False)
        all_of_them = looks(monkeypatch, tmp_path / "all", f"defaults.mptcp={mptcp}")
    assert (tmp_path / "few").read_bytes() == (tmp_path / "all").read_bytes()
    # All are over after some seven seconds, the last one when its reader has everything.
    assert len(few) < 0.7 * len(all_of_them)
    assert max(few) < 9_000_000_000 < max(all_of_them)


def test_times_that_go_on_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert max(looks(monkeypatch, tmp_path / "series", "output.record=['tcpi_rto']")) == 10_000_000_000
