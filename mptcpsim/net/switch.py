"""Switches: forwarding below IP."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.core.segment import Packet
from mptcpsim.net.node import Interface, Node
from mptcpsim.sim.loop import Loop


class SwitchPort(Interface):
    """A port of a switch: looks the next hop up and sends."""

    __slots__ = ("_switch", "_table")

    def __init__(self, switch: Switch, name: str, mtu: int) -> None:
        super().__init__(switch, name, mtu)
        self._switch = switch
        self._table = switch.table

    def deliver(self, packet: Packet) -> None:
        """Pass a packet on to the port where its next hop is."""
        out = self._table.get(packet.next_hop or packet.flow.dst)
        if out is None or out is self or packet.size > out.mtu:
            self._switch.receive(packet, self)
        else:
            out.send(packet)


class Switch(Node):
    """A switch; nothing of the packet changes, not even the time to live.

    There are no frames here: the port is looked up by the address that the sender has put
    into ``packet.next_hop``, a router's or (empty) the destination itself. What is not in
    the table is looked for as by ARP, once.

    Attributes:
        table: the port by address, in canonical text form; ``topology`` fills it with the
            addresses on the switch's own network.
    """

    FORWARDS: ClassVar[bool] = True
    BELOW_IP: ClassVar[bool] = True

    __slots__ = ("_asked", "table")

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.table: dict[str, Interface] = {}
        self._asked: bool = False

    def make_interface(self, name: str, mtu: int) -> Interface:
        """Return a new port."""
        return SwitchPort(self, name, mtu)

    def learn(self, address: str, port: Interface) -> None:
        """Note behind which port an address is."""
        self.table[address] = port

    def find(self, address: str, asked: Interface) -> Interface | None:
        """Return the interface that answers for an address somewhere behind the other ports, or None."""
        known = self.table.get(address)
        peer = None if known is None or known is asked else known.peer
        if peer is not None and not peer.node.BELOW_IP and peer.node.answers(address, peer):
            return peer
        return self._search(address, asked)[1]

    def neighbour_appeared(self, address: str, port: Interface) -> None:
        """Forget where the address was, and pass the news on."""
        if self._asked:
            return  # switches in a circle
        self._asked = True
        self.table.pop(address, None)
        for other in self.interfaces.values():
            if other is not port and other.peer is not None:
                other.peer.node.neighbour_appeared(address, other.peer)
        self._asked = False

    def receive(self, packet: Packet, interface: Interface) -> None:
        """Deal with a packet that is not simply passed on."""
        out = self.port_of(packet.next_hop or packet.flow.dst)
        if out is None:
            self.drop(packet, "unknown-address")
        elif out is interface:
            self.drop(packet, "same-port")
        elif packet.size > out.mtu:
            self.drop(packet, "too-big")
        else:
            out.send(packet)

    def port_of(self, address: str) -> Interface | None:
        """Return the port behind which an address is, or None."""
        port = self.table.get(address)
        if port is None:
            port = self._search(address, None)[0]
            if port is not None:
                self.table[address] = port
        return port

    def _search(
        self, address: str, asked: Interface | None
    ) -> tuple[Interface, Interface] | tuple[None, None]:
        """Look for who answers for an address, the fewest switches away; return the port and the interface.

        The interface that has the address itself comes before others of its node.
        """
        second: tuple[Interface, Interface] | tuple[None, None] = (None, None)
        seen: set[str] = {self.name}
        todo = [(port, port) for port in self.interfaces.values() if port is not asked]
        while todo:
            first, port = todo.pop(0)
            peer = port.peer
            if peer is None:
                continue
            if port.box_answers(address):
                return first, peer
            node = peer.node
            if isinstance(node, Switch):
                if node.name not in seen:
                    seen.add(node.name)
                    todo.extend((first, other) for other in node.interfaces.values() if other is not peer)
            elif node.answers(address, peer):
                if node.addresses[address] is peer:
                    return first, peer
                if second[0] is None:
                    second = first, peer
        return second
