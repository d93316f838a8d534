"""Keys without effect: that they are found, that they have none, and that what has one is not blamed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.lint.effect import HIDDEN, UNUSED, Vain, vain_keys
from mptcpsim.results.series import NoSeries
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import ScenarioSource, loads
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.schema import Scenario
from mptcpsim.settings import CLIENT, RECEIVER, SENDER, settings_of
from tests.profiles import examples

#: Two paths; a sends, and both are told by their addresses alone.
TEXT = """\
title = "Two paths"
duration = "1s"
[hosts.a]
interfaces = { eth0 = "10.0.1.1/24", eth1 = "10.0.2.1/24" }
[hosts.b]
interfaces = { eth0 = "10.0.1.2/24", eth1 = "10.0.2.2/24" }
[hosts.c]
interfaces = { eth0 = "10.0.3.2/24" }
[hosts.d]
interfaces = { eth0 = "10.0.3.1/24" }
[[links]]
name = "one"
ends = ["a:eth0", "b:eth0"]
rate = "10Mbps"
delay = "10ms"
loss = 0.02
[[links]]
name = "two"
ends = ["a:eth1", "b:eth1"]
rate = "5Mbps"
delay = "20ms"
[[links]]
name = "three"
ends = ["c:eth0", "d:eth0"]
[[flows]]
name = "f"
client = "a"
server = "b"
"""

MPTCP = (
    'defaults.mptcp={profile="linux-6.18"}',
    'hosts.a.mptcp.path_manager={name="endpoints", endpoints="10.0.2.1 subflow"}',
)


def vain(*changes: str, text: str = TEXT) -> list[Vain]:
    return vain_keys(*ScenarioSource(text, overrides=changes).read())


def keys(*changes: str, text: str = TEXT) -> dict[str, tuple[str, str]]:
    return {".".join(map(str, found.path)): found[1:] for found in vain(*changes, text=text)}


class TestHidden:
    def test_by_both_hosts(self) -> None:
        found = keys("defaults.tcp.ecn=true", "hosts.a.tcp.ecn=false", "hosts.b.tcp.ecn=true")
        assert found == {"defaults.tcp.ecn": (HIDDEN, "hosts.a.tcp.ecn and hosts.b.tcp.ecn stand closer")}

    def test_by_one_host_where_the_other_one_has_no_use_for_it(self) -> None:
        found = keys("defaults.tcp.congestion=reno", "hosts.a.tcp.congestion=cubic")
        assert found == {
            "defaults.tcp.congestion": (HIDDEN, "hosts.a.tcp.congestion stands closer, b sends no data")
        }

    def test_by_one_host_only(self) -> None:
        assert keys("defaults.tcp.sack=false", "hosts.a.tcp.sack=true") == {}
        assert keys("defaults.tcp.sack=false", "hosts.a.tcp.sack=true", "hosts.b.tcp.sack=true") == {
            "defaults.tcp.sack": (HIDDEN, "hosts.a.tcp.sack and hosts.b.tcp.sack stand closer")
        }

    def test_of_a_flow_and_of_a_host(self) -> None:
        assert keys("flows.f.tcp.sack=true", "flows.f.client_tcp.sack=true", "hosts.b.tcp.sack=true") == {
            "hosts.b.tcp.sack": (HIDDEN, "flows.0.tcp.sack stands closer")
        }

    def test_a_profile_hides_nothing_but_a_profile(self) -> None:
        both = ("hosts.a.mptcp=linux-6.18", "hosts.b.mptcp=linux-6.18")
        assert keys("defaults.mptcp.scheduler=redundant", *both) == {}
        assert keys("defaults.mptcp=rfc8684", *both) == {
            "defaults.mptcp.profile": (HIDDEN, "hosts.a.mptcp.profile and hosts.b.mptcp.profile stand closer")
        }

    def test_two_names_for_one_thing(self) -> None:
        both = ("hosts.a.mptcp.versions=[1, 0]", "hosts.b.mptcp.version=0")
        assert "defaults.mptcp.version" in keys("defaults.mptcp.version=1", *both)

    def test_what_switches_mptcp_off(self) -> None:
        both = ("hosts.a.mptcp=linux-6.18", "hosts.b.mptcp.max_subflows=3")
        assert keys("defaults.mptcp=false", *both) == {
            "defaults.mptcp.enabled": (
                HIDDEN,
                "hosts.a.mptcp.profile and hosts.b.mptcp.max_subflows stand closer",
            )
        }
        assert keys("defaults.mptcp=false", both[0]) == {}
        assert keys("defaults.mptcp.enabled=true", *both) == {}

    def test_where_mptcp_is_off_nothing_is_said_of_it(self) -> None:
        assert keys("defaults.mptcp.scheduler=redundant", "flows.f.mptcp=false") == {}

    def test_of_a_link_by_its_directions(self) -> None:
        assert keys("links.one.forward.rate=1Mbps", "links.one.backward.rate=2Mbps") == {
            "links.0.rate": (HIDDEN, "links.0.forward.rate and links.0.backward.rate stand closer")
        }
        assert keys("links.one.forward.rate=1Mbps") == {}

    def test_of_many_flows_that_a_pattern_makes(self) -> None:
        text = TEXT.replace('client = "a"\nserver = "b"\n', 'pattern = "permutation"\nhosts = ["a", "b"]\n')
        assert keys("flows.f.client_tcp.congestion=reno", text=text) == {}
        assert keys("flows.f.server_tcp.congestion=reno", text=text) == {
            "flows.0.server_tcp.congestion": (UNUSED, "b sends no data, a sends no data")
        }


class TestAtTheWrongEnd:
    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ("hosts.b.tcp.congestion=reno", "b sends no data"),
            ("hosts.b.tcp.send_buffer=1MiB", "b sends no data"),
            ("hosts.b.mptcp.scheduler=redundant", "b sends no data"),
            ("flows.f.server_mptcp.scheduler=redundant", "b sends no data"),
            ("hosts.a.tcp.receive_buffer=1MiB", "a receives no data"),
            ("hosts.a.mptcp.window_update=one", "a receives no data"),
            ("hosts.b.mptcp.cache_versions=false", "b opens no connection"),
            ("hosts.b.mptcp.path_manager=ndiffports", "ndiffports opens subflows at the client"),
            ("hosts.c.tcp.ecn=true", "c has no flow"),
        ],
    )
    def test_is_told(self, change: str, why: str) -> None:
        (found,) = vain("defaults.mptcp=rfc8684", change)
        assert found.kind == UNUSED
        assert found.why.startswith(why)

    def test_the_other_way_round(self) -> None:
        assert keys("flows.f.reverse=true", "hosts.b.tcp.congestion=reno", "hosts.a.tcp.ack_every=1") == {}
        assert set(keys("flows.f.reverse=true", "hosts.a.tcp.congestion=reno")) == {"hosts.a.tcp.congestion"}

    def test_requests_and_responses_are_data_both(self) -> None:
        app = ("flows.f.app=request-response", "hosts.a.tcp.congestion=reno", "hosts.b.tcp.congestion=reno")
        assert keys(*app, "hosts.a.tcp.ack_every=1", "hosts.b.tcp.ack_every=1") == {}
        assert set(keys(*app, "flows.f.reader.read_size=1kB")) == {"flows.0.reader"}

    def test_of_tables_for_both_ends_nothing_is_said(self) -> None:
        assert keys("defaults.tcp.congestion=reno", "flows.f.tcp.receive_buffer=1MiB") == {}


def test_keys_that_need_another() -> None:
    assert (
        keys("defaults.tcp.keepalive_idle=1s")["defaults.tcp.keepalive_idle"][1]
        == "it needs keepalive = true"
    )
    assert keys("defaults.tcp.keepalive_idle=1s", "defaults.tcp.keepalive=true") == {}
    assert set(keys("links.one.reorder_delay=1ms", "links.two.forward.jitter_reorders=true")) == {
        "links.0.reorder_delay", "links.1.forward.jitter_reorders",
    }  # fmt: skip
    assert keys("links.one.jitter_reorders=true", "links.one.forward.jitter=1ms") == {}
    assert set(keys("links.three.queue=9", "links.three.backward.qdisc=red", "ecmp=flow")) == {
        "links.2.queue", "links.2.backward.qdisc", "ecmp",
    }  # fmt: skip
    assert keys("links.three.queue=9", "links.three.forward.rate=1Mbps", "ecmp=flow", "routing=hops") == {}
    later = TEXT + "[[events]]\nat = '0.5s'\naction = 'set'\nlink = 'three'\nrate = '1Mbps'\n"
    assert keys("links.three.queue=9", "links.three.backward.qdisc=red", text=later) == {}


# --- The law -------------------------------------------------------------------------------------

#: A value of each key that only one kind of end looks at, other than by default.
VALUES: dict[str, dict[str, str]] = {
    "tcp": {
        "congestion": "reno", "initial_window_segments": "2", "initial_ssthresh": "5kB",
        "send_buffer": "20kB", "limited_transmit": "false", "nagle": "false",
        "slow_start_after_idle": "false",
        "persist_max": "1s", "zero_window_probe": "empty", "receive_buffer": "20kB",
        "receive_autotune": "true", "receive_buffer_max": "30kB", "ack_every": "1", "delayed_ack": "7ms",
    },
    "mptcp": {
        "scheduler": "roundrobin", "mapping_segments": "3", "keep_until_acked": "true",
        "share_send_window": "false", "connection_window": "false", "fill_window": "false",
        "wake_on_window": "false", "map_ahead": "true", "subflow_probe": "byte", "persist_min": "1s",
        "persist_shift": "3", "persist_blocks": "true", "data_probe": "false", "data_retransmit": "1460B",
        "window_update": "none", "window_update_rule": "rfc", "receive_window": "subflow",
        "data_ack_on_updates": "false", "data_ack_lag": "0s", "cache_versions": "true",
        "syns_with_option": "1",
    },
}  # fmt: skip

#: The end that does not look at a key, by the one that does; a opens the connection and sends.
WRONG_END = {SENDER: "b", RECEIVER: "a", CLIENT: "b"}

OF_ONE_END = [
    (kind, key, WRONG_END[setting.used_by])
    for kind, config in (("tcp", TcpConfig), ("mptcp", MptcpConfig))
    for key, setting in settings_of(config).items()
    if setting.used_by
]


def results(*changes: str) -> dict[str, Any]:
    summary = measure(build(loads(TEXT, overrides=[*MPTCP, *changes])), NoSeries()).as_dict()
    assert summary["flows"][0]["bytes_delivered"] > 500_000
    return summary


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return results()


@pytest.mark.parametrize(("kind", "key", "end"), OF_ONE_END)
def test_at_the_wrong_end_a_key_changes_nothing_in_a_run(
    plain: dict[str, Any], kind: str, key: str, end: str
) -> None:
    change = f"hosts.{end}.{kind}.{key}={VALUES[kind][key]}"
    assert f"hosts.{end}.{kind}.{key}" in keys(*MPTCP, change)
    assert results(change) == plain


SMALL = st.fixed_dictionaries(
    {},
    optional={
        "sack": st.booleans(), "ecn": st.booleans(), "timestamps": st.booleans(),
        "congestion": st.sampled_from(["reno", "cubic"]), "ack_every": st.integers(1, 3),
    },
)  # fmt: skip
MULTI = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.sampled_from(["rfc8684", "linux-6.18", "caia-v0.4"]),
        "scheduler": st.sampled_from(["minrtt", "redundant"]),
        "max_subflows": st.integers(1, 3),
        "version": st.sampled_from([0, 1]),
        "enabled": st.booleans(),
    },
)
PLACES = [
    ("defaults",), ("hosts", "a"), ("hosts", "b"), ("flows", 0, ""), ("flows", 0, "client_"),
    ("flows", 0, "server_"),
]  # fmt: skip


def _table(data: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    for part in path:
        data = data[part]  # type: ignore[index]
    return data


@examples(300, share=2)
@given(st.lists(SMALL, min_size=6, max_size=6), st.lists(MULTI, min_size=6, max_size=6))
def test_a_key_is_hidden_exactly_if_without_it_nothing_would_be_otherwise(
    tcp: list[dict[str, Any]], mptcp: list[dict[str, Any]]
) -> None:
    """The oracle leaves each key out in turn, or changes it, and looks at what is left of the settings."""
    source = ScenarioSource(TEXT)
    data = source.scenario().model_dump(mode="json", exclude_none=True)

    def put(changed: tuple[tuple[str | int, ...], str] | None, value: object = None) -> Scenario:
        for place, one, other in zip(PLACES, tcp, mptcp, strict=True):
            for kind, given_ in (("tcp", dict(one)), ("mptcp", dict(other))):
                *around, last = (*place[:-1], f"{place[-1]}{kind}") if place[0] == "flows" else (*place, kind)
                if changed is not None and changed[0] == (*around, last) and value is not None:
                    given_[changed[1]] = value
                _table(data, tuple(around))[str(last)] = given_
        return Scenario.model_validate(data)

    scenario = put(None)
    configs = scenario.flow_configs(scenario.flows[0])
    _, places = source.read()
    hidden = {found.path for found in vain_keys(scenario, places) if found.kind == HIDDEN}
    others = {"max_subflows": 7, "sack": None, "ecn": None, "timestamps": None}
    for place, one, other in zip(PLACES, tcp, mptcp, strict=True):
        for kind, table in (("tcp", one), ("mptcp", other)):
            for key in table:
                if key not in others or (
                    kind == "mptcp" and not (configs[0].mptcp.enabled and configs[1].mptcp.enabled)
                ):
                    continue
                path = (*place[:-1], f"{place[-1]}{kind}") if place[0] == "flows" else (*place, kind)
                value = others[key] if others[key] is not None else not table[key]
                again = put((path, key), value)
                same = again.flow_configs(again.flows[0]) == configs
                assert ((*path, key) in hidden) == same, (path, key)
