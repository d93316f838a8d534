"""The seed's topologies as their document has them: commands typed, captures read by tshark."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mptcpsim.results.rundir import RunDirectory
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import load
from mptcpsim.scenario.run import run_scenario
from tests.paths import SEED

NETWORK = SEED / "multi-network"
SHORT = ("flows.iperf.duration=1s", "duration=1500ms")
VARIANTS = ("no-policy", "pf", "ip-rule", "verbatim")


def run(file: Path, directory: Path, *changes: str, pcap: bool = False) -> dict[str, Any]:
    with RunDirectory(directory) as run_directory:
        run_scenario(load(file, changes), run_directory, pcap=pcap)
    found: dict[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["single-subflow", "one-network"])
def test_commands_and_scenario_give_the_same_packets(name: str, tmp_path: Path) -> None:
    for file in ("scenario", "commands"):
        run(SEED / name / f"{file}.toml", tmp_path / file, *SHORT, pcap=True)
    captures = sorted(path.name for path in (tmp_path / "scenario").glob("*.pcapng"))
    assert len(captures) == (2 if name == "single-subflow" else 3)
    for capture in captures:
        written = (tmp_path / "scenario" / capture).read_bytes()
        assert written == (tmp_path / "commands" / capture).read_bytes()
        assert len(written) > 10_000 or capture == "A.A2.pcapng"


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((NETWORK / "expected.json").read_text(encoding="utf-8"))[name]
    return found


def addresses(file: Path) -> dict[str, list[str]]:
    """Return which of A's addresses are in the packets that leave, and in those that arrive."""
    command = ["tshark", "-r", str(file), "-T", "fields", "-e", "ip.src", "-e", "ip.dst"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in output.splitlines()]
    return {
        "out": sorted({source for source, _ in pairs if source.startswith("192.168.")}),
        "in": sorted({destination for _, destination in pairs if destination.startswith("192.168.")}),
    }


@pytest.mark.tool("tshark")
@pytest.mark.parametrize("variant", VARIANTS)
def test_which_interface_carries_what(variant: str, tmp_path: Path) -> None:
    summary = run(NETWORK / f"{variant}.toml", tmp_path / "run", *SHORT)
    wanted = expected(f"{variant}.toml")
    for interface in ("em0", "em1"):
        assert addresses(tmp_path / f"run/tcpdump/A/{interface}.pcap") == wanted[interface]
    (flow,) = summary["flows"]
    assert flow["integrity"] == "ok"
    assert [s["initiated_by"] for s in flow["subflows"]] == ["local", "remote"]
    assert all(s["bytes_acked"] > 300_000 for s in flow["subflows"])
    assert [s["local"].split(":")[0] for s in flow["subflows"]] == ["192.168.5.2", "192.168.0.2"]


@pytest.mark.tool("tshark")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_connection_that_begins_at_the_second_address(variant: str, tmp_path: Path) -> None:
    run(NETWORK / f"{variant}.toml", tmp_path / "run", *SHORT, "flows.iperf.client_address=192.168.0.2")
    wanted = expected(f"from A2, {variant}.toml")
    for interface in ("em0", "em1"):
        assert addresses(tmp_path / f"run/tcpdump/A/{interface}.pcap") == wanted[interface]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_goodput_is_what_the_links_leave(variant: str, tmp_path: Path) -> None:
    summary = run(NETWORK / f"{variant}.toml", tmp_path / "run")
    goodput = expected(f"{variant}.toml")["goodput_bps"]
    links = 1 if variant == "no-policy" else 2
    assert goodput["value"] == pytest.approx(links * 10e6 * 1428 / 1514)
    assert summary["flows"][0]["goodput_bps"] == pytest.approx(goodput["value"], rel=goodput["tolerance"])


def test_mistake_4_mended_alone_is_a_loop_for_what_no_state_knows(tmp_path: Path) -> None:
    """With states the second look finds the one that the first look made; without them pf gives up."""
    rules = (NETWORK / "verbatim.pf.conf").read_text(encoding="utf-8")
    rules = rules.replace('"192.168.0.0"', '"192.168.0.0/24"')
    changes = [*SHORT, "flows.iperf.client_address=192.168.0.2"]
    for stateless in (False, True):
        text = rules.replace("from $mp_net to any", "from $mp_net to any no state") if stateless else rules
        file = (
            f"hosts.A.freebsd.files={{'/etc/rc.conf' = 'pf_enable=\"YES\"', '/etc/pf.conf' = '''{text}'''}}"
        )
        simulation = build(load(NETWORK / "verbatim.toml", [file, *changes]))
        simulation.env.run("1s")
        established = simulation.flows[0].client is not None and simulation.flows[0].client.established
        assert established == (not stateless)
        assert simulation.hosts["A"].drops.get("pf-loop", 0) == int(stateless)
