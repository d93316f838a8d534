r"""pf.conf(5), the part that decides where packets go: macros, lists and filter rules.

Read are macros (``name = "value"``, ``$name``), comments, continued lines, lists in braces,
``set state-policy``, ``set skip on``, and the rules::

    pass | block [drop | return] [in | out] [quick] [on [!] IF] [route-to | reply-to (IF [GATEWAY])]
        [inet | inet6] [proto P] [all | from [!] ADDR [port OP] to [!] ADDR [port OP]]
        [flags A/B | flags any] [keep state [(if-bound | floating | sloppy)] | no state]

A list in braces expands to one rule for each combination. What pf would refuse is refused: a
``route-to`` without a direction, ports without tcp or udp, flags that nothing can match. What pf
takes and the simulation does not (nat, tables, anchors, queues) is an error that says so.

Kept as pf has it: an address without a prefix length is one host; macros are not expanded inside
quotes; a comment goes to the end of a continued line; a stateful rule matches ``flags S/SA`` unless
it says otherwise, so that only a SYN creates a state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Final, NamedTuple, TypeVar

from mptcpsim.core.segment import ACK, SYN
from mptcpsim.freebsd.addresses import Prefix, is_address, read_address, read_prefix
from mptcpsim.freebsd.lines import (
    LONGEST_WORD,
    DialectError,
    Line,
    did_you_mean,
    physical_lines,
    whole_number,
)
from mptcpsim.freebsd.pf_conf import (
    ANYWHERE,
    COMPARISONS,
    FLAG_LETTERS,
    End,
    Macro,
    PfConf,
    PfRule,
    Ports,
    RouteOption,
)

#: Rules that lists may expand to: more are a mistake, or hostile.
MOST_RULES: Final = 10_000
#: Lists of hosts in one another, as macros bring them about.
DEEPEST_LIST: Final = 20
#: Words of a file with its macros expanded, and characters of a macro.
MOST_WORDS: Final = 300_000
LONGEST_VALUE: Final = 20_000

_PROTOCOLS: Final = {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "icmp6": "icmp6", "ipv6-icmp": "icmp6",
                     "6": "tcp", "17": "udp", "1": "icmp", "58": "icmp6"}  # fmt: skip

#: Statements and words of pf.conf that are not simulated, and what to do instead.
_STATEMENTS: Final = {
    "nat": "addresses are not translated here: put a NAT on a link of the scenario",
    "rdr": "addresses are not translated here: put a NAT on a link of the scenario",
    "binat": "addresses are not translated here: put a NAT on a link of the scenario",
    "scrub": "packets are not normalised here: leave the line out",
    "table": "tables are not simulated: write the addresses as a list in braces",
    "anchor": "anchors are not simulated: write the rules in the file itself",
    "load": "anchors are not simulated: write the rules in the file itself",
    "include": "files are not included: write the rules in the file itself",
    "antispoof": "antispoof is not simulated: write the block rules that it stands for",
    "altq": "queues are those of ipfw here: use a pipe of dummynet",
    "queue": "queues are those of ipfw here: use a pipe of dummynet",
    "match": "match rules are not simulated: write pass rules",
}
_WORDS: Final = {
    "log": "nothing is logged: leave it out; captures and 'mptcpsim route' show what happened",
    "dup-to": "packets are not copied: use route-to",
    "fastroute": "fastroute is not simulated: leave it out",
    "modulate": "sequence numbers are not changed: write 'keep state'",
    "synproxy": "pf does not answer for others here: write 'keep state'",
    "os": "systems have no fingerprints here: leave it out",
    "self": "write the addresses of the host, as a list in braces",
    "no-route": "it is not simulated: write the prefixes",
    "urpf-failed": "it is not simulated: write the prefixes",
    "return-rst": "write 'return', which answers TCP with a RST",
    "return-icmp": "write 'return' or 'drop'",
    **dict.fromkeys(("label", "tag", "queue", "allow-opts"), "it has no effect here: leave it out"),
    **dict.fromkeys(("tagged", "user", "group", "tos", "probability", "rtable", "icmp-type", "icmp6-type"),
                    "it is not simulated: a rule cannot depend on it here"),
}  # fmt: skip
_RESERVED: Final = frozenset(
    ("all", "any", "block", "flags", "from", "in", "inet", "inet6", "keep", "no", "on", "out", "pass", "port",
     "proto", "quick", "reply-to", "route-to", "set", "state", "to")
)  # fmt: skip


def read_pf(text: str, file: str = "pf.conf") -> PfConf:
    """Return what a pf.conf says.

    Raises:
        DialectError: the first line that is not understood.
    """
    return _Reader(text, file).read()


# --- Words ---------------------------------------------------------------------------------------


class _Word(NamedTuple):
    """A word and where it stands; ``plain`` if it was not in quotes."""

    text: str
    at: Line
    plain: bool = True


_TOKEN: Final = re.compile(r"""(?P<string>"[^"]*"|'[^']*')|(?P<sign>!=|<=|>=|><|<>|[{}(),/=!<>])"""
                           r"""|(?P<macro>\$[A-Za-z0-9_]*)|(?P<word>[^\s{}(),/=!<>"'$#]+)""")  # fmt: skip


def _words(text: str, at: Line, macros: dict[str, Macro]) -> Iterator[_Word]:
    """Yield the words of a line, macros expanded once, as pf does it: outside of quotes only."""
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            sign = text[position]
            raise at.error(f"the quote {sign} is not closed: close it on the same line" if sign in "\"'" else
                           f"{sign!r} is not understood here: take it out")  # fmt: skip
        if match.end() - position > LONGEST_WORD:
            raise at.error(f"a word of more than {LONGEST_WORD} characters: this is no configuration")
        position = match.end()
        if match["macro"] is not None:
            yield from _expanded(match["macro"][1:], at, macros)
        elif match["string"] is not None:
            yield _Word(match["string"][1:-1], at, plain=False)
        else:
            yield _Word(match.group(), at)


def _expanded(name: str, at: Line, macros: dict[str, Macro]) -> Iterator[_Word]:
    if name not in macros:
        remedy = did_you_mean(name, macros) if macros else "define it"
        raise at.error(f"macro '${name}' is not defined above this line: {remedy}")
    value = macros[name].value
    inner = re.search(r"\$\w*", value)
    if inner is not None:
        raise macros[name].at.error(
            f"macro {name!r} has {inner.group()} inside quotes, where pf does not expand it: write it outside"
        )
    try:
        yield from list(_words(value, at, {}))
    except DialectError as error:
        raise at.error(f"in macro ${name}, whose value is {value!r}: {error.problem}") from None


def _uncommented(line: str) -> str:
    """Return a line without its comment; a ``#`` inside quotes is none."""
    quote = ""
    for position, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#":
            return line[:position]
    return line


# --- Statements ----------------------------------------------------------------------------------

T = TypeVar("T")


class _Reader:
    """Reads one file; ``words`` are those of the statement at hand, ``next`` the first unread one."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = physical_lines(text, file)
        self.macros: dict[str, Macro] = {}
        self.defined: list[Macro] = []
        self.rules: list[PfRule] = []
        self.if_bound = False
        self.skip: set[str] = set()
        self.words: list[_Word] = []
        self.next = 0
        self.count = 0
        self.at = Line(file, 1, "")

    def read(self) -> PfConf:
        for _ in self._statements():
            self.next = 0
            if len(self.words) > 1 and self.words[1].text == "=" and self.words[1].plain:
                self._macro()
            else:
                self._statement()
        return PfConf(tuple(self.defined), tuple(self.rules), self.if_bound, frozenset(self.skip))

    def _statements(self) -> Iterator[None]:
        """Put one statement after the other into ``words``: a line, or more while a brace is open."""
        number = 0
        while number < len(self.lines):
            first = number
            self.words = []
            parts: list[str] = []
            depth = 0
            while number < len(self.lines):
                start = number
                while self.lines[number].endswith("\\") and number + 1 < len(self.lines):
                    number += 1
                number += 1
                # pf joins continued lines before it looks for comments.
                whole = " ".join(self.lines[k].removesuffix("\\") for k in range(start, number))
                parts.append(_uncommented(whole))
                self.at = Line(self.file, start + 1, whole.strip())
                words = self._within_limits(_words(parts[-1], self.at, self.macros))
                self.words += words
                depth += sum((w.text == "{") - (w.text == "}") for w in words if w.plain)
                if depth <= 0:
                    break
            self.at = Line(self.file, first + 1, " ".join(part.strip() for part in parts).strip())
            if depth > 0:
                raise self.at.error("a brace { is not closed: close it with }")
            self.words = [word._replace(at=self.at) for word in self.words]
            if self.words:
                yield

    def _within_limits(self, words: Iterator[_Word]) -> list[_Word]:
        """Return the words; macros that are made of macros could make more of them than fit anywhere."""
        found = []
        for word in words:
            found.append(word)
            self.count += 1
            if self.count > MOST_WORDS:
                raise self.at.error(
                    f"with its macros the file has more than {MOST_WORDS} words: use prefixes"
                )
        return found

    def _macro(self) -> None:
        name = self.words[0].text
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None or not self.words[0].plain:
            raise self.at.error(f"{name!r} is no name of a macro: letters, digits and _ only, a letter first")
        if name in _RESERVED:
            raise self.at.error(f"{name!r} is a word of pf.conf and cannot name a macro: choose another name")
        values = self.words[2:]
        if not values:
            raise self.at.error(f'macro {name!r} has no value: write {name} = "value"')
        macro = Macro(self.at, name, _joined(values))
        if len(macro.value) > LONGEST_VALUE:
            raise self.at.error(
                f"the value of {name!r} has more than {LONGEST_VALUE} characters: use prefixes"
            )
        self.macros[name] = macro
        self.defined.append(macro)

    def _statement(self) -> None:
        word = self._take("a statement")
        if word in ("pass", "block"):
            self._rule(word)
        elif word == "set":
            self._option()
        elif word in _STATEMENTS:
            raise self.at.error(f"{word!r}: {_STATEMENTS[word]}")
        else:
            known = ["pass", "block", "set"]
            raise self.at.error(
                f"{word!r} begins no statement that is known here: {did_you_mean(word, known)}"
            )

    def _option(self) -> None:
        name = self._take("an option")
        if name == "state-policy":
            policy = self._take("a policy")
            if policy not in ("if-bound", "floating"):
                raise self.at.error(f"{policy!r} is no state policy: write if-bound or floating")
            self.if_bound = policy == "if-bound"
        elif name == "skip":
            self._expect("on", "set skip")
            self.skip.update(self._list(lambda: self._name("an interface")))
        else:
            raise self.at.error(f"'set {name}' is not simulated: known are set state-policy and set skip on")
        self._end()

    # --- The parts of a rule, in the order of pf's grammar ---

    def _rule(self, action: str) -> None:
        answer = False
        if action == "block" and self._peek() in ("drop", "return"):
            answer = self._take("") == "return"
        direction = self._take("") if self._peek() in ("in", "out") else ""
        quick = self._maybe("quick")
        interfaces = self._list(self._interface) if self._maybe("on") else [("", False)]
        route = self._route(direction) if self._peek() in ("route-to", "reply-to") else None
        family = {"inet": 4, "inet6": 6}[self._take("")] if self._peek() in ("inet", "inet6") else 0
        protocols = self._list(self._protocol) if self._maybe("proto") else [""]
        sources, destinations = self._hosts()
        flags, any_flags = None, False
        state, bound = action == "pass", None
        stated = flagged = False
        while (word := self._peek()) and word in ("flags", "keep", "no"):
            if word == "flags":
                if flagged:
                    raise self.at.error("'flags' stands twice: leave one of them out")
                flagged = True
                flags = self._flags()
                any_flags = flags is None
            else:
                if stated:
                    raise self.at.error("the rule speaks twice of its state: leave one of both out")
                stated = True
                state, bound = self._state(action)
        self._end()
        if route is not None and action == "block":
            raise self.at.error(f"a block rule sends nothing: leave {route.kind} out")
        ports = any(end.ports is not None for end in (*sources, *destinations))
        if state and flags is None and not any_flags:
            flags = (SYN, SYN | ACK)
        self._expand(PfRule(self.at, action, answer, direction, quick, "", False, route, family, "", ANYWHERE,
                            ANYWHERE, flags, state, bound), interfaces, protocols, sources, destinations,
                     ports, flagged and not any_flags)  # fmt: skip

    def _expand(
        self,
        rule: PfRule,
        interfaces: list[tuple[str, bool]],
        protocols: list[str],
        sources: list[End],
        destinations: list[End],
        ports: bool,
        flagged: bool,
    ) -> None:
        """Add one rule for each combination; those that mix IPv4 and IPv6 are left out, as in pf."""
        if len(interfaces) * len(protocols) * len(sources) * len(destinations) > MOST_RULES:
            raise self.at.error(f"the lists expand to more than {MOST_RULES} rules: use prefixes")
        for protocol in protocols:
            if ports and protocol not in ("tcp", "udp"):
                raise self.at.error("'port' is for tcp and udp only: write 'proto tcp' in front of 'from'")
            if flagged and protocol not in ("", "tcp"):
                raise self.at.error(f"'flags' is for tcp only, and the rule is for {protocol}: leave it out")
        found = False
        route_family = 0
        if rule.route is not None and rule.route.gateway:
            route_family = 6 if ":" in rule.route.gateway else 4
        for (interface, other), protocol, source, destination in product(
            interfaces, protocols, sources, destinations
        ):
            families = {end.prefix.version for end in (source, destination) if end.prefix is not None}
            families |= {family for family in (rule.family, route_family) if family}
            families |= {{"icmp": 4, "icmp6": 6}[protocol]} if protocol.startswith("icmp") else set()
            if len(families) > 1:
                continue
            found = True
            self.rules.append(
                rule._replace(
                    interface=interface,
                    other_interface=other,
                    family=next(iter(families), 0),
                    protocol=protocol,
                    source=source,
                    destination=destination,
                    flags=rule.flags if protocol in ("", "tcp") else None,
                )
            )
        if not found:
            raise self.at.error(
                "the rule mixes IPv4 and IPv6, so that no packet matches: write one rule for each"
            )
        if len(self.rules) > MOST_RULES:
            raise self.at.error(f"the file has more than {MOST_RULES} rules: use prefixes")

    def _interface(self) -> tuple[str, bool]:
        other = self._maybe("!")
        return self._name("an interface"), other

    def _route(self, direction: str) -> RouteOption:
        kind = self._take("")
        if not direction:
            raise self.at.error(
                f"a rule with {kind} needs a direction: write 'in' or 'out' behind its first word"
            )
        hosts = self._list(lambda: self._route_host(kind))
        if len(hosts) > 1:
            raise self.at.error(
                f"{kind} to more than one (IF GATEWAY) in turn is not simulated: write one of them"
            )
        if self._peek() in ("round-robin", "random", "source-hash", "bitmask", "sticky-address"):
            raise self.at.error(
                f"{self._peek()!r} chooses among several gateways, and there is one: leave it out"
            )
        return hosts[0]

    def _route_host(self, kind: str) -> RouteOption:
        if not self._maybe("("):
            raise self.at.error(
                f"{kind} needs an interface and a gateway in parentheses, such as (em1 192.168.0.1)"
            )
        interface = self._name("an interface")
        gateway = ""
        if self._peek() != ")":
            gateway = read_address(self.at, self._take("the address of a gateway"))
            if self._peek() == "/":
                raise self.at.error(
                    f"the gateway {gateway} has a prefix length: write the address of one router"
                )
        self._expect(")", f"the parenthesis of {kind}")
        return RouteOption(kind, interface, gateway)

    def _protocol(self) -> str:
        word = self._take("a protocol")
        if word not in _PROTOCOLS:
            raise self.at.error(
                f"{word!r} is no protocol that is simulated: {did_you_mean(word, _PROTOCOLS)}"
            )
        return _PROTOCOLS[word]

    def _hosts(self) -> tuple[list[End], list[End]]:
        if self._maybe("all"):
            return [ANYWHERE], [ANYWHERE]
        sources = self._ends() if self._maybe("from") else [ANYWHERE]
        destinations = self._ends() if self._maybe("to") else [ANYWHERE]
        if self._peek() == "from":
            raise self.at.error("'from' stands behind 'to': write 'from ... to ...'")
        return sources, destinations

    def _ends(self) -> list[End]:
        hosts: list[tuple[Prefix | None, bool]] = [(None, False)]
        if self._peek() != "port":
            hosts = self._list(self._host, DEEPEST_LIST)
        ports: list[Ports | None] = [None]
        if self._maybe("port"):
            ports = list(self._list(self._ports))
        if len(hosts) * len(ports) > MOST_RULES:
            raise self.at.error(f"the lists expand to more than {MOST_RULES} rules: use prefixes and ranges")
        return [End(prefix, negated, port) for (prefix, negated), port in product(hosts, ports)]

    def _host(self) -> tuple[Prefix | None, bool]:
        negated = self._maybe("!")
        word = self._take("an address")
        if word == "any":
            if negated:
                raise self.at.error("'! any' is no address at all: write the prefixes that are meant")
            return None, False
        if word in ("<", "("):
            what = "tables are" if word == "<" else "addresses that follow an interface are"
            raise self.at.error(f"{what} not simulated: write the addresses, in braces if there are several")
        if word in _WORDS:
            raise self.at.error(f"{word!r}: {_WORDS[word]}")
        slash = self._maybe("/")
        length = self._take("a prefix length") if slash else ""
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", word):
            if not slash:
                raise self.at.error(f"{word!r} is no whole address: write four numbers and a prefix length")
            word += ".0" * (3 - word.count("."))  # 10/8 is 10.0.0.0/8
        if not is_address(word):
            raise self.at.error(f"{word!r} is no address: write numbers, such as 192.168.0.0/24; "
                                "names of hosts and interfaces are not looked up")  # fmt: skip
        if self._peek() == "-":
            raise self.at.error(
                "ranges of addresses are not simulated: write prefixes, in braces if there are several"
            )
        return read_prefix(self.at, f"{word}/{length}" if slash else word), negated

    def _ports(self) -> Ports:
        word = self._take("a port")
        if word in COMPARISONS:
            return Ports(word, self._port(self._take("a port")))
        first, colon, last = word.partition(":")
        if colon:
            return self._range(":", first, last)
        if self._peek() in ("><", "<>"):
            return self._range(self._take(""), word, self._take("a port"))
        return Ports("=", self._port(word))

    def _range(self, operator: str, first: str, last: str) -> Ports:
        ports = Ports(operator, self._port(first), self._port(last))
        if ports.first > ports.last:
            raise self.at.error(f"the range of ports runs from {first} down to {last}: exchange them")
        return ports

    def _port(self, word: str) -> int:
        if re.fullmatch(r"[A-Za-z][\w-]*", word):
            raise self.at.error(
                f"{word!r}: names of services are not looked up: write the number of the port"
            )
        return whole_number(self.at, word, "port", 0, 65535)

    def _flags(self) -> tuple[int, int] | None:
        self._take("")
        if self._maybe("any"):
            return None
        letters = "" if self._peek() == "/" else self._take("flags")
        self._expect("/", "'flags', as in 'flags S/SA',")
        wanted = self._bits(letters)
        looked_at = self._bits(self._take("flags"))
        if wanted & ~looked_at:
            raise self.at.error("no packet has flags that are not looked at: name in front of the slash only "
                                "letters that stand behind it, as in S/SA")  # fmt: skip
        return wanted, looked_at

    def _bits(self, letters: str) -> int:
        bits = 0
        for letter in letters:
            if letter not in FLAG_LETTERS:
                raise self.at.error(f"{letter!r} is no flag of TCP: letters are {' '.join(FLAG_LETTERS)}")
            bits |= FLAG_LETTERS[letter]
        return bits

    def _state(self, action: str) -> tuple[bool, bool | None]:
        keep = self._take("") == "keep"
        self._expect("state", "'keep' or 'no'")
        if not keep:
            return False, None
        if action == "block":
            raise self.at.error("a block rule keeps no state: leave 'keep state' out")
        bound = None
        if self._maybe("("):
            while not self._maybe(")"):
                option = self._take("an option of the state")
                if option not in ("if-bound", "floating", "sloppy", ","):
                    raise self.at.error(f"{option!r}: known options are if-bound, floating and sloppy")
                if option in ("if-bound", "floating"):
                    bound = option == "if-bound"
        return True, bound

    # --- Words ---

    def _peek(self) -> str:
        return self.words[self.next].text if self.next < len(self.words) else ""

    def _take(self, what: str) -> str:
        if self.next >= len(self.words):
            raise self.at.error(f"the line ends where {what} is missing: write it")
        self.next += 1
        return self.words[self.next - 1].text

    def _maybe(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self.next += 1
        return True

    def _expect(self, word: str, where: str) -> None:
        if not self._maybe(word):
            found = f"{self._peek()!r} stands" if self._peek() else "the line ends"
            raise self.at.error(f"{found} where {word!r} is missing behind {where}: write it")

    def _name(self, what: str) -> str:
        word = self._take(what)
        if re.fullmatch(r"[A-Za-z][\w.-]{0,31}", word) is None or word in _RESERVED:
            raise self.at.error(f"{word!r} stands where the name of {what} is missing, such as em0")
        return word

    def _list(self, item: Callable[[], T], nested: int = 0) -> list[T]:
        """Return one item, or those of a list in braces, with or without commas; lists may nest so deep."""
        if not self._maybe("{"):
            return [item()]
        items: list[T] = []
        while not self._maybe("}"):
            items += self._list(item, nested - 1) if nested else [item()]
            self._maybe(",")
            if len(items) > MOST_RULES:
                raise self.at.error(f"the list has more than {MOST_RULES} items: use prefixes")
        if not items:
            raise self.at.error("the list in braces is empty: write what belongs there")
        return items

    def _end(self) -> None:
        word = self._peek()
        if not word and self.next >= len(self.words):
            return
        if word in _WORDS:
            raise self.at.error(f"{word!r}: {_WORDS[word]}")
        hint = (
            "it stands in the wrong place" if word in _RESERVED else "it is not known, or in the wrong place"
        )
        raise self.at.error(
            f"{word!r}: {hint}; the order is pass|block, in|out, quick, on, route-to|reply-to, inet|inet6, "
            "proto, from, to, flags, keep state"
        )


def _joined(words: list[_Word]) -> str:
    """Return the value of a macro: its words with spaces, prefixes in one piece."""
    return re.sub(r" ?/ ?", "/", " ".join(word.text for word in words))
