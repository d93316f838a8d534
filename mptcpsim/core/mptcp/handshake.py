"""MP_CAPABLE and MP_JOIN: what SYNs and third ACKs carry, and what the other end makes of it.

RFC 8684 sections 3.1 and 3.2; RFC 6824 the same. The two functions named ``on_...`` are
called while the TCP handshake goes on, and decide whether it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.core.mptcp import fallback
from mptcpsim.core.mptcp.keys import ack_hmac, derive, syn_ack_hmac
from mptcpsim.core.mptcp.stages import PRE_ESTABLISHED, READY
from mptcpsim.core.mptcp_options import (
    CHECKSUM_REQUIRED,
    EXTENSIBILITY,
    HMAC_SHA,
    NO_MORE_SUBFLOWS,
    REASON_MPTCP_SPECIFIC,
    VERSION_0,
    VERSION_1,
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MptcpOption,
)
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import UNKNOWN

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.mptcp.subflow import Subflow
    from mptcpsim.core.mptcp_config import MptcpConfig


# --- The version ----------------------------------------------------------------------------------


def answer_version(offer: MpCapable, config: MptcpConfig) -> int:
    """Return the version with which a listener answers an MP_CAPABLE, ``UNKNOWN`` for plain TCP.

    It is the highest one that both speak. A version 1 SYN has no key, without which version
    0 cannot go on; and without the one algorithm there is, the option is invalid.
    """
    if not offer.flags & HMAC_SHA or offer.flags & EXTENSIBILITY:
        return UNKNOWN
    best = UNKNOWN
    for version in config.versions:
        if version > offer.version or version <= best:
            continue
        if version == VERSION_0 and offer.sender_key == UNKNOWN:
            continue
        if version == VERSION_1 and offer.version == VERSION_1 and offer.sender_key != UNKNOWN:
            # Not the layout of this version.
            continue
        best = version
    return best


def is_to_be_ignored(offer: MpCapable) -> bool:
    """RFC 6824 section 3.1: a version 0 SYN with flag B is not answered at all."""
    return offer.version == VERSION_0 and bool(offer.flags & EXTENSIBILITY)


def is_agreed(option: MpCapable, version: int) -> bool:
    """Return whether an MP_CAPABLE from the SYN/ACK on means what we speak (section 3.1).

    That is: this version, no extension that nobody knows, and of the algorithms just the one chosen.
    """
    return (
        option.version == version
        and not option.flags & EXTENSIBILITY
        and option.crypto_bits() == HMAC_SHA
        and option.sender_key != UNKNOWN
    )


def _switch_version(connection: MptcpConnection, version: int) -> bool:
    """Go over to the lower version that the peer has chosen; return whether the token is free."""
    key = derive(connection.local_key.value, version, connection.config.mptcp.initial_dsn)
    if not connection.rename_token(key.token):
        return False
    connection.version = version
    connection.local_key = key
    connection.outbound.idsn = key.idsn
    return True


def _note_refusal(subflow: Subflow) -> None:
    """The peer does not speak the version that was offered: remember it for the next connection."""
    connection = subflow.connection
    if connection.config.mptcp.cache_versions:
        connection.note_refusal(subflow.tcp.flow.dst)


# --- Keys -------------------------------------------------------------------------------------------


def _flags(connection: MptcpConnection) -> int:
    flags = HMAC_SHA | (CHECKSUM_REQUIRED if connection.checksum else 0)
    if connection.config.mptcp.deny_join_initial and connection.version != VERSION_0:
        flags |= NO_MORE_SUBFLOWS
    return flags


def take_remote_key(connection: MptcpConnection, value: int, flags: int) -> None:
    """Take the peer's key, and with it its token and IDSN."""
    connection.remote_key = derive(value, connection.version, connection.config.mptcp.initial_dsn)
    connection.remote_flags = flags
    connection.inbound.idsn = connection.remote_key.idsn
    connection.denies_initial = connection.version != VERSION_0 and bool(flags & NO_MORE_SUBFLOWS)


def take_offer(connection: MptcpConnection, offer: MpCapable, window: int) -> None:
    """Take the MP_CAPABLE of a SYN, and its window, at the end that answers it."""
    connection.checksum = connection.checksum or bool(offer.flags & CHECKSUM_REQUIRED)
    connection.remote_flags = offer.flags
    connection.outbound.seed_window(window)
    if connection.version == VERSION_0:
        take_remote_key(connection, offer.sender_key, offer.flags)


def third_ack_option(connection: MptcpConnection) -> MpCapable:
    """Return the MP_CAPABLE with both keys."""
    return MpCapable(
        connection.version, _flags(connection), connection.local_key.value, connection.remote_key.value
    )


def join_ack_option(subflow: Subflow) -> MpJoinAck:
    """Return the MP_JOIN of the third ACK of a join."""
    connection = subflow.connection
    hmac = ack_hmac(
        connection.version,
        connection.local_key.value,
        connection.remote_key.value,
        subflow.local_nonce,
        subflow.remote_nonce,
    )
    return MpJoinAck(hmac)


# --- SYN and SYN/ACK --------------------------------------------------------------------------------


def syn_option(subflow: Subflow, answer: bool, transmissions: int) -> MptcpOption | None:
    """Return the option of a SYN, or with ``answer`` of a SYN/ACK.

    Args:
        subflow: that is being opened.
        answer: it is a SYN/ACK.
        transmissions: how often this SYN was sent before.
    """
    connection = subflow.connection
    config = connection.config.mptcp
    if subflow.is_join:
        if answer:
            hmac = syn_ack_hmac(
                connection.version,
                connection.local_key.value,
                connection.remote_key.value,
                subflow.local_nonce,
                subflow.remote_nonce,
            )
            return MpJoinSynAck(subflow.local_id, hmac, subflow.local_nonce, subflow.own_backup)
        return MpJoinSyn(
            subflow.local_id, connection.remote_key.token, subflow.local_nonce, subflow.own_backup
        )
    if connection.is_plain:
        return None
    flags = _flags(connection)
    if answer:
        return MpCapable(connection.version, flags, connection.local_key.value)
    if transmissions >= config.syns_with_option:
        # Section 3.1: a middlebox may drop SYNs with options that it does not know.
        connection.count("MPTcpExtMPCapableSYNTXDrop")
        return None
    connection.count("MPTcpExtMPCapableSYNTX")
    key = connection.local_key.value if connection.version == VERSION_0 else UNKNOWN
    return MpCapable(connection.version, flags, key)


def _capable(segment: Segment) -> MpCapable | None:
    for option in segment.options or ():
        if isinstance(option, MpCapable):
            return option
    return None


def on_syn_ack(subflow: Subflow, segment: Segment, now: int) -> bool:
    """Take a SYN/ACK at the end that sent the SYN; return False if the subflow was reset."""
    if subflow.is_join:
        return _join_answered(subflow, segment, now)
    connection = subflow.connection
    if connection.is_plain:
        return True
    option = _capable(segment)
    if (
        option is None
        or not is_agreed(option, option.version)
        or option.version > connection.version
        or option.version not in connection.config.mptcp.versions
    ):
        connection.count("MPTcpExtMPCapableFallbackSYNACK")
        _note_refusal(subflow)
        fallback.become_plain(connection, subflow, "SYN/ACK without MP_CAPABLE", now)
        return True
    connection.count("MPTcpExtMPCapableSYNACKRX")
    if option.version != connection.version and not _switch_version(connection, option.version):
        fallback.become_plain(connection, subflow, "the token of the lower version is taken", now)
        return True
    connection.checksum = connection.checksum or bool(option.flags & CHECKSUM_REQUIRED)
    take_remote_key(connection, option.sender_key, option.flags)
    connection.outbound.seed_window(segment.window)
    subflow.keys_due = True
    subflow.speaks = True
    subflow.stage = READY
    subflow.tcp.set_signal_bytes(subflow.data_option_space())
    return True


def _join_answered(subflow: Subflow, segment: Segment, now: int) -> bool:
    connection = subflow.connection
    for option in segment.options or ():
        if isinstance(option, MpJoinSynAck):
            connection.count("MPTcpExtMPJoinSynAckRx")
            if subflow.goes_to_other_port():
                connection.count("MPTcpExtMPJoinPortSynAckRx")
            if option.backup:
                connection.count("MPTcpExtMPJoinSynAckBackupRx")
            subflow.remote_id = option.address_id
            subflow.remote_nonce = option.nonce
            subflow.peer_backup = option.backup
            expected = syn_ack_hmac(
                connection.version,
                connection.remote_key.value,
                connection.local_key.value,
                option.nonce,
                subflow.local_nonce,
            )
            if option.hmac == expected or not connection.config.mptcp.validate_hmac:
                subflow.speaks = True
                subflow.stage = PRE_ESTABLISHED
                subflow.tcp.set_signal_bytes(subflow.data_option_space())
                return True
            connection.count("MPTcpExtMPJoinSynAckHMacFailure")
            break
    connection.reset_subflow(subflow, REASON_MPTCP_SPECIFIC, "the SYN/ACK has no valid MP_JOIN", now)
    return False


# --- The third ACK ----------------------------------------------------------------------------------


def on_third_ack(subflow: Subflow, segment: Segment, now: int) -> bool:
    """Take the ACK of our SYN/ACK; return False if it does not complete the handshake."""
    if subflow.is_join:
        return _join_completed(subflow, segment, now)
    connection = subflow.connection
    if connection.is_plain:
        return True
    option = _capable(segment)
    if option is None and segment.dss is not None and connection.version != VERSION_0:
        # Third ACK and first data are late or lost. Without them we have no key to go on with,
        # and no reason to give up: the peer repeats both.
        return False
    known = option is not None and (
        is_agreed(option, connection.version)
        and option.receiver_key == connection.local_key.value
        and (connection.version != VERSION_0 or option.sender_key == connection.remote_key.value)
    )
    if not known and not (segment.dss is not None and connection.version == VERSION_0):
        connection.count("MPTcpExtMPCapableFallbackACK")
        fallback.become_plain(connection, subflow, "third ACK without MP_CAPABLE", now)
        return True
    if option is not None and known:
        connection.count("MPTcpExtMPCapableACKRX")
        connection.checksum = connection.checksum or bool(option.flags & CHECKSUM_REQUIRED)
        if connection.version != VERSION_0:
            take_remote_key(connection, option.sender_key, connection.remote_flags)
    subflow.speaks = True
    subflow.stage = READY
    subflow.tcp.set_signal_bytes(subflow.data_option_space())
    return True


def _join_completed(subflow: Subflow, segment: Segment, now: int) -> bool:
    connection = subflow.connection
    for option in segment.options or ():
        if isinstance(option, MpJoinAck):
            expected = ack_hmac(
                connection.version,
                connection.remote_key.value,
                connection.local_key.value,
                subflow.remote_nonce,
                subflow.local_nonce,
            )
            if option.hmac == expected or not connection.config.mptcp.validate_hmac:
                connection.count("MPTcpExtMPJoinAckRx")
                if subflow.came_to_announced_port():
                    connection.count("MPTcpExtMPJoinPortAckRx")
                subflow.speaks = True
                subflow.stage = READY
                subflow.tcp.set_signal_bytes(subflow.data_option_space())
                # The fourth ACK: the initiator may not send before it (section 3.2).
                subflow.tcp.receiver.ack_now = True
                return True
            connection.count("MPTcpExtMPJoinAckHMacFailure")
            break
    connection.reset_subflow(subflow, REASON_MPTCP_SPECIFIC, "the third ACK has no valid MP_JOIN", now)
    return False


def repeat_third_ack(subflow: Subflow, now: int) -> None:
    """The third ACK of a join was not answered: send it again, as a SYN would be (section 3.2)."""
    tcp = subflow.tcp
    if subflow.join_tries >= tcp.config.syn_retries:
        tcp.finish("timed out: the third ACK of the join was not answered", now)
        return
    tcp.send_ack(now)
    arm_third_ack(subflow, now)


def arm_third_ack(subflow: Subflow, now: int) -> None:
    """Start the timer that guards the third ACK of a join."""
    tcp = subflow.tcp
    subflow.join_at = now + (tcp.sender.rtt.rto << subflow.join_tries)
    subflow.join_tries += 1
    tcp.wake_by(subflow.join_at)


def on_simultaneous_open(subflow: Subflow, now: int) -> bool:
    """Both ends have sent a SYN; return False if the subflow was given up.

    RFC 8684 has no exchange of keys for this case: the first subflow becomes plain TCP.
    """
    connection = subflow.connection
    if subflow.is_join:
        connection.reset_subflow(subflow, REASON_MPTCP_SPECIFIC, "simultaneous open of a join", now)
        return False
    connection.count("MPTcpExtSimultConnectFallback")
    fallback.become_plain(connection, subflow, "simultaneous open", now)
    return True
