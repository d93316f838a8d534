"""Is the path of a subflow there? Probes while it is in time-out, questions when its address is removed.

RFC 8684 leaves both to the host (sections 3.3.6 and 3.4.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp_options import REASON_UNSPECIFIED
from mptcpsim.core.segment import ACK, Segment
from mptcpsim.core.tcp.states import CLOSE_WAIT, ESTABLISHED
from mptcpsim.units import NEVER

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.subflow import Subflow

#: What is heard after the first one may have been on its way when the address went.
_QUESTIONS: Final = 2


class PathWatch:
    """The state of one subflow; times in ns.

    Attributes:
        stale: it has been in time-out for long while others worked, as Linux counts it.
        probe_at: when the peer is asked again whether the path is back.
        check_at: when a subflow whose address the peer has removed is judged.
    """

    __slots__ = ("_asked_at", "_probed", "_questions", "_subflow", "check_at", "probe_at", "stale")

    def __init__(self, subflow: Subflow) -> None:
        self._subflow = subflow
        self.stale: bool = False
        self.probe_at: int = NEVER
        self.check_at: int = NEVER
        self._probed: bool = False
        self._asked_at: int = 0
        self._questions: int = 0

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
        """The peer was heard while probes go out: if one was sent, the path is there again."""
        sender = self._subflow.tcp.sender
        if not self._subflow.failing:
            self.probe_at = NEVER
            self._probed = False
        elif self._probed:
            self._probed = False
            if segment.ack <= sender.una:
                # An ACK that advances brings about by itself what is to be done.
                sender.retry(now)

    def on_progress(self) -> None:
        """Data was acknowledged on the subflow."""
        if self.stale:
            self.stale = False
            self._subflow.connection.count("MPTcpExtSubflowRecover")

    def ask_peer(self, now: int) -> None:
        """The peer has removed its address: test whether the subflow still works (section 3.4.2)."""
        subflow = self._subflow
        if subflow.stage != READY:
            # Not there yet; which address of the peer it goes to is not known before the SYN/ACK.
            return
        if self.check_at < NEVER:
            # It was asked, and REMOVE_ADDR again, perhaps on the answer, is no news.
            return
        self._questions = _QUESTIONS
        self._ask(now)

    def _ask(self, now: int) -> None:
        tcp = self._subflow.tcp
        self._questions -= 1
        self._asked_at = now
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
            if tcp.last_heard < self._asked_at:
                connection.count("MPTcpExtRmSubflow")
                connection.reset_subflow(subflow, REASON_UNSPECIFIED, "the address was removed", now)
            elif self._questions:
                self._ask(now)
