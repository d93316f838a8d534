"""RACK: time-based loss detection of RFC 8985 section 6.

A segment is lost if one that was sent later has arrived, and enough time for
reordering has passed. Segments that were sent once are in order of sending in the
scoreboard itself; segments sent again queue up in ``_resent``. Both are walked with
a pointer that only moves forward.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mptcpsim.core.scoreboard import Scoreboard, Sent
from mptcpsim.units import NEVER

_DUP_THRESH: Final = 3
_REO_PERSIST: Final = 16


class Rack:
    """The RACK state of one sender; times in ns.

    Attributes:
        xmit_ts, end_seq, rtt: of the most recently sent segment known to be delivered.
        reordering_seen: the path delivered out of order at least once.
        reo_wnd_mult: reordering window in quarters of the minimum RTT.
    """

    __slots__ = (
        "_resent",
        "_scan",
        "board",
        "end_seq",
        "fack",
        "reo_wnd_mult",
        "reo_wnd_persist",
        "reordering_seen",
        "round_end",
        "rtt",
        "xmit_ts",
    )

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        self.xmit_ts: int = -1
        self.end_seq: int = 0
        self.rtt: int = 0
        self.fack: int = 0
        self.reordering_seen: bool = False
        self.reo_wnd_mult: int = 1
        self.reo_wnd_persist: int = _REO_PERSIST
        #: A DSACK widens the window once a round trip: until this is acknowledged (-1: none).
        self.round_end: int = -1
        self._resent: deque[tuple[int, Sent]] = deque()
        #: Position (list index + trimmed) of the first record not yet looked at.
        self._scan: int = 0

    def on_resent(self, record: Sent) -> None:
        """Note that ``record`` was just sent again."""
        self._resent.append((record.sent_at, record))

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
        if record.retransmissions:
            # Step 2: was it the original after all?
            if echo_is_older or now - record.sent_at < rtt_min:
                return
        elif record.end < self.fack:
            self.reordering_seen = True
        if record.end > self.fack:
            self.fack = record.end
        sent_at = record.sent_at
        if sent_at > self.xmit_ts or (sent_at == self.xmit_ts and record.end > self.end_seq):
            self.xmit_ts = sent_at
            self.end_seq = record.end
            self.rtt = now - sent_at

    def on_dsack(self, una: int, nxt: int) -> None:
        """The peer reported a duplicate: widen the window, once a round trip (section 6.2 step 4)."""
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

    def window(self, recovering: bool, srtt: int, rtt_min: int, mss: int) -> int:
        """Return RACK.reo_wnd, ns (section 6.2 step 4)."""
        if not self.reordering_seen and (recovering or self.board.sacked >= _DUP_THRESH * mss):
            return 0
        return min(self.reo_wnd_mult * rtt_min // 4, srtt)

    def detect(self, now: int, reo_wnd: int) -> tuple[int, int]:
        """Mark what is lost (section 6.2 step 5).

        Returns:
            the number of records marked, and when to look again (ns; ``NEVER`` if nothing waits).
        """
        if self.xmit_ts < 0:
            return 0, NEVER
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
                if not self._sent_before(record):
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
        while resent:
            sent_at, record = resent[0]
            if record.in_flight_again and record.sent_at == sent_at:
                if not self._sent_before(record):
                    break
                due = sent_at + patience
                if due > now:
                    again = min(again, due)
                    break
                board.mark_lost(record)
                marked += 1
            resent.popleft()
        return marked, again

    def _sent_before(self, record: Sent) -> bool:
        """Return whether ``record`` was sent before the latest delivered segment (RACK_sent_after)."""
        return record.sent_at < self.xmit_ts or (record.sent_at == self.xmit_ts and record.end < self.end_seq)

    def mark_on_timeout(self, now: int, una: int, reo_wnd: int) -> None:
        """Mark the first record, and all whose time is over, lost (section 6.3)."""
        board = self.board
        records = board.records
        patience = self.rtt + reo_wnd
        for index in range(board.head, len(records)):
            record = records[index]
            if not record.sacked and (index == board.head or record.sent_at + patience <= now):
                board.mark_lost(record)
