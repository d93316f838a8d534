"""The bytes of simulated payload: a fixed function of the position in the stream.

A segment carries (offset, length), or the bytes themselves if it was decoded from
some. Where bytes are needed, the 64-bit word
number ``n`` of the stream is a mixed form of ``n``: different words differ, so
that a shift, a swap or a repetition within a stream shows. The mixing is the
finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014), a bijection of 64-bit words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from mptcpsim.core.segment import Segment

_WORD: Final = 8

#: Words are made a block at a time: streams are read in order, and numpy likes long arrays.
BLOCK: Final = 1 << 16

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=64)
def _block(number: int) -> bytes:
    first = number * (BLOCK // _WORD) + 1
    words = np.arange(BLOCK // _WORD, dtype=np.uint64) + np.uint64(first & 0xFFFFFFFFFFFFFFFF)
    words *= _STEP
    words ^= words >> np.uint64(30)
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words.astype(">u8").tobytes()


def pattern(offset: int, length: int) -> bytes:
    """Return ``length`` bytes of the stream from ``offset`` on.

    An offset below 0 (a keepalive probe before the first byte, RFC 9293 section
    3.8.4) has bytes too.
    """
    number, start = divmod(offset, BLOCK)
    end = start + length
    if end <= BLOCK:
        return _block(number)[start:end]
    parts = [_block(number)[start:]]
    end -= BLOCK
    while end > 0:
        number += 1
        parts.append(_block(number)[:end])
        end -= BLOCK
    return b"".join(parts)


def content(segment: Segment) -> bytes:
    """Return the payload of a segment, of whichever kind it is."""
    if not segment.length:
        return b""
    data = segment.payload
    if data is None:
        data = pattern(segment.offset, segment.length)
    if segment.corrupt_payload:
        return bytes((data[0] ^ 0xFF,)) + data[1:]
    return data


def part_of(segment: Segment, left: int, right: int) -> bytes:
    """Return the bytes [left, right) of a segment without SYN, by relative sequence numbers."""
    if segment.corrupt_payload:
        return content(segment)[left - segment.seq : right - segment.seq]
    data = segment.payload
    if data is None:
        return pattern(segment.offset + left - segment.seq, right - left)
    return data if right - left == segment.length else data[left - segment.seq : right - segment.seq]


def content_is(segment: Segment, offset: int) -> bool:
    """Return whether the payload of a segment is that of the stream from ``offset`` on."""
    if segment.corrupt_payload:
        return False
    data = segment.payload
    if data is None:
        return segment.offset == offset
    return data == pattern(offset, segment.length)


def part_is(segment: Segment, left: int, right: int, offset: int) -> bool:
    """Return whether the bytes [left, right) of a segment are those of the stream from ``offset`` on.

    Args:
        segment: the segment, which has no SYN.
        left: relative sequence number of the first of the bytes.
        right: relative sequence number behind the last.
        offset: where in the stream the byte ``left`` has to be.
    """
    skipped = left - segment.seq
    if segment.corrupt_payload and not skipped:
        return False
    data = segment.payload
    if data is None:
        return segment.offset + skipped == offset
    return data[skipped : right - segment.seq] == pattern(offset, right - left)
