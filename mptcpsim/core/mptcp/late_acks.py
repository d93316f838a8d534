"""A DATA_ACK that lags while the application reads (setting ``data_ack_lag``).

In Linux, data that arrives while a read holds the socket lock is acknowledged on its subflow at once. The
connection takes it later, and no ACK is sent then.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.session import Session
from mptcpsim.core.mptcp_options import Dss

#: Bytes of a read that lasts as long as the setting says; a smaller read takes proportionally less.
_WHOLE: Final = 32 * 1024


class LateReceiver(DataReceiver):
    """For ``lag`` ns after a read of 32 KiB, segments repeat the DATA_ACK from before the read."""

    __slots__ = ("_busy_ack", "_busy_until", "_lag")

    def __init__(self, connection: Session, buffer: int, ack_octets: int, lag: int) -> None:
        super().__init__(connection, buffer, ack_octets)
        self._lag = lag
        self._busy_until: int = 0
        self._busy_ack: int = 1

    def on_read(self, count: int, now: int) -> None:
        """Hold the DATA_ACK back for a time in proportion to the bytes read.

        Data that arrived during the previous read was taken at its end, so before this one.
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
