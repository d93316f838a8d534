"""The options of MPTCP, to bytes and back: every layout, every length, every byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import DecodeError, EncodeError
from mptcpsim.codec.mptcp import read_mptcp, write_mptcp, write_padded
from mptcpsim.codec.option_list import MPTCP, NO_OPERATION, split_options
from mptcpsim.core.mptcp_options import (
    CHECKSUM_REQUIRED,
    HMAC_SHA,
    NO_MORE_SUBFLOWS,
    REASON_MIDDLEBOX,
    REASON_NAMES,
    REASON_UNSPECIFIED,
    SUBTYPE_EXPERIMENTAL,
    SUBTYPE_NAMES,
    VERSION_0,
    VERSION_1,
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
    exists_in,
    padded_length,
)
from mptcpsim.core.segment import ACK, FIN, PSH, RST, SYN
from mptcpsim.core.sequences import UNKNOWN
from tests.codec.option_strategies import mptcp_options
from tests.profiles import examples

KEY_A = 0x0102030405060708
KEY_B = 0x1112131415161718
HMAC_8 = bytes.fromhex("a0a1a2a3a4a5a6a7")
HMAC_20 = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3")
IPV4 = "0a000201"
IPV6 = "fd000003" + 11 * "00" + "02"
DSN_8 = 0xC1C2C3C4C5C6C7C8
ACK_8 = 0xD1D2D3D4D5D6D7D8

#: Name, control bits, option, whole option in hex with kind and length.
LAYOUTS: list[tuple[str, int, MptcpOption, str]] = [
    ("capable v1 syn", SYN, MpCapable(1, HMAC_SHA), "1e04 01 01"),
    ("capable v1 syn/ack", SYN | ACK, MpCapable(1, 0xA1, KEY_B), "1e0c 01 a1 1112131415161718"),
    ("capable v1 ack", ACK, MpCapable(1, 1, KEY_A, KEY_B), "1e14 01 01 0102030405060708 1112131415161718"),
    (
        "capable v1 data",
        ACK | PSH,
        MpCapable(1, 1, KEY_A, KEY_B, 100),
        "1e16 01 01 0102030405060708 1112131415161718 0064",
    ),
    (
        "capable v1 data checksum",
        ACK,
        MpCapable(1, 0x81, KEY_A, KEY_B, 1424, 0x5561),
        "1e18 01 81 0102030405060708 1112131415161718 0590 5561",
    ),
    ("capable v2 syn", SYN, MpCapable(2, HMAC_SHA), "1e04 02 01"),
    ("capable v0 syn", SYN, MpCapable(0, 0x81, KEY_A), "1e0c 00 81 0102030405060708"),
    ("capable v0 syn/ack", SYN | ACK, MpCapable(0, 1, KEY_B), "1e0c 00 01 1112131415161718"),
    ("capable v0 ack", ACK, MpCapable(0, 1, KEY_A, KEY_B), "1e14 00 01 0102030405060708 1112131415161718"),
    ("join syn", SYN, MpJoinSyn(2, 0x425E9A6E, 0xEADE4773), "1e0c 10 02 425e9a6e eade4773"),
    ("join syn backup", SYN, MpJoinSyn(2, 1, 2, backup=True), "1e0c 11 02 00000001 00000002"),
    ("join syn/ack", SYN | ACK, MpJoinSynAck(1, HMAC_8, 0xDD29462E), f"1e10 10 01 {HMAC_8.hex()} dd29462e"),
    (
        "join syn/ack backup",
        SYN | ACK,
        MpJoinSynAck(1, HMAC_8, 3, True),
        f"1e10 11 01 {HMAC_8.hex()} 00000003",
    ),
    ("join ack", ACK, MpJoinAck(HMAC_20), f"1e18 10 00 {HMAC_20.hex()}"),
    ("dss empty", ACK, Dss(), "1e04 20 00"),
    ("dss ack4", ACK, Dss(4, 0xD5D6D7D8), "1e08 20 01 d5d6d7d8"),
    ("dss ack8", ACK, Dss(8, ACK_8), "1e0c 20 03 d1d2d3d4d5d6d7d8"),
    ("dss dsn4", 0, Dss(0, 0, 4, 0xC5C6C7C8, 7, 9), "1e0e 20 04 c5c6c7c8 00000007 0009"),
    ("dss dsn4 checksum", 0, Dss(0, 0, 4, 1, 7, 9, 0xBEEF), "1e10 20 04 00000001 00000007 0009 beef"),
    ("dss dsn8", 0, Dss(0, 0, 8, DSN_8, 7, 9), "1e12 20 0c c1c2c3c4c5c6c7c8 00000007 0009"),
    ("dss dsn8 checksum", 0, Dss(0, 0, 8, DSN_8, 7, 9, 0), "1e14 20 0c c1c2c3c4c5c6c7c8 00000007 0009 0000"),
    ("dss 4 4", ACK, Dss(4, 5, 4, 6, 7, 9), "1e12 20 05 00000005 00000006 00000007 0009"),
    ("dss 4 4 checksum", ACK, Dss(4, 5, 4, 6, 7, 9, 1), "1e14 20 05 00000005 00000006 00000007 0009 0001"),
    ("dss 4 8", ACK, Dss(4, 5, 8, DSN_8, 7, 9), "1e16 20 0d 00000005 c1c2c3c4c5c6c7c8 00000007 0009"),
    (
        "dss 4 8 sum",
        ACK,
        Dss(4, 5, 8, DSN_8, 7, 9, 1),
        "1e18 20 0d 00000005 c1c2c3c4c5c6c7c8 00000007 0009 0001",
    ),
    ("dss 8 4", ACK, Dss(8, ACK_8, 4, 6, 7, 9), "1e16 20 07 d1d2d3d4d5d6d7d8 00000006 00000007 0009"),
    (
        "dss 8 4 sum",
        ACK,
        Dss(8, ACK_8, 4, 6, 7, 9, 1),
        "1e18 20 07 d1d2d3d4d5d6d7d8 00000006 00000007 0009 0001",
    ),
    (
        "dss 8 8",
        ACK,
        Dss(8, ACK_8, 8, DSN_8, 7, 9),
        "1e1a 20 0f d1d2d3d4d5d6d7d8 c1c2c3c4c5c6c7c8 00000007 0009",
    ),
    (
        "dss 8 8 checksum",
        ACK,
        Dss(8, ACK_8, 8, DSN_8, 7, 9, 0xFFFF),
        "1e1c 20 0f d1d2d3d4d5d6d7d8 c1c2c3c4c5c6c7c8 00000007 0009 ffff",
    ),
    (
        "dss data_fin alone",
        ACK,
        Dss(4, 5, 8, DSN_8, 0, 1, data_fin=True),
        "1e16 20 1d 00000005 c1c2c3c4c5c6c7c8 00000000 0001",
    ),
    ("dss infinite", ACK, Dss(0, 0, 4, 6, 7, 0, 0), "1e10 20 04 00000006 00000007 0000 0000"),
    ("add_addr v1", ACK, AddAddr(1, "10.0.2.1", hmac=HMAC_8), f"1e10 30 01 {IPV4} {HMAC_8.hex()}"),
    ("add_addr v1 port", ACK, AddAddr(1, "10.0.2.1", 9999, HMAC_8), f"1e12 30 01 {IPV4} 270f {HMAC_8.hex()}"),
    ("add_addr v1 ipv6", ACK, AddAddr(3, "fd00:3::2", hmac=HMAC_8), f"1e1c 30 03 {IPV6} {HMAC_8.hex()}"),
    (
        "add_addr v1 ipv6 port",
        ACK,
        AddAddr(3, "fd00:3::2", 80, HMAC_8),
        f"1e1e 30 03 {IPV6} 0050 {HMAC_8.hex()}",
    ),
    ("add_addr echo", ACK, AddAddr(1, "10.0.2.1", echo=True), f"1e08 31 01 {IPV4}"),
    ("add_addr echo port", ACK, AddAddr(1, "10.0.2.1", 9999, echo=True), f"1e0a 31 01 {IPV4} 270f"),
    ("add_addr echo ipv6", ACK, AddAddr(3, "fd00:3::2", echo=True), f"1e14 31 03 {IPV6}"),
    ("add_addr echo ipv6 port", ACK, AddAddr(3, "fd00:3::2", 0, echo=True), f"1e16 31 03 {IPV6} 0000"),
    ("add_addr v0", ACK, AddAddr(1, "10.0.2.1"), f"1e08 34 01 {IPV4}"),
    ("add_addr v0 port", ACK, AddAddr(1, "10.0.2.1", 9999), f"1e0a 34 01 {IPV4} 270f"),
    ("add_addr v0 ipv6", ACK, AddAddr(3, "fd00:3::2"), f"1e14 36 03 {IPV6}"),
    ("add_addr v0 ipv6 port", ACK, AddAddr(3, "fd00:3::2", 65535), f"1e16 36 03 {IPV6} ffff"),
    ("remove_addr 1", ACK, RemoveAddr((1,)), "1e04 40 01"),
    ("remove_addr 3", ACK, RemoveAddr((255, 0, 7)), "1e06 40 ff 00 07"),
    ("prio", ACK, MpPrio(False), "1e03 50"),
    ("prio backup", ACK, MpPrio(True), "1e03 51"),
    ("prio v0 address", ACK, MpPrio(True, 4), "1e04 51 04"),
    ("fail", ACK | RST, MpFail(DSN_8), "1e0c 60 00 c1c2c3c4c5c6c7c8"),
    ("fastclose", RST, MpFastclose(KEY_A), "1e0c 70 00 0102030405060708"),
    ("tcprst", RST, MpTcprst(REASON_UNSPECIFIED), "1e04 80 00"),
    ("tcprst transient", RST | ACK, MpTcprst(REASON_MIDDLEBOX, True), "1e04 81 06"),
    # Reserved bits, as another implementation may set them.
    ("reserved join syn", SYN, MpJoinSyn(2, 1, 2, True, 0xE), "1e0c 1f 02 00000001 00000002"),
    ("reserved join ack", ACK, MpJoinAck(HMAC_20, 0x100), f"1e18 11 00 {HMAC_20.hex()}"),
    ("reserved dss", ACK, Dss(4, 5, reserved=0xFE0 | 8), "1e08 2f e9 00000005"),
    ("reserved dss map", 0, Dss(0, 0, 4, 1, 7, 9, reserved=2), "1e0e 20 06 00000001 00000007 0009"),
    ("reserved echo", ACK, AddAddr(1, "10.0.2.1", echo=True, reserved=4), f"1e08 35 01 {IPV4}"),
    ("reserved tcprst", RST, MpTcprst(0xFF, True, 0xE), "1e04 8f ff"),
]


@pytest.mark.parametrize(("flags", "option", "data"), [pytest.param(*row[1:], id=row[0]) for row in LAYOUTS])
def test_a_layout_to_bytes_and_back(flags: int, option: MptcpOption, data: str) -> None:
    whole = bytes.fromhex(data)
    assert bytes((MPTCP, option.wire_length())) + write_mptcp(option) == whole
    again = read_mptcp(whole[2:], flags)
    assert again == option
    assert type(again) is type(option)


def test_every_length_of_the_rfcs_is_among_the_layouts() -> None:
    lengths: dict[str, set[int]] = {}
    for _, _, option, _ in LAYOUTS:
        lengths.setdefault(type(option).__name__, set()).add(option.wire_length())
    assert lengths == {
        "MpCapable": {4, 12, 20, 22, 24},
        "MpJoinSyn": {12},
        "MpJoinSynAck": {16},
        "MpJoinAck": {24},
        "Dss": {4, 8, 12, 14, 16, 18, 20, 22, 24, 26, 28},
        "AddAddr": {8, 10, 16, 18, 20, 22, 28, 30},
        "RemoveAddr": {4, 6},
        "MpPrio": {3, 4},
        "MpFail": {12},
        "MpFastclose": {12},
        "MpTcprst": {4},
    }


@pytest.mark.parametrize(("option", "data"), [pytest.param(*row[2:], id=row[0]) for row in LAYOUTS])
def test_an_option_is_padded_with_nops(option: MptcpOption, data: str) -> None:
    whole = bytes.fromhex(data)
    padded = write_padded(option)
    assert padded[: len(whole)] == whole
    assert len(padded) == padded_length(option)
    assert len(padded) % 4 == 0
    assert len(padded) - len(whole) < 4
    kinds = [kind for kind, _ in split_options(padded)]
    assert kinds == [MPTCP, *[NO_OPERATION] * (len(padded) - len(whole))]


# --- What is no option ------------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "option", "data"), [pytest.param(*row[1:], id=row[0]) for row in LAYOUTS])
def test_another_length_is_an_error_or_another_layout(flags: int, option: MptcpOption, data: str) -> None:
    body = bytes.fromhex(data)[2:]
    for length in range(39):
        other = (body + bytes(40))[:length]
        try:
            read = read_mptcp(other, flags)
        except DecodeError:
            continue
        assert write_mptcp(read) == other


WRONG: list[tuple[str, int, str]] = [
    ("nothing", ACK, ""),
    ("capable v1 syn with a key", SYN, "01 01 0102030405060708"),
    ("capable v0 syn without a key", SYN, "00 01"),
    ("capable v1 syn/ack without a key", SYN | ACK, "01 01"),
    ("capable syn/ack with both keys", SYN | ACK, "01 01" + 16 * "00"),
    ("capable ack with one key", ACK, "01 01 0102030405060708"),
    ("capable v0 with data parameters", ACK, "00 01" + 18 * "00"),
    ("capable v0 with a checksum", ACK, "00 81" + 20 * "00"),
    ("capable with half a checksum", ACK, "01 81" + 19 * "00"),
    ("capable without SYN and ACK", RST, "01 01" + 16 * "00"),
    ("join syn on an ack", ACK, "10 02 425e9a6e eade4773"),
    ("join syn on a syn/ack", SYN | ACK, "10 02 425e9a6e eade4773"),
    ("join ack on a syn", SYN, "10 00" + 20 * "a0"),
    ("join without SYN and ACK", FIN, "10 00" + 20 * "a0"),
    ("dss of one byte", ACK, "20"),
    ("dss ack cut off", ACK, "20 01 d5d6d7"),
    ("dss ack8 with four bytes", ACK, "20 03 d5d6d7d8"),
    ("dss ack with a checksum", ACK, "20 01 d5d6d7d8 0000"),
    ("dss mapping without length", ACK, "20 04 00000001 00000007"),
    ("dss mapping with half a checksum", ACK, "20 04 00000001 00000007 0009 00"),
    ("dss mapping and more", ACK, "20 04 00000001 00000007 0009 0000 00"),
    ("dss data_fin without mapping", ACK, "20 11 d5d6d7d8"),
    ("add_addr too short", ACK, "34 01 0a0002"),
    ("add_addr v0 ipv4 with the length of ipv6", ACK, f"34 01 {IPV6}"),
    ("add_addr v0 ipv6 with the length of ipv4", ACK, f"36 01 {IPV4}"),
    ("add_addr v0 with another version of ip", ACK, f"38 01 {IPV4}"),
    ("add_addr v1 without hmac", ACK, f"30 01 {IPV4}"),
    ("add_addr echo with hmac", ACK, f"31 01 {IPV4} {HMAC_8.hex()}"),
    ("add_addr with half a port", ACK, f"34 01 {IPV4} 27"),
    ("remove_addr of nothing", ACK, "40"),
    ("prio too long", ACK, "51 04 00"),
    ("fail too short", ACK, "60 00 c1c2c3c4"),
    ("fail too long", ACK, "60 00 c1c2c3c4c5c6c7c8 00"),
    ("fastclose too short", ACK, "70 00"),
    ("fastclose too long", ACK, "70 00 c1c2c3c4c5c6c7c8 00"),
    ("tcprst too short", RST, "80"),
    ("tcprst too long", RST, "80 00 00"),
    ("unassigned", ACK, "90 00"),
    ("experimental", ACK, f"{SUBTYPE_EXPERIMENTAL:x}0 00"),
]


@pytest.mark.parametrize(("flags", "body"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_what_fits_no_layout_is_a_decode_error(flags: int, body: str) -> None:
    with pytest.raises(DecodeError):
        read_mptcp(bytes.fromhex(body), flags)


@pytest.mark.parametrize(
    "option",
    [
        MpCapable(1, 1, UNKNOWN, KEY_B),
        MpCapable(1, 1, KEY_A, UNKNOWN, 5),
        MpCapable(1, 1, KEY_A, KEY_B, UNKNOWN, 5),
        MpCapable(0, 1),
        MpCapable(0, 1, KEY_A, KEY_B, 5),
        MpCapable(16, 1),
        MpCapable(1, 256),
        MpCapable(1, 1, 1 << 64),
        MpCapable(1, 1, KEY_A, KEY_B, 1 << 16),
        MpJoinSyn(256, 1, 2),
        MpJoinSyn(1, 1 << 32, 2),
        MpJoinSyn(1, 1, 2, reserved=1),
        MpJoinSynAck(1, HMAC_8[:7], 1),
        MpJoinSynAck(1, HMAC_20, 1),
        MpJoinAck(HMAC_8),
        MpJoinAck(HMAC_20, 0x1000),
        Dss(4, 1 << 32),
        Dss(6, 1),
        Dss(0, 0, 4, -5, 1, 1),
        Dss(0, 0, 8, 1 << 64, 1, 1),
        Dss(0, 0, 8, 1, 1 << 32, 1),
        Dss(0, 0, 8, 1, 1, 1 << 16),
        Dss(0, 0, 8, 1, 1, 1, 1 << 16),
        Dss(4, 1, data_fin=True),
        Dss(4, 1, checksum=5),
        Dss(4, 1, reserved=2),
        Dss(0, 0, 4, 1, 1, 1, reserved=8),
        AddAddr(1, "10.0.0.1", UNKNOWN, HMAC_8, True),
        AddAddr(1, "10.0.0.1", UNKNOWN, HMAC_20),
        AddAddr(1, "10.0.0.1", 1 << 16),
        AddAddr(1, "nowhere"),
        AddAddr(256, "10.0.0.1"),
        AddAddr(1, "10.0.0.1", reserved=2),
        RemoveAddr(()),
        RemoveAddr((256,)),
        RemoveAddr(tuple(range(38))),
        MpPrio(True, 256),
        MpFail(-1),
        MpFastclose(1 << 64),
        MpTcprst(256),
        MpTcprst(1, reserved=0x10),
    ],
    ids=repr,
)
def test_what_has_no_bytes_is_an_encode_error(option: MptcpOption) -> None:
    with pytest.raises(EncodeError):
        write_mptcp(option)


# --- Laws -------------------------------------------------------------------------------------

drawn_options = st.integers(0, 255).flatmap(lambda flags: st.tuples(st.just(flags), mptcp_options(flags)))


@examples(500)
@given(drawn_options)
def test_every_option_survives_its_bytes(drawn: tuple[int, MptcpOption]) -> None:
    flags, option = drawn
    body = write_mptcp(option)
    assert len(body) + 2 == option.wire_length()
    again = read_mptcp(body, flags)
    assert again == option
    assert type(again) is type(option)


def judge(body: bytes, flags: int) -> None:
    """Any bytes are an error, or an option that has exactly these bytes."""
    try:
        option = read_mptcp(body, flags)
    except DecodeError:
        return
    assert write_mptcp(option) == body
    assert option.wire_length() == len(body) + 2
    assert exists_in(option, VERSION_0) or exists_in(option, VERSION_1)


@examples(1000)
@given(st.binary(max_size=38), st.integers(0, 255))
def test_any_bytes(body: bytes, flags: int) -> None:
    judge(body, flags)


@examples(1000)
@given(
    drawn_options,
    st.integers(0, 37),
    st.integers(0, 255),
    st.integers(0, 38),
    st.one_of(st.none(), st.integers(0, 255)),
)
def test_altered_options(
    drawn: tuple[int, MptcpOption], where: int, byte: int, length: int, flags: int | None
) -> None:
    body = bytearray(write_mptcp(drawn[1]))
    body[where % len(body)] = byte
    judge(bytes(body), drawn[0] if flags is None else flags)
    judge((bytes(body) + bytes(38))[:length], drawn[0] if flags is None else flags)


# --- Versions ---------------------------------------------------------------------------------


def test_what_exists_in_which_version() -> None:
    only = {
        name: [version for version in (VERSION_0, VERSION_1) if exists_in(option, version)]
        for name, _, option, _ in LAYOUTS
        if not name.startswith("reserved")
    }
    one_version = {name: versions for name, versions in only.items() if versions != [0, 1]}
    assert one_version == {
        **{name: [1] for name in only if name.startswith(("add_addr v1", "add_addr echo"))},
        **{name: [0] for name in only if name.startswith("add_addr v0")},
        "prio v0 address": [0],
        "tcprst": [1],
        "tcprst transient": [1],
    }
    assert len(one_version) == 15


def test_the_crypto_bits_of_mp_capable() -> None:
    """C is one of them in version 0 only (RFC 6824 section 3.1)."""
    flags = CHECKSUM_REQUIRED | NO_MORE_SUBFLOWS
    assert MpCapable(1, flags).crypto_bits() == 0
    assert MpCapable(0, flags, KEY_A).crypto_bits() == NO_MORE_SUBFLOWS
    assert MpCapable(1, 0xFF).crypto_bits() == 0x1F
    assert MpCapable(0, flags | HMAC_SHA, KEY_A).crypto_bits() == NO_MORE_SUBFLOWS | HMAC_SHA


def test_the_tables_of_names_are_those_of_the_registry() -> None:
    assert sorted(SUBTYPE_NAMES) == list(range(9))
    assert [SUBTYPE_NAMES[0], SUBTYPE_NAMES[8]] == ["MP_CAPABLE", "MP_TCPRST"]
    assert sorted(REASON_NAMES) == list(range(7))


def test_an_infinite_mapping_is_one_of_length_0() -> None:
    assert Dss(0, 0, 4, 6, 7, 0, 0).is_infinite()
    assert not Dss(0, 0, 4, 6, 7, 1).is_infinite()
    assert not Dss(4, 1).is_infinite()
