"""Flow control: zero windows and probes, scaling, silly windows, Nagle (RFC 9293 3.7.4, 3.8.6; RFC 7323)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import FIN, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script
from tests.profiles import examples

MS = MILLISECOND

#: The set-up of validation row 1.7: minimum RTO 1 s, no tail-loss probe.
SLOW: dict[str, Any] = {"rto_min": SECOND, "rack_tlp": False}


def closed_window(**config: object) -> Script:
    """Return a script in which the peer closed its window at the present instant, data pending."""
    script = Script.accepted(TcpConfig(**{**SLOW, **config}))
    script.write(1000)
    script.expect_data((1, 1000))
    script.write(500)
    script.elapse(100)
    script.inject("A", window=0)
    script.window = 0
    script.quiet()
    return script


# --- Zero window probes (section 3.8.6.1) ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["byte", "empty"])
def test_probe_schedule(kind: str) -> None:
    """The first probe one RTO after the window closed, then doubling up to ``persist_max``."""
    script = closed_window(zero_window_probe=kind, persist_max=60 * SECOND)
    begin = script.now
    expected = [1, 3, 7, 15, 31, 63, 123, 183, 243]
    for second in expected:
        script.run(begin + second * SECOND)
        if kind == "byte":
            script.expect("A", at=begin + second * SECOND, seq=1001, length=1)
            script.inject("A", ack=1001)
        else:
            script.expect("A", at=begin + second * SECOND, seq=1000, length=0)
            script.inject("A", ack=1001)
        script.quiet()
    assert script.count("TcpExtTCPWinProbe") == len(expected)


@pytest.mark.parametrize("kind", ["byte", "empty"])
def test_connection_survives_while_probes_are_answered(kind: str) -> None:
    script = closed_window(zero_window_probe=kind, data_retries=3)
    for _ in range(100):
        script.run(script.tcp.sender.window_probe.at)
        assert script.fresh()
        script.inject("A", ack=1001)
    assert script.state == "ESTABLISHED"
    script.inject("A", ack=1001, window=5000)
    script.expect("A", seq=1001, length=500)


@pytest.mark.parametrize("kind", ["byte", "empty"])
def test_connection_survives_while_the_answers_are_too_old_to_name_a_window(kind: str) -> None:
    """Their sequence number is below SND.WL1: no news of the window, and an answer all the same."""
    script = closed_window(zero_window_probe=kind, data_retries=3)
    script.inject(length=100, ack=1001, window=0)
    script.fresh()
    for _ in range(100):
        script.run(script.tcp.sender.window_probe.at)
        assert script.fresh()
        script.inject("A", seq=0, ack=1001)
    assert script.state == "ESTABLISHED"
    script.fresh()
    script.inject("A", ack=1001, window=5000)
    script.expect("A", seq=1001, length=500)


@pytest.mark.parametrize("kind", ["byte", "empty"])
def test_connection_is_given_up_when_they_are_not(kind: str) -> None:
    script = closed_window(zero_window_probe=kind, data_retries=3)
    script.elapse(7_000)
    assert len(script.fresh()) == 3
    assert script.state == "ESTABLISHED"
    script.elapse(8_000)
    script.expect("RA")
    assert "probes" in script.stack.connections[0].error


def test_probe_byte_that_is_taken_counts_once() -> None:
    script = closed_window()
    script.elapse(1_000)
    script.expect("A", seq=1001, length=1)
    script.inject("A", ack=1002, window=0)
    assert script.tcp.sender.una == script.tcp.sender.nxt == 1002
    # The window is still closed: probing begins anew, with the next byte.
    script.elapse(1_000)
    script.expect("A", seq=1002, length=1)
    script.inject("A", ack=1003, window=5000)
    script.expect("A", seq=1003, length=1500 - 1002)
    assert script.tcp.sender.sent_bytes == 1500


def test_probe_whose_answer_was_lost() -> None:
    """The byte was taken, the ACK lost: the next probe repeats the byte, and its answer counts."""
    script = closed_window()
    script.elapse(3_000)
    script.expect("A", seq=1001, length=1)
    script.expect("A", seq=1001, length=1)
    script.inject("A", ack=1002, window=3000)
    script.expect("A", seq=1002, length=499)


def test_probe_acknowledged_by_a_probe() -> None:
    """Both windows are closed: the ACK field of the peer's probe counts all the same (section 3.10.7.4)."""
    script = closed_window(receive_buffer=2000, window_scaling=False)
    for _ in range(2):
        script.inject(length=1000)
    script.elapse(1_100)
    assert script.fresh()[-1][1].window == 0
    script.inject("A", seq=2001, length=1, ack=1002)
    assert script.tcp.sender.una == 1002
    script.expect("A", ack=2001, window=0)


def test_window_opens_while_a_probe_is_out() -> None:
    script = closed_window()
    script.elapse(1_000)
    script.expect("A", seq=1001, length=1)
    script.inject("A", ack=1001, window=5000)
    script.expect("A", seq=1001, length=500)
    script.inject("A", ack=1002, window=5000)
    script.inject("A", ack=1501, window=5000)
    assert script.tcp.sender.una == 1501


def test_fin_behind_a_closed_window() -> None:
    """Nothing is left but the FIN: the FIN is the probe."""
    script = closed_window()
    script.inject("A", ack=1001, window=500)
    script.expect("A", seq=1001, length=500)
    script.close()
    script.inject("A", ack=1501, window=0)
    script.quiet()
    script.elapse(1_000)
    script.expect("FA", seq=1501, length=0)
    script.inject("A", ack=1502, window=0)
    assert script.state == "FIN-WAIT-2"


def test_window_closed_before_there_was_data() -> None:
    """The persist timer runs from when there is something to send."""
    script = Script.accepted(TcpConfig(**SLOW))
    script.inject("A", window=0)
    script.elapse(10_000)
    script.quiet()
    begin = script.now
    script.write(100)
    script.run(begin + SECOND)
    script.expect("A", at=begin + SECOND, seq=1, length=1)


def test_reader_that_pauses() -> None:
    """The receiver's window closes, its update reopens it at once."""
    pair = Pair(TcpConfig(), TcpConfig(receive_buffer=20_000))
    client, server = pair.establish()
    client.write(50_000, pair.now)
    pair.run(10 * SECOND)
    assert server.delivered == 20_000
    assert pair.server.counters["TcpExtTCPToZeroWindowAdv"] == 1
    server.read(20_000, pair.now)
    pair.run(pair.now + 50 * MS)
    update = pair.segments("s>c")[-1]
    assert update[0] == 10 * SECOND
    assert update[1].window << server.subflows[0].receiver.scale == 20_000
    pair.run(pair.now + 50 * MS)
    assert server.delivered == 20_000 + 10 * 1448
    server.eager = True
    pair.run(pair.now + SECOND)
    assert server.delivered == 50_000


@pytest.mark.parametrize("kind", ["byte", "empty"])
def test_lost_window_update_is_repaired_by_a_probe(kind: str) -> None:
    lose = False

    def hook(direction: str, packet: Packet, _: int) -> list[Packet]:
        return [] if lose and direction == "s>c" else [packet]

    pair = Pair(TcpConfig(zero_window_probe=kind), TcpConfig(receive_buffer=20_000), hook=hook)
    client, server = pair.establish()
    client.write(30_000, pair.now)
    pair.run(2 * SECOND)
    assert server.delivered == 20_000
    lose = True
    server.read(20_000, pair.now)
    pair.pump()
    lose = False
    due = client.subflows[0].sender.window_probe.at
    assert due > pair.now
    pair.run(due)
    # A byte of data is taken; an empty probe only brings the answer.
    pair.run(due + 50 * MS)
    assert server.delivered == (20_001 if kind == "byte" else 20_000)
    pair.run(due + 400 * MS)
    assert server.delivered == 30_000


# --- Throughput of a window (row 1.8) ------------------------------------------------------------------


@pytest.mark.parametrize("segments", [4, 20, 44])
def test_window_limited_throughput(segments: int) -> None:
    """A window a round trip: W / r."""
    window = segments * 1448
    config = TcpConfig(send_buffer=10_000_000)
    pair = Pair(config, TcpConfig(receive_buffer=window, window_scaling=False, ack_every=1))
    client, server = pair.establish()
    server.eager = True
    client.write(10_000_000, pair.now)
    pair.run(3 * SECOND)
    before = server.delivered
    pair.run(13 * SECOND)
    assert server.delivered - before == pytest.approx(window * 100, rel=0.01)


# --- The window field (row 1.9, RFC 7323 section 2) -------------------------------------------------------


@pytest.mark.parametrize(
    ("buffer", "shift"),
    [
        (1000, 0),
        (65_535, 0),
        (65_536, 1),
        (131_071, 1),
        (131_072, 2),
        (4 << 20, 7),
        (1 << 30, 14),
        (1 << 40, 14),
    ],
)
def test_scale_offered(buffer: int, shift: int) -> None:
    """The smallest shift that lets the whole buffer be offered, 14 at most; SYNs are not scaled."""
    script = Script(TcpConfig(receive_buffer=buffer))
    script.listen()
    script.inject("S", window_scale=3)
    syn = script.expect("SA", window=min(buffer, 65_535))
    assert syn.syn is not None
    assert syn.syn.window_scale == shift
    script.inject("A")
    script.inject(length=1000)
    script.inject(length=1000)
    offered = script.fresh()[-1][1].window
    assert offered <= 65_535
    assert offered << shift <= max(buffer, 1000)
    if buffer >= 65_535:
        assert offered << shift >= min(buffer, 65_535 << 14) - 2000 - (1 << shift)


def test_without_scaling_the_window_is_64_kib() -> None:
    for mine, theirs in ((False, 7), (True, UNKNOWN)):
        script = Script(TcpConfig(receive_buffer=1 << 20, window_scaling=mine))
        script.listen()
        script.inject("S", window_scale=theirs)
        syn = script.expect("SA")
        assert syn.syn is not None
        assert syn.syn.window_scale == UNKNOWN
        script.window = 500
        script.inject("A")
        assert script.tcp.sender.wnd_end == 1 + 500
        for _ in range(10):
            script.inject(length=1000)
        assert {segment.window for _, segment in script.fresh()} == {65_535}


def test_a_shift_above_14_is_taken_as_14() -> None:
    """RFC 7323 section 2.3."""
    script = Script.accepted(window_scale=15)
    script.inject("A", window=3)
    assert script.tcp.sender.wnd_end == 1 + (3 << 14)


def test_peer_window_is_scaled() -> None:
    script = Script.accepted(window_scale=5)
    script.inject("A", window=100)
    script.write(100_000)
    assert script.tcp.sender.wnd_end == 1 + 3200
    script.expect_data((1, 1448), (1449, 1448))
    script.quiet()


@examples(200)
@given(
    buffer=st.integers(1, 300_000),
    scale=st.integers(0, 14),
    sizes=st.lists(st.integers(1, 2000), max_size=60),
    reads=st.lists(st.integers(0, 5000), max_size=60),
)
def test_right_edge_never_moves_left(buffer: int, scale: int, sizes: list[int], reads: list[int]) -> None:
    """As the peer reads it, after scaling (RFC 9293 section 3.8.6, RFC 7323 section 2.4)."""
    script = Script.accepted(
        TcpConfig(receive_buffer=buffer, window_scale=scale, ack_every=1), window_scale=0
    )
    syn = script.sent[0][1].syn
    assert syn is not None
    shift = max(syn.window_scale, 0)
    edge = 1 + script.sent[0][1].window
    sent = 1
    for index in range(max(len(sizes), len(reads))):
        if index < len(sizes):
            room = edge - sent
            length = min(sizes[index], room)
            if length > 0:
                script.inject(length=length)
                sent += length
        if index < len(reads):
            script.read(reads[index])
        for _, segment in script.fresh():
            assert segment.ack + (segment.window << shift) >= edge
            edge = segment.ack + (segment.window << shift)
    # Rounding up promises more than there is; only beyond twice the buffer is it not kept.
    assert script.stack.connections[0].delivered == sent - 1 or script.count("TcpExtTCPRcvQDrop")


def test_peer_that_takes_its_window_back() -> None:
    """RFC 9293 section 3.8.6: nothing new beyond the new edge, and no confusion."""
    script = Script.accepted(TcpConfig(**SLOW))
    script.write(40_000)
    script.expect_data(*((1 + 1448 * n, 1448) for n in range(10)))
    script.inject("A", ack=1449, window=1448)
    script.quiet()
    script.inject("A", ack=2897, window=0)
    script.quiet()
    # What is in flight is repaired as ever.
    script.elapse(1_000)
    script.expect("A", seq=2897, length=1448)
    script.inject("A", ack=14_481, window=0)
    script.quiet()
    script.elapse(1_000)
    script.expect("A", seq=14_481, length=1)
    script.inject("A", ack=14_481, window=20_000)
    script.expect_data((14_481, 1448))


# --- Silly windows: the receiver (section 3.8.6.2.2) ----------------------------------------------------


def full(buffer: int) -> Script:
    """Return a script whose receive buffer is full."""
    script = Script.accepted(TcpConfig(receive_buffer=buffer, window_scaling=False))
    left = buffer
    while left:
        length = min(left, 1000)
        script.inject(length=length)
        left -= length
    script.elapse(100)
    assert script.fresh()[-1][1].window == 0
    return script


@pytest.mark.parametrize(("buffer", "step"), [(20_000, 1460), (2_000, 1_000)])
def test_edge_moves_by_whole_steps(buffer: int, step: int) -> None:
    """By min(MSS, buffer / 2) or more."""
    script = full(buffer)
    script.read(step - 1)
    script.quiet()
    script.inject("A", seq=script.seq - 1)
    script.expect("A", window=0)
    script.read(1)
    script.expect("A", window=step)


def test_window_update_while_the_window_is_open() -> None:
    """Two segments' worth, so that a fast reader does not answer every read with a segment."""
    script = Script.accepted(TcpConfig(receive_buffer=20_000, window_scaling=False, ack_every=1))
    for _ in range(10):
        script.inject(length=1000)
    script.fresh()
    script.read(2 * 1460 - 1)
    script.quiet()
    script.read(1)
    script.expect("A", window=10_000 + 2 * 1460)


# --- Silly windows: the sender (section 3.8.6.2.1), Nagle (section 3.7.4) ---------------------------------


def test_small_window_waits_for_the_override() -> None:
    """225 bytes are less than half of the largest window: used only after 0.1 to 1 s."""
    script = Script.accepted()
    script.inject("A", window=225)
    begin = script.now
    script.write(10_000)
    script.quiet()
    script.elapse(1_000)
    when, segment = script.fresh()[0]
    assert 100 * MS <= when - begin <= SECOND
    assert (segment.seq, segment.length) == (1, 225)


def test_half_of_the_largest_window_is_used_at_once() -> None:
    script = Script.accepted(window=450)
    script.tcp.sender.max_window = 450
    script.inject("A", window=450)
    script.write(10_000)
    script.expect_data((1, 450))
    script.inject("A", window=225)
    script.expect_data((451, 225))
    script.inject("A", window=224)
    script.quiet()


def test_window_of_a_few_hundred_bytes_keeps_flowing() -> None:
    """A receiver with a tiny buffer gets its data, at the pace of its window."""
    pair = Pair(TcpConfig(), TcpConfig(receive_buffer=225, window_scaling=False))
    client, server = pair.establish()
    server.eager = True
    client.write(10_000, pair.now)
    pair.run(pair.now + 60 * SECOND)
    assert server.delivered == 10_000


def test_nagle_holds_small_data_back() -> None:
    script = Script.accepted()
    script.write(100)
    script.expect_data((1, 100))
    script.write(100)
    script.write(100)
    script.quiet()
    script.write(1448)
    script.expect_data((101, 1448))
    script.quiet()
    script.inject("A")
    script.expect_data((1549, 200))
    script.quiet()


def test_without_nagle() -> None:
    script = Script.accepted(TcpConfig(nagle=False))
    for n in range(5):
        script.write(100)
        script.expect_data((1 + 100 * n, 100))


def test_close_pushes_out_what_nagle_holds() -> None:
    script = Script.accepted()
    script.write(100)
    script.expect_data((1, 100))
    script.write(50)
    script.quiet()
    script.close()
    segment = script.expect("FA", seq=101, length=50)
    assert segment.flags & FIN


def test_data_is_never_beyond_the_window() -> None:
    """Over a random exchange: nothing new is sent beyond the edge that the peer offered."""
    rng = random.Random(5)
    script = Script.accepted(TcpConfig(nagle=False))
    edge = 1 + 65_535
    for _ in range(300):
        script.write(rng.randrange(5000))
        for _, segment in script.fresh():
            assert isinstance(segment, Segment)
            assert segment.end <= edge
        window = rng.randrange(10_000)
        script.inject("A", window=window)
        edge = max(edge, script.ack + window)
        script.elapse(rng.randrange(50))
