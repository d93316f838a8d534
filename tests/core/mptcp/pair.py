"""Two MPTCP stacks with several addresses each, and a path between every pair of them.

A path is named by its (client address, server address). Each has a delay of its own,
may lose packets at random and may be cut for a while. On top of that a hook sees every
packet as it does in ``Pair``; this module has the hooks of the usual middleboxes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import mptcpsim.pathmanagers
import mptcpsim.schedulers
from mptcpsim.codec.options import wire_length
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.mptcp_options import Dss, MpCapable, MptcpOption, MpTcprst
from mptcpsim.core.segment import ACK, RST, SYN, FourTuple, Packet, Segment
from mptcpsim.core.stack import Stack
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED
from mptcpsim.plugins import (
    Action,
    OpenSubflow,
    Parameter,
    PathManager,
    PathView,
    RemoteAddress,
    SubflowInfo,
    Value,
    register,
)
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.tcp.pair import PORT, Hook, Pair

assert mptcpsim.pathmanagers
assert mptcpsim.schedulers

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


class Plan:
    """What the path manager ``scripted`` of an end does, and what it was told.

    Attributes:
        told: the events so far: the name of the method and what it was given besides the view.
        view: the view of the connection that last called.
    """

    def __init__(
        self,
        *,
        established: Iterable[Action] = (),
        announced: Callable[[PathView, RemoteAddress], list[Action]] | None = None,
        withdrawn: Callable[[PathView, int], list[Action]] | None = None,
        subflow_closed: Callable[[PathView, SubflowInfo], list[Action]] | None = None,
        local_address: Callable[[PathView, str, bool], list[Action]] | None = None,
    ) -> None:
        self.established = list(established)
        self.announced = announced
        self.withdrawn = withdrawn
        self.subflow_closed = subflow_closed
        self.local_address = local_address
        self.told: list[tuple[Any, ...]] = []
        self.view: PathView | None = None

    def hear(self, view: PathView, name: str, *given: Any) -> list[Action]:
        """Note an event and return what to do."""
        self.view = view
        self.told.append((name, *given))
        if name == "established":
            return self.established
        answer = getattr(self, name)
        return [] if answer is None else list(answer(view, *given))

    def heard(self, name: str) -> list[Any]:
        """Return what came with the events of a name."""
        return [told[1] if len(told) == 2 else told[1:] for told in self.told if told[0] == name]


#: The plans of the path managers: a parameter can only be a simple value, so it is the index here.
PLANS: list[Plan] = []


@register
class Scripted(PathManager):
    NAME = "scripted"
    SUMMARY = "does what a test has planned"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (Parameter("plan", 0, "index in PLANS"),)

    def configure(self, values: dict[str, Value]) -> None:
        self.plan = PLANS[int(values["plan"])]

    def on_established(self, view: PathView) -> list[Action]:
        return self.plan.hear(view, "established")

    def on_announced(self, view: PathView, remote: RemoteAddress) -> list[Action]:
        return self.plan.hear(view, "announced", remote)

    def on_withdrawn(self, view: PathView, identifier: int) -> list[Action]:
        return self.plan.hear(view, "withdrawn", identifier)

    def on_subflow_closed(self, view: PathView, subflow: SubflowInfo) -> list[Action]:
        return self.plan.hear(view, "subflow_closed", subflow)

    def on_local_address(self, view: PathView, address: str, up: bool) -> list[Action]:
        return self.plan.hear(view, "local_address", address, up)


def mptcp(plan: Plan | None = None, *, tcp: dict[str, Any] | None = None, **fields: Any) -> TcpConfig:
    """Return the configuration of an MPTCP end whose path manager follows a plan.

    Args:
        plan: what the path manager does; nothing by default.
        tcp: fields of ``TcpConfig``.
        fields: fields of ``MptcpConfig``.
    """
    if "path_manager" not in fields:
        PLANS.append(plan or Plan())
        fields |= {"path_manager": "scripted", "path_manager_parameters": {"plan": len(PLANS) - 1}}
    return replace(TcpConfig(**(tcp or {})), mptcp=MptcpConfig(enabled=True, **fields))


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


# --- Two paths --------------------------------------------------------------------------------


def joining(
    version: int = 1,
    *,
    join: OpenSubflow | None = None,
    hook: Hook | None = None,
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    **options: Any,
) -> MptcpPair:
    """Return a pair whose client opens a second subflow from C2 as soon as it may."""
    plan = Plan(established=[join or OpenSubflow(C2, S1, PORT)])
    return MptcpPair(
        mptcp(plan, versions=(version,), **(client or {})),
        mptcp(versions=(version,), **(server or {})),
        client_addresses=(C1, C2, C3),
        server_addresses=(S1, S2),
        hook=hook,
        **options,
    )


def on_path(pair: MptcpPair, address: str) -> list[tuple[int, str, Segment]]:
    """Return what was sent on the paths of an address."""
    return [
        (when, way, packet)
        for when, way, packet in pair.wire
        if isinstance(packet, Segment) and address in (packet.flow.src, packet.flow.dst)
    ]


def start(pair: MptcpPair, seconds: float = 5) -> tuple[Any, Any]:
    """Connect, send a little, and wait."""
    client, server = pair.establish()
    transfer(pair, client, server, 1000)
    pair.run(pair.now + int(seconds * SECOND))
    return client, server


def resets(pair: MptcpPair, address: str = C2) -> list[tuple[str, tuple[int, ...]]]:
    """Return direction and reasons of every RST on the paths of an address."""
    return [
        (way, tuple(option.reason for option in options_of(segment) if isinstance(option, MpTcprst)))
        for _, way, segment in on_path(pair, address)
        if segment.flags & RST
    ]


def expect_reset(pair: MptcpPair, direction: str, version: int, *reasons: int) -> None:
    """The first RST of the second subflow goes that way, with one of the reasons in version 1."""
    way, given = resets(pair)[0]
    assert way == direction
    if version == 1:
        assert len(given) == 1
        assert given[0] in reasons
    else:
        assert given == ()


def goes_on(pair: MptcpPair, client: Any, server: Any, subflows: int = 1) -> None:
    """The connection works over so many subflows."""
    assert len(alive(client)) == len(alive(server)) == subflows
    transfer(pair, client, server, 50_000)
    transfer(pair, server, client, 50_000)
    assert not client.error
    assert not server.error


def keys_of(pair: MptcpPair) -> MpCapable:
    """Return the MP_CAPABLE of the third packet: the client's key and the server's."""
    return next(sent.option for sent in pair.sent(MpCapable, "c>s") if sent.option.wire_length() == 20)


def ready(version: int = 1, subflows: int = 2, **options: Any) -> tuple[MptcpPair, Any, Any]:
    """Return a pair and the two ends of a connection with so many subflows."""
    pair = (
        joining(version, **options)
        if subflows == 2
        else MptcpPair(
            mptcp(versions=(version,), **options.pop("client", {})),
            mptcp(versions=(version,), **options.pop("server", {})),
            **options,
        )
    )
    client, server = pair.establish_subflows(subflows)
    pair.run(pair.now + 200 * MS)
    return pair, client, server


def moves(pair: MptcpPair, connection: Any) -> list[str]:
    """Return the states of a connection from M_ESTAB on."""
    stack = pair.client if connection in pair.client.connections else pair.server
    details = [
        event.detail
        for event in stack.events
        if event.connection == connection.identifier and event.what == "data state"
    ]
    return [detail.split(" -> ")[1].split(" ")[0] for detail in details]


def fallen_back(version: int) -> tuple[MptcpPair, Any, Any]:
    """Return a connection whose third ACK has lost its option."""
    config = mptcp(versions=(version,))
    pair = MptcpPair(config, config, hook=strip_mptcp(lambda seen: seen.number == 3))
    client, server = pair.establish()
    transfer(pair, client, server, 50_000)
    return pair, client, server


def resets_anywhere(pair: Pair) -> list[Segment]:
    """Return every RST that was sent."""
    return [packet for _, _, packet in pair.wire if packet.flags & RST]


def one(pair: MptcpPair, kind: type[Any]) -> Sent:
    """Return the only packet with an option of a class."""
    (sent,) = pair.sent(kind)
    return sent


# --- Middleboxes --------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a middlebox knows of a segment: the ``number``-th packet of all, counted from 1."""

    direction: str
    segment: Segment
    number: int
    now: int


Predicate = Callable[[Seen], bool]


def without_mptcp(segment: Segment) -> Segment:
    """Return a copy of a segment without its MPTCP options."""
    copy = segment.clone()
    copy.dss = None
    copy.options = None
    copy.size = wire_length(copy)
    return copy


def alter(predicate: Predicate, change: Callable[[Segment], Segment | None]) -> Hook:
    """Return a hook that replaces the segments for which ``predicate`` holds; None drops them."""
    number = 0

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        nonlocal number
        number += 1
        if isinstance(packet, Segment) and predicate(Seen(direction, packet, number, now)):
            changed = change(packet)
            return [] if changed is None else [changed]
        return [packet]

    return hook


def strip_mptcp(predicate: Predicate) -> Hook:
    """Return a hook that removes the MPTCP options of the segments for which ``predicate`` holds."""
    return alter(predicate, without_mptcp)


def drop(predicate: Predicate) -> Hook:
    """Return a hook that drops the segments for which ``predicate`` holds."""
    return alter(predicate, lambda segment: None)


def replaced(kind: type[Option], change: Callable[[Option], Any]) -> Callable[[Segment], Segment]:
    """Return a change for ``alter``: another option in place of those of a class."""

    def apply(segment: Segment) -> Segment:
        copy = segment.clone()
        if isinstance(copy.dss, kind):
            copy.dss = change(copy.dss)
        if copy.options is not None:
            copy.options = tuple(
                change(option) if isinstance(option, kind) else option for option in copy.options
            )
        copy.size = wire_length(copy)
        return copy

    return apply


def carries(kind: type[Any], direction: str = "") -> Predicate:
    """Return whether a segment (of one direction) has an option of a class, as a predicate."""
    return lambda seen: (
        direction in ("", seen.direction)
        and any(isinstance(option, kind) for option in options_of(seen.segment))
    )


def chain(*hooks: Hook) -> Hook:
    """Return a hook that sends what comes out of one hook through the next one."""

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        packets = [packet]
        for one in hooks:
            packets = [result for each in packets for result in one(direction, each, now)]
        return packets

    return hook
