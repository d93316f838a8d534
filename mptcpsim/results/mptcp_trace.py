"""What a capture tells about MPTCP: connections, their subflows, and what was signalled.

``results.mptcp_capture`` fills these in. Of the two hosts of a connection, ``CLIENT``
(0) sent its first SYN and ``SERVER`` (1) answered it; frames are counted from 1 among
the IP packets of the file.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mptcpsim.core.mptcp.keys import Key
from mptcpsim.core.mptcp_options import (
    CHECKSUM_REQUIRED,
    AddAddr,
    MptcpOption,
)
from mptcpsim.core.segment import FourTuple
from mptcpsim.core.sequences import UNKNOWN

CLIENT: Final = 0
SERVER: Final = 1

_SEQUENCES: Final = 1 << 32


class Frame(NamedTuple):
    """A TCP segment of the capture.

    Attributes:
        number: its place among the IP packets of the file.
        time_ns: nanoseconds since the epoch of the file.
        flow: addresses and ports as sent.
        flags: control bits.
        seq, ack: numbers as they stand on the wire.
        window: the window field, not scaled.
        length: bytes of payload as the headers say.
        payload: as much of the payload as was captured.
        options: the MPTCP options, in their order.
    """

    number: int
    time_ns: int
    flow: FourTuple
    flags: int
    seq: int
    ack: int
    window: int
    length: int
    payload: bytes
    options: tuple[MptcpOption, ...]


class BadOption(NamedTuple):
    """An MPTCP option that fits no layout."""

    frame: int
    body: bytes
    problem: str


@dataclass(slots=True)
class CapturedMapping:
    """A data sequence mapping, or the data parameters of an MP_CAPABLE.

    Attributes:
        frame: the frame that carries it.
        dsn: data sequence number, all 64 bits.
        ssn: subflow sequence number, relative.
        length: Data-Level Length; 0 is the infinite mapping.
        data_fin: its last byte is the DATA_FIN.
        checksum: as sent, ``UNKNOWN`` without one.
        in_mp_capable: it came in an MP_CAPABLE.
        checksum_right: None without a checksum, and where not all bytes were captured.
    """

    frame: int
    dsn: int
    ssn: int
    length: int
    data_fin: bool = False
    checksum: int = UNKNOWN
    in_mp_capable: bool = False
    checksum_right: bool | None = None

    @property
    def payload_length(self) -> int:
        """Bytes of the subflow that are mapped: a DATA_FIN is not among them."""
        return self.length - (1 if self.data_fin else 0)


class CapturedReset(NamedTuple):
    """A RST; ``reason`` is that of its MP_TCPRST, ``UNKNOWN`` without one."""

    frame: int
    reason: int


class CapturedStream:
    """The payload of one direction of a subflow, as far as it was captured."""

    __slots__ = ("_chunks", "_pieces", "_starts")

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._chunks: list[tuple[int, bytearray]] | None = None
        self._starts: list[int] = []

    def add(self, start: int, data: bytes) -> None:
        """Add payload at a relative sequence number; of two pieces the longer one counts."""
        if len(data) > len(self._pieces.get(start, b"")):
            self._pieces[start] = data
            self._chunks = None

    def read(self, start: int, length: int) -> bytes | None:
        """Return bytes from a relative sequence number on, None if some are missing."""
        if length == 0:
            return b""
        if self._chunks is None:
            self._chunks = self._merge()
            self._starts = [first for first, _ in self._chunks]
        index = bisect_right(self._starts, start) - 1
        if index < 0:
            return None
        first, data = self._chunks[index]
        found = bytes(data[start - first : start - first + length])
        return found if len(found) == length else None

    def _merge(self) -> list[tuple[int, bytearray]]:
        chunks: list[tuple[int, bytearray]] = []
        for start, data in sorted(self._pieces.items()):
            if chunks and start <= chunks[-1][0] + len(chunks[-1][1]):
                first, chunk = chunks[-1]
                chunk += data[first + len(chunk) - start :]
            else:
                chunks.append((start, bytearray(data)))
        return chunks


@dataclass(slots=True)
class CapturedEnd:
    """One end of a subflow, and what it sent there.

    Attributes:
        iss: its initial sequence number, ``UNKNOWN`` where its SYN was not captured.
        mappings: in the order of the frames, repetitions included.
        data_acks: (frame, DATA_ACK widened to 64 bits).
        fins: frames with a FIN.
        resets: its RSTs.
        sent: the relative sequence number after its last payload byte; 1 before the first.
        stream: its payload.
    """

    iss: int = UNKNOWN
    mappings: list[CapturedMapping] = field(default_factory=list)
    data_acks: list[tuple[int, int]] = field(default_factory=list)
    fins: list[int] = field(default_factory=list)
    resets: list[CapturedReset] = field(default_factory=list)
    sent: int = 1
    stream: CapturedStream = field(default_factory=CapturedStream)

    def relative(self, wire: int) -> int:
        """Return a sequence number of this end relative to its SYN, modulo 2^32."""
        return (wire - self.iss) % _SEQUENCES


@dataclass(slots=True)
class CapturedJoin:
    """The MP_JOIN handshake of a subflow; "A" opened the subflow, "B" answered.

    Attributes:
        syns, syn_acks, acks: frames with the three forms of the option.
        token: the token of B.
        nonces: random numbers of A and B.
        address_ids: address identifiers of A and B.
        backup: whether A and B want the subflow as a backup only.
        syn_ack_hmac_right: whether B proved itself; None if its option was not captured.
        ack_hmac_right: whether A proved itself.
        established: the frame with which B accepted, ``UNKNOWN`` if it did not.
    """

    token: int
    syns: list[int] = field(default_factory=list)
    syn_acks: list[int] = field(default_factory=list)
    acks: list[int] = field(default_factory=list)
    nonces: list[int] = field(default_factory=lambda: [UNKNOWN, UNKNOWN])
    address_ids: list[int] = field(default_factory=lambda: [UNKNOWN, UNKNOWN])
    backup: list[bool] = field(default_factory=lambda: [False, False])
    syn_ack_hmac_right: bool | None = None
    ack_hmac_right: bool | None = None
    established: int = UNKNOWN


@dataclass(slots=True)
class CapturedSubflow:
    """A TCP connection of the capture.

    Attributes:
        flow: from the end that sent the SYN to the other one.
        opener: the host that sent the SYN, ``CLIENT`` or ``SERVER``.
        ends: by host.
        join: None for the first subflow of a connection.
        frames: all frames, both directions.
    """

    flow: FourTuple
    opener: int = CLIENT
    ends: tuple[CapturedEnd, CapturedEnd] = field(default_factory=lambda: (CapturedEnd(), CapturedEnd()))
    join: CapturedJoin | None = None
    frames: list[Frame] = field(default_factory=list)

    def sender(self, frame: Frame) -> int:
        """Return the host that sent a frame of this subflow."""
        return self.opener if frame.flow == self.flow else 1 - self.opener


class CapturedAnnouncement(NamedTuple):
    """An ADD_ADDR; ``hmac_right`` is None where the option has no HMAC."""

    frame: int
    option: AddAddr
    hmac_right: bool | None


class CapturedRemoval(NamedTuple):
    """A REMOVE_ADDR."""

    frame: int
    address_ids: tuple[int, ...]


class CapturedPriority(NamedTuple):
    """An MP_PRIO; ``address_id`` is ``UNKNOWN`` if it applies to ``subflow`` only."""

    frame: int
    subflow: FourTuple
    backup: bool
    address_id: int


class CapturedFastclose(NamedTuple):
    """An MP_FASTCLOSE; ``key_right`` says whether it names the key of the other host."""

    frame: int
    key_right: bool


@dataclass(slots=True)
class HostTrace:
    """One host of a connection, and what it signalled.

    Attributes:
        key: its key with token and IDSN, None if the capture does not tell.
        flags: of its MP_CAPABLE in the SYN or SYN/ACK.
        announced: ADD_ADDRs but for the echoes, repetitions included.
        echoed: the echoes.
        removed: REMOVE_ADDRs.
        priorities: MP_PRIOs.
        data_fins: frames with its DATA_FIN.
        data_fin_dsn: the data sequence number of the DATA_FIN, ``UNKNOWN`` before it.
        data_fin_acked: the first frame of the other host that acknowledges it, or ``UNKNOWN``.
        fails: (frame, data sequence number) of MP_FAILs.
        fastcloses: MP_FASTCLOSEs.
        near: the highest data sequence number seen of it; 32-bit forms are widened near it.
    """

    key: Key | None = None
    flags: int = 0
    announced: list[CapturedAnnouncement] = field(default_factory=list)
    echoed: list[CapturedAnnouncement] = field(default_factory=list)
    removed: list[CapturedRemoval] = field(default_factory=list)
    priorities: list[CapturedPriority] = field(default_factory=list)
    data_fins: list[int] = field(default_factory=list)
    data_fin_dsn: int = UNKNOWN
    data_fin_acked: int = UNKNOWN
    fails: list[tuple[int, int]] = field(default_factory=list)
    fastcloses: list[CapturedFastclose] = field(default_factory=list)
    near: int = 0


class CapturedFallback(NamedTuple):
    """The end of MPTCP: ``cause`` is one of the ``FALLBACK_...`` constants."""

    frame: int
    cause: str


#: The SYN that was answered has no MP_CAPABLE.
FALLBACK_SYN: Final = "SYN"
#: The SYN/ACK has none.
FALLBACK_SYN_ACK: Final = "SYN/ACK"
#: The third packet has none.
FALLBACK_ACK: Final = "ACK"
#: The first data is acknowledged without a DATA_ACK.
FALLBACK_DATA: Final = "data"
#: An infinite mapping.
FALLBACK_INFINITE: Final = "infinite mapping"

# How a connection ended.
CLOSED_BY_DATA_FIN: Final = "DATA_FIN"
CLOSED_BY_FASTCLOSE: Final = "MP_FASTCLOSE"
CLOSED_BY_FIN: Final = "FIN"
NOT_CLOSED: Final = "open"


@dataclass(slots=True)
class ConnectionTrace:
    """A connection of the capture, MPTCP or not.

    Attributes:
        version: the version agreed on, or offered last; ``UNKNOWN`` if none was offered.
        capables: frames with MP_CAPABLE, by form: SYN, SYN/ACK, ACK, and with data.
        hosts: ``CLIENT`` and ``SERVER``.
        subflows: the first one, then the joins, refused ones included.
        fallback: how it became plain TCP, None if it did not.
        key_echo_right: whether the client returned the server's key; None before it did.
    """

    version: int = UNKNOWN
    capables: dict[str, list[int]] = field(
        default_factory=lambda: {"SYN": [], "SYN/ACK": [], "ACK": [], "data": []}
    )
    hosts: tuple[HostTrace, HostTrace] = field(default_factory=lambda: (HostTrace(), HostTrace()))
    subflows: list[CapturedSubflow] = field(default_factory=list)
    fallback: CapturedFallback | None = None
    key_echo_right: bool | None = None

    @property
    def checksums(self) -> bool:
        """Whether either host asked for checksums, which makes both use them."""
        return any(host.flags & CHECKSUM_REQUIRED for host in self.hosts)

    @property
    def joins(self) -> list[CapturedJoin]:
        """The MP_JOIN handshakes, in the order of their SYNs."""
        return [subflow.join for subflow in self.subflows if subflow.join is not None]

    @property
    def closing(self) -> str:
        """How it ended: one of the ``CLOSED_...`` constants, or ``NOT_CLOSED``."""
        if any(host.fastcloses for host in self.hosts):
            return CLOSED_BY_FASTCLOSE
        if all(host.data_fin_acked != UNKNOWN for host in self.hosts):
            return CLOSED_BY_DATA_FIN
        if self.fallback is not None and all(end.fins for end in self.subflows[0].ends):
            return CLOSED_BY_FIN
        return NOT_CLOSED


@dataclass(slots=True)
class Trace:
    """A whole capture.

    Attributes:
        connections: those whose first SYN was captured, in that order.
        orphans: subflows of which the capture does not tell the connection: begun before it,
            or joins with a token that nobody has.
        bad_options: MPTCP options that fit no layout.
    """

    connections: list[ConnectionTrace] = field(default_factory=list)
    orphans: list[CapturedSubflow] = field(default_factory=list)
    bad_options: list[BadOption] = field(default_factory=list)
