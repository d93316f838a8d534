"""Keepalives (RFC 9293 section 3.8.4)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet
from mptcpsim.units import SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script

#: Probe after 100 s of silence, every 10 s, three times.
KEEPALIVE = {
    "keepalive": True,
    "keepalive_idle": 100 * SECOND,
    "keepalive_interval": 10 * SECOND,
    "keepalive_probes": 3,
}


def idle(**config: object) -> Script:
    script = Script.accepted(TcpConfig(**{**KEEPALIVE, **config}))  # type: ignore[arg-type]
    script.inject(length=1)
    script.elapse(100)
    script.expect("A")
    return script


def test_off_by_default() -> None:
    """MUST-25: "Keep-alive MUST default to off"; at least two hours if on (MUST-28)."""
    config = TcpConfig()
    assert not config.keepalive
    assert config.keepalive_idle >= 2 * 3600 * SECOND
    script = Script.accepted()
    script.elapse(10_000_000)
    script.quiet()


def test_probe_schedule_and_failure() -> None:
    """The first after the idle time, without data and one below SND.NXT; then the connection is reset."""
    script = idle()
    for second in (100, 110, 120):
        script.run(second * SECOND)
        script.expect("A", at=second * SECOND, seq=0, length=0, ack=2)
    script.run(129 * SECOND)
    script.quiet()
    script.run(130 * SECOND)
    script.expect("RA", seq=1)
    assert script.state == "CLOSED"
    assert "keepalives" in script.stack.connections[0].error
    assert script.count("TcpExtTCPKeepAlive") == 3


def test_answered_probes_keep_the_connection() -> None:
    script = idle()
    for round_trip in range(1, 50):
        script.run(round_trip * 100 * SECOND)
        script.expect("A", seq=0, length=0)
        script.inject("A")
    assert script.state == "ESTABLISHED"


def test_an_interval_longer_than_the_idle_time() -> None:
    """Every probe is answered: none counts as unanswered."""
    script = idle(keepalive_idle=10 * SECOND, keepalive_interval=75 * SECOND)
    script.fresh()
    for _ in range(20):
        assert script.tcp.keepalive is not None
        script.run(script.tcp.keepalive.at)
        script.expect("A", seq=0)
        script.elapse(100)
        script.inject("A")
    assert script.state == "ESTABLISHED"


def test_anything_heard_postpones_it() -> None:
    script = idle()
    for _ in range(10):
        script.elapse(60_000)
        script.inject(length=1)
        script.elapse(40)
        script.expect("A", length=0, seq=1)
    script.quiet()
    heard = script.now - 40_000_000
    script.run(heard + 100 * SECOND - 1)
    script.quiet()
    script.run(heard + 100 * SECOND)
    script.expect("A", seq=0)


def test_not_while_data_is_outstanding() -> None:
    """The retransmission timer watches then; both would be too much."""
    script = idle(rto_max=2000 * SECOND)
    script.elapse(99_000)
    script.write(10)
    script.elapse(60_000)
    sent = [segment for _, segment in script.fresh()]
    assert {(segment.seq, segment.length) for segment in sent} == {(1, 10)}
    assert script.count("TcpExtTCPKeepAlive") == 0


@pytest.mark.parametrize("half", [False, True])
def test_peer_answers_a_probe_at_once(half: bool) -> None:
    pair = Pair(TcpConfig(**KEEPALIVE))  # type: ignore[arg-type]
    client, server = pair.establish()
    if half:
        server.close(pair.now)
    pair.run(1000 * SECOND)
    assert not client.closed
    probes = [when for when, segment in pair.segments("c>s") if segment.seq == 0 and when > SECOND]
    assert len(probes) >= 9
    for when in probes:
        assert when + pair.delay in [at for at, _ in pair.segments("s>c")]


def test_dead_peer_is_found() -> None:
    alive = True

    def hook(_: str, packet: Packet, __: int) -> list[Packet]:
        return [packet] if alive else []

    pair = Pair(TcpConfig(**KEEPALIVE), hook=hook)  # type: ignore[arg-type]
    client, _ = pair.establish()
    alive = False
    pair.run(200 * SECOND)
    assert client.closed
