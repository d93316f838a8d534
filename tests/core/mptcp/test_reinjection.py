"""What a subflow leaves behind when it ends, and how the connection makes up for lost mappings.

RFC 8684 sections 3.3.1 and 3.3.6. A subflow may have acknowledged data that the connection has not:
the options were lost, or a mapping is not complete. Nobody asks for that data but the sender.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mptcpsim.core.mptcp.mappings import Mapping, SentMappings
from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.core.mptcp.reinjection import NO_ORIGIN, Reinjection, Repair, merged, unqueued
from mptcpsim.core.mptcp_options import REASON_UNSPECIFIED, Dss, MpFail
from mptcpsim.core.segment import Segment
from mptcpsim.plugins import OpenSubflow, Withdraw
from mptcpsim.units import NEVER, SECOND
from tests.core.mptcp.hooks import Seen, alter, strip_mptcp
from tests.core.mptcp.pair import C2, MS, S1, S2, MptcpPair, act, alive, host_loses, working
from tests.core.mptcp.plan import mptcp
from tests.core.mptcp.two_paths import joining
from tests.core.tcp.pair import PORT
from tests.middleboxes.boxes import Run, run

#: Between the instant when options begin to vanish and the end of the subflow: its ACKs are back,
#: and no timer of the connection is due (the RTO is 200 ms).
PATIENCE = 60 * MS


class Stripped:
    """Two subflows; from ``begin`` on nothing that the client sends by C2 keeps its options."""

    def __init__(self, version: int = 1, remote: str = S1, **fields: Any) -> None:
        self.since = NEVER
        fields.setdefault("scheduler", "roundrobin")
        self.pair = joining(
            version,
            join=OpenSubflow(C2, remote, PORT),
            hook=strip_mptcp(self.is_stripped),
            client=fields,
        )
        self.client, self.server = self.pair.establish_subflows(2)
        self.server.eager = True
        self.pair.run(self.pair.now + SECOND)

    def is_stripped(self, seen: Seen) -> bool:
        return seen.now >= self.since and seen.segment.flow.src == C2 and seen.segment.length > 0

    def write(self, count: int = 14_000) -> None:
        """Send data, half of it in vain, and wait for the ACKs."""
        self.since = self.pair.now
        before = self.client.outbound.una
        self.client.write(count, self.pair.now)
        self.pair.run(self.pair.now + PATIENCE)
        subflow = self.client.subflows[1]
        assert subflow.sender.una == subflow.sender.nxt > 1
        assert before <= self.client.outbound.una < self.client.outbound.nxt

    def arrives_within(self, span: int) -> None:
        """All arrives by itself, before a timer of the connection is due."""
        assert span <= 100 * MS
        self.pair.run(self.pair.now + span)
        assert self.server.delivered == self.client.written
        assert retransmissions(self.pair) == 0
        # Half of it, and not more, was sent twice: what the other subflow had was not.
        assert self.client.subflows[0].extension.reinjected_bytes <= 14_000


def retransmissions(pair: MptcpPair) -> int:
    """Return how often the client's connection, not a subflow of it, was in time-out."""
    return sum(event.what == "data retransmission" for event in pair.client.events)


def by_reset_of_server(one: Stripped) -> None:
    one.server.subflow_of(1).reset(REASON_UNSPECIFIED, "a test", one.pair.now)


def by_reset_of_client(one: Stripped) -> None:
    one.client.subflow_of(1).reset(REASON_UNSPECIFIED, "a test", one.pair.now)


def by_fin_of_client(one: Stripped) -> None:
    one.client.subflows[1].close(one.pair.now)


def by_fin_of_server(one: Stripped) -> None:
    one.server.subflows[1].close(one.pair.now)


def by_time_out(one: Stripped) -> None:
    one.client.subflows[1].give_up("timed out: data was not acknowledged", one.pair.now)


def by_lost_address(one: Stripped) -> None:
    host_loses(one.pair, one.pair.client, C2)


def by_withdrawal_of_client(one: Stripped) -> None:
    act(one.pair, one.client, Withdraw(C2))


def by_withdrawal_of_server(one: Stripped) -> None:
    act(one.pair, one.server, Withdraw(S2))


def by_reset_with_mp_fail(one: Stripped) -> None:
    one.server.subflow_of(1).reset_reason.on_fail(1)
    by_reset_of_server(one)


ENDS: list[Callable[[Stripped], None]] = [
    by_reset_of_server,
    by_reset_of_client,
    by_fin_of_client,
    by_fin_of_server,
    by_time_out,
    by_lost_address,
    by_withdrawal_of_client,
    by_withdrawal_of_server,
    by_reset_with_mp_fail,
]


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__[3:])
def test_what_a_subflow_has_acknowledged_in_vain_goes_out_when_it_ends(
    end: Callable[[Stripped], None], version: int
) -> None:
    """RFC 8684 section 3.3.6: at once on the others, and not a segment with each time-out."""
    one = Stripped(version, S2 if end is by_withdrawal_of_server else S1)
    one.write()
    end(one)
    one.pair.pump()
    one.arrives_within(80 * MS)
    assert len(working(one.client)) == 1


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_hands_over(profile: str) -> None:
    config = PROFILES[profile]
    fields: dict[str, Any] = {"scheduler": "roundrobin", "profile": profile}
    fields |= {"keep_until_acked": config.keep_until_acked, "wake_on_window": config.wake_on_window}
    fields |= {"map_ahead": config.map_ahead, "connection_window": config.connection_window}
    fields |= {"data_timeout": config.data_timeout, "data_probe": config.data_probe}
    one = Stripped(config.versions[0], **fields)
    one.write()
    by_reset_of_server(one)
    one.pair.pump()
    one.arrives_within(80 * MS)


def test_without_another_subflow_it_waits_for_the_next_join() -> None:
    one = Stripped()
    one.write()
    by_reset_of_server(one)
    one.client.subflows[0].abort(one.pair.now)
    one.pair.run(one.pair.now + 20 * MS)
    assert one.server.delivered < one.client.written
    act(one.pair, one.client, OpenSubflow("10.0.3.1", S1, PORT))
    one.pair.run(one.pair.now + 150 * MS)
    assert one.server.delivered == one.client.written


def test_parts_of_a_mapping_whose_checksum_fails_at_its_end() -> None:
    """Three segments of four are acknowledged when the last one shows the damage (section 3.7)."""
    damaged: list[Segment] = []

    def damages(seen: Seen) -> bool:
        if seen.segment.flow.src != C2 or not seen.segment.length or damaged or seen.now < SECOND:
            return False
        dss = seen.segment.dss
        assert dss is not None
        last = (dss.ssn + dss.data_level_length) & 0xFFFFFFFF == seen.segment.end & 0xFFFFFFFF
        if last and dss.data_level_length > seen.segment.length:
            damaged.append(seen.segment)
            return True
        return False

    def damage(segment: Segment) -> Segment:
        copy = segment.clone()
        copy.corrupt_payload = True
        return copy

    fields = {"checksum": True, "mapping_segments": 4, "scheduler": "roundrobin"}
    pair = joining(hook=alter(damages, damage), client=fields)
    client, server = pair.establish_subflows(2)
    server.eager = True
    pair.run(2 * SECOND)
    client.write(60_000, pair.now)
    pair.run(pair.now + 150 * MS)
    assert damaged
    assert len(pair.sent(MpFail, "s>c")) == 1
    assert len(alive(client)) == 1
    assert server.delivered == client.written
    assert retransmissions(pair) == 0


def test_a_data_fin_goes_out_again_when_its_subflow_ends() -> None:
    """It has a number of the connection like the data before it (section 3.3.3)."""
    pair = joining()
    client, server = pair.establish_subflows(2)
    server.eager = True
    pair.run(pair.now + SECOND)
    pair.cut("10.0.1.1", pair.now)
    start = pair.now
    client.close(pair.now)
    assert client.outbound.fin_sent
    client.subflows[0].finish("a test", pair.now)
    pair.run(pair.now + 50 * MS)
    assert server.peer_closed
    sent = [s for s in pair.sent(Dss, "c>s") if s.option.data_fin and s.time == start]
    assert [s.segment.flow.src for s in sent] == ["10.0.1.1", C2]


# --- A window of data without mapping ------------------------------------------------------------


def stripped(count: str, profile: str = "rfc8684", **buffers: str) -> Run:
    """Run a transfer over two paths, on one of which all options vanish after a second."""
    sizes = ", ".join(f'{key} = "{size}"' for key, size in buffers.items())
    ends = [
        f'mptcp = {{ profile = "{profile}", scheduler = "roundrobin", '
        f'path_manager = {{ name = "endpoints", {manager} }} }}\n'
        f"tcp = {{ {sizes} }}"
        for manager in ("add_addr_accepted = 1", 'endpoints = "10.0.2.2 signal"')
    ]
    return run(
        two='{ name = "strip", options = "mptcp", match = "non-syn", from = "1s" }',
        flow=f'bytes = "{count}"',
        a=ends[0],
        b=ends[1],
    )


@pytest.mark.parametrize("buffer", ["64KiB", "100kB", "128KiB", "200kB", "300kB", "777777B", "1MiB"])
def test_transfer_ends_whatever_the_receive_buffer(buffer: str) -> None:
    """What came out of order beside data without mapping counts, or the window is never full of that."""
    result = stripped("6MB", receive_buffer=buffer)
    assert "data without mapping" in result.flow.server.subflows[1].error
    assert result.delivered() == 6_000_000


@pytest.mark.parametrize(
    ("profile", "buffer"),
    # Each time-out of caia-v0.51 lasts 4 s: two small send buffers a time-out are all that it makes.
    [(profile, "300kB") for profile in PROFILES] + [(p, "50kB") for p in PROFILES if p != "caia-v0.51"],
)
def test_transfer_goes_on_where_the_subflow_does_not_end(profile: str, buffer: str) -> None:
    """The send buffer keeps the window from filling, or nobody judges: all of it goes out at a time-out."""
    result = stripped("3MB", profile, send_buffer=buffer)
    assert result.delivered() == 3_000_000


def test_repair_grows_with_each_answer() -> None:
    """One lost mapping costs a segment, many of them a few round trips."""
    repair = Repair()
    assert repair.end == NEVER
    repair.begin(1, 1_001, 64_001)
    pieces = [repair.follow(repair.end, 64_001, NO_ORIGIN) for _ in range(6)]
    assert [item.end - item.dsn for item in pieces] == [2_000, 4_000, 8_000, 16_000, 32_000, 1_000]
    assert pieces[-1].end == 64_001
    repair.stop()
    assert repair.end == NEVER


def test_one_lost_mapping_costs_one_segment() -> None:
    """The DATA_ACK of the segment passes over all that came behind it: nothing more is sent again."""
    lost: list[int] = []

    def first_of_path(seen: Seen) -> bool:
        if seen.segment.length and seen.now > SECOND and not lost:
            lost.append(seen.segment.length)
            return True
        return False

    # Where nothing is held without a mapping the subflow goes on behind it.
    pair = MptcpPair(mptcp(), mptcp(hold_unmapped=False), hook=strip_mptcp(first_of_path))
    client, server = pair.establish_subflows()
    server.eager = True
    pair.run(2 * SECOND)
    client.write(100_000, pair.now)
    pair.run(pair.now + SECOND)
    assert server.delivered == client.written
    assert retransmissions(pair) == 1
    assert client.subflow_of(0).reinjected_bytes <= 1_460


# --- The books -----------------------------------------------------------------------------------


def test_mappings_are_forgotten_at_both_levels() -> None:
    """What the connection has acknowledged is no longer kept, however long the transfer."""
    sent = SentMappings()
    for number in range(5_000):
        sent.append(Mapping(1 + 100 * number, 1 + 100 * number, 100, False))
        # Both ACKs come 50 mappings later, that of the connection after further 300.
        sent.acknowledge(1 + 100 * (number - 50), 1 + 100 * (number - 350))
        assert len(sent) == min(number + 1, 51)
        assert len(sent.undelivered()) == min(number + 1, 351)
        assert sent.carries(1 + 100 * number)
        assert not sent.carries(1 + 100 * (number - 51))
        assert sent.has_left(1 + 100 * (number - 51)) == (number >= 51)
    assert len(sent._mappings) <= 351 + 351 + 256


def test_what_was_queued_once_is_not_queued_again() -> None:
    mappings = [Mapping(1, 1, 100, False), Mapping(101, 101, 100, False), Mapping(201, 401, 100, False)]
    assert unqueued(mappings, 51, 3) == [(51, 201, 3), (401, 501, 3)]
    assert unqueued(mappings, 51, NO_ORIGIN) == []
    assert list(merged([Reinjection(1, 11, 0), Reinjection(5, 21, 0)])) == [(1, 11, 0), (11, 21, 0)]


def test_a_small_window_takes_what_its_subflow_may_carry() -> None:
    """Neither what is acknowledged nor what the subflow itself has sent holds up what comes behind."""
    pair = joining()
    client, _ = pair.establish_subflows(2)
    client.write(3_000, pair.now)
    out = client.outbound
    una = out.una
    assert out.nxt >= una + 2_000
    queued = [
        Reinjection(1, una, NO_ORIGIN),
        Reinjection(una, una + 1_000, 1),
        Reinjection(una + 500, una + 1_000, NO_ORIGIN),
    ]
    for number, items, dsn in [(1, queued, una + 500), (0, queued, una), (1, queued[:2], None)]:
        subflow = client.subflow_of(number)
        out.reinjections.stop()
        out.reinjections.add(items)
        assert out.reinjections.resend_first(subflow, 100, pair.now) == (0 if dsn is None else 100)
        if dsn is not None:
            last = subflow.mappings.outstanding()[-1]
            assert (last.dsn, last.length) == (dsn, 100)
