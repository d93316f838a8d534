"""Data that has arrived on a subflow, and the mappings that place it in the stream.

Usually a segment carries its own mapping and is delivered at once. A mapping may also span several
segments, or arrive before or after its data. If it has a checksum, its bytes are delivered only when
all of them have arrived (RFC 8684 section 3.3.1).
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.dss_checksum import checksum_is_right, payload_sum
from mptcpsim.core.mptcp.fail_signal import FailSignal
from mptcpsim.core.mptcp.kept_segments import KeptSegments
from mptcpsim.core.mptcp.mappings import Mapping, ReceivedMappings
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.stages import PLAIN
from mptcpsim.core.mptcp_options import REASON_MPTCP_SPECIFIC
from mptcpsim.core.payload import content, content_is
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import NEVER

_32_BITS: Final = 0xFFFFFFFF
_64_BITS: Final = 0xFFFFFFFFFFFFFFFF


class MappedData:
    """The receiving side of one subflow; sequence numbers are relative ones of the subflow.

    Attributes:
        delivered_end: sequence number up to which data was delivered to the connection.
        current_dsn: DSN of the segment being taken, if it is next in order and its mapping covers exactly
            that segment; else ``UNKNOWN``.
        current_ssn, current_length: sequence number and length of that mapping.
    """

    __slots__ = (
        "_arrived",
        "_fail",
        "_inbound",
        "_matched",
        "_segments",
        "_subflow",
        "current_dsn",
        "current_length",
        "current_ssn",
        "delivered_end",
        "received",
    )

    def __init__(self, subflow: SubflowState, inbound: DataReceiver, fail: FailSignal) -> None:
        self._subflow = subflow
        self._inbound = inbound
        self._fail = fail
        self.delivered_end: int = 1
        self.current_dsn: int = UNKNOWN
        self.current_ssn: int = 0
        self.current_length: int = 0
        #: Other mappings, for data that is not complete or has not arrived.
        self.received = ReceivedMappings()
        #: Up to here data is in order.
        self._arrived: int = 1
        #: Bytes to be checked once their mapping is known and complete: the first copy of each.
        self._segments = KeptSegments()
        #: The segment being taken, if its bytes were checked against its mapping already.
        self._matched: Segment | None = None

    def begin(self) -> None:
        """Begin to take a segment whose mapping is not known yet."""
        self.current_dsn = UNKNOWN

    def take_whole(self, segment: Segment, dsn: int) -> None:
        """The segment is next in order, and its mapping covers just it."""
        self.current_dsn = dsn
        self.current_ssn = segment.seq
        self.current_length = segment.length

    def covers(self, segment: Segment) -> bool:
        """Return whether a mapping of the first byte of a segment is known."""
        return self.current_dsn != UNKNOWN or self.received.at(segment.seq) is not None

    def take(self, mapping: Mapping, segment: Segment, now: int) -> bool:
        """Take a mapping and the segment that brought it; return False if the subflow was reset for it."""
        subflow = self._subflow
        connection = subflow.connection
        if mapping.ssn + mapping.length <= self.delivered_end:
            return True
        exact = mapping.ssn == segment.seq and mapping.length == segment.length
        exact = exact and not connection.agreed.checksum
        if exact and (connection.received_bytes is not None or content_is(segment, mapping.dsn - 1)):
            in_order = segment.seq == subflow.tcp.receiver.nxt and self.delivered_end == segment.seq
            if in_order and self.received.begin_at(segment.seq + segment.length):
                self.take_whole(segment, mapping.dsn)
                return True
            if connection.received_bytes is None:
                self._matched = segment
        if not self.received.add(mapping):
            connection.count("MPTcpExtDSSNotMatching")
            subflow.reset(REASON_MPTCP_SPECIFIC, "a mapping changed", now)
            return False
        if self.delivered_end < self._arrived:
            # It came after its data.
            self._drain(now)
        return not subflow.tcp.ended

    def keep(self, segment: Segment, left: int, right: int) -> None:
        """Keep bytes that the subflow has taken, unless they were judged by their mapping already."""
        if self.current_dsn != UNKNOWN:
            if self._subflow.connection.received_bytes is None:
                return
            if left == self.delivered_end:
                # They are delivered next.
                self._take_new(segment, left, right, self.current_dsn + left - self.current_ssn)
                return
        elif segment is self._matched:
            return
        self._segments.add(segment.part(left, right))

    def deliver(self, left: int, length: int, now: int) -> None:
        """Take bytes that are in order on this subflow: deliver mapped bytes and hold the others."""
        right = left + length
        self._arrived = right
        dsn = self.current_dsn
        if dsn != UNKNOWN:
            self.current_dsn = UNKNOWN
            if self.delivered_end == left and self.current_ssn == left and self.current_length == length:
                self.delivered_end = right
                self._inbound.on_data(dsn, length, self._subflow, now)
                return
            self._take_current(dsn, left, length, now)
        self._drain(now)
        if self._fail.dsn >= 0 and self._subflow.is_active and self._unmapped_follows():
            self._subflow.connection.on_fail_answered(self._subflow, now)

    def _take_current(self, dsn: int, left: int, length: int, now: int) -> None:
        """Deliver what the mapping of the present segment covers, or keep the mapping for later."""
        own = self.current_length
        alone = not len(self._segments) and self.received.begin_at(self.current_ssn + own)
        if alone and self.delivered_end == left == self.current_ssn and own < length and not self._stopped():
            # The segment has filled a gap, and data with mappings of its own follows.
            self.delivered_end = left + own
            self._inbound.on_data(dsn, own, self._subflow, now)
        else:
            self.received.add(Mapping(self.current_ssn, dsn, own, False))

    def _unmapped_follows(self) -> bool:
        """Return whether data in order goes on where the mappings end."""
        seq = self.delivered_end
        while seq < self._arrived:
            mapping = self.received.at(seq)
            if mapping is None:
                return True
            seq = mapping.ssn + mapping.length
        return False

    def _drain(self, now: int) -> None:
        subflow = self._subflow
        connection = subflow.connection
        received = self.received
        while self.delivered_end < self._arrived and not self._stopped():
            mapping = received.at(self.delivered_end)
            if mapping is None:
                if not self._skip_unmapped():
                    break
                continue
            end = min(mapping.ssn + mapping.length, self._arrived)
            if connection.agreed.checksum and end < mapping.ssn + mapping.length:
                break
            if not self._verify(mapping, self.delivered_end, end, now):
                return
            left, self.delivered_end = self.delivered_end, end
            received.forget_below(end)
            self._inbound.on_data(mapping.dsn + left - mapping.ssn, end - left, subflow, now)
        self._segments.forget_below(self.delivered_end)
        if self.unmapped():
            self._inbound.on_unmapped(now)

    def unmapped(self) -> int:
        """Return how many bytes wait for a mapping that has not come."""
        if (
            self.delivered_end >= self._arrived
            or self._stopped()
            or self.received.at(self.delivered_end) is not None
        ):
            return 0
        return self._arrived - self.delivered_end

    def _stopped(self) -> bool:
        subflow = self._subflow
        return subflow.tcp.ended or subflow.stage == PLAIN or self._fail.dsn >= 0

    def _skip_unmapped(self) -> bool:
        """Drop data without a mapping where the profile does not hold it; return whether it did."""
        if self._subflow.connection.config.mptcp.hold_unmapped:
            return False
        later = [m.ssn for m in self.received.mappings if m.ssn > self.delivered_end]
        self.delivered_end = min(min(later), self._arrived) if later else self._arrived
        return True

    def _verify(self, mapping: Mapping, left: int, right: int, now: int) -> bool:
        """Take bytes that were kept, once the checksum of their mapping is right."""
        subflow = self._subflow
        connection = subflow.connection
        if not connection.agreed.checksum:
            if not len(self._segments):
                return True
            for segment in self._segments.between(left, right):
                low = max(segment.seq, left)
                high = min(segment.seq + segment.length, right)
                self._take_new(segment, low, high, mapping.dsn + low - mapping.ssn)
            return True
        end = mapping.ssn + mapping.length
        segments = self._segments.between(mapping.ssn, end)
        data = _join(segments, mapping.ssn, end)
        length = mapping.length + 1 if mapping.data_fin else mapping.length
        dsn = (self._inbound.idsn + mapping.dsn) & _64_BITS
        if not checksum_is_right(dsn, mapping.ssn & _32_BITS, length, payload_sum(data), mapping.checksum):
            connection.on_checksum_failure(subflow, mapping, now)
            return False
        for segment in segments:
            low = max(segment.seq, left)
            high = min(segment.seq + segment.length, end)
            self._take_new(segment, low, high, mapping.dsn + low - mapping.ssn)
        return True

    def _take_new(self, segment: Segment, low: int, high: int, dsn: int) -> None:
        """Take the content of the bytes [low, high) of a segment, as far as they are new to the connection.

        Old ones are duplicates whatever they are: Linux's window probe has the number of the last byte that
        was acknowledged, and the content of the next one.
        """
        connection = self._subflow.connection
        for left, right in self._inbound.unreceived(dsn, dsn + high - low):
            connection.take_new(segment, low + left - dsn, low + right - dsn, left - 1)

    def stop(self) -> None:
        """The subflow has ended: what waits for its turn there is never delivered."""
        self._segments.clear()

    def skip_to(self, seq: int, dsn: int) -> bool:
        """Map everything from ``seq`` on to the stream from ``dsn`` on, and drop held data below ``seq``.

        Return False if data has not arrived so far, or what has arrived belongs elsewhere.
        """
        if not self.delivered_end <= seq <= self._arrived:
            return False
        shift = dsn - seq
        if any(m.dsn - m.ssn != shift for m in self.received.mappings if m.ssn + m.length > seq):
            return False
        self.delivered_end = seq
        return True

    def ssn_of_next_dsn(self) -> int:
        """Return the subflow sequence number of the next DSN, by the mapping of the first byte held."""
        mapping = self.received.at(self.delivered_end)
        dsn = self._inbound.nxt
        return self.delivered_end if mapping is None else mapping.ssn + dsn - mapping.dsn

    def release(self, shift: int) -> int:
        """Go over to plain TCP: take the bytes that were held; return how many there are.

        Args:
            shift: stream offset minus relative sequence number of the subflow, of any byte from now on.
        """
        for segment in self._segments.between(self.delivered_end, NEVER):
            low = max(segment.seq, self.delivered_end)
            high = segment.seq + segment.length
            self._subflow.connection.take_new(segment, low, high, low + shift)
        held = self._arrived - self.delivered_end
        self.delivered_end = self._arrived
        self._segments.clear()
        return held


def _join(segments: list[Segment], left: int, right: int) -> bytes:
    """Return the bytes of a subflow from ``left`` to ``right``, which these segments have all of."""
    data = bytearray(right - left)
    for segment in segments:
        low = max(segment.seq, left)
        high = min(segment.seq + segment.length, right)
        data[low - left : high - left] = content(segment)[low - segment.seq : high - segment.seq]
    return bytes(data)
