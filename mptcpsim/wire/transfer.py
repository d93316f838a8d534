"""Applications of the wire: bytes by a seed in both directions, with their hash at the other end.

They are written for ``sim.sockets`` and run in a simulation as well, on connections that carry bytes.
"""

from __future__ import annotations

import hashlib
from typing import Final

from simpy.events import Event

from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.sim.apps import Process
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import ConnectionFailed, Socket
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from mptcpsim.wire.peer import AFTER_END, AFTER_SEND, BLOCK, random_bytes

_CHUNK: Final = 1 << 18

#: How long the end of a connection is waited for once both streams are done, ns.
LINGER: Final = 2 * SECOND

#: How often it looks meanwhile, ns.
_LOOK_EVERY: Final = 2 * MILLISECOND


class Transfer:
    """One end of a connection that sends so many bytes, or for so long, and reads to the end.

    Attributes:
        socket: the connection.
        sent, received: bytes.
        sha256, sent_sha256: of what was received, and sent, once it has ended.
        error: why it has failed, or an empty string.
        began, ended: when the connection was established, and when both directions were done, ns, or -1.
    """

    def __init__(
        self,
        env: Environment,
        socket: Socket,
        *,
        send: int = 0,
        seed: int = 1,
        duration: int = 0,
        close: str = AFTER_SEND,
        chunk: int = _CHUNK,
        interval: int = 0,
        pause_at: int = -1,
        pause: int = 0,
        abort_at: int = -1,
        first: int = 0,
        word: Event | None = None,
    ) -> None:
        """Prepare a transfer; ``run`` carries it out.

        Args:
            env: clock and processes.
            socket: a connection, established or about to be.
            send: bytes to send.
            seed: of what they are.
            duration: ns; bytes are sent without end until then, in place of a number.
            close: ``after-send``, or ``after-end``: when the peer has closed.
            chunk: most bytes of a write.
            interval: time between two writes, ns.
            pause_at: it stops reading for ``pause`` ns when it has read so many bytes; -1: never.
            pause: ns.
            abort_at: it aborts when it has read so many bytes; -1: never.
            first: bytes after which it waits for ``word`` before it sends the others.
            word: an event.
        """
        self.env = env
        self.socket = socket
        self.sent: int = 0
        self.received: int = 0
        self.sha256: str = ""
        self.sent_sha256: str = ""
        self.error: str = ""
        self.began: int = -1
        self.ended: int = -1
        self._send = send
        self._seed = seed
        self._duration = duration
        self._close = close
        self._chunk = chunk
        self._interval = interval
        self._pause_at = pause_at
        self._pause = pause
        self._abort_at = abort_at
        self._first = first
        self._word = word
        self._hash = hashlib.sha256()
        self._sent_hash = hashlib.sha256()

    def run(self) -> Process:
        """Send and receive until both directions are done, and the connection has ended or nearly so."""
        env = self.env
        try:
            yield self.socket.established()
            self.began = env.now
            sender = env.process(self._guarded(self._send_all()))
            reader = env.process(self._guarded(self._read_all()))
            yield sender & reader
            if self._close == AFTER_END and not self.error and self._abort_at < 0:
                self.socket.close()
        except ConnectionFailed as failure:
            self._fail(failure)
        self.ended = env.now
        self.sha256 = self._hash.hexdigest()
        self.sent_sha256 = self._sent_hash.hexdigest()
        # The subflows of an aborted connection end with the peer's answer, those on a dead path much later.
        patience = env.now + LINGER
        while not self.socket.connection.closed and env.now < patience:
            yield env.timeout(_LOOK_EVERY)

    def _guarded(self, process: Process) -> Process:
        try:
            yield from process
        except (ConnectionFailed, LocalProtocolError) as failure:
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        if self._abort_at < 0 or self.received < self._abort_at:
            self.error = self.error or str(failure)

    def _send_all(self) -> Process:
        socket, env = self.socket, self.env
        if self._duration:
            data = random_bytes(self._seed, BLOCK)
            end, limit = env.now + self._duration, NEVER
        else:
            data = random_bytes(self._seed, self._send)
            end, limit = NEVER, self._send
        view = memoryview(data)
        size = len(data)
        over = env.timeout(self._duration) if self._duration else None
        word = self._word if 0 < self._first < limit else None
        while self.sent < limit and env.now < end:
            room = socket.writable()
            yield room if over is None else room | over
            if env.now >= end:
                break
            place = self.sent % size
            most = min(self._chunk, (limit if word is None else self._first) - self.sent)
            count = socket.write(view[place : place + most])
            self._sent_hash.update(view[place : place + count])
            self.sent += count
            if word is not None and self.sent == self._first:
                yield word
                word = None
            if self._interval:
                yield env.timeout(self._interval)
        if self._close == AFTER_SEND:
            socket.close()

    def _read_all(self) -> Process:
        socket = self.socket
        while not socket.at_end:
            yield socket.readable()
            limit = _CHUNK
            for mark in (self._pause_at, self._abort_at):
                if mark > self.received:
                    limit = min(limit, mark - self.received)
            data = socket.read_bytes(limit)
            self._hash.update(data)
            self.received += len(data)
            if data and self.received == self._abort_at:
                socket.abort()
                return
            if data and self.received == self._pause_at:
                yield self.env.timeout(self._pause)

    def seconds(self) -> float:
        """Return how long it took, s; up to now while it goes on."""
        if self.began < 0:
            return 0.0
        end = self.env.now if self.ended < 0 else self.ended
        return (end - self.began) / SECOND
