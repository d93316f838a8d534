"""Keys of an MPTCP connection and the values derived from them.

Version 1 hashes with SHA-256 (RFC 8684 sections 3.1, 3.2 and 3.4.1), version 0 with
SHA-1 (RFC 6824 sections 3.1 and 3.2). Keys are hashed in network byte order.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Container
from ipaddress import ip_address
from typing import Final, NamedTuple

from mptcpsim.core.mptcp_options import LONG_HMAC, SHORT_HMAC, VERSION_0
from mptcpsim.core.sequences import UNKNOWN

#: Draws after which Linux gives up and leaves the connection plain TCP.
ATTEMPTS: Final = 4


class Key(NamedTuple):
    """The key of one host for one connection, with what identifies the host by it.

    Attributes:
        value: the 64-bit key itself.
        token: 32 bits by which this host knows the connection.
        idsn: initial data sequence number, 64 bits; the first byte of data is ``idsn + 1``.
    """

    value: int
    token: int
    idsn: int


def derive(value: int, version: int, idsn: int = UNKNOWN) -> Key:
    """Return a key with its token and IDSN: the first 32 and the last 64 bits of its hash.

    An ``idsn`` that is given stands in for the derived one (``MptcpConfig.initial_dsn``).
    """
    data = value.to_bytes(8, "big")
    digest = hashlib.sha1(data).digest() if version == VERSION_0 else hashlib.sha256(data).digest()
    if idsn == UNKNOWN:
        idsn = int.from_bytes(digest[-8:], "big")
    return Key(value, int.from_bytes(digest[:4], "big"), idsn)


def generate(
    rng: random.Random, version: int, tokens: Container[int], attempts: int = ATTEMPTS
) -> Key | None:
    """Return a new key whose token is free, None if none was found.

    An MP_JOIN does not say its version, so a host has one set of tokens for both. A
    key that is in use has its token there, hence keys are unique, too. Without a key
    the connection must be plain TCP (RFC 8684 section 3.1).

    Args:
        rng: the host's own random stream.
        version: the version of MPTCP that the key is for.
        tokens: the tokens of the host's connections.
        attempts: how often a key may be drawn.
    """
    for _ in range(attempts):
        key = derive(rng.getrandbits(64), version)
        if key.token not in tokens:
            return key
    return None


def _hmac(version: int, first_key: int, second_key: int, message: bytes) -> bytes:
    key = first_key.to_bytes(8, "big") + second_key.to_bytes(8, "big")
    return hmac.digest(key, message, "sha1" if version == VERSION_0 else "sha256")


def _join_hmac(version: int, own_key: int, peer_key: int, own_nonce: int, peer_nonce: int) -> bytes:
    """Return the HMAC of either end of a join: the own key and nonce come first."""
    message = own_nonce.to_bytes(4, "big") + peer_nonce.to_bytes(4, "big")
    return _hmac(version, own_key, peer_key, message)


def syn_ack_hmac(version: int, own_key: int, peer_key: int, own_nonce: int, peer_nonce: int) -> bytes:
    """Return the 8 bytes that the responder of a join proves itself with (HMAC-B).

    All arguments are seen from the responder, who may be either end of the connection.
    """
    return _join_hmac(version, own_key, peer_key, own_nonce, peer_nonce)[:SHORT_HMAC]


def ack_hmac(version: int, own_key: int, peer_key: int, own_nonce: int, peer_nonce: int) -> bytes:
    """Return the 20 bytes that the initiator of a join proves itself with (HMAC-A).

    All arguments are seen from the initiator, who may be either end of the connection.
    """
    return _join_hmac(version, own_key, peer_key, own_nonce, peer_nonce)[:LONG_HMAC]


def add_addr_hmac(
    version: int, own_key: int, peer_key: int, address_id: int, address: str, port: int
) -> bytes:
    """Return the 8 bytes that an ADD_ADDR is authenticated with; seen from its sender.

    They are the last ones of the HMAC, not the first (RFC 8684 section 3.4.1). Version 0
    has no HMAC there: no bytes.

    Args:
        version: version of the connection.
        own_key: key of the host that announces the address.
        peer_key: key of the other host.
        address_id: identifier of the address.
        address: IPv4 or IPv6 address as text.
        port: TCP port; ``UNKNOWN``, counted as zero, if the option has none.
    """
    if version == VERSION_0:
        return b""
    number = 0 if port == UNKNOWN else port
    message = bytes((address_id,)) + ip_address(address).packed + number.to_bytes(2, "big")
    return _hmac(version, own_key, peer_key, message)[-SHORT_HMAC:]
