"""MP_FAIL on the only subflow: it is sent, repeated, and given up (RFC 8684 section 3.7).

Where no other subflow could carry the data, a wrong checksum is no reason for a reset: MP_FAIL asks the peer
to fall back to plain TCP. It travels on an ACK, which TCP does not repeat, and its answer may not come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX, MpFail
from mptcpsim.units import NEVER

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.subflow import Subflow


class FailSignal:
    """The state of one subflow; times in ns.

    Attributes:
        dsn: relative DSN of the mapping whose checksum was wrong, or -1; nothing goes on from there.
        due: the next ACK carries MP_FAIL.
        at: when it is sent again.
        give_up_at: when the subflow is reset.
    """

    __slots__ = ("_subflow", "_tries", "at", "dsn", "due", "give_up_at")

    def __init__(self, subflow: Subflow) -> None:
        self._subflow = subflow
        self.dsn: int = -1
        self.due: bool = False
        self.at: int = NEVER
        self.give_up_at: int = NEVER
        self._tries: int = 0

    def begin(self, dsn: int, now: int) -> None:
        """Ask the peer to fall back: on the ACK of what has arrived, or at once."""
        self.dsn = dsn
        self.due = True
        self.at = now
        self.give_up_at = now + self._subflow.connection.config.mptcp.fail_timeout
        tcp = self._subflow.tcp
        tcp.receiver.ack_now = True
        tcp.wake_by(now)

    def option(self) -> MpFail:
        """Return the option for an ACK that is being sent, and wait for an answer to it.

        It is not on the ACKs between two time-outs: a peer that answers every MP_FAIL with a segment that
        asks for an ACK would never come to rest.
        """
        subflow = self._subflow
        connection = subflow.connection
        self._arm(connection.now())
        connection.count("MPTcpExtMPFailTx")
        return MpFail(connection.inbound.absolute(self.dsn))

    def _arm(self, now: int) -> None:
        """Start the timer; as in TCP the time-out doubles (RFC 6298 section 5.5)."""
        tcp = self._subflow.tcp
        self.due = False
        self.at = now + min(tcp.sender.rtt.rto << min(self._tries, 16), tcp.config.rto_max)
        self._tries += 1
        tcp.wake_by(self.at)

    def stop(self) -> None:
        """The peer has answered, or there is nobody to answer any more."""
        self.due = False
        self.at = self.give_up_at = NEVER

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        return min(self.at, self.give_up_at)

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        subflow = self._subflow
        if self.give_up_at <= now:
            self.stop()
            subflow.connection.reset_subflow(subflow, REASON_MIDDLEBOX, "MP_FAIL was not answered", now)
        elif self.at <= now:
            self.due = True
            subflow.tcp.send_ack(now)
            if self.due:
                # Something else had to go first.
                self._arm(now)
