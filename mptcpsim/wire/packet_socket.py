"""AF_PACKET: frames at one end of a veth, which has no addresses that the kernel knows (packet(7))."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Final

from mptcpsim.codec.raw import address_bytes
from mptcpsim.wire.devices import LARGEST_PACKET, DeviceError, WireDevice
from mptcpsim.wire.neighbours import ETHERNET_HEADER, TYPE_IPV4, TYPE_IPV6, Neighbours

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_RCVBUFFORCE: Final = 33
_BUFFER: Final = 8 << 20


class PacketSocket(WireDevice):
    """An Ethernet interface of the calling thread's network namespace, by a packet socket.

    It answers ARP and neighbour discovery for its addresses itself. The kernel must not have them, or it
    would answer as well; and who sends to it must compute its checksums itself (``offloads.switch_off``).

    Attributes:
        neighbours: the neighbours on the link.
        other_frames: frames that are neither IP nor about neighbours.

    Args:
        name: of the interface.
        addresses: the addresses of this end.

    Raises:
        DeviceError: there is no such interface, or no right to use it.
    """

    def __init__(self, name: str, addresses: Iterable[str]) -> None:
        super().__init__(name)
        try:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except OSError as error:
            raise DeviceError(
                f"no packet socket ({error.strerror}): run as root or with CAP_NET_RAW"
            ) from None
        try:
            made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            made.bind((name, _ETH_P_ALL))
        except OSError as error:
            made.close()
            raise DeviceError(
                f"the interface {name} cannot be used by a packet socket ({error.strerror}): it must exist, "
                "and this takes root or CAP_NET_RAW and CAP_NET_ADMIN"
            ) from None
        self._socket = made
        self.other_frames: int = 0
        self.neighbours = Neighbours(made.getsockname()[4], addresses, self._send_frame, time.monotonic_ns)

    def fileno(self) -> int:
        """Return the file descriptor of the socket."""
        return self._socket.fileno()

    def poll(self, limit: int) -> int:
        """Read up to ``limit`` frames; those about neighbours are dealt with here."""
        receive = self._socket.recv
        neighbours = self.neighbours
        for count in range(limit):
            try:
                frame = receive(LARGEST_PACKET + ETHERNET_HEADER)
            except BlockingIOError:
                return count
            except OSError:
                # ENETDOWN, once, when the interface goes down or away; then the socket has none any more.
                self.gone = not self._socket.getsockname()[0]
                return count
            kind = frame[12:14]
            if neighbours.take(frame):
                continue
            if kind in (TYPE_IPV4, TYPE_IPV6):
                self.received += 1
                self.sink(frame[ETHERNET_HEADER:])
            else:
                self.other_frames += 1
        return limit

    def write(self, data: bytes, next_hop: str) -> None:
        """Send an IP packet to a neighbour, once its hardware address is known."""
        if not data:
            self.send_failures += 1
            return
        self.sent += 1
        self.neighbours.send_to(address_bytes(next_hop), data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_frame(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
        except OSError:
            # ENETDOWN, ENXIO, ENOBUFS, EMSGSIZE.
            self.send_failures += 1
