"""SEGMENT ARRIVES: the ordered steps of RFC 9293 section 3.10.7, one function a step.

In front of them stands ``expected``, the short path for the next segment of an
undisturbed connection; the steps are its oracle: a run without it must be identical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.segment import ACK, CE, FIN, PSH, RST, SYN, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp import states
from mptcpsim.core.tcp.recovery import OPEN
from mptcpsim.core.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    TIME_WAIT,
)
from mptcpsim.core.window_log import ANSWER
from mptcpsim.units import NEVER, SECOND

if TYPE_CHECKING:
    from mptcpsim.core.tcp.endpoint import Tcp

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000

#: RFC 7323 section 5.5: after 24 idle days TS.Recent says nothing any more.
_PAWS_IDLE: Final = 24 * 24 * 3600 * SECOND


def expected(tcp: Tcp, segment: Segment, now: int) -> bool:
    """Take the segment if it is the next one of an undisturbed connection; else return False.

    That is: ESTABLISHED, in sequence, no flag but ACK and PSH, no SACK, no CE mark; and
    either an ACK that advances while nothing is lost, or data while nothing is missing and
    our own sending neither recovers from a loss nor probes a window.
    """
    if tcp.state != ESTABLISHED or (segment.flags & ~PSH) != ACK or segment.ecn == CE:
        return False
    receiver = tcp.receiver
    if segment.seq != receiver.nxt or segment.sack is not None or not tcp.config.header_prediction:
        return False
    extension = tcp.extension
    if extension is not None and (
        segment.options is not None or (segment.dss is not None and segment.dss.data_fin)
    ):
        return False
    ts_val = segment.ts_val
    if tcp.timestamps and (ts_val == UNKNOWN or (ts_val - receiver.ts_recent) & _MASK >= _HALF):
        return False
    sender = tcp.sender
    if sender.wl1 > segment.seq:
        # A later segment came first: this one's window is not news.
        return False
    ack = segment.ack
    length = segment.length
    edge = ack + (segment.window << tcp.snd_scale)
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
        if recovery.state != OPEN or recovery.dupacks or recovery.tlp_end >= 0:
            return False
        if extension is not None and not extension.take(segment, now):
            return True
        if tcp.timestamps and segment.seq <= receiver.last_ack_sent:
            receiver.ts_recent = ts_val
            receiver.ts_recent_at = now
        sender.wl1 = segment.seq
        sender.wl2 = ack
        if edge != sender.edge:
            sender.edge = edge
            if edge - ack > sender.max_window:
                sender.max_window = edge - ack
        sender.on_expected_ack(segment, now)
        sender.output(now)
        return True
    end = segment.seq + length
    if (
        ack != sender.una
        or edge != sender.edge
        or end > receiver.edge
        or end > receiver.limit
        or receiver.out_of_order.total
        or receiver.fin_at >= 0
        or sender.recovery.state != OPEN
        or sender.window_probe.at != NEVER
    ):
        return False
    if extension is not None and not extension.take(segment, now):
        return True
    if tcp.timestamps and segment.seq <= receiver.last_ack_sent:
        receiver.ts_recent = ts_val
        receiver.ts_recent_at = now
    sender.wl1 = segment.seq
    sender.wl2 = ack
    receiver.on_expected_data(segment, now)
    if receiver.ack_now and tcp.state != CLOSED:
        tcp.send_ack(now)
    if sender.source is not None and sender.source.moved:
        sender.source.push(now)
    return True


def in_syn_sent(tcp: Tcp, segment: Segment, now: int) -> None:
    """Section 3.10.7.3: the steps in state SYN-SENT."""
    flags = segment.flags
    acceptable = False
    if flags & ACK:
        # First: check the ACK bit.
        if segment.ack != 1:
            if not flags & RST:
                tcp.send_reset(segment.ack, False, now)
            return
        acceptable = True
    if flags & RST:
        # Second: check the RST bit.
        if acceptable:
            tcp.finish("connection refused", now)
        return
    if not flags & SYN:
        return
    # Fourth: check the SYN bit.
    tcp.take_syn(segment, now)
    extension = tcp.extension
    if acceptable:
        if extension is not None and not extension.on_syn_ack(segment, now):
            return
        tcp.move(states.SYN_ACK_ARRIVED)
        tcp.establish(now)
        if extension is not None and extension.speaks:
            # The third ACK has keys or an HMAC, which do not fit beside a mapping.
            tcp.send_ack(now)
            extension.on_third_ack_sent(now)
        # Text on a SYN,ACK is left for the peer to send again (no TCP Fast Open).
        tcp.sender.output(now)
        if tcp.receiver.last_ack_sent == 0:
            tcp.send_ack(now)
    else:
        # Simultaneous open (figure 8): nobody has said yet whether it speaks MPTCP.
        if extension is not None and not extension.on_simultaneous_open(now):
            return
        tcp.move(states.SYN_ARRIVED)
        tcp.emit_syn(now)


def arrives(tcp: Tcp, segment: Segment, now: int) -> None:
    """Section 3.10.7.4: the steps in all other states."""
    receiver = tcp.receiver
    flags = segment.flags
    # First: sequence number, preceded by PAWS (RFC 7323 section 5.3, R1).
    if tcp.timestamps and not flags & RST and _fails_paws(tcp, segment, now):
        tcp.count("TcpExtPAWSEstab")
        if segment.length or flags & (SYN | FIN):
            receiver.note_rejected(segment.seq, segment.seq + segment.length)
            tcp.answers.give(now)
        elif receiver.may_answer(now, "TcpExtTCPACKSkippedPAWS"):
            # The answer of a peer that finds our timestamps old, too, would be answered for ever.
            tcp.answers.challenge(now)
        return
    if tcp.extension is not None and tcp.extension.speaks:
        tcp.extension.stretch_window(segment)
    if not receiver.acceptable(segment):
        _unacceptable(tcp, segment, now)
        return
    # Second: the RST bit (RFC 5961 section 3.2).
    if flags & RST:
        if segment.seq == receiver.nxt:
            if tcp.extension is not None:
                tcp.extension.on_reset(segment, now)
            _reset_by_peer(tcp, now)
        else:
            tcp.answers.challenge(now)
        return
    # Fourth: the SYN bit (RFC 5961 section 4.2).
    if flags & SYN:
        if tcp.state == SYN_RECEIVED and segment.seq == 0 and not flags & ACK:
            tcp.emit_syn(now)
        elif not (tcp.state == SYN_RECEIVED and segment.seq == 0):
            tcp.answers.challenge(now)
            return
    # Fifth: the ACK field.
    if not flags & ACK or not _take_ack(tcp, segment, now):
        return
    if tcp.timestamps:
        receiver.take_timestamp(segment, now)
    if tcp.ecn:
        receiver.on_ecn(segment)
    if flags & SYN:
        # Of a simultaneous open: its text and FIN are left for the peer to send again (no TCP Fast Open).
        receiver.ack_now = True
    else:
        # Sixth, the URG bit: urgent data is delivered in line. Seventh and eighth: text and FIN.
        _text_and_fin(tcp, segment, now)
    if tcp.state not in (CLOSED, TIME_WAIT):
        tcp.sender.output(now)


def _fails_paws(tcp: Tcp, segment: Segment, now: int) -> bool:
    if segment.ts_val == UNKNOWN:
        return False
    receiver = tcp.receiver
    return receiver.timestamp_is_old(segment) and now - receiver.ts_recent_at < _PAWS_IDLE


def _note_answer(tcp: Tcp, now: int) -> None:
    """Note that a window probe was answered: what looks like one is one if nothing came since window 0."""
    connection = tcp.connection
    log = connection.window_log
    if log is not None and log.zero_at >= max(connection.delivered_at, 0):
        tcp.log(ANSWER, now, tcp.sender.nxt, 0)


def _unacceptable(tcp: Tcp, segment: Segment, now: int) -> None:
    """A segment outside of the window: an ACK tells the peer where we are."""
    flags = segment.flags
    if flags & RST:
        return
    if flags & SYN:
        if tcp.state == SYN_RECEIVED and segment.seq == 0:
            # The peer's SYN again: our SYN,ACK was lost; or its SYN,ACK in a simultaneous open.
            if flags & ACK and segment.ack == 1:
                _take_ack(tcp, segment, now)
                tcp.send_ack(now)
                tcp.sender.output(now)
            else:
                tcp.emit_syn(now)
        else:
            tcp.answers.challenge(now)
        return
    receiver = tcp.receiver
    if flags & ACK and segment.seq <= receiver.nxt:
        # Old data, keepalives and window probes may carry news in their ACK field
        # (section 3.10.7.4: "special allowance should be made" for a zero window).
        sender = tcp.sender
        if sender.una <= segment.ack <= max(sender.nxt, sender.window_probe.end) and tcp.state >= ESTABLISHED:
            _take_ack(tcp, segment, now)
        if tcp.timestamps:
            # A segment sent again because our ACK was lost: echo its own time, not that of the first
            # copy, or the sender's RTT includes all its time-outs (RFC 7323 section 4.3 rule 2).
            receiver.take_timestamp(segment, now)
        if tcp.state == CLOSED:
            return
        if segment.length and segment.seq < receiver.nxt:
            receiver.note_old(segment.seq, segment.seq + segment.length)
    if tcp.state == TIME_WAIT and flags & FIN:
        tcp.restart_time_wait(now)
    if tcp.state == CLOSED:
        return
    known = segment.ack <= max(tcp.sender.nxt, tcp.sender.window_probe.end)
    if segment.length or flags & FIN:
        tcp.answers.give(now)
        if segment.seq == receiver.nxt and segment.length <= 1:
            _note_answer(tcp, now)
    elif segment.seq == receiver.nxt - 1 and known:
        if receiver.may_answer(now, "TcpExtTCPACKSkippedSeq"):
            tcp.answers.give(now)
            _note_answer(tcp, now)
    else:
        # Two ends that disagree could answer each other's bare ACKs for ever: limit them.
        tcp.answers.challenge(now)
    if tcp.state >= ESTABLISHED:
        tcp.sender.output(now)


def _reset_by_peer(tcp: Tcp, now: int) -> None:
    if tcp.state == SYN_RECEIVED:
        tcp.finish("connection refused", now)
    elif tcp.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
        tcp.finish("connection reset by peer", now)
    else:
        tcp.finish("", now)


def _take_ack(tcp: Tcp, segment: Segment, now: int) -> bool:
    """Fifth step; return whether the segment is to be processed further."""
    sender = tcp.sender
    ack = segment.ack
    if tcp.state == SYN_RECEIVED:
        if ack != 1:
            tcp.send_reset(ack, False, now)
            return False
        if tcp.extension is not None and not tcp.extension.on_third_ack(segment, now):
            return False
        tcp.move(states.SYN_ACKED)
        if tcp.passive:
            tcp.count("TcpPassiveOpens")
        tcp.establish(now)
    if ack > max(sender.nxt, sender.window_probe.end) or ack < sender.una - sender.max_window:
        # RFC 5961 section 5.2.
        tcp.answers.challenge(now)
        return False
    if tcp.extension is not None and not tcp.extension.take(segment, now):
        return False
    if tcp.further_options is not None:
        tcp.further_options.take(segment, now)
    if ack < sender.una:
        return True
    sender.on_ack(segment, now)
    if sender.fin_sent and sender.una > sender.end:
        _fin_acked(tcp, now)
    return tcp.state != CLOSED


def _fin_acked(tcp: Tcp, now: int) -> None:
    if tcp.state in (FIN_WAIT_1, CLOSING, LAST_ACK):
        tcp.move(states.FIN_ACKED)
        tcp.connection.on_fin_acked(tcp.identifier, now)
        if tcp.state == TIME_WAIT:
            tcp.restart_time_wait(now)
        elif tcp.state == FIN_WAIT_2:
            tcp.wait_for_fin(now)
        elif tcp.state == CLOSED:
            tcp.finish("", now)


def _text_and_fin(tcp: Tcp, segment: Segment, now: int) -> None:
    """Seventh and eighth step: segment text, FIN."""
    receiver = tcp.receiver
    if segment.length and tcp.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
        receiver.on_data(segment, now)
        if tcp.state == CLOSED:
            # MPTCP has reset the subflow for what the data turned out to be.
            return
    elif segment.length:
        receiver.ack_now = True
    if segment.flags & FIN and receiver.fin_at < 0:
        fin_at = segment.seq + segment.length
        if fin_at < max(receiver.edge, receiver.nxt + 1):
            receiver.fin_at = fin_at
            if tcp.extension is not None:
                tcp.extension.on_fin(segment)
    if receiver.fin_at >= 0 and receiver.nxt == receiver.fin_at:
        receiver.nxt += 1
        receiver.edge = max(receiver.edge, receiver.nxt)
        receiver.limit += 1
        receiver.ack_now = True
        tcp.move(states.FIN_ARRIVED)
        if tcp.state == TIME_WAIT:
            tcp.restart_time_wait(now)
        tcp.connection.on_peer_closed(tcp.identifier, now)
    elif segment.flags & FIN:
        receiver.ack_now = True
        if tcp.state == TIME_WAIT:
            tcp.restart_time_wait(now)
