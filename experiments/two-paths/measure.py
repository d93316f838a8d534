"""One MPTCP connection over two paths: what is measured of it.

``run.py`` puts the measurements beside what is expected of them, the test suite runs shorter ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from mptcpsim import Simulation, build, load
from mptcpsim.core.mptcp.subflow import subflow_of
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.scenario.summarise import integrity
from mptcpsim.units import MILLISECOND, SECOND

SCENARIO = Path(__file__).resolve().parent / "scenario.toml"

#: Path number, as in the names of links and interfaces, and its rate, bit/s.
RATES = {1: 10e6, 2: 20e6}

#: Payload of a full segment and the bytes that the link serialises for it.
TCP_PAYLOAD = 1500 - 20 - 20 - 12
MPTCP_PAYLOAD = TCP_PAYLOAD - 24
FRAME = 1500 + 14

#: When a path is cut and when it is there again, ns.
CUT, RESTORED = 5 * SECOND, 10 * SECOND


def tcp_alone(path: int) -> list[str]:
    """Return the changes of the scenario that leave plain TCP on one path."""
    return ["defaults.mptcp=false", f"flows.transfer.server_interface=eth{path}"]


def loss(path: int, probability: float = 0.01) -> list[str]:
    """Return the change that has a path lose data packets at random."""
    return [f"links.path{path}.forward.loss={probability}"]


def cut(path: int) -> list[str]:
    """Return the change that takes a path away for a while."""
    down, up = f"{CUT // SECOND}s", f"{RESTORED // SECOND}s"
    down_event = f'{{at="{down}", link="path{path}", action="down"}}'
    up_event = f'{{at="{up}", link="path{path}", action="up"}}'
    return [f"events=[{down_event}, {up_event}]"]


#: The server wants path 2 as a backup: flag B on its SYN/ACK.
BACKUP = ['hosts.server.mptcp.path_manager.endpoints="10.9.2.1 signal backup"']


def lasting(seconds: int) -> list[str]:
    """Return the changes after which the client sends for so long; what is queued has 6 s to arrive."""
    return [f"flows.transfer.duration={seconds}s", f"duration={seconds + 6}s"]


class Sight(NamedTuple):
    """Data of the client that passed a place: when (ns), on which path, where in the stream."""

    at: int
    path: int
    offset: int
    length: int


@dataclass(frozen=True)
class PathResult:
    """A path, seen by the subflow of the client on it; sizes in bytes."""

    sent: int = 0
    acked: int = 0
    retransmitted: int = 0
    reinjected: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Result:
    """A transfer; times in seconds, sizes in bytes.

    Attributes:
        goodput: bit/s until the last byte was read.
        whole: everything was delivered, each byte once and in order, and the connection closed.
        paths: by number.
        rto: of the subflow on a path at the instant before the cut, s, by path.
        sent: what the client sent, by path in the order of time.
        arrived: what arrived at the server.
        sent_before_cut: the end of what was sent until the cut, a stream offset.
    """

    goodput: float
    whole: bool
    paths: dict[int, PathResult]
    rto: dict[int, float]
    sent: list[Sight]
    arrived: list[Sight]
    sent_before_cut: int

    def new_data_after_cut(self, path: int) -> float:
        """Return how long after the cut data arrived by a path that nobody had sent before, s."""
        new = self.sent_before_cut
        at = self._first(self.arrived, lambda s: s.at > CUT and s.path == path and s.offset >= new)
        return at - CUT / SECOND

    def first_sent(self, path: int) -> float:
        """Return how long after the cut the client first sent by a path, s."""
        return self._first(self.sent, lambda s: s.at >= CUT and s.path == path) - CUT / SECOND

    def back_after(self, path: int) -> float:
        """Return how long after its restoration a path delivered data again, s."""
        return self._first(self.arrived, lambda s: s.at > RESTORED and s.path == path) - RESTORED / SECOND

    def longest_pause(self, path: int, until: int = RESTORED) -> float:
        """Return the longest time between the cut and ``until`` without arrivals by a path, s."""
        instants = [CUT, *(s.at for s in self.arrived if s.path == path and CUT < s.at < until), until]
        return max(b - a for a, b in pairwise(instants)) / SECOND

    def carried(self, path: int, begin: int, end: int) -> int:
        """Return the bytes that the client sent by a path between two instants, ns."""
        return sum(s.length for s in self.sent if s.path == path and begin <= s.at < end)

    @staticmethod
    def _first(sights: list[Sight], wanted: Callable[[Sight], bool]) -> float:
        return next((s.at / SECOND for s in sights if wanted(s)), float("inf"))


def transfer(*changes: str) -> Result:
    """Run the scenario with some changes."""
    simulation = build(load(SCENARIO, list(changes)))
    sent: list[Sight] = []
    arrived: list[Sight] = []
    for path in RATES:
        _watch(simulation, f"client:eth{path}", path, True, sent)
        _watch(simulation, f"server:eth{path}", path, False, arrived)
    env = simulation.env
    (flow,) = simulation.flows
    env.run(CUT - MILLISECOND)
    assert flow.client is not None
    rto = {path: tcp.sender.rtt.rto / SECOND for path, tcp in _subflows(flow.client.subflows).items()}
    env.run(simulation.scenario.duration)
    assert flow.server is not None
    written, delivered = flow.client.written, flow.server.delivered
    completed = flow.completed_at >= 0
    whole = completed and integrity(written, delivered, completed) == "ok" and not flow.error
    elapsed = flow.completed_at if completed else env.now
    return Result(
        goodput=delivered * 8 * SECOND / elapsed,
        whole=whole,
        paths=_paths(simulation, flow.client.subflows),
        rto=rto,
        sent=sent,
        arrived=arrived,
        sent_before_cut=max((s.offset + s.length for s in sent if s.at < CUT), default=0),
    )


def _watch(simulation: Simulation, end: str, path: int, outgoing: bool, sights: list[Sight]) -> None:
    def tap(packet: Packet, now: int, leaves: bool) -> None:
        if leaves == outgoing and isinstance(packet, Segment) and packet.length:
            sights.append(Sight(now, path, packet.offset, packet.length))

    simulation.interface(end).tap = tap


def _subflows(subflows: list[Tcp]) -> dict[int, Tcp]:
    """Return the subflows of the client by the path that their server address leads to."""
    return {int(tcp.flow.dst.split(".")[2]): tcp for tcp in subflows}


def _paths(simulation: Simulation, subflows: list[Tcp]) -> dict[int, PathResult]:
    found = dict.fromkeys(RATES, PathResult())
    for path, tcp in _subflows(subflows).items():
        drops = simulation.topology.links[f"path{path}"].forward.drops
        subflow = subflow_of(tcp)
        found[path] = PathResult(
            sent=tcp.sender.sent_bytes,
            acked=max(0, min(tcp.sender.una, tcp.sender.end) - 1),
            retransmitted=tcp.sender.resent_bytes,
            reinjected=0 if subflow is None else subflow.reinjected_bytes,
            dropped=sum(drops.values()),
        )
    return found
