"""The dummynet of one host: carries out ``ipfw pipe | queue | sched``, and has what rules send packets to.

``queue`` returns a handle that outlives ``delete`` and ``config``: a rule may name a pipe before it is
configured, and packets that find none are dropped, as by FreeBSD.

Each ``config`` states an object anew: what it does not mention has its default again. A changed
bandwidth, delay, burst, queue length, weight or loss holds from that moment on, with packets inside, in
the way that ``net.pipe`` describes. Another mask, queue discipline, scheduler or parent makes new
queues, and so does another profile of a pipe: what is waiting in the old ones is dropped
(``reconfigured``), what has left them arrives.

A queue may be joined to a pipe before that is there; until then its packets are dropped. ``noerror`` and
``buckets`` are **without effect**: a drop is never reported to the sending host, and flows are found
in a dictionary. Dynamic pipes and queues are kept until their object is deleted (FreeBSD forgets those
that are idle).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from mptcpsim.core.segment import Packet
from mptcpsim.freebsd.delay_profile import DelayProfile, read_profile
from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.dummynet_objects import DummynetObject, PipeObject, QueueObject, SchedObject
from mptcpsim.freebsd.dummynet_settings import (
    SYSCTLS,
    discipline,
    link_settings,
    queue_limit,
    scheduler,
    with_queue,
)
from mptcpsim.freebsd.dummynet_show import QueueReport
from mptcpsim.freebsd.ipfw import ObjectCommand
from mptcpsim.freebsd.lines import DialectError, Line
from mptcpsim.net.general import make_pipe
from mptcpsim.net.pipe import PipeSettings, make_discipline, make_scheduler
from mptcpsim.net.policy import Queue
from mptcpsim.plugins import PluginError
from mptcpsim.sim.loop import Loop
from mptcpsim.suggest import did_you_mean

#: Why a packet is dropped whose rule names a pipe or queue that is not there.
DROP_MISSING: Final = "not-configured"

_PREFIX: Final = "net.inet.ip.dummynet."

#: What is said of parameters that belong to a queue, and that a scheduler with its own ones has no use for.
_QUEUE_FIELDS: Final = {
    "slots": "queue", "octets": "queue", "plr": "plr", "red": "red", "aqm": "codel and pie",
    "weight": "weight", "mask": "mask",
}  # fmt: skip


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


class Dummynet:
    """The pipes, queues and schedulers of one host.

    Attributes:
        name: of the host.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        seed: int = 0,
        tick_ns: int = 0,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Begin without any.

        Args:
            loop: the clock.
            name: of the host; names the random streams.
            seed: the run's seed.
            tick_ns: delays are rounded up to a whole number of these, as FreeBSD's are to 1 / kern.hz;
                0 is exact.
            files: text by name: those with delay profiles.
        """
        self.name = name
        self._loop = loop
        self._seed = seed
        self._tick_ns = tick_ns
        self._files = files or {}
        self._sysctls = dict(SYSCTLS)
        self._handles: dict[tuple[str, int], Handle] = {}
        self._pipes: dict[int, PipeObject] = {}
        self._scheds: dict[int, SchedObject] = {}
        self._queues: dict[int, QueueObject] = {}
        self._gone: list[DummynetObject] = []
        #: How many schedulers have had a number: names the random streams of the next one.
        self._scheds_made: dict[int, int] = {}

    # --- What rules use --------------------------------------------------------------------------

    def queue(self, kind: str, number: int) -> Queue:
        """Return what packets of a rule ``pipe N`` or ``queue N`` go through; the same object each time."""
        return self._handle(kind, number)

    def configured(self, kind: str, number: int) -> bool:
        """Return whether a pipe or queue is there; a rule that names another one drops its packets."""
        handle = self._handles.get((kind, number))
        return handle is not None and handle.target is not None

    # --- Commands --------------------------------------------------------------------------------

    def execute(self, command: Config | ObjectCommand) -> str:
        """Carry out a command of ipfw that is about pipes, queues or schedulers; return what it prints.

        Raises:
            DialectError: it cannot be done; the line is shown, and nothing has changed.
        """
        if isinstance(command, Config):
            self.configure(command)
        elif command.verb == "delete":
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
        try:
            if config.kind == "pipe":
                self._configure_pipe(config)
            elif config.kind == "sched":
                self._configure_sched(config)
            else:
                self._configure_queue(config)
        except (PluginError, ValueError) as error:
            if isinstance(error, DialectError):
                raise
            raise config.at.error(str(error)) from None
        self._connect()

    def delete(self, command: ObjectCommand) -> None:
        """Remove objects; what is waiting in them is dropped, what has left their transmitters arrives.

        The scheduler of a pipe goes with it. Queues that lose theirs stay, and drop their packets.

        Raises:
            DialectError: there is no such object.
        """
        kind = command.kind
        known = self._known(kind)
        for number in command.numbers:
            if number not in known:
                there = ", ".join(map(str, sorted(known))) or "none"
                raise command.at.error(f"there is no {kind} {number} to delete: configured are {there}")
        for number in command.numbers:
            if kind == "queue":
                self._remove(self._queues.pop(number))
                continue
            if kind == "pipe":
                self._remove(self._pipes.pop(number))
            if number in self._scheds:
                self._remove(self._scheds.pop(number))
        self._connect()

    def flush(self) -> None:
        """Remove all objects of every kind."""
        for found in [*self._queues.values(), *self._scheds.values(), *self._pipes.values()]:
            self._remove(found)
        self._queues.clear()
        self._scheds.clear()
        self._pipes.clear()
        self._connect()

    def set_sysctl(self, at: Line, name: str, value: int) -> None:
        """Set a variable ``net.inet.ip.dummynet...``; it holds for what is configured afterwards."""
        self._sysctls[name.removeprefix(_PREFIX)] = value

    # --- Results ---------------------------------------------------------------------------------

    def reports(self) -> list[QueueReport]:
        """Return what every object has done, deleted ones too, and the packets that found none."""
        objects: list[DummynetObject] = []
        for kind in ("pipe", "sched", "queue"):
            known = self._known(kind)
            objects += [known[number] for number in sorted(known)]
        found = [report for one in [*objects, *self._gone] for report in one.reports()]
        for (kind, number), handle in sorted(self._handles.items()):
            if handle.missed:
                name = f"{self.name} {kind} {number}"
                found.append(QueueReport(kind, name, (), 0, 0, 0, 0, 0, {DROP_MISSING: handle.missed}))
        return found

    def show(self, kind: str, numbers: tuple[int, ...] = ()) -> str:
        """Return the objects of a kind in the manner of ``ipfw pipe show``."""
        known = self._known(kind)
        chosen = [number for number in sorted(known) if not numbers or number in numbers]
        return "\n".join(line for number in chosen for line in known[number].lines())

    # --- Configuration ---------------------------------------------------------------------------

    def _configure_pipe(self, config: Config) -> None:
        number = config.number
        link = self._link(config)
        settings = with_queue(link, config, self._sysctls)
        # Tried out here: the pipes of a mask are made when their first packets come.
        make_pipe(self._loop, "", settings, self._seed)
        if config.scheduler is not None:
            scheduler(config, config.scheduler)
        pipe = self._pipes.get(number)
        if pipe is None:
            name = f"{self.name} pipe {number}"
            self._pipes[number] = PipeObject(self._loop, "pipe", name, config, settings, self._seed)
        else:
            pipe.reconfigure(config, settings)
        for found in self._scheds.values():
            if (found.config.parent or found.config.number) == number:
                found.retune(link)
        if config.scheduler is not None:
            # The pipe's own mask and queue are those of its FIFO.
            self._make_sched(
                Config(
                    config.at,
                    "sched",
                    number,
                    scheduler=config.scheduler,
                    flow_queues=config.flow_queues,
                ),
                config.scheduler,
            )

    def _configure_sched(self, config: Config) -> None:
        old = self._scheds.get(config.number)
        kind = config.scheduler or (old.kind if old is not None else "wf2q+")
        if kind != "fifo":
            self._refuse(config, f"a scheduler of type {kind}", ("slots", "octets", "plr", "red", "aqm"))
        self._make_sched(config, kind)

    def _configure_queue(self, config: Config) -> None:
        limit = queue_limit(config, self._sysctls)
        chosen = discipline(config, self._sysctls)
        make_discipline(*chosen)
        sched = self._scheds.get(config.parent or 0)
        if sched is not None and sched.alone is not None:
            self._refuse(
                config, f"a queue of sched {config.parent}, type {sched.kind},", tuple(_QUEUE_FIELDS)
            )
        queue = self._queues.get(config.number)
        if queue is None:
            name = f"{self.name} queue {config.number}"
            self._queues[config.number] = QueueObject(self._loop, name, config, limit, chosen, self._seed)
        else:
            queue.reconfigure(config, limit, chosen)

    def _refuse(self, config: Config, what: str, fields: tuple[str, ...]) -> None:
        """Refuse parameters that FreeBSD takes, and makes no use of.

        Raises:
            DialectError: one of them is given.
        """
        for name in fields:
            if getattr(config, name) is not None:
                raise config.at.error(
                    f"{_QUEUE_FIELDS[name]} has no effect on {what} whose queues are others: leave it out"
                )

    def _make_sched(self, config: Config, kind: str) -> None:
        number = config.number
        parent = self._pipes.get(config.parent or number)
        settings = self._link(parent.config) if parent is not None else self._link(None)
        if kind == "fifo":
            settings = with_queue(settings, config, self._sysctls)
        else:
            qdisc, values = scheduler(config, kind)
            settings = replace(settings, qdisc=qdisc, qdisc_parameters=values)
            make_scheduler(qdisc, values)
        old = self._scheds.pop(number, None)
        if old is not None:
            self._remove(old)
        made = self._scheds_made.get(number, 0)
        self._scheds_made[number] = made + 1
        name = f"{self.name} sched {number}" + (f"/{made}" if made else "")
        self._scheds[number] = SchedObject(self._loop, name, config, kind, settings, self._seed)

    def _connect(self) -> None:
        """Join queues to schedulers and handles to what is there now."""
        for queue in self._queues.values():
            parent = queue.config.parent or 0
            if parent not in self._scheds and parent in self._pipes:
                self._make_sched(Config(self._pipes[parent].config.at, "sched", parent), "wf2q+")
            queue.join(self._scheds.get(parent))
        for number in self._pipes:
            self._handle("pipe", number)
        for number in self._queues:
            self._handle("queue", number)
        for (kind, number), handle in self._handles.items():
            found = (self._pipes if kind == "pipe" else self._queues).get(number)
            handle.target = found.queue if found is not None else None

    def _known(self, kind: str) -> Mapping[int, DummynetObject]:
        """Return the objects of a kind by their numbers."""
        if kind == "queue":
            return self._queues
        return self._pipes if kind == "pipe" else self._scheds

    def _link(self, config: Config | None) -> PipeSettings:
        profile = None
        if config is not None and config.profile is not None:
            profile = self._profile(config.at, config.profile)
        return link_settings(config, self._sysctls, self._tick_ns, profile)

    def _profile(self, at: Line, file: str) -> DelayProfile:
        text = self._files.get(file)
        if text is None:
            known = did_you_mean(file, self._files) if self._files else "the host has no files"
            raise at.error(f"profile {file}: No such file: write its text under 'files' of the host; {known}")
        return read_profile(text, file)

    def _remove(self, found: DummynetObject) -> None:
        found.close()
        self._gone.append(found)

    def _handle(self, kind: str, number: int) -> Handle:
        return self._handles.setdefault((kind, number), Handle())
