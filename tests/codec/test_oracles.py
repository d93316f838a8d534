"""Other programs read our bytes: tshark as it reads captures, scapy packet by packet."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from mptcpsim.codec import encode
from mptcpsim.codec.pcap import INBOUND, OUTBOUND, CaptureWriter
from mptcpsim.core.options import sack_blocks_that_fit
from mptcpsim.core.payload import pattern
from mptcpsim.core.segment import (
    ACK,
    FIN,
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    PSH,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    SynOptions,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.codec.packet_strategies import make_segment

FLAGS = (ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, SYN | 0xC0, ACK | 0x80, ACK | 0x60)


def random_segment(rng: random.Random) -> Segment:
    """Return any segment that a host could send, wrapped numbers included."""
    number = rng.randrange
    iss, irs = rng.choice([number(1 << 32), 0xFFFFFFFF - number(5000)]), number(1 << 32)
    version = rng.choice([4, 6])
    # Ports above all that dissectors are registered for.
    flow = FourTuple(
        f"10.0.{number(256)}.{number(256)}" if version == 4 else f"fd00::{number(1, 65536):x}",
        number(61000, 65536),
        f"172.16.{number(256)}.{number(256)}" if version == 4 else f"2001:db8::{number(1, 65536):x}",
        number(61000, 65536),
    )
    flags = rng.choice(FLAGS)
    is_syn = bool(flags & SYN)
    syn = SynOptions(number(1, 65536), number(-1, 15), rng.random() < 0.5) if is_syn else None
    ts = (number(1 << 32), number(1 << 32)) if rng.random() < 0.7 else (UNKNOWN, UNKNOWN)
    sack: tuple[tuple[int, int], ...] = ()
    if not is_syn and flags & ACK:
        most = sack_blocks_that_fit(0 if ts[0] == UNKNOWN else 12)
        sack = tuple((left := number(1 << 34), left + number(1, 9000)) for _ in range(number(most + 1)))
    segment = make_segment(
        flow=flow,
        sequences=SequenceMap(iss, irs),
        flags=flags,
        seq=0 if is_syn else number(1 << 34),
        ack=number(1 << 34) if flags & ACK else 0,
        window=number(65536),
        length=0 if is_syn or flags & RST else rng.choice([0, 1, 7, 536, 1448]),
        ts=ts,
        sack=sack or None,
        ecn=number(4),
        syn=syn,
    )
    segment.ttl = number(1, 256)
    segment.df = version == 6 or rng.random() < 0.7
    segment.urgent = rng.choice([0, 0, number(65536)])
    return segment


# --- tshark --------------------------------------------------------------------------------------

FIELDS = (
    "frame.time_epoch",
    "frame.interface_name",
    "frame.interface_description",
    "frame.packet_flags_direction",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.dsfield.ecn",
    "ip.flags.df",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "ipv6.tclass.ecn",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.urgent_pointer",
    "tcp.len",
    "tcp.payload",
    "tcp.checksum.status",
    "tcp.options.mss_val",
    "tcp.options.wscale.shift",
    "tcp.options.sack_perm",
    "tcp.options.timestamp.tsval",
    "tcp.options.timestamp.tsecr",
    "tcp.options.sack_le",
    "tcp.options.sack_re",
    "icmp.type",
    "icmp.code",
    "icmp.mtu",
    "icmp.checksum.status",
    "icmpv6.type",
    "icmpv6.code",
    "icmpv6.mtu",
    "icmpv6.checksum.status",
    "_ws.malformed",
)

PREFERENCES = (
    "tcp.check_checksum:TRUE",
    "ip.check_checksum:TRUE",
    "tcp.relative_sequence_numbers:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
)

GOOD = "1"
BAD = "0"


def tshark(path: Path) -> list[dict[str, str]]:
    """Return the fields of each frame; a field that occurs twice has its values joined by commas."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for preference in PREFERENCES:
        command += ["-o", preference]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in done.stdout.splitlines()]


def expected_tcp(segment: Segment) -> dict[str, str]:
    """Return the fields as tshark prints them, from the segment's own numbers."""
    flow, numbers, syn = segment.flow, segment.sequences, segment.syn
    wrap = 1 << 32
    has_ack = bool(segment.flags & ACK)
    fields = {
        "frame.len": str(segment.size),
        "tcp.srcport": str(flow.sport),
        "tcp.dstport": str(flow.dport),
        "tcp.seq": str((numbers.iss + segment.seq) % wrap),
        "tcp.seq_raw": str((numbers.iss + segment.seq) % wrap),
        "tcp.ack_raw": str((numbers.irs + segment.ack) % wrap if has_ack else 0),
        "tcp.flags": f"0x{segment.flags:04x}",
        "tcp.window_size_value": str(segment.window),
        "tcp.urgent_pointer": str(segment.urgent),
        "tcp.len": str(segment.length),
        "tcp.payload": pattern(segment.offset, segment.length).hex() if segment.length else "",
        "tcp.checksum.status": GOOD,
        "tcp.options.mss_val": str(syn.mss) if syn else "",
        "tcp.options.wscale.shift": str(syn.window_scale) if syn and syn.window_scale != UNKNOWN else "",
        "tcp.options.sack_perm": "0402" if syn and syn.sack_permitted else "",
        "tcp.options.timestamp.tsval": str(segment.ts_val) if segment.ts_val != UNKNOWN else "",
        "tcp.options.timestamp.tsecr": str(segment.ts_ecr) if segment.ts_val != UNKNOWN else "",
        "tcp.options.sack_le": ",".join(str((numbers.irs + left) % wrap) for left, _ in segment.sack or ()),
        "tcp.options.sack_re": ",".join(str((numbers.irs + right) % wrap) for _, right in segment.sack or ()),
    }
    return {**fields, **expected_ip(segment)}


def expected_ip(packet: Packet) -> dict[str, str]:
    flow = packet.flow
    if ":" in flow.dst:
        names = ("ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.tclass.ecn")
        return dict(zip(names, (flow.src, flow.dst, str(packet.ttl), str(packet.ecn)), strict=True))
    return {
        "ip.src": flow.src,
        "ip.dst": flow.dst,
        "ip.ttl": str(packet.ttl),
        "ip.dsfield.ecn": str(packet.ecn),
        "ip.flags.df": str(int(packet.df)),
        "ip.checksum.status": GOOD,
    }


def compare(fields: dict[str, str], expected: dict[str, str], ignored: tuple[str, ...] = ()) -> None:
    found = {name: value for name, value in fields.items() if value and name not in ignored}
    assert found == {name: value for name, value in expected.items() if value}


@pytest.mark.tool("tshark")
def test_tshark_reads_what_was_sent(tmp_path: Path) -> None:
    rng = random.Random(20261122)
    path = tmp_path / "run.pcapng"
    interfaces = [("client-eth0", "client, link a"), ("router-eth1", "")]
    expected = []
    now = 0
    with CaptureWriter(path) as capture:
        for name, description in interfaces:
            capture.add_interface(name, description)
        for _ in range(600):
            now += rng.randrange(1, 3_000_000_000)
            interface, direction = rng.randrange(2), rng.choice([INBOUND, OUTBOUND])
            segment = random_segment(rng)
            damaged = rng.random() < 0.1
            segment.damaged = damaged
            capture.write_packet(interface, now, segment, direction)
            fields = expected_tcp(segment)
            fields["frame.time_epoch"] = f"{now // 10**9}.{now % 10**9:09}"
            fields["frame.interface_name"], fields["frame.interface_description"] = interfaces[interface]
            fields["frame.packet_flags_direction"] = f"0x{direction:08x}"
            if damaged:
                fields["tcp.checksum.status"] = BAD
            expected.append((damaged, fields))
    frames = tshark(path)
    assert len(frames) == len(expected)
    last_byte = ("tcp.payload", "tcp.urgent_pointer", "tcp.options.timestamp.tsecr", "tcp.options.sack_re")
    for frame, (damaged, fields) in zip(frames, expected, strict=True):
        if damaged:
            # One bit of the last byte is another one: look at what does not end there.
            ignored = (*last_byte, "tcp.options.wscale.shift", "tcp.options.mss_val", "tcp.options.sack_perm")
            compare(frame, {k: v for k, v in fields.items() if k not in ignored}, ignored)
        else:
            compare(frame, fields)


ICMP_TYPES = {
    ICMP_NET_UNREACHABLE: ("3", "0", "1", "0"),
    ICMP_HOST_UNREACHABLE: ("3", "1", "1", "3"),
    ICMP_PROTOCOL_UNREACHABLE: ("3", "2", "4", "1"),
    ICMP_PORT_UNREACHABLE: ("3", "3", "1", "4"),
    ICMP_FRAGMENTATION_NEEDED: ("3", "4", "2", "0"),
    ICMP_TIME_EXCEEDED: ("11", "0", "3", "0"),
}


@pytest.mark.tool("tshark")
def test_tshark_reads_errors(tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "errors.pcapng"
    errors = []
    with CaptureWriter(path) as capture:
        capture.add_interface("r")
        for kind in ICMP_TYPES:
            for _ in range(10):
                cause = random_segment(rng)
                router = "fd00:9::9" if ":" in cause.flow.src else "10.9.9.9"
                mtu = 1400 if kind == ICMP_FRAGMENTATION_NEEDED else 0
                errors.append(IcmpError(router, cause, kind, mtu))
                capture.write_packet(0, len(errors), errors[-1])
    for frame, error in zip(tshark(path), errors, strict=True):
        cause = error.cause
        type4, code4, type6, code6 = ICMP_TYPES[error.kind]
        told = str(error.mtu) if error.mtu else ""
        if ":" in error.flow.dst:
            assert (frame["icmpv6.type"], frame["icmpv6.code"], frame["icmpv6.mtu"]) == (type6, code6, told)
            assert frame["icmpv6.checksum.status"] == GOOD
            assert frame["ipv6.src"] == f"{error.flow.src},{cause.flow.src}"
            assert frame["ipv6.dst"] == f"{error.flow.dst},{cause.flow.dst}"
        else:
            assert (frame["icmp.type"], frame["icmp.code"], frame["icmp.mtu"]) == (type4, code4, told)
            assert frame["icmp.checksum.status"] == GOOD
            assert frame["ip.checksum.status"] == f"{GOOD},{GOOD}"
            assert frame["ip.src"] == f"{error.flow.src},{cause.flow.src}"
        assert frame["tcp.srcport"] == str(cause.flow.sport)
        assert frame["tcp.seq"] == str(cause.sequences.wire_seq(cause.seq))
        assert frame["frame.len"] == str(error.size)
        assert frame["_ws.malformed"] == ""


# --- scapy ---------------------------------------------------------------------------------------


def scapy_options(segment: Segment) -> list[tuple[str, object]]:
    """Return the options in the order in which Linux writes them."""
    nop = ("NOP", None)
    has_timestamps = segment.ts_val != UNKNOWN
    stamps = ("Timestamp", (segment.ts_val, segment.ts_ecr))
    options: list[tuple[str, object]] = []
    syn = segment.syn
    if syn is not None:
        options.append(("MSS", syn.mss))
        if syn.sack_permitted:
            options += [("SAckOK", b"")] if has_timestamps else [nop, nop, ("SAckOK", b"")]
        elif has_timestamps:
            options += [nop, nop]
        options += [stamps] if has_timestamps else []
        if syn.window_scale != UNKNOWN:
            options += [nop, ("WScale", syn.window_scale)]
        return options
    if has_timestamps:
        options += [nop, nop, stamps]
    if segment.sack:
        wire = segment.sequences.wire_ack
        options += [nop, nop, ("SAck", tuple(wire(number) for block in segment.sack for number in block))]
    return options


def test_scapy_writes_the_same_bytes() -> None:
    inet = pytest.importorskip("scapy.layers.inet", reason="scapy is not installed")
    inet6 = pytest.importorskip("scapy.layers.inet6", reason="scapy is not installed")
    rng = random.Random(5)
    for _ in range(300):
        segment = random_segment(rng)
        flow, numbers = segment.flow, segment.sequences
        tcp = inet.TCP(
            sport=flow.sport,
            dport=flow.dport,
            seq=numbers.wire_seq(segment.seq),
            ack=numbers.wire_ack(segment.ack) if segment.flags & ACK else 0,
            flags=segment.flags,
            window=segment.window,
            urgptr=segment.urgent,
            options=scapy_options(segment),
        )
        data = encode(segment)
        if ":" in flow.dst:
            ip = inet6.IPv6(src=flow.src, dst=flow.dst, hlim=segment.ttl, tc=segment.ecn)
        else:
            ip = inet.IP(
                src=flow.src,
                dst=flow.dst,
                ttl=segment.ttl,
                tos=segment.ecn,
                flags="DF" if segment.df else 0,
                id=int.from_bytes(data[4:6], "big"),
            )
        assert bytes(ip / tcp / pattern(segment.offset, segment.length)) == data
