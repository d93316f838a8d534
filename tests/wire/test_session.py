"""What may be said of a connection, and what it becomes."""

from __future__ import annotations

import pytest

import mptcpsim.congestion
from mptcpsim.wire.session import FlowSettings, WireInputError, flow_config, parse_flow

assert mptcpsim.congestion


def test_words_become_settings() -> None:
    found = parse_flow("profile=rfc8684 rcvbuf=64KiB nodelay congestion=reno sndbuf=1MiB", FlowSettings())
    assert found == FlowSettings("rfc8684", 65536, 1 << 20, "reno", True)
    config = flow_config(found, "10.2.0.1 subflow")
    assert config.payload == "bytes"
    assert (config.receive_buffer, config.send_buffer, config.nagle) == (65536, 1 << 20, False)
    assert config.congestion == "reno"
    assert config.mptcp.profile == "rfc8684"
    assert config.mptcp.path_manager_parameters["endpoints"] == "10.2.0.1 subflow"


def test_plain_tcp() -> None:
    assert not flow_config(parse_flow("profile=tcp", FlowSettings()), "").mptcp.enabled


def test_what_is_not_said_is_as_before() -> None:
    base = FlowSettings(receive_buffer=4096)
    assert parse_flow("nodelay", base) == FlowSettings(receive_buffer=4096, nodelay=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("profil=tcp", r"'profil' is no setting; did you mean 'profile'"),
        ("rcvbuf", r"write rcvbuf=64KiB"),
        ("nodelay=1", r"write nodelay"),
        ("profile=linux", r"profile 'linux' is not known"),
        ("profile=caia-v0.51", r"speaks version 0 of MPTCP, which no Linux kernel does"),
        ("congestion=bbr", r"unknown congestion 'bbr'"),
        ("rcvbuf=64", r"rcvbuf"),
        ("rcvbuf=many", r"rcvbuf: "),
    ],
)
def test_what_is_wrong_is_named(words: str, message: str) -> None:
    with pytest.raises(WireInputError, match=message):
        parse_flow(words, FlowSettings())
