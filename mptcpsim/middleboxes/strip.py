"""A box that removes TCP options."""

from __future__ import annotations

from typing import ClassVar, Final

from mptcpsim.codec.options import wire_length
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.middleboxes.matching import MATCH_PARAMETERS, OPTION_TYPES, MatchingBox, chosen
from mptcpsim.plugins import Parameter, Value, register

#: What can be removed; ``mptcp`` is every option of MPTCP.
STRIPPED: Final = ("mptcp", "dss", *OPTION_TYPES, "timestamps", "sack", "wscale")


@register
class Strip(MatchingBox):
    """Removes options from the packets that match; what is left moves up, and the packet is shorter.

    ``sack`` is the permission on a SYN, and the blocks elsewhere. Without ``match`` it is all packets
    that lose the options, those of the handshake and later ones; ``match = "syn"`` and
    ``match = "non-syn"`` are the two usual kinds of such boxes.
    """

    NAME = "strip"
    SUMMARY = "removes TCP options"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("options", "mptcp", f"what is removed, a list of: {', '.join(STRIPPED)}"),
        *MATCH_PARAMETERS,
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: no such option.
        """
        super().configure(values)
        options = chosen(self, "options", values["options"], STRIPPED)
        every = "mptcp" in options
        self._dss: bool = every or "dss" in options
        named = [name for name in OPTION_TYPES if every or name in options]
        self._types: tuple[type, ...] = tuple(kind for name in named for kind in OPTION_TYPES[name])
        self._timestamps: bool = "timestamps" in options
        self._sack: bool = "sack" in options
        self._wscale: bool = "wscale" in options

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Return the packet without the options, itself if it has none of them."""
        if not isinstance(packet, Segment) or not self._concerns(packet):
            return packet
        segment = packet.clone()
        if self._dss:
            segment.dss = None
        if segment.options:
            kept = tuple(option for option in segment.options if not isinstance(option, self._types))
            segment.options = kept or None
        if self._timestamps:
            segment.ts_val = segment.ts_ecr = UNKNOWN
        if self._sack:
            segment.sack = None
        if segment.syn is not None:
            if self._sack:
                segment.syn = segment.syn._replace(sack_permitted=False)
            if self._wscale:
                segment.syn = segment.syn._replace(window_scale=UNKNOWN)
        segment.size = wire_length(segment)
        return segment

    def _concerns(self, segment: Segment) -> bool:
        """Return whether a segment has anything that is to go."""
        syn = segment.syn
        return (
            (self._dss and segment.dss is not None)
            or any(isinstance(option, self._types) for option in segment.options or ())
            or (self._timestamps and segment.ts_val != UNKNOWN)
            or (self._sack and (bool(segment.sack) or (syn is not None and syn.sack_permitted)))
            or (self._wscale and syn is not None and syn.window_scale != UNKNOWN)
        )
