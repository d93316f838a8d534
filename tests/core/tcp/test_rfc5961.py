"""What a forged or stale segment can do: nothing (RFC 5961, and PAWS of RFC 7323)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script

#: What the script's stack offers: a buffer of 20,000 bytes without scaling.
WINDOW = 20_000


def established(**config: object) -> Script:
    return Script.accepted(TcpConfig(receive_buffer=WINDOW, window_scaling=False, **config))  # type: ignore[arg-type]


# --- RST (section 3.2) ----------------------------------------------------------------------------


def test_exact_reset_is_accepted() -> None:
    script = established()
    script.inject("R", seq=1)
    assert script.state == "CLOSED"
    script.quiet()


@pytest.mark.parametrize("offset", [1, 2, WINDOW - 1])
def test_reset_in_the_window_is_challenged(offset: int) -> None:
    script = established()
    script.inject("R", seq=1 + offset)
    assert script.state == "ESTABLISHED"
    script.expect("A", seq=1, ack=1)
    assert script.count("TcpExtTCPChallengeACK") == 1


@pytest.mark.parametrize("offset", [-1, -WINDOW, WINDOW + 1, 1 << 31])
def test_reset_outside_of_the_window_is_dropped(offset: int) -> None:
    script = established()
    script.inject("R", seq=1 + offset)
    script.quiet()
    assert script.state == "ESTABLISHED"


def test_reset_follows_what_was_received() -> None:
    script = established()
    script.inject(length=500)
    script.inject("R", seq=1)
    script.quiet()
    script.inject("R", seq=501)
    assert script.state == "CLOSED"


def test_reset_at_a_closed_window() -> None:
    """RFC 9293 section 3.10.7.4: a RST is processed even while the window is zero."""
    script = established()
    script.seq = 1
    for _ in range(20):
        script.inject(length=1000)
    script.elapse(100)
    assert script.sent[-1][1].window == 0
    script.fresh()
    script.inject("R", seq=WINDOW + 2)
    script.quiet()
    assert script.state == "ESTABLISHED"
    script.inject("R", seq=WINDOW + 1)
    assert script.state == "CLOSED"


def test_answer_to_a_challenge_resets() -> None:
    """A peer that has lost its state answers the challenge with the exact RST (section 3.2)."""
    script = established()
    script.inject("S", seq=5000)
    challenge = script.expect("A")
    script.inject("R", seq=challenge.ack)
    assert script.state == "CLOSED"


# --- SYN (section 4.2) ----------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [-5000, 0, 1, 5000, 1 + WINDOW, 100_000])
@pytest.mark.parametrize("letters", ["S", "SA"])
def test_syn_is_challenged_whatever_its_number(seq: int, letters: str) -> None:
    script = established()
    script.inject(letters, seq=seq)
    script.expect("A", seq=1, ack=1)
    script.quiet()
    assert script.state == "ESTABLISHED"


# --- ACK (section 5.2) ----------------------------------------------------------------------------


def test_ack_of_data_never_sent_is_challenged() -> None:
    script = established()
    script.write(1000)
    script.expect_data((1, 1000))
    script.inject("A", ack=1002, length=100)
    script.expect("A", ack=1)
    assert script.tcp.sender.una == 1
    assert script.stack.connections[0].delivered == 0
    script.inject("A", ack=1001, length=100, seq=1)
    assert script.tcp.sender.una == 1001
    assert script.stack.connections[0].delivered == 100


def test_ack_far_below_the_window_is_challenged() -> None:
    """Acceptable is SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT."""
    script = established(nagle=False)
    script.window = 3000
    script.inject("A")
    script.tcp.sender.max_window = 3000
    for _ in range(4):
        script.write(2000)
        script.fresh()
        script.inject("A")
    assert script.tcp.sender.una == 8001
    script.inject("A", ack=8001 - 3001, length=100)
    script.expect("A", ack=1)
    assert script.stack.connections[0].delivered == 0
    script.seq = 1
    script.inject("A", ack=8001 - 3000, length=100)
    assert script.stack.connections[0].delivered == 100


def test_old_ack_does_not_move_the_window() -> None:
    script = established(nagle=False)
    script.write(2000)
    script.fresh()
    script.inject("A")
    edge = script.tcp.sender.wnd_end
    script.inject("A", ack=1, window=100)
    assert script.tcp.sender.una == 2001
    assert script.tcp.sender.wnd_end == edge


# --- Challenge ACKs are limited (section 7) -----------------------------------------------------------


def test_challenge_acks_are_limited() -> None:
    script = established()
    for _ in range(25):
        script.inject("R", seq=100)
    assert len(script.fresh()) == 10
    script.elapse(4_999)
    script.inject("R", seq=100)
    script.quiet()
    script.elapse(1)
    for _ in range(25):
        script.inject("S", seq=100)
    assert len(script.fresh()) == 10


def test_challenge_limit_is_configurable() -> None:
    script = established(challenge_ack_limit=2)
    for _ in range(5):
        script.inject("S", seq=100)
    assert len(script.fresh()) == 2


def test_limit_leaves_answers_to_window_probes_alone() -> None:
    script = established(challenge_ack_limit=0)
    for _ in range(20):
        script.inject("A", seq=0)
    assert len(script.fresh()) == 20


def test_two_ends_out_of_step_do_not_answer_each_other_for_ever() -> None:
    """Bare ACKs outside of the window are challenges, and so are limited."""
    script = established()
    for _ in range(100):
        script.inject("A", seq=500_000)
    assert len(script.fresh()) == 10


# --- Data outside of the window --------------------------------------------------------------------


def test_data_outside_of_the_window() -> None:
    script = established()
    script.inject("A", seq=1 + WINDOW, length=100)
    script.expect("A", ack=1, sack=None)
    script.inject("A", seq=WINDOW - 50, length=100)
    script.expect("A", ack=1, sack=((WINDOW - 50, WINDOW + 1),))


# --- PAWS (RFC 7323 section 5) -----------------------------------------------------------------------


def test_old_timestamp_is_rejected() -> None:
    script = established()
    script.inject(length=100, ts_val=1010)
    script.inject(length=100, ts_val=1009, seq=101)
    script.expect("A", ack=101, ts_ecr=1010)
    assert script.count("TcpExtPAWSEstab") == 1
    script.inject(length=100, ts_val=1010, seq=101)
    assert script.stack.connections[0].delivered == 200


def test_old_timestamp_does_not_stop_a_reset() -> None:
    script = established()
    script.inject("R", seq=1, ts_val=1)
    assert script.state == "CLOSED"


@pytest.mark.parametrize("prediction", [True, False])
def test_timestamp_clock_wraps(prediction: bool) -> None:
    script = Script(TcpConfig(header_prediction=prediction, ack_every=1))
    script.listen()
    script.ts_val = 0xFFFFFFFE
    script.inject("S")
    script.expect("SA", ts_ecr=0xFFFFFFFE)
    script.inject("A", ts_val=0xFFFFFFFF)
    for ts_val in (0xFFFFFFFF, 0, 1, 0x7FFFFFFF):
        script.inject(length=100, ts_val=ts_val)
        script.expect("A", ts_ecr=ts_val)
    script.inject("A", length=100, ts_val=0xFFFFFFFF, seq=script.seq)
    script.expect("A", ack=401, ts_ecr=0x7FFFFFFF)
    assert script.stack.connections[0].delivered == 400


def test_own_timestamp_clock_wraps() -> None:
    """A transfer across the wrap of both clocks loses nothing."""
    config = TcpConfig(initial_timestamp=0xFFFFFFFF - 300, initial_sequence=0xFFFFFFFF - 20_000)
    for encode in (False, True):
        pair = Pair(config, config, encode=encode)
        client, server = pair.establish()
        server.eager = True
        client.write(500_000, pair.now)
        pair.run(pair.now + 5 * SECOND)
        assert server.delivered == 500_000
        stamps = [segment.ts_val for _, segment in pair.segments("c>s")]
        assert max(stamps) > 0xFFFFFF00
        assert min(stamps) < 10_000
        assert pair.server.counters["TcpExtPAWSEstab"] == 0


def test_recent_timestamp_expires() -> None:
    """RFC 7323 section 5.5: after 24 idle days TS.Recent is not valid."""
    script = established()
    day = 24 * 3600 * SECOND
    script.now = 25 * day
    script.inject(length=100, ts_val=1000 - 1)
    assert script.stack.connections[0].delivered == 100
    script.now += 23 * day
    script.inject(length=100, ts_val=1000 - 2)
    assert script.stack.connections[0].delivered == 100


def test_timestamp_echo_follows_last_ack_sent() -> None:
    """RFC 7323 section 4.3: an out-of-order segment's stamp is not echoed; the gap filler's is."""
    script = established(ack_every=2)
    script.inject(length=1000, ts_val=1001)
    script.inject(length=1000, ts_val=1002)
    # Both make one delayed ACK: the first, unacknowledged one counts.
    script.expect("A", ack=2001, ts_ecr=1001)
    script.inject("A", seq=3001, length=1000, ts_val=1004)
    script.expect("A", ack=2001, ts_ecr=1001)
    script.seq = 2001
    script.inject(length=1000, ts_val=1003)
    script.expect("A", ack=4001, ts_ecr=1003)


def test_timestamp_of_a_duplicate_is_echoed() -> None:
    """SEG.SEQ <= Last.ACK.sent: the ACK that answers it may be the only one that arrives."""
    script = established(ack_every=1)
    script.inject(length=1000, ts_val=1001)
    script.expect("A", ack=1001, ts_ecr=1001)
    script.inject("A", seq=1, length=1000, ts_val=1500)
    script.expect("A", ack=1001, ts_ecr=1500)


def test_a_segment_without_timestamp_does_not_abort() -> None:
    """RFC 7323 section 3.2: "MUST NOT abort a TCP connection because any segment lacks an expected TSopt"."""
    script = established()
    script.inject(length=100, ts_val=UNKNOWN)
    assert script.state == "ESTABLISHED"


def test_no_timestamps_unless_both_offer() -> None:
    script = Script(TcpConfig())
    script.listen()
    script.inject("S", ts_val=UNKNOWN)
    script.expect("SA", ts_val=UNKNOWN)
    script.inject("A")
    script.write(5000)
    assert {segment.ts_val for _, segment in script.fresh()} == {UNKNOWN}
    script = Script.accepted(TcpConfig(timestamps=False))
    script.write(10)
    script.expect("A", ts_val=UNKNOWN)


def test_stale_segment_of_an_earlier_cycle() -> None:
    """4 GiB later a sequence number is valid again: only its timestamp tells that it is old."""
    script = established()
    script.inject(length=1000, ts_val=5000)
    script.elapse(100)
    script.fresh()
    script.inject("A", seq=1001, length=1000, ts_val=4000)
    script.expect("A", ack=1001)
    assert script.stack.connections[0].delivered == 1000
