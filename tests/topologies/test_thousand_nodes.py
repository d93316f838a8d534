"""A topology of a thousand nodes: it loads, and packets find their way."""

from __future__ import annotations

from pathlib import Path

import networkx

from mptcpsim import load
from mptcpsim.route.trips import ProbedNetwork, random_pairs
from mptcpsim.scenario.picture import graph_picture


def test_a_thousand_nodes_load_and_route(tmp_path: Path) -> None:
    """The command is ``mptcpsim route thousand.toml --random 100``."""
    graph = networkx.random_internet_as_graph(1000, seed=1)
    networkx.set_edge_attributes(graph, {edge: {"rate": "100Mbps", "latency": 5} for edge in graph.edges})
    networkx.write_graphml(graph, tmp_path / "thousand.graphml")
    (tmp_path / "thousand.toml").write_text(
        """
title = "A thousand routers, a host at each leaf"
duration = "1s"
[topology]
file = "thousand.graphml"
hosts = "leaves"
[[flows]]
client = "h-999"
server = "h-997"
"""
    )
    scenario = load(tmp_path / "thousand.toml")
    leaves = [name for name, degree in graph.degree if degree == 1]
    assert list(scenario.hosts) == [f"h-{name}" for name in leaves]
    assert len(scenario.routers) == 1000
    assert len(scenario.links) == graph.number_of_edges() + len(leaves)
    network = ProbedNetwork(scenario)
    for pair in random_pairs(network, 100, seed=1):
        trip = network.trip(pair, 49152, 5001)
        assert trip.out.arrived
        assert trip.back is not None
        assert trip.back.arrived
        client, server = (int(name.removeprefix("h-")) for name in (pair[0], pair[2]))
        # The shortest way, and a link to the host at each end.
        length = networkx.shortest_path_length(graph, client, server) + 2
        assert len(trip.out.pipes) == len(trip.back.pipes) == length
    assert len(graph_picture(tmp_path / "thousand.graphml").links) == graph.number_of_edges()
