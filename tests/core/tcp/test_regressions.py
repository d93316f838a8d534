"""Faults of the TCP core that the Hypothesis machine found, each shrunk to a script."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from tests.core.tcp.script import Script


def test_read_beyond_an_unscaled_window_sends_nothing() -> None:
    """With a window field at its largest a read opens nothing, so it is worth no segment."""
    script = Script.accepted(TcpConfig(window_scaling=False, ack_every=1))
    for _ in range(20):
        script.inject(length=1460)
        script.expect("A", window=65535)
    for _ in range(4):
        script.read(5_000)
        script.quiet()


def test_window_opens_by_whole_units_of_its_field() -> None:
    """A read of less than the shift can express is announced only with those that follow."""
    script = Script.accepted(TcpConfig(receive_buffer=8_192, window_scale=10, ack_every=1), mtu=540)
    for _ in range(8):
        script.inject(length=1_024)
        script.expect("A")
    assert script.sent[-1][1].window == 0
    script.read(600)
    script.quiet()
    script.read(600)
    script.expect("A", window=1)


def test_wide_open_window_moves_by_whole_units_too() -> None:
    script = Script.accepted(TcpConfig(receive_buffer=100_000, window_scale=10, ack_every=1), mtu=296)
    for _ in range(6):
        script.inject(length=256)
        script.expect("A")
    edge = script.sent[-1][1].ack + (script.sent[-1][1].window << 10)
    for _ in range(3):
        script.read(500)
        for _, segment in script.fresh():
            after = segment.ack + (segment.window << 10)
            assert after > edge
            edge = after


def test_ack_numbered_at_the_right_edge_counts() -> None:
    """A peer that has filled the window acknowledges with SEG.SEQ at its edge; a hole must not deafen us."""
    script = Script.accepted(TcpConfig(receive_buffer=2_000))
    script.inject(length=1_000, seq=1_001)
    script.expect("A", ack=1, window=2_000)
    script.write(100)
    script.expect_data((1, 100))
    script.inject(seq=2_001, ack=101)
    assert script.tcp.sender.una == 101
    script.quiet()


def test_reset_at_the_right_edge_does_not_count() -> None:
    """For a RST the line stays where RFC 5961 section 3.2 draws it."""
    script = Script.accepted(TcpConfig(receive_buffer=2_000))
    script.inject("R", seq=2_001)
    script.quiet()
    assert script.state == "ESTABLISHED"


def test_no_data_before_the_handshake_is_over() -> None:
    """In SYN-RECEIVED an unacceptable segment is answered, and what is written goes on waiting."""
    script = Script(TcpConfig())
    script.connect()
    script.expect("S")
    script.write(1_000)
    script.inject("S")
    script.expect("SA")
    script.inject(seq=100_000, ack=1)
    script.expect("A")
    assert script.state == "SYN-RECEIVED"
    script.elapse(900)
    script.quiet()
    script.inject(ack=1)
    script.expect("A", seq=1, length=1_000)
    assert script.tcp.sender.una == 1


@pytest.mark.parametrize("mss", [0, 1, 12, 13, 40])
def test_peer_with_an_absurd_mss(mss: int) -> None:
    """Options alone fill such a segment; 48 bytes of the peer's segment are used all the same."""
    script = Script.connected(TcpConfig(nagle=False), mss=mss)
    script.write(100)
    script.expect_data((1, 36), (37, 36), (73, 28))
    script.quiet()
    script.inject(ack=1, length=10, seq=11)
    script.inject(ack=1, length=10, seq=31)
    script.fresh()
    script.write(30)
    sent = script.fresh()
    assert sum(segment.length for _, segment in sent) == 30
    assert all(0 < segment.length <= 36 and segment.size <= 40 + 48 for _, segment in sent)
