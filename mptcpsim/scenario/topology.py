"""The table ``[topology]``: hosts, routers, switches and links from a graph instead of by hand.

What it stands for becomes ordinary tables of the scenario before anything else is read, so a run
directory's ``scenario.toml`` has them and no ``[topology]``. What the scenario itself writes of the
same name wins key by key: ``[hosts.Vienna]`` makes the node Vienna a host, a ``[[links]]`` with the
name of a link and no ``ends`` changes that link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, StrictBool, Tag

from mptcpsim.scenario.errors import KeyPath as ErrorPath
from mptcpsim.scenario.errors import Problem
from mptcpsim.scenario.links import LinkDefaults
from mptcpsim.scenario.network_of import SELF_LOOPS, Choices, NetworkTables, network_of
from mptcpsim.scenario.quantities import Whole
from mptcpsim.scenario.validate import validate
from mptcpsim.suggest import did_you_mean
from mptcpsim.topologies.addressing import DEFAULT_POOL, Addressing
from mptcpsim.topologies.attributes import Units
from mptcpsim.topologies.files import read_graph_file
from mptcpsim.topologies.generators import GENERATORS
from mptcpsim.topologies.plan import ChoiceError, TopologyError, TopologyPlan, plan_of

#: The key of a scenario that this module takes out of it.
KEY = "topology"

#: Keys of a scenario with nodes.
KINDS = ("hosts", "routers", "switches")


def _prefix(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError("not a string")
        Addressing(value)
        if "/" not in value:
            raise ValueError("it has no prefix length")
    except ValueError as error:
        raise ValueError(
            f'{value!r} is no network of IPv4 addresses ({error}): write one such as "10.0.0.0/8"'
        ) from None
    return value


def _unit(kind: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        try:
            Units(**{f"{kind}_unit": value})
        except (ValueError, TypeError):
            example = '"Mbps"' if kind == "rate" else '"ms"'
            raise ValueError(f"{value!r} is no unit of a {kind}: write one such as {example}") from None
        return str(value)

    return check


class TopologyTable(LinkDefaults):
    """What all kinds of ``[topology]`` have in common; keys of links are those of all links."""

    #: Keys that are others on the links of hosts.
    access: LinkDefaults = LinkDefaults()
    #: The source of addresses that the scenario does not state.
    prefix: Annotated[str, BeforeValidator(_prefix)] = DEFAULT_POOL


def _attached(value: Any) -> Any:
    if isinstance(value, dict):
        return {host: [routers] if isinstance(routers, str) else routers for host, routers in value.items()}
    if isinstance(value, list) or value in ("leaves", "all"):
        return value
    raise ValueError(
        f'{value!r} names no hosts: write "leaves", "all", a list of routers such as ["Vienna"], '
        'or hosts with their routers such as {client = "Vienna", server = ["Graz", "Linz"]}'
    )


def _ignored(value: Any) -> Any:
    """Return the words of ``ignore`` in a list; what is no attribute in the spelling that is documented."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    words = {SELF_LOOPS, SELF_LOOPS.removesuffix("s"), "selfloops", "selfloop", "loops"}
    return [
        SELF_LOOPS if isinstance(word, str) and re.sub(r"[\s_]", "-", word.lower()) in words else word
        for word in value
    ]


_HOSTS = {list: "<list>", tuple: "<list>", dict: "<table>"}


class GraphTable(TopologyTable):
    """A graph: of a file, or one that a program hands over. Keys of links are for those that state none."""

    file: Annotated[str, Field(min_length=1)] | None = None
    format: Literal["graphml", "gml", "json"] | None = None
    #: Nodes are called by their id or by the attribute ``label``; None: by label if that is possible.
    names: Literal["id", "label"] | None = None
    #: Hosts to add, each at one router or at several.
    hosts: Annotated[
        Annotated[Literal["leaves", "all"], Tag("<word>")]
        | Annotated[tuple[str, ...], Tag("<list>")]
        | Annotated[dict[str, tuple[str, ...]], Tag("<table>")],
        Discriminator(lambda value: _HOSTS.get(type(value), "<word>")),
        BeforeValidator(_attached),
    ] = ()
    rate_unit: Annotated[str, BeforeValidator(_unit("rate"))] | None = None
    delay_unit: Annotated[str, BeforeValidator(_unit("delay"))] = "ms"
    #: Links without a delay get that of a fibre between the coordinates of their ends.
    delay_from_distance: StrictBool = False
    #: Attributes that mean something else in this file; "self-loops" leaves out edges from a node to itself.
    ignore: Annotated[tuple[str, ...], BeforeValidator(_ignored)] = ()


class Dumbbell(TopologyTable):
    """``topologies.generators.dumbbell``."""

    generator: Literal["dumbbell"]
    pairs: Whole = 2


class ParallelPaths(TopologyTable):
    """``topologies.generators.parallel_paths``."""

    generator: Literal["parallel-paths"]
    paths: Annotated[
        Annotated[Whole, Tag("<count>")] | Annotated[tuple[LinkDefaults, ...], Tag("<each>")],
        Discriminator(lambda value: "<each>" if isinstance(value, list | tuple) else "<count>"),
    ] = 2


class Torus(TopologyTable):
    """``topologies.generators.torus``."""

    generator: Literal["torus"]
    rows: Whole = 4
    columns: Whole = 4


class BottleneckTorus(TopologyTable):
    """``topologies.generators.bottleneck_torus``."""

    generator: Literal["bottleneck-torus"]
    links: Whole = 5


class FatTree(TopologyTable):
    """``topologies.generators.fat_tree``."""

    generator: Literal["fat-tree"]
    k: Whole = 4


Generated = Dumbbell | ParallelPaths | Torus | BottleneckTorus | FatTree

_TABLES: dict[str, type[Generated]] = {
    get_args(table.model_fields["generator"].annotation)[0]: table for table in get_args(Generated)
}


class Expansion:
    """A scenario whose ``[topology]`` was replaced by what it stands for.

    Attributes:
        data: the scenario, as it was read, without that table.
    """

    def __init__(self, data: dict[str, Any], rest: Mapping[str, Any], network: NetworkTables | None) -> None:
        self.data = data
        self._network = network
        own_links = rest.get("links", [])
        self._own_links = len(own_links) if isinstance(own_links, list) else 0
        self._rest = rest

    def origin(self, path: ErrorPath) -> str:
        """Return what a part of the scenario was made from; empty if the scenario itself has it."""
        if self._network is None or len(path) < 2:
            return ""
        kind, name = path[:2]
        if kind == "links":
            return self._network.origin if isinstance(name, int) and name >= self._own_links else ""
        added = (
            kind in KINDS and name in getattr(self._network, kind) and name not in self._rest.get(kind, {})
        )
        return self._network.origin if added else ""


def expand_topology(data: Mapping[str, Any], directory: Path, plan: TopologyPlan | None = None) -> Expansion:
    """Replace the table ``topology`` of a scenario by what it stands for.

    Args:
        data: the scenario as it was read.
        directory: what the file's path is relative to.
        plan: a graph of the caller's, in place of a file.

    Raises:
        Problem: the table, the file or the graph is wrong.
    """
    rest = {key: value for key, value in data.items() if key != KEY}
    if KEY not in data and plan is None:
        return Expansion(rest, rest, None)
    table = data.get(KEY, {})
    if not isinstance(table, dict):
        raise Problem((KEY,), "write a table of keys here, with file or generator")
    if plan is not None:
        network = _read(validate(GraphTable, table, (KEY,)), plan, rest, (KEY,), "the graph")
    elif "generator" in table:
        network = _generated(table, rest)
    else:
        graph = validate(GraphTable, table, (KEY,))
        if graph.file is None:
            known = ", ".join(GENERATORS)
            raise Problem(
                (KEY,), f'neither file nor generator: write file = "net.graphml", or one of {known}'
            )
        where = (KEY, "file")
        try:
            plan = read_graph_file(directory / graph.file, graph.format)
        except TopologyError as error:
            raise Problem(where, str(error)) from None
        network = _read(graph, plan, rest, where, graph.file)
    merged = _merged(rest, network)
    if not merged.get("hosts") and network.links:
        raise Problem(
            (KEY,),
            f"{network.origin} has no hosts, and neither has the scenario: set topology.hosts, for instance "
            'to "all", which adds one at each router',
        )
    return Expansion(merged, rest, network)


def _generated(table: dict[str, Any], rest: dict[str, Any]) -> NetworkTables:
    name = table["generator"]
    if not isinstance(name, str) or name not in _TABLES:
        hint = did_you_mean(str(name), list(GENERATORS))
        raise Problem((KEY, "generator"), f"unknown generator {name!r}; {hint}")
    if "file" in table:
        raise Problem((KEY, "file"), "file and generator exclude each other: keep one of them")
    spec = validate(_TABLES[name], table, (KEY,))
    own = set(type(spec).model_fields) - set(TopologyTable.model_fields) - {"generator"}
    arguments = {key: getattr(spec, key) for key in own}
    if isinstance(spec, ParallelPaths) and not isinstance(spec.paths, int):
        arguments["paths"] = [path.given_in_toml() for path in spec.paths]
    try:
        graph = GENERATORS[name](access=spec.access.given_in_toml(), **arguments, **spec.given_in_toml())
    except TopologyError as error:
        key, _, text = str(error).partition(": ")
        raise Problem((KEY, key) if key in own else (KEY,), text) from None
    return _network((KEY, "generator"), plan_of(graph), Choices(prefix=spec.prefix), rest, name)


def _read(
    spec: GraphTable, plan: TopologyPlan, rest: dict[str, Any], where: tuple[str, ...], origin: str
) -> NetworkTables:
    choices = Choices(
        prefix=spec.prefix,
        names=spec.names,
        hosts=spec.hosts,
        units=Units(spec.rate_unit, spec.delay_unit),
        delay_from_distance=spec.delay_from_distance,
        ignore=spec.ignore,
        link=spec.given_in_toml(),
        access=spec.access.given_in_toml(),
    )
    return _network(where, plan, choices, rest, origin)


def _network(
    where: tuple[str, ...], plan: TopologyPlan, choices: Choices, rest: dict[str, Any], origin: str
) -> NetworkTables:
    try:
        return network_of(plan, choices, rest, origin)
    except ChoiceError as error:
        named = f"{origin}: " if where[-1] == "file" else ""
        raise Problem((KEY, error.key), f"{named}{error}") from None
    except TopologyError as error:
        named = origin if where[-1] == "file" else ""
        raise Problem(where, f"{named}: {error}" if named else str(error)) from None


def _merged(rest: dict[str, Any], network: NetworkTables) -> dict[str, Any]:
    """Return the scenario with the tables of a network below those that it has itself."""
    merged = {"routing": "hops", **rest}
    for kind in KINDS:
        own = rest.get(kind, {})
        if not isinstance(own, dict):
            continue  # the model says what is wrong with it
        nodes = dict(own)
        for name, table in getattr(network, kind).items():
            nodes[name] = _over(table, own.get(name, {}))
        if nodes:
            merged[kind] = nodes
    own_links = rest.get("links", [])
    if isinstance(own_links, list):
        links = {link["name"]: link for link in network.links}
        both = []
        for link in own_links:
            changes = isinstance(link, dict) and "ends" not in link and link.get("name") in links
            both.append({**links.pop(link["name"]), **link} if changes else link)
        merged["links"] = [*both, *links.values()]
    return merged


def _over(table: dict[str, Any], own: Any) -> Any:
    """Return a node's table with what the scenario itself says of the node on top."""
    if not isinstance(own, dict):
        return own
    both = {**table, **own}
    interfaces = own.get("interfaces", {})
    if isinstance(interfaces, dict) and "interfaces" in table:
        both["interfaces"] = {**table["interfaces"], **interfaces}
    return both
