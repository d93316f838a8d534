"""What the routes of a large network cost, counted in searches of the graph and steps of a look-up."""

from __future__ import annotations

from typing import Any

import networkx
import pytest

from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.link import Link
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.routing import Route
from mptcpsim.net.switch import Switch
from mptcpsim.net.topology import Topology
from mptcpsim.sim.loop import Loop


def dumbbell(pairs: int) -> Topology:
    """Two routers, each with hosts that have links of their own."""
    loop = Loop()
    topology = Topology()
    routers = [Router(loop, "left"), Router(loop, "right")]
    for router in routers:
        topology.add_node(router)
    ends = [router.add_interface("core", [f"10.0.0.{i}/30"]) for i, router in enumerate(routers, 1)]
    topology.add_link(Link(loop, "core", ends[0], ends[1], PipeSettings()))
    for side, router in enumerate(routers, 1):
        for number in range(pairs):
            host = IpNode(loop, f"{router.name}-{number}")
            topology.add_node(host)
            near = host.add_interface(addresses=[f"10.{side}.{number}.1/24"])
            far = router.add_interface(addresses=[f"10.{side}.{number}.2/24"])
            topology.add_link(Link(loop, host.name, near, far, PipeSettings()))
    return topology


def look_up_all(topology: Topology) -> dict[tuple[str, str], Route | None]:
    """Return the route of each host and router to each host."""
    nodes = [node for node in topology.nodes.values() if isinstance(node, IpNode)]
    addresses = [address for node in nodes if not node.FORWARDS for address in node.addresses]
    return {(node.name, address): node.routes.lookup(address) for node in nodes for address in addresses}


def visits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have each search note how many nodes it has found a path from."""
    found: list[int] = []
    search: Any = networkx.multi_source_dijkstra_path_length

    def counting(graph: Any, roots: Any) -> Any:
        lengths = search(graph, roots)
        found.append(len(lengths))
        return lengths

    monkeypatch.setattr(networkx, "multi_source_dijkstra_path_length", counting)
    return found


@pytest.mark.parametrize("pairs", [1, 10, 40])
def test_one_search_for_each_set_of_routers_and_none_of_them_looks_at_hosts(
    monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    found = visits(monkeypatch)
    topology = dumbbell(pairs)
    topology.install_routes()
    assert found == []
    routes = look_up_all(topology)
    assert all(route is not None for route in routes.values())
    # One towards the left router, one towards the right one, each over both routers and nothing else.
    assert found == [2, 2]


def test_a_router_with_many_hosts_looks_at_its_way_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    ways_out = "mptcpsim.net.paths._ways_out"
    from mptcpsim.net import paths

    plain = paths._ways_out

    def counting(ports: Any, tree: Any, name: str) -> Any:
        if name not in tree.ways:
            looked.append(f"{name}: {len(ports)}")
        return plain(ports, tree, name)

    monkeypatch.setattr(ways_out, counting)
    topology = dumbbell(20)
    topology.install_routes()
    look_up_all(topology)
    # Of the 21 interfaces of a router the only one that leads to a router is looked at.
    assert looked.count("left: 1") == 1
    assert looked.count("right: 1") == 1
    # A host looks once for each of the two sets of routers.
    assert sum(line.startswith("left-7:") for line in looked) == 2
    assert len(looked) == 2 * 40 + 2


def test_hosts_around_a_switch_are_one_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    found = visits(monkeypatch)
    loop = Loop()
    topology = Topology()
    switch = Switch(loop, "switch")
    topology.add_node(switch)
    for number in range(1, 31):
        host = IpNode(loop, f"h{number}")
        topology.add_node(host)
        near = host.add_interface(addresses=[f"10.0.0.{number}/24"])
        topology.add_link(Link(loop, host.name, near, switch.add_interface(), PipeSettings()))
    topology.install_routes()
    routes = look_up_all(topology)
    assert all(route is not None and not route.gateway for route in routes.values())
    assert len(switch.table) == 30
    # The switch is asked behind which of its ports they are; no router leads there.
    assert found == [1]
