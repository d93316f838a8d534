"""Addresses in the rules of pf: prefixes, interfaces, tables, ranges, and the lists of them."""

from __future__ import annotations

import re
from itertools import product
from typing import Final

from mptcpsim.freebsd.address_sets import (
    MODIFIERS,
    AddressRange,
    AddressSet,
    AddressTable,
    InterfaceAddresses,
    NoRoute,
    WrongWay,
    numbers_between,
)
from mptcpsim.freebsd.addresses import Prefix, is_address, prefix_of, read_prefix, version_of
from mptcpsim.freebsd.lines import Line, Note, PassedOver, logical_lines
from mptcpsim.freebsd.pf_conf import COMPARISONS, PfEnd, Ports
from mptcpsim.freebsd.pf_words import MOST_RULES, Statement
from mptcpsim.freebsd.services import read_port
from mptcpsim.freebsd.site import Site

#: Lists of hosts in one another, as macros bring them about.
DEEPEST_LIST: Final = 20

#: What a word in an address's place means, and "!" in front of it.
PfHost = tuple[Prefix | AddressSet | None, bool]

_REFUSED: Final = {
    "os": "systems have no fingerprints here: leave it out",
    "route": "routes have no labels here: write the prefixes",
}


class Hosts:
    """Reads what stands behind ``from`` and ``to``, and the entries of tables.

    Attributes:
        site: the node.
        tables: by name.
        note: takes words that are passed over.
    """

    def __init__(self, site: Site, note: Note) -> None:
        self.site = site
        self.tables: dict[str, AddressTable] = {}
        self.note = note

    # --- from and to ---

    def ends(self, words: Statement) -> list[PfEnd]:
        """Return each combination of the addresses and ports behind ``from`` or ``to``."""
        hosts: list[PfHost] = [(None, False)]
        if words.peek() != "port":
            hosts = self.hosts(words)
        ports: list[Ports | None] = [None]
        if words.maybe("port"):
            ports = list(words.items(lambda: read_ports(words)))
        if len(hosts) * len(ports) > MOST_RULES:
            raise words.at.error(f"the lists expand to more than {MOST_RULES} rules: use prefixes and ranges")
        return [_end(host, port) for host, port in product(hosts, ports)]

    def hosts(self, words: Statement) -> list[PfHost]:
        """Return the addresses of a list, or of one word."""
        found = words.items(lambda: self._host(words), DEEPEST_LIST)
        return [host for each in found for host in each]

    def _host(self, words: Statement) -> list[PfHost]:
        at = words.at
        negated = words.maybe("!")
        while words.maybe("!"):
            negated = not negated
        word = words.take("an address")
        if word == "any":
            if negated:
                raise at.error("'! any' is no address at all: write the prefixes that are meant")
            return [(None, False)]
        if word == "<":
            name = words.take("the name of a table")
            words.expect(">", "the name of a table")
            return [(self.table(at, name), negated)]
        if word == "(":
            return [(self._following(words), negated)]
        if word == "no-route":
            return [(NoRoute(self.site), negated)]
        if word == "urpf-failed":
            return [(WrongWay(self.site), negated)]
        if word in _REFUSED:
            raise at.error(f"{word!r}: {_REFUSED[word]}")
        slash = words.maybe("/")
        length = words.take("a prefix length") if slash else ""
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", word):
            if not slash:
                raise at.error(f"{word!r} is no whole address: write four numbers and a prefix length")
            word += ".0" * (3 - word.count("."))  # 10/8 is 10.0.0.0/8
        if not is_address(word):
            return [(prefix, negated) for prefix in self._named(at, word, length)]
        if words.maybe("-"):
            last = words.take("the end of a range of addresses")
            if not is_address(last) or slash or not numbers_between(word, last):
                raise at.error(f"{word} - {last} is no range of addresses: write the smaller one first")
            return [(AddressRange(word, last), negated)]
        return [(read_prefix(at, f"{word}/{length}" if slash else word), negated)]

    def table(self, at: Line, name: str) -> AddressTable:
        """Return a table; pf accepts the name of an undefined one, which is empty."""
        if name not in self.tables:
            self.tables[name] = AddressTable(name, at)
            why = "no table of this name is defined: it is empty, and no packet matches"
            self.note(PassedOver(at, f"<{name}>", why))
        return self.tables[name]

    # --- Names of interfaces ---

    def _interface(self, at: Line, word: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Return the interfaces and the modifiers of a word; None if it names no interface."""
        name, *modifiers = word.split(":")
        if name == "self":
            interfaces: tuple[str, ...] = ()
        elif not (interfaces := self.site.interfaces(name)):
            return None
        for modifier in modifiers:
            if modifier not in MODIFIERS:
                raise at.error(f"{word!r}: known behind the colon are {', '.join(MODIFIERS)}")
            if modifier == "peer":
                raise at.error(f"{word!r}: links have no peer address here: write the address")
        return interfaces, tuple(modifiers)

    def _following(self, words: Statement) -> AddressSet:
        """Return ``(em0)``: the addresses that an interface has when a packet passes."""
        word = words.take("the name of an interface")
        found = self._interface(words.at, word)
        if found is None:
            raise self._unknown(words.at, word)
        if words.maybe("/"):
            words.take("a prefix length")
            raise words.at.error(f"({word}) with a prefix length is not simulated: write ({word}:network)")
        words.expect(")", "the name of an interface in parentheses")
        return InterfaceAddresses(f"({word})", self.site, *found)

    def _named(self, at: Line, word: str, length: str) -> list[Prefix | AddressSet]:
        """Return the addresses that the name of an interface stands for at this moment, as pfctl does."""
        found = self._interface(at, word)
        if found is None:
            raise self._unknown(at, word)
        named = InterfaceAddresses(word, self.site, *found)
        if not self.site.settled:
            self.site.deferred = True
            return [named]
        prefixes = named.prefixes()
        if not prefixes:
            raise at.error(
                f"{word!r}: the interface has no address when the rules are loaded: write ({word}), which "
                "follows it"
            )
        if length:
            if re.fullmatch(r"[0-9]{1,3}", length) is None:
                raise at.error(f"{word}/{length}: {length!r} is no prefix length")
            texts = [str(prefix).split("/")[0] for prefix in prefixes]
            return [
                prefix_of(at, text, int(length))
                for text in texts
                if version_of(text) == 4 or int(length) > 32
            ]
        return list(prefixes)

    def _unknown(self, at: Line, word: str) -> Exception:
        known = ", ".join(self.site.names.system_names())
        return at.error(f"{word!r} is no address: write numbers, such as 192.168.0.0/24; names of hosts are "
                        f"not looked up, and interfaces are {known or 'not known here'}")  # fmt: skip

    # --- Tables ---

    def entries(self, words: Statement) -> list[tuple[Prefix, bool]]:
        """Return the entries of a table: addresses in braces, each with whether it belongs to the table."""
        if words.peek() == "{" and words.peek(1) == "}":
            words.next += 2
            return []
        return _entries(words.at, self.hosts(words))

    def entries_of_file(self, at: Line, name: str) -> list[tuple[Prefix, bool]]:
        """Return the entries of a file of addresses, as ``table <x> file "NAME"`` reads it."""
        if name not in self.site.files:
            raise at.error(f"{name}: No such file: write its text under 'files' of the host")
        found: list[tuple[Prefix, bool]] = []
        for line in logical_lines(self.site.files[name], name):
            text = re.split(r"[#;]", line.text)[0]
            found += read_entries(line, text.replace(",", " ").split(), self)
        return found


def read_entries(at: Line, texts: list[str], hosts: Hosts) -> list[tuple[Prefix, bool]]:
    """Return the entries of a table that stand as words of a command or a file."""
    found: list[tuple[Prefix, bool]] = []
    negated = False
    for text in texts:
        if text == "!":
            negated = True
            continue
        belongs = not (negated or text.startswith("!"))
        address = text.removeprefix("!")
        negated = False
        part, slash, length = address.partition("/")
        if not is_address(part) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", part) is None:
            named = hosts._named(at, part, length)
            found += [(prefix, belongs) for prefix in _prefixes(at, named)]
            continue
        if slash and not is_address(part):
            part += ".0" * (3 - part.count("."))
        found.append((read_prefix(at, part + slash + length), belongs))
    return found


def _prefixes(at: Line, named: list[Prefix | AddressSet]) -> list[Prefix]:
    found: list[Prefix] = []
    for item in named:
        if isinstance(item, Prefix):
            found.append(item)
        elif isinstance(item, InterfaceAddresses):
            found += item.prefixes()
        else:
            raise at.error(f"{item} cannot stand in a table: write prefixes")
    return found


def _entries(at: Line, hosts: list[PfHost]) -> list[tuple[Prefix, bool]]:
    found: list[tuple[Prefix, bool]] = []
    for what, negated in hosts:
        if what is None:
            raise at.error("'any' cannot stand in a table: write 0.0.0.0/0")
        found += [(prefix, not negated) for prefix in _prefixes(at, [what])]
    return found


def _end(host: PfHost, ports: Ports | None) -> PfEnd:
    what, negated = host
    if isinstance(what, AddressSet):
        return PfEnd(None, negated, ports, what)
    return PfEnd(what, negated, ports)


def read_ports(words: Statement) -> Ports:
    """Return what stands behind ``port``."""
    at = words.at
    word = words.take("a port")
    if word in COMPARISONS:
        return Ports(word, read_port(at, words.take("a port")))
    first, colon, last = word.partition(":")
    if colon:
        return _range(at, ":", first or "0", last or "65535")
    if words.peek() in ("><", "<>"):
        return _range(at, words.take(), word, words.take("a port"))
    return Ports("=", read_port(at, word))


def _range(at: Line, operator: str, first: str, last: str) -> Ports:
    ports = Ports(operator, read_port(at, first), read_port(at, last))
    if ports.first > ports.last:
        raise at.error(f"the range of ports runs from {first} down to {last}: exchange them")
    return ports
