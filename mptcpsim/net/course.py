"""What a node does with the packets of a flow: they leave, are taken, wait in a queue, or end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64, mypyc_attr

from mptcpsim.core.segment import FlowWay, FourTuple, Packet
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.pipe import Pipe
from mptcpsim.net.policy import Verdict
from mptcpsim.sim.loop import Loop

#: MTU of what leaves by no interface.
NO_LIMIT: Final = 1 << 62

# Where a packet is on its way through a node.
INBOUND: Final = 0
OUTBOUND: Final = 1


class Course(FlowWay):
    """What a node does with a packet, and with later ones of its flow while the node keeps the course.

    Attributes:
        send: carries it out: ``course.send(packet)``. The node checks time to live and size before.
        mtu: bytes; a larger packet needs a closer look.
        crosses: the packet passes from one interface to another on this course, and its time to live
            goes down.
        lasting: the packets that follow go the same way.
        interface: by which packets leave, or None.
        next_hop: address of the next hop on that link; empty on an unnumbered link.
        reason: why they are dropped; else empty.
    """

    __slots__ = ("crosses", "interface", "lasting", "mtu", "next_hop", "reason", "send")

    def __init__(self, crosses: bool, lasting: bool, mtu: int = NO_LIMIT) -> None:
        super().__init__()
        self.crosses = crosses
        self.lasting = lasting
        self.mtu = mtu
        self.interface: Interface | None = None
        self.next_hop: str = ""
        self.reason: str = ""
        self.send: Callable[[Packet], None] = _nowhere


@mypyc_attr(allow_interpreted_subclasses=True)
class CarryingNode(Node):
    """What a course asks of the node that it leads through; ``net.forwarding.IpNode`` answers.

    Attributes:
        version: grows whenever what was decided may not hold any more.
    """

    __slots__ = ("version",)

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.version: int = 0

    def take(self, packet: Packet, received: Interface) -> None:
        """Take a packet that is for the node itself."""
        raise NotImplementedError

    def refuse(self, packet: Packet, course: Dropped) -> None:
        """Drop a packet, and tell its sender as its course says."""
        raise NotImplementedError

    def is_settled(self, packet: Packet) -> bool:
        """Return whether what was decided for a packet's flow before holds for the packet, too."""
        raise NotImplementedError

    def behind_queue(self, packet: Packet, course: Queued) -> Course:
        """Return what becomes of a packet that comes out of a queue in which it was on its course."""
        raise NotImplementedError

    def carry(self, packet: Packet, course: Course) -> None:
        """Send a packet on its course, if its time to live and its size allow it."""
        raise NotImplementedError


class Leaving(Course):
    """The packet leaves by an interface.

    Attributes:
        pipe: what ``send`` sends into, if there is nothing before it and no switch behind it; else None.
        flow, keeper, epoch: for which flow the course is kept, by which port of a router or by which host,
            and which of its decisions it is one of. As ``onward`` it holds if all three agree.
    """

    __slots__ = ("_gateway", "_send", "epoch", "flow", "keeper", "pipe")

    def __init__(
        self, crosses: bool, lasting: bool, interface: Interface, gateway: str, destination: str
    ) -> None:
        super().__init__(crosses, lasting, interface.mtu)
        self.interface = interface
        self.next_hop = gateway or destination
        self._gateway = gateway
        self._send = interface.send
        switched = interface.peer is not None and interface.peer.node.BELOW_IP
        self.pipe: Pipe | None = None if switched else interface.plain_pipe()
        self.flow: FourTuple | None = None
        self.keeper: object = None
        self.epoch: i64 = 0
        self.send = self._send_on if switched or interface.device is not None else interface.send

    def _send_on(self, packet: Packet) -> None:
        """Send to a switch or by a device, which has to know whom the packet is for."""
        packet.next_hop = self._gateway
        self._send(packet)


class Taken(Course):
    """The packet is for the node itself."""

    __slots__ = ("_node", "_received")

    def __init__(self, lasting: bool, node: CarryingNode, received: Interface) -> None:
        super().__init__(False, lasting)
        self._node = node
        self._received = received
        self.send = self._take

    def _take(self, packet: Packet) -> None:
        self._node.take(packet, self._received)


class Dropped(Course):
    """The packet is dropped.

    Attributes:
        kind: the ICMP error that is sent about it, by a router if not by a filter; empty: none.
        answer: the sender of a segment gets a RST.
        own: the packet is the node's own.
        filtered: a filter has dropped it, and ``kind`` is what the filter answers.
    """

    __slots__ = ("_node", "answer", "filtered", "kind", "own")

    def __init__(
        self,
        crosses: bool,
        lasting: bool,
        node: CarryingNode,
        reason: str,
        kind: str = "",
        answer: bool = False,
        own: bool = False,
        filtered: bool = False,
    ) -> None:
        super().__init__(crosses, lasting)
        self.filtered = filtered
        self._node = node
        self.reason = reason
        self.kind = kind
        self.answer = answer
        self.own = own
        self.send = self._drop

    def _drop(self, packet: Packet) -> None:
        self._node.refuse(packet, self)


class Queued(Course):
    """The packet passes the queue of a verdict and continues from there.

    Attributes:
        verdict: the verdict.
        place: where the packet is in the node: inbound or outbound, and the number of the next filter.
        received: the interface by which it came; None for a packet of the node's own.
        routed: outbound, the interface and gateway that routing chose.
    """

    __slots__ = ("_node", "_onward", "_then", "_version", "place", "received", "routed", "verdict")

    def __init__(
        self,
        crosses: bool,
        lasting: bool,
        node: CarryingNode,
        verdict: Verdict,
        place: tuple[int, int],
        received: Interface | None,
        routed: tuple[Interface, str] | None,
    ) -> None:
        super().__init__(crosses, lasting)
        self._node = node
        self.verdict = verdict
        self.place = place
        self.received = received
        self.routed = routed
        self._then: Course | None = None
        self._version: int = 0
        self._onward: Callable[[Packet], None] = self._go_on
        self.send = self._enter

    def _enter(self, packet: Packet) -> None:
        queue = self.verdict.queue
        assert queue is not None
        queue.enter(packet, self._onward)

    def _go_on(self, packet: Packet) -> None:
        """Send a packet on that comes out of the queue, by what holds at this instant."""
        node = self._node
        then = self._then
        if then is None or self._version != node.version or not node.is_settled(packet):
            version = node.version
            then = node.behind_queue(packet, self)
            keep = then.lasting and version == node.version and node.is_settled(packet)
            self._then = then if keep else None
            self._version = version
        node.carry(packet, then)


def _nowhere(packet: Packet) -> None:
    raise NotImplementedError
