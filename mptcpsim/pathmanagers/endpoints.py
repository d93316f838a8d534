"""The path manager in the Linux kernel, in the words of ip-mptcp(8).

What the manual page leaves open is as measured on Linux 6.18: a server opens nothing from its
``subflow`` endpoints; the endpoint of the first subflow is neither announced nor joined from,
but its ``backup`` is signalled (MP_PRIO); a limit that becomes free again is used for endpoints
that were not tried yet; an ADD_ADDR that is withdrawn may be followed by another one; and with
``add_addr_accepted`` 0, a client whose peer forbids its first address joins the first announced
one from its ``subflow`` endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from mptcpsim.pathmanagers.addresses import (
    AddressedManager,
    forbids_first_address,
    own_address,
    same_family,
)
from mptcpsim.plugins import (
    Action,
    Announce,
    OpenSubflow,
    Parameter,
    PathView,
    PluginError,
    RemoteAddress,
    SetBackup,
    SubflowInfo,
    Value,
    Withdraw,
    register,
)

_EXAMPLE: Final = "10.0.2.1 subflow"

#: The words of an endpoint that a number follows, and the range of the number.
_NUMBERS: Final = {"port": (1, 65535), "id": (1, 255)}

#: A subflow that is to be: own address, the peer's address and port.
_Pair = tuple[str, str, int]


class Endpoint(NamedTuple):
    """One ``ip mptcp endpoint``. ``port`` and ``identifier`` are 0 where the entry has none."""

    address: str
    signal: bool = False
    subflow: bool = False
    backup: bool = False
    fullmesh: bool = False
    port: int = 0
    identifier: int = 0


def parse_endpoints(text: str) -> list[Endpoint]:
    """Return the endpoints of a list such as ``10.0.2.1 subflow, 10.0.3.1 signal port 8080``.

    Raises:
        PluginError: an entry that is wrong, with the remedy.
    """
    found: list[Endpoint] = []
    for entry in filter(None, map(str.strip, text.split(","))):
        endpoint = _parse(entry)
        for other in found:
            if (other.address, other.port) == (endpoint.address, endpoint.port):
                raise PluginError(f"{entry!r}: the address comes twice: write all its flags in one entry")
            if endpoint.identifier and other.identifier == endpoint.identifier:
                raise PluginError(f"{entry!r}: id {endpoint.identifier} is taken: choose another one")
        found.append(endpoint)
    return found


@lru_cache(maxsize=1 << 10)
def _listed(text: str) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """Return the same endpoints and their addresses: all connections of a host share them."""
    listed = tuple(parse_endpoints(text))
    return listed, tuple(endpoint.address for endpoint in listed)


def _parse(entry: str) -> Endpoint:
    words = iter(entry.split())
    address = own_address(next(words), entry, _EXAMPLE)
    flags: set[str] = set()
    numbers = dict.fromkeys(_NUMBERS, 0)
    for word in words:
        if word in numbers:
            numbers[word] = _number(word, next(words, ""), entry)
        elif word in ("signal", "subflow", "backup", "fullmesh"):
            flags.add(word)
        elif word == "dev":
            raise PluginError(f"{entry!r}: the address tells the interface: leave dev and its name out")
        else:
            raise PluginError(
                f"{entry!r}: {word!r} is no flag: known are signal, subflow, backup, fullmesh, port, id"
            )
    if not flags & {"signal", "subflow"}:
        raise PluginError(f"{entry!r}: what is it for? Add subflow (join from it) or signal (announce it)")
    # As the kernel has it.
    if {"fullmesh", "signal"} <= flags:
        raise PluginError(f"{entry!r}: fullmesh and signal exclude each other: keep one of them")
    if numbers["port"] and "signal" not in flags:
        raise PluginError(f"{entry!r}: a port belongs to signal: add signal or leave the port out")
    return Endpoint(
        address,
        signal="signal" in flags,
        subflow="subflow" in flags,
        backup="backup" in flags,
        fullmesh="fullmesh" in flags,
        port=numbers["port"],
        identifier=numbers["id"],
    )


def _number(word: str, value: str, entry: str) -> int:
    low, high = _NUMBERS[word]
    if not (value.isascii() and value.isdigit()) or not low <= int(value) <= high:
        raise PluginError(f"{entry!r}: {word} is followed by a number from {low} to {high}")
    return int(value)


class Endpoints(AddressedManager):
    """Endpoints and limits, as ``ip mptcp endpoint`` and ``ip mptcp limits`` set them.

    Attributes:
        listed: the endpoints.
        subflows: further subflows that the connection may have.
        add_addr_accepted: announcements from which subflows are opened.
    """

    NAME: ClassVar[str] = "endpoints"
    SUMMARY: ClassVar[str] = "that of the Linux kernel: endpoints and limits of ip-mptcp(8)"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("endpoints", "", f'own addresses and their use: "{_EXAMPLE}, 10.0.3.1 signal backup"'),
        Parameter("subflows", 2, "subflows beside the first one, whoever opened them", 0, 255),
        Parameter("add_addr_accepted", 0, "announcements (ADD_ADDR) that lead to subflows", 0, 255),
    )

    def __init__(self) -> None:
        super().__init__()
        self.listed: tuple[Endpoint, ...] = ()
        self.subflows: int = 2
        self.add_addr_accepted: int = 0
        #: Identifiers of the peer's addresses whose announcement has led to subflows.
        self._accepted: dict[int, str] = {}
        # Tuples of a few pairs, not sets: they take a quarter of the memory in each connection.
        #: What was opened or asked for: each pair once, whatever becomes of it.
        self._tried: tuple[_Pair, ...] = ()
        #: What was asked for and is not among the subflows yet: an MP_JOIN may have to wait.
        self._awaited: tuple[_Pair, ...] = ()
        #: The peer forbids its first address, and nothing was joined for want of another one.
        self._stranded: bool = False

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.listed, self.named = _listed(str(values["endpoints"]))
        self.subflows = int(values["subflows"])
        self.add_addr_accepted = int(values["add_addr_accepted"])

    def may_join(self, view: PathView) -> bool:
        """Return whether the limit of subflows leaves room."""
        return sum(subflow.identifier != 0 for subflow in view.subflows) < self.subflows

    def wants_backup(self, view: PathView, local: str) -> bool:
        """Return whether the endpoint of an address is a backup."""
        return any(endpoint.backup for endpoint in self.listed if endpoint.address == local)

    def identifier_for(self, local: str) -> int:
        """Return the ``id`` of an endpoint."""
        return max((endpoint.identifier for endpoint in self.listed if endpoint.address == local), default=0)

    def on_established(self, view: PathView) -> list[Action]:
        """Announce the ``signal`` endpoints, join from the ``subflow`` endpoints."""
        initial = self.first(view)
        self._tried = (*self._tried, (initial.local, initial.remote, initial.remote_port))
        self._stranded = view.is_client and self.add_addr_accepted == 0 and forbids_first_address(view)
        actions: list[Action] = []
        for endpoint in self._present(view):
            if endpoint.address == initial.local and not endpoint.port:
                if endpoint.backup:
                    actions.append(SetBackup(initial.identifier, True))
            elif endpoint.signal:
                actions.append(Announce(endpoint.address, endpoint.port))
        return actions + self._join_from_endpoints(view)

    def on_announced(self, view: PathView, remote: RemoteAddress) -> list[Action]:
        """Join the new address: from the ``fullmesh`` endpoints, else as routing chooses."""
        # Announced again, an address may be tried again (RFC 8684 section 3.4.1).
        self._tried = tuple(pair for pair in self._tried if pair[1] != remote.address)
        known = self._accepted.get(remote.identifier) == remote.address
        if known or len(self._accepted) < self.add_addr_accepted:
            mesh = [(e.address, e.backup) for e in self._present(view, remote) if e.fullmesh]
            sources = mesh or [(view.source_for(remote.address), False)]
        elif self._stranded:
            self._stranded = False
            sources = [(e.address, e.backup) for e in self._present(view, remote) if e.subflow]
        else:
            return []
        actions = self._join(view, [(local, backup, remote) for local, backup in sources])
        if actions:
            self._accepted[remote.identifier] = remote.address
        return actions

    def on_withdrawn(self, view: PathView, identifier: int) -> list[Action]:
        """Have room for another announcement, of the same address perhaps."""
        address = self._accepted.pop(identifier, None)
        self._tried = tuple(pair for pair in self._tried if pair[1] != address)
        return []

    def on_subflow_closed(self, view: PathView, subflow: SubflowInfo) -> list[Action]:
        """Use the room for an endpoint that the limit has kept from being used."""
        closed = (subflow.local, subflow.remote, subflow.remote_port)
        self._awaited = tuple(pair for pair in self._awaited if pair != closed)
        return self._join_from_endpoints(view)

    def on_local_address(self, view: PathView, address: str, up: bool) -> list[Action]:
        """Use an endpoint whose address came back, withdraw one whose address went."""
        mine = [endpoint for endpoint in self.listed if endpoint.address == address]
        if not mine:
            return []
        if not up:
            return [Withdraw(address)]
        self._tried = tuple(pair for pair in self._tried if pair[0] != address)
        actions: list[Action] = [
            Announce(address, endpoint.port)
            for endpoint in mine
            if endpoint.signal and address not in view.announced
        ]
        return actions + self._join_from_endpoints(view)

    def _present(self, view: PathView, remote: RemoteAddress | None = None) -> list[Endpoint]:
        """Return the endpoints whose address the host has, those of the family of ``remote`` only."""
        return [
            endpoint
            for endpoint in self.listed
            if endpoint.address in view.local_addresses
            and (remote is None or same_family(endpoint.address, remote.address))
        ]

    def _join_from_endpoints(self, view: PathView) -> list[Action]:
        """Join the peer's first address, or from ``fullmesh`` endpoints all that are in use."""
        if not view.is_client:
            return []
        in_use = {0, *self._accepted} | {subflow.remote_id for subflow in view.subflows}
        known = [remote for remote in view.remote_addresses if remote.identifier in in_use]
        return self._join(
            view,
            [
                (endpoint.address, endpoint.backup, remote)
                for endpoint in self._present(view)
                if endpoint.subflow
                for remote in known
                if endpoint.fullmesh or remote.identifier == 0
            ],
        )

    def _join(self, view: PathView, wanted: Iterable[tuple[str, bool, RemoteAddress]]) -> list[Action]:
        """Return what opens the subflows that were not tried before, as far as the limit goes.

        Args:
            view: the connection.
            wanted: own address, whether as a backup, and the peer's address.
        """
        present = {(s.local, s.remote, s.remote_port) for s in view.subflows}
        theirs = {(s.local, s.remote) for s in view.subflows if not s.opened_here}
        self._awaited = tuple(pair for pair in self._awaited if pair not in present)
        room = self.subflows - len(self._awaited) - sum(s.identifier != 0 for s in view.subflows)
        actions: list[Action] = []
        for local, backup, remote in wanted:
            pair = (local, remote.address, remote.port)
            if room <= 0 or pair in self._tried or pair[:2] in theirs or not self._fits(view, local, remote):
                continue
            self._tried = (*self._tried, pair)
            if pair not in self._awaited:
                self._awaited = (*self._awaited, pair)
            room -= 1
            actions.append(OpenSubflow(local, remote.address, remote.port, backup))
        return actions

    def _fits(self, view: PathView, local: str, remote: RemoteAddress) -> bool:
        """Return whether two addresses are of one family, and that one of the connection's.

        An IPv4 socket uses no IPv6 address; an IPv6 socket may use both. There is no ``local``
        where routing finds none.
        """
        if not local or not same_family(local, remote.address):
            return False
        return ":" in self.first(view).local or ":" not in local


register(Endpoints)
