"""Counters under Linux's names that no other test asserts."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_options import MpCapable, RemoveAddr
from mptcpsim.core.segment import SYN
from mptcpsim.plugins import Announce, OpenSubflow, Withdraw
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import strip_mptcp
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair, act, counted, forge, transfer, working
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import joining, start
from tests.core.tcp.pair import PORT, Pair


def test_the_queue_by_dsn() -> None:
    pair = joining()
    pair.delays = {(C1, S1): 10 * MS, (C2, S1): 60 * MS}
    client, server = start(pair)
    transfer(pair, client, server, 2_000_000)
    queued, tail, merged = counted(pair.server, "OFOQueue", "OFOQueueTail", "OFOMerge")
    assert queued >= tail > 100
    assert 0 < merged < queued
    assert server.inbound.out_of_order.total == 0


def test_a_subflow_goes_stale_and_recovers() -> None:
    pair = joining()
    client, server = start(pair)
    cut = pair.now
    pair.cut(C2, cut, cut + 8 * SECOND)
    transfer(pair, client, server, 500_000)
    pair.run(cut + 7 * SECOND)
    assert counted(pair.client, "SubflowStale", "SubflowRecover") == (1, 0)
    pair.run(cut + 20 * SECOND)
    assert counted(pair.client, "SubflowStale", "SubflowRecover") == (1, 1)
    assert len(working(client)) == 2


def test_versions_that_a_peer_has_refused() -> None:
    """RFC 8684 section 3.1: the outcome may be remembered for the peer."""
    pair = MptcpPair(mptcp(), TcpConfig())
    pair.establish()
    assert counted(pair.client, "MPCapableSYNTX", "MPCapableSYNTXDisabled") == (1, 0)
    pair.establish()
    assert counted(pair.client, "MPCapableSYNTX", "MPCapableSYNTXDisabled") == (1, 1)
    assert len(pair.sent(MpCapable)) == 1
    # To a host without MPTCP the option is an unknown one.
    assert not [name for name in pair.server.counters.as_dict() if name.startswith("MPTcpExt")]


def test_offers_are_counted_where_mptcp_is_on() -> None:
    """Also where it does not come to MPTCP: the listener speaks another version."""
    pair = MptcpPair(mptcp(), mptcp(versions=(0,)))
    client, _ = pair.establish()
    assert client.is_plain
    assert counted(pair.server, "MPCapableSYNRX") == (1,)


@pytest.mark.parametrize("port", [0, PORT, 9999])
def test_joins_to_announced_ports(port: int) -> None:
    """That is another port than the first subflow's, which an ADD_ADDR has named (as Linux counts)."""
    pair = MptcpPair(
        mptcp(Plan(announced=lambda view, remote: [OpenSubflow(C2, remote.address, remote.port)])),
        mptcp(Plan(established=[Announce(S2, port)])),
        client_addresses=(C1, C2),
        server_addresses=(S1, S2),
    )
    start(pair)
    other = int(port == 9999)
    assert counted(pair.server, "MPJoinSynRx", "MPJoinAckRx") == (1, 1)
    assert counted(pair.server, "MPJoinPortSynRx", "MPJoinPortAckRx") == (other, other)
    assert counted(pair.client, "MPJoinPortSynAckRx") == (other,)


def test_a_join_to_a_port_that_nobody_has_announced() -> None:
    plan = Plan()
    pair = MptcpPair(mptcp(plan), mptcp(), client_addresses=(C1, C2))
    client, _ = start(pair)
    act(pair, client, OpenSubflow(C2, S1, 9999))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPJoinSynRx", "MPJoinAckRx") == (1, 1)
    assert counted(pair.server, "MPJoinPortSynRx", "MPJoinPortAckRx") == (0, 0)


def test_a_port_that_was_withdrawn() -> None:
    pair = MptcpPair(mptcp(Plan()), mptcp(), client_addresses=(C1, C2), server_addresses=(S1, S2))
    client, server = start(pair)
    act(pair, server, Announce(S2, 9999))
    pair.run(pair.now + SECOND)
    act(pair, server, Withdraw(S2))
    pair.run(pair.now + SECOND)
    act(pair, client, OpenSubflow(C2, S2, 9999))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPJoinSynRx", "MPJoinPortSynRx") == (1, 0)


def test_joins_to_the_only_port() -> None:
    """As in the scenario that showed it: every join had counted at a server."""
    pair = MptcpPair(mptcp(), mptcp(), client_addresses=(C1, C2), server_addresses=(S1, S2))
    client, _ = start(pair)
    act(pair, client, OpenSubflow(C2, S2, PORT))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPJoinSynRx", "MPJoinPortSynRx", "MPJoinPortAckRx") == (1, 0, 0)


def test_ends_that_rfc_4022_counts() -> None:
    """tcpEstabResets: from ESTABLISHED or CLOSE-WAIT straight to CLOSED; tcpAttemptFails likewise."""
    for ending, fails, resets in (("abort", 0, 1), ("close", 0, 0)):
        pair = Pair()
        client, server = pair.establish()
        getattr(client, ending)(pair.now)
        pair.run(pair.now + SECOND)
        if ending == "close":
            server.close(pair.now)
        pair.run()
        for stack in (pair.client, pair.server):
            assert (stack.counters["TcpAttemptFails"], stack.counters["TcpEstabResets"]) == (fails, resets)
    pair = Pair()
    client = pair.connect()
    client.close(pair.now)
    assert pair.client.counters["TcpAttemptFails"] == 1


def test_a_join_from_an_address_that_is_not_there() -> None:
    plan = Plan()
    pair = MptcpPair(mptcp(plan))
    client, _ = start(pair)
    act(pair, client, OpenSubflow("10.9.9.9", S1, PORT))
    assert counted(pair.client, "MPJoinSynTxBindErr", "MPJoinSynTx") == (1, 0)
    (closed,) = plan.heard("subflow_closed")
    assert (closed.identifier, closed.local, closed.opened_here) == (-1, "10.9.9.9", True)


def test_announcements_that_find_no_room() -> None:
    """Keys and timestamps leave none on the third ACK: counted, and sent later."""
    pair = MptcpPair(mptcp(Plan(established=[Announce(C2)])), mptcp(), client_addresses=(C1, C2))
    start(pair)
    dropped, sent = counted(pair.client, "AddAddrTxDrop", "AddAddrTx")
    assert dropped >= 1
    assert sent == 1
    assert counted(pair.server, "AddAddr", "EchoAddTx") == (1, 1)
    assert counted(pair.client, "EchoAdd") == (1,)


def test_addresses_that_are_not_taken() -> None:
    pair = MptcpPair(mptcp(), mptcp(), client_addresses=(C1, C2), server_addresses=(S1, S2))
    client, server = start(pair)
    forge(pair, server, options=(RemoveAddr((7,)),))
    pair.run(pair.now + SECOND)
    assert counted(pair.client, "RmAddr", "RmAddrDrop") == (1, 1)
    # The identifier is bound anew without a REMOVE_ADDR.
    act(pair, server, Announce(S2))
    pair.run(pair.now + SECOND)
    server.addresses._ids = {"10.7.7.7": server.addresses._ids[S2]}
    act(pair, server, Announce("10.7.7.7"))
    pair.run(pair.now + SECOND)
    assert counted(pair.client, "AddAddr", "AddAddrDrop") == (2, 1)
    assert client.addresses.remote[1].address == S2
    act(pair, server, Withdraw("10.7.7.7"))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "RmAddrTx") == (1,)


def test_a_window_that_is_stretched_by_another_subflow() -> None:
    """Linux: a subflow whose own window is closed sends into that of the connection (``SndWndShared``)."""
    for share in (True, False):
        pair = joining(client={"share_send_window": share}, server={"window_update": "one"})
        client, server = start(pair)
        for tcp in client.subflows:
            tcp.sender.wnd_end = tcp.sender.nxt
        transfer(pair, client, server, 100_000)
        (stretched,) = counted(pair.client, "SndWndShared")
        assert (stretched > 0) == share


def test_both_ends_open_at_once() -> None:
    """A simultaneous open is plain TCP: nobody has answered an MP_CAPABLE."""
    pair = MptcpPair(mptcp(), mptcp())
    client = pair.client.connect(C1, (S1, 7000), pair.now, local_port=7001)
    server = pair.server.connect(S1, (C1, 7001), pair.now, local_port=7000)
    pair.run(pair.now + SECOND)
    assert client.established
    assert server.established
    assert counted(pair.client, "SimultConnectFallback") == (1,)
    assert counted(pair.server, "SimultConnectFallback") == (1,)
    transfer(pair, client, server, 50_000)
    assert not any(s.options for _, s in pair.segments("c>s") if not s.flags & SYN)


def test_a_profile_without_infinite_mappings_resets_instead() -> None:
    lost = strip_mptcp(lambda seen: seen.direction == "s>c" and not seen.segment.flags & SYN)
    pair = MptcpPair(mptcp(infinite_mapping=False), mptcp(), hook=lost)
    client, _ = pair.establish()
    client.write(50_000, pair.now)
    pair.run(pair.now + SECOND)
    assert counted(pair.client, "FallbackFailed", "InfiniteMapTx", "MPRstTx") == (1, 0, 1)
    assert not client.is_plain
