"""What waits in front of a transmitter: one FIFO queue, or several and a scheduler.

``GeneralPipe`` asks a ``PacketQueue`` for the next packet whenever its transmitter is free. There are

* ``Fifo``: one queue, with a limit, a discipline (RED, CoDel, PIE, ...) and, as ``ipfw queue`` has
  them, losses of its own;
* ``HashedQueues``: a queue for each hash of addresses and ports, the scheduler being the link's qdisc;
* ``LinkQueues``: queues that were added, each with an entrance of its own.

Whoever wants to know how many packets were dropped asks the pipe; a ``Fifo`` counts its own besides.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final
from zlib import crc32

from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.guard import failure
from mptcpsim.net.loss import LossModel
from mptcpsim.net.pipe import DROP_LOSS, DROP_QUEUE, Pipe
from mptcpsim.plugins import PASS, FlowQueue, QueueDiscipline, QueueScheduler

#: Packets that the longest queue loses at once, at most, when there are too many (RFC 8290 section 4.1).
MOST_DROPPED_AT_ONCE: Final = 64


class PacketQueue(FlowQueue):
    """Packets that wait; ``packets`` and ``bytes`` count them."""

    __slots__ = ()

    def admit(self, packet: Packet, now: int) -> Packet | None:
        """Return a packet that may join, maybe with a mark; None: it was dropped."""
        raise NotImplementedError

    def full(self, packet: Packet) -> bool:
        """Return whether there is no room for one more packet like this one."""
        raise NotImplementedError

    def enqueue(self, packet: Packet, now: int) -> None:
        """Take a packet that was admitted."""
        raise NotImplementedError

    def dequeue(self, now: int) -> Packet | None:
        """Remove and return the packet to be served next; None: there is none any more."""
        raise NotImplementedError

    def discard(self, now: int, reason: str) -> None:
        """Drop all packets."""
        raise NotImplementedError

    def rate_changed(self, rate_bps: int) -> None:
        """Tell the disciplines about another rate of the link, bit/s."""
        raise NotImplementedError

    def set_limit(self, limit: int, in_bytes: bool) -> None:
        """Change the limit of the one queue; several queues have limits of their own."""


class Fifo(PacketQueue):
    """First in, first out.

    Attributes:
        limit, limit_in_bytes: of the queue.
        loss: which packets are lost before they join; None: none.
        discipline: judges packets at arrival and at departure; None: drop-tail.
        passed: packets that went on to the link.
        passed_bytes: of those.
        marks: packets that got a congestion mark.
        drops: by reason.
    """

    __slots__ = (
        "_emptied",
        "_entries",
        "_owner",
        "_rng",
        "discipline",
        "drops",
        "limit",
        "limit_in_bytes",
        "loss",
        "marks",
        "passed",
        "passed_bytes",
    )

    def __init__(
        self,
        owner: Pipe,
        limit: int,
        limit_in_bytes: bool,
        now: int,
        discipline: QueueDiscipline | None = None,
        rng: random.Random | None = None,
        loss: LossModel | None = None,
        weight: int = 1,
    ) -> None:
        """Make an empty queue.

        Args:
            owner: the pipe that it is part of; counts its drops.
            limit: slots or bytes.
            limit_in_bytes: which of them.
            now: ns.
            discipline: configured; it is started here.
            rng: of the discipline; None: the pipe's.
            loss: which packets are lost before they join.
            weight: for a scheduler.
        """
        super().__init__(weight)
        self.limit = limit
        self.limit_in_bytes = limit_in_bytes
        self.discipline = discipline
        self.loss = loss
        self.passed: int = 0
        self.passed_bytes: int = 0
        self.marks: int = 0
        self.drops: dict[str, int] = {}
        self._owner = owner
        #: Packets, each with the instant of its arrival.
        self._entries: deque[tuple[Packet, int]] = deque()
        #: Since when no packet is waiting.
        self._emptied: int = now
        self._rng: random.Random = rng or owner.random_stream("qdisc")
        self.rate_changed(owner.rate_bps)

    def admit(self, packet: Packet, now: int) -> Packet | None:
        """Make dummynet's tests, in its order: loss, discipline, limit."""
        loss = self.loss
        if loss is not None and loss.lost():
            self.drop(packet, DROP_LOSS)
            return None
        discipline = self.discipline
        if discipline is not None:
            idle = 0 if self.packets else now - self._emptied
            verdict = discipline.on_arrival(packet.size, self.packets, self.bytes, idle, now)
            if verdict != PASS:
                kept = self._judged(packet, verdict, discipline.NAME)
                if kept is None:
                    return None
                packet = kept
        if self.full(packet):
            self.drop(packet, DROP_QUEUE)
            return None
        return packet

    def full(self, packet: Packet) -> bool:
        """Return whether as many packets wait as the limit says, or more bytes than it says."""
        if self.limit_in_bytes:
            return self.bytes > self.limit
        return self.packets >= self.limit

    def enqueue(self, packet: Packet, now: int) -> None:
        """Take a packet at the tail."""
        self._entries.append((packet, now))
        size = packet.size
        if self.packets == 0:
            self.head = size
        self.packets += 1
        self.bytes += size

    def dequeue(self, now: int) -> Packet | None:
        """Take the first packet from the head that the discipline lets pass."""
        discipline = self.discipline
        if discipline is not None and not discipline.AT_DEPARTURE:
            discipline = None
        while self.packets:
            packet, arrived = self._pop(now)
            if discipline is not None:
                verdict = discipline.on_departure(packet.size, now - arrived, self.bytes, now)
                if verdict != PASS:
                    kept = self._judged(packet, verdict, discipline.NAME)
                    if kept is None:
                        continue
                    packet = kept
            self.passed += 1
            self.passed_bytes += packet.size
            return packet
        return None

    def drop_head(self, now: int, reason: str) -> int:
        """Drop the packet at the head; return its bytes."""
        packet = self._pop(now)[0]
        self.drop(packet, reason)
        return packet.size

    def discard(self, now: int, reason: str) -> None:
        """Drop all packets."""
        while self.packets:
            self.drop_head(now, reason)

    def rate_changed(self, rate_bps: int) -> None:
        """Tell the discipline."""
        if self.discipline is not None:
            self.discipline.limit = self.limit
            self.discipline.start(self._rng, rate_bps, self.limit_in_bytes)

    def set_limit(self, limit: int, in_bytes: bool) -> None:
        """Change the limit, slots or bytes; what is waiting beyond it stays."""
        self.limit = limit
        self.limit_in_bytes = in_bytes
        self.rate_changed(self._owner.rate_bps)

    def drop(self, packet: Packet, reason: str) -> None:
        """Count a packet that ends here."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        self._owner.drop(packet, reason)

    def _pop(self, now: int) -> tuple[Packet, int]:
        entries = self._entries
        entry = entries.popleft()
        self.packets -= 1
        self.bytes -= entry[0].size
        if self.packets:
            self.head = entries[0][0].size
        else:
            self.head = 0
            self._emptied = now
        return entry

    def _judged(self, packet: Packet, verdict: int, reason: str) -> Packet | None:
        kept = self._owner.mark_or_drop(packet, verdict, reason)
        if kept is None:
            self.drops[reason] = self.drops.get(reason, 0) + 1
        else:
            self.marks += 1
        return kept


class ScheduledQueues(PacketQueue):
    """Several queues, of which a scheduler chooses one whenever the link is free.

    Attributes:
        scheduler: chooses.
        fifos: the queues, in the order in which they were made.
    """

    __slots__ = ("_owner", "fifos", "scheduler")

    def __init__(self, owner: Pipe, scheduler: QueueScheduler) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.fifos: list[Fifo] = []
        self._owner = owner

    def queue_of(self, packet: Packet, now: int) -> Fifo:
        """Return the queue that a packet belongs to."""
        raise NotImplementedError

    def admit(self, packet: Packet, now: int) -> Packet | None:
        """Make the tests of the packet's queue."""
        return self.queue_of(packet, now).admit(packet, now)

    def full(self, packet: Packet) -> bool:
        """Return whether the packet's queue is full."""
        return self.queue_of(packet, 0).full(packet)

    def enqueue(self, packet: Packet, now: int) -> None:
        """Put a packet into its queue."""
        fifo = self.queue_of(packet, now)
        fifo.enqueue(packet, now)
        self.packets += 1
        self.bytes += packet.size
        self.scheduler.arrived(fifo, packet.size, now)

    def dequeue(self, now: int) -> Packet | None:
        """Take a packet from the queue that the scheduler selects.

        Raises:
            PluginFailure: it selects an empty queue, or none although packets wait.
        """
        scheduler = self.scheduler
        while self.packets:
            fifo = scheduler.select(now)
            if not isinstance(fifo, Fifo) or fifo.packets == 0:
                what = "an empty" if isinstance(fifo, Fifo) else "no"
                raise failure(
                    scheduler,
                    "select",
                    f"selected {what} queue of {self._owner.name} while {self.packets} packets wait; "
                    "allowed is a queue that holds packets",
                )
            packets, waiting = fifo.packets, fifo.bytes
            packet = fifo.dequeue(now)
            self.packets -= packets - fifo.packets
            self.bytes -= waiting - fifo.bytes
            if packet is not None:
                scheduler.served(fifo, packet.size, now)
                return packet
        scheduler.select(now)  # it may want to know that the link has become idle
        return None

    def discard(self, now: int, reason: str) -> None:
        """Drop all packets."""
        for fifo in self.fifos:
            self.discard_from(fifo, now, reason)

    def discard_from(self, fifo: Fifo, now: int, reason: str) -> None:
        """Drop the packets of one queue."""
        self.packets -= fifo.packets
        self.bytes -= fifo.bytes
        fifo.discard(now, reason)

    def rate_changed(self, rate_bps: int) -> None:
        """Tell the disciplines of all queues."""
        for fifo in self.fifos:
            fifo.rate_changed(rate_bps)


class LinkQueues(ScheduledQueues):
    """Queues that are added one by one; a packet comes in through the one that it belongs to.

    Attributes:
        entered: the queue of the packet that is being sent into the pipe.
    """

    __slots__ = ("entered",)

    def __init__(self, owner: Pipe, scheduler: QueueScheduler) -> None:
        super().__init__(owner, scheduler)
        self.entered: Fifo | None = None

    def queue_of(self, packet: Packet, now: int) -> Fifo:
        """Return the queue that the packet came in through."""
        assert self.entered is not None
        return self.entered


class HashedQueues(ScheduledQueues):
    """A queue for each hash of addresses and ports; the limit is one of all packets together.

    The hash is computed once a flow. Queues are made when their first packets come.
    """

    __slots__ = ("_by_flow", "_by_hash", "_salt")

    def __init__(self, owner: Pipe, scheduler: QueueScheduler) -> None:
        super().__init__(owner, scheduler)
        self._by_flow: dict[FourTuple, Fifo] = {}
        self._by_hash: dict[int, Fifo] = {}
        # Which flows share a queue depends on the run's seed (RFC 8290 section 4.1.1).
        self._salt: bytes = str(owner.random_stream("hash").random()).encode()

    def queue_of(self, packet: Packet, now: int) -> Fifo:
        """Return the queue of a packet's flow."""
        fifo = self._by_flow.get(packet.flow)
        if fifo is None:
            flow = packet.flow
            text = f" {flow.src} {flow.sport} {flow.dst} {flow.dport}"
            number = crc32(self._salt + text.encode()) % self.scheduler.flows
            fifo = self._by_hash.get(number)
            if fifo is None:
                fifo = self._by_hash[number] = self._make(now)
            self._by_flow[flow] = fifo
        return fifo

    def full(self, packet: Packet) -> bool:
        """Return whether one more packet is refused, rather than lets the longest queue lose some."""
        return not self.scheduler.DROPS_FROM_LONGEST and self.packets >= self.scheduler.limit

    def admit(self, packet: Packet, now: int) -> Packet | None:
        """Make the tests of the packet's queue, then the one of all queues."""
        fifo = self.queue_of(packet, now)
        kept = fifo.admit(packet, now)
        if kept is not None and self.full(kept):
            fifo.drop(kept, DROP_QUEUE)
            return None
        return kept

    def enqueue(self, packet: Packet, now: int) -> None:
        """Put a packet into its queue; shorten the longest queue if there are too many packets."""
        super().enqueue(packet, now)
        if self.packets > self.scheduler.limit:
            self._shorten_longest(now)

    def _shorten_longest(self, now: int) -> None:
        """Drop from the head of the queue with the most bytes half of its packets, at most 64.

        That many at once, so that the search is paid for by the drops (RFC 8290 section 4.1).
        """
        longest = self.fifos[0]
        for fifo in self.fifos:
            if fifo.bytes > longest.bytes:
                longest = fifo
        for _ in range(max(1, min(longest.packets // 2, MOST_DROPPED_AT_ONCE))):
            self.bytes -= longest.drop_head(now, DROP_QUEUE)
            self.packets -= 1

    def _make(self, now: int) -> Fifo:
        # The one limit is that of all queues: no queue can reach it before.
        limit = self.scheduler.limit + 1
        fifo = Fifo(self._owner, limit, False, now, self.scheduler.discipline())
        self.fifos.append(fifo)
        return fifo
