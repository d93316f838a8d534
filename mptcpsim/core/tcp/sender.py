"""The sending half of a TCP connection: what an acknowledgment means, and the retransmission timer.

What is sent is in ``output`` (Linux has ``tcp_input.c`` and ``tcp_output.c`` alike).
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import ECE, FIN, SYN, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.output import Output
from mptcpsim.core.tcp.receiver import Receiver
from mptcpsim.core.tcp.recovery import OPEN
from mptcpsim.core.tcp.scoreboard import Sent
from mptcpsim.core.window_log import TIMED_OUT
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import MILLISECOND, NEVER

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


class Sender(Output):
    """The sending half: takes acknowledgments and the retransmission time-out."""

    __slots__ = ("_sack_clean", "_sack_newest")

    def __init__(
        self, tcp: ControlBlock, receiver: Receiver, congestion: CongestionControl, config: TcpConfig
    ) -> None:
        super().__init__(tcp, receiver, congestion, config)
        #: Of what the present ACK newly SACKs: none was sent twice, and when the last one was sent, or -1.
        self._sack_clean: bool = True
        self._sack_newest: int = -1

    # --- Acknowledgments ----------------------------------------------------------------------

    def on_expected_ack(self, segment: Segment, edge: int, now: int) -> None:
        """Take the ACK of the common case: it advances, nothing is lost, SACKed or probed."""
        self.wl1 = segment.seq
        self.wl2 = segment.ack
        if edge != self.wnd_end:
            self.wnd_end = edge
            if edge - segment.ack > self.max_window:
                self.max_window = edge - segment.ack
        board = self.board
        records = board.records
        ack = segment.ack
        una = self.una
        flight = self.nxt - una
        first = records[board.head]
        rack = self.recovery.rack
        record = first
        while record.end <= ack:
            if rack is not None:
                rack.on_delivered(record, now, self.rtt.minimum, False)
            board.pop_head()
            if board.head == len(records):
                break
            record = records[board.head]
        if record.seq < ack < record.end:
            board.acknowledge_part(record, ack)
        self.una = ack
        if not first.retransmissions:
            self.rtt.sample(now - first.sent_at)
            self.recovery.on_rtt_sample()
        self.timeouts_in_a_row = 0
        acked = ack - una
        congestion = self.congestion
        if flight + self.mss > congestion.cwnd:
            congestion.on_ack(acked, now, self.rtt.srtt, flight)
        else:
            congestion.on_unused_window(flight, now)
        self.arm_rto(now)
        self.tcp.acknowledged(now)

    def on_ack(self, segment: Segment, now: int) -> None:
        """Take any acceptable acknowledgment (RFC 9293 section 3.10.7.4 step 5, RFC 2018, 6675, 8985)."""
        board = self.board
        recovery = self.recovery
        self.ecn_echoed = self.ecn and bool(segment.flags & ECE)
        if self.ecn_echoed:
            self.on_ecn_echo(now)
        ack = segment.ack
        una = self.una
        flight = self.nxt - una
        self.window_probe.on_ack()
        window_moved = self.update_window(segment)
        acked = ack - una if ack > una else 0
        delivered = 0
        rtt = -1
        echo = segment.ts_ecr
        if acked:
            if ack > self.nxt:
                # A window probe was accepted (probes lie beyond SND.NXT).
                self._probe_accepted(ack)
            delivered, rtt = self._acknowledge(ack, echo, now)
            self.una = ack
            board.ranges.remove_below(ack)
            self.timeouts_in_a_row = 0
        dsack = above = copy = False
        fresh = 0
        if segment.sack is not None and recovery.sack:
            dsack = self._is_dsack(segment.sack, ack)
            if dsack:
                above = segment.sack[0][0] >= ack
                self.tcp.count("TcpExtTCPDSACKRecv")
                # A FIN at the end of the probe has no place in a D-SACK.
                copy = recovery.tlp_end >= 0 and segment.sack[0][1] >= recovery.tlp_end - 1
                if recovery.rack is not None and not copy:
                    # A loss probe was due to a timer, whatever RACK's window (as in Linux).
                    recovery.rack.on_dsack(ack, self.nxt)
            fresh, sack_rtt = self._take_sack(segment.sack, ack, now)
            if rtt < 0 and not acked and not dsack:
                # An ACK that a duplicate triggered may report what arrived long ago.
                rtt = sack_rtt
        if rtt >= 0:
            self.rtt.sample(rtt)
            recovery.on_rtt_sample()
        elif acked and echo > 0 and segment.ts_val != UNKNOWN and not (dsack and above):
            # Only retransmitted data: Karn's rule leaves the timestamp (RFC 7323 section 4). The answer
            # to a duplicate above a gap echoes an older segment, from before an ACK that was lost: no sample.
            elapsed = (self.tcp.timestamp(now) - echo) & _MASK
            if elapsed < _HALF:
                self.rtt.sample(max(elapsed, 1) * MILLISECOND)
                recovery.on_rtt_sample()
        duplicate = False
        if not acked and len(board):
            if recovery.sack:
                duplicate = fresh > 0
            else:
                # An ACK with a signal of MPTCP says nothing of a loss (RFC 8684 section 4).
                duplicate = (
                    segment.length == 0
                    and not window_moved
                    and not segment.flags & FIN
                    and segment.options is None
                )
        bare = not acked and segment.length == 0 and segment.sack is None
        if recovery.tlp_end >= 0:
            recovery.judge_probe(ack, copy, bare, flight, now)
        if acked or fresh or duplicate or recovery.ca_state != OPEN:
            recovery.on_ack(acked, delivered + fresh, duplicate, flight, now)
        if acked:
            self.arm_rto(now)
            self.tcp.acknowledged(now)
        elif fresh and recovery.ca_state == OPEN:
            recovery.arm_probe(now)

    def _acknowledge(self, ack: int, echo: int, now: int) -> tuple[int, int]:
        """Take acknowledged records off the board; return bytes newly delivered and an RTT sample or -1."""
        board = self.board
        records = board.records
        rack = self.recovery.rack
        delivered = 0
        rtt = -1
        clean = True
        while board.head < len(records):
            record = records[board.head]
            if record.end > ack:
                if record.seq < ack:
                    if not record.sacked:
                        delivered += ack - record.seq
                    board.acknowledge_part(record, ack)
                break
            if not record.sacked:
                delivered += record.end - record.seq
                if rack is not None:
                    rack.on_delivered(record, now, self.rtt.minimum, self._echo_is_older(echo, record))
                if record.retransmissions:
                    clean = False
                elif rtt < 0:
                    rtt = now - record.sent_at
            board.pop_head()
        return delivered, rtt if clean else -1

    def _take_sack(self, blocks: tuple[tuple[int, int], ...], ack: int, now: int) -> tuple[int, int]:
        """Mark what the blocks newly report; return the bytes and an RTT sample or -1."""
        board = self.board
        ranges = board.ranges
        self._sack_clean = True
        self._sack_newest = -1
        news = board.take_report(blocks, self.nxt)
        if len(news) > 1:
            # In order of sequence: what an earlier ACK, now lost, reported is not out of order.
            news.sort()
        fresh = 0
        for left, right in news:
            left = max(left, ack)
            if left >= right or right > self.nxt:
                continue
            if ranges.add_above(left, right):
                fresh += self._mark_sacked(left, right, now)
            else:
                for low, high in ranges.add(left, right):
                    fresh += self._mark_sacked(low, high, now)
        newest = self._sack_newest
        return fresh, now - newest if self._sack_clean and newest >= 0 else -1

    def _mark_sacked(self, low: int, high: int, now: int) -> int:
        """Mark what lies between, which was not SACKed before; return how many bytes."""
        board = self.board
        rack = self.recovery.rack
        records = board.records
        fresh = 0
        index = board.index_to_sack(low)
        while index < len(records):
            record = records[index]
            if record.seq >= high:
                break
            if record.seq < low:
                self._split(index, low)
                index += 1
                continue
            if record.end > high:
                self._split(index, high)
            if not record.sacked:
                fresh += record.end - record.seq
                if rack is not None:
                    # Above a gap the echoed timestamp is that of the segment before the gap
                    # (RFC 7323 section 4.3): it does not tell which copy arrived.
                    rack.on_delivered(record, now, self.rtt.minimum, False)
                if record.retransmissions:
                    self._sack_clean = False
                elif record.sent_at > self._sack_newest:
                    self._sack_newest = record.sent_at
                board.mark_sacked(record)
            index += 1
        board.note_sacked_to(index)
        return fresh

    def _echo_is_older(self, echo: int, record: Sent) -> bool:
        """Return whether an echoed timestamp precedes the record's last transmission (RFC 8985 6.2)."""
        if echo <= 0 or not record.retransmissions:
            return False
        return (echo - self.tcp.timestamp(record.sent_at)) & _MASK >= _HALF

    def _is_dsack(self, blocks: tuple[tuple[int, int], ...], ack: int) -> bool:
        """Return whether the first block reports a duplicate (RFC 2883 section 4)."""
        left, right = blocks[0]
        if left < ack:
            return True
        return len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1]

    def on_same_window(self, segment: Segment) -> None:
        """The peer repeats the window that it announced before; older segments no longer change it."""
        self.wl1 = segment.seq
        self.wl2 = segment.ack

    def update_window(self, segment: Segment) -> bool:
        """Take SND.WND from a segment that is not older than the last (RFC 9293 3.10.7.4 step 5)."""
        seq, ack = segment.seq, segment.ack
        if not (self.wl1 < seq or (self.wl1 == seq and self.wl2 <= ack)):
            return False
        # The window of a SYN is never scaled (RFC 7323 section 2.2): a simultaneous open has one here.
        window = segment.window if segment.flags & SYN else segment.window << self.tcp.snd_scale
        self.wl1 = seq
        self.wl2 = ack
        moved = ack + window != self.wnd_end
        if moved and self.wnd_end <= self.nxt < ack + window:
            self.tcp.log_opened(segment)
        self.wnd_end = ack + window
        if window > self.max_window:
            self.max_window = window
        self.window_probe.on_window()
        return moved

    def on_ecn_echo(self, now: int) -> None:
        """The peer saw a CE mark: react once a window of data (RFC 3168 section 6.1.2)."""
        if self.recovery.ca_state != OPEN or self.una < self.ecn_point:
            return
        self.window.on_ecn_echo(self.nxt - self.una, self.mss, now)
        self.window_reduced()
        self.tcp.count("TcpExtTCPECNReduction")

    def on_smaller_mss(self, now: int) -> None:
        """Send segments that exceed the path MTU again in smaller pieces.

        Their loss does not signal congestion (RFC 8201 section 5.4): cwnd keeps its number of segments.
        """
        board = self.board
        for index in range(board.head, len(board.records)):
            record = board.records[index]
            if record.end - record.seq - (1 if record.fin else 0) > self.mss and not record.sacked:
                board.mark_lost(record)
        if board.lost:
            self.recovery.repair(self.nxt)
            self.output(now)

    # --- Timers -------------------------------------------------------------------------------

    def on_rto(self, now: int) -> None:
        """The retransmission timer expired (RFC 6298 section 5.4 to 5.7)."""
        board = self.board
        self.rto_at = NEVER
        if not len(board):
            return
        self.timeouts_in_a_row += 1
        if self.timeouts_in_a_row > self.tcp.most_timeouts():
            self.tcp.give_up("timed out: data was not acknowledged", now)
            return
        self.tcp.count("TcpExtTCPTimeouts")
        self.recovery.on_timeout(now)
        self.rtt.back_off()
        extension = self.tcp.extension
        if extension is not None and extension.is_active:
            extension.on_timeout(now)
        self.tcp.note(
            "retransmission time-out", f"seq {board.records[board.head].seq} rto {self.rtt.timeout()}"
        )
        self.retransmit(board.records[board.head], now)
        sent = self.tcp.last_sent()
        self.tcp.log(TIMED_OUT, now, sent.seq, sent.length)
        self.arm_rto(now)

    def _probe_accepted(self, ack: int) -> None:
        """The peer took what a window probe carried beyond SND.NXT."""
        if ack > self.end:
            self.fin_sent = True
            self.tcp.fin_was_sent()
        else:
            self.sent_bytes += ack - self.nxt
        self.nxt = ack
