"""Options of MPTCP, other than the DSS, that arrive on a subflow: each goes to the class that acts on it."""

from __future__ import annotations

from mptcpsim.core.mptcp.addresses import Addresses
from mptcpsim.core.mptcp.closing import Closing
from mptcpsim.core.mptcp.fallback import Fallback
from mptcpsim.core.mptcp.further_options import FurtherMptcpOptions
from mptcpsim.core.mptcp.session import Session
from mptcpsim.core.mptcp.subflow import Subflow
from mptcpsim.core.mptcp_options import (
    VERSION_0,
    AddAddr,
    FurtherMptcpOption,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpPrio,
    MpTcprst,
    RemoveAddr,
    exists_in,
)
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import UNKNOWN


class ArrivingOptions:
    """The options of segments that arrive for one connection."""

    __slots__ = ("_addresses", "_connection", "_ending", "_fallback", "_further")

    def __init__(
        self,
        connection: Session,
        addresses: Addresses,
        fallback: Fallback,
        ending: Closing,
        further: FurtherMptcpOptions | None,
    ) -> None:
        self._connection = connection
        self._addresses = addresses
        self._fallback = fallback
        self._ending = ending
        self._further = further

    def take(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        """Act on every option but the DSS of an acceptable segment; return False if the subflow ended."""
        version = self._connection.agreed.version
        for option in segment.options or ():
            if not exists_in(option, version):
                continue
            if isinstance(option, MpCapable):
                if not self._take_keys(subflow, option, segment, now):
                    return False
            elif isinstance(option, MpJoinAck):
                # The third ACK again: ours, which answered it, was lost.
                if subflow.tcp.answers.allowed(now):
                    subflow.tcp.receiver.request_ack()
            elif isinstance(option, AddAddr):
                self._addresses.on_add_addr(option, subflow, now)
            elif isinstance(option, RemoveAddr):
                self._addresses.on_remove_addr(option, now)
            elif isinstance(option, MpPrio):
                self._take_priority(subflow, option)
            elif isinstance(option, MpFail):
                self._fallback.on_mp_fail(subflow, now)
            elif isinstance(option, MpFastclose):
                self._ending.on_fastclose(option, now)
            elif isinstance(option, FurtherMptcpOption) and self._further is not None:
                self._further.take(option, subflow.signals, now)
            if subflow.tcp.ended:
                return False
        return True

    def _take_keys(self, subflow: Subflow, option: MpCapable, segment: Segment, now: int) -> bool:
        """MP_CAPABLE with data parameters is a mapping of the first bytes (RFC 8684 section 3.1)."""
        agreed = self._connection.agreed
        length = option.data_level_length
        if length <= 0 or not segment.length or agreed.version == VERSION_0:
            return True
        if not agreed.has_both_keys(option):
            # Not what was agreed on: the data has no mapping.
            return True
        if (option.checksum != UNKNOWN) != agreed.checksum:
            return self._fallback.on_options_missing(subflow, "checksum presence of the first data", now)
        return subflow.take_first_mapping(length, option.checksum, segment, now)

    def _take_priority(self, subflow: Subflow, option: MpPrio) -> None:
        """Take an MP_PRIO: in version 0 it may name the address whose subflows it means."""
        connection = self._connection
        connection.count("MPTcpExtMPPrioRx")
        if option.address_id == UNKNOWN:
            subflow.on_mp_prio(option.backup)
            return
        for affected in connection.subflows_of_remote(option.address_id):
            affected.on_mp_prio(option.backup)

    def take_from_reset(self, subflow: Subflow, segment: Segment, now: int) -> None:
        """Note why the peer resets a subflow; MP_FASTCLOSE ends the whole connection."""
        connection = self._connection
        for option in segment.options or ():
            if not exists_in(option, connection.agreed.version):
                continue
            if isinstance(option, MpTcprst):
                connection.count("MPTcpExtMPRstRx")
                connection.note_subflow(subflow, "reset by peer", f"reason {option.reason}")
            elif isinstance(option, MpFail):
                # There is nothing to fall back on: what the subflow carries goes to others (section 3.7).
                connection.count("MPTcpExtMPFailRx")
            elif isinstance(option, MpFastclose):
                self._ending.on_fastclose_reset(option, subflow, now)
