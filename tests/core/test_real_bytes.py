"""Connections that carry what their applications write, byte for byte (``payload = "bytes"``)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import IntegrityError, LocalProtocolError
from mptcpsim.core.payload import pattern
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import PORT, Pair

BYTES: dict[str, Any] = {"payload": "bytes"}
TCP = TcpConfig(payload="bytes")


def two_paths(version: int = 1, tcp: dict[str, Any] | None = None, **fields: Any) -> tuple[Any, Any]:
    """Return the configurations of a client that opens a second subflow, and of its server."""
    versions = (version,) if version else (0,)
    plan = Plan(established=[OpenSubflow(C2, S2, PORT)])
    tcp = BYTES | (tcp or {})
    client = mptcp(plan, tcp=tcp, versions=versions, **fields)
    return client, mptcp(tcp=tcp, versions=versions, **fields)


def mptcp_pair(
    version: int = 1, *, losses: float = 0.0, fields: dict[str, Any] | None = None, **options: Any
) -> MptcpPair:
    """Return two ends with two paths between them."""
    client, server = two_paths(version, **(fields or {}))
    options.setdefault("delays", {(C1, S1): 10 * MS, (C2, S2): 12 * MS})
    return MptcpPair(
        client,
        server,
        client_addresses=(C1, C2),
        server_addresses=(S1, S2),
        losses={(C1, S1): losses, (C2, S2): losses},
        **options,
    )


class End:
    """One end: what it has still to write, and what it has read."""

    def __init__(self, connection: Any, data: bytes, sizes: Iterable[int]) -> None:
        self.connection = connection
        self.data = memoryview(data)
        self.sizes = list(sizes) or [1 << 20]
        self.got = bytearray()
        self._turn = 0

    def act(self, now: int) -> None:
        """Write and read what is possible, in pieces of the sizes in turn."""
        connection = self.connection
        while self.data and connection.writable and not connection.error:
            done = connection.write(self.data[: self._size()], now)
            self.data = self.data[done:]
        if not self.data:
            connection.close(now)
        while connection.readable:
            self.got += connection.read_bytes(self._size(), now)

    def _size(self) -> int:
        self._turn += 1
        return self.sizes[self._turn % len(self.sizes)]


def kept(connection: Any) -> tuple[int, int]:
    """Return how many bytes the two stores of a connection hold."""
    return len(connection.sent_bytes), len(connection.received_bytes)


def exchange(
    pair: Pair, up: bytes, down: bytes, sizes: Iterable[int] = (), limit: int = 3000 * SECOND
) -> tuple[Any, Any]:
    """Send bytes both ways at a time and close; return the connections when both ends are CLOSED."""
    client, server = pair.establish()
    ends = [End(client, up, sizes), End(server, down, sizes)]
    until = pair.now + limit
    while not (client.closed and server.closed):
        for end in ends:
            end.act(pair.now)
        pair.pump()
        if pair.next_event() > until or not pair.step():
            break
    for end in ends:
        end.act(pair.now)
    assert (client.error, server.error) == ("", "")
    assert sha256(ends[0].got).digest() == sha256(down).digest()
    assert sha256(ends[1].got).digest() == sha256(up).digest()
    for connection in (client, server):
        assert connection.closed
        assert kept(connection) == (0, 0)
    return client, server


def some_bytes(count: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(count)


# --- Both ways, TCP and MPTCP ----------------------------------------------------------------------


@pytest.mark.parametrize("encode", [False, True])
def test_tcp_carries_bytes_both_ways(encode: bool) -> None:
    pair = Pair(TCP, TCP, encode=encode)
    exchange(pair, some_bytes(300_000), some_bytes(100_001, 8))
    data = [packet for _, packet in pair.segments("c>s") if packet.length]
    assert data[0].payload == some_bytes(300_000)[: data[0].length]


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("version", [0, 1])
def test_mptcp_carries_bytes_both_ways(version: int, checksum: bool, encode: bool) -> None:
    pair = mptcp_pair(version, fields={"checksum": checksum, "scheduler": "roundrobin"}, encode=encode)
    client, _ = exchange(pair, some_bytes(700_000), some_bytes(100_001, 8))
    assert not client.is_plain
    assert [tcp.sender.sent_bytes > 10_000 for tcp in client.subflows] == [True, True]


# --- Mistakes of the application --------------------------------------------------------------------


def test_bytes_on_a_connection_that_carries_the_pattern() -> None:
    """The message names the remedy."""
    pair = Pair()
    client, _ = pair.establish()
    with pytest.raises(LocalProtocolError, match=r'cannot write bytes: .* set payload = "bytes"'):
        client.write(b"hello", pair.now)
    with pytest.raises(LocalProtocolError, match=r'cannot read bytes: .* set payload = "bytes"'):
        client.read_bytes(100, pair.now)


def test_bytes_to_an_end_that_expects_the_pattern() -> None:
    pair = Pair(TCP)
    client, _ = pair.establish()
    client.write(b"hello", pair.now)
    with pytest.raises(IntegrityError, match=r'if its application writes bytes: .* set payload = "bytes"'):
        pair.run(pair.now + SECOND)


@pytest.mark.parametrize("carries", [(True, False), (False, True), (True, True)])
def test_counts_are_bytes_of_the_pattern(carries: tuple[bool, bool]) -> None:
    """An end that carries bytes and one that does not understand each other, if only counts are written."""
    pair = Pair(*(TCP if bytes_ else TcpConfig() for bytes_ in carries))
    client, server = pair.establish()
    for connection in (client, server):
        connection.write(50_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    for connection, bytes_ in zip((client, server), carries, strict=True):
        assert connection.readable == 50_000
        if bytes_:
            assert connection.read_bytes(60_000, pair.now) == pattern(0, 50_000)
