"""Segments to bytes and back: the round trip law, and each kind of number at its edges."""

from __future__ import annotations

import pytest
from hypothesis import given

from mptcpsim.codec import DecodeError, EncodeError, decode, encode
from mptcpsim.codec.raw import DONT_FRAGMENT, parse_ip, parse_tcp
from mptcpsim.codec.roundtrip import differences
from mptcpsim.core.payload import content_is, pattern
from mptcpsim.core.segment import ACK, CE, RST, SYN, FourTuple, Packet, Segment, SynOptions
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.codec.packet_strategies import FLOW4, FLOW6, Exchange, exchanges, make_segment, peer_map
from tests.profiles import examples

TOP = 0xFFFFFFFF


def nobody(flow: FourTuple) -> SequenceMap | None:
    return None


def decode_segment(data: bytes, receiver: SequenceMap | None) -> Segment:
    packet = decode(data, lambda flow: receiver)
    assert isinstance(packet, Segment)
    return packet


@examples(1000)
@given(exchanges())
def test_a_segment_survives_its_bytes(exchange: Exchange) -> None:
    data = encode(exchange.segment)
    decoded = decode(data, exchange.lookup)
    assert differences(exchange.segment, decoded) == []
    assert encode(decoded) == data


@examples(300)
@given(exchanges())
def test_a_damaged_segment_stays_damaged(exchange: Exchange) -> None:
    segment = exchange.segment
    segment.corrupt_payload = False
    sound = encode(segment)
    segment.damaged = True
    assert encode(segment) != sound
    decoded = decode(encode(segment), exchange.lookup)
    assert decoded.damaged
    assert (decoded.flow, decoded.size) == (segment.flow, segment.size)


def test_the_numbers_on_the_wire() -> None:
    segment = make_segment(sequences=SequenceMap(1000, 2000), seq=11, ack=21, sack=((31, 41),), length=3)
    ip = parse_ip(encode(segment))
    tcp = parse_tcp(ip.payload)
    assert (tcp.seq, tcp.ack, tcp.payload) == (1011, 2021, pattern(10, 3))
    assert tcp.options == bytes.fromhex("0101050a") + (2031).to_bytes(4, "big") + (2041).to_bytes(4, "big")
    assert (ip.identification, ip.fragment, ip.length) == (0, DONT_FRAGMENT, 20 + 20 + 12 + 3)


def test_numbers_wrap_on_the_wire_and_not_in_the_segment() -> None:
    sender = SequenceMap(TOP - 5, TOP - 7)
    far = 3 * (1 << 32) + 100
    segment = make_segment(sequences=sender, seq=far, ack=far + 10, sack=((far + 20, far + 30),), length=200)
    tcp = parse_tcp(parse_ip(encode(segment)).payload)
    assert (tcp.seq, tcp.ack) == (94, 102)
    receiver = peer_map(sender, rcv_near=far - 150, snd_near=far + 5)
    assert differences(segment, decode_segment(encode(segment), receiver)) == []


def test_an_old_segment_comes_out_below_the_window() -> None:
    sender = SequenceMap(TOP, 5)
    segment = make_segment(sequences=sender, seq=1, ack=1, length=10)
    decoded = decode_segment(encode(segment), peer_map(sender, rcv_near=1_000_000, snd_near=500_000))
    assert (decoded.seq, decoded.ack) == (1, 1)


def test_a_keepalive_before_the_first_byte() -> None:
    sender = SequenceMap(0, 0)
    segment = make_segment(sequences=sender, seq=-1, ack=1, length=1)
    assert segment.offset == -2
    assert differences(segment, decode_segment(encode(segment), peer_map(sender))) == []


def test_ecn_mark_changes_the_ip_header_alone() -> None:
    segment = make_segment(length=100)
    marked = segment.clone()
    marked.ecn = CE
    plain, changed = encode(segment), encode(marked)
    assert plain[20:] == changed[20:]
    assert (plain[1], changed[1]) == (0, CE)
    assert decode_segment(changed, None).ecn == CE


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
def test_a_packet_that_may_be_fragmented_has_an_identification(flow: FourTuple) -> None:
    numbers = set()
    for n in range(20):
        segment = make_segment(flow=flow, seq=1 + 1448 * n, length=1448)
        segment.df = flow is FLOW6
        ip = parse_ip(encode(segment))
        assert ip.fragment == 0
        numbers.add(ip.identification)
    assert len(numbers) == (20 if flow is FLOW4 else 1)


# --- SYNs, and segments without a connection ----------------------------------------------------


@pytest.mark.parametrize("iss", [0, 1, 1 << 31, TOP])
def test_a_syn_brings_its_initial_number(iss: int) -> None:
    options = SynOptions(1460, 7, True)
    segment = make_segment(sequences=SequenceMap(iss), flags=SYN, seq=0, ack=0, ts=(7, 0), syn=options)
    for receiver in (None, SequenceMap(99)):  # a listener; an end that has sent its own SYN
        decoded = decode_segment(encode(segment), receiver)
        assert (decoded.seq, decoded.iss, decoded.syn) == (0, iss, options)
        assert encode(decoded) == encode(segment)


def test_a_retransmitted_syn_is_number_zero_again() -> None:
    sender = SequenceMap(TOP - 1)
    segment = make_segment(sequences=sender, flags=SYN, seq=0, ack=0)
    receiver = SequenceMap(5, TOP - 1)
    receiver.rcv_near = 100_000
    decoded = decode_segment(encode(segment), receiver)
    assert (decoded.seq, decoded.iss) == (0, TOP - 1)


def test_a_syn_of_another_incarnation_has_its_own_initial_number() -> None:
    segment = make_segment(sequences=SequenceMap(70_000), flags=SYN, seq=0, ack=0)
    receiver = SequenceMap(5, 20_000)
    receiver.rcv_near = 30_000
    decoded = decode_segment(encode(segment), receiver)
    assert (decoded.seq, decoded.iss) == (50_000, 70_000)
    assert encode(decoded) == encode(segment)


def test_a_syn_ack_to_a_waiting_client() -> None:
    server = SequenceMap(TOP, 10)
    segment = make_segment(sequences=server, flags=SYN | ACK, seq=0, ack=1)
    client = SequenceMap(10)
    decoded = decode_segment(encode(segment), client)
    assert (decoded.seq, decoded.ack, decoded.iss) == (0, 1, TOP)
    assert encode(decoded) == encode(segment)


def test_simultaneous_open() -> None:
    # Both have sent a SYN, and know no number of the other.
    for iss, other in ((TOP, 3), (3, TOP)):
        decoded = decode_segment(
            encode(make_segment(sequences=SequenceMap(iss), flags=SYN, seq=0, ack=0)), SequenceMap(other)
        )
        assert (decoded.seq, decoded.iss) == (0, iss)
        # Each answers SYN/ACK; the receiver knows both numbers now.
        answer = make_segment(sequences=SequenceMap(iss, other), flags=SYN | ACK, seq=0, ack=1)
        decoded = decode_segment(encode(answer), peer_map(answer.sequences))
        assert (decoded.seq, decoded.ack) == (0, 1)


@pytest.mark.parametrize("iss", [0, 1 << 31, TOP])
def test_a_stray_segment_is_reset_with_the_right_number(iss: int) -> None:
    """RFC 9293 section 3.10.7.1: <SEQ=SEG.ACK><CTL=RST>, built by one that knows nothing."""
    sender = SequenceMap(iss, TOP - 3)
    stray = make_segment(sequences=sender, seq=500, ack=10, length=20)
    decoded = decode_segment(encode(stray), None)
    assert (decoded.seq, decoded.ack) == ((iss + 500) & TOP, 6)
    assert encode(decoded) == encode(stray)
    reset = make_segment(
        flow=stray.flow.reverse(), sequences=decoded.sequences.reverse(), flags=RST, seq=decoded.ack, ack=0
    )
    arrived = decode_segment(encode(reset), sender)
    assert arrived.seq == stray.ack


@pytest.mark.parametrize("iss", [0, 1 << 31, TOP])
def test_a_syn_to_a_closed_port_is_reset(iss: int) -> None:
    """RFC 9293 section 3.10.7.1: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>."""
    sender = SequenceMap(iss)
    decoded = decode_segment(encode(make_segment(sequences=sender, flags=SYN, seq=0, ack=0)), None)
    reset = make_segment(
        flow=decoded.flow.reverse(),
        sequences=decoded.sequences.reverse(),
        flags=RST | ACK,
        seq=0,
        ack=decoded.end,
    )
    assert parse_tcp(parse_ip(encode(reset)).payload).seq == 0
    arrived = decode_segment(encode(reset), sender)
    assert (arrived.seq, arrived.ack) == (0, 1)


# --- Integrity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("length", [0, 1, 20])
def test_every_changed_byte_is_noticed(flow: FourTuple, length: int) -> None:
    segment = make_segment(flow=flow, length=length, ts=(1, 2))
    data = encode(segment)
    # IPv6 has no header checksum; the pseudo header covers the addresses.
    protected = range(len(data)) if flow is FLOW4 else [4, 5, 6, *range(8, len(data))]
    for position in protected:
        for mask in (1, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= mask
            try:
                assert decode(bytes(changed), nobody).damaged
            except DecodeError:
                continue


def test_a_payload_of_another_place_is_noticed() -> None:
    segment = make_segment(seq=101, length=50)
    assert content_is(decode_segment(encode(segment), peer_map(segment.sequences)), 100)
    segment.offset = 101
    decoded = decode_segment(encode(segment), peer_map(segment.sequences))
    assert not content_is(decoded, 100)
    assert content_is(decoded, 101)


# --- The caller's mistakes -----------------------------------------------------------------------


def test_a_size_that_is_not_the_length_is_refused() -> None:
    segment = make_segment(length=10)
    segment.size += 1
    with pytest.raises(EncodeError, match="51 bytes, and has 50"):
        encode(segment)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 65536),
        ("window", -1),
        ("urgent", 65536),
        ("ttl", 256),
        ("ts_ecr", UNKNOWN),
        ("ts_val", 1 << 32),
        ("iss", 999),
        ("flow", FourTuple("10.0.0.1", 65536, "10.0.0.2", 1)),
        ("flow", FourTuple("10.0.0.1", 1, "fd00::1", 1)),
        ("flow", FourTuple("somewhere", 1, "10.0.0.1", 1)),
        ("sack", ((1, 2),) * 4),
    ],
)
def test_a_field_out_of_range_is_refused(field: str, value: object) -> None:
    flags = SYN if field == "iss" else ACK
    segment = make_segment(ts=(5, 6), flags=flags, seq=0)
    encode(segment)
    setattr(segment, field, value)
    with pytest.raises(EncodeError):
        encode(segment)


def test_options_of_a_syn_belong_to_a_syn() -> None:
    segment = make_segment()
    segment.syn = SynOptions(1460, 7, True)
    with pytest.raises(EncodeError, match="no SYN"):
        encode(segment)


def test_a_bare_packet_has_no_bytes() -> None:
    with pytest.raises(EncodeError, match="neither"):
        encode(Packet(FLOW4, 40))


# --- Bytes that are no packet for TCP ------------------------------------------------------------


def altered(position: int, value: int, *, flow: FourTuple = FLOW4) -> bytes:
    data = bytearray(encode(make_segment(flow=flow, length=10)))
    data[position] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too few"),
        (bytes(19), "too few"),
        (bytes(40), "IP version 0"),
        (b"\x60" + bytes(30), "too few for an IPv6"),
        (altered(0, 0x44), "header of 16"),
        (altered(0, 0x4F), "header of 60"),
        (altered(3, 19), "header of 20 bytes in a packet of 19"),
        (altered(3, 60), "50 bytes of a packet of 60"),
        (altered(5, 31, flow=FLOW6), "70 bytes of a packet of 71"),
        (altered(6, 0x20), "fragment"),
        (altered(7, 1), "fragment"),
        (altered(9, 17), "protocol 17"),
        (altered(6, 44, flow=FLOW6), "protocol 44"),
        (altered(32, 0x40), "TCP header of 16"),
        (altered(32, 0xF0), "TCP header of 60"),
        (altered(3, 39)[:39], "too few for a TCP header"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(data, nobody)


def test_bytes_after_the_packet_are_left_out() -> None:
    segment = make_segment(length=1)
    decoded = decode_segment(encode(segment) + b"padding of a short frame", peer_map(segment.sequences))
    assert differences(segment, decoded) == []
