"""The one error of a scenario: file, key and remedy in one message."""

from __future__ import annotations

from typing import Final

KeyPath = tuple[str | int, ...]

#: Characters of a key that a message shows.
MOST_CHARACTERS: Final = 100


class ScenarioError(ValueError):
    """A scenario that cannot be run; the text names the file, the key and the remedy."""


class Problem(ValueError):
    """A mistake at one place of a scenario, before it is known in which file.

    Attributes:
        path: keys and list indices from the top of the scenario to the place.
        text: what is wrong and what to do about it.
        line: of a text of several lines that stands at this place; 0 if it is none.
    """

    def __init__(self, path: KeyPath, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.path = path
        self.text = text
        self.line = line


def dotted(path: KeyPath) -> str:
    """Return a path as ``--set`` takes it: ``links.0.rate``; what does not fit in a line is shortened."""
    return ".".join(_shown(str(part)) for part in path)


def _shown(part: str) -> str:
    part = part if len(part) <= MOST_CHARACTERS else f"{part[:40]}..."
    return part if part.isprintable() else repr(part)
