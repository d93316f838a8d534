"""ifconfig and route: addresses of interfaces, and routes by hand."""

from __future__ import annotations

import re
from typing import NamedTuple

from mptcpsim.freebsd.addresses import (
    Prefix,
    is_address,
    prefix_of,
    read_address,
    read_netmask,
    read_prefix,
    version_of,
)
from mptcpsim.freebsd.lines import Line, LineCursor, whole_number
from mptcpsim.suggest import did_you_mean


class IfconfigCommand(NamedTuple):
    """``ifconfig``.

    Attributes:
        at: the line.
        interface: a name of the document (A1) or of the system (em0).
        action: "set" (instead of the first address), "alias" (further address), "delete", or empty
            when there is no address.
        address: in canonical text form.
        length: of its prefix; -1 with "delete", where it may be absent.
        up: True for "up", False for "down", None when neither is said; an address brings it up.
        mtu: bytes, or 0.
    """

    at: Line
    interface: str
    action: str = ""
    address: str = ""
    length: int = -1
    up: bool | None = None
    mtu: int = 0

    def __str__(self) -> str:
        words = ["ifconfig", self.interface]
        if self.action:
            length = f"/{self.length}" if self.length >= 0 else ""
            words += ["inet6" if version_of(self.address) == 6 else "inet", self.address + length]
            words += [] if self.action == "set" else [self.action]
        words += [f"mtu {self.mtu}"] if self.mtu else []
        words += [] if self.up is None else ["up" if self.up else "down"]
        return " ".join(words)


class RouteCommand(NamedTuple):
    """``route add | delete``.

    Attributes:
        at: the line.
        action: "add" or "delete".
        destination: of length 0 for ``default``.
        gateway: next hop; empty with ``interface``, and where a delete names none.
        interface: the destination is on its link (``-interface``).
    """

    at: Line
    action: str
    destination: Prefix
    gateway: str = ""
    interface: str = ""

    def __str__(self) -> str:
        words = ["route", self.action]
        words += ["-inet6"] if self.destination.version == 6 else []
        words += ["-host" if self.destination.bare else "-net", str(self.destination)]
        words += ["-interface", self.interface] if self.interface else []
        return " ".join([*words, *([self.gateway] if self.gateway else [])])


def read_interface(at: Line, word: str) -> str:
    """Return a word that is the name of an interface, of the document or of the system.

    Raises:
        DialectError: it can be none.
    """
    if re.fullmatch(r"[A-Za-z][\w.-]{0,31}", word) is None:
        raise at.error(f"{word!r} is no name of an interface: write one such as em0")
    return word


def read_ifconfig(at: Line, words: list[str]) -> list[IfconfigCommand]:
    """Return the command that stands behind the word ``ifconfig``.

    Raises:
        DialectError: it is not understood, or shows something only.
    """
    cursor = LineCursor(at, words)
    interface = read_interface(at, cursor.take("the name of an interface"))
    family, action, address, length, mtu = 0, "set", "", -1, 0
    up: bool | None = None
    if not cursor.left():
        raise at.error("ifconfig without more shows an interface only: write an address, up or down")
    while cursor.left():
        word = cursor.take()
        if word in ("inet", "inet6"):
            family = 6 if word == "inet6" else 4
        elif word in ("alias", "add"):
            action = "alias"
        elif word in ("delete", "-alias", "remove"):
            action = "delete"
        elif word in ("up", "down"):
            up = word == "up"
        elif word == "mtu":
            mtu = whole_number(at, cursor.take("the MTU"), "MTU", 68, 65535)
        elif word in ("netmask", "prefixlen"):
            value = cursor.take(f"the value of {word}")
            if length >= 0:
                raise at.error(f"{word}: the address has a prefix length already: leave one of both out")
            bits = read_netmask(at, value) if word == "netmask" else whole_number(at, value, word, 0, 128)
            if not address or (word == "netmask") != (version_of(address) == 4):
                raise at.error(f"{word} belongs behind an {'IPv4' if word == 'netmask' else 'IPv6'} address")
            length = bits
        elif is_address(word.split("/")[0]):
            if address:
                raise at.error(f"{word!r} is a second address: write one command for each, with 'alias'")
            prefix = read_prefix(at, word)
            address, length = read_address(at, word.split("/")[0]), -1 if prefix.bare else prefix.length
        elif re.match(r"[0-9]", word):
            raise at.error(f"{word!r} is no address: write one such as 192.168.0.10/24")
        else:
            known = ["inet", "inet6", "alias", "delete", "netmask", "prefixlen", "mtu", "up", "down"]
            raise at.error(f"ifconfig does not know {word!r} here: {did_you_mean(word, known)}")
    if not address:
        if action != "set" or family:
            raise at.error("the address is missing: write one such as 192.168.0.10/24")
        return [IfconfigCommand(at, interface, up=up, mtu=mtu)]
    if family and version_of(address) != family:
        raise at.error(
            f"{address} is no address of {'inet6' if family == 6 else 'inet'}: write the other word"
        )
    if length < 0 and action != "delete":
        example = f"{address}/{64 if version_of(address) == 6 else 24}"
        raise at.error(
            f"{address} has no prefix length, and FreeBSD would guess one: write it, such as {example}"
        )
    return [IfconfigCommand(at, interface, action, address, length, up, mtu)]


def read_route_command(at: Line, words: list[str]) -> list[RouteCommand]:
    """Return the command that stands behind the word ``route``.

    Raises:
        DialectError: it is not understood.
    """
    cursor = LineCursor(at, [word for word in words if word not in ("-n", "-q")])
    action = cursor.take("'add' or 'delete'")
    if action not in ("add", "delete", "del"):
        raise at.error(f"'route {action}' is not known here: write add or delete")
    action = "delete" if action == "del" else action
    family, kind, interface, netmask = 4, "", False, ""
    plain: list[str] = []
    while cursor.left():
        word = cursor.take()
        if word in ("-inet", "-inet6", "-4", "-6"):
            family = 6 if word.endswith("6") else 4
        elif word in ("-net", "-host"):
            kind = word
        elif word in ("-interface", "-iface"):
            interface = True
        elif word in ("-netmask", "netmask"):
            netmask = cursor.take("the netmask")
        elif word.startswith("-"):
            known = ["-net", "-host", "-netmask", "-inet6", "-interface"]
            raise at.error(f"route does not know {word!r} here: {did_you_mean(word, known)}")
        else:
            plain.append(word)
    if not plain:
        raise at.error("the destination is missing: write 'route add -net 10.0.0.0/24 192.168.0.1'")
    if len(plain) > 2:
        raise at.error(f"{plain[2]!r} is too much: route takes a destination and a gateway")
    if len(plain) == 1 and action == "add":
        raise at.error("the gateway is missing: write it behind the destination")
    destination = _destination(at, plain[0], kind, netmask, family)
    if len(plain) == 1:
        return [RouteCommand(at, action, destination)]
    if interface:
        return [RouteCommand(at, action, destination, interface=read_interface(at, plain[1]))]
    gateway = read_address(at, plain[1])
    if version_of(gateway) != destination.version:
        raise at.error(f"{gateway} is of another family than {plain[0]}: write a gateway of the same one")
    return [RouteCommand(at, action, destination, gateway)]


def _destination(at: Line, word: str, kind: str, netmask: str, family: int) -> Prefix:
    if word == "default":
        if kind == "-host" or netmask:
            raise at.error("'default' is every address: leave -host and -netmask out")
        return Prefix(family, 0, 0)
    if netmask:
        if "/" in word or kind == "-host":
            raise at.error("-netmask is for a network without a prefix length: leave one of them out")
        prefix = prefix_of(at, word, None)
        if prefix.version == 6:
            raise at.error("-netmask is for IPv4: write a prefix length, such as fd00::/64")
        return prefix_of(at, word, read_netmask(at, netmask))
    prefix = read_prefix(at, word)
    if prefix.bare and kind == "-net":
        raise at.error(f"the network {word} has no prefix length: write it, such as {word}/24")
    if not prefix.bare and kind == "-host":
        raise at.error(f"-host is for one address, and {word} is a network: write -net")
    return prefix
