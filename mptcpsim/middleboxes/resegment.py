"""Boxes that put the stream into other segments: ``split`` and ``coalesce``."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.codec.options import wire_length
from mptcpsim.core.payload import content
from mptcpsim.core.segment import CE, CWR, FIN, PSH, RST, SYN, URG, FourTuple, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.middleboxes.matching import MATCH_PARAMETERS, MatchingBox, chosen
from mptcpsim.net.middlebox import HELD
from mptcpsim.plugins import Parameter, Value, register
from mptcpsim.units import MILLISECOND


@register
class Split(MatchingBox):
    """Splits large segments, as segmentation offload does.

    A mapping that is on each of the pieces, or on the first of them only, says the same (RFC 8684
    section 3.3.1: a mapping may be repeated, and covers what comes after it).
    """

    NAME = "split"
    SUMMARY = "splits segments that are larger than a size"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("size", 536, "payload of a piece, at most, bytes", 1),
        Parameter("options", "each", "the pieces that get the options: each, first"),
        *MATCH_PARAMETERS,
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: options go neither on each piece nor on the first one.
        """
        super().configure(values)
        size = values["size"]
        assert isinstance(size, int)
        self._size: int = size
        self._first_only: bool = chosen(self, "options", values["options"], ("each", "first"))[0] == "first"

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Send all pieces but the last one, and return that."""
        size = self._size
        if not isinstance(packet, Segment) or packet.length <= size or packet.flags & (SYN | RST):
            return packet
        starts = range(0, packet.length, size)
        for start in starts[:-1]:
            self.send(self._piece(packet, start, size), forward)
        return self._piece(packet, starts[-1], size)

    def _piece(self, segment: Segment, start: int, size: int) -> Segment:
        piece = segment.clone()
        end = min(start + size, segment.length)
        piece.seq += start
        piece.offset += start
        piece.length = end - start
        if segment.payload is not None:
            piece.payload = segment.payload[start:end]
        if end < segment.length:
            piece.flags &= ~(FIN | PSH)
        if start:
            piece.flags &= ~CWR
            piece.corrupt_payload = False  # it is the first byte that is wrong
            if self._first_only:
                piece.ts_val = piece.ts_ecr = UNKNOWN
                piece.dss = piece.options = piece.sack = None
        if segment.flags & URG:
            # The pointer counts from the first byte of the segment that it stands in.
            piece.urgent = max(0, segment.urgent - start)
            if not piece.urgent:
                piece.flags &= ~URG
        piece.size = wire_length(piece)
        return piece


@register
class Coalesce(MatchingBox):
    """Makes one segment of two that follow each other, with the options of the first one only.

    The first one waits for the second; anything else of its flow lets it go. The mapping of the second
    one is lost: its bytes arrive, and belong nowhere.
    """

    NAME = "coalesce"
    SUMMARY = "makes one segment of two, with the options of the first one only"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("wait", 2 * MILLISECOND, "how long a segment waits for the next one, ns", 1),
        Parameter("size", 1448, "payload of the result, at most, bytes", 2),
        *MATCH_PARAMETERS,
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        super().configure(values)
        wait, size = values["wait"], values["size"]
        assert isinstance(wait, int)
        assert isinstance(size, int)
        self._wait: int = wait
        self._size: int = size
        self._waiting: dict[FourTuple, Segment] = {}

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Hold the first segment, send the two as one when the second is here."""
        waiting = self._waiting.pop(packet.flow, None)
        if waiting is not None:
            if isinstance(packet, Segment) and self._fits(waiting, packet):
                return self._merged(waiting, packet)
            self.send(waiting, forward)
        if not isinstance(packet, Segment) or not packet.length or packet.flags & (SYN | FIN | RST | URG):
            return packet
        self._waiting[packet.flow] = packet
        self.call_at(now + self._wait, lambda: self._let_go(packet, forward))
        return HELD

    def on_other(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Do not let a flow overtake itself."""
        waiting = self._waiting.pop(packet.flow, None)
        if waiting is not None:
            self.send(waiting, forward)
        return packet

    def _fits(self, first: Segment, second: Segment) -> bool:
        """Return whether the second segment continues the first one and finds room in it."""
        sound = not first.damaged and not second.damaged
        follows = first.sequences.wire_seq(first.end) == second.sequences.wire_seq(second.seq)
        room = first.length + second.length <= self._size
        return sound and follows and room and second.length > 0 and not second.flags & (SYN | RST | URG)

    @staticmethod
    def _merged(first: Segment, second: Segment) -> Segment:
        merged = first.clone()
        merged.payload = content(first) + content(second)
        merged.corrupt_payload = False
        merged.length += second.length
        merged.size += second.length
        merged.flags |= second.flags
        # What the sender of both has said last.
        merged.ack = second.ack
        merged.window = second.window
        if CE in (first.ecn, second.ecn):
            merged.ecn = CE
        return merged

    def _let_go(self, segment: Segment, forward: bool) -> None:
        """The second segment has not come."""
        if self._waiting.get(segment.flow) is segment:
            del self._waiting[segment.flow]
            self.send(segment, forward)
