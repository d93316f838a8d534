"""The iperf3 server against a client that is written out here, and against one that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import mptcpsim.congestion
from mptcpsim import TcpConfig
from mptcpsim.sim.sockets import ConnectionFailed, Socket
from mptcpsim.units import MILLISECOND
from mptcpsim.wire.iperf3 import Iperf3Server, IperfTest
from mptcpsim.wire.streams import EndOfStream, read_block, write_block
from tests.wire.fakes import LEFT, RIGHT, Pair

assert mptcpsim.congestion

COOKIE = b"a" * 36 + b"\0"
OTHER = b"b" * 36 + b"\0"

PARAMETERS, STREAMS, START, RUNNING, END, RESULTS, DISPLAY, DONE, DENIED = 9, 10, 1, 2, 4, 13, 14, 16, 255


class Bench:
    """A server, and what a client needs."""

    def __init__(self) -> None:
        self.pair = Pair(TcpConfig(payload="bytes", time_wait=MILLISECOND))
        self.server = Iperf3Server(self.pair.right.env)
        self.pair.right.env.process(self.server.serve(self.pair.right.sockets.listen(5201)))

    def connect(self, cookie: bytes) -> Generator[Any, Any, Socket]:
        socket = self.pair.left.sockets.connect(LEFT, (RIGHT, 5201))
        yield socket.established()
        yield from write_block(socket, cookie)
        return socket

    def run(self, process: Generator[Any, Any, Any]) -> Any:
        return self.pair.run(self.pair.left.env.process(process))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.pair.close()


def state(socket: Socket) -> Generator[Any, Any, int]:
    return (yield from read_block(socket, 1))[0]


def send_json(socket: Socket, value: Any) -> Generator[Any, Any, None]:
    text = json.dumps(value).encode()
    yield from write_block(socket, len(text).to_bytes(4, "big") + text)


def read_json(socket: Socket) -> Generator[Any, Any, Any]:
    length = int.from_bytes((yield from read_block(socket, 4)), "big")
    return json.loads((yield from read_block(socket, length)))


def client(bench: Bench, reverse: bool, size: int) -> Generator[Any, Any, dict[str, Any]]:
    """Run a test with two streams, as iperf3 does."""
    control = yield from bench.connect(COOKIE)
    assert (yield from state(control)) == PARAMETERS
    yield from send_json(control, {"tcp": True, "parallel": 2, "reverse": reverse, "time": 1, "len": 131072})
    assert (yield from state(control)) == STREAMS
    streams = []
    for _ in range(2):
        streams.append((yield from bench.connect(COOKIE)))
    assert (yield from state(control)) == START
    assert (yield from state(control)) == RUNNING
    for stream in streams:
        if reverse:
            yield from read_block(stream, size)
        else:
            yield from write_block(stream, bytes(size))
            stream.close()
    yield bench.pair.left.env.timeout("50ms")
    yield from write_block(control, bytes((END,)))
    for stream in streams:
        while not stream.at_end:
            yield stream.readable()
            stream.read(1 << 20)
    assert (yield from state(control)) == RESULTS
    yield from send_json(control, {"streams": []})
    results = yield from read_json(control)
    assert (yield from state(control)) == DISPLAY
    yield from write_block(control, bytes((DONE,)))
    control.close()
    assert isinstance(results, dict)
    return results


@pytest.mark.parametrize("reverse", [False, True])
def test_a_test(bench: Bench, reverse: bool) -> None:
    size = 100_000
    for _ in range(2):  # one after the other
        results = bench.run(client(bench, reverse, size))
        assert [stream["id"] for stream in results["streams"]] == [1, 3]
        counts = [stream["bytes"] for stream in results["streams"]]
        assert all(count >= size for count in counts) if reverse else counts == [size, size]
        assert results["sender_has_retransmits"] == int(reverse)
        assert all((stream["retransmits"] >= 0) == reverse for stream in results["streams"])
    bench.pair.run(bench.pair.left.env.timeout("20ms"))
    assert len(bench.server.results) == 2


def test_a_second_client_is_told_to_come_later(bench: Bench) -> None:
    def both() -> Generator[Any, Any, int]:
        first = yield from bench.connect(COOKIE)
        assert (yield from state(first)) == PARAMETERS
        yield from send_json(first, {"parallel": 1})
        assert (yield from state(first)) == STREAMS
        second = yield from bench.connect(OTHER)
        answer = yield from state(second)
        first.abort()
        # The next client has the same cookie: it must not come before the server has heard of the end.
        yield bench.pair.left.env.timeout("50ms")
        return answer

    assert bench.run(both()) == DENIED
    assert bench.run(client(bench, False, 1000))["streams"][0]["bytes"] == 1000


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"short",
        COOKIE + b"\xff\xff\xff\xff",
        COOKIE + b"\0\0\0\x05nonsense",
        COOKIE + b"\0\0\0\x02[]",
        COOKIE + b"\0\0\0\x0e" + b'{"parallel":1}' + b"\x0c",
    ],
)
def test_who_speaks_something_else_does_no_harm(bench: Bench, said: bytes) -> None:
    def stranger() -> Generator[Any, Any, None]:
        socket = yield from bench.connect(said)
        yield bench.pair.left.env.timeout("20ms")
        socket.close()
        try:
            yield from read_block(socket, 1 << 20)
        except (EndOfStream, ConnectionFailed):
            return

    bench.run(stranger())
    assert bench.run(client(bench, True, 1000))["streams"][0]["bytes"] >= 1000


@pytest.mark.parametrize("value", [-5, 1e9, "many", None, [], True])
def test_numbers_stay_within_bounds(value: Any) -> None:
    assert 1 <= len(IperfTest(COOKIE, {"parallel": value}).wanted) <= 128
