"""A DATA_ACK that stays behind while the application reads (switch ``data_ack_lag``).

Linux: data that arrives while a read holds the connection is acknowledged on its subflow at
once, but the connection takes it later, and nothing sends an ACK then.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.session import Session
from mptcpsim.core.mptcp_options import Dss

#: A read of so many bytes lasts as long as the switch says, a smaller one less.
_WHOLE: Final = 32 * 1024


class LateReceiver(DataReceiver):
    """For ``lag`` ns after a read of 32 KiB segments name the DATA_ACK that it began with."""

    __slots__ = ("_busy_ack", "_busy_until", "_lag")

    def __init__(self, connection: Session, buffer: int, ack_octets: int, lag: int) -> None:
        super().__init__(connection, buffer, ack_octets)
        self._lag = lag
        self._busy_until: int = 0
        self._busy_ack: int = 1

    def on_read(self, count: int, now: int) -> None:
        """The application reads: for a while, the longer the more it reads, the connection takes nothing.

        What has arrived during a read before is taken at the end of that one, so before this one.
        """
        self._busy_ack = self.nxt
        self._busy_until = now + self._lag * min(count, _WHOLE) // _WHOLE

    def ack_dss(self) -> Dss:
        """Return the DSS of a segment without a mapping."""
        return self._dss_of(self._announced())

    def window_field(self, scale: int) -> int:
        """Return the window field that goes with it."""
        return self._field_with(self._announced(), scale)

    def _announced(self) -> int:
        return self._busy_ack if self._connection.now() < self._busy_until else self.nxt
