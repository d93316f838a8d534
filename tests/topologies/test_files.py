"""Graphs as programs write them: parallel edges, self-loops, words and names of their own."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mptcpsim import ScenarioError, loads
from mptcpsim.scenario.load import from_data
from mptcpsim.scenario.network_of import SELF_LOOPS, Choices, network_of
from mptcpsim.scenario.picture import graph_picture
from mptcpsim.scenario.schema import Scenario
from mptcpsim.topologies.files import read_graph_file, read_node_link
from mptcpsim.topologies.gml import read_gml
from mptcpsim.topologies.graphml import read_graphml
from mptcpsim.topologies.plan import PlanEdge, TopologyError, TopologyPlan
from tests.paths import SHARED

ZOO = SHARED / "topologies"

#: As it stands in the repository of nobody: two parallel edges, and nothing said of a multigraph.
PARALLEL = """graph [
  node [ id 0 label "A" ]
  node [ id 1 label "B" ]
  node [ id 2 label "C" ]
  edge [ source 0 target 1 LinkLabel "10 Mbps" ]
  edge [ source 0 target 1 LinkLabel "34 Mbps" ]
  edge [ source 1 target 2 ]
]
"""

CYTOSCAPE = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<graphml>
  <key attr.name="shared name" attr.type="string" for="node" id="shared name"/>
  <key attr.name="name" attr.type="string" for="node" id="name"/>
  <key attr.name="name" attr.type="string" for="edge" id="ename"/>
  <graph edgedefault="directed" id="Network">
    <node id="62"><data key="shared name">alpha</data><data key="name">alpha</data></node>
    <node id="63"><data key="shared name">beta</data><data key="name">beta</data></node>
    <node id="64"><data key="shared name">gamma</data><data key="name">gamma</data></node>
    <edge id="70" source="62" target="63"><data key="ename">alpha (interacts with) beta</data></edge>
    <edge id="71" source="62" target="63"><data key="ename">alpha (interacts with) beta</data></edge>
    <edge id="72" source="63" target="64"><data key="ename">beta (interacts with) gamma</data></edge>
  </graph>
</graphml>
"""


def scenario_of(file: Path, **topology: Any) -> Scenario:
    """The scenario of a file, with a flow between the hosts a and b of ``hosts``."""
    data = {
        "title": "t",
        "duration": "1s",
        "topology": {"file": str(file), "rate": "10Mbps", **topology},
        "flows": [{"name": "f", "client": "a", "server": "b", "bytes": "10kB"}],
    }
    return from_data(data)


def saved(directory: Path, text: str, name: str = "net.gml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def between_routers(scenario: Scenario) -> list[str]:
    return [link.name for link in scenario.links if not link.ends[0].startswith(("a:", "b:"))]


# --- Parallel edges -------------------------------------------------------------------------------


def test_parallel_edges_of_a_gml_file_are_parallel_links(tmp_path: Path) -> None:
    scenario = scenario_of(saved(tmp_path, PARALLEL), hosts={"a": "A", "b": "C"})
    assert between_routers(scenario) == ["A--B", "A--B-2", "B--C"]


@pytest.mark.parametrize("head", ["", "  multigraph 1\n", "  directed 1\n", "  multigraph 1\n  directed 1\n"])
def test_whatever_a_gml_file_says_of_itself(head: str) -> None:
    plan = read_gml(PARALLEL.replace("graph [\n", "graph [\n" + head).encode())
    assert [(edge.source, edge.target) for edge in plan.edges] == [("0", "1"), ("0", "1"), ("1", "2")]
    assert plan.directed == ("directed" in head)


def test_links_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Cytoscape calls parallel edges alike."""
    scenario = scenario_of(saved(tmp_path, CYTOSCAPE, "c.graphml"), hosts={"a": "62", "b": "64"})
    assert between_routers(scenario) == [
        "alpha (interacts with) beta", "alpha (interacts with) beta-2", "beta (interacts with) gamma",
    ]  # fmt: skip


TEXT = st.text("abcXYZ 012<&>'é\u015e\u4e2d;#", min_size=1, max_size=8).map(str.strip)

Nodes = dict[int, dict[str, Any]]
Edges = list[tuple[int, int]]


@st.composite
def multigraphs(draw: st.DrawFn) -> tuple[Nodes, Edges]:
    """Nodes with labels that may be missing, alike or strange, and edges that may be parallel or loops."""
    count = draw(st.integers(2, 6))
    labels = draw(st.lists(st.none() | TEXT, min_size=count, max_size=count))
    nodes = {number: {} if label is None else {"label": label} for number, label in enumerate(labels)}
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).map(sorted)
    return nodes, [(a, b) for a, b in draw(st.lists(pairs, max_size=12))]


def _gml_text(value: Any) -> str:
    if isinstance(value, str):
        return '"' + html.escape(value).encode("ascii", "xmlcharrefreplace").decode() + '"'
    return str(value)


def gml(nodes: Nodes, edges: Edges, head: str, node_more: str = "", edge_more: str = "") -> bytes:
    lines = [head, "graph ["]
    for number, keys in nodes.items():
        keys_text = " ".join(f"{key} {_gml_text(value)}" for key, value in keys.items())
        lines.append(f"  node [\n    id {number}\n    {keys_text}\n{node_more}  ]")
    lines += [f"  edge [\n    source {a}\n    target {b}\n{edge_more}  ]" for a, b in edges]
    return "\n".join([*lines, "]"]).encode()


def zoo_gml(nodes: Nodes, edges: Edges) -> bytes:
    head = 'Creator "Topology Zoo Toolset"\nVersion "1.0"\n'
    more = '    Country "Austria"\n    Internal 1\n    type "Routerless"\n'
    text = gml(nodes, edges, head, more, '    LinkLabel "&lt; 10 Gbps"\n').decode()
    return text.replace(
        "graph [", 'graph [\n  Network "X"\n  label "X"\n  DateModifier "="\n  Access 0', 1
    ).encode()


def yed_gml(nodes: Nodes, edges: Edges) -> bytes:
    graphics = (
        '    graphics\n    [\n      x -1.5\n      y 2.5E1\n      fill "#FFCC00"\n    ]\n'
        '    LabelGraphics\n    [\n      text "seen"\n      anchor "c"\n    ]\n'
    )
    line = '    graphics\n    [\n      fill "#000000"\n      targetArrow "standard"\n    ]\n'
    text = gml(nodes, edges, 'Creator "yFiles"\nVersion "2.18"\n# a comment [', graphics, line).decode()
    return text.replace("graph [", 'graph\n[\n  hierarchic 1\n  label ""\n  directed 1', 1).encode()


def networkx_graph(nodes: Nodes, edges: Edges) -> Any:
    graph: networkx.MultiGraph[Any] = networkx.MultiGraph()
    graph.add_nodes_from((number, dict(keys)) for number, keys in nodes.items())
    graph.add_edges_from(edges)
    return graph


def networkx_gml(nodes: Nodes, edges: Edges) -> bytes:
    # networkx wants another attribute than the label's for what it calls label itself.
    named = {number: {f"{key}2": value for key, value in keys.items()} for number, keys in nodes.items()}
    return "\n".join(networkx.generate_gml(networkx_graph(named, edges))).encode()


def bare_gml(nodes: Nodes, edges: Edges) -> bytes:
    return networkx_gml(nodes, edges).replace(b"multigraph 1", b"")


def networkx_graphml(nodes: Nodes, edges: Edges) -> bytes:
    return "\n".join(networkx.generate_graphml(networkx_graph(nodes, edges))).encode()


def node_link(nodes: Nodes, edges: Edges) -> bytes:
    return json.dumps(networkx.node_link_data(networkx_graph(nodes, edges), edges="links")).encode()


def cytoscape_json(nodes: Nodes, edges: Edges) -> bytes:
    listed = [{"data": {"id": str(number), **keys}} for number, keys in nodes.items()]
    joined = [{"data": {"id": f"e{n}", "source": str(a), "target": str(b)}} for n, (a, b) in enumerate(edges)]
    return json.dumps(
        {"format_version": "1.0", "data": {}, "elements": {"nodes": listed, "edges": joined}}
    ).encode()


def graphml(nodes: Nodes, edges: Edges, keys: str, label: str, directed: str, node: str) -> bytes:
    """A GraphML document; ``node`` is what stands inside a node with a label, {} being that."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>',
             '<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:y="http://www.yworks.com/xml/graphml"'
             ' xmlns:yfiles="http://www.yworks.com/xml/yfiles-common/3.0">',
             keys, f'<graph id="G" edgedefault="{directed}">']  # fmt: skip
    for number, attributes in nodes.items():
        inner = node.replace("{}", escape(attributes["label"])) if "label" in attributes else ""
        lines.append(f"<node id={quoteattr(str(number))}>{inner}</node>")
    lines += [f'<edge id="e{n}" source="{a}" target="{b}"/>' for n, (a, b) in enumerate(edges)]
    return "\n".join([*lines, "</graph></graphml>"]).encode()


def yed_graphml(nodes: Nodes, edges: Edges) -> bytes:
    keys = (
        '<key attr.name="Beschreibung" attr.type="string" for="graph" id="d0"/>'
        '<key for="port" id="d1" yfiles.type="portgraphics"/>'
        '<key for="graphml" id="d7" yfiles.type="resources"/>'
        '<key for="node" id="d6" yfiles.type="nodegraphics"/>'
        '<key for="edge" id="d9" yfiles.type="edgegraphics"/>'
    )
    node = (
        '<data key="d6"><y:ShapeNode><y:Geometry height="30.0" width="30.0" x="1.0" y="2.0"/>'
        '<y:NodeLabel alignment="center">{}<y:LabelModel><y:SmartNodeLabelModel distance="4.0"/>'
        "</y:LabelModel>\n</y:NodeLabel><y:NodeLabel>below</y:NodeLabel></y:ShapeNode></data>"
    )
    return graphml(nodes, edges, keys, "label", "directed", node)


def cytoscape_graphml(nodes: Nodes, edges: Edges) -> bytes:
    keys = '<key attr.name="name" attr.type="string" for="node" id="name"/>'
    return graphml(nodes, edges, keys, "name", "directed", '<data key="name">{}</data>')


def zoo_graphml(nodes: Nodes, edges: Edges) -> bytes:
    keys = '<key attr.name="label" attr.type="string" for="node" id="d33"/>'
    return graphml(nodes, edges, keys, "label", "undirected", '<data key="d33">{}</data>')


WRITERS = {
    "networkx's GML": (networkx_gml, read_gml),
    "GML without multigraph": (bare_gml, read_gml),
    "the Topology Zoo's GML": (zoo_gml, read_gml),
    "yEd's GML": (yed_gml, read_gml),
    "networkx's GraphML": (networkx_graphml, read_graphml),
    "yEd's GraphML": (yed_graphml, read_graphml),
    "Cytoscape's GraphML": (cytoscape_graphml, read_graphml),
    "the Topology Zoo's GraphML": (zoo_graphml, read_graphml),
    "node-link JSON": (node_link, read_node_link),
    "Cytoscape's JSON": (cytoscape_json, read_node_link),
}


@settings(max_examples=40, deadline=None)
@given(multigraphs())
@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_every_writer_gives_the_same_links(writer: str, graph: tuple[Nodes, Edges]) -> None:
    nodes, edges = graph
    write, read = WRITERS[writer]
    plan = read(write(nodes, edges))
    assert sorted(plan.nodes) == sorted(map(str, nodes))
    found = Counter(tuple(sorted((int(e.source), int(e.target)))) for e in [*plan.edges, *plan.loops])
    assert found == Counter(edges)
    loops = sum(a == b for a, b in edges)
    assert len(plan.loops) == loops
    if loops:
        with pytest.raises(TopologyError, match="self-loops"):
            network_of(plan, Choices(), {}, "x")
    network = network_of(plan, Choices(ignore=(SELF_LOOPS,), names="id"), {}, "x")
    assert len(network.links) == len(edges) - loops
    assert Counter(
        tuple(sorted(int(end.split(":")[0]) for end in link["ends"])) for link in network.links
    ) == (Counter((a, b) for a, b in edges if a != b))


@settings(max_examples=60, deadline=None)
@given(multigraphs(), st.sampled_from(sorted(WRITERS)))
def test_hosts_are_found_by_what_people_see(graph: tuple[Nodes, Edges], writer: str) -> None:
    """A label of one node alone is enough; one of several is refused with their ids."""
    nodes, edges = graph
    edges = [(a, b) for a, b in edges if a != b]
    write, read = WRITERS[writer]
    if write in (networkx_gml, bare_gml) or not edges:
        return  # networkx makes labels of its own
    labels = Counter(keys["label"] for keys in nodes.values() if keys.get("label"))
    for number in {end for edge in edges for end in edge}:
        label = nodes[number].get("label")
        if not label or any(str(n) == label for n in nodes):
            continue
        plan = read(write(nodes, edges))
        choices = Choices(hosts={"the-host": [label]})
        if labels[label] > 1:
            with pytest.raises(TopologyError, match="nodes are called") as caught:
                network_of(plan, choices, {}, "x")
            assert str(number) in str(caught.value)
            continue
        link = network_of(plan, choices, {}, "x").links[-1]
        far = link["ends"][1].split(":")[0]
        assert far in (str(number), label)


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.gml")) or [None], ids=lambda path: path and path.stem)
def test_the_zoo_with_edges_doubled(path: Path | None, tmp_path: Path) -> None:
    """Every third edge is written twice, and one node has an edge to itself."""
    if path is None:
        pytest.skip("topologies outside the repository are not there")
    text = path.read_text(encoding="utf-8")
    edges = re.findall(r"^  edge \[.*?^  \]\n", text, re.M | re.S)
    more = edges[::3]
    loop = "  edge [\n    source 0\n    target 0\n  ]\n"
    end = text.rindex("]")
    file = saved(tmp_path, text[:end] + "".join(more) + loop + text[end:])
    with pytest.raises(ScenarioError, match=r"joins two different nodes; .*ignore = \[\"self-loops\"\]"):
        scenario_of(file)
    ids = list(dict.fromkeys(re.findall(r"source (\d+)", text)))
    scenario = scenario_of(file, ignore=["self-loops"], hosts={"a": ids[0], "b": ids[1]})
    assert len(between_routers(scenario)) == len(edges) + len(more)


VALUES = st.integers() | st.floats() | TEXT | st.lists(st.integers(), max_size=3)

# --- GML ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(multigraphs(), st.dictionaries(st.sampled_from(["rate", "x", "note"]), VALUES, max_size=3))
def test_gml_reads_as_networkx_reads_it(graph: tuple[Nodes, Edges], keys: dict[str, Any]) -> None:
    nodes, edges = graph
    drawn = networkx_graph(dict.fromkeys(nodes, keys), edges)
    for edge in drawn.edges:
        drawn.edges[edge].update(keys)
    text = "\n".join(networkx.generate_gml(drawn))
    theirs, ours = networkx.parse_gml(text, label="id"), read_gml(text.encode())
    for name, node in ours.nodes.items():
        assert repr(node.attributes) == repr({k: v for k, v in theirs.nodes[int(name)].items() if k != "id"})
    assert sorted(repr(edge.attributes) for edge in ours.edges + ours.loops) == sorted(
        repr(attributes) for *_, attributes in theirs.edges(data=True)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("graph [ node [ id 1 ]\n node [ id 1 ] ]", "line 2: node '1': there is another node with this id"),
        ("graph [\n node [ label \"x\" ] ]", "line 2: the node has no id"),
        ("graph [ node [ id 1 ]\n edge [ source 1 ] ]", "line 2: the edge has no target"),
        ("graph [ node [ id 1 ]\n\n edge [ source 1 target 2 ] ]", "line 3: edge '1'--'2': there is no node"),
        ("graph [\n node [ id 1 ]", "line 1: the list that begins here is not closed"),
        ('graph [\n label "x ]', "line 2: a string without its end"),
        ("graph [\n label ] ]", "line 2: the key 'label' has no value"),
        ("graph [ ] ]", "line 1: a ] that closes nothing"),
        ("graph [ 3 ]", "line 1: 3 where a key is expected"),
        ("graph [ a 3;4 ]", "line 1: "),
        ("graph [ ]\ngraph [ ]", "line 2: a second graph"),
        ("graph 3", "it has no 'graph [ ... ]'"),
        ("graph [ node 3 ]", "line 1: node 3: no list"),
        ("graph [ node [ id 1.5 ] ]", "line 1: id: 1.5 names no node"),
        ("\ngraph [ x " + "9" * 50 + " ]", "line 2: a number of more than 40 digits"),
    ],
)  # fmt: skip
def test_a_wrong_gml_file_has_its_line(text: str, said: str) -> None:
    with pytest.raises(TopologyError) as caught:
        read_gml(text.encode())
    assert said in str(caught.value)


def test_gml_keeps_which_end_was_written_as_the_source(tmp_path: Path) -> None:
    text = PARALLEL.replace("source 1 target 2", 'source 2 target 1 source_interface "em3"')
    scenario = scenario_of(saved(tmp_path, text), hosts={"a": "A", "b": "C"})
    assert "C:em3" in [end for link in scenario.links for end in link.ends]


def test_gml_of_before_utf8() -> None:
    plan = read_gml('graph [ node [ id 1 label "Düsseldorf &amp; Köln &#x15e;" ] ]'.encode("latin-1"))
    assert plan.nodes["1"].attributes == {"label": "Düsseldorf & Köln Ş"}


# --- Kinds, names, self-loops, hosts ----------------------------------------------------------------


@pytest.mark.parametrize("key", ["type", "role", "node_type"])
@pytest.mark.parametrize("word", ["Routerless", "Fully Featured", "hoster", "servers", 7, True, ""])
def test_words_that_other_people_have_for_nodes_are_routers(key: str, word: Any) -> None:
    plan = TopologyPlan()
    plan.add_node("x", {key: word})
    plan.add_node("y", {})
    plan.add_edge(PlanEdge("x", "y", {}))
    network = network_of(plan, Choices(), {}, "n")
    assert list(network.routers) == ["x", "y"]


def test_names_of_cytoscape(tmp_path: Path) -> None:
    file = saved(tmp_path, CYTOSCAPE, "c.graphml")
    scenario = scenario_of(file, hosts={"a": "alpha", "b": "64"})
    assert [link.ends for link in scenario.links][-2:] == [("a:eth0", "62:eth2"), ("b:eth0", "64:eth1")]
    assert list(scenario_of(file, names="label", hosts={"a": "62", "b": "gamma"}).routers) == [
        "alpha", "beta", "gamma",
    ]  # fmt: skip
    with pytest.raises(
        ScenarioError, match=r"topology\.hosts: .*'xyz' is no node .*62 \(alpha\), 63 \(beta\)"
    ):
        scenario_of(file, hosts={"a": "xyz", "b": "64"})
    with pytest.raises(ScenarioError, match="did you mean 'alpha'"):
        scenario_of(file, hosts={"a": "alpa", "b": "64"})


@pytest.mark.parametrize("word", [["self-loops"], "self-loops", ["Self_Loop"], ["selfloops", "rate"]])
def test_self_loops_can_be_left_out(word: Any, tmp_path: Path) -> None:
    file = saved(tmp_path, PARALLEL.replace("edge", "edge [ source 2 target 2 ]\n  edge", 1))
    with pytest.raises(ScenarioError, match=r'line 5: edge \'2\'--\'2\': .* ignore = \["self-loops"\]'):
        scenario_of(file, hosts={"a": "A", "b": "C"})
    assert len(between_routers(scenario_of(file, ignore=word, hosts={"a": "A", "b": "C"}))) == 3
    assert len(graph_picture(file).links) == 3


def test_leaves_of_a_graph_that_has_none(tmp_path: Path) -> None:
    ring = "graph [ node [ id 1 ] node [ id 2 ] node [ id 3 ] " + "".join(
        f"edge [ source {a} target {b} ] " for a, b in ((1, 2), (2, 3), (1, 3))
    )
    with pytest.raises(ScenarioError, match=r"topology\.hosts: .*one neighbour.*'1' has the fewest, 2.*"):
        scenario_of(saved(tmp_path, ring + "]"), hosts="leaves")


@pytest.mark.parametrize("flow", ['pattern = "permutation"', 'client = "a"\nserver = "b"'])
def test_a_graph_without_hosts_names_the_key(flow: str, tmp_path: Path) -> None:
    file = saved(tmp_path, PARALLEL)
    text = f'title = "t"\nduration = "1s"\n[topology]\nfile = "{file}"\n[[flows]]\n{flow}\nbytes = 1\n'
    with pytest.raises(ScenarioError, match=r"has no hosts, and neither has .*topology\.hosts"):
        loads(text)


def test_the_files_of_other_programs_by_their_suffix(tmp_path: Path) -> None:
    assert len(read_graph_file(saved(tmp_path, PARALLEL)).edges) == 3
