"""Data sequence mappings: which bytes of a subflow are which bytes of the connection.

Numbers are relative and unwrapped in both spaces: the first byte of a subflow and the
first byte of a connection both have the number 1 (RFC 8684 section 3.3.1).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from typing import Final

from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import NEVER

_COMPACT: Final = 256


class Mapping:
    """A mapping that never changes once it was sent.

    Attributes:
        ssn: relative subflow sequence number of its first byte.
        dsn: relative data sequence number of its first byte.
        length: bytes of payload.
        data_fin: it ends with the DATA_FIN, which counts in the Data-Level Length.
        checksum: of the whole mapping, ``UNKNOWN`` without checksums.
        reinjected: its data was queued for other subflows.
    """

    __slots__ = ("checksum", "data_fin", "dsn", "length", "reinjected", "ssn")

    def __init__(self, ssn: int, dsn: int, length: int, data_fin: bool, checksum: int = UNKNOWN) -> None:
        self.ssn = ssn
        self.dsn = dsn
        self.length = length
        self.data_fin = data_fin
        self.checksum = checksum
        self.reinjected: bool = False

    def on_reinjected(self) -> None:
        """Its data was queued for other subflows: once is enough."""
        self.reinjected = True


class SentMappings:
    """The mappings of a subflow whose data is not acknowledged, oldest first.

    Outstanding is what the subflow has not acknowledged. Behind it stands what the subflow has
    acknowledged and the connection has not: should the subflow end, others have to carry it.
    """

    __slots__ = ("_done", "_head", "_lowest", "_mappings", "_ordered")

    def __init__(self) -> None:
        self._mappings: list[Mapping] = []
        #: Indices: of the first one that is outstanding, of the first one not acknowledged at both levels.
        self._head: int = 0
        self._done: int = 0
        #: Those than which none that came later has a lower DSN: the first one has the lowest of all.
        self._lowest: deque[Mapping] = deque()
        #: DSNs increase: nothing was sent here that other subflows had before.
        self._ordered: bool = True

    def __len__(self) -> int:
        """Return the number of mappings that are outstanding."""
        return len(self._mappings) - self._head

    def append(self, mapping: Mapping) -> None:
        """Note a mapping that is about to be sent."""
        if self._mappings and mapping.dsn < self._mappings[-1].dsn:
            self._ordered = False
        self._mappings.append(mapping)
        lowest = self._lowest
        while lowest and lowest[-1].dsn >= mapping.dsn:
            lowest.pop()
        lowest.append(mapping)

    def at(self, seq: int) -> Mapping:
        """Return the mapping that covers a sequence number of the subflow."""
        mappings = self._mappings
        last = mappings[-1]
        if seq >= last.ssn:
            return last
        return mappings[bisect_right(mappings, seq, lo=self._head, key=_ssn) - 1]

    def acknowledge(self, ack: int, data_ack: int) -> None:
        """Take an acknowledgment of the subflow, and what the connection has acknowledged until then."""
        mappings = self._mappings
        head = self._head
        lowest = self._lowest
        while head < len(mappings):
            mapping = mappings[head]
            if mapping.ssn + mapping.length > ack:
                break
            if lowest[0] is mapping:
                lowest.popleft()
            head += 1
        done = self._done
        while done < head and mappings[done].dsn + mappings[done].length <= data_ack:
            done += 1
        if done >= _COMPACT and done * 2 >= len(mappings):
            del mappings[:done]
            head -= done
            done = 0
        self._head = head
        self._done = done

    def lowest(self) -> int:
        """Return the lowest DSN that is outstanding, ``NEVER`` without any."""
        return self._lowest[0].dsn if self._lowest else NEVER

    def carries(self, dsn: int) -> bool:
        """Return whether the byte of a DSN is outstanding."""
        if self.lowest() > dsn:
            return False
        for index in range(self._head, len(self._mappings)):
            mapping = self._mappings[index]
            if mapping.dsn <= dsn < mapping.dsn + mapping.length:
                return True
            if self._ordered and mapping.dsn > dsn:
                break
        return False

    def has_left(self, dsn: int) -> bool:
        """Return whether the subflow has acknowledged the byte of a DSN, as far as is remembered."""
        behind = self._mappings[self._done : self._head]
        return any(m.dsn <= dsn < m.dsn + m.length for m in behind)

    def bytes_below(self, dsn: int) -> int:
        """Return how many of the bytes that are outstanding come before a DSN."""
        total = 0
        if self.lowest() < dsn:
            for index in range(self._head, len(self._mappings)):
                mapping = self._mappings[index]
                if mapping.dsn < dsn:
                    total += min(mapping.dsn + mapping.length, dsn) - mapping.dsn
                elif self._ordered:
                    break
        return total

    def outstanding(self) -> list[Mapping]:
        """Return all that the subflow has not acknowledged."""
        return self._mappings[self._head :]

    def undelivered(self) -> list[Mapping]:
        """Return all that the subflow or the connection had not acknowledged at the last ACK."""
        return self._mappings[self._done :]


def _ssn(mapping: Mapping) -> int:
    return mapping.ssn


class ReceivedMappings:
    """The mappings that a peer has named for data not yet handed on, in order of the subflow."""

    __slots__ = ("mappings",)

    def __init__(self) -> None:
        self.mappings: list[Mapping] = []

    def __len__(self) -> int:
        """Return the number of mappings."""
        return len(self.mappings)

    def add(self, mapping: Mapping) -> bool:
        """Keep a mapping; return False if it contradicts one that is known (it never may change).

        What overlaps must say the same; then only the rest of it is new. With checksums, which cover a
        mapping as a whole, it must be the same mapping.
        """
        mappings = self.mappings
        index = bisect_right(mappings, mapping.ssn, key=_ssn)
        left, right = mapping.ssn, mapping.ssn + mapping.length
        first = index - 1 if index and mappings[index - 1].ssn + mappings[index - 1].length > left else index
        last = first
        while last < len(mappings) and mappings[last].ssn < right:
            last += 1
        if first == last:
            mappings.insert(index, mapping)
            return True
        shift = mapping.dsn - left
        known = mappings[first:last]
        if any(other.dsn - other.ssn != shift for other in known):
            return False
        if mapping.checksum != UNKNOWN:
            return len(known) == 1 and (known[0].ssn, known[0].length) == (left, mapping.length)
        for other in known:
            if left < other.ssn:
                self._insert(left, other.ssn, shift)
            left = max(left, other.ssn + other.length)
        if left < right:
            self._insert(left, right, shift)
        return True

    def _insert(self, left: int, right: int, shift: int) -> None:
        insort(self.mappings, Mapping(left, left + shift, right - left, False), key=_ssn)

    def at(self, seq: int) -> Mapping | None:
        """Return the mapping that covers a sequence number of the subflow, or None."""
        mappings = self.mappings
        index = bisect_right(mappings, seq, key=_ssn) - 1
        if index < 0 or mappings[index].ssn + mappings[index].length <= seq:
            return None
        return mappings[index]

    def forget_below(self, seq: int) -> None:
        """Forget what lies below a sequence number completely."""
        mappings = self.mappings
        while mappings and mappings[0].ssn + mappings[0].length <= seq:
            del mappings[0]
