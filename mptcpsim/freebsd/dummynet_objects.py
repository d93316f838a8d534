"""Pipes, schedulers and queues of dummynet, as ``dummynet_host`` makes and changes them.

As in FreeBSD, ``pipe N`` is two links with the same bandwidth and delay: the packets of rules
``pipe N`` go through one with a FIFO queue, those of queues that are joined to pipe N through another one
with the scheduler N (WF2Q+ unless ``sched N config`` says otherwise). Each has an instance for every flow
under the mask of the pipe, or of the scheduler.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from mptcpsim.freebsd.dummynet_config import Config, Mask
from mptcpsim.freebsd.dummynet_settings import Discipline, flow_key, narrowed
from mptcpsim.freebsd.dummynet_show import QueueReport, flow_lines, link_text, queue_lines, sched_lines
from mptcpsim.net.loss import random_loss
from mptcpsim.net.pipe import DROP_DOWN, DROP_TAIL, Pipe, PipeSettings, make_discipline, make_scheduler
from mptcpsim.net.policy import Queue
from mptcpsim.net.queues import Fifo
from mptcpsim.net.shared import FlowKey, FlowTable, LinkEntrance, SharedLink, SharedPipe
from mptcpsim.sim.loop import Loop
from mptcpsim.streams import stream

#: Why a packet is dropped that waits in what is configured anew, or deleted.
DROP_RECONFIGURED: Final = "reconfigured"


def _retune(pipe: Pipe, old: PipeSettings, new: PipeSettings) -> None:
    """Change what a link can change with packets inside: bandwidth, delay and burst."""
    if new.rate_bps != old.rate_bps:
        pipe.set_rate(new.rate_bps)
    if new.delay_ns != old.delay_ns:
        pipe.set_delay(new.delay_ns)
    if new.burst_bits != old.burst_bits:
        pipe.set_burst(new.burst_bits)


def _close(pipe: Pipe) -> None:
    """Drop what waits; what has left the transmitter arrives."""
    pipe.set_up(False)
    dropped = pipe.drops.pop(DROP_DOWN, 0)
    if dropped:
        pipe.drops[DROP_RECONFIGURED] = pipe.drops.get(DROP_RECONFIGURED, 0) + dropped


def _label(name: str, generation: int, key: FlowKey) -> str:
    """Return the name of an instance: unique, for the random streams."""
    name += f"/{generation}" if generation else ""
    return name + (f" {'-'.join(map(str, key))}" if key else "")


class DummynetObject:
    """What has a number.

    Attributes:
        config: as configured last.
    """

    config: Config

    def close(self) -> None:
        """Drop what waits; what has left the transmitters arrives."""
        raise NotImplementedError

    def reports(self) -> list[QueueReport]:
        """Return what each instance has done, those that were closed included."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Return what ``ipfw pipe | queue | sched show`` prints of it."""
        raise NotImplementedError


class PipeObject(DummynetObject):
    """A queue, or those of a discipline such as FQ-CoDel, and a link; one of both for each flow under a mask.

    Attributes:
        settings: what the configuration came to.
        queue: takes packets.
    """

    def __init__(
        self, loop: Loop, kind: str, name: str, config: Config, settings: PipeSettings, seed: int
    ) -> None:
        self.config = config
        self.settings = settings
        self._loop = loop
        self._kind = kind
        self._name = name
        self._seed = seed
        self._generation = 0
        self._pipes: dict[FlowKey, Pipe] = {}
        self._closed: list[tuple[FlowKey, Pipe]] = []
        self.queue: Queue = self._entrance()

    def reconfigure(self, config: Config, settings: PipeSettings) -> None:
        """Take another configuration while packets are inside."""
        old, self.settings = self.settings, settings
        mask, self.config = self.config.mask, config
        changed = replace(
            old,
            rate_bps=settings.rate_bps,
            delay_ns=settings.delay_ns,
            burst_bits=settings.burst_bits,
            limit=settings.limit,
            limit_in_bytes=settings.limit_in_bytes,
            plr=settings.plr,
        )
        if mask != config.mask or changed != settings:
            self.close()
            self.queue = self._entrance()
            return
        for pipe in self._pipes.values():
            _retune(pipe, old, settings)
            pipe.set_limit(settings.limit, settings.limit_in_bytes)
            if settings.plr != old.plr:
                pipe.set_loss(random_loss(settings.plr, pipe.random_stream("loss")))

    def close(self) -> None:
        """Drop what waits in all instances."""
        for pipe in self._pipes.values():
            _close(pipe)
        self._closed += self._pipes.items()
        self._pipes = {}
        self._generation += 1

    def reports(self) -> list[QueueReport]:
        """Return what each instance has done."""
        now = self._loop.now
        return [
            QueueReport(
                self._kind,
                pipe.name,
                key,
                pipe.packets,
                pipe.bytes,
                pipe.queue_packets(now),
                pipe.queue_bytes(now),
                pipe.marks,
                dict(sorted(pipe.drops.items())),
            )
            for key, pipe in [*self._closed, *self._pipes.items()]
        ]

    def lines(self) -> list[str]:
        """Return what ``ipfw pipe show`` prints of it."""
        return [
            link_text(self.config.number, self.settings),
            *queue_lines(self.config, self.settings, len(self._pipes), self.config.number),
            *flow_lines(self.reports()),
        ]

    def _entrance(self) -> Queue:
        mask = self.config.mask
        if mask is None or not any(mask):
            return self._make(())
        return FlowTable(lambda packet: flow_key(mask, packet), self._make)

    def _make(self, key: FlowKey) -> SharedPipe:
        shared = SharedPipe(self._loop, _label(self._name, self._generation, key), self.settings, self._seed)
        self._pipes[key] = shared.pipe
        return shared


class SchedObject(DummynetObject):
    """A scheduler and the link that its queues share; one for each flow under its mask.

    Attributes:
        kind: its type, such as ``wf2q+``.
        settings: of the link.
        alone: of a type with queues of its own (fifo, fq_codel, fq_pie): all that there is to it.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        config: Config,
        kind: str,
        settings: PipeSettings,
        seed: int,
    ) -> None:
        """Make one; the settings name the scheduler as their discipline, except for fifo."""
        self.config = config
        self.kind = kind
        self.settings = settings
        self.alone: PipeObject | None = None
        self._loop = loop
        self._name = name
        self._seed = seed
        self._links: dict[FlowKey, SharedLink] = {}
        if kind == "fifo" or kind.startswith("fq_"):
            self.alone = PipeObject(loop, "sched", name, config, settings, seed)

    def retune(self, link: PipeSettings) -> None:
        """Take other properties of the link while packets are inside; queues and discipline stay its own."""
        old = self.settings
        settings = self.settings = replace(
            old,
            rate_bps=link.rate_bps,
            delay_ns=link.delay_ns,
            burst_bits=link.burst_bits,
            profile=link.profile,
            profile_lost_from=link.profile_lost_from,
        )
        if self.alone is not None:
            self.alone.reconfigure(self.config, settings)
        for shared in self._links.values():
            _retune(shared.pipe, old, settings)
            shared.pipe.settings = replace(
                shared.pipe.settings, profile=settings.profile, profile_lost_from=settings.profile_lost_from
            )

    def link(self, key: FlowKey) -> SharedLink:
        """Return the link of the flow with a key under the scheduler's mask."""
        found = self._links.get(key)
        if found is None:
            scheduler = make_scheduler(self.settings.qdisc, self.settings.qdisc_parameters)
            settings = replace(self.settings, qdisc=DROP_TAIL, qdisc_parameters={})
            found = SharedLink(self._loop, _label(self._name, 0, key), settings, scheduler, self._seed)
            self._links[key] = found
        return found

    def close(self) -> None:
        """Drop what waits; what has left the transmitters arrives."""
        if self.alone is not None:
            self.alone.close()
        for link in self._links.values():
            link.queues.discard(self._loop.now, DROP_RECONFIGURED)
            _close(link.pipe)

    def reports(self) -> list[QueueReport]:
        """Return what each instance has done; what queues have dropped stands in their own reports."""
        if self.alone is not None:
            return self.alone.reports()
        now = self._loop.now
        found = []
        for key, link in self._links.items():
            pipe = link.pipe
            drops = dict(pipe.drops)
            for fifo in link.queues.fifos:
                for reason, count in fifo.drops.items():
                    drops[reason] -= count
            waiting = (pipe.queue_packets(now), pipe.queue_bytes(now))
            left = {reason: count for reason, count in sorted(drops.items()) if count}
            found.append(
                QueueReport("sched", pipe.name, key, pipe.packets, pipe.bytes, *waiting, pipe.marks, left)
            )
        return found

    def lines(self) -> list[str]:
        """Return what ``ipfw sched show`` prints of it."""
        return [
            link_text(self.config.number, self.settings),
            *sched_lines(self.config, self.kind),
            *flow_lines(self.reports()),
        ]


class QueueObject(DummynetObject):
    """``ipfw queue N``: queues that feed a scheduler, one for each flow under the mask.

    Attributes:
        sched: that it feeds; None while there is none.
        queue: takes packets; None while there is no scheduler.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        config: Config,
        limit: tuple[int, bool],
        discipline: Discipline,
        seed: int,
    ) -> None:
        self.config = config
        self.sched: SchedObject | None = None
        self.queue: Queue | None = None
        self._loop = loop
        self._name = name
        self._seed = seed
        self._limit = limit
        self._discipline = discipline
        self._generation = 0
        self._entrances: dict[FlowKey, LinkEntrance] = {}
        self._closed: list[tuple[FlowKey, LinkEntrance]] = []

    def reconfigure(self, config: Config, limit: tuple[int, bool], discipline: Discipline) -> None:
        """Take another configuration while packets are inside."""
        old, self.config = self.config, config
        same = discipline == self._discipline and old.mask == config.mask and old.parent == config.parent
        self._limit, self._discipline = limit, discipline
        if not same:
            self.close()
            return
        for key, entrance in self._entrances.items():
            fifo = entrance.fifo
            fifo.weight = config.weight or 1
            fifo.set_limit(*limit)
            if old.plr != config.plr:
                fifo.loss = random_loss(config.plr or (), self._stream(key, "loss"))

    def join(self, sched: SchedObject | None) -> None:
        """Feed a scheduler from now on, or none; what waits elsewhere is dropped."""
        if sched is not self.sched:
            self.close()
            self.sched = sched
        if sched is None:
            return
        if sched.alone is not None:
            self.queue = sched.alone.queue
        elif self.queue is None:
            self.queue = self._entrance(sched)

    def close(self) -> None:
        """Drop what waits, and take no more packets."""
        now = self._loop.now
        for entrance in self._entrances.values():
            entrance.link.queues.discard_from(entrance.fifo, now, DROP_RECONFIGURED)
        self._closed += self._entrances.items()
        self._entrances = {}
        self._generation += 1
        self.queue = None

    def reports(self) -> list[QueueReport]:
        """Return what each queue has done, those that were closed included."""
        return [
            QueueReport(
                "queue",
                _label(self._name, 0, key),
                key,
                fifo.passed,
                fifo.passed_bytes,
                fifo.packets,
                fifo.bytes,
                fifo.marks,
                dict(sorted(fifo.drops.items())),
            )
            for key, fifo in (
                (key, entrance.fifo) for key, entrance in [*self._closed, *self._entrances.items()]
            )
        ]

    def lines(self) -> list[str]:
        """Return what ``ipfw queue show`` prints of it."""
        limit, in_bytes = self._limit
        settings = PipeSettings(limit=limit, limit_in_bytes=in_bytes)
        parent = self.config.parent or 0
        return [
            *queue_lines(self.config, settings, len(self._entrances), parent),
            *flow_lines(self.reports()),
        ]

    def _entrance(self, sched: SchedObject) -> Queue:
        own, shared = self.config.mask or Mask(), sched.config.mask or Mask()
        # A flow is what differs under either mask; which link it takes is up to the scheduler's.
        both = own.joined(shared)
        if not any(both):
            return self._make((), ())
        if not any(shared):
            return FlowTable(lambda packet: flow_key(both, packet), lambda key: self._make(key, ()))
        return FlowTable(
            lambda packet: flow_key(both, packet), lambda key: self._make(key, narrowed(shared, key))
        )

    def _make(self, key: FlowKey, link_key: FlowKey) -> LinkEntrance:
        assert self.sched is not None
        link = self.sched.link(link_key)
        config = self.config
        fifo = Fifo(
            link.pipe,
            *self._limit,
            self._loop.now,
            make_discipline(*self._discipline),
            self._stream(key, "qdisc"),
            random_loss(config.plr or (), self._stream(key, "loss")),
            config.weight or 1,
        )
        entrance = self._entrances[key] = link.add(fifo)
        return entrance

    def _stream(self, key: FlowKey, purpose: str) -> random.Random:
        return stream(self._seed, f"{_label(self._name, self._generation, key)}/{purpose}")
