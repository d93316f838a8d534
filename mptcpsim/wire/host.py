"""A host of the simulator on real interfaces.

``WireHost`` puts together what a simulation gets from its scenario: environment, host, stack and sockets.
Applications are written for ``sim.sockets`` and run here unchanged.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from simpy.events import Event

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.stack import Stack
from mptcpsim.net.host import Host
from mptcpsim.net.node import DEFAULT_MTU
from mptcpsim.net.rules import Rule, RuleList, Selector
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import Sockets
from mptcpsim.units import NEVER
from mptcpsim.wire.devices import WireDevice
from mptcpsim.wire.driver import Driver
from mptcpsim.wire.port import WirePort


class WireHost:
    """One host with any number of interfaces and connections.

    Attributes:
        env: its clock and processes.
        stack: its transport layer.
        host: its interfaces, addresses and routes.
        sockets: what applications use.
        driver: what runs it.
        ports: interfaces with their devices, in the order in which they were attached.

    Args:
        config: the behaviour of connections that are given no other one.
        seed: of keys, ports and initial sequence numbers, for tests; None takes them from the operating
            system's source of secrets, as a peer that is not trusted demands (RFC 6528, RFC 8684 section 5).
    """

    def __init__(self, config: TcpConfig, seed: int | None = None, name: str = "wire") -> None:
        self.env = Environment()
        rng: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
        self.stack = Stack(name, rng, config)
        self.stack.random_ports = True
        self.host = Host(self.env.loop, name, self.stack)
        self.sockets = Sockets(self.env, self.host)
        self.driver = Driver(self.env)
        self.ports: list[WirePort] = []
        self._rules = RuleList()
        self.host.use_rules(self._rules)

    def attach(
        self,
        device: WireDevice,
        addresses: Sequence[str],
        mtu: int = DEFAULT_MTU,
        gateways: Sequence[str] = (),
    ) -> WirePort:
        """Add an interface with a device.

        What comes from one of its addresses, or is for one of its networks, leaves by it; where that is
        true of two interfaces, by the one that was attached later. So the packets of a subflow between
        addresses of two paths take one of these paths, in both directions if the peer has the same rule.

        Args:
            device: one that nobody listens to.
            addresses: with their prefix lengths: ``10.1.0.1/24``.
            mtu: of the interface, bytes.
            gateways: where packets go that are for no network of the interface, at most one of each
                family; without one they are for a neighbour.

        Raises:
            ValueError: an address cannot be read, or the host has it already.
        """
        number = len(self.ports)
        interface = self.host.add_interface(f"wire{number}", addresses, mtu)
        port = WirePort(interface, device, self.stack.sequence_map)
        own = self.host.add_table(interface.name)
        for table in (self.host.routes, own):
            metric = number if table is self.host.routes else 0
            for entry in interface.addresses:
                table.add(entry.prefix, interface, metric=metric)
            families = {":" in gateway for gateway in gateways}
            for gateway in gateways:
                table.add("default", interface, gateway, metric)
            for ipv6 in {":" in entry.address for entry in interface.addresses} - families:
                table.add("::/0" if ipv6 else "0.0.0.0/0", interface, metric=metric)
        for entry in interface.addresses:
            length = 128 if ":" in entry.address else 32
            for selector in (
                Selector(source=f"{entry.address}/{length}"),
                Selector(destination=entry.prefix),
            ):
                self._rules.add(Rule(self._rules.next_priority(), selector, interface.name))
        self.host.use_rules(self._rules)
        self.ports.append(port)
        self.driver.add_device(device, lambda: interface.set_up(False))
        return port

    def run(self, until: Event, timeout: int = NEVER) -> Any:
        """Run until an event has happened, at most ``timeout`` ns; return its value.

        Raises:
            WireTimeout: it has not happened in time.
        """
        return self.driver.run(until, timeout)

    def passed_by(self) -> dict[str, int]:
        """Return the packets that were for nobody here, by what they were, over all interfaces."""
        total: dict[str, int] = {}
        for found in [port.passed_by for port in self.ports] + [self.host.drops]:
            for kind, count in found.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def close(self) -> None:
        """Stop, and close the devices; connections that are open are left as they are.

        Processes that are under way may still write, when they are thrown away: that goes nowhere.
        """
        self.driver.close()
        for port in self.ports:
            port.interface.set_up(False)
            port.device.close()

    def __enter__(self) -> WireHost:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
