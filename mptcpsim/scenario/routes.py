"""Who shares a network with whom, and the routing tables: shared by the check and the builder."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import NamedTuple

from mptcpsim.net.routing import MAIN
from mptcpsim.scenario.ip_words import NextHop, read_route
from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.schema import Scenario


class Port(NamedTuple):
    """An interface of a host or a router."""

    node: str
    interface: str


class TableHop(NamedTuple):
    """A next hop: outgoing interface, gateway (None: on link)."""

    interface: str
    gateway: str | None


class TableRoute(NamedTuple):
    """One line of a routing table.

    Attributes:
        network: where it leads.
        ways: the next hop, or several to choose from.
        metric: among routes to one network the lowest wins, then the first.
        source: own address to be used, or empty.
    """

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    ways: tuple[TableHop, ...]
    metric: int = 0
    source: str = ""

    @property
    def interface(self) -> str:
        """The outgoing interface, the first of several."""
        return self.ways[0].interface

    @property
    def gateway(self) -> str | None:
        """The gateway, the first of several."""
        return self.ways[0].gateway


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


def routing_table(node: NodeSpec) -> list[TableRoute]:
    """Return the main table of a node: connected networks, static routes, the default, then ``main``."""
    table: list[TableRoute] = []
    if node.connected_routes:
        table += [
            TableRoute(_network(text), (TableHop(name, None),))
            for name, interface in node.interfaces.items()
            if interface.up
            for text in interface.addresses
        ]
    for route in node.routes:
        hops = [NextHop(via, route.dev or "") for via in route.via] or [NextHop("", route.dev or "")]
        table += _routes(node, route.to, hops, 0, "")
    if node.default_route is not None:
        table += _routes(node, "default", [NextHop(node.default_route, "")], 0, "")
    return table + named_table(node, MAIN)


def named_table(node: NodeSpec, name: str) -> list[TableRoute]:
    """Return the routes that stand under the name of a table."""
    found: list[TableRoute] = []
    for line in node.tables.get(name, ()):
        words = read_route(line)
        found += _routes(node, words.prefix, words.hops, words.metric, words.source)
    return found


def _routes(
    node: NodeSpec, prefix: str, hops: tuple[NextHop, ...] | list[NextHop], metric: int, source: str
) -> list[TableRoute]:
    """Return the route as written, one for each IP version that it is for, without what leads nowhere."""
    ways: list[TableHop] = []
    for hop in hops:
        interface = hop.dev or interface_towards(node, hop.via)
        if interface is not None:
            ways.append(TableHop(interface, hop.via or None))
    if not ways:
        return []
    if prefix != "default":
        prefixes = [prefix]
    else:
        named = next((address for address in (*(w.gateway for w in ways), source) if address), None)
        both = ["0.0.0.0/0", "::/0"]
        prefixes = both if named is None else [both[":" in named]]
    return [TableRoute(_network(text), tuple(ways), metric, source) for text in prefixes]


def look_up(node: NodeSpec, address: str) -> TableRoute | None:
    """Return the route with the longest prefix for an address, the earliest of equals, or None."""
    target = ipaddress.ip_address(address)
    best: TableRoute | None = None
    for route in routing_table(node):
        matches = target in route.network
        if matches and (
            best is None or (-route.network.prefixlen, route.metric) < (-best.network.prefixlen, best.metric)
        ):
            best = route
    return best


def segments(scenario: Scenario) -> dict[Port, int]:
    """Return for each linked port the number of its layer-2 network; equal numbers hear each other."""
    joined = _Groups()
    for link in scenario.links:
        first, second = (split_end(end) for end in link.ends)
        joined.join(first, second)
    numbers: dict[Port | str, int] = {}
    return {
        end: numbers.setdefault(joined.root(end), len(numbers))
        for end in joined.members()
        if isinstance(end, Port)
    }


class _Groups:
    """Things that belong together, directly or by way of others."""

    def __init__(self) -> None:
        self._parent: dict[Port | str, Port | str] = {}

    def root(self, member: Port | str) -> Port | str:
        """Return the member that stands for a group."""
        parent = self._parent
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def join(self, one: Port | str, other: Port | str) -> None:
        """Make one group of two."""
        first = self.root(one)
        self._parent[first] = self.root(other)

    def members(self) -> list[Port | str]:
        """Return all members, in the order in which they were named."""
        return list(self._parent)
