"""The scenarios of experiments/zero-window: a stall by each cause, with packets that tshark names alike."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.measure.stall_causes import CAUSES
from mptcpsim.results.figures_dsn import draw_dsn, updates
from mptcpsim.results.report import stall_lines
from mptcpsim.results.rundir import RunDirectoryError
from mptcpsim.results.segments import HEARD, PROBE, TOLD, Row, read_segments
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import load
from mptcpsim.scenario.run import measure
from tests.paths import EXPERIMENTS

HERE = EXPERIMENTS / "zero-window"
SCENARIOS = sorted((HERE / "causes").glob("*.toml"))


def run(path: Path, tmp_path: Path, *changes: str) -> dict[str, Any]:
    """Run a scenario without files and return its summary."""
    simulation = build(load(path, list(changes)))
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        return measure(simulation, recorder).as_dict()


def test_there_is_one_for_each_cause() -> None:
    titles = [load(path, []).title.removeprefix("Cause: ") for path in SCENARIOS]
    assert sorted(titles) == sorted(CAUSES)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_it_yields_exactly_that_cause(path: Path, tmp_path: Path) -> None:
    summary = run(path, tmp_path)
    (flow,) = summary["flows"]
    cause = load(path, []).title.removeprefix("Cause: ")
    assert {stall["cause"] for stall in flow["stalls"]} == {cause}
    assert flow["integrity"] == "ok"
    assert flow["stalled_s"] == pytest.approx(
        sum(stall["end_s"] - stall["start_s"] for stall in flow["stalls"])
    )
    text = "\n".join(stall_lines(summary))
    assert cause in text
    assert flow["stalls"][0]["words"][1:] in text


def test_the_scheduler_that_chooses_nothing_is_named(tmp_path: Path) -> None:
    """Its name stands in quotes: it may be any word, "never" included."""
    (flow,) = run(HERE / "causes" / "scheduler.toml", tmp_path)["flows"]
    assert all("the scheduler 'hesitant' chose no subflow" in stall["words"] for stall in flow["stalls"])
    assert flow["stalls"]


@pytest.mark.tool("tshark")
def test_the_packets_are_those_of_the_capture(tmp_path: Path) -> None:
    """tshark finds the packets of the explanation at their instants, under its own names."""
    out = tmp_path / "out"
    arguments = ["run", str(HERE / "causes" / "update-on-another-subflow.toml"), "--pcap", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (out / "dsn.png").exists()
    assert (out / "dsn.pdf").exists()
    stall = json.loads((out / "summary.json").read_text())["flows"][0]["stalls"][0]
    names = {"window 0": "tcp.analysis.zero_window", "window update": "tcp.analysis.window_update"}
    for packet in stall["packets"]:
        assert f"frame {packet['frame']} of {packet['capture']}" in result.output
        assert fields(out / packet["capture"], names[packet["what"]], packet["frame"]) == (
            f"{packet['time_s']:.9f}",
            "1",
        )
    # The probe that ends it is in the event log, and in the capture of the sender.
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    (probe,) = (line for line in lines if line["event"] == "window probe" and line["subflow"] == 0)
    found = ask(out / "C.eth0.pcapng", "tcp.analysis.zero_window_probe", "frame.time_epoch")
    assert found == [f"{probe['time_s']:.9f}"]


def fields(capture: Path, name: str, frame: int) -> tuple[str, str]:
    """Return the time of a frame, and what an analysis field says of it."""
    found = ask(capture, f"frame.number == {frame}", "frame.time_epoch", name)
    return found[0], found[1] if len(found) > 1 else ""


def ask(capture: Path, condition: str, *names: str) -> list[str]:
    """Return the fields of the frames of a capture for which a condition of tshark's holds."""
    command = ["tshark", "-r", str(capture), "-Y", condition, "-T", "fields"]
    for name in names:
        command += ["-e", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


# --- What Linux was measured to do ----------------------------------------------------------------


def test_a_slow_reader_behind_linux(tmp_path: Path) -> None:
    """The live measurement: 37 reads, updates and zero windows on both subflows, much sent twice."""
    summary = run(HERE / "linux" / "scenario.toml", tmp_path)
    (flow,) = summary["flows"]
    assert flow["completed_s"] == pytest.approx(11.25, rel=0.05)
    assert flow["stalls"] == []
    assert 0.1 <= flow["bytes_duplicate"] / flow["bytes_delivered"] <= 0.5
    assert flow["bytes_repeated_while_closed"] > 0.8 * flow["bytes_duplicate"]
    assert len(flow["subflows"]) == 2
    assert all(subflow["bytes_acked"] for subflow in flow["subflows"])


# --- The figure -----------------------------------------------------------------------------------


def test_a_run_can_be_recorded_and_drawn(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = str(HERE / "causes" / "window-update-lost.toml")
    result = CliRunner().invoke(app, ["run", path, "--dsn", "--no-figures", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert not (out / "dsn.png").exists()
    rows = read_segments(out)
    lost = [update for update in updates(rows) if update.lost]
    assert [(update.subflow, round(update.time_s, 3)) for update in lost] == [(0, 5.167), (1, 5.167)]
    assert sum(row.kind == PROBE for row in rows) >= 8
    result = CliRunner().invoke(app, ["plot", str(out), "--dsn", "--from", "5", "--to", "7"])
    assert result.exit_code == 0, result.output
    assert (out / "dsn-from-5s-to-7s.pdf").exists()
    first = (out / "dsn-from-5s-to-7s.png").read_bytes()
    summary = json.loads((out / "summary.json").read_text())
    draw_dsn(out, summary, 5.0, 7.0)
    assert (out / "dsn-from-5s-to-7s.png").read_bytes() == first


def test_what_was_not_recorded_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="--dsn"):
        read_segments(tmp_path)
    out = tmp_path / "out"
    path = str(HERE / "causes" / "unknown.toml")
    result = CliRunner().invoke(app, ["run", path, "--no-figures", "--out", str(out)])
    assert "run again with --dsn" in result.output
    result = CliRunner().invoke(app, ["plot", str(out), "--dsn"])
    assert result.exit_code == 2
    assert "--dsn" in result.stderr


def test_an_update_that_is_sent_twice_is_lost_once() -> None:
    told = [
        Row(time, "f", TOLD, 0, 100, size, 1, 50)
        for time, size in ((1.0, 0), (2.0, 900), (3.0, 0), (4.0, 900))
    ]
    heard = [row._replace(kind=HEARD, time_s=row.time_s + 0.1) for row in told if row.time_s != 2.0]
    assert [(update.time_s, update.lost) for update in updates([*told, *heard])] == [
        (2.0, True),
        (4.0, False),
    ]
