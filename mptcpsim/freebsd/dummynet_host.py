"""The dummynet of one host: carries out ``ipfw pipe | queue | sched``, and has what rules send packets to.

``queue`` returns a handle that outlives ``delete`` and ``config``: a rule may name a pipe before it is
configured, and packets that find none are dropped, as by FreeBSD.

Each ``config`` states an object anew: what it does not mention has its default again. A changed
bandwidth, delay, queue length or loss holds from that moment on for pipes with packets inside, in the way
that ``net.pipe`` describes. Another mask, queue discipline, unit of the queue, burst or profile makes new
pipes: what is waiting in the old ones is dropped (``reconfigured``), what has left them arrives.

**Without effect** here: ``noerror``, since a drop is never reported to the sending host, and ``buckets``,
since flows are found in a dictionary. Dynamic pipes and queues are kept until their object is deleted
(FreeBSD forgets those that are idle).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mptcpsim.core.segment import Packet
from mptcpsim.freebsd.dummynet import Config
from mptcpsim.freebsd.dummynet_settings import SYSCTLS, flow_key, pipe_settings
from mptcpsim.freebsd.dummynet_show import QueueReport, flow_lines, link_text, queue_text
from mptcpsim.freebsd.ipfw import ObjectCommand
from mptcpsim.freebsd.lines import Line
from mptcpsim.net.general import make_pipe
from mptcpsim.net.loss import random_loss
from mptcpsim.net.pipe import DROP_DOWN, Pipe, PipeSettings
from mptcpsim.net.policy import Queue
from mptcpsim.net.shared import FlowKey, FlowTable, SharedPipe
from mptcpsim.plugins import PluginError
from mptcpsim.sim.loop import Loop

# Reasons for which dummynet drops besides those of ``net.pipe``.
DROP_MISSING: Final = "not-configured"
DROP_RECONFIGURED: Final = "reconfigured"

_PREFIX: Final = "net.inet.ip.dummynet."


class Handle(Queue):
    """What a rule names: the pipe or queue with a number, whether it is there or not.

    Attributes:
        target: takes the packets; None: there is none.
        missed: packets that found none.
    """

    def __init__(self) -> None:
        self.target: Queue | None = None
        self.missed = 0

    def enter(self, packet: Packet, onward: Callable[[Packet], None]) -> None:
        """Send a packet through what is there at this moment."""
        if self.target is None:
            self.missed += 1
            return
        self.target.enter(packet, onward)


class PipeObject:
    """``ipfw pipe N``: a FIFO queue and a link, one for each flow under the mask."""

    def __init__(self, loop: Loop, name: str, config: Config, settings: PipeSettings, seed: int) -> None:
        self.name = name
        self.config = config
        self.settings = settings
        self._loop = loop
        self._seed = seed
        self._generation = 0
        self._pipes: dict[FlowKey, Pipe] = {}
        self._old: list[tuple[FlowKey, Pipe]] = []
        self.queue: Queue = self._entrance()

    def reconfigure(self, config: Config, settings: PipeSettings) -> None:
        """Take another configuration while packets are inside."""
        old, self.settings = self.settings, settings
        masked, self.config = self.config.mask, config
        changed = replace(
            old,
            rate_bps=settings.rate_bps,
            delay_ns=settings.delay_ns,
            limit=settings.limit,
            plr=settings.plr,
        )
        if masked != config.mask or changed != settings:
            self.close()
            self.queue = self._entrance()
            return
        for pipe in self._pipes.values():
            pipe.limit = settings.limit
            if settings.rate_bps != old.rate_bps:
                pipe.set_rate(settings.rate_bps)
            if settings.delay_ns != old.delay_ns:
                pipe.set_delay(settings.delay_ns)
            if settings.plr != old.plr:
                pipe.set_loss(random_loss(settings.plr, pipe.random_stream("loss")))

    def close(self) -> None:
        """Drop what waits; what has left the transmitters arrives."""
        for pipe in self._pipes.values():
            pipe.set_up(False)
            if DROP_DOWN in pipe.drops:
                pipe.drops[DROP_RECONFIGURED] = pipe.drops.pop(DROP_DOWN)
        self._old += self._pipes.items()
        self._pipes = {}
        self._generation += 1

    def reports(self) -> list[QueueReport]:
        """Return what each instance has done, those that were closed included."""
        now = self._loop.now
        return [
            QueueReport(
                pipe.name,
                key,
                pipe.packets,
                pipe.bytes,
                pipe.queue_packets(now),
                pipe.queue_bytes(now),
                pipe.marks,
                dict(sorted(pipe.drops.items())),
            )
            for key, pipe in [*self._old, *self._pipes.items()]
        ]

    def lines(self) -> list[str]:
        """Return what ``ipfw pipe show`` prints of it."""
        settings = self.settings
        limit = f"{settings.limit} {'B' if settings.limit_in_bytes else 'sl.'}"
        reports = self.reports()
        return [
            link_text(self.config),
            *queue_text(self.config, limit, len(self._pipes), self.config.number, "FIFO"),
            *flow_lines(reports),
        ]

    def _entrance(self) -> Queue:
        mask = self.config.mask
        if mask is None or not any(mask):
            return self._make(())
        return FlowTable(lambda packet: flow_key(mask, packet), self._make)

    def _make(self, key: FlowKey) -> SharedPipe:
        name = self.name + (f"/{self._generation}" if self._generation else "")
        name += f" {'-'.join(map(str, key))}" if key else ""
        shared = SharedPipe(self._loop, name, self.settings, self._seed)
        self._pipes[key] = shared.pipe
        return shared


class Dummynet:
    """The pipes, queues and schedulers of one host.

    Attributes:
        name: of the host.
    """

    def __init__(self, loop: Loop, name: str, seed: int = 0, tick_ns: int = 0) -> None:
        """Begin without any.

        Args:
            loop: the clock.
            name: of the host; names the random streams.
            seed: the run's seed.
            tick_ns: delays are rounded up to a whole number of these, as FreeBSD's are to 1 / kern.hz;
                0 is exact.
        """
        self.name = name
        self._loop = loop
        self._seed = seed
        self._tick_ns = tick_ns
        self._sysctls = dict(SYSCTLS)
        self._handles: dict[tuple[str, int], Handle] = {}
        self._pipes: dict[int, PipeObject] = {}
        self._deleted: list[PipeObject] = []

    def queue(self, kind: str, number: int) -> Queue:
        """Return what packets of a rule ``pipe N`` or ``queue N`` go through; the same object each time."""
        return self._handle(kind, number)

    def configured(self, kind: str, number: int) -> bool:
        """Return whether a pipe or queue is there; a rule that names another one drops its packets."""
        handle = self._handles.get((kind, number))
        return handle is not None and handle.target is not None

    def execute(self, command: Config | ObjectCommand) -> str:
        """Carry out a command of ipfw that is about pipes, queues or schedulers; return what it prints.

        Raises:
            DialectError: it cannot be done; the line is shown, and nothing has changed.
        """
        if isinstance(command, Config):
            self.configure(command)
            return ""
        if command.verb == "delete":
            self.delete(command)
        elif command.verb == "flush":
            self.flush()
        else:  # list, show
            return self.show(command.kind, command.numbers)
        return ""

    def configure(self, config: Config) -> None:
        """Make an object, or state one anew.

        Raises:
            DialectError: a value is out of range; nothing has changed.
        """
        if config.kind != "pipe":
            raise config.at.error(f"{config.kind} is not there yet: send the packets through a pipe")
        try:
            settings = pipe_settings(config, self._sysctls, self._tick_ns)
            # Tried out here: the pipes of a mask are made when their first packets come.
            make_pipe(self._loop, "", settings, self._seed)
            pipe = self._pipes.get(config.number)
            if pipe is None:
                pipe = PipeObject(
                    self._loop, f"{self.name} pipe {config.number}", config, settings, self._seed
                )
                self._pipes[config.number] = pipe
            else:
                pipe.reconfigure(config, settings)
        except (PluginError, ValueError) as error:
            raise config.at.error(str(error)) from None
        self._handle("pipe", config.number).target = pipe.queue

    def delete(self, command: ObjectCommand) -> None:
        """Remove objects; what is waiting in them is dropped, what has left their transmitters arrives.

        Raises:
            DialectError: there is no such object.
        """
        for number in command.numbers:
            if number not in self._pipes:
                known = ", ".join(map(str, sorted(self._pipes))) or "none"
                raise command.at.error(f"there is no pipe {number} to delete: configured are {known}")
        for number in command.numbers:
            pipe = self._pipes.pop(number)
            pipe.close()
            self._deleted.append(pipe)
            self._handle("pipe", number).target = None

    def flush(self) -> None:
        """Remove all objects of every kind."""
        for pipe in self._pipes.values():
            pipe.close()
        self._deleted += self._pipes.values()
        self._pipes.clear()
        for handle in self._handles.values():
            handle.target = None

    def set_sysctl(self, at: Line, name: str, value: int) -> None:
        """Set a variable ``net.inet.ip.dummynet...``; it holds for what is configured afterwards."""
        self._sysctls[name.removeprefix(_PREFIX)] = value

    def reports(self) -> list[QueueReport]:
        """Return what every pipe has done, deleted ones too, and the packets that found none."""
        pipes = [*(self._pipes[number] for number in sorted(self._pipes)), *self._deleted]
        missed = [
            QueueReport(f"{self.name} {kind} {number}", (), 0, 0, 0, 0, 0, {DROP_MISSING: handle.missed})
            for (kind, number), handle in sorted(self._handles.items())
            if handle.missed
        ]
        return [report for pipe in pipes for report in pipe.reports()] + missed

    def show(self, kind: str, numbers: tuple[int, ...] = ()) -> str:
        """Return the objects of a kind in the manner of ``ipfw pipe show``."""
        lines: list[str] = []
        for number in sorted(self._pipes):
            if not numbers or number in numbers:
                lines += self._pipes[number].lines()
        return "\n".join(lines)

    def _handle(self, kind: str, number: int) -> Handle:
        return self._handles.setdefault((kind, number), Handle())
