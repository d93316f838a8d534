"""Nodes of a topology by their kind."""

from __future__ import annotations

from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.topology import Topology


def ip_node(topology: Topology, name: str) -> IpNode:
    """Return a node that routes."""
    node = topology.nodes[name]
    assert isinstance(node, IpNode)
    return node
