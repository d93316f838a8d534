"""Rules about routes and the paths that follow from them; each path is found by sending a probe along it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from mptcpsim.core.segment import FourTuple
from mptcpsim.freebsd.iperf import IPERF_PORT
from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import IpNetwork, Subject
from mptcpsim.lint.talks import SubflowPair, Talk
from mptcpsim.net.rules import within
from mptcpsim.route.way import Way
from mptcpsim.scenario.ip_words import read_rule
from mptcpsim.scenario.routes import Port

FAMILY: Final = Family()


# --- Routes --------------------------------------------------------------------------------------


@FAMILY.rule("E201", "gateway-unreachable")
def gateway_unreachable(subject: Subject) -> Iterator[Remark]:
    """A route leads to a gateway that is not there.

    The next router has to be on the link of the interface: in one of its networks, with somebody there
    who has the address and forwards. Packets that take such a route are dropped where they are, as ARP
    finds nobody.
    """
    for entry in subject.routes:
        if not entry.gateway or Port(entry.node, entry.interface) in subject.strangers:
            continue  # of an interface in a network of its own E203 tells
        wrong = subject.gateway_problem(entry.node, entry.interface, entry.gateway, entry.network)
        if wrong is not None:
            yield entry.remark(f"the route to {entry.prefix} does not work: {wrong[0]}", wrong[1])


@FAMILY.rule("E202", "network-on-other-interface")
def network_on_other_interface(subject: Subject) -> Iterator[Remark]:
    """A route says that a network is on the link of one interface, and it is on that of another.

    The address that the node itself has in the network tells where it is. Packets for neighbours go out
    of the wrong interface, where nobody answers.
    """
    for entry in subject.routes:
        network = entry.network
        if entry.gateway or network is None:
            continue
        homes = subject.homes_of(entry.node, network)
        if homes and entry.interface not in homes:
            wrong = subject.both_names(entry.node, entry.interface)
            right = subject.both_names(entry.node, homes[0])
            yield entry.remark(
                f"the route puts {network} on {wrong}, but {entry.node} is in it by {right}",
                f"write {right} in place of {wrong}",
            )


@FAMILY.rule("E203", "neighbours-in-different-networks")
def neighbours_in_different_networks(subject: Subject) -> Iterator[Remark]:
    """An interface shares no network with anybody on its link.

    Whoever is on one link needs addresses of one network to reach each other without a router. Most often
    a digit or the length of a prefix is wrong.
    """
    for port, others in subject.strangers.items():
        networks = ", ".join(entry.prefix for entry in subject.interface(port).addresses)
        yield Remark(
            subject.interface_path(port),
            f"{subject.called(port)} is in {networks}, and nobody else on its link is: there are "
            f"{', '.join(others)}",
            "give all interfaces on one link addresses of one network",
            node=port.node,
        )


@FAMILY.rule("W208", "prefix-lengths-differ")
def prefix_lengths_differ(subject: Subject) -> Iterator[Remark]:
    """Neighbours give the network that they share different lengths.

    Some addresses are on the link for one of them and behind a router for the other one.
    """
    for ports in subject.networks_of_links:
        seen: dict[str, Port] = {}
        for port in ports:
            own = [ipaddress.ip_network(entry.prefix) for entry in subject.interface(port).addresses]
            for entry in subject.interface(port).addresses:
                network = ipaddress.ip_network(entry.prefix)
                if network.num_addresses == 1 and any(_overlap(network, around) for around in own):
                    continue  # a further address in one network has this length (ifconfig(8), alias)
                for other, first in seen.items():
                    around = ipaddress.ip_network(other)
                    if _overlap(network, around):
                        yield Remark(
                            subject.interface_path(port),
                            f"{subject.called(port)} is in {network}, and {subject.called(first)} on the "
                            f"same link in {around}",
                            "write the same length of the prefix at all interfaces of the link",
                        )
                seen.setdefault(entry.prefix, port)


def _overlap(one: IpNetwork, other: IpNetwork) -> bool:
    """Return whether one of two networks is a part of the other."""
    return one.version == other.version and one != other and one.overlaps(other)


@FAMILY.rule("W209", "rule-never-matches")
def rule_never_matches(subject: Subject) -> Iterator[Remark]:
    """An ip rule is for a source address that the host never sends from.

    A host that does not forward sends packets from its own addresses only.
    """
    for name, host in subject.scenario.hosts.items():
        own = subject.addresses_of(name)
        for index, text in enumerate(host.rules):
            selector = read_rule(text).selector
            if not selector.source or selector.inverted or any(within(selector.source, a) for a in own):
                continue
            yield Remark(
                ("hosts", name, "rules", index),
                f"no packet of {name} is from {selector.source}: its addresses are {', '.join(own)}",
                "write one of them, or the network of one",
                node=name,
            )


# --- Paths ---------------------------------------------------------------------------------------


@FAMILY.rule("E204", "packets-get-lost", late=True)
def packets_get_lost(subject: Subject) -> Iterator[Remark]:
    """The first packet of a flow, or the answer to it, does not arrive.

    There will be no connection. `mptcpsim route` shows each step of the way.
    """
    for talk in subject.talks:
        pair = talk.pairs[0]
        loss = pair.loss
        if loss is None or loss.node in subject.blamed:
            continue
        flow = loss.way.flow
        yield Remark(
            ("flows", talk.number),
            f"{loss.what} of flow {talk.spec.name!r} from {flow.src} to {flow.dst} gets lost {loss.why}",
            _route_command(subject, talk.spec.client, pair.out.flow),
        )


@FAMILY.rule("E205", "subflow-gets-lost", late=True)
def subflow_gets_lost(subject: Subject) -> Iterator[Remark]:
    """A further subflow, which one end will ask for, cannot come up.

    Its SYN or the answer does not arrive. It may be that the peer cannot reach an address that is
    announced to it, or that packets leave by an interface that leads nowhere. The connection goes on
    without this subflow.
    """
    for talk in subject.talks:
        for pair in talk.pairs[1:]:
            loss = pair.loss
            if loss is None or loss.node in subject.blamed:
                continue
            opener = talk.spec.client if pair.by_client else talk.spec.server
            flow = pair.out.flow
            yield Remark(
                subject.cause_of(talk, pair),
                f"{opener} will join {flow.dst} from {flow.src} in flow {talk.spec.name!r}, and {loss.what} "
                f"gets lost {loss.why}",
                _route_command(subject, opener, flow),
            )


def _route_command(subject: Subject, host: str, flow: FourTuple) -> str:
    """Return what shows the steps of a SYN; rules may look at its port."""
    port = f" --port {flow.dport}" if flow.dport != IPERF_PORT else ""
    return f"see `mptcpsim route {subject.name} {host} {flow.src} {flow.dst}{port}`"


@FAMILY.rule("W206", "wrong-interface", late=True)
def wrong_interface(subject: Subject) -> Iterator[Remark]:
    """Packets leave by another interface than that of their source address.

    A look-up by destination alone sends all packets for one peer the same way, whatever their source: the
    second subflow shares the path of the first one, or its two directions take different paths. Source-based
    routing repairs that: tables chosen by source address (ip rule), route-to of pf, or fwd of ipfw. A subflow
    that has a path of its own, the same in both directions, is fine whatever its addresses.
    """
    told: set[tuple[str, str]] = set()
    for talk in subject.talks:
        for pair in talk.pairs:
            for way in pair.ways:
                source, destination = way.flow.src, way.flow.dst
                port = subject.owner(source)
                if not _foreign(way) or port is None or way.leaves is None or port.node in subject.suspected:
                    continue
                if (source, destination) in told or _has_own_path(talk, pair, way):
                    continue
                told.add((source, destination))
                yield Remark(
                    subject.sender_of(talk, pair, port),
                    f"packets from {source} to {destination} (flow {talk.spec.name!r}) leave {port.node} by "
                    f"{way.leaves.name}, and the address is that of {port.interface}",
                    f"route by source at {port.node}: ip rule with tables, route-to of pf, or fwd of ipfw",
                )


def _has_own_path(talk: Talk, pair: SubflowPair, way: Way) -> bool:
    """Return whether replies arrive by the interface of a way, and no other subflow leaves by it."""
    other = pair.back if way is pair.out else pair.out
    if other is None or way.leaves is not other.arrives_by:
        return False
    leaving = [w.leaves for p in talk.pairs if p is not pair for w in p.ways]
    return len(talk.pairs) == 1 or way.leaves not in leaving


@FAMILY.rule("W207", "asymmetric-path", late=True)
def asymmetric_path(subject: Subject) -> Iterator[Remark]:
    """Replies come back by another interface than the packets left by.

    Each direction has rates, queues and losses of its own then, and a stateful firewall on one of the
    paths sees half of the connection.
    """
    for talk in subject.talks:
        for pair in talk.pairs:
            if not pair.arrived or pair.back is None:
                continue
            for way, other in ((pair.out, pair.back), (pair.back, pair.out)):
                if (
                    way.leaves is other.arrives_by
                    or _foreign(way)
                    or way.leaves is None
                    or other.arrives_by is None
                ):
                    continue  # of a foreign interface W206 has told
                yield Remark(
                    subject.cause_of(talk, pair),
                    f"packets from {way.flow.src} to {way.flow.dst} (flow {talk.spec.name!r}) leave by "
                    f"{way.leaves.label}, and replies arrive by {other.arrives_by.label}",
                    "look at the routes of the peer and of the routers: replies belong into the network of "
                    f"{way.flow.src}",
                )


def _foreign(way: Way) -> bool:
    """Return whether packets leave by an interface that does not have their source address."""
    return way.leaves is not None and all(entry.address != way.flow.src for entry in way.leaves.addresses)
