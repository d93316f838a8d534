"""What the commands of one ``freebsd`` table make of its node.

They are carried out at a node that is linked to nothing. What they leave behind becomes data as a user
would have written them. Commands that have become data remain as comments, so that what a run writes down
as its scenario says all of it once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple

from mptcpsim.freebsd.commands import Command, RcConf, Sysctl, Tcpdump
from mptcpsim.freebsd.dummynet_host import Dummynet
from mptcpsim.freebsd.ip_commands import IfconfigCommand, RouteCommand
from mptcpsim.freebsd.iperf import IperfClient, IperfServer
from mptcpsim.freebsd.lines import LONGEST, DialectError, Line
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.scripts import read_script
from mptcpsim.freebsd.system import Launch, System, firewalls
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.node import Interface
from mptcpsim.net.routing import DEFAULT_IPV4, DEFAULT_IPV6, canonical_prefixes
from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.scenario.freebsd_settings import Block, FileText, FreebsdSpec
from mptcpsim.scenario.mptcp_settings import mptcp_table
from mptcpsim.scenario.validate import validate
from mptcpsim.sim.loop import Loop

TABLE: Final = "freebsd"
COMMANDS: Final = "commands"

#: What becomes part of the ordinary tables, at the beginning and later.
_AT_FIRST: Final = (IfconfigCommand, RouteCommand, IperfClient, IperfServer, Tcpdump)
_ALWAYS: Final = (IperfClient, IperfServer, Tcpdump)


class Malformed(Exception):
    """Something around the dialect that cannot be read; the ordinary check explains it."""


def later_label(index: int) -> str:
    """Return what messages call the commands of an entry of ``later``."""
    return f"{COMMANDS} of later.{index}"


class Origin(NamedTuple):
    """Which line something in a scenario comes from.

    Attributes:
        path: of what was made of it.
        at: the line.
        node: where it was typed.
    """

    path: KeyPath
    at: Line
    node: str


class Launched(NamedTuple):
    """An application of a host.

    Attributes:
        node: name of the host.
        start: ns.
        launch: what was started, with the settings in force.
    """

    node: str
    start: int
    launch: Launch


class TypedNode:
    """One node with a ``freebsd`` table, and what its commands have made of it.

    Attributes:
        path: of the node.
        kind: "hosts" or "routers".
        name: of the node.
        raw: its table in the scenario.
        spec: its ``freebsd`` table.
        system: after all commands; its node is linked to nothing.
        tables: what the commands at the beginning say, by key of the node's table.
        origins: of those.
        launched: applications.
        addresses: that the node has at any time.
        residue: the ``freebsd`` table without what is in ``tables``.
    """

    def __init__(
        self, kind: str, name: str, raw: dict[str, Any], ends: list[str], directory: FilePath
    ) -> None:
        path: KeyPath = (kind, name)
        self.path = path
        self.kind = kind
        self.name = name
        self.raw = raw
        self.spec = validate(FreebsdSpec, raw[TABLE], (*path, TABLE))
        self.texts = _Texts((*path, TABLE), directory)
        self.tables: dict[str, Any] = {}
        self.origins: list[Origin] = []
        self.launched: list[Launched] = []
        node = _node(self.name, raw, ends)
        self.addresses = set(node.addresses)
        self._routes_at_first = {(route.prefix, route.gateway) for route in node.routes.routes()}
        self.system = self._system(node)
        try:
            self._run()
        except DialectError as error:
            raise self.texts.problem(error) from None

    def _system(self, node: IpNode) -> System:
        try:
            names = InterfaceNames(node.interfaces, self.spec.aliases)
        except ValueError as error:
            raise Problem((*self.path, TABLE, "aliases"), str(error)) from None
        files = {
            name: self.texts.read(("files", name), name, text)[1] for name, text in self.spec.files.items()
        }
        dummynet = Dummynet(node.loop, node.name, files=files)
        accept = self.spec.default_to_accept
        return System(node, names, files, dummynet, None, accept, forwards=self.kind == "routers")

    def _run(self) -> None:
        """Carry out all commands in the order of time, and note what they say."""
        spec, system = self.spec, self.system
        label, text = self.texts.read((COMMANDS,), COMMANDS, spec.commands)
        commands = read_script(text, label)
        system.begin(commands)
        self._note(0)
        self._make_tables()
        self.residue: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
        self.residue["files"] = system.files
        self.residue[COMMANDS] = commented(text, _done(commands, _AT_FIRST, sysctls=True))
        for index, block in sorted(enumerate(spec.later), key=lambda entry: entry[1].at):
            self.residue["later"][index][COMMANDS] = self._run_later(index, block)

    def _run_later(self, index: int, block: Block) -> str:
        label, text = self.texts.read(("later", index, COMMANDS), later_label(index), block.commands)
        commands = read_script(text, label)
        for command in commands:
            if isinstance(command, RcConf):
                raise command.at.error("rc.conf is read at the beginning: write pfctl or ipfw commands here")
            self.system.execute(command)
            self.addresses |= set(self.system.node.addresses)
        self._note(block.at)
        return commented(text, _done(commands, _ALWAYS, sysctls=False))

    def _note(self, start: int) -> None:
        self.addresses |= set(self.system.node.addresses)
        self.launched += [Launched(self.name, start, launch) for launch in self.system.launched]
        self.system.launched.clear()

    def _from(self, at: Line, *place: str | int) -> None:
        self.origins.append(Origin((*self.path, *place), at, self.name))

    # --- The tables of the node ---

    def _make_tables(self) -> None:
        self._interfaces()
        self._routes()
        settings = self.system.settings
        for table, keys in (("tcp", settings.tcp), ("mptcp", settings.mptcp)):
            if keys:
                given = self.raw.get(table, {})
                given = mptcp_table(given) if isinstance(given, str | bool) and table == "mptcp" else given
                if not isinstance(given, dict):
                    raise Malformed
                self.tables[table] = {**given, **keys}
        for (table, key), at in settings.lines.items():
            self._from(at, table, key)

    def _interfaces(self) -> None:
        given, network = self.raw.get("interfaces", {}), self.system.network
        made = dict(given)
        for name, interface in network.node.interfaces.items():
            if name in given and name not in network.changed:
                continue
            table = dict(given[name]) if isinstance(given.get(name), dict) else {}
            table["addresses"] = [f"{entry.address}/{entry.prefix_length}" for entry in interface.addresses]
            table["up"] = interface.up
            if name in network.mtus:
                table["mtu"] = network.mtus[name]
            made[name] = table
            if name in network.changed:
                self._from(network.changed[name], "interfaces", name)
        self.tables["interfaces"] = made

    def _routes(self) -> None:
        network, raw = self.system.network, self.raw
        table = network.node.routes.routes()
        there = {(route.prefix, route.gateway) for route in table}
        # What was typed again had gone in between.
        typed = {(route.prefix, route.gateway) for route in network.typed}
        gone = self._routes_at_first - (there - typed)
        on_link = {(route.prefix, route.interface.name) for route in table if not route.gateway}
        of_interfaces = [
            (entry.prefix, name)
            for name, interface in network.node.interfaces.items()
            if interface.up
            for entry in interface.addresses
        ]
        told_in_full = raw.get("connected_routes") is False or any(r not in on_link for r in of_interfaces)
        if not (network.typed or gone or (told_in_full and network.changed)):
            return
        routes = [
            route
            for route in raw.get("routes", [])
            if not gone.intersection(_entries(route["to"], route.get("via")))
        ]
        default = raw.get("default_route")
        if default is not None and gone.intersection(_entries("default", default)):
            default = None
        if told_in_full:
            # The table differs from that of the interfaces: a route to their networks was deleted.
            self.tables["connected_routes"] = False
            given = {
                (prefix, route.get("dev")) for route in routes for prefix, _ in _entries(route["to"], "")
            }
            routes += [
                {"to": prefix, "dev": name}
                for prefix, name in of_interfaces
                if (prefix, name) in on_link and (prefix, name) not in given
            ]
        for route in network.typed:
            usual = towards(network.node, route.gateway) if route.gateway else None
            plain = usual is not None and usual.name == route.interface
            if route.prefix in (DEFAULT_IPV4, DEFAULT_IPV6) and plain and default is None:
                default = route.gateway
                self._from(route.at, "default_route")
                continue
            self._from(route.at, "routes", len(routes))
            routes.append({"to": route.prefix, **({"via": route.gateway} if route.gateway else {})})
            if not plain:
                routes[-1]["dev"] = route.interface
        self.tables["routes"] = routes
        self.tables["default_route"] = default


class _Texts:
    """The texts of one ``freebsd`` table, and where each stands."""

    def __init__(self, path: KeyPath, directory: FilePath) -> None:
        self.path = path
        self.directory = directory
        self._places: dict[str, tuple[KeyPath, bool]] = {}

    def read(self, place: KeyPath, name: str, text: str | FileText) -> tuple[str, str]:
        """Return what messages call a text, and the text, from its file if it stands in one.

        Raises:
            Problem: the file cannot be read.
        """
        path, inline = (*self.path, *place), isinstance(text, str)
        label = name if isinstance(text, str) else text.file
        self._places[label] = self._places[name] = path, inline
        if isinstance(text, str):
            return label, text
        file = self.directory / text.file
        try:
            if not file.is_file():
                raise Problem(path, f"{file}: no such file; name one beside the scenario")
            with file.open("rb") as stream:
                found = stream.read(LONGEST + 1)
            return label, found.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Problem(path, f"{file}: not UTF-8 text (byte {error.start}); save it in UTF-8") from None
        except (OSError, ValueError) as error:
            if isinstance(error, Problem):
                raise
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Problem(path, f"{file}: cannot be read: {reason}") from None

    def problem(self, error: DialectError) -> Problem:
        """Return what a line that is not understood is to a scenario."""
        path, inline = self._places.get(error.file, (self.path, True))
        if not inline:
            return Problem(path, str(error))
        text = str(error).removeprefix(f"{error.file}, ")
        return Problem(path, text, error.line)


def _node(name: str, raw: dict[str, Any], ends: list[str]) -> IpNode:
    """Return a node with the interfaces, addresses and routes that the scenario gives it.

    Raises:
        Malformed: they cannot be read.
    """
    interfaces = raw.get("interfaces", {})
    if not isinstance(interfaces, dict):
        raise Malformed
    node = IpNode(Loop(), name)
    try:
        for interface in dict.fromkeys([*interfaces, *ends]):
            given = interfaces.get(interface, [])
            table = given if isinstance(given, dict) else {"addresses": given}
            addresses = table.get("addresses", [])
            addresses = [addresses] if isinstance(addresses, str) else addresses
            made = node.add_interface(interface, addresses)
            made.set_up(table.get("up", True) is not False)
            for entry in made.addresses if made.up and raw.get("connected_routes", True) else ():
                node.routes.add(entry.prefix, made)
        routes = list(raw.get("routes", []))
        if raw.get("default_route") is not None:
            gateway = raw["default_route"]
            routes.append({"to": "default", "via": gateway})
        for route in routes:
            _add_route(node, route)
    except (ValueError, TypeError, AttributeError, KeyError):
        raise Malformed from None
    return node


def _add_route(node: IpNode, route: Mapping[str, Any]) -> None:
    """Add a route of the scenario; of several gateways the first one, since it is looked up only."""
    via = _first(route.get("via") or "")
    gateway = str(ipaddress.ip_address(via)) if via else ""
    dev = route.get("dev")
    interface = node.interfaces[dev] if dev is not None else towards(node, gateway)
    if interface is not None:
        node.routes.add(route["to"], interface, gateway)


def _first(via: str | list[str]) -> str:
    return via if isinstance(via, str) else via[0]


def _entries(to: str, via: str | list[str] | None) -> list[tuple[str, str]]:
    """Return (prefix, gateway) of a route of the scenario: of several gateways the first one."""
    gateway = str(ipaddress.ip_address(_first(via))) if via else ""
    return [(prefix, gateway) for prefix in canonical_prefixes(to, gateway)]


def towards(node: IpNode, gateway: str) -> Interface | None:
    """Return the interface of a scenario's route with this gateway, unless it names one."""
    return next((interface for interface in node.interfaces.values() if interface.on_link(gateway)), None)


def _done(commands: tuple[Command, ...], kinds: tuple[type, ...], sysctls: bool) -> set[int]:
    """Return the lines of commands that have become part of other tables."""
    found: dict[int, bool] = {}
    for command in commands:
        done = isinstance(command, kinds)
        if sysctls and isinstance(command, Sysctl):
            done = not firewalls(command)
        found[command.at.number] = found.get(command.at.number, True) and done
    return {line for line, done in found.items() if done}


def commented(text: str, lines: set[int]) -> str:
    """Return a script with some of its lines, counted from 1, as comments."""
    kept = text.split("\n")
    for number in lines:
        line = kept[number - 1]
        indent = len(line) - len(line.lstrip())
        kept[number - 1] = f"{line[:indent]}#{line[indent:]}"
    return "\n".join(kept)
