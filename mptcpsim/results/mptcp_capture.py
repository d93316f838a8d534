"""Reconstructs MPTCP from a capture, of whatever origin: keys, subflows, mappings, the end.

Everything is derived from the bytes alone, by RFC 8684 and RFC 6824: connections from
the keys in MP_CAPABLE, subflows from the token in MP_JOIN, 64-bit data sequence numbers
from the IDSN. HMACs and checksums are computed anew and compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from mptcpsim.codec.errors import DecodeError
from mptcpsim.codec.mptcp import read_mptcp
from mptcpsim.codec.option_list import MPTCP, split_options
from mptcpsim.codec.pcap_reader import CapturedPacket, read_capture
from mptcpsim.codec.raw import PROTOCOL_TCP, parse_ip, parse_tcp
from mptcpsim.core.mptcp.dss_checksum import checksum_is_right, payload_sum
from mptcpsim.core.mptcp.keys import ack_hmac, add_addr_hmac, derive, syn_ack_hmac
from mptcpsim.core.mptcp_options import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
)
from mptcpsim.core.segment import ACK, FIN, RST, SYN, FourTuple
from mptcpsim.core.sequences import UNKNOWN, unwrap
from mptcpsim.results.mptcp_trace import (
    CLIENT,
    FALLBACK_ACK,
    FALLBACK_DATA,
    FALLBACK_INFINITE,
    FALLBACK_SYN,
    FALLBACK_SYN_ACK,
    BadOption,
    CapturedAnnouncement,
    CapturedEnd,
    CapturedFallback,
    CapturedFastclose,
    CapturedJoin,
    CapturedMapping,
    CapturedPriority,
    CapturedRemoval,
    CapturedReset,
    CapturedSubflow,
    ConnectionTrace,
    Frame,
    Trace,
)

_MASK_64: Final = (1 << 64) - 1
_HALF_64: Final = 1 << 63


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Return what a capture file tells about MPTCP.

    Raises:
        CaptureError: the file is no capture that can be read.
        OSError: the file cannot be read.
    """
    return reconstruct(read_capture(path))


def reconstruct(packets: Iterable[CapturedPacket]) -> Trace:
    """Return what packets tell about MPTCP; what is not TCP is passed over."""
    reader = _CaptureReader()
    for frame in _frames(packets, reader.trace.bad_options):
        reader.take(frame)
    reader.judge_checksums()
    return reader.trace


def _frames(packets: Iterable[CapturedPacket], bad_options: list[BadOption]) -> Iterator[Frame]:
    for number, packet in enumerate(packets, start=1):
        try:
            ip = parse_ip(packet.data)
            if ip.protocol != PROTOCOL_TCP or ip.is_fragment:
                continue
            tcp = parse_tcp(ip.payload)
        except DecodeError:
            continue  # too little of the packet was captured, or it is damaged
        options: list[MptcpOption] = []
        for kind, body in split_options(tcp.options):
            if kind != MPTCP:
                continue
            try:
                options.append(read_mptcp(body, tcp.flags))
            except DecodeError as error:
                bad_options.append(BadOption(number, body, str(error)))
        yield Frame(
            number,
            packet.time_ns,
            FourTuple(ip.src, tcp.sport, ip.dst, tcp.dport),
            tcp.flags,
            tcp.seq,
            tcp.ack,
            tcp.window,
            ip.length - ip.header_length - 20 - len(tcp.options),
            tcp.payload,
            tuple(options),
        )


class _CaptureReader:
    """Takes frames one by one and knows which connection each belongs to."""

    def __init__(self) -> None:
        self.trace = Trace()
        self._subflows: dict[FourTuple, tuple[CapturedSubflow, ConnectionTrace | None]] = {}

    def take(self, frame: Frame) -> None:
        """Put a frame where it belongs."""
        known = self._subflows.get(frame.flow) or self._subflows.get(frame.flow.reverse())
        if frame.flags & (SYN | ACK) == SYN:
            known = self._open(frame, known)
        elif known is None:
            known = CapturedSubflow(frame.flow), None
            self.trace.orphans.append(known[0])
            self._subflows[frame.flow] = known
        subflow, connection = known
        subflow.frames.append(frame)
        self._note_tcp(frame, subflow)
        if connection is not None:
            _Signals(frame, subflow, connection).note()

    def judge_checksums(self) -> None:
        """Compute the checksum of every mapping whose bytes were captured."""
        for connection in self.trace.connections:
            for subflow in connection.subflows:
                for end in subflow.ends:
                    for mapping in end.mappings:
                        _judge_checksum(mapping, end)

    def _open(
        self, frame: Frame, known: tuple[CapturedSubflow, ConnectionTrace | None] | None
    ) -> tuple[CapturedSubflow, ConnectionTrace | None]:
        """Return the subflow that a SYN opens, or repeats."""
        if known is not None:
            sender = known[0].sender(frame)
            if known[0].ends[sender].iss == frame.seq:
                return known
        join = next((option for option in frame.options if isinstance(option, MpJoinSyn)), None)
        subflow = CapturedSubflow(frame.flow)
        connection: ConnectionTrace | None = None
        if join is None:
            connection = ConnectionTrace()
            self.trace.connections.append(connection)
        else:
            subflow.join = CapturedJoin(join.token)
            for candidate in reversed(self.trace.connections):
                for number, host in enumerate(candidate.hosts):
                    if host.key is not None and host.key.token == join.token:
                        connection, subflow.opener = candidate, 1 - number
        if connection is None:
            self.trace.orphans.append(subflow)
        else:
            connection.subflows.append(subflow)
        self._subflows.pop(frame.flow.reverse(), None)
        self._subflows[frame.flow] = subflow, connection
        return self._subflows[frame.flow]

    def _note_tcp(self, frame: Frame, subflow: CapturedSubflow) -> None:
        end = subflow.ends[subflow.sender(frame)]
        if frame.flags & SYN:
            end.iss = frame.seq
        if frame.flags & FIN:
            end.fins.append(frame.number)
        if frame.flags & RST:
            reasons = [option.reason for option in frame.options if isinstance(option, MpTcprst)]
            end.resets.append(CapturedReset(frame.number, reasons[0] if reasons else UNKNOWN))
        if frame.length and end.iss != UNKNOWN:
            start = end.relative(frame.seq)
            end.sent = max(end.sent, start + frame.length)
            end.stream.add(start, frame.payload)


def _judge_checksum(mapping: CapturedMapping, end: CapturedEnd) -> None:
    if mapping.checksum == UNKNOWN or mapping.length == 0:
        return
    payload = end.stream.read(mapping.ssn, mapping.payload_length)
    if payload is not None:
        mapping.checksum_right = checksum_is_right(
            mapping.dsn, mapping.ssn, mapping.length, payload_sum(payload), mapping.checksum
        )


class _Signals:
    """What one frame says about its connection."""

    def __init__(self, frame: Frame, subflow: CapturedSubflow, connection: ConnectionTrace) -> None:
        self.frame = frame
        self.subflow = subflow
        self.connection = connection
        self.sender = subflow.sender(frame)
        self.host = connection.hosts[self.sender]
        self.peer = connection.hosts[1 - self.sender]
        self.end = subflow.ends[self.sender]

    def note(self) -> None:
        """Put the options of the frame, and what follows from their absence, into the trace."""
        if self.subflow.join is None:
            self._note_missing_capable()
        else:
            self._note_acceptance(self.subflow.join)
        for option in self.frame.options:
            self._note_option(option)
        if self.subflow.join is None:
            self._note_missing_data_ack()

    def _note_option(self, option: MptcpOption) -> None:
        number = self.frame.number
        if isinstance(option, Dss):
            self._note_dss(option)
        elif isinstance(option, MpCapable):
            self._note_capable(option)
        elif isinstance(option, MpJoinSyn | MpJoinSynAck | MpJoinAck):
            if self.subflow.join is not None:
                self._note_join(option, self.subflow.join)
        elif isinstance(option, AddAddr):
            announcement = CapturedAnnouncement(number, option, self._address_is_right(option))
            (self.host.echoed if option.echo else self.host.announced).append(announcement)
        elif isinstance(option, RemoveAddr):
            self.host.removed.append(CapturedRemoval(number, option.address_ids))
        elif isinstance(option, MpPrio):
            self.host.priorities.append(
                CapturedPriority(number, self.subflow.flow, option.backup, option.address_id)
            )
        elif isinstance(option, MpFail):
            self.host.fails.append((number, option.dsn))
        elif isinstance(option, MpFastclose):
            key = self.peer.key
            right = key is not None and key.value == option.receiver_key
            self.host.fastcloses.append(CapturedFastclose(number, right))

    # --- The handshakes ---------------------------------------------------------------------

    def _note_capable(self, option: MpCapable) -> None:
        connection = self.connection
        if self.frame.flags & SYN:
            connection.version = option.version
            self.host.flags = option.flags
            connection.capables["SYN/ACK" if self.frame.flags & ACK else "SYN"].append(self.frame.number)
        else:
            with_data = option.data_level_length != UNKNOWN
            connection.capables["data" if with_data else "ACK"].append(self.frame.number)
            if self.peer.key is not None:
                connection.key_echo_right = option.receiver_key == self.peer.key.value
        if option.sender_key != UNKNOWN and self.host.key is None:
            self.host.key = derive(option.sender_key, connection.version)
            self.host.near = self.host.key.idsn
        if option.data_level_length != UNKNOWN and self.host.key is not None:
            dsn = (self.host.key.idsn + 1) & _MASK_64
            length = option.data_level_length
            self._map(
                CapturedMapping(self.frame.number, dsn, 1, length, False, option.checksum, in_mp_capable=True)
            )

    def _note_missing_capable(self) -> None:
        """Find out whether the handshake ends without MP_CAPABLE (RFC 8684 section 3.1)."""
        connection, frame = self.connection, self.frame
        if connection.fallback is not None or frame.flags & RST:
            return
        if any(isinstance(option, MpCapable) for option in frame.options):
            return
        capables = connection.capables
        if frame.flags & SYN and frame.flags & ACK:
            syns = [other for other in self.subflow.frames if other.flags & (SYN | ACK) == SYN]
            asked = bool(syns) and any(isinstance(option, MpCapable) for option in syns[-1].options)
            connection.fallback = CapturedFallback(frame.number, FALLBACK_SYN_ACK if asked else FALLBACK_SYN)
            return
        waiting = bool(capables["SYN/ACK"]) and not (capables["ACK"] or capables["data"])
        if waiting and self.sender == CLIENT and not frame.flags & SYN:
            connection.fallback = CapturedFallback(frame.number, FALLBACK_ACK)

    def _note_join(self, option: MpJoinSyn | MpJoinSynAck | MpJoinAck, join: CapturedJoin) -> None:
        number = self.frame.number
        version = self.connection.version
        own, peer = self.host.key, self.peer.key
        if isinstance(option, MpJoinSyn):
            join.syns.append(number)
            _introduce(join, 0, option)
            return
        if isinstance(option, MpJoinSynAck):
            join.syn_acks.append(number)
            _introduce(join, 1, option)
        else:
            join.acks.append(number)
        nonce_a, nonce_b = join.nonces
        if own is None or peer is None or UNKNOWN in (nonce_a, nonce_b):
            return
        if isinstance(option, MpJoinSynAck):
            expected = syn_ack_hmac(version, own.value, peer.value, nonce_b, nonce_a)
            join.syn_ack_hmac_right = option.hmac == expected
        else:
            expected = ack_hmac(version, own.value, peer.value, nonce_a, nonce_b)
            join.ack_hmac_right = option.hmac == expected

    def _note_acceptance(self, join: CapturedJoin) -> None:
        """Find the segment with which the responder accepts (RFC 8684 section 3.2)."""
        answers = self.sender != self.subflow.opener and not self.frame.flags & (SYN | RST)
        if join.established == UNKNOWN and join.acks and answers:
            join.established = self.frame.number

    def _address_is_right(self, option: AddAddr) -> bool | None:
        own, peer = self.host.key, self.peer.key
        if not option.hmac or own is None or peer is None:
            return None
        version = self.connection.version
        return option.hmac == add_addr_hmac(
            version, own.value, peer.value, option.address_id, option.address, option.port
        )

    # --- Data -------------------------------------------------------------------------------

    def _note_dss(self, option: Dss) -> None:
        number = self.frame.number
        if option.data_ack_octets and self.peer.key is not None:
            data_ack = _widen(option.data_ack, option.data_ack_octets, self.peer.near)
            self.end.data_acks.append((number, data_ack))
            last = self.peer.data_fin_dsn
            if last != UNKNOWN and self.peer.data_fin_acked == UNKNOWN and data_ack == (last + 1) & _MASK_64:
                self.peer.data_fin_acked = number
        if option.dsn_octets and self.host.key is not None:
            dsn = _widen(option.dsn, option.dsn_octets, self.host.near)
            length = option.data_level_length
            self._map(CapturedMapping(number, dsn, option.ssn, length, option.data_fin, option.checksum))
            if option.is_infinite() and self.connection.fallback is None:
                self.connection.fallback = CapturedFallback(number, FALLBACK_INFINITE)

    def _map(self, mapping: CapturedMapping) -> None:
        host = self.host
        self.end.mappings.append(mapping)
        after = (mapping.dsn + mapping.length) & _MASK_64
        if (after - host.near) & _MASK_64 < _HALF_64:
            host.near = after
        if mapping.data_fin:
            host.data_fins.append(mapping.frame)
            host.data_fin_dsn = (after - 1) & _MASK_64

    def _note_missing_data_ack(self) -> None:
        """Find the first acknowledgment of data without a DATA_ACK (RFC 8684 section 3.7)."""
        connection, frame = self.connection, self.frame
        other = self.subflow.ends[1 - self.sender]
        if connection.fallback is not None or frame.flags & (SYN | RST) or not frame.flags & ACK:
            return
        if not connection.capables["SYN/ACK"] or len(connection.subflows) > 1 or self.end.data_acks:
            return
        if UNKNOWN not in (self.end.iss, other.iss) and other.sent > 1 and other.relative(frame.ack) > 1:
            connection.fallback = CapturedFallback(frame.number, FALLBACK_DATA)


def _introduce(join: CapturedJoin, place: int, option: MpJoinSyn | MpJoinSynAck) -> None:
    """Note what A (0) or B (1) says about itself in a join."""
    join.nonces[place] = option.nonce
    join.address_ids[place] = option.address_id
    join.backup[place] = option.backup


def _widen(number: int, octets: int, near: int) -> int:
    """Return a data sequence number with all its 64 bits (RFC 8684 section 3.3.1)."""
    return number if octets == 8 else unwrap(number, near) & _MASK_64
