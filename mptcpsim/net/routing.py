"""Routing tables: the longest prefix wins, for IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.segment import is_ipv6

if TYPE_CHECKING:
    from mptcpsim.net.node import Interface

#: What a default route stands for.
DEFAULT_IPV4: Final = "0.0.0.0/0"
DEFAULT_IPV6: Final = "::/0"


class Route:
    """Where packets to a prefix go.

    Attributes:
        prefix: in canonical text form.
        interface: by which the packets leave.
        gateway: address of the next router; empty when the destination is on the link itself.
        metric: among routes to one prefix the lowest wins, then the oldest.
    """

    __slots__ = ("gateway", "interface", "metric", "prefix")

    def __init__(self, prefix: str, interface: Interface, gateway: str, metric: int) -> None:
        self.prefix = prefix
        self.interface = interface
        self.gateway = gateway
        self.metric = metric


def canonical_prefixes(prefix: str, gateway: str = "") -> list[str]:
    """Return a prefix in canonical text form: an address alone is a host's, ``default`` is everything.

    ``default`` is of the gateway's family; without a gateway it stands for both.

    Raises:
        ValueError: the text is no prefix.
    """
    if prefix == "default":
        if gateway:
            return [DEFAULT_IPV6 if is_ipv6(gateway) else DEFAULT_IPV4]
        return [DEFAULT_IPV4, DEFAULT_IPV6]
    return [str(ipaddress.ip_network(prefix, strict=False))]


@mypyc_attr(allow_interpreted_subclasses=True)
class RoutingTable:
    """Routes by prefix, and the best one for an address.

    Attributes:
        version: grows with each change.
        on_change: called after each change, if set; a node drops its cached decisions then.
    """

    __slots__ = ("_found", "_routes", "on_change", "version")

    def __init__(self) -> None:
        self.version: int = 0
        self.on_change: Callable[[], None] | None = None
        #: Per family (4, 6) and prefix length: routes by network number, best first.
        self._routes: dict[int, dict[int, dict[int, list[Route]]]] = {4: {}, 6: {}}
        #: Answers since the last change.
        self._found: dict[str, Route | None] = {}

    def add(self, prefix: str, interface: Interface, gateway: str = "", metric: int = 0) -> None:
        """Add a route; ``prefix`` is CIDR text, an address or ``default``.

        A route that is there already, gateway and interface included, is replaced.

        Raises:
            ValueError: prefix or gateway cannot be read.
        """
        if gateway:
            gateway = str(ipaddress.ip_address(gateway))
        for text in canonical_prefixes(prefix, gateway):
            same = self._same_prefix(text, create=True)
            same[:] = [r for r in same if (r.interface, r.gateway, r.metric) != (interface, gateway, metric)]
            same.append(Route(text, interface, gateway, metric))
            same.sort(key=_metric)
        self._changed()

    def remove(self, prefix: str, interface: Interface | None = None) -> int:
        """Remove the routes to a prefix, all or those out of one interface; return how many.

        Raises:
            ValueError: the prefix cannot be read.
        """
        removed = 0
        for text in canonical_prefixes(prefix):
            same = self._same_prefix(text, create=False)
            kept = [r for r in same if interface is not None and r.interface is not interface]
            removed += len(same) - len(kept)
            same[:] = kept
        if removed:
            self._changed()
        return removed

    def remove_metric(self, metric: int) -> None:
        """Remove all routes with a metric."""
        for lengths in self._routes.values():
            for networks in lengths.values():
                for same in networks.values():
                    same[:] = [route for route in same if route.metric != metric]
        self._changed()

    def lookup(self, address: str) -> Route | None:
        """Return the best route to an address in canonical text form, or None."""
        if address in self._found:
            return self._found[address]
        route = self._search(address)
        self._found[address] = route
        return route

    def routes(self) -> list[Route]:
        """Return all routes: IPv4 before IPv6, longer prefixes first, then by network number."""
        return [
            route
            for family in (4, 6)
            for length in sorted(self._routes[family], reverse=True)
            for network in sorted(self._routes[family][length])
            for route in self._routes[family][length][network]
        ]

    def _search(self, address: str) -> Route | None:
        parsed = ipaddress.ip_address(address)
        bits = parsed.max_prefixlen
        number = int(parsed)
        lengths = self._routes[parsed.version]
        for length in sorted(lengths, reverse=True):
            shift = bits - length
            same = lengths[length].get((number >> shift) << shift)
            if same:
                return same[0]
        return None

    def _same_prefix(self, prefix: str, create: bool) -> list[Route]:
        """Return the routes to a prefix, the list itself if there is one or it is to be created."""
        network = ipaddress.ip_network(prefix)
        lengths = self._routes[network.version]
        number = int(network.network_address)
        if create:
            return lengths.setdefault(network.prefixlen, {}).setdefault(number, [])
        return lengths.get(network.prefixlen, {}).get(number, [])

    def _changed(self) -> None:
        self.version += 1
        self._found.clear()
        if self.on_change is not None:
            self.on_change()


def _metric(route: Route) -> int:
    return route.metric
