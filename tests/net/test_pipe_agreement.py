"""The analytic pipe and the event-by-event pipe do the same to the nanosecond."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

import mptcpsim.qdiscs  # noqa: F401
from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.net.fifo import FifoPipe
from mptcpsim.net.general import GeneralPipe, make_pipe
from mptcpsim.net.loss import PeriodicLoss
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.queues import Fifo
from mptcpsim.plugins import QueueDiscipline
from mptcpsim.sim.loop import Loop
from mptcpsim.units import NEVER
from tests.profiles import examples

Plan = list[tuple[int, tuple[str, int]]]

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)

# Small numbers on purpose: one byte takes a few ns, so that instants coincide often.
RATES = st.sampled_from([0, 8_000_000_000, 4_000_000_000, 3_000_000_000, 700_000_000])
DELAYS = st.sampled_from([0, 1, 7, 40, 100, 333])
SIZES = st.sampled_from([1, 5, 10, 10, 20, 33])


@st.composite
def settings_of_a_pipe(draw: st.DrawFn) -> dict[str, Any]:
    in_bytes = draw(st.booleans())
    values: dict[str, Any] = {
        "rate_bps": draw(RATES),
        "delay_ns": draw(DELAYS),
        "limit_in_bytes": in_bytes,
        "limit": draw(st.integers(0, 120)) if in_bytes else draw(st.integers(1, 8)),
        "overhead_bytes": draw(st.sampled_from([0, 0, 3])),
        "burst_bits": draw(st.sampled_from([0, 0, 100, 400])),
        "plr": draw(st.sampled_from([(), (), (0.2,), (0.05, 0.2, 0.8, 0.4)])),
        "duplicate": draw(st.sampled_from([0.0, 0.0, 0.3])),
        "corrupt": draw(st.sampled_from([0.0, 0.0, 0.3])),
        "down_drops_queue": draw(st.booleans()),
        "down_drops_flight": draw(st.booleans()),
    }
    discipline = draw(st.sampled_from(["droptail", "droptail", "red", "gred"]))
    if discipline != "droptail":
        unit = 10.0 if in_bytes else 1.0
        values["qdisc"] = discipline
        values["qdisc_parameters"] = {
            "w_q": 0.4,
            "min_th": 0.5 * unit,
            "max_th": 3.0 * unit,
            "max_p": 0.5,
            "ecn": draw(st.booleans()),
            "small_packet": 4,
        }
    return values


STEPS = st.one_of(
    st.tuples(st.just("send"), SIZES),
    st.tuples(st.just("send"), SIZES),
    st.tuples(st.just("send"), SIZES),
    st.tuples(st.just("burst"), st.integers(2, 12)),
    st.tuples(st.just("rate"), RATES),
    st.tuples(st.just("rate in service"), RATES),
    st.tuples(st.just("delay"), DELAYS),
    st.tuples(st.just("down"), st.just(0)),
    st.tuples(st.just("up"), st.just(0)),
    st.tuples(st.just("loss"), st.integers(0, 4)),
    st.tuples(st.just("slots"), st.integers(1, 8)),
    st.tuples(st.just("octets"), st.integers(0, 120)),
    st.tuples(st.just("ask"), st.just(0)),
)
PLAN = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 5, 10, 20, 60, 300]), STEPS), min_size=10, max_size=80)


class Spy(QueueDiscipline):
    """Notes all that a discipline is told, and asks the one behind it."""

    def __init__(self, behind: QueueDiscipline) -> None:
        self.behind = behind
        self.NAME = behind.NAME  # type: ignore[misc]
        self.told: list[tuple[int, int, int, int, int]] = []

    def start(self, rng: random.Random, rate_bps: int, byte_mode: bool) -> None:
        self.behind.start(rng, rate_bps, byte_mode)

    def on_arrival(self, size: int, packets: int, queued: int, idle: int, now: int) -> int:
        self.told.append((size, packets, queued, idle, now))
        return self.behind.on_arrival(size, packets, queued, idle, now)


class Run:
    """One pipe, a plan carried out on it, and everything that can be seen."""

    def __init__(self, general: bool, values: dict[str, Any], plan: Plan) -> None:
        self.loop = Loop()
        self.pipe = make_pipe(self.loop, "p", PipeSettings(**values), 3, general)
        self.spy: Spy | None = None
        if isinstance(self.pipe, FifoPipe):
            if self.pipe._qdisc is not None:
                self.spy = self.pipe._qdisc = Spy(self.pipe._qdisc)
        else:
            assert isinstance(self.pipe, GeneralPipe)
            queue = self.pipe.queue
            assert isinstance(queue, Fifo)
            if queue.discipline is not None:
                self.spy = queue.discipline = Spy(queue.discipline)
        self.pipe.sink = self._deliver
        self.pipe.on_drop = self._drop
        self.delivered: list[tuple[int, int, int, int, bool]] = []
        self.dropped: list[tuple[int, int, str]] = []
        self.asked: list[tuple[int, int, int, int]] = []
        self.sent = 0
        now = 0
        for gap, step in plan:
            now += gap
            self.loop.schedule(now, partial(self._step, *step))
        self.loop.run(NEVER)

    def _deliver(self, packet: Packet) -> None:
        self.delivered.append((self.loop.now, packet.flow.sport, packet.size, packet.ecn, packet.damaged))

    def _drop(self, packet: Packet, reason: str) -> None:
        self.dropped.append((self.loop.now, packet.flow.sport, reason))

    def _send(self, size: int) -> None:
        self.sent += 1
        self.pipe.send(Packet(FLOW._replace(sport=self.sent), size, self.sent % 2))

    def _step(self, what: str, value: int) -> None:
        pipe = self.pipe
        now = self.loop.now
        if what == "send":
            self._send(value)
        elif what == "burst":
            for _ in range(value):
                self._send(10)
        elif what == "rate":
            pipe.set_rate(value)
        elif what == "rate in service":
            pipe.set_rate(value, in_service=True)
        elif what == "delay":
            pipe.set_delay(value)
        elif what == "loss":
            pipe.set_loss(PeriodicLoss(value) if value else None)
        elif what in ("slots", "octets"):
            pipe.set_limit(value, what == "octets")
        elif what == "ask":
            self.asked.append((now, pipe.queue_packets(now), pipe.queue_bytes(now), pipe.busy_time(now)))
        else:
            pipe.set_up(what == "up")


@examples(1000)
@given(values=settings_of_a_pipe(), plan=PLAN)
def test_both_pipes_agree(values: dict[str, Any], plan: Plan) -> None:
    fast, slow = Run(False, values, plan), Run(True, values, plan)
    assert (fast.pipe.kind, slow.pipe.kind) == ("fifo", "general")
    event(f"drops: {sorted(slow.pipe.drops)}")
    assert fast.delivered == slow.delivered
    assert fast.dropped == slow.dropped
    assert fast.asked == slow.asked
    assert (fast.spy and fast.spy.told) == (slow.spy and slow.spy.told)
    for name in ("packets", "bytes", "drops", "marks", "duplicates", "corrupted", "up"):
        assert getattr(fast.pipe, name) == getattr(slow.pipe, name), name
    end = max(fast.loop.now, slow.loop.now)
    assert fast.pipe.busy_time(end) == slow.pipe.busy_time(end)


@given(values=settings_of_a_pipe(), plan=PLAN)
def test_nothing_is_lost_from_sight_and_nothing_overtakes(values: dict[str, Any], plan: Plan) -> None:
    run = Run(False, values, plan)
    pipe = run.pipe
    assert run.sent + pipe.duplicates == pipe.packets + sum(pipe.drops.values())
    order = [number for _, number, _, _, _ in run.delivered]
    assert order == sorted(order)
    assert pipe.queue_packets(run.loop.now) == 0
    assert pipe.queue_bytes(run.loop.now) == 0


@given(plan=st.lists(st.tuples(st.integers(0, 50), st.tuples(st.just("send"), SIZES)), max_size=80))
def test_the_short_way_through_the_fifo_pipe_is_the_long_way(
    plan: Plan,
) -> None:
    """A loss model that loses nothing leads past the short way."""
    values = {"rate_bps": 3_000_000_000, "delay_ns": 40, "limit": 4, "overhead_bytes": 2}
    long_plan = [(0, ("loss", 1_000_000)), *plan]
    short, long = Run(False, values, plan), Run(False, values, long_plan)
    assert short.delivered == long.delivered
    assert short.dropped == long.dropped
