"""Round trips through the network of a scenario, as it is at an instant."""

from __future__ import annotations

import random
from collections.abc import Iterator

from mptcpsim.core.segment import Segment
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.walk import answer_to, probe
from mptcpsim.route.names import Names
from mptcpsim.route.report import RoundTrip
from mptcpsim.route.way import Pathfinder, Way, WayHop
from mptcpsim.scenario.build import build
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.schema import Scenario
from mptcpsim.streams import stream

#: Host, source and destination, as they were written.
AddressPair = tuple[str, str, str]


class ProbedNetwork:
    """The network of a scenario, built for probes: its flows are left out, its events take place.

    Attributes:
        topology: nodes and links.
    """

    def __init__(self, scenario: Scenario, at: int = 0) -> None:
        """Build the network and let the timeline pass.

        Args:
            scenario: as it was loaded.
            at: ns; what happens at this instant has happened.
        """
        simulation = build(scenario.model_copy(update={"flows": ()}))
        for system in simulation.systems.values():
            system.leave_nothing_to_chance()
        # What is due at an instant is done before what runs until a later one returns.
        simulation.env.run(at + 1)
        self.topology = simulation.topology
        self._paths = Pathfinder(self.topology)
        systems = {name: system.names for name, system in simulation.systems.items()}
        self._names = Names(self.topology, systems)

    def trip(self, pair: AddressPair, sport: int, dport: int, size: int = 0) -> RoundTrip:
        """Send a probe and its answer.

        Args:
            pair: as they were written.
            sport: port of the source.
            dport: port of the destination.
            size: bytes of the IP packet out; 0 is that of a SYN without options.

        Raises:
            ScenarioError: a name or an address stands for nothing.
        """
        host, source, destination = pair
        node = self._names.node(host)
        to = self._names.destination(destination, like=source.removeprefix(f"{host}:"))
        own = self._names.source(node, source, to)
        if (":" in own) != (":" in to):
            raise ScenarioError(f"{own} and {to} are of different IP versions: name two of one version")
        packet = probe(own, to, sport, dport)
        packet.size = max(size, packet.size)
        if to in node.addresses:
            return RoundTrip(_local(node, packet), _local(node, answer_to(packet)))
        out = self._paths.follow(node, packet)
        return RoundTrip(out, self._paths.answer(out) if out.arrived else None)


def _local(node: IpNode, packet: Segment) -> Way:
    """Return the way of a packet to an address of the node that sends it."""
    step = f"{packet.flow.dst} is an address of {node.name} itself: local delivery, no link is crossed"
    return Way(packet, packet, (WayHop(node, None, (step,), None, "", (), ""),))


def random_pairs(network: ProbedNetwork, count: int, seed: int) -> Iterator[AddressPair]:
    """Yield pairs of different hosts, or of routers where there are not two hosts.

    Raises:
        ScenarioError: there are not two nodes.
    """
    nodes = [node for node in network.topology.nodes.values() if isinstance(node, IpNode) and node.addresses]
    hosts = [node for node in nodes if not node.FORWARDS]
    names = [node.name for node in (hosts if len(hosts) > 1 else nodes)]
    if len(names) < 2:
        raise ScenarioError("there are no two nodes with addresses in the scenario: name the pairs")
    rng: random.Random = stream(seed, "route")
    for _ in range(count):
        source, destination = rng.sample(names, 2)
        yield source, source, destination


def read_pairs(text: str, name: str) -> list[AddressPair]:
    """Return the pairs of a file: HOST SRC DST or HOST DST in each line, ``#`` begins a comment.

    Raises:
        ScenarioError: a line has another number of words.
    """
    pairs: list[AddressPair] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) not in (2, 3):
            raise ScenarioError(
                f"{name}: line {number}: write HOST SRC DST, or HOST DST (got {line.strip()!r})"
            )
        pairs.append((words[0], words[-2], words[-1]))
    return pairs
