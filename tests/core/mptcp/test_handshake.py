"""MP_CAPABLE: what every packet of the handshake carries, what is negotiated, and what is lost of it.

RFC 8684 section 3.1 for version 1, RFC 6824 section 3.1 for version 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.keys import derive
from mptcpsim.core.mptcp_options import (
    CHECKSUM_REQUIRED,
    EXTENSIBILITY,
    HMAC_SHA,
    NO_MORE_SUBFLOWS,
    Dss,
    MpCapable,
)
from mptcpsim.core.segment import SYN, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import alter, carries, chain, drop, replaced, strip_mptcp
from tests.core.mptcp.pair import MS, MptcpPair, counted, options_of, transfer
from tests.core.mptcp.plan import mptcp

_32_BITS = 0xFFFFFFFF


def both(**fields: Any) -> MptcpPair:
    """Return a pair whose ends have the same configuration."""
    return MptcpPair(mptcp(**fields), mptcp(**fields))


def capable(pair: MptcpPair, direction: str = "") -> list[MpCapable]:
    return [sent.option for sent in pair.sent(MpCapable, direction)]


def is_plain(pair: MptcpPair) -> bool:
    """No segment after the handshake carries an option of MPTCP."""
    return not any(
        options_of(packet)
        for _, _, packet in pair.wire
        if isinstance(packet, Segment) and not packet.flags & SYN and packet.length
    ) and not pair.sent(Dss)


def is_mptcp(pair: MptcpPair) -> bool:
    """The last data and the last acknowledgment of the client's stream have a DSS."""
    last = [packet for _, way, packet in pair.wire if way == "c>s" and packet.length][-1]
    return bool(last.dss or last.options) and bool(pair.sent(Dss, "s>c"))


# --- What the packets carry -----------------------------------------------------------------------


def test_version_1() -> None:
    """SYN 4 bytes, SYN/ACK 12, third ACK 20, first data 22 in place of a DSS, then DSS."""
    pair = both()
    client, server = pair.establish()
    pair.run(pair.now + 5 * MS)
    transfer(pair, client, server, 5000)
    log = pair.sent(MpCapable)
    assert [(one.direction, one.option.wire_length()) for one in log] == [
        ("c>s", 4),
        ("s>c", 12),
        ("c>s", 20),
        ("c>s", 22),
    ]
    _, syn_ack, ack, data = (one.option for one in log)
    assert {one.option.version for one in log} == {1}
    assert {one.option.flags for one in log} == {HMAC_SHA}
    assert ack.receiver_key == data.receiver_key == syn_ack.sender_key
    assert ack.sender_key == data.sender_key
    assert ack.sender_key != syn_ack.sender_key
    assert data.data_level_length == log[3].segment.length
    assert log[3].segment.dss is None
    assert log[3].segment.seq == 1
    mappings = [one.option for one in pair.sent(Dss, "c>s") if one.option.dsn_octets]
    idsn = derive(ack.sender_key, 1).idsn
    first = log[3].segment.length
    assert mappings[0].dsn == (idsn + 1 + first) % 2**64
    assert mappings[0].ssn == 1 + first
    data_acks = [one.option for one in pair.sent(Dss, "s>c") if one.option.data_ack_octets]
    assert data_acks[-1].data_ack == (idsn + 5001) % 2**64


def test_version_0() -> None:
    """The client's key is on the SYN already, and the first data has a DSS like any other."""
    pair = both(versions=(0,))
    client, server = pair.establish()
    transfer(pair, client, server, 5000)
    log = pair.sent(MpCapable)
    assert [(one.direction, one.option.wire_length()) for one in log] == [
        ("c>s", 12),
        ("s>c", 12),
        ("c>s", 20),
    ]
    syn, syn_ack, ack = (one.option for one in log)
    assert {one.option.version for one in log} == {0}
    assert {one.option.flags for one in log} == {HMAC_SHA}
    assert (ack.sender_key, ack.receiver_key) == (syn.sender_key, syn_ack.sender_key)
    assert log[2].segment.length == 0, "the third packet has no room for a DSS, so none for data"
    mapping = next(one.option for one in pair.sent(Dss, "c>s") if one.option.dsn_octets)
    assert mapping.dsn == (derive(syn.sender_key, 0).idsn + 1) % 2**64
    assert mapping.ssn == 1


@pytest.mark.parametrize("version", [1, 0])
def test_counters(version: int) -> None:
    pair = both(versions=(version,))
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    names = ("MPCapableSYNTX", "MPCapableSYNACKRX", "MPCapableSYNRX", "MPCapableACKRX", "MPCurrEstab")
    assert counted(pair.client, *names) == (1, 1, 0, 0, 1)
    assert counted(pair.server, *names) == (0, 0, 1, 1, 1)
    client.close(pair.now)
    server.close(pair.now)
    pair.run()
    assert counted(pair.client, "MPCurrEstab") == counted(pair.server, "MPCurrEstab") == (0,)


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("required", [(False, False), (True, False), (False, True), (True, True)])
def test_checksums_if_either_end_wants_them(version: int, required: tuple[bool, bool]) -> None:
    """Flag A of the SYN or of the SYN/ACK is enough; the third ACK confirms the result."""
    pair = MptcpPair(*(mptcp(versions=(version,), checksum=wanted) for wanted in required))
    client, server = pair.establish()
    transfer(pair, client, server, 20_000)
    transfer(pair, server, client, 20_000)
    flags = [bool(option.flags & CHECKSUM_REQUIRED) for option in capable(pair)]
    assert flags[0] == required[0]
    assert flags[1] >= required[1]
    assert set(flags[2:]) == {any(required)}
    mappings = [one.option for one in pair.sent(Dss) if one.option.dsn_octets]
    assert len(mappings) > 20
    assert {mapping.checksum != UNKNOWN for mapping in mappings} == {any(required)}
    if version == 1:
        assert capable(pair)[3].wire_length() == (24 if any(required) else 22)


@pytest.mark.parametrize(("version", "flag"), [(1, NO_MORE_SUBFLOWS), (0, 0)])
def test_deny_join_initial_is_flag_c_of_version_1(version: int, flag: int) -> None:
    pair = both(versions=(version,), deny_join_initial=True)
    pair.establish()
    assert {option.flags & NO_MORE_SUBFLOWS for option in capable(pair)[:2]} == {flag}


def test_ipv6() -> None:
    addresses: dict[str, Any] = {"client_addresses": ("fd00::1",), "server_addresses": ("fd00::2",)}
    pair = MptcpPair(mptcp(), mptcp(), **addresses, encode=True)
    client, server = pair.establish()
    transfer(pair, client, server, 30_000)
    transfer(pair, server, client, 30_000)
    assert is_mptcp(pair)


# --- Reliability of the keys (version 1) --------------------------------------------------------


def test_mapping_on_every_segment_until_the_first_data_ack() -> None:
    """RFC 8684 section 3.7; a bulk of segments leaves before the first DATA_ACK can arrive."""
    pair = both()
    client, _ = pair.establish()
    start = pair.now
    client.write(14_000, start)
    pair.run(start + 5 * MS)
    data = [packet for when, way, packet in pair.wire if when >= start and packet.length]
    assert len(data) >= 9
    assert isinstance(options_of(data[0])[0], MpCapable)
    assert all(segment.dss is not None and segment.dss.dsn_octets for segment in data[1:])


def test_third_ack_is_lost_and_data_brings_the_keys() -> None:
    lost = drop(lambda seen: seen.direction == "c>s" and seen.number == 3)
    pair = MptcpPair(hook=lost)
    client = pair.connect()
    pair.run_until(lambda: client.established)
    transfer_first(pair, client, 10_000)
    assert is_mptcp(pair)
    assert counted(pair.server, "MPCapableACKRX", "MPCapableFallbackACK") == (1, 0)


def transfer_first(pair: MptcpPair, client: Any, count: int) -> None:
    """Write at the client before the server has accepted, and read everything there."""
    client.write(count, pair.now)
    pair.run_until(lambda: bool(pair.listener.accepted))
    server = pair.listener.accepted[0]
    pair.run_until(lambda: server.delivered == count)
    assert server.read(count, pair.now) == count


def test_third_ack_is_lost_and_nobody_writes() -> None:
    """The SYN/ACK is sent again, and what answers it has MP_CAPABLE with both keys again."""
    pair = MptcpPair(hook=drop(lambda seen: seen.direction == "c>s" and seen.number == 3))
    client, server = pair.establish()
    again = [one for one in pair.sent(MpCapable, "c>s") if one.option.wire_length() == 20]
    assert len(again) == 2
    assert again[0].option == again[1].option
    transfer(pair, server, client, 10_000)
    transfer(pair, client, server, 10_000)
    assert is_mptcp(pair)


def test_the_server_writes_first() -> None:
    """Its DATA_ACK shows that the keys have arrived: the client's first data has a plain DSS."""
    pair = both()
    client, server = pair.establish()
    transfer(pair, server, client, 3000)
    first = next(one.option for one in pair.sent(Dss, "s>c"))
    assert first.data_ack_octets
    assert first.data_ack == (derive(capable(pair)[2].sender_key, 1).idsn + 1) % 2 ** (
        8 * first.data_ack_octets
    )
    transfer(pair, client, server, 3000)
    assert [option.wire_length() for option in capable(pair)] == [4, 12, 20]


def test_both_write_at_once() -> None:
    """The client uses MP_CAPABLE with data after the server has sent a DSS; both mappings count."""
    pair = both()
    client = pair.connect()
    pair.run_until(lambda: bool(pair.listener.accepted))
    (server,) = pair.listener.accepted
    server.write(4000, pair.now)
    client.write(4000, pair.now)
    pair.run_until(lambda: server.delivered == client.delivered == 4000)
    assert [option.wire_length() for option in capable(pair)] == [4, 12, 20, 22]
    assert is_mptcp(pair)


def lost_once(pair: MptcpPair) -> list[Segment]:
    """Drop the first data of the client; return the list that it will be in."""
    lost: list[Segment] = []

    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if direction == "c>s" and packet.length and not lost:
            lost.append(packet)
            return []
        return [packet]

    pair.hook = hook
    return lost


def test_first_data_is_lost() -> None:
    """What is sent again has MP_CAPABLE and its data parameters again, until the keys are acknowledged."""
    pair = both()
    client, server = pair.establish()
    lost = lost_once(pair)
    transfer(pair, client, server, 1000)
    first = [one.option for one in pair.sent(MpCapable, "c>s") if one.segment.length]
    assert len(first) >= 2
    assert set(first) == {option for option in options_of(lost[0]) if isinstance(option, MpCapable)}
    transfer(pair, client, server, 20_000)
    assert is_mptcp(pair)


def test_first_data_is_lost_and_more_arrives() -> None:
    """A DATA_ACK for later data shows that the keys have arrived: then a DSS does, for the same mapping."""
    pair = both()
    client, server = pair.establish()
    lost = lost_once(pair)
    transfer(pair, client, server, 20_000)
    again = [packet for _, way, packet in pair.wire if way == "c>s" and packet.seq == 1 and packet.length]
    assert len(again) == 2
    assert again[0] is lost[0]
    idsn = derive(capable(pair)[2].sender_key, 1).idsn
    for option in options_of(again[1]):
        if isinstance(option, Dss):
            assert (option.dsn, option.ssn) == ((idsn + 1) % 2**64, 1)
            assert option.data_level_length == lost[0].length
    assert is_mptcp(pair)


def test_first_data_arrives_twice() -> None:
    """Duplicates of the mapping in MP_CAPABLE are harmless."""

    def twice(direction: str, packet: Any, now: int) -> list[Any]:
        return [packet, packet.clone()] if carries_data_parameters(packet) else [packet]

    pair = MptcpPair(hook=twice)
    client, server = pair.establish()
    transfer(pair, client, server, 20_000)
    assert is_mptcp(pair)
    assert counted(pair.server, "DSSNotMatching") == (0,)


def carries_data_parameters(segment: Segment) -> bool:
    return any(isinstance(o, MpCapable) and o.data_level_length != UNKNOWN for o in options_of(segment))


# --- SYNs that get lost -------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_syns_are_lost(attempts: int) -> None:
    """After ``syns_with_option`` SYNs the option is left out (RFC 8684 section 3.1: local policy)."""
    pair = MptcpPair(
        mptcp(syns_with_option=attempts),
        mptcp(),
        hook=drop(carries(MpCapable, "c>s")),
    )
    client, server = pair.establish()
    transfer(pair, client, server, 10_000)
    syns = [packet for _, way, packet in pair.wire if way == "c>s" and packet.flags & SYN]
    assert [bool(options_of(syn)) for syn in syns] == [True] * attempts + [False]
    assert is_plain(pair)
    assert counted(pair.client, "MPCapableSYNTXDrop") == (1,)


def test_the_answer_to_the_first_syn_comes_after_a_plain_one() -> None:
    """The third packet decides (section 3.1): the answer had MP_CAPABLE, so it has it, too."""
    pair = MptcpPair(
        mptcp(syns_with_option=1),
        mptcp(),
        hook=drop(lambda seen: seen.direction == "s>c" and seen.now < 900 * MS),
    )
    client, server = pair.establish()
    transfer(pair, client, server, 10_000)
    transfer(pair, server, client, 10_000)
    syns = [packet for _, way, packet in pair.wire if way == "c>s" and packet.flags & SYN]
    assert [bool(options_of(syn)) for syn in syns] == [True, False]
    assert is_mptcp(pair)
    assert counted(pair.server, "MPCapableFallbackACK") == (0,)


def test_only_a_plain_syn_arrives_before_the_answer() -> None:
    """The SYN with MP_CAPABLE comes late, when the connection is plain TCP already."""

    def late(direction: str, packet: Any, now: int) -> list[Any]:
        is_offer = direction == "c>s" and packet.flags & SYN and options_of(packet)
        return [(1500 * MS, packet)] if is_offer else [packet]

    pair = MptcpPair(mptcp(syns_with_option=1), mptcp(), hook=late)
    client, server = pair.establish()
    transfer(pair, client, server, 10_000)
    pair.run(pair.now + 2 * SECOND)
    transfer(pair, server, client, 10_000)
    assert is_plain(pair)


# --- Options that are not understood ------------------------------------------------------------


@pytest.mark.parametrize("direction", ["c>s", "s>c"])
@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda option: option._replace(flags=option.flags & ~0x3F), id="no algorithm"),
        pytest.param(
            lambda option: option._replace(flags=(option.flags & ~0x1F) | 0x10), id="unknown algorithm"
        ),
        pytest.param(lambda option: option._replace(flags=option.flags | EXTENSIBILITY), id="flag B"),
    ],
)
def test_invalid_mp_capable_on_a_syn(direction: str, version: int, change: Callable[[Any], Any]) -> None:
    """Like a SYN without the option: plain TCP at both ends."""
    pair = MptcpPair(
        mptcp(versions=(version,)),
        mptcp(versions=(version,)),
        hook=alter(
            lambda seen: seen.direction == direction and bool(seen.segment.flags & SYN),
            replaced(MpCapable, change),
        ),
    )
    client, server = pair.establish()
    transfer(pair, client, server, 10_000)
    assert is_plain(pair)
    assert bool(capable(pair, "s>c")) == (direction == "s>c")
    assert not any(option.wire_length() >= 20 for option in capable(pair))


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("direction", ["c>s", "s>c"])
def test_several_algorithms(direction: str, version: int) -> None:
    """The initiator may propose any number; the responder answers with the one that it has chosen."""
    change = replaced(MpCapable, lambda option: option._replace(flags=option.flags | 0x04))
    syn = alter(lambda seen: seen.direction == direction and bool(seen.segment.flags & SYN), change)
    config = mptcp(versions=(version,))
    pair = MptcpPair(config, config, hook=syn)
    transfer(pair, *pair.establish(), 10_000)
    assert is_mptcp(pair) == (direction == "c>s")
    assert {option.crypto_bits() for option in capable(pair, "s>c")} == {HMAC_SHA}


@pytest.mark.parametrize("version", [1, 0])
def test_a_higher_version_in_the_answer(version: int) -> None:
    """The version of the SYN/ACK must be equal to or lower than what was offered."""
    change = replaced(MpCapable, lambda option: option._replace(version=version + 1))
    pair = MptcpPair(
        mptcp(versions=(version,)),
        mptcp(versions=(version,)),
        hook=alter(carries(MpCapable, "s>c"), change),
    )
    transfer(pair, *pair.establish(), 10_000)
    assert is_plain(pair)


def test_a_higher_version_is_offered() -> None:
    """Whoever speaks version 1 answers an offer of version 2 with it."""
    change = replaced(MpCapable, lambda option: option._replace(version=2))
    pair = MptcpPair(hook=alter(lambda seen: seen.number == 1, change))
    transfer(pair, *pair.establish(), 10_000)
    assert is_mptcp(pair)


def test_key_of_another_server_in_the_third_ack() -> None:
    """The echo of the server's key is wrong: the negotiation is compromised (section 3.1)."""
    pair = MptcpPair(
        hook=alter(
            lambda seen: seen.number == 3,
            replaced(MpCapable, lambda option: option._replace(receiver_key=option.receiver_key ^ 1)),
        )
    )
    client, server = pair.establish()
    transfer(pair, client, server, 50_000)
    assert not pair.sent(Dss, "s>c")


WRONG_IN_THE_THIRD_ACK = [
    pytest.param(lambda option: option._replace(flags=option.flags | EXTENSIBILITY), id="flag B"),
    pytest.param(lambda option: option._replace(flags=option.flags & ~HMAC_SHA), id="no algorithm"),
    pytest.param(
        lambda option: option._replace(flags=option.flags & ~HMAC_SHA | 0x02), id="another algorithm"
    ),
    pytest.param(lambda option: option._replace(flags=option.flags | 0x04), id="two algorithms"),
    pytest.param(lambda option: option._replace(version=1 - option.version), id="the other version"),
    pytest.param(lambda option: option._replace(version=7), id="another version"),
]


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("writer", ["client", "server"])
@pytest.mark.parametrize("change", WRONG_IN_THE_THIRD_ACK)
def test_the_third_ack_is_judged_like_the_syn(change: Any, version: int, writer: str) -> None:
    """What does not mean what was agreed on is none (section 3.1): the server goes back to plain TCP."""
    config = mptcp(versions=(version,))
    pair = MptcpPair(config, config, hook=alter(lambda seen: seen.number == 3, replaced(MpCapable, change)))
    client, server = pair.establish()
    assert (server.is_plain, server.fell_back) == (True, False)
    assert counted(pair.server, "MPCapableFallbackACK", "MPCapableACKRX") == (1, 0)
    ends = (client, server) if writer == "client" else (server, client)
    transfer(pair, ends[0], ends[1], 50_000)
    transfer(pair, ends[1], ends[0], 50_000)
    assert client.is_plain
    assert not pair.sent(Dss, "s>c")


def with_another_key(option: MpCapable) -> MpCapable:
    return option._replace(sender_key=option.sender_key ^ 1)


KEYS_WITH_DATA = [
    (third, *param.values) for third in ("arrives", "is lost") for param in WRONG_IN_THE_THIRD_ACK
]


@pytest.mark.parametrize(("third", "change"), [*KEYS_WITH_DATA, ("arrives", with_another_key)])
def test_the_keys_with_the_first_data_are_judged_alike(third: str, change: Any) -> None:
    """Where they do not mean what was agreed on, the first data has no mapping."""
    wrong = alter(
        lambda seen: seen.number > 3 and carries(MpCapable, "c>s")(seen), replaced(MpCapable, change)
    )
    lost = drop(lambda seen: seen.number == 3 and third == "is lost")
    pair = MptcpPair(hook=chain(wrong, lost))
    client = pair.connect()
    pair.run(pair.now + 15 * MS)
    client.write(50_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    server: Any = pair.listener.accepted[0]
    assert len(pair.listener.accepted) == 1
    assert server.is_plain
    assert client.is_plain
    assert server.delivered == 50_000


# --- Versions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "server", "spoken"),
    [((1, 0), (1,), 1), ((1, 0), (1, 0), 1), ((1,), (1, 0), 1), ((0,), (1, 0), 0), ((0, 1), (1, 0), 0)],
)
def test_versions_that_agree(client: tuple[int, ...], server: tuple[int, ...], spoken: int) -> None:
    pair = MptcpPair(mptcp(versions=client), mptcp(versions=server))
    transfer(pair, *pair.establish(), 10_000)
    assert {option.version for option in capable(pair)} == {spoken}
    assert is_mptcp(pair)


@pytest.mark.parametrize("cache", [True, False])
def test_a_client_of_both_versions_learns_that_the_server_has_the_old_one(cache: bool) -> None:
    """Version 1 is refused, and that is remembered: the next connection offers version 0."""
    pair = MptcpPair(mptcp(versions=(1, 0), cache_versions=cache), mptcp(versions=(0,)))
    transfer(pair, *pair.establish(), 10_000)
    assert is_plain(pair)
    pair.run(pair.now + SECOND)
    before = pair.now
    transfer(pair, *pair.establish(), 10_000)
    options = [sent.option for sent in pair.sent(MpCapable) if sent.time >= before]
    if cache:
        assert [(option.version, option.wire_length()) for option in options] == [(0, 12), (0, 12), (0, 20)]
        assert is_mptcp(pair)
    else:
        assert [option.version for option in options] == [1]


def test_plain_ends() -> None:
    """An end without MPTCP neither offers nor answers."""
    for one, other in ((TcpConfig(), mptcp()), (mptcp(), TcpConfig()), (mptcp(), replace(mptcp()))):
        pair = MptcpPair(one, other)
        transfer(pair, *pair.establish(), 10_000)
        assert is_plain(pair) == (not (one.mptcp.enabled and other.mptcp.enabled))


# --- Tokens -------------------------------------------------------------------------------------


class OneKey(random.Random):
    """Always the same 64 bits."""

    def getrandbits(self, k: int) -> int:
        return 0x1122334455667788 if k == 64 else super().getrandbits(k)


@pytest.mark.parametrize("side", ["client", "server"])
def test_no_key_with_a_free_token(side: str) -> None:
    """The second connection finds no key of its own and must be plain TCP (section 3.1)."""
    pair = both()
    stack = getattr(pair, side)
    stack._rng = OneKey(1)
    transfer(pair, *pair.establish(), 1000)
    assert is_mptcp(pair)
    start = len(pair.wire)
    transfer(pair, *pair.establish(), 1000)
    later = [packet for _, _, packet in pair.wire[start:]]
    assert not any(options_of(segment) for segment in later if not segment.flags & SYN)
    assert counted(stack, "MPFallbackTokenInit") == (1,)


# --- Connections side by side -------------------------------------------------------------------


def test_many_connections_have_keys_of_their_own() -> None:
    pair = both()
    for _ in range(5):
        transfer(pair, *pair.establish(), 2000)
    keys = {option.sender_key for option in capable(pair, "s>c")}
    keys |= {option.sender_key for option in capable(pair, "c>s") if option.sender_key != UNKNOWN}
    assert len(keys) == 10


def test_a_stripped_ack_later_on_is_no_fallback() -> None:
    """Once a DATA_ACK has come, one that is missing says nothing (section 3.3.2)."""
    pair = MptcpPair(hook=strip_mptcp(lambda seen: seen.direction == "s>c" and 30 <= seen.number < 34))
    client, server = pair.establish()
    transfer(pair, client, server, 100_000)
    assert is_mptcp(pair)
    assert counted(pair.client, "MPCapableDataFallback", "InfiniteMapTx") == (0, 0)
