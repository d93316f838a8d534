"""Keys, tokens, HMACs and checksums of MPTCP: known values, and the laws around them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec.checksum import internet_checksum, word_sum
from mptcpsim.core.mptcp.dss_checksum import checksum_is_right, dss_checksum, payload_sum
from mptcpsim.core.mptcp.keys import ATTEMPTS, Key, ack_hmac, add_addr_hmac, derive, generate, syn_ack_hmac
from mptcpsim.core.sequences import UNKNOWN

KEY_A = 0x0102030405060708
KEY_B = 0x1112131415161718
NONCE_A = 0xAABBCCDD
NONCE_B = 0x01234567


@pytest.mark.parametrize(
    ("value", "version", "token", "idsn"),
    [
        (9186175039591172243, 1, 2833190200, 13562085501921405456),  # printed by a Linux kernel
        (KEY_A, 1, 0x66840DDA, 0xF5A101D3D29D6F72),
        (KEY_A, 0, 0xDD5783BC, 0x3A95ED6E4EBB4AD5),
        (KEY_B, 1, 0xCCAD45AC, 0x535BEEA38E087C8E),
        (KEY_B, 0, 0x3383D918, 0x9E1AE42F702627A9),
    ],
)
def test_token_and_idsn(value: int, version: int, token: int, idsn: int) -> None:
    assert derive(value, version) == Key(value, token, idsn)


@pytest.mark.parametrize(
    ("version", "hmac_b", "hmac_a"),
    [
        (1, "dcac2119689b29a8", "5a9926baa64667a915ecb36829022bf5ebc0c2fb"),
        (0, "074bc3c6e80e7396", "8acfed9a04fa19ab8707891b0db6713719396609"),
    ],
)
def test_hmacs_of_a_join(version: int, hmac_b: str, hmac_a: str) -> None:
    assert syn_ack_hmac(version, KEY_B, KEY_A, NONCE_B, NONCE_A).hex() == hmac_b
    assert ack_hmac(version, KEY_A, KEY_B, NONCE_A, NONCE_B).hex() == hmac_a
    # When the listener of the connection opens the subflow, its key comes first in HMAC-A.
    assert ack_hmac(version, KEY_B, KEY_A, NONCE_B, NONCE_A).startswith(bytes.fromhex(hmac_b))


@pytest.mark.parametrize(("port", "expected"), [(UNKNOWN, "669a7d267aca56dd"), (8080, "fdbd3c9ab593d9f8")])
def test_hmac_of_an_address(port: int, expected: str) -> None:
    assert add_addr_hmac(1, KEY_A, KEY_B, 2, "10.0.2.1", port).hex() == expected
    assert add_addr_hmac(0, KEY_A, KEY_B, 2, "10.0.2.1", port) == b""
    others = {
        add_addr_hmac(1, KEY_B, KEY_A, 2, "10.0.2.1", port),
        add_addr_hmac(1, KEY_A, KEY_B, 3, "10.0.2.1", port),
        add_addr_hmac(1, KEY_A, KEY_B, 2, "10.0.2.2", port),
        add_addr_hmac(1, KEY_A, KEY_B, 2, "fd00::a00:201", port),
        add_addr_hmac(1, KEY_A, KEY_B, 2, "10.0.2.1", 8081),
    }
    assert len(others) == 5
    assert bytes.fromhex(expected) not in others


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from([0, 1]))
def test_an_hmac_depends_on_who_speaks(own: int, peer: int, version: int) -> None:
    if own != peer:
        assert ack_hmac(version, own, peer, 1, 2) != ack_hmac(version, peer, own, 1, 2)
    assert ack_hmac(version, own, peer, 1, 2) != ack_hmac(version, own, peer, 2, 1)


# --- New keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1])
def test_new_keys_are_unique_and_follow_from_the_seed(version: int) -> None:
    def draw(seed: int) -> list[Key]:
        rng, keys = random.Random(seed), []
        tokens: set[int] = set()
        for _ in range(500):
            key = generate(rng, version, tokens)
            assert key is not None
            assert key == derive(key.value, version)
            tokens.add(key.token)
            keys.append(key)
        return keys

    first = draw(1)
    assert len({key.value for key in first}) == len({key.token for key in first}) == 500
    assert draw(1) == first
    assert draw(2) != first


@pytest.mark.parametrize("taken", range(ATTEMPTS + 1))
def test_a_token_in_use_costs_another_draw(taken: int) -> None:
    """The keys of a generator whose first tokens are in use: the next one, or none."""
    twin = random.Random(7)
    drawn = [derive(twin.getrandbits(64), 1) for _ in range(ATTEMPTS)]
    expected = drawn[taken] if taken < ATTEMPTS else None
    assert generate(random.Random(7), 1, {key.token for key in drawn[:taken]}) == expected


class EveryToken:
    def __contains__(self, token: object) -> bool:
        return True


def test_where_every_token_is_in_use_there_is_no_key() -> None:
    rng = random.Random(3)
    assert generate(rng, 1, EveryToken(), attempts=10) is None
    twin = random.Random(3)
    for _ in range(10):
        twin.getrandbits(64)
    assert rng.getrandbits(64) == twin.getrandbits(64)


# --- The checksum of a mapping ----------------------------------------------------------------


def plain_checksum(dsn: int, ssn: int, length: int, payload: bytes) -> int:
    """Return the checksum as RFC 8684 Figure 10 draws it."""
    header = dsn.to_bytes(8, "big") + ssn.to_bytes(4, "big") + length.to_bytes(2, "big") + bytes(2)
    return internet_checksum(header + payload)


def test_known_checksums() -> None:
    assert dss_checksum(0x0000000100000002, 1, 5, payload_sum(b"hello")) == 0xBC24
    assert dss_checksum(0x0000000100000007, 0, 1, 0) == 0xFFF6
    # A Linux kernel's, payload 00 to 63.
    payload = payload_sum(bytes(range(100)))
    assert dss_checksum(0x28B9EF5677555489, 1, 100, payload) == 0x7FDE
    assert dss_checksum(0x28B9EF56775554ED, 101, 100, payload) == 0x7F16


mappings = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(1, 2**16 - 1))
payloads = st.one_of(st.binary(max_size=60), st.sampled_from([b"\xff\xff", bytes(7), b"\xff" * 9]))


@given(mappings, payloads)
def test_the_checksum_is_the_one_of_the_internet(mapping: tuple[int, int, int], payload: bytes) -> None:
    expected = plain_checksum(*mapping, payload)
    assert dss_checksum(*mapping, payload_sum(payload)) == expected
    assert payload_sum(payload) == word_sum(payload) % 0xFFFF


@given(mappings, payloads, st.integers(0, 0xFFFF))
def test_only_the_right_checksum_is_right(mapping: tuple[int, int, int], payload: bytes, other: int) -> None:
    total = payload_sum(payload)
    checksum = dss_checksum(*mapping, total)
    assert checksum_is_right(*mapping, total, checksum)
    assert checksum_is_right(*mapping, total, other) == (other % 0xFFFF == checksum % 0xFFFF)


@given(
    mappings, st.lists(st.binary(max_size=20).map(lambda data: data[: len(data) & ~1])), st.binary(max_size=5)
)
def test_pieces_of_a_payload_add_up(mapping: tuple[int, int, int], pieces: list[bytes], last: bytes) -> None:
    total = sum(payload_sum(piece) for piece in [*pieces, last])
    assert dss_checksum(*mapping, total) == plain_checksum(*mapping, b"".join(pieces) + last)


@given(mappings, st.binary(min_size=1, max_size=60), st.data())
def test_a_flipped_bit_is_found(mapping: tuple[int, int, int], payload: bytes, data: st.DataObject) -> None:
    checksum = dss_checksum(*mapping, payload_sum(payload))
    where = data.draw(st.integers(0, len(payload) - 1))
    damaged = bytearray(payload)
    damaged[where] ^= 1 << data.draw(st.integers(0, 7))
    assert not checksum_is_right(*mapping, payload_sum(bytes(damaged)), checksum)
