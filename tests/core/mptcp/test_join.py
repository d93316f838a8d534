"""MP_JOIN: the handshake of a further subflow state by state, priorities, and what goes wrong on it.

RFC 8684 section 3.2, RFC 6824 section 3.2; both versions unless said otherwise.
"""

from __future__ import annotations

import hashlib
import hmac
from itertools import pairwise
from typing import Any

import pytest

from mptcpsim.codec.options import wire_length
from mptcpsim.core.mptcp.stages import PRE_ESTABLISHED
from mptcpsim.core.mptcp_options import (
    REASON_LACK_OF_RESOURCES,
    REASON_MIDDLEBOX,
    REASON_MPTCP_SPECIFIC,
    REASON_PROHIBITED,
    AddAddr,
    Dss,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
)
from mptcpsim.core.segment import ACK, RST, SYN, Segment
from mptcpsim.core.tcp.states import ESTABLISHED, SYN_RECEIVED
from mptcpsim.plugins import Announce, OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import alter, carries, drop, replaced, strip_mptcp
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair, counted, options_of, transfer, working
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import expect_reset, goes_on, joining, keys_of, on_path, one, resets, start
from tests.core.tcp.pair import PORT

BOTH = pytest.mark.parametrize("version", [1, 0])


# --- The handshake --------------------------------------------------------------------------------


def expected_hmac(version: int, first_key: int, second_key: int, first: int, second: int) -> bytes:
    """Figure 8 of RFC 8684, spelled out without the core's functions."""
    return hmac.new(
        first_key.to_bytes(8, "big") + second_key.to_bytes(8, "big"),
        first.to_bytes(4, "big") + second.to_bytes(4, "big"),
        hashlib.sha256 if version == 1 else hashlib.sha1,
    ).digest()


def token(version: int, key: int) -> int:
    digest = (hashlib.sha256 if version == 1 else hashlib.sha1)(key.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:4], "big")


@BOTH
def test_handshake(version: int) -> None:
    """Every field of the three options, and the fourth packet."""
    pair = joining(version)
    client, server = pair.establish_subflows(2)
    keys = keys_of(pair)
    syn, syn_ack, ack = one(pair, MpJoinSyn), one(pair, MpJoinSynAck), one(pair, MpJoinAck)
    assert (syn.direction, syn_ack.direction, ack.direction) == ("c>s", "s>c", "c>s")
    assert syn.segment.flags & (SYN | ACK) == SYN
    assert syn_ack.segment.flags & (SYN | ACK) == SYN | ACK
    assert ack.segment.flags & (SYN | ACK) == ACK
    assert syn.segment.flow.src == C2
    assert syn.segment.flow.dport == PORT
    assert syn.option.token == token(version, keys.receiver_key)
    assert not syn.option.backup
    assert syn.option.address_id != 0, "0 is the address of the first subflow"
    assert syn_ack.option.address_id == 0
    a, b = keys.sender_key, keys.receiver_key
    r_a, r_b = syn.option.nonce, syn_ack.option.nonce
    assert syn_ack.option.hmac == expected_hmac(version, b, a, r_b, r_a)[:8]
    assert ack.option.hmac == expected_hmac(version, a, b, r_a, r_b)[:20]
    assert ack.segment.length == 0
    answer = next(
        (when, segment)
        for when, way, segment in on_path(pair, C2)
        if way == "s>c" and not segment.flags & SYN
    )
    assert answer[0] == ack.time + 10 * MS, "the third packet is acknowledged at once"
    assert answer[1].length == 0
    assert not any(isinstance(option, MpJoinAck) for option in options_of(answer[1]))
    goes_on(pair, client, server, 2)


@BOTH
def test_counters(version: int) -> None:
    pair = joining(version)
    pair.establish_subflows(2)
    sent = ("MPJoinSynTx", "MPJoinSynAckRx", "MPJoinSynAckBackupRx", "MPJoinSynAckHMacFailure")
    received = ("MPJoinSynRx", "MPJoinAckRx", "MPJoinSynBackupRx", "MPJoinAckHMacFailure", "MPJoinRejected")
    assert counted(pair.client, *sent) == (1, 1, 0, 0)
    assert counted(pair.server, *received) == (1, 1, 0, 0, 0)
    assert counted(pair.client, *received) == (0, 0, 0, 0, 0)


@BOTH
def test_both_subflows_carry_data(version: int) -> None:
    pair = joining(version)
    client, server = pair.establish_subflows(2)
    transfer(pair, client, server, 500_000)
    transfer(pair, server, client, 500_000)
    for way in ("c>s", "s>c"):
        for address in (C1, C2):
            carried = sum(segment.length for _, d, segment in on_path(pair, address) if d == way)
            assert carried > 50_000, (way, address)


@BOTH
def test_no_join_before_a_dss(version: int) -> None:
    """New subflows must not be established until a DSS has been received (section 3.1)."""
    pair = joining(version)
    client, server = pair.establish()
    pair.run(pair.now + 2 * SECOND)
    assert not pair.sent(MpJoinSyn)
    transfer(pair, client, server, 100)
    pair.run_until(lambda: len(working(client)) == 2)
    first = min(sent.time for sent in pair.sent(Dss, "s>c"))
    assert one(pair, MpJoinSyn).time >= first + pair.delay


@BOTH
def test_no_join_of_the_server_before_a_dss(version: int) -> None:
    """The keys have arrived, and yet it is not known whether options pass on data."""
    plan = Plan()
    pair = MptcpPair(mptcp(versions=(version,)), mptcp(plan, versions=(version,)), server_addresses=(S1, S2))
    client = pair.connect()
    plan.established = [OpenSubflow(S2, C1, client.subflows[0].flow.sport)]
    pair.run(pair.now + 2 * SECOND)
    assert not pair.sent(MpJoinSyn)
    client.write(100, pair.now)
    pair.run(pair.now + SECOND)
    assert len(working(client)) == 2


def test_join_at_once() -> None:
    """``join_after="at-once"``: as soon as the connection is established."""
    pair = joining(client={"join_after": "at-once"})
    pair.establish()
    pair.run(pair.now + SECOND)
    assert len(pair.sent(MpJoinSyn)) == 1
    assert not any(packet.length for _, _, packet in pair.wire)


def test_join_after_add_addr() -> None:
    """``join_after="add-addr"``, as in Linux: an ADD_ADDR is proof enough, without the DSS beside it."""

    def bare(segment: Segment) -> Segment:
        copy = segment.clone()
        copy.dss = None
        return copy

    plan = Plan()
    plan.announced = lambda view, remote: [OpenSubflow(C2, remote.address, remote.port)]
    server = mptcp(Plan(established=[Announce(S2)]))
    for cause, expected in (("dss", 0), ("add-addr", 1)):
        pair = MptcpPair(
            mptcp(plan, join_after=cause),
            server,
            client_addresses=(C1, C2),
            server_addresses=(S1, S2),
            hook=alter(carries(AddAddr), bare),
        )
        pair.establish()
        pair.run(pair.now + SECOND)
        assert len(pair.sent(MpJoinSyn)) == expected


@BOTH
def test_demultiplexed_by_token_not_by_port(version: int) -> None:
    """Nobody listens on the port that the join goes to, and the token is what counts."""
    pair = joining(version, join=OpenSubflow(C2, S1, 7777))
    client, server = pair.establish_subflows(2)
    assert one(pair, MpJoinSyn).segment.flow.dport == 7777
    goes_on(pair, client, server, 2)


@BOTH
def test_listener_is_gone(version: int) -> None:
    """The connection has its token still when nobody listens any more."""
    pair = joining(version)
    client, server = pair.establish()
    del pair.server.listeners[PORT]
    transfer(pair, client, server, 1000)
    pair.run_until(lambda: len(working(client)) == 2)
    goes_on(pair, client, server, 2)


def test_local_port_can_be_chosen() -> None:
    pair = joining(join=OpenSubflow(C2, S1, PORT, local_port=4444))
    pair.establish_subflows(2)
    assert one(pair, MpJoinSyn).segment.flow.sport == 4444


@BOTH
def test_the_server_may_join(version: int) -> None:
    """The roles in the HMACs are those of the subflow: its opener's key comes first."""
    client_port: list[int] = []
    plan = Plan()
    pair = MptcpPair(
        mptcp(versions=(version,)),
        mptcp(plan, versions=(version,)),
        client_addresses=(C1, C2),
        server_addresses=(S1, S2),
    )
    client = pair.connect()
    client_port.append(client.subflows[0].flow.sport)
    plan.established = [OpenSubflow(S2, C1, client_port[0])]
    pair.run_until(lambda: bool(pair.listener.accepted))
    server = pair.listener.accepted.pop()
    transfer(pair, client, server, 1000)
    transfer(pair, server, client, 1000)
    pair.run_until(lambda: len(working(client)) == len(working(server)) == 2)
    syn, syn_ack, ack = one(pair, MpJoinSyn), one(pair, MpJoinSynAck), one(pair, MpJoinAck)
    assert (syn.direction, syn_ack.direction, ack.direction) == ("s>c", "c>s", "s>c")
    keys = keys_of(pair)
    assert syn.option.token == token(version, keys.sender_key)
    a, b = keys.receiver_key, keys.sender_key
    assert ack.option.hmac == expected_hmac(version, a, b, syn.option.nonce, syn_ack.option.nonce)[:20]
    goes_on(pair, client, server, 2)


@BOTH
def test_as_bytes(version: int) -> None:
    pair = joining(version, encode=True, client={"checksum": True})
    client, server = pair.establish_subflows(2)
    goes_on(pair, client, server, 2)


def test_four_subflows() -> None:
    joins = [OpenSubflow(C2, S1, PORT), OpenSubflow(C1, S2, PORT), OpenSubflow(C2, S2, PORT)]
    pair = MptcpPair(
        mptcp(Plan(established=joins)), mptcp(), client_addresses=(C1, C2), server_addresses=(S1, S2)
    )
    client, server = pair.establish_subflows(4)
    goes_on(pair, client, server, 4)
    nonces = [sent.option.nonce for sent in pair.sent(MpJoinSyn) + pair.sent(MpJoinSynAck)]
    assert len(set(nonces)) == 6
    # One identifier an address, whichever subflow it is used for.
    assert len({sent.option.address_id for sent in pair.sent(MpJoinSyn) if sent.segment.flow.src == C2}) == 1
    assert {sent.option.address_id for sent in pair.sent(MpJoinSyn) if sent.segment.flow.src == C1} == {0}


# --- PRE_ESTABLISHED ------------------------------------------------------------------------------


@BOTH
def test_no_data_before_the_fourth_packet(version: int) -> None:
    """The opener holds its data back until the peer has acknowledged the third packet."""
    pair = joining(version)
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    client.write(1_000_000, pair.now)
    server.eager = True
    pair.run_until(lambda: any(packet.length for _, way, packet in on_path(pair, C2) if way == "c>s"))
    third = one(pair, MpJoinAck).time
    first = next(when for when, way, packet in on_path(pair, C2) if way == "c>s" and packet.length)
    assert first >= third + 2 * pair.delay


@BOTH
def test_the_third_packet_is_sent_again(version: int) -> None:
    """With the same HMAC, and at intervals that double, until the peer acknowledges it."""
    lost: list[int] = []

    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if any(isinstance(option, MpJoinAck) for option in options_of(packet)) and len(lost) < 3:
            lost.append(now)
            return []
        # The SYN/ACK is not sent again meanwhile: its retransmission would be answered, too.
        if lost and any(isinstance(option, MpJoinSynAck) for option in options_of(packet)):
            return []
        return [packet]

    pair = joining(version, hook=hook)
    client, server = start(pair, 10)
    times = [sent.time for sent in pair.sent(MpJoinAck)]
    assert len(times) == 4
    assert len({sent.option for sent in pair.sent(MpJoinAck)}) == 1
    first, second, third = (b - a for a, b in pairwise(times))
    assert second == pytest.approx(2 * first, rel=0.1)
    assert third == pytest.approx(4 * first, rel=0.1)
    goes_on(pair, client, server, 2)


@BOTH
def test_the_fourth_packet_is_lost(version: int) -> None:
    """The third one comes again, and is acknowledged again."""
    lost: list[int] = []

    def hook(direction: str, packet: Any, now: int) -> list[Any]:
        if direction == "s>c" and packet.flow.dst == C2 and not packet.flags & SYN and not lost:
            lost.append(now)
            return []
        return [packet]

    pair = joining(version, hook=hook)
    client, server = start(pair)
    assert lost
    assert len(pair.sent(MpJoinAck)) == 2
    goes_on(pair, client, server, 2)


@BOTH
def test_the_third_packet_never_arrives(version: int) -> None:
    """The subflow is given up in the end; the connection stays."""
    pair = joining(version, hook=drop(carries(MpJoinAck)))
    client, server = start(pair, 400)
    assert 3 <= len(pair.sent(MpJoinAck)) <= 20
    goes_on(pair, client, server)


@BOTH
def test_data_of_the_responder_is_a_fourth_packet(version: int) -> None:
    """The pure acknowledgment is lost; the responder's data on the subflow does as well."""
    pair = joining(
        version,
        hook=drop(
            lambda seen: (
                seen.direction == "s>c"
                and seen.segment.flow.dst == C2
                and not seen.segment.flags & SYN
                and not seen.segment.length
            )
        ),
    )
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    server.write(300_000, pair.now)
    client.eager = True
    pair.run_until(lambda: client.delivered == 300_000)
    assert any(packet.length for _, way, packet in on_path(pair, C2) if way == "s>c")
    assert len(pair.sent(MpJoinAck)) <= 2


# --- Refusals -------------------------------------------------------------------------------------


@BOTH
def test_unknown_token(version: int) -> None:
    pair = joining(
        version, hook=alter(carries(MpJoinSyn), replaced(MpJoinSyn, lambda o: o._replace(token=o.token ^ 1)))
    )
    client, server = start(pair)
    expect_reset(pair, "s>c", version, REASON_MPTCP_SPECIFIC)
    assert counted(pair.server, "MPJoinNoTokenFound") == (1,)
    goes_on(pair, client, server)


@BOTH
def test_limit_of_the_responder(version: int) -> None:
    pair = joining(version, server={"max_subflows": 1})
    client, server = start(pair)
    expect_reset(pair, "s>c", version, REASON_PROHIBITED, REASON_LACK_OF_RESOURCES)
    assert counted(pair.server, "MPJoinRejected") == (1,)
    goes_on(pair, client, server)


def test_limit_of_the_opener() -> None:
    pair = joining(client={"max_subflows": 1})
    client, server = start(pair)
    assert not pair.sent(MpJoinSyn)
    goes_on(pair, client, server)


@BOTH
def test_wrong_hmac_of_the_responder(version: int) -> None:
    flip = replaced(MpJoinSynAck, lambda o: o._replace(hmac=bytes((o.hmac[0] ^ 1,)) + o.hmac[1:]))
    pair = joining(version, hook=alter(carries(MpJoinSynAck), flip))
    client, server = start(pair)
    expect_reset(pair, "c>s", version, REASON_MPTCP_SPECIFIC)
    assert counted(pair.client, "MPJoinSynAckHMacFailure") == (1,)
    assert not pair.sent(MpJoinAck)
    goes_on(pair, client, server)


@BOTH
def test_wrong_hmac_of_the_opener(version: int) -> None:
    flip = replaced(MpJoinAck, lambda o: o._replace(hmac=o.hmac[:-1] + bytes((o.hmac[-1] ^ 1,))))
    pair = joining(version, hook=alter(carries(MpJoinAck), flip))
    client, server = start(pair)
    expect_reset(pair, "s>c", version, REASON_MPTCP_SPECIFIC)
    assert counted(pair.server, "MPJoinAckHMacFailure", "MPJoinAckRx") == (1, 0)
    goes_on(pair, client, server)


def test_hmacs_that_are_not_checked() -> None:
    """``validate_hmac`` off, as in the seed: a wrong one passes."""
    flip = replaced(MpJoinAck, lambda o: o._replace(hmac=bytes(20)))
    pair = joining(0, hook=alter(carries(MpJoinAck), flip), server={"validate_hmac": False})
    client, server = start(pair)
    assert not resets(pair)
    goes_on(pair, client, server, 2)


@BOTH
def test_option_is_missing_from_the_syn(version: int) -> None:
    """A listener takes it for a new connection, and its SYN/ACK is answered with a RST."""
    pair = joining(version, hook=strip_mptcp(carries(MpJoinSyn)))
    client, server = start(pair)
    expect_reset(pair, "c>s", version, REASON_MPTCP_SPECIFIC)
    goes_on(pair, client, server)
    assert not pair.listener.accepted


@BOTH
def test_option_is_missing_from_the_syn_and_nobody_listens(version: int) -> None:
    pair = joining(version, join=OpenSubflow(C2, S1, 7777), hook=strip_mptcp(carries(MpJoinSyn)))
    client, server = start(pair)
    assert resets(pair) == [("s>c", ())]
    goes_on(pair, client, server)


@BOTH
def test_option_is_missing_from_the_syn_ack(version: int) -> None:
    pair = joining(version, hook=strip_mptcp(carries(MpJoinSynAck)))
    client, server = start(pair)
    expect_reset(pair, "c>s", version, REASON_MPTCP_SPECIFIC)
    goes_on(pair, client, server)


@BOTH
def test_option_is_missing_from_the_third_packet(version: int) -> None:
    pair = joining(version, hook=strip_mptcp(carries(MpJoinAck)))
    client, server = start(pair)
    expect_reset(pair, "s>c", version, REASON_MPTCP_SPECIFIC)
    goes_on(pair, client, server)


def test_no_retry_of_a_join_that_was_refused() -> None:
    """A failed MP_JOIN is not tried again on this connection (section 3.9.3)."""
    client_fields: dict[str, Any] = {
        "path_manager": "endpoints",
        "path_manager_parameters": {"endpoints": f"{C2} subflow"},
    }
    pair = MptcpPair(mptcp(**client_fields), mptcp(max_subflows=1), client_addresses=(C1, C2))
    client, server = start(pair, 30)
    assert len(pair.sent(MpJoinSyn)) == 1
    goes_on(pair, client, server)


def test_the_path_manager_hears_of_a_join_that_was_refused() -> None:
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)])
    pair = MptcpPair(mptcp(plan), mptcp(max_subflows=1), client_addresses=(C1, C2))
    start(pair)
    (subflow,) = plan.heard("subflow_closed")
    assert (subflow.local, subflow.remote, subflow.remote_port) == (C2, S1, PORT)
    assert subflow.opened_here


@BOTH
def test_join_of_a_connection_that_fell_back(version: int) -> None:
    """A connection that fell back opens no subflow."""
    pair = joining(version, hook=strip_mptcp(lambda seen: seen.number == 3))
    client, server = start(pair)
    assert not pair.sent(MpJoinSyn)
    goes_on(pair, client, server)


def test_the_initial_address_is_denied() -> None:
    """Flag C: no subflow to the server's first address, but to its others."""
    plan = Plan(established=[OpenSubflow(C2, S1, PORT), OpenSubflow(C2, S2, PORT)])
    pair = MptcpPair(
        mptcp(plan), mptcp(deny_join_initial=True), client_addresses=(C1, C2), server_addresses=(S1, S2)
    )
    client, server = start(pair)
    assert [sent.segment.flow.dst for sent in pair.sent(MpJoinSyn)] == [S2]
    goes_on(pair, client, server, 2)


@BOTH
def test_syn_is_never_answered(version: int) -> None:
    """The path is cut: SYNs are sent again and given up; data goes on meanwhile."""
    pair = joining(version)
    pair.cut(C2)
    client, server = start(pair, 300)
    assert 2 <= len(pair.sent(MpJoinSyn)) <= 8
    goes_on(pair, client, server)


@BOTH
def test_syn_is_lost_once(version: int) -> None:
    pair = joining(version)
    pair.cut(C2, 0, 500 * MS)
    client, server = start(pair)
    assert len(pair.sent(MpJoinSyn)) == 2
    goes_on(pair, client, server, 2)


# --- A middlebox on the joined path ---------------------------------------------------------------


@BOTH
def test_options_do_not_pass_on_the_joined_path(version: int) -> None:
    """Data there is acknowledged without a DATA_ACK: RST, and the data goes elsewhere (section 3.7)."""
    pair = joining(
        version,
        hook=strip_mptcp(
            lambda seen: (
                C2 in seen.segment.flow and not seen.segment.flags & SYN and not carries(MpJoinAck)(seen)
            )
        ),
    )
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    transfer(pair, client, server, 400_000)
    assert any(segment.length for _, way, segment in on_path(pair, C2) if way == "c>s")
    expect_reset(pair, resets(pair)[0][0], version, REASON_MIDDLEBOX)
    goes_on(pair, client, server)


# --- The third ACK does not come ------------------------------------------------------------------


def without_third_acks(until: int, **options: Any) -> tuple[MptcpPair, Any, Any]:
    """Return a pair whose join waits for its third ACK, which is lost until an instant."""
    lost = drop(lambda seen: carries(MpJoinAck)(seen) and seen.now < until)
    pair = joining(hook=lost, **options)
    client, server = start(pair, 1)
    assert (client.subflows[1].state, server.subflows[1].state) == (ESTABLISHED, SYN_RECEIVED)
    return pair, client, server


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"seq": 0}, id="a keepalive"),
        pytest.param({"seq": 0, "length": 1}, id="a probe"),
        pytest.param({"seq": 200_000}, id="beyond the window"),
        pytest.param({"seq": 9, "flags": RST}, id="a reset in the window"),
        pytest.param({"seq": 9, "flags": SYN | ACK}, id="a SYN in the window"),
        pytest.param({"ts_val": -1}, id="an old timestamp"),
    ],
)
def test_who_waits_for_the_third_ack_answers_with_its_syn_ack(fields: dict[str, Any]) -> None:
    """An ACK would be taken for the fourth one, and the join went on without MP_JOIN, to be reset."""
    pair, client, server = without_third_acks(3 * SECOND)
    before = len(pair.wire)
    segment = next(segment for _, way, segment in on_path(pair, C2) if way == "c>s").clone()
    segment.options = segment.syn = None
    segment.flags, segment.seq, segment.ack = ACK, 1, 1
    for name, value in fields.items():
        setattr(segment, name, value + segment.ts_val if name == "ts_val" else value)
    segment.size = wire_length(segment)
    pair.inject(pair.server, segment)
    pair.run(pair.now + 25 * MS)
    answers = [packet for _, way, packet in pair.wire[before:] if way == "s>c" and C2 in packet.flow]
    assert [packet.flags for packet in answers if isinstance(packet, Segment)] == [SYN | ACK]
    assert client.subflow_of(1).stage == PRE_ESTABLISHED
    pair.run(pair.now + 20 * SECOND)
    assert not resets(pair)
    goes_on(pair, client, server, 2)


def test_no_keepalive_while_the_third_ack_is_repeated() -> None:
    """Its own timer watches over the join (RFC 9293 section 3.8.4: only when nothing is outstanding)."""
    keepalive = {"keepalive": True, "keepalive_idle": SECOND, "keepalive_interval": SECOND}
    pair, client, server = without_third_acks(7 * SECOND, client={"tcp": keepalive})
    pair.run(6 * SECOND)
    assert not any(segment.seq == 0 for _, way, segment in on_path(pair, C2)[1:] if not segment.flags & SYN)
    pair.run(60 * SECOND)
    assert not resets(pair)
    goes_on(pair, client, server, 2)
