"""ipfw at work: the first rule that matches decides; ``count`` goes on, ``skipto`` goes on further down.

A packet that a rule sends to a pipe or queue comes out of it later. With ``one_pass`` (the default
of net.inet.ip.fw.one_pass) it has then passed; without it the search goes on behind that rule:
``Decision.resume`` is what to hand to ``evaluate`` as ``after``.

Rule 65535 is the last one. FreeBSD's denies everything unless net.inet.ip.fw.default_to_accept is
set; ``IpfwRules`` takes that as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final, NamedTuple

from mptcpsim.core.segment import ACK, RST, SYN
from mptcpsim.freebsd.addresses import FiveTuple, Prefix, version_of
from mptcpsim.freebsd.ipfw import LARGEST_RULE, DeleteRules, IpfwEnd, IpfwRule, Option, PortRanges

#: What ipfw adds to the number of the last rule for one without a number.
STEP: Final = 100
DEFAULT_RULE: Final = LARGEST_RULE + 1

#: Place of a rule: its number, and which of those with this number it is.
Place = tuple[int, int]


class Passage(NamedTuple):
    """A packet on its way through the firewall of a host.

    Attributes:
        packet: addresses and ports.
        direction: "in" or "out".
        received: the interface that it came in by; empty for packets of this host's own.
        transmitted: the interface that it goes out by; empty inbound.
        flags: those of TCP.
    """

    packet: FiveTuple
    direction: str
    received: str = ""
    transmitted: str = ""
    flags: int = 0


class Decision(NamedTuple):
    """What becomes of a packet.

    Attributes:
        action: "allow", "deny", "pipe", "queue" or "fwd".
        rule: that decided; None is the default rule.
        counted: rules that matched before it (``count`` and ``skipto``).
        resume: without one_pass: where the search goes on after the pipe or queue.
        lasting: packets of the same passage without SYN are decided about alike: neither chance nor
            flags had a say.
    """

    action: str
    rule: IpfwRule | None
    counted: tuple[IpfwRule, ...] = ()
    resume: Place | None = None
    lasting: bool = True

    @property
    def argument(self) -> int:
        """Number of the pipe or queue."""
        return self.rule.argument if self.rule is not None else 0

    @property
    def gateway(self) -> str:
        """Next hop of ``fwd``."""
        return self.rule.gateway if self.rule is not None else ""

    def __str__(self) -> str:
        if self.rule is None:
            return f"ipfw rule {DEFAULT_RULE}, the last one: {self.action}"
        at = self.rule.at
        where = f"ipfw rule {self.rule.number}, line {at.number} ({at.text.strip()})"
        return f"{where}: {self.action} {self.argument or self.gateway or ''}".rstrip()


class IpfwRules:
    """The rules of one host, in the order of their numbers.

    Attributes:
        default_to_accept: what the last rule does with packets that no other one has decided about.
        local: addresses of the host, for ``me``.
        draw: a number from 0 to 1, 1 excluded, for ``prob``.
    """

    def __init__(
        self,
        default_to_accept: bool,
        local: Container[str] = (),
        draw: Callable[[], float] | None = None,
    ) -> None:
        self.default_to_accept = default_to_accept
        self.local = local
        self.draw = draw
        self._rules: list[tuple[Place, IpfwRule]] = []
        self._added = 0

    def add(self, rule: IpfwRule) -> IpfwRule:
        """Add a rule, behind those with its number, and return it with the number that it got."""
        if not rule.number:
            last = self._rules[-1][0][0] if self._rules else 0
            rule = rule._replace(number=last + STEP if last + STEP <= LARGEST_RULE else max(last, 1))
        self._added += 1
        self._rules.append(((rule.number, self._added), rule))
        self._rules.sort(key=lambda entry: entry[0])
        return rule

    def delete(self, command: DeleteRules) -> None:
        """Remove the rules with the numbers of a command, or all.

        Raises:
            DialectError: no rule has such a number.
        """
        numbers = {rule.number for _, rule in self._rules}
        for number in command.numbers:
            if number not in numbers:
                known = ", ".join(map(str, sorted(numbers))) or "none"
                raise command.at.error(f"there is no rule {number} to delete: rules are {known}")
        self._rules = [
            entry for entry in self._rules if command.numbers and entry[1].number not in command.numbers
        ]

    def rules(self) -> list[IpfwRule]:
        """Return the rules in the order in which they are tried."""
        return [rule for _, rule in self._rules]

    def listing(self) -> str:
        """Return what ``ipfw list`` prints."""
        lines = [f"{rule.number:05d} {rule.body}" for rule in self.rules()]
        return "\n".join([*lines, f"{DEFAULT_RULE} {self.default_action} ip from any to any"])

    @property
    def default_action(self) -> str:
        """What the last rule does."""
        return "allow" if self.default_to_accept else "deny"

    def evaluate(self, passage: Passage, one_pass: bool = True, after: Place | None = None) -> Decision:
        """Return what becomes of a packet.

        Args:
            passage: the packet and where it is.
            one_pass: a packet has passed when it comes out of its pipe or queue.
            after: the place of the rule that sent it there, if it came out and goes on.

        Raises:
            ValueError: a rule has a probability, and there is no ``draw``.
        """
        counted: list[IpfwRule] = []
        lowest = 0
        lasting = True
        for place, rule in self._rules:
            if (after is not None and place <= after) or place[0] < lowest:
                continue
            lasting = lasting and not _may_vary(rule, passage.flags)
            if not self._matches(rule, passage):
                continue
            if rule.action in ("count", "skipto"):
                counted.append(rule)
                # skipto looks at what follows only: it cannot go back.
                lowest = max(lowest, rule.argument)
                continue
            resume = place if rule.action in ("pipe", "queue") and not one_pass else None
            return Decision(rule.action, rule, tuple(counted), resume, lasting)
        return Decision(self.default_action, None, tuple(counted), lasting=lasting)

    def _matches(self, rule: IpfwRule, passage: Passage) -> bool:
        # The probability is drawn before anything else is looked at (ipfw(8), prob).
        if rule.probability < 1.0:
            if self.draw is None:
                raise ValueError(
                    f"{rule.at.file}, line {rule.at.number}: prob needs a source of random numbers"
                )
            if self.draw() >= rule.probability:
                return False
        packet = passage.packet
        family = version_of(packet.src)
        if rule.gateway and version_of(rule.gateway) != family:
            return False
        return (
            _protocol_matches(rule.protocol, packet.protocol, family)
            and self._end_matches(rule.source, packet.src, packet.sport, packet.protocol)
            and self._end_matches(rule.destination, packet.dst, packet.dport, packet.protocol)
            and all(_option_matches(option, passage) != option.negated for option in rule.options)
        )

    def _end_matches(self, end: IpfwEnd, address: str, port: int, protocol: str) -> bool:
        if end.me:
            inside = address in self.local and (end.me == "me" or version_of(address) == 6)
        else:
            inside = not end.prefixes or _within(end.prefixes, address)
        if inside == end.negated:
            return False
        if not end.ports:
            return True
        return _port_within(end.ports, port, protocol) != end.ports_negated and protocol in ("tcp", "udp")


def _may_vary(rule: IpfwRule, flags: int) -> bool:
    """Return whether a rule may match a packet, and not the next one without SYN of the same flow.

    A packet without SYN is never ``setup``, and neither is any other one without SYN.
    """
    if rule.probability < 1.0:
        return True
    names = [option.name for option in rule.options]
    return "established" in names or ("setup" in names and bool(flags & SYN))


def _protocol_matches(wanted: str, protocol: str, family: int) -> bool:
    return wanted in ("ip", protocol) or wanted == f"ip{family}"


def _within(prefixes: tuple[Prefix, ...], address: str) -> bool:
    return any(prefix.contains(address) for prefix in prefixes)


def _port_within(ports: PortRanges, port: int, protocol: str) -> bool:
    return protocol in ("tcp", "udp") and any(low <= port <= high for low, high in ports)


def _interface_is(pattern: str, interface: str) -> bool:
    if not interface:
        return False
    return interface.startswith(pattern[:-1]) if pattern.endswith("*") else pattern in ("any", interface)


def _option_matches(option: Option, passage: Passage) -> bool:
    packet, name = passage.packet, option.name
    if name in ("in", "out"):
        return passage.direction == name
    if name == "via":
        inbound = passage.direction == "in"
        return _interface_is(option.word, passage.received if inbound else passage.transmitted)
    if name == "recv":
        return _interface_is(option.word, passage.received)
    if name == "xmit":
        return _interface_is(option.word, passage.transmitted)
    if name == "src-port":
        return _port_within(option.ports, packet.sport, packet.protocol)
    if name == "dst-port":
        return _port_within(option.ports, packet.dport, packet.protocol)
    if name == "src-ip":
        return _within(option.prefixes, packet.src)
    if name == "dst-ip":
        return _within(option.prefixes, packet.dst)
    if name == "proto":
        return packet.protocol == option.word
    if packet.protocol != "tcp":
        return False
    if name == "established":
        return bool(passage.flags & (RST | ACK))
    return passage.flags & (SYN | ACK) == SYN
