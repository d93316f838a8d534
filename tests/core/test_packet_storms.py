"""Two ends never answer each other's answers for ever: MP_FAIL, and its relatives.

Such a pair is "an answer to every X" at one end and "X in every answer" at the other. The ends here
are one of ours and what a Linux kernel does, or two of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from mptcpsim.codec.options import wire_length
from mptcpsim.core.mptcp.dss_checksum import dss_checksum
from mptcpsim.core.mptcp.keys import add_addr_hmac
from mptcpsim.core.mptcp_options import AddAddr, Dss, MpFail, MpJoinAck, MptcpOption, MpTcprst, RemoveAddr
from mptcpsim.core.payload import pattern
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import MICROSECOND, MINUTE, NEVER, SECOND
from tests.core.mptcp.pair import C2, MS, MptcpPair, counted, forge, options_of
from tests.core.mptcp.test_fail import damaged
from tests.core.mptcp.two_paths import ready, resets_anywhere
from tests.core.tcp.pair import Pair

VERSIONS = pytest.mark.parametrize("version", [1, 0])


Answer = tuple[Dss | None, tuple[MptcpOption, ...] | None]


class Answering:
    """A hook that plays a client which answers packets with a segment of its choice.

    Args:
        answer: returns DSS and options of the answer, or None for no answer.
        number: of the subflow that answers.
    """

    def __init__(self, answer: Callable[[Segment], Answer | None], number: int = 0) -> None:
        self._answer = answer
        self._number = number
        self._last: Segment | None = None
        self.pair: MptcpPair
        self.client: Any = None

    def __call__(self, way: str, packet: Any, now: int) -> list[Any]:
        if self.client is None:
            return [packet]
        answer = self._answer(packet) if way == "s>c" else None
        if answer is not None:
            if self._last is None:
                self._last = forge(self.pair, self.client, self._number)
            segment = self._last = self._last.clone()
            segment.ack = packet.seq + packet.length
            segment.dss, segment.options = answer
            segment.size = wire_length(segment)
            self.pair.inject(self.pair.server, segment)
        return []


def failing(version: int, answering: Answering, **options: Any) -> tuple[MptcpPair, Any, Any]:
    """Return a connection on a path of 25 us whose server has found a wrong checksum a moment ago."""
    both = {"checksum": True}
    pair, client, server = ready(
        version, 1, client=both, server=both | options, hook=answering, delay=25 * MICROSECOND
    )
    answering.pair, answering.client = pair, client
    out = client.outbound
    dss = Dss(
        8, client.inbound.absolute(1), 8, (out.idsn + out.nxt) % 2**64, client.subflows[0].sender.nxt, 100, 1
    )
    segment = forge(pair, client, dss=damaged(dss), length=100)
    segment.payload = pattern(out.nxt - 1, 100)
    return pair, client, server


def of_the_server(pair: MptcpPair) -> list[tuple[int, Segment]]:
    return [(when, s) for when, s in pair.segments("s>c") if not s.length]


def data_fin(client: Any, ahead: int = 500) -> Dss:
    """Return a DATA_FIN without data that leaves 500 bytes out, so that it is not acknowledged."""
    out, inbound = client.outbound, client.inbound
    dsn = (out.idsn + out.nxt + ahead) % 2**64
    return Dss(8, inbound.absolute(1), 8, dsn, 0, 1, dss_checksum(dsn, 0, 1, 0), True)


def fails(pair: MptcpPair) -> list[int]:
    return [sent.time for sent in pair.sent(MpFail, "s>c")]


@VERSIONS
def test_mp_fail_against_a_data_fin_in_every_ack(version: int) -> None:
    """Linux answers MP_FAIL, and its DATA_FIN is on every ACK as long as nobody has acknowledged it."""
    answering = Answering(lambda segment: (data_fin(answering.client), None))
    pair, _, _ = failing(version, answering)
    start = pair.now
    pair.run(start + 50 * MS, steps=4_000)
    pair.run(start + SECOND, steps=4_000)
    sent = [when for when, _ in of_the_server(pair) if when > start]
    assert 3 <= len(fails(pair)) <= 4, "at 0, 0.2, 0.6 s"
    assert len(sent) <= 30


@VERSIONS
def test_mp_fail_without_an_answer(version: int) -> None:
    """Once per retransmission time-out, which doubles; after two minutes the subflow is reset."""
    answering = Answering(lambda segment: None)
    pair, _, server = failing(version, answering)
    rto = server.subflows[0].sender.rtt.rto
    start = pair.now
    pair.run(start + 121 * SECOND)
    when = fails(pair)
    gaps = [after - before for before, after in pairwise(when)]
    assert gaps == [min(rto << n, 2 * MINUTE) for n in range(len(gaps))]
    assert len(when) == 10, "200 ms after 200 ms, doubled nine times, are 102.2 s"
    (reset,) = resets_anywhere(pair)
    reasons = [option.reason for option in options_of(reset) if isinstance(option, MpTcprst)]
    assert reasons == ([6] if version else [])
    assert server.subflows[0].error.startswith("MP_FAIL was not answered")
    pair.run(start + 200 * SECOND)
    assert server.error.startswith("timed out: no subflow is left")
    assert pair.server.next_timer() == NEVER


def test_how_long_mp_fail_waits_for_an_answer() -> None:
    pair, _, server = failing(1, Answering(lambda segment: None), fail_timeout=3 * SECOND)
    pair.run(pair.now + 2_999 * MS)
    assert not resets_anywhere(pair)
    pair.run(pair.now + 2 * MS)
    assert resets_anywhere(pair)
    assert server.subflows[0].ended


@VERSIONS
@pytest.mark.parametrize("late", [False, True], ids=["in order", "out of order"])
@pytest.mark.parametrize("first_fail", ["arrives", "is lost"])
def test_mp_fail_that_is_answered_by_data_without_a_mapping(
    version: int, late: bool, first_fail: str
) -> None:
    """With segmentation offload Linux counts its infinite mapping, which is not on the wire."""
    answering = Answering(lambda segment: None)
    pair, client, server = failing(version, answering)
    pair.run(pair.now + (1 if first_fail == "arrives" else 300) * MS)
    nxt, place = client.subflows[0].sender.nxt + 100, client.outbound.nxt - 1 + 100
    mapping = Dss(8, client.inbound.absolute(1), 8, (client.outbound.idsn + place + 1) % 2**64, nxt, 50, 0)
    parts = [(nxt, 50, mapping), (nxt + 50, 50, None), (nxt + 100, 50, None)]
    for seq, length, dss in reversed(parts) if late else parts:
        assert not server.is_plain
        segment = forge(pair, client, seq=seq, length=length, dss=dss)
        segment.payload = pattern(place + seq - nxt, length)
        pair.run(pair.now + MS)
        assert seq != nxt or server.is_plain == late
        if server.is_plain and not late:
            break
    assert server.is_plain
    assert not resets_anywhere(pair)
    assert server.delivered == place + (150 if late else 100)
    assert counted(pair.server, "InfiniteMapTx") == (1,), "should the peer not be plain yet, it hears of it"
    pair.run(pair.now + 200 * SECOND)
    assert not server.subflows[0].error
    assert len(fails(pair)) <= 3


@VERSIONS
def test_data_after_mp_fail_that_lies_elsewhere(version: int) -> None:
    """A mapping that waits says that the data without one does not just go on."""
    answering = Answering(lambda segment: None)
    pair, client, server = failing(version, answering)
    nxt, place = client.subflows[0].sender.nxt + 100, client.outbound.nxt - 1 + 100
    dsn = (client.outbound.idsn + place + 1 - 40) % 2**64
    mapping = Dss(8, client.inbound.absolute(1), 8, dsn, nxt, 50, 0)
    forge(pair, client, seq=nxt, length=50, dss=mapping).payload = pattern(place - 40, 50)
    forge(pair, client, seq=nxt + 50, length=50).payload = pattern(place + 10, 50)
    pair.run(pair.now + MS)
    assert resets_anywhere(pair)
    assert not server.is_plain
    assert server.delivered == place - 100


# --- Relatives --------------------------------------------------------------------------------------


@VERSIONS
def test_mp_fail_in_every_answer_against_a_plain_end(version: int) -> None:
    """Who has fallen back answers MP_FAIL with its infinite mapping; not any number of times."""
    pair, client, server = ready(version, 1, delay=25 * MICROSECOND)
    fail = MpFail(client.inbound.absolute(1))
    answering = Answering(lambda segment: (None, (fail,)))
    answering.pair, answering.client, pair.hook = pair, client, answering
    server.write(1_000, pair.now)
    forge(pair, client, options=(fail,))
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    assert server.is_plain
    assert len([when for when, _ in pair.segments("s>c") if when > start]) <= 30


@VERSIONS
@pytest.mark.parametrize("ahead", [500, -5], ids=["missing data", "old"])
def test_data_fin_in_every_answer(version: int, ahead: int) -> None:
    """It is answered at once where it is news, and a few times more: the answer may be lost."""
    pair, client, server = ready(version, 1, client={"checksum": True}, server={"checksum": True})
    answering = Answering(lambda segment: (data_fin(client, ahead), None))
    answering.pair, answering.client, pair.hook, pair.delay = pair, client, answering, 25 * MICROSECOND
    forge(pair, client, dss=data_fin(client, ahead))
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    answers = [when for when, _ in pair.segments("s>c") if when > start]
    assert 1 <= len(answers) <= 12
    assert not server.peer_closed


@VERSIONS
def test_remove_addr_in_every_answer(version: int) -> None:
    """It has the subflows of the address asked whether they work; once, till the answer is judged."""
    pair, client, server = ready(version, 1, delay=25 * MICROSECOND)
    options = (RemoveAddr((0,)),)
    answering = Answering(lambda segment: (None, options))
    answering.pair, answering.client, pair.hook = pair, client, answering
    forge(pair, client, options=options)
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    assert 1 <= len([when for when, _ in pair.segments("s>c") if when > start]) <= 12
    assert not server.error


@VERSIONS
def test_the_third_ack_of_a_join_on_every_answer(version: int) -> None:
    """It is repeated because its answer may be lost: it is answered, but not any number of times."""
    pair, client, _ = ready(version, 2, delay=25 * MICROSECOND)
    options = (pair.sent(MpJoinAck)[0].option,)
    answering = Answering(lambda segment: (None, options) if C2 in segment.flow else None, number=1)
    answering.pair, answering.client, pair.hook = pair, client, answering
    forge(pair, client, 1, options=options)
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    assert 1 <= len([when for when, _ in pair.segments("s>c") if when > start]) <= 12


def test_add_addr_on_every_answer() -> None:
    """Each is echoed, as fast as ACKs with signals may follow each other; the same one does not queue up."""
    pair, client, server = ready(1, 1, delay=25 * MICROSECOND)
    keys = (client.agreed.local_key.value, client.agreed.remote_key.value)
    number = 0

    def answer(segment: Segment) -> Answer:
        nonlocal number
        number += 1
        identifier, address = 1 + number % 200, f"10.9.{number % 250}.1"
        hmac = add_addr_hmac(1, *keys, identifier, address, UNKNOWN)
        return None, (AddAddr(identifier, address, UNKNOWN, hmac),)

    answering = Answering(answer)
    answering.pair, answering.client, pair.hook = pair, client, answering
    start = pair.now
    for _ in range(100):
        forge(pair, client, options=answer(pair.segments("s>c")[-1][1])[1])
    pair.run(start + SECOND, steps=4_000)
    assert 1 <= len([when for when, _ in pair.segments("s>c") if when > start]) <= 30
    assert len(server.subflow_of(0).signals.waiting) <= 16
    assert counted(pair.server, "EchoAddTxDrop")[0] >= 80


def test_two_ends_whose_timestamps_are_old_to_each_other() -> None:
    """PAWS has each segment answered (RFC 7323 section 5.3), also bare ACKs."""
    pair = Pair(delay=25 * MICROSECOND)
    client, server = pair.establish()
    for end in (client, server):
        end.subflows[0].receiver.ts_recent += 1 << 30
    client.write(1_000, pair.now)
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    assert len([when for when, _, _ in pair.wire if when > start]) <= 40


def test_two_ends_that_do_not_agree_on_sequence_numbers() -> None:
    pair = Pair(delay=25 * MICROSECOND)
    client, server = pair.establish()
    for end in (client, server):
        end.subflows[0].receiver.nxt += 1_000_000
    client.write(1_000, pair.now)
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    assert len([when for when, _, _ in pair.wire if when > start]) <= 40


def test_two_ends_that_take_each_other_for_probing() -> None:
    """Each has got one byte more than the other remembers: every ACK looks like a keepalive."""
    pair = Pair(delay=25 * MICROSECOND)
    client, server = pair.establish()
    for end in (client, server):
        end.subflows[0].receiver.nxt += 1
    client.subflows[0].send_ack(pair.now)
    start = pair.now
    pair.run(start + SECOND, steps=4_000)
    assert len([when for when, _, _ in pair.wire if when > start]) <= 40
