"""The words and operators of a script of sh(1), with its quotes, before variables are put in."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mptcpsim.freebsd.lines import LONGEST_WORD, MOST_WORDS, Line

_OPERATOR: Final = re.compile(r";;|&&|\|\||[;&|()]")


#: What may stand inside a word though sh gives it a meaning: table(1).
_INSIDE: Final = re.compile(r"\([^\s()'\"$;&|<>]+\)")


_REDIRECTION: Final = re.compile(r"[0-2]?>>?(&[12])?|<")


NEEDS_A_SHELL: Final = "needs a shell: write one plain command a line, with its values in it"


class WordPart(NamedTuple):
    """A piece of a word; ``quote`` is empty, ``'`` or ``"``."""

    text: str
    quote: str


class ShellWord(NamedTuple):
    """A word before its variables are put in."""

    parts: tuple[WordPart, ...]

    @property
    def plain(self) -> str:
        """The text, if nothing is quoted; else empty."""
        return "".join(part.text for part in self.parts) if not any(p.quote for p in self.parts) else ""


class ShellToken(NamedTuple):
    """A word, or an operator; a line feed ends a line."""

    at: Line
    operator: str
    word: ShellWord = ShellWord(())


def tokens_of(at: Line, text: str) -> list[ShellToken]:
    """Return the words and operators of a line."""
    found: list[ShellToken] = []
    parts: list[WordPart] = []
    started = False
    position = 0
    size = 0

    def finish() -> None:
        nonlocal started, size
        if started:
            found.append(ShellToken(at, "", ShellWord(tuple(parts))))
        parts.clear()
        started, size = False, 0

    while position < len(text):
        char = text[position]
        if char.isspace():
            finish()
            position += 1
            continue
        if char == "#" and not started:
            break
        if char in "'\"":
            end = _closing(at, text, position)
            parts.append(WordPart(text[position + 1 : end], char))
            started, size = True, size + end - position
            position = end + 1
        elif char == "\\" and position + 1 < len(text):
            parts.append(WordPart(text[position + 1], "'"))
            started, size = True, size + 1
            position += 2
        elif char == "`" or text.startswith("$(", position):
            sign = "`" if char == "`" else "$("
            raise at.error(f"{sign!r} {NEEDS_A_SHELL}")
        elif (match := _REDIRECTION.match(text, position)) and (not started or char in "<>"):
            finish()
            position = _after_redirection(at, text, match)
        elif started and (match := _INSIDE.match(text, position)):
            parts.append(WordPart(match.group(), "'"))
            position = match.end()
        elif match := _OPERATOR.match(text, position):
            finish()
            found.append(ShellToken(at, match.group()))
            position = match.end()
        else:
            match = re.compile(r"\$\{[^}]*\}|\$\w+|[^\s'\"\\`;&|()<>$]+|\$").match(text, position)
            end = position + 1 if match is None else match.end()  # a backslash at the end is one
            parts.append(WordPart(text[position:end], ""))
            started, size = True, size + end - position
            position = end
        if size > LONGEST_WORD:
            raise at.error(f"a word of more than {LONGEST_WORD} characters: this is no command")
        if len(found) > MOST_WORDS:
            raise at.error(f"more than {MOST_WORDS} words: this is no command")
    finish()
    return found


def _closing(at: Line, text: str, position: int) -> int:
    """Return where the quote that begins at a position ends."""
    quote = text[position]
    end = position + 1
    while end < len(text) and text[end] != quote:
        if quote == '"' and text[end] == "`":
            raise at.error(f"'`' {NEEDS_A_SHELL}")
        end += 1
    if end >= len(text):
        raise at.error(f"the quote {quote} is not closed: close it")
    return end


def _after_redirection(at: Line, text: str, match: re.Match[str]) -> int:
    """Return where the text goes on; only output that is thrown away may be redirected."""
    if match[1]:
        return match.end()
    target = re.compile(r"\s*(/dev/(?:null|stderr|stdout))(?=[\s;&|)]|$)").match(text, match.end())
    if target is None or match.group() == "<":
        raise at.error(f"{match.group()!r} {NEEDS_A_SHELL}")
    return target.end()
