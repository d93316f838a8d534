"""The sending half of a TCP connection: what to send now, and what an ACK means.

Decisions stand here; loss detection is in ``recovery``, the windows of congestion
control in a plug-in, the building of segments in ``tcp``.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import ACK, CWR, ECE, FIN, PSH, SYN, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.chrono import BUSY, IDLE, RWND_LIMITED, SNDBUF_LIMITED, Chrono
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.receiver import Receiver
from mptcpsim.core.tcp.recovery import OPEN, RECOVERY, Recovery
from mptcpsim.core.tcp.scoreboard import Sent
from mptcpsim.core.tcp.seams import DataSource
from mptcpsim.core.tcp.send_state import SendState
from mptcpsim.core.tcp.window_probe import WindowProbe
from mptcpsim.core.window_log import TIMED_OUT
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import MILLISECOND, NEVER

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


class Sender(SendState):
    """The sending half: decides what is sent, and takes acknowledgments.

    Attributes:
        recovery: detects and repairs losses.
        window_probe: probes the peer's window while it is closed.
        chrono: measures for how long which limit has held the sender back.
    """

    __slots__ = ("chrono", "recovery", "window_probe")

    def __init__(
        self, tcp: ControlBlock, receiver: Receiver, congestion: CongestionControl, config: TcpConfig
    ) -> None:
        super().__init__(tcp, receiver, congestion, config)
        self.chrono = Chrono()
        self.window_probe = WindowProbe(self)
        self.recovery = Recovery(self)

    # --- The life of a connection -------------------------------------------------------------

    def append(self, count: int) -> None:
        """The application has written ``count`` bytes, or a data source has mapped them."""
        self.end += count

    def close(self) -> None:
        """No more data comes: the FIN follows what is queued."""
        self.fin_wanted = True

    def on_syn_sent(self) -> None:
        """The SYN, or the SYN/ACK, takes the first number."""
        self.nxt = 1
        self.window_probe.start(1)

    def on_syn(self, syn: Segment, mss: int) -> None:
        """Take the peer's MSS and window from its SYN; the window is never scaled (RFC 7323 section 2.2)."""
        self.peer_mss = mss
        self.update_mss()
        self.wl1 = syn.seq
        self.wl2 = syn.ack if syn.flags & ACK else 0
        self.wnd_end = (syn.ack if syn.flags & ACK else 1) + syn.window
        self.max_window = syn.window

    def establish(self, rtt: int, sack: bool, now: int) -> None:
        """The handshake is complete; ``rtt`` is that of the SYN, ns, -1 where it was sent more than once."""
        self.una = 1
        self.rto_at = NEVER
        self.timeouts_in_a_row = 0
        self.ecn = self.tcp.ecn
        self.last_sent_at = now
        self.rtt.on_handshake(rtt)
        config = self.tcp.config
        self.recovery.start(sack, config.rack_tlp, config.limited_transmit)
        ssthresh = config.initial_ssthresh or 1 << 50
        self.congestion.start(self.mss, self.tcp.initial_window(), ssthresh, now)

    def take_data_from(self, source: DataSource) -> None:
        """Take data from a source from now on; the source decides whether short segments wait."""
        self.source = source
        self.nagle = False

    def detach_source(self, end: int) -> None:
        """Send on without a data source; the data to be sent ends at ``end``."""
        self.source = None
        self.nagle = self.tcp.config.nagle
        self.end = end

    def cancel_timers(self) -> None:
        """Stop the retransmission and persist timers: nothing is outstanding."""
        self.rto_at = NEVER
        self.window_probe.stop()

    def stop(self, now: int) -> None:
        """The connection has ended."""
        self.cancel_timers()
        self.chrono.switch(IDLE, now)
        self.recovery.stop()

    # --- Output -------------------------------------------------------------------------------

    def output(self, now: int) -> None:
        """Send all that the windows allow: retransmissions first, then new data, then the FIN."""
        board = self.board
        recovery = self.recovery
        cwnd = self.congestion.cwnd
        if board.lost:
            cwnd = self._retransmit_lost(now)
        if self.nxt < self.end:
            self._send_new(cwnd, now)
        if self.source is not None and self.nxt >= self.end:
            self.source.push(now)
        if board.lost or recovery.ca_state == RECOVERY:
            self._send_speculative(now)
        if self.fin_wanted and not self.fin_sent and self.nxt == self.end:
            self._send_fin(now)
        if not len(board) and (self.nxt < self.end or (self.fin_wanted and not self.fin_sent)):
            self.window_probe.wait(now)
        if self._probe_stale:
            # RFC 8985 section 7.2: after new data and after each ACK of new data, once for both.
            self._probe_stale = False
            if recovery.rack is not None:
                recovery.arm_probe(now)

    def _retransmit_lost(self, now: int) -> int:
        board = self.board
        congestion = self.congestion
        while True:
            record = board.next_lost(self.una)
            if record is None:
                break
            size = record.end - record.seq
            if self.pipe() + min(size, self.mss) > congestion.cwnd:
                break
            self.retransmit(record, now)
        return congestion.cwnd

    def _send_speculative(self, now: int) -> None:
        recovery = self.recovery
        while self.pipe() + self.mss <= self.congestion.cwnd:
            record = recovery.speculative()
            if record is None:
                break
            self.retransmit(record, now)

    def _send_new(self, cwnd: int, now: int) -> None:
        """Send new data: the sender's side of RFC 9293 sections 3.7.4 and 3.8.6.2.1."""
        board = self.board
        recovery = self.recovery
        nxt = self.nxt
        end = self.end
        edge = self.wnd_end
        pipe = nxt - self.una - board.sacked - board.lost + board.resent
        if recovery.ca_state == OPEN and recovery.dupacks:
            if not recovery.limited_transmit:
                return
            if not recovery.sack:
                # RFC 3042: one new segment for each of the first two duplicate ACKs.
                cwnd += min(recovery.dupacks, 2) * self.mss
        if pipe == 0 and self.tcp.config.slow_start_after_idle:
            self._restart_after_idle(now)
            cwnd = self.congestion.cwnd
        mss = self.mss - self.receiver.sack_space()
        limited = False
        while nxt < end:
            length = end - nxt
            usable = edge - nxt
            if length >= mss:
                length = mss
            if length > usable:
                # The window cuts the segment short: send it only if it is half of the largest window.
                length = usable
                if length <= 0 or length * 2 < self.max_window or (self.nagle and nxt != self.una):
                    limited = pipe + min(mss, end - nxt) <= cwnd
                    break
            elif length < mss and self.nagle and nxt != self.una and not self.fin_wanted:
                break
            if pipe + length > cwnd:
                break
            flags = ACK
            after = nxt + length
            fin = False
            if after == end:
                flags = ACK | PSH
                if self.fin_wanted and edge > after:
                    flags = ACK | PSH | FIN
                    fin = True
            self._transmit(nxt, length, flags, fin, now)
            pipe += length
            nxt = self.nxt
        if board.head < len(board.records):
            self.window_probe.on_data_sent()
        if limited:
            self.chrono.switch(RWND_LIMITED, now)
        elif self.chrono.kind > BUSY:
            self.chrono.switch(BUSY, now)
        if nxt == end and self.chrono.writer_waits:
            self._judge_buffer(now)

    def on_writer(self, waits: bool, now: int) -> None:
        """The application waits for room to write, or waits no more."""
        chrono = self.chrono
        if waits:
            chrono.start_waiting()
            self._judge_buffer(now)
            return
        chrono.stop_waiting()
        if chrono.kind == SNDBUF_LIMITED:
            chrono.switch(BUSY, now)

    def _judge_buffer(self, now: int) -> None:
        """Decide whether the send buffer is the limit while the application waits (``tcp_cwnd_validate``).

        It is the limit if all data was sent and the congestion window allows more. Under MPTCP the buffer
        belongs to the connection, and a subflow has none.
        """
        if self.source is not None or self.nxt < self.end or self.nxt == self.una:
            return
        if self.pipe() + self.mss <= self.congestion.cwnd:
            self.chrono.switch(SNDBUF_LIMITED, now)

    def room(self, now: int, own_window: bool) -> int:
        """Return how many bytes of new data the congestion window and the peer's window allow.

        For MPTCP, which decides elsewhere what is sent; the rules are those of ``_send_new``.

        Args:
            now: ns.
            own_window: the window of this subflow counts, beside that of the connection.
        """
        board = self.board
        recovery = self.recovery
        congestion = self.congestion
        pipe = self.nxt - self.una - board.sacked - board.lost + board.resent
        cwnd = congestion.cwnd
        if recovery.ca_state == OPEN and recovery.dupacks:
            if not recovery.limited_transmit:
                return 0
            if not recovery.sack:
                cwnd += min(recovery.dupacks, 2) * self.mss
        elif pipe == 0 and self.tcp.config.slow_start_after_idle:
            self._restart_after_idle(now)
            cwnd = congestion.cwnd
        room = cwnd - pipe
        if own_window and self.wnd_end - self.nxt < room:
            return self.wnd_end - self.nxt
        return room

    def send_now(self, length: int, push: bool, now: int) -> None:
        """Send new data that MPTCP has mapped onto this subflow, in as many segments as it takes."""
        self.end += length
        mss = self.mss
        while self.nxt < self.end:
            size = min(mss, self.end - self.nxt)
            last = self.nxt + size == self.end
            self._transmit(self.nxt, size, ACK | PSH if push and last else ACK, False, now)
        self.window_probe.on_data_sent()
        if self.recovery.rack is not None:
            self._probe_stale = False
            self.recovery.arm_probe(now)

    def send_when_possible(self, length: int, now: int) -> None:
        """Take data that MPTCP has mapped onto this subflow ahead, and send what windows allow."""
        self.end += length
        self._send_new(self.congestion.cwnd, now)
        if self.nxt < self.end and not len(self.board):
            self.window_probe.wait(now)
        if self._probe_stale and self.recovery.rack is not None:
            self._probe_stale = False
            self.recovery.arm_probe(now)

    def retry(self, now: int) -> None:
        """Send the oldest segment without waiting for the next time-out: the path works again."""
        board = self.board
        if len(board):
            self.rtt.end_backoff()
            self.retransmit(board.records[board.head], now)
            self.arm_rto(now)

    def send_new_segment(self, now: int) -> bool:
        """Send one segment of new data whatever cwnd and Nagle say; return whether there was one."""
        length = min(self.end - self.nxt, self.mss - self.receiver.sack_space(), self.wnd_end - self.nxt)
        if length <= 0:
            return False
        flags = ACK | PSH if self.nxt + length == self.end else ACK
        self._transmit(self.nxt, length, flags, False, now)
        return True

    def _restart_after_idle(self, now: int) -> None:
        """RFC 5681 section 4.1: after an idle RTO begin again with the restart window."""
        if now - self.last_sent_at > self.rtt.rto:
            self.window.restart(self.tcp.initial_window())

    def _send_fin(self, now: int) -> None:
        if self.wnd_end > self.nxt or self.source is not None:  # MPTCP: it takes no room in its window.
            self._transmit(self.nxt, 0, ACK | FIN, True, now)

    def _transmit(self, seq: int, length: int, flags: int, fin: bool, now: int) -> None:
        """Send new data and put it on the scoreboard."""
        if self.cwr_due and length:
            flags |= CWR
            self.cwr_due = False
        after = seq + length + 1 if fin else seq + length
        board = self.board
        if board.head == len(board.records):
            self.restart_rto(now)
            self.window_probe.on_first_sent()
            if self.chrono.kind == IDLE:
                self.chrono.switch(BUSY, now)
        board.add(seq, after, now, fin)
        self.nxt = after
        self.sent_bytes += length
        self.last_sent_at = now
        if self.recovery.ca_state == RECOVERY:
            self.recovery.prr.on_sent(length)
        if fin:
            self.fin_sent = True
            self.tcp.fin_was_sent()
        self.tcp.emit(seq, length, flags, self.ecn and length > 0, now)
        self._probe_stale = True

    def retransmit(self, record: Sent, now: int) -> None:
        """Send a segment again, its first MSS if the MSS has become smaller."""
        board = self.board
        room = self.mss - self.receiver.sack_space()
        data = record.end - record.seq - (1 if record.fin else 0)
        if data > room:
            self._split(board.index_at(record.seq), record.seq + room)
            data = room
        board.mark_resent(record, now)
        if self.recovery.rack is not None:
            self.recovery.rack.on_resent(record)
        if self.recovery.ca_state == RECOVERY:
            self.recovery.prr.on_sent(data)
            self.tcp.count("TcpExtTCPFastRetrans")
        self.sent_bytes += data
        self.resent_bytes += data
        self.resent_segments += 1
        self.last_sent_at = now
        self.tcp.count("TcpRetransSegs")
        flags = ACK | FIN if record.fin else ACK
        if record.seq + data == self.end:
            flags |= PSH
        self.tcp.emit(record.seq, data, flags, False, now)
        if self.rto_at == NEVER or record is board.records[board.head]:
            # RFC 6675 section 6: the timer may be restarted on each retransmission; with an RTO below
            # two round trips the time-out would otherwise always overtake a fast retransmission.
            self.arm_rto(now)

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
        rack = self.recovery.rack
        fresh = 0
        newest = -1
        clean = True
        # In order of sequence: what an earlier ACK, now lost, reported is not out of order.
        for left, right in sorted(blocks):
            left = max(left, ack)
            if left >= right or right > self.nxt:
                continue
            for low, high in board.ranges.add(left, right):
                index = board.index_at(low)
                while index < len(board.records) and board.records[index].seq < high:
                    record = board.records[index]
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
                            clean = False
                        elif record.sent_at > newest:
                            newest = record.sent_at
                        board.mark_sacked(record)
                    index += 1
        return fresh, now - newest if clean and newest >= 0 else -1

    def _split(self, index: int, point: int) -> None:
        """Split a record of the scoreboard; RACK has to look at both halves."""
        second = self.board.split(index, point)
        rack = self.recovery.rack
        if rack is not None:
            rack.rewind()
            if second.in_flight_again:
                rack.on_resent(second)

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

    def arm_rto(self, now: int) -> None:
        """Restart the retransmission timer, or stop it when nothing is outstanding (RFC 6298 5.2, 5.3)."""
        board = self.board
        if board.head == len(board.records):
            self.rto_at = NEVER
            self.recovery.disarm_probe()
            if self.nxt >= self.end:
                self.chrono.switch(IDLE, now)
            return
        self.restart_rto(now)
        self._probe_stale = True

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
