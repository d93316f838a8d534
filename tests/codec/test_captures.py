"""Real captures: read, and written again to the last byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from mptcpsim.codec import DecodeError, decode, encode
from mptcpsim.codec.option_list import MPTCP, NO_OPERATION, join_options, split_options
from mptcpsim.codec.options import wire_length
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.codec.raw import PROTOCOL_TCP, build_ip, parse_ip, parse_tcp, rebuild_tcp
from mptcpsim.core.segment import SYN, FourTuple, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.paths import DATA, SHARED

OWN = sorted(DATA.glob("*.pcap"))
KERNEL = sorted((SHARED / "captures").glob("kernel-6.18/*.pcap"))
PUBLIC = sorted((SHARED / "captures").glob("public/*/*.pcap"))


def captures(paths: list[Path], least: int) -> list[object]:
    if len(paths) >= least:
        return [pytest.param(path, id=path.stem) for path in paths]
    reason = f"captures outside the repository are not there: {SHARED}"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


@pytest.mark.parametrize("path", [*captures(OWN, 0), *captures(KERNEL, 1)])
def test_a_capture_of_linux_is_read_and_written_again(path: Path) -> None:
    """Checksums, options and unknown options are as the kernel made them.

    A segment too is written as it was read, but for the identification in the IPv4 header.
    """
    count = 0
    for packet in read_capture(path):
        count += 1
        ip = parse_ip(packet.data)
        assert ip.protocol == PROTOCOL_TCP
        tcp = parse_tcp(ip.payload)
        assert join_options(split_options(tcp.options)) == tcp.options
        if ip.is_cut_off:
            assert build_ip(ip) == packet.data
            with pytest.raises(DecodeError, match="of a packet of"):
                decode(packet.data, lambda _: None)
            continue
        assert build_ip(ip._replace(payload=rebuild_tcp(tcp, ip.src, ip.dst))) == packet.data
        segment = decode(packet.data, lambda _: None)
        assert isinstance(segment, Segment)
        assert not segment.damaged
        assert segment.length == len(tcp.payload)
        if tcp.options.endswith(bytes((NO_OPERATION,)) * 4):
            # A firewall has overwritten an option; what is written leaves it out.
            assert path.stem == "fallback_strip_synack"
            assert wire_length(segment) < segment.size
        else:
            assert encode(segment)[ip.header_length :] == ip.payload
    assert count > 5


@pytest.mark.parametrize("path", captures(PUBLIC, 1))
def test_a_capture_of_others_is_read(path: Path) -> None:
    """Other link types, other versions, checksums left to the network card."""
    segments = 0
    for packet in read_capture(path):
        ip = parse_ip(packet.data)
        if ip.protocol != PROTOCOL_TCP:
            continue
        segments += 1
        tcp = parse_tcp(ip.payload)
        again = build_ip(ip._replace(payload=rebuild_tcp(tcp, ip.src, ip.dst)))
        checksum = ip.header_length + 16
        assert again[:checksum] == packet.data[:checksum]
        assert again[checksum + 2 :] == packet.data[checksum + 2 : ip.length]
        if not ip.is_cut_off:
            damaged = decode(packet.data, lambda _: None).damaged
            assert damaged == (again != packet.data[: ip.length])
    assert segments > 0


def test_mptcp_options_are_kept() -> None:
    kinds = []
    for packet in read_capture(DATA / "basic_v4.pcap"):
        tcp = parse_tcp(parse_ip(packet.data).payload)
        kinds.append([kind for kind, _ in split_options(tcp.options)])
    assert kinds[0] == [2, 4, 8, 1, 3, MPTCP]
    assert all(MPTCP in line for line in kinds[1:14])


def test_a_plain_connection_of_linux_has_our_options() -> None:
    """What is read of a kernel's segment and written again has the same TCP header."""
    initial: dict[FourTuple, int] = {}

    def lookup(flow: FourTuple) -> SequenceMap | None:
        own = initial.get(flow.reverse())
        return None if own is None else SequenceMap(own, initial.get(flow, UNKNOWN))

    flags = []
    for packet in read_capture(DATA / "fallback_client_tcp.pcap"):
        raw = parse_tcp(parse_ip(packet.data).payload)
        segment = decode(packet.data, lookup)
        assert isinstance(segment, Segment)
        if segment.flags & SYN:
            initial[segment.flow] = segment.iss
        flags.append((segment.flags, segment.seq, segment.ack, segment.length))
        again = parse_ip(encode(segment))
        tcp = parse_tcp(again.payload)
        assert tcp._replace(checksum=0, payload=b"") == raw._replace(checksum=0, payload=b"")
        assert again.length == len(packet.data)
    assert flags == [
        (0x02, 0, 0, 0),
        (0x12, 0, 1, 0),
        (0x10, 1, 1, 0),
        (0x18, 1, 1, 100),
        (0x10, 1, 101, 0),
        (0x18, 101, 1, 100),
        (0x10, 1, 201, 0),
        (0x18, 201, 1, 100),
        (0x10, 1, 301, 0),
        (0x18, 1, 301, 150),
        (0x10, 301, 151, 0),
        (0x11, 301, 151, 0),
        (0x11, 151, 302, 0),
        (0x10, 302, 152, 0),
    ]
