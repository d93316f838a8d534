"""Graphs from files: GraphML, GML and node-link JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NoReturn

from mptcpsim.topologies.gml import read_gml
from mptcpsim.topologies.graphml import read_graphml
from mptcpsim.topologies.plan import PlanEdge, TopologyError, TopologyPlan

#: Bytes of a file, at most: ten times what a graph of a hundred thousand links needs.
MAX_FILE: Final = 64 << 20

#: The format of a file that states none, by its suffix.
SUFFIXES: Final = {".graphml": "graphml", ".xml": "graphml", ".gml": "gml", ".json": "json", ".cyjs": "json"}


def read_graph_file(path: Path, form: str | None = None) -> TopologyPlan:
    """Return the graph of a file.

    Args:
        path: the file.
        form: ``graphml``, ``gml`` or ``json`` (networkx's node-link data); by the suffix if None.

    Raises:
        TopologyError: the file cannot be read, or is none of its format; the text begins with its name.
    """
    form = form or SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise TopologyError(
            f'{path.name}: its name tells no format; write format = "graphml", "gml" or "json" beside file'
        )
    try:
        if path.stat().st_size > MAX_FILE:
            raise TopologyError(f"{path.name}: more than {MAX_FILE >> 20} MiB; name a smaller file")
        if not path.is_file():
            raise TopologyError(f"{path.name}: is no file; name one")
        data = path.read_bytes()
    except FileNotFoundError:
        raise TopologyError(f"{path}: no such file; paths are relative to the scenario") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, TopologyError):
            raise
        raise TopologyError(f"{path}: cannot be read: {reason}; check the path and its permissions") from None
    try:
        return _READERS[form](data)
    except TopologyError as error:
        raise TopologyError(f"{path.name}: {error}") from None


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TopologyError(f"not UTF-8 text (byte {error.start}); save the file in UTF-8") from None


# --- Node-link JSON -----------------------------------------------------------------------------


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _whole(text: str) -> int:
    if len(text) > 40:
        raise ValueError("a number of more than 40 digits")
    return int(text)


def read_node_link(data: bytes) -> TopologyPlan:
    """Return the graph of a node-link document, as ``networkx.node_link_data`` and d3 write it.

    Edges stand under ``links`` or ``edges``. Cytoscape's documents, too, in which both stand under
    ``elements`` and what is known of each under ``data``.

    Raises:
        TopologyError: it is none; the text has the key path.
    """
    try:
        document = json.loads(_text(data), parse_constant=_constant, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise TopologyError(
            f"line {error.lineno}: not valid JSON: {error.msg}; mend the syntax there"
        ) from None
    except ValueError as error:
        raise TopologyError(f"not valid JSON: {error}; mend the value") from None
    except RecursionError:
        raise TopologyError("lists or tables inside each other without end; write them flat") from None
    if not isinstance(document, dict):
        raise TopologyError("no table at the top; write {nodes: [...], links: [...]}")
    plan = TopologyPlan(directed=document.get("directed") is True)
    if "elements" in document:
        return _read_elements(document["elements"], plan)
    for index, node in enumerate(_entries(document, "nodes")):
        place = f"nodes.{index}"
        rest = {key: value for key, value in node.items() if key != "id"}
        plan.add_node(_identity(node, "id", place), rest, place)
    key = "links" if "links" in document else "edges"
    for index, edge in enumerate(_entries(document, key)):
        place = f"{key}.{index}"
        rest = {name: value for name, value in edge.items() if name not in ("source", "target", "key")}
        ends = _identity(edge, "source", place), _identity(edge, "target", place)
        plan.add_edge(PlanEdge(*ends, rest, place))
    return plan


def _read_elements(elements: Any, plan: TopologyPlan) -> TopologyPlan:
    if not isinstance(elements, dict):
        raise TopologyError("elements: no table; write {nodes: [...], edges: [...]}")
    for key in ("nodes", "edges"):
        for index, entry in enumerate(_entries(elements, key)):
            place = f"elements.{key}.{index}.data"
            data = entry.get("data")
            if not isinstance(data, dict):
                raise TopologyError(f"{place}: no table; write one with keys and values")
            rest = {
                name: value for name, value in data.items() if name not in ("id", "source", "target", "key")
            }
            if key == "nodes":
                plan.add_node(_identity(data, "id", place), rest, place)
            else:
                ends = _identity(data, "source", place), _identity(data, "target", place)
                plan.add_edge(PlanEdge(*ends, rest, place))
    return plan


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise TopologyError(f"{key}: no list; write the {key} of the graph there")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise TopologyError(f"{key}.{index}: no table; write one with keys and values")
    return entries


def _identity(entry: dict[str, Any], key: str, place: str) -> str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        what = "is missing" if key not in entry else f"is {value!r:.60}"
        raise TopologyError(f"{place}.{key}: {what}; write a node's id, a string or a whole number")
    return str(value)


_READERS: Final = {"graphml": read_graphml, "gml": read_gml, "json": read_node_link}
