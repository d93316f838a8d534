"""The dummynet of a host: what the commands of ipfw do to packets that rules send through its pipes."""

from __future__ import annotations

import math

import pytest

from mptcpsim.freebsd.lines import NOWHERE, DialectError
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import SECOND
from tests.freebsd.dummynet_site import FLOW, Site

# --- Pipes ---------------------------------------------------------------------------------------


def test_a_burst_finds_51_places_in_a_queue_of_50() -> None:
    """validation 1.11: the packet in service does not count."""
    site = Site("ipfw pipe 1 config bw 10Mbit/s delay 20ms queue 50")
    site.send(60)
    assert site.run() == [k * 1_200_000 + 20 * MS for k in range(1, 52)]
    assert site.drops() == {"queue": 9}


def test_a_queue_in_bytes_refuses_what_arrives_when_it_is_beyond_its_limit() -> None:
    """validation 1.12."""
    site = Site("ipfw pipe 1 config bw 10Mbit/s delay 20ms queue 30KBytes")
    site.send(60)
    assert len(site.run()) == 22
    assert site.drops() == {"queue": 38}


def test_random_loss_comes_before_the_queue() -> None:
    """validation 1.13."""
    n, p = 20_000, 0.1
    site = Site(f"ipfw pipe 1 config bw 10Mbit/s queue 5 plr {p}")
    site.send(n)
    site.run()
    drops = site.drops()
    assert abs(drops["loss"] - n * p) < 3 * math.sqrt(n * p * (1 - p))
    assert drops["queue"] == n - drops["loss"] - 6


def test_losses_in_bursts_have_their_mean() -> None:
    """validation 1.14: (K r + H p) / (p + r)."""
    n, k, p, h, r = 40_000, 0.01, 0.02, 0.5, 0.2
    site = Site(f"ipfw pipe 1 config plr {k},{p},{h},{r}")
    site.send(n)
    site.run()
    mean = (k * r + h * p) / (p + r)
    # The states of successive packets are correlated: the variance grows by (2 - p - r) / (p + r) of theirs.
    states = p * r / (p + r) ** 2 * (h - k) ** 2
    sigma = math.sqrt((mean * (1 - mean) + states * 2 * (1 - p - r) / (p + r)) * n)
    assert abs(site.drops()["loss"] - n * mean) < 3 * sigma


def test_delays_are_rounded_up_to_ticks_where_that_is_wanted() -> None:
    site = Site("ipfw pipe 1 config delay 25ms", tick_ns=10 * MS)
    site.send(1)
    assert site.run() == [30 * MS]


def test_a_pipe_serves_both_directions_together() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s")
    site.send(2)
    site.send(2, flow=FLOW.reverse())
    site.run()
    assert site.times(FLOW) == [1 * MS, 2 * MS]
    assert site.times(FLOW.reverse()) == [3 * MS, 4 * MS]


def test_io_fast_lets_pass_what_a_tick_brings() -> None:
    site = Site()
    site.dummynet.set_sysctl(NOWHERE, "net.inet.ip.dummynet.io_fast", 1)
    site.do("ipfw pipe 1 config bw 12Mbit/s")
    site.loop.run(10 * MS)
    site.send(3)
    assert site.run() == [10 * MS, 11 * MS, 12 * MS]


def test_a_packet_without_a_pipe_is_dropped_and_a_rule_may_come_before_its_pipe() -> None:
    site = Site()
    handle = site.dummynet.queue("pipe", 1)
    assert not site.dummynet.configured("pipe", 1)
    site.send(3)
    site.do("ipfw pipe 1 config delay 1ms")
    assert site.dummynet.configured("pipe", 1)
    assert site.dummynet.queue("pipe", 1) is handle
    site.send(2)
    assert site.run() == [MS, MS]
    assert site.drops() == {"not-configured": 3}


# --- Masks ---------------------------------------------------------------------------------------


def test_a_masked_pipe_gives_each_flow_a_link_of_its_own() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s queue 2 mask dst-ip 0xffffffff")
    flows = [FLOW._replace(dst=f"10.0.1.{n}") for n in range(5)]
    for flow in flows:
        site.send(4, flow=flow)
    # Another source and other ports are the same flow under this mask.
    site.send(1, flow=flows[0]._replace(src="10.9.9.9", sport=7))
    site.run()
    assert all(site.times(flow) == [1 * MS, 2 * MS, 3 * MS] for flow in flows)
    reports = site.dummynet.reports()
    assert [report.flow[4] for report in reports] == [0x0A000100 + n for n in range(5)]
    assert [report.drops for report in reports] == [{"queue": 2}, *[{"queue": 1}] * 4]


def test_a_mask_of_some_bits_makes_flows_of_networks() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s mask src-ip 0x0000ff00 buckets 64")
    site.send(1, flow=FLOW)
    site.send(1, flow=FLOW._replace(src="10.7.0.200"))
    site.send(1, flow=FLOW._replace(src="10.0.1.1"))
    assert site.run() == [MS, MS, 2 * MS]


def test_each_flow_has_losses_of_its_own_whatever_the_others_do() -> None:
    """The random numbers of a flow do not depend on which flows came before it."""
    other = FLOW._replace(src="10.0.0.99")
    alone, behind = (Site("ipfw pipe 1 config delay 1ms plr 0.5 mask all") for _ in range(2))
    behind.send(100, flow=other)
    for site in (alone, behind):
        for number in range(100):
            site.loop.schedule(number, lambda site=site: site.send(1))  # type: ignore[misc]
        site.run()
    assert 20 < len(alone.out) < 80
    assert behind.times(FLOW) == alone.times(FLOW)


# --- Changes while packets are inside ------------------------------------------------------------


def test_another_bandwidth_holds_for_what_waits() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 5ms")
    site.send(4)
    site.at(1_500_000, "ipfw pipe 1 config bw 6Mbit/s delay 5ms")
    assert site.run() == [6 * MS, 7 * MS, 9 * MS, 11 * MS]
    assert site.drops() == {}


def test_what_is_not_said_again_has_its_default() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 5ms plr 1 queue 1")
    site.do("ipfw pipe 1 config bw 12Mbit/s")
    site.send(60)
    assert site.run() == [k * MS for k in range(1, 52)]


def test_another_loss_or_queue_length_holds_from_then_on() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s queue 9")
    site.send(5)
    site.do("ipfw pipe 1 config bw 12Mbit/s queue 3")
    site.send(1)
    site.run()
    assert site.drops() == {"queue": 1}
    site.do("ipfw pipe 1 config bw 12Mbit/s queue 3 plr 1.0")
    site.send(2)
    site.run()
    assert site.drops() == {"queue": 1, "loss": 2}


@pytest.mark.parametrize("change", ["mask all", "red 0.5/1/2/0.1", "codel", "queue 9 codel"])
def test_a_change_of_kind_drops_what_waits(change: str) -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 5ms")
    site.send(4)
    site.at(1_500_000, f"ipfw pipe 1 config bw 12Mbit/s delay 5ms {change}")
    site.loop.schedule(20 * MS, lambda: site.send(1))
    times = site.run()
    assert times[0] == 6 * MS
    assert len(times) == 2
    assert site.drops() == {"reconfigured": 3}


@pytest.mark.parametrize("change", ["queue 20KBytes", "queue 7", "burst 10", "plr 0"])
def test_another_length_or_burst_leaves_what_waits(change: str) -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 5ms")
    site.send(4)
    site.at(1_500_000, f"ipfw pipe 1 config bw 12Mbit/s delay 5ms {change}")
    assert site.run() == [6 * MS, 7 * MS, 8 * MS, 9 * MS]
    assert site.drops() == {}


def test_delete_drops_what_waits_and_lets_arrive_what_left() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 5ms", "ipfw pipe 2 config bw 12Mbit/s delay 5ms")
    site.send(4)
    site.send(4, number=2)
    site.at(2_500_000, "ipfw pipe 1 delete")
    site.loop.schedule(3 * MS, lambda: site.send(1))
    assert site.run() == [6 * MS, 6 * MS, 7 * MS, 7 * MS, 8 * MS, 9 * MS]
    assert site.drops() == {"reconfigured": 2, "not-configured": 1}
    site.do("ipfw pipe flush")
    assert not site.dummynet.configured("pipe", 2)
    assert sum(report.packets for report in site.dummynet.reports()) == 6


# --- What is wrong with a command ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ipfw pipe 1 config queue 200", "raise it first"),
        ("ipfw pipe 1 config queue 2000KBytes", "pipe_byte_limit"),
        ("ipfw pipe 1 config queue 1000bytes", "1500 at least"),
        ("ipfw pipe 1 config queue 0", "1 at least"),
        ("ipfw pipe 4 delete", "no pipe 4 to delete: configured are none"),
    ],
)
def test_errors_show_the_line(text: str, message: str) -> None:
    site = Site()
    with pytest.raises(DialectError, match=message) as caught:
        site.do(text)
    assert caught.value.line == 1
    assert text in str(caught.value)
    assert site.dummynet.reports() == []


def test_the_limits_are_sysctls() -> None:
    site = Site()
    site.dummynet.set_sysctl(NOWHERE, "net.inet.ip.dummynet.pipe_slot_limit", 500)
    site.do("ipfw pipe 1 config bw 1Mbit/s queue 500")
    site.send(600)
    site.run(SECOND)
    assert site.drops() == {"queue": 99}


# --- Showing -------------------------------------------------------------------------------------


def test_show_looks_like_ipfw() -> None:
    site = Site("ipfw pipe 1 config bw 8Mbit/s delay 10ms queue 3 plr 0.25 mask dst-ip 0xffffffff")
    site.do("ipfw pipe 2 config bw 512Kbit/s queue 30KBytes")
    site.do("ipfw pipe 3 config")
    site.send(1, number=2)
    for _ in range(2):
        site.send(8)
        site.run()
    lines = site.do("ipfw pipe show").splitlines()
    assert lines[0] == "00001:   8.000 Mbit/s   10 ms burst 0"
    assert lines[1] == "q00001 3 sl. plr 0.250000 1 flows (1 buckets) sched 1 weight 0 droptail"
    assert lines[2].strip() == "mask dst-ip 0xffffffff"
    assert lines[4].split()[:4] == ["0", "ip", "0.0.0.0/0", "10.0.0.2/0"]
    assert "00002: 512.000 Kbit/s    0 ms burst 0" in lines
    assert "q00002 30720 B 1 flows (1 buckets) sched 2 weight 0 droptail" in lines
    assert lines[-2] == "00003: unlimited    0 ms burst 0"
    assert site.do("ipfw pipe 3 show").splitlines() == lines[-2:]
