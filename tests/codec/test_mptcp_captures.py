"""The MPTCP options of real captures: decoded, encoded again, and compared with tshark."""

from __future__ import annotations

import struct
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mptcpsim.codec import DecodeError
from mptcpsim.codec.mptcp import read_mptcp, write_mptcp, write_padded
from mptcpsim.codec.option_list import MPTCP, split_options
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.codec.raw import PROTOCOL_TCP, build_tcp, ipv4_header, parse_ip, parse_tcp
from mptcpsim.core.mptcp_options import (
    CHECKSUM_REQUIRED,
    NO_MORE_SUBFLOWS,
    SUBTYPE_ADD_ADDR,
    SUBTYPE_DSS,
    SUBTYPE_MP_CAPABLE,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_MP_JOIN,
    SUBTYPE_MP_PRIO,
    SUBTYPE_MP_TCPRST,
    SUBTYPE_REMOVE_ADDR,
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
)
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.results.mptcp_capture import read_trace
from mptcpsim.results.mptcp_trace import Trace
from tests.captures import KERNEL, public_capture, public_captures, vectors
from tests.codec.test_mptcp import LAYOUTS


def bodies(path: Path) -> list[tuple[bytes, int]]:
    """Return the bodies of all MPTCP options with the control bits of their segments."""
    found = []
    for packet in read_capture(path):
        ip = parse_ip(packet.data)
        if ip.protocol == PROTOCOL_TCP:
            tcp = parse_tcp(ip.payload)
            found += [(body, tcp.flags) for kind, body in split_options(tcp.options) if kind == MPTCP]
    return found


def check(path: Path) -> Counter[str]:
    """Decode and encode each option of a capture; return how many there are of each class."""
    counts: Counter[str] = Counter()
    for body, flags in bodies(path):
        option = read_mptcp(body, flags)
        assert write_mptcp(option) == body
        assert option.wire_length() == len(body) + 2
        counts[type(option).__name__] += 1
    return counts


NAMES = {
    "CAPABLE": ("MpCapable",),
    "JOIN": ("MpJoinSyn", "MpJoinSynAck", "MpJoinAck"),
    "DSS": ("Dss",),
    "ADD_ADDR": ("AddAddr",),
    "REMOVE_ADDR": ("RemoveAddr",),
    "PRIO": ("MpPrio",),
    "FAIL": ("MpFail",),
    "FASTCLOSE": ("MpFastclose",),
    "TCPRST": ("MpTcprst",),
}


def test_every_option_of_linux_is_written_as_it_was_read() -> None:
    total = sum((check(path) for path in KERNEL), Counter[str]())
    # The other decoder's names do without "MP_", and join the three forms of MP_JOIN.
    counted = sum((Counter(row["counts"]) for row in vectors()), Counter[str]())
    assert {name: sum(total[own] for own in classes) for name, classes in NAMES.items()} == counted
    assert sum(total.values()) == sum(counted.values()) > 2000


@pytest.mark.parametrize("path", public_captures())
def test_every_option_of_others_is_written_as_it_was_read(path: Path) -> None:
    if path.stem == "mptcp-dss-oobr":
        ((body, flags),) = bodies(path)
        with pytest.raises(DecodeError, match="DSS"):
            read_mptcp(body, flags)
    else:
        assert bool(check(path)) == (path.stem != "plain_tcp_head")


# --- tshark reads the same --------------------------------------------------------------------

OPTIONS = "tcp.options.mptcp."
FIELDS = (
    "subtype",
    "version",
    "checksumreq.flags",
    "nomoresubflows.flag",
    "sendkey",
    "recvkey",
    "backup.flag",
    "addrid",
    "recvtok",
    "sendrand",
    "sendtrunchmac",
    "sendhmac",
    "rawdataack",
    "rawdataseqno",
    "subflowseqno",
    "datalvllen",
    "checksum",
    "datafin.flag",
    "echo",
    "ipver",
    "ipv4",
    "ipv6",
    "port",
    "addaddrtrunchmac",
    "rst_reason",
    "flag_T.flag",
)
ANALYSIS = ("mptcp.expected_token", "mptcp.expected_idsn", "mptcp.stream", "mptcp.ack", "mptcp.dss.dsn")


def tshark(path: Path) -> list[dict[str, list[str]]]:
    """Return the fields that tshark finds in each IP packet of a capture."""
    names = [OPTIONS + field for field in FIELDS] + [*ANALYSIS, "_ws.malformed"]
    command = ["tshark", "-r", str(path), "-o", "mptcp.relative_sequence_numbers:FALSE", "-Y", "ip || ipv6"]
    command += ["-T", "fields", "-E", "separator=;", "-E", "occurrence=a", "-E", "aggregator=,"]
    for name in names:
        command += ["-e", name]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    return [
        {name: value.split(",") for name, value in zip(names, line.split(";"), strict=True) if value}
        for line in lines
    ]


def fields(option: MptcpOption) -> dict[str, list[int | str]]:
    """Return an option under the names that tshark gives its fields."""
    found: dict[str, int | str] = {}
    if isinstance(option, MpCapable):
        found = {
            "subtype": SUBTYPE_MP_CAPABLE,
            "version": option.version,
            "checksumreq.flags": int(bool(option.flags & CHECKSUM_REQUIRED)),
            # A crypto bit in version 0.
            "nomoresubflows.flag": int(bool(option.flags & NO_MORE_SUBFLOWS)) if option.version else UNKNOWN,
            "sendkey": option.sender_key,
            "recvkey": option.receiver_key,
            "datalvllen": option.data_level_length,
            "checksum": option.checksum,
        }
    elif isinstance(option, MpJoinSyn):
        found = {"recvtok": option.token, "sendrand": option.nonce}
    elif isinstance(option, MpJoinSynAck):
        found = {"sendtrunchmac": int.from_bytes(option.hmac, "big"), "sendrand": option.nonce}
    elif isinstance(option, MpJoinAck):
        found = {"sendhmac": option.hmac.hex()}
    elif isinstance(option, Dss):
        found = {"subtype": SUBTYPE_DSS, "datafin.flag": int(option.data_fin)}
        if option.data_ack_octets:
            found["rawdataack"] = option.data_ack
        if option.dsn_octets:
            # Version 4.0 of tshark does not show the checksum of a DSS.
            found |= {
                "rawdataseqno": option.dsn,
                "subflowseqno": option.ssn,
                "datalvllen": option.data_level_length,
            }
    elif isinstance(option, AddAddr):
        version = 6 if ":" in option.address else 4
        found = {
            "subtype": SUBTYPE_ADD_ADDR,
            "addrid": option.address_id,
            f"ipv{version}": option.address,
            "port": option.port,
        }
        if option.version() == 0:
            found["ipver"] = version
        else:
            found["echo"] = int(option.echo)
        if option.hmac:
            found["addaddrtrunchmac"] = int.from_bytes(option.hmac, "big")
    elif isinstance(option, RemoveAddr):
        return {"subtype": [SUBTYPE_REMOVE_ADDR], "addrid": list(option.address_ids)}
    elif isinstance(option, MpPrio):
        found = {"subtype": SUBTYPE_MP_PRIO, "backup.flag": int(option.backup), "addrid": option.address_id}
    elif isinstance(option, MpFail):
        found = {"subtype": SUBTYPE_MP_FAIL, "rawdataseqno": option.dsn}
    elif isinstance(option, MpFastclose):
        found = {"subtype": SUBTYPE_MP_FASTCLOSE, "recvkey": option.receiver_key}
    elif isinstance(option, MpTcprst):
        found = {
            "subtype": SUBTYPE_MP_TCPRST,
            "rst_reason": option.reason,
            "flag_T.flag": int(option.transient),
        }
    if isinstance(option, MpJoinSyn | MpJoinSynAck):
        found |= {"backup.flag": int(option.backup), "addrid": option.address_id}
    if isinstance(option, MpJoinSyn | MpJoinSynAck | MpJoinAck):
        found["subtype"] = SUBTYPE_MP_JOIN
    return {name: [value] for name, value in found.items() if value != UNKNOWN}


def ours(trace: Trace, count: int) -> list[dict[str, list[int | str]]]:
    """Return the fields of each IP packet as our own decoder has them."""
    packets: list[dict[str, list[int | str]]] = [defaultdict(list) for _ in range(count)]
    flows = [subflow for found in trace.connections for subflow in found.subflows] + trace.orphans
    for flow in flows:
        for frame in flow.frames:
            for option in frame.options:
                for name, values in fields(option).items():
                    packets[frame.number - 1][name] += values
    return packets


def same(name: str, theirs: list[str], own: list[int | str]) -> bool:
    if name == "flag_T.flag":
        theirs = [{"True": "1", "False": "0"}.get(value, value) for value in theirs]
    return [
        value if isinstance(one, str) else int(value, 0) for value, one in zip(theirs, own, strict=False)
    ] == own


def compare(path: Path) -> Counter[str]:
    """Compare a capture with what tshark finds in it; return how many values of each field agree."""
    packets = tshark(path)
    agreed: Counter[str] = Counter()
    trace = read_trace(path)
    for number, (theirs, own) in enumerate(zip(packets, ours(trace, len(packets)), strict=True), start=1):
        found = {
            name.removeprefix(OPTIONS): value for name, value in theirs.items() if name.startswith(OPTIONS)
        }
        assert found.keys() == own.keys(), f"packet {number}"
        for name, values in own.items():
            assert same(name, found[name], values), f"packet {number}: {name}"
            agreed[name] += len(values)
    agreed.update(compare_analysis(trace, packets))
    return agreed


def compare_analysis(trace: Trace, packets: list[dict[str, list[str]]]) -> Counter[str]:
    """Compare tokens, IDSNs, 64-bit numbers, and which frames belong to one connection."""
    agreed: Counter[str] = Counter()
    streams: dict[int, set[str]] = defaultdict(set)
    for index, found in enumerate(trace.connections):
        keys = {host.key.value: host.key for host in found.hosts if host.key is not None}
        data_acks = {n: ack for flow in found.subflows for end in flow.ends for n, ack in end.data_acks}
        dsns = {m.frame: m.dsn for flow in found.subflows for end in flow.ends for m in end.mappings}
        for frame in (frame for flow in found.subflows for frame in flow.frames):
            theirs = packets[frame.number - 1]
            if stream := theirs.get("mptcp.stream"):
                streams[index].add(stream[0])
            sent = [
                o.sender_key for o in frame.options if isinstance(o, MpCapable) and o.sender_key != UNKNOWN
            ]
            own = {
                "mptcp.expected_token": [keys[value].token for value in sent],
                "mptcp.expected_idsn": [keys[value].idsn for value in sent],
                "mptcp.ack": [data_acks[frame.number]] if frame.number in data_acks else [],
                "mptcp.dss.dsn": [dsns[frame.number]] if frame.number in dsns else [],
            }
            for name, values in own.items():
                if name in theirs:
                    assert [int(value) for value in theirs[name]] == values, f"packet {frame.number}: {name}"
                    agreed[name] += len(values)
    belongs = [stream for found_streams in streams.values() for stream in found_streams]
    assert len(belongs) == len(set(belongs)) == len(streams)
    return agreed


@pytest.mark.tool("tshark")
def test_tshark_reads_the_options_of_linux_like_we_do(tmp_path: Path) -> None:
    """All captures of the project in one file: one run of tshark."""
    header = KERNEL[0].read_bytes()[:24]
    assert struct.unpack("<I", header[:4]) == (0xA1B2C3D4,)
    records = [path.read_bytes() for path in KERNEL]
    assert all(record.startswith(header) for record in records)
    together = tmp_path / "kernel.pcap"
    together.write_bytes(header + b"".join(record[24:] for record in records))
    agreed = compare(together)
    # There is no ADD_ADDR of version 0 among them.
    assert agreed.keys() == {*FIELDS, *ANALYSIS} - {"ipver", "mptcp.stream"}
    assert agreed["mptcp.ack"] == agreed["rawdataack"] > 1800


@pytest.mark.tool("tshark")
@pytest.mark.parametrize(
    "name", ["mptcp-v0", "mptcp-v1", "mptcp-aa-v1", "mptcp-aa-echo", "mptcp-fclose", "mptcp-tcprst"]
)
def test_tshark_reads_the_options_of_others_like_we_do(name: str) -> None:
    assert compare(public_capture(name))["subtype"] > 1


@pytest.mark.tool("tshark")
@pytest.mark.parametrize("part", ["client_head", "client_tail", "server_head"])
def test_tshark_reads_version_0_like_we_do(part: str) -> None:
    assert compare(public_capture(f"v0_2conn_8subflows_{part}"))["rawdataack"] > 200


@pytest.mark.tool("tshark")
def test_tshark_reads_every_layout_that_we_write(tmp_path: Path) -> None:
    """Each in a segment of its own, those too that no capture has."""
    path = tmp_path / "layouts.pcap"
    # A version that does not exist yet is none that tshark knows.
    rows = [row for row in LAYOUTS if row[0] != "capable v2 syn"]
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for number, (_, flags, option, _) in enumerate(rows):
            area, ports = write_padded(option), (40000 + number, 40000)
            tcp = build_tcp(*ports, 7, 9, flags, 1000, 0, area, b"", "10.0.0.1", "10.0.0.2")
            size = 20 + len(tcp)
            data = ipv4_header("10.0.0.1", "10.0.0.2", PROTOCOL_TCP, size, 64, 0, 0, 0) + tcp
            file.write(struct.pack("<IIII", number, 0, size, size) + data)
    for (name, _, option, _), theirs in zip(rows, tshark(path), strict=True):
        assert "_ws.malformed" not in theirs, name
        found = {
            field.removeprefix(OPTIONS): value for field, value in theirs.items() if field.startswith(OPTIONS)
        }
        own = {field: values for field, values in fields(option).items() if values}
        assert found.keys() == own.keys(), name
        for field, values in own.items():
            assert same(field, found[field], values), f"{name}: {field}"
