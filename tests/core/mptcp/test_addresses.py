"""ADD_ADDR and REMOVE_ADDR: what they carry, when they are repeated and believed, and what follows.

RFC 8684 section 3.4, RFC 6824 section 3.4.
"""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest

from mptcpsim.core.mptcp_options import AddAddr, MpJoinSyn, MpJoinSynAck, RemoveAddr
from mptcpsim.core.segment import FIN, SYN
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.plugins import Announce, OpenSubflow, RemoteAddress, Withdraw
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import alter, carries, drop, replaced
from tests.core.mptcp.pair import (
    C1,
    C2,
    MS,
    S1,
    S2,
    S3,
    MptcpPair,
    act,
    alive,
    counted,
    forge,
    host_gets,
    host_loses,
    options_of,
    transfer,
    working,
)
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import goes_on, keys_of, on_path, resets, start
from tests.core.tcp.pair import PORT, Hook

BOTH = pytest.mark.parametrize("version", [1, 0])


class Two:
    """A server that announces addresses and a client that joins what it hears of, or not."""

    def __init__(
        self,
        version: int = 1,
        *announce: Announce,
        join: bool = True,
        hook: Hook | None = None,
        server_fields: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.client_plan = Plan()
        if join:
            self.client_plan.announced = lambda view, remote: [
                OpenSubflow(view.source_for(remote.address), remote.address, remote.port)
            ]
        self.server_plan = Plan(established=announce)
        options.setdefault("client_addresses", (C1, C2))
        options.setdefault("server_addresses", (S1, S2, S3))
        self.pair = MptcpPair(
            mptcp(self.client_plan, versions=(version,)),
            mptcp(self.server_plan, versions=(version,), **(server_fields or {})),
            hook=hook,
            **options,
        )
        self.client: Any = None
        self.server: Any = None

    def start(self, seconds: float = 2) -> MptcpPair:
        self.client, self.server = start(self.pair, seconds)
        return self.pair

    def goes_on(self, subflows: int) -> None:
        goes_on(self.pair, self.client, self.server, subflows)


def announced(pair: MptcpPair) -> list[AddAddr]:
    return [sent.option for sent in pair.sent(AddAddr) if not sent.option.echo]


def echoes(pair: MptcpPair) -> list[AddAddr]:
    return [sent.option for sent in pair.sent(AddAddr) if sent.option.echo]


def expected_hmac(pair: MptcpPair, option: AddAddr) -> bytes:
    """RFC 8684 section 3.4.1 for an address of the server, spelled out."""
    keys = keys_of(pair)
    key = keys.receiver_key.to_bytes(8, "big") + keys.sender_key.to_bytes(8, "big")
    port = 0 if option.port == UNKNOWN else option.port
    message = bytes((option.address_id,)) + ip_address(option.address).packed + port.to_bytes(2, "big")
    return hmac.new(key, message, hashlib.sha256).digest()[-8:]


def announcement(pair: MptcpPair, identifier: int, address: str, port: int = UNKNOWN) -> AddAddr:
    """Return an ADD_ADDR of the server's with the right HMAC."""
    option = AddAddr(identifier, address, port, bytes(8))
    return option._replace(hmac=expected_hmac(pair, option))


# --- ADD_ADDR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 8080])
@pytest.mark.parametrize("address", [S2, "fd00::2"])
def test_version_1(address: str, port: int) -> None:
    """HMAC of the whole; the echo has the same ID, address and port, and no HMAC."""
    two = Two(1, Announce(address, port), join=False, server_addresses=(S1, S2, "fd00::2"))
    pair = two.start()
    (option,) = announced(pair)
    assert option.address == address
    assert option.port == (port or UNKNOWN)
    assert option.address_id not in (0, UNKNOWN)
    assert option.hmac == expected_hmac(pair, option)
    assert echoes(pair) == [option._replace(hmac=b"", echo=True)]
    remote = RemoteAddress(option.address_id, address, port or PORT)
    assert two.client_plan.heard("announced") == [remote]
    assert two.client_plan.view is not None
    assert remote in two.client_plan.view.remote_addresses
    assert counted(pair.server, "AddAddrTx", "EchoAdd") == (1, 1)
    assert counted(pair.client, "AddAddr", "EchoAddTx", "PortAdd") == (1, 1, 1 if port else 0)
    two.goes_on(1)


@pytest.mark.parametrize("port", [0, 8080])
def test_version_0(port: int) -> None:
    """Neither HMAC nor echo, and it is sent once."""
    two = Two(0, Announce(S2, port), join=False, server_fields={"add_addr_timeout": SECOND})
    pair = two.start(20)
    (option,) = announced(pair)
    assert option == AddAddr(option.address_id, S2, port or UNKNOWN)
    assert not echoes(pair)
    assert two.client_plan.heard("announced") == [RemoteAddress(option.address_id, S2, port or PORT)]


@BOTH
def test_the_peer_joins(version: int) -> None:
    """The join goes to the port of the subflow that brought the ADD_ADDR; its IDs fit."""
    two = Two(version, Announce(S2))
    pair = two.start()
    (option,) = announced(pair)
    (syn,) = pair.sent(MpJoinSyn)
    assert (syn.segment.flow.dst, syn.segment.flow.dport) == (S2, PORT)
    assert pair.sent(MpJoinSynAck)[0].option.address_id == option.address_id
    two.goes_on(2)


@BOTH
def test_the_peer_joins_another_port(version: int) -> None:
    two = Two(version, Announce(S2, 9999))
    pair = two.start()
    assert pair.sent(MpJoinSyn)[0].segment.flow.dport == 9999
    assert counted(pair.server, "MPJoinPortSynRx", "MPJoinPortAckRx") == (1, 1)
    assert counted(pair.client, "MPJoinPortSynAckRx") == (1,)
    two.goes_on(2)


@BOTH
def test_port_0_names_none(version: int) -> None:
    """No subflow can be opened to port 0: the join goes where it goes without a port (as in Linux)."""
    named = alter(carries(AddAddr, "s>c"), replaced(AddAddr, lambda option: option._replace(port=0)))
    two = Two(version, Announce(S2), hook=named)
    pair = two.start()
    assert pair.sent(MpJoinSyn)[0].segment.flow.dport == PORT
    assert counted(pair.client, "PortAdd") == (0,)
    two.goes_on(2)


def test_several_addresses() -> None:
    two = Two(1, Announce(S2), Announce(S3))
    pair = two.start()
    assert sorted(option.address for option in announced(pair)) == [S2, S3]
    assert len({option.address_id for option in announced(pair)}) == 2
    assert len(echoes(pair)) == 2
    two.goes_on(3)


def test_as_bytes() -> None:
    addresses = (S1, S2, "fd00::2")
    two = Two(1, Announce(S2), Announce("fd00::2", 8080), encode=True, join=False, server_addresses=addresses)
    pair = two.start()
    assert len(echoes(pair)) == 2
    assert len(two.client_plan.heard("announced")) == 2


def test_the_first_address_has_identifier_0() -> None:
    two = Two(1, Announce(S1), join=False)
    pair = two.start()
    assert {option.address_id for option in announced(pair)} <= {0}


def carries_add_addr(segment: Any) -> bool:
    return any(isinstance(option, AddAddr) for option in options_of(segment))


@BOTH
def test_at_most_two_acks_with_signals_in_a_row(version: int) -> None:
    """More of them could be taken for duplicate ACKs (section 4)."""
    addresses = tuple(f"10.0.7.{number}" for number in range(1, 7))
    two = Two(
        version,
        *(Announce(address) for address in addresses),
        join=False,
        server_addresses=(S1, *addresses),
    )
    pair = two.start(5)
    assert {option.address for option in announced(pair)} == set(addresses)
    times = [when for when, way, packet in pair.wire if way == "s>c" and carries_add_addr(packet)]
    assert max(times.count(when) for when in times) <= 2


@BOTH
def test_acks_of_data_have_a_data_ack(version: int) -> None:
    """An option that leaves no room for it waits: without a DATA_ACK the peer would have to fall back."""
    addresses = tuple(f"fd00::{number}" for number in range(1, 7))
    announce = [Announce(address) for address in addresses]
    two = Two(version, *announce, join=False, server_addresses=(S1, *addresses))
    pair = two.start(5)
    assert {option.address for option in announced(pair)} == set(addresses)
    highest = 1
    for _, way, segment in pair.wire:
        if way == "s>c" and segment.ack > highest:
            highest = segment.ack
            assert segment.dss is not None
            assert segment.dss.data_ack_octets
    two.goes_on(1)


# --- Repetition ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3])
def test_an_echo_that_never_comes(retries: int) -> None:
    fields = {"add_addr_timeout": SECOND, "add_addr_retries": retries}
    two = Two(1, Announce(S2), join=False, server_fields=fields, hook=drop(carries(AddAddr, "c>s")))
    pair = two.start(60)
    assert len(announced(pair)) == 1 + retries
    assert len(set(announced(pair))) == 1
    assert len(echoes(pair)) == 1 + retries, "every copy is echoed"
    assert len(two.client_plan.heard("announced")) == 1, "and news once"
    times = [sent.time for sent in pair.sent(AddAddr, "s>c")]
    assert all(later - earlier >= 700 * MS for earlier, later in pairwise(times))


def test_an_announcement_that_is_lost() -> None:
    lost: list[int] = []

    def first(seen: Any) -> bool:
        if lost or not carries(AddAddr, "s>c")(seen):
            return False
        lost.append(seen.number)
        return True

    two = Two(1, Announce(S2), server_fields={"add_addr_timeout": SECOND}, hook=drop(first))
    pair = two.start(30)
    assert len(announced(pair)) == 2
    assert len(echoes(pair)) == 1
    two.goes_on(2)


# --- What is not believed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda o: o._replace(hmac=bytes((o.hmac[0] ^ 1,)) + o.hmac[1:]), id="HMAC"),
        pytest.param(lambda o: o._replace(address="10.6.6.6"), id="address"),
        pytest.param(lambda o: o._replace(address_id=o.address_id + 1), id="identifier"),
        pytest.param(lambda o: o._replace(port=6666), id="port"),
    ],
)
def test_wrong_hmac(change: Any) -> None:
    """Whatever of it was changed: no echo, no address (section 3.4.1)."""
    two = Two(1, Announce(S2), hook=alter(carries(AddAddr, "s>c"), replaced(AddAddr, change)))
    pair = two.start(5)
    assert announced(pair)
    assert not echoes(pair)
    assert not two.client_plan.heard("announced")
    assert counted(pair.client, "AddAddr") == (0,)
    two.goes_on(1)


def test_hmac_that_is_not_checked() -> None:
    flip = replaced(AddAddr, lambda option: option._replace(hmac=bytes(8)))
    plan = Plan()
    pair = MptcpPair(
        mptcp(plan, validate_hmac=False),
        mptcp(Plan(established=[Announce(S2)])),
        server_addresses=(S1, S2),
        hook=alter(carries(AddAddr, "s>c"), flip),
    )
    start(pair)
    assert len(plan.heard("announced")) == 1


def test_an_identifier_keeps_its_address() -> None:
    """Another address needs REMOVE_ADDR first; another port does not (section 3.4.1)."""
    two = Two(1, Announce(S2), join=False)
    pair = two.start()
    (option,) = announced(pair)
    forge(pair, two.server, options=(announcement(pair, option.address_id, S3),))
    pair.run(pair.now + SECOND)
    assert [remote.address for remote in two.client_plan.heard("announced")] == [S2]
    forge(pair, two.server, options=(announcement(pair, option.address_id, S2, 7777),))
    pair.run(pair.now + SECOND)
    assert [remote.port for remote in two.client_plan.heard("announced")] == [PORT, 7777]
    forge(pair, two.server, options=(RemoveAddr((option.address_id,)),))
    pair.run(pair.now + SECOND)
    forge(pair, two.server, options=(announcement(pair, option.address_id, S3),))
    pair.run(pair.now + SECOND)
    assert [remote.address for remote in two.client_plan.heard("announced")] == [S2, S2, S3]


def test_an_echo_that_nobody_asked_for() -> None:
    two = Two(1, join=False)
    pair = two.start()
    forge(pair, two.client, options=(AddAddr(9, S2, echo=True),))
    pair.run(pair.now + SECOND)
    assert not two.server_plan.heard("announced")
    two.goes_on(1)


def test_no_second_attempt() -> None:
    """A connection to the address fails: that is all (section 3.4.1)."""
    fields: dict[str, Any] = {
        "path_manager": "endpoints",
        "path_manager_parameters": {"add_addr_accepted": 4},
    }
    pair = MptcpPair(mptcp(**fields), mptcp(Plan(established=[Announce(S2)])), server_addresses=(S1, S2))
    pair.cut(S2)
    client, server = start(pair, 400)
    attempts = {sent.segment.flow for sent in pair.sent(MpJoinSyn)}
    assert len(attempts) == 1
    goes_on(pair, client, server)


# --- REMOVE_ADDR ---------------------------------------------------------------------------------------


@BOTH
def test_remove_addr(version: int) -> None:
    """Who takes an address back closes its subflows with FINs; the peer uses it no more."""
    two = Two(version, Announce(S2))
    pair = two.start()
    (option,) = announced(pair)
    assert len(working(two.server)) == 2
    act(pair, two.server, Withdraw(S2))
    pair.run(pair.now + 2 * SECOND)
    assert [sent.option for sent in pair.sent(RemoveAddr)] == [RemoveAddr((option.address_id,))]
    assert two.client_plan.heard("withdrawn") == [option.address_id]
    fins = [way for _, way, segment in on_path(pair, S2) if segment.flags & FIN]
    assert fins[0] == "s>c"
    assert not resets(pair, S2)
    assert two.client_plan.view is not None
    assert all(remote.address != S2 for remote in two.client_plan.view.remote_addresses)
    assert counted(pair.server, "RmAddrTx", "RmSubflow") == (1, 1)
    assert counted(pair.client, "RmAddr") == (1,)
    before = pair.now
    assert len(working(two.client)) == len(working(two.server)) == 1
    transfer(pair, two.client, two.server, 200_000)
    transfer(pair, two.server, two.client, 200_000)
    assert not any(segment.length for when, _, segment in on_path(pair, S2) if when > before)


@BOTH
def test_remove_addr_with_data_outstanding(version: int) -> None:
    """Nothing is lost of what is on its way on the subflow that is closed."""
    two = Two(version, Announce(S2))
    pair = two.start()
    two.server.write(500_000, pair.now)
    two.client.eager = True
    pair.run(pair.now + 30 * MS)
    act(pair, two.server, Withdraw(S2))
    pair.run_until(lambda: two.client.delivered == 500_000)


@BOTH
def test_remove_addr_of_a_path_that_works(version: int) -> None:
    """The peer asks the path first, and keeps it if there is an answer (section 3.4.2)."""
    two = Two(version, Announce(S2))
    pair = two.start()
    (option,) = announced(pair)
    before = pair.now
    forge(pair, two.server, options=(RemoveAddr((option.address_id,)),))
    pair.run(pair.now + 5 * SECOND)
    asked = [way for when, way, segment in on_path(pair, S2) if when > before and not segment.length]
    assert asked[:2] == ["c>s", "s>c"], "a keepalive and its answer"
    assert not resets(pair, S2)
    two.goes_on(2)


@BOTH
def test_remove_addr_of_a_path_that_is_dead(version: int) -> None:
    """No answer comes: the peer resets the subflow, and everything goes on elsewhere."""
    two = Two(version, Announce(S2))
    pair = two.start()
    (option,) = announced(pair)
    pair.cut(S2, pair.now)
    forge(pair, two.server, options=(RemoveAddr((option.address_id,)),))
    pair.run(pair.now + 60 * SECOND)
    assert ("c>s", ()) in [(way, ()) for way, _ in resets(pair, S2)]
    assert len(alive(two.client)) == 1
    transfer(pair, two.client, two.server, 100_000)


@BOTH
def test_remove_addr_is_for_an_identifier(version: int) -> None:
    """The client's second address; the server learned it from MP_JOIN alone."""
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)])
    server_plan = Plan()
    pair = MptcpPair(
        mptcp(plan, versions=(version,)), mptcp(server_plan, versions=(version,)), client_addresses=(C1, C2)
    )
    client, server = pair.establish_subflows(2)
    act(pair, client, Withdraw(C2))
    pair.run(pair.now + 2 * SECOND)
    (sent,) = pair.sent(RemoveAddr)
    assert sent.option.address_ids == (pair.sent(MpJoinSyn)[0].option.address_id,)
    assert server_plan.heard("withdrawn") == [sent.option.address_ids[0]]
    assert len(working(client)) == len(working(server)) == 1
    transfer(pair, client, server, 50_000)


@BOTH
def test_the_first_address_can_be_removed(version: int) -> None:
    """Identifier 0: the connection goes on without its first subflow."""
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)])
    pair = MptcpPair(mptcp(plan, versions=(version,)), mptcp(versions=(version,)), client_addresses=(C1, C2))
    client, server = pair.establish_subflows(2)
    act(pair, client, Withdraw(C1))
    pair.run(pair.now + 2 * SECOND)
    assert pair.sent(RemoveAddr)[0].option.address_ids == (0,)
    assert [subflow.flow.src for subflow in working(client)] == [C2]
    transfer(pair, client, server, 50_000)
    transfer(pair, server, client, 50_000)


@BOTH
def test_remove_addr_of_an_address_that_was_never_used(version: int) -> None:
    two = Two(version, Announce(S2), join=False)
    pair = two.start()
    act(pair, two.server, Withdraw(S2))
    pair.run(pair.now + SECOND)
    assert len(pair.sent(RemoveAddr)) == 1
    assert len(two.client_plan.heard("withdrawn")) == 1
    two.goes_on(1)


# --- Addresses of the host ------------------------------------------------------------------------


@BOTH
def test_an_address_comes_and_goes(version: int) -> None:
    """The path manager hears of it, and a host without the address sends nothing from it."""
    plan = Plan()
    plan.local_address = lambda view, address, up: [
        OpenSubflow(address, S1, PORT) if up else Withdraw(address)
    ]
    pair = MptcpPair(mptcp(plan, versions=(version,)), mptcp(versions=(version,)))
    client, server = start(pair)
    host_gets(pair, pair.client, C2)
    pair.run(pair.now + SECOND)
    assert plan.heard("local_address") == [(C2, True)]
    assert plan.view is not None
    assert plan.view.local_addresses == [C1, C2]
    assert len(working(client)) == len(working(server)) == 2
    host_loses(pair, pair.client, C2)
    gone = pair.now
    pair.run(pair.now + 2 * SECOND)
    assert plan.heard("local_address") == [(C2, True), (C2, False)]
    assert plan.view.local_addresses == [C1]
    later = [segment for when, way, segment in on_path(pair, C2) if when > gone and way == "c>s"]
    assert not any(segment.length or segment.flags & SYN for segment in later)
    transfer(pair, client, server, 100_000)
    transfer(pair, server, client, 100_000)


def test_join_and_announcement_cross() -> None:
    """The client announces what it also joins from: by the identifier the server knows it for one."""
    client_plan = Plan(established=[OpenSubflow(C2, S1, PORT), Announce(C2)])
    server_plan = Plan()
    known: list[Any] = []

    def hear(view: Any, remote: RemoteAddress) -> list[Any]:
        known.append((remote, [subflow.remote_id for subflow in view.subflows]))
        return []

    server_plan.announced = hear
    pair = MptcpPair(mptcp(client_plan), mptcp(server_plan), client_addresses=(C1, C2))
    client, server = pair.establish_subflows(2)
    pair.run(pair.now + SECOND)
    (option,) = announced(pair)
    assert option.address_id == pair.sent(MpJoinSyn)[0].option.address_id
    assert not any(
        segment.flags & SYN for _, way, segment in on_path(pair, C2) if way == "s>c" and not segment.ack
    )
    assert [subflow.remote_id for subflow in server_plan_view(server_plan).subflows] == [0, option.address_id]
    goes_on(pair, client, server, 2)


def server_plan_view(plan: Plan) -> Any:
    assert plan.view is not None
    return plan.view


@pytest.mark.parametrize("version", [1, 0])
def test_a_join_that_failed_is_tried_again_when_the_address_is_announced_again(version: int) -> None:
    """Section 3.4.1: no further attempt "unless the address is advertised again"."""
    plan = Plan(announced=lambda view, remote: [OpenSubflow(C2, remote.address, remote.port)])
    pair = MptcpPair(
        mptcp(plan, versions=(version,), tcp={"syn_retries": 1}),
        mptcp(versions=(version,)),
        client_addresses=(C1, C2),
        server_addresses=(S1, S2),
    )
    client, server = pair.establish_subflows(1)
    pair.cut(S2, 0, pair.now + 30 * SECOND)
    act(pair, server, Announce(S2))
    pair.run(pair.now + 40 * SECOND)
    assert len(working(client)) == 1
    act(pair, server, Announce(S2))
    pair.run(pair.now + SECOND)
    assert len(working(client)) == len(working(server)) == 2
    act(pair, server, Announce(S2))
    pair.run(pair.now + SECOND)
    assert len(client.subflows) == 3, "an address in use is not joined again"
