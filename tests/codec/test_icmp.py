"""ICMP and ICMPv6 errors: the round trip, the quotation, and errors that are none for TCP."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import DecodeError, EncodeError, decode, encode
from mptcpsim.codec.raw import PROTOCOL_ICMP, PROTOCOL_ICMPV6, parse_ip
from mptcpsim.codec.roundtrip import differences, mend_checksums
from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    FourTuple,
    IcmpError,
    Segment,
)
from mptcpsim.core.sequences import SequenceMap
from tests.codec.packet_strategies import FLOW4, FLOW6, Exchange, exchanges, make_segment, peer_map
from tests.profiles import examples

KINDS = (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_NET_UNREACHABLE,
    ICMP_HOST_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
)

TYPES = {
    (4, ICMP_NET_UNREACHABLE): (3, 0, 0),
    (4, ICMP_HOST_UNREACHABLE): (3, 1, 0),
    (4, ICMP_PROTOCOL_UNREACHABLE): (3, 2, 0),
    (4, ICMP_PORT_UNREACHABLE): (3, 3, 0),
    (4, ICMP_FRAGMENTATION_NEEDED): (3, 4, 1400),
    (4, ICMP_TIME_EXCEEDED): (11, 0, 0),
    (6, ICMP_NET_UNREACHABLE): (1, 0, 0),
    (6, ICMP_HOST_UNREACHABLE): (1, 3, 0),
    (6, ICMP_PORT_UNREACHABLE): (1, 4, 0),
    (6, ICMP_FRAGMENTATION_NEEDED): (2, 0, 1400),
    (6, ICMP_TIME_EXCEEDED): (3, 0, 0),
    (6, ICMP_PROTOCOL_UNREACHABLE): (4, 1, 6),
}


def error_about(cause: Segment, kind: str = ICMP_FRAGMENTATION_NEEDED, mtu: int = 1400) -> IcmpError:
    router = "fd00:9::9" if ":" in cause.flow.src else "10.9.9.9"
    return IcmpError(router, cause, kind, mtu if kind == ICMP_FRAGMENTATION_NEEDED else 0)


def sender_map(cause: Segment) -> SequenceMap:
    """Return the map of the end that sent the cause, and gets the error."""
    own = SequenceMap(cause.sequences.iss, cause.sequences.irs)
    own.snd_near = cause.seq
    own.rcv_near = cause.ack
    return own


@examples(300)
@given(exchanges(), st.sampled_from(KINDS), st.integers(68, 65535), st.integers(0, 255), st.booleans())
def test_an_error_survives_its_bytes(
    exchange: Exchange, kind: str, mtu: int, ttl: int, has_connection: bool
) -> None:
    cause = exchange.segment
    if not has_connection:
        # What has no connection keeps its numbers as they are on the wire.
        seq = cause.sequences.wire_seq(cause.seq)
        cause = make_segment(
            flow=cause.flow, sequences=SequenceMap(0, 0), seq=seq, length=cause.length, ts=(1, 2)
        )
    cause.corrupt_payload = False  # nobody compares what is quoted
    error = error_about(cause, kind, mtu)
    error.ttl = ttl
    asked = []

    def lookup(flow: FourTuple) -> SequenceMap | None:
        asked.append(flow)
        return sender_map(cause) if has_connection else None

    decoded = decode(encode(error), lookup)
    assert differences(error, decoded) == []
    assert encode(decoded) == encode(error)
    assert asked == [cause.flow.reverse()]


@pytest.mark.parametrize(("version", "kind"), list(TYPES))
def test_types_and_codes(version: int, kind: str) -> None:
    cause = make_segment(flow=FLOW4 if version == 4 else FLOW6, length=1448)
    ip = parse_ip(encode(error_about(cause, kind)))
    assert ip.version == version
    assert ip.protocol == (PROTOCOL_ICMP if version == 4 else PROTOCOL_ICMPV6)
    number, code, _, rest = struct.unpack_from("!BBHI", ip.payload)
    assert (number, code, rest) == TYPES[version, kind]


@pytest.mark.parametrize("length", [0, 100, 3000])
def test_the_quotation_is_the_start_of_the_cause(length: int) -> None:
    for flow, most in ((FLOW4, 28), (FLOW6, 1232)):
        cause = make_segment(flow=flow, length=length)
        error = error_about(cause)
        quoted = parse_ip(encode(error)).payload[8:]
        assert quoted == encode(cause)[:most]
        assert len(encode(error)) == error.size <= 1280


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
def test_a_wrong_checksum_is_noticed(flow: FourTuple) -> None:
    error = error_about(make_segment(flow=flow))
    own = sender_map(error.cause)
    assert not decode(encode(error), lambda _: own).damaged
    error.damaged = True
    assert decode(encode(error), lambda _: own).damaged


def test_a_clone_is_an_error_too() -> None:
    error = error_about(make_segment())
    clone = error.clone()
    assert differences(error, clone) == []
    clone.ecn = 3
    assert differences(error, clone)[0] == "ecn: 0 != 3"


def test_an_mtu_that_does_not_fit_is_refused() -> None:
    with pytest.raises(EncodeError, match="MTU of 65536"):
        encode(error_about(make_segment(), mtu=65536))
    encode(error_about(make_segment(flow=FLOW6), mtu=65536))
    with pytest.raises(EncodeError):
        encode(error_about(make_segment(flow=FLOW6), mtu=1 << 32))


def test_an_error_of_a_wrong_size_is_refused() -> None:
    error = error_about(make_segment())
    error.size += 13  # more than there is to quote
    with pytest.raises(EncodeError):
        encode(error)


def test_a_longer_quotation_over_ipv4_is_read() -> None:
    """RFC 1812 section 4.3.2.3: routers quote more than 8 bytes."""
    cause = make_segment(seq=77, length=100, ts=(3, 4))
    ip = parse_ip(encode(error_about(cause)))
    data = encode(error_about(cause))[:28] + encode(cause)
    data = data[:2] + len(data).to_bytes(2, "big") + data[4:]
    decoded = decode(mend_checksums(data), lambda _: sender_map(cause))
    assert isinstance(decoded, IcmpError)
    assert not decoded.damaged
    assert ip.length < decoded.size == len(data)
    assert (decoded.quoted_seq, decoded.cause.ts_val) == (77, 3)


def test_the_unused_half_of_an_ipv4_error_is_ignored() -> None:
    """RFC 1191 section 4: the MTU is in the lower 16 bits."""
    cause = make_segment()
    data = bytearray(encode(error_about(cause, mtu=1300)))
    data[24] = 7
    decoded = decode(mend_checksums(bytes(data)), lambda _: sender_map(cause))
    assert isinstance(decoded, IcmpError)
    assert (decoded.mtu, decoded.damaged) == (1300, False)


def altered(position: int, value: int, flow: FourTuple = FLOW4) -> bytes:
    data = bytearray(encode(error_about(make_segment(flow=flow))))
    data[position] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (altered(20, 8), "type 8 code 4"),
        (altered(20, 0), "type 0"),
        (altered(21, 13), "code 13"),
        (altered(40, 128, FLOW6), "type 128"),
        (altered(28, 0x65), "IPv6 header"),
        (altered(28, 0x4F), "60"),
        (altered(31, 39), "of 39 bytes"),
        (altered(37, 17), "does not quote"),
        (altered(41, 9), "does not quote"),  # the source of the quoted segment is another host
        (altered(3, 55)[:55], "quotes 7 bytes"),
        (altered(3, 27)[:27], "too few for an ICMP error"),
    ],
)
def test_other_messages_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(data, lambda _: None)


def test_the_map_of_the_sender_makes_the_number_relative() -> None:
    sender = SequenceMap(0xFFFFFFF0, 7)
    cause = make_segment(sequences=sender, seq=1_000_000, length=10)
    own = peer_map(peer_map(sender), rcv_near=1, snd_near=999_000)
    decoded = decode(encode(error_about(cause)), lambda _: own)
    assert isinstance(decoded, IcmpError)
    assert decoded.quoted_seq == 1_000_000
    assert decoded.quoted_flow == cause.flow
