"""What a message suggests for a word that nobody knows."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.flows import BulkFlow, RequestResponseFlow
from mptcpsim.scenario.links import LinkSpec
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.mptcp_settings import MptcpSettings
from mptcpsim.scenario.nodes import HostSpec
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.suggest import MOST_NAMES, did_you_mean, likeness

#: Words that people know a key by, and the key.
MEANT: list[tuple[type[BaseModel], str, str]] = [
    (TcpSettings, "min_rto", "rto_min"),
    (TcpSettings, "rtoMin", "rto_min"),
    (TcpSettings, "RTO-max", "rto_max"),
    (TcpSettings, "initial_rto", "rto_initial"),
    (TcpSettings, "cc", "congestion"),
    (TcpSettings, "congestion_control", "congestion"),
    (TcpSettings, "rcvbuf", "receive_buffer"),
    (TcpSettings, "recieve_buffer", "receive_buffer"),
    (TcpSettings, "tcp_wmem", "send_buffer"),
    (TcpSettings, "initial_cwnd", "initial_window_segments"),
    (TcpSettings, "tcp_retries2", "data_retries"),
    (TcpSettings, "recieve_window", "receive_buffer"),
    (TcpSettings, "nodelay", "nagle"),
    (TcpSettings, "delack", "delayed_ack"),
    (MptcpSettings, "pm", "path_manager"),
    (MptcpSettings, "subflows", "max_subflows"),
    (MptcpSettings, "close_time", "close_timeout"),
    (MptcpSettings, "retries_add_addr", "add_addr_retries"),
    (BulkFlow, "direction", "reverse"),
    (BulkFlow, "src", "client"),
    (BulkFlow, "destination", "server"),
    (BulkFlow, "size", "bytes"),
    (BulkFlow, "rcvbuf", "tcp.receive_buffer"),
    (RequestResponseFlow, "interval", "every"),
    (LinkSpec, "bandwidth", "rate"),
    (LinkSpec, "bandwith", "rate"),
    (LinkSpec, "bandwidht", "rate"),
    (LinkSpec, "latency", "delay"),
    (LinkSpec, "latancy", "delay"),
    (LinkSpec, "buffer", "queue"),
    (LinkSpec, "aqm", "qdisc"),
    (LinkSpec, "plr", "loss"),
    (LinkSpec, "direction", "forward"),
    (HostSpec, "receive_buffer", "tcp.receive_buffer"),
    (HostSpec, "scheduler", "mptcp.scheduler"),
    (HostSpec, "address", "interfaces"),
    (Scenario, "time", "duration"),
    (Scenario, "event", "events"),
]


@pytest.mark.parametrize(("model", "written", "meant"), MEANT)
def test_a_key_is_found_by_what_it_is_called_elsewhere(
    model: type[BaseModel], written: str, meant: str
) -> None:
    table = meant.rpartition(".")[0]
    keys = type(model.model_fields[table].default).model_fields if table else ()
    below = [f"{table}.{key}" for key in keys]
    said = did_you_mean(written, model.model_fields, below)
    assert said.startswith("did you mean ")
    assert repr(meant) in said


@pytest.mark.parametrize("model", [TcpSettings, MptcpSettings, BulkFlow, LinkSpec, HostSpec, Scenario])
@given(word=st.text(string.ascii_lowercase + "_", max_size=20))
def test_of_an_unknown_word_all_keys_are_listed(model: type[BaseModel], word: str) -> None:
    """Unless one of them is sure to be meant: no list ends before the key that was meant."""
    said = did_you_mean(word, model.model_fields)
    if "known are" in said:
        assert said.rstrip(")").partition("known are ")[2].split(", ") == list(model.model_fields)
    else:
        assert said.startswith("did you mean '")


@given(st.integers(65, 2000), st.data())
def test_of_very_many_names_those_most_alike_are_listed(many: int, data: st.DataObject) -> None:
    names = [f"host-{number}" for number in range(many)]
    meant = data.draw(st.sampled_from(names))
    said = did_you_mean(f"{meant}-of-the-left-building", names)
    listed = said.partition("known are ")[2].partition(" and ")[0].split(", ")
    assert len(listed) == MOST_NAMES
    assert meant in listed
    assert f" and {many - MOST_NAMES} more" in said


@given(st.text(max_size=30), st.text(max_size=30))
def test_likeness_is_a_likeness(one: str, other: str) -> None:
    assert 0.0 <= likeness(one, other) <= 1.0
    if one.isascii() and one.isalnum():
        assert likeness(one, one) == 1.0


def test_a_letter_that_is_wrong() -> None:
    for written in ("dealy", "delya", "dely", "dellay", "deley", "elay"):
        assert did_you_mean(written, ["rate", "delay", "queue"]) == "did you mean 'delay'?"
    assert did_you_mean("delta", ["rate", "delay", "queue"]) == (
        "did you mean 'delay'? (known are rate, delay, queue)"
    )
    assert did_you_mean("x", []) == "there are none"
    assert did_you_mean("x", ["rate", "delay"]) == "known are rate, delay"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tcp = { min_rto = '1s' }", "flows.0.tcp.min_rto: unknown key 'min_rto'; did you mean 'rto_min'?"),
        ("direction = 'down'", "flows.0.direction: unknown key 'direction'; did you mean 'reverse'?"),
        ("mptcp = { schedul = 'x' }", "did you mean 'scheduler'?"),
        ("congestion = 'reno'", "did you mean 'tcp.congestion', 'client_tcp.congestion' or"),
    ],
)
def test_in_a_scenario(line: str, words: str) -> None:
    text = (
        'hosts.a.interfaces.e = "10.0.0.1/24"\nhosts.b.interfaces.e = "10.0.0.2/24"\n'
        f'[[links]]\nends = ["a:e", "b:e"]\n[[flows]]\nclient = "a"\nserver = "b"\n{line}\n'
    )
    with pytest.raises(ScenarioError) as failure:
        loads(text)
    assert words in str(failure.value)
