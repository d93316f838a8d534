"""The event-by-event pipe, for whatever is decided later than at a packet's arrival.

CoDel judges a packet when it leaves the queue, jitter and reordering change the
order of deliveries: the arithmetic of ``FifoPipe`` does not cover them. This pipe
does one thing at a time and is also the oracle of ``FifoPipe`` (see ``pipe``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from mptcpsim.core.segment import Packet
from mptcpsim.net.fifo import FifoPipe
from mptcpsim.net.pipe import DROP_DOWN, DROP_TAIL, Pipe, PipeSettings
from mptcpsim.plugins import PASS, QueueDiscipline, find
from mptcpsim.sim.loop import Loop


class GeneralPipe(Pipe):
    """A pipe with an event for each end of a transmission and for each delivery."""

    __slots__ = (
        "_burst",
        "_busy",
        "_credit",
        "_deliver_event",
        "_empty_since",
        "_finish_event",
        "_idle_since",
        "_last",
        "_line",
        "_order",
        "_queue",
        "_queued_bytes",
        "_service_end",
        "_service_start",
        "_serving",
    )

    def __init__(self, loop: Loop, name: str, settings: PipeSettings, seed: int) -> None:
        super().__init__(loop, name, settings, seed, "general")
        #: Packets waiting, each with the instant of its arrival.
        self._queue: deque[tuple[Packet, int]] = deque()
        self._queued_bytes: int = 0
        self._empty_since: int = loop.now
        #: The packet in service.
        self._serving: Packet | None = None
        self._service_start: int = 0
        self._service_end: int = 0
        self._busy: int = 0
        self._idle_since: int = loop.now
        self._burst: int = self._burst_time()
        self._credit: int = 0
        #: The delay line: (delivery, order, packet), a heap, and the last delivery in order.
        self._line: list[tuple[int, int, Packet]] = []
        self._order: int = 0
        self._last: int = 0
        self._finish_event: Callable[[], None] = self._finish
        self._deliver_event: Callable[[], None] = self._deliver

    def queue_packets(self, now: int) -> int:
        """Return how many packets are waiting at ``now``, not counting the one in service."""
        self._settle(now)
        return len(self._queue)

    def queue_bytes(self, now: int) -> int:
        """Return how many bytes are waiting at ``now``, not counting the packet in service."""
        self._settle(now)
        return self._queued_bytes

    def busy_time(self, now: int) -> int:
        """Return for how many ns, until ``now``, the transmitter was busy."""
        self._settle(now)
        return self._busy + (now - self._service_start if self._serving is not None else 0)

    def _emptied(self) -> int:
        return self._empty_since

    def _enqueue(self, packet: Packet, now: int) -> None:
        self._queue.append((packet, now))
        self._queued_bytes += packet.size
        if self._serving is None:
            self._serve(now)

    def _settle(self, now: int) -> None:
        while self._serving is not None and self._service_end <= now:
            packet = self._serving
            end = self._service_end
            self._serving = None
            self._busy += end - self._service_start
            self._idle_since = end
            self._depart(packet, end)
            self._serve(end)

    def _finish(self) -> None:
        """The end of a transmission is due, unless an arrival at this instant has dealt with it."""
        self._settle(self._loop.now)

    def _serve(self, now: int) -> None:
        """The transmitter is free: take packets from the queue until one occupies it."""
        queue = self._queue
        while queue:
            packet, arrived = queue.popleft()
            size = packet.size
            self._queued_bytes -= size
            if not queue:
                self._empty_since = now
            qdisc = self._qdisc
            if qdisc is not None and qdisc.AT_DEPARTURE:
                verdict = qdisc.on_departure(size, now - arrived, self._queued_bytes, now)
                if verdict != PASS:
                    kept = self._mark_or_drop(packet, verdict, qdisc.NAME)
                    if kept is None:
                        continue
                    packet = kept
            service = self._serialisation(size)
            if now > self._idle_since:
                self._credit = min(self._burst, now - self._idle_since)
            if service <= self._credit:
                self._credit -= service
                self._idle_since = now
                self._depart(packet, now)
                continue
            service -= self._credit
            self._credit = 0
            self._serving = packet
            self._service_start = now
            self._service_end = now + service
            self._loop.schedule(self._service_end, self._finish_event)
            return

    def _depart(self, packet: Packet, now: int) -> None:
        """Put a packet that has left the transmitter on the delay line."""
        settings = self.settings
        delivery = now + self.delay_ns
        if settings.jitter_ns:
            delivery += self.random_stream("jitter").randrange(settings.jitter_ns + 1)
        if settings.reorder > 0.0 and self.random_stream("reorder").random() < settings.reorder:
            delivery += settings.reorder_ns
        elif not settings.jitter_reorders:
            delivery = self._last = max(delivery, self._last)
        self._order += 1
        heappush(self._line, (delivery, self._order, packet))
        self._loop.schedule(delivery, self._deliver_event)

    def _deliver(self) -> None:
        """Deliver the packet that is due, unless it was dropped in flight."""
        line = self._line
        if line and line[0][0] <= self._loop.now:
            packet = heappop(line)[2]
            self.packets += 1
            self.bytes += packet.size
            self.sink(packet)

    # --- rare changes ---------------------------------------------------------------------

    def _rate_changed(self, now: int) -> None:
        self._burst = self._burst_time()

    def _delay_changed(self, now: int) -> None:
        """The packets that depart from now on take the new delay by themselves."""

    def _went_down(self, now: int) -> None:
        if self.settings.down_drops_queue:
            if self._serving is not None:
                self._drop(self._serving, DROP_DOWN)
                self._serving = None
                self._busy += now - self._service_start
                self._idle_since = now
            if self._queue:
                for packet, _ in self._queue:
                    self._drop(packet, DROP_DOWN)
                self._queue.clear()
                self._queued_bytes = 0
                self._empty_since = now
        if self.settings.down_drops_flight:
            for entry in sorted(self._line):
                if entry[0] > now:
                    self._drop(entry[2], DROP_DOWN)
            self._line = [entry for entry in self._line if entry[0] <= now]
            heapify(self._line)
            self._last = 0


def needs_general_pipe(settings: PipeSettings) -> str:
    """Return why a pipe with these settings must be a ``GeneralPipe``, or an empty string.

    Raises:
        PluginError: the queue discipline is unknown.
    """
    if settings.qdisc != DROP_TAIL:
        discipline = find("qdisc", settings.qdisc)
        if issubclass(discipline, QueueDiscipline) and discipline.AT_DEPARTURE:
            return f"{settings.qdisc} decides at departure"
    if settings.jitter_ns:
        return "jitter"
    if settings.reorder > 0.0:
        return "reordering"
    return ""


def make_pipe(loop: Loop, name: str, settings: PipeSettings, seed: int = 0, general: bool = False) -> Pipe:
    """Return a pipe of the cheapest kind that does what ``settings`` ask; ``pipe.kind`` says which.

    Args:
        loop: the clock and the heap that it lives on.
        name: unique in the network; names its random streams.
        settings: what it is like.
        seed: the run's seed.
        general: take the general pipe in any case.

    Raises:
        PluginError: the queue discipline is unknown, or a parameter of it is wrong.
        ValueError: a value of the settings is out of range.
    """
    if general or needs_general_pipe(settings):
        return GeneralPipe(loop, name, settings, seed)
    return FifoPipe(loop, name, settings, seed)
