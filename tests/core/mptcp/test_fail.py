"""Payload that was changed on its way: checksums, MP_FAIL, infinite mappings (RFC 8684 section 3.7).

The middlebox of these tests changes the checksum, not the payload: what arrives can still be told
to be what was written.
"""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp_options import Dss, MpFail, MpTcprst
from mptcpsim.core.segment import RST, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import Seen, alter, drop, replaced
from tests.core.mptcp.pair import C1, C2, MS, S1, MptcpPair, alive, counted, options_of, transfer
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import goes_on
from tests.core.tcp.pair import PORT, Hook


def damaged(dss: Dss) -> Dss:
    """Return a mapping whose checksum is wrong."""
    return dss if dss.checksum == UNKNOWN else dss._replace(checksum=dss.checksum ^ 0x5555)


class Damage:
    """A middlebox that damages the ``number``-th mapping that passes it on the paths of an address."""

    def __init__(self, number: int, address: str = C1, then: Hook | None = None) -> None:
        self.left = number
        self.address = address
        self.hit: Segment | None = None
        self._then = then
        self._alter = alter(self._is_meant, replaced(Dss, damaged))

    def _is_meant(self, seen: Seen) -> bool:
        segment = seen.segment
        if seen.direction == "c>s" and segment.length and self.address in segment.flow and segment.dss:
            self.left -= 1
            if self.left == 0:
                self.hit = segment
                return True
        return False

    def __call__(self, direction: str, packet: Packet, now: int) -> list[Any]:
        found = list(self._alter(direction, packet, now))
        if self._then is not None:
            found = [one for item in found for one in self._then(direction, item, now)]
        return found


def pair_of(
    version: int, hook: Hook, join: bool, encode: bool = False, scheduler: str = "minrtt"
) -> MptcpPair:
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)] if join else [])
    return MptcpPair(
        mptcp(plan, versions=(version,), checksum=True, scheduler=scheduler),
        mptcp(versions=(version,)),
        client_addresses=(C1, C2),
        hook=hook,
        encode=encode,
    )


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("version", [1, 0])
def test_on_the_only_subflow_the_connection_falls_back(version: int, encode: bool) -> None:
    damage = Damage(20)
    pair = pair_of(version, damage, join=False, encode=encode)
    client, server = pair.establish()
    transfer(pair, client, server, 300_000)
    assert damage.hit is not None
    first = pair.sent(MpFail, "s>c")[0]
    dss = damage.hit.dss
    assert dss is not None
    assert first.option.dsn == dss.dsn, "where the mapping starts, in 64 bits"
    assert not first.segment.flags & RST
    assert pair.sent(MpFail, "c>s"), "who gets it answers with its own"
    infinite = [sent for sent in pair.sent(Dss, "c>s") if sent.option.is_infinite()]
    (start,) = {(sent.option.dsn, sent.option.ssn) for sent in infinite}
    assert start[0] - start[1] == dss.dsn - dss.ssn, "the same line"
    assert dss.dsn - 2 * 1420 <= start[0] <= dss.dsn, "from what the sender knew to be DATA_ACKed"
    assert {sent.option.checksum for sent in infinite} == {0}
    assert (client.is_plain, server.is_plain, client.fell_back, server.fell_back) == (True,) * 4
    pair.run(pair.now + SECOND)
    silence = pair.now
    transfer(pair, client, server, 50_000)
    transfer(pair, server, client, 50_000)
    assert not any(options_of(s) for when, _, s in pair.wire if when > silence and isinstance(s, Segment))
    client.close(pair.now)
    server.close(pair.now)
    pair.run()
    assert client.closed
    assert server.closed
    assert (client.error, server.error) == ("", "")
    assert counted(pair.server, "DataCsumErr", "DSSCorruptionFallback", "DSSCorruptionReset") == (1, 1, 0)
    assert counted(pair.server, "MPFailTx", "InfiniteMapRx") == (len(pair.sent(MpFail, "s>c")), 1)
    assert counted(pair.client, "MPFailTx", "InfiniteMapTx") == (1, 1)
    assert counted(pair.client, "MPFailRx")[0] >= 1


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("what", ["MP_FAIL", "infinite mapping"])
def test_signals_of_the_fallback_are_lost(version: int, what: str) -> None:
    """ACKs are not repeated by TCP: MP_FAIL goes on every ACK until the infinite mapping has come."""
    left = 3

    def is_lost(seen: Seen) -> bool:
        nonlocal left
        options = options_of(seen.segment)
        fail = any(isinstance(option, MpFail) for option in options) and seen.direction == "s>c"
        infinite = any(isinstance(option, Dss) and option.is_infinite() for option in options)
        if left and (fail if what == "MP_FAIL" else infinite):
            left -= 1
            return True
        return False

    pair = pair_of(version, Damage(20, then=drop(is_lost)), join=False)
    client, server = pair.establish()
    transfer(pair, client, server, 300_000)
    assert left == 0
    assert client.is_plain
    assert server.is_plain


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("version", [1, 0])
def test_with_another_subflow_this_one_is_reset(version: int, encode: bool) -> None:
    damage = Damage(5, C2)
    pair = pair_of(version, damage, join=True, encode=encode)
    client, server = pair.establish()
    transfer(pair, client, server, 500_000)
    pair.run(pair.now + SECOND)
    (fail,) = pair.sent(MpFail)
    assert damage.hit is not None
    assert damage.hit.dss is not None
    assert fail.direction == "s>c"
    assert fail.segment.flags & RST
    assert fail.option.dsn == damage.hit.dss.dsn
    reasons = [option.reason for option in options_of(fail.segment) if isinstance(option, MpTcprst)]
    assert reasons == ([6] if version else []), "middlebox interference; version 0 has no word for it"
    assert [tcp.flow.src for tcp in alive(client)] == [C1]
    assert counted(pair.server, "DataCsumErr", "DSSCorruptionReset", "MPFailTx") == (1, 1, 1)
    assert counted(pair.client, "MPFailRx", "InfiniteMapTx") == (1, 0)
    goes_on(pair, client, server, 1)


@pytest.mark.parametrize("version", [1, 0])
def test_data_that_is_not_contiguous_is_no_case_for_a_fallback(version: int) -> None:
    """One subflow is left, and it repeats what another has not delivered: reset, with MP_FAIL."""
    damage = Damage(1 << 30)
    pair = pair_of(version, damage, join=True, scheduler="roundrobin")
    pair.delays = {(C1, S1): 200 * MS, (C2, S1): 10 * MS}
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    pair.run(pair.now + SECOND)
    client.write(200_000, pair.now)
    # What is on its way over the slow path will be missing when it is cut and reset.
    pair.pump()
    pair.cut(C1, pair.now)
    pair.run(pair.now + 15 * MS)
    client.subflows[0].abort(pair.now)
    server.subflows[0].abort(pair.now)
    damage.address, damage.left = C2, 1
    while damage.hit is None:
        assert pair.step()
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "DataCsumErr", "DSSCorruptionReset", "DSSCorruptionFallback") == (1, 1, 0)
    assert pair.sent(MpFail, "s>c")[-1].segment.flags & RST
    assert not client.is_plain
    assert not server.is_plain


def test_a_payload_that_was_changed_does_not_reach_the_application() -> None:
    """Two subflows, and one of them changes a byte: the data comes over the other one."""
    number = 0

    def change(segment: Segment) -> Segment:
        copy = segment.clone()
        copy.corrupt_payload = True
        return copy

    def is_meant(seen: Seen) -> bool:
        nonlocal number
        number += seen.direction == "c>s" and seen.segment.length > 0 and C2 in seen.segment.flow
        return seen.direction == "c>s" and seen.segment.length > 0 and C2 in seen.segment.flow and number == 7

    pair = pair_of(1, alter(is_meant, change), join=True)
    client, server = pair.establish()
    transfer(pair, client, server, 500_000)
    assert counted(pair.server, "DataCsumErr", "DSSCorruptionReset") == (1, 1)
