"""The networks of the workloads: a chain of routers between pairs of hosts, and disjoint paths.

They are built from those names of the package that have been the same for a long time, so that the
same program also measures older checkouts (see run.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import mptcpsim.congestion
import mptcpsim.pathmanagers
import mptcpsim.schedulers
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.stack import Stack
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.node import Interface
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.topology import Topology
from mptcpsim.sim.apps import Bulk
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.flow import Flow, OneWayFlow
from mptcpsim.sim.sockets import Sockets
from mptcpsim.streams import stream
from mptcpsim.units import MILLISECOND, SECOND

assert mptcpsim.congestion
assert mptcpsim.pathmanagers
assert mptcpsim.schedulers

GBIT = 10**9
MBIT = 10**6
MTU = 1500
#: Payload of a full segment of TCP: 20 bytes of IPv4, 20 of TCP and 12 of timestamps go off.
TCP_MSS = 1448
#: Of MPTCP: 28 bytes more for a DSS with 8-octet numbers, or 24 as long as the DATA_ACK has 4; data
#: flows in one direction, and so it stays at 4.
MPTCP_MSS = 1424
BUFFER = 16 << 20
PORT = 5001


class Workload:
    """Bulk flows over a network, ready to run.

    Attributes:
        env: the environment.
        topology: nodes and links.
        flows: the bulk flows.
        mss: payload of a full segment.
    """

    mss = TCP_MSS

    def __init__(self, env: Environment, topology: Topology, flows: Sequence[Flow] = ()) -> None:
        self.env = env
        self.topology = topology
        self.flows = list(flows)

    def run(self, seconds: float) -> int:
        """Simulate up to the instant ``seconds``; return the data packets delivered."""
        self.env.run(int(seconds * SECOND))
        return self.packets()

    def packets(self) -> int:
        """Return the data packets delivered: the bytes that the readers have, in full segments."""
        return sum(flow.receiver.delivered for flow in self.flows if flow.receiver is not None) // self.mss

    def hops(self) -> int:
        """Return the packets that arrived at the end of a link, ACKs included."""
        return sum(pipe.packets for link in self.topology.links.values() for pipe in link.pipes())

    def drops(self) -> int:
        """Return the packets that the links have dropped."""
        return sum(sum(pipe.drops.values()) for link in self.topology.links.values() for pipe in link.pipes())


class Network(Workload):
    """A workload that is put together from hosts, routers and links."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(Environment(), Topology())
        self.seed = seed
        self._sockets: dict[Host, Sockets] = {}

    def host(self, name: str, config: TcpConfig | None = None) -> Host:
        """Add a host."""
        random = stream(self.seed, f"host/{name}")
        host = Host(self.env.loop, name, Stack(name, random, config or TcpConfig()))
        self.topology.add_node(host)
        self._sockets[host] = Sockets(self.env, host)
        return host

    def router(self, name: str) -> Router:
        """Add a router."""
        router = Router(self.env.loop, name)
        self.topology.add_node(router)
        return router

    def link(self, name: str, one: Interface, other: Interface, settings: PipeSettings) -> Link:
        """Join two interfaces by a link that is the same in both directions."""
        link = Link(self.env.loop, name, one, other, settings, seed=self.seed, mtu=MTU)
        self.topology.add_link(link)
        return link

    def bulk(
        self,
        client: Host,
        server: Host,
        local: str,
        remote: tuple[str, int],
        configs: Sequence[TcpConfig],
        start: int = 0,
    ) -> OneWayFlow:
        """Add a flow that sends as much as it can, to a server that reads at once."""
        sockets = self._sockets
        flow = OneWayFlow(
            self.env,
            f"flow{len(self.flows)}",
            sockets[client],
            sockets[server],
            local,
            remote,
            *configs,
            start,
            source=Bulk(),
            reader=None,
        )
        self.flows.append(flow)
        return flow


class Chain(Network):
    """Hosts on both sides of a chain of routers: Reno, an ACK for every packet.

    The links between the routers have ``rate``, together 3 ms times ``stretch`` of delay, and queues of one
    bandwidth-delay product at least; those to the hosts ten times the rate and 1 ms times ``stretch``.
    The round-trip time is 10 ms times ``stretch``.

    Attributes:
        core: the links between the routers.
    """

    def __init__(
        self,
        flows: int = 1,
        pairs: int = 1,
        routers: int = 2,
        stretch: int = 1,
        loss: float = 0.0,
        overshoot: bool = False,
        seed: int = 1,
        **changes: object,
    ) -> None:
        """Build it.

        Args:
            flows: bulk flows; they start within 100 ms.
            pairs: pairs of hosts, among which the flows are distributed.
            routers: routers in the chain, one or more.
            stretch: what the delays, and with them the bandwidth-delay product, are multiplied by.
            loss: the share of packets that the first link between routers loses at random.
            overshoot: no initial ssthresh, so that slow start ends with the first loss; otherwise
                it is the flow's share of the bandwidth-delay product.
            seed: of all random numbers.
            changes: of the TCP configuration.
        """
        super().__init__(seed)
        rate = GBIT
        bdp = rate // 8 * 10 * stretch // 1000
        settings: dict[str, object] = {
            "congestion": "reno",
            "ack_every": 1,
            "initial_ssthresh": 0 if overshoot else max(bdp // flows, 2 * TCP_MSS),
            "send_buffer": max(BUFFER, 4 * bdp),
            "receive_buffer": max(BUFFER, 4 * bdp),
        }
        config = TcpConfig(**(settings | changes))  # type: ignore[arg-type]
        limit = max(833, bdp // MTU)
        edge = PipeSettings(rate_bps=10 * rate, delay_ns=stretch * MILLISECOND, limit=12 * limit)
        delay = 3 * stretch * MILLISECOND // max(1, routers - 1)
        core = PipeSettings(rate_bps=rate, delay_ns=delay, limit=limit)
        lossy = PipeSettings(rate_bps=rate, delay_ns=delay, limit=limit, plr=(loss,)) if loss else core
        chain = [self.router(f"r{number}") for number in range(1, routers + 1)]
        self.core: list[Link] = []
        for number, (left, right) in enumerate(pairwise(chain)):
            near = left.add_interface("next", [f"10.254.{number}.1/24"])
            far = right.add_interface("previous", [f"10.254.{number}.2/24"])
            self.core.append(self.link(f"core{number}", near, far, core if number else lossy))
        hosts: list[tuple[Host, Host]] = []
        for pair in range(pairs):
            ends = []
            for side, router in (("a", chain[0]), ("b", chain[-1])):
                host = self.host(f"{side}{pair}", config)
                prefix = _prefix(side, pair)
                near = host.add_interface("eth0", [f"{prefix}.1/24"])
                far = router.add_interface(f"to-{host.name}", [f"{prefix}.2/24"])
                self.link(f"edge-{host.name}", near, far, edge)
                ends.append(host)
            hosts.append((ends[0], ends[1]))
        self.topology.install_routes()
        for number in range(flows):
            pair = number % pairs
            client, server = hosts[pair]
            remote = (f"{_prefix('b', pair)}.1", PORT + number // pairs)
            start = number * 100 * MILLISECOND // flows
            self.bulk(client, server, f"{_prefix('a', pair)}.1", remote, (config, config), start)


def _prefix(side: str, pair: int) -> str:
    return f"{10 if side == 'a' else 11}.{pair // 256}.{pair % 256}"


class Disjoint(Network):
    """Two hosts, joined by paths that share nothing, and one MPTCP connection over all of them.

    Each path has one router: host - 1 Gbit/s, a quarter of the round-trip time - router - the rate of
    the path, a quarter of the round-trip time, queue of one bandwidth-delay product - host. The server
    announces its further addresses and the client joins them.

    Attributes:
        bottlenecks: the second link of each path.
        client, server: the two hosts.
    """

    mss = MPTCP_MSS

    def __init__(
        self,
        paths: Sequence[tuple[int, int]],
        congestion: str = "lia",
        ack_every: int = 2,
        seed: int = 1,
        **changes: object,
    ) -> None:
        """Build it.

        Args:
            paths: rate, bit/s, and round-trip time, ns, of each path.
            congestion: the congestion control of the subflows.
            ack_every: packets for each ACK.
            seed: of all random numbers.
            changes: of the MPTCP configuration.
        """
        super().__init__(seed)
        client = self.client = self.host("a")
        server = self.server = self.host("b")
        self.bottlenecks: list[Link] = []
        for number, (rate, rtt) in enumerate(paths, start=1):
            router = self.router(f"r{number}")
            quarter = rtt // 4
            queue = rate // 8 * rtt // SECOND // MTU
            access = PipeSettings(rate_bps=GBIT, delay_ns=quarter, limit=10_000)
            core = PipeSettings(rate_bps=rate, delay_ns=quarter, limit=queue)
            self.link(
                f"access{number}",
                client.add_interface(f"if{number}", [f"10.0.{number}.1/24"]),
                router.add_interface("in", [f"10.0.{number}.2/24"]),
                access,
            )
            near = router.add_interface("out", [f"10.1.{number}.2/24"])
            far = server.add_interface(f"if{number}", [f"10.1.{number}.1/24"])
            self.bottlenecks.append(self.link(f"path{number}", near, far, core))
        self.topology.install_routes()
        further = len(paths) - 1
        endpoints = ", ".join(f"10.1.{number}.1 signal" for number in range(2, len(paths) + 1))
        configs = [
            TcpConfig(
                congestion=congestion,
                ack_every=ack_every,
                send_buffer=BUFFER,
                receive_buffer=BUFFER,
                mptcp=MptcpConfig(enabled=True, path_manager_parameters=parameters, **changes),  # type: ignore[arg-type]
            )
            for parameters in (
                {"add_addr_accepted": further, "subflows": further},
                {"endpoints": endpoints, "subflows": further},
            )
        ]
        self.bulk(client, server, "10.0.1.1", ("10.1.1.1", PORT), configs)
