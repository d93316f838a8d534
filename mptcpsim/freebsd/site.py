"""What words of firewalls stand for at a host: interfaces, their addresses, ways back, files."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Final, NamedTuple

from mptcpsim.freebsd.names import LOOPBACK, InterfaceNames
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.routing import DEFAULT_IPV4, DEFAULT_IPV6

#: OpenBSD's group of the interfaces that default routes lead out of.
EGRESS: Final = "egress"


class Own(NamedTuple):
    """An address of an interface, and the length of its prefix."""

    address: str
    length: int

    @property
    def network(self) -> str:
        """The network, as ADDRESS/LENGTH."""
        return str(ip_interface(f"{self.address}/{self.length}").network)

    def has(self, address: str) -> bool:
        """Return whether an address is in the network."""
        return ip_address(address) in ip_interface(f"{self.address}/{self.length}").network

    @property
    def broadcast(self) -> str:
        """The broadcast address."""
        return str(ip_interface(f"{self.address}/{self.length}").network.broadcast_address)


_LOOPBACK_ADDRESSES: Final = (Own("127.0.0.1", 8), Own("::1", 128))


class Site:
    """The node that rules are loaded at; interfaces by the system's names.

    Without a node there are no interfaces: what a text says can be read all the same.

    Attributes:
        files: text by name.
        settled: addresses are what they will be; before that, what names an interface follows it.
    """

    def __init__(
        self,
        node: IpNode | None = None,
        names: InterfaceNames | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.node = node
        self.names = names or InterfaceNames(())
        self.files = {} if files is None else files
        self.settled = True
        #: Before that, a text has named an interface.
        self.deferred = False

    def interfaces(self, word: str) -> tuple[str, ...]:
        """Return the interfaces that a word means: one by either name, a driver's (``em``), or egress."""
        known = self.names.system_names()
        found = [name for name in known if word in (name, self.names.scenario_of(name))]
        if not found:
            found = [name for name in known if word == name.rstrip("0123456789")]
        if not found and word in (LOOPBACK, LOOPBACK.rstrip("0123456789")):
            found = [LOOPBACK]
        if not found and word == EGRESS and self.node is not None:
            routes = [r for r in self.node.routes.routes() if r.prefix in (DEFAULT_IPV4, DEFAULT_IPV6)]
            found = [self.names.system_of(route.interface.name) for route in routes]
        return tuple(dict.fromkeys(found))

    def addresses(self, interface: str) -> list[Own]:
        """Return the addresses of an interface."""
        if interface == LOOPBACK:
            return list(_LOOPBACK_ADDRESSES)
        if self.node is None:
            return []
        entries = self.node.interfaces[self.names.scenario_of(interface)].addresses
        return [Own(entry.address, entry.prefix_length) for entry in entries]

    def all_addresses(self) -> list[Own]:
        """Return the addresses of all interfaces, the loopback's included."""
        return [own for name in (*self.names.system_names(), LOOPBACK) for own in self.addresses(name)]

    def way_to(self, address: str) -> str:
        """Return the interface that a route to an address leads out of; empty: there is none."""
        if self.node is None:
            return ""
        route = self.node.routes.lookup(address)
        return "" if route is None else self.names.system_of(route.interface.name)
