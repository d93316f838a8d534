"""Routing tables, and the routes that a topology computes."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import ACK, FourTuple, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.routing import RoutingTable, canonical_prefixes
from mptcpsim.net.switch import Switch
from mptcpsim.net.topology import Topology
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER
from tests.paths import ROOT


class Host(IpNode):
    """Sends by its routing table and keeps what it gets."""

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.got: list[Packet] = []

    def receive(self, packet: Packet, interface: Interface) -> None:
        self.got.append(packet)

    def send(self, destination: str, source: str = "") -> Segment:
        route = self.routes.lookup(destination)
        assert route is not None
        source = source or route.interface.primary_address(":" in destination)
        flow = FourTuple(source, 1, destination, 2)
        segment = Segment(flow, 100, SequenceMap(), ACK, 1, 1, 100, 60, UNKNOWN, UNKNOWN, None, 0)
        segment.next_hop = route.gateway
        route.interface.send(segment)
        return segment


class Net:
    """A topology built from a few words."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.topology = Topology()

    def host(self, name: str) -> Host:
        node = Host(self.loop, name)
        self.topology.add_node(node)
        return node

    def router(self, name: str) -> Router:
        node = Router(self.loop, name)
        self.topology.add_node(node)
        return node

    def switch(self, name: str) -> Switch:
        node = Switch(self.loop, name)
        self.topology.add_node(node)
        return node

    def link(
        self, a: Node, b: Node, at_a: Sequence[str] = (), at_b: Sequence[str] = (), delay: int = MS
    ) -> Link:
        name = f"{a.name}-{b.name}-{len(self.topology.links)}"
        link = Link(
            self.loop,
            name,
            a.add_interface(addresses=at_a),
            b.add_interface(addresses=at_b),
            PipeSettings(delay_ns=delay),
        )
        self.topology.add_link(link)
        return link

    def run(self) -> None:
        self.loop.run(NEVER)

    def routes(self) -> list[str]:
        return [
            f"{node.name}: {route.prefix} by {route.interface.name} via {route.gateway or 'link'}"
            for node in self.topology.nodes.values()
            if isinstance(node, IpNode)
            for route in node.routes.routes()
        ]


def chain() -> tuple[Net, Host, Router, Router, Host]:
    net = Net()
    a, r1, r2, b = net.host("a"), net.router("r1"), net.router("r2"), net.host("b")
    net.link(a, r1, ["10.0.1.2/24", "2001:db8:1::2/64"], ["10.0.1.1/24", "2001:db8:1::1/64"])
    net.link(r1, r2, ["10.0.12.1/30", "2001:db8:12::1/64"], ["10.0.12.2/30", "2001:db8:12::2/64"])
    net.link(r2, b, ["10.0.2.1/24", "2001:db8:2::1/64"], ["10.0.2.2/24", "2001:db8:2::2/64"])
    return net, a, r1, r2, b


# --- the table -----------------------------------------------------------------------------------


def ports(count: int) -> list[Interface]:
    node = Host(Loop(), "h")
    return [node.add_interface() for _ in range(count)]


def test_the_longest_prefix_wins() -> None:
    a, b, c, d = ports(4)
    table = RoutingTable()
    table.add("default", a, "10.0.0.1")
    table.add("10.0.0.0/8", b)
    table.add("10.1.0.0/16", c, "10.0.0.9")
    table.add("10.1.2.3", d)
    found = [table.lookup(x) for x in ("192.0.2.1", "10.9.9.9", "10.1.9.9", "10.1.2.3")]
    assert [route.interface for route in found if route] == [a, b, c, d]
    assert [route.gateway for route in found if route] == ["10.0.0.1", "", "10.0.0.9", ""]
    assert table.lookup("2001:db8::1") is None


def test_ipv6() -> None:
    a, b = ports(2)
    table = RoutingTable()
    table.add("default", a, "2001:DB8:0::1")
    table.add("2001:db8:5::/48", b)
    first = table.lookup("2001:db8:6::1")
    second = table.lookup("2001:db8:5::1")
    assert first is not None
    assert second is not None
    assert (first.interface, first.gateway) == (a, "2001:db8::1")
    assert second.interface is b
    assert table.lookup("10.0.0.1") is None


def test_default_without_a_gateway_is_for_both_families() -> None:
    (a,) = ports(1)
    table = RoutingTable()
    table.add("default", a)
    assert table.lookup("10.0.0.1")
    assert table.lookup("2001:db8::1")
    assert table.remove("default") == 2
    assert table.lookup("10.0.0.1") is None


def test_metric_then_age() -> None:
    a, b, c = ports(3)
    table = RoutingTable()
    table.add("10.0.0.0/8", a, metric=5)
    table.add("10.0.0.0/8", b, metric=1)
    table.add("10.0.0.0/8", c, metric=1)
    order = [route.interface for route in table.routes()]
    assert order == [b, c, a]
    assert table.remove("10.0.0.0/8", b) == 1
    route = table.lookup("10.1.1.1")
    assert route is not None
    assert route.interface is c


def test_adding_twice_is_adding_once() -> None:
    (a,) = ports(1)
    table = RoutingTable()
    table.add("10.0.0.0/8", a)
    table.add("10.0.0.5/8", a)
    assert len(table.routes()) == 1


def test_changes_are_seen_at_once_and_announced() -> None:
    a, b = ports(2)
    table = RoutingTable()
    seen: list[int] = []
    table.on_change = lambda: seen.append(table.version)
    assert table.lookup("10.0.0.1") is None
    table.add("10.0.0.0/8", a)
    route = table.lookup("10.0.0.1")
    assert route is not None
    assert route.interface is a
    table.add("10.0.0.0/24", b)
    route = table.lookup("10.0.0.1")
    assert route is not None
    assert route.interface is b
    table.remove("172.16.0.0/12")  # nothing is there, nothing changes
    assert seen == [1, 2]


@pytest.mark.parametrize("prefix", ["10.0.0.0/33", "10.0.0", "everything", ""])
def test_a_wrong_prefix_is_refused(prefix: str) -> None:
    (a,) = ports(1)
    with pytest.raises(ValueError, match="does not appear to be"):
        RoutingTable().add(prefix, a)


def test_canonical_prefixes() -> None:
    assert canonical_prefixes("10.0.0.5/8") == ["10.0.0.0/8"]
    assert canonical_prefixes("10.0.0.5") == ["10.0.0.5/32"]
    assert canonical_prefixes("default", "10.0.0.1") == ["0.0.0.0/0"]
    assert canonical_prefixes("default", "::1") == ["::/0"]


NETWORKS = st.tuples(st.integers(0, 32), st.integers(0, 0xFFFFFFFF)).map(
    lambda pair: ipaddress.ip_network((pair[1] >> (32 - pair[0]) << (32 - pair[0]), pair[0]))
)


@given(
    networks=st.lists(NETWORKS, max_size=12, unique=True),
    address=st.integers(0, 0xFFFFFFFF),
    near=st.booleans(),
)
def test_lookup_is_the_longest_match_of_a_plain_search(
    networks: list[ipaddress.IPv4Network], address: int, near: bool
) -> None:
    if near and networks:
        address = int(networks[0].network_address) | (address & 0xFF)
    parsed = ipaddress.IPv4Address(address)
    table = RoutingTable()
    (interface,) = ports(1)
    for network in networks:
        table.add(str(network), interface)
    matching = [network for network in networks if parsed in network]
    best = max(matching, key=lambda network: network.prefixlen, default=None)
    route = table.lookup(str(parsed))
    assert (route.prefix if route else None) == (str(best) if best else None)


# --- computed routes -----------------------------------------------------------------------------


def test_a_chain_of_routers() -> None:
    net, a, r1, r2, b = chain()
    net.topology.install_routes()
    assert [line for line in net.routes() if line.startswith("r1") and "2001" not in line] == [
        "r1: 10.0.12.0/30 by eth1 via link",
        "r1: 10.0.1.0/24 by eth0 via link",
        "r1: 10.0.2.0/24 by eth1 via 10.0.12.2",
    ]
    for destination in ("10.0.2.2", "2001:db8:2::2"):
        packet = a.send(destination)
        net.run()
        assert b.got.pop() is packet
        assert packet.ttl == 62
    packet = b.send("10.0.1.2")
    net.run()
    assert a.got == [packet]
    assert r1.drops == r2.drops == {}


def test_hosts_do_not_forward() -> None:
    net = Net()
    r0, r1, h = net.router("r0"), net.router("r1"), net.host("h")
    r2, far = net.router("r2"), net.host("far")
    net.link(r0, r1, ["10.0.0.1/24"], ["10.0.0.2/24"])
    net.link(r1, h, ["10.0.1.1/24"], ["10.0.1.2/24"])
    net.link(h, r2, ["10.0.2.2/24"], ["10.0.2.1/24"])
    net.link(r2, far, ["10.0.3.1/24"], ["10.0.3.2/24"])
    net.topology.install_routes()
    assert r0.routes.lookup("10.0.3.2") is None
    assert r1.routes.lookup("10.0.3.2") is None
    assert h.routes.lookup("10.0.3.2") is not None


def diamond(fast: int, slow: int) -> tuple[Net, Host, Router, Host]:
    """A long way of short delays by r2 and r3, a short way of a long delay by r4."""
    net = Net()
    a, r1, r2, r3, r4, r5, b = (
        net.host("a"), net.router("r1"), net.router("r2"), net.router("r3"),
        net.router("r4"), net.router("r5"), net.host("b"),
    )  # fmt: skip
    net.link(a, r1, ["10.0.1.2/24"], ["10.0.1.1/24"])
    net.link(r1, r2, ["10.1.2.1/24"], ["10.1.2.2/24"], fast)
    net.link(r2, r3, ["10.2.3.2/24"], ["10.2.3.3/24"], fast)
    net.link(r3, r5, ["10.3.5.3/24"], ["10.3.5.5/24"], fast)
    net.link(r1, r4, ["10.1.4.1/24"], ["10.1.4.4/24"], slow)
    net.link(r4, r5, ["10.4.5.4/24"], ["10.4.5.5/24"], slow)
    net.link(r5, b, ["10.0.5.1/24"], ["10.0.5.2/24"])
    return net, a, r1, b


def test_by_hops_or_by_delay() -> None:
    net, a, r1, b = diamond(MS, 10 * MS)
    net.topology.install_routes("hops")
    route = r1.routes.lookup("10.0.5.2")
    assert route is not None
    assert route.gateway == "10.1.4.4"
    net.topology.install_routes("delay")
    route = r1.routes.lookup("10.0.5.2")
    assert route is not None
    assert route.gateway == "10.1.2.2"
    packet = a.send("10.0.5.2")
    net.run()
    assert b.got == [packet]
    with pytest.raises(ValueError, match="weight"):
        net.topology.install_routes("colour")


def test_given_routes_win_and_stay() -> None:
    net, _, r1, _ = diamond(MS, 10 * MS)
    r1.routes.add("10.0.5.0/24", r1.interfaces["eth1"], "10.1.2.2")
    for _ in range(2):
        net.topology.install_routes("hops")
        route = r1.routes.lookup("10.0.5.2")
        assert route is not None
        assert route.gateway == "10.1.2.2"
    assert len([route for route in r1.routes.routes() if route.prefix == "10.0.5.0/24"]) == 2


def test_only_the_chosen_nodes_get_routes() -> None:
    net, a, r1, r2, _ = chain()
    net.topology.install_routes(nodes=["r1"])
    assert r1.routes.routes()
    assert not a.routes.routes()
    assert not r2.routes.routes()
    with pytest.raises(ValueError, match="unknown node"):
        net.topology.install_routes(nodes=["r9"])


def test_equal_paths_go_by_the_earlier_interface() -> None:
    net, _, r1, _ = diamond(MS, 10 * MS)
    r6, r7 = net.router("r6"), net.router("r7")
    net.link(r7, r1, ["10.7.1.7/24"], ["10.7.1.1/24"])
    net.link(r7, r6, ["10.7.6.7/24"], ["10.7.6.6/24"])
    net.link(r6, net.topology.nodes["r5"], ["10.6.5.6/24"], ["10.6.5.5/24"])
    net.link(r7, net.topology.nodes["r4"], ["10.7.4.7/24"], ["10.7.4.4/24"])
    net.topology.install_routes()
    route = r7.routes.lookup("10.0.5.2")
    assert route is not None
    assert route.gateway == "10.7.6.6"  # by eth1, though eth2 is as short


def test_parallel_links_between_two_nodes() -> None:
    net = Net()
    a, r, b = net.host("a"), net.router("r"), net.host("b")
    net.link(a, r, ["10.0.1.2/24"], ["10.0.1.1/24"])
    net.link(a, r, ["10.0.2.2/24"], ["10.0.2.1/24"])
    net.link(r, b, ["10.0.3.1/24"], ["10.0.3.2/24"])
    net.topology.install_routes()
    for destination, interface in (("10.0.1.2", "eth0"), ("10.0.2.2", "eth1")):
        route = r.routes.lookup(destination)
        assert route is not None
        assert route.interface.name == interface


def test_a_prefix_in_two_places_is_routed_by_address() -> None:
    """A client whose two interfaces are in one prefix, as the addresses of a testbed often are."""
    net = Net()
    client, r1, r2, server = net.host("c"), net.router("r1"), net.router("r2"), net.host("s")
    net.link(client, r1, ["10.0.0.1/8"], ["10.0.0.254/8"])
    net.link(client, r2, ["10.0.0.2/8"], ["10.0.0.253/8"])
    net.link(r1, server, ["192.0.2.1/30"], ["192.0.2.2/30"])
    net.link(r2, server, ["192.0.2.5/30"], ["192.0.2.6/30"])
    net.topology.install_routes()
    for destination, interface in (("10.0.0.1", "eth0"), ("10.0.0.2", "eth1")):
        route = server.routes.lookup(destination)
        assert route is not None
        assert route.interface.name == interface
        server.send(destination)
    net.run()
    assert len(client.got) == 2


def lan() -> tuple[Net, Host, Host, Router, Host]:
    """Two switches in a row, a host on each, a router behind the second, a host behind it."""
    net = Net()
    a, b, s1, s2 = net.host("a"), net.host("b"), net.switch("s1"), net.switch("s2")
    r, far = net.router("r"), net.host("far")
    net.link(a, s1, ["10.0.0.1/24"])
    net.link(s1, s2)
    net.link(s2, b, (), ["10.0.0.2/24"])
    net.link(s2, r, (), ["10.0.0.254/24"])
    net.link(r, far, ["192.0.2.1/24"], ["192.0.2.2/24"])
    net.topology.install_routes()
    return net, a, b, r, far


def test_switches_are_filled_too() -> None:
    net, a, b, _, far = lan()
    near = a.send("10.0.0.2")
    distant = a.send("192.0.2.2")
    back = far.send("10.0.0.1")
    net.run()
    assert b.got == [near]
    assert near.ttl == 64
    assert far.got == [distant]
    assert distant.ttl == 63
    assert a.got == [back]
    route = a.routes.lookup("192.0.2.2")
    assert route is not None
    assert route.gateway == "10.0.0.254"
    s1 = net.topology.nodes["s1"]
    assert isinstance(s1, Switch)
    assert {address: port.name for address, port in s1.table.items()} == {
        "10.0.0.1": "eth0",
        "10.0.0.2": "eth1",
        "10.0.0.254": "eth1",
    }


def test_an_address_nobody_has_ends_at_the_router() -> None:
    net, a, _, r, far = lan()
    a.routes.add("default", a.interfaces["eth0"], "10.0.0.254")
    a.send("203.0.113.9")
    far.routes.add("default", far.interfaces["eth0"], "192.0.2.1")
    far.send("10.0.0.77")
    net.run()
    assert r.drops == {"no-route": 1, "no-host": 1}
    assert len(a.got) == len(far.got) == 1


def test_the_graph_is_networkx() -> None:
    net, _, r1, _, _ = chain()
    graph = net.topology.graph
    assert graph.nodes["r1"]["node"] is r1
    assert sorted(graph.edges(keys=True)) == [
        ("a", "r1", "a-r1-0"),
        ("r1", "r2", "r1-r2-1"),
        ("r2", "b", "r2-b-2"),
    ]
    assert graph.edges["r1", "r2", "r1-r2-1"]["link"] is net.topology.links["r1-r2-1"]


def test_names_are_unique_and_links_end_at_nodes() -> None:
    net, _, r1, _, _ = chain()
    with pytest.raises(ValueError, match="two nodes"):
        net.topology.add_node(Host(net.loop, "a"))
    stranger = Host(net.loop, "x")
    link = Link(net.loop, "l", r1.add_interface(), stranger.add_interface(), PipeSettings())
    with pytest.raises(ValueError, match="no node of the topology"):
        net.topology.add_link(link)
    with pytest.raises(ValueError, match="two links"):
        net.topology.add_link(net.topology.links["a-r1-0"])


PRINT_ROUTES = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.net import test_routing
for net in (test_routing.chain()[0], test_routing.diamond(1, 1)[0], test_routing.lan()[0]):
    net.topology.install_routes()
    print("\\n".join(net.routes()))
"""


def test_routes_do_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_ROUTES, str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1
    assert outputs.pop().count("via") > 50
