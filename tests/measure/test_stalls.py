"""Stalls: when they begin and end, and what explains them."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import connection_info
from mptcpsim.core.window_log import UPDATE
from mptcpsim.measure.drops import DropLog
from mptcpsim.measure.ends import End
from mptcpsim.measure.stall_causes import (
    ACKS_LOST,
    BACK_OFF,
    CAUSES,
    ELSEWHERE,
    HEAD_OF_LINE,
    LOST,
    NAGLE,
    NO_DATA_ACK,
    NO_SUBFLOW,
    NOT_SENT,
    STARVED,
    UNEXPLAINED,
    explain,
)
from mptcpsim.measure.stalls import SHORTEST, Explanation, gap_since, least_stall, quiet, waiting
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import C1, C2, MS, S1
from tests.core.mptcp.zero_window import Closed, closed, window_updates
from tests.core.tcp.pair import Pair


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the stacks of a pair note what happens to windows."""
    start = Pair.__init__

    def noting(self: Pair, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        self.client.logs_windows = self.server.logs_windows = True

    monkeypatch.setattr(Pair, "__init__", noting)


def ends(pair: Pair, client: Connection, server: Connection) -> tuple[End, End]:
    """Return both ends as they are now."""
    return End(client, pair.now), End(server, pair.now)


def why(case: Closed, wait: int = 500 * MS) -> Explanation:
    """Let some time pass and return why nothing arrives."""
    case.wait(wait)
    assert waiting(connection_info(case.client), connection_info(case.server))
    assert case.server.free >= case.server.least_free
    assert case.pair.now >= since(case) + quiet(End(case.client, case.pair.now))
    return tell(case)


def since(case: Closed) -> int:
    """Return since when something could have arrived, and nothing has, ns."""
    return gap_since(*ends(case.pair, case.client, case.server), case.server.delivered_at, 0)


def tell(case: Closed) -> Explanation:
    """Return why nothing arrives."""
    return explain(*ends(case.pair, case.client, case.server), since(case), DropLog())


# --- The definition -------------------------------------------------------------------------------


def test_a_full_buffer_is_no_stall() -> None:
    case = closed("rfc8684")
    case.wait(10 * SECOND)
    assert waiting(connection_info(case.client), connection_info(case.server))
    assert case.server.free < case.server.least_free


def test_room_counts_from_the_read_that_made_it() -> None:
    case = closed("rfc8684", hook=window_updates(1))
    case.wait(5 * SECOND)
    read = case.read()
    assert since(case) == read
    assert quiet(End(case.client, case.pair.now)) == SHORTEST


def test_a_long_round_trip_makes_a_long_threshold() -> None:
    case = closed("rfc8684", delay=300 * MS)
    case.wait(5 * SECOND)
    assert quiet(End(case.client, case.pair.now)) >= 1200 * MS


def test_the_application_is_heard_when_it_writes() -> None:
    """What the watch of a flow counts from: the instant of a write, and of the wait for room to write."""
    case = closed("rfc8684", total=1000)
    heard: list[tuple[int, bool]] = []
    case.client.on_write = lambda now, waits: heard.append((now, waits))
    case.wait(5 * SECOND)
    case.client.write(1000, case.pair.now)
    case.client.waits_to_write(True, case.pair.now)
    case.client.waits_to_write(True, case.pair.now + 1)
    assert heard == [(case.pair.now, False), (case.pair.now, True)]


def test_data_that_waits_for_its_turn_takes_no_room_of_what_is_missing() -> None:
    """A hole in front of a buffer that is full but for the hole: the next byte fits, the path is to blame."""
    dropped: list[int] = []

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        if isinstance(packet, Segment) and direction == "c>s" and packet.length and not dropped:
            dropped.append(packet.length)
        return [] if dropped and isinstance(packet, Segment) and packet.seq == 1 else [packet]

    pair = Pair(TcpConfig(), TcpConfig(receive_buffer=10 * 1448), hook=hook, delay=MS)
    client, server = pair.establish()
    client.write(60_000, pair.now)
    pair.run(pair.now + 200 * MS)
    assert dropped == [1448]
    assert server.subflows[0].receiver.out_of_order.total == 9 * 1448
    assert server.least_free == 1460
    assert waiting(connection_info(client), connection_info(server))
    assert server.free >= server.least_free


@pytest.mark.parametrize(("threshold", "least"), [(None, SECOND), (200 * MS, 200 * MS), (MS, 200 * MS)])
def test_a_short_gap_is_no_stall(threshold: int | None, least: int) -> None:
    case = closed("rfc8684")
    assert least_stall(End(case.client, case.pair.now), threshold) == least


def test_twice_a_time_out_is_no_stall() -> None:
    case = closed("rfc8684", tcp={"rto_min": 3 * SECOND})
    assert least_stall(End(case.client, case.pair.now), None) == 6 * SECOND


# --- The causes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("subflows", [1, 2])
@pytest.mark.parametrize("profile", ["rfc8684", "rfc6824", "linux-6.18"])
def test_window_update_lost(profile: str, subflows: int) -> None:
    case = closed(profile, subflows, hook=window_updates(1))
    case.wait(20 * SECOND)
    read = case.read()
    found = why(case)
    assert found.cause == LOST
    lost = [witness for witness in found.witnesses if "lost" in witness.what]
    assert len(lost) == subflows
    assert {(witness.time, witness.at_sender) for witness in lost} == {(read, False)}
    assert "never arrived" in found.words


def test_window_update_lost_under_plain_tcp() -> None:
    lose = False

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        return [] if lose and direction == "s>c" else [packet]

    pair = Pair(TcpConfig(), TcpConfig(receive_buffer=20_000), hook=hook, delay=MS)
    client, server = pair.establish()
    client.write(60_000, pair.now)
    pair.run(pair.now + 20 * SECOND)
    lose = True
    server.read(20_000, pair.now)
    pair.pump()
    lose = False
    pair.run(pair.now + 500 * MS)
    assert explain(*ends(pair, client, server), server.delivered_at, DropLog()).cause == LOST


def test_an_ack_that_was_on_its_way_is_not_the_update() -> None:
    """What arrives within a round trip of the update was sent before it."""
    case = closed("rfc8684", 1, hook=window_updates(1), delay=100 * MS)
    case.wait(20 * SECOND)
    answered = len(case.pair.wire)
    case.pair.run_until(lambda: any(way == "s>c" for _, way, _ in case.pair.wire[answered:]), 60 * SECOND)
    read = case.read()
    found = why(case, 450 * MS)
    assert case.client.subflows[0].last_heard > read
    assert found.cause == LOST


def test_an_update_on_its_way_is_not_lost() -> None:
    """The reads were too small for long enough; the update of the last one has not arrived yet."""
    case = closed(
        "rfc8684",
        1,
        window_update_rule="bsd",
        buffer=100_000,
        total=300_000,
        delay=100 * MS,
        persist_min=60 * SECOND,
    )
    case.wait(20 * SECOND)
    for _ in range(3):
        case.read(700)
        case.wait(50 * MS)
    case.wait(400 * MS)
    case.read(2000)
    found = why(case, 50 * MS)
    assert case.server.window_log.events[-1].what == UPDATE
    assert found.cause == NOT_SENT


@pytest.mark.parametrize("buffer", [10_000, 1 << 20])
@pytest.mark.parametrize("multipath", [False, True])
def test_the_acks_of_what_has_arrived_are_lost(multipath: bool, buffer: int) -> None:
    """Nobody has withheld anything, and no probe is due: the way back is dead."""
    lose = False

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        return [] if lose and direction == "s>c" else [packet]

    pair: Pair
    if multipath:
        case = closed("rfc8684", 1, hook=hook, buffer=buffer, total=10, delay=20 * MS)
        pair, client, server = case.pair, case.client, case.server
    else:
        pair = Pair(TcpConfig(), TcpConfig(receive_buffer=buffer), hook=hook, delay=20 * MS)
        client, server = pair.establish()
    server.eager = True
    server.read(1 << 30, pair.now)
    pair.run(pair.now + SECOND)
    heard = client.subflows[0].last_heard
    lose = True
    client.write(200_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert waiting(connection_info(client), connection_info(server))
    found = explain(*ends(pair, client, server), server.delivered_at, DropLog())
    assert found.cause == ACKS_LOST
    assert "time-out" in found.words
    if buffer == 10_000 or not multipath:
        assert f"nothing was heard since {heard / SECOND:.6f} s" in found.words


def test_acks_are_lost_and_no_time_out_has_come_yet() -> None:
    lose = False

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        return [] if lose and direction == "s>c" else [packet]

    slow = {"rto_min": 2 * SECOND, "rack_tlp": False}
    case = closed("rfc8684", 1, hook=hook, buffer=1 << 20, total=10, delay=20 * MS, tcp=slow)
    case.server.eager = True
    case.read()
    case.wait(SECOND)
    lose = True
    case.client.write(200_000, case.pair.now)
    found = why(case)
    assert found.cause == ACKS_LOST
    assert "has arrived, and no ACK of it" in found.words
    assert "the retransmission time-out is due at" in found.words
    assert not found.timeouts


def test_probes_of_a_window_that_was_closed_before_are_no_evidence() -> None:
    case = closed("rfc8684", 1, window_update="none")
    case.wait(10 * SECOND)
    case.read()
    case.arrives()
    case.wait(50 * MS)
    assert case.server.free < case.server.least_free
    case.read()
    found = tell(case)
    assert found.cause == BACK_OFF
    assert [witness.what for witness in found.witnesses] == ["window 0"]
    assert "after the window was found closed" in found.words


def test_update_on_another_subflow() -> None:
    """Mechanism M1: what is mapped onto the other subflow waits for its persist timer."""
    case = closed("caia-v0.4")
    case.wait(SECOND)
    read = case.read()
    found = why(case)
    assert found.cause == ELSEWHERE
    told = next(witness for witness in found.witnesses if witness.what == "window update")
    assert told.time == read
    waits = 1 - told.subflow
    assert f"waits on subflow {waits}" in found.words
    due = case.client.subflow_of(waits).tcp.sender.window_probe.at
    assert f"{due / SECOND:.3f} s" in found.words
    assert due - read > 2 * SECOND


def test_update_withheld() -> None:
    """FreeBSD's rule asks for two segments; the reader has read one and a half."""
    case = closed("rfc8684", 1, window_update_rule="bsd", buffer=100_000, total=300_000)
    case.wait(20 * SECOND)
    for _ in range(4):
        case.read(500)
        case.wait(50 * MS)
    found = why(case)
    assert found.cause == NOT_SENT
    assert "more are needed for a window update" in found.words


def test_persist_back_off() -> None:
    case = closed("rfc8684", window_update="none")
    case.wait(10 * SECOND)
    case.read()
    found = why(case)
    assert found.cause == BACK_OFF
    assert "next probe" in found.words


def test_no_subflow_schedulable() -> None:
    """v0.51: a window that opens wakes nobody, and subflows in persist get no data."""
    case = closed("caia-v0.51", 1, server="rfc6824")
    case.wait(2 * SECOND)
    case.read()
    found = why(case)
    assert found.cause == NO_SUBFLOW
    assert "nothing wakes the scheduler" in found.words


def test_both_subflows_of_v051_overrun_the_receiver() -> None:
    """It keeps to no window of the connection: what is beyond is acknowledged and not taken."""
    case = closed("caia-v0.51", server="rfc6824")
    case.wait(2 * SECOND)
    case.read()
    found = why(case)
    assert found.cause == HEAD_OF_LINE
    assert "not taken by the connection" in found.words
    assert case.pair.server.counters["MPTcpExtNoDSSInWindow"] > 0


def test_all_subflows_in_time_out() -> None:
    """Both paths are dead. Everything sent has arrived: nothing says that what goes again does not."""
    case = closed("rfc8684", buffer=1 << 20, total=2_000_000, delay=10 * MS)
    case.server.eager = True
    case.wait(100 * MS)
    case.pair.cut(C1, case.pair.now)
    case.pair.cut(C2, case.pair.now)
    found = why(case, 2 * SECOND)
    assert found.cause == ACKS_LOST
    assert found.words.count("retransmission time-outs in a row") == 2


def test_update_without_data_ack() -> None:
    case = closed("rfc6824", data_ack_on_updates=False)
    case.wait(2 * SECOND)
    case.read()
    found = why(case)
    assert found.cause == NO_DATA_ACK
    assert found.witnesses[-1].what == "update without DATA_ACK"


def test_head_of_line() -> None:
    case = closed("rfc8684", tcp={"rto_min": SECOND}, buffer=1 << 20, total=800_000, delay=10 * MS)
    case.server.eager = True
    case.wait(50 * MS)
    case.pair.cut(C2, case.pair.now)
    found = why(case, 900 * MS)
    assert found.cause == HEAD_OF_LINE
    assert "on subflow 1" in found.words
    assert found.witnesses[0].flow.src == C2


def test_send_buffer_starved() -> None:
    """What a dead subflow has not acknowledged stays in the buffer, though it was delivered."""
    tcp = {"send_buffer": 20_000, "rto_min": SECOND}
    case = closed("rfc8684", buffer=1 << 20, total=20_000, delays={(C1, S1): 50 * MS}, tcp=tcp)
    case.server.eager = True
    case.pair.cut(C2, case.pair.now)
    case.wait(10 * SECOND)
    assert case.server.delivered == case.client.written
    case.client.wants_write = True
    assert case.client.writable * 3 < case.client.send_buffer
    found = tell(case)
    assert found.cause == STARVED
    assert "on subflow 1" in found.words


LATE_ACKS: dict[str, Any] = {"delayed_ack": SECOND, "rto_min": 3 * SECOND, "rack_tlp": False}


@pytest.mark.parametrize("multipath", [False, True])
@pytest.mark.parametrize("nagle", [True, False])
def test_nagle(nagle: bool, multipath: bool) -> None:
    """A short segment waits for an ACK that is long in coming; without the algorithm it does not."""
    pair: Pair
    if multipath:
        case = closed("rfc8684", tcp={**LATE_ACKS, "nagle": nagle}, total=100)
        pair, client, server = case.pair, case.client, case.server
    else:
        pair = Pair(TcpConfig(**LATE_ACKS, nagle=nagle), TcpConfig(**LATE_ACKS))
        client, server = pair.establish()
    server.eager = True
    server.read(1 << 30, pair.now)
    client.write(100, pair.now)
    pair.run(pair.now + 100 * MS)
    client.write(100, pair.now)
    pair.run(pair.now + 500 * MS)
    assert waiting(connection_info(client), connection_info(server)) == nagle
    if nagle:
        found = explain(*ends(pair, client, server), server.delivered_at, DropLog())
        assert found.cause == NAGLE
        assert "Nagle" in found.words


@pytest.mark.parametrize("multipath", [False, True])
def test_nothing_known(multipath: bool) -> None:
    """A congestion window of one segment, and an ACK that is long in coming: none of the causes."""
    tcp = {**LATE_ACKS, "initial_window_segments": 1}
    pair: Pair
    if multipath:
        case = closed("rfc8684", 1, tcp=tcp, total=0)
        pair, client, server = case.pair, case.client, case.server
    else:
        pair = Pair(TcpConfig(**tcp), TcpConfig(**LATE_ACKS))
        client, server = pair.establish()
    server.eager = True
    server.read(1 << 30, pair.now)
    client.write(2 * 1460, pair.now)
    pair.run(pair.now + 500 * MS)
    assert waiting(connection_info(client), connection_info(server))
    found = explain(*ends(pair, client, server), server.delivered_at, DropLog())
    assert found.cause == UNEXPLAINED
    assert "congestion window" in found.words


def test_the_vocabulary() -> None:
    assert list(CAUSES) == [
        *("window update lost", "update sent on another subflow", "update withheld", "persist back-off"),
        *("no subflow schedulable", "update without DATA_ACK", "head-of-line", "loss recovery"),
        *("retransmission time-out", "acknowledgments lost", "path-MTU black hole", "dropped by a middlebox"),
        *("dropped by a node", "scheduler", "send buffer starved", "Nagle", "unknown"),
    ]


def test_witnesses_are_segments_that_were_sent() -> None:
    case = closed("caia-v0.4")
    case.wait(SECOND)
    case.read()
    for witness in why(case).witnesses:
        (found,) = (
            packet
            for when, _, packet in case.pair.wire
            if isinstance(packet, Segment)
            and when == witness.time
            and packet.flow == witness.flow
            and packet.sequences.wire_seq(packet.seq) == witness.seq
            and packet.length == witness.length
        )
        assert S1 in (found.flow.src, found.flow.dst)


def test_a_rest_of_a_window_that_is_not_worth_a_segment() -> None:
    """The sender's side of silly-window avoidance: it waits up to 200 ms for more."""
    case = closed("rfc8684", 1, buffer=10 * 1424 + 700, delay=70 * MS)
    case.wait(200 * MS)
    case.pair.run_until(lambda: case.client.outbound.override_at < 1 << 62, SECOND)
    case.wait(MS)
    found = tell(case)
    assert found.cause == NOT_SENT
    assert "silly-window" in found.words
