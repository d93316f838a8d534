"""The FreeBSD systems of a simulation: firewalls at the start, and commands that run later."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from mptcpsim.freebsd.commands import Command, Sysctl
from mptcpsim.freebsd.dummynet_host import Dummynet
from mptcpsim.freebsd.lines import DialectError, PassedOver
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.scripts import read_script
from mptcpsim.freebsd.system import System, firewalls
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.host import Host
from mptcpsim.scenario.freebsd_settings import FreebsdSpec
from mptcpsim.scenario.mptcp_settings import MptcpSettings
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.scenario.typed import COMMANDS, later_label
from mptcpsim.streams import stream
from mptcpsim.units import SECOND


def attach_systems(simulation: Simulation) -> dict[str, System]:
    """Start the system of every node with a ``freebsd`` table, and schedule its later commands.

    Loading the scenario has already parsed all texts and executed all commands once.
    """
    found: dict[str, System] = {}
    for name, spec in simulation.scenario.nodes.items():
        if spec.freebsd is not None:
            node = simulation.topology.nodes[name]
            assert isinstance(node, IpNode)
            found[name] = _begin(simulation, node, spec.freebsd)
    return found


def _begin(simulation: Simulation, node: IpNode, spec: FreebsdSpec) -> System:
    seed, loop = simulation.scenario.seed, simulation.env.loop
    node.arp_ignore = True  # FreeBSD answers at an interface for the addresses of that one alone
    names = InterfaceNames(node.interfaces, spec.aliases)
    files = {name: str(text) for name, text in spec.files.items()}
    draw = stream(seed, f"ipfw/{node.name}").random
    dummynet = Dummynet(loop, node.name, seed, files=files)
    forwards = node.name in simulation.scenario.routers
    system = System(node, names, files, dummynet, draw, spec.default_to_accept, forwards)
    commands = read_script(str(spec.commands), COMMANDS)
    system.begin(commands)
    later = [read_script(str(block.commands), later_label(index)) for index, block in enumerate(spec.later)]
    if system.firewall.asks or any(firewalls(command) for block in later for command in block):
        node.add_filter(system.firewall)
    for block, typed in zip(spec.later, later, strict=True):
        loop.schedule(block.at, partial(_type, simulation, system, typed))
    return system


def _type(simulation: Simulation, system: System, commands: tuple[Command, ...]) -> None:
    """Execute commands while the simulation runs, and note those that the system refuses."""
    node = system.node
    for command in commands:
        if isinstance(command, PassedOver):
            continue
        note = {"time_s": simulation.env.now / SECOND, "host": node.name, "event": "command"}
        note["detail"] = str(command)
        try:
            if output := system.execute(command):
                note["output"] = output
        except DialectError as error:
            note["error"] = error.problem
        simulation.notes.append((simulation.env.now, note))
    if isinstance(node, Host):
        if any(isinstance(command, Sysctl) for command in commands):
            _configure(node, system)
        node.drain()


def _configure(host: Host, system: System) -> None:
    """Apply the values that sysctl has set to connections opened from now on."""
    config = host.stack.config
    mptcp = MptcpSettings.model_validate(system.settings.mptcp).over(config.mptcp)
    config = TcpSettings.model_validate(system.settings.tcp).over(config)
    host.stack.config = replace(config, mptcp=mptcp)
