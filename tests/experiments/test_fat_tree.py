"""A permutation of MPTCP connections on a fat tree with ECMP: distinct paths, and every byte."""

from __future__ import annotations

import pytest

from mptcpsim import ScenarioError, build, load
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.subflow_paths import expected_paths, subflow_paths
from tests.paths import EXPERIMENTS

SCENARIO = EXPERIMENTS / "fat-tree" / "scenario.toml"


def small(*changes: str) -> list[str]:
    """Changes that make the experiment one of k = 4 with 4 subflows."""
    return [
        "topology.k=4",
        'flows.0.groups=["h0-*", "h1-*", "h2-*", "h3-*"]',
        "defaults.mptcp.path_manager.subflows=4",
        *changes,
    ]


def ran(*changes: str) -> Simulation:
    simulation = build(load(SCENARIO, changes))
    simulation.env.run(simulation.scenario.duration)
    return simulation


def distinct(simulation: Simulation) -> list[int]:
    """The number of different paths of each connection."""
    found: dict[str, set[tuple[str, ...]]] = {flow.name: set() for flow in simulation.scenario.flows}
    for path in subflow_paths(simulation):
        found[path.flow].add(path.links)
    return [len(paths) for paths in found.values()]


def assert_intact(simulation: Simulation) -> None:
    for flow in simulation.flows:
        assert flow.completed_at >= 0, flow.name
        assert flow.sender is not None
        assert flow.receiver is not None
        assert flow.sender.written == flow.receiver.delivered == simulation.scenario.flows[0].bytes  # type: ignore[union-attr]


def test_distinct_paths_are_distinct() -> None:
    simulation = ran(*small("flows.0.bytes=100kB"))
    assert distinct(simulation) == [4] * 16
    assert_intact(simulation)


def test_any_ports_leave_some_paths_to_two_subflows() -> None:
    simulation = ran(*small("flows.0.bytes=100kB", "flows.0.distinct_paths=false"))
    assert len(list(subflow_paths(simulation))) == 4 * 16
    assert min(distinct(simulation)) < 4


def test_the_direction_of_the_data_counts() -> None:
    simulation = ran(*small("flows.0.bytes=100kB", "flows.0.reverse=true"))
    assert distinct(simulation) == [4] * 16
    starts = {path.flow: path.start for path in subflow_paths(simulation)}
    assert all(starts[flow.name] == flow.server for flow in simulation.scenario.flows)


def test_where_there_are_fewer_paths_they_are_used_in_turn() -> None:
    """Below one edge router there is one path, within a pod there are two."""
    changes = small('flows.0.groups=["none"]', 'flows.0.hosts=["h0-*"]')
    simulation = build(load(SCENARIO, changes))
    simulation.env.run("1s")
    for flow, count in zip(simulation.scenario.flows, distinct(simulation), strict=True):
        edges = flow.client[:4], flow.server[:4]
        assert count == (1 if edges[0] == edges[1] else 2)
    of: dict[tuple[str, tuple[str, ...]], int] = {}
    for path in subflow_paths(simulation):
        of[path.flow, path.links] = of.get((path.flow, path.links), 0) + 1
    assert set(of.values()) <= {2, 4}


def test_the_resolved_scenario_takes_the_same_paths() -> None:
    scenario = load(SCENARIO, small())
    assert expected_paths(loads(dumps(scenario))) == expected_paths(scenario)


def test_distinct_paths_need_ndiffports() -> None:
    with pytest.raises(ScenarioError, match=r"distinct_paths: only ndiffports opens subflows by their ports"):
        load(SCENARIO, small("defaults.mptcp.path_manager=endpoints"))
    with pytest.raises(ScenarioError, match=r"ports: 'x' is no port"):
        load(SCENARIO, small('defaults.mptcp.path_manager={name = "ndiffports", ports = "1 x"}'))


@pytest.mark.slow
def test_eight_subflows_on_distinct_paths_in_the_large_tree() -> None:
    simulation = ran("flows.0.bytes=200kB")
    assert len(simulation.flows) == 128
    assert distinct(simulation) == [8] * 128
    assert_intact(simulation)
