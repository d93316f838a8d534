"""Devices without an interface, and two hosts that talk through one."""

from __future__ import annotations

import socket

from mptcpsim.wire.devices import WireDevice


class SocketDevice(WireDevice):
    """One end of a pair of sockets that keep the boundaries of packets."""

    def __init__(self, name: str, end: socket.socket) -> None:
        super().__init__(name)
        self.end = end
        self.hops: list[str] = []
        end.setblocking(False)

    def fileno(self) -> int:
        return self.end.fileno()

    def poll(self, limit: int) -> int:
        for count in range(limit):
            try:
                data = self.end.recv(65_575)
            except BlockingIOError:
                return count
            self.received += 1
            self.sink(data)
        return limit

    def write(self, data: bytes, next_hop: str) -> None:
        self.hops.append(next_hop)
        try:
            self.end.send(data)
            self.sent += 1
        except BlockingIOError:
            self.send_failures += 1

    def close(self) -> None:
        self.end.close()


def device_pair() -> tuple[SocketDevice, SocketDevice]:
    """Return two devices, each of which gets what the other one sends."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return SocketDevice("left", a), SocketDevice("right", b)


class ListDevice(WireDevice):
    """Keeps what is sent; ``arrive`` has something come in."""

    def __init__(self, name: str = "list0") -> None:
        super().__init__(name)
        self.out: list[tuple[bytes, str]] = []

    def fileno(self) -> int:
        raise NotImplementedError

    def poll(self, limit: int) -> int:
        return 0

    def write(self, data: bytes, next_hop: str) -> None:
        self.out.append((data, next_hop))

    def arrive(self, data: bytes) -> None:
        self.sink(data)

    def close(self) -> None:
        """There is nothing to close."""
