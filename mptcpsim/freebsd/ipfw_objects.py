"""What ipfw(8) is told, as objects: rules and their parts, tables, sets; ``str`` writes them again."""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import ACK, FIN, PSH, RST, SYN, URG
from mptcpsim.freebsd.addresses import Prefix
from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.lines import Line

#: Numbers that a rule may have; 65535 is the default rule.
LARGEST_RULE: Final = 65534

#: The flags of TCP by their names, as ``tcpflags`` has them.
TCP_FLAGS: Final = {"fin": FIN, "syn": SYN, "rst": RST, "psh": PSH, "ack": ACK, "urg": URG}

#: The name of the states of rules that give them none.
DEFAULT_FLOW: Final = "default"

PortRanges = tuple[tuple[int, int], ...]


class IpfwEnd(NamedTuple):
    """``from`` or ``to``.

    Attributes:
        prefixes: one of them has to contain the address; empty is any.
        me: "me" or "me6" instead: an address of this host.
        negated: ``not`` in front of the address.
        ports: ranges, limits included; empty is any.
        ports_negated: ``not`` in front of the ports.
        table: the name of a table that has the address instead.
        others: further addresses, one of all has to match (``{ A or B }``).
    """

    prefixes: tuple[Prefix, ...] = ()
    me: str = ""
    negated: bool = False
    ports: PortRanges = ()
    ports_negated: bool = False
    table: str = ""
    others: tuple[IpfwEnd, ...] = ()

    def __str__(self) -> str:
        text = self._address()
        if self.others:
            text = "{ " + " or ".join([text, *(other._address() for other in self.others)]) + " }"
        if self.ports:
            text += f"{' not' if self.ports_negated else ''} {_ports_text(self.ports)}"
        return text

    def _address(self) -> str:
        named = f"table({self.table})" if self.table else self.me
        return ("not " if self.negated else "") + (named or ",".join(map(str, self.prefixes)) or "any")


class Option(NamedTuple):
    """One pattern behind the addresses.

    Attributes:
        name: as ipfw has it.
        negated: ``not`` in front of it.
        word: an interface or a protocol, for the options that take one.
        ports: of src-port and dst-port.
        prefixes: of src-ip and dst-ip.
        flags: of tcpflags: those that are set, and those that are not.
        numbers: types of ICMP.
        table: of src-ip and dst-ip.
        alternatives: one of them has to match (``{ A or B }``).
    """

    name: str
    negated: bool = False
    word: str = ""
    ports: PortRanges = ()
    prefixes: tuple[Prefix, ...] = ()
    flags: tuple[int, int] = (0, 0)
    numbers: tuple[int, ...] = ()
    table: str = ""
    alternatives: tuple[Option, ...] = ()

    def __str__(self) -> str:
        if self.alternatives:
            return "{ " + " or ".join(map(str, self.alternatives)) + " }"
        value = self.word or _ports_text(self.ports) or ",".join(map(str, self.prefixes))
        value = value or (f"table({self.table})" if self.table else ",".join(map(str, self.numbers)))
        wanted, unwanted = self.flags
        value = value or ",".join(
            name if wanted & bit else f"!{name}"
            for name, bit in TCP_FLAGS.items()
            if (wanted | unwanted) & bit
        )
        return f"{'not ' if self.negated else ''}{self.name} {value}".rstrip()


class IpfwRule(NamedTuple):
    """``ipfw add``.

    Attributes:
        at: the line.
        number: 0 lets ipfw choose.
        probability: that a packet which matches counts as matching.
        action: "allow", "deny", "count", "pipe", "queue", "fwd", "skipto", "reset", "unreach" or
            "check-state".
        argument: number of the pipe or queue, or of the rule to skip to.
        gateway: next hop of fwd.
        protocol: "ip", "ip4", "ip6", "tcp", "udp", "icmp" or "icmp6".
        source: of the packet.
        destination: of the packet.
        options: all of them have to match.
        comment: what stands behind ``//``.
        protocols: further protocols, one of all has to match (``{ tcp or udp }``).
        set: the number of its set.
        code: of unreach: the name of the ICMP code.
        keeps: "keep-state" or "limit", or empty.
        flow: the name of the states that it keeps or checks.
        limit: of "limit": the parts of the packet that are counted alike, and how many states they may have.
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
    protocols: tuple[str, ...] = ()
    set: int = 0
    code: str = ""
    keeps: str = ""
    flow: str = DEFAULT_FLOW
    limit: tuple[tuple[str, ...], int] = ((), 0)

    def __str__(self) -> str:
        return " ".join(["ipfw add", *([str(self.number)] if self.number else []), self.body])

    @property
    def body(self) -> str:
        """The rule without its number."""
        words = [f"set {self.set}"] if self.set else []
        words += [f"prob {self.probability!r}"] if self.probability != 1.0 else []
        words += [self.action]
        flow = [f":{self.flow}"] if self.flow != DEFAULT_FLOW else []
        if self.action == "check-state":
            return " ".join([*words, *flow, *([f"// {self.comment}"] if self.comment else [])])
        words += [self.code] if self.code else []
        words += [str(self.argument)] if self.argument else []
        words += [self.gateway] if self.gateway else []
        protocol = self.protocol
        if self.protocols:
            protocol = "{ " + " or ".join([protocol, *self.protocols]) + " }"
        words += [f"{protocol} from {self.source} to {self.destination}", *map(str, self.options)]
        words += [self.keeps, *flow] if self.keeps == "keep-state" else []
        words += ["limit", *self.limit[0], str(self.limit[1]), *flow] if self.keeps == "limit" else []
        words += [f"// {self.comment}"] if self.comment else []
        return " ".join(words)


class DeleteRules(NamedTuple):
    """``ipfw delete N...``, ``ipfw delete set N...``; without numbers ``ipfw flush``.

    Attributes:
        at: the line.
        numbers: of rules.
        sets: of sets.
        ranges: of numbers of rules, limits included.
    """

    at: Line
    numbers: tuple[int, ...] = ()
    sets: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        words = list(map(str, self.numbers)) + [f"{low}-{high}" for low, high in self.ranges]
        if self.sets:
            words = ["set", *map(str, self.sets)]
        return " ".join(["ipfw", "delete" if words else "flush", *words])


class SetCommand(NamedTuple):
    """``ipfw set disable N... enable N...``, ``move [rule] N to M``, ``swap N M``, ``show``.

    Attributes:
        at: the line.
        verb: "switch", "move", "move rule", "swap" or "show".
        disable: the sets whose rules are passed over from now on.
        enable: those whose rules count again.
        numbers: of move and swap.
    """

    at: Line
    verb: str
    disable: tuple[int, ...] = ()
    enable: tuple[int, ...] = ()
    numbers: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        first, second = self.numbers
        if self.verb == "switch":
            words = ["disable", *map(str, self.disable)] if self.disable else []
            words += ["enable", *map(str, self.enable)] if self.enable else []
        elif self.verb == "show":
            words = ["show"]
        else:
            words = [self.verb, str(first), *(["to"] if self.verb.startswith("move") else []), str(second)]
        return " ".join(["ipfw set", *words])


class TableCommand(NamedTuple):
    """``ipfw table NAME create | destroy | add ADDR... | delete ADDR... | flush | list``.

    Attributes:
        at: the line.
        name: of the table; "all" with flush and list.
        verb: what is done.
        prefixes: of add and delete.
    """

    at: Line
    name: str
    verb: str
    prefixes: tuple[Prefix, ...] = ()

    def __str__(self) -> str:
        return " ".join(["ipfw table", self.name, self.verb, *map(str, self.prefixes)])


class ReadFile(NamedTuple):
    """``ipfw /etc/ipfw.rules``: the commands of a file, one a line, without the word ipfw."""

    at: Line
    name: str

    def __str__(self) -> str:
        return f"ipfw {self.name}"


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


class IpfwSwitch(NamedTuple):
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


IpfwCommand = (
    IpfwRule
    | DeleteRules
    | ShowRules
    | IpfwSwitch
    | ObjectCommand
    | Config
    | SetCommand
    | TableCommand
    | ReadFile
)


def _ports_text(ports: PortRanges) -> str:
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ports)
