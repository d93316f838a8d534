"""The TCP options of a segment.

The layouts are those of Linux, and take exactly the bytes that ``core.options``
counts: a SYN has MSS, SACK permitted, timestamps, NOP and window scale; any other
segment NOP NOP timestamps, then NOP NOP SACK. On either follow the options of MPTCP, the
DSS first, each with NOPs up to a multiple of four. Sources: RFC 9293 sections 3.1 and
3.2, RFC 7323, RFC 2018, RFC 8684.

Further options come last. A new one is an entry in ``codec.further_options``.
"""

from __future__ import annotations

import struct
from typing import Final

from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.further_options import read_further, write_further
from mptcpsim.codec.mptcp import read_mptcp, write_padded
from mptcpsim.codec.option_list import (
    MAXIMUM_SEGMENT_SIZE,
    MPTCP,
    NO_OPERATION,
    SACK,
    SACK_PERMITTED,
    TIMESTAMPS,
    WINDOW_SCALE,
    split_options,
)
from mptcpsim.core.mptcp_options import Dss, MptcpOption, mptcp_length
from mptcpsim.core.options import (
    OPTION_SPACE,
    TIMESTAMPS_LENGTH,
    further_length,
    sack_length,
    syn_options_length,
)
from mptcpsim.core.segment import SYN, TCP_HEADER, Segment, SynOptions, TcpOption, ip_header_length, is_ipv6
from mptcpsim.core.sequences import UNKNOWN, SequenceMap

#: A larger shift count is read as this one (RFC 7323 section 2.3).
MAXIMUM_WINDOW_SCALE: Final = 14

# RFC 9293 section 3.7.1, MUST-15: the peer's MSS when its SYN does not say.
_DEFAULT_MSS_IPV4: Final = 536
_DEFAULT_MSS_IPV6: Final = 1220

_PADDED_TIMESTAMPS: Final = struct.Struct("!III")
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
_NOP_NOP_TIMESTAMPS_BYTES: Final = bytes.fromhex("0101080a")
_TWO_NUMBERS: Final = struct.Struct("!II")


def option_length(segment: Segment) -> int:
    """Return the bytes of options that a segment carries, padding included."""
    timestamps = segment.ts_val != UNKNOWN
    if segment.syn is not None:
        length = syn_options_length(segment.syn, timestamps)
    else:
        length = TIMESTAMPS_LENGTH if timestamps else 0
    length += sack_length(len(segment.sack) if segment.sack else 0)
    return length + mptcp_length(segment.dss, segment.options) + further_length(segment.further_options)


def wire_length(segment: Segment) -> int:
    """Return the length in bytes of the IP packet that a segment is encoded as."""
    return ip_header_length(segment.flow.dst) + TCP_HEADER + option_length(segment) + segment.length


def write_options(segment: Segment) -> bytes:
    """Return the option area of a segment.

    Raises:
        EncodeError: options of a SYN on another segment, more than 40 bytes, or an option
            that ``write_mptcp`` or ``write_further`` refuses.
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
    if segment.dss is not None:
        area += write_padded(segment.dss)
    if segment.options is not None:
        area += b"".join(map(write_padded, segment.options))
    if segment.further_options is not None:
        area += b"".join(map(write_further, segment.further_options))
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
    them are passed over (RFC 9293, MUST-6), those of MPTCP that have no known layout too.
    Of two of a kind the last one counts. But of MPTCP all are kept, in ``options``
    even a second DSS: which of them mean something is for the connection to say.

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
    others: list[MptcpOption] = []
    further: list[TcpOption] = []
    for kind, body in split_options(area):
        length = len(body)
        if kind == TIMESTAMPS and length == 8:
            segment.ts_val, segment.ts_ecr = _TWO_NUMBERS.unpack(body)
        elif kind == SACK and length >= 8 and length & 7 == 0:
            relative = numbers.relative_ack
            segment.sack = tuple(
                (relative(left), relative(right)) for left, right in _TWO_NUMBERS.iter_unpack(body)
            )
        elif kind == MPTCP:
            try:
                option = read_mptcp(body, segment.flags)
            except DecodeError:
                continue
            if isinstance(option, Dss) and segment.dss is None:
                segment.dss = option
            else:
                others.append(option)
        elif is_syn and kind == MAXIMUM_SEGMENT_SIZE and length == 2:
            mss = int.from_bytes(body, "big")
        elif is_syn and kind == WINDOW_SCALE and length == 1:
            window_scale = min(body[0], MAXIMUM_WINDOW_SCALE)
        elif is_syn and kind == SACK_PERMITTED and length == 0:
            sack_permitted = True
        elif (found := read_further(kind, body)) is not None:
            further.append(found)
    if others:
        segment.options = tuple(others)
    if further:
        segment.further_options = tuple(further)
    if mss != UNKNOWN or window_scale != UNKNOWN or sack_permitted:
        if mss == UNKNOWN:
            mss = _DEFAULT_MSS_IPV6 if is_ipv6(segment.flow.dst) else _DEFAULT_MSS_IPV4
        segment.syn = SynOptions(mss, window_scale, sack_permitted)
