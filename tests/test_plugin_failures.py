"""What a user's plug-in does wrong at run time: one message, the same interpreted and compiled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

import mptcpsim.scenario.hook_watch as hook_watch_module
from mptcpsim import PluginFailure, ScenarioError, build, load
from mptcpsim.cli import app
from mptcpsim.plugins import PluginError, find
from mptcpsim.sweep.identity import PluginFile
from mptcpsim.sweep.worker import FAILED, Task, carry_out, pack

IMPORTS = """\
from mptcpsim import *
from mptcpsim.congestion.reno import Reno
from mptcpsim.plugins import FlowQueue, QueueScheduler
"""

#: The beginning of a class for each kind of plug-in, which works as it is.
CLASSES = {
    "congestion": "class Mine(Reno):",
    "own-congestion": "class Mine(CongestionControl):",
    "qdisc": "class Mine(QueueDiscipline):",
    "late-qdisc": "class Mine(QueueDiscipline):\n    AT_DEPARTURE = True",
    "queues": "class Mine(QueueScheduler):",
    "scheduler": "class Mine(Scheduler):",
    "pathmanager": "class Mine(PathManager):",
    "middlebox": "class Mine(Middlebox):",
}

#: Where a scenario names it.
KEYS = {
    "congestion": 'defaults.tcp.congestion = "mine"',
    "own-congestion": 'defaults.tcp.congestion = "mine"',
    "qdisc": 'link.qdisc = "mine"',
    "late-qdisc": 'link.qdisc = "mine"',
    "queues": 'link.qdisc = "mine"',
    "scheduler": 'defaults.mptcp = { profile = "rfc8684", scheduler = "mine", path_manager = "ndiffports" }',
    "pathmanager": 'defaults.mptcp = { profile = "rfc8684", path_manager = "mine" }',
    "middlebox": 'link.middleboxes = ["mine"]',
}

FAMILIES = {"own-congestion": "congestion", "late-qdisc": "qdisc", "queues": "qdisc"}

SCENARIO = """\
title = "A plug-in that fails"
duration = "1s"
plugins = ["mine.py"]
{key}
[hosts.a]
interfaces = {{ e = ["10.0.0.1/24", "10.0.0.3/24"] }}
[hosts.b]
interfaces = {{ e = "10.0.0.2/24" }}
[[links]]
ends = ["a:e", "b:e"]
rate = "5Mbps"
delay = "5ms"
{link}
[[flows]]
client = "a"
server = "b"
"""


class Case(NamedTuple):
    """Methods of a plug-in, the marked line of which is to blame, and what is said of it."""

    kind: str
    body: str
    says: str


HERE = "  # here"

CASES = [
    # --- Congestion control
    Case("congestion", f"def on_ack(self, acked, now, srtt, in_flight):{HERE}\n    self.cwnd = -5",
         "on_ack sets cwnd to -5; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def on_ack(self, acked, now, srtt, in_flight):\n    self.cwnd += 0.5{HERE}",
         "on_ack sets cwnd to 14480.5; allowed is a whole number of bytes (int)"),
    Case("congestion", f"def on_ack(self, *args):\n    self.cwnd = None{HERE}",
         "on_ack sets cwnd to None; allowed is a whole number of bytes (int)"),
    Case("congestion", f"def on_ack(self, *args):\n    self.cwnd = True{HERE}",
         "on_ack sets cwnd to True; allowed is a whole number of bytes (int)"),
    Case("congestion", f"def on_ack(self, *args):{HERE}\n    self.cwnd = 10**30",
         f"on_ack sets cwnd to {10**30}; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def on_ack(self, *args):{HERE}\n    self.ssthresh = 0",
         "on_ack sets ssthresh to 0; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def on_ack(self, *args):\n    1 / 0{HERE}",
         "on_ack raised ZeroDivisionError: division by zero"),
    Case("congestion", f"def on_ack(self, *args):\n    self.f()\ndef f(self):\n    raise KeyError{HERE}",
         "on_ack raised KeyError"),
    Case("congestion", f"def on_ack(self, *args):\n    exit(3){HERE}", "on_ack raised SystemExit: 3"),
    Case("congestion", f"def on_ack(self, acked):{HERE}\n    pass", "on_ack raised TypeError: "),
    Case("congestion", f"def on_ack(self, *args):{HERE}\n    return 3", "on_ack returned 3; allowed is None"),
    Case("congestion", f"def on_ack(self, *args):{HERE}\n    yield 3", "(generator); allowed is None"),
    Case("congestion", f"def on_ack(self, *args):\n    raise GeneratorExit{HERE}",
         "on_ack raised GeneratorExit"),
    Case("congestion", f"def ssthresh_after_loss(self, in_flight, now):{HERE}\n    return in_flight / 2",
         "; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def ssthresh_after_loss(self, in_flight, now):{HERE}\n    return None",
         "ssthresh_after_loss returned None; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def ssthresh_after_loss(self, in_flight, now):{HERE}\n    return 100",
         "ssthresh_after_loss returned 100; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def start(self, *args):{HERE}\n    pass", "start leaves mss at 0; allowed is"),
    Case("congestion", f"def start(self, *args):{HERE}\n    super().start(*args)\n    self.cwnd = 1",
         "start sets cwnd to 1; allowed is a whole number of bytes, at least a segment (1448)"),
    Case("congestion", f"def __init__(self):{HERE}\n    pass", "__init__ does not call super().__init__()"),
    Case("own-congestion", f"def ssthresh_after_loss(self, *args):{HERE}\n    return 3000",
         "on_ack is not there: define it"),
    # --- Queues
    Case("qdisc", f"def on_arrival(self, *args):{HERE}\n    return 7",
         "on_arrival returned 7; allowed is PASS, DROP or MARK"),
    Case("qdisc", f"def on_arrival(self, *args):{HERE}\n    return None",
         "on_arrival returned None; allowed is PASS, DROP or MARK"),
    Case("qdisc", f"def on_arrival(self, *args):{HERE}\n    return True",
         "on_arrival returned True; allowed is PASS, DROP or MARK"),
    Case("late-qdisc", f"def on_departure(self, *args):{HERE}\n    return 'drop'",
         "on_departure returned 'drop'; allowed is PASS, DROP or MARK"),
    Case("qdisc", f"def start(self, rng, rate_bps, byte_mode):\n    self.limit = 0.5{HERE}",
         "start sets limit to 0.5; allowed is a whole number of slots or bytes (int)"),
    Case("qdisc", f"def on_arrival(self, size, *args):\n    return [][size]{HERE}",
         "on_arrival raised IndexError: list index out of range"),
    Case("queues", f"def arrived(self, *args): pass\ndef select(self, now):{HERE}\n    return None",
         "select selected no queue of a:e--b:e:a>b while 1 packets wait; allowed is"),
    Case("queues", f"def arrived(self, *args): pass\ndef select(self, now):{HERE}\n    return FlowQueue()",
         "select selected no queue of a:e--b:e:a>b while 1 packets wait; allowed is"),
    Case("queues", f"def arrived(self, *args): pass\ndef select(self, now):{HERE}\n    return 1",
         "select returned 1; allowed is a queue that holds packets, or None if all are empty"),
    Case("queues", f"def select(self, now):{HERE}\n    return None", "arrived is not there: define it"),
    Case("queues", f"def discipline(self):{HERE}\n    return 'red'",
         "discipline returned 'red'; allowed is a QueueDiscipline, or None"),
    # --- MPTCP
    Case("scheduler", f"def choose(self, available, now):{HERE}\n    return 0",
         "choose returned 0; allowed is one of the paths of `available`, or None"),
    Case("scheduler", f"def choose(self, available, now):{HERE}\n    return Path()",
         "(Path); allowed is one of the paths of `available`, or None"),
    Case("scheduler", f"def choose(self, available, now):{HERE}\n    return available",
         "; allowed is one of the paths of `available`, or None"),
    Case("scheduler", f"def choose(self, available, now):\n    return available[5]{HERE}",
         "choose raised IndexError: list index out of range"),
    Case("scheduler", f"def other(self): pass{HERE}", "choose is not there: define it"),
    Case("pathmanager", f"def on_established(self, view):{HERE}\n    return None",
         "on_established returned None; allowed is a list of actions"),
    Case("pathmanager", f"def on_established(self, view):{HERE}\n    return ['join']",
         "and in it 'join' is none: write OpenSubflow, Announce, Withdraw or SetBackup"),
    Case("pathmanager",
         f"def on_established(self, view):{HERE}\n    return [OpenSubflow('10.0.0.1', 'b', 5001)]",
         "is none: local and remote have to be addresses of one IP version"),
    Case("pathmanager",
         f"def on_established(self, view):{HERE}\n    return [OpenSubflow('10.0.0.1', '10.0.0.2', 0)]",
         "is none: port has to be from 1 to 65535, local_port from 0 to 65535"),
    Case("pathmanager", f"def on_established(self, view):{HERE}\n    return [Announce(3)]",
         "is none: address has to be an IP address"),
    Case("pathmanager", f"def on_established(self, view):{HERE}\n    return [SetBackup('0', True)]",
         "is none: subflow has to be the number of one, backup True or False"),
    Case("pathmanager", f"def identifier_for(self, local):{HERE}\n    return 256\n"
         "def on_established(self, view):\n    return [Announce('10.0.0.3')] if view.is_client else []",
         "identifier_for returned 256; allowed is a whole number from 0 to 255"),
    Case("pathmanager", f"def may_join(self, view):{HERE}\n    return 1\ndef on_established(self, view):\n"
         "    return [OpenSubflow('10.0.0.1', '10.0.0.2', 5001)] if view.is_client else []",
         "may_join returned 1; allowed is True or False"),
    Case("pathmanager", f"def on_established(self, view):\n    return view.nothing{HERE}",
         "on_established raised AttributeError: "),
    # --- Middleboxes
    Case("middlebox", f"def on_packet(self, packet, forward, now):{HERE}\n    return True",
         "on_packet returned True; allowed is a packet (this one or a changed clone), None, or HELD"),
    Case("middlebox", f"def on_packet(self, packet, forward, now):\n    return packet.nothing(){HERE}",
         "on_packet raised AttributeError: "),
    Case("middlebox", f"def on_packet(self, p, forward, now):\n    self.send_at(-1, p, forward){HERE}",
         "on_packet calls send_at with at = -1; allowed is a whole number of ns, not before now (5"),
    Case("middlebox", f"def on_packet(self, p, forward, now):\n    self.send_at(now + 0.5, p, forward){HERE}",
         "on_packet calls send_at with at = 5"),
    Case("middlebox", f"def on_packet(self, p, forward, now):\n    self.send('packet', forward){HERE}",
         "on_packet calls send with packet = 'packet'; allowed is a packet"),
    Case("middlebox", f"def on_packet(self, p, forward, now):\n    self.send(p, 'forward'){HERE}",
         "on_packet calls send with forward = 'forward'; allowed is True or False"),
    Case("middlebox", f"def on_packet(self, packet, forward, now):\n    self.call_at(now, None){HERE}",
         "on_packet calls call_at with callback = None; allowed is a function"),
    Case("middlebox", "def on_packet(self, packet, forward, now):\n    self.call_at(now, self.later)\n"
         f"def later(self):\n    1 / 0{HERE}",
         "later raised ZeroDivisionError: division by zero"),
    Case("middlebox", f"def start(self):\n    self.counts['x'] += 1{HERE}", "start raised AttributeError: "),
    Case("middlebox", f"def __init__(self):{HERE}\n    pass", "__init__ does not call super().__init__()"),
]  # fmt: skip


def write(directory: Path, kind: str, body: str, name: str = "mine") -> tuple[Path, int]:
    """Write plug-in and scenario; return the scenario's file and the number of the marked line."""
    lines = [IMPORTS, "@register", CLASSES[kind], f'    NAME = "{name}"', "    SUMMARY = 'fails'"]
    lines += [f"    {line}" for line in body.splitlines()]
    text = "\n".join(lines) + "\n"
    (directory / "mine.py").write_text(text)
    key = KEYS[kind].replace('"mine"', f'"{name}"')
    link = key.removeprefix("link.") if key.startswith("link.") else ""
    scenario = directory / "scenario.toml"
    scenario.write_text(SCENARIO.format(key="" if link else key, link=link))
    number = next((number for number, line in enumerate(text.splitlines(), 1) if HERE in line), 0)
    return scenario, number


def run(scenario: Path, out: Path) -> Result:
    return CliRunner().invoke(app, ["run", str(scenario), "--out", str(out), "--no-figures"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.says[:50]}")
def test_a_failure_is_one_message(case: Case, tmp_path: Path) -> None:
    scenario, line = write(tmp_path, case.kind, case.body)
    result = run(scenario, tmp_path / "out")
    family = {"own-congestion": "congestion", "late-qdisc": "qdisc", "queues": "qdisc"}.get(
        case.kind, case.kind
    )
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.count("\n") == 1, result.stderr
    assert f"{tmp_path / 'mine.py'}: line {line}: {family} 'mine': " in result.stderr
    assert case.says in result.stderr
    assert "; mend the plug-in" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_class_without_a_method_has_its_file_and_line(tmp_path: Path) -> None:
    scenario, _ = write(tmp_path, "scheduler", "")
    result = run(scenario, tmp_path / "out")
    lines = (tmp_path / "mine.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.startswith("class "))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"mptcpsim: {tmp_path / 'mine.py'}: line {line}: scheduler 'mine': ")
    assert "is not there: define it" in result.stderr


@pytest.mark.parametrize("kind", ["congestion", "scheduler", "middlebox", "late-qdisc"])
def test_a_hook_that_does_not_return(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_watch_module, "LIMIT_S", 0.1)
    hook = {
        "congestion": "on_ack", "scheduler": "choose", "middlebox": "on_packet", "late-qdisc": "on_departure",
    }[kind]  # fmt: skip
    loop = "while True:\n        try:\n            pass\n        except Exception:\n            pass"
    scenario, _ = write(tmp_path, kind, f"def {hook}(self, *args):\n    {loop}")
    result = run(scenario, tmp_path / "out")
    assert result.exit_code == 2
    assert f"'mine': {hook} does not return; mend the plug-in" in result.stderr
    assert f"{tmp_path / 'mine.py'}: line " in result.stderr


@pytest.mark.parametrize("configure", [False, True])
def test_a_file_that_does_not_come_to_its_end(
    configure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_watch_module, "LIMIT_S", 0.1)
    scenario, line = write(tmp_path, "congestion", f"def configure(self, *args):\n    while True: pass{HERE}")
    if not configure:
        (tmp_path / "mine.py").write_text("x = 1\nwhile True: x += 1\n")
    result = run(scenario, tmp_path / "out")
    assert result.exit_code == 2
    says = "line 2: the file does not come to its end when it is imported; mend the plug-in"
    assert (
        f"line {line}: congestion 'mine': configure does not return" if configure else says
    ) in result.stderr


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_one_that_does_nothing_wrong_changes_nothing(kind: str, tmp_path: Path) -> None:
    """Watching a plug-in is not taking part: a window may be changed to and fro, and paths be waited for."""
    body = {
        "congestion": "def on_ack(self, *args):\n    self.cwnd -= 10**6\n    self.cwnd += 10**6\n"
        "    super().on_ack(*args)",
        "own-congestion": "def on_ack(self, *args): pass\ndef ssthresh_after_loss(self, *args): return 3000",
        "qdisc": "def on_arrival(self, *args): return 0",
        "late-qdisc": "def on_departure(self, *args): return 0",
        "queues": "def configure(self, values):\n    super().configure(values)\n    self.all = []\n"
        "def arrived(self, queue, size, now):\n    self.all.append(queue)\n"
        "def select(self, now):\n    return self.all[0] if self.all else None\n"
        "def served(self, queue, size, now): self.all.pop(0)",
        "scheduler": "def choose(self, available, now): return available.pop()",
        "pathmanager": "def on_established(self, view): return []",
        "middlebox": "def on_packet(self, packet, forward, now):\n    self.call_at(now, self.later)\n"
        "    self.send_at(at=now, packet=packet, forward=forward)\n    return HELD\ndef later(self): pass",
    }[kind]
    scenario, _ = write(tmp_path, kind, body)
    result = run(scenario, tmp_path / "out")
    assert result.exit_code == 0, result.output
    (flow,) = json.loads((tmp_path / "out" / "summary.json").read_text())["flows"]
    assert flow["bytes_delivered"] > 100_000


def test_in_a_sweep_the_run_fails_with_the_message(tmp_path: Path) -> None:
    scenario, line = write(tmp_path, *CASES[0][:2])
    with scenario.open("a") as file:
        file.write('[sweep.grid]\n"defaults.tcp.congestion" = ["reno", "mine"]\n')
    text = scenario.read_text().replace(
        'defaults.tcp.congestion = "mine"', 'defaults.tcp.congestion = "reno"'
    )
    scenario.write_text(text)
    words = ["sweep", "run", str(scenario), "--out", str(tmp_path / "out"), "--jobs", "1", "--no-figures"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "1 of 2 runs done" in result.stdout
    assert f"failed: mine.py: line {line}: congestion 'mine': {CASES[0].says}" in result.stderr


class TestScopes:
    """Plug-ins belong to the scenario that has named them."""

    WINDOW = (
        "def on_ack(self, *args):\n    pass\ndef start(self, mss, *args):\n    super().start(mss, *args)\n"
    )

    def _scenario(self, directory: Path, segments: int, name: str = "mine") -> Path:
        directory.mkdir()
        return write(directory, "congestion", f"{self.WINDOW}    self.cwnd = {segments} * mss", name)[0]

    @staticmethod
    def _window(scenario: Path) -> int:
        simulation = build(load(scenario))
        simulation.env.run("200ms")
        return _cwnd(simulation)

    def test_two_of_one_name_live_side_by_side(self, tmp_path: Path) -> None:
        first, second = self._scenario(tmp_path / "a", 3), self._scenario(tmp_path / "b", 5)
        one, other = load(first), load(second)
        simulations = build(one), build(other)
        for simulation in simulations:
            simulation.env.run("100ms")
        for simulation in simulations:
            simulation.env.run("200ms")
        assert [_cwnd(simulation) for simulation in simulations] == [3 * 1448, 5 * 1448]
        assert self._window(first) == 3 * 1448

    def test_who_does_not_name_it_does_not_know_it(self, tmp_path: Path) -> None:
        load(self._scenario(tmp_path / "a", 3))
        other = self._scenario(tmp_path / "b", 5, "another")
        other.write_text(other.read_text().replace('congestion = "another"', 'congestion = "mine"'))
        with pytest.raises(ScenarioError, match="unknown congestion 'mine'"):
            load(other)
        with pytest.raises(PluginError, match="unknown congestion 'mine'"):
            find("congestion", "mine")

    def test_two_files_of_one_scenario_with_one_name(self, tmp_path: Path) -> None:
        scenario = self._scenario(tmp_path / "a", 3)
        self._scenario(tmp_path / "b", 5)
        scenario.write_text(scenario.read_text().replace('["mine.py"]', '["mine.py", "../b/mine.py"]'))
        with pytest.raises(ScenarioError, match=r"congestion 'mine' is in .*a/mine\.py and in .*b/mine\.py"):
            load(scenario)

    def test_a_worker_keeps_campaigns_apart(self, tmp_path: Path) -> None:
        packed = [
            pack(load(self._scenario(tmp_path / name, segments)).model_dump(
                mode="json", exclude_none=True, exclude={"sweep", "plugins", "seed"}
            ))
            for name, segments in (("a", 3), ("b", 5))
        ]  # fmt: skip
        files = [PluginFile("mine.py", (tmp_path / name / "mine.py").read_text()) for name in ("a", "b")]
        delivered = []
        for which in (0, 1, 0):
            outcome = carry_out(Task("run", packed[which], 1, (files[which],), 0, False))
            assert outcome.message == ""
            delivered.append(json.loads(outcome.summary)["flows"][0]["bytes_delivered"])
        assert delivered[0] == delivered[2] < delivered[1]
        outcome = carry_out(Task("run", packed[0], 1, (), 0, False))
        assert outcome.status == FAILED
        assert "unknown congestion 'mine'" in outcome.message


def _cwnd(simulation: object) -> int:
    (flow,) = simulation.flows  # type: ignore[attr-defined]
    return int(flow.client.subflows[0].sender.congestion.cwnd)


@pytest.mark.parametrize("kind", ["pathmanager", "middlebox"])
def test_other_commands_say_the_same(kind: str, tmp_path: Path) -> None:
    body = {
        "pathmanager": f"def on_established(self, view):\n    1 / 0{HERE}",
        "middlebox": f"def start(self):\n    1 / 0{HERE}",
    }[kind]
    scenario, line = write(tmp_path, kind, body)
    for words in (("lint", scenario), ("route", scenario, "a", "a", "b"), ("plot", "--topology", scenario)):
        more = ("--out", tmp_path) if words[0] == "plot" else ()
        result = CliRunner().invoke(app, [str(word) for word in (*words, *more)])
        assert result.exit_code in ((2,) if kind == "middlebox" else (0, 2)), (words, result.output)
        if result.exit_code:
            assert f"mine.py: line {line}: {kind} 'mine': " in result.stderr
            assert result.stderr.count("\n") == 1


def test_from_python_the_failure_is_an_exception(tmp_path: Path) -> None:
    scenario, line = write(tmp_path, *CASES[6][:2])
    simulation = build(load(scenario))
    with pytest.raises(PluginFailure, match=f"line {line}: congestion 'mine': on_ack raised ZeroDivision"):
        simulation.env.run("1s")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        ("x = 1\nraise ValueError('boo')", "line 2: ValueError: boo"),
        (f"{IMPORTS}\n@register\nclass Mine(Reno):\n    NAME = 'mine'\n    PARAMETERS = ('a',)",
         "congestion 'mine': PARAMETERS has 'a'; write a tuple of Parameter(name, default, help)"),
        (f"{IMPORTS}\n@register\nclass Mine(Reno):\n    NAME = 'reno'", "'reno' is"),
        (f"{IMPORTS}\n@register\nclass Mine(QueueDiscipline):\n    NAME = 'mine'\n    AT_DEPARTURE = 1",
         "qdisc 'mine': AT_DEPARTURE is 1; write True or False"),
        (f"{IMPORTS}\n@register\nclass Mine(Reno):\n    NAME = 'mine'\n    def configure(self, values):\n"
         "        values['x']", "line 9: congestion 'mine': configure raised KeyError: 'x'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, says: str) -> None:
    scenario, _ = write(tmp_path, "congestion", "pass")
    (tmp_path / "mine.py").write_text(text)
    result = run(scenario, tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
