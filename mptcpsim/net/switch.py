"""Switches: forwarding below IP."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.core.segment import Packet
from mptcpsim.net.node import Interface, Node
from mptcpsim.sim.loop import Loop


class SwitchPort(Interface):
    """A port of a switch: looks the destination up and sends."""

    __slots__ = ("_switch", "_table")

    def __init__(self, switch: Switch, name: str, mtu: int) -> None:
        super().__init__(switch, name, mtu)
        self._switch = switch
        self._table = switch.table

    def deliver(self, packet: Packet) -> None:
        """Pass a packet on to the port where its destination is."""
        out = self._table.get(packet.flow.dst)
        if out is None or out is self or packet.size > out.mtu:
            self._switch.receive(packet, self)
        else:
            out.send(packet)


class Switch(Node):
    """A switch with a static table; nothing of the packet changes, not even the time to live.

    There are no frames here: the port is looked up by the packet's IP destination, in a
    table that has the addresses behind routers too (``topology`` fills it).

    Attributes:
        table: the port by destination address, in canonical text form.
        default: the port for addresses that are not in the table, such as the only
            router's; None drops them.
    """

    FORWARDS: ClassVar[bool] = True
    BELOW_IP: ClassVar[bool] = True

    __slots__ = ("default", "table")

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.table: dict[str, Interface] = {}
        self.default: Interface | None = None

    def make_interface(self, name: str, mtu: int) -> Interface:
        """Return a new port."""
        return SwitchPort(self, name, mtu)

    def learn(self, address: str, port: Interface) -> None:
        """Note behind which port an address is."""
        self.table[address] = port

    def answers(self, address: str) -> bool:
        """Return whether the address is known to be somewhere behind this switch."""
        return address in self.table

    def receive(self, packet: Packet, interface: Interface) -> None:
        """Deal with a packet that is not simply passed on."""
        out = self.table.get(packet.flow.dst, self.default)
        if out is None:
            self.drop(packet, "unknown-address")
        elif out is interface:
            self.drop(packet, "same-port")
        elif packet.size > out.mtu:
            self.drop(packet, "too-big")
        else:
            out.send(packet)
