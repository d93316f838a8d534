"""Hosts: a protocol stack between interfaces, driven by the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64, mypyc_attr

from mptcpsim.core.segment import ICMP_FRAGMENTATION_NEEDED, FourTuple, IcmpError, Packet, Segment
from mptcpsim.core.stack import Listener, Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.stack import Arriving
from mptcpsim.net.course import Course, Leaving
from mptcpsim.net.forwarding import TOO_BIG, IpNode, remember
from mptcpsim.net.node import Interface
from mptcpsim.sim.loop import Loop
from mptcpsim.units import NEVER

#: Courses of past flows that are not worth looking through.
_FEW: Final = 64


@mypyc_attr(allow_interpreted_subclasses=True)
class Host(IpNode):
    """An end system: gives its stack packets and the time, and carries out what the stack wants.

    Attributes:
        stack: the transport layer.
        on_ready: called with each connection whose application waits and can go on.
        on_arrival: called with each listener that has a new connection.
    """

    __slots__ = (
        "_accepted",
        "_calls",
        "_decisions",
        "_epoch",
        "_wake",
        "_wake_at",
        "on_arrival",
        "on_ready",
        "stack",
    )

    def __init__(self, loop: Loop, name: str, stack: Stack) -> None:
        super().__init__(loop, name)
        self.stack = stack
        self.on_ready: Callable[[Connection], None] | None = None
        self.on_arrival: Callable[[Listener], None] | None = None
        #: How packets leave by flow; none while there are filters to be asked first.
        self._decisions: dict[FourTuple, Leaving] = {}
        #: Grows when the decisions are forgotten.
        self._epoch: i64 = 0
        #: Addresses for which packets are taken without a further look; none while there are filters.
        self._accepted: dict[str, Interface] = self.addresses
        self._wake: Callable[[], None] = self._on_timer
        #: Instants at which ``_wake`` is on the event loop, the next one last. A call cannot be taken
        #: back when an earlier one is needed; waking early is harmless, and the later one stays in use.
        self._calls: list[int] = []
        self._wake_at: int = NEVER
        stack.choose_source = self.source_for

    def invalidate(self) -> None:
        """Forget what becomes of each flow."""
        super().invalidate()
        self._decisions.clear()
        self._epoch += 1
        self._accepted = {} if self.filters else self.addresses

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
        gone = [address for address in before if address not in wanted]
        if gone:
            stack.lose_addresses(gone, now)
        stack.addresses.clear()
        for address, mtu in wanted.items():
            stack.add_address(address, mtu)
        for address in [a for a in wanted if a not in before]:
            stack.change_address(address, True, now)
        self.drain()

    def receive(self, packet: Packet, interface: Interface) -> None:
        """Take a packet that arrived; one for another node is dropped, not forwarded."""
        before = packet.way
        arriving = None if before is None else before.onward
        if (
            isinstance(arriving, Arriving)
            and arriving.flow is packet.flow
            and arriving.keeper is self
            and arriving.epoch == self._epoch
            and arriving.tcp is not None
            and isinstance(packet, Segment)
        ):
            self.stack.receive_segment(packet, arriving.tcp, self.loop.now)
            self.drain()
        elif packet.flow.dst in self._accepted:
            if before is not None:
                before.onward = arriving = self.stack.arriving(packet.flow)
                if arriving is not None:
                    arriving.accept(packet.flow, self, self._epoch)
            self.stack.receive_packet(packet, self.loop.now)
            self.drain()
        else:
            self.carry(packet, self.course_for(packet, interface))

    def take(self, packet: Packet, received: Interface) -> None:
        """Give a packet to the stack."""
        self.stack.receive_packet(packet, self.loop.now)
        self.drain()

    def drain(self) -> None:
        """Carry out what the stack wants; to be called after every command given to it."""
        stack = self.stack
        outbox = stack.outbox
        if outbox:
            for packet in outbox:
                before = packet.way
                onward = None if before is None else before.onward
                if (
                    isinstance(onward, Leaving)
                    and onward.flow is packet.flow
                    and onward.keeper is self
                    and onward.epoch == self._epoch
                ):
                    course: Leaving | None = onward
                else:
                    course = self._decisions.get(packet.flow)
                    if course is not None:
                        course.flow = packet.flow
                        if before is not None:
                            before.onward = course
                if course is None:
                    self.carry(packet, self.course_for(packet, None))
                    continue
                packet.way = course
                pipe = course.pipe
                if pipe is not None:
                    pipe.send(packet)
                else:
                    course.send(packet)
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

    def keep(self, flow: FourTuple, received: Interface | None, course: Course) -> None:
        """Remember a course; the plain way out, wide enough for what the stack sends, is the short one."""
        if (
            received is None
            and not self.filters
            and isinstance(course, Leaving)
            and course.mtu >= self.stack.addresses.get(flow.src, course.mtu)
        ):
            # Flows of the past make room, those of the present always find it.
            remember(self._decisions, flow, course, _FEW + 2 * self.stack.open_subflows())
            course.keeper = self
            course.epoch = self._epoch
        else:
            super().keep(flow, received, course)

    def is_let_pass(self, packet: Packet, mtu: int) -> bool:
        """Drop a packet of its own that is too large for the interface, and tell the stack."""
        self.drop(packet, TOO_BIG)
        if isinstance(packet, Segment):
            self.take_answer(IcmpError(packet.flow.src, packet, ICMP_FRAGMENTATION_NEEDED, mtu))
        return False

    def take_answer(self, packet: Packet) -> None:
        """Give the stack an answer of the host itself, after the present call has ended."""

        def take() -> None:
            self.stack.receive_packet(packet, self.loop.now)
            self.drain()

        self.loop.schedule(self.loop.now, take)

    def _wake_applications(self) -> None:
        if self.stack.fault is not None:
            raise self.stack.fault
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
