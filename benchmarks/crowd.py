"""W5: very many idle MPTCP connections, and some that send."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from networks import GBIT, MPTCP_MSS, PORT, Network
from report import Figures, cost, user_cpu

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.units import MILLISECOND, SECOND

#: Time between two SYNs, ns.
STEP = 20_000


def resident_bytes() -> int:
    """Return the resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Crowd(Network):
    """Two hosts on two links: connections with two subflows each that say nothing.

    Attributes:
        subflows: subflows of the idle connections at the client.
        bytes_each: resident memory that a connection took, both ends, once it was established.
        us_each: user CPU that it took to establish.
    """

    mss = MPTCP_MSS

    def __init__(self, idle: int, seed: int = 1) -> None:
        super().__init__(seed)
        client = self.client = self.host("a")
        server = self.server = self.host("b")
        pipe = PipeSettings(rate_bps=GBIT, delay_ns=5 * MILLISECOND, limit=100_000)
        for number in (1, 2):
            near = client.add_interface(f"if{number}", [f"10.0.{number}.1/24"])
            far = server.add_interface(f"if{number}", [f"10.0.{number}.2/24"])
            self.link(f"link{number}", near, far, pipe)
        self.topology.install_routes()
        both: tuple[dict[str, bool | int | float | str], ...] = (
            {"add_addr_accepted": 1},
            {"endpoints": "10.0.2.2 signal"},
        )
        self.configs = [
            TcpConfig(congestion="lia", mptcp=MptcpConfig(enabled=True, path_manager_parameters=parameters))
            for parameters in both
        ]
        server.stack.listen(PORT, self.configs[1])
        gc.collect()
        before, begun = resident_bytes(), user_cpu()
        connections = []

        def connect() -> None:
            now = self.env.loop.now
            connections.append(client.stack.connect("10.0.1.1", ("10.0.1.2", PORT), now, self.configs[0]))
            client.drain()

        for number in range(idle):
            self.env.call_at(number * STEP, connect)
        #: The instant at which all is quiet.
        self.quiet = idle * STEP + SECOND
        self.env.run(self.quiet)
        self.us_each = (user_cpu() - begun) / idle * 1e6
        gc.collect()
        self.bytes_each = (resident_bytes() - before) / idle
        self.subflows = sum(len(connection.subflows) for connection in connections)

    def activate(self, flows: int) -> None:
        """Add bulk flows that start now, when all is quiet."""
        for number in range(flows):
            remote = ("10.0.1.2", PORT + 1 + number)
            self.bulk(self.client, self.server, "10.0.1.1", remote, self.configs)

    def run(self, seconds: float) -> int:
        """Simulate ``seconds`` beyond the instant at which all is quiet."""
        return super().run(self.quiet / SECOND + seconds)


def crowd(idle: int, active: int, seconds: float) -> Figures:
    """Return what connections cost while they are idle, and the packets of others beside them."""
    workload = Crowd(idle)
    if workload.subflows != 2 * idle:
        raise RuntimeError(f"{workload.subflows} subflows of {idle} connections: two each were to be")
    workload.activate(active)
    figures = {"KB/connection": workload.bytes_each / 1000, "set-up us/connection": workload.us_each}
    return figures | cost(lambda: workload, seconds)
