"""What a peer, a middlebox or an attacker says wrongly: each check of RFC 8684 sections 3 and 5, and its end.

The keys of MP_JOIN are in ``test_mptcp_join``, those of ADD_ADDR in ``test_mptcp_addresses``.
"""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp.keys import derive
from mptcpsim.core.mptcp_options import (
    REASON_MPTCP_SPECIFIC,
    AddAddr,
    Dss,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
)
from mptcpsim.core.segment import ACK, RST, FourTuple, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import Seen, alter, replaced
from tests.core.mptcp.pair import C1, C2, C3, MS, S1, MptcpPair, alive, counted, forge, transfer, working
from tests.core.mptcp.plan import mptcp
from tests.core.mptcp.two_paths import expect_reset, goes_on, joining, keys_of, on_path, resets
from tests.core.tcp.pair import PORT

BOTH = pytest.mark.parametrize("version", [1, 0])

#: Far outside of any window.
FAR = 50_000_000


def two_subflows(version: int = 1, **options: Any) -> tuple[MptcpPair, Any, Any]:
    pair = joining(version, **options)
    client, server = pair.establish_subflows(2)
    pair.run(pair.now + 200 * MS)
    return pair, client, server


def server_key(pair: MptcpPair) -> int:
    return keys_of(pair).receiver_key


# --- Sequence and acknowledgment numbers come first ------------------------------------------------

#: Numbers that RFC 9293 and RFC 5961 do not accept: what is added to the right ones.
IMPLAUSIBLE = {
    "far above the window": (FAR, 0),
    "far below the window": (-FAR, 0),
    "acknowledges what was never sent": (0, FAR),
}


@BOTH
@pytest.mark.parametrize("kind", ["MP_FASTCLOSE", "REMOVE_ADDR", "MP_PRIO", "MP_TCPRST"])
@pytest.mark.parametrize("where", IMPLAUSIBLE)
def test_options_of_an_implausible_segment(version: int, kind: str, where: str) -> None:
    """They are not acted upon, however right they are themselves."""
    pair, client, server = two_subflows(version)
    option: dict[str, MptcpOption] = {
        "MP_FASTCLOSE": MpFastclose(server_key(pair)),
        "REMOVE_ADDR": RemoveAddr((pair.sent(MpJoinSyn)[0].option.address_id,)),
        "MP_PRIO": MpPrio(True),
        "MP_TCPRST": MpTcprst(0),
    }
    more_seq, more_ack = IMPLAUSIBLE[where]
    subflow = client.subflows[0]
    forge(
        pair,
        client,
        options=(option[kind],),
        seq=subflow.sender.nxt + more_seq,
        ack=subflow.receiver.nxt + more_ack,
        flags=RST if kind == "MP_TCPRST" and more_seq else ACK,
    )
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPFastcloseRx", "RmAddr", "MPPrioRx", "MPRstRx") == (0, 0, 0, 0)
    goes_on(pair, client, server, 2)
    assert any(segment.length for _, way, segment in on_path(pair, C1) if way == "s>c")


@BOTH
def test_the_same_options_on_a_plausible_segment(version: int) -> None:
    """What the tests above forge does act where the numbers are right."""
    pair, client, server = two_subflows(version)
    forge(pair, client, options=(MpPrio(True),))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPPrioRx") == (1,)
    forge(pair, client, options=(MpFastclose(server_key(pair)),))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPFastcloseRx") == (1,)
    assert server.error
    assert not alive(server)


@BOTH
def test_data_ack_of_an_implausible_segment(version: int) -> None:
    """Nothing is taken for delivered that is not."""
    pair, client, server = two_subflows(version)
    pair.cut(S1, pair.now)
    server.write(10_000, pair.now)
    pair.run(pair.now + 100 * MS)
    dss = Dss(8, (derive(server_key(pair), version).idsn + 10_001) % 2**64)
    pair.mend()
    subflow = client.subflows[0]
    forge(pair, client, dss=dss, seq=subflow.sender.nxt + FAR)
    pair.run(pair.now + 20 * MS)
    assert server.acked < 10_000


@BOTH
def test_data_ack_of_data_that_was_never_sent(version: int) -> None:
    pair, client, server = two_subflows(version)
    acked = server.acked
    idsn = derive(server_key(pair), version).idsn
    forge(pair, client, dss=Dss(8, (idsn + 1 + acked + 1_000_000) % 2**64))
    pair.run(pair.now + SECOND)
    assert server.acked == acked
    goes_on(pair, client, server, 2)


# --- Keys and tokens -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("flags", [ACK, RST])
def test_fastclose_with_a_wrong_key(version: int, flags: int) -> None:
    """The option is ignored; the RST it may come with ends its own subflow only."""
    pair, client, server = two_subflows(version)
    forge(pair, client, options=(MpFastclose(server_key(pair) ^ 1),), flags=flags)
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPFastcloseRx") == (0,)
    assert not server.error
    assert len(alive(server)) == (2 if flags == ACK else 1)
    transfer(pair, client, server, 50_000)
    transfer(pair, server, client, 50_000)


def test_fastclose_with_the_key_of_its_sender() -> None:
    """The option has the receiver's key, not the sender's."""
    pair, client, server = two_subflows()
    forge(pair, client, options=(MpFastclose(keys_of(pair).sender_key),))
    pair.run(pair.now + SECOND)
    goes_on(pair, client, server, 2)


@BOTH
def test_replayed_join(version: int) -> None:
    """The responder's nonce is new every time, so an HMAC that was overheard is worth nothing."""
    pair, client, server = two_subflows(version)
    syn, ack = pair.sent(MpJoinSyn)[0].segment, pair.sent(MpJoinAck)[0].segment
    flow = FourTuple(C3, 3333, S1, PORT)
    for segment in (syn, ack):
        replay = segment.clone()
        replay.flow = flow
        if segment is ack:
            # The responder's sequence numbers are new, too; they are known to who has seen the SYN/ACK.
            replay.sequences = server.subflows[-1].sequences.reverse()
        pair.server.receive_packet(replay, pair.now)
        pair.pump()
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "MPJoinSynRx", "MPJoinAckHMacFailure") == (2, 1)
    expect = resets(pair, C3)[0]
    assert expect == ("s>c", (REASON_MPTCP_SPECIFIC,) if version == 1 else ())
    goes_on(pair, client, server, 2)


@BOTH
def test_token_of_a_connection_that_is_over(version: int) -> None:
    pair, client, server = two_subflows(version)
    syn = pair.sent(MpJoinSyn)[0].segment
    client.close(pair.now)
    server.close(pair.now)
    pair.run()
    late = syn.clone()
    late.flow = FourTuple(C3, 3333, S1, PORT)
    pair.inject(pair.server, late)
    pair.run()
    assert counted(pair.server, "MPJoinNoTokenFound") == (1,)
    expect_reset_at(pair, C3, version)


def expect_reset_at(pair: MptcpPair, address: str, version: int) -> None:
    way, reasons = resets(pair, address)[-1]
    assert way == "s>c"
    assert reasons == ((REASON_MPTCP_SPECIFIC,) if version == 1 else ())


# --- Data sequence numbers -------------------------------------------------------------------------


def is_data(seen: Seen, address: str, dsn_octets: int = 8) -> bool:
    segment = seen.segment
    return (
        seen.direction == "c>s"
        and segment.flow.src == address
        and segment.length > 0
        and segment.dss is not None
        and segment.dss.dsn_octets == dsn_octets
    )


def once(predicate: Any) -> Any:
    """Return a predicate that holds at its first occasion only."""
    done: list[Seen] = []

    def first(seen: Seen) -> bool:
        if done or not predicate(seen):
            return False
        done.append(seen)
        return True

    return first


def moved(by: int) -> Any:
    """Return a change: the segment carries, and maps, what lies ``by`` bytes further in the stream."""

    def change(segment: Segment) -> Segment:
        copy = replaced(Dss, lambda dss: dss._replace(dsn=(dss.dsn + by) % 2**64))(segment)
        copy.offset += by
        return copy

    return change


@BOTH
def test_dsn_out_of_window(version: int) -> None:
    """The data is dropped and not DATA_ACKed (section 3.8); the connection sends again what is missing."""
    pair = joining(version, hook=alter(once(lambda seen: is_data(seen, C2)), moved(FAR)))
    client, server = pair.establish_subflows(2)
    transfer(pair, client, server, 300_000)
    assert counted(pair.server, "NoDSSInWindow") == (1,)
    assert counted(pair.client, "MPTCPRetrans")[0] >= 1
    goes_on(pair, client, server, 2)


@BOTH
def test_dsn_of_old_data(version: int) -> None:
    """Data below the DATA_ACK has arrived before, on whatever subflow, and counts for nothing."""
    old = once(lambda seen: is_data(seen, C2) and seen.segment.offset > 200_000)
    pair = joining(version, hook=alter(old, moved(-200_000)))
    client, server = pair.establish_subflows(2)
    transfer(pair, client, server, 500_000)
    assert counted(pair.server, "DuplicateData")[0] >= 1
    goes_on(pair, client, server, 2)


@BOTH
def test_a_mapping_that_changes(version: int) -> None:
    """A mapping is fixed (section 3.3.1): who names another one for the same bytes is not believed."""
    pair, client, server = two_subflows(version, client={"mapping_segments": 4})

    def shifted(dss: Dss) -> Dss:
        return dss._replace(dsn=(dss.dsn + 1) % 2**64)

    seen_mappings: set[int] = set()

    def second_of_a_mapping(seen: Seen) -> bool:
        if not is_data(seen, C2) or seen.segment.dss is None:
            return False
        if seen.segment.dss.ssn in seen_mappings:
            return seen.segment.dss.ssn != seen.segment.seq
        seen_mappings.add(seen.segment.dss.ssn)
        return False

    pair.hook = alter(once(second_of_a_mapping), replaced(Dss, shifted))
    transfer(pair, client, server, 500_000)
    assert counted(pair.server, "DSSNotMatching") == (1,)
    expect_reset(pair, "s>c", version, REASON_MPTCP_SPECIFIC)
    goes_on(pair, client, server)


# --- Presence of the checksum ------------------------------------------------------------------------


@BOTH
def test_checksum_is_missing(version: int) -> None:
    """It was negotiated: the subflow is reset (section 3.3)."""
    change = replaced(Dss, lambda dss: dss._replace(checksum=UNKNOWN))
    pair = joining(
        version, client={"checksum": True}, hook=alter(once(lambda seen: is_data(seen, C2)), change)
    )
    client, server = pair.establish_subflows(2)
    transfer(pair, client, server, 300_000)
    expect_reset(pair, "s>c", version, REASON_MPTCP_SPECIFIC)
    goes_on(pair, client, server)


@BOTH
def test_checksum_that_was_not_negotiated(version: int) -> None:
    """Version 1 resets the subflow, version 0 passes the checksum over (RFC 6824 section 3.3)."""
    change = replaced(Dss, lambda dss: dss._replace(checksum=0x1234))
    pair = joining(version, hook=alter(once(lambda seen: is_data(seen, C2)), change))
    client, server = pair.establish_subflows(2)
    transfer(pair, client, server, 300_000)
    if version == 1:
        expect_reset(pair, "s>c", version, REASON_MPTCP_SPECIFIC)
        goes_on(pair, client, server)
    else:
        assert not resets(pair)
        goes_on(pair, client, server, 2)


# --- Options that are unknown or out of place --------------------------------------------------------


@BOTH
def test_unknown_address_in_remove_addr(version: int) -> None:
    pair, client, server = two_subflows(version)
    forge(pair, client, options=(RemoveAddr((77, 78)),))
    pair.run(pair.now + SECOND)
    goes_on(pair, client, server, 2)


@pytest.mark.parametrize(
    ("version", "option"),
    [
        (1, AddAddr(5, "10.0.9.9")),
        (0, AddAddr(5, "10.0.9.9", hmac=bytes(8))),
        (1, MpPrio(True, 0)),
        (0, MpTcprst(6)),
    ],
)
def test_layouts_of_the_other_version(version: int, option: MptcpOption) -> None:
    """They do not exist in this one, and are passed over like an unknown option."""
    pair, client, server = two_subflows(version)
    forge(pair, client, options=(option,))
    pair.run(pair.now + SECOND)
    assert counted(pair.server, "AddAddr", "MPPrioRx", "MPRstRx") == (0, 0, 0)
    goes_on(pair, client, server, 2)


@BOTH
def test_join_options_out_of_place(version: int) -> None:
    """MP_JOIN on an established subflow means nothing."""
    pair, client, server = two_subflows(version)
    forge(pair, client, options=(MpJoinSyn(9, 1234, 5678),))
    forge(pair, client, options=(MpJoinAck(bytes(20)),))
    pair.run(pair.now + SECOND)
    goes_on(pair, client, server, 2)


# --- Duplicate ACKs with signals -----------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("signals", [True, False])
def test_duplicate_acks_with_signals_are_no_loss(version: int, signals: bool) -> None:
    """RFC 8684 section 4: an ACK with an option other than DSS is no sign of congestion."""
    tcp = {"sack": False, "rack_tlp": False}
    pair = MptcpPair(mptcp(versions=(version,), tcp=tcp), mptcp(versions=(version,), tcp=tcp), delay=50 * MS)
    client, server = pair.establish_subflows(1)
    server.write(14_000, pair.now)
    pair.pump()
    for _ in range(4):
        forge(pair, client, options=(MpPrio(False),) if signals else None)
    pair.run(pair.now + 80 * MS)
    assert pair.server.counters["TcpExtTCPFastRetrans"] == (0 if signals else 1)
    client.eager = True
    pair.run_until(lambda: client.delivered == 14_000)
    assert len(working(client)) == 1
