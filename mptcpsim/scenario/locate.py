"""Where in a TOML text a key stands: good enough to send a reader to the right line."""

from __future__ import annotations

import re
import tomllib

from mptcpsim.scenario.errors import KeyPath

_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")


def _parts(dotted: str) -> list[str]:
    """Return the names of a dotted TOML key, quotes removed."""
    try:
        table = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return [dotted]
    names: list[str] = []
    node: object = table
    while isinstance(node, dict):
        name, node = next(iter(node.items()))
        names.append(name)
    return names


def _continues(line: str, quote: str) -> str:
    """Return the triple quote that is still open at the end of a line, or nothing."""
    position = 0
    while True:
        if quote:
            end = line.find(quote, position)
            if end < 0:
                return quote
            position, quote = end + 3, ""
        openings = [(at, mark) for mark in ('"""', "'''") if (at := line.find(mark, position)) >= 0]
        if not openings:
            return ""
        at, quote = min(openings)
        position = at + 3


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, on which each table header and each key of a TOML text begins.

    Keys of inline tables are not looked into: the line of the key that holds them counts.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        inside_string = bool(quote)
        quote = _continues(line, quote)
        if inside_string:
            continue
        if header := _HEADER.fullmatch(line):
            path = _indexed(_parts(header[2].strip()), counts)
            if header[1] == "[[":
                index = counts.get(path, -1) + 1
                counts[path] = index
                path = (*path, index)
            table = path
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def line_within(text: str, path: KeyPath, line: int) -> int | None:
    """Return where a line, from 1, of a text in triple quotes stands; else the line of its key."""
    at = line_of(text, path)
    if at is None:
        return None
    opening = re.search(r"=\s*(\"\"\"|''')(.*)", text.splitlines()[at - 1])
    if opening is None or line < 1:
        return at
    # A line end right behind the quotes is none of the text's.
    return at + line if not opening[2] else at + line - 1


def _indexed(names: list[str], counts: dict[KeyPath, int]) -> KeyPath:
    """Return a path in which each array of tables on the way is followed by its current index."""
    path: KeyPath = ()
    for position, name in enumerate(names):
        path = (*path, name)
        if position < len(names) - 1 and path in counts:
            path = (*path, counts[path])
    return path


def line_of(text: str, path: KeyPath) -> int | None:
    """Return the line of a key, or of the nearest table around it; None if nothing is near."""
    lines = key_lines(text)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    # A table such as [hosts.A.tcp] stands for [hosts.A], if that has no header of its own.
    for known, line in lines.items():
        if path and known[: len(path)] == path:
            return line
    return None
