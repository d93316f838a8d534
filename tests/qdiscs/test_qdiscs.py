"""Queue disciplines: drop-tail, RED in dummynet's form, CoDel against the text of RFC 8289."""

from __future__ import annotations

import math
import random
from collections import deque
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import CE, ECT0, ECT1, NOT_ECT, FourTuple, Packet
from mptcpsim.net.fifo import FifoPipe
from mptcpsim.net.general import GeneralPipe, make_pipe
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.queues import Fifo
from mptcpsim.plugins import (
    DROP,
    MARK,
    PASS,
    PluginError,
    QueueDiscipline,
    QueueScheduler,
    Value,
    complete,
    families,
    find,
)
from mptcpsim.qdiscs import CoDel, DropTail, Gred, Red
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER, SECOND

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)
ALL = sorted(families()["qdisc"])


class Coin(random.Random):
    """A generator whose next value is chosen."""

    value = 0.5

    def random(self) -> float:
        return self.value


def make(
    name: str, rng: random.Random | None = None, byte_mode: bool = False, **values: Value
) -> QueueDiscipline:
    cls = find("qdisc", name)
    qdisc = cls()
    assert isinstance(qdisc, QueueDiscipline)
    qdisc.configure(complete(cls, values))
    qdisc.start(rng or random.Random(1), 8_000_000, byte_mode)
    return qdisc


def red(rng: Any = None, **values: Value) -> Red:
    byte_mode = bool(values.pop("byte_mode", False))
    name = str(values.pop("name", "red"))
    qdisc = make(name, rng, byte_mode, **values)
    assert isinstance(qdisc, Red)
    return qdisc


# --- every discipline ----------------------------------------------------------------------------


def test_the_registry_has_them() -> None:
    assert {"droptail", "red", "gred", "codel"} <= set(ALL)
    for name, cls in (("droptail", DropTail), ("red", Red), ("gred", Gred), ("codel", CoDel)):
        assert find("qdisc", name) is cls


@pytest.mark.parametrize("name", ALL)
def test_contract(name: str) -> None:
    """A short queue passes; the same stream of numbers gives the same verdicts; an overload is bounded."""

    def run() -> tuple[list[tuple[int, int]], dict[str, int], int]:
        loop = Loop()
        # Several queues have a limit of their own, in place of the link's.
        values: dict[str, Value] = {"limit": 50} if issubclass(find("qdisc", name), QueueScheduler) else {}
        settings = PipeSettings(rate_bps=8_000_000, limit=50, qdisc=name, qdisc_parameters=values)
        pipe = make_pipe(loop, "p", settings, 7)
        out: list[tuple[int, int]] = []
        pipe.sink = lambda packet: out.append((loop.now, packet.flow.sport))
        for number in range(3000):
            at = number * MS if number < 100 else 100 * MS + number * 800_000
            loop.schedule(at, partial(pipe.send, Packet(FLOW._replace(sport=number), 1000)))
        loop.run(NEVER)
        return out, pipe.drops, pipe.packets

    out, drops, packets = run()
    assert [number for _, number in out[:100]] == list(range(100))
    assert packets + sum(drops.values()) == 3000
    assert sum(drops.values()) > 300
    assert run() == (out, drops, packets)


@pytest.mark.parametrize("name", ALL)
def test_defaults_are_in_range(name: str) -> None:
    cls = find("qdisc", name)
    assert complete(cls, {p.name: p.default for p in cls.PARAMETERS}) == complete(cls, {})


# --- RED -----------------------------------------------------------------------------------------


def test_red_average_follows_the_queue() -> None:
    qdisc = red(w_q=0.25, min_th=50.0, max_th=100.0)
    expected = 0.0
    for packets in (4, 8, 2, 40):
        assert qdisc.on_arrival(1000, packets, packets * 1000, 0, 0) == PASS
        expected += 0.25 * (packets - expected)
        assert qdisc.average == pytest.approx(expected)


def test_red_average_decays_while_the_queue_is_empty() -> None:
    qdisc = red(w_q=0.5, min_th=50.0, max_th=100.0, small_packet=500)
    qdisc.on_arrival(1000, 16, 16_000, 0, 0)
    assert qdisc.average == 8.0
    # 500 bytes take 0.5 ms at 8 Mbit/s; three of them fit into 1.5 ms.
    qdisc.on_arrival(1000, 0, 0, 1_500_000, 0)
    assert qdisc.average == pytest.approx(1.0)
    qdisc.on_arrival(1000, 0, 0, 0, 0)
    assert qdisc.average == pytest.approx(1.0)
    qdisc.start(random.Random(1), 16_000_000, False)
    qdisc.on_arrival(1000, 0, 0, 250_000, 0)
    assert qdisc.average == pytest.approx(0.5)


def test_red_average_in_byte_mode() -> None:
    qdisc = red(w_q=0.5, min_th=5e4, max_th=1e5, byte_mode=True)
    qdisc.on_arrival(1000, 16, 16_000, 0, 0)
    assert qdisc.average == 8000.0


def test_red_below_between_and_above_the_thresholds() -> None:
    rng = Coin()
    qdisc = red(rng=rng, w_q=1.0, min_th=5.0, max_th=15.0, max_p=0.1)
    assert qdisc.on_arrival(1000, 4, 4000, 0, 0) == PASS
    assert qdisc.count == -1
    # At 10 p is 0.05: the first begins an interval, and the drop comes when p x count exceeds 0.52.
    rng.value = 0.52
    verdicts = [qdisc.on_arrival(1000, 10, 10_000, 0, 0) for _ in range(12)]
    assert verdicts == [PASS] * 11 + [DROP]
    # The count goes on from 0 after a drop, so the next interval is one packet shorter.
    verdicts = [qdisc.on_arrival(1000, 10, 10_000, 0, 0) for _ in range(11)]
    assert verdicts == [PASS] * 10 + [DROP]
    assert [qdisc.on_arrival(1000, 15, 15_000, 0, 0) for _ in range(3)] == [DROP] * 3
    assert qdisc.count == -1


@pytest.mark.parametrize(
    ("average", "probability"),
    [(5.0, 0.0), (10.0, 0.1), (15.0, 0.2), (18.0, 0.36), (22.5, 0.6), (30.0, 1.0)],
)
def test_gred_probability(average: float, probability: float) -> None:
    """Linear from 0 to max_p between the thresholds and on to 1 at twice max_th."""
    qdisc = red(name="gred", min_th=5.0, max_th=15.0, max_p=0.2)
    assert qdisc._probability(average) == pytest.approx(probability)


def test_gred_lets_some_pass_above_max_th() -> None:
    rng = Coin()
    qdisc = red(name="gred", rng=rng, w_q=1.0, min_th=5.0, max_th=15.0, max_p=0.2)
    rng.value = 0.99
    verdicts = [qdisc.on_arrival(1000, 18, 18_000, 0, 0) for _ in range(4)]
    assert verdicts == [PASS, PASS, PASS, DROP]  # 0.36 x 3 > 0.99


def test_red_in_byte_mode_scales_by_packet_size() -> None:
    rng = Coin()
    rng.value = 0.36
    for size, wait in ((1500, 4), (750, 8)):
        qdisc = red(rng=rng, w_q=1.0, min_th=5000.0, max_th=15_000.0, max_p=0.2, byte_mode=True)
        verdicts = [qdisc.on_arrival(size, 10, 10_000, 0, 0) for _ in range(wait + 1)]
        assert verdicts == [PASS] * wait + [DROP]


def test_red_drops_are_spread_evenly() -> None:
    """The gap between drops is uniform between 1 and 1/p (Floyd and Jacobson, method 2)."""
    qdisc = red(w_q=1.0, min_th=5.0, max_th=15.0, max_p=0.1, rng=random.Random(3))
    gaps, last = [], 0
    for number in range(100_000):
        if qdisc.on_arrival(1000, 10, 10_000, 0, 0) == DROP:
            gaps.append(number - last)
            last = number
    assert max(gaps[1:]) <= 21
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(10.5, rel=0.03)


def test_red_marks_only_where_it_would_drop() -> None:
    rng = Coin()
    rng.value = 0.3
    dropping = red(rng=rng, w_q=1.0)
    marking = red(rng=rng, w_q=1.0, ecn=True)
    lengths = [3, 8, 12, 14, 14, 14, 14, 14, 14, 14, 20, 4, 9]
    drops = [dropping.on_arrival(1000, n, n * 1000, 0, 0) for n in lengths]
    marks = [marking.on_arrival(1000, n, n * 1000, 0, 0) for n in lengths]
    assert DROP in drops
    assert marks == [MARK if verdict == DROP else verdict for verdict in drops]


def test_red_ecn_always_marks_above_the_lower_threshold() -> None:
    qdisc = red(w_q=1.0, ecn=True, ecn_always=True)
    assert [qdisc.on_arrival(1000, n, 0, 0, 0) for n in (4, 6, 14, 40)] == [PASS, MARK, MARK, MARK]


def test_red_thresholds_in_the_wrong_order() -> None:
    with pytest.raises(PluginError, match="max_th"):
        red(min_th=10.0, max_th=10.0)


@pytest.mark.parametrize("general", [False, True])
def test_the_pipe_marks_what_is_capable_and_drops_the_rest(general: bool) -> None:
    loop = Loop()
    settings = PipeSettings(
        rate_bps=8_000_000,
        limit=1000,
        qdisc="red",
        qdisc_parameters={"w_q": 1.0, "min_th": 1.0, "max_th": 2.0, "ecn": True},
    )
    pipe = make_pipe(loop, "p", settings, 1, general)
    out: list[Packet] = []
    pipe.sink = out.append
    sent = [Packet(FLOW._replace(sport=n), 1000, (ECT0, ECT1, NOT_ECT)[n % 3]) for n in range(60)]
    for packet in sent:
        pipe.send(packet)
    loop.run(NEVER)
    assert pipe.marks == sum(packet.ecn == CE for packet in out) > 30
    assert pipe.drops == {"red": 60 - len(out)}
    assert all(packet.ecn != CE for packet in sent)
    assert {packet.flow.sport for packet in out} >= {n for n in range(60) if n % 3 != 2}


def test_red_judges_before_the_limit_and_loss_before_red() -> None:
    loop = Loop()
    parameters: dict[str, Value] = {"w_q": 1.0, "min_th": 0.5, "max_th": 1.0}
    settings = PipeSettings(rate_bps=1000, limit=1, plr=(0.5,), qdisc="red", qdisc_parameters=parameters)
    pipe = make_pipe(loop, "p", settings, 1)
    for _ in range(1000):
        pipe.send(Packet(FLOW, 1000))
    assert "queue" not in pipe.drops  # full and above max_th at once: it is RED that drops
    assert abs(pipe.drops["loss"] - 500) < 3 * math.sqrt(250)
    assert pipe.drops["red"] == 1000 - pipe.drops["loss"] - 2


def test_idle_time_counts_from_when_nobody_waited() -> None:
    """The packet in service is not waiting: the queue is empty from the start of its transmission."""
    loop = Loop()
    settings = PipeSettings(
        rate_bps=8_000_000,
        limit=100,
        qdisc="red",
        qdisc_parameters={"w_q": 0.5, "min_th": 90.0, "max_th": 99.0},
    )
    averages: list[list[float]] = [[], []]
    for general in (0, 1):
        pipe = make_pipe(loop, "p", settings, 1, bool(general))
        pipe.sink = lambda packet: None
        if isinstance(pipe, FifoPipe):
            qdisc = pipe._qdisc
        else:
            assert isinstance(pipe, GeneralPipe)
            assert isinstance(pipe.queue, Fifo)
            qdisc = pipe.queue.discipline
        assert isinstance(qdisc, Red)
        start = loop.now
        for at in (0, 0, 0, 0, 20 * MS):
            loop.schedule(start + at, partial(pipe.send, Packet(FLOW, 1000)))
        loop.run(start + 10 * MS)
        averages[general].append(qdisc.average)
        loop.run(start + 30 * MS)
        averages[general].append(qdisc.average)
    assert averages[0] == averages[1]
    # 0, 0, 1, 2 waiting; then empty since 3 ms, when the fourth packet went into service.
    assert averages[0][0] == pytest.approx(1.25)
    assert averages[0][1] == pytest.approx(1.25 * 0.5 ** (17 / 0.512))


# --- CoDel ---------------------------------------------------------------------------------------


class Rfc8289:
    """The algorithm as section 5 of the RFC has it: a loop inside of one dequeue."""

    def __init__(self, target: int, interval: int) -> None:
        self.target, self.interval = target, interval
        self.first_above = self.drop_next = self.count = self.lastcount = 0
        self.dropping = False
        self.queue: deque[tuple[int, int, int]] = deque()
        self.bytes = self.maxpacket = 0
        self.dropped: list[int] = []

    def enqueue(self, number: int, size: int, now: int) -> None:
        self.queue.append((number, size, now))
        self.bytes += size
        self.maxpacket = max(self.maxpacket, size)

    def control_law(self, t: int, count: int) -> int:
        return t + int(self.interval / math.sqrt(count))

    def dodequeue(self, now: int) -> tuple[tuple[int, int, int] | None, bool]:
        if not self.queue:
            self.first_above = 0
            return None, False
        packet = self.queue.popleft()
        self.bytes -= packet[1]
        if now - packet[2] < self.target or self.bytes <= self.maxpacket:
            self.first_above = 0
        elif self.first_above == 0:
            self.first_above = now + self.interval
        elif now >= self.first_above:
            return packet, True
        return packet, False

    def dequeue(self, now: int) -> tuple[int, int, int] | None:
        packet, ok = self.dodequeue(now)
        if packet is None:
            self.dropping = False
            return None
        if self.dropping:
            if not ok:
                self.dropping = False
            while now >= self.drop_next and self.dropping:
                assert packet is not None
                self.dropped.append(packet[0])
                self.count += 1
                packet, ok = self.dodequeue(now)
                if not ok:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next, self.count)
        elif ok:
            self.dropped.append(packet[0])
            packet, ok = self.dodequeue(now)
            self.dropping = True
            delta = self.count - self.lastcount
            self.count = 1
            if delta > 1 and now - self.drop_next < 16 * self.interval:
                self.count = delta
            self.drop_next = self.control_law(now, self.count)
            self.lastcount = self.count
        return packet


def codel_reference(
    arrivals: list[tuple[int, int]], target: int, interval: int
) -> tuple[list[int], list[int]]:
    """Return the numbers dropped and the instants of departure at 8 Mbit/s (1 byte a microsecond)."""
    queue = Rfc8289(target, interval)
    departures: list[int] = []
    free = 0
    pending = deque((at, number, size) for number, (at, size) in enumerate(arrivals))
    while pending or queue.queue:
        if not queue.queue:
            free = max(free, pending[0][0])
        while pending and pending[0][0] < free:
            at, number, size = pending.popleft()
            queue.enqueue(number, size, at)
        if not queue.queue:
            at, number, size = pending.popleft()
            queue.enqueue(number, size, at)
        packet = queue.dequeue(free)
        if packet is not None:
            free += packet[1] * 1000
            departures.append(free)
    return queue.dropped, departures


def codel_pipe(
    arrivals: list[tuple[int, int]], target: int, interval: int, ecn: bool = False
) -> tuple[list[int], list[int], int]:
    loop = Loop()
    settings = PipeSettings(
        rate_bps=8_000_000,
        limit=100_000,
        qdisc="codel",
        qdisc_parameters={"target": target, "interval": interval, "ecn": ecn},
    )
    pipe = make_pipe(loop, "p", settings, 1)
    departures: list[int] = []
    dropped: list[int] = []
    pipe.sink = lambda packet: departures.append(loop.now)
    pipe.on_drop = lambda packet, reason: dropped.append(packet.flow.sport)
    for number, (at, size) in enumerate(arrivals):
        packet = Packet(FLOW._replace(sport=number), size, ECT0 if ecn else NOT_ECT)
        loop.schedule(at, partial(pipe.send, packet))
    loop.run(NEVER)
    assert set(pipe.drops) <= {"codel"}
    return dropped, departures, pipe.marks


def overload(seconds: int, load: float) -> list[tuple[int, int]]:
    gap = int(MS / load)
    return [(number * gap, 1000) for number in range(int(seconds * SECOND / gap))]


def test_codel_is_the_algorithm_of_the_rfc() -> None:
    arrivals = overload(3, 1.2)
    # A pause, then a second overload shortly after: the drop rate is resumed.
    again = [(at + 3_600 * MS, size) for at, size in overload(2, 1.3)]
    dropped, departures = codel_reference(arrivals + again, 5 * MS, 100 * MS)
    assert len(dropped) > 100
    assert codel_pipe(arrivals + again, 5 * MS, 100 * MS)[:2] == (dropped, departures)


@given(
    gaps=st.lists(st.sampled_from([0, 1, 100, 400_001, 900_003, 3_000_007, 40_000_009]), max_size=150),
    sizes=st.lists(st.sampled_from([40, 576, 1500]), min_size=150, max_size=150),
    interval=st.sampled_from([1_000_003, 5_000_011]),
)
def test_codel_is_the_algorithm_of_the_rfc_for_any_arrivals(
    gaps: list[int], sizes: list[int], interval: int
) -> None:
    arrivals: list[tuple[int, int]] = []
    now = 1
    for gap, size in zip(gaps, sizes, strict=False):
        now += gap
        arrivals.append((now, size))
    assert codel_pipe(arrivals, 500_000, interval)[:2] == codel_reference(arrivals, 500_000, interval)


def test_codel_leaves_a_burst_that_drains_alone() -> None:
    dropped, departures, _ = codel_pipe([(0, 1000)] * 90, 5 * MS, 100 * MS)
    assert (dropped, len(departures)) == ([], 90)


def test_codel_first_drop_and_control_law() -> None:
    qdisc = make("codel")
    assert isinstance(qdisc, CoDel)
    qdisc.on_arrival(1000, 0, 0, 0, 0)
    verdicts = {}
    for ms in range(400):
        while (verdict := qdisc.on_departure(1000, 50 * MS, 9000, ms * MS)) == DROP:
            verdicts[ms] = verdict
    # After an interval above the target; then after interval / sqrt(count).
    assert list(verdicts) == [100, 200, 271, 329, 379]


def test_codel_spares_a_queue_of_one_packet() -> None:
    """With no more than one largest packet's bytes behind, the delay is the link's own (section 5.5)."""
    for queued, spared in ((1500, True), (1501, False)):
        qdisc = make("codel")
        qdisc.on_arrival(1500, 0, 0, 0, 0)
        verdicts = {qdisc.on_departure(1500, 50 * MS, queued, ms * MS) for ms in range(400)}
        assert verdicts == ({PASS} if spared else {PASS, DROP})


def test_codel_marks_instead_of_dropping() -> None:
    dropped, departures, marks = codel_pipe(overload(3, 1.2), 5 * MS, 100 * MS, ecn=True)
    assert dropped == []
    assert len(departures) == len(overload(3, 1.2))
    assert marks > 10
