"""How a connection ends: closing in every order, and resets (RFC 9293 sections 3.6 and 3.10.7)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.segment import (
    ACK,
    FIN,
    RST,
)
from mptcpsim.units import MINUTE, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script
from tests.core.tcp.test_states import MS, state


def test_half_close() -> None:
    """After its FIN an end still receives; each direction closes on its own."""
    pair = Pair()
    client, server = pair.establish()
    client.write(1000, pair.now)
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    assert (state(client), state(server)) == ("FIN-WAIT-2", "CLOSE-WAIT")
    assert server.peer_closed
    assert server.readable == 1000
    assert not client.peer_closed
    with pytest.raises(LocalProtocolError):
        client.write(1, pair.now)
    server.write(50_000, pair.now)
    pair.run(pair.now + 3 * SECOND)
    assert client.delivered == 50_000
    server.close(pair.now)
    pair.run(pair.now + SECOND)
    assert (state(client), state(server)) == ("TIME-WAIT", "CLOSED")
    assert client.peer_closed
    pair.run()
    assert client.closed
    assert not client.error
    assert not server.error


def test_simultaneous_close() -> None:
    """RFC 9293 figure 13: FINs cross, both ends pass CLOSING and wait in TIME-WAIT."""
    pair = Pair()
    client, server = pair.establish()
    pair.run(SECOND)
    client.close(SECOND)
    server.close(SECOND)
    pair.run(SECOND + 50 * MS)
    assert state(client) == state(server) == "CLOSING"
    pair.run(SECOND + 100 * MS)
    assert state(client) == state(server) == "TIME-WAIT"
    pair.run(SECOND + 100 * MS + MINUTE - 1)
    assert state(client) == "TIME-WAIT"
    pair.run(SECOND + 100 * MS + MINUTE)
    assert client.closed
    assert server.closed


def test_fin_and_ack_of_fin_in_one_segment() -> None:
    script = Script.accepted()
    script.close()
    script.expect("FA", seq=1)
    script.inject("FA")
    script.expect("A", ack=2)
    assert script.state == "TIME-WAIT"


def test_time_wait_lasts_and_restarts() -> None:
    """RFC 9293 section 3.10.7.4: a FIN that comes again is acknowledged and begins 2 MSL anew."""
    script = Script.accepted(TcpConfig(time_wait=10 * SECOND))
    script.close()
    script.expect("FA")
    script.inject("A")
    assert script.state == "FIN-WAIT-2"
    script.inject("FA")
    script.expect("A", ack=2)
    script.elapse(9_000)
    script.inject("FA", seq=1)
    script.expect("A", ack=2)
    script.elapse(9_999)
    assert script.state == "TIME-WAIT"
    script.elapse(1)
    assert script.state == "CLOSED"
    script.quiet()


def test_old_data_does_not_restart_time_wait() -> None:
    script = Script.accepted(TcpConfig(time_wait=10 * SECOND))
    script.inject(length=10)
    script.close()
    script.expect("FA")
    script.inject("FA")
    script.expect("A")
    script.elapse(9_000)
    script.inject("A", seq=1, length=10)
    script.expect("A")
    script.elapse(1_000)
    assert script.state == "CLOSED"


def test_fin_is_retransmitted() -> None:
    script = Script.accepted(TcpConfig(rack_tlp=False, rto_min=SECOND))
    script.close()
    begin = script.now
    script.run(begin + 10 * SECOND)
    sent = script.fresh()
    assert [when - begin for when, _ in sent] == [0, SECOND, 3 * SECOND, 7 * SECOND]
    assert all(segment.flags & FIN and segment.seq == 1 for _, segment in sent)


def test_fin_rides_on_the_last_data() -> None:
    script = Script.accepted()
    script.write(20_000)
    script.fresh()
    script.close()
    script.inject("A")
    rest = script.fresh()
    assert [bool(segment.flags & FIN) for _, segment in rest] == [False] * (len(rest) - 1) + [True]
    assert rest[-1][1].end == 1 + 20_000 + 1
    assert script.state == "FIN-WAIT-1"


def test_fin_that_overtakes_data() -> None:
    """It counts when the data before it is there."""
    for prediction in (True, False):
        script = Script.accepted(TcpConfig(header_prediction=prediction))
        script.inject("FA", seq=1001)
        script.expect("A", ack=1)
        assert script.state == "ESTABLISHED"
        script.seq = 1
        script.inject(length=1000)
        script.expect("A", ack=1002)
        assert script.state == "CLOSE-WAIT"


def test_data_after_the_fin_is_ignored() -> None:
    script = Script.accepted()
    script.inject("FA", length=100)
    script.expect("A", ack=102)
    script.inject(length=100)
    script.expect("A", ack=102)
    assert script.stack.connections[0].delivered == 100


def test_close_waits_for_the_handshake() -> None:
    """CLOSE in SYN-RECEIVED: the FIN follows as soon as the connection is established."""
    script = Script()
    script.listen()
    script.inject("S")
    script.expect("SA")
    script.close()
    script.quiet()
    script.inject("A")
    script.expect("FA", seq=1, ack=1)
    assert script.state == "FIN-WAIT-1"


def test_acked_fin_in_last_ack_ends_the_connection() -> None:
    script = Script.accepted()
    script.inject("FA")
    script.expect("A")
    script.close()
    script.expect("FA", seq=1)
    assert script.state == "LAST-ACK"
    script.inject("A", ack=1)
    assert script.state == "LAST-ACK"
    script.inject("A", ack=2)
    assert script.state == "CLOSED"


def in_state(name: str) -> Script:
    """Return a script whose stack is in a synchronized state; the peer's next number is in ``seq``."""
    script = Script.accepted()
    if name in ("CLOSE-WAIT", "LAST-ACK"):
        script.inject("FA")
        script.expect("A")
    if name in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "TIME-WAIT", "LAST-ACK"):
        script.close()
        script.expect("FA")
    if name == "FIN-WAIT-2":
        script.inject("A")
    if name == "CLOSING":
        script.inject("FA", ack=1)
        script.expect("A")
    if name == "TIME-WAIT":
        script.inject("FA")
        script.expect("A")
    assert script.state == name
    return script


SYNCHRONIZED = (
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
)


@pytest.mark.parametrize("name", SYNCHRONIZED)
def test_reset_by_the_peer(name: str) -> None:
    """RFC 9293 section 3.10.7.4 step 2: an error while data may be pending, else an orderly end."""
    script = in_state(name)
    script.inject("R")
    script.quiet()
    assert script.state == "CLOSED"
    orderly = name in ("CLOSING", "LAST-ACK", "TIME-WAIT")
    assert script.stack.connections[0].error == ("" if orderly else "connection reset by peer")


@pytest.mark.parametrize("name", SYNCHRONIZED)
def test_abort(name: str) -> None:
    """RFC 9293 section 3.10.5: a RST, except where both ends have closed already."""
    script = in_state(name)
    script.abort()
    if name not in ("CLOSING", "LAST-ACK", "TIME-WAIT"):
        script.expect("RA", seq=script.tcp.sender.nxt)
    script.quiet()
    assert script.state == "CLOSED"
    assert script.stack.connections[0].error == "aborted"


def test_abort_reaches_the_peer() -> None:
    pair = Pair()
    client, server = pair.establish()
    client.write(100_000, pair.now)
    pair.run(pair.now + 120 * MS)
    client.abort(pair.now)
    pair.run()
    assert server.error == "connection reset by peer"
    assert server.closed


def test_unanswered_data_ends_the_connection() -> None:
    script = Script.accepted(TcpConfig(data_retries=3, rack_tlp=False, rto_min=SECOND))
    script.write(10)
    script.run(100 * SECOND)
    letters = [segment.flags & (RST | ACK) for _, segment in script.fresh()]
    assert letters == [ACK] * 4 + [RST | ACK]
    assert "not acknowledged" in script.stack.connections[0].error
