"""W1: one bulk Reno flow over two routers, without loss. The workload of ``make bench``.

host - 10 Gbit/s, 1 ms - router - 1 Gbit/s, 3 ms, queue 833 packets - router - 10 Gbit/s,
1 ms - host; an ACK for every packet; initial ssthresh of one bandwidth-delay product
(1,250,000 bytes), so that nothing is lost; MSS 1448. Run as a program it prints the user
CPU per delivered data packet:

    python benchmarks/w1.py --seconds 10
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
from collections.abc import Callable
from pathlib import Path

import mptcpsim.congestion
from mptcpsim.core.config import TcpConfig
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

GBIT = 10**9
MSS = 1448
BDP = GBIT // 8 * 10 // 1000


class W1:
    """The workload, ready to run.

    Attributes:
        env: the environment.
        flow: the bulk flow.
        bottleneck: the link in the middle.
    """

    def __init__(self, seed: int = 1, **changes: object) -> None:
        settings: dict[str, object] = {
            "congestion": "reno",
            "ack_every": 1,
            "initial_ssthresh": BDP,
            "send_buffer": 16 << 20,
            "receive_buffer": 16 << 20,
        }
        config = TcpConfig(**(settings | changes))  # type: ignore[arg-type]
        env = self.env = Environment()
        nodes: list[Host | Router] = []
        for name in ("a", "r1", "r2", "b"):
            if name.startswith("r"):
                nodes.append(Router(env.loop, name))
            else:
                nodes.append(Host(env.loop, name, Stack(name, stream(seed, f"host/{name}"), config)))
        edge = PipeSettings(rate_bps=10 * GBIT, delay_ns=MILLISECOND, limit=10_000)
        core = PipeSettings(rate_bps=GBIT, delay_ns=3 * MILLISECOND, limit=833)
        topology = Topology()
        for node in nodes:
            topology.add_node(node)
        for number, (left, right, pipe) in enumerate(
            zip(nodes[:-1], nodes[1:], (edge, core, edge), strict=True)
        ):
            a = left.add_interface(f"to-{right.name}", [f"10.0.{number}.1/24"])
            b = right.add_interface(f"to-{left.name}", [f"10.0.{number}.2/24"])
            link = Link(env.loop, f"link{number}", a, b, pipe, seed=seed, mtu=1500)
            topology.add_link(link)
            if number == 1:
                self.bottleneck = link
        topology.install_routes()
        client, server = nodes[0], nodes[-1]
        assert isinstance(client, Host)
        assert isinstance(server, Host)
        self.flow = OneWayFlow(
            env,
            "w1",
            Sockets(env, client),
            Sockets(env, server),
            "10.0.0.1",
            ("10.0.2.2", 5001),
            config,
            config,
            0,
            source=Bulk(),
            reader=None,
        )

    def run(self, seconds: float) -> int:
        """Simulate up to the instant ``seconds``; return the data packets delivered."""
        self.env.run(int(seconds * SECOND))
        assert self.flow.server is not None
        return self.flow.server.delivered // MSS


def profile(run: Callable[[float], int], seconds: float) -> None:
    """Print the shares of modules and functions in the time of a run (cProfile, built-ins with callers)."""
    profiler = cProfile.Profile(builtins=False)
    packets = profiler.runcall(run, seconds)
    modules: dict[str, float] = {}
    functions: dict[str, float] = {}
    calls: dict[str, int] = {}
    for (path, _, name), (_, count, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        module = "/".join(Path(path).parts[-2:])
        modules[module] = modules.get(module, 0.0) + own
        function = f"{module} {name}"
        functions[function] = functions.get(function, 0.0) + own
        calls[function] = calls.get(function, 0) + count
    total = sum(modules.values())
    for module, own in sorted(modules.items(), key=lambda item: -item[1])[:14]:
        print(f"{module:40} {100 * own / total:5.1f} %")
    print()
    for function, own in sorted(functions.items(), key=lambda item: -item[1])[:25]:
        print(f"{function:40} {100 * own / total:5.1f} %  {calls[function] / packets:5.2f} calls a packet")


def main() -> None:
    """Run W1 once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="simulated time, default 10")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    arguments = parser.parse_args()
    workload = W1()
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
    print(f"compiled             {is_compiled()}")
    print(f"delivered packets    {packets}")
    print(f"goodput              {flow.server.delivered * 8 / arguments.seconds / 1e6:.1f} Mbit/s")
    print(f"lost packets         {sum(sum(p.drops.values()) for p in workload.bottleneck.pipes())}")
    print(f"events per packet    {workload.env.loop.executed / packets:.2f}")
    print(f"user CPU             {cpu:.2f} s")
    print(f"user CPU per packet  {cpu / packets * 1e6:.2f} us")
    print(f"peak memory          {usage.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
