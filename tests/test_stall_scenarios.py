"""Stalls of whole scenarios: the cause that is reported, and what the counters say beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mptcpsim import loads
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.run import measure

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
