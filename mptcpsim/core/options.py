"""How much room TCP options take; the codec lays them out in exactly this many bytes."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.segment import SynOptions, TcpOption
from mptcpsim.core.sequences import UNKNOWN

#: The data offset field allows this much after the fixed header (RFC 9293 section 3.1).
OPTION_SPACE: Final = 40

#: NOP NOP kind length TSval TSecr (RFC 7323 appendix A).
TIMESTAMPS_LENGTH: Final = 12

#: NOP NOP kind length, then eight bytes a block (RFC 2018 section 3).
SACK_HEADER: Final = 4
SACK_BLOCK: Final = 8


def further_length(options: tuple[TcpOption, ...] | None) -> int:
    """Return the bytes of further TCP options, each padded to a multiple of four."""
    length = 0
    if options is not None:
        for option in options:
            length += (option.wire_length() + 3) & ~3
    return length


def syn_options_length(syn: SynOptions, timestamps: bool) -> int:
    """Return the bytes of options on a SYN, padded to a multiple of four."""
    length = 4
    if syn.window_scale != UNKNOWN:
        length += 3
    if syn.sack_permitted:
        length += 2
    if timestamps:
        length += 10
    return (length + 3) & ~3


def sack_length(blocks: int) -> int:
    """Return the bytes of a SACK option with its padding; none without blocks."""
    return SACK_HEADER + SACK_BLOCK * blocks if blocks else 0


def sack_blocks_that_fit(used: int) -> int:
    """Return how many SACK blocks fit beside ``used`` bytes of other options."""
    return max(0, (OPTION_SPACE - used - SACK_HEADER) // SACK_BLOCK)
