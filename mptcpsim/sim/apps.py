"""Applications: what writes the bytes of a flow, and what reads them, as SimPy processes.

A ``Source`` writes to a socket and closes it; a ``Reader`` reads until the end. A new
application is a subclass of ``Source`` with one generator::

    class Burst(Source):
        def run(self, env, socket):
            yield socket.writable()
            socket.write(100_000)
            yield env.timeout("1s")
            socket.write(100_000)
"""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import Socket
from mptcpsim.units import NEVER, SECOND

#: What a SimPy process yields.
Process = Generator[Any, Any, None]

#: A bulk sender without a byte limit hands over as much as the send buffer takes.
_ALL_THAT_FITS = 1 << 62


class Source:
    """Writes the data of a flow.

    Attributes:
        limit: bytes to write in all; None for no limit.
        duration: ns after which writing ends; None for no limit.
    """

    def __init__(self, limit: int | None = None, duration: int | None = None) -> None:
        self.limit = limit
        self.duration = duration

    def run(self, env: Environment, socket: Socket) -> Process:
        """Write; the flow closes the socket when this returns."""
        raise NotImplementedError


class Bulk(Source):
    """Writes as fast as the connection takes it (iperf's ``-n`` or ``-t``).

    With a ``write_size`` (iperf's ``-l``) it does so in calls of that many bytes; one that has begun
    is completed, also when the time is over.
    """

    def __init__(
        self, limit: int | None = None, duration: int | None = None, write_size: int | None = None
    ) -> None:
        super().__init__(limit, duration)
        self.write_size = write_size

    def run(self, env: Environment, socket: Socket) -> Process:
        """Write all that fits, whenever a third of the send buffer is free."""
        left = _ALL_THAT_FITS if self.limit is None else self.limit
        end = NEVER if self.duration is None else env.now + self.duration
        if self.write_size is not None:
            while left and env.now < end:
                count = min(left, self.write_size)
                yield from write_all(socket, count)
                left -= count
            return
        over = None if self.duration is None else env.timeout(self.duration)
        while left and env.now < end:
            writable = socket.writable()
            yield writable if over is None else writable | over
            if env.now >= end:
                break
            left -= socket.write(left)


class ConstantRate(Source):
    """Writes a message of ``message`` bytes at equal intervals so that ``rate`` bit/s result.

    A message for which the send buffer has no room waits, as a blocking write does; the
    schedule does not shift.
    """

    def __init__(
        self, rate: int, message: int, limit: int | None = None, duration: int | None = None
    ) -> None:
        super().__init__(limit, duration)
        self.rate = rate
        self.message = message

    def run(self, env: Environment, socket: Socket) -> Process:
        """Write on schedule."""
        end = NEVER if self.duration is None else env.now + self.duration
        yield from self.talk(env, socket, end, _Budget(self.limit))

    def talk(self, env: Environment, socket: Socket, end: int, budget: _Budget) -> Process:
        """Write messages on schedule until the instant ``end`` (ns) or until the budget is used up."""
        start = env.now
        sent = 0
        while budget.left > 0:
            due = start + sent * self.message * 8 * SECOND // self.rate
            if due >= end:
                break
            if due > env.now:
                yield env.timeout(due - env.now)
            yield from write_all(socket, budget.take(self.message))
            sent += 1
        if budget.left > 0 and end < NEVER and env.now < end:
            yield env.timeout(end - env.now)


class OnOff(ConstantRate):
    """Constant rate during ``on``, silence during ``off`` (ns).

    Both are exponentially distributed with these means if a random stream is given.
    """

    def __init__(
        self,
        rate: int,
        message: int,
        on: int,
        off: int,
        rng: random.Random | None = None,
        limit: int | None = None,
        duration: int | None = None,
    ) -> None:
        super().__init__(rate, message, limit, duration)
        self.on = on
        self.off = off
        self.rng = rng

    def run(self, env: Environment, socket: Socket) -> Process:
        """Alternate."""
        end = NEVER if self.duration is None else env.now + self.duration
        budget = _Budget(self.limit)
        while env.now < end and budget.left > 0:
            yield from self.talk(env, socket, min(end, env.now + self._draw(self.on)), budget)
            pause = min(self._draw(self.off), end - env.now)
            if pause > 0 and budget.left > 0:
                yield env.timeout(pause)

    def _draw(self, mean: int) -> int:
        return mean if self.rng is None else max(1, round(self.rng.expovariate(1.0 / mean)))


class _Budget:
    """Bytes that may still be written."""

    def __init__(self, limit: int | None) -> None:
        self.left = _ALL_THAT_FITS if limit is None else limit

    def take(self, wanted: int) -> int:
        """Return how many of ``wanted`` bytes may be written, and use them up."""
        granted = min(wanted, self.left)
        self.left -= granted
        return granted


def write_all(socket: Socket, data: int | bytes | bytearray | memoryview) -> Process:
    """Write bytes, or a number of them, waiting for room where there is none (a blocking write)."""
    if isinstance(data, int):
        while data:
            yield socket.writable()
            data -= socket.write(data)
        return
    rest = memoryview(data)
    while rest:
        yield socket.writable()
        rest = rest[socket.write(rest) :]


def read_exactly(socket: Socket, count: int) -> Process:
    """Read ``count`` bytes, or up to the end if the peer closes before."""
    while count and not socket.at_end:
        yield socket.readable()
        count -= socket.read(count)


class Reader:
    """Reads everything, at most ``read_size`` bytes at a time.

    With ``every`` (ns) it reads at whole multiples of it after its start only, however the data
    arrives; otherwise whenever there is data. With ``pause`` (ns) it stops for so long, once, when it
    has read ``pause_after`` bytes.
    """

    def __init__(self, read_size: int, every: int = 0, pause: int = 0, pause_after: int = 0) -> None:
        self.read_size = read_size
        self.every = every
        self.pause = pause
        self.pause_after = pause_after

    def run(self, env: Environment, socket: Socket) -> Process:
        """Read until the peer has closed and all is read."""
        start = env.now
        done = 0
        pause = self.pause
        while not socket.at_end:
            yield socket.readable()
            if self.every:
                yield env.timeout(self.every - (env.now - start) % self.every)
            if pause and done >= self.pause_after:
                yield env.timeout(pause)
                pause = 0
            done += socket.read(self.read_size)
