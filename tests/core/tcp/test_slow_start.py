"""Slow start, initial and restart windows (RFC 5681, 6928; validation rows 1.3 and 1.4)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script

MS = MILLISECOND
DELAY = 50 * MS
RTT = 2 * DELAY
MSS = 1448


def rounds(segments: int, **config: object) -> list[int]:
    """Transfer that many full segments; return those sent by round trip."""
    values = {"congestion": "reno", **config}
    pair = Pair(TcpConfig(**values), TcpConfig(**values), delay=DELAY)  # type: ignore[arg-type]
    client, server = pair.establish()
    server.eager = True
    begin = client.subflows[0].established_at
    client.write(segments * MSS, begin)
    pair.pump()
    while server.delivered < segments * MSS:
        assert pair.step()
    sent: list[int] = []
    for when, segment in pair.segments("c>s"):
        if segment.length:
            number = (when - begin) // RTT
            sent += [0] * (number + 1 - len(sent))
            sent[number] += 1
    return sent


@pytest.mark.parametrize(("segments", "number"), [(10, 1), (30, 2), (70, 3), (150, 4), (310, 5), (630, 6)])
def test_doubling_with_an_ack_for_each_segment(segments: int, number: int) -> None:
    """10, 20, 40, ... a round; the last byte arrives after r + (rounds - 1) r + r / 2."""
    # The client writes when it is established; the server is so half a round trip later.
    pair = Pair(TcpConfig(congestion="reno"), TcpConfig(ack_every=1), delay=DELAY)
    client = pair.connect()
    pair.run(RTT)
    client.write(segments * MSS, pair.now)
    pair.pump()
    pair.run(RTT + DELAY)
    (server,) = pair.listener.accepted
    server.eager = True
    while server.delivered < segments * MSS:
        assert pair.step()
    assert pair.now == RTT + (number - 1) * RTT + RTT // 2
    data = [(when - RTT) // RTT for when, segment in pair.segments("c>s") if segment.length]
    assert [data.count(n) for n in range(number)] == [10 << n for n in range(number)]


def test_delayed_acks_make_it_one_and_a_half() -> None:
    """One segment more for each ACK of two: 10, 15, 22 or 23, 33 or 34, ... (plus or minus one)."""
    sent = rounds(180, delayed_ack=40 * MS)
    assert len(sent) == 6
    for number, segments in enumerate(sent[:5]):
        assert abs(segments - 10 * 1.5**number) <= 1


def test_byte_counting_restores_doubling() -> None:
    """RFC 3465 with L = 2: an ACK of two segments opens the window by two."""
    sent = rounds(150, congestion_parameters={"abc_limit": 2})
    assert sent == [10, 20, 40, 80]


@pytest.mark.parametrize("congestion", ["reno", "cubic"])
def test_initial_ssthresh_ends_slow_start(congestion: str) -> None:
    sent = rounds(500, congestion=congestion, initial_ssthresh=40 * MSS, ack_every=1)
    assert sent[:3] == [10, 20, 40]
    assert all(40 <= number <= 44 for number in sent[3:6])


@pytest.mark.parametrize(
    ("mss", "window"),
    [(1460, 14_600), (536, 5_360), (1220, 12_200), (2190, 14_600), (5000, 14_600), (8960, 17_920)],
)
def test_initial_window(mss: int, window: int) -> None:
    """RFC 6928 equation (1): min(10 MSS, max(2 MSS, 14600)), MSS without the options that take room."""
    script = Script.accepted(TcpConfig(timestamps=False), mtu=9000, mss=mss, ts_val=UNKNOWN)
    script.write(100_000)
    assert script.tcp.sender.mss == mss
    sent = [segment.length for _, segment in script.fresh()]
    assert sum(sent) <= window < sum(sent) + mss
    assert script.tcp.sender.congestion.cwnd == window


def test_initial_window_is_configurable() -> None:
    script = Script.accepted(TcpConfig(initial_window_segments=3))
    script.write(100_000)
    assert [segment.length for _, segment in script.fresh()] == [MSS] * 3


def test_mss_is_that_of_the_smaller_end_without_options() -> None:
    """RFC 9293 section 3.7.1, RFC 6691: min(peer's MSS, MTU - 40) - options; 536 if the SYN names none."""
    for mtu, announced, timestamps, expected in (
        (1500, 1460, True, 1448),
        (1500, 1460, False, 1460),
        (1500, 9000, False, 1460),
        (1500, 1000, True, 988),
        (576, 1460, True, 524),
    ):
        script = Script.accepted(mtu=mtu, mss=announced, ts_val=1000 if timestamps else UNKNOWN)
        assert script.tcp.sender.mss == expected
    script = Script()
    script.listen()
    syn = script.segment("S", ts_val=UNKNOWN)
    syn.syn = None
    script.stack.receive_packet(syn, 0)
    script.drain()
    assert script.tcp.sender.mss == 536


def test_announced_mss() -> None:
    for config, mtu, expected in (
        (TcpConfig(), 1500, 1460),
        (TcpConfig(), 9000, 8960),
        (TcpConfig(mss=1000), 1500, 1000),
        (TcpConfig(mss=3000), 1500, 1460),
    ):
        script = Script(config, mtu=mtu)
        script.connect()
        syn = script.expect("S").syn
        assert syn is not None
        assert syn.mss == expected


# --- Use of the window ------------------------------------------------------------------------------------


def test_window_that_is_not_used_does_not_grow() -> None:
    """RFC 7661 in spirit: one small request a round trip leaves the window as it is."""
    pair = Pair()
    client, server = pair.establish()
    server.eager = True
    for _ in range(30):
        client.write(1000, pair.now)
        pair.run(pair.now + 2 * RTT)
    assert client.subflows[0].sender.congestion.cwnd == 10 * MSS


@pytest.mark.parametrize("restart", [True, False])
def test_restart_after_idle(restart: bool) -> None:
    """RFC 5681 section 4.1: after an RTO of silence begin again with the initial window."""
    pair = Pair(TcpConfig(congestion="reno", slow_start_after_idle=restart))
    client, server = pair.establish()
    server.eager = True
    client.write(100 * MSS, pair.now)
    pair.run(5 * SECOND)
    sender = client.subflows[0].sender
    grown = sender.congestion.cwnd
    assert grown > 40 * MSS
    client.write(100 * MSS, pair.now)
    assert sender.nxt - sender.una == (10 * MSS if restart else grown // MSS * MSS)


def test_no_restart_within_an_rto() -> None:
    pair = Pair(TcpConfig(congestion="reno"))
    client, server = pair.establish()
    server.eager = True
    client.write(100 * MSS, pair.now)
    sender = client.subflows[0].sender
    while sender.una <= 100 * MSS:
        assert pair.step()
    grown = sender.congestion.cwnd
    assert pair.now - sender.last_sent_at < sender.rtt.rto
    client.write(100 * MSS, pair.now)
    assert sender.congestion.cwnd == grown
