"""Graphs as networks: readers, attributes, addresses, generators."""

from __future__ import annotations

import ipaddress
import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mptcpsim import ScenarioError, build, fat_tree, load, loads, scenario_from_graph
from mptcpsim.scenario.load import dumps, from_data
from mptcpsim.scenario.schema import Scenario
from mptcpsim.topologies.files import read_node_link
from mptcpsim.topologies.generators import GENERATORS, bottleneck_torus, dumbbell, parallel_paths, torus
from mptcpsim.topologies.gml import read_gml
from mptcpsim.topologies.graphml import read_graphml
from mptcpsim.topologies.plan import TopologyError, TopologyPlan, plan_of

KEYS = 'title = "t"\nduration = "1s"\n'
#: A chain with a host at each end, in each format.
CHAIN: networkx.Graph[Any] = networkx.Graph()
CHAIN.add_node("a", kind="host")
CHAIN.add_node("m", kind="router")
CHAIN.add_node("b", role="server")
CHAIN.add_edge("a", "m", bandwidth="10Mbps", latency=2.5)
CHAIN.add_edge("m", "b", name="exit", LinkSpeedRaw=2e6, delay="7ms", queue="30", mtu=1400.0, colour="red")


def hosts_of(graph: networkx.Graph[Any]) -> list[Any]:
    return [name for name, given in graph.nodes.data() if given.get("kind") == "host"]


def scenario_of(graph: networkx.Graph[Any], topology: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """A scenario of a graph, with a flow between its first two hosts."""
    data: dict[str, Any] = {"title": "t", "duration": "1s", "topology": topology or {}, **more}
    if "flows" not in data:
        hosts = [str(name) for name in hosts_of(graph)]
        data["flows"] = [{"client": hosts[0], "server": hosts[1]}]
    return scenario_from_graph(graph, data)


def write(directory: Path, text: str | bytes, name: str = "net.graphml", more: str = "") -> Path:
    (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    scenario = directory / "scenario.toml"
    flow = '[[flows]]\nclient = "a"\nserver = "b"\n'
    scenario.write_text(f'{KEYS}\n[topology]\nfile = "{name}"\n{more}\n{flow}', encoding="utf-8")
    return scenario


def graphml(body: str, directed: str = "undirected") -> str:
    """A GraphML document whose nodes and edges have some keys."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="k" for="node" attr.name="kind" attr.type="string"><default>router</default></key>
<key id="l" for="node" attr.name="label" attr.type="string"/>
<key id="r" for="edge" attr.name="rate" attr.type="double"/>
<key id="d" for="edge" attr.name="delay" attr.type="string"/>
<key id="s" for="edge" attr.name="source_address" attr.type="string"/>
<graph edgedefault="{directed}">
{body}
</graph>
</graphml>
"""


ENDS = '<node id="a"><data key="k">host</data></node><node id="b"><data key="k">host</data></node>\n'


def edge_with(key: str, value: str) -> str:
    """A GraphML document of two hosts and an edge with one value."""
    return graphml(f'{ENDS}<edge source="a" target="b"><data key="{key}">{value}</data></edge>')


# --- Formats ------------------------------------------------------------------------------------


def written(graph: networkx.Graph[Any], form: str, path: Path) -> Path:
    if form == "json":
        path.write_text(json.dumps(networkx.node_link_data(graph, edges="links")), encoding="utf-8")
    elif form == "gml":
        networkx.write_gml(graph, path)
    else:
        networkx.write_graphml(graph, path)
    return path


@pytest.mark.parametrize("form", ["graphml", "gml", "json"])
def test_every_format_gives_the_same_network(form: str, tmp_path: Path) -> None:
    written(CHAIN, form, tmp_path / f"net.{form}")
    scenario = load(write(tmp_path, (tmp_path / f"net.{form}").read_bytes(), f"net.{form}"))
    assert list(scenario.hosts) == ["a", "b"]
    assert list(scenario.routers) == ["m"]
    assert scenario.routing == "hops"
    first, second = scenario.links
    assert (first.name, first.ends, first.rate, first.delay) == (
        "a--m", ("a:eth0", "m:eth0"), 10_000_000, 2_500_000,
    )  # fmt: skip
    assert (second.name, second.rate, second.delay, second.queue.slots, second.mtu) == (
        "exit", 2_000_000, 7_000_000, 30, 1400,
    )  # fmt: skip
    assert scenario.hosts["a"].interfaces["eth0"].addresses == ("10.0.0.0/31",)
    assert scenario.routers["m"].interfaces["eth1"].addresses == ("10.0.0.2/31",)


def test_the_resolved_scenario_has_the_links_and_no_topology(tmp_path: Path) -> None:
    scenario = load(written_chain(tmp_path), ["links.exit.rate=3Mbps", "topology.rate=1Mbps"])
    text = dumps(scenario)
    assert "topology" not in text
    assert [link.rate for link in scenario.links] == [10_000_000, 3_000_000]
    assert loads(text) == scenario


def written_chain(directory: Path) -> Path:
    return write(directory, written(CHAIN, "graphml", directory / "x").read_bytes())


NAMES = st.sampled_from(["rate", "delay", "kind", "label", "x", "weight"])
VALUES = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=8),
)


def is_a(kind: type, value: object) -> bool:
    return type(value) is kind


@st.composite
def graphs(draw: st.DrawFn) -> networkx.Graph[Any]:
    kind = draw(
        st.sampled_from([networkx.Graph, networkx.DiGraph, networkx.MultiGraph, networkx.MultiDiGraph])
    )
    graph: networkx.Graph[Any] = kind()
    names = draw(
        st.lists(st.text("abcXYZ019 <&é", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)
    )
    #: One type for each name, as GraphML has it.
    types = {
        name: draw(st.sampled_from([int, float, bool, str])) for name in ("rate", "delay", "x", "weight")
    }
    attributes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {}, optional={name: VALUES.filter(partial(is_a, kind)) for name, kind in types.items()}
    )
    for name in names:
        graph.add_node(name, **draw(attributes))
    for _ in range(draw(st.integers(0, 6))):
        a, b = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        if a != b:
            graph.add_edge(a, b, **draw(attributes))
    return graph


@settings(max_examples=60)
@given(graphs())
def test_graphml_reads_as_networkx_reads_it(graph: networkx.Graph[Any]) -> None:
    data = "\n".join(networkx.generate_graphml(graph)).encode()
    oracle = networkx.parse_graphml(data.decode(), force_multigraph=True)
    plan = read_graphml(data)
    assert plan.directed == graph.is_directed()
    assert {name: node.attributes for name, node in plan.nodes.items()} == dict(oracle.nodes(data=True))
    ours = sorted((e.source, e.target, repr(sorted(e.attributes.items()))) for e in plan.edges)
    theirs = []
    for a, b, found in oracle.edges(data=True):
        found.pop("id", None)
        theirs.append((a, b, repr(sorted(found.items()))))
    if not graph.is_directed():  # networkx forgets which end came first
        ours = sorted((min(a, b), max(a, b), found) for a, b, found in ours)
        theirs = [(min(a, b), max(a, b), found) for a, b, found in theirs]
    assert ours == sorted(theirs)


# --- Attributes ---------------------------------------------------------------------------------


def one_link(topology: dict[str, Any] | None = None, **attributes: Any) -> Any:
    graph: networkx.Graph[Any] = networkx.Graph()
    graph.add_node("a", kind="host")
    graph.add_node("b", kind="host")
    graph.add_edge("a", "b", **attributes)
    return scenario_of(graph, topology).links[0]


@pytest.mark.parametrize(
    ("attributes", "topology", "rate"),
    [
        ({"rate": "10Mbps"}, {}, 10_000_000),
        ({"Bandwidth": 5_000_000}, {}, 5_000_000),
        ({"bw": "10"}, {"rate_unit": "Mbps"}, 10_000_000),
        ({"capacity": 2.5}, {"rate_unit": "Gbps"}, 2_500_000_000),
        ({"LinkSpeedRaw": 1e9}, {"rate_unit": "Mbps"}, 1_000_000_000),
        ({"LinkSpeed": "10", "LinkSpeedUnits": "G"}, {}, 10_000_000_000),
        ({"LinkSpeed": "<2.5", "LinkSpeedUnits": "G"}, {"ignore": ["linkspeed"], "rate": "1Mbps"}, 1_000_000),
        ({}, {"rate": "1Mbps"}, 1_000_000),
        ({"rate": 0}, {"rate": "1Mbps"}, 0),
        ({"speed": 5}, {}, 0),
    ],
)
def test_rates(attributes: dict[str, Any], topology: dict[str, Any], rate: int) -> None:
    assert one_link(topology, **attributes).rate == rate


@pytest.mark.parametrize(
    ("attributes", "topology", "delay"),
    [
        ({"delay": "10ms"}, {}, 10_000_000),
        ({"latency": 0.5}, {}, 500_000),
        ({"latency": "3"}, {"delay_unit": "us"}, 3_000),
        ({}, {"delay": "4ms"}, 4_000_000),
        ({"dist": 199.861639}, {"delay_from_distance": True}, 1_000_000),
        ({"dist": 1000, "delay": 3}, {"delay_from_distance": True}, 3_000_000),
    ],
)
def test_delays(attributes: dict[str, Any], topology: dict[str, Any], delay: int) -> None:
    assert one_link(topology, **attributes).delay == pytest.approx(delay, abs=2)


def test_a_topology_zoo_file(tmp_path: Path) -> None:
    graph: networkx.Graph[Any] = networkx.Graph(Network="Test")
    places = {"Vienna": (16.37208, 48.20849), "Graz": (15.45, 47.06667), "Linz": (14.28611, 48.30694)}
    for number, (name, (longitude, latitude)) in enumerate(places.items()):
        graph.add_node(
            number, label=name, Longitude=longitude, Latitude=latitude, type="Core Node", Internal=1
        )
    graph.add_edge(0, 1, LinkLabel="10 Gbps", LinkSpeed="10", LinkSpeedUnits="G", LinkSpeedRaw=1e10)
    graph.add_edge(0, 2, LinkLabel="STM-1")
    path = write(
        tmp_path,
        written(graph, "graphml", tmp_path / "x").read_bytes(),
        more='rate = "155Mbps"\ndelay_from_distance = true\nhosts = { a = "Graz", b = ["Linz", "Vienna"] }',
    )
    scenario = load(path)
    assert list(scenario.routers) == ["Vienna", "Graz", "Linz"]
    assert scenario.routers["Vienna"].position == pytest.approx((16.37208, 48.20849))
    rates = {link.name: link.rate for link in scenario.links}
    assert rates["Vienna--Graz"] == 10**10
    assert rates["Vienna--Linz"] == 155_000_000
    delay = next(link.delay for link in scenario.links if link.name == "Vienna--Graz")
    # 145 km as the crow flies, at 200 km a millisecond.
    assert delay == pytest.approx(145e6 / 199.86, rel=0.01)
    assert list(scenario.hosts["b"].interfaces) == ["eth0", "eth1"]


def test_opposite_edges_are_the_directions_of_a_link() -> None:
    graph: networkx.MultiDiGraph[Any] = networkx.MultiDiGraph()
    graph.add_node("a", kind="host")
    graph.add_node("b", kind="host")
    graph.add_edge("a", "b", rate="10Mbps", delay="1ms", loss=0.5)
    graph.add_edge("b", "a", rate="2Mbps", delay="1ms")
    graph.add_edge("b", "a", rate="3Mbps")
    first, second = scenario_of(graph).links
    assert (first.ends[0], first.direction(True).rate, first.direction(False).rate) == (
        "a:eth0",
        10**7,
        2 * 10**6,
    )
    assert (first.direction(True).loss, first.direction(False).loss) == (0.5, 0.0)
    assert (second.name, second.ends, second.rate) == ("b--a", ("b:eth1", "a:eth1"), 3_000_000)


def test_the_scenario_wins_over_the_graph(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        graphml(
            '<node id="a"/><node id="m"/><node id="b"/>'
            '<edge source="a" target="m"><data key="r">5e6</data></edge><edge source="m" target="b"/>'
        ),
        more='[hosts.a]\ntcp = { congestion = "reno" }\ninterfaces = { eth0 = "192.168.0.1/24" }\n'
        '[hosts.b]\n[[links]]\nname = "a--m"\ndelay = "9ms"\n',
    )
    scenario = load(path)
    assert list(scenario.hosts) == ["a", "b"]
    assert scenario.hosts["a"].tcp.model_dump()["congestion"] is not None
    assert scenario.hosts["a"].interfaces["eth0"].addresses == ("192.168.0.1/24",)
    assert scenario.routers["m"].interfaces["eth0"].addresses == ("192.168.0.2/24",)
    assert (scenario.links[0].rate, scenario.links[0].delay) == (5_000_000, 9_000_000)


# --- Addresses ----------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn) -> networkx.Graph[Any]:
    """A connected graph of all kinds of nodes, two hosts at least."""
    graph: networkx.MultiGraph[Any] = networkx.MultiGraph()
    graph.add_node("s", kind="switch")
    graph.add_node("r", kind="router")
    graph.add_node("h", kind="host")
    graph.add_node("i", kind="host")
    for end in ("h", "r", "i"):
        graph.add_edge("s", end)
    for index in range(draw(st.integers(0, 8))):
        name = f"n{index}"
        near = draw(st.sampled_from(sorted(graph.nodes)))
        graph.add_node(name, kind=draw(st.sampled_from(["host", "router", "switch"])))
        for _ in range(draw(st.integers(1, 3))):
            graph.add_edge(name, near)
            near = draw(st.sampled_from(sorted(n for n in graph.nodes if n != name)))
    return graph


@settings(max_examples=60, deadline=None)
@given(networks(), st.booleans())
def test_addresses_are_unique_and_of_one_network_on_each_link(
    graph: networkx.Graph[Any], explicit: bool
) -> None:
    more = {"hosts": {"h": {"interfaces": {"eth0": "10.0.0.1/24"}}}} if explicit else {}
    scenario = scenario_of(graph, flows=[{"client": "h", "server": "i"}], **more)
    owners: dict[str, str] = {}
    for name, node in scenario.nodes.items():
        for interface, spec in node.interfaces.items():
            for text in spec.addresses:
                assert text not in owners
                owners[text] = f"{name}:{interface}"
    of = {where: ipaddress.ip_interface(text).network for text, where in owners.items()}
    networks_: dict[Any, str] = {}
    parent = {name: name for name in scenario.switches}

    def root(name: str) -> str:
        while name in parent and parent[name] != name:
            name = parent[name]
        return name

    for link in scenario.links:
        a, b = link.ends
        if ":" not in a and ":" not in b:
            parent[root(a)] = root(b)
    for link in scenario.links:
        switches = [root(end) for end in link.ends if ":" not in end]
        segment = switches[0] if switches else link.name
        for end in link.ends:
            if ":" in end:
                assert networks_.setdefault(of[end], segment) == segment
    blocks = sorted(networks_)
    assert all(not a.overlaps(b) for a, b in pairwise(blocks))
    assert scenario_of(graph, flows=[{"client": "h", "server": "i"}], **more) == scenario


def test_stated_addresses_and_interfaces_are_kept(tmp_path: Path) -> None:
    document = {
        "nodes": [{"id": "a", "kind": "host", "address": "10.9.9.9"}, {"id": "b", "kind": "host"}],
        "edges": [{"source": "b", "target": "a", "source_address": "10.0.0.1/30", "target_interface": "wan"}],
    }
    scenario = load(write(tmp_path, json.dumps(document), "net.json"))
    assert scenario.links[0].ends == ("b:eth0", "a:wan")
    assert scenario.hosts["a"].interfaces["wan"].addresses == ("10.0.0.2/30", "10.9.9.9/32")
    assert scenario.hosts["b"].interfaces["eth0"].addresses == ("10.0.0.1/30",)


# --- Generators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 4, 6])
def test_fat_tree_has_the_nodes_and_paths_of_the_literature(k: int) -> None:
    graph = fat_tree(k)
    half = k // 2
    hosts = hosts_of(graph)
    assert len(hosts) == k**3 // 4
    assert graph.number_of_nodes() - len(hosts) == 5 * k * k // 4
    for name, degree in graph.degree():
        assert degree == (1 if name in hosts else k)
    far = list(networkx.all_shortest_paths(graph, hosts[0], hosts[-1]))
    assert len(far) == half * half
    assert {len(path) for path in far} == {7}


def test_other_generators() -> None:
    ring = torus(3, 4)
    assert all(degree == 5 for name, degree in ring.degree() if name.startswith("r"))
    assert torus(1, 2).number_of_edges() == 3
    bells = dumbbell(3, rate="1Mbps", access={"delay": "1ms"})
    assert bells.edges["left", "right"] == {"name": "bottleneck", "rate": "1Mbps"}
    assert bells.edges["c2", "left"] == {"name": "c2", "delay": "1ms"}
    paths = parallel_paths([{"rate": "1Mbps"}, {"rate": "2Mbps"}], delay="3ms")
    assert paths.edges["client", "r1"] == {"name": "path1", "rate": "2Mbps", "delay": "3ms"}
    five = bottleneck_torus(5)
    for index in range(5):
        assert len(list(networkx.all_shortest_paths(five, f"c{index}", f"s{index}"))) == 2
        assert five.degree(f"a{index}") == 3


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_each_generator_makes_a_scenario_that_runs(name: str) -> None:
    hosts = hosts_of(GENERATORS[name]())
    text = f"""{KEYS}
[topology]
generator = "{name}"
rate = "10Mbps"
delay = "1ms"
access = {{ delay = "2ms" }}
[[flows]]
client = "{hosts[0]}"
server = "{hosts[-1]}"
bytes = "20kB"
"""
    simulation = build(loads(text))
    simulation.env.run("1s")
    server = simulation.flows[0].server
    assert server is not None
    assert server.delivered == 20_000


# --- Mistakes -----------------------------------------------------------------------------------

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>
<graphml><graph><node id="&c;"/></graph></graphml>"""

OUTSIDE = """<!DOCTYPE g SYSTEM "file:///etc/passwd"><graphml/>"""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.graphml", LAUGHS, "a.graphml: line 2: a document type"),
        ("a.graphml", OUTSIDE, "a.graphml: line 1: a document type"),
        ("a.graphml", "<graphml><graph>", "line 1: not well-formed XML: no element found"),
        ("a.graphml", "", "not well-formed"),
        ("a.graphml", "<svg/>", "line 1: the outermost element is <svg>"),
        ("a.graphml", "<graphml/>", "no <graph>"),
        ("a.graphml", "<graphml>" + "<a>" * 100, "line 1: more than 64 elements inside each other"),
        ("a.graphml", graphml("<node/>"), "line 9: a <node> without an id"),
        ("a.graphml", graphml('<node id="a"/><node id="a"/>'), "line 9: node 'a': there is another node"),
        ("a.graphml", graphml('<node id="a"/><edge source="a"/>'), "line 9: an <edge> without a target"),
        (
            "a.graphml",
            graphml(ENDS + '<edge source="a" target="z"/>'),
            "line 10: edge 'a'--'z': there is no node",
        ),
        (
            "a.graphml",
            graphml(ENDS + '<edge source="a" target="a"/>'),
            "line 10: edge 'a'--'a': a link joins two",
        ),
        (
            "a.graphml",
            graphml(ENDS + '<edge source="a" target="b">\n<data key="r">fast</data></edge>'),
            "line 11: rate: 'fast' is no double",
        ),
        ("a.graphml", edge_with("r", "10"), "rate_unit"),
        ("a.graphml", edge_with("r", "1e300"), "range"),
        ("a.graphml", edge_with("r", "9" * 99), "double"),
        ("a.graphml", edge_with("d", "-1ms"), "negative"),
        ("a.graphml", edge_with("q", "1"), "no <key> declares"),
        ("a.graphml", edge_with("s", "1.2.3"), "source_address"),
        ("a.graphml", graphml('<node id="a"><data key="k">hots</data></node>'), "did you mean 'host'?"),
        ("a.graphml", graphml('<node id="a/b"/>'), "its id is no name of a node"),
        ("a.graphml", graphml("<hyperedge/>"), "line 9: a <hyperedge>"),
        ("a.graphml", graphml("<node id='a'><graph/></node>"), "line 9: a second <graph>"),
        (
            "a.gml",
            "graph [ node [ id 1 ] node [ id 1 ] ]",
            "a.gml: line 1: node '1': there is another node with this id",
        ),
        ("a.gml", "graph [ node [ ] ]", "a.gml: line 1: the node has no id"),
        ("a.gml", "graph [", "a.gml: line 1: the list that begins here is not closed"),
        ("a.gml", "graph " + "[ a " * 5000, "a.gml: "),
        ("a.gml", "graph [ x " + "9" * 5000 + " ]", "more than 40 digits"),
        ("a.gml", b"\xff\xfe", "not UTF-8"),
        ("a.json", "{", "a.json: line 1: not valid JSON"),
        ("a.json", "[" * 100_000, "a.json: "),
        ("a.json", '{"nodes": [], "links": NaN}', "NaN is no number of JSON"),
        ("a.json", '{"nodes": [{}], "links": []}', "nodes.0.id: is missing"),
        ("a.json", '{"nodes": [{"id": 1}], "links": [{"source": 1}]}', "links.0.target: is missing"),
        ("a.json", '{"nodes": [{"id": [1]}], "links": []}', "nodes.0.id: is [1]"),
        ("a.json", '{"nodes": [1], "links": []}', "nodes.0: no table"),
        ("a.json", '{"nodes": 1}', "nodes: no list"),
        ("a.json", "7", "no table at the top"),
        ("a.json", '{"elements": 7}', "elements: no table"),
        ("a.cyjs", '{"elements": {"nodes": [{}]}}', "elements.nodes.0.data: no table"),
        (
            "a.json",
            '{"nodes": [{"id": 1}, {"id": 2}], "links": [{"source": 1, "target": 2, "loss": 5}]}',
            "links.0: edge '1'--'2': loss: 5 is not a loss",
        ),
        ("a.txt", "", "its name tells no format"),
    ],
)
def test_a_wrong_file_is_one_message(name: str, text: str | bytes, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: line 5: topology.file: {name}: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        ({"file": "missing.graphml"}, "topology.file: missing.graphml: no such file"),
        ({"file": "."}, "topology.file: "),
        ({}, "topology: neither file nor generator"),
        (
            {"generator": "fat-tre"},
            "topology.generator: unknown generator 'fat-tre'; did you mean 'fat-tree'?",
        ),
        ({"generator": "fat-tree", "k": 10**9}, "topology.k: 1000000000 is out of range"),
        ({"generator": "fat-tree", "k": 4.0}, "topology.k: 4.0 is not a whole number"),
        ({"generator": "torus", "rows": 99999, "columns": 99999}, "out of range"),
        ({"generator": "dumbbell", "pears": 2}, "topology.pears: unknown key 'pears'; did you mean 'pairs'?"),
        ({"generator": "dumbbell", "mtu": 3}, "topology.mtu: "),
        ({"generator": "dumbbell", "rate": 3}, "topology.rate: 3 is not a rate"),
        ({"generator": "dumbbell", "prefix": "10.0.0.1/8"}, "topology.prefix: "),
        ({"generator": "dumbbell", "prefix": "10.0.0.0"}, "it has no prefix length"),
        ({"generator": "dumbbell", "prefix": "10.0.0.0/30"}, "10.0.0.0/30 has too few addresses"),
        ({"generator": "parallel-paths", "paths": 1000}, "topology.paths: 1000 is out of range"),
        ({"generator": "parallel-paths", "paths": [{"rate": 1}]}, "topology.paths.0.rate: 1 is not a rate"),
        ({"generator": "dumbbell", "file": "x"}, "topology.file: file and generator exclude each other"),
        ([], "topology: write a table of keys here"),
    ],
)
def test_a_wrong_table_is_one_message(topology: Any, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        from_data({"title": "t", "duration": "1s", "topology": topology})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        ({"hosts": ["nowhere"]}, "topology.hosts: 'nowhere' is no node of it"),
        ({"hosts": ["a"]}, "topology.hosts: 'a' is a host itself"),
        ({"hosts": {"m": ["m"]}}, "topology.hosts: the graph has a node 'm' already"),
        ({"hosts": "some"}, "topology.hosts: 'some' names no hosts"),
        ({"rate_unit": "Mbit"}, "topology.rate_unit: 'Mbit' is no unit of a rate"),
        ({"names": "label"}, "node 'a': it has no label"),
        ({"delay_from_distance": True, "ignore": ["delay"]}, "its ends have no Latitude and Longitude"),
    ],
)
def test_a_wrong_choice_is_one_message(topology: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_of(CHAIN, topology, flows=[{"client": "a", "server": "b"}])
    assert said in str(caught.value)


def test_a_mistake_in_what_was_loaded_names_its_origin(tmp_path: Path) -> None:
    path = write(tmp_path, graphml(ENDS + '<edge source="a" target="b"/>'), more='[[links]]\nname = "x"\n')
    with pytest.raises(ScenarioError, match=r"line 6: links\.0\.ends: the key 'ends' is missing"):
        load(path)
    path = write(
        tmp_path,
        edge_with("s", "10.0.0.1/31 10.0.0.1/31"),
    )
    with pytest.raises(ScenarioError, match=r"hosts\.a\.interfaces\.eth0 \(from net\.graphml\): "):
        load(path)


SEEDS = {
    "graphml": edge_with("r", "1e6"),
    "gml": "\n".join(networkx.generate_gml(CHAIN)),
    "json": json.dumps(networkx.node_link_data(CHAIN, edges="edges")),
}
READERS = {"graphml": read_graphml, "gml": read_gml, "json": read_node_link}
JUNK = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"<", b">", b"&", b"&x;", b"]]>", b"[", b"]", b"{", b'"', b"null", b"1e999", b"-", b"9" * 50, b"\0"]
    ),
)


@st.composite
def damaged(draw: st.DrawFn, form: str) -> bytes:
    data = SEEDS[form].encode()
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        data = data[:begin] + draw(JUNK) + data[end:]
    return data


def read_hostile(form: str, data: bytes) -> None:
    """Read a damaged file all the way; nothing but one message may come of it."""
    try:
        plan: TopologyPlan = READERS[form](data)
    except TopologyError as error:
        message = str(error)
    else:
        message = ""
    assert len(message) < 1000
    if message:
        return
    try:
        from_data({"title": "t", "duration": "1s", "flows": [{"client": "a", "server": "b"}]}, plan=plan)
    except ScenarioError as error:
        message = str(error)
    assert message != "scenario: "


@settings(max_examples=150, deadline=None)
@given(st.data())
@pytest.mark.parametrize("form", sorted(SEEDS))
def test_damaged_files_end_in_one_message(form: str, data: st.DataObject) -> None:
    read_hostile(form, data.draw(damaged(form)))


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "rate",
                "delay",
                "LinkSpeed",
                "LinkSpeedUnits",
                "queue",
                "loss",
                "mtu",
                "name",
                "qdisc",
                "jitter",
                "source_address",
                "target_interface",
                "dist",
                "burst",
                "down_drops_queue",
                "reorder",
            ]
        ),
        ANYTHING,
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(["kind", "type", "label", "address", "x", "y", "pos", "Latitude", "Longitude"]),
        ANYTHING,
        max_size=3,
    ),
)
def test_attributes_of_any_type_end_in_one_message(edge: dict[str, Any], node: dict[str, Any]) -> None:
    graph: networkx.DiGraph[Any] = networkx.DiGraph()
    graph.add_node("a", **{"kind": "host", **node})
    graph.add_node("b", kind="host")
    graph.add_edge("a", "b", **edge)
    try:
        scenario = scenario_of(
            graph, {"delay_from_distance": True, "delay": "1ms"}, flows=[{"client": "a", "server": "b"}]
        )
    except ScenarioError as error:
        message = str(error)
    else:
        message = ""
        assert loads(dumps(scenario)) == scenario
    assert "\n" not in message


def test_the_plan_of_a_graph_keeps_parallel_edges() -> None:
    graph: networkx.MultiGraph[Any] = networkx.MultiGraph([("a", "b"), ("a", "b")])
    assert len(plan_of(graph).edges) == 2
    graph.nodes["a"]["kind"] = graph.nodes["b"]["kind"] = "host"
    assert [link.name for link in scenario_of(graph).links] == ["a--b", "a--b-2"]


TABLE_KEYS = [
    *(
        "file",
        "format",
        "generator",
        "k",
        "pairs",
        "paths",
        "rows",
        "columns",
        "links",
        "hosts",
        "names",
        "ignore",
    ),
    *("rate", "delay", "queue", "qdisc", "mtu", "access", "prefix", "rate_unit", "delay_unit"),
    "delay_from_distance",
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([{"generator": name} for name in GENERATORS] + [{"file": "."}, {}]),
    st.dictionaries(
        st.sampled_from(TABLE_KEYS),
        st.one_of(ANYTHING, st.sampled_from([3, "1Mbps", "leaves", ["a"], {"x": ["m"]}, "10.0.0.0/24"])),
        max_size=3,
    ),
    st.booleans(),
)
def test_tables_of_any_content_end_in_one_message(
    kind: dict[str, Any], table: dict[str, Any], given_graph: bool
) -> None:
    topology = {**table} if given_graph else {**kind, **table}
    data = {"title": "t", "duration": "1s", "topology": topology, "flows": [{"client": "a", "server": "b"}]}
    try:
        from_data(data, plan=plan_of(CHAIN) if given_graph else None)
    except ScenarioError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
