"""Any bytes: decoding gives a packet or a DecodeError, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import DecodeError, EncodeError, decode, encode
from mptcpsim.codec.roundtrip import differences, mend_checksums
from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import SequenceMap
from tests.codec.packet_strategies import FLOW4, Exchange, exchanges, make_segment
from tests.profiles import examples

receivers = st.one_of(
    st.none(),
    st.builds(SequenceMap, st.integers(0, 0xFFFFFFFF), st.integers(-1, 0xFFFFFFFF)),
)

#: (position from either end, new byte)
changes = st.lists(st.tuples(st.integers(-80, 80), st.integers(0, 255)), min_size=1, max_size=4)


def altered(data: bytes, where: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for position, value in where:
        changed[position % len(changed)] = value
    return bytes(changed)


def judge(data: bytes, receiver: SequenceMap | None) -> None:
    """Decode, and encode again what came out if it is something that a sender could have sent."""
    try:
        packet = decode(data, lambda flow: receiver)
    except DecodeError:
        return
    assert isinstance(packet, Segment | IcmpError)
    assert 40 <= packet.size <= len(data)
    repr(packet)
    if not packet.damaged:
        check_again(packet, receiver)


def check_again(packet: Packet, receiver: SequenceMap | None) -> None:
    try:
        data = encode(packet)
    except EncodeError:
        return  # options that we do not write take another room
    again = decode(data, lambda flow: receiver)
    assert differences(packet, again) == []


@examples(1000)
@given(st.binary(max_size=200), receivers)
def test_random_bytes(data: bytes, receiver: SequenceMap | None) -> None:
    judge(data, receiver)


@examples(500)
@given(st.sampled_from([4, 6]), st.sampled_from([1, 6, 58]), st.binary(max_size=120), receivers)
def test_random_bytes_after_a_right_header(
    version: int, protocol: int, rest: bytes, receiver: SequenceMap | None
) -> None:
    if version == 4:
        data = b"\x45\x00" + (20 + len(rest)).to_bytes(2, "big") + bytes(5) + bytes((protocol,)) + bytes(10)
    else:
        data = b"\x60\x00\x00\x00" + len(rest).to_bytes(2, "big") + bytes((protocol, 64)) + bytes(32)
    judge(data + rest, receiver)
    try:
        mended = mend_checksums(data + rest)
    except DecodeError:
        return
    judge(mended, receiver)


@examples(1000)
@given(exchanges(), changes, receivers)
def test_altered_segments(
    exchange: Exchange, where: list[tuple[int, int]], receiver: SequenceMap | None
) -> None:
    data = altered(encode(exchange.segment), where)
    judge(data, receiver)
    judge(data[: len(data) // 2], receiver)
    try:
        mended = mend_checksums(data)
    except DecodeError:
        return
    judge(mended, receiver)


@examples(500)
@given(exchanges(), changes, receivers)
def test_altered_errors(
    exchange: Exchange, where: list[tuple[int, int]], receiver: SequenceMap | None
) -> None:
    cause = exchange.segment
    router = "fd00:9::9" if ":" in cause.flow.src else "10.9.9.9"
    data = altered(encode(IcmpError(router, cause, ICMP_FRAGMENTATION_NEEDED, 1400)), where)
    judge(data, receiver)
    try:
        mended = mend_checksums(data)
    except DecodeError:
        return
    judge(mended, receiver)


def test_lookups_are_for_flows() -> None:
    asked: list[FourTuple] = []

    def lookup(flow: FourTuple) -> SequenceMap | None:
        asked.append(flow)
        return None

    decode(encode(make_segment()), lookup)
    assert asked == [FLOW4]
