"""TCP segments to IP packets and back.

The sender's ``SequenceMap`` (``segment.sequences``) makes wire numbers of the
relative ones; the receiver's makes relative ones of those on the wire. Nothing
else of either end enters: what is decoded comes from the bytes and that map.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from mptcpsim.codec.errors import EncodeError
from mptcpsim.codec.options import read_options, write_options
from mptcpsim.codec.raw import (
    DONT_FRAGMENT,
    PROTOCOL_TCP,
    RawIp,
    RawTcp,
    build_tcp,
    packet_header,
    parse_tcp,
    transport_is_intact,
)
from mptcpsim.core.payload import content
from mptcpsim.core.segment import ACK, SYN, TCP_HEADER, FourTuple, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap


def _null_map() -> SequenceMap:
    """Return a map without initial numbers: relative numbers equal those on the wire."""
    numbers = SequenceMap(0, 0)
    # In the middle of the number space nothing is unwrapped to a negative number.
    numbers.rcv_near = numbers.snd_near = 1 << 31
    return numbers


_NULL_MAP: Final = _null_map()


# --- Segment to bytes -------------------------------------------------------------------------


def encode_segment(segment: Segment) -> bytes:
    """Return the IP packet of a segment, checksums right unless it is ``damaged``.

    Without ACK the acknowledgment field is written as it stands.

    Raises:
        EncodeError: a field is out of its range, or ``size`` or ``length`` is not the length.
    """
    flow = segment.flow
    numbers = segment.sequences
    flags = segment.flags
    seq = numbers.wire_seq(segment.seq)
    ack = numbers.wire_ack(segment.ack) if flags & ACK else segment.ack
    if flags & SYN and segment.seq == 0 and segment.iss not in (UNKNOWN, seq):
        raise EncodeError(f"{segment!r} starts at {segment.iss}, its map at {seq}")
    payload = content(segment)
    if len(payload) != segment.length:
        raise EncodeError(f"{segment!r} has {len(payload)} bytes of payload")
    try:
        transport = build_tcp(
            flow.sport,
            flow.dport,
            seq,
            ack,
            flags,
            segment.window,
            segment.urgent,
            write_options(segment),
            payload,
            flow.src,
            flow.dst,
        )
        # No counter is kept here; segments long enough to be fragmented differ in seq.
        header = packet_header(segment, PROTOCOL_TCP, len(transport), (seq ^ seq >> 16) & 0xFFFF)
    except struct.error as error:
        raise EncodeError(f"{segment!r}: a field does not fit into its place ({error})") from None
    if segment.damaged:
        transport = transport[:-1] + bytes((transport[-1] ^ 1,))
    return header + transport


# --- Bytes to segment -------------------------------------------------------------------------


#: Gives the receiver's map for a flow as it is received, None without such a connection.
Lookup = Callable[[FourTuple], SequenceMap | None]


def decode_segment(ip: RawIp, lookup: Lookup) -> Segment:
    """Return the segment in an IP packet that is complete.

    A wrong checksum makes it ``damaged``, and nobody reads it. Any other segment carries its
    payload: which place of which stream that must be is for the receiver to say.

    Raises:
        DecodeError: no TCP header.
    """
    tcp = parse_tcp(ip.payload)
    flow = FourTuple(ip.src, tcp.sport, ip.dst, tcp.dport)
    receiver = lookup(flow)
    segment = read_segment(ip, tcp, flow, receiver)
    if not (ip.intact and transport_is_intact(ip)):
        segment.damaged = True
    elif segment.length:
        segment.payload = tcp.payload
    return segment


def read_segment(ip: RawIp, tcp: RawTcp, flow: FourTuple, receiver: SequenceMap | None) -> Segment:
    """Return the segment that a packet carries, without payload; the checksum is not judged.

    A SYN whose receiver does not know the sender's initial sequence number brings
    it: its relative number is 0. The segment's ``sequences`` is the receiver's map
    seen from the other side, and gives the same bytes again.

    Args:
        ip: the header of the packet.
        tcp: the header and the payload of the segment.
        flow: the four-tuple of the packet.
        receiver: the map of the end that receives it, None if there is no connection.
    """
    numbers = _NULL_MAP if receiver is None else receiver
    flags = tcp.flags & 0xFF
    sequences = numbers.reverse()
    if flags & SYN and (receiver is None or receiver.irs == UNKNOWN):
        seq = 0
        sequences.iss = tcp.seq
    else:
        seq = numbers.relative_seq(tcp.seq)
    length = ip.length - ip.header_length - TCP_HEADER - len(tcp.options)
    segment = Segment(
        flow,
        ip.length,
        sequences,
        flags,
        seq,
        numbers.relative_ack(tcp.ack) if flags & ACK else tcp.ack,
        tcp.window,
        length,
        UNKNOWN,
        UNKNOWN,
        None,
        ip.traffic_class & 3,
    )
    segment.ttl = ip.ttl
    segment.df = ip.version == 6 or bool(ip.fragment & DONT_FRAGMENT)
    segment.urgent = tcp.urgent
    if flags & SYN:
        segment.iss = tcp.seq
        if length:
            segment.offset = seq  # the first byte follows the SYN
    if tcp.options:
        read_options(tcp.options, segment, numbers)
    return segment
