"""Equal runs are equal, and what is added elsewhere changes nothing here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mptcpsim import Simulation, build, loads
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.summarise import event_lines, summarise

#: Two hosts, two paths between them; whatever can happen to a link happens to the first.
TWO_PATHS = """\
title = "Two paths"
duration = "6s"
seed = 3
[hosts.a]
interfaces = { e0 = "10.0.0.2/24", e1 = "10.1.0.2/24" }
[hosts.b]
interfaces = { e0 = "10.0.0.3/24", e1 = "10.1.0.3/24" }
[switches.s]
[[links]]
name = "first"
ends = ["a:e0", "s"]
rate = "10Mbps"
delay = "10ms"
queue = 40
loss = 0.002
jitter = "1ms"
[[links]]
name = "access"
ends = ["s", "b:e0"]
[[links]]
name = "second"
ends = ["a:e1", "b:e1"]
rate = "10Mbps"
delay = "10ms"
queue = 40
loss = 0.01
[[flows]]
name = "one"
client = "a"
server = "b"
client_interface = "e0"
server_interface = "e0"
"""

MORE_FLOWS = """\
[[flows]]
name = "zero"
port = 5000
client = "b"
server = "a"
client_interface = "e1"
server_interface = "e1"
[[flows]]
name = "random"
app = "on-off"
rate = "1Mbps"
on = "100ms"
off = "100ms"
random = true
port = 5002
client = "a"
server = "b"
client_interface = "e1"
server_interface = "e1"
"""

MORE_HOSTS = """\
[hosts.c]
interfaces = { e0 = "10.2.0.2/24" }
[hosts.d]
interfaces = { e0 = "10.2.0.3/24" }
[[links]]
name = "another"
ends = ["c:e0", "d:e0"]
rate = "1Mbps"
loss = 0.1
[[flows]]
name = "elsewhere"
port = 5001
client = "c"
server = "d"
"""

#: Down and up, slower and faster, longer and shorter, one way and both, at round instants.
EVENTS = """\
events = [
  { at = "1s", link = "first", action = "set", rate = "3Mbps" },
  { at = "1s", link = "first", action = "set", delay = "40ms", direction = "forward" },
  { at = "2s", link = "first", action = "down" },
  { at = "2500ms", link = "first", action = "up" },
  { at = "2500ms", link = "first", action = "set", delay = "2ms", rate = "20Mbps" },
  { at = "3s", link = "first", action = "set", loss = 0.05, direction = "backward" },
  { at = "4s", link = "first", action = "set", loss = { k = 0.2, p = 0.01, h = 0.5, r = 0.2 } },
  { at = "4500ms", link = "first", action = "down", direction = "backward" },
  { at = "4600ms", link = "first", action = "up", direction = "backward" },
  { at = "5s", link = "first", action = "set", loss = { every = 50 } },
]
"""


def watched(simulation: Simulation, link: str, drops: list[tuple[Any, ...]]) -> None:
    """Note every drop of a link: when, which way, what, why."""
    for way, pipe in zip("><", simulation.topology.links[link].pipes(), strict=True):

        def note(packet: Any, reason: str, way: str = way) -> None:
            drops.append((simulation.env.now, way, packet.size, reason))

        pipe.on_drop = note


def result(scenario: Scenario, directory: Path, slices: int = 1, **how: bool) -> tuple[Any, ...]:
    """Run a scenario and return all that its run directory would say."""
    simulation = build(scenario, **how)
    drops: list[tuple[Any, ...]] = []
    watched(simulation, "first", drops)
    file = directory / "series.parquet"
    with SeriesRecorder(file) as recorder:
        sampler = sampler_of(simulation, recorder)
        for step in range(1, slices + 1):
            simulation.env.run(scenario.duration * step // slices)
        sampler.finish()
    summary = summarise(simulation, sampler)
    return summary.as_dict(), list(event_lines(simulation, summary)), drops, file.read_bytes()


@pytest.fixture(params=["fast", "jitter"])
def eventful(request: pytest.FixtureRequest) -> Scenario:
    """Without jitter the analytic pipe carries the first link; with it, the one with an event a packet."""
    text = TWO_PATHS.replace("[hosts.a]", EVENTS + "[hosts.a]", 1) + MORE_FLOWS
    return loads(text if request.param == "jitter" else text.replace('jitter = "1ms"\n', ""))


class TestEvents:
    def test_everything_happens(self, eventful: Scenario, tmp_path: Path) -> None:
        summary, events, drops, _ = result(eventful, tmp_path)
        assert {reason for _, _, _, reason in drops} >= {"loss", "down"}
        assert [line["event"] for line in events if line.get("link")] == [e.action for e in eventful.events]
        assert all(flow["bytes_delivered"] > 100_000 for flow in summary["flows"])
        assert all(flow["error"] is None for flow in summary["flows"])

    @pytest.mark.parametrize(
        ("slices", "how"),
        [(1, {}), (37, {}), (1, {"general": True}), (1, {"roundtrip": True})],
        ids=["again", "in slices", "event by event", "encoded"],
    )
    def test_the_run_is_the_same(
        self, eventful: Scenario, tmp_path: Path, slices: int, how: dict[str, bool]
    ) -> None:
        first = result(eventful, tmp_path)
        second = result(eventful, tmp_path, slices, **how)
        for one, other in zip(first, second, strict=True):
            assert one == other


class TestStreams:
    @pytest.mark.parametrize(
        "added",
        [MORE_FLOWS, MORE_HOSTS, MORE_FLOWS + MORE_HOSTS],
        ids=["flows of the same hosts", "hosts and a link", "all"],
    )
    def test_what_is_added_changes_no_other_links_losses(self, added: str) -> None:
        found = []
        for text in (TWO_PATHS, TWO_PATHS.replace("[[flows]]", added + "[[flows]]", 1)):
            simulation = build(loads(text))
            drops: list[tuple[Any, ...]] = []
            watched(simulation, "first", drops)
            simulation.env.run("6s")
            flow = next(flow for flow in simulation.flows if flow.name == "one")
            assert flow.server is not None
            found.append((drops, flow.server.delivered))
        assert found[0] == found[1]
        assert len(found[0][0]) > 10

    def test_the_order_of_links_does_not_matter_and_their_names_do(self) -> None:
        parts = TWO_PATHS.split("[[links]]\n")
        swapped = (
            "[[links]]\n".join([parts[0], parts[3].split("[[flows]]")[0], parts[2], parts[1]])
            + "[[flows]]"
            + parts[3].split("[[flows]]")[1]
        )
        renamed = TWO_PATHS.replace('name = "first"', 'name = "premier"')
        found = []
        for text, name in ((TWO_PATHS, "first"), (swapped, "first"), (renamed, "premier")):
            simulation = build(loads(text))
            drops: list[tuple[Any, ...]] = []
            watched(simulation, name, drops)
            simulation.env.run("6s")
            found.append(drops)
        assert found[0] == found[1] != found[2]

    def test_the_two_directions_lose_different_packets(self) -> None:
        """Packet numbers lost each way, of a loss that hits one packet in four."""
        simulation = build(loads(TWO_PATHS, overrides=["links.first.loss=0.25", "duration=30s"]))
        drops: list[tuple[Any, ...]] = []
        watched(simulation, "first", drops)
        simulation.env.run("30s")
        ways = [[at for at, way, _, _ in drops if way == wanted] for wanted in "><"]
        assert all(len(instants) > 5 for instants in ways)
        assert ways[0] != ways[1]
