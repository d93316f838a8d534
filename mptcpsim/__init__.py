"""A packet-level simulator of (Multipath) TCP.

The public names::

    from mptcpsim import load, build
    simulation = build(load("experiments/demo/scenario.toml"))
    simulation.env.run("10s")

They are imported on first use, so that ``import mptcpsim.core`` stays free of SimPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mptcpsim.core.config import TcpConfig
    from mptcpsim.core.errors import IntegrityError, LocalProtocolError
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.mptcp.info import mptcp_info
    from mptcpsim.core.mptcp.profiles import PROFILES
    from mptcpsim.core.mptcp_config import MptcpConfig
    from mptcpsim.core.segment import IcmpError, Segment
    from mptcpsim.core.stack import Stack
    from mptcpsim.core.tcp.connection import Connection
    from mptcpsim.core.tcp.info import tcp_info
    from mptcpsim.guard import PluginFailure
    from mptcpsim.net.host import Host
    from mptcpsim.net.link import Link
    from mptcpsim.net.middlebox import HELD, Middlebox
    from mptcpsim.net.pipe import PipeSettings
    from mptcpsim.net.router import Router
    from mptcpsim.net.switch import Switch
    from mptcpsim.net.topology import Topology
    from mptcpsim.plugins import (
        PENALISE,
        RESEND,
        WAIT,
        Announce,
        CongestionControl,
        OpenSubflow,
        Parameter,
        Path,
        PathManager,
        PathView,
        QueueDiscipline,
        RemoteAddress,
        Scheduler,
        SendView,
        SetBackup,
        SubflowInfo,
        Withdraw,
        register,
    )
    from mptcpsim.scenario.build import build
    from mptcpsim.scenario.errors import ScenarioError
    from mptcpsim.scenario.from_graph import scenario_from_graph
    from mptcpsim.scenario.load import load, loads
    from mptcpsim.scenario.simulation import Simulation
    from mptcpsim.sim.engine import Environment
    from mptcpsim.sim.sockets import Socket, Sockets
    from mptcpsim.sweep.campaign import Campaign
    from mptcpsim.topologies.generators import bottleneck_torus, dumbbell, fat_tree, parallel_paths, torus

_WHERE: Final = {
    "Announce": "plugins",
    "bottleneck_torus": "topologies.generators",
    "build": "scenario.build",
    "Campaign": "sweep.campaign",
    "CongestionControl": "plugins",
    "Connection": "core.tcp.connection",
    "dumbbell": "topologies.generators",
    "Environment": "sim.engine",
    "fat_tree": "topologies.generators",
    "HELD": "net.middlebox",
    "Host": "net.host",
    "IcmpError": "core.segment",
    "IntegrityError": "core.errors",
    "Link": "net.link",
    "load": "scenario.load",
    "loads": "scenario.load",
    "LocalProtocolError": "core.errors",
    "Middlebox": "net.middlebox",
    "mptcp_info": "core.mptcp.info",
    "MptcpConfig": "core.mptcp_config",
    "MptcpConnection": "core.mptcp.connection",
    "OpenSubflow": "plugins",
    "parallel_paths": "topologies.generators",
    "Parameter": "plugins",
    "Path": "plugins",
    "PathManager": "plugins",
    "PathView": "plugins",
    "PENALISE": "plugins",
    "PipeSettings": "net.pipe",
    "PluginFailure": "guard",
    "PROFILES": "core.mptcp.profiles",
    "QueueDiscipline": "plugins",
    "register": "plugins",
    "RemoteAddress": "plugins",
    "RESEND": "plugins",
    "Router": "net.router",
    "scenario_from_graph": "scenario.from_graph",
    "ScenarioError": "scenario.errors",
    "Scheduler": "plugins",
    "Segment": "core.segment",
    "SendView": "plugins",
    "SetBackup": "plugins",
    "Simulation": "scenario.simulation",
    "Socket": "sim.sockets",
    "Sockets": "sim.sockets",
    "Stack": "core.stack",
    "SubflowInfo": "plugins",
    "Switch": "net.switch",
    "tcp_info": "core.tcp.info",
    "TcpConfig": "core.config",
    "Topology": "net.topology",
    "torus": "topologies.generators",
    "WAIT": "plugins",
    "Withdraw": "plugins",
}

__all__ = [
    "Announce",
    "bottleneck_torus",
    "build",
    "Campaign",
    "CongestionControl",
    "Connection",
    "dumbbell",
    "Environment",
    "fat_tree",
    "HELD",
    "Host",
    "IcmpError",
    "IntegrityError",
    "Link",
    "load",
    "loads",
    "LocalProtocolError",
    "Middlebox",
    "mptcp_info",
    "MptcpConfig",
    "MptcpConnection",
    "OpenSubflow",
    "parallel_paths",
    "Parameter",
    "Path",
    "PathManager",
    "PathView",
    "PENALISE",
    "PipeSettings",
    "PluginFailure",
    "PROFILES",
    "QueueDiscipline",
    "register",
    "RemoteAddress",
    "RESEND",
    "Router",
    "scenario_from_graph",
    "ScenarioError",
    "Scheduler",
    "Segment",
    "SendView",
    "SetBackup",
    "Simulation",
    "Socket",
    "Sockets",
    "Stack",
    "SubflowInfo",
    "Switch",
    "tcp_info",
    "TcpConfig",
    "Topology",
    "torus",
    "WAIT",
    "Withdraw",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mptcpsim' has no attribute {name!r}")
    return getattr(import_module(f"mptcpsim.{_WHERE[name]}"), name)
