"""SEGMENT ARRIVES: the ordered steps of RFC 9293 section 3.10.7, one method a step.

In front of them stands ``_expected``, the short path for the next segment of an
undisturbed connection; the steps are its oracle: a run without it (``header_prediction`` off) must
be identical.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.host import TransportHost
from mptcpsim.core.segment import ACK, CE, FIN, PSH, RST, SYN, FourTuple, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp import states
from mptcpsim.core.tcp.endpoint import TcpEndpoint
from mptcpsim.core.tcp.recovery import OPEN
from mptcpsim.core.tcp.seams import Owner
from mptcpsim.core.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from mptcpsim.core.window_log import ANSWER
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import NEVER, SECOND

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000

#: RFC 7323 section 5.5: after 24 idle days TS.Recent is outdated.
_PAWS_IDLE: Final = 24 * 24 * 3600 * SECOND


class Tcp(TcpEndpoint):
    """A complete TCP connection, alone or as one subflow of an MPTCP connection."""

    __slots__ = ("_peer_map",)

    def __init__(
        self,
        host: TransportHost,
        connection: Owner,
        identifier: int,
        flow: FourTuple,
        config: TcpConfig,
        congestion: CongestionControl,
        mtu: int,
        iss: int,
        timestamp_offset: int,
    ) -> None:
        #: The map of the peer, once it was seen to have the same initial sequence numbers.
        self._peer_map: SequenceMap | None = None
        super().__init__(host, connection, identifier, flow, config, congestion, mtu, iss, timestamp_offset)

    def receive(self, segment: Segment, now: int) -> None:
        """Take a segment of this connection."""
        self.last_heard = now
        if segment.sequences is not self._peer_map:
            segment = self._in_own_numbers(segment)
        if self.further_options is None and self._expected(segment, now):
            return
        if self.state == SYN_SENT:
            self._in_syn_sent(segment, now)
        elif self.state != CLOSED:
            self._arrives(segment, now)
        if self.receiver.ack_now and self.state > SYN_RECEIVED:
            self.send_ack(now)

    def _in_own_numbers(self, segment: Segment) -> Segment:
        """Return a segment with its numbers relative to our initial sequence numbers.

        Usually the sender's relative numbers are ours, too. Another incarnation of the connection (RFC 9293
        section 3.4.3) may have other initial numbers: then the numbers on the wire decide.
        """
        own, sent = self.sequences, segment.sequences
        numbered = segment.flags & ACK
        if own.irs in (UNKNOWN, sent.iss) and (not numbered or own.iss == sent.irs):
            if numbered and own.irs == sent.iss:
                self._peer_map = sent
            return segment
        return segment.in_numbers_of(own.near(self.receiver.nxt, self.sender.una))

    def _expected(self, segment: Segment, now: int) -> bool:
        """Take the segment if header prediction holds for it; else return False.

        The connection has to be ESTABLISHED and the segment in sequence, without flags other than ACK and
        PSH, without SACK and CE. It is either an ACK that advances while nothing is lost, or data while
        nothing is missing and our sender neither recovers from a loss nor probes a window.
        """
        if self.state != ESTABLISHED or (segment.flags & ~PSH) != ACK or segment.ecn == CE:
            return False
        receiver = self.receiver
        if segment.seq != receiver.nxt or segment.sack is not None or not self.config.header_prediction:
            return False
        extension = self.extension
        if extension is not None and (
            segment.options is not None or (segment.dss is not None and segment.dss.data_fin)
        ):
            return False
        ts_val = segment.ts_val
        if self.timestamps and (ts_val == UNKNOWN or (ts_val - receiver.ts_recent) & _MASK >= _HALF):
            return False
        sender = self.sender
        if sender.wl1 > segment.seq:
            # A later segment came first: the window of this one is outdated.
            return False
        ack = segment.ack
        length = segment.length
        edge = ack + (segment.window << self.snd_scale)
        if length == 0:
            board = sender.board
            if not (
                sender.una < ack <= sender.nxt
                and edge > ack
                and not board.sacked
                and not board.lost
                and not board.resent
            ):
                return False
            recovery = sender.recovery
            if recovery.ca_state != OPEN or recovery.dupacks or recovery.tlp_end >= 0:
                return False
            if extension is not None and not extension.take(segment, now):
                return True
            if self.timestamps:
                receiver.take_timestamp(segment, now)
            sender.on_expected_ack(segment, edge, now)
            sender.output(now)
            return True
        end = segment.seq + length
        if (
            ack != sender.una
            or edge != sender.wnd_end
            or end > receiver.wnd_end
            or end > receiver.limit
            or receiver.out_of_order.total
            or receiver.fin_at >= 0
            or sender.recovery.ca_state != OPEN
            or sender.window_probe.at != NEVER
        ):
            return False
        if extension is not None and not extension.take(segment, now):
            return True
        if self.timestamps:
            receiver.take_timestamp(segment, now)
        sender.on_same_window(segment)
        receiver.on_expected_data(segment, now)
        if receiver.ack_now and self.state != CLOSED:
            self.send_ack(now)
        if sender.source is not None and sender.source.push_pending:
            sender.source.push(now)
        return True

    def _in_syn_sent(self, segment: Segment, now: int) -> None:
        """Section 3.10.7.3: the steps in state SYN-SENT."""
        flags = segment.flags
        acceptable = False
        if flags & ACK:
            # First: check the ACK bit.
            if segment.ack != 1:
                if not flags & RST:
                    self.send_reset(segment.ack, False, now)
                return
            acceptable = True
        if flags & RST:
            # Second: check the RST bit.
            if acceptable:
                self.finish("connection refused", now)
            return
        if not flags & SYN:
            return
        # Fourth: check the SYN bit.
        self.take_syn(segment, now)
        extension = self.extension
        if acceptable:
            if extension is not None and not extension.on_syn_ack(segment, now):
                return
            self.move(states.SYN_ACK_ARRIVED)
            self.establish(now)
            if extension is not None and extension.is_active:
                # The third ACK has keys or an HMAC, which do not fit beside a mapping.
                self.send_ack(now)
                extension.on_third_ack_sent(now)
            # Text on a SYN,ACK is left for the peer to send again (no TCP Fast Open).
            self.sender.output(now)
            if self.receiver.last_ack_sent == 0:
                self.send_ack(now)
        else:
            # Simultaneous open (figure 8): neither end has said yet whether it speaks MPTCP.
            if extension is not None and not extension.on_simultaneous_open(now):
                return
            self.move(states.SYN_ARRIVED)
            self.emit_syn(now)

    def _arrives(self, segment: Segment, now: int) -> None:
        """Section 3.10.7.4: the steps in all other states."""
        receiver = self.receiver
        flags = segment.flags
        # First: sequence number, preceded by PAWS (RFC 7323 section 5.3, R1).
        if self.timestamps and not flags & RST and self._fails_paws(segment, now):
            self.count("TcpExtPAWSEstab")
            if segment.length or flags & (SYN | FIN):
                receiver.note_rejected(segment.seq, segment.seq + segment.length)
                self.answers.send(now)
            elif receiver.may_answer(now, "TcpExtTCPACKSkippedPAWS"):
                # If the peer finds our timestamps old, too, each end would answer the other without end.
                self.answers.challenge(now)
            return
        if self.extension is not None and self.extension.is_active:
            self.extension.extend_window(segment)
        if not receiver.acceptable(segment):
            self._unacceptable(segment, now)
            return
        # Second: the RST bit (RFC 5961 section 3.2).
        if flags & RST:
            if segment.seq == receiver.nxt:
                if self.extension is not None:
                    self.extension.on_reset(segment, now)
                self._reset_by_peer(now)
            else:
                self.answers.challenge(now)
            return
        # Fourth: the SYN bit (RFC 5961 section 4.2).
        if flags & SYN:
            if self.state == SYN_RECEIVED and segment.seq == 0 and not flags & ACK:
                self.emit_syn(now)
            elif not (self.state == SYN_RECEIVED and segment.seq == 0):
                self.answers.challenge(now)
                return
        # Fifth: the ACK field.
        if not flags & ACK or not self._take_ack(segment, now):
            return
        if self.timestamps:
            receiver.take_timestamp(segment, now)
        if self.ecn:
            receiver.on_ecn(segment)
        if self.further_options is not None:
            self.further_options.take(segment, now)
        if flags & SYN:
            # Of a simultaneous open: its text and FIN are left for the peer to send again (no TCP Fast Open).
            receiver.request_ack()
        else:
            # Sixth, the URG bit: urgent data is delivered in line. Seventh and eighth: text and FIN.
            self._text_and_fin(segment, now)
        if self.state not in (CLOSED, TIME_WAIT):
            self.sender.output(now)

    def _fails_paws(self, segment: Segment, now: int) -> bool:
        if segment.ts_val == UNKNOWN:
            return False
        receiver = self.receiver
        return receiver.timestamp_is_old(segment) and now - receiver.ts_recent_at < _PAWS_IDLE

    def _note_answer(self, now: int) -> None:
        """Note that a presumed window probe was answered: no data has come since window 0 was sent."""
        connection = self.connection
        log = connection.window_log
        if log is not None and log.zero_at >= max(connection.delivered_at, 0):
            self.log(ANSWER, now, self.sender.nxt, 0)

    def _unacceptable(self, segment: Segment, now: int) -> None:
        """Answer a segment outside of the window with an ACK of RCV.NXT."""
        flags = segment.flags
        if flags & RST:
            return
        if flags & SYN:
            if self.state == SYN_RECEIVED and segment.seq == 0:
                # The peer's SYN again: our SYN,ACK was lost; or its SYN,ACK in a simultaneous open.
                if flags & ACK and segment.ack == 1:
                    self._take_ack(segment, now)
                    self.send_ack(now)
                    self.sender.output(now)
                else:
                    self.emit_syn(now)
            else:
                self.answers.challenge(now)
            return
        receiver = self.receiver
        if flags & ACK and segment.seq <= receiver.nxt:
            # Old data, keepalives and window probes may carry news in their ACK field
            # (section 3.10.7.4: "special allowance should be made" for a zero window).
            sender = self.sender
            if (
                sender.una <= segment.ack <= max(sender.nxt, sender.window_probe.end)
                and self.state >= ESTABLISHED
            ):
                self._take_ack(segment, now)
            if self.timestamps:
                # A segment sent again because our ACK was lost: echo its own time, not that of the first
                # copy, or the sender's RTT includes all its time-outs (RFC 7323 section 4.3 rule 2).
                receiver.take_timestamp(segment, now)
            if self.state == CLOSED:
                return
            if segment.length and segment.seq < receiver.nxt:
                receiver.note_old(segment.seq, segment.seq + segment.length)
        if self.state == TIME_WAIT and flags & FIN:
            self.restart_time_wait(now)
        if self.state == CLOSED:
            return
        known = segment.ack <= max(self.sender.nxt, self.sender.window_probe.end)
        if segment.length or flags & FIN:
            self.answers.send(now)
            if segment.seq == receiver.nxt and segment.length <= 1:
                self._note_answer(now)
        elif segment.seq == receiver.nxt - 1 and known:
            if receiver.may_answer(now, "TcpExtTCPACKSkippedSeq"):
                self.answers.send(now)
                self._note_answer(now)
        else:
            # Two ends that disagree could answer each other's bare ACKs without end: limit them.
            self.answers.challenge(now)
        if self.state >= ESTABLISHED:
            self.sender.output(now)

    def _reset_by_peer(self, now: int) -> None:
        if self.state == SYN_RECEIVED:
            self.finish("connection refused", now)
        elif self.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
            self.finish("connection reset by peer", now)
        else:
            self.finish("", now)

    def _take_ack(self, segment: Segment, now: int) -> bool:
        """Fifth step; return whether the segment is to be processed further."""
        sender = self.sender
        ack = segment.ack
        if self.state == SYN_RECEIVED:
            if ack != 1:
                self.send_reset(ack, False, now)
                return False
            if self.extension is not None and not self.extension.on_third_ack(segment, now):
                return False
            self.move(states.SYN_ACKED)
            if self.passive:
                self.count("TcpPassiveOpens")
            self.establish(now)
        if ack > max(sender.nxt, sender.window_probe.end) or ack < sender.una - sender.max_window:
            # RFC 5961 section 5.2.
            self.answers.challenge(now)
            return False
        if self.extension is not None and not self.extension.take(segment, now):
            return False
        if ack < sender.una:
            return True
        sender.on_ack(segment, now)
        if sender.fin_sent and sender.una > sender.end:
            self._fin_acked(now)
        return self.state != CLOSED

    def _fin_acked(self, now: int) -> None:
        if self.state in (FIN_WAIT_1, CLOSING, LAST_ACK):
            self.move(states.FIN_ACKED)
            self.connection.on_fin_acked(self.identifier, now)
            if self.state == TIME_WAIT:
                self.restart_time_wait(now)
            elif self.state == FIN_WAIT_2:
                self.wait_for_fin(now)
            elif self.state == CLOSED:
                self.finish("", now)

    def _text_and_fin(self, segment: Segment, now: int) -> None:
        """Seventh and eighth step: segment text, FIN."""
        receiver = self.receiver
        if segment.length and self.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            receiver.on_data(segment, now)
            if self.state == CLOSED:
                # MPTCP has reset the subflow because of the data.
                return
        elif segment.length:
            receiver.request_ack()
        if segment.flags & FIN and receiver.fin_at < 0:
            fin_at = segment.seq + segment.length
            if fin_at < max(receiver.wnd_end, receiver.nxt + 1):
                receiver.on_fin(fin_at)
                if self.extension is not None:
                    self.extension.on_fin(segment)
        if receiver.fin_at >= 0 and receiver.nxt == receiver.fin_at:
            receiver.pass_fin()
            self.move(states.FIN_ARRIVED)
            if self.state == TIME_WAIT:
                self.restart_time_wait(now)
            self.connection.on_peer_closed(self.identifier, now)
        elif segment.flags & FIN:
            receiver.request_ack()
            if self.state == TIME_WAIT:
                self.restart_time_wait(now)
