"""Proportional Rate Reduction (RFC 6937): how much may be sent while recovery lasts."""

from __future__ import annotations


class ProportionalRateReduction:
    """The variables of RFC 6937 section 3, in bytes.

    Attributes:
        delivered, out: prr_delivered and prr_out.
        recover_fs: FlightSize at the start of recovery.
        ssthresh: the target.
    """

    __slots__ = ("delivered", "out", "recover_fs", "ssthresh")

    def __init__(self) -> None:
        self.delivered: int = 0
        self.out: int = 0
        self.recover_fs: int = 1
        self.ssthresh: int = 0

    def start(self, flight: int, ssthresh: int) -> None:
        """Begin a recovery with ``flight`` bytes outstanding towards ``ssthresh`` bytes."""
        self.delivered = 0
        self.out = 0
        self.recover_fs = max(flight, 1)
        self.ssthresh = ssthresh

    def on_sent(self, count: int) -> None:
        """Count bytes that were sent during the recovery."""
        self.out += count

    def on_ack(self, delivered: int, pipe: int, mss: int, conservative: bool) -> int:
        """Return sndcnt, bytes: what may be sent in response to an acknowledgment.

        Args:
            delivered: DeliveredData, bytes newly acknowledged or SACKed.
            pipe: bytes in flight after the acknowledgment was processed.
            mss: bytes.
            conservative: use the Conservative Reduction Bound instead of slow start.
        """
        self.delivered += delivered
        if pipe > self.ssthresh:
            # CEIL to whole segments, the unit of the examples in section 3.1.
            allowed = -(-self.delivered * self.ssthresh // (self.recover_fs * mss)) * mss - self.out
        else:
            bound = self.delivered - self.out
            if not conservative:
                bound = max(bound, delivered) + mss
            allowed = min(self.ssthresh - pipe, bound)
        return max(allowed, 0)
