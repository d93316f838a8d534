"""A box that changes what is said: an application-level gateway."""

from __future__ import annotations

from typing import ClassVar, Final

from mptcpsim.codec.options import wire_length
from mptcpsim.core.payload import content
from mptcpsim.core.segment import ACK, RST, SYN, FourTuple, Packet, Segment
from mptcpsim.middleboxes.matching import MATCH_PARAMETERS, MatchingBox
from mptcpsim.plugins import Parameter, PluginError, Value, register

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31

#: An edit that lies so many bytes back is part of the constant shift of its flow.
_SETTLED: Final = 1 << 30

#: What is inserted, over and over.
_FILLER: Final = b"ALG "


class _Edit:
    """A change at a place of a stream: ``removed`` bytes from ``at`` on become ``text``."""

    __slots__ = ("at", "removed", "text")

    def __init__(self, at: int, removed: int, text: bytes) -> None:
        self.at = at
        self.removed = removed
        self.text = text


class _Stream:
    """What was changed in one direction of a connection. Numbers as on the wire, before the change.

    Attributes:
        shift: by how much the numbers behind all settled edits differ.
        edits: those that segments may still touch, in order.
    """

    __slots__ = ("edits", "shift")

    def __init__(self) -> None:
        self.shift: int = 0
        self.edits: list[_Edit] = []

    def add(self, at: int, removed: int, text: bytes) -> None:
        """Note an edit, unless it touches one that was made before."""
        for edit in self.edits:
            if not (_behind(at, edit.at + max(1, edit.removed)) or _behind(edit.at, at + max(1, removed))):
                return
        self.edits.append(_Edit(at, removed, text))
        self.edits.sort(key=lambda edit: _distance(edit.at, at))

    def settle(self, seq: int) -> None:
        """Forget the places of edits that lie far behind."""
        while self.edits and _distance(seq, self.edits[0].at) > _SETTLED:
            edit = self.edits.pop(0)
            self.shift += len(edit.text) - edit.removed

    def shift_at(self, seq: int) -> int:
        """Return what is to be added to a sequence number before the change."""
        shift = self.shift
        for edit in self.edits:
            if len(edit.text) == edit.removed:
                continue
            if _behind(seq, edit.at + edit.removed) and seq != edit.at:
                shift += len(edit.text) - edit.removed
            elif _behind(seq, edit.at + 1):
                # In the midst of what was removed: its end.
                shift += len(edit.text) - _distance(seq, edit.at)
        return shift

    def shift_back(self, ack: int) -> int:
        """Return what is to be added to an acknowledgment of the changed stream."""
        shift = self.shift
        for edit in self.edits:
            if len(edit.text) == edit.removed:
                continue
            start = edit.at + shift
            if _behind(ack, start + len(edit.text)) and (edit.removed or ack != start & _MASK):
                shift += len(edit.text) - edit.removed
            elif _behind(ack, start + 1):
                # In the midst of what was inserted: nothing behind it has arrived.
                return _distance(edit.at, ack)
        return -shift

    def apply(self, seq: int, data: bytes) -> bytes:
        """Return the bytes that a segment carries after the change."""
        parts = []
        done = 0
        for edit in self.edits:
            start = _distance(edit.at, seq)
            end = start + edit.removed
            if len(edit.text) == edit.removed:
                # Byte by byte, so that a segment may begin or end within it.
                first, last = max(start, done), min(end, len(data))
                if first < last:
                    parts += [data[done:first], edit.text[first - start : last - start]]
                    done = last
            elif 0 <= start < len(data):
                parts += [data[done:start], edit.text]
                done = end
            elif start < 0 < end:
                done = max(done, end)
        return b"".join((*parts, data[done:]))


def _distance(one: int, other: int) -> int:
    """Return how far a number lies behind another one, less than 0 if in front of it."""
    delta = (one - other) & _MASK
    return delta - (1 << 32) if delta >= _HALF else delta


def _behind(one: int, other: int) -> bool:
    """Return whether a number is another one or lies behind it."""
    return _distance(one, other) >= 0


@register
class Payload(MatchingBox):
    """Changes the payload of the segments that match, and mends the checksum of TCP.

    ``flip`` bytes at ``offset`` are inverted, or ``remove`` bytes make room for ``insert`` others; then
    all numbers behind them are shifted, and acknowledgments back again. What was changed once is changed
    in the same way when it is sent again.

    TCP notices nothing: the run ends with "the bytes delivered are not those sent". The checksum of a DSS
    finds it, and the subflow is reset; but on the only subflow of a connection MPTCP gives way, so that
    gateways can do their work (RFC 8684 section 3.7), and the changed bytes are delivered. A segment that
    grows may grow beyond the MTU.
    """

    NAME = "payload"
    SUMMARY = "changes payload and mends the TCP checksum, as an application-level gateway"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("offset", 0, "place in the payload of the segment, bytes", 0),
        Parameter("flip", 1, "bytes that are inverted; of no account with insert or remove", 1),
        Parameter("insert", 0, "bytes that are inserted", 0),
        Parameter("remove", 0, "bytes that are removed", 0),
        *(
            parameter._replace(default="data") if parameter.name == "match" else parameter
            for parameter in MATCH_PARAMETERS
        ),
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: more is inserted than a segment can hold.
        """
        super().configure(values)
        offset, flip, insert, remove = (values[name] for name in ("offset", "flip", "insert", "remove"))
        assert isinstance(offset, int)
        assert isinstance(flip, int)
        assert isinstance(insert, int)
        assert isinstance(remove, int)
        if insert > 1400:
            raise PluginError(f"middlebox 'payload': insert {insert} fits into no segment: 1400 at most")
        self._offset: int = offset
        self._flip: int = flip
        self._insert: int = insert
        self._remove: int = remove
        self._streams: dict[FourTuple, _Stream] = {}

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Note what is to be changed at this place, and change it."""
        if isinstance(packet, Segment) and not packet.damaged and packet.length > self._offset:
            start = packet.sequences.wire_seq(packet.seq) + self._offset + (1 if packet.flags & SYN else 0)
            data = content(packet)[self._offset :]
            stream = self._streams.setdefault(packet.flow, _Stream())
            if self._insert or self._remove:
                removed = min(self._remove, len(data))
                stream.add(start & _MASK, removed, (_FILLER * self._insert)[: self._insert])
            else:
                old = data[: self._flip]
                stream.add(start & _MASK, len(old), bytes(byte ^ 0xFF for byte in old))
        return self.on_other(packet, forward, now)

    def on_other(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Make a segment fit to what was changed before it, and before what it acknowledges."""
        if not isinstance(packet, Segment):
            return packet
        stream = self._streams.get(packet.flow)
        back = self._streams.get(packet.flow.reverse())
        if packet.flags & (SYN | RST) == SYN and not packet.length:
            # Another connection: what was changed before does not count.
            self._streams.pop(packet.flow, None)
            return packet
        segment = packet
        if stream is not None:
            segment = _changed(segment, stream)
        if back is not None and packet.flags & ACK:
            segment = _answered(segment, back)
        return segment


def _changed(segment: Segment, stream: _Stream) -> Segment:
    seq = segment.sequences.wire_seq(segment.seq)
    stream.settle(seq)
    shift = stream.shift_at(seq)
    data = content(segment)
    changed = stream.apply(seq, data)
    if not shift and changed == data:
        return segment
    other = segment.clone()
    other.seq += shift
    if changed != data:
        other.payload = changed
        other.length = len(changed)
        other.corrupt_payload = False
        other.size = wire_length(other)
    return other


def _answered(segment: Segment, stream: _Stream) -> Segment:
    numbers = segment.sequences
    shift = stream.shift_back(numbers.wire_ack(segment.ack))
    sack = None
    if segment.sack:
        sack = tuple(
            (
                left + stream.shift_back(numbers.wire_ack(left)),
                right + stream.shift_back(numbers.wire_ack(right)),
            )
            for left, right in segment.sack
        )
    if not shift and sack == segment.sack:
        return segment
    other = segment.clone()
    other.ack += shift
    other.sack = sack
    return other
