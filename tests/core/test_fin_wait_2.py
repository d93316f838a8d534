"""FIN-WAIT-2 ends by itself for who has given up reading, and for nobody else.

RFC 9293 section 3.6 has no end of it: after a half-close the peer writes as long as it likes. Linux
forgets an orphan, a connection that was closed and not only shut down, after ``tcp_fin_timeout``.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from mptcpsim import build, loads
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import FIN
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED, FIN_WAIT_2, STATE_NAMES
from mptcpsim.units import MINUTE, SECOND
from tests.core.mptcp.pair import MS, MptcpPair
from tests.core.mptcp.plan import mptcp
from tests.core.mptcp.two_paths import moves, ready, resets_anywhere
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script

HOUR = 60 * MINUTE


def state(connection: Connection) -> str:
    return STATE_NAMES[connection.subflows[0].state]


# --- Plain TCP --------------------------------------------------------------------------------------


def test_an_orphan_ends_after_a_minute() -> None:
    """What the peer sends after that belongs to no connection."""
    script = Script.accepted()
    connection = script.stack.connections[0]
    connection.release(script.now)
    script.drain()
    script.expect("FA")
    script.inject("A")
    begin = script.now
    script.run(begin + MINUTE - 1)
    assert script.state == "FIN-WAIT-2"
    script.run(begin + MINUTE)
    assert script.state == "CLOSED"
    assert connection.closed
    assert not connection.error
    script.quiet()
    script.inject("FA")
    script.expect("R", seq=2)


@pytest.mark.parametrize("timeout", [3 * SECOND, 10 * MINUTE])
def test_the_time_can_be_chosen(timeout: int) -> None:
    script = Script.accepted(TcpConfig(fin_timeout=timeout))
    script.stack.connections[0].release(script.now)
    script.drain()
    script.expect("FA")
    script.inject("A")
    begin = script.now
    script.run(begin + timeout - 1)
    assert script.state == "FIN-WAIT-2"
    script.run(begin + timeout)
    assert script.state == "CLOSED"


def test_what_comes_in_time_does_not_prolong_it() -> None:
    script = Script.accepted()
    script.stack.connections[0].release(script.now)
    script.drain()
    script.expect("FA")
    script.inject("A")
    begin = script.now
    script.run(begin + 50 * SECOND)
    script.inject("A")
    script.run(begin + MINUTE)
    assert script.state == "CLOSED"


def test_a_fin_in_time_leads_to_time_wait() -> None:
    script = Script.accepted(TcpConfig(time_wait=10 * MINUTE))
    script.stack.connections[0].release(script.now)
    script.drain()
    script.expect("FA")
    script.inject("A")
    script.elapse(59_000)
    script.inject("FA")
    script.expect("A", ack=2)
    begin = script.now
    script.run(begin + 10 * MINUTE - 1)
    assert script.state == "TIME-WAIT"
    script.run(begin + 10 * MINUTE)
    assert script.state == "CLOSED"


def test_after_a_half_close_data_is_read_an_hour_later() -> None:
    pair = Pair(TcpConfig(fin_timeout=3 * SECOND))
    client, server = pair.establish()
    client.close(pair.now)
    pair.run(pair.now + HOUR)
    assert state(client) == "FIN-WAIT-2"
    server.write(5000, pair.now)
    server.close(pair.now)
    pair.run(pair.now + SECOND)
    assert client.read(10_000, pair.now) == 5000
    assert client.peer_closed
    assert state(client) == "TIME-WAIT"


def test_giving_up_later_begins_the_wait() -> None:
    pair = Pair()
    client, _ = pair.establish()
    client.close(pair.now)
    pair.run(pair.now + HOUR)
    client.release(pair.now)
    begin = pair.now
    pair.run(begin + MINUTE - 1)
    assert state(client) == "FIN-WAIT-2"
    pair.run(begin + MINUTE)
    assert client.closed


def test_data_that_waits_is_sent_first() -> None:
    """A release takes nothing back: the wait begins when all has arrived, the FIN included."""
    small = TcpConfig(receive_buffer=4096)
    pair = Pair(TcpConfig(fin_timeout=SECOND), small)
    client, server = pair.establish()
    client.write(20_000, pair.now)
    client.release(pair.now)
    for _ in range(10):
        pair.run(pair.now + 5 * SECOND)
        server.read(4096, pair.now)
    pair.run(pair.now + 10 * SECOND)
    assert server.delivered == 20_000
    assert server.peer_closed
    assert client.closed
    assert not client.error
    assert not server.error


# --- MPTCP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("subflows", [1, 2])
def test_subflows_of_a_connection_that_still_receives(version: int, subflows: int) -> None:
    """Their FINs follow our DATA_FIN, and the peer goes on using them."""
    pair, client, server = ready(version, subflows)
    client.close(pair.now)
    pair.run(pair.now + HOUR)
    assert [tcp.state for tcp in client.subflows] == [FIN_WAIT_2] * subflows
    server.write(50_000, pair.now)
    server.close(pair.now)
    pair.run(pair.now + 5 * SECOND)
    assert client.read(60_000, pair.now) == 50_000
    assert client.peer_closed
    pair.run()
    assert client.closed
    assert not client.error
    assert not server.error
    assert not resets_anywhere(pair)


@pytest.mark.parametrize("version", [1, 0])
@pytest.mark.parametrize("subflows", [1, 2])
def test_an_orphan_goes_with_its_subflows(version: int, subflows: int) -> None:
    pair, client, _ = ready(version, subflows)
    begin = pair.now
    client.release(begin)
    pair.run(begin + MINUTE - SECOND)
    assert [tcp.state for tcp in client.subflows] == [FIN_WAIT_2] * subflows
    pair.run(begin + MINUTE + SECOND)
    assert [tcp.state for tcp in client.subflows] == [CLOSED] * subflows
    assert client.closed
    assert not client.error
    assert moves(pair, client)[-1] == "M_FIN_WAIT_2"


def test_an_orphan_sends_all_that_was_written() -> None:
    small = mptcp(tcp={"receive_buffer": 8192})
    pair = MptcpPair(mptcp(tcp={"fin_timeout": SECOND}), small)
    client, server = pair.establish()
    client.write(30_000, pair.now)
    client.release(pair.now)
    for _ in range(20):
        pair.run(pair.now + 5 * SECOND)
        server.read(8192, pair.now)
    assert server.consumed == 30_000
    assert server.peer_closed
    assert client.closed
    assert not client.error


def test_both_streams_have_ended_and_the_last_fin_never_comes() -> None:
    """Nothing can come on such a subflow, whoever reads."""
    pair, client, server = ready(1, 1)

    def no_fin(way: str, packet: Any, now: int) -> list[Any]:
        return [] if way == "s>c" and packet.flags & FIN else [packet]

    pair.hook = no_fin
    server.close(pair.now)
    client.close(pair.now)
    pair.run(pair.now + 30 * SECOND)
    assert client.peer_closed
    assert not client.closed
    pair.run(pair.now + 35 * SECOND)
    assert client.closed
    assert not client.error


# --- Sockets and flows ------------------------------------------------------------------------------

SCENARIO = """\
title = "Half closed"
duration = "1h"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[[links]]
name = "l"
ends = ["a:e", "b:e"]
rate = "10Mbps"
delay = "10ms"
[[flows]]
client = "a"
server = "b"
bytes = "100kB"
reader = { read_size = "100kB", every = "10min" }
"""
KINDS = pytest.mark.parametrize("overrides", [(), ("defaults.mptcp=rfc8684",)], ids=["TCP", "MPTCP"])


@KINDS
def test_a_program_that_has_sent_all_is_forgotten_before_the_reader_is_done(
    overrides: tuple[str, ...],
) -> None:
    """Nobody reads at the sender of a flow: its end goes after a minute, and the reader loses nothing."""
    simulation = build(loads(SCENARIO, overrides=overrides))
    (flow,) = simulation.flows
    simulation.env.run("30s")
    assert flow.client is not None
    assert flow.server is not None
    assert not flow.client.closed
    simulation.env.run("2min")
    assert flow.client.closed
    assert flow.server.consumed == 0
    simulation.env.run("1h")
    assert flow.server.consumed == 100_000
    assert flow.completed_at >= 10 * MINUTE
    assert not flow.error


@KINDS
def test_close_of_a_socket_is_a_half_close(overrides: tuple[str, ...]) -> None:
    simulation = build(loads(SCENARIO, overrides=(*overrides, "flows.0.start='59min'")))
    env = simulation.env
    read = []

    def client() -> Generator[Any, Any, None]:
        socket = simulation.sockets["a"].connect("10.0.0.1", ("10.0.0.2", 80))
        yield socket.established()
        socket.close()
        while not socket.at_end:
            yield socket.readable()
            read.append((env.now, socket.read(1000)))
        socket.release()

    def server() -> Generator[Any, Any, None]:
        socket = yield simulation.sockets["b"].listen(80).accept()
        yield env.timeout("10min")
        socket.write(1000)
        socket.close()

    env.process(server())
    env.process(client())
    env.run("20min")
    assert sum(count for _, count in read) == 1000
    assert 10 * MINUTE < read[0][0] < 10 * MINUTE + 100 * MS
    for sockets in simulation.sockets.values():
        assert all(
            connection.closed and not connection.error for connection in sockets.host.stack.connections
        )
