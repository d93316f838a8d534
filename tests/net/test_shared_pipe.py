"""Pipes that many flows share: what a pipe of a link does, for packets that each go on their own way."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import mptcpsim.qdiscs  # noqa: F401
from mptcpsim.core.segment import CE, ECT0, FourTuple, Packet
from mptcpsim.net.general import make_pipe
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.shared import FlowTable, Parcel, SharedPipe
from mptcpsim.plugins import Value
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import NEVER
from tests.profiles import examples

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)
MBIT = 1_000_000


class Way:
    """Where packets go on; notes what comes out and when."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.out: list[tuple[int, Packet]] = []

    def __call__(self, packet: Packet) -> None:
        self.out.append((self.loop.now, packet))


def test_each_packet_goes_on_its_own_way_in_the_order_of_arrival() -> None:
    loop = Loop()
    pipe = SharedPipe(loop, "p", PipeSettings(rate_bps=8 * MBIT, delay_ns=10 * MS))
    ways = [Way(loop), Way(loop)]
    packets = [Packet(FLOW, 1000) for _ in range(4)]
    for number, packet in enumerate(packets):
        pipe.enter(packet, ways[number % 2])
    loop.run(NEVER)
    assert ways[0].out == [(11 * MS, packets[0]), (13 * MS, packets[2])]
    assert ways[1].out == [(12 * MS, packets[1]), (14 * MS, packets[3])]
    assert (pipe.pipe.packets, pipe.pipe.bytes) == (4, 4000)


def test_what_comes_out_is_what_went_in_unless_something_happened_to_it() -> None:
    loop = Loop()
    way = Way(loop)
    packet = Packet(FLOW, 100, ECT0)
    packet.ttl = 3
    SharedPipe(loop, "p", PipeSettings()).enter(packet, way)
    loop.run(NEVER)
    assert way.out[0][1] is packet


def test_a_mark_reaches_a_copy_of_the_packet() -> None:
    loop = Loop()
    way = Way(loop)
    red: dict[str, Value] = {"w_q": 1.0, "min_th": 0.5, "max_th": 1.0, "ecn": True}
    settings = PipeSettings(rate_bps=8 * MBIT, limit=10, qdisc="red", qdisc_parameters=red)
    pipe = SharedPipe(loop, "p", settings)
    packets = [Packet(FLOW, 100, ECT0) for _ in range(5)]
    for packet in packets:
        pipe.enter(packet, way)
    loop.run(NEVER)
    assert pipe.pipe.marks > 0
    assert [packet.ecn for packet in packets] == [ECT0] * 5
    assert sum(packet.ecn == CE for _, packet in way.out) == pipe.pipe.marks
    assert all((packet is packets[n]) == (packet.ecn == ECT0) for n, (_, packet) in enumerate(way.out))


def test_a_bit_error_reaches_a_copy_of_the_packet() -> None:
    loop = Loop()
    way = Way(loop)
    packet = Packet(FLOW, 100)
    SharedPipe(loop, "p", PipeSettings(corrupt=1.0)).enter(packet, way)
    loop.run(NEVER)
    assert way.out[0][1].damaged
    assert not packet.damaged


def test_a_duplicate_is_a_packet_of_its_own() -> None:
    loop = Loop()
    way = Way(loop)
    packet = Packet(FLOW, 100)
    SharedPipe(loop, "p", PipeSettings(duplicate=1.0)).enter(packet, way)
    loop.run(NEVER)
    first, second = (packet for _, packet in way.out)
    assert first is packet
    assert second is not packet


def test_a_parcel_says_what_it_carries() -> None:
    assert repr(Parcel(Packet(FLOW, 100), print)).startswith("parcel with <mptcpsim.core.segment.Packet")


def test_a_table_makes_a_queue_for_each_flow_and_applies_its_mask_once_a_flow() -> None:
    loop = Loop()
    way = Way(loop)
    asked: list[FourTuple] = []
    made: list[tuple[int, ...]] = []

    def key(packet: Packet) -> tuple[int, ...]:
        asked.append(packet.flow)
        return (packet.flow.sport % 2,)

    def make(key: tuple[int, ...]) -> SharedPipe:
        made.append(key)
        return SharedPipe(loop, f"p{key}", PipeSettings(rate_bps=8 * MBIT))

    table = FlowTable(key, make)
    for _ in range(3):
        for sport in (1, 2, 3):
            table.enter(Packet(FLOW._replace(sport=sport), 1000), way)
    loop.run(NEVER)
    assert made == [(1,), (0,)]
    assert list(table.queues) == made
    assert [flow.sport for flow in asked] == [1, 2, 3]
    # Two flows share the first queue, the other one has the second for itself.
    assert sorted(now for now, packet in way.out if packet.flow.sport == 2) == [1 * MS, 2 * MS, 3 * MS]
    assert sorted(now for now, packet in way.out if packet.flow.sport != 2) == [n * MS for n in range(1, 7)]


SETTINGS = st.fixed_dictionaries(
    {
        "rate_bps": st.sampled_from([0, 8_000_000_000, 3_000_000_000, 700_000_000]),
        "delay_ns": st.sampled_from([0, 7, 100, 333]),
        "limit": st.integers(1, 8),
        "limit_in_bytes": st.booleans(),
        "burst_bits": st.sampled_from([0, 0, 400]),
        "plr": st.sampled_from([(), (), (0.2,), (0.05, 0.2, 0.8, 0.4)]),
        "tick_ns": st.sampled_from([0, 0, 50]),
        "qdisc": st.sampled_from(["droptail", "red", "codel"]),
    }
)
ARRIVALS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 5, 20, 300]), st.sampled_from([1, 10, 33])), max_size=60
)


@examples(300)
@given(values=SETTINGS, arrivals=ARRIVALS)
def test_a_shared_pipe_is_the_pipe_of_a_link_to_the_nanosecond(
    values: dict[str, Any], arrivals: list[tuple[int, int]]
) -> None:
    loops = (Loop(), Loop())
    shared = SharedPipe(loops[0], "p", PipeSettings(**values), 5)
    own = make_pipe(loops[1], "p", PipeSettings(**values), 5)
    ways = [Way(loop) for loop in loops]
    own.sink = ways[1]
    now = 0
    for number, (gap, size) in enumerate(arrivals):
        now += gap
        packet = Packet(FLOW._replace(sport=number), size)
        loops[0].schedule(now, lambda packet=packet: shared.enter(packet, ways[0]))  # type: ignore[misc]
        loops[1].schedule(now, lambda packet=packet: own.send(packet))  # type: ignore[misc]
    for loop in loops:
        loop.run(NEVER)
    assert ways[0].out == ways[1].out
    assert shared.pipe.drops == own.drops
    # In = out + dropped, and nothing overtakes.
    assert len(arrivals) == len(ways[0].out) + sum(own.drops.values())
    order = [packet.flow.sport for _, packet in ways[0].out]
    assert order == sorted(order)
