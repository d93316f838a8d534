"""A Hypothesis machine over the TCP core: two ends, a faulty path, and what must always hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import ICMP_HOST_UNREACHABLE, ICMP_NET_UNREACHABLE, ICMP_TIME_EXCEEDED, IcmpError
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.units import MILLISECOND
from tests.core.tcp.configs import tcp_configs
from tests.core.tcp.faulty_path import ROUTER, FaultyPath
from tests.core.tcp.invariants import End, check_end
from tests.core.tcp.pair import PORT, Pair
from tests.core.tcp.transfer_machine import CLIENT_PORT, EAGER, ENDS, WAITS, WAYS, TransferMachine, command
from tests.core.tcp.watched_path import FATES, hold

#: The connection goes on whatever these say (RFC 1122 section 4.2.3.9).
SOFT_ERRORS = (ICMP_NET_UNREACHABLE, ICMP_HOST_UNREACHABLE, ICMP_TIME_EXCEEDED)

MTUS = st.sampled_from((1_500, 296, 576, 9_000, 65_535))


class TcpMachine(TransferMachine):
    """Two ends of a TCP connection. Subclasses fix a part of the configuration, fields of ``TcpConfig``."""

    path: FaultyPath
    ends: tuple[End, End]

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
        eager=EAGER,
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
        configs = [TcpConfig(**values, payload=self.PAYLOAD) for values in (client, server)]
        self.pair = pair = Pair(*configs, delay=latency, hook=self.path, encode=self.ENCODE, mtu=mtu)
        self.path.watch(pair)
        self.ending = ending
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
        self._go_dark([self.path.directions[way] for way in ways], length)
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

    # --- What is special about TCP ----------------------------------------------------------------

    def _room(self, connection: Connection) -> int | None:
        sender = connection.subflows[0].sender
        return sender.wnd_end - sender.end

    def _read(self, end: int, limit: int) -> None:
        if self.ends[end].connection is None:
            return
        direction = self.path.directions[self.ends[end].way]
        announced, sent = direction.announced, direction.sent
        super()._read(end, limit)
        silent = direction.sent == sent
        hold("empty window update", silent or direction.announced > announced, lambda: f"{announced}")

    def _check_end(self, end: End, peer: End) -> None:
        check_end(end, peer, self.path.lost, self._now())

    def _heal(self) -> None:
        self.path.heal()
