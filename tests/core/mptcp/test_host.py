"""MPTCP on hosts of a network whose addresses come and go."""

from __future__ import annotations

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import load
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.units import SECOND
from tests.paths import EXPERIMENTS

TWO_PATHS = EXPERIMENTS / "two-paths" / "scenario.toml"


def delivered(simulation: Simulation) -> int:
    (flow,) = simulation.flows
    assert flow.server is not None
    return flow.server.delivered


def test_a_host_loses_an_address_and_gets_it_back() -> None:
    simulation = build(load(TWO_PATHS))
    env = simulation.env
    env.run(2 * SECOND)
    (flow,) = simulation.flows
    assert isinstance(flow.client, MptcpConnection)
    assert len(flow.client.open) == 2
    client = simulation.hosts["client"]
    interface = client.interfaces["eth2"]
    interface.remove_address("10.2.0.1/24")
    assert [subflow.tcp.flow.src for subflow in flow.client.open] == ["10.1.0.1"]
    assert client.stack.counters["MPTcpExtRmAddrTx"] == 1
    before = delivered(simulation)
    env.run(4 * SECOND)
    server = simulation.hosts["server"]
    assert server.stack.counters["MPTcpExtRmAddr"] == 1
    assert isinstance(flow.server, MptcpConnection)
    assert len(flow.server.open) == 1
    rate = (delivered(simulation) - before) * 8 / 2
    assert 0.9 * 9.4e6 < rate < 1.2 * 9.4e6, "the other path carries on, with what was under way"
    interface.add_address("10.2.0.1/24")
    client.routes.add("10.9.2.0/24", interface, "10.2.0.254")
    env.run(5 * SECOND)
    assert not flow.error
