"""Routers: forwarding by routing table, and the ICMP errors that go with it."""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import i64, mypyc_attr

from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_PORT_UNREACHABLE,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    is_ipv6,
)
from mptcpsim.net.course import Course, Leaving
from mptcpsim.net.forwarding import TOO_BIG, IpNode, remember
from mptcpsim.net.node import Interface
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND

#: Linux's limit of ICMP errors to one destination (icmp_ratelimit): one a second, six in a burst.
ERROR_INTERVAL: Final = SECOND
ERROR_BURST: Final = 6

#: Source of ICMP errors of a router without an IPv4 address (RFC 7600).
DUMMY_ADDRESS: Final = "192.0.0.8"


class RouterPort(Interface):
    """An interface of a router, with the decisions for the flows that come in here.

    A course leads to that of the next router for the same flow: a packet that comes by one that is known
    needs no look-up, however many flows there are.

    Attributes:
        decisions: how packets leave by flow; none while the router has filters to be asked first.
        epoch: grows when the decisions are forgotten.
    """

    __slots__ = ("_router", "decisions", "epoch")

    def __init__(self, router: Router, name: str, mtu: int) -> None:
        super().__init__(router, name, mtu)
        self._router = router
        self.decisions: dict[FourTuple, Leaving] = {}
        self.epoch: i64 = 0

    def forget(self) -> None:
        """Forget all decisions."""
        self.decisions.clear()
        self.epoch += 1

    def keep(self, flow: FourTuple, course: Leaving) -> None:
        """Remember how the packets of a flow leave."""
        remember(self.decisions, flow, course)
        course.keeper = self
        course.epoch = self.epoch

    def deliver(self, packet: Packet) -> None:
        """Forward a packet: the short way, for a flow that was seen before."""
        before = packet.way
        onward = None if before is None else before.onward
        if (
            isinstance(onward, Leaving)
            and onward.flow is packet.flow
            and onward.keeper is self
            and onward.epoch == self.epoch
        ):
            course: Leaving | None = onward
        else:
            course = self.decisions.get(packet.flow)
            if course is not None:
                course.flow = packet.flow
                if before is not None:
                    before.onward = course
        packet.way = course
        if course is None or packet.ttl <= 1 or packet.size > course.mtu:
            self._router.receive(packet, self)
            return
        packet.ttl -= 1
        pipe = course.pipe
        if pipe is not None:
            pipe.send(packet)
        else:
            course.send(packet)


@mypyc_attr(allow_interpreted_subclasses=True)
class Router(IpNode):
    """An IP router (RFC 1812, RFC 8200) that forwards TCP segments and ICMP errors.

    The decision for a flow is taken once for each interface that it comes in by and kept
    until ``invalidate`` is called, which the routing table and the interfaces do when
    they change.

    A packet larger than the MTU that may be fragmented travels on as one packet; the headers of the
    further fragments are not counted.

    Attributes:
        icmp_errors: errors are reported to the sender; off makes a black hole.
        errors_sent: ICMP errors sent, by kind.
    """

    FORWARDS: ClassVar[bool] = True

    __slots__ = ("_allowance", "_ports", "errors_sent", "icmp_errors")

    def __init__(self, loop: Loop, name: str, icmp_errors: bool = True) -> None:
        super().__init__(loop, name)
        self.icmp_errors = icmp_errors
        self.errors_sent: dict[str, int] = {}
        self._ports: list[RouterPort] = []
        #: By destination of errors: (ns of credit, instant of the last look).
        self._allowance: dict[str, tuple[int, int]] = {}

    def make_interface(self, name: str, mtu: int) -> Interface:
        """Return a new interface."""
        port = RouterPort(self, name, mtu)
        self._ports.append(port)
        return port

    def invalidate(self) -> None:
        """Forget all decisions."""
        super().invalidate()
        for port in self._ports:
            port.forget()

    def keep(self, flow: FourTuple, received: Interface | None, course: Course) -> None:
        """Remember a course; the plain way out is the short one."""
        if self.filters or not isinstance(course, Leaving) or not isinstance(received, RouterPort):
            super().keep(flow, received, course)
            return
        received.keep(flow, course)

    def receive(self, packet: Packet, interface: Interface) -> None:
        """Forward a packet: the whole way."""
        self.carry(packet, self.course_for(packet, interface))

    def take(self, packet: Packet, received: Interface) -> None:
        """Refuse a packet that is for the router itself, which has no TCP."""
        self.reject(packet, "local", ICMP_PORT_UNREACHABLE)

    def is_let_pass(self, packet: Packet, mtu: int) -> bool:
        """Return whether a packet may be fragmented; one that may not is dropped and reported."""
        if packet.df:
            self.reject(packet, TOO_BIG, ICMP_FRAGMENTATION_NEEDED, mtu)
            return False
        return True

    def reject(self, packet: Packet, reason: str, kind: str, mtu: int = 0) -> None:
        """Drop a packet and tell its sender, at most as often as errors may be sent.

        Args:
            packet: the packet; an ICMP error causes no other one (RFC 1122 section 3.2.2).
            reason: counted under this name in ``drops``.
            kind: what the sender is told, one of the ``ICMP_...`` constants of ``core.segment``.
            mtu: of the next hop, bytes, for ``ICMP_FRAGMENTATION_NEEDED``.
        """
        self.drop(packet, reason)
        if isinstance(packet, Segment):
            self.report(packet, kind, mtu)

    def report(self, cause: Segment, kind: str, mtu: int = 0) -> None:
        """Tell the sender of a segment that it was dropped, at most as often as errors may be sent."""
        sender = cause.flow.src
        if not self.icmp_errors or (kind != ICMP_FRAGMENTATION_NEEDED and not self._may_send(sender)):
            return
        route = self.route_for(FourTuple("", 0, sender, 0)).route
        if route is None:
            return
        source = self._source_address(route.interface, is_ipv6(sender))
        if not source:
            return
        self.errors_sent[kind] = self.errors_sent.get(kind, 0) + 1
        self.send_own(IcmpError(source, cause, kind, mtu))

    def _may_send(self, destination: str) -> bool:
        """Return whether the rate of errors to a destination allows another one.

        As in Linux, reports that a packet is too big are not limited: path MTU discovery
        depends on them.
        """
        now = self.loop.now
        credit, before = self._allowance.get(destination, (ERROR_BURST * ERROR_INTERVAL, now))
        credit = min(credit + now - before, ERROR_BURST * ERROR_INTERVAL)
        allowed = credit >= ERROR_INTERVAL
        self._allowance[destination] = (credit - ERROR_INTERVAL if allowed else credit, now)
        return allowed

    def _source_address(self, out: Interface, ipv6: bool) -> str:
        """Return the source of an error that leaves by ``out`` (RFC 1812 section 4.3.2.4), or nothing."""
        source = out.primary_address(ipv6)
        if source:
            return source
        for interface in self.interfaces.values():
            source = interface.primary_address(ipv6)
            if source:
                return source
        return "" if ipv6 else DUMMY_ADDRESS
