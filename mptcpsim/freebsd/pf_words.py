"""The words of a pf.conf: comments, continued lines, macros, braces, and a reader's place among them.

Kept as pf has it: macros are not expanded inside quotes; a comment goes to the end of a continued line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from mptcpsim.freebsd.lines import LONGEST_WORD, DialectError, Line, LineCursor, physical_lines
from mptcpsim.freebsd.pf_conf import Macro
from mptcpsim.suggest import did_you_mean

#: Items of a list, and rules that lists may expand to: more are a mistake, or hostile.
MOST_RULES: Final = 10_000
#: Words of a file with its macros expanded, and characters of a macro.
MOST_WORDS: Final = 300_000
LONGEST_VALUE: Final = 20_000

#: Words that cannot name a macro or an interface.
RESERVED: Final = frozenset(
    ("all", "any", "block", "flags", "from", "in", "inet", "inet6", "keep", "no", "on", "out", "pass", "port",
     "proto", "quick", "reply-to", "route-to", "set", "state", "to")
)  # fmt: skip


class PfWord(NamedTuple):
    """A word and where it stands; ``plain`` if it was not in quotes."""

    text: str
    at: Line
    plain: bool = True


_TOKEN: Final = re.compile(r"""(?P<string>"[^"]*"|'[^']*')|(?P<sign>!=|<=|>=|><|<>|->|[{}(),/=!<>])"""
                           r"""|(?P<macro>\$[A-Za-z0-9_]*)|(?P<word>[^\s{}(),/=!<>"'$#]+)""")  # fmt: skip


def _words(text: str, at: Line, macros: dict[str, Macro]) -> Iterator[PfWord]:
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
            found = _expanded(match["macro"][1:], at, macros)
            # What follows without a space belongs to the word: $ext_if:network.
            behind = re.compile(r":[\w:.-]*").match(text, position)
            if behind is not None and found and found[-1].plain:
                found[-1] = found[-1]._replace(text=found[-1].text + behind.group())
                position = behind.end()
            yield from found
        elif match["string"] is not None:
            yield PfWord(match["string"][1:-1], at, plain=False)
        else:
            yield PfWord(match.group(), at)


def _expanded(name: str, at: Line, macros: dict[str, Macro]) -> list[PfWord]:
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
        return list(_words(value, at, {}))
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


T = TypeVar("T")


class Statement(LineCursor):
    """The words of one statement and the reader's place among them: with names, lists and parentheses.

    Attributes:
        plain: of each word whether it stood without quotes.
    """

    def __init__(self, at: Line, words: list[PfWord]) -> None:
        super().__init__(at, [word.text for word in words])
        self.plain = [word.plain for word in words]

    @property
    def defines(self) -> bool:
        """Whether it defines a macro."""
        return len(self.words) > 1 and self.words[1] == "=" and self.plain[1]

    def name(self, what: str) -> str:
        """Return the next word, which is a name."""
        word = self.take(what)
        if re.fullmatch(r"[A-Za-z][\w.-]{0,31}", word) is None or word in RESERVED:
            raise self.at.error(f"{word!r} stands where the name of {what} is missing, such as em0")
        return word

    def items(self, item: Callable[[], T], nested: int = 0) -> list[T]:
        """Return one item, or those of a list in braces, with or without commas; lists may nest so deep."""
        if not self.maybe("{"):
            return [item()]
        items: list[T] = []
        while not self.maybe("}"):
            items += self.items(item, nested - 1) if nested else [item()]
            self.maybe(",")
            if len(items) > MOST_RULES:
                raise self.at.error(f"the list has more than {MOST_RULES} items: use prefixes")
        if not items:
            raise self.at.error("the list in braces is empty: write what belongs there")
        return items

    def parentheses(self) -> list[str]:
        """Return the words inside parentheses, if such come next."""
        if not self.maybe("("):
            return []
        found = []
        while not self.maybe(")"):
            found.append(self.take("a closing parenthesis"))
        return found

    def skip(self) -> None:
        """Go on behind one word, or a list in braces or parentheses with all that is inside."""
        if self.take("a value") not in "{(":
            return
        depth = 1
        while depth:
            word = self.take("the end of the list")
            depth += (word in "{(") - (word in "})")


class Statements:
    """The statements of a file, one after the other.

    Attributes:
        macros: those defined so far; the reader of the statements adds them.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.macros: dict[str, Macro] = {}
        self._lines = physical_lines(text, file)
        self._count = 0

    def __iter__(self) -> Iterator[Statement]:
        """Yield the words of one statement after the other: a line, or more while a brace is open."""
        number = 0
        while number < len(self._lines):
            first = number
            found: list[PfWord] = []
            parts: list[str] = []
            depth = 0
            while number < len(self._lines):
                start = number
                while self._lines[number].endswith("\\") and number + 1 < len(self._lines):
                    number += 1
                number += 1
                # pf joins continued lines before it looks for comments.
                whole = " ".join(self._lines[k].removesuffix("\\") for k in range(start, number))
                parts.append(_uncommented(whole))
                at = Line(self.file, start + 1, whole.strip())
                words = self._within_limits(at, _words(parts[-1], at, self.macros))
                found += words
                depth += sum((w.text == "{") - (w.text == "}") for w in words if w.plain)
                if depth <= 0:
                    break
            at = Line(self.file, first + 1, " ".join(part.strip() for part in parts).strip())
            if depth > 0:
                raise at.error("a brace { is not closed: close it with }")
            if found:
                yield Statement(at, found)

    def _within_limits(self, at: Line, words: Iterator[PfWord]) -> list[PfWord]:
        """Return the words; macros that are made of macros could make more of them than fit anywhere."""
        found = []
        for word in words:
            found.append(word)
            self._count += 1
            if self._count > MOST_WORDS:
                raise at.error(f"with its macros the file has more than {MOST_WORDS} words: use prefixes")
        return found

    def define(self, words: Statement) -> Macro:
        """Take the definition of a macro."""
        at, name = words.at, words.words[0]
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None or not words.plain[0]:
            raise at.error(f"{name!r} is no name of a macro: letters, digits and _ only, a letter first")
        if name in RESERVED:
            raise at.error(f"{name!r} is a word of pf.conf and cannot name a macro: choose another name")
        values = words.words[2:]
        if not values:
            raise at.error(f'macro {name!r} has no value: write {name} = "value"')
        macro = Macro(at, name, _joined(values))
        if len(macro.value) > LONGEST_VALUE:
            raise at.error(f"the value of {name!r} has more than {LONGEST_VALUE} characters: use prefixes")
        self.macros[name] = macro
        return macro


def _joined(words: Sequence[str]) -> str:
    """Return the value of a macro: its words with spaces, prefixes in one piece."""
    return re.sub(r" ?/ ?", "/", " ".join(words))
