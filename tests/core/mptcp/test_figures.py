"""Figures of MPTCP that follow from RFC 8684 to the last digit, taken from what two stacks exchange."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.codec.packet import encode
from mptcpsim.core.mptcp.dss_checksum import dss_checksum, payload_sum
from mptcpsim.core.mptcp.keys import ack_hmac, syn_ack_hmac
from mptcpsim.core.mptcp_options import AddAddr, Dss, MpCapable, MpJoinAck, MpJoinSyn, MpJoinSynAck
from mptcpsim.core.segment import Segment
from mptcpsim.plugins import Announce, OpenSubflow
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.mptcp.pair import C1, C2, C3, MptcpPair, transfer, working
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import Pair

KEY_A = 0x0102030405060708
KEY_B = 0x1112131415161718


# --- The price of the options -----------------------------------------------------------------


def payloads(pair: Pair, since: int) -> set[int]:
    """Return the payload of the packets of 1500 bytes that were sent from an instant on."""
    full = [
        packet
        for when, _, packet in pair.wire
        if isinstance(packet, Segment) and when >= since and packet.size == 1500
    ]
    assert all(len(encode(packet)) == 1500 for packet in full[::20])
    return {packet.length for packet in full}


def both_ways(pair: Pair, client: Any, server: Any, count: int) -> None:
    """Write at both ends, and read everything."""
    for end in (client, server):
        assert end.write(count, pair.now) == count
    goals = {end: end.consumed + count for end in (client, server)}
    while any(end.consumed < goal for end, goal in goals.items()):
        pair.pump()
        assert pair.step()
        for end in goals:
            end.read(end.readable, pair.now)


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        # 1500 - 20 - 20 - 12, and a DSS with DATA_ACK and DSN of 8 octets: 26 without, 28 with a checksum.
        ({}, 1420),
        # The DSS with 4 octets each: 18 or 20.
        ({"dsn_octets": 4, "data_ack_octets": 4}, 1428),
    ],
)
def test_payload_of_a_packet_while_data_flows_both_ways(
    fields: dict[str, Any], payload: int, checksum: bool, version: int
) -> None:
    """A DATA_ACK has 8 octets where the peer's DSNs have (RFC 8684 section 3.3.2)."""
    config = mptcp(versions=(version,), checksum=checksum, **fields)
    pair = MptcpPair(config, config)
    client, server = pair.establish_subflows()
    # The data that goes with MP_CAPABLE has no DSN.
    transfer(pair, client, server, 1000)
    transfer(pair, server, client, 1000)
    begin = pair.now
    both_ways(pair, client, server, 200_000)
    assert payloads(pair, begin) == {payload}


@pytest.mark.parametrize(("octets", "payload"), [(8, 1424), (4, 1428)])
def test_payload_of_a_packet_while_data_flows_one_way(octets: int, payload: int) -> None:
    """Nothing arrives that would ask for a DATA_ACK of 8 octets: 22 bytes, 24 with the padding, or 18."""
    config = mptcp(dsn_octets=octets)
    pair = MptcpPair(config, config)
    client, server = pair.establish_subflows()
    begin = pair.now
    transfer(pair, client, server, 200_000)
    assert payloads(pair, begin) == {payload}


def test_payload_of_a_packet_of_plain_tcp() -> None:
    pair = Pair()
    client, server = pair.establish()
    both_ways(pair, client, server, 200_000)
    assert payloads(pair, 0) == {1448}


# --- Keys, tokens, numbers, HMACs ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "token", "idsn_a", "idsn_b"),
    [
        (1, 0xCCAD45AC, 0xF5A101D3D29D6F72, 0x535BEEA38E087C8E),
        (0, 0x3383D918, 0x3A95ED6E4EBB4AD5, 0x9E1AE42F702627A9),
    ],
)
@pytest.mark.parametrize("encode", [False, True])
def test_what_two_known_keys_lead_to(
    version: int, token: int, idsn_a: int, idsn_b: int, encode: bool
) -> None:
    plan = Plan(established=[OpenSubflow(C2, "10.0.1.2", 5001)])
    pair = MptcpPair(
        mptcp(plan, versions=(version,), initial_key=KEY_A, data_ack_octets=8),
        mptcp(versions=(version,), initial_key=KEY_B, data_ack_octets=8),
        client_addresses=(C1, C2),
        encode=encode,
    )
    client, server = pair.establish_subflows(2)
    transfer(pair, server, client, 1000)
    keys = {sent.option.sender_key for sent in pair.sent(MpCapable)} - {-1}
    assert keys == {KEY_A, KEY_B}
    (syn,) = pair.sent(MpJoinSyn, "c>s")
    assert syn.option.token == token
    answer = pair.sent(MpJoinSynAck, "s>c")[0].option
    proof = pair.sent(MpJoinAck, "c>s")[0].option
    nonces = syn.option.nonce, answer.nonce
    assert answer.hmac == syn_ack_hmac(version, KEY_B, KEY_A, nonces[1], nonces[0])
    assert proof.hmac == ack_hmac(version, KEY_A, KEY_B, *nonces)
    # The first byte of data has the IDSN + 1 (RFC 8684 section 3.1), here after 1000 and 0 bytes.
    assert {s.option.data_ack for s in pair.sent(Dss, "s>c")} >= {idsn_a + 1001}
    assert min(s.option.dsn for s in pair.sent(Dss, "s>c") if s.option.dsn_octets) == idsn_b + 1


@pytest.mark.parametrize(("port", "hmac"), [(0, "669a7d267aca56dd"), (8080, "fdbd3c9ab593d9f8")])
def test_the_hmac_of_an_announcement(port: int, hmac: str) -> None:
    """Of 10.0.2.1 with the identifier 2, by the owner of key A."""
    plan = Plan(established=[Announce(C3), Announce(C2, port)])
    pair = MptcpPair(mptcp(plan, initial_key=KEY_A), mptcp(initial_key=KEY_B), client_addresses=(C1, C2, C3))
    pair.establish_subflows()
    pair.run(pair.now + SECOND)
    sent = {s.option.hmac.hex() for s in pair.sent(AddAddr, "c>s") if s.option.address == C2}
    assert sent == {hmac}


def test_hmacs_and_a_checksum_of_known_values() -> None:
    """Nonces and payload that no exchange has."""
    nonce_a, nonce_b = 0xAABBCCDD, 0x01234567
    assert syn_ack_hmac(1, KEY_B, KEY_A, nonce_b, nonce_a).hex() == "dcac2119689b29a8"
    assert ack_hmac(1, KEY_A, KEY_B, nonce_a, nonce_b).hex() == "5a9926baa64667a915ecb36829022bf5ebc0c2fb"
    assert syn_ack_hmac(0, KEY_B, KEY_A, nonce_b, nonce_a).hex() == "074bc3c6e80e7396"
    assert ack_hmac(0, KEY_A, KEY_B, nonce_a, nonce_b).hex() == "8acfed9a04fa19ab8707891b0db6713719396609"
    assert dss_checksum(0x100000002, 1, 5, payload_sum(b"hello")) == 0xBC24


# --- DATA_FIN -----------------------------------------------------------------------------------


def numbers(pair: MptcpPair, client: Any, server: Any) -> tuple[list[tuple[int, int, int, int]], int]:
    """Return the DATA_FINs of the client and the highest DATA_ACK of the server, relative.

    A DATA_FIN is (DSN, subflow sequence number, Data-Level Length, bytes of payload).
    """
    idsn = client.agreed.local_key.idsn
    fins = [
        (s.option.dsn - idsn, s.option.ssn, s.option.data_level_length, s.segment.length)
        for s in pair.sent(Dss, "c>s")
        if s.option.data_fin
    ]
    acks = [s.option.data_ack - server.agreed.remote_key.idsn for s in pair.sent(Dss, "s>c")]
    return fins, max(acks)


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("encode", [False, True])
def test_a_data_fin_counts_with_the_data_before_it(version: int, encode: bool) -> None:
    """RFC 8684 section 3.3.3: DSN 80, length 11 with the DATA_FIN: the DATA_ACK is 91."""
    config = mptcp(versions=(version,), data_ack_octets=8)
    pair = MptcpPair(config, config, encode=encode)
    client, server = pair.establish()
    assert len(working(client)) == 1
    # The second write waits for the ACK of the first (Nagle), and leaves with the DATA_FIN.
    client.write(79, pair.now)
    client.write(10, pair.now)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    fins, data_ack = numbers(pair, client, server)
    assert fins == [(80, 80, 11, 10)]
    assert data_ack == 91
    assert server.read(1000, pair.now) == 89
    assert server.peer_closed


@pytest.mark.parametrize("encode", [False, True])
def test_a_data_fin_alone_takes_one_number(encode: bool) -> None:
    """It is mapped to subflow sequence number 0, with length 1."""
    config = mptcp(data_ack_octets=8)
    pair = MptcpPair(config, config, encode=encode)
    client, server = pair.establish()
    transfer(pair, client, server, 89)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    fins, data_ack = numbers(pair, client, server)
    assert fins == [(90, 0, 1, 0)]
    assert data_ack == 91


def test_32_bits_that_could_wrap_within_one_msl_become_64() -> None:
    """RFC 8684 section 3.3.1: the full DSN at rates of more than 2^32 bytes in two minutes, 286 Mbit/s."""
    pair = MptcpPair(mptcp(dsn_octets=4), mptcp())
    client, server = pair.establish_subflows(1)
    span = 1 << 26
    # What was sent before this instant took two seconds: just slow enough.
    client.outbound._rate_from -= span
    client.outbound._rate_since = pair.now - 2 * SECOND
    transfer(pair, client, server, 100_000)
    assert {sent.option.dsn_octets for sent in pair.sent(Dss, "c>s") if sent.option.dsn_octets} == {4}
    # And this a little less than the 1.875 s of that rate.
    client.outbound._rate_from -= span
    client.outbound._rate_since = pair.now - 1874 * MILLISECOND
    transfer(pair, client, server, 100_000)
    octets = [sent.option.dsn_octets for sent in pair.sent(Dss, "c>s") if sent.option.dsn_octets]
    assert octets[-1] == 8
    assert octets == sorted(octets), "for good"
    assert all(segment.size <= 1500 for _, segment in pair.segments("c>s"))
