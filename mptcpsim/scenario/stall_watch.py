"""Watches a flow for stalls while the simulation runs.

Nothing is done for a packet: a timer looks now and then whether anything could have arrived and
did not. Begin and end of a stall are exact all the same, for the receiver remembers when bytes last
arrived, and while a stall goes on it calls when the next ones do.
"""

from __future__ import annotations

from mptcpsim.core.connection import Connection
from mptcpsim.results.stalls import (
    HEAD_OF_LINE,
    NO_SUBFLOW,
    SHORTEST,
    UNEXPLAINED,
    Explanation,
    explain,
    quiet_since,
    threshold,
    waiting,
)
from mptcpsim.results.summary import Packet, Stall
from mptcpsim.sim.flow import Flow
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND

#: Stalls of one flow that are kept; of more than these only the time is added up.
MOST_STALLS = 1000


class StallWatch:
    """Finds the stalls of one flow.

    Attributes:
        found: the first stalls, at most ``MOST_STALLS``.
        number: how many there were.
        stalled: how long all of them took, ns.
    """

    def __init__(self, loop: Loop, flow: Flow, hosts: tuple[str, str], start: int) -> None:
        self.found: list[Stall] = []
        self.number = 0
        self.stalled = 0
        self._loop = loop
        self._flow = flow
        self._hosts = hosts
        self._started = -1
        self._since = 0
        #: When there was last nothing to wait for: of a source that pauses, begins are exact to one look.
        self._idle_at = 0
        self._why = Explanation(UNEXPLAINED, "")
        loop.schedule(start + SHORTEST, self._look)

    def _look(self) -> None:
        now = self._loop.now
        sender, receiver = self._flow.sender, self._flow.receiver
        if self._flow.completed_at >= 0 or self._flow.error:
            self._end(now)
            return
        following = now + SHORTEST
        if sender is not None and receiver is not None and sender.established and receiver.established:
            if self._started >= 0:
                self._look_again(sender, receiver, now)
            else:
                following = self._look_at(sender, receiver, now)
        self._loop.schedule(following, self._look)

    def _look_at(self, sender: Connection, receiver: Connection, now: int) -> int:
        """Begin a stall if there is one; return when to look again, ns."""
        pause = threshold(sender)
        if not waiting(sender, receiver):
            self._idle_at = now
            return now + SHORTEST
        if receiver.free < receiver.least_free:
            return now + SHORTEST
        since = max(quiet_since(sender, receiver), self._idle_at)
        if now < since + pause:
            return since + pause
        self._started = since + pause
        self._since = since
        self._why = explain(sender, receiver, now)
        receiver.on_progress = self._on_progress
        return now + pause

    def _look_again(self, sender: Connection, receiver: Connection, now: int) -> None:
        """A stall goes on: maybe it can be explained by now, maybe there is nothing to wait for any more."""
        if not waiting(sender, receiver) or receiver.free < receiver.least_free:
            self._end(now)
            return
        before = self._why
        why = explain(sender, receiver, now)
        ended = all(tcp.ended for tcp in sender.subflows)
        # Of time-outs and probes the later ones say more than the first, the recovery at the end nothing.
        open_to_change = ended or why.cause == before.cause or before.cause in (UNEXPLAINED, HEAD_OF_LINE)
        if open_to_change and (why.timeouts >= before.timeouts or why.cause == NO_SUBFLOW):
            self._why = why

    def _on_progress(self, now: int) -> None:
        self._end(now)

    def _end(self, now: int) -> None:
        if self._started < 0:
            return
        if self._flow.failed_at >= 0:
            # Looking is not often enough to see it at once.
            now = min(now, self._flow.failed_at)
        receiver = self._flow.receiver
        if receiver is not None:
            receiver.on_progress = None
        self.number += 1
        self.stalled += now - self._started
        if len(self.found) < MOST_STALLS:
            why = self._why
            packets = [
                Packet(
                    what=witness.what,
                    time_s=witness.time / SECOND,
                    host=self._hosts[0] if witness.at_sender else self._hosts[1],
                    sent=witness.outgoing,
                    subflow=witness.subflow,
                    source=f"{witness.flow.src}:{witness.flow.sport}",
                    raw_seq=witness.seq,
                    length=witness.length,
                )
                for witness in why.witnesses
            ]
            times = [instant / SECOND for instant in (self._started, now, self._since)]
            self.found.append(Stall(times[0], times[1], why.cause, times[2], why.words, packets))
        self._started = -1

    def finish(self, now: int) -> None:
        """End the stall that may be going on at ``now``, ns."""
        self._end(now)
