"""Hosts: routing decisions, timers, addresses."""

from __future__ import annotations

import random
from typing import Any

import pytest

import mptcpsim.congestion
from mptcpsim import Host, Link, PipeSettings, Simulation, Stack, Switch, TcpConfig, build, loads
from mptcpsim.core.segment import Packet
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.net.forwarding import RoutingDecision
from mptcpsim.net.node import Interface
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND, SECOND

assert mptcpsim.congestion

A, B = "10.0.0.1", "10.0.0.2"
A2, B2 = "10.1.0.1", "10.1.0.2"
PORT = 80


class CountingHost(Host):
    """Counts how often it looks for a route."""

    def __init__(self, loop: Loop, name: str, stack: Stack) -> None:
        super().__init__(loop, name, stack)
        self.decided = 0

    def decide(self, packet: Packet, received: Interface | None) -> RoutingDecision:
        self.decided += 1
        return super().decide(packet, received)


class TwoPaths:
    """Hosts a and b, joined by two links, networks 10.0.0.0/24 and 10.1.0.0/24."""

    def __init__(self, config: TcpConfig | None = None, delay: int = 10 * MILLISECOND) -> None:
        self.loop = Loop()
        self.hosts = {}
        for seed, name in enumerate("ab"):
            stack = Stack(name, random.Random(seed), config or TcpConfig())
            self.hosts[name] = CountingHost(self.loop, name, stack)
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        self.links = []
        for number in range(2):
            ends = [
                host.add_interface(f"e{number}", [f"10.{number}.0.{last}/24"])
                for last, host in enumerate((self.a, self.b), 1)
            ]
            settings = PipeSettings(delay_ns=delay, limit=1000)
            self.links.append(Link(self.loop, f"l{number}", ends[0], ends[1], settings, settings, seed=1))
            for host, end in zip((self.a, self.b), ends, strict=True):
                host.routes.add(f"10.{number}.0.0/24", end)
        self.listener = self.b.stack.listen(PORT)
        self.listener.eager = True

    def connect(self, local: str = A, remote: str = B) -> Connection:
        connection = self.a.stack.connect(local, (remote, PORT), self.loop.now)
        self.a.drain()
        return connection

    def write(self, connection: Connection, count: int) -> None:
        connection.write(count, self.loop.now)
        self.a.drain()

    def packets(self) -> tuple[int, int]:
        """Return how many packets each link has carried from a to b."""
        first, second = (link.forward.packets for link in self.links)
        return first, second


class TestRouting:
    def test_one_decision_a_flow(self) -> None:
        net = TwoPaths()
        connection = net.connect()
        net.write(connection, 1_000_000)
        net.loop.run(5 * SECOND)
        assert connection.acked == 1_000_000
        assert net.packets()[0] > 600
        assert (net.a.decided, net.b.decided) == (1, 1)
        net.connect()
        net.loop.run(6 * SECOND)
        assert (net.a.decided, net.b.decided) == (2, 2)

    def test_a_changed_route_moves_a_known_flow(self) -> None:
        net = TwoPaths()
        connection = net.connect()
        net.write(connection, 10_000)
        net.loop.run(SECOND)
        before = net.packets()
        assert before[1] == 0
        net.a.routes.add(f"{B}/32", net.a.interfaces["e1"])
        net.write(connection, 10_000)
        net.loop.run(2 * SECOND)
        assert net.packets()[0] == before[0]
        assert net.packets()[1] > 0
        assert connection.acked == 20_000

    def test_without_a_route_packets_are_dropped_until_there_is_one(self) -> None:
        net = TwoPaths()
        net.a.stack.connect(A, ("192.168.0.1", PORT), 0)
        net.a.drain()
        net.loop.run(4 * SECOND)
        # The SYN at 0, 1 and 3 s.
        assert net.a.drops == {"no-route": 3}
        net.b.interfaces["e0"].add_address("192.168.0.1/32")
        net.a.routes.add("192.168.0.0/16", net.a.interfaces["e0"])
        net.loop.run(8 * SECOND)
        assert net.a.drops == {"no-route": 3}
        assert net.a.stack.connections[0].established

    def test_what_is_for_somebody_else_ends_here(self) -> None:
        net = TwoPaths()
        net.a.routes.add("192.168.0.0/16", net.a.interfaces["e0"], B)
        net.a.stack.connect(A, ("192.168.0.1", PORT), 0)
        net.a.drain()
        net.loop.run(SECOND // 2)
        assert net.b.drops == {"not-local": 1}
        assert net.b.stack.counters.as_dict().get("TcpInSegs", 0) == 0


class TestSources:
    def test_routing_chooses_the_source(self) -> None:
        net = TwoPaths()
        source = net.a.stack.source_for
        assert (source(B), source(B2), source("192.168.0.1"), source("fd00::1")) == (A, A2, "", "")
        net.a.routes.add("192.168.0.0/16", net.a.interfaces["e1"], B2)
        assert source("192.168.0.1") == A2
        net.a.interfaces["e1"].add_address("10.1.0.9/24")
        assert source(B2) == A2

    def test_the_source_is_of_the_family_of_the_destination(self) -> None:
        net = TwoPaths()
        net.a.routes.add("fd00::/64", net.a.interfaces["e0"])
        assert net.a.stack.source_for("fd00::2") == ""
        net.a.interfaces["e0"].add_address("fd00::1/64")
        assert net.a.stack.source_for("fd00::2") == "fd00::1"
        assert net.a.stack.source_for(B) == A


class TestAddresses:
    def test_a_removed_address_is_not_answered_and_not_used(self) -> None:
        net = TwoPaths()
        connection = net.connect()
        net.loop.run(SECOND)
        net.b.interfaces["e0"].remove_address(B)
        net.write(connection, 1000)
        net.loop.run(2 * SECOND)
        assert connection.acked == 0
        assert net.b.drops["not-local"] > 0
        net.b.interfaces["e0"].add_address(f"{B}/24")
        net.loop.run(10 * SECOND)
        assert connection.acked == 1000

    def test_a_new_address_can_be_used_at_once(self) -> None:
        net = TwoPaths()
        with pytest.raises(RuntimeError, match=r"10\.0\.0\.9 is not an address"):
            net.connect("10.0.0.9")
        net.a.interfaces["e0"].add_address("10.0.0.9/24")
        connection = net.connect("10.0.0.9")
        net.loop.run(SECOND)
        assert connection.established

    def test_the_stack_knows_the_mtu_of_each_address(self) -> None:
        net = TwoPaths()
        net.a.interfaces["e1"].set_mtu(9000)
        assert net.a.stack.addresses == {A: 1500, A2: 9000}
        assert net.connect(A2, B2).subflows[0].flow.src == A2


def pending(net: TwoPaths) -> int:
    return net.loop.pending()


class TestTimers:
    @pytest.mark.parametrize(
        "config",
        [
            TcpConfig(),
            TcpConfig(keepalive=True),
            TcpConfig(rack_tlp=False, delayed_ack=5 * MILLISECOND),
            TcpConfig(rto_min=5 * SECOND, rto_initial=60 * SECOND),
        ],
        ids=["default", "keepalive", "short", "long"],
    )
    def test_pending_calls_do_not_pile_up(self, config: TcpConfig) -> None:
        net = TwoPaths(config)
        connection = net.connect()
        most = {10: 0, 60: 0}
        for end, found in most.items():
            while net.loop.now < end * SECOND:
                net.write(connection, 100)
                net.loop.run(net.loop.now + 45 * MILLISECOND)
                found = max(found, pending(net))
            most[end] = found
        assert connection.acked > 100 * 1000
        assert most[60] <= most[10] + 2
        # A delayed ACK every 45 ms at most, and nothing further ahead than a second.
        assert most[60] < 60

    def test_an_idle_connection_needs_next_to_nothing(self) -> None:
        net = TwoPaths()
        net.connect()
        net.loop.run(5 * SECOND)
        executed = net.loop.executed
        net.loop.run(1000 * SECOND)
        assert net.loop.executed == executed

    def test_a_distant_deadline_is_kept_to_the_nanosecond(self) -> None:
        net = TwoPaths(TcpConfig(keepalive=True))
        net.connect()
        net.loop.run(SECOND)
        last_heard = {"a": 20 * MILLISECOND, "b": 30 * MILLISECOND}
        sent: list[tuple[str, int]] = []

        def tap(packet: Any, now: int, outgoing: bool) -> None:
            if outgoing and now > SECOND:
                sent.append(("a" if packet.flow.src == A else "b", now))

        for host in net.hosts.values():
            host.interfaces["e0"].tap = tap
        net.loop.run(7201 * SECOND)
        assert ("a", last_heard["a"] + 7200 * SECOND) in sent
        assert net.loop.pending() < 5


SCENARIO = """\
title = "Three hosts"
duration = "5s"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[hosts.c]
interfaces = { e = "10.0.0.3/24" }
[switches.s]
[[links]]
name = "a"
ends = ["a:e", "s"]
delay = "5ms"
rate = "10Mbps"
[[links]]
name = "b"
ends = ["b:e", "s"]
[[links]]
name = "c"
ends = ["c:e", "s"]
[[flows]]
client = "a"
server = "b"
bytes = "1MB"
"""


def test_an_address_that_moves_to_another_host() -> None:
    """Connections to the old host are reset by the new one, which knows nothing of them."""
    simulation: Simulation = build(loads(SCENARIO))
    hosts = simulation.hosts
    switch = simulation.topology.nodes["s"]
    assert isinstance(switch, Switch)

    def move() -> None:
        hosts["b"].interfaces["e"].remove_address(B)
        hosts["c"].interfaces["e"].add_address(f"{B}/24")
        switch.learn(B, simulation.topology.links["c"].b)

    simulation.env.call_at(300 * MILLISECOND, move)
    simulation.env.run("5s")
    (flow,) = simulation.flows
    assert "reset" in flow.error
    assert hosts["c"].stack.counters.as_dict()["TcpOutRsts"] > 0
