"""Several queues in front of one link: shares, bounds and conservation, against the literature's laws."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import mptcpsim.qdiscs  # noqa: F401
from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.net.general import GeneralPipe, make_pipe
from mptcpsim.net.pipe import PipeSettings, make_scheduler
from mptcpsim.net.queues import Fifo, HashedQueues
from mptcpsim.net.shared import LinkEntrance, SharedLink
from mptcpsim.plugins import FlowQueue, PluginError, QueueScheduler, Value, families, register
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER, SECOND
from tests.profiles import examples

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)
#: One byte takes one ns.
BYTE_A_NS = 8 * SECOND

SCHEDULERS = sorted(
    name for name, plugin in families()["qdisc"].items() if issubclass(plugin, QueueScheduler)
)


def flow(number: int) -> FourTuple:
    return FLOW._replace(sport=number)


class Link:
    """A link with a queue for each weight, and what comes out of it: (departure, queue, size)."""

    def __init__(self, scheduler: str, weights: list[int], limit: int = 100_000, **values: Value) -> None:
        self.loop = Loop()
        settings = PipeSettings(rate_bps=BYTE_A_NS)
        parameters = {"flows": 1024, "limit": 10240, "quantum": 1500, **values}
        if scheduler == "wf2q+":
            del parameters["quantum"]
        self.link = SharedLink(self.loop, "l", settings, make_scheduler(scheduler, parameters))
        self.entrances: list[LinkEntrance] = []
        for weight in weights:
            fifo = Fifo(self.link.pipe, limit, False, 0, weight=weight)
            self.entrances.append(self.link.add(fifo))
        # All queues begin alike behind a packet of another one.
        primer = Fifo(self.link.pipe, 1, False, 0)
        self.link.add(primer).enter(Packet(FLOW, 1), lambda packet: None)
        self.out: list[tuple[int, int, int]] = []

    def send(self, queue: int, size: int) -> None:
        self.entrances[queue].enter(
            Packet(flow(queue), size),
            lambda packet: self.out.append((self.loop.now, packet.flow.sport, packet.size)),
        )

    def served(self) -> list[dict[int, int]]:
        """Return the bytes of each queue after each packet."""
        found: list[dict[int, int]] = []
        total: dict[int, int] = defaultdict(int)
        for _, queue, size in self.out:
            total[queue] += size
            found.append(dict(total))
        return found


WEIGHTS = st.lists(st.integers(1, 100), min_size=2, max_size=6)
SIZES = st.sampled_from([40, 100, 576, 1000, 1500])


# --- WF2Q+ ---------------------------------------------------------------------------------------


@examples(50)
@given(weights=WEIGHTS, data=st.data())
def test_wf2q_shares_are_exact_to_a_packet(weights: list[int], data: st.DataObject) -> None:
    """While all queues have packets none is ever more than a packet off r_i t (Bennett, Zhang 1997)."""
    link = Link("wf2q+", weights)
    sizes = [data.draw(SIZES) for _ in weights]
    total = sum(weights)
    for queue, size in enumerate(sizes):
        for _ in range(60_000 * weights[queue] // total // size + 40):
            link.send(queue, size)
    link.loop.run(60_000)
    largest = max(sizes)
    for served in link.served():
        done = sum(served.values())
        for queue, weight in enumerate(weights):
            assert abs(served.get(queue, 0) - done * weight / total) <= largest + 1


def test_wf2q_does_not_serve_a_heavy_queue_in_a_burst() -> None:
    """The example of Bennett and Zhang: weight 10 against ten of weight 1 alternates; WFQ would not."""
    link = Link("wf2q+", [10, *[1] * 10])
    for _ in range(10):
        link.send(0, 100)
    for queue in range(1, 11):
        link.send(queue, 100)
    link.loop.run(NEVER)
    order = [queue for _, queue, _ in link.out]
    assert order[:18:2] == [0] * 9
    assert sorted(order[1:18:2]) == list(range(1, 10))


@examples(200)
@given(
    weights=WEIGHTS,
    arrivals=st.lists(
        st.tuples(st.sampled_from([0, 0, 10, 100, 1000, 5000]), st.integers(0, 5), SIZES), max_size=120
    ),
)
def test_wf2q_is_worst_case_fair(weights: list[int], arrivals: list[tuple[int, int, int]]) -> None:
    """A packet leaves at most L_i / r_i + (L - L_i) / r later than its queue alone would have it leave.

    That is the worst-case fair index of WF2Q+; a queue alone has the rate r_i, its share among all. As in
    dummynet virtual time moves when a packet goes into service, not while it is: one more packet.
    """
    link = Link("wf2q+", weights)
    total = sum(weights)
    due: dict[int, list[tuple[int, int, float]]] = defaultdict(list)

    def send(queue: int, size: int) -> None:
        link.send(queue, size)
        # What waits in the queue with this packet: all that is there, or the packet itself in service.
        waiting = max(link.entrances[queue].fifo.bytes, size)
        due[queue].append((link.loop.now, size, waiting))

    now = 0
    for gap, number, size in arrivals:
        now += gap
        queue = number % len(weights)
        link.loop.schedule(now, lambda queue=queue, size=size: send(queue, size))  # type: ignore[misc]
    link.loop.run(NEVER)
    largest = max((size for _, _, size in arrivals), default=0)
    for queue, weight in enumerate(weights):
        share = weight / total
        own = max((size for _, size, _ in due[queue]), default=0)
        index = own / share + (largest - own)
        left = [when for when, found, _ in link.out if found == queue]
        for (arrived, _, waiting), departed in zip(due[queue], left, strict=True):
            assert departed - arrived <= waiting / share + index + largest + 1


def test_a_queue_that_was_idle_has_no_claim_to_what_it_missed() -> None:
    link = Link("wf2q+", [1, 1])
    for _ in range(100):
        link.send(0, 1000)
    link.loop.run(50_500)
    for _ in range(100):
        link.send(1, 1000)
    link.loop.run(70_500)
    late = [queue for when, queue, _ in link.out if when > 52_000]
    assert len(late) == 19
    assert all(one != other for one, other in pairwise(late))


def test_another_weight_holds_from_then_on() -> None:
    link = Link("wf2q+", [1, 1])
    for _ in range(300):
        link.send(0, 1000)
        link.send(1, 1000)
    link.loop.run(100_500)
    link.entrances[1].fifo.weight = 3
    link.loop.run(300_500)
    late = [queue for when, queue, _ in link.out if when > 104_000]
    assert late.count(1) / late.count(0) == pytest.approx(3, rel=0.05)
    link.loop.run(NEVER)
    assert len(link.out) == 600


# --- Deficit round robin -------------------------------------------------------------------------


@examples(40)
@given(
    weights=st.lists(st.integers(1, 10), min_size=2, max_size=5),
    quantum=st.sampled_from([100, 1500]),
    data=st.data(),
)
def test_drr_shares_by_weight(weights: list[int], quantum: int, data: st.DataObject) -> None:
    """Two queues with packets differ by a quantum and a packet of each, at most (Shreedhar, Varghese)."""
    link = Link("drr", weights, quantum=quantum)
    sizes = [data.draw(SIZES) for _ in weights]
    rounds = 3 if quantum == 1500 else 30
    for queue, size in enumerate(sizes):
        for _ in range((rounds + 2) * quantum * weights[queue] // size + 2):
            link.send(queue, size)
    link.loop.run(rounds * quantum * sum(weights))
    for served in link.served():
        for one, w1 in enumerate(weights):
            for other, w2 in enumerate(weights):
                difference = served.get(one, 0) / w1 - served.get(other, 0) / w2
                assert difference <= quantum + sizes[one] / w1 + sizes[other] / w2


def test_drr_sends_a_quantum_of_each_queue_in_turn() -> None:
    link = Link("drr", [1, 2], quantum=1000)
    for _ in range(8):
        link.send(0, 500)
        link.send(1, 500)
    link.loop.run(NEVER)
    assert [queue for _, queue, _ in link.out] == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_drr_gathers_credit_for_a_packet_larger_than_its_quantum() -> None:
    link = Link("drr", [1, 1], quantum=100)
    link.send(0, 50)
    for _ in range(2):
        link.send(0, 1000)
        link.send(1, 100)
    link.loop.run(NEVER)
    assert [size for _, _, size in link.out] == [50, 100, 100, 1000, 1000]


# --- Flow queueing -------------------------------------------------------------------------------


class Hashed:
    """A pipe with a scheduler as its discipline; delays of the packets of each flow."""

    def __init__(self, name: str, rate_bps: int = 8_000_000, seed: int = 1, **values: Value) -> None:
        self.loop = Loop()
        settings = PipeSettings(rate_bps=rate_bps, qdisc=name, qdisc_parameters=values)
        self.pipe = make_pipe(self.loop, "p", settings, seed)
        assert isinstance(self.pipe, GeneralPipe)
        assert isinstance(self.pipe.queue, HashedQueues)
        self.queues = self.pipe.queue
        self.pipe.sink = self._take
        self.delays: dict[int, list[int]] = defaultdict(list)
        self._sent: dict[int, list[int]] = defaultdict(list)

    def _take(self, packet: Packet) -> None:
        sent = self._sent[packet.flow.sport]
        # Packets of a flow keep their order; those dropped are skipped by their number in ``ttl``.
        self.delays[packet.flow.sport].append(self.loop.now - sent[packet.ttl])

    def send(self, number: int, size: int) -> None:
        packet = Packet(flow(number), size)
        packet.ttl = len(self._sent[number])
        self._sent[number].append(self.loop.now)
        self.pipe.send(packet)

    def stream(self, number: int, size: int, gap: int, until: int) -> None:
        for at in range(0, until, gap):
            self.loop.schedule(at, lambda: self.send(number, size))


@pytest.mark.parametrize("name", ["fq_codel", "fq_pie"])
def test_a_sparse_flow_waits_for_one_packet_of_the_others_at_most(name: str) -> None:
    """RFC 8290 section 1.3: what uses less than its share is not delayed by a flow that fills the queue."""
    hashed = Hashed(name)
    for bulk in range(3):
        hashed.stream(bulk, 1500, 1 * MS, 2 * SECOND)  # together 4.5 times the rate
    hashed.stream(9, 100, 10 * MS + 7, 2 * SECOND)
    hashed.loop.run(NEVER)
    assert len(hashed.delays[9]) == 200  # nothing of it was dropped
    # At the start all flows are new.
    assert max(hashed.delays[9][3:]) <= 1_500_000 + 100_000
    assert max(hashed.delays[0]) > 50 * MS


@pytest.mark.parametrize("name", ["fq_codel", "fq_pie"])
def test_a_flow_that_is_new_again_and_again_starves_nobody(name: str) -> None:
    """RFC 8290 section 4.2: an emptied new queue passes through the old ones first."""
    hashed = Hashed(name)
    take = hashed._take
    hashed.stream(1, 1500, 1 * MS, SECOND)

    def take_and_send(packet: Packet) -> None:
        take(packet)
        if packet.flow.sport == 9:
            hashed.send(9, 1500)

    hashed.pipe.sink = take_and_send
    hashed.loop.schedule(100 * MS, lambda: hashed.send(9, 1500))
    hashed.loop.run(SECOND)
    served = len(hashed.delays[9])
    # 900 ms are 600 packets, of which each flow has half.
    assert served == pytest.approx(300, abs=5)
    assert len(hashed.delays[1]) == pytest.approx(66 + 300, abs=5)


def test_without_flow_queueing_it_waits_with_all_others() -> None:
    loop = Loop()
    pipe = make_pipe(loop, "p", PipeSettings(rate_bps=8_000_000, limit=1000), 1)
    out: list[tuple[int, Packet]] = []
    pipe.sink = lambda packet: out.append((loop.now, packet))
    for at in range(0, SECOND, MS):
        loop.schedule(at, lambda: pipe.send(Packet(FLOW, 1500)))
    sparse = Packet(flow(9), 100)
    loop.schedule(SECOND - 1, lambda: pipe.send(sparse))
    loop.run(NEVER)
    assert next(when for when, packet in out if packet is sparse) > SECOND + 400 * MS


@pytest.mark.parametrize("name", SCHEDULERS)
def test_flows_share_alike_whatever_they_offer(name: str) -> None:
    hashed = Hashed(name)
    for number, gap in enumerate([500_000, MS, 2 * MS]):  # 24, 12 and 6 Mbit/s of 1500-byte packets
        hashed.stream(number, 1500, gap, 3 * SECOND)
    hashed.loop.run(3 * SECOND)
    counts = [len(hashed.delays[number]) for number in range(3)]
    assert sum(counts) >= 1990
    assert max(counts) - min(counts) <= 40


def test_too_many_packets_cost_the_longest_queue_half_of_its_own() -> None:
    """RFC 8290 section 4.1: from the head, 64 at most."""
    hashed = Hashed("fq_codel", limit=100)
    for _ in range(90):
        hashed.send(1, 1000)
    for _ in range(11):
        hashed.send(2, 1000)
    # 89 + 11 were waiting, the first packet was in service: no drop yet.
    assert hashed.pipe.drops == {}
    hashed.send(2, 1000)
    assert hashed.pipe.drops == {"queue": 44}
    assert [fifo.packets for fifo in hashed.queues.fifos] == [45, 12]
    assert hashed.pipe.queue_packets(0) == 57
    hashed.loop.run(NEVER)
    assert len(hashed.delays[1]) + len(hashed.delays[2]) + sum(hashed.pipe.drops.values()) == 102


def test_too_many_packets_are_refused_by_the_other_schedulers() -> None:
    for name in ("fq_pie", "drr", "wf2q+"):
        hashed = Hashed(name, limit=10)
        for _ in range(15):
            hashed.send(1, 1000)
        assert hashed.pipe.drops == {"queue": 4}


def test_which_flows_share_a_queue_depends_on_the_seed_alone() -> None:
    def groups(seed: int, order: list[int]) -> set[frozenset[int]]:
        hashed = Hashed("drr", seed=seed, flows=4)
        found = defaultdict(set)
        for number in order:
            found[id(hashed.queues.queue_of(Packet(flow(number), 1), 0))].add(number)
        return {frozenset(group) for group in found.values()}

    numbers = list(range(20))
    assert groups(1, numbers) == groups(1, numbers[::-1])
    assert groups(1, numbers) != groups(2, numbers)
    assert len(groups(1, numbers)) == 4


# --- All of them ---------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 10, 100, 2000]),
        st.sampled_from(["send"] * 12 + ["rate", "down", "up"]),
        st.integers(0, 5),
        st.sampled_from([1, 10, 33, 100]),
    ),
    max_size=150,
)


@pytest.mark.parametrize("name", SCHEDULERS)
@examples(60)
@given(steps=STEPS, limit=st.integers(1, 20), flows=st.sampled_from([1, 3, 1024]))
def test_in_is_out_and_dropped_and_inside_and_flows_keep_their_order(
    name: str, steps: list[tuple[int, str, int, int]], limit: int, flows: int
) -> None:
    values: dict[str, Any] = {"limit": limit, "flows": flows}
    if name == "fq_codel":
        values |= {"target": 20, "interval": 100}
    if name == "fq_pie":
        values |= {"target": 20, "tupdate": 1000, "max_burst": 0, "alpha": 7.0, "beta": 7.0}
    hashed = Hashed(name, BYTE_A_NS, **values)
    pipe = hashed.pipe
    loop = hashed.loop
    sent = 0
    out: list[Packet] = []
    pipe.sink = out.append
    ids: dict[int, int] = {}

    def step(what: str, number: int, size: int) -> None:
        nonlocal sent
        if what == "send":
            packet = Packet(flow(number), size)
            ids[id(packet)] = sent
            kept.append(packet)
            sent += 1
            pipe.send(packet)
        elif what == "rate":
            pipe.set_rate([0, BYTE_A_NS, BYTE_A_NS // 3][size % 3])
        else:
            pipe.set_up(what == "up")
        inside = pipe.queue_packets(loop.now) + (pipe._serving is not None) + len(pipe._line)  # type: ignore[attr-defined]
        assert sent == len(out) + sum(pipe.drops.values()) + inside
        assert pipe.queue_packets(loop.now) == sum(fifo.packets for fifo in hashed.queues.fifos)
        assert pipe.queue_bytes(loop.now) == sum(fifo.bytes for fifo in hashed.queues.fifos)
        assert pipe.queue_packets(loop.now) <= limit

    kept: list[Packet] = []
    now = 0
    for gap, what, number, size in steps:
        now += gap
        loop.schedule(now, lambda args=(what, number, size): step(*args))  # type: ignore[misc]
    loop.run(NEVER)
    event(f"drops: {sorted(pipe.drops)}")
    assert sent == len(out) + sum(pipe.drops.values())
    assert pipe.queue_packets(loop.now) == pipe.queue_bytes(loop.now) == 0
    for number in range(6):
        order = [ids[id(packet)] for packet in out if packet.flow.sport == number]
        assert all(one < other for one, other in pairwise(order))


def test_a_scheduler_that_selects_an_empty_queue_or_none_is_told_so() -> None:
    class Lazy(QueueScheduler):
        NAME: ClassVar[str] = "lazy"

        def __init__(self) -> None:
            self.answer: FlowQueue | None = None

        def arrived(self, queue: FlowQueue, size: int, now: int) -> None:
            pass

        def select(self, now: int) -> FlowQueue | None:
            return self.answer

    try:
        register(Lazy)
        hashed = Hashed("lazy")
        with pytest.raises(RuntimeError, match="'lazy': select selected no queue of p while 1 packets wait"):
            hashed.send(1, 100)
        assert isinstance(hashed.queues.scheduler, Lazy)
        hashed.queues.scheduler.answer = hashed.queues.queue_of(Packet(flow(2), 1), 0)
        with pytest.raises(RuntimeError, match="an empty queue"):
            hashed.send(1, 100)
    finally:
        from mptcpsim import plugins

        del plugins._registry["qdisc"]["lazy"]


def test_a_discipline_of_one_queue_is_no_scheduler() -> None:
    with pytest.raises(PluginError, match="'codel' is none for several queues"):
        make_scheduler("codel", {})
