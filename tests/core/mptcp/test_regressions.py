"""Faults of MPTCP that the Hypothesis machine found, each shrunk to a script."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from mptcpsim.codec.options import wire_length
from mptcpsim.core.mptcp.reinjection import Reinjection
from mptcpsim.core.mptcp_options import AddAddr, Dss, MpFail
from mptcpsim.core.segment import SYN, Segment
from mptcpsim.core.tcp.states import FIN_WAIT_2, SYN_SENT
from mptcpsim.plugins import Announce, OpenSubflow, Withdraw
from mptcpsim.units import NEVER, SECOND
from tests.core.mptcp.hooks import Seen, alter, drop, strip_mptcp
from tests.core.mptcp.pair import C1, C2, C3, MS, S1, S2, MptcpPair, alive, options_of, transfer
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import goes_on, joining, start
from tests.core.tcp.pair import PORT


def test_subflow_that_ends_after_a_time_out_leaves_its_data_once() -> None:
    """What was queued for the others when it timed out is not queued again when it is given up."""
    pair = joining()
    client, _ = start(pair)
    for address in (C1, C2):
        pair.cut(address, pair.now)
    client.write(10_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    client.subflows[0].abort(pair.now)
    client.subflows[1].abort(pair.now)
    assert 0 < sum(item.end - item.dsn for item in client.outbound.reinjections.queue) <= 10_000


def test_data_that_fills_a_segment_has_no_room_for_sack_blocks() -> None:
    """Without timestamps 40 bytes of options have room for a block beside a mapping; the MTU has not."""
    pair = MptcpPair(
        mptcp(tcp={"timestamps": False}),
        hook=drop(lambda seen: seen.direction == "c>s" and seen.segment.seq == 1_001 and seen.now < SECOND),
    )
    client, server = pair.establish_subflows()
    client.write(10_000, pair.now)
    pair.run(pair.now + 50 * MS)
    server.write(20_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert client.acked == 11_000
    assert any(packet.sack and packet.length for _, _, packet in pair.wire)
    assert max(packet.size for _, _, packet in pair.wire) == 1500


def test_address_is_removed_while_a_subflow_to_it_is_opened() -> None:
    """The one that is not open yet cannot be asked whether it works."""
    pair = joining(join=OpenSubflow(C2, S2, PORT))
    client, server = start(pair)
    pair.cut(C3)
    client.act([OpenSubflow(C3, S2, PORT)], pair.now)
    server.act([Withdraw(S1)], pair.now)
    pair.run(pair.now + SECOND)
    assert client.subflows[2].state == SYN_SENT
    pair.mend()
    pair.run(pair.now + 100 * SECOND)
    goes_on(pair, client, server, 2)


def test_connection_is_given_up_while_a_join_is_on_its_way() -> None:
    pair = joining(client={"close_timeout": 10 * SECOND}, server={"close_timeout": 10 * SECOND})
    client, _ = start(pair)
    for address in (C1, C2, C3):
        pair.cut(address, pair.now)
    for tcp in client.subflows:
        tcp.abort(pair.now)
    client.act([OpenSubflow(C3, S1, PORT)], pair.now)
    client.write(1_000, pair.now)
    client.close(pair.now)
    pair.run(pair.now + 11 * SECOND)
    assert client.closed
    assert "no subflow is left" in client.error
    pair.mend()
    pair.run(pair.now + 100 * SECOND)
    assert pair.next_event() == NEVER


def test_connection_that_is_over_does_not_wait_for_the_fin_of_a_subflow() -> None:
    """The peer has reset the subflow, which nobody heard: FIN-WAIT-2 has an end all the same."""
    pair = joining()
    client, server = start(pair)
    server.close(pair.now)
    pair.run(pair.now + 100 * MS)
    assert server.subflows[1].state == FIN_WAIT_2
    pair.cut(C2, pair.now)
    client.subflows[1].abort(pair.now)
    client.close(pair.now)
    pair.run(pair.now + 1_000 * SECOND)
    assert client.closed
    assert server.closed
    assert not server.error


def test_what_a_subflow_carries_twice_is_queued_once() -> None:
    """The slower of two subflows can have bytes that it got again while the other one was blocked."""
    pair = joining()
    client, _ = start(pair)
    out = client.outbound
    out.reinjections.add([Reinjection(1, 11, 0), Reinjection(21, 31, 0)])
    out.reinjections.add([Reinjection(1, 26, 0), Reinjection(5, 8, 1)])
    out.reinjections.add([Reinjection(1, 31, 0)])
    assert list(out.reinjections.queue) == [(1, 11, 0), (5, 8, 1), (11, 31, 0)]


def test_promises_that_are_rounded_up_do_not_add_up() -> None:
    """A large shift rounds the window up with every ACK; beyond twice the buffer data is not taken."""
    pair = MptcpPair(mptcp(tcp={"mss": 500}), mptcp(tcp={"receive_buffer": 1_311, "window_scale": 10}))
    client, server = pair.establish()
    for _ in range(20):
        client.write(450, pair.now)
        pair.run(pair.now + SECOND)
    assert 1_311 <= server.readable <= 2 * 1_311
    server.eager = True
    server.read(server.readable, pair.now)
    pair.run(pair.now + 100 * SECOND)
    assert server.delivered == client.written


def test_reinjection_that_has_to_wait_does_not_hold_up_others() -> None:
    """What only its own subflow could carry waits; what the connection sends again goes out at once."""
    pair = MptcpPair()
    client, server = pair.establish_subflows()
    server.eager = True
    client.write(1_000, pair.now)
    out = client.outbound
    out.reinjections.add([Reinjection(1_001, 1_101, 0), Reinjection(1_001, 2_001, -1)])
    out.push(pair.now)
    assert list(out.reinjections.queue) == [(1_001, 1_101, 0)]
    pair.run(pair.now + SECOND)
    assert server.delivered == 2_000
    assert not out.reinjections.queue


def test_part_of_a_mapping_is_no_data_without_a_mapping() -> None:
    """A checksum waits for all of its mapping, however much of a small window that fills."""
    pair = MptcpPair(mptcp(checksum=True), mptcp(tcp={"mss": 536, "receive_buffer": 980}))
    client, server = pair.establish_subflows()
    server.eager = True
    pair.run(pair.now + 100 * MS)
    pair.cut(C1, pair.now, pair.now + 5 * MS)
    client.write(5_000, pair.now)
    pair.run(pair.now + 5 * MS)
    # The answer to 64-bit numbers are DATA_ACKs of 64 bits: what is sent again no longer fits.
    server.write(100, pair.now)
    pair.run(pair.now + 10 * SECOND)
    assert server.delivered == 6_000
    assert len(alive(client)) == 1


def test_connection_goes_on_when_subflows_without_data_acks_were_reset() -> None:
    """The timer of the connection runs on: what they had delivered in vain is still to be sent."""

    def hook(seen: Seen) -> bool:
        return C1 not in seen.segment.flow and not seen.segment.flags & SYN and seen.now > 10 * SECOND

    pair = joining(hook=strip_mptcp(hook))
    client, server = start(pair)
    transfer(pair, client, server, 200_000)
    server.eager = True
    pair.run(20 * SECOND)
    pair.cut(C1, pair.now, pair.now + 20 * SECOND)
    client.write(20_000, pair.now)
    pair.run_until(lambda: bool(client.subflows[1].error))
    assert client.outbound.una < client.outbound.nxt
    assert client.outbound.rto_at < NEVER
    pair.run(pair.now + 200 * SECOND)
    assert server.delivered == client.written


def test_receive_buffer_of_one_byte() -> None:
    """No data at all is not yet a window of data without a mapping."""
    pair = MptcpPair(mptcp(), mptcp(checksum=True, tcp={"receive_buffer": 1}))
    client, server = pair.establish()
    server.eager = True
    client.write(5, pair.now)
    pair.run(pair.now + 30 * SECOND)
    assert server.delivered == 5
    assert not client.error


def test_time_out_of_the_connection_is_bounded() -> None:
    """As the one of TCP is: else hours pass on a long path before a DATA_FIN is sent again."""

    def is_data_fin(seen: Seen) -> bool:
        return seen.direction == "c>s" and seen.segment.dss is not None and seen.segment.dss.data_fin

    pair = MptcpPair(delay=SECOND, hook=drop(is_data_fin))
    client, _ = pair.establish_subflows()
    client.close(pair.now)
    pair.run(pair.now + 1_500 * SECOND)
    sent = [sent.time for sent in pair.sent(Dss, "c>s") if sent.option.data_fin]
    assert len(sent) > 10
    assert max(later - before for before, later in pairwise(sent)) == 120 * SECOND


def test_fin_of_a_peer_that_fell_back_in_the_handshake() -> None:
    """It is the end of that peer's stream, and no reason to close the own direction."""
    pair = MptcpPair(hook=strip_mptcp(lambda seen: seen.direction == "c>s" and not seen.segment.flags & SYN))
    client, server = pair.establish()
    assert server.is_plain
    server.close(pair.now)
    pair.run(pair.now + SECOND)
    assert client.peer_closed
    assert not server.peer_closed
    client.write(1_000, pair.now)
    client.close(pair.now)
    pair.run(pair.now + 100 * SECOND)
    assert server.delivered == 1_000
    assert server.peer_closed
    assert client.closed
    assert not client.error


def test_mp_capable_stands_in_for_the_first_data_of_the_connection_only() -> None:
    """A join of the server is ready before the first DATA_ACK comes: the first data goes there."""
    plan = Plan(announced=lambda view, remote: [OpenSubflow(S1, remote.address, remote.port)])
    # The answers to the third ACK are lost, so the client may not know yet that its key has arrived.
    lost = drop(
        lambda seen: seen.direction == "s>c" and C1 in seen.segment.flow and seen.segment.dss is not None
    )
    pair = MptcpPair(
        # Without timestamps the ADD_ADDR fits beside the keys.
        mptcp(Plan(established=[Announce(C2)]), tcp={"timestamps": False}),
        mptcp(plan, join_after="at-once"),
        client_addresses=(C1, C2),
        delays={(C1, S1): 50 * MS, (C2, S1): MS},
        hook=lambda way, packet, now: lost(way, packet, now) if now < 400 * MS else [packet],
    )
    client, server = pair.establish()
    pair.run(pair.now + 400 * MS)
    transfer(pair, client, server, 100_000)
    assert {subflow.sender.sent_bytes > 0 for subflow in client.subflows} == {True}


def test_fin_of_a_subflow_that_still_carries_the_keys_is_no_fallback() -> None:
    """Until a DATA_ACK comes, MP_CAPABLE takes the room of the DSS."""
    pair = MptcpPair()
    client, server = pair.establish()
    client.act([Withdraw(C1)], pair.now)
    pair.run(pair.now + SECOND)
    assert not server.is_plain
    assert not server.peer_closed


@pytest.mark.parametrize("infinite_mapping", [True, False])
def test_fin_of_a_peer_that_fell_back_while_a_join_is_being_opened(infinite_mapping: bool) -> None:
    """It ends the peer's stream, not ours: what is left goes on as plain TCP, or the peer sees a reset."""
    lost = strip_mptcp(lambda seen: seen.number == 3)
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)])
    pair = MptcpPair(
        mptcp(plan, join_after="at-once", infinite_mapping=infinite_mapping),
        mptcp(),
        client_addresses=(C1, C2),
        delay=50 * MS,
        hook=lost,
    )
    client, server = pair.establish()
    assert server.is_plain
    server.close(pair.now)
    pair.run(pair.now + 20 * MS)
    client.write(200_000, pair.now)
    client.close(pair.now)
    pair.run(pair.now + 10 * SECOND)
    if infinite_mapping:
        assert client.is_plain
        assert (server.delivered, server.peer_closed) == (200_000, True)
    else:
        assert not server.peer_closed
        assert server.error


def test_mp_fail_crosses_what_the_connection_repeats() -> None:
    """Data is damaged, and repeated before MP_FAIL has come: the infinite mapping tells where to go on."""
    number = 0

    def is_meant(seen: Seen) -> bool:
        nonlocal number
        number += seen.direction == "s>c" and seen.segment.length > 0
        return seen.direction == "s>c" and seen.segment.length > 0 and number == 1

    def damage(segment: Segment) -> Segment:
        copy = segment.clone()
        assert copy.dss is not None
        copy.dss = copy.dss._replace(checksum=copy.dss.checksum ^ 1)
        return copy

    spoil = alter(is_meant, damage)

    def hook(way: str, packet: Any, now: int) -> list[Any]:
        # MP_FAIL is removed for as long as it takes the server to repeat its data.
        if way == "c>s" and now < 700 * MS and any(isinstance(o, MpFail) for o in options_of(packet)):
            packet = packet.clone()
            packet.options = None
            packet.size = wire_length(packet)
        return list(spoil(way, packet, now))

    pair = MptcpPair(mptcp(checksum=True), mptcp(), hook=hook)
    client, server = pair.establish()
    server.write(1000, pair.now)
    pair.run(pair.now + 3 * SECOND)
    assert client.read(2000, pair.now) == 1000
    assert client.is_plain
    assert server.is_plain
    transfer(pair, server, client, 50_000)
    transfer(pair, client, server, 50_000)


def test_fall_back_while_a_mapping_waits_to_be_sent() -> None:
    """A sender that maps ahead has mapped more than it has sent: the stream goes on behind what was sent."""
    # The first data of the server loses its mappings; the client has spoken MPTCP, and says so.
    lost = strip_mptcp(lambda seen: seen.direction == "s>c" and seen.segment.length > 0)
    pair = MptcpPair(
        mptcp(versions=(0,)),
        mptcp(versions=(0,), map_ahead=True, mapping_segments=3, tcp={"initial_window_segments": 3}),
        delay=50 * MS,
        hook=lost,
    )
    client, server = pair.establish()
    pair.run(pair.now + SECOND)
    client.write(5_000, pair.now)
    server.write(60_000, pair.now)
    pair.pump()
    pair.run(pair.now + 60 * MS)
    assert client.is_plain
    assert not server.is_plain
    ahead = server.subflows[0].sender
    assert ahead.nxt < ahead.end
    client.write(50_000, pair.now)
    pair.pump()
    pair.run(pair.now + 3 * SECOND)
    assert server.is_plain
    assert client.read(100_000, pair.now) == 60_000
    assert server.read(100_000, pair.now) == 55_000


def test_an_mtu_without_room_for_options_and_data_is_no_endless_loop() -> None:
    """An interface can get any MTU during a run; segments of no byte would be sent for ever."""
    pair = joining()
    client, server = start(pair)
    pair.client.addresses[C3] = 72
    client.act([OpenSubflow(C3, S1, PORT)], pair.now)
    pair.run(pair.now + SECOND)
    assert [tcp.sender.mss > 0 for tcp in client.subflows] == [True] * 3
    goes_on(pair, client, server, 3)


def test_an_add_addr_that_leaves_no_room_for_the_data_ack_is_no_sign_of_a_middlebox() -> None:
    """The ACK before it, with the DATA_ACK, was lost: so it is the one that acknowledges new data."""

    def is_lost(seen: Seen) -> bool:
        dss = seen.segment.dss
        return seen.direction == "c>s" and dss is not None and seen.now < 3 * SECOND and seen.segment.ack > 1

    pair = MptcpPair(mptcp(data_ack_octets=8), mptcp(), client_addresses=(C1, C2), hook=drop(is_lost))
    client, server = pair.establish()
    transfer(pair, client, server, 1_000)
    pair.run(2 * SECOND)
    server.write(500, pair.now)
    pair.pump()
    pair.run(pair.now + 100 * MS)
    client.act([Announce(C2, PORT)], pair.now)
    pair.pump()
    pair.run(pair.now + SECOND)
    (announced,) = [sent for sent in pair.sent(AddAddr, "c>s") if sent.segment.dss is None]
    assert announced.segment.ack == 501
    assert server.subflows[0].error == ""
    assert not server.is_plain
    pair.run(4 * SECOND)
    assert client.read(1_000, pair.now) == 500
    goes_on(pair, client, server, 1)


@pytest.mark.parametrize("scale", [-1, 7])
def test_the_unit_of_the_window_fits_into_a_buffer_that_is_to_grow(scale: int) -> None:
    """A buffer of 34 bytes, read within a round trip, and a unit of 128: the window never opened again."""
    small = {"receive_buffer": 34, "receive_autotune": True, "window_scale": scale}
    pair = MptcpPair(mptcp(), mptcp(tcp=small), delay=0)
    client, server = pair.establish()
    server.eager = True
    client.write(500, pair.now)
    pair.pump()
    pair.run(pair.now + 1_000 * SECOND)
    assert server.delivered == 500
