"""Dynamic right-sizing: a receive buffer that grows with what the application reads in a round trip.

In the spirit of Linux's ``tcp_rcv_space_adjust`` and ``mptcp_rcv_space_adjust``.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.units import MILLISECOND

#: Room for so many segments more than two round trips of reading take (Linux: 16 advmss).
_SPARE_SEGMENTS: Final = 16
#: Round-trip time to assume before one was measured.
_USUAL_ROUND_TRIP: Final = 100 * MILLISECOND


class Autotuning:
    """The measurement of one connection; bytes, ns.

    Attributes:
        most: the largest size that the buffer grows to.
        copied: bytes read since the measurement began.
        space: the most that was read in one round trip so far.
        since: when the measurement began.
    """

    __slots__ = ("_subflows", "copied", "most", "since", "space")

    def __init__(self, subflows: list[Tcp], most: int) -> None:
        self._subflows = subflows
        self.most = most
        self.copied: int = 0
        self.space: int = 0
        self.since: int = 0

    def on_read(self, count: int, buffer: int, now: int) -> int:
        """The application has read ``count`` bytes; return the size that the buffer gets."""
        self.copied += count
        if now - self.since < self._round_trip():
            return buffer
        copied = self.copied
        space = self.space
        self.copied = 0
        self.since = now
        if copied <= space:
            return buffer
        self.space = copied
        wanted = 2 * copied + _SPARE_SEGMENTS * self._subflows[0].receiver.mss
        if space:
            # It is growing: in the next round trip it will have grown as much again.
            wanted += 2 * wanted * (copied - space) // space
        return max(buffer, min(wanted, self.most))

    def _round_trip(self) -> int:
        longest = 0
        for tcp in self._subflows:
            longest = max(longest, tcp.sender.rtt.srtt)
        return longest or _USUAL_ROUND_TRIP
