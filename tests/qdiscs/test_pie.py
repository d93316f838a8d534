"""PIE against the text of RFC 8033, and against its purpose."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import CE, ECT0, NOT_ECT, FourTuple, Packet
from mptcpsim.net.general import make_pipe
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.plugins import DROP, MARK, PASS, Value, complete
from mptcpsim.qdiscs import Pie
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import SECOND
from tests.profiles import examples

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)


class Coin(random.Random):
    """A generator whose next value is chosen."""

    value = 0.0

    def random(self) -> float:
        return self.value


def pie(rng: random.Random | None = None, byte_mode: bool = False, limit: int = 1000, **values: Value) -> Pie:
    found = Pie()
    found.configure(complete(Pie, values))
    found.limit = limit
    found.start(rng or random.Random(1), 8_000_000, byte_mode)
    return found


class Constant:
    """PIE in front of a queue whose packets all wait for the same time."""

    def __init__(self, discipline: Pie, delay: int, queued: int = 100_000) -> None:
        self.pie = discipline
        self.delay = delay
        self.queued = queued
        self.now = 0
        self.verdicts: list[int] = [discipline.on_arrival(1000, 100, queued, 0, 0)]

    def run(self, packets: int, gap: int = MS) -> list[int]:
        found = []
        for _ in range(packets):
            self.now += gap
            self.pie.on_departure(1000, self.delay, self.queued - 1000, self.now)
            found.append(self.pie.on_arrival(1000, 100, self.queued, 0, self.now))
        self.verdicts += found
        return found


# --- The controller (section 4.2) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "divisor"),
    [(0.0, 2048), (5e-7, 2048), (5e-6, 512), (5e-5, 128), (5e-4, 32), (5e-3, 8), (5e-2, 2), (0.5, 1)],
)
def test_adjustments_are_scaled_to_the_probability(probability: float, divisor: int) -> None:
    source = Constant(pie(capdrop=False), 25 * MS)
    source.run(10)
    source.pie.drop_probability = probability
    source.run(5)  # the first update is due at 15 ms
    expected = probability + (0.125 * 0.010 + 1.25 * 0.025) / divisor
    assert source.pie.drop_probability == pytest.approx(expected, rel=1e-12)


def test_a_large_probability_grows_by_two_percent_at_most() -> None:
    for capdrop, expected in ((True, 0.52), (False, 0.5 + 0.125 * 0.985 + 1.25 * 1.0)):
        source = Constant(pie(capdrop=capdrop), SECOND)
        source.run(10)
        source.pie.drop_probability = 0.5
        source.run(5)
        assert source.pie.drop_probability == pytest.approx(min(1.0, expected))


def test_the_probability_decays_while_nothing_waits() -> None:
    discipline = pie(alpha=0.0, beta=0.0)
    source = Constant(discipline, 0, queued=1000)
    discipline.drop_probability = 0.5
    source.run(150)
    assert discipline.drop_probability == pytest.approx(0.5 * 0.98**10)


def test_a_burst_passes_for_150_ms() -> None:
    coin = Coin()
    source = Constant(pie(coin, drand=False), 200 * MS)
    assert set(source.run(149)) == {PASS}
    assert source.pie.drop_probability > 0.0
    assert set(source.run(10)) == {DROP}


def test_quiet_gives_back_the_burst_allowance() -> None:
    source = Constant(pie(), 200 * MS)
    source.run(200)
    assert source.pie.burst_allowance == 0
    source.delay = 0
    source.queued = 1000
    source.run(20_000)
    assert source.pie.drop_probability == 0.0
    assert source.pie.burst_allowance > 130 * MS


# --- The decision (section 4.1, 5.1, 5.4) --------------------------------------------------------


def congested(rng: random.Random, probability: float, **values: Any) -> Constant:
    """Return a source that has used up its burst; the controller stands still at a drop probability."""
    source = Constant(pie(rng, alpha=0.0, beta=0.0, max_burst=0, **values), 50 * MS)
    source.run(30)
    source.pie.drop_probability = probability
    return source


def test_short_queues_and_low_delays_lose_nothing() -> None:
    source = congested(Coin(), 0.1, drand=False)
    assert set(source.run(5)) == {DROP}
    source.queued = 2048
    assert set(source.run(5)) == {PASS}
    source.queued = 100_000
    source.delay = 7 * MS  # below half of the target
    source.run(15)
    assert set(source.run(5)) == {PASS}
    source.pie.drop_probability = 0.2  # but not with a probability of 0.2 or more
    assert set(source.run(5)) == {DROP}


def test_derandomised_drops_are_neither_close_nor_far_apart() -> None:
    probability = 0.05
    source = congested(random.Random(3), probability)
    verdicts = source.run(20_000)
    at = [number for number, verdict in enumerate(verdicts) if verdict == DROP]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert min(gaps) >= 0.85 / probability
    assert max(gaps) <= 8.5 / probability + 1
    # 0.85 / p packets pass for sure, then one in 1 / p is dropped.
    assert len(at) / len(verdicts) == pytest.approx(probability / 1.85, rel=0.1)
    plain = congested(random.Random(3), probability, drand=False).run(20_000)
    assert plain.count(DROP) / len(plain) == pytest.approx(probability, rel=0.1)


def test_marks_turn_into_drops_when_the_load_is_heavy() -> None:
    source = congested(Coin(), 0.1, ecn=True, drand=False)
    assert set(source.run(5)) == {MARK}
    source.pie.drop_probability = 0.11
    assert set(source.run(5)) == {DROP}


def test_onoff_waits_for_a_third_of_the_queue() -> None:
    discipline = pie(onoff=True, limit=90)
    discipline.on_arrival(1000, 29, 29_000, 0, 0)
    assert not discipline.active
    discipline.on_arrival(1000, 30, 30_000, 0, 0)
    assert discipline.active
    discipline.on_arrival(1000, 0, 0, 0, 200 * MS)
    assert not discipline.active
    in_bytes = pie(onoff=True, limit=90_000, byte_mode=True)
    in_bytes.on_arrival(1000, 100, 29_000, 0, 0)
    assert not in_bytes.active
    in_bytes.on_arrival(1000, 1, 30_000, 0, 0)
    assert in_bytes.active


def test_the_departure_rate_gives_the_delay() -> None:
    """Section 5.2: 1000-byte packets a millisecond apart, 50 kB waiting: 50 ms."""
    source = Constant(pie(dre=True), -1, queued=50_000)
    source.run(60)
    assert source.pie.delay == pytest.approx(50 * MS, rel=0.02)


@examples(200)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0, 1, 5, 16, 40, 1000, 60_000]), st.booleans(), st.integers(0, 60)),
        max_size=60,
    ),
    dre=st.booleans(),
)
def test_updates_that_are_caught_up_are_those_of_a_timer(
    steps: list[tuple[int, bool, int]], dre: bool
) -> None:
    """The oracle makes each update when it is due, as a timer would."""
    lazy, eager = pie(dre=dre), pie(dre=dre)
    now, waiting = 0, 0
    timer = 0
    for gap, arrival, delay in steps:
        now += gap * MS
        while eager.active and timer + 15 * MS <= now:
            timer += 15 * MS
            eager._catch_up(waiting * 1000, timer)
        if arrival or waiting == 0:
            if not eager.active:
                timer = now
            verdicts = [one.on_arrival(1000, waiting, waiting * 1000, 0, now) for one in (lazy, eager)]
            waiting += 1
        else:
            waiting -= 1
            verdicts = [one.on_departure(1000, delay * MS, waiting * 1000, now) for one in (lazy, eager)]
        assert verdicts[0] == verdicts[1]
        assert lazy.drop_probability == eager.drop_probability
        assert lazy.burst_allowance == eager.burst_allowance
        assert lazy.delay == eager.delay


# --- The purpose ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dre", [False, True])
def test_an_overload_is_cut_to_the_rate_and_waits_for_the_target(dre: bool) -> None:
    """What arrives at 1.25 times the rate: a fifth is dropped, and the rest waits for 15 ms."""
    loop = Loop()
    values: dict[str, Value] = {"dre": dre}
    settings = PipeSettings(rate_bps=8_000_000, limit=1000, qdisc="pie", qdisc_parameters=values)
    pipe = make_pipe(loop, "p", settings, 1)
    sent: list[int] = []
    delays: list[tuple[int, int]] = []
    rng = random.Random(5)

    def take(packet: Packet) -> None:
        delays.append((loop.now, loop.now - sent[packet.flow.sport]))

    def send() -> None:
        sent.append(loop.now)
        pipe.send(Packet(FLOW._replace(sport=len(sent) - 1), 1000))
        if loop.now < 40 * SECOND:
            loop.schedule(loop.now + round(rng.expovariate(1.0) * 800_000), send)

    pipe.sink = take
    loop.schedule(0, send)
    loop.run(40 * SECOND)
    late = [delay for now, delay in delays if now > 20 * SECOND]
    assert sum(late) / len(late) == pytest.approx(15 * MS, rel=0.15)
    assert pipe.drops["pie"] / len(sent) == pytest.approx(0.2, abs=0.02)
    assert set(pipe.drops) == {"pie"}


def test_marks_reach_what_is_capable_of_them_only() -> None:
    loop = Loop()
    settings = PipeSettings(
        rate_bps=8_000_000, limit=1000, qdisc="pie", qdisc_parameters={"ecn": True, "max_ecnth": 1.0}
    )
    pipe = make_pipe(loop, "p", settings, 1)
    out: list[Packet] = []
    pipe.sink = out.append
    for number in range(4000):
        ecn = ECT0 if number % 2 else NOT_ECT
        loop.schedule(number * 950_000, lambda ecn=ecn: pipe.send(Packet(FLOW, 1000, ecn)))  # type: ignore[misc]
    loop.run(10 * SECOND)
    assert pipe.marks == sum(packet.ecn == CE for packet in out) > 10
    assert pipe.drops["pie"] > 10
    assert sum(packet.ecn != NOT_ECT for packet in out) == 2000
