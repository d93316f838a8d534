"""Two honest ends and a way to send them packets that neither has sent: the base of the hostile machines.

Two honest ends talk over several paths. In between, packets arrive that neither has sent. Nothing of it
raises, and what must hold at an end alone holds: its books, its timers, its memory, and the number of
packets that it sends.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mptcpsim.codec import EncodeError, decode, encode
from mptcpsim.codec.raw import build_ip, parse_ip, parse_tcp, rebuild_tcp
from mptcpsim.core.byte_store import PAGE
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import M_CLOSED, M_FASTCLOSE_WAIT, M_INIT
from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    Packet,
    Segment,
)
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.hostile_segments import Forger, sender_map
from tests.core.mptcp.configs import config_of
from tests.core.mptcp.invariants import check_data_timers, check_inbound, check_subflow
from tests.core.mptcp.pair import C1, C2, S1, S2, MptcpPair
from tests.core.tcp.invariants import check_memory, check_scoreboard
from tests.core.tcp.packet_rate import PacketRate
from tests.core.tcp.pair import PORT
from tests.core.tcp.watched_path import hold

CLIENT_PORT = 6_000

#: More events than this in one step is a storm of packets.
STORM = 30_000

KINDS = (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_NET_UNREACHABLE,
    ICMP_HOST_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
)

ENDS = st.sampled_from((0, 1))

WAITS = st.sampled_from((0, 0, 0, 1, 20, 250, 2_000))

PROFILES = ("rfc8684", "rfc8684", "linux-6.18", "rfc6824", "caia-v0.4", "caia-v0.51", "plain")


class Intruded(RuleBasedStateMachine):
    """Two honest ends, and a way to send them packets that neither has sent.

    Attributes:
        CHECKS: the content of what arrives is compared with the stream.
        PROFILES: profiles of the ends.
        PAYLOAD: what they carry.
    """

    CHECKS: ClassVar[bool] = False
    PROFILES: ClassVar[tuple[str, ...]] = PROFILES
    PAYLOAD: ClassVar[str] = "pattern"

    def __init__(self) -> None:
        super().__init__()
        self.pair: MptcpPair | None = None
        self.rate = PacketRate(hold)
        #: By the direction of what an end sends: what answers it, and how often yet.
        self.answering: dict[str, tuple[dict[str, Any], int]] = {}
        self.deaf = False

    @initialize(
        profiles=st.runner().flatmap(lambda machine: st.tuples(*[st.sampled_from(machine.PROFILES)] * 2)),
        same=st.sampled_from((True, True, True, False)),
        checksum=st.booleans(),
        timestamps=st.booleans(),
        sack=st.booleans(),
        ecn=st.booleans(),
        buffer=st.sampled_from((65_536, 4_096, 1_000_000)),
        delay=st.sampled_from((5, 0, 0.1, 50)),
        joins=st.sampled_from((0, 0, 1, 2)),
        steps=st.sampled_from((0, 1, 2, 3, 4, 5, 8, 100)),
        first=st.sampled_from((0, 100, 20_000)),
        initial=st.sampled_from((-1, 0, 0xFFFF_FF00)),
    )
    def open(
        self,
        profiles: tuple[str, str],
        same: bool,
        checksum: bool,
        timestamps: bool,
        sack: bool,
        ecn: bool,
        buffer: int,
        delay: float,
        joins: int,
        steps: int,
        first: int,
        initial: int,
    ) -> None:
        """Open a connection, and stop in the midst of its handshake, or after it."""
        tcp = {
            "payload": self.PAYLOAD,
            "timestamps": timestamps,
            "sack": sack,
            "ecn": ecn,
            "receive_buffer": buffer,
            "initial_sequence": initial,
        }
        configs = []
        for profile, peer_port in zip(
            (profiles[0], profiles[0 if same else 1]), (PORT, CLIENT_PORT), strict=True
        ):
            mptcp: dict[str, Any] = {"profile": profile}
            if profile != "plain":
                mptcp |= {
                    "checksum": checksum,
                    "max_subflows": 4,
                    "add_addr_timeout": 2 * SECOND,
                    "path_manager_parameters": {"joins": joins, "announces": 0, "follows": 1},
                }
            configs.append(config_of(tcp, mptcp, peer_port))
        self.pair = pair = MptcpPair(
            *configs,
            client_addresses=(C1, C2),
            server_addresses=(S1, S2),
            delay=int(delay * MILLISECOND),
            hook=self._on_path,
        )
        pair.on_arrival = self.rate.on_arrival
        pair.judges = self.CHECKS
        connection = pair.client.connect(C1, (S1, PORT), 0, local_port=CLIENT_PORT)
        connection.eager = pair.listener.eager = True
        if first:
            connection.write(first, 0)
        for _ in range(steps):
            self._step()

    # --- Honest ends ------------------------------------------------------------------------------

    @rule(end=ENDS, count=st.sampled_from((1, 100, 3_000, 30_000)), wait=WAITS)
    def write(self, end: int, count: int, wait: int) -> None:
        """Write something."""
        connection = self._connection(end)
        if connection is not None and not connection.closing and not connection.error:
            connection.write(count, self._now())
        self._run(wait)

    @rule(end=ENDS, eager=st.booleans(), wait=WAITS)
    def read(self, end: int, eager: bool, wait: int) -> None:
        """Read what is there; and go on, or not."""
        connection = self._connection(end)
        if connection is not None:
            connection.eager = eager
            connection.read(connection.readable, self._now())
        self._run(wait)

    @rule(end=ENDS, wait=WAITS)
    def close(self, end: int, wait: int) -> None:
        """Close one direction."""
        connection = self._connection(end)
        if connection is not None and (connection.established or not self.CHECKS):
            connection.close(self._now())
        self._run(wait)

    @rule(count=st.integers(1, 20))
    def events(self, count: int) -> None:
        """Let the next events happen."""
        for _ in range(count):
            self._step()

    @rule(length=st.sampled_from((1, 50, 250, 1_000, 10_000, 130_000)))
    def elapse(self, length: int) -> None:
        """Let time pass, ms."""
        self._run(length)

    # --- How it is done ---------------------------------------------------------------------------

    def _now(self) -> int:
        assert self.pair is not None
        return self.pair.now

    def _stack(self, end: int) -> Stack:
        assert self.pair is not None
        return self.pair.server if end else self.pair.client

    def _connection(self, end: int) -> Connection | None:
        stack = self._stack(end)
        for connection in stack.connections:
            if connection.established and connection.subflows[0].flow.sport in (CLIENT_PORT, PORT):
                return connection
        return stack.connections[0] if stack.connections else None

    def _target(self, end: int, index: int) -> tuple[Connection, Tcp] | None:
        """Return a subflow of an end, the first ones of the connection that was opened here in front."""
        main = self._connection(end)
        others = [one for one in self._stack(end).connections if one is not main]
        known = [(one, tcp) for one in ([] if main is None else [main]) + others for tcp in one.subflows]
        return known[index % len(known)] if known else None

    def _on_path(self, way: str, packet: Packet, now: int) -> list[Packet]:
        """See what an end sends, and answer it where the peer answers everything."""
        assert isinstance(packet, Segment)
        self.rate.on_sent(way, packet, now)
        end = 0 if way == "c>s" else 1
        spec, left = self.answering.get(way, ({}, 0))
        if left:
            self.answering[way] = (spec, left - 1)
            assert self.pair is not None
            self.pair.at(now + 2 * self.pair.delay, lambda: self._forge(end, spec))
            if self.deaf:
                self.rate.lost += 1
                return []
        return [packet]

    def _inject(self, end: int, packet: Packet) -> None:
        """Let an end receive a packet now."""
        way = "s>c" if end == 0 else "c>s"
        if isinstance(packet, Segment):
            self.rate.on_arrival(way, packet)
            if self._is_probe(end, packet):
                self.rate.purses["c>s" if end == 0 else "s>c"].earn(1)
        self._stack(end).receive_packet(packet, self._now())

    def _is_probe(self, end: int, segment: Segment) -> bool:
        """Return whether a segment is like a keepalive, which has to be answered (RFC 9293 section 3.8.4)."""
        for connection in self._stack(end).connections:
            for tcp in connection.subflows:
                if tcp.flow == segment.flow.reverse() and segment.seq == tcp.receiver.nxt - 1:
                    return True
        return False

    def _forge(self, end: int, spec: dict[str, Any]) -> None:
        """Make what a specification means now, and let an end receive it."""
        target = self._target(end, spec["subflow"])
        if target is None:
            return
        segment = Forger(*target, sender_map(target[1]), self._now()).segment(spec)
        self._inject_as(end, segment, spec["encoded"])

    def _inject_as(self, end: int, segment: Segment, encoded: bool) -> None:
        if encoded:
            try:
                self._inject(end, decode(encode(segment), self._stack(end).sequence_map))
            except EncodeError:
                # No bytes say so, for instance more than 40 bytes of options.
                return
        else:
            self._inject(end, segment)

    def _settle(self) -> None:
        assert self.pair is not None
        self.pair.pump()
        self.check()

    def _step(self) -> bool:
        assert self.pair is not None
        more = self.pair.step()
        self.check()
        return more

    def _run(self, length: int) -> None:
        """Let time pass, ms."""
        assert self.pair is not None
        self.rate.on_event()
        self.pair.pump()
        until = self.pair.now + length * MILLISECOND
        for _ in range(STORM):
            if self.pair.next_event() > until:
                self.pair.now = until
                self.check()
                return
            self._step()
        hold("storm of packets", False, lambda: f"{STORM} events in {length} ms")

    # --- What must hold ---------------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        """Check each end by itself."""
        if self.pair is None:
            return
        now = self.pair.now
        for stack in (self.pair.client, self.pair.server):
            for connection in stack.connections:
                self._check_connection(stack, connection, now)

    def _check_connection(self, stack: Stack, connection: Connection, now: int) -> None:
        read, delivered = connection.consumed, connection.delivered
        hold("read more than was delivered", read <= delivered, lambda: f"{read} > {delivered}")
        if connection.received_bytes is not None:
            check_stores(connection)
        for tcp in connection.subflows:
            if tcp.state != CLOSED:
                check_scoreboard(tcp)
                check_subflow(stack, connection, tcp, now)
        if isinstance(connection, MptcpConnection) and not connection.is_plain:
            if connection.state not in (M_INIT, M_CLOSED, M_FASTCLOSE_WAIT):
                check_inbound(connection)
                check_data_timers(stack, connection, now)
                out = connection.outbound
                ordered = 1 <= out.una <= out.highest() and out.nxt <= out.end
                hold("data numbers out of order", ordered, lambda: f"{out.una} {out.nxt} {out.end}")
                for state in connection.open:
                    waiting = len(connection.subflow_of(state.number).signals.waiting)
                    hold("signals pile up", waiting <= 40, lambda n=waiting: f"{n} wait")
            return
        for tcp in connection.subflows:
            check_memory(connection, tcp.receiver.out_of_order.total)

    def teardown(self) -> None:
        """Abort everything: all ends, whatever has happened."""
        if self.pair is None or sys.exc_info()[0] is not None:
            return
        self.answering.clear()
        for stack in (self.pair.client, self.pair.server):
            stack.listeners.clear()
        self._run(1_000)
        for stack in (self.pair.client, self.pair.server):
            for connection in list(stack.connections):
                connection.abort(self.pair.now)
        # A fast close is repeated, a SYN in flight may still open something, TIME-WAIT takes a minute.
        self._run(200_000)
        for stack in (self.pair.client, self.pair.server):
            for connection in stack.connections:
                over = connection.closed
                hold("not over after an abort", over, lambda c=connection: f"{c.subflows[0].state} {c.error}")
            hold("timers after the end", stack.next_timer() == NEVER, lambda s=stack: f"{s.next_timer()}")
            gauge = stack.counters["MPTcpExtMPCurrEstab"]
            hold("connections that are counted and over", gauge == 0, lambda n=gauge: f"{n}")


def check_stores(connection: Connection) -> None:
    """Check that all that can be read is there, and that a peer cannot make an end keep more than windows."""
    sent, received = connection.sent_bytes, connection.received_bytes
    assert sent is not None
    assert received is not None
    if not connection.orphaned:
        received.take(connection.consumed, connection.readable)
    # Promises are rounded up to twice the buffer at most; the first and the last page are not full.
    most = 2 * connection.receive_buffer + 2 * PAGE
    hold("received bytes pile up", len(received) <= most, lambda: f"{len(received)} bytes are kept")
    most = connection.send_buffer + 2 * PAGE
    hold("sent bytes pile up", len(sent) <= most, lambda: f"{len(sent)} bytes are kept")


def with_options(segment: Segment, area: bytes) -> bytes:
    """Return the bytes of a segment with any bytes for its options."""
    area = area[:40]
    area += bytes(-len(area) % 4)
    plain = segment.clone()
    plain.ts_val = plain.ts_ecr = -1
    plain.syn = None
    plain.size = (20 if ":" not in plain.flow.dst else 40) + 20 + plain.length
    raw = parse_ip(encode(plain))
    tcp = parse_tcp(raw.payload)
    payload = rebuild_tcp(tcp._replace(options=area), raw.src, raw.dst)
    return build_ip(raw._replace(payload=payload, length=raw.header_length + len(payload)))
