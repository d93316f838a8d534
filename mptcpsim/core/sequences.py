"""Relative, unwrapped sequence numbers and those on the wire, of TCP and of the data level of MPTCP.

The core counts from 0 (the SYN) and never wraps. One ``SequenceMap`` a subflow
and end knows the initial sequence numbers and is the only converter. ``DataNumbers`` are its counterpart
at the data level.
"""

from __future__ import annotations

from typing import Final

#: Stands for "not known", "not present" in integer fields that are otherwise >= 0.
UNKNOWN: Final = -1

_MASK: Final = 0xFFFFFFFF
_64_BITS: Final = 0xFFFFFFFFFFFFFFFF
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


def widen(wire: int, octets: int, idsn: int, near: int) -> int:
    """Return the relative number of a DSN or DATA_ACK in its form of 4 or 8 octets.

    It is the one closest to ``near``, so that an old number never looks like a wrap.
    """
    mask = _MASK if octets == 4 else _64_BITS
    delta = (wire - idsn - near) & mask
    return near + delta - mask - 1 if delta > mask >> 1 else near + delta


def narrow(number: int, octets: int, idsn: int) -> int:
    """Return the form of 4 or 8 octets that a relative number has on the wire."""
    return (idsn + number) & (_MASK if octets == 4 else _64_BITS)


class DataNumbers:
    """The form that the data sequence numbers of one direction have on the wire (RFC 8684 section 3.3).

    Attributes:
        idsn: the initial data sequence number, to which relative numbers are added.
        octets: 4 or 8.
    """

    __slots__ = ("idsn", "octets")

    def __init__(self, idsn: int, octets: int) -> None:
        self.idsn = idsn
        self.octets = octets

    def wire(self, number: int) -> int:
        """Return the wire form of a relative number."""
        return narrow(number, self.octets, self.idsn)


class NumberReader:
    """Reads the data sequence numbers of one direction as its receiver counts them.

    A number that its sender counted from the same IDSN is taken as it is. From any other the wire form is
    taken and widened, and so is one so far away that 4 octets would not tell it from another one.
    """

    __slots__ = ("_idsn", "_known")

    def __init__(self, idsn: int) -> None:
        self._idsn = idsn
        #: Numbers of a sender that were seen to have this IDSN.
        self._known: DataNumbers | None = None

    def read(self, number: int, numbers: DataNumbers | None, octets: int, near: int) -> int:
        """Return the relative form of a number that arrived.

        Args:
            number: relative to ``numbers``, or without them as on the wire.
            numbers: of the sender.
            octets: the form on the wire, 4 or 8.
            near: the result is the one closest to this if the wire form leaves several.
        """
        if numbers is None:
            return widen(number, octets, self._idsn, near)
        if numbers is not self._known:
            if numbers.idsn != self._idsn:
                return widen(numbers.wire(number), octets, self._idsn, near)
            self._known = numbers
        if -_HALF < number - near < _HALF:
            return number
        return widen(numbers.wire(number), octets, self._idsn, near)
