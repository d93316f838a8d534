"""Two ends whose receiver reads when the test says so: what the tests of closed windows run on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.pair import C1, C2, MS, S1, MptcpPair
from tests.core.mptcp.plan import PLANS, Plan
from tests.core.tcp.pair import PORT, Hook

#: The receive buffer of the kernel captures: what SO_RCVBUF = 16384 comes to.
BUFFER = 18_512


def end(
    profile: str, plan: Plan | None = None, tcp: dict[str, Any] | None = None, **switches: Any
) -> TcpConfig:
    """Return the configuration of an end with a profile, and some switches of it changed."""
    PLANS.append(plan or Plan())
    fields = switches | {
        "path_manager": "scripted",
        "path_manager_parameters": {"plan": len(PLANS) - 1},
    }
    return replace(TcpConfig(**(tcp or {})), mptcp=replace(PROFILES[profile], **fields))


class Closed(NamedTuple):
    """A connection whose receiver has not read for a while."""

    pair: MptcpPair
    client: Any
    server: Any

    def wait(self, ns: int) -> None:
        """Let time pass."""
        self.pair.run(self.pair.now + ns)

    def read(self, count: int = 1 << 30) -> int:
        """Let the receiver read now; return when that was, ns."""
        self.server.read(count, self.pair.now)
        self.pair.pump()
        return self.pair.now

    def arrives(self, limit: int = 120 * SECOND) -> int:
        """Run until bytes arrive for the first time, and return how long that took, ns."""
        start, before = self.pair.now, self.server.delivered
        self.pair.run_until(lambda: self.server.delivered > before, limit)
        return self.pair.now - start


def closed(
    profile: str,
    subflows: int = 2,
    *,
    server: str = "",
    hook: Hook | None = None,
    tcp: dict[str, Any] | None = None,
    buffer: int = BUFFER,
    total: int = 120_000,
    delay: int = MS // 10,
    delays: dict[tuple[str, str], int] | None = None,
    encode: bool = False,
    **switches: Any,
) -> Closed:
    """Return a connection just after the sender was given more than the receiver's buffer takes.

    Args:
        profile: of both ends, or of the client alone if ``server`` names another.
        subflows: 1, or 2: the client joins from a second address.
        server: profile of the server.
        hook: on the wire.
        tcp: fields of ``TcpConfig`` of both ends.
        buffer: receive buffer of the server.
        total: bytes written.
        delay, delays: of the paths.
        encode: every packet crosses the wire as bytes.
        switches: fields of ``MptcpConfig`` of both ends.
    """
    plan = Plan(established=[OpenSubflow(C2, S1, PORT)] if subflows == 2 else [])
    pair = MptcpPair(
        end(profile, plan, tcp, **switches),
        end(server or profile, None, {**(tcp or {}), "receive_buffer": buffer}, **switches),
        client_addresses=(C1, C2),
        hook=hook,
        delay=delay,
        delays=delays,
        encode=encode,
    )
    client, served = pair.establish_subflows(subflows, 100)
    pair.run(pair.now + SECOND)
    client.write(total, pair.now)
    pair.pump()
    return Closed(pair, client, served)


def kind(direction: str, segment: Segment, dsn: int = 0) -> str:
    """Return what a segment is in the life of a closed window; ``dsn``: the DATA_ACK of the receiver."""
    if direction == "s>c":
        return "update" if segment.window else "zero window"
    if not segment.length:
        return "probe"
    dss = segment.dss
    assert dss is not None
    if segment.length == 1 and dss.data_level_length == 1 and (dss.dsn + 1 - dsn) & 0xFFFFFFFF == 0:
        return "data probe"
    return "data"


def window_updates(times: int, addresses: tuple[str, ...] = (C1, C2)) -> Hook:
    """Return a hook that loses the first window updates after a closed window on each of some paths."""
    closed_on: set[str] = set()
    lost = dict.fromkeys(addresses, 0)

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        if direction == "s>c" and isinstance(packet, Segment):
            address = packet.flow.dst
            if not packet.window:
                closed_on.add(address)
            elif address in closed_on and lost.get(address, times) < times:
                lost[address] += 1
                return []
        return [packet]

    return hook
