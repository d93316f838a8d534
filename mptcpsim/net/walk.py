"""Follow a packet from node to node without sending it: what ``mptcpsim route`` prints.

    packet = probe("192.168.0.2", "10.0.1.2")
    out = walk(host, packet)
    if out[-1].trace.taken:
        back = walk(out[-1].node, answer_to(packet))

The nodes judge the packet by the code that forwards (``IpNode.trace``): on the way back the states
count that the way out has made.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import ACK, NOT_ECT, SYN, TCP_HEADER, FourTuple, Segment, ip_header_length
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.net.forwarding import IpNode, NodeTrace
from mptcpsim.net.node import Interface

#: Ports of a probe.
SOURCE_PORT: Final = 49152
DESTINATION_PORT: Final = 5001


class Hop(NamedTuple):
    """One node on the way.

    Attributes:
        node: the node.
        received: the interface by which the packet came; None at the first node.
        trace: what becomes of it there, and why.
    """

    node: IpNode
    received: Interface | None
    trace: NodeTrace


def probe(
    source: str, destination: str, sport: int = SOURCE_PORT, dport: int = DESTINATION_PORT, flags: int = SYN
) -> Segment:
    """Return a segment to be followed: a SYN, if nothing else is said."""
    flow = FourTuple(source, sport, destination, dport)
    size = ip_header_length(destination) + TCP_HEADER
    ack = 1 if flags & ACK else 0
    return Segment(flow, size, SequenceMap(), flags, 0, ack, 65535, 0, UNKNOWN, UNKNOWN, None, NOT_ECT)


def answer_to(packet: Segment) -> Segment:
    """Return the SYN, ACK that answers a probe."""
    flow = packet.flow
    return probe(flow.dst, flow.src, flow.dport, flow.sport, SYN | ACK)


def walk(start: IpNode, packet: Segment) -> list[Hop]:
    """Return the nodes that a packet of ``start`` comes by, the last one being where it ends.

    Nothing is sent or counted. The packet's time to live goes down on the way, so that a circle
    ends as it would.
    """
    hops: list[Hop] = []
    node = start
    received: Interface | None = None
    while True:
        trace = node.trace(packet, received)
        hops.append(Hop(node, received, trace))
        if trace.neighbour is None or not isinstance(trace.neighbour.node, IpNode):
            return hops
        if received is not None:
            packet.ttl -= 1
        received = trace.neighbour
        node = trace.neighbour.node
