"""Routes and rules in the words of Linux's ``ip route`` and ``ip rule``.

Routes of a table::

    [unicast] PREFIX | default  [via ADDRESS] [dev INTERFACE] [metric N] [src ADDRESS] [onlink]
    PREFIX | default  nexthop via ADDRESS [dev INTERFACE] nexthop ...

Rules::

    [PRIORITY:] [not] [from PREFIX] [to PREFIX] [iif INTERFACE] [ipproto tcp] [sport P[-P]] [dport P[-P]]
        [priority N]  lookup TABLE [suppress_prefixlength N] | blackhole | unreachable | prohibit

``proto`` and ``scope`` of a route, as ``ip route show`` prints them, change nothing. Whatever else
Linux takes and the simulation does not is an error with a remedy, never passed over.
"""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import Final, NamedTuple

from mptcpsim.cursor import Cursor
from mptcpsim.net.routing import MAIN
from mptcpsim.net.rules import DEFAULT, REFUSALS, Selector
from mptcpsim.suggest import did_you_mean

#: Tables that Linux knows by number, too.
_NUMBERED: Final = {"254": MAIN, "253": DEFAULT, "255": "local"}
LOCAL: Final = "local"

_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

#: More words than any sensible line has.
_MOST_WORDS: Final = 1000

_RULE_WORDS: Final = (
    "not", "from", "to", "iif", "ipproto", "sport", "dport", "priority", "lookup", *REFUSALS,
)  # fmt: skip
_RULE_REMEDIES: Final = {
    "fwmark": "packets have no marks here: match them by from, to, sport or dport",
    "tos": "packets have no type of service here: match them by from, to, sport or dport",
    "dsfield": "packets have no type of service here: match them by from, to, sport or dport",
    "oif": "no socket is bound to an interface here: match the source address with from",
    "uidrange": "there are no users here: leave it out",
    "l3mdev": "there are no VRFs here: leave the rule out",
    "goto": "rules are not skipped here: give the rules priorities in the order that you want",
    "nop": "it does nothing: leave the rule out",
    "nat": "addresses are not translated here: put a NAT on a link of the scenario",
    "realms": "there are no realms here: leave it out",
    "suppress_ifgroup": "interfaces have no groups here: leave it out",
}
_ROUTE_WORDS: Final = ("via", "dev", "metric", "src", "onlink", "nexthop", "proto", "scope")
_ROUTE_REMEDIES: Final = {
    **dict.fromkeys(
        ("blackhole", "unreachable", "prohibit"), "write it as a rule, such as 'to 10.9.0.0/16 blackhole'"
    ),
    "throw": "it is not simulated: write rules for the prefixes that the table is for",
    "local": "the node's own addresses are known: leave the route out",
    "broadcast": "nothing is broadcast here: leave the route out",
    "multicast": "there is no multicast here: leave the route out",
    "nat": "addresses are not translated here: put a NAT on a link of the scenario",
    "table": "it is in the table under whose name it stands: leave it out",
    "weight": "next hops have equal shares here: leave it out",
    "mtu": "set the mtu of the link",
    "advmss": "set mss in the tcp settings of the host",
    "initcwnd": "set initial_window in the tcp settings of the host",
    "tos": "packets have no type of service here: leave it out",
}


class NextHop(NamedTuple):
    """Where a route leads: at least one of the two is given.

    Attributes:
        via: address of the gateway; empty: the destination is on the link.
        dev: name of the interface; empty: the one whose network the gateway is in.
    """

    via: str
    dev: str


class RouteWords(NamedTuple):
    """A route as it is written.

    Attributes:
        prefix: in canonical text form, or ``default``.
        hops: one next hop, or several to choose from; none: whatever leads there is deleted.
        metric: the lowest one wins.
        source: own address to be used, or empty.
    """

    prefix: str
    hops: tuple[NextHop, ...]
    metric: int
    source: str


class RuleWords(NamedTuple):
    """A rule as it is written.

    Attributes:
        priority: or None: one less than the first rule, as Linux does.
        selector: what it matches.
        table: name of the table, or empty.
        refusal: ``blackhole``, ``unreachable``, ``prohibit``, or empty.
        suppress_length: see ``net.rules.Rule``.
    """

    priority: int | None
    selector: Selector
    table: str
    refusal: str
    suppress_length: int


class _IpLine(Cursor):
    """The words of a line, read from left to right."""

    def __init__(self, text: str) -> None:
        super().__init__(text.split(), partial(_error, text))
        if not self.words:
            raise ValueError("the line is empty: leave it out")
        if len(self.words) > _MOST_WORDS:
            raise self.error(f"more than {_MOST_WORDS} words: write one line for each route or rule")

    def after(self, word: str, what: str) -> str:
        if not self.left():
            raise self.error(f"{word} is followed by nothing: write {what} behind it")
        return self.take()

    def number(self, word: str, largest: int) -> int:
        text = self.after(word, f"a number from 0 to {largest}")
        if re.fullmatch(r"[0-9]{1,10}", text) is None or int(text) > largest:
            raise self.error(f"{text!r} is no {word}: write a whole number from 0 to {largest}")
        return int(text)

    def address(self, word: str) -> str:
        text = self.after(word, 'an address, such as "192.168.0.1"')
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise self.error(f"{text!r} behind {word} is not an address") from None

    def prefix(self, word: str, text: str) -> str:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise self.error(
                f'{text!r} behind {word} is no prefix: {error}; write an address or one such as "10.0.1.0/24"'
            ) from None
        return str(network)


def _error(text: str, problem: str) -> ValueError:
    shown = text if len(text) <= 200 else text[:200] + "..."
    return ValueError(f"{shown!r}: {problem}")


def table_name(text: str) -> str:
    """Return the name of a table, by which it is known here.

    Raises:
        ValueError: the text is no name, or names the table of the node's own addresses.
    """
    name = _NUMBERED.get(text, text)
    if name == LOCAL:
        raise ValueError(
            "the table local, of the node's own addresses, is asked first in any case: leave it out"
        )
    if _NAME.fullmatch(name) is None:
        raise ValueError(f'{text!r} is no name of a table: write a number, or a word such as "wifi"')
    return name


def read_route(text: str, deletes: bool = False) -> RouteWords:
    """Return the route that a line of a table stands for, or one to be deleted, which may be a prefix alone.

    Raises:
        ValueError: it cannot be read; the text shows the line and the remedy.
    """
    words = _IpLine(text)
    words.maybe("unicast")
    first = words.after("unicast", "a prefix")
    if first in _ROUTE_REMEDIES:
        raise words.error(f"{first} is no prefix: {_ROUTE_REMEDIES[first]}")
    prefix = "default" if first in ("default", "all", "any") else words.prefix("the beginning", first)
    hops: list[NextHop] = []
    via, dev, source, metric = "", "", "", 0
    while words.left():
        word = words.take()
        if word == "via":
            via = words.address(word)
        elif word == "dev":
            dev = words.after(word, "the name of an interface")
        elif word in ("metric", "preference"):
            metric = words.number(word, 1 << 31)
        elif word == "src":
            source = words.address(word)
        elif word in ("proto", "scope"):
            words.after(word, "a word")
        elif word == "nexthop":
            hops.append(_next_hop(words))
        elif word != "onlink":
            remedy = _ROUTE_REMEDIES.get(word) or did_you_mean(word, _ROUTE_WORDS)
            raise words.error(f"{word!r} is not understood: {remedy}")
    if hops and (via or dev):
        raise words.error("via and dev beside nexthop: write each next hop as 'nexthop via ... dev ...'")
    if not hops and not via and not dev and not deletes:
        raise words.error('it leads nowhere: add "via ADDRESS", "dev INTERFACE" or both')
    if via or dev:
        hops = [NextHop(via, dev)]
    families = {
        ipaddress.ip_address(address).version for address in (source, *(h.via for h in hops)) if address
    }
    if prefix != "default":
        families.add(ipaddress.ip_network(prefix).version)
    if len(families) > 1:
        raise words.error("IPv4 and IPv6 in one route: use one of them")
    return RouteWords(prefix, tuple(hops), metric, source)


def _next_hop(words: _IpLine) -> NextHop:
    via, dev = "", ""
    while words.peek() in ("via", "dev", "weight", "onlink"):
        word = words.take()
        if word == "via":
            via = words.address(word)
        elif word == "dev":
            dev = words.after(word, "the name of an interface")
        elif word == "weight" and words.number(word, 256) != 1:
            raise words.error(f"weight is not understood: {_ROUTE_REMEDIES['weight']}")
    if not via and not dev:
        raise words.error('nexthop leads nowhere: add "via ADDRESS", "dev INTERFACE" or both')
    return NextHop(via, dev)


def read_rule(text: str) -> RuleWords:
    """Return the rule that a line stands for.

    Raises:
        ValueError: it cannot be read; the text shows the line and the remedy.
    """
    words = _IpLine(text)
    priority: int | None = None
    if match := re.fullmatch(r"([0-9]{1,10}):", words.peek()):
        words.take()
        priority = _priority(words, int(match.group(1)))
    words.maybe("add")
    selector = Selector()
    table, refusal, suppress = "", "", -1
    ports = {"sport": selector.sports, "dport": selector.dports}
    while words.left():
        word = words.take()
        if word == "not":
            selector = selector._replace(inverted=True)
        elif word in ("from", "to"):
            prefix = words.after(word, "a prefix, or all")
            value = "" if prefix in ("all", "any", "default") else words.prefix(word, prefix)
            if word == "from":
                selector = selector._replace(source=value)
            else:
                selector = selector._replace(destination=value)
        elif word in ("iif", "dev"):
            selector = selector._replace(received=words.after(word, "the name of an interface"))
        elif word in ports:
            ports[word] = _ports(words, word)
        elif word == "ipproto":
            if words.after(word, "tcp") not in ("tcp", "6"):
                raise words.error("everything here is TCP: write ipproto tcp, or leave it out")
        elif word in ("priority", "pref", "preference", "order"):
            priority = _priority(words, words.number(word, (1 << 32) - 1))
        elif word in ("lookup", "table"):
            name = words.after(word, "the name of a table")
            try:
                table = table_name(name)
            except ValueError as error:
                raise words.error(str(error)) from None
        elif word in ("suppress_prefixlength", "sup_pl"):
            suppress = words.number(word, 128)
        elif word in REFUSALS:
            refusal = word
        else:
            remedy = _RULE_REMEDIES.get(word) or did_you_mean(word, _RULE_WORDS)
            raise words.error(f"{word!r} is not understood: {remedy}")
    if bool(table) == bool(refusal):
        raise words.error("what is to be done? Write one of: lookup TABLE, blackhole, unreachable, prohibit")
    if suppress >= 0 and not table:
        raise words.error("suppress_prefixlength needs a table: add lookup TABLE")
    selector = selector._replace(sports=ports["sport"], dports=ports["dport"])
    if selector.source and selector.destination and (":" in selector.source) != (":" in selector.destination):
        raise words.error("IPv4 and IPv6 in one rule: use one of them")
    if selector.inverted and selector == Selector(inverted=True):
        raise words.error("not of everything is nothing: leave the rule out, or add from or to")
    return RuleWords(priority, selector, table, refusal, suppress)


def _priority(words: _IpLine, number: int) -> int:
    if number >= 1 << 32:
        raise words.error(f"{number} is no priority: write a whole number below 4294967296")
    return number


def _ports(words: _IpLine, word: str) -> tuple[int, int]:
    text = words.after(word, "a port, or two with a hyphen")
    match = _PORT.fullmatch(text)
    if match is None:
        raise words.error(f"{text!r} behind {word} is no port: write 80, or 8000-8080")
    low, high = int(match.group(1)), int(match.group(2) or match.group(1))
    if not 1 <= low <= high <= 65535:
        raise words.error(
            f"{text!r} behind {word} is no port: write numbers from 1 to 65535, the lower one first"
        )
    return low, high
