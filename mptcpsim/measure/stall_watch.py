"""Watches a flow for gaps in its delivery, which are pauses or stalls, while the simulation runs.

Nothing is done for a packet: a timer looks now and then whether anything could have arrived and did not, and
asks the receiver to call when the next bytes arrive. Begin and end of a gap are exact all the same: the
receiver remembers when bytes last arrived and when a read made room, and the sender's application is heard
when it writes. A look comes at least every 200 ms, so that there is one in every gap that counts.
"""

from __future__ import annotations

from typing import NamedTuple

from mptcpsim.measure.drops import DropLog
from mptcpsim.measure.ends import End
from mptcpsim.measure.stall_causes import HEAD_OF_LINE, LOSS, TIME_OUT, UNEXPLAINED, explain
from mptcpsim.measure.stall_ends import (
    BY_ARRIVAL,
    BY_END,
    BY_FAILURE,
    BY_REINJECTION,
    BY_TIME_OUT,
    BY_WRITER,
    Ending,
    ending,
)
from mptcpsim.measure.stalls import SHORTEST, Explanation, Witness, gap_since, least_stall, quiet, waiting
from mptcpsim.results.summary import PacketRecord, Pause, PauseCause, Pauses, Stall, StallEnd, StallPart
from mptcpsim.sim.flow import Flow
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND

#: Pauses and stalls of one flow that are kept; of more than these only number and time are added up.
MOST_GAPS = 1000

#: A long gap is looked at whenever it has grown by this share; what explains less of it is no part.
_SHARE = 32


class _Look(NamedTuple):
    """What explained a gap at an instant, ns."""

    time: int
    why: Explanation


class _Part(NamedTuple):
    """What explains a gap from an instant on, ns."""

    time: int
    why: Explanation


class StallWatch:
    """Finds the pauses and stalls of one flow.

    Attributes:
        found: the first stalls, at most ``MOST_GAPS``.
        stalled: how long all stalls took, ns.
    """

    def __init__(
        self,
        loop: Loop,
        flow: Flow,
        drops: DropLog,
        threshold: int | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            loop: the clock.
            flow: as it was built.
            drops: what the network drops.
            threshold: gaps from this duration on are stalls, ns; None: see ``measure.stalls.least_stall``.
        """
        self.found: list[Stall] = []
        self.stalled = 0
        self._loop = loop
        self._flow = flow
        self._drops = drops
        self._threshold = threshold
        #: Durations of pauses by cause, number and sum, ns; and the first of them.
        self._pauses: dict[str, tuple[int, int]] = {}
        self._longest_pause = 0
        self._first_pauses: list[Pause] = []
        #: Why the gap that is going on goes on: look by look.
        self._looks: list[_Look] = []
        #: What had been delivered, and when the last of it, at the last look.
        self._delivered = 0
        self._delivered_at = -1
        #: Since when the sender's application has something for the receiver, and whether it waits to write.
        self._data_since = 0
        self._waits = False
        #: Which look is due; one that was put off is passed over.
        self._due = 0
        self._over = False
        flow.on_connection = self._on_connection
        self._look_at(flow.start + SHORTEST)

    @property
    def pauses(self) -> Pauses:
        """What the pauses come to."""
        causes = {
            cause: PauseCause(number, total / SECOND)
            for cause, (number, total) in sorted(self._pauses.items())
        }
        return Pauses(
            count=sum(number for number, _ in self._pauses.values()),
            sum_s=sum(total for _, total in self._pauses.values()) / SECOND,
            longest_s=self._longest_pause / SECOND,
            causes=causes,
            first=self._first_pauses,
        )

    # --- What the ends say ------------------------------------------------------------------------

    def _on_connection(self) -> None:
        sender = self._flow.sender
        if sender is not None:
            sender.on_write = self._on_write

    def _on_write(self, now: int, waits: bool) -> None:
        """The application of the sender is about to write, has closed, or begins to wait until it can."""
        flow = self._flow
        if flow.closing and self._waits and (ends := self._ends(now)) is not None:
            self._give_up(*ends)
        if not self._waits and flow.written <= flow.delivered:
            self._data_since = now
        self._waits = waits

    def _give_up(self, sender: End, receiver: End) -> None:
        """The application does not want to write any more what its buffer had no room for."""
        if sender.info.written > receiver.info.delivered or receiver.info.free < receiver.info.least_free:
            return
        now = sender.now
        since = gap_since(sender, receiver, receiver.info.delivered_at, self._data_since)
        if now - since >= quiet(sender):
            self._looks = self._looks or [_Look(now - 1, explain(sender, receiver, since, self._drops))]
            self._close(sender, since, now, Ending(BY_WRITER, "the application waits no more", now))
        self._looks = []

    def _on_progress(self, subflow: int, now: int) -> None:
        """Bytes arrive on a subflow of the receiver, for the first time since the last look."""
        ends = self._ends(now)
        if ends is None:
            return
        sender, receiver = ends
        room = receiver.info.receive_buffer - (self._delivered - receiver.info.consumed)
        since = gap_since(sender, receiver, self._delivered_at, self._data_since)
        if room >= receiver.info.least_free and now - since >= quiet(sender):
            self._close(sender, since, now, ending(sender, receiver, subflow, since))
            # The next look may be far away.
            self._look_at(now + SHORTEST)
        self._looks = []

    def _ends(self, now: int) -> tuple[End, End] | None:
        """Return the end that sends the data and the one that gets it, once there are both."""
        sender, receiver = self._flow.sender, self._flow.receiver
        if sender is None or receiver is None:
            return None
        return End(sender, now), End(receiver, now)

    # --- Looking ----------------------------------------------------------------------------------

    def _look_at(self, time: int) -> None:
        self._due += 1
        due = self._due
        self._loop.schedule(time, lambda: self._look(due))

    def _look(self, due: int) -> None:
        if due != self._due:
            return
        now = self._loop.now
        if self._flow.completed_at >= 0 or self._flow.error:
            self.finish(now)
            return
        following = now + SHORTEST
        ends = self._ends(now)
        if ends is not None and ends[0].info.established and ends[1].info.established:
            sender, receiver = ends
            info = receiver.info
            self._delivered = info.delivered
            self._delivered_at = info.delivered_at
            self._await_progress(True)
            if waiting(sender.info, info) and info.free >= info.least_free:
                following = self._look_into(sender, receiver)
            elif self._looks:
                self._give_up(sender, receiver)
        self._look_at(following)

    def _await_progress(self, wanted: bool) -> None:
        """Have the receiver call when the next bytes arrive, or not."""
        receiver = self._flow.receiver
        if receiver is not None:
            receiver.on_progress = self._on_progress if wanted else None

    def _look_into(self, sender: End, receiver: End) -> int:
        """Look at a gap; return when to look again, ns."""
        now = sender.now
        since = gap_since(sender, receiver, receiver.info.delivered_at, self._data_since)
        least = quiet(sender)
        lasts = now - since
        half = (least + 1) // 2
        if lasts < half:
            return min(since + half, now + SHORTEST)
        # It may end before it counts: what is said a little too early is better than nothing.
        self._looks.append(_Look(now, explain(sender, receiver, since, self._drops)))
        if lasts < least:
            return min(since + least, now + SHORTEST)
        return now + max(SHORTEST // 2, lasts // _SHARE)

    # --- The end of a gap -------------------------------------------------------------------------

    def finish(self, now: int) -> None:
        """End the gap that may be going on at ``now``: the flow has failed, or the run ends."""
        flow = self._flow
        over, self._over = self._over, True
        self._due += 1
        ends = None if over else self._ends(now)
        if ends is None or not ends[0].info.established or not ends[1].info.established:
            return
        sender, receiver = ends
        self._await_progress(False)
        why = Ending(BY_END, "the run ended", now)
        if flow.failed_at >= 0:
            now = min(now, flow.failed_at)
            why = Ending(BY_FAILURE, f"the connection failed: {flow.error}", now)
        info = receiver.info
        since = gap_since(sender, receiver, info.delivered_at, self._data_since)
        has_data = sender.info.written > info.delivered or bool(self._looks)
        if has_data and info.free >= info.least_free and now - since >= quiet(sender):
            if not flow.error:
                self._looks.append(_Look(now - 1, explain(sender, receiver, since, self._drops)))
            self._close(sender, since, now, why)
        self._looks = []

    def _close(self, sender: End, since: int, end: int, ended: Ending) -> None:
        """Count the gap from ``since`` to ``end``, ns."""
        parts = _settled(self._told(since, end, quiet(sender), ended.began), ended)
        times = [*(part.time for part in parts[1:]), end]
        shares: dict[str, int] = {}
        for part, until in zip(parts, times, strict=True):
            shares[part.why.cause] = shares.get(part.why.cause, 0) + until - part.time
        cause = max(shares, key=lambda name: shares[name])
        lasted = end - since
        if lasted < least_stall(sender, self._threshold):
            number, total = self._pauses.get(cause, (0, 0))
            self._pauses[cause] = (number + 1, total + lasted)
            self._longest_pause = max(self._longest_pause, lasted)
            if len(self._first_pauses) < MOST_GAPS:
                self._first_pauses.append(Pause(since / SECOND, end / SECOND, cause, ended.by))
            return
        self.stalled += lasted
        if len(self.found) >= MOST_GAPS:
            return
        main = next(part for part in parts if part.why.cause == cause)
        told = []
        if len(parts) > 1:
            told = [
                StallPart(
                    part.time / SECOND,
                    until / SECOND,
                    part.why.cause,
                    part.why.words,
                    self._packets(part.why.witnesses),
                )
                for part, until in zip(parts, times, strict=True)
            ]
        self.found.append(
            Stall(
                since / SECOND,
                end / SECOND,
                cause,
                main.why.words,
                self._packets(main.why.witnesses),
                StallEnd(ended.by, ended.words, self._packets(ended.witnesses)),
                told,
            )
        )

    def _told(self, since: int, end: int, least: int, began: int) -> list[_Part]:
        """Return the parts of a gap, each up to the begin of the next one.

        Args:
            since: begin of the gap, ns.
            end: its end, ns.
            least: a part that does not last so long is not worth telling, ns.
            began: when what ended it began: from then on there was nothing to explain, ns.
        """
        if not self._looks:
            # It counts only since the round trips have become shorter.
            return [_Part(since, Explanation(UNEXPLAINED, "nothing is known of it"))]
        # What takes longer than a round trip or two was not set off so early alone.
        began = max(began, end - least)
        looks = [look for look in self._looks if look.time < began] or self._looks[:1]
        looks = [look for look in looks if look.time >= since + least] or looks[-1:]
        looks = [look for look in looks if look.why.cause != UNEXPLAINED] or looks
        parts: list[_Part] = []
        for index, look in enumerate(looks):
            if not parts:
                parts.append(_Part(since, look.why))
            elif parts[-1].why.cause == LOSS and look.why.cause == TIME_OUT:
                # What was hoped for did not happen.
                parts[-1] = _Part(parts[-1].time, look.why)
            elif parts[-1].why.cause != look.why.cause:
                known = look.why.since
                parts.append(_Part(known if known > looks[index - 1].time else look.time, look.why))
            elif look.why.timeouts >= parts[-1].why.timeouts:
                # Of time-outs and probes the later ones say more than the first.
                parts[-1] = _Part(parts[-1].time, look.why)
        least = max(least, (end - since) // _SHARE)
        kept: list[_Part] = []
        for part, until in zip(parts, [*(part.time for part in parts[1:]), end], strict=True):
            lasts = until - part.time
            if kept and kept[-1].why.cause == part.why.cause:
                continue
            if kept and part.time - kept[-1].time < min(least, lasts):
                # What came first did not last.
                part = _Part(kept.pop().time, part.why)
            elif kept and lasts < least:
                continue
            kept.append(part)
        return kept

    def _packets(self, witnesses: tuple[Witness, ...]) -> list[PacketRecord]:
        return [
            PacketRecord(
                what=witness.what,
                time_s=witness.time / SECOND,
                host=self._flow.sender_host if witness.at_sender else self._flow.receiver_host,
                sent=witness.outgoing,
                subflow=witness.subflow,
                source=f"{witness.flow.src}:{witness.flow.sport}",
                raw_seq=witness.seq,
                length=witness.length,
            )
            for witness in witnesses
        ]


def _settled(parts: list[_Part], ended: Ending) -> list[_Part]:
    """Return the parts as the end shows them: was a loss mended in time, by the timer only, or none?"""
    last = parts[-1]
    if last.why.cause not in (LOSS, TIME_OUT):
        return parts
    if ended.by == BY_ARRIVAL:
        # Whatever the sender thought: nothing was lost, it was late.
        return [*parts[:-1], last._replace(why=last.why._replace(cause=HEAD_OF_LINE))]
    if ended.by in (BY_TIME_OUT, BY_REINJECTION):
        return [*parts[:-1], last._replace(why=last.why._replace(cause=TIME_OUT))]
    return parts
