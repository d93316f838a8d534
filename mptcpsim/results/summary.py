"""What a run amounts to: the records that become ``summary.json``.

The keys of the file are the field names here (docs/design.md names them); times are in
seconds, sizes in bytes, rates in bit/s, and ``None`` stands for "did not happen".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: What a run without a fault says of the bytes delivered.
INTACT = "ok"


@dataclass
class PacketRecord:
    """A segment that shows why a flow stalled: it passed at a host, which sent it or got it.

    ``subflow`` as the sender of the data counts them; ``source``: address and port; ``raw_seq``: the number
    on the wire; ``frame``: its number in the file ``capture``, if captures were written; ``filter`` finds it
    there (a display filter of Wireshark's); ``capture_time_s``: since the first frame of that file.
    """

    what: str
    time_s: float
    host: str
    sent: bool
    subflow: int
    source: str
    raw_seq: int
    length: int
    capture: str | None = None
    frame: int | None = None
    filter: str | None = None
    capture_time_s: float | None = None


@dataclass
class StallPart:
    """A part of a stall whose cause changes; the fields are as in ``Stall``."""

    start_s: float
    end_s: float
    cause: str
    words: str
    packets: list[PacketRecord] = field(default_factory=list)


@dataclass
class StallEnd:
    """What ended a stall: ``by`` is one of ``measure.stall_ends.ENDINGS``, ``words`` make a sentence."""

    by: str
    words: str
    packets: list[PacketRecord] = field(default_factory=list)


@dataclass
class Stall:
    """A gap in the delivery of a flow that lasts so long that ordinary loss recovery does not explain it.

    docs/design.md has the definition, ``measure.stall_causes`` the causes. From ``start_s`` on something
    could have arrived, at ``end_s`` it did. ``words`` says what happened, ``packets`` are the segments that
    show it.
    ``parts``: one after the other, if the cause changed; ``cause`` is then the one that lasted longest.
    """

    start_s: float
    end_s: float
    cause: str
    words: str
    packets: list[PacketRecord]
    ended: StallEnd
    parts: list[StallPart] = field(default_factory=list)


@dataclass
class Pause:
    """A gap that is too short to be a stall: when, its cause, and what ended it, as in ``Stall``."""

    start_s: float
    end_s: float
    cause: str
    ended_by: str


@dataclass
class PauseCause:
    """The pauses of one cause added up."""

    count: int
    sum_s: float


@dataclass
class Pauses:
    """The pauses of a flow added up, also cause by cause; ``first``: the first thousand, one by one."""

    count: int = 0
    sum_s: float = 0.0
    longest_s: float = 0.0
    causes: dict[str, PauseCause] = field(default_factory=dict)
    first: list[Pause] = field(default_factory=list)


@dataclass
class SubflowResult:
    """One subflow, seen by the end that sends the data.

    ``initiated_by`` says whether this end (``local``) or its peer (``remote``) sent the SYN.
    ``bytes_reinjected`` had been sent on another subflow before; ``backup``: one of the two ends
    wants it used only while no other one works; ``error`` says why it ended, if not by itself.
    ``links`` are those that its packets to the peer crossed last, in order.
    ``goodput_bps`` is None if the bytes took no time.
    ``limited_s``: how long each of ``measure.limits`` kept it from sending, to the sampling interval.
    """

    id: int
    local: str
    remote: str
    initiated_by: str
    established_s: float | None
    bytes_sent: int
    bytes_acked: int
    bytes_retransmitted: int
    bytes_reinjected: int
    goodput_bps: float | None
    srtt_ms: float | None
    cwnd_bytes: int
    backup: bool
    error: str | None = None
    links: list[str] = field(default_factory=list)
    limited_s: dict[str, float] = field(default_factory=dict)


@dataclass
class FlowResult:
    """One flow; ``bytes_written`` and the rest count the direction that carries the data.

    ``integrity`` is ``"ok"`` if every byte was delivered once, in order and unchanged, else
    it says what was not. ``failed``: it was refused, reset or timed out before it was complete, at
    ``failed_s``; ``error`` says why. ``latency_ms`` sums up the requests of a flow that makes requests.
    ``goodput_bps`` is None if the bytes took no time.

    ``stalls``: the first thousand; ``stalled_s`` counts all. ``pauses``: shorter gaps.
    ``bytes_duplicate`` had arrived before at the connection; ``bytes_repeated_while_closed``: what the sender
    sent again while the window of the connection was closed, probes included. ``bytes_unread_most``: the most
    that waited for the application to read it, to the sampling interval.

    ``multipath``: the connection speaks MPTCP, or did when it ended, in version
    ``mptcp_version``. ``fallback``: the client offered that, and the connection is plain TCP all
    the same; ``fallback_reason`` says why.
    """

    name: str
    client: str
    server: str
    bytes_written: int
    bytes_delivered: int
    goodput_bps: float | None
    completed_s: float | None
    integrity: str
    multipath: bool
    fallback: bool
    mptcp_version: int | None = None
    fallback_reason: str | None = None
    failed: bool = False
    failed_s: float | None = None
    error: str | None = None
    latency_ms: dict[str, float] | None = None
    stalls: list[Stall] = field(default_factory=list)
    stalled_s: float = 0.0
    pauses: Pauses = field(default_factory=Pauses)
    bytes_duplicate: int = 0
    bytes_repeated_while_closed: int = 0
    bytes_unread_most: int = 0
    subflows: list[SubflowResult] = field(default_factory=list)


@dataclass
class DirectionResult:
    """One direction of a link; ``utilisation`` is None where the rate is unlimited.

    ``marks`` are packets that the queue has marked CE, ``duplicates`` copies that the link has made,
    ``corrupted`` packets with a bit flipped.
    """

    packets: int
    bytes: int
    drops: dict[str, int]
    utilisation: float | None
    marks: int = 0
    duplicates: int = 0
    corrupted: int = 0


@dataclass
class BoxDirection:
    """What a middlebox did with one direction: packets that came, went on changed, were dropped, left."""

    packets: int
    changed: int
    dropped: int
    sent: int


@dataclass
class MiddleboxResult:
    """A middlebox of a link; what it dropped is among the drops of the link, too."""

    name: str
    forward: BoxDirection
    backward: BoxDirection


@dataclass
class LinkResult:
    """A link: both directions added up; ``utilisation`` is that of the busier one."""

    packets: int
    bytes: int
    drops: dict[str, int]
    utilisation: float | None
    forward: DirectionResult
    backward: DirectionResult
    middleboxes: list[MiddleboxResult] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        forward: DirectionResult,
        backward: DirectionResult,
        middleboxes: Sequence[MiddleboxResult] = (),
    ) -> LinkResult:
        """Return the result of a link from those of its two directions."""
        reasons = sorted({*forward.drops, *backward.drops})
        busy = [side.utilisation for side in (forward, backward) if side.utilisation is not None]
        return cls(
            packets=forward.packets + backward.packets,
            bytes=forward.bytes + backward.bytes,
            drops={
                reason: forward.drops.get(reason, 0) + backward.drops.get(reason, 0) for reason in reasons
            },
            utilisation=max(busy, default=None),
            forward=forward,
            backward=backward,
            middleboxes=list(middleboxes),
        )


@dataclass
class QueueResult:
    """A pipe, scheduler or queue of dummynet: what came out of it and what it dropped.

    With a mask there is one for each flow. What came out of a queue comes out of its scheduler next.
    """

    name: str
    kind: str
    packets: int
    bytes: int
    marks: int
    drops: dict[str, int]


@dataclass
class NodeResult:
    """What a host, router or switch has dropped itself, by reason, and the ICMP errors sent, by kind.

    ``dummynet``: its pipes, schedulers and queues, if it is a FreeBSD system that has some.
    """

    drops: dict[str, int]
    icmp_errors: dict[str, int]
    dummynet: list[QueueResult] = field(default_factory=list)


@dataclass
class Summary:
    """A run; ``duration_s`` was simulated, all of it unless the run was interrupted."""

    scenario: str
    seed: int
    duration_s: float
    flows: list[FlowResult]
    counters: dict[str, dict[str, int]]
    links: dict[str, LinkResult]
    nodes: dict[str, NodeResult] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        return asdict(self)

    def packets(self) -> Iterator[list[PacketRecord]]:
        """Return the packets of all explanations of stalls, explanation by explanation."""
        for flow in self.flows:
            for stall in flow.stalls:
                yield stall.packets
                yield stall.ended.packets
                for part in stall.parts:
                    yield part.packets

    @property
    def intact(self) -> bool:
        """Whether every flow's bytes arrived as they were sent."""
        return all(flow.integrity == INTACT for flow in self.flows)
