"""A Hypothesis machine over MPTCP: two ends, four paths that spoil what they carry, and what must hold.

The rules are what applications, path managers, networks and middleboxes do; after every event
the invariants of both ends are checked (``mptcp_invariants``), and every segment is checked
where it is sent (``mptcp_faulty_path``). In the end the paths heal, the readers read, both ends
close, and everything that was written must have arrived.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import M_CLOSED, M_FIN_WAIT_2, M_INIT
from mptcpsim.core.segment import FourTuple, Segment
from mptcpsim.core.tcp.states import CLOSED, FIN_WAIT_2, SYN_SENT
from mptcpsim.plugins import Action, Announce, OpenSubflow, SetBackup, Withdraw
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.mptcp.configs import config_of, mptcp_configs
from tests.core.mptcp.faulty_path import MPTCP_FATES, STRIPPED, Lane, MptcpFaultyPath
from tests.core.mptcp.invariants import MptcpEnd, check_mptcp_end
from tests.core.mptcp.pair import C1, C2, S1, S2, MptcpPair
from tests.core.tcp.configs import tcp_configs
from tests.core.tcp.faulty_path import hold
from tests.core.tcp.machine import ENDS, STORM, WAITS, WAYS, command, numbers
from tests.core.tcp.pair import PORT

CLIENT_PORT = 6_000
CLIENTS, SERVERS = (C1, C2), (S1, S2)
PATHS = tuple((client, server) for client in CLIENTS for server in SERVERS)

#: Every connection is over this long after the paths healed and both ends closed: time-outs of the
#: connection, of its subflows and of a connection that has none may follow each other.
TEARDOWN = 3_000 * SECOND
#: More events than this at one instant is a loop.
INSTANT = 10_000

#: The paths that a rule means.
SOME_PATHS = st.sampled_from(((0,), (0,), (1,), (2,), (3,), (0, 1), (0, 2), (1, 3), (0, 1, 2, 3)))
SOME_WAYS = st.sampled_from((("c>s", "s>c"), ("c>s",), ("s>c",)))
STRIP_COUNTS = st.sampled_from((1, 1, 2, 5, NEVER))
DELAYS = st.sampled_from((50, 0, 0.1, 5, 400))
FIRST_FATES = st.lists(st.sampled_from(("pass", "drop", "twice", "late")), max_size=5)
FATE_LISTS = st.lists(st.sampled_from(MPTCP_FATES), max_size=6)


class MptcpMachine(RuleBasedStateMachine):
    """Two ends of an MPTCP connection. Subclasses fix a part of the configuration.

    Attributes:
        FIXED: fields of ``MptcpConfig`` that both ends have.
        PROFILES: of which one is drawn for each end.
        ENCODE: every packet crosses the wire as bytes.
    """

    FIXED: ClassVar[dict[str, Any]] = {}
    PROFILES: ClassVar[tuple[str, ...]] = ("rfc8684", "linux-6.18")
    ENCODE: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[Callable[..., None], dict[str, Any]]] = []
        self.pair: MptcpPair | None = None
        self.path: MptcpFaultyPath
        self.ends: tuple[MptcpEnd, MptcpEnd]
        self.at_instant = 0
        #: What may have been the last subflow was closed, which no path manager does without care.
        self.cut = False

    # --- The start --------------------------------------------------------------------------------

    @initialize(
        tcp=st.tuples(tcp_configs({}), tcp_configs({})),
        mptcp=st.runner().flatmap(
            lambda machine: st.tuples(*(mptcp_configs(machine.FIXED, machine.PROFILES) for _ in range(2)))
        ),
        mtu=st.sampled_from((1_500, 1_500, 296, 9_000)),
        delays=st.tuples(DELAYS, DELAYS, DELAYS, DELAYS),
        fates=st.one_of(st.just([]), FIRST_FATES),
        first=st.sampled_from((0, 5, 20, 60)),
        ending=st.sampled_from(("close", "close", "close", "close", "abort", "stripped")),
        meddles=st.sampled_from((False, False, True)),
        stripped=st.one_of(st.none(), st.tuples(st.sampled_from(tuple(STRIPPED)), SOME_WAYS, STRIP_COUNTS)),
        eager=st.sampled_from(((True, True), (False, True), (True, False), (False, False))),
    )
    def open(
        self,
        tcp: tuple[dict[str, Any], dict[str, Any]],
        mptcp: tuple[dict[str, Any], dict[str, Any]],
        mtu: int,
        delays: tuple[float, ...],
        fates: list[str],
        first: int,
        ending: str,
        meddles: bool,
        stripped: tuple[str, tuple[str, ...], int] | None,
        eager: tuple[bool, bool],
    ) -> None:
        """Open the connection, with faults or without."""
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self.commands.append((MptcpMachine.open, arguments))
        self.path = MptcpFaultyPath()
        latencies = [int(delay * MILLISECOND) for delay in delays]
        self.pair = pair = MptcpPair(
            config_of(tcp[0], mptcp[0], PORT),
            config_of(tcp[1], mptcp[1], CLIENT_PORT),
            client_addresses=CLIENTS,
            server_addresses=SERVERS,
            delay=max(latencies),
            delays=dict(zip(PATHS, latencies, strict=True)),
            hook=self.path,
            encode=self.ENCODE,
            mtu=mtu,
        )
        self.path.pair = pair
        self.ending = ending
        self.meddles = meddles
        self.mtu = mtu
        self.ends = (MptcpEnd(pair.client, "c>s"), MptcpEnd(pair.server, "s>c"))
        if stripped is not None:
            self._strip((0,), stripped[1], stripped[0], stripped[2])
        for index, fate in enumerate(fates):
            self._lane(0, "c>s" if index % 2 else "s>c").fates.append(fate)
        for end, reads in zip(self.ends, eager, strict=True):
            end.eager = reads
        pair.client.connect(C1, (S1, PORT), 0, local_port=CLIENT_PORT)
        pair.pump()
        if first:
            self._run(10 * latencies[0])
            self._write(0, first, 0)

    # --- Applications -----------------------------------------------------------------------------

    @command(end=ENDS, segments=st.integers(0, 40), odd=st.integers(0, 300), wait=WAITS)
    def write(self, end: int, segments: int, odd: int, wait: int) -> None:
        """Write some segments and some odd bytes."""
        self._write(end, segments, odd)
        self._run(wait * MILLISECOND)

    @command(
        end=ENDS, path=SOME_PATHS, segments=st.integers(2, 40), fates=FATE_LISTS, back=FATE_LISTS, wait=WAITS
    )
    def write_spoilt(
        self, end: int, path: tuple[int, ...], segments: int, fates: list[str], back: list[str], wait: int
    ) -> None:
        """Write, and choose what happens to the first segments and ACKs on some paths."""
        for index in path:
            self._lane(index, self.ends[end].way).fates.extend(fates)
            self._lane(index, self.ends[1 - end].way).fates.extend(back)
        self._write(end, segments, 0)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), wait=WAITS)
    def dribble(self, end: int, sizes: list[int], wait: int) -> None:
        """Write tiny pieces one after the other."""
        for size in sizes:
            self._write(end, 0, size)
        self._run(wait * MILLISECOND)

    @command(end=ENDS, more=st.integers(-1, 2), close=st.booleans(), wait=WAITS)
    def fill_window(self, end: int, more: int, close: bool, wait: int) -> None:
        """Write what fills the shared window, and a little less or more; perhaps close."""
        connection = self.ends[end].connection
        if isinstance(connection, MptcpConnection):
            out = connection.outbound
            self._write(end, 0, max(out.edge - out.end + more, 0))
            if close:
                self._close(self.ends[end])
                self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, limit=st.one_of(st.integers(0, 100), st.integers(0, 100_000)), wait=WAITS)
    def read(self, end: int, limit: int, wait: int) -> None:
        """Read at most so much."""
        connection = self.ends[end].connection
        if connection is not None:
            connection.read(limit, self._now())
            self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, eager=st.booleans(), wait=WAITS)
    def pause_or_resume(self, end: int, eager: bool, wait: int) -> None:
        """Stop reading, or read all that is there, and all that comes."""
        self._set_eager(self.ends[end], eager)
        self._run(wait * MILLISECOND)

    @command(ends=st.sampled_from(((0,), (1,), (0, 1))), wait=WAITS)
    def close(self, ends: tuple[int, ...], wait: int) -> None:
        """Close one direction, or both at one instant; reading goes on."""
        for end in ends:
            self._close(self.ends[end])
        self._settle()
        self._run(wait * MILLISECOND)

    # --- Path managers ----------------------------------------------------------------------------

    @command(end=ENDS, path=st.integers(0, 3), backup=st.booleans(), wait=WAITS)
    def open_subflow(self, end: int, path: int, backup: bool, wait: int) -> None:
        """Open a subflow from either side."""
        client, server = PATHS[path]
        if end == 0:
            self._act(end, OpenSubflow(client, server, PORT, backup))
        else:
            self._act(end, OpenSubflow(server, client, CLIENT_PORT, backup))
        self._run(wait * MILLISECOND)

    @command(end=ENDS, number=st.integers(0, 3), reset=st.booleans(), wait=WAITS)
    def close_subflow(self, end: int, number: int, reset: bool, wait: int) -> None:
        """Close a subflow, or reset it."""
        connection = self._multipath(end)
        if connection is not None and number < len(connection.subflows):
            tcp = connection.subflows[number]
            if tcp.state != CLOSED:
                if self._excuse_without({tcp.flow}, set()):
                    self.cut = True
                if reset:
                    tcp.abort(self._now())
                else:
                    tcp.close(self._now())
                self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, second=st.booleans(), port=st.booleans(), wait=WAITS)
    def announce(self, end: int, second: bool, port: bool, wait: int) -> None:
        """Announce an address, with its port or without."""
        number = (CLIENT_PORT if end == 0 else PORT) if port else 0
        self._act(end, Announce((CLIENTS, SERVERS)[end][second], number))
        self._run(wait * MILLISECOND)

    @command(end=ENDS, second=st.booleans(), wait=WAITS)
    def withdraw(self, end: int, second: bool, wait: int) -> None:
        """Take an address back, and close its subflows."""
        address = (CLIENTS, SERVERS)[end][second]
        if self._multipath(end) is not None:
            self._excuse_without(set(), {address})
        self._act(end, Withdraw(address))
        self._run(wait * MILLISECOND)

    @command(end=ENDS, second=st.booleans(), wait=WAITS)
    def lose_address(self, end: int, second: bool, wait: int) -> None:
        """A host loses an address: nothing more leaves it or arrives there."""
        address = (CLIENTS, SERVERS)[end][second]
        stack = self.ends[end].stack
        if address in stack.addresses:
            if self._multipath(end) is not None:
                self._excuse_without(set(), {address})
            stack.change_address(address, False, self._now())
            del stack.addresses[address]
            self.path.gone.add(address)
            self._settle()
        self._run(wait * MILLISECOND)

    @command(end=ENDS, second=st.booleans(), wait=WAITS)
    def regain_address(self, end: int, second: bool, wait: int) -> None:
        """It gets it back."""
        self._regain(end, (CLIENTS, SERVERS)[end][second])
        self._run(wait * MILLISECOND)

    @command(end=ENDS, number=st.integers(0, 3), backup=st.booleans(), wait=WAITS)
    def set_backup(self, end: int, number: int, backup: bool, wait: int) -> None:
        """Change the priority of a subflow."""
        connection = self._multipath(end)
        known = connection is not None and number < len(connection.subflows)
        if known and connection.subflow_of(number).works:
            self._act(end, SetBackup(number, backup))
        self._run(wait * MILLISECOND)

    # --- The paths --------------------------------------------------------------------------------

    @command(
        path=SOME_PATHS,
        way=WAYS,
        percent=st.sampled_from((0, 3, 10, 25, 60)),
        seed=st.integers(0, 0xFFFF),
        wait=WAITS,
    )
    def noise(self, path: tuple[int, ...], way: str, percent: int, seed: int, wait: int) -> None:
        """Lose, delay, double, cut, damage and mark so many of 100 packets from now on."""
        for index in path:
            lane = self._lane(index, way)
            lane.percent = percent
            lane.noise.seed(seed + index)
        self._run(wait * MILLISECOND)

    @command(path=SOME_PATHS, ways=SOME_WAYS, wait=WAITS)
    def kill_path(self, path: tuple[int, ...], ways: tuple[str, ...], wait: int) -> None:
        """Lose everything on some paths."""
        for index in path:
            for way in ways:
                self._lane(index, way).dark = True
        self._run(wait * MILLISECOND)

    @command(path=SOME_PATHS, wait=WAITS)
    def restore_path(self, path: tuple[int, ...], wait: int) -> None:
        """Let some paths work again."""
        for index in path:
            for way in ("c>s", "s>c"):
                self._lane(index, way).dark = False
        self._run(wait * MILLISECOND)

    @command(
        ways=SOME_WAYS,
        length=st.sampled_from((60, 60, 250, 250, 1_000, 1_000, 5_000, 5_000, 30_000, 200_000)),
        wait=WAITS,
    )
    def black_hole(self, ways: tuple[str, ...], length: int, wait: int) -> None:
        """Lose everything on all paths for a while (ms)."""
        lanes = [self._lane(index, way) for index in range(len(PATHS)) for way in ways]
        dark = [lane.dark for lane in lanes]
        for lane in lanes:
            lane.dark = True
        self._run(length * MILLISECOND)
        for lane, before in zip(lanes, dark, strict=True):
            lane.dark = before
        self._run(wait * MILLISECOND)

    @command(path=SOME_PATHS, delay=DELAYS, wait=WAITS)
    def change_delay(self, path: tuple[int, ...], delay: float, wait: int) -> None:
        """Let some paths become longer or shorter."""
        assert self.pair is not None
        for index in path:
            self.pair.delays[PATHS[index]] = int(delay * MILLISECOND)
        self._run(wait * MILLISECOND)

    @command(
        path=SOME_PATHS,
        ways=SOME_WAYS,
        what=st.sampled_from(tuple(STRIPPED)),
        count=STRIP_COUNTS,
        wait=WAITS,
    )
    def strip(self, path: tuple[int, ...], ways: tuple[str, ...], what: str, count: int, wait: int) -> None:
        """Remove the options of MPTCP from some segments, or from all to come."""
        self._strip(path, ways, what, count)
        self._run(wait * MILLISECOND)

    @command(path=SOME_PATHS, way=WAYS, count=st.sampled_from((1, 1, 3)), wait=WAITS)
    def spoil_checksum(self, path: tuple[int, ...], way: str, count: int, wait: int) -> None:
        """Change the checksum of some mappings."""
        if self.meddles:
            for index in path:
                self._lane(index, way).spoil_count = count
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

    def _lane(self, index: int, way: str) -> Lane:
        return self.path.lane(way, *PATHS[index])

    def _strip(self, path: tuple[int, ...], ways: tuple[str, ...], what: str, count: int) -> None:
        if self.meddles:
            for index in path:
                for way in ways:
                    self._lane(index, way).strips = what
                    self._lane(index, way).strip_count = count

    def _write(self, end: int, segments: int, odd: int) -> None:
        connection = self.ends[end].connection
        if connection is None or connection.closing or connection.error:
            return
        # More than some hundred windows or a thousand segments would take too long.
        mss = max(connection.subflows[0].sender.mss, 1)
        buffer = self.ends[1 - end].stack.config.receive_buffer
        count = min(segments * mss + odd, 100 * buffer, 300_000, 1_000 * mss)
        expected = min(count, connection.writable)
        accepted = connection.write(count, self._now())
        hold("write took another count", accepted == expected, lambda: f"{accepted} != {expected}")
        self._settle()

    def _multipath(self, end: int) -> MptcpConnection | None:
        """Return the connection of an end while it speaks MPTCP."""
        connection = self.ends[end].connection
        if isinstance(connection, MptcpConnection) and not connection.is_plain:
            return None if connection.state in (M_INIT, M_CLOSED) else connection
        return None

    def _act(self, end: int, action: Action) -> None:
        """Let the path manager of an end want something."""
        connection = self._multipath(end)
        if connection is not None:
            connection.act([action], self._now())
            self._settle()

    def _excuse_without(self, flows: set[FourTuple], addresses: set[str]) -> bool:
        """Let the connection fail if some subflows are closed and none is left that works at both ends.

        Return whether that is so.
        """
        one, other = (end.connection for end in self.ends)
        left: set[FourTuple] = set()
        if isinstance(one, MptcpConnection) and isinstance(other, MptcpConnection):
            there = {subflow.tcp.flow.reverse() for subflow in other.alive() if subflow.works}
            left = {subflow.tcp.flow for subflow in one.alive() if subflow.works} & there
        gone = flows | {flow.reverse() for flow in flows}
        if any(flow not in gone and not addresses & {flow.src, flow.dst} for flow in left):
            return False
        for end in self.ends:
            end.excuse = "the last subflow was closed"
        return True

    def _regain(self, end: int, address: str) -> None:
        assert self.pair is not None
        if address in self.path.gone:
            stack = self.ends[end].stack
            stack.add_address(address, self.mtu)
            self.path.gone.remove(address)
            stack.change_address(address, True, self._now())
            self._settle()

    def _set_eager(self, end: MptcpEnd, eager: bool) -> None:
        end.eager = eager
        connection = end.connection
        if connection is not None:
            connection.eager = eager
            if eager:
                connection.read(connection.readable, self._now())
                self._settle()

    def _close(self, end: MptcpEnd) -> None:
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
        before = self.pair.now
        if not self.pair.step():
            return False
        self.at_instant = self.at_instant + 1 if self.pair.now == before else 0
        hold("too many events at an instant", self.at_instant < INSTANT, lambda: f"{before} ns")
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
        check_mptcp_end(one, other, self.path, self.pair.now, self.cut)
        check_mptcp_end(other, one, self.path, self.pair.now, self.cut)

    # --- The end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Heal the paths, read, close both ends: all arrives, and both ends reach CLOSED."""
        if self.pair is None or sys.exc_info()[0] is not None:
            return
        pair = self.pair
        self.path.heal(strips=self.ending != "stripped")
        for number, addresses in enumerate((CLIENTS, SERVERS)):
            for address in addresses:
                self._regain(number, address)
        for end in self.ends:
            self._set_eager(end, True)
        limit = pair.now + TEARDOWN + self._time_for_small_windows()
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
        if any(end.failed for end in self.ends) or (self.path.tampered and self.ends[0].excuse):
            return
        for end, peer in (self.ends, self.ends[::-1]):
            assert end.connection is not None
            assert peer.connection is not None
            delivered, written = end.connection.delivered, peer.connection.written
            hold("not everything arrived", delivered == written, lambda d=delivered, w=written: f"{d} of {w}")
            hold("no end of stream", end.connection.peer_closed, lambda w=end.way: w)
            left = end.stack.counters["MPTcpExtMPCurrEstab"]
            hold("connections that are counted and over", left == 0, lambda n=left: f"{n}")
        self._run(TEARDOWN)
        hold("timers after the end", pair.next_event() == NEVER, lambda: f"{pair.next_event()}")

    def replay(self, machine: MptcpMachine) -> None:
        """Do on another machine what was done on this one, the end included."""
        for method, arguments in self.commands:
            method(machine, **arguments)
        machine.teardown()

    def trace(self) -> list[tuple[Any, ...]]:
        """Return what crossed the wire, with the numbers that stood on it."""
        wire = [] if self.pair is None else self.pair.wire
        return [
            (when, way, packet.size, packet.ecn, *numbers(packet), packet.dss, packet.options)
            for when, way, packet in wire
            if isinstance(packet, Segment)
        ]

    def _time_for_small_windows(self) -> int:
        """Return how long what is pending takes if every window of it has to be asked for, ns."""
        assert self.pair is not None
        windows = 0
        for end, peer in (self.ends, self.ends[::-1]):
            if end.connection is not None:
                pending = end.connection.written - end.connection.acked
                windows += pending // peer.stack.config.receive_buffer
        return windows * (2 * self.pair.delay + SECOND)

    def _is_over(self, end: MptcpEnd) -> bool:
        """Return whether an end is CLOSED, or waits in FIN-WAIT-2 for a peer that has failed.

        Nothing ends that wait (RFC 9293 section 3.3.2) if the peer's reset was lost. At the connection
        it is the same: a subflow that joined after the own DATA_FIN has nothing to send.
        """
        connection = end.connection
        if connection is None or connection.closed:
            return True
        waits = all(tcp.state in (CLOSED, FIN_WAIT_2) for tcp in connection.subflows)
        waits = waits or (isinstance(connection, MptcpConnection) and connection.state == M_FIN_WAIT_2)
        return waits and any(other.failed for other in self.ends)
