"""Flows by a pattern."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mptcpsim import ScenarioError, loads
from mptcpsim.scenario.patterns import PATTERNS
from mptcpsim.streams import stream

TREE = """
title = "t"
duration = "1s"
[topology]
generator = "fat-tree"
k = 4
[[flows]]
name = "all"
bytes = "1MB"
"""


def pairs(text: str, *overrides: str) -> list[tuple[str, str]]:
    return [(flow.client, flow.server) for flow in loads(text, overrides=overrides).flows]


@given(st.integers(2, 40), st.integers(0, 1000))
def test_a_permutation_is_a_derangement(count: int, seed: int) -> None:
    hosts = [f"h{number}" for number in range(count)]
    found = list(PATTERNS["permutation"](hosts, stream(seed, "x"), {}))
    assert [client for client, _ in found] == hosts
    assert sorted(server for _, server in found) == sorted(hosts)
    assert all(client != server for client, server in found)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.integers(0, 1000))
def test_nobody_sends_to_its_own_group(groups: list[int], seed: int) -> None:
    group = {f"h{number}": of for number, of in enumerate(groups)}
    assume(max(groups.count(of) for of in groups) * 2 <= len(groups))
    found = list(PATTERNS["permutation"](list(group), stream(seed, "x"), group))
    assert sorted(server for _, server in found) == sorted(group)
    assert all(group[client] != group[server] for client, server in found)


def test_a_permutation_follows_the_seed() -> None:
    text = TREE + 'pattern = "permutation"'
    assert len(pairs(text)) == 16
    assert pairs(text) == pairs(text)
    assert pairs(text) != pairs(text, "seed=2")
    scenario = loads(text, overrides=["flows.all.bytes=2MB"])
    assert scenario.flows[3].name == f"all-{scenario.flows[3].client}"
    assert {flow.bytes for flow in scenario.flows} == {2_000_000}  # type: ignore[union-attr]


def test_incast_and_all_to_all_have_a_port_for_each_flow() -> None:
    incast = loads(TREE + 'pattern = "incast"\nserver = "h0-0-0"\nhosts = ["h0-*", "h1-1-1"]')
    assert [flow.client for flow in incast.flows] == ["h0-0-1", "h0-1-0", "h0-1-1", "h1-1-1"]
    assert [flow.port for flow in incast.flows] == [5001, 5002, 5003, 5004]
    every = loads(TREE + 'pattern = "all-to-all"\nhosts = ["h0-*"]\nport = 80')
    assert len({(flow.client, flow.server) for flow in every.flows}) == 12
    assert len({(flow.server, flow.port) for flow in every.flows}) == 12


def test_other_flows_keep_their_names() -> None:
    text = TREE + 'pattern = "permutation"\n[[flows]]\nclient = "h0-0-0"\nserver = "h1-0-0"\nport = 7'
    assert loads(text).flows[-1].name == "flow1"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('pattern = "permutations"', "flows.0.pattern: unknown pattern 'permutations'; did you mean"),
        ("pattern = []", "flows.0.pattern: unknown pattern []"),
        ('pattern = "permutation"\nclient = "x"', "flows.0.client: the pattern permutation chooses it"),
        ('pattern = "permutation"\nhosts = ["h0-0-0"]', "flows.0.hosts: a permutation needs two hosts"),
        ('pattern = "permutation"\nhosts = "h"', "flows.0.hosts: write a list of hosts"),
        ('pattern = "permutation"\nhosts = ["x*"]', "flows.0.hosts: no host is called 'x*'"),
        ('pattern = "permutation"\ngroups = ["*"]', "flows.0.groups: one group has more than half"),
        ('pattern = "permutation"\ngroups = 7', "flows.0.groups: write a list of wildcards"),
        ('pattern = "incast"', "flows.0: the key 'server' is missing"),
        ('pattern = "incast"\nserver = "nobody"', "flows.0.server: no host is called 'nobody'"),
        ('pattern = "permutation"\nbites = 3', "line 11: flows.0.bites: unknown key 'bites'; did you mean"),
        ('pattern = "permutation"\nport = "x"', "line 11: flows.0.port: 'x' is not a whole number"),
    ],
)
def test_a_wrong_pattern_is_one_message(keys: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(TREE + keys)
    assert said in str(caught.value)


def test_what_is_no_list_is_left_to_the_model() -> None:
    wrong: Any = TREE.replace("[[flows]]", "[flows]") + 'pattern = "permutation"'
    with pytest.raises(ScenarioError, match="flows: write a list here"):
        loads(wrong)
