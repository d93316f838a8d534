"""Whether the path of a subflow works: probes in time-out, and after REMOVE_ADDR.

RFC 8684 leaves both to the host (sections 3.3.6 and 3.4.2).
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp_options import REASON_UNSPECIFIED
from mptcpsim.core.segment import ACK, Segment
from mptcpsim.core.tcp.states import CLOSE_WAIT, ESTABLISHED
from mptcpsim.units import NEVER

#: What arrives after the first probe may have been sent before the address was removed.
_PROBES_AFTER_REMOVAL: Final = 2


class PathWatch:
    """The state of one subflow; times in ns.

    Attributes:
        stale: the subflow had several time-outs in a row while others worked, as Linux counts them.
        probe_at: when the next probe of a subflow in time-out is sent.
        check_at: when a subflow whose address the peer has removed must have answered a probe.
    """

    __slots__ = ("_probed", "_probes_left", "_removal_probe_at", "_subflow", "check_at", "probe_at", "stale")

    def __init__(self, subflow: SubflowState) -> None:
        self._subflow = subflow
        self.stale: bool = False
        self.probe_at: int = NEVER
        self.check_at: int = NEVER
        self._probed: bool = False
        self._removal_probe_at: int = 0
        self._probes_left: int = 0

    def on_timeout(self, now: int) -> None:
        """The retransmission timer of the subflow has expired."""
        subflow = self._subflow
        connection = subflow.connection
        config = connection.config.mptcp
        timeouts = subflow.tcp.sender.timeouts_in_a_row
        if timeouts == config.stale_timeouts and connection.usable():
            self.stale = True
            connection.count("MPTcpExtSubflowStale")
            connection.note_subflow(subflow, "subflow stale", f"{timeouts} time-outs in a row")
        if config.path_probe and self.probe_at == NEVER:
            self._wake(now + config.path_probe)

    def _wake(self, at: int) -> None:
        self.probe_at = at
        self._subflow.tcp.wake_by(at)

    def on_segment(self, segment: Segment, now: int) -> None:
        """Take a segment that arrived during a time-out: if a probe was sent, the path works again."""
        sender = self._subflow.tcp.sender
        if not self._subflow.failing:
            self.probe_at = NEVER
            self._probed = False
        elif self._probed:
            self._probed = False
            if segment.ack <= sender.una:
                # An ACK that advances starts the retransmission by itself.
                sender.retry(now)

    def on_progress(self) -> None:
        """Data was acknowledged on the subflow."""
        if self.stale:
            self.stale = False
            self._subflow.connection.count("MPTcpExtSubflowRecover")

    def on_address_removed(self, now: int) -> None:
        """The peer has removed its address: test whether the subflow still works (section 3.4.2)."""
        subflow = self._subflow
        if subflow.stage != READY:
            # It is not established yet: the peer's address identifier is known only from the SYN/ACK.
            return
        if self.check_at < NEVER:
            # A test is in progress; the REMOVE_ADDR was repeated, perhaps on the answer to the probe.
            return
        self._probes_left = _PROBES_AFTER_REMOVAL
        self._probe_after_removal(now)

    def _probe_after_removal(self, now: int) -> None:
        tcp = self._subflow.tcp
        self._probes_left -= 1
        self._removal_probe_at = now
        self.check_at = now + 2 * tcp.sender.rtt.timeout()
        tcp.wake_by(self.check_at)
        tcp.emit(tcp.sender.una - 1, 0, ACK, False, now)

    def stop(self) -> None:
        """Neither probe nor ask any more: the connection has become plain TCP."""
        self.probe_at = NEVER
        self.check_at = NEVER

    # --- Timers ---------------------------------------------------------------------------------------

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        return min(self.probe_at, self.check_at)

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        subflow = self._subflow
        tcp = subflow.tcp
        connection = subflow.connection
        if self.probe_at <= now:
            self.probe_at = NEVER
            if subflow.failing and tcp.state in (ESTABLISHED, CLOSE_WAIT):
                self._probed = True
                tcp.emit(tcp.sender.una - 1, 0, ACK, False, now)
                self._wake(now + connection.config.mptcp.path_probe)
        if self.check_at <= now:
            self.check_at = NEVER
            if tcp.last_heard < self._removal_probe_at:
                connection.count("MPTcpExtRmSubflow")
                subflow.reset(REASON_UNSPECIFIED, "the address was removed", now)
            elif self._probes_left:
                self._probe_after_removal(now)
