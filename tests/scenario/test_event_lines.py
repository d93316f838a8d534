"""The lines of ``events.jsonl``: in the order of time, and never all in memory."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

from mptcpsim.core.events import Event
from mptcpsim.results.series import NoSeries
from mptcpsim.results.summary import Summary
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.summarise import event_lines
from mptcpsim.units import SECOND

#: A reader that pauses: windows close and open, and while the link is down the connection stalls.
SCENARIO = """\
title = "Events of every kind"
duration = "8s"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
tcp = { receive_buffer = "20kB" }
[[links]]
name = "link"
ends = ["a:e", "b:e"]
rate = "8Mbps"
delay = "5ms"
[[flows]]
name = "flow"
client = "a"
server = "b"
reader = { read_size = "5kB", every = "50ms" }
[[events]]
at = "5s"
action = "up"
link = "link"
[[events]]
at = "2s"
action = "down"
link = "link"
"""


def simulated() -> tuple[Simulation, Summary]:
    simulation = build(loads(SCENARIO))
    return simulation, measure(simulation, NoSeries())


def kind(line: dict[str, Any]) -> int:
    """Return the rank of a line among those of one instant."""
    if line["event"] == "stall":
        return 3
    if "host" not in line:
        return 1
    return 2 if re.match(r"seq \d+ ack \d+ length|\d+ bytes are missing", str(line.get("detail", ""))) else 0


def test_in_the_order_of_time_and_then_of_their_sources() -> None:
    simulation, summary = simulated()
    lines = list(event_lines(simulation, summary))
    kinds = [kind(line) for line in lines]
    assert set(kinds) == {0, 1, 2, 3}
    order = [(line["time_s"], rank) for line, rank in zip(lines, kinds, strict=True)]
    assert order == sorted(order)
    changes = [(line["time_s"], line["event"]) for line in lines if kind(line) == 1]
    assert changes == [(2.0, "down"), (5.0, "up")]
    # Nothing is left out: what the hosts have noted is there, in its order.
    for name, host in simulation.hosts.items():
        told = [(line["time_s"], line["event"]) for line in lines if kind(line) == 0 and line["host"] == name]
        assert told == [(event.time / SECOND, event.what) for event in host.stack.events]


def test_the_lines_are_made_one_by_one() -> None:
    simulation, summary = simulated()
    stack = simulation.hosts["a"].stack
    stack.events += [Event(8 * SECOND + n, 0, 0, "fast recovery", "point 1") for n in range(20_000)]
    tracemalloc.start()
    try:
        number = sum(1 for _ in event_lines(simulation, summary))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number > 20_000
    # Two lists of references. As dictionaries the lines would take 8 MB.
    assert peak < 1_000_000
