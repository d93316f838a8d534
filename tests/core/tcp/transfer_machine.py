"""What the Hypothesis machines over TCP and over MPTCP have in common: applications, time and the end.

A machine has two ends and what lies between them. Its rules are what applications and networks do. After
every event the invariants of both ends are checked (``invariants``), and every packet where it is sent
(``faulty_path``). In the end what lies between heals, the readers read, both ends close, and everything
that was written must have arrived.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mptcpsim.core.segment import ACK, Packet, Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED, FIN_WAIT_2, SYN_SENT
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.tcp.invariants import End
from tests.core.tcp.other_bytes import other_bytes
from tests.core.tcp.pair import Pair
from tests.core.tcp.watched_path import Lane, WatchedPath, hold

#: More events than this in one step is a storm of packets.
STORM = 50_000
#: No rule writes more bytes than this: it would take too long.
MOST = 300_000

CLIENT_PORT = 6_000

WAYS = st.sampled_from(("c>s", "s>c"))
ENDS = st.sampled_from((0, 1))
EAGER = st.sampled_from(((True, True), (False, True), (True, False), (False, False)))
#: How long to wait after a command, ms; what comes at one instant matters as much.
WAITS = st.sampled_from((0, 0, 0, 1, 10, 60, 250, 1_000, 7_000))


def command(**strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that makes a rule of a method, and its calls known to ``replay``."""

    def decorate(method: Callable[..., None]) -> Any:
        @functools.wraps(method)
        def call(machine: TransferMachine, **arguments: Any) -> None:
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


class TransferMachine(RuleBasedStateMachine):
    """Two ends of a connection. Subclasses have the rule that opens it, those of the network, and the checks.

    Attributes:
        FIXED: fields of the configuration that both ends have.
        ENCODE: every packet crosses the wire as bytes.
        PAYLOAD: what the ends carry; "bytes" are other ones than the pattern, and are compared where they
            are read.
        TEARDOWN: every connection is over so long after the path healed and both ends closed, ns.
        EARLY_MSS: with what segment size an end writes that does not know its own yet.
        MOST_SEGMENTS: no rule writes more segments than this.
    """

    FIXED: ClassVar[dict[str, Any]] = {}
    ENCODE: ClassVar[bool] = False
    PAYLOAD: ClassVar[str] = "pattern"
    TEARDOWN: ClassVar[int] = 1_000 * SECOND
    EARLY_MSS: ClassVar[int] = 500
    MOST_SEGMENTS: ClassVar[int] = MOST

    path: WatchedPath[Any, Any]
    ends: tuple[Any, Any]

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[Callable[..., None], dict[str, Any]]] = []
        self.pair: Pair | None = None
        self.ending = "close"

    # --- Applications -----------------------------------------------------------------------------

    @command(end=ENDS, segments=st.integers(0, 40), odd=st.integers(0, 300), wait=WAITS)
    def write(self, end: int, segments: int, odd: int, wait: int) -> None:
        """Write some segments and some odd bytes."""
        self._write(end, segments, odd)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), wait=WAITS)
    def dribble(self, end: int, sizes: list[int], wait: int) -> None:
        """Write tiny pieces one after the other."""
        for size in sizes:
            self._write(end, 0, size)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, more=st.integers(-1, 2), close=st.booleans(), wait=WAITS)
    def fill_window(self, end: int, more: int, close: bool, wait: int) -> None:
        """Write what fills the peer's window, and a little less or more; perhaps close."""
        connection = self.ends[end].connection
        room = None if connection is None else self._room(connection)
        if room is not None:
            self._write(end, 0, max(room + more, 0))
            if close:
                self._close(self.ends[end])
                self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, limit=st.one_of(st.integers(0, 100), st.integers(0, 100_000)), wait=WAITS)
    def read(self, end: int, limit: int, wait: int) -> None:
        """Read at most so much."""
        self._read(end, limit)
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

    # --- What subclasses know ---------------------------------------------------------------------

    def _room(self, connection: Connection) -> int | None:
        """Return how much more an end may write until the peer's window is full."""
        raise NotImplementedError

    def _check_end(self, end: Any, peer: Any) -> None:
        """Check everything at one end."""
        raise NotImplementedError

    def _heal(self) -> None:
        """Let everything through from now on."""
        raise NotImplementedError

    def _excused(self) -> bool:
        """Return whether not all that was written has to arrive."""
        return any(end.failed for end in self.ends)

    def _check_over(self, end: Any) -> None:
        """Check an end that is over."""

    def _waits(self, connection: Connection) -> bool:
        """Return whether an end has closed and its peer has not."""
        return all(tcp.state in (CLOSED, FIN_WAIT_2) for tcp in connection.subflows)

    def _on_wire(self, packet: Packet) -> tuple[Any, ...]:
        """Return what a packet says, with the numbers that stand on the wire."""
        return numbers(packet)

    # --- How it is done ---------------------------------------------------------------------------

    def _now(self) -> int:
        assert self.pair is not None
        return self.pair.now

    def _write(self, end: int, segments: int, odd: int) -> None:
        connection = self.ends[end].connection
        if connection is None or connection.closing or connection.error:
            return
        # More than some hundred windows or thousand segments would take too long.
        mss = connection.subflows[0].sender.mss or self.EARLY_MSS
        buffer = self.ends[1 - end].stack.config.receive_buffer
        count = min(segments * mss + odd, 100 * buffer, MOST, self.MOST_SEGMENTS * mss)
        expected = min(count, connection.writable)
        data = other_bytes(connection.written, count) if self.PAYLOAD == "bytes" else count
        accepted = connection.write(data, self._now())
        hold("write took another count", accepted == expected, lambda: f"{accepted} != {expected}")
        self._settle()

    def _read(self, end: int, limit: int) -> None:
        connection = self.ends[end].connection
        if connection is not None:
            self._take(connection, limit)
            self._settle()

    def _take(self, connection: Connection, limit: int) -> None:
        """Read at most so much; bytes must be those that the peer has written."""
        if self.PAYLOAD == "pattern":
            connection.read(limit, self._now())
            return
        place, count = connection.consumed, min(limit, connection.readable)
        data = connection.read_bytes(limit, self._now())
        told = f"{count} bytes at {place}"
        hold("bytes read are not those written", data == other_bytes(place, count), lambda: told)

    def _set_eager(self, end: End, eager: bool) -> None:
        end.eager = eager
        connection = end.connection
        if connection is not None:
            # A connection that reads by itself would throw bytes away: they are read after each event.
            connection.eager = eager and self.PAYLOAD == "pattern"
            if eager:
                self._take(connection, connection.readable)
                self._settle()

    def _close(self, end: End) -> None:
        """Close an end; in SYN-SENT that would be giving up (RFC 9293 section 3.10.4)."""
        connection = end.connection
        if connection is not None and connection.subflows[0].state != SYN_SENT:
            connection.close(self._now())

    def _go_dark(self, lanes: Iterable[Lane], length: int) -> None:
        """Lose everything on some lanes for a while (ms)."""
        before = [(lane, lane.dark) for lane in lanes]
        for lane, _ in before:
            lane.dark = True
        self._run(length * MILLISECOND)
        for lane, dark in before:
            lane.dark = dark

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
        self._check_end(one, other)
        self._check_end(other, one)

    # --- The end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Heal the path, read, close both ends: all arrives, and both ends reach CLOSED."""
        if self.pair is None or sys.exc_info()[0] is not None:
            return
        pair = self.pair
        self._heal()
        for end in self.ends:
            self._set_eager(end, True)
        limit = pair.now + self.TEARDOWN + self._time_for_small_windows()
        if self.ending == "abort" and self.ends[0].connection is not None:
            self.ends[0].excuse = "aborted"
            self.ends[0].connection.abort(pair.now)
        for _ in range(STORM * 10):
            for end in self.ends:
                self._close(end)
            pair.pump()
            if all(self._is_over(end) for end in self.ends) or pair.now > limit or not self._step():
                break
        for end in self.ends:
            hold("not CLOSED in the end", self._is_over(end), lambda way=end.way: f"{way} at {pair.now} ns")
        if self._excused():
            return
        for end, peer in (self.ends, self.ends[::-1]):
            delivered, written = end.connection.delivered, peer.connection.written
            hold("not everything arrived", delivered == written, lambda d=delivered, w=written: f"{d} of {w}")
            hold("no end of stream", end.connection.peer_closed, lambda w=end.way: w)
            self._check_over(end)
            self._check_stores(end.connection)
        self._run(self.TEARDOWN)
        hold("timers after the end", pair.next_event() == NEVER, lambda: f"{pair.next_event()}")

    def _check_stores(self, connection: Connection) -> None:
        """Check that nothing is kept of a stream that was acknowledged and read."""
        for store in (connection.sent_bytes, connection.received_bytes):
            hold("bytes are kept after the end", store is None or not len(store), lambda: f"{connection}")

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
        return self._waits(connection) and any(other.failed for other in self.ends)

    # --- Again ------------------------------------------------------------------------------------

    def replay(self, machine: TransferMachine) -> None:
        """Do on another machine what was done on this one, the end included."""
        for method, arguments in self.commands:
            method(machine, **arguments)
        machine.teardown()

    def trace(self) -> list[tuple[Any, ...]]:
        """Return what crossed the wire, with the numbers that stood on it."""
        wire = [] if self.pair is None else self.pair.wire
        return [(when, way, packet.size, packet.ecn, *self._on_wire(packet)) for when, way, packet in wire]

    def repeat_by_reference(self, plain: TransferMachine) -> None:
        """Do everything again on a machine that encodes nothing: the run must be the same."""
        if sys.exc_info()[0] is None:
            self.replay(plain)
            hold("run by reference differs", plain.trace() == self.trace(), lambda: difference(plain, self))


def difference(one: TransferMachine, other: TransferMachine) -> str:
    """Return the first packet in which two runs differ."""
    for before, after in zip_longest(one.trace(), other.trace()):
        if before != after:
            return f"{before} by reference, {after} encoded"
    return "nowhere"
