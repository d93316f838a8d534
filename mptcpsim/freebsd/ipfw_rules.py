"""ipfw at work: the first rule that matches decides; ``count`` goes on, ``skipto`` goes on further down.

A packet that a rule sends to a pipe or queue comes out of it later. With ``one_pass`` (the default
of net.inet.ip.fw.one_pass) it has then passed; without it the search goes on behind that rule:
``IpfwDecision.resume`` is what to hand to ``evaluate`` as ``after``.

A rule with ``keep-state`` or ``limit``, and ``check-state``, first looks for a state of the packet's
connection: if there is one, its rule decides, and the search goes on behind that rule if it has to.

Rule 65535 is the last one. FreeBSD's denies everything unless net.inet.ip.fw.default_to_accept is
set; ``IpfwRules`` takes that as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final, NamedTuple

from mptcpsim.core.segment import ACK, RST, SYN
from mptcpsim.freebsd.address_sets import AddressTable
from mptcpsim.freebsd.addresses import FiveTuple, Prefix, version_of
from mptcpsim.freebsd.ipfw_objects import (
    LARGEST_RULE,
    DeleteRules,
    IpfwEnd,
    IpfwRule,
    Option,
    PortRanges,
    SetCommand,
    TableCommand,
)
from mptcpsim.freebsd.ipfw_rule import LARGEST_SET
from mptcpsim.freebsd.ipfw_states import DynamicRule, DynamicRules, RulePlace
from mptcpsim.freebsd.site import Site

#: What ipfw adds to the number of the last rule for one without a number.
STEP: Final = 100
DEFAULT_RULE: Final = LARGEST_RULE + 1


class IpfwPacket(NamedTuple):
    """A packet on its way through the firewall of a host.

    Attributes:
        packet: addresses and ports.
        direction: "in" or "out".
        received: the interface that it came in by; empty for packets of this host's own.
        transmitted: the interface that it goes out by; empty inbound.
        flags: those of TCP.
        icmp: type and code of an ICMP error.
    """

    packet: FiveTuple
    direction: str
    received: str = ""
    transmitted: str = ""
    flags: int = 0
    icmp: tuple[int, int] = (-1, -1)


class IpfwDecision(NamedTuple):
    """What becomes of a packet.

    Attributes:
        action: "allow", "deny", "pipe", "queue", "fwd", "reset" or "unreach".
        rule: that decided; None is the default rule.
        counted: rules that matched before it (``count`` and ``skipto``).
        resume: without one_pass: where the search goes on after the pipe or queue.
        lasting: packets of the same passage without SYN are decided about alike: neither chance nor
            flags had a say, nor states.
        state: of the packet's connection, if that decided.
        limit: why the rule could not keep a state, and denies for that reason; or empty.
    """

    action: str
    rule: IpfwRule | None
    counted: tuple[IpfwRule, ...] = ()
    resume: RulePlace | None = None
    lasting: bool = True
    state: DynamicRule | None = None
    limit: str = ""

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
        if self.state is not None:
            where = (
                f"ipfw, the state of {self.state.packet.src} > {self.state.packet.dst} made by {where[5:]}"
            )
        if self.limit:
            return f"{where}: deny ({self.limit})"
        return f"{where}: {self.action} {self.argument or self.gateway or self.rule.code or ''}".rstrip()


class IpfwRules:
    """The rules of one host, in the order of their numbers.

    Attributes:
        default_to_accept: what the last rule does with packets that no other one has decided about.
        local: addresses of the host, for ``me``.
        draw: a number from 0 to 1, 1 excluded, for ``prob``.
        site: the node, for ways back and addresses of interfaces.
        tables: by name.
        disabled: sets whose rules are passed over.
        states: of rules that keep some.
    """

    def __init__(
        self,
        default_to_accept: bool,
        local: Container[str] = (),
        draw: Callable[[], float] | None = None,
        clock: Callable[[], int] = lambda: 0,
        site: Site | None = None,
    ) -> None:
        self.default_to_accept = default_to_accept
        self.local = local
        self.draw = draw
        self.site = site or Site()
        self.tables: dict[str, AddressTable] = {}
        self.disabled: set[int] = set()
        self.states = DynamicRules(clock)
        self._rules: list[tuple[RulePlace, IpfwRule]] = []
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

        def goes(rule: IpfwRule) -> bool:
            if command.sets:
                return rule.set in command.sets
            if command.numbers or command.ranges:
                return rule.number in command.numbers or any(
                    low <= rule.number <= high for low, high in command.ranges
                )
            return rule.set != LARGEST_SET  # flush spares the last set

        self.states.forget({place for place, rule in self._rules if goes(rule)})
        self._rules = [entry for entry in self._rules if not goes(entry[1])]

    def change_sets(self, command: SetCommand) -> str:
        """Carry out ``ipfw set``, and return what it prints."""
        first, second = command.numbers

        def moved(rule: IpfwRule) -> IpfwRule:
            if command.verb == "move rule":
                return rule._replace(set=second) if rule.number == first else rule
            if command.verb == "move":
                return rule._replace(set=second) if rule.set == first else rule
            return rule._replace(set={first: second, second: first}.get(rule.set, rule.set))

        if command.verb == "switch":
            self.disabled |= set(command.disable)
            self.disabled -= set(command.enable)
        elif command.verb != "show":
            self._rules = [(place, moved(rule)) for place, rule in self._rules]
        else:
            enabled = [str(number) for number in range(LARGEST_SET) if number not in self.disabled]
            disabled = "".join(f" {number}" for number in sorted(self.disabled))
            return (
                f"disable{disabled} enable {' '.join(enabled)}" if disabled else f"enable {' '.join(enabled)}"
            )
        return ""

    def change_table(self, command: TableCommand) -> str:
        """Carry out ``ipfw table``, and return what it prints.

        Raises:
            DialectError: an entry to delete is not there.
        """
        names = list(self.tables) if command.name == "all" else [command.name]
        printed: list[str] = []
        for name in names:
            table = self.table(name)
            if command.verb in ("flush", "destroy"):
                table.clear()
            elif command.verb == "list":
                entries = [str(prefix) for prefix, _ in table.entries()]
                printed += [f"--- table({name}), set(0) ---", *entries]
            for prefix in command.prefixes:
                if command.verb == "add":
                    table.add(prefix)
                elif not table.remove(prefix):
                    raise command.at.error(f"{prefix} is not in table {name}: nothing is deleted")
        return "\n".join(printed)

    def table(self, name: str) -> AddressTable:
        """Return a table; one that was not created is empty."""
        if name not in self.tables:
            self.tables[name] = AddressTable(name, word=f"table({name})")
        return self.tables[name]

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

    def evaluate(
        self, passage: IpfwPacket, one_pass: bool = True, after: RulePlace | None = None
    ) -> IpfwDecision:
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
        packet, flags = passage.packet, passage.flags
        position = 0
        while position < len(self._rules):
            place, rule = self._rules[position]
            position += 1
            if (after is not None and place <= after) or place[0] < lowest or rule.set in self.disabled:
                continue
            state = None
            if rule.keeps or rule.action == "check-state":
                lasting = False
                state = self.states.find(packet, rule.flow)
                if state is None and rule.action == "check-state":
                    continue
            if state is not None:
                self.states.see(state, packet, flags)
                place, rule = state.place, state.rule
                position = next(n for n, (other, _) in enumerate(self._rules, 1) if other == place)
            else:
                lasting = lasting and not _may_vary(rule, flags)
                if not self._matches(rule, passage):
                    continue
                if rule.keeps and (limit := self.states.make(place, rule, packet, flags)):
                    return IpfwDecision("deny", rule, tuple(counted), lasting=False, limit=limit)
            if rule.action in ("count", "skipto"):
                counted.append(rule)
                # skipto looks at what follows only: it cannot go back.
                lowest = max(lowest, rule.argument)
                continue
            resume = place if rule.action in ("pipe", "queue") and not one_pass else None
            return IpfwDecision(rule.action, rule, tuple(counted), resume, lasting, state)
        return IpfwDecision(self.default_action, None, tuple(counted), lasting=lasting)

    def _matches(self, rule: IpfwRule, passage: IpfwPacket) -> bool:
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
            (
                _protocol_matches(rule.protocol, packet.protocol, family)
                or any(_protocol_matches(other, packet.protocol, family) for other in rule.protocols)
            )
            and self._end_matches(rule.source, packet.src, packet.sport, packet.protocol)
            and self._end_matches(rule.destination, packet.dst, packet.dport, packet.protocol)
            and all(self._option_matches(option, passage) for option in rule.options)
        )

    def _end_matches(self, end: IpfwEnd, address: str, port: int, protocol: str) -> bool:
        if not self._has(end, address) and not any(self._has(other, address) for other in end.others):
            return False
        if not end.ports:
            return True
        return _port_within(end.ports, port, protocol) != end.ports_negated and protocol in ("tcp", "udp")

    def _has(self, end: IpfwEnd, address: str) -> bool:
        if end.table:
            inside = self.table(end.table).has(address)
        elif end.me:
            inside = self._is_local(end.me, address)
        else:
            inside = not end.prefixes or _within(end.prefixes, address)
        return inside != end.negated

    def _is_local(self, word: str, address: str) -> bool:
        return address in self.local and (word == "me" or version_of(address) == 6)

    def _option_matches(self, option: Option, passage: IpfwPacket) -> bool:
        if option.alternatives:
            return any(self._option_matches(other, passage) for other in option.alternatives)
        name, packet = option.name, passage.packet
        if name in ("src-ip", "dst-ip") and not option.prefixes:
            address = packet.src if name == "src-ip" else packet.dst
            if option.table:
                found = self.table(option.table).has(address)
            else:
                found = not option.word or self._is_local(option.word, address)
        elif name in ("verrevpath", "versrcreach", "antispoof"):
            found = self._comes_rightly(name, passage)
        else:
            found = _option_matches(option, passage)
        return found != option.negated

    def _comes_rightly(self, name: str, passage: IpfwPacket) -> bool:
        """Return whether a packet has come by the way to its source; leaving ones have, says ipfw(8)."""
        if passage.direction == "out":
            return True
        way = self.site.way_to(passage.packet.src)
        if name == "versrcreach":
            return bool(way)
        if name == "verrevpath":
            return way == passage.received
        # antispoof: what comes from a network of ours has to come by its interface.
        for interface in self.site.names.system_names():
            owns = self.site.addresses(interface)
            if interface != passage.received and any(own.has(passage.packet.src) for own in owns):
                return False
        return True


def _may_vary(rule: IpfwRule, flags: int) -> bool:
    """Return whether a rule may match a packet, and not the next one without SYN of the same flow.

    A packet without SYN is never ``setup``, and neither is any other one without SYN.
    """
    if rule.probability < 1.0:
        return True
    names = [option.name for option in rule.options]
    names += [other.name for option in rule.options for other in option.alternatives]
    return "established" in names or "tcpflags" in names or ("setup" in names and bool(flags & SYN))


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


def _option_matches(option: Option, passage: IpfwPacket) -> bool:
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
    if name == "ipversion":
        return version_of(packet.src) == int(option.word)
    if name == "icmptypes":
        return packet.protocol == "icmp" and passage.icmp[0] in option.numbers
    if name == "icmp6types":
        return packet.protocol == "icmp6" and passage.icmp[0] in option.numbers
    if name == "ipoptions":
        return all(word.startswith("!") for word in option.word.split(","))
    if packet.protocol != "tcp":
        return False
    if name == "tcpflags":
        wanted, unwanted = option.flags
        return passage.flags & wanted == wanted and not passage.flags & unwanted
    if name == "established":
        return bool(passage.flags & (RST | ACK))
    if name == "setup":
        return passage.flags & (SYN | ACK) == SYN
    return False  # frag, layer2, bridged, ipsec, diverted: no packet is any of these
