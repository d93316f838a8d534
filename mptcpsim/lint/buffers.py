"""Rules about buffers: they have to hold what is in flight."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.lint.talks import Talk
from mptcpsim.scenario.flows import BulkFlow, ConstantRateFlow, OnOffFlow
from mptcpsim.units import SECOND, format_rate, format_size, format_time

FAMILY: Final = Family()

#: A buffer may be this much below the bandwidth-delay product without a word: headers take their part.
_TOLERANCE: Final = 0.9


#: What links are like has to last for so many round trips to count.
_ROUND_TRIPS: Final = 10

#: By the name of a pipe: its rate, bit/s, and its delay, ns.
_Pipes = dict[str, tuple[int, int]]


class _Need:
    """What a flow needs to be in flight to fill its paths.

    Attributes:
        at: since when the links are what they are, ns.
        rate: of all bottlenecks of its paths together, bit/s; one that several paths share counts once.
        round_trip: of the slowest path, without any queue, ns.
    """

    def __init__(self, talk: Talk, at: int, pipes: _Pipes) -> None:
        self.at = at
        bottlenecks: dict[str, int] = {}
        self.round_trip = 0
        for pair in talk.pairs:
            ways = talk.data_ways(pair)
            if ways is None:
                continue
            out, back = ways
            limited = {pipe.name: pipes[pipe.name][0] for pipe in out.pipes if pipes[pipe.name][0]}
            if limited:
                narrowest = min(limited, key=limited.__getitem__)
                bottlenecks[narrowest] = limited[narrowest]
            delay = sum(pipes[pipe.name][1] for pipe in (*out.pipes, *back.pipes))
            self.round_trip = max(self.round_trip, delay)
        self.rate = sum(bottlenecks.values())
        spec = talk.spec
        if isinstance(spec, ConstantRateFlow | OnOffFlow):
            self.rate = min(self.rate, spec.rate) if self.rate else spec.rate

    @property
    def size(self) -> int:
        """The bandwidth-delay product, bytes."""
        return self.rate * self.round_trip // (8 * SECOND)


def _needs(subject: Subject, talk: Talk) -> list[_Need]:
    """Return what a flow needs at the beginning, and after each change of a link that lasts."""
    states = subject.pipe_states
    instants = [*(at for at in states if at > talk.spec.start), subject.scenario.duration]
    first = max((at for at in states if at <= talk.spec.start), default=0)
    found = []
    for at, until in pairwise([first, *instants]):
        need = _Need(talk, at, states[at])
        if at == first or until - at >= _ROUND_TRIPS * need.round_trip:
            found.append(need)
    return found


def _too_small(subject: Subject, key: str) -> Iterator[Remark]:
    for talk in subject.talks:
        spec = talk.spec
        if not isinstance(spec, BulkFlow | ConstantRateFlow | OnOffFlow):
            continue
        if _shaped(subject, talk):
            continue  # by pipes of ipfw, whose rates are not those of links
        need = max(_needs(subject, talk), key=lambda need: need.size)
        wanted = min(need.size, spec.bytes or need.size)
        sends = talk.ends[1 if spec.reverse else 0]
        end = sends if key == "send_buffer" else talk.ends[0 if spec.reverse else 1]
        size = getattr(end.config, key)
        if size >= wanted * _TOLERANCE:
            continue
        possible = size * 8 * SECOND / need.round_trip
        paths = "its paths carry" if len(talk.pairs) > 1 else "its path carries"
        yield Remark(
            subject.tcp_setter(talk, end, key),
            f"{key} of {end.host} is {format_size(size)}: with a round trip of "
            f"{format_time(need.round_trip)}{_since(need)} flow {spec.name!r} gets {format_rate(possible)} "
            f"at most, and {paths} {format_rate(need.rate)}",
            f"write {key} = {_rounded(need.size)} or more, unless the small buffer is what is studied",
        )


def _shaped(subject: Subject, talk: Talk) -> bool:
    """Return whether a node on the paths of a flow has pipes."""
    shapers = {system.name for system in subject.systems if system.configs or system.types_later}
    return any(hop.node.name in shapers for pair in talk.pairs for way in pair.ways for hop in way.hops)


def _since(need: _Need) -> str:
    return f" (from {format_time(need.at)} on)" if need.at else ""


def _rounded(size: int) -> str:
    """Return a size that is not below the given one, as a scenario has it."""
    kib = -(-size // 1024)
    return f'"{kib}KiB"' if kib < 10240 else f'"{-(-kib // 1024)}MiB"'


@FAMILY.rule("W601", "receive-buffer-below-bdp")
def receive_buffer_below_bdp(subject: Subject) -> Iterator[Remark]:
    """The receive buffer holds less than its paths have in flight.

    No more than the receive buffer can be in flight, so that the rate is bounded by buffer / round trip,
    whatever the links could carry. With several paths it has to hold what all of them carry during the
    round trip of the slowest one (RFC 8684 section 3.3.1, RFC 6356).
    """
    return _too_small(subject, "receive_buffer")


@FAMILY.rule("W602", "send-buffer-below-bdp")
def send_buffer_below_bdp(subject: Subject) -> Iterator[Remark]:
    """The send buffer holds less than its paths have in flight.

    A byte stays in the send buffer until it is acknowledged, and so the same bound holds as for the receive
    buffer.
    """
    return _too_small(subject, "send_buffer")
