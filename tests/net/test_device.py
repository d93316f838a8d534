"""Devices: what an interface has in place of a link."""

from __future__ import annotations

import random

import pytest

import mptcpsim.congestion
from mptcpsim import Host, Link, PipeSettings, Stack, TcpConfig
from mptcpsim.core.segment import SYN, FourTuple, Packet, Segment
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.net.node import Device, Interface
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND

assert mptcpsim.congestion

A, B, GATEWAY = "10.0.0.1", "10.0.0.2", "10.0.0.254"
FAR = "10.9.0.1"


def syn(src: str, dst: str) -> Segment:
    return Segment(FourTuple(src, 1, dst, 80), 40, SequenceMap(0, 0), SYN, 0, 0, 65535, 0, -1, -1, None, 0)


class Wire(Device):
    """Keeps what it is given, with the next hop of that instant; hands it to another interface."""

    def __init__(self) -> None:
        self.sent: list[tuple[Packet, str]] = []
        self.other: Interface | None = None

    def send(self, packet: Packet) -> None:
        self.sent.append((packet, packet.next_hop))
        if self.other is not None:
            other = self.other
            loop = other.node.loop
            loop.schedule(loop.now + 1000, lambda: other.arrived(packet))


def host(loop: Loop, name: str, address: str) -> tuple[Host, Interface, Wire]:
    """Return a host with one interface, connected to a device."""
    made = Host(loop, name, Stack(name, random.Random(name), TcpConfig()))
    interface = made.add_interface("wire0", [f"{address}/24"])
    made.routes.add("10.0.0.0/24", interface)
    made.routes.add("default", interface, GATEWAY)
    device = Wire()
    interface.attach_device(device)
    return made, interface, device


def test_two_hosts_talk_by_devices() -> None:
    loop = Loop()
    a, at_a, from_a = host(loop, "a", A)
    b, at_b, from_b = host(loop, "b", B)
    from_a.other, from_b.other = at_b, at_a
    listener = b.stack.listen(80)
    listener.eager = True
    connection = a.stack.connect(A, (B, 80), 0)
    a.drain()
    loop.run(SECOND)
    connection.write(100_000, loop.now)
    a.drain()
    loop.run(2 * SECOND)
    assert listener.accepted[0].delivered == 100_000
    assert {hop for _, hop in from_a.sent} == {""}


def test_a_packet_names_its_next_hop() -> None:
    a, _, wire = host(Loop(), "a", A)
    for remote in (B, FAR):
        a.stack.connect(A, (remote, 80), 0)
    a.drain()
    assert [(packet.flow.dst, hop) for packet, hop in wire.sent] == [(B, ""), (FAR, GATEWAY)]


def test_nothing_passes_while_the_interface_is_down() -> None:
    loop = Loop()
    a, interface, wire = host(loop, "a", A)
    interface.set_up(False)
    interface.arrived(syn(B, A))
    assert a.drops == {"interface-down": 1}
    a.stack.connect(A, (B, 80), 0)
    a.drain()
    assert wire.sent == []
    interface.set_up(True)
    interface.arrived(syn(B, A))
    assert len(wire.sent) == 1, "a RST"


def test_taps_see_both_directions() -> None:
    a, interface, _ = host(Loop(), "a", A)
    seen = []
    interface.tap = lambda packet, now, outgoing: seen.append((packet.flow.dst, outgoing))
    a.stack.connect(A, (B, 80), 0)
    a.drain()
    interface.arrived(syn(B, A))
    assert seen == [(B, True), (A, False), (B, True)]


def test_a_route_ends_at_the_device() -> None:
    a, interface, _ = host(Loop(), "a", A)
    trace = a.trace(syn(A, FAR))
    assert (trace.interface, trace.next_hop, trace.reason) == (interface, GATEWAY, "")


def test_an_interface_has_one_connection() -> None:
    loop = Loop()
    _, at_a, _ = host(loop, "a", A)
    _, at_b, _ = host(loop, "b", B)
    with pytest.raises(ValueError, match=r"a\.wire0 is connected already"):
        at_a.attach_device(Wire())
    with pytest.raises(ValueError, match="has a device already"):
        Link(loop, "l", at_a, at_b, PipeSettings(), seed=1)
