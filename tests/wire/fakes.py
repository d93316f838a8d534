"""Devices without an interface, and two hosts that talk through one."""

from __future__ import annotations

import socket
from typing import Any

from simpy.events import Event

from mptcpsim import TcpConfig
from mptcpsim.wire.devices import WireDevice
from mptcpsim.wire.host import WireHost

LEFT, RIGHT = "10.1.0.1", "10.1.0.2"


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


class Pair:
    """Two hosts on one clock, each with one device; a turn of one is a turn of the other."""

    def __init__(self, config: TcpConfig | None = None) -> None:
        self.devices = device_pair()
        self.hosts = []
        for seed, (device, address) in enumerate(zip(self.devices, (LEFT, RIGHT), strict=True)):
            host = WireHost(config or TcpConfig(), seed, name=device.name)
            host.attach(device, [f"{address}/24"])
            self.hosts.append(host)
        self.left, self.right = self.hosts

    def run(self, until: Event) -> Any:
        """Run both ends until the left one is done."""
        for _ in range(100_000):
            if until.processed:
                return until.value
            for host in self.hosts:
                host.driver.run_for(0)
        raise AssertionError("it does not end")

    def close(self) -> None:
        for host in self.hosts:
            host.close()
