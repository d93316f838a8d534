"""Flows by a pattern: one entry of ``[[flows]]`` that stands for many.

An entry with ``pattern`` becomes a flow for each pair of hosts that the pattern makes; all its other
keys are those of each flow. ``hosts`` names who takes part, by names or wildcards (``"h0-*"``); all by
default. Hosts that one of ``groups`` matches, such as the pods of a fat tree, do not send to each other.
Flows are called after the entry and the client.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.streams import stream
from mptcpsim.suggest import did_you_mean

#: Flows that a scenario may have, at most.
MAX_FLOWS: Final = 100_000

Pairs = Iterator[tuple[str, str]]


def permutation(hosts: list[str], rng: random.Random, group: Mapping[str, int]) -> Pairs:
    """Each host sends to one other and receives from one: a derangement.

    Without groups each one is as likely as any other; with groups the drawn permutation is mended, pair
    by pair, until no host sends to its own group.

    Raises:
        ValueError: a group has more than half of the hosts.
    """
    if group and 2 * max(Counter(group.values()).values()) > len(hosts):
        raise ValueError
    servers = list(hosts)
    # About e attempts, whatever the number of hosts.
    while any(a == b for a, b in zip(hosts, servers, strict=True)):
        rng.shuffle(servers)
    for index, client in enumerate(hosts):
        while _same(client, servers[index], group):
            other = rng.randrange(len(hosts))
            theirs, ours = servers[other], servers[index]
            if not _same(client, theirs, group) and not _same(hosts[other], ours, group):
                servers[index], servers[other] = theirs, ours
    yield from zip(hosts, servers, strict=True)


def _same(client: str, server: str, group: Mapping[str, int]) -> bool:
    """Return whether two hosts are one, or in one group."""
    return client == server or (client in group and group[client] == group.get(server))


def all_to_all(hosts: list[str], rng: random.Random, group: Mapping[str, int]) -> Pairs:
    """Each host sends to every other one that is not in its group."""
    for client in hosts:
        yield from ((client, server) for server in hosts if not _same(client, server, group))


#: By the name that a scenario gives them; ``incast`` is all hosts to the ``server`` of the entry.
PATTERNS: Final[dict[str, Callable[[list[str], random.Random, Mapping[str, int]], Pairs]]] = {
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

    def entry(self, path: KeyPath) -> KeyPath:
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


def _flows(data: Mapping[str, Any], entry: dict[str, Any], path: KeyPath) -> list[dict[str, Any]]:
    pattern = entry["pattern"]
    known = [*PATTERNS, INCAST]
    if pattern not in known:
        raise Problem((*path, "pattern"), f"unknown pattern {pattern!r}; {did_you_mean(str(pattern), known)}")
    common = {key: value for key, value in entry.items() if key not in ("pattern", "hosts", "groups")}
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
        groups = entry.get("groups", [])
        if not isinstance(groups, list) or not all(isinstance(name, str) for name in groups):
            raise Problem((*path, "groups"), 'write a list of wildcards, such as ["h0-*", "h1-*"]')
        group = {
            host: number for number, name in enumerate(groups) for host in hosts if fnmatchcase(host, name)
        }
        try:
            pairs = iter(list(PATTERNS[pattern](hosts, rng, group)))
        except ValueError:
            raise Problem(
                (*path, "groups"), "one group has more than half of the hosts: make it smaller"
            ) from None
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


def _hosts(data: Mapping[str, Any], entry: dict[str, Any], path: KeyPath) -> list[str]:
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
