"""Closed windows, tests Z1 and Z3 to Z11: what each profile does when the reader pauses."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.profiles import PROFILES, TABLE
from mptcpsim.core.mptcp_options import Dss
from mptcpsim.core.segment import ACK, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp.states import CLOSED
from mptcpsim.units import NEVER, SECOND
from tests.captures import connection, frames_of
from tests.core.mptcp.pair import C1, C2, MS, S1, counted, transfer
from tests.core.mptcp.zero_window import BUFFER, Closed, closed, kind, window_updates
from tests.core.tcp.pair import Pair

#: The minimum RTO with which timers come to those of the kernel: 200 ms, and what its timer wheel adds.
KERNEL_RTO = 212 * MS


def kinds_since(case: Closed, start: int) -> list[str]:
    """Return what was sent from an instant on, until the third segment of new data."""
    dsn = _data_ack(case, start)
    found: list[str] = []
    for when, way, packet in case.pair.wire:
        if when >= start and isinstance(packet, Segment):
            found.append(kind(way, packet, dsn))
            if found.count("data") == 1:
                return found
    return found


def _data_ack(case: Closed, start: int) -> int:
    for when, way, packet in case.pair.wire:
        if when >= start and way == "s>c" and isinstance(packet, Segment) and not packet.window:
            assert packet.dss is not None
            return packet.dss.data_ack
    raise AssertionError("the window was never closed")


def closed_at(case: Closed) -> int:
    """Return when the first segment with window 0 was sent."""
    return next(when for when, way, packet in case.pair.wire if way == "s>c" and not packet.window)


def probes_since(case: Closed, start: int) -> list[int]:
    """Return when segments without data were sent by the client."""
    return [
        when for when, way, packet in case.pair.wire if way == "c>s" and when > start and is_empty(packet)
    ]


def is_empty(packet: Packet) -> bool:
    return isinstance(packet, Segment) and not packet.length


def updates(case: Closed, start: int) -> list[tuple[int, str, int, int]]:
    """Return time, client's address, window and DATA_ACK of every ACK sent at once after a read."""
    return [
        (when, packet.flow.dst, packet.window, packet.dss.data_ack if packet.dss else -1)
        for when, way, packet in case.pair.wire
        if way == "s>c" and when == start and isinstance(packet, Segment) and packet.window
    ]


# --- Z1 -------------------------------------------------------------------------------------------


def test_z1_the_exchange_of_the_kernel() -> None:
    """Linux 6.18, one subflow, zerowin_single: the same kinds of packets in the same order."""
    trace = connection("zerowin_single")
    frames = [frame for frame in frames_of(trace) if 28 <= frame.number <= 36]
    server = frames[0].flow
    captured = []
    ack = next(option for option in frames[0].options if isinstance(option, Dss)).data_ack
    for frame in frames:
        way = "s>c" if frame.flow == server else "c>s"
        size = 40 + frame.length
        segment = Segment(
            frame.flow, size, SequenceMap(), ACK, 0, 0, frame.window, frame.length, UNKNOWN, UNKNOWN, None, 0
        )
        segment.dss = next((option for option in frame.options if isinstance(option, Dss)), None)
        if segment.dss is not None and segment.dss.dsn_octets == 8:
            segment.dss = segment.dss._replace(dsn=segment.dss.dsn & 0xFFFFFFFF)
        captured.append(kind(way, segment, ack & 0xFFFFFFFF))
    case = closed("linux-6.18", 1, tcp={"rto_min": KERNEL_RTO})
    case.wait(100 * MS)
    start = closed_at(case)
    # Frame 34 is 2.945 s after frame 28.
    case.pair.run(start + 2_945 * MS)
    case.server.eager = True
    case.read()
    case.wait(100 * MS)
    assert kinds_since(case, start) == captured
    assert captured == [
        *("zero window", "probe", "zero window", "probe", "probe", "zero window"),
        *("update", "data probe", "data"),
    ]
    assert counted(case.pair.client, "WinProbe") == (1,)
    assert counted(case.pair.server, "DuplicateData") == (1,)
    probes = [
        when - start for when, way, p in case.pair.wire if way == "c>s" and when > start and not p.length
    ]
    times = [frame.time_ns - frames[0].time_ns for frame in frames if frame.number in (29, 31, 32)]
    assert probes == pytest.approx(times, rel=0.05)


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.17-noprobe"])
def test_no_other_profile_probes_with_a_byte_of_the_connection(profile: str) -> None:
    case = closed(profile)
    case.wait(2 * SECOND)
    start = closed_at(case)
    case.read()
    case.wait(SECOND)
    assert "data probe" not in kinds_since(case, start)
    assert counted(case.pair.client, "WinProbe") == (0,)


def test_probes_back_off_from_one_rto() -> None:
    """RFC 9293 section 3.8.6.1: the first one after an RTO, then doubled."""
    case = closed("rfc8684", 1)
    case.wait(5 * SECOND)
    start = closed_at(case)
    rto = case.client.subflows[0].sender.rtt.rto
    probes = [
        when - start for when, way, p in case.pair.wire if way == "c>s" and when > start and not p.length
    ]
    delay = MS // 10
    # Half a round trip until it is known, and one for the answer to the last probe.
    assert probes == [rto * (2**n - 1) + delay for n in range(1, len(probes) + 1)]
    assert len(probes) == 4


# --- Z3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18", "linux-6.17-noprobe"])
def test_z3_an_update_on_every_subflow_in_the_same_instant(profile: str) -> None:
    case = closed(profile)
    case.wait(SECOND)
    start = case.read()
    sent = updates(case, start)
    assert [address for _, address, _, _ in sent] == [C1, C2]
    assert sent[0][2:] == sent[1][2:]


def test_z3_an_update_on_one_subflow_only() -> None:
    case = closed("caia-v0.4")
    case.wait(SECOND)
    start = case.read()
    assert len(updates(case, start)) == 1


def test_z3_reads_drive_the_subflows_by_turns() -> None:
    case = closed("caia-v0.4", buffer=64 * 1024, total=400_000)
    case.wait(SECOND)
    told = []
    for _ in range(20):
        told.append([address for _, address, _, _ in updates(case, case.read(16 * 1024))])
        case.wait(20 * MS)
    assert all(len(addresses) <= 1 for addresses in told)
    assert {address for addresses in told for address in addresses} == {C1, C2}


def test_z3_no_update_at_all() -> None:
    """With an RFC 6824 sender the receiver of v0.51 never closes a window; with another switch it would."""
    case = closed("rfc6824", window_update="none")
    case.wait(SECOND)
    start = case.read()
    assert updates(case, start) == []
    # The next probe finds out.
    assert 0 < case.arrives() < 2 * SECOND


# --- Z4 -------------------------------------------------------------------------------------------


def test_z4_without_probes_nothing_comes_to_know() -> None:
    """Linux before the probe was restored: no end sends anything any more."""
    deaf: list[bool] = []

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        return [] if deaf and direction == "s>c" else [packet]

    case = closed("linux-6.17-noprobe", hook=hook)
    case.wait(SECOND)
    deaf.append(True)
    case.read()
    deaf.clear()
    case.wait(300 * SECOND)
    assert case.server.delivered == BUFFER
    assert case.client.error == ""


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18"])
@pytest.mark.parametrize("pause", [1, 5, 20])
def test_z4_lost_everywhere(profile: str, pause: int) -> None:
    """The update is lost on every subflow: the next probe of any of them brings the news."""
    case = closed(profile, hook=window_updates(1))
    case.wait(pause * SECOND)
    case.read()
    due = min(subflow.sender.window_probe.at for subflow in case.client.subflows)
    assert due > case.pair.now
    waited = due - case.pair.now
    took = case.arrives()
    # The probe, its answer, the data, and what is left of a millisecond.
    assert waited < took <= waited + 2 * MS
    assert took <= 60 * SECOND
    case.server.read(1 << 30, case.pair.now)
    case.server.eager = True
    case.wait(2 * SECOND)
    assert case.server.delivered == 120_100


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18", "linux-6.17-noprobe"])
@pytest.mark.parametrize("lost", [C1, C2])
def test_z4_lost_on_one_of_two(profile: str, lost: str) -> None:
    delay = 10 * MS
    case = closed(profile, hook=window_updates(1, (lost,)), delay=delay)
    case.wait(5 * SECOND)
    case.read()
    assert case.arrives() == 2 * delay


# --- Z5 -------------------------------------------------------------------------------------------


def test_z5_v051_gives_up_after_sixteen_seconds() -> None:
    case = closed("caia-v0.51", server="rfc6824")
    case.wait(SECOND)
    start = closed_at(case)
    case.pair.run_until(lambda: case.client.error != "", 30 * SECOND)
    assert case.pair.now - start == pytest.approx(16 * SECOND, abs=SECOND)
    assert "timed out" in case.client.error or "nothing was acknowledged" in case.client.error
    assert all(subflow.state == CLOSED for subflow in case.client.subflows)


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "caia-v0.51"])
def test_z5_the_others_survive(profile: str) -> None:
    case = closed(profile)
    case.wait(20 * SECOND)
    case.read()
    case.server.eager = True
    case.wait(60 * SECOND)
    assert case.client.error == ""
    assert case.server.delivered == 120_100


# --- Z6, Z9 ---------------------------------------------------------------------------------------


def window_without_data_ack(direction: str, packet: Packet, now: int) -> list[Packet]:
    """Strip the DATA_ACK of every ACK of the server that opens a window."""
    if direction == "s>c" and isinstance(packet, Segment) and packet.window and packet.dss and now > SECOND:
        packet = packet.clone()
        packet.size -= 8
        packet.dss = None
    return [packet]


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18"])
def test_z6_an_update_without_data_ack_is_ignored(profile: str) -> None:
    """RFC 8684 section 3.3.5."""
    case = closed(profile, hook=window_without_data_ack)
    case.wait(SECOND)
    before = case.client.outbound.wnd_end
    case.read()
    case.wait(60 * SECOND)
    assert case.client.outbound.wnd_end == before
    assert case.server.delivered == BUFFER
    assert case.pair.client.counters["MptcpsimUpdateWithoutDataAck"] > 0
    # The subflows have heard it.
    assert all(subflow.sender.wnd_end > subflow.sender.nxt for subflow in case.client.subflows)


def test_z6_a_receiver_that_sends_such_updates() -> None:
    """The switch of the profile v0.51: its window updates and answers to probes say nothing."""
    case = closed("rfc6824", data_ack_on_updates=False)
    case.wait(SECOND)
    case.read()
    case.wait(10 * SECOND)
    assert case.server.delivered == BUFFER
    assert case.pair.client.counters["MptcpsimUpdateWithoutDataAck"] > 0


@pytest.mark.parametrize("profile", ["rfc8684", "linux-6.18"])
def test_z9_a_right_edge_that_shrinks_is_not_honoured(profile: str) -> None:
    def smaller(direction: str, packet: Packet, now: int) -> list[Any]:
        if direction == "s>c" and isinstance(packet, Segment) and packet.window > 3000 and packet.dss:
            shrunk = packet.clone()
            shrunk.window = packet.window // 2
            return [packet, (MS, shrunk)]
        return [packet]

    case = closed(profile, hook=smaller)
    edges = [case.client.outbound.wnd_end]
    case.server.eager = True
    case.server.read(1 << 30, case.pair.now)
    while case.pair.next_event() < NEVER and case.pair.now < 5 * SECOND:
        case.pair.step()
        edges.append(case.client.outbound.wnd_end)
    assert edges == sorted(edges)
    assert case.pair.client.counters["MptcpsimRightEdgeLeft"] > 0
    assert case.server.delivered == 120_100


# --- Z7, Z8 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18", "caia-v0.4"])
@pytest.mark.parametrize("subflows", [1, 2])
def test_z7_a_window_of_225_bytes(profile: str, subflows: int) -> None:
    """The sender's silly-window avoidance gives way after its override time (RFC 9293 3.8.6.2.1)."""
    case = closed(profile, subflows, buffer=225, tcp={"window_scaling": False}, total=2_000)
    last = case.pair.now
    case.server.eager = True
    case.server.read(1 << 30, last)
    while case.server.delivered < 2_100:
        took = case.arrives(6 * SECOND if profile == "caia-v0.4" else SECOND)
        assert took <= (6 * SECOND if profile == "caia-v0.4" else SECOND)


@pytest.mark.parametrize("profile", list(PROFILES))
@pytest.mark.parametrize("subflows", [1, 2])
def test_z8_time_goes_on_while_everything_is_closed(profile: str, subflows: int) -> None:
    server = "rfc6824" if profile == "caia-v0.51" else profile
    case = closed(profile, subflows, server=server)
    end = case.pair.now + 15 * SECOND
    at_once = events = 0
    most = 0
    while case.pair.next_event() <= end:
        before = case.pair.now
        case.pair.step()
        events += 1
        at_once = at_once + 1 if case.pair.now == before else 1
        most = max(most, at_once)
    case.pair.run(end)
    assert case.client.outbound.end > case.client.outbound.una
    assert most < 60
    assert events < 400


# --- Z10, Z11 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18", "linux-6.17-noprobe"])
@pytest.mark.parametrize("dead", [C1, C2])
def test_z10_a_subflow_dies_while_the_window_is_closed(profile: str, dead: str) -> None:
    case = closed(profile, delays={(C1, S1): 5 * MS, (C2, S1): 20 * MS})
    case.wait(SECOND)
    case.pair.cut(dead, case.pair.now)
    case.wait(SECOND)
    case.read()
    case.server.eager = True
    case.wait(30 * SECOND)
    assert case.server.delivered == case.server.consumed == 120_100
    assert case.client.error == ""


def test_z10_data_mapped_onto_the_dead_subflow_is_sent_on_the_other() -> None:
    """``caia-v0.4`` has data mapped onto the subflow that is reset while the window is closed."""
    case = closed("caia-v0.4")
    case.wait(SECOND)
    case.client.subflow_of(1).reset(0, "test", case.pair.now)
    case.pair.pump()
    case.wait(100 * MS)
    case.read()
    case.server.eager = True
    case.wait(60 * SECOND)
    assert case.server.delivered == 120_100
    assert case.client.error == ""


def test_z11_an_update_lost_on_path_0() -> None:
    """zerowin_multi_wu_lost_path0: resumption at once, on both subflows within a millisecond."""
    case = closed("linux-6.18", hook=window_updates(1, (C1,)), tcp={"rto_min": KERNEL_RTO})
    case.pair.run(closed_at_after(case) + 2_949 * MS)
    start = case.read()
    assert case.arrives() <= MS
    case.server.eager = True
    case.server.read(1 << 30, case.pair.now)
    case.wait(MS)
    carried = {p.flow.src for when, way, p in case.pair.wire if way == "c>s" and when > start and p.length}
    assert carried == {C1, C2}
    assert counted(case.pair.client, "WinProbe") == (2,)
    assert counted(case.pair.client, "SndWndShared")[0] >= 1


def test_z11_updates_lost_on_both() -> None:
    """zerowin_multi_wu_lost_both: the next probe; 476 ms after the read where the kernel's RTOs are equal."""
    case = closed("linux-6.18", hook=window_updates(1), tcp={"rto_min": KERNEL_RTO})
    # Frame 36 closes the window, the read comes 2.948 s later.
    case.pair.run(closed_at_after(case) + 2_948 * MS)
    case.read()
    assert case.arrives() == pytest.approx(476 * MS, rel=0.1)


def closed_at_after(case: Closed) -> int:
    """Wait until the window is closed, and return when that was."""
    case.wait(100 * MS)
    return closed_at(case)


# --- Counters and profiles ------------------------------------------------------------------------


def test_counters_of_shared_windows() -> None:
    case = closed("linux-6.18", hook=window_updates(1, (C1,)))
    case.wait(3 * SECOND)
    case.read()
    case.server.eager = True
    case.wait(SECOND)
    assert counted(case.pair.client, "SndWndShared")[0] > 0
    assert counted(case.pair.server, "RcvWndShared")[0] > 0


def test_one_subflow_shares_nothing() -> None:
    case = closed("rfc8684", 1)
    case.wait(3 * SECOND)
    case.read()
    case.server.eager = True
    case.wait(SECOND)
    assert counted(case.pair.server, "RcvWndShared") == (0,)


@pytest.mark.parametrize("name", list(TABLE))
def test_every_switch_says_where_it_is_known_from(name: str) -> None:
    for switch in TABLE[name]:
        assert getattr(PROFILES[name], switch.key) == switch.value
        source, _, detail = switch.known.partition(": ")
        assert source.split(" ")[0].rstrip(":") in ("measured", "read", "inferred")
        assert detail


def test_a_late_data_ack_is_repaired_by_the_connection() -> None:
    """``data_ack_lag``, as in zerowin_tiny_rcvbuf: frame 22 acknowledges data without a new DATA_ACK."""
    case = closed("linux-6.18", 1, buffer=20 * 1424, data_ack_lag=5 * MS)
    case.wait(SECOND)
    # The 100 bytes before were not worth an update: with them it is two segments.
    case.read(2 * 1424 - 100)
    case.wait(190 * MS)
    assert case.client.subflows[0].sender.una == case.client.subflows[0].sender.nxt
    assert case.client.outbound.una < case.client.outbound.nxt
    case.wait(2 * SECOND)
    assert case.client.outbound.una == case.client.outbound.nxt
    assert counted(case.pair.client, "MPTCPRetrans")[0] > 0
    assert case.server.inbound.duplicate_bytes > 0


# --- Autotuning -----------------------------------------------------------------------------------


def test_a_receive_buffer_that_grows() -> None:
    """With autotuning the buffer follows the rate, without it stays; a reader that takes less leaves it."""
    took = {}
    for grows in (False, True):
        config = TcpConfig(receive_buffer=65_536, receive_autotune=grows, receive_buffer_max=4 << 20)
        pair = Pair(TcpConfig(), config, delay=20 * MS)
        client, server = pair.establish()
        took[grows] = transfer(pair, client, server, 3_000_000)
        assert (server.receive_buffer > 300_000) == grows
    assert took[True] < took[False] / 2


def test_autotuning_under_mptcp() -> None:
    case = closed("rfc8684", buffer=65_536, delay=20 * MS, tcp={"receive_autotune": True}, total=3_000_000)
    case.server.eager = True
    case.read()
    case.wait(10 * SECOND)
    assert case.server.delivered == 3_000_100
    assert case.server.inbound.buffer == case.server.receive_buffer > 300_000
