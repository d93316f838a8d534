"""The HTTP server, asked by raw bytes over two stacks of ours."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mptcpsim.congestion
from mptcpsim import TcpConfig
from mptcpsim.sim.sockets import ConnectionFailed
from mptcpsim.units import MILLISECOND
from mptcpsim.wire.http import HttpServer
from mptcpsim.wire.streams import write_block
from tests.wire.fakes import LEFT, RIGHT, Pair

assert mptcpsim.congestion


class Web:
    """A server of a directory with some files, and a client."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "www"
        (self.root / "sub").mkdir(parents=True, exist_ok=True)
        (self.root / "a.txt").write_bytes(b"hello\n")
        (self.root / "sub" / "big").write_bytes(bytes(range(256)) * 4000)
        (directory / "secret").write_bytes(b"secret")
        self.pair = Pair(TcpConfig(payload="bytes", time_wait=MILLISECOND))
        self.log: list[tuple[str, str, int]] = []
        env = self.pair.right.env
        self.server = HttpServer(env, self.root, lambda m, t, s: self.log.append((m, t, s)))
        env.process(self.server.serve(self.pair.right.sockets.listen(80)))

    def ask(self, data: bytes, close: bool = True) -> bytes:
        """Return all that comes back."""

        def client() -> Generator[Any, Any, bytes]:
            socket = self.pair.left.sockets.connect(LEFT, (RIGHT, 80))
            yield socket.established()
            parts = []
            try:
                yield from write_block(socket, data)
                if close:
                    socket.close()
                while not socket.at_end:
                    yield socket.readable()
                    parts.append(socket.read_bytes(1 << 16))
            except ConnectionFailed:
                parts.append(b"!reset")
            return b"".join(parts)

        found = self.pair.run(self.pair.left.env.process(client()))
        assert isinstance(found, bytes)
        return found


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    made = Web(tmp_path)
    yield made
    made.pair.close()


def get(target: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: h\r\n{more}\r\n".encode()


def answers(data: bytes, methods: list[bytes]) -> list[tuple[int, bytes]]:
    """Return status and body of each answer, as h11 reads them."""
    found = []
    for method in methods:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        status, body = 0, b""
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(event)
        found.append((status, body))
        data = client.trailing_data[0]
    assert data == b""
    return found


def test_files_are_served(web: Web) -> None:
    big = (web.root / "sub" / "big").read_bytes()
    data = web.ask(get("/a.txt") + get("/sub/big?x=1") + get("/sub/big", "HEAD"))
    assert answers(data, [b"GET", b"GET", b"HEAD"]) == [(200, b"hello\n"), (200, big), (200, b"")]
    assert web.server.requests == 3
    assert web.server.bytes == 6 + len(big)
    assert web.log == [("GET", "/a.txt", 200), ("GET", "/sub/big?x=1", 200), ("HEAD", "/sub/big", 200)]


@pytest.mark.parametrize(
    "target", ["/../secret", "/..%2fsecret", "/%2e%2e/secret", "//etc/passwd", "/nope", "/sub", "/", "/a%00"]
)
def test_nothing_else_is(web: Web, target: str) -> None:
    assert answers(web.ask(get(target)), [b"GET"]) == [(404, b"404\n")]


def test_a_link_out_of_the_directory_leads_nowhere(web: Web) -> None:
    (web.root / "link").symlink_to(web.root.parent / "secret")
    assert answers(web.ask(get("/link")), [b"GET"]) == [(404, b"404\n")]


def test_other_methods_are_refused(web: Web) -> None:
    body = "Content-Length: 5\r\n"
    data = web.ask(get("/a.txt", "POST", body) + b"12345")
    assert answers(data, [b"POST"]) == [(405, b"405\n")]
    assert b"Allow: GET, HEAD" in data


def test_the_client_may_end_the_connection(web: Web) -> None:
    data = web.ask(get("/a.txt", more="Connection: close\r\n"), close=False)
    assert answers(data, [b"GET"]) == [(200, b"hello\n")]


def test_what_is_no_http_is_refused(web: Web) -> None:
    assert web.ask(b"\x16\x03\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert answers(web.ask(get("/a.txt")), [b"GET"]) == [(200, b"hello\n")]


def test_half_a_request_gets_nothing(web: Web) -> None:
    assert b"200" not in web.ask(get("/a.txt")[:10])
    assert answers(web.ask(get("/a.txt")), [b"GET"]) == [(200, b"hello\n")]


@settings(max_examples=25)
@given(st.binary(max_size=200), st.integers(0, 60))
def test_nothing_that_a_client_sends_raises(tmp_path_factory: Any, noise: bytes, cut: int) -> None:
    made = Web(tmp_path_factory.mktemp("web"))
    try:
        made.ask(get("/a.txt")[:cut] + noise)
        assert answers(made.ask(get("/a.txt")), [b"GET"]) == [(200, b"hello\n")]
    finally:
        made.pair.close()
