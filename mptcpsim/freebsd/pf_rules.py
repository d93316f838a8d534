"""pf at work: which rule or which state decides about a packet, and where it goes.

A packet is evaluated inbound on the interface that it arrived on and outbound on the one that the
routing look-up chose. A state that knows it decides alone; else the last rule that matches, or the
first with ``quick``; without any it passes and leaves no state (pf.conf(5)). ``route-to`` acts on
packets in the direction of its rule, ``reply-to`` on those of its states that go the other way;
a packet that is sent to another interface is evaluated outbound on that one, too.

A state is found by a packet of its connection in either direction, as seen from this host: one that
was created outbound is found outbound by the same five-tuple and inbound by the reverse one. Unless
it is bound to an interface it is found on all of them (``floating``, pf's default). So the second
evaluation, on the interface of ``route-to``, finds the state that the first one has just created,
and its rules are not asked; they are for packets that no state knows, or whose state is bound to
another interface.

Rules can send a packet back and forth. pf counts the turns of a packet, that is how often a rule or
state with ``route-to`` or ``reply-to`` decided about it, and drops it at the fifth (``pf_route`` in
FreeBSD's pf.c tests a counter of four). The same count holds here.

Simplified: sequence numbers are not checked against the state (``sloppy`` is how all states are), and
states end only where somebody counts them or says how long they live (``pf_states``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from mptcpsim.core.segment import ACK, SYN
from mptcpsim.freebsd.addresses import FiveTuple, version_of
from mptcpsim.freebsd.pf_conf import PfConf, PfRule
from mptcpsim.freebsd.pf_state_options import TIMEOUTS
from mptcpsim.freebsd.pf_states import PfState, PfStates, key_of

#: Decisions with route-to or reply-to that a packet may meet; at the next one pf drops it.
MOST_TURNS: Final = 4


class Step(NamedTuple):
    """One evaluation.

    Attributes:
        direction: "in" or "out".
        interface: on which it took place.
        action: "pass" or "block".
        rule: that decided, or that had made the state that decided; None if none matched.
        state: that decided; None if the rules did.
        created: the state that the rule made.
        sent: (interface, gateway) that ``route-to`` or ``reply-to`` sent the packet to, or None.
        limit: which limit of states the packet has met, and is dropped for; else empty.
    """

    direction: str
    interface: str
    action: str
    rule: PfRule | None = None
    state: PfState | None = None
    created: PfState | None = None
    sent: tuple[str, str] | None = None
    limit: str = ""

    def __str__(self) -> str:
        where = f"{self.direction} on {self.interface}: "
        if self.rule is None:
            return where + "no rule matches: pass"
        rule = f"line {self.rule.at.number} ({self.rule.at.text.strip()})"
        if self.state is not None:
            first = self.state.packet
            made = f"made {self.state.direction}bound by {rule}"
            text = f"the state of {first.src} > {first.dst}, {made}: {self.action}"
        else:
            text = f"rule in {rule}: {self.action}"
        if self.created is not None:
            text += ", keeps state"
        if self.limit:
            text += f" ({self.limit})"
        if self.sent is not None:
            assert self.rule.route is not None
            gateway = f" by {self.sent[1]}" if self.sent[1] else ""
            text += f", {self.rule.route.kind} {self.sent[0]}{gateway}"
        return where + text


class PfVerdict(NamedTuple):
    """What becomes of a packet.

    Attributes:
        action: "pass" or "block".
        interface: by which it leaves, when ``routed`` or outbound; else the one that it came in by.
        gateway: the next hop, when ``routed``; empty is the packet's destination.
        routed: ``route-to`` or ``reply-to`` decided where it goes, and the routing table does not.
        steps: the evaluations, in their order.
        reason: empty, or why it was dropped without a block rule.
    """

    action: str
    interface: str
    gateway: str
    routed: bool
    steps: tuple[Step, ...]
    reason: str = ""

    @property
    def rule(self) -> PfRule | None:
        """The rule that decided last; None if none matched."""
        return self.steps[-1].rule

    @property
    def answers(self) -> bool:
        """A RST goes back (``block return``)."""
        return self._blocked and self.rule is not None and self.rule.answer

    @property
    def unreachable(self) -> str:
        """The ICMP error that goes back (``block return-icmp``), or empty."""
        return self.rule.unreachable if self._blocked and self.rule is not None else ""

    @property
    def limited(self) -> bool:
        """The packet was dropped because of a limit of states."""
        return bool(self.steps[-1].limit)

    @property
    def _blocked(self) -> bool:
        """A block rule has decided."""
        return self.action == "block" and not self.reason and not self.limited

    def __str__(self) -> str:
        return "; ".join([*map(str, self.steps), *([self.reason] if self.reason else [])])


class PfRules:
    """The rules of one host, with the states that they have made.

    Attributes:
        states: that they have made.
        draw: a number from 0 to 1, 1 excluded, for ``probability``.
        on_overload: called when an address was put into a table, or states were ended, by a limit.
    """

    def __init__(
        self,
        conf: PfConf,
        clock: Callable[[], int] = lambda: 0,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self._states = PfStates(clock)
        self.draw = draw
        self.on_overload: Callable[[], None] = lambda: None
        self.conf = conf

    @property
    def conf(self) -> PfConf:
        """What pf.conf says."""
        return self._conf

    @conf.setter
    def conf(self, conf: PfConf) -> None:
        self._conf = conf
        states = self._states
        # Once states are counted they go on being counted: those of the old rules are still there.
        states.follows = states.follows or conf.follows_connections
        states.timeouts = {**TIMEOUTS, **dict(conf.timeouts)}
        states.most = conf.most_states

    @property
    def follows_connections(self) -> bool:
        """Every packet has to be shown to it: states end."""
        return self._states.follows

    def evaluate(
        self,
        direction: str,
        interface: str,
        packet: FiveTuple,
        flags: int = 0,
        quoted: FiveTuple | None = None,
        icmp: tuple[int, int] = (-1, -1),
    ) -> PfVerdict:
        """Decide about a packet; a rule that keeps state makes one.

        Args:
            direction: "in" when it arrived, "out" when it is about to leave.
            interface: by which it arrived, or by which the routing table sends it.
            packet: addresses in canonical text form.
            flags: those of TCP, as in ``core.segment``.
            quoted: of an ICMP error: the packet that it is about, whose state it follows.
            icmp: its type and code.
        """
        steps: list[Step] = []
        gateway = ""
        turns = 0
        routed = False
        while True:
            step = self._decide(direction, interface, packet, flags, quoted, icmp)
            route = step.rule.route if step.rule is not None else None
            if step.action == "block" or step.rule is None or route is None:
                steps.append(step)
                return PfVerdict(step.action, interface, gateway, routed, tuple(steps))
            turns += 1
            if turns > MOST_TURNS:
                steps.append(step)
                reason = (
                    f"dropped: route-to and reply-to have decided {MOST_TURNS} times, pf takes it for a loop"
                )
                return PfVerdict("block", interface, gateway, routed, tuple(steps), reason)
            # Replies are the packets against the direction of the rule, and only a state knows them.
            backward = step.rule.direction != direction
            if backward != (route.kind == "reply-to"):
                steps.append(step)
                return PfVerdict("pass", interface, gateway, routed, tuple(steps))
            steps.append(step._replace(sent=(route.interface, route.gateway)))
            gateway, routed = route.gateway, True
            if route.interface == interface:
                return PfVerdict("pass", interface, gateway, routed, tuple(steps))
            direction, interface = "out", route.interface

    def forget(self) -> None:
        """Remove all states (``pfctl -F states``)."""
        self._states.clear()

    def states(self) -> list[PfState]:
        """Return the states, in the order of their connections' first packets."""
        return self._states.all()

    def _decide(
        self,
        direction: str,
        interface: str,
        packet: FiveTuple,
        flags: int,
        quoted: FiveTuple | None,
        icmp: tuple[int, int],
    ) -> Step:
        if interface in self.conf.skip:
            return Step(direction, interface, "pass")
        # An ICMP error goes against the packet that it is about.
        key = (
            key_of(direction, packet)
            if quoted is None
            else key_of("out" if direction == "in" else "in", quoted)
        )
        state = self._states.find(key, interface)
        if state is not None and quoted is None and state.over and flags & (SYN | ACK) == SYN:
            self._states.end(state)  # of the connection before this one
            state = None
        if state is not None:
            return self._by_state(state, direction, interface, packet, flags, quoted)
        rule = self._last_match(direction, interface, packet, flags, icmp)
        if rule is None:
            return Step(direction, interface, "pass")
        if not rule.state:
            return Step(direction, interface, rule.action, rule)
        if refusal := self._states.refusal(rule, packet.src):
            return Step(direction, interface, "block", rule, limit=refusal)
        bound = self.conf.if_bound if rule.bound is None else rule.bound
        created = PfState(rule, direction, packet, interface if bound else "")
        self._states.add(key_of(direction, packet), created, flags)
        return Step(direction, interface, rule.action, rule, created=created)

    def _by_state(
        self,
        state: PfState,
        direction: str,
        interface: str,
        packet: FiveTuple,
        flags: int,
        quoted: FiveTuple | None,
    ) -> Step:
        if self._states.follows and quoted is None:
            limit = self._states.see(state, direction, packet, flags)
            if limit:
                self.on_overload()
                return Step(direction, interface, "block", state.rule, state, limit=limit)
        return Step(direction, interface, "pass", state.rule, state)

    def _last_match(
        self, direction: str, interface: str, packet: FiveTuple, flags: int, icmp: tuple[int, int]
    ) -> PfRule | None:
        family = version_of(packet.src)
        found = None
        for rule in self.conf.rules:
            if (
                rule.direction in ("", direction)
                and rule.concerns(interface)
                and rule.family in (0, family)
                and rule.protocol in ("", packet.protocol)
                and rule.source.matches(packet.src, packet.sport, interface)
                and rule.destination.matches(packet.dst, packet.dport, interface)
                and (rule.flags is None or packet.protocol != "tcp" or flags & rule.flags[1] == rule.flags[0])
                and (not rule.icmp_types or icmp in rule.icmp_types or (icmp[0], -1) in rule.icmp_types)
                and (rule.probability >= 1.0 or self._drawn(rule))
            ):
                if rule.quick:
                    return rule
                found = rule
        return found

    def _drawn(self, rule: PfRule) -> bool:
        if self.draw is None:
            return rule.probability > 0.5
        return self.draw() < rule.probability
