"""From a node's routes, tables and rules in the scenario to those of the node that runs."""

from __future__ import annotations

from collections.abc import Iterable

from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.routing import MAIN, RoutingTable
from mptcpsim.net.rules import Rule, RuleList
from mptcpsim.scenario.ip_words import read_rule
from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.routes import TableRoute, named_table, routing_table
from mptcpsim.sim.loop import Loop


def install_policy(node: IpNode, spec: NodeSpec) -> None:
    """Give a node the routes, tables and rules that the scenario states for it."""
    _fill(node, node.routes, routing_table(spec))
    for name in spec.tables:
        if name != MAIN:
            _fill(node, node.add_table(name), named_table(spec, name))
    if spec.rules:
        node.use_rules(rule_list(spec.rules))


def source_address(spec: NodeSpec, remote: str) -> str:
    """Return the address that a node takes by its tables and rules for packets to another; empty: none."""
    node = IpNode(Loop(), "")
    for name, interface in spec.interfaces.items():
        node.add_interface(name, interface.addresses)
    install_policy(node, spec)
    return node.source_for(remote)


def rule_list(texts: Iterable[str]) -> RuleList:
    """Return the rules that a node has when ``ip rule add`` was called with each text in turn.

    Raises:
        ValueError: a text cannot be read.
    """
    rules = RuleList()
    for text in texts:
        words = read_rule(text)
        priority = rules.next_priority() if words.priority is None else words.priority
        rules.add(Rule(priority, words.selector, words.table, words.refusal, words.suppress_length))
    return rules


def _fill(node: IpNode, table: RoutingTable, routes: Iterable[TableRoute]) -> None:
    for route in routes:
        hops = [(node.interfaces[way.interface], way.gateway or "") for way in route.ways]
        if len(hops) == 1:
            interface, gateway = hops[0]
            table.add(str(route.network), interface, gateway, route.metric, route.source)
        else:
            table.add_group(str(route.network), hops, route.metric, route.source)
