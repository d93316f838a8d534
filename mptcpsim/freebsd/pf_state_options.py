"""``keep state`` and its options (pf.conf(5), STATEFUL TRACKING OPTIONS)."""

from __future__ import annotations

import re
from typing import Final

from mptcpsim.freebsd.lines import Line, Note, PassedOver, whole_number
from mptcpsim.freebsd.pf_conf import Limits, PfRule
from mptcpsim.freebsd.pf_hosts import Hosts
from mptcpsim.freebsd.pf_words import Statement
from mptcpsim.suggest import did_you_mean

#: How long states live, seconds, by what ``set timeout`` calls it (pf.conf(5); those of TCP alone count).
TIMEOUTS: Final = {
    "tcp.first": 120, "tcp.opening": 30, "tcp.established": 86400, "tcp.closing": 900, "tcp.finwait": 45,
    "tcp.closed": 90,
}  # fmt: skip
_OTHER_TIMEOUTS: Final = frozenset(
    ("tcp.tsdiff", "udp.first", "udp.single", "udp.multiple", "icmp.first", "icmp.error", "other.first",
     "other.single", "other.multiple", "frag", "interval", "src.track", "adaptive.start", "adaptive.end",
     "sctp.first", "sctp.opening", "sctp.established", "sctp.closing", "sctp.closed")
)  # fmt: skip
_HIGH_LATENCY: Final = (180, 35, 86400, 905, 50, 95)
#: ``set optimization`` (pfctl's pf_hints), in the order of TIMEOUTS.
OPTIMIZATIONS: Final = {
    "default": tuple(TIMEOUTS.values()),
    "normal": tuple(TIMEOUTS.values()),
    "satellite": _HIGH_LATENCY,
    "high-latency": _HIGH_LATENCY,
    "conservative": (3600, 900, 432000, 3600, 600, 180),
    "aggressive": (30, 5, 18000, 60, 30, 30),
}

_KNOWN: Final = (
    "max", "source-track", "max-src-nodes", "max-src-states", "max-src-conn", "max-src-conn-rate", "overload",
    "if-bound", "floating", "sloppy", "no-sync",
)  # fmt: skip


class StateDefaults:
    """``set state-defaults``: options of rules that state none."""

    def __init__(self) -> None:
        self.rule = PfRule(Line("", 0, ""), "pass")

    def over(self, rule: PfRule) -> PfRule:
        """Return a rule with these options."""
        defaults = self.rule
        return rule._replace(bound=defaults.bound, limits=defaults.limits, timeouts=defaults.timeouts)


def read_state(words: Statement, rule: PfRule, defaults: StateDefaults, hosts: Hosts, note: Note) -> PfRule:
    """Return a rule with what ``keep state``, ``modulate state`` or ``no state`` says.

    Raises:
        DialectError: the words are not understood, or not simulated.
    """
    at = words.at
    word = words.take()
    words.expect("state", f"{word!r}")
    if word == "synproxy":
        raise at.error("'synproxy': pf does not answer for others here: write 'keep state'")
    if word == "no":
        return rule._replace(state=False)
    if rule.action == "block":
        raise at.error("a block rule keeps no state: leave 'keep state' out")
    if word == "modulate":
        note(
            PassedOver(at, "modulate", "the sequence numbers stay as they are; states are kept all the same")
        )
    if not words.maybe("("):
        return defaults.over(rule)
    return _options(words, rule, hosts, note)


def read_defaults(words: Statement, defaults: StateDefaults, hosts: Hosts, note: Note) -> None:
    """Take ``set state-defaults``, whose options stand with commas and without parentheses."""
    defaults.rule = _options(words, defaults.rule, hosts, note, end="")


def _options(words: Statement, rule: PfRule, hosts: Hosts, note: Note, end: str = ")") -> PfRule:
    at = words.at
    limits = Limits()
    tracked = ""
    timeouts: dict[str, int] = {}
    while not (words.maybe(end) if end else not words.left()):
        option = words.take("an option of the state")
        if option == ",":
            continue
        if option in ("if-bound", "floating", "group-bound"):
            rule = rule._replace(bound=option != "floating")
        elif option == "max":
            limits = limits._replace(states=_count(words, option))
        elif option == "max-src-nodes":
            limits = limits._replace(sources=_count(words, option))
            tracked = tracked or "rule"
        elif option == "max-src-states":
            limits = limits._replace(source_states=_count(words, option))
            tracked = tracked or "rule"
        elif option == "max-src-conn":
            limits = limits._replace(connections=_count(words, option))
        elif option == "max-src-conn-rate":
            connections = _count(words, option)
            words.expect("/", "the connections of max-src-conn-rate, as in 15/5,")
            limits = limits._replace(rate=(connections, _count(words, "seconds")))
        elif option == "source-track":
            tracked = words.take() if words.peek() in ("rule", "global") else "global"
        elif option == "overload":
            words.expect("<", "'overload'")
            table = hosts.table(at, words.take("the name of a table"))
            words.expect(">", "the name of a table")
            limits = limits._replace(overload=table)
            if words.maybe("flush"):
                limits = limits._replace(flush="global" if words.maybe("global") else "rule")
        elif option in TIMEOUTS or option in _OTHER_TIMEOUTS:
            read_timeout(words, option, timeouts, note)
        elif option in ("sloppy", "no-sync", "pflow", "allow-related"):
            if option != "sloppy":
                note(PassedOver(at, option, "states are told to nobody"))
        else:
            raise at.error(
                f"{option!r} is no option of a state that is known: {did_you_mean(option, _KNOWN)}"
            )
    if limits.overload is not None and not (limits.connections or limits.rate[0]):
        raise at.error("'overload' acts on max-src-conn and max-src-conn-rate: write one of them, too")
    limits = limits._replace(per_rule=tracked == "rule")
    bounded = limits._replace(per_rule=False) != Limits()
    return rule._replace(limits=limits if bounded else None, timeouts=tuple(timeouts.items()))


def _count(words: Statement, what: str) -> int:
    return whole_number(words.at, words.take(f"the number of {what}"), f"number of {what}", 1, 1 << 32)


def read_timeout(words: Statement, name: str, timeouts: dict[str, int], note: Note) -> None:
    """Take ``NAME SECONDS`` of ``set timeout`` or of the options of a state.

    Raises:
        DialectError: there is no such timeout.
    """
    if name not in TIMEOUTS and name not in _OTHER_TIMEOUTS:
        raise words.at.error(f"{name!r} is no timeout: {did_you_mean(name, [*TIMEOUTS, *_OTHER_TIMEOUTS])}")
    word = words.take(f"the seconds of {name}")
    if re.fullmatch(r"[0-9]+s", word):
        word = word[:-1]
    seconds = whole_number(words.at, word, f"number of seconds of {name}", 0, 1 << 31)
    if name in TIMEOUTS:
        timeouts[name] = seconds
    else:
        note(PassedOver(words.at, name, "states are those of TCP connections, and packets are whole"))
