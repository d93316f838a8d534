"""Which links the subflows of a simulation cross."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mptcpsim.core.tcp.info import tcp_infos
from mptcpsim.net.tracks import Tracks
from mptcpsim.scenario.build import build
from mptcpsim.scenario.flows import ConstantRateFlow, FlowSpec
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.units import SECOND

#: How long an idle connection is watched that shows which subflows it would have: joins and their
#: repetitions are over by then.
IDLE_TIME = 3 * SECOND


class SubflowPath(NamedTuple):
    """The path of one subflow.

    Attributes:
        flow: name of the flow.
        subflow: its number in the connection.
        start: the host that sends the data.
        links: names of the links that the data cross, in order.
    """

    flow: str
    subflow: int
    start: str
    links: tuple[str, ...]


def subflow_paths(simulation: Simulation) -> Iterator[SubflowPath]:
    """Return the path of each subflow that was established, as it is at this instant."""
    tracks = Tracks(simulation.topology)
    for spec, flow in zip(simulation.scenario.flows, simulation.flows, strict=True):
        for tcp in tcp_infos(flow.sender, simulation.env.now) if flow.sender is not None else ():
            if tcp.established_at >= 0 and (links := tracks.of_flow(tcp.flow)):
                yield SubflowPath(spec.name, tcp.identifier, tracks.host_of(tcp.flow.src), links)


def expected_paths(scenario: Scenario) -> list[SubflowPath]:
    """Return the paths that the subflows of a scenario will take.

    Its connections are opened at once and left nearly idle for three seconds; what their path managers
    have opened by then counts. Events of the scenario do not happen.
    """
    flows = tuple(_idle(flow) for flow in scenario.flows)
    idle = scenario.model_copy(update={"flows": flows, "events": (), "duration": IDLE_TIME})
    simulation = build(idle)
    simulation.env.run(IDLE_TIME)
    return list(subflow_paths(simulation))


def _idle(flow: FlowSpec) -> ConstantRateFlow:
    """Return a flow between the same two hosts that sends a byte each second."""
    common = {key: getattr(flow, key) for key in FlowSpec.model_fields}
    reverse = getattr(flow, "reverse", False)
    return ConstantRateFlow.model_construct(
        **{**common, "start": 0, "listen": min(0, flow.listen), "reader": None},
        app="constant-rate",
        rate=8,
        message=1,
        reverse=reverse,
    )
