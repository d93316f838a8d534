"""Two stacks joined by a wire with virtual time: what most protocol tests run on.

The wire delays every packet by ``delay``; a ``hook(direction, packet, now)`` may
return the packets to deliver instead (an empty list drops it), each as the packet or
as ``(extra_delay, packet)``. With ``encode`` every packet crosses the wire as bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import mptcpsim.congestion
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.stack import Listener, Stack
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.units import MILLISECOND, NEVER, SECOND

assert mptcpsim.congestion

Hook = Callable[[str, Packet, int], Iterable[Any]]

CLIENT = "10.0.0.1"
SERVER = "10.0.0.2"
PORT = 5001

#: The direction against each direction.
BACK = {"c>s": "s>c", "s>c": "c>s"}


class Pair:
    """A client and a server stack and the wire between them.

    Attributes:
        wire: every segment sent, as (time, direction, segment); direction is "c>s" or "s>c".
        judges: bytes that are not those of the stream end the run, as in a simulation.
        on_arrival: called with the direction and the segment when one that a stack sent arrives.
    """

    def __init__(
        self,
        client: TcpConfig | None = None,
        server: TcpConfig | None = None,
        *,
        delay: int = 50 * MILLISECOND,
        hook: Hook | None = None,
        encode: bool = False,
        seed: int = 1,
        addresses: tuple[str, str] = (CLIENT, SERVER),
        mtu: int = 1500,
    ) -> None:
        self.now = 0
        self.delay = delay
        self.hook = hook
        self.encode = encode
        self.judges = True
        self.on_arrival: Callable[[str, Segment], None] | None = None
        self.addresses = addresses
        self.client = Stack("client", random.Random(seed), client or TcpConfig())
        self.server = Stack("server", random.Random(seed + 1), server or TcpConfig())
        self.client.add_address(addresses[0], mtu)
        self.server.add_address(addresses[1], mtu)
        self.listener: Listener = self.server.listen(PORT)
        self.wire: list[tuple[int, str, Segment]] = []
        self._heap: list[tuple[int, int, Any]] = []
        self._order = 0

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Run ``action`` at instant ``when`` (ns)."""
        self._order += 1
        heappush(self._heap, (when, self._order, action))

    def connect(self, **kwargs: Any) -> Connection:
        """Open a connection from the client to the server now."""
        local, remote = self.addresses
        connection = self.client.connect(local, (remote, PORT), self.now, **kwargs)
        self.pump()
        return connection

    def establish(self) -> tuple[Connection, Connection]:
        """Open a connection and run until both ends have it; return (client's, server's)."""
        client = self.connect()
        limit = self.now + 300 * SECOND
        while not (client.established and self.listener.accepted) and self.now < limit:
            if not self.step():
                break
        assert self.listener.accepted, "the connection was not established"
        return client, self.listener.accepted.pop(0)

    def pump(self) -> None:
        """Put what the stacks want to send on the wire."""
        for stack, direction in ((self.client, "c>s"), (self.server, "s>c")):
            while stack.outbox:
                packets = list(stack.outbox)
                stack.outbox.clear()
                for packet in packets:
                    self._send(direction, packet)
            if stack.fault is not None and self.judges:
                raise stack.fault
            stack.ready.clear()
            stack.arrivals.clear()

    def _send(self, direction: str, packet: Packet) -> None:
        assert isinstance(packet, Segment), "only routers send ICMP errors"
        self.wire.append((self.now, direction, packet))
        results: Iterable[Any] = [packet] if self.hook is None else self.hook(direction, packet, self.now)
        for result in results:
            extra, what = result if isinstance(result, tuple) else (0, result)
            if not self._is_lost(direction, what):
                delay = self.delay_of(direction, what)
                self.at(self.now + delay + extra, self._arrival(direction, what))

    def _is_lost(self, direction: str, packet: Packet) -> bool:
        """Return whether the wire loses a packet that its hook has let through."""
        return False

    def delay_of(self, direction: str, packet: Packet) -> int:
        """Return how long a packet takes, ns."""
        return self.delay

    def sender(self, direction: str) -> Stack:
        """Return the stack that sends in a direction."""
        return self.client if direction == "c>s" else self.server

    def inject(self, target: Stack, packet: Packet) -> None:
        """Put a packet that neither stack sent on its way to ``target``; the hook does not see it."""
        self.at(self.now + self.delay, self._delivery(target, packet))

    def _arrival(self, direction: str, segment: Segment) -> Callable[[], None]:
        deliver = self._delivery(self.sender(BACK[direction]), segment)

        def arrive() -> None:
            if self.on_arrival is not None:
                self.on_arrival(direction, segment)
            deliver()

        return arrive

    def _delivery(self, target: Stack, packet: Packet) -> Callable[[], None]:
        def deliver() -> None:
            received: Packet | None = packet
            if self.encode:
                from mptcpsim.codec.packet import decode, encode

                received = decode(encode(packet), target.sequence_map)
            if received is not None:
                target.receive_packet(received, self.now)

        return deliver

    def next_event(self) -> int:
        """Return when the next event happens, ns, or ``NEVER``."""
        when = min(self.client.next_timer(), self.server.next_timer())
        return min(when, self._heap[0][0]) if self._heap else when

    def step(self) -> bool:
        """Run the next event; return False when nothing is left."""
        self.pump()
        when = self.next_event()
        if when >= NEVER:
            return False
        assert when >= self.now
        self.now = when
        if self._heap and self._heap[0][0] == when:
            heappop(self._heap)[2]()
        else:
            for stack in (self.client, self.server):
                if stack.next_timer() <= when:
                    stack.handle_timer(when)
        self.pump()
        return True

    def run(self, until: int = NEVER, steps: int = 1_000_000) -> None:
        """Run until an instant (ns), or until nothing is left to do."""
        self.pump()
        for _ in range(steps):
            upcoming = self.next_event()
            if upcoming > until or upcoming >= NEVER:
                if until < NEVER:
                    self.now = until
                return
            self.step()
        raise AssertionError(f"no end after {steps} events")

    def segments(self, direction: str) -> list[tuple[int, Any]]:
        """Return (time, segment) of everything sent in one direction."""
        return [(when, packet) for when, way, packet in self.wire if way == direction]
