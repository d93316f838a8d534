"""Sockets as a user's SimPy processes see them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from mptcpsim import LocalProtocolError, Simulation, build, loads
from mptcpsim.sim.sockets import ConnectionFailed, Socket
from mptcpsim.units import MILLISECOND, SECOND

Process = Generator[Any, Any, Any]

#: One way; the link has no rate limit, so that every instant can be computed by hand.
DELAY = 10 * MILLISECOND
A, B = "10.0.0.1", "10.0.0.2"

SCENARIO = f"""\
title = "Sockets"
duration = "2h"
[hosts.a]
interfaces = {{ e = "{A}/24" }}
[hosts.b]
interfaces = {{ e = "{B}/24" }}
[[links]]
name = "l"
ends = ["a:e", "b:e"]
delay = "10ms"
[[flows]]
client = "a"
server = "b"
start = "1h"
"""


def simulation(*overrides: str) -> Simulation:
    """Return two hosts on a link, on which nothing happens by itself."""
    return build(loads(SCENARIO, overrides=overrides))


class Ends:
    """A connection from a to b, its sockets once it is established."""

    def __init__(self, *overrides: str) -> None:
        self.simulation = simulation(*overrides)
        self.env = self.simulation.env
        listening = self.simulation.sockets["b"].listen(80)
        self.client = self.simulation.sockets["a"].connect(A, (B, 80))
        self.server: Socket = self.env.run(until=listening.accept())

    def process(self, process: Process) -> Any:
        """Run a process to its end and return its value."""
        return self.env.run(until=self.env.process(process))


class TestHandshake:
    def test_each_end_knows_when_it_can(self) -> None:
        sim = simulation()
        instants = {}

        def client() -> Process:
            socket = sim.sockets["a"].connect(A, (B, 80))
            assert (yield socket.established()) is socket
            instants["client"] = sim.env.now

        def server() -> Process:
            socket = yield sim.sockets["b"].listen(80).accept()
            instants["server"] = sim.env.now
            yield socket.established()
            assert sim.env.now == instants["server"]

        sim.env.process(server())
        sim.env.process(client())
        sim.env.run("1s")
        assert instants == {"client": 2 * DELAY, "server": 3 * DELAY}

    def test_connections_are_handed_out_in_order(self) -> None:
        sim = simulation()
        listening = sim.sockets["b"].listen(80)
        waiting = [listening.accept() for _ in range(2)]
        clients = [sim.sockets["a"].connect(A, (B, 80)) for _ in range(3)]
        sim.env.run("1s")
        accepted: list[Any] = [event.value for event in waiting] + [sim.env.run(until=listening.accept())]
        ports = [socket.connection.subflows[0].flow.dport for socket in accepted]
        assert ports == [socket.connection.local_port for socket in clients]
        assert len(set(ports)) == 3

    def test_mistakes_of_the_program_are_exceptions_at_once(self) -> None:
        sim = simulation()
        sockets = sim.sockets["a"]
        sockets.listen(80)
        for command in (
            lambda: sockets.connect("10.0.0.7", (B, 80)),
            lambda: sockets.connect(A, (B, 0)),
            lambda: sockets.connect(A, (B, 65536)),
            lambda: sockets.listen(80),
            lambda: sockets.listen(0),
        ):
            with pytest.raises(LocalProtocolError):
                command()


class TestData:
    def test_a_write_is_readable_one_delay_later(self) -> None:
        ends = Ends()
        begun = ends.env.now
        assert ends.client.write(1000) == 1000
        ends.env.run(until=ends.server.readable())
        assert ends.env.now == begun + DELAY
        assert (ends.server.read(400), ends.server.read(4096), ends.server.read(1)) == (400, 600, 0)

    def test_everybody_who_waits_is_woken(self) -> None:
        ends = Ends()
        woken = []

        def reader(name: str) -> Process:
            yield ends.server.readable()
            woken.append((name, ends.server.read(10)))

        for name in "xyz":
            ends.env.process(reader(name))
        ends.client.write(15)
        ends.env.run(ends.env.now + SECOND)
        assert woken == [("x", 10), ("y", 5), ("z", 0)]

    def test_a_full_buffer_is_writable_again_when_a_third_is_free(self) -> None:
        ends = Ends("defaults.tcp.send_buffer='30kB'", "links.l.rate='1Mbps'")
        assert ends.client.write(50_000) == 30_000
        assert ends.client.write(1) == 0
        ends.env.run(until=ends.client.writable())
        assert ends.client.connection.writable >= 10_000
        assert ends.client.connection.writable < 10_000 + 2 * 1448

    def test_a_half_closed_connection_still_carries_the_other_direction(self) -> None:
        ends = Ends()
        ends.client.write(100)
        ends.client.close()

        def serve() -> Process:
            yield ends.server.peer_closed()
            assert not ends.server.at_end
            assert ends.server.read(1000) == 100
            assert ends.server.at_end
            yield ends.env.timeout("1s")
            ends.server.write(70)
            ends.server.close()

        ends.env.process(serve())
        ends.env.run(until=ends.client.peer_closed())
        assert ends.client.read(1000) == 70
        ends.env.run(until=ends.server.closed())
        assert ends.server.connection.error == ""

    def test_the_end_makes_readable_and_a_read_returns_nothing(self) -> None:
        ends = Ends()
        ends.client.close()
        ends.env.run(until=ends.server.readable())
        assert (ends.server.read(10), ends.server.at_end) == (0, True)

    def test_write_after_close_is_a_mistake(self) -> None:
        ends = Ends()
        ends.client.close()
        with pytest.raises(LocalProtocolError, match="write after close"):
            ends.client.write(1)

    def test_a_server_that_reads_nothing_stops_the_client_and_nothing_else(self) -> None:
        ends = Ends("hosts.b.tcp.receive_buffer='20kB'", "hosts.a.tcp.send_buffer='30kB'")

        def pour() -> Process:
            while True:
                yield ends.client.writable()
                ends.client.write(10_000)

        ends.env.process(pour())
        ends.env.run("30s")
        first = ends.client.connection.written
        assert 20_000 <= ends.server.connection.readable <= 20_000 + 1448
        assert first <= 20_000 + 1448 + 30_000
        pending = ends.env.loop.pending()
        ends.env.run("60s")
        assert ends.client.connection.written == first
        assert ends.client.connection.error == ""
        assert ends.env.loop.pending() <= pending
        ends.server.read(15_000)
        ends.env.run("61s")
        assert ends.client.connection.written > first


class TestFailure:
    def test_refused(self) -> None:
        sim = simulation()
        socket = sim.sockets["a"].connect(A, (B, 81))
        with pytest.raises(ConnectionFailed, match="refused"):
            sim.env.run(until=socket.established())
        assert sim.env.now == 2 * DELAY

    def test_timed_out(self) -> None:
        sim = simulation("defaults.tcp.syn_retries=2", "events=[{at='0s', link='l', action='down'}]")
        sim.env.run(1)
        socket = sim.sockets["a"].connect(A, (B, 80))
        with pytest.raises(ConnectionFailed, match="timed out"):
            sim.env.run(until=socket.established())
        # 1 s, doubled twice (RFC 6298).
        assert sim.env.now == 1 + 7 * SECOND

    @pytest.mark.parametrize("condition", ["readable", "writable", "peer_closed", "established"])
    def test_a_reset_ends_every_wait(self, condition: str) -> None:
        ends = Ends("hosts.a.tcp.send_buffer='10kB'", "hosts.b.tcp.receive_buffer='10kB'")
        ends.client.write(100_000)
        ends.env.run("1s")
        ends.client.write(100_000)
        ends.env.run("2s")
        event = getattr(ends.client, condition)()
        ends.server.abort()
        if condition == "established":
            # It holds still, and held when it was asked for.
            assert ends.env.run(until=event) is ends.client
            return
        with pytest.raises(ConnectionFailed, match="reset"):
            ends.env.run(until=event)
        assert ends.env.now == 2 * SECOND + DELAY

    def test_closed_says_that_it_is_over_in_either_case(self) -> None:
        ends = Ends()
        event = ends.client.closed()
        ends.server.abort()
        assert ends.env.run(until=event) is ends.client
        assert "reset" in ends.client.connection.error

    def test_a_wait_that_was_given_up_does_not_end_the_run(self) -> None:
        ends = Ends()

        def impatient() -> Process:
            yield ends.client.readable() | ends.env.timeout("1ms")
            return "gave up"

        assert ends.process(impatient()) == "gave up"
        ends.server.abort()
        ends.env.run("1s")
        assert "reset" in ends.client.connection.error

    def test_a_failure_reaches_who_waits_for_one_of_several(self) -> None:
        ends = Ends()

        def patient() -> Process:
            with pytest.raises(ConnectionFailed, match="reset"):
                yield ends.client.readable() | ends.env.timeout("1h")
            return ends.env.now

        begun = ends.env.now
        ends.server.abort()
        assert ends.process(patient()) == begun + DELAY

    def test_an_uncaught_failure_is_an_exception_of_the_run(self) -> None:
        ends = Ends()

        def careless() -> Process:
            yield ends.client.readable()

        ends.env.process(careless())
        ends.server.abort()
        with pytest.raises(ConnectionFailed, match="reset"):
            ends.env.run("1s")

    def test_writing_into_a_failed_connection_says_why(self) -> None:
        """Also when it fails between the event and the process that it wakes."""
        ends = Ends()
        ends.server.abort()
        ends.env.run("1s")
        with pytest.raises(ConnectionFailed, match="reset"):
            ends.client.write(1)
        with pytest.raises(ConnectionFailed, match="reset"):
            ends.env.run(until=ends.client.writable())
        assert ends.client.read(10) == 0

    def test_a_reset_at_the_instant_of_waking_is_no_mistake_of_the_program(self) -> None:
        ends = Ends()
        client = ends.client

        def writer() -> Process:
            yield client.writable()
            with pytest.raises(ConnectionFailed):
                client.write(1)
            return "told"

        process = ends.env.process(writer())
        ends.env.step()  # the process begins; its event is due
        client.connection.error = "reset by the peer"
        assert ends.env.run(until=process) == "told"


def test_polling_leaves_nothing_behind() -> None:
    ends = Ends()

    def poll() -> Process:
        for _ in range(200):
            yield ends.client.readable() | ends.env.timeout("1ms")

    ends.process(poll())
    assert len(ends.client._waiting) == 1
    assert ends.env.loop.pending() < 10


def test_the_example_of_the_readme() -> None:
    sim = simulation()
    env = sim.env
    printed = []

    def ping(sockets: Any) -> Process:
        yield env.timeout("2s")
        socket = sockets.connect(A, (B, 5001))
        yield socket.established()
        printed.append(env.now)
        socket.close()

    env.process(ping(sim.sockets["a"]))
    env.run("10s")
    assert printed == [2 * SECOND + 2 * DELAY]


class TestClosedListener:
    def test_who_was_taken_goes_on_and_nobody_follows(self) -> None:
        sim = simulation()
        listening = sim.sockets["b"].listen(80)
        first = sim.sockets["a"].connect(A, (B, 80))
        server: Socket = sim.env.run(until=listening.accept())
        listening.close()
        assert sim.sockets["b"].listening(80) is None
        assert first.write(1000) == 1000
        sim.env.run(until=server.readable())
        assert server.read(5000) == 1000
        with pytest.raises(ConnectionFailed, match="refused"):
            sim.env.run(until=sim.sockets["a"].connect(A, (B, 80)).established())
        sim.sockets["b"].listen(80)

    @pytest.mark.parametrize("pause", ["15ms", "25ms", "1s"], ids=["syn", "handshake", "accepted"])
    def test_who_was_not_taken_is_reset(self, pause: str) -> None:
        sim = simulation()
        listening = sim.sockets["b"].listen(80)
        client = sim.sockets["a"].connect(A, (B, 80))
        sim.env.run(until=pause)
        listening.close()
        sim.env.run(until="3s")
        assert client.connection.closed
        assert client.connection.error
        assert sim.sockets["b"].host.stack.open_subflows() == 0

    def test_it_is_closed_once(self) -> None:
        listening = simulation().sockets["b"].listen(80)
        listening.close()
        with pytest.raises(LocalProtocolError, match="nothing listens on port 80"):
            listening.close()


def test_ephemeral_ports_are_drawn_or_taken_in_turn() -> None:
    ports = {}
    for drawn in (False, True):
        sim = simulation()
        sim.sockets["a"].host.stack.random_ports = drawn
        sockets = [sim.sockets["a"].connect(A, (B, 80)) for _ in range(50)]
        ports[drawn] = [socket.connection.local_port for socket in sockets]
        assert len(set(ports[drawn])) == 50
        assert all(49152 <= port <= 65535 for port in ports[drawn])
    assert ports[False] == list(range(49152, 49202))
    assert sorted(ports[True]) != ports[True]
