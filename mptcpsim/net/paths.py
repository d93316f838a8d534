"""Shortest paths through a network as it was at one instant, and the routes that follow from them.

What leads to a segment leads to the nearest of its routers. Segments with the same routers, such as those of
all hosts of one router, share a ``Tree``: one search for each set of routers, whatever the number of hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.routing import Route, RouteSource, group_of, prefix_number
from mptcpsim.net.switch import Switch

if TYPE_CHECKING:
    import networkx

#: What makes a path short: the number of its links, or the sum of their delays.
HOPS: Final = "hops"
DELAY: Final = "delay"

#: Metric of computed routes: any route that a scenario gives wins.
COMPUTED_METRIC: Final = 1000

#: Trees that are kept, at most; another one is computed again.
_MOST_TREES: Final = 1 << 10

#: Cost of a path to the destination, by the name of the node where it begins.
Distances = dict[str, int]

#: Interfaces of nodes, each with the cost of leaving by it, by the name of the node.
WaysOut = dict[str, list[tuple[Interface, int]]]

#: Next hops: interfaces, each with the address of the router behind it.
NextHops = list[tuple[Interface, str]]


class Tree:
    """The shortest paths to the nearest of some nodes.

    Attributes:
        costs: of the path from each node that forwards, as far as it has one.
        ways: what was asked for so far: the interfaces of a node on its shortest paths.
        hops: the same of its next hops, by the name of the node; those of IPv6 in the second table.
    """

    __slots__ = ("costs", "hops", "ways")

    def __init__(self, costs: Distances) -> None:
        self.costs = costs
        self.ways: dict[str, list[Interface]] = {}
        self.hops: tuple[dict[str, NextHops], dict[str, NextHops]] = ({}, {})


class LinkNetwork:
    """Interfaces that reach each other below IP: the two ends of a link, or all around switches."""

    def __init__(self, interfaces: list[Interface], switches: list[Switch]) -> None:
        self.interfaces = interfaces
        self.switches = switches
        #: The names of its routers.
        self.routers = frozenset(i.node.name for i in interfaces if i.node.FORWARDS)
        self._of_node: dict[Node, list[Interface]] = {}
        for interface in interfaces:
            self._of_node.setdefault(interface.node, []).append(interface)

    def interface_of(self, node: Node, prefix: str) -> Interface | None:
        """Return a node's interface on the segment, one in the prefix if there is a choice."""
        own = self._of_node.get(node)
        if own is None:
            return None
        if len(own) > 1:
            for interface in own:
                if any(entry.prefix == prefix for entry in interface.addresses):
                    return interface
        return own[0]


class ShortestPaths:
    """The network as it was when this was made, and what is computed from it as somebody asks.

    Args:
        nodes: by name.
        links: between them.
        weight: ``"hops"`` or ``"delay"``.
        ecmp: routes lead to all next hops on paths of the same length.
    """

    def __init__(self, nodes: Mapping[str, Node], links: Iterable[Link], weight: str, ecmp: bool) -> None:
        self._ecmp = ecmp
        cost = _hop_cost if weight == HOPS else _delay_cost
        #: Each node's interfaces that lead to a node which forwards, with the costs of leaving by them.
        self._onward: WaysOut = {name: _ports(node, cost) for name, node in nodes.items()}
        #: First addresses of IPv4 and IPv6: those of next hops.
        self._primary = {
            interface: (interface.primary_address(False), interface.primary_address(True))
            for node in nodes.values()
            for interface in node.interfaces.values()
        }
        #: What forwards, of which the graph is made when a path is looked for.
        self._forwarding: WaysOut = {
            name: ports for name, ports in self._onward.items() if nodes[name].FORWARDS
        }
        self._segments = _segments(links)
        #: What routes lead to: by IP version and prefix length the places of a network number.
        self._places: dict[int, dict[int, dict[int, list[tuple[str, LinkNetwork]]]]] = {4: {}, 6: {}}
        self._destinations = _destinations(self._segments)
        for prefix, segment in self._destinations:
            version, length, number = prefix_number(prefix)
            lengths = self._places[version]
            lengths.setdefault(length, {}).setdefault(number, []).append((prefix, segment))
        self._trees: dict[frozenset[str], Tree] = {}

    # --- Routes -----------------------------------------------------------------------------------

    def destinations(self) -> list[tuple[str, LinkNetwork]]:
        """Return every prefix that routes lead to, with its segment."""
        return self._destinations

    def matching(self, address: str) -> Iterator[tuple[str, LinkNetwork]]:
        """Yield the prefixes that an address is in, the longest first, with their segments."""
        version, bits, number = prefix_number(f"{address}/{128 if ':' in address else 32}")
        lengths = self._places[version]
        for length in sorted(lengths, reverse=True):
            shift = bits - length
            yield from lengths[length].get((number >> shift) << shift, ())

    def route(self, node: Node, prefix: str, segment: LinkNetwork) -> Route | None:
        """Return a node's route to a prefix on a segment, or None: there is no way."""
        own = segment.interface_of(node, prefix)
        if own is not None:
            return Route(prefix, own, "", COMPUTED_METRIC)
        hops = self._next_hops(node.name, self._tree_to(segment.routers), ":" in prefix)
        return group_of(prefix, hops, COMPUTED_METRIC) if hops else None

    def _tree_to(self, routers: frozenset[str]) -> Tree:
        """Return the shortest paths to the nearest of some routers."""
        tree = self._trees.get(routers)
        if tree is None:
            if len(self._trees) >= _MOST_TREES:
                del self._trees[next(iter(self._trees))]
            tree = _tree(self._graph, routers)
            self._trees[routers] = tree
        return tree

    @cached_property
    def _graph(self) -> networkx.DiGraph[str]:
        return _towards_root(self._forwarding)

    def _next_hops(self, name: str, tree: Tree, ipv6: bool) -> NextHops:
        """Return the next hops of a node on its shortest paths; none without a path."""
        known = tree.hops[ipv6]
        hops = known.get(name)
        if hops is None:
            ways = _ways_out(self._onward[name], tree, name)
            hops = []
            for out in ways if self._ecmp else ways[:1]:
                hops += [(out, gateway) for gateway in self._gateways(out, tree, ipv6)]
            hops = known[name] = list(dict.fromkeys(hops))
        return hops

    def _gateways(self, out: Interface, tree: Tree, ipv6: bool) -> list[str]:
        """Return the addresses of the next routers behind an interface, switches being no routers."""
        found: list[str] = []
        todo = [out.peer]
        while todo:
            peer = todo.pop(0)
            if peer is None:
                continue
            name = peer.node.name
            if not peer.node.BELOW_IP:
                found.append(self._primary[peer][ipv6])
                continue
            ways = _ways_out(self._onward[name], tree, name)
            todo += [onward.peer for onward in (ways if self._ecmp else ways[:1])]
        return found

    # --- Switches ---------------------------------------------------------------------------------

    def fill_switches(self) -> None:
        """Tell each switch behind which of its ports each address on its segment is."""
        with_switches = [segment for segment in self._segments if segment.switches]
        if not with_switches:
            return
        onward = {
            switch.name: [port for port in self._onward[switch.name] if _is_below_ip(port[0])]
            for segment in with_switches
            for switch in segment.switches
        }
        graph = _towards_root(onward)
        for segment in with_switches:
            for switch in segment.switches:
                switch.table.clear()
            inside: dict[str, Tree] = {}
            for target in segment.interfaces:
                peer = target.peer
                assert peer is not None
                nearest = peer.node.name
                if nearest not in inside:
                    inside[nearest] = _tree(graph, frozenset((nearest,)))
                for switch in segment.switches:
                    if peer.node is switch:
                        port = peer
                    else:
                        ways = _ways_out(onward[switch.name], inside[nearest], switch.name)
                        if not ways:
                            continue
                        port = ways[0]
                    for entry in target.addresses:
                        switch.learn(entry.address, port)


class ComputedRoutes(RouteSource):
    """The routes of one node along the shortest paths."""

    def __init__(self, paths: ShortestPaths, node: Node) -> None:
        self._paths = paths
        self._node = node

    def find(self, address: str) -> Route | None:
        """Return the route with the longest prefix of those with a way."""
        for prefix, segment in self._paths.matching(address):
            route = self._paths.route(self._node, prefix, segment)
            if route is not None:
                return route
        return None

    def routes(self) -> list[Route]:
        """Return the routes to all prefixes."""
        found: list[Route] = []
        for prefix, segment in self._paths.destinations():
            route = self._paths.route(self._node, prefix, segment)
            if route is not None:
                found.append(route)
        return found


def _ports(node: Node, cost: Callable[[Interface], int]) -> list[tuple[Interface, int]]:
    """Return a node's interfaces that lead to a node which forwards, with the cost of leaving by each."""
    return [(i, cost(i)) for i in node.interfaces.values() if i.peer is not None and i.peer.node.FORWARDS]


def _is_below_ip(interface: Interface) -> bool:
    """Return whether an interface leads to a switch."""
    return interface.peer is not None and interface.peer.node.BELOW_IP


def _towards_root(onward: WaysOut) -> networkx.DiGraph[str]:
    """Return the graph in which paths are followed from their end: an edge for each step back."""
    import networkx  # takes a fifth of a second, which a network of one link saves

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(onward)
    for far, ports in onward.items():
        for interface, cost in ports:
            assert interface.peer is not None
            near = interface.peer.node.name
            if not graph.has_edge(near, far) or graph.edges[near, far]["weight"] > cost:
                graph.add_edge(near, far, weight=cost)
    return graph


def _tree(graph: networkx.DiGraph[str], roots: frozenset[str]) -> Tree:
    """Return the shortest paths to the nearest of some roots."""
    if not roots:
        return Tree({})
    import networkx

    lengths = networkx.multi_source_dijkstra_path_length(graph, set(roots))
    return Tree({name: int(length) for name, length in lengths.items()})


def _ways_out(ports: list[tuple[Interface, int]], tree: Tree, name: str) -> list[Interface]:
    """Return the interfaces of a node on its shortest paths; none without a path."""
    best = tree.ways.get(name)
    if best is not None:
        return best
    best = []
    best_cost = 0
    for interface, own_cost in ports:
        assert interface.peer is not None
        rest = tree.costs.get(interface.peer.node.name)
        if rest is None:
            continue
        cost = own_cost + rest
        if not best or cost < best_cost:
            best, best_cost = [interface], cost
        elif cost == best_cost:
            best.append(interface)
    tree.ways[name] = best
    return best


def _segments(links: Iterable[Link]) -> list[LinkNetwork]:
    """Return the segments, in the order of the links."""
    segments: list[LinkNetwork] = []
    seen: set[Interface] = set()
    for link in links:
        if link.a in seen:
            continue
        interfaces: list[Interface] = []
        switches: dict[str, Switch] = {}
        todo = [link.a, link.b]
        while todo:
            interface = todo.pop(0)
            if interface in seen:
                continue
            seen.add(interface)
            node = interface.node
            if isinstance(node, Switch):
                switches[node.name] = node
                todo.extend(node.interfaces.values())
            else:
                interfaces.append(interface)
            if interface.peer is not None:
                todo.append(interface.peer)
        segments.append(LinkNetwork(interfaces, list(switches.values())))
    return segments


def _destinations(segments: list[LinkNetwork]) -> list[tuple[str, LinkNetwork]]:
    """Return what routes lead to: prefixes, and single addresses where a prefix is in several places."""
    places: dict[str, dict[LinkNetwork, None]] = {}
    addresses: dict[str, list[tuple[str, LinkNetwork]]] = {}
    for segment in segments:
        for interface in segment.interfaces:
            for entry in interface.addresses:
                prefix = entry.prefix
                places.setdefault(prefix, {})[segment] = None
                bits = 128 if ":" in entry.address else 32
                host = f"{entry.address}/{bits}"
                addresses.setdefault(prefix, []).append((host, segment))
    found: list[tuple[str, LinkNetwork]] = []
    for prefix, at in places.items():
        found += [(prefix, next(iter(at)))] if len(at) == 1 else addresses[prefix]
    return found


def _hop_cost(interface: Interface) -> int:
    """Return the cost of leaving by an interface when links count."""
    return 1


def _delay_cost(interface: Interface) -> int:
    """Return the cost of leaving by an interface when delays count; equal delays leave it to the links."""
    assert interface.pipe is not None
    return (interface.pipe.delay_ns << 20) + 1
