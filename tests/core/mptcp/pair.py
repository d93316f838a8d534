"""Two MPTCP stacks with several addresses each, and a path between every pair of them.

A path is named by its (client address, server address). Each has a delay of its own,
may lose packets at random and may be cut for a while. On top of that a hook sees every
packet as it does in ``Pair``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from mptcpsim.codec.options import wire_length
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_options import Dss, MptcpOption
from mptcpsim.core.segment import ACK, SYN, FourTuple, Packet, Segment
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED
from mptcpsim.plugins import (
    Action,
)
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.mptcp.plan import mptcp
from tests.core.tcp.pair import Hook, Pair

C1, C2, C3 = "10.0.1.1", "10.0.2.1", "10.0.3.1"
S1, S2, S3 = "10.0.1.2", "10.0.2.2", "10.0.3.2"

MS = MILLISECOND

Path = tuple[str, str]
Option = TypeVar("Option")

#: The names of the options in ``option_log``.
NAMES = {
    "MpCapable": "MP_CAPABLE",
    "MpJoinSyn": "MP_JOIN",
    "MpJoinSynAck": "MP_JOIN",
    "MpJoinAck": "MP_JOIN",
    "Dss": "DSS",
    "AddAddr": "ADD_ADDR",
    "RemoveAddr": "REMOVE_ADDR",
    "MpPrio": "MP_PRIO",
    "MpFail": "MP_FAIL",
    "MpFastclose": "MP_FASTCLOSE",
    "MpTcprst": "MP_TCPRST",
}


class Sent(NamedTuple):
    """A segment that carries a certain option, as a stack sent it."""

    time: int
    direction: str
    segment: Segment
    option: Any


class Logged(NamedTuple):
    """A line of ``option_log``."""

    time: int
    direction: str
    flow: FourTuple
    names: tuple[str, ...]


class MptcpPair(Pair):
    """A client and a server with several addresses, and the paths between them.

    Attributes:
        delays: one-way delay of a path, ns; a path that is not there has ``delay``.
        losses: probability that a path loses a packet.
    """

    def __init__(
        self,
        client: TcpConfig | None = None,
        server: TcpConfig | None = None,
        *,
        client_addresses: tuple[str, ...] = (C1,),
        server_addresses: tuple[str, ...] = (S1,),
        delay: int = 10 * MS,
        delays: dict[Path, int] | None = None,
        losses: dict[Path, float] | None = None,
        hook: Hook | None = None,
        encode: bool = False,
        seed: int = 1,
        mtu: int = 1500,
    ) -> None:
        super().__init__(
            client or mptcp(),
            server or mptcp(),
            delay=delay,
            hook=hook,
            encode=encode,
            seed=seed,
            addresses=(client_addresses[0], server_addresses[0]),
            mtu=mtu,
        )
        for address in client_addresses[1:]:
            self.client.add_address(address, mtu)
        for address in server_addresses[1:]:
            self.server.add_address(address, mtu)
        self.delays = delays or {}
        self.losses = losses or {}
        self._cuts: list[tuple[str, int, int]] = []
        self._rng = random.Random(seed + 2)

    # --- Paths ----------------------------------------------------------------------------------

    def cut(self, address: str, start: int = 0, end: int = NEVER) -> None:
        """Drop what is sent from ``start`` to before ``end`` on every path of an address of either host."""
        self._cuts.append((address, start, end))

    def mend(self) -> None:
        """Undo every cut."""
        self._cuts.clear()

    def path_of(self, direction: str, packet: Packet) -> Path:
        """Return the path that a packet takes."""
        flow = packet.flow
        return (flow.src, flow.dst) if direction == "c>s" else (flow.dst, flow.src)

    def delay_of(self, direction: str, packet: Packet) -> int:
        return self.delays.get(self.path_of(direction, packet), self.delay)

    def _is_lost(self, direction: str, packet: Packet) -> bool:
        path = self.path_of(direction, packet)
        if any(address in path and start <= self.now < end for address, start, end in self._cuts):
            return True
        probability = self.losses.get(path, 0.0)
        return probability > 0.0 and self._rng.random() < probability

    def connect(self, **kwargs: Any) -> Any:
        """Open a connection from the client to the server now."""
        return super().connect(**kwargs)

    def establish(self) -> tuple[Any, Any]:
        """Open a connection and run until both ends have it; return (client's, server's).

        They are connections of MPTCP, or of TCP where an end does not speak MPTCP.
        """
        return super().establish()

    # --- Running --------------------------------------------------------------------------------

    def run_until(self, condition: Callable[[], bool], limit: int = 60 * SECOND) -> None:
        """Run until ``condition`` holds, at most ``limit`` ns from now."""
        end = self.now + limit
        self.pump()
        while not condition():
            assert self.next_event() <= end, f"the condition did not come true by {end / SECOND} s"
            self.step()

    def establish_subflows(self, count: int = 1, first: int = 1000) -> tuple[Any, Any]:
        """Connect, send ``first`` bytes and wait until both ends have ``count`` subflows that work.

        Returns the connections of the client and of the server; what was sent is read.
        """
        client, server = self.establish()
        transfer(self, client, server, first)
        self.run_until(lambda: len(working(client)) >= count and len(working(server)) >= count)
        return client, server

    # --- What was sent --------------------------------------------------------------------------

    def sent(self, kind: type[Option], direction: str = "") -> list[Sent]:
        """Return every segment sent with an option of a class, with the option."""
        return [
            Sent(when, way, packet, option)
            for when, way, packet in self.wire
            if isinstance(packet, Segment) and direction in ("", way)
            for option in options_of(packet)
            if isinstance(option, kind)
        ]


def options_of(segment: Segment) -> tuple[MptcpOption, ...]:
    """Return all MPTCP options of a segment."""
    dss = () if segment.dss is None else (segment.dss,)
    return (segment.options or ()) + dss


def option_log(pair: Pair) -> list[Logged]:
    """Return time, direction, flow and names of the MPTCP options of every segment sent."""
    return [
        Logged(when, way, packet.flow, tuple(NAMES[type(option).__name__] for option in options_of(packet)))
        for when, way, packet in pair.wire
        if isinstance(packet, Segment)
    ]


def working(connection: Connection) -> list[Tcp]:
    """Return the subflows of a connection that are established."""
    return [subflow for subflow in connection.subflows if subflow.state == ESTABLISHED]


def alive(connection: Connection) -> list[Tcp]:
    """Return the subflows of a connection that are not closed."""
    return [subflow for subflow in connection.subflows if subflow.state != CLOSED]


def act(pair: MptcpPair, connection: Any, *actions: Action) -> None:
    """Have a connection do now what a path manager could ask for."""
    connection.act(list(actions), pair.now)
    pair.pump()


def host_gets(pair: MptcpPair, stack: Stack, address: str) -> None:
    """Give a host one more address now."""
    stack.add_address(address)
    stack.change_address(address, True, pair.now)
    pair.pump()


def host_loses(pair: MptcpPair, stack: Stack, address: str) -> None:
    """Take an address from a host now."""
    stack.change_address(address, False, pair.now)
    pair.pump()
    del stack.addresses[address]


def transfer(
    pair: Pair, writer: Connection, reader: Connection, count: int, limit: int = 300 * SECOND
) -> int:
    """Write ``count`` bytes, read them at the other end, and return how long it took, ns."""
    start, end = pair.now, reader.consumed + count
    left = count
    while reader.consumed < end:
        if left and writer.writable:
            left -= writer.write(left, pair.now)
        if reader.readable:
            reader.read(reader.readable, pair.now)
        pair.pump()
        if reader.consumed >= end:
            break
        assert pair.next_event() <= start + limit, (
            f"{end - reader.consumed} of {count} bytes have not arrived after {limit / SECOND} s"
        )
        pair.step()
    assert left == 0
    assert reader.consumed == reader.delivered == end, "more arrived than was written"
    return pair.now - start


def counted(stack: Any, *names: str) -> tuple[int, ...]:
    """Return counters of a host; the prefix ``MPTcpExt`` is left out."""
    counters = stack.counters.as_dict()
    return tuple(counters.get(f"MPTcpExt{name}", 0) for name in names)


def forge(
    pair: MptcpPair,
    connection: Connection,
    number: int = 0,
    *,
    options: tuple[MptcpOption, ...] | None = None,
    dss: Dss | None = None,
    flags: int = ACK,
    seq: int | None = None,
    ack: int | None = None,
    length: int = 0,
) -> Segment:
    """Inject a segment that a subflow of ``connection`` could have sent, but has not, and return it.

    Without ``seq`` and ``ack`` they are those of its next ACK.
    """
    subflow = connection.subflows[number]
    target = pair.server if subflow.flow.src in pair.client.addresses else pair.client
    segment = next(
        packet
        for _, _, packet in reversed(pair.wire)
        if isinstance(packet, Segment) and packet.flow == subflow.flow and not packet.flags & SYN
    ).clone()
    segment.flags = flags
    segment.seq = subflow.sender.nxt if seq is None else seq
    segment.ack = subflow.receiver.nxt if ack is None else ack
    segment.length = length
    segment.offset = segment.seq - 1
    segment.sack = None
    segment.dss = dss
    segment.options = options
    segment.size = wire_length(segment)
    pair.inject(target, segment)
    return segment
