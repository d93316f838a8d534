"""Ports: an interface of a host and the device behind it, with the codec in between.

Whatever comes in by the device is either a packet for TCP or counted and passed by; nothing raises.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.packet import decode, encode
from mptcpsim.codec.segments import Lookup
from mptcpsim.core.segment import Packet
from mptcpsim.net.node import Device, Interface
from mptcpsim.wire.devices import WireDevice

#: What is passed by, by protocol number.
_NAMES: Final = {1: "icmp", 2: "igmp", 6: "broken", 17: "udp", 58: "icmpv6"}
_HOP_BY_HOP: Final = 0


class WirePort(Device):
    """The device of an interface.

    Attributes:
        interface: the interface.
        device: what packets go out by.
        passed_by: packets that were for nobody here, by what they were.
        unencodable: packets of the own stack that have no bytes, which is a fault of it, and why the last
            one has none. They are lost.
    """

    def __init__(self, interface: Interface, device: WireDevice, lookup: Lookup) -> None:
        """Connect an interface to a device.

        Args:
            interface: one that is not connected yet.
            device: one that nobody listens to.
            lookup: gives the sequence numbers of the connection that a packet is for.
        """
        self.interface = interface
        self.device = device
        self.passed_by: dict[str, int] = {}
        self.unencodable: tuple[int, str] = (0, "")
        self._lookup = lookup
        device.sink = self.take
        interface.attach_device(self)

    def send(self, packet: Packet) -> None:
        """Send a packet of the host."""
        try:
            data = encode(packet)
        except EncodeError as error:
            self.unencodable = (self.unencodable[0] + 1, str(error))
            return
        self.device.write(data, packet.next_hop or packet.flow.dst)

    def take(self, data: bytes) -> None:
        """Take what the device has received."""
        try:
            packet = decode(data, self._lookup)
        except DecodeError:
            kind = kind_of(data)
            self.passed_by[kind] = self.passed_by.get(kind, 0) + 1
            return
        self.interface.arrived(packet)


def kind_of(data: bytes) -> str:
    """Return what a packet that is none for TCP is, in a word."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        if data[6] & 0x3F or data[7]:
            return "fragment"
        protocol = data[9]
    elif len(data) >= 40 and data[0] >> 4 == 6:
        protocol = data[6]
        if protocol == _HOP_BY_HOP and len(data) > 40:
            protocol = data[40]  # multicast listener reports have it
    else:
        return "broken"
    return _NAMES.get(protocol, "other")
