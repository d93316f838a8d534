"""Several equal routes: one for each flow, by a hash; computed for all shortest paths; quick to set up."""

from __future__ import annotations

import ipaddress
import itertools
import os
import subprocess
import sys
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import FourTuple
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.routing import Route, RoutingTable, route_group
from mptcpsim.net.switch import Switch
from mptcpsim.net.topology import Topology
from mptcpsim.net.walk import probe, walk
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.sim.loop import Loop
from tests.net.nodes import ip_node
from tests.paths import ROOT
from tests.profiles import examples


def ports(count: int) -> list[Interface]:
    node = Node(Loop(), "n")
    return [node.add_interface() for _ in range(count)]


def flows(count: int) -> list[FourTuple]:
    return [FourTuple("10.0.0.1", 1024 + number, "10.9.9.9", 80) for number in range(count)]


def group(count: int) -> Route:
    return route_group("10.9.0.0/16", [(port, "") for port in ports(count)], 0)


# --- The choice ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_flows_spread_evenly(count: int) -> None:
    route = group(count)
    taken = [route.for_flow(flow, 1).interface.name for flow in flows(4000)]
    for name in {hop.interface.name for hop in route.group}:
        # Binomial; five standard deviations.
        mean = 4000 / count
        assert abs(taken.count(name) - mean) < 5 * (mean * (1 - 1 / count)) ** 0.5


def test_routers_in_a_row_do_not_polarise() -> None:
    """Flows that were all sent the same way by one router are spread anew by the next one."""
    route = group(2)
    first = [flow for flow in flows(4000) if route.for_flow(flow, 1) is route.group[0]]
    second = sum(route.for_flow(flow, 2) is route.group[0] for flow in first)
    assert abs(second - len(first) / 2) < 5 * (len(first) / 4) ** 0.5


@given(st.integers(2, 8), st.integers(0, (1 << 64) - 1))
def test_few_flows_move_when_a_next_hop_goes(count: int, seed: int) -> None:
    """RFC 2992: of the flows between 1/4 and 1/2 move when the last region is given to the others."""
    whole = group(count)
    less = route_group(whole.prefix, [(hop.interface, "") for hop in whole.group[:-1]], 0)
    sample = flows(400)
    moved = sum(whole.for_flow(f, seed).interface is not less.for_flow(f, seed).interface for f in sample)
    assert moved / len(sample) < 0.5 + 5 * 0.025


def test_a_group_of_one_is_a_route() -> None:
    assert group(1).group == ()


def test_a_group_is_a_route_of_its_table() -> None:
    a, b, c = ports(3)
    table = RoutingTable()
    table.add("default", c)
    table.add_group("10.0.0.0/8", [(a, "10.1.0.1"), (b, "10.2.0.1")])
    route = table.lookup("10.9.9.9")
    assert route is not None
    assert [(hop.interface, hop.gateway) for hop in route.group] == [(a, "10.1.0.1"), (b, "10.2.0.1")]
    table.add_group("default", [(a, "10.1.0.1"), (b, "10.2.0.1")], metric=7)
    assert table.lookup("192.0.2.1") is not route
    with pytest.raises(ValueError, match="needs a next hop"):
        table.add_group("10.0.0.0/8", [])


# --- Shortest paths --------------------------------------------------------------------------------


class Net:
    """A topology from a few words; each link is a network of its own."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.topology = Topology()
        self._networks: Any = ipaddress.ip_network("10.0.0.0/8").subnets(new_prefix=24)

    def add(self, *names: str) -> list[Node]:
        """Add nodes: s... is a switch, h... a host, others are routers."""
        kinds = {"s": Switch, "h": End}
        nodes: list[Node] = [kinds.get(name[0], Router)(self.loop, name) for name in names]
        for node in nodes:
            self.topology.add_node(node)
        return nodes

    def link(self, a: str, b: str, network: ipaddress.IPv4Network | None = None, delay: int = 1) -> None:
        hosts = (network or next(self._networks)).hosts()
        ends = []
        for name in (a, b):
            node = self.topology.nodes[name]
            addresses = [] if isinstance(node, Switch) else [f"{next(hosts)}/24"]
            ends.append(node.add_interface("", addresses))
        name = f"{a}-{b}-{len(self.topology.links)}"
        self.topology.add_link(Link(self.loop, name, ends[0], ends[1], PipeSettings(delay_ns=delay)))

    def address(self, name: str) -> str:
        return next(iter(self.topology.nodes[name].addresses))

    def node(self, name: str) -> IpNode:
        node = self.topology.nodes[name]
        assert isinstance(node, IpNode)
        return node


class End(IpNode):
    """A host without a stack."""


def fat_tree(k: int) -> Net:
    """Pods of k/2 edge and k/2 aggregation routers, (k/2)^2 in the core, a host at each edge router."""
    net = Net()
    half = k // 2
    net.add(*(f"c{core}" for core in range(half * half)))
    for pod in range(k):
        for edge in range(half):
            net.add(f"a{pod}.{edge}", f"e{pod}.{edge}", f"h{pod}.{edge}")
            net.link(f"h{pod}.{edge}", f"e{pod}.{edge}")
        for upper in range(half):
            for edge in range(half):
                net.link(f"a{pod}.{upper}", f"e{pod}.{edge}")
            for core in range(half):
                net.link(f"a{pod}.{upper}", f"c{upper * half + core}")
    return net


def path(net: Net, source: str, destination: str, sport: int) -> list[str]:
    packet = probe(net.address(source), net.address(destination), sport)
    hops = walk(net.node(source), packet)
    assert hops[-1].trace.taken
    return [hop.node.name for hop in hops]


def test_a_fat_tree_uses_all_its_paths() -> None:
    net = fat_tree(4)
    net.topology.install_routes(ecmp=True)
    found = {tuple(path(net, "h0.0", "h3.1", sport)) for sport in range(1000, 1100)}
    assert len(found) == 4, "one by each core router"
    assert {len(each) for each in found} == {7}
    assert path(net, "h0.0", "h3.1", 1000) == path(net, "h0.0", "h3.1", 1000)
    net.topology.install_routes()
    assert len({tuple(path(net, "h0.0", "h3.1", sport)) for sport in range(1000, 1100)}) == 1


def test_longer_paths_and_dear_ones_are_not_used() -> None:
    net = Net()
    net.add("h1", "r1", "r2", "r3", "r4", "h2")
    net.link("h1", "r1")
    for middle, delay in (("r2", 1), ("r3", 5)):
        net.link("r1", middle, delay=delay)
        net.link(middle, "r4", delay=delay)
    net.link("r4", "h2")
    net.topology.install_routes("delay", ecmp=True)
    assert {path(net, "h1", "h2", sport)[2] for sport in range(50)} == {"r2"}
    net.topology.install_routes("hops", ecmp=True)
    assert {path(net, "h1", "h2", sport)[2] for sport in range(50)} == {"r2", "r3"}


def test_equal_routers_behind_one_switch() -> None:
    net = Net()
    lan = ipaddress.ip_network("192.168.0.0/24")
    net.add("h1", "s1", "r1", "r2", "r3", "h2")
    addresses = iter(lan.hosts())
    for name in ("h1", "r1", "r2"):
        node, switch = net.topology.nodes[name], net.topology.nodes["s1"]
        ends = node.add_interface("", [f"{next(addresses)}/24"]), switch.add_interface()
        net.topology.add_link(Link(net.loop, f"{name}-s1", *ends, PipeSettings()))
    for name in ("r1", "r2"):
        net.link(name, "r3")
    net.link("r3", "h2")
    net.topology.install_routes(ecmp=True)
    assert {path(net, "h1", "h2", sport)[1] for sport in range(50)} == {"r1", "r2"}


@st.composite
def networks(draw: st.DrawFn, kinds: str = "rrrsh") -> tuple[Net, list[str]]:
    """Random routers, switches and hosts, joined at random."""
    net = Net()
    names = [f"{draw(st.sampled_from(kinds))}{number}" for number in range(draw(st.integers(2, 7)))]
    net.add(*names)
    for _ in range(draw(st.integers(1, 9))):
        a, b = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        if a != b:
            net.link(a, b, delay=draw(st.integers(1, 3)))
    return net, names


@examples(150)
@given(networks(), st.sampled_from(["hops", "delay"]), st.booleans())
def test_what_is_looked_up_is_the_longest_of_all_routes(
    drawn: tuple[Net, list[str]], weight: str, ecmp: bool
) -> None:
    """Routes are computed for one destination at a time; the whole table must say the same."""
    net, names = drawn
    net.topology.install_routes(weight, ecmp=ecmp)
    everywhere = [address for node in net.topology.nodes.values() for address in node.addresses]
    for name in names:
        node = net.topology.nodes[name]
        if not isinstance(node, IpNode):
            continue
        for address in everywhere:
            parsed = ipaddress.ip_address(address)
            matching = [r for r in node.routes.routes() if parsed in ipaddress.ip_network(r.prefix)]
            best = max(matching, key=lambda route: route.length, default=None)
            found = node.routes.lookup(address)
            assert describe(found) == describe(best)


def describe(route: Route | None) -> list[str]:
    return [] if route is None else [str(hop) for hop in route.group or (route,)]


@examples(150)
@given(networks("rrrh"), st.sampled_from(["hops", "delay"]))
def test_routes_follow_all_shortest_paths_and_no_other(drawn: tuple[Net, list[str]], weight: str) -> None:
    """The oracle: costs to each link, relaxed until nothing changes, for every node on its own."""
    net, names = drawn
    net.topology.install_routes(weight, ecmp=True)
    directions = [
        (near, far)
        for link in net.topology.links.values()
        for near, far in ((link.a, link.b), (link.b, link.a))
    ]

    def cost(interface: Interface) -> int:
        assert interface.pipe is not None
        return 1 if weight == "hops" else (interface.pipe.delay_ns << 20) + 1

    for link in net.topology.links.values():
        ends = {link.a.node.name, link.b.node.name}
        left = {end.node.name: 0 for end in (link.a, link.b) if end.node.FORWARDS}
        for _ in names:
            for near, far in directions:
                if near.node.FORWARDS and far.node.name in left:
                    known = left.get(near.node.name, 1 << 60)
                    left[near.node.name] = min(known, cost(near) + left[far.node.name])
        for name in set(names) - ends:
            ways = [
                (cost(near) + left[far.node.name], near)
                for near, far in directions
                if near.node.name == name and far.node.name in left
            ]
            best = min((length for length, _ in ways), default=0)
            route = ip_node(net.topology, name).routes.lookup(link.a.addresses[0].address)
            taken = [] if route is None else [hop.interface for hop in route.group or (route,)]
            assert set(taken) == {near for length, near in ways if length == best}


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of thousands of routers must not pay for routes between all of them."""
    searches: list[int] = []
    search = networkx.multi_source_dijkstra_path_length

    def counted(*arguments: Any) -> Any:
        searches.append(1)
        return search(*arguments)

    monkeypatch.setattr(networkx, "multi_source_dijkstra_path_length", counted)
    net = Net()
    names = [f"r{number}" for number in range(400)]
    net.add(*names, "h1", "h2")
    for a, b in itertools.pairwise(names):
        net.link(a, b)
    net.link("h1", "r0")
    net.link("r30", "h2")
    net.topology.install_routes()
    assert searches == []
    assert len(path(net, "h1", "h2", 1)) == 33
    assert len(searches) == 1
    path(net, "h2", "h1", 1)
    assert len(searches) == 2


def test_the_topology_counts_as_it_was_when_routes_were_installed() -> None:
    net = Net()
    net.add("h1", "r1", "r2", "r3", "h2")
    net.link("h1", "r1")
    net.link("r1", "r2", delay=1)
    net.link("r2", "r3", delay=1)
    net.link("r1", "r3", delay=5)
    net.link("r3", "h2")
    net.topology.install_routes("delay")
    net.topology.links["r1-r2-1"].set_delay(50)
    assert path(net, "h1", "h2", 1) == ["h1", "r1", "r2", "r3", "h2"]
    net.topology.install_routes("delay")
    assert path(net, "h1", "h2", 1) == ["h1", "r1", "r3", "h2"]


# --- Scenarios -------------------------------------------------------------------------------------

SCENARIO = """
title = "Two ways"
duration = "3s"
{routing}
[hosts.A]
interfaces = {{ e0 = "10.0.1.2/24", e1 = "10.0.2.2/24" }}
{a}
[hosts.B]
interfaces = {{ e0 = "10.0.9.2/24" }}
default_route = "10.0.9.1"
[routers.R]
interfaces = {{ r1 = "10.0.1.1/24", r2 = "10.0.2.1/24", r3 = "10.0.9.1/24" }}
[[links]]
name = "one"
ends = ["A:e0", "R:r1"]
[[links]]
name = "two"
ends = ["A:e1", "R:r2"]
[[links]]
name = "far"
ends = ["R:r3", "B:e0"]
rate = "20Mbps"
{flows}
"""
FLOWS = "".join(
    f'[[flows]]\nclient = "A"\nserver = "B"\nport = {5000 + number}\n'
    'bytes = "200kB"\nclient_interface = "e0"\n'
    for number in range(12)
)


@pytest.mark.parametrize(
    "a",
    [
        'routes = [{to = "default", via = ["10.0.1.1", "10.0.2.1"]}]',
        'tables.main = ["default nexthop via 10.0.1.1 dev e0 nexthop via 10.0.2.1 dev e1"]',
    ],
)
def test_a_host_with_two_equal_routes(a: str) -> None:
    scenario = loads(SCENARIO.format(a=a, flows=FLOWS, routing=""))
    assert loads(dumps(scenario)) == scenario
    simulation = build(scenario)
    ways: dict[int, set[str]] = {}

    def tap(name: str):  # type: ignore[no-untyped-def]
        def seen(packet, now, outgoing):  # type: ignore[no-untyped-def]
            if outgoing:
                ways.setdefault(packet.flow.dport, set()).add(name)

        return seen

    for interface in simulation.hosts["A"].interfaces.values():
        interface.tap = tap(interface.name)
    simulation.env.run(3_000_000_000)
    assert all(flow.completed_at > 0 for flow in simulation.flows)
    assert {len(each) for each in ways.values()} == {1}, "a flow keeps to its way"
    assert {name for each in ways.values() for name in each} == {"e0", "e1"}


def test_shortest_paths_of_a_scenario() -> None:
    scenario = SCENARIO.format(a="", flows=FLOWS, routing='routing = "hops"\necmp = "flow"')
    route = build(loads(scenario)).hosts["A"].routes.lookup("10.0.9.2")
    assert route is not None
    assert [hop.interface.name for hop in route.group] == ["e0", "e1"]
    route = build(loads(scenario.replace('"flow"\n', '"off"\n'))).hosts["A"].routes.lookup("10.0.9.2")
    assert route is not None
    assert route.group == ()


PRINT_CHOICES = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.net import test_ecmp
net = test_ecmp.fat_tree(4)
net.topology.install_routes(ecmp=True)
for sport in range(20):
    print(test_ecmp.path(net, "h0.0", "h3.1", sport))
"""


def test_choices_do_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_CHOICES, str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4711")
    }
    assert len(outputs) == 1


def test_another_seed_gives_other_paths() -> None:
    text = SCENARIO.format(
        a='routes = [{to = "default", via = ["10.0.1.1", "10.0.2.1"]}]', flows=FLOWS, routing=""
    )
    seeds = [build(loads(f"seed = {seed}\n{text}")).hosts["A"].hash_seed for seed in (1, 2)]
    assert seeds[0] != seeds[1]
