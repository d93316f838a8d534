"""Random early detection as dummynet has it, and its gentle variant.

S. Floyd, V. Jacobson: Random Early Detection Gateways for Congestion Avoidance,
IEEE/ACM Transactions on Networking 1(4), 1993; ipfw(8), ``red`` and ``gred``.
"""

from __future__ import annotations

import random
from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import DROP, MARK, PASS, Parameter, PluginError, QueueDiscipline, Value, register


@mypyc_attr(allow_interpreted_subclasses=True)
class Red(QueueDiscipline):
    """Random early detection: drops or marks by the average length of the queue.

    The average is taken at each arrival, over the packets (or bytes) that are waiting,
    and decays while the queue is empty as if small packets had arrived at it. Thresholds
    are in the unit of the queue limit: packets, or bytes.

    Attributes:
        average: average queue length, packets or bytes.
        count: packets since the last drop while the average is between the thresholds;
            -1 below them.
    """

    NAME: ClassVar[str] = "red"
    SUMMARY: ClassVar[str] = "random early detection: drops or marks by the average length of the queue"
    GENTLE: ClassVar[bool] = False
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("w_q", 0.002, "weight of a new sample in the average queue length", 0.0, 1.0),
        Parameter("min_th", 5.0, "average length below which every packet passes", 0.0),
        Parameter("max_th", 15.0, "average length from which every packet is dropped (red)", 0.0),
        Parameter("max_p", 0.1, "probability of a drop just below max_th", 0.0, 1.0),
        Parameter("ecn", False, "mark ECN-capable packets instead of dropping them"),
        Parameter(
            "ecn_always",
            False,
            "with ecn: mark every packet above min_th, as FreeBSD's dummynet does, not a random few",
        ),
        Parameter("small_packet", 512, "bytes of the packet whose serialisation paces the idle decay", 1),
        Parameter("large_packet", 1500, "bytes of the packet to which max_p applies in byte mode", 1),
    )

    def __init__(self) -> None:
        self.w_q: float = 0.0
        self.min_th: float = 0.0
        self.max_th: float = 0.0
        self.max_p: float = 0.0
        self.ecn: bool = False
        self.ecn_always: bool = False
        self.small_packet: int = 0
        self.large_packet: int = 0
        self.average: float = 0.0
        self.count: int = -1
        self._threshold: float = 0.0
        self._byte_mode: bool = False
        self._rng: random.Random | None = None
        self._rate_bps: int = 0

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: the thresholds are in the wrong order.
        """
        self.w_q = float(values["w_q"])
        self.min_th = float(values["min_th"])
        self.max_th = float(values["max_th"])
        self.max_p = float(values["max_p"])
        self.ecn = bool(values["ecn"])
        self.ecn_always = bool(values["ecn_always"])
        self.small_packet = int(values["small_packet"])
        self.large_packet = int(values["large_packet"])
        if self.max_th <= self.min_th:
            raise PluginError(f"qdisc {self.NAME!r}: max_th {self.max_th} must be above min_th {self.min_th}")

    def start(self, rng: random.Random, rate_bps: int, byte_mode: bool) -> None:
        """Begin, or go on at another rate."""
        self._rng = rng
        self._byte_mode = byte_mode
        self._rate_bps = rate_bps

    def on_arrival(self, size: int, packets: int, queued: int, idle: int, now: int) -> int:
        """Update the average, then judge the packet."""
        if packets:
            length = float(queued) if self._byte_mode else float(packets)
            self.average += self.w_q * (length - self.average)
        elif self.average > 0.0:
            self.average *= self._decay(idle)
        average = self.average
        if average < self.min_th:
            self.count = -1
            return PASS
        if self.ecn and self.ecn_always and average > self.min_th:
            return MARK
        if average >= self.max_th and not self.GENTLE:
            self.count = -1
            return self._refuse()
        probability = self._probability(average)
        if self._byte_mode:
            probability = probability * float(size) / float(self.large_packet)
        self.count += 1
        if self.count == 0:
            # The first packet above the threshold only begins an interval between drops.
            self._threshold = self._random()
            return PASS
        if probability * float(self.count) > self._threshold:
            self.count = 0
            self._threshold = self._random()
            return self._refuse()
        return PASS

    def _probability(self, average: float) -> float:
        """Return the probability that goes with an average of at least ``min_th``.

        Between the thresholds it rises from 0 to max_p. The gentle variant goes on from
        max_p at max_th to 1 at twice max_th.
        """
        if average >= self.max_th:
            return (1.0 - self.max_p) * average / self.max_th - (1.0 - 2.0 * self.max_p)
        return self.max_p * (average - self.min_th) / (self.max_th - self.min_th)

    def _decay(self, idle: int) -> float:
        """Return by what the average shrinks over ``idle`` ns with an empty queue."""
        small = float(self.small_packet) * 8e9
        packets = float(idle) * float(self._rate_bps) / small if self._rate_bps else float("inf")
        return float((1.0 - self.w_q) ** packets) if idle else 1.0

    def _random(self) -> float:
        assert self._rng is not None
        return self._rng.random()

    def _refuse(self) -> int:
        return MARK if self.ecn else DROP


@mypyc_attr(allow_interpreted_subclasses=True)
class Gred(Red):
    """Gentle random early detection: above max_th the probability rises on to 1 at twice max_th."""

    NAME: ClassVar[str] = "gred"
    SUMMARY: ClassVar[str] = "gentle red: above max_th the probability rises on to 1 at twice max_th"
    GENTLE: ClassVar[bool] = True


register(Red)
register(Gred)
