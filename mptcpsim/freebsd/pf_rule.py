"""One rule of pf: pass, block or match, and all that may follow.

What pf would refuse is refused: a ``route-to`` without a direction, ports without tcp or udp, flags that
nothing can match. Words that change nothing here are noted; what would change the result and is not
simulated is refused with what to write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

from mptcpsim.core.segment import ACK, ICMP_PORT_UNREACHABLE, SYN
from mptcpsim.freebsd.addresses import read_address
from mptcpsim.freebsd.lines import Note, PassedOver, fraction, whole_number
from mptcpsim.freebsd.pf_conf import (
    ANYWHERE,
    COMPARISONS,
    FLAG_LETTERS,
    UNREACHABLE,
    PfEnd,
    PfRule,
    RouteOption,
)
from mptcpsim.freebsd.pf_hosts import Hosts
from mptcpsim.freebsd.pf_state_options import StateDefaults, read_state
from mptcpsim.freebsd.pf_words import MOST_RULES, RESERVED, Statement
from mptcpsim.freebsd.services import read_protocol
from mptcpsim.suggest import did_you_mean

NO_NAT: Final = (
    "addresses are not translated by pf here: put a NAT on the link of that interface, "
    'middleboxes = ["nat"] under its [[links]] (the first end is inside), and leave the line out'
)
NO_RDR: Final = (
    "nothing is redirected by pf here: let the client name the server's own address and port, and leave the "
    "line out"
)
#: Words of a rule that would change what happens, and what to write instead.
_REFUSED: Final = {
    "dup-to": "packets are not copied here: leave it out, and capture with tcpdump",
    "synproxy": "pf does not answer for others here: write 'keep state'",
    "os": "systems have no fingerprints here: leave it out",
    "nat-to": NO_NAT, "binat-to": NO_NAT, "af-to": NO_NAT, "rdr-to": NO_RDR,
    "divert-to": "nothing is handed to a program here: leave it out",
    "divert-packet": "nothing is handed to a program here: leave it out",
    "tagged": "packets carry no tags here: write the addresses and interfaces that the tag stands for",
    "received-on": "write a rule 'in on' that interface instead",
    "user": "all programs here are root's: write addresses and ports",
    "group": "packets have no group here: write addresses and ports",
    "tos": "packets have no type of service here: write addresses and ports",
    "rtable": "there is one routing table here: write route-to",
    **dict.fromkeys(("dnpipe", "dnqueue"), "pipes are those of ipfw here: write 'ipfw add pipe N ...'"),
    "max-pkt-rate": "packets are not counted here: use a pipe of ipfw with a bandwidth",
}  # fmt: skip
#: Words that change nothing here: (the reason, whether a value follows).
_NOTHING: Final = {
    "allow-opts": ("packets have no IP options here", False),
    "label": ("labels are for counters", True),
    "ridentifier": ("numbers of rules are for counters", True),
    "tag": ("no rule of this file asks for the tag", True),
    "prio": ("links here know no priorities", True),
    "queue": ("it gives a queue of ALTQ, of which there are none here", True),
    "fastroute": ("routing is the same with it", False),
    "divert-reply": ("no program waits for packets", False),
    "once": ("rules stay: a state does the rest", False),
    "set": ("links here know no priorities and packets no type of service", True),
}  # fmt: skip

_ICMP_TYPES: Final = {
    "echorep": 0, "unreach": 3, "squench": 4, "redir": 5, "althost": 6, "echoreq": 8, "routeradv": 9,
    "routersol": 10, "timex": 11, "paramprob": 12, "timereq": 13, "timerep": 14, "inforeq": 15,
    "inforep": 16, "maskreq": 17, "maskrep": 18, "trace": 30,
}  # fmt: skip
_ICMP6_TYPES: Final = {
    "unreach": 1, "toobig": 2, "timex": 3, "paramprob": 4, "echoreq": 128, "echorep": 129, "groupqry": 130,
    "listqry": 130, "grouprep": 131, "listenrep": 131, "groupterm": 132, "listendone": 132, "routersol": 133,
    "routeradv": 134, "neighbrsol": 135, "neighbradv": 136, "redir": 137,
}  # fmt: skip
_ICMP_CODES: Final = {
    "net-unr": 0, "host-unr": 1, "proto-unr": 2, "port-unr": 3, "needfrag": 4, "srcfail": 5, "net-unk": 6,
    "host-unk": 7, "isolate": 8, "net-prohib": 9, "host-prohib": 10, "net-tos": 11, "host-tos": 12,
    "filter-prohib": 13, "transit": 0, "reassemb": 1,
}  # fmt: skip
_ICMP6_CODES: Final = {"noroute-unr": 0, "admin-unr": 1, "beyond-unr": 2, "addr-unr": 3, "port-unr": 4}
#: What TCP makes of the other codes of return-icmp is what it makes of these.
_LIKE: Final = {
    "net-unk": "net-unr", "net-prohib": "net-unr", "net-tos": "net-unr", "isolate": "net-unr",
    "host-unk": "host-unr", "host-prohib": "host-unr", "host-tos": "host-unr", "filter-prohib": "host-unr",
    "srcfail": "host-unr", "noroute-unr": "net-unr", "admin-unr": "host-unr", "beyond-unr": "host-unr",
    "addr-unr": "host-unr",
}  # fmt: skip
_POOL: Final = ("round-robin", "random", "source-hash", "bitmask", "sticky-address", "least-states")


class PfRuleReader:
    """Reads the words of one rule.

    Attributes:
        words: of the rule; the first one is read.
        at: its lines.
    """

    def __init__(
        self,
        words: Statement,
        hosts: Hosts,
        defaults: StateDefaults,
        answers: bool,
        note: Note,
    ) -> None:
        """Begin behind the first word.

        Args:
            words: of the rule.
            hosts: the reader of addresses.
            defaults: of states.
            answers: ``set block-policy return``.
            note: takes words that are passed over.
        """
        self.words = words
        self.at = words.at
        self._hosts = hosts
        self._defaults = defaults
        self._answers = answers
        self._note = note
        #: Only fragments match, and there are none.
        self._never = False

    def read(self, action: str) -> list[PfRule]:
        """Return the rules that one is expanded to; none of ``match``, which decides nothing."""
        words, at = self.words, self.at
        answer, unreachable = self._answer() if action == "block" else (False, "")
        direction = words.take() if words.peek() in ("in", "out") else ""
        quick = self._log_and_quick()
        interfaces = words.items(self._interface) if words.maybe("on") else [("", False, frozenset[str]())]
        route = self._route(direction) if words.peek() in ("route-to", "reply-to") else None
        self._pass_over(("fastroute",))
        family = {"inet": 4, "inet6": 6}[words.take()] if words.peek() in ("inet", "inet6") else 0
        protocols = words.items(self._protocol) if words.maybe("proto") else [""]
        sources, destinations = self._from_and_to()
        rule = PfRule(at, action, answer, direction, quick, family=family, state=action == "pass",
                      unreachable=unreachable, route=route)  # fmt: skip
        rule, flagged, any_flags = self._options(rule, protocols)
        if rule.route is not None and action == "block":
            raise at.error(f"a block rule sends nothing: leave {rule.route.kind} out")
        if rule.state and rule.flags is None and not any_flags:
            rule = rule._replace(flags=(SYN, SYN | ACK))
        found = self._expanded(rule, interfaces, protocols, sources, destinations, flagged)
        if action == "match" or self._never:
            return []
        return found

    # --- The parts of a rule, in the order of pf's grammar ---

    def _answer(self) -> tuple[bool, str]:
        words = self.words
        word = words.peek()
        if word not in ("drop", "return", "return-rst", "return-icmp", "return-icmp6"):
            return self._answers, ""
        words.next += 1
        values = words.parentheses()
        if word == "drop":
            return False, ""
        if not word.startswith("return-icmp"):
            return True, ""  # the TTL of a RST makes no difference
        code = values[0] if values else "port-unr"
        code = {"0": "net-unr", "1": "host-unr", "2": "proto-unr", "3": "port-unr"}.get(code, code)
        kind = UNREACHABLE.get(_LIKE.get(code, code))
        if kind is None:
            raise self.at.error(f"{word} ({code}): known codes are {', '.join(UNREACHABLE)}")
        return False, kind if values else ICMP_PORT_UNREACHABLE

    def _log_and_quick(self) -> bool:
        quick = False
        while (word := self.words.peek()) in ("log", "log-all", "quick"):
            self.words.next += 1
            if word == "quick":
                quick = True
                continue
            self.words.parentheses()
            why = "nothing is logged: captures and 'mptcpsim route' show what happened"
            self._note(PassedOver(self.at, "log", why))
        return quick

    def _interface(self) -> tuple[str, bool, frozenset[str]]:
        other = self.words.maybe("!")
        name = self.words.name("an interface")
        members = self._hosts.site.interfaces(name)
        if members == (name,) or not members:
            return name, other, frozenset()
        if len(members) == 1:
            return members[0], other, frozenset()
        return name, other, frozenset(members)

    def _route(self, direction: str) -> RouteOption:
        kind = self.words.take()
        if not direction:
            raise self.at.error(
                f"a rule with {kind} needs a direction: write 'in' or 'out' behind its first word"
            )
        hosts = self.words.items(lambda: self._route_host(kind))
        if len(hosts) > 1:
            raise self.at.error(
                f"{kind} to more than one (IF GATEWAY) in turn is not simulated: write one of them, or "
                "a rule for each, the first ones with 'quick' and 'probability'"
            )
        if self.words.peek() in _POOL:
            raise self.at.error(
                f"{self.words.peek()!r} chooses among several gateways, and there is one: leave it out"
            )
        return hosts[0]

    def _route_host(self, kind: str) -> RouteOption:
        words, at = self.words, self.at
        if not words.maybe("("):
            word = words.take(f"what {kind} sends to")
            gateway, sign, interface = word.partition("@")
            if sign:
                return RouteOption(kind, interface, read_address(at, gateway))
            raise at.error(
                f"{kind} needs an interface and a gateway in parentheses, such as (em1 192.168.0.1)"
            )
        interface = words.name("an interface")
        gateway = ""
        if words.peek() != ")":
            gateway = read_address(at, words.take("the address of a gateway"))
            if words.peek() == "/":
                raise at.error(f"the gateway {gateway} has a prefix length: write the address of one router")
        words.expect(")", f"the parenthesis of {kind}")
        return RouteOption(kind, interface, gateway)

    def _protocol(self) -> str:
        return read_protocol(self.at, self.words.take("a protocol"))

    def _from_and_to(self) -> tuple[list[PfEnd], list[PfEnd]]:
        words = self.words
        if words.maybe("all"):
            return [ANYWHERE], [ANYWHERE]
        sources = destinations = [ANYWHERE]
        if words.maybe("from"):
            sources = self._hosts.ends(words)
            if words.peek() == "os":
                raise self.at.error(f"'os': {_REFUSED['os']}")
        if words.maybe("to"):
            destinations = self._hosts.ends(words)
        if words.peek() == "from":
            raise self.at.error("'from' stands behind 'to': write 'from ... to ...'")
        return sources, destinations

    def _options(self, rule: PfRule, protocols: list[str]) -> tuple[PfRule, bool, bool]:
        """Read what stands behind the addresses, in any order.

        Returns:
            The rule, whether it looks at flags, and whether ``flags any`` is written.
        """
        words, at = self.words, self.at
        flagged = any_flags = stated = False
        while word := words.peek():
            if word == "flags":
                if flagged or any_flags:
                    raise at.error("'flags' stands twice: leave one of them out")
                flags = self._flags()
                flagged, any_flags = flags is not None, flags is None
                rule = rule._replace(flags=flags)
            elif word in ("keep", "modulate", "no") or (word == "synproxy" and words.peek(1) == "state"):
                if stated:
                    raise at.error("the rule speaks twice of its state: leave one of both out")
                stated = True
                rule = read_state(words, rule, self._defaults, self._hosts, self._note)
            elif word in ("icmp-type", "icmp6-type"):
                rule = rule._replace(icmp_types=self._icmp_types(word, protocols))
            elif word == "probability":
                rule = rule._replace(probability=self._probability())
            elif word in ("route-to", "reply-to") and rule.route is None:
                rule = rule._replace(route=self._route(rule.direction))
            elif word == "fragment":
                words.next += 1
                self._never = True
                self._note(
                    PassedOver(at, word, "packets are never fragmented here, so that no packet matches")
                )
            elif word == "user" and words.peek(1) not in ("root", "0", "unknown", *COMPARISONS, "{"):
                words.next += 2
                self._never = True
                self._note(PassedOver(at, word, "no program here is theirs, so that no packet matches"))
            elif word == "scrub" and words.peek(1) == "(":
                words.next += 1
                read_scrub(words, words.parentheses(), self._note)
            elif word == "!" and words.peek(1) == "tagged":
                raise at.error(f"'tagged': {_REFUSED['tagged']}")
            elif not self._pass_over(_NOTHING):
                self._unknown(word)
        if not stated and rule.state:
            rule = self._defaults.over(rule)
        return rule, flagged, any_flags

    def _pass_over(self, known: dict[str, tuple[str, bool]] | tuple[str, ...]) -> bool:
        """Pass over a word without an effect here, and its value."""
        word = self.words.peek()
        if word not in known:
            return False
        why, valued = _NOTHING[word]
        self.words.next += 1
        if valued:
            self.words.skip()
        self._note(PassedOver(self.at, word, why))
        return True

    def _flags(self) -> tuple[int, int] | None:
        words = self.words
        words.take()
        if words.maybe("any"):
            return None
        letters = "" if words.peek() == "/" else words.take("flags")
        words.expect("/", "'flags', as in 'flags S/SA',")
        wanted = self._bits(letters)
        looked_at = self._bits(words.take("flags"))
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

    def _icmp_types(self, word: str, protocols: list[str]) -> frozenset[tuple[int, int]]:
        words = self.words
        words.next += 1
        six = word == "icmp6-type"
        if any(protocol != ("icmp6" if six else "icmp") for protocol in protocols):
            raise self.at.error(
                f"{word!r} is for {'ipv6-icmp' if six else 'icmp'} only: write proto in front"
            )
        names, codes = (_ICMP6_TYPES, _ICMP6_CODES) if six else (_ICMP_TYPES, _ICMP_CODES)

        def item() -> tuple[int, int]:
            kind = self._number(words.take("a type of ICMP"), names, "type of ICMP")
            code = self._number(words.take("a code"), codes, "code of ICMP") if words.maybe("code") else -1
            return kind, code

        return frozenset(words.items(item))

    def _number(self, word: str, names: dict[str, int], what: str) -> int:
        if word in names:
            return names[word]
        if not word.isdigit():
            raise self.at.error(f"{word!r} is no {what}: {did_you_mean(word, names)}")
        return whole_number(self.at, word, what, 0, 255)

    def _probability(self) -> float:
        self.words.next += 1
        word = self.words.take("a probability")
        if word.endswith("%"):
            return fraction(self.at, word[:-1], "probability in percent", 0, 100) / 100
        return fraction(self.at, word, "probability", 0, 1)

    def _unknown(self, word: str) -> None:
        if word in _REFUSED:
            raise self.at.error(f"{word!r}: {_REFUSED[word]}")
        hint = (
            "it stands in the wrong place" if word in RESERVED else "it is not known, or in the wrong place"
        )
        raise self.at.error(
            f"{word!r}: {hint}; the order is pass|block, in|out, log, quick, on, route-to|reply-to, "
            "inet|inet6, proto, from, to, flags, keep state"
        )

    # --- Lists ---

    def _expanded(
        self,
        rule: PfRule,
        interfaces: list[tuple[str, bool, frozenset[str]]],
        protocols: list[str],
        sources: list[PfEnd],
        destinations: list[PfEnd],
        flagged: bool,
    ) -> list[PfRule]:
        """Return one rule for each combination; those that mix IPv4 and IPv6 are left out, as in pf."""
        at = self.at
        if len(interfaces) * len(protocols) * len(sources) * len(destinations) > MOST_RULES:
            raise at.error(f"the lists expand to more than {MOST_RULES} rules: use prefixes")
        ports = any(end.ports is not None for end in (*sources, *destinations))
        for protocol in protocols:
            if ports and protocol not in ("tcp", "udp"):
                raise at.error("'port' is for tcp and udp only: write 'proto tcp' in front of 'from'")
            if flagged and protocol not in ("", "tcp"):
                raise at.error(f"'flags' is for tcp only, and the rule is for {protocol}: leave it out")
        route_family = 0
        if rule.route is not None and rule.route.gateway:
            route_family = 6 if ":" in rule.route.gateway else 4
        found: list[PfRule] = []
        for (interface, other, members), protocol, source, destination in product(
            interfaces, protocols, sources, destinations
        ):
            families = {end.prefix.version for end in (source, destination) if end.prefix is not None}
            families |= {family for family in (rule.family, route_family) if family}
            families |= {{"icmp": 4, "icmp6": 6}[protocol]} if protocol in ("icmp", "icmp6") else set()
            if len(families) > 1:
                continue
            found.append(
                rule._replace(
                    interface=interface,
                    other_interface=other,
                    members=members,
                    family=next(iter(families), 0),
                    protocol=protocol,
                    source=source,
                    destination=destination,
                    flags=rule.flags if protocol in ("", "tcp") else None,
                )
            )
        if not found:
            raise at.error("the rule mixes IPv4 and IPv6, so that no packet matches: write one rule for each")
        return found


def read_scrub(words: Statement, options: Sequence[str], note: Note) -> None:
    """Read what a packet would be normalised to; nothing here needs it but ``max-mss``.

    Raises:
        DialectError: it would change the segments.
    """
    if "max-mss" in options:
        raise words.at.error(
            "max-mss changes the segments, and pf does not here: set mss under the tcp table of a host, or "
            "the mtu of a link, and leave the word out"
        )
    why = "packets here are whole and have no odd bits"
    if "no-df" in options:
        why = "packets here are whole and keep their DF bit: paths are probed for their MTU as without it"
    note(PassedOver(words.at, "scrub", why))
