"""What nodes drop themselves is in the summary and in the tables, with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from mptcpsim.results.report import tables
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.summarise import summarise
from tests.net.nodes import ip_node

SCENARIO = """
title = "Two routers"
duration = "4s"
[hosts.a]
interfaces = { eth0 = "10.0.1.1/24" }
default_route = "10.0.1.254"
[hosts.b]
interfaces = { eth0 = "10.0.3.1/24" }
default_route = "10.0.3.254"
[routers.r]
interfaces = { a = "10.0.1.254/24", s = "10.0.2.1/24" }
default_route = "10.0.2.2"
[routers.s]
interfaces = { r = "10.0.2.2/24", b = "10.0.3.254/24" }
default_route = "10.0.2.1"
[[links]]
ends = ["a:eth0", "r:a"]
[[links]]
ends = ["r:s", "s:r"]
delay = "5ms"
mtu = 1400
[[links]]
ends = ["s:b", "b:eth0"]
[[flows]]
client = "a"
server = "b"
bytes = "100kB"
"""


def summary_of(simulation: Simulation, directory: Path) -> dict[str, Any]:
    with SeriesRecorder(directory / "series.parquet") as recorder:
        sampler = sampler_of(simulation, recorder)
        simulation.env.run(simulation.scenario.duration)
        return summarise(simulation, sampler).as_dict()


def printed(summary: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in tables(summary):
        console.print(table)
    console.file.close()
    return console.export_text()


def dropped(summary: dict[str, Any], node: str) -> tuple[dict[str, int], dict[str, int]]:
    return summary["nodes"][node]["drops"], summary["nodes"][node]["icmp_errors"]


def test_too_big(tmp_path: Path) -> None:
    summary = summary_of(build(loads(SCENARIO)), tmp_path)
    assert summary["flows"][0]["bytes_delivered"] == 100_000
    assert dropped(summary, "r") == ({"too-big": 10}, {"fragmentation-needed": 10})
    assert dropped(summary, "s") == ({}, {})
    assert "10 too-big" in printed(summary)
    assert "10 fragmentation-needed" in printed(summary)


def test_ttl(tmp_path: Path) -> None:
    """Two routers send a packet to each other until its time to live is over."""
    simulation = build(loads(SCENARIO))
    routes = ip_node(simulation.topology, "s").routes
    assert routes.remove("10.0.3.0/24") == 1
    summary = summary_of(simulation, tmp_path)
    # A SYN and two repetitions in 4 s.
    assert dropped(summary, "s") == ({"ttl": 3}, {"time-exceeded": 3})
    # Each has crossed the link 63 times, there and back; the error goes to the sender.
    assert summary["links"]["r:s--s:r"]["packets"] == 3 * (63 + 1)
    assert "3 ttl" in printed(summary)


def test_no_table_without_drops(tmp_path: Path) -> None:
    simulation = build(loads(SCENARIO.replace("mtu = 1400", "")))
    assert "Dropped by nodes" not in printed(summary_of(simulation, tmp_path))


def test_what_a_link_does_to_packets_is_shown_if_it_happens(tmp_path: Path) -> None:
    shown = printed(summary_of(build(loads(SCENARIO)), tmp_path))
    assert not any(word in shown for word in ("marked", "duplicated", "corrupted"))
    changes = ["links.0.duplicate=0.1", "links.2.corrupt=0.1"]
    simulation = build(loads(SCENARIO, overrides=changes))
    summary = summary_of(simulation, tmp_path)
    first, _, last = summary["links"].values()
    assert first["forward"]["duplicates"] > 0 == first["forward"]["corrupted"]
    assert last["forward"]["corrupted"] > 0 == last["forward"]["duplicates"]
    # A packet that was corrupted on the last link is what the host drops for its checksum.
    assert last["forward"]["corrupted"] == summary["counters"]["b"]["TcpInCsumErrors"]
    titles = next(line for line in printed(summary).splitlines() if "utilisation" in line).split()
    assert titles[4:] == ["utilisation", "duplicated", "corrupted", "dropped"]
