"""What the applications of a machine write at each place of a stream: no byte is that of the pattern."""

from __future__ import annotations

from mptcpsim.core.payload import pattern

_OTHER = bytes(byte ^ 0x5A for byte in range(256))


def other_bytes(offset: int, length: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on."""
    return pattern(offset, length).translate(_OTHER)
