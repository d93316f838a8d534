"""The words around a configuration: comments, title and description, with their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple


class Prose(NamedTuple):
    """A line that is for people, and the number of the line."""

    line: int
    text: str


_DELIMITERS: Final = ('"""', "'''", '"', "'")
#: Keys whose values are for people.
_FOR_PEOPLE: Final = ("title", "description")


def prose_of_toml(text: str) -> Iterator[Prose]:
    """Yield the comments of a TOML text and the lines of its title and description.

    In other strings of several lines, which hold a pf.conf or commands, what follows a ``#`` counts.
    """
    quote = ""
    for_people = False
    for number, line in enumerate(text.splitlines(), 1):
        position = 0
        if not quote:
            for_people = line.partition("=")[0].strip() in _FOR_PEOPLE
        elif for_people:
            yield Prose(number, line)
        elif "#" in line.partition(quote)[0]:
            yield Prose(number, line.partition(quote)[0].partition("#")[2])
        while position < len(line):
            if quote:
                end = line.find(quote, position)
                if quote == '"':
                    end = _unescaped(line, position)
                position = len(line) if end < 0 else end + len(quote)
                if end >= 0 or len(quote) == 1:  # a string of one line ends with it
                    quote = ""
                continue
            if line[position] == "#":
                yield Prose(number, line[position + 1 :])
                break
            quote = next((mark for mark in _DELIMITERS if line.startswith(mark, position)), "")
            if quote and for_people:
                yield Prose(number, line[position + len(quote) :])
            position += len(quote) or 1


def _unescaped(line: str, position: int) -> int:
    """Return the next quote that no backslash stands in front of, or -1."""
    while position < len(line):
        if line[position] == "\\":
            position += 1
        elif line[position] == '"':
            return position
        position += 1
    return -1


def prose_of_conf(text: str) -> Iterator[Prose]:
    """Yield the comments of a pf.conf, of rules of ipfw or of commands."""
    for number, line in enumerate(text.splitlines(), 1):
        if "#" in line:
            yield Prose(number, line.partition("#")[2])
