"""The recoder: packets as their bytes have them, damage and tampering included."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from mptcpsim.codec import DecodeError, EncodeError, decode, encode
from mptcpsim.codec.raw import parse_ip, parse_tcp
from mptcpsim.codec.roundtrip import (
    CONTENT_FIELDS,
    ERROR_FIELDS,
    PACKET_FIELDS,
    SEGMENT_FIELDS,
    Recoder,
    differences,
    flip_byte,
    mend_checksums,
)
from mptcpsim.core.mptcp_options import Dss, RemoveAddr
from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
    SynOptions,
    TcpOption,
)
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.units import MILLISECOND, SECOND
from tests.codec.packet_strategies import FLOW4, FLOW6, make_segment, peer_map
from tests.core.tcp.pair import Pair

SENDER = SequenceMap(0xFFFFFF00, 7)


class Host:
    """Owns one connection, and counts who asks for it."""

    def __init__(self, flow: FourTuple, numbers: SequenceMap) -> None:
        self.flow = flow
        self.numbers = numbers
        self.asked: list[FourTuple] = []

    def sequence_map(self, flow: FourTuple) -> SequenceMap | None:
        self.asked.append(flow)
        return self.numbers if flow == self.flow else None


def world(flow: FourTuple) -> dict[str, Host]:
    return {
        flow.dst: Host(flow, peer_map(SENDER)),
        flow.src: Host(flow.reverse(), SENDER),
    }


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
def test_a_sound_packet_comes_out_equal(flow: FourTuple) -> None:
    hosts = world(flow)
    recode = Recoder(hosts.get, random.Random(1))
    segment = make_segment(flow=flow, sequences=SENDER, seq=900, ack=5, length=100, ts=(1, 2))
    decoded = recode(segment)
    assert decoded is not None
    assert decoded is not segment
    assert differences(segment, decoded) == []
    assert hosts[flow.dst].asked == [flow]


@pytest.mark.parametrize("tamper", [None, lambda data: data])
@pytest.mark.parametrize("damaged", [False, True])
def test_the_frame_goes_on_as_it_was(tamper: Callable[[bytes], bytes] | None, damaged: bool) -> None:
    segment = make_segment(sequences=SENDER, length=10)
    segment.next_hop = "10.0.0.254"
    segment.damaged = damaged
    decoded = Recoder(world(FLOW4).get, random.Random(1), tamper)(segment)
    assert decoded is not None
    assert decoded.next_hop == "10.0.0.254"


def test_an_error_is_decoded_by_the_sender_of_its_cause() -> None:
    hosts = world(FLOW4)
    recode = Recoder(hosts.get, random.Random(1))
    cause = make_segment(sequences=SENDER, seq=900, length=1448)
    error = IcmpError("10.9.9.9", cause, ICMP_FRAGMENTATION_NEEDED, 1400)
    decoded = recode(error)
    assert decoded is not None
    assert differences(error, decoded) == []
    assert hosts[FLOW4.src].asked == [FLOW4.reverse()]


def test_nobody_owns_the_address() -> None:
    decoded = Recoder(lambda address: None, random.Random(1))(make_segment(sequences=SENDER, seq=900))
    assert isinstance(decoded, Segment)
    assert decoded.seq == (0xFFFFFF00 + 900) & 0xFFFFFFFF


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("length", [0, 10])
def test_a_damaged_packet_goes_on_damaged(flow: FourTuple, length: int) -> None:
    recode = Recoder(world(flow).get, random.Random(1))
    segment = make_segment(flow=flow, sequences=SENDER, length=length, ts=(1, 2))
    segment.damaged = True
    before = segment.clone()
    for _ in range(500):
        decoded = recode(segment)
        assert decoded is not None
        assert differences(decoded, before) == []


def test_damage_that_no_checksum_finds_would_show() -> None:
    class Nothing(random.Random):
        """Draws a mask without a bit, so that nothing is flipped."""

        def randrange(self, *arguments: int) -> int:  # type: ignore[override]
            return 0 if arguments == (1, 256) else super().randrange(*arguments)

    segment = make_segment(sequences=SENDER, length=10)
    segment.damaged = True
    decoded = Recoder(world(FLOW4).get, Nothing(1))(segment)
    assert decoded is not None
    assert not decoded.damaged


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["ipv4", "ipv6"])
def test_a_byte_changed_under_right_checksums_is_noticed(flow: FourTuple) -> None:
    segment = make_segment(flow=flow, sequences=SENDER, length=20)
    start = segment.size - 20
    for position in range(start, segment.size):
        tampering = Recoder(world(flow).get, random.Random(1), partial(flip_byte, position=position, mask=4))
        decoded = tampering(segment)
        assert isinstance(decoded, Segment)
        assert differences(segment, decoded) == ["payload: the bytes differ"]
        # It stays so over further hops.
        again = Recoder(world(flow).get, random.Random(1))(decoded)
        assert again is not None
        assert differences(decoded, again) == []


def test_tampering_may_leave_no_packet() -> None:
    segment = make_segment(sequences=SENDER)
    assert Recoder(world(FLOW4).get, random.Random(1), lambda data: data[:30])(segment) is None


def test_a_packet_without_bytes_is_an_error() -> None:
    segment = make_segment(sequences=SENDER)
    segment.size = 41
    with pytest.raises(EncodeError):
        Recoder(world(FLOW4).get, random.Random(1))(segment)


# --- Whole connections ---------------------------------------------------------------------------


class Edge(random.Random):
    """Draws initial sequence numbers and timestamps just before they wrap."""

    def getrandbits(self, bits: int) -> int:
        return (1 << bits) - 1 - super().getrandbits(12)


def run_connection(encode_packets: bool, addresses: tuple[str, str], abort_at: int = 0) -> list[object]:
    """Return the bytes of every packet of a lossy transfer, and what both ends counted."""

    def lose(way: str, packet: Packet, now: int) -> list[Packet]:
        lost.append(packet)
        return [] if len(lost) % 23 == 4 else [packet]

    lost: list[Packet] = []
    pair = Pair(hook=lose, encode=encode_packets, addresses=addresses, delay=10 * MILLISECOND)
    pair.client._rng, pair.server._rng = Edge(1), Edge(2)
    connection = pair.connect()
    if abort_at:
        pair.at(abort_at, lambda: pair.server.connections[0].abort(pair.now))
    connection.write(200_000, pair.now)
    for _ in range(20_000):
        if not pair.step():
            break
        for accepted in pair.server.connections:
            accepted.read(1 << 20, pair.now)
        if pair.now > 5 * SECOND:
            connection.close(pair.now)
    packets = [(when, way, encode(packet)) for when, way, packet in pair.wire]
    return [packets, pair.client.counters.as_dict(), pair.server.counters.as_dict()]


@pytest.mark.parametrize("addresses", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_a_connection_is_the_same_by_reference_and_as_bytes(addresses: tuple[str, str]) -> None:
    plain = run_connection(False, addresses)
    assert plain == run_connection(True, addresses)
    packets = plain[0]
    assert isinstance(packets, list)
    sequences = [parse_tcp(parse_ip(data).payload).seq for _, way, data in packets if way == "c>s"]
    assert sequences[0] > 0xFFFF0000
    assert 10_000 < sequences[-1] < 1_000_000  # wrapped


def test_a_reset_behind_the_syn_ack_is_the_same() -> None:
    """The reset leaves before the client knows the server's number, and arrives after."""
    addresses = ("10.0.0.1", "10.0.0.2")
    abort_at = 12 * MILLISECOND
    assert run_connection(False, addresses, abort_at) == run_connection(True, addresses, abort_at)


# --- Mending checksums ---------------------------------------------------------------------------


def test_mended_checksums_are_those_of_the_encoder() -> None:
    for flow in (FLOW4, FLOW6):
        segment = make_segment(flow=flow, sequences=SENDER, length=9)
        error = IcmpError(
            "10.9.9.9" if flow is FLOW4 else "fd00::9", segment, ICMP_FRAGMENTATION_NEEDED, 1300
        )
        for packet in (segment, error):
            data = encode(packet)
            assert mend_checksums(data) == data
            assert flip_byte(flip_byte(data, len(data) - 1), len(data) - 1) == data
            changed = flip_byte(data, len(data) - 1, mend=False)
            assert changed[:-1] == data[:-1]
            assert decode(changed, lambda _: None).damaged


def test_there_is_nothing_to_mend() -> None:
    with pytest.raises(DecodeError):
        mend_checksums(bytes(40))
    with pytest.raises(DecodeError):
        mend_checksums(encode(make_segment())[:30])
    with pytest.raises(DecodeError, match="ICMP header"):
        mend_checksums(bytes.fromhex("4500001600000000400100000a0000010a0000020000"))


# --- Comparison ----------------------------------------------------------------------------------


def slots(cls: type) -> set[str]:
    """Return the attributes that a class adds, compiled or not."""
    return set(getattr(cls, "__mypyc_attrs__", None) or cls.__dict__["__slots__"])


def test_every_field_is_compared() -> None:
    # The next hop stands for the frame around the packet, and is no part of its bytes. By the others a pipe
    # links the packets inside it, and routers find the course of its flow.
    assert slots(Packet) - {"next_hop", "behind", "due", "departs", "way"} == set(PACKET_FIELDS)
    assert slots(Segment) - slots(Packet) == {*SEGMENT_FIELDS, *CONTENT_FIELDS, "sequences"}
    assert slots(IcmpError) - slots(Packet) == {*ERROR_FIELDS, "quoted_sequences", "cause", "quote"}


def test_each_difference_is_found() -> None:
    segment = make_segment(sequences=SENDER, length=10, ts=(1, 2))
    other = {
        "flow": FLOW6,
        "df": False,
        "damaged": True,
        "sack": ((1, 2),),
        "syn": SynOptions(1, 2, True),
        "dss": Dss(4, 1),
        "options": (RemoveAddr((1,)),),
        "further_options": (TcpOption(),),
    }
    for field in (*PACKET_FIELDS, *SEGMENT_FIELDS):
        clone = segment.clone()
        setattr(clone, field, other.get(field, 99))
        found = [line.split(":")[0] for line in differences(segment, clone)]
        assert found == ([field, "payload"] if field == "length" else [field])
    for field, value in (("offset", 99), ("payload", bytes(10)), ("corrupt_payload", True)):
        clone = segment.clone()
        setattr(clone, field, value)
        assert differences(segment, clone) == ["payload: the bytes differ"]
    clone = segment.clone()
    clone.sequences = SequenceMap(1, 7)
    assert differences(segment, clone)[0].startswith("sequences: iss")
    clone.sequences = SequenceMap(SENDER.iss, 8)
    assert differences(segment, clone)[0].startswith("sequences: irs")
    clone.flags = segment.flags = SYN
    assert differences(segment, clone) == []


def test_differences_between_errors_are_found() -> None:
    cause = make_segment(sequences=SENDER)
    error = IcmpError("10.9.9.9", cause, ICMP_FRAGMENTATION_NEEDED, 1400)
    ttl = cause.clone()
    ttl.ttl = 3
    assert differences(error, IcmpError("10.9.9.9", ttl, ICMP_FRAGMENTATION_NEEDED, 1400)) == [
        "cause: the quoted bytes differ"
    ]
    assert differences(error, IcmpError("10.9.9.9", cause, ICMP_FRAGMENTATION_NEEDED, 1300))[0].startswith(
        "mtu"
    )
    assert differences(error, cause) == ["type: IcmpError != Segment"]
