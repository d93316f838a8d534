"""Loss recovery: PRR (RFC 6937), NewReno (RFC 6582), SACK (RFC 6675), limited transmit, time-out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.prr import ProportionalRateReduction
from mptcpsim.core.tcp.recovery import LOSS, OPEN, RECOVERY
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script

MS = MILLISECOND

#: Segments are 1000 bytes here: segment n is [1 + 1000 n, 1001 + 1000 n).
MSS = 1000


def start(segments: int, window: int = 20, *, sack: bool = True, **config: object) -> Script:
    """Return a connected script with a window of ``window`` segments and so many written, sent at once."""
    values = {
        "initial_window_segments": window,
        "congestion": "reno",
        "rack_tlp": False,
        "sack": sack,
        "rto_min": SECOND,
        **config,
    }
    script = Script.connected(TcpConfig(**values), rtt=100 * MS, mss=MSS, ts_val=UNKNOWN)  # type: ignore[arg-type]
    script.write(segments * MSS)
    assert numbers(script) == list(range(min(segments, window)))
    script.elapse(100)
    return script


def numbers(script: Script) -> list[int]:
    """Return the numbers of the segments just sent."""
    return [(segment.seq - 1) // MSS for _, segment in script.fresh()]


def ack(script: Script, upto: int, *received: tuple[int, int]) -> list[int]:
    """Acknowledge all below segment ``upto`` and SACK ranges of segments; return what is sent in answer."""
    blocks = tuple((1 + left * MSS, 1 + right * MSS) for left, right in received)
    script.inject("A", ack=1 + upto * MSS, sack=blocks or None)
    return numbers(script)


# --- PRR, the class (RFC 6937 section 3.1) -----------------------------------


def prr_trace(lost: int, conservative: bool) -> dict[int, int]:
    """Return how many segments each ACK of the RFC's figures lets go, from the third duplicate on.

    Window 20, two segments of limited transmit: 22 outstanding. The figures (not the text above
    them) take half of all 22 for ssthresh, as the row of RFC 6675 beside them shows.
    """
    prr = ProportionalRateReduction()
    prr.start(22, 11)
    pipe = 20 - (lost - 1)
    sent = {}
    for number in range(lost + 2, 20):
        pipe -= 1
        if number == lost + 2:
            pipe -= 1  # the first segment is known to be lost now
        count = prr.on_ack(1, pipe, 1, conservative)
        if count:
            sent[number] = count
        prr.on_sent(count)
        pipe += count
    return sent


@pytest.mark.parametrize("conservative", [True, False])
def test_prr_single_loss(conservative: bool) -> None:
    assert prr_trace(1, conservative) == dict.fromkeys((3, 5, 7, 9, 11, 13, 15, 18, 19), 1)


def test_prr_burst_with_conservative_bound() -> None:
    assert prr_trace(15, True) == {17: 1, 18: 1, 19: 1}


def test_prr_burst_with_slow_start_bound() -> None:
    assert prr_trace(15, False) == {17: 2, 18: 2, 19: 2}


# --- PRR, end to end -----------------------------------


def test_single_loss_end_to_end() -> None:
    """The first figure with ssthresh 10, as RFC 5681 section 3.2 wants (limited transmit does not count).

    sndcnt = ceil(d * 10 / 22) - out lets go when d passes 1, 3, 5, 7, 9, 12, 14; on ACK 19
    pipe is 9 and ssthresh - pipe allows one.
    """
    script = start(100)
    sent = {number: ack(script, 0, (1, 1 + number)) for number in range(1, 20)}
    assert {number: what for number, what in sent.items() if what} == {
        1: [20],
        2: [21],
        3: [0],
        5: [22],
        7: [23],
        9: [24],
        11: [25],
        14: [26],
        16: [27],
        19: [28],
    }
    assert script.tcp.sender.congestion.ssthresh == 10 * MSS
    assert ack(script, 22) == [29, 30, 31]
    assert script.tcp.sender.recovery.ca_state == OPEN
    assert script.tcp.sender.congestion.cwnd == 10 * MSS


def test_burst_end_to_end() -> None:
    """The second figure: ACKs without progress send one for one (PRR-CRB)."""
    script = start(100)
    sent = [ack(script, 0, (15, 16 + number)) for number in range(5)]
    assert sent == [[20], [21], [0], [1], [2]]


def test_recovery_of_the_burst_goes_on() -> None:
    """Progress without further loss: the slow-start bound, two for each segment delivered."""
    script = start(100)
    for number in range(7):
        ack(script, 0, (15, 16 + number))
    assert ack(script, 1, (15, 22)) == [5, 6]
    assert ack(script, 2, (15, 22)) == [7, 8]


# --- Limited transmit (RFC 3042) -----------------------------------


@pytest.mark.parametrize("sack", [True, False])
@pytest.mark.parametrize("limited", [True, False])
def test_limited_transmit(sack: bool, limited: bool) -> None:
    script = start(100, sack=sack, limited_transmit=limited)
    received = [((1, 2),), ((1, 3),), ((1, 4),)] if sack else [(), (), ()]
    assert [ack(script, 0, *blocks) for blocks in received] == (
        [[20], [21], [0]] if limited else [[], [], [0]]
    )
    assert script.tcp.sender.congestion.ssthresh == 10 * MSS


def test_limited_transmit_respects_the_receive_window() -> None:
    script = start(100)
    script.inject("A", ack=1, window=20 * MSS, sack=((1 + MSS, 1 + 2 * MSS),))
    script.quiet()


# --- NewReno (RFC 6582) -----------------------------------


def test_newreno_single_loss() -> None:
    script = start(100, sack=False)
    sent = {number: ack(script, 0) for number in range(1, 20)}
    # cwnd = ssthresh + the duplicates so far: 23 segments, one more than is out, at the 13th.
    assert {number: what for number, what in sent.items() if what} == {
        1: [20],
        2: [21],
        3: [0],
        **{number: [9 + number] for number in range(13, 20)},
    }
    assert script.tcp.sender.congestion.cwnd == (10 + 19) * MSS
    assert script.count("TcpExtTCPRenoRecovery") == 1
    # A full acknowledgment: cwnd = min(ssthresh, max(FlightSize, SMSS) + SMSS), 7 being out.
    assert ack(script, 22) == [29]
    assert script.tcp.sender.congestion.cwnd == 8 * MSS
    assert script.tcp.sender.recovery.ca_state == OPEN


def test_newreno_partial_acknowledgments() -> None:
    """Section 3.2 step 3: the next hole goes at once; cwnd deflates by what was acked, less one SMSS."""
    script = start(20, sack=False)
    for _ in range(3):
        ack(script, 0)
    assert script.tcp.sender.congestion.cwnd == 13 * MSS
    assert ack(script, 4) == [4]
    assert script.tcp.sender.congestion.cwnd == (13 - 4 + 1) * MSS
    assert script.tcp.sender.recovery.ca_state == RECOVERY
    assert ack(script, 9) == [9]
    assert script.tcp.sender.congestion.cwnd == (10 - 5 + 1) * MSS
    assert ack(script, 20) == []
    assert script.tcp.sender.recovery.ca_state == OPEN


def test_newreno_partial_acknowledgment_below_one_segment() -> None:
    script = start(20, sack=False)
    for _ in range(3):
        ack(script, 0)
    script.inject("A", ack=1 + 400)
    script.expect("A", seq=401, length=600)
    assert script.tcp.sender.congestion.cwnd == 13 * MSS - 400


def test_newreno_does_not_recover_the_same_window_twice() -> None:
    """Step 2: the acknowledgment must cover more than ``recover``."""
    script = start(100, sack=False)
    for _ in range(3):
        ack(script, 0)
    ack(script, 22)
    for _ in range(5):
        ack(script, 22)
    assert script.count("TcpExtTCPRenoRecovery") == 1
    ack(script, 23)
    for _ in range(3):
        ack(script, 23)
    assert script.count("TcpExtTCPRenoRecovery") == 2


def test_newreno_after_a_time_out() -> None:
    """Step 4 and section 4: duplicates that do not cover ``recover`` start nothing."""
    script = start(20, sack=False)
    script.elapse(1_000)
    assert numbers(script) == [0]
    for _ in range(4):
        ack(script, 0)
    assert script.tcp.sender.recovery.ca_state == LOSS
    assert script.count("TcpExtTCPRenoRecovery") == 0
    assert ack(script, 1) == [1, 2]
    assert script.tcp.sender.congestion.cwnd == 2 * MSS


def test_what_is_no_duplicate_ack() -> None:
    """RFC 5681 section 2: data, a moved window, or nothing outstanding make it none."""
    script = start(20, sack=False)
    script.inject("A", ack=1, length=10)
    script.inject("A", ack=1, window=60_000)
    script.inject("A", ack=1, window=60_001)
    assert script.tcp.sender.recovery.dupacks == 0
    script.fresh()
    ack(script, 20)
    for _ in range(5):
        ack(script, 20)
    assert script.tcp.sender.recovery.dupacks == 0


# --- RFC 6675 -----------------------------------


def test_is_lost_by_three_ranges() -> None:
    """DupThresh discontiguous ranges above make a segment lost, however small they are."""
    script = start(20, 20)
    for n in (2, 4):
        script.inject("A", ack=1, sack=((1 + n * MSS, 101 + n * MSS),))
    assert script.tcp.sender.board.lost == 0
    script.inject("A", ack=1, sack=((1 + 6 * MSS, 101 + 6 * MSS),))
    # Lost is what lies below the third range from above: segments 0 and 1.
    assert script.tcp.sender.board.lost == 2 * MSS
    assert numbers(script)[0] == 0


def test_is_lost_by_bytes() -> None:
    """More than (DupThresh - 1) SMSS above."""
    script = start(20, 20)
    script.inject("A", ack=1, sack=((1 + 2 * MSS, 1 + 4 * MSS),))
    assert script.tcp.sender.board.lost == 0
    script.inject("A", ack=1, sack=((1 + 2 * MSS, 2 + 4 * MSS),))
    assert script.tcp.sender.board.lost == 2 * MSS


def test_three_duplicates_of_small_segments() -> None:
    """Section 5 step (1): the duplicates are counted, too little as they SACK."""
    script = start(0, 20, nagle=False)
    for _ in range(6):
        script.write(100)
    script.fresh()
    for n in range(1, 4):
        script.inject("A", ack=1, sack=((101, 101 + 100 * n),))
    script.expect("A", seq=1, length=100)


def test_next_seg_lost_before_new_before_speculative() -> None:
    """Rules (1), (2): lost segments in order, then new data."""
    script = start(100)
    ack(script, 0, (2, 3))
    ack(script, 0, (2, 4))
    first = ack(script, 0, (2, 5))
    assert first == [0]
    rest = []
    for right in range(6, 20):
        rest += ack(script, 0, (2, right))
    assert rest[0] == 1
    assert rest[1:] == list(range(22, 22 + len(rest) - 1))


def test_next_seg_rule_3() -> None:
    """Nothing lost, nothing new: a hole below the highest SACK is sent again, lost or not."""
    script = start(10, 10)
    sent = []
    for right in range(2, 9):
        sent += ack(script, 0, (1, right))
    assert sent == [0]
    # Segment 8 is missing as well, but only one segment above it has arrived.
    assert ack(script, 0, (9, 10), (1, 8)) == [8]
    assert script.tcp.sender.board.lost == MSS


def test_next_seg_rule_4() -> None:
    """A rescue of the highest segment, once, and only after the first retransmission is acknowledged."""
    script = start(10, 10)
    sent = []
    for right in range(2, 10):
        sent += ack(script, 0, (1, right))
    assert sent == [0]
    assert ack(script, 9) == [9]
    assert script.tcp.sender.recovery.ca_state == RECOVERY
    assert ack(script, 10) == []
    assert script.tcp.sender.recovery.ca_state == OPEN


def test_a_new_loss_below_the_recovery_point_is_the_same_event() -> None:
    """One reduction a window (RFC 6675 section 5, RecoveryPoint)."""
    script = start(100)
    for right in range(2, 5):
        ack(script, 0, (1, right))
    ssthresh = script.tcp.sender.congestion.ssthresh
    for right in range(12, 20):
        ack(script, 0, (11, right), (1, 4))
    assert script.tcp.sender.congestion.ssthresh == ssthresh
    assert script.count("TcpExtTCPSackRecovery") == 1


def test_partial_sack_splits_a_segment() -> None:
    script = start(10, 10)
    script.inject("A", ack=1, sack=((501, 5001),))
    assert script.tcp.sender.board.sacked == 4500
    script.expect("A", seq=1, length=500)


# --- Time-out -----------------------------------


def test_time_out_in_recovery() -> None:
    """RFC 6675 section 5.1: the recovery ends, all not SACKed is sent again in slow start."""
    script = start(10, 10)
    for right in range(2, 5):
        ack(script, 0, (1, right))
    script.elapse(1_000)
    assert numbers(script) == [0]
    recovery = script.tcp.sender.recovery
    assert recovery.ca_state == LOSS
    assert script.tcp.sender.congestion.cwnd == MSS
    assert ack(script, 4) == [4, 5]
    assert ack(script, 6) == [6, 7, 8]
    assert ack(script, 9) == [9]
    assert ack(script, 10) == []
    assert recovery.ca_state == OPEN


def test_sacked_data_is_not_sent_again_after_a_time_out() -> None:
    script = start(10, 10)
    ack(script, 0, (2, 3), (5, 6))
    script.elapse(1_000)
    sent = numbers(script)
    for upto in (1, 3, 4, 6, 7, 8, 9):
        sent += ack(script, upto)
    assert sent == [0, 1, 3, 4, 6, 7, 8, 9]


def test_reneging() -> None:
    """RFC 2018 section 8: what was SACKed and is not acknowledged after all is sent again."""
    script = start(10, 10)
    ack(script, 0, (1, 10))
    script.elapse(1_000)
    assert numbers(script)[0] == 0
    # The receiver has thrown everything away but the first segment.
    assert ack(script, 1) == []
    script.elapse(10_000)
    assert numbers(script)[0] == 1
    assert script.count("TcpExtTCPSACKReneging") == 1
    assert script.tcp.sender.board.sacked == 0
    sent: list[int] = []
    for upto in range(2, 11):
        sent += ack(script, upto)
    assert sorted(set(sent)) == list(range(2, 10))


# --- Everything together -----------------------------------


def lossy(numbers_lost: Iterable[int], config: TcpConfig, segments: int = 100) -> tuple[Pair, int]:
    """Transfer ``segments``, losing the first transmission of some; return the pair and its duration."""
    left = {1 + number * 1448 for number in numbers_lost}

    def hook(direction: str, packet: Packet, _: int) -> list[Packet]:
        if isinstance(packet, Segment) and packet.length and direction == "c>s" and packet.seq in left:
            left.remove(packet.seq)
            return []
        return [packet]

    pair = Pair(config, config, hook=hook)
    client, server = pair.establish()
    server.eager = True
    begin = pair.now
    client.write(segments * 1448, begin)
    while client.acked < segments * 1448:
        assert pair.step()
    assert not left
    return pair, pair.now - begin


@pytest.mark.parametrize("rack", [True, False])
@pytest.mark.parametrize("lost", [[40], [40, 41], [40, 45, 50], list(range(40, 60)), [99], [97, 98, 99]])
def test_bursts_are_repaired_and_nothing_else_is_sent_again(lost: list[int], rack: bool) -> None:
    pair, duration = lossy(lost, TcpConfig(rack_tlp=rack, ack_every=1))
    data = [segment.seq for _, segment in pair.segments("c>s") if segment.length]
    resent = sorted(seq for seq in set(data) for _ in range(data.count(seq) - 1))
    wanted = [1 + number * 1448 for number in lost]
    if rack or max(lost) < 97:
        # A loss probe may be one segment too many.
        assert set(wanted) <= set(resent)
        assert len(resent) <= len(wanted) + 1
    assert duration < 2 * SECOND


@pytest.mark.parametrize("config", [TcpConfig(), TcpConfig(rack_tlp=False), TcpConfig(sack=False)])
def test_single_loss_needs_no_time_out(config: TcpConfig) -> None:
    pair, duration = lossy([50], config)
    assert pair.client.counters["TcpExtTCPTimeouts"] == 0
    assert pair.client.counters["TcpRetransSegs"] == 1
    assert duration < SECOND
