"""Routing tables: the longest prefix wins, for IPv4 and IPv6; several equal routes by the flow's hash."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.segment import FourTuple, is_ipv6
from mptcpsim.net.node import Interface

#: What a default route stands for.
DEFAULT_IPV4: Final = "0.0.0.0/0"
DEFAULT_IPV6: Final = "::/0"

#: Name of the table of a node that has no other one.
MAIN: Final = "main"


class Route:
    """Where packets to a prefix go.

    Attributes:
        prefix: in canonical text form.
        interface: by which the packets leave.
        gateway: address of the next router; empty when the destination is on the link itself.
        metric: among routes to one prefix the lowest wins, then the oldest.
        source: the node's own address for packets of its own by this route; empty: the interface's.
        group: of a route with several next hops (RFC 2992) the routes to choose from, one of
            them for each flow; interface and gateway are those of the first. Else empty.
    """

    __slots__ = ("gateway", "group", "interface", "metric", "prefix", "source")

    def __init__(
        self, prefix: str, interface: Interface, gateway: str, metric: int, source: str = ""
    ) -> None:
        self.prefix = prefix
        self.interface = interface
        self.gateway = gateway
        self.metric = metric
        self.source = source
        self.group: tuple[Route, ...] = ()

    @property
    def length(self) -> int:
        """Length of the prefix."""
        return int(self.prefix.rpartition("/")[2])

    def for_flow(self, flow: FourTuple, seed: int) -> Route:
        """Return the route itself, or the one of its group that a flow takes.

        Hash-threshold of RFC 2992: the space of the hash is divided into regions of one size,
        so that few flows move when a next hop comes or goes.

        Args:
            flow: addresses and ports; everything here is TCP.
            seed: another one in each node, or the flows that met here would all go one way there.
        """
        group = self.group
        if not group:
            return self
        text = f"{flow.src} {flow.sport} {flow.dst} {flow.dport}".encode()
        key = (seed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
        digest = hashlib.blake2b(text, digest_size=4, key=key).digest()
        return group[int.from_bytes(digest, "big") * len(group) >> 32]

    def __str__(self) -> str:
        """Return the route in the words of ``ip route``."""
        default = self.prefix in (DEFAULT_IPV4, DEFAULT_IPV6)
        via = f" via {self.gateway}" if self.gateway else ""
        return f"{'default' if default else self.prefix}{via} dev {self.interface.name}"


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


@lru_cache(maxsize=1 << 14)
def prefix_number(prefix: str) -> tuple[int, int, int]:
    """Return IP version, length and network number of a prefix in canonical text form."""
    network = ipaddress.ip_network(prefix)
    return network.version, network.prefixlen, int(network.network_address)


@mypyc_attr(allow_interpreted_subclasses=True)
class RouteSource:
    """A source of routes that are computed on demand."""

    def find(self, address: str) -> Route | None:
        """Return the best route to an address in canonical text form, or None."""
        raise NotImplementedError

    def routes(self) -> list[Route]:
        """Return all routes."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class RoutingTable:
    """Routes by prefix, and the best one for an address.

    Attributes:
        name: as rules and explanations have it.
        version: grows with each change.
        on_change: called after each change, if set; a node drops its cached decisions then.
    """

    __slots__ = ("_computed", "_found", "_routes", "name", "on_change", "version")

    def __init__(self, name: str = MAIN) -> None:
        self.name = name
        self.version: int = 0
        self.on_change: Callable[[], None] | None = None
        #: Per family (4, 6) and prefix length: routes by network number, best first.
        self._routes: dict[int, dict[int, dict[int, list[Route]]]] = {4: {}, 6: {}}
        #: Answers since the last change.
        self._found: dict[str, Route | None] = {}
        self._computed: RouteSource | None = None

    def add(
        self, prefix: str, interface: Interface, gateway: str = "", metric: int = 0, source: str = ""
    ) -> None:
        """Add a route; ``prefix`` is CIDR text, an address or ``default``.

        A route that is there already, gateway and interface included, is replaced.

        Raises:
            ValueError: prefix or gateway cannot be read.
        """
        if gateway:
            gateway = str(ipaddress.ip_address(gateway))
        for text in canonical_prefixes(prefix, gateway):
            self._insert(Route(text, interface, gateway, metric, source))
        self._changed()

    def add_group(
        self, prefix: str, hops: Sequence[tuple[Interface, str]], metric: int = 0, source: str = ""
    ) -> None:
        """Add a route with several next hops, each an interface and a gateway (empty: on the link).

        Raises:
            ValueError: prefix or a gateway cannot be read, or there is no next hop.
        """
        if not hops:
            raise ValueError(f"a route to {prefix} needs a next hop")
        for text in canonical_prefixes(prefix, hops[0][1]):
            self._insert(route_group(text, hops, metric, source))
        self._changed()

    def remove(self, prefix: str, interface: Interface | None = None) -> int:
        """Remove the routes to a prefix, all or those out of one interface; return how many.

        Raises:
            ValueError: the prefix cannot be read.
        """
        texts = canonical_prefixes(prefix)
        self._keep_computed()
        removed = 0
        for text in texts:
            same = self._same_prefix(text, create=False)
            kept = [r for r in same if interface is not None and r.interface is not interface]
            removed += len(same) - len(kept)
            same[:] = kept
        if removed:
            self._changed()
        return removed

    def put(self, route: Route) -> None:
        """Add a route as it is."""
        self._insert(route)
        self._changed()

    def discard(self, route: Route) -> None:
        """Remove just this route, if it is there."""
        self._keep_computed()
        this = (route.interface, route.gateway, route.metric)
        same = self._same_prefix(route.prefix, create=False)
        same[:] = [r for r in same if (r.interface, r.gateway, r.metric) != this]
        self._changed()

    def compute(self, source: RouteSource | None, metric: int) -> None:
        """Take routes from a source, besides those of the table, instead of all routes with a metric."""
        self._computed = source
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
        if self._computed is not None:
            computed = self._computed.find(address)
            if computed is not None and (
                route is None or (-computed.length, computed.metric) < (-route.length, route.metric)
            ):
                route = computed
        self._found[address] = route
        return route

    def routes(self) -> list[Route]:
        """Return all routes: IPv4 before IPv6, longer prefixes first, then by network number."""
        routes = [
            route
            for lengths in self._routes.values()
            for networks in lengths.values()
            for same in networks.values()
            for route in same
        ]
        if self._computed is not None:
            routes += self._computed.routes()
        return sorted(routes, key=_order)

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

    def _keep_computed(self) -> None:
        """Make ordinary routes of those that would be computed."""
        if self._computed is not None:
            computed, self._computed = self._computed.routes(), None
            for route in computed:
                self._insert(route)

    def _insert(self, route: Route) -> None:
        same = self._same_prefix(route.prefix, create=True)
        this = (route.interface, route.gateway, route.metric)
        same[:] = [r for r in same if (r.interface, r.gateway, r.metric) != this]
        same.append(route)
        same.sort(key=_metric)

    def _same_prefix(self, prefix: str, create: bool) -> list[Route]:
        """Return the routes to a prefix, the list itself if there is one or it is to be created."""
        version, length, number = prefix_number(prefix)
        lengths = self._routes[version]
        if create:
            return lengths.setdefault(length, {}).setdefault(number, [])
        return lengths.get(length, {}).get(number, [])

    def _changed(self) -> None:
        self.version += 1
        self._found.clear()
        if self.on_change is not None:
            self.on_change()


def route_group(prefix: str, hops: Sequence[tuple[Interface, str]], metric: int, source: str = "") -> Route:
    """Return a route with the given next hops: an ordinary one if there is one only.

    Raises:
        ValueError: a gateway cannot be read.
    """
    canonical = [(out, str(ipaddress.ip_address(gateway)) if gateway else "") for out, gateway in hops]
    return group_of(prefix, canonical, metric, source)


def group_of(prefix: str, hops: Sequence[tuple[Interface, str]], metric: int, source: str = "") -> Route:
    """Return the same of gateways in canonical text form."""
    routes = [Route(prefix, interface, gateway, metric, source) for interface, gateway in hops]
    if len(routes) == 1:
        return routes[0]
    whole = Route(prefix, routes[0].interface, routes[0].gateway, metric, source)
    whole.group = tuple(routes)
    return whole


def _metric(route: Route) -> int:
    return route.metric


def _order(route: Route) -> tuple[int, int, int, int]:
    version, length, number = prefix_number(route.prefix)
    return version, -length, number, route.metric
