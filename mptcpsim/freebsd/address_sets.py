"""Sets of addresses that may change while rules stay: tables, addresses of interfaces, ways back."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from mptcpsim.freebsd.addresses import Prefix, number_of, version_of
from mptcpsim.freebsd.lines import NOWHERE, Line
from mptcpsim.freebsd.site import Own, Site


class AddressSet:
    """Addresses that a rule names by a word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether an address, of a packet that passes an interface, is one of them."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.word


class AddressRange(AddressSet):
    """``10.0.0.1 - 10.0.0.9``, both of them included."""

    def __init__(self, first: str, last: str) -> None:
        super().__init__(f"{first} - {last}")
        self._first, self._last = number_of(first), number_of(last)

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether an address lies between them."""
        return self._first <= number_of(address) <= self._last


class AddressTable(AddressSet):
    """A table of pf or ipfw: of the entries that contain an address the longest one counts.

    Attributes:
        name: of the table.
        at: where it is defined.
        constant: its entries stay as they are defined (``const``).
    """

    def __init__(self, name: str, at: Line = NOWHERE, constant: bool = False, word: str = "") -> None:
        super().__init__(word or f"<{name}>")
        self.name = name
        self.at = at
        self.constant = constant
        #: (version, mask) -> network -> whether addresses in it belong to the table.
        self._entries: dict[tuple[int, int], dict[int, bool]] = {}

    def add(self, prefix: Prefix, belongs: bool = True) -> None:
        """Add an entry; one of ``! 10.0.0.1`` says that the address does not belong to the table."""
        self._entries.setdefault((prefix.version, prefix.mask), {})[prefix.network] = belongs

    def add_address(self, address: str) -> None:
        """Add one address, in canonical text form."""
        version, number = number_of(address)
        self.add(Prefix(version, number, (1 << (128 if version == 6 else 32)) - 1))

    def remove(self, prefix: Prefix) -> bool:
        """Remove an entry, and return whether it was there."""
        return self._entries.get((prefix.version, prefix.mask), {}).pop(prefix.network, None) is not None

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    def replace(self, entries: Iterable[tuple[Prefix, bool]]) -> None:
        """Have these entries and no others."""
        self.clear()
        for prefix, belongs in entries:
            self.add(prefix, belongs)

    def entries(self) -> list[tuple[Prefix, bool]]:
        """Return what it has, the longest prefixes first."""
        return [
            (Prefix(version, network, mask), belongs)
            for (version, mask), found in sorted(self._entries.items(), key=lambda entry: -entry[0][1])
            for network, belongs in sorted(found.items())
        ]

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether the longest entry that contains an address says that it belongs here."""
        version, number = number_of(address)
        best, belongs = -1, False
        for (family, mask), found in self._entries.items():
            if family == version and mask > best and number & mask in found:
                best, belongs = mask, found[number & mask]
        return belongs


class InterfaceAddresses(AddressSet):
    """``(em0)``, ``(em0:network)``, ``self``, ``me``: the addresses that interfaces have at the moment."""

    def __init__(
        self, word: str, site: Site, interfaces: tuple[str, ...], modifiers: tuple[str, ...]
    ) -> None:
        """Take what the word means; without interfaces it is all of them."""
        super().__init__(word)
        self._site = site
        self._interfaces = interfaces
        self._modifiers = modifiers

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether an address is one of them now."""
        return any(prefix.contains(address) for prefix in self.prefixes())

    def prefixes(self) -> list[Prefix]:
        """Return what it stands for now."""
        site = self._site
        owns = site.all_addresses() if not self._interfaces else []
        for name in self._interfaces:
            found = site.addresses(name)
            if "0" in self._modifiers:  # no aliases
                found = [next((o for o in found if version_of(o.address) == v), None) for v in (4, 6)]  # type: ignore[misc]
                found = [own for own in found if own is not None]
            owns += found
        return list(dict.fromkeys(_prefix_of(own, self._modifiers) for own in owns))


def _prefix_of(own: Own, modifiers: tuple[str, ...]) -> Prefix:
    address, length = own
    if "network" in modifiers:
        address, length = own.network.split("/")[0], own.length
    elif "broadcast" in modifiers and version_of(address) == 4:
        address, length = own.broadcast, 32
    else:
        length = 128 if version_of(address) == 6 else 32
    version, number = number_of(address)
    bits = 128 if version == 6 else 32
    mask = (1 << bits) - (1 << (bits - length))
    return Prefix(version, number & mask, mask)


class NoRoute(AddressSet):
    """``no-route``: addresses that no route leads to."""

    def __init__(self, site: Site) -> None:
        super().__init__("no-route")
        self._site = site

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether no route leads there."""
        return not self._site.way_to(address)


class WrongWay(AddressSet):
    """``urpf-failed``: addresses that are not reached by the interface that the packet has come in by."""

    def __init__(self, site: Site) -> None:
        super().__init__("urpf-failed")
        self._site = site

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether the way to an address is another one than by the interface."""
        return self._site.way_to(address) != interface


#: Modifiers of the name of an interface that stands for addresses.
MODIFIERS: Final = ("network", "broadcast", "peer", "0")


def numbers_between(first: str, last: str) -> bool:
    """Return whether two addresses are of one family, the first one not the larger one."""
    one, other = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return one.version == other.version and int(one) <= int(other)
