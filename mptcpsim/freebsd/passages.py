"""Packets of the simulation as the rules of both firewalls look at them."""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    is_ipv6,
)
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


#: Type and code of the errors of ICMP (RFC 792) and of ICMPv6 (RFC 4443).
_ICMP: Final = {
    ICMP_NET_UNREACHABLE: (3, 0),
    ICMP_HOST_UNREACHABLE: (3, 1),
    ICMP_PROTOCOL_UNREACHABLE: (3, 2),
    ICMP_PORT_UNREACHABLE: (3, 3),
    ICMP_FRAGMENTATION_NEEDED: (3, 4),
    ICMP_TIME_EXCEEDED: (11, 0),
}
_ICMP6: Final = {
    ICMP_NET_UNREACHABLE: (1, 0),
    ICMP_HOST_UNREACHABLE: (1, 3),
    ICMP_PROTOCOL_UNREACHABLE: (4, 1),
    ICMP_PORT_UNREACHABLE: (1, 4),
    ICMP_FRAGMENTATION_NEEDED: (2, 0),
    ICMP_TIME_EXCEEDED: (3, 0),
}


def _five(protocol: str, flow: FourTuple) -> FiveTuple:
    return FiveTuple(protocol, flow.src, flow.sport, flow.dst, flow.dport)


def seen(packet: Packet) -> Seen:
    """Return what a firewall sees of a packet."""
    flow = packet.flow
    if isinstance(packet, Segment):
        return Seen(_five("tcp", flow), packet.flags)
    if isinstance(packet, IcmpError):
        protocol, numbers = ("icmp6", _ICMP6) if is_ipv6(flow.dst) else ("icmp", _ICMP)
        return Seen(_five(protocol, flow), 0, _five("tcp", packet.quoted_flow), numbers[packet.kind])
    return Seen(_five("", flow))
