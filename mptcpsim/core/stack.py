"""The protocol stack of one host, without a clock and without a network.

A driver feeds it packets and the time, and drains after every call, in this order:
``outbox`` (packets to send), ``ready`` (connections whose application waits and can
go on), ``next_timer()``. The same object runs under SimPy and in tests.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.connection import Connection, LocalProtocolError
from mptcpsim.core.counters import Counters
from mptcpsim.core.events import Event
from mptcpsim.core.segment import (
    ACK,
    NOT_ECT,
    RST,
    SYN,
    TCP_HEADER,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    ip_header_length,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp import Tcp
from mptcpsim.plugins import CongestionControl, complete, find
from mptcpsim.units import NEVER

#: RFC 6335 section 6: the dynamic ports.
_FIRST_PORT: Final = 49152
_LAST_PORT: Final = 65535

_DEFAULT_MTU: Final = 1500


class Listener:
    """A port that accepts connections.

    Attributes:
        port: the local port.
        config: behaviour of the connections accepted.
        accepted: established connections that nobody has taken yet; take them with ``pop(0)``.
        eager: accepted connections read at once (see ``Connection.eager``).
    """

    __slots__ = ("accepted", "config", "eager", "port")

    def __init__(self, port: int, config: TcpConfig) -> None:
        self.port = port
        self.config = config
        self.eager: bool = False
        self.accepted: list[Connection] = []


class Stack:
    """The transport layer of one host.

    Attributes:
        name: the host's.
        outbox: packets to send, oldest first; the driver sends and clears it.
        ready: connections whose application can go on; the driver clears it.
        arrivals: listeners with a new connection; the driver clears it.
        counters: the MIB of the host.
        events: the event log.
        connections: all connections ever, by identifier.
        addresses: local addresses and the MTU behind them.
        wake_at: no timer is due before this instant, ns; ``next_timer`` says more exactly.
        now: time of the current or last call, ns.
    """

    __slots__ = (
        "_order",
        "_ports",
        "_rng",
        "_subflows",
        "_wakeups",
        "addresses",
        "arrivals",
        "config",
        "connections",
        "counters",
        "events",
        "listeners",
        "name",
        "now",
        "outbox",
        "ready",
        "wake_at",
    )

    def __init__(self, name: str, rng: random.Random, config: TcpConfig) -> None:
        self.name = name
        self.config = config
        self.now: int = 0
        self.wake_at: int = NEVER
        self.outbox: list[Packet] = []
        self.ready: list[Connection] = []
        self.arrivals: list[Listener] = []
        self.counters = Counters()
        self.events: list[Event] = []
        self.connections: list[Connection] = []
        self.addresses: dict[str, int] = {}
        self.listeners: dict[int, Listener] = {}
        self._rng = rng
        self._subflows: dict[FourTuple, Tcp] = {}
        self._wakeups: list[tuple[int, int, Tcp]] = []
        self._order: int = 0
        self._ports: int = _FIRST_PORT

    # --- Addresses ------------------------------------------------------------------------------

    def add_address(self, address: str, mtu: int = _DEFAULT_MTU) -> None:
        """Make ``address`` (canonical text form) a local one; ``mtu`` is that of its interface."""
        self.addresses[address] = mtu

    # --- Commands -------------------------------------------------------------------------------

    def listen(self, port: int, config: TcpConfig | None = None) -> Listener:
        """Accept connections on ``port``, on every local address.

        Raises:
            LocalProtocolError: the port is in use or not a port.
        """
        if not 0 < port <= 0xFFFF:
            raise LocalProtocolError(f"{port} is not a port")
        if port in self.listeners:
            raise LocalProtocolError(f"port {port} is in use at host {self.name}")
        listener = Listener(port, config or self.config)
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
        if local not in self.addresses:
            raise LocalProtocolError(f"{local} is not an address of host {self.name}")
        if not 0 < remote[1] <= 0xFFFF:
            raise LocalProtocolError(f"{remote[1]} is not a port")
        self.now = now
        flow = FourTuple(local, local_port or self._free_port(local, remote), remote[0], remote[1])
        if flow.reverse() in self._subflows:
            raise LocalProtocolError(f"{flow} is in use at host {self.name}")
        connection = Connection(self, len(self.connections), config or self.config)
        connection.local_port = flow.sport
        self.connections.append(connection)
        subflow = self._new_subflow(connection, flow)
        subflow.open_active(now)
        return connection

    def _free_port(self, local: str, remote: tuple[str, int]) -> int:
        for _ in range(_LAST_PORT - _FIRST_PORT + 1):
            port = self._ports
            self._ports = port + 1 if port < _LAST_PORT else _FIRST_PORT
            if FourTuple(remote[0], remote[1], local, port) not in self._subflows:
                return port
        raise LocalProtocolError(f"no free port at host {self.name} towards {remote[0]}:{remote[1]}")

    def _new_subflow(self, connection: Connection, flow: FourTuple) -> Tcp:
        config = connection.config
        cls = find("congestion", config.congestion)
        congestion = cls()
        assert isinstance(congestion, CongestionControl)
        congestion.configure(complete(cls, config.congestion_parameters))
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
            self.counters.in_segs += 1
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
                subflow.receive_icmp(packet, now)

    def _no_connection(self, segment: Segment, now: int) -> None:
        """RFC 9293 sections 3.10.7.1 and 3.10.7.2: states CLOSED and LISTEN."""
        flags = segment.flags
        if flags & RST:
            return
        listener = self.listeners.get(segment.flow.dport)
        if listener is None or segment.flow.dst not in self.addresses or flags & ACK:
            self._reset(segment)
            return
        if not flags & SYN:
            return
        connection = Connection(self, len(self.connections), listener.config)
        connection.local_port = listener.port
        connection.eager = listener.eager
        self.connections.append(connection)
        subflow = self._new_subflow(connection, segment.flow.reverse())
        subflow.open_passive(segment, now)

    def _reset(self, cause: Segment) -> None:
        """Answer a segment that belongs to no connection (section 3.5.2, group 1)."""
        flow = cause.flow.reverse()
        if cause.flags & ACK:
            flags, seq, ack = RST, cause.ack, 0
        else:
            flags, seq, ack = RST | ACK, 0, cause.end
        segment = Segment(
            flow,
            ip_header_length(flow.dst) + TCP_HEADER,
            cause.sequences.reverse(),
            flags,
            seq,
            ack,
            0,
            0,
            UNKNOWN,
            UNKNOWN,
            None,
            NOT_ECT,
        )
        self.counters.add("TcpOutRsts")
        self.counters.out_segs += 1
        self.outbox.append(segment)

    def handle_timer(self, now: int) -> None:
        """Do what is due; waking early is harmless."""
        self.now = now
        heap = self._wakeups
        while heap and heap[0][0] <= now:
            heappop(heap)[2].on_wake(now)

    def next_timer(self) -> int:
        """Return when ``handle_timer`` wants to be called next, ns, or ``NEVER``."""
        heap = self._wakeups
        while heap and heap[0][2].ended:
            heappop(heap)
        self.wake_at = heap[0][0] if heap else NEVER
        return self.wake_at

    # --- For the subflows -----------------------------------------------------------------------

    def wake_by(self, at: int, subflow: Tcp) -> None:
        """Note that a subflow wants its timers handled at ``at``."""
        if at < NEVER:
            self._order += 1
            heappush(self._wakeups, (at, self._order, subflow))
            if at < self.wake_at:
                self.wake_at = at

    def note(self, connection: Connection, subflow: int, what: str, detail: str) -> None:
        """Append to the event log."""
        self.events.append(Event(self.now, connection.identifier, subflow, what, detail))

    def on_established(self, connection: Connection, subflow: Tcp) -> None:
        """A handshake is complete; hand a passive connection to its listener."""
        if subflow.passive:
            listener = self.listeners.get(connection.local_port)
            if listener is not None:
                listener.accepted.append(connection)
                self.arrivals.append(listener)

    def forget(self, subflow: Tcp) -> None:
        """A subflow is CLOSED: its four-tuple is free again."""
        self._subflows.pop(subflow.flow.reverse(), None)

    def sequence_map(self, flow: FourTuple) -> SequenceMap | None:
        """Return the map of the connection that ``flow`` (as received) belongs to, or None.

        The map's reference points are brought up to date, so that wire numbers unwrap
        near what the connection expects.
        """
        subflow = self._subflows.get(flow)
        if subflow is None:
            return None
        sequences = subflow.sequences
        sequences.rcv_near = subflow.receiver.nxt
        sequences.snd_near = subflow.sender.una
        return sequences
