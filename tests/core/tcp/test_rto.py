"""The retransmission timer (RFC 6298) and what starts, restarts and stops it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.rtt import RttEstimator
from mptcpsim.units import MILLISECOND, MINUTE, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script
from tests.profiles import examples

MS = MILLISECOND


def estimator(minimum: int = 1 * SECOND, maximum: int = 2 * MINUTE) -> RttEstimator:
    return RttEstimator(SECOND, minimum, maximum, MS)


def script(**config: object) -> Script:
    """Return a connected script whose SYN took 100 ms, with a minimum RTO of 1 s and no loss probe."""
    values = {"rto_min": SECOND, "rack_tlp": False, "ack_every": 1, **config}
    return Script.connected(TcpConfig(**values), rtt=100 * MS)  # type: ignore[arg-type]


# --- The estimator (sections 2 and 3) -----------------------------------------------------------------


def test_constant_samples_of_100_ms() -> None:
    """300 ms after the first, then the variation decays by a quarter each time (validation row 1.6)."""
    rtt = estimator(minimum=1)
    timeouts = []
    for _ in range(4):
        rtt.sample(100 * MS)
        timeouts.append(rtt.rto)
    assert timeouts == [300 * MS, 250 * MS, 212_500_000, 184_375_000]
    for _ in range(100):
        rtt.sample(100 * MS)
    assert rtt.rto == 101 * MS  # SRTT + G


@pytest.mark.parametrize(("minimum", "expected"), [(SECOND, SECOND), (200 * MS, 300 * MS)])
def test_minimum(minimum: int, expected: int) -> None:
    rtt = estimator(minimum)
    rtt.sample(100 * MS)
    assert rtt.rto == expected
    for _ in range(10):
        rtt.sample(100 * MS)
    assert rtt.rto == minimum


def test_before_the_first_sample() -> None:
    assert estimator().timeout() == SECOND


def test_variation_before_smoothed() -> None:
    """Section 2.3: RTTVAR is computed with the old SRTT."""
    rtt = estimator(minimum=1)
    rtt.sample(100 * MS)
    rtt.sample(200 * MS)
    assert rtt.rttvar == (3 * 50 + 100) * MS // 4
    assert rtt.srtt == (7 * 100 + 200) * MS // 8


def test_back_off_and_cap() -> None:
    rtt = estimator(maximum=60 * SECOND)
    seen = []
    for _ in range(9):
        seen.append(rtt.timeout() // SECOND)
        rtt.backoff += 1
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    rtt.sample(MS)
    assert rtt.timeout() == SECOND
    rtt.backoff = 10_000
    assert rtt.timeout() == 60 * SECOND


@examples(200)
@given(st.lists(st.integers(1, 100 * SECOND), min_size=1, max_size=50))
def test_estimator_laws(samples: list[int]) -> None:
    """SRTT stays between the smallest and the largest sample; the RTO between its bounds and above SRTT."""
    rtt = estimator(minimum=200 * MS)
    for count, sample in enumerate(samples, 1):
        rtt.sample(sample)
        # Each of the divisions rounds down.
        assert min(samples) - count <= rtt.srtt <= max(samples)
        assert 200 * MS <= rtt.rto <= 2 * MINUTE
        assert rtt.rto == 2 * MINUTE or rtt.rto > rtt.srtt
        assert rtt.minimum == min(samples[:count])


# --- The schedule (row 1.5) ---------------------------------------------------------------------------


def test_black_hole() -> None:
    """Retransmissions 1, 3, 7, 15, 31 and 63 s after the first transmission."""
    end = script(rto_max=1000 * SECOND)
    begin = end.now
    end.write(100)
    end.run(begin + 64 * SECOND)
    assert [when - begin for when, _ in end.fresh()] == [n * SECOND for n in (0, 1, 3, 7, 15, 31, 63)]
    assert end.count("TcpExtTCPTimeouts") == 6


@pytest.mark.parametrize("sack", [True, False])
def test_only_the_first_segment_is_sent_on_time_out(sack: bool) -> None:
    """Section 5.4, and a congestion window of one segment (RFC 5681 section 3.1)."""
    end = script(sack=sack, congestion="reno")
    end.write(14_480)
    assert len(end.fresh()) == 10
    begin = end.now
    end.run(begin + 1500 * MS)
    end.expect("A", at=begin + SECOND, seq=1, length=1448)
    end.quiet()
    assert end.tcp.sender.congestion.cwnd == 1448
    assert end.tcp.sender.congestion.ssthresh == 7240
    # Equation (4) is for the first time-out of a segment only.
    end.run(begin + 8 * SECOND)
    assert end.tcp.sender.congestion.ssthresh == 7240


# --- Starting, restarting, stopping (section 5) -----------------------------------------------------------


def test_the_timer_runs_from_the_first_segment() -> None:
    """5.1: sending more does not restart it."""
    end = script(nagle=False)
    begin = end.now
    end.write(100)
    end.elapse(600)
    end.write(100)
    assert end.tcp.sender.rto_at == begin + SECOND


def test_an_ack_of_new_data_restarts_it() -> None:
    """5.3; a duplicate ACK does not."""
    end = script()
    end.write(2896)
    end.fresh()
    end.elapse(300)
    end.inject("A", ack=1449)
    restarted = end.now
    assert end.tcp.sender.rto_at == restarted + SECOND
    end.elapse(300)
    end.inject("A", ack=1449)
    assert end.tcp.sender.rto_at == restarted + SECOND


def test_it_stops_when_nothing_is_outstanding() -> None:
    """5.2."""
    end = script()
    end.write(2896)
    end.fresh()
    end.inject("A", ack=2897)
    end.run(100 * SECOND)
    end.quiet()


def test_back_off_lasts_until_a_new_sample() -> None:
    """5.5, 5.6, and Karn: the ACK of a retransmission without timestamps ends nothing."""
    end = Script.connected(TcpConfig(rto_min=SECOND, rack_tlp=False), rtt=100 * MS, ts_val=UNKNOWN)
    end.write(100)
    end.fresh()
    end.elapse(3_100)
    assert len(end.fresh()) == 2
    end.inject("A", ack=101)
    begin = end.now
    end.write(100)
    end.fresh()
    assert end.tcp.sender.rto_at == begin + 4 * SECOND
    end.elapse(100)
    end.inject("A", ack=201)
    begin = end.now
    end.write(100)
    assert end.tcp.sender.rto_at == begin + SECOND


def test_karn_takes_no_sample_from_a_retransmission() -> None:
    end = Script.connected(TcpConfig(rto_min=SECOND, rack_tlp=False), rtt=100 * MS, ts_val=UNKNOWN)
    end.write(100)
    end.fresh()
    before = (end.tcp.sender.rtt.srtt, end.tcp.sender.rtt.rttvar)
    end.elapse(1_010)
    end.expect("A", seq=1, length=100)
    end.inject("A", ack=101)
    assert (end.tcp.sender.rtt.srtt, end.tcp.sender.rtt.rttvar) == before


def test_an_ack_that_covers_a_retransmission_gives_no_sample() -> None:
    """Karn: the segment behind was sent once, but its ACK waited for the repair."""
    end = Script.connected(
        TcpConfig(rto_min=SECOND, rack_tlp=False, nagle=False), rtt=100 * MS, ts_val=UNKNOWN
    )
    end.write(100)
    end.write(100)
    end.fresh()
    end.elapse(1_100)
    end.fresh()
    before = end.tcp.sender.rtt.srtt
    end.inject("A", ack=201)
    assert end.tcp.sender.rtt.srtt == before


def test_timestamps_sample_retransmissions() -> None:
    """RFC 7323 section 4.1: the echo tells which transmission was acknowledged."""
    end = script()
    end.write(100)
    end.fresh()
    end.elapse(1_000)
    resent = end.expect("A", seq=1, length=100)
    end.elapse(100)
    end.inject("A", ack=101, ts_ecr=resent.ts_val)
    assert end.tcp.sender.rtt.latest == 100 * MS
    assert end.tcp.sender.rtt.backoff == 0


@pytest.mark.parametrize("sack", [True, False])
def test_lost_ack_does_not_spoil_the_estimate(sack: bool) -> None:
    """The answer to a duplicate echoes the duplicate's timestamp (RFC 7323 section 4.3 rule 2)."""
    lost = 0

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        nonlocal lost
        if direction == "s>c" and now > SECOND and lost < 3:
            lost += 1
            return []
        return [packet]

    config = TcpConfig(sack=sack, rack_tlp=False, ack_every=1)
    pair = Pair(config, config, hook=hook)
    client, _ = pair.establish()
    pair.run(2 * SECOND)
    client.write(100, pair.now)
    pair.run(20 * SECOND)
    sender = client.subflows[0].sender
    assert lost == 3
    assert sender.una == 101
    assert sender.rtt.latest == 100 * MS
    assert sender.rtt.timeout() == 250 * MS


def test_rtt_of_the_handshake_is_a_sample() -> None:
    end = script(rto_min=1)
    assert end.tcp.sender.rtt.srtt == 100 * MS
    assert end.tcp.sender.rtt.rto == 300 * MS
    pair = Pair(delay=70 * MS)
    for connection in pair.establish():
        assert connection.subflows[0].sender.rtt.srtt == 140 * MS


def test_three_seconds_after_a_lost_syn() -> None:
    """5.7: the RTO of the data is 3 s, and a sample ends that."""
    lost: list[Packet] = []

    def hook(_: str, packet: Packet, __: int) -> list[Packet]:
        if not lost:
            lost.append(packet)
            return []
        return [packet]

    pair = Pair(TcpConfig(rack_tlp=False), TcpConfig(rack_tlp=False), hook=hook)
    client, _ = pair.establish()
    sender = client.subflows[0].sender
    begin = pair.now
    client.write(10, begin)
    assert sender.rto_at == begin + 3 * SECOND
    pair.run(begin + SECOND)
    assert sender.una == 11
    # The delayed ACK of that one segment: 100 + 40 ms.
    assert sender.rtt.srtt == 140 * MS
    assert sender.rtt.rto == (140 + 4 * 70) * MS


def test_sample_is_of_the_first_segment_that_an_ack_covers() -> None:
    """A delayed ACK makes the sample longer, as it must (section 3)."""
    end = Script.connected(TcpConfig(nagle=False), rtt=100 * MS)
    end.write(1448)
    end.elapse(30)
    end.write(1448)
    end.fresh()
    end.elapse(100)
    end.inject("A", ack=2897)
    assert end.tcp.sender.rtt.latest == 130 * MS


def test_retransmission_carries_what_is_current() -> None:
    """Acknowledgment, window and timestamps are those of the moment."""
    end = script()
    end.write(100)
    first = end.expect("A", seq=1, ack=1)
    end.inject("A", length=50, ack=1)
    end.fresh()
    end.elapse(1_000)
    again = end.expect("A", seq=1, ack=51, length=100)
    assert isinstance(again, Segment)
    assert again.ts_val == (first.ts_val + 1000) & 0xFFFFFFFF
