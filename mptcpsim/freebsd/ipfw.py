"""ipfw(8): the commands that make rules, tables, pipes, queues and schedulers.

Read are, with or without ``ipfw`` or ``/sbin/ipfw`` in front and with its switches::

    add [N] [set N] [prob P] ACTION [log [logamount N]]
        [PROTO from [not] ADDR[,ADDR...] [[not] PORTS] to [not] ADDR[,...] [[not] PORTS]] [OPTION...]
    delete N[-M]... | set N...    flush    list    show    enable | disable one_pass | firewall
    table NAME create | destroy | add ADDR... | delete ADDR... | flush | list
    set disable N... enable N... | move [rule] N to M | swap N M | show
    pipe | queue | sched N config ...      pipe | queue | sched delete N... | flush | list | show
    /etc/ipfw.rules

ACTION is allow, deny, count, pipe N, queue N, fwd ADDR, skipto N, reset, reject, unreach CODE or
check-state. ADDR is ``any``, ``me``, ``me6``, ``table(NAME)``, an address, ``ADDR/LENGTH``,
``ADDR/24{1,3-5}`` or ``ADDR:MASK``; PORTS are numbers, names of services and ranges with commas. Protocols,
addresses and options may be alternatives in braces, ``{ tcp or udp }``. An OPTION, with ``not`` in front or
without, is ``in``, ``out``, ``via IF``, ``recv IF``, ``xmit IF`` (``em*`` stands for all em, an address for
the interface that has it), ``src-ip``, ``dst-ip``, ``src-port``, ``dst-port``, ``proto``, ``ipversion``,
``established``, ``setup``, ``tcpflags``, ``icmptypes``, ``verrevpath``, ``versrcreach``, ``antispoof``,
``frag``, ``keep-state`` or ``limit``; ``//`` begins a comment that belongs to the rule.
"""

from __future__ import annotations

import re
from typing import Final

from mptcpsim.freebsd.addresses import is_address, prefix_of, read_prefix
from mptcpsim.freebsd.dummynet import read_config
from mptcpsim.freebsd.dummynet_config import LARGEST_NUMBER, Config
from mptcpsim.freebsd.ipfw_objects import (
    LARGEST_RULE,
    DeleteRules,
    IpfwCommand,
    IpfwEnd,
    IpfwRule,
    IpfwSwitch,
    ObjectCommand,
    Option,
    PortRanges,
    ReadFile,
    SetCommand,
    ShowRules,
    TableCommand,
)
from mptcpsim.freebsd.ipfw_rule import LARGEST_SET, IpfwRuleReader
from mptcpsim.freebsd.lines import (
    Line,
    LineCursor,
    Note,
    PassedOver,
    logical_lines,
    shell_words,
    whole_number,
)
from mptcpsim.suggest import did_you_mean

__all__ = [
    "LARGEST_RULE", "Config", "DeleteRules", "IpfwCommand", "IpfwEnd", "IpfwRule", "ObjectCommand", "Option",
    "PortRanges", "ReadFile", "SetCommand", "ShowRules", "IpfwSwitch", "TableCommand", "read_ipfw",
    "read_ipfw_command",
]  # fmt: skip

#: What the program is called.
PROGRAMS: Final = ("ipfw", "/sbin/ipfw")


def _forget(note: PassedOver) -> None:
    """Discard a note."""


def read_ipfw(text: str, file: str = "ipfw.rules", note: Note = _forget) -> tuple[IpfwCommand, ...]:
    """Return the commands of a file of rules.

    Args:
        text: the file.
        file: its name.
        note: takes words that are passed over.

    Raises:
        DialectError: the first line that is not understood.
    """
    found = []
    for at in logical_lines(text, file):
        words = shell_words(at, at.text)
        if words:
            words = words[1:] if words[0] in PROGRAMS else words
            found += read_ipfw_command(at, words, note)
    return tuple(found)


def read_ipfw_command(at: Line, words: list[str], note: Note = _forget) -> list[IpfwCommand]:
    """Return the command that stands behind the word ``ipfw``; none if it changes nothing here.

    As ipfw has it, the whole command may be one word in quotes, and spaces may stand behind commas.

    Raises:
        DialectError: it is not understood.
    """
    if len(words) == 1:
        words = words[0].split()
    joined: list[str] = []
    for word in words:
        if "//" in joined:
            joined.append(word)  # a comment
        elif joined and joined[-1].endswith(","):
            joined[-1] += word
        else:
            joined += _separated(word)
    return _Command(at, joined, note).read()


def _separated(word: str) -> list[str]:
    """Return a word with the braces of alternatives as words of their own."""
    if word.startswith(("{", "(")) and len(word) > 1:
        return [word[0], *_separated(word[1:])]
    if len(word) > 1 and word.endswith(("}", ")")) and word.count("{") + word.count("(") == 0:
        return [*_separated(word[:-1]), word[-1]]
    return [word]


_VERBS: Final = ("add", "delete", "flush", "list", "show", "enable", "disable", "pipe", "queue", "sched",
                 "table", "set", "zero", "resetlog")  # fmt: skip
#: What a switch in front of the verb may be made of; none of them changes a rule.
_SWITCHES: Final = re.compile(r"-[abcdefiNnqsStTv]+")


class _Command:
    def __init__(self, at: Line, words: list[str], note: Note) -> None:
        self.at = at
        self.words = LineCursor(at, words)
        self.note = note

    def read(self) -> list[IpfwCommand]:
        words, at = self.words, self.at
        dry = False
        while _SWITCHES.fullmatch(words.peek()):
            dry = dry or "n" in words.peek()
            words.next += 1
        verb = words.take("a command of ipfw")
        if verb.startswith("/"):
            words.end()
            return [ReadFile(at, verb)]
        found = self._command(verb)
        if dry:
            self.note(PassedOver(at, "-n", "the command is looked at, and not carried out"))
            return []
        return found

    def _command(self, verb: str) -> list[IpfwCommand]:
        words, at = self.words, self.at
        if verb == "add":
            return [IpfwRuleReader(words, self.note).read()]
        if verb in ("pipe", "queue", "sched"):
            return [self._object(verb)]
        if verb == "delete":
            return [self._delete()]
        if verb in ("flush", "list", "show"):
            if verb != "flush":
                words.rest()  # all rules are printed, whichever are asked for
            words.end()
            return [DeleteRules(at) if verb == "flush" else ShowRules(at, verb)]
        if verb in ("enable", "disable"):
            name = words.take("what to switch")
            if name in ("debug", "verbose", "dyn_keepalive"):
                self.note(PassedOver(at, name, "nothing is printed, and ends of connections answer"))
                return []
            if name not in ("one_pass", "firewall"):
                raise at.error(f"{name!r} cannot be switched here: known are one_pass and firewall")
            words.end()
            return [IpfwSwitch(at, name, verb == "enable")]
        if verb == "table":
            return self._table()
        if verb == "set":
            return [self._set()]
        if verb in ("zero", "resetlog"):
            self.note(PassedOver(at, verb, "rules have no counters"))
            return []
        if verb in ("nat", "nptv6", "nat64lsn", "nat64stl"):
            raise at.error(
                f"{verb!r}: addresses are not translated here: put a NAT on a link, middleboxes = "
                '["nat"] under its [[links]] (the first end is inside), and leave the line out'
            )
        raise at.error(f"'ipfw {verb}' is not known here: {did_you_mean(verb, _VERBS)}")

    # --- delete, table, set ---

    def _delete(self) -> DeleteRules:
        words, at = self.words, self.at
        if words.maybe("set"):
            return DeleteRules(at, sets=self._numbers("set", LARGEST_SET, needed=True, lowest=0))
        if not words.peek():
            raise at.error("the number of a rule is missing: write it")
        numbers: list[int] = []
        ranges: list[tuple[int, int]] = []
        while word := words.peek():
            words.next += 1
            low, dash, high = word.partition("-")
            first = whole_number(at, low, "number of a rule", 1, LARGEST_RULE)
            if dash:
                ranges.append((first, whole_number(at, high, "number of a rule", first, LARGEST_RULE)))
            else:
                numbers.append(first)
        return DeleteRules(at, tuple(numbers), ranges=tuple(ranges))

    def _table(self) -> list[IpfwCommand]:
        words, at = self.words, self.at
        name = words.take("the name of a table")
        if re.fullmatch(r"[\w.-]{1,63}", name) is None:
            raise at.error(f"{name!r} is no name of a table: write letters, digits, _ and -")
        verb = words.take("what to do with the table")
        known = ("create", "destroy", "add", "delete", "flush", "list", "info", "detail", "atomic")
        if verb == "atomic":
            verb = words.take("what to do with the table")
        if verb not in known:
            raise at.error(f"'ipfw table' does not know {verb!r}: {did_you_mean(verb, known)}")
        if verb == "create":
            while option := words.peek():
                words.next += 1
                value = (
                    words.take(f"the value of {option}")
                    if option not in ("locked", "missing", "or-flush")
                    else ""
                )
                if option == "type" and value != "addr":
                    raise at.error(f"tables of {value!r} are not simulated: write 'type addr'")
            return [TableCommand(at, name, verb)]
        if verb in ("add", "delete"):
            prefixes = []
            if not words.peek():
                raise at.error("the address is missing: write one such as 10.0.0.0/8")
            while word := words.peek():
                words.next += 1
                prefixes.append(read_prefix(at, word) if "/" in word else prefix_of(at, word, None))
                value = words.peek()
                if value and not is_address(value.partition("/")[0]):
                    words.next += 1
                    self.note(PassedOver(at, value, "entries of tables have no values here"))
                elif value.isdigit():
                    words.next += 1
            return [TableCommand(at, name, verb, tuple(prefixes))]
        words.end()
        if verb in ("info", "detail"):
            verb = "list"
        return [TableCommand(at, name, verb)]

    def _set(self) -> SetCommand:
        words, at = self.words, self.at
        verb = words.take("what to do with sets")
        if verb in ("disable", "enable"):
            groups: dict[str, list[int]] = {"disable": [], "enable": []}
            while word := words.peek():
                words.next += 1
                if word in groups:
                    verb = word
                    continue
                groups[verb].append(self._number_of_set(word))
            if LARGEST_SET in groups["disable"]:
                raise at.error(f"set {LARGEST_SET} cannot be disabled: leave it out")
            return SetCommand(at, "switch", tuple(groups["disable"]), tuple(groups["enable"]))
        if verb == "show":
            return SetCommand(at, verb)
        if verb == "swap":
            numbers = self._number_of_set(words.take("a set")), self._number_of_set(words.take("a set"))
            return SetCommand(at, verb, numbers=numbers)
        if verb != "move":
            raise at.error(
                f"'ipfw set' does not know {verb!r}: known are disable, enable, move, swap and show"
            )
        if words.maybe("rule"):
            verb = "move rule"
            first = whole_number(at, words.take("a rule"), "number of a rule", 1, LARGEST_RULE)
        else:
            first = self._number_of_set(words.take("a set"))
        if not words.maybe("to"):
            raise at.error("'to' is missing: write 'set move N to M'")
        second = self._number_of_set(words.take("a set"))
        words.end()
        return SetCommand(at, verb, numbers=(first, second))

    def _number_of_set(self, word: str) -> int:
        return whole_number(self.at, word, "number of a set", 0, LARGEST_SET)

    # --- pipe, queue, sched ---

    def _object(self, kind: str) -> ObjectCommand | Config:
        """Read both orders, as ipfw does: ``pipe 1 delete`` and ``pipe delete 1``."""
        first = self.words.take(f"the number of the {kind}, or what to do with it")
        verbs = ("config", "delete", "flush", "list", "show")
        if first.isdigit() and self.words.peek() in verbs:
            verb = self.words.take()
            number = whole_number(self.at, first, f"number of a {kind}", 1, LARGEST_NUMBER)
            if verb == "config":
                return read_config(self.at, kind, number, self.words.rest())
            self.words.end()
            return ObjectCommand(self.at, kind, verb, (number,))
        if first == "config":
            number = whole_number(
                self.at, self.words.take("a number"), f"number of a {kind}", 1, LARGEST_NUMBER
            )
            return read_config(self.at, kind, number, self.words.rest())
        if first not in verbs:
            word = self.words.peek() if first.isdigit() else first
            raise self.at.error(f"'ipfw {kind}' does not know {word!r}: {did_you_mean(word, verbs)}")
        numbers = self._numbers(kind, LARGEST_NUMBER, needed=first == "delete")
        return ObjectCommand(self.at, kind, first, numbers)

    def _numbers(self, what: str, highest: int, needed: bool, lowest: int = 1) -> tuple[int, ...]:
        if needed and not self.words.peek():
            raise self.at.error(f"the number of a {what} is missing: write it")
        numbers = self.words.rest()
        return tuple(whole_number(self.at, word, f"number of a {what}", lowest, highest) for word in numbers)
