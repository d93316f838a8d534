"""What a host gives its connections: the time, the way out, counters, the event log, wake-ups.

Connections of TCP know no more of their host than this. ``core.tcp.stack.TcpStack`` is the whole of a
host that speaks TCP, ``core.stack.Stack`` of one that speaks MPTCP, too.
Timers are lazy: a deadline is stored, and looked at no earlier than necessary.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from mptcpsim.core.counters import Counters
from mptcpsim.core.errors import IntegrityError
from mptcpsim.core.events import Event
from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.units import NEVER

#: Up to this number of calls the host does not search for those of ended owners.
_FEW: Final = 16


class TimerOwner:
    """An object with timers that a host wakes. It keeps its deadlines itself and may be woken early.

    Attributes:
        ended: it is not woken any more.
        wake_at: the earliest call that the host holds.
    """

    __slots__ = ("_host", "_later", "ended", "wake_at")

    def __init__(self, host: TransportHost) -> None:
        self._host = host
        self.ended: bool = False
        self.wake_at: int = NEVER
        #: Further calls of ``on_wake`` that the host holds, the next one last; None before there are any.
        self._later: list[int] | None = None

    def wake_by(self, at: int) -> None:
        """Make sure that ``handle_timers`` is called no later than ``at``; early is harmless."""
        if at < self.wake_at:
            if self.wake_at < NEVER:
                if self._later is None:
                    self._later = []
                self._later.append(self.wake_at)
            self.wake_at = at
            self._host.wake_by(at, self)

    def on_wake(self, now: int) -> None:
        """Answer the earliest call that ``wake_by`` asked for; later ones stay in use."""
        later = self._later
        self.wake_at = later.pop() if later else NEVER
        if not self.ended:
            self.handle_timers(now)

    def handle_timers(self, now: int) -> None:
        """Do what is due, and ask to be woken for what is not."""
        raise NotImplementedError


class TransportHost:
    """What a host provides to its connections: time, an outbox, wake-ups, counters and the event log.

    Attributes:
        name: the host's.
        now: time of the current or last call, ns.
        outbox: packets to send, oldest first; the driver sends and clears it.
        discarded: packets sent from addresses that the host has lost; they never leave it.
        counters: the MIB of the host.
        events: the event log.
        fault: the first fault of delivered bytes, or None. The connection continues; nothing that a peer
            sends raises here. A driver raises the fault if the peer is a simulated host, too.
        logs_windows: connections opened from now on note what happens to their windows.
        wake_at: no timer is due before this instant, ns; ``next_timer`` says more exactly.
    """

    __slots__ = (
        "_most_wakeups",
        "_order",
        "_wakeups",
        "counters",
        "discarded",
        "events",
        "fault",
        "logs_windows",
        "name",
        "now",
        "outbox",
        "wake_at",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.now: int = 0
        self.wake_at: int = NEVER
        self.outbox: list[Packet] = []
        self.discarded: list[Packet] = []
        self.counters = Counters()
        self.events: list[Event] = []
        self.fault: IntegrityError | None = None
        self.logs_windows: bool = False
        self._wakeups: list[tuple[int, int, TimerOwner]] = []
        self._order: int = 0
        self._most_wakeups: int = _FEW

    # --- Timers ---------------------------------------------------------------------------------

    def wake_by(self, at: int, owner: TimerOwner) -> None:
        """Note that ``owner`` wants its timers handled at ``at``."""
        if at < NEVER:
            self._order += 1
            wakeups = self._wakeups
            if len(wakeups) >= self._most_wakeups:
                # Lazy timers leave calls behind that are not needed any more; an owner that has ended need
                # not be kept until they are due.
                wakeups[:] = [call for call in wakeups if not call[2].ended]
                heapify(wakeups)
                self._most_wakeups = 2 * len(wakeups) + _FEW
            heappush(wakeups, (at, self._order, owner))
            if at < self.wake_at:
                self.wake_at = at

    def handle_timer(self, now: int) -> None:
        """Do what is due; waking early is harmless."""
        self.now = now
        heap = self._wakeups
        while heap and heap[0][0] <= now:
            heappop(heap)[2].on_wake(now)

    def next_timer(self) -> int:
        """Return when ``handle_timer`` wants to be called next, ns, or ``NEVER``."""
        heap = self._wakeups
        while heap and heap[0][2].ended:
            heappop(heap)
        self.wake_at = heap[0][0] if heap else NEVER
        return self.wake_at

    # --- The event log --------------------------------------------------------------------------

    def note(self, connection: int, subflow: int, what: str, detail: str) -> None:
        """Append to the event log; identifiers are -1 where there is none."""
        self.events.append(Event(self.now, connection, subflow, what, detail))

    def note_fault(self, connection: TimerOwner, text: str) -> None:
        """Note the first fault of the bytes that are delivered, and have the driver look at it."""
        if self.fault is None:
            self.fault = IntegrityError(text)
            self.mark_ready(connection)

    # --- What connections report ----------------------------------------------------------------

    def mark_ready(self, connection: TimerOwner) -> None:
        """Note that the application which waits for this connection can continue."""
        raise NotImplementedError

    def on_established(self, connection: TimerOwner, port: int, passive: bool) -> None:
        """A handshake is complete; a passive connection goes to the listener of its port."""
        raise NotImplementedError

    def forget(self, flow: FourTuple) -> None:
        """A TCP connection is CLOSED: the four-tuple with which it sent is free again."""
        raise NotImplementedError
