"""What tshark says of each packet of a capture, and what the segments themselves say of it.

Both are lists with a dictionary for each packet, its keys the names of tshark's fields.
Data sequence numbers are relative, as in the core: the initial one is 0, the first byte 1.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mptcpsim.core.mptcp.keys import Key, derive
from mptcpsim.core.mptcp_options import (
    SUBTYPE_ADD_ADDR,
    SUBTYPE_DSS,
    SUBTYPE_MP_CAPABLE,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_MP_JOIN,
    SUBTYPE_MP_PRIO,
    SUBTYPE_MP_TCPRST,
    SUBTYPE_REMOVE_ADDR,
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MpTcprst,
    RemoveAddr,
)
from mptcpsim.core.segment import ACK, SYN, FourTuple, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN, unwrap

#: The values of one packet's fields; a field that the packet does not have is left out.
Row = dict[str, list[int]]

STREAM: Final = "tcp.stream"
SEQ_RAW: Final = "tcp.seq_raw"
MPTCP_STREAM: Final = "mptcp.stream"
TOKEN: Final = "mptcp.expected_token"
IDSN: Final = "mptcp.expected_idsn"
DSN: Final = "mptcp.dsn"
DSS_DSN: Final = "mptcp.dss.dsn"
DATA_ACK: Final = "mptcp.ack"
RAW_DSN: Final = "tcp.options.mptcp.rawdataseqno"
RAW_DATA_ACK: Final = "tcp.options.mptcp.rawdataack"
SUBTYPE: Final = "tcp.options.mptcp.subtype"
MALFORMED: Final = "_ws.malformed"

FIELDS: Final = (
    STREAM,
    SEQ_RAW,
    MPTCP_STREAM,
    TOKEN,
    IDSN,
    DSN,
    DSS_DSN,
    DATA_ACK,
    RAW_DSN,
    RAW_DATA_ACK,
    SUBTYPE,
    MALFORMED,
)

PREFERENCES: Final = (
    "mptcp.analyze_mptcp:TRUE",
    "mptcp.analyze_mappings:TRUE",
    "mptcp.relative_sequence_numbers:TRUE",
    "tcp.relative_sequence_numbers:TRUE",
    "tcp.desegment_tcp_streams:FALSE",
)


def tshark_record(path: Path, timeout: float = 60.0) -> list[Row]:
    """Return what tshark finds in each TCP segment of a capture; ICMP errors are left out.

    A packet that it finds malformed has ``MALFORMED``. The payload is not dissected:
    its bytes are no protocol's.

    Args:
        path: any capture file.
        timeout: seconds until tshark is given up.
    """
    command = ["tshark", "-n", "-r", str(path), "-d", "tcp.port==1-65535,data"]
    command += ["-Y", "tcp && !icmp && !icmpv6"]
    for preference in PREFERENCES:
        command += ["-o", preference]
    command += ["-T", "fields", "-E", "separator=;", "-E", "occurrence=a", "-E", "aggregator=,"]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout)
    return [_row(line.split(";")) for line in done.stdout.splitlines()]


def _row(values: list[str]) -> Row:
    row: Row = {}
    for field, value in zip(FIELDS, values, strict=True):
        if value:
            row[field] = [1] if field == MALFORMED else [int(number, 0) for number in value.split(",")]
    return row


# --- The segments themselves ----------------------------------------------------------------------

_SUBTYPES: Final[dict[type, int]] = {
    MpCapable: SUBTYPE_MP_CAPABLE,
    MpJoinSyn: SUBTYPE_MP_JOIN,
    MpJoinSynAck: SUBTYPE_MP_JOIN,
    MpJoinAck: SUBTYPE_MP_JOIN,
    Dss: SUBTYPE_DSS,
    AddAddr: SUBTYPE_ADD_ADDR,
    RemoveAddr: SUBTYPE_REMOVE_ADDR,
    MpPrio: SUBTYPE_MP_PRIO,
    MpFail: SUBTYPE_MP_FAIL,
    MpFastclose: SUBTYPE_MP_FASTCLOSE,
    MpTcprst: SUBTYPE_MP_TCPRST,
}


class _Connection:
    """A connection; its number counts those of which a key or a DSS was seen."""

    def __init__(self) -> None:
        self.number = UNKNOWN
        self.hosts = (_Host(self), _Host(self))


class _Host:
    """One host of a connection, and how far its data is known to go."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.key: Key | None = None
        self.near = 0

    @property
    def peer(self) -> _Host:
        first, second = self.connection.hosts
        return second if self is first else first

    def relative(self, wire: int, octets: int) -> int:
        """Return a data sequence number of this host's stream, in either form, from the wire."""
        assert self.key is not None
        number = (wire - self.key.idsn) % (1 << 8 * octets)
        if octets == 4:
            number = unwrap(number, self.near)
        self.near = max(self.near, number)
        return number


class _Way:
    """One direction of a subflow."""

    def __init__(self, stream: int, sender: _Host) -> None:
        self.stream = stream
        self.sender = sender
        self.iss = UNKNOWN


def own_record(packets: Iterable[Packet]) -> list[Row]:
    """Return what the segments among packets say, in the order in which they passed one place.

    ``DSN`` is there where the segment itself maps its payload.
    """
    record = _Record()
    return [record.row(packet) for packet in packets if isinstance(packet, Segment)]


class _Record:
    def __init__(self) -> None:
        self._ways: dict[FourTuple, _Way] = {}
        self._by_token: dict[int, _Host] = {}
        self._streams = 0
        self._connections = 0

    def row(self, segment: Segment) -> Row:
        """Return the row of the next segment."""
        seq = segment.sequences.wire_seq(segment.seq)
        way = self._way(segment, seq)
        if segment.flags & SYN:
            way.iss = seq
        row = {STREAM: [way.stream], SEQ_RAW: [seq]}
        options = () if segment.dss is None else (segment.dss,)
        subtypes = [_SUBTYPES[type(option)] for option in (*options, *(segment.options or ()))]
        if subtypes:
            row[SUBTYPE] = subtypes
        if segment.dss is not None:
            self._count(way.sender.connection)
            _note_dss(segment.dss, (seq - way.iss) % (1 << 32), segment.length > 0, way, row)
        for option in segment.options or ():
            if isinstance(option, MpCapable):
                self._note_capable(option, way, row)
                if option.data_level_length != UNKNOWN:
                    row[DSN] = [(seq - way.iss) % (1 << 32)]
            elif isinstance(option, MpFail):
                row.setdefault(RAW_DSN, []).append(option.dsn)
        number = way.sender.connection.number
        if subtypes and number != UNKNOWN:
            row[MPTCP_STREAM] = [number]
        return row

    def _way(self, segment: Segment, seq: int) -> _Way:
        """Return the direction that a segment belongs to; a SYN may begin a new one."""
        flow = segment.flow
        way = self._ways.get(flow)
        opens = segment.flags & (SYN | ACK) == SYN
        if way is None or (opens and way.iss != seq):
            sender = _Connection().hosts[0]
            for option in segment.options or ():
                if isinstance(option, MpJoinSyn) and option.token in self._by_token:
                    sender = self._by_token[option.token].peer
            way = self._ways[flow] = _Way(self._streams, sender)
            self._ways[flow.reverse()] = _Way(self._streams, sender.peer)
            self._streams += 1
        return way

    def _note_capable(self, option: MpCapable, way: _Way, row: Row) -> None:
        if option.sender_key == UNKNOWN:
            return
        host = way.sender
        self._count(host.connection)
        key = host.key = derive(option.sender_key, option.version)
        self._by_token[key.token] = host
        row[TOKEN], row[IDSN] = [key.token], [key.idsn]

    def _count(self, connection: _Connection) -> None:
        if connection.number == UNKNOWN:
            connection.number = self._connections
            self._connections += 1


def _note_dss(dss: Dss, seq: int, has_data: bool, way: _Way, row: Row) -> None:
    peer = way.sender.peer
    if dss.data_ack_octets:
        row[RAW_DATA_ACK] = [dss.data_ack]
    if dss.dsn_octets:
        row[RAW_DSN] = [dss.dsn]
    if dss.data_ack_octets and peer.key is not None:
        row[DATA_ACK] = [peer.relative(dss.data_ack, dss.data_ack_octets)]
    if dss.dsn_octets and way.sender.key is not None:
        dsn = way.sender.relative(dss.dsn, dss.dsn_octets)
        row[DSS_DSN] = [dsn]
        if has_data and not dss.is_infinite():
            row[DSN] = [dsn + seq - dss.ssn]


# --- Comparison -----------------------------------------------------------------------------------


#: Where the 4-octet form of a number stands, if that is what was sent.
_RAW: Final = {DSN: RAW_DSN, DSS_DSN: RAW_DSN, DATA_ACK: RAW_DATA_ACK}


def disagreements(theirs: list[Row], own: list[Row]) -> list[str]:
    """Return a line for each value that tshark has otherwise than the segments, and each malformed packet.

    tshark carries on with mappings and connections where a packet says nothing of them;
    such fields count only where the segment has them. And it does not notice that
    numbers in their 4-octet form have wrapped: these are compared modulo 2^32.
    """
    lines = []
    if len(theirs) != len(own):
        lines.append(f"{len(theirs)} packets != {len(own)}")
    for number, (their, our) in enumerate(zip(theirs, own, strict=False), start=1):
        if MALFORMED in their:
            lines.append(f"packet {number} is malformed")
        for field in FIELDS:
            if field == MALFORMED or (field not in our and field in (DSN, MPTCP_STREAM)):
                continue
            if _compared(their, field) != _compared(our, field):
                lines.append(f"packet {number}: {field} {their.get(field)} != {our.get(field)}")
    return lines


def _compared(row: Row, field: str) -> list[int] | None:
    values = row.get(field)
    raw = row.get(_RAW.get(field, ""))
    if values is None or raw is None or raw[0] >= 1 << 32:
        return values
    return [value % (1 << 32) for value in values]
