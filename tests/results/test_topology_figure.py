"""Pictures of topologies, and the paths of subflows that are drawn on them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mptcpsim import build, load, loads
from mptcpsim.cli import app
from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.net.tracks import Tracks
from mptcpsim.results.figures_layout import MOST_FOR_STRESS, apart, distances, layout
from mptcpsim.results.figures_topology import _TopologyDrawing, draw_topology
from mptcpsim.results.picture import HOST, ROUTER, Picture, PictureLink, PictureNode, PicturePath
from mptcpsim.scenario.picture import graph_picture, picture_of, scenario_picture
from mptcpsim.scenario.subflow_paths import expected_paths, subflow_paths
from tests.paths import EXPERIMENTS

TWO_PATHS = EXPERIMENTS / "two-paths" / "scenario.toml"

TREE = """
title = "A fat tree"
duration = "1s"
ecmp = "flow"
[topology]
generator = "fat-tree"
k = 4
rate = "100Mbps"
delay = "20us"
[defaults]
mptcp = { profile = "rfc8684", path_manager = { name = "ndiffports", subflows = 4 } }
[[flows]]
name = "f"
pattern = "permutation"
bytes = "20kB"
"""


def drawn(graph: networkx.Graph[Any], *paths: PicturePath) -> Picture:
    return Picture(
        "t",
        [PictureNode(str(name), ROUTER, at.get("position")) for name, at in graph.nodes.data()],
        [PictureLink(f"{a}--{b}", str(a), str(b), "1 Mbit/s") for a, b in graph.edges],
        paths,
    )


# --- Paths --------------------------------------------------------------------------------------


def test_expected_paths_of_two_paths() -> None:
    scenario = load(TWO_PATHS)
    assert [(p.subflow, p.start, p.links) for p in expected_paths(scenario)] == [
        (0, "client", ("path1", "server1")),
        (1, "client", ("path2", "server2")),
    ]


def test_paths_cross_switches() -> None:
    found = expected_paths(load(EXPERIMENTS / "seed" / "one-network" / "scenario.toml"))
    assert all(len(path.links) == 2 for path in found)


def test_expected_paths_are_those_that_packets_take() -> None:
    scenario = loads(TREE)
    simulation = build(scenario)
    crossed: dict[FourTuple, dict[str, None]] = {}
    for link in simulation.topology.links.values():

        def tap(packet: Packet, now: int, outgoing: bool, name: str = link.name) -> None:
            if outgoing and packet.flow.dport == 5001:
                crossed.setdefault(packet.flow, {})[name] = None

        link.a.tap = link.b.tap = tap
    simulation.env.run("1s")
    used = list(subflow_paths(simulation))
    assert used == expected_paths(scenario)
    assert sorted(path.links for path in used) == sorted(tuple(links) for links in crossed.values())
    assert len(used) == 16 * 4
    assert len({path.links[2:4] for path in used if len(path.links) == 6}) > 8


def test_a_path_ends_where_nothing_leads_on() -> None:
    simulation = build(load(TWO_PATHS))
    tracks = Tracks(simulation.topology)
    assert tracks.links("client", FourTuple("10.1.0.1", 1, "99.9.9.9", 1)) == ()
    assert tracks.host_of("99.9.9.9") == ""


# --- Layout -------------------------------------------------------------------------------------


def test_given_coordinates_count() -> None:
    graph: networkx.Graph[Any] = networkx.Graph([("a", "b"), ("b", "c"), ("c", "d")])
    for name, place in (("a", (0.0, 0.0)), ("b", (1.0, 2.0)), ("c", (5.0, 1.0))):
        graph.nodes[name]["position"] = place
    places = layout(drawn(graph))
    assert (places["a"], places["b"], places["c"]) == ((0.0, 0.0), (1.0, 2.0), (5.0, 1.0))
    # A node without any stands beside its neighbour.
    assert 0 < np.hypot(places["d"][0] - 5.0, places["d"][1] - 1.0) < 3


def test_two_hosts_stand_left_and_right_and_paths_on_rows_of_their_own() -> None:
    graph: networkx.Graph[Any] = networkx.Graph()
    networkx.add_path(graph, ["s", "a1", "a2", "d"])
    networkx.add_path(graph, ["s", "b1", "d"])
    picture = Picture(
        "t",
        [PictureNode(name, HOST if name in "sd" else ROUTER) for name in graph.nodes],
        [PictureLink(f"{a}{b}", a, b) for a, b in graph.edges],
        [PicturePath("p", "s", ("sa1", "a1a2", "a2d"))],
    )
    places = layout(picture)
    assert places["s"][0] == 0.0 < places["a1"][0] < places["a2"][0] < places["d"][0] == 1.0
    assert places["a1"][1] == places["a2"][1] != places["b1"][1]


def test_two_hosts_at_a_mesh_make_no_columns() -> None:
    """A detour is longer than the shortest way, so that its nodes would lie between the columns."""
    graph: networkx.Graph[Any] = networkx.Graph()
    networkx.add_path(graph, ["s", "w", "l", "z", "i", "d"])
    networkx.add_path(graph, ["w", "g", "k", "z"])
    picture = Picture(
        "t",
        [PictureNode(name, HOST if name in "sd" else ROUTER) for name in graph.nodes],
        [PictureLink(f"{a}{b}", a, b) for a, b in graph.edges],
        [],
    )
    places = layout(picture)
    for a, b in itertools.combinations(places, 2):
        assert np.hypot(*np.subtract(places[a], places[b])) > 0.5, (a, b)
    assert len({round(y, 3) for _, y in places.values()}) > 3


def test_stress_keeps_distances() -> None:
    grid = networkx.grid_2d_graph(6, 6)
    places = layout(drawn(grid))
    near = drawn(grid).neighbours()
    wanted, found = [], []
    for a, b in itertools.combinations(places, 2):
        wanted.append(distances(near, a)[b])
        found.append(float(np.hypot(*np.subtract(places[a], places[b]))))
    assert np.corrcoef(wanted, found)[0, 1] > 0.9


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25), st.integers(0, 40), st.randoms(use_true_random=False))
def test_every_graph_is_laid_out(nodes: int, edges: int, rng: object) -> None:
    graph = networkx.gnm_random_graph(nodes, edges, seed=rng)
    picture = drawn(graph)
    places = layout(picture)
    assert set(places) == set(picture.nodes)
    assert np.isfinite(list(places.values())).all()
    assert layout(picture) == places


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 6), st.floats(0, 6)), min_size=2, max_size=12))
def test_nodes_are_moved_apart(points: list[tuple[float, float]]) -> None:
    places = {str(i): np.array(p) for i, p in enumerate(points)}
    apart(places, dict.fromkeys(places, (0.2, 0.1)), 0.02)
    for a, b in itertools.combinations(places.values(), 2):
        assert abs(a[0] - b[0]) > 0.419 or abs(a[1] - b[1]) > 0.219


def test_a_graph_too_large_for_stress_is_laid_out() -> None:
    tree = networkx.balanced_tree(2, 10)
    assert len(tree) > MOST_FOR_STRESS
    places = layout(drawn(tree))
    assert len(set(places.values())) == len(tree)


# --- Drawing ------------------------------------------------------------------------------------


def test_each_subflow_is_a_line_from_node_to_node() -> None:
    picture = picture_of(TWO_PATHS)
    drawing = _TopologyDrawing(picture)
    lines = {str(line.get_label()): np.array(line.get_xydata()) for line in drawing.axes.get_lines()}
    assert list(lines) == ["transfer, subflow 0", "transfer, subflow 1"]
    for line in lines.values():
        assert np.hypot(*(line[0] - drawing.places["client"])) < 0.1
        assert np.hypot(*(line[-1] - drawing.places["server"])) < 0.1
    written = {text.get_text() for text in drawing.axes.texts}
    assert {"10 Mbit/s\n10 ms", "20 Mbit/s\n40 ms", "eth1\n10.1.0.1/24", "router"} <= written


def test_labels_cover_neither_nodes_nor_each_other() -> None:
    for source in (TWO_PATHS, EXPERIMENTS / "seed" / "one-network" / "scenario.toml"):
        taken = _TopologyDrawing(picture_of(source)).taken
        for a, b in itertools.combinations(taken, 2):
            assert (np.abs(a[:2] - b[:2]) > a[2:] + b[2:] - 0.03).any(), (source, a, b)


def test_many_paths_colour_the_links() -> None:
    drawing = _TopologyDrawing(scenario_picture(loads(TREE), expected_paths(loads(TREE))))
    assert not drawing.axes.get_lines()
    coloured = [c for c in drawing.axes.collections if c.get_array() is not None]
    assert len(coloured) == 1
    assert np.asarray(coloured[0].get_array()).max() >= 4


def test_what_most_links_have_in_common_is_said_once() -> None:
    drawing = _TopologyDrawing(scenario_picture(loads(TREE, overrides=["links.h0-0-0--e0-0.rate=5Mbps"])))
    written = [text.get_text() for text in drawing.axes.texts]
    assert "links, if nothing else is said: 100 Mbit/s, 20 µs" in written
    assert written.count("5 Mbit/s\n20 µs") == 1
    assert "100 Mbit/s\n20 µs" not in written


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw_topology(picture_of(TWO_PATHS), tmp_path / name)
    for suffix in ("png", "pdf"):
        first, second = (tmp_path / name / f"topology.{suffix}" for name in ("a", "b"))
        assert first.stat().st_size > 5000
        assert first.read_bytes() == second.read_bytes()


def test_a_graph_file_is_drawn(tmp_path: Path) -> None:
    graph: networkx.Graph[Any] = networkx.Graph()
    graph.add_node(0, label="Vienna", Longitude=16.4, Latitude=48.2)
    graph.add_node(1, label="Graz", Longitude=15.4, Latitude=47.1)
    graph.add_edge(0, 1, LinkSpeedRaw=1e9)
    networkx.write_graphml(graph, tmp_path / "zoo.graphml")
    picture = graph_picture(tmp_path / "zoo.graphml")
    assert picture.nodes["Vienna"].position == (16.4, 48.2)
    assert picture.links["Vienna--Graz"].label == "1 Gbit/s"


# --- Command line -------------------------------------------------------------------------------


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_a_run_is_drawn_with_the_paths_that_it_used(tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = ["--set", "duration=2s", "--set", "flows.0.duration=1s"]
    assert call("run", TWO_PATHS, "--out", run, "--no-figures", *changes)[0] == 0
    summary = json.loads((run / "summary.json").read_text())
    summary["flows"][0]["subflows"][1]["links"] = ["path2"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert [path.links for path in picture_of(run).paths] == [("path1", "server1"), ("path2",)]
    status, output = call("plot", run, "--topology")
    assert (status, output.strip()) == (0, str(run / "topology.png"))
    assert (run / "topology.pdf").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plot", "--topology", "missing.toml"), "missing.toml: no such file"),
        (("plot", "--topology", "missing.graphml"), "missing.graphml: no such file"),
        (("plot", "--topology", "empty"), "has no summary.json"),
        (("plot", "--topology", "none.json"), "there is nothing to draw"),
        (("plot", "--topology", "wrong.json"), "wrong.json: nodes: no list"),
        (("plot", "empty", "--out", "x"), "--out and --set are for --topology"),
        (("plot", "--topology", "two.json", "--out", "none.json"), "none.json: cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.json").write_text('{"nodes": [], "links": []}')
    (tmp_path / "wrong.json").write_text('{"nodes": 1}')
    (tmp_path / "two.json").write_text(
        '{"nodes": [{"id": 1}, {"id": 2}], "links": [{"source": 1, "target": 2}]}'
    )
    status, output = call(*arguments)
    assert status == 2
    assert said in output
    assert output.count("\n") == 1
