"""Dynamic right-sizing: a receive buffer that grows with what the application reads in a round trip.

In the spirit of Linux's ``tcp_rcv_space_adjust`` and ``mptcp_rcv_space_adjust``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.units import MILLISECOND

if TYPE_CHECKING:
    from mptcpsim.core.tcp.connection import Connection

#: Room for so many segments more than two round trips of reading take (Linux: 16 advmss).
_SPARE_SEGMENTS: Final = 16
#: Where no round trip was measured yet.
_USUAL_ROUND_TRIP: Final = 100 * MILLISECOND


class Autotuning:
    """The measurement of one connection; bytes, ns.

    Attributes:
        most: the buffer grows up to this.
        copied: bytes read since the measurement began.
        space: the most that was read in one round trip so far.
        since: when the measurement began.
    """

    __slots__ = ("_connection", "copied", "most", "since", "space")

    def __init__(self, connection: Connection, most: int) -> None:
        self._connection = connection
        self.most = most
        self.copied: int = 0
        self.space: int = 0
        self.since: int = 0

    def on_read(self, count: int, now: int) -> None:
        """The application has read ``count`` bytes."""
        self.copied += count
        if now - self.since < self._round_trip():
            return
        copied = self.copied
        space = self.space
        self.copied = 0
        self.since = now
        if copied <= space:
            return
        self.space = copied
        connection = self._connection
        mss = connection.subflows[0].receiver.mss
        buffer = 2 * copied + _SPARE_SEGMENTS * mss
        if space:
            # It is growing: in the next round trip it will have grown as much again.
            buffer += 2 * buffer * (copied - space) // space
        buffer = min(buffer, self.most)
        if buffer > connection.receive_buffer:
            connection.grow_receive_buffer(buffer)

    def _round_trip(self) -> int:
        longest = 0
        for tcp in self._connection.subflows:
            longest = max(longest, tcp.sender.rtt.srtt)
        return longest or _USUAL_ROUND_TRIP
