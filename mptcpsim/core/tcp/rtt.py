"""The round-trip time estimator and retransmission time-out of RFC 6298."""

from __future__ import annotations

from typing import Final

from mptcpsim.units import SECOND

#: Before the first sample.
NO_SAMPLE: Final = 0


class RttEstimator:
    """SRTT, RTTVAR and RTO in nanoseconds.

    Attributes:
        srtt, rttvar: smoothed round-trip time and its variation; 0 before the first sample.
        rto: the time-out without back-off.
        backoff: number of doublings in force (RFC 6298 section 5.5).
        minimum: smallest sample so far; 0 before the first.
        latest: the last sample; 0 before the first.
    """

    __slots__ = (
        "backoff",
        "granularity",
        "latest",
        "minimum",
        "rto",
        "rto_max",
        "rto_min",
        "rttvar",
        "srtt",
    )

    def __init__(self, rto_initial: int, rto_min: int, rto_max: int, granularity: int) -> None:
        self.srtt: int = NO_SAMPLE
        self.rttvar: int = 0
        self.rto: int = rto_initial
        self.rto_min = rto_min
        self.rto_max = rto_max
        self.granularity = granularity
        self.backoff: int = 0
        self.minimum: int = 0
        self.latest: int = 0

    def sample(self, rtt: int) -> None:
        """Take a sample, ns; the caller applies Karn's rule. Ends a back-off (section 5, last note)."""
        srtt = self.srtt
        if srtt == NO_SAMPLE:
            # (2.2)
            self.srtt = srtt = rtt
            self.rttvar = variation = rtt // 2
            self.minimum = rtt
        else:
            # (2.3): RTTVAR before SRTT.
            deviation = srtt - rtt if srtt > rtt else rtt - srtt
            self.rttvar = variation = (3 * self.rttvar + deviation) >> 2
            self.srtt = srtt = (7 * srtt + rtt) >> 3
            if rtt < self.minimum:
                self.minimum = rtt
        self.latest = rtt
        variation *= 4
        if variation < self.granularity:
            variation = self.granularity
        rto = srtt + variation
        # (2.4), (2.5)
        if rto < self.rto_min:
            rto = self.rto_min
        elif rto > self.rto_max:
            rto = self.rto_max
        self.rto = rto
        self.backoff = 0

    def back_off(self) -> None:
        """The time-out has expired: it doubles (section 5.5)."""
        self.backoff += 1

    def end_backoff(self) -> None:
        """End the back-off: a segment of the peer shows that the path works again."""
        self.backoff = 0

    def on_handshake(self, rtt: int) -> None:
        """The handshake is complete; ``rtt`` is that of the SYN, -1 where it was sent more than once."""
        if self.backoff:
            # Section 5.7: after a SYN that timed out begin with 3 s.
            self.rto = max(self.rto, min(3 * SECOND, self.rto_max))
        elif rtt >= 0:
            self.sample(rtt)
        self.backoff = 0

    def timeout(self) -> int:
        """Return the time-out to arm now, ns, back-off included."""
        if self.backoff == 0:
            return self.rto
        # The cap keeps the shift small even after very many time-outs.
        return min(self.rto << min(self.backoff, 32), self.rto_max)
