"""Pipes that belong to no link: what a firewall's rules send packets of many flows and interfaces through.

An ordinary pipe delivers all that it carries to one sink. Here each packet has a way of its own to go on:
while it is inside it travels in a ``Parcel``, which is a packet to the pipe and knows that way.
"""

from __future__ import annotations

from collections.abc import Callable

from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.net.general import GeneralPipe, make_pipe
from mptcpsim.net.pipe import Pipe, PipeSettings
from mptcpsim.net.policy import Queue
from mptcpsim.net.queues import Fifo, LinkQueues
from mptcpsim.plugins import QueueScheduler
from mptcpsim.sim.loop import Loop

Onward = Callable[[Packet], None]

#: What the packets of one flow have in common: what is left of addresses and ports under a mask.
FlowKey = tuple[int, ...]


class Parcel(Packet):
    """A packet inside a pipe that it shares, and where it goes on.

    Attributes:
        packet: as it came in; marks and bit errors happen to the parcel.
        onward: takes the packet when it comes out.
    """

    __slots__ = ("onward", "packet")

    def __init__(self, packet: Packet, onward: Onward) -> None:
        super().__init__(packet.flow, packet.size)
        self.take_header(packet)
        self.packet = packet
        self.onward = onward

    def clone(self) -> Parcel:
        """Return a copy that may be modified."""
        other = Parcel(self.packet.clone(), self.onward)
        other.take_header(self)
        return other

    def opened(self) -> Packet:
        """Return the packet with what happened to the parcel."""
        packet = self.packet
        if self.ecn != packet.ecn or self.damaged != packet.damaged:
            packet = packet.clone()
            packet.ecn = self.ecn
            packet.damaged = self.damaged
        return packet

    def __repr__(self) -> str:
        return f"parcel with {self.packet!r}"


def open_parcel(parcel: Packet) -> None:
    """Send the packet in a parcel on its way: the sink of a shared pipe."""
    assert isinstance(parcel, Parcel)
    parcel.onward(parcel.opened())


class SharedPipe(Queue):
    """A pipe that many flows go through: one queue, one transmitter, one delay line.

    Attributes:
        pipe: does the work, and counts.
    """

    def __init__(
        self, loop: Loop, name: str, settings: PipeSettings, seed: int = 0, general: bool = False
    ) -> None:
        """Make the pipe; arguments and errors are those of ``make_pipe``."""
        self.pipe: Pipe = make_pipe(loop, name, settings, seed, general)
        self.pipe.sink = open_parcel

    def enter(self, packet: Packet, onward: Onward) -> None:
        """Take a packet; ``onward`` is called with it when it comes out, unless it is dropped inside."""
        self.pipe.send(Parcel(packet, onward))


class SharedLink:
    """A link that several queues share as a scheduler has it; each queue has an entrance of its own.

    Attributes:
        pipe: does the work, and counts what came out; its drops are those of all queues.
        queues: what waits.
    """

    def __init__(
        self, loop: Loop, name: str, settings: PipeSettings, scheduler: QueueScheduler, seed: int = 0
    ) -> None:
        """Make a link without queues.

        Args:
            loop: the clock.
            name: unique in the network.
            settings: of the link; limit, loss and discipline are those of the queues.
            scheduler: configured.
            seed: the run's seed.
        """
        self.pipe = GeneralPipe(loop, name, settings, seed)
        self.pipe.sink = open_parcel
        self.queues = LinkQueues(self.pipe, scheduler)
        self.pipe.queue = self.queues

    def add(self, fifo: Fifo) -> LinkEntrance:
        """Add a queue and return its entrance."""
        self.queues.fifos.append(fifo)
        return LinkEntrance(self, fifo)


class LinkEntrance(Queue):
    """The way into one queue of a shared link.

    Attributes:
        link: that is shared.
        fifo: the queue.
    """

    def __init__(self, link: SharedLink, fifo: Fifo) -> None:
        self.link = link
        self.fifo = fifo

    def enter(self, packet: Packet, onward: Onward) -> None:
        """Take a packet; ``onward`` is called with it when it comes out, unless it is dropped inside."""
        link = self.link
        link.queues.entered = self.fifo
        link.pipe.send(Parcel(packet, onward))


class FlowTable(Queue):
    """A queue for each flow, made when its first packet comes; a mask says what a flow is.

    Attributes:
        queues: by what is left of a packet under the mask, in the order of their first packets.
    """

    def __init__(self, key: Callable[[Packet], FlowKey], make: Callable[[FlowKey], Queue]) -> None:
        """Begin without a queue.

        Args:
            key: returns what is left of a packet under the mask; it looks at addresses and ports only.
            make: returns a new queue for a key.
        """
        self.queues: dict[FlowKey, Queue] = {}
        self._key = key
        self._make = make
        # The mask is applied to the first packet of a flow only.
        self._by_flow: dict[FourTuple, Queue] = {}

    def enter(self, packet: Packet, onward: Onward) -> None:
        """Send a packet through the queue of its flow."""
        queue = self._by_flow.get(packet.flow)
        if queue is None:
            queue = self._by_flow[packet.flow] = self._find(packet)
        queue.enter(packet, onward)

    def _find(self, packet: Packet) -> Queue:
        key = self._key(packet)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = self._make(key)
        return queue
