"""What a TCP flow, or two, or an MPTCP connection should do according to the literature: the measurements.

Every function builds its own small network, runs it and returns numbers; ``run.py``
compares them with the laws and stores the results, the test suite runs shorter ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import mptcpsim.congestion
import mptcpsim.pathmanagers
import mptcpsim.schedulers
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.recovery import OPEN
from mptcpsim.core.tcp.sender import Sender
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.loss import LossModel
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.topology import Topology
from mptcpsim.plugins import Value
from mptcpsim.sim.apps import Bulk
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.flow import OneWayFlow
from mptcpsim.sim.sockets import Sockets
from mptcpsim.streams import stream
from mptcpsim.units import MILLISECOND, SECOND

assert mptcpsim.congestion
assert mptcpsim.pathmanagers
assert mptcpsim.schedulers

#: Payload of a full segment with timestamps at an MTU of 1500, the same with a DSS of 24 bytes (8-octet
#: DSN, 4-octet DATA_ACK), and its IP length.
MSS = 1448
MPTCP_MSS = 1424
PACKET = 1500

#: No queue and no buffer limits these flows.
AMPLE = 1 << 28


def reno_law(p: float) -> float:
    """Average window, segments, of Reno under loss probability p, an ACK a packet (Mathis et al. 1997)."""
    return sqrt(3.0 / (2.0 * p))


def pftk_law(p: float, rtt: float, rto: float, b: int = 1) -> float:
    """Rate in packets/s (Padhye et al. 1998, as in RFC 5348 section 3.1); times in seconds."""
    return 1.0 / (rtt * sqrt(2 * b * p / 3) + rto * 3 * sqrt(3 * b * p / 8) * p * (1 + 32 * p * p))


def periodic_law(p: float, congestion: str, rtt: float, c: float = 0.4) -> float:
    """Average window, segments, under periodic loss: RFC 9438 section 5.2, the larger of both laws."""
    reno = 1.2 / sqrt(p)
    if congestion == "reno":
        return reno
    # Equation (7) for beta = 0.7: 1.054 at C = 0.4.
    return max(reno, (c * 3.7 / 1.2) ** 0.25 * (rtt / p) ** 0.75)


@dataclass(frozen=True)
class Rate:
    """Result of a flow after the warm-up.

    Attributes:
        packets_per_s: delivered.
        window: packets delivered a round trip, losses and recoveries included.
        timeouts: retransmission time-outs.
    """

    packets_per_s: float
    window: float
    timeouts: int


class EpochLoss(LossModel):
    """Every n-th packet of congestion avoidance is lost: the deterministic loss of RFC 9438 section 5.

    The law knows no recovery: the window is halved at the instant of the loss. Packets that a
    real sender sends between the loss and the end of its recovery (one and a half windows, a
    fifth of all packets at p = 0.01) are therefore not counted.
    """

    def __init__(self, every: int, sender: Callable[[], Sender | None]) -> None:
        self._every = every
        self._sender = sender
        self._count = 0
        self._in_epoch = True
        self._recovering = False

    def lost(self) -> bool:
        """Return whether this packet is lost."""
        sender = self._sender()
        if sender is None or sender.una < 1:
            return False
        calm = sender.recovery.ca_state == OPEN
        if not self._in_epoch:
            if not calm:
                self._recovering = True
            elif self._recovering:
                self._in_epoch = True
                self._count = 0
            return False
        self._count += 1
        if self._count < self._every:
            return False
        self._in_epoch = self._recovering = False
        return True


def lossy_flow(
    config: TcpConfig,
    *,
    rtt: int,
    duration: int,
    warm_up: int,
    seed: int = 1,
    loss: float = 0.0,
    every: int = 0,
    epochs: int = 0,
) -> Rate:
    """Measure a bulk flow over a path of unlimited rate that loses packets.

    Args:
        config: of both ends.
        rtt: round-trip time, ns; there is no queue.
        duration: simulated time, ns.
        warm_up: what is not counted at the beginning, ns.
        seed: of all random streams.
        loss: probability for each packet on the way to the receiver.
        every: every that-many-th packet is lost.
        epochs: every that-many-th packet of congestion avoidance is lost (``EpochLoss``).
    """
    env = Environment()
    a = Host(env.loop, "a", Stack("a", stream(seed, "host/a"), config))
    b = Host(env.loop, "b", Stack("b", stream(seed, "host/b"), config))
    ends = a.add_interface("if", ["10.0.0.1/24"]), b.add_interface("if", ["10.0.0.2/24"])
    clean = PipeSettings(delay_ns=rtt // 2, limit=10**6)
    lossy = PipeSettings(delay_ns=rtt // 2, limit=10**6, plr=(loss,) if loss else ())
    link = Link(env.loop, "path", *ends, lossy, clean, seed=seed, mtu=1500)
    if every:
        link.set_periodic_loss(every, "forward", first=every // 2)
    for node, interface in ((a, ends[0]), (b, ends[1])):
        node.routes.add("10.0.0.0/24", interface)
    flow = OneWayFlow(
        env,
        "flow",
        Sockets(env, a),
        Sockets(env, b),
        "10.0.0.1",
        ("10.0.0.2", 5001),
        config,
        config,
        0,
        source=Bulk(),
        reader=None,
    )
    if epochs:
        link.forward.set_loss(
            EpochLoss(epochs, lambda: flow.client.subflows[0].sender if flow.client else None)
        )
    env.run(warm_up)
    assert flow.server is not None
    before = flow.server.delivered
    env.run(duration)
    rate = (flow.server.delivered - before) / MSS * SECOND / (duration - warm_up)
    return Rate(rate, rate * rtt / SECOND, a.stack.counters["TcpExtTCPTimeouts"])


def lossy_config(congestion: str, **parameters: Value) -> TcpConfig:
    """Return the configuration of rows 2.1 and 2.2: an ACK a packet, ample buffers."""
    return TcpConfig(
        congestion=congestion,
        congestion_parameters=dict(parameters),
        ack_every=1,
        send_buffer=AMPLE,
        receive_buffer=AMPLE,
    )


@dataclass(frozen=True)
class Paths:
    """Result of an MPTCP connection over disjoint paths after the warm-up.

    Attributes:
        packets_per_s: delivered on each subflow.
        total: delivered to the application, packets/s.
        timeouts: retransmission time-outs.
    """

    packets_per_s: tuple[float, ...]
    total: float
    timeouts: int

    @property
    def share(self) -> float:
        """What the second path carries, 0 to 1."""
        return self.packets_per_s[1] / sum(self.packets_per_s)


def mptcp(config: TcpConfig, path_manager: str = "endpoints", **parameters: Value) -> TcpConfig:
    """Return a configuration with MPTCP as RFC 8684 has it."""
    return replace(
        config, mptcp=MptcpConfig(True, path_manager=path_manager, path_manager_parameters=parameters)
    )


def lossy_paths(
    congestion: str, losses: tuple[float, float], *, rtt: int, duration: int, warm_up: int, seed: int = 1
) -> Paths:
    """Measure a bulk MPTCP connection over two paths of unlimited rate that lose packets.

    The server announces its address on the second path, the client joins it.

    Args:
        congestion: name of the congestion control.
        losses: probability for each packet on the way to the receiver, of each path.
        rtt: round-trip time of both, ns; there is no queue.
        duration: simulated time, ns.
        warm_up: what is not counted at the beginning, ns.
        seed: of all random streams.
    """
    env = Environment()
    client = mptcp(lossy_config(congestion), add_addr_accepted=1)
    server = mptcp(lossy_config(congestion), endpoints="10.0.2.2 signal")
    a = Host(env.loop, "a", Stack("a", stream(seed, "host/a"), client))
    b = Host(env.loop, "b", Stack("b", stream(seed, "host/b"), server))
    for number, loss in enumerate(losses, start=1):
        ends = (
            a.add_interface(f"if{number}", [f"10.0.{number}.1/24"]),
            b.add_interface(f"if{number}", [f"10.0.{number}.2/24"]),
        )
        lossy = PipeSettings(delay_ns=rtt // 2, limit=10**6, plr=(loss,))
        clean = PipeSettings(delay_ns=rtt // 2, limit=10**6)
        Link(env.loop, f"path{number}", *ends, lossy, clean, seed=seed, mtu=1500)
        for node, interface in ((a, ends[0]), (b, ends[1])):
            node.routes.add(f"10.0.{number}.0/24", interface)
    flow = OneWayFlow(
        env,
        "flow",
        Sockets(env, a),
        Sockets(env, b),
        "10.0.1.1",
        ("10.0.1.2", 5001),
        client,
        server,
        0,
        source=Bulk(),
        reader=None,
    )

    def delivered() -> list[int]:
        assert flow.server is not None
        return [flow.server.delivered, *(tcp.receiver.nxt for tcp in flow.server.subflows)]

    env.run(warm_up)
    before = delivered()
    env.run(duration)
    seconds = (duration - warm_up) / SECOND
    total, *rates = [(after - b) / MPTCP_MSS / seconds for after, b in zip(delivered(), before, strict=True)]
    return Paths(tuple(rates), total, a.stack.counters["TcpExtTCPTimeouts"])


@dataclass(frozen=True)
class Sharing:
    """Result of flows through one bottleneck after the warm-up.

    Attributes:
        rates: payload bit/s of each flow.
        utilisation: of the bottleneck, 0 to 1.
    """

    rates: tuple[float, ...]
    utilisation: float

    @property
    def jain(self) -> float:
        """Jain's fairness index."""
        return sum(self.rates) ** 2 / (len(self.rates) * sum(r * r for r in self.rates))


def dumbbell(
    congestion: str,
    rtts: tuple[int, ...],
    *,
    rate: int,
    queue: int,
    duration: int,
    warm_up: int,
    seed: int = 1,
    first: TcpConfig | None = None,
) -> Sharing:
    """Measure bulk flows, one for each RTT, through a drop-tail bottleneck.

    Each flow has hosts of its own, starts at a random instant of the first second, and its
    sender takes a random time for each packet, up to the service time of the bottleneck, so
    that flows do not lock in phase (Floyd and Jacobson 1992).

    Args:
        congestion: name of the congestion control.
        rtts: round-trip times without queueing, ns, at least 2 ms.
        rate: of the bottleneck, bit/s.
        queue: of the bottleneck, packets.
        duration: simulated time, ns.
        warm_up: what is not counted at the beginning, ns.
        seed: of all random streams.
        first: configuration of the first flow; that of the others by default.
    """
    env = Environment()
    config = lossy_config(congestion)
    rng = stream(seed, "starts")
    topology = Topology()
    left, right = Router(env.loop, "left"), Router(env.loop, "right")
    topology.add_node(left)
    topology.add_node(right)
    bottleneck = Link(
        env.loop,
        "bottleneck",
        left.add_interface("core", ["10.1.0.1/24"]),
        right.add_interface("core", ["10.1.0.2/24"]),
        PipeSettings(rate_bps=rate, delay_ns=MILLISECOND // 2, limit=queue),
        PipeSettings(delay_ns=MILLISECOND // 2, limit=10**6),
        seed=seed,
        mtu=1500,
    )
    topology.add_link(bottleneck)
    flows: list[OneWayFlow] = []
    service = PACKET * 8 * SECOND // rate
    for number, rtt in enumerate(rtts):
        hosts = []
        own = first if first is not None and number == 0 else config
        for side, router in (("a", left), ("b", right)):
            name = f"{side}{number}"
            host = Host(env.loop, name, Stack(name, stream(seed, f"host/{name}"), config))
            topology.add_node(host)
            net = f"10.{2 if side == 'a' else 3}.{number}"
            delay = (rtt - MILLISECOND) // 4
            slow = PipeSettings(delay_ns=delay, limit=10**6, jitter_ns=service if side == "a" else 0)
            plain = PipeSettings(delay_ns=delay, limit=10**6)
            topology.add_link(
                Link(
                    env.loop,
                    f"access-{name}",
                    host.add_interface("if", [f"{net}.1/24"]),
                    router.add_interface(f"to-{name}", [f"{net}.2/24"]),
                    slow,
                    plain,
                    seed=seed,
                    mtu=1500,
                )
            )
            hosts.append(host)
        flows.append(
            OneWayFlow(
                env,
                f"flow{number}",
                Sockets(env, hosts[0]),
                Sockets(env, hosts[1]),
                f"10.2.{number}.1",
                (f"10.3.{number}.1", 5001),
                *(own, own),
                rng.randrange(SECOND),
                source=Bulk(),
                reader=None,
            )
        )
    topology.install_routes()
    env.run(warm_up)

    def delivered() -> list[int]:
        return [0 if flow.server is None else flow.server.delivered for flow in flows]

    before, busy = delivered(), bottleneck.forward.busy_time(warm_up)
    env.run(duration)
    seconds = (duration - warm_up) / SECOND
    rates = tuple((after - b) * 8 / seconds for after, b in zip(delivered(), before, strict=True))
    utilisation = (bottleneck.forward.busy_time(duration) - busy) / (duration - warm_up)
    return Sharing(rates, utilisation)
