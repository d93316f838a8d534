"""A probe on its way: the nodes judge it by the code that forwards, and the links have their say.

``net.walk`` follows a packet from node to node. A way adds what lies between: links that are down,
interfaces that are down, middleboxes, which see the probe and may change or drop it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import FourTuple, Packet, Segment
from mptcpsim.net.forwarding import NO_LINK, IpNode, NodeTrace
from mptcpsim.net.link import Link
from mptcpsim.net.middlebox import HELD
from mptcpsim.net.node import Interface
from mptcpsim.net.pipe import DROP_DOWN, Pipe
from mptcpsim.net.switch import Switch
from mptcpsim.net.topology import Topology
from mptcpsim.net.walk import answer_to

# Reasons of drops that no node has.
INTERFACE_DOWN: Final = "interface-down"
MIDDLEBOX: Final = "middlebox"
UNKNOWN_ADDRESS: Final = "unknown-address"


class WayHop(NamedTuple):
    """One node on the way, and what lies between it and the next.

    Attributes:
        node: the node.
        received: the interface by which the probe came; None at the first node.
        steps: why it goes on as it does, a sentence each.
        interface: by which it leaves; None if it ends here.
        next_hop: whom it is sent to on that link.
        pipes: that it crosses, one for each link.
        reason: why it is dropped, here or on the links behind; else empty.
    """

    node: IpNode
    received: Interface | None
    steps: tuple[str, ...]
    interface: Interface | None
    next_hop: str
    pipes: tuple[Pipe, ...]
    reason: str


class Way(NamedTuple):
    """Where a probe comes by, and how it ends.

    Attributes:
        probe: as it was sent; middleboxes may have sent on another one.
        arrived: as it arrived, or as it was when it was dropped.
        hops: the nodes in order.
    """

    probe: Segment
    arrived_as: Segment
    hops: tuple[WayHop, ...]

    @property
    def flow(self) -> FourTuple:
        """Addresses and ports, as they were sent."""
        return self.probe.flow

    @property
    def reason(self) -> str:
        """Why the probe was dropped; empty if it has arrived."""
        return self.hops[-1].reason

    @property
    def arrived(self) -> bool:
        """The probe has come to the node that has its address."""
        return not self.reason

    @property
    def leaves(self) -> Interface | None:
        """The interface by which it leaves the first node."""
        return self.hops[0].interface

    @property
    def arrives_by(self) -> Interface | None:
        """The interface by which it comes to the last node."""
        return self.hops[-1].received

    @property
    def pipes(self) -> tuple[Pipe, ...]:
        """All pipes that it crosses."""
        return tuple(pipe for hop in self.hops for pipe in hop.pipes)


class Pathfinder:
    """Follows probes through a network that was built for that: nothing else happens in it."""

    def __init__(self, topology: Topology) -> None:
        self._links = {pipe.name: link for link in topology.links.values() for pipe in link.pipes()}

    def follow(self, start: IpNode, probe: Segment) -> Way:
        """Return the way of a probe that a node sends.

        Filters and middleboxes make the states that they would make of such a packet, so that an answer
        meets them.
        """
        hops: list[WayHop] = []
        node = start
        received: Interface | None = None
        carried = probe.clone()  # its time to live goes down, so that a circle ends as it would
        while True:
            trace = node.trace(carried, received)
            if trace.interface is None or trace.reason:
                hops.append(self._last(node, received, trace))
                return Way(probe, carried, tuple(hops))
            crossing = _Crossing(self._links, trace, carried)
            steps = (*trace.steps, *crossing.steps)
            hops.append(
                WayHop(
                    node, received, steps, trace.interface, trace.next_hop, crossing.pipes, crossing.reason
                )
            )
            forwarded = received is not None
            carried = crossing.packet
            if crossing.end is None or not isinstance(crossing.end.node, IpNode):
                return Way(probe, carried, tuple(hops))
            if forwarded:
                carried.ttl -= 1
            node, received = crossing.end.node, crossing.end

    def answer(self, way: Way) -> Way:
        """Return the way of the answer to a probe that has arrived."""
        return self.follow(way.hops[-1].node, answer_to(way.arrived_as))

    def _last(self, node: IpNode, received: Interface | None, trace: NodeTrace) -> WayHop:
        steps = trace.steps
        if trace.reason == DROP_DOWN and trace.interface is not None and trace.interface.pipe is not None:
            steps = (*steps, f"link {self._links[trace.interface.pipe.name].name} is down")
        return WayHop(node, received, steps, trace.interface, trace.next_hop, (), trace.reason)


class _Crossing:
    """The links between two nodes that speak IP, switches among them.

    Attributes:
        packet: as it comes out.
        end: the interface where it arrives; None if it does not.
        steps: what happened on the way.
        pipes: that it crossed.
        reason: why it was dropped; else empty.
    """

    def __init__(self, links: dict[str, Link], trace: NodeTrace, packet: Segment) -> None:
        self.packet = packet
        self.steps: list[str] = []
        self.end: Interface | None = None
        self.reason = ""
        crossed: list[Pipe] = []
        here = trace.interface
        while here is not None:
            pipe, peer = here.pipe, here.peer
            if pipe is None or peer is None:
                self._drop(NO_LINK, f"no link is attached to {here.label}")
                break
            crossed.append(pipe)
            link = links[pipe.name]
            self._cross(link, pipe, here, peer)
            if self.reason:
                break
            if not peer.node.BELOW_IP:
                self.end = peer
                break
            assert isinstance(peer.node, Switch)
            here = peer.node.port_of(trace.next_hop)
            if here is None:
                self._drop(UNKNOWN_ADDRESS, f"nobody behind switch {peer.node.name} has {trace.next_hop}")
        self.pipes = tuple(crossed)

    def _cross(self, link: Link, pipe: Pipe, here: Interface, peer: Interface) -> None:
        forward = pipe is link.forward
        if not here.up:
            self._drop(INTERFACE_DOWN, f"interface {here.label} is down")
        elif not pipe.up:
            self._drop(DROP_DOWN, f"link {link.name} is down")
        elif not peer.up:
            self._drop(INTERFACE_DOWN, f"interface {peer.label} is down")
        boxes = link.middleboxes if forward else link.middleboxes[::-1]
        for box in boxes:
            if self.reason:
                return
            before = self.packet
            result = box.on_packet(before, forward, link.b.node.loop.now)
            name = f"middlebox {box.NAME} on link {link.name}"
            if result is None:
                self._drop(MIDDLEBOX, f"{name} drops it")
            elif result is HELD:
                self.steps.append(f"{name} holds it for a while")
            elif result is not before:
                self.steps.append(f"{name} sends {_changes(before, result)}")
                assert isinstance(result, Segment)
                self.packet = result

    def _drop(self, reason: str, step: str) -> None:
        self.reason = reason
        self.steps.append(step)


def _changes(before: Packet, after: Packet) -> str:
    """Return what a middlebox has made of a packet."""
    if before.flow == after.flow:
        return "a changed packet on"
    new = after.flow
    return f"it on as {new.src}:{new.sport} > {new.dst}:{new.dport}"
