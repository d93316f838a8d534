"""CUBIC (RFC 9438)."""

from __future__ import annotations

from math import cbrt
from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import CongestionControl, Parameter, Value, register


@mypyc_attr(allow_interpreted_subclasses=True)
class Cubic(CongestionControl):
    """A cubic function of the time since the last loss, Reno where Reno is faster (RFC 9438)."""

    NAME: ClassVar[str] = "cubic"
    SUMMARY: ClassVar[str] = "a cubic function of the time since the last loss, or Reno if faster (RFC 9438)"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("c", 0.4, "aggressiveness C, segments/s^3 (section 5)", 1e-6, 1e3),
        Parameter("beta", 0.7, "multiplicative decrease factor (section 4.6)", 0.1, 0.99),
        Parameter("fast_convergence", True, "release bandwidth when W_max shrinks (section 4.7)"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.c: float = 0.4
        self.beta: float = 0.7
        self.fast_convergence: bool = True
        # Windows of the formulas are in segments, times in seconds.
        self.w_max: float = 0.0
        self.w_est: float = 0.0
        self.k: float = 0.0
        self.cwnd_prior: float = 0.0
        self.window: float = 0.0
        self.epoch_start: int = -1
        #: When the window was last updated in this epoch.
        self.updated_at: int = 0

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.c = float(values["c"])
        self.beta = float(values["beta"])
        self.fast_convergence = bool(values["fast_convergence"])

    def on_ack(self, acked: int, now: int, srtt: int, in_flight: int) -> None:
        """Slow start below ssthresh, then the larger of the cubic and the Reno-friendly window."""
        mss = self.mss
        if self.cwnd < self.ssthresh:
            self.cwnd += min(acked, mss)
            self.epoch_start = -1
            return
        segments = acked / mss
        if self.epoch_start < 0:
            self._begin_epoch(now)
        elif now - self.updated_at > srtt:
            # More than a round trip without an update: the application limited the flow meanwhile,
            # and t must not include that (section 4.2).
            self.epoch_start += now - self.updated_at - srtt
        self.updated_at = now
        window = self.window
        # Section 4.3: Reno-friendly region; the increase is 1 once W_est has reached cwnd_prior.
        alpha = 1.0 if self.w_est >= self.cwnd_prior else 3.0 * (1.0 - self.beta) / (1.0 + self.beta)
        self.w_est += alpha * segments / window
        t = (now - self.epoch_start) / 1e9
        offset = t - self.k
        w_cubic = self.c * offset * offset * offset + self.w_max
        if w_cubic < self.w_est:
            window = max(window, self.w_est)
        else:
            # Sections 4.2, 4.4, 4.5: aim at where the curve is one round trip from now.
            ahead = offset + srtt / 1e9
            target = self.c * ahead * ahead * ahead + self.w_max
            target = min(max(target, window), 1.5 * window)
            # (target - cwnd) / cwnd for each segment acknowledged, and never beyond the target.
            window += (target - window) * min(segments / window, 1.0)
        self.window = window
        self.cwnd = int(window * mss)

    def _begin_epoch(self, now: int) -> None:
        """A congestion avoidance stage begins (section 4.2)."""
        self.epoch_start = now
        self.window = self.cwnd / self.mss
        self.w_est = self.window
        if self.w_max <= self.window:
            # No loss below this window is known: the curve starts on its plateau.
            self.w_max = self.window
            self.k = 0.0
        else:
            self.k = cbrt((self.w_max - self.window) / self.c)

    def ssthresh_after_loss(self, in_flight: int, now: int) -> int:
        """Section 4.6, with fast convergence (section 4.7)."""
        window = self.cwnd / self.mss
        self.cwnd_prior = window
        if self.fast_convergence and window < self.w_max:
            self.w_max = window * (1.0 + self.beta) / 2.0
        else:
            self.w_max = window
        self.epoch_start = -1
        return max(int(in_flight * self.beta), 2 * self.mss)

    def on_timeout(self, now: int) -> None:
        """Section 4.8: the stage after the next slow start begins on a plateau (K = 0)."""
        self.epoch_start = -1
        self.w_max = 0.0

    def on_mss(self, mss: int) -> None:
        """Windows in segments stay as they are."""
        super().on_mss(mss)
        self.epoch_start = -1


register(Cubic)
