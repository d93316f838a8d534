"""What needs more than one key to judge: names, addresses, routes, plug-ins, times.

Each function raises ``Problem`` at the first mistake that it finds. What can be run, and does not do what
is meant, is no mistake here: packets may get lost and events come too late. ``mptcpsim.lint`` tells of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.segment import TCP_HEADER, ip_header_length
from mptcpsim.guard import PluginFailure
from mptcpsim.measure.metrics import ALWAYS, FIELDS
from mptcpsim.pathmanagers.ndiffports import NDiffPorts
from mptcpsim.plugins import PluginError, create, families
from mptcpsim.scenario.catalogue import load_plugins, parameters
from mptcpsim.scenario.check_events import added_addresses, check_events
from mptcpsim.scenario.check_routes import check_routes
from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.scenario.fields import PluginChoice
from mptcpsim.scenario.flows import FlowSpec
from mptcpsim.scenario.mptcp_settings import MptcpSettings
from mptcpsim.scenario.nodes import USABLE_NAMES, NodeSpec, usable_name
from mptcpsim.scenario.policy import source_address
from mptcpsim.scenario.routes import addresses, look_up, split_end
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.settings import plugins_of
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import format_time

#: Samples of one run, at most: more would only fill the disk.
MAX_SAMPLES = 1_000_000

#: RFC 8200 section 5.
IPV6_MIN_MTU = 1280


def check(scenario: Scenario) -> None:
    """Judge a scenario as a whole.

    Raises:
        Problem: the first mistake found, with its place and its remedy.
    """
    load_plugins()
    _names(scenario)
    _addresses(scenario)
    _links(scenario)
    check_routes(scenario)
    _plugins(scenario)
    _flows(scenario)
    _tcp(scenario)
    check_events(scenario)
    _blocks(scenario)
    _output(scenario)


def _duplicates(names: Iterable[str]) -> tuple[int, int] | None:
    """Return the positions of the first name that comes twice."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            return seen[name], index
        seen[name] = index
    return None


def _names(scenario: Scenario) -> None:
    kinds: dict[str, Mapping[str, object]] = {
        "hosts": scenario.hosts,
        "routers": scenario.routers,
        "switches": scenario.switches,
    }
    seen: dict[str, str] = {}
    captures: dict[str, str] = {}
    for kind, nodes in kinds.items():
        for name, node in nodes.items():
            if not usable_name(name):
                raise Problem((kind, name), f"it cannot be a name: choose another one, of {USABLE_NAMES}")
            if name in seen:
                raise Problem((kind, name), f"the name {name!r} is taken in {seen[name]}: rename one of them")
            seen[name] = kind
            for interface in getattr(node, "interfaces", {}):
                if not usable_name(interface):
                    raise Problem(
                        (kind, name, "interfaces", interface),
                        f"it cannot be a name: choose another one, of {USABLE_NAMES}",
                    )
                end = f"{name}:{interface}"
                other = captures.setdefault(end.replace(":", "."), end)
                if other != end:
                    raise Problem(
                        (kind, name, "interfaces", interface),
                        f"captures of {other} and of {end} would have one name: rename one of them",
                    )
    for what, names in (("link", scenario.links), ("flow", scenario.flows)):
        if twice := _duplicates(item.name for item in names):
            first, second = twice
            raise Problem(
                (f"{what}s", second, "name"),
                f"{what} {names[second].name!r} has the name of entry {first}: give each {what} its own name",
            )


def _addresses(scenario: Scenario) -> None:
    seen: dict[str, str] = {}
    for kind, nodes in (("hosts", scenario.hosts), ("routers", scenario.routers)):
        for name, node in nodes.items():
            for interface in node.interfaces:
                if not node.interfaces[interface].addresses and node.freebsd is None:
                    raise Problem(
                        (kind, name, "interfaces", interface, "addresses"),
                        "addresses has too few entries: give at least 1",
                    )
                for address in addresses(node, interface):
                    if address in seen:
                        raise Problem(
                            (kind, name, "interfaces", interface),
                            f"the address {address} belongs to {seen[address]}: give each interface its own",
                        )
                    seen[address] = f"{name}:{interface}"


def _links(scenario: Scenario) -> None:
    nodes = scenario.nodes
    used: dict[str, str] = {}
    for index, link in enumerate(scenario.links):
        path: KeyPath = ("links", index, "ends")
        if split_end(link.ends[0]) == split_end(link.ends[1]):
            raise Problem(path, f"both ends are {link.ends[0]!r}: a link joins two different ends")
        for end in link.ends:
            port = split_end(end)
            if isinstance(port, str):
                if port in nodes:
                    first = next(iter(nodes[port].interfaces))
                    raise Problem(path, f"{end!r} lacks the interface: write it as {f'{port}:{first}'!r}")
                if port not in scenario.switches:
                    known = [*scenario.switches, *nodes]
                    raise Problem(
                        path, f"no switch, host or router is called {port!r}; {did_you_mean(port, known)}"
                    )
                continue
            if port.node in scenario.switches:
                raise Problem(path, f"{end!r}: a switch has no named interfaces; write {port.node!r}")
            if port.node not in nodes:
                raise Problem(
                    path, f"no host or router is called {port.node!r}; {did_you_mean(port.node, list(nodes))}"
                )
            known = list(nodes[port.node].interfaces)
            if port.interface not in known:
                raise Problem(
                    path,
                    f"{port.node!r} has no interface {port.interface!r}; "
                    f"{did_you_mean(port.interface, known)}",
                )
            if end in used:
                raise Problem(path, f"{end!r} is an end of link {used[end]!r} already: use another interface")
            used[end] = link.name
            for address in addresses(nodes[port.node], port.interface):
                if ":" in address and link.mtu < IPV6_MIN_MTU:
                    raise Problem(
                        ("links", index, "mtu"),
                        f"an mtu of {link.mtu} is too small for IPv6: it needs {IPV6_MIN_MTU}",
                    )
                mtu = nodes[port.node].interfaces[port.interface].mtu
                if ":" in address and mtu is not None and mtu < IPV6_MIN_MTU:
                    kind = "hosts" if port.node in scenario.hosts else "routers"
                    raise Problem(
                        (kind, port.node, "interfaces", port.interface, "mtu"),
                        f"an mtu of {mtu} is too small for IPv6: it needs {IPV6_MIN_MTU}",
                    )
    for kind, group in (("hosts", scenario.hosts), ("routers", scenario.routers)):
        for name, node in group.items():
            for interface in node.interfaces:
                if f"{name}:{interface}" not in used:
                    raise Problem(
                        (kind, name, "interfaces", interface),
                        f"no link ends at '{name}:{interface}': add one to links, or remove the interface",
                    )


def _plugins(scenario: Scenario) -> None:
    for index, link in enumerate(scenario.links):
        for side, forward in (("forward", True), ("backward", False)):
            direction = link.direction(forward)
            if direction.reorder and not direction.reorder_delay:
                place: KeyPath = ("links", index, *((side,) if getattr(link, side).reorder else ()))
                raise Problem(
                    (*place, "reorder"),
                    'a packet that is overtaken is held back for a time: add reorder_delay, such as "10ms"',
                )
        _plugin(("links", index, "qdisc"), "qdisc", link.qdisc)
        for side in ("forward", "backward"):
            choice = getattr(link, side).qdisc
            if choice is not None:
                _plugin(("links", index, side, "qdisc"), "qdisc", choice)
        for number, choice in enumerate(link.middleboxes):
            _plugin(("links", index, "middleboxes", number), "middlebox", choice)
    for kind, config in (("tcp", TcpConfig), ("mptcp", MptcpConfig)):
        plugins = plugins_of(config)
        for path, settings in _all_settings(scenario, kind):
            for key, family in plugins.items():
                choice = getattr(settings, key)
                if choice is not None:
                    _plugin((*path, key), family, choice)


def _all_settings(scenario: Scenario, kind: str) -> list[tuple[KeyPath, TcpSettings | MptcpSettings]]:
    """Return every table of a kind, "tcp" or "mptcp", with its place."""
    found: list[tuple[KeyPath, Any]] = [(("defaults", kind), getattr(scenario.defaults, kind))]
    found += [(("hosts", name, kind), getattr(host, kind)) for name, host in scenario.hosts.items()]
    for index, flow in enumerate(scenario.flows):
        for key in (kind, f"client_{kind}", f"server_{kind}"):
            found.append((("flows", index, key), getattr(flow, key)))
    return found


def _plugin(path: KeyPath, family: str, choice: PluginChoice) -> None:
    """Judge the choice of a plug-in; whether it takes its parameters, it says itself."""
    known = families().get(family, {})
    if choice.name not in known:
        raise Problem(path, f"unknown {family} {choice.name!r}; {did_you_mean(choice.name, list(known))}")
    try:
        create(family, choice.name, parameters(family, choice.name, choice.parameters))
    except (PluginError, PluginFailure) as error:
        hint = "" if isinstance(error, PluginFailure) else f"; see `mptcpsim list {family}`"
        raise Problem(path, f"{error}{hint}") from None


def _flows(scenario: Scenario) -> None:
    taken: dict[tuple[str, int], FlowSpec] = {}
    for index, flow in enumerate(scenario.flows):
        path: KeyPath = ("flows", index)
        for key in ("client", "server"):
            name = getattr(flow, key)
            if name not in scenario.hosts:
                hint = did_you_mean(name, list(scenario.hosts))
                text = f"no host is called {name!r}"
                if name in scenario.routers or name in scenario.switches:
                    text = f"{name!r} forwards and has no TCP: only hosts have flows"
                raise Problem((*path, key), f"{text}; {hint}")
        if flow.client == flow.server:
            raise Problem((*path, "server"), f"client and server are both {flow.client!r}: choose two hosts")
        for key, node in (("client_interface", flow.client), ("server_interface", flow.server)):
            chosen = getattr(flow, key)
            known = list(scenario.hosts[node].interfaces)
            if chosen is not None and chosen not in known:
                raise Problem(
                    (*path, key), f"{node!r} has no interface {chosen!r}; {did_you_mean(chosen, known)}"
                )
        for key, node in (
            ("client_address", flow.client),
            ("server_address", flow.server),
            ("bind", flow.server),
        ):
            address, own = getattr(flow, key), _candidates(scenario.hosts[node], None)
            own += added_addresses(scenario, node)
            if address is not None and address not in own and not scenario.hosts[node].changes:
                raise Problem(
                    (*path, key), f"{address} is no address of {node!r}; {did_you_mean(address, own)}"
                )
        mptcp = scenario.flow_configs(flow)[0].mptcp
        if flow.distinct_paths and not (mptcp.enabled and mptcp.path_manager == NDiffPorts.NAME):
            raise Problem(
                (*path, "distinct_paths"),
                "only ndiffports opens subflows by their ports: give the client mptcp with "
                'path_manager = {name = "ndiffports", subflows = 8}, or write false',
            )
        if flow.start >= scenario.duration:
            raise Problem(
                (*path, "start"),
                f"the flow starts at {format_time(flow.start)}, but the run ends at "
                f"{format_time(scenario.duration)}: start earlier or raise duration",
            )
        place = (flow.server, flow.port)
        other = taken.setdefault(place, flow)
        if other is not flow and _server_of(scenario, other) != _server_of(scenario, flow):
            raise Problem(
                (*path, "port"),
                f"port {flow.port} of {flow.server!r} serves flow {other.name!r}, whose server has other "
                "settings: choose another port, or the same settings for both",
            )
        # Whether packets arrive there is for ``lint`` to say, and for the run to show.
        flow_addresses(scenario, flow, path)


def _server_of(scenario: Scenario, flow: FlowSpec) -> tuple[object, ...]:
    """Return all that belongs to the server of a flow: what flows to one port have to agree in."""
    request = getattr(flow, "request", None), getattr(flow, "response", None)
    reverse = flow if getattr(flow, "reverse", False) else None
    config = scenario.flow_configs(flow)[1]
    return type(flow), config, flow.reader, flow.listen, flow.bind, request, reverse


def flow_addresses(scenario: Scenario, flow: FlowSpec, path: KeyPath = ()) -> tuple[str, str]:
    """Return the addresses of client and server of a flow: the first ones of one IP version.

    Raises:
        Problem: the two ends have no IP version in common.
    """
    client, server = scenario.hosts[flow.client], scenario.hosts[flow.server]
    locals_ = [flow.client_address] if flow.client_address else _candidates(client, flow.client_interface)
    remotes = [flow.server_address] if flow.server_address else _candidates(server, flow.server_interface)
    for remote in remotes:
        usable = [address for address in locals_ if (":" in address) == (":" in remote)]
        if not usable:
            continue
        if flow.client_interface is None and flow.client_address is None:
            # As an operating system does: the address of the interface that the route leads out of.
            usable = [a for a in usable if a in _preferred(client, remote)] or usable
        return usable[0], remote
    raise Problem(
        (*path, "server"),
        f"{flow.client!r} and {flow.server!r} have no IP version in common: "
        "give both an IPv4 or both an IPv6 address",
    )


def _candidates(node: NodeSpec, interface: str | None) -> list[str]:
    chosen = list(node.interfaces) if interface is None else [interface]
    return [address for name in chosen for address in addresses(node, name)]


def _preferred(node: NodeSpec, remote: str) -> list[str]:
    """Return the addresses of a host that its routing has for packets to another one."""
    if node.tables or node.rules:
        return [source_address(node, remote)]
    route = look_up(node, remote)
    return addresses(node, route.interface) if route else []


def _tcp(scenario: Scenario) -> None:
    """Judge the settings of each end of each flow together; blame the innermost table that sets them."""
    for index, flow in enumerate(scenario.flows):
        address = flow_addresses(scenario, flow)[0]
        ends = (flow.client, "client"), (flow.server, "server")
        for (host, side), config in zip(ends, scenario.flow_configs(flow), strict=True):
            for kind, found in (
                ("tcp", _contradiction(config, address)),
                ("mptcp", _mptcp_contradiction(config.mptcp)),
            ):
                if found is not None:
                    key, text = found
                    raise Problem((*setter(scenario, index, host, side, kind, key), key), text)


def _contradiction(config: TcpConfig, address: str) -> tuple[str, str] | None:
    if config.rto_min > config.rto_max:
        return (
            "rto_min",
            f"{format_time(config.rto_min)} is above rto_max, {format_time(config.rto_max)}: lower it",
        )
    if not config.rto_min <= config.rto_initial <= config.rto_max:
        limits = f"{format_time(config.rto_min)} to {format_time(config.rto_max)}"
        return (
            "rto_initial",
            f"{format_time(config.rto_initial)} is outside rto_min to rto_max: choose {limits}",
        )
    smallest = 576 - ip_header_length(address) - TCP_HEADER
    if config.mss and config.mss < 64:
        return (
            "mss",
            f"an mss of {config.mss} is too small: choose 64 or more, or 0 to derive it from the mtu",
        )
    need = config.mss or smallest
    for key in ("send_buffer", "receive_buffer"):
        if getattr(config, key) < need:
            return key, f"{getattr(config, key)} bytes hold no full segment: choose {need} bytes or more"
    return None


def _mptcp_contradiction(config: MptcpConfig) -> tuple[str, str] | None:
    if not config.enabled:
        return None
    if config.deny_join_initial and config.versions == (0,):
        # Flag C of MP_CAPABLE is one of the crypto bits of RFC 6824.
        return "deny_join_initial", "version 0 has no such flag: write false, or speak version 1"
    return None


def setter(scenario: Scenario, index: int, host: str, side: str, kind: str, key: str) -> KeyPath:
    """Return the innermost table of a kind that sets a key for one end of a flow."""
    tables = tables_of_end(scenario, index, host, side, kind)
    return next((path for path, settings in tables if getattr(settings, key) is not None), ("defaults", kind))


def tables_of_end(
    scenario: Scenario, index: int, host: str, side: str, kind: str
) -> list[tuple[KeyPath, TcpSettings | MptcpSettings]]:
    """Return the tables of a kind, "tcp" or "mptcp", for one end of a flow; the closest one first."""
    flow = scenario.flows[index]
    return [
        (("flows", index, f"{side}_{kind}"), getattr(flow, f"{side}_{kind}")),
        (("flows", index, kind), getattr(flow, kind)),
        (("hosts", host, kind), getattr(scenario.hosts[host], kind)),
        (("defaults", kind), getattr(scenario.defaults, kind)),
    ]


def _blocks(scenario: Scenario) -> None:
    for kind, nodes in (("hosts", scenario.hosts), ("routers", scenario.routers)):
        for name, node in nodes.items():
            for index, block in enumerate(node.freebsd.later if node.freebsd is not None else ()):
                if block.at >= scenario.duration:
                    raise Problem(
                        (kind, name, "freebsd", "later", index, "at"),
                        f"{format_time(block.at)} is not before the end at {format_time(scenario.duration)}: "
                        "choose an earlier time or raise duration",
                    )


def _output(scenario: Scenario) -> None:
    interval = scenario.output.sample_interval
    if scenario.duration // interval > MAX_SAMPLES:
        raise Problem(
            ("output", "sample_interval"),
            f"{format_time(interval)} gives more than {MAX_SAMPLES} samples: choose a longer interval",
        )
    for index, field in enumerate(scenario.output.record):
        if field in scenario.output.record[:index]:
            raise Problem(("output", "record", index), f"{field} stands twice here: write it once")
        if field in ALWAYS:
            raise Problem(("output", "record", index), f"{field} is recorded in any case: leave it out")
        if field not in FIELDS:
            raise Problem(
                ("output", "record", index),
                f"there is no field {field!r} of tcp_info or mptcp_info; {did_you_mean(field, FIELDS)}",
            )
    series = scenario.sweep.series if scenario.sweep is not None else False
    for index, name in enumerate(series if isinstance(series, tuple) else ()):
        if name in FIELDS and name not in scenario.output.record:
            raise Problem(("sweep", "series", index), f"{name} is not recorded: add it to output.record")
        if name not in (*ALWAYS, *FIELDS):
            raise Problem(
                ("sweep", "series", index),
                f"there is no series {name!r}; {did_you_mean(name, ALWAYS, FIELDS)}",
            )
    known = [f"{name}:{interface}" for name, node in scenario.nodes.items() for interface in node.interfaces]
    for index, end in enumerate(scenario.output.capture):
        if end not in known:
            raise Problem(
                ("output", "capture", index), f"there is no interface {end!r}; {did_you_mean(end, known)}"
            )
    written: dict[tuple[str, str], int] = {}
    for index, dump in enumerate(scenario.output.dumps):
        place: KeyPath = ("output", "dumps", index)
        if dump.interface not in known:
            raise Problem(
                (*place, "interface"),
                f"there is no interface {dump.interface!r}; {did_you_mean(dump.interface, known)}",
            )
        if not usable_name(dump.file):
            raise Problem((*place, "file"), f"{dump.file!r} is no name of a file: choose another one")
        node = dump.interface.partition(":")[0]
        if (node, dump.file) in written:
            raise Problem(
                (*place, "file"), f"{node}/{dump.file} is written by another capture: choose another name"
            )
        written[node, dump.file] = index
