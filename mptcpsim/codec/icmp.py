"""ICMP and ICMPv6 errors about TCP segments: RFC 792, RFC 1191, RFC 4443.

An error quotes the segment that caused it: the IP header and 8 bytes for IPv4
(ports and sequence number), as much as fits into 1280 bytes for IPv6. The end
that gets the error sent that segment, so its own map makes the quoted number
relative.
"""

from __future__ import annotations

import struct
from typing import Final

from mptcpsim.codec.checksum import finish, word_sum
from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.raw import (
    DONT_FRAGMENT,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    RawIp,
    RawTcp,
    packet_header,
    parse_ip,
    parse_tcp,
    pseudo_header_sum,
    transport_is_intact,
)
from mptcpsim.codec.segments import Lookup, encode_segment, read_segment
from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    TCP_HEADER,
    FourTuple,
    IcmpError,
    Segment,
    ip_header_length,
    is_ipv6,
)

_HEADER: Final = struct.Struct("!BBHI")
_PORTS_AND_SEQ: Final = struct.Struct("!HHI")

# (type, code) as written.
_IPV4: Final = {
    ICMP_NET_UNREACHABLE: (3, 0),
    ICMP_HOST_UNREACHABLE: (3, 1),
    ICMP_PROTOCOL_UNREACHABLE: (3, 2),
    ICMP_PORT_UNREACHABLE: (3, 3),
    ICMP_FRAGMENTATION_NEEDED: (3, 4),
    ICMP_TIME_EXCEEDED: (11, 0),
}
_IPV6: Final = {
    ICMP_NET_UNREACHABLE: (1, 0),
    ICMP_HOST_UNREACHABLE: (1, 3),
    ICMP_PORT_UNREACHABLE: (1, 4),
    ICMP_FRAGMENTATION_NEEDED: (2, 0),
    ICMP_TIME_EXCEEDED: (3, 0),
    ICMP_PROTOCOL_UNREACHABLE: (4, 1),
}
_IPV4_KINDS: Final = {value: kind for kind, value in _IPV4.items()}
_IPV6_KINDS: Final = {value: kind for kind, value in _IPV6.items()}

#: "Unrecognized Next Header": the pointer shows that field (RFC 4443 section 3.4).
_NEXT_HEADER_OFFSET: Final = 6


def type_and_code(kind: str, ipv6: bool) -> tuple[int, int]:
    """Return type and code of an error, in ICMP (RFC 792) or in ICMPv6 (RFC 4443)."""
    return (_IPV6 if ipv6 else _IPV4)[kind]


def encode_error(error: IcmpError) -> bytes:
    """Return the IP packet of an ICMP error, checksums right unless it is ``damaged``.

    Raises:
        EncodeError: a field is out of its range, or ``size`` is not the length.
    """
    flow = error.flow
    over_ipv6 = is_ipv6(flow.dst)
    kind, code = type_and_code(error.kind, over_ipv6)
    if not over_ipv6 and error.mtu > 0xFFFF:
        raise EncodeError(f"an MTU of {error.mtu} bytes does not fit into an ICMP error")
    rest = _NEXT_HEADER_OFFSET if over_ipv6 and kind == 4 else error.mtu
    quote = error.quote
    if quote is None:
        quote = encode_segment(error.cause)[: error.size - ip_header_length(flow.dst) - _HEADER.size]
    protocol = PROTOCOL_ICMPV6 if over_ipv6 else PROTOCOL_ICMP
    try:
        data = _HEADER.pack(kind, code, 0, rest) + quote
        header = packet_header(error, protocol, len(data), error.quoted_seq & 0xFFFF)
    except struct.error as problem:
        raise EncodeError(f"ICMP {error.kind}: a field does not fit into its place ({problem})") from None
    total = word_sum(data)
    if over_ipv6:
        total += pseudo_header_sum(flow.src, flow.dst, protocol, len(data))
    data = data[:2] + finish(total).to_bytes(2, "big") + data[4:]
    if error.damaged:
        data = data[:-1] + bytes((data[-1] ^ 1,))
    return header + data


def decode_error(ip: RawIp, lookup: Lookup) -> IcmpError:
    """Return the ICMP error in an IP packet that is complete; a wrong checksum makes it ``damaged``.

    Raises:
        DecodeError: another ICMP message, or one that is not about a TCP segment of the
            host that it is sent to.
    """
    data = ip.payload
    if len(data) < _HEADER.size:
        raise DecodeError(f"{len(data)} bytes are too few for an ICMP error")
    number, code, _, rest = _HEADER.unpack_from(data)
    kind = (_IPV4_KINDS if ip.protocol == PROTOCOL_ICMP else _IPV6_KINDS).get((number, code))
    if kind is None:
        raise DecodeError(f"ICMP type {number} code {code} is no error about a segment")
    quoted = parse_ip(data[_HEADER.size :])
    if quoted.version != ip.version or quoted.protocol != PROTOCOL_TCP or quoted.src != ip.dst:
        raise DecodeError("an ICMP error that does not quote a TCP segment of its receiver")
    mtu = 0
    if kind == ICMP_FRAGMENTATION_NEEDED:
        # RFC 1191 section 4: for IPv4 the upper half is unused.
        mtu = rest if ip.version == 6 else rest & 0xFFFF
    error = IcmpError(ip.src, _quoted_segment(quoted, lookup), kind, mtu)
    error.size = ip.length
    error.ecn = ip.traffic_class & 3
    error.ttl = ip.ttl
    error.df = ip.version == 6 or bool(ip.fragment & DONT_FRAGMENT)
    if ip.intact and transport_is_intact(ip):
        error.quote = data[_HEADER.size :]
    else:
        error.damaged = True
    return error


def _quoted_segment(quoted: RawIp, lookup: Lookup) -> Segment:
    """Return the segment that an error quotes, as far as the quotation goes."""
    data = quoted.payload
    if len(data) < _PORTS_AND_SEQ.size:
        raise DecodeError(f"an ICMP error that quotes {len(data)} bytes of a TCP header")
    try:
        tcp = parse_tcp(data)
    except DecodeError:
        sport, dport, seq = _PORTS_AND_SEQ.unpack_from(data)
        tcp = RawTcp(sport, dport, seq, 0, 0, 0, 0, 0, b"", b"")
    if quoted.length < quoted.header_length + TCP_HEADER + len(tcp.options):
        raise DecodeError(f"an ICMP error that quotes a TCP segment of {quoted.length} bytes")
    flow = FourTuple(quoted.src, tcp.sport, quoted.dst, tcp.dport)
    # The receiver of the error is the sender of the segment: its map, seen from the other side.
    own = lookup(flow.reverse())
    return read_segment(quoted, tcp, flow, None if own is None else own.reverse())
