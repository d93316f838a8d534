"""Shortest paths through a network as it was at one instant, and the routes that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import networkx

from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.routing import Route, RouteSource, prefix_number, route_group
from mptcpsim.net.switch import Switch

#: What makes a path short: the number of its links, or the sum of their delays.
HOPS: Final = "hops"
DELAY: Final = "delay"

#: Metric of computed routes: any route that a scenario gives wins.
COMPUTED_METRIC: Final = 1000

#: Segments whose distances are kept, at most; those of another one are computed again.
_MOST_DISTANCES: Final = 1 << 10

#: Cost of a path to the destination, by the name of the node where it begins.
Distances = dict[str, int]


class LinkNetwork:
    """Interfaces that reach each other below IP: the two ends of a link, or all around switches."""

    def __init__(self, interfaces: list[Interface], switches: list[Switch]) -> None:
        self.interfaces = interfaces
        self.switches = switches

    def routers(self) -> list[str]:
        """Return the names of the routers on the segment, each once."""
        return list(dict.fromkeys(i.node.name for i in self.interfaces if i.node.FORWARDS))

    def interface_of(self, node: Node, prefix: str) -> Interface | None:
        """Return a node's interface on the segment, one in the prefix if there is a choice."""
        own = [interface for interface in self.interfaces if interface.node is node]
        fitting = [i for i in own if any(entry.prefix == prefix for entry in i.addresses)]
        return next(iter(fitting or own), None)


class ShortestPaths:
    """The network as it was when this was made, and what is computed from it as somebody asks.

    Args:
        nodes: by name.
        links: between them.
        weight: ``"hops"`` or ``"delay"``.
        ecmp: routes lead to all next hops on paths of the same length.
    """

    def __init__(self, nodes: Mapping[str, Node], links: Iterable[Link], weight: str, ecmp: bool) -> None:
        self._nodes = nodes
        self._ecmp = ecmp
        cost = _hop_cost if weight == HOPS else _delay_cost
        #: Each node's interfaces that lead somewhere, with the costs of leaving by them.
        self._ports: dict[str, list[tuple[Interface, int]]] = {
            name: [(i, cost(i)) for i in node.interfaces.values() if i.peer is not None]
            for name, node in nodes.items()
        }
        #: First addresses of IPv4 and IPv6: those of next hops.
        self._primary = {
            interface: (interface.primary_address(False), interface.primary_address(True))
            for node in nodes.values()
            for interface in node.interfaces.values()
        }
        self._graph = self._towards_root(lambda node: node.FORWARDS)
        self._segments = _segments(links)
        #: What routes lead to: by IP version and prefix length the places of a network number.
        self._places: dict[int, dict[int, dict[int, list[tuple[str, LinkNetwork]]]]] = {4: {}, 6: {}}
        self._destinations = _destinations(self._segments)
        for prefix, segment in self._destinations:
            version, length, number = prefix_number(prefix)
            lengths = self._places[version]
            lengths.setdefault(length, {}).setdefault(number, []).append((prefix, segment))
        self._distances: dict[LinkNetwork, Distances] = {}

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
        distances = self._distances_to(segment)
        ways = self._ways_out(node.name, distances, lambda other: other.FORWARDS)
        hops: list[tuple[Interface, str]] = []
        for out in ways if self._ecmp else ways[:1]:
            hops += [(out, gateway) for gateway in self._gateways(out, distances, ":" in prefix)]
        hops = list(dict.fromkeys(hops))
        return route_group(prefix, hops, COMPUTED_METRIC) if hops else None

    def _distances_to(self, segment: LinkNetwork) -> Distances:
        """Return the cost of the shortest path to the nearest router on a segment, from each node."""
        known = self._distances.get(segment)
        if known is None:
            if len(self._distances) >= _MOST_DISTANCES:
                del self._distances[next(iter(self._distances))]
            known = _lengths(self._graph, segment.routers())
            self._distances[segment] = known
        return known

    def _ways_out(self, name: str, distances: Distances, passes: Callable[[Node], bool]) -> list[Interface]:
        """Return the interfaces of a node on its shortest paths; none without a path."""
        best: list[Interface] = []
        best_cost = 0
        for interface, own_cost in self._ports[name]:
            peer = interface.peer
            if peer is None or peer.node.name not in distances or not passes(peer.node):
                continue
            cost = own_cost + distances[peer.node.name]
            if not best or cost < best_cost:
                best, best_cost = [interface], cost
            elif cost == best_cost:
                best.append(interface)
        return best

    def _gateways(self, out: Interface, distances: Distances, ipv6: bool) -> list[str]:
        """Return the addresses of the next routers behind an interface, switches being no routers."""
        found: list[str] = []
        todo = [out.peer]
        while todo:
            peer = todo.pop(0)
            if peer is None:
                continue
            if not peer.node.BELOW_IP:
                found.append(self._primary[peer][ipv6])
                continue
            ways = self._ways_out(peer.node.name, distances, lambda other: other.FORWARDS)
            todo += [onward.peer for onward in (ways if self._ecmp else ways[:1])]
        return found

    def _towards_root(self, passes: Callable[[Node], bool]) -> networkx.DiGraph[str]:
        """Return the graph in which paths are followed from their end: an edge for each step back.

        Args:
            passes: whether a path may lead through a node.
        """
        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(self._nodes)
        for far, ports in self._ports.items():
            for interface, cost in ports:
                peer = interface.peer
                if peer is None or not passes(peer.node):
                    continue
                near = peer.node.name
                if not graph.has_edge(near, far) or graph.edges[near, far]["weight"] > cost:
                    graph.add_edge(near, far, weight=cost)
        return graph

    # --- Switches ---------------------------------------------------------------------------------

    def fill_switches(self) -> None:
        """Tell each switch behind which of its ports each address on its segment is."""
        with_switches = [segment for segment in self._segments if segment.switches]
        if not with_switches:
            return
        graph = self._towards_root(lambda node: node.BELOW_IP)
        for segment in with_switches:
            for switch in segment.switches:
                switch.table.clear()
            inside: dict[str, Distances] = {}
            for target in segment.interfaces:
                peer = target.peer
                assert peer is not None
                nearest = peer.node.name
                if nearest not in inside:
                    inside[nearest] = _lengths(graph, [nearest])
                for switch in segment.switches:
                    if peer.node is switch:
                        port = peer
                    else:
                        ways = self._ways_out(switch.name, inside[nearest], lambda node: node.BELOW_IP)
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


def _lengths(graph: networkx.DiGraph[str], roots: list[str]) -> Distances:
    """Return the cost of the shortest path to the nearest of some roots, from each node that has one."""
    if not roots:
        return {}
    lengths = networkx.multi_source_dijkstra_path_length(graph, set(roots))
    return {name: int(length) for name, length in lengths.items()}


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
    places: dict[str, list[LinkNetwork]] = {}
    addresses: dict[str, list[tuple[str, LinkNetwork]]] = {}
    for segment in segments:
        for interface in segment.interfaces:
            for entry in interface.addresses:
                prefix = entry.prefix
                at = places.setdefault(prefix, [])
                if segment not in at:
                    at.append(segment)
                bits = 128 if ":" in entry.address else 32
                host = f"{entry.address}/{bits}"
                addresses.setdefault(prefix, []).append((host, segment))
    found: list[tuple[str, LinkNetwork]] = []
    for prefix, at in places.items():
        found += [(prefix, at[0])] if len(at) == 1 else addresses[prefix]
    return found


def _hop_cost(interface: Interface) -> int:
    """Return the cost of leaving by an interface when links count."""
    return 1


def _delay_cost(interface: Interface) -> int:
    """Return the cost of leaving by an interface when delays count; equal delays leave it to the links."""
    assert interface.pipe is not None
    return (interface.pipe.delay_ns << 20) + 1
