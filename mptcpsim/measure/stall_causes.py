"""Why nothing arrives: the two ends of a connection, their logs and the network's drops as evidence.

``explain`` finds one of the causes of ``measure.stalls.CAUSES``, in words, and the segments that show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.window_log import IGNORED, OPENED, OVERRIDE, UPDATE, WITHHELD, WindowEvent
from mptcpsim.measure.drops import BOX, NODE, DropLog, DroppedPacket
from mptcpsim.measure.limits import held_by_nagle
from mptcpsim.measure.stall_evidence import Evidence, in_a_row, instant, next_probe, timeouts
from mptcpsim.measure.stalls import (
    ACKS_LOST,
    BACK_OFF,
    BLACK_HOLE,
    ELSEWHERE,
    HEAD_OF_LINE,
    LOSS,
    LOST,
    MIDDLEBOX,
    NAGLE,
    NO_DATA_ACK,
    NO_SUBFLOW,
    NODE_DROPS,
    NOT_SENT,
    SCHEDULER,
    STARVED,
    TIME_OUT,
    UNEXPLAINED,
    Explanation,
    Witness,
)
from mptcpsim.units import NEVER, SECOND, format_time

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.subflow import Subflow
    from mptcpsim.core.segment import Segment
    from mptcpsim.core.tcp.connection import Connection
    from mptcpsim.core.tcp.endpoint import Tcp
    from mptcpsim.core.tcp.scoreboard import Sent

#: Reasons for which links and nodes drop everything: what was sent that way is not late but dead.
_DEAD = ("down", "interface-down")
_TOO_BIG = "too-big"


def explain(
    sender: Connection, receiver: Connection, now: int, since: int, drops: DropLog | None = None
) -> Explanation:
    """Return why nothing arrives at an instant of a gap.

    Args:
        sender: the end that sends the data.
        receiver: the other one.
        now: ns.
        since: when the gap began, ns.
        drops: what the network dropped, as far as it was noted.
    """
    noted = DropLog() if drops is None else drops
    if isinstance(sender, MptcpConnection) and isinstance(receiver, MptcpConnection) and not sender.is_plain:
        return _Multipath(sender, receiver, now, since, noted).explain()
    return _Single(sender, receiver, now, since, noted).explain()


class _Causes(Evidence):
    """The causes that plain TCP and MPTCP have in common."""

    def closed(self, tcps: list[Tcp], whose: str) -> Explanation:
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

    def _lost(self, lost: list[WindowEvent], tcps: list[Tcp]) -> Explanation:
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

    def _answers(self, tcps: list[Tcp]) -> str:
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

    def _elsewhere(self, updates: list[WindowEvent], tcps: list[Tcp]) -> Explanation:
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
        """The sender waits for more of a window than is left (silly-window avoidance)."""
        words = (
            f"{left} bytes are left of the window, less than a segment: the sender waits for more of it, "
            f"up to {instant(until)}, and nothing has announced that there is (silly-window avoidance)"
        )
        return Explanation(NOT_SENT, words)

    def waits_for_ack(self, unsent: int, mss: int, outstanding: bool, where: str) -> Explanation:
        """Windows are open, all that was sent has arrived, and no ACK of it is overdue: it is on its way."""
        words = f"{unsent} bytes wait, the window is open, and nothing is sent{where}"
        if held_by_nagle(self.sender, unsent, mss, outstanding):
            rtt = max(tcp.sender.rtt.srtt for tcp in self.sender.subflows)
            words += (
                " until the peer acknowledges what it has: they are less than a segment (Nagle's algorithm); "
                f"smoothed round trip {format_time(rtt)}"
            )
            return Explanation(NAGLE, words)
        if outstanding:
            words += " until the peer acknowledges what it has (the congestion window)"
        return Explanation(UNEXPLAINED, words)

    def acks_lost(self, tcps: list[Tcp]) -> Explanation:
        """All that was sent has arrived, and the ACKs of it have not."""
        each: list[str] = []
        again = 0
        for tcp in tcps:
            lost = self.dropped_since(tcp, max(self.since, 0))
            again += 1 if lost and in_a_row(tcp) else 0
            drops = self.dropped_acks(tcp)
            many = f"{len(drops)} ACKs were" if len(drops) > 1 else "an ACK was"
            how = f" ({many} {drops[-1].words})" if drops else ""
            due = timeouts(tcp, "") or (
                f"the retransmission time-out is due at {instant(tcp.sender.rto_at)}"
                if tcp.sender.rto_at < NEVER
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

    def in_flight(self, tcp: Tcp, seq: int, what: str, elsewhere: bool = False) -> Explanation:
        """Explain a gap while a byte is outstanding on a subflow.

        Args:
            tcp: the subflow.
            seq: the byte, relative.
            what: begin of a sentence about it.
            elsewhere: other subflows could carry it.
        """
        record = _record(tcp, seq)
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
        due = timeouts(tcp, "") or f"the retransmission time-out is due at {instant(tcp.sender.rto_at)}"
        words = f"{what}{how}; {due}"
        dead = count > 1 or (last is not None and last.reason in _DEAD)
        if elsewhere and dead:
            return Explanation(HEAD_OF_LINE, words, missing, count)
        return Explanation(TIME_OUT if count else LOSS, words, missing, count)

    def sent_by(self, tcp: Tcp, seq: int) -> int:
        """Return by when a byte that is outstanding on a subflow had been sent, as far as is known, ns."""
        record = _record(tcp, seq)
        known = [drop.time for drop, _ in self.dropped(tcp, seq)]
        return min(known if record is None else [record.sent_at, *known], default=self.now)

    def _on_its_way(
        self, tcp: Tcp, record: Sent | None, what: str, missing: tuple[Witness, ...]
    ) -> Explanation:
        """Nothing says that the byte is lost: it is late."""
        sender = tcp.sender
        if record is not None and not record.retransmissions:
            withheld = self.said(WITHHELD)
            fresh = self.now - record.sent_at < sender.rtt.srtt
            # Reads without an update have held it up only if there was no room in the window.
            held = [e for e in self.heard(OPENED, OVERRIDE) if self.since < e.time <= record.sent_at]
            if fresh and withheld and held:
                words = (
                    f"{_reads(withheld)}, "
                    f"without a window update; {what} at {record.sent_at / SECOND:.6f} s, and is on its way"
                )
                return Explanation(NOT_SENT, words, tuple(self.zero()))
        words = (
            f"{what} and not acknowledged; smoothed round trip {format_time(sender.rtt.srtt)}, "
            f"time-out {format_time(sender.rtt.rto)}"
        )
        return Explanation(HEAD_OF_LINE, words, missing)

    def _black_hole(
        self, tcp: Tcp, drop: DroppedPacket, size: int, missing: tuple[Witness, ...]
    ) -> Explanation:
        """The path drops packets of a size, and the sender is not told (RFC 2923 section 2.1)."""
        words = f"packets of {size:,} bytes are dropped at {drop.place}; no ICMP came back"
        errors = self.dropped_errors(tcp, drop.time)
        if errors:
            words += f" (it was {errors[-1].words})"
        return Explanation(BLACK_HOLE, words + timeouts(tcp, "; "), missing, in_a_row(tcp))

    def _missing_segment(self, tcp: Tcp, record: Sent | None) -> tuple[Witness, ...]:
        if record is None:
            return ()
        size = record.end - record.seq - (1 if record.fin else 0)
        raw = tcp.sequences.wire_seq(record.seq)
        what = "what is missing, last sent"
        return (Witness(what, record.sent_at, True, True, tcp.identifier, tcp.flow, raw, size),)


class _Single(_Causes):
    """A plain TCP connection, or one that MPTCP has become."""

    def explain(self) -> Explanation:
        """Return the explanation."""
        tcp, other = _only(self.sender), _only(self.receiver)
        sender = tcp.sender
        if self.sender.closed:
            return Explanation(NO_SUBFLOW, "the connection has ended")
        missing = other.receiver.nxt
        if missing < sender.nxt:
            found = self.in_flight(tcp, missing, f"byte {missing} was sent")
            return found._replace(since=self.sent_by(tcp, missing))
        if self.unheard([tcp]):
            return self.acks_lost([tcp])
        left = sender.edge - sender.nxt
        if sender.edge <= sender.nxt < sender.end:
            return self.closed([tcp], "in the receive buffer")
        if left < min(sender.mss, sender.end - sender.nxt):
            return self.silly(left, sender.window_probe.override_at)
        return self.waits_for_ack(sender.end - sender.nxt, sender.mss, sender.nxt > sender.una, "")


class _Multipath(_Causes):
    """An MPTCP connection."""

    sender: MptcpConnection
    receiver: MptcpConnection

    def explain(self) -> Explanation:
        """Return the explanation."""
        out = self.sender.outbound
        if not self.sender.open_subflows():
            return self._all_ended()
        if self.sender.written == self.receiver.delivered:
            return self._starved()
        missing = self.receiver.inbound.nxt
        if missing < out.nxt:
            return self._missing(missing)
        tcps = [subflow.tcp for subflow in self.sender.open]
        silent = self.unheard(tcps)
        # The window that the sender knows of has no room for a segment; the one that was announced has.
        short = out.edge - out.nxt < self.receiver.least_free
        told = self.receiver.inbound.edge > out.edge
        if silent and (len(silent) == len(tcps) or (short and told)):
            return self.acks_lost(silent)
        if out.edge <= out.nxt:
            return self.closed(tcps, "in the receive buffer")
        return self._unsent()

    def _all_ended(self) -> Explanation:
        subflows = self.sender.subflows
        why = "; ".join(f"subflow {tcp.identifier}: {tcp.error or 'closed'}" for tcp in subflows)
        ended = [e.time for e in self.sender.host_events() if self._is_end(e.connection, e.what)]
        return Explanation(NO_SUBFLOW, f"every subflow has ended ({why})", since=max(ended, default=-1))

    def _is_end(self, connection: int, what: str) -> bool:
        return connection == self.sender.identifier and what == "SF_CLOSED"

    def _missing(self, missing: int) -> Explanation:
        """The next byte was mapped onto a subflow."""
        holders: list[tuple[Subflow, int]] = []
        for subflow in self.sender.open:
            for mapping in subflow.mappings.outstanding():
                if mapping.dsn <= missing < mapping.dsn + mapping.length:
                    holders.append((subflow, mapping.ssn + missing - mapping.dsn))
        sent = [(subflow, seq) for subflow, seq in holders if seq < subflow.tcp.sender.nxt]
        usable = self.sender.usable()
        if sent:
            # The copy that comes first matters: one on a subflow that is not in time-out, if there is one.
            subflow, seq = min(sent, key=lambda item: in_a_row(item[0].tcp))
            others = any(other is not subflow for other in usable)
            what = f"DSN {missing} was sent on subflow {subflow.number}"
            other = self.other(subflow.tcp)
            first = seq if other is None else other.receiver.nxt
            if first < seq:
                # It may have arrived: subflows hand on in their own order.
                seq = first
                what = f"DSN {missing} waits on subflow {subflow.number} behind byte {first}, which was sent"
            found = self.in_flight(subflow.tcp, seq, what, others)
            found = found._replace(since=min(self.sent_by(one.tcp, number) for one, number in sent))
            if found.cause == TIME_OUT and not usable and len(self.sender.open) > 1:
                states = "; ".join(_why_not(one) for one in self.sender.open)
                found = found._replace(words=f"{found.words}; no subflow is left to send it on: {states}")
            return found
        if not holders:
            words = (
                f"DSN {missing} was acknowledged on its subflow and not taken by the connection; "
                f"its data-level retransmission is due at {instant(self.sender.outbound.rto_at)}"
            )
            return Explanation(HEAD_OF_LINE, words)
        return self.closed([subflow.tcp for subflow, _ in holders], "for what waits")

    def _unsent(self) -> Explanation:
        """The next byte was never sent, and the window of the connection is open."""
        out = self.sender.outbound
        usable = self.sender.usable()
        tcps = [subflow.tcp for subflow in self.sender.open]
        opened = self.heard(OPENED)
        witnesses = [self.heard_by_sender("window update", event) for event in opened[:1]]
        if not usable:
            states = "; ".join(_why_not(subflow) for subflow in self.sender.open)
            dead = all(in_a_row(tcp) for tcp in tcps)
            return Explanation(
                TIME_OUT if dead else NO_SUBFLOW,
                f"{out.unsent} bytes wait, and no subflow may have them: {states}",
                (*self.zero(), *witnesses, *self.probed(tcps)),
                timeouts=max((in_a_row(tcp) for tcp in tcps), default=0),
            )
        silent = self.unheard([subflow.tcp for subflow in usable])
        if len(silent) == len(usable):
            return self.acks_lost(silent)
        if all(subflow.own_window_closed() for subflow in usable):
            return self.closed([subflow.tcp for subflow in usable], "on the subflows that are left")
        if not out.awake:
            words = (
                f"{out.unsent} bytes wait, windows are open, and nothing wakes the scheduler: only a "
                f"DATA_ACK that advances does; the data-level timer is due at {instant(out.rto_at)}"
            )
            return Explanation(NO_SUBFLOW, words, (*self.zero(), *witnesses, *self.probed(tcps)))
        names = ", ".join(str(subflow.number) for subflow in usable)
        if out.declined_at >= max(subflow.tcp.sender.last_sent_at for subflow in usable):
            words = (
                f"{out.unsent} bytes wait, windows are open, and the scheduler {out.scheduler.NAME!r} chose "
                f"no subflow when it was last asked, at {out.declined_at / SECOND:.6f} s (usable: {names})"
            )
            return Explanation(SCHEDULER, words)
        silent = silent or self.unheard(tcps)
        if silent:
            # What waits for an ACK (Nagle, the congestion window) waits for these.
            return self.acks_lost(silent)
        left = min(out.edge - out.nxt, out.unsent)
        if left < min(subflow.tcp.sender.mss for subflow in usable) and left < out.unsent:
            return self.silly(left, out.override_at)
        least = min(subflow.tcp.sender.mss for subflow in usable)
        return self.waits_for_ack(out.unsent, least, out.nxt > out.una, f" on subflow {names}")

    def _starved(self) -> Explanation:
        kept = [
            f"{subflow.mappings.bytes_below(self.sender.acked + 1)} on subflow {subflow.number}"
            f" ({subflow.tcp.sender.timeouts_in_a_row} time-outs in a row)"
            for subflow in self.sender.open
            if subflow.mappings.bytes_below(self.sender.acked + 1)
        ]
        words = (
            f"the application waits to write: the send buffer of {self.sender.send_buffer} bytes keeps "
            f"what was delivered until every subflow that carried it has acknowledged it (RFC 8684 3.3.2): "
            f"{', '.join(kept) or 'nothing'}"
        )
        return Explanation(STARVED, words)


def _only(connection: Connection) -> Tcp:
    """Return the subflow that a plain connection has, or goes on with."""
    if isinstance(connection, MptcpConnection):
        return connection.fallback.survivor()
    return connection.subflows[0]


def _record(tcp: Tcp, seq: int) -> Sent | None:
    """Return what is known of the segment that carries a byte, None if it is not outstanding."""
    board = tcp.sender.board
    if not len(board):
        return None
    index = board.index_at(seq)
    return board.records[index] if index < len(board.records) else None


def _dropped(drops: list[tuple[DroppedPacket, Segment]], last: DroppedPacket) -> str:
    """Return in words what became of the copies of a segment."""
    many = f"{len(drops)} times lost, the last time " if len(drops) > 1 else ""
    return f"{many}{last.words} at {last.time / SECOND:.6f} s"


def _reads(withheld: list[WindowEvent]) -> str:
    times = sum(event.times for event in withheld)
    return f"the application has read, {times} times since {withheld[0].time / SECOND:.3f} s"


def _why_not(subflow: Subflow) -> str:
    tcp = subflow.tcp
    name = f"subflow {subflow.number}"
    if tcp.sender.timeouts_in_a_row:
        return f"{name} is in time-out ({tcp.sender.timeouts_in_a_row} in a row)"
    probe = tcp.sender.window_probe
    if probe.at < NEVER:
        return f"{name} is in persist, next probe at {probe.at / SECOND:.3f} s"
    return f"{name} is not ready"
