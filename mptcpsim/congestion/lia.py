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

    Equation (1) is carried out as section 4.2 has it, and as Reno does here: the window grows by a
    segment when max(cwnd_total / alpha, cwnd) bytes were acknowledged. No increase is lost by rounding to
    0, so that the remedy of section 3, at least one byte an ACK, is not needed; with it windows of more
    than an MSS of segments would grow faster than Reno's, against goal 2 (section 2). Growing byte by byte
    instead, each subflow would be half a segment ahead of Reno: two of them took 1.24 times what one TCP
    took at the same drop-tail queue (10 Mbit/s, RTT 40 ms), and take 1.05 times this way.

    Attributes:
        alpha: aggressiveness of the connection, as this subflow computed it last (section 3); 1 alone.
        distance: cwnd_total / alpha, bytes: so many acknowledged are worth a segment; 0 alone.
    """

    NAME: ClassVar[str] = "lia"
    SUMMARY: ClassVar[str] = "Reno, its increase coupled over the subflows of a connection (RFC 6356)"

    def __init__(self) -> None:
        super().__init__()
        self.group: list[CongestionControl] = []
        self.alpha: float = 1.0
        self.distance: int = 0
        #: When both have to be computed again, ns, and for how many subflows they hold.
        self.valid_until: int = 0
        self.valid_for: int = 0
        #: The last smoothed round-trip time, ns; 0 before the first ACK.
        self.srtt: int = 0
        #: Bytes in flight while they were fewer than the window allowed.
        self.flight: int = _UNLIMITED
        self.recovering: bool = False

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
        if not self.srtt:
            self._outdate()
        self.srtt = srtt
        self.recovering = False
        self.flight = _UNLIMITED
        if self.cwnd < self.ssthresh:
            super().on_ack(acked, now, srtt, in_flight)
            return
        if now >= self.valid_until or len(self.group) != self.valid_for:
            self._update(now)
        distance = max(self.distance, self.cwnd)
        self.credit += acked
        if self.credit >= distance:
            self.credit -= distance
            self.cwnd += self.mss

    def on_unused_window(self, in_flight: int, now: int) -> None:
        """Count with what is used until the window is full again."""
        self.flight = in_flight

    def _update(self, now: int) -> None:
        """Compute alpha: once a round trip, and when something else than an ACK changed a window (4.1)."""
        before = max(self.distance, self.cwnd)
        total = 0
        paths = 0
        best = 0.0
        rates = 0.0
        for member in self.group:
            window = member.cwnd
            # A control of another kind does not tell its RTT: it counts with that of this subflow.
            rtt = self.srtt
            if isinstance(member, Lia):
                window = member.window()
                rtt = member.srtt
            if window and rtt:
                paths += 1
                total += window
                rate = window / rtt
                rates += rate
                best = max(best, rate / rtt)
        if paths < 2:
            self.alpha = 1.0
            self.distance = 0
        else:
            # Equation (2) of section 3.
            self.alpha = total * best / (rates * rates)
            self.distance = int(total / self.alpha)
        # What was acknowledged so far stays the same part of a segment.
        self.credit = self.credit * max(self.distance, self.cwnd) // before
        self.valid_until = now + self.srtt
        self.valid_for = len(self.group)

    def _outdate(self) -> None:
        """A window changed by more than an increase: alpha is computed anew (section 4.1)."""
        self.valid_until = 0
        for member in self.group:
            if isinstance(member, Lia):
                member.valid_until = 0

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


register(Lia)
