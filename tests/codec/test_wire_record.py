"""The record of tshark and that of the segments: alike on real captures, and each difference is found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from mptcpsim.codec.pcap import CaptureWriter
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.codec.raw import PROTOCOL_TCP, parse_ip, parse_tcp
from mptcpsim.codec.segments import read_segment
from mptcpsim.core.mptcp.keys import Key, derive
from mptcpsim.core.mptcp_options import VERSION_0, VERSION_1, Dss, MpCapable, MpJoinSyn, MpPrio, MptcpOption
from mptcpsim.core.segment import (
    ACK,
    ICMP_FRAGMENTATION_NEEDED,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.captures import KERNEL, public_capture
from tests.codec.packet_strategies import make_segment
from tests.codec.wire_record import (
    DATA_ACK,
    DSN,
    DSS_DSN,
    FIELDS,
    MALFORMED,
    MPTCP_STREAM,
    RAW_DATA_ACK,
    RAW_DSN,
    STREAM,
    SUBTYPE,
    TOKEN,
    Row,
    disagreements,
    own_record,
    tshark_record,
)

pytestmark = pytest.mark.tool("tshark")


def segments_of(path: Path) -> Iterator[Segment]:
    """Read the segments of a capture, those too of which only the headers were captured."""
    for packet in read_capture(path):
        ip = parse_ip(packet.data)
        if ip.protocol == PROTOCOL_TCP:
            tcp = parse_tcp(ip.payload)
            yield read_segment(ip, tcp, FourTuple(ip.src, tcp.sport, ip.dst, tcp.dport), None)


def compared(path: Path, ignored: tuple[str, ...] = ()) -> list[Row]:
    """Demand that both records of a capture agree, and return tshark's."""
    theirs, own = tshark_record(path), own_record(segments_of(path))
    lines = disagreements(theirs, own)
    assert [line for line in lines if not any(field in line for field in ignored)] == []
    return theirs


def test_all_captures_of_linux_together(tmp_path: Path) -> None:
    """One file of all captures of the project: their addresses and ports occur again and again."""
    together = tmp_path / "kernel.pcap"
    header = KERNEL[0].read_bytes()[:24]
    together.write_bytes(header + b"".join(path.read_bytes()[24:] for path in KERNEL))
    rows = compared(together)
    assert len(rows) > 2000
    assert {field for row in rows for field in row} == {*FIELDS} - {MALFORMED}


@pytest.mark.parametrize("name", ["checksum_v4", "fullmesh", "mpfail_single", "fallback_strip_nonsyn"])
def test_a_capture_of_linux(name: str) -> None:
    (path,) = [path for path in KERNEL if path.stem == name]
    rows = compared(path)
    assert {row[MPTCP_STREAM][0] for row in rows if MPTCP_STREAM in row} == {0}


@pytest.mark.parametrize(
    "name", ["mptcp-v1", "mptcp-tcprst", "v0_2conn_8subflows_client_head", "v0_2conn_8subflows_server_head"]
)
def test_a_capture_of_others(name: str) -> None:
    # Where the DSS stands among the options is everybody's own affair.
    assert len(compared(public_capture(name), ignored=(SUBTYPE,))) > 1


# --- A connection of our own ----------------------------------------------------------------------

FIRST = FourTuple("10.0.1.1", 40000, "10.0.1.2", 5000)
SECOND = FourTuple("10.0.2.1", 40001, "10.0.1.2", 5000)
ISS = 0xFFFFFFF0


@cache
def key_near_wrap(version: int) -> Key:
    """Return a key whose data sequence numbers wrap in their 4-octet form within the first kilobytes."""
    keys = (derive(value, version) for value in count(1 << 62))
    return next(key for key in keys if key.idsn % (1 << 32) > (1 << 32) - 20_000)


def connection(version: int, octets: int) -> list[Packet]:
    """Return what a client sends and its server answers, over two subflows."""
    client, server = key_near_wrap(version), derive(99, version)
    ours = {FIRST: SequenceMap(ISS, 700), SECOND: SequenceMap(5, ISS)}
    packets: list[Packet] = []

    def send(flow: FourTuple, flags: int, seq: int, *options: MptcpOption, length: int = 0) -> Segment:
        numbers = ours[flow] if flow in ours else ours[flow.reverse()].reverse()
        dss = next((option for option in options if isinstance(option, Dss)), None)
        others = tuple(option for option in options if option is not dss) or None
        segment = make_segment(
            flow=flow,
            sequences=numbers,
            flags=flags,
            seq=seq,
            ack=1 if flags & ACK else 0,
            length=length,
            ts=(7, 8),
            dss=dss,
            options=others,
        )
        packets.append(segment)
        return segment

    def wire(key: Key, relative: int) -> int:
        return (key.idsn + relative) % (1 << 8 * octets)

    first_key = client.value if version == VERSION_0 else UNKNOWN
    send(FIRST, SYN, 0, MpCapable(version, 1, first_key))
    send(FIRST.reverse(), SYN | ACK, 0, MpCapable(version, 1, server.value))
    send(FIRST, ACK, 1, MpCapable(version, 1, client.value, server.value))
    send(SECOND, SYN, 0, MpJoinSyn(1, server.token, 3))
    next_seq = {FIRST: 1, SECOND: 1}
    for n in range(60):
        flow = (FIRST, SECOND)[n % 2]
        dsn, seq = 1 + 1000 * n, next_seq[flow]
        mapping = Dss(octets, wire(server, 1), octets, wire(client, dsn), seq, 1000)
        data = send(flow, ACK, seq, mapping, length=1000)
        next_seq[flow] += 1000
        extra = (MpPrio(True),) if n == 7 else ()
        send(flow.reverse(), ACK, 1, Dss(octets, wire(client, dsn + 1000)), *extra)
        if n == 30:
            packets.append(IcmpError("10.9.9.9", data, ICMP_FRAGMENTATION_NEEDED, 1400))
    return packets


def written(path: Path, packets: list[Packet]) -> list[Row]:
    with CaptureWriter(path) as capture:
        capture.add_interface("eth0")
        for number, packet in enumerate(packets):
            capture.write_packet(0, number, packet)
    return tshark_record(path)


@pytest.mark.parametrize("octets", [4, 8])
@pytest.mark.parametrize("version", [VERSION_0, VERSION_1])
def test_a_connection_whose_numbers_wrap(version: int, octets: int, tmp_path: Path) -> None:
    packets = connection(version, octets)
    theirs = written(tmp_path / "own.pcapng", packets)
    own = own_record(packets)
    assert disagreements(theirs, own) == []
    assert len(own) == len(packets) - 1  # the ICMP error
    assert [row[DSN] for row in own if DSN in row] == [[1 + 1000 * n] for n in range(60)]
    assert [row[DATA_ACK][0] for row in own if DSS_DSN not in row and DATA_ACK in row][-1] == 60_001
    assert {row[STREAM][0] for row in own} == {0, 1}
    assert {row[MPTCP_STREAM][0] for row in own if MPTCP_STREAM in row} == {0}


# --- Each difference is found ---------------------------------------------------------------------


def test_each_difference_is_found(tmp_path: Path) -> None:
    packets = connection(VERSION_1, 8)
    theirs = written(tmp_path / "own.pcapng", packets)
    for field in {*FIELDS} - {MALFORMED}:
        own = own_record(packets)
        number = next(n for n, row in enumerate(own) if field in row)
        own[number] = {**own[number], field: [own[number][field][0] + 1]}
        (line,) = disagreements(theirs, own)
        assert line.startswith(f"packet {number + 1}: {field} ")
    own = own_record(packets)
    assert disagreements(theirs[:-1], own) == [f"{len(own) - 1} packets != {len(own)}"]
    assert {RAW_DSN, RAW_DATA_ACK} < {field for row in own for field in row}
    silent = [{field: value for field, value in row.items() if field != TOKEN} for row in own]
    assert len(disagreements(theirs, silent)) == 2


def test_a_malformed_option_is_found(tmp_path: Path) -> None:
    path = tmp_path / "malformed.pcapng"
    packets = connection(VERSION_1, 8)
    with CaptureWriter(path) as capture:
        capture.add_interface("eth0")
        for number, packet in enumerate(packets):
            capture.write_packet(0, number, packet)
    data = path.read_bytes()
    mapping = bytes.fromhex("1e1a200f")
    assert data.count(mapping) == 60
    # The DSS says that it has no DATA_ACK, and is as long as with one.
    path.write_bytes(data.replace(mapping, bytes.fromhex("1e06200f"), 1))
    lines = disagreements(tshark_record(path), own_record(packets))
    assert any("malformed" in line for line in lines)
