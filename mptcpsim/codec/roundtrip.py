"""Round trip: every packet through its bytes, so that nothing travels but bytes.

A ``Recoder`` stands where a node receives: a packet is decoded with what its
destination knows *then*, and hops before that decode it anew. Each of them gives the
same bytes again, options and payload included, without knowing what they mean. A run
with it must be identical to one without.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

from mptcpsim.codec.checksum import finish, word_sum
from mptcpsim.codec.errors import DecodeError
from mptcpsim.codec.options import wire_length
from mptcpsim.codec.packet import decode, encode
from mptcpsim.codec.raw import (
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    RawIp,
    build_ip,
    parse_ip,
    parse_tcp,
    pseudo_header_sum,
    rebuild_tcp,
)
from mptcpsim.core.payload import content
from mptcpsim.core.segment import ACK, FourTuple, IcmpError, Packet, Segment
from mptcpsim.core.sequences import SequenceMap


class SequenceSource(Protocol):
    """What a ``Recoder`` wants of the stack that a packet is sent to."""

    def sequence_map(self, flow: FourTuple) -> SequenceMap | None:
        """Return the map of the connection for a flow as received, None without one."""


class Recoder:
    """Decodes what it encodes.

    Args:
        lookup_stack: gives the stack that owns an address, or None.
        rng: where the damage of a ``damaged`` packet hits.
        tamper: changes the bytes of every sound packet, as a middlebox may; see ``flip_byte``.
    """

    def __init__(
        self,
        lookup_stack: Callable[[str], SequenceSource | None],
        rng: random.Random,
        tamper: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._lookup_stack = lookup_stack
        self._rng = rng
        self._tamper = tamper

    def __call__(self, packet: Packet) -> Packet | None:
        """Return the packet as the bytes have it; None if ``tamper`` left no packet.

        ``next_hop`` goes on as it was: it stands for the frame around the bytes.

        A damaged packet gets one byte changed, behind its IP header, and goes on as it
        was when the checksum finds that: nobody reads what is in it.

        Raises:
            EncodeError: the packet has no bytes.
            DecodeError: a sound packet cannot be decoded; the codec is wrong.
        """
        stack = self._lookup_stack(packet.flow.dst)
        lookup = _no_connection if stack is None else stack.sequence_map
        if packet.damaged:
            try:
                found = decode(self._damaged_bytes(packet), lookup)
            except DecodeError:
                return packet
            found.next_hop = packet.next_hop
            return packet if found.damaged else found
        data = encode(packet)
        if self._tamper is None:
            found = decode(data, lookup)
            found.next_hop = packet.next_hop
            return found
        try:
            found = decode(self._tamper(data), lookup)
        except DecodeError:
            return None
        if isinstance(found, Segment):
            # An option that cannot be read any more is not written again at the next hop.
            found.size = wire_length(found)
        found.next_hop = packet.next_hop
        return found

    def _damaged_bytes(self, packet: Packet) -> bytes:
        sound = packet.clone()
        sound.damaged = False
        data = encode(sound)
        header = len(data) - len(parse_ip(data).payload)
        position = self._rng.randrange(header, len(data))
        return flip_byte(data, position, self._rng.randrange(1, 256), mend=False)


class Disagreement:
    """Lets pass what its receiver reads as it was meant, and gives it the bytes of everything else.

    A segment by reference and its bytes say the same as long as both ends mean the same
    numbers on the wire. Where a middlebox changes them, a host reads the bytes of what has not
    passed that box, of SYNs, and of ICMP errors. Arguments as for ``Recoder``.
    """

    def __init__(self, lookup_stack: Callable[[str], SequenceSource | None], rng: random.Random) -> None:
        self._lookup_stack = lookup_stack
        self._recode = Recoder(lookup_stack, rng)

    def __call__(self, packet: Packet) -> Packet | None:
        """Return the packet as its receiver reads it."""
        if isinstance(packet, Segment):
            stack = self._lookup_stack(packet.flow.dst)
            own = None if stack is None else stack.sequence_map(packet.flow)
            sent = packet.sequences
            if own is not None and own.irs == sent.iss and own.iss == sent.irs:
                return packet
        return self._recode(packet)


def _no_connection(flow: FourTuple) -> SequenceMap | None:
    return None


def flip_byte(data: bytes, position: int, mask: int = 0xFF, *, mend: bool = True) -> bytes:
    """Return a packet with the bits of ``mask`` flipped in one byte.

    With ``mend`` the checksums are made right again, so that only an integrity
    check over the content can notice.
    """
    changed = data[:position] + bytes((data[position] ^ mask,)) + data[position + 1 :]
    return mend_checksums(changed) if mend else changed


def mend_checksums(data: bytes) -> bytes:
    """Return a packet of TCP, ICMP or ICMPv6 with its checksums computed anew.

    Raises:
        DecodeError: no such headers.
    """
    ip = parse_ip(data)
    return build_ip(ip._replace(payload=_mended(ip)))


def _mended(ip: RawIp) -> bytes:
    if ip.protocol == PROTOCOL_TCP:
        return rebuild_tcp(parse_tcp(ip.payload), ip.src, ip.dst)
    data = ip.payload
    if len(data) < 4:
        raise DecodeError(f"{len(data)} bytes are too few for an ICMP header")
    data = data[:2] + bytes(2) + data[4:]
    total = word_sum(data)
    if ip.protocol != PROTOCOL_ICMP:
        total += pseudo_header_sum(ip.src, ip.dst, ip.protocol, len(data))
    return data[:2] + finish(total).to_bytes(2, "big") + data[4:]


# --- Comparison -------------------------------------------------------------------------------

PACKET_FIELDS: Final = ("flow", "size", "ecn", "ttl", "df", "damaged")
SEGMENT_FIELDS: Final = (
    "flags",
    "seq",
    "ack",
    "window",
    "length",
    "ts_val",
    "ts_ecr",
    "sack",
    "syn",
    "iss",
    "urgent",
    "dss",
    "options",
    "further_options",
)
#: What makes up the payload, in one form or the other: compared by the bytes.
CONTENT_FIELDS: Final = ("offset", "payload", "corrupt_payload")
#: ``sequences`` are compared by the numbers that they give: what they expect next is the owner's.
ERROR_FIELDS: Final = ("kind", "mtu", "quoted_flow", "quoted_seq")


def differences(one: Packet, other: Packet) -> list[str]:
    """Return a line for each field in which two packets differ; none if they are equal."""
    if type(one) is not type(other):
        return [f"type: {type(one).__name__} != {type(other).__name__}"]
    lines = _differing(one, other, PACKET_FIELDS)
    if isinstance(one, Segment) and isinstance(other, Segment):
        lines += _differing(one, other, SEGMENT_FIELDS)
        if content(one) != content(other):
            lines.append("payload: the bytes differ")
        lines += _differing_maps(one.sequences, other.sequences, bool(one.flags & ACK))
    elif isinstance(one, IcmpError) and isinstance(other, IcmpError):
        lines += _differing(one, other, ERROR_FIELDS)
        lines += _differing_maps(one.quoted_sequences, other.quoted_sequences, False)
        if encode(one) != encode(other):
            lines.append("cause: the quoted bytes differ")
    return lines


def _differing(one: Packet, other: Packet, names: tuple[str, ...]) -> list[str]:
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in names]
    return [f"{name}: {left!r} != {right!r}" for name, left, right in pairs if left != right]


def _differing_maps(one: SequenceMap, other: SequenceMap, with_ack: bool) -> list[str]:
    lines = []
    if one.wire_seq(0) != other.wire_seq(0):
        lines.append(f"sequences: iss {one.iss} != {other.iss}")
    if with_ack and one.wire_ack(0) != other.wire_ack(0):
        lines.append(f"sequences: irs {one.irs} != {other.irs}")
    return lines
