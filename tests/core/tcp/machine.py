"""A Hypothesis machine over the TCP core: two ends, a faulty path, and what must always hold.

The rules are what applications and networks do; after every event the invariants of
both ends are checked (``invariants``), and every packet is checked where it is
sent (``faulty_path``). In the end the path heals, the readers read, both ends close,
and everything that was written must have arrived.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import (
    ACK,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.tcp.states import FIN_WAIT_2, SYN_SENT
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.tcp.configs import tcp_configs
from tests.core.tcp.faulty_path import FATES, ROUTER, FaultyPath, hold
from tests.core.tcp.invariants import End, check_end
from tests.core.tcp.pair import PORT, Pair

#: Every connection is over this long after the path healed and both ends closed.
TEARDOWN = 1_000 * SECOND
#: More events than this in one step is a storm of packets.
STORM = 50_000

CLIENT_PORT = 6_000

#: The connection goes on whatever these say (RFC 1122 section 4.2.3.9).
SOFT_ERRORS = (ICMP_NET_UNREACHABLE, ICMP_HOST_UNREACHABLE, ICMP_TIME_EXCEEDED)

MTUS = st.sampled_from((1_500, 296, 576, 9_000, 65_535))
WAYS = st.sampled_from(("c>s", "s>c"))
ENDS = st.sampled_from((0, 1))
#: How long to wait after a command, ms; what comes at one instant matters as much.
WAITS = st.sampled_from((0, 0, 0, 1, 10, 60, 250, 1_000, 7_000))


def command(**strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that makes a rule of a method, and its calls known to ``replay``."""

    def decorate(method: Callable[..., None]) -> Any:
        @functools.wraps(method)
        def call(machine: TcpMachine, **arguments: Any) -> None:
            machine.commands.append((method, arguments))
            if machine.pair is not None:
                machine.path.rate.on_event()
            method(machine, **arguments)

        return rule(**strategies)(call)

    return decorate


def numbers(packet: Packet) -> tuple[Any, ...]:
    """Return the fields of a segment as they stand on the wire."""
    assert isinstance(packet, Segment)
    wire = packet.sequences
    return (
        packet.flags,
        wire.wire_seq(packet.seq),
        wire.wire_ack(packet.ack) if packet.flags & ACK else 0,
        packet.window,
        packet.length,
        packet.ts_val,
        packet.ts_ecr,
        packet.syn,
        tuple((wire.wire_ack(left), wire.wire_ack(right)) for left, right in packet.sack or ()),
    )


class TcpMachine(RuleBasedStateMachine):
    """Two ends of a TCP connection. Subclasses fix a part of the configuration.

    Attributes:
        FIXED: fields of ``TcpConfig`` that both ends have.
        ENCODE: every packet crosses the wire as bytes.
    """

    FIXED: ClassVar[dict[str, Any]] = {}
    ENCODE: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[Callable[..., None], dict[str, Any]]] = []
        self.pair: Pair | None = None
        self.path: FaultyPath
        self.ends: tuple[End, End]

    # --- The start --------------------------------------------------------------------------------

    @initialize(
        client=st.runner().flatmap(lambda machine: tcp_configs(machine.FIXED)),
        server=st.runner().flatmap(lambda machine: tcp_configs(machine.FIXED)),
        mtu=MTUS,
        delay=st.sampled_from((50, 0, 0.1, 5, 400)),
        both_open=st.sampled_from((False, False, False, True)),
        fates=st.one_of(
            st.just(()), st.lists(st.sampled_from(("pass", "drop", "twice", "late", "very late")), max_size=5)
        ),
        first=st.sampled_from((0, 5, 20, 60)),
        ending=st.sampled_from(("close", "close", "close", "close", "abort")),
        eager=st.sampled_from(((True, True), (False, True), (True, False), (False, False))),
    )
    def open(
        self,
        client: dict[str, Any],
        server: dict[str, Any],
        mtu: int,
        delay: float,
        both_open: bool,
        fates: list[str],
        first: int,
        ending: str,
        eager: tuple[bool, bool],
    ) -> None:
        """Open the connection, from one end or from both at once, with faults or without."""
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self.commands.append((TcpMachine.open, arguments))
        self.path = FaultyPath(mtu)
        latency = int(delay * MILLISECOND)
        configs = TcpConfig(**client), TcpConfig(**server)
        self.pair = pair = Pair(*configs, delay=latency, hook=self.path, encode=self.ENCODE, mtu=mtu)
        self.path.pair = pair
        self.aborts = ending == "abort"
        self.ends = (End(pair.client, "c>s"), End(pair.server, "s>c"))
        for index, fate in enumerate(fates):
            self.path.directions["c>s" if index % 2 else "s>c"].fates.append(fate)
        for end, reads in zip(self.ends, eager, strict=True):
            end.eager = reads
        local, remote = pair.addresses
        pair.client.connect(local, (remote, PORT), 0, local_port=CLIENT_PORT)
        if both_open:
            pair.server.connect(remote, (local, CLIENT_PORT), 0, local_port=PORT)
        pair.pump()
        if first:
            self._run(10 * latency)
            self._write(0, first, 0)

    # --- Applications -----------------------------------------------------------------------------

    @command(end=ENDS, segments=st.integers(0, 40), odd=st.integers(0, 300), wait=WAITS)
    def write(self, end: int, segments: int, odd: int, wait: int) -> None:
        """Write some segments and some odd bytes."""
        self._write(end, segments, odd)
        self._run(wait * MILLISECOND)

    @command(
        end=ENDS,
        segments=st.integers(2, 40),
        fates=st.lists(st.sampled_from(tuple(FATES)), min_size=1, max_size=12),
        back=st.lists(st.sampled_from(tuple(FATES)), max_size=6),
        wait=WAITS,
    )
    def write_spoilt(self, end: int, segments: int, fates: list[str], back: list[str], wait: int) -> None:
        """Write, and choose what happens to the first segments and to the first acknowledgments."""
        self.path.directions[self.ends[end].way].fates.extend(fates)
        self.path.directions[self.ends[1 - end].way].fates.extend(back)
        self._write(end, segments, 0)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), wait=WAITS)
    def dribble(self, end: int, sizes: list[int], wait: int) -> None:
        """Write tiny pieces one after the other."""
        connection = self.ends[end].connection
        for size in sizes:
            if connection is not None and not connection.closing and not connection.error:
                connection.write(size, self._now())
                self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, more=st.integers(-1, 2), close=st.booleans(), wait=WAITS)
    def fill_window(self, end: int, more: int, close: bool, wait: int) -> None:
        """Write what fills the peer's window, and a little less or more; perhaps close."""
        connection = self.ends[end].connection
        if connection is not None and not connection.closing and not connection.error:
            sender = connection.subflows[0].sender
            connection.write(min(max(sender.edge - sender.end + more, 0), 300_000), self._now())
            if close:
                self._close(self.ends[end])
            self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, limit=st.one_of(st.integers(0, 100), st.integers(0, 100_000)), wait=WAITS)
    def read(self, end: int, limit: int, wait: int) -> None:
        """Read at most so much."""
        connection = self.ends[end].connection
        if connection is not None:
            direction = self.path.directions[self.ends[end].way]
            before = direction.announced, direction.sent
            connection.read(limit, self._now())
            self._settle()
            silent = direction.sent == before[1]
            hold("empty window update", silent or direction.announced > before[0], lambda: f"{before[0]}")
        self._run(wait * MILLISECOND)

    @command(end=ENDS, wait=WAITS)
    def pause(self, end: int, wait: int) -> None:
        """Stop reading."""
        self._set_eager(self.ends[end], False)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, wait=WAITS)
    def resume(self, end: int, wait: int) -> None:
        """Read all that is there, and all that comes."""
        self._set_eager(self.ends[end], True)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, wait=WAITS)
    def close(self, end: int, wait: int) -> None:
        """Close one direction; reading goes on."""
        self._close(self.ends[end])
        self._settle()
        self._run(wait * MILLISECOND)

    @command(wait=WAITS)
    def close_both(self, wait: int) -> None:
        """Close both directions at one instant."""
        for end in self.ends:
            self._close(end)
        self._settle()
        self._run(wait * MILLISECOND)

    # --- The path ---------------------------------------------------------------------------------

    @command(
        way=WAYS,
        percent=st.sampled_from((0, 3, 10, 25, 60)),
        seed=st.integers(0, 0xFFFF),
        wait=WAITS,
    )
    def noise(self, way: str, percent: int, seed: int, wait: int) -> None:
        """Lose, delay, double, damage and mark so many of 100 packets from now on."""
        direction = self.path.directions[way]
        direction.percent = percent
        direction.noise.seed(seed)
        self._run(wait * MILLISECOND)

    @command(
        ways=st.sampled_from((("c>s", "s>c"), ("c>s",), ("s>c",))),
        length=st.sampled_from((60, 60, 250, 250, 1_000, 1_000, 5_000, 5_000, 30_000, 200_000, 2_000_000)),
        wait=WAITS,
    )
    def black_hole(self, ways: tuple[str, ...], length: int, wait: int) -> None:
        """Lose everything for a while (ms)."""
        for way in ways:
            self.path.directions[way].dark = True
        self._run(length * MILLISECOND)
        for way in ways:
            self.path.directions[way].dark = False
        self._run(wait * MILLISECOND)

    @command(way=WAYS, kind=st.sampled_from(SOFT_ERRORS), wait=WAITS)
    def unreachable(self, way: str, kind: str, wait: int) -> None:
        """Send an ICMP error about the last segment of one direction: no reason to give up."""
        segment = self.path.directions[way].last
        end = self.ends[0 if way == "c>s" else 1]
        if segment is not None and end.connection is not None:
            assert self.pair is not None
            self.pair.inject(end.stack, IcmpError(ROUTER, segment, kind))
        self._run(wait * MILLISECOND)

    @command(end=ENDS, wait=WAITS)
    def discard(self, end: int, wait: int) -> None:
        """Let the receiver throw away what waits out of order, as RFC 2018 section 8 allows."""
        connection = self.ends[end].connection
        if connection is not None:
            receiver = connection.subflows[0].receiver
            receiver.out_of_order.clear()
            receiver.recent.clear()
        self._run(wait * MILLISECOND)

    @command(way=WAYS, muted=st.booleans(), wait=WAITS)
    def lose_window_updates(self, way: str, muted: bool, wait: int) -> None:
        """Lose every segment that does nothing but open the window, or no longer."""
        self.path.directions[way].mutes_updates = muted
        self._run(wait * MILLISECOND)

    @command(way=WAYS, mtu=st.integers(296, 1_500), wait=WAITS)
    def shrink_mtu(self, way: str, mtu: int, wait: int) -> None:
        """Let the path take smaller packets than before."""
        direction = self.path.directions[way]
        direction.mtu = min(direction.mtu, mtu)
        self._run(wait * MILLISECOND)

    # --- Time -------------------------------------------------------------------------------------

    @command(count=st.integers(1, 40))
    def events(self, count: int) -> None:
        """Let the next events happen."""
        for _ in range(count):
            if not self._step():
                break

    @command(length=st.sampled_from((1, 10, 60, 250, 1_000, 1_000, 7_000, 40_000, 300_000)))
    def elapse(self, length: int) -> None:
        """Let time pass, ms."""
        self._run(length * MILLISECOND)

    # --- How it is done ---------------------------------------------------------------------------

    def _now(self) -> int:
        assert self.pair is not None
        return self.pair.now

    def _write(self, end: int, segments: int, odd: int) -> None:
        connection = self.ends[end].connection
        if connection is None or connection.closing or connection.error:
            return
        # More than some hundred windows or thousand segments would take too long.
        mss = connection.subflows[0].sender.mss or 500
        buffer = self.ends[1 - end].stack.config.receive_buffer
        count = min(segments * mss + odd, 100 * buffer, 300_000)
        expected = min(count, connection.writable)
        accepted = connection.write(count, self._now())
        hold("write took another count", accepted == expected, lambda: f"{accepted} != {expected}")
        self._settle()

    def _set_eager(self, end: End, eager: bool) -> None:
        end.eager = eager
        connection = end.connection
        if connection is not None:
            connection.eager = eager
            if eager:
                connection.read(connection.readable, self._now())
                self._settle()

    def _close(self, end: End) -> None:
        """Close an end; in SYN-SENT that would be giving up (RFC 9293 section 3.10.4)."""
        connection = end.connection
        if connection is not None and connection.subflows[0].state != SYN_SENT:
            connection.close(self._now())

    def _settle(self) -> None:
        """Put on the wire what an application's call made the stacks send."""
        assert self.pair is not None
        self.pair.pump()
        self.check()

    def _step(self) -> bool:
        assert self.pair is not None
        if not self.pair.step():
            return False
        for end in self.ends:
            connection = end.connection
            if end.eager and connection is not None and not connection.eager:
                self._set_eager(end, True)
        self.check()
        return True

    def _run(self, length: int) -> None:
        assert self.pair is not None
        until = self.pair.now + length
        for _ in range(STORM):
            upcoming = self.pair.next_event()
            if upcoming > until:
                self.pair.now = until
                return
            self._step()
        hold("storm of packets", False, lambda: f"{STORM} events in {length} ns")

    # --- What must hold ---------------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        """Check both ends."""
        if self.pair is None:
            return
        one, other = self.ends
        lost, now = self.path.lost, self.pair.now
        check_end(one, other, lost, now)
        check_end(other, one, lost, now)

    # --- The end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Heal the path, read, close both ends: all arrives, and both ends reach CLOSED."""
        if self.pair is None or sys.exc_info()[0] is not None:
            return
        pair = self.pair
        self.path.heal()
        for end in self.ends:
            self._set_eager(end, True)
        limit = pair.now + TEARDOWN + self._time_for_small_windows()
        if self.aborts and self.ends[0].connection is not None:
            self.ends[0].connection.abort(pair.now)
            self.ends[0].judged = self.ends[0].connection
        for _ in range(STORM * 10):
            for end in self.ends:
                self._close(end)
            pair.pump()
            if all(self._is_over(end) for end in self.ends) or pair.now > limit or not self._step():
                break
        for end in self.ends:
            hold("not CLOSED in the end", self._is_over(end), lambda way=end.way: f"{way} at {pair.now} ns")
        if any(end.failed for end in self.ends):
            return
        for end, peer in ((self.ends[0], self.ends[1]), (self.ends[1], self.ends[0])):
            assert end.connection is not None
            assert peer.connection is not None
            delivered, written = end.connection.delivered, peer.connection.written
            hold("not everything arrived", delivered == written, lambda d=delivered, w=written: f"{d} of {w}")
            hold("no end of stream", end.connection.peer_closed, lambda w=end.way: w)
        self._run(TEARDOWN)
        hold("timers after the end", pair.next_event() == NEVER, lambda: f"{pair.next_event()}")

    def replay(self, machine: TcpMachine) -> None:
        """Do on another machine what was done on this one, the end included."""
        for method, arguments in self.commands:
            method(machine, **arguments)
        machine.teardown()

    def trace(self) -> list[tuple[Any, ...]]:
        """Return what crossed the wire, with the numbers that stood on it."""
        wire = [] if self.pair is None else self.pair.wire
        return [(when, way, packet.size, packet.ecn, *numbers(packet)) for when, way, packet in wire]

    def _time_for_small_windows(self) -> int:
        """Return how long what is pending takes if every window of it has to be asked for, ns."""
        assert self.pair is not None
        windows = 0
        for end, peer in (self.ends, self.ends[::-1]):
            if end.connection is not None:
                pending = end.connection.written - end.connection.acked
                windows += pending // peer.stack.config.receive_buffer
        return windows * (2 * self.pair.delay + SECOND)

    def _is_over(self, end: End) -> bool:
        """Return whether an end is CLOSED, or waits in FIN-WAIT-2 for a peer that has failed.

        Nothing ends that wait (RFC 9293 section 3.3.2) if the peer's reset was lost.
        """
        connection = end.connection
        if connection is None or connection.closed:
            return True
        return connection.subflows[0].state == FIN_WAIT_2 and any(other.failed for other in self.ends)
