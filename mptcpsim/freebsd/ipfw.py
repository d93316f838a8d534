"""ipfw(8): the commands that make rules, pipes, queues and schedulers.

Read are, with or without ``ipfw`` in front and with its switches -q and -f::

    add [N] [prob P] allow | deny | count | pipe N | queue N | fwd ADDR | skipto N
        [PROTO from [not] ADDR[,ADDR...] [[not] PORTS] to [not] ADDR[,...] [[not] PORTS]] [OPTION...]
    delete N...    flush    list    show    enable | disable one_pass | firewall
    pipe | queue | sched N config ...      pipe | queue | sched delete N... | flush | list | show

ADDR is ``any``, ``me``, ``me6``, an address, ``ADDR/LENGTH`` or ``ADDR:MASK``; PORTS are numbers and
ranges with commas. An OPTION, with ``not`` in front or without, is ``in``, ``out``, ``via IF``, ``recv
IF``, ``xmit IF`` (``em*`` stands for all em), ``src-ip``, ``dst-ip``, ``src-port``, ``dst-port``,
``proto``, ``established`` or ``setup``; ``//`` begins a comment that belongs to the rule.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mptcpsim.freebsd.addresses import (
    Prefix,
    is_address,
    number_of,
    prefix_of,
    read_address,
    read_prefix,
    version_of,
)
from mptcpsim.freebsd.dummynet import LARGEST_NUMBER, Config, read_config
from mptcpsim.freebsd.lines import (
    Line,
    did_you_mean,
    fraction,
    logical_lines,
    shell_words,
    whole_number,
)

#: Numbers that a rule may have; 65535 is the default rule.
LARGEST_RULE: Final = 65534

PortRanges = tuple[tuple[int, int], ...]


class IpfwEnd(NamedTuple):
    """``from`` or ``to``.

    Attributes:
        prefixes: one of them has to contain the address; empty is any.
        me: "me" or "me6" instead: an address of this host.
        negated: ``not`` in front of the address.
        ports: ranges, limits included; empty is any.
        ports_negated: ``not`` in front of the ports.
    """

    prefixes: tuple[Prefix, ...] = ()
    me: str = ""
    negated: bool = False
    ports: PortRanges = ()
    ports_negated: bool = False

    def __str__(self) -> str:
        text = "not " if self.negated else ""
        text += self.me or ",".join(map(str, self.prefixes)) or "any"
        if self.ports:
            text += f"{' not' if self.ports_negated else ''} {_ports_text(self.ports)}"
        return text


class Option(NamedTuple):
    """One pattern behind the addresses.

    Attributes:
        name: as ipfw has it.
        negated: ``not`` in front of it.
        word: an interface or a protocol, for the options that take one.
        ports: of src-port and dst-port.
        prefixes: of src-ip and dst-ip.
    """

    name: str
    negated: bool = False
    word: str = ""
    ports: PortRanges = ()
    prefixes: tuple[Prefix, ...] = ()

    def __str__(self) -> str:
        value = self.word or _ports_text(self.ports) or ",".join(map(str, self.prefixes))
        return f"{'not ' if self.negated else ''}{self.name} {value}".rstrip()


class IpfwRule(NamedTuple):
    """``ipfw add``.

    Attributes:
        at: the line.
        number: 0 lets ipfw choose.
        probability: that a packet which matches counts as matching.
        action: "allow", "deny", "count", "pipe", "queue", "fwd" or "skipto".
        argument: number of the pipe or queue, or of the rule to skip to.
        gateway: next hop of fwd.
        protocol: "ip", "ip4", "ip6", "tcp", "udp", "icmp" or "icmp6".
        source: of the packet.
        destination: of the packet.
        options: all of them have to match.
        comment: what stands behind ``//``.
    """

    at: Line
    number: int = 0
    probability: float = 1.0
    action: str = "allow"
    argument: int = 0
    gateway: str = ""
    protocol: str = "ip"
    source: IpfwEnd = IpfwEnd()
    destination: IpfwEnd = IpfwEnd()
    options: tuple[Option, ...] = ()
    comment: str = ""

    def __str__(self) -> str:
        return " ".join(["ipfw add", *([str(self.number)] if self.number else []), self.body])

    @property
    def body(self) -> str:
        """The rule without its number."""
        words = [f"prob {self.probability!r}"] if self.probability != 1.0 else []
        words += [self.action]
        words += [str(self.argument)] if self.argument else []
        words += [self.gateway] if self.gateway else []
        words += [f"{self.protocol} from {self.source} to {self.destination}", *map(str, self.options)]
        words += [f"// {self.comment}"] if self.comment else []
        return " ".join(words)


class DeleteRules(NamedTuple):
    """``ipfw delete N...``; without numbers ``ipfw flush``."""

    at: Line
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join(["ipfw", "delete" if self.numbers else "flush", *map(str, self.numbers)])


class ShowRules(NamedTuple):
    """``ipfw list`` or ``ipfw show``, which print alike: rules have no counters.

    Attributes:
        at: the line.
        verb: "list" or "show".
    """

    at: Line
    verb: str = "show"

    def __str__(self) -> str:
        return f"ipfw {self.verb}"


class Switch(NamedTuple):
    """``ipfw enable | disable one_pass | firewall``."""

    at: Line
    name: str
    on: bool

    def __str__(self) -> str:
        return f"ipfw {'enable' if self.on else 'disable'} {self.name}"


class ObjectCommand(NamedTuple):
    """``ipfw pipe delete 1``, ``ipfw queue show``, ``ipfw pipe flush``; without numbers all of them."""

    at: Line
    kind: str
    verb: str
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join(["ipfw", self.kind, self.verb, *map(str, self.numbers)])


IpfwCommand = IpfwRule | DeleteRules | ShowRules | Switch | ObjectCommand | Config


def read_ipfw(text: str, file: str = "ipfw.rules") -> tuple[IpfwCommand, ...]:
    """Return the commands of a file of rules.

    Raises:
        DialectError: the first line that is not understood.
    """
    found = []
    for at in logical_lines(text, file):
        words = shell_words(at, at.text)
        if words:
            found.append(read_ipfw_command(at, words[1:] if words[0] == "ipfw" else words))
    return tuple(found)


def read_ipfw_command(at: Line, words: list[str]) -> IpfwCommand:
    """Return the command that stands behind the word ``ipfw``.

    As ipfw has it, the whole command may be one word in quotes, and spaces may stand behind commas.

    Raises:
        DialectError: it is not understood.
    """
    if len(words) == 1:
        words = words[0].split()
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].endswith(","):
            joined[-1] += word
        else:
            joined.append(word)
    return _Command(at, joined).read()


def _ports_text(ports: PortRanges) -> str:
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ports)


_VERBS: Final = ("add", "delete", "flush", "list", "show", "enable", "disable", "pipe", "queue", "sched")
_ACTIONS: Final = {
    "allow": "allow", "accept": "allow", "pass": "allow", "permit": "allow", "deny": "deny", "drop": "deny",
    "count": "count", "pipe": "pipe", "queue": "queue", "fwd": "fwd", "forward": "fwd", "skipto": "skipto",
}  # fmt: skip
_NO_ACTIONS: Final = {
    "reject": "nobody is told: write deny",
    "reset": "nobody is told: write deny",
    "unreach": "nobody is told: write deny",
    "divert": "there are no divert sockets: leave the rule out",
    "nat": "addresses are not translated here: put a NAT on a link of the scenario",
    "check-state": "ipfw keeps no states here: use pf where states are needed",
    "setfib": "use fwd with the gateway",
    "log": "nothing is logged: leave it out",
}
_PROTOCOLS: Final = {
    "ip": "ip", "all": "ip", "ip4": "ip4", "ipv4": "ip4", "ip6": "ip6", "ipv6": "ip6", "tcp": "tcp",
    "udp": "udp", "icmp": "icmp", "icmp6": "icmp6", "ipv6-icmp": "icmp6",
    "1": "icmp", "6": "tcp", "17": "udp", "58": "icmp6",
}  # fmt: skip
_OPTIONS: Final = ("in", "out", "via", "recv", "xmit", "src-ip", "dst-ip", "src-ip6", "dst-ip6", "src-port",
                   "dst-port", "proto", "established", "setup")  # fmt: skip
_NO_OPTIONS: Final = {
    "keep-state": "ipfw keeps no states here: write a rule for each direction",
    "limit": "ipfw keeps no states here: leave it out",
    "log": "nothing is logged: leave it out",
    "layer2": "packets are seen at the IP layer only: leave it out",
    "port": "write the number behind the address, or 'dst-port' and the number",
    "or": "write one rule for each alternative",
}
_PORTS: Final = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


class _Command:
    def __init__(self, at: Line, words: list[str]) -> None:
        self.at = at
        self.words = words
        self.next = 0

    def read(self) -> IpfwCommand:
        while self._peek() in ("-q", "-f", "-fq", "-qf"):
            self.next += 1
        verb = self._take("a command of ipfw")
        if verb == "add":
            return self._rule()
        if verb in ("pipe", "queue", "sched"):
            return self._object(verb)
        if verb == "delete":
            return DeleteRules(self.at, self._numbers("rule", LARGEST_RULE, needed=True))
        if verb in ("flush", "list", "show"):
            self._end()
            return DeleteRules(self.at) if verb == "flush" else ShowRules(self.at, verb)
        if verb in ("enable", "disable"):
            name = self._take("what to switch")
            if name not in ("one_pass", "firewall"):
                raise self.at.error(f"{name!r} cannot be switched here: known are one_pass and firewall")
            self._end()
            return Switch(self.at, name, verb == "enable")
        raise self.at.error(f"'ipfw {verb}' is not known here: {did_you_mean(verb, _VERBS)}")

    # --- pipe, queue, sched ---

    def _object(self, kind: str) -> ObjectCommand | Config:
        """Read both orders, as ipfw does: ``pipe 1 delete`` and ``pipe delete 1``."""
        first = self._take(f"the number of the {kind}, or what to do with it")
        verbs = ("config", "delete", "flush", "list", "show")
        if first.isdigit() and self._peek() in verbs:
            verb = self._take("")
            number = whole_number(self.at, first, f"number of a {kind}", 1, LARGEST_NUMBER)
            if verb == "config":
                return read_config(self.at, kind, number, self.words[self.next :])
            self._end()
            return ObjectCommand(self.at, kind, verb, (number,))
        if first == "config":
            number = whole_number(self.at, self._take("a number"), f"number of a {kind}", 1, LARGEST_NUMBER)
            return read_config(self.at, kind, number, self.words[self.next :])
        if first not in verbs:
            word = self._peek() if first.isdigit() else first
            raise self.at.error(f"'ipfw {kind}' does not know {word!r}: {did_you_mean(word, verbs)}")
        numbers = self._numbers(kind, LARGEST_NUMBER, needed=first == "delete")
        return ObjectCommand(self.at, kind, first, numbers)

    def _numbers(self, what: str, highest: int, needed: bool) -> tuple[int, ...]:
        if needed and not self._peek():
            raise self.at.error(f"the number of a {what} is missing: write it")
        words = self.words[self.next :]
        return tuple(whole_number(self.at, word, f"number of a {what}", 1, highest) for word in words)

    # --- add ---

    def _rule(self) -> IpfwRule:
        number = 0
        if self._peek().isdigit():
            number = whole_number(self.at, self._take(""), "number of a rule", 1, LARGEST_RULE)
        if self._peek() == "set":
            raise self.at.error("sets of rules are not simulated: leave 'set' and its number out")
        probability = 1.0
        if self._maybe("prob"):
            probability = fraction(self.at, self._take("a probability"), "probability", 0, 1)
        action, argument, gateway = self._action()
        if self._peek() in ("log", "logamount"):
            raise self.at.error("'log': nothing is logged: leave it out; captures show what happened")
        protocol, source, destination = "ip", IpfwEnd(), IpfwEnd()
        # "ip from any to any" may be left out, but not everything (ipfw(8), RULE BODY).
        first = self._peek(1) if self._peek() == "not" else self._peek()
        if first.replace("ipv6", "ip6") not in (*_OPTIONS, *_NO_OPTIONS):
            protocol = self._protocol()
            self._expect("from")
            source = self._end_of_packet(protocol)
            self._expect("to")
            destination = self._end_of_packet(protocol)
        options, comment = self._options()
        return IpfwRule(
            self.at,
            number,
            probability,
            action,
            argument,
            gateway,
            protocol,
            source,
            destination,
            options,
            comment,
        )

    def _action(self) -> tuple[str, int, str]:
        word = self._take("what to do with the packets, such as allow or pipe 1")
        if word in _NO_ACTIONS:
            raise self.at.error(f"{word!r}: {_NO_ACTIONS[word]}")
        if word not in _ACTIONS:
            raise self.at.error(f"{word!r} is no action that is known here: {did_you_mean(word, _ACTIONS)}")
        action = _ACTIONS[word]
        if action in ("pipe", "queue"):
            text = self._take(f"the number of the {action}")
            return action, whole_number(self.at, text, f"number of a {action}", 1, LARGEST_NUMBER), ""
        if action == "skipto":
            text = self._take("the number of a rule")
            return action, whole_number(self.at, text, "number of a rule", 1, LARGEST_RULE + 1), ""
        if action == "fwd":
            text = self._take("the address of the next hop")
            if "," in text:
                raise self.at.error(
                    "fwd with a port hands packets to a proxy, and there is none: leave the port out"
                )
            return action, 0, read_address(self.at, text)
        return action, 0, ""

    def _protocol(self) -> str:
        word = self._take("a protocol, such as ip or tcp,")
        if word in ("{", "("):
            raise self.at.error("alternatives in braces are not simulated: write one rule for each")
        if word not in _PROTOCOLS:
            raise self.at.error(
                f"{word!r} is no protocol that is simulated: {did_you_mean(word, _PROTOCOLS)}"
            )
        return _PROTOCOLS[word]

    def _end_of_packet(self, protocol: str) -> IpfwEnd:
        negated = self._maybe("not")
        word = self._take("an address, such as any,")
        me = word if word in ("me", "me6") else ""
        prefixes = () if word == "any" or me else self._prefixes(word)
        if negated and word == "any":
            raise self.at.error("'not any' matches no packet: write the addresses that are meant")
        ports_negated = self._peek() == "not" and _PORTS.fullmatch(self._peek(1)) is not None
        if ports_negated:
            self.next += 1
        ports: PortRanges = ()
        if self._peek()[:1].isdigit():
            ports = self._ports(self._take(""))
            if protocol not in ("tcp", "udp", "ip", "ip4", "ip6"):
                raise self.at.error(f"{protocol} has no ports: leave them out, or write tcp or udp")
        return IpfwEnd(prefixes, me, negated, ports, ports_negated)

    def _prefixes(self, word: str) -> tuple[Prefix, ...]:
        if "{" in word or "(" in word:
            raise self.at.error(
                f"{word!r}: sets, tables and alternatives are not simulated: write prefixes with commas"
            )
        return tuple(self._prefix(part) for part in word.split(","))

    def _prefix(self, word: str) -> Prefix:
        address, colon, mask = word.rpartition(":")
        if colon and is_address(address) and version_of(address) == 4:
            if not is_address(mask) or version_of(mask) == 6:
                raise self.at.error(
                    f"{mask!r} is no mask: write one such as 255.255.255.0, or a prefix length"
                )
            ones = number_of(mask)[1]
            return Prefix(4, number_of(address)[1] & ones, ones)
        if "/" in word:
            return read_prefix(self.at, word)
        return prefix_of(self.at, word, None)

    def _ports(self, word: str) -> PortRanges:
        if _PORTS.fullmatch(word) is None:
            raise self.at.error(
                f"{word!r} are no ports: write numbers and ranges with commas, such as 80,5000-5010"
            )
        found = []
        for part in word.split(","):
            low, _, high = part.partition("-")
            first = whole_number(self.at, low, "port", 0, 65535)
            last = whole_number(self.at, high or low, "port", 0, 65535)
            if first > last:
                raise self.at.error(f"the range of ports {part} runs backwards: exchange its ends")
            found.append((first, last))
        if len(found) > 30:
            raise self.at.error(
                "ipfw takes at most 30 ports or ranges in one list: use ranges, or several rules"
            )
        return tuple(found)

    def _options(self) -> tuple[tuple[Option, ...], str]:
        options: list[Option] = []
        while self._peek():
            if self._maybe("//"):
                return self._checked(options), " ".join(self.words[self.next :])
            negated = self._maybe("not")
            name = self._take("an option").replace("ipv6", "ip6")
            if name in _NO_OPTIONS:
                raise self.at.error(f"{name!r}: {_NO_OPTIONS[name]}")
            if name not in _OPTIONS:
                raise self.at.error(
                    f"{name!r} is no option that is known here: {did_you_mean(name, _OPTIONS)}"
                )
            options.append(self._option(name, negated))
        return self._checked(options), ""

    def _option(self, name: str, negated: bool) -> Option:
        if name in ("in", "out", "established", "setup"):
            return Option(name, negated)
        value = self._take(f"the value of {name}")
        if name in ("via", "recv", "xmit"):
            if is_address(value):
                raise self.at.error(f"{name} {value}: write the name of the interface instead of its address")
            if re.fullmatch(r"[A-Za-z][\w.-]{0,31}\*?", value) is None:
                raise self.at.error(f"{name} {value}: write the name of an interface, such as em0")
            return Option(name, negated, value)
        if name == "proto":
            if value not in _PROTOCOLS or _PROTOCOLS[value].startswith("ip"):
                raise self.at.error(f"proto {value}: known are tcp, udp, icmp and icmp6")
            return Option(name, negated, _PROTOCOLS[value])
        if name.endswith("-port"):
            return Option(name, negated, ports=self._ports(value))
        return Option(name.removesuffix("6"), negated, prefixes=self._prefixes(value))

    def _checked(self, options: list[Option]) -> tuple[Option, ...]:
        """Refuse what no packet can match (ipfw(8), ``recv | xmit | via``)."""
        # `out` is `not in`, and the other way round.
        inbound = {
            (option.name == "in") != option.negated for option in options if option.name in ("in", "out")
        }
        if len(inbound) > 1:
            raise self.at.error("'in' and 'out' exclude each other: leave one of them out")
        if any(option.name == "xmit" for option in options) and inbound != {False}:
            raise self.at.error("'xmit' is known of packets on their way out only: write 'out xmit IF'")
        return tuple(options)

    # --- Words ---

    def _peek(self, ahead: int = 0) -> str:
        return self.words[self.next + ahead] if self.next + ahead < len(self.words) else ""

    def _take(self, what: str) -> str:
        if self.next >= len(self.words):
            raise self.at.error(f"the line ends where {what} is missing: write it")
        self.next += 1
        return self.words[self.next - 1]

    def _maybe(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self.next += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._maybe(word):
            found = f"{self._peek()!r} stands" if self._peek() else "the line ends"
            raise self.at.error(
                f"{found} where {word!r} is missing: a rule is '... PROTO from ADDR to ADDR ...'"
            )

    def _end(self) -> None:
        if self.next < len(self.words):
            raise self.at.error(f"{self.words[self.next]!r} is too much: leave it out")
