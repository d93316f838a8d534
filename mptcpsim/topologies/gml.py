"""GML (M. Himsolt, "GML: A portable Graph File Format", 1997), as the programs write it that people use.

``networkx.parse_gml`` takes parallel edges only where the file says ``multigraph 1``, which is a word of
its own: no other program writes it, and a third of the Topology Zoo's files have parallel edges. It
also forgets the lines, and which end of an undirected edge was written as its source. The tests compare
with it what both read.

Kept as it has it: a key that stands several times in one list is a list of its values, and entities of
HTML in strings stand for their characters.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mptcpsim.topologies.plan import PlanEdge, TopologyError, TopologyPlan

#: Lists inside each other, at most; drawing programs need five.
MAX_DEPTH: Final = 64
#: Digits of a number, at most.
MAX_DIGITS: Final = 40
#: networkx writes it in front of a list with one item.
_LIST_START: Final = "_networkx_list_start"

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<comment>\#[^\n]*)|(?P<open>\[)|(?P<close>\])|(?P<string>"[^"]*")"""
    r"""|(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))"""
    r"""|(?P<word>[+-]?(?:INF|NAN)\b|[^\W\d][\w.:-]*)""",
)
_NO_NUMBERS: Final = {"NAN": math.nan, "INF": math.inf}


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


class _List(NamedTuple):
    """A list of GML: its items in their order, and the line where it begins."""

    items: list[tuple[str, Any]]
    line: int

    def all(self, key: str) -> list[Any]:
        return [value for name, value in self.items if name.lower() == key]

    def table(self) -> dict[str, Any]:
        """Return the items by their keys; several of one key as a list."""
        found: dict[str, Any] = {}
        many: set[str] = set()
        for key, item in self.items:
            value = item.table() if isinstance(item, _List) else item
            if key not in found:
                found[key] = value
                continue
            if key not in many:
                many.add(key)
                found[key] = [] if found[key] == _LIST_START else [found[key]]
            found[key].append(value)
        return found


def read_gml(data: bytes) -> TopologyPlan:
    """Return the graph of a GML document; node identifiers are its ``id`` values.

    Edges that join the same nodes are parallel links, whether the file says ``multigraph 1`` or not.

    Raises:
        TopologyError: it is none; the text has the line.
    """
    top = _read(_tokens(_decoded(data)))
    graphs = [value for value in top.all("graph") if isinstance(value, _List)]
    if not graphs:
        raise TopologyError("it has no 'graph [ ... ]'; name a GML file with one")
    if len(graphs) > 1:
        raise TopologyError(f"line {graphs[1].line}: a second graph; a topology is one")
    graph = graphs[0]
    plan = TopologyPlan(directed=1 in graph.all("directed") or "true" in graph.all("directed"))
    for node in _lists(graph, "node"):
        table = node.table()
        at = f"line {node.line}"
        plan.add_node(_identity(table, "id", "node", at), table, at)
    for edge in _lists(graph, "edge"):
        table = edge.table()
        at = f"line {edge.line}"
        ends = _identity(table, "source", "edge", at), _identity(table, "target", "edge", at)
        table.pop("key", None)  # by which networkx tells parallel edges apart
        plan.add_edge(PlanEdge(*ends, table, at))
    return plan


def _decoded(data: bytes) -> str:
    """Return the text: UTF-8, or else ISO 8859-1, the character set of GML before there was UTF-8."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TopologyError("not UTF-8 text but UTF-16; save the file in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _tokens(text: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TopologyError(f"line {line}: {_odd(text, position)}")
        found = match.group()
        kind = str(match.lastgroup)
        if kind not in ("space", "comment"):
            yield _Token(kind, found, line)
        line += found.count("\n")
        position = match.end()


def _odd(text: str, position: int) -> str:
    if text[position] == '"':
        return 'a string without its end; close it with "'
    shown = re.match(r"[^\s\[\]]{0,40}", text[position:])
    return f"{(shown.group() if shown else '') or text[position]!r} is no word of GML; mend the syntax there"


def _read(tokens: Iterator[_Token]) -> _List:
    top = _List([], 1)
    inside = [top]
    key: _Token | None = None
    line = 1
    for token in tokens:
        line = token.line
        if key is None:
            if token.kind == "word":
                key = token
            elif token.kind == "close" and len(inside) > 1:
                inside.pop()
            elif token.kind == "close":
                raise TopologyError(f"line {line}: a ] that closes nothing; take it out")
            else:
                raise TopologyError(f"line {line}: {token.text:.40} where a key is expected; write one there")
            continue
        if token.kind == "close":
            raise TopologyError(f"line {line}: the key {key.text!r:.42} has no value; write one behind it")
        value: Any
        if token.kind == "open":
            value = _List([], key.line)
        else:
            value = _value(token)
        inside[-1].items.append((key.text, value))
        key = None
        if isinstance(value, _List):
            inside.append(value)
            if len(inside) > MAX_DEPTH:
                raise TopologyError(
                    f"line {line}: more than {MAX_DEPTH} lists inside each other; write them flat"
                )
    if key is not None:
        raise TopologyError(f"line {line}: the key {key.text!r:.42} has no value; write one behind it")
    if len(inside) > 1:
        raise TopologyError(
            f"line {inside[-1].line}: the list that begins here is not closed; close it with ]"
        )
    return top


def _value(token: _Token) -> Any:
    if token.kind == "string":
        text = html.unescape(token.text[1:-1])
        return [] if text == "[]" else text  # networkx writes a list without items so
    if token.kind == "word":
        bare = token.text.lstrip("+-")
        if bare in _NO_NUMBERS:
            return -_NO_NUMBERS[bare] if token.text.startswith("-") else _NO_NUMBERS[bare]
        return token.text  # some programs write words without quotes
    if len(token.text) > MAX_DIGITS:
        raise TopologyError(f"line {token.line}: a number of more than {MAX_DIGITS} digits; mend the value")
    return float(token.text) if re.search(r"[.eE]", token.text) else int(token.text)


def _lists(graph: _List, key: str) -> Iterator[_List]:
    for value in graph.all(key):
        if not isinstance(value, _List):
            raise TopologyError(f"line {graph.line}: {key} {value!s:.40}: no list; write {key} [ ... ]")
        yield value


def _identity(table: dict[str, Any], key: str, what: str, at: str) -> str:
    """Take the value that names a node out of a table."""
    if key not in table:
        raise TopologyError(f"{at}: the {what} has no {key}; add one")
    value = table.pop(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TopologyError(f"{at}: {key}: {value!s:.60} names no node; write its id, a whole number")
    return str(value)
