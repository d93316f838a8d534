"""Regressions of MPTCP connections: ends, aborts and windows in combinations that are easily forgotten."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mptcpsim.core.mptcp.data_states import M_CLOSED, M_ESTAB, M_FIN_WAIT_2
from mptcpsim.core.mptcp.kept_segments import KeptSegments
from mptcpsim.core.mptcp_options import Dss, MpFail, MpFastclose
from mptcpsim.core.segment import ACK, FIN, RST, SYN, FourTuple, Segment
from mptcpsim.core.sequences import SequenceMap, narrow
from mptcpsim.core.tcp.states import TIME_WAIT
from mptcpsim.plugins import OpenSubflow, Withdraw
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import carries, drop, without_mptcp
from tests.core.mptcp.pair import C1, C2, C3, MS, S1, MptcpPair, act, forge, transfer
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import joining
from tests.core.tcp.pair import PORT


def connected(pair: MptcpPair) -> tuple[Any, Any]:
    """Connect, send a little, and return both ends."""
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    return client, server


# --- The end ------------------------------------------------------------------------------------


def test_subflow_that_joins_a_half_closed_connection_is_closed_with_it() -> None:
    pair = joining()
    client, server = pair.establish_subflows(2)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    assert client.state == M_FIN_WAIT_2
    act(pair, client, OpenSubflow(C3, S1, PORT))
    pair.run(pair.now + SECOND)
    assert len(client.open_subflows()) == 3
    transfer(pair, server, client, 100_000)
    server.close(pair.now)
    pair.run(pair.now + 300 * SECOND)
    assert client.closed
    assert server.closed
    assert not client.error
    assert not server.error


def test_fin_passes_a_closed_window() -> None:
    """The reader closes before it reads: the window stays closed, and nothing else would reopen it."""
    pair = MptcpPair(mptcp(), mptcp(tcp={"receive_buffer": 20_000}))
    client, server = connected(pair)
    client.write(client.outbound.window, pair.now)
    pair.run(pair.now + SECOND)
    assert client.outbound.window == 0
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    server.close(pair.now)
    pair.run(pair.now + 300 * SECOND)
    assert client.closed
    assert server.closed
    server.read(20_000, pair.now)
    assert server.delivered == server.consumed == client.written


def test_subflow_on_which_the_end_was_acknowledged_is_not_reset() -> None:
    """It is in time-out until the ACK is processed that brings the last DATA_ACK."""
    lost: list[Segment] = []

    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if direction == "s>c" and packet.dss is not None and packet.dss.data_fin and not lost:
            lost.append(packet)
            return []
        return [packet]

    pair = MptcpPair(mptcp(), mptcp(tcp={"rack_tlp": False}), hook=hook)
    client, server = connected(pair)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    server.write(3000, pair.now)
    server.close(pair.now)
    pair.run(pair.now + 300 * SECOND)
    assert lost
    assert client.closed
    assert server.closed
    assert not any(p.flags & RST for _, _, p in pair.wire)


def test_data_fin_is_not_repeated_for_ever() -> None:
    pair = MptcpPair()
    client, _ = connected(pair)
    pair.cut(C1)
    client.close(pair.now)
    pair.run(pair.now + 3600 * SECOND)
    assert client.closed
    assert client.error.startswith("timed out")


# --- Windows and buffers --------------------------------------------------------------------------


def test_reinjection_waits_for_no_window_update_that_was_never_sent() -> None:
    """The other path's own window is closed, and the peer says on one subflow alone that it has opened."""
    pair = joining(server={"window_update": "one", "tcp": {"receive_buffer": 20_000}})
    client, server = pair.establish_subflows(2)
    client.write(client.outbound.window, pair.now)
    pair.run(pair.now + 2 * SECOND)
    server.read(20_000, pair.now)
    pair.run(pair.now + SECOND)
    rooms = [tcp.sender.wnd_end - tcp.sender.nxt for tcp in client.subflows]
    assert max(rooms) > 10_000
    assert min(rooms) < 1000
    pair.cut((C1, C2)[rooms.index(max(rooms))])
    client.write(5000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert server.delivered == client.written


def test_writer_is_woken_by_a_data_ack_that_comes_after_the_ack() -> None:
    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if direction == "s>c" and now > SECOND:
            return [without_mptcp(packet), (5 * MS, packet)]
        return [packet]

    one = {"ack_every": 1}
    pair = MptcpPair(mptcp(tcp=one | {"send_buffer": 1000}), mptcp(tcp=one), hook=hook)
    client, server = connected(pair)
    server.eager = True
    pair.run(SECOND)
    assert client.write(1000, pair.now) == 1000
    client.wants_write = True
    pair.run(pair.now + SECOND)
    assert client.writable
    assert not client.wants_write


def test_time_wait_of_a_subflow_is_left_alone() -> None:
    """No window updates on it, which a peer that has forgotten it would answer with a RST."""
    pair = joining()
    client, server = pair.establish_subflows(2)
    act(pair, client, Withdraw(C2))
    pair.run(pair.now + SECOND)
    assert client.subflows[1].state == TIME_WAIT
    before = len(pair.wire)
    transfer(pair, server, client, 300_000)
    assert not any(C2 in (p.flow.src, p.flow.dst) for _, _, p in pair.wire[before:])
    assert client.is_only(client.subflows[0].extension)
    assert [info.identifier for info in client.paths.subflows] == [0]


def test_answer_to_a_probe_that_advances_repeats_nothing() -> None:
    pair = MptcpPair()
    client, _ = connected(pair)
    pair.run(pair.now + SECOND)
    start = pair.now
    pair.cut(C1, start, start + 2500 * MS)
    client.write(1000, pair.now)
    pair.run(pair.now + 10 * SECOND)
    arrived = next(when for when, way, _ in pair.wire if way == "s>c" and when > start)
    assert client.acked == client.written
    assert not any(p.length for when, _, p in pair.wire if when > arrived)


# --- Fallback -----------------------------------------------------------------------------------


def test_join_that_a_fallback_cuts_short_is_no_failure_of_the_connection() -> None:
    pair = MptcpPair(client_addresses=(C1, C2))
    pair.cut(C2)
    client, server = connected(pair)
    transfer(pair, server, client, 1000)
    pair.run(pair.now + SECOND)
    act(pair, client, OpenSubflow(C2, S1, PORT))
    outbound = server.outbound
    dsn = narrow(outbound.una, 8, outbound.idsn)
    forge(pair, server, dss=Dss(dsn_octets=8, dsn=dsn, ssn=server.subflows[0].sender.nxt))
    pair.run(pair.now + SECOND)
    assert client.is_plain
    assert not client.error
    assert client.write(1000, pair.now) == 1000


def test_mp_fail_on_a_reset_is_no_fallback() -> None:
    pair = MptcpPair(mptcp(checksum=True), mptcp(checksum=True))
    client, server = connected(pair)
    before = len(pair.sent(MpFail, "c>s"))
    forge(
        pair, server, flags=RST | ACK, options=(MpFail(narrow(client.outbound.una, 8, client.outbound.idsn)),)
    )
    pair.run(pair.now + 15 * MS)
    assert client.state == M_ESTAB
    assert not client.is_plain
    assert not client.error
    assert not any(sent.option.is_infinite() for sent in pair.sent(Dss))
    assert len(pair.sent(MpFail, "c>s")) == before


def test_no_fallback_on_a_subflow_that_was_closed() -> None:
    pair = MptcpPair(client_addresses=(C1, C2))
    client, server = connected(pair)
    transfer(pair, server, client, 1000)
    pair.run(pair.now + SECOND)
    act(pair, client, Withdraw(C1))
    outbound = server.outbound
    dsn = narrow(outbound.una, 8, outbound.idsn)
    forge(pair, server, dss=Dss(dsn_octets=8, dsn=dsn, ssn=server.subflows[0].sender.nxt))
    pair.run(pair.now + 11 * MS)
    assert not client.is_plain
    client.write(1000, pair.now)
    pair.run(pair.now + 100 * SECOND)
    assert client.closed
    assert client.error.startswith("timed out: no subflow is left")


@pytest.mark.parametrize("flags", [ACK, ACK | FIN])
@pytest.mark.parametrize("prediction", [True, False])
def test_reset_for_a_wrong_checksum_is_the_last_segment(flags: int, prediction: bool) -> None:
    server_tcp = {"ack_every": 1, "header_prediction": prediction}
    pair = joining(client={"checksum": True}, server={"tcp": server_tcp})
    client, server = pair.establish_subflows(2)
    outbound = client.outbound
    ssn = client.subflows[1].sender.nxt
    dsn = narrow(outbound.nxt, 8, outbound.idsn)
    ack = narrow(server.outbound.nxt, 8, server.outbound.idsn)
    forge(pair, client, 1, dss=Dss(8, ack, 8, dsn, ssn, 100, 0x1234), length=100, flags=flags)
    before = len(pair.wire)
    pair.run(pair.now + SECOND)
    sent = [p for _, way, p in pair.wire[before:] if way == "s>c" and C2 in (p.flow.src, p.flow.dst)]
    assert len(sent) == 1
    assert sent[0].flags & RST
    transfer(pair, client, server, 10_000)


def test_ends_that_disagree_on_their_fins_do_not_answer_each_other_for_ever() -> None:
    """Each has taken a byte that the other has not sent."""
    pair = MptcpPair()
    client, server = connected(pair)
    transfer(pair, server, client, 1000)
    pair.run(pair.now + SECOND)
    forge(pair, client, flags=ACK | FIN, length=1)
    forge(pair, server, flags=ACK | FIN, length=1)
    before = len(pair.wire)
    pair.run(pair.now + 60 * SECOND)
    assert len(pair.wire) - before < 1000


# --- Aborts -------------------------------------------------------------------------------------


def test_data_fin_that_crosses_a_fast_close() -> None:
    pair = MptcpPair(mptcp(fastclose="ack"), mptcp())
    client, server = connected(pair)
    server.close(pair.now)
    client.abort(pair.now)
    pair.run(pair.now + 10 * SECOND)
    assert client.closed
    assert server.closed
    assert client.error == "aborted"


def test_nothing_new_is_sent_after_a_fast_close_that_is_not_answered() -> None:
    pair = MptcpPair(mptcp(fastclose="ack"), mptcp(), hook=drop(carries(MpFastclose, "c>s")))
    client, server = connected(pair)
    server.eager = True
    client.write(100_000, pair.now)
    client.close(pair.now)
    client.abort(pair.now)
    sent = client.outbound.nxt
    pair.run(pair.now + 60 * SECOND)
    assert client.closed
    assert client.outbound.nxt == sent
    assert server.delivered == sent - 1


@pytest.mark.parametrize("variant", ["ack", "rst"])
def test_abort_opens_no_subflow_and_moves_no_data(variant: str) -> None:
    plan = Plan(
        established=[OpenSubflow(C2, S1, PORT)],
        subflow_closed=lambda view, info: [OpenSubflow(C3, S1, PORT)],
    )
    pair = MptcpPair(mptcp(plan, fastclose=variant), mptcp(), client_addresses=(C1, C2, C3))
    client, _ = pair.establish_subflows(2)
    client.write(50_000, pair.now)
    pair.pump()
    before = len(pair.wire)
    client.abort(pair.now)
    pair.run(pair.now + 60 * SECOND)
    after = [p for _, way, p in pair.wire[before:] if way == "c>s" and isinstance(p, Segment)]
    assert not any(segment.flags & SYN for segment in after)
    assert not any(segment.length for segment in after)
    assert any(segment.flags & RST for segment in after)
    assert client.closed
    assert client.state == M_CLOSED


def test_abort_after_the_end_is_no_failure() -> None:
    pair = MptcpPair()
    client, server = connected(pair)
    client.close(pair.now)
    server.close(pair.now)
    pair.run(pair.now + 300 * SECOND)
    client.abort(pair.now)
    assert client.closed
    assert not client.error


# --- Path managers ----------------------------------------------------------------------------------


def test_path_manager_that_asks_again_for_what_cannot_be_opened() -> None:
    """C3 is no address of the client."""
    plan = Plan(
        established=[OpenSubflow(C3, S1, PORT)],
        subflow_closed=lambda view, info: [OpenSubflow(C3, S1, PORT), OpenSubflow(C2, S1, PORT)],
    )
    pair = MptcpPair(mptcp(plan), client_addresses=(C1, C2))
    client, _ = pair.establish_subflows(2)
    assert [s.tcp.flow.src for s in client.open_subflows()] == [C1, C2]


# --- Costs ----------------------------------------------------------------------------------------


def test_kept_segments_are_found_by_their_place_and_in_the_order_of_their_arrival() -> None:
    rng = random.Random(1)
    kept = KeptSegments()
    flow = FourTuple(C1, 1, S1, 2)
    all_of_them = []
    for _ in range(300):
        seq, length = rng.randrange(5000), rng.randrange(1, 200)
        segment = Segment(flow, 40, SequenceMap(0), ACK, seq, 0, 0, length, 0, 0, None, 0)
        kept.add(segment)
        all_of_them.append(segment)
    for left in range(0, 5000, 250):
        kept.forget_below(left)
        right = left + rng.randrange(1, 400)
        wanted = [s for s in all_of_them if s.seq < right and s.seq + s.length > left]
        assert kept.between(left, right) == wanted
        assert len(kept) == sum(s.seq + s.length > left for s in all_of_them)
