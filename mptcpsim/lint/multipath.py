"""Rules about what the two ends of an MPTCP connection are told: path managers, limits, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.lint.talks import SubflowPair, Talk
from mptcpsim.pathmanagers.addresses import AddressedManager
from mptcpsim.pathmanagers.mp_addresses import MpAddresses
from mptcpsim.pathmanagers.ndiffports import NDiffPorts
from mptcpsim.plugins import PathManager, create
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.check_events import added_addresses

FAMILY: Final = Family()


def manager_of(config: MptcpConfig) -> PathManager:
    """Return the path manager that a configuration names, configured."""
    given = parameters("pathmanager", config.path_manager, config.path_manager_parameters)
    manager = create("pathmanager", config.path_manager, given)
    assert isinstance(manager, PathManager)
    return manager


def _named(config: MptcpConfig) -> list[str]:
    """Return the addresses that a path manager was given."""
    if not config.enabled:
        return []
    manager = manager_of(config)
    return list(manager.named) if isinstance(manager, AddressedManager) else []


@FAMILY.rule("E501", "address-of-nobody")
def address_of_nobody(subject: Subject) -> Iterator[Remark]:
    """A path manager names an address that its host does not have.

    It can neither be announced nor joined from: the entry is passed over, and the subflow that is meant
    never comes.
    """
    for talk in subject.talks:
        for end in talk.ends:
            own = subject.addresses_of(end.host)
            if subject.scenario.hosts[end.host].changes:
                continue
            later = added_addresses(subject.scenario, end.host)
            for address in _named(end.config.mptcp):
                owner = subject.owner(address)
                if address in later or (owner is not None and owner.node == end.host):
                    continue
                whose = "nobody has it" if owner is None else f"it is that of {subject.called(owner)}"
                yield Remark(
                    subject.setter(talk, end, "path_manager"),
                    f"the path manager of {end.host} names {address}, and {whose}",
                    f"write an address of {end.host}: {', '.join(own)}",
                )


@FAMILY.rule("W502", "first-address-again")
def first_address_again(subject: Subject) -> Iterator[Remark]:
    """mp_addresses names the address of the first subflow.

    The first subflow has that address already: it is neither announced nor joined. What is meant are the
    further addresses of the host; with the first one alone there will never be a second subflow.
    """
    for talk in subject.talks:
        for end in talk.ends:
            named = _named(end.config.mptcp)
            if end.config.mptcp.path_manager != "mp_addresses" or end.address not in named:
                continue
            others = [address for address in subject.addresses_of(end.host) if address not in named]
            meant = f"the further addresses of {end.host}: {', '.join(others)}" if others else "no address"
            yield Remark(
                subject.setter(talk, end, "path_manager"),
                f"{end.address} is the address of the first subflow of flow {talk.spec.name!r}: it adds none",
                f"name {meant}" if others else "leave it out: the host has no further address",
            )


@FAMILY.rule("W503", "address-not-joined")
def address_not_joined(subject: Subject) -> Iterator[Remark]:
    """The path manager names an address, and no subflow will ever use it.

    Because of a limit at this end or at the other one, or because the peer does not want further subflows.
    Found out by a rehearsal of the connection between both ends on a perfect wire.
    """
    for talk in subject.talks:
        if not talk.rehearsal.multipath:
            continue
        used = {address for pair in talk.pairs for address in (pair.client, pair.server)}
        for end, other in (talk.ends, talk.ends[::-1]):
            for address in _named(end.config.mptcp):
                if address in used or address not in subject.addresses_of(end.host):
                    continue
                cause, remedy = _limit(talk, end.config.mptcp, other.config.mptcp, end.is_client, address)
                yield Remark(
                    subject.setter(talk, end, "path_manager"),
                    f"no subflow of flow {talk.spec.name!r} will use {address} of {end.host}: {cause}",
                    remedy,
                )


def _limit(talk: Talk, own: MptcpConfig, peer: MptcpConfig, is_client: bool, address: str) -> tuple[str, str]:
    """Return why an address is used by no subflow, as far as it can be told, and what to do."""
    announced = (is_client, address) in talk.rehearsal.announced
    far = manager_of(peer)
    for config, where in ((own, "here"), (peer, "at the other end")):
        if reached := _reached(config, where, len(talk.pairs[1:])):
            return reached
    if announced and getattr(far, "add_addr_accepted", 1) == 0:
        return (
            "it is announced, and the path manager at the other end accepts no announcement "
            "(add_addr_accepted is 0)",
            "write add_addr_accepted = 1 or more at the other end",
        )
    if announced:
        return (
            "it is announced, and the other end does not join it",
            "give the other end a path manager that joins what is announced",
        )
    if not is_client:
        return (
            "a server opens no subflow of its own",
            "announce the address with 'signal', or name it at the client",
        )
    return (
        "the path manager opens none from it",
        f"see `mptcpsim list pathmanager` for what {own.path_manager} makes of an address",
    )


def _reached(config: MptcpConfig, where: str, further: int) -> tuple[str, str] | None:
    """Return which limit of an end so many further subflows have reached, and a remedy; None: none."""
    if config.max_subflows <= 1 + further:
        return (f"max_subflows is {config.max_subflows} {where}", "raise max_subflows there")
    subflows = getattr(manager_of(config), "subflows", None)
    if config.path_manager != NDiffPorts.NAME and subflows is not None and subflows <= further:
        return (
            f"the path manager {where} allows {subflows} further subflows",
            "raise the parameter 'subflows' of the path manager there",
        )
    return None


@FAMILY.rule("W507", "too-many-ports")
def too_many_ports(subject: Subject) -> Iterator[Remark]:
    """The path manager ndiffports wants more subflows than will come up.

    Limits count at both ends: max_subflows of each, and what the path manager of the server takes. Found out
    by a rehearsal of the connection between both ends on a perfect wire.
    """
    for talk in subject.talks:
        client, server = talk.ends
        config = client.config.mptcp
        if not talk.rehearsal.multipath or config.path_manager != NDiffPorts.NAME:
            continue
        manager = manager_of(config)
        assert isinstance(manager, NDiffPorts)
        asked, taken = talk.rehearsal.asked, talk.rehearsal.taken
        if taken >= manager.subflows - 1:
            continue
        causes = []
        if asked < manager.subflows - 1:
            forbidden = "the server forbids subflows to its address (deny_join_initial)"
            cause = _reached(config, f"at {client.host}", asked)
            causes.append(cause or (forbidden, "announce another address at the server"))
        if taken < asked:
            cause = _reached(server.config.mptcp, f"at {server.host}", taken)
            causes.append(
                cause or (f"{server.host} refuses {asked - taken}", f"see the limits of {server.host}")
            )
        yield Remark(
            subject.setter(talk, client, "path_manager"),
            f"ndiffports wants {manager.subflows} subflows of flow {talk.spec.name!r}, and {1 + taken} will "
            f"come up, the first one included: {', '.join(problem for problem, _ in causes)}",
            f"{', '.join(dict.fromkeys(remedy for _, remedy in causes))}, or ask for {1 + taken}",
        )


def _asking_for(talk: Talk, pair: SubflowPair) -> str:
    """Return what to write so that there is a subflow between a pair of addresses."""
    client, server = talk.ends
    if client.config.mptcp.path_manager == MpAddresses.NAME == server.config.mptcp.path_manager:
        address, host = (
            (pair.client, client.host) if pair.client != client.address else (pair.server, server.host)
        )
        return (
            f'write path_manager = {{ name = "{MpAddresses.NAME}", addresses = "{address}" }} in '
            f"[hosts.{host}.mptcp]"
        )
    if pair.server == server.address:
        return (
            f'write path_manager = {{ name = "endpoints", endpoints = "{pair.client} subflow" }} in '
            f"[hosts.{client.host}.mptcp]"
        )
    return (
        f'write path_manager = {{ name = "endpoints", endpoints = "{pair.server} signal" }} in '
        f'[hosts.{server.host}.mptcp] and {{ name = "endpoints", add_addr_accepted = 1 }} in '
        f"[hosts.{client.host}.mptcp]"
    )


#: Pairs of addresses that are tried for a second path, at most.
_MOST_PAIRS: Final = 16


@FAMILY.rule("W508", "second-path-unused")
def second_path_unused(subject: Subject) -> Iterator[Remark]:
    """Two ends speak MPTCP and have a second path, and nothing opens a subflow on it.

    A profile alone names no addresses: the path manager of Linux (endpoints) opens a subflow where an
    endpoint is configured, and for an announcement where add_addr_accepted allows it. The connection has one
    subflow.
    """
    for talk in subject.talks:
        client, server = talk.ends
        configs = client.config.mptcp, server.config.mptcp
        if not talk.rehearsal.multipath or talk.rehearsal.joins or talk.rehearsal.announced:
            continue
        if any(
            _named(config) or config.max_subflows == 1 or config.path_manager == NDiffPorts.NAME
            for config in configs
        ) or any(subject.may_change_addresses(end.host) for end in talk.ends):
            continue
        found = _second_path(subject, talk)
        if found is None:
            continue
        remedy = _asking_for(talk, found)
        yield Remark(
            ("flows", talk.number),
            f"flow {talk.spec.name!r} has one subflow only, though {found.client} of {client.host} reaches "
            f"{found.server} of {server.host} on another path: no path manager asks for a subflow there",
            f"{remedy}; or max_subflows = 1, if one is meant",
        )


def _second_path(subject: Subject, talk: Talk) -> SubflowPair | None:
    """Return a pair of addresses that is another path than the first subflow's, or None.

    Its packets arrive both ways, leave one of the ends by another interface, and cross other links in both
    directions: some, for the last ones may be common.
    """
    client, server = talk.ends
    first = talk.pairs[0]
    if not first.arrived:
        return None
    tried = 0
    for near in subject.addresses_of(client.host):
        for far in subject.addresses_of(server.host):
            if (near, far) == (client.address, server.address) or (":" in near) != (":" in far):
                continue
            tried += 1
            if tried > _MOST_PAIRS:
                return None
            pair = subject.pair_of(talk, near, far)
            if pair.arrived and _differs(first, pair):
                return pair
    return None


def _differs(first: SubflowPair, pair: SubflowPair) -> bool:
    """Return whether a pair that arrives, as the first one does, is another path than that."""
    if all(first.interface_at(side) is pair.interface_at(side) for side in (True, False)):
        return False
    return all(
        {pipe.name for pipe in one.pipes} != {pipe.name for pipe in other.pipes}
        for one, other in zip(first.ways, pair.ways, strict=True)
    )


@FAMILY.rule("W505", "peer-speaks-plain-tcp")
def peer_speaks_plain_tcp(subject: Subject) -> Iterator[Remark]:
    """One end of a flow speaks MPTCP, the other one does not.

    The connection falls back to plain TCP with its first packet, and all settings of MPTCP are in vain.
    """
    for talk in subject.talks:
        for end, other in (talk.ends, talk.ends[::-1]):
            if end.config.mptcp.enabled and not other.config.mptcp.enabled:
                yield Remark(
                    ("flows", talk.number),
                    f"{end.host} speaks MPTCP in flow {talk.spec.name!r}, {other.host} does not: it will be "
                    "plain TCP",
                    f'write mptcp = "{end.config.mptcp.profile}" in [hosts.{other.host}], or mptcp = false '
                    f"in [hosts.{end.host}]",
                )


@FAMILY.rule("W506", "no-common-version")
def no_common_version(subject: Subject) -> Iterator[Remark]:
    """Both ends of a flow speak MPTCP, but not in the same version.

    Version 0 is RFC 6824, version 1 is RFC 8684; there is no connection between the two but plain TCP.
    """
    for talk in subject.talks:
        client, server = (end.config.mptcp for end in talk.ends)
        if not (client.enabled and server.enabled) or set(client.versions) & set(server.versions):
            continue
        ours, theirs = (" and ".join(map(str, config.versions)) for config in (client, server))
        yield Remark(
            ("flows", talk.number),
            f"the client of flow {talk.spec.name!r} speaks version {ours} of MPTCP, the server version "
            f"{theirs}: it will be plain TCP",
            f"write version = {server.versions[0]} at the client, or {client.versions[0]} at the server",
        )
