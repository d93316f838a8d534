"""``tcp_info``: Linux's fields in Linux's units, and the chronograph behind three of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import (
    NO_MIN_RTT,
    TCP_CA_LOSS,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_INFINITE_SSTHRESH,
    TcpInfo,
    segment_at,
    tcp_info,
)
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair

MS = MILLISECOND


def info(pair: Pair, connection: Connection) -> TcpInfo:
    return tcp_info(connection, pair.now)


def limits(pair: Pair, connection: Connection) -> tuple[int, int, int]:
    """Return the times of the chronograph, ns: busy, and of that limited by window and by buffer."""
    told = info(pair, connection)
    return told.busy_time, told.rwnd_limited, told.sndbuf_limited


# --- Fields -----------------------------------------------------------------------------------------


def test_before_the_handshake() -> None:
    pair = Pair()
    told = info(pair, pair.connect())
    assert told.tcpi_state == 2  # TCP_SYN_SENT
    assert told.tcpi_min_rtt == NO_MIN_RTT
    assert told.tcpi_rto == 1_000_000
    assert (told.tcpi_rtt, told.tcpi_snd_cwnd, told.tcpi_delivered) == (0, 0, 0)
    assert told.tcpi_last_data_sent >= 0


def test_fields_have_the_units_of_linux() -> None:
    """One round trip of 100 ms, ten segments in flight: segments, µs and bytes."""
    pair = Pair(TcpConfig(nagle=False), TcpConfig())
    client, server = pair.establish()
    client.write(10 * 1448, pair.now)
    pair.pump()
    told = info(pair, client)
    assert told.tcpi_state == TCP_ESTABLISHED
    assert told.tcpi_snd_mss == 1448
    assert told.tcpi_advmss == 1460
    assert told.tcpi_pmtu == 1500
    assert (told.tcpi_rtt, told.tcpi_rttvar, told.tcpi_min_rtt) == (100_000, 50_000, 100_000)
    assert told.tcpi_rto == 300_000
    assert (told.tcpi_snd_cwnd, told.tcpi_snd_ssthresh) == (10, TCP_INFINITE_SSTHRESH)
    assert (told.tcpi_unacked, told.tcpi_notsent_bytes) == (10, 0)
    assert (told.tcpi_bytes_sent, told.tcpi_bytes_acked, told.tcpi_delivered) == (14480, 0, 1)
    assert told.tcpi_options == 1 | 2 | 4
    assert told.tcpi_snd_wscale == info(pair, server).tcpi_rcv_wscale > 0
    assert told.tcpi_reordering == 3
    pair.run(pair.now + 250 * MS)
    told, theirs = info(pair, client), info(pair, server)
    assert (told.tcpi_unacked, told.tcpi_bytes_acked, told.tcpi_delivered) == (0, 14480, 11)
    assert told.tcpi_last_data_sent == 250
    assert theirs.tcpi_bytes_received == 14480
    assert theirs.tcpi_rcv_mss == 1448
    assert theirs.tcpi_rcv_wnd == told.tcpi_snd_wnd
    assert theirs.tcpi_ato == 40_000


def test_a_loss_shows() -> None:
    """The second of ten segments is lost: eight SACKed ones, one lost and sent again."""
    lost: list[int] = []

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        if isinstance(packet, Segment) and packet.length and packet.seq == 1449 and not lost:
            lost.append(packet.seq)
            return []
        return [packet]

    pair = Pair(TcpConfig(), TcpConfig(), hook=hook)
    client, server = pair.establish()
    client.write(10 * 1448, pair.now)
    pair.run(pair.now + 120 * MS)
    told = info(pair, client)
    assert (told.tcpi_unacked, told.tcpi_sacked, told.tcpi_lost, told.tcpi_retrans) == (9, 8, 1, 1)
    assert (told.tcpi_total_retrans, told.tcpi_bytes_retrans) == (1, 1448)
    assert told.tcpi_ca_state == 3  # TCP_CA_Recovery
    assert told.tcpi_delivered == 1 + 1 + 8
    missing = segment_at(client, 0, 1449)
    assert missing is not None
    assert (missing.length, missing.retransmissions, missing.lost) == (1448, 1, True)
    theirs = info(pair, server)
    assert (theirs.received_bytes, theirs.arrived_bytes) == (1448, 9 * 1448)
    pair.run(pair.now + SECOND)
    assert segment_at(client, 0, 1449) is None
    told = info(pair, client)
    assert (told.tcpi_unacked, told.tcpi_lost, told.tcpi_retrans) == (0, 0, 0)
    assert told.tcpi_snd_ssthresh < 10


def test_time_outs_show() -> None:
    cut = False

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        return [] if cut else [packet]

    pair = Pair(TcpConfig(), TcpConfig(), hook=hook)
    client, _ = pair.establish()
    cut = True
    client.write(1000, pair.now)
    pair.run(pair.now + 2 * SECOND)
    told = info(pair, client)
    assert told.tcpi_retransmits == told.tcpi_backoff == 2
    assert told.tcpi_rto == 300_000 << 2
    assert told.tcpi_ca_state == TCP_CA_LOSS
    assert told.tcpi_total_retrans == 3  # a loss probe was the first
    client.abort(pair.now)
    assert info(pair, client).tcpi_state == TCP_CLOSE


def test_a_snapshot_does_not_change() -> None:
    pair = Pair()
    client, _ = pair.establish()
    before = info(pair, client)
    client.write(1000, pair.now)
    assert before.tcpi_bytes_sent == 0
    assert info(pair, client).tcpi_bytes_sent == 1000
    for name in ("cwnd", "tcpi_snd_cwnd"):
        with pytest.raises(AttributeError):
            setattr(before, name, 1)


# --- What limits a sender -----------------------------------------------------------------------------


def test_an_idle_sender_is_not_busy() -> None:
    """Two writes of a segment, each busy for its round trip of 100 ms; the seconds between do not count."""
    pair = Pair(TcpConfig(), TcpConfig(ack_every=1))
    client, server = pair.establish()
    server.eager = True
    for _ in range(2):
        client.write(1000, pair.now)
        pair.run(pair.now + 5 * SECOND)
    assert limits(pair, client) == (200 * MS, 0, 0)
    assert limits(pair, server) == (0, 0, 0)


def test_a_closed_window_is_the_limit() -> None:
    """Nobody reads: once the window is full and acknowledged, all of the time counts until somebody does."""
    pair = Pair(TcpConfig(), TcpConfig(receive_buffer=4 * 1448, ack_every=1))
    client, server = pair.establish()
    began = pair.now
    client.write(8 * 1448, pair.now)
    pair.run(began + 10 * SECOND)
    assert limits(pair, client) == (10 * SECOND, 10 * SECOND, 0)
    server.read(1 << 30, pair.now)
    read = pair.now
    pair.run(read + 10 * SECOND)
    busy, rwnd, sndbuf = limits(pair, client)
    assert server.delivered == 8 * 1448
    # The window opens with an update that takes 50 ms, and what is left takes a round trip.
    assert (busy - 10 * SECOND, rwnd - 10 * SECOND, sndbuf) == (150 * MS, 50 * MS, 0)


def test_a_full_send_buffer_is_the_limit() -> None:
    """Four segments fit the buffer, ten the congestion window; the application waits for room."""
    pair = Pair(TcpConfig(send_buffer=4 * 1448), TcpConfig(ack_every=1))
    client, server = pair.establish()
    server.eager = True
    assert client.write(8 * 1448, pair.now) == 4 * 1448
    client.waits_to_write(True, pair.now)
    began = pair.now
    pair.run(began + 60 * MS)
    assert limits(pair, client) == (60 * MS, 0, 60 * MS)
    while client.wants_write:
        pair.step()
    # A third of the buffer is free after a round trip, and the application has nothing more to write.
    assert pair.now - began == 100 * MS
    pair.run(pair.now + SECOND)
    assert limits(pair, client) == (100 * MS, 0, 100 * MS)


def test_a_full_congestion_window_is_no_limit_of_these() -> None:
    pair = Pair(TcpConfig(initial_window_segments=1), TcpConfig(ack_every=1))
    client, server = pair.establish()
    server.eager = True
    client.write(40 * 1448, pair.now)
    pair.run(pair.now + 350 * MS)
    assert limits(pair, client) == (350 * MS, 0, 0)


def test_the_end_of_a_connection_stops_the_clock() -> None:
    pair = Pair(TcpConfig(), TcpConfig(receive_buffer=2 * 1448))
    client, _ = pair.establish()
    client.write(10 * 1448, pair.now)
    pair.run(pair.now + SECOND)
    client.abort(pair.now)
    told = limits(pair, client)
    assert told[0] == SECOND
    pair.run(pair.now + SECOND)
    assert limits(pair, client) == told


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "read", "wait"]), st.integers(1, 20_000)), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(
    STEPS,
    st.sampled_from([3000, 20_000, 1 << 20]),
    st.sampled_from([3000, 20_000, 1 << 20]),
    st.integers(0, 9),
)
def test_what_is_limited_is_busy(steps: Any, send_buffer: int, receive_buffer: int, loss: int) -> None:
    """At every instant: no time runs backwards, none faster than the clock, limits are exclusive."""
    count = 0

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        nonlocal count
        count += 1
        return [] if loss and count % (loss + 7) == 0 else [packet]

    pair = Pair(TcpConfig(send_buffer=send_buffer), TcpConfig(receive_buffer=receive_buffer), hook=hook)
    client, server = pair.establish()
    before, then = (0, 0, 0), pair.now
    for what, number in steps:
        if what == "write" and not client.error:
            client.waits_to_write(client.write(number, pair.now) < number, pair.now)
        elif what == "read":
            server.read(number, pair.now)
        pair.run(pair.now + number * 20_000)
        told = limits(pair, client)
        grown = [now - earlier for now, earlier in zip(told, before, strict=True)]
        assert all(0 <= each <= pair.now - then for each in grown)
        assert grown[0] >= grown[1] + grown[2]
        snapshot = info(pair, client)
        idle = snapshot.snd_nxt == snapshot.snd_una and snapshot.tcpi_notsent_bytes == 0
        assert client.subflows[0].sender.chrono.kind > 0 or idle or client.error
        before, then = told, pair.now
