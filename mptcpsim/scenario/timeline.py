"""The timeline: what changes while a simulation runs.

An event does what the command of the same name does to a Linux host, and what its administrator would do
next: docs/timeline.md. Computed routes are not computed again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface
from mptcpsim.net.routing import Route, RoutingTable, canonical_prefixes, route_group
from mptcpsim.net.rules import within
from mptcpsim.scenario.events import (
    AddAddressEvent,
    AnyEvent,
    ApplicationEvent,
    InterfaceEvent,
    LinkEvent,
    RemoveAddressEvent,
    RouteEvent,
    SetEvent,
)
from mptcpsim.scenario.ip_words import RouteWords
from mptcpsim.scenario.link_values import random_loss_values
from mptcpsim.scenario.pipes import counted_loss
from mptcpsim.scenario.simulation import Simulation


class _Gone(NamedTuple):
    """A route that went with an interface, the table that it was in, and what is left of it there."""

    table: RoutingTable
    route: Route
    rest: Route | None


class Timeline:
    """What events have done so far, as far as later ones must know it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._links = {
            interface: link for link in simulation.topology.links.values() for interface in (link.a, link.b)
        }
        #: Directions of links that an event has taken down.
        self._down: set[tuple[Link, str]] = set()
        #: By interface: routes that went with it, and addresses that were removed when it went down.
        self._routes: dict[Interface, list[_Gone]] = {}
        self._addresses: dict[Interface, list[str]] = {}

    def run(self) -> Generator[Any, Any, None]:
        """Do what the scenario's events say, those of one instant in the order of the file."""
        env = self._simulation.env
        for event in sorted(self._simulation.scenario.events, key=lambda event: event.at):
            if event.at > env.now:
                yield env.timeout(event.at - env.now)
            self.apply(event)

    def apply(self, event: AnyEvent) -> bool:
        """Do what one event says, now; return whether there was something to do."""
        simulation = self._simulation
        if isinstance(event, LinkEvent):
            return self._switch_link(simulation.topology.links[event.link], event)
        if isinstance(event, SetEvent):
            set_link(simulation.topology.links[event.link], event)
        elif isinstance(event, InterfaceEvent):
            interface = simulation.interface(event.interface)
            if event.action == "interface-up":
                return self._interface_up(interface)
            return self._interface_down(interface, event.addresses == "remove")
        elif isinstance(event, AddAddressEvent):
            self._add_address(simulation.interface(event.interface), event.address)
        elif isinstance(event, RemoveAddressEvent):
            self._remove_address(simulation.interface(event.interface), event.address)
        elif isinstance(event, RouteEvent):
            return self._change_route(event)
        else:
            assert isinstance(event, ApplicationEvent)
            flow = next(flow for flow in simulation.flows if flow.name == event.flow)
            return flow.pause(event.side, event.action == "pause")
        return True

    # --- Links and interfaces -----------------------------------------------------------------

    def _switch_link(self, link: Link, event: LinkEvent) -> bool:
        directions = ("forward", "backward") if event.direction == "both" else (event.direction,)
        before = set(self._down)
        for direction in directions:
            (self._down.discard if event.action == "up" else self._down.add)((link, direction))
        self._carry(link)
        return self._down != before

    def _carry(self, link: Link) -> None:
        """A link carries what its own events and the interfaces at its ends let it."""
        ends_up = link.a.up and link.b.up
        for direction in ("forward", "backward"):
            link.set_up(ends_up and (link, direction) not in self._down, direction)

    def _interface_down(self, interface: Interface, remove: bool) -> bool:
        if not interface.up:
            return False
        interface.set_up(False)
        self._carry(self._links[interface])
        self._flush(interface, lambda route: True)
        if remove:
            there = [f"{entry.address}/{entry.prefix_length}" for entry in interface.addresses]
            self._addresses[interface] = there
            interface.remove_address(*there)
        return True

    def _interface_up(self, interface: Interface) -> bool:
        if interface.up:
            return False
        interface.set_up(True)
        self._carry(self._links[interface])
        for entry in interface.addresses:
            self._connect(interface, entry.prefix)
        for address in self._addresses.pop(interface, ()):
            self._add_address(interface, address)
        self._restore(interface, "")
        return True

    # --- Addresses ----------------------------------------------------------------------------

    def _add_address(self, interface: Interface, text: str) -> None:
        if text.partition("/")[0] in interface.node.addresses:
            return  # commands of the node have given it that address
        prefix = str(ipaddress.ip_interface(text).network)
        if interface.up:
            # Before the path manager opens a subflow from it.
            self._connect(interface, prefix)
            self._restore(interface, prefix)
        interface.add_address(text)

    def _remove_address(self, interface: Interface, address: str) -> None:
        gone = next((entry for entry in interface.addresses if entry.address == address), None)
        if gone is None:
            return  # commands of the node, which the check does not follow, have not given it that address
        interface.remove_address(address)
        ipv6 = ":" in address
        last = not interface.primary_address(ipv6)
        alone = all(entry.prefix != gone.prefix for entry in interface.addresses)
        self._flush(
            interface,
            lambda route: (
                (last and (":" in route.prefix) == ipv6)
                or (alone and route.prefix == gone.prefix and not route.gateway)
                or route.source == address
            ),
        )

    # --- Routes -------------------------------------------------------------------------------

    def _change_route(self, event: RouteEvent) -> bool:
        node = self._simulation.topology.nodes[event.node]
        assert isinstance(node, IpNode)
        table = node.add_table(event.table)
        if event.action == "delete-route":
            return _delete(table, event.words)
        words = event.words
        hops = []
        for hop in words.hops:
            interfaces = node.interfaces.values()
            name = hop.dev or next((i.name for i in interfaces if i.up and i.on_link(hop.via)), "")
            if not name:
                return False  # commands of the node have taken the address in that network away
            hops.append((node.interfaces[name], hop.via))
        prefixes = canonical_prefixes(words.prefix, hops[0][1])
        if any(route.prefix in prefixes and route.metric == words.metric for route in table.routes()):
            return False
        if len(hops) == 1:
            table.add(words.prefix, *hops[0], words.metric, words.source)
        else:
            table.add_group(words.prefix, hops, words.metric, words.source)
        return True

    def _connect(self, interface: Interface, prefix: str) -> None:
        """Add the route to a network of an interface, where the scenario wants such routes."""
        node = interface.node
        if self._simulation.scenario.nodes[node.name].connected_routes:
            assert isinstance(node, IpNode)
            node.routes.add(prefix, interface)

    def _flush(self, interface: Interface, concerns: Callable[[Route], bool]) -> None:
        """Remove routes by an interface from all tables, and remember them."""
        node = interface.node
        assert isinstance(node, IpNode)
        gone = self._routes.setdefault(interface, [])
        for table in node.tables.values():
            for route in table.routes():
                hops = _hops(route)
                others = [hop for hop in hops if hop[0] is not interface]
                if len(others) == len(hops) or not concerns(route):
                    continue
                table.discard(route)
                rest = route_group(route.prefix, others, route.metric, route.source) if others else None
                if rest is not None:
                    table.put(rest)
                gone.append(_Gone(table, route, rest))

    def _restore(self, interface: Interface, prefix: str) -> None:
        """Add routes again that went with an interface: all of them, or those over gateways of a network."""
        kept: list[_Gone] = []
        for gone in self._routes.pop(interface, ()):
            route = gone.route
            gateways = [gateway for out, gateway in _hops(route) if out is interface]
            if prefix and not all(within(prefix, gateway) for gateway in gateways):
                kept.append(gone)
                continue
            if gone.rest is not None:
                gone.table.discard(gone.rest)
            up = [hop for hop in _hops(route) if hop[0].up]
            gone.table.put(route_group(route.prefix, up, route.metric, route.source))
        if kept:
            self._routes[interface] = kept


def _hops(route: Route) -> list[tuple[Interface, str]]:
    return [(one.interface, one.gateway) for one in route.group or (route,)]


def _delete(table: RoutingTable, words: RouteWords) -> bool:
    """Remove the best route that has all that is said of it; return whether there is one.

    As ``fib_table_delete`` and ``fib_nh_match`` of Linux do: what is not said may be anything, and of a route
    with several next hops the first one counts, unless several are named.
    """
    found = False
    for prefix in canonical_prefixes(words.prefix, words.hops[0].via if words.hops else ""):
        for route in table.routes():
            if route.prefix == prefix and _fits(route, words):
                table.discard(route)
                found = True
                break
    return found


def _fits(route: Route, words: RouteWords) -> bool:
    hops = _hops(route)
    return (
        words.metric in (0, route.metric)
        and words.source in ("", route.source)
        and (len(words.hops) < 2 or len(words.hops) == len(hops))
        and all(
            wanted.dev in ("", interface.name) and wanted.via in ("", gateway)
            for wanted, (interface, gateway) in zip(words.hops, hops, strict=False)
        )
    )


def set_link(link: Link, event: SetEvent) -> None:
    """Make another link of a link."""
    direction = event.direction
    if event.rate is not None:
        link.set_rate(event.rate, direction, event.in_service == "new-rate")
    if event.delay is not None:
        link.set_delay(event.delay, direction)
    if event.queue is not None:
        for pipe in link.pipes(direction):
            pipe.set_limit(event.queue.slots or event.queue.size, not event.queue.slots)
    if event.loss is not None:
        for pipe in link.pipes(direction):
            model = counted_loss(event.loss)
            if model is not None:
                pipe.set_loss(model)
        if counted_loss(event.loss) is None:
            link.set_loss(random_loss_values(event.loss), direction)
