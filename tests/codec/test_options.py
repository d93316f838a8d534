"""TCP options: layouts, lengths, and options of the wrong kind of length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import EncodeError, encode
from mptcpsim.codec.option_list import MPTCP, join_options, split_options
from mptcpsim.codec.options import option_length, read_options, wire_length, write_options
from mptcpsim.core.segment import ACK, SYN, FourTuple, SynOptions
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.codec.packet_strategies import (
    FLOW4,
    FLOW6,
    Exchange,
    exchanges,
    make_segment,
    syn_options,
    timestamps,
)
from tests.profiles import examples


def read(area: str | bytes, flags: int = SYN, flow: FourTuple = FLOW4) -> tuple[object, ...]:
    segment = make_segment(flow=flow, flags=flags)
    read_options(bytes.fromhex(area) if isinstance(area, str) else area, segment, SequenceMap(100, 200))
    return segment.syn, segment.ts_val, segment.ts_ecr, segment.sack


NOTHING = (None, UNKNOWN, UNKNOWN, None)


@pytest.mark.parametrize(
    ("syn", "ts", "area"),
    [
        # Linux 6.18, as captured: MSS, SACK permitted, timestamps, NOP, window scale.
        (SynOptions(1460, 10, True), (7, 0), "020405b4 0402080a 00000007 00000000 0103030a"),
        (SynOptions(1460, UNKNOWN, False), None, "020405b4"),
        (SynOptions(1460, UNKNOWN, True), None, "020405b4 01010402"),
        (SynOptions(1460, 7, False), None, "020405b4 01030307"),
        (SynOptions(1460, 7, True), None, "020405b4 01010402 01030307"),
        (SynOptions(1460, UNKNOWN, False), (7, 8), "020405b4 0101080a 00000007 00000008"),
        (None, (7, 8), "0101080a 00000007 00000008"),
    ],
)
def test_layouts_of_a_syn(syn: SynOptions | None, ts: tuple[int, int] | None, area: str) -> None:
    segment = make_segment(flags=SYN, seq=0, syn=syn, ts=ts or (UNKNOWN, UNKNOWN))
    assert write_options(segment) == bytes.fromhex(area)


def test_layout_of_an_acknowledgment() -> None:
    numbers = SequenceMap(0, 0xFFFFFFFF)
    segment = make_segment(sequences=numbers, ts=(7, 8), sack=((2, 3), (0, 1)))
    assert write_options(segment) == bytes.fromhex(
        "0101080a 00000007 00000008 01010512 00000001 00000002 ffffffff 00000000"
    )


@given(exchanges())
def test_lengths_are_those_of_the_bytes(exchange: Exchange) -> None:
    segment = exchange[0]
    assert wire_length(segment) == len(encode(segment))
    area = write_options(segment)
    assert len(area) % 4 == 0
    assert len(area) == option_length(segment)


@given(syn_options, timestamps)
def test_what_a_syn_says_is_read(syn: SynOptions, ts: tuple[int, int]) -> None:
    area = write_options(make_segment(flags=SYN, seq=0, syn=syn, ts=ts))
    assert read(area) == (syn, *ts, None)


def test_any_order_and_padding_is_read() -> None:
    expected = (SynOptions(1460, 3, True), 1, 2, None)
    assert read("03030301 0402 01 080a0000000100000002 020405b4 00 ffff") == expected


def test_sack_blocks_lie_in_the_space_of_the_receiver() -> None:
    assert read("0101050a 00000065 000000c8", flags=ACK) == (None, UNKNOWN, UNKNOWN, ((1, 100),))


def test_an_option_of_a_syn_counts_on_a_syn_alone() -> None:
    assert read("020405b4 01010402 01030307", flags=ACK) == NOTHING


def test_unknown_options_are_passed_over() -> None:
    """RFC 9293 section 3.1, MUST-6."""
    assert read("fd06aabbccdd 1e04 8100 020405b4")[0] == SynOptions(1460, UNKNOWN, False)


@pytest.mark.parametrize(
    "area",
    [
        "0200 020405b4",  # length 0 (MUST-7)
        "0801 020405b4",  # length 1
        "fd0a 020405b4",  # past the end
        "02",  # no length
        "0101 01 08",
        "00 020405b4",  # after the end of the list
        "020305",  # MSS of a wrong length
        "0205050500",
        "0302 0404aabb",  # window scale and SACK permitted of wrong lengths
        "08090000000100000002",
        "0502",  # SACK without a block
        "050600000001",
        "050e000000010000000200000003",
        "",
    ],
)
def test_malformed_options_say_nothing(area: str) -> None:
    assert read(area) == NOTHING
    assert read(area, flags=ACK) == NOTHING


def test_options_before_an_illegal_length_count() -> None:
    assert read("020405b4 0300 0402")[0] == SynOptions(1460, UNKNOWN, False)


def test_a_window_scale_above_14_is_14() -> None:
    """RFC 7323 section 2.3."""
    assert read("020405b4 0103030f")[0] == SynOptions(1460, 14, False)


@pytest.mark.parametrize(("flow", "mss"), [(FLOW4, 536), (FLOW6, 1220)])
def test_the_default_mss(flow: FourTuple, mss: int) -> None:
    """RFC 9293 section 3.7.1, MUST-15."""
    assert read("01010402", flow=flow)[0] == SynOptions(mss, UNKNOWN, True)


def test_the_last_of_two_counts() -> None:
    assert read("020405b4 02040218")[0] == SynOptions(536, UNKNOWN, False)


def test_more_than_40_bytes_are_refused() -> None:
    segment = make_segment(ts=(1, 2), sack=((1, 2),) * 4)
    with pytest.raises(EncodeError, match="48 bytes of options"):
        write_options(segment)


# --- The list ------------------------------------------------------------------------------------

bodies = st.binary(max_size=10)
some_options = st.lists(
    st.one_of(st.just((1, b"")), st.tuples(st.integers(2, 255), bodies)),
    max_size=6,
).filter(lambda options: sum(1 if kind == 1 else 2 + len(body) for kind, body in options) <= 40)


@examples(300)
@given(some_options)
def test_a_list_survives_its_bytes(options: list[tuple[int, bytes]]) -> None:
    used = sum(1 if kind == 1 else 2 + len(body) for kind, body in options)
    if used % 4:
        options = [*options, (0, bytes(3 - used % 4))]
    assert list(split_options(join_options(options))) == options


def test_an_unknown_kind_is_preserved() -> None:
    area = bytes.fromhex("1e0400810101080a0000000100000002")
    assert next(split_options(area)) == (MPTCP, b"\x00\x81")
    assert join_options(split_options(area)) == area


@pytest.mark.parametrize("options", [[(1, b"")], [(30, bytes(42))]])
def test_an_impossible_area_is_refused(options: list[tuple[int, bytes]]) -> None:
    with pytest.raises(EncodeError):
        join_options(options)


@examples(500)
@given(st.binary(max_size=60), st.sampled_from([SYN, ACK, SYN | ACK]))
def test_any_bytes_are_read(area: bytes, flags: int) -> None:
    rest = b"".join(
        bytes((kind,)) + (body if kind < 2 else bytes((len(body) + 2,)) + body)
        for kind, body in split_options(area)
    )
    assert area.startswith(rest)  # nothing is invented, nothing skipped
    read(area, flags)
