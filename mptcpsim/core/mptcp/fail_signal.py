"""MP_FAIL on the only subflow: it is sent, repeated, and given up (RFC 8684 section 3.7).

Where no other subflow can carry the data, a wrong checksum does not lead to a reset: MP_FAIL asks the peer
to fall back to plain TCP. It travels on an ACK, which TCP does not repeat, and the peer may never answer it.
"""

from __future__ import annotations

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX, MpFail
from mptcpsim.units import NEVER


class FailSignal:
    """The state of one subflow; times in ns.

    Attributes:
        dsn: relative DSN of the mapping whose checksum was wrong, or -1; no byte from there on is delivered
            as long as the connection speaks MPTCP.
        due: the next ACK carries MP_FAIL.
        repeat_at: when it is sent again.
        give_up_at: when the subflow is reset.
    """

    __slots__ = ("_inbound", "_subflow", "_tries", "dsn", "due", "give_up_at", "repeat_at")

    def __init__(self, subflow: SubflowState, inbound: DataReceiver) -> None:
        self._subflow = subflow
        self._inbound = inbound
        self.dsn: int = -1
        self.due: bool = False
        self.repeat_at: int = NEVER
        self.give_up_at: int = NEVER
        self._tries: int = 0

    def begin(self, dsn: int, now: int) -> None:
        """Ask the peer to fall back: on the ACK of what has arrived, or at once."""
        self.dsn = dsn
        self.due = True
        self.repeat_at = now
        self.give_up_at = now + self._subflow.connection.config.mptcp.fail_timeout
        tcp = self._subflow.tcp
        tcp.receiver.request_ack()
        tcp.wake_by(now)

    def option(self) -> MpFail:
        """Return the option for an ACK that is being sent, and wait for an answer to it.

        ACKs between two time-outs do not carry it: with a peer that answers every MP_FAIL with a segment that
        asks for an ACK the exchange would never end.
        """
        subflow = self._subflow
        connection = subflow.connection
        self._arm(connection.now())
        connection.count("MPTcpExtMPFailTx")
        return MpFail(self._inbound.absolute(self.dsn))

    def _arm(self, now: int) -> None:
        """Start the timer; as in TCP the time-out doubles (RFC 6298 section 5.5)."""
        tcp = self._subflow.tcp
        self.due = False
        self.repeat_at = now + min(tcp.sender.rtt.rto << min(self._tries, 16), tcp.config.rto_max)
        self._tries += 1
        tcp.wake_by(self.repeat_at)

    def stop(self) -> None:
        """Stop repeating: the peer has answered, or the subflow is being reset."""
        self.due = False
        self.repeat_at = self.give_up_at = NEVER

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        return min(self.repeat_at, self.give_up_at)

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        subflow = self._subflow
        if self.give_up_at <= now:
            self.stop()
            subflow.reset(REASON_MIDDLEBOX, "MP_FAIL was not answered", now)
        elif self.repeat_at <= now:
            self.due = True
            subflow.tcp.send_ack(now)
            if self.due:
                # The ACK carried another option in its place.
                self._arm(now)
