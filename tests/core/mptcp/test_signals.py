"""Options that wait for ACKs: at most two ACKs in a row (RFC 8684 section 4), and data starts anew."""

from __future__ import annotations

from typing import Any

from mptcpsim.core.mptcp_options import MpPrio
from mptcpsim.plugins import SetBackup
from tests.core.mptcp.pair import MS, MptcpPair, act
from tests.core.mptcp.two_paths import ready


def signalled(pair: MptcpPair, since: int) -> list[int]:
    """Return when the client sent an ACK with an MP_PRIO."""
    return [sent.time for sent in pair.sent(MpPrio, "c>s") if sent.time >= since]


def ask(pair: MptcpPair, client: Any, times: int) -> None:
    """Have the client send so many MP_PRIOs on its first subflow, each on an ACK of its own."""
    for number in range(times):
        act(pair, client, SetBackup(0, bool(number % 2)))


def test_two_in_a_row_and_the_others_a_round_trip_later() -> None:
    pair, client, _ = ready(subflows=1)
    start = pair.now
    ask(pair, client, 5)
    pause = client.subflow_of(0).signals.send_at - start
    assert pause >= client.config.rto_min
    pair.run(start + 10 * pause)
    sent = signalled(pair, start)
    assert [time - start for time in sent[:2]] == [0, 0]
    assert all(time - start >= pause for time in sent[2:])
    assert not client.subflow_of(0).signals.waiting


def test_data_starts_anew() -> None:
    """After data two ACKs may follow at once: they cannot be taken for duplicates of the ones before it."""
    pair, client, _ = ready(subflows=1)
    start = pair.now
    ask(pair, client, 2)
    client.write(100, pair.now)
    pair.run(pair.now)
    ask(pair, client, 3)
    sent = signalled(pair, start)
    assert [time - start for time in sent] == [0] * 4
    assert len(client.subflow_of(0).signals.waiting) == 1


def test_the_timer_starts_anew() -> None:
    """When it fires two more ACKs may go, whatever was sent before."""
    pair, client, _ = ready(subflows=1)
    start = pair.now
    ask(pair, client, 2)
    assert len(signalled(pair, start)) == 2
    ask(pair, client, 1)
    pair.run(client.subflow_of(0).signals.send_at)
    assert len(signalled(pair, start)) == 3
    assert client.subflow_of(0).signals.send_at > pair.now + MS
