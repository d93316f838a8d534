"""pf as the filter of a simulated node."""

from __future__ import annotations

from collections.abc import Callable

from mptcpsim.core.segment import SYN, Packet
from mptcpsim.freebsd.address_sets import AddressTable
from mptcpsim.freebsd.addresses import FiveTuple
from mptcpsim.freebsd.lines import Line
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.passages import seen
from mptcpsim.freebsd.pf_conf import PfConf, PfRule
from mptcpsim.freebsd.pf_rules import PfRules
from mptcpsim.freebsd.site import Site
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.node import Interface
from mptcpsim.net.policy import PASSES, PacketFilter, Verdict
from mptcpsim.suggest import did_you_mean

#: Reasons of drops: a block rule; rules that send a packet back and forth; a limit of states.
BLOCKED = "pf-block"
LOOPED = "pf-loop"
LIMITED = "pf-limit"


class PfFilter(PacketFilter):
    """The packet filter of a node. It does nothing until it is enabled (``pfctl -e``).

    Attributes:
        node: whose it is.
        names: of its interfaces.
        enabled: packets are looked at.
        rules: with the states that they have made; interfaces by the system's names.
    """

    def __init__(
        self,
        node: IpNode,
        names: InterfaceNames,
        site: Site | None = None,
        draw: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.node = node
        self.names = names
        self.site = site or Site(node, names)
        self.enabled = False
        self.rules = PfRules(PfConf(), lambda: node.loop.now, draw)
        self.rules.on_overload = self.changed
        self._flags_matter = False
        self._chance = False
        #: Connections about which rules have given a lasting verdict, so that a state makes a difference.
        self._ruled: set[FiveTuple] = set()

    # --- pfctl ---

    def load(self, conf: PfConf) -> None:
        """Take other rules (``pfctl -f``); states stay, each with the rule that made it.

        Raises:
            DialectError: a rule names an interface that the node does not have.
        """
        skip = frozenset(word for name in conf.skip for word in self._skipped(name))
        before = {table.name: table for table in self.rules.conf.tables}
        for table in conf.tables:
            # What was put into a table that the file does not fill stays there (pfctl -f).
            if table.name in before and not table.entries() and not table.constant:
                table.replace(before[table.name].entries())
        self.rules.conf = conf._replace(rules=tuple(map(self._resolved, conf.rules)), skip=skip)
        self._flags_matter = any(_looks_beyond_syn(rule) for rule in conf.rules)
        self._chance = any(rule.probability < 1.0 for rule in conf.rules)
        self.changed()

    def table(self, at: Line, name: str) -> AddressTable:
        """Return a table.

        Raises:
            DialectError: there is none of that name.
        """
        tables = {table.name: table for table in self.rules.conf.tables}
        if name not in tables:
            raise at.error(
                f"there is no table {name}: {did_you_mean(name, tables) if tables else 'define it'}"
            )
        return tables[name]

    def listing(self, what: str) -> str:
        """Return what ``pfctl -s`` prints: "rules", "states" or "Tables"."""
        if what == "states":
            return "\n".join(
                f"all {s.packet.protocol} {s.packet.src}:{s.packet.sport} -> {s.packet.dst}:{s.packet.dport}"
                for s in self.rules.states()
            )
        conf = self.rules.conf
        return "\n".join(map(str, conf.rules) if what == "rules" else [table.name for table in conf.tables])

    def enable(self, on: bool) -> None:
        """Begin or cease to look at packets (``pfctl -e``, ``pfctl -d``)."""
        self.enabled = on
        self.changed()

    def flush(self, what: str) -> None:
        """Remove "rules", "states" or "all" (``pfctl -F``)."""
        if what in ("rules", "all"):
            self.rules.conf = PfConf()
            self._flags_matter = False
        if what in ("states", "all"):
            self.rules.forget()
        self.changed()

    def changed(self) -> None:
        """Tell the node that verdicts may be others now."""
        self._ruled.clear()
        super().changed()

    def _skipped(self, name: str) -> list[str]:
        """Return the interfaces that ``set skip on`` means: one by either name, or a driver's (``em``)."""
        known = self.names.system_names()
        means = {system: (self.names.scenario_of(system), system.rstrip("0123456789")) for system in known}
        return [name, *(system for system in known if name in means[system])]

    def _resolved(self, rule: PfRule) -> PfRule:
        """Return a rule with the system's names of interfaces."""
        if rule.interface and not rule.members:
            rule = rule._replace(interface=self.names.system(rule.at, rule.interface))
        route = rule.route
        if route is not None:
            interface = self.names.system_of(self.names.interface(rule.at, route.interface))
            rule = rule._replace(route=route._replace(interface=interface))
        return rule

    # --- Packets ---

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        """Return what becomes of a packet that has arrived."""
        return self._ask("in", packet, interface)

    def outbound(
        self, packet: Packet, interface: Interface, gateway: str, received: Interface | None
    ) -> Verdict:
        """Return what becomes of a packet that is about to leave."""
        return self._ask("out", packet, interface)

    def _ask(self, direction: str, packet: Packet, interface: Interface) -> Verdict:
        if not self.enabled:
            return PASSES
        what = seen(packet)
        name = self.names.system_of(interface.name)
        found = self.rules.evaluate(direction, name, what.packet, what.flags, what.quoted, what.icmp)
        created = any(step.created is not None for step in found.steps)
        connection = min(what.packet, what.packet.reverse())
        if created and connection in self._ruled:
            self.changed()
        # A state decides about all packets of its connection alike. Where the rules did, later packets
        # meet the same ones; but a SYN matches rules that they do not match.
        ruled = any(step.state is None for step in found.steps)
        lasting = not created and not (ruled and (self._flags_matter or self._chance or what.flags & SYN))
        lasting = lasting and not self.rules.follows_connections
        if ruled and lasting:
            self._ruled.add(connection)
        steps = [f"pf, {step}" for step in found.steps]
        if found.action == "block":
            if found.reason:
                steps.append(f"pf: {found.reason}")
            reason = LOOPED if found.reason else LIMITED if found.limited else BLOCKED
            return Verdict(
                tuple(steps), reason, answer=found.answers, lasting=lasting, unreachable=found.unreachable
            )
        if not found.routed:
            return Verdict(tuple(steps), lasting=lasting)
        out = self.node.interfaces[self.names.scenario_of(found.interface)]
        return Verdict(tuple(steps), interface=out, gateway=found.gateway, lasting=lasting)


def _looks_beyond_syn(rule: PfRule) -> bool:
    """Return whether a rule may match some packets without SYN of a flow, and others not."""
    if rule.flags is None:
        return False
    wanted, looked_at = rule.flags
    return not wanted & SYN and bool(looked_at & ~SYN)
