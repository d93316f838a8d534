"""A Hypothesis machine over MPTCP: two ends, four paths that spoil what they carry, and what must hold.

Beside what applications do, its rules are what path managers, networks and middleboxes do.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import M_CLOSED, M_FIN_WAIT_2, M_INIT
from mptcpsim.core.segment import FourTuple, Packet, Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED
from mptcpsim.plugins import Action, Announce, OpenSubflow, SetBackup, Withdraw
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.mptcp.configs import config_of, mptcp_configs
from tests.core.mptcp.faulty_path import MPTCP_FATES, STRIPPED, MptcpFaultyPath, PathLane
from tests.core.mptcp.invariants import MptcpEnd, check_mptcp_end
from tests.core.mptcp.pair import C1, C2, S1, S2, MptcpPair
from tests.core.tcp.configs import tcp_configs
from tests.core.tcp.pair import PORT
from tests.core.tcp.transfer_machine import CLIENT_PORT, EAGER, ENDS, WAITS, WAYS, TransferMachine, command
from tests.core.tcp.watched_path import hold

CLIENTS, SERVERS = (C1, C2), (S1, S2)
PATHS = tuple((client, server) for client in CLIENTS for server in SERVERS)

#: More events than this at one instant is a loop.
INSTANT = 10_000

#: The paths that a rule means.
SOME_PATHS = st.sampled_from(((0,), (0,), (1,), (2,), (3,), (0, 1), (0, 2), (1, 3), (0, 1, 2, 3)))
SOME_WAYS = st.sampled_from((("c>s", "s>c"), ("c>s",), ("s>c",)))
STRIP_COUNTS = st.sampled_from((1, 1, 2, 5, NEVER))
DELAYS = st.sampled_from((50, 0, 0.1, 5, 400))
FIRST_FATES = st.lists(st.sampled_from(("pass", "drop", "twice", "late")), max_size=5)
FATE_LISTS = st.lists(st.sampled_from(MPTCP_FATES), max_size=6)


class MptcpMachine(TransferMachine):
    """Two ends of an MPTCP connection. Subclasses fix a part of the configuration, fields of ``MptcpConfig``.

    Attributes:
        PROFILES: of which one is drawn for each end.
    """

    PROFILES: ClassVar[tuple[str, ...]] = ("rfc8684", "linux-6.18")
    #: Time-outs of the connection, of its subflows and of a connection that has none may follow each other.
    TEARDOWN: ClassVar[int] = 3_000 * SECOND
    EARLY_MSS: ClassVar[int] = 1
    MOST_SEGMENTS: ClassVar[int] = 1_000

    pair: MptcpPair | None
    path: MptcpFaultyPath
    ends: tuple[MptcpEnd, MptcpEnd]

    def __init__(self) -> None:
        super().__init__()
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
        eager=EAGER,
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
            config_of(tcp[0] | {"payload": self.PAYLOAD}, mptcp[0], PORT),
            config_of(tcp[1] | {"payload": self.PAYLOAD}, mptcp[1], CLIENT_PORT),
            client_addresses=CLIENTS,
            server_addresses=SERVERS,
            delay=max(latencies),
            delays=dict(zip(PATHS, latencies, strict=True)),
            hook=self.path,
            encode=self.ENCODE,
            mtu=mtu,
        )
        self.path.watch(pair)
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
        known = range(0 if connection is None else len(connection.subflows))
        if connection is not None and number in known and connection.subflow_of(number).works:
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
        self._go_dark([self._lane(index, way) for index in range(len(PATHS)) for way in ways], length)
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

    # --- How it is done ---------------------------------------------------------------------------

    def _lane(self, index: int, way: str) -> PathLane:
        return self.path.lane(way, *PATHS[index])

    def _strip(self, path: tuple[int, ...], ways: tuple[str, ...], what: str, count: int) -> None:
        if self.meddles:
            for index in path:
                for way in ways:
                    self._lane(index, way).strips = what
                    self._lane(index, way).strip_count = count

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

        Return whether that is so. If others are left, the closed ones are explained: the path may take those.
        """
        one, other = (end.connection for end in self.ends)
        left: set[FourTuple] = set()
        if isinstance(one, MptcpConnection) and isinstance(other, MptcpConnection):
            there = {subflow.tcp.flow.reverse() for subflow in other.alive() if subflow.works}
            left = {subflow.tcp.flow for subflow in one.alive() if subflow.works} & there
        gone = flows | {flow.reverse() for flow in flows}

        def is_closed(flow: FourTuple) -> bool:
            return flow in gone or flow.src in addresses or flow.dst in addresses

        for end in self.ends:
            if end.connection is not None:
                end.explain(end.connection, is_closed)
        if not all(map(is_closed, left)):
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

    # --- What is special about MPTCP --------------------------------------------------------------

    def _room(self, connection: Connection) -> int | None:
        if not isinstance(connection, MptcpConnection):
            return None
        out = connection.outbound
        return out.wnd_end - out.end

    def _step(self) -> bool:
        before = self._now()
        more = super()._step()
        self.at_instant = self.at_instant + 1 if self._now() == before else 0
        hold("too many events at an instant", self.at_instant < INSTANT, lambda: f"{before} ns")
        return more

    def _check_end(self, end: MptcpEnd, peer: MptcpEnd) -> None:
        check_mptcp_end(end, peer, self.path, self._now(), self.cut)

    def _heal(self) -> None:
        self.path.heal(strips=self.ending != "stripped")
        for number, addresses in enumerate((CLIENTS, SERVERS)):
            for address in addresses:
                self._regain(number, address)

    def _excused(self) -> bool:
        return super()._excused() or bool(self.path.tampered and self.ends[0].excuse)

    def _check_over(self, end: MptcpEnd) -> None:
        left = end.stack.counters["MPTcpExtMPCurrEstab"]
        hold("connections that are counted and over", left == 0, lambda: f"{left}")

    def _waits(self, connection: Connection) -> bool:
        """At the connection it is the same: a subflow that joined after the own DATA_FIN sends nothing."""
        over = isinstance(connection, MptcpConnection) and connection.state == M_FIN_WAIT_2
        return over or super()._waits(connection)

    def _on_wire(self, packet: Packet) -> tuple[Any, ...]:
        assert isinstance(packet, Segment)
        return (*super()._on_wire(packet), packet.dss, packet.options)
