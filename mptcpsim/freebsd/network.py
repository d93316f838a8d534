"""ifconfig(8) and route(8): addresses, interfaces and the one routing table of a node.

As FreeBSD has it, an address brings the route to its network, and takes with it what it has brought
and the routes over gateways of that network; a table has one route to a destination; a gateway is found
by the addresses of the interfaces, whatever the table says. Messages are the system's.
"""

from __future__ import annotations

from typing import NamedTuple

from mptcpsim.freebsd.addresses import version_of
from mptcpsim.freebsd.ip_commands import IfconfigCommand, RouteCommand
from mptcpsim.freebsd.lines import Line
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.node import Interface


class StaticRoute(NamedTuple):
    """A route that was typed.

    Attributes:
        at: the line.
        prefix: in canonical text form.
        gateway: the next hop; empty: the destination is on the link.
        interface: the scenario's name.
    """

    at: Line
    prefix: str
    gateway: str
    interface: str


class NetworkCommands:
    """What ifconfig and route change at a node.

    Attributes:
        node: whose they are.
        names: of its interfaces.
        changed: the last line of ifconfig about each interface.
        typed: routes that were typed and are there.
        deleted: lines that deleted a route, by its prefix.
        down: interfaces that are down.
        mtus: of interfaces for which one was typed.
    """

    def __init__(self, node: IpNode, names: InterfaceNames) -> None:
        self.node = node
        self.names = names
        self.changed: dict[str, Line] = {}
        self.typed: list[StaticRoute] = []
        self.deleted: dict[str, Line] = {}
        self.down: set[str] = {name for name, interface in node.interfaces.items() if not interface.up}
        self.mtus: dict[str, int] = {}

    # --- ifconfig ---

    def ifconfig(self, command: IfconfigCommand) -> None:
        """Change an interface.

        Raises:
            DialectError: there is no such interface, or the address cannot be had or deleted.
        """
        at = command.at
        name = self.names.interface(at, command.interface)
        interface = self.node.interfaces[name]
        self.changed[name] = at
        if command.mtu:
            interface.set_mtu(command.mtu)
            self.mtus[name] = command.mtu
        if command.action == "delete":
            if command.address not in [entry.address for entry in interface.addresses]:
                raise at.error(
                    f"{command.interface} does not have the address {command.address} (Can't assign "
                    "requested address): delete one that it has"
                )
            self._remove(interface, command.address)
        elif command.action:
            self._add(interface, command)
        if command.up is not None or command.action in ("set", "alias"):
            self._switch(interface, command.up is not False)

    def _add(self, interface: Interface, command: IfconfigCommand) -> None:
        owner = self.node.addresses.get(command.address)
        if owner is not None and owner is not interface:
            raise command.at.error(
                f"{command.address} is an address of {self.names.system_of(owner.name)} (File exists): "
                "delete it there first"
            )
        if owner is not None:
            self._remove(interface, command.address)
        elif command.action == "set":
            first = interface.primary_address(version_of(command.address) == 6)
            if first:
                self._remove(interface, first)
        interface.add_address(f"{command.address}/{command.length}")
        if interface.name not in self.down:
            self._connect(interface, interface.addresses[-1].prefix)

    def _remove(self, interface: Interface, address: str) -> None:
        entry = next(entry for entry in interface.addresses if entry.address == address)
        interface.remove_address(address)
        left = {other.prefix for other in interface.addresses}
        if entry.prefix not in left:
            self.node.routes.remove(entry.prefix, interface)
        for route in self.node.routes.routes():
            if route.gateway and route.interface is interface and not interface.on_link(route.gateway):
                self.node.routes.remove(route.prefix, interface)
        self._forget()

    def _switch(self, interface: Interface, up: bool) -> None:
        """Set an interface up or down: the routes to its networks come and go with it."""
        if up == (interface.name not in self.down):
            return
        interface.set_up(up)
        prefixes = {entry.prefix for entry in interface.addresses}
        if up:
            self.down.discard(interface.name)
            for prefix in sorted(prefixes):
                self._connect(interface, prefix)
        else:
            self.down.add(interface.name)
            for prefix in sorted(prefixes):
                self.node.routes.remove(prefix, interface)

    def _connect(self, interface: Interface, prefix: str) -> None:
        self.node.routes.add(prefix, interface)
        self.deleted.pop(prefix, None)

    # --- route ---

    def route(self, command: RouteCommand) -> None:
        """Add or delete a route.

        Raises:
            DialectError: what the system would refuse.
        """
        prefix = str(command.destination)
        if command.destination.bare:
            prefix += f"/{command.destination.bits}"
        if command.action == "delete":
            self._delete(command, prefix)
        else:
            self._add_route(command, prefix)

    def _add_route(self, command: RouteCommand, prefix: str) -> None:
        at = command.at
        there = [route for route in self.node.routes.routes() if route.prefix == prefix]
        if there:
            by = f"by {there[0].gateway} " if there[0].gateway else ""
            raise at.error(
                f"route already in table: {prefix} {by}on {self.names.system_of(there[0].interface.name)}; "
                "delete it first"
            )
        if command.interface:
            interface = self.node.interfaces[self.names.interface(at, command.interface)]
        else:
            interface = self._towards(command)
        self.node.routes.add(prefix, interface, command.gateway)
        self.deleted.pop(prefix, None)
        self.typed.append(StaticRoute(at, prefix, command.gateway, interface.name))

    def _towards(self, command: RouteCommand) -> Interface:
        """Return the interface in whose network a gateway is."""
        gateway = command.gateway
        if gateway in self.node.addresses:
            raise command.at.error(
                f"the gateway {gateway} is an address of this node: write that of the next router, or "
                "-interface and a name"
            )
        for interface in self.node.interfaces.values():
            if interface.name not in self.down and interface.on_link(gateway):
                return interface
        route = self.node.routes.lookup(gateway)
        if route is None or route.gateway:
            networks = sorted(entry.prefix for i in self.node.interfaces.values() for entry in i.addresses)
            raise command.at.error(
                f"Network is unreachable: the gateway {gateway} is in no connected network "
                f"({', '.join(networks) or 'there is none'}); write one that is"
            )
        return route.interface

    def _delete(self, command: RouteCommand, prefix: str) -> None:
        there = [route for route in self.node.routes.routes() if route.prefix == prefix]
        if command.gateway:
            there = [route for route in there if route.gateway == command.gateway]
        if command.interface:
            name = self.names.interface(command.at, command.interface)
            there = [route for route in there if route.interface.name == name]
        if not there:
            raise command.at.error(f"not in table: {command.destination}; delete a route that is there")
        self.node.routes.remove(prefix)
        self.deleted[prefix] = command.at
        self._forget()

    def _forget(self) -> None:
        """Keep of the routes that were typed those that are still there."""
        there = {(route.prefix, route.gateway, route.interface.name) for route in self.node.routes.routes()}
        self.typed = [r for r in self.typed if (r.prefix, r.gateway, r.interface) in there]
