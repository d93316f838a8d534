"""Ports for the subflows of a connection, so that ECMP carries them on different paths.

Routers hash addresses and ports, and hosts do not know how: of eight subflows over sixteen equal paths,
with any ports, six or seven have a path of their own on average. A host can find out by probing with
different ports, as Paris traceroute does; Clove (Katta et al., "Clove: congestion-aware load balancing at
the virtual edge", CoNEXT 2017) chooses ports for its paths that way. Here the probes are looked up in the
network as it is built, and cost no simulated time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import FourTuple
from mptcpsim.net.topology import Topology
from mptcpsim.net.tracks import Tracks
from mptcpsim.pathmanagers.ndiffports import NDiffPorts
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.flows import FlowSpec

#: Ports that are tried: below those that stacks take by themselves.
FIRST_PORT: Final = 32768
LAST_PORT: Final = 49151

#: Ports that lead to no new path, one after the other, before the paths are taken for all there are. With
#: one path of n equal ones left to be found, this many tries miss it with probability (1 - 1/n)^160.
FRUITLESS: Final = 160


class Spread:
    """Chooses ports, flow after flow; no two flows of a host get the same ones."""

    def __init__(self, topology: Topology) -> None:
        self._tracks = Tracks(topology)
        #: By host: the next port to be tried.
        self._next: dict[str, int] = {}

    def ports(self, flow: FlowSpec, local: str, remote: str, config: TcpConfig) -> tuple[int, TcpConfig]:
        """Return the port of a flow's client, and its configuration with those of the further subflows.

        Where there are fewer paths than subflows, the paths are used in turn.
        """
        given = config.mptcp.path_manager_parameters
        count = int(parameters("pathmanager", NDiffPorts.NAME, given)["subflows"])
        found: dict[tuple[str, ...], list[int]] = {}
        fruitless = 0
        while len(found) < count and fruitless < FRUITLESS:
            port = self._port(flow.client)
            out = FourTuple(local, port, remote, flow.port)
            if getattr(flow, "reverse", False):
                links = self._tracks.links(flow.server, out.reverse())
            else:
                links = self._tracks.links(flow.client, out)
            fruitless = fruitless + 1 if links in found else 0
            found.setdefault(links, []).append(port)
        chosen: list[int] = []
        while len(chosen) < count:
            for ports in found.values():
                chosen.append(ports.pop(0) if ports else self._port(flow.client))
        further = " ".join(str(port) for port in chosen[1:count])
        mptcp = replace(config.mptcp, path_manager_parameters={**given, "ports": further})
        return chosen[0], replace(config, mptcp=mptcp)

    def _port(self, host: str) -> int:
        port = self._next.get(host, FIRST_PORT)
        self._next[host] = port + 1 if port < LAST_PORT else FIRST_PORT
        return port
