"""Scenarios from graphs that a program has made."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import networkx

from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import from_data
from mptcpsim.scenario.schema import Scenario
from mptcpsim.topologies.plan import TopologyError, plan_of


def scenario_from_graph(
    graph: networkx.Graph[Any],
    scenario: Mapping[str, Any],
    overrides: Sequence[str] = (),
    directory: pathlib.Path = pathlib.Path(),
) -> Scenario:
    """Return the scenario of a networkx graph.

    For instance::

        graph = networkx.random_internet_as_graph(1000, seed=1)
        scenario = scenario_from_graph(graph, {
            "title": "Two hosts far apart",
            "duration": "10s",
            "topology": {"rate": "100Mbps", "delay": "5ms", "hosts": {"a": "17", "b": "800"}},
            "flows": [{"client": "a", "server": "b", "bytes": "10MB"}],
        })
        simulation = build(scenario)

    Args:
        graph: nodes and edges with the attributes of ``mptcpsim.topologies.attributes``; of two edges
            of a directed graph that run in opposite directions each is one direction of a link.
        scenario: the other keys, as a scenario file has them; ``topology`` has those of
            ``mptcpsim.scenario.topology.GraphTable`` but file and format.
        overrides: changes, as ``load`` takes them.
        directory: what paths in the scenario are relative to.

    Raises:
        ScenarioError: whatever is wrong, in one message.
    """
    try:
        plan = plan_of(graph)
    except TopologyError as error:
        raise ScenarioError(f"the graph: {error}") from None
    return from_data(dict(scenario), "scenario", overrides, directory, plan)
