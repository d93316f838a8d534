"""The check of how many packets an end sends finds loops, and nothing where each packet has a reason."""

from __future__ import annotations

import pytest

from mptcpsim.core.segment import ACK, FIN, SYN, Segment
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.packet_rate import A_SECOND, ARRIVAL, BURST, COPIES, EVENT, SAVED, PacketRate
from tests.core.tcp.pair import Pair
from tests.core.tcp.watched_path import Violation, hold


def segment(length: int = 0, flags: int = ACK) -> Segment:
    """Return a segment that the client of a pair has sent."""
    pair = Pair()
    pair.establish()
    one = pair.segments("c>s")[-1][1].clone()
    one.flags, one.length = flags, length
    return one


def sends(rate: PacketRate, packet: Segment, count: int, now: int = 0) -> int:
    """Let the client send a packet so many times; return how often it may."""
    for sent in range(count):
        try:
            rate.on_sent("c>s", packet, now)
        except Violation:
            return sent
    return count


def test_answers_that_answer_answers_are_found() -> None:
    rate, answer = PacketRate(hold), segment()
    for _ in range(BURST):
        for way in ("c>s", "s>c"):
            rate.on_sent(way, answer, 0)
            rate.on_arrival(way, answer)
    with pytest.raises(Violation, match="more packets than reasons"):
        rate.on_sent("c>s", answer, 0)


@pytest.mark.parametrize(("length", "flags"), [(100, ACK), (0, ACK | SYN), (0, ACK | FIN)])
def test_what_arrives_may_be_answered_however_much_it_is(length: int, flags: int) -> None:
    rate, answer, packet = PacketRate(hold), segment(), segment(length, flags)
    for _ in range(3 * SAVED):
        rate.on_arrival("s>c", packet)
        assert sends(rate, answer, ARRIVAL) == ARRIVAL


def test_what_arrived_long_ago_is_no_reason() -> None:
    rate, data = PacketRate(hold), segment(100)
    for _ in range(3 * SAVED):
        rate.on_arrival("s>c", data)
    assert sends(rate, segment(), 2 * SAVED) == SAVED


def test_what_is_on_its_way_is_no_reason() -> None:
    """Only what arrives is: a pair tells of each packet when it arrives."""
    pair = Pair(delay=50 * MILLISECOND)
    arrived: list[tuple[int, str]] = []
    pair.on_arrival = lambda way, packet: arrived.append((pair.now, way))
    pair.establish()
    pair.run(until=SECOND)
    assert arrived == [(when + 50 * MILLISECOND, way) for when, way, _ in pair.wire]


def test_events_and_time_are_reasons() -> None:
    rate, answer = PacketRate(hold), segment()
    assert sends(rate, answer, BURST + 1) == BURST
    rate.purses["c>s"].packets = 0
    rate.on_event()
    assert sends(rate, answer, EVENT + 1) == EVENT
    rate.purses["c>s"].packets = 0
    assert sends(rate, answer, A_SECOND + 1, SECOND) == A_SECOND
    rate.purses["c>s"].packets = 0
    assert sends(rate, answer, 2 * BURST, 1_000 * SECOND) == BURST


def test_a_byte_is_not_sent_again_and_again() -> None:
    rate, data = PacketRate(hold), segment(100)
    for _ in range(COPIES):
        rate.on_sent("c>s", data, 0)
    with pytest.raises(Violation, match="the same data without a reason"):
        rate.on_sent("c>s", data, 0)
