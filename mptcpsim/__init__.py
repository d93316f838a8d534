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
    from mptcpsim.core.connection import Connection, IntegrityError, LocalProtocolError
    from mptcpsim.core.stack import Stack
    from mptcpsim.net.host import Host
    from mptcpsim.net.link import Link
    from mptcpsim.net.pipe import PipeSettings
    from mptcpsim.net.router import Router
    from mptcpsim.net.switch import Switch
    from mptcpsim.net.topology import Topology
    from mptcpsim.plugins import CongestionControl, Parameter, QueueDiscipline, register
    from mptcpsim.scenario.build import Simulation, build
    from mptcpsim.scenario.errors import ScenarioError
    from mptcpsim.scenario.load import load, loads
    from mptcpsim.sim.engine import Environment
    from mptcpsim.sim.sockets import Socket, Sockets

_WHERE: Final = {
    "CongestionControl": "plugins",
    "Connection": "core.connection",
    "Environment": "sim.engine",
    "Host": "net.host",
    "IntegrityError": "core.connection",
    "Link": "net.link",
    "LocalProtocolError": "core.connection",
    "Parameter": "plugins",
    "PipeSettings": "net.pipe",
    "QueueDiscipline": "plugins",
    "Router": "net.router",
    "ScenarioError": "scenario.errors",
    "Simulation": "scenario.build",
    "Socket": "sim.sockets",
    "Sockets": "sim.sockets",
    "Stack": "core.stack",
    "Switch": "net.switch",
    "TcpConfig": "core.config",
    "Topology": "net.topology",
    "build": "scenario.build",
    "load": "scenario.load",
    "loads": "scenario.load",
    "register": "plugins",
}

__all__ = [
    "CongestionControl",
    "Connection",
    "Environment",
    "Host",
    "IntegrityError",
    "Link",
    "LocalProtocolError",
    "Parameter",
    "PipeSettings",
    "QueueDiscipline",
    "Router",
    "ScenarioError",
    "Simulation",
    "Socket",
    "Sockets",
    "Stack",
    "Switch",
    "TcpConfig",
    "Topology",
    "build",
    "load",
    "loads",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mptcpsim' has no attribute {name!r}")
    return getattr(import_module(f"mptcpsim.{_WHERE[name]}"), name)
