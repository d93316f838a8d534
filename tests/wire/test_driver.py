"""The driver, and two hosts that talk through a pair of sockets: no rights are needed."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from simpy.events import Event

import mptcpsim.congestion
from mptcpsim import TcpConfig
from mptcpsim.sim.apps import Bulk, Reader
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import Socket
from mptcpsim.units import MILLISECOND, SECOND
from mptcpsim.wire.driver import Driver, WireTimeout
from mptcpsim.wire.host import WireHost
from tests.wire.fakes import LEFT, RIGHT, Pair, SocketDevice, device_pair

assert mptcpsim.congestion


class SteppedClock:
    """A clock that goes on by a fixed step at each look."""

    def __init__(self, step: int) -> None:
        self.time = 1_000
        self.step = step

    def __call__(self) -> int:
        self.time += self.step
        return self.time


class TestDriver:
    def test_callbacks_run_in_order_at_their_time(self) -> None:
        env = Environment()
        driver = Driver(env, SteppedClock(MILLISECOND))
        seen: list[tuple[int, int]] = []

        def process() -> Generator[Any, Any, str]:
            for number in range(3):
                yield env.timeout("10ms")
                seen.append((number, env.now))
            return "done"

        assert driver.run(env.process(process()), SECOND) == "done"
        assert seen == [(0, 10 * MILLISECOND), (1, 20 * MILLISECOND), (2, 30 * MILLISECOND)]

    def test_an_event_that_does_not_happen(self) -> None:
        env = Environment()
        driver = Driver(env, SteppedClock(MILLISECOND))
        with pytest.raises(WireTimeout, match=r"after 0\.05 s"):
            driver.run(Event(env), 50 * MILLISECOND)

    def test_an_event_that_fails(self) -> None:
        env = Environment()
        driver = Driver(env, SteppedClock(MILLISECOND))

        def process() -> Generator[Event, Any, None]:
            yield env.timeout("10ms")
            raise ValueError("wrong")

        with pytest.raises(ValueError, match="wrong"):
            driver.run(env.process(process()), SECOND)

    def test_an_event_that_has_happened(self) -> None:
        env = Environment()
        driver = Driver(env, SteppedClock(MILLISECOND))
        event = env.timeout("1ms", "early")
        env.run(until="2ms")
        assert driver.run(event, 0) == "early"

    def test_input_comes_before_timers_that_are_overdue(self) -> None:
        """What has arrived is older than the time-out: it is read first, and at that instant."""
        env = Environment()
        left, right = device_pair()
        clock = SteppedClock(0)
        driver = Driver(env, clock)
        order: list[tuple[str, int]] = []
        left.sink = lambda data: order.append((data.decode(), env.now))
        driver.add_device(left)
        env.call_at(10 * MILLISECOND, lambda: order.append(("timer", env.now)))
        right.write(b"one", "")
        right.write(b"two", "")
        clock.time += 30 * MILLISECOND  # the machine was busy
        driver.run_for(0)
        assert order == [("one", 10 * MILLISECOND), ("two", 10 * MILLISECOND), ("timer", 10 * MILLISECOND)]
        left.close()
        right.close()

    def test_time_never_goes_back(self) -> None:
        env = Environment()
        left, right = device_pair()
        driver = Driver(env, SteppedClock(MILLISECOND // 3))
        times: list[int] = []
        left.sink = lambda data: times.append(env.now)
        driver.add_device(left)

        def busy() -> Generator[Event, Any, None]:
            for _ in range(50):
                times.append(env.now)
                right.write(b"x", "")
                yield env.timeout("1ms")

        driver.run(env.process(busy()), SECOND)
        assert len(times) >= 99
        assert times == sorted(times)
        left.close()
        right.close()

    def test_a_flood_does_not_starve_the_timers(self) -> None:
        env = Environment()
        left, right = device_pair()
        driver = Driver(env, SteppedClock(MILLISECOND))

        def again(data: bytes) -> None:
            right.write(data, "")  # there is always one more

        left.sink = again
        driver.add_device(left)
        right.write(b"x", "")
        driver.run(env.timeout("20ms"), SECOND)
        left.close()
        right.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def test_applications_of_the_simulator_run_unchanged(pair: Pair) -> None:
    size = 300_000
    listening = pair.right.sockets.listen(80)

    def server() -> Generator[Any, Any, None]:
        socket: Socket = yield listening.accept()
        yield from Reader(65536).run(pair.right.env, socket)
        yield from Bulk(size).run(pair.right.env, socket)
        socket.close()

    def client() -> Generator[Any, Any, tuple[int, int]]:
        socket = pair.left.sockets.connect(LEFT, (RIGHT, 80))
        yield socket.established()
        yield from Bulk(size).run(pair.left.env, socket)
        socket.close()
        yield from Reader(65536).run(pair.left.env, socket)
        return socket.connection.delivered, socket.connection.acked

    pair.right.env.process(server())
    assert pair.run(pair.left.env.process(client())) == (size, size)
    assert set(pair.devices[0].hops) == {RIGHT}


def test_secrets_are_drawn_and_can_be_seeded() -> None:
    def first_packets(seed: int | None) -> list[bytes]:
        left, right = device_pair()
        with WireHost(TcpConfig(), seed) as host:
            host.attach(left, [f"{LEFT}/24"])
            for _ in range(3):
                host.sockets.connect(LEFT, (RIGHT, 80))
            found = [right.end.recv(100) for _ in range(3)]
        right.close()
        return found

    assert first_packets(5) == first_packets(5)
    assert first_packets(5) != first_packets(6)
    drawn = first_packets(None)
    assert drawn != first_packets(None)
    ports = [int.from_bytes(data[20:22], "big") for data in drawn]
    assert ports != sorted(ports) or ports[1] != ports[0] + 1 or ports[2] != ports[1] + 1
    assert isinstance(WireHost(TcpConfig()).stack._rng, random.SystemRandom)


def test_a_source_address_decides_the_interface() -> None:
    devices = [device_pair() for _ in range(2)]
    with WireHost(TcpConfig(), 1) as host:
        for number, (ours, _) in enumerate(devices, 1):
            addresses = [f"10.{number}.0.1/24", f"fd00:{number}::1/64"]
            host.attach(ours, addresses, 1500, [f"10.{number}.0.2", f"fd00:{number}::2"])
        assert host.host.source_for("10.2.0.2") == "10.2.0.1"
        assert host.host.source_for("192.0.2.1") == "10.1.0.1"
        for local, remote in (
            ("10.2.0.1", "10.1.0.2"),
            ("10.1.0.1", "10.1.0.2"),
            ("fd00:2::1", "fd00:1::2"),
        ):
            host.sockets.connect(local, (remote, 80))
        assert devices[0][0].hops == ["10.1.0.2"]
        assert devices[1][0].hops == ["10.2.0.2", "fd00:2::2"]
    for _, theirs in devices:
        theirs.close()


def test_an_interface_that_vanishes_is_down() -> None:
    class Vanishing(SocketDevice):
        def poll(self, limit: int) -> int:
            self.gone = True
            return 0

    left, right = device_pair()
    with WireHost(TcpConfig(), 1) as host:
        port = host.attach(Vanishing("gone0", left.end), [f"{LEFT}/24"])
        right.write(b"x", "")
        host.driver.run_for(0)
        assert not port.interface.up
        host.driver.run_for(0)
        host.sockets.connect(LEFT, (RIGHT, 80))
        assert host.host.drops == {"interface-down": 1}
    right.close()
