"""Lines of text and what is wrong with them; the words of a command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mptcpsim.cursor import Cursor


class DialectError(ValueError):
    """A line that cannot be read: one message with its place, what is wrong, the remedy and the line.

    Attributes:
        file: name of the file, or of the block of commands, as the caller gave it.
        line: its number, from 1.
        text: the line as it stands there.
        problem: what is wrong and what to do about it.
    """

    def __init__(self, file: str, line: int, text: str, problem: str) -> None:
        shown = text.strip()
        shown = shown if len(shown) <= 300 else shown[:300] + "..."
        super().__init__(f"{file}, line {line}: {problem} (the line is: {shown})")
        self.file = file
        self.line = line
        self.text = text
        self.problem = problem


class Line(NamedTuple):
    """A place in a text.

    Attributes:
        file: name of the file or of the block of commands.
        number: of the first line, where one is continued; from 1.
        text: the whole of it, continuations joined.
    """

    file: str
    number: int
    text: str

    def error(self, problem: str) -> DialectError:
        """Return the error that this line is to blame for."""
        return DialectError(self.file, self.number, self.text, problem)


class LineCursor(Cursor):
    """The words of a command or of a statement, and the reader's place among them.

    Attributes:
        at: the line.
    """

    def __init__(self, at: Line, words: Sequence[str]) -> None:
        super().__init__(words, at.error)
        self.at = at


class PassedOver(NamedTuple):
    """A word that changes nothing that is simulated, and is not acted upon.

    Attributes:
        at: the line.
        word: the word, or the statement that it begins.
        why: what makes no difference.
    """

    at: Line
    word: str
    why: str


#: Takes what is passed over.
Note = Callable[[PassedOver], None]

#: Where something that was not read comes from.
NOWHERE: Final = Line("", 0, "")

#: More than any sensible configuration has: hostile input ends here. Characters of a text and of a
#: word, and words of a command.
LONGEST: Final = 1_000_000
LONGEST_WORD: Final = 1000
MOST_WORDS: Final = 1000


def physical_lines(text: str, file: str) -> list[str]:
    """Return the lines of a text; ends of line are LF or CR LF.

    Raises:
        DialectError: the text is too long or has characters that no text has.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    if len(text) > LONGEST:
        raise DialectError(
            file, 1, lines[0][:80], f"more than {LONGEST} characters: this is no configuration"
        )
    for number, line in enumerate(lines, 1):
        odd = next((c for c in line if (ord(c) < 32 and c != "\t") or ord(c) == 127), "")
        if odd:
            raise DialectError(file, number, repr(line), f"{odd!r} is no character of a text: take it out")
    return lines


def logical_lines(text: str, file: str) -> list[Line]:
    r"""Return the lines of a text, those joined that end in a backslash; without empty ones."""
    found = []
    parts: list[str] = []
    first = 1
    lines = physical_lines(text, file)
    for number, line in enumerate(lines, 1):
        if not parts:
            first = number
        if line.endswith("\\") and number < len(lines):
            parts.append(line[:-1])
            continue
        whole = " ".join([*parts, line])
        parts = []
        if whole.strip():
            found.append(Line(file, first, whole))
    return found


#: What a shell would act upon, and this reader does not.
_SHELL: Final = re.compile(r"[;|<>`&]|\$[({\w]")


def shell_words(at: Line, text: str) -> list[str]:
    """Return the words of a command: quotes and backslashes as in sh(1), ``#`` begins a comment.

    ``shlex.split`` does not do: it begins a comment in the middle of a word, takes a backslash inside
    double quotes away, reads on where something needs a shell, and does not say which quote is open.

    Raises:
        DialectError: a quote without its end, or something that needs a shell.
    """
    words: list[str] = []
    parts: list[str] | None = None  # of the word at hand
    position = 0
    while position < len(text):
        char = text[position]
        part = char
        if char.isspace():
            if parts is not None:
                words.append(_word(at, parts))
            parts = None
            position += 1
            continue
        if char in "'\"":
            end = text.find(char, position + 1)
            if end < 0:
                raise at.error(f"the quote {char} is not closed: close it")
            part = text[position + 1 : end]
            position = end
        elif char == "\\" and position + 1 < len(text):
            position += 1
            part = text[position]
        elif char == "#" and parts is None:
            break
        elif char == "&" and not text[position + 1 :].strip():
            break  # "in the background" is how applications run anyway
        elif match := _SHELL.match(text, position):
            raise at.error(
                f"{match.group()!r} needs a shell: write one plain command a line, with its values in it"
            )
        parts = [] if parts is None else parts
        parts.append(part)
        position += 1
    if parts is not None:
        words.append(_word(at, parts))
    if len(words) > MOST_WORDS:
        raise at.error(f"more than {MOST_WORDS} words: this is no command")
    return words


def _word(at: Line, parts: list[str]) -> str:
    word = "".join(parts)
    if len(word) > LONGEST_WORD:
        raise at.error(f"a word of more than {LONGEST_WORD} characters: this is no command")
    return word


def quoted(word: str) -> str:
    """Return a word so that ``shell_words`` reads it again."""
    if word and re.fullmatch(r"[\w@%+=:,./{}*!-]+", word):
        return word
    return '"' + word + '"' if not set('"$`\\') & set(word) else "'" + word + "'"


def whole_number(at: Line, word: str, what: str, lowest: int, highest: int) -> int:
    """Return the number that a word stands for.

    Raises:
        DialectError: it stands for none, or for one outside the limits.
    """
    if re.fullmatch(r"[0-9]{1,18}", word) is None:
        raise at.error(f"{word!r} is no {what}: write a whole number from {lowest} to {highest}")
    number = int(word)
    if not lowest <= number <= highest:
        raise at.error(f"{number} is no {what}: it must lie between {lowest} and {highest}")
    return number


def fraction(at: Line, word: str, what: str, lowest: float, highest: float) -> float:
    """Return the number, with or without decimals, that a word stands for.

    Raises:
        DialectError: it stands for none, or for one outside the limits.
    """
    if re.fullmatch(r"(?:[0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})(?:[eE]-?[0-9]{1,2})?", word) is None:
        raise at.error(f"{word!r} is no {what}: write a number from {lowest:g} to {highest:g}")
    number = float(word)
    if not lowest <= number <= highest:
        raise at.error(f"{word} is no {what}: it must lie between {lowest:g} and {highest:g}")
    return number
