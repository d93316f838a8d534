"""Scenarios with middleboxes on a link between two hosts, run and recorded at both ends."""

from __future__ import annotations

from typing import Any, NamedTuple

from mptcpsim.core.segment import Packet, Segment
from mptcpsim.net.link import Link
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.units import SECOND, format_time

TWO_HOSTS = """
title = "Middleboxes"
seed = {seed}
duration = "{duration}"
[hosts.a]
interfaces = {{ eth0 = "10.0.1.1/24", eth1 = "10.0.2.1/24" }}
{a}
[hosts.b]
interfaces = {{ eth0 = "10.0.1.2/24", eth1 = "10.0.2.2/24" }}
{b}
[[links]]
name = "one"
ends = ["a:eth0", "b:eth0"]
rate = "10Mbps"
delay = "10ms"
middleboxes = [{one}]
[[links]]
name = "two"
ends = ["a:eth1", "b:eth1"]
rate = "10Mbps"
delay = "20ms"
middleboxes = [{two}]
[[flows]]
client = "a"
server = "b"
{flow}
"""

_MPTCP = 'mptcp = {{ profile = "rfc8684", path_manager = {{ name = "endpoints", {} }} }}'
#: The ends of a connection that has a subflow on each link.
TWO_PATHS: dict[str, Any] = {
    "a": _MPTCP.format("add_addr_accepted = 1"),
    "b": _MPTCP.format('endpoints = "10.0.2.2 signal"'),
}


class Seen(NamedTuple):
    """A packet at an interface."""

    at: int
    end: str
    outgoing: bool
    packet: Packet


class Run:
    """A scenario that has run.

    Attributes:
        seen: what has passed the interfaces of both links, in order, both ends.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.seen: list[Seen] = []
        for link in simulation.topology.links.values():
            for interface in (link.a, link.b):
                interface.tap = self._tap(interface.label.replace(".", ":"))

    def _tap(self, end: str) -> Any:
        return lambda packet, now, outgoing: self.seen.append(Seen(now, end, outgoing, packet))

    def link(self, name: str = "one") -> Link:
        return self.simulation.topology.links[name]

    def box(self, number: int = 0, link: str = "one") -> Middlebox:
        return self.link(link).middleboxes[number]

    def segments(self, end: str, outgoing: bool) -> list[Segment]:
        """Return the segments that an end has sent or got."""
        return [
            seen.packet
            for seen in self.seen
            if seen.end == end and seen.outgoing == outgoing and isinstance(seen.packet, Segment)
        ]

    @property
    def flow(self) -> Any:
        return self.simulation.flows[0]

    def delivered(self) -> int:
        return 0 if self.flow.receiver is None else self.flow.receiver.delivered


def text(
    one: str = "",
    two: str = "",
    *,
    flow: str = 'bytes = "200kB"',
    a: str = "",
    b: str = "",
    seed: int = 1,
    duration: int = 20 * SECOND,
    more: str = "",
) -> str:
    """Return a scenario of two hosts with two links, in TOML."""
    return (
        TWO_HOSTS.format(one=one, two=two, flow=flow, a=a, b=b, seed=seed, duration=format_time(duration))
        + more
    )


def run(*args: Any, roundtrip: bool = False, **given: Any) -> Run:
    """Build a scenario (arguments of ``text``) and run it to its end."""
    simulation = build(loads(text(*args, **given)), roundtrip=roundtrip)
    result = Run(simulation)
    simulation.env.run(simulation.scenario.duration)
    return result
