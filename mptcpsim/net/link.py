"""Links: two interfaces and a pipe in each direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mptcpsim.net.general import make_pipe
from mptcpsim.net.loss import PeriodicLoss, random_loss
from mptcpsim.net.middlebox import Middlebox, Passage
from mptcpsim.net.node import Interface
from mptcpsim.net.pipe import Pipe, PipeSettings
from mptcpsim.sim.loop import Loop
from mptcpsim.streams import stream

# Directions of a link, as seen from its first end.
FORWARD: Final = "forward"
BACKWARD: Final = "backward"
BOTH: Final = "both"


class Link:
    """A full-duplex link between two interfaces.

    Attributes:
        name: unique in the network.
        a, b: the ends.
        forward: the pipe from a to b, named ``LINK:A>B`` after link and nodes.
        backward: the pipe from b to a.
        middleboxes: those at the second end, in order from the first end (``net.middlebox``).
    """

    __slots__ = ("a", "b", "backward", "forward", "middleboxes", "name")

    def __init__(
        self,
        loop: Loop,
        name: str,
        a: Interface,
        b: Interface,
        settings: PipeSettings,
        backward: PipeSettings | None = None,
        seed: int = 0,
        mtu: int = 0,
        general: bool = False,
    ) -> None:
        """Connect two interfaces.

        Args:
            loop: the clock.
            name: unique in the network.
            a: one end.
            b: the other end.
            settings: of the pipe from a to b, and of the other one unless ``backward`` is given.
            backward: settings of the pipe from b to a.
            seed: the run's seed.
            mtu: bytes; given to both interfaces, which keep their own if it is 0.
            general: take the event-by-event pipe in any case.

        Raises:
            ValueError: an end is connected already, or a setting is out of range.
            PluginError: the queue discipline or one of its parameters is wrong.
        """
        if a is b:
            raise ValueError(f"link {name}: {a.label} cannot be connected to itself")
        self.name = name
        self.a = a
        self.b = b
        self.middleboxes: list[Middlebox] = []
        self.forward: Pipe = make_pipe(loop, f"{name}:{a.node.name}>{b.node.name}", settings, seed, general)
        self.backward: Pipe = make_pipe(
            loop, f"{name}:{b.node.name}>{a.node.name}", backward or settings, seed, general
        )
        if mtu:
            a.set_mtu(mtu)
            b.set_mtu(mtu)
        a.attach(self.forward, self.backward, b)
        b.attach(self.backward, self.forward, a)

    def place(self, boxes: Sequence[Middlebox], seed: int = 0) -> None:
        """Put middleboxes on the link, configured, in order from the first end; done once at most.

        Args:
            boxes: instances that stand nowhere else.
            seed: the run's seed.

        Raises:
            ValueError: the link has middleboxes already.
        """
        if self.middleboxes:
            raise ValueError(f"link {self.name} has its middleboxes already")
        loop = self.b.node.loop
        passage = Passage(loop, boxes, self.backward.send)
        self.middleboxes = passage.boxes
        for position, box in enumerate(passage.boxes):
            box.place(passage, position, stream(seed, f"middlebox/{self.name}/{position}"))
            box.first_address = self.a.primary_address
            box.start()
        self.b.stand_behind(passage)

    def pipes(self, direction: str = BOTH) -> tuple[Pipe, ...]:
        """Return the pipes of a direction: ``forward``, ``backward`` or ``both``.

        Raises:
            ValueError: no such direction.
        """
        if direction == BOTH:
            return (self.forward, self.backward)
        if direction == FORWARD:
            return (self.forward,)
        if direction == BACKWARD:
            return (self.backward,)
        raise ValueError(f"{direction!r} is no direction of a link: forward, backward or both")

    @property
    def up(self) -> bool:
        """Both directions are up."""
        return self.forward.up and self.backward.up

    def set_rate(self, rate_bps: int, direction: str = BOTH, in_service: bool = False) -> None:
        """Change the rate, bit/s; 0 is unlimited. ``in_service``: for the packet in service, too."""
        for pipe in self.pipes(direction):
            pipe.set_rate(rate_bps, in_service)

    def set_delay(self, delay_ns: int, direction: str = BOTH) -> None:
        """Change the one-way delay, ns."""
        for pipe in self.pipes(direction):
            pipe.set_delay(delay_ns)

    def set_loss(self, plr: Sequence[float], direction: str = BOTH) -> None:
        """Change the random loss: nothing, p, or K, p, H, r (``loss.random_loss``).

        Raises:
            ValueError: the values are no such thing.
        """
        for pipe in self.pipes(direction):
            pipe.set_loss(random_loss(plr, pipe.random_stream("loss")))

    def set_periodic_loss(self, every: int, direction: str = BOTH, first: int = 0) -> None:
        """Lose every n-th packet of a direction from now on, the first one after ``first`` packets.

        Raises:
            ValueError: the period is not positive.
        """
        for pipe in self.pipes(direction):
            pipe.set_loss(PeriodicLoss(every, first))

    def set_up(self, up: bool, direction: str = BOTH) -> None:
        """Take the link up or down."""
        for pipe in self.pipes(direction):
            pipe.set_up(up)
