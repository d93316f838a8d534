"""Flows that share a server, that find none, or find it late; bound sockets; blocking writes."""

from __future__ import annotations

import pytest

from mptcpsim.net.node import DROP_DOWN
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.simulation import Simulation

NETWORK = """
title = "Two hosts"
duration = "4s"
[hosts.A]
interfaces = { A1 = ["10.0.0.1/24", "10.0.0.3/24"] }
[hosts.B]
interfaces = { B1 = ["10.0.0.2/24", "10.0.0.4/24"] }
[[links]]
ends = ["A:A1", "B:B1"]
rate = "10Mbps"
delay = "1ms"
"""


def flow(**keys: object) -> str:
    given = {"client": "A", "server": "B", "bytes": "30kB", **keys}
    lines = [f"{key} = {value if isinstance(value, int) else repr(value)}" for key, value in given.items()]
    return "\n".join(["[[flows]]", *lines, ""])


def run(*flows: str) -> Simulation:
    simulation = build(loads(NETWORK + "\n".join(flows)))
    simulation.env.run(simulation.scenario.duration)
    return simulation


def test_flows_to_one_port_each_get_their_own_connection() -> None:
    sizes = ["30kB", "10kB", "50kB", "20kB"]
    simulation = run(*(flow(bytes=size, start=f"{10 * (4 - n)}ms") for n, size in enumerate(sizes)))
    for found, size in zip(simulation.flows, (30_000, 10_000, 50_000, 20_000), strict=True):
        assert found.error == ""
        assert found.receiver is not None
        assert found.sender is not None
        assert (found.receiver.delivered, found.sender.written) == (size, size)
        assert found.receiver.subflows[0].flow == found.sender.subflows[0].flow.reverse()


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({"listen": "never"}, True),
        ({"listen": "1s"}, True),
        ({"listen": "1s", "start": "990ms"}, True),
        ({"listen": "1s", "start": "999500us"}, False),
        ({"bind": "10.0.0.4"}, True),
        ({"bind": "10.0.0.4", "server_address": "10.0.0.4"}, False),
    ],
)
def test_who_finds_no_server_is_refused(keys: dict[str, object], refused: bool) -> None:
    (found,) = run(flow(**keys)).flows
    assert (found.completed_at < 0) == refused
    assert ("refused" in found.error) == refused


def test_addresses_of_both_ends() -> None:
    (found,) = run(flow(client_address="10.0.0.3", server_address="10.0.0.4")).flows
    assert found.client is not None
    assert found.client.subflows[0].flow.src == "10.0.0.3"
    assert found.client.subflows[0].flow.dst == "10.0.0.4"


def test_an_address_that_has_gone_fails_the_flow() -> None:
    simulation = build(loads(NETWORK + flow(client_address="10.0.0.3", start="1s")))
    interface = simulation.interface("A:A1")
    simulation.env.call_at(500_000_000, lambda: interface.remove_address("10.0.0.3"))
    simulation.env.run("2s")
    assert "can't assign requested address" in simulation.flows[0].error


@pytest.mark.parametrize("size", ["1kB", "7kB", "512KiB", "1GB"])
def test_blocking_writes_deliver_the_same_bytes(size: str) -> None:
    (found,) = run(flow(bytes="300kB", write_size=size)).flows
    assert found.receiver is not None
    assert (found.receiver.delivered, found.completed_at > 0) == (300_000, True)


def test_a_write_that_has_begun_is_completed() -> None:
    del_bytes = flow(duration="1s", write_size="1MB").replace("bytes = '30kB'\n", "")
    (found,) = run(del_bytes).flows
    assert found.sender is not None
    assert found.sender.written % 1_000_000 == 0
    assert found.sender.written >= 1_000_000


def test_an_interface_that_is_down_neither_sends_nor_receives() -> None:
    simulation = build(loads(NETWORK + flow(start="1s")))
    interface = simulation.interface("B:B1")
    interface.set_up(False)
    simulation.env.call_at(1_500_000_000, lambda: interface.set_up(True))
    simulation.env.run("4s")
    assert simulation.hosts["B"].drops == {DROP_DOWN: 1}
    assert simulation.flows[0].completed_at > 2_000_000_000  # the SYN went again after a second
