"""Where the parts of a scenario come from: lines of its file, overrides, commands of a host, a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from mptcpsim.freebsd.lines import Line
from mptcpsim.scenario.dialect import origin_of
from mptcpsim.scenario.errors import KeyPath, Problem, dotted
from mptcpsim.scenario.locate import line_of, line_within
from mptcpsim.scenario.overrides import Override
from mptcpsim.scenario.patterns import Patterns
from mptcpsim.scenario.topology import Expansion
from mptcpsim.scenario.typed import COMMANDS, TABLE, Origin


class Place(NamedTuple):
    """A place in a file.

    Attributes:
        file: its name.
        line: from 1; 0 if it is not known.
        key: dotted, as ``--set`` takes it.
        within: line of the text that the key holds, from 1; 0 if the key holds none.
        source: what stands there, of a text within; else empty.
        origin: what made this part of the scenario, where that is no line: an override, or a graph.
    """

    file: str
    line: int
    key: str
    within: int = 0
    source: str = ""
    origin: str = ""


class Places:
    """Where each part of one scenario comes from; ``load`` fills it in as it reads.

    Attributes:
        name: of the scenario's file.
        text: of the file.
        directory: that other files are relative to.
        changes: overrides, in their order.
        origins: what commands have made.
        expansion: what a graph has made, if there is one.
        patterns: what patterns have made of the flows, if there are some.
    """

    def __init__(self, name: str, text: str, directory: FilePath, data: Mapping[str, Any]) -> None:
        self.name = name
        self.text = text
        self.directory = directory
        self.changes: list[Override] = []
        self.origins: list[Origin] = []
        self.expansion: Expansion | None = None
        self.patterns: Patterns | None = None
        self._data = data

    def message(self, problem: Problem) -> str:
        """Return a problem with its place, for people."""
        path = self.written(problem.path)
        key = dotted(path)
        if not key:
            return f"{self.name}: {problem.text}"
        if made := self._made(path) or origin_of(self.origins, path) or self._graph(path):
            return f"{self.name}: {key} (from {made}): {problem.text}"
        line = self._line(path, problem.line)
        where = f"{self.name}: line {line}: {key}" if line else f"{self.name}: {key}"
        return f"{where}: {problem.text}"

    def of(self, path: KeyPath) -> Place:
        """Return the place of a part of the scenario."""
        path = self.written(path)
        key = dotted(path)
        if made := self._made(path):
            return Place(self.name, 0, key, origin=made)
        for origin in reversed(self.origins):
            if origin.path == path[: len(origin.path)]:
                return self.of_text(self._table(origin.node), origin.at)
        if graph := self._graph(path):
            return Place(self.name, 0, key, origin=graph)
        return Place(self.name, self._line(path), key)

    def written(self, path: KeyPath) -> KeyPath:
        """Return the path of what is written: of a flow that a pattern made, that of its entry."""
        return path if self.patterns is None else self.patterns.entry(path)

    def is_typed(self, path: KeyPath) -> bool:
        """Return whether commands of a host have made a part of the scenario."""
        return bool(origin_of(self.origins, path)) and not self._made(path)

    def of_text(self, table: KeyPath, at: Line) -> Place:
        """Return the place of a line of the commands or files of a host.

        Args:
            table: its ``freebsd`` table.
            at: the line, as its reader calls it.
        """
        key, written = self._text_called(table, at.file)
        shown = at.text.strip()
        if isinstance(written, Mapping):
            file = str(self.directory / str(written.get("file", "")))
            return Place(file, at.number, dotted(key), at.number, shown)
        return Place(self.name, self._line(key, at.number), dotted(key), at.number, shown)

    def _text_called(self, table: KeyPath, label: str) -> tuple[KeyPath, Any]:
        """Return the key of a text by what its reader calls it, and what is written there."""
        freebsd: Any = self._data
        for part in table:
            freebsd = freebsd.get(part, {}) if isinstance(freebsd, Mapping) else {}
        texts: dict[KeyPath, tuple[str, Any]] = {(COMMANDS,): (COMMANDS, freebsd.get(COMMANDS))}
        for name, text in freebsd.get("files", {}).items():
            texts["files", name] = name, text
        for index, block in enumerate(freebsd.get("later", [])):
            texts["later", index, COMMANDS] = f"{COMMANDS} of later.{index}", block.get(COMMANDS)
        for key, (called, text) in texts.items():
            if called == label or (isinstance(text, Mapping) and text.get("file") == label):
                return (*table, *key), text
        return table, None

    def _table(self, node: str) -> KeyPath:
        hosts = self._data.get("hosts", {})
        return ("hosts" if node in hosts else "routers", node, TABLE)

    def _line(self, path: KeyPath, within: int = 0) -> int:
        return (line_within(self.text, path, within) if within else line_of(self.text, path)) or 0

    def _made(self, path: KeyPath) -> str:
        """Return the override that has set a part of the scenario, or something around it; or nothing."""
        for change in reversed(self.changes):
            if change.path and path[: len(change.path)] == change.path:
                return f"{change.origin} {change.text}"
        return ""

    def _graph(self, path: KeyPath) -> str:
        return self.expansion.origin(path) if self.expansion is not None else ""
