"""IP and TCP headers as they stand on the wire, with nothing interpreted.

``parse`` and ``build`` are inverse to each other to the last byte, for headers
of any origin: the layer below the simulator's segments, and the one to read
captures with. IPv4: RFC 791; IPv6: RFC 8200; TCP: RFC 9293 section 3.1.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from mptcpsim.codec.checksum import finish, is_valid, word_sum
from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.core.segment import IPV4_HEADER, IPV6_HEADER, TCP_HEADER, Packet

PROTOCOL_ICMP: Final = 1
PROTOCOL_TCP: Final = 6
PROTOCOL_ICMPV6: Final = 58

#: The flag of the IPv4 header, in the 16 bits that it shares with the fragment offset.
DONT_FRAGMENT: Final = 0x4000
_FRAGMENT_BITS: Final = 0x3FFF

_IPV4: Final = struct.Struct("!BBHHHBBH")
_IPV6: Final = struct.Struct("!IHBB")
_TCP: Final = struct.Struct("!HHIIHHHH")


class RawIp(NamedTuple):
    """An IPv4 or IPv6 header and what follows it.

    Attributes:
        version: 4 or 6.
        src, dst: addresses in canonical text form.
        protocol: protocol, or next header. IPv6 extension headers are not followed.
        ttl: time to live, or hop limit.
        traffic_class: the byte with DSCP and ECN.
        identification: identification field of IPv4; flow label of IPv6.
        fragment: flags and fragment offset of IPv4, 16 bits; 0 for IPv6.
        options: options of the IPv4 header.
        length: bytes of the whole packet as the header says.
        payload: what follows the header; shorter than the header says if the packet is cut off.
        intact: the header checksum is right (always, for IPv6, which has none).
    """

    version: int
    src: str
    dst: str
    protocol: int
    ttl: int
    traffic_class: int
    identification: int
    fragment: int
    options: bytes
    length: int
    payload: bytes
    intact: bool

    @property
    def header_length(self) -> int:
        """Bytes of the header."""
        return IPV6_HEADER if self.version == 6 else IPV4_HEADER + len(self.options)

    @property
    def is_cut_off(self) -> bool:
        """Whether bytes at the end are missing, as in a capture with a snap length."""
        return len(self.payload) < self.length - self.header_length

    @property
    def is_fragment(self) -> bool:
        """Whether this is only a part of an IPv4 packet."""
        return self.fragment & _FRAGMENT_BITS != 0


class RawTcp(NamedTuple):
    """A TCP header and its payload.

    Attributes:
        flags: control bits, and above them the four reserved bits.
        options: the bytes between the fixed header and the payload.
    """

    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    checksum: int
    urgent: int
    options: bytes
    payload: bytes


@lru_cache(maxsize=1 << 12)
def address_bytes(address: str) -> bytes:
    """Return an address of either family as 4 or 16 bytes.

    Raises:
        EncodeError: the text is not an address.
    """
    try:
        return ip_address(address).packed
    except ValueError as error:
        raise EncodeError(str(error)) from None


@lru_cache(maxsize=1 << 12)
def _address_pair(src: str, dst: str) -> tuple[bytes, int]:
    """Return both addresses as they follow each other in a header, and the sum of their words."""
    source, destination = address_bytes(src), address_bytes(dst)
    if len(source) != len(destination):
        raise EncodeError(f"a packet from {src} to {dst} would belong to two address families")
    return source + destination, word_sum(source + destination) % 0xFFFF


@lru_cache(maxsize=1 << 12)
def _ipv4_text(packed: bytes) -> tuple[str, str]:
    return str(IPv4Address(packed[:4])), str(IPv4Address(packed[4:]))


@lru_cache(maxsize=1 << 12)
def _ipv6_text(packed: bytes) -> tuple[str, str]:
    return str(IPv6Address(packed[:16])), str(IPv6Address(packed[16:]))


def pseudo_header_sum(src: str, dst: str, protocol: int, length: int) -> int:
    """Return the sum of the words of the pseudo header over ``length`` bytes.

    RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6: the words are the same.
    """
    return _address_pair(src, dst)[1] + protocol + length


def ipv4_header(
    src: str,
    dst: str,
    protocol: int,
    length: int,
    ttl: int,
    traffic_class: int,
    identification: int,
    fragment: int,
    options: bytes = b"",
) -> bytes:
    """Return an IPv4 header with its checksum; ``length`` is that of the whole packet."""
    addresses, total = _address_pair(src, dst)
    first = 0x45 + (len(options) >> 2)
    total += (first << 8) + traffic_class + length + identification + fragment + (ttl << 8) + protocol
    if options:
        total += word_sum(options)
    fixed = _IPV4.pack(first, traffic_class, length, identification, fragment, ttl, protocol, -total % 0xFFFF)
    return fixed + addresses + options


def ipv6_header(
    src: str, dst: str, protocol: int, length: int, ttl: int, traffic_class: int, flow_label: int
) -> bytes:
    """Return an IPv6 header; ``length`` is that of the whole packet."""
    addresses = _address_pair(src, dst)[0]
    first = 0x60000000 | traffic_class << 20 | flow_label
    return _IPV6.pack(first, length - IPV6_HEADER, protocol, ttl) + addresses


def packet_header(packet: Packet, protocol: int, payload_length: int, identification: int) -> bytes:
    """Return the IP header of a packet whose payload has ``payload_length`` bytes.

    The identification counts only for an IPv4 packet that may be fragmented: without
    fragmentation the field says nothing and is 0 (RFC 6864 section 4.1).

    Raises:
        EncodeError: ``packet.size`` is not the length of the packet.
    """
    flow = packet.flow
    is_ipv6 = ":" in flow.dst
    total = payload_length + (IPV6_HEADER if is_ipv6 else IPV4_HEADER)
    if total != packet.size:
        raise EncodeError(f"{packet!r} says that it has {packet.size} bytes, and has {total}")
    if is_ipv6:
        return ipv6_header(flow.src, flow.dst, protocol, total, packet.ttl, packet.ecn, 0)
    if packet.df:
        return ipv4_header(flow.src, flow.dst, protocol, total, packet.ttl, packet.ecn, 0, DONT_FRAGMENT)
    return ipv4_header(flow.src, flow.dst, protocol, total, packet.ttl, packet.ecn, identification, 0)


def parse_ip(data: bytes) -> RawIp:
    """Read an IP packet; bytes after the end that its header names are left out.

    Raises:
        DecodeError: no IP header, or one that contradicts itself.
    """
    if len(data) < IPV4_HEADER:
        raise DecodeError(f"{len(data)} bytes are too few for an IP header")
    version = data[0] >> 4
    if version == 4:
        first, traffic_class, length, identification, fragment, ttl, protocol, _ = _IPV4.unpack_from(data)
        header = (first & 15) << 2
        if header < IPV4_HEADER or header > length or header > len(data):
            raise DecodeError(f"an IPv4 header of {header} bytes in a packet of {length}, {len(data)} there")
        src, dst = _ipv4_text(data[12:20])
        return RawIp(
            4,
            src,
            dst,
            protocol,
            ttl,
            traffic_class,
            identification,
            fragment,
            data[20:header],
            length,
            data[header:length],
            is_valid(word_sum(data[:header])),
        )
    if version == 6:
        if len(data) < IPV6_HEADER:
            raise DecodeError(f"{len(data)} bytes are too few for an IPv6 header")
        word, payload_length, protocol, ttl = _IPV6.unpack_from(data)
        src, dst = _ipv6_text(data[8:40])
        length = IPV6_HEADER + payload_length
        return RawIp(
            6,
            src,
            dst,
            protocol,
            ttl,
            word >> 20 & 0xFF,
            word & 0xFFFFF,
            0,
            b"",
            length,
            data[IPV6_HEADER:length],
            True,
        )
    raise DecodeError(f"IP version {version}")


def build_ip(raw: RawIp) -> bytes:
    """Return the bytes of an IP packet; the header checksum is computed."""
    if raw.version == 6:
        header = ipv6_header(
            raw.src, raw.dst, raw.protocol, raw.length, raw.ttl, raw.traffic_class, raw.identification
        )
    else:
        header = ipv4_header(
            raw.src,
            raw.dst,
            raw.protocol,
            raw.length,
            raw.ttl,
            raw.traffic_class,
            raw.identification,
            raw.fragment,
            raw.options,
        )
    return header + raw.payload


def parse_tcp(data: bytes) -> RawTcp:
    """Read a TCP header and its payload; the checksum is not looked at.

    Raises:
        DecodeError: the header is cut off, or its data offset is impossible.
    """
    if len(data) < TCP_HEADER:
        raise DecodeError(f"{len(data)} bytes are too few for a TCP header")
    sport, dport, seq, ack, offset_flags, window, checksum, urgent = _TCP.unpack_from(data)
    header = offset_flags >> 12 << 2
    if header < TCP_HEADER or header > len(data):
        raise DecodeError(f"a TCP header of {header} bytes in a segment of {len(data)}")
    return RawTcp(
        sport,
        dport,
        seq,
        ack,
        offset_flags & 0xFFF,
        window,
        checksum,
        urgent,
        data[TCP_HEADER:header],
        data[header:],
    )


def build_tcp(
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    urgent: int,
    options: bytes,
    payload: bytes,
    src: str,
    dst: str,
) -> bytes:
    """Return the bytes of a TCP segment; the checksum is computed for these addresses."""
    offset_flags = (TCP_HEADER + len(options)) << 10 | flags
    head = _TCP.pack(sport, dport, seq, ack, offset_flags, window, 0, urgent)
    data = head + options + payload
    total = word_sum(data) + _address_pair(src, dst)[1] + PROTOCOL_TCP + len(data)
    return b"".join((head[:16], finish(total).to_bytes(2, "big"), data[18:]))


def rebuild_tcp(raw: RawTcp, src: str, dst: str) -> bytes:
    """Return the bytes of a TCP segment that was read; the checksum is computed anew."""
    return build_tcp(
        raw.sport,
        raw.dport,
        raw.seq,
        raw.ack,
        raw.flags,
        raw.window,
        raw.urgent,
        raw.options,
        raw.payload,
        src,
        dst,
    )


def transport_is_intact(ip: RawIp) -> bool:
    """Return whether the checksum over the payload of an IP packet is right.

    TCP and ICMPv6 count the pseudo header, ICMP does not. The payload must be complete.
    """
    total = word_sum(ip.payload)
    if ip.protocol != PROTOCOL_ICMP:
        total += pseudo_header_sum(ip.src, ip.dst, ip.protocol, len(ip.payload))
    return is_valid(total)
