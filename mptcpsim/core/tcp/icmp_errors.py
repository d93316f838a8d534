"""How a TCP connection reacts to ICMP errors (RFC 1122 section 4.2.3.9, RFC 1191, RFC 8201, RFC 5927)."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    IcmpError,
    is_ipv6,
)
from mptcpsim.core.sequences import unwrap
from mptcpsim.core.tcp.endpoint import TcpEndpoint
from mptcpsim.core.tcp.states import SYN_SENT
from mptcpsim.units import NEVER

#: No path MTU is taken to be smaller: a plateau of RFC 1191 section 7, and a defence (RFC 5927 section 7.2).
_MIN_MTU_IPV4: Final = 296
#: RFC 8200 section 5.
_MIN_MTU_IPV6: Final = 1280

#: RFC 1191 section 7: the MTUs of links that there are, in groups, down to the floor.
_PLATEAUS: Final = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, _MIN_MTU_IPV4)


def receive_icmp(tcp: TcpEndpoint, error: IcmpError, now: int) -> None:
    """Take an ICMP error about a segment of ours."""
    sender = tcp.sender
    quoted = error.quoted_seq
    if error.quoted_sequences.iss != tcp.sequences.iss:
        # Another incarnation of the connection has sent it: the number on the wire decides.
        quoted = unwrap(error.quoted_sequences.wire_seq(quoted) - tcp.sequences.iss, sender.una)
    if not sender.una <= quoted < max(sender.nxt, sender.window_probe.end):
        # RFC 5927 section 4.1: not about anything in flight.
        return
    if error.kind == ICMP_FRAGMENTATION_NEEDED:
        if tcp.config.path_mtu_discovery:
            tcp.on_path_mtu(_path_mtu(error), now)
    elif tcp.state == SYN_SENT and error.kind in (ICMP_PORT_UNREACHABLE, ICMP_PROTOCOL_UNREACHABLE):
        tcp.finish("connection refused", now)
    else:
        tcp.on_soft_error(error.kind)


def _path_mtu(error: IcmpError) -> int:
    """Return the path MTU that an error reports; ``NEVER`` if it reports none.

    A router that does not implement RFC 1191 leaves the field 0. Then the next plateau below the length of
    the packet that was too big is tried (section 5). With IPv6, an MTU below the minimum link MTU "must be
    discarded" (RFC 8201 section 4).
    """
    if is_ipv6(error.quoted_flow.dst):
        return error.mtu if error.mtu >= _MIN_MTU_IPV6 else NEVER
    if error.mtu == 0:
        for plateau in _PLATEAUS:
            if plateau < error.cause.size:
                return plateau
    return max(error.mtu, _MIN_MTU_IPV4)
