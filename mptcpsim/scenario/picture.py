"""Pictures of topologies: from a run directory, from a scenario, from the file of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mptcpsim.results.picture import HOST, ROUTER, SWITCH, Picture, PictureLink, PictureNode, PicturePath
from mptcpsim.results.rundir import RunDirectoryError, read_json
from mptcpsim.scenario.errors import Problem, ScenarioError
from mptcpsim.scenario.links import LinkSpec
from mptcpsim.scenario.load import load
from mptcpsim.scenario.network_of import SELF_LOOPS, Choices, network_of
from mptcpsim.scenario.nodes import NodeSpec, SwitchSpec
from mptcpsim.scenario.routes import split_end
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.subflow_paths import SubflowPath, expected_paths
from mptcpsim.scenario.validate import validate
from mptcpsim.topologies.files import SUFFIXES, read_graph_file
from mptcpsim.topologies.plan import TopologyError
from mptcpsim.units import format_rate, format_time

#: Addresses of an interface that are written.
_MOST_ADDRESSES = 2


def picture_of(source: Path, overrides: Sequence[str] = ()) -> Picture:
    """Return the picture of what a path names.

    Of a run directory with the paths that its subflows used, of a scenario (any suffix but those of
    graphs) with those that are to be expected, of a graph with none.

    Args:
        source: the path.
        overrides: changes of a scenario, as ``load`` takes them.

    Raises:
        ScenarioError: the scenario or the graph is wrong, or there is none.
        RunDirectoryError: it is a directory, but not of a run.
    """
    if source.is_dir():
        if overrides:
            raise ScenarioError(f"{source}: is a run that is over: leave --set out, or name its scenario")
        summary = read_json(source / "summary.json")
        scenario = load(source / "scenario.toml")
        return scenario_picture(scenario, _used(summary, scenario, source))
    if source.suffix.lower() in SUFFIXES:
        return graph_picture(source)
    scenario = load(source, overrides)
    return scenario_picture(scenario, expected_paths(scenario))


def scenario_picture(scenario: Scenario, paths: Iterable[SubflowPath] = ()) -> Picture:
    """Return the picture of a scenario."""
    nodes: dict[str, tuple[str, NodeSpec | SwitchSpec]] = {
        **{name: (HOST, host) for name, host in scenario.hosts.items()},
        **{name: (ROUTER, router) for name, router in scenario.routers.items()},
        **{name: (SWITCH, switch) for name, switch in scenario.switches.items()},
    }
    addresses = {
        f"{name}:{interface}": spec.addresses
        for name, node in scenario.nodes.items()
        for interface, spec in node.interfaces.items()
    }
    found = list(paths)
    several = {path.flow for path in found if path.subflow > 0}
    return Picture(
        scenario.title,
        [PictureNode(name, kind, spec.position) for name, (kind, spec) in nodes.items()],
        [_link(link, addresses) for link in scenario.links],
        [
            PicturePath(
                f"{path.flow}, subflow {path.subflow}" if path.flow in several else path.flow,
                path.start,
                path.links,
            )
            for path in found
        ],
    )


def graph_picture(path: Path) -> Picture:
    """Return the picture of the network that the file of a graph stands for.

    Raises:
        ScenarioError: the file cannot be read, or makes no network.
    """
    try:
        network = network_of(read_graph_file(path), Choices(ignore=(SELF_LOOPS,)), {}, path.name)
        links = [validate(LinkSpec, link) for link in network.links]
    except TopologyError as error:
        text = str(error)
        raise ScenarioError(text if text.startswith(str(path)) else f"{path.parent / ''}{text}") from None
    except Problem as problem:
        raise ScenarioError(f"{path}: {problem.text}") from None
    if not links:
        raise ScenarioError(f"{path}: it has no edges: there is nothing to draw")
    nodes = [
        PictureNode(name, kind, tuple(table["position"]) if "position" in table else None)
        for kind, tables in ((HOST, network.hosts), (ROUTER, network.routers), (SWITCH, network.switches))
        for name, table in tables.items()
    ]
    return Picture(path.name, nodes, [_link(link, {}) for link in links])


def _link(link: LinkSpec, addresses: Mapping[str, Sequence[str]]) -> PictureLink:
    ends = [split_end(end) for end in link.ends]
    nodes = [end if isinstance(end, str) else end.node for end in ends]
    labels = [
        "" if isinstance(end, str) or f"{end.node}:{end.interface}" not in addresses
        else "\n".join([end.interface, *addresses[f"{end.node}:{end.interface}"][:_MOST_ADDRESSES]])
        for end in ends
    ]  # fmt: skip
    return PictureLink(link.name, nodes[0], nodes[1], _properties(link), labels[0], labels[1])


def _properties(link: LinkSpec) -> str:
    """Return rate, delay and random loss of a link, both directions where they differ."""
    there, back = link.direction(True), link.direction(False)
    lines = [
        _both(there.rate, back.rate, lambda rate: format_rate(rate) if rate else "unlimited"),
        _both(there.delay, back.delay, lambda delay: _short(format_time(delay)) if delay else "no delay"),
        _both(there.loss, back.loss, lambda loss: f"loss {loss:.3g}" if isinstance(loss, float) else "loss"),
    ]
    return "\n".join(
        line for line, plain in zip(lines, ("unlimited", "no delay", "loss 0"), strict=True) if line != plain
    )


def _short(text: str) -> str:
    """Return a time in three digits, and with the sign of micro that a picture has."""
    number, _, unit = text.partition(" ")
    return f"{float(number):.3g} {unit.replace('us', 'µs')}"


def _both(there: Any, back: Any, text: Any) -> str:
    return str(text(there)) if there == back else f"{text(there)} / {text(back)}"


def _used(summary: Any, scenario: Scenario, directory: Path) -> list[SubflowPath]:
    """Return the paths that the summary of a run has.

    Raises:
        RunDirectoryError: it has none, or not of this scenario.
    """
    known = {link.name for link in scenario.links}
    owner = {
        address.partition("/")[0]: name
        for name, host in scenario.hosts.items()
        for interface in host.interfaces.values()
        for address in interface.addresses
    }
    found: list[SubflowPath] = []
    try:
        for flow in summary["flows"]:
            for subflow in flow["subflows"]:
                address = subflow["local"].rpartition(":")[0].strip("[]")
                links = tuple(subflow["links"])
                if links and address in owner and known.issuperset(links):
                    found.append(SubflowPath(flow["name"], subflow["id"], owner[address], links))
    except (KeyError, TypeError, AttributeError):
        raise RunDirectoryError(
            f"{directory / 'summary.json'}: says nothing of the links of subflows; run the scenario again"
        ) from None
    return found
