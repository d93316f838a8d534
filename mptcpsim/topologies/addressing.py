"""Addresses for networks that have none: the same ones for the same graph, whatever else is in it."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from mptcpsim.topologies.plan import TopologyError

DEFAULT_POOL: Final = "10.0.0.0/8"


class AddressPool:
    """Blocks of a range of IPv4 addresses, handed out from its beginning, taken ones left out."""

    def __init__(self, first: int, end: int, name: str, taken: Iterable[tuple[int, int]]) -> None:
        """Take a range.

        Args:
            first: its first address, as a number.
            end: the one behind its last address.
            name: of the whole pool, for messages.
            taken: blocks that are not to be used, (first, end) each.
        """
        self._next = first
        self._end = end
        self._name = name
        self._taken = _merged(taken)
        self._starts = [start for start, _ in self._taken]

    def block(self, size: int) -> ipaddress.IPv4Network:
        """Return the next free block of ``size`` addresses, a power of two.

        Raises:
            TopologyError: the pool is used up.
        """
        at = self._next
        while True:
            at = -(-at // size) * size
            place = bisect_right(self._starts, at + size - 1) - 1
            if place < 0 or self._taken[place][1] <= at:
                break
            at = self._taken[place][1]
        if at + size > self._end:
            raise TopologyError(f"{self._name} has too few addresses for the links; give a larger prefix")
        self._next = at + size
        return ipaddress.IPv4Network((at, 33 - size.bit_length()))


def _merged(blocks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(blocks):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


class Addressing:
    """Networks for links: with hosts from the first half of a prefix, between routers from the second.

    A link between two nodes gets a /31 (RFC 3021), what several ends share behind switches the
    smallest network that holds them. They are handed out in the order of the links, so what is
    written further down in a file does not change the addresses above it.
    """

    def __init__(self, prefix: str = DEFAULT_POOL, explicit: Iterable[str] = ()) -> None:
        """Begin.

        Args:
            prefix: the IPv4 network to use.
            explicit: addresses that others have, with their prefix lengths; their networks stay free.

        Raises:
            ValueError: the prefix is no IPv4 network.
        """
        network = ipaddress.IPv4Network(prefix)
        first, count = int(network.network_address), network.num_addresses
        taken = []
        for text in explicit:
            own = ipaddress.ip_interface(text).network
            if isinstance(own, ipaddress.IPv4Network):
                taken.append((int(own.network_address), int(own.broadcast_address) + 1))
        middle = first + (count + 1) // 2
        self._with_hosts = AddressPool(first, middle, prefix, taken)
        self._between_routers = AddressPool(middle, first + count, prefix, taken)

    def network(self, ends: int, with_host: bool, shared: bool) -> list[str]:
        """Return an address with its prefix length for each of the ends of a new network."""
        pool = self._with_hosts if with_host else self._between_routers
        if not shared:
            block = pool.block(2)
            return [f"{address}/31" for address in block]
        size = 4
        while size < ends + 2:
            size *= 2
        block = pool.block(size)
        return [f"{block[index + 1]}/{block.prefixlen}" for index in range(ends)]


def fill(network: str, used: Iterable[str], count: int) -> list[str]:
    """Return ``count`` free addresses, with prefix length, of the network that an address is in.

    Raises:
        TopologyError: there are too few.
    """
    block = ipaddress.ip_interface(network).network
    taken = {ipaddress.ip_interface(text).ip for text in used}
    found: list[str] = []
    for host in block.hosts():
        if len(found) == count:
            break
        if host not in taken:
            found.append(f"{host}/{block.prefixlen}")
    if len(found) < count:
        raise TopologyError(f"{block} has too few addresses for the other ends; write a larger network")
    return found
