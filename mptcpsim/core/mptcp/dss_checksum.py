"""The checksum of a DSS mapping (RFC 8684 section 3.3.1, Figure 10).

It is the Internet checksum over a pseudo header and the payload that is mapped. The
sum of 16-bit words is taken modulo 65535, where 65536 is 1: a byte string read as one
number has the same remainder, and the sums of pieces that start at even offsets add up.
"""

from __future__ import annotations

from typing import Final

_MODULUS: Final = 0xFFFF


def payload_sum(payload: bytes) -> int:
    """Return the sum of the 16-bit words of a payload; an odd last byte is padded with zero."""
    total = int.from_bytes(payload, "big") % _MODULUS
    return (total << 8) % _MODULUS if len(payload) & 1 else total


def dss_checksum(dsn: int, ssn: int, length: int, payload: int) -> int:
    """Return the checksum of a mapping.

    Zero and 65535 are the same in this arithmetic; 65535 is returned only where every
    word is zero, as the plain algorithm has it.

    Args:
        dsn: data sequence number of the mapping, all 64 bits of it.
        ssn: subflow sequence number, relative.
        length: Data-Level Length, DATA_FIN included.
        payload: ``payload_sum`` of the bytes that are mapped; 0 for none.
    """
    total = dsn + ssn + length + payload
    return -total % _MODULUS if total else _MODULUS


def checksum_is_right(dsn: int, ssn: int, length: int, payload: int, checksum: int) -> bool:
    """Return whether a mapping's checksum fits; arguments like those of ``dss_checksum``."""
    return (dsn + ssn + length + payload + checksum) % _MODULUS == 0
