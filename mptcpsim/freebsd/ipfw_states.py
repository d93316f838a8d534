"""The states of ipfw: ``keep-state``, ``limit``, ``check-state`` (ipfw(8), STATEFUL FIREWALL).

A state belongs to the rule that made it, and has that rule's action for all packets of its connection, in
both directions and on all interfaces. It lives as long as ipfw's variables say by default: 20 s while the
connection begins, 1 s when both ends have sent a FIN or one a RST, and 300 s in between, which is for ever:
ipfw asks both ends for a sign of life before they are over (net.inet.ip.fw.dyn_keepalive), and ends here
answer. A connection whose SYN the rule has not seen keeps its state for 1 s after each packet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mptcpsim.core.segment import FIN, RST, SYN
from mptcpsim.freebsd.addresses import FiveTuple
from mptcpsim.freebsd.ipfw_objects import IpfwRule
from mptcpsim.units import SECOND

#: net.inet.ip.fw.dyn_syn_lifetime, dyn_fin_lifetime and dyn_rst_lifetime, dyn_udp_lifetime, and
#: dyn_short_lifetime.
SYN_LIFETIME: Final = 20 * SECOND
END_LIFETIME: Final = 1 * SECOND
UDP_LIFETIME: Final = 10 * SECOND
SHORT_LIFETIME: Final = 5 * SECOND

#: A rule is known by its number and by how many rules were there before it.
RulePlace = tuple[int, int]


class DynamicRule:
    """A connection that a rule keeps a state for.

    Attributes:
        place: of the rule.
        rule: that made it.
        packet: the first one.
        expires: ns; 0 is never.
        counted: what it is counted under, by ``limit``.
    """

    __slots__ = ("_seen", "counted", "expires", "packet", "place", "rule")

    def __init__(
        self, place: RulePlace, rule: IpfwRule, packet: FiveTuple, counted: tuple[object, ...]
    ) -> None:
        self.place = place
        self.rule = rule
        self.packet = packet
        self.expires = 0
        self.counted = counted
        #: Flags of TCP that each end has sent.
        self._seen = [0, 0]

    def see(self, packet: FiveTuple, flags: int, now: int) -> None:
        """Follow a packet."""
        if packet.protocol != "tcp":
            self.expires = now + (UDP_LIFETIME if packet.protocol == "udp" else SHORT_LIFETIME)
            return
        seen = self._seen
        seen[0 if packet == self.packet else 1] |= flags & (SYN | FIN | RST)
        both, either = seen[0] & seen[1], seen[0] | seen[1]
        if either & RST or not either & SYN or both & FIN:
            self.expires = now + END_LIFETIME
        elif not both & SYN:
            self.expires = now + SYN_LIFETIME
        else:
            self.expires = 0


class DynamicRules:
    """The states of one host."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._found: dict[tuple[FiveTuple, str], DynamicRule] = {}
        self._counted: dict[tuple[object, ...], set[DynamicRule]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def find(self, packet: FiveTuple, flow: str) -> DynamicRule | None:
        """Return the state of a packet's connection with a name; of any name with "any"."""
        key = _key(packet)
        names = [flow] if flow != "any" else [name for known, name in self._found if known == key]
        for name in names:
            state = self._found.get((key, name))
            if state is None:
                continue
            if state.expires and state.expires <= self._clock():
                self._end(state)
                continue
            return state
        return None

    def see(self, state: DynamicRule, packet: FiveTuple, flags: int) -> None:
        """Follow a packet of a state."""
        state.see(packet, flags, self._clock())

    def make(self, place: RulePlace, rule: IpfwRule, packet: FiveTuple, flags: int) -> str:
        """Make a state for a packet that a rule has matched; return why not, if its limit is reached."""
        now = self._clock()
        parts, most = rule.limit
        counted: tuple[object, ...] = ()
        if parts:
            values = {"src-addr": packet.src, "src-port": packet.sport, "dst-addr": packet.dst,
                      "dst-port": packet.dport}  # fmt: skip
            counted = (place, packet.protocol, *(values[part] for part in parts))
            for other in list(self._counted.get(counted, ())):
                if other.expires and other.expires <= now:
                    self._end(other)
            if len(self._counted.get(counted, ())) >= most:
                return f"limit {' '.join(parts)} {most} is reached"
        state = DynamicRule(place, rule, packet, counted)
        state.see(packet, flags, now)
        self._found[_key(packet), rule.flow] = state
        if parts:
            self._counted.setdefault(counted, set()).add(state)
        return ""

    def forget(self, places: set[RulePlace]) -> None:
        """End the states of rules that are deleted."""
        for state in [state for state in self._found.values() if state.place in places]:
            self._end(state)

    def _end(self, state: DynamicRule) -> None:
        del self._found[_key(state.packet), state.rule.flow]
        if state.counted:
            self._counted[state.counted].discard(state)
            if not self._counted[state.counted]:
                del self._counted[state.counted]


def _key(packet: FiveTuple) -> FiveTuple:
    """Return the same for both directions."""
    return min(packet, packet.reverse())
