"""Paths that spoil what crosses them, options of MPTCP included, and that watch what two ends say.

``MptcpFaultyPath`` is the hook of an ``MptcpPair``. What it checks it computes from
the segments alone, as their receiver reads them: a data sequence number relative to the
sender's IDSN, a window field with the shift of its subflow's SYN. Only the keys and what the
applications wrote and read come from the ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from mptcpsim.codec.options import option_length, wire_length
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp_options import Dss, MpCapable, MpJoinAck, MpJoinSyn, exists_in
from mptcpsim.core.options import OPTION_SPACE
from mptcpsim.core.segment import RST, SYN, FourTuple, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import NEVER
from tests.core.mptcp.hooks import without_mptcp
from tests.core.mptcp.pair import MptcpPair, options_of
from tests.core.tcp.pair import BACK
from tests.core.tcp.watched_path import FATES, Arriving, Lane, WatchedPath, connection_of, faults, hold

_64_BITS = (1 << 64) - 1

#: A segment that is put together differently is only ever cut in two: its mapping covers no more.
MPTCP_FATES = tuple(fate for fate in FATES if fate != "longer")

#: What a middlebox may remove.
STRIPPED: dict[str, Callable[[Segment], bool]] = {
    "all": lambda segment: True,
    "SYN": lambda segment: bool(segment.flags & SYN),
    "not SYN": lambda segment: not segment.flags & SYN,
    "data": lambda segment: segment.length > 0,
    "ACKs": lambda segment: not segment.length and not segment.flags & SYN,
}


class PathLane(Lane):
    """One direction of one path, and what happens to the segments and their options on it.

    Attributes:
        strips: of which segments the options of MPTCP are removed, a key of ``STRIPPED``.
        strip_count: of how many of them.
        spoil_count: of how many mappings the checksum is changed.
    """

    FAULTS: ClassVar[tuple[str, ...]] = faults(MPTCP_FATES)

    def __init__(self) -> None:
        super().__init__()
        self.strips = ""
        self.strip_count = 0
        self.spoil_count = 0

    def heal(self, strips: bool = True) -> None:
        """Let everything through, with ``strips`` its options, too."""
        super().heal()
        self.spoil_count = 0
        if strips:
            self.strips = ""


class Mapped(NamedTuple):
    """A mapping as it stood on the wire: relative numbers, bytes of payload, whether it ends the stream."""

    ssn: int
    dsn: int
    length: int
    data_fin: bool
    checksum: int


class Flow:
    """One direction of a subflow.

    Attributes:
        scale: the shift on its SYN, ``UNKNOWN`` without the option.
        joins: its SYN had an MP_JOIN, so that this is the direction of the initiator.
        edge: right edge of its own window that the other end has read.
        allowed_at: when the segment arrived that allows to send data on this flow, ns.
        mappings: by subflow sequence number.
    """

    def __init__(self) -> None:
        self.scale = UNKNOWN
        self.joins = False
        self.edge = Arriving(1)
        self.allowed_at = NEVER
        self.mappings: dict[int, Mapped] = {}
        self._starts: list[int] = []

    def note(self, mapping: Mapped) -> None:
        """Keep a mapping; it must agree with those that were sent before."""
        known = self.mappings.get(mapping.ssn)
        if known is not None:
            hold("a mapping has changed", known == mapping, lambda: f"{known} became {mapping}")
            return
        index = bisect_right(self._starts, mapping.ssn)
        if index:
            before = self.mappings[self._starts[index - 1]]
            clear = before.ssn + before.length <= mapping.ssn
            hold("mappings overlap on a subflow", clear, lambda: f"{before} and {mapping}")
        last = index == len(self._starts)
        hold("a mapping before an earlier one", last, lambda: f"{mapping} after {self._starts[-1]}")
        self._starts.append(mapping.ssn)
        self.mappings[mapping.ssn] = mapping


class Voice:
    """What one end has said at the level of the connection. Data sequence numbers relative.

    Attributes:
        announced: the largest right edge of the shared window that was sent.
        edge: the largest one that has arrived at the other end.
        acked: the largest DATA_ACK that was sent.
        highest: the end of the data, or of the DATA_FIN, that was sent.
        fin_at: data sequence number of the DATA_FIN.
    """

    def __init__(self, connection: MptcpConnection | None = None) -> None:
        self.connection = connection
        self.announced = 1
        self.edge = Arriving(1)
        self.acked = 1
        self.highest = 1
        self.fin_at = UNKNOWN


class MptcpFaultyPath(WatchedPath[MptcpPair, PathLane]):
    """The hook of an ``MptcpPair``: faults on every path, and checks on every segment sent.

    Attributes:
        gone: addresses that their hosts have lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lanes: dict[tuple[str, str, str], PathLane] = {}
        self.flows: dict[FourTuple, Flow] = {}
        self.voices = {"c>s": Voice(), "s>c": Voice()}
        self.gone: set[str] = set()

    def lane(self, way: str, client: str, server: str) -> PathLane:
        """Return one direction of the path between two addresses."""
        return self.lanes.setdefault((way, client, server), PathLane())

    def heal(self, strips: bool) -> None:
        """Let everything through from now on, with ``strips`` its options, too."""
        for lane in self.lanes.values():
            lane.heal(strips)

    # --- What happens to a packet -----------------------------------------------------------------

    def _lane_of(self, way: str, segment: Segment) -> PathLane | None:
        path = self.pair.path_of(way, segment)
        return self.lane(way, *path) if self.gone.isdisjoint(path) else None

    def _tampered(self, lane: PathLane, segment: Segment) -> Segment:
        dss = segment.dss
        if lane.strips and lane.strip_count and options_of(segment) and STRIPPED[lane.strips](segment):
            lane.strip_count -= 1
            self.tampered += 1
            return without_mptcp(segment)
        if lane.spoil_count and dss is not None and dss.checksum != UNKNOWN and segment.length:
            lane.spoil_count -= 1
            self.tampered += 1
            segment = segment.clone()
            segment.dss = dss._replace(checksum=dss.checksum ^ 0x0101)
        return segment

    # --- What arrives -----------------------------------------------------------------------------

    def _arrives(self, way: str, segment: Segment, when: int) -> None:
        """Note what the other end learns from a segment."""
        voice = self.voices[way]
        flow = self.flows[segment.flow]
        back = self.flows.setdefault(segment.flow.reverse(), Flow())
        if segment.flags & SYN:
            if not flow.joins and not back.joins:
                voice.edge.comes(when, 1 + segment.window)
            flow.edge.comes(when, 1 + segment.window)
            return
        window = segment.window << self._shift(segment.flow)
        flow.edge.comes(when, segment.ack + window)
        if segment.dss is not None and segment.dss.data_ack_octets:
            voice.edge.comes(when, self._data_ack(way, segment.dss) + window)
        # The fourth ACK at the initiator, the third one at the responder (RFC 8684 section 3.2).
        if back.joins or any(isinstance(option, MpJoinAck) for option in segment.options or ()):
            back.allowed_at = min(back.allowed_at, when)

    def _shift(self, flow: FourTuple) -> int:
        own, peer = self.flows[flow].scale, self.flows[flow.reverse()].scale
        return own if own != UNKNOWN and peer != UNKNOWN else 0

    # --- What a segment must not say --------------------------------------------------------------

    def _check(self, way: str, segment: Segment, now: int) -> bool:
        self._check_size(segment, way)
        speaks = self._is_of_the_connection(way, segment)
        if speaks:
            self._check_segment(way, segment, now)
        return speaks

    def _check_size(self, segment: Segment, way: str) -> None:
        """RFC 9293 section 3.1: 40 bytes of options."""
        octets = option_length(segment)
        hold("more than 40 bytes of options", octets <= OPTION_SPACE, lambda: f"{way} {segment!r}: {octets}")
        length = wire_length(segment)
        right = segment.size == length
        hold("size is not that of the packet", right, lambda: f"{way} {segment!r}: {segment.size}, {length}")

    def _is_of_the_connection(self, way: str, segment: Segment) -> bool:
        """Leave out resets, and connections that stray SYNs have made."""
        connection = connection_of(self.pair.sender(way))
        if not isinstance(connection, MptcpConnection) or segment.flags & RST:
            return False
        if all(tcp.sequences is not segment.sequences for tcp in connection.subflows):
            return False
        if self.voices[way].connection is not connection:
            self.voices[way] = Voice(connection)
        return True

    def _check_segment(self, way: str, segment: Segment, now: int) -> None:
        """Check a segment of the connection."""
        connection = self.voices[way].connection
        assert connection is not None
        flow = self.flows.setdefault(segment.flow, Flow())

        def told() -> str:
            return f"{way} {segment!r} {segment.options} at {now} ns"

        tcp = next(tcp for tcp in connection.subflows if tcp.sequences is segment.sequences)
        hold("segment larger than the MTU", segment.size <= tcp.mtu, told)
        if segment.flags & SYN:
            assert segment.syn is not None
            flow.scale = segment.syn.window_scale
            flow.joins = any(isinstance(option, MpJoinSyn) for option in segment.options or ())
            return
        for option in options_of(segment):
            hold("option of another version", exists_in(option, connection.agreed.version), told)
        if connection.is_plain:
            return
        if segment.length:
            self._check_join(segment, now, told)
        mapping = self._mapping(way, segment)
        hold("data without a mapping", mapping is not None or not segment.length, told)
        if mapping is not None:
            self._check_mapping(way, segment, mapping, now, told)
        if segment.dss is not None and segment.dss.data_ack_octets:
            self._check_data_ack(way, segment, told)

    def _check_join(self, segment: Segment, now: int, told: Callable[[], str]) -> None:
        """RFC 8684 section 3.2: no data before the handshake of a join is complete."""
        flow, back = self.flows[segment.flow], self.flows.get(segment.flow.reverse())
        if flow.joins or (back is not None and back.joins):
            early = flow.allowed_at > now
            hold("data before the handshake of a join is over", not early, lambda: f"{told()} {flow.joins}")

    def _mapping(self, way: str, segment: Segment) -> Mapped | None:
        """Return the mapping that a segment carries; RFC 8684 section 3.1 has one without a DSS."""
        connection = self.voices[way].connection
        assert connection is not None
        dss = segment.dss
        if dss is not None and dss.dsn_octets and not dss.is_infinite():
            dsn = self._relative(dss.dsn, dss.dsn_octets, connection.agreed.local_key.idsn)
            length = dss.data_level_length - (1 if dss.data_fin else 0)
            return Mapped(dss.ssn, dsn, length, dss.data_fin, dss.checksum)
        for option in segment.options or ():
            if isinstance(option, MpCapable) and option.data_level_length != UNKNOWN:
                return Mapped(1, 1, option.data_level_length, False, option.checksum)
        return None

    def _check_mapping(
        self, way: str, segment: Segment, mapping: Mapped, now: int, told: Callable[[], str]
    ) -> None:
        """RFC 8684 sections 3.3.1 and 3.3.3."""
        voice = self.voices[way]
        connection = voice.connection
        assert connection is not None
        if mapping.data_fin:
            fin_at = mapping.dsn + mapping.length
            hold("DATA_FIN has moved", voice.fin_at in (UNKNOWN, fin_at), lambda: f"{told()}: {voice.fin_at}")
            hold("DATA_FIN without a close", connection.closing, told)
            hold("DATA_FIN in the midst of data", fin_at == connection.written + 1, told)
            voice.fin_at = fin_at
            voice.highest = max(voice.highest, fin_at + 1)
        if not mapping.length:
            hold("a DATA_FIN alone has a subflow sequence number", mapping.ssn == 0, told)
            return
        self.flows[segment.flow].note(mapping)
        inside = mapping.ssn <= segment.seq
        inside = inside and segment.seq + segment.length <= mapping.ssn + mapping.length
        hold("a segment beyond its mapping", inside, told)
        dsn = mapping.dsn + segment.seq - mapping.ssn
        hold("payload is not that of the mapping", segment.offset == dsn - 1, told)
        end = dsn + segment.length
        hold("data that nobody wrote", end <= connection.written + 1, told)
        voice.highest = max(voice.highest, end)
        edge = self.voices[BACK[way]].edge.until(now)
        heeds = connection.config.mptcp.connection_window
        hold(
            "data beyond the right edge",
            end <= edge or not heeds,
            lambda: f"{told()}: the peer offered up to {edge}",
        )

    def _check_data_ack(self, way: str, segment: Segment, told: Callable[[], str]) -> None:
        """RFC 8684 sections 3.3.2 and 3.3.4."""
        assert segment.dss is not None
        voice, other = self.voices[way], self.voices[BACK[way]]
        connection = voice.connection
        assert connection is not None
        ack = self._data_ack(way, segment.dss)
        arrived = connection.delivered + 1 + (1 if connection.peer_closed else 0)
        hold("DATA_ACK ahead of the data", ack <= arrived, lambda: f"{told()}: {ack}, {arrived}")
        hold("DATA_ACK of what was not sent", ack <= other.highest, lambda: f"{told()}: {other.highest}")
        hold("DATA_ACK moved back", ack >= voice.acked, lambda: f"{told()}: {ack} after {voice.acked}")
        voice.acked = ack
        edge = ack + (segment.window << self._shift(segment.flow))
        kept = edge >= voice.announced or connection.config.mptcp.receive_window != "connection"
        hold("shared right edge moved left", kept, lambda: f"{told()}: {edge} < {voice.announced}")
        voice.announced = edge

    def _data_ack(self, way: str, dss: Dss) -> int:
        connection = self.voices[way].connection
        assert connection is not None
        return self._relative(dss.data_ack, dss.data_ack_octets, connection.agreed.remote_key.idsn)

    @staticmethod
    def _relative(wire: int, octets: int, idsn: int) -> int:
        """Return a relative number; no stream of a machine is so long that 32 bits are ambiguous."""
        return (wire - idsn) & (_64_BITS if octets == 8 else _64_BITS >> 32)
