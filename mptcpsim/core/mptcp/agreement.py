"""What the two ends of a connection agree on by MP_CAPABLE: version, keys, checksums.

RFC 8684 section 3.1; RFC 6824 the same.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.keys import Key, ack_hmac, add_addr_hmac, derive, syn_ack_hmac
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.mptcp_options import (
    CHECKSUM_REQUIRED,
    EXTENSIBILITY,
    HMAC_SHA,
    NO_MORE_SUBFLOWS,
    VERSION_0,
    VERSION_1,
    MpCapable,
)
from mptcpsim.core.sequences import UNKNOWN

_NO_KEY: Final = Key(0, 0, 0)


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


def is_well_formed(option: MpCapable) -> bool:
    """Return whether an MP_CAPABLE from the SYN/ACK on is valid in its own version (section 3.1).

    It has a key, no unknown extension, and exactly the algorithm that was chosen.
    """
    return (
        not option.flags & EXTENSIBILITY and option.crypto_bits() == HMAC_SHA and option.sender_key != UNKNOWN
    )


class Agreement:
    """What one end of a connection has offered, and what both have agreed on so far.

    Attributes:
        version: the version in use, or being offered.
        checksum: DSS checksums are in use: one of the two ends requires them.
        local_key, remote_key: with token and IDSN; the remote one is 0 until it is known.
        denies_initial: the peer forbids further subflows to the address of the first one.
    """

    __slots__ = (
        "_config",
        "_offered_flags",
        "checksum",
        "denies_initial",
        "local_key",
        "remote_key",
        "version",
    )

    def __init__(self, config: MptcpConfig, version: int, key: Key) -> None:
        self._config = config
        self.version = version
        self.checksum: bool = config.checksum
        self.local_key = key
        self.remote_key: Key = _NO_KEY
        self.denies_initial: bool = False
        #: Flags of the peer's SYN: they hold also where its key comes later, as in version 1.
        self._offered_flags: int = 0

    # --- The exchange ---------------------------------------------------------------------------

    def on_offer(self, offer: MpCapable) -> None:
        """Take the MP_CAPABLE of a SYN, at the end that answers it."""
        self._take_checksum(offer)
        self._offered_flags = offer.flags
        if self.version == VERSION_0:
            self._take_key(offer.sender_key, offer.flags)

    def on_answer(self, answer: MpCapable) -> None:
        """Take the MP_CAPABLE of a SYN/ACK, of the version in use."""
        self._take_checksum(answer)
        self._take_key(answer.sender_key, answer.flags)

    def on_confirmation(self, option: MpCapable) -> None:
        """Take the MP_CAPABLE of the third ACK; version 1 has the key of the initiator only there."""
        self._take_checksum(option)
        if self.version != VERSION_0:
            self._take_key(option.sender_key, self._offered_flags)

    def _take_checksum(self, option: MpCapable) -> None:
        self.checksum = self.checksum or bool(option.flags & CHECKSUM_REQUIRED)

    def _take_key(self, value: int, flags: int) -> None:
        self.remote_key = derive(value, self.version, self._config.initial_dsn)
        self.denies_initial = self.version != VERSION_0 and bool(flags & NO_MORE_SUBFLOWS)

    def key_for(self, version: int) -> Key:
        """Return the own key with the token and IDSN that another version derives from it."""
        return derive(self.local_key.value, version, self._config.initial_dsn)

    def lower_version(self, version: int) -> None:
        """Switch to the lower version that the peer has chosen."""
        self.local_key = self.key_for(version)
        self.version = version

    def matches(self, option: MpCapable) -> bool:
        """Return whether an MP_CAPABLE from the SYN/ACK on matches the agreement (section 3.1)."""
        return option.version == self.version and is_well_formed(option)

    def has_both_keys(self, option: MpCapable) -> bool:
        """Return whether a valid MP_CAPABLE of the peer has its key and then ours."""
        keys = option.sender_key, option.receiver_key
        return keys == (self.remote_key.value, self.local_key.value) and self.matches(option)

    @property
    def denies_own_initial(self) -> bool:
        """This end forbids further subflows to the address of its first one (flag C, version 1)."""
        return self._config.deny_join_initial and self.version != VERSION_0

    # --- Own options ----------------------------------------------------------------------------

    def _flags(self) -> int:
        flags = HMAC_SHA | (CHECKSUM_REQUIRED if self.checksum else 0)
        return flags | NO_MORE_SUBFLOWS if self.denies_own_initial else flags

    def syn_option(self) -> MpCapable:
        """Return the MP_CAPABLE of a SYN; in version 1 it has no key."""
        key = self.local_key.value if self.version == VERSION_0 else UNKNOWN
        return MpCapable(self.version, self._flags(), key)

    def syn_ack_option(self) -> MpCapable:
        """Return the MP_CAPABLE of a SYN/ACK."""
        return MpCapable(self.version, self._flags(), self.local_key.value)

    def third_ack_option(self) -> MpCapable:
        """Return the MP_CAPABLE with both keys."""
        return MpCapable(self.version, self._flags(), self.local_key.value, self.remote_key.value)

    # --- HMACs, which show that an end knows both keys (sections 3.2 and 3.4.1) ---------------------

    def own_syn_ack_hmac(self, own_nonce: int, peer_nonce: int) -> bytes:
        """Return the HMAC of a SYN/ACK with MP_JOIN that this end sends."""
        return syn_ack_hmac(self.version, self.local_key.value, self.remote_key.value, own_nonce, peer_nonce)

    def own_ack_hmac(self, own_nonce: int, peer_nonce: int) -> bytes:
        """Return the HMAC of a third ACK with MP_JOIN that this end sends."""
        return ack_hmac(self.version, self.local_key.value, self.remote_key.value, own_nonce, peer_nonce)

    def own_add_addr_hmac(self, address_id: int, address: str, port: int) -> bytes:
        """Return the HMAC of an ADD_ADDR that this end sends."""
        return add_addr_hmac(
            self.version, self.local_key.value, self.remote_key.value, address_id, address, port
        )

    def accepts_syn_ack_hmac(self, hmac: bytes, peer_nonce: int, own_nonce: int) -> bool:
        """Return whether the HMAC of the peer's SYN/ACK with MP_JOIN is right, or not to be checked."""
        expected = syn_ack_hmac(
            self.version, self.remote_key.value, self.local_key.value, peer_nonce, own_nonce
        )
        return hmac == expected or not self._config.validate_hmac

    def accepts_ack_hmac(self, hmac: bytes, peer_nonce: int, own_nonce: int) -> bool:
        """Return whether the HMAC of the peer's third ACK with MP_JOIN is right, or not to be checked."""
        expected = ack_hmac(self.version, self.remote_key.value, self.local_key.value, peer_nonce, own_nonce)
        return hmac == expected or not self._config.validate_hmac

    def accepts_add_addr_hmac(self, hmac: bytes, address_id: int, address: str, port: int) -> bool:
        """Return whether the HMAC of the peer's ADD_ADDR is right, or not to be checked, as in version 0."""
        if self.version == VERSION_0 or not self._config.validate_hmac:
            return True
        return hmac == add_addr_hmac(
            self.version, self.remote_key.value, self.local_key.value, address_id, address, port
        )
