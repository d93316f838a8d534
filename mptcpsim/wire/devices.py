"""Devices: where IP packets leave the process, and where they come in.

A device hands what it reads to its ``sink``; what stands between a device and its user (a tap, a fault
injector) is a device, too, and wraps the other one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Bytes of the largest IP packet: an IPv6 header and 65,535 bytes behind it.
LARGEST_PACKET: Final = 65_575

#: Takes an IP packet, from its header on.
PacketSink = Callable[[bytes], None]


class DeviceError(Exception):
    """A device cannot be had; the text says what is missing and how to get it."""


def ignore(data: bytes) -> None:
    """Take a packet and do nothing: the sink of a device that nobody listens to."""


class WireDevice:
    """A source and sink of IP packets.

    Attributes:
        name: of the interface, for people.
        sink: takes each packet that comes in.
        received, sent: IP packets.
        send_failures: packets that the kernel has not taken: no buffer, interface down.
        gone: the interface does not exist any more; nothing can be read.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.sink: PacketSink = ignore
        self.received: int = 0
        self.sent: int = 0
        self.send_failures: int = 0
        self.gone: bool = False

    def fileno(self) -> int:
        """Return the file descriptor to wait for."""
        raise NotImplementedError

    def poll(self, limit: int) -> int:
        """Read what is there, at most ``limit`` packets; return how many were read.

        Nothing that is received raises, and no failure of reading does.
        """
        raise NotImplementedError

    def write(self, data: bytes, next_hop: str) -> None:
        """Send an IP packet; one that the kernel does not take is counted, and lost.

        Args:
            data: from its IP header on.
            next_hop: the address, on the link of the interface, that it is handed to.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give the interface back; a second call does nothing."""
        raise NotImplementedError


class WrappedDevice(WireDevice):
    """A device that hands everything on to another one; a subclass changes some of it.

    Attributes:
        inner: the other one.
    """

    def __init__(self, inner: WireDevice) -> None:
        super().__init__(inner.name)
        self.inner = inner
        inner.sink = self.take

    def take(self, data: bytes) -> None:
        """Take a packet that the inner device has read."""
        self.received += 1
        self.sink(data)

    def fileno(self) -> int:
        """Return the file descriptor of the inner device."""
        return self.inner.fileno()

    def poll(self, limit: int) -> int:
        """Have the inner device read."""
        count = self.inner.poll(limit)
        self.gone = self.inner.gone
        return count

    def write(self, data: bytes, next_hop: str) -> None:
        """Have the inner device send."""
        self.sent += 1
        self.inner.write(data, next_hop)

    def close(self) -> None:
        """Close the inner device."""
        self.inner.close()
