"""Stalls of whole scenarios: the cause that is reported, and what the counters say beside it."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mptcpsim import loads
from mptcpsim.cli import app
from mptcpsim.measure.stall_causes import ACKS_LOST, HEAD_OF_LINE, LOST, NO_SUBFLOW, TIME_OUT
from mptcpsim.measure.stall_ends import BY_ARRIVAL, BY_PROBE
from mptcpsim.results.figures_dsn import updates
from mptcpsim.results.report import stall_lines
from mptcpsim.results.segments import read_segments
from mptcpsim.results.series import SeriesRecorder, read_series
from mptcpsim.scenario.build import build
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.summarise import event_lines
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.flow import Flow
from mptcpsim.units import SECOND

#: Two hosts with two paths between them; the client sends.
TWO_PATHS = """
title = "t"
seed = 1
duration = "{duration}"
[hosts.C]
interfaces = {{ eth0 = "10.1.0.1/24", eth1 = "10.2.0.1/24" }}
rules = ["from 10.2.0.1 lookup 2"]
tables = {{ 2 = ["10.1.0.2/32 via 10.2.0.2"] }}
[hosts.S]
interfaces = {{ eth0 = "10.1.0.2/24", eth1 = "10.2.0.2/24" }}
[[links]]
name = "path0"
ends = ["C:eth0", "S:eth0"]
rate = "10Mbps"
delay = "{delay}"
[[links]]
name = "path1"
ends = ["C:eth1", "S:eth1"]
rate = "10Mbps"
delay = "{delay}"
[[flows]]
name = "bulk"
client = "C"
client_interface = "eth0"
server = "S"
server_interface = "eth0"
"""


def run(text: str, tmp_path: Path) -> dict[str, Any]:
    """Run a scenario without files and return its summary."""
    simulation = build(loads(text))
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        return measure(simulation, recorder).as_dict()


def two_paths(flow: str, *events: str, delay: str = "10ms", duration: str = "12s") -> str:
    """Return a scenario; each event is a line of an inline table."""
    text = TWO_PATHS.format(delay=delay, duration=duration) + flow
    return text + "".join("\n[[events]]\n" + event.replace("; ", "\n") for event in events)


def mptcp(profile: str) -> str:
    """Return the keys of a flow whose ends both have a profile, and two subflows."""
    return (
        f'client_mptcp = {{ profile = "{profile}", '
        'path_manager = { name = "endpoints", endpoints = "10.2.0.1 subflow" } }\n'
        f'server_mptcp = {{ profile = "{profile}" }}\n'
    )


def test_a_grown_buffer_takes_what_it_has_promised(tmp_path: Path) -> None:
    """Promises that are rounded up are bounded by the buffer as it is now, not as it was at the beginning."""
    summary = run(
        two_paths(
            mptcp("rfc8684")
            + 'bytes = "20MB"\nserver_tcp = { receive_buffer = "64KiB", receive_autotune = true }\n',
            'at = "2s"; action = "pause"; flow = "bulk"; side = "reader"',
            'at = "4s"; action = "resume"; flow = "bulk"; side = "reader"',
            duration="6s",
        ),
        tmp_path,
    )
    assert "TcpExtTCPRcvQDrop" not in summary["counters"]["S"]
    assert summary["flows"][0]["stalls"] == []


NAT = """
title = "t"
seed = 1
duration = "8s"
[hosts.C]
interfaces = { eth0 = "192.168.0.2/24", eth1 = "192.168.1.2/24" }
routes = [{ to = "0.0.0.0/0", via = "192.168.0.1" }]
rules = ["from 192.168.1.2 lookup 2"]
tables = { 2 = ["default via 192.168.1.1"] }
[routers.R]
interfaces = { lan0 = "192.168.0.1/24", lan1 = "192.168.1.1/24", wan = "10.1.0.1/24" }
[hosts.S]
interfaces = { eth0 = "10.1.0.2/24" }
[[links]]
ends = ["C:eth0", "R:lan0"]
rate = "10Mbps"
delay = "5ms"
[[links]]
ends = ["C:eth1", "R:lan1"]
rate = "10Mbps"
delay = "5ms"
[[links]]
ends = ["R:wan", "S:eth0"]
rate = "20Mbps"
delay = "5ms"
middleboxes = [
  "nat",
  { name = "drop", match = "window-update", direction = "backward", from = "5s", first = 2 },
]
[[flows]]
name = "bulk"
client = "C"
client_interface = "eth0"
server = "S"
bytes = "600kB"
server_tcp = { receive_buffer = "64KiB" }
reader = { read_size = "64KiB", pause = "5s", pause_after = "200kB" }
"""
JOINS = """
client_mptcp = { path_manager = { name = "endpoints", endpoints = "192.168.1.2 subflow" } }
mptcp = { profile = "rfc8684" }
"""


@pytest.mark.parametrize("multipath", [False, True])
def test_behind_a_nat_the_two_ends_of_a_subflow_are_found(tmp_path: Path, multipath: bool) -> None:
    """The ends know a subflow by different addresses; its updates, its packets and its throughput are its."""
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(NAT + JOINS if multipath else NAT.replace("first = 2", "first = 1"))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["run", str(scenario), "--pcap", "--no-figures", "--out", str(out)])
    assert result.exit_code == 0, result.output
    (flow,) = json.loads((out / "summary.json").read_text())["flows"]
    numbers = [0, 1] if multipath else [0]
    assert [subflow["id"] for subflow in flow["subflows"]] == numbers
    stall = flow["stalls"][-1]
    assert stall["cause"] == LOST
    lost = [packet for packet in stall["packets"] if packet["what"] == "window update, lost"]
    assert sorted(packet["subflow"] for packet in lost) == numbers
    assert all(packet["frame"] and packet["capture"] == "S.eth0.pcapng" for packet in lost)
    assert sorted(update.subflow for update in updates(read_segments(out)) if update.lost) == numbers
    series = read_series(out / "series.parquet")
    assert {one.key.subflow for one in series if one.key.metric == "throughput_bps"} == set(numbers)


# --- What is said of a long stall -----------------------------------------------------------------

WAY_BACK_DOWN = (
    'at = "{}"; action = "down"; link = "path0"; direction = "backward"',
    'at = "{}"; action = "up"; link = "path0"; direction = "backward"',
)


def test_time_outs_are_not_forgotten_when_the_way_back_is_there_again(tmp_path: Path) -> None:
    """The recovery at the end of a stall is not why it lasted 6 s."""
    down, up = WAY_BACK_DOWN[0].format("1s"), WAY_BACK_DOWN[1].format("5s")
    (flow,) = run(two_paths('bytes = "20MB"\n', down, up, delay="40ms", duration="9s"), tmp_path)["flows"]
    (stall,) = flow["stalls"]
    assert stall["cause"] == TIME_OUT
    assert "4 retransmission time-outs in a row" in stall["words"]
    assert stall["packets"][0]["time_s"] < 1


def test_lost_acks_are_no_head_of_line_blocking(tmp_path: Path) -> None:
    """All that was sent has arrived; the byte that ends the stall was never late."""
    down, up = WAY_BACK_DOWN[0].format("400ms"), WAY_BACK_DOWN[1].format("4s")
    flow = 'bytes = "20MB"\n'
    (result,) = run(two_paths(flow, down, up, delay="150ms", duration="9s"), tmp_path)["flows"]
    stall = max(result["stalls"], key=lambda one: one["end_s"] - one["start_s"])
    assert stall["cause"] == ACKS_LOST
    assert "has arrived, and no ACK of it" in stall["words"]


def test_of_probes_that_are_lost_too_the_last_one_is_named(tmp_path: Path) -> None:
    """The path is down when the reader goes on: the stall lasts until a probe crosses it again."""
    summary = run(
        two_paths(
            'bytes = "600kB"\nmptcp = { profile = "rfc8684" }\nserver_tcp = { receive_buffer = "64KiB" }\n'
            'reader = { read_size = "64KiB", pause = "5s", pause_after = "200kB" }\n',
            'at = "3s"; action = "down"; link = "path0"',
            'at = "8s"; action = "up"; link = "path0"',
            duration="15s",
        ),
        tmp_path,
    )
    (stall,) = summary["flows"][0]["stalls"]
    assert stall["cause"] == LOST
    assert stall["end_s"] > 13
    assert stall["packets"][-1]["what"] == "probe without data"
    assert 6 < stall["packets"][-1]["time_s"] < 8
    due = float(stall["words"].split(" is due on subflow 0 at ")[1].split(" s")[0])
    assert 0 < stall["end_s"] - due < 0.1


def test_a_stall_ends_when_the_connection_fails(tmp_path: Path) -> None:
    down = 'at = "1s"; action = "down"; link = "path0"'
    text = two_paths('bytes = "20MB"\ntcp = { data_retries = 3 }\n', down, duration="8s")
    simulation = build(loads(text))
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        (flow,) = measure(simulation, recorder).as_dict()["flows"]
    assert flow["error"] == "timed out: data was not acknowledged"
    (gone,) = (event.time for event in simulation.hosts["C"].stack.events if event.what == "closed")
    assert flow["stalls"][-1]["end_s"] == pytest.approx(gone / 1e9)
    assert flow["stalled_s"] == pytest.approx(gone / 1e9 - flow["stalls"][-1]["start_s"])


# --- Limits ---------------------------------------------------------------------------------------


def test_a_subflow_in_time_out_is_not_limited_by_its_congestion_window(tmp_path: Path) -> None:
    summary = run(
        two_paths(
            mptcp("rfc8684") + 'bytes = "20MB"\n',
            'at = "1s"; action = "down"; link = "path1"',
            'at = "5s"; action = "up"; link = "path1"',
            duration="6s",
        ),
        tmp_path,
    )
    first, second = (subflow["limited_s"] for subflow in summary["flows"][0]["subflows"])
    assert second["scheduler"] > 3
    assert second["cwnd"] < 2.5
    assert first["scheduler"] < 0.5


@pytest.mark.parametrize("multipath", [False, True])
def test_less_than_a_segment_is_the_application_s_limit(tmp_path: Path, multipath: bool) -> None:
    """Nagle's algorithm waits for more of it, and no scheduler has anything to do with that."""
    flow = 'app = "constant-rate"\nrate = "200kbps"\nmessage = "1000B"\n' + (
        mptcp("rfc8684") if multipath else ""
    )
    summary = run(two_paths(flow, delay="150ms", duration="6s"), tmp_path)
    for subflow in summary["flows"][0]["subflows"]:
        limits = subflow["limited_s"]
        assert limits["scheduler"] == 0
        assert limits["application"] == pytest.approx(sum(limits.values()), abs=0.3)


# --- The definition -------------------------------------------------------------------------------


def test_ordinary_loss_recovery_is_a_pause(tmp_path: Path) -> None:
    """A time-out of 200 ms: counted, with its cause, and no stall; with a threshold of 200 ms it is one."""
    down, up = 'at = "1s"; action = "down"; link = "path0"', 'at = "1300ms"; action = "up"; link = "path0"'
    text = two_paths('bytes = "2MB"\n', down, up, duration="5s")
    (flow,) = run(text, tmp_path)["flows"]
    assert (flow["stalls"], flow["stalled_s"]) == ([], 0)
    (pause,) = flow["pauses"]["first"]
    lasted = pause["end_s"] - pause["start_s"]
    assert 0.2 <= lasted < 1
    assert flow["pauses"]["count"] == 1
    assert flow["pauses"]["sum_s"] == flow["pauses"]["longest_s"] == pytest.approx(lasted)
    assert flow["pauses"]["causes"] == {pause["cause"]: {"count": 1, "sum_s": pytest.approx(lasted)}}
    told = run(text + '\n[results]\nstall_threshold = "200ms"\n', tmp_path)["flows"][0]
    (stall,) = told["stalls"]
    assert (stall["start_s"], stall["end_s"]) == (pause["start_s"], pause["end_s"])
    assert (stall["cause"], stall["ended"]["by"]) == (pause["cause"], pause["ended_by"])
    assert told["stalled_s"] == pytest.approx(lasted)
    assert told["pauses"]["count"] == 0


def test_begin_and_end_of_a_stall_are_exact(tmp_path: Path) -> None:
    """From the last delivery before the path goes down, or from a write; to the delivery that ends it."""
    down, up = 'at = "1s"; action = "down"; link = "path0"', 'at = "4s"; action = "up"; link = "path0"'
    quiet = 'app = "constant-rate"\nrate = "8kbps"\nmessage = "700B"\nbytes = "2800B"\n'
    for flow in ('bytes = "2MB"\n', quiet):
        simulation = build(loads(two_paths(flow, down, up, duration="12s")))
        seen: list[int] = []
        watched = simulation.flows[0]

        def note(env: Environment, watched: Flow, seen: list[int]) -> Generator[Any, Any, Any]:
            before = 0
            while True:
                yield env.timeout("0.1ms")
                delivered = watched.receiver.delivered if watched.receiver is not None else 0
                if delivered > before:
                    seen.append(env.now)
                    before = delivered

        simulation.env.process(note(simulation.env, watched, seen))
        with SeriesRecorder(tmp_path / "series.parquet") as recorder:
            (result,) = measure(simulation, recorder).as_dict()["flows"]
        (stall,) = result["stalls"]
        before = max(time for time in seen if time < 1.5 * SECOND)
        after = min(time for time in seen if time > before)
        assert stall["end_s"] == pytest.approx(after / SECOND, abs=1.1e-4)
        begin = before / SECOND if flow != quiet else stall["start_s"]
        assert stall["start_s"] == pytest.approx(begin, abs=1.1e-4)
        if flow == quiet:
            # A message every 0.7 s after the handshake of 20 ms: the third one is the first that is lost.
            assert stall["start_s"] == pytest.approx(0.020064 + 2 * 0.7, abs=1e-4)


# --- What is said of causes -----------------------------------------------------------------------


def test_the_story_of_a_connection_whose_paths_die_is_told_in_parts(tmp_path: Path) -> None:
    """Time-outs as long as there are subflows, then no subflow: with the instants, to the nanosecond."""
    flow = mptcp("rfc8684") + 'bytes = "20MB"\ntcp = { data_retries = 3 }\n'
    text = two_paths(
        flow,
        'at = "1s"; action = "down"; link = "path0"',
        'at = "1s"; action = "down"; link = "path1"',
        duration="20s",
    )
    simulation = build(loads(text))
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        (result,) = measure(simulation, recorder).as_dict()["flows"]
    (stall,) = result["stalls"]
    dead, ended = stall["parts"]
    assert (dead["cause"], ended["cause"]) == (TIME_OUT, NO_SUBFLOW)
    assert "3 retransmission time-outs in a row" in dead["words"]
    assert dead["words"].count("is in time-out") == 2
    closed = [event.time for event in simulation.hosts["C"].stack.events if event.what == "SF_CLOSED"]
    assert dead["end_s"] == ended["start_s"] == max(closed) / SECOND
    assert (dead["start_s"], ended["end_s"]) == (stall["start_s"], stall["end_s"])
    text = "\n".join(stall_lines({"flows": [result]}))
    assert f"{dead['start_s']:.3f} to {dead['end_s']:.3f} s: retransmission time-out." in text


LOST_ANSWERS = """
middleboxes = [
  {{ name = "drop", match = "pure-ack", direction = "backward", from = "3s", until = "{}" }},
]
"""


def slow_reader(until: str, flow: str = "", duration: str = "20s") -> str:
    """Return a scenario whose reader pauses for 3 s; what opens the window is lost up to an instant."""
    flow = flow + (
        'bytes = "600kB"\nserver_tcp = { receive_buffer = "64KiB" }\n'
        'reader = { read_size = "16KiB", pause = "3s", pause_after = "200kB" }\n'
    )
    text = two_paths(flow, duration=duration) + '[results]\nstall_threshold = "200ms"\n'
    return text.replace('delay = "10ms"\n', 'delay = "10ms"\n' + LOST_ANSWERS.format(until))


@pytest.mark.parametrize("profile", ["rfc8684", "linux-6.18"])
@pytest.mark.parametrize("until", ["3500ms", "4s"])
def test_the_probe_that_was_due_next_is_the_one_that_ended_it(
    tmp_path: Path, until: str, profile: str
) -> None:
    """What is said of the time before a probe is not said of the time after it.

    Linux sends another probe, of one byte, when the window opens: that is not the one.
    """
    (flow,) = run(slow_reader(until, mptcp(profile)), tmp_path)["flows"]
    (stall,) = flow["stalls"]
    assert stall["cause"] == LOST
    due = float(stall["words"].split(" is due on subflow ")[1].split(" at ")[1].split(" s")[0])
    assert stall["ended"]["by"] == BY_PROBE
    probe = stall["ended"]["packets"][0]
    assert probe["what"].startswith("probe")
    assert probe["time_s"] == pytest.approx(due, abs=0.001)
    assert probe["time_s"] < stall["end_s"] < probe["time_s"] + 0.2


def test_the_answer_to_a_probe_that_was_lost_is_named(tmp_path: Path) -> None:
    """It is why the stall lasts until the next probe."""
    (flow,) = run(slow_reader("4s", mptcp("rfc8684")), tmp_path)["flows"]
    (stall,) = flow["stalls"]
    what = [packet["what"] for packet in stall["packets"]]
    assert "answer to a probe, lost" in what
    assert "dropped by the middlebox drop of link path" in stall["words"]


def test_packets_of_one_nanosecond_have_frames_of_their_own(tmp_path: Path) -> None:
    """Two reads at one instant, each with an update on each subflow: one frame behind the other."""
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(slow_reader("3500ms", mptcp("rfc8684")))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["run", str(scenario), "--pcap", "--no-figures", "--out", str(out)])
    assert result.exit_code == 0, result.output
    (stall,) = json.loads((out / "summary.json").read_text())["flows"][0]["stalls"]
    lost = [packet for packet in stall["packets"] if packet["what"] == "window update, lost"]
    assert len({packet["time_s"] for packet in lost}) == 1
    for subflow in (0, 1):
        first, second = (packet["frame"] for packet in lost if packet["subflow"] == subflow)
        assert second == first + 1


def test_the_ack_of_a_retransmission_is_lost_and_no_window_is_to_blame(tmp_path: Path) -> None:
    """The last segment is lost, its copy arrives, the ACK of that is lost: only the timer goes on."""
    down, up = 'at = "{}"; action = "down"; link = "path0"', 'at = "{}"; action = "up"; link = "path0"'
    back = '; direction = "backward"'
    text = two_paths(
        'app = "constant-rate"\nrate = "16kbps"\nmessage = "1000B"\nbytes = "6kB"\n',
        (down + back).format("1s"),
        (up + back).format("3s"),
        duration="9s",
    )
    simulation = build(loads(text + '\n[results]\nstall_threshold = "200ms"\n'))
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        summary = measure(simulation, recorder)
    (flow,) = summary.as_dict()["flows"]
    assert flow["completed_s"] is not None
    causes = {stall["cause"] for stall in flow["stalls"]} | set(flow["pauses"]["causes"])
    assert causes <= {ACKS_LOST}
    happened = {line["event"] for line in event_lines(simulation, summary)}
    assert "retransmission time-out" in happened
    assert not {"window probe", "window probe answered"} & happened


def test_a_copy_of_old_data_in_front_of_a_closed_window_is_no_probe(tmp_path: Path) -> None:
    """The ACKs of what filled the buffer are lost: its copies are answered, and are not called probes."""
    text = two_paths(
        'bytes = "600kB"\nserver_tcp = { receive_buffer = "64KiB" }\n'
        'reader = { read_size = "64KiB", pause = "5s", pause_after = "200kB" }\n',
        'at = "300ms"; action = "down"; link = "path0"; direction = "backward"',
        'at = "2s"; action = "up"; link = "path0"; direction = "backward"',
        duration="15s",
    )
    simulation = build(loads(text))
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        summary = measure(simulation, recorder)
    lines = list(event_lines(simulation, summary))
    probes = [line["time_s"] for line in lines if line["event"] == "window probe"]
    answers = [line["time_s"] for line in lines if line["event"] == "window probe answered"]
    again = [line["time_s"] for line in lines if line["event"] == "retransmission time-out"]
    assert again
    assert min(again) < min(probes)
    assert len(answers) == len([probe for probe in probes if probe < max(answers)])
    assert min(answers) > min(probes)


def test_what_is_late_was_not_lost(tmp_path: Path) -> None:
    """The path becomes slow: the timer expires, and what arrives was sent before it did."""
    change = 'at = "1s"; action = "set"; link = "path0"; delay = "1500ms"; direction = "forward"'
    (flow,) = run(two_paths('bytes = "4MB"\n', change, duration="6s"), tmp_path)["flows"]
    stall = flow["stalls"][0]
    assert stall["cause"] == HEAD_OF_LINE
    assert stall["ended"]["by"] == BY_ARRIVAL
    assert stall["end_s"] - stall["start_s"] == pytest.approx(1.49, abs=0.02)
