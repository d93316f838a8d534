"""Addresses, prefixes and packets, as the rules of both firewalls compare them."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

from mptcpsim.freebsd.lines import Line


class FiveTuple(NamedTuple):
    """What rules look at: protocol, addresses in canonical text form, ports (0 where there are none)."""

    protocol: str
    src: str
    sport: int
    dst: str
    dport: int

    def reverse(self) -> FiveTuple:
        """Return the five-tuple of the opposite direction."""
        return FiveTuple(self.protocol, self.dst, self.dport, self.src, self.sport)


@lru_cache(maxsize=1 << 14)
def number_of(address: str) -> tuple[int, int]:
    """Return (4 or 6, the address as a number)."""
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def version_of(address: str) -> int:
    """Return 4 or 6."""
    return 6 if ":" in address else 4


class Prefix(NamedTuple):
    """A set of addresses: those that agree with ``network`` where ``mask`` has ones.

    Attributes:
        version: 4 or 6.
        network: a number; its bits outside the mask are zero.
        mask: a number.
        bare: it was written without a prefix length and is one host for that reason.
    """

    version: int
    network: int
    mask: int
    bare: bool = False

    @property
    def bits(self) -> int:
        """Bits of an address of this family."""
        return 128 if self.version == 6 else 32

    @property
    def length(self) -> int:
        """Length of the prefix, or -1 when the mask is no run of ones."""
        length = self.mask.bit_count()
        return length if self.mask == _mask(self.bits, length) else -1

    def contains(self, address: str) -> bool:
        """Return whether an address in canonical text form belongs to it."""
        version, number = number_of(address)
        return version == self.version and number & self.mask == self.network

    def __str__(self) -> str:
        address = _text(self.version, self.network)
        if self.bare:
            return address
        if self.length < 0:
            return f"{address}:{_text(4, self.mask)}"
        return f"{address}/{self.length}"


def _text(version: int, number: int) -> str:
    return str(ipaddress.IPv6Address(number) if version == 6 else ipaddress.IPv4Address(number))


def _mask(bits: int, length: int) -> int:
    return (1 << bits) - (1 << (bits - length))


def read_address(at: Line, word: str) -> str:
    """Return an address in canonical text form.

    Raises:
        DialectError: it is none; names are not looked up.
    """
    try:
        return _parsed(word)
    except ValueError:
        raise at.error(f"{word!r} is no address: write numbers, such as 192.168.0.1 or fd00::1") from None


def _parsed(word: str) -> str:
    if len(word) > 45 or "%" in word:
        raise ValueError("no address")
    return str(ipaddress.ip_address(word))


def is_address(word: str) -> bool:
    """Return whether a word is an IPv4 or IPv6 address."""
    try:
        _parsed(word)
    except ValueError:
        return False
    return True


def prefix_of(at: Line, address: str, length: int | None) -> Prefix:
    """Return the prefix of an address; without a length it is one host.

    Raises:
        DialectError: the address is none, or the length is too large for its family.
    """
    version, number = number_of(read_address(at, address))
    bits = 128 if version == 6 else 32
    if length is None:
        return Prefix(version, number, _mask(bits, bits), bare=True)
    if not 0 <= length <= bits:
        raise at.error(f"/{length} is no prefix length of {address}: it must lie between 0 and {bits}")
    mask = _mask(bits, length)
    return Prefix(version, number & mask, mask)


def read_prefix(at: Line, word: str) -> Prefix:
    """Return the prefix for ``192.168.0.0/24``, ``fd00::/8`` or a host's address alone.

    Raises:
        DialectError: it is no prefix.
    """
    address, slash, length = word.partition("/")
    if not slash:
        return prefix_of(at, address, None)
    if re.fullmatch(r"[0-9]{1,3}", length) is None:
        raise at.error(f"{word!r} has no prefix length behind the slash: write one, such as {address}/24")
    return prefix_of(at, address, int(length))


def read_netmask(at: Line, word: str) -> int:
    """Return the prefix length for ``255.255.255.0`` or ``0xffffff00``.

    Raises:
        DialectError: it is no netmask.
    """
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", word):
        mask = int(word, 16)
    elif is_address(word) and version_of(word) == 4:
        mask = number_of(word)[1]
    else:
        raise at.error(
            f"{word!r} is no netmask: write 255.255.255.0 or 0xffffff00, or a prefix length instead"
        )
    length = mask.bit_count()
    if mask != _mask(32, length):
        raise at.error(f"netmask {word} is no run of ones: write one such as 255.255.255.0")
    return length
