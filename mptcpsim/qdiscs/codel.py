"""Controlled delay active queue management (RFC 8289)."""

from __future__ import annotations

import math
import random
from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import DROP, MARK, PASS, Parameter, QueueDiscipline, Value, register
from mptcpsim.units import MILLISECOND


@mypyc_attr(allow_interpreted_subclasses=True)
class CoDel(QueueDiscipline):
    """Controlled delay: drops or marks at the head while packets wait longer than a target.

    Attributes:
        dropping: the discipline is in its dropping state.
        count: drops since it entered that state.
        drop_next: instant of the next drop, ns.
    """

    NAME: ClassVar[str] = "codel"
    SUMMARY: ClassVar[str] = "controlled delay: drops or marks while packets wait too long (RFC 8289)"
    AT_DEPARTURE: ClassVar[bool] = True
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("target", 5 * MILLISECOND, "acceptable standing delay, ns", 1),
        Parameter("interval", 100 * MILLISECOND, "time over which the delay must stay above target, ns", 1),
        Parameter("ecn", False, "mark ECN-capable packets instead of dropping them"),
    )

    def __init__(self) -> None:
        self.target: int = 0
        self.interval: int = 0
        self.ecn: bool = False
        self.dropping: bool = False
        self.count: int = 0
        self.drop_next: int = 0
        self._last_count: int = 0
        self._first_above: int = 0
        self._largest: int = 0
        #: The previous packet was dropped; the RFC looks at the next one before it moves drop_next.
        self._dropped: bool = False

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.target = int(values["target"])
        self.interval = int(values["interval"])
        self.ecn = bool(values["ecn"])

    def start(self, rng: random.Random, rate_bps: int, byte_mode: bool) -> None:
        """Begin; nothing here depends on the rate, which is the point of CoDel."""

    def on_arrival(self, size: int, packets: int, queued: int, idle: int, now: int) -> int:
        """Note the largest packet; the judgement comes at departure."""
        if size > self._largest:
            self._largest = size
        return PASS

    def on_departure(self, size: int, sojourn: int, queued: int, now: int) -> int:
        """Judge the packet at the head (RFC 8289 section 5.5).

        The RFC drops in a loop inside of one dequeue; here each packet of that loop is a
        call of its own, at the same instant. A drop always has a successor, because
        nothing is dropped with at most one largest packet's bytes behind it. The packet
        behind the first drop needs no case of its own: the next drop is in the future.
        """
        too_long = self._above_target(sojourn, queued, now)
        if self.dropping:
            dropped, self._dropped = self._dropped, False
            if not too_long:
                self.dropping = False
                return PASS
            if dropped:
                self.drop_next = self._control_law(self.drop_next)
            if now < self.drop_next:
                return PASS
            self.count += 1
            if self.ecn:
                self.drop_next = self._control_law(self.drop_next)
                return MARK
            self._dropped = True
            return DROP
        if not too_long:
            return PASS
        self.dropping = True
        # When the last dropping state ended a short while ago, its drop rate is resumed.
        delta = self.count - self._last_count
        recent = now - self.drop_next < 16 * self.interval
        self.count = delta if delta > 1 and recent else 1
        self.drop_next = self._control_law(now)
        self._last_count = self.count
        return MARK if self.ecn else DROP

    def _above_target(self, sojourn: int, queued: int, now: int) -> bool:
        """Return whether the delay has been above the target for an interval (section 5.5, dodequeue)."""
        if sojourn < self.target or queued <= self._largest:
            self._first_above = 0
            return False
        if self._first_above == 0:
            self._first_above = now + self.interval
            return False
        return now >= self._first_above

    def _control_law(self, at: int) -> int:
        """Return the instant of the drop after one at ``at`` (section 5.4)."""
        return at + int(float(self.interval) / math.sqrt(float(self.count)))


register(CoDel)
