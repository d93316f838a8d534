"""Pipes: one direction of a link, with dummynet's semantics.

A packet passes, in this order: random loss, active queue management (RED, CoDel,
...), the queue limit, the queue (a FIFO, or several with a scheduler: ``net.queues``),
the transmitter and the delay line. The rules are those of dummynet (ipfw(8), section on
traffic shaping), with exact times instead of ticks:

* A limit in slots refuses a packet when that many are waiting; a limit in bytes
  refuses it when the bytes waiting already *exceed* the limit. The packet in
  service is not waiting.
* Serialisation takes the ceiling of bytes x 8e9 / rate nanoseconds, without carry
  to the next packet. Rate 0 is no limit.
* A departure at an instant precedes an arrival at that instant, and every change.
* A new rate does not touch the packet in service; those behind it are planned anew.
* A new delay holds for packets that leave the transmitter after the change. A
  shorter one never reorders: no packet arrives before the one in front of it.
* A link that goes down drops what is waiting or in service; what is in flight
  arrives. While it is down, whatever is sent into it is dropped.

There are two implementations. ``fifo.FifoPipe`` computes the departure of a packet
when it arrives, and has one event pending, however many packets it holds.
``general.GeneralPipe`` has an event for each step and can do what needs a decision
later than at arrival. They agree to the nanosecond; ``general.make_pipe`` chooses.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mypy_extensions import i64, mypyc_attr

from mptcpsim.core.segment import CE, NOT_ECT, Packet
from mptcpsim.net.loss import LossModel, random_loss
from mptcpsim.net.pipe_settings import DROP_TAIL as DROP_TAIL
from mptcpsim.net.pipe_settings import PipeSettings as PipeSettings
from mptcpsim.net.pipe_settings import check_limit
from mptcpsim.plugins import MARK, PluginError, QueueDiscipline, QueueScheduler, Value, create
from mptcpsim.sim.loop import Loop, LoopEvent
from mptcpsim.streams import stream

# Reasons for which a pipe drops; a discipline's drops are counted under its name.
DROP_LOSS: Final = "loss"
DROP_QUEUE: Final = "queue"
DROP_DOWN: Final = "down"
DROP_PROFILE: Final = "profile"

#: Bits in a byte times nanoseconds in a second.
_BIT_TIMES: Final = 8_000_000_000


def make_discipline(name: str, parameters: dict[str, Value]) -> QueueDiscipline | None:
    """Return a new discipline of a single queue, configured and not yet started; None: drop-tail.

    Raises:
        PluginError: it is unknown, a parameter of it is wrong, or it is for several queues.
    """
    if name == DROP_TAIL:
        return None
    discipline = create("qdisc", name, parameters)
    if not isinstance(discipline, QueueDiscipline):
        raise PluginError(f"qdisc {name!r} is none for a single queue")
    return discipline


def make_scheduler(name: str, parameters: dict[str, Value]) -> QueueScheduler:
    """Return a new scheduler of several queues, configured.

    Raises:
        PluginError: it is unknown, a parameter of it is wrong, or it is for a single queue.
    """
    scheduler = create("qdisc", name, parameters)
    if not isinstance(scheduler, QueueScheduler):
        raise PluginError(f"qdisc {name!r} is none for several queues")
    return scheduler


def _nowhere(packet: Packet) -> None:
    """Refuse a packet that comes out of a pipe whose end is not connected."""
    raise RuntimeError(f"the pipe that carried {packet!r} has no sink")


@mypyc_attr(allow_interpreted_subclasses=True)
class PipeEnd:
    """What can stand at the far end of a pipe."""

    __slots__ = ()

    def deliver(self, packet: Packet) -> None:
        """Take a packet that arrives from the pipe."""
        raise NotImplementedError


def _in_ticks(settings: PipeSettings, delay_ns: int) -> int:
    """Return a delay as the kernel that is copied would have it: in whole ticks."""
    tick = settings.tick_ns
    return -(-delay_ns // tick) * tick if tick else delay_ns


def _stream_of(seed: int, name: str, purpose: str) -> random.Random:
    return stream(seed, f"pipe/{name}/{purpose}")


class Pipe(LoopEvent):
    """What both implementations have in common: settings, tests at arrival, statistics.

    A pipe is the event of its own next delivery, where it has one at a time (``FifoPipe``).

    Attributes:
        name: for people, and for the names of the random streams.
        kind: ``"fifo"`` or ``"general"``: which implementation it is.
        settings: as given; the attributes below follow later changes.
        sink: takes the packets at the far end; ``lead_to`` sets it to an interface's ``deliver``.
        rate_bps, delay_ns, up: set by ``set_rate``, ``set_delay``, ``set_up``.
        limit, limit_in_bytes: the queue limit; set by ``set_limit``.
        packets, bytes: delivered at the far end, IP packets and their bytes.
        drops: packets dropped, by reason.
        marks: packets that got a congestion mark (ECN).
        duplicates: copies made. Packets sent + duplicates = delivered + dropped + still inside.
        corrupted: packets with a bit flipped.
        on_drop: called as ``on_drop(packet, reason)`` for each packet dropped, if set.
    """

    __slots__ = (
        "_corrupt",
        "_duplicate",
        "_end",
        "_loop",
        "_loss",
        "_seed",
        "_sink",
        "_streams",
        "bytes",
        "corrupted",
        "delay_ns",
        "drops",
        "duplicates",
        "kind",
        "limit",
        "limit_in_bytes",
        "marks",
        "name",
        "on_drop",
        "packets",
        "rate_bps",
        "settings",
        "up",
    )

    def __init__(self, loop: Loop, name: str, settings: PipeSettings, seed: int, kind: str) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.settings = settings
        #: Where packets go: to an interface by a call that the compiler knows, or else to any function.
        self._end: PipeEnd | None = None
        self._sink: Callable[[Packet], None] = _nowhere
        self.on_drop: Callable[[Packet, str], None] | None = None
        self.rate_bps: int = settings.rate_bps
        self.delay_ns: int = _in_ticks(settings, settings.delay_ns)
        self.limit: int = settings.limit
        self.limit_in_bytes: bool = settings.limit_in_bytes
        self.up: bool = True
        self.packets: i64 = 0
        self.bytes: i64 = 0
        self.drops: dict[str, int] = {}
        self.marks: int = 0
        self.duplicates: int = 0
        self.corrupted: int = 0
        self._loop = loop
        self._seed = seed
        self._streams: dict[str, random.Random] = {}
        self._duplicate: float = settings.duplicate
        self._corrupt: float = settings.corrupt
        self._loss: LossModel | None = None
        if settings.plr:
            # No method is called here: the compiler knows then that no attribute can be missing later.
            self._streams["loss"] = losses = _stream_of(seed, name, "loss")
            self._loss = random_loss(settings.plr, losses)

    # --- what a user of a pipe calls ------------------------------------------------------

    @property
    def sink(self) -> Callable[[Packet], None]:
        """What takes the packets at the far end."""
        return self._sink

    @sink.setter
    def sink(self, sink: Callable[[Packet], None]) -> None:
        self._sink = sink
        self._end = None

    def lead_to(self, end: PipeEnd) -> None:
        """Deliver to ``end`` from now on, with nothing between it and the pipe."""
        self._sink = end.deliver
        self._end = end

    def send(self, packet: Packet) -> None:
        """Take a packet at the near end, now."""
        self._send_checked(packet)

    def set_rate(self, rate_bps: int, in_service: bool = False) -> None:
        """Change the rate, bit/s (0 for unlimited), from now on.

        Args:
            rate_bps: the new rate.
            in_service: what is left of the packet in service goes at the new rate, too; else it
                is transmitted to its end at the rate with which it has begun.

        Raises:
            ValueError: the rate is negative.
        """
        if rate_bps < 0:
            raise ValueError("a rate cannot be negative")
        now = self._loop.now
        self._settle(now)
        before = self.rate_bps
        self.rate_bps = rate_bps
        self._retime(now, before, in_service)
        self._rate_changed(now)
        self._settle(now)

    def set_delay(self, delay_ns: int) -> None:
        """Change the delay, ns, of the packets that leave the transmitter from now on.

        Raises:
            ValueError: the delay is negative.
        """
        if delay_ns < 0:
            raise ValueError("a delay cannot be negative")
        now = self._loop.now
        self._settle(now)
        self.delay_ns = _in_ticks(self.settings, delay_ns)
        self._delay_changed(now)

    def set_limit(self, limit: int, in_bytes: bool) -> None:
        """Change the queue limit, slots or bytes, from now on; what is waiting beyond it stays.

        Raises:
            ValueError: the limit is less than a queue needs.
        """
        check_limit(limit, in_bytes)
        self._settle(self._loop.now)
        self.limit = limit
        self.limit_in_bytes = in_bytes
        self._limit_changed()

    def set_burst(self, burst_bits: int) -> None:
        """Change how many bits may pass at once after the pipe was idle.

        Raises:
            ValueError: the number is negative.
        """
        now = self._loop.now
        self._settle(now)
        self.settings = replace(self.settings, burst_bits=burst_bits)
        self._rate_changed(now)

    def set_loss(self, loss: LossModel | None) -> None:
        """Replace the loss model; None loses nothing."""
        self._loss = loss
        self._configured()

    def set_up(self, up: bool) -> None:
        """Take the pipe up or down; see ``PipeSettings`` for what is dropped."""
        if up == self.up:
            return
        now = self._loop.now
        self._settle(now)
        self.up = up
        if not up:
            self._went_down(now)
        self._configured()

    def random_stream(self, purpose: str) -> random.Random:
        """Return this pipe's own stream of random numbers for a purpose such as ``"loss"``."""
        rng = self._streams.get(purpose)
        if rng is None:
            rng = self._streams[purpose] = _stream_of(self._seed, self.name, purpose)
        return rng

    def queue_packets(self, now: int) -> int:
        """Return how many packets are waiting at ``now``, not counting the one in service."""
        raise NotImplementedError

    def queue_bytes(self, now: int) -> int:
        """Return how many bytes are waiting at ``now``, not counting the packet in service."""
        raise NotImplementedError

    def busy_time(self, now: int) -> int:
        """Return for how many ns, until ``now``, the transmitter was busy."""
        raise NotImplementedError

    # --- what an implementation provides --------------------------------------------------

    def _settle(self, now: int) -> None:
        """Let everything depart that is due at ``now``."""
        raise NotImplementedError

    def _enqueue(self, packet: Packet, now: int) -> None:
        """Take a packet that passed all tests."""
        raise NotImplementedError

    def _admit(self, packet: Packet, now: int) -> Packet | None:
        """Return a packet that may join the queue, maybe with a mark; None: it was dropped."""
        raise NotImplementedError

    def _full(self, packet: Packet, now: int) -> bool:
        """Return whether there is no room for one more packet like this one."""
        raise NotImplementedError

    def _retime(self, now: int, before: int, anew: bool) -> None:
        """Give the packet in service another end after the rate has changed, or note its rate.

        Args:
            now: ns.
            before: the rate until now, bit/s.
            anew: what is left of the packet goes at the new rate.
        """
        raise NotImplementedError

    def _left(self, left_ns: int, rate_bps: int) -> int:
        """Return the ns that what takes ``left_ns`` at a rate takes at the present one."""
        return -(-left_ns * rate_bps // self.rate_bps) if self.rate_bps else 0

    def _rate_changed(self, now: int) -> None:
        raise NotImplementedError

    def _delay_changed(self, now: int) -> None:
        raise NotImplementedError

    def _limit_changed(self) -> None:
        raise NotImplementedError

    def _went_down(self, now: int) -> None:
        raise NotImplementedError

    def _configured(self) -> None:
        """Note that the tests at arrival have changed."""

    # --- the tests at arrival -------------------------------------------------------------

    def _send_checked(self, packet: Packet) -> None:
        """Take a packet at the near end: every test, in dummynet's order."""
        now = self._loop.now
        self._settle(now)
        if not self.up:
            self.drop(packet, DROP_DOWN)
            return
        loss = self._loss
        if loss is not None and loss.lost():
            self.drop(packet, DROP_LOSS)
            return
        kept = self._admit(packet, now)
        if kept is None:
            return
        packet = kept
        if self._duplicate > 0.0 and self.random_stream("duplicate").random() < self._duplicate:
            copy = packet.clone()
            self.duplicates += 1
            self._enter(packet, now)
            if self._full(copy, now):
                self.drop(copy, DROP_QUEUE)
            else:
                self._enter(copy, now)
            return
        self._enter(packet, now)

    def _enter(self, packet: Packet, now: int) -> None:
        """Put a packet into the queue; what happens to its bits on the way happens here."""
        if self._corrupt > 0.0 and self.random_stream("corrupt").random() < self._corrupt:
            packet = packet.clone()
            packet.damaged = True
            self.corrupted += 1
        self._enqueue(packet, now)

    def mark_or_drop(self, packet: Packet, verdict: int, reason: str) -> Packet | None:
        """Return the packet with a congestion mark, or None: it cannot have one, and is dropped."""
        if verdict == MARK and packet.ecn != NOT_ECT:
            self.marks += 1
            if packet.ecn != CE:
                packet = packet.clone()
                packet.ecn = CE
            return packet
        self.drop(packet, reason)
        return None

    def drop(self, packet: Packet, reason: str) -> None:
        """Count a packet that ends here."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.on_drop is not None:
            self.on_drop(packet, reason)

    def _serialisation(self, size: int) -> int:
        """Return the ns that a packet of ``size`` bytes occupies the transmitter."""
        rate = self.rate_bps
        if rate == 0:
            return 0
        return -(-(size + self.settings.overhead_bytes) * _BIT_TIMES // rate)

    def _burst_time(self) -> int:
        """Return the burst credit as ns of transmission at the present rate."""
        return self.settings.burst_bits * 1_000_000_000 // self.rate_bps if self.rate_bps else 0
