"""W2: one bulk MPTCP connection over two disjoint paths.

    path 1: 100 Mbit/s, RTT 20 ms       path 2: 50 Mbit/s, RTT 60 ms

Each path has one router: host - 1 Gbit/s, a quarter of the RTT - router - the rate of the path, a
quarter of the RTT, queue of one bandwidth-delay product - host. The server announces its second
address and the client joins it; LIA, ACKs as by default (for every second packet), profile rfc8684,
buffers of 16 MiB. Run as a program it prints the user CPU per delivered data packet:

    python benchmarks/w2.py --seconds 30
    python benchmarks/w2.py --seconds 30 --ack-every 1
"""

from __future__ import annotations

import argparse
import resource

from w1 import profile

import mptcpsim.congestion
import mptcpsim.pathmanagers
import mptcpsim.schedulers
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.stack import Stack
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.topology import Topology
from mptcpsim.results.meta import is_compiled
from mptcpsim.sim.apps import Bulk
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.flow import OneWayFlow
from mptcpsim.sim.sockets import Sockets
from mptcpsim.streams import stream
from mptcpsim.units import MILLISECOND, SECOND

assert mptcpsim.congestion
assert mptcpsim.pathmanagers
assert mptcpsim.schedulers

MBIT = 10**6
PACKET = 1500
#: Payload of a full segment: 20 bytes of IPv4, 20 of TCP, 12 of timestamps and 28 of a DSS with
#: 8-octet numbers, or 24 as long as the DATA_ACK has 4; data flows in one direction, and so it stays at 4.
MSS = 1424

#: Rate in bit/s and round-trip time in ns of each path.
PATHS = ((100 * MBIT, 20 * MILLISECOND), (50 * MBIT, 60 * MILLISECOND))


class W2:
    """The workload, ready to run.

    Attributes:
        env: the environment.
        flow: the bulk flow.
        bottlenecks: the second link of each path.
    """

    def __init__(self, seed: int = 1, congestion: str = "lia", ack_every: int = 2, **changes: object) -> None:
        env = self.env = Environment()
        client = Host(env.loop, "a", Stack("a", stream(seed, "host/a"), TcpConfig()))
        server = Host(env.loop, "b", Stack("b", stream(seed, "host/b"), TcpConfig()))
        topology = Topology()
        topology.add_node(client)
        topology.add_node(server)
        self.bottlenecks: list[Link] = []
        for number, (rate, rtt) in enumerate(PATHS, start=1):
            router = Router(env.loop, f"r{number}")
            topology.add_node(router)
            quarter = rtt // 4
            queue = rate // 8 * rtt // SECOND // PACKET
            access = PipeSettings(rate_bps=1000 * MBIT, delay_ns=quarter, limit=10_000)
            core = PipeSettings(rate_bps=rate, delay_ns=quarter, limit=queue)
            near = (
                client.add_interface(f"if{number}", [f"10.0.{number}.1/24"]),
                router.add_interface("in", [f"10.0.{number}.2/24"]),
            )
            far = (
                router.add_interface("out", [f"10.1.{number}.2/24"]),
                server.add_interface(f"if{number}", [f"10.1.{number}.1/24"]),
            )
            topology.add_link(Link(env.loop, f"access{number}", *near, access, seed=seed, mtu=PACKET))
            self.bottlenecks.append(Link(env.loop, f"path{number}", *far, core, seed=seed, mtu=PACKET))
            topology.add_link(self.bottlenecks[-1])
        topology.install_routes()
        configs = [
            TcpConfig(
                congestion=congestion,
                ack_every=ack_every,
                send_buffer=16 << 20,
                receive_buffer=16 << 20,
                mptcp=MptcpConfig(enabled=True, path_manager_parameters=parameters, **changes),  # type: ignore[arg-type]
            )
            for parameters in ({"add_addr_accepted": 1}, {"endpoints": "10.1.2.1 signal"})
        ]
        self.flow = OneWayFlow(
            env,
            "w2",
            Sockets(env, client),
            Sockets(env, server),
            "10.0.1.1",
            ("10.1.1.1", 5001),
            *configs,
            0,
            source=Bulk(),
            reader=None,
        )

    def run(self, seconds: float) -> int:
        """Simulate up to the instant ``seconds``; return the data packets delivered."""
        self.env.run(int(seconds * SECOND))
        assert self.flow.server is not None
        return self.flow.server.delivered // MSS


def main() -> None:
    """Run W2 once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated time, default 30")
    parser.add_argument("--ack-every", type=int, default=2, help="packets for each ACK, default 2")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    arguments = parser.parse_args()
    workload = W2(ack_every=arguments.ack_every)
    if arguments.profile:
        profile(workload.run, arguments.seconds)
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    packets = workload.run(arguments.seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime - before
    flow = workload.flow
    assert flow.server is not None
    assert flow.client is not None
    each = [tcp.sender.sent_bytes - tcp.sender.resent_bytes for tcp in flow.client.subflows]
    print(f"compiled             {is_compiled()}")
    print(f"delivered packets    {packets}")
    print(f"goodput              {flow.server.delivered * 8 / arguments.seconds / 1e6:.1f} Mbit/s")
    print(f"sent by subflow      {', '.join(f'{8 * n / arguments.seconds / 1e6:.1f}' for n in each)} Mbit/s")
    lost = [sum(sum(pipe.drops.values()) for pipe in link.pipes()) for link in workload.bottlenecks]
    print(f"lost packets         {', '.join(map(str, lost))}")
    print(f"events per packet    {workload.env.loop.executed / packets:.2f}")
    print(f"user CPU             {cpu:.2f} s")
    print(f"user CPU per packet  {cpu / packets * 1e6:.2f} us")
    print(f"peak memory          {usage.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
