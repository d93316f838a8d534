"""Interfaces, links, routers and switches."""

from __future__ import annotations

from functools import partial

import pytest

from mptcpsim.core.segment import (
    ACK,
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.net.forwarding import NOWHERE, RoutingDecision
from mptcpsim.net.link import BACKWARD, FORWARD, Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import DUMMY_ADDRESS, Router, RouterPort
from mptcpsim.net.switch import Switch
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER, SECOND


class End(Node):
    """Keeps what it gets."""

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.got: list[Packet] = []

    def receive(self, packet: Packet, interface: Interface) -> None:
        self.got.append(packet)


def segment(src: str, dst: str, size: int = 100, sport: int = 1) -> Segment:
    flow = FourTuple(src, sport, dst, 2)
    return Segment(flow, size, SequenceMap(), ACK, 7, 1, 100, size - 40, UNKNOWN, UNKNOWN, None, 0)


class Two:
    """a - r - b, and a stub network behind b."""

    A, B = "10.0.1.2", "10.0.2.2"

    def __init__(self, settings: PipeSettings | None = None, general: bool = False) -> None:
        self.loop = Loop()
        self.a, self.r, self.b = End(self.loop, "a"), Router(self.loop, "r"), End(self.loop, "b")
        settings = settings or PipeSettings(delay_ns=MS)
        self.ab = Link(
            self.loop,
            "l1",
            self.a.add_interface("eth0", [f"{self.A}/24", "2001:db8:1::2/64"]),
            self.r.add_interface("west", ["10.0.1.1/24", "2001:db8:1::1/64"]),
            settings,
            general=general,
        )
        self.rb = Link(
            self.loop,
            "l2",
            self.r.add_interface("east", ["10.0.2.1/24", "2001:db8:2::1/64"]),
            self.b.add_interface("eth0", [f"{self.B}/24", "2001:db8:2::2/64"]),
            settings,
            general=general,
        )
        for name, network in (("west", "1"), ("east", "2")):
            for prefix in (f"10.0.{network}.0/24", f"2001:db8:{network}::/64"):
                self.r.routes.add(prefix, self.r.interfaces[name])
        self.r.routes.add("172.16.0.0/12", self.r.interfaces["east"], self.B)

    def send(self, packet: Packet) -> None:
        self.a.interfaces["eth0"].send(packet)

    def run(self, until: int = NEVER) -> None:
        self.loop.run(until)


# --- interfaces and links --------------------------------------------------------------------------


def test_addresses_are_canonical_and_known_to_the_node() -> None:
    node = End(Loop(), "h")
    interface = node.add_interface("", ["10.0.0.1/24", "2001:DB8:0:0::1/64"])
    assert interface.name == "eth0"
    assert node.addresses == {"10.0.0.1": interface, "2001:db8::1": interface}
    assert interface.primary_address(ipv6=True) == "2001:db8::1"
    assert [entry.prefix for entry in interface.addresses] == ["10.0.0.0/24", "2001:db8::/64"]
    assert interface.on_link("10.0.0.200")
    assert not interface.on_link("10.0.1.1")
    assert not interface.on_link("2001:db8:1::1")
    interface.remove_address("10.0.0.1")
    assert list(node.addresses) == ["2001:db8::1"]
    assert interface.primary_address(ipv6=False) == ""


def test_wrong_addresses_and_names_are_refused() -> None:
    node = End(Loop(), "h")
    interface = node.add_interface("eth0", ["10.0.0.1/24"])
    with pytest.raises(ValueError, match="has the address"):
        node.add_interface("eth1", ["10.0.0.1/24"])
    with pytest.raises(ValueError, match="does not have the address"):
        interface.remove_address("10.0.0.2")
    with pytest.raises(ValueError, match="interface eth0 already"):
        node.add_interface("eth0")
    with pytest.raises(ValueError, match="appear"):
        interface.add_address("10.0.0.300/24")


def test_an_interface_without_a_link_drops() -> None:
    node = End(Loop(), "h")
    node.add_interface().send(segment("10.0.0.1", "10.0.0.2"))
    assert node.drops == {"no-link": 1}


def test_an_interface_has_one_link() -> None:
    loop = Loop()
    a, b, c = (End(loop, name).add_interface() for name in "abc")
    Link(loop, "l1", a, b, PipeSettings())
    with pytest.raises(ValueError, match="connected to"):
        Link(loop, "l2", c, a, PipeSettings())
    with pytest.raises(ValueError, match="itself"):
        Link(loop, "l3", c, c, PipeSettings())


def test_a_link_carries_both_ways_with_settings_of_their_own() -> None:
    loop = Loop()
    a, b = End(loop, "a"), End(loop, "b")
    times: list[int] = []
    link = Link(
        loop,
        "l",
        a.add_interface(),
        b.add_interface(),
        PipeSettings(delay_ns=5),
        PipeSettings(rate_bps=8 * SECOND),
        mtu=9000,
    )
    a.interfaces["eth0"].tap = b.interfaces["eth0"].tap = lambda packet, now, outgoing: (
        None if outgoing else times.append(now)
    )
    a.interfaces["eth0"].send(segment("10.0.0.1", "10.0.0.2", 1000))
    b.interfaces["eth0"].send(segment("10.0.0.2", "10.0.0.1", 1000))
    loop.run(NEVER)
    assert times == [5, 1000]
    assert (len(a.got), len(b.got)) == (1, 1)
    assert (link.forward.name, link.backward.name) == ("l:a>b", "l:b>a")
    assert a.interfaces["eth0"].mtu == b.interfaces["eth0"].mtu == 9000
    assert a.interfaces["eth0"].peer is b.interfaces["eth0"]


def test_changes_of_a_link_by_direction() -> None:
    two = Two()
    link = two.ab
    link.set_rate(1000, FORWARD)
    link.set_delay(7, BACKWARD)
    assert (link.forward.rate_bps, link.backward.rate_bps) == (1000, 0)
    assert (link.forward.delay_ns, link.backward.delay_ns) == (MS, 7)
    link.set_rate(5)
    assert (link.forward.rate_bps, link.backward.rate_bps) == (5, 5)
    link.set_up(False, BACKWARD)
    assert (link.forward.up, link.backward.up, link.up) == (True, False, False)
    link.set_up(True)
    assert link.up
    with pytest.raises(ValueError, match="direction"):
        link.set_rate(1, "sideways")
    with pytest.raises(ValueError, match="plr"):
        link.set_loss((0.1, 0.2))


def test_losses_of_a_link_by_direction() -> None:
    two = Two()
    two.ab.set_loss((1.0,), FORWARD)
    two.send(segment(two.A, two.B))
    two.ab.set_loss((), FORWARD)
    two.ab.set_periodic_loss(2, FORWARD, first=1)
    for _ in range(4):
        two.send(segment(two.A, two.B))
    two.run()
    assert two.ab.forward.drops == {"loss": 3}
    assert len(two.b.got) == 2


def test_a_tap_sees_both_directions_and_can_be_taken_off() -> None:
    two = Two()
    seen: list[tuple[str, int, bool]] = []
    interface = two.a.interfaces["eth0"]
    interface.tap = lambda packet, now, outgoing: seen.append((packet.flow.src, now, outgoing))
    two.send(segment(two.A, two.B))
    two.b.interfaces["eth0"].send(segment(two.B, two.A))
    two.run()
    assert seen == [(two.A, 0, True), (two.B, 2 * MS, False)]
    interface.tap = None
    two.send(segment(two.A, two.B))
    two.run()
    assert len(seen) == 2
    assert len(two.b.got) == 2
    assert interface.tap is None


def test_a_tap_on_a_router_sees_forwarded_packets_of_known_flows() -> None:
    two = Two()
    two.send(segment(two.A, two.B))
    two.run()
    seen: list[tuple[str, bool]] = []
    for interface in two.r.interfaces.values():
        interface.tap = lambda packet, now, outgoing, name=interface.name: seen.append((name, outgoing))
    two.send(segment(two.A, two.B))
    two.run()
    assert seen == [("west", False), ("east", True)]
    assert len(two.b.got) == 2


def test_recode_is_applied_to_what_arrives_and_may_lose_it() -> None:
    two = Two()
    port = two.r.interfaces["west"]

    def recode(packet: Packet) -> Packet | None:
        if packet.size == 20:
            return None
        copy = packet.clone()
        copy.ttl = 7
        return copy

    port.recode = recode
    for size in (100, 20, 30):
        two.send(segment(two.A, two.B, size))
    two.run()
    assert [(packet.size, packet.ttl) for packet in two.b.got] == [(100, 6), (30, 6)]
    assert two.r.drops == {"undecodable": 1}
    port.recode = None
    two.send(segment(two.A, two.B, 20))
    two.run()
    assert two.b.got[-1].ttl == 63


# --- routers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("src", "dst"), [("10.0.1.2", "10.0.2.2"), ("2001:db8:1::2", "2001:db8:2::2")])
def test_a_router_forwards_and_remembers(src: str, dst: str) -> None:
    two = Two()
    port = two.r.interfaces["west"]
    assert isinstance(port, RouterPort)
    packets = [segment(src, dst) for _ in range(3)]
    for packet in packets:
        two.send(packet)
    two.run()
    assert two.b.got == packets
    assert [packet.ttl for packet in packets] == [63, 63, 63]
    assert list(port.decisions) == [packets[0].flow]
    assert port.decisions[packets[0].flow].interface is two.r.interfaces["east"]


def test_a_changed_table_is_obeyed_by_known_flows() -> None:
    two = Two()
    two.send(segment(two.A, two.B))
    two.run()
    version = two.r.version
    two.r.routes.remove("10.0.2.0/24")
    assert two.r.version > version
    two.send(segment(two.A, two.B))
    two.run()
    assert len(two.b.got) == 1
    assert two.r.drops == {"no-route": 1}


def test_a_new_address_of_the_router_is_obeyed_by_known_flows() -> None:
    two = Two()
    two.send(segment(two.A, "172.16.0.1"))
    two.run()
    two.r.interfaces["east"].add_address("172.16.0.1/32")
    two.send(segment(two.A, "172.16.0.1"))
    two.run()
    assert len(two.b.got) == 1
    assert two.r.drops == {"local": 1}


@pytest.mark.parametrize(
    ("dst", "ttl", "reason", "kind"),
    [
        ("10.0.2.2", 1, "ttl", ICMP_TIME_EXCEEDED),
        ("203.0.113.1", 64, "no-route", ICMP_NET_UNREACHABLE),
        ("10.0.2.77", 64, "no-host", ICMP_HOST_UNREACHABLE),
        ("10.0.2.1", 64, "local", ICMP_PORT_UNREACHABLE),
    ],
)
def test_errors_go_back_to_the_sender(dst: str, ttl: int, reason: str, kind: str) -> None:
    two = Two()
    packet = segment(two.A, dst)
    packet.ttl = ttl
    two.send(packet)
    two.run()
    assert two.r.drops == {reason: 1}
    assert two.r.errors_sent == {kind: 1}
    (error,) = two.a.got
    assert isinstance(error, IcmpError)
    assert (error.kind, error.quoted_flow, error.quoted_seq) == (kind, packet.flow, 7)
    assert error.flow == FourTuple("10.0.1.1", 0, two.A, 0)
    assert two.b.got == []


def test_a_known_flow_still_runs_out_of_time_to_live() -> None:
    two = Two()
    two.send(segment(two.A, two.B))
    late = segment(two.A, two.B)
    late.ttl = 1
    two.send(late)
    two.run()
    assert two.r.drops == {"ttl": 1}
    assert len(two.b.got) == 1


@pytest.mark.parametrize(("src", "dst"), [("10.0.1.2", "10.0.2.2"), ("2001:db8:1::2", "2001:db8:2::2")])
def test_fragmentation_needed_names_the_mtu(src: str, dst: str) -> None:
    two = Two()
    two.r.interfaces["east"].mtu = 1400
    for _ in range(20):  # the flow becomes known, and these errors are not limited
        two.send(segment(src, dst, 1500))
        two.send(segment(src, dst, 1400))
    two.run()
    assert len(two.b.got) == 20
    assert two.r.drops == {"too-big": 20}
    assert len(two.a.got) == 20
    for error in two.a.got:
        assert isinstance(error, IcmpError)
        assert (error.kind, error.mtu) == (ICMP_FRAGMENTATION_NEEDED, 1400)


def test_what_may_be_fragmented_travels_on() -> None:
    two = Two()
    two.r.interfaces["east"].mtu = 1400
    packet = segment(two.A, two.B, 1500)
    packet.df = False
    two.send(packet)
    two.run()
    assert two.b.got == [packet]
    assert two.r.drops == {}


def test_errors_are_limited_as_in_linux() -> None:
    two = Two()
    for number in range(20):
        two.send(segment(two.A, "203.0.113.1", sport=number))
    two.run()
    assert two.r.drops == {"no-route": 20}
    assert two.r.errors_sent == {ICMP_NET_UNREACHABLE: 6}
    start = two.loop.now
    for number in range(60):
        two.loop.schedule(
            start + number * 100 * MS, partial(two.send, segment(two.A, "203.0.113.1", sport=number))
        )
    two.run()
    assert two.r.errors_sent == {ICMP_NET_UNREACHABLE: 6 + 5}  # one a second


def test_errors_can_be_off() -> None:
    two = Two()
    two.r.icmp_errors = False
    two.send(segment(two.A, "203.0.113.1"))
    two.run()
    assert two.r.drops == {"no-route": 1}
    assert two.a.got == []


def test_no_error_about_an_error() -> None:
    two = Two()
    two.send(IcmpError("10.0.1.99", segment("203.0.113.1", two.A), ICMP_TIME_EXCEEDED))
    two.run()
    assert two.r.drops == {"no-route": 1}
    assert two.a.got == []


def test_an_error_passes_other_routers() -> None:
    two = Two()
    two.b.interfaces["eth0"].send(IcmpError(two.B, segment(two.A, two.B), ICMP_PORT_UNREACHABLE))
    two.run()
    assert len(two.a.got) == 1


def test_a_router_without_addresses_uses_the_dummy_address() -> None:
    two = Two()
    for interface in two.r.interfaces.values():
        for entry in list(interface.addresses):
            interface.remove_address(entry.address)
    two.send(segment(two.A, "203.0.113.1"))
    two.send(segment("2001:db8:1::2", "2001:db8:9::1"))
    two.run()
    assert [error.flow.src for error in two.a.got] == [DUMMY_ADDRESS]
    assert two.r.drops == {"no-route": 2}


def test_a_device_route_asks_who_answers() -> None:
    """Nobody on the link has the address; an unnumbered neighbour is meant whatever the address."""
    two = Two()
    two.r.routes.add("198.51.100.0/24", two.r.interfaces["east"])
    two.send(segment(two.A, "198.51.100.1"))
    two.run()
    assert two.b.got == []
    assert two.r.drops == {"no-host": 1}
    two.b.interfaces["eth0"].remove_address(two.B)
    two.send(segment(two.A, "198.51.100.1"))
    two.run()
    assert len(two.b.got) == 1


def test_a_damaged_packet_is_forwarded() -> None:
    """The router's checksum covers the IP header alone: the receiver finds the damage."""
    two = Two(PipeSettings(corrupt=1.0))
    two.send(segment(two.A, two.B))
    two.run()
    assert [packet.damaged for packet in two.b.got] == [True]


@pytest.mark.parametrize("general", [False, True])
def test_a_link_down_counts_what_the_router_sends_into_it(general: bool) -> None:
    two = Two(general=general)
    two.rb.set_up(False)
    two.send(segment(two.A, two.B))
    two.run()
    assert two.rb.forward.drops == {"down": 1}
    two.rb.set_up(True)
    two.send(segment(two.A, two.B))
    two.run()
    assert len(two.b.got) == 1


def test_a_router_on_the_policy_of_a_subclass() -> None:
    class ByPort(Router):
        def decide(self, packet: Packet, received: Interface | None) -> RoutingDecision:
            return NOWHERE if packet.flow.sport == 9 else super().decide(packet, received)

    loop = Loop()
    a, r, b = End(loop, "a"), ByPort(loop, "r"), End(loop, "b")
    Link(
        loop, "l1", a.add_interface("", ["10.0.1.2/24"]), r.add_interface("", ["10.0.1.1/24"]), PipeSettings()
    )
    Link(
        loop, "l2", r.add_interface("", ["10.0.2.1/24"]), b.add_interface("", ["10.0.2.2/24"]), PipeSettings()
    )
    r.routes.add("10.0.2.0/24", r.interfaces["eth1"])
    for sport in (8, 9, 10):
        a.interfaces["eth0"].send(segment("10.0.1.2", "10.0.2.2", sport=sport))
    loop.run(NEVER)
    assert [packet.flow.sport for packet in b.got] == [8, 10]


# --- switches --------------------------------------------------------------------------------------


def star() -> tuple[Loop, Switch, list[End]]:
    loop = Loop()
    switch = Switch(loop, "s")
    ends = [End(loop, name) for name in "abc"]
    for number, end in enumerate(ends, 1):
        port = switch.add_interface()
        Link(
            loop,
            f"l{number}",
            end.add_interface("", [f"10.0.0.{number}/24"]),
            port,
            PipeSettings(delay_ns=MS),
        )
        switch.learn(f"10.0.0.{number}", port)
    return loop, switch, ends


def test_a_switch_forwards_by_address_and_changes_nothing() -> None:
    loop, switch, (a, b, c) = star()
    packet = segment("10.0.0.1", "10.0.0.3")
    a.interfaces["eth0"].send(packet)
    loop.run(NEVER)
    assert c.got == [packet]
    assert packet.ttl == 64
    assert b.got == []
    assert switch.drops == {}


def test_a_switch_drops_what_it_does_not_know() -> None:
    loop, switch, (a, b, c) = star()
    a.interfaces["eth0"].send(segment("10.0.0.1", "10.0.0.9"))
    a.interfaces["eth0"].send(segment("10.0.0.1", "10.0.0.1"))
    switch.interfaces["eth2"].mtu = 1400
    a.interfaces["eth0"].send(segment("10.0.0.1", "10.0.0.3", 1500))
    loop.run(NEVER)
    assert switch.drops == {"unknown-address": 1, "same-port": 1, "too-big": 1}
    assert a.got == b.got == c.got == []


def test_a_switch_looks_for_the_next_hop() -> None:
    loop, _, (a, b, c) = star()
    for hop in ("10.0.0.2", "10.0.0.3"):
        packet = segment("10.0.0.1", "192.0.2.1")
        packet.next_hop = hop
        a.interfaces["eth0"].send(packet)
    loop.run(NEVER)
    assert len(b.got) == len(c.got) == 1
    assert a.interfaces["eth0"].neighbour("10.0.0.2") is b.interfaces["eth0"]
    assert a.interfaces["eth0"].neighbour("192.0.2.1") is None


def test_a_switch_learns_of_an_address_that_moves() -> None:
    loop, switch, (a, b, c) = star()
    b.interfaces["eth0"].remove_address("10.0.0.2")
    assert a.interfaces["eth0"].neighbour("10.0.0.2") is None
    c.interfaces["eth0"].add_address("10.0.0.2/24")
    assert a.interfaces["eth0"].neighbour("10.0.0.2") is c.interfaces["eth0"]
    a.interfaces["eth0"].send(segment("10.0.0.1", "10.0.0.2"))
    loop.run(NEVER)
    assert len(c.got) == 1
    assert switch.drops == {}


def test_switches_in_a_circle() -> None:
    loop = Loop()
    switches = [Switch(loop, name) for name in ("s0", "s1", "s2")]
    for number in range(3):
        ports = switches[number].add_interface(), switches[(number + 1) % 3].add_interface()
        Link(loop, f"m{number}", *ports, PipeSettings())
    ends = [End(loop, name) for name in "ab"]
    for number, end in enumerate(ends):
        port = switches[number].add_interface()
        Link(loop, end.name, end.add_interface("", [f"10.0.0.{number}/24"]), port, PipeSettings())
    ends[0].interfaces["eth0"].send(segment("10.0.0.0", "10.0.0.1"))
    ends[1].interfaces["eth0"].add_address("10.0.0.9/24")
    loop.run(NEVER)
    assert len(ends[1].got) == 1
    assert ends[0].interfaces["eth0"].neighbour("10.0.0.9") is ends[1].interfaces["eth0"]
    assert ends[0].interfaces["eth0"].neighbour("10.0.0.7") is None
