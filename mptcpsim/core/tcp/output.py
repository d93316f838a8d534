"""What the sending half of a TCP connection sends now (Linux: ``tcp_output.c``).

Retransmissions go first, then new data, then the FIN. ``sender`` takes acknowledgments, ``recovery`` detects
losses, a plug-in keeps the congestion window, and ``endpoint`` builds the segments.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import ACK, CWR, FIN, PSH, Segment
from mptcpsim.core.tcp.chrono import BUSY, IDLE, RWND_LIMITED, SNDBUF_LIMITED, Chrono
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.receiver import Receiver
from mptcpsim.core.tcp.recovery import OPEN, RECOVERY, Recovery
from mptcpsim.core.tcp.scoreboard import Sent
from mptcpsim.core.tcp.seams import DataSource
from mptcpsim.core.tcp.send_state import SendState
from mptcpsim.core.tcp.window_probe import WindowProbe
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import NEVER

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


class Output(SendState):
    """The sending half, but for what acknowledgments mean: what goes out now.

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
        self.sent_bytes += data
        self.resent_bytes += data
        self.resent_segments += 1
        self.last_sent_at = now
        self.tcp.counters().count_retransmitted(self.recovery.ca_state == RECOVERY)
        flags = ACK | FIN if record.fin else ACK
        if record.seq + data == self.end:
            flags |= PSH
        self.tcp.emit(record.seq, data, flags, False, now)
        if self.rto_at == NEVER or record is board.records[board.head]:
            # RFC 6675 section 6: the timer may be restarted on each retransmission; with an RTO below
            # two round trips the time-out would otherwise always overtake a fast retransmission.
            self.arm_rto(now)

    def _split(self, index: int, point: int) -> None:
        """Split a record of the scoreboard; RACK has to look at both halves."""
        second = self.board.split(index, point)
        rack = self.recovery.rack
        if rack is not None:
            rack.rewind()
            if second.in_flight_again:
                rack.on_resent(second)

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
