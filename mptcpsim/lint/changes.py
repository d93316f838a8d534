"""What ``set`` events make of links: the states that each direction goes through."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from mptcpsim.scenario.events import SetEvent
from mptcpsim.scenario.schema import Scenario


class State(NamedTuple):
    """What one direction of a link is like from an instant on.

    Attributes:
        at: ns.
        event: the index of the event that makes it so; -1: the link itself.
        rate: bit/s; 0 is unlimited.
        delay: ns.
    """

    at: int
    event: int
    rate: int
    delay: int


class LinkHistory(NamedTuple):
    """One direction of a link.

    Attributes:
        link: its index.
        forward: which direction.
        states: at least one, in the order of time.
    """

    link: int
    forward: bool
    states: tuple[State, ...]


def courses(scenario: Scenario) -> Iterator[LinkHistory]:
    """Yield both directions of each link; events behind the end of the run are left out."""
    events = sorted(
        (
            (event.at, index, event)
            for index, event in enumerate(scenario.events)
            if isinstance(event, SetEvent) and event.at < scenario.duration
        ),
        key=lambda entry: entry[0],
    )
    for number, link in enumerate(scenario.links):
        for forward in (True, False):
            direction = link.direction(forward).given()
            states = [State(0, -1, direction["rate"], direction["delay"])]
            for at, index, event in events:
                concerned = event.direction == "both" or (event.direction == "forward") == forward
                if event.link == link.name and concerned:
                    last = states[-1]
                    rate = last.rate if event.rate is None else event.rate
                    states.append(State(at, index, rate, last.delay if event.delay is None else event.delay))
            yield LinkHistory(number, forward, tuple(states))


def idle_sets(scenario: Scenario) -> list[int]:
    """Return the ``set`` events, by their indices, that give a link the rate and the delay that it has."""
    changed = {
        state.event
        for course in courses(scenario)
        for before, state in pairwise(course.states)
        if (state.rate, state.delay) != (before.rate, before.delay)
    }
    return [
        index
        for index, event in enumerate(scenario.events)
        if isinstance(event, SetEvent)
        and event.at < scenario.duration
        and event.queue is None
        and event.loss is None
        and index not in changed
    ]
