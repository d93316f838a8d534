"""Hosts: a protocol stack between interfaces, driven by the event loop."""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from mptcpsim.core.connection import Connection
from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.core.stack import Listener, Stack
from mptcpsim.net.node import Interface, Node
from mptcpsim.sim.loop import Loop
from mptcpsim.units import NEVER


@mypyc_attr(allow_interpreted_subclasses=True)
class Host(Node):
    """An end system: gives its stack packets and the time, and carries out what the stack wants.

    Attributes:
        stack: the transport layer.
        on_ready: called with each connection whose application waits and can go on.
        on_arrival: called with each listener that has a new connection.
    """

    __slots__ = ("_calls", "_decisions", "_wake", "_wake_at", "on_arrival", "on_ready", "stack")

    def __init__(self, loop: Loop, name: str, stack: Stack) -> None:
        super().__init__(loop, name)
        self.stack = stack
        self.on_ready: Callable[[Connection], None] | None = None
        self.on_arrival: Callable[[Listener], None] | None = None
        self._decisions: dict[FourTuple, Interface] = {}
        self._wake: Callable[[], None] = self._on_timer
        #: Instants at which ``_wake`` is on the event loop, the next one last. A call cannot be taken
        #: back when an earlier one is needed; waking early is harmless, and the later one stays in use.
        self._calls: list[int] = []
        self._wake_at: int = NEVER
        self.routes.on_change = self.invalidate
        stack.choose_source = self.source_for

    def invalidate(self) -> None:
        """Forget by which interface each flow leaves: a route or an address has changed."""
        self._decisions.clear()

    def addresses_changed(self) -> None:
        """Tell the stack which addresses it has, and its connections which have come and gone."""
        self.invalidate()
        stack = self.stack
        now = self.loop.now
        before = dict(stack.addresses)
        wanted = {
            entry.address: interface.mtu
            for interface in self.interfaces.values()
            for entry in interface.addresses
        }
        for address in [a for a in before if a not in wanted]:
            stack.change_address(address, False, now)
        stack.addresses.clear()
        for address, mtu in wanted.items():
            stack.add_address(address, mtu)
        for address in [a for a in wanted if a not in before]:
            stack.change_address(address, True, now)
        self.drain()

    def receive(self, packet: Packet, interface: Interface) -> None:
        """Take a packet that arrived; one that is for somebody else is dropped, not forwarded."""
        if packet.flow.dst not in self.addresses:
            self.drop(packet, "not-local")
            return
        self.stack.receive_packet(packet, self.loop.now)
        self.drain()

    def drain(self) -> None:
        """Carry out what the stack wants; to be called after every command given to it."""
        stack = self.stack
        outbox = stack.outbox
        if outbox:
            decisions = self._decisions
            for packet in outbox:
                interface = decisions.get(packet.flow)
                if interface is None:
                    self._send_first(packet)
                else:
                    interface.send(packet)
            outbox.clear()
        if stack.wake_at < self._wake_at:
            self._arm()
        if stack.ready:
            self._wake_applications()
        if stack.arrivals:
            arrivals = list(stack.arrivals)
            stack.arrivals.clear()
            if self.on_arrival is not None:
                for listener in arrivals:
                    self.on_arrival(listener)

    def decide(self, packet: Packet) -> Interface | None:
        """Return the interface by which a packet leaves, by destination; None without a route.

        A subclass may look at more, but at nothing that differs between packets of a flow.
        """
        route = self.routes.lookup(packet.flow.dst)
        return None if route is None else route.interface

    def source_for(self, remote: str) -> str:
        """Return the own address from which routing reaches ``remote``; empty: none.

        It is the first one, of the same family, of the interface by which packets to it leave.
        """
        route = self.routes.lookup(remote)
        return "" if route is None else route.interface.primary_address(":" in remote)

    def _send_first(self, packet: Packet) -> None:
        interface = self.decide(packet)
        if interface is None:
            self.drop(packet, "no-route")
            return
        self._decisions[packet.flow] = interface
        interface.send(packet)

    def _wake_applications(self) -> None:
        ready = list(self.stack.ready)
        self.stack.ready.clear()
        if self.on_ready is not None:
            for connection in ready:
                self.on_ready(connection)

    def _arm(self) -> None:
        at = self.stack.next_timer()
        if at < self._wake_at:
            self._wake_at = at
            self._calls.append(at)
            self.loop.schedule(at, self._wake)

    def _on_timer(self) -> None:
        calls = self._calls
        calls.pop()
        self._wake_at = calls[-1] if calls else NEVER
        self.stack.handle_timer(self.loop.now)
        self.drain()
