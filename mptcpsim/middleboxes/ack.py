"""A box that acknowledges data before its receiver does."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.codec.options import wire_length
from mptcpsim.core.segment import ACK, RST, SYN, FourTuple, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.middleboxes.matching import MATCH_PARAMETERS, MatchingBox
from mptcpsim.plugins import Parameter, register


class _Heard:
    """What the box knows of the receiver of a flow: its window, timestamp; and what it has acknowledged."""

    __slots__ = ("next", "ts_val", "window")

    def __init__(self, next_: int) -> None:
        self.next = next_
        self.window: int = UNKNOWN
        self.ts_val: int = UNKNOWN


@register
class EarlyAck(MatchingBox):
    """Acknowledges data that passes, in the receiver's name, as performance-enhancing proxies do.

    Honda et al. (IMC 2011) found such boxes. The data goes on, and the receiver's own ACKs pass, too; the
    window is the one that the receiver has offered last. Data that is lost *behind* the box is
    never sent again by TCP. The ACKs have no DATA_ACK, which is why MPTCP has one: it sends such data
    again on another subflow (RFC 8684 section 3.3.2), or, if the first data is acknowledged so, takes the
    path for one that knows no MPTCP (section 3.7).
    """

    NAME = "ack"
    SUMMARY = "acknowledges data in its receiver's name before that has it"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        *(
            parameter._replace(default="data") if parameter.name == "match" else parameter
            for parameter in MATCH_PARAMETERS
        ),
    )

    def start(self) -> None:
        """Begin: nothing was heard."""
        self._heard: dict[FourTuple, _Heard] = {}

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Note what the receiver says, and acknowledge what matches."""
        acts = self.matches(packet, forward, now)
        if not isinstance(packet, Segment) or packet.damaged or packet.flags & RST:
            return packet
        flow = packet.flow
        if packet.flags & SYN:
            self._heard[flow] = _Heard((packet.sequences.wire_seq(packet.seq) + 1) & 0xFFFFFFFF)
        back = self._heard.get(flow.reverse())
        if packet.syn is not None:
            if back is not None:
                # The window of a SYN is not scaled (RFC 7323 section 2.2).
                back.window = packet.window >> max(0, packet.syn.window_scale)
                back.ts_val = packet.ts_val
            return packet
        if back is not None and packet.flags & ACK:
            back.window = packet.window
            back.ts_val = packet.ts_val
            acked = packet.sequences.wire_ack(packet.ack)
            if (acked - back.next) & 0xFFFFFFFF < 1 << 31:
                back.next = acked
        heard = self._heard.get(flow)
        if heard is None or packet.sequences.wire_seq(packet.seq) != heard.next:
            return packet
        heard.next = packet.sequences.wire_seq(packet.end)
        if acts and packet.length and heard.window != UNKNOWN:
            self.send(self._ack(packet, heard), not forward)
        return packet

    @staticmethod
    def _ack(data: Segment, heard: _Heard) -> Segment:
        stamped = heard.ts_val != UNKNOWN and data.ts_val != UNKNOWN
        ack = Segment(
            data.flow.reverse(),
            0,
            data.sequences.reverse(),
            ACK,
            data.ack,
            data.seq + data.length,
            heard.window,
            0,
            heard.ts_val if stamped else UNKNOWN,
            data.ts_val if stamped else UNKNOWN,
            None,
            0,
        )
        ack.size = wire_length(ack)
        return ack
