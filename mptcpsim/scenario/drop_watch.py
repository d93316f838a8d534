"""Notes every packet that a link, a node or a middlebox of a simulation drops, for ``results.drops``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mptcpsim.core.segment import Packet
from mptcpsim.net.pipe import Pipe
from mptcpsim.results.drops import BOX, LINK, NODE, Drop, DropLog
from mptcpsim.scenario.build import Simulation
from mptcpsim.sim.loop import Loop


def watch_drops(simulation: Simulation) -> DropLog:
    """Begin to note; return the log, which fills while the simulation runs."""
    log = DropLog()
    loop = simulation.env.loop
    for name, link in simulation.topology.links.items():
        for pipe in link.pipes():
            _watch_pipe(pipe, log, loop, name)
        for box in link.middleboxes:
            place = f"the middlebox {box.NAME} of link {name}"
            box.on_drop = partial(_note_box, log, loop, place)
    for name, node in simulation.topology.nodes.items():
        node.on_drop = partial(_note, log, loop, NODE, name)
    return log


def _watch_pipe(pipe: Pipe, log: DropLog, loop: Loop, name: str) -> None:
    before: Callable[[Packet, str], None] | None = pipe.on_drop

    def note(packet: Packet, reason: str) -> None:
        if before is not None:
            before(packet, reason)
        _note(log, loop, LINK, name, packet, reason)

    pipe.on_drop = note


def _note(log: DropLog, loop: Loop, who: str, place: str, packet: Packet, reason: str) -> None:
    log.add(Drop(loop.now, packet, who, place, reason))


def _note_box(log: DropLog, loop: Loop, place: str, packet: Packet) -> None:
    _note(log, loop, BOX, place, packet, "middlebox")
