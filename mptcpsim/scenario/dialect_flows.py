"""Flows from iperf, captures from tcpdump: what the applications of the dialect are in a scenario.

A client of iperf finds the server that listens on its address and port; without one it is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from mptcpsim.core.config import TcpConfig
from mptcpsim.freebsd.commands import Tcpdump
from mptcpsim.freebsd.iperf import IperfClient, IperfServer
from mptcpsim.freebsd.settings import size_text
from mptcpsim.scenario.mptcp_settings import MptcpSettings, mptcp_config, mptcp_table
from mptcpsim.scenario.quantities import time_text
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.scenario.typed import Launched, Malformed, Origin, TypedNode

#: Keys whose values are sizes.
_SIZES: Final = ("send_buffer", "receive_buffer")


def add_applications(data: dict[str, Any], typed: Sequence[TypedNode]) -> list[Origin]:
    """Add flows and captures to a scenario's data; return where they come from.

    Raises:
        Problem: a client that cannot reach its server by name, or a file that cannot be written.
        Malformed: the flows or the output of the scenario are no such.
    """
    return _Applications(data, typed).add()


class _Applications:
    def __init__(self, data: dict[str, Any], typed: Sequence[TypedNode]) -> None:
        self.data = data
        self.by_name = {one.name: one for one in typed}
        launched = [entry for one in typed for entry in one.launched]
        # In the order of time, and of the scenario at one instant.
        self.launched = sorted(launched, key=lambda entry: entry.start)
        self.servers: dict[tuple[str, int, str], Launched] = {}
        self.origins: list[Origin] = []
        self.hosts = _owners(data, "hosts")
        self.routers = _owners(data, "routers")
        for one in typed:
            owners = self.hosts if one.kind == "hosts" else self.routers
            owners.update(dict.fromkeys(one.addresses, one.name))

    def add(self) -> list[Origin]:
        clients = []
        for entry in self.launched:
            command = entry.launch.command
            if isinstance(command, IperfServer):
                self._serve(entry, command)
            elif isinstance(command, IperfClient):
                clients += [(entry, command)] * command.parallel
            else:
                self._dump(entry, command)
        flows = self.data.setdefault("flows", []) if clients else []
        if not isinstance(flows, list):
            raise Malformed
        names = {flow.get("name") for flow in flows if isinstance(flow, dict)}
        names |= {f"flow{index}" for index in range(len(flows))}
        for entry, command in clients:
            number = 1
            while (name := f"iperf-{number}" if len(clients) > 1 or "iperf" in names else "iperf") in names:
                number += 1
            names.add(name)
            self.origins.append(Origin(("flows", len(flows)), command.at, entry.node))
            flows.append({"name": name, **self._flow(entry, command)})
        self._interval()
        return self.origins

    def _problem(self, entry: Launched, text: str) -> Exception:
        return self.by_name[entry.node].texts.problem(entry.launch.command.at.error(text))

    # --- iperf ---

    def _serve(self, entry: Launched, command: IperfServer) -> None:
        for (node, port, _), other in self.servers.items():
            if (node, port) == (entry.node, command.port):
                line = other.launch.command.at.number
                raise self._problem(
                    entry,
                    f"port {port} is taken (Address already in use) by the server of line {line}: "
                    "write another port with -p",
                )
        self.servers[entry.node, command.port, command.bind] = entry

    def _flow(self, entry: Launched, command: IperfClient) -> dict[str, Any]:
        owner = self.hosts.get(command.server)
        if owner is None:
            if command.server in self.routers:
                router = self.routers[command.server]
                raise self._problem(entry, f"{command.server} is {router!r}, a router, which has no TCP here")
            raise self._problem(entry, f"nobody has the address {command.server}: write that of a host")
        if owner == entry.node:
            raise self._problem(
                entry, f"{command.server} is this host itself: write the address of another one"
            )
        flow: dict[str, Any] = {
            "client": entry.node,
            "server": owner,
            "server_address": command.server,
            "port": command.port,
            "app": "bulk",
            **({"client_address": command.bind} if command.bind else {}),
            **({"start": time_text(entry.start)} if entry.start else {}),
            **(
                {"bytes": size_text(command.amount)}
                if command.amount
                else {"duration": time_text(command.time)}
            ),
            **({"write_size": size_text(command.length)} if command.length else {}),
        }
        self._end(flow, "client", entry)
        server = next(
            (
                found
                for (node, port, _), found in self.servers.items()
                if (node, port) == (owner, command.port)
            ),
            None,
        )
        if server is None:
            return {**flow, "listen": "never"}
        served = server.launch.command
        assert isinstance(served, IperfServer)
        if server.start:
            flow["listen"] = time_text(server.start)
        if served.bind:
            flow["bind"] = served.bind
        if served.length:
            flow["reader"] = {"read_size": size_text(served.length)}
        self._end(flow, "server", server)
        return flow

    def _end(self, flow: dict[str, Any], side: str, entry: Launched) -> None:
        """Add the settings of one end that are not those of its host at the beginning."""
        one, launch, command = self.by_name[entry.node], entry.launch, entry.launch.command
        assert not isinstance(command, Tcpdump)
        tcp = _differing(launch.tcp, one.tables.get("tcp", {}), one.raw, self.data, "tcp")
        mptcp = _differing(launch.mptcp, one.tables.get("mptcp", {}), one.raw, self.data, "mptcp")
        if side == "server" and launch.accepts_ecn:
            tcp["ecn"] = True
        if command.receive_buffer:
            tcp["receive_buffer"] = size_text(command.receive_buffer)
        if command.send_buffer:
            tcp["send_buffer"] = size_text(command.send_buffer)
        for kind, keys in (("tcp", tcp), ("mptcp", mptcp)):
            if keys:
                flow[f"{side}_{kind}"] = keys

    def _interval(self) -> None:
        """Take samples as often as an iperf reports, if the scenario does not say how often."""
        intervals = [
            (command.interval, command.at, entry.node)
            for entry in self.launched
            if isinstance(command := entry.launch.command, IperfServer | IperfClient) and command.interval
        ]
        output = self._output()
        if intervals and "sample_interval" not in output:
            interval, at, node = min(intervals, key=lambda entry: entry[0])
            output["sample_interval"] = time_text(interval)
            self.origins.append(Origin(("output", "sample_interval"), at, node))

    # --- tcpdump ---

    def _dump(self, entry: Launched, command: Tcpdump) -> None:
        dumps = self._output().setdefault("dumps", [])
        name = PurePosixPath(command.file).name
        if not isinstance(dumps, list):
            raise Malformed
        if not name or name in (".", "..") or not name.isprintable() or "\\" in name:
            raise self._problem(entry, f"{command.file!r} names no file: write one such as em0.pcap")
        system = self.by_name[entry.node].system
        end = f"{entry.node}:{system.names.interface(command.at, command.interface)}"
        self.origins.append(Origin(("output", "dumps", len(dumps)), command.at, entry.node))
        dumps.append(
            {
                "interface": end,
                "file": name,
                **({"start": time_text(entry.start)} if entry.start else {}),
                **({"snap_length": size_text(command.snaplen)} if command.snaplen else {}),
            }
        )

    def _output(self) -> dict[str, Any]:
        output = self.data.setdefault("output", {})
        if not isinstance(output, dict):
            raise Malformed
        return output


def _owners(data: dict[str, Any], kind: str) -> dict[str, str]:
    """Return the node of a kind that has each address, as far as the ordinary tables say."""
    found: dict[str, str] = {}
    nodes = data.get(kind, {})
    for name, raw in nodes.items() if isinstance(nodes, dict) else ():
        interfaces = raw.get("interfaces", {}) if isinstance(raw, dict) else {}
        for given in interfaces.values() if isinstance(interfaces, dict) else ():
            addresses = given.get("addresses", []) if isinstance(given, dict) else given
            for text in [addresses] if isinstance(addresses, str) else addresses:
                try:
                    found[str(ipaddress.ip_interface(text).ip)] = str(name)
                except ValueError:
                    raise Malformed from None
    return found


def _differing(
    then: dict[str, Any], at_first: dict[str, Any], raw: dict[str, Any], data: dict[str, Any], kind: str
) -> dict[str, Any]:
    """Return the keys that had another value when a program was started than its host's table says.

    Args:
        then: what sysctl had set by then.
        at_first: the host's table with all that sysctl set at the beginning.
        raw: the host without that.
        data: the scenario, for what holds by default.
        kind: "tcp" or "mptcp".
    """
    keys = {key for key, value in then.items() if at_first.get(key) != value}
    changed = {key: then[key] for key in sorted(keys)}
    own = raw.get(kind, {})
    own = mptcp_table(own) if isinstance(own, str | bool) else own
    for key in sorted(at_first):
        if key not in then and (not isinstance(own, dict) or own.get(key) != at_first[key]):
            changed[key] = _before(key, own, data, kind)
    return changed


def _before(key: str, own: Any, data: dict[str, Any], kind: str) -> Any:
    """Return the value of a key without sysctl, as a scenario has it."""
    defaults = data.get("defaults", {})
    layers = [defaults.get(kind, {}) if isinstance(defaults, dict) else {}, own]
    try:
        if kind == "tcp":
            config = TcpConfig()
            for layer in layers:
                config = TcpSettings.model_validate(layer).over(config)
            value = getattr(config, key)
            return size_text(value) if key in _SIZES else value
        tables = [mptcp_table(layer) if isinstance(layer, str | bool) else layer for layer in layers]
        mptcp = mptcp_config([MptcpSettings.model_validate(table) for table in tables])
    except ValidationError:
        raise Malformed from None
    value = getattr(mptcp, key)
    return {"name": value, **mptcp.path_manager_parameters} if key == "path_manager" else value
