"""Data that has arrived before is a duplicate, whatever it says now (RFC 9293 section 3.10.7.4).

It is counted and acknowledged; only what is new is compared with the peer's stream.
"""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.errors import IntegrityError
from mptcpsim.core.mptcp_options import Dss
from mptcpsim.core.payload import part_is, pattern
from mptcpsim.core.ranges import Ranges
from mptcpsim.core.segment import ACK, SYN, Segment
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import MS, MptcpPair, counted, forge
from tests.core.mptcp.two_paths import goes_on, ready
from tests.core.tcp.pair import Pair
from tests.core.tcp.test_states import simultaneous_open

VERSIONS = pytest.mark.parametrize("version", [1, 0])
WRONG = b"\xff"


def established(**options: Any) -> tuple[Pair, Any, Any]:
    """Return a TCP connection over which 100 bytes have gone."""
    pair = Pair(**options)
    client, server = pair.establish()
    client.write(100, pair.now)
    pair.run(pair.now + SECOND)
    assert server.delivered == 100
    return pair, client, server


def data(pair: Pair, client: Any, seq: int, payload: bytes) -> Segment:
    """Inject a data segment of the client with these bytes and return it."""
    segment: Segment = forge(pair, client, seq=seq, length=len(payload))  # type: ignore[arg-type]
    segment.payload = payload
    return segment


def last_ack(pair: Pair) -> Any:
    return pair.segments("s>c")[-1][1]


# --- TCP --------------------------------------------------------------------------------------------


def test_old_bytes_with_another_content() -> None:
    """They are acknowledged and reported as a duplicate (RFC 2883)."""
    pair, client, server = established()
    data(pair, client, 51, WRONG * 50)
    pair.run(pair.now + SECOND)
    assert server.delivered == 100
    assert server.subflows[0].receiver.duplicate_bytes == 50
    assert (last_ack(pair).ack, last_ack(pair).sack) == (101, ((51, 101),))


@pytest.mark.parametrize("encode", [False, True])
def test_new_bytes_behind_old_ones_with_another_content(encode: bool) -> None:
    pair, client, server = established(encode=encode)
    data(pair, client, 91, WRONG * 10 + pattern(100, 20))
    pair.run(pair.now + SECOND)
    assert server.delivered == 120
    assert server.subflows[0].receiver.duplicate_bytes == 10
    assert last_ack(pair).ack == 121


def test_the_first_copy_counts_out_of_order() -> None:
    """Of bytes that wait for a gap to be filled, a second copy is not looked at, in part or whole."""
    pair, client, server = established()
    data(pair, client, 121, pattern(120, 20))
    pair.run(pair.now + SECOND)
    data(pair, client, 126, WRONG * 10)
    pair.run(pair.now + SECOND)
    data(pair, client, 131, WRONG * 10 + pattern(140, 10))
    pair.run(pair.now + SECOND)
    data(pair, client, 111, pattern(110, 10) + WRONG * 20)
    pair.run(pair.now + SECOND)
    assert server.subflows[0].receiver.duplicate_bytes == 40
    data(pair, client, 96, WRONG * 5 + pattern(100, 10) + WRONG)
    pair.run(pair.now + SECOND)
    assert server.delivered == 150


@pytest.mark.parametrize("seq", [101, 91, 121])
def test_new_bytes_must_be_those_of_the_stream(seq: int) -> None:
    """In order, behind old ones and out of order: a wrong byte ends the run."""
    pair, client, _ = established()
    data(pair, client, seq, pattern(seq - 1, 19) + WRONG)
    with pytest.raises(IntegrityError, match="is not what the peer wrote there"):
        pair.run(pair.now + SECOND)


def test_a_host_that_takes_what_its_peer_writes() -> None:
    """Nothing that a peer sends raises: what it is worth is for the driver to say."""
    pair, client, server = established()
    pair.judges = False
    data(pair, client, 101, WRONG * 20)
    pair.run(pair.now + SECOND)
    assert server.delivered == 120
    assert "is not what the peer wrote there" in str(pair.server.fault)
    assert pair.client.fault is None


def test_text_on_the_syn_ack_of_a_simultaneous_open() -> None:
    """It is left for the peer to send again: its first byte has the number after that of the SYN."""

    def hook(way: str, packet: Any, now: int) -> list[Any]:
        if way == "s>c" and packet.flags & SYN and packet.flags & ACK:
            packet = packet.clone()
            packet.length, packet.payload = 10, pattern(0, 10)
            packet.size += 10
        return [packet]

    pair, client, server = simultaneous_open(hook=hook)
    assert client.established
    assert client.delivered == 0
    server.write(100, pair.now)
    pair.run(pair.now + SECOND)
    assert client.delivered == 100


# --- MPTCP ------------------------------------------------------------------------------------------


def mapped(pair: MptcpPair, client: Any, dsn: int, payload: bytes, seq: int | None = None) -> Segment:
    """Inject data of the client at a relative DSN, on its first subflow."""
    number = client.subflows[0].sender.nxt if seq is None else seq
    dss = Dss(8, _data_ack(client), 8, (client.outbound.idsn + dsn) % 2**64, number, len(payload))
    segment = forge(pair, client, dss=dss, seq=number, length=len(payload))
    segment.payload = payload
    return segment


def _data_ack(client: Any) -> int:
    return int(client.inbound.absolute(client.inbound.nxt))


@VERSIONS
def test_the_window_probe_of_linux(version: int) -> None:
    """One byte, its number that of the last one acknowledged, its content the next one."""
    pair, client, server = ready(version, 1)
    una = client.outbound.una
    mapped(pair, client, una - 1, pattern(una - 1, 1))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "DuplicateData") == (1,)
    assert server.inbound.duplicate_bytes == 1
    assert server.delivered == una - 1
    assert last_ack(pair).ack == client.subflows[0].sender.nxt + 1


@VERSIONS
def test_a_probe_out_of_order_on_its_subflow(version: int) -> None:
    """It is judged when it is handed on: the byte is old then, too."""
    pair, client, server = ready(version, 1)
    una, nxt = client.outbound.una, client.subflows[0].sender.nxt
    mapped(pair, client, una - 1, pattern(una - 1, 1), seq=nxt + 10)
    pair.run(pair.now + 20 * MS)
    mapped(pair, client, una, pattern(una - 1, 10))
    pair.run(pair.now + SECOND)
    assert server.delivered == una - 1 + 10
    assert counted(pair.server, "DuplicateData") == (1,)


@VERSIONS
def test_a_mapping_half_old_half_new(version: int) -> None:
    pair, client, server = ready(version, 1)
    una = client.outbound.una
    mapped(pair, client, una - 5, WRONG * 5 + pattern(una - 1, 20))
    pair.run(pair.now + SECOND)
    assert server.delivered == una - 1 + 20
    assert server.inbound.duplicate_bytes == 5


@VERSIONS
def test_a_copy_of_what_waits_at_the_connection(version: int) -> None:
    """Data that the other subflow has brought, and that waits for its turn, is not judged again."""
    pair, client, server = ready(version, 2)
    una, nxt = client.outbound.una, client.subflows[0].sender.nxt
    mapped(pair, client, una + 10, pattern(una + 9, 10), seq=nxt)
    pair.run(pair.now + 20 * MS)
    assert server.inbound.out_of_order.total == 10
    mapped(pair, client, una + 5, pattern(una + 4, 5) + WRONG * 10 + pattern(una + 19, 5), seq=nxt + 10)
    pair.run(pair.now + 20 * MS)
    assert server.inbound.duplicate_bytes == 10
    mapped(pair, client, una, pattern(una - 1, 5), seq=nxt + 30)
    pair.run(pair.now + 20 * MS)
    assert server.delivered == una - 1 + 25


@VERSIONS
@pytest.mark.parametrize("ahead", [0, 10, 30])
@pytest.mark.parametrize("held", [False, True])
def test_nothing_follows_a_data_fin(version: int, ahead: int, held: bool) -> None:
    """The peer's stream ends ``ahead`` of what was delivered; what it sends beyond is not taken (3.3.3).

    ``held``: bytes beyond it wait out of order when the DATA_FIN comes.
    """
    pair, client, server = ready(version, 1)
    una, nxt = client.outbound.una, client.subflows[0].sender.nxt
    if held:
        mapped(pair, client, una + 20, pattern(una + 19, 30), seq=nxt)
        nxt += 30
    number = (client.outbound.idsn + una + ahead) % 2**64
    forge(pair, client, dss=Dss(8, _data_ack(client), 8, number, 0, 1, data_fin=True))
    pair.run(pair.now + 20 * MS)
    mapped(pair, client, una, pattern(una - 1, 100), seq=nxt)
    pair.run(pair.now + 20 * MS)
    assert server.delivered == una - 1 + ahead
    assert server.peer_closed
    mapped(pair, client, una + ahead + 1, pattern(una + ahead, 10), seq=nxt + 100)
    pair.run(pair.now + SECOND)
    assert server.delivered == una - 1 + ahead
    assert server.inbound.out_of_order.total == 0


@VERSIONS
@pytest.mark.parametrize("where", [0, 10, -5])
def test_new_mapped_bytes_must_be_those_of_the_stream(version: int, where: int) -> None:
    pair, client, _ = ready(version, 1)
    una = client.outbound.una
    mapped(pair, client, una + where, pattern(una + where - 1, 19) + WRONG)
    with pytest.raises(IntegrityError, match="is not what the peer wrote there"):
        pair.run(pair.now + SECOND)


@VERSIONS
def test_a_second_copy_on_the_same_subflow(version: int) -> None:
    """Of bytes that wait for their mapping, the first copy counts."""
    pair, client, server = ready(version, 1)
    una, nxt = client.outbound.una, client.subflows[0].sender.nxt
    ack = Dss(8, _data_ack(client))
    first = forge(pair, client, dss=ack, seq=nxt + 10, length=10)
    first.payload = pattern(una + 9, 10)
    second = forge(pair, client, dss=ack, seq=nxt + 5, length=20)
    second.payload = pattern(una + 4, 5) + WRONG * 10 + pattern(una + 19, 5)
    pair.run(pair.now + 20 * MS)
    dss = Dss(8, _data_ack(client), 8, (client.outbound.idsn + una) % 2**64, nxt, 25)
    third = forge(pair, client, dss=dss, seq=nxt, length=5)
    third.payload = pattern(una - 1, 5)
    pair.run(pair.now + SECOND)
    assert server.delivered == una - 1 + 25


@VERSIONS
def test_a_mapping_that_comes_with_old_data(version: int) -> None:
    """The data has arrived and waits; that it is sent again with its mapping is what it has waited for."""
    pair, client, server = ready(version, 1)
    una, nxt = client.outbound.una, client.subflows[0].sender.nxt
    forge(pair, client, dss=Dss(8, _data_ack(client)), seq=nxt, length=20).payload = pattern(una - 1, 20)
    pair.run(pair.now + 100 * MS)
    assert server.delivered == una - 1
    mapped(pair, client, una, pattern(una - 1, 20), seq=nxt)
    pair.run(pair.now + 100 * MS)
    assert server.delivered == una - 1 + 20


def test_bad_bytes_on_one_subflow_and_good_ones_on_the_other() -> None:
    """Bytes beyond the window are not judged either: they are not taken."""
    pair, client, server = ready(1, 2)
    out = client.outbound
    mapped(pair, client, out.wnd_end + 100, WRONG * 10)
    pair.run(pair.now + 100 * MS)
    assert counted(pair.server, "NoDSSInWindow") == (1,)
    client.subflows[0].abort(pair.now)
    pair.run(pair.now + 100 * MS)
    goes_on(pair, client, server, 1)


# --- The pieces -------------------------------------------------------------------------------------


def test_parts_of_a_segment() -> None:
    pair, client, _ = established()
    segment = data(pair, client, 101, pattern(100, 20))
    assert segment.part(101, 121) is segment
    middle = segment.part(105, 111)
    assert (middle.seq, middle.length, middle.payload) == (105, 6, pattern(104, 6))
    assert segment.size - middle.size == 14
    by_reference = segment.clone()
    by_reference.payload, by_reference.offset = None, 100
    by_reference.corrupt_payload = True
    assert by_reference.part(105, 111).offset == 104
    assert not by_reference.part(105, 111).corrupt_payload
    assert by_reference.part(101, 111).corrupt_payload
    for left in (101, 105):
        assert part_is(segment, left, 111, left - 1)
        assert not part_is(segment, left, 111, left)
    assert part_is(by_reference, 105, 111, 104)
    assert not part_is(by_reference, 105, 111, 105)
    assert not part_is(by_reference, 101, 111, 100), "the byte that a middlebox changed"


def test_what_is_missing() -> None:
    ranges = Ranges()
    for left, right in ((10, 20), (30, 40)):
        ranges.add(left, right)
    for left in range(45):
        for right in range(left, 45):
            known = {n for a, b in ((10, 20), (30, 40)) for n in range(a, b)}
            gaps = ranges.missing(left, right)
            assert [n for a, b in gaps for n in range(a, b)] == [
                n for n in range(left, right) if n not in known
            ]
            assert all(a < b for a, b in gaps)
