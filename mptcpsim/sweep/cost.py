"""What a run will cost, in packets: enough to begin with the longest and to guess the time left."""

from __future__ import annotations

import networkx as nx

from mptcpsim.scenario.flows import FlowSpec
from mptcpsim.scenario.routes import split_end
from mptcpsim.scenario.schema import Scenario
from mptcpsim.units import SECOND

#: What a link without a rate is taken for, bit/s.
UNLIMITED = 10_000_000_000

PACKET = 1500

#: Building a network and summing it up, in packets.
BASE = 100


def expected_packets(scenario: Scenario) -> float:
    """Return how many data packets a run sends, at most: each flow as fast as the links alone allow."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for link in scenario.links:
        ends = [_node(end) for end in link.ends]
        for forward, (tail, head) in ((True, ends), (False, ends[::-1])):
            rate = (link.direction(forward).rate or 0) or UNLIMITED
            before = graph.get_edge_data(tail, head, {"capacity": 0})["capacity"]
            graph.add_edge(tail, head, capacity=before + rate)
    samples = scenario.duration / scenario.output.sample_interval
    return BASE + samples + sum(_packets(scenario, graph, flow) for flow in scenario.flows)


def _node(end: str) -> str:
    port = split_end(end)
    return port if isinstance(port, str) else port.node


def _packets(scenario: Scenario, graph: nx.DiGraph[str], flow: FlowSpec) -> float:
    active = max(0, scenario.duration - flow.start)
    duration = getattr(flow, "duration", None)
    if duration is not None:
        active = min(active, duration)
    ends = (flow.client, flow.server)
    if all(end in graph for end in ends):
        capacity = nx.maximum_flow_value(graph, *ends)
    else:
        capacity = UNLIMITED
    rate = min(capacity, getattr(flow, "rate", None) or capacity)
    size = rate * active / SECOND / 8
    return min(size, getattr(flow, "bytes", None) or size) / PACKET
