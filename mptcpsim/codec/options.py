"""TCP options: the list in general, and those of a segment.

The layouts are those of Linux, and take exactly the bytes that ``core.options``
counts: a SYN has MSS, SACK permitted, timestamps, NOP and window scale; any other
segment NOP NOP timestamps, then NOP NOP SACK. Sources: RFC 9293 sections 3.1 and
3.2, RFC 7323, RFC 2018.

A new option is a case in ``write_options`` and one in ``read_options``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from mptcpsim.codec.errors import EncodeError
from mptcpsim.core.options import OPTION_SPACE, TIMESTAMPS_LENGTH, sack_length, syn_options_length
from mptcpsim.core.segment import SYN, TCP_HEADER, Segment, SynOptions, ip_header_length, is_ipv6
from mptcpsim.core.sequences import UNKNOWN, SequenceMap

END_OF_LIST: Final = 0
NO_OPERATION: Final = 1
MAXIMUM_SEGMENT_SIZE: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMPS: Final = 8
MPTCP: Final = 30

#: A larger shift count is read as this one (RFC 7323 section 2.3).
MAXIMUM_WINDOW_SCALE: Final = 14

# RFC 9293 section 3.7.1, MUST-15: the peer's MSS when its SYN does not say.
_DEFAULT_MSS_IPV4: Final = 536
_DEFAULT_MSS_IPV6: Final = 1220

_PADDED_TIMESTAMPS: Final = struct.Struct("!III")
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
_NOP_NOP_TIMESTAMPS_BYTES: Final = bytes.fromhex("0101080a")
_TWO_NUMBERS: Final = struct.Struct("!II")


# --- The list ---------------------------------------------------------------------------------


def split_options(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, body) for each option of an option area.

    ``NO_OPERATION`` has no body; ``END_OF_LIST`` comes last, its body is the padding.
    An illegal length (below 2, or past the end) ends the list without an error, as in
    Linux: the segment counts, what cannot be read does not (RFC 9293, MUST-7).
    """
    position, end = 0, len(area)
    while position < end:
        kind = area[position]
        if kind == NO_OPERATION:
            yield kind, b""
            position += 1
            continue
        if kind == END_OF_LIST:
            yield kind, area[position + 1 :]
            return
        if position + 1 >= end:
            return
        length = area[position + 1]
        if length < 2 or position + length > end:
            return
        yield kind, area[position + 2 : position + length]
        position += length


def join_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the option area for (kind, body) pairs, as ``split_options`` yields them.

    Raises:
        EncodeError: the area is longer than 40 bytes or not a multiple of 4.
    """
    area = b"".join(
        bytes((kind,)) + body if kind in (END_OF_LIST, NO_OPERATION) else bytes((kind, len(body) + 2)) + body
        for kind, body in options
    )
    if len(area) > OPTION_SPACE or len(area) & 3:
        raise EncodeError(f"{len(area)} bytes of TCP options: at most {OPTION_SPACE}, in steps of 4")
    return area


# --- The options of a segment -----------------------------------------------------------------


def option_length(syn: SynOptions | None, timestamps: bool, sack_blocks: int) -> int:
    """Return the bytes of options that a segment with these carries, padding included."""
    if syn is not None:
        length = syn_options_length(syn, timestamps)
    else:
        length = TIMESTAMPS_LENGTH if timestamps else 0
    return length + sack_length(sack_blocks)


def wire_length(segment: Segment) -> int:
    """Return the length in bytes of the IP packet that a segment is encoded as."""
    sack = segment.sack
    options = option_length(segment.syn, segment.ts_val != UNKNOWN, len(sack) if sack else 0)
    return ip_header_length(segment.flow.dst) + TCP_HEADER + options + segment.length


def write_options(segment: Segment) -> bytes:
    """Return the option area of a segment.

    Raises:
        EncodeError: options of a SYN on another segment, or more than 40 bytes.
    """
    syn = segment.syn
    if syn is not None:
        if not segment.flags & SYN:
            raise EncodeError(f"{segment!r} is no SYN, and has the options of one")
        area = _syn_options(syn, segment.ts_val, segment.ts_ecr)
    elif segment.ts_val != UNKNOWN:
        area = _PADDED_TIMESTAMPS.pack(_NOP_NOP_TIMESTAMPS, segment.ts_val, segment.ts_ecr)
    else:
        area = b""
    if segment.sack:
        # The blocks lie in the sequence space of the peer, like an acknowledgment.
        wire = segment.sequences.wire_ack
        area += bytes((NO_OPERATION, NO_OPERATION, SACK, 2 + 8 * len(segment.sack)))
        for left, right in segment.sack:
            area += _TWO_NUMBERS.pack(wire(left), wire(right))
    if len(area) > OPTION_SPACE:
        raise EncodeError(f"{segment!r} has {len(area)} bytes of options, more than {OPTION_SPACE}")
    return area


def _syn_options(syn: SynOptions, ts_val: int, ts_ecr: int) -> bytes:
    area = struct.pack("!BBH", MAXIMUM_SEGMENT_SIZE, 4, syn.mss)
    permitted = bytes((SACK_PERMITTED, 2))
    padding = bytes((NO_OPERATION, NO_OPERATION))
    if ts_val != UNKNOWN:
        area += permitted if syn.sack_permitted else padding
        area += struct.pack("!BBII", TIMESTAMPS, 10, ts_val, ts_ecr)
    elif syn.sack_permitted:
        area += padding + permitted
    if syn.window_scale != UNKNOWN:
        area += struct.pack("!BBBB", NO_OPERATION, WINDOW_SCALE, 3, syn.window_scale)
    return area


def read_options(area: bytes, segment: Segment, numbers: SequenceMap) -> None:
    """Put what an option area says into a segment.

    Options that are unknown, of a wrong length, or on a segment that may not carry
    them are passed over (RFC 9293, MUST-6); of two of a kind the last one counts.

    Args:
        area: the bytes between the fixed header and the payload.
        segment: a segment whose other fields are set.
        numbers: the receiver's map.
    """
    if len(area) == TIMESTAMPS_LENGTH and area.startswith(_NOP_NOP_TIMESTAMPS_BYTES):
        _, segment.ts_val, segment.ts_ecr = _PADDED_TIMESTAMPS.unpack(area)
        return
    is_syn = bool(segment.flags & SYN)
    mss = window_scale = UNKNOWN
    sack_permitted = False
    for kind, body in split_options(area):
        length = len(body)
        if kind == TIMESTAMPS and length == 8:
            segment.ts_val, segment.ts_ecr = _TWO_NUMBERS.unpack(body)
        elif kind == SACK and length >= 8 and length & 7 == 0:
            relative = numbers.relative_ack
            segment.sack = tuple(
                (relative(left), relative(right)) for left, right in _TWO_NUMBERS.iter_unpack(body)
            )
        elif is_syn and kind == MAXIMUM_SEGMENT_SIZE and length == 2:
            mss = int.from_bytes(body, "big")
        elif is_syn and kind == WINDOW_SCALE and length == 1:
            window_scale = min(body[0], MAXIMUM_WINDOW_SCALE)
        elif is_syn and kind == SACK_PERMITTED and length == 0:
            sack_permitted = True
    if mss != UNKNOWN or window_scale != UNKNOWN or sack_permitted:
        if mss == UNKNOWN:
            mss = _DEFAULT_MSS_IPV6 if is_ipv6(segment.flow.dst) else _DEFAULT_MSS_IPV4
        segment.syn = SynOptions(mss, window_scale, sack_permitted)
