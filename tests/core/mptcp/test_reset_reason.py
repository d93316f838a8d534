"""What a RST says beside MP_TCPRST itself (RFC 8684 sections 3.5 to 3.7)."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.mptcp.reset_reason import ResetReason
from mptcpsim.core.mptcp_options import (
    REASON_MIDDLEBOX,
    REASON_TOO_MUCH_OUTSTANDING,
    MpFail,
    MpFastclose,
    MpTcprst,
)
from tests.core.mptcp.pair import MptcpPair, counted
from tests.core.mptcp.two_paths import ready


def reason_of(version: int) -> tuple[MptcpPair, Any, ResetReason]:
    pair, client, _ = ready(version, 1)
    return pair, client, ResetReason(client.agreed, client.inbound, pair.client.counters)


def test_without_a_reason_it_says_nothing() -> None:
    pair, _, reason = reason_of(1)
    assert reason.options() == ()
    assert counted(pair.client, "MPRstTx") == (0,)


def test_the_first_reason_counts() -> None:
    pair, _, reason = reason_of(1)
    reason.on_reset(REASON_MIDDLEBOX)
    reason.on_reset(REASON_TOO_MUCH_OUTSTANDING)
    assert reason.options() == (MpTcprst(REASON_MIDDLEBOX),)
    assert counted(pair.client, "MPRstTx") == (1,)


def test_version_0_has_no_reasons() -> None:
    pair, _, reason = reason_of(0)
    reason.on_reset(REASON_MIDDLEBOX)
    assert reason.options() == ()
    assert counted(pair.client, "MPRstTx") == (0,)


def test_a_fast_close_takes_the_place_of_a_reason() -> None:
    pair, client, reason = reason_of(1)
    reason.on_reset(REASON_MIDDLEBOX)
    reason.on_fast_close()
    reason.on_reset(REASON_MIDDLEBOX)
    assert reason.options() == (MpFastclose(client.agreed.remote_key.value),)
    assert counted(pair.client, "MPRstTx", "MPFastcloseTx") == (0, 1)


@pytest.mark.parametrize("version", [1, 0])
def test_mp_fail_goes_in_front(version: int) -> None:
    pair, client, reason = reason_of(version)
    reason.on_fail(7)
    reason.on_reset(REASON_MIDDLEBOX)
    fail = MpFail(client.inbound.absolute(7))
    assert reason.options() == ((fail, MpTcprst(REASON_MIDDLEBOX)) if version else (fail,))
    assert counted(pair.client, "MPFailTx") == (1,)
