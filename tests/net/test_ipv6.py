"""IPv6 from end to end: through routers, over a narrow link, into a capture that tshark reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mptcpsim import build, loads
from mptcpsim.cli import app

SCENARIO = """\
title = "IPv6"
duration = "5s"
[hosts.a]
interfaces = { e = "fd00:1::2/64" }
default_route = "fd00:1::1"
[hosts.b]
interfaces = { e = "fd00:3::2/64" }
default_route = "fd00:3::1"
[routers.r]
interfaces = { left = "fd00:1::1/64", right = "fd00:2::1/64" }
default_route = "fd00:2::2"
[routers.t]
interfaces = { left = "fd00:2::2/64", right = "fd00:3::1/64" }
default_route = "fd00:2::1"
[[links]]
name = "a"
ends = ["a:e", "r:left"]
[[links]]
name = "core"
ends = ["r:right", "t:left"]
rate = "10Mbps"
delay = "10ms"
mtu = 1280
loss = 0.002
[[links]]
name = "b"
ends = ["t:right", "b:e"]
[[flows]]
name = "bulk"
client = "a"
server = "b"
bytes = "500kB"
[[flows]]
name = "back"
client = "a"
server = "b"
port = 5002
bytes = "200kB"
reverse = true
[output]
capture = ["a:e", "r:right", "b:e"]
"""


FIELDS = [
    *("_ws.malformed", "tcp.checksum.status", "icmpv6.checksum.status", "icmpv6.type", "icmpv6.mtu"),
    *("ipv6.src", "ipv6.hlim", "ipv6.plen", "tcp.dstport", "tcp.len", "tcp.nxtseq", "tcp.checksum"),
]
GOOD = "1"
PACKET_TOO_BIG = "2"


def tshark(capture: Path) -> list[dict[str, str]]:
    """Return what tshark says of each packet."""
    command = ["tshark", "-n", "-r", str(capture), "-o", "tcp.check_checksum:TRUE", "-T", "fields"]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("ipv6")
    (directory / "s.toml").write_text(SCENARIO, encoding="utf-8")
    out = directory / "out"
    arguments = ["run", str(directory / "s.toml"), "--out", str(out), "--pcap", "--no-figures", "--roundtrip"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out, json.loads((out / "summary.json").read_text(encoding="utf-8"))


def test_everything_arrives(run: tuple[Path, dict[str, Any]]) -> None:
    bulk, back = run[1]["flows"]
    assert (bulk["bytes_delivered"], back["bytes_delivered"]) == (500_000, 200_000)
    assert {bulk["integrity"], back["integrity"]} == {"ok"}
    assert bulk["subflows"][0]["local"].startswith("[fd00:1::2]:")
    assert bulk["subflows"][0]["remote"] == "[fd00:3::2]:5001"


def test_by_reference_it_is_the_same(run: tuple[Path, dict[str, Any]]) -> None:
    simulation = build(loads(SCENARIO))
    simulation.env.run("5s")
    for flow, expected in zip(simulation.flows, run[1]["flows"], strict=True):
        assert flow.completed_at / 1e9 == expected["completed_s"]


@pytest.fixture(scope="module")
def captures(run: tuple[Path, dict[str, Any]]) -> dict[str, list[dict[str, str]]]:
    return {name: tshark(run[0] / f"{name}.pcapng") for name in ("a.e", "r.right", "b.e")}


@pytest.mark.tool("tshark")
class TestCaptures:
    def test_nothing_is_wrong(self, captures: dict[str, list[dict[str, str]]]) -> None:
        for packets in captures.values():
            assert len(packets) > 800
            for packet in packets:
                assert packet["_ws.malformed"] == ""
                assert packet["ipv6.src"]
                # Of a packet that an ICMP error quotes, the end is missing: its checksum says nothing.
                kind = "icmpv6" if packet["icmpv6.type"] else "tcp"
                assert packet[f"{kind}.checksum.status"].split(",")[0] == GOOD

    def test_the_narrow_link_is_announced_and_obeyed(self, captures: dict[str, list[dict[str, str]]]) -> None:
        """RFC 8201: Packet Too Big quotes what was sent and names the MTU; what is sent after it fits."""
        packets = captures["a.e"]
        too_big = [i for i, packet in enumerate(packets) if packet["icmpv6.type"] == PACKET_TOO_BIG]
        assert too_big
        sent = {packet["tcp.checksum"] for packet in packets[: too_big[0]] if not packet["icmpv6.type"]}
        for index in too_big:
            packet = packets[index]
            assert packet["icmpv6.mtu"] == "1280"
            assert packet["ipv6.src"] == "fd00:1::1,fd00:1::2"
            assert packet["ipv6.plen"] == "1240,1460"
            assert packet["tcp.checksum"] in sent
        later = [packet for packet in packets[too_big[-1] :] if packet["ipv6.src"] == "fd00:1::2"]
        assert len(later) > 400
        assert max(int(packet["ipv6.plen"]) for packet in later) == 1240

    def test_hop_limits_fall_by_one_at_each_router(self, captures: dict[str, list[dict[str, str]]]) -> None:
        limits = [
            {packet["ipv6.hlim"] for packet in packets if packet["ipv6.src"] == "fd00:1::2"}
            for packets in captures.values()
        ]
        assert limits == [{"64"}, {"63"}, {"62"}]

    def test_the_stream_that_was_delivered(self, captures: dict[str, list[dict[str, str]]]) -> None:
        """The relative sequence number after the last byte, or after the FIN, as the receiver sees it."""
        numbers = [
            int(p["tcp.nxtseq"])
            for p in captures["b.e"]
            if p["tcp.dstport"] == "5001" and p["tcp.len"] != "0"
        ]
        assert max(numbers) in (500_001, 500_002)
