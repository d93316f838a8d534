"""Addresses of the two ends of a connection: identifiers, ADD_ADDR, REMOVE_ADDR (RFC 8684 section 3.4).

Identifier 0 is the address of the first subflow, at both ends. Version 1 authenticates an
ADD_ADDR and repeats it until it is echoed; version 0 does neither.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.fallback import Fallback
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp_options import REASON_UNSPECIFIED, VERSION_0, AddAddr, RemoveAddr
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.plugins import RemoteAddress
from mptcpsim.units import NEVER

_MAX_ID: Final = 255


class Announcement:
    """An ADD_ADDR of ours that the peer has not echoed. Times in ns.

    Attributes:
        option: as it is sent.
        repeat_at: when it is sent again, or given up.
    """

    __slots__ = ("_timeout", "_tries", "option", "repeat_at")

    def __init__(self, option: AddAddr, timeout: int, now: int) -> None:
        self.option = option
        self._timeout = timeout
        #: How often it was sent.
        self._tries: int = 1
        self.repeat_at: int = now + timeout

    def may_repeat(self, retries: int) -> bool:
        """Return whether it may be sent again, at most ``retries`` times in all."""
        return self._tries <= retries

    def on_repeat(self, now: int) -> None:
        """It is sent again."""
        self._tries += 1
        self.repeat_at = now + self._timeout


class Addresses:
    """The addresses of both ends of a connection.

    Attributes:
        remote: addresses of the peer by identifier.
        announced: identifiers of own addresses that were announced to the peer.
    """

    __slots__ = (
        "_announced_ports",
        "_connection",
        "_failed",
        "_fallback",
        "_ids",
        "_next_id",
        "_unanswered",
        "announced",
        "remote",
    )

    def __init__(self, connection: Session, fallback: Fallback) -> None:
        self._connection = connection
        self._fallback = fallback
        self._ids: dict[str, int] = {}
        self._next_id: int = 1
        # Most connections announce nothing, and no join of theirs fails: what is None is empty.
        self._unanswered: dict[int, Announcement] | None = None
        #: Port named with each announced address; 0: none.
        self._announced_ports: dict[str, int] | None = None
        self.announced: dict[str, int] = {}
        self.remote: dict[int, RemoteAddress] = {}
        #: Addresses of the peer to which a join has failed.
        self._failed: set[str] | None = None

    def start(self, local: str, remote: str, port: int) -> None:
        """Take the addresses of the first subflow."""
        self._ids[local] = 0
        self.remote[0] = RemoteAddress(0, remote, port)

    def local_id(self, address: str) -> int:
        """Return the identifier of an own address, a new one if it has none."""
        identifier = self._ids.get(address, UNKNOWN)
        if identifier == UNKNOWN:
            identifier = self._connection.path_manager.identifier_for(address)
            taken = self._ids.values()
            while identifier == 0 or identifier in taken:
                identifier = self._next_id
                self._next_id = identifier + 1 if identifier < _MAX_ID else 1
            self._ids[address] = identifier
        return identifier

    # --- Own addresses --------------------------------------------------------------------------

    def announce(self, address: str, port: int, now: int) -> None:
        """Announce a local address to the peer (section 3.4.1)."""
        connection = self._connection
        identifier = self.local_id(address)
        number = port or UNKNOWN
        hmac = connection.agreed.own_add_addr_hmac(identifier, address, number)
        option = AddAddr(identifier, address, number, hmac)
        self.announced[address] = identifier
        if self._announced_ports is None:
            self._announced_ports = {}
        self._announced_ports[address] = port
        config = connection.config.mptcp
        if connection.agreed.version != VERSION_0 and config.add_addr_retries:
            waiting = Announcement(option, config.add_addr_timeout, now)
            if self._unanswered is None:
                self._unanswered = {}
            self._unanswered[identifier] = waiting
            connection.wake_by(waiting.repeat_at)
        connection.signal(option, now)

    def has_announced(self, address: str, port: int) -> bool:
        """Return whether this local address is announced with this port."""
        return (0 if self._announced_ports is None else self._announced_ports.get(address, 0)) == port

    def withdraw(self, address: str, now: int) -> None:
        """Tell the peer to stop using a local address (section 3.4.2).

        The side that removes the address closes working subflows with a FIN.
        """
        connection = self._connection
        identifier = self._forget(address, now)
        for subflow in connection.subflows_of_local(identifier) if identifier != UNKNOWN else ():
            connection.count("MPTcpExtRmSubflow")
            if connection.is_only(subflow) and self._fallback.may_be_plain(subflow):
                subflow.reset(REASON_UNSPECIFIED, "withdrawn before MPTCP is sure", now)
            else:
                subflow.tcp.close(now)

    def lose(self, address: str, now: int) -> None:
        """The host has lost an address: close its subflows, and tell the peer.

        Nothing arrives at the address or leaves from it any more. Its subflows end silently, because the RST
        that section 3.4.2 asks for "if possible" cannot be sent. Their data goes to other subflows at once.
        """
        connection = self._connection
        self._forget(address, now)
        for subflow in connection.open_subflows():
            if subflow.tcp.flow.src == address:
                connection.count("MPTcpExtRmSubflow")
                subflow.tcp.finish("the address is gone", now)

    def _forget(self, address: str, now: int) -> int:
        """Send REMOVE_ADDR for a local address; return the identifier that it had, or ``UNKNOWN``."""
        identifier = self._ids.pop(address, UNKNOWN)
        if identifier != UNKNOWN:
            self.announced.pop(address, None)
            if self._announced_ports is not None:
                self._announced_ports.pop(address, None)
            if self._unanswered is not None:
                self._unanswered.pop(identifier, None)
            self._connection.signal_elsewhere(RemoveAddr((identifier,)), identifier, now)
        return identifier

    def next_deadline(self) -> int:
        """Return when an ADD_ADDR is due again, ns, or ``NEVER``."""
        if not self._unanswered:
            return NEVER
        return min(waiting.repeat_at for waiting in self._unanswered.values())

    def handle_timers(self, now: int) -> None:
        """Repeat the ADD_ADDRs that were not echoed in time."""
        unanswered = self._unanswered
        if not unanswered:
            return
        connection = self._connection
        for identifier, waiting in list(unanswered.items()):
            if waiting.repeat_at > now:
                continue
            if not waiting.may_repeat(connection.config.mptcp.add_addr_retries):
                del unanswered[identifier]
                continue
            waiting.on_repeat(now)
            connection.signal(waiting.option, now)

    # --- The peer's -------------------------------------------------------------------------------

    def on_add_addr(self, option: AddAddr, subflow: SubflowState, now: int) -> None:
        """Take an ADD_ADDR, or the echo of one of ours."""
        connection = self._connection
        if option.echo:
            connection.count("MPTcpExtEchoAdd")
            unanswered = self._unanswered
            if unanswered:
                waiting = unanswered.get(option.address_id)
                if waiting is not None and waiting.option[:3] == option[:3]:
                    del unanswered[option.address_id]
            return
        agreed = connection.agreed
        if not agreed.accepts_add_addr_hmac(option.hmac, option.address_id, option.address, option.port):
            # It is ignored silently, but counted (section 3.4.1).
            connection.count("MptcpsimAddAddrHmacFailure")
            return
        connection.count("MPTcpExtAddAddr")
        # Port 0 stands for no port, as in Linux: no subflow can be opened to it.
        names_port = option.port > 0
        if names_port:
            connection.count("MPTcpExtPortAdd")
        if agreed.version != VERSION_0:
            connection.signal(option._replace(hmac=b"", echo=True), now)
        connection.on_add_addr(now)
        port = option.port if names_port else subflow.tcp.flow.dport
        known = self.remote.get(option.address_id)
        fresh = RemoteAddress(option.address_id, option.address, port)
        if known is not None and known.address != option.address:
            # An identifier may stand for another address only after a REMOVE_ADDR.
            connection.count("MPTcpExtAddAddrDrop")
            return
        has_failed = self._failed is not None and option.address in self._failed
        if known == fresh and not has_failed:
            # A repeated ADD_ADDR changes nothing, unless a join has failed: then it allows another try
            # (section 3.4.1).
            return
        if self._failed is not None:
            self._failed.discard(option.address)
        self.remote[option.address_id] = fresh
        connection.note("ANNOUNCED", f"id {option.address_id} {option.address} port {port}")
        connection.act(connection.path_manager.on_announced(connection.paths, fresh), now)

    def on_join_failed(self, address: str) -> None:
        """A subflow to an address of the peer could not be opened."""
        if self._failed is None:
            self._failed = set()
        self._failed.add(address)

    def learn(self, identifier: int, address: str, port: int) -> None:
        """Note the address from which the peer has joined a subflow."""
        if identifier not in self.remote:
            self.remote[identifier] = RemoteAddress(identifier, address, port)

    def on_remove_addr(self, option: RemoveAddr, now: int) -> None:
        """Take a REMOVE_ADDR: open no subflow to these addresses any more, and test those that exist."""
        connection = self._connection
        for identifier in option.address_ids:
            connection.count("MPTcpExtRmAddr")
            affected = connection.subflows_of_remote(identifier)
            if identifier not in self.remote and not affected:
                # Unknown identifiers are ignored (section 3.8).
                connection.count("MPTcpExtRmAddrDrop")
                continue
            self.remote.pop(identifier, None)
            connection.note("REMOVED", f"id {identifier}")
            for subflow in affected:
                subflow.on_remote_address_removed(now)
            connection.act(connection.path_manager.on_withdrawn(connection.paths, identifier), now)
