"""The comparison with other simulators, without them: what is said, what is compared, what is missing."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import peers
import pytest
from cases import CASES
from peers import PEERS
from run import Cost, Failed


def ours(cost: Cost, size: float) -> None:
    cost.core = "compiled"
    cost.runs.append({"us/packet": 2.0})


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of benchmarks/, whose peers/ has one program: 100 packets, 1 ms."""
    (tmp_path / "peers").mkdir()
    script = tmp_path / "peers" / "nspy_bulk.py"
    script.write_text('print("noise")\nprint(\'{"packets": 100, "user CPU s": 0.001}\')\n', encoding="utf-8")
    monkeypatch.setattr(peers, "HERE", tmp_path)
    monkeypatch.setattr(peers, "measure", ours)
    monkeypatch.setattr(peers, "install", lambda peer, folder: Path(sys.executable))
    return script


def test_others_are_multiples_of_ours(fake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main(["ns.py", "--repeat", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "ns.py" in line]
    assert [row[0] for row in rows] == ["W1", "W2/ack-every-1"]
    assert all(row[3:] == ["10", "10", "10", "us/packet", "5.000"] for row in rows)


def test_one_that_fails_is_named_and_left_out(fake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake.write_text("raise SystemExit('broken')\n", encoding="utf-8")
    assert peers.main(["ns.py", "--repeat", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("broken") == 2  # once a workload
    assert "us/packet" in printed.out


def test_one_that_cannot_be_had_is_named_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(peer: peers.Peer, folder: Path) -> Path:
        raise Failed(f"{peer.name} cannot be had, going on without it: pip says: no")

    monkeypatch.setattr(peers, "install", install)
    monkeypatch.setattr(peers, "measure", ours)
    assert peers.main(["ns3", "--repeat", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "peers.py: ns3 cannot be had, going on without it: pip says: no\n"
    assert "W1" in printed.out


def test_pip_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the package is made anew; a complete one is taken as it is."""
    made: list[Path] = []

    def create(home: Path, with_pip: bool, clear: bool) -> None:
        made.append(home)
        (home / "bin").mkdir(parents=True, exist_ok=True)
        python = home / "bin" / "python"
        python.write_text(f"#!/bin/sh\necho no such package >&2\nexit {2 - len(made)}\n", encoding="utf-8")
        python.chmod(0o755)

    monkeypatch.setattr(venv, "create", create)
    with pytest.raises(Failed, match="no such package"):
        peers.install(PEERS["ns3"], tmp_path)
    for _ in range(2):
        assert peers.install(PEERS["ns3"], tmp_path) == tmp_path / "ns3" / "bin" / "python"
    assert made == [tmp_path / "ns3"] * 2


def test_nothing_delivered_is_an_error(fake: Path) -> None:
    fake.write_text('print(\'{"packets": 0, "user CPU s": 0.001}\')\n', encoding="utf-8")
    with pytest.raises(Failed, match="larger --size"):
        peers.measure_peer(Cost(CASES["W1"], "ns.py"), PEERS["ns.py"], Path(sys.executable), 0.1)


def test_an_unknown_simulator_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        peers.main(["opnet"])
    assert ended.value.code == 2
    assert "opnet is none of ns3, ns.py" in capsys.readouterr().err
