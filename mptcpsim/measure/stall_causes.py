"""Finds the cause of a stall from the two ends of a connection, their logs and the network's drops.

``explain`` returns one of ``CAUSES``, an explanation in words, and the segments that prove it. **A new cause
needs changes in this file alone**: its name and meaning in ``CAUSES``, and the test for it in ``_Single`` or
``_Multipath``.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.info import MptcpInfo
from mptcpsim.core.segment import Segment
from mptcpsim.core.tcp.info import SegmentInfo, TcpInfo
from mptcpsim.core.window_log import IGNORED, OPENED, OVERRIDE, UPDATE, WITHHELD, WindowEvent
from mptcpsim.measure.drops import BOX, NODE, DropLog, DroppedPacket
from mptcpsim.measure.ends import End
from mptcpsim.measure.limits import held_by_nagle
from mptcpsim.measure.stall_evidence import Evidence, in_a_row, instant, next_probe, timeouts
from mptcpsim.measure.stalls import Explanation, Witness
from mptcpsim.units import NEVER, SECOND, format_time

# The causes.
LOST: Final = "window update lost"
ELSEWHERE: Final = "update sent on another subflow"
NOT_SENT: Final = "update withheld"
BACK_OFF: Final = "persist back-off"
NO_SUBFLOW: Final = "no subflow schedulable"
NO_DATA_ACK: Final = "update without DATA_ACK"
HEAD_OF_LINE: Final = "head-of-line"
LOSS: Final = "loss recovery"
TIME_OUT: Final = "retransmission time-out"
ACKS_LOST: Final = "acknowledgments lost"
BLACK_HOLE: Final = "path-MTU black hole"
MIDDLEBOX: Final = "dropped by a middlebox"
NODE_DROPS: Final = "dropped by a node"
SCHEDULER: Final = "scheduler"
STARVED: Final = "send buffer starved"
NAGLE: Final = "Nagle"
UNEXPLAINED: Final = "unknown"

#: All of them, with what they mean.
CAUSES: Final[dict[str, str]] = {
    LOST: "the receiver announced its room, and the announcement did not arrive",
    ELSEWHERE: "the receiver announced its room on one subflow; what is missing waits on another one",
    NOT_SENT: "reads were too small for a window update (silly-window rule)",
    BACK_OFF: "nobody announced the room; the sender waits for its next probe",
    NO_SUBFLOW: "the sender may send, and has no subflow that it would send on",
    NO_DATA_ACK: "the announcement came without a DATA_ACK, and says nothing to the connection",
    HEAD_OF_LINE: "the next byte was sent on a subflow that is slow or dead",
    LOSS: "the next byte was lost, and sent again once ACKs or a loss probe had shown it",
    TIME_OUT: "the next byte was lost, and only the retransmission timer sends it again",
    ACKS_LOST: "all that was sent has arrived, and the ACKs of it have not",
    BLACK_HOLE: "packets are too big for a link of the path, and nothing tells the sender",
    MIDDLEBOX: "a middlebox drops what comes next",
    NODE_DROPS: "a router, a firewall or a host drops what comes next",
    SCHEDULER: "the scheduler was asked for a subflow, and chose none",
    STARVED: "the send buffer is full of data that was delivered and is kept",
    NAGLE: "less than a segment is left, and waits for the ACK of what was sent (RFC 9293 3.7.4)",
    UNEXPLAINED: "none of these",
}

#: Reasons for which links and nodes drop everything: what was sent that way is not late but dead.
_DEAD = ("down", "interface-down")
_TOO_BIG = "too-big"


def explain(sender: End, receiver: End, since: int, drops: DropLog) -> Explanation:
    """Return why nothing arrives at an instant of a gap.

    Args:
        sender: the end that sends the data, at that instant.
        receiver: the other one.
        since: when the gap began, ns.
        drops: what the network dropped.
    """
    if sender.active_mptcp is not None and receiver.mptcp is not None:
        return _Multipath(sender, receiver, since, drops, sender.active_mptcp, receiver.mptcp).explain()
    return _Single(sender, receiver, since, drops).explain()


class _Causes(Evidence):
    """The causes that plain TCP and MPTCP have in common."""

    def closed(self, tcps: list[TcpInfo], whose: str) -> Explanation:
        """Explain why the sender still holds a window for closed; ``tcps``: the subflows that matter."""
        updates = self.said(UPDATE)
        here = {tcp.identifier for tcp in tcps}
        mine = [event for event in updates if self.number(event.subflow) in here]
        lost = [event for event in mine if not self.arrived(event)]
        ignored = self.heard(IGNORED)
        if ignored and not lost:
            return self._ignored(ignored)
        if lost:
            return self._lost(lost, tcps)
        if updates and not mine:
            return self._elsewhere(updates, tcps)
        withheld = self.said(WITHHELD)
        if withheld:
            last = withheld[-1]
            words = (
                f"{_reads(withheld)}, but "
                f"{last.window} bytes more are needed for a window update; {next_probe(tcps)}"
            )
            return Explanation(NOT_SENT, words, (*self.zero(), *self.probed(tcps)))
        if self.announced():
            return Explanation(UNEXPLAINED, f"an ACK has announced the room that there is {whose}")
        answers = self._answers(tcps)
        words = f"no segment has announced the room that there is {whose}{answers}; {next_probe(tcps)}"
        return Explanation(BACK_OFF, words, (*self.zero(), *self.probed(tcps)))

    def _lost(self, lost: list[WindowEvent], tcps: list[TcpInfo]) -> Explanation:
        where = ", ".join(sorted({str(self.number(event.subflow)) for event in lost}))
        fates = {self._fate(event) for event in lost} - {""}
        fate = f" ({', '.join(sorted(fates))})" if fates else ""
        words = (
            f"the receiver announced a window of {lost[0].window} bytes on subflow {where} at "
            f"{lost[0].time / SECOND:.6f} s; the announcement never arrived{fate}{self._answers(tcps)}, "
            f"and {next_probe(tcps)}"
        )
        shown = self.shown("window update, lost", lost)
        return Explanation(LOST, words, (*self.zero(), *shown, *self.probed(tcps)))

    def _fate(self, event: WindowEvent) -> str:
        """Return in words who dropped a segment of the receiver's, as far as it is known."""
        tcp = self.sender.subflows[self.number(event.subflow)]
        drop = self.dropped_back(tcp, event.seq, event.ack, event.time)
        return "" if drop is None else drop.words

    def _answers(self, tcps: list[TcpInfo]) -> str:
        """Return in words which answers to probes were lost."""
        lost = self.lost_answers(tcps)
        if not lost:
            return ""
        last = lost[-1]
        fate = self._fate(last)
        how = f", {fate}" if fate else ""
        what = (
            f"the answers to {len(lost)} probes, the last one" if len(lost) > 1 else "the answer to a probe,"
        )
        where = f"subflow {self.number(last.subflow)} at {last.time / SECOND:.6f} s"
        return f", nor did {what} sent on {where}{how}"

    def _ignored(self, ignored: list[WindowEvent]) -> Explanation:
        first = ignored[0]
        words = (
            f"a window of {first.window} bytes was announced on subflow {first.subflow} without a DATA_ACK: "
            "the window of the connection stays closed (RFC 8684 section 3.3.5)"
        )
        witness = self.heard_by_sender("update without DATA_ACK", first)
        return Explanation(NO_DATA_ACK, words, (*self.zero(), witness))

    def _elsewhere(self, updates: list[WindowEvent], tcps: list[TcpInfo]) -> Explanation:
        told = ", ".join(sorted({str(self.number(event.subflow)) for event in updates}))
        waits = ", ".join(str(tcp.identifier) for tcp in tcps)
        words = (
            f"the receiver announced a window of {updates[0].window} bytes at "
            f"{updates[0].time / SECOND:.6f} s on subflow {told} only; "
            f"what comes next waits on subflow {waits}, whose window is closed, and {next_probe(tcps)}"
        )
        shown = self.shown("window update", updates[:1])
        return Explanation(ELSEWHERE, words, (*self.zero(), *shown, *self.probed(tcps)))

    def silly(self, left: int, until: int) -> Explanation:
        """Explain that the sender waits for a larger window (silly-window avoidance)."""
        words = (
            f"{left} bytes are left of the window, less than a segment: the sender waits for more of it, "
            f"up to {instant(until)}, and nothing has announced that there is (silly-window avoidance)"
        )
        return Explanation(NOT_SENT, words)

    def waits_for_ack(self, unsent: int, mss: int, outstanding: bool, where: str) -> Explanation:
        """Explain that the sender waits for an ACK that is not overdue, with open windows."""
        words = f"{unsent} bytes wait, the window is open, and nothing is sent{where}"
        if held_by_nagle(self.sender.info, unsent, mss, outstanding):
            rtt = max(tcp.srtt for tcp in self.sender.subflows)
            words += (
                " until the peer acknowledges what it has: they are less than a segment (Nagle's algorithm); "
                f"smoothed round trip {format_time(rtt)}"
            )
            return Explanation(NAGLE, words)
        if outstanding:
            words += " until the peer acknowledges what it has (the congestion window)"
        return Explanation(UNEXPLAINED, words)

    def acks_lost(self, tcps: list[TcpInfo]) -> Explanation:
        """Explain that all data sent has arrived, and its ACKs have not."""
        each: list[str] = []
        again = 0
        for tcp in tcps:
            lost = self.dropped_since(tcp, max(self.since, 0))
            again += 1 if lost and in_a_row(tcp) else 0
            drops = self.dropped_acks(tcp)
            many = f"{len(drops)} ACKs were" if len(drops) > 1 else "an ACK was"
            how = f" ({many} {drops[-1].words})" if drops else ""
            due = timeouts(tcp, "") or (
                f"the retransmission time-out is due at {instant(tcp.rto_at)}"
                if tcp.rto_at < NEVER
                else "no timer is running"
            )
            each.append(
                f"what was sent on subflow {tcp.identifier} has arrived, and no ACK of it{how}: nothing was "
                f"heard since {tcp.last_heard / SECOND:.6f} s, {due}"
                + (f"; what was sent again was {lost[-1].words}" if lost else "")
            )
        # Where nothing passes in either direction, the ACKs are not what is missing.
        cause = TIME_OUT if again == len(tcps) else ACKS_LOST
        return Explanation(cause, "; ".join(each), timeouts=max(in_a_row(tcp) for tcp in tcps))

    def in_flight(self, tcp: TcpInfo, seq: int, what: str, elsewhere: bool = False) -> Explanation:
        """Explain a gap while a byte is outstanding on a subflow.

        Args:
            tcp: the subflow.
            seq: the byte, relative.
            what: begin of a sentence about it.
            elsewhere: other subflows could carry it.
        """
        record = self.sender.segment(tcp, seq)
        drops = self.dropped(tcp, seq)
        last, segment = drops[-1] if drops else (None, None)
        if last is not None and (record is None or last.time < record.sent_at):
            # Another copy has been sent since.
            last = None
        missing = self._missing_segment(tcp, record)
        count = in_a_row(tcp)
        if last is not None and segment is not None and last.who == NODE and last.reason == _TOO_BIG:
            return self._black_hole(tcp, last, segment.size, missing)
        if last is not None and last.who in (BOX, NODE) and last.reason not in _DEAD:
            cause = MIDDLEBOX if last.who == BOX else NODE_DROPS
            words = f"{what}, and {_dropped(drops, last)}{timeouts(tcp, '; ')}"
            return Explanation(cause, words, missing, count)
        lost = last is not None or count > 0 or (record is not None and record.lost)
        if not lost:
            return self._on_its_way(tcp, record, what, missing)
        how = f", and {_dropped(drops, last)}" if last is not None else " and not acknowledged"
        due = timeouts(tcp, "") or f"the retransmission time-out is due at {instant(tcp.rto_at)}"
        words = f"{what}{how}; {due}"
        dead = count > 1 or (last is not None and last.reason in _DEAD)
        if elsewhere and dead:
            return Explanation(HEAD_OF_LINE, words, missing, count)
        return Explanation(TIME_OUT if count else LOSS, words, missing, count)

    def sent_by(self, tcp: TcpInfo, seq: int) -> int:
        """Return by when a byte that is outstanding on a subflow had been sent, as far as is known, ns."""
        record = self.sender.segment(tcp, seq)
        known = [drop.time for drop, _ in self.dropped(tcp, seq)]
        return min(known if record is None else [record.sent_at, *known], default=self.now)

    def _on_its_way(
        self, tcp: TcpInfo, record: SegmentInfo | None, what: str, missing: tuple[Witness, ...]
    ) -> Explanation:
        """Explain a byte that is late, without a sign that it was lost."""
        if record is not None and not record.retransmissions:
            withheld = self.said(WITHHELD)
            fresh = self.now - record.sent_at < tcp.srtt
            # Reads without an update have held it up only if there was no room in the window.
            held = [e for e in self.heard(OPENED, OVERRIDE) if self.since < e.time <= record.sent_at]
            if fresh and withheld and held:
                words = (
                    f"{_reads(withheld)}, "
                    f"without a window update; {what} at {record.sent_at / SECOND:.6f} s, and is on its way"
                )
                return Explanation(NOT_SENT, words, tuple(self.zero()))
        words = (
            f"{what} and not acknowledged; smoothed round trip {format_time(tcp.srtt)}, "
            f"time-out {format_time(tcp.rto)}"
        )
        return Explanation(HEAD_OF_LINE, words, missing)

    def _black_hole(
        self, tcp: TcpInfo, drop: DroppedPacket, size: int, missing: tuple[Witness, ...]
    ) -> Explanation:
        """The path drops packets of a size, and the sender is not told (RFC 2923 section 2.1)."""
        words = f"packets of {size:,} bytes are dropped at {drop.place}; no ICMP came back"
        errors = self.dropped_errors(tcp, drop.time)
        if errors:
            words += f" (it was {errors[-1].words})"
        return Explanation(BLACK_HOLE, words + timeouts(tcp, "; "), missing, in_a_row(tcp))

    def _missing_segment(self, tcp: TcpInfo, record: SegmentInfo | None) -> tuple[Witness, ...]:
        if record is None:
            return ()
        raw = tcp.wire_seq(record.seq)
        what = "what is missing, last sent"
        return (Witness(what, record.sent_at, True, True, tcp.identifier, tcp.flow, raw, record.length),)


class _Single(_Causes):
    """A plain TCP connection, or one that MPTCP has become."""

    def explain(self) -> Explanation:
        """Return the explanation."""
        tcp, other = self.sender.only, self.receiver.only
        if self.sender.info.closed:
            return Explanation(NO_SUBFLOW, "the connection has ended")
        missing = other.rcv_nxt
        if missing < tcp.snd_nxt:
            found = self.in_flight(tcp, missing, f"byte {missing} was sent")
            return found._replace(since=self.sent_by(tcp, missing))
        if self.unheard([tcp]):
            return self.acks_lost([tcp])
        unsent = tcp.snd_end - tcp.snd_nxt
        left = tcp.snd_wnd_end - tcp.snd_nxt
        if left <= 0 < unsent:
            return self.closed([tcp], "in the receive buffer")
        if left < min(tcp.snd_mss, unsent):
            return self.silly(left, tcp.override_at)
        return self.waits_for_ack(unsent, tcp.snd_mss, tcp.snd_nxt > tcp.snd_una, "")


class _Multipath(_Causes):
    """An MPTCP connection."""

    def __init__(
        self, sender: End, receiver: End, since: int, drops: DropLog, mine: MptcpInfo, theirs: MptcpInfo
    ) -> None:
        super().__init__(sender, receiver, since, drops)
        self.mine = mine
        self.theirs = theirs

    def explain(self) -> Explanation:
        """Return the explanation."""
        mine = self.mine
        if not mine.subflows:
            return self._all_ended()
        if self.sender.info.written == self.receiver.info.delivered:
            return self._starved()
        missing = self.theirs.rcv_nxt
        if missing < mine.snd_nxt:
            return self._missing(missing)
        tcps = self.sender.open
        silent = self.unheard(tcps)
        # The window that the sender knows of has no room for a segment; the one that was announced has.
        short = mine.snd_wnd_end - mine.snd_nxt < self.receiver.info.least_free
        told = self.theirs.rcv_wnd_end > mine.snd_wnd_end
        if silent and (len(silent) == len(tcps) or (short and told)):
            return self.acks_lost(silent)
        if mine.snd_wnd_end <= mine.snd_nxt:
            return self.closed(tcps, "in the receive buffer")
        return self._unsent()

    def _all_ended(self) -> Explanation:
        subflows = self.sender.subflows
        why = "; ".join(f"subflow {tcp.identifier}: {tcp.error or 'closed'}" for tcp in subflows)
        ended = [e.time for e in self.sender.events() if self.sender.is_mine(e) and e.what == "SF_CLOSED"]
        return Explanation(NO_SUBFLOW, f"every subflow has ended ({why})", since=max(ended, default=-1))

    def _missing(self, missing: int) -> Explanation:
        """The next byte was mapped onto a subflow."""
        sender = self.sender
        holders: list[tuple[TcpInfo, int]] = []
        for mapping in sender.carriers(missing):
            holders.append((sender.subflows[mapping.subflow], mapping.ssn + missing - mapping.dsn))
        sent = [(tcp, seq) for tcp, seq in holders if seq < tcp.snd_nxt]
        if sent:
            # The copy that comes first matters: one on a subflow that is not in time-out, if there is one.
            tcp, seq = min(sent, key=lambda item: in_a_row(item[0]))
            number = tcp.identifier
            others = any(other is not tcp for other in sender.usable)
            what = f"DSN {missing} was sent on subflow {number}"
            other = self.other(tcp)
            first = seq if other is None else other.rcv_nxt
            if first < seq:
                # It may have arrived: subflows hand on in their own order.
                seq = first
                what = f"DSN {missing} waits on subflow {number} behind byte {first}, which was sent"
            found = self.in_flight(tcp, seq, what, others)
            found = found._replace(since=min(self.sent_by(one, number) for one, number in sent))
            if found.cause == TIME_OUT and not sender.usable and len(sender.open) > 1:
                states = "; ".join(_why_not(one) for one in sender.open)
                found = found._replace(words=f"{found.words}; no subflow is left to send it on: {states}")
            return found
        if not holders:
            words = (
                f"DSN {missing} was acknowledged on its subflow and not taken by the connection; "
                f"its data-level retransmission is due at {instant(self.mine.rto_at)}"
            )
            return Explanation(HEAD_OF_LINE, words)
        return self.closed([tcp for tcp, _ in holders], "for what waits")

    def _unsent(self) -> Explanation:
        """The next byte was never sent, and the window of the connection is open."""
        mine = self.mine
        unsent = mine.unsent_bytes
        usable = self.sender.usable
        tcps = self.sender.open
        opened = self.heard(OPENED)
        witnesses = [self.heard_by_sender("window update", event) for event in opened[:1]]
        if not usable:
            states = "; ".join(_why_not(tcp) for tcp in tcps)
            dead = all(in_a_row(tcp) for tcp in tcps)
            return Explanation(
                TIME_OUT if dead else NO_SUBFLOW,
                f"{unsent} bytes wait, and no subflow may have them: {states}",
                (*self.zero(), *witnesses, *self.probed(tcps)),
                timeouts=max((in_a_row(tcp) for tcp in tcps), default=0),
            )
        silent = self.unheard(usable)
        if len(silent) == len(usable):
            return self.acks_lost(silent)
        if all(mine.each[tcp.identifier].own_window_closed for tcp in usable):
            return self.closed(usable, "on the subflows that are left")
        if not mine.may_push:
            words = (
                f"{unsent} bytes wait, windows are open, and nothing wakes the scheduler: only a "
                f"DATA_ACK that advances does; the data-level timer is due at {instant(mine.rto_at)}"
            )
            return Explanation(NO_SUBFLOW, words, (*self.zero(), *witnesses, *self.probed(tcps)))
        names = ", ".join(str(tcp.identifier) for tcp in usable)
        if mine.declined_at >= max(tcp.last_sent_at for tcp in usable):
            words = (
                f"{unsent} bytes wait, windows are open, and the scheduler {mine.scheduler!r} chose "
                f"no subflow when it was last asked, at {mine.declined_at / SECOND:.6f} s (usable: {names})"
            )
            return Explanation(SCHEDULER, words)
        silent = silent or self.unheard(tcps)
        if silent:
            # What waits for an ACK (Nagle, the congestion window) waits for these.
            return self.acks_lost(silent)
        left = min(mine.snd_wnd_end - mine.snd_nxt, unsent)
        least = min(tcp.snd_mss for tcp in usable)
        if left < least and left < unsent:
            return self.silly(left, mine.override_at)
        return self.waits_for_ack(unsent, least, mine.snd_nxt > mine.snd_una, f" on subflow {names}")

    def _starved(self) -> Explanation:
        each = self.mine.each
        kept = [
            f"{each[tcp.identifier].kept_bytes} on subflow {tcp.identifier}"
            f" ({in_a_row(tcp)} time-outs in a row)"
            for tcp in self.sender.open
            if each[tcp.identifier].kept_bytes
        ]
        words = (
            f"the application waits to write: the send buffer of {self.sender.info.send_buffer} bytes keeps "
            f"what was delivered until every subflow that carried it has acknowledged it (RFC 8684 3.3.2): "
            f"{', '.join(kept) or 'nothing'}"
        )
        return Explanation(STARVED, words)


def _dropped(drops: list[tuple[DroppedPacket, Segment]], last: DroppedPacket) -> str:
    """Return in words what became of the copies of a segment."""
    many = f"{len(drops)} times lost, the last time " if len(drops) > 1 else ""
    return f"{many}{last.words} at {last.time / SECOND:.6f} s"


def _reads(withheld: list[WindowEvent]) -> str:
    times = sum(event.times for event in withheld)
    return f"the application has read, {times} times since {withheld[0].time / SECOND:.3f} s"


def _why_not(tcp: TcpInfo) -> str:
    name = f"subflow {tcp.identifier}"
    if tcp.timeouts_in_a_row:
        return f"{name} is in time-out ({tcp.timeouts_in_a_row} in a row)"
    if tcp.probe_at < NEVER:
        return f"{name} is in persist, next probe at {tcp.probe_at / SECOND:.3f} s"
    return f"{name} is not ready"
