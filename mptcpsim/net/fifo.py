"""The analytic pipe: one pending event, however many packets it holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from mptcpsim.core.segment import Packet
from mptcpsim.net.pipe import DROP_DOWN, DROP_QUEUE, Pipe, PipeSettings, make_discipline
from mptcpsim.plugins import PASS, QueueDiscipline
from mptcpsim.sim.loop import Loop


class FifoPipe(Pipe):
    """The analytic pipe: a packet's departure is computed when it arrives.

    ``_flight`` holds every packet inside with the instant of its delivery, and has its
    head's delivery pending as an event; ``_departures`` holds the departures of those
    that have not left the transmitter yet, which are the last ones of ``_flight``.
    """

    __slots__ = (
        "_arrival",
        "_burst",
        "_created",
        "_credit",
        "_departures",
        "_flight",
        "_floor",
        "_free",
        "_idle",
        "_kept_rate",
        "_kept_until",
        "_plain",
        "_qdisc",
        "_service",
        "_sizes",
        "_stale",
        "_started",
        "_unsent_bytes",
        "_weighs",
    )

    def __init__(self, loop: Loop, name: str, settings: PipeSettings, seed: int) -> None:
        super().__init__(loop, name, settings, seed, "fifo")
        now = loop.now
        self._departures: deque[int] = deque()
        self._flight: deque[tuple[int, Packet]] = deque()
        #: When the transmitter is, or became, free; how long it has been idle before that.
        self._free: int = now
        self._idle: int = 0
        self._created: int = now
        #: Serialisation times by packet size.
        self._service: dict[int, int] = {}
        #: Burst credit, in ns of transmission: at most, and left over at the instant ``_free``.
        self._burst: int = self._burst_time()
        self._credit: int = 0
        #: No delivery before this instant, after the delay was shortened.
        self._floor: int = 0
        #: When the last packet went, or goes, into service.
        self._started: int = now
        self._qdisc: QueueDiscipline | None = make_discipline(settings.qdisc, settings.qdisc_parameters)
        self._start_discipline()
        #: Sizes of the packets in ``_departures`` and their sum, where the bytes waiting matter.
        self._weighs: bool = self.limit_in_bytes or self._qdisc is not None
        self._sizes: deque[int] = deque()
        self._unsent_bytes: int = 0
        #: Instants of pending events that have become void.
        self._stale: list[int] = []
        #: The end of a packet that was in service when the rate changed, and its own rate.
        self._kept_until: int = -1
        self._kept_rate: int = 0
        self._arrival: Callable[[], None] = self._arrive
        self._plain: bool = False
        self._configured()

    def send(self, packet: Packet) -> None:
        """Take a packet at the near end, now."""
        if not self._plain:
            self._send_checked(packet)
            return
        # What _send_checked and _enqueue do when there is nothing but a limit in slots.
        loop = self._loop
        now = loop.now
        departures = self._departures
        while departures and departures[0] <= now:
            departures.popleft()
        if len(departures) > self.limit:
            self.drop(packet, DROP_QUEUE)
            return
        at = self._free
        if at < now:
            self._idle += now - at
            at = now
        service = self._service.get(packet.size)
        if service is None:
            service = self._service[packet.size] = self._serialisation(packet.size)
        at += service
        self._free = at
        departures.append(at)
        at += self.delay_ns
        flight = self._flight
        if not flight:
            loop.schedule(at, self._arrival)
        flight.append((at, packet))

    def _arrive(self) -> None:
        """Deliver the packet that is due."""
        if self._stale and self._is_void():
            return
        flight = self._flight
        packet = flight.popleft()[1]
        if flight:
            self._loop.schedule(flight[0][0], self._arrival)
        self.packets += 1
        self.bytes += packet.size
        self.sink(packet)

    def queue_packets(self, now: int) -> int:
        """Return how many packets are waiting at ``now``, not counting the one in service."""
        self._settle(now)
        unsent = len(self._departures)
        return unsent - 1 if unsent else 0

    def queue_bytes(self, now: int) -> int:
        """Return how many bytes are waiting at ``now``, not counting the packet in service."""
        self._settle(now)
        unsent = len(self._departures)
        if unsent < 2:
            return 0
        if self._weighs:
            return self._unsent_bytes - self._sizes[0]
        return sum(packet.size for _, packet in islice(reversed(self._flight), unsent - 1))

    def busy_time(self, now: int) -> int:
        """Return for how many ns, until ``now``, the transmitter was busy."""
        return min(now, self._free) - self._created - self._idle

    def _settle(self, now: int) -> None:
        departures = self._departures
        while departures and departures[0] <= now:
            departures.popleft()
            if self._weighs:
                self._unsent_bytes -= self._sizes.popleft()

    def _admit(self, packet: Packet, now: int) -> Packet | None:
        qdisc = self._qdisc
        if qdisc is not None:
            packets = self.queue_packets(now)
            # When none is waiting, whoever was accepted last has gone into service.
            idle = 0 if packets else now - self._started
            verdict = qdisc.on_arrival(packet.size, packets, self.queue_bytes(now), idle, now)
            if verdict != PASS:
                kept = self.mark_or_drop(packet, verdict, qdisc.NAME)
                if kept is None:
                    return None
                packet = kept
        if self._full(packet, now):
            self.drop(packet, DROP_QUEUE)
            return None
        return packet

    def _full(self, packet: Packet, now: int) -> bool:
        if self.limit_in_bytes:
            return self.queue_bytes(now) > self.limit
        return self.queue_packets(now) >= self.limit

    def _enqueue(self, packet: Packet, now: int) -> None:
        size = packet.size
        service = self._serialisation(size)
        start = self._free
        if start <= now:
            if start < now:
                self._idle += now - start
                self._credit = min(self._burst, now - start)
                start = now
            spent = min(self._credit, service)
            self._credit -= spent
            service -= spent
        departure = start + service
        self._started = start
        self._free = departure
        self._departures.append(departure)
        if self._weighs:
            self._sizes.append(size)
            self._unsent_bytes += size
        delivery = departure + self.delay_ns
        if self._floor:
            if delivery < self._floor:
                delivery = self._floor
            else:
                self._floor = 0
                self._configured()
        flight = self._flight
        if not flight:
            self._loop.schedule(delivery, self._arrival)
        flight.append((delivery, packet))

    def _configured(self) -> None:
        self._plain = (
            self.up
            and self._loss is None
            and not self._weighs
            and self._burst == 0
            and self._floor == 0
            and self._duplicate == 0.0
            and self._corrupt == 0.0
        )

    # --- rare changes ---------------------------------------------------------------------

    def _retime(self, now: int, before: int, anew: bool) -> None:
        departures = self._departures
        if not departures:
            return
        until = departures[0]
        rate = self._kept_rate if until == self._kept_until else before
        if anew:
            departures[0] = until = now + self._left(until - now, rate)
            rate = self.rate_bps
        self._kept_until = until
        self._kept_rate = rate

    def _rate_changed(self, now: int) -> None:
        self._service = {}
        self._burst = self._burst_time()
        self._start_discipline()
        self._plan_anew(now, self._due())

    def _delay_changed(self, now: int) -> None:
        self._plan_anew(now, self._due())

    def _limit_changed(self) -> None:
        self._weighs = self.limit_in_bytes or self._qdisc is not None
        unsent = len(self._departures) if self._weighs else 0
        self._sizes = deque(
            packet.size for _, packet in islice(self._flight, len(self._flight) - unsent, None)
        )
        self._unsent_bytes = sum(self._sizes)
        self._start_discipline()
        self._configured()

    def _start_discipline(self) -> None:
        """Tell the discipline its limit and the rate."""
        if self._qdisc is not None:
            self._qdisc.limit = self.limit
            self._qdisc.start(self.random_stream("qdisc"), self.rate_bps, self.limit_in_bytes)

    def _went_down(self, now: int) -> None:
        due = self._due()
        flight = self._flight
        unsent = len(self._departures)
        if self.settings.down_drops_queue and unsent:
            for packet in self._take_unsent():
                self.drop(packet, DROP_DOWN)
            if unsent > 1:
                self._started = now
            unsent = 0
            self._departures.clear()
            self._sizes.clear()
            self._unsent_bytes = 0
            self._free = now
        if self.settings.down_drops_flight:
            entries = list(flight)
            flight.clear()
            for number, entry in enumerate(entries):
                if entry[0] <= now or number >= len(entries) - unsent:
                    flight.append(entry)
                else:
                    self.drop(entry[1], DROP_DOWN)
        self._plan_anew(now, due)

    def _due(self) -> int:
        """Return the instant of the pending event, or -1 without one."""
        return self._flight[0][0] if self._flight else -1

    def _take_unsent(self) -> list[Packet]:
        """Remove and return the packets that have not departed, in order."""
        flight = self._flight
        packets = [flight.pop()[1] for _ in range(len(self._departures))]
        packets.reverse()
        return packets

    def _plan_anew(self, now: int, due: int) -> None:
        """Compute departures and deliveries again for all packets but the one in service.

        Args:
            now: ns.
            due: the instant of the event that was pending before anything was changed, or -1.
        """
        flight = self._flight
        departures = self._departures
        if departures:
            packets = self._take_unsent()
            last = flight[-1][0] if flight else 0
            departure = departures[0]
            departures.clear()
            for number, packet in enumerate(packets):
                if number:
                    self._started = departure
                    departure += self._serialisation(packet.size)
                departures.append(departure)
                last = max(last, departure + self.delay_ns)
                flight.append((last, packet))
            self._free = departure
        last = flight[-1][0] if flight else 0
        self._floor = last if last > now + self.delay_ns else 0
        head = self._due()
        if head != due:
            if due >= 0:
                self._stale.append(due)
            if head >= 0:
                self._loop.schedule(head, self._arrival)
        self._configured()

    def _is_void(self) -> bool:
        """Return whether the event that is running was overtaken by a change; forget it then."""
        now = self._loop.now
        if now in self._stale:
            self._stale.remove(now)
            return True
        return False
