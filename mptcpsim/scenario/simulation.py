"""A scenario that was built: the clock, the network, the hosts and the flows, ready to run."""

from __future__ import annotations

from typing import Any

from mptcpsim.core.stack import Stack
from mptcpsim.freebsd.system import System
from mptcpsim.net.host import Host
from mptcpsim.net.node import Interface
from mptcpsim.net.topology import Topology
from mptcpsim.scenario.schema import Scenario
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.flow import Flow
from mptcpsim.sim.sockets import Sockets


class Simulation:
    """A scenario, built and ready to run.

    Attributes:
        scenario: what it was built from.
        env: clock and SimPy environment; ``env.run(until=...)`` runs it.
        topology: nodes and links by name.
        hosts: hosts by name, in the order of the scenario.
        sockets: the socket layer of each host, for applications of one's own.
        flows: the flows, in the order of the scenario.
        systems: the FreeBSD systems, by the name of the host or router.
        notes: (instant, line of ``events.jsonl``) about what was done to the network.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.env = Environment()
        self.topology = Topology()
        self.hosts: dict[str, Host] = {}
        self.sockets: dict[str, Sockets] = {}
        self.flows: list[Flow] = []
        self.systems: dict[str, System] = {}
        self.notes: list[tuple[int, dict[str, Any]]] = []

    def interface(self, end: str) -> Interface:
        """Return the interface that ``"NODE:INTERFACE"`` names."""
        node, _, name = end.partition(":")
        return self.topology.nodes[node].interfaces[name]

    def owner(self, address: str) -> Stack | None:
        """Return the stack of the host that has an address, or None."""
        for host in self.hosts.values():
            if address in host.addresses:
                return host.stack
        return None
