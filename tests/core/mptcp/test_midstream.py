"""Options of MPTCP that vanish and come back while data is under way (RFC 8684 section 3.7).

Whatever the two ends make of it, a fallback, a reset or nothing: what arrives is a prefix of what was
written, and the end of the stream is seen at its end only. The loss of packets decides who learns what
in time, so it is part of the examples.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import SYN, Packet, Segment
from mptcpsim.plugins import OpenSubflow, Withdraw
from mptcpsim.units import SECOND
from tests import profiles
from tests.core.mptcp.hooks import without_mptcp
from tests.core.mptcp.pair import C1, C2, MS, S1, MptcpPair
from tests.core.mptcp.plan import Plan, mptcp

WAYS = ("c>s", "s>c")
#: The instant at which the path changes, ms; round trips are 20 ms, time-outs 200 ms.
BREAK = 1_000
#: Most happens around it.
TIMES = st.one_of(st.integers(BREAK - 30, BREAK + 60), st.integers(0, 60), st.integers(0, BREAK + 1_000))
LENGTHS = st.sampled_from((5, 20, 60, 300, 100_000, 100_000))
#: A way, when it begins and how long it lasts, and whether it concerns data, ACKs or both.
SPELL = st.tuples(st.sampled_from(WAYS), TIMES, LENGTHS, st.sampled_from(("data", "ACKs", "all", "all")))
SPELLS = st.lists(SPELL, max_size=4)
#: Who does it, when, and how many bytes are written; 0 closes, -1 withdraws the address of the first subflow.
ACTION = st.tuples(st.integers(0, 1), TIMES, st.sampled_from((0, 0, -1, 1, 500, 3_000, 20_000)))
ACTIONS = st.lists(ACTION, min_size=2, max_size=8)


def concerns(spells: list[Any], way: str, segment: Segment, now: int) -> bool:
    """Return whether a spell holds for a segment."""
    kinds = ("all", "data" if segment.length else "ACKs")
    return any(
        way == one and start * MS <= now < (start + length) * MS and kind in kinds
        for one, start, length, kind in spells
    )


@profiles.examples(300)
@given(
    stripped=SPELLS,
    lost=SPELLS,
    actions=ACTIONS,
    checksum=st.booleans(),
    version=st.sampled_from((1, 1, 0)),
    joins=st.sampled_from((False, False, True)),
    heals=st.booleans(),
)
def test_nothing_is_delivered_that_was_not_written_there(
    stripped: list[Any],
    lost: list[Any],
    actions: list[tuple[int, int, int]],
    checksum: bool,
    version: int,
    joins: bool,
    heals: bool,
) -> None:
    def hook(way: str, packet: Packet, now: int) -> list[Packet]:
        if not isinstance(packet, Segment) or packet.flags & SYN or C1 not in packet.flow:
            return [packet]
        if now < 4 * SECOND and concerns(lost, way, packet, now):
            return []
        away = concerns(stripped, way, packet, now) and (now < 4 * SECOND or not heals)
        return [without_mptcp(packet) if away else packet]

    plan = Plan(established=[OpenSubflow(C2, S1, 5001)]) if joins else Plan()
    config: dict[str, Any] = {"versions": (version,), "checksum": checksum}
    pair = MptcpPair(mptcp(plan, **config), mptcp(**config), client_addresses=(C1, C2), hook=hook)
    client = pair.connect()
    actions = sorted(actions, key=lambda action: action[1])
    ends: list[Any] = [client, None]

    def check() -> None:
        if ends[1] is None and pair.server.connections:
            ends[1] = pair.server.connections[0]
        for end in ends:
            if end is not None:
                end.eager = True
                end.read(end.readable, pair.now)
        for end, other in (ends, ends[::-1]):
            if end is None or other is None:
                continue
            assert end.delivered <= other.written
            if end.peer_closed:
                assert other.closing
                assert end.delivered == other.written

    def advance(until: int) -> None:
        while pair.next_event() <= until:
            pair.step()
            check()
        pair.now = until

    for number, when, count in actions:
        advance(max(when * MS, pair.now))
        end = ends[number]
        if end is None or not end.established or end.closing or end.error:
            continue
        if count < 0:
            if not end.is_plain:
                end.act([Withdraw(C1 if number == 0 else S1)], pair.now)
        elif count:
            end.write(count, pair.now)
        else:
            end.close(pair.now)
        pair.pump()
        check()
    advance(6 * SECOND)
    for end in ends:
        if end is not None and not end.error:
            end.close(pair.now)
    pair.pump()
    advance(2_000 * SECOND)
    for end in ends:
        assert end is None or end.closed or end.error or any(other.error for other in ends if other)
    if not stripped and all(count >= 0 for _, _, count in actions):
        # What is only lost arrives in the end.
        assert [end.error for end in ends] == ["", ""]
        assert client.delivered == ends[1].written
        assert ends[1].delivered == client.written
