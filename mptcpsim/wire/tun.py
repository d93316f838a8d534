"""TUN: an interface of the kernel whose other end is a file descriptor.

Source: networking/tuntap in the kernel's documentation. There is no link layer: the kernel routes to the
interface, and the addresses of this end are any of its network but the kernel's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from typing import Final

from mptcpsim.wire.devices import LARGEST_PACKET, DeviceError, WireDevice

TUN_PATH: Final = "/dev/net/tun"

_TUNSETIFF: Final = 0x400454CA
_TUNGETIFF: Final = 0x800454D2
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000


class Tun(WireDevice):
    """A TUN interface, made in the network namespace of the calling thread; it goes when it is closed.

    Args:
        name: of the interface, at most 15 bytes.

    Raises:
        DeviceError: there is no TUN here, or no right to use it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._fd = -1
        try:
            fd = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(
                f"{TUN_PATH} cannot be opened ({error.strerror}): load the module (modprobe tun), in a "
                "container hand the device in (--device /dev/net/tun), and run as root"
            ) from None
        try:
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        except OSError as error:
            os.close(fd)
            raise DeviceError(
                f"the TUN interface {name} cannot be made ({error.strerror}): it takes root or "
                "CAP_NET_ADMIN, and a name that is not in use"
            ) from None
        self._fd = fd

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._fd

    def poll(self, limit: int) -> int:
        """Read up to ``limit`` packets."""
        fd = self._fd
        sink = self.sink
        for count in range(limit):
            try:
                data = os.read(fd, LARGEST_PACKET)
            except BlockingIOError:
                return count
            except OSError:
                # EIO: the interface is down; EBADFD: it was deleted. It can be read again when it is up.
                self.gone = not self._exists()
                return count
            self.received += 1
            sink(data)
        return limit

    def write(self, data: bytes, next_hop: str) -> None:
        """Send a packet to the kernel; there is one end only that it could be handed to."""
        try:
            os.write(self._fd, data)
        except OSError:
            # EIO: the interface is down; EINVAL: no IP packet, after a fault injector.
            self.send_failures += 1
            return
        self.sent += 1

    def close(self) -> None:
        """Close the file descriptor; the interface vanishes with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _exists(self) -> bool:
        """Return whether the descriptor still stands for an interface."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, _TUNGETIFF, bytes(40))
            return True
        return False
