"""Servers of our stack for programs of the kernel's end: what `wire serve` does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from simpy.events import Event

from mptcpsim.core.counters import Counters
from mptcpsim.sim.apps import Process
from mptcpsim.sim.sockets import ConnectionFailed, Socket
from mptcpsim.units import SECOND
from mptcpsim.wire import iperf3
from mptcpsim.wire.driver import WireTimeout
from mptcpsim.wire.session import FlowSettings, WireSession
from mptcpsim.wire.streams import discard_all

_HTTP_PORT: Final = 80
_SINK_PORT: Final = 5000

#: How long connections get to end after the program has, ns.
_LINGER: Final = SECOND


class Service:
    """One server on one port.

    Attributes:
        port: the port.
        connections: that were accepted by the server that only counts.
        bytes: that it has read.
    """

    def __init__(
        self,
        session: WireSession,
        flow: FlowSettings,
        port: int,
        http: Path | None,
        with_iperf3: bool,
        say: Callable[[str], None],
    ) -> None:
        """Listen.

        Args:
            session: testbed and host.
            flow: the behaviour of accepted connections.
            port: 0: the usual one of the protocol.
            http: the directory whose files are served by HTTP, or None.
            with_iperf3: be a server for iperf3.
            say: takes a line for people.
        """
        self.session = session
        self.port = port or (_HTTP_PORT if http else iperf3.DEFAULT_PORT if with_iperf3 else _SINK_PORT)
        self.connections: int = 0
        self.bytes: int = 0
        self._say = say
        self._http: Any = None
        self._iperf: iperf3.Iperf3Server | None = None
        env = session.host.env
        listening = session.host.sockets.listen(self.port, session.config(flow, "signal"))
        if http is not None:
            from mptcpsim.wire.http import HttpServer

            self._http = HttpServer(env, http, lambda m, t, s: say(f"{m} {t} {s}"))
            env.process(self._http.serve(listening))
        elif with_iperf3:
            self._iperf = iperf3.Iperf3Server(env, self._on_test)
            env.process(self._iperf.serve(listening))
        else:
            env.process(self._sink(listening))

    def _sink(self, listening: Any) -> Process:
        while True:
            socket: Socket = yield listening.accept()
            self.connections += 1
            self.session.host.env.process(self._discard(socket))

    def _discard(self, socket: Socket) -> Process:
        try:
            self.bytes += yield from discard_all(socket)
            socket.release()
        except ConnectionFailed as failure:
            self._say(f"a connection failed: {failure}")

    def _on_test(self, record: dict[str, Any]) -> None:
        total = sum(stream["bytes"] for stream in record["server"]["streams"])
        seconds = max(1e-9, record["seconds"])
        self._say(f"iperf3: {total / 1e6:.2f} MB in {seconds:.2f} s, {total * 8 / seconds / 1e6:.2f} Mbit/s")

    def run(self, limit: int, command: list[str] | None) -> int:
        """Serve until a program has ended, or for ``limit`` ns; return the program's exit status.

        Args:
            limit: the longest that it takes, ns.
            command: the program, to be run in the kernel's namespace; None: there is none.

        Raises:
            WireTimeout: the program has not ended in time.
            DeviceError: it cannot be started.
        """
        host = self.session.host
        if not command:
            try:
                host.run(Event(host.env), limit)
            except WireTimeout:
                return 0
        from mptcpsim.wire.devices import DeviceError

        assert command is not None
        try:
            program = self.session.bed.kernel.start(command)
        except OSError as error:
            raise DeviceError(f"{command[0]} cannot be run: {error.strerror}") from None
        ended = Event(host.env)
        descriptor = os.pidfd_open(program.pid)
        try:
            host.driver.watch(descriptor, lambda: None if ended.triggered else _succeed(ended))
            host.run(ended, limit)
            host.driver.unwatch(descriptor)
        finally:
            os.close(descriptor)
        status = program.wait()
        host.driver.run_for(_LINGER)
        return status

    @property
    def counters(self) -> Counters:
        """The counters of the host."""
        return self.session.host.stack.counters

    def as_dict(self) -> dict[str, Any]:
        """Return what was served, as data."""
        found: dict[str, Any] = {"port": self.port, "passed_by": self.session.host.passed_by()}
        if self._http is not None:
            found["http"] = {"requests": self._http.requests, "bytes": self._http.bytes}
        elif self._iperf is not None:
            found["iperf3"] = self._iperf.results
        else:
            found["connections"], found["bytes"] = self.connections, self.bytes
        found["counters"] = {name: value for name, value in self.counters.as_dict().items() if value}
        return found

    def summary(self) -> list[str]:
        """Return the lines at the end."""
        counters = self.counters.as_dict()
        joins = counters.get("MPTcpExtMPJoinAckRx", 0)
        capable = counters.get("MPTcpExtMPCapableACKRX", 0)
        lines = [f"{capable} connections with MPTCP, {joins} further subflows"]
        if self._http is not None:
            lines.append(f"{self._http.requests} requests, {self._http.bytes / 1e6:.2f} MB")
        elif self._iperf is not None:
            lines.append(f"{len(self._iperf.results)} tests")
        else:
            lines.append(f"{self.connections} connections, {self.bytes / 1e6:.2f} MB")
        return lines


def _succeed(event: Event) -> None:
    event.succeed()
