"""What the rules look at: the scenario, the network built from it, and the flows on their paths."""

from __future__ import annotations

import ipaddress
import pathlib
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.freebsd.lines import Line
from mptcpsim.lint.finding import Remark
from mptcpsim.lint.prose import Prose, prose_of_toml
from mptcpsim.lint.rehearsal import End as RehearsedEnd
from mptcpsim.lint.rehearsal import Rehearsal, rehearse
from mptcpsim.net.node import Interface
from mptcpsim.scenario.build import Simulation, build
from mptcpsim.scenario.check import flow_addresses, setter
from mptcpsim.scenario.errors import Path, dotted
from mptcpsim.scenario.flows import AnyFlow
from mptcpsim.scenario.load import load
from mptcpsim.scenario.locate import line_of
from mptcpsim.scenario.routes import Port, segments, split_end
from mptcpsim.scenario.schema import Scenario

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Text(NamedTuple):
    """A text with words for people in it.

    Attributes:
        file: its name.
        prose: these words, with their lines.
    """

    file: str
    prose: tuple[Prose, ...]

    def remark(self, line: int, problem: str, remedy: str) -> Remark:
        """Return a remark about a line of the text."""
        words = next((prose.text for prose in self.prose if prose.line == line), "")
        return Remark((), problem, remedy, Line(self.file, line, words))


class End(NamedTuple):
    """One end of a flow.

    Attributes:
        host: its name.
        is_client: it opens the connection.
        address: of the first subflow.
        config: of its connections.
    """

    host: str
    is_client: bool
    address: str
    config: TcpConfig


class Pair(NamedTuple):
    """The addresses of a subflow.

    Attributes:
        client: address of the client of the flow.
        server: address of its server.
        by_client: the client opens it.
    """

    client: str
    server: str
    by_client: bool


class Talk(NamedTuple):
    """A flow.

    Attributes:
        number: in the scenario, from 0.
        spec: what the scenario says.
        ends: client and server.
        rehearsal: what both ends want to do.
        pairs: its subflows, the first one first.
    """

    number: int
    spec: AnyFlow
    ends: tuple[End, End]
    rehearsal: Rehearsal
    pairs: tuple[Pair, ...]


class Subject:
    """A scenario under the eyes of the rules.

    Attributes:
        scenario: as it was loaded.
        name: of its file.
        source: text of its file.
        blamed: nodes about whose configuration an error was told.
    """

    def __init__(self, scenario: Scenario, name: str = "scenario", source: str = "") -> None:
        self.scenario = scenario
        self.name = name
        self.source = source
        self.blamed: set[str] = set()

    # --- The network --------------------------------------------------------------------------

    @cached_property
    def simulation(self) -> Simulation:
        """The network of the scenario, without flows and without events."""
        return build(self.scenario.model_copy(update={"flows": (), "events": ()}))

    def interface(self, port: Port) -> Interface:
        """Return the interface of a port."""
        return self.simulation.topology.nodes[port.node].interfaces[port.interface]

    def addresses_of(self, host: str) -> list[str]:
        """Return the addresses of a node, in the order of its interfaces."""
        return list(self.simulation.topology.nodes[host].addresses)

    @cached_property
    def _owners(self) -> dict[str, Port]:
        return {
            address: Port(name, interface.name)
            for name, node in self.simulation.topology.nodes.items()
            for address, interface in node.addresses.items()
        }

    def owner(self, address: str) -> Port | None:
        """Return the port that has an address, or None."""
        return self._owners.get(address)

    @cached_property
    def networks(self) -> dict[Network, list[str]]:
        """Every network of an interface, with the addresses that somebody has in it."""
        found: dict[Network, list[str]] = {}
        for node in self.simulation.topology.nodes.values():
            for interface in node.interfaces.values():
                for entry in interface.addresses:
                    found.setdefault(ipaddress.ip_network(entry.prefix), []).append(entry.address)
        return found

    def network_around(self, address: str) -> Network | None:
        """Return the smallest network of an interface that an address is in, or None."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        around = [network for network in self.networks if parsed in network]
        return max(around, key=lambda network: network.prefixlen, default=None)

    def listed(self, network: Network) -> str:
        """Return the addresses of a network and whose they are, for people."""
        owned = [(address, self.owner(address)) for address in self.networks[network]]
        return ", ".join(f"{address} ({self.called(port)})" for address, port in owned if port is not None)

    @cached_property
    def networks_of_links(self) -> list[list[Port]]:
        """The ports of each network below IP."""
        found: dict[int, list[Port]] = {}
        for port, number in segments(self.scenario).items():
            found.setdefault(number, []).append(port)
        return list(found.values())

    # --- Names --------------------------------------------------------------------------------

    @cached_property
    def port_names(self) -> dict[Port, tuple[str, ...]]:
        """What each port may be called: by its interface, and by its node if it is the only port."""
        found: dict[Port, tuple[str, ...]] = {}
        for name, node in self.scenario.nodes.items():
            for interface in node.interfaces:
                names = [interface]
                if len(node.interfaces) == 1:
                    names.append(name)
                found[Port(name, interface)] = tuple(dict.fromkeys(names))
        return found

    def ports_called(self, name: str) -> set[Port]:
        """Return the ports that a name may mean."""
        return {port for port, names in self.port_names.items() if name in names}

    def called(self, port: Port) -> str:
        """Return a port for people: ``A:em1``."""
        return f"{port.node}:{port.interface}"

    def other_names(self, ports: set[Port]) -> str:
        """Return all names of some ports, for people."""
        return " or ".join(sorted({name for port in ports for name in self.port_names[port]}))

    # --- Flows --------------------------------------------------------------------------------

    @cached_property
    def talks(self) -> tuple[Talk, ...]:
        """The flows, each on the paths of all subflows that its ends will want."""
        return tuple(self._talk(number, flow) for number, flow in enumerate(self.scenario.flows))

    def _talk(self, number: int, flow: AnyFlow) -> Talk:
        local, remote = flow_addresses(self.scenario, flow)
        client_config, server_config = self.scenario.flow_configs(flow)
        ends = End(flow.client, True, local, client_config), End(flow.server, False, remote, server_config)
        rehearsal = rehearse(self._rehearsed(ends[0]), self._rehearsed(ends[1]), local, remote, flow.port)
        wanted = {(local, remote): True}
        if rehearsal.multipath:
            for join in rehearsal.joins:
                if join.accepted:
                    wanted.setdefault((join.client, join.server), join.by_client)
        pairs = [Pair(client, server, by_client) for (client, server), by_client in wanted.items()]
        return Talk(number, flow, ends, rehearsal, tuple(pairs))

    def _rehearsed(self, end: End) -> RehearsedEnd:
        host = self.simulation.hosts[end.host]
        mtus = {
            entry.address: interface.mtu
            for interface in host.interfaces.values()
            for entry in interface.addresses
        }
        return RehearsedEnd(end.config, mtus, host.source_for)

    # --- Places -------------------------------------------------------------------------------

    def setter(self, talk: Talk, end: End, key: str, kind: str = "mptcp") -> Path:
        """Return the place of the table that sets a key of MPTCP for one end of a flow."""
        side = "client" if end.is_client else "server"
        return (*setter(self.scenario, talk.number, end.host, side, kind, key), key)

    def tcp_setter(self, talk: Talk, end: End, key: str) -> Path:
        """Return the place of the table that sets a key of TCP for one end of a flow."""
        return self.setter(talk, end, key, "tcp")

    def link_path(self, port: Port, key: str) -> Path:
        """Return the place of a key of the link that ends at a port."""
        for index, link in enumerate(self.scenario.links):
            if port in [split_end(end) for end in link.ends]:
                return ("links", index, key)
        return ("links",)

    @cached_property
    def texts(self) -> list[Text]:
        """The texts that belong to the scenario."""
        return [Text(self.name, tuple(prose_of_toml(self.source)))]

    def place(self, remark: Remark) -> tuple[str, int, str, str]:
        """Return file, line, key and text of the line that a remark is about."""
        key = dotted(remark.path)
        if remark.at is not None:
            return remark.at.file, remark.at.number, key, remark.at.text.strip()
        return self.name, line_of(self.source, remark.path) or 0, key, ""


def subject_of(path: pathlib.Path, changes: Sequence[str] = ()) -> Subject:
    """Read a scenario and return it as a subject.

    Raises:
        ScenarioError: it cannot be read, or names something that does not exist.
    """
    scenario = load(path, changes)
    return Subject(scenario, str(path), path.read_text(encoding="utf-8"))
