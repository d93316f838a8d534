r"""pf.conf(5), the part that decides what becomes of packets: macros, tables, options and filter rules.

Read is what FreeBSD's and OpenBSD's manuals and examples contain: macros (``name = "value"``, ``$name``),
comments, continued lines, lists in braces, tables, ``set`` options, ``antispoof``, and the rules::

    pass | block [drop | return | return-rst | return-icmp [(CODE)]] | match
        [in | out] [log] [quick] [on [!] IF] [route-to | reply-to (IF [GATEWAY])]
        [inet | inet6] [proto P] [all | from [!] ADDR [port OP] to [!] ADDR [port OP]]
        [flags A/B | flags any] [icmp-type T] [probability P] [keep | modulate state [(OPTIONS)] | no state]

ADDR is a prefix, a range, ``<TABLE>``, the name of an interface, with ``:network``, ``:broadcast`` or ``:0``,
in parentheses where it follows the interface, ``self``, ``no-route`` or ``urpf-failed``.

A word without an effect on what is simulated (``log``, ``scrub``, ``label``) is passed over and stands in
``PfConf.passed_over``, of which lint tells. One that would change what happens and is not simulated (``nat``,
``rdr``, ``altq``) is an error that says what to write instead.

Kept as pf has it: an address without a prefix length is one host; a list in braces expands to one rule
for each combination; a stateful rule matches ``flags S/SA`` unless it says otherwise, so that only a SYN
creates a state.
"""

from __future__ import annotations

import re
from typing import Final

from mptcpsim.freebsd.address_sets import AddressTable
from mptcpsim.freebsd.addresses import prefix_of, version_of
from mptcpsim.freebsd.lines import PassedOver, whole_number
from mptcpsim.freebsd.pf_conf import Macro, PfConf, PfEnd, PfRule
from mptcpsim.freebsd.pf_hosts import Hosts
from mptcpsim.freebsd.pf_rule import NO_NAT, NO_RDR, PfRuleReader, read_scrub
from mptcpsim.freebsd.pf_state_options import (
    OPTIMIZATIONS,
    TIMEOUTS,
    StateDefaults,
    read_defaults,
    read_timeout,
)
from mptcpsim.freebsd.pf_words import MOST_RULES, Statement, Statements
from mptcpsim.freebsd.site import Site
from mptcpsim.suggest import did_you_mean

#: Statements that would change what happens, and what to write instead.
_REFUSED: Final = {
    "nat": NO_NAT,
    "binat": NO_NAT,
    "rdr": NO_RDR,
    "altq": "queues are those of ipfw here: configure a pipe or a queue of dummynet, and leave the line out",
    "queue": "queues are those of ipfw here: configure a pipe or a queue of dummynet, and leave the line out",
    "load": "anchors are not filled here: write the rules in the file itself",
}
#: Statements that change nothing: nothing is ever put into the anchors.
_ANCHORS: Final = ("anchor", "nat-anchor", "rdr-anchor", "binat-anchor")
#: ``set`` options that change nothing here, and why.
_OPTIONS: Final = {
    "loginterface": "counters of interfaces are in summary.json",
    "ruleset-optimization": "rules are tried as they stand, which decides alike",
    "debug": "nothing is logged",
    "fingerprints": "systems have no fingerprints here",
    "hostid": "states are told to nobody",
    "reassemble": "packets are never fragmented here",
    "require-order": "statements are read in any order",
    "keepcounters": "rules have no counters",
    "fail-policy": "states never fail for lack of memory",
    "syncookies": "pf does not answer for others here",
    "skip-steps": "rules are tried as they stand",
    "timeout-interval": "states end at their time",
}
#: ``set limit states`` from which on it makes no difference here (FreeBSD's default).
MANY_STATES: Final = 100_000


def read_pf(text: str, file: str = "pf.conf", site: Site | None = None) -> PfConf:
    """Return what a pf.conf says.

    Args:
        text: the file.
        file: its name.
        site: the node that it is loaded at; without one no interface has addresses.

    Raises:
        DialectError: the first line that is not understood, or not simulated.
    """
    return _PfReader(text, file, site or Site()).read()


class _PfReader:
    """Reads one file."""

    def __init__(self, text: str, file: str, site: Site) -> None:
        self.statements = Statements(text, file)
        self.site = site
        self.passed_over: list[PassedOver] = []
        self.hosts = Hosts(site, self.passed_over.append)
        self.defaults = StateDefaults()
        self.macros: list[Macro] = []
        self.rules: list[PfRule] = []
        self.timeouts: dict[str, int] = {}
        self.if_bound = False
        self.answers = False
        self.most_states = 0
        self.skip: set[str] = set()
        self.included = 0

    def read(self) -> PfConf:
        self._all(self.statements)
        return PfConf(
            tuple(self.macros),
            tuple(self.rules),
            self.if_bound,
            frozenset(self.skip),
            tuple(self.hosts.tables.values()),
            tuple(self.timeouts.items()),
            self.most_states,
            tuple(dict.fromkeys(self.passed_over)),
        )

    def _all(self, statements: Statements) -> None:
        for words in statements:
            if words.defines:
                self.macros.append(statements.define(words))
            else:
                self._statement(words)

    def _statement(self, words: Statement) -> None:
        at, word = words.at, words.take("a statement")
        if word in ("pass", "block", "match"):
            reader = PfRuleReader(words, self.hosts, self.defaults, self.answers, self.passed_over.append)
            self._add(words, reader.read(word))
        elif word == "set":
            self._option(words)
        elif word == "table":
            self._table(words)
        elif word == "antispoof":
            self._antispoof(words)
        elif word == "scrub":
            read_scrub(words, words.words, self.passed_over.append)
        elif word == "no" and words.peek() in ("nat", "rdr", "binat", "scrub"):
            self._note(
                words, f"no {words.peek()}", "addresses are not translated, and packets stay as they are"
            )
        elif word in _ANCHORS:
            self._anchor(words, word)
        elif word == "include":
            self._include(words)
        elif word in _REFUSED:
            raise at.error(f"{word!r}: {_REFUSED[word]}")
        else:
            known = ["pass", "block", "match", "set", "table", "antispoof", "scrub", "anchor", "include"]
            raise at.error(f"{word!r} begins no statement that is known here: {did_you_mean(word, known)}")

    def _add(self, words: Statement, rules: list[PfRule]) -> None:
        self.rules += rules
        if len(self.rules) > MOST_RULES:
            raise words.at.error(f"the file has more than {MOST_RULES} rules: use prefixes")

    def _note(self, words: Statement, word: str, why: str) -> None:
        self.passed_over.append(PassedOver(words.at, word, why))

    # --- set ---

    def _option(self, words: Statement) -> None:
        at, name = words.at, words.take("an option")
        if name == "state-policy":
            policy = words.take("a policy")
            if policy not in ("if-bound", "floating"):
                raise at.error(f"{policy!r} is no state policy: write if-bound or floating")
            self.if_bound = policy == "if-bound"
        elif name == "skip":
            words.expect("on", "set skip")
            self.skip.update(words.items(lambda: words.name("an interface")))
        elif name == "block-policy":
            policy = words.take("a policy")
            if policy not in ("drop", "return"):
                raise at.error(f"{policy!r} is no block policy: write drop or return")
            self.answers = policy == "return"
        elif name == "optimization":
            kind = words.take("an optimization")
            if kind not in OPTIMIZATIONS:
                raise at.error(f"{kind!r} is no optimization: {did_you_mean(kind, OPTIMIZATIONS)}")
            self.timeouts.update(zip(TIMEOUTS, OPTIMIZATIONS[kind], strict=True))
            if kind in ("default", "normal"):
                self.timeouts.clear()
        elif name == "timeout":
            words.items(lambda: read_timeout(words, words.take("a timeout"), self.timeouts,
                                            self.passed_over.append))  # fmt: skip
        elif name == "limit":
            words.items(lambda: self._limit(words))
        elif name == "state-defaults":
            read_defaults(words, self.defaults, self.hosts, self.passed_over.append)
        elif name in _OPTIONS:
            words.rest()
            self._note(words, f"set {name}", _OPTIONS[name])
        else:
            known = [
                "skip",
                "block-policy",
                "state-policy",
                "optimization",
                "timeout",
                "limit",
                "state-defaults",
            ]
            raise at.error(f"'set {name}' is not known here: {did_you_mean(name, [*known, *_OPTIONS])}")
        words.end()

    def _limit(self, words: Statement) -> None:
        name = words.take("what is limited")
        known = ("states", "src-nodes", "frags", "tables", "table-entries", "anchors", "pktdelay-pkts")
        if name not in known:
            raise words.at.error(f"'set limit {name}': {did_you_mean(name, known)}")
        number = whole_number(words.at, words.take("a number"), f"limit of {name}", 0, 1 << 32)
        if name == "states" and 0 < number < MANY_STATES:
            self.most_states = number
        elif name != "states":
            self._note(words, f"set limit {name}", "memory is not short here")

    # --- Tables ---

    def _table(self, words: Statement) -> None:
        at = words.at
        words.expect("<", "'table'")
        name = words.take("the name of a table")
        words.expect(">", "the name of a table")
        if re.fullmatch(r"[\w.-]{1,31}", name) is None:
            raise at.error(f"{name!r} is no name of a table: letters, digits, _ and - only, at most 31")
        known = self.hosts.tables.get(name)
        table = known if known is not None else AddressTable(name, at)
        table.at = at
        self.hosts.tables[name] = table
        self.passed_over[:] = [note for note in self.passed_over if note.word != f"<{name}>"]
        while word := words.peek():
            if word in ("persist", "const", "counters"):
                words.next += 1
                table.constant = table.constant or word == "const"
            elif words.maybe("file"):
                for prefix, belongs in self.hosts.entries_of_file(at, words.take("the name of a file")):
                    table.add(prefix, belongs)
            elif word == "{":
                for prefix, belongs in self.hosts.entries(words):
                    table.add(prefix, belongs)
            else:
                known_words = ["persist", "const", "counters", "file"]
                raise at.error(f"{word!r}: {did_you_mean(word, known_words)}, or addresses in braces")

    # --- antispoof, anchors, include ---

    def _antispoof(self, words: Statement) -> None:
        """Add the rules that ``antispoof for em0`` stands for (pf.conf(5), BLOCKING SPOOFED TRAFFIC)."""
        at = words.at
        quick = False
        while (word := words.peek()) in ("log", "quick"):
            words.next += 1
            quick = quick or word == "quick"
        words.expect("for", "'antispoof'")
        interfaces = words.items(lambda: _name_in_parentheses(words))
        family = {"inet": 4, "inet6": 6}.get(words.peek(), 0)
        words.next += family > 0
        if words.maybe("label"):
            words.skip()
        words.end()
        for name in interfaces:
            found = self.site.interfaces(name)
            if not found:
                known = ", ".join(self.site.names.system_names()) or "not known here"
                raise at.error(f"there is no interface {name}: interfaces are {known}")
            self.site.deferred = self.site.deferred or not self.site.settled
            for interface in found:
                for own in self.site.addresses(interface):
                    version = version_of(own.address)
                    if family not in (0, version):
                        continue
                    network = PfEnd(prefix_of(at, own.address, own.length))
                    host = PfEnd(prefix_of(at, own.address, None))
                    block = PfRule(at, "block", False, "in", quick, family=version)
                    self._add(words, [
                        block._replace(interface=interface, other_interface=True, source=network),
                        *([block._replace(source=host)] if interface != "lo0" else []),
                    ])  # fmt: skip

    def _anchor(self, words: Statement, word: str) -> None:
        if any(word == "{" and plain for word, plain in zip(words.words, words.plain, strict=True)):
            raise words.at.error("rules inside an anchor are not read: write them in the file itself")
        self._note(words, word, "nothing is put into anchors while a simulation runs")

    def _include(self, words: Statement) -> None:
        at, name = words.at, words.take("the name of a file")
        words.end()
        if name not in self.site.files:
            raise at.error(f"{name}: No such file: write its text under 'files' of the host")
        self.included += 1
        if self.included > 20:
            raise at.error("more than 20 files are included: one of them includes itself")
        inner = Statements(self.site.files[name], name)
        inner.macros = self.statements.macros
        self._all(inner)


def _name_in_parentheses(words: Statement) -> str:
    """Return the name of an interface, which may stand in parentheses."""
    if not words.maybe("("):
        return words.name("an interface")
    name = words.name("an interface")
    words.expect(")", "the name of an interface in parentheses")
    return name
