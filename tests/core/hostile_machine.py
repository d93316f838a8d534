"""A Hypothesis machine in which a peer sends anything at all, to either end, at every state of a connection.

Two honest ends talk over several paths. In between, segments arrive that neither has sent: well-formed ones
that say what no honest peer says (``hostile_segments``), any bytes in place of options, honest packets with
bytes changed, old copies, ICMP errors, and answers to whatever an end sends. Nothing of it raises, and what
must hold at an end alone holds: its books, its timers, its memory, and the number of packets that it sends.

What the connection is worth after that is another matter: a peer that knows the keys may end it, or move
it to other numbers. ``OutsiderMachine`` sends only what changes nothing: then all that was written arrives.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mptcpsim.codec import DecodeError, EncodeError, decode, encode
from mptcpsim.codec.options import wire_length
from mptcpsim.codec.raw import build_ip, parse_ip, parse_tcp, rebuild_tcp
from mptcpsim.codec.roundtrip import mend_checksums
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import M_CLOSED, M_FASTCLOSE_WAIT, M_INIT
from mptcpsim.core.mptcp_options import AddAddr, MpFastclose, MpJoinSyn, MptcpOption, RemoveAddr
from mptcpsim.core.segment import (
    ACK,
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED
from mptcpsim.plugins import Action, Announce, OpenSubflow, Withdraw
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.hostile_segments import Forger, number, places, segments, sender_map
from tests.core.mptcp.configs import config_of
from tests.core.mptcp.invariants import check_data_timers, check_inbound, check_subflow
from tests.core.mptcp.pair import C1, C2, S1, S2, MptcpPair
from tests.core.tcp.faulty_path import ROUTER
from tests.core.tcp.invariants import check_memory, check_scoreboard
from tests.core.tcp.packet_rate import PacketRate
from tests.core.tcp.pair import PORT
from tests.core.tcp.watched_path import hold

CLIENT_PORT = 6_000
#: More events than this in one step is a storm of packets.
STORM = 30_000
#: A peer that answers everything answers so many packets of an end.
ANSWERS = 400

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
    """

    CHECKS: ClassVar[bool] = False
    PROFILES: ClassVar[tuple[str, ...]] = PROFILES

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
        self.rate.on_arrival(way, packet)
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
                for subflow in connection.open:
                    waiting = len(subflow.signals.waiting)
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


class HostileMachine(Intruded):
    """A peer that knows the keys, and says anything."""

    # --- What it sends ----------------------------------------------------------------------------

    @rule(end=ENDS, spec=segments(), wait=WAITS)
    def say(self, end: int, spec: dict[str, Any], wait: int) -> None:
        """Send an end a segment."""
        self._forge(end, spec)
        self._run(wait)

    @rule(end=ENDS, specs=st.lists(segments(), min_size=2, max_size=5), wait=WAITS)
    def say_several(self, end: int, specs: list[dict[str, Any]], wait: int) -> None:
        """Send several at one instant."""
        for spec in specs:
            self._forge(end, spec)
        self._run(wait)

    @rule(end=ENDS, spec=segments(), deaf=st.booleans(), length=st.sampled_from((0, 20, 1_000)))
    def answer_everything(self, end: int, spec: dict[str, Any], deaf: bool, length: int) -> None:
        """Answer every packet of an end with the same thing; what it sends arrives, or not."""
        self.deaf = deaf
        way = "c>s" if end == 0 else "s>c"
        self.answering[way] = (spec, ANSWERS)
        self._forge(end, spec)
        self._run(length)

    @rule(end=ENDS, spec=segments(), port=st.integers(1, 5), wait=WAITS)
    def call(self, end: int, spec: dict[str, Any], port: int, wait: int) -> None:
        """Send a segment from a port that nobody uses: a new connection, a join, or nothing at all."""
        target = self._target(end, spec["subflow"])
        if target is not None:
            segment = Forger(*target, sender_map(target[1]), self._now()).segment(spec)
            flow = segment.flow
            segment.flow = FourTuple(flow.src, port, flow.dst, PORT if end else CLIENT_PORT)
            self._inject_as(end, segment, spec["encoded"])
        self._run(wait)

    @rule(end=ENDS, spec=segments(), area=st.binary(max_size=40), kinds=st.booleans(), wait=WAITS)
    def write_options(self, end: int, spec: dict[str, Any], area: bytes, kinds: bool, wait: int) -> None:
        """Send any bytes in place of the options; with ``kinds`` they begin like an option of MPTCP."""
        target = self._target(end, spec["subflow"])
        if target is not None:
            segment = Forger(*target, sender_map(target[1]), self._now()).segment(
                spec | {"options": [], "sack": []}
            )
            if kinds:
                # Kind 30, a length that may be wrong, a subtype and the rest.
                area = b"\x1e" + bytes((len(area) + 1,)) + area[:38]
            self._inject_bytes(end, with_options(segment, area))
        self._run(wait)

    @rule(
        end=ENDS,
        back=st.integers(0, 8),
        changes=st.lists(st.tuples(st.integers(20, 120), st.integers(0, 255)), max_size=6),
        mirrored=st.sampled_from((False, False, True)),
        wait=WAITS,
    )
    def repeat(self, end: int, back: int, changes: list[tuple[int, int]], mirrored: bool, wait: int) -> None:
        """Send a packet again that was sent to an end, or by it, with bytes changed, or as it was."""
        assert self.pair is not None
        way = "s>c" if (end == 0) != mirrored else "c>s"
        sent = [packet for _, direction, packet in self.pair.wire[-60:] if direction == way]
        if sent:
            packet = sent[max(0, len(sent) - 1 - back)]
            if mirrored and isinstance(packet, Segment):
                packet = packet.clone()
                packet.flow = packet.flow.reverse()
            data = bytearray(encode(packet))
            for position, value in changes:
                data[20 + (position - 20) % (len(data) - 20)] = value
            self._inject_bytes(end, bytes(data))
        self._run(wait)

    @rule(
        end=ENDS,
        index=st.integers(0, 3),
        kind=st.sampled_from(KINDS),
        mtu=st.sampled_from((0, 68, 296, 576, 1_280, 1_500, 65_535)),
        where=places,
        wait=WAITS,
    )
    def icmp(self, end: int, index: int, kind: str, mtu: int, where: tuple[str, int], wait: int) -> None:
        """Send an ICMP error about a segment that may have been sent."""
        target = self._target(end, index)
        if target is not None:
            tcp = target[1]
            seq = number(where, tcp.sender.una, tcp.sender.nxt)
            cause = Segment(tcp.flow, 1_500, tcp.sequences, ACK, seq, 0, 0, 1_460, -1, -1, None, 0)
            self._inject(end, IcmpError(ROUTER, cause, kind, mtu))
        self._run(wait)

    @rule(end=ENDS, path=st.integers(0, 3), what=st.integers(0, 3), wait=WAITS)
    def manage(self, end: int, path: int, what: int, wait: int) -> None:
        """Let the path manager of an end want something."""
        connection = self._connection(end)
        if isinstance(connection, MptcpConnection) and connection.state not in (M_INIT, M_CLOSED):
            own, peer = ((C1, C2), (S1, S2)) if end == 0 else ((S1, S2), (C1, C2))
            local, remote = own[path & 1], peer[path >> 1]
            actions: list[Action] = [
                OpenSubflow(local, remote, CLIENT_PORT if end else PORT),
                OpenSubflow(local, remote, 1),
                Announce(local, 0),
                Withdraw(local),
            ]
            if not connection.is_plain:
                connection.act([actions[what]], self._now())
        self._run(wait)

    def _inject_bytes(self, end: int, data: bytes) -> None:
        """Let an end receive what these bytes say, with checksums that are right."""
        try:
            packet = decode(mend_checksums(data), self._stack(end).sequence_map)
        except DecodeError:
            return
        self._inject(end, packet)


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


class OutsiderMachine(Intruded):
    """Who does not know where the connection is, or has no key, changes nothing: all arrives."""

    CHECKS: ClassVar[bool] = True
    PROFILES: ClassVar[tuple[str, ...]] = (
        "rfc8684",
        "rfc8684",
        "linux-6.18",
        "rfc6824",
        "caia-v0.4",
        "plain",
    )

    @rule(
        end=ENDS,
        index=st.integers(0, 3),
        what=st.sampled_from(("old", "far", "beyond", "reset", "syn", "keys", "damaged")),
        spec=segments(),
        more=st.integers(1, 5_000),
        wait=WAITS,
    )
    def whisper(self, end: int, index: int, what: str, spec: dict[str, Any], more: int, wait: int) -> None:
        """Send an end something that it has to ignore, or at most to answer."""
        target = self._target(end, index)
        if target is not None and target[1].state >= ESTABLISHED:
            segment = self._ignored(*target, what, spec, more)
            if segment is not None:
                self._inject_as(end, segment, spec["encoded"])
        self._run(wait)

    def _ignored(
        self, connection: Connection, tcp: Tcp, what: str, spec: dict[str, Any], more: int
    ) -> Segment | None:
        receiver, sender = tcp.receiver, tcp.sender
        edge = max(receiver.edge, receiver.nxt)
        if isinstance(connection, MptcpConnection):
            edge += max(connection.inbound.edge - connection.inbound.nxt, 0) if not connection.is_plain else 0
        segment = Forger(connection, tcp, sender_map(tcp), self._now()).segment(
            spec | {"stamps": "right", "seq": ("next", 0), "ack": ("next", 0), "sack": [], "flags": ACK}
        )
        segment.seq, segment.ack = receiver.nxt, sender.una
        segment.window = min(max(sender.edge - sender.una, 0) >> tcp.snd_scale, 65_535)
        if what == "old":
            segment.length = min(more, receiver.nxt - 1)
            segment.seq -= segment.length
            segment.payload = b"\xff" * segment.length
            segment.dss = segment.options = None
        elif what == "far":
            # Any options and flags, also the right keys; but without them the ACK field could not be told.
            segment.seq = edge + 10_000 + more
            segment.flags = spec["flags"] & 0xFF
        elif what == "beyond":
            segment.ack = max(sender.nxt, sender.window_probe.end) + more
        elif what in ("reset", "syn"):
            if edge - receiver.nxt < 2:
                return None
            segment.seq += 1 + more % (edge - receiver.nxt - 1)
            segment.flags = RST if what == "reset" else SYN
            segment.dss = segment.options = None
        elif what == "damaged":
            segment.damaged = True
        else:
            segment.dss = None
            segment.options = self._without_keys(connection, more)
            segment.length = 0
        if segment.length == 0:
            segment.payload = None
        if not segment.flags & SYN:
            segment.syn = None
        segment.urgent = 0
        segment.size = wire_length(segment)
        return segment

    @staticmethod
    def _without_keys(connection: Connection, more: int) -> tuple[MptcpOption, ...]:
        choices: list[MptcpOption] = [RemoveAddr((77,)), MpFastclose(more), MpJoinSyn(1, more, more)]
        if isinstance(connection, MptcpConnection) and connection.agreed.version == 1:
            choices += [
                AddAddr(9, "10.0.9.9", 5001, more.to_bytes(8, "big")),
                AddAddr(9, "10.0.9.9", echo=True),
            ]
        return (choices[more % len(choices)],)

    @rule(end=ENDS, area=st.binary(max_size=39), port=st.sampled_from((0, 0, 7)), wait=WAITS)
    def mumble(self, end: int, area: bytes, port: int, wait: int) -> None:
        """Send options of MPTCP that cannot be read, to the connection or to a port where nobody is."""
        target = self._target(end, 0)
        if target is not None and target[1].state >= ESTABLISHED:
            segment = self._ignored(*target, "old", OUTSIDE, 0)
            assert segment is not None
            if port:
                segment.flow = FourTuple(segment.flow.src, port, segment.flow.dst, segment.flow.dport)
            # Subtype 0xE is not assigned.
            data = with_options(segment, bytes((30, 3 + len(area[:37]), 0xE0)) + area[:37])
            self._inject(end, decode(mend_checksums(data), self._stack(end).sequence_map))
        self._run(wait)

    @rule(end=ENDS, back=st.integers(0, 40), wait=WAITS)
    def echo(self, end: int, back: int, wait: int) -> None:
        """Send an old copy of what was sent to an end."""
        assert self.pair is not None
        sent = [packet for _, way, packet in self.pair.wire[-100:] if way == ("s>c" if end == 0 else "c>s")]
        if sent:
            self._inject(end, sent[max(0, len(sent) - 1 - back)].clone())
        self._run(wait)

    @rule(end=ENDS, kind=st.sampled_from(KINDS), more=st.integers(1, 1 << 31), wait=WAITS)
    def icmp(self, end: int, kind: str, more: int, wait: int) -> None:
        """Send an ICMP error about something that is not in flight (RFC 5927 section 4.1)."""
        target = self._target(end, 0)
        if target is not None and target[1].state >= ESTABLISHED:
            tcp = target[1]
            seq = max(tcp.sender.nxt, tcp.sender.window_probe.end) + more
            cause = Segment(tcp.flow, 1_500, tcp.sequences, ACK, seq, 0, 0, 1_460, -1, -1, None, 0)
            self._inject(end, IcmpError(ROUTER, cause, kind, 296))
        self._run(wait)

    def teardown(self) -> None:
        """Read and close: both ends have got what the other one has written."""
        if self.pair is None or sys.exc_info()[0] is not None:
            return
        ends = [connection for connection in (self._connection(0), self._connection(1)) if connection]
        for _ in range(50):
            for connection in ends:
                connection.eager = True
                connection.read(connection.readable, self.pair.now)
                if connection.established:
                    connection.close(self.pair.now)
            self._run(5_000)
            ends = [connection for connection in (self._connection(0), self._connection(1)) if connection]
        one, other = ends
        for end, peer in ((one, other), (other, one)):
            hold("failed without cause", not end.error, lambda e=end: e.error)
            got, wrote = end.delivered, peer.written
            hold("not everything arrived", got == wrote, lambda g=got, w=wrote: f"{g} of {w}")
            hold(
                "no end of stream",
                end.peer_closed and end.closed,
                lambda e=end: f"{e.peer_closed} {e.closed}",
            )
        super().teardown()


#: A segment that says nothing.
OUTSIDE: dict[str, Any] = {
    "subflow": 0,
    "window": 0,
    "length": 0,
    "content": "right",
    "syn": None,
    "options": [],
    "urgent": 0,
    "ecn": 0,
    "encoded": False,
}
