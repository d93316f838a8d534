"""``mptcpsim route``: the way of a packet and of its answer, and where either ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from tests.paths import SEED

SCENARIO = """\
title = "A host in two networks, a router, a switch"
duration = "10s"

[hosts.A]
interfaces = { em0 = "192.168.5.2/24", em1 = "192.168.0.2/24" }
default_route = "192.168.5.1"

[hosts.B]
interfaces = { em0 = ["10.0.1.2/24", "fd00:1::2/64"] }
default_route = "10.0.1.1"

[hosts.C]
interfaces = { em0 = "10.0.1.3/24" }
default_route = "10.0.1.1"

[routers.R]
interfaces = { r5 = "192.168.5.1/24", r0 = "192.168.0.1/24", r1 = "10.0.1.1/24" }

[switches.S]

[[links]]
name = "five"
ends = ["A:em0", "R:r5"]
rate = "10Mbps"
delay = "5ms"

[[links]]
name = "zero"
ends = ["A:em1", "R:r0"]
rate = "8Mbps"

[[links]]
name = "up"
ends = ["R:r1", "S"]
mtu = 1400

[[links]]
name = "b"
ends = ["S", "B:em0"]

[[links]]
name = "c"
ends = ["S", "C:em0"]

[[flows]]
client = "A"
server = "B"

[[events]]
at = "3s"
link = "zero"
action = "down"

[[events]]
at = "5s"
link = "zero"
action = "up"

[[events]]
at = "6s"
link = "b"
action = "down"
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def route(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["route", *words])
    return result.exit_code, result.stdout, result.stderr


def test_both_ways_are_printed_with_their_reasons(scenario: str) -> None:
    status, out, _ = route(scenario, "A", "em1", "B")
    assert status == 0
    assert out == (
        "out: 192.168.0.2:49152 > 10.0.1.2:5001 (SYN)\n"
        "1  A      > em0  192.168.5.1  five (10 Mbit/s, 5 ms)\n"
        "     table main: default via 192.168.5.1 dev em0\n"
        "2  R   r5 > r1   10.0.1.2     up (unlimited, 0 s), b (unlimited, 0 s)\n"
        "     table main: 10.0.1.0/24 dev r1\n"
        "3  B  em0\n"
        "     10.0.1.2 is an address of B\n"
        "\n"
        "back: 10.0.1.2:5001 > 192.168.0.2:49152 (SYN, ACK)\n"
        "1  B      > em0  10.0.1.1     b (unlimited, 0 s), up (unlimited, 0 s)\n"
        "     table main: default via 10.0.1.1 dev em0\n"
        "2  R   r1 > r0   192.168.0.2  zero (8 Mbit/s, 0 s)\n"
        "     table main: 192.168.0.0/24 dev r0\n"
        "3  A  em1\n"
        "     192.168.0.2 is an address of A\n"
        "\n"
        "arrives, and so does the answer\n"
    )


def test_a_host_reaches_itself_without_a_link(scenario: str, tmp_path: Path) -> None:
    status, out, _ = route(scenario, "A", "em1", "A")
    assert status == 0
    assert "is an address of A itself: local delivery" in out
    pairs = tmp_path / "pairs"
    pairs.write_text("A em0 em1\n", encoding="utf-8-sig")
    line = "A 192.168.5.2 > 192.168.0.2: local delivery\n"
    assert route(scenario, "--pairs", str(pairs)) == (0, line, "")


@pytest.mark.parametrize(
    ("words", "source", "destination"),
    [
        (("A", "A", "B"), "192.168.5.2", "10.0.1.2"),
        (("A", "em1", "B:em0"), "192.168.0.2", "10.0.1.2"),
        (("192.168.0.2", "A:em1", "10.0.1.3"), "192.168.0.2", "10.0.1.3"),
        (("R", "r1", "C"), "10.0.1.1", "10.0.1.3"),
        (("C", "C", "r0"), "10.0.1.3", "192.168.0.1"),
    ],
)
def test_names_and_addresses_mean_the_same(
    scenario: str, words: tuple[str, ...], source: str, destination: str
) -> None:
    out = route(scenario, *words)[1]
    assert out.startswith(f"out: {source}:49152 > {destination}:5001 (SYN)\n")


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("A", "em0", "10.9.9.9"), "dropped on the way out: at R: there is no route to 10.9.9.9 (no-route)"),
        (("B", "B", "1.2.3.4"), "dropped on the way out: at R: there is no route to 1.2.3.4 (no-route)"),
        (
            ("A", "em0", "10.0.1.9"),
            "dropped on the way out: at R: nobody on the link of r1 answers for 10.0.1.9 (no-host)",
        ),
        (("A", "em1", "B", "--at", "2.999s"), "arrives, and so does the answer"),
        (("A", "em1", "B", "--at", "3s"), "dropped on the way back: at R: link zero is down (down)"),
        (("A", "em1", "B", "--at", "5s"), "arrives, and so does the answer"),
        (("A", "em0", "B", "--at", "7s"), "dropped on the way out: at R: link b is down (down)"),
        (("A", "em0", "C", "--at", "7s"), "arrives, and so does the answer"),
        (("A", "em0", "B", "--size", "1400"), "arrives, and so does the answer"),
        (
            ("A", "em0", "B", "--size", "1401"),
            "dropped on the way out: at R: the packet is larger than the MTU of r1, 1400 bytes (too-big)",
        ),
    ],
)
def test_where_and_why_it_ends(scenario: str, words: tuple[str, ...], end: str) -> None:
    status, out, _ = route(scenario, *words)
    assert out.splitlines()[-1] == end
    assert status == (0 if end.startswith("arrives") else 1)


def test_a_circle_ends_with_the_time_to_live(tmp_path: Path) -> None:
    text = """\
title = "Two routers that send it to each other"
duration = "1s"
[hosts.A]
interfaces = { a = "10.0.1.2/24" }
default_route = "10.0.1.1"
[routers.R]
interfaces = { a = "10.0.1.1/24", s = "10.0.2.1/24" }
default_route = "10.0.2.2"
[routers.S]
interfaces = { r = "10.0.2.2/24", b = "10.0.3.1/24" }
default_route = "10.0.2.1"
[hosts.B]
interfaces = { b = "10.0.3.2/24" }
default_route = "10.0.3.1"
[[links]]
ends = ["A:a", "R:a"]
[[links]]
ends = ["R:s", "S:r"]
[[links]]
ends = ["S:b", "B:b"]
[[flows]]
client = "A"
server = "B"
"""
    path = tmp_path / "circle.toml"
    path.write_text(text, encoding="utf-8")
    assert route(str(path), "A", "A", "B")[0] == 0
    status, out, _ = route(str(path), "A", "A", "10.77.0.1", "--format", "json")
    way = json.loads(out)["out"]
    assert status == 1
    assert way["why"].endswith("the time to live has run out: the packet runs in a circle (ttl)")
    assert [hop["node"] for hop in way["hops"]] == ["A", *["R", "S"] * 32]


def test_a_middlebox_has_its_say(scenario: str) -> None:
    box = 'links.five.middleboxes=[{name="drop", match="syn"}]'
    status, out, _ = route(scenario, "A", "em0", "B", "--set", box)
    assert status == 1
    assert out.splitlines()[-1] == (
        "dropped on the way out: at A: middlebox drop on link five drops it (middlebox)"
    )


def test_json(scenario: str) -> None:
    status, out, _ = route(scenario, "A", "em1", "B", "--format", "json", "--port", "80", "--sport", "7")
    trip = json.loads(out)
    assert status == 0
    assert trip["arrived"]
    assert (trip["out"]["source_port"], trip["out"]["destination_port"]) == (7, 80)
    assert [hop["node"] for hop in trip["out"]["hops"]] == ["A", "R", "B"]
    assert trip["out"]["hops"][1]["links"] == ["up", "b"]
    assert (trip["back"]["hops"][2]["received"], trip["back"]["hops"][2]["interface"]) == ("em1", None)


def test_pairs_of_a_file(scenario: str, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    pairs.write_text(
        "# who sends what where\nA em1 B\nC B # by routing\n\nA em0 10.9.9.9\n", encoding="utf-8"
    )
    status, out, _ = route(scenario, "--pairs", str(pairs))
    assert status == 1
    assert out.splitlines() == [
        "A 192.168.0.2 > 10.0.1.2: R B; back: R A",
        "C 10.0.1.3 > 10.0.1.2: B; back: C",
        "A 192.168.5.2 > 10.9.9.9: dropped on the way out: at R: there is no route to 10.9.9.9 (no-route)",
    ]


def test_random_pairs_are_those_of_the_seed(scenario: str) -> None:
    first = route(scenario, "--random", "20", "--seed", "3")
    assert first == route(scenario, "--random", "20", "--seed", "3")
    assert first != route(scenario, "--random", "20", "--seed", "4")
    assert first[0] == 0
    assert len(first[1].splitlines()) == 20


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("X", "A", "B"), "no host or router is called 'X'; known are A, B, C, R"),
        (("S", "S", "B"), "'S' is a switch and sends nothing"),
        (("A", "em3", "B"), "'A' has no interface 'em3'; did you mean 'em0' or 'em1'?"),
        (("A", "10.0.1.2", "B"), "10.0.1.2 is no address of 'A': it has 192.168.5.2, 192.168.0.2"),
        (("10.0.1.77", "A", "B"), "nobody has the address 10.0.1.77"),
        (("A", "A", "em0"), "several nodes have an interface 'em0': write A:em0 or B:em0 or C:em0"),
        (("A", "A", "Q"), "no host, router or interface is called 'Q'"),
        (("A", "A", "B:em9"), "'B' has no interface 'em9'"),
        (("A", "em0", "fd00:1::2"), "are of different IP versions"),
        (("A", "em0"), "say who sends what where"),
        ((), "say who sends what where"),
        (("A", "A", "B", "--random", "3"), "say who sends what where"),
        (("A", "A", "B", "--at", "soon"), "--at 'soon' is not a time"),
        (("--pairs", "nowhere"), "nowhere: cannot be read"),
    ],
)
def test_wrong_words_are_status_2(scenario: str, words: tuple[str, ...], says: str) -> None:
    status, out, err = route(scenario, *words)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_pair_that_is_none_is_named_with_its_line(scenario: str, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    pairs.write_text("A em1 B\nA\n", encoding="utf-8")
    status, _, err = route(scenario, "--pairs", str(pairs))
    assert status == 2
    assert "line 2: write HOST SRC DST, or HOST DST (got 'A')" in err


# --- The seed's two networks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "own", "answered"),
    [("no-policy", "A1", "A1"), ("pf", "A2", "A2"), ("ip-rule", "A2", "A2"), ("verbatim", "A1", "A2")],
)
def test_the_seed_takes_the_ways_of_its_captures(variant: str, own: str, answered: str) -> None:
    """By which interface packets of A2 leave: when A opens the connection, and when B does."""
    scenario = str(SEED / "multi-network" / f"{variant}.toml")
    status, out, _ = route(scenario, "A", "em1", "B", "--format", "json")
    assert status == 0
    assert json.loads(out)["out"]["hops"][0]["interface"] == own
    assert json.loads(out)["back"]["hops"][-1]["received"] == "A2"
    status, out, _ = route(scenario, "B", "B1", "A:em1", "--format", "json")
    assert status == 0
    assert json.loads(out)["back"]["hops"][0]["interface"] == answered


def test_what_decided_in_pf_is_shown() -> None:
    scenario = str(SEED / "multi-network" / "pf.toml")
    out = route(scenario, "B", "B", "A2")[1]
    assert "pf, in on em1: rule in line 23 (pass in on $mp_if reply-to" in out
    assert "pf, out on em0: the state of 10.0.1.2 > 192.168.0.2, made inbound by line 23" in out


# --- Equal routes --------------------------------------------------------------------------------


def test_the_hash_chooses_among_equal_routes(tmp_path: Path) -> None:
    text = """\
title = "Two ways of the same length"
duration = "1s"
routing = "hops"
ecmp = "flow"
[hosts.A]
interfaces = { a = "10.0.1.2/24" }
[hosts.B]
interfaces = { b = "10.0.2.2/24" }
[routers]
R = { interfaces = { a = "10.0.1.1/24", s = "10.1.0.1/30", t = "10.1.1.1/30" } }
S = { interfaces = { r = "10.1.0.2/30", u = "10.1.2.1/30" } }
T = { interfaces = { r = "10.1.1.2/30", u = "10.1.3.1/30" } }
U = { interfaces = { s = "10.1.2.2/30", t = "10.1.3.2/30", b = "10.0.2.1/24" } }
[[links]]
ends = ["A:a", "R:a"]
[[links]]
ends = ["R:s", "S:r"]
[[links]]
ends = ["R:t", "T:r"]
[[links]]
ends = ["S:u", "U:s"]
[[links]]
ends = ["T:u", "U:t"]
[[links]]
ends = ["U:b", "B:b"]
[[flows]]
client = "A"
server = "B"
"""
    path = tmp_path / "diamond.toml"
    path.write_text(text, encoding="utf-8")
    middle = set()
    for sport in range(50000, 50020):
        status, out, _ = route(str(path), "A", "A", "B", "--sport", str(sport), "--format", "json")
        hops = json.loads(out)["out"]["hops"]
        assert status == 0
        assert "one of 2 by the hash of the flow" in hops[1]["steps"][0]
        middle.add(hops[2]["node"])
    assert middle == {"S", "T"}


def test_a_packet_that_pf_sends_back_and_forth_is_dropped() -> None:
    scenario = str(SEED / "mistakes" / "5{}.toml")
    assert route(scenario.format(""), "A", "A2", "B")[0] == 0
    status, out, _ = route(scenario.format("-no-state"), "A", "A2", "B")
    assert status == 1
    assert out.splitlines()[-1] == (
        "dropped on the way out: at A: pf: dropped: route-to and reply-to have decided 4 times, "
        "pf takes it for a loop (pf-loop)"
    )
