"""RACK: time-based loss detection of RFC 8985 section 6.

A segment is lost if one that was sent later has arrived, and enough time for
reordering has passed. The number of the transmission tells which segment was sent later:
the RFC compares times, and sequence numbers where they are equal, which misjudges a
retransmission at the same instant. Segments that were sent once are in order of sending in the
scoreboard itself; segments sent again queue up in ``_resent``. Both are walked with
a pointer that only moves forward.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.tcp.scoreboard import Scoreboard, Sent
from mptcpsim.units import NEVER

_DUP_THRESH: Final = 3
_REO_PERSIST: Final = 16
_COMPACT: Final = 256


#: Those of a connection that has sent nothing again: all share them, and nothing is put into them.
_NONE: Final[list[Sent]] = []
_NO_ORDERS: Final[list[int]] = []


class Rack:
    """The RACK state of one sender; times in ns.

    Attributes:
        order: transmission number of the most recently sent segment known to be delivered.
        rtt: round-trip time of the latest delivery.
        fack: highest sequence number delivered.
        reordering_seen: the path delivered out of order at least once, or late enough for a D-SACK.
        reo_wnd_mult: reordering window in quarters of the minimum RTT.
    """

    __slots__ = (
        "_acked_at",
        "_newest",
        "_resent",
        "_resent_head",
        "_resent_orders",
        "_scan",
        "board",
        "fack",
        "order",
        "reo_wnd_mult",
        "reo_wnd_persist",
        "reordering_seen",
        "round_end",
        "rtt",
    )

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        self.order: int = 0
        self.rtt: int = 0
        self.fack: int = 0
        self.reordering_seen: bool = False
        self.reo_wnd_mult: int = 1
        self.reo_wnd_persist: int = _REO_PERSIST
        #: A DSACK widens the window once a round trip: until this is acknowledged (-1: none).
        self.round_end: int = -1
        #: Newest transmission that the present ACK delivers, and when that ACK came.
        self._newest: int = 0
        self._acked_at: int = -1
        #: Records that were sent again, the number of each transmission, and the first not yet judged.
        self._resent: list[Sent] = _NONE
        self._resent_orders: list[int] = _NO_ORDERS
        self._resent_head: int = 0
        #: Position (list index + trimmed) of the first record not yet looked at.
        self._scan: int = 0

    def on_resent(self, record: Sent) -> None:
        """Note that ``record`` was just sent again."""
        if self._resent is _NONE:
            self._resent, self._resent_orders = [], []
        self._resent.append(record)
        self._resent_orders.append(record.order)

    def rewind(self) -> None:
        """Look at every outstanding record again: records were inserted, or SACKs withdrawn."""
        self._scan = self.board.head + self.board.trimmed

    def on_delivered(self, record: Sent, now: int, rtt_min: int, echo_is_older: bool) -> None:
        """Take note of a newly acknowledged or SACKed record (steps 1 to 3 of section 6.2).

        Args:
            record: what was delivered.
            now: ns.
            rtt_min: smallest round-trip time so far, ns.
            echo_is_older: the ACK echoes a timestamp from before the retransmission.
        """
        # Step 3: an original below what has arrived is late.
        if record.end > self.fack:
            self.fack = record.end
        elif record.end < self.fack and not record.retransmissions:
            self.reordering_seen = True
        # Step 2; of a retransmission, was it the original after all?
        if record.retransmissions and (echo_is_older or now - record.sent_at < rtt_min):
            return
        order = record.order
        if now != self._acked_at or order > self._newest:
            self._acked_at = now
            self._newest = order
            self.rtt = now - record.sent_at
        if order > self.order:
            self.order = order

    def on_dsack(self, una: int, nxt: int) -> None:
        """The peer reported a duplicate: widen the window, once a round trip (section 6.2 step 4).

        A segment that was repeated in vain was only late, so reordering was seen. Otherwise the window would
        be 0 whenever three segments are SACKed, and never grow (the prose of that step, and section 3.3.2).
        """
        self.reordering_seen = True
        if self.round_end >= 0 and una < self.round_end:
            return
        self.round_end = nxt
        self.reo_wnd_mult += 1
        self.reo_wnd_persist = _REO_PERSIST

    def on_recovery_over(self) -> None:
        """A recovery ended without a DSACK: after 16 of them the window shrinks again."""
        self.reo_wnd_persist -= 1
        if self.reo_wnd_persist <= 0:
            self.reo_wnd_mult = 1

    def window(self, recovering: bool, srtt: int, rtt_min: int) -> int:
        """Return RACK.reo_wnd, ns (section 6.2 step 4)."""
        if not self.reordering_seen and (recovering or self.board.sacked_segments >= _DUP_THRESH):
            return 0
        return min(self.reo_wnd_mult * rtt_min // 4, srtt)

    def detect(self, now: int, reo_wnd: int) -> tuple[int, int]:
        """Mark what is lost (section 6.2 step 5).

        Returns:
            the number of records marked, and when to look again (ns; ``NEVER`` if nothing waits).
        """
        board = self.board
        patience = self.rtt + reo_wnd
        marked = 0
        again = NEVER
        records = board.records
        index = max(self._scan - board.trimmed, board.head)
        count = len(records)
        while index < count:
            record = records[index]
            if not (record.sacked or record.lost or record.retransmissions):
                if record.order >= self.order:
                    break
                due = record.sent_at + patience
                if due > now:
                    again = due
                    break
                board.mark_lost(record)
                marked += 1
            index += 1
        self._scan = index + board.trimmed
        resent = self._resent
        head = self._resent_head
        while head < len(resent):
            record = resent[head]
            order = self._resent_orders[head]
            if record.in_flight_again and record.order == order:
                if order >= self.order:
                    break
                due = record.sent_at + patience
                if due > now:
                    again = min(again, due)
                    break
                board.mark_lost(record)
                marked += 1
            head += 1
        if head >= _COMPACT and head * 2 >= len(resent):
            del resent[:head]
            del self._resent_orders[:head]
            head = 0
        self._resent_head = head
        return marked, again

    def mark_on_timeout(self, now: int, una: int, reo_wnd: int) -> None:
        """Mark the first record, and all whose time is over, lost (section 6.3)."""
        board = self.board
        records = board.records
        patience = self.rtt + reo_wnd
        for index in range(board.head, len(records)):
            record = records[index]
            if not record.sacked and (index == board.head or record.sent_at + patience <= now):
                board.mark_lost(record)
