"""The kernel's end of a connection: a program for the kernel's namespace, standard library only.

``python peer.py '{"role": "client", ...}'`` opens or accepts connections of the kernel and sends, receives
and closes as it is told (``PeerOrders``). It writes JSON to standard output, one object a line:
``{"ready": true}`` once it listens, and a report at the end of each connection. A line on standard input
is the word for connections that wait for one (``first``, ``hold``). It knows nothing of the rest of the
package: it is a witness of its own.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import struct
import sys
import threading
import time
from typing import Any, NamedTuple

IPPROTO_MPTCP = 262
_TCP_INFO = 11
_CHUNK = 1 << 16

#: Bytes of an endless stream before they begin again.
BLOCK = 1 << 20

#: How long it waits for anything, s.
_PATIENCE = 60.0

# When a connection is closed by its end.
AFTER_SEND = "after-send"
AFTER_END = "after-end"
HOLD = "hold"


class PeerOrders(NamedTuple):
    """What the program is to do.

    Attributes:
        role: ``client`` or ``server``.
        address: where it listens (empty: everywhere), or whom it calls.
        port: likewise.
        source: the address that it calls from; empty: as routing has it.
        mptcp: MPTCP; otherwise TCP.
        connections: how many, at the same time.
        send: bytes to send on each connection.
        seed: of what they are; each connection adds its number.
        close: when its direction is closed: after the last byte, after the peer's end, or on a word.
        receive_buffer: SO_RCVBUF; 0: as the kernel has it.
        pause_at: it stops reading for ``pause`` seconds when it has read so many bytes; -1: never.
        pause: s.
        abort_at: it aborts (SO_LINGER 0) when it has read so many bytes; -1: never.
        chunk: bytes of a write; 0: as large as can be.
        interval: time between two writes, s.
        wait: time before the first write, s.
        echo: it sends back what it gets, in place of bytes of its own.
        seconds: it sends without end for so long, in place of a number of bytes; 0: it does not.
        first: bytes after which it waits for a word before it sends the others; 0: it does not wait.
    """

    role: str
    address: str = ""
    port: int = 5000
    source: str = ""
    mptcp: bool = True
    connections: int = 1
    send: int = 0
    seed: int = 1
    close: str = AFTER_SEND
    receive_buffer: int = 0
    pause_at: int = -1
    pause: float = 0.0
    abort_at: int = -1
    chunk: int = 0
    interval: float = 0.0
    wait: float = 0.0
    echo: bool = False
    seconds: float = 0.0
    first: int = 0


def random_bytes(seed: int, length: int) -> bytes:
    """Return the bytes that go with a seed; both ends can make them."""
    return random.Random(seed).randbytes(length)


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class _Connection:
    """One connection: a thread that sends, and the thread of the caller, which receives."""

    def __init__(self, orders: PeerOrders, number: int, end: socket.socket, word: threading.Event) -> None:
        self.orders = orders
        self.number = number
        self.end = end
        self.word = word
        self.sent = 0
        self.received = 0
        self.hash = hashlib.sha256()
        self.sent_hash = hashlib.sha256()
        self.error = ""
        self.aborted = False
        self.begun = time.monotonic()

    def run(self) -> None:
        orders = self.orders
        self.end.settimeout(_PATIENCE)
        sender = threading.Thread(target=self._guarded, args=(self._send,))
        if not orders.echo:
            sender.start()
        self._guarded(self._receive)
        if orders.echo:
            self._guarded(lambda: self.end.shutdown(socket.SHUT_WR))
        else:
            sender.join()
        plain = self._fell_back()
        if orders.close == HOLD and not self.error:
            self.word.wait(_PATIENCE)
        self.end.close()
        _say(
            connection=self.number,
            sent=self.sent,
            received=self.received,
            sha256=self.hash.hexdigest(),
            sent_sha256=self.sent_hash.hexdigest(),
            error=self.error,
            plain=plain,
            seconds=time.monotonic() - self.begun,
        )

    def _guarded(self, step: Any) -> None:
        try:
            step()
        except OSError as error:
            if not self.aborted:
                self.error = self.error or f"{type(error).__name__}: {error}"

    def _send(self) -> None:
        orders = self.orders
        chunk = orders.chunk or _CHUNK
        time.sleep(orders.wait)
        if orders.seconds:
            self._send_until(time.monotonic() + orders.seconds, chunk)
            return
        data = memoryview(random_bytes(orders.seed + self.number, orders.send))
        waits = 0 < orders.first < orders.send
        while self.sent < orders.send:
            limit = orders.first - self.sent if waits else chunk
            part = data[self.sent : self.sent + min(chunk, limit)]
            count = self.end.send(part)
            self.sent_hash.update(part[:count])
            self.sent += count
            if waits and self.sent == orders.first:
                waits = False
                self.word.wait(_PATIENCE)
            if orders.interval:
                time.sleep(orders.interval)
        if orders.close == AFTER_SEND:
            self.end.shutdown(socket.SHUT_WR)

    def _send_until(self, end: float, chunk: int) -> None:
        block = random_bytes(self.orders.seed + self.number, BLOCK)
        data = memoryview(block + block[:chunk])
        while time.monotonic() < end:
            place = self.sent % BLOCK
            count = self.end.send(data[place : place + chunk])
            self.sent_hash.update(data[place : place + count])
            self.sent += count
        self.end.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        orders = self.orders
        while True:
            limit = _CHUNK * 4
            for mark in (orders.pause_at, orders.abort_at):
                if mark > self.received:
                    limit = min(limit, mark - self.received)
            data = self.end.recv(limit)
            if not data:
                return
            self.received += len(data)
            self.hash.update(data)
            if orders.echo:
                self.end.sendall(data)
                self.sent += len(data)
            if self.received == orders.pause_at:
                time.sleep(orders.pause)
            if self.received == orders.abort_at:
                self.aborted = True
                self.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.end.close()
                return

    def _fell_back(self) -> bool:
        """Return whether the connection speaks plain TCP (MPTCP_INFO, flag 1)."""
        if not self.orders.mptcp or self.aborted:
            return True
        try:
            info = self.end.getsockopt(284, 1, 128)
        except OSError:
            return True
        return bool(struct.unpack_from("I", info, 8)[0] & 1)


def _socket(orders: PeerOrders, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in (address or orders.source) else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if orders.mptcp else 0)
    if orders.receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, orders.receive_buffer)
    return made


def _ends(orders: PeerOrders, opened: list[socket.socket]) -> Any:
    """Yield the connections as they come to be; a listener goes into ``opened``."""
    if orders.role == "server":
        listener = _socket(orders, orders.address)
        opened.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((orders.address, orders.port))
        listener.listen(64)
        listener.settimeout(_PATIENCE)
        _say(ready=True)
        for _ in range(orders.connections):
            yield listener.accept()[0]
        return
    _say(ready=True)
    for _ in range(orders.connections):
        made = _socket(orders, orders.address)
        if orders.source:
            made.bind((orders.source, 0))
        made.settimeout(_PATIENCE)
        made.connect((orders.address, orders.port))
        yield made


def main(text: str) -> None:
    """Carry out orders, given as JSON."""
    orders = PeerOrders(**json.loads(text))
    word = threading.Event()

    def listen_for_word() -> None:
        if sys.stdin.readline():
            word.set()

    threading.Thread(target=listen_for_word, daemon=True).start()
    threads = []
    # The listener stays open until all is done: the kernel takes joins by a listener only.
    opened: list[socket.socket] = []
    try:
        for number, end in enumerate(_ends(orders, opened)):
            connection = _Connection(orders, number, end, word)
            thread = threading.Thread(target=connection.run)
            thread.start()
            threads.append(thread)
    except OSError as error:
        _say(connection=len(threads), error=f"{type(error).__name__}: {error}")
    for thread in threads:
        thread.join()
    for listener in opened:
        listener.close()


if __name__ == "__main__":
    main(sys.argv[1])
