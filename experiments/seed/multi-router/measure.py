"""The two-router topology: what is measured of one transfer over it.

``run.py`` makes tables of these measurements, the test suite runs some of them.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mptcpsim import Simulation, build, load
from mptcpsim.scenario.summarise import integrity
from mptcpsim.units import MILLISECOND, SECOND

SCENARIO = Path(__file__).resolve().parent / "scenario.toml"

#: Of each of the two bottlenecks, bit/s, and the IP packet that dummynet counts.
RATE = 8e6
PACKET = 1500
#: Payload of a full segment: IP 20, TCP 20, timestamps 12, and of MPTCP a DSS with 4-octet numbers, 20.
PAYLOAD = PACKET - 20 - 20 - 12 - 20
#: What the headers leave of one bottleneck, bit/s.
ONE = RATE * PAYLOAD / PACKET

PROFILE = "caia-v0.4"

#: How often it is looked whether a subflow has anything to do.
_LOOK = 5 * MILLISECOND


class Test(NamedTuple):
    """A row of the documents' table.

    Attributes:
        name: as the documents have it.
        test1: interfaces that Test1 uses.
        test2: interfaces that Test2 uses.
        data: "push" or "pull".
        words: what its authors expected.
        low: goodput that this means, in bottlenecks, at least.
        high: and at most.
    """

    name: str
    test1: str
    test2: str
    data: str
    words: str
    low: float
    high: float

    def changes(self) -> list[str]:
        """Return the changes of the scenario, which is four-path type 1."""
        found = [f"flows.file.reverse={'true' if self.data == 'pull' else 'false'}"]
        for host, used in (("Test1", self.test1), ("Test2", self.test2)):
            if used == "em1":
                script = f'{{ file = "{host.lower()}-em1.sh" }}'
                found.append(f"hosts.{host}.freebsd.commands={script}")
        return found


#: 0.95: slow start and the end of a transfer of five to ten seconds.
TESTS = (
    Test("single path", "em1", "em1", "push", "one path's rate", 0.95, 1),
    Test("two-path type 1", "em1, em2", "em1", "push", "more than a single subflow", 1.9, 2),
    Test("two-path type 2", "em1", "em1, em2", "push", "the same as a single subflow", 0.95, 1),
    Test("two-path type 3", "em1, em2", "em1", "pull", "more than a single subflow", 1.9, 2),
    Test("two-path type 4", "em1", "em1, em2", "pull", "the same as a single subflow", 0.95, 1),
    Test("four-path type 1", "em1, em2", "em1, em2", "push", "more; their kernel gave less", 1.9, 2),
    Test("four-path type 2", "em1, em2", "em1, em2", "pull", "more; their kernel gave less", 1.9, 2),
)

#: The names of the interfaces, as the tables show the ends of subflows.
ENDS = {"172.16.1.2": "1.em1", "172.16.2.2": "1.em2", "172.16.3.2": "2.em1", "172.16.4.2": "2.em2"}


class SubflowResult(NamedTuple):
    """A subflow, as its sender sees it.

    Attributes:
        ends: interfaces of sender and receiver.
        goodput: of its payload over the time of the transfer, bit/s.
        idle: share of the time in which it had nothing under way, from its handshake to the end.
    """

    ends: str
    goodput: float
    idle: float


@dataclass(frozen=True)
class Result:
    """A transfer; goodput in bit/s, 0 if it was not complete in time."""

    goodput: float
    whole: bool
    subflows: tuple[SubflowResult, ...]


def transfer(*changes: str) -> Result:
    """Run the scenario with some changes and return what became of the file."""
    simulation = build(load(SCENARIO, list(changes)))
    looks: dict[int, list[int]] = {}
    simulation.env.process(_look(simulation, looks))
    simulation.env.run(simulation.scenario.duration)
    flow = simulation.flows[0]
    sender = flow.sender
    assert sender is not None
    seconds = flow.completed_at / SECOND
    subflows = []
    for tcp in sender.subflows:
        idle, total = looks.get(tcp.identifier, [0, 0])
        subflows.append(
            SubflowResult(
                f"{ENDS[tcp.flow.src]} > {ENDS[tcp.flow.dst]}",
                8 * tcp.sender.una / seconds if seconds > 0 else 0.0,
                idle / total if total else 0.0,
            )
        )
    completed = flow.completed_at >= 0
    delivered = flow.receiver.delivered if flow.receiver is not None else 0
    whole = completed and integrity(sender.written, delivered, completed) == "ok" and not flow.error
    return Result(8 * delivered / seconds if completed else 0.0, whole, tuple(subflows))


def _look(simulation: Simulation, looks: dict[int, list[int]]) -> Generator[Any, Any, None]:
    """Count, for each subflow of the sender, the looks that found nothing under way, and all of them."""
    flow = simulation.flows[0]
    while flow.completed_at < 0:
        yield simulation.env.timeout(_LOOK)
        for tcp in flow.sender.subflows if flow.sender is not None else ():
            if tcp.established_at >= 0:
                count = looks.setdefault(tcp.identifier, [0, 0])
                count[0] += tcp.sender.una == tcp.sender.nxt
                count[1] += 1


# --- Four paths: buffers, schedulers, mappings --------------------------------------------------

#: Send buffers, KiB.
BUFFERS = (32, 64, 128, 256, 512, 1024)
SCHEDULERS = ("roundrobin", "minrtt")
#: Segments that a mapping covers: one, as the notes of v0.51 have it, and as many as 64 KiB hold: all that
#: waits in such a buffer at once (`sysctl net.inet.tcp.mptcp.single_packet_maps=0` lets a mapping be large).
MAPPINGS = (1, 45)
#: What limits nothing: the receiver's buffer.
RECEIVE_BUFFER = "defaults.tcp.receive_buffer=1MiB"

#: The case that is taken apart: a send buffer that one mapping takes up.
STARVED = {
    "defaults.tcp.send_buffer": "64KiB",
    "defaults.mptcp.scheduler": "roundrobin",
    "defaults.mptcp.mapping_segments": "45",
}
#: One factor after the other removed from it.
FACTORS: dict[str, dict[str, str]] = {
    "nothing": {},
    "round robin: minrtt instead": {"defaults.mptcp.scheduler": "minrtt"},
    "Reno: CUBIC instead": {"defaults.tcp.congestion": "cubic"},
    "flow control of the profile: that of RFC 6824": {
        "defaults.mptcp.receive_window": "connection",
        "defaults.mptcp.connection_window": "true",
        "defaults.mptcp.window_update": "all",
    },
    "mapping ahead: mapped when sent": {"defaults.mptcp.map_ahead": "false"},
    "small send buffer: 1 MiB": {"defaults.tcp.send_buffer": "1MiB"},
    "large mappings: one segment each": {"defaults.mptcp.mapping_segments": "1"},
}


def four_paths(pull: bool) -> list[str]:
    """Return the changes of the four-path test in a direction."""
    return TESTS[6 if pull else 5].changes()


def of_buffer(buffer: int, scheduler: str, mapping: int, pull: bool) -> Result:
    """Measure the four-path test with a send buffer (KiB), a scheduler and a mapping (segments)."""
    return transfer(
        *four_paths(pull),
        RECEIVE_BUFFER,
        f"defaults.tcp.send_buffer={buffer}KiB",
        f"defaults.mptcp.scheduler={scheduler}",
        f"defaults.mptcp.mapping_segments={mapping}",
    )


def without(factor: str, pull: bool) -> Result:
    """Measure the starved case with one of its factors removed."""
    changes = STARVED | FACTORS[factor]
    return transfer(*four_paths(pull), RECEIVE_BUFFER, *(f"{key}={value}" for key, value in changes.items()))
