"""A packet that comes by a way that is known goes where a packet goes that has to be looked up."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import mptcpsim.congestion
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import FlowWay, FourTuple, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.stack import Arriving
from mptcpsim.net.course import Leaving
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface, Node
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.policy import PASSES, PacketFilter, Verdict
from mptcpsim.net.router import Router
from mptcpsim.net.switch import Switch
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.loop import Loop
from mptcpsim.sim.sockets import Sockets
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER
from tests.profiles import examples

assert mptcpsim.congestion


class End(Node):
    """Keeps what it gets, and when."""

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.got: list[tuple[int, int, int]] = []

    def receive(self, packet: Packet, interface: Interface) -> None:
        self.got.append((self.loop.now, packet.flow.sport, packet.ttl))


class Refusing(PacketFilter):
    """Drops the packets of one port."""

    def __init__(self, sport: int) -> None:
        super().__init__()
        self.sport = sport

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        return Verdict((), reason="refused") if packet.flow.sport == self.sport else PASSES


class Mesh:
    """End a, a switch with r0 and r1, routers of which r1 and r2 lead from r0 to r3, and the ends b and c.

    With ``forgetful`` each packet loses its way at each hop.
    """

    def __init__(self, forgetful: bool) -> None:
        self.loop = Loop()
        self.forgetful = forgetful
        self.routers = [Router(self.loop, f"r{number}") for number in range(4)]
        self.ends = {name: End(self.loop, name) for name in "abc"}
        self.switch = Switch(self.loop, "s")
        self.ways: dict[int, tuple[FourTuple, FlowWay]] = {}
        self.mixed = FlowWay()
        r0, r1, r2, r3 = self.routers
        for first, second, number in (
            (self.ends["a"], self.switch, 1),
            (self.switch, r0, 1),
            (self.switch, r1, 9),
            (r0, r1, 2),
            (r0, r2, 3),
            (r1, r3, 4),
            (r2, r3, 5),
            (r3, self.ends["b"], 6),
            (r3, self.ends["c"], 7),
        ):
            self.join(first, second, number)
        self.lead(1)
        r1.routes.add("10.0.0.0/8", r1.interfaces["r3"], "10.0.4.2")
        r2.routes.add("10.0.0.0/8", r2.interfaces["r3"], "10.0.5.2")
        r3.routes.add("10.0.6.0/24", r3.interfaces["b"])
        r3.routes.add("10.0.7.0/24", r3.interfaces["c"])

    def join(self, first: Node, second: Node, number: int) -> None:
        ports = []
        for node, other, last in ((first, second, 1), (second, first, 2)):
            addresses = [] if node.BELOW_IP else [f"10.0.{number}.{last}/24"]
            if number == 9 and addresses:
                addresses = ["10.0.1.9/24"]
            port = node.add_interface(other.name, addresses)
            if self.forgetful:
                port.tap = self.forget
            ports.append(port)
        settings = PipeSettings(delay_ns=MS, rate_bps=10**9)
        Link(self.loop, f"{first.name}-{second.name}", ports[0], ports[1], settings)

    def lead(self, side: int) -> None:
        """Let r0 send everything by r1 or r2."""
        r0 = self.routers[0]
        r0.routes.remove("10.0.0.0/8")
        r0.routes.add("10.0.0.0/8", r0.interfaces[f"r{side}"], f"10.0.{side + 1}.2")

    def forget(self, packet: Packet, now: int, outgoing: bool) -> None:
        packet.way = None

    def send(self, sport: int, dst: str, hop: int, how: str) -> None:
        """Send a packet as a connection does: with the flow and the way of the one before.

        Args:
            sport: its port.
            dst: ``b`` or ``c``.
            hop: the last part of the address of the first router.
            how: ``again``; ``fresh``, as another connection of the same ports does; ``mixed``, by the way
                of the packets of all flows that are sent so.
        """
        key = sport + (100 if dst == "b" else 0)
        if how == "fresh" or key not in self.ways:
            flow = FourTuple("10.0.1.1", sport, "10.0.6.2" if dst == "b" else "10.0.7.2", 80)
            self.ways[key] = flow, FlowWay()
        flow, way = self.ways[key]
        packet = Packet(flow, 100)
        packet.way = self.mixed if how == "mixed" else way
        packet.next_hop = f"10.0.1.{hop}"
        self.ends["a"].interfaces["s"].send(packet)

    def change(self, what: str, number: int) -> None:
        router = self.routers[number % 4]
        ports = list(router.interfaces.values())
        port = ports[number // 4 % len(ports)]
        if what == "route":
            self.lead(1 + number % 2)
        elif what == "filter":
            if router.filters:
                router.filters.clear()
                router.invalidate()
            else:
                router.add_filter(Refusing(number % 3))
        elif what == "interface":
            port.set_up(not port.up)
        elif what == "mtu":
            port.set_mtu(90 if port.mtu == 1500 else 1500)
        elif what == "recode":
            port.recode = None if port.recode else _same
        elif what == "forget":
            router.invalidate()

    def result(self) -> Any:
        return (
            {name: end.got for name, end in self.ends.items()},
            {router.name: router.drops for router in self.routers},
            {router.name: router.errors_sent for router in self.routers},
            self.loop.executed,
        )


def _same(packet: Packet) -> Packet | None:
    return packet


STEP = st.one_of(
    st.tuples(
        st.just("send"),
        st.tuples(
            st.integers(0, 2),
            st.sampled_from("bc"),
            st.sampled_from([2, 2, 9]),
            st.sampled_from(["again", "again", "fresh", "mixed"]),
        ),
    ),
    st.tuples(st.just("run"), st.sampled_from([0, MS, MS + 1000, 3 * MS, 20 * MS])),
    st.tuples(
        st.sampled_from(["route", "filter", "interface", "mtu", "recode", "forget"]), st.integers(0, 15)
    ),
)


@examples(150)
@given(st.lists(STEP, min_size=10, max_size=60))
def test_a_way_leads_where_a_look_up_leads(steps: list[tuple[str, Any]]) -> None:
    meshes = [Mesh(forgetful) for forgetful in (False, True)]
    for mesh in meshes:
        for what, value in [*steps, ("run", NEVER)]:
            if what == "send":
                for _ in range(2):
                    mesh.send(*value)
            elif what == "run":
                mesh.loop.run(mesh.loop.now + value if value < NEVER else NEVER)
            else:
                mesh.change(what, value)
    assert meshes[0].result() == meshes[1].result()


def ways_from(way: FlowWay) -> list[FlowWay]:
    """Return what is known of a flow, node by node."""
    found = []
    onward = way.onward
    while onward is not None:
        found.append(onward)
        onward = onward.onward
    return found


def test_the_second_packet_of_a_flow_is_looked_up_nowhere() -> None:
    mesh = Mesh(False)
    for _ in range(3):
        mesh.send(1, "b", 2, "again")
        mesh.loop.run(NEVER)
    known = ways_from(mesh.ways[101][1])
    assert [way.keeper.label for way in known if isinstance(way, Leaving)] == ["r0.s", "r1.r0", "r3.r1"]  # type: ignore[attr-defined]
    ports = [port for router in mesh.routers for port in router._ports]
    for port in ports:
        # Taken away without a word, so that what is asked of them is judged and kept again.
        port.decisions.clear()
    mesh.send(1, "b", 2, "again")
    mesh.loop.run(NEVER)
    assert len(mesh.ends["b"].got) == 4
    assert not any(port.decisions for port in ports)
    mesh.send(2, "b", 2, "again")
    mesh.loop.run(NEVER)
    assert sum(len(port.decisions) for port in ports) == 3


def test_a_connection_is_found_by_its_way_and_is_not_kept_by_it() -> None:
    env = Environment()
    hosts = [Host(env.loop, name, Stack(name, random.Random(1), TcpConfig())) for name in "ab"]
    ports = [host.add_interface("eth0", [f"10.0.0.{n}/24"]) for n, host in enumerate(hosts, 1)]
    Link(env.loop, "l", ports[0], ports[1], PipeSettings(delay_ns=MS))
    for host in hosts:
        host.routes.add("10.0.0.0/24", host.interfaces["eth0"])
    client, server = (Sockets(env, host) for host in hosts)
    listener = server.listen(80)
    socket = client.connect("10.0.0.1", ("10.0.0.2", 80))
    env.run(until="10ms")
    (tcp,) = hosts[0].stack.connections[0].subflows
    course, arriving = ways_from(tcp.way)
    assert isinstance(course, Leaving)
    assert course.pipe is ports[0].pipe
    assert isinstance(arriving, Arriving)
    assert arriving.tcp is hosts[1].stack.connections[0].subflows[0]
    assert arriving.flow is tcp.flow
    socket.abort()
    env.run(until="20ms")
    assert arriving.tcp is None
    assert listener


def test_a_copy_has_no_way() -> None:
    flow = FourTuple("10.0.0.1", 1, "10.0.0.2", 2)
    packet = Segment(flow, 40, SequenceMap(), 0, 1, 1, 1, 0, UNKNOWN, UNKNOWN, None, 0, way=FlowWay())
    assert packet.way is not None
    assert packet.clone().way is None
