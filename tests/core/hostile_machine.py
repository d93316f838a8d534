"""A Hypothesis machine in which a peer sends anything at all, to either end, at every state of a connection.

The segments are well-formed ones that say what no honest peer says (``hostile_segments``), any bytes in place
of options, honest packets with bytes changed, old copies, ICMP errors, and answers to whatever an end sends.
What the connection is worth after that is another matter: a peer that knows the keys may end it, or move
it to other numbers. ``OutsiderMachine`` sends only what changes nothing: then all that was written arrives.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from mptcpsim.codec import DecodeError, decode, encode
from mptcpsim.codec.roundtrip import mend_checksums
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.data_states import M_CLOSED, M_INIT
from mptcpsim.core.segment import (
    ACK,
    FourTuple,
    IcmpError,
    Segment,
)
from mptcpsim.plugins import Action, Announce, OpenSubflow, Withdraw
from tests.core.hostile_segments import Forger, number, places, segments, sender_map
from tests.core.intruded import CLIENT_PORT, ENDS, KINDS, WAITS, Intruded, with_options
from tests.core.mptcp.pair import C1, C2, S1, S2
from tests.core.tcp.faulty_path import ROUTER
from tests.core.tcp.pair import PORT

#: A peer that answers everything answers so many packets of an end.
ANSWERS = 400


class HostileMachine(Intruded):
    """A peer that knows the keys, and says anything."""

    # --- What it sends ----------------------------------------------------------------------------

    @rule(end=ENDS, spec=segments(), wait=WAITS)
    def say(self, end: int, spec: dict[str, Any], wait: int) -> None:
        """Send an end a segment."""
        self._forge(end, spec)
        self._run(wait)

    @rule(end=ENDS, specs=st.lists(segments(), min_size=2, max_size=5), wait=WAITS)
    def say_several(self, end: int, specs: list[dict[str, Any]], wait: int) -> None:
        """Send several at one instant."""
        for spec in specs:
            self._forge(end, spec)
        self._run(wait)

    @rule(end=ENDS, spec=segments(), deaf=st.booleans(), length=st.sampled_from((0, 20, 1_000)))
    def answer_everything(self, end: int, spec: dict[str, Any], deaf: bool, length: int) -> None:
        """Answer every packet of an end with the same thing; what it sends arrives, or not."""
        self.deaf = deaf
        way = "c>s" if end == 0 else "s>c"
        self.answering[way] = (spec, ANSWERS)
        self._forge(end, spec)
        self._run(length)

    @rule(end=ENDS, spec=segments(), port=st.integers(1, 5), wait=WAITS)
    def call(self, end: int, spec: dict[str, Any], port: int, wait: int) -> None:
        """Send a segment from a port that nobody uses: a new connection, a join, or nothing at all."""
        target = self._target(end, spec["subflow"])
        if target is not None:
            segment = Forger(*target, sender_map(target[1]), self._now()).segment(spec)
            flow = segment.flow
            segment.flow = FourTuple(flow.src, port, flow.dst, PORT if end else CLIENT_PORT)
            self._inject_as(end, segment, spec["encoded"])
        self._run(wait)

    @rule(end=ENDS, spec=segments(), area=st.binary(max_size=40), kinds=st.booleans(), wait=WAITS)
    def write_options(self, end: int, spec: dict[str, Any], area: bytes, kinds: bool, wait: int) -> None:
        """Send any bytes in place of the options; with ``kinds`` they begin like an option of MPTCP."""
        target = self._target(end, spec["subflow"])
        if target is not None:
            segment = Forger(*target, sender_map(target[1]), self._now()).segment(
                spec | {"options": [], "sack": []}
            )
            if kinds:
                # Kind 30, a length that may be wrong, a subtype and the rest.
                area = b"\x1e" + bytes((len(area) + 1,)) + area[:38]
            self._inject_bytes(end, with_options(segment, area))
        self._run(wait)

    @rule(
        end=ENDS,
        back=st.integers(0, 8),
        changes=st.lists(st.tuples(st.integers(20, 120), st.integers(0, 255)), max_size=6),
        mirrored=st.sampled_from((False, False, True)),
        wait=WAITS,
    )
    def repeat(self, end: int, back: int, changes: list[tuple[int, int]], mirrored: bool, wait: int) -> None:
        """Send a packet again that was sent to an end, or by it, with bytes changed, or as it was."""
        assert self.pair is not None
        way = "s>c" if (end == 0) != mirrored else "c>s"
        sent = [packet for _, direction, packet in self.pair.wire[-60:] if direction == way]
        if sent:
            packet = sent[max(0, len(sent) - 1 - back)]
            if mirrored and isinstance(packet, Segment):
                packet = packet.clone()
                packet.flow = packet.flow.reverse()
            data = bytearray(encode(packet))
            for position, value in changes:
                data[20 + (position - 20) % (len(data) - 20)] = value
            self._inject_bytes(end, bytes(data))
        self._run(wait)

    @rule(
        end=ENDS,
        index=st.integers(0, 3),
        kind=st.sampled_from(KINDS),
        mtu=st.sampled_from((0, 68, 296, 576, 1_280, 1_500, 65_535)),
        where=places,
        wait=WAITS,
    )
    def icmp(self, end: int, index: int, kind: str, mtu: int, where: tuple[str, int], wait: int) -> None:
        """Send an ICMP error about a segment that may have been sent."""
        target = self._target(end, index)
        if target is not None:
            tcp = target[1]
            seq = number(where, tcp.sender.una, tcp.sender.nxt)
            cause = Segment(tcp.flow, 1_500, tcp.sequences, ACK, seq, 0, 0, 1_460, -1, -1, None, 0)
            self._inject(end, IcmpError(ROUTER, cause, kind, mtu))
        self._run(wait)

    @rule(end=ENDS, path=st.integers(0, 3), what=st.integers(0, 3), wait=WAITS)
    def manage(self, end: int, path: int, what: int, wait: int) -> None:
        """Let the path manager of an end want something."""
        connection = self._connection(end)
        if isinstance(connection, MptcpConnection) and connection.state not in (M_INIT, M_CLOSED):
            own, peer = ((C1, C2), (S1, S2)) if end == 0 else ((S1, S2), (C1, C2))
            local, remote = own[path & 1], peer[path >> 1]
            actions: list[Action] = [
                OpenSubflow(local, remote, CLIENT_PORT if end else PORT),
                OpenSubflow(local, remote, 1),
                Announce(local, 0),
                Withdraw(local),
            ]
            if not connection.is_plain:
                connection.act([actions[what]], self._now())
        self._run(wait)

    def _inject_bytes(self, end: int, data: bytes) -> None:
        """Let an end receive what these bytes say, with checksums that are right."""
        try:
            packet = decode(mend_checksums(data), self._stack(end).sequence_map)
        except DecodeError:
            return
        self._inject(end, packet)
