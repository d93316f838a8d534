"""The TCP of one host, without a clock and without a network: demultiplexing, listeners, addresses, ports.

A driver feeds it packets and the time, and drains after every call, in this order:
``outbox`` (packets to send), ``ready`` (connections whose application waits and can
go on), ``next_timer()``. The same object runs under SimPy and in tests.

It is complete by itself. ``core.stack.Stack`` adds MPTCP by overriding ``_new_client`` (the offer of an
active open), ``_on_syn`` (the answer to a SYN), ``change_address`` and ``lose_addresses``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.host import TimerOwner, TransportHost
from mptcpsim.core.mptcp_options import MptcpOption
from mptcpsim.core.segment import (
    ACK,
    RST,
    SYN,
    FlowWay,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    reset_for,
)
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.icmp_errors import receive_icmp
from mptcpsim.plugins import CongestionControl, create, current_scope

#: RFC 6335 section 6: the dynamic ports.
_FIRST_PORT: Final = 49152
_LAST_PORT: Final = 65535
_PORT_BITS: Final = 14

_DEFAULT_MTU: Final = 1500

#: Up to this number of connections the stack does not search for ended ones.
_FEW: Final = 16


class Listener:
    """A port that accepts connections.

    Attributes:
        port: the local port.
        address: the only local address that is listened on; empty: all of them.
        config: behaviour of the connections accepted.
        accepted: established connections that were not taken yet; take them with ``pop(0)``.
        eager: accepted connections read at once (see ``Connection.eager``).
    """

    __slots__ = ("accepted", "address", "config", "eager", "port")

    def __init__(self, port: int, config: TcpConfig, address: str = "") -> None:
        self.port = port
        self.address = address
        self.config = config
        self.eager: bool = False
        self.accepted: list[Connection] = []


class Arriving(FlowWay):
    """What is known of a flow that arrives, so that its segments need not be looked up.

    Attributes:
        flow, keeper, epoch: as of a course that a node keeps (``net.course.Leaving``): the flow, the host
            that takes it, and which of the host's decisions this is one of.
        tcp: takes the segments; None once it has ended: nothing keeps it in memory then.
    """

    __slots__ = ("epoch", "flow", "keeper", "tcp")

    def __init__(self, tcp: Tcp) -> None:
        super().__init__()
        self.tcp: Tcp | None = tcp
        self.flow: FourTuple | None = None
        self.keeper: object = None
        self.epoch: i64 = 0

    def accept(self, flow: FourTuple, keeper: object, epoch: int) -> None:
        """Note that a host has decided to take the flow."""
        self.flow = flow
        self.keeper = keeper
        self.epoch = epoch

    def end(self) -> None:
        """Forget the connection: it has ended."""
        self.tcp = None


class TcpStack(TransportHost):
    """The transport layer of a host that speaks TCP.

    Attributes:
        config: behaviour of connections that are given none of their own.
        plugins: those of the user, of the scenario that was current when the host was made.
        ready: connections whose application can go on; the driver clears it.
        arrivals: listeners with a new connection; the driver clears it.
        keeps_ended: connections that have ended stay in ``connections``, and their events in ``events``.
            Otherwise the stack forgets them: it holds at most twice as many connections as are open, and
            a few more.
        connections: the connections, oldest first.
        listeners: those of each port.
        addresses: local addresses and the MTU behind them.
        lost_addresses: addresses that have gone, or are about to; nothing leaves from them.
        choose_source: gives the own address from which routing reaches another, or an empty string.
        random_ports: ephemeral ports are drawn (RFC 6056 section 3.3.1), not taken in turn.
    """

    __slots__ = (
        "_arriving",
        "_connections_ever",
        "_most_connections",
        "_ports",
        "_rng",
        "_tcps",
        "addresses",
        "arrivals",
        "choose_source",
        "config",
        "connections",
        "keeps_ended",
        "listeners",
        "lost_addresses",
        "plugins",
        "random_ports",
        "ready",
    )

    def __init__(self, name: str, rng: random.Random, config: TcpConfig) -> None:
        super().__init__(name)
        self.config = config
        self.plugins = current_scope()
        self.ready: list[Connection] = []
        self.arrivals: list[Listener] = []
        self.keeps_ended: bool = False
        self.connections: list[Connection] = []
        self.addresses: dict[str, int] = {}
        self.lost_addresses: set[str] = set()
        self.listeners: dict[int, Listener] = {}
        self.choose_source: Callable[[str], str] | None = None
        self.random_ports: bool = False
        self._rng = rng
        #: The TCP connections that have not ended, by the four-tuple of what they receive.
        self._tcps: dict[FourTuple, Tcp] = {}
        self._arriving: dict[FourTuple, Arriving] = {}
        self._ports: int = _FIRST_PORT
        self._connections_ever: int = 0
        #: With so many it is time to look for those that have ended.
        self._most_connections: int = _FEW

    # --- Addresses ------------------------------------------------------------------------------

    def add_address(self, address: str, mtu: int = _DEFAULT_MTU) -> None:
        """Make ``address`` (canonical text form) a local one; ``mtu`` is that of its interface."""
        self.addresses[address] = mtu
        if address in self.lost_addresses:
            self.lost_addresses.discard(address)
            for tcp in self._tcps.values():
                if tcp.flow.src == address:
                    tcp.resume_output()

    def change_address(self, address: str, up: bool, now: int) -> None:
        """Note that an address has come or is about to go.

        TCP takes no notice of one that has come before ``add_address`` says with which MTU.
        """
        self.now = now
        if not up:
            self.lose_addresses([address], now)

    def lose_addresses(self, addresses: list[str], now: int) -> None:
        """Send nothing from these addresses any more.

        Their connections are not told, as in Linux: their packets are discarded until they give up or the
        address comes back.
        """
        self.now = now
        self.lost_addresses.update(addresses)
        for tcp in self._tcps.values():
            if tcp.flow.src in self.lost_addresses:
                tcp.discard_output()

    def has_address(self, address: str) -> bool:
        """Return whether something may be sent from an address."""
        return address in self.addresses and address not in self.lost_addresses

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
            if address not in self.lost_addresses and (":" in address) == (":" in remote):
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

    def unlisten(self, listener: Listener, now: int) -> None:
        """Accept no more connections by a listener, and reset those that nobody has taken.

        Those that were taken go on, and take further subflows.

        Raises:
            LocalProtocolError: it is closed already.
        """
        if self.listeners.get(listener.port) is not listener:
            raise LocalProtocolError(f"nothing listens on port {listener.port} at host {self.name}")
        del self.listeners[listener.port]
        self.now = now
        begun = [
            connection
            for connection in self.connections
            if connection.local_port == listener.port
            and not connection.established
            and any(tcp.passive for tcp in connection.subflows)
        ]
        for connection in [*listener.accepted, *begun]:
            connection.abort(now)
        listener.accepted.clear()

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
        if flow.reverse() in self._tcps:
            raise LocalProtocolError(f"{flow} is in use at host {self.name}")
        connection = self._new_client(config or self.config, remote[0], flow.sport)
        self._add(connection)
        self._new_tcp(connection, flow).open_active(now)
        return connection

    def _new_client(self, config: TcpConfig, remote: str, port: int) -> Connection:
        """Return a connection for an active open towards the address ``remote``."""
        return self._new_plain(config, port, False)

    def _new_plain(self, config: TcpConfig, port: int, eager: bool) -> Connection:
        return Connection(self, self._connections_ever, config, port, eager)

    def _add(self, connection: Connection) -> None:
        """Take a new connection, and forget others that have ended if there are many."""
        connections = self.connections
        if not self.keeps_ended and len(connections) >= self._most_connections:
            going_on = [other for other in connections if not other.closed]
            known = {other.identifier for other in going_on}
            connections[:] = going_on
            self.events[:] = [event for event in self.events if event.connection in known]
            self._most_connections = 2 * len(going_on) + _FEW
        connections.append(connection)
        self._connections_ever += 1

    def _free_port(self, local: str, remote: tuple[str, int]) -> int:
        if self.random_ports:
            self._ports = _FIRST_PORT + self._rng.getrandbits(_PORT_BITS)
        for _ in range(_LAST_PORT - _FIRST_PORT + 1):
            port = self._ports
            self._ports = port + 1 if port < _LAST_PORT else _FIRST_PORT
            if FourTuple(remote[0], remote[1], local, port) not in self._tcps:
                return port
        raise LocalProtocolError(f"no free port at host {self.name} towards {remote[0]}:{remote[1]}")

    def _new_tcp(self, connection: Connection, flow: FourTuple) -> Tcp:
        config = connection.config
        congestion = create("congestion", config.congestion, config.congestion_parameters, self.plugins)
        assert isinstance(congestion, CongestionControl)
        # Both are drawn in any case, so that fixing one of them changes nothing else.
        iss = self._rng.getrandbits(32)
        timestamp = self._rng.getrandbits(32)
        tcp = Tcp(
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
        connection.subflows.append(tcp)
        received = flow.reverse()
        self._forget_arriving(received)
        self._tcps[received] = tcp
        return tcp

    # --- Inputs ---------------------------------------------------------------------------------

    def receive_packet(self, packet: Packet, now: int) -> None:
        """Take a packet from the network."""
        self.now = now
        if isinstance(packet, Segment):
            self.receive_segment(packet, self._tcps.get(packet.flow), now)
        elif isinstance(packet, IcmpError) and not packet.damaged:
            tcp = self._tcps.get(packet.quoted_flow.reverse())
            if tcp is not None:
                receive_icmp(tcp, packet, now)

    def receive_segment(self, segment: Segment, tcp: Tcp | None, now: int) -> None:
        """Take a segment from the network that belongs to ``tcp``, or to none."""
        self.now = now
        self.counters.count_in()
        if segment.damaged:
            self.counters.add("TcpInCsumErrors")
            self.counters.add("TcpInErrs")
        elif tcp is not None:
            tcp.receive(segment, now)
        else:
            self._no_connection(segment, now)

    def _no_connection(self, segment: Segment, now: int) -> None:
        """RFC 9293 sections 3.10.7.1 and 3.10.7.2: states CLOSED and LISTEN."""
        flags = segment.flags
        if flags & RST or not self.has_address(segment.flow.dst):
            return
        listener = self.listeners.get(segment.flow.dport)
        if listener is not None and listener.address and listener.address != segment.flow.dst:
            listener = None
        if flags & SYN and not flags & ACK:
            self._on_syn(segment, listener, now)
        elif flags & ACK or listener is None:
            self._reset(segment)

    def _on_syn(self, segment: Segment, listener: Listener | None, now: int) -> None:
        """Answer a SYN that belongs to no connection; ``listener`` is the one of its port, if any."""
        if listener is None:
            self._reset(segment)
            return
        connection = self._new_plain(listener.config, listener.port, listener.eager)
        self._add(connection)
        self._new_tcp(connection, segment.flow.reverse()).open_passive(segment, now)

    def _reset(self, cause: Segment, options: tuple[MptcpOption, ...] | None = None) -> None:
        """Answer a segment that belongs to no connection (RFC 9293 section 3.5.2, group 1).

        Args:
            cause: that segment.
            options: what the RST says beside.
        """
        self.counters.add("TcpOutRsts")
        self.counters.count_out()
        self.outbox.append(reset_for(cause, options))

    def handle_timer(self, now: int) -> None:
        """Do what is due; waking early is harmless."""
        self.discarded.clear()
        super().handle_timer(now)

    # --- What connections report ----------------------------------------------------------------

    def mark_ready(self, connection: TimerOwner) -> None:
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
        """A TCP connection is CLOSED: the four-tuple with which it sent is free again."""
        received = flow.reverse()
        self._tcps.pop(received, None)
        self._forget_arriving(received)

    def _forget_arriving(self, received: FourTuple) -> None:
        arriving = self._arriving.pop(received, None)
        if arriving is not None:
            arriving.end()

    def arriving(self, flow: FourTuple) -> Arriving | None:
        """Return what is known of the connection that takes ``flow``, as received; None: there is none."""
        tcp = self._tcps.get(flow)
        if tcp is None:
            return None
        found = self._arriving.get(flow)
        if found is None:
            found = self._arriving[flow] = Arriving(tcp)
        return found

    def open_subflows(self) -> int:
        """Return how many TCP connections and subflows there are that have not ended."""
        return len(self._tcps)

    def sequence_map(self, flow: FourTuple) -> SequenceMap | None:
        """Return the map of the connection that ``flow`` (as received) belongs to, or None.

        The map's reference points are brought up to date, so that wire numbers unwrap
        near what the connection expects.
        """
        tcp = self._tcps.get(flow)
        if tcp is None:
            return None
        return tcp.sequences.near(tcp.receiver.nxt, tcp.sender.una)
