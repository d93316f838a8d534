"""An address that goes: nothing is sent from it, nor by another interface for it (RFC 8684 section 3.4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp_options import RemoveAddr
from mptcpsim.core.segment import RST, Segment
from mptcpsim.plugins import OpenSubflow
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.mptcp.pair import C1, C2, C3, S1, act, alive, host_gets, host_loses, transfer
from tests.core.mptcp.two_paths import fallen_back, joining, ready
from tests.core.tcp.pair import PORT, Pair
from tests.core.tcp.script import Script

MS = MILLISECOND

#: The second address of the client goes in the middle of a transfer; routing knows a way by the first
#: interface for it, too, as the main table of Linux does.
SCENARIO = """
title = "An address goes"
duration = "5s"
[hosts.c]
interfaces = {{ eth0 = "{net}1{sep}1/{length}", eth1 = [{second}] }}
rules = ["from {net}2{sep}1 lookup 102"]
[hosts.c.mptcp]
profile = "{profile}"
path_manager = {{ name = "endpoints", endpoints = "{net}2{sep}1 subflow" }}
[hosts.c.tables]
102 = ["default via {net}2{sep}2 dev eth1"]
[hosts.s]
interfaces = {{ eth0 = "{net}1{sep}2/{length}", eth1 = "{net}2{sep}2/{length}" }}
mptcp = "{profile}"
[[links]]
ends = ["c:eth0", "s:eth0"]
rate = "10Mbps"
delay = "20ms"
[[links]]
ends = ["c:eth1", "s:eth1"]
rate = "10Mbps"
delay = "20ms"
[[flows]]
client = "c"
server = "s"
app = "bulk"
reverse = {reverse}
bytes = "3MB"
{events}
"""

EVENTS = {
    "interface-down": 'action = "interface-down"\ninterface = "c:eth1"\naddresses = "remove"',
    "remove-address": 'action = "remove-address"\ninterface = "c:eth1"\naddress = "{net}2{sep}1"',
}
KEEP = 'action = "interface-down"\ninterface = "c:eth1"\naddresses = "keep"'


class Watched:
    """A run of it, with all that the client's interfaces have sent."""

    def __init__(self, event: str, *, more: str = "", **options: Any) -> None:
        words: dict[str, Any] = {"net": "10.0.", "sep": ".", "length": 24}
        if options.get("ipv6"):
            words = {"net": "2001:db8:0:", "sep": "::", "length": 64}
        self.address = f"{words['net']}2{words['sep']}1"
        self.second = f'"{self.address}/{words["length"]}"'
        at = f'[[events]]\nat = "1s"\n{event}\n{more}'.format(**words)
        text = SCENARIO.format(
            **words,
            second=self.second,
            profile=options.get("profile", "linux-6.18"),
            reverse=str(options.get("reverse", True)).lower(),
            events=at,
        )
        self.sent: list[tuple[int, str, Segment]] = []
        self.simulation: Simulation = build(loads(text))
        host = self.simulation.hosts["c"]
        for interface in host.interfaces.values():
            interface.tap = self._tap(interface.name)
        self.simulation.env.run(self.simulation.scenario.duration)
        self.flow: Any = self.simulation.flows[0]

    def _tap(self, name: str) -> Any:
        def tap(packet: Any, now: int, outgoing: bool) -> None:
            if outgoing and isinstance(packet, Segment):
                self.sent.append((now, name, packet))

        return tap

    def after(self, start: float, end: float = 5.0) -> list[tuple[int, str, Segment]]:
        """Return what was sent from the address that goes, or by its interface, in a span of seconds."""
        return [
            (now, name, packet)
            for now, name, packet in self.sent
            if start * SECOND <= now < end * SECOND and (packet.flow.src == self.address or name == "eth1")
        ]

    def delivered(self) -> int:
        assert self.flow.receiver is not None
        return int(self.flow.receiver.delivered)


@pytest.mark.parametrize(
    ("event", "ipv6", "reverse", "profile"),
    [
        ("interface-down", False, True, "linux-6.18"),
        ("interface-down", True, False, "rfc8684"),
        ("interface-down", False, False, "rfc6824"),
        ("remove-address", False, True, "rfc8684"),
        ("remove-address", True, True, "linux-6.18"),
        ("remove-address", False, False, "linux-6.18"),
    ],
)
def test_nothing_leaves_from_it_and_the_peer_is_told(
    event: str, ipv6: bool, reverse: bool, profile: str
) -> None:
    run = Watched(EVENTS[event], ipv6=ipv6, reverse=reverse, profile=profile)
    assert [packet for now, _, packet in run.after(0, 1) if packet.length or reverse]
    assert run.after(1) == []
    told = [
        (now, packet.flow.src)
        for now, _, packet in run.sent
        if any(isinstance(option, RemoveAddr) for option in packet.options or ())
    ]
    assert told == [(SECOND, run.flow.client.subflows[0].flow.src)]
    assert not [packet for _, _, packet in run.sent if packet.flags & RST]
    assert run.flow.client.subflows[1].error == "the address is gone"
    # The peer has asked on the path, and heard nothing.
    assert "the address was removed" in run.flow.server.subflows[1].error
    assert run.delivered() == 3_000_000


@pytest.mark.parametrize("reverse", [True, False], ids=["down", "up"])
def test_the_peer_hears_nothing_where_addresses_stay(reverse: bool) -> None:
    run = Watched(KEEP, reverse=reverse)
    assert run.after(0, 1)
    assert run.after(1) == []
    assert not [p for _, _, p in run.sent if any(isinstance(o, RemoveAddr) for o in p.options or ())]
    assert run.simulation.hosts["c"].drops["interface-down"] > 0
    assert run.delivered() == 3_000_000


def test_two_addresses_of_one_interface_go_at_once() -> None:
    """REMOVE_ADDR of the one does not leave from the other, which goes, too."""
    more = '[[events]]\nat = "100ms"\naction = "add-address"\ninterface = "c:eth1"\naddress = "10.0.2.7/24"\n'
    run = Watched(EVENTS["interface-down"], more=more)
    connection = run.flow.client
    assert run.after(1) == []
    told = [p.flow.src for _, _, p in run.sent if any(isinstance(o, RemoveAddr) for o in p.options or ())]
    assert told == ["10.0.1.1"]
    assert len(connection.subflows) == 2


def test_an_address_that_comes_back_is_used_again() -> None:
    more = (
        '[[events]]\nat = "1500ms"\naction = "add-address"\ninterface = "c:eth1"\naddress = "10.0.2.1/24"\n'
        '[[events]]\nat = "1500ms"\naction = "add-route"\nnode = "c"\ntable = "102"\n'
        'route = "default via 10.0.2.2 dev eth1"\n'
    )
    run = Watched(EVENTS["remove-address"], more=more)
    assert run.after(1, 1.5) == []
    assert run.after(1.5)
    assert len(run.flow.client.subflows) == 3
    assert run.delivered() == 3_000_000


# --- The stack alone -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("end", ["client", "server"])
def test_the_stack_sends_nothing_from_it(version: int, end: str) -> None:
    """Neither at once nor to what is still under way from the peer, and whatever timers run."""
    pair, client, server = ready(version, join=OpenSubflow(C2, "10.0.2.2", PORT))
    address = C2 if end == "client" else "10.0.2.2"
    client.write(100_000, pair.now)
    server.write(100_000, pair.now)
    pair.run(pair.now + 15 * MS)
    start = pair.now
    host_loses(pair, getattr(pair, end), address)
    pair.run(pair.now + 100 * SECOND)
    assert [p for when, _, p in pair.wire if when >= start and p.flow.src == address] == []
    assert [sent.segment.flow.src for sent in pair.sent(RemoveAddr)] == [C1 if end == "client" else S1]
    assert len(alive(client)) == len(alive(server)) == 1


def test_several_go_at_once() -> None:
    pair = joining(client={})
    client, _ = pair.establish_subflows(2)
    act(pair, client, OpenSubflow(C3, S1, PORT))
    pair.run(pair.now + SECOND)
    assert len(alive(client)) == 3
    start = pair.now
    pair.client.lose_addresses([C1, C2], pair.now)
    pair.run(pair.now + SECOND)
    sent = pair.sent(RemoveAddr)
    assert {one.segment.flow.src for one in sent} == {C3}
    assert sorted(one.option.address_ids for one in sent) == [(0,), (1,)]
    assert {p.flow.src for when, way, p in pair.wire if when >= start and way == "c>s"} == {C3}


def test_no_join_is_opened_from_it() -> None:
    pair = joining()
    client, _ = pair.establish_subflows(2)
    host_loses(pair, pair.client, C3)
    start = pair.now
    act(pair, client, OpenSubflow(C3, S1, PORT))
    pair.run(pair.now + SECOND)
    assert [p for when, _, p in pair.wire if when >= start and p.flow.src == C3] == []
    host_gets(pair, pair.client, C3)
    act(pair, client, OpenSubflow(C3, S1, PORT))
    pair.run(pair.now + SECOND)
    assert len(alive(client)) == 3


def test_plain_tcp_is_silent_until_the_address_comes_back() -> None:
    """Nobody tells it, as in Linux: it repeats its data for nobody, and goes on when it can."""
    pair = Pair()
    client, server = pair.establish()
    server.eager = True
    client.write(1_000_000, pair.now)
    pair.run(pair.now + 200 * MS)
    sent, address = len(pair.wire), client.subflows[0].flow.src
    pair.client.lose_addresses([address], pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert [p for _, _, p in pair.wire[sent:] if p.flow.src == address] == []
    assert client.subflows[0].sender.timeouts_in_a_row > 2
    pair.client.add_address(address)
    pair.run(pair.now + 60 * SECOND)
    assert server.delivered == 1_000_000


def test_plain_tcp_gives_up_in_silence() -> None:
    script = Script.connected()
    script.write(1000)
    script.fresh()
    script.stack.lose_addresses([script.tcp.flow.src], script.now)
    script.run(script.now + 2_000 * SECOND)
    script.quiet()
    assert script.state == "CLOSED"
    assert "timed out" in script.tcp.error


def test_a_stack_does_not_answer_for_what_it_has_not() -> None:
    """A listener of all addresses is none of those; and no RST tells of it."""
    script = Script()
    script.listen()
    script.stack.lose_addresses([script.flow.dst], script.now)
    script.inject("S")
    script.inject("A")
    script.quiet()


def test_the_last_subflow_goes() -> None:
    """Nobody can be told; a join from another address finds the connection (break before make)."""
    pair, client, server = ready(1, 1, client_addresses=(C1, C2))
    host_loses(pair, pair.client, C1)
    pair.run(pair.now + SECOND)
    assert pair.sent(RemoveAddr) == []
    assert alive(client) == []
    host_gets(pair, pair.client, C2)
    act(pair, client, OpenSubflow(C2, S1, PORT))
    pair.run(pair.now + SECOND)
    transfer(pair, client, server, 10_000)


def test_a_fallen_back_connection_is_silent_too() -> None:
    pair, client, server = fallen_back(1)
    assert client.is_plain
    start = pair.now
    host_loses(pair, pair.client, C1)
    client.write(10_000, pair.now)
    server.write(10_000, pair.now)
    pair.run(pair.now + 10 * SECOND)
    assert [p for when, _, p in pair.wire if when >= start and p.flow.src == C1] == []
