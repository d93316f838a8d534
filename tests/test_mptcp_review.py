"""Regressions of MPTCP connections: ends, aborts and windows in combinations that are easily forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from mptcp_pair import (
    C1,
    C2,
    C3,
    PORT,
    S1,
    MptcpPair,
    Plan,
    act,
    carries,
    drop,
    joining,
    mptcp,
    transfer,
)

from mptcpsim.core.data_states import M_CLOSED, M_FIN_WAIT_2
from mptcpsim.core.mptcp_options import MpFastclose
from mptcpsim.core.segment import RST, SYN, Segment
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND


def connected(pair: MptcpPair) -> tuple[Any, Any]:
    """Connect, send a little, and return both ends."""
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    return client, server


# --- The end ------------------------------------------------------------------------------------


def test_subflow_that_joins_a_half_closed_connection_is_closed_with_it() -> None:
    pair = joining()
    client, server = pair.establish_subflows(2)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    assert client.state == M_FIN_WAIT_2
    act(pair, client, OpenSubflow(C3, S1, PORT))
    pair.run(pair.now + SECOND)
    assert len(client.open_subflows()) == 3
    transfer(pair, server, client, 100_000)
    server.close(pair.now)
    pair.run(pair.now + 300 * SECOND)
    assert client.closed
    assert server.closed
    assert not client.error
    assert not server.error


# --- Aborts -------------------------------------------------------------------------------------


def test_data_fin_that_crosses_a_fast_close() -> None:
    pair = MptcpPair(mptcp(fastclose="ack"), mptcp())
    client, server = connected(pair)
    server.close(pair.now)
    client.abort(pair.now)
    pair.run(pair.now + 10 * SECOND)
    assert client.closed
    assert server.closed
    assert client.error == "aborted"


def test_nothing_new_is_sent_after_a_fast_close_that_is_not_answered() -> None:
    pair = MptcpPair(mptcp(fastclose="ack"), mptcp(), hook=drop(carries(MpFastclose, "c>s")))
    client, server = connected(pair)
    server.eager = True
    client.write(100_000, pair.now)
    client.close(pair.now)
    client.abort(pair.now)
    sent = client.outbound.nxt
    pair.run(pair.now + 60 * SECOND)
    assert client.closed
    assert client.outbound.nxt == sent
    assert server.delivered == sent - 1


@pytest.mark.parametrize("variant", ["ack", "rst"])
def test_abort_opens_no_subflow_and_moves_no_data(variant: str) -> None:
    plan = Plan(
        established=[OpenSubflow(C2, S1, PORT)],
        subflow_closed=lambda view, info: [OpenSubflow(C3, S1, PORT)],
    )
    pair = MptcpPair(mptcp(plan, fastclose=variant), mptcp(), client_addresses=(C1, C2, C3))
    client, _ = pair.establish_subflows(2)
    client.write(50_000, pair.now)
    pair.pump()
    before = len(pair.wire)
    client.abort(pair.now)
    pair.run(pair.now + 60 * SECOND)
    after = [p for _, way, p in pair.wire[before:] if way == "c>s" and isinstance(p, Segment)]
    assert not any(segment.flags & SYN for segment in after)
    assert not any(segment.length for segment in after)
    assert any(segment.flags & RST for segment in after)
    assert client.closed
    assert client.state == M_CLOSED


def test_abort_after_the_end_is_no_failure() -> None:
    pair = MptcpPair()
    client, server = connected(pair)
    client.close(pair.now)
    server.close(pair.now)
    pair.run(pair.now + 300 * SECOND)
    client.abort(pair.now)
    assert client.closed
    assert not client.error
