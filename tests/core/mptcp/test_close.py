"""The end of a connection: DATA_FIN and the states it leads through, FIN and RST of a subflow, none left.

RFC 8684 section 3.3.3 and appendix D; RFC 6824 section 3.3.3 and appendix C.
"""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.mptcp.data_states import (
    DATA_STATE_NAMES,
    DATA_TRANSITIONS,
    ENDINGS,
    FASTCLOSE_SENT,
    M_CLOSED,
)
from mptcpsim.core.mptcp.keys import derive
from mptcpsim.core.mptcp_options import Dss, MpJoinSyn, MpTcprst
from mptcpsim.core.segment import FIN, RST, Segment
from mptcpsim.core.tcp.states import FIN_WAIT_2
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import drop
from tests.core.mptcp.pair import C1, C2, MS, S1, MptcpPair, alive, counted, forge, transfer, working
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import fallen_back, keys_of, moves, on_path, ready, resets, resets_anywhere
from tests.core.tcp.pair import PORT

BOTH = pytest.mark.parametrize("version", [1, 0])

#: The subflows of the connections under test.
SUBFLOWS = pytest.mark.parametrize("subflows", [1, 2])


def fins(pair: MptcpPair, direction: str, after: int = 0) -> list[tuple[int, Segment]]:
    return [
        (when, packet)
        for when, way, packet in pair.wire
        if way == direction and packet.flags & FIN and when >= after
    ]


def data_fins(pair: MptcpPair, direction: str) -> list[Any]:
    return [sent for sent in pair.sent(Dss, direction) if sent.option.data_fin]


def data_fin_number(pair: MptcpPair, direction: str, version: int, count: int) -> int:
    """Return the wire number of the DATA_FIN of an end that wrote ``count`` bytes."""
    keys = keys_of(pair)
    key = keys.sender_key if direction == "c>s" else keys.receiver_key
    return (derive(key, version).idsn + 1 + count) % 2**64


# --- DATA_FIN -------------------------------------------------------------------------------------


@BOTH
@SUBFLOWS
def test_one_end_after_the_other(version: int, subflows: int) -> None:
    """FINs follow the DATA_ACK of the DATA_FIN, on every subflow."""
    pair, client, server = ready(version, subflows)
    client.close(pair.now)
    pair.run(pair.now + 200 * MS)
    assert server.peer_closed
    assert moves(pair, client)[-2:] == ["M_FIN_WAIT_1", "M_FIN_WAIT_2"]
    assert moves(pair, server)[-1] == "M_CLOSE_WAIT"
    server.close(pair.now)
    pair.run(pair.now + SECOND)
    assert client.peer_closed
    assert moves(pair, client)[-1] == "M_TIME_WAIT"
    assert moves(pair, server)[-2:] == ["M_LAST_ACK", "M_CLOSED"]
    pair.run()
    assert moves(pair, client)[-1] == "M_CLOSED"
    assert client.closed
    assert server.closed
    assert not client.error
    assert not server.error
    for way in ("c>s", "s>c"):
        sent_fins = [sent.option for sent in data_fins(pair, way)]
        signals = {(o.dsn_octets, o.dsn, o.ssn, o.data_level_length, o.checksum) for o in sent_fins}
        assert len(signals) == 1
        acked = [
            sent.time
            for sent in pair.sent(Dss, "s>c" if way == "c>s" else "c>s")
            if sent.option.data_ack
            == (data_fin_number(pair, way, version, 1000 if way == "c>s" else 0) + 1)
            % 2 ** (8 * sent.option.data_ack_octets or 1)
        ]
        assert min(when for when, _ in fins(pair, way)) >= acked[0] + pair.delay
        assert len({segment.flow for _, segment in fins(pair, way)}) == subflows
    assert not resets_anywhere(pair)
    assert counted(pair.client, "MPCurrEstab") == counted(pair.server, "MPCurrEstab") == (0,)


@BOTH
@SUBFLOWS
def test_both_ends_at_once(version: int, subflows: int) -> None:
    """DATA_FINs cross: M_CLOSING."""
    pair, client, server = ready(version, subflows)
    client.close(pair.now)
    server.close(pair.now)
    pair.run()
    for end in (client, server):
        assert moves(pair, end)[-4:] == ["M_FIN_WAIT_1", "M_CLOSING", "M_TIME_WAIT", "M_CLOSED"]
        assert end.closed
        assert not end.error
    assert not resets_anywhere(pair)


@BOTH
@SUBFLOWS
def test_half_closed(version: int, subflows: int) -> None:
    """The other direction carries on, over subflows that are half closed."""
    pair, client, server = ready(version, subflows)
    client.close(pair.now)
    pair.run(pair.now + 500 * MS)
    assert all(subflow.state == FIN_WAIT_2 for subflow in client.subflows)
    transfer(pair, server, client, 300_000)
    with pytest.raises(LocalProtocolError):
        client.write(1, pair.now)
    server.close(pair.now)
    pair.run()
    assert client.peer_closed
    assert client.closed
    assert server.closed
    if subflows == 2:
        assert any(segment.length for _, way, segment in on_path(pair, C2) if way == "s>c")


@BOTH
def test_data_fin_with_data(version: int) -> None:
    """It counts in the Data-Level Length, and not in the sequence space of the subflow."""
    pair, client, server = ready(version, 1)
    client.write(500, pair.now)
    client.write(5000, pair.now)
    client.close(pair.now)
    pair.run(pair.now + 300 * MS)
    first = data_fins(pair, "c>s")[0]
    assert first.segment.length > 0
    assert first.option.data_level_length == first.segment.length + 1
    assert first.option.dsn + first.segment.length == data_fin_number(pair, "c>s", version, 6500)
    assert not first.segment.flags & FIN
    last = pair.sent(Dss, "s>c")[-1].option
    expected = data_fin_number(pair, "c>s", version, 6500) + 1
    assert last.data_ack == expected % 2 ** (8 * last.data_ack_octets)
    assert server.delivered == 6500
    assert server.peer_closed


@BOTH
@pytest.mark.parametrize("checksum", [False, True])
def test_data_fin_alone(version: int, checksum: bool) -> None:
    """SSN 0, length 1, the DSN of the DATA_FIN; the checksum covers the pseudo-header only."""
    pair, client, server = ready(version, 1, client={"checksum": checksum}, encode=True)
    client.close(pair.now)
    pair.run(pair.now + 300 * MS)
    first = data_fins(pair, "c>s")[0]
    assert first.segment.length == 0
    assert (first.option.ssn, first.option.data_level_length) == (0, 1)
    assert first.option.dsn == data_fin_number(pair, "c>s", version, 1000)
    if checksum:
        number = first.option.dsn
        words = [(number >> shift) & 0xFFFF for shift in (48, 32, 16, 0)] + [0, 0, 1, 0]
        total = sum(words)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert first.option.checksum == total ^ 0xFFFF
    assert server.peer_closed
    assert moves(pair, client)[-1] == "M_FIN_WAIT_2"


@BOTH
@SUBFLOWS
def test_data_fin_is_lost(version: int, subflows: int) -> None:
    """It is sent again until it is DATA_ACKed; no FIN goes before."""
    pair, client, server = ready(version, subflows)
    lost: list[int] = []

    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if direction == "c>s" and packet.dss is not None and packet.dss.data_fin and len(lost) < 2 * subflows:
            lost.append(now)
            return []
        return [packet]

    pair.hook = hook
    client.close(pair.now)
    pair.run(pair.now + 20 * SECOND)
    assert len(lost) == 2 * subflows
    assert server.peer_closed
    assert fins(pair, "c>s")[0][0] > lost[-1]
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert not client.error


@BOTH
@SUBFLOWS
def test_data_ack_of_the_data_fin_is_lost(version: int, subflows: int) -> None:
    pair, client, server = ready(version, subflows)
    until = pair.now + 700 * MS
    pair.hook = drop(lambda seen: seen.direction == "s>c" and seen.now < until)
    client.close(pair.now)
    pair.run(pair.now + 20 * SECOND)
    assert len(data_fins(pair, "c>s")) > subflows
    assert moves(pair, client)[-1] == "M_FIN_WAIT_2"
    assert moves(pair, server).count("M_CLOSE_WAIT") == 1
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed


@BOTH
def test_data_fin_overtakes_data(version: int) -> None:
    """It is DATA_ACKed only when all that comes before it is there."""
    pair, client, server = ready(version, 2, delays={(C2, S1): 300 * MS})
    server.eager = True
    client.write(400_000, pair.now)
    client.close(pair.now)
    pair.run_until(lambda: server.peer_closed)
    assert server.delivered == 401_000
    assert any(segment.length for _, way, segment in on_path(pair, C2) if way == "c>s")
    number = data_fin_number(pair, "c>s", version, 401_000)
    acks = [sent for sent in pair.sent(Dss, "s>c") if sent.option.data_ack_octets == 8]
    assert all(sent.option.data_ack != number + 1 for sent in acks if sent.time < pair.now)
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed


@BOTH
def test_close_with_a_dead_path(version: int) -> None:
    """What was sent on the dead path arrives on the other one before the connection is closed."""
    pair, client, server = ready(version, 2)
    server.eager = True
    client.write(300_000, pair.now)
    pair.run(pair.now + 15 * MS)
    pair.cut(C2, pair.now)
    client.close(pair.now)
    pair.run_until(lambda: server.peer_closed)
    assert server.delivered == 301_000
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert moves(pair, client)[-1] == moves(pair, server)[-1] == "M_CLOSED"


@BOTH
def test_close_before_anything_was_sent(version: int) -> None:
    pair = MptcpPair(mptcp(versions=(version,)), mptcp(versions=(version,)))
    client, server = pair.establish()
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    assert server.peer_closed
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert not client.error
    assert not server.error
    assert not resets_anywhere(pair)


@BOTH
def test_close_right_after_the_first_data(version: int) -> None:
    """Data and DATA_FIN leave before any DATA_ACK has come."""
    pair = MptcpPair(mptcp(versions=(version,)), mptcp(versions=(version,)))
    client = pair.connect()
    pair.run_until(lambda: client.established)
    client.write(700, pair.now)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    (server,) = pair.listener.accepted
    assert server.delivered == 700
    assert server.peer_closed
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert not client.error


def test_every_transition_is_taken() -> None:
    """The tests above go through the whole table, but for the one of an abort."""
    taken: set[tuple[str, str]] = set()
    for fastclose in ("rst", "ack"):
        for order in ("client", "both", "server"):
            pair, client, server = ready(1, 1, client={"fastclose": fastclose})
            if order in ("client", "both"):
                client.close(pair.now)
            if order in ("server", "both"):
                server.close(pair.now)
            pair.run(pair.now + SECOND)
            client.close(pair.now)
            server.close(pair.now)
            pair.run()
            for stack in (pair.client, pair.server):
                for event in stack.events:
                    if event.what == "data state":
                        before, after = event.detail.split(" -> ")
                        taken.add((before, after.split(" ")[0]))
    wanted = {
        (DATA_STATE_NAMES[before], DATA_STATE_NAMES[after])
        for (before, event), after in DATA_TRANSITIONS.items()
        if event not in (*ENDINGS, FASTCLOSE_SENT)
    }
    assert wanted <= taken
    assert all(after == DATA_STATE_NAMES[M_CLOSED] for _, after in taken - wanted)


# --- FIN and RST of one subflow ---------------------------------------------------------------------


@BOTH
def test_fin_closes_its_subflow_only(version: int) -> None:
    pair, client, server = ready(version, 2)
    server.eager = True
    client.subflows[1].close(pair.now)
    pair.run(pair.now + 2 * SECOND)
    assert fins(pair, "c>s")
    assert len(working(server)) == 1
    assert not server.peer_closed
    transfer(pair, client, server, 100_000)
    transfer(pair, server, client, 100_000)


@BOTH
@pytest.mark.parametrize("number", [0, 1])
def test_rst_closes_its_subflow_only(version: int, number: int) -> None:
    """What was on its way there is sent again on the other one."""
    pair, client, server = ready(version, 2)
    server.eager = True
    client.write(400_000, pair.now)
    pair.run(pair.now + 15 * MS)
    pair.cut((C1, C2)[number], pair.now)
    pair.run(pair.now + 10 * MS)
    before = counted(pair.client, "MPTCPRetrans")[0]
    forge(pair, server, number, flags=RST)
    pair.run(pair.now + pair.delay)
    assert client.subflows[number] not in alive(client)
    assert not client.error
    done = pair.now
    pair.run_until(lambda: server.delivered == 401_000)
    assert counted(pair.client, "MPTCPRetrans")[0] > before
    assert pair.now - done < 150 * MS, "no time-out was needed"
    assert any(segment.length for _, _, segment in on_path(pair, (C1, C2)[number]))


@BOTH
def test_close_of_a_connection_that_fell_back(version: int) -> None:
    """FINs as in TCP, and no DATA_FIN."""
    pair, client, server = fallen_back(version)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    assert server.peer_closed
    transfer(pair, server, client, 50_000)
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert not data_fins(pair, "c>s")
    assert not data_fins(pair, "s>c")
    assert len(fins(pair, "c>s")) == len(fins(pair, "s>c")) == 1


# --- No subflow left ------------------------------------------------------------------------------------


def lose_all(pair: MptcpPair, server: Any, client: Any) -> None:
    """Reset every subflow from outside of the connection."""
    for number, subflow in enumerate(list(client.subflows)):
        if subflow in alive(client):
            forge(pair, server, number, flags=RST)
            forge(pair, client, number, flags=RST)
    pair.run(pair.now + pair.delay)


@BOTH
def test_break_before_make(version: int) -> None:
    """All subflows are gone, and a new one takes up where they stopped."""
    plan = Plan()
    plan.subflow_closed = lambda view, subflow: [] if view.subflows else [OpenSubflow(C2, S1, PORT)]
    pair = MptcpPair(mptcp(plan, versions=(version,)), mptcp(versions=(version,)), client_addresses=(C1, C2))
    client, server = pair.establish_subflows(1)
    server.eager = client.eager = True
    client.write(300_000, pair.now)
    server.write(300_000, pair.now)
    pair.run(pair.now + 25 * MS)
    lose_all(pair, server, client)
    assert not client.error
    assert not server.error
    pair.run_until(lambda: server.delivered == 301_000 and client.delivered == 300_000)
    assert len(pair.sent(MpJoinSyn)) == 1
    client.close(pair.now)
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed


@BOTH
def test_nothing_comes_after_the_break(version: int) -> None:
    """The connection is kept for ``close_timeout``, and fails then."""
    fields: dict[str, Any] = {"close_timeout": 10 * SECOND}
    pair, client, server = ready(version, 2, client=fields, server=fields)
    lose_all(pair, server, client)
    gone = pair.now
    assert not alive(client)
    assert not client.closed
    assert not client.error
    client.wants_state = True
    pair.run(gone + 9 * SECOND)
    assert not client.closed
    pair.run(gone + 11 * SECOND)
    for end in (client, server):
        assert end.closed
        assert end.error
        assert end.state == M_CLOSED
    assert counted(pair.client, "MPCurrEstab") == (0,)


@BOTH
def test_break_while_closing(version: int) -> None:
    """A DATA_FIN that was not acknowledged goes out on the new subflow."""
    plan = Plan()
    plan.subflow_closed = lambda view, subflow: [] if view.subflows else [OpenSubflow(C2, S1, PORT)]
    pair = MptcpPair(mptcp(plan, versions=(version,)), mptcp(versions=(version,)), client_addresses=(C1, C2))
    client, server = pair.establish_subflows(1)
    pair.hook = drop(lambda seen: seen.direction == "c>s" and C1 in seen.segment.flow)
    client.close(pair.now)
    pair.run(pair.now + 5 * MS)
    pair.hook = None
    lose_all(pair, server, client)
    pair.run(pair.now + 20 * SECOND)
    assert server.peer_closed
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert not client.error


@BOTH
def test_break_after_the_own_data_fin(version: int) -> None:
    """The new subflow is for the other direction, and is closed with it."""
    plan = Plan()
    plan.subflow_closed = lambda view, subflow: [] if view.subflows else [OpenSubflow(C2, S1, PORT)]
    pair = MptcpPair(mptcp(plan, versions=(version,)), mptcp(versions=(version,)), client_addresses=(C1, C2))
    client, server = pair.establish_subflows(1)
    client.close(pair.now)
    pair.run(pair.now + 500 * MS)
    assert moves(pair, client)[-1] == "M_FIN_WAIT_2"
    lose_all(pair, server, client)
    pair.run(pair.now + SECOND)
    transfer(pair, server, client, 100_000)
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert not client.error
    assert not server.error


def test_reasons_of_resets_are_reported() -> None:
    """MP_TCPRST of the peer is counted and noted."""
    pair, client, server = ready(1, 2)
    forge(pair, server, 1, flags=RST, options=(MpTcprst(5),))
    pair.run(pair.now + SECOND)
    assert counted(pair.client, "MPRstRx") == (1,)
    assert any(event.what == "reset by peer" and "5" in event.detail for event in pair.client.events)
    assert not resets(pair)
    assert len(alive(client)) == 1
