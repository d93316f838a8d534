"""Routes, tables and rules: names that nobody has are mistakes; what may be meant is left to ``lint``.

Without any policy a gateway must be in a network of its node and belong to somebody. A node that
spells its routing out (``NodeSpec.has_policy``) may have gateways that nobody answers for: its
packets get lost, as they would.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from mptcpsim.net.routing import MAIN
from mptcpsim.net.rules import DEFAULT, LOOPBACK
from mptcpsim.scenario.errors import Path, Problem, did_you_mean
from mptcpsim.scenario.ip_words import read_route, read_rule
from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.routes import addresses, interface_towards
from mptcpsim.scenario.schema import Scenario


class _Gateway(NamedTuple):
    path: Path
    address: str
    dev: str


def check_routes(scenario: Scenario) -> None:
    """Judge the routes of all nodes.

    Raises:
        Problem: the first mistake found.
    """
    owners = {
        address: name
        for name, node in scenario.nodes.items()
        for interface in node.interfaces
        for address in addresses(node, interface)
    }
    for kind, nodes in (("hosts", scenario.hosts), ("routers", scenario.routers)):
        for name, node in nodes.items():
            place: Path = (kind, name)
            for gateway in _gateways(place, node):
                _gateway(name, node, gateway, owners)
            for index, route in enumerate(node.routes):
                _families(place, index, route.to, route.via)
            _tables(place, node)
            _rules(place, node)


def _gateways(place: Path, node: NodeSpec) -> list[_Gateway]:
    """Return every gateway of a node, and every interface that a route names."""
    found: list[_Gateway] = []
    for index, route in enumerate(node.routes):
        path: Path = (*place, "routes", index)
        if route.dev is not None:
            _interface((*path, "dev"), node, place[1], route.dev)
        found += [_Gateway((*path, "via"), via, route.dev or "") for via in route.via]
    if node.default_route is not None:
        found.append(_Gateway((*place, "default_route"), node.default_route, ""))
    for table, lines in node.tables.items():
        for index, line in enumerate(lines):
            path = (*place, "tables", table, index)
            for hop in read_route(line).hops:
                if hop.dev:
                    _interface(path, node, place[1], hop.dev)
                if hop.via:
                    found.append(_Gateway(path, hop.via, hop.dev))
    return found


def _gateway(name: str, node: NodeSpec, gateway: _Gateway, owners: dict[str, str]) -> None:
    path, address, dev = gateway
    if not dev and interface_towards(node, address) is None:
        remedy = "use an address of one of them"
        if path[-1] != "default_route":
            remedy += ", or name the interface (dev)"
        raise Problem(path, f"the gateway {address} is in no network of {name!r}: {remedy}")
    if owners.get(address) == name:
        raise Problem(path, f"the gateway {address} is {name!r} itself: use the address of the next router")
    if address not in owners and not node.has_policy:
        raise Problem(
            path, f"nobody has the gateway's address {address}: give it to an interface of a router"
        )


def _families(place: Path, index: int, to: str, via: tuple[str, ...]) -> None:
    versions = {ipaddress.ip_address(address).version for address in via}
    if to != "default":
        versions.add(ipaddress.ip_network(to).version)
    if len(versions) > 1:
        raise Problem(
            (*place, "routes", index),
            f"{to} and {', '.join(via)} are of different IP versions: use one of them",
        )


def _tables(place: Path, node: NodeSpec) -> None:
    own = [address for interface in node.interfaces for address in addresses(node, interface)]
    for table, lines in node.tables.items():
        for index, line in enumerate(lines):
            source = read_route(line).source
            if source and source not in own:
                raise Problem(
                    (*place, "tables", table, index),
                    f"{source} behind src is no address of {place[1]!r}, which has {', '.join(own)}: "
                    "use one of these",
                )


def _rules(place: Path, node: NodeSpec) -> None:
    known = list(dict.fromkeys([*node.tables, MAIN, DEFAULT]))
    for index, text in enumerate(node.rules):
        path: Path = (*place, "rules", index)
        words = read_rule(text)
        if words.table and words.table not in known:
            raise Problem(
                path,
                f"{place[1]!r} has no table {words.table}; {did_you_mean(words.table, known)} "
                f'Else add it: tables = {{{words.table} = ["default via ... dev ..."]}}',
            )
        received = words.selector.received
        if received and received != LOOPBACK:
            _interface(path, node, place[1], received)


def _interface(path: Path, node: NodeSpec, name: str | int, interface: str) -> None:
    known = list(node.interfaces)
    if interface not in known:
        raise Problem(path, f"{name!r} has no interface {interface!r}; {did_you_mean(interface, known)}")
