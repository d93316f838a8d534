"""Packets of the simulation as the rules of both firewalls look at them."""

from __future__ import annotations

from typing import NamedTuple

from mptcpsim.codec.icmp import type_and_code
from mptcpsim.core.segment import FourTuple, IcmpError, Packet, Segment, is_ipv6
from mptcpsim.freebsd.addresses import FiveTuple


class Seen(NamedTuple):
    """What a firewall sees of a packet.

    Attributes:
        packet: protocol, addresses and ports.
        flags: of TCP, else 0.
        quoted: of an ICMP error: the packet that it is about.
        icmp: its type and code.
    """

    packet: FiveTuple
    flags: int = 0
    quoted: FiveTuple | None = None
    icmp: tuple[int, int] = (-1, -1)


def _five(protocol: str, flow: FourTuple) -> FiveTuple:
    return FiveTuple(protocol, flow.src, flow.sport, flow.dst, flow.dport)


def seen(packet: Packet) -> Seen:
    """Return what a firewall sees of a packet."""
    flow = packet.flow
    if isinstance(packet, Segment):
        return Seen(_five("tcp", flow), packet.flags)
    if isinstance(packet, IcmpError):
        ipv6 = is_ipv6(flow.dst)
        protocol = "icmp6" if ipv6 else "icmp"
        return Seen(
            _five(protocol, flow), 0, _five("tcp", packet.quoted_flow), type_and_code(packet.kind, ipv6)
        )
    return Seen(_five("", flow))
