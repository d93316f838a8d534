"""Benchmarks for ``make bench``. Nothing here asserts a time; docs/performance.md has the figures."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from w1 import W1
from w2 import W2

from mptcpsim.codec.packet import decode, encode
from mptcpsim.core.segment import ACK, FourTuple, Segment
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.net.fifo import FifoPipe
from mptcpsim.net.general import GeneralPipe
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.loop import Loop

FLOW = FourTuple("10.0.0.1", 49152, "10.0.0.2", 5001)


def segment() -> Segment:
    """Return a full data segment."""
    return Segment(FLOW, 1500, SequenceMap(7, 9), ACK, 1, 1, 1000, 1448, 1, 1, None, 0)


def note_rate(benchmark: Any, packets: int) -> None:
    """Put the wall time per packet, us, beside the figures; there are none when timing is off."""
    if benchmark.stats is not None:
        benchmark.extra_info["us_per_packet"] = benchmark.stats["median"] / packets * 1e6


def test_w1_one_second(benchmark: Any) -> None:
    """W1 for one simulated second; ``extra_info`` has the wall time per packet."""

    def run() -> int:
        return W1().run(1.0)

    packets = benchmark.pedantic(run, rounds=3, iterations=1)
    note_rate(benchmark, packets)
    assert packets > 75_000


@pytest.mark.parametrize("rack", [True, False], ids=["rack", "rfc6675"])
def test_w1_with_loss(benchmark: Any, rack: bool) -> None:
    """W1 without the initial ssthresh: slow start overshoots and recovery has a thousand holes."""

    def run() -> int:
        workload = W1(initial_ssthresh=0, rack_tlp=rack)
        packets = workload.run(1.0)
        assert workload.drops() > 0
        return packets

    packets = benchmark.pedantic(run, rounds=3, iterations=1)
    note_rate(benchmark, packets)


def test_w2_five_seconds(benchmark: Any) -> None:
    """W2 for five simulated seconds: one MPTCP connection over two paths."""

    def run() -> int:
        return W2().run(5.0)

    packets = benchmark.pedantic(run, rounds=3, iterations=1)
    note_rate(benchmark, packets)
    assert packets > 55_000


@pytest.mark.parametrize("kind", [FifoPipe, GeneralPipe])
def test_a_hop(benchmark: Any, kind: Callable[..., FifoPipe | GeneralPipe]) -> None:
    """A thousand packets through one pipe."""
    packet = segment()

    def run() -> None:
        loop = Loop()
        pipe = kind(loop, "pipe", PipeSettings(rate_bps=10**9, delay_ns=10**6, limit=2000), 1)
        pipe.sink = lambda packet: None
        for _ in range(1000):
            pipe.send(packet)
        loop.run(10**9)

    benchmark(run)


def test_a_simpy_timeout(benchmark: Any) -> None:
    """A thousand steps of a SimPy process."""

    def run() -> None:
        env = Environment()

        def process() -> Any:
            for _ in range(1000):
                yield env.timeout(1000)

        env.process(process())
        env.run()

    benchmark(run)


def test_encode(benchmark: Any) -> None:
    """A full segment to bytes, payload and checksums included."""
    benchmark(encode, segment())


def test_decode(benchmark: Any) -> None:
    """And back."""
    data = encode(segment())
    receiver = SequenceMap(9, 7)
    benchmark(decode, data, lambda flow: receiver)


def test_the_sender_scan_does_not_grow_with_the_window(benchmark: Any) -> None:
    """An ACK with one new SACK block on 10,000 outstanding segments."""
    from mptcpsim.core.tcp.scoreboard import Scoreboard, Sent

    board = Scoreboard()
    for i in range(10_000):
        board.records.append(Sent(1 + 1448 * i, 1 + 1448 * (i + 1), i, i, False))
    rng = random.Random(1)

    def run() -> None:
        left = 1 + 1448 * rng.randrange(1, 10_000)
        for low, high in board.ranges.add(left, left + 1448):
            record = board.records[board.index_at(low)]
            assert record.end == high
            board.mark_sacked(record)

    benchmark(run)
