"""LIA, "Linked Increases": the coupled congestion control of MPTCP (RFC 6356)."""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.congestion.reno import Reno
from mptcpsim.plugins import CongestionControl, register

_UNLIMITED: Final = 1 << 50


@mypyc_attr(allow_interpreted_subclasses=True)
class Lia(Reno):
    """Reno whose congestion avoidance is coupled over the subflows of a connection (RFC 6356).

    Together the subflows take what one TCP would get on the best of the paths; slow start and the
    halving at a loss stay those of each subflow (section 3). As long as there is only one subflow
    whose round-trip time is known it is Reno.

    Attributes:
        alpha: aggressiveness of the connection, as this subflow computed it last (section 3).
    """

    NAME: ClassVar[str] = "lia"
    SUMMARY: ClassVar[str] = "Reno, its increase coupled over the subflows of a connection (RFC 6356)"

    def __init__(self) -> None:
        super().__init__()
        self.group: list[CongestionControl] = []
        self.alpha: float = 1.0
        #: When alpha has to be computed again, ns, and for how many subflows it holds.
        self.alpha_until: int = 0
        self.alpha_paths: int = 0
        #: The last smoothed round-trip time, ns; 0 before the first ACK.
        self.srtt: int = 0
        #: Bytes in flight while they were fewer than the window allowed.
        self.flight: int = _UNLIMITED
        self.recovering: bool = False
        #: What rounding left of the increases so far, bytes.
        self.fraction: float = 0.0

    def couple(self, group: list[CongestionControl]) -> None:
        """Take the controllers of the connection's working subflows."""
        self.group = group

    def window(self) -> int:
        """Return the window that counts in the sums, bytes (section 3).

        PRR or duplicate ACKs move cwnd in fast recovery: ssthresh stands for it. An application
        that leaves the window unused is counted with what it uses.
        """
        window = self.ssthresh if self.recovering else self.cwnd
        return max(min(window, self.flight), self.mss)

    def on_ack(self, acked: int, now: int, srtt: int, in_flight: int) -> None:
        """Grow as Reno in slow start and alone, else by equation (1) of section 3."""
        self.srtt = srtt
        self.recovering = False
        self.flight = in_flight if in_flight + self.mss <= self.cwnd else _UNLIMITED
        if self.cwnd < self.ssthresh or len(self.group) < 2:
            super().on_ack(acked, now, srtt, in_flight)
            return
        paths = self._paths()
        if len(paths) < 2:
            super().on_ack(acked, now, srtt, in_flight)
            return
        total = 0
        for window, _ in paths:
            total += window
        if now >= self.alpha_until or len(paths) != self.alpha_paths:
            # Section 4.1: once a round trip, and when something else than an ACK changed a window.
            self.alpha = _alpha(paths, total)
            self.alpha_until = now + srtt
            self.alpha_paths = len(paths)
        increase = min(self.alpha / total, 1.0 / self.cwnd) * acked * self.mss + self.fraction
        if increase < 1.0:
            # "In this case, the increase MUST be set to 1" (section 3).
            increase = 1.0
        whole = int(increase)
        self.fraction = increase - whole
        self.cwnd += whole

    def _paths(self) -> list[tuple[int, int]]:
        """Return window, bytes, and RTT, ns, of each subflow whose RTT is known.

        A control of another kind does not tell its RTT: it counts with that of this subflow.
        """
        paths: list[tuple[int, int]] = []
        for member in self.group:
            if isinstance(member, Lia):
                if member.srtt:
                    paths.append((member.window(), member.srtt))
            elif self.srtt and member.cwnd:
                paths.append((member.cwnd, self.srtt))
        return paths

    def _outdate(self) -> None:
        """A window changed by more than an increase: alpha is computed anew (section 4.1)."""
        self.alpha_until = 0
        for member in self.group:
            if isinstance(member, Lia):
                member.alpha_until = 0

    def ssthresh_after_loss(self, in_flight: int, now: int) -> int:
        """Halve as Reno does."""
        self.recovering = True
        self._outdate()
        return super().ssthresh_after_loss(in_flight, now)

    def on_recovered(self, now: int) -> None:
        """From now on cwnd counts again."""
        self.recovering = False
        self._outdate()

    def on_timeout(self, now: int) -> None:
        """The window of one segment is the true one."""
        self.recovering = False
        self._outdate()

    def on_mss(self, mss: int) -> None:
        """The window changes with the segment."""
        super().on_mss(mss)
        self._outdate()


def _alpha(paths: list[tuple[int, int]], total: int) -> float:
    """Return alpha, equation (2) of section 3, of (window, RTT) of the subflows and cwnd_total."""
    best = 0.0
    rates = 0.0
    for window, rtt in paths:
        rate = window / rtt
        rates += rate
        best = max(best, rate / rtt)
    return total * best / (rates * rates)


register(Lia)
