"""MP_FASTCLOSE: how an application aborts a connection, on an ACK or on RSTs.

RFC 8684 section 3.5, RFC 6824 section 3.5.
"""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp.data_states import M_CLOSED
from mptcpsim.core.mptcp_options import MpFastclose
from mptcpsim.core.segment import ACK, RST
from mptcpsim.units import MINUTE, SECOND
from tests.core.mptcp.pair import C1, MS, MptcpPair, counted, options_of
from tests.core.mptcp.two_paths import fallen_back, keys_of, moves, ready, resets_anywhere

BOTH = pytest.mark.parametrize("version", [1, 0])
SUBFLOWS = pytest.mark.parametrize("subflows", [1, 2])


def fastcloses(pair: MptcpPair, direction: str = "") -> list[Any]:
    return pair.sent(MpFastclose, direction)


@SUBFLOWS
def test_fastclose_on_rsts(subflows: int) -> None:
    """Variant R: RST with MP_FASTCLOSE on all subflows; both ends are closed at once."""
    pair, client, server = ready(1, subflows, client={"fastclose": "rst"})
    server.write(100_000, pair.now)
    pair.run(pair.now + 15 * MS)
    client.abort(pair.now)
    pair.run(pair.now + SECOND)
    sent = fastcloses(pair)
    assert [one.direction for one in sent] == ["c>s"] * subflows
    assert len({one.segment.flow for one in sent}) == subflows
    assert all(one.segment.flags & RST for one in sent)
    assert {one.option.receiver_key for one in sent} == {keys_of(pair).receiver_key}
    assert client.closed
    assert server.closed
    assert client.error
    assert server.error
    assert client.state == server.state == M_CLOSED
    assert counted(pair.client, "MPFastcloseTx", "MPFastcloseRx") == (subflows, 0)
    assert counted(pair.server, "MPFastcloseTx", "MPFastcloseRx")[1] in (1, subflows)
    assert counted(pair.server, "MPCurrEstab") == (0,)


@BOTH
@SUBFLOWS
def test_fastclose_on_an_ack(version: int, subflows: int) -> None:
    """Variant A: ACK on one subflow, RST on the others; the peer answers with RSTs."""
    pair, client, server = ready(version, subflows, client={"fastclose": "ack"})
    before = pair.now
    client.abort(pair.now)
    pair.run(pair.now + 5 * MS)
    (sent,) = fastcloses(pair)
    assert sent.segment.flags & (ACK | RST) == ACK
    assert sent.option.receiver_key == keys_of(pair).receiver_key
    others = [packet for when, _, packet in pair.wire if when >= before and packet.flags & RST]
    assert len(others) == subflows - 1
    assert moves(pair, client)[-1] == "M_FASTCLOSE_WAIT"
    pair.run(pair.now + 15 * MS)
    answers = [packet for _, way, packet in pair.wire if way == "s>c" and packet.flags & RST]
    assert sent.segment.flow.reverse() in [packet.flow for packet in answers]
    pair.run(pair.now + SECOND)
    assert client.closed
    assert server.closed
    assert server.error
    assert client.state == server.state == M_CLOSED
    assert counted(pair.client, "MPFastcloseTx") == counted(pair.server, "MPFastcloseRx") == (1,)


@BOTH
def test_fastclose_is_not_answered(version: int) -> None:
    """It is sent again after an RTO, three times, and then goes on a RST."""
    pair, client, server = ready(version, 1, client={"fastclose": "ack"})
    rto = client.subflows[0].sender.rtt.rto
    pair.cut(C1, pair.now)
    client.abort(pair.now)
    pair.run(pair.now + 2 * MINUTE)
    sent = fastcloses(pair)
    # Version 0 has no MP_FASTCLOSE on a RST.
    assert [bool(one.segment.flags & RST) for one in sent] == [False] * 4 + [True] * version
    assert len(resets_anywhere(pair)) == 1
    assert sent[1].time - sent[0].time == pytest.approx(rto, rel=0.1)
    assert client.closed
    assert client.state == M_CLOSED
    assert not server.closed


@BOTH
def test_fastclose_is_lost_once(version: int) -> None:
    lost: list[int] = []
    pair, client, server = ready(version, 1, client={"fastclose": "ack"})

    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if not lost and any(isinstance(option, MpFastclose) for option in options_of(packet)):
            lost.append(now)
            return []
        return [packet]

    pair.hook = hook
    client.abort(pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert len(fastcloses(pair)) == 2
    assert client.closed
    assert server.closed


@BOTH
def test_both_fastclose_at_once(version: int) -> None:
    """MP_FASTCLOSE instead of a RST: answered with a RST, and closed."""
    both: dict[str, Any] = {"fastclose": "ack"}
    pair, client, server = ready(version, 1, client=both, server=both)
    client.abort(pair.now)
    server.abort(pair.now)
    pair.run(pair.now + SECOND)
    assert client.closed
    assert server.closed
    assert {one.direction for one in fastcloses(pair)} == {"c>s", "s>c"}
    assert len(fastcloses(pair)) == 2


def test_fastclose_of_a_peer_that_has_closed() -> None:
    """An abort in M_CLOSE_WAIT."""
    pair, client, server = ready(1, 2)
    client.close(pair.now)
    pair.run(pair.now + 200 * MS)
    server.abort(pair.now)
    pair.run(pair.now + SECOND)
    assert client.closed
    assert server.closed
    assert fastcloses(pair, "s>c")


@BOTH
def test_abort_of_a_connection_that_fell_back(version: int) -> None:
    """A plain RST: there is nothing left of MPTCP."""
    pair, client, server = fallen_back(version)
    client.abort(pair.now)
    pair.run(pair.now + SECOND)
    assert not fastcloses(pair)
    assert [options_of(segment) for segment in resets_anywhere(pair)] == [()]
    assert server.error
    assert client.closed
    assert server.closed
