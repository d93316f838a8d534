"""From a scenario to the objects that run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mptcpsim.net.loss import GilbertElliott, ListedLoss, PeriodicLoss, RandomLoss
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import load, loads
from mptcpsim.scenario.pipes import pipe_settings
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.summarise import endpoint, integrity, summarise
from mptcpsim.units import MILLISECOND, SECOND
from tests.net.nodes import ip_node
from tests.paths import EXPERIMENTS

DEMO = EXPERIMENTS / "demo" / "scenario.toml"

TWO_ROUTERS = """\
title = "Two routers"
duration = "2s"
[hosts.A]
interfaces = { A1 = "10.1.0.2/24" }
default_route = "10.1.0.1"
[hosts.B]
interfaces = { B1 = ["10.3.0.2/24", "fd00:3::2/64"] }
default_route = "10.3.0.1"
tcp = { receive_buffer = "128KiB" }
[routers.R1]
interfaces = { left = "10.1.0.1/24", right = "10.2.0.1/24" }
routes = [{ to = "10.3.0.0/24", via = "10.2.0.2" }]
[routers.R2]
interfaces = { left = "10.2.0.2/24", right = "10.3.0.1/24" }
default_route = "10.2.0.1"
[switches.S]
[[links]]
name = "a"
ends = ["A:A1", "S"]
mtu = 9000
[[links]]
name = "s"
ends = ["S", "R1:left"]
mtu = 9000
[[links]]
name = "core"
ends = ["R1:right", "R2:left"]
rate = "10Mbps"
delay = "5ms"
mtu = 1400
[[links]]
name = "b"
ends = ["R2:right", "B:B1"]
[[flows]]
name = "bulk"
client = "A"
server = "B"
bytes = "300kB"
"""


def scenario(*overrides: str) -> Scenario:
    return loads(TWO_ROUTERS, overrides=overrides)


def ran(*overrides: str) -> Simulation:
    simulation = build(scenario(*overrides))
    simulation.env.run(simulation.scenario.duration)
    return simulation


def watch_drops(simulation: Simulation, instants: list[int]) -> None:
    """Note when the link in the middle drops a packet."""
    pipe = simulation.topology.links["core"].forward
    pipe.on_drop = lambda packet, reason: instants.append(simulation.env.now)


class TestNetwork:
    def test_interfaces_have_addresses_and_the_mtu_of_their_link(self) -> None:
        simulation = build(scenario())
        interface = simulation.interface("B:B1")
        assert [entry.address for entry in interface.addresses] == ["10.3.0.2", "fd00:3::2"]
        assert simulation.interface("A:A1").mtu == 9000
        assert simulation.interface("R1:right").mtu == 1400
        assert simulation.hosts["A"].stack.addresses == {"10.1.0.2": 9000}

    def test_static_routes(self) -> None:
        simulation = build(scenario())
        route = ip_node(simulation.topology, "R1").routes.lookup("10.3.0.2")
        assert route is not None
        assert (route.interface.name, route.gateway) == ("right", "10.2.0.2")
        assert ip_node(simulation.topology, "R1").routes.lookup("8.8.8.8") is None

    def test_shortest_paths_where_they_are_asked_for(self) -> None:
        changes = ["routing=hops", "routers.R1.routes=[]", 'hosts.A={interfaces={A1="10.1.0.2/24"}}']
        simulation = build(scenario(*changes))
        route = ip_node(simulation.topology, "A").routes.lookup("10.3.0.2")
        assert route is not None
        assert route.gateway == "10.1.0.1"

    def test_a_narrow_link_in_the_middle_is_discovered(self) -> None:
        simulation = ran()
        (flow,) = simulation.flows
        assert flow.receiver is not None
        assert flow.receiver.delivered == 300_000
        assert flow.sender is not None
        assert flow.sender.subflows[0].mtu == 1400

    def test_the_owner_of_an_address(self) -> None:
        simulation = build(scenario())
        assert simulation.owner("fd00:3::2") is simulation.hosts["B"].stack
        assert simulation.owner("10.2.0.1") is None

    def test_settings_of_a_flow_reach_its_ends(self) -> None:
        simulation = ran("flows.bulk.client_tcp.congestion=reno", "flows.bulk.server_tcp.delayed_ack=7ms")
        (flow,) = simulation.flows
        assert flow.client is not None
        assert flow.server is not None
        assert flow.client.config.congestion == "reno"
        assert flow.server.config.congestion == "cubic"
        assert flow.server.config.delayed_ack == 7 * MILLISECOND
        assert flow.server.config.receive_buffer == 128 * 1024


class TestPipes:
    def test_every_setting_of_a_pipe_can_be_reached(self) -> None:
        link = scenario(
            "links.core.queue='30KiB'",
            "links.core.burst='10kB'",
            "links.core.overhead_bytes=14",
            "links.core.loss={k=0.1, p=0.2, h=0.3, r=0.4}",
            "links.core.qdisc={name='red', max_p=0.5}",
            "links.core.jitter='1ms'",
            "links.core.jitter_reorders=true",
            "links.core.reorder=0.1",
            "links.core.reorder_delay='2ms'",
            "links.core.duplicate=0.2",
            "links.core.corrupt=0.3",
            "links.core.down_drops_queue=false",
            "links.core.down_drops_flight=true",
        ).links[2]
        settings = pipe_settings(link, link.direction(True))
        plain = PipeSettings()
        same = {
            f.name for f in dataclasses.fields(plain) if getattr(settings, f.name) == getattr(plain, f.name)
        }
        # Ticks and delay profiles are of the dummynet dialect.
        assert same == {"tick_ns", "profile", "profile_lost_from"}
        assert settings.limit == 30720
        assert settings.burst_bits == 80_000
        assert settings.plr == (0.1, 0.2, 0.3, 0.4)
        assert settings.qdisc_parameters["max_p"] == 0.5

    def test_directions_differ(self) -> None:
        simulation = build(scenario("links.core.backward={rate='1Mbps', queue=7}"))
        link = simulation.topology.links["core"]
        assert (link.forward.rate_bps, link.backward.rate_bps) == (10_000_000, 1_000_000)
        assert (link.forward.limit, link.backward.limit) == (50, 7)

    @pytest.mark.parametrize(
        ("loss", "model"),
        [
            ("0.1", RandomLoss),
            ("{p=0.1, r=0.2}", GilbertElliott),
            ("{every=3}", PeriodicLoss),
            ("{packets=[3]}", ListedLoss),
        ],
    )
    def test_losses_drop(self, loss: str, model: type) -> None:
        simulation = ran(f"links.core.forward.loss={loss}")
        assert simulation.topology.links["core"].forward.drops["loss"] > 0
        assert "loss" not in simulation.topology.links["core"].backward.drops

    def test_listed_packets_and_no_others_are_lost(self) -> None:
        simulation = ran("links.core.forward.loss={packets=[5, 9]}")
        assert simulation.topology.links["core"].forward.drops["loss"] == 2


class TestTimeline:
    def test_events_change_links_when_they_are_due(self) -> None:
        simulation = build(
            scenario(
                "events=["
                "{at='300ms', link='core', action='set', rate='1Mbps', delay='9ms', direction='forward'},"
                "{at='200ms', link='b', action='down'},"
                "{at='400ms', link='b', action='up'},"
                "{at='500ms', link='core', action='set', loss={every=2}},"
                "{at='600ms', link='core', action='set', loss=0.0}]"
            )
        )
        core, far = simulation.topology.links["core"], simulation.topology.links["b"]
        simulation.env.run("250ms")
        assert (core.forward.rate_bps, far.up) == (10_000_000, False)
        simulation.env.run("350ms")
        assert (core.forward.rate_bps, core.forward.delay_ns) == (1_000_000, 9 * MILLISECOND)
        assert core.backward.rate_bps == 10_000_000
        assert not far.up
        simulation.env.run("2s")
        assert far.up
        assert simulation.flows[0].completed_at > 0


class TestEquality:
    @pytest.mark.parametrize("source", ["demo", "two routers"])
    def test_the_fast_pipe_and_the_general_one_give_the_same_run(self, source: str, tmp_path: Path) -> None:
        if source == "demo":
            one = load(DEMO, ["duration=8s", "events=[]", "links.bottleneck.loss=0.001"])
        else:
            one = scenario("links.core.rate=3Mbps", "links.core.queue='9kB'", "links.core.corrupt=0.01")
        found = []
        for general in (False, True):
            simulation = build(one, general=general)
            kinds = {p.kind for link in simulation.topology.links.values() for p in link.pipes()}
            assert kinds == {"general" if general else "fifo"}
            with SeriesRecorder(tmp_path / f"{general}.parquet") as recorder:
                sampler = sampler_of(simulation, recorder)
                simulation.env.run(one.duration)
                sampler.finish()
            found.append(summarise(simulation, sampler).as_dict())
        assert found[0] == found[1]
        assert (tmp_path / "False.parquet").read_bytes() == (tmp_path / "True.parquet").read_bytes()

    def test_adding_a_link_changes_no_other_links_losses(self) -> None:
        links = TWO_ROUTERS.index("[[links]]")
        extra = (
            '[hosts.C]\ninterfaces = { C1 = "10.1.0.9/24" }\n[[links]]\nends = ["C:C1", "S"]\nloss = 0.5\n'
        )
        drops = []
        for text in (TWO_ROUTERS, TWO_ROUTERS[:links] + extra + TWO_ROUTERS[links:]):
            simulation = build(loads(text, overrides=["links.core.loss=0.05"]))
            lost: list[int] = []
            watch_drops(simulation, lost)
            simulation.env.run(2 * SECOND)
            drops.append(lost)
        assert drops[0] == drops[1]
        assert drops[0]


class TestSummary:
    def test_integrity(self) -> None:
        assert integrity(10, 10, True) == "ok"
        assert integrity(10, 4, False) == "ok"
        assert integrity(10, 4, True) == "6 bytes are missing at the end of the stream"
        assert integrity(4, 10, False) == "6 bytes were delivered that nobody wrote"

    def test_endpoints(self) -> None:
        assert endpoint("10.0.0.1", 80) == "10.0.0.1:80"
        assert endpoint("fd00::1", 80) == "[fd00::1]:80"

    def test_a_slow_reader_is_no_stall(self, tmp_path: Path) -> None:
        one = scenario(
            "flows.bulk.reader={read_size='20kB', every='900ms'}", "hosts.B.tcp.receive_buffer='40kB'"
        )
        simulation = build(one)
        with SeriesRecorder(tmp_path / "series.parquet") as recorder:
            sampler = sampler_of(simulation, recorder)
            simulation.env.run(one.duration)
            sampler.finish()
        (flow,) = summarise(simulation, sampler).flows
        assert flow.stalls == []
        assert flow.stalled_s == 0
        assert flow.completed_s is None
