"""``mptcp_info``: Linux's fields, and the exact ones beside them."""

from __future__ import annotations

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.info import (
    MPTCP_INFO_FLAG_FALLBACK,
    MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED,
    MptcpInfo,
    carriers,
    data_ack_of,
    mapping_at,
    mptcp_info,
)
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import tcp_info, tcp_infos
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import PORT, Pair


def info(pair: Pair, connection: Connection) -> MptcpInfo:
    found = mptcp_info(connection, pair.now)
    assert found is not None
    return found


def two_subflows() -> tuple[MptcpPair, Connection, Connection]:
    plan = Plan(established=[OpenSubflow(C2, S2, PORT)])
    pair = MptcpPair(mptcp(plan), mptcp(), client_addresses=(C1, C2), server_addresses=(S1, S2))
    client, server = pair.establish_subflows(2)
    return pair, client, server


def test_plain_tcp_has_none() -> None:
    pair = Pair()
    client, server = pair.establish()
    assert mptcp_info(client, pair.now) is None
    assert mptcp_info(server, pair.now) is None


def test_the_fields_of_two_subflows() -> None:
    pair, client, server = two_subflows()
    told, theirs = info(pair, client), info(pair, server)
    assert (told.mptcpi_subflows, told.mptcpi_subflows_total) == (1, 2)
    assert told.mptcpi_flags == MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED
    assert told.mptcpi_local_addr_used == 1
    assert theirs.mptcpi_local_addr_used == 0
    assert told.mptcpi_token != theirs.mptcpi_token
    assert (told.mptcpi_write_seq, told.mptcpi_snd_una, told.mptcpi_rcv_nxt) == (1001, 1001, 1)
    assert (theirs.mptcpi_write_seq, theirs.mptcpi_rcv_nxt) == (1, 1001)
    assert told.mptcpi_bytes_acked == told.mptcpi_bytes_sent == theirs.mptcpi_bytes_received == 1000
    assert (told.mptcpi_csum_enabled, told.mptcpi_retransmits, told.mptcpi_bytes_retrans) == (0, 0, 0)
    assert [each.join_nonce for each in told.each] == [each.join_nonce for each in theirs.each]
    assert told.each[0].join_nonce == -1 != told.each[1].join_nonce
    client.write(2000, pair.now)
    pair.pump()
    told = info(pair, client)
    assert (told.mptcpi_write_seq, told.mptcpi_snd_una) == (3001, 1001)
    # The second segment waits: it is a short one (Nagle).
    assert told.unsent_bytes == 3000 - told.mptcpi_bytes_sent == 576
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    # The DATA_FIN takes a number, and is no byte of payload.
    told = info(pair, client)
    assert (told.mptcpi_write_seq, told.mptcpi_snd_una) == (3002, 3002)
    assert told.mptcpi_bytes_acked == told.mptcpi_bytes_sent == 3000


def test_reinjected_bytes_and_who_carries_what() -> None:
    """A subflow is cut: after its time-out the other one has its bytes, too."""
    pair, client, server = two_subflows()
    server.read(1 << 30, pair.now)
    pair.cut(C1)
    pair.cut(C2)
    client.write(1000, pair.now)
    pair.run(pair.now + 5 * MS)
    (first,) = carriers(client, 1500)
    assert (first.dsn, first.length) == (1001, 1000)
    assert mapping_at(client, first.subflow, first.ssn + 10) == first
    pair.mend()
    pair.cut((C1, C2)[first.subflow])
    pair.run(pair.now + 2 * SECOND)
    told = info(pair, client)
    assert told.mptcpi_bytes_retrans == 1000
    assert told.each[1 - first.subflow].reinjected_bytes == 1000
    assert told.mptcpi_snd_una == 2001
    assert server.delivered == 2000
    tcps = tcp_infos(client, pair.now)
    assert tcps[first.subflow].tcpi_retransmits > 0
    assert tcps[1 - first.subflow].tcpi_retransmits == 0
    assert tcp_info(client, pair.now, 1) == tcps[1]


def test_a_fallback_shows() -> None:
    """The server speaks plain TCP."""
    pair = MptcpPair(mptcp())
    plain = MptcpPair(mptcp(), TcpConfig())
    client, _ = plain.establish()
    told = info(plain, client)
    assert told.mptcpi_flags == MPTCP_INFO_FLAG_FALLBACK
    assert told.plain_subflow == 0
    segment = next(packet for _, packet in plain.segments("s>c") if packet.flags == 0x12)
    assert data_ack_of(client, segment) == segment.ack
    assert info(pair, pair.establish()[0]).mptcpi_flags == MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED
