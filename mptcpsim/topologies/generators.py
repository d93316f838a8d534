"""Topologies of the literature as networkx graphs, with the attributes that a scenario reads.

Every generator takes the keys of a link (``rate="10Mbps"``, ``delay="1ms"``, ``queue=100``) for all links,
and ``access`` with keys that differ on the links of hosts. A link that has no name of its own is called
after its ends, the one nearer to a host first: h0-0-0--e0-0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mptcpsim.topologies.plan import TopologyError

if TYPE_CHECKING:
    import networkx

#: Nodes of a generated topology, at most.
MAX_NODES: Final = 20_000


def dumbbell(pairs: int = 2, *, access: Mapping[str, Any] | None = None, **link: Any) -> networkx.Graph[str]:
    """Return ``pairs`` clients c0, c1... and servers s0, s1... on both sides of one bottleneck.

    Args:
        pairs: hosts on each side.
        access: keys of the links of hosts, which otherwise are unlimited and without delay.
        link: keys of the link ``bottleneck`` between the routers left and right.

    Raises:
        TopologyError: a number is out of range.
    """
    _limit("pairs", pairs, 1, MAX_NODES // 2 - 1)
    graph = _empty()
    graph.add_node("left", kind="router", x=1.0, y=(pairs - 1) / 2)
    graph.add_node("right", kind="router", x=2.0, y=(pairs - 1) / 2)
    graph.add_edge("left", "right", name="bottleneck", **link)
    for side, router, x in (("c", "left", 0.0), ("s", "right", 3.0)):
        for index in range(pairs):
            name = f"{side}{index}"
            graph.add_node(name, kind="host", x=x, y=float(pairs - 1 - index))
            graph.add_edge(name, router, name=name, **(access or {}))
    return graph


def parallel_paths(
    paths: int | Sequence[Mapping[str, Any]] = 2, *, access: Mapping[str, Any] | None = None, **link: Any
) -> networkx.Graph[str]:
    """Return a client and a server with a router of its own, r0, r1..., on each path between them.

    Args:
        paths: how many, or for each path the keys of its link, which win over ``link``.
        access: keys of the links server0, server1... from the routers to the server, which
            otherwise are unlimited and without delay.
        link: keys of the links path0, path1... from the client to the routers.

    Raises:
        TopologyError: a number is out of range.
    """
    each: Sequence[Mapping[str, Any]] = [{}] * paths if isinstance(paths, int) and paths < 256 else ()
    if not isinstance(paths, int):
        each = paths
    _limit("paths", len(each) or (paths if isinstance(paths, int) else 0), 1, 255)
    graph = _empty()
    middle = (len(each) - 1) / 2
    graph.add_node("client", kind="host", x=0.0, y=middle)
    graph.add_node("server", kind="host", x=2.0, y=middle)
    for index, own in enumerate(each):
        graph.add_node(f"r{index}", kind="router", x=1.0, y=float(len(each) - 1 - index))
        graph.add_edge("client", f"r{index}", **{"name": f"path{index}", **link, **own})
        graph.add_edge(f"r{index}", "server", name=f"server{index}", **(access or {}))
    return graph


def torus(
    rows: int = 4, columns: int = 4, *, access: Mapping[str, Any] | None = None, **link: Any
) -> networkx.Graph[str]:
    """Return a grid of routers r0-0, r0-1... whose edges meet, each with a host h0-0, h0-1...

    Args:
        rows: of the grid; with two of them, or two columns, two links join the same routers once only.
        columns: of the grid.
        access: keys of the links of hosts; those of the others where absent.
        link: keys of all links.

    Raises:
        TopologyError: a number is out of range.
    """
    _limit("rows", rows, 1, MAX_NODES // 2)
    _limit("columns", columns, 1, MAX_NODES // 2)
    _limit("rows x columns", rows * columns, 2, MAX_NODES // 2)
    graph = _empty()
    for row in range(rows):
        for column in range(columns):
            place = f"{row}-{column}"
            x, y = float(column), float(rows - 1 - row)
            graph.add_node(f"r{place}", kind="router", x=x, y=y)
            graph.add_node(f"h{place}", kind="host", x=x + 0.3, y=y - 0.3)
    for row in range(rows):
        for column in range(columns):
            here = f"r{row}-{column}"
            for there in (f"r{row}-{(column + 1) % columns}", f"r{(row + 1) % rows}-{column}"):
                if there != here and not graph.has_edge(here, there):
                    _join(graph, here, there, link)
    for row in range(rows):
        for column in range(columns):
            _join(graph, f"h{row}-{column}", f"r{row}-{column}", {**link, **(access or {})})
    return graph


def bottleneck_torus(
    links: int = 5, *, access: Mapping[str, Any] | None = None, **link: Any
) -> networkx.Graph[str]:
    """Return bottlenecks in a ring and pairs of hosts that use two neighbours each.

    It is the torus of Wischik, Raiciu, Greenhalgh and Handley, "Design, implementation and evaluation of
    congestion control for multipath TCP" (NSDI 2011): client ci reaches server si over
    bottleneck i and over bottleneck i + 1. A congestion control that moves traffic away from the
    smallest one gives all pairs the same.

    Args:
        links: bottlenecks, and pairs of hosts.
        access: keys of the links of hosts, which otherwise are unlimited and without delay.
        link: keys of the bottlenecks bottleneck0, bottleneck1...

    Raises:
        TopologyError: a number is out of range.
    """
    _limit("links", links, 3, MAX_NODES // 4)
    graph = _empty()
    for index in range(links):
        y = 2.0 * (links - 1 - index)
        graph.add_node(f"c{index}", kind="host", x=0.0, y=y - 1)
        graph.add_node(f"a{index}", kind="router", x=1.0, y=y)
        graph.add_node(f"b{index}", kind="router", x=2.0, y=y)
        graph.add_node(f"s{index}", kind="host", x=3.0, y=y - 1)
        graph.add_edge(f"a{index}", f"b{index}", name=f"bottleneck{index}", **link)
    for index in range(links):
        for number in (index, (index + 1) % links):
            _join(graph, f"c{index}", f"a{number}", access or {})
            _join(graph, f"s{index}", f"b{number}", access or {})
    return graph


def fat_tree(k: int = 4, *, access: Mapping[str, Any] | None = None, **link: Any) -> networkx.Graph[str]:
    """Return the fat tree of routers with ``k`` ports: k pods, (k/2)^2 core routers, k^3/4 hosts.

    Al-Fares, Loukissas and Vahdat, "A scalable, commodity data center network architecture"
    (SIGCOMM 2008). Names: core routers c0, c1...; in pod P aggregation routers aP-0, aP-1... and edge routers
    eP-0, eP-1...; hosts hP-E-0, hP-E-1... below edge router eP-E. Core router number i is joined to
    the aggregation routers number i // (k/2). Between hosts of two pods there are (k/2)^2 shortest paths.

    Args:
        k: ports of a router, even.
        access: keys of the links of hosts; those of the others where absent.
        link: keys of all links.

    Raises:
        TopologyError: k is odd or out of range.
    """
    _limit("k", k, 2, 40)
    if k % 2:
        raise TopologyError(f"k: {k} is odd; half of the ports lead up, so choose an even number")
    half = k // 2
    graph = _empty()
    width = k * half * half - 1.0
    cores = half * half
    for core in range(cores):
        graph.add_node(f"c{core}", kind="router", x=width * (core + 0.5) / cores, y=3.0)
    for pod in range(k):
        for index in range(half):
            centre = half * (half * pod + index) + (half - 1) / 2
            graph.add_node(f"a{pod}-{index}", kind="router", x=centre, y=2.0)
            graph.add_node(f"e{pod}-{index}", kind="router", x=centre, y=1.0)
    for pod in range(k):
        for edge in range(half):
            for index in range(half):
                name = f"h{pod}-{edge}-{index}"
                graph.add_node(name, kind="host", x=float(half * (half * pod + edge) + index), y=0.0)
                _join(graph, name, f"e{pod}-{edge}", {**link, **(access or {})})
            for aggregation in range(half):
                _join(graph, f"e{pod}-{edge}", f"a{pod}-{aggregation}", link)
        for aggregation in range(half):
            for index in range(half):
                _join(graph, f"a{pod}-{aggregation}", f"c{half * aggregation + index}", link)
    return graph


#: By the name that a scenario gives them.
GENERATORS: Final[dict[str, Callable[..., networkx.Graph[str]]]] = {
    "dumbbell": dumbbell,
    "parallel-paths": parallel_paths,
    "torus": torus,
    "bottleneck-torus": bottleneck_torus,
    "fat-tree": fat_tree,
}


def _empty() -> networkx.Graph[str]:
    """Return a graph to add to; networkx is not imported before somebody wants one."""
    import networkx

    return networkx.Graph()


def _join(graph: networkx.Graph[str], a: str, b: str, link: Mapping[str, Any]) -> None:
    """Add an edge that is called A--B: an undirected graph forgets which end came first."""
    graph.add_edge(a, b, **{"name": f"{a}--{b}", **link})


def _limit(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TopologyError(f"{name}: {value!r} is no whole number; choose one from {least} to {most}")
    if not least <= value <= most:
        raise TopologyError(f"{name}: {value} is out of range; choose a number from {least} to {most}")
