"""A stream that ends while its connection falls back: no end is seen that the peer has not meant.

To a plain connection the FIN of its subflow is the end of the stream (RFC 8684 section 3.7); to one
that still speaks MPTCP it is not (section 3.3.3). So it matters which of the two comes first.
"""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp_options import Dss, MpFail
from mptcpsim.core.segment import FIN, RST, SYN, Packet, Segment
from mptcpsim.plugins import Withdraw
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import Seen, drop, strip_mptcp
from tests.core.mptcp.pair import S1, MptcpPair, forge, options_of, transfer
from tests.core.mptcp.plan import mptcp
from tests.core.mptcp.test_fail import Damage, pair_of

#: The client writes so much, in three segments, the last of which is damaged.
WRITTEN = 3_000


def is_infinite(seen: Seen) -> bool:
    return any(isinstance(option, Dss) and option.is_infinite() for option in options_of(seen.segment))


#: What is lost on the way, once.
LOST = {
    "nothing": lambda seen: False,
    "the MP_FAIL": lambda seen: any(isinstance(option, MpFail) for option in options_of(seen.segment)),
    "the infinite mapping": is_infinite,
    "the infinite mapping on an ACK": lambda seen: is_infinite(seen) and not seen.segment.flags & FIN,
    "the FIN": lambda seen: bool(seen.segment.flags & FIN),
}


class Once:
    """Says yes the first time that a condition holds."""

    def __init__(self, what: str) -> None:
        self._holds = LOST[what]
        self.done = what == "nothing"

    def __call__(self, seen: Seen) -> bool:
        if self.done or not self._holds(seen):
            return False
        self.done = True
        return True


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("lost", LOST)
def test_who_has_closed_falls_back_and_the_other_direction_goes_on(
    lost: str, version: int, encode: bool
) -> None:
    once = Once(lost)
    # In version 1 the first data has no DSS of its own.
    pair = pair_of(version, Damage(3 - version, then=drop(once)), join=False, encode=encode)
    client, server = pair.establish()
    server.eager = True
    client.write(WRITTEN, pair.now)
    client.close(pair.now)
    pair.pump()
    pair.run(pair.now + 20 * SECOND)
    assert once.done
    assert (client.fell_back, server.fell_back) == (True, True)
    assert (server.delivered, server.peer_closed) == (WRITTEN, True)
    # The server has not closed; its half of the connection is as good as new.
    assert not client.peer_closed
    transfer(pair, server, client, 50_000)
    assert not client.peer_closed
    server.close(pair.now)
    pair.pump()
    pair.run()
    assert client.peer_closed
    assert (client.closed, server.closed) == (True, True)
    assert (client.error, server.error) == ("", "")


@pytest.mark.parametrize("version", [1, 0])
def test_an_address_is_withdrawn_on_the_way_back_and_that_is_no_end_of_the_stream(version: int) -> None:
    """The peer may be plain already; a FIN would tell its application that all has arrived."""
    told: list[MptcpPair] = []

    def withdraw(direction: str, packet: Packet, now: int) -> list[Packet]:
        assert isinstance(packet, Segment)
        if direction == "s>c" and any(isinstance(option, MpFail) for option in options_of(packet)) and told:
            pair = told.pop()
            (server,) = pair.server.connections
            assert isinstance(server, MptcpConnection)
            server.act([Withdraw(S1)], now)
        return [packet]

    pair = pair_of(version, Damage(20, then=withdraw), join=False)
    told.append(pair)
    client, server = pair.establish()
    client.write(60_000, pair.now)
    server.write(10, pair.now)
    server.eager = client.eager = True
    pair.pump()
    pair.run(pair.now + 120 * SECOND)
    assert not told
    assert not client.peer_closed
    assert "reset" in client.error
    assert server.error


def fallen_alone(lost: int) -> tuple[MptcpPair, Any, Any]:
    """Return a connection whose server has fallen back: the ACKs of its first data had no DATA_ACK.

    ``lost`` infinite mappings do not reach the client, which has sent no data yet.
    """
    left = {"c>s": 4, "s>c": lost}

    def loses(seen: Seen) -> bool:
        bare = not seen.segment.length and seen.now > SECOND
        meant = bare if seen.direction == "c>s" else is_infinite(seen)
        if not meant or not left[seen.direction]:
            return False
        left[seen.direction] -= 1
        return True

    pair = MptcpPair(mptcp(versions=(1,)), mptcp(versions=(1,)), hook=strip_mptcp(loses))
    client, server = pair.establish()
    pair.run(2 * SECOND)
    transfer(pair, server, client, 1_000)
    pair.run(pair.now + SECOND)
    assert (server.is_plain, client.is_plain) == (True, False)
    return pair, client, server


def test_a_peer_that_goes_on_to_map_is_told_again_of_the_fallback() -> None:
    pair, client, server = fallen_alone(lost=1)
    transfer(pair, client, server, 100_000)
    assert client.is_plain
    transfer(pair, server, client, 100_000)


def test_a_peer_that_never_hears_of_the_fallback_gives_up() -> None:
    """To it the ACKs of its data have lost their DATA_ACKs in mid-stream: it does not repeat that data."""
    pair, client, server = fallen_alone(lost=1 << 30)
    server.eager = True
    client.write(2_000, pair.now)
    pair.pump()
    pair.run(pair.now + 60 * SECOND)
    assert "an ACK of data came without DATA_ACK" in client.subflows[0].error
    assert server.error == "connection reset by peer"
    assert 0 < server.delivered <= 2_000
    assert not server.peer_closed


def test_data_that_is_mapped_to_another_place_ends_the_plain_connection() -> None:
    """The peer repeats at the connection what has arrived."""
    pair, client, server = fallen_alone(lost=1 << 30)
    server.eager = True
    dsn = (client.agreed.local_key.idsn + 5) & 0xFFFF_FFFF
    forge(pair, client, dss=Dss(dsn_octets=4, dsn=dsn, ssn=1, data_level_length=10), length=10)
    pair.run(pair.now + SECOND)
    assert server.error == "the peer still speaks MPTCP (middlebox interference)"
    assert not server.delivered
    assert not server.peer_closed


# --- Options vanish in mid-stream -----------------------------------------------------------------


def broken(first: int, back: int, **ways: float) -> tuple[MptcpPair, Any, Any]:
    """Return a connection that loses its options in mid-stream; data then waits for ACKs at the server.

    Args:
        first: bytes that the client has written before, and the server has acknowledged.
        back: bytes that the server writes then.
        ways: from when on options are removed, by direction ("c", "s"), seconds.
    """

    def loses(seen: Seen) -> bool:
        return seen.now >= ways.get(seen.direction[0], 1e9) * SECOND

    pair = MptcpPair(hook=strip_mptcp(loses))
    client, server = pair.establish()
    transfer(pair, client, server, first)
    pair.run(2 * SECOND)
    client.eager = server.eager = True
    server.write(back, pair.now)
    pair.pump()
    return pair, client, server


@pytest.mark.parametrize("more", [0, 500, 20_000])
def test_who_is_known_to_hear_options_does_not_learn_of_a_fallback_and_there_is_none(more: int) -> None:
    """The client has its confirmation: what it repeats at the connection would go on the plain stream."""
    pair, client, server = broken(20_000, 3_000, c=2, s=2)
    client.write(more, pair.now)
    client.close(pair.now)
    pair.pump()
    pair.run(pair.now + 300 * SECOND)
    assert not server.fell_back
    assert server.subflows[0].error.startswith("an ACK of data came without DATA_ACK")
    assert (server.delivered, server.peer_closed) == (20_000, False)
    assert client.error
    assert server.error


def test_fin_behind_lost_mappings_is_not_answered_with_a_fin() -> None:
    """The server is plain, and its FIN the end of its stream; ours would be the end of ours."""
    # The client's ACKs have no DATA_ACK from the first on; nor has what the server sends an infinite mapping.
    pair = MptcpPair(
        hook=strip_mptcp(lambda seen: seen.now >= (1 if seen.direction == "c>s" else 2.015) * SECOND)
    )
    client, server = pair.establish()
    pair.run(2 * SECOND)
    client.eager = True
    server.write(1_000, pair.now)
    pair.pump()
    pair.run(pair.now + SECOND)
    assert server.fell_back
    server.close(pair.now)
    pair.pump()
    pair.run(pair.now + 10 * SECOND)
    assert not server.peer_closed
    assert "a FIN came before MPTCP is sure" in client.subflows[0].error
    assert "reset" in server.error


def test_fin_with_a_dss_is_answered() -> None:
    """Who still speaks MPTCP only closes the subflow: no reason for a reset (section 3.4.2)."""
    pair = MptcpPair(client_addresses=("10.0.1.1", "10.0.2.1"))
    client, server = pair.establish()
    transfer(pair, server, client, 1_000)
    pair.run(SECOND)
    server.act([Withdraw(S1)], pair.now)
    pair.pump()
    pair.run(pair.now + 2 * SECOND)
    assert not any(seen.flags & RST for _, _, seen in pair.wire)
    assert client.subflows[0].error == server.subflows[0].error == ""


def test_no_fin_to_who_has_not_heard_of_mptcp() -> None:
    """A FIN that has lost its DSS on the way, as all before it, would be the end of the server's stream."""
    pair = MptcpPair(hook=strip_mptcp(lambda seen: seen.direction == "s>c" and not seen.segment.flags & SYN))
    client, server = pair.establish()
    client.close(pair.now)
    pair.pump()
    pair.run(2 * SECOND)
    server.act([Withdraw(S1)], pair.now)
    pair.pump()
    pair.run(pair.now + 10 * SECOND)
    assert not client.peer_closed
    assert "reset" in client.subflows[0].error
    assert "withdrawn before MPTCP is sure" in server.subflows[0].error
