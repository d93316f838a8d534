"""Why a connection is stalled: the two ends, and what they noted of their windows, as evidence.

``explain`` finds one of the causes of ``results.stalls.CAUSES``, in words, and the segments that show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.core.fallback import survivor
from mptcpsim.core.multipath import MptcpConnection
from mptcpsim.core.window_log import CLOSED, IGNORED, OPENED, PROBE, UPDATE, WITHHELD, ZERO, WindowEvent
from mptcpsim.results.ends import numbers_of
from mptcpsim.results.stalls import (
    BACK_OFF,
    ELSEWHERE,
    HEAD_OF_LINE,
    LOST,
    NO_DATA_ACK,
    NO_SUBFLOW,
    NOT_SENT,
    STARVED,
    UNEXPLAINED,
    Explanation,
    Witness,
)
from mptcpsim.units import NEVER, SECOND, format_time

if TYPE_CHECKING:
    from mptcpsim.core.connection import Connection
    from mptcpsim.core.subflow import Subflow
    from mptcpsim.core.tcp import Tcp


def explain(sender: Connection, receiver: Connection, now: int, since: int) -> Explanation:
    """Return why nothing arrives at ``receiver`` at the instant ``now``, and has not since ``since``, ns."""
    if isinstance(sender, MptcpConnection) and isinstance(receiver, MptcpConnection) and not sender.is_plain:
        return _Multipath(sender, receiver, now, since).explain()
    return _Single(sender, receiver, now, since).explain()


class _Ends:
    """What both levels have in common: the two logs, and which subflow is which."""

    def __init__(self, sender: Connection, receiver: Connection, now: int, since: int) -> None:
        self.sender = sender
        self.receiver = receiver
        self.now = now
        self.since = since
        self.room_since = receiver.free_since
        self.numbers = numbers_of(sender, receiver)

    def number(self, theirs: int) -> int:
        """Return the sender's number of a subflow from the receiver's."""
        return self.numbers.get(theirs, -1)

    def said(self, *what: str) -> list[WindowEvent]:
        """Return what the receiver noted since there is room."""
        log = self.receiver.window_log
        events = log.events if log is not None else []
        return [event for event in events if event.what in what and event.last >= self.room_since]

    def heard(self, *what: str) -> list[WindowEvent]:
        """Return what the sender noted since there is room."""
        log = self.sender.window_log
        events = log.events if log is not None else []
        return [event for event in events if event.what in what and event.time >= self.room_since]

    def arrived(self, event: WindowEvent) -> bool:
        """Return whether an update, or a segment behind it, has come to the sender, or may be on its way."""
        number = self.number(event.subflow)
        if number < 0:
            return False
        tcp = self.sender.subflows[number]
        if tcp.sender.edge >= event.ack + event.window:
            return True
        # What is heard within a round trip of it may have been sent before it.
        due = event.time + tcp.sender.rtt.srtt
        return self.now < due or tcp.last_heard >= due

    def unheard(self, tcps: list[Tcp]) -> list[Tcp]:
        """Return the subflows that get no ACK of what has arrived, though one was sent a round trip ago."""
        theirs = {number: self.receiver.subflows[index].receiver for index, number in self.numbers.items()}
        found: list[Tcp] = []
        for tcp in tcps:
            receiver = theirs.get(tcp.identifier)
            if receiver is None or receiver.last_ack_sent <= tcp.sender.una:
                continue
            # An ACK may be delayed.
            sent = max(self.receiver.delivered_at, 0) + receiver.delayed_ack
            if self.now > sent + tcp.sender.rtt.srtt:
                found.append(tcp)
        return found

    def _unheard(self, tcps: list[Tcp], cause: str) -> Explanation:
        """All that was sent has arrived, and the ACKs are lost."""
        each = [
            f"what was sent on subflow {tcp.identifier} has arrived, and no ACK of it: nothing was heard "
            f"since {tcp.last_heard / SECOND:.6f} s{_timeouts(tcp, ', ')}"
            for tcp in tcps
        ]
        return Explanation(cause, "; ".join(each), timeouts=max(_in_a_row(tcp) for tcp in tcps))

    def sent_by_receiver(self, what: str, event: WindowEvent) -> Witness:
        """Return an event of the receiver's log as a witness."""
        tcp = self.receiver.subflows[event.subflow]
        number = self.number(event.subflow)
        seq = tcp.sequences.wire_seq(event.seq)
        return Witness(what, event.time, False, True, number, tcp.flow, seq, event.length)

    def heard_by_sender(self, what: str, event: WindowEvent) -> Witness:
        """Return an event of the sender's log, something that it has heard, as a witness."""
        tcp = self.sender.subflows[event.subflow]
        seq = tcp.sequences.reverse().wire_seq(event.seq)
        flow = tcp.flow.reverse()
        return Witness(what, event.time, True, False, event.subflow, flow, seq, event.length)

    def zero(self) -> list[Witness]:
        """Return the segment that closed the window."""
        log = self.receiver.window_log
        events = log.events if log is not None else []
        found = [event for event in events if event.what == ZERO and event.time <= self.room_since]
        return [self.sent_by_receiver("window 0", event) for event in found[-1:]]

    def last_probe(self, tcps: list[Tcp]) -> list[Witness]:
        """Return the last probe that the sender has sent on some subflows since their windows closed."""
        log = self.sender.window_log
        left = {tcp.identifier for tcp in tcps}
        for event in reversed(log.events if log is not None else []):
            if event.subflow not in left:
                continue
            if event.what == CLOSED:
                left.remove(event.subflow)
            elif event.what == PROBE:
                tcp = self.sender.subflows[event.subflow]
                what = f"probe of {event.length} byte" if event.length else "probe without data"
                seq = tcp.sequences.wire_seq(event.seq)
                return [Witness(what, event.time, True, True, event.subflow, tcp.flow, seq, event.length)]
        return []

    def next_probe(self, tcps: list[Tcp]) -> str:
        """Return in words when the next probe is due on some subflows."""
        at, tcp = min(((tcp.sender.window_probe.at, tcp) for tcp in tcps), key=lambda item: item[0])
        if at >= NEVER:
            return "no probe is due"
        probe = tcp.sender.window_probe
        after = "the one before" if probe.shift else "the window was found closed"
        return (
            f"the next probe is due on subflow {tcp.identifier} at {at / SECOND:.3f} s, "
            f"{format_time(probe.interval)} after {after}"
        )

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
            where = ", ".join(sorted({str(self.number(event.subflow)) for event in lost}))
            words = (
                f"the receiver announced a window of {lost[0].window} bytes on subflow {where} at "
                f"{lost[0].time / SECOND:.6f} s; the announcement never arrived, and {self.next_probe(tcps)}"
            )
            witnesses = [self.sent_by_receiver("window update, lost", event) for event in lost]
            return Explanation(LOST, words, (*self.zero(), *witnesses, *self.last_probe(tcps)))
        if updates and not mine:
            return self._elsewhere(updates, tcps)
        withheld = self.said(WITHHELD)
        if withheld:
            last = withheld[-1]
            times = sum(event.times for event in withheld)
            words = (
                f"the application has read, {times} times since {withheld[0].time / SECOND:.3f} s, but "
                f"{last.window} bytes more are needed for a window update; {self.next_probe(tcps)}"
            )
            return Explanation(NOT_SENT, words, (*self.zero(), *self.last_probe(tcps)))
        words = f"no segment has announced the room that there is {whose}; {self.next_probe(tcps)}"
        return Explanation(BACK_OFF, words, (*self.zero(), *self.last_probe(tcps)))

    def _silly(self, left: int, until: int) -> Explanation:
        words = (
            f"{left} bytes are left of the window, less than a segment: the sender waits for more of it, "
            f"up to {_instant(until)}, and nothing has announced that there is (silly-window avoidance)"
        )
        return Explanation(NOT_SENT, words)

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
            f"what comes next waits on subflow {waits}, whose window is closed, and {self.next_probe(tcps)}"
        )
        witnesses = [self.sent_by_receiver("window update", event) for event in updates[:1]]
        return Explanation(ELSEWHERE, words, (*self.zero(), *witnesses, *self.last_probe(tcps)))

    def in_flight(self, tcp: Tcp, seq: int, what: str) -> Explanation:
        """Explain a stall while a byte is outstanding on a subflow."""
        sender = tcp.sender
        record = sender.board.records[sender.board.index_at(seq)] if len(sender.board) else None
        timeouts = _in_a_row(tcp)
        round_trip = sender.rtt.srtt
        if record is not None and not record.retransmissions and not timeouts:
            fresh = self.now - record.sent_at < round_trip
            withheld = self.said(WITHHELD)
            if fresh and withheld and record.sent_at > self.since:
                times = sum(event.times for event in withheld)
                words = (
                    f"the application has read, {times} times since {withheld[0].time / SECOND:.3f} s, "
                    f"without a window update; {what} at {record.sent_at / SECOND:.6f} s, and is on its way"
                )
                return Explanation(NOT_SENT, words, tuple(self.zero()))
        words = f"{what} and not acknowledged{_timeouts(tcp, ': ')}"
        if not timeouts:
            words += (
                f"; smoothed round trip {format_time(round_trip)}, time-out {format_time(sender.rtt.rto)}"
            )
        witnesses: tuple[Witness, ...] = ()
        if record is not None:
            size = record.end - record.seq - (1 if record.fin else 0)
            raw = tcp.sequences.wire_seq(record.seq)
            what = "what is missing, last sent"
            witnesses = (Witness(what, record.sent_at, True, True, tcp.identifier, tcp.flow, raw, size),)
        return Explanation(HEAD_OF_LINE, words, witnesses, timeouts)


class _Single(_Ends):
    """A plain TCP connection, or one that MPTCP has become."""

    def explain(self) -> Explanation:
        """Return the explanation."""
        tcp, other = _only(self.sender), _only(self.receiver)
        sender = tcp.sender
        if self.sender.closed:
            return Explanation(NO_SUBFLOW, "the connection has ended")
        missing = other.receiver.nxt
        if missing < sender.nxt:
            return self.in_flight(tcp, missing, f"byte {missing} was sent")
        left = sender.edge - sender.nxt
        if self.unheard([tcp]):
            fits = left >= min(sender.mss, sender.end - sender.nxt)
            return self._unheard([tcp], NO_SUBFLOW if fits else LOST)
        if sender.edge <= sender.nxt < sender.end:
            return self.closed([tcp], "in the receive buffer")
        if left < min(sender.mss, sender.end - sender.nxt):
            return self._silly(left, sender.window_probe.override_at)
        words = f"{sender.end - sender.nxt} bytes wait, the window is open, and nothing is sent"
        if len(sender.board):
            words += " until the peer acknowledges what it has (Nagle, or the congestion window)"
        return Explanation(UNEXPLAINED, words)


class _Multipath(_Ends):
    """An MPTCP connection."""

    sender: MptcpConnection
    receiver: MptcpConnection

    def explain(self) -> Explanation:
        """Return the explanation."""
        out = self.sender.outbound
        if not self.sender.open_subflows():
            why = "; ".join(
                f"subflow {tcp.identifier}: {tcp.error or 'closed'}" for tcp in self.sender.subflows
            )
            return Explanation(NO_SUBFLOW, f"every subflow has ended ({why})")
        if self.sender.written == self.receiver.delivered:
            return self._starved()
        missing = self.receiver.inbound.nxt
        if missing < out.nxt:
            return self._missing(missing)
        tcps = [subflow.tcp for subflow in self.sender.open]
        silent = self.unheard(tcps)
        if silent and len(silent) == len(tcps) and out.edge - out.nxt < self.receiver.least_free:
            return self._unheard(silent, LOST)
        if out.edge <= out.nxt:
            return self.closed(tcps, "in the receive buffer")
        return self._unsent()

    def _missing(self, missing: int) -> Explanation:
        """The next byte was mapped onto a subflow."""
        holders: list[tuple[Subflow, int]] = []
        for subflow in self.sender.open:
            for mapping in subflow.mappings.outstanding():
                if mapping.dsn <= missing < mapping.dsn + mapping.length:
                    holders.append((subflow, mapping.ssn + missing - mapping.dsn))
        for subflow, seq in holders:
            if seq < subflow.tcp.sender.nxt:
                return self.in_flight(subflow.tcp, seq, f"DSN {missing} was sent on subflow {subflow.number}")
        if not holders:
            words = (
                f"DSN {missing} was acknowledged on its subflow and not taken by the connection; "
                f"its data-level retransmission is due at {_instant(self.sender.outbound.rto_at)}"
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
            return Explanation(
                NO_SUBFLOW,
                f"{out.unsent} bytes wait, and no subflow may have them: {states}",
                (*self.zero(), *witnesses, *self.last_probe(tcps)),
            )
        silent = self.unheard([subflow.tcp for subflow in usable])
        if len(silent) == len(usable):
            return self._unheard(silent, NO_SUBFLOW)
        if all(subflow.own_window_closed() for subflow in usable):
            return self.closed([subflow.tcp for subflow in usable], "on the subflows that are left")
        if not out.awake:
            words = (
                f"{out.unsent} bytes wait, windows are open, and nothing wakes the scheduler: only a "
                f"DATA_ACK that advances does; the data-level timer is due at {_instant(out.rto_at)}"
            )
            return Explanation(NO_SUBFLOW, words, (*self.zero(), *witnesses, *self.last_probe(tcps)))
        left = min(out.edge - out.nxt, out.unsent)
        if left < min(subflow.tcp.sender.mss for subflow in usable) and left < out.unsent:
            return self._silly(left, out.override_at)
        names = ", ".join(str(subflow.number) for subflow in usable)
        words = f"{out.unsent} bytes wait, windows are open, and nothing is sent on subflow {names}"
        if any(len(subflow.tcp.sender.board) for subflow in usable):
            words += " until the peer acknowledges what it has (Nagle, or the congestion window)"
        return Explanation(UNEXPLAINED, words)

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
    return survivor(connection) if isinstance(connection, MptcpConnection) else connection.subflows[0]


def _in_a_row(tcp: Tcp) -> int:
    return tcp.sender.timeouts_in_a_row


def _timeouts(tcp: Tcp, before: str) -> str:
    """Return in words how a subflow is in time-out; nothing if it is not."""
    if not _in_a_row(tcp):
        return ""
    return (
        f"{before}{_in_a_row(tcp)} retransmission time-outs in a row, "
        f"the next one is due at {_instant(tcp.sender.rto_at)}"
    )


def _instant(at: int) -> str:
    return f"{at / SECOND:.3f} s" if at < NEVER else "no time"


def _why_not(subflow: Subflow) -> str:
    tcp = subflow.tcp
    name = f"subflow {subflow.number}"
    if tcp.sender.timeouts_in_a_row:
        return f"{name} is in time-out ({tcp.sender.timeouts_in_a_row} in a row)"
    probe = tcp.sender.window_probe
    if probe.at < NEVER:
        return f"{name} is in persist, next probe at {probe.at / SECOND:.3f} s"
    return f"{name} is not ready"
