"""Hooks of an ``MptcpPair`` that do what the usual middleboxes do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mptcpsim.codec.options import wire_length
from mptcpsim.core.segment import Packet, Segment
from tests.core.mptcp.pair import Option, options_of
from tests.core.tcp.pair import Hook


class Seen(NamedTuple):
    """What a middlebox knows of a segment: the ``number``-th packet of all, counted from 1."""

    direction: str
    segment: Segment
    number: int
    now: int


Predicate = Callable[[Seen], bool]


def without_mptcp(segment: Segment) -> Segment:
    """Return a copy of a segment without its MPTCP options."""
    copy = segment.clone()
    copy.dss = None
    copy.options = None
    copy.size = wire_length(copy)
    return copy


def alter(predicate: Predicate, change: Callable[[Segment], Segment | None]) -> Hook:
    """Return a hook that replaces the segments for which ``predicate`` holds; None drops them."""
    number = 0

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        nonlocal number
        number += 1
        if isinstance(packet, Segment) and predicate(Seen(direction, packet, number, now)):
            changed = change(packet)
            return [] if changed is None else [changed]
        return [packet]

    return hook


def strip_mptcp(predicate: Predicate) -> Hook:
    """Return a hook that removes the MPTCP options of the segments for which ``predicate`` holds."""
    return alter(predicate, without_mptcp)


def drop(predicate: Predicate) -> Hook:
    """Return a hook that drops the segments for which ``predicate`` holds."""
    return alter(predicate, lambda segment: None)


def replaced(kind: type[Option], change: Callable[[Option], Any]) -> Callable[[Segment], Segment]:
    """Return a change for ``alter``: another option in place of those of a class."""

    def apply(segment: Segment) -> Segment:
        copy = segment.clone()
        if isinstance(copy.dss, kind):
            copy.dss = change(copy.dss)
        if copy.options is not None:
            copy.options = tuple(
                change(option) if isinstance(option, kind) else option for option in copy.options
            )
        copy.size = wire_length(copy)
        return copy

    return apply


def carries(kind: type[Any], direction: str = "") -> Predicate:
    """Return whether a segment (of one direction) has an option of a class, as a predicate."""
    return lambda seen: (
        direction in ("", seen.direction)
        and any(isinstance(option, kind) for option in options_of(seen.segment))
    )


def chain(*hooks: Hook) -> Hook:
    """Return a hook that sends what comes out of one hook through the next one."""

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        packets = [packet]
        for one in hooks:
            packets = [result for each in packets for result in one(direction, each, now)]
        return packets

    return hook
