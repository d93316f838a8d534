"""The list of TCP options: kinds and bodies, whatever they say (RFC 9293 section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mptcpsim.codec.errors import EncodeError
from mptcpsim.core.options import OPTION_SPACE

END_OF_LIST: Final = 0
NO_OPERATION: Final = 1
MAXIMUM_SEGMENT_SIZE: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMPS: Final = 8
MPTCP: Final = 30


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
