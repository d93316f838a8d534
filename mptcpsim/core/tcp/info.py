"""Snapshots of a TCP connection: ``tcp_info`` in Linux's names and units, and exact values beside it.

A ``TcpInfo`` is taken at an instant and never changes. Its fields are exact: bytes, ns, numbers relative to
the initial sequence number. The properties ``tcpi_...`` are the fields of ``struct tcp_info`` (Linux's
``include/uapi/linux/tcp.h``), with its units and the meaning that ``tcp_get_info`` gives them. Fields of
mechanisms that are not in this core are left out (pacing, delivery rates, TCP Fast Open, rehashing), and so
is what it does not count for each connection, such as ``tcpi_segs_out``.

Measurements read these records and the event logs, never the objects behind them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import FourTuple
from mptcpsim.core.tcp import states
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.recovery import DUP_THRESH, LOSS, RECOVERY
from mptcpsim.core.tcp.window_probe import SWS_OVERRIDE as SWS_OVERRIDE
from mptcpsim.units import MILLISECOND

_MICROSECOND: Final = 1_000
_MASK: Final = 0xFFFFFFFF

#: States as ``tcpi_state`` has them (``include/net/tcp_states.h``).
TCP_ESTABLISHED: Final = 1
TCP_CLOSE: Final = 7
TCP_CLOSE_WAIT: Final = 8

_STATES: Final[dict[int, int]] = {
    states.ESTABLISHED: TCP_ESTABLISHED,
    states.SYN_SENT: 2,
    states.SYN_RECEIVED: 3,
    states.FIN_WAIT_1: 4,
    states.FIN_WAIT_2: 5,
    states.TIME_WAIT: 6,
    states.CLOSED: TCP_CLOSE,
    states.CLOSE_WAIT: TCP_CLOSE_WAIT,
    states.LAST_ACK: 9,
    states.LISTEN: 10,
    states.CLOSING: 11,
}

#: States of congestion control as ``tcpi_ca_state`` has them (``enum tcp_ca_state``).
TCP_CA_OPEN: Final = 0
TCP_CA_DISORDER: Final = 1
TCP_CA_RECOVERY: Final = 3
TCP_CA_LOSS: Final = 4

#: Bits of ``tcpi_options``.
TCPI_OPT_TIMESTAMPS: Final = 1
TCPI_OPT_SACK: Final = 2
TCPI_OPT_WSCALE: Final = 4
TCPI_OPT_ECN: Final = 8

#: ``tcpi_snd_ssthresh`` while the threshold is "arbitrarily high" (RFC 5681 section 3.1).
TCP_INFINITE_SSTHRESH: Final = 0x7FFFFFFF

#: ``tcpi_min_rtt`` before the first sample.
NO_MIN_RTT: Final = 0xFFFFFFFF


class TcpInfo(NamedTuple):
    """One TCP connection, or one subflow, at an instant. Sizes in bytes, times in ns, numbers relative.

    Attributes:
        now: the instant.
        identifier: number within the connection.
        flow: addresses and ports of what is sent.
        passive: the peer sent the SYN.
        state: one of ``core.tcp.states``.
        established_at: when ESTABLISHED was reached, or -1.
        ended: CLOSED was reached.
        error: why it failed, or an empty string.
        last_heard: when a segment came last.
        iss, irs: initial sequence numbers on the wire, -1 for an ``irs`` that is not known.
        has_timestamps, has_sack, has_window_scale, has_ecn: what the two ends agreed on.
        ts_offset: value of the timestamp clock at the instant 0.
        ts_recent: the last timestamp of the peer (TS.Recent of RFC 7323).
        snd_scale, rcv_scale: window shifts of the two directions.
        pmtu: path MTU.
        advmss: the MSS that was announced.
        snd_una, snd_nxt: SND.UNA, SND.NXT.
        snd_end: number after the last byte that waits to be sent.
        snd_wnd_end: right edge of the peer's window.
        snd_mss: payload of a full segment.
        cwnd, ssthresh: of the congestion control.
        in_flight: bytes in flight as far as is known (RFC 6675, SetPipe).
        unacked, sacked, lost, retrans: segments outstanding; of them SACKed, held for lost, sent again.
        dupacks: duplicate ACKs in a row.
        recovery: state of the loss recovery, one of ``core.tcp.recovery``.
        srtt, rttvar, min_rtt: round-trip times, 0 before the first sample.
        rto: the time-out without back-off.
        rto_backoff: the time-out with it.
        rto_granularity: the least that the variation counts.
        rto_at: when the retransmission timer is due, or ``NEVER``.
        backoff: doublings in force.
        timeouts_in_a_row: time-outs since something was acknowledged.
        last_sent_at: when data was sent last.
        sent_bytes, retransmitted_bytes: payload sent, all copies; sent again.
        acked_bytes: payload acknowledged.
        retransmitted_segments: SYNs included.
        delivered_segments: known to have arrived, the SYN included.
        probe_at, probe_interval: the persist timer: when due (or ``NEVER``), how long it runs.
        probe_shift: how often it was doubled.
        probes_unanswered: of a closed window, and keepalives.
        override_at: when a small window is used after all, or ``NEVER``.
        busy_time: how long something was queued or outstanding; the limits included.
        rwnd_limited, sndbuf_limited: how long the peer's window, or the send buffer, was the limit.
        rcv_nxt: RCV.NXT.
        rcv_wnd_end: right edge of the window that was offered.
        last_ack_sent: the last ACK.
        unacked_bytes: payload that arrived in order since.
        received_bytes: payload that arrived in order.
        arrived_bytes: payload that arrived, in order or not; copies not counted.
        duplicate_bytes: copies.
        largest_segment: largest payload that arrived.
        delayed_ack: how long an ACK is delayed at most.
        rcv_space: the most that the application read in a round trip; 0 where the buffer does not grow.
    """

    now: int
    identifier: int
    flow: FourTuple
    passive: bool
    state: int
    established_at: int
    ended: bool
    error: str
    last_heard: int
    iss: int
    irs: int
    has_timestamps: bool
    has_sack: bool
    has_window_scale: bool
    has_ecn: bool
    ts_offset: int
    ts_recent: int
    snd_scale: int
    rcv_scale: int
    pmtu: int
    advmss: int
    snd_una: int
    snd_nxt: int
    snd_end: int
    snd_wnd_end: int
    snd_mss: int
    cwnd: int
    ssthresh: int
    in_flight: int
    unacked: int
    sacked: int
    lost: int
    retrans: int
    dupacks: int
    recovery: int
    srtt: int
    rttvar: int
    min_rtt: int
    rto: int
    rto_backoff: int
    rto_granularity: int
    rto_at: int
    backoff: int
    timeouts_in_a_row: int
    last_sent_at: int
    sent_bytes: int
    retransmitted_bytes: int
    acked_bytes: int
    retransmitted_segments: int
    delivered_segments: int
    probe_at: int
    probe_interval: int
    probe_shift: int
    probes_unanswered: int
    override_at: int
    busy_time: int
    rwnd_limited: int
    sndbuf_limited: int
    rcv_nxt: int
    rcv_wnd_end: int
    last_ack_sent: int
    unacked_bytes: int
    received_bytes: int
    arrived_bytes: int
    duplicate_bytes: int
    largest_segment: int
    delayed_ack: int
    rcv_space: int

    def wire_seq(self, seq: int) -> int:
        """Return the number on the wire of an own sequence number."""
        return (self.iss + seq) & _MASK

    def wire_ack(self, ack: int) -> int:
        """Return the number on the wire of a sequence number of the peer's."""
        return (max(self.irs, 0) + ack) & _MASK

    def timestamp(self, at: int) -> int:
        """Return the value of the timestamp clock at an instant, ns."""
        return (at // MILLISECOND + self.ts_offset) & _MASK

    # --- struct tcp_info, in its order ------------------------------------------------------------

    @property
    def tcpi_state(self) -> int:
        """State of the connection, as ``TCP_ESTABLISHED`` = 1."""
        return _STATES[self.state]

    @property
    def tcpi_ca_state(self) -> int:
        """State of congestion control: 0 open, 1 disorder, 3 recovery, 4 loss."""
        if self.recovery == RECOVERY:
            return TCP_CA_RECOVERY
        if self.recovery == LOSS:
            return TCP_CA_LOSS
        return TCP_CA_DISORDER if self.sacked or self.dupacks else TCP_CA_OPEN

    @property
    def tcpi_retransmits(self) -> int:
        """Retransmission time-outs in a row."""
        return self.timeouts_in_a_row

    @property
    def tcpi_probes(self) -> int:
        """Probes of a closed window, or keepalives, that were not answered."""
        return self.probes_unanswered

    @property
    def tcpi_backoff(self) -> int:
        """Doublings of the time-out or of the persist timer."""
        return max(self.backoff, self.probe_shift)

    @property
    def tcpi_options(self) -> int:
        """What was agreed on: 1 timestamps, 2 SACK, 4 window scale, 8 ECN, added up."""
        return (
            (TCPI_OPT_TIMESTAMPS if self.has_timestamps else 0)
            | (TCPI_OPT_SACK if self.has_sack else 0)
            | (TCPI_OPT_WSCALE if self.has_window_scale else 0)
            | (TCPI_OPT_ECN if self.has_ecn else 0)
        )

    @property
    def tcpi_snd_wscale(self) -> int:
        """Window shift of the peer."""
        return self.snd_scale

    @property
    def tcpi_rcv_wscale(self) -> int:
        """Own window shift."""
        return self.rcv_scale

    @property
    def tcpi_rto(self) -> int:
        """Retransmission time-out with its back-off, µs."""
        return self.rto_backoff // _MICROSECOND

    @property
    def tcpi_ato(self) -> int:
        """Time-out of a delayed ACK, µs."""
        return self.delayed_ack // _MICROSECOND

    @property
    def tcpi_snd_mss(self) -> int:
        """Payload of a full segment that is sent, bytes."""
        return self.snd_mss

    @property
    def tcpi_rcv_mss(self) -> int:
        """Payload of a full segment that arrives, bytes: the largest one seen."""
        return self.largest_segment

    @property
    def tcpi_unacked(self) -> int:
        """Segments outstanding."""
        return self.unacked

    @property
    def tcpi_sacked(self) -> int:
        """Segments outstanding that have arrived by what SACK says, or duplicate ACKs without it."""
        return self.sacked if self.has_sack else min(self.dupacks, self.unacked)

    @property
    def tcpi_lost(self) -> int:
        """Segments outstanding that are held for lost."""
        return self.lost

    @property
    def tcpi_retrans(self) -> int:
        """Segments outstanding that were sent again."""
        return self.retrans

    @property
    def tcpi_last_data_sent(self) -> int:
        """Time since data was sent, ms."""
        return (self.now - self.last_sent_at) // MILLISECOND

    @property
    def tcpi_last_ack_recv(self) -> int:
        """Time since an ACK came, ms."""
        return (self.now - self.last_heard) // MILLISECOND

    @property
    def tcpi_pmtu(self) -> int:
        """Path MTU, bytes."""
        return self.pmtu

    @property
    def tcpi_rtt(self) -> int:
        """Smoothed round-trip time, µs."""
        return self.srtt // _MICROSECOND

    @property
    def tcpi_rttvar(self) -> int:
        """Its variation, µs."""
        return self.rttvar // _MICROSECOND

    @property
    def tcpi_snd_ssthresh(self) -> int:
        """Slow-start threshold, segments; 2147483647 while it is arbitrarily high."""
        segments = self.ssthresh // self.snd_mss if self.snd_mss else TCP_INFINITE_SSTHRESH
        return min(segments, TCP_INFINITE_SSTHRESH)

    @property
    def tcpi_snd_cwnd(self) -> int:
        """Congestion window, segments."""
        return self.cwnd // self.snd_mss if self.snd_mss else 0

    @property
    def tcpi_advmss(self) -> int:
        """The MSS that was announced, bytes."""
        return self.advmss

    @property
    def tcpi_reordering(self) -> int:
        """Segments that may overtake one before it is held for lost (DupThresh, which never adapts)."""
        return DUP_THRESH

    @property
    def tcpi_rcv_space(self) -> int:
        """The most that the application has read in a round trip, bytes; 0 without autotuning."""
        return self.rcv_space

    @property
    def tcpi_total_retrans(self) -> int:
        """Segments sent again so far."""
        return self.retransmitted_segments

    @property
    def tcpi_bytes_acked(self) -> int:
        """Payload acknowledged, bytes (RFC 4898, tcpEStatsAppHCThruOctetsAcked)."""
        return self.acked_bytes

    @property
    def tcpi_bytes_received(self) -> int:
        """Payload that arrived in order, bytes (RFC 4898, tcpEStatsAppHCThruOctetsReceived)."""
        return self.received_bytes

    @property
    def tcpi_notsent_bytes(self) -> int:
        """Payload that waits to be sent, bytes."""
        return max(0, self.snd_end - self.snd_nxt)

    @property
    def tcpi_min_rtt(self) -> int:
        """Smallest round-trip time so far, µs; 4294967295 before the first sample."""
        return self.min_rtt // _MICROSECOND if self.srtt else NO_MIN_RTT

    @property
    def tcpi_busy_time(self) -> int:
        """How long something was queued or outstanding, µs."""
        return self.busy_time // _MICROSECOND

    @property
    def tcpi_rwnd_limited(self) -> int:
        """How long of that the peer's window was the limit, µs."""
        return self.rwnd_limited // _MICROSECOND

    @property
    def tcpi_sndbuf_limited(self) -> int:
        """How long of that the send buffer was the limit, µs."""
        return self.sndbuf_limited // _MICROSECOND

    @property
    def tcpi_delivered(self) -> int:
        """Segments that have arrived so far by ACKs and SACK, the SYN included."""
        return self.delivered_segments

    @property
    def tcpi_bytes_sent(self) -> int:
        """Payload sent, all copies, bytes."""
        return self.sent_bytes

    @property
    def tcpi_bytes_retrans(self) -> int:
        """Payload sent again, bytes."""
        return self.retransmitted_bytes

    @property
    def tcpi_snd_wnd(self) -> int:
        """The peer's window, bytes."""
        return max(0, self.snd_wnd_end - self.snd_una)

    @property
    def tcpi_rcv_wnd(self) -> int:
        """The window that is offered, bytes."""
        return max(0, self.rcv_wnd_end - self.rcv_nxt)


class ConnectionInfo(NamedTuple):
    """A connection as its application sees it, at an instant. Sizes in bytes, times in ns.

    Attributes:
        identifier: number of the connection at its host.
        established: the handshake was completed; it may be closed again.
        established_at: when that was, or -1.
        closed: every subflow has reached CLOSED.
        closing: the application has closed its direction.
        error: why the connection failed, or an empty string.
        written: bytes that the application wrote.
        acked: of these, what the peer has acknowledged.
        writable: bytes that a write would accept.
        waits_to_write: the application waits for room to write.
        send_buffer, receive_buffer: limits.
        delivered: bytes that arrived in order.
        consumed: of these, what the application has read.
        delivered_at: when bytes last arrived in order, or -1.
        free: room for the next bytes in order.
        least_free: room that is worth a segment.
        free_since: when a read last gave room for a segment again.
        nagle: Nagle's algorithm is on (RFC 9293 section 3.7.4).
    """

    identifier: int
    established: bool
    established_at: int
    closed: bool
    closing: bool
    error: str
    written: int
    acked: int
    writable: int
    waits_to_write: bool
    send_buffer: int
    receive_buffer: int
    delivered: int
    consumed: int
    delivered_at: int
    free: int
    least_free: int
    free_since: int
    nagle: bool


class SegmentInfo(NamedTuple):
    """A segment that is outstanding, at an instant.

    Attributes:
        seq, end: relative; a FIN counts.
        fin: it ends with the FIN.
        sent_at: when it was sent last, ns.
        retransmissions: how often it was sent again.
        lost: it is held for lost.
    """

    seq: int
    end: int
    fin: bool
    sent_at: int
    retransmissions: int
    lost: bool

    @property
    def length(self) -> int:
        """Payload bytes."""
        return self.end - self.seq - (1 if self.fin else 0)


def tcp_info(connection: Connection, now: int, number: int = 0) -> TcpInfo:
    """Return a snapshot of a TCP connection, or of one subflow, at an instant, ns."""
    tcp = connection.subflows[number]
    sender = tcp.sender
    receiver = tcp.receiver
    board = sender.board
    rtt = sender.rtt
    probe = sender.window_probe
    recovery = sender.recovery
    lost = retrans = 0
    if board.lost or board.resent:
        for index in range(board.head, len(board.records)):
            record = board.records[index]
            lost += 1 if record.lost else 0
            retrans += 1 if record.in_flight_again else 0
    busy, rwnd_limited, sndbuf_limited = sender.chrono.until(now)
    fin = 1 if 0 <= receiver.fin_at < receiver.nxt else 0
    received = max(0, receiver.nxt - 1 - fin)
    tuning = connection.tuning
    return TcpInfo(
        now=now,
        identifier=tcp.identifier,
        flow=tcp.flow,
        passive=tcp.passive,
        state=tcp.state,
        established_at=tcp.established_at,
        ended=tcp.ended,
        error=tcp.error,
        last_heard=tcp.last_heard,
        iss=tcp.sequences.iss,
        irs=tcp.sequences.irs,
        has_timestamps=tcp.timestamps,
        has_sack=receiver.sack,
        has_window_scale=tcp.scales_windows,
        has_ecn=tcp.ecn,
        ts_offset=tcp.timestamp(0),
        ts_recent=receiver.ts_recent,
        snd_scale=tcp.snd_scale,
        rcv_scale=receiver.scale,
        pmtu=tcp.mtu,
        advmss=tcp.announced_mss(),
        snd_una=sender.una,
        snd_nxt=sender.nxt,
        snd_end=sender.end,
        snd_wnd_end=sender.wnd_end,
        snd_mss=sender.mss,
        cwnd=sender.congestion.cwnd,
        ssthresh=sender.congestion.ssthresh,
        in_flight=sender.pipe(),
        unacked=len(board),
        sacked=board.sacked_segments,
        lost=lost,
        retrans=retrans,
        dupacks=recovery.dupacks,
        recovery=recovery.ca_state,
        srtt=rtt.srtt,
        rttvar=rtt.rttvar,
        min_rtt=rtt.minimum,
        rto=rtt.rto,
        rto_backoff=rtt.timeout(),
        rto_granularity=rtt.granularity,
        rto_at=sender.rto_at,
        backoff=rtt.backoff,
        timeouts_in_a_row=sender.timeouts_in_a_row,
        last_sent_at=sender.last_sent_at,
        sent_bytes=sender.sent_bytes,
        retransmitted_bytes=sender.resent_bytes,
        acked_bytes=max(0, min(sender.una, sender.end) - 1),
        retransmitted_segments=sender.resent_segments + tcp.syn_retransmissions,
        delivered_segments=board.acknowledged_segments + board.sacked_segments + (tcp.established_at >= 0),
        probe_at=probe.at,
        probe_interval=probe.interval,
        probe_shift=probe.shift,
        probes_unanswered=probe.unanswered + (0 if tcp.keepalive is None else tcp.keepalive.unanswered),
        override_at=probe.override_at,
        busy_time=busy,
        rwnd_limited=rwnd_limited,
        sndbuf_limited=sndbuf_limited,
        rcv_nxt=receiver.nxt,
        rcv_wnd_end=receiver.wnd_end,
        last_ack_sent=receiver.last_ack_sent,
        unacked_bytes=receiver.unacked,
        received_bytes=received,
        arrived_bytes=received + receiver.out_of_order.total,
        duplicate_bytes=receiver.duplicate_bytes,
        largest_segment=receiver.rcv_mss,
        delayed_ack=receiver.delayed_ack,
        rcv_space=tuning.space if tuning is not None else 0,
    )


def tcp_infos(connection: Connection, now: int) -> list[TcpInfo]:
    """Return the ``tcp_info`` of each subflow of a connection, those that have ended included."""
    return [tcp_info(connection, now, number) for number in range(len(connection.subflows))]


def connection_info(connection: Connection) -> ConnectionInfo:
    """Return what the application of a connection could know of it at this instant."""
    return ConnectionInfo(
        identifier=connection.identifier,
        established=connection.established,
        established_at=connection.subflows[0].established_at,
        closed=connection.closed,
        closing=connection.closing,
        error=connection.error,
        written=connection.written,
        acked=connection.acked,
        writable=connection.writable,
        waits_to_write=connection.wants_write,
        send_buffer=connection.send_buffer,
        receive_buffer=connection.receive_buffer,
        delivered=connection.delivered,
        consumed=connection.consumed,
        delivered_at=connection.delivered_at,
        free=connection.free,
        least_free=connection.least_free,
        free_since=connection.free_since,
        nagle=connection.config.nagle,
    )


def segment_at(connection: Connection, subflow: int, seq: int) -> SegmentInfo | None:
    """Return the segment of a subflow that carries a sequence number, None if it is not outstanding."""
    board = connection.subflows[subflow].sender.board
    index = board.index_at(seq)
    if index >= len(board.records):
        return None
    record = board.records[index]
    return SegmentInfo(
        record.seq, record.end, record.fin, record.sent_at, record.retransmissions, record.lost
    )
