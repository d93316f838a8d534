"""A host that nobody records forgets its connections when they have ended: only open ones take memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mptcpsim import Simulation, build, loads
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.subflow import Subflow
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.run import sampler_of
from mptcpsim.sim.sockets import ConnectionFailed, Socket
from mptcpsim.units import MINUTE
from tests.core.tcp.pair import Pair

Process = Generator[Any, Any, None]

SCENARIO = """\
title = "Short connections"
duration = "2h"
[hosts.a]
interfaces = { e = "10.0.0.2/24", f = "10.2.0.2/24" }
default_route = "10.0.0.1"
[hosts.b]
interfaces = { e = "10.1.0.2/24", f = "10.3.0.2/24" }
default_route = "10.1.0.1"
[routers.r]
interfaces = { ae = "10.0.0.1/24", be = "10.1.0.1/24", af = "10.2.0.1/24", bf = "10.3.0.1/24" }
[[links]]
ends = ["a:e", "r:ae"]
delay = "1ms"
[[links]]
ends = ["r:be", "b:e"]
delay = "1ms"
[[links]]
ends = ["a:f", "r:af"]
delay = "1ms"
[[links]]
ends = ["r:bf", "b:f"]
delay = "1ms"
[[flows]]
client = "a"
server = "b"
start = "1h"
[defaults.tcp]
time_wait = "100ms"
keepalive = true
"""
MPTCP = (
    "defaults.mptcp=rfc8684",
    'hosts.a.mptcp.path_manager={ name = "endpoints", endpoints = "10.2.0.2 subflow" }',
)
PROTOCOLS = {
    "TCP": (),
    "MPTCP": MPTCP,
    "fallback": ("hosts.a.mptcp=rfc8684",),
}
#: Some connections: with twice as many objects of a kind, those of four times as many are not kept.
ROUND = 60


def sequence(socket: Socket) -> Process:
    """Write, close, wait for the end of the answer."""
    yield socket.established()
    socket.write(3000)
    socket.close()
    while not socket.at_end:
        yield socket.readable()
        socket.read(1000)


def abort(socket: Socket) -> Process:
    yield socket.established()
    socket.write(3000)
    socket.abort()


def release(socket: Socket) -> Process:
    """The server answers what nobody waits for."""
    yield socket.established()
    socket.write(3000)
    socket.release()


def forget(socket: Socket) -> Process:
    """Nothing at all: the process ends while its connection is being opened."""
    socket.close()
    yield socket.connection and socket._env.timeout("1ms")


WAYS: dict[str, Callable[[Socket], Process]] = {
    "sequence": sequence,
    "abort": abort,
    "release": release,
    "forget": forget,
}


class Traffic:
    """Clients at a, one after the other, and a server at b for each."""

    def __init__(self, protocol: str, way: str) -> None:
        self.simulation: Simulation = build(loads(SCENARIO, overrides=PROTOCOLS[protocol]))
        self.env = self.simulation.env
        self.way = WAYS[way]
        self.delivered = 0
        self.port = 80
        self.env.process(self._listen())

    def _listen(self) -> Process:
        listening = self.simulation.sockets["b"].listen(80)
        while True:
            socket = yield listening.accept()
            self.env.process(self._serve(socket))

    def _serve(self, socket: Socket) -> Process:
        with suppress(ConnectionFailed):
            while not socket.at_end:
                yield socket.readable()
                self.delivered += socket.read(1000)
            socket.close()

    def connect(self, count: int) -> None:
        """Open and end that many connections."""

        def clients() -> Process:
            for _ in range(count):
                socket = self.simulation.sockets["a"].connect("10.0.0.2", ("10.1.0.2", self.port))
                with suppress(ConnectionFailed):
                    yield from self.way(socket)
                yield self.env.timeout("30ms")

        self.env.run(until=self.env.process(clients()))
        self.env.run(until=self.env.now + 5 * MINUTE)

    def sizes(self) -> dict[str, int]:
        """Return how many objects there are of what a connection is made of, and how long lists are."""
        gc.collect()
        kinds = (Connection, MptcpConnection, Tcp, Subflow, Socket)
        found = dict.fromkeys((kind.__name__ for kind in kinds), 0)
        for thing in gc.get_objects():
            if isinstance(thing, kinds):
                found[type(thing).__name__] += 1
        for name, host in self.simulation.hosts.items():
            stack = host.stack
            found[f"connections of {name}"] = len(stack.connections)
            known = {connection.identifier for connection in stack.connections}
            assert {event.connection for event in stack.events} <= known
            found[f"timers of {name}"] = len(stack._wakeups)
            found[f"courses of {name}"] = len(host._decisions)
            found[f"tokens of {name}"] = len(stack.tokens)
            found[f"subflows of {name}"] = len(stack._tcps)
        found["callbacks"] = self.env.loop.pending()
        return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", WAYS)
def test_only_open_connections_take_memory(protocol: str, way: str) -> None:
    """The number of objects is bounded, whatever the number of connections was."""
    gc.collect()
    before = sum(isinstance(thing, (Connection, Tcp, Socket)) for thing in gc.get_objects())
    traffic = Traffic(protocol, way)
    for _ in range(4):
        traffic.connect(ROUND)
    if way == "sequence":
        assert traffic.delivered == 4 * ROUND * 3000
    last = traffic.sizes()
    for name, size in last.items():
        # Some that have ended are kept until it is worth looking for them: less than half, here.
        assert size - before <= 2 * ROUND, name
    assert last["tokens of a"] == last["tokens of b"] == 0
    assert last["subflows of a"] == last["subflows of b"] == 0


def test_refused_connections() -> None:
    traffic = Traffic("TCP", "sequence")
    traffic.port = 81
    traffic.connect(4 * ROUND)
    assert traffic.sizes()["connections of a"] < ROUND


def test_identifiers_are_never_given_twice() -> None:
    pair = Pair(TcpConfig(time_wait=1))
    seen = []
    for _ in range(3 * ROUND):
        client, server = pair.establish()
        seen.append((client.identifier, server.identifier))
        client.abort(pair.now)
        pair.run()
    assert seen == [(number, number) for number in range(3 * ROUND)]
    assert len(pair.client.connections) < ROUND


def test_open_connections_and_their_events_stay() -> None:
    pair = Pair(TcpConfig(time_wait=1))
    kept, _ = pair.establish()
    begun = [event for event in pair.client.events if event.connection == kept.identifier]
    assert begun
    for _ in range(3 * ROUND):
        client, _ = pair.establish()
        client.abort(pair.now)
        pair.run()
    assert kept in pair.client.connections
    assert [event for event in pair.client.events if event.connection == kept.identifier] == begun


@pytest.mark.parametrize("protocol", ["TCP", "MPTCP"])
def test_a_host_that_is_recorded_forgets_nothing(protocol: str, tmp_path: Path) -> None:
    """What happened to a connection belongs to the results of the run."""
    traffic = Traffic(protocol, "sequence")
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        sampler_of(traffic.simulation, recorder)
        traffic.connect(3 * ROUND)
    for host in traffic.simulation.hosts.values():
        assert [connection.identifier for connection in host.stack.connections] == list(range(3 * ROUND))
        assert {event.connection for event in host.stack.events} == set(range(3 * ROUND))


def test_a_socket_lives_as_long_as_its_connection() -> None:
    """However often it is asked for: what waits at it is not lost."""
    simulation = build(loads(SCENARIO))
    sockets = simulation.sockets["a"]
    socket = sockets.connect("10.0.0.2", ("10.1.0.2", 80))
    simulation.env.run("1s")
    assert sockets.of(socket.connection) is socket
