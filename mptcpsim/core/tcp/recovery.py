"""Loss recovery of one sender: what an ACK says about losses, and what the timers do.

Three detectors, chosen when the connection is established: RACK-TLP (RFC 8985),
the conservative SACK algorithm (RFC 6675), and NewReno for a peer without SACK
(RFC 6582). The rate of sending during a recovery with SACK is PRR's (RFC 6937).

States: OPEN (nothing is known to be lost), RECOVERY (fast recovery), LOSS (after a
retransmission time-out). A recovery lasts until ``point`` is acknowledged.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.tcp.prr import ProportionalRateReduction
from mptcpsim.core.tcp.rack import Rack
from mptcpsim.core.tcp.scoreboard import Scoreboard, Sent
from mptcpsim.core.tcp.send_state import SendState
from mptcpsim.core.window_log import LOSS_PROBE
from mptcpsim.units import MILLISECOND, NEVER, SECOND

OPEN: Final = 0
RECOVERY: Final = 1
LOSS: Final = 2

STATE_NAMES: Final = ("open", "recovery", "loss")

DUP_THRESH: Final = 3

#: RFC 8985 section 7.2: how long a peer may hold back the ACK of a single segment.
TLP_MAX_ACK_DELAY: Final = 200 * MILLISECOND


class Recovery:
    """The loss recovery state of one sender; sequence numbers relative, times in ns.

    Attributes:
        ca_state: OPEN, RECOVERY or LOSS (Linux: ``icsk_ca_state``).
        point: RecoveryPoint: the recovery is over when this is acknowledged.
        dupacks: duplicate ACKs in a row.
        rack: the RACK detector, or None when it is off.
        sack: the peer sends SACK.
        tlp_end: end of the outstanding loss probe, or -1.
        reo_at, tlp_at: when the reordering timer and the loss probe are due.
    """

    __slots__ = (
        "_high_lost",
        "_high_rxt",
        "_rescue_rxt",
        "board",
        "ca_state",
        "dupacks",
        "limited_transmit",
        "point",
        "prr",
        "rack",
        "reo_at",
        "sack",
        "sender",
        "tlp_at",
        "tlp_end",
        "tlp_resent",
        "tlp_sampled",
    )

    def __init__(self, sender: SendState) -> None:
        self.sender = sender
        self.board: Scoreboard = sender.board
        self.ca_state: int = OPEN
        self.point: int = 0
        self.dupacks: int = 0
        self.prr = ProportionalRateReduction()
        self.rack: Rack | None = None
        self.sack: bool = False
        self.limited_transmit: bool = True
        self.tlp_end: int = -1
        self.tlp_resent: bool = False
        #: RFC 8985 section 7.3: an RTT sample was taken since the last probe.
        self.tlp_sampled: bool = True
        self.reo_at: int = NEVER
        self.tlp_at: int = NEVER
        #: Everything below was judged by IsLost() already.
        self._high_lost: int = 0
        self._high_rxt: int = 0
        #: RescueRxt: a rescue retransmission is allowed when more than this is acknowledged.
        self._rescue_rxt: int = 0

    def start(self, sack: bool, rack: bool, limited_transmit: bool) -> None:
        """Choose the detector; the connection is established."""
        self.sack = sack
        self.rack = Rack(self.board) if sack and rack else None
        self.limited_transmit = limited_transmit

    def stop(self) -> None:
        """The connection has ended."""
        self.tlp_at = self.reo_at = NEVER

    def disarm_probe(self) -> None:
        """Nothing is outstanding: there is nothing to probe for."""
        self.tlp_at = NEVER

    def on_rtt_sample(self) -> None:
        """An RTT sample was taken: the next loss probe may go out (RFC 8985 section 7.3)."""
        self.tlp_sampled = True

    # --- ACKs ---------------------------------------------------------------------------------

    def on_ack(self, acked: int, delivered: int, duplicate: bool, flight: int, now: int) -> None:
        """Detect losses and adapt the window after the scoreboard has taken an acknowledgment.

        Args:
            acked: bytes cumulatively acknowledged by it.
            delivered: bytes newly known to be at the receiver (DeliveredData).
            duplicate: it is a duplicate ACK (RFC 5681 section 2, RFC 6675 section 2).
            flight: FlightSize before it, bytes.
            now: ns.
        """
        if duplicate:
            self.dupacks += 1
        elif acked:
            self.dupacks = 0
        if self.ca_state != OPEN and self.sender.una >= self.point:
            self._over(now)
            acked = 0  # this ACK ended the recovery; the next one lets the window grow
        if not self.sack:
            self._newreno(acked, duplicate, flight, now)
            return
        board = self.board
        lost_before = board.marked
        if self.rack is not None:
            self._rack_detect(now)
        else:
            self._sack_detect()
        if self.ca_state == OPEN and board.lost and self.sender.una >= self.point:
            self._enter(flight, now)
        if self.ca_state == RECOVERY:
            self._proportion(delivered, acked > 0 and board.marked == lost_before)
        elif acked:
            self._grow(acked, flight, now)

    def _grow(self, acked: int, flight: int, now: int) -> None:
        """Let the window grow, if it was what limited us (RFC 5681 section 3.1, RFC 7661 in spirit).

        Not on an ECN echo (RFC 3168 section 6.1.2).
        """
        sender = self.sender
        congestion = sender.congestion
        if sender.ecn_echoed:
            return
        if flight + sender.mss > congestion.cwnd or self.ca_state == LOSS:
            congestion.on_ack(acked, now, sender.rtt.srtt, flight)
        else:
            congestion.on_unused_window(flight, now)

    def _proportion(self, delivered: int, progress: bool) -> None:
        """Set cwnd so that sndcnt bytes may be sent (RFC 6937 section 3).

        The slow-start bound is taken only on an ACK that advances and shows no further loss, the
        conservative bound otherwise (as Linux does): a path whose queue still overflows, or that
        drops retransmissions, is not filled again.
        """
        sender = self.sender
        pipe = sender.pipe()
        allowed = self.prr.on_ack(delivered, pipe, sender.mss, not progress)
        if self.prr.out == 0 and allowed < sender.mss:
            # The fast retransmit itself is always sent.
            allowed = sender.mss
        sender.window.follow_proportion(pipe, allowed)

    def _enter(self, flight: int, now: int) -> None:
        """Begin fast recovery (RFC 6675 section 5, RFC 5681 section 3.2)."""
        sender = self.sender
        ssthresh = sender.window.lower_threshold(flight, now)
        self.prr.start(flight, ssthresh)
        self.ca_state = RECOVERY
        self.point = sender.nxt
        sender.window_reduced()
        self._high_rxt = sender.una
        # Section 5 step (4.3): no rescue before the first retransmission is acknowledged.
        self._rescue_rxt = self.board.records[self.board.head].end
        self.tlp_end = -1
        self.tlp_at = NEVER
        sender.tcp.note("fast recovery", f"point {self.point} ssthresh {ssthresh}")
        sender.tcp.count("TcpExtTCPSackRecovery" if self.sack else "TcpExtTCPRenoRecovery")

    def _over(self, now: int) -> None:
        """The recovery point is acknowledged."""
        sender = self.sender
        if self.ca_state == RECOVERY:
            if self.sack:
                sender.window.reach_threshold()
            else:
                sender.window.leave_newreno(sender.nxt - sender.una, sender.mss)
        if self.rack is not None:
            self.rack.on_recovery_over()
        self.ca_state = OPEN
        self.dupacks = 0
        sender.congestion.on_recovered(now)

    def repair(self, point: int) -> None:
        """Repair losses up to ``point`` that do not signal congestion (path MTU discovery)."""
        if self.ca_state == RECOVERY:
            # PRR stops half-way: go to its target.
            self.sender.window.reach_threshold()
        self.ca_state = LOSS
        self.point = point
        self.dupacks = 0
        self.tlp_at = NEVER

    # --- RFC 8985 -----------------------------------------------------------------------------

    def _rack_detect(self, now: int) -> None:
        rack = self.rack
        assert rack is not None
        sender = self.sender
        rtt = sender.rtt
        window = rack.window(self.ca_state != OPEN, rtt.srtt, rtt.minimum)
        _, again = rack.detect(now, window)
        self.reo_at = again
        sender.tcp.wake_by(again)

    def on_reordering_timer(self, now: int) -> None:
        """Segments that waited for reordering to resolve have waited long enough (section 6.2)."""
        self.reo_at = NEVER
        self._rack_detect(now)
        if self.board.lost and self.ca_state == OPEN and self.sender.una >= self.point:
            self._enter(self.sender.nxt - self.sender.una, now)
        if self.ca_state == RECOVERY:
            self._proportion(0, False)
        self.sender.output(now)

    def arm_probe(self, now: int) -> None:
        """Schedule a loss probe if the rules allow one (section 7.2)."""
        sender = self.sender
        board = self.board
        if (
            self.ca_state != OPEN
            or board.sacked
            or self.tlp_end >= 0
            or not self.tlp_sampled
            or board.head == len(board.records)
        ):
            self.tlp_at = NEVER
            return
        srtt = sender.rtt.srtt
        if srtt:
            due = now + 2 * srtt
            if len(board) == 1:
                due += TLP_MAX_ACK_DELAY
        else:
            due = now + SECOND
        # A time-out that would come first becomes a probe.
        self.tlp_at = min(due, sender.rto_at)
        sender.tcp.wake_by(self.tlp_at)

    def on_probe_timer(self, now: int) -> None:
        """Send a loss probe: new data if there is some, else the last segment (section 7.3)."""
        self.tlp_at = NEVER
        sender = self.sender
        board = self.board
        if not len(board):
            return
        if sender.send_new_segment(now):
            self.tlp_resent = False
        else:
            sender.retransmit(board.records[-1], now)
            self.tlp_resent = True
        self.tlp_end = sender.nxt
        self.tlp_sampled = False
        self.tlp_at = NEVER
        sender.restart_rto(now)
        sender.tcp.count("TcpExtTCPLossProbes")
        sent = sender.tcp.last_sent()
        sender.tcp.log(LOSS_PROBE, now, sent.seq, sent.length)

    def judge_probe(self, ack: int, dsack: bool, bare_duplicate: bool, flight: int, now: int) -> None:
        """An ACK arrived while a loss probe is out: what became of it? (section 7.4).

        Args:
            ack: SEG.ACK.
            dsack: it reports that the end of the probe arrived twice.
            bare_duplicate: it is a duplicate ACK without any SACK block.
            flight: FlightSize before it, bytes.
            now: ns.
        """
        if ack < self.tlp_end:
            return
        if not self.tlp_resent or dsack:
            # New data was the probe, or both copies arrived: nothing was lost.
            self.tlp_end = -1
        elif ack > self.tlp_end:
            # Newer data was acknowledged and no duplicate reported: the probe repaired a loss,
            # and a loss is a sign of congestion.
            self.tlp_end = -1
            if self.ca_state == OPEN:
                self.sender.window.on_probe_repaired(flight, now)
                self.sender.window_reduced()
                self.sender.tcp.count("TcpExtTCPLossProbeRecovery")
        elif bare_duplicate:
            self.tlp_end = -1

    # --- RFC 6675 -----------------------------------------------------------------------------

    def _sack_detect(self) -> None:
        """Mark lost what IsLost() of section 4 says, looking at no record twice."""
        board = self.board
        sender = self.sender
        threshold = -1
        above = 0
        for count, (left, right) in enumerate(board.ranges.highest_ranges(DUP_THRESH), start=1):
            above += right - left
            if above > (DUP_THRESH - 1) * sender.mss or count >= DUP_THRESH:
                threshold = left
                break
        if threshold < 0 and self.dupacks >= DUP_THRESH and self.ca_state == OPEN and len(board):
            threshold = board.records[board.head].end
        if threshold <= self._high_lost:
            return
        records = board.records
        index = board.index_at(max(self._high_lost, sender.una))
        while index < len(records) and records[index].end <= threshold:
            record = records[index]
            if not record.sacked and not record.lost:
                board.mark_lost(record)
            index += 1
        self._high_lost = threshold

    def speculative(self) -> Sent | None:
        """Return what rules 3 and 4 of NextSeg() (section 4) allow to be sent again, or None."""
        if self.ca_state != RECOVERY or self.rack is not None or not self.sack:
            return None
        board = self.board
        records = board.records
        highest = board.ranges.highest()
        index = board.index_at(max(self._high_rxt, self.sender.una))
        while index < len(records) and records[index].end <= highest:
            record = records[index]
            if not record.sacked and not record.in_flight_again:
                return record
            index += 1
            self._high_rxt = record.end
        if self.sender.una > self._rescue_rxt and not (records[-1].sacked or records[-1].in_flight_again):
            # Rule 4: one rescue retransmission of the highest outstanding segment a recovery.
            self._rescue_rxt = self.point
            return records[-1]
        return None

    # --- RFC 6582 -----------------------------------------------------------------------------

    def _newreno(self, acked: int, duplicate: bool, flight: int, now: int) -> None:
        sender = self.sender
        board = self.board
        mss = sender.mss
        if self.ca_state == RECOVERY:
            if acked:
                # Section 3.2 step 3, partial acknowledgment: the next hole is lost too.
                sender.window.deflate(acked, mss)
                if len(board):
                    board.mark_lost(board.records[board.head])
                    sender.retransmit(board.records[board.head], now)
            elif duplicate:
                sender.window.on_duplicate(mss)
            return
        if self.ca_state == OPEN and self.dupacks == DUP_THRESH and sender.una > self.point and len(board):
            self._enter(flight, now)
            sender.window.inflate(mss, DUP_THRESH)
            board.mark_lost(board.records[board.head])
            sender.retransmit(board.records[board.head], now)
            return
        if acked:
            self._grow(acked, flight, now)

    # --- Time-out -----------------------------------------------------------------------------

    def on_timeout(self, now: int) -> None:
        """The retransmission timer expired (RFC 6298 section 5, RFC 5681 section 3.1, RFC 6675 5.1)."""
        sender = self.sender
        board = self.board
        if sender.timeouts_in_a_row == 1:
            # Held for the second and later time-outs of one segment (RFC 5681 equation 4).
            sender.window.lower_threshold(sender.nxt - sender.una, now)
        sender.window.on_timeout(sender.mss, now)
        sender.window_reduced()
        if board.records[board.head].sacked:
            # The receiver discarded data that it had SACKed (RFC 2018 section 8).
            board.forget_sacks()
            sender.tcp.count("TcpExtTCPSACKReneging")
            if self.rack is not None:
                self.rack.rewind()
        if self.rack is not None and sender.timeouts_in_a_row == 1:
            rtt = sender.rtt
            window = self.rack.window(True, rtt.srtt, rtt.minimum)
            self.rack.mark_on_timeout(now, sender.una, window)
        else:
            for index in range(board.head, len(board.records)):
                if not board.records[index].sacked:
                    board.mark_lost(board.records[index])
        self.ca_state = LOSS
        self.point = sender.nxt
        self.dupacks = 0
        self.tlp_end = -1
        self.tlp_at = NEVER
        self.reo_at = NEVER
        self._high_lost = sender.nxt
