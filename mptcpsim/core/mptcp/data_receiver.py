"""The receiving half of an MPTCP connection: reassembly by DSN, the shared window, the DATA_ACK.

RFC 8684 sections 3.3.2 and 3.3.4. Data sequence numbers are relative: the first byte is 1.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_states import M_INIT
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX, Dss
from mptcpsim.core.ranges import Ranges
from mptcpsim.core.sequences import UNKNOWN, DataNumbers, NumberReader, narrow
from mptcpsim.units import NEVER

_MAX_FIELD: Final = 0xFFFF


class DataReceiver:
    """Receive state of a connection; sizes in bytes.

    Attributes:
        nxt: next DSN expected, that is the DATA_ACK.
        wnd_end: right edge of the window as the peer reads it; never moves left.
        limit: right edge that the receive buffer allows now; the application moves it by reading.
        out_of_order: ranges above ``nxt`` that have arrived.
        fin_at: DSN of the peer's DATA_FIN, or -1.
        ack_octets: octets of a DATA_ACK, 4 or 8.
        numbers: the form of a DATA_ACK on the wire.
        duplicate_bytes: bytes that had arrived before, on whichever subflow.
    """

    __slots__ = (
        "_ack",
        "_ack_for",
        "_connection",
        "_dsns",
        "_field",
        "_seen_limit",
        "_seen_nxt",
        "_seen_scale",
        "_spare",
        "_waits_for_mappings",
        "ack_octets",
        "announced_wnd_end",
        "buffer",
        "duplicate_bytes",
        "fin_at",
        "idsn",
        "last_ack_sent",
        "limit",
        "mss",
        "numbers",
        "nxt",
        "out_of_order",
        "refused_end",
        "wnd_end",
        "zero_window",
    )

    def __init__(self, connection: Session, buffer: int, ack_octets: int) -> None:
        self._connection = connection
        #: The peer's IDSN, 0 before its key is known.
        self.idsn: int = 0
        self.nxt: int = 1
        self.buffer = buffer
        self.wnd_end: int = 1
        #: The largest right edge that a subflow has announced.
        self.announced_wnd_end: int = 1
        self.limit: int = 1 + buffer
        self.out_of_order = Ranges()
        self.fin_at: int = UNKNOWN
        #: End of the data that was refused though its subflow has acknowledged it.
        self.refused_end: int = 0
        self.ack_octets = ack_octets
        self.numbers = DataNumbers(0, ack_octets)
        #: Reads the DSNs that arrive.
        self._dsns = NumberReader(0)
        self.duplicate_bytes: int = 0
        self.mss: int = 536
        self.zero_window: bool = False
        #: Some subflow has data without a mapping.
        self._waits_for_mappings: bool = False
        mptcp = connection.config.mptcp
        #: Bytes that may arrive beyond ``limit``: promises that were rounded up, or given twice.
        self._spare: int = buffer
        if mptcp.receive_window != "connection":
            # The connection has no right edge of its own: it takes whatever a subflow may take.
            self.wnd_end = NEVER
            # Data out of order is not bounded: each subflow may have promised the whole buffer.
            self._spare = NEVER
        #: The last DATA_ACK sent without data. It matters only where some ACKs carry none.
        self.last_ack_sent: int = 0
        self._ack: Dss = Dss()
        self._ack_for: int = -1
        self._field: int = 0
        self._seen_nxt: int = -1
        self._seen_limit: int = -1
        self._seen_scale: int = -1

    def start(self, idsn: int) -> None:
        """The peer's key is known, and with it the number where its stream begins."""
        self.idsn = idsn
        self.numbers = DataNumbers(idsn, self.ack_octets)
        self._dsns = NumberReader(idsn)
        self._ack_for = -1

    def on_established(self, mss: int) -> None:
        """The first subflow is established; the peer sends segments of so many bytes."""
        self.mss = mss

    def make_room(self, count: int) -> None:
        """The application takes ``count`` bytes out of the buffer."""
        self.limit += count

    # --- What segments say of it --------------------------------------------------------------

    def ack_dss(self) -> Dss:
        """Return the DSS of a segment without a mapping."""
        return self._ack if self._ack_for == self.nxt else self._dss_of(self.nxt)

    def _dss_of(self, nxt: int) -> Dss:
        """Return the DSS with a DATA_ACK, and keep it."""
        self._ack_for = nxt
        self._ack = Dss(self.ack_octets, nxt, ack_numbers=self.numbers)
        return self._ack

    def note_ack_sent(self) -> Dss:
        """Return ``ack_dss()`` for a segment without data, and note it in ``last_ack_sent``."""
        self.last_ack_sent = self.nxt
        return self.ack_dss()

    def note_announced(self, edge: int) -> bool:
        """Note the right edge that a subflow announces; return whether it is further than any before."""
        if edge <= self.announced_wnd_end:
            return False
        self.announced_wnd_end = edge
        return True

    def on_read(self, count: int, now: int) -> None:
        """The application has read ``count`` bytes."""

    def grow(self, more: int) -> None:
        """The buffer has ``more`` bytes."""
        self.buffer += more
        self.limit += more
        # What may arrive beyond the limit is once more the buffer (see ``_spare``).
        self._spare = min(self._spare + more, NEVER)

    def widen_ack(self) -> bool:
        """Answer 64-bit DSNs with 64-bit DATA_ACKs (section 3.3.2); return whether that is new."""
        if self.ack_octets == 8:
            return False
        self.ack_octets = 8
        self.numbers = DataNumbers(self.idsn, 8)
        self._ack_for = -1
        return True

    def dsn_of(self, dss: Dss) -> int:
        """Return the relative form of the DSN of a mapping that the peer sent."""
        return self._dsns.read(dss.first, dss.dsn_numbers, dss.dsn_octets, self.nxt)

    def absolute(self, dsn: int) -> int:
        """Return the 64-bit form of a relative DSN."""
        return narrow(dsn, 8, self.idsn)

    def window_field(self, scale: int) -> int:
        """Return the window field to send with a DATA_ACK of ``nxt``, and note the edge that it promises.

        As in TCP the edge moves in steps worth a segment (RFC 9293 section 3.8.6.2.2), and never to
        the left as the peer reads it: where a shift would take back a promise it is rounded up.
        """
        same = self.nxt == self._seen_nxt and self.limit == self._seen_limit and scale == self._seen_scale
        return self._field if same else self._field_with(self.nxt, scale)

    def _field_with(self, nxt: int, scale: int) -> int:
        """Return the window field that goes with a DATA_ACK."""
        limit = self.limit
        self._seen_nxt = nxt
        self._seen_limit = limit
        self._seen_scale = scale
        edge = self.wnd_end
        target = limit if limit - edge >= self._step(scale) else edge
        field = (target - nxt) >> scale
        if field > _MAX_FIELD:
            field = _MAX_FIELD
        if nxt + (field << scale) < edge:
            field = min((edge - nxt + (1 << scale) - 1) >> scale, _MAX_FIELD)
        promised = nxt + (field << scale)
        if promised > edge:
            self.wnd_end = promised
        if field == 0 and not self.zero_window:
            self.zero_window = True
            self._connection.count("TcpExtTCPToZeroWindowAdv")
            self._connection.note("zero window advertised", f"data ack {nxt}")
        elif field and self.zero_window:
            self.zero_window = False
            self._connection.count("TcpExtTCPFromZeroWindowAdv")
            self._connection.note("window reopened", f"edge {self.wnd_end}")
        self._field = field
        return field

    def _step(self, scale: int) -> int:
        return max(min(self.mss, self.buffer // 2), 1 << scale)

    def least_step(self, scale: int) -> int:
        """Return by how many bytes the edge moves at least."""
        return self._step(scale)

    def is_filled_by(self, unmapped: int) -> bool:
        """Return whether so many bytes without a mapping use up the window that the peer has.

        Data out of order takes its share of the window, and the last segment may leave a gap. A window that
        a slow reader keeps small proves nothing.
        """
        least = max(self.buffer // 2, 1)
        if self.wnd_end == NEVER:
            return unmapped >= least
        return unmapped + self.out_of_order.total >= max(self.wnd_end - self.nxt - self.mss, least)

    def syn_window(self) -> int:
        """Return the window field of a SYN, which is not scaled (RFC 7323 section 2.2)."""
        field = max(0, min(self.limit - self.nxt, _MAX_FIELD))
        if self._connection.state == M_INIT:
            # Before any DATA_ACK the window starts at the first byte (section 3.3.5).
            self.wnd_end = max(self.wnd_end, self.nxt + field)
        return field

    def wants_window_update(self, scale: int) -> bool:
        """Return whether the application has read enough for a window update."""
        return min(self.limit, self.nxt + (_MAX_FIELD << scale)) - self.wnd_end >= self.least_gain(scale)

    def owes_update(self, scale: int) -> bool:
        """Return whether the peer sees less than a segment of window and an update would raise it."""
        return self.wnd_end - self.nxt < self.mss and self.wants_window_update(scale)

    def least_gain(self, scale: int) -> int:
        """Return by how many bytes the edge must move to be worth an update."""
        step = self._step(scale)
        if self.wnd_end - self.nxt < self.mss:
            return step
        return max(min(2 * self.mss, self.buffer // 2), step)

    # --- What arrives ---------------------------------------------------------------------------

    def on_data(self, dsn: int, length: int, subflow: SubflowState, now: int) -> None:
        """Take bytes that are in order on their subflow (section 3.3.4)."""
        connection = self._connection
        right = dsn + length
        nxt = self.nxt
        most = self.limit + self._spare
        if (
            dsn == nxt
            and right <= self.wnd_end
            and right <= most
            and self.fin_at == UNKNOWN
            and not self.out_of_order.total
        ):
            self.nxt = right
            connection.deliver(dsn, length, subflow, now)
            return
        if right > self.wnd_end:
            # Beyond the window: not taken, and not DATA_ACKed (section 3.8).
            connection.count("MPTcpExtNoDSSInWindow")
            right = self.wnd_end
        if right > most:
            # Promises were rounded up so often that twice the buffer is in use (Linux: TCPRcvQDrop).
            connection.count("TcpExtTCPRcvQDrop")
            right = most
        if right < dsn + length:
            self.refused_end = max(self.refused_end, dsn + length)
        right = min(right, self._last())
        left = dsn
        if left < nxt:
            self._duplicate(min(right, nxt) - left)
            left = nxt
        if left >= right:
            return
        if left > nxt:
            connection.counters().count_out_of_order(left >= self.out_of_order.highest())
            if not self.out_of_order.add_above(left, right):
                self._add(left, right)
            if self._waits_for_mappings:
                self._judge_unmapped(now)
            return
        if self.out_of_order.total:
            end = self.out_of_order.take_first(right)
            if end < 0:
                self._add(left, right)
                merged = self.out_of_order.around(left)
                assert merged is not None
                end = merged[1]
                self.out_of_order.remove_below(end)
            if end > right:
                connection.counters().count_merged()
            right = min(end, self._last())
        self.nxt = right
        connection.deliver(left, right - left, subflow, now)
        if self.fin_at == right:
            self.take_fin(subflow, now)

    def on_unmapped(self, now: int) -> None:
        """A subflow has data in order whose mapping has not come."""
        self._waits_for_mappings = True
        self._judge_unmapped(now)

    def _judge_unmapped(self, now: int) -> None:
        """Reset a subflow whose mapping has not come within a window of data (RFC 8684 section 3.3.1).

        The window is that of the connection. Where all of it has arrived, be it without a mapping or out of
        order for want of what has none, the peer can send nothing more, and nothing of it can ever be
        delivered.
        """
        connection = self._connection
        waiting = [(subflow.unmapped(), subflow.number) for subflow in connection.open]
        most, number = max(waiting, default=(0, 0))
        self._waits_for_mappings = most > 0
        if most and self.is_filled_by(sum(count for count, _ in waiting)):
            connection.count("MPTcpExtDSSNoMatchTCP")
            subflow = connection.extensions[number]
            subflow.reset(REASON_MIDDLEBOX, "a window of data without mapping", now)

    def unreceived(self, left: int, right: int) -> list[tuple[int, int]]:
        """Return the parts of [left, right) that ``on_data`` would take: not old, and within the window."""
        left = max(left, self.nxt)
        right = min(right, self.wnd_end, self.limit + self._spare, self._last())
        return self.out_of_order.missing(left, right) if left < right else []

    def _last(self) -> int:
        """Return where the peer's stream ends: nothing follows a DATA_FIN, whatever the peer sends."""
        if self.fin_at == UNKNOWN:
            return NEVER
        return self.fin_at if self.fin_at > UNKNOWN else self.nxt - 1

    def _add(self, left: int, right: int) -> None:
        """Keep data out of order of which some may have come before."""
        known = right - left
        for low, high in self.out_of_order.add(left, right):
            known -= high - low
        self._duplicate(known)

    def _duplicate(self, count: int) -> None:
        if count > 0:
            self.duplicate_bytes += count
            self._connection.count("MPTcpExtDuplicateData")

    def on_fin(self, dsn: int, subflow: SubflowState, now: int) -> None:
        """Note the DSN of the peer's DATA_FIN (section 3.3.3)."""
        self.last_ack_sent = 0
        if self.fin_at == UNKNOWN and dsn >= self.nxt:
            self.fin_at = dsn
        if self.fin_at == self.nxt:
            self.take_fin(subflow, now)

    def take_fin(self, subflow: SubflowState, now: int) -> None:
        """Everything before the DATA_FIN is there: it takes one number, and is DATA_ACKed."""
        self.nxt += 1
        self.limit += 1
        self.wnd_end = max(self.wnd_end, self.nxt)
        self.fin_at = UNKNOWN - 1
        self.out_of_order.remove_below(NEVER)
        subflow.tcp.receiver.request_ack()
        self._connection.on_data_fin(subflow, now)
