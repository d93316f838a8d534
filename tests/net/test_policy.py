"""The way of a packet through hosts and routers: filters, queues, next hops, what is kept."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mptcpsim.congestion
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import (
    ACK,
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.net.course import Course, Dropped, Leaving, Taken
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.policy import PASSES, PacketFilter, Queue, Verdict
from mptcpsim.net.router import Router
from mptcpsim.net.switch import Switch
from mptcpsim.net.walk import answer_to, probe, walk
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER, SECOND
from tests.profiles import examples

assert mptcpsim.congestion

A, B, C = "10.0.1.2", "10.0.2.2", "10.0.3.2"


class End(Node):
    """Keeps what it gets."""

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.got: list[Packet] = []

    def receive(self, packet: Packet, interface: Interface) -> None:
        self.got.append(packet)


def segment(
    src: str = A, dst: str = B, flags: int = ACK, size: int = 100, sport: int = 1, ttl: int = 64
) -> Segment:
    flow = FourTuple(src, sport, dst, 2)
    packet = Segment(flow, size, SequenceMap(), flags, 7, 1, 9, size - 40, UNKNOWN, UNKNOWN, None, 0)
    packet.ttl = ttl
    return packet


class Star:
    """Ends a, b and c around the router r, whose interfaces are named after them; b and c serve B."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.r = Router(self.loop, "r")
        self.ends: dict[str, End] = {}
        for number, name in enumerate("abc", 1):
            end = self.ends[name] = End(self.loop, name)
            ports = (
                self.r.add_interface(name, [f"10.0.{number}.1/24"]),
                end.add_interface("eth0", [f"10.0.{number}.2/24"]),
            )
            Link(self.loop, name, *ports, PipeSettings(delay_ns=MS))
            self.r.routes.add(f"10.0.{number}.0/24", ports[0])

    def port(self, name: str) -> Interface:
        return self.r.interfaces[name]

    def send(self, *packets: Packet, by: str = "a") -> None:
        for packet in packets:
            self.ends[by].interfaces["eth0"].send(packet)
            self.loop.run(NEVER)

    def got(self, name: str) -> list[Packet]:
        found, self.ends[name].got = self.ends[name].got, []
        return found


class Told(PacketFilter):
    """Answers as told, and keeps what it was asked."""

    def __init__(self, inbound: Verdict = PASSES, outbound: Verdict = PASSES) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []
        self.verdicts = {"in": inbound, "out": outbound}

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        self.asked.append(("in", interface.name))
        return self.verdicts["in"]

    def outbound(
        self, packet: Packet, interface: Interface, gateway: str, received: Interface | None
    ) -> Verdict:
        self.asked.append(("out", interface.name, gateway, received.name if received else ""))
        return self.verdicts["out"]

    def tell(self, **verdicts: Verdict) -> None:
        self.verdicts.update(verdicts)
        self.changed()


class Basin(Queue):
    """Holds packets until they are let go."""

    def __init__(self) -> None:
        self.held: list[tuple[Packet, Callable[[Packet], None]]] = []

    def enter(self, packet: Packet, onward: Callable[[Packet], None]) -> None:
        self.held.append((packet, onward))

    def release(self) -> None:
        held, self.held = self.held, []
        for packet, onward in held:
            onward(packet)


# --- Filters -------------------------------------------------------------------------------------


def test_filters_are_asked_in_their_order_on_both_sides() -> None:
    net = Star()
    order: list[tuple[str, ...]] = []
    for _ in range(2):
        told = Told()
        told.asked = order
        net.r.add_filter(told)
    net.r.routes.add("172.16.0.0/12", net.port("b"), B)
    net.send(segment(dst="172.16.0.1"))
    assert len(net.got("b")) == 1
    assert order == [("in", "a"), ("in", "a"), ("out", "b", B, "a"), ("out", "b", B, "a")]


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_drop_counts_under_the_reason_of_the_filter(side: str) -> None:
    net = Star()
    told = Told()
    net.r.add_filter(told)
    told.tell(**{side: Verdict(("no",), "blocked")})
    net.send(segment(), segment())
    assert net.r.drops == {"blocked": 2}
    assert (net.got("a"), net.got("b")) == ([], [])
    assert len(told.asked) == (1 if side == "in" else 2), "the second packet was like the first"


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_verdict_sends_elsewhere_and_ends_the_questions(side: str) -> None:
    net = Star()
    told, second = Told(), Told()
    net.r.add_filter(told)
    net.r.add_filter(second)
    told.tell(**{side: Verdict((), interface=net.port("c"), gateway=C)})
    packet = segment()
    net.send(packet)
    assert net.got("c") == [packet]
    assert packet.ttl == 63
    assert ("out" in [asked[0] for asked in second.asked]) is False


def test_a_gateway_of_a_verdict_has_to_answer() -> None:
    net = Star()
    net.r.add_filter(Told(inbound=Verdict((), interface=net.port("c"), gateway="10.0.3.77")))
    net.send(segment())
    assert net.r.drops == {"no-gateway": 1}
    (error,) = net.got("a")
    assert isinstance(error, IcmpError)
    assert error.kind == ICMP_HOST_UNREACHABLE


@pytest.mark.parametrize("side", ["in", "out"])
@pytest.mark.parametrize("lasting", [True, False])
def test_a_queue_holds_packets_and_time_to_live_goes_down_once(side: str, lasting: bool) -> None:
    net = Star()
    basin = Basin()
    net.r.add_filter(Told(**{f"{side}bound": Verdict((), queue=basin, lasting=lasting)}))
    for _ in range(2):
        packets = [segment(), segment()]
        net.send(*packets)
        assert [packet for packet, _ in basin.held] == packets
        assert net.got("b") == []
        basin.release()
        net.loop.run(NEVER)
        assert net.got("b") == packets
        assert [packet.ttl for packet in packets] == [63, 63]


def test_behind_a_queue_holds_what_holds_then() -> None:
    net = Star()
    basin = Basin()
    net.r.add_filter(Told(inbound=Verdict((), queue=basin)))
    net.send(segment())
    basin.release()
    net.loop.run(NEVER)
    assert len(net.got("b")) == 1
    net.send(segment())
    net.r.routes.add(f"{B}/32", net.port("c"), C)
    basin.release()
    net.loop.run(NEVER)
    assert (len(net.got("b")), len(net.got("c"))) == (0, 1)


def test_a_packet_may_go_from_queue_to_queue() -> None:
    """As with one_pass=0: what comes out is shown to the filter again, behind the rule that matched."""
    net = Star()
    first, second = Basin(), Basin()
    seen: list[Packet] = []

    def resume(packet: Packet) -> Verdict:
        seen.append(packet)
        return Verdict((), queue=second)

    net.r.add_filter(Told(inbound=Verdict((), queue=first, resume=resume)))
    packet = segment()
    net.send(packet)
    first.release()
    assert (seen, net.got("b")) == ([packet], [])
    second.release()
    net.loop.run(NEVER)
    assert net.got("b") == [packet]
    assert packet.ttl == 63


def test_a_packet_too_large_behind_a_queue_is_reported() -> None:
    net = Star()
    net.port("b").set_mtu(1400)
    basin = Basin()
    net.r.add_filter(Told(outbound=Verdict((), queue=basin)))
    net.send(segment(size=1500))
    basin.release()
    assert net.r.drops == {"too-big": 1}
    basin.release()  # the error has waited, too
    net.loop.run(NEVER)
    (error,) = net.got("a")
    assert isinstance(error, IcmpError)
    assert (error.kind, error.mtu) == (ICMP_FRAGMENTATION_NEEDED, 1400)


@pytest.mark.parametrize("side", ["in", "out"])
def test_an_answer_is_a_reset_from_the_destination(side: str) -> None:
    net = Star()
    told = Told(**{f"{side}bound": Verdict((), "blocked", answer=True)})
    net.r.add_filter(told)
    net.send(segment(flags=SYN), segment(flags=ACK), segment(flags=RST))
    answers = net.got("a")
    assert [(p.flow.src, p.flags) for p in answers if isinstance(p, Segment)] == [(B, RST | ACK), (B, RST)]
    assert net.r.drops == {"blocked": 3}


def test_a_router_filters_its_own_errors() -> None:
    net = Star()
    told = Told()
    net.r.add_filter(told)
    net.send(segment(dst="203.0.113.1"))
    assert told.asked == [("in", "a"), ("out", "a", "", "")]
    (error,) = net.got("a")
    assert isinstance(error, IcmpError)
    assert error.kind == ICMP_NET_UNREACHABLE


# --- What is kept ----------------------------------------------------------------------------------


def test_lasting_verdicts_are_asked_for_once() -> None:
    net = Star()
    told = Told()
    net.r.add_filter(told)
    net.send(*[segment() for _ in range(5)])
    assert told.asked == [("in", "a"), ("out", "b", "", "a")]
    told.asked.clear()
    net.send(segment(sport=9), segment(src=C), by="c")
    assert len(told.asked) == 4, "another flow, another interface"
    told.asked.clear()
    net.send(segment(flags=SYN), segment(flags=SYN), segment())
    assert len(told.asked) == 4, "a SYN is always asked about, what follows it is not"
    told.asked.clear()
    net.send(
        IcmpError(A, segment(src=B), ICMP_NET_UNREACHABLE), IcmpError(A, segment(src=B), ICMP_NET_UNREACHABLE)
    )
    assert len(told.asked) == 4, "an error is judged by what it quotes"


def test_a_verdict_that_does_not_last_is_asked_for_each_time() -> None:
    net = Star()
    told = Told(outbound=Verdict((), lasting=False))
    net.r.add_filter(told)
    net.send(*[segment() for _ in range(3)])
    assert len(told.asked) == 6


def change_route(net: Star) -> None:
    net.r.routes.add(f"{B}/32", net.port("c"), C)


def change_address(net: Star) -> None:
    net.port("c").add_address(f"{B}/24")


def change_filter(net: Star) -> None:
    net.r.add_filter(Told(outbound=Verdict((), "blocked")))


def change_neighbour(net: Star) -> None:
    net.ends["b"].interfaces["eth0"].remove_address(B)
    net.ends["b"].interfaces["eth0"].add_address("10.0.2.3/24")


@pytest.mark.parametrize(
    ("change", "drops"),
    [
        (change_route, {}),
        (change_address, {"local": 1}),
        (change_filter, {"blocked": 1}),
        (change_neighbour, {"no-host": 1}),
    ],
)
def test_what_changes_is_obeyed_by_known_flows(change: Callable[[Star], None], drops: dict[str, int]) -> None:
    net = Star()
    net.send(segment(), segment())
    assert len(net.got("b")) == 2
    change(net)
    net.send(segment())
    assert net.got("b") == []
    assert net.r.drops == drops


def test_a_tap_sees_the_flows_that_were_there_before() -> None:
    net = Star()
    net.send(segment())
    seen: list[bool] = []
    net.port("b").tap = lambda packet, now, outgoing: seen.append(outgoing)
    net.send(segment())
    net.port("b").tap = None
    net.send(segment())
    assert seen == [True]
    assert len(net.got("b")) == 3


def outcome(course: Course) -> tuple[str, str, str, str]:
    interface = course.interface.name if course.interface else ""
    return type(course).__name__, interface, course.next_hop, course.reason


class Wall(PacketFilter):
    """Blocks and diverts by source port, and changes its mind."""

    def __init__(self, node: IpNode) -> None:
        super().__init__()
        self.node = node
        self.blocked: set[tuple[str, int]] = set()
        self.diverted: dict[int, str] = {}

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        return Verdict((), "wall") if ("in", packet.flow.sport) in self.blocked else PASSES

    def outbound(
        self, packet: Packet, interface: Interface, gateway: str, received: Interface | None
    ) -> Verdict:
        if ("out", packet.flow.sport) in self.blocked:
            return Verdict((), "wall")
        aside = self.diverted.get(packet.flow.sport)
        return PASSES if aside is None else Verdict((), interface=self.node.interfaces[aside])


PREFIXES = ["10.0.2.0/24", "10.0.2.2/32", "10.0.0.0/8", "default"]
CHANGES = st.one_of(
    st.tuples(st.just("route"), st.sampled_from(PREFIXES), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(st.just("no route"), st.sampled_from(PREFIXES), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("block"), st.sampled_from(["in", "out"]), st.just("a"), st.integers(0, 2)),
    st.tuples(st.just("divert"), st.just(""), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(st.just("address"), st.just(""), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("neighbour"), st.just(""), st.sampled_from("bc"), st.just(0)),
    st.tuples(st.just("mtu"), st.just(""), st.sampled_from("abc"), st.sampled_from([1280, 1500])),
    st.tuples(
        st.just("packet"), st.sampled_from([B, C, "10.9.9.9"]), st.sampled_from("ac"), st.integers(0, 2)
    ),
)


@examples(150)
@given(walled=st.booleans(), steps=st.lists(CHANGES, max_size=30))
def test_what_is_kept_is_what_would_be_decided_anew(
    walled: bool, steps: list[tuple[str, str, str, int]]
) -> None:
    net = Star()
    wall = Wall(net.r)
    if walled:
        net.r.add_filter(wall)
    outdated = -1
    for kind, word, name, number in steps:
        port = net.port(name)
        end = net.ends[name].interfaces["eth0"]
        if kind == "route":
            net.r.routes.add(word, port, f"10.0.{'abc'.index(name) + 1}.2" if number else "", number)
        elif kind == "no route":
            net.r.routes.remove(word, port)
        elif kind == "block":
            wall.blocked ^= {(word, number)}
            wall.changed()
        elif kind == "divert":
            wall.diverted = {} if number in wall.diverted else {**wall.diverted, number: name}
            wall.changed()
        elif kind in ("address", "neighbour"):
            where = port if kind == "address" else end
            if "10.9.9.9" in where.node.addresses:
                where.node.addresses["10.9.9.9"].remove_address("10.9.9.9")
            else:
                where.add_address("10.9.9.9/24")
            if kind == "neighbour":
                outdated = net.r.version
        elif kind == "mtu":
            port.set_mtu(number)
        for destination in (B, C, "10.9.9.9"):
            for sport in range(3):
                packet = segment(dst=destination, sport=sport)
                kept = net.r.course_for(packet, net.port("a"))
                fresh = net.r.judge(packet, net.port("a"))
                if net.r.version == outdated and not kept.reason:
                    continue  # as an ARP cache, a kept course outlives the neighbour's address
                assert outcome(kept) == outcome(fresh)
                assert kept.mtu == fresh.mtu
        if kind == "packet":
            net.send(segment(dst=word, sport=number), by=name)


# --- Next hops -----------------------------------------------------------------------------------


class Lan:
    """Host h and the routers r1 and r2 on a switch; both lead to far."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.switch = Switch(self.loop, "s")
        self.h = Host(self.loop, "h", Stack("h", random.Random(1), TcpConfig()))
        self.far = End(self.loop, "far")
        self.routers = [Router(self.loop, f"r{number}") for number in (1, 2)]
        self.join(self.h, "192.168.1.10/24")
        for number, router in enumerate(self.routers, 1):
            self.join(router, f"192.168.1.{number}/24")
            ports = (
                router.add_interface("out", [f"10.0.{number}.1/24"]),
                self.far.add_interface("", [f"10.0.{number}.2/24"]),
            )
            Link(self.loop, router.name, *ports, PipeSettings(delay_ns=MS))
            router.routes.add("default", ports[0], f"10.0.{number}.2")
            router.routes.add("192.168.1.0/24", router.interfaces["lan"])
        self.h.routes.add("192.168.1.0/24", self.h.interfaces["lan"])

    def join(self, node: Node, address: str) -> None:
        ports = node.add_interface("lan", [address]), self.switch.add_interface()
        Link(self.loop, f"s-{node.name}", *ports, PipeSettings(delay_ns=MS))

    def connect(self, destination: str = "203.0.113.5") -> None:
        self.h.stack.connect("192.168.1.10", (destination, 80), self.loop.now)
        self.h.drain()
        self.loop.run(self.loop.now + 10 * MS)


@pytest.mark.parametrize("number", [1, 2])
def test_the_gateway_that_a_host_chose_gets_the_packet(number: int) -> None:
    net = Lan()
    net.h.routes.add("default", net.h.interfaces["lan"], f"192.168.1.{number}")
    net.connect()
    (packet,) = net.far.got
    assert packet.ttl == 63
    assert [len(link.got) for link in (net.far,)] == [1]
    assert net.routers[number - 1].interfaces["out"].pipe.packets == 1  # type: ignore[union-attr]
    assert net.switch.drops == {}


def test_a_router_that_sends_back_to_the_lan_names_the_next_hop() -> None:
    """The destination is on no table of the switch: what counts is whom the sender means."""
    net = Lan()
    net.h.routes.add("default", net.h.interfaces["lan"], "192.168.1.1")
    net.routers[0].routes.add("203.0.113.0/24", net.routers[0].interfaces["lan"], "192.168.1.2")
    net.connect()
    (packet,) = net.far.got
    assert packet.ttl == 62
    assert net.routers[1].interfaces["out"].pipe.packets == 1  # type: ignore[union-attr]


def test_a_gateway_that_nobody_has_is_a_drop_of_the_sender() -> None:
    net = Lan()
    net.h.routes.add("default", net.h.interfaces["lan"], "192.168.1.99")
    net.connect()
    assert net.h.drops == {"no-gateway": 1}
    net.connect("192.168.1.98")
    assert net.h.drops == {"no-gateway": 1, "no-host": 1}
    net.routers[1].interfaces["lan"].add_address("192.168.1.99/24")
    net.loop.run(net.loop.now + 2 * SECOND)
    assert len(net.far.got) == 1, "the SYN that is sent again finds the router"


def test_who_answers_for_addresses_of_other_interfaces() -> None:
    """Linux answers everywhere; with arp_ignore, as in FreeBSD, an interface answers for its own."""
    net = Lan()
    lan = net.h.interfaces["lan"]
    assert lan.neighbour("10.0.1.1") is net.routers[0].interfaces["lan"]
    net.routers[0].arp_ignore = True
    assert lan.neighbour("10.0.1.1") is None
    assert lan.neighbour("192.168.1.1") is net.routers[0].interfaces["lan"]


# --- Hosts ---------------------------------------------------------------------------------------


class Pair:
    """Hosts a and b on two links."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.a, self.b = (
            Host(self.loop, name, Stack(name, random.Random(seed), TcpConfig()))
            for seed, name in enumerate("ab")
        )
        for number in range(2):
            ends = [
                host.add_interface(f"e{number}", [f"10.{number}.0.{last}/24"])
                for last, host in enumerate((self.a, self.b), 1)
            ]
            Link(self.loop, f"l{number}", ends[0], ends[1], PipeSettings(delay_ns=MS, limit=1000))
            for host, end in zip((self.a, self.b), ends, strict=True):
                host.routes.add(f"10.{number}.0.0/24", end)
        self.b.stack.listen(80).eager = True

    def connect(self) -> Connection:
        connection = self.a.stack.connect("10.0.0.1", ("10.0.0.2", 80), self.loop.now)
        self.a.drain()
        self.loop.run(self.loop.now + SECOND)
        return connection


def test_a_filter_stands_before_the_stack() -> None:
    net = Pair()
    wall = Told(inbound=Verdict((), "blocked"))
    net.b.add_filter(wall)
    assert not net.connect().established
    assert net.b.stack.counters.as_dict().get("TcpInSegs", 0) == 0
    wall.tell(**{"in": PASSES})
    net.loop.run(net.loop.now + 10 * SECOND)
    assert net.a.stack.connections[0].established


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_refused_connection_ends_at_once(side: str) -> None:
    net = Pair()
    where = net.b if side == "in" else net.a
    where.add_filter(Told(**{f"{side}bound": Verdict((), "blocked", answer=True)}))
    connection = net.connect()
    assert connection.error
    assert where.drops == {"blocked": 1}


def test_a_filter_diverts_what_a_host_sends() -> None:
    net = Pair()
    net.a.add_filter(Told(outbound=Verdict((), interface=net.a.interfaces["e1"], gateway="10.1.0.2")))
    assert net.connect().established
    assert net.a.interfaces["e0"].pipe.packets == 0  # type: ignore[union-attr]
    assert net.a.interfaces["e1"].pipe.packets == 2  # type: ignore[union-attr]


def test_a_way_narrower_than_the_stack_thinks_is_discovered() -> None:
    net = Pair()
    net.a.interfaces["e1"].set_mtu(1000)
    connection = net.connect()
    net.a.routes.add("10.0.0.2/32", net.a.interfaces["e1"], "10.1.0.2")
    connection.write(100_000, net.loop.now)
    net.a.drain()
    net.loop.run(net.loop.now + 20 * SECOND)
    assert connection.acked == 100_000
    assert net.a.drops["too-big"] >= 1


# --- Explanation ---------------------------------------------------------------------------------


def test_a_walk_tells_every_step_and_changes_nothing() -> None:
    net = Lan()
    net.h.routes.add("default", net.h.interfaces["lan"], "192.168.1.2")
    net.routers[1].add_filter(Told(inbound=Verdict(("wall: passes",))))
    hops = walk(net.h, probe("192.168.1.10", "203.0.113.5"))
    assert [hop.node.name for hop in hops] == ["h", "r2"]
    assert hops[0].trace.steps == ("table main: default via 192.168.1.2 dev lan",)
    assert hops[0].trace.neighbour is net.routers[1].interfaces["lan"]
    assert hops[1].trace.steps == ("wall: passes", "table main: default via 10.0.2.2 dev out")
    assert (net.h.drops, net.routers[1].drops, net.far.got) == ({}, {}, [])


def test_a_walk_ends_where_packets_end() -> None:
    net = Lan()
    (hop,) = walk(net.h, probe("192.168.1.10", "203.0.113.5"))
    assert (hop.trace.reason, hop.trace.steps) == ("no-route", ("table main: no route to 203.0.113.5",))
    net.h.routes.add("default", net.h.interfaces["lan"], "192.168.1.9")
    (hop,) = walk(net.h, probe("192.168.1.10", "203.0.113.5"))
    assert hop.trace.reason == "no-gateway"
    assert hop.trace.steps[-1] == "nobody on the link of lan answers for 192.168.1.9"
    # Two routers that send a packet to each other: until its time to live is over.
    net.h.routes.add("203.0.113.0/24", net.h.interfaces["lan"], "192.168.1.1")
    for number, router in enumerate(net.routers, 1):
        router.routes.add("203.0.113.0/24", router.interfaces["lan"], f"192.168.1.{3 - number}")
    hops = walk(net.h, probe("192.168.1.10", "203.0.113.5"))
    assert len(hops) == 65
    assert hops[-1].trace.reason == "ttl"


def test_out_and_back() -> None:
    net = Pair()
    packet = probe("10.0.0.1", "10.0.0.2", dport=80)
    out = walk(net.a, packet)
    assert out[-1].trace.taken
    assert out[-1].trace.steps == ("10.0.0.2 is an address of b",)
    end = out[-1].node
    back = walk(end, answer_to(packet))
    assert [hop.node.name for hop in back] == ["b", "a"]
    assert back[-1].trace.taken


def test_a_queue_is_walked_through() -> None:
    net = Star()
    basin = Basin()
    net.r.add_filter(Told(inbound=Verdict(("pipe 1",), queue=basin), outbound=Verdict(("out: passes",))))
    trace = net.r.trace(probe(A, B), net.port("a"))
    assert trace.steps == ("pipe 1", "table main: 10.0.2.0/24 dev b", "out: passes")
    assert (trace.interface, trace.next_hop) == (net.port("b"), B)
    assert basin.held == []


def test_courses_have_names() -> None:
    net = Star()
    assert isinstance(net.r.judge(segment(), net.port("a")), Leaving)
    assert isinstance(net.r.judge(segment(dst="10.0.1.1"), net.port("a")), Taken)
    assert isinstance(net.r.judge(segment(dst="203.0.113.1"), net.port("a")), Dropped)
