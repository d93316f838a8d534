"""The scoreboard of RFC 6675: segments that were sent and are not cumulatively acknowledged.

It has one ``Sent`` for each transmitted segment, in sequence order. The byte counts ``sacked``,
``lost`` and ``resent`` are kept up to date, so that the amount in flight (the RFC's
``pipe``) is a subtraction and nothing walks the window.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.ranges import Ranges

_COMPACT: Final = 256


@mypyc_attr(free_list_len=1)
class Sent:
    """A segment that was sent.

    Attributes:
        seq, end: its relative sequence numbers; a FIN counts one.
        sent_at: when it was sent the last time, ns.
        order: number of its last transmission among all of the connection.
        fin: it carries the FIN.
        retransmissions: how often it was sent again.
        sacked: the peer holds it.
        lost: it is taken for lost; ``in_flight_again`` says whether it was sent since.
    """

    __slots__ = (
        "end",
        "fin",
        "in_flight_again",
        "lost",
        "order",
        "retransmissions",
        "sacked",
        "sent_at",
        "seq",
    )

    def __init__(self, seq: int, end: int, sent_at: int, order: int, fin: bool) -> None:
        self.seq = seq
        self.end = end
        self.sent_at = sent_at
        self.order = order
        self.fin = fin
        self.retransmissions: int = 0
        self.sacked: bool = False
        self.lost: bool = False
        self.in_flight_again: bool = False

    def retire(self) -> None:
        """It was acknowledged; queues elsewhere may still hold it, and it must not look lost there."""
        self.lost = self.in_flight_again = False

    def acknowledge_below(self, point: int) -> int:
        """Give up the bytes below ``point``, which are acknowledged; return how many those were."""
        size = point - self.seq
        self.seq = point
        return size

    def split_at(self, point: int) -> Sent:
        """Keep what lies below ``point``; return the rest, which was sent alike."""
        rest = Sent(point, self.end, self.sent_at, self.order, self.fin)
        rest._take_fate(self)
        self.end = point
        self.fin = False
        return rest

    def _take_fate(self, other: Sent) -> None:
        self.retransmissions = other.retransmissions
        self.sacked = other.sacked
        self.lost = other.lost
        self.in_flight_again = other.in_flight_again

    def mark_sacked(self) -> None:
        """The peer holds it."""
        self.lost = self.in_flight_again = False
        self.sacked = True

    def forget_sack(self) -> None:
        """The peer may have thrown it away."""
        self.sacked = False

    def mark_lost(self) -> None:
        """It is taken for lost, its last copy included."""
        self.lost = True
        self.in_flight_again = False

    def mark_resent(self, now: int, order: int) -> None:
        """It was sent again, as transmission number ``order``."""
        self.in_flight_again = True
        self.retransmissions += 1
        self.sent_at = now
        self.order = order


class ResendQueue:
    """Records that were taken for lost, in order of sequence.

    A detector walks the window upwards, so that nearly every record comes behind all that wait and joins a
    list. The others, such as retransmissions that were lost, go on a heap.
    """

    __slots__ = ("_count", "_head", "_others", "_records")

    def __init__(self) -> None:
        self._records: list[Sent] = []
        #: Index of the first record of the list that may still wait.
        self._head: int = 0
        self._others: list[tuple[int, int, Sent]] = []
        self._count: int = 0

    def add(self, record: Sent) -> None:
        """Queue a record."""
        records = self._records
        if self._head == len(records) or records[-1].seq <= record.seq:
            records.append(record)
        else:
            self._count += 1
            heappush(self._others, (record.seq, self._count, record))

    def first(self, una: int) -> Sent | None:
        """Return the first record that is lost and was not sent since, or None; forget those before it.

        Args:
            una: what ends here or below is acknowledged.
        """
        records = self._records
        head = self._head
        found: Sent | None = None
        while head < len(records):
            record = records[head]
            if record.lost and not record.in_flight_again and not record.sacked and record.end > una:
                found = record
                break
            head += 1
        if head >= _COMPACT and head * 2 >= len(records):
            del records[:head]
            head = 0
        self._head = head
        others = self._others
        while others:
            record = others[0][2]
            if record.lost and not record.in_flight_again and not record.sacked and record.end > una:
                return record if found is None or record.seq < found.seq else found
            heappop(others)
        return found


class Scoreboard:
    """The outstanding segments of a sender.

    Attributes:
        records: outstanding segments in sequence order, from index ``head``.
        sacked, lost, resent: bytes SACKed; taken for lost and not SACKed; sent again
            and again in flight.
        sacked_segments: records that are SACKed.
        transmissions: segments sent so far, each copy.
        ranges: the SACKed ranges above the cumulative acknowledgment.
    """

    __slots__ = (
        "_reported",
        "_sacked_to",
        "_to_resend",
        "head",
        "lost",
        "marked",
        "ranges",
        "records",
        "resent",
        "sacked",
        "sacked_segments",
        "transmissions",
        "trimmed",
    )

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self.head: int = 0
        self.sacked: int = 0
        self.lost: int = 0
        self.resent: int = 0
        self.sacked_segments: int = 0
        self.transmissions: int = 0
        self.ranges = Ranges()
        #: Records removed from the front of the list so far: list index + trimmed never changes.
        self.trimmed: int = 0
        #: How often a record was taken for lost.
        self.marked: int = 0
        self._to_resend: ResendQueue | None = None
        #: The SACK blocks of the last ACK, if ``ranges`` holds all of them above it.
        self._reported: tuple[tuple[int, int], ...] = ()
        #: Position (list index + trimmed) behind the record that was SACKed last.
        self._sacked_to: int = 0

    def __len__(self) -> int:
        """Return the number of outstanding segments."""
        return len(self.records) - self.head

    @property
    def acknowledged_segments(self) -> int:
        """How many segments were acknowledged cumulatively so far."""
        return self.trimmed + self.head

    def add(self, seq: int, end: int, now: int, fin: bool) -> None:
        """Note that a segment of new data was sent."""
        self.transmissions += 1
        self.records.append(Sent(seq, end, now, self.transmissions, fin))

    def pop_head(self) -> Sent:
        """Remove and return the first outstanding segment, which was acknowledged."""
        record = self.records[self.head]
        self.head += 1
        if record.sacked:
            self.sacked_segments -= 1
        self._discount(record, record.end - record.seq)
        record.retire()
        if self.head >= _COMPACT and self.head * 2 >= len(self.records):
            del self.records[: self.head]
            self.trimmed += self.head
            self.head = 0
        return record

    def _discount(self, record: Sent, size: int) -> None:
        if record.sacked:
            self.sacked -= size
            return
        if record.lost:
            self.lost -= size
        if record.in_flight_again:
            self.resent -= size

    def acknowledge_part(self, record: Sent, point: int) -> None:
        """Note that ``record`` is acknowledged below ``point``, in its middle."""
        self._discount(record, record.acknowledge_below(point))

    def index_at(self, seq: int) -> int:
        """Return the list index of the first record whose end lies above ``seq``."""
        low, high = self.head, len(self.records)
        records = self.records
        while low < high:
            middle = (low + high) // 2
            if records[middle].end > seq:
                high = middle
            else:
                low = middle + 1
        return low

    def index_to_sack(self, seq: int) -> int:
        """Return the same, quickly for what lies just above the record that was SACKed last."""
        records = self.records
        index = self._sacked_to - self.trimmed
        if self.head < index < len(records) and records[index - 1].end <= seq:
            if records[index].end > seq:
                return index
            index += 1
            if index < len(records) and records[index].end > seq:
                return index
        return self.index_at(seq)

    def note_sacked_to(self, index: int) -> None:
        """Note the list index behind the record that was SACKed last."""
        self._sacked_to = index + self.trimmed

    def take_report(self, blocks: tuple[tuple[int, int], ...], nxt: int) -> list[tuple[int, int]]:
        """Return those SACK blocks that the ACK before has not reported: most are repeated.

        Args:
            blocks: of an ACK; the caller takes all of them that end at ``nxt`` or below it into ``ranges``.
            nxt: what comes next for the first time.
        """
        news: list[tuple[int, int]] = []
        whole = True
        for block in blocks:
            if block not in self._reported:
                news.append(block)
                whole = whole and block[1] <= nxt
        self._reported = blocks if whole else ()
        return news

    def split(self, index: int, point: int) -> Sent:
        """Split the record at list ``index`` at sequence number ``point``; return the second half."""
        second = self.records[index].split_at(point)
        self.records.insert(index + 1, second)
        if second.sacked:
            self.sacked_segments += 1
        if second.lost and not second.in_flight_again and not second.sacked:
            self._queue(second)
        return second

    def mark_sacked(self, record: Sent) -> None:
        """The peer reported ``record`` received."""
        size = record.end - record.seq
        if record.lost:
            self.lost -= size
        if record.in_flight_again:
            self.resent -= size
        record.mark_sacked()
        self.sacked += size
        self.sacked_segments += 1

    def mark_lost(self, record: Sent) -> None:
        """``record``, or its retransmission, is taken for lost and has to be sent again."""
        size = record.end - record.seq
        if record.in_flight_again:
            self.resent -= size
        elif record.lost:
            return
        if not record.lost:
            self.lost += size
        record.mark_lost()
        self.marked += 1
        self._queue(record)

    def mark_resent(self, record: Sent, now: int) -> None:
        """``record`` was sent again."""
        if not record.in_flight_again:
            self.resent += record.end - record.seq
        self.transmissions += 1
        record.mark_resent(now, self.transmissions)

    def _queue(self, record: Sent) -> None:
        if self._to_resend is None:
            self._to_resend = ResendQueue()
        self._to_resend.add(record)

    def next_lost(self, una: int) -> Sent | None:
        """Return the first record that is lost and was not sent since, or None."""
        return None if self._to_resend is None else self._to_resend.first(una)

    def forget_sacks(self) -> None:
        """Take every SACK back: the peer may have reneged (RFC 2018 section 8)."""
        records = self.records
        for index in range(self.head, len(records)):
            records[index].forget_sack()
        self.sacked = 0
        self.sacked_segments = 0
        self.ranges.clear()
        self._reported = ()
