"""Numbers that wrap: whole runs, encoded, in which what stands on the wire crosses 2^32 and 2^64.

tshark tells from the captures that they have.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mptcpsim import load
from mptcpsim.core.mptcp.keys import derive
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.scenario.run import run_scenario

pytestmark = pytest.mark.tool("tshark")

SIZE = 300_000

SCENARIO = f"""\
title = "A request and a response over two paths that lose packets"
duration = "30s"
[defaults.mptcp]
path_manager = {{ name = "endpoints", add_addr_accepted = 1 }}
[hosts.A]
interfaces = {{ A1 = "10.0.1.1/24", A2 = "10.0.2.1/24" }}
[hosts.B]
interfaces = {{ B1 = "10.0.1.2/24", B2 = "10.0.2.2/24" }}
mptcp = {{ path_manager = {{ name = "endpoints", endpoints = "10.0.2.2 signal" }} }}
[[links]]
ends = ["A:A1", "B:B1"]
rate = "10Mbps"
delay = "5ms"
loss = 0.02
[[links]]
ends = ["A:A2", "B:B2"]
rate = "10Mbps"
delay = "20ms"
loss = 0.02
[[flows]]
name = "exchange"
client = "A"
server = "B"
app = "request-response"
request = "{SIZE}B"
response = "{SIZE}B"
every = "1s"
count = 1
[output]
capture = ["A:A1", "A:A2"]
"""

#: Keys of A and B, by version, whose IDSNs end less than 70,000 below a multiple of 2^32; found by search.
KEYS = {1: (14945, 34703), 0: (40958, 68777)}
#: An IDSN so close to 2^64 cannot be found: it is given to both ends instead.
NEAR_2_64 = 2**64 - 50_000

FIELDS = ("ip.src", "tcp.seq_raw", "tcp.options.mptcp.rawdataseqno", "tcp.options.mptcp.rawdataack")


class Seen(NamedTuple):
    """What tshark finds in the packets of one host, by FIELDS[1:], over both paths."""

    seq: list[list[int]]
    dsn: list[int]
    data_ack: list[int]


def seen(directory: Path) -> dict[str, Seen]:
    """Read both captures of A; return what A and B have sent."""
    found = {"A": Seen([], [], []), "B": Seen([], [], [])}
    for path in sorted(directory.glob("*.pcapng")):
        for one in found.values():
            one.seq.append([])
        command = ["tshark", "-n", "-r", str(path), "-o", "mptcp.relative_sequence_numbers:FALSE"]
        command += ["-d", "tcp.port==1-65535,data", "-T", "fields", "-E", "separator=;", "-Y", "tcp"]
        for field in FIELDS:
            command += ["-e", field]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        for line in done.stdout.splitlines():
            source, seq, dsn, data_ack = line.split(";")
            sender = found["A" if source.endswith(".1") else "B"]
            sender.seq[-1].append(int(seq))
            if dsn:
                sender.dsn.append(int(dsn, 0))
            if data_ack:
                sender.data_ack.append(int(data_ack, 0))
    return found


def run(directory: Path, changes: list[str], roundtrip: bool) -> dict[str, Any]:
    path = directory.parent / "scenario.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    with RunDirectory(directory) as made:
        run_scenario(load(path, changes), made, pcap=True, roundtrip=roundtrip)
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return summary


def runs(tmp_path: Path, *changes: str) -> dict[str, Seen]:
    """Run by reference and encoded, demand that both are alike and complete; return what tshark sees."""
    plain = run(tmp_path / "plain", list(changes), False)
    encoded = run(tmp_path / "encoded", list(changes), True)
    assert plain == encoded
    for name in ("A.A1", "A.A2"):
        one, other = (tmp_path / kind / f"{name}.pcapng" for kind in ("plain", "encoded"))
        assert one.read_bytes() == other.read_bytes()
    (flow,) = encoded["flows"]
    assert flow["completed_s"] is not None, flow
    return seen(tmp_path / "encoded")


def assert_crosses(numbers: list[int], start: int, count: int, modulus: int) -> None:
    """Demand numbers of a stream of ``count`` from ``start``, on both sides of ``modulus``, and no others."""
    low = start % modulus
    high = (start + count) % modulus
    assert high < low, "it would not wrap"
    assert all(number >= low or number <= high for number in numbers)
    assert min(n for n in numbers if n >= low) - low <= 1500
    assert high - max(n for n in numbers if n <= high) <= 1500


@pytest.mark.parametrize("version", [1, 0])
def test_subflow_sequence_numbers(tmp_path: Path, version: int) -> None:
    """Of both subflows, in both directions: each of them crosses 2^32."""
    start = 2**32 - 20_000
    found = runs(tmp_path, f"defaults.mptcp.version={version}", f"defaults.tcp.initial_sequence={start}")
    for sender in found.values():
        assert len(sender.seq) == 2
        for numbers in sender.seq:
            assert min(n for n in numbers if n >= start) == start
            after = [n for n in numbers if n < start]
            assert 20_000 < max(after) < SIZE


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("checksum", ["false", "true"])
@pytest.mark.parametrize("octets", [4, 8])
def test_data_sequence_numbers_cross_2_32(tmp_path: Path, octets: int, checksum: str, version: int) -> None:
    """In the form of 4 octets they begin again at 0; in that of 8 the upper half is one more."""
    keys = dict(zip("AB", KEYS[version], strict=True))
    found = runs(
        tmp_path,
        f"defaults.mptcp.version={version}",
        f"defaults.mptcp.checksum={checksum}",
        f"defaults.mptcp.dsn_octets={octets}",
        f"defaults.mptcp.data_ack_octets={octets}",
        *(f"hosts.{host}.mptcp.initial_key={key}" for host, key in keys.items()),
    )
    for host, key in keys.items():
        idsn = derive(key, version).idsn
        other = found["B" if host == "A" else "A"]
        for numbers in (found[host].dsn, other.data_ack):
            if octets == 8:
                assert {n >> 32 for n in numbers} == {idsn >> 32, (idsn >> 32) + 1}
                assert all(idsn < n <= idsn + SIZE + 2 for n in numbers)
            assert_crosses([n % 2**32 for n in numbers], idsn, SIZE + 2, 2**32)


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("octets", [4, 8])
def test_data_sequence_numbers_cross_2_64(tmp_path: Path, octets: int, version: int) -> None:
    found = runs(
        tmp_path,
        f"defaults.mptcp.version={version}",
        "defaults.mptcp.checksum=true",
        f"defaults.mptcp.dsn_octets={octets}",
        f"defaults.mptcp.data_ack_octets={octets}",
        f"defaults.mptcp.initial_dsn={NEAR_2_64}",
    )
    for sender in found.values():
        assert_crosses(sender.dsn, NEAR_2_64, SIZE + 2, 1 << 8 * octets)
        assert_crosses(sender.data_ack, NEAR_2_64, SIZE + 2, 1 << 8 * octets)


def test_everything_wraps_at_once(tmp_path: Path) -> None:
    """Sequence numbers, timestamps and data sequence numbers, with losses."""
    found = runs(
        tmp_path,
        f"defaults.tcp.initial_sequence={2**32 - 5000}",
        f"defaults.tcp.initial_timestamp={2**32 - 300}",
        f"defaults.mptcp.initial_dsn={2**64 - 5000}",
        "links.0.loss=0.05",
        "links.1.loss=0.05",
    )
    for sender in found.values():
        assert_crosses(sender.dsn, 2**64 - 5000, SIZE + 2, 2**64)
