"""The options of MPTCP on segments, beside timestamps and SACK: to bytes, over hops, and back."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import EncodeError, decode, encode
from mptcpsim.codec.mptcp import write_padded
from mptcpsim.codec.option_list import MPTCP, NO_OPERATION
from mptcpsim.codec.options import option_length, read_options, wire_length, write_options
from mptcpsim.codec.pcap import OUTBOUND, CaptureWriter
from mptcpsim.codec.raw import parse_ip, parse_tcp
from mptcpsim.codec.roundtrip import Recoder, differences, mend_checksums
from mptcpsim.core.mptcp_options import (
    AddAddr,
    Dss,
    MpCapable,
    MpFastclose,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
    mptcp_length,
)
from mptcpsim.core.options import OPTION_SPACE
from mptcpsim.core.payload import content, content_is, pattern
from mptcpsim.core.segment import (
    ACK,
    ICMP_FRAGMENTATION_NEEDED,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Segment,
    SynOptions,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.codec.packet_strategies import FLOW4, FLOW6, Exchange, exchanges, make_segment, peer_map
from tests.codec.test_mptcp import LAYOUTS, WRONG
from tests.codec.test_mptcp_captures import OPTIONS, fields, same, tshark
from tests.profiles import examples

SENDER = SequenceMap(1000, 2000)
LINUX_SYN = SynOptions(1460, 7, True)
SYNS = (None, SynOptions(1460, UNKNOWN, False), LINUX_SYN)
STAMPS = ((UNKNOWN, UNKNOWN), (7, 8))
ACK_AND_MAP = Dss(4, 5, 8, 6, 7, 9, 0xBEEF)


def decoded(segment: Segment, data: bytes | None = None) -> Segment:
    """Return what the receiver of an established connection reads."""
    own = peer_map(segment.sequences)
    packet = decode(encode(segment) if data is None else data, lambda flow: own)
    assert isinstance(packet, Segment)
    return packet


def carrying(flags: int, options: tuple[MptcpOption, ...], **more: object) -> Segment:
    """Return a segment with these options, the first DSS at its place."""
    dss = next((option for option in options if isinstance(option, Dss)), None)
    others = tuple(option for option in options if option is not dss) or None
    seq = 0 if flags & SYN else 1
    ack = 1 if flags & ACK else 0
    return make_segment(flags=flags, seq=seq, ack=ack, dss=dss, options=others, **more)  # type: ignore[arg-type]


def mixtures() -> list[Segment]:
    """Return every layout beside every mixture of other options, whether there is room or not."""
    segments = []
    for (_, flags, option, _), ts, blocks in product(LAYOUTS, STAMPS, range(5)):
        sack = tuple((100 * n + 1, 100 * n + 51) for n in range(blocks)) or None
        for syn in SYNS if flags & SYN else (None,):
            segment = carrying(flags, (option,), ts=ts, sack=sack, syn=syn)
            assert (segment.dss is None) != (segment.options is None)
            segments.append(segment)
    return segments


# --- Layouts --------------------------------------------------------------------------------------

STAMP = "0101080a 00000007 00000008"


@pytest.mark.parametrize(
    ("segment", "area"),
    [
        # Linux 6.18, as captured: MPTCP is the last option of a SYN.
        (
            carrying(SYN, (MpCapable(1, 1),), ts=(7, 0), syn=SynOptions(1460, 10, True)),
            "020405b4 0402080a 00000007 00000000 0103030a 1e040101",
        ),
        (
            carrying(SYN | ACK, (MpJoinSynAck(1, bytes(8), 3),), ts=(7, 8), syn=LINUX_SYN),
            "020405b4 0402080a 00000007 00000008 01030307 1e101001 00000000 00000000 00000003",
        ),
        (carrying(ACK, (Dss(4, 5),)), "1e082001 00000005"),
        (
            carrying(ACK, (ACK_AND_MAP,), ts=(7, 8), length=9),
            f"{STAMP} 1e18200d 00000005 00000000 00000006 00000007 0009beef",
        ),
        # An option is filled up with NOPs behind it.
        (
            carrying(ACK, (Dss(4, 5, 4, 6, 7, 9),), ts=(7, 8)),
            f"{STAMP} 1e122005 00000005 00000006 00000007 00090101",
        ),
        (
            carrying(ACK, (Dss(4, 5),), ts=(7, 8), sack=((1, 11),)),
            f"{STAMP} 0101050a 000007d1 000007db 1e082001 00000005",
        ),
        # The DSS comes first, the others in their order.
        (
            carrying(ACK, (MpPrio(True), Dss(4, 5), RemoveAddr((3, 4))), ts=(7, 8)),
            f"{STAMP} 1e082001 00000005 1e035101 1e054003 04010101",
        ),
        (
            carrying(RST | ACK, (MpFastclose(9), MpTcprst(2)), ts=(7, 8)),
            f"{STAMP} 1e0c7000 00000000 00000009 1e048002",
        ),
    ],
)
def test_where_the_options_stand(segment: Segment, area: str) -> None:
    assert write_options(segment).hex() == area.replace(" ", "")
    assert differences(segment, decoded(segment)) == []


def test_any_order_and_padding_is_read() -> None:
    segment = make_segment()
    area = "1e035101 1e0820 01 00000005 080a0000000700000008 1e054003 04 00 00"
    read_options(bytes.fromhex(area), segment, SENDER)
    assert segment.dss == Dss(4, 5)
    assert segment.options == (MpPrio(True), RemoveAddr((3, 4)))
    assert (segment.ts_val, segment.ts_ecr) == (7, 8)


def test_the_first_of_two_dss_counts() -> None:
    segment = carrying(ACK, (Dss(4, 5), Dss(4, 6), MpPrio(True)))
    assert segment.dss == Dss(4, 5)
    assert segment.options == (Dss(4, 6), MpPrio(True))
    assert differences(segment, decoded(segment)) == []


# --- Mixtures -------------------------------------------------------------------------------------


def test_every_mixture_survives_or_is_refused() -> None:
    fitting = refused = 0
    for segment in mixtures():
        if option_length(segment) > OPTION_SPACE:
            refused += 1
            with pytest.raises(EncodeError, match="bytes of options, more than 40"):
                encode(segment)
            continue
        fitting += 1
        data = encode(segment)
        assert len(data) == wire_length(segment) == segment.size
        own = None if segment.flags & SYN and not segment.flags & ACK else peer_map(SENDER)
        again = decode(data, lambda flow, own=own: own)  # type: ignore[misc]
        assert encode(again) == data
        if own is not None:
            assert differences(segment, again) == []
    assert fitting > 300
    assert refused > 300


def test_every_pair_of_options_survives() -> None:
    pairs = 0
    for (_, flags, one, _), (_, other_flags, other, _) in product(LAYOUTS, repeat=2):
        if (flags ^ other_flags) & (SYN | ACK) or mptcp_length(None, (one, other)) > OPTION_SPACE:
            continue
        segment = carrying(flags, (one, other), syn=None)
        own = peer_map(segment.sequences)
        if flags & SYN and not flags & ACK:
            own.irs = segment.sequences.iss
        again = decode(encode(segment), lambda flow, own=own: own)  # type: ignore[misc]
        assert isinstance(again, Segment)
        assert (again.dss, again.options) == (segment.dss, segment.options)
        assert encode(again) == encode(segment)
        pairs += 1
    assert pairs > 1000


@examples(500)
@given(exchanges())
def test_room_is_counted_as_it_is_used(exchange: Exchange) -> None:
    segment = exchange.segment
    bare = segment.clone()
    bare.dss = bare.options = None
    assert option_length(segment) - option_length(bare) == mptcp_length(segment.dss, segment.options)
    assert len(write_options(segment)) == option_length(segment) <= OPTION_SPACE


def test_an_option_without_bytes_is_refused() -> None:
    segment = make_segment(dss=Dss(4, 5))
    segment.dss = Dss(4, 1 << 32)
    with pytest.raises(EncodeError, match="does not fit"):
        encode(segment)


@pytest.mark.tool("tshark")
def test_tshark_reads_every_mixture(tmp_path: Path) -> None:
    path = tmp_path / "mixtures.pcapng"
    # A version that does not exist yet is none that tshark knows.
    segments = [
        segment
        for segment in mixtures()
        if option_length(segment) <= OPTION_SPACE and segment.options != (MpCapable(2, 1),)
    ]
    with CaptureWriter(path) as capture:
        capture.add_interface("eth0")
        for number, segment in enumerate(segments):
            flow = FLOW4 if number & 1 else FLOW6
            segment.flow = flow._replace(sport=61000 + number % 4000, dport=61000)
            segment.size = wire_length(segment)
            capture.write_packet(0, number, segment, OUTBOUND)
    for segment, theirs in zip(segments, tshark(path), strict=True):
        assert "_ws.malformed" not in theirs, segment
        found = {
            name.removeprefix(OPTIONS): value for name, value in theirs.items() if name.startswith(OPTIONS)
        }
        (option,) = segment.options or (segment.dss,)
        assert option is not None
        own = {field: values for field, values in fields(option).items() if values}
        assert found.keys() == own.keys(), segment
        for field, values in own.items():
            assert same(field, found[field], values), f"{segment}: {field}"


# --- What cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "body"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_malformed_option_is_passed_over(flags: int, body: str) -> None:
    """The segment counts, and says nothing of MPTCP: the receiver finds no DSS where one should be."""
    data = bytes.fromhex(body)
    area = bytes((MPTCP, len(data) + 2)) + data
    area += bytes((NO_OPERATION,)) * (-len(area) & 3)
    has_room = len(area) <= OPTION_SPACE - 12
    if has_room:
        area += bytes.fromhex("0101080a0000000700000008")
    segment = make_segment(flags=flags)
    read_options(area, segment, SENDER)
    assert segment.dss is None
    assert segment.options is None
    assert segment.ts_val == (7 if has_room else UNKNOWN)


def test_what_can_be_read_beside_a_malformed_option_counts() -> None:
    segment = make_segment()
    read_options(bytes.fromhex("1e062001d5d6 0101 1e082001 00000005 1e035101 1e04f000"), segment, SENDER)
    assert segment.dss == Dss(4, 5)
    assert segment.options == (MpPrio(True),)


@examples(1000)
@given(st.lists(st.binary(max_size=16), max_size=5), st.integers(0, 255))
def test_any_bodies_are_read(bodies: list[bytes], flags: int) -> None:
    area = b"".join(bytes((MPTCP, len(body) + 2)) + body for body in bodies)
    segment = make_segment(flags=flags & ~SYN)
    read_options(area, segment, SENDER)
    read_options(area[: len(area) // 2], make_segment(flags=flags), SENDER)
    kept = [option for option in (segment.dss, *(segment.options or ())) if option is not None]
    # Nothing is invented: each option that was kept has the bytes of one that was there.
    assert all(write_padded(option)[2 : option.wire_length()] in bodies for option in kept)


# --- Payload and hops -----------------------------------------------------------------------------


class Hosts:
    """Both ends of a connection whose client sends."""

    def sequence_map(self, flow: FourTuple) -> SequenceMap:
        return peer_map(SENDER) if flow.dport == FLOW4.dport else SENDER


def recoder(tamper: Callable[[bytes], bytes] | None = None) -> Recoder:
    return Recoder(lambda address: Hosts(), random.Random(1), tamper)


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
def test_data_of_any_place_travels_over_hops(flow: FourTuple) -> None:
    """Which bytes of the stream a segment carries, its sequence number does not say."""
    segment = carrying(ACK, (ACK_AND_MAP,), flow=flow, sequences=SENDER, ts=(7, 8), length=1400)
    segment.offset = 123_456_789
    at_hop = recoder()(segment)
    assert isinstance(at_hop, Segment)
    again = recoder()(at_hop.clone())
    assert isinstance(again, Segment)
    assert encode(segment) == encode(at_hop) == encode(again)
    assert differences(segment, again) == []
    assert again.payload == content(segment) == pattern(123_456_789, 1400)
    assert content_is(segment, 123_456_789)
    assert content_is(again, 123_456_789)
    assert not content_is(segment, 0)
    assert not content_is(again, 0)


def test_a_changed_payload_stays_changed() -> None:
    segment = carrying(ACK, (ACK_AND_MAP,), sequences=SENDER, length=1400)
    segment.offset = 5
    segment.corrupt_payload = True
    assert not content_is(segment, 5)
    again = recoder()(recoder()(segment) or segment)
    assert isinstance(again, Segment)
    assert differences(segment, again) == []
    assert not content_is(again, 5)
    assert content(again)[1:] == pattern(6, 1399)


def test_a_payload_of_another_length_is_refused() -> None:
    segment = make_segment(length=10)
    segment.payload = bytes(9)
    with pytest.raises(EncodeError, match="has 9 bytes of payload"):
        encode(segment)


@pytest.mark.parametrize("length", [0, 100, 1400])
def test_an_error_quotes_the_same_bytes_over_hops(length: int) -> None:
    """An IPv6 error quotes a part of the payload, from which the rest cannot be told."""
    cause = carrying(ACK, (ACK_AND_MAP,), flow=FLOW6, sequences=SENDER, ts=(7, 8), length=length)
    cause.offset = 77_777
    error = IcmpError("fd00:9::9", cause, ICMP_FRAGMENTATION_NEEDED, 1300)
    at_hop = recoder()(error)
    assert at_hop is not None
    again = recoder()(at_hop.clone())
    assert again is not None
    assert encode(error) == encode(at_hop) == encode(again)
    assert differences(error, again) == []


def without_mptcp(data: bytes) -> bytes:
    """Overwrite the options of MPTCP behind the timestamps with NOPs, as firewalls do."""
    tcp = parse_tcp(parse_ip(data).payload)
    start = len(data) - len(tcp.payload) - len(tcp.options) + 12
    end = len(data) - len(tcp.payload)
    return mend_checksums(data[:start] + bytes((NO_OPERATION,)) * (end - start) + data[end:])


def test_a_middlebox_may_overwrite_the_options() -> None:
    segment = carrying(ACK, (ACK_AND_MAP, MpPrio(True)), sequences=SENDER, ts=(7, 8), length=9)
    at_hop = recoder(without_mptcp)(segment)
    assert isinstance(at_hop, Segment)
    assert (at_hop.dss, at_hop.options, at_hop.ts_val) == (None, None, 7)
    again = recoder()(at_hop)
    assert again is not None
    assert differences(at_hop, again) == []


# --- Segment --------------------------------------------------------------------------------------


def test_a_segment_prints_its_options() -> None:
    segment = carrying(ACK, (ACK_AND_MAP._replace(data_fin=True), AddAddr(1, "10.0.0.1"), MpPrio(True)))
    assert repr(segment).endswith("dss fin ack 5 seq 6 subseq 7 len 9 csum 0xbeef AddAddr MpPrio")
    assert repr(make_segment(dss=Dss(0, 0, 4, 1, 2, 3))).endswith("dss seq 1 subseq 2 len 3")
    assert repr(make_segment(dss=Dss())).endswith(" dss")


def test_a_clone_has_the_options_and_the_payload() -> None:
    segment = carrying(ACK, (ACK_AND_MAP, MpPrio(True)), length=9)
    segment.payload = bytes(9)
    clone = segment.clone()
    assert (clone.dss, clone.options, clone.payload) == (ACK_AND_MAP, (MpPrio(True),), bytes(9))
    assert differences(segment, clone) == []
