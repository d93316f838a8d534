"""A graph as it was drawn, before anybody asks what its attributes mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import networkx


class TopologyError(ValueError):
    """A graph that makes no network; the text says where, what and what to do about it."""


class ChoiceError(TopologyError):
    """What ``[topology]`` says does not fit the graph.

    Attributes:
        key: of that table, which is to blame.
    """

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class PlanNode(NamedTuple):
    """A node: its identifier, its attributes, and where they stand (empty: nowhere)."""

    name: str
    attributes: dict[str, Any]
    at: str = ""

    def __str__(self) -> str:
        return f"{self.at}: node {self.name!r}" if self.at else f"node {self.name!r}"


class PlanEdge(NamedTuple):
    """An edge; ``oriented`` when it is known which end was written as its source."""

    source: str
    target: str
    attributes: dict[str, Any]
    at: str = ""
    oriented: bool = True

    def __str__(self) -> str:
        text = f"edge {self.source!r}--{self.target!r}"
        return f"{self.at}: {text}" if self.at else text


class TopologyPlan:
    """Nodes and edges in their order.

    Attributes:
        nodes: by identifier.
        edges: all of them; several between two nodes are several links.
        loops: edges from a node to itself, which are no links.
        directed: an edge is one direction of a link, if there is another one that runs back.
    """

    def __init__(self, directed: bool = False) -> None:
        self.nodes: dict[str, PlanNode] = {}
        self.edges: list[PlanEdge] = []
        self.loops: list[PlanEdge] = []
        self.directed = directed

    def add_node(self, name: str, attributes: dict[str, Any], at: str = "") -> None:
        """Add a node.

        Raises:
            TopologyError: there is one of that name.
        """
        node = PlanNode(name, attributes, at)
        if name in self.nodes:
            raise TopologyError(f"{node}: there is another node with this id; give each its own")
        self.nodes[name] = node

    def add_edge(self, edge: PlanEdge) -> None:
        """Add an edge between nodes that were added before.

        Raises:
            TopologyError: an end does not exist.
        """
        for end in (edge.source, edge.target):
            if end not in self.nodes:
                raise TopologyError(f"{edge}: there is no node {end!r}; add it, or mend the edge")
        if edge.source == edge.target:
            self.loops.append(edge)
        else:
            self.edges.append(edge)

    def pairs(self) -> Iterator[tuple[PlanEdge, PlanEdge | None]]:
        """Return each link: its edge, and the edge of the other direction where that has one of its own."""
        waiting: dict[tuple[str, str], list[int]] = {}
        back: dict[int, PlanEdge] = {}
        taken: set[int] = set()
        if self.directed:
            for index, edge in enumerate(self.edges):
                opposite = waiting.get((edge.target, edge.source))
                if opposite:
                    back[opposite.pop(0)] = edge
                    taken.add(index)
                else:
                    waiting.setdefault((edge.source, edge.target), []).append(index)
        for index, edge in enumerate(self.edges):
            if index not in taken:
                yield edge, back.get(index)


def plan_of(graph: networkx.Graph[Any]) -> TopologyPlan:
    """Return the plan of a networkx graph of any of its four kinds.

    Raises:
        TopologyError: two nodes have the same text as name.
    """
    plan = TopologyPlan(graph.is_directed())
    for name, attributes in graph.nodes(data=True):
        plan.add_node(str(name), dict(attributes))
    for source, target, attributes in graph.edges(data=True):
        plan.add_edge(PlanEdge(str(source), str(target), dict(attributes), oriented=graph.is_directed()))
    return plan
