"""An infinite mapping, and what else its segment says (RFC 8684 section 3.7)."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp_options import Dss
from mptcpsim.core.payload import pattern
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import C1, MS, forge
from tests.core.mptcp.two_paths import ready, resets_anywhere

VERSIONS = pytest.mark.parametrize("version", [1, 0])


def infinite(client: Any, data_ack: int) -> Dss:
    """Return the infinite mapping of a client that has nothing outstanding."""
    out, inbound = client.outbound, client.inbound
    return Dss(8, inbound.absolute(data_ack), 8, (out.idsn + out.nxt) % 2**64, client.subflows[0].sender.end)


@VERSIONS
@pytest.mark.parametrize("acked", [0, 700, 1_400, 5_000, 20_000])
@pytest.mark.parametrize("text", [0, 10])
def test_an_infinite_mapping_that_acknowledges_data(version: int, acked: int, text: int) -> None:
    """The server has data in flight, and the segment acknowledges none of it, some or all, at both levels."""
    pair, client, server = ready(version, 1)
    server.write(20_000, pair.now)
    pair.hook = lambda way, packet, now: []
    pair.pump()
    pair.hook = None
    assert server.outbound.nxt > 10_000
    acked = min(acked, server.outbound.nxt - 1)
    tcp = client.subflows[0]
    segment = forge(pair, client, dss=infinite(client, 1 + acked), ack=tcp.receiver.nxt + acked, length=text)
    segment.payload = pattern(client.outbound.nxt - 1, text)
    pair.run(pair.now + 15 * MS)
    assert not resets_anywhere(pair)
    assert server.is_plain
    assert server.delivered == client.written + text
    assert server.acked == acked


@VERSIONS
def test_an_infinite_mapping_that_acknowledges_the_data_fin(version: int) -> None:
    """Our stream is over; that of the peer goes on as plain TCP."""
    pair, client, server = ready(version, 1)
    pair.hook = lambda way, packet, now: []
    server.write(1_000, pair.now)
    server.close(pair.now)
    pair.pump()
    pair.hook = None
    tcp = client.subflows[0]
    forge(pair, client, dss=infinite(client, 1_002), ack=tcp.receiver.nxt + 1_000)
    pair.run(pair.now + 15 * MS)
    assert not resets_anywhere(pair)
    assert server.is_plain
    assert server.acked == 1_000
    segment = forge(pair, client, ack=tcp.receiver.nxt + 1_001, length=10)
    segment.payload = pattern(client.outbound.nxt - 1, 10)
    pair.run(pair.now + 15 * MS)
    assert server.delivered == client.written + 10


@VERSIONS
def test_data_that_another_subflow_has_brought(version: int) -> None:
    """What was acknowledged at the connection, and not on the subflow that is left, leaves no line."""
    pair, client, server = ready(version, 2)
    pair.cut(C1)
    server.write(5_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert server.acked == 5_000
    assert server.subflow_of(0).mappings.outstanding()
    for end in (client, server):
        end.subflows[1].abort(pair.now)
    pair.mend()
    forge(pair, client, number=0, dss=infinite(client, server.outbound.nxt))
    pair.run(pair.now + 15 * MS)
    assert not server.is_plain
    assert server.subflows[0].error.startswith("an infinite mapping that does not fit")
