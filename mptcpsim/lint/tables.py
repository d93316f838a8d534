"""The routes that a scenario states, each with its place in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from mptcpsim.lint.remark import Remark
from mptcpsim.scenario.errors import KeyPath
from mptcpsim.scenario.ip_words import read_route
from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.routes import interface_towards
from mptcpsim.scenario.schema import Scenario


class Entry(NamedTuple):
    """A next hop of a route.

    Attributes:
        path: of what states it.
        node: whose route it is.
        prefix: where it leads, or ``default``.
        interface: by which it leaves; empty: no interface is in the gateway's network.
        gateway: the next router; empty: the destination is on the link.
    """

    path: KeyPath
    node: str
    prefix: str
    interface: str
    gateway: str

    def remark(self, problem: str, remedy: str) -> Remark:
        """Return a remark about the route."""
        return Remark(self.path, problem, remedy, node=self.node)

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        """Where it leads; None for everything."""
        return None if self.prefix == "default" else ipaddress.ip_network(self.prefix)


def entries_of(scenario: Scenario) -> Iterator[Entry]:
    """Yield the routes that hosts and routers state, in the order of the scenario."""
    for kind, nodes in (("hosts", scenario.hosts), ("routers", scenario.routers)):
        for name, node in nodes.items():
            yield from _entries((kind, name), name, node)


def _entries(place: KeyPath, name: str, node: NodeSpec) -> Iterator[Entry]:
    def entry(path: KeyPath, prefix: str, via: str, dev: str) -> Entry:
        interface = dev or interface_towards(node, via) or ""
        return Entry((*place, *path), name, prefix, interface, via)

    for index, route in enumerate(node.routes):
        for via in route.via or ("",):
            yield entry(("routes", index), route.to, via, route.dev or "")
    if node.default_route is not None:
        yield entry(("default_route",), "default", node.default_route, "")
    for table, lines in node.tables.items():
        for index, line in enumerate(lines):
            words = read_route(line)
            for hop in words.hops:
                yield entry(("tables", table, index), words.prefix, hop.via, hop.dev)
