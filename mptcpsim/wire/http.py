"""HTTP/1.1 on our stack: serves the files of a directory. The protocol itself is h11's (RFC 9112)."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import h11

from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.sim.apps import Process
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import ConnectionFailed, ListeningSocket, Socket
from mptcpsim.wire.streams import CHUNK, write_block

#: Called with the method, the target and the status of each answer.
Log = Callable[[str, str, int], None]


def _quiet(method: str, target: str, status: int) -> None:
    """Say nothing."""


class HttpServer:
    """Serves the files of a directory by GET and HEAD; no listing, nothing outside of the directory.

    Attributes:
        requests: answered so far.
        bytes: of bodies that were sent.
    """

    def __init__(self, env: Environment, directory: Path, log: Log = _quiet) -> None:
        self.requests: int = 0
        self.bytes: int = 0
        self._env = env
        self._root = directory.resolve()
        self._log = log

    def serve(self, listening: ListeningSocket) -> Process:
        """Take connections for ever."""
        while True:
            socket: Socket = yield listening.accept()
            self._env.process(self.answer(socket))

    def answer(self, socket: Socket) -> Process:
        """Answer the requests of one connection; whatever the client does, nothing raises."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 16)
        try:
            while True:
                request = yield from self._next(socket, connection, h11.Request)
                if request is None:
                    break
                yield from self._next(socket, connection, h11.EndOfMessage)
                yield from self._respond(socket, connection, request)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()
            socket.release()
        except h11.RemoteProtocolError as error:
            yield from self._complain(socket, connection, error.error_status_hint)
        except (ConnectionFailed, LocalProtocolError):
            socket.abort()

    def _next(self, socket: Socket, connection: h11.Connection, kind: type[Any]) -> Any:
        """Wait for an event of a kind; None at the end of the stream."""
        while True:
            event = connection.next_event()
            if isinstance(event, kind):
                return event
            if event is h11.NEED_DATA:
                yield socket.readable()
                connection.receive_data(socket.read_bytes(CHUNK))
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return None

    def _respond(self, socket: Socket, connection: h11.Connection, request: h11.Request) -> Process:
        method, target = request.method.decode("ascii"), request.target.decode("ascii", "replace")
        if method not in ("GET", "HEAD"):
            yield from self._send_text(socket, connection, method, target, 405, [("Allow", "GET, HEAD")])
            return
        path = self._find(target)
        file: BinaryIO | None = None
        if path is not None:
            try:
                file = path.open("rb")
            except OSError:
                file = None
        if path is None or file is None:
            yield from self._send_text(socket, connection, method, target, 404)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            headers = [("Content-Length", str(size)), ("Content-Type", kind), ("Server", "mptcpsim")]
            yield from self._send(socket, connection, h11.Response(status_code=200, headers=headers))
            left = size if method == "GET" else 0
            while left:
                data = file.read(min(CHUNK, left))
                if not data:
                    break  # the file was cut meanwhile: h11 complains, and the connection ends
                left -= len(data)
                self.bytes += len(data)
                yield from self._send(socket, connection, h11.Data(data=data))
            yield from self._send(socket, connection, h11.EndOfMessage())
        self.requests += 1
        self._log(method, target, 200)

    def _find(self, target: str) -> Path | None:
        """Return the file that a target names, if it is one of ours."""
        try:
            path = (self._root / unquote(urlsplit(target).path).lstrip("/")).resolve()
            inside = path.is_relative_to(self._root) and path.is_file()
        except (OSError, ValueError):
            return None
        return path if inside else None

    def _send_text(
        self,
        socket: Socket,
        connection: h11.Connection,
        method: str,
        target: str,
        status: int,
        more: list[tuple[str, str]] | None = None,
    ) -> Process:
        body = f"{status}\n".encode()
        headers = [("Content-Length", str(len(body))), ("Content-Type", "text/plain"), *(more or [])]
        yield from self._send(socket, connection, h11.Response(status_code=status, headers=headers))
        if method != "HEAD":
            yield from self._send(socket, connection, h11.Data(data=body))
        yield from self._send(socket, connection, h11.EndOfMessage())
        self.requests += 1
        self._log(method, target, status)

    def _complain(self, socket: Socket, connection: h11.Connection, status: int) -> Process:
        """Answer what is no HTTP, if it can be answered, and close."""
        try:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                yield from self._send_text(socket, connection, "GET", "?", status, [("Connection", "close")])
            socket.release()
        except (ConnectionFailed, LocalProtocolError, h11.LocalProtocolError):
            socket.abort()

    def _send(self, socket: Socket, connection: h11.Connection, event: Any) -> Process:
        data = connection.send(event)
        if data:
            yield from write_block(socket, data)
