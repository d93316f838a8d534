"""Which subflows the two ends of a flow will want: a rehearsal of the connection on a perfect wire.

Both stacks, their profiles, path managers, limits and versions are the real ones; only the network
is missing. So the answer needs no second model of any path manager, be it one of the user's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp_options import AddAddr, MpJoinSyn
from mptcpsim.core.segment import ACK, SYN, FourTuple, Packet, Segment
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.units import MILLISECOND, SECOND

#: Bytes that each end writes: enough for a DSS in both directions, which joins may wait for.
_BYTES: Final = 2000
#: What the wire delays a packet, and how long the rehearsal lasts, at most; nothing is lost on it, so that
#: all that an end wants to do is done within a few round trips.
_DELAY: Final = MILLISECOND
_LONGEST: Final = 2 * SECOND
_MOST_PACKETS: Final = 2000


class RehearsedEnd(NamedTuple):
    """One end of a flow.

    Attributes:
        config: of its connections.
        addresses: of the host, in the order of its interfaces, with the MTU behind each.
        source_for: the own address from which routing reaches another.
    """

    config: TcpConfig
    addresses: dict[str, int]
    source_for: Callable[[str], str]


class Join(NamedTuple):
    """A further subflow that an end has asked for.

    Attributes:
        client: address of the client of the flow.
        server: address of the server.
        by_client: the client has opened it.
        accepted: the other end took it.
        port: that its SYN is for; 0 is the client's port of the first subflow.
    """

    client: str
    server: str
    by_client: bool
    accepted: bool
    port: int


class Rehearsal(NamedTuple):
    """What came of it.

    Attributes:
        multipath: both ends speak MPTCP with each other.
        joins: further subflows, in the order in which they were asked for.
        announced: (by the client?, address) of each ADD_ADDR.
        asked: further subflows that the client has asked for, each by its port.
        taken: those of them that the server has taken.
    """

    multipath: bool
    joins: tuple[Join, ...] = ()
    announced: tuple[tuple[bool, str], ...] = ()
    asked: int = 0
    taken: int = 0


def rehearse(client: RehearsedEnd, server: RehearsedEnd, local: str, remote: str, port: int) -> Rehearsal:
    """Open a connection between two ends and let both do what they want to do at its beginning."""
    stage = _Stage(client, server)
    return stage.play(local, remote, port)


class _Stage:
    """Two stacks, and the packets between them."""

    def __init__(self, client: RehearsedEnd, server: RehearsedEnd) -> None:
        self._stacks = [self._stack("client", client), self._stack("server", server)]
        self._flying: list[tuple[int, int, Packet]] = []
        self._asked: dict[tuple[str, str, bool], bool] = {}
        self._ports: dict[tuple[str, str, bool], int] = {}
        self._announced: dict[tuple[bool, str], None] = {}
        #: By the four-tuple of the SYN of the client: the server has taken it.
        self._opened: dict[FourTuple, bool] = {}

    @staticmethod
    def _stack(name: str, end: RehearsedEnd) -> Stack:
        stack = Stack(name, random.Random(name), end.config)
        for address, mtu in end.addresses.items():
            stack.add_address(address, mtu)
        stack.choose_source = end.source_for
        return stack

    def play(self, local: str, remote: str, port: int) -> Rehearsal:
        client, server = self._stacks
        listener = server.listen(port, server.config)
        mine = client.connect(local, (remote, port), 0)
        theirs: Connection | None = None
        now = count = 0
        self._send(now)
        while count < _MOST_PACKETS:
            now = min([at for at, _, _ in self._flying] + [stack.next_timer() for stack in self._stacks])
            if now > _LONGEST:
                break
            for packet in [entry for entry in self._flying if entry[0] <= now]:
                self._flying.remove(packet)
                count += 1
                self._stacks[packet[1]].receive_packet(packet[2], now)
            for stack in self._stacks:
                stack.handle_timer(now)
            if theirs is None and listener.accepted:
                theirs = listener.accepted[0]
                for connection in (mine, theirs):
                    connection.write(_BYTES, now)
            self._send(now)
        multipath = isinstance(mine, MptcpConnection) and not mine.is_plain and theirs is not None
        first = mine.subflows[0].flow.sport if isinstance(mine, MptcpConnection) and mine.subflows else 0
        joins = [
            Join(*asked, accepted, 0 if not asked[2] and self._ports[asked] == first else self._ports[asked])
            for asked, accepted in self._asked.items()
        ]
        return Rehearsal(
            multipath, tuple(joins), tuple(self._announced), len(self._opened), sum(self._opened.values())
        )

    def _send(self, now: int) -> None:
        for number, stack in enumerate(self._stacks):
            for packet in stack.outbox:
                self._look_at(packet, by_client=number == 0)
                self._flying.append((now + _DELAY, 1 - number, packet))
            stack.outbox.clear()
            stack.ready.clear()
            stack.arrivals.clear()

    def _look_at(self, packet: Packet, by_client: bool) -> None:
        """Note what a packet says about further subflows."""
        if not isinstance(packet, Segment):
            return
        flow = packet.flow
        for option in packet.options or ():
            if isinstance(option, AddAddr) and not option.echo:
                self._announced[by_client, option.address] = None
            elif isinstance(option, MpJoinSyn) and not packet.flags & ACK:
                own, other = (flow.src, flow.dst) if by_client else (flow.dst, flow.src)
                self._asked.setdefault((own, other, by_client), False)
                if by_client:
                    self._opened.setdefault(flow, False)
                self._ports.setdefault((own, other, by_client), flow.dport)
        if packet.flags & (SYN | ACK) == SYN | ACK:
            # The answer to a SYN: the one who sends it has accepted.
            own, other = (flow.src, flow.dst) if by_client else (flow.dst, flow.src)
            opening = FourTuple(flow.dst, flow.dport, flow.src, flow.sport)
            if opening in self._opened:
                self._opened[opening] = True
            if (own, other, not by_client) in self._asked:
                self._asked[own, other, not by_client] = True
