"""Delay profiles of dummynet: the file that ``ipfw pipe N config profile FILE`` names.

A curve of points (cumulative probability, delay): how long a packet holds the link beyond its own
transmission. Words are separated by spaces, ``#`` begins a comment::

    name      wlan
    samples   100
    loss-level 0.86
    prob      delay
    0         200        # milliseconds
    0.5       200
    0.5       300
    1         1300
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.freebsd.dummynet import read_bandwidth
from mptcpsim.freebsd.lines import DialectError, Line, fraction, physical_lines, whole_number
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import MILLISECOND

#: Points that a file may have.
MOST_POINTS: Final = 1024
_WORDS: Final = ("name", "bw", "loss-level", "samples", "delay", "prob")


class DelayProfile(NamedTuple):
    """What such a file says.

    Attributes:
        name: for people.
        bw: bit/s, or None for that of the pipe.
        loss_level: packets whose probability is above it are lost after their time on the link.
        samples: length of the table that ``table`` makes of the curve.
        points: (cumulative probability, delay in ms), sorted; the first one is at 0, the last at 1.
    """

    name: str
    bw: int | None
    loss_level: float
    samples: int
    points: tuple[tuple[float, float], ...]

    def delay(self, probability: float) -> int:
        """Return the delay in ns up to which packets lie with this probability, 0 to 1.

        Between two points the curve is a line; where several delays have one probability, the
        largest counts.
        """
        before = self.points[0]
        for point in self.points:
            if point[0] > probability:
                share = (probability - before[0]) / (point[0] - before[0])
                return round((before[1] + share * (point[1] - before[1])) * MILLISECOND)
            before = point
        return round(before[1] * MILLISECOND)

    def table(self) -> tuple[int, ...]:
        """Return ``samples`` delays in ns, of which each packet draws one; ``lost_from`` and up are lost."""
        return tuple(self.delay(number / self.samples) for number in range(self.samples))

    def lost_from(self) -> int:
        """Return the number of the first sample that is lost; ``samples`` when none is."""
        return min(self.samples, round(self.loss_level * self.samples))


def read_profile(text: str, file: str) -> DelayProfile:
    """Return what a file with a delay profile says.

    Raises:
        DialectError: the first line that is not understood.
    """
    given: dict[str, Line] = {}
    name, bw, loss_level, samples = "", None, 1.0, 100
    points: list[tuple[float, float]] = []
    order: tuple[str, str] | None = None
    at = Line(file, 1, "")
    for number, line in enumerate(physical_lines(text, file), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        at = Line(file, number, line)
        if len(words) != 2:
            raise at.error(
                f"a line has two words, and this one has {len(words)}: write a name and a value, or a point"
            )
        first, second = words[0].lower(), words[1].lower()
        if first[0].isdigit() or first[0] in "+-.":
            if order is None:
                raise at.error(
                    "a point stands in front of the line 'delay prob' or 'prob delay': write that line first"
                )
            values = dict(zip(order, words, strict=True))
            points.append((fraction(at, values["prob"], "probability", 0, 1),
                           fraction(at, values["delay"], "delay in ms", 0, 1e6)))  # fmt: skip
            if len(points) > MOST_POINTS:
                raise at.error(f"more than {MOST_POINTS} points: leave some of them out")
            continue
        if first not in _WORDS:
            raise at.error(f"{words[0]!r} is not known here: {did_you_mean(first, _WORDS)}")
        key = "order" if first in ("delay", "prob") else first
        if key in given:
            raise at.error(f"line {given[key].number} has said this already: leave one of them out")
        given[key] = at
        if key == "order":
            if {first, second} != {"delay", "prob"}:
                raise at.error("write 'delay prob' or 'prob delay', the order of the columns below")
            order = (first, second)
        elif first == "name":
            name = words[1]
        elif first == "bw":
            bw = read_bandwidth(at, words[1])
        elif first == "loss-level":
            loss_level = fraction(at, words[1], "loss level", 0, 1)
        else:
            samples = whole_number(at, words[1], "number of samples", 2, 1024)
    points.sort()
    if len(points) < 2:
        raise DialectError(
            file, at.number, at.text, "a curve has two points at least: write them below 'prob delay'"
        )
    if points[0][0] != 0 or points[-1][0] != 1:
        raise DialectError(
            file,
            at.number,
            at.text,
            "the curve must begin at probability 0 and end at 1: write the missing point",
        )
    return DelayProfile(name, bw, loss_level, samples, tuple(points))
