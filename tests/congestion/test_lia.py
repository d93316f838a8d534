"""LIA (RFC 6356): the coupled increase, and what it is alone; the general contract is in test_congestion."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.congestion.lia import Lia
from mptcpsim.core.config import TcpConfig
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import MILLISECOND
from tests.congestion.test_congestion import EVENTS, MSS, RTT, make, replay
from tests.core.tcp.pair import Pair
from tests.profiles import examples

MS = MILLISECOND


def lia(window: int, ssthresh: int = MSS) -> Lia:
    """Return a LIA of a window in segments, in congestion avoidance, that has not seen an ACK."""
    control = make("lia", window, ssthresh)
    assert isinstance(control, Lia)
    return control


def group(*paths: tuple[int, int]) -> list[Lia]:
    """Return coupled controls for (window in segments, RTT in ms), all measured."""
    members = [lia(window) for window, _ in paths]
    controls: list[CongestionControl] = [*members]
    for member, (window, rtt) in zip(members, paths, strict=True):
        member.couple(controls)
        member.srtt = rtt * MS
        assert member.window() == window * MSS
    return members


def acknowledge(member: Lia, now: int = 0, acked: int = MSS) -> int:
    """Acknowledge some of a full window; return by how much the window has grown."""
    before = member.cwnd
    member.on_ack(acked, now, member.srtt or RTT, before)
    return member.cwnd - before


def acks_for_a_segment(member: Lia) -> int:
    """Acknowledge segments until the window has grown by one; return how many it took."""
    for count in range(1, 100_000):
        grown = acknowledge(member)
        if grown:
            assert grown == MSS
            return count
    raise AssertionError("it does not grow")


def lose(member: CongestionControl, now: int = 0) -> None:
    member.ssthresh = member.ssthresh_after_loss(member.cwnd, now)
    member.cwnd = member.ssthresh
    member.on_recovered(now)


# --- Alone ------------------------------


@examples(60)
@given(events=EVENTS)
@pytest.mark.parametrize("company", ["none", "itself", "unmeasured"])
def test_alone_it_is_reno(company: str, events: list[tuple[str, int, int]]) -> None:
    control = lia(10, 1 << 50)
    if company == "itself":
        control.couple([control])
    elif company == "unmeasured":
        control.couple([control, lia(10)])
    assert replay(control, events) == replay(make("reno"), events)


def test_the_last_one_is_reno_again() -> None:
    """The list is the connection's: who leaves it counts no more."""
    first, second = group((10, 100), (10, 100))
    assert acknowledge(first) < MSS // 10
    first.group.remove(second)
    credit = make("reno", 10, MSS)
    credit.cwnd = first.cwnd
    for _ in range(40):
        credit.on_ack(MSS, 0, RTT, credit.cwnd)
        acknowledge(first)
        assert first.cwnd == credit.cwnd


def test_slow_start_is_not_coupled() -> None:
    first, _ = group((10, 100), (10, 100))
    first.ssthresh = 20 * MSS
    for _ in range(10):
        assert acknowledge(first) == MSS
    assert acknowledge(first) < MSS


def test_the_decrease_is_not_coupled() -> None:
    first, second = group((40, 100), (20, 100))
    lose(first)
    assert (first.cwnd, second.cwnd) == (20 * MSS, 20 * MSS)
    assert second.ssthresh_after_loss(MSS, 0) == 2 * MSS


# --- Equations (1) and (2) ------------------------------


@pytest.mark.parametrize(
    ("paths", "alpha"),
    [
        ([(10, 100), (10, 100)], 1 / 2),
        ([(7, 30)] * 4, 1 / 4),
        # cwnd / rtt = 100 and 400 segments/s, cwnd / rtt^2 = 1000 and 8000: 30 * 8000 / 500^2.
        ([(10, 100), (20, 50)], 0.96),
        # 1000 and 500; 100 000 and 5000: 60 * 100 000 / 1500^2.
        ([(10, 10), (50, 100)], 8 / 3),
        # 200, 200 and 100; 4000, 2000 and 500: 50 * 4000 / 500^2.
        ([(10, 50), (20, 100), (20, 200)], 0.8),
    ],
)
def test_alpha(paths: list[tuple[int, int]], alpha: float) -> None:
    """Every subflow computes the same, with its formula and its increase worked out by hand."""
    total = sum(window for window, _ in paths)
    for number, (window, _) in enumerate(paths):
        member = group(*paths)[number]
        count = acks_for_a_segment(member)
        assert member.alpha == pytest.approx(alpha)
        assert count == ceil(max(total / alpha, window))


def test_never_faster_than_reno_on_the_same_path() -> None:
    """The minimum of equation (1): alpha / total is 1/22.5 segment, the slow path gets 1/50."""
    assert acks_for_a_segment(group((10, 10), (50, 100))[0]) == 23
    assert acks_for_a_segment(group((10, 10), (50, 100))[1]) == 50


def test_counts_bytes() -> None:
    """Bytes acknowledged, not ACKs (section 3, as with ABC)."""
    one, other = group((10, 100), (10, 100)), group((10, 100), (10, 100))
    assert sum(acknowledge(one[0]) for _ in range(6)) == pytest.approx(
        sum(acknowledge(other[0], acked=2 * MSS) for _ in range(3)), abs=2
    )


def test_large_windows_grow_as_slowly_as_small_ones() -> None:
    """There is no byte for every ACK (section 3): alpha segments a round trip, with windows of any size."""
    reno, ours = make("reno", 5000, MSS), group((5000, 100), (5000, 100))[0]
    for _ in range(5000):
        reno.on_ack(MSS, 0, RTT, reno.cwnd)
    assert reno.cwnd == 5001 * MSS
    assert acks_for_a_segment(ours) == 4 * 5000


def test_what_was_acknowledged_keeps_its_worth() -> None:
    """Half of the way to a segment stays half of it when the other window is halved."""
    first, second = group((10, 100), (100, 100))
    for _ in range(61):
        assert acknowledge(first) == 0
    assert first.distance == pytest.approx(121 * MSS, abs=1)
    lose(second)
    assert acks_for_a_segment(first) == 36
    assert first.distance == pytest.approx(72 * MSS, abs=1)


@examples(200)
@given(
    paths=st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 2000)), min_size=2, max_size=8),
    acks=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 20_000), st.integers(0, 3000)), max_size=60),
)
def test_the_increase_never_exceeds_that_of_reno(
    paths: list[tuple[int, int]], acks: list[tuple[int, int, int]]
) -> None:
    """Goal 2, with its integral: no rounding adds up, whatever the other windows do meanwhile."""
    members = group(*paths)
    room = [0.0] * len(members)
    now = 0
    for number, acked, wait in acks:
        now += wait * MS
        number %= len(members)
        member = members[number]
        reno = acked * MSS / member.cwnd
        grown = acknowledge(member, now, acked)
        assert type(member.cwnd) is int
        assert grown in (0, MSS)
        room[number] += reno - grown
        assert room[number] > -1e-6


# --- What counts as window ------------------------------


def test_ssthresh_stands_for_cwnd_in_fast_recovery() -> None:
    """Section 3; until it is over."""
    first, second = group((20, 100), (10, 100))
    first.ssthresh = first.ssthresh_after_loss(20 * MSS, 0)
    for inflated in (4, 13, 30):
        first.cwnd = inflated * MSS
        assert first.window() == 10 * MSS
    acknowledge(second)
    assert second.alpha == pytest.approx(0.5)
    first.cwnd = 12 * MSS
    first.on_recovered(0)
    assert first.window() == 12 * MSS


def test_a_time_out_leaves_one_segment() -> None:
    first, second = group((20, 100), (10, 100))
    first.ssthresh = first.ssthresh_after_loss(20 * MSS, 0)
    first.cwnd = MSS
    first.on_timeout(0)
    assert first.window() == MSS
    acknowledge(second)
    assert second.alpha == pytest.approx(11 * 10 / 11**2)


def test_an_unused_window_counts_with_what_is_used() -> None:
    """Section 3, for connections that the application limits."""
    first, second = group((40, 100), (10, 100))
    first.on_unused_window(10 * MSS, 0)
    assert first.window() == 10 * MSS
    acknowledge(second)
    assert second.alpha == pytest.approx(0.5)
    acknowledge(first)
    assert first.window() == first.cwnd
    first.on_unused_window(0, 0)
    assert first.window() == MSS


def test_the_sender_tells_of_an_unused_window() -> None:
    """A connection whose application writes one segment at a time, slower than the window would allow."""
    pair = Pair(TcpConfig(congestion="lia", ack_every=1), TcpConfig(ack_every=1))
    client, _ = pair.establish()
    for _ in range(5):
        client.write(MSS, pair.now)
        pair.run(pair.now + 100 * MS)
    control = client.subflows[0].sender.congestion
    assert isinstance(control, Lia)
    assert control.cwnd == 10 * MSS
    assert control.window() == MSS


def test_a_control_of_another_kind_counts_with_its_window() -> None:
    first = lia(10)
    other = make("reno", 30, MSS)
    first.couple([first, other])
    assert acks_for_a_segment(first) == 54
    assert first.alpha == pytest.approx(40 * 30 / 40**2)


def test_alpha_once_a_round_trip_and_after_every_loss() -> None:
    """Section 4.1."""
    first, second = group((10, 100), (10, 100))
    acknowledge(first, 0)
    second.srtt = 50 * MS
    acknowledge(first, 99 * MS)
    assert first.alpha == pytest.approx(0.5)
    acknowledge(first, 100 * MS)
    alpha = first.alpha
    assert alpha == pytest.approx(8 / 9, rel=0.01)
    second.cwnd = 20 * MSS
    acknowledge(first, 101 * MS)
    assert first.alpha == alpha
    lose(second)
    second.srtt = 100 * MS
    acknowledge(first, 102 * MS)
    assert first.alpha == pytest.approx(0.5, rel=0.01)
    second.on_mss(MSS // 2)
    acknowledge(first, 103 * MS)
    assert first.alpha == pytest.approx(15 * 10 / 15**2, rel=0.01)


def test_a_subflow_counts_as_soon_as_its_round_trip_time_is_known() -> None:
    first, second = group((10, 100), (10, 100))
    second.srtt = 0
    for _ in range(5):
        assert acknowledge(first) == 0
    acknowledge(second)
    acknowledge(first)
    assert first.alpha == pytest.approx(0.5, rel=0.01)


def test_alpha_when_a_subflow_comes_or_goes() -> None:
    first, second, third = group((10, 100), (10, 100), (10, 100))
    acknowledge(first)
    assert first.alpha == pytest.approx(1 / 3)
    first.group.remove(second)
    acknowledge(first)
    assert first.alpha == pytest.approx(1 / 2, rel=0.01)
    first.group.append(second)
    acknowledge(third)
    acknowledge(first)
    assert first.alpha == pytest.approx(1 / 3, rel=0.01)


# --- The laws ------------------------------


def test_the_total_grows_by_alpha_segments_a_round_trip() -> None:
    """Section 3: with equal round-trip times, however the windows differ."""
    members = group((30, 100), (10, 100), (20, 100))
    begin = sum(member.cwnd for member in members)
    for number in range(20):
        now = number * RTT
        for member in members:
            for _ in range(member.cwnd // MSS):
                acknowledge(member, now)
    grown = sum(member.cwnd for member in members) - begin
    # What is on the way to the next segment does not count yet.
    assert 20 * 60 * 30 / 60**2 - len(members) < grown / MSS <= 20 * 60 * 30 / 60**2


def windows(members: list[CongestionControl], losses: list[int], rounds: int = 6000) -> list[float]:
    """Return the mean window in segments of each, one loss in so many segments, equal round trips."""
    sent = [0] * len(members)
    totals = [0] * len(members)
    for number in range(rounds):
        now = number * RTT
        for index, member in enumerate(members):
            totals[index] += member.cwnd
            for _ in range(member.cwnd // MSS):
                sent[index] += 1
                if sent[index] == losses[index]:
                    sent[index] = 0
                    lose(member, now)
                    break
                member.on_ack(MSS, now, RTT, member.cwnd)
    return [total / rounds / MSS for total in totals]


@pytest.mark.parametrize(
    ("losses", "share"),
    [([500, 500], 1 / 2), ([500, 250], 1 / 3), ([1000, 100], 1 / 11), ([500, 500, 500], 1 / 3)],
)
def test_all_together_take_what_one_tcp_takes_on_the_best_path(losses: list[int], share: float) -> None:
    """Section 5: p * cwnd is the same on every subflow, the total is that of one TCP."""
    (reno,) = windows([make("reno", 20, MSS)], losses[:1])
    means = windows([*group(*[(20, 100)] * len(losses))], losses)
    assert sum(means) == pytest.approx(reno, rel=0.05)
    # A window of four segments is on the average half a segment behind the formula.
    assert means[-1] / sum(means) == pytest.approx(share, abs=0.01 if share > 0.1 else 0.025)
