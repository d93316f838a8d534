"""The network as a graph, and the routes that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.link import Link
from mptcpsim.net.node import Node
from mptcpsim.net.paths import COMPUTED_METRIC, DELAY, HOPS, ComputedRoutes, ShortestPaths

if TYPE_CHECKING:
    import networkx

__all__ = ["COMPUTED_METRIC", "DELAY", "HOPS", "Topology"]


class Topology:
    """Nodes and links, as objects and as a graph.

    Attributes:
        nodes: the nodes by name.
        links: the links by name.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.links: dict[str, Link] = {}

    @property
    def graph(self) -> networkx.MultiGraph[str]:
        """The network as it is now, as a graph for networkx.

        Each node is a name and has its object under ``node``; each edge has its link under ``link`` and the
        link's name as key.
        """
        import networkx

        graph: networkx.MultiGraph[str] = networkx.MultiGraph()
        for name, node in self.nodes.items():
            graph.add_node(name, node=node)
        for name, link in self.links.items():
            graph.add_edge(link.a.node.name, link.b.node.name, key=name, link=link)
        return graph

    def add_node(self, node: Node) -> None:
        """Add a node.

        Raises:
            ValueError: there is one of that name.
        """
        if node.name in self.nodes:
            raise ValueError(f"there are two nodes with the name {node.name}")
        self.nodes[node.name] = node

    def add_link(self, link: Link) -> None:
        """Add a link between nodes that were added before.

        Raises:
            ValueError: there is one of that name, or a node of it is not part of the topology.
        """
        if link.name in self.links:
            raise ValueError(f"there are two links with the name {link.name}")
        for end in (link.a, link.b):
            if self.nodes.get(end.node.name) is not end.node:
                raise ValueError(
                    f"link {link.name} ends at {end.node.name}, which is no node of the topology"
                )
        self.links[link.name] = link

    def install_routes(
        self, weight: str = HOPS, nodes: Iterable[str] | None = None, ecmp: bool = False
    ) -> None:
        """Give hosts and routers routes to everywhere, and fill the tables of all switches.

        Each node gets a route to every prefix along a shortest path through routers and
        switches (hosts do not forward); a prefix that is used in several places is routed
        address by address. Routes of an earlier call are replaced, routes from elsewhere
        are kept and take precedence. Of two paths of the same length the one by the node's
        earlier interface is taken, so the result depends on nothing but the topology.

        The topology counts as it is now. The routes to a destination are computed when
        one is looked up; only that makes networks of thousands of nodes quick to set up.

        Args:
            weight: ``"hops"`` or ``"delay"``.
            nodes: names of the nodes that get routes; all by default.
            ecmp: of paths of the same length all are used, each flow taking one.

        Raises:
            ValueError: the weight or a name is unknown.
        """
        if weight not in (HOPS, DELAY):
            raise ValueError(f"unknown weight {weight!r}: hops or delay")
        chosen = list(self.nodes) if nodes is None else list(nodes)
        for name in chosen:
            if name not in self.nodes:
                raise ValueError(f"unknown node {name!r}")
        paths = ShortestPaths(self.nodes, self.links.values(), weight, ecmp)
        for name in chosen:
            node = self.nodes[name]
            if isinstance(node, IpNode):
                node.routes.compute(ComputedRoutes(paths, node), COMPUTED_METRIC)
        paths.fill_switches()
