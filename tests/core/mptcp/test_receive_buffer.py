"""The buffer that MPTCP needs: "How hard can it be?" (Raiciu et al., NSDI 2012, section 4.2 and figure 4).

WiFi (8 Mbit/s, 20 ms, a queue of 80 ms) beside 3G (2 Mbit/s, 150 ms, a queue of two seconds). What 3G carries
holds up a small window; opportunistic retransmission and penalisation keep MPTCP from being slower than
TCP over WiFi alone, which makes 7.7 Mbit/s.
"""

from __future__ import annotations

import pytest

from mptcpsim.core.mptcp_options import Dss
from mptcpsim.plugins import OpenSubflow
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import C2, MS, S1, MptcpPair
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import PORT

WIFI_ALONE = 7.7

SCENARIO = """
title = "WiFi and 3G"
seed = 1
duration = "{duration}s"
[defaults.mptcp]
profile = "rfc8684"
scheduler = {{ name = "minrtt", opportunistic = {acts}, penalise = {acts} }}
[defaults.tcp]
congestion = "reno"
send_buffer = "{send}B"
receive_buffer = "{receive}B"
[hosts.c]
interfaces = {{ e0 = "10.0.1.1/24", e1 = "10.0.2.1/24" }}
mptcp = {{ path_manager = {{ name = "endpoints", add_addr_accepted = 1 }} }}
[hosts.s]
interfaces = {{ e0 = "10.0.1.2/24", e1 = "10.0.2.2/24" }}
mptcp = {{ path_manager = {{ name = "endpoints", endpoints = "10.0.2.2 signal" }} }}
[[links]]
ends = ["c:e0", "s:e0"]
rate = "8Mbps"
delay = "10ms"
queue = "80kB"
[[links]]
ends = ["c:e1", "s:e1"]
rate = "2Mbps"
delay = "75ms"
queue = "500kB"
[[flows]]
client = "c"
server = "s"
"""


def goodput(send: int, receive: int, seconds: int, acts: bool = True) -> float:
    """Return the goodput with these buffers, Mbit/s.

    Args:
        send: bytes.
        receive: bytes.
        seconds: how long the transfer is watched.
        acts: with opportunistic retransmission and penalisation.
    """
    text = SCENARIO.format(duration=seconds, send=send, receive=receive, acts=str(acts).lower())
    simulation = build(loads(text))
    simulation.env.run(simulation.scenario.duration)
    receiver = simulation.flows[0].receiver
    assert receiver is not None
    return receiver.delivered * 8 / seconds / 1e6


@pytest.mark.parametrize("both", [False, True], ids=["receive", "send and receive"])
@pytest.mark.parametrize("buffer", [50_000, 77_777, 100_000, 150_001, 199_360, 200_000, 400_000])
def test_no_buffer_makes_it_slower_than_wifi_alone(buffer: int, both: bool) -> None:
    """Whether or not it is a whole number of segments, and whichever of the two buffers is the small one."""
    assert goodput(buffer if both else 4_000_000, buffer, 12) >= 0.95 * WIFI_ALONE


@pytest.mark.parametrize("both", [False, True], ids=["receive", "send and receive"])
@pytest.mark.parametrize("buffer", [600_000, 765_432, 1_000_000])
def test_from_600_kilobytes_on_both_links_are_in_use(buffer: int, both: bool) -> None:
    """9 to 9.5 Mbit/s; up to 0.1 of that may wait for its turn when the time is over."""
    assert 8.9 <= goodput(buffer if both else 4_000_000, buffer, 30) <= 9.5


def test_without_the_two_a_small_buffer_is_slower() -> None:
    """What they are for: the paper's "regular MPTCP"."""
    assert goodput(4_000_000, 200_000, 12, acts=False) < 0.8 * WIFI_ALONE


# --- When the connection counts as blocked -------------------------------------------------------


def blocked_pair(send_buffer: int = 4_000_000, receive_buffer: int = 4_000_000) -> MptcpPair:
    """Return two paths, of 10 and of 300 ms; the slow one is chosen only when the fast one is full."""
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)])
    tcp = {"send_buffer": send_buffer, "receive_buffer": receive_buffer, "congestion": "reno", "nagle": False}
    config = mptcp(plan, tcp=tcp)
    server = mptcp(tcp=tcp)
    return MptcpPair(config, server, client_addresses=("10.0.1.1", C2), delays={(C2, S1): 300 * MS})


@pytest.mark.parametrize(
    ("send_buffer", "receive_buffer"),
    [(4_000_000, 20 * 1_424), (4_000_000, 30_000), (30_000, 30_000), (30_000, 4_000_000)],
    ids=["whole segments", "a rest of the window", "all of both buffers", "the send buffer"],
)
def test_the_oldest_data_is_sent_again_on_the_fast_path(send_buffer: int, receive_buffer: int) -> None:
    """The first ten segments fill the fast path, the next ones go by the slow one and hold all up."""
    pair = blocked_pair(send_buffer, receive_buffer)
    client, server = pair.establish_subflows(2)
    server.eager = True
    pair.run(pair.now + 5 * SECOND)
    start = pair.now
    while pair.now < start + 290 * MS:
        client.write(1_000_000, pair.now)
        client.wants_write = True
        pair.run(pair.now + 10 * MS)
    sent = [s.segment for s in pair.sent(Dss, "c>s") if s.time >= start and s.segment.length]
    slow = [segment for segment in sent if segment.flow.src == C2]
    assert slow, "nothing went by the slow path"
    # Nothing of that can have arrived.
    assert client.subflow_of(0).reinjected_bytes > 0
    assert server.delivered >= slow[0].offset + slow[0].length


def test_who_has_nothing_more_to_write_is_not_blocked() -> None:
    """The end of a transfer is no reason to send it twice: no buffer is full."""
    pair = blocked_pair(30_000, 4_000_000)
    client, server = pair.establish_subflows(2)
    server.eager = True
    pair.run(pair.now + 5 * SECOND)
    client.write(25_000, pair.now)
    pair.run(pair.now + 290 * MS)
    assert client.outbound.una < client.outbound.nxt == client.outbound.end
    assert client.subflow_of(0).reinjected_bytes == 0
