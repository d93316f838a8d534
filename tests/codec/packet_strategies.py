"""Segments and maps for the tests of the codec: strategies, and a plain constructor."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from mptcpsim.codec.options import option_length, wire_length
from mptcpsim.core.mptcp_options import Dss, MptcpOption
from mptcpsim.core.options import OPTION_SPACE, sack_blocks_that_fit, sack_length
from mptcpsim.core.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, FourTuple, Segment, SynOptions
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from tests.codec.option_strategies import options_that_fit

FLOW4 = FourTuple("10.0.0.1", 50001, "192.168.255.254", 50002)
FLOW6 = FourTuple("fd00:1::1", 50001, "2001:db8::a:0:ffff", 50002)


class Exchange(NamedTuple):
    """A segment, and what its receiver knows: its map, or None without a connection."""

    segment: Segment
    receiver: SequenceMap | None

    def lookup(self, flow: FourTuple) -> SequenceMap | None:
        assert flow == self.segment.flow
        return self.receiver


def make_segment(
    *,
    flow: FourTuple = FLOW4,
    sequences: SequenceMap | None = None,
    flags: int = ACK,
    seq: int = 1,
    ack: int = 1,
    window: int = 500,
    length: int = 0,
    ts: tuple[int, int] = (UNKNOWN, UNKNOWN),
    sack: tuple[tuple[int, int], ...] | None = None,
    ecn: int = 0,
    syn: SynOptions | None = None,
    dss: Dss | None = None,
    options: tuple[MptcpOption, ...] | None = None,
) -> Segment:
    """Return a segment whose size fits its content."""
    numbers = SequenceMap(1000, 2000) if sequences is None else sequences
    segment = Segment(flow, 0, numbers, flags, seq, ack, window, length, ts[0], ts[1], sack, ecn)
    if flags & SYN:
        segment.syn = syn
        segment.iss = numbers.wire_seq(seq)
        if length:
            segment.offset = seq
    segment.dss = dss
    segment.options = options
    segment.size = wire_length(segment)
    return segment


def peer_map(sender: SequenceMap, rcv_near: int = 1, snd_near: int = 1) -> SequenceMap:
    """Return the map of the other end of an established connection."""
    receiver = SequenceMap(sender.irs, sender.iss)
    receiver.rcv_near = rcv_near
    receiver.snd_near = snd_near
    return receiver


HALF = 1 << 31

#: Initial sequence numbers, half of them at an edge of the number space.
initial_numbers = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([0, 1, HALF - 1, HALF, 0xFFFFFFFF]),
    st.integers(0xFFFFFFFF - 70000, 0xFFFFFFFF),
)
thirty_two_bits = st.integers(0, 0xFFFFFFFF)
ports = st.integers(1, 65535)
nears = st.one_of(st.integers(0, 5), st.integers(0, 1 << 40))


def around(near: int) -> st.SearchStrategy[int]:
    """Return numbers that unwrap to themselves near ``near``."""
    return st.one_of(
        st.integers(max(0, near - HALF), near + HALF - 1),
        st.integers(max(0, near - 100000), near + 100000),
        st.sampled_from([max(0, near - HALF), near + HALF - 1]),
    )


flows = st.one_of(
    st.builds(
        FourTuple,
        st.ip_addresses(v=4).map(str),
        ports,
        st.ip_addresses(v=4).map(str),
        ports,
    ),
    st.builds(
        FourTuple,
        st.ip_addresses(v=6).map(str),
        ports,
        st.ip_addresses(v=6).map(str),
        ports,
    ),
)

syn_options = st.builds(
    SynOptions,
    st.integers(1, 65535),
    st.one_of(st.just(UNKNOWN), st.integers(0, 14)),
    st.booleans(),
)

timestamps = st.one_of(st.just((UNKNOWN, UNKNOWN)), st.tuples(thirty_two_bits, thirty_two_bits))


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Return any segment of an ordinary connection, with what its receiver may know then."""
    sender = SequenceMap(draw(initial_numbers), draw(initial_numbers))
    receiver: SequenceMap | None = peer_map(sender, draw(nears), draw(nears))
    assert receiver is not None
    is_syn = draw(st.booleans())
    flags = draw(st.sampled_from([0, PSH, URG, ECE, CWR, ECE | CWR, FIN | PSH]))
    flags |= draw(st.sampled_from([0, ACK, ACK]))
    seq = draw(around(receiver.rcv_near))
    ack = draw(around(receiver.snd_near))
    if is_syn:
        flags |= SYN
        seq = 0
        if flags & ACK:
            ack = draw(st.integers(0, 5))
            receiver.snd_near = draw(st.integers(0, 5))
        knowledge = draw(st.sampled_from(["nothing", "own", "both"]))
        receiver.rcv_near = 0 if knowledge == "own" else draw(st.integers(0, HALF))
        if knowledge == "nothing":
            receiver = None
            ack = (sender.irs + ack) & 0xFFFFFFFF
            sender.irs = 0 if flags & ACK else UNKNOWN
        elif knowledge == "own":
            receiver.irs = UNKNOWN
    elif draw(st.booleans()):
        flags |= RST
    if not flags & ACK:
        ack = draw(st.sampled_from([0, 0, 1, 0xFFFFFFFF]))
    syn = draw(st.one_of(st.none(), syn_options)) if is_syn else None
    ts = draw(timestamps)
    used = option_length(make_segment(flags=flags, syn=syn, ts=ts))
    sack: tuple[tuple[int, int], ...] | None = None
    if receiver is not None and sender.irs != UNKNOWN:
        number = around(receiver.snd_near)
        most = sack_blocks_that_fit(used)
        sack = tuple(draw(st.lists(st.tuples(number, number), max_size=most))) or None
    used += sack_length(len(sack or ()))
    dss, options = draw(options_that_fit(flags, OPTION_SPACE - used))
    segment = make_segment(
        flow=draw(flows),
        sequences=sender,
        flags=flags,
        seq=seq,
        ack=ack,
        window=draw(st.integers(0, 65535)),
        length=draw(st.one_of(st.just(0), st.integers(0, 3000))),
        ts=ts,
        sack=sack,
        ecn=draw(st.integers(0, 3)),
        syn=syn,
        dss=dss,
        options=options,
    )
    segment.ttl = draw(st.integers(0, 255))
    segment.df = ":" in segment.flow.dst or draw(st.booleans())
    segment.urgent = draw(st.integers(0, 65535))
    segment.corrupt_payload = segment.length > 0 and draw(st.booleans())
    return Exchange(segment, receiver)
