"""Reno: slow start and congestion avoidance of RFC 5681."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import CongestionControl, Parameter, Value, register


@mypyc_attr(allow_interpreted_subclasses=True)
class Reno(CongestionControl):
    """Additive increase of one segment a round trip, halving on loss (RFC 5681)."""

    NAME: ClassVar[str] = "reno"
    SUMMARY: ClassVar[str] = "slow start, additive increase, halving on loss (RFC 5681)"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("abc_limit", 1, "segments by which one ACK may open the window in slow start", 1, 16),
    )

    def __init__(self) -> None:
        super().__init__()
        self.abc_limit: int = 1
        #: Bytes acknowledged since the window last grew in congestion avoidance.
        self.credit: int = 0

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.abc_limit = int(values["abc_limit"])

    def on_ack(self, acked: int, now: int, srtt: int, in_flight: int) -> None:
        """Grow by what was acknowledged, or by one segment a window."""
        if self.cwnd < self.ssthresh:
            # RFC 5681 equation (2); a larger limit is RFC 3465's.
            self.cwnd += min(acked, self.abc_limit * self.mss)
            return
        # Section 3.1, the way recommended there: count bytes up to a window.
        self.credit += acked
        if self.credit >= self.cwnd:
            self.credit -= self.cwnd
            self.cwnd += self.mss

    def ssthresh_after_loss(self, in_flight: int, now: int) -> int:
        """Equation (4): half of what is in flight, two segments at least."""
        self.credit = 0
        return max(in_flight // 2, 2 * self.mss)


register(Reno)
