"""Proportional integral controller enhanced active queue management (RFC 8033)."""

from __future__ import annotations

import random
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import DROP, MARK, PASS, Parameter, QueueDiscipline, Value, register
from mptcpsim.units import MILLISECOND

#: RFC 8033 section 5.2: bytes of a measurement of the departure rate, its weight in the average.
_MEASURED: Final = 1 << 14
_WEIGHT: Final = 0.25
#: Mean packet (section 4.1).
_MEAN_PACKET: Final = 1024

#: Section 4.2: below a drop probability the adjustment is divided, so that it stays small beside it.
_TUNING: Final = ((1e-6, 2048.0), (1e-5, 512.0), (1e-4, 128.0), (1e-3, 32.0), (1e-2, 8.0), (1e-1, 2.0))

PIE_PARAMETERS: Final = (
    Parameter("target", 15 * MILLISECOND, "queueing delay that is aimed at, ns", 1),
    Parameter("tupdate", 15 * MILLISECOND, "time between updates of the drop probability, ns", 1000),
    Parameter("alpha", 0.125, "weight of the distance from the target, 1/s", 0.0, 7.0),
    Parameter("beta", 1.25, "weight of the change of the delay, 1/s", 0.0, 7.0),
    Parameter("max_burst", 150 * MILLISECOND, "burst that passes undropped after quiet, ns", 0),
    Parameter(
        "max_ecnth", 0.1, "drop probability above which ECN-capable packets are dropped, too", 0.0, 1.0
    ),
    Parameter("ecn", False, "mark ECN-capable packets instead of dropping them"),
    Parameter("capdrop", True, "the drop probability grows by at most 0.02 an update once it is 0.1"),
    Parameter("drand", True, "derandomise: no drops in quick succession, and none too far apart"),
    Parameter("onoff", False, "off until a third of the queue is full, and again when it is empty"),
    Parameter("dre", False, "estimate the delay by the departure rate; else from the packets' own delays"),
)


@mypyc_attr(allow_interpreted_subclasses=True)
class Pie(QueueDiscipline):
    """Drops or marks at arrival with a probability that a controller keeps adjusting to a target delay.

    The controller's timer needs no events: what it would have done since the last packet is caught up
    when the next one comes or goes, since nothing changes in between.

    Attributes:
        drop_probability: 0 to 1.
        delay: the latest estimate, ns.
        burst_allowance: ns for which nothing is dropped yet.
        accumulated: sum of the drop probabilities since the last drop.
        active: the controller runs.
    """

    NAME: ClassVar[str] = "pie"
    SUMMARY: ClassVar[str] = "proportional integral controller: holds the delay at a target (RFC 8033)"
    AT_DEPARTURE: ClassVar[bool] = True
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = PIE_PARAMETERS

    def __init__(self) -> None:
        self.target: int = 0
        self.tupdate: int = 0
        self.alpha: float = 0.0
        self.beta: float = 0.0
        self.max_burst: int = 0
        self.max_ecnth: float = 0.0
        self.ecn: bool = False
        self.capdrop: bool = False
        self.drand: bool = False
        self.onoff: bool = False
        self.dre: bool = False
        self.drop_probability: float = 0.0
        self.delay: int = 0
        self.burst_allowance: int = 0
        self.accumulated: float = 0.0
        self.active: bool = False
        self._old_delay: int = 0
        self._next_update: int = 0
        self._rng: random.Random | None = None
        self._byte_mode: bool = False
        #: The measurement of the departure rate: since when (-1: none), bytes, ns for ``_MEASURED`` bytes.
        self._measured_since: int = -1
        self._measured: int = 0
        self._departure_time: float = 0.0

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.target = int(values["target"])
        self.tupdate = int(values["tupdate"])
        self.alpha = float(values["alpha"])
        self.beta = float(values["beta"])
        self.max_burst = int(values["max_burst"])
        self.max_ecnth = float(values["max_ecnth"])
        self.ecn = bool(values["ecn"])
        self.capdrop = bool(values["capdrop"])
        self.drand = bool(values["drand"])
        self.onoff = bool(values["onoff"])
        self.dre = bool(values["dre"])

    def start(self, rng: random.Random, rate_bps: int, byte_mode: bool) -> None:
        """Begin; another rate shows in the delay soon enough."""
        self._rng = rng
        self._byte_mode = byte_mode

    def on_arrival(self, size: int, packets: int, queued: int, idle: int, now: int) -> int:
        """Judge a packet (section 4.1)."""
        if self.active:
            self._catch_up(queued, now)
        verdict = PASS
        if self.active and self.burst_allowance == 0 and self._drops_early(queued):
            self.accumulated = 0.0
            # Section 5.1: under heavy load even ECN-capable packets are dropped.
            verdict = MARK if self.ecn and self.drop_probability <= self.max_ecnth else DROP
        length = queued if self._byte_mode else packets
        if not self.active and (not self.onoff or length * 3 >= self.limit):
            self._activate(now)
        elif self.active and self._is_quiet():
            self.burst_allowance = self.max_burst
            if self.onoff and length == 0:
                self.active = False
        return verdict

    def on_departure(self, size: int, sojourn: int, queued: int, now: int) -> int:
        """Measure the delay, or the rate at which packets leave (sections 4.3 and 5.2)."""
        if not self.active:
            return PASS
        self._catch_up(queued + size, now)
        if not self.dre:
            self.delay = sojourn
            return PASS
        if self._measured_since >= 0:
            self._measured += size
            if self._measured >= _MEASURED:
                took = float(now - self._measured_since) * float(_MEASURED) / float(self._measured)
                old = self._departure_time
                self._departure_time = took if old == 0.0 else (1.0 - _WEIGHT) * old + _WEIGHT * took
                self._measured_since = -1
        if self._measured_since < 0 and queued >= _MEASURED:
            # Only while there is enough to send does the rate say anything.
            self._measured_since = now
            self._measured = 0
        return PASS

    def _activate(self, now: int) -> None:
        self.active = True
        self.drop_probability = 0.0
        self.delay = 0
        self._old_delay = 0
        self.burst_allowance = self.max_burst
        self.accumulated = 0.0
        self._next_update = now + self.tupdate
        self._measured_since = -1

    def _is_quiet(self) -> bool:
        """Return whether congestion has gone (section 4.4)."""
        half = self.target // 2
        return self.drop_probability == 0.0 and self.delay < half and self._old_delay < half

    def _drops_early(self, queued: int) -> bool:
        """Return whether a packet is to be dropped (sections 4.1 and 5.4)."""
        probability = self.drop_probability
        if self._old_delay < self.target // 2 and probability < 0.2:
            return False
        if queued <= 2 * _MEAN_PACKET:
            return False
        if self.drand:
            if probability == 0.0:
                self.accumulated = 0.0
            self.accumulated += probability
            if self.accumulated < 0.85:
                return False
            if self.accumulated >= 8.5:
                return True
        assert self._rng is not None
        return self._rng.random() < probability

    def _catch_up(self, queued: int, now: int) -> None:
        """Make the updates that were due since the last packet came or went; ``queued`` bytes waited."""
        while self._next_update <= now:
            before = (self.drop_probability, self.burst_allowance, self._old_delay)
            self._update(queued)
            self._next_update += self.tupdate
            if before == (self.drop_probability, self.burst_allowance, self._old_delay):
                # Nothing moves any more: the updates that are left change nothing either.
                left = now - self._next_update
                if left >= 0:
                    self._next_update += (left // self.tupdate + 1) * self.tupdate

    def _update(self, queued: int) -> None:
        """Adjust the drop probability (section 4.2)."""
        if self.dre:
            self.delay = int(float(queued) * self._departure_time / float(_MEASURED))
        elif queued == 0:
            self.delay = 0
        delay = self.delay
        change = self.alpha * float(delay - self.target) + self.beta * float(delay - self._old_delay)
        change /= 1e9
        probability = self.drop_probability
        for below, divisor in _TUNING:
            if probability < below:
                change /= divisor
                break
        if self.capdrop and probability >= 0.1 and change > 0.02:
            change = 0.02  # section 5.5
        probability += change
        if delay == 0 and self._old_delay == 0:
            probability *= 0.98
        self.drop_probability = min(1.0, max(0.0, probability))
        self._old_delay = delay
        self.burst_allowance = max(0, self.burst_allowance - self.tupdate)


register(Pie)
