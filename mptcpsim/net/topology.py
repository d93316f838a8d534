"""The network as a graph, and the routes that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import networkx

from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.switch import Switch

#: What makes a path short: the number of its links, or the sum of their delays.
HOPS: Final = "hops"
DELAY: Final = "delay"

#: Metric of the routes that ``install_routes`` adds: any route that a scenario gives wins.
COMPUTED_METRIC: Final = 1000

#: Cost of a path to the destination, by the name of the node where it begins.
_Distances = dict[str, int]


class _Segment:
    """Interfaces that reach each other below IP: the two ends of a link, or all around switches."""

    def __init__(self, interfaces: list[Interface], switches: list[Switch]) -> None:
        self.interfaces = interfaces
        self.switches = switches
        #: To each router on the segment, and so to whatever is on it.
        self.distances: _Distances = {}

    def routers(self) -> list[Node]:
        """Return the routers on the segment, each once."""
        nodes = {i.node.name: i.node for i in self.interfaces if i.node.FORWARDS}
        return list(nodes.values())

    def interface_of(self, node: Node, prefix: str) -> Interface | None:
        """Return a node's interface on the segment, one in the prefix if there is a choice."""
        own = [interface for interface in self.interfaces if interface.node is node]
        fitting = [i for i in own if any(entry.prefix == prefix for entry in i.addresses)]
        return next(iter(fitting or own), None)


class Topology:
    """Nodes and links, as objects and as a graph.

    Attributes:
        graph: an undirected ``networkx.MultiGraph`` with the names of the nodes; each node
            has its object under ``node``, each edge its link under ``link`` and the link's
            name as key.
        nodes: the nodes by name.
        links: the links by name.
    """

    def __init__(self) -> None:
        self.graph: networkx.MultiGraph[str] = networkx.MultiGraph()
        self.nodes: dict[str, Node] = {}
        self.links: dict[str, Link] = {}
        self._cost: Callable[[Interface], int] = _hop_cost

    def add_node(self, node: Node) -> None:
        """Add a node.

        Raises:
            ValueError: there is one of that name.
        """
        if node.name in self.nodes:
            raise ValueError(f"there are two nodes with the name {node.name}")
        self.nodes[node.name] = node
        self.graph.add_node(node.name, node=node)

    def add_link(self, link: Link) -> None:
        """Add a link between nodes that were added before.

        Raises:
            ValueError: there is one of that name, or a node of it is not part of the topology.
        """
        if link.name in self.links:
            raise ValueError(f"there are two links with the name {link.name}")
        for end in (link.a, link.b):
            if self.nodes.get(end.node.name) is not end.node:
                raise ValueError(
                    f"link {link.name} ends at {end.node.name}, which is no node of the topology"
                )
        self.links[link.name] = link
        self.graph.add_edge(link.a.node.name, link.b.node.name, key=link.name, link=link)

    def install_routes(self, weight: str = HOPS, nodes: Iterable[str] | None = None) -> None:
        """Fill the routing tables of hosts and routers, and the tables of all switches.

        Each node gets a route to every prefix along a shortest path through routers and
        switches (hosts do not forward); a prefix that is used in several places is routed
        address by address. Routes of an earlier call are replaced, routes from elsewhere
        are kept and take precedence. Of two paths of the same length the one by the node's
        earlier interface is taken, so the result depends on nothing but the topology.

        Args:
            weight: ``"hops"`` or ``"delay"``.
            nodes: names of the nodes that get routes; all by default.

        Raises:
            ValueError: the weight or a name is unknown.
        """
        if weight not in (HOPS, DELAY):
            raise ValueError(f"unknown weight {weight!r}: hops or delay")
        self._cost = _hop_cost if weight == HOPS else _delay_cost
        chosen = list(self.nodes) if nodes is None else list(nodes)
        for name in chosen:
            if name not in self.nodes:
                raise ValueError(f"unknown node {name!r}")
        segments = self._segments()
        by_router: dict[str, _Distances] = {}
        for segment in segments:
            segment.distances = self._to_any_of(segment.routers(), by_router)
        destinations = _destinations(segments)
        for name in chosen:
            node = self.nodes[name]
            if node.BELOW_IP:
                continue
            node.routes.remove_metric(COMPUTED_METRIC)
            for prefix, segment in destinations:
                self._install(node, prefix, segment)
        self._fill_switches(segments)

    # --- distances ------------------------------------------------------------------------

    def _distances_to(self, root: str, passes: Callable[[Node], bool]) -> _Distances:
        """Return the cost of the shortest path to ``root`` from each node.

        Args:
            root: where the paths end.
            passes: whether a path may lead through a node.
        """

        def cost_towards_root(near: str, far: str, edges: dict[str, dict[str, Any]]) -> int | None:
            if near != root and not passes(self.nodes[near]):
                return None
            return min(
                self._cost(link.a if link.a.node.name == far else link.b)
                for link in (edge["link"] for edge in edges.values())
            )

        lengths = networkx.single_source_dijkstra_path_length(self.graph, root, weight=cost_towards_root)
        return {name: int(length) for name, length in lengths.items()}

    def _to_any_of(self, roots: list[Node], known: dict[str, _Distances]) -> _Distances:
        """Return the cost of the shortest path to the nearest of some routers, from each node."""
        nearest: _Distances = {}
        for root in roots:
            if root.name not in known:
                known[root.name] = self._distances_to(root.name, lambda node: node.FORWARDS)
            for name, cost in known[root.name].items():
                nearest[name] = min(cost, nearest.get(name, cost))
        return nearest

    def _way_out(self, node: Node, distances: _Distances, passes: Callable[[Node], bool]) -> Interface | None:
        """Return the interface of a node on the shortest path, or None without a path."""
        best: Interface | None = None
        best_cost = 0
        for interface in node.interfaces.values():
            if interface.peer is None:
                continue
            other = interface.peer.node
            if other.name not in distances or not passes(other):
                continue
            cost = self._cost(interface) + distances[other.name]
            if best is None or cost < best_cost:
                best, best_cost = interface, cost
        return best

    # --- tables ---------------------------------------------------------------------------

    def _install(self, node: Node, prefix: str, segment: _Segment) -> None:
        """Add a node's route to a prefix on a segment, if there is a way."""
        own = segment.interface_of(node, prefix)
        if own is not None:
            node.routes.add(prefix, own, "", COMPUTED_METRIC)
            return
        out = self._way_out(node, segment.distances, lambda other: other.FORWARDS)
        if out is not None:
            gateway = self._gateway(out, segment.distances, ":" in prefix)
            node.routes.add(prefix, out, gateway, COMPUTED_METRIC)

    def _gateway(self, out: Interface, distances: _Distances, ipv6: bool) -> str:
        """Return the address of the next router behind an interface, switches being no routers."""
        peer = out.peer
        while peer is not None and peer.node.BELOW_IP:
            onward = self._way_out(peer.node, distances, lambda other: other.FORWARDS)
            peer = onward.peer if onward is not None else None
        return peer.primary_address(ipv6) if peer is not None else ""

    def _fill_switches(self, segments: list[_Segment]) -> None:
        """Tell each switch where each address is: on its own segment, or behind a router."""
        for segment in segments:
            for switch in segment.switches:
                switch.table.clear()
                switch.default = None
        for segment in segments:
            for target in segment.interfaces:
                inside = self._below_ip(target)
                for switch in segment.switches:
                    port = self._port_towards(switch, target, inside)
                    if port is None:
                        continue
                    for entry in target.addresses:
                        switch.learn(entry.address, port)
                    if segment.routers() == [target.node]:
                        switch.default = port
            for other in segments:
                if other is segment:
                    continue
                for switch in segment.switches:
                    port = self._way_out(switch, other.distances, lambda node: node.FORWARDS)
                    if port is None:
                        continue
                    for interface in other.interfaces:
                        for entry in interface.addresses:
                            switch.learn(entry.address, port)

    def _below_ip(self, target: Interface) -> _Distances:
        """Return the cost of the path to an interface through switches alone, from each switch."""
        if target.peer is None or not target.peer.node.BELOW_IP:
            return {}
        return self._distances_to(target.peer.node.name, lambda node: node.BELOW_IP)

    def _port_towards(self, switch: Switch, target: Interface, inside: _Distances) -> Interface | None:
        """Return a switch's port to an interface on its own segment."""
        peer = target.peer
        if peer is not None and peer.node is switch:
            return peer
        return self._way_out(switch, inside, lambda node: node.BELOW_IP)

    def _segments(self) -> list[_Segment]:
        """Return the segments, in the order of the links."""
        segments: list[_Segment] = []
        seen: set[str] = set()
        for link in self.links.values():
            if link.a.label in seen:
                continue
            interfaces: list[Interface] = []
            switches: dict[str, Switch] = {}
            todo = [link.a, link.b]
            while todo:
                interface = todo.pop(0)
                if interface.label in seen:
                    continue
                seen.add(interface.label)
                node = interface.node
                if isinstance(node, Switch):
                    switches[node.name] = node
                    todo.extend(node.interfaces.values())
                else:
                    interfaces.append(interface)
                if interface.peer is not None:
                    todo.append(interface.peer)
            segments.append(_Segment(interfaces, list(switches.values())))
        return segments


def _destinations(segments: list[_Segment]) -> list[tuple[str, _Segment]]:
    """Return what routes lead to: prefixes, and single addresses where a prefix is in several places."""
    places: dict[str, list[_Segment]] = {}
    for segment in segments:
        for interface in segment.interfaces:
            for entry in interface.addresses:
                at = places.setdefault(entry.prefix, [])
                if segment not in at:
                    at.append(segment)
    found: list[tuple[str, _Segment]] = []
    for prefix, at in places.items():
        if len(at) == 1:
            found.append((prefix, at[0]))
            continue
        for segment in at:
            for interface in segment.interfaces:
                for entry in interface.addresses:
                    if entry.prefix == prefix:
                        found.append((entry.address, segment))
    return found


def _hop_cost(interface: Interface) -> int:
    """Return the cost of leaving by an interface when links count."""
    return 1


def _delay_cost(interface: Interface) -> int:
    """Return the cost of leaving by an interface when delays count; equal delays leave it to the links."""
    assert interface.pipe is not None
    return (interface.pipe.delay_ns << 20) + 1
