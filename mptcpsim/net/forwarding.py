"""What hosts and routers have in common: the way of a packet through a node that speaks IP.

    inbound filters -> for the node itself? -> routing (rules, tables) -> outbound filters -> the link

``judge`` is that way; its outcome is a ``Course``. It is computed for the first packet of a flow (for
each interface by which the flow comes in) and kept until something changes: a route, a rule, an
address, a tap, the state of a filter. A node without filters pays for nothing but the look-up of the
kept course. **To see why** a packet goes where it goes, ``trace`` runs the same code and returns every
step as a sentence; ``net.walk.walk`` does so from node to node.
"""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple, TypeVar

from mypy_extensions import mypyc_attr

from mptcpsim.core.segment import (
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    reset_for,
)
from mptcpsim.net.course import INBOUND, OUTBOUND, CarryingNode, Course, Dropped, Leaving, Queued, Taken
from mptcpsim.net.node import DROP_DOWN, Interface
from mptcpsim.net.policy import PacketFilter, Verdict
from mptcpsim.net.routing import Route, RoutingTable
from mptcpsim.net.rules import BLACKHOLE, LOOPBACK, RuleList, within
from mptcpsim.sim.loop import Loop

# Reasons of drops.
NO_ROUTE: Final = "no-route"
#: No node on the link answers for the next hop; for the destination, which routing has on the link.
NO_GATEWAY: Final = "no-gateway"
NO_HOST: Final = "no-host"
TTL: Final = "ttl"
TOO_BIG: Final = "too-big"
NOT_LOCAL: Final = "not-local"
#: The source is an address that the node has not, or has no longer.
NO_ADDRESS: Final = "no-address"
# Reasons of drops behind the node, for those who trace.
NO_LINK: Final = "no-link"
DOWN: Final = "down"

#: Flows that a node remembers for each interface, at most.
CACHE_SIZE: Final = 1 << 12

#: Queues on the way of one packet through one node, at most, when it is traced.
_MOST_QUEUES: Final = 100


class RoutingDecision:
    """What routing says: a route, or why there is none.

    Attributes:
        route: the one to take, or None.
        reason: without a route: ``no-route``, or what a rule says (``blackhole``...).
    """

    __slots__ = ("reason", "route")

    def __init__(self, route: Route | None, reason: str = "") -> None:
        self.route = route
        self.reason = reason


#: No route matches.
NOWHERE: Final = RoutingDecision(None, NO_ROUTE)


class NodeTrace(NamedTuple):
    """What becomes of a packet at one node.

    Attributes:
        steps: why, a sentence each.
        interface: by which it leaves; None if it does not.
        next_hop: the address that it is sent to on that link.
        neighbour: the interface where it arrives, or None.
        taken: it is for the node itself.
        reason: why it is dropped; else empty.
    """

    steps: tuple[str, ...]
    interface: Interface | None
    next_hop: str
    neighbour: Interface | None
    taken: bool
    reason: str


_Kept = TypeVar("_Kept", bound=Course)


def remember(kept: dict[FourTuple, _Kept], flow: FourTuple, course: _Kept, most: int = CACHE_SIZE) -> None:
    """Keep the course of a flow; of too many the older half is forgotten, and judged anew if it goes on."""
    if len(kept) >= most:
        for old in list(kept)[: most // 2]:
            del kept[old]
    kept[flow] = course


@mypyc_attr(allow_interpreted_subclasses=True)
class IpNode(CarryingNode):
    """A node with routing tables, rules and filters.

    Attributes:
        routes: the routing table ``main``.
        filters: asked about every packet, in this order; see ``add_filter``.
        tables: routing tables by name; ``main`` is ``routes``.
        rules: which table is asked; None: ``main``. See ``use_rules``.
        hash_seed: of the choice among equal routes.
        arp_ignore: answer only for addresses of the interface that is asked, as FreeBSD does and
            Linux with this sysctl at 1; else for all addresses at each interface.
    """

    __slots__ = (
        "_kept",
        "_steps",
        "arp_ignore",
        "filters",
        "hash_seed",
        "routes",
        "rules",
        "tables",
    )

    def __init__(self, loop: Loop, name: str) -> None:
        super().__init__(loop, name)
        self.routes = RoutingTable()
        self.filters: list[PacketFilter] = []
        self.tables: dict[str, RoutingTable] = {self.routes.name: self.routes}
        self.rules: RuleList | None = None
        self.hash_seed: int = zlib.crc32(name.encode())
        self.arp_ignore: bool = False
        #: By name of the interface that packets came in by (empty: own ones) and flow.
        self._kept: dict[str, dict[FourTuple, Course]] = {}
        #: Sentences of the trace that is under way.
        self._steps: list[str] | None = None
        self.routes.on_change = self.invalidate

    # --- Configuration ----------------------------------------------------------------------------

    def add_filter(self, added: PacketFilter) -> None:
        """Ask a filter about every packet from now on, behind the others."""
        self.filters.append(added)
        added.on_change = self.invalidate
        self.invalidate()

    def add_table(self, name: str) -> RoutingTable:
        """Return the routing table of a name, a new one if there is none yet."""
        table = self.tables.get(name)
        if table is None:
            table = RoutingTable(name)
            table.on_change = self.invalidate
            self.tables[name] = table
            self.invalidate()
        return table

    def use_rules(self, rules: RuleList) -> None:
        """Choose the table for each packet by rules from now on; call it again when they have changed."""
        self.rules = rules
        self.invalidate()

    def invalidate(self) -> None:
        """Forget what was decided."""
        self.version += 1
        self._kept.clear()

    def answers(self, address: str, asked: Interface) -> bool:
        """Return whether the node answers for an address at an interface."""
        found = self.addresses.get(address)
        return found is not None and (found is asked or not self.arp_ignore)

    # --- Routing ----------------------------------------------------------------------------------

    def decide(self, packet: Packet, received: Interface | None) -> RoutingDecision:
        """Return where a packet goes, by rules and tables.

        A subclass may look at more, but at nothing that differs between packets of a flow: the
        answer is kept until ``invalidate``.

        Args:
            packet: the packet.
            received: the interface by which it came; None for a packet of the node's own.
        """
        return self.route_for(packet.flow, LOOPBACK if received is None else received.name)

    def route_for(self, flow: FourTuple, received: str = LOOPBACK) -> RoutingDecision:
        """Return where rules and tables send a flow that came by an interface of that name."""
        if self.rules is None:
            found = self._look_up(self.routes, flow, -1)
            return NOWHERE if found is None else found
        for rule in self.rules.rules:
            if not rule.matches(flow, received):
                continue
            if self._steps is not None:
                self._steps.append(str(rule))
            if rule.refusal:
                return RoutingDecision(None, rule.refusal)
            table = self.tables.get(rule.table)
            if table is None:
                continue
            found = self._look_up(table, flow, rule.suppress_length)
            if found is not None:
                return found
        return NOWHERE

    def source_for(self, remote: str) -> str:
        """Return the own address from which routing reaches ``remote``; empty: none.

        That of the route, if it names one; else the first one of the interface by which packets
        leave that is in one network with their next hop; else the first one of the family.
        """
        route = self.route_for(FourTuple("", 0, remote, 0)).route
        if route is None:
            return ""
        if route.source:
            return route.source
        hop = route.gateway or remote
        for entry in route.interface.addresses:
            if (":" in entry.address) == (":" in hop) and within(entry.prefix, hop):
                return entry.address
        return route.interface.primary_address(":" in remote)

    def _look_up(self, table: RoutingTable, flow: FourTuple, suppress_length: int) -> RoutingDecision | None:
        route = table.lookup(flow.dst)
        steps = self._steps
        if route is None:
            if steps is not None:
                steps.append(f"table {table.name}: no route to {flow.dst}")
            return None
        if suppress_length >= 0 and route.length <= suppress_length:
            if steps is not None:
                steps.append(f"table {table.name}: {route}, which the rule passes over")
            return None
        chosen = route.for_flow(flow, self.hash_seed)
        if steps is not None:
            equal = f", one of {len(route.group)} by the hash of the flow" if route.group else ""
            steps.append(f"table {table.name}: {chosen}{equal}")
        return RoutingDecision(chosen)

    # --- The way of a packet ----------------------------------------------------------------------

    def course_for(self, packet: Packet, received: Interface | None) -> Course:
        """Return what becomes of a packet: as it was for its flow before, or judged now."""
        name = "" if received is None else received.name
        kept = self._kept.get(name)
        if kept is not None and self.is_settled(packet):
            course = kept.get(packet.flow)
            if course is not None:
                return course
        version = self.version
        course = self.judge(packet, received)
        if course.lasting and version == self.version and (not self.filters or isinstance(packet, Segment)):
            self.keep(packet.flow, received, course)
        elif kept is not None:
            kept.pop(packet.flow, None)
        return course

    def is_settled(self, packet: Packet) -> bool:
        """Return whether what was decided for a packet's flow before holds for the packet, too."""
        return not self.filters or (isinstance(packet, Segment) and not packet.flags & SYN)

    def keep(self, flow: FourTuple, received: Interface | None, course: Course) -> None:
        """Remember a course for the packets that follow."""
        remember(self._kept.setdefault("" if received is None else received.name, {}), flow, course)

    def judge(self, packet: Packet, received: Interface | None) -> Course:
        """Return what becomes of a packet, from the start and without regard to what was decided before.

        Args:
            packet: the packet; it is neither changed nor counted.
            received: the interface by which it came; None for a packet of the node's own.
        """
        first = len(self.filters) if received is None else 0
        return self._follow(packet, received, (INBOUND, first), None, None)

    def behind_queue(self, packet: Packet, course: Queued) -> Course:
        """Return what becomes of a packet that comes out of a queue in which it was on its course."""
        before = course.verdict
        if before.resume is not None:
            verdict = before.resume(packet)
            self._note(verdict.steps)
        else:
            verdict = Verdict((), interface=before.interface, gateway=before.gateway)
        return self._follow(packet, course.received, course.place, course.routed, verdict)

    def carry(self, packet: Packet, course: Course) -> None:
        """Send a packet on its course, if its time to live and its size allow it."""
        if course.crosses and packet.ttl <= 1:
            self.refuse(packet, Dropped(False, False, self, TTL, ICMP_TIME_EXCEEDED))
            return
        if packet.size > course.mtu and not self.is_let_pass(packet, course.mtu):
            return
        if course.crosses:
            packet.ttl -= 1
        course.send(packet)

    def send_own(self, packet: Packet, filtered: bool = True) -> None:
        """Send a packet of the node's own that is not part of a flow."""
        if filtered:
            self.carry(packet, self.judge(packet, None))
            return
        route = self.decide(packet, None).route
        if route is None:
            self.drop(packet, NO_ROUTE)
        else:
            self.carry(packet, self._leave(packet, False, False, route.interface, route.gateway))

    def _follow(
        self,
        packet: Packet,
        received: Interface | None,
        place: tuple[int, int],
        routed: tuple[Interface, str] | None,
        verdict: Verdict | None,
    ) -> Course:
        """Return what becomes of a packet from a place in the node on.

        Args:
            packet: the packet.
            received: the interface by which it came, or None.
            place: inbound or outbound, and the number of the filter to be asked next.
            routed: what routing has chosen, outbound.
            verdict: of the filter asked last, if it is not obeyed yet.
        """
        filters = self.filters
        phase, index = place
        crosses = False
        lasting = True
        while True:
            if verdict is not None:
                lasting = lasting and verdict.lasting
                if verdict.reason:
                    own = received is None
                    kind = verdict.unreachable
                    return Dropped(crosses, lasting, self, verdict.reason, kind, verdict.answer, own, True)
                if verdict.queue is not None:
                    return Queued(crosses, lasting, self, verdict, (phase, index), received, routed)
                if verdict.interface is not None:
                    crosses = crosses or (phase == INBOUND and received is not None)
                    return self._leave(packet, crosses, lasting, verdict.interface, verdict.gateway)
                verdict = None
            if index < len(filters):
                if routed is not None:
                    verdict = filters[index].outbound(packet, routed[0], routed[1], received)
                else:
                    assert received is not None
                    verdict = filters[index].inbound(packet, received)
                index += 1
                self._note(verdict.steps)
            elif routed is not None:
                return self._leave(packet, crosses, lasting, routed[0], routed[1])
            else:
                if received is not None:
                    if packet.flow.dst in self.addresses:
                        self._note((f"{packet.flow.dst} is an address of {self.name}",))
                        return Taken(lasting, self, received)
                    if not self.FORWARDS:
                        return Dropped(False, lasting, self, NOT_LOCAL)
                    if packet.ttl <= 1:
                        return Dropped(False, False, self, TTL, ICMP_TIME_EXCEEDED)
                    crosses = True
                decision = self.decide(packet, received)
                route = decision.route
                if route is None:
                    reason = decision.reason
                    kind = ICMP_NET_UNREACHABLE if reason != BLACKHOLE else ""
                    return Dropped(crosses, lasting, self, reason, kind)
                silent = self.silent(packet.flow.src) if received is None else ""
                if silent:
                    return Dropped(crosses, lasting, self, silent)
                routed = route.interface, route.gateway
                phase, index = OUTBOUND, 0

    def silent(self, source: str) -> str:
        """Return why nothing can be sent from an address, as the reason of a drop; empty: it can."""
        interface = self.addresses.get(source)
        if interface is None:
            if self.FORWARDS:
                # Of a router without addresses, RFC 7600.
                return ""
            self._note((f"{source} is no address of {self.name}",))
            return NO_ADDRESS
        if not interface.up:
            self._note((f"{interface.name}, which has {source}, is down",))
            return DROP_DOWN
        return ""

    def _leave(
        self, packet: Packet, crosses: bool, lasting: bool, interface: Interface, gateway: str
    ) -> Course:
        """Return the course out by an interface, if a node there answers for the next hop."""
        hop = gateway or packet.flow.dst
        if interface.peer is not None and interface.neighbour(hop) is None:
            self._note((f"nobody on the link of {interface.name} answers for {hop}",))
            # Not lasting: a node may answer the next time, as with ARP.
            return Dropped(crosses, False, self, NO_GATEWAY if gateway else NO_HOST, ICMP_HOST_UNREACHABLE)
        return Leaving(crosses, lasting, interface, gateway, packet.flow.dst)

    # --- What ends here ---------------------------------------------------------------------------

    def refuse(self, packet: Packet, course: Dropped) -> None:
        """Drop a packet, and tell its sender as its course says."""
        self.drop(packet, course.reason)
        if not isinstance(packet, Segment):
            return
        if course.answer:
            if not packet.flags & RST:
                self._answer(reset_for(packet), course.own)
        elif course.kind and not course.filtered:
            self.report(packet, course.kind)
        elif course.kind:
            self._tell(packet, course)

    def is_let_pass(self, packet: Packet, mtu: int) -> bool:
        """Return whether a packet larger than the MTU goes on; if not, it is dropped here."""
        self.drop(packet, TOO_BIG)
        return False

    def report(self, cause: Segment, kind: str, mtu: int = 0) -> None:
        """Tell the sender of a dropped segment why, by an ICMP error; hosts do not."""

    def _tell(self, packet: Segment, course: Dropped) -> None:
        """Send the ICMP error of a filter, which hosts send, too."""
        destination = packet.flow.dst
        if self.FORWARDS and not course.own and destination not in self.addresses:
            self.report(packet, course.kind)
        else:
            source = packet.flow.src if course.own else destination
            self._answer(IcmpError(source, packet, course.kind), course.own)

    def take_answer(self, packet: Packet) -> None:
        """Take the answer to a packet of the node's own that a filter has dropped."""

    def _answer(self, packet: Packet, own: bool) -> None:
        if own:
            self.take_answer(packet)
        else:
            self.send_own(packet, filtered=False)

    # --- Explanation ------------------------------------------------------------------------------

    def trace(self, packet: Packet, received: Interface | None = None) -> NodeTrace:
        """Return what becomes of a packet here, and why; nothing is sent, changed or counted.

        It is judged by the code that forwards. Filters are asked as for any packet, so a SYN makes
        the states that it would make.

        Args:
            packet: a probe, such as ``net.walk.probe`` makes.
            received: the interface by which it comes; None: the node sends it.
        """
        steps: list[str] = []
        self._steps = steps
        try:
            course = self.judge(packet, received)
            for _ in range(_MOST_QUEUES):
                if not isinstance(course, Queued):
                    break
                course = self.behind_queue(packet, course)
        finally:
            self._steps = None
        reason = course.reason
        interface = course.interface
        if interface is None:
            return NodeTrace(tuple(steps), None, "", None, isinstance(course, Taken), reason)
        if packet.size > course.mtu and packet.df:
            reason = TOO_BIG
        elif interface.device is not None:
            return NodeTrace(tuple(steps), interface, course.next_hop, None, False, "")
        elif interface.pipe is None:
            reason = NO_LINK
        elif not interface.pipe.up:
            reason = DOWN
        found = None if reason else interface.neighbour(course.next_hop)
        return NodeTrace(tuple(steps), interface, course.next_hop, found, False, reason)

    def _note(self, steps: tuple[str, ...]) -> None:
        if self._steps is not None:
            self._steps.extend(steps)
