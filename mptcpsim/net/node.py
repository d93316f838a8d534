"""Nodes and their interfaces."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from mypy_extensions import mypyc_attr

from mptcpsim.core.segment import Packet
from mptcpsim.net.middlebox import Passage
from mptcpsim.net.pipe import Pipe, PipeEnd
from mptcpsim.sim.loop import Loop

#: Bytes of the largest IP packet on Ethernet.
DEFAULT_MTU: Final = 1500

#: Called as ``tap(packet, now, outgoing)`` for each packet that passes an interface.
Tap = Callable[[Packet, int, bool], None]

#: Returns a packet as its bytes have it, or None: the bytes make no packet.
Recode = Callable[[Packet], Packet | None]

#: The reasons of a node's drops: the bytes make no packet; the interface is down.
DROP_UNDECODABLE: Final = "undecodable"
DROP_DOWN: Final = "interface-down"


class InterfaceAddress(NamedTuple):
    """An address of an interface, in canonical text form, and the length of its prefix."""

    address: str
    prefix_length: int

    @property
    def prefix(self) -> str:
        """The network that the address is in, in canonical text form."""
        return _prefix_of(self.address, self.prefix_length)


@lru_cache(maxsize=1 << 14)
def _prefix_of(address: str, length: int) -> str:
    return str(ipaddress.ip_network(f"{address}/{length}", strict=False))


@mypyc_attr(allow_interpreted_subclasses=True)
class Device:
    """What an interface has in place of a link: it carries packets out of the simulation.

    What comes in by it goes to ``Interface.arrived``.
    """

    __slots__ = ()

    def send(self, packet: Packet) -> None:
        """Take an outgoing packet; ``packet.next_hop`` is its gateway, empty if it needs none."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Interface(PipeEnd):
    """Where a node meets a link.

    Attributes:
        name: unique in the node, such as ``eth0``.
        node: whose it is.
        addresses: with their prefix lengths, the first one being the primary of its family.
        mtu: bytes of the largest IP packet to send; change it by ``set_mtu``.
        pipe: the outgoing pipe; None until a link is attached.
        peer: the interface at the other end; None until a link is attached.
        device: what it has in place of a link, or None.
        send: takes an outgoing packet: ``interface.send(packet)``.
        up: it sends and receives; change it by ``set_up``.
    """

    __slots__ = (
        "_incoming",
        "_out",
        "_passage",
        "_recode",
        "_tap",
        "addresses",
        "device",
        "mtu",
        "name",
        "node",
        "peer",
        "pipe",
        "send",
        "up",
    )

    def __init__(self, node: Node, name: str, mtu: int = DEFAULT_MTU) -> None:
        self.node = node
        self.name = name
        self.mtu = mtu
        self.addresses: list[InterfaceAddress] = []
        self.pipe: Pipe | None = None
        self.peer: Interface | None = None
        self.device: Device | None = None
        self.send: Callable[[Packet], None] = self._unplugged
        self._incoming: Pipe | None = None
        #: Where what is sent goes behind the tap.
        self._out: Callable[[Packet], None] = self._unplugged
        self._passage: Passage | None = None
        self._recode: Recode | None = None
        self._tap: Tap | None = None
        self.up: bool = True

    def deliver(self, packet: Packet) -> None:
        """Take a packet that arrives from the link."""
        self.node.receive(packet, self)

    def attach(self, outgoing: Pipe, incoming: Pipe, peer: Interface) -> None:
        """Connect the interface to a link; ``net.link.Link`` calls this.

        Raises:
            ValueError: it is connected already.
        """
        if self.pipe is not None:
            raise ValueError(f"interface {self.label} is connected to {self.pipe.name} already")
        if self.device is not None:
            raise ValueError(f"interface {self.label} has a device already")
        self.pipe = outgoing
        self.peer = peer
        self._incoming = incoming
        self._connect()

    def attach_device(self, device: Device) -> None:
        """Connect the interface to a device in place of a link.

        Raises:
            ValueError: it is connected already.
        """
        if self.pipe is not None or self.device is not None:
            raise ValueError(f"interface {self.label} is connected already")
        self.device = device
        self._connect()

    def arrived(self, packet: Packet) -> None:
        """Take a packet that the device has received."""
        if not self.up:
            self._refuse(packet)
        elif self._tap is None and self._recode is None:
            self.deliver(packet)
        else:
            self._deliver_watched(packet)

    def stand_behind(self, passage: Passage) -> None:
        """Put middleboxes between the link and this interface; ``net.link.Link`` calls this."""
        self._passage = passage
        self._connect()

    @property
    def label(self) -> str:
        """The name with the node's, such as ``client.eth0``."""
        return f"{self.node.name}.{self.name}"

    @property
    def tap(self) -> Tap | None:
        """What looks at each packet as it passes: before the outgoing pipe, behind the incoming one.

        An interface without a tap pays nothing for it.
        """
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        self._connect()

    @property
    def recode(self) -> Recode | None:
        """Applied to each packet that arrives from the link: what crossed it were bytes.

        A packet for which it returns None is dropped, counted as ``undecodable``.
        """
        return self._recode

    @recode.setter
    def recode(self, recode: Recode | None) -> None:
        self._recode = recode
        self._connect()

    def add_address(self, text: str) -> str:
        """Add an address such as ``"10.0.0.1/24"``; return it in canonical text form.

        Without a prefix length the prefix is the address alone.

        Raises:
            ValueError: the text is no address, or the node has the address already.
        """
        parsed = ipaddress.ip_interface(text)
        address = str(parsed.ip)
        if address in self.node.addresses:
            raise ValueError(f"{self.node.name} has the address {address} already")
        self.addresses.append(InterfaceAddress(address, parsed.network.prefixlen))
        self.node.addresses[address] = self
        self.node.addresses_changed()
        if self.peer is not None:
            # As by a gratuitous ARP: who has looked for the address elsewhere looks again.
            self.peer.node.neighbour_appeared(address, self.peer)
        return address

    def remove_address(self, *texts: str) -> None:
        """Remove addresses, all at once, with or without their prefix lengths.

        Raises:
            ValueError: a text is no address, or the interface does not have it.
        """
        for text in texts:
            address = str(ipaddress.ip_interface(text).ip)
            kept = [entry for entry in self.addresses if entry.address != address]
            if len(kept) == len(self.addresses):
                raise ValueError(f"interface {self.label} does not have the address {address}")
            self.addresses = kept
            del self.node.addresses[address]
        self.node.addresses_changed()

    def set_mtu(self, mtu: int) -> None:
        """Change the MTU, bytes, and let the node know."""
        self.mtu = mtu
        self.node.addresses_changed()

    def set_up(self, up: bool) -> None:
        """Set the interface up, or down: then what it would send or receive is dropped (``interface-down``).

        Its addresses and the routes by it stay; what has one of them as its source is not sent meanwhile,
        by another interface either.
        """
        self.up = up
        self._connect()
        self.node.invalidate()

    def primary_address(self, ipv6: bool) -> str:
        """Return the first address of a family, or an empty string."""
        for entry in self.addresses:
            if (":" in entry.address) == ipv6:
                return entry.address
        return ""

    def on_link(self, address: str) -> bool:
        """Return whether an address is in the prefix of one of the interface's addresses."""
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(entry.prefix) for entry in self.addresses)

    def neighbour(self, address: str) -> Interface | None:
        """Return the interface on the link, or behind its switches, that answers for an address (ARP).

        An interface without an address of the family is unnumbered: at the other end of a link it
        is the one that is meant whatever the address.
        """
        peer = self.peer
        if peer is None or self.box_answers(address):
            return peer
        found = peer.node.find(address, peer)
        if found is None and not peer.node.BELOW_IP and not peer.primary_address(":" in address):
            return peer
        return found

    def box_answers(self, address: str) -> bool:
        """Return whether a middlebox on the link answers for an address."""
        return self._passage is not None and self._passage.answers(address)

    def _connect(self) -> None:
        """Point both pipes at the methods that fit: with something in between, or without."""
        if self.device is not None:
            self.node.invalidate()
            self._out = self.device.send
            self.send = self._out if self._tap is None else self._send_tapped
            if not self.up:
                self.send = self._refuse
            return
        if self.pipe is None or self._incoming is None:
            return
        self.node.invalidate()
        passage = self._passage
        self._out = self.pipe.send if passage is None else passage.outward
        self.send = self._out if self._tap is None else self._send_tapped
        direct = self._tap is None and self._recode is None
        take = self.deliver if direct else self._deliver_watched
        if passage is not None:
            passage.deliver = take
            self._incoming.sink = passage.inward
        elif direct:
            self._incoming.lead_to(self)
        else:
            self._incoming.sink = take
        if not self.up:
            self.send = self._incoming.sink = self._refuse
            if passage is not None:
                passage.deliver = self._refuse

    def plain_pipe(self) -> Pipe | None:
        """Return the outgoing pipe, if what is sent goes straight into it until the node is invalidated."""
        return self.pipe if self.up and self._tap is None and self._passage is None else None

    def _send_tapped(self, packet: Packet) -> None:
        assert self._tap is not None
        self._tap(packet, self.node.loop.now, True)
        self._out(packet)

    def _deliver_watched(self, packet: Packet) -> None:
        if self._recode is not None:
            decoded = self._recode(packet)
            if decoded is None:
                self.node.drop(packet, DROP_UNDECODABLE)
                return
            packet = decoded
        if self._tap is not None:
            self._tap(packet, self.node.loop.now, False)
        self.deliver(packet)

    def _refuse(self, packet: Packet) -> None:
        self.node.drop(packet, DROP_DOWN)

    def _unplugged(self, packet: Packet) -> None:
        self.node.drop(packet, "no-link")


@mypyc_attr(allow_interpreted_subclasses=True)
class Node:
    """Anything that has interfaces: a host, a router, a switch.

    Attributes:
        loop: the clock.
        name: unique in the network.
        interfaces: by name, in the order in which they were added.
        addresses: the interface that has it, by address in canonical text form.
        drops: packets that the node itself dropped, by reason.
        on_drop: called as ``on_drop(packet, reason)`` for each of them, if set.
    """

    #: It passes on packets that are not for itself.
    FORWARDS: ClassVar[bool] = False
    #: It passes them on below IP: it has no addresses, and is no router on a path.
    BELOW_IP: ClassVar[bool] = False

    __slots__ = ("addresses", "drops", "interfaces", "loop", "name", "on_drop")

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.interfaces: dict[str, Interface] = {}
        self.addresses: dict[str, Interface] = {}
        self.drops: dict[str, int] = {}
        self.on_drop: Callable[[Packet, str], None] | None = None

    def add_interface(
        self, name: str = "", addresses: Sequence[str] = (), mtu: int = DEFAULT_MTU
    ) -> Interface:
        """Add an interface; without a name it is called ``eth0``, ``eth1`` and so on.

        Raises:
            ValueError: there is one of that name, or an address is wrong.
        """
        name = name or f"eth{len(self.interfaces)}"
        if name in self.interfaces:
            raise ValueError(f"{self.name} has an interface {name} already")
        interface = self.make_interface(name, mtu)
        self.interfaces[name] = interface
        for address in addresses:
            interface.add_address(address)
        return interface

    def make_interface(self, name: str, mtu: int) -> Interface:
        """Return a new interface of the class that this kind of node wants."""
        return Interface(self, name, mtu)

    def receive(self, packet: Packet, interface: Interface) -> None:
        """Take a packet that arrived at an interface."""
        raise NotImplementedError

    def find(self, address: str, asked: Interface) -> Interface | None:
        """Return the interface that answers when a neighbour looks for an address, or None (ARP).

        Args:
            address: the one that is looked for.
            asked: the node's interface that gets the question.
        """
        return asked if self.answers(address, asked) else None

    def answers(self, address: str, asked: Interface) -> bool:
        """Return whether the node answers for an address at one of its interfaces.

        As Linux does, it answers for all its addresses at each.
        """
        return address in self.addresses

    def neighbour_appeared(self, address: str, port: Interface) -> None:
        """Note that a node on the link of ``port`` has a new address."""
        self.invalidate()

    def addresses_changed(self) -> None:
        """Note that an interface got or lost an address, or has another MTU."""
        self.invalidate()

    def invalidate(self) -> None:
        """Forget all decisions that were kept: something that they depend on has changed."""

    def drop(self, packet: Packet, reason: str) -> None:
        """Count a packet that ends here."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.on_drop is not None:
            self.on_drop(packet, reason)
