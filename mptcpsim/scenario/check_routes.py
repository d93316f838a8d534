"""Routes, tables and rules: names that nobody has are mistakes; where packets end is left to ``lint``."""

from __future__ import annotations

import ipaddress

from mptcpsim.net.routing import MAIN
from mptcpsim.net.rules import DEFAULT, LOOPBACK
from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.scenario.ip_words import read_route, read_rule
from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.routes import addresses
from mptcpsim.scenario.schema import Scenario
from mptcpsim.suggest import did_you_mean


def check_routes(scenario: Scenario) -> None:
    """Judge the routes of all nodes.

    Raises:
        Problem: the first mistake found.
    """
    for kind, nodes in (("hosts", scenario.hosts), ("routers", scenario.routers)):
        for name, node in nodes.items():
            place: KeyPath = (kind, name)
            _interfaces(place, node)
            for index, route in enumerate(node.routes):
                _families(place, index, route.to, route.via)
            _tables(place, node)
            _rules(place, node)


def _interfaces(place: KeyPath, node: NodeSpec) -> None:
    """Judge every interface that a route names."""
    for index, route in enumerate(node.routes):
        if route.dev is not None:
            _interface((*place, "routes", index, "dev"), node, place[1], route.dev)
    for table, lines in node.tables.items():
        for index, line in enumerate(lines):
            for hop in read_route(line).hops:
                if hop.dev:
                    _interface((*place, "tables", table, index), node, place[1], hop.dev)


def _families(place: KeyPath, index: int, to: str, via: tuple[str, ...]) -> None:
    versions = {ipaddress.ip_address(address).version for address in via}
    if to != "default":
        versions.add(ipaddress.ip_network(to).version)
    if len(versions) > 1:
        raise Problem(
            (*place, "routes", index),
            f"{to} and {', '.join(via)} are of different IP versions: use one of them",
        )


def _tables(place: KeyPath, node: NodeSpec) -> None:
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


def _rules(place: KeyPath, node: NodeSpec) -> None:
    known = list(dict.fromkeys([*node.tables, MAIN, DEFAULT]))
    for index, text in enumerate(node.rules):
        path: KeyPath = (*place, "rules", index)
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


def _interface(path: KeyPath, node: NodeSpec, name: str | int, interface: str) -> None:
    known = list(node.interfaces)
    if interface not in known:
        raise Problem(path, f"{name!r} has no interface {interface!r}; {did_you_mean(interface, known)}")
