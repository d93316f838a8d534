"""Every workload by its name, with its full size. What a workload needs is imported when it is measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from report import Figures


@dataclass(frozen=True)
class Case:
    """A workload.

    Attributes:
        name: such as ``W3/1000/pairs``.
        about: what it is, in a line.
        decides: the figures that checkouts are compared by; less is better.
        measure: builds and runs it; takes the share of the full size.
    """

    name: str
    about: str
    decides: tuple[str, ...]
    measure: Callable[[float], Figures]


def _chain(seconds: float, share: float, **parameters: object) -> Figures:
    from networks import Chain
    from report import cost

    return cost(lambda: Chain(**parameters), seconds * share)  # type: ignore[arg-type]


def _two_paths(ack_every: int, share: float) -> Figures:
    from report import cost
    from w2 import W2

    return cost(lambda: W2(ack_every=ack_every), 30 * share)


def _paths(number: int, share: float) -> Figures:
    from networks import MBIT, Disjoint
    from report import cost

    from mptcpsim.units import MILLISECOND

    paths = [(100 * MBIT, (20 + 10 * i) * MILLISECOND) for i in range(number)]
    return cost(lambda: Disjoint(paths), 8 * share)


def _fat_tree(k: int, subflows: int, share: float) -> Figures:
    from fat_tree import FatTree
    from report import cost

    return cost(lambda: FatTree(k, subflows), share)


def _crowd(share: float) -> Figures:
    from crowd import crowd

    return crowd(max(1, round(10_000 * share)), max(1, round(100 * share)), max(0.2, share))


def _codec(share: float) -> Figures:
    from wire_cost import codec

    return codec(max(1, round(250 * share)))


def _start_up(figures: bool, share: float) -> Figures:
    """A tiny run has one size."""
    from programs import start_up

    return start_up(figures)


def _sweep(share: float) -> Figures:
    from programs import sweep

    return sweep(max(1, round(2000 * share)), min(2, os.cpu_count() or 1))


PACKET = ("us/packet",)
HOP = ("us/hop",)
PROGRAM = ("wall s", "user CPU s")


def _all() -> Iterator[Case]:
    """Return the workloads in the order of the table."""
    yield Case("W1", "one TCP flow over three links", PACKET, partial(_chain, 10))
    yield Case("W2", "one MPTCP connection over two paths", PACKET, partial(_two_paths, 2))
    yield Case("W2/ack-every-1", "the same, an ACK for every packet", PACKET, partial(_two_paths, 1))
    for flows in (1, 10, 100, 1000):
        about = f"TCP flows: {flows:,} over one pair of hosts"
        yield Case(f"W3/{flows}/one", about, PACKET, partial(_chain, 2, flows=flows))
        if flows > 1:
            about = f"TCP flows: {flows:,}, each over a pair of hosts of its own"
            yield Case(f"W3/{flows}/pairs", about, PACKET, partial(_chain, 2, flows=flows, pairs=flows))
    for k in (4, 8):
        for subflows in (1, 4, 8):
            about = f"a permutation over a fat tree, k = {k}, {subflows} subflows each"
            yield Case(f"W4/k{k}/{subflows}", about, HOP, partial(_fat_tree, k, subflows))
    crowd = ("KB/connection", "set-up us/connection", "us/packet")
    yield Case("W5", "10,000 idle MPTCP connections and 100 that send", crowd, _crowd)
    yield Case("W6", "segments to bytes and back", ("encode us/packet", "decode us/packet"), _codec)
    yield Case("W7/plain", "a tiny run, without figures", PROGRAM, partial(_start_up, False))
    yield Case("W7/figures", "a tiny run, until the figures are on disk", PROGRAM, partial(_start_up, True))
    yield Case("W8", "a sweep of 2,000 short runs", ("ms/run",), _sweep)
    for stretch, seconds in ((1, 2), (3, 3), (10, 6), (30, 12), (100, 25)):
        about = f"W1 with slow-start overshoot, BDP x {stretch}"
        overshoot = partial(_chain, seconds, stretch=stretch, overshoot=True)
        yield Case(f"window/{stretch}", about, PACKET, overshoot)
    for loss in (0.0001, 0.001, 0.01):
        about = f"W1, {100 * loss:g} % of the packets lost"
        yield Case(f"loss/{100 * loss:g}%", about, PACKET, partial(_chain, 10, loss=loss))
    for number in (1, 2, 4, 8):
        about = f"one MPTCP connection over {number} paths of 100 Mbit/s"
        yield Case(f"subflows/{number}", about, PACKET, partial(_paths, number))
    for routers in (1, 3, 7, 15):
        about = f"W1 over {routers + 1} links"
        yield Case(f"hops/{routers + 1}", about, HOP, partial(_chain, 5, routers=routers))


CASES = {case.name: case for case in _all()}


def chosen(patterns: Sequence[str]) -> list[Case]:
    """Return the workloads that any of ``patterns`` names, in the order of the table.

    A pattern is a name, the beginning of one up to a ``/``, or has wildcards.

    Raises:
        ValueError: a pattern names none; the message lists the names.
    """
    found: set[str] = set()
    for pattern in patterns:
        hits = {name for name in CASES if fnmatchcase(name, pattern) or name.startswith(f"{pattern}/")}
        if not hits:
            raise ValueError(f"no workload is called {pattern!r}; there are {', '.join(CASES)}")
        found |= hits
    return [case for name, case in CASES.items() if name in found]
