"""Bytes over sockets for protocols of applications: read so many, write all of them.

They are generators for SimPy processes: ``data = yield from read_block(socket, 37)``.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from mptcpsim.sim.apps import Process
from mptcpsim.sim.sockets import Socket

#: Most bytes that are handed over in one piece.
CHUNK: Final = 1 << 18


class EndOfStream(Exception):
    """The peer has closed before it has sent what it had to send."""


def read_block(socket: Socket, count: int) -> Generator[Any, Any, bytes]:
    """Read exactly ``count`` bytes.

    Raises:
        EndOfStream: the peer closes before.
    """
    parts: list[bytes] = []
    left = count
    while left:
        yield socket.readable()
        data = socket.read_bytes(left)
        if not data and socket.at_end:
            raise EndOfStream(f"{count - left} bytes of {count}")
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def write_block(socket: Socket, data: bytes) -> Process:
    """Write all bytes, waiting for room where there is none."""
    view = memoryview(data)
    while view:
        yield socket.writable()
        view = view[socket.write(view[:CHUNK]) :]


def discard_all(socket: Socket) -> Generator[Any, Any, int]:
    """Read to the end, and return how many bytes there were."""
    total = 0
    while not socket.at_end:
        yield socket.readable()
        total += socket.read(CHUNK)
    return total
