"""Data sequence mappings: which bytes of a subflow are which bytes of the connection.

Numbers are relative and unwrapped in both spaces: the first byte of a subflow and the
first byte of a connection both have the number 1 (RFC 8684 section 3.3.1).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import NEVER

_COMPACT: Final = 256


@mypyc_attr(free_list_len=1)
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


#: The list of a subflow that needs none: all share it, and nothing is put into it.
_NONE: Final[list[Mapping]] = []


class SentMappings:
    """The mappings of a subflow whose data is not acknowledged, oldest first.

    Outstanding is what the subflow has not acknowledged. Behind it stands what the subflow has
    acknowledged and the connection has not: should the subflow end, others have to carry it.
    """

    __slots__ = ("_done", "_head", "_lowest", "_lowest_head", "_mappings", "_ordered")

    def __init__(self) -> None:
        self._mappings: list[Mapping] = []
        #: Indices: of the first one that is outstanding, of the first one not acknowledged at both levels.
        self._head: int = 0
        self._done: int = 0
        #: The DSNs of what is outstanding increase: nothing was sent here that other subflows had before.
        self._ordered: bool = True
        #: Where they do not: from an index on, those than which none that came later has a lower DSN. The
        #: first one has the lowest of all.
        self._lowest: list[Mapping] = _NONE
        self._lowest_head: int = 0

    def __len__(self) -> int:
        """Return the number of mappings that are outstanding."""
        return len(self._mappings) - self._head

    def append(self, mapping: Mapping) -> None:
        """Note a mapping that is about to be sent."""
        mappings = self._mappings
        if self._head == len(mappings):
            self._ordered = True
        elif self._ordered and mapping.dsn < mappings[-1].dsn:
            self._ordered = False
            self._lowest = mappings[self._head :]
            self._lowest_head = 0
        mappings.append(mapping)
        if not self._ordered:
            lowest = self._lowest
            while len(lowest) > self._lowest_head and lowest[-1].dsn >= mapping.dsn:
                lowest.pop()
            lowest.append(mapping)

    def at(self, seq: int) -> Mapping:
        """Return the mapping that covers a sequence number of the subflow."""
        mappings = self._mappings
        last = mappings[-1]
        if seq >= last.ssn:
            return last
        low, high = self._head, len(mappings) - 1
        while low + 1 < high:
            middle = (low + high) // 2
            if mappings[middle].ssn > seq:
                high = middle
            else:
                low = middle
        return mappings[low]

    def acknowledge(self, ack: int, data_ack: int) -> None:
        """Take an acknowledgment of the subflow, and what the connection has acknowledged until then."""
        mappings = self._mappings
        head = self._head
        while head < len(mappings):
            mapping = mappings[head]
            if mapping.ssn + mapping.length > ack:
                break
            if not self._ordered and self._lowest[self._lowest_head] is mapping:
                self._pass_lowest()
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

    def _pass_lowest(self) -> None:
        """The mapping of the lowest DSN is acknowledged."""
        self._lowest_head += 1
        if self._lowest_head >= _COMPACT and self._lowest_head * 2 >= len(self._lowest):
            del self._lowest[: self._lowest_head]
            self._lowest_head = 0

    def lowest(self) -> int:
        """Return the lowest DSN that is outstanding, ``NEVER`` without any."""
        if self._head == len(self._mappings):
            return NEVER
        return self._mappings[self._head].dsn if self._ordered else self._lowest[self._lowest_head].dsn

    def carries(self, dsn: int) -> bool:
        """Return whether the byte of a DSN is outstanding."""
        if self.lowest() > dsn:
            return False
        mappings = self._mappings
        left = self._lowest_head
        for index in range(self._head, len(mappings)):
            mapping = mappings[index]
            if mapping.dsn <= dsn < mapping.dsn + mapping.length:
                return True
            if self._ordered:
                if mapping.dsn > dsn:
                    break
            elif self._lowest[left] is mapping:
                left += 1
                if left == len(self._lowest) or self._lowest[left].dsn > dsn:
                    # Nothing that came later has a DSN as low.
                    break
        return False

    def has_left(self, dsn: int) -> bool:
        """Return whether the subflow has acknowledged the byte of a DSN, as far as is remembered."""
        behind = self._mappings[self._done : self._head]
        return any(m.dsn <= dsn < m.dsn + m.length for m in behind)

    def bytes_below(self, dsn: int) -> int:
        """Return how many of the bytes that are outstanding come before a DSN."""
        total = 0
        if self.lowest() >= dsn:
            return total
        mappings = self._mappings
        left = self._lowest_head
        for index in range(self._head, len(mappings)):
            mapping = mappings[index]
            if mapping.dsn < dsn:
                total += min(mapping.dsn + mapping.length, dsn) - mapping.dsn
            elif self._ordered:
                break
            if not self._ordered and self._lowest[left] is mapping:
                left += 1
                if left == len(self._lowest) or self._lowest[left].dsn >= dsn:
                    # Nothing that came later has a DSN as low.
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

    __slots__ = ("_head", "_mappings")

    def __init__(self) -> None:
        self._mappings: list[Mapping] = []
        #: Index of the first one that is not forgotten.
        self._head: int = 0

    def __len__(self) -> int:
        """Return the number of mappings."""
        return len(self._mappings) - self._head

    @property
    def mappings(self) -> list[Mapping]:
        """All of them."""
        return self._mappings[self._head :]

    def begin_at(self, seq: int) -> bool:
        """Return whether none maps anything below a sequence number."""
        return self._head == len(self._mappings) or self._mappings[self._head].ssn >= seq

    def add(self, mapping: Mapping) -> bool:
        """Keep a mapping; return False if it contradicts one that is known (it never may change).

        What overlaps must say the same; then only the rest of it is new. With checksums, which cover a
        mapping as a whole, it must be the same mapping.
        """
        mappings = self._mappings
        head = self._head
        left, right = mapping.ssn, mapping.ssn + mapping.length
        if head == len(mappings) or mappings[-1].ssn + mappings[-1].length <= left:
            mappings.append(mapping)
            return True
        index = bisect_right(mappings, left, lo=head, key=_ssn)
        first = (
            index - 1
            if index > head and mappings[index - 1].ssn + mappings[index - 1].length > left
            else index
        )
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
        insort(self._mappings, Mapping(left, left + shift, right - left, False), lo=self._head, key=_ssn)

    def at(self, seq: int) -> Mapping | None:
        """Return the mapping that covers a sequence number of the subflow, or None."""
        mappings = self._mappings
        head = self._head
        if head == len(mappings) or mappings[head].ssn > seq:
            return None
        index = head
        if mappings[head].ssn + mappings[head].length <= seq:
            index = bisect_right(mappings, seq, lo=head, key=_ssn) - 1
        mapping = mappings[index]
        return mapping if seq < mapping.ssn + mapping.length else None

    def forget_below(self, seq: int) -> None:
        """Forget what lies below a sequence number completely."""
        mappings = self._mappings
        head = self._head
        while head < len(mappings) and mappings[head].ssn + mappings[head].length <= seq:
            head += 1
        if head == len(mappings):
            mappings.clear()
            head = 0
        elif head >= _COMPACT and head * 2 >= len(mappings):
            del mappings[:head]
            head = 0
        self._head = head
