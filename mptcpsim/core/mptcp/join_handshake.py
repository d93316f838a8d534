"""The exchange that opens a further subflow: MP_JOIN, in four segments (RFC 8684 section 3.2)."""

from __future__ import annotations

from mptcpsim.core.mptcp.addresses import Addresses
from mptcpsim.core.mptcp.handshake import Handshake
from mptcpsim.core.mptcp.priority import Priority
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.stages import JOIN_ANSWERED, JOIN_PROVEN, PRE_ESTABLISHED, THIRD_ACK_ANSWERED
from mptcpsim.core.mptcp_options import (
    REASON_MPTCP_SPECIFIC,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MptcpOption,
)
from mptcpsim.core.segment import Segment
from mptcpsim.units import NEVER


class JoinHandshake(Handshake):
    """MP_JOIN: both ends prove that they know the keys of the connection.

    Attributes:
        local_nonce, remote_nonce: the random numbers of the two ends.
    """

    __slots__ = ("_addresses", "_priority", "_tries", "local_nonce", "remote_nonce")

    def __init__(self, subflow: SubflowState, addresses: Addresses, priority: Priority) -> None:
        super().__init__(subflow)
        self._addresses = addresses
        self._priority = priority
        self.local_nonce: int = 0
        self.remote_nonce: int = 0
        #: How often the third ACK was sent.
        self._tries: int = 0

    @property
    def initiator_nonce(self) -> int:
        """The random number of the SYN, by which both ends can name the subflow."""
        return self.remote_nonce if self._subflow.tcp.passive else self.local_nonce

    # --- The initiator --------------------------------------------------------------------------

    def begin(self, backup: bool) -> None:
        """Prepare the SYN that opens the subflow, perhaps as a backup."""
        connection = self._subflow.connection
        self.local_id = self._addresses.local_id(self._subflow.tcp.flow.src)
        self.local_nonce = connection.nonce()
        self._priority.on_own_syn(backup)

    def syn_option(self, transmissions: int) -> MptcpOption | None:
        """Return the MP_JOIN of a SYN."""
        token = self._subflow.connection.agreed.remote_key.token
        return MpJoinSyn(self.local_id, token, self.local_nonce, self._priority.own)

    def on_syn_ack(self, segment: Segment, now: int) -> bool:
        """Check the peer's HMAC."""
        subflow = self._subflow
        connection = subflow.connection
        for option in segment.options or ():
            if isinstance(option, MpJoinSynAck):
                connection.count("MPTcpExtMPJoinSynAckRx")
                if self._goes_to_other_port():
                    connection.count("MPTcpExtMPJoinPortSynAckRx")
                if option.backup:
                    connection.count("MPTcpExtMPJoinSynAckBackupRx")
                self.remote_id = option.address_id
                self.remote_nonce = option.nonce
                self._priority.on_request(option.backup)
                if connection.agreed.accepts_syn_ack_hmac(option.hmac, option.nonce, self.local_nonce):
                    subflow.advance(JOIN_ANSWERED)
                    return True
                connection.count("MPTcpExtMPJoinSynAckHMacFailure")
                break
        subflow.reset(REASON_MPTCP_SPECIFIC, "the SYN/ACK has no valid MP_JOIN", now)
        return False

    def third_ack_option(self) -> MptcpOption:
        """Return the MP_JOIN of the third ACK."""
        return MpJoinAck(self._subflow.connection.agreed.own_ack_hmac(self.local_nonce, self.remote_nonce))

    def await_answer(self, now: int) -> None:
        """Start the timer that guards the third ACK, which is sent again as a SYN would be."""
        tcp = self._subflow.tcp
        self.repeat_at = now + (tcp.sender.rtt.rto << self._tries)
        self._tries += 1
        tcp.wake_by(self.repeat_at)

    def on_answer(self, now: int) -> None:
        """The peer has answered the third ACK: any segment does."""
        self.repeat_at = NEVER
        self._subflow.advance(THIRD_ACK_ANSWERED)
        self._subflow.connection.on_join_complete(self._subflow, now)

    def handle_timers(self, now: int) -> None:
        """Repeat the third ACK if its timer has expired."""
        if self.repeat_at <= now:
            self.repeat_at = NEVER
            if self._subflow.stage == PRE_ESTABLISHED:
                self._repeat_third_ack(now)

    def _repeat_third_ack(self, now: int) -> None:
        tcp = self._subflow.tcp
        if self._tries >= tcp.config.syn_retries:
            tcp.finish("timed out: the third ACK of the join was not answered", now)
            return
        tcp.send_ack(now)
        self.await_answer(now)

    def _goes_to_other_port(self) -> bool:
        """Return whether the subflow goes to another port of the peer than the first one."""
        subflow = self._subflow
        return subflow.tcp.flow.dport != subflow.connection.subflows[0].flow.dport

    # --- The responder --------------------------------------------------------------------------

    def on_syn(self, option: MptcpOption, segment: Segment) -> None:
        """Take what the SYN of a join says."""
        assert isinstance(option, MpJoinSyn)
        subflow = self._subflow
        connection = subflow.connection
        self.local_nonce = connection.nonce()
        self.remote_nonce = option.nonce
        self.remote_id = option.address_id
        self._priority.on_request(option.backup)
        local = subflow.tcp.flow.src
        self.local_id = self._addresses.local_id(local)
        self._priority.on_own_syn(connection.path_manager.wants_backup(connection.paths, local))
        if self._came_to_announced_port():
            connection.count("MPTcpExtMPJoinPortSynRx")

    def syn_ack_option(self) -> MptcpOption | None:
        """Return the MP_JOIN of a SYN/ACK."""
        subflow = self._subflow
        hmac = subflow.connection.agreed.own_syn_ack_hmac(self.local_nonce, self.remote_nonce)
        return MpJoinSynAck(self.local_id, hmac, self.local_nonce, self._priority.own)

    def on_third_ack(self, segment: Segment, now: int) -> bool:
        """Check the peer's HMAC, and answer with the fourth ACK."""
        subflow = self._subflow
        connection = subflow.connection
        for option in segment.options or ():
            if isinstance(option, MpJoinAck):
                if connection.agreed.accepts_ack_hmac(option.hmac, self.remote_nonce, self.local_nonce):
                    connection.count("MPTcpExtMPJoinAckRx")
                    if self._came_to_announced_port():
                        connection.count("MPTcpExtMPJoinPortAckRx")
                    subflow.advance(JOIN_PROVEN)
                    # The fourth ACK: the initiator may not send before it (section 3.2).
                    subflow.tcp.receiver.request_ack()
                    return True
                connection.count("MPTcpExtMPJoinAckHMacFailure")
                break
        subflow.reset(REASON_MPTCP_SPECIFIC, "the third ACK has no valid MP_JOIN", now)
        return False

    def _came_to_announced_port(self) -> bool:
        """Return whether the peer's join has come to a port that an ADD_ADDR of ours has named.

        The port of the first subflow does not count, announced or not (as in Linux).
        """
        connection = self._subflow.connection
        flow = self._subflow.tcp.flow
        return flow.sport != connection.subflows[0].flow.sport and (
            self._addresses.has_announced(flow.src, flow.sport)
        )

    def on_simultaneous_open(self, now: int) -> bool:
        """A join has no simultaneous open."""
        subflow = self._subflow
        subflow.reset(REASON_MPTCP_SPECIFIC, "simultaneous open of a join", now)
        return False
