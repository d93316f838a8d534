"""The kernel as a peer: its path manager, its counters, and programs that use its sockets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from simpy.events import Event

from mptcpsim.sim.engine import Environment
from mptcpsim.wire import peer
from mptcpsim.wire.devices import DeviceError
from mptcpsim.wire.driver import Driver
from mptcpsim.wire.namespaces import Namespace

#: How long `ip` may take, s.
_PATIENCE: Final = 10


class KernelPaths:
    """The path manager of the kernel in a namespace, in the words of ip-mptcp(8)."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def set_limits(self, subflows: int, add_addr_accepted: int = 0) -> None:
        """Set how many further subflows a connection may have, and how many announcements are used."""
        self._ip("limits", "set", "subflows", str(subflows), "add_addr_accepted", str(add_addr_accepted))

    def add_endpoint(self, words: str) -> None:
        """Add an endpoint: ``10.2.0.2 dev wire2 subflow backup``."""
        self._ip("endpoint", "add", *words.split())

    def remove_endpoint(self, identifier: int, address: str = "") -> None:
        """Remove an endpoint by its number; number 0 is the address of the first subflow, to be named."""
        self._ip("endpoint", "delete", "id", str(identifier), *([address] if address else []))

    def change_endpoint(self, words: str) -> None:
        """Change an endpoint: ``id 1 backup``."""
        self._ip("endpoint", "change", *words.split())

    def _ip(self, *words: str) -> None:
        with self._namespace.inside():
            done = subprocess.run(
                ["ip", "mptcp", *words], capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        if done.returncode:
            raise DeviceError(f"ip mptcp {' '.join(words)}: {done.stderr.strip()}")


def kernel_counters(namespace: Namespace) -> dict[str, int]:
    """Return the counters of TCP and MPTCP in a namespace that are not 0, named as ``nstat`` has them."""
    found: dict[str, int] = {}
    with namespace.inside():
        for name in ("netstat", "snmp"):
            lines = Path("/proc/thread-self/net", name).read_text(encoding="ascii").splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                head, *words = names.split()
                for word, value in zip(words, values.split()[1:], strict=True):
                    if int(value):
                        found[head.rstrip(":") + word] = int(value)
    return {name: value for name, value in found.items() if name.startswith(("Tcp", "MPTcp"))}


class KernelPeer:
    """A program in the kernel's namespace that carries out orders (``wire.peer``).

    Attributes:
        reports: of the connections that have ended, in that order.
        ready: an event: it listens, or is about to connect.
        done: an event: the program has ended.
    """

    def __init__(
        self, namespace: Namespace, env: Environment, driver: Driver, orders: peer.PeerOrders
    ) -> None:
        """Start it; ``driver`` notices what it says."""
        self.reports: list[dict[str, Any]] = []
        self.ready = Event(env)
        self.done = Event(env)
        self._driver = driver
        self._rest = b""
        self._program = namespace.start(
            [sys.executable, "-S", "-E", peer.__file__, json.dumps(orders._asdict())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._program.stdout is not None
        os.set_blocking(self._program.stdout.fileno(), False)
        driver.watch(self._program.stdout, self._read)

    def say(self) -> None:
        """Give the word that connections may wait for."""
        assert self._program.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._program.stdin.write(b"\n")
            self._program.stdin.flush()

    def _read(self) -> None:
        out = self._program.stdout
        assert out is not None
        data = out.read()
        if data is None:
            return
        if not data:
            self._driver.unwatch(out)
            self._program.wait()
            if not self.ready.triggered:
                self.ready.succeed()
            self.done.succeed(self.reports)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "ready" in said:
                self.ready.succeed()
            else:
                self.reports.append(said)
