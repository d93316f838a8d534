"""Reading a scenario: quantities, short forms, overrides, defaults, and the way back to TOML."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.flows import BulkFlow
from mptcpsim.scenario.link_values import GilbertElliottSpec, PeriodicLossSpec, QueueLimit
from mptcpsim.scenario.load import dumps, load, loads
from mptcpsim.scenario.locate import key_lines, line_of
from mptcpsim.scenario.quantities import rate_text, size_text, time_text
from mptcpsim.scenario.routes import look_up, segments
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.units import MILLISECOND, SECOND, parse_rate, parse_size, parse_time
from tests.profiles import examples

SMALL = """\
title = "One switch"
duration = "5s"
[hosts.A]
interfaces = { A1 = "192.168.0.10/24" }
[hosts.B]
interfaces = { B1 = "192.168.0.20/24" }
[switches.S]
[[links]]
ends = ["A:A1", "S"]
rate = "100Mbps"
[[links]]
name = "b"
ends = ["S", "B:B1"]
[[flows]]
client = "A"
server = "B"
"""


def small(*overrides: str) -> Scenario:
    return loads(SMALL, overrides=overrides)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text(SMALL, encoding="utf-8-sig")
    assert load(file) == small()


class TestDefaults:
    def test_a_flow_is_bulk_and_has_a_name(self) -> None:
        flow = small().flows[0]
        assert isinstance(flow, BulkFlow)
        assert (flow.name, flow.port, flow.start) == ("flow0", 5001, 0)

    def test_a_link_is_called_by_its_ends(self) -> None:
        assert [link.name for link in small().links] == ["A:A1--S", "b"]

    def test_a_link_is_a_dummynet_pipe(self) -> None:
        link = small().links[1]
        assert (link.rate, link.delay, link.queue, link.mtu) == (0, 0, QueueLimit(slots=50), 1500)
        assert link.qdisc.name == "droptail"

    def test_every_field_of_tcp_config_can_be_set(self) -> None:
        fields = {field.name for field in dataclasses.fields(TcpConfig)} - {"congestion_parameters", "mptcp"}
        assert set(TcpSettings.model_fields) == fields


class TestQuantities:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("50", QueueLimit(slots=50)),
            ('"50 packets"', QueueLimit(slots=50)),
            ('"1 slot"', QueueLimit(slots=1)),
            ('"30KiB"', QueueLimit(size=30720)),
            ('"30 KiB"', QueueLimit(size=30720)),
        ],
    )
    def test_queues(self, text: str, expected: QueueLimit) -> None:
        assert small(f"links.b.queue={text}").links[1].queue == expected

    def test_losses(self) -> None:
        assert small("links.b.loss=0.01").links[1].loss == 0.01
        assert small("links.b.loss={p=0.1, r=0.2}").links[1].loss == GilbertElliottSpec(
            k=0.0, p=0.1, h=1.0, r=0.2
        )
        assert small("links.b.loss={every=100}").links[1].loss == PeriodicLossSpec(every=100)

    def test_zero_needs_no_unit(self) -> None:
        assert small("links.b.delay=0").links[1].delay == 0

    @given(st.integers(0, 10**18))
    def test_texts_are_read_as_they_were_written(self, value: int) -> None:
        assert parse_time(time_text(value)) == value
        assert parse_rate(rate_text(value)) == value
        assert parse_size(size_text(value)) == value


class TestOverrides:
    def test_by_index_and_by_name(self) -> None:
        scenario = small(
            "links.0.rate=8Mbps", "links.b.rate=9Mbps", "flows.flow0.port=80", "links.A:A1--S.mtu=9000"
        )
        assert [link.rate for link in scenario.links] == [8_000_000, 9_000_000]
        assert scenario.flows[0].port == 80
        assert scenario.links[0].mtu == 9000

    def test_tables_are_made_on_the_way(self) -> None:
        scenario = small("defaults.tcp.congestion=reno", 'flows.0.tcp.rto_min="1s"', "hosts.A.tcp.sack=false")
        config = scenario.tcp_config("A", scenario.flows[0].tcp)
        assert (config.congestion, config.rto_min, config.sack) == ("reno", SECOND, False)
        assert scenario.tcp_config("B").sack is True

    def test_the_last_one_counts(self) -> None:
        assert small("seed=3", "seed=4").seed == 4

    def test_parameters_of_a_plugin_given_by_name(self) -> None:
        scenario = small("links.b.qdisc=codel", "links.b.qdisc.target=7ms")
        assert scenario.links[1].qdisc.name == "codel"
        assert parameters("qdisc", "codel", scenario.links[1].qdisc.parameters)["target"] == 7 * MILLISECOND

    def test_quoted_keys(self) -> None:
        assert small('links."A:A1--S".rate=1Mbps').links[0].rate == 1_000_000


class TestDirections:
    def test_a_direction_overrides_the_link(self) -> None:
        link = small("links.b.delay=5ms", "links.b.backward={rate='1Mbps', loss=0.5}").links[1]
        forward, backward = link.direction(True), link.direction(False)
        assert (forward.rate, forward.delay, forward.loss) == (0, 5 * MILLISECOND, 0.0)
        assert (backward.rate, backward.delay, backward.loss) == (1_000_000, 5 * MILLISECOND, 0.5)


class TestPrecedence:
    def test_the_closer_setting_wins(self) -> None:
        scenario = small(
            "defaults.tcp.ack_every=3",
            "defaults.tcp.delayed_ack=1ms",
            "defaults.tcp.nagle=false",
            "hosts.A.tcp.ack_every=4",
            "hosts.A.tcp.delayed_ack=2ms",
            "flows.0.tcp.ack_every=5",
            "flows.0.client_tcp.initial_window_segments=2",
        )
        flow = scenario.flows[0]
        config = scenario.tcp_config("A", flow.tcp, flow.client_tcp)
        assert (config.ack_every, config.delayed_ack, config.nagle) == (5, 2 * MILLISECOND, False)
        assert config.initial_window_segments == 2
        server = scenario.tcp_config("B", flow.tcp, flow.server_tcp)
        assert (server.ack_every, server.delayed_ack) == (5, 1 * MILLISECOND)
        assert server.initial_window_segments == TcpConfig().initial_window_segments

    def test_parameters_of_the_congestion_control(self) -> None:
        config = small("hosts.A.tcp.congestion={name='cubic', c=0.04}").tcp_config("A")
        assert config.congestion == "cubic"
        assert config.congestion_parameters["c"] == 0.04


class TestRoutes:
    TWO_ROUTERS = """\
title = "t"
duration = "1s"
hosts.A = { interfaces = { A1 = "10.1.0.2/24" }, default_route = "10.1.0.1" }
hosts.B = { interfaces = { B1 = "10.3.0.2/24" }, default_route = "10.3.0.1" }
[routers.R1]
interfaces = { x = "10.1.0.1/24", y = "10.2.0.1/24" }
routes = [{ to = "10.3.0.0/24", via = "10.2.0.2" }, { to = "10.0.0.0/8", via = "10.1.0.2" }]
[routers.R2]
interfaces = { x = "10.2.0.2/24", y = "10.3.0.1/24" }
default_route = "10.2.0.1"
[[links]]
ends = ["A:A1", "R1:x"]
[[links]]
ends = ["R1:y", "R2:x"]
[[links]]
ends = ["R2:y", "B:B1"]
[[flows]]
client = "A"
server = "B"
"""

    def test_the_longest_prefix_wins(self) -> None:
        scenario = loads(self.TWO_ROUTERS)
        found = look_up(scenario.routers["R1"], "10.3.0.2")
        assert found is not None
        assert (found.interface, found.gateway) == ("y", "10.2.0.2")

    def test_switches_join_networks(self) -> None:
        ports = segments(small())
        assert len(set(ports.values())) == 1
        assert len(set(segments(loads(self.TWO_ROUTERS)).values())) == 3

    def test_the_source_address_is_that_of_the_outgoing_interface(self) -> None:
        from mptcpsim.scenario.check import flow_addresses

        scenario = loads(
            self.TWO_ROUTERS,
            overrides=[
                'hosts.A.interfaces={A0="10.9.0.2/24", A1="10.1.0.2/24"}',
                'links=[{ends=["A:A1","R1:x"]},{ends=["R1:y","R2:x"]},{ends=["R2:y","B:B1"]},{ends=["A:A0","S"]}]',
                "switches.S={}",
            ],
        )
        assert flow_addresses(scenario, scenario.flows[0]) == ("10.1.0.2", "10.3.0.2")


class TestLines:
    TEXT = '''\
a = 1
[t]
b.c = """
d = 4
"""
"e f" = 2
[[list]]
x = 1
[list.sub]
y = 2
[[list]]
x = 3
[[list.inner]]
z = 1
[[list.inner]]
z = 2
'''

    def test_lines_of_keys(self) -> None:
        lines = key_lines(self.TEXT)
        assert lines[("a",)] == 1
        assert lines[("t", "b", "c")] == 3
        assert ("t", "d") not in lines
        assert lines[("t", "e f")] == 6
        assert lines[("list", 0, "sub", "y")] == 10
        assert lines[("list", 1, "x")] == 12
        assert lines[("list", 1, "inner", 1, "z")] == 16

    def test_the_nearest_key_counts(self) -> None:
        assert line_of(self.TEXT, ("a", "deep", 3)) == 1
        assert line_of(self.TEXT, ("list", 0, "missing")) == 7
        assert line_of(self.TEXT, ("nowhere",)) is None
        assert line_of("[hosts.A.tcp]\n", ("hosts", "A")) == 1


class TestRoundTrip:
    @pytest.mark.parametrize(
        "overrides",
        [
            [],
            ["links.b.loss={k=0.0, p=0.1, h=0.5, r=0.2}", "links.b.queue='30KiB'"],
            ["links.b.qdisc={name='red', max_p=0.2}", "links.b.backward.qdisc={name='codel', target='3ms'}"],
            ["links.b.loss={every=7, first=3}", "links.b.forward={rate='7bps', delay='1500us'}"],
            ["links.b.loss={packets=[1, 2, 30]}", "flows.0.reader={read_size='512KiB', every='10ms'}"],
            ["flows.0.app='on-off'", "flows.0.rate='1Mbps'", "flows.0.on='1s'", "flows.0.off='1s'"],
            ["flows.0.app='request-response'", "flows.0.tcp.congestion={name='cubic', c=0.4}"],
            ["events=[{at=0, link='b', action='up'}, {at='2s', link='b', action='set', loss={every=3}}]"],
            ["hosts.A.interfaces.A1=['192.168.0.10/24', 'fd00::1/64']", "output.capture=['A:A1']"],
        ],
    )
    def test_a_scenario_written_is_the_scenario_read(self, overrides: list[str]) -> None:
        scenario = small(*overrides)
        text = dumps(scenario)
        assert loads(text) == scenario
        assert dumps(loads(text)) == text


# Values that are wrong in many places, and right in some; all are TOML as they stand.
VALUES = [
    *('"5s"', '"8Mbps"', '"64KiB"', '"A"', '"B"', '"S"', '"A:A1"', '"192.168.0.10/24"', '"reno"', '"bulk"'),
    *('""', '"\\u0000"', '"-1s"', '"é"', "0", "1", "-1", "3", "1e400", "nan", "-inf", "0.5", "true"),
    *("[]", "[1]", '["A:A1"]', '["A:A1", "S"]', "[[]]", "{}", "{p = 1, r = 2}", "{every = 0}", "{name = 1}"),
    *('{name = "reno"}', "[{}]", "1979-05-27", "07:32:00", str(1 << 70), "no quotes", "5s", "{", "]"),
]
PLACES = [
    *("title", "seed", "duration", "defaults", "defaults.tcp", "defaults.tcp.congestion", "events", "output"),
    *("defaults.tcp.rto_min", "hosts", "hosts.A", "hosts.C", "hosts.A.interfaces", "hosts.A.interfaces.A1"),
    *("hosts.A.interfaces.A2", "hosts.A.default_route", "hosts.A.routes", "routers", "routers.R", "switches"),
    *("switches.S", "links", "links.0", "links.0.name", "links.0.ends", "links.b.rate", "links.b.queue"),
    *("links.b.qdisc", "links.b.loss", "links.b.mtu", "links.b.forward", "links.b.forward.loss", "flows"),
    *("flows.0", "flows.0.app", "flows.0.client", "flows.0.port", "flows.0.reader", "flows.0.bytes"),
    *("flows.0.tcp.congestion", "output.capture", "output.sample_interval", "strange", "a b", "."),
]


@examples(400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=1, max_size=3))
def test_whatever_is_wrong_becomes_a_scenario_error(changes: list[tuple[str, str]]) -> None:
    try:
        scenario = loads(SMALL, overrides=[f"{place}={value}" for place, value in changes])
    except ScenarioError as failure:
        text = str(failure)
    else:
        text = "scenario: right"
        assert loads(dumps(scenario)) == scenario
    assert text.startswith("scenario: ")
    assert "pydantic" not in text
    assert "\n" not in text


@examples(300)
@given(st.integers(0, len(SMALL)), st.integers(0, len(SMALL)), st.text(max_size=5))
def test_a_damaged_text_is_read_or_refused(start: int, end: int, text: str) -> None:
    damaged = SMALL[: min(start, end)] + text + SMALL[max(start, end) :]
    with contextlib.suppress(ScenarioError):
        assert loads(damaged).title


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SMALL, encoding="utf-8")
    assert load(tmp_path / "s.toml", ["seed=9"]).seed == 9
