"""Packets to bytes and back: the only meaning of a packet is that of its bytes.

``encode`` takes what a host sent; ``decode`` makes of it what the receiving host
sees, from the bytes and the receiver's own sequence numbers alone.
"""

from __future__ import annotations

from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.icmp import decode_error, encode_error
from mptcpsim.codec.raw import PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, parse_ip
from mptcpsim.codec.segments import Lookup, decode_segment, encode_segment
from mptcpsim.core.segment import IcmpError, Packet, Segment


def encode(packet: Packet) -> bytes:
    """Return the bytes of an IP packet.

    Checksums are right, unless the packet is ``damaged``: then its last byte has a bit
    flipped, as its receiver finds it.

    Raises:
        EncodeError: a field is out of its range, or ``packet.size`` is not the length
            of what it is encoded as.
    """
    if isinstance(packet, Segment):
        return encode_segment(packet)
    if isinstance(packet, IcmpError):
        return encode_error(packet)
    raise EncodeError(f"{packet!r} is neither a TCP segment nor an ICMP error")


def decode(data: bytes, lookup: Lookup) -> Packet:
    """Return the segment or ICMP error in the bytes of an IP packet.

    A wrong checksum gives a packet that is ``damaged``, if its headers can be read.

    Args:
        data: the packet from its IP header on; what follows its end is left out.
        lookup: gives the receiver's map for the flow as received, or None; for an ICMP
            error the flow is the reverse of that which it quotes.

    Raises:
        DecodeError: the bytes are no such packet. No other exception comes from bytes.
    """
    ip = parse_ip(data)
    if ip.is_cut_off:
        raise DecodeError(f"{len(data)} bytes of a packet of {ip.length}")
    if ip.is_fragment:
        raise DecodeError("a fragment: nothing is reassembled here")
    if ip.protocol == PROTOCOL_TCP:
        return decode_segment(ip, lookup)
    if ip.protocol == (PROTOCOL_ICMPV6 if ip.version == 6 else PROTOCOL_ICMP):
        return decode_error(ip, lookup)
    raise DecodeError(f"protocol {ip.protocol} is none that TCP needs")
