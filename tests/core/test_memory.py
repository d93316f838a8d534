"""Memory depends on what is in flight, not on how long a run goes on."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from mptcpsim import Simulation, build, loads
from mptcpsim.units import MILLISECOND, SECOND

SCENARIO = """\
title = "Memory"
duration = "1h"
[hosts.a]
interfaces = { e = "10.0.0.2/24" }
default_route = "10.0.0.1"
[hosts.b]
interfaces = { e = "10.1.0.2/24" }
default_route = "10.1.0.1"
[routers.r]
interfaces = { left = "10.0.0.1/24", right = "10.1.0.1/24" }
[[links]]
name = "left"
ends = ["a:e", "r:left"]
rate = "100Mbps"
delay = "1ms"
queue = 1000
[[links]]
name = "right"
ends = ["r:right", "b:e"]
rate = "8Mbps"
delay = "5ms"
queue = 30
[[flows]]
client = "a"
server = "b"
"""

BULK: tuple[str, ...] = ()
KINDS = {
    "bulk": BULK,
    "by duration": ("flows.0.duration='1h'",),
    "losses": ("links.right.loss=0.01",),
    "reordering": ("links.right.jitter='2ms'", "links.right.jitter_reorders=true"),
    "codel": ("links.right.qdisc=codel",),
    "zero window": (
        "flows.0.reader={ read_size='10kB', every='20ms' }",
        "hosts.b.tcp.receive_buffer='20kB'",
        "hosts.a.tcp.send_buffer='50kB'",
    ),
    "constant rate": ("flows.0.app=constant-rate", "flows.0.rate='2Mbps'", "flows.0.message='500B'"),
    "reverse, reader": ("flows.0.reverse=true", "flows.0.reader={ read_size='3kB' }"),
}


def most_allocated(simulation: Simulation) -> int:
    """Run for a second and return the largest amount of memory in use at ten instants of it, bytes."""
    most = 0
    gc.collect()
    for _ in range(10):
        simulation.env.run(simulation.env.now + 100 * MILLISECOND)
        for host in simulation.hosts.values():
            # The event log is a result of the run, and grows with every loss.
            host.stack.events.clear()
        most = max(most, tracemalloc.get_traced_memory()[0])
    return most


def sizes(simulation: Simulation) -> dict[str, int]:
    """Return how long the lists are that follow the packets."""
    found = {"events to come": simulation.env.loop.pending()}
    for flow in simulation.flows:
        for connection in (flow.client, flow.server):
            assert connection is not None
            (subflow,) = connection.subflows
            found[f"outstanding {subflow.flow.src}"] = len(subflow.sender.board.records)
            found[f"out of order {subflow.flow.src}"] = len(subflow.receiver.out_of_order)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_simulated_time(kind: str) -> None:
    tracemalloc.start()
    try:
        simulation = build(loads(SCENARIO, overrides=KINDS[kind]))
        simulation.env.run("3s")
        before, longest = most_allocated(simulation), 0
        for _ in range(10):
            simulation.env.run(simulation.env.now + SECOND // 2)
            longest = max(longest, *sizes(simulation).values())
        after = most_allocated(simulation)
    finally:
        tracemalloc.stop()
    flow = simulation.flows[0]
    assert flow.receiver is not None
    assert flow.receiver.delivered > 500_000
    # The queue and the path hold 40 packets, of 4,000 in these six seconds; records of what was
    # acknowledged are thrown away some 250 at a time.
    assert longest < 400
    # A list with one entry a packet would be 32 kB longer, one object a packet 200 kB.
    assert after - before < 16_000
