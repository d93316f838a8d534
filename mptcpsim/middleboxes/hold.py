"""A box that keeps packets back."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.core.segment import Packet
from mptcpsim.middleboxes.matching import MATCH_PARAMETERS, MatchingBox
from mptcpsim.net.middlebox import HELD
from mptcpsim.plugins import Parameter, PluginError, Value, register
from mptcpsim.units import NEVER


@register
class Hold(MatchingBox):
    """Sends what matches on later: after a time, or at an instant; everything else overtakes it.

    What is held keeps its order. With ``release`` a packet that comes after that instant waits for
    ``time`` only.
    """

    NAME = "hold"
    SUMMARY = "delays the packets that match by a time, or until an instant; others overtake them"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        *MATCH_PARAMETERS,
        Parameter("time", 0, "how long a packet is held, ns", 0),
        Parameter("release", 0, "instant before which none is sent on, ns; 0: none", 0),
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: neither a time nor an instant is given.
        """
        super().configure(values)
        time, release = values["time"], values["release"]
        assert isinstance(time, int)
        assert isinstance(release, int)
        if not time and not release:
            raise PluginError("middlebox 'hold' holds nothing: give time or release")
        if time >= NEVER or release >= NEVER:
            raise PluginError("middlebox 'hold' never lets go: take 'drop' for that")
        self.time = time
        self.release = release

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Hold."""
        at = max(now + self.time, self.release)
        if at <= now:
            return packet
        self.send_at(at, packet, forward)
        return HELD
