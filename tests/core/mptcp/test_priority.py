"""Backup subflows: flag B of MP_JOIN, and MP_PRIO (RFC 8684 section 3.3.8, RFC 6824 section 3.3.8)."""

from __future__ import annotations

import pytest

from mptcpsim.core.mptcp_options import MpJoinSyn, MpPrio
from mptcpsim.plugins import OpenSubflow, SetBackup
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair, counted, forge, host_gets, transfer
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.mptcp.two_paths import joining, on_path, one
from tests.core.tcp.pair import PORT

BOTH = pytest.mark.parametrize("version", [1, 0])


@BOTH
def test_backup(version: int) -> None:
    """B on the SYN: nothing is sent on the subflow while another one works."""
    pair = joining(version, join=OpenSubflow(C2, S1, PORT, backup=True))
    client, server = pair.establish_subflows(2)
    assert one(pair, MpJoinSyn).option.backup
    assert counted(pair.server, "MPJoinSynBackupRx") == (1,)
    transfer(pair, client, server, 300_000)
    transfer(pair, server, client, 300_000)
    assert not any(segment.length for _, _, segment in on_path(pair, C2))
    pair.cut(C1, pair.now)
    transfer(pair, client, server, 50_000)
    transfer(pair, server, client, 50_000)
    for way in ("c>s", "s>c"):
        assert any(segment.length for _, direction, segment in on_path(pair, C2) if direction == way)


@BOTH
def test_mp_prio(version: int) -> None:
    """MP_PRIO makes a backup of a subflow, in the one direction, and takes it back."""
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)])
    plan.local_address = lambda view, address, up: [SetBackup(1, address == "10.9.9.1")]
    pair = MptcpPair(mptcp(plan, versions=(version,)), mptcp(versions=(version,)), client_addresses=(C1, C2))
    client, server = pair.establish_subflows(2)
    host_gets(pair, pair.client, "10.9.9.1")
    pair.run(pair.now + 100 * MS)
    prio = one(pair, MpPrio)
    assert prio.option.backup
    assert C2 in prio.segment.flow or version == 0
    before = pair.now
    transfer(pair, server, client, 300_000)
    assert not any(segment.length for when, _, segment in on_path(pair, C2) if when >= before)
    assert counted(pair.client, "MPPrioTx") == counted(pair.server, "MPPrioRx") == (1,)
    host_gets(pair, pair.client, "10.9.9.2")
    pair.run(pair.now + 100 * MS)
    assert not pair.sent(MpPrio)[-1].option.backup
    before = pair.now
    transfer(pair, server, client, 300_000)
    assert any(segment.length for when, _, segment in on_path(pair, C2) if when >= before)


def test_mp_prio_of_version_0_names_an_address() -> None:
    """All subflows of the address follow (RFC 6824 section 3.3.8)."""
    joins = [OpenSubflow(C2, S1, PORT), OpenSubflow(C2, S2, PORT)]
    pair = MptcpPair(
        mptcp(Plan(established=joins), versions=(0,)),
        mptcp(versions=(0,)),
        client_addresses=(C1, C2),
        server_addresses=(S1, S2),
    )
    client, server = pair.establish_subflows(3)
    identifier = pair.sent(MpJoinSyn)[0].option.address_id
    forge(pair, client, options=(MpPrio(True, identifier),))
    pair.run(pair.now + 100 * MS)
    before = pair.now
    transfer(pair, server, client, 300_000)
    assert not any(segment.length for when, _, segment in on_path(pair, C2) if when >= before)
