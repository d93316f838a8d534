"""The event-by-event pipe, for whatever is decided later than at a packet's arrival.

CoDel judges a packet when it leaves the queue, a scheduler chooses among queues, a
delay profile and jitter change how long packets take: the arithmetic of ``FifoPipe``
does not cover them. This pipe does one thing at a time and is also the oracle of
``FifoPipe`` (see ``pipe``).
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from mptcpsim.core.segment import Packet
from mptcpsim.net.fifo import FifoPipe
from mptcpsim.net.pipe import (
    DROP_DOWN,
    DROP_PROFILE,
    DROP_TAIL,
    Pipe,
    PipeSettings,
    make_discipline,
    make_scheduler,
)
from mptcpsim.net.queues import Fifo, HashedQueues, PacketQueue
from mptcpsim.plugins import QueueDiscipline, QueueScheduler, find
from mptcpsim.sim.loop import Loop


class GeneralPipe(Pipe):
    """A pipe with an event for each end of a transmission and for each delivery.

    Attributes:
        queue: what waits; may be replaced before the first packet.
    """

    __slots__ = (
        "_burst",
        "_busy",
        "_credit",
        "_deliver_event",
        "_doomed",
        "_finish_event",
        "_idle_since",
        "_last",
        "_line",
        "_number",
        "_service_end",
        "_service_rate",
        "_service_start",
        "_serving",
        "queue",
    )

    def __init__(self, loop: Loop, name: str, settings: PipeSettings, seed: int) -> None:
        super().__init__(loop, name, settings, seed, "general")
        self.queue: PacketQueue = self._make_queue(loop.now)
        #: The packet in service; whether it is lost behind the transmitter.
        self._serving: Packet | None = None
        self._doomed: bool = False
        self._service_start: int = 0
        self._service_end: int = 0
        self._service_rate: int = 0
        self._busy: int = 0
        self._idle_since: int = loop.now
        self._burst: int = self._burst_time()
        self._credit: int = 0
        #: The delay line: (delivery, order, packet), a heap, and the last delivery in order.
        self._line: list[tuple[int, int, Packet]] = []
        self._number: int = 0
        self._last: int = 0
        self._finish_event: Callable[[], None] = self._finish
        self._deliver_event: Callable[[], None] = self._deliver

    def queue_packets(self, now: int) -> int:
        """Return how many packets are waiting at ``now``, not counting the one in service."""
        self._settle(now)
        return self.queue.packets

    def queue_bytes(self, now: int) -> int:
        """Return how many bytes are waiting at ``now``, not counting the packet in service."""
        self._settle(now)
        return self.queue.bytes

    def busy_time(self, now: int) -> int:
        """Return for how many ns, until ``now``, the transmitter was busy."""
        self._settle(now)
        return self._busy + (now - self._service_start if self._serving is not None else 0)

    def _make_queue(self, now: int) -> PacketQueue:
        name, values = self.settings.qdisc, self.settings.qdisc_parameters
        if name != DROP_TAIL and issubclass(find("qdisc", name), QueueScheduler):
            return HashedQueues(self, make_scheduler(name, values))
        return Fifo(self, self.limit, self.limit_in_bytes, now, make_discipline(name, values))

    def _admit(self, packet: Packet, now: int) -> Packet | None:
        return self.queue.admit(packet, now)

    def _full(self, packet: Packet, now: int) -> bool:
        return self.queue.full(packet)

    def _enqueue(self, packet: Packet, now: int) -> None:
        self.queue.enqueue(packet, now)
        if self._serving is None:
            self._serve(now)

    def _settle(self, now: int) -> None:
        while self._serving is not None and self._service_end <= now:
            packet = self._serving
            end = self._service_end
            self._serving = None
            self._busy += end - self._service_start
            self._idle_since = end
            self._leave(packet, end)
            self._serve(end)

    def _finish(self) -> None:
        """The end of a transmission is due, unless an arrival at this instant has dealt with it."""
        self._settle(self._loop.now)

    def _serve(self, now: int) -> None:
        """The transmitter is free: take packets from the queue until one occupies it."""
        queue = self.queue
        profile = self.settings.profile
        while True:
            packet = queue.dequeue(now)
            if packet is None:
                return
            service = self._serialisation(packet.size)
            if profile:
                drawn = self.random_stream("profile").randrange(len(profile))
                service += profile[drawn]
                self._doomed = drawn >= self.settings.profile_lost_from
            if now > self._idle_since:
                self._credit = min(self._burst, now - self._idle_since)
            if service <= self._credit:
                self._credit -= service
                self._idle_since = now
                self._leave(packet, now)
                continue
            service -= self._credit
            self._credit = 0
            self._serving = packet
            self._service_start = now
            self._service_rate = self.rate_bps
            self._service_end = now + service
            self._loop.schedule(self._service_end, self._finish_event)
            return

    def _leave(self, packet: Packet, now: int) -> None:
        """A packet has left the transmitter: the delay profile may have it lost here."""
        if self._doomed:
            self._doomed = False
            self.drop(packet, DROP_PROFILE)
            return
        self._depart(packet, now)

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
        self._number += 1
        heappush(self._line, (delivery, self._number, packet))
        self._loop.schedule(delivery, self._deliver_event)

    def _deliver(self) -> None:
        """Deliver the packet that is due, unless it was dropped in flight."""
        line = self._line
        if line and line[0][0] <= self._loop.now:
            packet = heappop(line)[2]
            self.packets += 1
            self.bytes += packet.size
            self._sink(packet)

    # --- rare changes ---------------------------------------------------------------------

    def _retime(self, now: int, before: int, anew: bool) -> None:
        if anew and self._serving is not None:
            self._service_end = now + self._left(self._service_end - now, self._service_rate)
            self._service_rate = self.rate_bps
            # The event at the former end finds nothing to do, or another packet in service.
            self._loop.schedule(self._service_end, self._finish_event)

    def _rate_changed(self, now: int) -> None:
        self._burst = self._burst_time()
        self.queue.rate_changed(self.rate_bps)

    def _limit_changed(self) -> None:
        self.queue.set_limit(self.limit, self.limit_in_bytes)

    def _delay_changed(self, now: int) -> None:
        """The packets that depart from now on take the new delay by themselves."""

    def _went_down(self, now: int) -> None:
        if self.settings.down_drops_queue:
            if self._serving is not None:
                self.drop(self._serving, DROP_DOWN)
                self._serving = None
                self._doomed = False
                self._busy += now - self._service_start
                self._idle_since = now
            self.queue.discard(now, DROP_DOWN)
        if self.settings.down_drops_flight:
            for entry in sorted(self._line):
                if entry[0] > now:
                    self.drop(entry[2], DROP_DOWN)
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
        if issubclass(discipline, QueueScheduler):
            return f"{settings.qdisc} has several queues"
        if issubclass(discipline, QueueDiscipline) and discipline.AT_DEPARTURE:
            return f"{settings.qdisc} decides at departure"
    if settings.profile:
        return "delay profile"
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
