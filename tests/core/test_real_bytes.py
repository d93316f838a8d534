"""Connections that carry what their applications write, byte for byte (``payload = "bytes"``)."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import encode as encoded
from mptcpsim.core.byte_store import PAGE
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import IntegrityError, LocalProtocolError
from mptcpsim.core.mptcp_options import Dss
from mptcpsim.core.payload import pattern
from mptcpsim.core.segment import ICMP_FRAGMENTATION_NEEDED, URG, IcmpError
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import NEVER, SECOND
from tests.core.mptcp.configs import config_of
from tests.core.mptcp.hooks import Seen, strip_mptcp
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair, counted, forge
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import PORT, Pair
from tests.profiles import examples

BYTES: dict[str, Any] = {"payload": "bytes"}
TCP = TcpConfig(payload="bytes")


def two_paths(version: int = 1, tcp: dict[str, Any] | None = None, **fields: Any) -> tuple[Any, Any]:
    """Return the configurations of a client that opens a second subflow, and of its server."""
    versions = (version,)
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


def converse(
    pair: Pair, client: Any, server: Any, up: bytes, down: bytes, sizes: Iterable[int] = ()
) -> list[End]:
    """Send bytes both ways at a time and close, until both ends are CLOSED or nothing happens any more."""
    ends = [End(client, up, sizes), End(server, down, sizes)]
    until = pair.now + 3000 * SECOND
    while not (client.closed and server.closed):
        for end in ends:
            end.act(pair.now)
        pair.pump()
        if pair.next_event() > until or not pair.step():
            break
    for end in ends:
        end.act(pair.now)
    return ends


def exchange(pair: Pair, up: bytes, down: bytes, sizes: Iterable[int] = ()) -> tuple[Any, Any]:
    """Do that; all arrives, and nothing is kept. Return the connections."""
    client, server = pair.establish()
    ends = converse(pair, client, server, up, down, sizes)
    assert (client.error, server.error) == ("", "")
    assert sha256(ends[0].got).digest() == sha256(down).digest()
    assert sha256(ends[1].got).digest() == sha256(up).digest()
    for connection in (client, server):
        assert connection.closed
        assert kept(connection) == (0, 0)
    return client, server


def exchange_more(pair: Pair, client: Any, server: Any) -> None:
    """The connection, on which the client has written and nothing was read, works."""
    known = client.written
    client.write(some_bytes(50_000), pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert server.read_bytes(1 << 20, pair.now)[known:] == some_bytes(50_000)


def some_bytes(count: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(count)


# --- Both ways, TCP and MPTCP ----------------------------------------------------------------------


@pytest.mark.parametrize("encode", [False, True])
def test_tcp_carries_bytes_both_ways(encode: bool) -> None:
    pair = Pair(TCP, TCP, encode=encode)
    exchange(pair, some_bytes(300_000), some_bytes(100_001, 8))
    data = [packet for _, packet in pair.segments("c>s") if packet.length]
    assert data[0].payload == some_bytes(300_000)[: data[0].length]
    # That is what a capture has of it, too.
    assert encoded(data[0]).endswith(data[0].payload)


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("version", [0, 1])
def test_mptcp_carries_bytes_both_ways(version: int, checksum: bool, encode: bool) -> None:
    pair = mptcp_pair(version, fields={"checksum": checksum, "scheduler": "roundrobin"}, encode=encode)
    client, _ = exchange(pair, some_bytes(700_000), some_bytes(100_001, 8))
    assert not client.is_plain
    assert [tcp.sender.sent_bytes > 10_000 for tcp in client.subflows] == [True, True]


def test_urgent_data_is_delivered_in_line() -> None:
    """Nothing is taken out of the stream (RFC 6093 section 4)."""

    def urge(way: str, packet: Any, now: int) -> list[Any]:
        if packet.length:
            packet = packet.clone()
            packet.flags |= URG
            packet.urgent = packet.length // 2
        return [packet]

    exchange(Pair(TCP, TCP, hook=urge, encode=True), some_bytes(50_000), some_bytes(20_000, 8))


@pytest.mark.parametrize("multipath", [False, True])
def test_a_path_with_a_smaller_mtu(multipath: bool) -> None:
    """What was sent is cut anew: each smaller segment has its own bytes."""

    def narrow(way: str, packet: Any, now: int) -> list[Any]:
        if packet.size <= 700:
            return [packet]
        error = IcmpError("10.0.0.254", packet, ICMP_FRAGMENTATION_NEEDED, 700)
        pair.inject(pair.sender(way), error)
        return []

    pair = mptcp_pair(hook=narrow) if multipath else Pair(TCP, TCP, hook=narrow)
    client, _ = exchange(pair, some_bytes(200_000), some_bytes(100_000, 8))
    assert client.subflows[0].mtu == 700


# --- Mistakes of the application --------------------------------------------------------------------


def test_bytes_on_a_connection_that_carries_the_pattern() -> None:
    """The message names the remedy."""
    pair = Pair()
    client, _ = pair.establish()
    with pytest.raises(LocalProtocolError, match=r'cannot write bytes: .* set payload = "bytes"'):
        client.write(b"hello", pair.now)
    with pytest.raises(LocalProtocolError, match=r'cannot read bytes: .* set payload = "bytes"'):
        client.read_bytes(100, pair.now)


def test_what_is_no_bytes_changes_nothing() -> None:
    pair = Pair(TCP, TCP)
    client, server = pair.establish()
    for wrong in ("hello", [1, 2], 1.5):
        with pytest.raises(TypeError):
            client.write(wrong, pair.now)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="cannot write -1 bytes"):
        client.write(-1, pair.now)
    assert client.write(b"", pair.now) == 0
    assert client.write(memoryview(array("H", [0x6568, 0x6C6C])), pair.now) == 4
    assert client.write(memoryview(b"o, world")[::1], pair.now) == 8
    pair.run(pair.now + SECOND)
    assert server.read_bytes(0, pair.now) == b""
    assert server.read_bytes(5, pair.now) == array("H", [0x6568, 0x6C6C]).tobytes() + b"o"
    with pytest.raises(LocalProtocolError, match="cannot read -1 bytes"):
        server.read_bytes(-1, pair.now)
    assert server.read_bytes(100, pair.now) == b", world"


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


# --- Of a byte that arrives twice the first copy counts ----------------------------------------------


WRONG = b"\xff"


def text(start: int, end: int) -> bytes:
    """Return the bytes of a stream that these tests write by hand."""
    return some_bytes(200, 9)[start:end]


def tcp_and_hundred() -> tuple[Pair, Any, Any]:
    """Return a TCP connection over which 100 bytes have gone, none of them read."""
    pair = Pair(TCP, TCP)
    client, server = pair.establish()
    client.write(text(0, 100), pair.now)
    pair.run(pair.now + SECOND)
    return pair, client, server


def arrives(pair: Pair, client: Any, start: int, payload: bytes) -> None:
    """Let bytes arrive that the client has not sent, at an offset of its stream."""
    segment = forge(pair, client, seq=start + 1, length=len(payload))  # type: ignore[arg-type]
    segment.payload = payload
    pair.run(pair.now + SECOND)


def test_what_was_delivered_is_not_overwritten() -> None:
    pair, client, server = tcp_and_hundred()
    arrives(pair, client, 50, WRONG * 50 + text(100, 120))
    assert server.read_bytes(200, pair.now) == text(0, 120)


def test_the_first_copy_of_what_waits_counts() -> None:
    """In front of it, behind it, around it and in the midst of it."""
    pair, client, server = tcp_and_hundred()
    arrives(pair, client, 120, text(120, 140))
    arrives(pair, client, 125, WRONG * 10)
    arrives(pair, client, 115, text(115, 120) + WRONG * 10)
    arrives(pair, client, 130, WRONG * 10 + text(140, 150))
    arrives(pair, client, 112, text(112, 115) + WRONG * 35 + text(150, 160))
    assert server.readable == 100
    arrives(pair, client, 90, WRONG * 10 + text(100, 112) + WRONG * 8)
    assert server.read_bytes(200, pair.now) == text(0, 160)


def mapped(pair: MptcpPair, client: Any, start: int, payload: bytes, number: int) -> None:
    """Let bytes arrive on a subflow that the client has not sent, mapped to an offset of its stream."""
    seq = pair.sender("s>c").connections[0].subflows[number].receiver.nxt
    out = client.outbound
    ack = client.inbound.absolute(client.inbound.nxt)
    dss = Dss(8, ack, 8, (out.idsn + start + 1) % 2**64, seq, len(payload))
    segment = forge(pair, client, number, dss=dss, seq=seq, length=len(payload))
    segment.payload = payload
    pair.run(pair.now + SECOND)


@pytest.mark.parametrize("version", [0, 1])
def test_the_first_copy_counts_whichever_subflow_brings_it(version: int) -> None:
    """Old data, data that waits for its turn, and what a window probe of Linux carries."""
    pair = mptcp_pair(version)
    client, server = pair.establish()
    client.write(text(0, 100), pair.now)
    pair.run(pair.now + SECOND)
    assert len(client.subflows) == 2
    mapped(pair, client, 99, text(100, 101), 1)
    mapped(pair, client, 120, text(120, 140), 0)
    mapped(pair, client, 110, text(110, 120) + WRONG * 20 + text(140, 150), 1)
    mapped(pair, client, 90, WRONG * 10 + text(100, 110) + WRONG * 20, 0)
    assert server.read_bytes(200, pair.now) == text(0, 150)
    assert counted(pair.server, "DuplicateData")[0] >= 3


def test_an_end_that_is_sent_too_much_keeps_no_more_than_its_window() -> None:
    """Bytes beyond the window are not kept, in order or not."""
    pair = Pair(TCP, TcpConfig(payload="bytes", receive_buffer=10_000))
    client, server = pair.establish()
    client.write(b"a", pair.now)
    pair.run(pair.now + SECOND)
    for start in range(1, 60_000, 1_000):
        arrives(pair, client, start + 500, bytes(500))
    for start in range(1, 60_000, 1_000):
        arrives(pair, client, start, bytes(1_000))
    assert server.readable <= 20_000
    assert kept(server)[1] <= 20_000 + PAGE


# --- Damage ------------------------------------------------------------------------------------------


class Damage:
    """A hook that changes the first byte of one data segment of the client, from an address.

    Attributes:
        at: the place of the byte in the stream, or -1.
    """

    def __init__(self, address: str, number: int) -> None:
        self.address = address
        self.number = number
        self.at = -1

    def __call__(self, way: str, packet: Any, now: int) -> list[Any]:
        if way == "c>s" and packet.length and packet.flow.src == self.address:
            self.number -= 1
            if not self.number:
                self.at = packet.offset
                packet = packet.clone()
                packet.payload = self.applied(packet.payload, 0)
        return [packet]

    def applied(self, data: bytes, at: int) -> bytes:
        """Return bytes as they are after that."""
        return data[:at] + bytes((data[at] ^ 0x20,)) + data[at + 1 :]


@pytest.mark.parametrize("version", [0, 1])
def test_a_byte_changed_on_one_of_two_subflows(version: int) -> None:
    """The checksum shows it, the subflow is reset with MP_FAIL, and the data comes over the other one."""
    fields: dict[str, Any] = {"checksum": True, "scheduler": "roundrobin"}
    pair = mptcp_pair(version, fields=fields, hook=Damage(C2, 7))
    client, server = exchange(pair, some_bytes(700_000), some_bytes(50_000))
    assert counted(pair.server, "DataCsumErr", "DSSCorruptionReset", "MPFailTx") == (1, 1, 1)
    assert not client.is_plain
    assert not server.is_plain


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("number", [2, 25])
def test_a_byte_changed_on_the_only_subflow(version: int, number: int) -> None:
    """MP_FAIL and an infinite mapping, which acts retroactively (section 3.7).

    The data that was found changed is the first of a plain TCP connection, which notices nothing.
    """
    config: dict[str, Any] = {"tcp": BYTES, "versions": (version,), "checksum": True}
    pair = MptcpPair(mptcp(**config), mptcp(**config))
    pair.hook = damage = Damage(C1, number)
    up = some_bytes(300_000)
    client, server = pair.establish()
    ends = converse(pair, client, server, up, some_bytes(50_000))
    assert ends[0].got == some_bytes(50_000)
    assert ends[1].got == damage.applied(up, damage.at)
    assert client.fell_back
    assert server.fell_back
    assert counted(pair.server, "DataCsumErr", "DSSCorruptionFallback") == (1, 1)


def test_without_checksums_the_application_gets_what_has_arrived() -> None:
    """It is not judged: a middlebox may have meant it."""
    pair = Pair(TCP, TCP, hook=Damage("10.0.0.1", 1))
    client, server = pair.establish()
    client.write(b"Hello, world", pair.now)
    pair.run(pair.now + SECOND)
    assert server.read_bytes(100, pair.now) == b"hello, world"


# --- Fallback ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("kept_segments", [0, 1, 2, 3, 5, 40])
def test_options_vanish(version: int, kept_segments: int) -> None:
    """After so many segments the options of MPTCP are removed both ways: TCP carries on, or it has failed."""
    number = 0

    def vanish(seen: Seen) -> bool:
        nonlocal number
        number += 1
        return number > kept_segments

    config: dict[str, Any] = {"tcp": BYTES, "versions": (version,)}
    pair = MptcpPair(mptcp(**config), mptcp(**config), hook=strip_mptcp(vanish))
    if kept_segments >= 5:
        client, server = pair.establish()
        ends = [End(client, some_bytes(50_000), ()), End(server, some_bytes(60_000, 8), ())]
        while pair.next_event() < NEVER and pair.now < 400 * SECOND:
            for end in ends:
                if not end.connection.error:
                    end.act(pair.now)
            pair.step()
        # In the midst of a connection nobody may fall back: it fails, and what was read is right.
        assert client.error
        assert some_bytes(60_000, 8).startswith(ends[0].got)
        assert some_bytes(50_000).startswith(ends[1].got)
        return
    client, server = exchange(pair, some_bytes(50_000), some_bytes(60_000, 8))
    assert client.is_plain


# --- Small windows, slow readers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "profile", ["tcp byte", "tcp empty", "rfc8684", "linux-6.18", "rfc6824", "caia-v0.4"]
)
def test_windows_that_close(profile: str) -> None:
    """Probes of a closed window carry the byte that is due, or one that has arrived before."""
    tcp = BYTES | {"receive_buffer": 6_000}
    if profile.startswith("tcp"):
        config = TcpConfig(**tcp, zero_window_probe=profile[4:])
        pair: Pair = Pair(config, config)
    else:
        config = config_of(tcp, {"profile": profile, "path_manager_parameters": {"joins": 1}}, PORT)
        pair = MptcpPair(
            config, config, client_addresses=(C1, C2), server_addresses=(S1, S2), losses={(C1, S1): 0.05}
        )
    client, server = pair.establish()
    data = some_bytes(60_000)
    end = End(client, data, ())
    got = bytearray()
    while len(got) < len(data):
        end.act(pair.now)
        pair.run(pair.now + 3 * SECOND)
        got += server.read_bytes(4_000, pair.now)
        pair.pump()
        assert pair.now < 3_000 * SECOND
    assert got == data


# --- The end of a connection ---------------------------------------------------------------------------


@pytest.mark.parametrize("multipath", [False, True])
def test_who_gives_up_reading_keeps_nothing(multipath: bool) -> None:
    pair = mptcp_pair() if multipath else Pair(TCP, TCP)
    client, server = pair.establish()
    client.write(some_bytes(100_000), pair.now)
    pair.run(pair.now + 200 * MS)
    assert server.readable
    server.release(pair.now)
    pair.run(pair.now + SECOND)
    assert kept(server)[1] == 0
    with pytest.raises(LocalProtocolError, match="the connection was released"):
        server.read_bytes(100, pair.now)


@pytest.mark.parametrize("multipath", [False, True])
def test_after_a_reset_what_is_in_order_can_be_read(multipath: bool) -> None:
    """What waits for a gap is dropped, and so is what could have been sent."""
    lost = 0

    def hook(way: str, packet: Any, now: int) -> list[Any]:
        nonlocal lost
        lost += way == "c>s" and packet.length > 0
        return [] if way == "c>s" and packet.length and lost == 5 else [packet]

    config: dict[str, Any] = {"tcp": BYTES}
    pair = MptcpPair(mptcp(**config), mptcp(**config), hook=hook) if multipath else Pair(TCP, TCP, hook=hook)
    client, server = pair.establish()
    data = some_bytes(20_000)
    client.write(data, pair.now)
    server.write(data, pair.now)
    pair.run(pair.now + pair.delay + pair.delay // 2)
    ready = server.readable
    assert 0 < ready < 20_000
    client.abort(pair.now)
    pair.run(pair.now + 300 * SECOND)
    assert server.error
    assert kept(client)[0] == kept(server)[0] == 0
    assert kept(server)[1] == ready
    assert server.read_bytes(1 << 20, pair.now) == data[:ready]
    assert kept(server) == (0, 0)


def test_a_subflow_that_ends_leaves_nothing_behind() -> None:
    """What waits on it for a gap to be filled, or for its mapping, is not kept as long as the connection."""
    pair = mptcp_pair()
    client, server = pair.establish()
    client.write(text(0, 100), pair.now)
    pair.run(pair.now + SECOND)
    seq = server.subflows[1].receiver.nxt
    forge(pair, client, 1, seq=seq + 10, length=50).payload = bytes(50)
    pair.run(pair.now + SECOND)
    incoming = server.subflow_of(1).incoming
    assert len(incoming._segments) == 1
    server.subflows[1].abort(pair.now)
    assert len(incoming._segments) == 0
    exchange_more(pair, client, server)


def test_a_connection_that_reads_by_itself_throws_bytes_away() -> None:
    pair = Pair(TCP, TCP)
    client, server = pair.establish()
    server.eager = True
    client.write(bytes(50_000), pair.now)
    pair.run(pair.now + SECOND)
    assert (server.consumed, *kept(server)) == (50_000, 0, 0)
    with pytest.raises(LocalProtocolError, match="reads by itself"):
        server.read_bytes(100, pair.now)


# --- Anything ------------------------------------------------------------------------------------------


@examples(40)
@given(
    multipath=st.sampled_from((None, 0, 1, 1)),
    checksum=st.booleans(),
    encode=st.booleans(),
    scheduler=st.sampled_from(("minrtt", "roundrobin", "redundant")),
    buffer=st.sampled_from((5_000, 65_535, 1_000_000)),
    sequence=st.sampled_from((-1, 0xFFFF_FF00, 0x7FFF_FF00)),
    dsn=st.sampled_from((-1, 2**64 - 5_000, 2**32 - 5_000)),
    sizes=st.lists(st.one_of(st.integers(1, 50), st.integers(1, 100_000)), min_size=1, max_size=5),
    lengths=st.tuples(*[st.sampled_from((0, 1, 1_000, 30_000, 120_000))] * 2),
    losses=st.sampled_from((0.0, 0.01, 0.1)),
    late=st.sampled_from((0.0, 0.05)),
    twice=st.sampled_from((0.0, 0.05)),
    seed=st.integers(0, 1_000),
)
def test_any_exchange(
    multipath: int | None,
    checksum: bool,
    encode: bool,
    scheduler: str,
    buffer: int,
    sequence: int,
    dsn: int,
    sizes: list[int],
    lengths: tuple[int, int],
    losses: float,
    late: float,
    twice: float,
    seed: int,
) -> None:
    """Loss, reordering, copies and wraps; writes and reads of any size; both versions and TCP alone."""
    rng = random.Random(seed)

    def hook(way: str, packet: Any, now: int) -> list[Any]:
        if rng.random() < losses:
            return []
        delays = [rng.randrange(40) * MS if rng.random() < late else 0]
        if rng.random() < twice:
            delays.append(rng.randrange(40) * MS)
        return [(delay, packet if index == 0 else packet.clone()) for index, delay in enumerate(delays)]

    tcp = BYTES | {"receive_buffer": buffer, "send_buffer": buffer, "initial_sequence": sequence}
    pair: Pair
    if multipath is None:
        pair = Pair(TcpConfig(**tcp), TcpConfig(**tcp), hook=hook, encode=encode)
    else:
        fields: dict[str, Any] = {
            "tcp": tcp,
            "checksum": checksum,
            "scheduler": scheduler,
            "initial_dsn": dsn,
        }
        pair = mptcp_pair(multipath, fields=fields, hook=hook, encode=encode)
    exchange(pair, some_bytes(lengths[0], seed), some_bytes(lengths[1], seed + 1), sizes)
