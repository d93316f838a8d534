"""The evidence of a gap: what both ends noted of their windows, and what the network dropped."""

from __future__ import annotations

from mptcpsim.core.segment import FourTuple, Segment
from mptcpsim.core.tcp.info import TcpInfo
from mptcpsim.core.window_log import ANSWER, CLOSED, PROBE, ZERO, WindowEvent
from mptcpsim.measure.drops import DropLog, DroppedPacket
from mptcpsim.measure.ends import End, numbers_of
from mptcpsim.measure.stalls import Witness
from mptcpsim.units import NEVER, SECOND, format_time

#: Segments of one kind that an explanation shows.
_MOST_SHOWN = 4


class Evidence:
    """The two ends of a connection at an instant of a gap: their logs, and which subflow is which.

    Attributes:
        sender, receiver: the two ends at that instant.
        now: the instant, ns.
        since: when the gap began, ns.
        room_since: since when there is room at the receiver, ns.
        drops: what the network dropped.
    """

    def __init__(self, sender: End, receiver: End, since: int, drops: DropLog) -> None:
        self.sender = sender
        self.receiver = receiver
        self.now = sender.now
        self.since = since
        self.room_since = receiver.info.free_since
        self.drops = drops
        self._numbers = numbers_of(sender, receiver)
        self._theirs = {number: index for index, number in self._numbers.items()}

    # --- Which subflow is which ---------------------------------------------------------------------

    def number(self, theirs: int) -> int:
        """Return the sender's number of a subflow from the receiver's, -1 if it has none."""
        return self._numbers.get(theirs, -1)

    def other(self, tcp: TcpInfo) -> TcpInfo | None:
        """Return the receiver's end of a subflow of the sender's."""
        index = self._theirs.get(tcp.identifier)
        return None if index is None else self.receiver.subflows[index]

    def _flows(self, tcp: TcpInfo, back: bool) -> set[FourTuple]:
        """Return the addresses and ports of a subflow's packets at both ends, which a NAT makes differ."""
        other = self.other(tcp)
        flows = {tcp.flow} if other is None else {tcp.flow, other.flow.reverse()}
        return {flow.reverse() for flow in flows} if back else flows

    # --- What was noted -----------------------------------------------------------------------------

    def said(self, *what: str) -> list[WindowEvent]:
        """Return what the receiver noted since there is room."""
        events = self.receiver.window_events
        return [event for event in events if event.what in what and event.last >= self.room_since]

    def heard(self, *what: str) -> list[WindowEvent]:
        """Return what the sender noted since there is room."""
        events = self.sender.window_events
        return [event for event in events if event.what in what and event.time >= self.room_since]

    def arrived(self, event: WindowEvent) -> bool:
        """Return whether an update, or a segment behind it, has come to the sender, or may be on its way."""
        number = self.number(event.subflow)
        if number < 0:
            return False
        tcp = self.sender.subflows[number]
        if tcp.snd_wnd_end >= event.ack + event.window:
            return True
        if self.dropped_back(tcp, event.seq, event.ack, event.time) is not None:
            return False
        # What is heard within a round trip of it may have been sent before it.
        due = event.time + tcp.srtt
        return self.now < due or tcp.last_heard >= due

    def unheard(self, tcps: list[TcpInfo]) -> list[TcpInfo]:
        """Return the subflows that get no ACK of what has arrived: it was dropped, or is overdue."""
        found: list[TcpInfo] = []
        for tcp in tcps:
            other = self.other(tcp)
            if other is None or other.last_ack_sent <= tcp.snd_una:
                continue
            if any(segment.ack >= other.last_ack_sent for _, segment in self._dropped_back(tcp)):
                found.append(tcp)
                continue
            # An ACK may be delayed.
            sent = max(self.receiver.info.delivered_at, 0) + other.delayed_ack
            if self.now > sent + tcp.srtt:
                found.append(tcp)
        return found

    def announced(self) -> bool:
        """Return whether the receiver has named a right edge that the sender does not know (yet)."""
        mine, theirs = self.sender.active_mptcp, self.receiver.mptcp
        if mine is not None and theirs is not None:
            return theirs.rcv_wnd_end > mine.snd_wnd_end
        ends = ((tcp, self.other(tcp)) for tcp in self.sender.subflows)
        return any(other is not None and other.rcv_wnd_end > tcp.snd_wnd_end for tcp, other in ends)

    # --- What was dropped ---------------------------------------------------------------------------

    def dropped(self, tcp: TcpInfo, seq: int) -> list[tuple[DroppedPacket, Segment]]:
        """Return the drops of the segments of a subflow that carried a byte, oldest first."""
        found = [
            (drop, segment)
            for flow in self._flows(tcp, back=False)
            for drop, segment in self.drops.segments(flow, 0)
            if segment.seq <= seq < segment.seq + segment.length
        ]
        return sorted(found, key=lambda item: item[0].time)

    def dropped_since(self, tcp: TcpInfo, time: int) -> list[DroppedPacket]:
        """Return the drops of data on a subflow since an instant, ns, oldest first."""
        found = [
            drop
            for flow in self._flows(tcp, back=False)
            for drop, segment in self.drops.segments(flow, time)
            if segment.length
        ]
        return sorted(found, key=lambda drop: drop.time)

    def dropped_back(self, tcp: TcpInfo, seq: int, ack: int, time: int) -> DroppedPacket | None:
        """Return the drop of a segment that the receiver sent on a subflow at an instant, ns."""
        for flow in self._flows(tcp, back=True):
            for drop, segment in self.drops.segments(flow, time):
                if (segment.seq, segment.ack) == (seq, ack):
                    return drop
        return None

    def dropped_acks(self, tcp: TcpInfo) -> list[DroppedPacket]:
        """Return the drops of ACKs on a subflow that would have told the sender something new."""
        return [drop for drop, segment in self._dropped_back(tcp) if segment.ack > tcp.snd_una]

    def _dropped_back(self, tcp: TcpInfo) -> list[tuple[DroppedPacket, Segment]]:
        """Return what was dropped on the way back since a round trip before the gap, oldest first."""
        first = max(self.since - tcp.srtt, 0)
        found = [item for flow in self._flows(tcp, back=True) for item in self.drops.segments(flow, first)]
        return sorted(found, key=lambda item: item[0].time)

    def dropped_errors(self, tcp: TcpInfo, time: int) -> list[DroppedPacket]:
        """Return the drops of ICMP errors about the segments of a subflow since an instant, ns."""
        return [drop for flow in self._flows(tcp, back=False) for drop in self.drops.errors(flow, time)]

    # --- Segments that show something -----------------------------------------------------------------

    def sent_by_receiver(self, what: str, event: WindowEvent) -> Witness:
        """Return an event of the receiver's log as a witness."""
        tcp = self.receiver.subflows[event.subflow]
        number = self.number(event.subflow)
        seq = tcp.wire_seq(event.seq)
        return Witness(what, event.time, False, True, number, tcp.flow, seq, event.length)

    def heard_by_sender(self, what: str, event: WindowEvent) -> Witness:
        """Return an event of the sender's log, something that it has heard, as a witness."""
        tcp = self.sender.subflows[event.subflow]
        seq = tcp.wire_ack(event.seq)
        flow = tcp.flow.reverse()
        return Witness(what, event.time, True, False, event.subflow, flow, seq, event.length)

    def shown(self, what: str, events: list[WindowEvent]) -> list[Witness]:
        """Return some of the receiver's events as witnesses: the first ones, if there are many."""
        return [self.sent_by_receiver(what, event) for event in events[:_MOST_SHOWN]]

    def zero(self) -> list[Witness]:
        """Return the segment that closed the window."""
        events = self.receiver.window_events
        found = [event for event in events if event.what == ZERO and event.time <= self.room_since]
        return [self.sent_by_receiver("window 0", event) for event in found[-1:]]

    def last_probe(self, tcps: list[TcpInfo]) -> WindowEvent | None:
        """Return the last probe that the sender has sent on some subflows since their windows closed."""
        left = {tcp.identifier for tcp in tcps}
        for event in reversed(self.sender.window_events):
            if event.subflow not in left:
                continue
            if event.what == CLOSED:
                left.remove(event.subflow)
            elif event.what == PROBE:
                return event
        return None

    def probed(self, tcps: list[TcpInfo]) -> list[Witness]:
        """Return the last probe of some subflows, and the answer to it, if that was lost."""
        probe = self.last_probe(tcps)
        if probe is None:
            return []
        tcp = self.sender.subflows[probe.subflow]
        what = f"probe of {probe.length} byte" if probe.length else "probe without data"
        seq = tcp.wire_seq(probe.seq)
        shown = [Witness(what, probe.time, True, True, probe.subflow, tcp.flow, seq, probe.length)]
        return shown + self.shown("answer to a probe, lost", self.lost_answers(tcps))

    def lost_answers(self, tcps: list[TcpInfo]) -> list[WindowEvent]:
        """Return the answers to probes of some subflows that did not arrive, since there is room."""
        here = {tcp.identifier for tcp in tcps}
        return [
            event
            for event in self.said(ANSWER)
            if self.number(event.subflow) in here and not self.arrived(event)
        ]


# --- Words ------------------------------------------------------------------------------------------


def in_a_row(tcp: TcpInfo) -> int:
    """Return how many retransmission time-outs in a row a subflow has had."""
    return tcp.timeouts_in_a_row


def timeouts(tcp: TcpInfo, before: str) -> str:
    """Return in words how a subflow is in time-out; nothing if it is not."""
    number = in_a_row(tcp)
    if not number:
        return ""
    many = f"{number} retransmission time-outs in a row" if number > 1 else "a retransmission time-out"
    return f"{before}{many}, the next one is due at {instant(tcp.rto_at)}"


def instant(at: int) -> str:
    """Return an instant in words, ``NEVER`` included."""
    return f"{at / SECOND:.3f} s" if at < NEVER else "no time"


def next_probe(tcps: list[TcpInfo]) -> str:
    """Return in words when the next probe is due on some subflows."""
    at, tcp = min(((tcp.probe_at, tcp) for tcp in tcps), key=lambda item: item[0])
    if at >= NEVER:
        return "no probe is due"
    after = "the one before" if tcp.probe_shift else "the window was found closed"
    return (
        f"the next probe is due on subflow {tcp.identifier} at {at / SECOND:.3f} s, "
        f"{format_time(tcp.probe_interval)} after {after}"
    )
