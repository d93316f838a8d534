"""What a pf.conf says, as objects: macros, rules and their parts; ``str`` writes them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from mptcpsim.core.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG
from mptcpsim.freebsd.addresses import Prefix
from mptcpsim.freebsd.lines import Line

#: The letters of ``flags``, in pf's order.
FLAG_LETTERS: Final = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "W": CWR}

#: How ``port`` compares with one number.
COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")


class Macro(NamedTuple):
    """``name = "value"``."""

    at: Line
    name: str
    value: str


class Ports(NamedTuple):
    """``port`` and what follows: one of pf's comparisons, or a range.

    Attributes:
        operator: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, or ``:`` (range with its limits),
            ``><`` (without them), ``<>`` (everything but the range, limits included).
        first: the number, or the lower limit.
        last: the upper limit of a range, else 0.
    """

    operator: str
    first: int
    last: int = 0

    def contain(self, port: int) -> bool:
        """Return whether a port is one of them."""
        return _PORT_TESTS[self.operator](port, self.first, self.last)

    def __str__(self) -> str:
        if self.operator == "=":
            return f"port {self.first}"
        if self.operator in COMPARISONS:
            return f"port {self.operator} {self.first}"
        space = "" if self.operator == ":" else " "
        return f"port {self.first}{space}{self.operator}{space}{self.last}"


_PORT_TESTS: Final[dict[str, Callable[[int, int, int], bool]]] = {
    "=": lambda port, first, last: port == first,
    "!=": lambda port, first, last: port != first,
    "<": lambda port, first, last: port < first,
    "<=": lambda port, first, last: port <= first,
    ">": lambda port, first, last: port > first,
    ">=": lambda port, first, last: port >= first,
    ":": lambda port, first, last: first <= port <= last,
    "><": lambda port, first, last: first < port < last,
    "<>": lambda port, first, last: not first <= port <= last,
}


class End(NamedTuple):
    """One end of a packet: ``from`` or ``to``; without a prefix it is any address."""

    prefix: Prefix | None = None
    negated: bool = False
    ports: Ports | None = None

    def matches(self, address: str, port: int) -> bool:
        """Return whether an address and a port are within it."""
        if self.prefix is not None and self.prefix.contains(address) == self.negated:
            return False
        return self.ports is None or self.ports.contain(port)

    def __str__(self) -> str:
        address = "any" if self.prefix is None else f"{'! ' if self.negated else ''}{self.prefix}"
        return address if self.ports is None else f"{address} {self.ports}"


ANYWHERE: Final = End()


class RouteOption(NamedTuple):
    """``route-to`` or ``reply-to``.

    Attributes:
        kind: one of these two words.
        interface: where packets go.
        gateway: the next hop; empty is the packet's own destination.
    """

    kind: str
    interface: str
    gateway: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({f'{self.interface} {self.gateway}'.strip()})"


class PfRule(NamedTuple):
    """One rule, as it is after lists and macros are expanded.

    Attributes:
        at: the line of the file that it comes from.
        action: "pass" or "block".
        answer: of a block rule: a RST or an ICMP error goes back (``block return``).
        direction: "in", "out" or empty for both.
        quick: a packet that matches looks no further.
        interface: empty for all of them.
        other_interface: all but this ``interface`` (``on ! IF``).
        route: None for the routing table's choice.
        family: 4, 6 or 0 for both.
        protocol: "tcp", "udp", "icmp", "icmp6", or empty for all.
        source: the packet's source.
        destination: the packet's destination.
        flags: (those that are set, those that are looked at), for TCP only; None looks at none.
        state: the rule creates states.
        bound: they hold for the interface that they were created on, else for any; None leaves it
            to ``set state-policy``.
    """

    at: Line
    action: str
    answer: bool = False
    direction: str = ""
    quick: bool = False
    interface: str = ""
    other_interface: bool = False
    route: RouteOption | None = None
    family: int = 0
    protocol: str = ""
    source: End = ANYWHERE
    destination: End = ANYWHERE
    flags: tuple[int, int] | None = None
    state: bool = False
    bound: bool | None = None

    def __str__(self) -> str:
        words = [self.action]
        words += ["return"] if self.answer else []
        words += [self.direction] if self.direction else []
        words += ["quick"] if self.quick else []
        words += [f"on {'! ' if self.other_interface else ''}{self.interface}"] if self.interface else []
        words += [str(self.route)] if self.route is not None else []
        words += [{4: "inet", 6: "inet6"}[self.family]] if self.family else []
        words += [f"proto {self.protocol}"] if self.protocol else []
        words += [f"from {self.source} to {self.destination}"]
        if self.flags is not None:
            words.append(f"flags {_letters(self.flags[0])}/{_letters(self.flags[1])}")
        elif self.state:
            words.append("flags any")
        if self.action == "pass":
            words.append("keep state" if self.state else "no state")
            words += [] if self.bound is None else ["(if-bound)" if self.bound else "(floating)"]
        return " ".join(words)


class PfConf(NamedTuple):
    """A pf.conf.

    Attributes:
        macros: in the order of the file.
        rules: in the order of the file, lists expanded.
        if_bound: ``set state-policy if-bound``.
        skip: interfaces on which pf does nothing (``set skip on``).
    """

    macros: tuple[Macro, ...] = ()
    rules: tuple[PfRule, ...] = ()
    if_bound: bool = False
    skip: frozenset[str] = frozenset()


def _letters(flags: int) -> str:
    return "".join(letter for letter, bit in FLAG_LETTERS.items() if flags & bit)
