"""Rules about pf: addresses that match nothing, packets sent the wrong way, rules that never decide.

What a rule does is decided by asking pf: packets of the host's own addresses are shown to the very code
that decides in a run, with the rules as they stand and, where an address lacks its prefix length, as they
are meant.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from mptcpsim.core.segment import SYN
from mptcpsim.freebsd.addresses import FiveTuple, Prefix, read_prefix
from mptcpsim.freebsd.commands import PF_CONF
from mptcpsim.freebsd.lines import Line
from mptcpsim.freebsd.pf_conf import PfConf, PfEnd, PfRule
from mptcpsim.freebsd.pf_rules import PfRules, PfVerdict
from mptcpsim.lint.finding import Family
from mptcpsim.lint.firewalls import FreebsdNode
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject

FAMILY: Final = Family()

#: Somewhere else: the other end of packets that are shown to rules.
_ELSEWHERE: Final = {4: "198.51.100.1", 6: "2001:db8::1"}


# --- What rules mean -----------------------------------------------------------------------------


def _address(prefix: Prefix) -> str:
    return str(prefix).partition("/")[0]


def _meant(subject: Subject, prefix: Prefix | None) -> Prefix | None:
    """Return the network that a bare network address is meant to be; any other prefix as it is."""
    if prefix is None or not prefix.bare or subject.is_known(_address(prefix)):
        return prefix
    number = ipaddress.ip_address(_address(prefix))
    for network in subject.networks:
        if network.network_address == number:
            return read_prefix(Line("", 0, ""), str(network))
    return prefix


def _as_meant(subject: Subject, conf: PfConf, stateless: bool = False) -> PfConf:
    """Return the rules with networks where network addresses stand."""

    def widened(end: PfEnd) -> PfEnd:
        return end._replace(prefix=_meant(subject, end.prefix))

    rules = tuple(
        rule._replace(
            source=widened(rule.source),
            destination=widened(rule.destination),
            state=rule.state and not stateless,
        )
        for rule in conf.rules
    )
    return conf._replace(rules=rules)


def _shown(conf: PfConf, source: str, interface: str) -> PfVerdict:
    """Show a SYN of the host's own to pf, as if the routing table had chosen an interface."""
    remote = _ELSEWHERE[6 if ":" in source else 4]
    packet = FiveTuple("tcp", source, 50000, remote, 5001)
    return PfRules(conf).evaluate("out", interface, packet, SYN)


def _sources(host: FreebsdNode, end: PfEnd) -> list[str]:
    """Return the addresses of the host that a rule is for."""
    return [address for address in host.addresses if end.has(address)]


def _named_by(host: FreebsdNode, rule: PfRule, prefix: Prefix) -> Line:
    """Return the line where an address of a rule is written: of a macro, or of the rule itself."""
    address = _address(prefix)
    for macro in host.conf.macros:
        if re.search(rf"\${macro.name}\b", rule.at.text) and address in re.split(r"[\s,{}]+", macro.value):
            return macro.at
    return rule.at


def _lines(rules: list[PfRule]) -> str:
    """Return the lines of rules, with the verb."""
    numbers = list(dict.fromkeys(rule.at.number for rule in rules))
    if len(numbers) == 1:
        return f"the rule in line {numbers[0]} matches"
    return f"the rules in lines {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} match"


def _route_to(rule: PfRule) -> str:
    """Return the interface that a rule sends packets of the host's own to, or nothing."""
    if rule.route is None or rule.route.kind != "route-to" or rule.direction != "out":
        return ""
    return rule.route.interface


# --- Addresses -----------------------------------------------------------------------------------


@FAMILY.rule("E301", "network-without-length")
def network_without_length(subject: Subject) -> Iterator[Remark]:
    """A pf rule names a network without the length of its prefix.

    In pf an address without a prefix length is one host (pf.conf(5)). 192.168.0.0 is the address of a
    network and nobody's, so that the rule matches no packet at all, and pf says nothing about it. With "!"
    in front it excludes nothing, and the rule matches packets that it is to leave alone.
    """
    for host in subject.systems:
        seen: set[tuple[Line, str]] = set()
        for rule in host.conf.rules:
            for end in (rule.source, rule.destination):
                meant = _meant(subject, end.prefix)
                if end.prefix is None or meant is None or meant == end.prefix:
                    continue
                at = _named_by(host, rule, end.prefix)
                if (at, str(end.prefix)) in seen:
                    continue
                seen.add((at, str(end.prefix)))
                effect = f"'! {end.prefix}' excludes" if end.negated else _lines(host.using(at))
                yield host.remark(
                    at,
                    f"{end.prefix} has no prefix length: in pf that is this one address, which nobody has, "
                    f"and {effect} no packet",
                    f"write the length behind it: {meant}",
                )


@FAMILY.rule("E302", "pf-address-of-nobody")
def pf_address_of_nobody(subject: Subject) -> Iterator[Remark]:
    """A pf rule names a single address that nobody has.

    The rule matches no packet, or with "!" it excludes none.
    """
    for host in subject.systems:
        for rule in host.conf.rules:
            for end in (rule.source, rule.destination):
                prefix = end.prefix
                if prefix is None or prefix.length != prefix.bits or _meant(subject, prefix) != prefix:
                    continue
                network = subject.network_around(_address(prefix))
                if network is None or subject.is_known(_address(prefix)):
                    continue
                effect = f"'! {prefix}' excludes" if end.negated else "the rule matches"
                yield host.remark(
                    _named_by(host, rule, prefix),
                    f"nobody has the address {_address(prefix)}, and so {effect} no packet",
                    f"addresses in {network} are {subject.listed(network)}: write the one that is meant",
                )


@FAMILY.rule("E303", "route-to-gateway")
def route_to_gateway(subject: Subject) -> Iterator[Remark]:
    """The gateway of a route-to or reply-to is not to be found on its interface.

    pf hands the packet to that interface whatever the routing table says, and looks for the gateway
    there. It has to be an address of a router in a network of this interface.
    """
    for host in subject.systems:
        for rule in host.conf.rules:
            if rule.route is None or not rule.route.gateway:
                continue
            interface = host.scenario_name(rule.route.interface)
            wrong = subject.gateway_problem(host.name, interface, rule.route.gateway)
            if wrong is not None:
                yield host.remark(rule.at, f"{rule.route.kind}: {wrong[0]}", wrong[1])


# --- Ways ----------------------------------------------------------------------------------------


@FAMILY.rule("E304", "route-to-other-network")
def route_to_other_network(subject: Subject) -> Iterator[Remark]:
    """A route-to rule sends packets of one network out of the interface of another one.

    Each address of a host belongs to an interface, and the point of route-to here is that packets leave
    by the interface of their source address. A rule that takes packets of the first network to the
    interface of the second is the wrong way round: the network in it has to be that of the interface it
    sends to.
    """
    for host in subject.systems:
        for rule in host.conf.rules:
            if not _astray(subject, host, rule):
                continue
            target, meant = _route_to(rule), _meant(subject, rule.source.prefix)
            assert meant is not None
            homes = sorted({host.interface_of(address) for address in _sources(host, PfEnd(meant))})
            bare = f" (as it stands it does not even do that: {rule.source.prefix} lacks /{meant.length})"
            yield host.remark(
                rule.at,
                f"the rule sends packets of {meant}, the network of {' and '.join(homes)}, out of {target}, "
                f"which has {', '.join(host.addresses_at(target))}"
                + (bare if meant != rule.source.prefix else ""),
                f"write from {', '.join(host.networks_at(target))}",
            )


def _astray(subject: Subject, host: FreebsdNode, rule: PfRule) -> bool:
    """Return whether a rule sends packets of one interface's network out of another one."""
    target = _route_to(rule)
    meant = _meant(subject, rule.source.prefix)
    if not target or meant is None or rule.source.negated:
        return False
    sent, own = _sources(host, PfEnd(meant)), host.addresses_at(target)
    return bool(sent and own) and not set(sent) & set(own)


@FAMILY.rule("E305", "pf-loop")
def pf_loop(subject: Subject) -> Iterator[Remark]:
    """Two pf rules send the same packets back and forth.

    Each sends them to the interface of the other one. pf counts the turns of a packet and drops it when
    they are too many. It happens where no state tells pf that the packet was decided about: with "no
    state", or with states that hold for one interface only (if-bound).
    """
    for host in subject.systems:
        for source, interface in host.departures():
            verdict = _shown(host.conf, source, interface)
            if verdict.reason:
                first, second = _turns(verdict)
                yield host.remark(
                    second.at,
                    f"packets from {source} that routing sends out of {interface} are sent back and forth by "
                    f"line {first.at.number} and this one, and pf drops them",
                    "let each rule name the network of the interface that it sends to",
                )
                break


@FAMILY.rule("W306", "hidden-pf-loop")
def hidden_pf_loop(subject: Subject) -> Iterator[Remark]:
    """Two mistakes in pf rules hide each other.

    A network without its prefix length matches nothing, so that neither of two route-to rules acts. With
    the length mended both are for the same packets, and each sends them to the interface of the other
    one. With floating states, which are pf's default, the second evaluation finds the state of the first
    and the packet leaves; with "no state" or if-bound states it is sent back, and pf drops it after a few
    turns.
    """
    for host in subject.systems:
        for source, interface in host.departures():
            if _shown(host.conf, source, interface).reason:
                continue
            stateless = _shown(_as_meant(subject, host.conf, stateless=True), source, interface)
            if not stateless.reason:
                continue
            first, second = (_original(host, rule) for rule in _turns(stateless))
            bare = [rule.source.prefix for rule in (first, second)
                    if _meant(subject, rule.source.prefix) != rule.source.prefix]  # fmt: skip
            mended = _shown(_as_meant(subject, host.conf), source, interface)
            yield host.remark(
                second.at,
                _hiding(first, second, bare[0], bool(mended.reason)) if bare else
                f"line {first.at.number} and this one are for the same packets, and each sends them to the "
                "interface of the other one: only the state that the first one keeps saves them",
                "let each route-to rule take the network of the interface that it sends to",
                cause=False,
            )  # fmt: skip
            break


def _hiding(first: PfRule, second: PfRule, bare: Prefix | None, dropped: bool) -> str:
    """Return how two mistakes hide each other."""
    then = (
        "pf drops the packet after a few turns"
        if dropped
        else "only the state that the first one keeps saves the packet (with 'no state' pf drops it)"
    )
    return (
        f"two mistakes hide each other: {bare} without a prefix length matches nothing, so that neither line "
        f"{first.at.number} nor line {second.at.number} acts. Mend the length alone, and what line "
        f"{first.at.number} sends to {_route_to(first)} line {second.at.number} sends back: {then}"
    )


def _original(host: FreebsdNode, rule: PfRule) -> PfRule:
    """Return a rule as it is written."""
    return next(other for other in host.conf.rules if other.at == rule.at and other.route == rule.route)


def _turns(verdict: PfVerdict) -> tuple[PfRule, PfRule]:
    """Return the first two rules that have sent a packet away."""
    rules = [step.rule for step in verdict.steps if step.rule is not None and step.sent is not None]
    return rules[0], rules[min(1, len(rules) - 1)]


@FAMILY.rule("W307", "route-to-needs-the-route")
def route_to_needs_the_route(subject: Subject) -> Iterator[Remark]:
    """A route-to rule acts only because the routing table chose its interface first.

    pf is asked about a leaving packet on the interface that routing chose, and "on em0" looks at no other
    one. The rule works as long as the route leads out of em0; with another default route it is silently
    without effect.
    """
    for host in subject.systems:
        for rule in host.conf.rules:
            target = _route_to(rule)
            if not target or not rule.interface or rule.other_interface or rule.interface == target:
                continue
            if _astray(subject, host, rule):
                continue  # of that E304 tells
            meant = rule._replace(source=rule.source._replace(prefix=_meant(subject, rule.source.prefix)))
            for remote in subject.remotes_of(host.name):
                leaves = host.leaves_by(remote)
                sources = [a for a in _sources(host, meant.source) if (":" in a) == (":" in remote)]
                if leaves != rule.interface or not sources:
                    continue
                yield host.remark(
                    rule.at,
                    f"the rule sees packets for {remote} only because routing sends them out of {leaves} "
                    f"first: with another route it does nothing",
                    f"keep the route out of {leaves}, or leave 'on {leaves}' out, so that the rule is asked "
                    "wherever routing sends the packet",
                    cause=False,
                )
                break


# --- Rules that never decide ---------------------------------------------------------------------


@FAMILY.rule("W308", "pf-never-matches")
def pf_never_matches(subject: Subject) -> Iterator[Remark]:
    """A pf rule is for packets that this host never has.

    A host that does not forward sends packets from its own addresses only, and takes packets to these
    only.
    """
    for host in subject.systems:
        if host.forwards:
            continue
        for rule in host.conf.rules:
            ends = {"out": ("from", rule.source), "in": ("to", rule.destination)}
            word, end = ends.get(rule.direction, ("", PfEnd()))
            if not word or end.prefix is None or _meant(subject, end.prefix) != end.prefix:
                continue
            if end.prefix.length == end.prefix.bits and not subject.is_known(_address(end.prefix)):
                continue  # E302 has said so
            if not _sources(host, end):
                yield host.remark(
                    rule.at,
                    f"no packet matches '{word} {end}': {host.name} has {', '.join(host.addresses)}",
                    "write the network of one of them",
                    cause=rule.route is not None,
                )


@FAMILY.rule("W309", "pf-shadowed")
def pf_shadowed(subject: Subject) -> Iterator[Remark]:
    """A pf rule never decides: another one matches everything that it matches.

    The last rule that matches decides, unless one with "quick" has matched before. A general rule at the
    end makes all above it useless, and a general one with quick all below it.
    """
    for host in subject.systems:
        rules = host.conf.rules
        for number, rule in enumerate(rules):
            quick = next((other for other in rules[:number] if other.quick and _covers(other, rule)), None)
            last = next(
                (other for other in rules[number + 1 :] if not rule.quick and _covers(other, rule)), None
            )
            other = quick or last
            if other is None or other.at == rule.at:
                continue
            why = (
                "has 'quick' and stands above it" if quick else "stands below it, and the last match decides"
            )
            yield host.remark(
                rule.at,
                f"the rule never decides: line {other.at.number} ({other.at.text.strip()}) matches all "
                f"of its packets, {why}",
                "put the general rule first, or give the special one 'quick'" if last else
                "put the special rule above the one with 'quick'",
                cause=rule.route is not None,
            )  # fmt: skip


def _covers(other: PfRule, rule: PfRule) -> bool:
    """Return whether a rule matches every packet that another one matches."""
    return (
        other.direction in ("", rule.direction)
        and (
            not other.interface
            or (other.interface, other.other_interface, other.members)
            == (rule.interface, rule.other_interface, rule.members)
        )
        and other.family in (0, rule.family)
        and other.protocol in ("", rule.protocol)
        and _contains(other.source, rule.source)
        and _contains(other.destination, rule.destination)
        and (other.flags is None or other.flags == rule.flags)
        and other.icmp_types in (frozenset(), rule.icmp_types)
        and other.probability >= 1.0
    )  # fmt: skip


def _contains(outer: PfEnd, inner: PfEnd) -> bool:
    """Return whether an end of a rule has all addresses and ports of another one."""
    if outer.ports is not None and outer.ports != inner.ports:
        return False
    if (outer.prefix is None and outer.among is None) or outer == inner:
        return True
    if outer.prefix is None or outer.negated or inner.negated or inner.prefix is None:
        return False
    wide, narrow = outer.prefix, inner.prefix
    return (
        wide.version == narrow.version
        and wide.mask & narrow.mask == wide.mask
        and narrow.network & wide.mask == wide.network
    )


# --- What is passed over -------------------------------------------------------------------------


@FAMILY.rule("N311", "pf-passed-over")
def pf_passed_over(subject: Subject) -> Iterator[Remark]:
    """A word of pf.conf changes nothing in a simulation, and is passed over.

    It is there in the file of a real system, and may stay. What would change the fate of packets and is not
    simulated, such as nat, is an error instead.
    """
    for host in subject.systems:
        yield from host.passed_over(in_files=True)


# --- Whether it is asked at all ------------------------------------------------------------------


@FAMILY.rule("W310", "pf-disabled")
def pf_disabled(subject: Subject) -> Iterator[Remark]:
    """A host has a pf.conf, and pf is not enabled.

    The rules are read by nobody. pf begins with pf_enable="YES" in rc.conf, or with `pfctl -e -f
    /etc/pf.conf`.
    """
    for host in subject.systems:
        pf = host.system.firewall.pf
        if not pf.enabled and PF_CONF in host.system.files and not host.types_later:
            yield Remark(
                host.place(Line(PF_CONF, 1, "")),
                f"{host.name} has a {PF_CONF}, but pf is not enabled: no packet meets its rules",
                'write pf_enable="YES" into /etc/rc.conf, or type pfctl -e -f /etc/pf.conf',
                node=host.name,
            )
