"""How TCP itself changes the congestion window: on losses, ECN, idle times and the end of a recovery.

A plug-in (``plugins.CongestionControl``) keeps ``cwnd`` and ``ssthresh``, lets the window grow and says
how far a loss reduces it. When that happens is for TCP to decide, and all of it stands here.
"""

from __future__ import annotations

from mptcpsim.plugins import CongestionControl


class CongestionWindow:
    """The window of one sender, in bytes; times in ns.

    Attributes:
        control: the plug-in.
    """

    __slots__ = ("control",)

    def __init__(self, control: CongestionControl) -> None:
        self.control = control

    def _use(self, cwnd: int) -> None:
        self.control.cwnd = cwnd

    def lower_threshold(self, flight: int, now: int) -> int:
        """Set ssthresh for a loss with ``flight`` bytes outstanding, and return it.

        FlightSize counts what was SACKed and what limited transmit sent (RFC 6675 section 5 step
        4.2 excludes it); the window that was in use bounds it.
        """
        control = self.control
        return self._take_threshold(min(flight, control.cwnd), now)

    def _take_threshold(self, flight: int, now: int) -> int:
        control = self.control
        control.ssthresh = control.ssthresh_after_loss(flight, now)
        return control.ssthresh

    def on_ecn_echo(self, flight: int, mss: int, now: int) -> None:
        """The peer saw a CE mark (RFC 3168 section 6.1.2)."""
        control = self.control
        ssthresh = self._take_threshold(flight, now)
        # ssthresh is two segments at least, cwnd goes down to one.
        self._use(ssthresh if ssthresh < control.cwnd else max(control.cwnd // 2, mss))
        control.on_recovered(now)

    def on_probe_repaired(self, flight: int, now: int) -> None:
        """A loss probe has repaired a loss (RFC 8985 section 7.4.2)."""
        control = self.control
        ssthresh = self.lower_threshold(flight, now)
        self._use(min(control.cwnd, ssthresh))
        control.on_recovered(now)

    def on_timeout(self, mss: int, now: int) -> None:
        """The retransmission timer expired: one segment (RFC 5681 section 3.1)."""
        self._use(mss)
        self.control.on_timeout(now)

    def restart(self, window: int) -> None:
        """After an idle time the window is that of the start at most (RFC 5681 section 4.1)."""
        self._use(min(self.control.cwnd, window))

    def follow_proportion(self, pipe: int, allowed: int) -> None:
        """In a recovery PRR allows so many bytes beside those in flight (RFC 6937 section 3)."""
        self._use(pipe + allowed)

    def inflate(self, mss: int, segments: int) -> None:
        """NewReno enters fast recovery: so many segments have left the network (RFC 5681 section 3.2)."""
        self._use(self.control.ssthresh + segments * mss)

    def on_duplicate(self, mss: int) -> None:
        """NewReno: one more segment has left the network (RFC 5681 section 3.2 step 4)."""
        self._use(self.control.cwnd + mss)

    def deflate(self, acked: int, mss: int) -> None:
        """NewReno: a partial acknowledgment (RFC 6582 section 3.2 step 3)."""
        self._use(max(self.control.cwnd - acked + (mss if acked >= mss else 0), mss))

    def reach_threshold(self) -> None:
        """A recovery is over: go to its target."""
        self._use(self.control.ssthresh)

    def leave_newreno(self, flight: int, mss: int) -> None:
        """A full acknowledgment, option (1) of RFC 6582 section 3.2 step 3."""
        self._use(min(self.control.ssthresh, max(flight, mss) + mss))

    def halve(self, mss: int) -> None:
        """MPTCP penalises a subflow that holds the others up (Raiciu et al., NSDI 2012, section 4.2)."""
        control = self.control
        if control.cwnd >= control.ssthresh:
            control.ssthresh = max(control.ssthresh // 2, 2 * mss)
        self._use(max(control.cwnd // 2, mss))
