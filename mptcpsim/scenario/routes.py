"""Who shares a network with whom, and which way a packet takes: shared by the check and the builder."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import NamedTuple

from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.schema import Scenario

#: Routers that a packet may cross before a route is taken for a loop.
MAX_HOPS = 32


class Port(NamedTuple):
    """An interface of a host or a router."""

    node: str
    interface: str


class Route(NamedTuple):
    """One line of a routing table: destination, outgoing interface, gateway (None: on link)."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    interface: str
    gateway: str | None


def split_end(end: str) -> Port | str:
    """Return the port of a link's end, or the name of a switch."""
    node, colon, interface = end.partition(":")
    return Port(node, interface) if colon else node


@cache
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_interface(text).network


def addresses(node: NodeSpec, interface: str) -> list[str]:
    """Return the addresses of an interface without prefix lengths."""
    return [text.partition("/")[0] for text in node.interfaces[interface].addresses]


def interface_towards(node: NodeSpec, address: str) -> str | None:
    """Return the interface whose network contains an address, or None."""
    target = ipaddress.ip_address(address)
    for name, interface in node.interfaces.items():
        if any(target in _network(own) for own in interface.addresses):
            return name
    return None


def routing_table(node: NodeSpec) -> list[Route]:
    """Return the routes of a node: connected networks, then static ones, then the default."""
    table = [
        Route(_network(text), name, None)
        for name, interface in node.interfaces.items()
        for text in interface.addresses
    ]
    for route in node.routes:
        outgoing = interface_towards(node, route.via)
        if outgoing is not None:
            table.append(Route(ipaddress.ip_network(route.to), outgoing, route.via))
    if node.default_route is not None:
        outgoing = interface_towards(node, node.default_route)
        if outgoing is not None:
            everything = ipaddress.ip_network("::/0" if ":" in node.default_route else "0.0.0.0/0")
            table.append(Route(everything, outgoing, node.default_route))
    return table


def look_up(node: NodeSpec, address: str) -> Route | None:
    """Return the route with the longest prefix for an address, the earliest of equals, or None."""
    target = ipaddress.ip_address(address)
    best: Route | None = None
    for route in routing_table(node):
        matches = target in route.network
        if matches and (best is None or route.network.prefixlen > best.network.prefixlen):
            best = route
    return best


def segments(scenario: Scenario) -> dict[Port, int]:
    """Return for each linked port the number of its layer-2 network; equal numbers hear each other."""
    parent: dict[Port | str, Port | str] = {}

    def root(end: Port | str) -> Port | str:
        parent.setdefault(end, end)
        while parent[end] != end:
            end = parent[end]
        return end

    for link in scenario.links:
        first, second = (split_end(end) for end in link.ends)
        parent[root(first)] = root(second)
    numbers: dict[Port | str, int] = {}
    return {end: numbers.setdefault(root(end), len(numbers)) for end in list(parent) if isinstance(end, Port)}


def owners(scenario: Scenario) -> dict[str, Port]:
    """Return the port that owns each address."""
    return {
        address: Port(name, interface)
        for name, node in scenario.nodes.items()
        for interface in node.interfaces
        for address in addresses(node, interface)
    }


def connected(scenario: Scenario, start: str, destination: str) -> str | None:
    """Look for any path from a node to an address that leads through no host; return what is wrong."""
    where = segments(scenario)
    target = owners(scenario)[destination].node
    seen = {start}
    todo = [start]
    while todo:
        node = todo.pop()
        near = {segment for port, segment in where.items() if port.node == node}
        found = {port.node for port, segment in where.items() if segment in near} - seen
        if target in found:
            return None
        seen |= found
        todo += [name for name in sorted(found) if name in scenario.routers]
    return f"no path of links leads from {start!r} to {target!r}: add the links that are missing"


def trace(scenario: Scenario, start: str, destination: str) -> str | None:
    """Follow a packet from a node to an address; return what is wrong on the way, or None."""
    if scenario.routing != "static":
        return connected(scenario, start, destination)
    where = segments(scenario)
    owner = owners(scenario)
    nodes = scenario.nodes
    node = start
    for _ in range(MAX_HOPS):
        if owner[destination].node == node:
            return None
        route = look_up(nodes[node], destination)
        if route is None:
            return (
                f"{node!r} has no route to {destination}: give {node!r} a default_route or routes, "
                "or both ends addresses of one network"
            )
        next_hop = route.gateway or destination
        port = owner.get(next_hop)
        if port is None:
            return f"{node!r} sends packets for {destination} to the gateway {next_hop}, which nobody has"
        here = where.get(Port(node, route.interface))
        if here is None or where.get(port) != here:
            return (
                f"{node!r} looks for {next_hop} on its interface {route.interface!r}, but no link or switch "
                f"connects that to {port.node}:{port.interface}"
            )
        if port.node == node or (owner[destination].node != port.node and port.node in scenario.hosts):
            return f"{node!r} sends packets for {destination} to {port.node!r}, which does not forward"
        node = port.node
    return f"packets from {start!r} for {destination} run in a circle: mend the routes"
