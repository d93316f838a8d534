"""Relative, unwrapped sequence numbers and the 32-bit numbers on the wire.

The core counts from 0 (the SYN) and never wraps. One ``SequenceMap`` a subflow
and end knows the initial sequence numbers and is the only converter.
"""

from __future__ import annotations

from typing import Final

#: Stands for "not known", "not present" in integer fields that are otherwise >= 0.
UNKNOWN: Final = -1

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


def unwrap(wire: int, near: int) -> int:
    """Return the number congruent to ``wire`` modulo 2^32 that is closest to ``near``."""
    delta = (wire - near) & _MASK
    return near + delta - (1 << 32) if delta >= _HALF else near + delta


class SequenceMap:
    """Converter of one end of a TCP connection.

    Attributes:
        iss: own initial sequence number on the wire.
        irs: the peer's initial sequence number on the wire, ``UNKNOWN`` before its SYN.
        rcv_near: a relative number near which arriving SEG.SEQ are unwrapped (RCV.NXT).
        snd_near: a relative number near which arriving SEG.ACK are unwrapped (SND.UNA).
    """

    __slots__ = ("irs", "iss", "rcv_near", "snd_near")

    def __init__(self, iss: int = 0, irs: int = UNKNOWN, rcv_near: int = 0, snd_near: int = 0) -> None:
        self.iss = iss
        self.irs = irs
        self.rcv_near = rcv_near
        self.snd_near = snd_near

    def wire_seq(self, seq: int) -> int:
        """Return the wire form of an own relative sequence number."""
        return (self.iss + seq) & _MASK

    def wire_ack(self, ack: int) -> int:
        """Return the wire form of a relative number of the peer's sequence space."""
        return ((0 if self.irs == UNKNOWN else self.irs) + ack) & _MASK

    def relative_seq(self, wire: int) -> int:
        """Return the relative form of a sequence number that the peer sent."""
        return unwrap((wire - (0 if self.irs == UNKNOWN else self.irs)) & _MASK, self.rcv_near)

    def relative_ack(self, wire: int) -> int:
        """Return the relative form of an acknowledgment number that the peer sent."""
        return unwrap((wire - self.iss) & _MASK, self.snd_near)

    def reverse(self) -> SequenceMap:
        """Return the map of the other end, as far as this end knows it."""
        return SequenceMap(0 if self.irs == UNKNOWN else self.irs, self.iss, self.snd_near, self.rcv_near)

    def near(self, rcv_nxt: int, snd_una: int) -> SequenceMap:
        """Return a copy that unwraps near these numbers."""
        return SequenceMap(self.iss, self.irs, rcv_nxt, snd_una)

    def on_syn(self, iss: int) -> None:
        """Note the initial sequence number of the peer's SYN."""
        self.irs = iss
