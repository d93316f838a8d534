"""Options of MPTCP other than the DSS: which go with a segment, and what an arriving one does.

They travel on ACKs without data, which TCP does not repeat. What does not fit into the 40
bytes of an ACK is counted as dropped and goes with a later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp import closing, fallback, handshake
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.stages import PRE_ESTABLISHED, READY
from mptcpsim.core.mptcp_options import (
    VERSION_0,
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
    exists_in,
    padded_length,
)
from mptcpsim.core.options import OPTION_SPACE
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.states import CLOSE_WAIT, ESTABLISHED

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.subflow import Subflow

#: Section 4 of RFC 8684: more ACKs with signals in a row could be taken for duplicate ACKs.
_ACKS_IN_A_ROW: Final = 2
#: Signals that wait before further echoes are left out.
_MOST_WAITING: Final = 16


# --- Sending ------------------------------------------------------------------------------------


def first_data_options(subflow: Subflow, mapping: Mapping) -> tuple[MptcpOption, ...] | None:
    """Return the MP_CAPABLE that stands in for the first mapping, None for a DSS (RFC 8684 3.1)."""
    connection = subflow.connection
    if connection.version == VERSION_0:
        return None
    option = handshake.third_ack_option(connection)
    return (option._replace(data_level_length=mapping.length, checksum=mapping.checksum),)


def ack_options(subflow: Subflow, room: int) -> tuple[Dss | None, tuple[MptcpOption, ...] | None, bool]:
    """Return what goes with an ACK without data: DSS, other options, and whether timestamps do.

    Args:
        subflow: whose ACK it is.
        room: bytes of options that the timestamps leave.
    """
    chosen: list[MptcpOption] = []
    if subflow.stage == PRE_ESTABLISHED:
        chosen.append(handshake.join_ack_option(subflow))
    elif subflow.fail.due:
        chosen.append(subflow.fail.option())
    elif subflow.keys_due:
        chosen.append(handshake.third_ack_option(subflow.connection))
    left = room
    for option in chosen:
        left -= padded_length(option)
    stamped = subflow.tcp.timestamps
    may_signal = subflow.stage != PRE_ESTABLISHED
    ack = subflow.connection.inbound.ack_dss()
    # An ACK of new data has a DATA_ACK, or the peer would think that a middlebox took it (section 3.7).
    receiver = subflow.tcp.receiver
    is_news = receiver.nxt > receiver.last_ack_sent
    speaks_dss = (subflow.heard or not subflow.keys_due) and may_signal
    needed = padded_length(ack) if speaks_dss else 0
    waiting: list[MptcpOption] = []
    for option in subflow.signals:
        size = padded_length(option)
        alone = not chosen and not is_news
        if may_signal and (size + needed <= left or (alone and size <= left)):
            chosen.append(option)
            left -= size
            _count_sent(subflow, option)
        elif may_signal and alone and room < size <= OPTION_SPACE:
            # An IPv6 address with a port and its HMAC only fits in place of the timestamps.
            chosen.append(option)
            stamped = False
            left = OPTION_SPACE - size
            _count_sent(subflow, option)
        else:
            waiting.append(option)
            _count_dropped(subflow, option)
    subflow.signals = waiting
    dss: Dss | None = None
    if speaks_dss and needed <= left:
        dss = ack
    return dss, tuple(chosen) if chosen else None, stamped


_SENT: Final[dict[str, str]] = {
    "RemoveAddr": "MPTcpExtRmAddrTx",
    "MpPrio": "MPTcpExtMPPrioTx",
    "MpFail": "MPTcpExtMPFailTx",
    "MpFastclose": "MPTcpExtMPFastcloseTx",
}


def _count_sent(subflow: Subflow, option: MptcpOption) -> None:
    if isinstance(option, AddAddr):
        subflow.connection.count("MPTcpExtEchoAddTx" if option.echo else "MPTcpExtAddAddrTx")
    else:
        name = _SENT.get(type(option).__name__)
        if name is not None:
            subflow.connection.count(name)


def _count_dropped(subflow: Subflow, option: MptcpOption) -> None:
    if isinstance(option, AddAddr):
        subflow.connection.count("MPTcpExtEchoAddTxDrop" if option.echo else "MPTcpExtAddAddrTxDrop")
    elif isinstance(option, RemoveAddr):
        subflow.connection.count("MPTcpExtRmAddrTxDrop")


def signal(subflow: Subflow, option: MptcpOption, now: int) -> None:
    """Send an option on this subflow: on an ACK now, or on a later one.

    The peer may ask for more echoes than there are ACKs: what waits already is not queued again, and of those
    that wait there is a most. It repeats what was not echoed.
    """
    waiting = subflow.signals
    if isinstance(option, AddAddr) and option.echo and (option in waiting or len(waiting) >= _MOST_WAITING):
        _count_dropped(subflow, option)
        return
    waiting.append(option)
    flush(subflow, now)


def flush(subflow: Subflow, now: int) -> None:
    """Send ACKs for the options that wait, at most two in a row."""
    tcp = subflow.tcp
    while subflow.signals and subflow.stage == READY and tcp.state in (ESTABLISHED, CLOSE_WAIT):
        if subflow.keys_due or subflow.signal_acks >= _ACKS_IN_A_ROW:
            subflow.signal_at = now + max(tcp.sender.rtt.srtt, tcp.config.rto_min)
            tcp.wake_by(subflow.signal_at)
            return
        subflow.signal_acks += 1
        tcp.send_ack(now)


def set_backup(subflow: Subflow, backup: bool, now: int) -> None:
    """Ask the peer to use a subflow as a backup, or no longer (MP_PRIO, RFC 8684 section 3.3.8)."""
    subflow.own_backup = backup
    signal(subflow, MpPrio(backup), now)
    subflow.connection.note_subflow(subflow, "SF_PRIO", f"backup {int(backup)}")
    subflow.connection.outbound.push(now)


# --- Receiving ----------------------------------------------------------------------------------


def take_options(subflow: Subflow, segment: Segment, now: int) -> bool:
    """Act on every option but the DSS of an acceptable segment; False if the subflow ended."""
    connection = subflow.connection
    for option in segment.options or ():
        if not exists_in(option, connection.version):
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
            on_mp_prio(option, subflow)
        elif isinstance(option, MpFail):
            fallback.on_mp_fail(connection, option, subflow, now)
        elif isinstance(option, MpFastclose):
            closing.on_fastclose(connection, option, now)
        if subflow.tcp.ended:
            return False
    return True


def _take_keys(subflow: Subflow, option: MpCapable, segment: Segment, now: int) -> bool:
    """MP_CAPABLE with data parameters is a mapping of the first bytes (RFC 8684 section 3.1)."""
    connection = subflow.connection
    length = option.data_level_length
    if length <= 0 or not segment.length or connection.version == VERSION_0:
        return True
    keys = option.sender_key, option.receiver_key
    ours = connection.remote_key.value, connection.local_key.value
    if keys != ours or not handshake.is_agreed(option, connection.version):
        # Not what was agreed on: the data has no mapping.
        return True
    if (option.checksum != UNKNOWN) != connection.checksum:
        return fallback.on_options_missing(connection, subflow, "checksum presence of the first data", now)
    subflow.heard = True
    connection.joins.allow("dss", now)
    return subflow.take_mapping(Mapping(1, 1, length, False, option.checksum), segment, now)


def on_mp_prio(option: MpPrio, subflow: Subflow) -> None:
    """Take an MP_PRIO: in version 0 it may name the address whose subflows it means."""
    connection = subflow.connection
    connection.count("MPTcpExtMPPrioRx")
    affected = [subflow]
    if option.address_id != UNKNOWN:
        affected = connection.subflows_of_remote(option.address_id)
    for one in affected:
        one.peer_backup = option.backup
        connection.note_subflow(one, "SF_PRIO", f"backup {int(option.backup)}")


def on_reset(subflow: Subflow, segment: Segment, now: int) -> None:
    """Note why the peer resets a subflow; MP_FASTCLOSE ends the whole connection."""
    connection = subflow.connection
    for option in segment.options or ():
        if not exists_in(option, connection.version):
            continue
        if isinstance(option, MpTcprst):
            connection.count("MPTcpExtMPRstRx")
            connection.note_subflow(subflow, "reset by peer", f"reason {option.reason}")
        elif isinstance(option, MpFail):
            # There is nothing to fall back on: what the subflow carries goes to others (section 3.7).
            connection.count("MPTcpExtMPFailRx")
        elif isinstance(option, MpFastclose):
            closing.on_fastclose_reset(connection, option, subflow, now)
