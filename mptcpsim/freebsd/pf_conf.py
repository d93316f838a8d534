"""What a pf.conf says, as objects: macros, rules and their parts; ``str`` writes them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from mptcpsim.core.segment import (
    ACK,
    CWR,
    ECE,
    FIN,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    PSH,
    RST,
    SYN,
    URG,
)
from mptcpsim.freebsd.address_sets import AddressSet, AddressTable
from mptcpsim.freebsd.addresses import Prefix
from mptcpsim.freebsd.lines import Line, PassedOver

#: The letters of ``flags``, in pf's order.
FLAG_LETTERS: Final = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "W": CWR}

#: The ICMP errors of ``return-icmp (CODE)``, by the name of the code.
UNREACHABLE: Final = {
    "net-unr": ICMP_NET_UNREACHABLE,
    "host-unr": ICMP_HOST_UNREACHABLE,
    "proto-unr": ICMP_PROTOCOL_UNREACHABLE,
    "port-unr": ICMP_PORT_UNREACHABLE,
}
_CODE_OF: Final = {kind: code for code, kind in UNREACHABLE.items()}

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


class PfEnd(NamedTuple):
    """One end of a packet: ``from`` or ``to``; with neither prefix nor set it is any address.

    Attributes:
        prefix: the addresses that are meant.
        negated: all others are.
        ports: None for all of them, and for protocols without ports.
        among: in place of a prefix, addresses that may change: a table, those of an interface.
    """

    prefix: Prefix | None = None
    negated: bool = False
    ports: Ports | None = None
    among: AddressSet | None = None

    def has(self, address: str, interface: str = "") -> bool:
        """Return whether an address of a packet that passes an interface is meant."""
        if self.prefix is not None:
            return self.prefix.contains(address) != self.negated
        return self.among is None or self.among.has(address, interface) != self.negated

    def matches(self, address: str, port: int, interface: str = "") -> bool:
        """Return whether an address and a port are within it."""
        return self.has(address, interface) and (self.ports is None or self.ports.contain(port))

    def __str__(self) -> str:
        named = self.prefix or self.among
        address = "any" if named is None else f"{'! ' if self.negated else ''}{named}"
        return address if self.ports is None else f"{address} {self.ports}"


ANYWHERE: Final = PfEnd()


class Limits(NamedTuple):
    """What states of a rule are bounded by (pf.conf(5), STATEFUL TRACKING OPTIONS); 0 is no bound.

    Attributes:
        states: of the rule (``max``).
        sources: addresses that have states (``max-src-nodes``).
        source_states: of one address (``max-src-states``).
        connections: with a complete handshake, of one address (``max-src-conn``).
        rate: (connections, seconds) of one address (``max-src-conn-rate``).
        per_rule: addresses are counted for the rule alone (``source-track rule``).
        overload: the table that an address is put into which has too many connections.
        flush: its states end: "rule" those of this rule, "global" all.
    """

    states: int = 0
    sources: int = 0
    source_states: int = 0
    connections: int = 0
    rate: tuple[int, int] = (0, 0)
    per_rule: bool = False
    overload: AddressTable | None = None
    flush: str = ""

    def __str__(self) -> str:
        named = {
            "max": self.states,
            "max-src-nodes": self.sources,
            "max-src-states": self.source_states,
            "max-src-conn": self.connections,
        }
        words = [f"{name} {value}" for name, value in named.items() if value]
        words += [f"max-src-conn-rate {self.rate[0]}/{self.rate[1]}"] if self.rate[0] else []
        words += ["source-track rule"] if self.per_rule else []
        words += [f"overload {self.overload}"] if self.overload is not None else []
        words += [f"flush {self.flush}".removesuffix(" rule")] if self.flush else []
        return ", ".join(words)


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
        members: the interfaces that ``interface`` stands for, if it is the name of a group.
        unreachable: of a block rule: the ICMP error that goes back (``block return-icmp``).
        icmp_types: (type, code) of ICMP that match, code -1 for all codes; empty for all types.
        probability: that a packet which matches counts as matching.
        limits: of its states.
        timeouts: of its states, seconds, where they differ from those of the file.
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
    source: PfEnd = ANYWHERE
    destination: PfEnd = ANYWHERE
    flags: tuple[int, int] | None = None
    state: bool = False
    bound: bool | None = None
    members: frozenset[str] = frozenset()
    unreachable: str = ""
    icmp_types: frozenset[tuple[int, int]] = frozenset()
    probability: float = 1.0
    limits: Limits | None = None
    timeouts: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        words = [self.action]
        words += ["return"] if self.answer else []
        words += [f"return-icmp ({_CODE_OF[self.unreachable]})"] if self.unreachable else []
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
        word = "icmp6-type" if self.family == 6 else "icmp-type"
        types = [f"{kind}{f' code {code}' if code >= 0 else ''}" for kind, code in sorted(self.icmp_types)]
        words += [f"{word} {{ {', '.join(types)} }}"] if types else []
        words += [f"probability {self.probability * 100:g}%"] if self.probability < 1 else []
        if self.action == "pass":
            words.append("keep state" if self.state else "no state")
            options = [] if self.bound is None else ["if-bound" if self.bound else "floating"]
            options += [str(self.limits)] if self.limits is not None else []
            options += [f"{name} {seconds}" for name, seconds in self.timeouts]
            words += [f"({', '.join(options)})"] if options else []
        return " ".join(words)

    def concerns(self, interface: str) -> bool:
        """Return whether it is for packets that pass an interface."""
        if not self.interface:
            return True
        inside = interface in self.members if self.members else interface == self.interface
        return inside != self.other_interface


class PfConf(NamedTuple):
    """A pf.conf.

    Attributes:
        macros: in the order of the file.
        rules: in the order of the file, lists expanded.
        if_bound: ``set state-policy if-bound``.
        skip: interfaces on which pf does nothing (``set skip on``).
        tables: by name.
        timeouts: of states, seconds, where ``set timeout`` or ``set optimization`` says others.
        most_states: ``set limit states``; 0 is the usual number, which no simulation has.
        passed_over: words that change nothing here.
    """

    macros: tuple[Macro, ...] = ()
    rules: tuple[PfRule, ...] = ()
    if_bound: bool = False
    skip: frozenset[str] = frozenset()
    tables: tuple[AddressTable, ...] = ()
    timeouts: tuple[tuple[str, int], ...] = ()
    most_states: int = 0
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def follows_connections(self) -> bool:
        """It has to be known when states end: something counts them, or says how long they live."""
        return bool(self.timeouts or self.most_states) or any(
            rule.limits is not None or rule.timeouts for rule in self.rules
        )


def _letters(flags: int) -> str:
    return "".join(letter for letter, bit in FLAG_LETTERS.items() if flags & bit)
