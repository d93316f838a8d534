"""A web server and a browser in HTTP/1.1: h11 at both ends, as SimPy processes over simulated sockets.

``h11`` knows the protocol and does no input or output: what a socket has read goes into it, and what comes
out of it is written to the socket. Nothing here knows that the network is simulated.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import h11

from mptcpsim.sim.apps import write_all
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import ListeningSocket, Socket

Process = Generator[Any, Any, Any]

#: What the server sends of an object at a time, bytes.
PIECE = 16_384


def objects(seed: int, images: int = 24) -> dict[str, bytes]:
    """Return a page and its images: what is at each path of the site."""
    rng = random.Random(seed)
    site = {f"/{number}.png": rng.randbytes(rng.randrange(5_000, 300_000)) for number in range(images)}
    page = "".join(f'<img src="{path}">\n' for path in site)
    return {"/": f"<!doctype html>\n{page}".encode(), **site}


@dataclass
class Response:
    """What the browser has got; times in ns.

    Attributes:
        path: what it asked for.
        asked, began, ended: when it asked, and when the first and the last byte of the answer came.
        status: 200 if all is well.
        headers: in lower case.
        body: the content.
    """

    path: str
    asked: int
    began: int = 0
    ended: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


def next_event(connection: h11.Connection, socket: Socket) -> Process:
    """Return the next event of HTTP, reading what it takes; an empty read is the end of the peer's stream."""
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        yield socket.readable()
        connection.receive_data(socket.read_bytes())


def send(connection: h11.Connection, socket: Socket, event: h11.Event) -> Process:
    """Write what an event of HTTP is in bytes."""
    data = connection.send(event)
    if data:
        yield from write_all(socket, data)


# --- The server -----------------------------------------------------------------------------------------


def serve(env: Environment, listening: ListeningSocket, site: Mapping[str, bytes]) -> Process:
    """Accept connections for ever, and answer on each as long as its browser likes."""
    while True:
        socket = yield listening.accept()
        env.process(_answer_all(socket, site))


def _answer_all(socket: Socket, site: Mapping[str, bytes]) -> Process:
    connection = h11.Connection(h11.SERVER)
    while True:
        request = yield from next_event(connection, socket)
        if isinstance(request, h11.ConnectionClosed):
            break
        assert isinstance(request, h11.Request)
        body = bytearray()
        event = yield from next_event(connection, socket)
        while isinstance(event, h11.Data):
            body += event.data
            event = yield from next_event(connection, socket)
        yield from _answer(connection, socket, site, request, bytes(body))
        if connection.our_state is h11.MUST_CLOSE:
            break
        connection.start_next_cycle()
    socket.release()


def _answer(
    connection: h11.Connection, socket: Socket, site: Mapping[str, bytes], request: h11.Request, body: bytes
) -> Process:
    path = request.target.decode("ascii")
    if request.method == b"POST":
        # What was uploaded, by its digest; chunked, since the length is not announced.
        status, content, length = 200, sha256(body).hexdigest().encode(), None
    elif path in site:
        status, content, length = 200, site[path], len(site[path])
    else:
        status, content, length = 404, b"there is no such object\n", 24
    framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    yield from send(connection, socket, h11.Response(status_code=status, headers=[framing]))
    for start in range(0, len(content), PIECE):
        yield from send(connection, socket, h11.Data(data=content[start : start + PIECE]))
    yield from send(connection, socket, h11.EndOfMessage())


# --- The browser ----------------------------------------------------------------------------------------


def browse(env: Environment, socket: Socket, uploads: Mapping[str, bytes], name: str) -> Process:
    """Fetch a page and all that it names over one connection, upload something, and return the responses."""
    yield socket.established()
    connection = h11.Connection(h11.CLIENT)
    page = yield from _exchange(env, connection, socket, name, "/", None)
    responses = [page]
    for path in page.body.decode().split('"')[1::2]:
        responses.append((yield from _exchange(env, connection, socket, name, path, None)))
    for path, content in uploads.items():
        responses.append((yield from _exchange(env, connection, socket, name, path, content)))
    socket.close()
    yield socket.peer_closed()
    return responses


def _exchange(
    env: Environment, connection: h11.Connection, socket: Socket, name: str, path: str, body: bytes | None
) -> Process:
    response = Response(path, env.now)
    headers = [("Host", name), ("User-Agent", "mptcpsim")]
    if body is not None:
        headers.append(("Content-Length", str(len(body))))
    method = "GET" if body is None else "POST"
    yield from send(connection, socket, h11.Request(method=method, target=path, headers=headers))
    if body is not None:
        yield from send(connection, socket, h11.Data(data=body))
    yield from send(connection, socket, h11.EndOfMessage())
    while True:
        event = yield from next_event(connection, socket)
        response.began = response.began or env.now
        if isinstance(event, h11.Response):
            response.status = event.status_code
            response.headers = {key.decode(): value.decode() for key, value in event.headers}
        elif isinstance(event, h11.Data):
            response.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise RuntimeError(f"{path}: {event} in the midst of a response")
    response.ended = env.now
    connection.start_next_cycle()
    return response
