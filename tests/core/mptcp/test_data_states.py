"""The states of a connection at the data level: the table, and the one method that consults it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mptcpsim.core.mptcp
from mptcpsim.core.mptcp.data_states import (
    DATA_STATE_NAMES,
    DATA_TRANSITIONS,
    ENDINGS,
    M_CLOSED,
    M_INIT,
)
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import MS, MptcpPair, counted
from tests.core.mptcp.two_paths import ready

MPTCP = Path(mptcpsim.core.mptcp.__file__).parent


def test_the_table() -> None:
    """Every state is reached from M_INIT, can end in any of the ways to end, and M_CLOSED is left by none."""
    states = set(range(len(DATA_STATE_NAMES)))
    reached = {M_INIT}
    for _ in DATA_TRANSITIONS:
        reached |= {after for (before, _), after in DATA_TRANSITIONS.items() if before in reached}
    assert reached == states
    assert {before for before, _ in DATA_TRANSITIONS} == states - {M_CLOSED}
    for state in states - {M_CLOSED}:
        assert [DATA_TRANSITIONS[state, cause] for cause in ENDINGS] == [M_CLOSED] * len(ENDINGS)


def test_the_state_changes_in_one_method() -> None:
    places = []
    for path in sorted(MPTCP.glob("*.py")):
        for method in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(method, ast.FunctionDef):
                continue
            for node in ast.walk(method):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr == "state"
                    and isinstance(node.ctx, ast.Store)
                ):
                    places.append((path.name, method.name))
    assert sorted(places) == [("closing.py", "__init__"), ("closing.py", "_move")]


# --- A time-out in each state -------------------------------------------------------------------------


def silence(pair: MptcpPair) -> None:
    """Let no packet arrive from now on."""
    pair.hook = lambda way, packet, now: []


def in_estab(pair: MptcpPair, client: Any, server: Any) -> None:
    """Neither end has closed."""


def in_fin_wait_1(pair: MptcpPair, client: Any, server: Any) -> None:
    silence(pair)
    client.close(pair.now)
    pair.pump()


def in_fin_wait_2(pair: MptcpPair, client: Any, server: Any) -> None:
    client.close(pair.now)
    pair.run(pair.now + 100 * MS)


def in_close_wait(pair: MptcpPair, client: Any, server: Any) -> None:
    server.close(pair.now)
    pair.run(pair.now + 100 * MS)


def in_closing(pair: MptcpPair, client: Any, server: Any) -> None:
    for end in (client, server):
        end.close(pair.now)
    # Half a round trip: the DATA_FINs have crossed, and are not acknowledged.
    pair.run(pair.now + 10 * MS)


def in_last_ack(pair: MptcpPair, client: Any, server: Any) -> None:
    in_close_wait(pair, client, server)
    in_fin_wait_1(pair, client, server)


def in_time_wait(pair: MptcpPair, client: Any, server: Any) -> None:
    in_fin_wait_2(pair, client, server)
    server.close(pair.now)
    pair.run(pair.now + 10 * MS)


def in_fastclose_wait(pair: MptcpPair, client: Any, server: Any) -> None:
    silence(pair)
    client.abort(pair.now)
    pair.pump()


WAYS: dict[str, Callable[[MptcpPair, Any, Any], None]] = {
    "M_ESTAB": in_estab,
    "M_FIN_WAIT_1": in_fin_wait_1,
    "M_FIN_WAIT_2": in_fin_wait_2,
    "M_CLOSE_WAIT": in_close_wait,
    "M_CLOSING": in_closing,
    "M_LAST_ACK": in_last_ack,
    "M_TIME_WAIT": in_time_wait,
    "M_FASTCLOSE_WAIT": in_fastclose_wait,
}


@pytest.mark.parametrize("subflows", [1, 2])
@pytest.mark.parametrize("state", WAYS)
def test_a_time_out_ends_every_state(state: str, subflows: int) -> None:
    pair, client, server = ready(1, subflows, client={"fastclose": "ack"})
    WAYS[state](pair, client, server)
    assert DATA_STATE_NAMES[client.state] == state
    pair.hook = None
    client.ending.time_out("the peer is silent", pair.now)
    assert client.state == M_CLOSED
    assert client.closed
    assert client.error == "timed out: the peer is silent"
    assert client.ended
    pair.run(pair.now + 30 * SECOND)
    assert client.state == M_CLOSED
    assert [event.detail for event in pair.client.events if event.what == "CLOSED"] == [client.error]
    assert counted(pair.client, "MPCurrEstab") == (0,)
