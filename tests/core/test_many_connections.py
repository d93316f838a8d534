"""A host with many connections: what one more costs, counted in calls, walks and bytes."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections import deque
from types import FrameType
from typing import Any, Literal, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mptcpsim.congestion
import mptcpsim.pathmanagers
import mptcpsim.schedulers  # noqa: F401
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.mptcp_options import VERSION_0, VERSION_1
from mptcpsim.core.stack import Listener, Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.topology import Topology
from mptcpsim.plugins import Value
from mptcpsim.results.meta import is_compiled
from mptcpsim.sim.engine import Environment
from mptcpsim.streams import stream
from mptcpsim.units import MILLISECOND, SECOND

PORT = 5001


def _lia(**parameters: Value) -> TcpConfig:
    return TcpConfig(congestion="lia", mptcp=MptcpConfig(enabled=True, path_manager_parameters=parameters))


CLIENT = _lia(add_addr_accepted=1)
SERVER = _lia(endpoints="10.0.2.2 signal")


class TwoHosts:
    """Two hosts with two links between them, and the connections that one opens to the other."""

    def __init__(self) -> None:
        self.env = Environment()
        topology = Topology()
        self.hosts = [
            Host(self.env.loop, name, Stack(name, stream(1, f"host/{name}"), TcpConfig())) for name in "ab"
        ]
        for host in self.hosts:
            topology.add_node(host)
        pipe = PipeSettings(rate_bps=10**9, delay_ns=5 * MILLISECOND, limit=10_000)
        for number in (1, 2):
            ends = [
                host.add_interface(f"if{number}", [f"10.0.{number}.{i}/24"])
                for i, host in enumerate(self.hosts, 1)
            ]
            topology.add_link(Link(self.env.loop, f"link{number}", ends[0], ends[1], pipe, mtu=1500))
        topology.install_routes()
        self.client, self.server = self.hosts
        self.server.stack.listen(PORT, SERVER)
        self.connections: list[Connection] = []

    def open(self, count: int) -> None:
        """Open connections, one a millisecond, and let them open their second subflows."""
        for _ in range(count):
            self.env.run(self.env.now + MILLISECOND)
            now = self.env.loop.now
            self.connections.append(self.client.stack.connect("10.0.1.1", ("10.0.1.2", PORT), now, CLIENT))
            self.client.drain()
        self.env.run(self.env.now + SECOND)

    def close(self, count: int) -> None:
        """Close the oldest connections that are open, at both ends."""
        closed, self.connections = self.connections[:count], self.connections[count:]
        for connection in closed:
            connection.close(self.env.loop.now)
            self.client.drain()
        self.env.run(self.env.now + SECOND)
        theirs_open = [theirs for theirs in self.server.stack.connections if not theirs.closing]
        for theirs in theirs_open[:count]:
            theirs.close(self.env.loop.now)
            self.server.drain()
        self.env.run(self.env.now + SECOND)


def subflows(connections: list[Connection]) -> list[int]:
    return [len(connection.subflows) for connection in connections]


class _Calls:
    """Counts the calls of Python functions, generators included."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _Calls:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.count += 1


@pytest.mark.skipif(is_compiled(), reason="calls of compiled functions cannot be counted")
def test_the_last_connection_costs_what_the_first_did() -> None:
    net = TwoHosts()
    net.open(5)
    opening, closing = [], []
    for _ in range(4):
        with _Calls() as calls:
            net.open(30)
        opening.append(calls.count / 30)
    assert subflows(net.connections) == [2] * 125
    for _ in range(4):
        with _Calls() as calls:
            net.close(30)
        closing.append(calls.count / 30)
    # The first and the last 30 of 120: three times as many others are there. What the run of a second costs
    # by itself, and what is cleared now and then, is a few per cent.
    assert opening[-1] < 1.1 * opening[0], opening
    assert closing[0] < 1.1 * closing[-1], closing


class _Unwalked(dict[int, MptcpConnection]):
    """The tokens of a host, for look-ups alone."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("somebody walks over all connections")

    __iter__ = keys = values = items = _refuse


def test_a_join_walks_over_no_other_connection() -> None:
    net = TwoHosts()
    for host in net.hosts:
        host.stack.tokens = _Unwalked()
    net.open(10)
    assert subflows(net.connections) == [2] * 10
    assert net.server.stack.counters["MPTcpExtMPJoinSynRx"] == 10


def test_an_idle_connection_is_small() -> None:
    """Both ends together, two subflows at each, with the events that their hosts have noted."""
    net = TwoHosts()
    net.open(20)
    gc.collect()
    queues = sum(isinstance(thing, deque) for thing in gc.get_objects())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        net.open(100)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / 100
    finally:
        tracemalloc.stop()
    assert subflows(net.connections) == [2] * 120
    assert each < 32_000
    # An empty one takes 760 bytes.
    assert sum(isinstance(thing, deque) for thing in gc.get_objects()) == queues


# --- The versions of MPTCP that a host speaks -----------------------------------------------------

CONFIGS = [
    TcpConfig(),
    *(TcpConfig(mptcp=MptcpConfig(enabled=True, versions=v)) for v in ((0,), (1,), (1, 0))),
]


def spoken(stack: Stack, listeners: list[Listener]) -> set[int]:
    """The oracle: what all settings say that are in use."""
    configs = [stack.config, *(listener.config for listener in listeners)]
    configs += [connection.config for connection in stack.tokens.values()]
    return {version for config in configs if config.mptcp.enabled for version in config.mptcp.versions}


Step = tuple[Literal["listen", "unlisten", "connect", "abort", "rename", "settings"], int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["listen", "unlisten", "connect", "abort", "rename", "settings"]),
            st.integers(0, 3),
            st.integers(0, 7),
        ),
        max_size=30,
    )
)
def test_the_versions_that_a_host_speaks(steps: list[Step]) -> None:
    stack = Stack("host", random.Random(1), TcpConfig())
    stack.add_address("10.0.0.1")
    listeners: list[Listener] = []
    connections: list[Connection] = []
    for number, (step, choice, which) in enumerate(steps):
        config = CONFIGS[choice]
        if step == "listen":
            listeners.append(stack.listen(1000 + number, config))
        elif step == "unlisten" and listeners:
            stack.unlisten(listeners.pop(which % len(listeners)), number)
        elif step == "connect":
            connections.append(stack.connect("10.0.0.1", ("10.0.0.2", 80), number, config))
        elif step == "abort" and connections:
            connections.pop(which % len(connections)).abort(number)
        elif step == "rename" and stack.tokens:
            token = list(stack.tokens)[which % len(stack.tokens)]
            stack.rename_token(token, number, stack.tokens[token])
        elif step == "settings":
            stack.config = config
        expected = spoken(stack, listeners)
        assert {version for version in (VERSION_0, VERSION_1) if stack.speaks(version)} == expected
