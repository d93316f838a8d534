"""Who does not know where a connection is, or has no key, changes nothing of it."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from mptcpsim.codec import decode
from mptcpsim.codec.options import wire_length
from mptcpsim.codec.roundtrip import mend_checksums
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp_options import AddAddr, MpFastclose, MpJoinSyn, MptcpOption, RemoveAddr
from mptcpsim.core.segment import (
    ACK,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Segment,
)
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import ESTABLISHED
from tests.core.hostile_segments import Forger, segments, sender_map
from tests.core.intruded import ENDS, KINDS, WAITS, Intruded, with_options
from tests.core.tcp.faulty_path import ROUTER
from tests.core.tcp.watched_path import hold


class OutsiderMachine(Intruded):
    """Who does not know where the connection is, or has no key, changes nothing: all arrives."""

    CHECKS: ClassVar[bool] = True
    PROFILES: ClassVar[tuple[str, ...]] = (
        "rfc8684",
        "rfc8684",
        "linux-6.18",
        "rfc6824",
        "caia-v0.4",
        "plain",
    )

    @rule(
        end=ENDS,
        index=st.integers(0, 3),
        what=st.sampled_from(("old", "far", "beyond", "reset", "syn", "keys", "damaged")),
        spec=segments(),
        more=st.integers(1, 5_000),
        wait=WAITS,
    )
    def whisper(self, end: int, index: int, what: str, spec: dict[str, Any], more: int, wait: int) -> None:
        """Send an end something that it has to ignore, or at most to answer."""
        target = self._target(end, index)
        if target is not None and target[1].state >= ESTABLISHED:
            segment = self._ignored(*target, what, spec, more)
            if segment is not None:
                self._inject_as(end, segment, spec["encoded"])
        self._run(wait)

    def _ignored(
        self, connection: Connection, tcp: Tcp, what: str, spec: dict[str, Any], more: int
    ) -> Segment | None:
        receiver, sender = tcp.receiver, tcp.sender
        edge = max(receiver.wnd_end, receiver.nxt)
        if isinstance(connection, MptcpConnection):
            edge += (
                max(connection.inbound.wnd_end - connection.inbound.nxt, 0) if not connection.is_plain else 0
            )
        segment = Forger(connection, tcp, sender_map(tcp), self._now()).segment(
            spec | {"stamps": "right", "seq": ("next", 0), "ack": ("next", 0), "sack": [], "flags": ACK}
        )
        segment.seq, segment.ack = receiver.nxt, sender.una
        segment.window = min(max(sender.wnd_end - sender.una, 0) >> tcp.snd_scale, 65_535)
        if what == "old":
            segment.length = min(more, receiver.nxt - 1)
            segment.seq -= segment.length
            segment.payload = b"\xff" * segment.length
            segment.dss = segment.options = None
        elif what == "far":
            # Any options and flags, also the right keys; but without them the ACK field could not be told.
            segment.seq = edge + 10_000 + more
            segment.flags = spec["flags"] & 0xFF
        elif what == "beyond":
            segment.ack = max(sender.nxt, sender.window_probe.end) + more
        elif what in ("reset", "syn"):
            if edge - receiver.nxt < 2:
                return None
            segment.seq += 1 + more % (edge - receiver.nxt - 1)
            segment.flags = RST if what == "reset" else SYN
            segment.dss = segment.options = None
        elif what == "damaged":
            segment.damaged = True
        else:
            segment.dss = None
            segment.options = self._without_keys(connection, more)
            segment.length = 0
        if segment.length == 0:
            segment.payload = None
        if not segment.flags & SYN:
            segment.syn = None
        segment.urgent = 0
        segment.size = wire_length(segment)
        return segment

    @staticmethod
    def _without_keys(connection: Connection, more: int) -> tuple[MptcpOption, ...]:
        choices: list[MptcpOption] = [RemoveAddr((77,)), MpFastclose(more), MpJoinSyn(1, more, more)]
        if isinstance(connection, MptcpConnection) and connection.agreed.version == 1:
            choices += [
                AddAddr(9, "10.0.9.9", 5001, more.to_bytes(8, "big")),
                AddAddr(9, "10.0.9.9", echo=True),
            ]
        return (choices[more % len(choices)],)

    @rule(end=ENDS, area=st.binary(max_size=39), port=st.sampled_from((0, 0, 7)), wait=WAITS)
    def mumble(self, end: int, area: bytes, port: int, wait: int) -> None:
        """Send options of MPTCP that cannot be read, to the connection or to a port where nobody is."""
        target = self._target(end, 0)
        if target is not None and target[1].state >= ESTABLISHED:
            segment = self._ignored(*target, "old", OUTSIDE, 0)
            assert segment is not None
            if port:
                segment.flow = FourTuple(segment.flow.src, port, segment.flow.dst, segment.flow.dport)
            # Subtype 0xE is not assigned.
            data = with_options(segment, bytes((30, 3 + len(area[:37]), 0xE0)) + area[:37])
            self._inject(end, decode(mend_checksums(data), self._stack(end).sequence_map))
        self._run(wait)

    @rule(end=ENDS, back=st.integers(0, 40), wait=WAITS)
    def echo(self, end: int, back: int, wait: int) -> None:
        """Send an old copy of what was sent to an end."""
        assert self.pair is not None
        sent = [packet for _, way, packet in self.pair.wire[-100:] if way == ("s>c" if end == 0 else "c>s")]
        if sent:
            self._inject(end, sent[max(0, len(sent) - 1 - back)].clone())
        self._run(wait)

    @rule(end=ENDS, kind=st.sampled_from(KINDS), more=st.integers(1, 1 << 31), wait=WAITS)
    def icmp(self, end: int, kind: str, more: int, wait: int) -> None:
        """Send an ICMP error about something that is not in flight (RFC 5927 section 4.1)."""
        target = self._target(end, 0)
        if target is not None and target[1].state >= ESTABLISHED:
            tcp = target[1]
            seq = max(tcp.sender.nxt, tcp.sender.window_probe.end) + more
            cause = Segment(tcp.flow, 1_500, tcp.sequences, ACK, seq, 0, 0, 1_460, -1, -1, None, 0)
            self._inject(end, IcmpError(ROUTER, cause, kind, 296))
        self._run(wait)

    def teardown(self) -> None:
        """Read and close: both ends have got what the other one has written."""
        if self.pair is None or sys.exc_info()[0] is not None:
            return
        ends = [connection for connection in (self._connection(0), self._connection(1)) if connection]
        for _ in range(50):
            for connection in ends:
                connection.eager = True
                connection.read(connection.readable, self.pair.now)
                if connection.established:
                    connection.close(self.pair.now)
            self._run(5_000)
            ends = [connection for connection in (self._connection(0), self._connection(1)) if connection]
        one, other = ends
        for end, peer in ((one, other), (other, one)):
            hold("failed without cause", not end.error, lambda e=end: e.error)
            got, wrote = end.delivered, peer.written
            hold("not everything arrived", got == wrote, lambda g=got, w=wrote: f"{g} of {w}")
            hold(
                "no end of stream",
                end.peer_closed and end.closed,
                lambda e=end: f"{e.peer_closed} {e.closed}",
            )
        super().teardown()


#: A segment that says nothing.
OUTSIDE: dict[str, Any] = {
    "subflow": 0,
    "window": 0,
    "length": 0,
    "content": "right",
    "syn": None,
    "options": [],
    "urgent": 0,
    "ecn": 0,
    "encoded": False,
}
