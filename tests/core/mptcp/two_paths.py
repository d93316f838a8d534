"""What the tests of MPTCP do with a pair: open a second subflow, look at its path, go on."""

from __future__ import annotations

from typing import Any

from mptcpsim.core.mptcp_options import MpCapable, MpTcprst
from mptcpsim.core.segment import RST, Segment
from mptcpsim.plugins import (
    OpenSubflow,
)
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import strip_mptcp
from tests.core.mptcp.pair import C1, C2, C3, MS, S1, S2, MptcpPair, Sent, alive, options_of, transfer
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import PORT, Hook, Pair


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
