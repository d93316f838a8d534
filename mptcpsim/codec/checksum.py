"""The Internet checksum (RFC 1071).

The one's complement sum of 16-bit words is their sum modulo 65535, and a whole
buffer read as one big number has the same remainder, because 65536 = 1 modulo
65535. That is one conversion and one division, both in C.
"""

from __future__ import annotations

from typing import Final

_MODULUS: Final = 0xFFFF


def word_sum(data: bytes | memoryview) -> int:
    """Return a number congruent, modulo 65535, to the sum of the 16-bit words of ``data``.

    A last odd byte counts as the high half of a word. The number is not reduced;
    it is 0 only if every byte is.
    """
    total = int.from_bytes(data, "big")
    return total << 8 if len(data) & 1 else total


def finish(total: int) -> int:
    """Return the checksum for a sum of words: 16 bits, the one's complement."""
    return -total % _MODULUS if total else _MODULUS


def internet_checksum(data: bytes | memoryview) -> int:
    """Return the checksum of ``data``, in which the checksum field is zero."""
    return finish(word_sum(data))


def is_valid(total: int) -> bool:
    """Return whether a sum that includes the checksum field says that nothing is damaged."""
    return total % _MODULUS == 0
