"""The timeline: links, interfaces, addresses, routes and applications that change while a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mptcpsim.core.mptcp_options import RemoveAddr
from mptcpsim.core.segment import SYN, FourTuple
from mptcpsim.net.forwarding import IpNode
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.summarise import event_lines, summarise
from mptcpsim.units import MILLISECOND, SECOND
from tests.middleboxes.boxes import TWO_PATHS, Run, run, text
from tests.net.nodes import ip_node

LONG = 'bytes = "5MB"'
MPTCP_SMALL = 'mptcp = "rfc8684"\ntcp = { receive_buffer = "64KiB" }'


def events(*lines: str) -> str:
    return "".join(f"\n[[events]]\n{line}\n" for line in lines)


def at(time: str, action: str, **keys: str) -> str:
    given = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
    return f'at = "{time}"\naction = "{action}"\n{given}'


def subflow_bytes(result: Run) -> list[int]:
    return [subflow.sender.sent_bytes for subflow in result.flow.client.subflows]


# --- Links -----------------------------------------------------------------------------------------


def test_a_queue_gets_longer() -> None:
    short = run(flow=LONG, more=events('at = "1s"\naction = "set"\nlink = "one"\nqueue = 5'))
    assert short.link().forward.limit == 5
    assert short.link().forward.drops["queue"] > run(flow=LONG).link().forward.drops.get("queue", 0)
    assert short.delivered() == 5_000_000


@pytest.mark.parametrize("discipline", ["droptail", "red", "codel", "pie"])
def test_a_queue_gets_shorter_whatever_its_discipline(discipline: str) -> None:
    text = f"""
title = "A shorter queue"
duration = "3s"
[hosts.a]
interfaces = {{ e = "10.0.0.1/24" }}
[hosts.b]
interfaces = {{ e = "10.0.0.2/24" }}
[[links]]
name = "l"
ends = ["a:e", "b:e"]
rate = "5Mbps"
delay = "50ms"
qdisc = "{discipline}"
[[flows]]
client = "a"
server = "b"
tcp = {{ initial_window_segments = 200 }}
[[flows]]
client = "a"
server = "b"
port = 9
start = "2.5s"
tcp = {{ initial_window_segments = 200 }}
[[events]]
at = "2s"
action = "set"
link = "l"
queue = 4
"""
    simulation = build(loads(text))
    pipe = simulation.topology.links["l"].forward
    simulation.env.run(2 * SECOND + SECOND // 2)
    longest = 0
    for step in range(500):
        simulation.env.run(2 * SECOND + SECOND // 2 + (step + 1) * MILLISECOND)
        longest = max(longest, pipe.queue_packets(simulation.env.now))
    assert longest == 4


def test_the_packet_in_service_goes_on_at_the_new_rate_if_the_event_says_so() -> None:
    """A dip to 1 kbit/s for 10 ms: the packet that is caught takes 12 s, or 10 ms more."""
    text = """
title = "A dip"
duration = "20s"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[[links]]
name = "l"
ends = ["a:e", "b:e"]
rate = "10Mbps"
delay = "10ms"
[[flows]]
client = "a"
server = "b"
[[events]]
at = "5s"
action = "set"
link = "l"
direction = "forward"
rate = "1000bps"
[[events]]
at = "5.01s"
action = "set"
link = "l"
direction = "forward"
rate = "10Mbps"
"""
    gaps = []
    for change in ("old-rate", "new-rate"):
        simulation = build(loads(text, overrides=[f"events.1.in_service={change}"]))
        pipe = simulation.topology.links["l"].forward
        simulation.env.run(5 * SECOND - MILLISECOND)
        before, now = pipe.packets, simulation.env.now
        while pipe.packets <= before + 20:
            now += MILLISECOND // 10
            simulation.env.run(now)
        gaps.append(now - (5 * SECOND - MILLISECOND))
    assert 12 * SECOND < gaps[0] < 12 * SECOND + 100 * MILLISECOND
    # 21 packets of 1.2 ms, and the 10 ms of the dip.
    assert 21 * 1_200_000 < gaps[1] < 21 * 1_200_000 + 12 * MILLISECOND


def test_in_service_belongs_to_rate() -> None:
    text = events('at = "1s"\naction = "set"\nlink = "one"\nqueue = 5\nin_service = "new-rate"')
    with pytest.raises(ScenarioError, match="in_service belongs to rate"):
        run(flow=LONG, more=text)


# --- Interfaces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["a:eth1", "b:eth1"])
@pytest.mark.parametrize("addresses", ["keep", "remove"])
def test_an_interface_goes_down_and_the_other_subflow_takes_over(end: str, addresses: str) -> None:
    down = at("1s", "interface-down", interface=end, addresses=addresses)
    result = run(flow=LONG, more=events(down), **TWO_PATHS)
    assert result.delivered() == 5_000_000
    sent = [s for s in result.segments("a:eth1", True) if s.length]
    assert sent
    second = result.flow.client.subflows[1]
    if addresses == "keep":
        # Nobody tells the connection: time-outs do, and the data goes to the other subflow.
        assert second.sender.timeouts_in_a_row > 0
        assert second.extension.reinjected_bytes == 0
        assert result.flow.client.subflows[0].extension.reinjected_bytes > 0
    else:
        owner, other = ("a", "b") if end == "a:eth1" else ("b", "a")
        told = [
            option
            for s in result.segments(f"{owner}:eth0", True)
            for option in s.options or ()
            if isinstance(option, RemoveAddr)
        ]
        assert told
        data = [s.at for s in result.seen if s.end == "a:eth1" and s.outgoing and s.packet.size > 500]
        # The host that still has its interface finds out that the path is dead before it closes.
        assert data[-1] <= (1.1 if owner == "a" else 4) * SECOND
        assert second.error
        assert f"10.0.2.{1 if owner == 'a' else 2}" not in result.simulation.hosts[owner].stack.addresses
        assert f"10.0.2.{2 if owner == 'a' else 1}" in result.simulation.hosts[other].stack.addresses


def test_an_interface_comes_up_again() -> None:
    more = events(
        at("1s", "interface-down", interface="a:eth1"),
        at("2s", "interface-up", interface="a:eth1"),
    )
    result = run(flow='bytes = "8MB"', more=more, **TWO_PATHS)
    times = [seen.at for seen in result.seen if seen.end == "b:eth1" and not seen.outgoing]
    assert not [time for time in times if 1.03 * SECOND < time < 2 * SECOND]
    assert [time for time in times if time > 2 * SECOND]
    assert result.delivered() == 8_000_000
    # What it would have sent meanwhile has no route; what was in flight has met an interface that is down.
    assert set(result.simulation.hosts["a"].drops) == {"no-route", "interface-down"}


def test_removed_addresses_come_back_with_the_interface() -> None:
    more = events(
        at("1s", "interface-down", interface="a:eth1", addresses="remove"),
        at("2s", "interface-up", interface="a:eth1"),
    )
    result = run(flow='bytes = "8MB"', more=more, **TWO_PATHS)
    assert "10.0.2.1" in result.simulation.hosts["a"].stack.addresses
    assert result.delivered() == 8_000_000


def test_what_arrives_at_an_interface_that_is_down_is_dropped() -> None:
    link = 'down_drops_queue = false\nname = "one"'
    more = events(at("200ms", "interface-down", interface="b:eth0"))
    scenario = text(flow=LONG, duration=3 * SECOND, more=more).replace('name = "one"', link)
    simulation = build(loads(scenario))
    simulation.env.run(3 * SECOND)
    assert simulation.hosts["b"].drops["interface-down"] > 0


def test_a_link_that_is_down_stays_so_when_an_interface_comes_up() -> None:
    more = events(
        at("1s", "down", link="two"),
        at("1s", "interface-down", interface="a:eth1"),
        at("2s", "interface-up", interface="a:eth1"),
        at("3s", "interface-down", interface="b:eth1"),
        at("4s", "up", link="two"),
        at("5s", "interface-up", interface="b:eth1"),
    )
    simulation = build(loads(text(more=more)))
    link = simulation.topology.links["two"]
    ups = []
    for second in range(1, 7):
        simulation.env.run(second * SECOND - 500 * MILLISECOND)
        ups.append((link.forward.up, link.backward.up))
    assert ups == [(True, True), *[(False, False)] * 4, (True, True)]


# --- Routes ----------------------------------------------------------------------------------------

MULTIHOMED = """
title = "Two ways out"
duration = "20s"
[hosts.a]
interfaces = { eth0 = "10.0.1.1/24", eth1 = "10.0.2.1/24" }
tables.main = ["default via 10.0.1.254", "default via 10.0.2.254 metric 10"]
tables.wifi = ["default via 10.0.2.254"]
rules = ["from 10.0.2.1 lookup wifi"]
[hosts.b]
interfaces = { eth0 = "10.0.3.1/24" }
default_route = "10.0.3.254"
[routers.r]
interfaces = { a = "10.0.1.254/24", b = "10.0.2.254/24", c = "10.0.3.254/24" }
[[links]]
name = "one"
ends = ["a:eth0", "r:a"]
[[links]]
name = "two"
ends = ["a:eth1", "r:b"]
[[links]]
ends = ["r:c", "b:eth0"]
[[flows]]
client = "a"
server = "b"
bytes = "1kB"
"""


def ways(more: str, *instants: float) -> list[dict[str, str]]:
    """Return by which interfaces the first host's packets leave at some instants, by source."""
    simulation = build(loads(MULTIHOMED + more))
    node = simulation.topology.nodes["a"]
    assert isinstance(node, IpNode)
    found = []
    for instant in instants:
        simulation.env.run(round(instant * SECOND))
        routes = {
            source: node.route_for(FourTuple(source, 1, "10.0.3.1", 80)).route
            for source in ("10.0.1.1", "10.0.2.1")
        }
        found.append({source: route.interface.name if route else "" for source, route in routes.items()})
    return found


def test_routes_vanish_from_all_tables_and_come_back() -> None:
    more = events(
        at("1s", "interface-down", interface="a:eth0"),
        at("2s", "interface-up", interface="a:eth0"),
        at("3s", "interface-down", interface="a:eth1"),
        at("4s", "interface-up", interface="a:eth1"),
    )
    both = {"10.0.1.1": "eth0", "10.0.2.1": "eth1"}
    assert ways(more, 0.5, 1.5, 2.5, 3.5, 4.5) == [
        both,
        {"10.0.1.1": "eth1", "10.0.2.1": "eth1"},
        both,
        {"10.0.1.1": "eth0", "10.0.2.1": "eth0"},
        both,
    ]


def test_routes_go_with_the_last_address_and_come_with_one_of_the_network() -> None:
    more = events(
        at("1s", "add-address", interface="a:eth0", address="10.0.1.9/24"),
        at("2s", "remove-address", interface="a:eth0", address="10.0.1.1"),
        at("3s", "remove-address", interface="a:eth0", address="10.0.1.9"),
        at("4s", "add-address", interface="a:eth0", address="10.0.7.1/24"),
        at("5s", "add-address", interface="a:eth0", address="10.0.1.1/24"),
    )
    found = [way["10.0.1.1"] for way in ways(more, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5)]
    assert found == ["eth0", "eth0", "eth0", "eth1", "eth1", "eth0"]


def test_routes_are_added_and_deleted() -> None:
    more = events(
        at("1s", "add-route", node="a", route="10.0.3.0/24 via 10.0.2.254"),
        at("2s", "delete-route", node="a", route="10.0.3.0/24 via 10.0.2.254"),
        at("3s", "add-route", node="a", route="10.0.3.1 via 10.0.1.254", table="wifi"),
        at("4s", "delete-route", node="a", route="default via 10.0.1.254 dev eth0"),
    )
    assert ways(more, 0.5, 1.5, 2.5, 3.5, 4.5) == [
        {"10.0.1.1": "eth0", "10.0.2.1": "eth1"},
        {"10.0.1.1": "eth1", "10.0.2.1": "eth1"},
        {"10.0.1.1": "eth0", "10.0.2.1": "eth1"},
        {"10.0.1.1": "eth0", "10.0.2.1": "eth0"},
        {"10.0.1.1": "eth1", "10.0.2.1": "eth0"},
    ]


def test_a_route_is_deleted_as_ip_route_does() -> None:
    """What is said of the route has to be so; what is not said may be anything; one route goes, the best."""
    both = [
        at("0s", "add-route", node="a", route="10.0.3.0/24 via 10.0.1.254"),
        at("0s", "add-route", node="a", route="10.0.3.0/24 via 10.0.1.253 metric 5"),
    ]

    def left(*routes: str) -> list[str]:
        deleted = [at("1s", "delete-route", node="a", route=route) for route in routes]
        simulation = build(loads(MULTIHOMED + events(*both, *deleted)))
        simulation.env.run(2 * SECOND)
        node = simulation.topology.nodes["a"]
        assert isinstance(node, IpNode)
        return [route.gateway for route in node.routes.routes() if route.prefix == "10.0.3.0/24"]

    assert left() == ["10.0.1.254", "10.0.1.253"]
    assert left("10.0.3.0/24") == left("10.0.3.0/24 dev eth0") == ["10.0.1.253"]
    assert left("10.0.3.0/24", "10.0.3.0/24") == []
    assert left("10.0.3.0/24 via 10.0.1.253") == left("10.0.3.0/24 metric 5") == ["10.0.1.254"]
    assert left("10.0.3.0/24 via 10.0.1.252") == left("10.0.3.0/24 dev eth1") == left()


def test_a_next_hop_of_several_goes_and_comes_back() -> None:
    both = '"default nexthop via 10.0.1.254 nexthop via 10.0.2.254"'
    scenario = MULTIHOMED.replace('"default via 10.0.1.254", "default via 10.0.2.254 metric 10"', both)
    more = events(
        at("1s", "interface-down", interface="a:eth0"), at("2s", "interface-up", interface="a:eth0")
    )
    simulation = build(loads(scenario + more))
    node = ip_node(simulation.topology, "a")

    def hops() -> list[str]:
        (route,) = [route for route in node.routes.routes() if route.prefix == "0.0.0.0/0"]
        return [one.interface.name for one in route.group or (route,)]

    seen = []
    for instant in (0.5, 1.5, 2.5):
        simulation.env.run(round(instant * SECOND))
        seen.append(hops())
    assert seen == [["eth0", "eth1"], ["eth1"], ["eth0", "eth1"]]


# --- Addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoded", [False, True])
def test_mobility(encoded: bool) -> None:
    """The second address goes and comes back: MPTCP closes its subflow, and joins again."""
    more = events(
        at("1s", "remove-address", interface="a:eth1", address="10.0.2.1"),
        at("2s", "add-address", interface="a:eth1", address="10.0.2.1/24"),
    )
    ends = {"a": TWO_PATHS["a"].replace("add_addr", 'endpoints = "10.0.2.1 subflow fullmesh", add_addr')}
    result = run(flow='bytes = "8MB"', more=more, roundtrip=encoded, **{**TWO_PATHS, **ends})
    client = result.flow.client
    joins = [
        s.at
        for s in result.seen
        if s.end == "a:eth1" and s.outgoing and s.packet.flags & SYN  # type: ignore[attr-defined]
    ]
    assert len(joins) == 2
    assert joins[0] < SECOND
    assert 2 * SECOND <= joins[1] < 2.1 * SECOND
    before, after = [tcp for tcp in client.subflows if tcp.flow.dst == "10.0.2.2"]
    assert before.established_at < SECOND < 2 * SECOND < after.established_at
    withdrawn = [
        s.at
        for s in result.seen
        if s.end == "a:eth0" and s.outgoing and any(isinstance(o, RemoveAddr) for o in s.packet.options or ())  # type: ignore[attr-defined]
    ]
    assert SECOND <= withdrawn[0] < 1.1 * SECOND
    assert after.sender.sent_bytes > 100_000
    assert result.delivered() == 8_000_000


def test_an_address_that_comes_later() -> None:
    """The path manager's endpoint is there before its address."""
    ends = {
        "a": TWO_PATHS["a"],
        "b": TWO_PATHS["b"].replace("10.0.2.2", "10.0.2.3"),
        "more": events(at("1s", "add-address", interface="b:eth1", address="10.0.2.3/24")),
    }
    result = run(flow='bytes = "8MB"', **ends)
    second = result.flow.client.subflows[1]
    assert second.flow.dst == "10.0.2.3"
    assert second.established_at > SECOND
    assert result.delivered() == 8_000_000


# --- Applications ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", ["", 'reader = { read_size = "16KiB" }', 'reader = { read_size = "64KiB", every = "20ms" }']
)
@pytest.mark.parametrize("protocol", ["tcp", "mptcp"])
def test_a_reader_is_paused(settings: str, protocol: str) -> None:
    """The window closes while nothing is read, and opens when that goes on."""
    more = events(
        at("1s", "pause", flow="flow0", side="reader"), at("3s", "resume", flow="flow0", side="reader")
    )
    line = MPTCP_SMALL if protocol == "mptcp" else MPTCP_SMALL.partition("\n")[2]
    simulation = build(loads(text(flow=f'bytes = "3MB"\n{settings}', more=more, a=line, b=line)))
    result = Run(simulation)
    consumed = []
    for instant in (0.9, 1.5, 2.9, 20):
        simulation.env.run(round(instant * SECOND))
        consumed.append(result.flow.receiver.consumed)
    assert 0 < consumed[0] < consumed[1] == consumed[2] < consumed[3] == 3_000_000
    windows = [(s.at, s.packet.window) for s in result.seen if s.end == "b:eth0" and s.outgoing]  # type: ignore[attr-defined]
    assert any(window == 0 for at, window in windows if SECOND < at < 3 * SECOND)
    assert (
        min(at for at, window in windows if window > 0 and at > 2 * SECOND) - 3 * SECOND <= 21 * MILLISECOND
    )


def test_a_writer_is_paused() -> None:
    more = events(
        at("500ms", "pause", flow="flow0", side="writer"), at("3s", "resume", flow="flow0", side="writer")
    )
    for flow in ('bytes = "3MB"', 'duration = "1s"', 'app = "constant-rate"\nrate = "2Mbps"\nbytes = "1MB"'):
        simulation = build(loads(text(flow=flow, more=more, a='tcp = { send_buffer = "64KiB" }')))
        result = Run(simulation)
        written = []
        for instant in (0.6, 2.9, 20):
            simulation.env.run(round(instant * SECOND))
            written.append(result.flow.sender.written)
        assert 0 < written[0] == written[1]
        # A flow with a duration is over meanwhile, and closes when it goes on.
        assert result.flow.completed_at > 3 * SECOND
        assert (written[2] > written[1]) == ("duration" not in flow)
        assert result.delivered() == written[2]


def test_both_sides_of_requests() -> None:
    """The client reads the responses, which are the data; the server writes them."""
    flow = 'app = "request-response"\nresponse = "100kB"'
    for side in ("reader", "writer"):
        more = events(at("1s", "pause", flow="flow0", side=side), at("4s", "resume", flow="flow0", side=side))
        result = run(flow=flow, more=more, duration=6 * SECOND)
        free = run(flow=flow, duration=6 * SECOND)
        assert 2.5 * SECOND < max(result.flow.latencies) < 3.5 * SECOND
        assert 0.4 < len(result.flow.latencies) / len(free.flow.latencies) < 0.6


def test_a_flow_is_paused_before_it_begins() -> None:
    more = events(at("0s", "pause", flow="flow0", side="reader"))
    result = run(flow='bytes = "1MB"\nstart = "1s"', more=more, b=MPTCP_SMALL, duration=10 * SECOND)
    assert result.flow.receiver.consumed == 0
    assert 0 < result.delivered() <= 65536


# --- In a scenario ---------------------------------------------------------------------------------


def test_events_are_in_the_log_and_survive_being_written(tmp_path: Path) -> None:
    more = events(
        at("1s", "interface-down", interface="a:eth1"),
        at("1s", "pause", flow="flow0", side="reader"),
        at("2s", "add-route", node="a", route="10.9.0.0/16 via 10.0.1.9"),
        at("3s", "add-address", interface="a:eth0", address="10.0.1.77/24"),
    )
    scenario = loads(text(more=more))
    assert loads(dumps(scenario)) == scenario
    simulation = build(scenario)
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        summary = summarise(simulation, sampler_of(simulation, recorder))
    lines = [line for line in event_lines(simulation, summary) if "host" not in line]
    assert lines == [
        {"time_s": 1.0, "event": "interface-down", "interface": "a:eth1"},
        {"time_s": 1.0, "event": "pause", "flow": "flow0", "side": "reader"},
        {
            "time_s": 2.0,
            "event": "add-route",
            "node": "a",
            "route": "10.9.0.0/16 via 10.0.1.9",
            "table": "main",
        },
        {"time_s": 3.0, "event": "add-address", "interface": "a:eth0", "address": "10.0.1.77/24"},
    ]


@pytest.mark.parametrize(
    ("lines", "key", "told"),
    [
        ([at("1s", "donw", link="one")], "events.0.action", "did you mean 'down'?"),
        (['at = "1s"\nlink = "one"'], "events.0", "the key 'action' is missing: add it"),
        ([at("1s", "pause", flow="flow0", side="raeder")], "events.0.side", "'reader' or 'writer'"),
        ([at("1s", "pause", flow="flow1", side="reader")], "events.0.flow", "did you mean 'flow0'?"),
        (
            [at("1s", "pause", link="one", flow="flow0", side="reader")],
            "events.0.link",
            "belongs to action 'down'",
        ),
        ([at("1s", "interface-down", interface="eth0")], "events.0.interface", 'write "NODE:INTERFACE"'),
        ([at("1s", "interface-down", interface="a:eth9")], "events.0.interface", "has no interface 'eth9'"),
        ([at("1s", "interface-down", interface="c:eth0")], "events.0.interface", "'c': no such node"),
        (
            [at("1s", "interface-up", interface="a:eth0", addresses="keep")],
            "events.0",
            'belongs to "interface-down"',
        ),
        (
            [at("1s", "add-address", interface="a:eth0", address="10.0.1.9")],
            "events.0.address",
            "prefix length",
        ),
        (
            [at("1s", "add-address", interface="a:eth0", address="10.0.1.2/24")],
            "events.0.address",
            "b:eth0 then",
        ),
        (
            [at("1s", "remove-address", interface="a:eth0", address="10.0.1.9")],
            "events.0.address",
            "10.0.1.1",
        ),
        (
            [at("1s", "remove-address", interface="a:eth0", address="10.0.1.1")] * 2,
            "events.1.address",
            "does not have 10.0.1.1 then",
        ),
        (
            [
                at("1s", "interface-down", interface="a:eth0", addresses="remove"),
                at("2s", "add-address", interface="b:eth0", address="10.0.1.1/24"),
                at("3s", "interface-up", interface="a:eth0"),
            ],
            "events.2.interface",
            "belongs to b:eth0 then",
        ),
        (
            [at("1s", "add-route", node="a", route="default via 10.9.0.1")],
            "events.0.route",
            "in no network of 'a'",
        ),
        (
            [at("1s", "add-route", node="a", route="default dev eht0")],
            "events.0.route",
            "did you mean 'eth0'?",
        ),
        ([at("1s", "add-route", node="a", route="default")], "events.0.route", "it leads nowhere"),
        ([at("1s", "add-route", node="c", route="default dev eth0")], "events.0.node", "no host or router"),
        (
            [at("1s", "add-route", node="a", route="default dev eth0", table="7")],
            "events.0.table",
            "no table '7'",
        ),
        ([at("1s", "set", link="one", queue="64KiB")], "events.0.queue", "in packets, such as 50"),
    ],
)
def test_mistakes(lines: list[str], key: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(text(more=events(*lines)))
    assert f" {key}: " in str(caught.value)
    assert told in str(caught.value)


ALIASES = """
title = "Commands that change addresses at 2 s"
duration = "4s"
[hosts.A]
interfaces = { em0 = ["10.0.0.1/24", "10.0.5.1/24"] }
[[hosts.A.freebsd.later]]
at = "2s"
commands = """


@pytest.mark.parametrize(
    ("command", "event"),
    [
        ("10.0.0.9/32 alias", at("1s", "remove-address", interface="A:em0", address="10.0.0.9")),
        ("10.0.0.9/32 alias", at("3s", "add-address", interface="A:em0", address="10.0.0.9/24")),
        ("10.0.5.1 -alias", at("3s", "add-route", node="A", route="10.9.0.0/16 via 10.0.5.2")),
    ],
)
def test_events_and_commands_may_be_about_the_same_address(command: str, event: str) -> None:
    """What the commands have done already, or not yet, the event leaves as it is, as ip does."""
    text = f"""{ALIASES}"ifconfig em0 inet {command}"
[hosts.B]
interfaces = {{ em0 = "10.0.0.2/24" }}
[[links]]
ends = ["A:em0", "B:em0"]
[[flows]]
client = "A"
server = "B"
bytes = "1kB"
"""
    simulation = build(loads(text + events(event)))
    simulation.env.run(4 * SECOND)
    found = [entry.address for entry in simulation.interface("A:em0").addresses]
    assert found == (["10.0.0.1"] if "-alias" in command else ["10.0.0.1", "10.0.5.1", "10.0.0.9"])
