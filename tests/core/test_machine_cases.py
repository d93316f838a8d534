"""What the machines found in `make fuzz`, command by command: each case once failed the check that it names.

The commands are those that Hypothesis printed, so a case is kept as it was found. What was mended has
tests of its own beside the rest of its kind; these show that the machine finds nothing there any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from mptcpsim.units import NEVER
from tests.core.mptcp.test_machine import (
    ChecksumMachine,
    EncodedMptcpMachine,
    Version0Machine,
    Version1Machine,
)
from tests.core.tcp.test_machine import NewRenoMachine
from tests.core.tcp.transfer_machine import TransferMachine

Command = tuple[str, dict[str, Any]]

BOTH_WAYS = ("c>s", "s>c")
_KEEPALIVE = {"keepalive_idle": 20_000_000_000, "keepalive_interval": 5_000_000_000}
_TCP = {"receive_buffer_max": 1_048_576, **_KEEPALIVE}


def do(name: str, **arguments: Any) -> Command:
    """Return a command of a machine."""
    return name, arguments


def mptcp(joins: int = 0, announces: int = 0, follows: int = 0, **fields: Any) -> dict[str, Any]:
    """Return the MPTCP configuration of one end, with what Hypothesis draws unless it has a reason."""
    manager = {"joins": joins, "announces": announces, "follows": follows}
    return {
        "profile": "rfc8684",
        "mapping_segments": 1,
        "max_subflows": 4,
        "subflow_retries": 7,
        "add_addr_timeout": 2_000_000_000,
        "path_manager_parameters": manager,
        **fields,
    }


def opened(**changes: Any) -> Command:
    """Return the first command of an MPTCP machine."""
    arguments: dict[str, Any] = {
        "tcp": (_TCP, _TCP),
        "mptcp": (mptcp(), mptcp()),
        "mtu": 1500,
        "delays": (50, 50, 50, 50),
        "fates": [],
        "first": 5,
        "ending": "close",
        "meddles": False,
        "stripped": None,
        "eager": (True, True),
    }
    return "open", arguments | changes


def tcp_opened(client: dict[str, Any], server: dict[str, Any], **changes: Any) -> Command:
    """Return the first command of a TCP machine."""
    arguments: dict[str, Any] = {
        "client": _TCP | client,
        "server": _TCP | server,
        "mtu": 1500,
        "delay": 50,
        "both_open": False,
        "fates": (),
        "first": 5,
        "ending": "close",
        "eager": (True, True),
    }
    return "open", arguments | changes


CASES: dict[str, tuple[Any, ...]] = {
    # The server became plain though the client could not know, and took the FIN of its subflow for the end.
    "end of stream before its end": (
        Version1Machine,
        opened(ending="stripped", meddles=True),
        do("elapse", length=60),
        do("kill_path", path=(0,), wait=0, ways=("c>s",)),
        do("write", end=0, odd=0, segments=15, wait=0),
        do("strip", count=NEVER, path=(0,), wait=0, ways=BOTH_WAYS, what="all"),
        do("write_spoilt", back=[], end=1, fates=[], path=(0,), segments=2, wait=0),
    ),
    # The same, and the server took for its stream what the client had repeated at the connection.
    "IntegrityError": (
        Version1Machine,
        opened(ending="stripped", meddles=True),
        do("elapse", length=60),
        do("kill_path", path=(0,), wait=0, ways=BOTH_WAYS),
        do("strip", count=5, path=(0,), wait=0, ways=BOTH_WAYS, what="all"),
        do("write_spoilt", back=[], end=1, fates=[], path=(0,), segments=2, wait=0),
    ),
    # A keepalive was answered with an ACK by who still waited for the third ACK of the join.
    "subflow reset without cause": (
        ChecksumMachine,
        opened(
            tcp=(_TCP | {"keepalive": True}, _TCP),
            mptcp=(mptcp(joins=1, checksum=True), mptcp(checksum=True)),
            delays=(50, 50, 400, 50),
        ),
        do("black_hole", length=60, wait=0, ways=BOTH_WAYS),
        do("spoil_checksum", count=1, path=(0,), wait=0, way="c>s"),
        do("spoil_checksum", count=1, path=(0,), wait=250, way="c>s"),
        do("black_hole", length=250, wait=0, ways=("c>s",)),
        do("black_hole", length=30_000, wait=0, ways=BOTH_WAYS),
        do("noise", path=(0,), percent=0, seed=0, wait=7_000, way="c>s"),
    ),
    # By reference the third ACK for an earlier SYN/ACK was taken for that of the join made by a late SYN.
    "run by reference differs": (
        EncodedMptcpMachine,
        opened(
            tcp=(_TCP, _TCP | {"timestamps": False}),
            mptcp=(mptcp(joins=1, announces=1), mptcp()),
            delays=(50, 50, 400, 50),
        ),
        do("dribble", end=0, sizes=[1], wait=0),
        do(
            "write_spoilt",
            back=["twice, once late"],
            end=1,
            fates=["drop"],
            path=(2,),
            segments=2,
            wait=1_000,
        ),
        do("close", ends=(1,), wait=0),
        do("close", ends=(1,), wait=0),
        do("spoil_checksum", count=1, path=(0,), wait=1_000, way="c>s"),
    ),
    # Window probes were answered, by segments too old to name a window.
    "failed without cause: window probes": (
        NewRenoMachine,
        tcp_opened(
            {"receive_buffer": 1, "sack": False, "data_retries": 4},
            {"receive_buffer": 1, "sack": False, "zero_window_probe": "empty"},
            delay=400,
        ),
        do("elapse", length=1),
        do("elapse", length=1),
        do("lose_window_updates", muted=True, wait=0, way="s>c"),
        do("elapse", length=1),
        do("elapse", length=1),
        do("elapse", length=1),
        do("elapse", length=1_000),
        do("dribble", end=1, sizes=[1, 1, 8], wait=0),
        do("close_both", wait=0),
        do("close_both", wait=250),
        do("black_hole", length=60, wait=7_000, ways=BOTH_WAYS),
        do("pause", end=0, wait=0),
        do("elapse", length=1_000),
        do("close_both", wait=0),
        do("close", end=0, wait=1_000),
        do("black_hole", length=60, wait=250, ways=BOTH_WAYS),
        do("events", count=33),
    ),
    # Each of 2,048 tiny segments that arrived at one instant was acknowledged, as is right: the check
    # had earned for them when they were sent, and could not save up so much. Slow start from one segment
    # took more than twice as long to get there as this initial window does.
    "more packets than reasons": (
        Version1Machine,
        opened(
            tcp=(_TCP | {"mss": 1, "ack_every": 1}, _TCP | {"initial_window_segments": 501}),
            mptcp=(mptcp(), mptcp(profile="linux-6.18")),
            first=0,
        ),
        do("elapse", length=250),
        *(do("write", end=1, odd=0, segments=1_000, wait=0) for _ in range(3)),
        do("write", end=1, odd=0, segments=507, wait=0),
        do("elapse", length=1_000),
    ),
    # The subflow had acknowledged what the connection then had no room for, and a fallback left it out.
    "IntegrityError: refused data": (
        ChecksumMachine,
        opened(
            tcp=(_TCP | {"mss": 1, "receive_buffer": 179, "window_scale": 10}, _TCP),
            mptcp=(
                mptcp(joins=1, follows=1, profile="linux-6.18", checksum=True),
                mptcp(joins=1, profile="linux-6.18", checksum=True),
            ),
            delays=(0, 50, 0.1, 0),
            fates=["twice", "drop", "late"],
            meddles=True,
            eager=(False, True),
        ),
        do("spoil_checksum", count=1, path=(0,), wait=7_000, way="c>s"),
        do("write", end=1, odd=0, segments=38, wait=0),
        do("spoil_checksum", count=1, path=(0, 2), wait=0, way="c>s"),
        do("write", end=0, odd=0, segments=2, wait=1),
    ),
    # The window was smaller than the rest of the data, so its override timer had to send it. That looked at
    # the first item to be sent again alone, which came from the only subflow left.
    "not CLOSED in the end": (
        Version0Machine,
        opened(
            tcp=(_TCP | {"receive_buffer": 18}, _TCP | {"nagle": False}),
            mptcp=(mptcp(joins=1, follows=1, profile="rfc6824"), mptcp(joins=1, profile="caia-v0.4")),
            delays=(5, 50, 0.1, 0.1),
        ),
        do("dribble", end=1, sizes=[28, 22, 31], wait=60),
        do("close", ends=(0, 1), wait=0),
        do("lose_address", end=0, second=False, wait=10),
    ),
    # The path took one subflow, and a command the other: what was acknowledged on that meanwhile was held
    # against it, as if what the path had lost before explained nothing.
    "failed without cause: no subflow is left": (
        Version1Machine,
        opened(
            tcp=(_TCP, _TCP | {"data_retries": 4}),
            mptcp=(mptcp(joins=1, follows=1), mptcp(joins=1, follows=1, profile="linux-6.18")),
            delays=(5, 0.1, 400, 0.1),
        ),
        do("announce", end=0, port=False, second=True, wait=60),
        do("announce", end=1, port=False, second=False, wait=250),
        do("kill_path", path=(0, 1, 2, 3), wait=60, ways=("s>c",)),
        do("write", end=0, odd=0, segments=2, wait=60),
        do("withdraw", end=0, second=True, wait=0),
        do("dribble", end=1, sizes=[1], wait=0),
        do("open_subflow", backup=False, end=1, path=0, wait=7_000),
    ),
    # The rests of a window went out 4 bytes at a time, and each ACK rounded the window up by as much.
    "too many events at an instant": (
        Version1Machine,
        opened(
            tcp=(_TCP | {"receive_buffer": 20_480, "window_scale": 3, "ack_every": 1}, _TCP),
            mptcp=(mptcp(profile="linux-6.18"), mptcp(profile="linux-6.18", fill_window=True)),
            mtu=9_000,
            delays=(0, 0, 0, 0),
            eager=(False, True),
            first=0,
        ),
        do("elapse", length=250),
        do("write", end=1, odd=0, segments=6, wait=0),
    ),
}


def play(state: TransferMachine, commands: Iterable[Command]) -> None:
    """Give a machine commands, one after the other."""
    for method, arguments in commands:
        getattr(state, method)(**arguments)
        state.check()


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    machine, *commands = CASES[name]
    state = machine()
    play(state, commands)
    state.teardown()
