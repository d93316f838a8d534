"""The analytic pipe: one pending event, however many packets it holds."""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import i64

from mptcpsim.core.segment import IN_NO_PIPE, Packet
from mptcpsim.net.pipe import DROP_DOWN, DROP_QUEUE, Pipe, PipeSettings, make_discipline
from mptcpsim.plugins import PASS, QueueDiscipline
from mptcpsim.sim.loop import Loop
from mptcpsim.units import NEVER


class FifoPipe(Pipe):
    """The analytic pipe: a packet's departure is computed when it arrives.

    The packets inside are linked through themselves, each to the one behind it, in the order in which
    they are delivered, and each knows when it departs and when it is due. The pipe is the event of the
    first one's delivery. The packets that have not left the transmitter are the last ones; ``_unsent``
    is the first of these. It moves on when somebody looks: see ``_settle``.
    """

    __slots__ = (
        "_burst",
        "_created",
        "_credit",
        "_first",
        "_floor",
        "_free",
        "_idle",
        "_kept_rate",
        "_kept_until",
        "_last",
        "_lasts",
        "_late",
        "_plain",
        "_qdisc",
        "_service",
        "_size",
        "_slots",
        "_stale",
        "_started",
        "_unsent",
        "_unsent_bytes",
        "_unsent_packets",
        "_weighs",
    )

    def __init__(self, loop: Loop, name: str, settings: PipeSettings, seed: int) -> None:
        super().__init__(loop, name, settings, seed, "fifo")
        now: i64 = loop.now
        #: The packets inside: the next one to be delivered, the one that came last.
        self._first: Packet | None = None
        self._last: Packet | None = None
        #: The packet in service, those that wait behind it being linked to it; how many these are together.
        self._unsent: Packet | None = None
        self._unsent_packets: i64 = 0
        #: When the transmitter is, or became, free; how long it has been idle before that.
        self._free: i64 = now
        self._idle: i64 = 0
        self._created: i64 = now
        #: Serialisation time of a packet of the size that came last.
        self._size: int = -1
        self._service: i64 = 0
        #: How long packets are in flight; how many may wait, where the limit is one in slots.
        self._lasts: i64 = 0
        self._slots: i64 = 0
        #: Burst credit, in ns of transmission: at most, and left over at the instant ``_free``.
        self._burst: int = 0
        self._credit: int = 0
        #: No delivery before this instant, after the delay was shortened.
        self._floor: i64 = 0
        #: When the last packet went, or goes, into service.
        self._started: i64 = now
        self._qdisc: QueueDiscipline | None = make_discipline(settings.qdisc, settings.qdisc_parameters)
        #: The bytes waiting matter, and what they are, the packet in service included.
        self._weighs: bool = self.limit_in_bytes or self._qdisc is not None
        self._unsent_bytes: i64 = 0
        #: Instants of pending events that have become void. While there are any, the pipe is on the heap
        #: maybe, and its next delivery is an event of its own, which calls ``_late``.
        self._stale: list[int] = []
        #: The end of a packet that was in service when the rate changed, and its own rate.
        self._kept_until: i64 = -1
        self._kept_rate: int = 0
        self._plain: bool = False
        self._late: Callable[[], None] = self.fire
        self._burst = self._burst_time()
        self._start_discipline()
        self._configured()

    def send(self, packet: Packet) -> None:
        """Take a packet at the near end, now."""
        if not self._plain:
            self._send_checked(packet)
            return
        # What _send_checked and _enqueue do when there is nothing but a limit in slots.
        now = self._loop.now
        unsent = self._unsent
        while unsent is not None and unsent.departs <= now:
            unsent = unsent.behind
            self._unsent = unsent
            self._unsent_packets -= 1
        if self._unsent_packets > self._slots:
            self.drop(packet, DROP_QUEUE)
            return
        departure = self._free
        if departure < now:
            self._idle += now - departure
            departure = now
        size = packet.size
        if size != self._size:
            self._size = size
            self._service = min(self._serialisation(size), NEVER)
        departure += self._service
        if departure > NEVER:
            departure = NEVER
        due = departure + self._lasts
        if due > NEVER or packet.due != IN_NO_PIPE:
            self._append(packet, departure, due)
            return
        packet.departs = departure
        packet.due = due
        self._free = departure
        last = self._last
        if last is not None:
            last.behind = packet
        else:
            self._first = packet
            self._await_first(due)
        self._last = packet
        if unsent is None:
            self._unsent = packet
        self._unsent_packets += 1

    def _append(self, packet: Packet, departure: i64, due: i64) -> None:
        """Put a packet behind all others."""
        if due > NEVER:
            due = NEVER
        if packet.due != IN_NO_PIPE:
            # The same object is sent again before it has arrived.
            packet = packet.clone()
        packet.departs = departure
        packet.due = due
        self._free = departure
        last = self._last
        if last is not None:
            last.behind = packet
        else:
            self._first = packet
            self._await_first(due)
        self._last = packet
        if self._unsent is None:
            self._unsent = packet
        self._unsent_packets += 1

    def _await_first(self, due: i64) -> None:
        """Put the delivery of the first packet on the heap."""
        if self._stale:
            self._loop.schedule(due, self._late)
        else:
            self._loop.push(due, self)

    def fire(self) -> None:
        """Deliver the packet that is due."""
        if self._stale and self._is_void():
            return
        packet = self._first
        assert packet is not None
        behind = packet.behind
        self._first = behind
        if packet is self._unsent:
            # It departs at this instant, or nobody has looked since it did.
            self._unsent = behind
            self._unsent_packets -= 1
            self._unsent_bytes -= packet.size
        if behind is None:
            self._last = None
        else:
            packet.behind = None
            if not self._stale:
                self._loop.push(behind.due, self)
            else:
                self._loop.schedule(behind.due, self._late)
        packet.due = IN_NO_PIPE
        self.packets += 1
        self.bytes += packet.size
        end = self._end
        if end is not None:
            end.deliver(packet)
        else:
            self._sink(packet)

    def queue_packets(self, now: int) -> int:
        """Return how many packets are waiting at ``now``, not counting the one in service."""
        self._settle(now)
        unsent = self._unsent_packets
        return unsent - 1 if unsent else 0

    def queue_bytes(self, now: int) -> int:
        """Return how many bytes are waiting at ``now``, not counting the packet in service."""
        self._settle(now)
        unsent = self._unsent
        if unsent is None:
            return 0
        return (self._unsent_bytes if self._weighs else self._weigh()) - unsent.size

    def busy_time(self, now: int) -> int:
        """Return for how many ns, until ``now``, the transmitter was busy."""
        return min(now, self._free) - self._created - self._idle

    def _settle(self, now: int) -> None:
        unsent = self._unsent
        while unsent is not None and unsent.departs <= now:
            self._unsent_packets -= 1
            self._unsent_bytes -= unsent.size
            self._unsent = unsent = unsent.behind

    def _weigh(self) -> int:
        """Return the bytes of the packets that have not left the transmitter."""
        total = 0
        packet = self._unsent
        while packet is not None:
            total += packet.size
            packet = packet.behind
        return total

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
        service = self._serialisation(packet.size)
        start: int = self._free
        if start <= now:
            if start < now:
                self._idle += now - start
                self._credit = min(self._burst, now - start)
                start = now
            spent = min(self._credit, service)
            self._credit -= spent
            service -= spent
        self._started = start
        departure: i64 = min(start + service, NEVER)
        due: i64 = departure + self._lasts
        if self._floor:
            if due < self._floor:
                due = self._floor
            else:
                self._floor = 0
                self._configured()
        self._append(packet, departure, due)
        self._unsent_bytes += packet.size

    def _configured(self) -> None:
        self._lasts = min(self.delay_ns, NEVER)
        self._slots = min(self.limit, NEVER)
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
        unsent = self._unsent
        if unsent is None:
            return
        until: int = unsent.departs
        rate = self._kept_rate if until == self._kept_until else before
        if anew:
            until = min(now + self._left(until - now, rate), NEVER)
            unsent.departs = until
            rate = self.rate_bps
        self._kept_until = until
        self._kept_rate = rate

    def _rate_changed(self, now: int) -> None:
        self._size = -1
        self._burst = self._burst_time()
        self._start_discipline()
        self._plan_anew(now, self._due())

    def _delay_changed(self, now: int) -> None:
        self._plan_anew(now, self._due())

    def _limit_changed(self) -> None:
        self._weighs = self.limit_in_bytes or self._qdisc is not None
        self._unsent_bytes = self._weigh()
        self._start_discipline()
        self._configured()

    def _start_discipline(self) -> None:
        """Tell the discipline its limit and the rate."""
        if self._qdisc is not None:
            self._qdisc.limit = self.limit
            self._qdisc.start(self.random_stream("qdisc"), self.rate_bps, self.limit_in_bytes)

    def _went_down(self, now: int) -> None:
        due = self._due()
        flight, unsent = self._take_all()
        lost: list[Packet] = []
        if self.settings.down_drops_queue and unsent:
            lost += unsent
            if len(unsent) > 1:
                self._started = now
            unsent = []
            self._free = now
        if self.settings.down_drops_flight:
            lost += [packet for packet in flight if packet.due > now]
            flight = [packet for packet in flight if packet.due <= now]
        for packet in lost:
            packet.due = IN_NO_PIPE
        self._put_back(flight, unsent)
        for packet in lost:
            self.drop(packet, DROP_DOWN)
        self._plan_anew(now, due)

    def _take_all(self) -> tuple[list[Packet], list[Packet]]:
        """Unlink all packets and return them: those in flight, and those that have not departed."""
        lists: tuple[list[Packet], list[Packet]] = ([], [])
        which = 0
        packet = self._first
        while packet is not None:
            if packet is self._unsent:
                which = 1
            lists[which].append(packet)
            behind = packet.behind
            packet.behind = None
            packet = behind
        self._first = self._last = self._unsent = None
        return lists

    def _put_back(self, flight: list[Packet], unsent: list[Packet]) -> None:
        """Link packets again."""
        last: Packet | None = None
        for packet in flight + unsent:
            if last is None:
                self._first = packet
            else:
                last.behind = packet
            last = packet
        self._last = last
        self._unsent = unsent[0] if unsent else None
        self._unsent_packets = len(unsent)
        self._unsent_bytes = self._weigh()

    def _due(self) -> int:
        """Return the instant of the pending event, or -1 without one."""
        return self._first.due if self._first is not None else -1

    def _plan_anew(self, now: int, due: int) -> None:
        """Compute departures and deliveries again for all packets but the one in service.

        Args:
            now: ns.
            due: the instant of the event that was pending before anything was changed, or -1.
        """
        last = 0
        packet = self._first
        while packet is not None and packet is not self._unsent:
            last = packet.due
            packet = packet.behind
        if packet is not None:
            departure: int = packet.departs
            while packet is not None:
                if packet is not self._unsent:
                    self._started = departure
                    departure = min(departure + self._serialisation(packet.size), NEVER)
                packet.departs = departure
                last = packet.due = min(max(last, departure + self.delay_ns), NEVER)
                packet = packet.behind
            self._free = departure
        self._floor = last if last > now + self.delay_ns else 0
        head = self._due()
        if head != due:
            if due >= 0:
                self._stale.append(due)
            if head >= 0:
                self._loop.schedule(head, self._late)
        self._configured()

    def _is_void(self) -> bool:
        """Return whether the event that is happening was overtaken by a change; forget it then."""
        now = self._loop.now
        if now in self._stale:
            self._stale.remove(now)
            return True
        return False
