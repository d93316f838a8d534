"""What ended a stall: the segment that brought the byte, and what made the sender send it.

The receiver is asked while that segment is being processed, so that the sender's books still have it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.events import Event
from mptcpsim.core.tcp.info import SWS_OVERRIDE, TCP_CA_RECOVERY, SegmentInfo, TcpInfo
from mptcpsim.core.window_log import (
    ANSWER,
    LOSS_PROBE,
    OPENED,
    OVERRIDE,
    PROBE,
    TIMED_OUT,
    UPDATE,
    WindowEvent,
)
from mptcpsim.measure.ends import End, numbers_of
from mptcpsim.measure.stalls import Witness
from mptcpsim.units import MILLISECOND, SECOND, format_time

BY_PROBE: Final = "window probe"
BY_UPDATE: Final = "window update"
BY_TIME_OUT: Final = "retransmission time-out"
BY_LOSS_PROBE: Final = "loss probe"
BY_RETRANSMISSION: Final = "retransmission"
BY_DATA_TIME_OUT: Final = "data-level retransmission"
BY_REINJECTION: Final = "reinjection"
BY_SUBFLOW: Final = "new subflow"
BY_OVERRIDE: Final = "override time-out"
BY_ACK: Final = "acknowledgment"
BY_SENDING: Final = "sending went on"
BY_ARRIVAL: Final = "late arrival"
BY_WRITER: Final = "nothing left to send"
BY_FAILURE: Final = "connection failed"
BY_END: Final = "end of the run"

#: What can end a stall.
ENDINGS: Final[dict[str, str]] = {
    BY_PROBE: "the byte in a probe of a closed window was taken, or the answer to a probe opened the window",
    BY_UPDATE: "a window update arrived",
    BY_TIME_OUT: "the retransmission timer expired, and what was sent then arrived, or its ACK let data go",
    BY_LOSS_PROBE: "the same of the probe for a lost tail (RFC 8985 section 7)",
    BY_RETRANSMISSION: "it was sent again because ACKs showed that it was lost",
    BY_DATA_TIME_OUT: "the connection's timer expired, and let it go, maybe again (RFC 8684 section 3.3.6)",
    BY_REINJECTION: "it was sent on another subflow: the one that had it was in time-out, late, or ended",
    BY_SUBFLOW: "a subflow was added, and carried it",
    BY_OVERRIDE: "nothing had been sent for a while, and the override timer sent it",
    BY_ACK: "an ACK arrived, and let it go",
    BY_SENDING: "it was sent for the first time",
    BY_ARRIVAL: "it had been sent long before, or an earlier copy of it had, and was under way",
    BY_WRITER: "the application did not want to send any more",
    BY_FAILURE: "the connection failed",
    BY_END: "the run ended",
}

#: Timestamps are counted modulo this plus one.
_STAMPS: Final = 0xFFFFFFFF

# Events of a host that make a sender send (``Stack.note``).
_TIME_OUT: Final = "retransmission time-out"
_ADDED: Final = "SF_ESTABLISHED"
_ENDED: Final = "SF_CLOSED"


class Ending(NamedTuple):
    """What ended a stall: one of ``ENDINGS``, in words, with the segments that show it.

    ``began``: the instant of what set it off, such as a probe, ns.
    """

    by: str
    words: str
    began: int
    witnesses: tuple[Witness, ...] = ()


def ending(sender: End, receiver: End, subflow: int, since: int) -> Ending:
    """Return what ended a gap.

    Args:
        sender: the end that sends the data, while the segment that ends the gap is being processed.
        receiver: the other one.
        subflow: number that the receiver has for the subflow of that segment.
        since: when the gap began, ns.
    """
    number = numbers_of(sender, receiver).get(subflow, -1)
    if number < 0:
        return Ending(BY_SENDING, "a segment arrived", sender.now)
    return _Ending(sender, receiver, sender.subflows[number], receiver.subflows[subflow], since).tell()


class _Ending:
    """The segment that ends a gap, at both ends."""

    def __init__(self, sender: End, receiver: End, mine: TcpInfo, theirs: TcpInfo, since: int) -> None:
        self.sender = sender
        self.receiver = receiver
        self.mine = mine
        self.theirs = theirs
        self.since = since
        self.now = sender.now
        #: What the receiver had before: an ACK of everything else was sent, or is owed.
        self.seq = theirs.last_ack_sent + theirs.unacked_bytes

    def tell(self) -> Ending:
        """Return the ending."""
        record = self.sender.segment(self.mine, self.seq) if self.seq < self.mine.snd_nxt else None
        if record is None:
            probe = self._last(PROBE, self.mine.identifier, self.now)
            if probe is None:
                return Ending(BY_SENDING, "a segment arrived", self.now)
            words = f"the byte in the window probe sent at {_at(probe.time)} was taken"
            return Ending(BY_PROBE, words, probe.time, (self._probe(probe), self._arrival(probe.length)))
        shown = (self._sent(record), self._arrival(record.length))
        if record.sent_at <= self.since:
            took = format_time(self.now - record.sent_at)
            words = f"what was sent at {_at(record.sent_at)} arrived, {took} later"
            return Ending(BY_ARRIVAL, words, self.now, shown)
        earlier = self._sent_before(record)
        if earlier:
            words = f"a copy that had been sent about {format_time(earlier)} before arrived"
            return Ending(BY_ARRIVAL, words, self.now, shown[1:])
        found = self._trigger(record)
        return found._replace(witnesses=(*found.witnesses, *shown))

    def _sent_before(self, record: SegmentInfo) -> int:
        """Return how long ago an earlier copy was sent if that is the one that arrives, ns; else 0.

        The timestamps of RFC 7323 tell the copies of a segment apart, to the millisecond. TS.Recent is that
        of the segment only if it begins where the last ACK did (section 4.3): behind a delayed ACK it is
        older.
        """
        if not record.retransmissions or not self.theirs.has_timestamps:
            return 0
        if record.seq > self.theirs.last_ack_sent:
            return 0
        clock = self.mine.timestamp(self.now)
        age = (clock - self.theirs.ts_recent) & _STAMPS
        last = (clock - self.mine.timestamp(record.sent_at)) & _STAMPS
        return age * MILLISECOND if age > last and age < _STAMPS >> 1 else 0

    # --- Why it was sent --------------------------------------------------------------------------

    def _trigger(self, record: SegmentInfo) -> Ending:
        """Return what made the sender send the record when it did."""
        sent = record.sent_at
        subflow = self.mine.identifier
        here = f"on subflow {subflow} at {_at(sent)}"
        if self.sender.mptcp is not None and self.sender.mptcp.retransmitted_at == sent:
            return Ending(BY_DATA_TIME_OUT, f"the data-level timer expired, and it was sent {here}", sent)
        held = self._also_held_by(record)
        woke: Event | None = None
        for event in self._events(sent, sent):
            if event.what == _TIME_OUT and event.subflow == subflow and record.retransmissions:
                words = f"the retransmission timer expired {here}, and it was sent again"
                return Ending(BY_TIME_OUT, words, sent)
            if event.what == _ADDED and event.subflow == subflow:
                return Ending(BY_SUBFLOW, f"subflow {subflow} was added at {_at(sent)}, and carried it", sent)
            if event.what in (_TIME_OUT, _ENDED) and event.subflow in held:
                return self._reinjected(event, here)
            if event.what in (_TIME_OUT, _ENDED) and event.subflow != subflow and not record.retransmissions:
                woke = event
        probe = self._last(LOSS_PROBE, subflow, sent)
        if probe is not None and probe.time == sent:
            return Ending(BY_LOSS_PROBE, f"a loss probe carried it {here}", sent)
        small = self._last(OVERRIDE, subflow, sent)
        if small is not None and small.time == sent:
            words = f"the override timer expired after {format_time(SWS_OVERRIDE)}, and it was sent {here}"
            return Ending(BY_OVERRIDE, words, sent)
        if woke is not None:
            # It was new: what the event sent again elsewhere made the scheduler look at it, too.
            by = BY_TIME_OUT if woke.what == _TIME_OUT else BY_SENDING
            what = "was in time-out" if woke.what == _TIME_OUT else "ended"
            words = f"subflow {woke.subflow} {what}, and what was new went, too: it was sent {here}"
            return Ending(by, words, sent)
        return self._before(record, held, here)

    def _before(self, record: SegmentInfo, held: set[int], here: str) -> Ending:
        """Nothing special happened when it was sent: an ACK let it go. What brought that ACK?"""
        sent = record.sent_at
        subflow = self.mine.identifier
        opened = self._last(OPENED, -1, sent)
        if opened is not None and opened.time == sent:
            told = self._told(opened)
            if told is not None or self._answered(opened) is not None:
                return self._opened(opened, told, here)
        if record.retransmissions and self.mine.tcpi_ca_state == TCP_CA_RECOVERY:
            words = f"it was sent again {here}, when ACKs showed that it was lost"
            return Ending(BY_RETRANSMISSION, words, sent)
        for event in reversed(self._events(max(self.since, 0), sent)):
            if event.what in (_TIME_OUT, _ENDED) and event.subflow in held:
                return self._reinjected(event, here)
            where = f"on subflow {event.subflow} at {_at(event.time)}"
            if event.what == _TIME_OUT and not self.sender.subflows[event.subflow].timeouts_in_a_row:
                then = f"the ACK of what it sent let more go {here}"
                words = f"the retransmission timer expired {where}; {then}"
                again = self._last(TIMED_OUT, event.subflow, event.time)
                shown = () if again is None else (self._sent_by_sender("sent by the timer", again),)
                return Ending(BY_TIME_OUT, words, event.time, shown)
            # What was new would have gone at once: something else has held it, such as Nagle's algorithm.
            if event.what == _ADDED and event.subflow == subflow and held:
                words = f"subflow {subflow} was added at {_at(event.time)}; it was sent {here}"
                return Ending(BY_SUBFLOW, words, event.time)
        if held or self._is_opportunistic(record):
            words = f"another subflow had it and was late, and it was sent {here}, too"
            return Ending(BY_REINJECTION, words, sent)
        if record.retransmissions:
            words = f"it was sent again {here}, when ACKs showed that it was lost"
            return Ending(BY_RETRANSMISSION, words, sent)
        if opened is not None and opened.time >= self.since:
            return self._opened(opened, self._told(opened), here)
        probe = self._last(LOSS_PROBE, -1, sent)
        if probe is not None and probe.time > self.since and self._is_acked(probe):
            went = f"a loss probe went out on subflow {probe.subflow} at {_at(probe.time)}"
            shown = (self._sent_by_sender("loss probe", probe),)
            return Ending(BY_LOSS_PROBE, f"{went}; its ACK let more go {here}", probe.time, shown)
        if any(tcp.last_heard == sent for tcp in self.sender.subflows):
            return Ending(BY_ACK, f"an ACK arrived, and let it go {here}", sent)
        return Ending(BY_SENDING, f"it was sent for the first time {here}", sent)

    def _reinjected(self, event: Event, here: str) -> Ending:
        """Another subflow had it, and was in time-out, or ended."""
        why = "was in time-out" if event.what == _TIME_OUT else "ended"
        words = f"subflow {event.subflow} {why}, and it was sent {here} instead"
        return Ending(BY_REINJECTION, words, event.time)

    def _also_held_by(self, record: SegmentInfo) -> set[int]:
        """Return the other subflows that had it when it was queued again; none if it was lost here, too."""
        if record.retransmissions or self.sender.active_mptcp is None:
            return set()
        mapping = self.sender.mapping(self.mine, self.seq)
        return set() if mapping is None else self.sender.requeued_from(mapping.dsn) - {mapping.subflow}

    def _is_opportunistic(self, record: SegmentInfo) -> bool:
        """Return whether it was sent here, too, because nothing new fitted into the window."""
        mptcp = self.sender.mptcp
        if mptcp is None or record.retransmissions:
            return False
        mapping = self.sender.mapping(self.mine, self.seq)
        return mapping is not None and mptcp.each[mapping.subflow].blocked_at == mapping.dsn

    def _is_acked(self, event: WindowEvent) -> bool:
        """Return whether what the sender sent was acknowledged."""
        return self.sender.subflows[event.subflow].snd_una > event.seq

    def _opened(self, opened: WindowEvent, told: WindowEvent | None, here: str) -> Ending:
        """A window opened: by an update, or by the answer to a probe?"""
        heard = self._heard(opened, "window opened")
        where = f"on subflow {opened.subflow} at {_at(opened.time)}"
        if told is None or told.what == ANSWER:
            probe = self._answered(opened)
            if probe is not None:
                words = (
                    f"the window probe sent on subflow {probe.subflow} at {_at(probe.time)} was answered "
                    f"with a window of {opened.window} bytes, which came {where}; it was sent {here}"
                )
                return Ending(BY_PROBE, words, probe.time, (self._probe(probe), heard))
        if told is not None and told.what == UPDATE:
            words = (
                f"the window update sent at {_at(told.time)} came {where}, {opened.window} bytes; "
                f"it was sent {here}"
            )
            return Ending(BY_UPDATE, words, told.time, (heard,))
        words = f"an ACK {where} opened a window of {opened.window} bytes; it was sent {here}"
        return Ending(BY_ACK, words, opened.time, (heard,))

    def _told(self, opened: WindowEvent) -> WindowEvent | None:
        """Return what the receiver noted when it sent the ACK that opened a window, or None."""
        numbers = numbers_of(self.sender, self.receiver)
        for event in reversed(self.receiver.window_events):
            if event.time < self.receiver.info.free_since:
                break
            if event.time > opened.time or event.what not in (ANSWER, UPDATE):
                continue
            if numbers.get(event.subflow) == opened.subflow and event.ack == opened.ack:
                # An ACK takes the way back only, where no data queues.
                tcp = self.sender.subflows[opened.subflow]
                return event if opened.time - event.time <= (tcp.min_rtt or tcp.rto) else None
        return None

    def _answered(self, opened: WindowEvent) -> WindowEvent | None:
        """Return the probe whose answer opened a window, or None.

        After an update that was lost the receiver takes a probe for nothing special, and notes no answer.
        """
        # What goes out at the same instant is no question to which this is the answer.
        probe = self._last(PROBE, opened.subflow, opened.time - 1)
        tcp = self.sender.subflows[opened.subflow]
        most = tcp.srtt + max(4 * tcp.rttvar, tcp.rto_granularity)
        return probe if probe is not None and opened.time - probe.time <= most else None

    # --- Evidence ---------------------------------------------------------------------------------

    def _events(self, first: int, last: int) -> list[Event]:
        """Return what the sender's host noted of the connection from ``first`` to ``last``, ns."""
        found: list[Event] = []
        for event in reversed(self.sender.events()):
            if event.time < first:
                break
            if event.time <= last and self.sender.is_mine(event):
                found.append(event)
        return found[::-1]

    def _last(self, what: str, subflow: int, until: int) -> WindowEvent | None:
        """Return the last event of a kind in the sender's log, on a subflow (-1: on any)."""
        for event in reversed(self.sender.window_events):
            if event.what == what and event.time <= until and subflow in (-1, event.subflow):
                return event
        return None

    def _probe(self, event: WindowEvent) -> Witness:
        what = f"probe of {event.length} byte" if event.length else "probe without data"
        return self._sent_by_sender(what, event)

    def _sent_by_sender(self, what: str, event: WindowEvent) -> Witness:
        tcp = self.sender.subflows[event.subflow]
        seq = tcp.wire_seq(event.seq)
        return Witness(what, event.time, True, True, event.subflow, tcp.flow, seq, event.length)

    def _heard(self, event: WindowEvent, what: str) -> Witness:
        tcp = self.sender.subflows[event.subflow]
        seq = tcp.wire_ack(event.seq)
        return Witness(what, event.time, True, False, event.subflow, tcp.flow.reverse(), seq, event.length)

    def _sent(self, record: SegmentInfo) -> Witness:
        tcp = self.mine
        seq = tcp.wire_seq(record.seq)
        what = "what ended it, sent"
        return Witness(what, record.sent_at, True, True, tcp.identifier, tcp.flow, seq, record.length)

    def _arrival(self, size: int) -> Witness:
        flow = self.theirs.flow.reverse()
        seq = self.theirs.wire_ack(self.seq)
        number = self.mine.identifier
        return Witness("what ended it, received", self.now, False, False, number, flow, seq, size)


def _at(time: int) -> str:
    return f"{time / SECOND:.6f} s"
