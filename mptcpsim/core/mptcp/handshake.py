"""The exchange that opens the first subflow: MP_CAPABLE (RFC 8684 section 3.1).

``Handshake`` is the interface of this exchange and of MP_JOIN (``join_handshake``). TCP calls its methods
during the three-way handshake; those that return a bool decide whether that goes on.
"""

from __future__ import annotations

from mptcpsim.core.mptcp.agreement import is_well_formed
from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.stages import KEYS_ARRIVED, KEYS_CONFIRMED
from mptcpsim.core.mptcp_options import VERSION_0, MpCapable, MptcpOption
from mptcpsim.core.segment import Segment
from mptcpsim.units import NEVER


class Handshake:
    """The exchange that opens one subflow. Times in ns.

    Attributes:
        local_id, remote_id: identifiers of the addresses of the two ends; 0 for the first subflow.
        repeat_at: when the third ACK, which was not answered, is sent again.
    """

    __slots__ = ("_subflow", "local_id", "remote_id", "repeat_at")

    def __init__(self, subflow: SubflowState) -> None:
        self._subflow = subflow
        self.local_id: int = 0
        self.remote_id: int = 0
        self.repeat_at: int = NEVER

    def on_syn(self, option: MptcpOption, segment: Segment) -> None:
        """Take the option of a SYN, at the end that will answer it."""
        raise NotImplementedError

    def syn_option(self, transmissions: int) -> MptcpOption | None:
        """Return the option of a SYN that was sent ``transmissions`` times before."""
        raise NotImplementedError

    def syn_ack_option(self) -> MptcpOption | None:
        """Return the option of a SYN/ACK."""
        raise NotImplementedError

    def on_syn_ack(self, segment: Segment, now: int) -> bool:
        """Take a SYN/ACK at the end that sent the SYN; return False if the subflow was reset."""
        raise NotImplementedError

    def third_ack_option(self) -> MptcpOption:
        """Return the option of the third ACK, and of the ACKs that stand in for it."""
        raise NotImplementedError

    def first_data_option(self, mapping: Mapping) -> MptcpOption | None:
        """Return the option that stands in for the DSS of the first mapping, None for that DSS."""
        return None

    def on_third_ack(self, segment: Segment, now: int) -> bool:
        """Take the ACK of our SYN/ACK; return False if it does not complete the handshake."""
        raise NotImplementedError

    def on_simultaneous_open(self, now: int) -> bool:
        """Both ends have sent a SYN; return False if the subflow was given up."""
        raise NotImplementedError

    def stop(self) -> None:
        """Repeat nothing any more: the connection has become plain TCP."""
        self.repeat_at = NEVER

    def handle_timers(self, now: int) -> None:
        """Repeat the third ACK if its timer has expired."""


class CapableHandshake(Handshake):
    """MP_CAPABLE: the first subflow, and with it the connection."""

    __slots__ = ("_inbound", "_outbound")

    def __init__(self, subflow: SubflowState, outbound: DataSender, inbound: DataReceiver) -> None:
        super().__init__(subflow)
        self._outbound = outbound
        self._inbound = inbound

    def on_syn(self, option: MptcpOption, segment: Segment) -> None:
        """Take the MP_CAPABLE of a SYN, and its window."""
        assert isinstance(option, MpCapable)
        connection = self._subflow.connection
        agreed = connection.agreed
        agreed.on_offer(option)
        self._outbound.start(agreed.local_key.idsn, segment.window)
        if agreed.version == VERSION_0:
            self._inbound.start(agreed.remote_key.idsn)

    def syn_option(self, transmissions: int) -> MptcpOption | None:
        """Return the MP_CAPABLE of a SYN, None where it is sent without."""
        connection = self._subflow.connection
        if connection.is_plain:
            return None
        if transmissions >= connection.config.mptcp.syns_with_option:
            # Section 3.1: a middlebox may drop SYNs with options that it does not know.
            connection.count("MPTcpExtMPCapableSYNTXDrop")
            return None
        connection.count("MPTcpExtMPCapableSYNTX")
        return connection.agreed.syn_option()

    def syn_ack_option(self) -> MptcpOption | None:
        """Return the MP_CAPABLE of a SYN/ACK."""
        connection = self._subflow.connection
        return None if connection.is_plain else connection.agreed.syn_ack_option()

    def on_syn_ack(self, segment: Segment, now: int) -> bool:
        """Take the peer's key, or become plain TCP."""
        subflow = self._subflow
        connection = subflow.connection
        if connection.is_plain:
            return True
        agreed = connection.agreed
        option = _capable(segment)
        if (
            option is None
            or not is_well_formed(option)
            or option.version > agreed.version
            or option.version not in connection.config.mptcp.versions
        ):
            connection.count("MPTcpExtMPCapableFallbackSYNACK")
            if connection.config.mptcp.cache_versions:
                # The peer does not speak the version that was offered.
                connection.note_refusal(subflow.tcp.flow.dst)
            connection.become_plain(subflow, "SYN/ACK without MP_CAPABLE", now)
            return True
        connection.count("MPTcpExtMPCapableSYNACKRX")
        if option.version != agreed.version:
            if not connection.rename_token(agreed.key_for(option.version).token):
                connection.become_plain(subflow, "the token of the lower version is taken", now)
                return True
            agreed.lower_version(option.version)
        agreed.on_answer(option)
        self._inbound.start(agreed.remote_key.idsn)
        self._outbound.start(agreed.local_key.idsn, segment.window)
        subflow.advance(KEYS_ARRIVED)
        return True

    def third_ack_option(self) -> MptcpOption:
        """Return the MP_CAPABLE with both keys."""
        return self._subflow.connection.agreed.third_ack_option()

    def first_data_option(self, mapping: Mapping) -> MptcpOption | None:
        """Return the MP_CAPABLE that stands in for the first mapping, None for a DSS (section 3.1)."""
        agreed = self._subflow.connection.agreed
        if agreed.version == VERSION_0:
            return None
        option = agreed.third_ack_option()
        return option._replace(data_level_length=mapping.length, checksum=mapping.checksum)

    def on_third_ack(self, segment: Segment, now: int) -> bool:
        """Take both keys, or become plain TCP."""
        subflow = self._subflow
        connection = subflow.connection
        if connection.is_plain:
            return True
        agreed = connection.agreed
        option = _capable(segment)
        if option is None and segment.dss is not None and agreed.version != VERSION_0:
            # The third ACK and the first data are late or lost, and the key with them. Wait: the peer
            # repeats both.
            return False
        known = option is not None and (
            agreed.matches(option)
            and option.receiver_key == agreed.local_key.value
            and (agreed.version != VERSION_0 or option.sender_key == agreed.remote_key.value)
        )
        if not known and not (segment.dss is not None and agreed.version == VERSION_0):
            connection.count("MPTcpExtMPCapableFallbackACK")
            connection.become_plain(subflow, "third ACK without MP_CAPABLE", now)
            return True
        if option is not None and known:
            connection.count("MPTcpExtMPCapableACKRX")
            agreed.on_confirmation(option)
            self._inbound.start(agreed.remote_key.idsn)
        subflow.advance(KEYS_CONFIRMED)
        return True

    def on_simultaneous_open(self, now: int) -> bool:
        """RFC 8684 has no exchange of keys for this case: the connection becomes plain TCP."""
        connection = self._subflow.connection
        connection.count("MPTcpExtSimultConnectFallback")
        connection.become_plain(self._subflow, "simultaneous open", now)
        return True


def _capable(segment: Segment) -> MpCapable | None:
    for option in segment.options or ():
        if isinstance(option, MpCapable):
            return option
    return None
