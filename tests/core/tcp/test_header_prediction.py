"""The short path for the expected segment changes nothing: the ordered steps are its oracle.

A drawn run (losses, reordering, duplicates, CE marks, both ends writing, readers that pause) is
made twice, with ``header_prediction`` on and off: every segment on the wire must be the same, at
the same instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import CE, ECT0, Packet, Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script
from tests.profiles import examples

MS = MILLISECOND

#: What may happen to a packet: the extra delays of its copies, ms; no copy is a loss.
FATES = {
    "pass": (0,),
    "lose": (),
    "late": (7,),
    "later": (60,),
    "twice": (0, 3),
    "mark": (0,),
}


def transfer(config: TcpConfig, drawn: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Make the drawn run and return every segment sent as (time, direction, text)."""
    fates: list[str] = drawn["fates"]
    index = 0

    def hook(_: str, packet: Packet, __: int) -> list[tuple[int, Packet]]:
        nonlocal index
        fate = fates[index] if index < len(fates) else "pass"
        index += 1
        results = []
        for extra in FATES[fate]:
            copy = packet.clone()
            if fate == "mark" and copy.ecn == ECT0:
                copy.ecn = CE
            results.append((extra * MS, copy))
        return results

    pair = Pair(config, config, delay=10 * MS, hook=hook)
    client, server = pair.establish()
    begin = pair.now
    server.eager = drawn["eager"]

    def act(end: Connection, what: str, count: int) -> Callable[[], None]:
        def action() -> None:
            if what == "write" and not end.closing and not end.error:
                end.write(count, pair.now)
            elif what == "read" and not end.eager:
                end.read(count, pair.now)
            elif what == "close":
                end.close(pair.now)

        return action

    def wake(end: Connection) -> Callable[[], None]:
        def action() -> None:
            end.eager = True
            end.read(end.readable, pair.now)

        return action

    for at, who, what, count in drawn["actions"]:
        pair.at(begin + at * MS, act(client if who else server, what, count))
    for end in (client, server):
        pair.at(begin + 3 * SECOND, wake(end))
        pair.at(begin + 8 * SECOND, act(end, "close", 0))
    pair.run(begin + 300 * SECOND)
    assert (client.delivered, server.delivered) == (server.written, client.written)
    return [
        (when, way, f"{packet!r} {packet.size} {packet.ecn} {packet.flags}")
        for when, way, packet in pair.wire
        if isinstance(packet, Segment)
    ]


CONFIGS = st.fixed_dictionaries(
    {
        "sack": st.booleans(),
        "rack_tlp": st.booleans(),
        "timestamps": st.booleans(),
        "ecn": st.booleans(),
        "nagle": st.booleans(),
        "ack_every": st.sampled_from((1, 2, 3)),
        "congestion": st.sampled_from(("reno", "cubic")),
        "receive_buffer": st.sampled_from((2_000, 5_000, 70_000, 1_000_000)),
        "zero_window_probe": st.sampled_from(("byte", "empty")),
        "mss": st.sampled_from((0, 200)),
    }
)

ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 2_500),
        st.booleans(),
        st.sampled_from(("write", "write", "write", "read", "close")),
        st.sampled_from((1, 100, 1_500, 8_000, 60_000)),
    ),
    min_size=1,
    max_size=12,
)

DRAWN = st.fixed_dictionaries(
    {
        "fates": st.lists(
            st.sampled_from(["pass"] * 6 + sorted(FATES)),
            max_size=80,
        ),
        "actions": ACTIONS,
        "eager": st.booleans(),
    }
)


@examples(300)
@given(values=CONFIGS, drawn=DRAWN)
@example(
    # The FIN overtakes the last data.
    values={"congestion": "reno"},
    drawn={
        "fates": ["pass"] * 3 + ["later"],
        "actions": [(0, True, "write", 1_000), (0, True, "close", 0)],
        "eager": True,
    },
)
def test_same_run_without_it(values: dict[str, Any], drawn: dict[str, Any]) -> None:
    config = TcpConfig(**values)
    with_it = transfer(config, drawn)
    without = transfer(replace(config, header_prediction=False), drawn)
    assert with_it == without


def both(steps: Callable[[Script], None], **config: Any) -> None:
    """Take the same steps with and without the short path and compare what is sent."""
    runs = []
    for prediction in (True, False):
        script = Script.accepted(TcpConfig(header_prediction=prediction, **config))
        steps(script)
        runs.append([(when, f"{segment!r}") for when, segment in script.sent])
    assert runs[0] == runs[1]


def test_fin_that_came_before_the_data() -> None:
    def steps(script: Script) -> None:
        script.inject("FA", seq=1001)
        script.seq = 1
        script.inject(length=1000)
        script.elapse(1000)
        assert script.state == "CLOSE-WAIT"

    both(steps)


def test_old_window_after_an_ack_from_the_future() -> None:
    """RFC 9293 section 3.10.7.4: SND.WL1 keeps a window that an older segment carries from being taken."""

    def steps(script: Script) -> None:
        script.write(100_000)
        script.fresh()
        script.inject("A", seq=2001, ack=1449, window=30_000)
        script.inject("A", seq=1, ack=2897, window=60_000)
        assert script.tcp.sender.wnd_end == 1449 + 30_000

    both(steps)


def test_data_during_recovery() -> None:
    def steps(script: Script) -> None:
        script.write(30_000)
        script.fresh()
        for block in range(3):
            script.inject("A", ack=1, sack=((1449, 2897 + 1448 * block),))
        for _ in range(5):
            script.inject("A", ack=1, length=1000)
        script.elapse(3000)

    both(steps)


def test_data_while_the_window_is_probed() -> None:
    """Data of the peer shows that it lives: probing goes on."""

    def steps(script: Script) -> None:
        script.write(10)
        script.fresh()
        script.inject("A", ack=11, window=0)
        script.write(10)
        for _ in range(20):
            script.elapse(700)
            script.inject("A", ack=11, window=0, length=10)
        assert script.state == "ESTABLISHED"

    both(steps, data_retries=2, persist_max=SECOND)
