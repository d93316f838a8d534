"""Pipes, queues and disciplines under TCP, in scenarios: what their users build them for."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import pytest

from mptcpsim import build, loads
from mptcpsim.net.pipe import Pipe
from mptcpsim.results.report import dummynet_table, tables
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.results.summary import Summary
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import SECOND

ROUTER = """
title = "Three clients behind a router with dummynet"
seed = 1
duration = "{seconds}s"
[defaults.tcp]
congestion = "reno"
[hosts.server]
interfaces = {{ e = "10.0.9.1/24" }}
routes = [{{ to = "default", via = "10.0.9.254" }}]
[routers.r.freebsd]
default_to_accept = true
commands = '''
{commands}
'''
[routers.r.interfaces]
s = "10.0.9.254/24"
c1 = "10.0.1.254/24"
c2 = "10.0.2.254/24"
[hosts.c1]
interfaces = {{ e = "10.0.1.1/24" }}
routes = [{{ to = "default", via = "10.0.1.254" }}]
[hosts.c2]
interfaces = {{ e = "10.0.2.1/24" }}
routes = [{{ to = "default", via = "10.0.2.254" }}]
[[links]]
ends = ["server:e", "r:s"]
delay = "5ms"
queue = 1000
[[links]]
ends = ["c1:e", "r:c1"]
delay = "5ms"
queue = 1000
[[links]]
ends = ["c2:e", "r:c2"]
delay = "5ms"
queue = 1000
[[flows]]
name = "one"
client = "c1"
server = "server"
[[flows]]
name = "two"
client = "c2"
server = "server"
"""


def simulate(simulation: Simulation) -> Summary:
    with TemporaryDirectory() as directory, SeriesRecorder(Path(directory) / "series.parquet") as recorder:
        return measure(simulation, recorder)


def run(commands: str, seconds: int = 10) -> Summary:
    return simulate(build(loads(ROUTER.format(commands=commands, seconds=seconds))))


def goodputs(summary: Summary) -> list[float]:
    assert summary.intact
    return [flow.goodput_bps or 0.0 for flow in summary.flows]


def test_a_pipe_bounds_what_flows_through_it_get_together() -> None:
    summary = run("ipfw pipe 1 config bw 4Mbit/s delay 10ms\nipfw add pipe 1 tcp from any to 10.0.9.1 out")
    # 1448 bytes of 1500 are payload.
    assert sum(goodputs(summary)) == pytest.approx(4e6 * 1448 / 1500, rel=0.02)
    (pipe,) = summary.nodes["r"].dummynet
    assert (pipe.name, pipe.kind) == ("r pipe 1", "pipe")
    assert set(pipe.drops) == {"queue"}


def test_a_masked_pipe_gives_each_flow_its_own_rate() -> None:
    summary = run(
        "ipfw pipe 1 config bw 4Mbit/s delay 10ms mask src-ip 0xffffffff\n"
        "ipfw add pipe 1 tcp from any to 10.0.9.1 out"
    )
    assert goodputs(summary) == pytest.approx([4e6 * 1448 / 1500] * 2, rel=0.02)
    assert [one.name for one in summary.nodes["r"].dummynet] == [
        f"r pipe 1 4-0-{0x0A000001 + (n << 8)}-0-0-0" for n in (1, 2)
    ]


@pytest.mark.parametrize("sched", ["wf2q+", "rr"])
def test_queues_share_by_weight_under_tcp(sched: str) -> None:
    summary = run(
        "ipfw pipe 1 config bw 8Mbit/s delay 10ms\n"
        f"ipfw sched 1 config pipe 1 type {sched}\n"
        "ipfw queue 1 config pipe 1 weight 1\n"
        "ipfw queue 2 config pipe 1 weight 3\n"
        "ipfw add queue 1 tcp from 10.0.1.1 to 10.0.9.1 out\n"
        "ipfw add queue 2 tcp from 10.0.2.1 to 10.0.9.1 out"
    )
    one, two = goodputs(summary)
    assert two / one == pytest.approx(3, rel=0.1)
    assert one + two == pytest.approx(8e6 * 1448 / 1500, rel=0.03)
    kinds = [one.kind for one in summary.nodes["r"].dummynet]
    assert kinds == ["pipe", "sched", "queue", "queue"]


def test_pipes_in_a_row_with_one_pass_off() -> None:
    summary = run(
        "sysctl net.inet.ip.fw.one_pass=0\n"
        "ipfw pipe 1 config bw 8Mbit/s\n"
        "ipfw pipe 2 config bw 2Mbit/s\n"
        "ipfw add pipe 1 tcp from any to 10.0.9.1 out\n"
        "ipfw add pipe 2 tcp from any to 10.0.9.1 out"
    )
    first, second = summary.nodes["r"].dummynet
    assert sum(goodputs(summary)) == pytest.approx(2e6 * 1448 / 1500, rel=0.03)
    # What came out of the first one went into the second one, whose queue has 50 places.
    assert 0 <= first.packets - second.packets - sum(second.drops.values()) <= 51


def test_a_profile_is_a_file_of_the_host() -> None:
    commands = "ipfw pipe 1 config bw 8Mbit/s profile slow.txt\nipfw add pipe 1 tcp from any to 10.0.9.1 out"
    text = ROUTER.format(commands=commands, seconds=5).replace(
        "default_to_accept = true",
        "default_to_accept = true\nfiles = { \"slow.txt\" = '''\nname slow\nprob delay\n0 10\n1 10\n''' }",
    )
    summary = simulate(build(loads(text)))
    # 1.5 ms for the packet and 10 ms beyond it.
    assert sum(goodputs(summary)) == pytest.approx(1448 * 8 / 0.0115, rel=0.05)


def test_the_table_shows_them() -> None:
    summary = run("ipfw pipe 1 config bw 4Mbit/s\nipfw add pipe 1 tcp from any to any out", 2).as_dict()
    table = dummynet_table(summary)
    assert table.row_count == 1
    assert "Pipes of dummynet" in [one.title for one in tables(summary)]


# --- Disciplines of links ------------------------------------------------------------------------

LINK = """
title = "A bottleneck with a discipline"
seed = 1
duration = "15s"
[defaults.tcp]
congestion = "reno"
[hosts.a]
interfaces = {{ e = "10.0.0.1/24" }}
[hosts.b]
interfaces = {{ e = "10.0.0.2/24" }}
[[links]]
name = "bottleneck"
ends = ["a:e", "b:e"]
rate = "10Mbps"
delay = "20ms"
queue = 500
qdisc = {qdisc}
[[flows]]
client = "a"
server = "b"
[[flows]]
client = "a"
server = "b"
[[flows]]
client = "a"
server = "b"
[[flows]]
client = "a"
server = "b"
[[flows]]
name = "ask"
client = "a"
server = "b"
app = "request-response"
port = 7
start = "2s"
response = "100B"
every = "50ms"
"""


def observe(qdisc: str) -> tuple[Summary, float]:
    """Return the summary, and the mean delay of the queue in ms after 5 s."""
    simulation: Simulation = build(loads(LINK.format(qdisc=qdisc)))
    pipe: Pipe = simulation.topology.links["bottleneck"].forward
    loop = simulation.env.loop
    delays: list[float] = []
    for at in range(5 * SECOND, 15 * SECOND, 10 * MS):
        loop.schedule(at, lambda: delays.append(pipe.queue_bytes(loop.now) * 8 / 10e6 * 1e3))
    summary = simulate(simulation)
    assert summary.intact
    # Four flows fill the link, whatever keeps the queue short.
    assert sum(goodputs(summary)[:4]) > 0.92 * 10e6 * 1448 / 1500
    return summary, mean(delays)


@pytest.mark.parametrize(
    "qdisc", ['"pie"', '{ name = "pie", dre = true }', '{ name = "pie", target = "30ms" }']
)
def test_pie_holds_the_delay_of_tcp_at_its_target(qdisc: str) -> None:
    """RFC 8033 section 4: the average delay is that of the target."""
    target = 30 if "30ms" in qdisc else 15
    assert observe(qdisc)[1] == pytest.approx(target, rel=0.25)


def test_without_it_the_queue_is_full() -> None:
    assert observe('"droptail"')[1] > 400


@pytest.mark.parametrize("qdisc", ["fq_codel", "fq_pie"])
def test_flow_queueing_gives_requests_the_delay_of_an_empty_link(qdisc: str) -> None:
    summary, delay = observe(f'"{qdisc}"')
    assert delay < 40
    asked = summary.flows[4].latency_ms
    assert asked is not None
    # 40 ms is the round trip; a packet of another flow takes 1.2 ms.
    assert asked["mean"] < 42
    assert asked["max"] < 45
    four = goodputs(summary)[:4]
    assert max(four) / min(four) < 1.15
