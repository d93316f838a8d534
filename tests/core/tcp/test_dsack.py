"""D-SACK (RFC 2883): who reports what arrived twice, and what the sender learns from it (RFC 8985)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.rack import Rack
from mptcpsim.core.tcp.scoreboard import Scoreboard
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.script import Script

MS = MILLISECOND
MSS = 1000

# --- Duplicates that PAWS rejects (RFC 2883 section 4, RFC 7323 section 5.3) ----------------------


def behind_the_clock(**fields: int) -> Script:
    """Return a stack that has 300 bytes in order, 200 more behind a gap of 100, and a time stamp of 1010."""
    script = Script.accepted(TcpConfig(**fields))  # type: ignore[arg-type]
    script.inject(length=300, ts_val=1010)
    script.inject(length=200, seq=401, ts_val=1010)
    script.fresh()
    return script


@pytest.mark.parametrize(
    ("seq", "length", "blocks"),
    [
        (1, 300, ((1, 301), (401, 601))),
        (101, 100, ((101, 201), (401, 601))),
        # Of what is rejected only the part that had arrived came twice.
        (201, 200, ((201, 301), (401, 601))),
        (401, 100, ((401, 501), (401, 601))),
        (501, 300, ((501, 601), (401, 601))),
        (301, 100, ((401, 601),)),
        (701, 100, ((401, 601),)),
    ],
)
def test_a_rejected_duplicate_is_reported(seq: int, length: int, blocks: tuple[tuple[int, int], ...]) -> None:
    script = behind_the_clock()
    script.inject(length=length, seq=seq, ts_val=1009)
    script.expect("A", ack=301, ts_ecr=1010, sack=blocks)
    script.quiet()
    assert script.count("TcpExtPAWSEstab") == 1
    assert script.count("TcpExtTCPDSACKOldSent") == len(blocks) - 1
    assert script.stack.connections[0].delivered == 300
    # Once.
    script.inject("A", length=100, seq=301, ts_val=1010)
    script.expect("A", ack=601, sack=None)


def test_a_rejected_duplicate_is_not_reported_without_sack() -> None:
    script = Script.accepted(TcpConfig(sack=False))
    script.inject(length=300, ts_val=1010)
    script.fresh()
    script.inject(length=300, seq=1, ts_val=1009)
    script.expect("A", ack=301, sack=None)


# --- The limit of ACKs for what PAWS rejects (Linux: tcp_invalid_ratelimit) -------------------------


def limited(pause: int) -> TcpConfig:
    return TcpConfig(mptcp=replace(MptcpConfig(), invalid_ratelimit=pause))


def test_acks_that_fail_paws_are_answered_once_in_a_while() -> None:
    script = Script.accepted(limited(500 * MS))
    script.inject(length=300, ts_val=1010)
    script.fresh()
    answers = []
    for _ in range(20):
        script.inject("A", ts_val=1009)
        answers += [when // MS for when, _ in script.fresh()]
        script.elapse(100)
    assert [when - answers[0] for when in answers] == [0, 500, 1000, 1500]
    assert script.count("TcpExtTCPACKSkippedPAWS") == 16
    assert script.count("TcpExtPAWSEstab") == 20


def test_segments_outside_of_the_window_have_a_part_in_the_limit() -> None:
    script = Script.accepted(limited(500 * MS))
    script.inject(length=300, ts_val=1010)
    script.fresh()
    script.inject("A", ts_val=1009)
    assert len(script.fresh()) == 1
    # A keepalive.
    script.inject("A", seq=300, ts_val=1010)
    assert script.fresh() == []
    assert script.count("TcpExtTCPACKSkippedSeq") == 1


@pytest.mark.parametrize(("flags", "length"), [("A", 100), ("FA", 0)])
def test_what_takes_a_sequence_number_is_always_answered(flags: str, length: int) -> None:
    """It is no part of a loop of ACKs, and its sender waits for the ACK."""
    script = Script.accepted(limited(500 * MS))
    script.inject(length=300, ts_val=1010)
    script.fresh()
    for _ in range(3):
        script.inject(flags, length=length, seq=1, ts_val=1009)
        assert len(script.fresh()) == 1


def test_without_the_limit_each_is_answered() -> None:
    script = Script.accepted(limited(0))
    script.inject(length=300, ts_val=1010)
    script.fresh()
    for _ in range(5):
        script.inject("A", ts_val=1009)
        assert len(script.fresh()) == 1


def test_linux_alone_has_the_limit() -> None:
    linux = {"linux-6.18", "linux-6.17-noprobe"}
    assert {name: config.invalid_ratelimit for name, config in PROFILES.items()} == {
        name: 500 * MS if name in linux else 0 for name in PROFILES
    }


# --- The sender: RACK (RFC 8985 section 6.2) ---------------------------------------------------------


def test_a_dsack_is_reordering_seen() -> None:
    """Else the window is 0 whenever three segments are SACKed, and never grows out of that."""
    rack = Rack(Scoreboard())
    rack.board.sacked_segments = 3
    assert rack.window(False, 400, 100) == 0
    rack.on_dsack(1_000, 5_000)
    assert rack.reordering_seen
    assert rack.window(False, 400, 100) == rack.window(True, 400, 100) == 50
    # Further ones of the same round trip do not widen it.
    rack.on_dsack(4_000, 6_000)
    assert rack.window(False, 400, 100) == 50


def test_the_dsack_of_a_loss_probe_says_nothing_of_reordering() -> None:
    """A probe is due to a timer (RFC 8985 section 7), whatever RACK's window."""
    script = Script.connected(
        TcpConfig(congestion="reno", initial_window_segments=20), rtt=100 * MS, mss=MSS, ts_val=UNKNOWN
    )
    script.write(3 * MSS)
    script.fresh()
    script.elapse(100)
    script.inject("A", ack=1 + 2 * MSS)
    script.elapse(250)
    (probe,) = [segment for _, segment in script.fresh()]
    assert probe.seq == 1 + 2 * MSS
    rack = script.tcp.sender.recovery.rack
    assert rack is not None
    script.inject("A", ack=1 + 3 * MSS)
    script.inject("A", ack=1 + 3 * MSS, sack=((1 + 2 * MSS, 1 + 3 * MSS),))
    assert script.count("TcpExtTCPDSACKRecv") == 1
    assert not rack.reordering_seen
    assert rack.reo_wnd_mult == 1


SCENARIO = """
title = "Some packets come late"
seed = {seed}
duration = "15s"
[hosts.c]
interfaces = {{ e = "10.0.0.1/24" }}
[hosts.s]
interfaces = {{ e = "10.0.0.2/24" }}
[[links]]
ends = ["c:e", "s:e"]
rate = "20Mbps"
delay = "20ms"
queue = "150kB"
forward = {{ reorder = 0.01, reorder_delay = "30ms" }}
[[flows]]
client = "c"
server = "s"
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_reordering_by_less_than_a_round_trip_costs_nothing(seed: int) -> None:
    """Linux 6.18 makes 18.7 to 19.1 Mbit/s of this; from 5 s on, when it has learned of it."""
    simulation = build(loads(SCENARIO.format(seed=seed)))
    simulation.env.run(5 * SECOND)
    receiver = simulation.flows[0].receiver
    assert receiver is not None
    before = receiver.delivered
    simulation.env.run(15 * SECOND)
    assert 18.5 <= (receiver.delivered - before) * 8 / 10 / 1e6 <= 19.4
