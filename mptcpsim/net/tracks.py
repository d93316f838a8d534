"""Which links the packets of a flow cross."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.segment import ACK, FourTuple
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.router import RouterPort
from mptcpsim.net.switch import Switch
from mptcpsim.net.topology import Topology
from mptcpsim.net.walk import probe

#: Links that a track has, at most: more is a circle.
MOST_LINKS: Final = 255


class Tracks:
    """Follows flows through a network: by what its nodes have decided, or would decide now.

    Nothing is sent, counted or changed. Middleboxes are not asked: behind one that changes addresses the
    path is that of the flow as it was sent.
    """

    def __init__(self, topology: Topology) -> None:
        self._links = {end: link.name for link in topology.links.values() for end in (link.a, link.b)}
        self._hosts = {
            address: name
            for name, node in topology.nodes.items()
            if not node.FORWARDS
            for address in node.addresses
        }
        self._topology = topology

    def host_of(self, address: str) -> str:
        """Return the name of the host that has an address, or nothing."""
        return self._hosts.get(address, "")

    def of_flow(self, flow: FourTuple) -> tuple[str, ...]:
        """Return the names of the links that packets cross from the host that sends them; none without it."""
        start = self.host_of(flow.src)
        return self.links(start, flow) if start else ()

    def links(self, start: str, flow: FourTuple) -> tuple[str, ...]:
        """Return the names of the links that packets of a flow cross from a node on."""
        node: Node = self._topology.nodes[start]
        received: Interface | None = None
        crossed: list[str] = []
        for _ in range(MOST_LINKS):
            if not isinstance(node, IpNode):
                break
            out, next_hop = _onward(node, flow, received)
            while out is not None and out.peer is not None and len(crossed) < MOST_LINKS:
                crossed.append(self._links[out])
                received = out.peer
                node = received.node
                if not isinstance(node, Switch):
                    break
                out = node.port_of(next_hop)
            else:
                break
        return tuple(crossed)


def _onward(node: IpNode, flow: FourTuple, received: Interface | None) -> tuple[Interface | None, str]:
    """Return the interface by which a node sends a flow on, and to whom there; None: it ends here."""
    kept = received.decisions.get(flow) if isinstance(received, RouterPort) else None
    if kept is not None:
        return kept.interface, kept.next_hop
    trace = node.trace(probe(flow.src, flow.dst, flow.sport, flow.dport, ACK), received)
    return (None if trace.reason or trace.taken else trace.interface), trace.next_hop
