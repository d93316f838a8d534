"""Policy rules of a node, as Linux's ``ip rule`` has them: which table is asked about which packet.

Rules are tried by priority, the lowest number first. One that matches asks its table; if that
has no route, the next rule is tried. A node begins with the rules of Linux: 0 for its own
addresses (which is no rule here: what is for the node itself is taken before), 32766 for the
table ``main``, 32767 for the table ``default``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import FourTuple
from mptcpsim.net.routing import MAIN, prefix_number

#: Priorities that are there from the start.
MAIN_PRIORITY: Final = 32766
DEFAULT_PRIORITY: Final = 32767
DEFAULT: Final = "default"

# What a rule does instead of asking a table; each is the reason of the drop.
BLACKHOLE: Final = "blackhole"
UNREACHABLE: Final = "unreachable"
PROHIBIT: Final = "prohibit"
REFUSALS: Final = (BLACKHOLE, UNREACHABLE, PROHIBIT)

#: The interface by which a packet of the node's own has come, for ``iif``.
LOOPBACK: Final = "lo"


class Selector(NamedTuple):
    """What a rule matches; what is empty matches everything.

    Attributes:
        source, destination: prefixes in canonical text form.
        received: name of the interface by which the packet came, ``lo`` for a packet of the node's own.
        sports, dports: lowest and highest port.
        inverted: everything else matches (``not``).
    """

    source: str = ""
    destination: str = ""
    received: str = ""
    sports: tuple[int, int] = (0, 65535)
    dports: tuple[int, int] = (0, 65535)
    inverted: bool = False


class Rule:
    """One rule.

    Attributes:
        priority: its place.
        selector: which packets it is for.
        table: name of the table that it asks; empty for a refusal.
        refusal: ``blackhole``, ``unreachable`` or ``prohibit``; else empty.
        text: the rule without its priority, as ``ip rule`` prints it.
        suppress_length: routes with a prefix of this length or less do not count; -1: all count.
    """

    __slots__ = ("priority", "refusal", "selector", "suppress_length", "table", "text")

    def __init__(
        self,
        priority: int,
        selector: Selector,
        table: str,
        refusal: str = "",
        suppress_length: int = -1,
    ) -> None:
        self.priority = priority
        self.selector = selector
        self.table = table
        self.refusal = refusal
        self.suppress_length = suppress_length
        self.text = rule_text(selector, table, refusal, suppress_length)

    def matches(self, flow: FourTuple, received: str) -> bool:
        """Return whether the rule is for a packet.

        Args:
            flow: of the packet; an empty source is not yet known, and in no prefix.
            received: the interface by which it came, ``lo`` for a packet of the node's own.
        """
        selector = self.selector
        found = (
            (not selector.source or within(selector.source, flow.src))
            and (not selector.destination or within(selector.destination, flow.dst))
            and (not selector.received or selector.received == received)
            and selector.sports[0] <= flow.sport <= selector.sports[1]
            and selector.dports[0] <= flow.dport <= selector.dports[1]
        )
        return found != selector.inverted

    def __str__(self) -> str:
        return f"rule {self.priority}: {self.text}"


class RuleList:
    """The rules of a node in the order in which they are tried."""

    __slots__ = ("rules",)

    def __init__(self) -> None:
        self.rules: list[Rule] = [
            Rule(MAIN_PRIORITY, Selector(), MAIN),
            Rule(DEFAULT_PRIORITY, Selector(), DEFAULT),
        ]

    def next_priority(self) -> int:
        """Return what Linux gives to a rule without a priority: one less than the first rule after 0."""
        first = next((rule.priority for rule in self.rules if rule.priority > 0), 1)
        return first - 1

    def add(self, rule: Rule) -> None:
        """Add a rule, behind those of its priority."""
        self.rules.append(rule)
        self.rules.sort(key=_priority)


def within(prefix: str, address: str) -> bool:
    """Return whether an address in canonical text form is in a prefix; an empty one is in none."""
    if not address:
        return False
    version, length, number = prefix_number(prefix)
    own_version, bits, own = prefix_number(f"{address}/{128 if ':' in address else 32}")
    return version == own_version and own >> (bits - length) == number >> (bits - length)


def host_or_prefix(prefix: str) -> str:
    """Return a prefix as ``ip`` prints it: that of one host without its length."""
    address, _, length = prefix.partition("/")
    return address if length == ("128" if ":" in address else "32") else prefix


def rule_text(selector: Selector, table: str, refusal: str, suppress_length: int) -> str:
    """Return a rule as ``ip rule`` prints it, without its priority."""
    words = ["not"] if selector.inverted else []
    words += ["from", host_or_prefix(selector.source) or "all"]
    if selector.destination:
        words += ["to", host_or_prefix(selector.destination)]
    if selector.received:
        words += ["iif", selector.received]
    for name, ports in (("sport", selector.sports), ("dport", selector.dports)):
        if ports != (0, 65535):
            words += [name, str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"]
    words += ["lookup", table] if table else [refusal]
    if suppress_length >= 0:
        words += ["suppress_prefixlength", str(suppress_length)]
    return " ".join(words)


def _priority(rule: Rule) -> int:
    return rule.priority
