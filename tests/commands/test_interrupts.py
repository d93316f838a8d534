"""Ctrl-C of a run: what was measured is kept, or nothing is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

import mptcpsim.results.figures as figures_module
import mptcpsim.scenario.run as run_module
from mptcpsim.cli import app
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.measure.sampler import Sampler
from mptcpsim.results.rundir import META, RunDirectory
from mptcpsim.results.series import FILE_NAME
from mptcpsim.scenario.load import loads
from mptcpsim.units import SECOND

SCENARIO = """\
title = "A long transfer"
duration = "20s"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[[links]]
name = "path"
ends = ["a:e", "b:e"]
rate = "20Mbps"
delay = "10ms"
[[flows]]
name = "bulk"
client = "a"
server = "b"
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "long.toml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def interrupted_at_2_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the signal of Ctrl-C come when two seconds are simulated."""

    class Interrupting(Sampler):
        def sample(self) -> None:
            super().sample()
            if self._loop.now == 2 * SECOND:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_module, "Sampler", Interrupting)


def run(scenario: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["run", str(scenario), "--out", str(out), *more])


def entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.usefixtures("interrupted_at_2_s")
class TestOnce:
    def test_what_was_measured_is_kept(self, scenario: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        result = run(scenario, out, "--pcap")
        assert result.exit_code == 130
        meta = json.loads((out / META).read_text())
        assert meta["complete"] is False
        until = json.loads((out / "summary.json").read_text())["duration_s"]
        # The loop looks up every 4096 callbacks, of which a packet of 12 kbit and its ACK take a few.
        assert 2.0 <= until < 4.0
        assert meta["ended"] == f"interrupted at {until:.1f} s of 20 s"
        assert f"mptcpsim: {meta['ended']}; what was measured is in {out}" in result.stderr
        assert "nothing was written" not in result.stderr
        assert "bulk" in result.stdout
        assert entries(tmp_path) == {"long.toml", "out"}
        times = pyarrow.parquet.read_table(out / FILE_NAME)["time_s"].to_pylist()
        assert 2.0 <= max(times) <= until
        packets = list(read_capture(out / "a.e.pcapng"))
        assert until - 0.1 < packets[-1].time_ns / SECOND <= until

    def test_it_is_the_beginning_of_the_whole_run(
        self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(scenario, tmp_path / "part", "--no-figures")
        part = json.loads((tmp_path / "part" / "summary.json").read_text())
        monkeypatch.undo()
        until = f"duration={round(part['duration_s'] * SECOND)}ns"
        run(scenario, tmp_path / "whole", "--no-figures", "--set", until)
        whole = json.loads((tmp_path / "whole" / "summary.json").read_text())
        assert whole["flows"][0]["bytes_delivered"] == part["flows"][0]["bytes_delivered"]
        assert whole["duration_s"] == part["duration_s"]
        assert json.loads((tmp_path / "whole" / META).read_text())["complete"] is True

    def test_its_figures_are_drawn_later(self, scenario: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        run(scenario, out)
        assert not list(out.glob("*.png"))
        result = CliRunner().invoke(app, ["plot", str(out)])
        assert result.exit_code == 0
        assert "the run was interrupted at" in result.stderr
        assert (out / "cwnd.png").exists()

    def test_signals_are_as_they_were_before(self, scenario: Path, tmp_path: Path) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        run(scenario, tmp_path / "out", "--no-figures")
        after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        assert after == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("interrupted_at_2_s")
@pytest.mark.parametrize("former", [False, True])
def test_twice_leaves_what_was_there(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, former: bool
) -> None:
    out = tmp_path / "out"
    if former:
        with RunDirectory(out) as directory:
            directory.write_json(META, {"mptcpsim": "0.1.0"})
    write = RunDirectory.write_lines

    def interrupted(self: RunDirectory, name: str, lines: Iterable[str]) -> None:
        if name == "events.jsonl":
            signal.raise_signal(number)
        write(self, name, lines)

    monkeypatch.setattr(RunDirectory, "write_lines", interrupted)
    result = run(scenario, out, "--no-figures", "--force")
    assert result.exit_code == 130
    assert result.stderr == "mptcpsim: interrupted; nothing was written\n"
    assert entries(tmp_path) == ({"long.toml", "out"} if former else {"long.toml"})
    if former:
        assert entries(out) == {META}


def test_before_anything_is_measured(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "build", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    result = run(scenario, tmp_path / "out")
    assert (result.exit_code, result.stderr) == (130, "mptcpsim: interrupted; nothing was written\n")
    assert entries(tmp_path) == {"long.toml"}


def test_while_figures_are_drawn(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(directory: Path, title: str) -> None:
        (directory / "half.png").touch()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(figures_module, "draw_figures", draw)
    out = tmp_path / "out"
    result = run(scenario, out, "--set", "duration=1s")
    assert result.exit_code == 130
    assert f"interrupted when all was simulated; what was measured is in {out}" in result.stderr
    assert json.loads((out / META).read_text())["complete"] is True
    assert not list(out.glob("*.png"))


def test_while_the_directory_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Any:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    out = tmp_path / "out"
    with RunDirectory(out) as directory:
        directory.write_json(META, {"mptcpsim": "0.1.0"})
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), RunDirectory(out, force=True) as directory:
        directory.write_text("new", "")
    assert entries(tmp_path) == {"out"}
    assert entries(out) == {META}


def test_from_python_a_run_stops_where_it_is_asked_to(tmp_path: Path) -> None:
    stop = run_module.Stop()

    def progress(now: int) -> None:
        assert stop.possible
        stop.asked = now >= SECOND

    with RunDirectory(tmp_path / "out") as directory:
        summary = run_module.run_scenario(loads(SCENARIO), directory, progress=progress, stop=stop)
    assert 1.0 <= summary.duration_s < 4.0
    assert not stop.possible


def test_a_process_that_gets_the_signal(scenario: Path, tmp_path: Path) -> None:
    words = ["run", str(scenario), "--out", str(tmp_path / "out"), "--no-figures", "--pcap", "--no-lint"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mptcpsim", *words, "--set", "duration=10000s", "--set", "links.0.rate=1Mbps"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while process.poll() is None:
            # A capture that is being written has another name.
            if any(file.stat().st_size > 10_000 for file in tmp_path.glob(".out.*.partial/*a.e.pcapng*")):
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130
    assert " s of 10000 s; what was measured is in " in err
    assert "Traceback" not in err
    assert "Wall time: " in out
    assert entries(tmp_path) == {"long.toml", "out"}
