"""The protocol stack of one host, without a clock and without a network.

A driver feeds it packets and the time, and drains after every call, in this order:
``outbox`` (packets to send), ``ready`` (connections whose application waits and can
go on), ``next_timer()``. The same object runs under SimPy and in tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.host import TimerOwner
from mptcpsim.core.mptcp.agreement import answer_version, is_to_be_ignored
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.host import MptcpHost
from mptcpsim.core.mptcp.keys import Key, derive, generate
from mptcpsim.core.mptcp_options import (
    REASON_MPTCP_SPECIFIC,
    VERSION_1,
    MpCapable,
    MpJoinSyn,
    MptcpOption,
    MpTcprst,
)
from mptcpsim.core.segment import (
    ACK,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    reset_for,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.icmp_errors import receive_icmp
from mptcpsim.plugins import CongestionControl, create

if TYPE_CHECKING:
    from mptcpsim.core.mptcp_config import MptcpConfig
    from mptcpsim.plugins import OpenSubflow

#: RFC 6335 section 6: the dynamic ports.
_FIRST_PORT: Final = 49152
_LAST_PORT: Final = 65535

_DEFAULT_MTU: Final = 1500

#: So many connections or timers are not worth looking through.
_FEW: Final = 16


class Listener:
    """A port that accepts connections.

    Attributes:
        port: the local port.
        address: the only local address that is listened on; empty: all of them.
        config: behaviour of the connections accepted.
        accepted: established connections that nobody has taken yet; take them with ``pop(0)``.
        eager: accepted connections read at once (see ``Connection.eager``).
    """

    __slots__ = ("accepted", "address", "config", "eager", "port")

    def __init__(self, port: int, config: TcpConfig, address: str = "") -> None:
        self.port = port
        self.address = address
        self.config = config
        self.eager: bool = False
        self.accepted: list[Connection] = []


class Stack(MptcpHost):
    """The transport layer of one host.

    Attributes:
        ready: connections whose application can go on; the driver clears it.
        arrivals: listeners with a new connection; the driver clears it.
        remembers: connections that have ended stay in ``connections``, and their events in ``events``.
            Else they are forgotten: after any number of them there are no more than twice those that
            are open, and a few.
        connections: the connections, oldest first.
        addresses: local addresses and the MTU behind them.
        lost: addresses that have gone, or are about to; nothing leaves from them.
        tokens: MPTCP connections by the token of their own key.
        versions_refused: versions of MPTCP that a peer did not answer, by its address.
        choose_source: gives the own address from which routing reaches another, or an empty string.
    """

    __slots__ = (
        "_connections_ever",
        "_most_connections",
        "_ports",
        "_rng",
        "_subflows",
        "addresses",
        "arrivals",
        "choose_source",
        "config",
        "connections",
        "listeners",
        "lost",
        "ready",
        "remembers",
        "tokens",
        "versions_refused",
    )

    def __init__(self, name: str, rng: random.Random, config: TcpConfig) -> None:
        super().__init__(name)
        self.config = config
        self.ready: list[Connection] = []
        self.arrivals: list[Listener] = []
        self.remembers: bool = False
        self.connections: list[Connection] = []
        self.addresses: dict[str, int] = {}
        self.lost: set[str] = set()
        self.listeners: dict[int, Listener] = {}
        self._rng = rng
        self._subflows: dict[FourTuple, Tcp] = {}
        self.tokens: dict[int, MptcpConnection] = {}
        self.versions_refused: dict[str, set[int]] = {}
        self.choose_source: Callable[[str], str] | None = None
        self._ports: int = _FIRST_PORT
        self._connections_ever: int = 0
        #: With so many it is time to look for those that have ended.
        self._most_connections: int = _FEW

    # --- Addresses ------------------------------------------------------------------------------

    def add_address(self, address: str, mtu: int = _DEFAULT_MTU) -> None:
        """Make ``address`` (canonical text form) a local one; ``mtu`` is that of its interface."""
        self.addresses[address] = mtu
        if address in self.lost:
            self.lost.discard(address)
            for tcp in self._subflows.values():
                if tcp.flow.src == address:
                    tcp.speak_again()

    def change_address(self, address: str, up: bool, now: int) -> None:
        """Tell every MPTCP connection that an address has come or is about to go."""
        if not up:
            self.lose_addresses([address], now)
            return
        self.now = now
        for connection in list(self.tokens.values()):
            connection.on_local_address(address, True, now)

    def lose_addresses(self, addresses: list[str], now: int) -> None:
        """Send nothing from these addresses any more, and tell every MPTCP connection that they go.

        What else has one of them is not told, as in Linux: what it sends goes nowhere, until it gives up
        or the address comes back. All go at once: what is said of one leaves by none of the others.
        """
        self.now = now
        self.lost.update(addresses)
        for tcp in self._subflows.values():
            if tcp.flow.src in self.lost:
                tcp.fall_silent()
        for connection in list(self.tokens.values()):
            for address in addresses:
                connection.on_local_address(address, False, now)

    def has_address(self, address: str) -> bool:
        """Return whether something may be sent from an address."""
        return address in self.addresses and address not in self.lost

    def local_addresses(self) -> list[str]:
        """Return the addresses from which something may be sent."""
        return [address for address in self.addresses if self.has_address(address)]

    def source_for(self, remote: str) -> str:
        """Return the own address from which routing reaches ``remote``; empty: none.

        Without routing, as between two stacks alone, it is the first one of the family.
        """
        if self.choose_source is not None:
            return self.choose_source(remote)
        for address in self.addresses:
            if address not in self.lost and (":" in address) == (":" in remote):
                return address
        return ""

    # --- Commands -------------------------------------------------------------------------------

    def listen(self, port: int, config: TcpConfig | None = None, address: str = "") -> Listener:
        """Accept connections on ``port``, on every local address or on one.

        Raises:
            LocalProtocolError: the port is in use or not a port.
        """
        if not 0 < port <= 0xFFFF:
            raise LocalProtocolError(f"{port} is not a port")
        if port in self.listeners:
            raise LocalProtocolError(f"port {port} is in use at host {self.name}")
        listener = Listener(port, config or self.config, address)
        self.listeners[port] = listener
        return listener

    def connect(
        self,
        local: str,
        remote: tuple[str, int],
        now: int,
        config: TcpConfig | None = None,
        local_port: int = 0,
    ) -> Connection:
        """Open a connection from the local address to the remote address and port.

        Args:
            local: one of ``addresses``.
            remote: address and port.
            now: ns.
            config: behaviour; the host's if None.
            local_port: 0 chooses a free one.

        Raises:
            LocalProtocolError: the address is not local, or the four-tuple is in use.
        """
        if not self.has_address(local):
            raise LocalProtocolError(f"{local} is not an address of host {self.name}")
        if not 0 < remote[1] <= 0xFFFF:
            raise LocalProtocolError(f"{remote[1]} is not a port")
        self.now = now
        flow = FourTuple(local, local_port or self._free_port(local, remote), remote[0], remote[1])
        if flow.reverse() in self._subflows:
            raise LocalProtocolError(f"{flow} is in use at host {self.name}")
        connection = self._new_client(config or self.config, remote[0], flow.sport)
        self._add(connection)
        subflow = self._new_subflow(connection, flow)
        subflow.open_active(now)
        return connection

    def _new_client(self, config: TcpConfig, remote: str, port: int) -> Connection:
        version = UNKNOWN
        if config.mptcp.enabled:
            refused = self.versions_refused.get(remote, set())
            for candidate in config.mptcp.versions:
                if candidate not in refused:
                    version = candidate
                    break
            if version == UNKNOWN:
                self.counters.add("MPTcpExtMPCapableSYNTXDisabled")
        return self._new_multipath(config, True, version, port)

    def _add(self, connection: Connection) -> None:
        """Take a new connection, and forget others that have ended if there are many."""
        connections = self.connections
        if not self.remembers and len(connections) >= self._most_connections:
            going_on = [other for other in connections if not other.closed]
            known = {other.identifier for other in going_on}
            connections[:] = going_on
            self.events[:] = [event for event in self.events if event.connection in known]
            self._most_connections = 2 * len(going_on) + _FEW
        connections.append(connection)
        self._connections_ever += 1

    def _new_multipath(
        self, config: TcpConfig, is_client: bool, version: int, port: int, eager: bool = False
    ) -> Connection:
        """Return a connection that offers or answers MPTCP, a plain one without a version or a key."""
        identifier = self._connections_ever
        if version == UNKNOWN:
            return Connection(self, identifier, config, port, eager)
        key = self._new_key(config.mptcp, version)
        if key is None:
            self.counters.add("MPTcpExtMPFallbackTokenInit")
            return Connection(self, identifier, config, port, eager)
        connection = MptcpConnection(self, identifier, config, port, eager, is_client, version, key)
        self.tokens[key.token] = connection
        return connection

    def _new_key(self, config: MptcpConfig, version: int) -> Key | None:
        # Drawn in any case, so that fixing it changes nothing else.
        drawn = generate(self._rng, version, self.tokens)
        value = config.initial_key
        if value == UNKNOWN:
            if drawn is None:
                return None
            value = drawn.value
        key = derive(value, version, config.initial_dsn)
        return None if key.token in self.tokens else key

    def _free_port(self, local: str, remote: tuple[str, int]) -> int:
        for _ in range(_LAST_PORT - _FIRST_PORT + 1):
            port = self._ports
            self._ports = port + 1 if port < _LAST_PORT else _FIRST_PORT
            if FourTuple(remote[0], remote[1], local, port) not in self._subflows:
                return port
        raise LocalProtocolError(f"no free port at host {self.name} towards {remote[0]}:{remote[1]}")

    def _new_subflow(self, connection: Connection, flow: FourTuple) -> Tcp:
        config = connection.config
        congestion = create("congestion", config.congestion, config.congestion_parameters, self.plugins)
        assert isinstance(congestion, CongestionControl)
        # Both are drawn in any case, so that fixing one of them changes nothing else.
        iss = self._rng.getrandbits(32)
        timestamp = self._rng.getrandbits(32)
        subflow = Tcp(
            self,
            connection,
            len(connection.subflows),
            flow,
            config,
            congestion,
            self.addresses[flow.src],
            config.initial_sequence if config.initial_sequence >= 0 else iss,
            config.initial_timestamp if config.initial_timestamp >= 0 else timestamp,
        )
        connection.subflows.append(subflow)
        self._subflows[flow.reverse()] = subflow
        return subflow

    # --- Inputs ---------------------------------------------------------------------------------

    def receive_packet(self, packet: Packet, now: int) -> None:
        """Take a packet from the network."""
        self.now = now
        if isinstance(packet, Segment):
            self.counters.count_in()
            if packet.damaged:
                self.counters.add("TcpInCsumErrors")
                self.counters.add("TcpInErrs")
                return
            subflow = self._subflows.get(packet.flow)
            if subflow is not None:
                subflow.receive(packet, now)
            else:
                self._no_connection(packet, now)
        elif isinstance(packet, IcmpError) and not packet.damaged:
            subflow = self._subflows.get(packet.quoted_flow.reverse())
            if subflow is not None:
                receive_icmp(subflow, packet, now)

    def _no_connection(self, segment: Segment, now: int) -> None:
        """RFC 9293 sections 3.10.7.1 and 3.10.7.2: states CLOSED and LISTEN."""
        flags = segment.flags
        if flags & RST or not self.has_address(segment.flow.dst):
            return
        if flags & SYN and not flags & ACK and self._versions():
            for option in segment.options or ():
                if isinstance(option, MpJoinSyn):
                    self._join(segment, option, now)
                    return
        listener = self.listeners.get(segment.flow.dport)
        if listener is None or flags & ACK:
            self._reset(segment)
            return
        if listener.address and listener.address != segment.flow.dst:
            self._reset(segment)
            return
        if not flags & SYN:
            return
        version = UNKNOWN
        offer: MpCapable | None = None
        for option in segment.options or ():
            if isinstance(option, MpCapable):
                offer = option
        if offer is not None and listener.config.mptcp.enabled:
            # Where MPTCP is off the option is an unknown one, and not counted either.
            self.counters.add("MPTcpExtMPCapableSYNRX")
            if is_to_be_ignored(offer):
                return
            version = answer_version(offer, listener.config.mptcp)
        connection = self._new_multipath(listener.config, False, version, listener.port, listener.eager)
        self._add(connection)
        subflow = self._new_subflow(connection, segment.flow.reverse())
        if isinstance(connection, MptcpConnection) and offer is not None:
            connection.subflow_of(subflow.identifier).handshake.on_syn(offer, segment)
        subflow.open_passive(segment, now)

    # --- Joins (RFC 8684 section 3.2) -----------------------------------------------------------

    def _versions(self) -> set[int]:
        """Return the versions of MPTCP that this host speaks; without any its options are unknown ones."""
        configs = [self.config, *(listener.config for listener in self.listeners.values())]
        configs += [connection.config for connection in self.tokens.values()]
        return {version for config in configs if config.mptcp.enabled for version in config.mptcp.versions}

    def _join(self, segment: Segment, join: MpJoinSyn, now: int) -> None:
        """A SYN with MP_JOIN: it belongs to the connection of its token, whatever its port."""
        self.counters.add("MPTcpExtMPJoinSynRx")
        if join.backup:
            self.counters.add("MPTcpExtMPJoinSynBackupRx")
        connection = self.tokens.get(join.token)
        if connection is None:
            self.counters.add("MPTcpExtMPJoinNoTokenFound")
            self._reset(segment, REASON_MPTCP_SPECIFIC)
            return
        reason = connection.joins.refusal(segment.flow)
        if reason != UNKNOWN:
            self.counters.add("MPTcpExtMPJoinRejected")
            self._reset(segment, reason)
            return
        tcp = self._new_subflow(connection, segment.flow.reverse())
        connection.subflow_of(tcp.identifier).handshake.on_syn(join, segment)
        tcp.open_passive(segment, now)

    def open_join(self, connection: TimerOwner, action: OpenSubflow) -> int:
        """Give a connection a further subflow in state CLOSED; return its number, -1 if it cannot be."""
        assert isinstance(connection, MptcpConnection)
        if not self.has_address(action.local):
            return UNKNOWN
        remote = (action.remote, action.port)
        port = action.local_port or self._free_port(action.local, remote)
        flow = FourTuple(action.local, port, action.remote, action.port)
        if flow.reverse() in self._subflows:
            return UNKNOWN
        return self._new_subflow(connection, flow).identifier

    def nonce(self) -> int:
        """Return a fresh random number of 32 bits."""
        return self._rng.getrandbits(32)

    def rename_token(self, old: int, new: int, connection: TimerOwner) -> bool:
        """Give a connection another token; return False if that is taken."""
        assert isinstance(connection, MptcpConnection)
        if new in self.tokens:
            return False
        self.release_token(old, connection)
        self.tokens[new] = connection
        return True

    def release_token(self, token: int, connection: TimerOwner) -> None:
        """Forget a token; harmless if the connection has not got it."""
        if self.tokens.get(token) is connection:
            del self.tokens[token]

    def note_refusal(self, peer: str, version: int) -> None:
        """Remember that a peer has not answered a version of MPTCP."""
        self.versions_refused.setdefault(peer, set()).add(version)

    # --- No connection --------------------------------------------------------------------------

    def _reset(self, cause: Segment, reason: int = UNKNOWN) -> None:
        """Answer a segment that belongs to no connection (section 3.5.2, group 1).

        Args:
            cause: that segment.
            reason: of the MP_TCPRST that goes along; ``UNKNOWN`` for none.
        """
        options: tuple[MptcpOption, ...] | None = None
        if reason != UNKNOWN and VERSION_1 in self._versions():
            options = (MpTcprst(reason),)
            self.counters.add("MPTcpExtMPRstTx")
        self.counters.add("TcpOutRsts")
        self.counters.count_out()
        self.outbox.append(reset_for(cause, options))

    def handle_timer(self, now: int) -> None:
        """Do what is due; waking early is harmless."""
        self.nowhere.clear()
        super().handle_timer(now)

    # --- What connections report ----------------------------------------------------------------

    def can_go_on(self, connection: TimerOwner) -> None:
        """The application that waits for a connection can go on."""
        assert isinstance(connection, Connection)
        self.ready.append(connection)

    def on_established(self, connection: TimerOwner, port: int, passive: bool) -> None:
        """A handshake is complete; a passive connection goes to the listener of its port."""
        if passive:
            listener = self.listeners.get(port)
            if listener is not None:
                assert isinstance(connection, Connection)
                listener.accepted.append(connection)
                self.arrivals.append(listener)

    def forget(self, flow: FourTuple) -> None:
        """A subflow is CLOSED: the four-tuple with which it sent is free again."""
        self._subflows.pop(flow.reverse(), None)

    def open_subflows(self) -> int:
        """Return how many TCP connections and subflows there are that have not ended."""
        return len(self._subflows)

    def sequence_map(self, flow: FourTuple) -> SequenceMap | None:
        """Return the map of the connection that ``flow`` (as received) belongs to, or None.

        The map's reference points are brought up to date, so that wire numbers unwrap
        near what the connection expects.
        """
        subflow = self._subflows.get(flow)
        if subflow is None:
            return None
        return subflow.sequences.near(subflow.receiver.nxt, subflow.sender.una)
