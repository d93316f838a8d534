"""Flows by a pattern: one entry of ``[[flows]]`` that stands for many.

An entry with ``pattern`` becomes a flow for each pair of hosts that the pattern makes; all its other
keys are those of each flow. ``hosts`` names who takes part, by names or wildcards (``"h0-*"``); all by
default. Flows are called after the entry and the client.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mptcpsim.scenario.errors import Path, Problem, did_you_mean
from mptcpsim.streams import stream

#: Flows that a scenario may have, at most.
MAX_FLOWS: Final = 100_000

Pairs = Iterator[tuple[str, str]]


def permutation(hosts: list[str], rng: random.Random) -> Pairs:
    """Each host sends to one other and receives from one: a derangement, each as likely as any other."""
    servers = list(hosts)
    # About e attempts, whatever the number of hosts.
    while any(a == b for a, b in zip(hosts, servers, strict=True)):
        rng.shuffle(servers)
    yield from zip(hosts, servers, strict=True)


def all_to_all(hosts: list[str], rng: random.Random) -> Pairs:
    """Each host sends to every other."""
    for client in hosts:
        yield from ((client, server) for server in hosts if server != client)


#: By the name that a scenario gives them; ``incast`` is all hosts to the ``server`` of the entry.
PATTERNS: Final[dict[str, Callable[[list[str], random.Random], Pairs]]] = {
    "permutation": permutation,
    "all-to-all": all_to_all,
}
INCAST: Final = "incast"


class Patterns:
    """The flows of a scenario, patterns replaced by what they stand for.

    Attributes:
        flows: all of them, as they are read.
        entries: for each flow the index of the entry that it comes from.
    """

    def __init__(self) -> None:
        self.flows: list[Any] = []
        self.entries: list[int] = []

    def entry(self, path: Path) -> Path:
        """Return the place in the scenario of what a path of the expanded one means."""
        if len(path) > 1 and path[0] == "flows" and isinstance(path[1], int) and path[1] < len(self.entries):
            return ("flows", self.entries[path[1]], *path[2:])
        return path


def expand_patterns(data: Mapping[str, Any]) -> Patterns | None:
    """Return the flows of a scenario, or None if no entry has a pattern.

    Args:
        data: the scenario as it was read, with its hosts.

    Raises:
        Problem: a pattern is unknown, or lacks hosts.
    """
    entries = data.get("flows")
    if not isinstance(entries, list) or not any(isinstance(e, dict) and "pattern" in e for e in entries):
        return None
    found = Patterns()
    for index, entry in enumerate(entries):
        if isinstance(entry, dict):
            entry = {"name": f"flow{index}", **entry}
        if not isinstance(entry, dict) or "pattern" not in entry:
            flows = [entry]
        else:
            flows = _flows(data, entry, ("flows", index))
        found.flows += flows
        found.entries += [index] * len(flows)
        if len(found.flows) > MAX_FLOWS:
            raise Problem(("flows", index), f"more than {MAX_FLOWS} flows: choose fewer hosts")
    return found


def _flows(data: Mapping[str, Any], entry: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    pattern = entry["pattern"]
    known = [*PATTERNS, INCAST]
    if pattern not in known:
        raise Problem((*path, "pattern"), f"unknown pattern {pattern!r}; {did_you_mean(str(pattern), known)}")
    common = {key: value for key, value in entry.items() if key not in ("pattern", "hosts")}
    for key in ("client", "server"):
        if key in common and not (pattern == INCAST and key == "server"):
            raise Problem((*path, key), f"the pattern {pattern} chooses it: remove the key, or the pattern")
    hosts = _hosts(data, entry, path)
    if pattern == INCAST:
        if "server" not in common:
            raise Problem(path, "the key 'server' is missing: name the host that all others send to")
        hosts = [host for host in hosts if host != common["server"]]
    elif len(hosts) < 2:
        raise Problem(
            (*path, "hosts"), f"a {pattern} needs two hosts, these are {len(hosts)}: name more of them"
        )
    if len(hosts) ** 2 > MAX_FLOWS and pattern == "all-to-all":
        raise Problem((*path, "hosts"), f"more than {MAX_FLOWS} flows: choose fewer hosts")
    seed = data.get("seed", 1)
    rng = stream(seed if isinstance(seed, int) else 0, f"flows/{entry['name']}")
    if pattern == INCAST:
        pairs: Pairs = ((host, common["server"]) for host in hosts)
    else:
        pairs = PATTERNS[pattern](hosts, rng)
    served: dict[str, int] = {}
    flows: list[dict[str, Any]] = []
    for client, server in pairs:
        flow = {**common, "client": client, "server": server, "name": f"{entry['name']}-{client}"}
        if pattern == "all-to-all":
            flow["name"] += f"-{server}"
        # Each flow has a port of its own at its server.
        number = served.get(server, 0)
        served[server] = number + 1
        port = common.get("port", 5001)
        if number and isinstance(port, int):
            flow["port"] = port + number
        flows.append(flow)
    return flows


def _hosts(data: Mapping[str, Any], entry: dict[str, Any], path: Path) -> list[str]:
    table = data.get("hosts")
    known = [str(name) for name in table] if isinstance(table, dict) else []
    wanted = entry.get("hosts", ["*"])
    place = (*path, "hosts")
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise Problem(place, 'write a list of hosts or wildcards, such as ["h0-*"]')
    chosen: dict[str, None] = {}
    for name in wanted:
        matching = [host for host in known if host == name or fnmatchcase(host, name)]
        if not matching:
            raise Problem(place, f"no host is called {name!r}; {did_you_mean(name, known)}")
        chosen.update(dict.fromkeys(matching))
    return list(chosen)
