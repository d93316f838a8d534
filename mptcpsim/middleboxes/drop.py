"""A box that drops packets."""

from __future__ import annotations

from mptcpsim.core.segment import Packet
from mptcpsim.middleboxes.matching import MatchingBox
from mptcpsim.plugins import register


@register
class Drop(MatchingBox):
    """Drops what matches: a firewall, or the loss of exactly that packet."""

    NAME = "drop"
    SUMMARY = "drops the packets that match: a firewall, or the loss of exactly these packets"

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Drop."""
        return None
