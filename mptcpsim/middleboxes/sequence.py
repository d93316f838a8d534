"""A box that gives connections other sequence numbers."""

from __future__ import annotations

from typing import ClassVar, Final

from mptcpsim.core.segment import ACK, SYN, FourTuple, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.middleboxes.matching import DIRECTIONS, chosen
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.plugins import Parameter, Value, register

_MASK: Final = 0xFFFFFFFF

#: A shift lies below this, so that a SACK block that was left as it was can be told from others.
_LARGEST_SHIFT: Final = 1 << 30


@register
class Sequence(Middlebox):
    """Gives each direction of a connection another initial sequence number, as firewalls do.

    Sequence numbers, acknowledgment numbers and (unless told otherwise) SACK blocks are shifted to fit;
    what ICMP errors quote is not. The shift is drawn when the SYN passes. MPTCP does not mind: the
    subflow sequence numbers of a DSS count from the SYN (RFC 8684 section 3.3.1).
    """

    NAME = "sequence"
    SUMMARY = "randomises initial sequence numbers and shifts what follows from them"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "direction", "both", "whose numbers are changed, by where they go: forward, backward, both"
        ),
        Parameter("sack", True, "SACK blocks are shifted, too; boxes that forget them exist"),
    )
    RENUMBERS: ClassVar[bool] = True

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: no such direction.
        """
        direction = chosen(self, "direction", values["direction"], DIRECTIONS)[0]
        self._forward: bool = direction != "backward"
        self._backward: bool = direction != "forward"
        self._sack: bool = bool(values["sack"])
        #: By flow: the initial sequence number that its SYN had, and what is added to its numbers.
        self._shifts: dict[FourTuple, tuple[int, int]] = {}

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Shift the numbers of a segment of a connection whose SYN was seen."""
        if not isinstance(packet, Segment):
            return packet
        flow = packet.flow
        if packet.flags & SYN and (self._forward if forward else self._backward):
            start = packet.sequences.wire_seq(packet.seq)
            known = self._shifts.get(flow)
            if known is None or known[0] != start:
                self._shifts[flow] = start, self.rng.randrange(1 << 16, _LARGEST_SHIFT)
        _, own = self._shifts.get(flow, (0, 0))
        _, other = self._shifts.get(flow.reverse(), (0, 0))
        if not own and not other:
            return packet
        segment = packet.clone()
        before = packet.sequences
        segment.sequences = numbers = SequenceMap((before.iss + own) & _MASK, before.irs)
        numbers.rcv_near = before.rcv_near
        numbers.snd_near = before.snd_near
        if segment.iss != UNKNOWN:
            segment.iss = (segment.iss + own) & _MASK
        if other and packet.flags & ACK:
            numbers.irs = ((0 if before.irs == UNKNOWN else before.irs) - other) & _MASK
            if segment.sack and not self._sack:
                # The numbers on the wire stay, which the receiver reads as others.
                segment.sack = tuple((left + other, right + other) for left, right in segment.sack)
        return segment
