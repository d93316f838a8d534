"""dummynet: queues and schedulers, and delay profiles."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from mptcpsim.core.segment import FourTuple
from mptcpsim.freebsd.lines import DialectError
from mptcpsim.units import MILLISECOND as MS
from mptcpsim.units import SECOND
from tests.freebsd.dummynet_site import FLOW, Site
from tests.profiles import examples


def flow(number: int) -> FourTuple:
    return FLOW._replace(src=f"10.0.0.{number}")


def shares(site: Site, since: int, until: int) -> dict[str, int]:
    """Return the packets of each source that came out in a time."""
    found: dict[str, int] = {}
    for now, out in site.out:
        if since <= now < until:
            found[out.src] = found.get(out.src, 0) + 1
    return found


# --- Weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sched", ["", "ipfw sched 1 config pipe 1 type wf2q+", "ipfw sched 1 config type rr"]
)
def test_queues_share_the_bandwidth_of_their_pipe_by_weight(sched: str) -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 3ms", *([sched] if sched else []))
    for number, weight in ((1, 10), (2, 30), (3, 60)):
        site.do(f"ipfw queue {number} config pipe 1 weight {weight} queue 100")
        for at in range(0, 500 * MS, 2 * MS):
            site.loop.schedule(
                at,
                lambda number=number: site.send(2, flow=flow(number), kind="queue", number=number),  # type: ignore[misc]
            )
    site.run()
    # A round of rr has 100 packets with these weights.
    found = shares(site, 103 * MS, 403 * MS)
    assert sum(found.values()) == 300
    assert [found[f"10.0.0.{number}"] for number in (1, 2, 3)] == pytest.approx([30, 90, 180], abs=1)


def test_flows_under_the_mask_of_a_queue_share_alike() -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s",
        "ipfw queue 1 config pipe 1 weight 7 queue 100 mask src-ip 0xffffffff",
    )
    for number in range(4):
        site.send(30 + 10 * number, flow=flow(number), kind="queue")
    site.run()
    # Until the first one runs out of packets each gets a quarter.
    found = shares(site, 0, 100 * MS)
    assert all(abs(count - 25) <= 2 for count in found.values())
    assert [report.flow[2] & 0xFF for report in site.dummynet.reports() if report.kind == "queue"] == [
        0,
        1,
        2,
        3,
    ]


def test_each_flow_has_a_queue_of_its_own() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s", "ipfw queue 1 config pipe 1 queue 5 mask src-ip 0xffffffff")
    site.send(60, flow=flow(1), kind="queue")
    site.send(3, flow=flow(2), kind="queue")
    site.run()
    assert len(site.times(flow(2))) == 3
    assert site.drops() == {"queue": 54}


def test_the_mask_of_a_scheduler_makes_links() -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s",
        "ipfw sched 1 config pipe 1 mask dst-ip 0xffffffff",
        "ipfw queue 1 config pipe 1 weight 1",
        "ipfw queue 2 config pipe 1 weight 3",
    )
    ends = ["10.0.1.1", "10.0.1.2"]
    for end in ends:
        for number in (1, 2):
            site.send(40, flow=flow(number)._replace(dst=end), kind="queue", number=number)
    site.run()
    for end in ends:
        out = [(now, found.src) for now, found in site.out if found.dst == end]
        # Each destination has the whole bandwidth, shared by weight.
        assert [now for now, _ in out] == [k * MS for k in range(1, 81)]
        assert sum(src == "10.0.0.2" for _, src in out[:40]) == pytest.approx(30, abs=2)
    scheds = [report for report in site.dummynet.reports() if report.kind == "sched"]
    assert [report.packets for report in scheds] == [80, 80]


def test_rules_to_a_pipe_and_to_its_queues_have_a_link_each() -> None:
    """As in FreeBSD: pipe N has a FIFO of its own beside scheduler N, with the same bandwidth."""
    site = Site("ipfw pipe 1 config bw 12Mbit/s", "ipfw queue 1 config pipe 1")
    site.send(2, flow=flow(1))
    site.send(2, flow=flow(2), kind="queue")
    site.run()
    assert site.times(flow(1)) == site.times(flow(2)) == [MS, 2 * MS]


def test_losses_and_disciplines_belong_to_a_queue() -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s plr 1.0",
        "ipfw queue 1 config pipe 1 plr 0.5",
        "ipfw queue 2 config pipe 1 red 1/1/2/1",
        "ipfw queue 3 config pipe 1 queue 2000bytes",
    )
    for number in (1, 2, 3):
        site.send(40, flow=flow(number), kind="queue", number=number)
    site.run()
    drops = {report.name: report.drops for report in site.dummynet.reports() if report.kind == "queue"}
    assert 8 <= drops["r1 queue 1"]["loss"] <= 32
    assert set(drops["r1 queue 2"]) == {"red"}
    assert drops["r1 queue 3"] == {"queue": 38}
    assert [report.drops for report in site.dummynet.reports() if report.kind == "sched"] == [{}]
    assert site.sent == len(site.out) + sum(site.drops().values())


@pytest.mark.parametrize("aqm", ["codel target 1ms interval 10ms", "pie target 1ms tupdate 1ms max_burst 0"])
def test_a_queue_has_codel_or_pie(aqm: str) -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s", f"ipfw queue 1 config pipe 1 queue 90 {aqm}")
    for at in range(0, SECOND, MS // 2):
        site.loop.schedule(at, lambda: site.send(1, kind="queue"))
    site.run()
    name = aqm.split()[0]
    assert site.drops()[name] > 100
    assert site.sent == len(site.out) + sum(site.drops().values())


# --- Schedulers with queues of their own ---------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["fq_codel quantum 300 limit 500 flows 64 target 5ms", "fq_pie limit 500 target 5ms ts noecn"]
)
def test_flow_queueing_keeps_a_sparse_flow_from_waiting(kind: str) -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s",
        f"ipfw sched 1 config pipe 1 type {kind}",
        "ipfw queue 1 config sched 1",
    )
    site.send(300, flow=flow(1), kind="queue")
    site.loop.schedule(50 * MS + 1, lambda: site.send(1, 100, flow=flow(2), kind="queue"))
    site.run()
    assert site.times(flow(2))[0] <= 52 * MS
    assert "limit 500" in site.do("ipfw sched show")


def test_a_fifo_scheduler_is_one_queue() -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s",
        "ipfw sched 1 config pipe 1 type fifo queue 4",
        "ipfw queue 1 config sched 1",
        "ipfw queue 2 config sched 1",
    )
    for number in (1, 2, 1, 2):
        site.send(2, flow=flow(number), kind="queue", number=number)
    site.run()
    assert [found.src[-1] for _, found in site.out] == ["1", "1", "2", "2", "1"]
    assert site.drops() == {"queue": 3}


# --- Order of commands, and changes --------------------------------------------------------------


def test_a_queue_may_come_before_its_pipe() -> None:
    site = Site("ipfw queue 1 config pipe 1")
    site.send(1, kind="queue")
    assert not site.dummynet.configured("queue", 1)
    site.do("ipfw pipe 1 config bw 12Mbit/s")
    site.send(1, kind="queue")
    assert site.run() == [MS]
    site.do("ipfw pipe delete 1")
    site.send(1, kind="queue")
    assert site.drops() == {"not-configured": 2}


def test_the_link_of_a_scheduler_follows_its_pipe() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s delay 5ms", "ipfw queue 1 config pipe 1")
    site.send(4, kind="queue")
    site.at(1_500_000, "ipfw pipe 1 config bw 6Mbit/s delay 5ms")
    assert site.run() == [6 * MS, 7 * MS, 9 * MS, 11 * MS]


@pytest.mark.parametrize("kind", ["wf2q+", "rr", "fifo queue 10", "fq_codel limit 10", "fq_pie limit 10"])
def test_a_scheduler_keeps_its_kind_whatever_becomes_of_its_pipe(kind: str) -> None:
    """It may come before its pipe, and the pipe may change: the queues and what waits in them stay."""
    queue = (
        "ipfw queue 1 config sched 1 queue 10" if kind in ("wf2q+", "rr") else "ipfw queue 1 config sched 1"
    )
    pipe, sched = "ipfw pipe 1 config bw 8Mbit/s", f"ipfw sched 1 config pipe 1 type {kind}"
    found = []
    for commands in (
        (pipe, sched, queue),
        (sched, pipe, queue),
        (sched, queue, pipe),
        (pipe, sched, queue, pipe),
    ):
        site = Site(*commands)
        site.send(5, kind="queue")
        site.do("ipfw pipe 1 config bw 4Mbit/s")
        site.send(20, kind="queue")
        found.append((site.run(), site.drops()))
        assert "reconfigured" not in site.drops()
        assert len(site.out) in (10, 11)
    assert found[1:] == found[:-1]


def test_another_weight_and_length_hold_with_packets_inside() -> None:
    site = Site("ipfw pipe 1 config bw 12Mbit/s")
    for number in (1, 2):
        site.do(f"ipfw queue {number} config pipe 1 queue 100")
        site.send(100, flow=flow(number), kind="queue", number=number)
    site.at(20 * MS + 1, "ipfw queue 2 config pipe 1 weight 3 queue 40")
    site.loop.schedule(21 * MS, lambda: site.send(1, kind="queue", number=2))
    site.run()
    assert shares(site, 0, 20 * MS)["10.0.0.2"] == pytest.approx(10, abs=1)
    found = shares(site, 23 * MS, 63 * MS)
    assert found["10.0.0.2"] == pytest.approx(30, abs=2)
    assert site.drops() == {"queue": 1}


@pytest.mark.parametrize(
    "change",
    [
        "ipfw queue 1 config pipe 1 mask all",
        "ipfw queue 1 config pipe 1 codel",
        "ipfw queue 1 config pipe 2",
        "ipfw sched 1 config pipe 1 type rr",
        "ipfw queue 1 delete",
        "ipfw pipe 1 delete",
        "ipfw pipe flush",
    ],
)
def test_a_change_of_kind_drops_what_waits(change: str) -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s delay 5ms",
        "ipfw pipe 2 config",
        "ipfw queue 1 config pipe 1",
    )
    site.send(4, kind="queue")
    site.at(1_500_000, change)
    times = site.run()
    assert times[0] == 6 * MS
    # The packet in service leaves unless its link is gone.
    assert len(times) + site.drops()["reconfigured"] == 4
    assert site.drops()["reconfigured"] >= 2
    site.do("ipfw pipe 1 config bw 12Mbit/s")
    site.do("ipfw queue 1 config pipe 1")
    site.send(1, kind="queue")
    site.run()
    assert len(site.out) == len(times) + 1


# --- Delay profiles ------------------------------------------------------------------------------

PROFILE = """
name wlan
samples 4
loss-level {level}
delay prob
0 0
10 1
"""


def with_profile(command: str, level: float = 1.0, text: str = PROFILE) -> Site:
    return Site(command, files={"wlan.txt": text.format(level=level)})


def test_a_profile_holds_the_link_for_the_delay_that_a_packet_draws() -> None:
    site = with_profile("ipfw pipe 1 config bw 12Mbit/s delay 3ms profile wlan.txt")
    site.send(40)
    times = [0, *(now - 3 * MS for now in site.run())]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # 0, 2.5, 5 or 7.5 ms beyond the millisecond of the packet itself; each packet waits for the one before.
    assert set(gaps) == {1 * MS, 3_500_000, 6 * MS, 8_500_000}


def test_samples_beyond_the_loss_level_are_lost_after_their_time_on_the_link() -> None:
    site = with_profile("ipfw pipe 1 config bw 12Mbit/s profile wlan.txt", level=0.5)
    for at in range(400):
        site.loop.schedule(at * 20 * MS, lambda: site.send(1))
    times = site.run()
    assert site.drops()["profile"] == pytest.approx(200, abs=30)
    assert len(times) == 400 - site.drops()["profile"]
    assert {now % (20 * MS) for now in times} == {1 * MS, 3_500_000}
    busy = with_profile("ipfw pipe 1 config bw 12Mbit/s profile wlan.txt", level=0.0)
    busy.send(10)
    busy.loop.run(SECOND)
    assert busy.drops() == {"profile": 10}
    assert busy.loop.executed >= 10


def test_a_profile_holds_for_the_queues_of_a_pipe_too() -> None:
    site = with_profile("ipfw pipe 1 config bw 12Mbit/s")
    site.do("ipfw queue 1 config pipe 1")
    site.do("ipfw pipe 1 config bw 12Mbit/s profile wlan.txt")
    site.send(20, kind="queue")
    assert site.run()[-1] > 40 * MS


def test_the_bandwidth_may_stand_in_the_profile() -> None:
    text = "name x\nbw 12Mbit/s\nprob delay\n0 5\n1 5\n"
    site = with_profile("ipfw pipe 1 config profile wlan.txt", text=text)
    site.send(2)
    assert site.run() == [6 * MS, 12 * MS]


# --- What is wrong with a command ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ipfw sched 1 config pipe 1 type qfq", "qfq is not simulated: write wf2q"),
        ("ipfw pipe 1 config bw 1Mbit/s type qfq", "qfq is not simulated"),
        ("ipfw sched 1 config pipe 1 queue 10", "queue has no effect on a scheduler of type wf2q"),
        ("ipfw queue 1 config sched 2 plr 0.1", "plr has no effect on a queue of sched 2, type fq_codel"),
        ("ipfw queue 1 config sched 2 weight 5", "weight has no effect"),
        ("ipfw queue 1 config pipe 1 pie target 0ms", "'target' is 0, outside its range"),
        ("ipfw queue 1 config pipe 1 queue 1000", "raise it first"),
        ("ipfw queue 3 delete", "no queue 3 to delete"),
        ("ipfw sched 7 delete", "no sched 7 to delete: configured are 2"),
        ("ipfw pipe 1 config bw 1Mbit/s profile other.txt", "other.txt: No such file"),
        ("ipfw pipe 1 config profile wlan.txt", "write bw"),
    ],
)
def test_errors_show_the_line(text: str, message: str) -> None:
    site = with_profile("ipfw sched 2 config type fq_codel")
    with pytest.raises(DialectError, match=message) as caught:
        site.do(text)
    assert text in str(caught.value)
    assert not site.dummynet.configured("queue", 1)


def test_a_bandwidth_is_said_once() -> None:
    text = "name x\nbw 12Mbit/s\nprob delay\n0 5\n1 5\n"
    with pytest.raises(DialectError, match="leave bw 1000000bit/s out"):
        with_profile("ipfw pipe 1 config bw 1Mbit/s profile wlan.txt", text=text)
    with pytest.raises(DialectError, match="line 1"):
        with_profile("ipfw pipe 1 config bw 1Mbit/s profile wlan.txt", text="nonsense here\n")
    with pytest.raises(DialectError, match="the host has no files"):
        Site("ipfw pipe 1 config bw 1Mbit/s profile wlan.txt")


# --- Showing -------------------------------------------------------------------------------------


def test_queues_and_schedulers_are_shown() -> None:
    site = Site(
        "ipfw pipe 1 config bw 12Mbit/s delay 5ms",
        "ipfw sched 1 config pipe 1 type rr mask dst-ip 0xffffffff",
        "ipfw queue 3 config pipe 1 weight 30 queue 10KB mask src-ip 0xff",
    )
    site.send(9, kind="queue", number=3)
    site.run()
    lines = site.do("ipfw queue show").splitlines()
    assert lines[0] == "q00003 10240 B 1 flows (1 buckets) sched 1 weight 30 droptail"
    assert lines[1] == "    mask src-ip 0xff"
    assert lines[3].split() == ["0", "ip", "0.0.0.1/0", "10.0.0.2/0", "8", "12000", "0", "0", "1"]
    lines = site.do("ipfw sched list").splitlines()
    assert lines[:3] == [
        "00001:  12.000 Mbit/s    5 ms burst 0",
        " sched 1 type rr",
        "    mask dst-ip 0xffffffff",
    ]


# --- All together --------------------------------------------------------------------------------

OBJECTS = [
    "pipe 1 config bw 800Mbit/s delay 1ms queue 3",
    "pipe 1 config bw 400Mbit/s queue 5 plr 0.3",
    "pipe 1 config bw 400Mbit/s mask src-ip 0xf",
    "pipe 1 config delay 1ms codel",
    "sched 1 config pipe 1 type rr",
    "sched 1 config type wf2q+ mask src-ip 0x1",
    "sched 1 config type fifo",
    "sched 1 config type fq_codel limit 5",
    "queue 1 config pipe 1 weight 3",
    "queue 1 config pipe 1 queue 2000bytes mask src-ip 0xff",
    "queue 2 config pipe 1 plr 0.1 red 0.5/1/3/0.1",
    "queue 2 config pipe 1",
    "pipe delete 1",
    "queue delete 1",
    "sched delete 1",
    "pipe flush",
]


@examples(150)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1_000, 15_000, 100_000, 2_000_000]),
            st.one_of(st.sampled_from(OBJECTS), st.integers(0, 11), st.integers(0, 11)),
        ),
        max_size=60,
    )
)
def test_every_packet_comes_out_or_is_counted_whatever_is_configured(
    steps: list[tuple[int, str | int]],
) -> None:
    site = Site()

    def step(what: str | int) -> None:
        if isinstance(what, str):
            try:
                site.do(f"ipfw {what}")
            except DialectError as error:
                event(error.problem[:30])
        else:
            kind, number = (("pipe", 1), ("queue", 1), ("queue", 2))[what % 3]
            site.send(3, flow=flow(what // 3), kind=kind, number=number)

    now = 0
    for gap, what in steps:
        now += gap
        site.loop.schedule(now, lambda what=what: step(what))  # type: ignore[misc]
    site.run()
    assert site.sent == len(site.out) + sum(site.drops().values())
    assert all(not report.waiting and not report.waiting_bytes for report in site.dummynet.reports())
