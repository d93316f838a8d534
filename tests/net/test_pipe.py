"""Pipes: dummynet's rules, each on both implementations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

import mptcpsim.qdiscs  # noqa: F401
from mptcpsim.core.segment import CE, ECT0, FourTuple, Packet
from mptcpsim.net.general import make_pipe, needs_general_pipe
from mptcpsim.net.loss import ListedLoss, PeriodicLoss, random_loss
from mptcpsim.net.pipe import Pipe, PipeSettings
from mptcpsim.plugins import PluginError
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER, SECOND

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)
MBIT = 1_000_000


class Wire:
    """A pipe on a loop of its own, with everything that comes out and everything dropped."""

    def __init__(self, general: bool, seed: int = 1, **settings: Any) -> None:
        self.loop = Loop()
        self.pipe: Pipe = make_pipe(self.loop, "p", PipeSettings(**settings), seed, general)
        self.out: list[tuple[int, int]] = []
        self.packets: list[Packet] = []
        self.pipe.sink = self._take

    def _take(self, packet: Packet) -> None:
        self.out.append((self.loop.now, packet.size))
        self.packets.append(packet)

    def at(self, when: int, action: Callable[[], None]) -> None:
        self.loop.schedule(when, action)

    def send_at(self, when: int, *sizes: int, ecn: int = 0) -> None:
        for size in sizes:
            self.loop.schedule(when, partial(self.pipe.send, Packet(FLOW, size, ecn)))

    def run(self) -> list[tuple[int, int]]:
        self.loop.run(NEVER)
        return self.out

    @property
    def times(self) -> list[int]:
        return [when for when, _ in self.out]


@pytest.fixture(params=[False, True], ids=["fifo", "general"])
def general(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# --- the link ----------------------------------------------------------------------------------


def test_arrival_is_serialisation_plus_delay(general: bool) -> None:
    """validation 1.1."""
    wire = Wire(general, rate_bps=8 * MBIT, delay_ns=10 * MS)
    wire.send_at(5, 1000, 1000)
    assert wire.run() == [(5 + 11 * MS, 1000), (5 + 12 * MS, 1000)]


def test_serialisation_is_rounded_up_without_carry(general: bool) -> None:
    wire = Wire(general, rate_bps=3_000_000_000)
    wire.send_at(0, 1, 1, 1)
    # 8/3 ns each: 3 ns each, not 8 ns for three.
    assert [when for when, _ in wire.run()] == [3, 6, 9]


def test_rate_zero_is_unlimited(general: bool) -> None:
    wire = Wire(general, delay_ns=7, limit=1)
    wire.send_at(100, *[1500] * 200)
    assert wire.run() == [(107, 1500)] * 200
    assert wire.pipe.drops == {}
    assert wire.pipe.busy_time(wire.loop.now) == 0


def test_overhead_counts_on_the_link_only(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, overhead_bytes=14)
    wire.send_at(0, 100, 100)
    wire.run()
    assert wire.times == [114, 228]
    assert wire.pipe.bytes == 200


def test_delay_is_rounded_up_to_a_tick(general: bool) -> None:
    wire = Wire(general, delay_ns=20 * MS + 1, tick_ns=MS)
    wire.send_at(0, 100)
    wire.at(30 * MS, lambda: wire.pipe.set_delay(5 * MS))
    wire.send_at(40 * MS, 100)
    wire.run()
    assert wire.times == [21 * MS, 45 * MS]


# --- queue limits --------------------------------------------------------------------------------


def test_slots_do_not_count_the_packet_in_service(general: bool) -> None:
    """validation 1.11: bw 10Mbit/s delay 20ms queue 50, a burst of 60."""
    wire = Wire(general, rate_bps=10 * MBIT, delay_ns=20 * MS, limit=50)
    wire.send_at(0, *[1500] * 60)
    wire.run()
    assert wire.times == [k * 1_200_000 + 20 * MS for k in range(1, 52)]
    assert wire.pipe.drops == {"queue": 9}


def test_a_limit_in_bytes_refuses_only_what_is_already_above_it(general: bool) -> None:
    """validation 1.12: the same with queue 30KBytes."""
    wire = Wire(general, rate_bps=10 * MBIT, delay_ns=20 * MS, limit=30 * 1024, limit_in_bytes=True)
    wire.send_at(0, *[1500] * 60)
    wire.at(0, lambda: lengths.append((wire.pipe.queue_packets(0), wire.pipe.queue_bytes(0))))
    lengths: list[tuple[int, int]] = []
    wire.run()
    assert len(wire.out) == 1 + 21
    assert lengths == [(21, 31_500)]
    assert wire.pipe.drops == {"queue": 38}


def test_a_limit_in_bytes_that_is_exactly_reached_takes_one_more(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, limit=200, limit_in_bytes=True)
    wire.send_at(0, 100, 100, 100, 100, 100)  # in service, 100, 200, 300 waiting; the last is refused
    wire.run()
    assert len(wire.out) == 4
    assert wire.pipe.drops == {"queue": 1}


def test_a_departure_precedes_an_arrival_of_the_same_instant(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, limit=1)
    wire.send_at(0, 10, 10)  # in service until 10; one is waiting
    wire.send_at(9, 10)  # full
    wire.send_at(10, 10)  # one has left, the slot is free again
    wire.run()
    assert wire.times == [10, 20, 30]
    assert wire.pipe.drops == {"queue": 1}


def test_queue_length_over_time(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND)
    wire.send_at(0, 10, 20, 30)
    seen = []
    for when in (0, 9, 10, 29, 30, 60):
        wire.at(when, lambda: seen.append((wire.pipe.queue_packets(wire.loop.now),
                                           wire.pipe.queue_bytes(wire.loop.now))))  # fmt: skip
    wire.run()
    assert seen == [(2, 50), (2, 50), (1, 30), (1, 30), (0, 0), (0, 0)]


# --- burst ---------------------------------------------------------------------------------------


def test_burst_credit_is_earned_while_idle(general: bool) -> None:
    # 1 byte takes 1 ns; up to 250 bytes of credit.
    wire = Wire(general, rate_bps=8 * SECOND, burst_bits=2000)
    wire.send_at(100, 100, 100, 100)  # idle for 100 ns: the first passes at once
    wire.send_at(10_000, 100, 100, 100, 100)  # all the credit: two pass, the third is half done
    wire.run()
    assert wire.times == [100, 200, 300, 10_000, 10_000, 10_050, 10_150]


# --- losses --------------------------------------------------------------------------------------


def test_plr_is_tested_before_the_queue(general: bool) -> None:
    """validation 1.13: plr sees all arrivals, though nearly all find the queue full."""
    n, p = 20_000, 0.05
    wire = Wire(general, rate_bps=1000, limit=2, plr=(p,))
    wire.send_at(0, *[1500] * n)
    wire.loop.run(1)
    lost = wire.pipe.drops["loss"]
    assert abs(lost - n * p) < 3 * math.sqrt(n * p * (1 - p))
    assert wire.pipe.drops["queue"] == n - lost - 3


def test_gilbert_elliott_mean(general: bool) -> None:
    """validation 1.14; the variance of the mean is that of the chain, not of a coin."""
    n = 40_000
    k, p, h, r = 0.001, 0.01, 0.6, 0.1
    wire = Wire(general, plr=(k, p, h, r))
    wire.send_at(0, *[100] * n)
    wire.run()
    mean = (k * r + h * p) / (p + r)
    bad = p / (p + r)
    memory = 1 - p - r
    variance = mean * (1 - mean) + 2 * bad * (1 - bad) * (h - k) ** 2 * memory / (1 - memory)
    assert abs(wire.pipe.drops["loss"] / n - mean) < 3 * math.sqrt(variance / n)


def test_gilbert_elliott_loses_in_runs() -> None:
    wire = Wire(False, plr=(0.0, 0.01, 1.0, 0.25))
    lost: list[int] = []
    count = [0]

    def send() -> None:
        count[0] += 1
        before = wire.pipe.drops.get("loss", 0)
        wire.pipe.send(Packet(FLOW, 100))
        if wire.pipe.drops.get("loss", 0) > before:
            lost.append(count[0])

    for _ in range(20_000):
        wire.at(0, send)
    wire.run()
    runs = 1 + sum(after != before + 1 for before, after in pairwise(lost))
    assert 3.0 < len(lost) / runs < 5.0  # 1/r = 4


def test_periodic_and_listed_loss(general: bool) -> None:
    wire = Wire(general)
    wire.pipe.set_loss(PeriodicLoss(3))
    wire.send_at(0, *range(100, 110))
    wire.at(1, lambda: wire.pipe.set_loss(ListedLoss([1, 4])))
    wire.send_at(1, *range(200, 205))
    wire.at(2, lambda: wire.pipe.set_loss(None))
    wire.send_at(2, 300)
    sizes = [size for _, size in wire.run()]
    assert sizes == [100, 101, 103, 104, 106, 107, 109, 201, 202, 204, 300]
    assert wire.pipe.drops == {"loss": 5}


@pytest.mark.parametrize("plr", [(-0.1,), (1.5,), (0.1, 0.2), (0.1, 0.2, 0.3, 2.0)])
def test_a_wrong_plr_is_refused(plr: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="plr"):
        make_pipe(Loop(), "p", PipeSettings(plr=plr))
    with pytest.raises(ValueError, match="plr"):
        random_loss(plr, make_pipe(Loop(), "p", PipeSettings()).random_stream("loss"))


# --- what else a link does -------------------------------------------------------------------------


def test_duplicates_take_part_in_everything(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, limit=2, duplicate=1.0)
    wire.send_at(0, 10, 20)
    wire.run()
    # The second copy of the second packet finds two waiting.
    assert wire.out == [(10, 10), (20, 10), (40, 20)]
    assert wire.pipe.duplicates == 2
    assert wire.pipe.drops == {"queue": 1}
    assert wire.packets[0] is not wire.packets[1]


def test_corruption_damages_a_clone(general: bool) -> None:
    wire = Wire(general, corrupt=1.0)
    original = Packet(FLOW, 100)
    wire.at(0, lambda: wire.pipe.send(original))
    wire.run()
    assert not original.damaged
    assert wire.packets[0].damaged
    assert wire.pipe.corrupted == 1


def test_corruption_rate() -> None:
    wire = Wire(False, corrupt=0.25)
    wire.send_at(0, *[100] * 4000)
    wire.run()
    assert abs(wire.pipe.corrupted - 1000) < 3 * math.sqrt(4000 * 0.25 * 0.75)
    assert sum(packet.damaged for packet in wire.packets) == wire.pipe.corrupted


def test_jitter_keeps_the_order() -> None:
    wire = Wire(False, delay_ns=5 * MS, jitter_ns=10 * MS)
    assert wire.pipe.kind == "general"
    for number in range(500):
        wire.send_at(number * MS, 100 + number)
    wire.run()
    assert [size for _, size in wire.out] == list(range(100, 600))
    extra = [when - (size - 100) * MS - 5 * MS for when, size in wire.out]
    assert all(0 <= ns <= 10 * MS for ns in extra)
    assert max(extra) - min(extra) > 5 * MS


def test_jitter_may_reorder() -> None:
    wire = Wire(False, delay_ns=5 * MS, jitter_ns=10 * MS, jitter_reorders=True)
    for number in range(500):
        wire.send_at(number * MS, 100 + number)
    sizes = [size for _, size in wire.run()]
    assert sizes != sorted(sizes)
    assert sorted(sizes) == list(range(100, 600))


def test_a_reordered_packet_is_late_and_holds_nobody_back() -> None:
    wire = Wire(False, delay_ns=10 * MS, reorder=0.1, reorder_ns=3 * MS)
    for number in range(1000):
        wire.send_at(number * MS, 100 + number)
    wire.run()
    lateness = {size: when - (size - 100) * MS - 10 * MS for when, size in wire.out}
    assert set(lateness.values()) == {0, 3 * MS}
    late = sum(ns > 0 for ns in lateness.values())
    assert abs(late - 100) < 3 * math.sqrt(1000 * 0.1 * 0.9)


# --- changes while it runs ---------------------------------------------------------------------


def test_a_new_rate_leaves_the_packet_in_service_alone(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND)
    wire.send_at(0, 100, 100, 100)
    wire.at(50, lambda: wire.pipe.set_rate(4 * SECOND))
    wire.at(350, lambda: wire.pipe.set_rate(0))
    wire.send_at(400, 100)
    wire.run()
    assert wire.times == [100, 300, 500, 500]


def test_a_new_rate_for_the_packet_in_service(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND)
    wire.send_at(0, 100, 100, 100)
    # At 50 half of the first is left; at 300 a quarter of the second, which has begun at 150.
    wire.at(50, lambda: wire.pipe.set_rate(4 * SECOND, in_service=True))
    wire.at(300, lambda: wire.pipe.set_rate(1 * SECOND, in_service=True))
    wire.run()
    assert wire.times == [150, 500, 1300]


def test_a_packet_keeps_its_own_rate_until_an_event_gives_it_the_new_one(general: bool) -> None:
    """Of a packet that has begun at 8 bit/ns 60 bytes are left at 40, whatever the rate was meanwhile."""
    wire = Wire(general, rate_bps=8 * SECOND)
    wire.send_at(0, 100, 100)
    wire.at(20, lambda: wire.pipe.set_rate(1 * SECOND))
    wire.at(30, lambda: wire.pipe.set_rate(0))
    wire.at(40, lambda: wire.pipe.set_rate(4 * SECOND, in_service=True))
    wire.at(60, lambda: wire.pipe.set_rate(2 * SECOND, in_service=True))
    wire.run()
    # 50 bytes left at 60: 200 ns more; the second one at 2 bit/ns.
    assert wire.times == [260, 660]


def test_an_unlimited_rate_ends_the_packet_in_service_at_once(general: bool) -> None:
    wire = Wire(general, rate_bps=1)
    wire.send_at(0, 100, 100)
    wire.at(70, lambda: wire.pipe.set_rate(0, in_service=True))
    wire.send_at(70, 100)
    wire.run()
    assert wire.times == [70, 70, 70]
    assert wire.pipe.busy_time(100) == 70


def test_a_new_delay_holds_from_the_transmitter_on_and_never_reorders(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, delay_ns=1000)
    wire.send_at(0, 100, 100, 100)
    wire.at(150, lambda: wire.pipe.set_delay(10))
    wire.send_at(160, 700)
    wire.at(2000, lambda: wire.pipe.set_delay(500))
    wire.send_at(2000, 100)
    wire.run()
    # The first is in flight until 1100; the others leave at 200, 300, 1000 and may not overtake it.
    assert wire.times == [1100, 1100, 1100, 1100, 2600]


def test_a_longer_delay_does_not_touch_what_is_in_flight(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, delay_ns=1000)
    wire.send_at(0, 100, 100)
    wire.at(150, lambda: wire.pipe.set_delay(5000))
    wire.run()
    assert wire.times == [1100, 5200]


def test_down_drops_queue_and_transmitter_but_not_the_flight(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, delay_ns=1000)
    wire.send_at(0, 100, 100, 100, 100)
    wire.at(250, lambda: wire.pipe.set_up(False))
    wire.send_at(300, 50)
    wire.at(400, lambda: wire.pipe.set_up(True))
    wire.send_at(400, 50)
    wire.run()
    assert wire.times == [1100, 1200, 1450]
    assert wire.pipe.drops == {"down": 3}
    assert wire.pipe.busy_time(wire.loop.now) == 250 + 50


def test_down_can_drop_the_flight_and_spare_the_queue(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, delay_ns=1000, down_drops_queue=False, down_drops_flight=True)
    wire.send_at(0, 100, 100, 100, 100)
    wire.at(250, lambda: wire.pipe.set_up(False))
    wire.send_at(300, 50)
    wire.run()
    assert wire.times == [1300, 1400]
    assert wire.pipe.drops == {"down": 3}


def test_down_while_idle_and_up_again(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND)
    wire.at(10, lambda: wire.pipe.set_up(False))
    wire.at(20, lambda: wire.pipe.set_up(True))
    wire.send_at(30, 10)
    wire.run()
    assert wire.times == [40]
    assert wire.pipe.drops == {}


# --- statistics and construction ----------------------------------------------------------------


def test_statistics(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND, limit=2)
    wire.send_at(100, 100, 200, 300, 400)
    wire.send_at(1000, 100)
    wire.run()
    assert (wire.pipe.packets, wire.pipe.bytes) == (4, 700)
    assert wire.pipe.drops == {"queue": 1}
    assert wire.pipe.busy_time(wire.loop.now) == 700


def test_busy_time_in_the_middle_of_a_packet(general: bool) -> None:
    wire = Wire(general, rate_bps=8 * SECOND)
    wire.send_at(100, 100)
    wire.loop.run(140)
    assert wire.pipe.busy_time(140) == 40


def test_on_drop_names_packet_and_reason(general: bool) -> None:
    wire = Wire(general, rate_bps=8, limit=1)
    dropped: list[tuple[int, str]] = []
    wire.pipe.on_drop = lambda packet, reason: dropped.append((packet.size, reason))
    wire.send_at(0, 1, 2, 3)
    wire.at(1, lambda: wire.pipe.set_up(False))
    wire.run()
    assert dropped == [(3, "queue"), (1, "down"), (2, "down")]


def test_one_event_is_pending_however_many_packets_are_inside() -> None:
    wire = Wire(False, rate_bps=8 * MBIT, delay_ns=SECOND, limit=1000)
    for _ in range(500):
        wire.pipe.send(Packet(FLOW, 1000))
    assert wire.loop.pending() == 1
    wire.run()
    assert wire.loop.executed == 500


def test_streams_are_independent_of_each_other() -> None:
    """Duplicating packets changes nothing about which are lost."""
    plain, doubled = (Wire(False, plr=(0.1,), duplicate=p) for p in (0.0, 0.5))
    for wire in (plain, doubled):
        wire.send_at(0, *range(100, 600))
        wire.run()
    assert {size for _, size in plain.out} == {size for _, size in doubled.out}
    assert plain.pipe.drops == doubled.pipe.drops


def test_seed_and_name_choose_the_losses() -> None:
    def survivors(seed: int, name: str) -> list[int]:
        loop = Loop()
        pipe = make_pipe(loop, name, PipeSettings(plr=(0.5,)), seed)
        sizes: list[int] = []
        pipe.sink = lambda packet: sizes.append(packet.size)
        for size in range(100, 200):
            pipe.send(Packet(FLOW, size))
        loop.run(NEVER)
        return sizes

    assert survivors(1, "a") == survivors(1, "a")
    assert survivors(1, "a") != survivors(2, "a")
    assert survivors(1, "a") != survivors(1, "b")


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "fifo"),
        ({"qdisc": "red", "plr": (0.1,), "duplicate": 0.1, "corrupt": 0.1}, "fifo"),
        ({"qdisc": "droptail"}, "fifo"),
        ({"qdisc": "codel"}, "general"),
        ({"jitter_ns": 1}, "general"),
        ({"reorder": 0.1, "reorder_ns": 1}, "general"),
    ],
)
def test_the_factory_picks_the_cheapest_kind(settings: dict[str, Any], kind: str) -> None:
    pipe = make_pipe(Loop(), "p", PipeSettings(**settings))
    assert pipe.kind == kind
    assert bool(needs_general_pipe(pipe.settings)) == (kind == "general")
    assert make_pipe(Loop(), "p", PipeSettings(**settings), general=True).kind == "general"


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_bps": -1},
        {"delay_ns": -1},
        {"limit": 0},
        {"limit": -1, "limit_in_bytes": True},
        {"corrupt": 1.5},
        {"duplicate": -0.1},
        {"reorder": 0.1},
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        PipeSettings(**settings)


def test_an_unknown_discipline_is_refused() -> None:
    with pytest.raises(PluginError, match="known are codel"):
        make_pipe(Loop(), "p", PipeSettings(qdisc="blue"))
    with pytest.raises(PluginError, match="no parameter"):
        make_pipe(Loop(), "p", PipeSettings(qdisc="red", qdisc_parameters={"w": 1.0}))


def test_negative_changes_are_refused(general: bool) -> None:
    wire = Wire(general)
    with pytest.raises(ValueError, match="rate"):
        wire.pipe.set_rate(-1)
    with pytest.raises(ValueError, match="delay"):
        wire.pipe.set_delay(-1)


def test_a_pipe_without_an_end_says_so() -> None:
    loop = Loop()
    pipe = make_pipe(loop, "p", PipeSettings())
    pipe.send(Packet(FLOW, 100, ECT0))
    with pytest.raises(RuntimeError, match="no sink"):
        loop.run(NEVER)


def test_marks_need_no_second_clone() -> None:
    """A packet that carries CE already is passed on as it is, and counted."""
    wire = Wire(False, rate_bps=8 * MBIT, limit=100, qdisc="red",
                qdisc_parameters={"w_q": 1.0, "min_th": 1.0, "max_th": 2.0, "ecn": True})  # fmt: skip
    wire.send_at(0, *[1000] * 5, ecn=CE)
    wire.run()
    assert wire.pipe.marks > 0
    assert len(wire.out) == 5
