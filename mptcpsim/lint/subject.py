"""What the rules look at: the scenario, the network built from it, and the flows on their paths."""

from __future__ import annotations

import ipaddress
import pathlib
from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple

from mptcpsim.freebsd.lines import Line
from mptcpsim.lint.changes import courses
from mptcpsim.lint.effect import Vain, vain_keys
from mptcpsim.lint.firewalls import FreebsdNode
from mptcpsim.lint.prose import Prose, prose_of_conf, prose_of_toml
from mptcpsim.lint.rehearsal import RehearsedEnd, rehearse
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.tables import Entry, entries_of
from mptcpsim.lint.talks import FIRST_PORT, SubflowPair, Talk, TalkEnd
from mptcpsim.net.node import Interface
from mptcpsim.net.walk import probe
from mptcpsim.route.way import Pathfinder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.check import flow_addresses, setter
from mptcpsim.scenario.check_events import added_addresses
from mptcpsim.scenario.errors import KeyPath, dotted
from mptcpsim.scenario.events import (
    AddAddressEvent,
    ApplicationEvent,
    InterfaceEvent,
    RemoveAddressEvent,
    RouteEvent,
)
from mptcpsim.scenario.flows import AnyFlow
from mptcpsim.scenario.load import open_source
from mptcpsim.scenario.places import Place, Places
from mptcpsim.scenario.routes import Port, segments, split_end
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.timeline import Timeline
from mptcpsim.scenario.typed import COMMANDS, TABLE

#: Flows that are looked at; a scenario may have a hundred thousand.
MOST_FLOWS: Final = 500

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


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


class Subject:
    """A scenario under the eyes of the rules.

    Attributes:
        scenario: as it was loaded.
        places: where its parts come from.
        name: of its file.
        most_flows: so many flows are looked at.
        blamed: nodes whose packets go astray for a reason that was told as an error.
        suspected: the same with what was told as a warning.
    """

    def __init__(self, scenario: Scenario, places: Places, most_flows: int = MOST_FLOWS) -> None:
        self.scenario = scenario
        self.most_flows = most_flows
        self.places = places
        self.name = places.name
        self.blamed: set[str] = set()
        self.suspected: set[str] = set()

    # --- The network --------------------------------------------------------------------------

    @cached_property
    def simulation(self) -> Simulation:
        """The network of the scenario, without flows and without events."""
        return self._built()

    def _built(self) -> Simulation:
        simulation = build(self.scenario.model_copy(update={"flows": (), "events": ()}))
        for system in simulation.systems.values():
            system.leave_nothing_to_chance()
        return simulation

    @cached_property
    def idle_events(self) -> list[int]:
        """The events that change nothing, by their indices, in the order of time."""
        scenario = self.scenario
        if not scenario.events:
            return []
        timeline = Timeline(self._built())
        paused: set[tuple[str, str]] = set()
        idle: list[int] = []
        for index, event in sorted(enumerate(scenario.events), key=lambda entry: entry[1].at):
            if isinstance(event, ApplicationEvent):
                concerned = event.flow, event.side
                changes = (concerned in paused) != (event.action == "pause")
                (paused.add if event.action == "pause" else paused.discard)(concerned)
            elif isinstance(event, RouteEvent | AddAddressEvent | RemoveAddressEvent) and (
                scenario.nodes[_node_of(event)].changes
            ):
                continue  # commands of its own change its addresses and routes, too
            else:
                changes = timeline.apply(event)
            if not changes:
                idle.append(index)
        return idle

    @cached_property
    def pipe_states(self) -> dict[int, dict[str, tuple[int, int]]]:
        """Rate and delay of each pipe by its name, at the beginning and after ``set`` events."""
        links = self.simulation.topology.links
        now = {pipe.name: (pipe.rate_bps, pipe.delay_ns) for link in links.values() for pipe in link.pipes()}
        changes: dict[int, dict[str, tuple[int, int]]] = {}
        for course in courses(self.scenario):
            link = links[self.scenario.links[course.link].name]
            name = (link.forward if course.forward else link.backward).name
            for state in course.states[1:]:
                changes.setdefault(state.at, {})[name] = state.rate, state.delay
        found = {0: now}
        for at in sorted(changes):
            now = {**now, **changes[at]}
            found[at] = now
        return found

    @cached_property
    def paths(self) -> Pathfinder:
        """Follows probes through that network."""
        return Pathfinder(self.simulation.topology)

    @cached_property
    def systems(self) -> list[FreebsdNode]:
        """The hosts and routers that are configured by commands, in the order of the scenario."""
        return [FreebsdNode(self.scenario, system) for system in self.simulation.systems.values()]

    @cached_property
    def routes(self) -> list[Entry]:
        """The routes that the scenario states."""
        return list(entries_of(self.scenario))

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

    def is_known(self, address: str) -> bool:
        """Return whether somebody has an address, now or later, or a middlebox stands for it."""
        return address in self._owners or address in self._further_addresses

    @cached_property
    def _further_addresses(self) -> set[str]:
        found = {address for name in self.scenario.nodes for address in added_addresses(self.scenario, name)}
        for link in self.scenario.links:
            for box in link.middleboxes:
                for value in box.parameters.values():
                    found.update(str(value).replace(",", " ").split())
        for node in self.scenario.nodes.values():
            for block in node.freebsd.later if node.freebsd is not None else ():
                found.update(word.partition("/")[0] for word in str(block.commands).split())
        return found

    @cached_property
    def networks(self) -> dict[IpNetwork, list[str]]:
        """Every network of an interface, with the addresses that somebody has in it."""
        found: dict[IpNetwork, list[str]] = {}
        for node in self.simulation.topology.nodes.values():
            for interface in node.interfaces.values():
                for entry in interface.addresses:
                    found.setdefault(ipaddress.ip_network(entry.prefix), []).append(entry.address)
        return found

    def network_around(self, address: str) -> IpNetwork | None:
        """Return the smallest network of an interface that an address is in, or None."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        around = [network for network in self.networks if parsed in network]
        return max(around, key=lambda network: network.prefixlen, default=None)

    def homes_of(self, node: str, network: IpNetwork) -> list[str]:
        """Return the interfaces of a node that have an address in a network, and that as their own."""
        interfaces = self.simulation.topology.nodes[node].interfaces.values()
        return [i.name for i in interfaces if any(entry.prefix == str(network) for entry in i.addresses)]

    def gateway_problem(
        self, node: str, interface: str, gateway: str, network: IpNetwork | None = None
    ) -> tuple[str, str] | None:
        """Return what is wrong with a gateway, and what to write instead; None if nothing is.

        Args:
            node: that sends to it.
            interface: by which; empty if no interface is in its network.
            gateway: its address.
            network: that it leads to; None is everything.
        """
        port = self.simulation.topology.nodes[node].interfaces.get(interface)
        owner = self.owner(gateway)
        whose = "nobody has that address" if owner is None else f"it is that of {self.called(owner)}"
        if port is None:
            nets = ", ".join(entry.prefix for i in self._interfaces(node) for entry in i.addresses)
            return (
                f"{gateway} is in no network of {node} ({nets})",
                "write the address of a router in one of these",
            )
        routers = [
            entry.address
            for other in self.neighbours(Port(node, interface))
            if self.simulation.topology.nodes[other.node].FORWARDS
            for entry in self.interface(other).addresses
            if (":" in entry.address) == (":" in gateway)
        ]
        remedy = f"write {' or '.join(routers)}" if routers else "put a router on that link"
        if owner is not None and owner.node == node:
            return (f"{gateway} is the address of {node} itself", remedy)
        found = port.neighbour(gateway)
        if found is None:
            return (f"nobody on the link of {port.label} answers for {gateway}: {whose}", remedy)
        if network is not None and network.num_addresses == 1 and str(network[0]) in found.node.addresses:
            return None  # what it leads to is an address of the next node itself
        if not found.node.FORWARDS:
            return (f"{gateway} is an address of the host {found.node.name}, which does not forward", remedy)
        return None

    def _interfaces(self, node: str) -> list[Interface]:
        return list(self.simulation.topology.nodes[node].interfaces.values())

    def neighbours(self, port: Port) -> list[Port]:
        """Return the other ports on the link of a port, or behind its switches."""
        for ports in self.networks_of_links:
            if port in ports:
                return [other for other in ports if other != port]
        return []

    def listed(self, network: IpNetwork) -> str:
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

    @cached_property
    def strangers(self) -> dict[Port, list[str]]:
        """The ports that share no network with any other on their link, and the addresses of these.

        Addresses with a prefix of their own are left out: there routes name each host.
        """
        found: dict[Port, list[str]] = {}
        for ports in self.networks_of_links:
            for port in ports:
                own = [ipaddress.ip_network(entry.prefix) for entry in self.interface(port).addresses]
                near = [
                    entry.address
                    for other in ports
                    for entry in (self.interface(other).addresses if other != port else ())
                ]
                if any(ipaddress.ip_address(address) in network for network in own for address in near):
                    continue
                if near and any(network.num_addresses > 2 for network in own):
                    found[port] = near
        return found

    # --- Names --------------------------------------------------------------------------------

    @cached_property
    def port_names(self) -> dict[Port, tuple[str, ...]]:
        """What each port may be called: by its interface, and by its node if it is the only port."""
        found: dict[Port, tuple[str, ...]] = {}
        for name, node in self.scenario.nodes.items():
            for interface in node.interfaces:
                names = [interface, self.system_name(name, interface)]
                if len(node.interfaces) == 1:
                    names.append(name)
                found[Port(name, interface)] = tuple(dict.fromkeys(names))
        return found

    def system_name(self, node: str, interface: str) -> str:
        """Return what the FreeBSD system of a node calls an interface; without one its name."""
        system = self.simulation.systems.get(node)
        return interface if system is None else system.names.system_of(interface)

    def both_names(self, node: str, interface: str) -> str:
        """Return the name of an interface, and what its system calls it if that is another one."""
        system = self.system_name(node, interface)
        return interface if system == interface else f"{interface} ({system})"

    def ports_called(self, name: str) -> set[Port]:
        """Return the ports that a name may mean."""
        return {port for port, names in self.port_names.items() if name in names}

    def called(self, port: Port) -> str:
        """Return a port for people: ``A:em1``."""
        return f"{port.node}:{port.interface}"

    def names_of(self, ports: set[Port]) -> set[str]:
        """Return all names of some ports."""
        return {name for port in ports for name in self.port_names[port]}

    # --- Settings -----------------------------------------------------------------------------

    @cached_property
    def vain_keys(self) -> list[Vain]:
        """The keys that change nothing."""
        return vain_keys(self.scenario, self.places)

    # --- Flows --------------------------------------------------------------------------------

    @cached_property
    def talks(self) -> tuple[Talk, ...]:
        """The flows, each on the paths of all subflows that its ends will want; the first ones, if many."""
        talks = [
            self._talk(number, flow) for number, flow in enumerate(self.scenario.flows[: self.most_flows])
        ]
        return tuple(talk for talk in talks if talk is not None)

    def _talk(self, number: int, flow: AnyFlow) -> Talk | None:
        local, remote = flow_addresses(self.scenario, flow)
        if self.owner(local) is None or self.owner(remote) is None:
            return None  # an address that commands bring later
        client_config, server_config = self.scenario.flow_configs(flow)
        ends = (
            TalkEnd(flow.client, True, local, client_config),
            TalkEnd(flow.server, False, remote, server_config),
        )
        rehearsal = rehearse(self._rehearsed(ends[0]), self._rehearsed(ends[1]), local, remote, flow.port)
        wanted = {(local, remote): (True, flow.port)}
        if rehearsal.multipath:
            for join in rehearsal.joins:
                if join.accepted:
                    wanted.setdefault((join.client, join.server), (join.by_client, join.port or FIRST_PORT))
        pairs = [
            self._pair((FIRST_PORT + shift, port), flow, client, server, by_client)
            for shift, ((client, server), (by_client, port)) in enumerate(wanted.items())
        ]
        return Talk(number, flow, ends, rehearsal, tuple(pairs))

    def pair_of(self, talk: Talk, client: str, server: str) -> SubflowPair:
        """Return the ways of a subflow between two addresses of a flow's ends, opened by the client."""
        ports = FIRST_PORT + len(talk.pairs), talk.spec.port
        return self._pair(ports, talk.spec, client, server, True)

    def remotes_of(self, host: str) -> list[str]:
        """Return the addresses of peers that packets of a host are for, in all flows."""
        found: dict[str, None] = {}
        for talk in self.talks:
            for pair in talk.pairs:
                if talk.spec.client == host:
                    found[pair.server] = None
                if talk.spec.server == host:
                    found[pair.client] = None
        return list(found)

    def may_change_addresses(self, host: str) -> bool:
        """Return whether commands or events give a host addresses later, or take some away."""
        return self.scenario.hosts[host].changes or any(
            isinstance(event, AddAddressEvent | RemoveAddressEvent | InterfaceEvent)
            and event.interface.partition(":")[0] == host
            for event in self.scenario.events
        )

    def _rehearsed(self, end: TalkEnd) -> RehearsedEnd:
        host = self.simulation.hosts[end.host]
        mtus = {
            entry.address: interface.mtu
            for interface in host.interfaces.values()
            for entry in interface.addresses
        }
        return RehearsedEnd(end.config, mtus, host.source_for)

    def _pair(
        self, ports: tuple[int, int], flow: AnyFlow, client: str, server: str, by_client: bool
    ) -> SubflowPair:
        name, source, destination = (
            (flow.client, client, server) if by_client else (flow.server, server, client)
        )
        node = self.simulation.hosts[name]
        out = self.paths.follow(node, probe(source, destination, *ports))
        return SubflowPair(client, server, by_client, out, self.paths.answer(out) if out.arrived else None)

    # --- Places -------------------------------------------------------------------------------

    def setter(self, talk: Talk, end: TalkEnd, key: str, kind: str = "mptcp") -> KeyPath:
        """Return the place of the table that sets a key of MPTCP for one end of a flow."""
        side = "client" if end.is_client else "server"
        return (*setter(self.scenario, talk.number, end.host, side, kind, key), key)

    def tcp_setter(self, talk: Talk, end: TalkEnd, key: str) -> KeyPath:
        """Return the place of the table that sets a key of TCP for one end of a flow."""
        return self.setter(talk, end, key, "tcp")

    def interface_path(self, port: Port) -> KeyPath:
        """Return the place of an interface."""
        kind = "hosts" if port.node in self.scenario.hosts else "routers"
        return (kind, port.node, "interfaces", port.interface)

    def cause_of(self, talk: Talk, pair: SubflowPair) -> KeyPath:
        """Return the place of what makes a flow want a subflow: a path manager, or the flow itself."""
        if pair is talk.pairs[0]:
            return ("flows", talk.number)
        first = talk.pairs[0]
        end = talk.ends[0 if pair.client != first.client else 1]
        path = self.setter(talk, end, "path_manager")
        return path if path[0] != "defaults" else ("flows", talk.number)

    def sender_of(self, talk: Talk, pair: SubflowPair, port: Port) -> KeyPath:
        """Return the place to blame for packets that leave from the address of a port."""
        cause = self.cause_of(talk, pair)
        return cause if cause[:2] == ("hosts", port.node) else self.interface_path(port)

    def link_path(self, port: Port, key: str) -> KeyPath:
        """Return the place of a key of the link that ends at a port."""
        for index, link in enumerate(self.scenario.links):
            if port in [split_end(end) for end in link.ends]:
                return ("links", index, key)
        return ("links",)

    @cached_property
    def texts(self) -> list[Text]:
        """The texts that belong to the scenario: its own, and those of files that it names."""
        found = [Text(self.name, tuple(prose_of_toml(self.places.text)))]
        for kind, nodes in (("hosts", self.scenario.hosts), ("routers", self.scenario.routers)):
            for name, node in nodes.items():
                labels = () if node.freebsd is None else (COMMANDS, *node.freebsd.files)
                for label in labels:
                    file = self.places.of_text((kind, name, TABLE), Line(label, 1, "")).file
                    if file != self.name:
                        text = pathlib.Path(file).read_text(encoding="utf-8-sig")
                        found.append(Text(file, tuple(prose_of_conf(text))))
        return found

    def place(self, remark: Remark) -> Place:
        """Return where a remark is about."""
        if remark.at is None:
            return self.places.of(remark.path)
        if TABLE in remark.path:
            return self.places.of_text(remark.path[: remark.path.index(TABLE) + 1], remark.at)
        return Place(remark.at.file, remark.at.number, dotted(remark.path), source=remark.at.text.strip())


def subject_of(path: pathlib.Path, changes: Sequence[str] = ()) -> Subject:
    """Read a scenario and return it as a subject.

    Raises:
        ScenarioError: it cannot be read, or names something that does not exist.
    """
    scenario, places = open_source(path, changes).read()
    return Subject(scenario, places)


def _node_of(event: RouteEvent | AddAddressEvent | RemoveAddressEvent) -> str:
    return event.node if isinstance(event, RouteEvent) else event.interface.partition(":")[0]
