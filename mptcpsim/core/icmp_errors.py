"""What a TCP connection makes of ICMP errors (RFC 1122 section 4.2.3.9, RFC 1191, RFC 5927)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    IcmpError,
    is_ipv6,
)
from mptcpsim.core.states import ESTABLISHED, SYN_SENT

if TYPE_CHECKING:
    from mptcpsim.core.tcp import Tcp

#: RFC 1191 section 3 and RFC 8200 section 5.
_MIN_MTU_IPV4: Final = 296
_MIN_MTU_IPV6: Final = 1280


def receive_icmp(tcp: Tcp, error: IcmpError, now: int) -> None:
    """Take an ICMP error about a segment of ours."""
    sender = tcp.sender
    if not sender.una <= error.quoted_seq < max(sender.nxt, sender.window_probe.end):
        # RFC 5927 section 4.1: not about anything in flight.
        return
    if error.kind == ICMP_FRAGMENTATION_NEEDED:
        if tcp.config.path_mtu_discovery:
            _shrink_mtu(tcp, error.mtu, now)
    elif tcp.state == SYN_SENT and error.kind in (ICMP_PORT_UNREACHABLE, ICMP_PROTOCOL_UNREACHABLE):
        tcp.count("TcpAttemptFails")
        tcp.finish("connection refused", now)
    else:
        # A soft error: remembered, and reported if the connection times out.
        tcp.soft_error = error.kind
        tcp.note("icmp", error.kind)


def _shrink_mtu(tcp: Tcp, mtu: int, now: int) -> None:
    mtu = max(mtu, _MIN_MTU_IPV6 if is_ipv6(tcp.flow.dst) else _MIN_MTU_IPV4)
    if mtu >= tcp.mtu:
        return
    tcp.mtu = mtu
    tcp.note("path mtu", f"{mtu}")
    if tcp.sender.mss == 0:
        return
    tcp.set_mss()
    sender = tcp.sender
    if tcp.state >= ESTABLISHED:
        sender.congestion.on_mss(sender.mss)
        sender.on_smaller_mss(now)
