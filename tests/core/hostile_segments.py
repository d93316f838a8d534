"""Segments of a peer that may say anything: what is drawn, and what becomes of it at a given connection.

Numbers and keys are drawn as places ("the next one", "the right edge", "the right key"), and resolved when
the segment is made, so that what is said is plausible at every state of a connection.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mptcpsim.codec.options import wire_length
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.dss_checksum import dss_checksum, payload_sum
from mptcpsim.core.mptcp.keys import Key, ack_hmac, add_addr_hmac, syn_ack_hmac
from mptcpsim.core.mptcp.subflow import Subflow
from mptcpsim.core.mptcp_options import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
)
from mptcpsim.core.payload import pattern
from mptcpsim.core.segment import ACK, FIN, PSH, RST, SYN, URG, FourTuple, Segment, SynOptions
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from tests.codec.option_strategies import mptcp_options
from tests.core.mptcp.pair import C1, C2, C3, S1, S2, S3

_32_BITS, _64_BITS = (1 << 32) - 1, (1 << 64) - 1

#: Where a number lies between "what comes next" and "the right edge", or without them.
PLACES = ("next", "next", "next", "last", "old", "edge", "inside", "outside", "far", "half", "zero")
places = st.tuples(st.sampled_from(PLACES), st.sampled_from((0, 0, 0, -1, 1, -10, 10, 500, -500)))
octets = st.sampled_from((0, 4, 8, 8))
lengths = st.sampled_from((0, 0, 0, 0, 1, 1, 10, 500, 1_400, 5_000))
rights = st.sampled_from(("right", "right", "wrong"))
ids = st.sampled_from((0, 1, 2, 3, 255))
addresses = st.sampled_from((C1, C2, C3, S1, S2, S3, "fd00::1"))
FLAGS = (ACK, ACK, ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, 0, FIN, ACK | URG, SYN | FIN)
flags = st.one_of(st.sampled_from(FLAGS), st.sampled_from(FLAGS), st.integers(0, 255))

_OPTIONS = {
    "dss": st.fixed_dictionaries(
        {
            "ack": st.tuples(octets, st.one_of(st.just(("next", 0)), places)),
            "dsn": st.tuples(octets, st.one_of(st.just(("next", 0)), places)),
            "ssn": st.one_of(st.just(("seq", 0)), st.just(("seq", 0)), places),
            "length": st.one_of(st.just(-1), st.just(-1), lengths, st.just(65_535)),
            "fin": st.booleans(),
            "checksum": st.sampled_from(("agreed", "agreed", "wrong", "absent", "there")),
        }
    ),
    "capable": st.fixed_dictionaries(
        {
            "version": st.sampled_from((0, 0, 1, 2)),
            "flags": st.sampled_from((0x01, 0x01, 0x81, 0x41, 0x21, 0x00, 0x03, 0xFF)),
            "keys": st.integers(0, 2),
            "right": rights,
            "length": st.one_of(st.just(UNKNOWN), lengths),
            "checksum": st.sampled_from((UNKNOWN, UNKNOWN, 0, 77)),
        }
    ),
    "join": st.fixed_dictionaries(
        {"kind": st.integers(0, 2), "id": ids, "right": rights, "backup": st.booleans()}
    ),
    "add": st.fixed_dictionaries(
        {
            "id": ids,
            "address": addresses,
            "port": st.sampled_from((UNKNOWN, 5001, 6000, 0, 65535)),
            "kind": st.sampled_from(("right", "right", "wrong", "echo", "none")),
        }
    ),
    "remove": st.fixed_dictionaries({"ids": st.lists(ids, min_size=1, max_size=6).map(tuple)}),
    "prio": st.fixed_dictionaries({"backup": st.booleans(), "id": st.one_of(st.just(UNKNOWN), ids)}),
    "fail": st.fixed_dictionaries({"dsn": places}),
    "fastclose": st.fixed_dictionaries({"right": rights}),
    "rst": st.fixed_dictionaries({"reason": st.integers(0, 255), "transient": st.booleans()}),
    "any": st.fixed_dictionaries(
        {"option": st.one_of(*(mptcp_options(bits) for bits in (0, SYN, ACK, SYN | ACK)))}
    ),
}
options = st.one_of(
    *(st.tuples(st.just(kind), fields) for kind, fields in [("dss", _OPTIONS["dss"]), *_OPTIONS.items()])
)

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "subflow": st.sampled_from((0, 0, 0, 1, 2, 3, 4, 5)),
    "flags": flags,
    "seq": places,
    "ack": places,
    "window": st.sampled_from((0, 1, 100, 30_000, 65_535)),
    "length": lengths,
    "content": rights,
    "stamps": st.sampled_from(("right", "right", "right", "none", "old", "future", "zero")),
    "sack": st.lists(st.tuples(places, places), max_size=3),
    "syn": st.one_of(
        st.none(),
        st.builds(
            SynOptions,
            st.sampled_from((0, 1, 536, 1_460, 65_535)),
            st.sampled_from((UNKNOWN, 0, 7, 14, 15, 255)),
            st.booleans(),
        ),
    ),
    "options": st.one_of(st.just([]), st.lists(options, max_size=2), st.lists(options, max_size=4)),
    "urgent": st.sampled_from((0, 0, 1, 65_535)),
    "ecn": st.integers(0, 3),
    "encoded": st.booleans(),
}
_PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "flags": st.sampled_from((ACK, ACK, ACK, ACK | PSH, ACK | FIN)),
    "seq": st.sampled_from((("next", 0), ("next", 0), ("next", 0), ("last", 0), ("old", 500), ("next", 10))),
    "ack": st.sampled_from((("next", 0), ("next", 0), ("edge", 0), ("inside", 0))),
    "window": st.sampled_from((0, 100, 30_000, 65_535)),
    "stamps": st.just("right"),
    "sack": st.just([]),
    "syn": st.none(),
    "options": st.lists(options, min_size=1, max_size=2),
}
_SEGMENTS = st.one_of(st.fixed_dictionaries(_FIELDS), *[st.fixed_dictionaries(_FIELDS | _PLAUSIBLE)] * 2)


@st.composite
def segments(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a hostile segment says: anything, or only its options are out of the ordinary."""
    return draw(_SEGMENTS)


def number(place: tuple[str, int], base: int, edge: int) -> int:
    """Return the relative number at a place."""
    name, more = place
    where = {
        "next": base,
        "last": base - 1,
        "old": base - 1_000,
        "edge": edge,
        "inside": (base + max(edge, base)) // 2,
        "outside": max(edge, base) + 2_000,
        "far": base + 50_000_000,
        "half": base + (1 << 31),
        "zero": 0,
    }[name]
    return where + more


class Forger:
    """Makes segments for one connection, as its peer, who knows its keys, could send them.

    Args:
        connection: of the end that gets them.
        tcp: the subflow that they go to.
        sequences: the map of their sender.
        now: ns.
    """

    def __init__(self, connection: Connection, tcp: Tcp, sequences: SequenceMap, now: int) -> None:
        self.connection = connection
        self.tcp = tcp
        self.sequences = sequences
        self.now = now

    def segment(self, spec: dict[str, Any]) -> Segment:
        """Return the segment that is meant."""
        tcp = self.tcp
        receiver, sender = tcp.receiver, tcp.sender
        bits = spec["flags"]
        seq = (
            0
            if bits & SYN and spec["seq"][0] == "next"
            else number(spec["seq"], receiver.nxt, receiver.wnd_end)
        )
        ack = number(spec["ack"], sender.una, sender.nxt)
        stamp = {"right": receiver.ts_recent, "none": UNKNOWN, "zero": 0}.get(spec["stamps"], UNKNOWN)
        if spec["stamps"] in ("old", "future"):
            stamp = (receiver.ts_recent + (1 << 30) * (1 if spec["stamps"] == "future" else 3)) & _32_BITS
        segment = Segment(
            tcp.flow.reverse(),
            0,
            self.sequences,
            bits,
            seq,
            ack if bits & ACK else max(ack, 0) & _32_BITS,
            spec["window"],
            spec["length"],
            stamp,
            UNKNOWN if stamp == UNKNOWN else tcp.timestamp(self.now),
            tuple(
                (number(left, sender.una, sender.nxt), number(right, sender.una, sender.nxt))
                for left, right in spec["sack"]
            )
            or None,
            spec["ecn"],
        )
        segment.urgent = spec["urgent"]
        if bits & SYN:
            segment.iss = self.sequences.wire_seq(seq)
            segment.syn = spec["syn"]
        place = seq + tcp.receive_shift
        others: list[MptcpOption] = []
        for kind, fields in spec["options"]:
            option = self._option(kind, fields, segment)
            if isinstance(option, Dss):
                segment.dss = option
                if option.dsn_octets:
                    place = self._relative(option) - 1 + seq - option.ssn
            elif option is not None:
                others.append(option)
        segment.options = tuple(others) or None
        segment.payload = b"\xff" * segment.length
        if spec["content"] == "right" and segment.length:
            segment.payload = pattern(place, segment.length)
        segment.size = wire_length(segment)
        return segment

    def _relative(self, dss: Dss) -> int:
        connection = self.connection
        return connection.inbound.dsn_of(dss) if isinstance(connection, MptcpConnection) else 1

    def _option(self, kind: str, fields: dict[str, Any], segment: Segment) -> MptcpOption | None:
        connection = self.connection
        if kind == "any":
            return fields["option"]
        if kind == "remove":
            return RemoveAddr(fields["ids"])
        if kind == "prio":
            return MpPrio(fields["backup"], fields["id"])
        if kind == "rst":
            return MpTcprst(fields["reason"], fields["transient"])
        if not isinstance(connection, MptcpConnection):
            return None
        if kind == "dss":
            return self._dss(connection, fields, segment)
        if kind == "capable":
            return self._capable(connection, fields)
        if kind == "join":
            return self._join(connection, fields)
        wrong = 0 if fields.get("right") == "right" else 1
        if kind == "add":
            return self._add(connection, fields)
        if kind == "fail":
            out = connection.outbound
            return MpFail((out.idsn + number(fields["dsn"], out.una, out.nxt)) & _64_BITS)
        return MpFastclose(connection.agreed.local_key.value ^ wrong)

    def _dss(self, connection: MptcpConnection, fields: dict[str, Any], segment: Segment) -> Dss:
        inbound, out = connection.inbound, connection.outbound
        ack_octets, ack_place = fields["ack"]
        dsn_octets, dsn_place = fields["dsn"]
        data_ack = (out.idsn + number(ack_place, out.una, out.nxt)) & ((1 << 8 * ack_octets) - 1)
        if not dsn_octets:
            return Dss(ack_octets, data_ack)
        edge = min(inbound.wnd_end, inbound.nxt + (1 << 30))
        dsn = number(dsn_place, inbound.nxt, edge)
        receiver = self.tcp.receiver
        place = fields["ssn"]
        ssn = segment.seq if place[0] == "seq" else number(place, receiver.nxt, receiver.wnd_end)
        length = segment.length + (1 if fields["fin"] else 0) if fields["length"] < 0 else fields["length"]
        wire = (inbound.idsn + dsn) & _64_BITS
        checksum = UNKNOWN
        if fields["checksum"] == "there" or (connection.agreed.checksum and fields["checksum"] != "absent"):
            data = payload_sum(pattern(dsn - 1, segment.length)) if segment.length else 0
            checksum = dss_checksum(wire, ssn & _32_BITS, length & 0xFFFF, data)
            checksum ^= 1 if fields["checksum"] == "wrong" else 0
        return Dss(
            ack_octets,
            data_ack,
            dsn_octets,
            wire & ((1 << 8 * dsn_octets) - 1),
            ssn & _32_BITS,
            length & 0xFFFF,
            checksum,
            fields["fin"],
        )

    def _keys(self, connection: MptcpConnection, right: str) -> tuple[Key, Key]:
        """Return the keys of the sender and of the receiver, the first of them perhaps another one."""
        own = connection.agreed.remote_key
        return (own if right == "right" else own._replace(value=own.value ^ 1)), connection.agreed.local_key

    def _capable(self, connection: MptcpConnection, fields: dict[str, Any]) -> MpCapable:
        own, peer = self._keys(connection, fields["right"])
        count = fields["keys"]
        version = (connection.agreed.version + fields["version"]) % 3
        return MpCapable(
            version,
            fields["flags"],
            own.value if count > 0 else UNKNOWN,
            peer.value if count > 1 else UNKNOWN,
            fields["length"] if count > 1 else UNKNOWN,
            fields["checksum"] if count > 1 and fields["length"] != UNKNOWN else UNKNOWN,
        )

    def _join(self, connection: MptcpConnection, fields: dict[str, Any]) -> MptcpOption:
        own, peer = self._keys(connection, fields["right"])
        wrong = 0 if fields["right"] == "right" else 1
        join = self.tcp.extension.join if isinstance(self.tcp.extension, Subflow) else None
        nonces = (7, 0) if join is None else (join.remote_nonce or 7, join.local_nonce)
        keys = (connection.agreed.version, own.value, peer.value, *nonces)
        if fields["kind"] == 0:
            return MpJoinSyn(fields["id"], peer.token ^ wrong, nonces[0], fields["backup"])
        if fields["kind"] == 1:
            return MpJoinSynAck(fields["id"], syn_ack_hmac(*keys), nonces[0], fields["backup"])
        return MpJoinAck(ack_hmac(*keys))

    def _add(self, connection: MptcpConnection, fields: dict[str, Any]) -> AddAddr:
        where = (fields["id"], fields["address"], fields["port"])
        if fields["kind"] in ("echo", "none"):
            return AddAddr(*where, b"", fields["kind"] == "echo")
        own, peer = self._keys(connection, fields["kind"])
        hmac = add_addr_hmac(connection.agreed.version, own.value, peer.value, *where)
        return AddAddr(*where, hmac)


def sender_map(tcp: Tcp) -> SequenceMap:
    """Return the map of the peer of a subflow, as far as that knows it."""
    sequences = tcp.sequences
    sequences.rcv_near, sequences.snd_near = tcp.receiver.nxt, tcp.sender.una
    return sequences.reverse()


def flow_of(connection: Connection, index: int) -> FourTuple:
    """Return the four-tuple of what arrives on a subflow."""
    return connection.subflows[index % len(connection.subflows)].flow.reverse()
