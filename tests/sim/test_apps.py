"""Applications and flows: what they write and when, computed by hand."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim import Simulation, build, loads
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.summarise import summarise
from mptcpsim.sim.apps import Bulk, Reader, Source
from mptcpsim.sim.flow import Flow, OneWayFlow
from mptcpsim.units import MILLISECOND, SECOND
from tests.profiles import examples

Process = Generator[Any, Any, None]

#: One way.
DELAY = 10 * MILLISECOND
#: The client is established after one round trip, the server half a round trip later.
CLIENT_READY = 2 * DELAY
SERVER_READY = 3 * DELAY

#: Without a rate limit, so that every instant can be computed by hand.
BASE = """\
title = "Applications"
duration = "10s"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[[links]]
name = "l"
ends = ["a:e", "b:e"]
delay = "10ms"
queue = 10000
"""


def simulation(*flows: str, changes: tuple[str, ...] = ()) -> Simulation:
    """Build the two hosts and flows from a to b, each given as the TOML lines that differ."""
    tables = []
    for index, flow in enumerate(flows):
        ends = "" if "client =" in flow else 'client = "a"\nserver = "b"\n'
        tables.append(f"[[flows]]\nport = {5001 + index}\n{ends}{flow}\n")
    return build(loads(BASE + "".join(tables), overrides=changes))


def ran(*flows: str, changes: tuple[str, ...] = ()) -> Simulation:
    sim = simulation(*flows, changes=changes)
    sim.env.run(sim.scenario.duration)
    return sim


def arrivals(sim: Simulation, end: str, index: int = 0) -> list[tuple[int, int]]:
    """Return, filled while the simulation runs, (instant, payload) of what an interface receives."""
    seen: list[tuple[int, int]] = []
    port = sim.scenario.flows[index].port

    def tap(packet: Any, now: int, outgoing: bool) -> None:
        if not outgoing and packet.length and port in (packet.flow.sport, packet.flow.dport):
            seen.append((now, packet.length))

    sim.interface(end).tap = tap
    return seen


def delivered(flow: Flow) -> int:
    assert flow.receiver is not None
    return flow.receiver.delivered


class TestBulk:
    @pytest.mark.parametrize("reverse", ["false", "true"])
    @pytest.mark.parametrize("size", [1, 1448, 1449, 1_000_000])
    def test_by_bytes_in_both_directions(self, size: int, reverse: str) -> None:
        (flow,) = ran(f'bytes = "{size}B"\nreverse = {reverse}').flows
        assert flow.sender is (flow.server if reverse == "true" else flow.client)
        assert flow.sender is not None
        assert (flow.sender.written, delivered(flow)) == (size, size)
        assert flow.completed_at > 0
        assert flow.error == ""

    def test_a_small_one_takes_a_round_trip_and_a_half(self) -> None:
        (flow,) = ran('bytes = "5kB"\ntcp = { nagle = false }').flows
        assert flow.completed_at == SERVER_READY

    def test_in_reverse_the_server_begins_when_it_is_established(self) -> None:
        (flow,) = ran('bytes = "5kB"\nreverse = true\ntcp = { nagle = false }').flows
        assert flow.completed_at == SERVER_READY + DELAY

    @pytest.mark.parametrize(
        ("reverse", "begin"), [("false", CLIENT_READY), ("true", SERVER_READY)], ids=["forward", "reverse"]
    )
    def test_by_duration(self, reverse: str, begin: int) -> None:
        """The last byte is written when the time is over; what is in the send buffer still goes."""
        sim = simulation(
            f'duration = "2s"\nreverse = {reverse}\ntcp = {{ send_buffer = "100kB" }}',
            changes=("links.l.rate='10Mbps'",),
        )
        (flow,) = sim.flows
        # SYN and SYN,ACK: 60 bytes each; ACK: 52 bytes.
        begin += (60 + 60 + (52 if reverse == "true" else 0)) * 8 * SECOND // 10_000_000
        sim.env.run(begin + 2 * SECOND)
        assert flow.sender is not None
        written = flow.sender.written
        assert not flow.sender.closing
        sim.env.run(begin + 2 * SECOND + 1)
        assert flow.sender.closing
        sim.env.run("10s")
        assert flow.sender.written == written == delivered(flow)
        rest = 100_000 * 8 * SECOND // 10_000_000
        assert begin + 2 * SECOND < flow.completed_at < begin + 2 * SECOND + rest + 4 * DELAY

    def test_without_a_limit_it_lasts(self) -> None:
        (flow,) = ran("", changes=("links.l.rate='8Mbps'", "duration='3s'")).flows
        assert flow.completed_at == -1
        assert flow.error == ""
        # 1448 of 1500 bytes are payload; a handshake and slow start at the beginning.
        assert 0.9 * 3e6 * 1448 / 1500 < delivered(flow) < 3e6 * 1448 / 1500

    def test_a_late_start(self) -> None:
        (flow,) = ran('bytes = "5kB"\nstart = "1.5s"\ntcp = { nagle = false }').flows
        assert flow.completed_at == 1_500 * MILLISECOND + SERVER_READY


class TestRequestResponse:
    def test_small_ones_take_a_round_trip(self) -> None:
        (flow,) = ran('app = "request-response"\nrequest = "100B"\nresponse = "1kB"\ncount = 5').flows
        assert flow.latencies == [2 * DELAY] * 5
        assert flow.completed_at == CLIENT_READY + 5 * 2 * DELAY

    def test_serialisation_counts(self) -> None:
        changes = ("links.l.rate='1Mbps'",)
        (flow,) = ran(
            'app = "request-response"\nrequest="100B"\nresponse="1kB"\ncount = 3', changes=changes
        ).flows
        # 20 + 20 + 12 bytes of headers, 8 us a byte.
        latency = 2 * DELAY + (100 + 52 + 1000 + 52) * 8_000
        # The first request waits for the ACK that ends the handshake; the first response for the
        # ACK with a window larger than the 65,535 bytes that fit into a SYN,ACK.
        assert flow.latencies == [latency + 2 * 52 * 8_000, latency, latency]

    @pytest.mark.parametrize(("nagle", "round_trips"), [("false", 1), ("true", 2)])
    def test_nagle_keeps_back_the_tail_of_a_response(self, nagle: str, round_trips: int) -> None:
        """Six full segments go at once; the seventh is small and waits until they are acknowledged."""
        (flow,) = ran(
            'app = "request-response"\nrequest = "100B"\nresponse = "10kB"\ncount = 1\n'
            f"tcp = {{ nagle = {nagle} }}"
        ).flows
        assert flow.latencies == [round_trips * 2 * DELAY]

    def test_a_response_beyond_the_initial_window_takes_another_round_trip(self) -> None:
        size = 11 * 1448
        (flow,) = ran(f'app = "request-response"\nrequest = "1B"\nresponse = "{size}B"\ncount = 1').flows
        assert flow.latencies == [2 * 2 * DELAY]

    def test_the_cadence_of_requests(self) -> None:
        sim = simulation('app = "request-response"\nrequest = "100B"\nresponse = "1kB"\nevery = "1s"')
        seen = arrivals(sim, "b:e")
        sim.env.run("5s")
        assert seen == [(CLIENT_READY + k * SECOND + DELAY, 100) for k in range(5)]
        assert sim.flows[0].latencies == [2 * DELAY] * 5
        assert sim.flows[0].completed_at == -1

    def test_a_late_response_delays_the_next_request(self) -> None:
        (flow,) = ran('app = "request-response"\nresponse = "1kB"\nevery = "15ms"\ncount = 4').flows
        assert flow.completed_at == CLIENT_READY + 4 * 2 * DELAY

    def test_the_summary(self, tmp_path: Path) -> None:
        sim = simulation('app = "request-response"\nrequest = "100B"\nresponse = "1kB"\ncount = 5')
        with SeriesRecorder(tmp_path / "series.parquet") as recorder:
            sampler = sampler_of(sim, recorder)
            sim.env.run("10s")
            sampler.finish()
            (flow,) = summarise(sim, sampler).flows
        assert flow.latency_ms == {"requests": 5, "mean": 20, "median": 20, "p95": 20, "max": 20}
        assert (flow.bytes_delivered, flow.error) == (5000, None)


class TestConstantRate:
    FLOW = 'app = "constant-rate"\nrate = "80kbps"\nmessage = "1kB"\n'

    def test_every_message_is_on_time(self) -> None:
        sim = simulation(self.FLOW)
        seen = arrivals(sim, "b:e")
        sim.env.run("2s")
        expected = [(SERVER_READY + k * 100 * MILLISECOND, 1000) for k in range(20)]
        assert seen == expected

    def test_an_interval_that_is_no_whole_number_does_not_drift(self) -> None:
        # 100 bytes at 30 kbit/s: every 26 2/3 ms.
        sim = simulation('app = "constant-rate"\nrate = "30kbps"\nmessage = "100B"\ntcp = { nagle = false }')
        seen = arrivals(sim, "b:e")
        sim.env.run("2s")
        assert [at - SERVER_READY for at, _ in seen[:4]] == [0, 26_666_666, 53_333_333, 80_000_000]
        assert seen[-1][0] == SERVER_READY + (len(seen) - 1) * 80_000_000 // 3

    def test_a_duration_is_a_number_of_messages(self) -> None:
        (flow,) = ran(self.FLOW + 'duration = "1s"').flows
        assert delivered(flow) == 10 * 1000
        assert flow.completed_at == SERVER_READY + SECOND

    def test_a_limit_cuts_the_last_message(self) -> None:
        sim = simulation(self.FLOW + 'bytes = "2500B"')
        seen = arrivals(sim, "b:e")
        sim.env.run("2s")
        assert [size for _, size in seen] == [1000, 1000, 500]
        assert sim.flows[0].completed_at == SERVER_READY + 200 * MILLISECOND

    def test_in_reverse(self) -> None:
        sim = simulation(self.FLOW + 'reverse = true\nbytes = "3kB"')
        seen = arrivals(sim, "a:e")
        sim.env.run("2s")
        assert seen == [(SERVER_READY + DELAY + k * 100 * MILLISECOND, 1000) for k in range(3)]

    def test_what_was_blocked_is_made_up_for(self) -> None:
        """The link is down for a second: the schedule does not shift, the total is the same."""
        down = "events=[{at='1s', link='l', action='down'}, {at='2s', link='l', action='up'}]"
        (flow,) = ran(self.FLOW + 'duration = "5s"', changes=(down,)).flows
        assert delivered(flow) == 50 * 1000
        assert flow.completed_at == SERVER_READY + 5 * SECOND


class TestOnOff:
    FLOW = 'app = "on-off"\nrate = "80kbps"\nmessage = "1kB"\non = "200ms"\noff = "300ms"\n'

    def test_the_schedule(self) -> None:
        sim = simulation(self.FLOW + 'duration = "2s"')
        seen = arrivals(sim, "b:e")
        sim.env.run("10s")
        starts = [burst * 500 + message * 100 for burst in range(4) for message in range(2)]
        assert seen == [(SERVER_READY + start * MILLISECOND, 1000) for start in starts]
        assert sim.flows[0].completed_at == SERVER_READY + 2 * SECOND

    def test_a_limit_ends_it(self) -> None:
        (flow,) = ran(self.FLOW + 'bytes = "4500B"').flows
        assert delivered(flow) == 4500
        assert flow.completed_at == SERVER_READY + 1_000 * MILLISECOND

    def test_random_periods_have_the_means_asked_for(self) -> None:
        flow = (
            'app = "on-off"\nrate = "800kbps"\nmessage = "100B"\non = "20ms"\noff = "60ms"\nrandom = true\n'
        )
        totals = []
        for seed in (1, 1, 2):
            (found,) = ran(flow, changes=(f"seed={seed}", "duration='40s'")).flows
            totals.append(delivered(found))
        assert totals[0] == totals[1] != totals[2]
        # About 500 periods: a quarter of the time on; half a message more a period by rounding up.
        mean = 40 * 100_000 / 4 * (1 + 0.5 / 20)
        for total in totals:
            assert total == pytest.approx(mean, rel=4 / 500**0.5)


class TestReader:
    def test_a_size_and_a_cadence_set_the_pace(self) -> None:
        sim = simulation(
            'bytes = "50kB"\nreader = { read_size = "1kB", every = "100ms" }',
            changes=("hosts.b.tcp.receive_buffer='8kB'",),
        )
        (flow,) = sim.flows
        for k in range(1, 50):
            at = SERVER_READY + k * 100 * MILLISECOND
            sim.env.run(at)
            assert flow.server is not None
            assert flow.server.consumed == (k - 1) * 1000
            assert flow.server.delivered - flow.server.consumed <= 8_000 + 1448
            sim.env.run(at + 1)
            assert flow.server.consumed == k * 1000
        sim.env.run("10s")
        assert flow.server is not None
        assert flow.server.consumed == 50_000
        assert flow.completed_at == SERVER_READY + 50 * 100 * MILLISECOND

    def test_the_window_closes_and_opens_again(self) -> None:
        sim = ran(
            'bytes = "60kB"\nreader = { read_size = "4kB", every = "500ms" }',
            changes=("hosts.b.tcp.receive_buffer='8kB'",),
        )
        (flow,) = sim.flows
        assert flow.completed_at == SERVER_READY + 15 * 500 * MILLISECOND
        counters = sim.hosts["b"].stack.counters.as_dict()
        assert counters["TcpExtTCPToZeroWindowAdv"] > 0
        assert counters["TcpExtTCPFromZeroWindowAdv"] > 0

    def test_reads_keep_to_the_cadence_however_data_arrives(self) -> None:
        sim = simulation(
            'app = "constant-rate"\nrate = "8kbps"\nmessage = "70B"\nduration = "1s"\n'
            'reader = { read_size = "1MB", every = "50ms" }'
        )
        (flow,) = sim.flows
        reads = []
        seen = 0
        while sim.env.now < 3 * SECOND and flow.completed_at < 0:
            sim.env.step()
            if flow.server is not None and flow.server.consumed > seen:
                seen = flow.server.consumed
                reads.append(sim.env.now - SERVER_READY)
        assert len(reads) == 15
        assert all(at % (50 * MILLISECOND) == 0 for at in reads)

    def test_without_a_cadence_it_reads_at_once(self) -> None:
        (flow,) = ran('bytes = "5kB"\ntcp = { nagle = false }\nreader = { read_size = "10B" }').flows
        assert flow.completed_at == SERVER_READY
        assert flow.server is not None
        assert flow.server.consumed == 5000

    @examples(40)
    @given(
        st.integers(1, 30_000),
        st.integers(500, 20_000),
        st.integers(0, 120),
        st.integers(3_000, 20_000),
        st.booleans(),
    )
    def test_everything_arrives(self, size: int, read: int, every: int, buffer: int, reverse: bool) -> None:
        (flow,) = ran(
            f'bytes = "{size}B"\nreverse = {str(reverse).lower()}\n'
            f'reader = {{ read_size = "{read}B", every = "{every}ms" }}\n',
            changes=(f"defaults.tcp.receive_buffer='{buffer}B'", "duration='60s'"),
        ).flows
        assert delivered(flow) == size
        assert flow.receiver is not None
        assert flow.receiver.consumed == size
        assert flow.completed_at > 0
        reads = -(-size // read)
        if every:
            # As many reads as it takes, at least; then the end, which may come after the last one.
            ready = SERVER_READY + (DELAY if reverse else 0) - (DELAY * 2 if reverse else 0)
            assert flow.completed_at >= ready + reads * every * MILLISECOND


class TestFlows:
    def test_several_on_one_host_share_the_link(self) -> None:
        sim = ran(
            'bytes = "300kB"',
            'bytes = "200kB"\nreverse = true',
            'client = "b"\nserver = "a"\nbytes = "100kB"',
            'app = "request-response"\ncount = 20',
            'app = "constant-rate"\nrate = "100kbps"\nduration = "2s"',
            changes=("links.l.rate='5Mbps'",),
        )
        assert [flow.error for flow in sim.flows] == [""] * 5
        assert all(flow.completed_at > 0 for flow in sim.flows)
        sizes = [delivered(flow) for flow in sim.flows]
        assert sizes == [300_000, 200_000, 100_000, 200_000, 25_000]

    def test_a_source_of_ones_own(self) -> None:
        """The example at the top of the module."""

        class Burst(Source):
            def run(self, env: Any, socket: Any) -> Process:
                yield socket.writable()
                socket.write(100_000)
                yield env.timeout("1s")
                socket.write(100_000)

        sim = simulation('bytes = "1B"')
        config = sim.hosts["a"].stack.config
        sockets = sim.sockets["a"], sim.sockets["b"]
        flow = OneWayFlow(
            *(sim.env, "burst", *sockets, "10.0.0.1", ("10.0.0.2", 9), config, config, 0),
            source=Burst(),
            reader=None,
        )
        sim.env.run("10s")
        assert delivered(flow) == 200_000
        assert SECOND < flow.completed_at < 2 * SECOND


def ended(sim: Simulation, tmp_path: Path) -> str | None:
    """Run to the end, as ``mptcpsim run`` does, and return the error in the summary of the first flow."""
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        sampler = sampler_of(sim, recorder)
        sim.env.run(sim.scenario.duration)
        sampler.finish()
    return summarise(sim, sampler).flows[0].error


KINDS = pytest.mark.parametrize(
    "kind",
    [
        "",
        "reverse = true",
        'duration = "2s"',
        'duration = "2s"\nreverse = true',
        'bytes = "100MB"',
        'reader = { read_size = "1kB", every = "10ms" }',
        'reader = { read_size = "1kB" }\nreverse = true',
        'app = "request-response"\nresponse = "100MB"',
        'app = "request-response"\nrequest = "1MB"\nevery = "1s"',
        'app = "constant-rate"\nrate = "1Mbps"\nduration = "2s"',
        'app = "on-off"\nrate = "1Mbps"\non = "300ms"\noff = "200ms"\nrandom = true\nreverse = true',
    ],
)


class TestFailures:
    """A connection that fails is a result: never an exception of the run."""

    @KINDS
    @pytest.mark.parametrize("end", ["client", "server"])
    def test_reset(self, kind: str, end: str, tmp_path: Path) -> None:
        sim = simulation(kind, changes=("links.l.rate='2Mbps'",))

        def reset() -> None:
            connection = getattr(sim.flows[0], end)
            connection.abort(sim.env.now)
            sim.hosts["a" if end == "client" else "b"].drain()

        sim.env.call_at(SECOND, reset)
        error = ended(sim, tmp_path)
        assert error is not None
        assert "reset" in error or "abort" in error
        assert sim.flows[0].completed_at == -1

    @KINDS
    def test_timed_out(self, kind: str, tmp_path: Path) -> None:
        changes = (
            "links.l.rate='2Mbps'",
            "defaults.tcp.data_retries=3",
            "events=[{at='1s', link='l', action='down'}]",
            "duration='60s'",
        )
        assert "timed out" in (ended(simulation(kind, changes=changes), tmp_path) or "")

    @KINDS
    def test_no_handshake(self, kind: str, tmp_path: Path) -> None:
        changes = (
            "defaults.tcp.syn_retries=1",
            "events=[{at='0s', link='l', action='down'}]",
            "flows.0.start='10ms'",
        )
        assert "timed out" in (ended(simulation(kind, changes=changes), tmp_path) or "")

    def test_refused(self) -> None:
        """The server of this flow listens at another host than the one that is asked."""
        sim = simulation('bytes = "1B"')
        config = sim.hosts["a"].stack.config
        flow = OneWayFlow(
            *(sim.env, "lost", sim.sockets["a"], sim.sockets["a"], "10.0.0.1", ("10.0.0.2", 9)),
            *(config, config, 0),
            source=Bulk(),
            reader=Reader(1000),
        )
        sim.env.run("10s")
        assert "refused" in flow.error
        assert (flow.completed_at, flow.server) == (-1, None)

    def test_one_failure_leaves_the_others_alone(self, tmp_path: Path) -> None:
        sim = simulation('bytes = "100MB"', 'bytes = "100kB"', changes=("links.l.rate='2Mbps'",))

        def reset() -> None:
            connection = sim.flows[0].server
            assert connection is not None
            connection.abort(sim.env.now)
            sim.hosts["b"].drain()

        sim.env.call_at(100 * MILLISECOND, reset)
        assert ended(sim, tmp_path)
        assert sim.flows[1].error == ""
        assert delivered(sim.flows[1]) == 100_000

    def test_a_failure_after_the_end_is_none(self) -> None:
        sim = simulation('bytes = "1kB"')
        sim.env.run("1s")
        connection = sim.flows[0].client
        assert connection is not None
        assert sim.flows[0].completed_at > 0
        connection.abort(sim.env.now)
        sim.env.run("2s")
        assert sim.flows[0].error == ""
