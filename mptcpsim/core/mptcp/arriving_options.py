"""Options of MPTCP, other than the DSS, that arrive on a subflow: each goes to the class that acts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.core.mptcp_options import (
    VERSION_0,
    AddAddr,
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

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.subflow import Subflow


def take_options(subflow: Subflow, segment: Segment, now: int) -> bool:
    """Act on every option but the DSS of an acceptable segment; return False if the subflow ended."""
    connection = subflow.connection
    for option in segment.options or ():
        if not exists_in(option, connection.agreed.version):
            continue
        if isinstance(option, MpCapable):
            if not _take_keys(subflow, option, segment, now):
                return False
        elif isinstance(option, MpJoinAck):
            # The third ACK again: ours, which answered it, was lost.
            if subflow.tcp.answers.allowed(now):
                subflow.tcp.receiver.ack_now = True
        elif isinstance(option, AddAddr):
            connection.addresses.on_add_addr(option, subflow, now)
        elif isinstance(option, RemoveAddr):
            connection.addresses.on_remove_addr(option, now)
        elif isinstance(option, MpPrio):
            _take_priority(subflow, option)
        elif isinstance(option, MpFail):
            connection.fallback.on_mp_fail(subflow, now)
        elif isinstance(option, MpFastclose):
            connection.ending.on_fastclose(option, now)
        if subflow.tcp.ended:
            return False
    return True


def _take_keys(subflow: Subflow, option: MpCapable, segment: Segment, now: int) -> bool:
    """MP_CAPABLE with data parameters is a mapping of the first bytes (RFC 8684 section 3.1)."""
    connection = subflow.connection
    agreed = connection.agreed
    length = option.data_level_length
    if length <= 0 or not segment.length or agreed.version == VERSION_0:
        return True
    if not agreed.has_both_keys(option):
        # Not what was agreed on: the data has no mapping.
        return True
    if (option.checksum != UNKNOWN) != agreed.checksum:
        why = "checksum presence of the first data"
        return connection.fallback.on_options_missing(subflow, why, now)
    return subflow.take_first_mapping(length, option.checksum, segment, now)


def _take_priority(subflow: Subflow, option: MpPrio) -> None:
    """Take an MP_PRIO: in version 0 it may name the address whose subflows it means."""
    connection = subflow.connection
    connection.count("MPTcpExtMPPrioRx")
    if option.address_id == UNKNOWN:
        subflow.priority.on_mp_prio(option.backup)
        return
    for affected in connection.subflows_of_remote(option.address_id):
        affected.priority.on_mp_prio(option.backup)


def take_options_of_reset(subflow: Subflow, segment: Segment, now: int) -> None:
    """Note why the peer resets a subflow; MP_FASTCLOSE ends the whole connection."""
    connection = subflow.connection
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
            connection.ending.on_fastclose_reset(option, subflow, now)
