"""The server's half of iperf3's control protocol, for an unmodified client.

A client opens a control connection and names itself by a cookie; a state, one byte, says what comes next.
It sends its parameters as JSON behind their length, opens the streams, each with the cookie first, and ends
the test; both ends then exchange their results. Source: observation of iperf 3.12 and its manual page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from typing import Any, Final

from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.tcp.info import tcp_infos
from mptcpsim.sim.apps import Process
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import ConnectionFailed, ListeningSocket, Socket
from mptcpsim.units import SECOND
from mptcpsim.wire.peer import BLOCK, random_bytes
from mptcpsim.wire.streams import CHUNK, EndOfStream, read_block, write_block

DEFAULT_PORT: Final = 5201

_COOKIE: Final = 37

# States, as a byte on the control connection.
_TEST_START: Final = 1
_TEST_RUNNING: Final = 2
_TEST_END: Final = 4
_PARAMETER_EXCHANGE: Final = 9
_CREATE_STREAMS: Final = 10
_EXCHANGE_RESULTS: Final = 13
_DISPLAY_RESULTS: Final = 14
_ACCESS_DENIED: Final = 0xFF

#: The largest text that a client may send.
_LONGEST_TEXT: Final = 1 << 20
_MOST_STREAMS: Final = 128


class IperfStream:
    """One stream of a test.

    Attributes:
        number: as iperf3 counts them: 1, 3, 4 and so on.
        sends: this end sends.
        bytes: sent or received.
    """

    def __init__(self, number: int, socket: Socket, sends: bool) -> None:
        self.number = number
        self.socket = socket
        self.sends = sends
        self.bytes: int = 0

    def retransmits(self, now: int) -> int:
        """Return the segments that this end has sent again, -1 if it does not send."""
        if not self.sends:
            return -1
        return sum(info.tcpi_total_retrans for info in tcp_infos(self.socket.connection, now))


class IperfTest:
    """A test under way.

    Attributes:
        cookie: what names it.
        parameters: as the client has sent them.
        streams: the streams.
        running: data is sent and counted.
        began: ns.
    """

    def __init__(self, cookie: bytes, parameters: dict[str, Any]) -> None:
        self.cookie = cookie
        self.parameters = parameters
        self.streams: list[IperfStream] = []
        self.running: bool = False
        self.began: int = 0
        count = self.number("parallel", 1, 1, _MOST_STREAMS)
        reverse = bool(parameters.get("reverse"))
        both = bool(parameters.get("bidirectional"))
        #: Of each stream, in the order in which they are opened: whether this end sends.
        self.wanted: list[bool] = [False] * count + [True] * count if both else [reverse] * count

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a parameter that is a number, within bounds whatever the client says."""
        value = self.parameters.get(name, default)
        return min(max(int(value), low), high) if isinstance(value, int | float) else default

    def end(self) -> None:
        """Close the streams: a client that reads one sees nothing else before it has the end of it."""
        self.running = False
        for stream in self.streams:
            stream.socket.release()

    @property
    def is_complete(self) -> bool:
        """All streams are there."""
        return len(self.streams) == len(self.wanted)


class Iperf3Server:
    """Answers iperf3 clients on one port, one test at a time, as iperf3 does.

    Attributes:
        results: a record of each test that was finished.
    """

    def __init__(self, env: Environment, on_test: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.results: list[dict[str, Any]] = []
        self._env = env
        self._on_test = on_test
        self._test: IperfTest | None = None
        block = random_bytes(1, BLOCK)
        self._data = memoryview(block + block)

    def serve(self, listening: ListeningSocket) -> Process:
        """Take connections for ever."""
        while True:
            socket: Socket = yield listening.accept()
            self._env.process(self._take(socket))

    def _take(self, socket: Socket) -> Process:
        """Find out what a connection is for; whatever the client does, nothing raises."""
        try:
            cookie = yield from read_block(socket, _COOKIE)
            test = self._test
            if test is None:
                yield from self._control(socket, cookie)
            elif cookie == test.cookie and not test.is_complete:
                number = 1 if not test.streams else len(test.streams) + 2
                test.streams.append(IperfStream(number, socket, test.wanted[len(test.streams)]))
            else:
                yield from write_block(socket, bytes((_ACCESS_DENIED,)))
                socket.release()
        except (ConnectionFailed, LocalProtocolError, EndOfStream, ValueError):
            socket.abort()

    # --- The control connection -------------------------------------------------------------------

    def _control(self, socket: Socket, cookie: bytes) -> Process:
        env = self._env
        yield from self._state(socket, _PARAMETER_EXCHANGE)
        parameters = yield from self._read_json(socket)
        if self._test is not None:
            yield from self._state(socket, _ACCESS_DENIED)
            socket.release()
            return
        test = self._test = IperfTest(cookie, parameters)
        try:
            yield from self._state(socket, _CREATE_STREAMS)
            while not test.is_complete:
                yield env.timeout("1ms")
                if socket.connection.closed or socket.connection.peer_closed:
                    return
            yield from self._state(socket, _TEST_START)
            test.running = True
            test.began = env.now
            cpu, wall = time.process_time(), time.monotonic()
            for stream in test.streams:
                env.process(self._guarded(self._send(test, stream) if stream.sends else self._read(stream)))
            yield from self._state(socket, _TEST_RUNNING)
            state = (yield from read_block(socket, 1))[0]
            seconds = (env.now - test.began) / SECOND
            test.end()
            if state != _TEST_END:
                return
            used = 100 * (time.process_time() - cpu) / max(1e-9, time.monotonic() - wall)
            yield from self._state(socket, _EXCHANGE_RESULTS)
            theirs = yield from self._read_json(socket)
            ours = self._result(test, seconds, used)
            yield from self._write_json(socket, ours)
            yield from self._state(socket, _DISPLAY_RESULTS)
            yield from read_block(socket, 1)
            record = {"parameters": parameters, "seconds": seconds, "server": ours, "client": theirs}
            self.results.append(record)
            if self._on_test is not None:
                self._on_test(record)
        finally:
            test.end()
            self._test = None
            socket.release()

    def _result(self, test: IperfTest, seconds: float, cpu: float) -> dict[str, Any]:
        now = self._env.now
        first = test.streams[0].socket.connection
        return {
            "cpu_util_total": cpu,
            "cpu_util_user": cpu,
            "cpu_util_system": 0.0,
            "sender_has_retransmits": int(any(stream.sends for stream in test.streams)),
            "congestion_used": first.config.congestion,
            "streams": [
                {
                    "id": stream.number,
                    "bytes": stream.bytes,
                    "retransmits": stream.retransmits(now),
                    "jitter": 0,
                    "errors": 0,
                    "omitted_errors": 0,
                    "packets": 0,
                    "omitted_packets": 0,
                    "start_time": 0,
                    "end_time": seconds,
                }
                for stream in test.streams
            ],
        }

    # --- Streams ----------------------------------------------------------------------------------

    def _guarded(self, process: Process) -> Process:
        try:
            yield from process
        except (ConnectionFailed, LocalProtocolError):
            return

    def _send(self, test: IperfTest, stream: IperfStream) -> Process:
        socket = stream.socket
        limit = test.number("num", 0, 0, 1 << 62)
        while not (limit and stream.bytes >= limit):
            yield socket.writable()
            if not test.running:
                break
            place = stream.bytes % BLOCK
            most = min(CHUNK, limit - stream.bytes) if limit else CHUNK
            stream.bytes += socket.write(self._data[place : place + most])

    def _read(self, stream: IperfStream) -> Process:
        socket = stream.socket
        while not socket.at_end:
            yield socket.readable()
            stream.bytes += socket.read(CHUNK)

    # --- Messages ---------------------------------------------------------------------------------

    def _state(self, socket: Socket, state: int) -> Process:
        yield from write_block(socket, bytes((state,)))

    def _read_json(self, socket: Socket) -> Generator[Any, Any, dict[str, Any]]:
        """Read an object.

        Raises:
            ValueError: it is none, or too long.
        """
        length = int.from_bytes((yield from read_block(socket, 4)), "big")
        if length > _LONGEST_TEXT:
            raise ValueError(f"a text of {length} bytes")
        found = json.loads((yield from read_block(socket, length)))
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found

    def _write_json(self, socket: Socket, value: dict[str, Any]) -> Process:
        text = json.dumps(value).encode()
        yield from write_block(socket, len(text).to_bytes(4, "big") + text)
