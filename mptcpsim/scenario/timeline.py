"""The timeline: changes of the network while a simulation runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from mptcpsim.net.link import Link
from mptcpsim.scenario.events import EventSpec
from mptcpsim.scenario.pipes import counted_loss, random_loss_values
from mptcpsim.sim.engine import Environment


def timeline(
    env: Environment, links: dict[str, Link], events: Sequence[EventSpec]
) -> Generator[Any, Any, None]:
    """Change links as the scenario's events say, those of one instant in the order of the file."""
    for event in sorted(events, key=lambda event: event.at):
        if event.at > env.now:
            yield env.timeout(event.at - env.now)
        apply_event(links[event.link], event)


def apply_event(link: Link, event: EventSpec) -> None:
    """Change a link as an event says."""
    direction = event.direction
    if event.action != "set":
        link.set_up(event.action == "up", direction)
        return
    if event.rate is not None:
        link.set_rate(event.rate, direction)
    if event.delay is not None:
        link.set_delay(event.delay, direction)
    if event.loss is not None:
        for pipe in link.pipes(direction):
            model = counted_loss(event.loss)
            if model is not None:
                pipe.set_loss(model)
        if counted_loss(event.loss) is None:
            link.set_loss(random_loss_values(event.loss), direction)
