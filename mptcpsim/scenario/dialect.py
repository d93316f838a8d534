"""From the ``freebsd`` tables of a scenario to its ordinary ones, before it is read.

Interfaces, routes, ``tcp`` and ``mptcp`` of hosts, flows from iperf and captures from tcpdump are then in the
scenario as if they had been written there: every check, table and picture sees them. The commands of the
firewalls remain commands, and ``scenario.systems`` carries them out.
"""

from __future__ import annotations

import copy
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from mptcpsim.scenario.dialect_flows import add_applications
from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.scenario.typed import TABLE, Malformed, Origin, TypedNode


def origin_of(origins: list[Origin], path: KeyPath) -> str:
    """Return which line made the part of a scenario at a place, or an empty string."""
    for origin in reversed(origins):
        if origin.path == path[: len(origin.path)]:
            at = origin.at
            return f"line {at.number} of {at.file} at {origin.node}: {at.text.strip()[:200]}"
    return ""


class Expanded(NamedTuple):
    """A scenario with its dialect carried out.

    Attributes:
        data: the scenario's.
        origins: where what was added comes from.
        problem: what the ordinary check has to find, or else is to be raised: then ``data`` is not complete.
    """

    data: dict[str, Any]
    origins: list[Origin]
    problem: Problem | None = None


def expand(data: dict[str, Any], directory: FilePath) -> Expanded:
    """Return a scenario's data with the dialect in it carried out.

    Args:
        data: as they were read; not changed.
        directory: that files are relative to.

    Raises:
        Problem: a line that is not understood or cannot be done.
    """
    found = [
        (kind, name, raw)
        for kind in ("hosts", "routers")
        if isinstance(nodes := data.get(kind), dict)
        for name, raw in nodes.items()
        if isinstance(raw, dict) and TABLE in raw
    ]
    if not found:
        return Expanded(data, [])
    data = copy.deepcopy(data)
    origins: list[Origin] = []
    try:
        typed = [TypedNode(kind, name, raw, _linked(data, name), directory) for kind, name, raw in found]
        for one in typed:
            tables = {**one.raw, **one.tables, TABLE: one.residue}
            data[one.kind][one.name] = {key: value for key, value in tables.items() if value is not None}
            origins += one.origins
        origins += add_applications(data, typed)
    except Malformed:
        text = "the commands cannot be carried out: something among the nodes, flows or output cannot be read"
        return Expanded(data, origins, Problem((found[0][0], found[0][1], TABLE), text))
    return Expanded(data, origins)


def _linked(data: dict[str, Any], name: str) -> list[str]:
    """Return the interfaces of a node at which links end."""
    links = data.get("links", [])
    ends = [
        end
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict) and isinstance(link.get("ends"), list)
        for end in link["ends"]
        if isinstance(end, str)
    ]
    return [
        interface for node, colon, interface in (end.partition(":") for end in ends) if colon and node == name
    ]
