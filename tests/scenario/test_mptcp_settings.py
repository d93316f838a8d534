"""The ``mptcp`` tables of a scenario: profiles, layers, shorthands, and the way back to TOML."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.core.mptcp.profiles import PROFILES, SUMMARIES
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.scenario.mptcp_settings import PLUGINS, MptcpSettings
from mptcpsim.scenario.schema import Scenario
from mptcpsim.units import SECOND

TEXT = """\
title = "Two hosts"
duration = "5s"
[hosts.A]
interfaces = { e1 = "10.0.1.1/24", e2 = "10.0.2.1/24" }
[hosts.B]
interfaces = { e1 = "10.0.1.2/24", e2 = "10.0.2.2/24" }
[[links]]
ends = ["A:e1", "B:e1"]
[[links]]
ends = ["A:e2", "B:e2"]
[[flows]]
client = "A"
server = "B"
"""


def scenario(*overrides: str) -> Scenario:
    return loads(TEXT, overrides=overrides)


def ends(*overrides: str) -> tuple[MptcpConfig, MptcpConfig]:
    loaded = scenario(*overrides)
    client, server = loaded.flow_configs(loaded.flows[0])
    return client.mptcp, server.mptcp


def client(*overrides: str) -> MptcpConfig:
    return ends(*overrides)[0]


class TestFields:
    def test_every_field_of_the_configuration_can_be_set(self) -> None:
        fields = {field.name for field in dataclasses.fields(MptcpConfig)}
        fields -= {f"{key}_parameters" for key in PLUGINS}
        assert set(MptcpSettings.model_fields) == fields | {"version"}

    def test_plain_tcp_by_default(self) -> None:
        assert ends() == (MptcpConfig(), MptcpConfig())
        assert not MptcpConfig().enabled

    @pytest.mark.parametrize(
        ("text", "field", "value"),
        [
            ("version=0", "versions", (0,)),
            ("versions=[1, 0]", "versions", (1, 0)),
            ("checksum=true", "checksum", True),
            ("deny_join_initial=true", "deny_join_initial", True),
            ("join_after=at-once", "join_after", "at-once"),
            ("max_subflows=3", "max_subflows", 3),
            ("initial_key=18446744073709551615", "initial_key", 2**64 - 1),
            ("initial_dsn=18446744073709500000", "initial_dsn", 18446744073709500000),
            ("dsn_octets=4", "dsn_octets", 4),
            ("data_ack_octets=8", "data_ack_octets", 8),
            ("mapping_segments=4", "mapping_segments", 4),
            ("syns_with_option=1", "syns_with_option", 1),
            ("validate_hmac=false", "validate_hmac", False),
            ("hold_unmapped=false", "hold_unmapped", False),
            ("infinite_mapping=false", "infinite_mapping", False),
            ("share_send_window=true", "share_send_window", True),
            ("window_update=one", "window_update", "one"),
            ("add_addr_timeout=3s", "add_addr_timeout", 3 * SECOND),
            ("add_addr_retries=0", "add_addr_retries", 0),
            ("subflow_retries=2", "subflow_retries", 2),
            ("path_probe=0", "path_probe", 0),
            ("close_timeout=5s", "close_timeout", 5 * SECOND),
            ("fastclose=ack", "fastclose", "ack"),
            ("cache_versions=false", "cache_versions", False),
        ],
    )
    def test_a_key_changes_its_field_and_enables_mptcp(self, text: str, field: str, value: object) -> None:
        expected = dataclasses.replace(MptcpConfig(), enabled=True, **{field: value})  # type: ignore[arg-type]
        assert client(f"flows.0.mptcp.{text}") == expected

    @pytest.mark.parametrize("value", ["true", "1.0", '"1"', "2", "[]"])
    def test_a_version_is_a_number(self, value: str) -> None:
        with pytest.raises(ScenarioError, match=r"flows\.0\.mptcp\.version"):
            scenario(f"flows.0.mptcp.version={value}")


class TestProfiles:
    @pytest.mark.parametrize("name", PROFILES)
    def test_each_one_is_as_the_core_has_it(self, name: str) -> None:
        assert ends(f'defaults.mptcp="{name}"') == (PROFILES[name], PROFILES[name])
        assert client(f'flows.0.mptcp={{profile="{name}"}}') == PROFILES[name]

    def test_other_keys_change_it(self) -> None:
        config = client('flows.0.mptcp={profile="caia-v0.4", validate_hmac=true}')
        assert config == dataclasses.replace(PROFILES["caia-v0.4"], validate_hmac=True)

    def test_a_switch_is_short_for_one(self) -> None:
        assert client("flows.0.mptcp=true") == PROFILES["rfc8684"]
        assert client("defaults.mptcp=true", "flows.0.mptcp=false").enabled is False

    def test_a_table_may_disable_as_well(self) -> None:
        config = client('flows.0.mptcp={profile="linux-6.18", enabled=false}')
        assert config == dataclasses.replace(PROFILES["linux-6.18"], enabled=False)


class TestLayers:
    def test_the_closer_one_wins_key_by_key(self) -> None:
        here, there = ends(
            "defaults.mptcp.max_subflows=2",
            "defaults.mptcp.fastclose=ack",
            "defaults.mptcp.mapping_segments=2",
            "hosts.A.mptcp.max_subflows=3",
            "hosts.A.mptcp.mapping_segments=3",
            "flows.0.mptcp.mapping_segments=4",
            "flows.0.mptcp.dsn_octets=4",
            "flows.0.client_mptcp.dsn_octets=8",
        )
        assert (here.max_subflows, here.fastclose, here.mapping_segments, here.dsn_octets) == (3, "ack", 4, 8)
        assert (there.max_subflows, there.mapping_segments, there.dsn_octets) == (2, 4, 4)

    def test_the_switches_of_a_profile_lie_below_all_that_is_written_by_hand(self) -> None:
        outer = ("defaults.mptcp.max_subflows=2", "hosts.A.mptcp.dsn_octets=4")
        by_hand: dict[str, Any] = {"max_subflows": 2, "dsn_octets": 4}
        for name in ("linux-6.18", "rfc8684"):
            expected = dataclasses.replace(PROFILES[name], **by_hand)
            assert client(*outer, f"flows.0.mptcp={name}") == expected
        assert client(*outer, "flows.0.mptcp=true") == dataclasses.replace(PROFILES["rfc8684"], **by_hand)

    def test_the_closest_profile_is_the_one(self) -> None:
        outer = ("defaults.mptcp=caia-v0.4", "hosts.A.mptcp=rfc6824")
        assert client(*outer) == PROFILES["rfc6824"]
        assert client(*outer, "flows.0.client_mptcp=linux-6.18") == PROFILES["linux-6.18"]
        assert not client(*outer, "flows.0.client_mptcp={profile='linux-6.18', enabled=false}").enabled

    def test_a_scheduler_by_default_holds_on_hosts_that_name_only_a_profile(self) -> None:
        both = ends(
            "defaults.mptcp.scheduler=redundant", "hosts.A.mptcp=linux-6.18", "hosts.B.mptcp=linux-6.18"
        )
        for end in both:
            assert (end.scheduler, end.scheduler_parameters) == ("redundant", {})
            assert end.profile == "linux-6.18"
            assert end.share_send_window
        inner = client("defaults.mptcp=caia-v0.4", "flows.0.client_mptcp.max_subflows=2")
        assert inner == dataclasses.replace(PROFILES["caia-v0.4"], max_subflows=2)

    def test_one_end_only(self) -> None:
        here, there = ends("flows.0.server_mptcp=true")
        assert (here.enabled, there.enabled) == (False, True)
        here, there = ends("defaults.mptcp=true", "hosts.A.mptcp=false")
        assert (here.enabled, there.enabled) == (False, True)

    def test_a_key_switches_on_again(self) -> None:
        assert client("hosts.A.mptcp=false", "flows.0.mptcp.max_subflows=2").enabled
        assert not client("hosts.A.mptcp=true", "flows.0.mptcp={max_subflows=2, enabled=false}").enabled

    def test_an_empty_table_says_nothing(self) -> None:
        assert client("flows.0.mptcp={}") == MptcpConfig()

    def test_a_host_without_a_flow(self) -> None:
        loaded = scenario("hosts.B.mptcp=true")
        assert loaded.tcp_config("B").mptcp == PROFILES["rfc8684"]
        assert loaded.tcp_config("A").mptcp == MptcpConfig()


class TestPlugins:
    def test_parameters_are_completed(self) -> None:
        config = client('hosts.A.mptcp.path_manager={name="endpoints", endpoints="10.0.2.1 subflow"}')
        assert config.path_manager == "endpoints"
        assert config.path_manager_parameters == {
            "endpoints": "10.0.2.1 subflow",
            "subflows": 2,
            "add_addr_accepted": 0,
        }

    def test_by_name_alone(self) -> None:
        config = client("flows.0.mptcp={path_manager='ndiffports', scheduler='roundrobin'}")
        assert (config.path_manager, config.scheduler) == ("ndiffports", "roundrobin")
        assert config.path_manager_parameters == {"subflows": 2, "ports": ""}

    def test_each_end_names_its_own_addresses(self) -> None:
        here, there = ends(
            "defaults.mptcp=caia-v0.4",
            'hosts.A.mptcp.path_manager={name="mp_addresses", addresses="10.0.2.1"}',
            'flows.0.server_mptcp.path_manager={name="mp_addresses", addresses="10.0.2.2"}',
        )
        assert here.path_manager_parameters == {"addresses": "10.0.2.1"}
        assert there.path_manager_parameters == {"addresses": "10.0.2.2"}


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "profile": st.sampled_from(sorted(PROFILES)),
        "versions": st.permutations([0, 1]).map(tuple),
        "checksum": st.booleans(),
        "scheduler": st.just("roundrobin"),
        "path_manager": st.builds(lambda n: {"name": "ndiffports", "subflows": n}, st.integers(1, 255)),
        "max_subflows": st.integers(1, 255),
        "add_addr_timeout": st.just("5s"),
        "fastclose": st.sampled_from(["ack", "rst"]),
    },
)


class TestToml:
    @given(SETTINGS, SETTINGS, st.one_of(SETTINGS, st.booleans(), st.sampled_from(sorted(PROFILES))))
    def test_what_is_written_is_read_again(self, defaults: object, host: object, flow: object) -> None:
        data = scenario().model_dump(mode="json", exclude_none=True)
        data["defaults"]["mptcp"] = defaults
        data["hosts"]["A"]["mptcp"] = host
        data["flows"][0]["client_mptcp"] = flow
        made = Scenario.model_validate(data)
        again = loads(dumps(made))
        assert again.flow_configs(again.flows[0]) == made.flow_configs(made.flows[0])
        assert dumps(again) == dumps(made)

    def test_a_shorthand_comes_back_as_a_table(self) -> None:
        text = dumps(scenario("defaults.mptcp=caia-v0.4", "flows.0.mptcp=false"))
        assert '[defaults.mptcp]\nprofile = "caia-v0.4"' in text
        assert "[flows.mptcp]\nenabled = false" in text


class TestList:
    def test_every_profile_has_a_sentence(self) -> None:
        assert list(SUMMARIES) == list(PROFILES)
        for sentence in SUMMARIES.values():
            assert sentence
            assert "\n" not in sentence

    @pytest.mark.parametrize("arguments", [["list"], ["list", "profile"]])
    def test_profiles_are_shown(self, arguments: list[str]) -> None:
        shown = CliRunner().invoke(app, arguments).stdout
        for name, sentence in SUMMARIES.items():
            (line,) = [line for line in shown.splitlines() if line.split()[:1] == [name]]
            assert sentence[:30] in line
        assert ("droptail" in shown) == (len(arguments) == 1)

    def test_schedulers_and_path_managers_are_shown(self) -> None:
        shown = CliRunner().invoke(app, ["list"]).stdout
        for name in ("minrtt", "roundrobin", "endpoints", "add_addr_accepted", "ndiffports"):
            assert name in shown

    def test_a_wrong_family_is_told_of_the_profiles(self) -> None:
        assert "did you mean 'profile'?" in CliRunner().invoke(app, ["list", "profiles"]).stderr
