"""The timeline: whether what events name is there, in the order of time."""

from __future__ import annotations

import ipaddress

from mptcpsim.net.rules import within
from mptcpsim.scenario.errors import KeyPath, Problem
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
from mptcpsim.scenario.routes import Port, split_end
from mptcpsim.scenario.schema import Scenario
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import format_time


def check_events(scenario: Scenario) -> None:
    """Judge the events of a scenario.

    Raises:
        Problem: the first mistake found.
    """
    later = _Addresses(scenario)
    for index, event in sorted(enumerate(scenario.events), key=lambda entry: entry[1].at):
        place: KeyPath = ("events", index)
        if isinstance(event, LinkEvent | SetEvent):
            _link(scenario, place, event)
        elif isinstance(event, InterfaceEvent | AddAddressEvent | RemoveAddressEvent):
            _interface(scenario, place, event.interface)
            later.apply(place, event)
        elif isinstance(event, RouteEvent):
            _route(scenario, place, event, later)
        elif isinstance(event, ApplicationEvent):
            names = [flow.name for flow in scenario.flows]
            if event.flow not in names:
                raise Problem(
                    (*place, "flow"), f"no flow is called {event.flow!r}; {did_you_mean(event.flow, names)}"
                )


def added_addresses(scenario: Scenario, node: str) -> list[str]:
    """Return the addresses that events give to a node, without prefix lengths."""
    return [
        event.address.partition("/")[0]
        for event in scenario.events
        if isinstance(event, AddAddressEvent) and event.interface.partition(":")[0] == node
    ]


def _link(scenario: Scenario, place: KeyPath, event: LinkEvent | SetEvent) -> None:
    names = [link.name for link in scenario.links]
    if event.link not in names:
        raise Problem(
            (*place, "link"), f"no link is called {event.link!r}; {did_you_mean(event.link, names)}"
        )
    if not isinstance(event, SetEvent) or event.queue is None:
        return
    link = scenario.links[names.index(event.link)]
    for forward in (True, False):
        before = link.direction(forward).queue
        concerned = event.direction == "both" or forward == (event.direction == "forward")
        if concerned and before is not None and bool(before.slots) != bool(event.queue.slots):
            unit = "packets, such as 50" if before.slots else 'bytes, such as "64KiB"'
            raise Problem((*place, "queue"), f"the queue of {event.link!r} is in {unit}: keep to that")


def _interface(scenario: Scenario, place: KeyPath, end: str) -> Port:
    port = split_end(end)
    assert isinstance(port, Port)
    nodes = scenario.nodes
    if port.node not in nodes:
        what = "a switch has no named interfaces" if port.node in scenario.switches else "no such node"
        raise Problem((*place, "interface"), f"{port.node!r}: {what}; {did_you_mean(port.node, list(nodes))}")
    known = list(nodes[port.node].interfaces)
    if port.interface not in known:
        raise Problem(
            (*place, "interface"),
            f"{port.node!r} has no interface {port.interface!r}; {did_you_mean(port.interface, known)}",
        )
    return port


def _route(scenario: Scenario, place: KeyPath, event: RouteEvent, later: _Addresses) -> None:
    nodes = scenario.nodes
    if event.node not in nodes:
        raise Problem(
            (*place, "node"),
            f"no host or router is called {event.node!r}; {did_you_mean(event.node, list(nodes))}",
        )
    node = nodes[event.node]
    tables = ["main", *node.tables]
    if event.table not in tables:
        raise Problem(
            (*place, "table"),
            f"{event.node!r} has no table {event.table!r}; {did_you_mean(event.table, tables)}",
        )
    for hop in event.words.hops:
        if hop.dev and hop.dev not in node.interfaces:
            known = list(node.interfaces)
            raise Problem(
                (*place, "route"),
                f"{event.node!r} has no interface {hop.dev!r}; {did_you_mean(hop.dev, known)}",
            )
        if not hop.dev and not later.reaches(event.node, hop.via):
            raise Problem(
                (*place, "route"),
                f"the gateway {hop.via} is in no network of {event.node!r} at {format_time(event.at)}: "
                "use an address of one of them, or name the interface (dev)",
            )


class _Addresses:
    """Who has which address, as far as the events have got."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        #: The interface that has an address, and the address with its prefix length.
        self._owners: dict[str, tuple[str, str]] = {}
        #: Addresses that an interface has lost because it went down.
        self._stored: dict[str, list[str]] = {}
        self._down: set[str] = set()
        for name, node in scenario.nodes.items():
            for interface, spec in node.interfaces.items():
                end = f"{name}:{interface}"
                if not spec.up:
                    self._down.add(end)
                for text in spec.addresses:
                    self._owners[text.partition("/")[0]] = end, text

    def reaches(self, node: str, gateway: str) -> bool:
        """Return whether a gateway is in a network of an interface that is up."""
        return any(
            within(str(ipaddress.ip_interface(text).network), gateway)
            for end, text in self._owners.values()
            if end.partition(":")[0] == node and end not in self._down
        )

    def apply(self, place: KeyPath, event: AnyEvent) -> None:
        """Do what an event says.

        Raises:
            Problem: an address is taken already, or not there.
        """
        if isinstance(event, AddAddressEvent):
            self._add(place, "address", event.interface, event.address)
        elif isinstance(event, RemoveAddressEvent):
            self._remove(place, event)
        elif isinstance(event, InterfaceEvent) and event.action == "interface-up":
            self._down.discard(event.interface)
            for text in self._stored.pop(event.interface, ()):
                self._add(place, "interface", event.interface, text)
        elif isinstance(event, InterfaceEvent):
            self._down.add(event.interface)
            if event.addresses == "remove":
                lost = [text for end, text in self._owners.values() if end == event.interface]
                self._stored.setdefault(event.interface, []).extend(lost)
                for text in lost:
                    del self._owners[text.partition("/")[0]]

    def _add(self, place: KeyPath, key: str, end: str, text: str) -> None:
        address = text.partition("/")[0]
        if address in self._owners:
            raise Problem(
                (*place, key),
                f"the address {address} belongs to {self._owners[address][0]} then: remove it there first",
            )
        self._owners[address] = end, text

    def _texts(self, end: str) -> list[str]:
        return [text for owner, text in self._owners.values() if owner == end]

    def _remove(self, place: KeyPath, event: RemoveAddressEvent) -> None:
        owner = self._owners.get(event.address)
        if owner is None or owner[0] != event.interface:
            node = self._scenario.nodes[event.interface.partition(":")[0]]
            if node.changes:
                return  # its own commands may give it one
            known = [text.partition("/")[0] for text in self._texts(event.interface)]
            raise Problem(
                (*place, "address"),
                f"{event.interface} does not have {event.address} then; {did_you_mean(event.address, known)}",
            )
        del self._owners[event.address]
