"""Tables and rules in Linux's words: the reader, the order of rules, and what subflows do by them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.segment import FourTuple
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.rules import RuleList
from mptcpsim.net.walk import probe, walk
from mptcpsim.scenario.build import build
from mptcpsim.scenario.check import flow_addresses
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.ip_words import NextHop, read_route, read_rule
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.scenario.policy import rule_list
from mptcpsim.scenario.simulation import Simulation
from tests.profiles import examples

#: Two interfaces of A to two interfaces of the router, B behind it: the seed's "multi-network".
MULTI_NETWORK = """
title = "Multi-network"
duration = "4s"
[hosts.A]
interfaces = {{ em0 = "192.168.5.2/24", em1 = "192.168.0.2/24" }}
mptcp = {{ profile = "caia-v0.4", path_manager = {{ name = "mp_addresses", addresses = "192.168.0.2" }} }}
{a}
[hosts.B]
interfaces = {{ em0 = "10.0.1.2/24" }}
default_route = "10.0.1.1"
mptcp = "caia-v0.4"
[routers.R]
interfaces = {{ em0 = "192.168.5.1/24", em1 = "192.168.0.1/24", em2 = "10.0.1.1/24" }}
[[links]]
ends = ["A:em0", "R:em0"]
rate = "10Mbps"
delay = "5ms"
[[links]]
ends = ["A:em1", "R:em1"]
rate = "10Mbps"
delay = "5ms"
[[links]]
ends = ["R:em2", "B:em0"]
rate = "100Mbps"
delay = "1ms"
[[flows]]
client = "A"
server = "B"
"""
DEFAULT = 'default_route = "192.168.5.1"\n'
RULES = """
rules = ["from 192.168.0.2 lookup 100", "from 192.168.5.2 lookup 200"]
[hosts.A.tables]
100 = ["default via 192.168.0.1 dev em1", "192.168.0.0/24 dev em1"]
200 = ["default via 192.168.5.1 dev em0", "192.168.5.0/24 dev em0"]
"""


def network(a: str) -> Simulation:
    return build(loads(MULTI_NETWORK.format(a=a)))


def host(simulation: Simulation, name: str = "A") -> IpNode:
    node = simulation.topology.nodes[name]
    assert isinstance(node, IpNode)
    return node


def sources(simulation: Simulation) -> dict[str, set[str]]:
    """Run, and return the source addresses of what left A by each interface."""
    found: dict[str, set[str]] = {"em0": set(), "em1": set()}

    def tap(name: str):  # type: ignore[no-untyped-def]
        return lambda packet, now, outgoing: found[name].add(packet.flow.src) if outgoing else None

    for name in found:
        host(simulation).interfaces[name].tap = tap(name)
    simulation.env.run(4_000_000_000)
    return found


# --- What subflows do ------------------------------------------------------------------------------


def test_without_rules_the_destination_alone_decides() -> None:
    simulation = network(DEFAULT)
    assert sources(simulation) == {"em0": {"192.168.5.2", "192.168.0.2"}, "em1": set()}
    client = simulation.flows[0].client
    assert isinstance(client, MptcpConnection)
    assert {subflow.tcp.flow.src for subflow in client.open} == {"192.168.5.2", "192.168.0.2"}


def test_with_rules_each_subflow_leaves_by_its_own_interface() -> None:
    simulation = network(DEFAULT + RULES)
    assert sources(simulation) == {"em0": {"192.168.5.2"}, "em1": {"192.168.0.2"}}
    for interface in host(simulation).interfaces.values():
        assert interface.pipe is not None
        assert interface.pipe.bytes > 3_000_000, "4 s at 10 Mbit/s, less what starting takes"


def test_a_refused_source_never_comes_up() -> None:
    simulation = network(DEFAULT + 'rules = ["from 192.168.0.2 blackhole"]\n')
    assert sources(simulation) == {"em0": {"192.168.5.2"}, "em1": set()}
    assert host(simulation).drops["blackhole"] > 0


def test_the_walk_names_rules_and_tables() -> None:
    simulation = network(DEFAULT + RULES)
    hops = walk(host(simulation), probe("192.168.0.2", "10.0.1.2"))
    assert [hop.node.name for hop in hops] == ["A", "R", "B"]
    assert hops[0].trace.steps == (
        "rule 32765: from 192.168.0.2 lookup 100",
        "table 100: default via 192.168.0.1 dev em1",
    )
    assert hops[1].received is not None
    assert hops[1].received.name == "em1"
    (first, *_) = walk(host(simulation), probe("10.9.9.9", "10.0.1.2"))
    assert first.trace.steps == (
        "rule 32766: from all lookup main",
        "table main: default via 192.168.5.1 dev em0",
        "10.9.9.9 is no address of A",
    )


def test_the_source_of_a_packet_without_one_is_that_of_the_route() -> None:
    """Linux looks up with no source first: rules with from do not match, and src of the route counts."""
    node = host(network(DEFAULT + RULES))
    assert node.source_for("10.0.1.2") == "192.168.5.2"
    node = host(network('default_route = "192.168.0.1"\n' + RULES))
    assert node.source_for("10.0.1.2") == "192.168.0.2"
    node = host(network('tables.main = ["default via 192.168.5.1 dev em0 src 192.168.0.2"]\n'))
    assert node.source_for("10.0.1.2") == "192.168.0.2"
    node = host(
        network(DEFAULT + 'rules = ["to 10.0.1.0/24 lookup wifi"]\ntables.wifi = ["default via 192.168.0.1"]')
    )
    assert node.source_for("10.0.1.2") == "192.168.0.2"


@pytest.mark.parametrize(
    ("a", "source"),
    [
        (DEFAULT, "192.168.5.2"),
        (DEFAULT + RULES, "192.168.5.2"),
        (
            DEFAULT + 'rules = ["to 10.0.1.0/24 lookup wifi"]\ntables.wifi = ["default via 192.168.0.1"]',
            "192.168.0.2",
        ),
        ('tables.main = ["default via 192.168.5.1 src 192.168.0.2"]', "192.168.0.2"),
        ('rules = ["from all blackhole"]', "192.168.5.2"),
    ],
)
def test_a_flow_starts_from_the_address_that_routing_has_for_it(a: str, source: str) -> None:
    scenario = loads(MULTI_NETWORK.format(a=a))
    assert flow_addresses(scenario, scenario.flows[0]) == (source, "10.0.1.2")


def test_a_routing_table_as_the_seed_prints_it_can_be_written_and_runs() -> None:
    """Connected networks on the wrong interfaces; the default route is by em0, where its gateway answers."""
    verbatim = """
connected_routes = false
routes = [
    { to = "default", via = "192.168.5.1", dev = "em0" },
    { to = "192.168.0.0/24", dev = "em0" },
    { to = "192.168.5.0/24", dev = "em1" },
]
"""
    simulation = network(verbatim)
    assert [str(route) for route in host(simulation).routes.routes()] == [
        "192.168.0.0/24 dev em0",
        "192.168.5.0/24 dev em1",
        "default via 192.168.5.1 dev em0",
    ]
    assert sources(simulation) == {"em0": {"192.168.5.2", "192.168.0.2"}, "em1": set()}


def test_rules_hold_on_routers_by_the_interface_that_packets_came_in_by() -> None:
    text = MULTI_NETWORK.format(a=DEFAULT).replace(
        "[routers.R]\n", '[routers.R]\nrules = ["from all iif em1 unreachable", "iif lo prohibit"]\n'
    )
    simulation = build(loads(text))
    router = host(simulation, "R")
    for source, received, reason in (
        ("192.168.0.2", "em1", "unreachable"),
        ("192.168.0.2", "em0", ""),
        ("192.168.0.1", None, "prohibit"),
    ):
        came = None if received is None else router.interfaces[received]
        assert router.trace(probe(source, "10.0.1.2"), came).reason == reason


def test_what_a_file_says_comes_back_from_it() -> None:
    scenario = loads(MULTI_NETWORK.format(a=DEFAULT + RULES))
    assert loads(dumps(scenario)) == scenario
    verbatim = 'connected_routes = false\nroutes = [{to = "default", via = "192.168.5.1", dev = "em0"}]\n'
    scenario = loads(MULTI_NETWORK.format(a=verbatim))
    assert loads(dumps(scenario)) == scenario


# --- The order of rules ----------------------------------------------------------------------------


def priorities(rules: RuleList) -> list[int]:
    return [rule.priority for rule in rules.rules]


def test_rules_without_a_priority_count_down() -> None:
    rules = rule_list(["from 10.0.0.1 lookup main", "from 10.0.0.2 lookup main"])
    assert [str(rule) for rule in rules.rules] == [
        "rule 32764: from 10.0.0.2 lookup main",
        "rule 32765: from 10.0.0.1 lookup main",
        "rule 32766: from all lookup main",
        "rule 32767: from all lookup default",
    ]


def test_a_rule_without_a_priority_goes_before_the_first_one() -> None:
    """As fib_default_rule_pref: one less than the first rule behind that of the table local."""
    rules = rule_list(["from 10.0.0.1 lookup main priority 500", "from 10.0.0.2 lookup main"])
    assert priorities(rules) == [499, 500, 32766, 32767]


def test_equal_priorities_keep_their_order() -> None:
    rules = rule_list(["to 10.0.0.1 blackhole pref 7", "7: to 10.0.0.2 blackhole"])
    assert [rule.text for rule in rules.rules[:2]] == [
        "from all to 10.0.0.1 blackhole",
        "from all to 10.0.0.2 blackhole",
    ]


def test_a_table_without_a_route_leaves_it_to_the_next_rule() -> None:
    simulation = network(
        DEFAULT
        + 'rules = ["from all lookup main priority 10 suppress_prefixlength 0", "from all lookup 7 pref 20"]\n'
        'tables.7 = ["10.0.1.0/24 via 192.168.0.1"]'
    )
    steps = host(simulation).trace(probe("192.168.5.2", "10.0.1.2")).steps
    assert steps == (
        "rule 10: from all lookup main suppress_prefixlength 0",
        "table main: default via 192.168.5.1 dev em0, which the rule passes over",
        "rule 20: from all lookup 7",
        "table 7: 10.0.1.0/24 via 192.168.0.1 dev em1",
    )
    steps = host(simulation).trace(probe("192.168.5.2", "203.0.113.1")).steps
    assert steps[-2:] == ("rule 32766: from all lookup main", "table main: default via 192.168.5.1 dev em0")


@pytest.mark.parametrize(
    ("rule", "matching", "others"),
    [
        ("from 10.1.0.0/16 blackhole", [("10.1.2.3", "9.9.9.9", 1, 2, "lo")], [("10.2.2.3", "9.9.9.9", 1, 2, "lo")]),
        ("not from 10.1.0.0/16 blackhole", [("10.2.2.3", "9.9.9.9", 1, 2, "lo")], [("10.1.2.3", "9.9.9.9", 1, 2, "lo")]),
        ("iif em0 blackhole", [("10.1.2.3", "9.9.9.9", 1, 2, "em0")], [("10.1.2.3", "9.9.9.9", 1, 2, "lo")]),
        (
            "ipproto tcp dport 80-89 blackhole",
            [("10.1.2.3", "9.9.9.9", 1, 80, "lo"), ("fd00::1", "fd00::2", 1, 89, "lo")],
            [("10.1.2.3", "9.9.9.9", 80, 90, "lo")],
        ),
        (
            "to fd00::/64 sport 5 blackhole",
            [("fd00:1::1", "fd00::2", 5, 2, "lo")],
            [("fd00:1::1", "fd00:1::2", 5, 2, "lo"), ("10.1.2.3", "9.9.9.9", 5, 2, "lo")],
        ),
    ],
)  # fmt: skip
def test_what_rules_match(
    rule: str, matching: list[tuple[object, ...]], others: list[tuple[object, ...]]
) -> None:
    found = rule_list([rule]).rules[0]
    for packets, expected in ((matching, True), (others, False)):
        for src, dst, sport, dport, received in packets:
            flow = FourTuple(str(src), int(str(sport)), str(dst), int(str(dport)))
            assert found.matches(flow, str(received)) is expected


# --- The reader ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "prefix", "hops", "metric", "source"),
    [
        ("default via 192.168.0.1 dev em1", "default", [NextHop("192.168.0.1", "em1")], 0, ""),
        ("192.168.0.0/24 dev em1 proto kernel scope link src 192.168.0.2", "192.168.0.0/24",
         [NextHop("", "em1")], 0, "192.168.0.2"),
        ("unicast 10.0.0.5 via 10.1.0.1 metric 20 onlink", "10.0.0.5/32", [NextHop("10.1.0.1", "")], 20, ""),
        ("default nexthop via 10.0.0.1 dev e0 weight 1 nexthop via 10.0.1.1", "default",
         [NextHop("10.0.0.1", "e0"), NextHop("10.0.1.1", "")], 0, ""),
        ("fd00::/64 via FD01:0::1", "fd00::/64", [NextHop("fd01::1", "")], 0, ""),
    ],
)  # fmt: skip
def test_routes_are_read(text: str, prefix: str, hops: list[NextHop], metric: int, source: str) -> None:
    assert read_route(text) == (prefix, tuple(hops), metric, source)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "leave it out"),
        ("default", 'add "via ADDRESS"'),
        ("default via", "followed by nothing"),
        ("default via em0", "'em0' behind via is not an address"),
        ("default vai 10.0.0.1", "did you mean 'via'?"),
        ("10.0.0.1/24 dev em0", "host bits set"),
        ("blackhole 10.0.0.0/8", "write it as a rule"),
        ("default via 10.0.0.1 table 5", "under whose name it stands"),
        ("default via 10.0.0.1 nexthop via 10.0.0.2", "write each next hop"),
        ("default nexthop weight 1", "nexthop leads nowhere"),
        ("default nexthop via 10.0.0.1 weight 3", "equal shares"),
        ("default via 10.0.0.1 metric -1", "whole number"),
        ("10.0.0.0/8 via fd00::1", "IPv4 and IPv6 in one route"),
        ("default dev em0 " * 400, "more than 1000 words"),
    ],
)
def test_a_wrong_route_is_shown_with_its_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy.replace("?", r"\?")) as error:
        read_route(text)
    assert text[:100] in str(error.value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "leave it out"),
        ("from 192.168.0.2", "Write one of: lookup TABLE"),
        ("from 192.168.0.2 lookup 100 blackhole", "Write one of: lookup TABLE"),
        ("form 192.168.0.2 lookup 100", "did you mean 'from'?"),
        ("from 192.168.0.300 lookup 100", "no prefix"),
        ("from all fwmark 1 lookup 100", "packets have no marks here"),
        ("from all lookup local", "asked first in any case"),
        ("from all lookup a/b", "no name of a table"),
        ("from all iif", "followed by nothing"),
        ("from all lookup main priority x", "whole number from 0 to 4294967295"),
        ("99999999999: from all lookup main", "is not understood"),
        ("4294967296: from all lookup main", "no priority"),
        ("from all ipproto udp lookup main", "everything here is TCP"),
        ("from all dport 90-80 lookup main", "the lower one first"),
        ("from all dport http lookup main", "write 80, or 8000-8080"),
        ("from 10.0.0.1 to fd00::1 lookup main", "IPv4 and IPv6 in one rule"),
        ("not from all lookup main", "is nothing"),
        ("blackhole suppress_prefixlength 0", "needs a table"),
    ],
)
def test_a_wrong_rule_is_shown_with_its_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy.replace("?", r"\?")) as error:
        read_rule(text)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("a", "key", "remedy"),
    [
        ('rules = ["from 192.168.0.2 lookup 100"]', "hosts.A.rules.0", "has no table 100; known are main, default"),
        ('rules = ["form all lookup main"]', "hosts.A.rules.0", "did you mean 'from'?"),
        ('rules = ["iif em9 blackhole"]', "hosts.A.rules.0", "has no interface 'em9'"),
        ('tables.100 = ["default via 192.168.0.1 dev em3"]', "hosts.A.tables.100.0", "has no interface 'em3'"),
        ('tables.100 = ["default via 192.168.0.1 src 10.9.9.9"]', "hosts.A.tables.100.0", "no address of 'A'"),
        ('tables.100 = "default via 192.168.0.1"', "hosts.A.tables", "must be a list"),
        ('tables = {254 = ["default dev em0"], main = ["default dev em0"]}', "hosts.A.tables", "there twice"),
        ('tables = {local = ["default dev em0"]}', "hosts.A.tables", "leave it out"),
        ('tables = 7', "hosts.A.tables", "write a table of lists"),
        ('routes = [{to = "default", via = "192.168.5.1", dev = "em7"}]', "hosts.A.routes.0.dev", "has no interface"),
        ('routes = [{to = "default"}]', "hosts.A.routes.0", "leads nowhere"),
        ('routes = [{to = "default", via = ["192.168.5.1", "192.168.0.1"], dev = "em0"}]', "hosts.A.routes.0",
         "leave dev out"),
        ('routes = [{to = "10.0.0.0/8", via = ["192.168.5.1", "fd00::1"]}]', "hosts.A.routes.0",
         "of different IP versions"),
    ],
)  # fmt: skip
def test_wrong_policies_are_refused_with_their_key(a: str, key: str, remedy: str) -> None:
    with pytest.raises(ScenarioError) as error:
        loads(MULTI_NETWORK.format(a=DEFAULT + a))
    assert f"{key}: " in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    ("a", "reason"),
    [
        ('routes = [{to = "10.0.0.0/8", via = "192.168.5.99"}]', "no-gateway"),
        ('routes = [{to = "10.0.0.0/8", via = "192.168.5.99", dev = "em0"}]', "no-gateway"),
        ('routes = [{to = "10.0.0.0/8", via = "172.16.0.1"}]', "no-route"),
        ("", "no-route"),
        ("connected_routes = false", "no-route"),
    ],
)
def test_packets_may_get_lost(a: str, reason: str) -> None:
    """``lint`` tells of it; the run shows it."""
    simulation = network(a + "\n")
    assert sources(simulation) == {"em0": set(), "em1": set()}
    assert set(host(simulation).drops) == {reason}


WORDS = st.sampled_from(
    ["from", "to", "all", "lookup", "table", "main", "100", "not", "iif", "em0", "lo", "priority", "5:", "500",
     "blackhole", "10.0.0.0/8", "10.0.0.1", "fd00::/8", "via", "dev", "default", "nexthop", "src", "metric",
     "dport", "80", "1-2", "ipproto", "tcp", "suppress_prefixlength", "0", "-1", "weight", "\x00", "ä", "goto"]
)  # fmt: skip


@examples(300)
@given(st.one_of(st.lists(WORDS, max_size=12).map(" ".join), st.text(max_size=40)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_rule, read_route):
        with contextlib.suppress(ValueError):
            assert read(text) is not None
