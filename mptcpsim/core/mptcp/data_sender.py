"""The sending half of an MPTCP connection: which subflow carries which byte, and when data is repeated.

RFC 8684 sections 3.3.1, 3.3.3, 3.3.5 and 3.3.6. Data sequence numbers are relative: the
first byte is 1. Bytes are assigned to a subflow at the moment they are sent, so that a
subflow never holds data that another one could carry.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_send_state import DataSendState
from mptcpsim.core.mptcp.reinjection import Reinjections
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import DataNumbers, NumberReader
from mptcpsim.core.tcp.window_probe import SWS_OVERRIDE
from mptcpsim.core.window_log import OPENED, OVERRIDE, PROBE
from mptcpsim.plugins import Path, Scheduler
from mptcpsim.units import MINUTE, NEVER

#: Bytes after which the rate is looked at, and the Maximum Segment Lifetime (RFC 9293 section 3.4.2).
_RATE_SPAN: Final = 1 << 26
_MSL: Final = 2 * MINUTE


class DataSender(DataSendState):
    """Decides when new data is sent and on which subflow, and keeps the timers of the connection.

    Attributes:
        reinjections: the data that is sent again.
        backoff: retransmissions of the connection in a row that got no answer.
        rto_at: when the connection-level retransmission timer is due.
        override_at: when a small window is used after all.
        timer_at: when the connection-level retransmission timer last repeated data, ns, or -1.
        maps_ahead: data is mapped onto a subflow before the subflow may send it.
    """

    __slots__ = (
        "_copies",
        "_fills_window",
        "_fixed_timeout",
        "_probe_dsns",
        "_probes_window",
        "_progress_at",
        "_pushing",
        "_rate_from",
        "_rate_since",
        "_rest_end",
        "_retries",
        "_subflows_probe",
        "_wakes_on_window",
        "backoff",
        "maps_ahead",
        "override_at",
        "reinjections",
        "rto_at",
        "timer_at",
    )

    def __init__(self, connection: Session, scheduler: Scheduler, idsn: int) -> None:
        super().__init__(connection, scheduler, idsn)
        config = connection.config
        mptcp = config.mptcp
        self.maps_ahead: bool = mptcp.map_ahead
        self.timer_at: int = -1
        self._wakes_on_window: bool = mptcp.wake_on_window
        self._probes_window: bool = mptcp.data_probe
        self._subflows_probe: bool = mptcp.subflow_probe != "none"
        self._fixed_timeout: int = mptcp.data_timeout
        self._fills_window: bool = mptcp.fill_window
        #: End of the last rest of a window that was sent because ``fill_window`` allows it.
        self._rest_end: int = 1
        self._retries: int = config.data_retries if mptcp.data_retries < 0 else mptcp.data_retries
        #: DSNs of bytes that go out before anything else, to probe the window of the connection, by the
        #: number of the subflow.
        self._probe_dsns: dict[int, int] = {}
        #: With DSNs of 4 octets: where and when the rate was last looked at.
        self._rate_from: int = 1
        self._rate_since: int = 0
        self.backoff: int = 0
        self.rto_at: int = NEVER
        self.override_at: int = NEVER
        self.reinjections = Reinjections(connection, self)
        #: Under a redundant scheduler: how far each subflow has gone through the stream.
        self._copies: dict[int, int] = {}
        self._pushing: bool = False
        #: When the DATA_ACK advanced, or the first of the data outstanding was sent.
        self._progress_at: int = 0

    # --- The application ------------------------------------------------------------------------

    def append(self, count: int) -> None:
        """The application has written ``count`` bytes."""
        self.end += count
        self.may_push = True

    def close(self) -> None:
        """The application writes no more: the DATA_FIN follows what it has written."""
        self.fin_wanted = True

    # --- DATA_ACK -------------------------------------------------------------------------------

    def start(self, idsn: int, window: int) -> None:
        """The version is agreed on, and with it the own IDSN; take the window of the peer's SYN (3.3.5)."""
        self.idsn = idsn
        self.numbers = DataNumbers(idsn, self.octets)
        self._acks = NumberReader(idsn)
        self.wnd_end = max(self.wnd_end, 1 + window)
        self.max_window = window

    def on_data_ack(self, ack: int, window: int, subflow: SubflowState, segment: Segment, now: int) -> None:
        """Take a DATA_ACK and the window that came with it, in a segment on a subflow."""
        highest = self.end + 1 if self.fin_sent else self.nxt
        if ack > highest:
            # It acknowledges data that was never sent.
            return
        if ack + window > self.wnd_end:
            if self.wnd_end <= self.nxt:
                subflow.log_heard(OPENED, segment, now)
            self.wnd_end = ack + window
            self.push_pending = True
            if window > self.max_window:
                self.max_window = window
        elif self.wnd_end == NEVER:
            self.max_window = max(self.max_window, window)
        elif ack + window < self.wnd_end and ack >= self.una:
            # A right edge that moves left is not honoured (section 3.3.4).
            self._connection.count("MptcpsimRightEdgeLeft")
        if ack <= self.una:
            return
        self.una = ack
        self.push_pending = self.may_push = True
        self.backoff = 0
        self._progress_at = now
        if self.fin_sent and ack > self.end:
            self._connection.on_data_fin_acked(subflow, now)
        elif self._connection.wants_write or self._connection.sent_bytes is not None:
            # Maybe the subflow has acknowledged it before.
            self._connection.on_acked(subflow.number, now)

    def lowest_to_send(self) -> int:
        """Return the lowest DSN that this object may have sent, subflows aside.

        The byte before the DATA_ACK, or one that was that, may go out as a probe of the window.
        """
        if not self._probes_window:
            return self.una
        lowest = max(self.una - 1, 1)
        for subflow in self._connection.open:
            lowest = min(lowest, self._probe_dsns.get(subflow.number, lowest))
        return lowest

    # --- Sending --------------------------------------------------------------------------------

    def push(self, now: int) -> None:
        """Send all that windows and scheduler allow: reinjections, new data, the DATA_FIN."""
        self.push_pending = False
        if self._pushing or not self.may_push:
            return
        reinjections = self.reinjections
        if self.una >= reinjections.repair.end:
            reinjections.continue_repair()
        new = self.nxt < self.end
        if not new and not reinjections.queue and not (self.fin_wanted and not self.fin_sent):
            if self.una < self.nxt:
                if self.scheduler.REDUNDANT:
                    self._push_copies(self._connection.usable(), now)
                elif self._connection.wants_write:
                    # Data in flight fills the send buffer.
                    reinjections.on_blocked(self._connection.usable(), now)
            return
        self._pushing = True
        usable = self._connection.usable()
        if usable:
            if reinjections.queue:
                reinjections.push(usable, now)
            if self._probe_dsns and self.wnd_end > self.nxt:
                self._send_probes(usable, now)
            if self.scheduler.REDUNDANT:
                self._push_copies(usable, now)
            elif new and self.maps_ahead:
                self._push_ahead(usable, now)
            elif new:
                self._push_new(usable, now)
            if self.fin_wanted and not self.fin_sent and self.nxt == self.end:
                self.send_fin(now)
            if self.nxt < self.end or reinjections.queue:
                self._wait(usable, now)
        elif self._fixed_timeout and self.rto_at == NEVER and new:
            self._start_timer(now)
        self._pushing = False

    def _push_new(self, usable: list[SubflowState], now: int) -> None:
        # Values that do not change between two segments are read once: this runs for every ACK.
        for subflow in usable:
            subflow.look_for_room(now)
        several = len(usable) > 1
        segments = self._connection.config.mptcp.mapping_segments
        while self.nxt < self.end:
            right = self.end if self.end < self.wnd_end else self.wnd_end
            left = right - self.nxt
            if left <= 0:
                self.reinjections.on_blocked(usable, now)
                break
            chosen = self._choose_by_room(usable, left, now) if several else usable[0]
            if chosen is None:
                break
            subflow = chosen
            mss = subflow.tcp.sender.mss
            length = left
            if left > mss:
                length = mss if segments == 1 else self._several(left, mss * segments, subflow.room_left, mss)
            if subflow.room_left < length:
                break
            if length < mss and self._wait_for_more(length):
                if self.nxt + length < self.end or self._connection.wants_write:
                    # A window or the send buffer, not the application, has no more for the next segment.
                    self.reinjections.on_blocked(usable, now)
                break
            self._send_new(subflow, length, now)
            subflow.use_room(length)

    def _push_ahead(self, usable: list[SubflowState], now: int) -> None:
        """Map data onto every subflow that has sent what it had, whether it may send more or not."""
        segments = self._connection.config.mptcp.mapping_segments
        while self.nxt < self.end:
            idle: list[Path] = []
            for subflow in usable:
                if subflow.tcp.sender.nxt >= subflow.tcp.sender.end:
                    idle.append(subflow)
            if not idle:
                break
            chosen = self.scheduler.choose(idle, now)
            if chosen is None:
                self.declined_at = now
                break
            subflow = self._connection.extensions[chosen.identifier]
            most = subflow.tcp.sender.mss * segments
            length = min(self.end - self.nxt, self.wnd_end - self.nxt, most)
            if length <= 0 or (length < subflow.tcp.sender.mss and self._wait_for_more(length)):
                break
            self._send_new(subflow, length, now)

    def _several(self, left: int, most: int, room: int, mss: int) -> int:
        """Return the length of a mapping over several segments: whole ones, at least one."""
        return max(mss, min(left, most, room) // mss * mss)

    def _choose_by_room(self, usable: list[SubflowState], left: int, now: int) -> SubflowState | None:
        """Have the scheduler choose among those with room for the next segment; None for none."""
        scheduler = self.scheduler
        if not self._compares:
            return self._choose_from_list(usable, left, now)
        best: Path | None = None
        last: SubflowState | None = None
        for subflow in usable:
            mss = subflow.tcp.sender.mss
            if subflow.room_left >= (left if left < mss else mss):
                best = scheduler.better(best, subflow)
                last = subflow
        if best is None:
            return None
        scheduler.on_chosen(best)
        return last if best is last else self._connection.extensions[best.identifier]

    def _choose_from_list(self, usable: list[SubflowState], left: int, now: int) -> SubflowState | None:
        available: list[Path] = []
        for subflow in usable:
            mss = subflow.tcp.sender.mss
            if subflow.room_left >= (left if left < mss else mss):
                available.append(subflow)
        if not available:
            return None
        chosen = self.scheduler.choose(available, now)
        if chosen is None:
            self.declined_at = now
            return None
        return self._connection.extensions[chosen.identifier]

    def _wait_for_more(self, length: int) -> bool:
        """Return whether a short segment should wait for more data (RFC 9293 sections 3.7.4, 3.8.6.2.1)."""
        outstanding = self.nxt > self.una
        nagle = self._connection.config.nagle
        if self.nxt + length == self.end:
            return nagle and outstanding and not self.fin_wanted
        if self._fills_window:
            # One rest at a time: a receiver that rounds its window up (RFC 7323 section 2.4) would answer
            # several by as many bytes more of window, for ever. Linux waits as Nagle's algorithm does.
            return self._rest_end > self.una
        # The window cuts the segment short: send it only if it is half of the largest window.
        return length * 2 < self.max_window or (nagle and outstanding)

    def _send_new(self, subflow: SubflowState, length: int, now: int) -> None:
        dsn = self.nxt
        # MP_CAPABLE, which stands in for the first mapping of version 1, has no flag for it.
        fin = self.fin_wanted and dsn + length == self.end and not subflow.next_has_keys()
        if self.una == dsn:
            self._progress_at = now
            self._arm(now)
        if self._probe_dsns and subflow.number in self._probe_dsns:
            self._send_probe(subflow, now)
        self.nxt = dsn + length
        if self._fills_window and self.nxt < self.end and length < subflow.tcp.sender.mss:
            self._rest_end = self.nxt
        if fin:
            self.fin_sent = True
        subflow.send_data(dsn, length, fin, self.nxt == self.end, now)
        if dsn >= self._rate_from + _RATE_SPAN and self.octets == 4:
            self._look_at_rate(now)
        if fin:
            self._connection.on_data_fin_sent()

    def _send_probes(self, usable: list[SubflowState], now: int) -> None:
        """Send the bytes that probe a reopened window first, where the subflow's own window allows it."""
        for subflow in usable:
            if subflow.number in self._probe_dsns and subflow.tcp.sender.wnd_end > subflow.tcp.sender.nxt:
                self._send_probe(subflow, now)

    def _send_probe(self, subflow: SubflowState, now: int) -> None:
        dsn = self._probe_dsns.pop(subflow.number)
        self.repeated_while_closed += 1
        subflow.send_data(dsn, 1, False, True, now)
        sender = subflow.tcp.sender
        subflow.tcp.log(PROBE, now, sender.nxt - 1, 1)

    def _look_at_rate(self, now: int) -> None:
        """Go over to 8 octets if 4 could wrap within one MSL (section 3.3.1: "MUST")."""
        if (now - self._rate_since) * ((1 << 32) // _RATE_SPAN) < _MSL:
            self.octets = 8
            self.numbers = DataNumbers(self.idsn, 8)
            self._connection.on_longer_numbers()
        self._rate_from = self.nxt
        self._rate_since = now

    def _push_copies(self, usable: list[SubflowState], now: int) -> None:
        """Every subflow carries everything that is not acknowledged, in order."""
        for subflow in usable:
            while True:
                dsn = max(self._copies.get(subflow.number, 1), self.una)
                right = min(self.end, self.wnd_end)
                mss = subflow.tcp.sender.mss
                length = min(right - dsn, mss)
                if length <= 0 or subflow.room(now) < length:
                    break
                if dsn + length > self.nxt and length < mss and self._wait_for_more(length):
                    break
                self._copies[subflow.number] = dsn + length
                if dsn + length > self.nxt:
                    # Partly new: the subflow that is first sends that part as new data.
                    if dsn < self.nxt:
                        length = self.nxt - dsn
                        self._copies[subflow.number] = self.nxt
                        subflow.send_data(dsn, length, False, False, now)
                    else:
                        self._send_new(subflow, length, now)
                else:
                    fin = self.fin_sent and dsn + length == self.end
                    subflow.send_data(dsn, length, fin, dsn + length == self.end, now)

    def _wait(self, usable: list[SubflowState], now: int) -> None:
        """Data is left over: where nothing is in flight, some timer has to run."""
        idle = True
        closed = self.nxt < self.end and self.wnd_end <= self.nxt
        if not self._wakes_on_window:
            self.may_push = False
        if self._fixed_timeout and self.rto_at == NEVER:
            self._start_timer(now)
        for subflow in usable:
            board = subflow.tcp.sender.board
            if board.head < len(board.records):
                idle = False
            elif closed or subflow.own_window_closed():
                if not self._subflows_probe or (self._probes_window and self.una < self.nxt):
                    # Linux: the byte below gives a subflow something to probe with, once all is acknowledged.
                    continue
                subflow.tcp.sender.window_probe.wait(now)
                if closed and self._probes_window and self.una > 1 and subflow.number not in self._probe_dsns:
                    self._connection.count("MPTcpExtWinProbe")
                    self._probe_dsns[subflow.number] = self.una - 1
        if idle and not closed and self.override_at == NEVER:
            self.override_at = now + SWS_OVERRIDE
            self._connection.wake_by(self.override_at)

    # --- DATA_FIN and timers --------------------------------------------------------------------

    def send_fin(self, now: int) -> None:
        """Send a DATA_FIN without data (section 3.3.3), for the first time or again."""
        usable = self._connection.usable() or self._connection.alive()
        if not usable:
            return
        if not self.fin_sent:
            self.fin_sent = True
            self._progress_at = now
            self._arm(now)
            usable[0].send_data_fin(now)
            self._connection.on_data_fin_sent()
        else:
            for subflow in usable:
                subflow.send_data_fin(now)

    def stop(self) -> None:
        """Send nothing any more: the connection was aborted."""
        self.end = self.nxt
        self.fin_wanted = False
        self.rto_at = self.override_at = NEVER
        self.reinjections.stop()

    def _timeout(self) -> int:
        if self._fixed_timeout:
            return self._fixed_timeout
        longest = 0
        for subflow in self._connection.alive():
            longest = max(longest, subflow.tcp.sender.rtt.rto)
        config = self._connection.config
        return min((longest or config.rto_initial) << min(self.backoff, 8), config.rto_max)

    def _start_timer(self, now: int) -> None:
        self._progress_at = now
        self._arm(now)

    def _arm(self, now: int) -> None:
        self.rto_at = now + self._timeout()
        self._connection.wake_by(self.rto_at)

    def on_timer(self, now: int) -> None:
        """The connection-level timers are due."""
        if self.override_at <= now:
            self.override_at = NEVER
            self._use_small_window(now)
        if self.rto_at > now:
            return
        self.rto_at = NEVER
        waiting = self._fixed_timeout > 0 and self.nxt < self.end
        if self.una >= self.highest() and not waiting:
            return
        if self._progress_at + self._timeout() > now:
            # DATA_ACKs do not touch the timer: what they are worth shows here.
            self._arm(self._progress_at)
            return
        if self.backoff >= self._retries:
            self._connection.time_out("nothing was acknowledged at the connection", now)
            return
        if self._connection.awaits_fallback():
            # During a fallback to plain TCP the data in flight has to stay contiguous.
            self._arm(now)
            return
        if self.una < self.nxt and not self.reinjections.oldest_is_assigned():
            if not self.reinjections.on_connection_timeout(self.backoff, now):
                self._arm(now)
                return
            self.backoff += 1
        elif self.una == self.nxt and self.fin_sent:
            self.send_fin(now)
            self.backoff += 1
        elif self._fixed_timeout:
            self.backoff += 1
        self._arm(now)
        self.may_push = True
        self.timer_at = now
        self.push(now)

    def _use_small_window(self, now: int) -> None:
        usable = self._connection.usable()
        if any(len(subflow.tcp.sender.board) for subflow in usable):
            return
        for subflow in usable:
            most = self._small_room(subflow, now)
            if most > 0:
                length = self.reinjections.resend_first(subflow, most, now)
                if length:
                    subflow.tcp.log(OVERRIDE, now, subflow.tcp.sender.nxt - length, length)
                    return
        left = min(self.end, self.wnd_end) - self.nxt
        for subflow in usable:
            length = min(left, self._small_room(subflow, now))
            if length > 0:
                self._send_new(subflow, length, now)
                subflow.tcp.log(OVERRIDE, now, subflow.tcp.sender.nxt - length, length)
                return

    def _small_room(self, subflow: SubflowState, now: int) -> int:
        """Return how much of one segment a subflow may send that has nothing waiting; 0 or less for none."""
        sender = subflow.tcp.sender
        return 0 if sender.nxt < sender.end else min(subflow.room(now), sender.mss)
