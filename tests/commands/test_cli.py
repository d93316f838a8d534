"""The command line, from the outside: what it writes, prints and returns."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import mptcpsim.scenario.run as run_module
from mptcpsim.cli import app
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.commands import progress as progress_module
from mptcpsim.core.errors import IntegrityError
from mptcpsim.results import terminal
from mptcpsim.results.figures_dsn import draw_flow
from mptcpsim.results.segments import read_segments
from mptcpsim.results.series import Series, read_series
from mptcpsim.scenario.build import build
from mptcpsim.sweep.metrics import metrics
from mptcpsim.units import SECOND
from tests.paths import EXPERIMENTS

SEED_SCENARIO = EXPERIMENTS / "seed" / "single-subflow" / "tcp.toml"

SCENARIO = """\
title = "A short transfer"
duration = "3s"
[hosts.A]
interfaces = { A1 = "192.168.0.10/24" }
[hosts.B]
interfaces = { B1 = "192.168.0.20/24" }
[switches.S]
[[links]]
name = "a"
ends = ["A:A1", "S"]
rate = "10Mbps"
delay = "5ms"
[[links]]
name = "b"
ends = ["S", "B:B1"]
rate = "5Mbps"
queue = 20
[[flows]]
name = "bulk"
client = "A"
server = "B"
bytes = "500kB"
"""

FILES = [
    *("cwnd.pdf", "cwnd.png", "events.jsonl", "meta.json", "queue.pdf", "queue.png", "rtt.pdf", "rtt.png"),
    *("scenario.toml", "series.parquet", "summary.json", "throughput.pdf", "throughput.png"),
]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "short.toml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file


def mptcpsim(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(scenario: Path, out: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    result = mptcpsim("run", scenario, "--out", out, "--no-figures", *arguments)
    assert result.exit_code == status, result.output
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return summary


class TestRun:
    def test_the_directory_is_complete(self, scenario: Path, tmp_path: Path) -> None:
        assert mptcpsim("run", scenario, "--out", tmp_path / "out").exit_code == 0
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "short.toml"]

    def test_the_summary(self, scenario: Path, tmp_path: Path) -> None:
        summary = run(scenario, tmp_path / "out")
        assert (summary["scenario"], summary["seed"], summary["duration_s"]) == ("A short transfer", 1, 3.0)
        (flow,) = summary["flows"]
        assert flow["bytes_written"] == flow["bytes_delivered"] == 500_000
        assert flow["integrity"] == "ok"
        assert 0.8 < flow["completed_s"] < 3.0
        assert flow["goodput_bps"] == pytest.approx(500_000 * 8 / flow["completed_s"])
        (subflow,) = flow["subflows"]
        assert subflow["local"].startswith("192.168.0.10:")
        assert subflow["remote"] == "192.168.0.20:5001"
        assert subflow["bytes_acked"] == 500_000
        assert subflow["bytes_sent"] - subflow["bytes_retransmitted"] == 500_000
        assert summary["counters"]["A"]["TcpActiveOpens"] == 1
        assert summary["counters"]["B"]["TcpPassiveOpens"] == 1
        link = summary["links"]["b"]
        assert link["forward"]["packets"] + link["backward"]["packets"] == link["packets"]
        assert link["utilisation"] == link["forward"]["utilisation"] > 0.2

    def test_tables_and_the_place_are_printed(self, scenario: Path, tmp_path: Path) -> None:
        result = mptcpsim("run", scenario, "--out", tmp_path / "out", "--no-figures")
        assert "bulk" in result.stdout
        assert "500 kB" in result.stdout
        assert "utilisation" in result.stdout
        assert f"Results: {tmp_path / 'out'}" in result.stdout
        assert result.stderr == ""

    def test_names_are_printed_as_they_are(self, scenario: Path, tmp_path: Path) -> None:
        name = "[/x] [red]:smile:"
        text = scenario.read_text(encoding="utf-8").replace('name = "bulk"', f'name = "{name}"')
        text = text.replace('name = "a"', 'name = "[/a]"').replace("[hosts.A]", '[hosts."[red]A"]')
        scenario.write_text(text.replace('"A:A1"', '"[red]A:A1"').replace('= "A"', '= "[red]A"'), "utf-8")
        result = mptcpsim("run", scenario, "--out", tmp_path / "[/out]", "--no-figures")
        assert (result.exit_code, result.exception) == (0, None)
        for word in (name, "[/a]", "[red]A -> B", "Results:", "[/out]"):
            assert word in result.stdout

    def test_what_takes_no_time_has_no_goodput(self, scenario: Path, tmp_path: Path) -> None:
        at_once = ["--set", "links.a.rate=0", "--set", "links.b.rate=0", "--set", "links.a.delay=0"]
        few = [*at_once, "--set", "flows.0.bytes=5kB"]
        summary = run(scenario, tmp_path / "out", *few)
        (flow,) = summary["flows"]
        assert (flow["bytes_delivered"], flow["completed_s"], flow["goodput_bps"]) == (5000, 0.0, None)
        assert flow["subflows"][0]["goodput_bps"] is None
        assert metrics(summary, {})["goodput_bps"] is None
        again = mptcpsim("run", scenario, "--out", tmp_path / "again", "--no-figures", *few)
        (row,) = [line.split() for line in again.stdout.splitlines() if line.split()[:1] == ["bulk"]]
        assert row[4:9] == ["5", "kB", "-", "0.000", "s"]
        summary = run(
            scenario,
            tmp_path / "none",
            *at_once,
            "--set",
            "flows.0.start=2s",
            "--set",
            "flows.0.listen=never",
            status=1,
        )
        assert summary["flows"][0]["goodput_bps"] == 0.0

    def test_figures_of_segments_of_flows_with_any_name(self, scenario: Path, tmp_path: Path) -> None:
        name = "../" + "x" * 300
        ends = 'client="A", server="B", bytes="9kB"'
        other = f'[{{{ends}}}, {{name="{name}", port=2, {ends}}}]'
        result = mptcpsim("run", scenario, "--out", tmp_path / "out", "--dsn", "--set", f"flows={other}")
        assert (result.exit_code, result.exception) == (0, None)
        assert {path.name for path in (tmp_path / "out").glob("dsn*.png")} == {"dsn-flow0.png", "dsn-1.png"}

    @pytest.mark.parametrize(("mptcp", "name"), [("", "ACK"), ("rfc8684", "DATA_ACK")])
    def test_plain_tcp_has_acks_and_no_data_acks(
        self, mptcp: str, name: str, scenario: Path, tmp_path: Path
    ) -> None:
        more = ["--set", f"defaults.mptcp={mptcp}"] if mptcp else []
        (flow,) = run(scenario, tmp_path / "out", "--dsn", *more)["flows"]
        figure = draw_flow(read_segments(tmp_path / "out"), flow, 0.0, 1.0)
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [label for label in labels if "ACK" in label] == [name]
        assert figure.axes[0].get_ylabel().startswith("Data" if mptcp else "Sequence")

    def test_a_dollar_in_a_name_is_no_mathematics(self, scenario: Path, tmp_path: Path) -> None:
        name = r"$\bad{$"
        sets = [
            word for key in ("title", "links.a.name", "flows.0.name") for word in ("--set", f"{key}='{name}'")
        ]
        result = mptcpsim("run", scenario, "--out", tmp_path / "out", "--dsn", *sets)
        assert (result.exit_code, result.exception) == (0, None)
        assert mptcpsim("plot", "--topology", tmp_path / "out").exit_code == 0

    def test_the_resolved_scenario_gives_the_same_run(self, scenario: Path, tmp_path: Path) -> None:
        first = run(scenario, tmp_path / "one", "--set", "links.b.loss=0.01", "--seed", "5")
        again = run(tmp_path / "one" / "scenario.toml", tmp_path / "two")
        assert first == again
        assert first["seed"] == 5
        assert first["links"]["b"]["drops"]["loss"] > 0

    def test_meta(self, scenario: Path, tmp_path: Path) -> None:
        run(scenario, tmp_path / "out", "--seed", "7", "--roundtrip")
        meta = json.loads((tmp_path / "out" / "meta.json").read_text(encoding="utf-8"))
        assert meta["seed"] == 7
        assert meta["options"] == {"pcap": False, "roundtrip": True}
        assert meta["events"] > 1000
        assert meta["wall_s"] > 0
        assert meta["cpu_s"] > 0
        assert meta["core"].split()[0] == ("compiled" if meta["compiled"] else "interpreted")
        assert f"(core: {meta['core']})" in mptcpsim("--version").stdout

    def test_events_are_json_lines_in_order(self, scenario: Path, tmp_path: Path) -> None:
        run(scenario, tmp_path / "out", "--set", 'events=[{at="1s", link="b", action="set", rate="1Mbps"}]')
        text = (tmp_path / "out" / "events.jsonl").read_text(encoding="utf-8")
        events = [json.loads(line) for line in text.splitlines()]
        assert [event["time_s"] for event in events] == sorted(event["time_s"] for event in events)
        assert {"time_s": 1.0, "link": "b", "event": "set", "rate": "1Mbps", "direction": "both"} in events
        assert any(event.get("connection") == "bulk" and event["host"] == "A" for event in events)

    def test_captures(self, scenario: Path, tmp_path: Path) -> None:
        summary = run(scenario, tmp_path / "out", "--pcap", "--set", 'output.capture=["B:B1"]')
        assert [path.name for path in (tmp_path / "out").glob("*.pcapng")] == ["B.B1.pcapng"]
        packets = list(read_capture(tmp_path / "out" / "B.B1.pcapng"))
        assert len(packets) == summary["links"]["b"]["packets"]

    def test_every_host_is_captured_unless_told_otherwise(self, scenario: Path, tmp_path: Path) -> None:
        run(scenario, tmp_path / "out", "--pcap")
        names = sorted(path.name for path in (tmp_path / "out").glob("*.pcapng"))
        assert names == ["A.A1.pcapng", "B.B1.pcapng"]

    def test_without_a_directory_a_new_one_is_made(
        self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            assert mptcpsim("run", scenario, "--no-figures").exit_code == 0
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["short", "short-2"]

    def test_force_replaces(self, scenario: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        run(scenario, out)
        (out / "old").touch()
        assert mptcpsim("run", scenario, "--out", out).exit_code == 2
        run(scenario, out, "--force")
        assert not (out / "old").exists()

    def test_force_leaves_what_is_no_run(self, scenario: Path, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.tex").touch()
        result = mptcpsim("run", scenario, "--out", tmp_path / "home", "--force")
        assert result.exit_code == 2
        assert "was not written by a run" in result.stderr
        assert (tmp_path / "home" / "thesis.tex").exists()

    def test_a_link_that_stays_down_is_a_stall(self, scenario: Path, tmp_path: Path) -> None:
        change = 'events=[{at="100ms", link="b", action="down"}]'
        summary = run(scenario, tmp_path / "out", "--set", change)
        (flow,) = summary["flows"]
        assert flow["completed_s"] is None
        assert flow["bytes_delivered"] < 500_000
        (stall,) = flow["stalls"]
        assert stall["cause"] == "retransmission time-out"
        assert "time-outs in a row" in stall["words"]
        assert stall["end_s"] == 3.0


ENDS = "name='bulk', client='A', server='B'"
ON_OFF = "app='on-off', rate='2Mbps', on='50ms', off='50ms', random=true, duration='1s'"

APPLICATIONS = {
    "bulk": "flows.bulk.start=500ms",
    "duration": f"flows=[{{{ENDS}, duration='1s', tcp.send_buffer='64KiB'}}]",
    "reverse": "flows.bulk.reverse=true",
    "reader": "flows.bulk.reader={read_size='20kB', every='10ms'}",
    "constant rate": f"flows=[{{{ENDS}, app='constant-rate', rate='1Mbps', duration='1s'}}]",
    "on-off": f"flows=[{{{ENDS}, {ON_OFF}}}]",
    "requests": f"flows=[{{{ENDS}, app='request-response', every='100ms', count=10}}]",
    "ipv6": "hosts={A={interfaces={A1='fd00::1/64'}}, B={interfaces={B1='fd00::2/64'}}}",
    "ecn and red": "links.b.qdisc={name='red', min_th=3.0, max_th=9.0, ecn=true}",
}


@pytest.mark.parametrize("change", APPLICATIONS.values(), ids=APPLICATIONS)
def test_applications_complete(change: str, scenario: Path, tmp_path: Path) -> None:
    (flow,) = run(scenario, tmp_path / "out", "--set", change)["flows"]
    assert flow["error"] is None
    assert flow["completed_s"] is not None
    assert flow["bytes_delivered"] == flow["bytes_written"] > 0
    if "request-response" in change:
        assert flow["bytes_delivered"] == 10 * 10_000
        assert flow["latency_ms"]["requests"] == 10
        assert flow["latency_ms"]["median"] > 10.0
    if "constant-rate" in change:
        assert flow["bytes_delivered"] == 125_000


class TestIdentity:
    """Equal results: seed, hash seed, progress, encoding at every hop, event-by-event pipes."""

    CHANGES = (
        *(
            "--set",
            "links.b.loss=0.005",
            "--set",
            "links.a.corrupt=0.005",
            "--set",
            "links.b.duplicate=0.005",
        ),
        *("--set", "duration=3s", "--set", "defaults.tcp.ecn=true"),
    )

    def results(self, out: Path) -> tuple[bytes, bytes, bytes]:
        summary, series, events = ("summary.json", "series.parquet", "events.jsonl")
        return (out / summary).read_bytes(), (out / series).read_bytes(), (out / events).read_bytes()

    def test_encoding_changes_nothing(self, scenario: Path, tmp_path: Path) -> None:
        run(scenario, tmp_path / "plain", *self.CHANGES)
        run(scenario, tmp_path / "encoded", *self.CHANGES, "--roundtrip")
        assert self.results(tmp_path / "plain") == self.results(tmp_path / "encoded")

    def test_a_capture_changes_nothing(self, scenario: Path, tmp_path: Path) -> None:
        run(scenario, tmp_path / "plain", *self.CHANGES)
        run(scenario, tmp_path / "captured", *self.CHANGES, "--pcap")
        assert self.results(tmp_path / "plain") == self.results(tmp_path / "captured")

    def test_the_seed_decides(self, scenario: Path, tmp_path: Path) -> None:
        for name, seed in (("one", "1"), ("same", "1"), ("other", "2")):
            run(scenario, tmp_path / name, *self.CHANGES, "--seed", seed)
        assert self.results(tmp_path / "one") == self.results(tmp_path / "same")
        assert self.results(tmp_path / "one")[1] != self.results(tmp_path / "other")[1]

    def test_the_hash_seed_does_not(self, scenario: Path, tmp_path: Path) -> None:
        for seed in ("0", "4711"):
            command = [sys.executable, "-m", "mptcpsim", "run", str(scenario), "--out", str(tmp_path / seed)]
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            command += ["--no-figures", *self.CHANGES]
            subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
        assert self.results(tmp_path / "0") == self.results(tmp_path / "4711")

    def test_the_sources_alone_give_the_same_run(self, scenario: Path, tmp_path: Path) -> None:
        """Compiled modules, where there are some, do exactly what their sources do."""
        run(scenario, tmp_path / "here", *self.CHANGES)
        package = Path(run_module.__file__).parents[1]
        for source in package.rglob("*.py"):
            target = tmp_path / "sources" / "mptcpsim" / source.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        arguments = ["run", str(scenario), "--out", str(tmp_path / "there"), "--no-figures", *self.CHANGES]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "sources")}
        command = [sys.executable, "-m", "mptcpsim", *arguments]
        subprocess.run(
            command, check=True, capture_output=True, env=environment, cwd=tmp_path / "sources", timeout=120
        )
        meta = json.loads((tmp_path / "there" / "meta.json").read_text(encoding="utf-8"))
        assert (meta["compiled"], meta["core"]) == (False, "interpreted")
        assert self.results(tmp_path / "here") == self.results(tmp_path / "there")


class TestSeries:
    @pytest.fixture
    def series(self, scenario: Path, tmp_path: Path) -> dict[tuple[Any, ...], Series]:
        run(scenario, tmp_path / "out", "--set", 'output.sample_interval="50ms"')
        return {tuple(one.key): one for one in read_series(tmp_path / "out" / "series.parquet")}

    def test_throughput_adds_up_to_what_was_sent(self, series: dict[tuple[Any, ...], Series]) -> None:
        throughput = series["B", "bulk", 0, "throughput_bps"]
        assert throughput.values.sum() * 0.05 / 8 == pytest.approx(500_000)
        assert throughput.values.max() <= 5e6
        assert series["B", "bulk", None, "bytes_delivered"].values[-1] == 500_000

    def test_samples_are_equidistant_and_include_the_end(self, series: dict[tuple[Any, ...], Series]) -> None:
        times = series["b forward", None, None, "queue_packets"].times
        assert times == pytest.approx([0.05 * n for n in range(1, 61)])

    def test_a_queue_stays_below_its_limit(self, series: dict[tuple[Any, ...], Series]) -> None:
        packets = series["b forward", None, None, "queue_packets"].values
        size = series["b forward", None, None, "queue_bytes"].values
        assert 10 < packets.max() <= 20
        assert 10 * 1500 < size.max() <= 20 * 1500

    def test_the_window_falls_to_the_threshold(self, series: dict[tuple[Any, ...], Series]) -> None:
        window = series["A", "bulk", 0, "cwnd_bytes"]
        threshold = series["A", "bulk", 0, "ssthresh_bytes"]
        assert len(threshold.times) < len(window.times)
        assert threshold.values.max() < window.values.max()
        assert series["A", "bulk", 0, "srtt_ms"].values.min() > 10.0


class TestSeedScenario:
    def test_goodput_is_within_one_percent_of_the_formula(self, tmp_path: Path) -> None:
        (flow,) = run(SEED_SCENARIO, tmp_path / "out")["flows"]
        payload = 1500 - 20 - 20 - 12
        formula = 10e6 * payload / (1500 + 14)
        expected = json.loads((SEED_SCENARIO.parent / "expected.json").read_text())["tcp.toml"]["goodput_bps"]
        assert expected["value"] == pytest.approx(formula)
        assert flow["goodput_bps"] == pytest.approx(formula, rel=expected["tolerance"])

    @pytest.mark.tool("tshark")
    def test_tshark_finds_nothing_wrong_with_the_capture(self, tmp_path: Path) -> None:
        summary = run(SEED_SCENARIO, tmp_path / "out", "--pcap", "--set", "flows.iperf.duration=1s")
        command = [
            "tshark",
            "-r",
            str(tmp_path / "out" / "A.A1.pcapng"),
            "-T",
            "fields",
            "-e",
            "frame.number",
        ]
        command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
        bad = "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0"
        every = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        wrong = subprocess.run([*command, "-Y", bad], check=True, capture_output=True, text=True, timeout=120)
        seen = len(every.stdout.splitlines())
        drops = sum(summary["links"]["A-switch"]["forward"]["drops"].values())
        assert seen == summary["links"]["A-switch"]["packets"] + drops
        assert wrong.stdout == ""


class TestFailures:
    def test_the_event_budget_gives_status_3(
        self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = build

        def build_with_livelock(*args: Any, **kwargs: Any) -> Any:
            simulation = original(*args, **kwargs)
            loop = simulation.env.loop
            loop.budget = 100

            def spin() -> None:
                loop.schedule(loop.now, spin)

            loop.schedule(10**9, spin)
            return simulation

        monkeypatch.setattr(run_module, "build", build_with_livelock)
        result = mptcpsim("run", scenario, "--out", tmp_path / "out")
        assert result.exit_code == 3
        assert "makes no progress in time" in result.stderr
        assert "spin" in result.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["short.toml"]

    def test_wrong_bytes_give_status_4(
        self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = build

        def build_with_damage(*args: Any, **kwargs: Any) -> Any:
            simulation = original(*args, **kwargs)

            def damage() -> None:
                raise IntegrityError("byte 7 is not the next one")

            simulation.env.call_at(10**9, damage)
            return simulation

        monkeypatch.setattr(run_module, "build", build_with_damage)
        result = mptcpsim("run", scenario, "--out", tmp_path / "out")
        assert result.exit_code == 4
        assert "byte 7 is not the next one" in result.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["short.toml"]

    def test_a_byte_flipped_behind_a_right_checksum_is_noticed(
        self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mptcpsim.codec.roundtrip import Recoder, flip_byte
        from mptcpsim.streams import stream

        original = build
        flipped: list[Any] = []

        def tamper(data: bytes) -> bytes:
            if len(data) == 1500 and not flipped:
                flipped.append(data)
                return flip_byte(data, 1000)
            return data

        def build_with_middlebox(*args: Any, **kwargs: Any) -> Any:
            simulation = original(*args, **kwargs)
            interface = simulation.topology.links["b"].b
            interface.recode = Recoder(simulation.owner, stream(1, "middlebox"), tamper)
            return simulation

        monkeypatch.setattr(run_module, "build", build_with_middlebox)
        result = mptcpsim("run", scenario, "--out", tmp_path / "out")
        assert flipped
        assert result.exit_code == 4
        assert "the bytes delivered are not those sent" in result.stderr

    def test_an_interrupt_leaves_nothing(
        self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(run_module, "build", interrupted)
        result = mptcpsim("run", scenario, "--out", tmp_path / "out")
        assert result.exit_code == 130
        assert sorted(path.name for path in tmp_path.iterdir()) == ["short.toml"]


class TestProgress:
    @pytest.mark.parametrize(("after_s", "shown"), [(0.0, True), (1e9, False)])
    def test_a_long_run_shows_how_far_it_is(
        self, after_s: float, shown: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = io.StringIO()
        monkeypatch.setattr(progress_module, "PROGRESS_AFTER_S", after_s)
        monkeypatch.setattr(
            terminal, "Terminal", lambda **_: Console(file=screen, force_terminal=True, width=80)
        )
        with progress_module.Progress("building", 10 * SECOND) as progress:
            for second in range(10):
                progress(second * SECOND)
        assert ("9.0 of 10.0 s simulated" in screen.getvalue()) is shown

    def test_what_is_no_simulation_says_what_it_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress_module, "PROGRESS_AFTER_S", 0.0)
        progress = progress_module.Progress("building", SECOND)
        assert progress.shown() == "building..."
        progress(SECOND // 2)
        progress.begin("drawing")
        assert progress.shown() == "drawing..."

    def test_a_pipe_gets_none(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(progress_module, "PROGRESS_AFTER_S", 0.0)
        with progress_module.Progress("building", SECOND) as progress:
            progress(SECOND // 2)
        assert capsys.readouterr() == ("", "")


class TestPlot:
    def test_figures_are_drawn_again_from_the_series(self, scenario: Path, tmp_path: Path) -> None:
        assert mptcpsim("run", scenario, "--out", tmp_path / "out").exit_code == 0
        pictures = {
            p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.suffix in (".png", ".pdf")
        }
        for name in pictures:
            (tmp_path / "out" / name).unlink()
        result = mptcpsim("plot", tmp_path / "out")
        assert result.exit_code == 0
        assert str(tmp_path / "out" / "throughput.png") in result.stdout
        assert {name: (tmp_path / "out" / name).read_bytes() for name in pictures} == pictures

    @pytest.mark.parametrize("name", ["nothing", "file", "empty"])
    def test_what_is_no_run_is_refused(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "empty").mkdir()
        result = mptcpsim("plot", tmp_path / name)
        assert result.exit_code == 2
        assert "`mptcpsim run` wrote" in result.stderr


class TestList:
    def test_every_plugin_is_shown_with_its_parameters(self) -> None:
        from mptcpsim.plugins import families

        result = mptcpsim("list")
        assert result.exit_code == 0
        for family, plugins in families().items():
            assert family in result.stdout
            for name, plugin in plugins.items():
                assert name in result.stdout
                for parameter in plugin.PARAMETERS:
                    assert parameter.name in result.stdout

    def test_one_family(self) -> None:
        result = mptcpsim("list", "congestion")
        assert "cubic" in result.stdout
        assert "droptail" not in result.stdout

    def test_an_unknown_family_is_explained(self) -> None:
        result = mptcpsim("list", "congestoin")
        assert result.exit_code == 2
        assert "did you mean 'congestion'?" in result.stderr


class TestHelp:
    @pytest.mark.parametrize("command", ["run", "plot", "list"])
    def test_each_command_has_an_example(self, command: str) -> None:
        result = mptcpsim(command, "--help")
        assert result.exit_code == 0
        assert f"Example: mptcpsim {command}" in result.stdout

    def test_version(self) -> None:
        assert mptcpsim("--version").stdout.startswith("mptcpsim 0.")

    def test_heavy_modules_are_imported_late(self) -> None:
        code = "import sys, mptcpsim.cli; print({'matplotlib', 'pyarrow', 'numpy', 'simpy'} & {*sys.modules})"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == "set()"


def test_the_demo_is_a_scenario_that_loads() -> None:
    from mptcpsim.scenario.load import load

    assert len(load(EXPERIMENTS / "demo" / "scenario.toml").flows) == 2
