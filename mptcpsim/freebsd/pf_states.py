"""The states of pf: how a packet finds one, how long it lives, and how many there may be.

pf follows a TCP connection by the flags that it sees (``pf_test_state_tcp`` in FreeBSD's pf.c), and each
stage has a timeout. That is done here where it matters: where a rule limits its states, or the file says
how long they live. Otherwise states live until ``clear``; with the usual timeouts, of a day for
an open connection, no packet of a simulation could tell the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from mptcpsim.core.segment import ACK, FIN, RST, SYN
from mptcpsim.freebsd.addresses import FiveTuple
from mptcpsim.freebsd.pf_conf import Limits, PfRule
from mptcpsim.freebsd.pf_state_options import TIMEOUTS
from mptcpsim.units import SECOND

#: Stages of one end of a connection that pf tells apart, in their order.
_CLOSED, _SYN_SENT, _ESTABLISHED, _CLOSING, _FIN_WAIT_2, _TIME_WAIT = range(6)


class PfState:
    """A connection that a rule has let pass.

    Attributes:
        rule: it decides for all packets of the connection.
        direction: in which the first packet went, "in" or "out".
        packet: that packet.
        interface: where packets find it; empty is everywhere.
        expires: ns; 0 is never.
    """

    __slots__ = ("_ends", "complete", "direction", "expires", "interface", "packet", "rule", "timeouts")

    def __init__(self, rule: PfRule, direction: str, packet: FiveTuple, interface: str = "") -> None:
        self.rule = rule
        self.direction = direction
        self.packet = packet
        self.interface = interface
        self.expires = 0
        #: The handshake is complete, and the connection counted for its source.
        self.complete = False
        self.timeouts: Mapping[str, int] = TIMEOUTS
        self._ends = [_SYN_SENT, _CLOSED]

    def see(self, forward: bool, flags: int, now: int, first: bool = False) -> bool:
        """Follow a packet of the connection.

        Args:
            forward: it goes as the first one went.
            flags: of TCP.
            now: ns.
            first: it is the first one.

        Returns:
            Whether it has completed the handshake: the ACK of the end that sent the SYN.
        """
        ends = self._ends
        own, other = (0, 1) if forward else (1, 0)
        completes = False
        if self.packet.protocol != "tcp":
            self.expires = 0
            return False
        if flags & SYN:
            ends[own] = max(ends[own], _SYN_SENT)
        if flags & FIN:
            ends[own] = max(ends[own], _CLOSING)
        if flags & ACK and not first:
            if ends[other] == _SYN_SENT:
                ends[other] = _ESTABLISHED
                completes = ends[own] == _ESTABLISHED and not self.complete
            elif ends[other] == _CLOSING:
                ends[other] = _FIN_WAIT_2
        if flags & RST:
            ends[0] = ends[1] = _TIME_WAIT
        self.expires = now + self.timeouts[self._stage(first)] * SECOND
        return completes

    def _stage(self, first: bool) -> str:
        low, high = min(self._ends), max(self._ends)
        if first:
            return "tcp.first"
        if low >= _FIN_WAIT_2:
            return "tcp.closed"
        if low >= _CLOSING:
            return "tcp.finwait"
        if low < _ESTABLISHED:
            return "tcp.opening"
        return "tcp.closing" if high >= _CLOSING else "tcp.established"

    @property
    def over(self) -> bool:
        """Both ends are done; a SYN begins another connection."""
        return min(self._ends) >= _FIN_WAIT_2


class _Source:
    """An address that has states whose rules count sources.

    Attributes:
        states: those.
        connections: how many of them have completed their handshake.
        recent: when the last ones did.
    """

    def __init__(self) -> None:
        self.states: set[PfState] = set()
        self.connections = 0
        self.recent: deque[int] = deque()


#: A source is counted for one rule, or for all that count globally (None), by its address.
_Node = tuple[int | None, str]


class PfStates:
    """All states of a host.

    Attributes:
        follows: connections are followed, and states end.
        timeouts: seconds by name, of states whose rule has none of its own.
        most: how many there may be; 0 is no bound.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.follows = False
        self.timeouts: dict[str, int] = dict(TIMEOUTS)
        self.most = 0
        self._found: dict[FiveTuple, list[PfState]] = {}
        self._of_rule: dict[int, set[PfState]] = {}
        self._sources: dict[_Node, _Source] = {}
        self._count = 0

    # --- Looking, making, ending ---

    def find(self, key: FiveTuple, interface: str) -> PfState | None:
        """Return the state that a packet finds on an interface."""
        for state in self._found.get(key, ()):
            if state.interface in ("", interface):
                if state.expires and state.expires <= self._clock():
                    self.end(state)
                    return self.find(key, interface)
                return state
        return None

    def refusal(self, rule: PfRule, source: str) -> str:
        """Return why a rule may make no further state for an address; empty: it may."""
        limits = rule.limits
        if self.most and self._count >= self.most:
            self._end_expired(self.all())
            if self._count >= self.most:
                return f"there are {self.most} states, as many as 'set limit states' allows"
        if limits is None:
            return ""
        if limits.states and self._current(rule) >= limits.states:
            return f"the rule has {limits.states} states, as many as 'max' allows"
        node = self._sources.get(_node(rule, limits, source))
        if node is not None:
            self._end_expired(list(node.states))
            node = self._sources.get(_node(rule, limits, source))
        if node is None and limits.sources:
            self._end_expired(list(self._of_rule.get(id(rule), ())) if limits.per_rule else self.all())
            mine = {other for other in self._sources if other[0] == (id(rule) if limits.per_rule else None)}
            if len(mine) >= limits.sources:
                return f"{limits.sources} addresses have states, as many as 'max-src-nodes' allows"
        if node is not None and limits.source_states and len(node.states) >= limits.source_states:
            return f"{source} has {limits.source_states} states, as many as 'max-src-states' allows"
        return ""

    def _current(self, rule: PfRule) -> int:
        states = self._of_rule.get(id(rule), set())
        limit = rule.limits.states if rule.limits is not None else 0
        if len(states) >= limit:
            self._end_expired(list(states))
        return len(self._of_rule.get(id(rule), ()))

    def add(self, key: FiveTuple, state: PfState, flags: int) -> None:
        """Take a state that a rule has made for a packet."""
        self._found.setdefault(key, []).append(state)
        self._count += 1
        if not self.follows:
            return
        rule = state.rule
        state.timeouts = {**self.timeouts, **dict(rule.timeouts)} if rule.timeouts else self.timeouts
        state.see(True, flags, self._clock(), first=True)
        self._of_rule.setdefault(id(rule), set()).add(state)
        if rule.limits is not None:
            node = _node(rule, rule.limits, state.packet.src)
            self._sources.setdefault(node, _Source()).states.add(state)

    def end(self, state: PfState) -> None:
        """Forget a state."""
        key = key_of(state.direction, state.packet)
        states = self._found.get(key, [])
        if state not in states:
            return
        states.remove(state)
        self._count -= 1
        if not states:
            del self._found[key]
        rule = state.rule
        self._of_rule.get(id(rule), set()).discard(state)
        if rule.limits is None:
            return
        name = _node(rule, rule.limits, state.packet.src)
        if (node := self._sources.get(name)) is not None:
            node.states.discard(state)
            node.connections -= state.complete
            if not node.states:
                del self._sources[name]

    def clear(self) -> None:
        """Forget all of them."""
        self._found.clear()
        self._of_rule.clear()
        self._sources.clear()
        self._count = 0

    def all(self) -> list[PfState]:
        """Return the states, in the order of their connections' first packets."""
        return [state for found in self._found.values() for state in found]

    def _end_expired(self, states: list[PfState]) -> None:
        now = self._clock()
        for state in states:
            if state.expires and state.expires <= now:
                self.end(state)

    # --- Following connections ---

    def see(self, state: PfState, direction: str, packet: FiveTuple, flags: int) -> str:
        """Follow a packet of a state; return why it is dropped, if its source has too many connections."""
        forward = key_of(direction, packet) == key_of(state.direction, state.packet) and (
            direction == state.direction
        )
        now = self._clock()
        if not state.see(forward, flags, now):
            return ""
        limits = state.rule.limits
        if limits is None:
            return ""
        state.complete = True
        source = state.packet.src
        node = self._sources[_node(state.rule, limits, source)]
        node.connections += 1
        most, (rate, seconds) = limits.connections, limits.rate
        bad = ""
        if most and node.connections > most:
            bad = f"{source} has more than {most} connections, which is all that 'max-src-conn' allows"
        if rate:
            node.recent.append(now)
            while node.recent[0] <= now - seconds * SECOND:
                node.recent.popleft()
            if len(node.recent) > rate:
                bad = f"{source} has made more than {rate} connections in {seconds} s ('max-src-conn-rate')"
        if bad:
            self._overload(state, limits, source)
        return bad

    def _overload(self, state: PfState, limits: Limits, source: str) -> None:
        """Do what a rule says about an address with too many connections; the state is over in any case."""
        if limits.overload is not None:
            limits.overload.add_address(source)
            if limits.flush:
                for other in self.all():
                    if other.packet.src == source and (limits.flush == "global" or other.rule is state.rule):
                        self.end(other)
        self.end(state)


def key_of(direction: str, packet: FiveTuple) -> FiveTuple:
    """Return what a state is kept under: the packet as it would be inbound; ports of tcp and udp only."""
    if packet.protocol not in ("tcp", "udp"):
        packet = packet._replace(sport=0, dport=0)
    return packet if direction == "in" else packet.reverse()


def _node(rule: PfRule, limits: Limits, source: str) -> _Node:
    return (id(rule) if limits.per_rule else None), source
