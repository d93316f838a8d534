"""ipfw as the filter of a simulated node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from mptcpsim.core.segment import (
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    Packet,
)
from mptcpsim.freebsd.addresses import is_address
from mptcpsim.freebsd.ipfw_objects import DeleteRules, IpfwRule, Option, SetCommand, TableCommand
from mptcpsim.freebsd.ipfw_rules import IpfwDecision, IpfwPacket, IpfwRules
from mptcpsim.freebsd.ipfw_states import RulePlace
from mptcpsim.freebsd.names import LOOPBACK, InterfaceNames
from mptcpsim.freebsd.passages import seen
from mptcpsim.freebsd.site import Site
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.node import Interface
from mptcpsim.net.policy import PASSES, PacketFilter, Queue, Verdict

#: Reasons of drops: a rule or the default rule denies; the limit of states of a rule is reached; a rule
#: names a pipe or queue that is not configured; ``fwd`` to this node itself hands packets of others to a
#: proxy, and there is none; there is no route to the next hop of ``fwd``.
DENIED: Final = "ipfw-deny"
LIMITED: Final = "ipfw-limit"
NO_PIPE: Final = "ipfw-no-pipe"
NO_PROXY: Final = "ipfw-no-proxy"
NO_ROUTE: Final = "no-route"

#: What ``unreach CODE`` answers; TCP makes of all other codes what it makes of an unreachable host.
_UNREACHABLE: Final = {
    "net": ICMP_NET_UNREACHABLE, "net-unknown": ICMP_NET_UNREACHABLE, "net-prohib": ICMP_NET_UNREACHABLE,
    "tosnet": ICMP_NET_UNREACHABLE, "no-route": ICMP_NET_UNREACHABLE, "port": ICMP_PORT_UNREACHABLE,
    "protocol": ICMP_PROTOCOL_UNREACHABLE,
}  # fmt: skip

#: Returns the pipe or queue with a number, or None: ``("pipe", 1)``.
Find = Callable[[str, int], Queue | None]


class IpfwFilter(PacketFilter):
    """The firewall and the shaper of a node.

    A packet comes out of a pipe or queue behind the rule that sent it there; with ``one_pass`` it has
    passed ipfw then. ``fwd`` looks its next hop up in the routing table of the node, and the packet
    is shown to no filter again, as in FreeBSD's ip_output.

    Attributes:
        node: whose it is.
        names: of its interfaces.
        enabled: packets are looked at (net.inet.ip.fw.enable).
        one_pass: net.inet.ip.fw.one_pass.
        rules: interfaces by the system's names.
    """

    def __init__(
        self,
        node: IpNode,
        names: InterfaceNames,
        find: Find,
        draw: Callable[[], float] | None = None,
        default_to_accept: bool = False,
        site: Site | None = None,
    ) -> None:
        super().__init__()
        self.node = node
        self.names = names
        self.enabled = True
        self.one_pass = True
        site = site or Site(node, names)
        self.rules = IpfwRules(default_to_accept, node.addresses, draw, lambda: node.loop.now, site)
        self._find = find
        #: The explanation of each decision so far, by its rules.
        self._steps: dict[tuple[object, ...], tuple[str, ...]] = {}

    # --- Commands ---

    def add(self, rule: IpfwRule) -> IpfwRule:
        """Add a rule and return it with its number.

        Raises:
            DialectError: it names an interface that the node does not have.
        """
        options = tuple(self._resolved(rule, option) for option in rule.options)
        added = self.rules.add(rule._replace(options=options))
        self.changed()
        return added

    def delete(self, command: DeleteRules) -> None:
        """Remove rules.

        Raises:
            DialectError: no rule has such a number.
        """
        self.rules.delete(command)
        self.changed()

    def change(self, command: SetCommand | TableCommand) -> str:
        """Change sets or tables, and return what the command prints.

        Raises:
            DialectError: it cannot be done.
        """
        rules = self.rules
        if isinstance(command, SetCommand):
            printed = rules.change_sets(command)
        else:
            printed = rules.change_table(command)
        self.changed()
        return printed

    def changed(self) -> None:
        """Tell the node that verdicts may be others now."""
        self._steps.clear()
        super().changed()

    def _resolved(self, rule: IpfwRule, option: Option) -> Option:
        """Return an option with the system's name of its interface."""
        if option.alternatives:
            return option._replace(alternatives=tuple(self._resolved(rule, o) for o in option.alternatives))
        if option.name not in ("via", "recv", "xmit") or option.word == "any":
            return option
        if option.word.endswith("*"):
            known = [*self.names.system_names(), LOOPBACK]
            if not any(name.startswith(option.word[:-1]) for name in known):
                raise rule.at.error(
                    f"no interface begins with {option.word[:-1]}: known are {', '.join(known)}"
                )
            return option
        if is_address(option.word):
            site = self.rules.site
            known = [*self.names.system_names(), LOOPBACK]
            found = [name for name in known if option.word in [own.address for own in site.addresses(name)]]
            if not found:
                raise rule.at.error(
                    f"{option.name} {option.word}: no interface has this address: write its name"
                )
            return option._replace(word=found[0])
        return option._replace(word=self.names.system(rule.at, option.word))

    # --- Packets ---

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        """Return what becomes of a packet that has arrived."""
        return self._ask("in", self.names.system_of(interface.name), "", None, packet)

    def outbound(
        self, packet: Packet, interface: Interface, gateway: str, received: Interface | None
    ) -> Verdict:
        """Return what becomes of a packet that is about to leave."""
        arrived = "" if received is None else self.names.system_of(received.name)
        return self._ask("out", arrived, self.names.system_of(interface.name), None, packet)

    def _ask(
        self, direction: str, received: str, transmitted: str, after: RulePlace | None, packet: Packet
    ) -> Verdict:
        if not self.enabled:
            return PASSES
        what = seen(packet)
        passage = IpfwPacket(what.packet, direction, received, transmitted, what.flags, what.icmp)
        decision = self.rules.evaluate(passage, self.one_pass, after)
        steps, lasting = self._explained(decision), decision.lasting
        if decision.action == "allow":
            return Verdict(steps, lasting=lasting)
        if decision.limit:
            return Verdict(steps, LIMITED, lasting=lasting)
        if decision.action in ("deny", "reset", "unreach"):
            kind = ""
            if decision.action == "unreach" and decision.rule is not None:
                kind = _UNREACHABLE.get(decision.rule.code, ICMP_HOST_UNREACHABLE)
            reset = decision.action == "reset"
            return Verdict(steps, DENIED, answer=reset, lasting=lasting, unreachable=kind)
        if decision.action == "fwd":
            return self._forward(decision.gateway, packet, steps, lasting)
        queue = self._find(decision.action, decision.argument)
        if queue is None:
            nothing = ", or no pipe that it feeds" if decision.action == "queue" else ""
            missing = f"ipfw: there is no {decision.action} {decision.argument}{nothing}: dropped"
            return Verdict((*steps, missing), NO_PIPE, lasting=lasting)
        resume = None
        if decision.resume is not None:
            resume = partial(self._ask, direction, received, transmitted, decision.resume)
        return Verdict(steps, queue=queue, resume=resume, lasting=lasting)

    def _forward(self, gateway: str, packet: Packet, steps: tuple[str, ...], lasting: bool) -> Verdict:
        if gateway in self.node.addresses:
            if packet.flow.dst in self.node.addresses:
                return Verdict((*steps, f"{gateway} is an address of this node: delivered"), lasting=lasting)
            missing = f"{gateway} is an address of this node, and no proxy waits there: dropped"
            return Verdict((*steps, missing), NO_PROXY, lasting=lasting)
        route = self.node.routes.lookup(gateway)
        if route is None:
            return Verdict((*steps, f"there is no route to {gateway}: dropped"), NO_ROUTE, lasting=lasting)
        found = f"{gateway} is reached by {self.names.system_of(route.interface.name)}"
        if route.gateway:
            found += f" over {route.gateway}"
        hop = route.gateway or gateway
        return Verdict((*steps, found), interface=route.interface, gateway=hop, lasting=lasting)

    def _explained(self, decision: IpfwDecision) -> tuple[str, ...]:
        """Return the steps of a decision; made once for each, since chance may have every packet asked."""
        key = (id(decision.rule), decision.limit, *map(id, decision.counted))
        found = self._steps.get(key) if decision.state is None else None
        if found is None:
            counted = [str(IpfwDecision(rule.action, rule)) for rule in decision.counted]
            found = self._steps[key] = (*counted, str(decision))
        return found
