"""Packets, TCP segments and ICMP errors as objects.

A segment is never modified after it was sent (a middlebox or an ECN mark works
on a ``clone()``), but for ``ttl`` and ``next_hop``, which belong to whoever holds the
packet at the moment; a link that duplicates a packet clones it.

Sequence and acknowledgment numbers are relative and unwrapped: the SYN is 0,
the first byte is 1, and nothing wraps. ``sequences`` of the sender converts
them to the numbers on the wire (``core.sequences``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mypy_extensions import i64, mypyc_attr

from mptcpsim.core.mptcp_options import Dss, MptcpOption, mptcp_length
from mptcpsim.core.sequences import UNKNOWN, SequenceMap

# RFC 9293 section 3.1, RFC 3168 section 6.1: the control bits as they stand in the header.
FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80

# RFC 3168 section 5: the ECN field of the IP header.
NOT_ECT: Final = 0
ECT1: Final = 1
ECT0: Final = 2
CE: Final = 3

DEFAULT_TTL: Final = 64

#: When a packet comes out of a pipe that is in none.
IN_NO_PIPE: Final = -1

#: Bytes of an IPv4 / IPv6 header without options, and of a TCP header without options.
IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
TCP_HEADER: Final = 20

# What an ICMP error tells TCP (RFC 1122 section 4.2.3.9, RFC 1191, RFC 8201).
ICMP_FRAGMENTATION_NEEDED: Final = "fragmentation-needed"
ICMP_NET_UNREACHABLE: Final = "net-unreachable"
ICMP_HOST_UNREACHABLE: Final = "host-unreachable"
ICMP_PORT_UNREACHABLE: Final = "port-unreachable"
ICMP_PROTOCOL_UNREACHABLE: Final = "protocol-unreachable"
ICMP_TIME_EXCEEDED: Final = "time-exceeded"


class FourTuple(NamedTuple):
    """Addresses and ports of one direction; addresses in canonical text form."""

    src: str
    sport: int
    dst: str
    dport: int

    def reverse(self) -> FourTuple:
        """Return the four-tuple of the opposite direction."""
        return FourTuple(self.dst, self.dport, self.src, self.sport)


def is_ipv6(address: str) -> bool:
    """Return whether an address in canonical text form is an IPv6 address."""
    return ":" in address


def ip_header_length(address: str) -> int:
    """Return the length in bytes of the IP header in front of a packet to ``address``."""
    return IPV6_HEADER if ":" in address else IPV4_HEADER


class FlowWay:
    """What a node knows of the flow that a packet belongs to, when it sends the packet.

    A sender of segments has one that knows nothing; the nodes of the network have their own.

    Attributes:
        onward: what the next node knows of the flow; only that node looks at it, and says whether it holds.
    """

    __slots__ = ("onward",)

    def __init__(self) -> None:
        self.onward: FlowWay | None = None


class Packet:
    """The part of a packet that links, queues and routers see.

    Attributes:
        flow: addresses and ports (ports are 0 where the protocol has none).
        size: length of the IP packet in bytes, all headers included.
        ecn: the ECN field of the IP header (``NOT_ECT``, ``ECT0``, ``ECT1``, ``CE``).
        ttl: time to live, or hop limit.
        df: don't fragment; always true for IPv6.
        damaged: a bit was flipped in flight; the receiver's checksum finds it.
        next_hop: whom it is sent to on the way through switches: the address of a router, empty for
            the destination itself. It stands for the Ethernet header, and has no bytes here.
        due: when it comes out of the pipe that it is in, ns; ``IN_NO_PIPE``: it is in none.
        departs: when it leaves the transmitter of that pipe, ns.
        behind: the packet behind it in that pipe.
        way: what the node knows of its flow that has sent it; None: nothing.

    The last four belong to pipes (``net.fifo``) and routers; a copy begins without them.
    """

    __slots__ = ("behind", "damaged", "departs", "df", "due", "ecn", "flow", "next_hop", "size", "ttl", "way")

    def __init__(self, flow: FourTuple, size: int, ecn: int = NOT_ECT) -> None:
        self.flow = flow
        self.size = size
        self.ecn = ecn
        self.ttl = DEFAULT_TTL
        self.df = True
        self.damaged = False
        self.next_hop = ""
        self.due: i64 = IN_NO_PIPE
        self.departs: i64 = 0
        self.behind: Packet | None = None
        self.way: FlowWay | None = None

    def clone(self) -> Packet:
        """Return a copy that may be modified."""
        other = Packet(self.flow, self.size, self.ecn)
        other.take_header(self)
        return other

    def take_header(self, other: Packet) -> None:
        """Take the fields of the IP header from another packet."""
        self.flow = other.flow
        self.size = other.size
        self.ecn = other.ecn
        self.ttl = other.ttl
        self.df = other.df
        self.damaged = other.damaged
        self.next_hop = other.next_hop


#: The offset of a segment of plain TCP: that of its sequence number.
OFFSET_OF_TCP: Final = -(1 << 62)


#: The options of a SYN: mss, window scale shift or UNKNOWN, SACK permitted.
class SynOptions(NamedTuple):
    """What RFC 9293 section 3.2 and RFC 7323 allow only on a SYN."""

    mss: int
    window_scale: int
    sack_permitted: bool


class TcpOption:
    """A TCP option beyond those that have fields of their own: see ``core.tcp.further_options``."""

    __slots__ = ()

    def wire_length(self) -> int:
        """Return its bytes, kind and length included, padding excluded."""
        raise NotImplementedError


@mypyc_attr(free_list_len=1)
class Segment(Packet):
    """A TCP segment.

    Attributes:
        flags: control bits.
        seq: relative sequence number of the first byte (or of SYN, FIN).
        ack: relative acknowledgment number; meaningless without ACK.
        window: the 16-bit window field as it stands on the wire (not scaled).
        length: bytes of payload.
        offset: position of the first payload byte in the sender's stream; on a segment
            with ``payload`` it is a guess, right only for plain TCP.
        ts_val, ts_ecr: 32-bit timestamps (RFC 7323), or ``UNKNOWN`` without the option.
        sack: SACK blocks as (left, right) relative numbers, first block first, or None.
        syn: the options that only a SYN may carry, or None.
        dss: the DSS of MPTCP, its numbers as on the wire, or None.
        options: all other options of MPTCP, in the order of the header, or None.
        further_options: other options of TCP, in the order of the header, or None.
        payload: the bytes themselves, on a segment decoded from bytes or of a connection that
            carries bytes; None where they are those of the pattern at ``offset``
            (``core.payload.content`` gives either).
        iss: on a SYN, the sender's initial sequence number on the wire; else ``UNKNOWN``.
        urgent: the urgent pointer.
        sequences: the sender's converter between relative and wire numbers.
        corrupt_payload: the payload is another than that (a middlebox changed it and
            mended the checksum).
    """

    __slots__ = (
        "ack",
        "corrupt_payload",
        "dss",
        "flags",
        "further_options",
        "iss",
        "length",
        "offset",
        "options",
        "payload",
        "sack",
        "seq",
        "sequences",
        "syn",
        "ts_ecr",
        "ts_val",
        "urgent",
        "window",
    )

    def __init__(
        self,
        flow: FourTuple,
        size: int,
        sequences: SequenceMap,
        flags: int,
        seq: int,
        ack: int,
        window: int,
        length: int,
        ts_val: int,
        ts_ecr: int,
        sack: tuple[tuple[int, int], ...] | None,
        ecn: int,
        dss: Dss | None = None,
        options: tuple[MptcpOption, ...] | None = None,
        offset: int = OFFSET_OF_TCP,
        syn: SynOptions | None = None,
        iss: int = UNKNOWN,
        payload: bytes | None = None,
        way: FlowWay | None = None,
    ) -> None:
        # Packet.__init__ is written out: this constructor runs once a packet.
        self.flow = flow
        self.size = size
        self.ecn = ecn
        self.ttl = DEFAULT_TTL
        self.df = True
        self.damaged = False
        self.next_hop = ""
        self.due = IN_NO_PIPE
        self.departs = 0
        self.behind = None
        self.way = way
        self.sequences = sequences
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.window = window
        self.length = length
        self.offset = seq - 1 if offset == OFFSET_OF_TCP else offset
        self.ts_val = ts_val
        self.ts_ecr = ts_ecr
        self.sack = sack
        self.syn = syn
        self.dss = dss
        self.options = options
        self.further_options: tuple[TcpOption, ...] | None = None
        self.payload = payload
        self.iss = iss
        self.urgent: int = 0
        self.corrupt_payload: bool = False

    @property
    def end(self) -> int:
        """The sequence number after this segment (SEG.SEQ + SEG.LEN)."""
        flags = self.flags
        return self.seq + self.length + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)

    def clone(self) -> Segment:
        """Return a copy that may be modified."""
        other = Segment(
            self.flow,
            self.size,
            self.sequences,
            self.flags,
            self.seq,
            self.ack,
            self.window,
            self.length,
            self.ts_val,
            self.ts_ecr,
            self.sack,
            self.ecn,
            self.dss,
            self.options,
            self.offset,
            self.syn,
            self.iss,
        )
        other._take_rest(self)
        return other

    def _take_rest(self, other: Segment) -> None:
        """Copy the fields that the constructor does not set from another segment."""
        self.take_header(other)
        self.further_options = other.further_options
        self.payload = other.payload
        self.urgent = other.urgent
        self.corrupt_payload = other.corrupt_payload

    def part(self, left: int, right: int) -> Segment:
        """Return a segment with the bytes [left, right) of this one, or this one if these are all."""
        if right - left == self.length:
            return self
        other = self.clone()
        other._cut(left, right)
        return other

    def _cut(self, left: int, right: int) -> None:
        skipped = left - self.seq
        length = right - left
        self.size -= self.length - length
        self.seq = left
        self.length = length
        self.offset += skipped
        self.corrupt_payload = self.corrupt_payload and not skipped
        if self.payload is not None:
            self.payload = self.payload[skipped : skipped + length]

    def in_numbers_of(self, own: SequenceMap) -> Segment:
        """Return a copy with the relative numbers that its receiver makes of those on the wire."""
        other = self.clone()
        other._renumber(own)
        return other

    def _renumber(self, own: SequenceMap) -> None:
        sent = self.sequences
        self.sequences = own.reverse()
        self.seq = own.relative_seq(sent.wire_seq(self.seq))
        if self.flags & ACK:
            self.ack = own.relative_ack(sent.wire_ack(self.ack))
        if self.sack is not None:
            self.sack = tuple(
                (own.relative_ack(sent.wire_ack(left)), own.relative_ack(sent.wire_ack(right)))
                for left, right in self.sack
            )

    def carry_further(self, options: tuple[TcpOption, ...], length: int) -> None:
        """Carry further options of TCP, which take ``length`` bytes."""
        self.further_options = options
        self.size += length

    def set_mptcp_options(
        self, dss: Dss | None, options: tuple[MptcpOption, ...] | None, header: int
    ) -> None:
        """Replace SACK and all further options by these of MPTCP; ``header`` bytes hold the other options."""
        self.sack = None
        self.dss = dss
        self.options = options
        self.further_options = None
        self.size = header + self.length + mptcp_length(dss, options)

    def __repr__(self) -> str:
        """Print the segment in the manner of tcpdump."""
        letters = "".join(
            letter
            for bit, letter in (
                (SYN, "S"),
                (FIN, "F"),
                (RST, "R"),
                (PSH, "P"),
                (URG, "U"),
                (ECE, "E"),
                (CWR, "W"),
                (ACK, "."),
            )
            if self.flags & bit
        )
        flow = self.flow
        text = (
            f"{flow.src}:{flow.sport} > {flow.dst}:{flow.dport} [{letters}] "
            f"seq {self.seq}:{self.seq + self.length} ack {self.ack} win {self.window}"
        )
        if self.ts_val != UNKNOWN:
            text += f" ts {self.ts_val}/{self.ts_ecr}"
        if self.sack:
            text += " sack " + " ".join(f"{left}:{right}" for left, right in self.sack)
        if self.syn is not None:
            text += f" mss {self.syn.mss} wscale {self.syn.window_scale}"
            text += " sackOK" if self.syn.sack_permitted else ""
        if self.dss is not None:
            text += " " + _dss_text(self.dss)
        for option in self.options or ():
            text += " " + type(option).__name__
        for further in self.further_options or ():
            text += " " + type(further).__name__
        return text


def reset_for(cause: Segment, options: tuple[MptcpOption, ...] | None = None) -> Segment:
    """Return the RST that answers a segment of no connection (RFC 9293 section 3.5.2, group 1)."""
    flow = cause.flow.reverse()
    sequences = cause.sequences.reverse()
    if cause.flags & ACK:
        flags, seq, ack = RST, cause.ack, 0
    else:
        flags, seq, ack = RST | ACK, 0, cause.end
        # Zero on the wire, even if the sender of the cause knows another initial sequence number of ours.
        sequences = SequenceMap(0, sequences.irs)
    size = ip_header_length(flow.dst) + TCP_HEADER + mptcp_length(None, options)
    return Segment(
        flow, size, sequences, flags, seq, ack, 0, 0, UNKNOWN, UNKNOWN, None, NOT_ECT, None, options
    )


def _dss_text(dss: Dss) -> str:
    """Print a DSS in the manner of tcpdump."""
    text = "dss fin" if dss.data_fin else "dss"
    if dss.data_ack_octets:
        text += f" ack {dss.data_ack}"
    if dss.dsn_octets:
        text += f" seq {dss.dsn} subseq {dss.ssn} len {dss.data_level_length}"
        if dss.checksum != UNKNOWN:
            text += f" csum {dss.checksum:#x}"
    return text


class IcmpError(Packet):
    """An ICMP or ICMPv6 error about a TCP segment (RFC 792, RFC 4443).

    Attributes:
        kind: one of the ``ICMP_...`` constants of this module.
        mtu: next-hop MTU in bytes for ``ICMP_FRAGMENTATION_NEEDED``, else 0.
        quoted: flow, relative sequence number and map of the segment that caused it.
        cause: that segment, whose first bytes the error quotes.
        quote: these bytes, on an error decoded from bytes; else None. They end in the
            middle of the segment, so that ``cause`` alone would not give them again.
    """

    __slots__ = ("cause", "kind", "mtu", "quote", "quoted_flow", "quoted_seq", "quoted_sequences")

    def __init__(
        self, source: str, cause: Segment, kind: str, mtu: int = 0, quote: bytes | None = None
    ) -> None:
        destination = cause.flow.src
        header = ip_header_length(destination)
        quoted = min(cause.size, 1232) if header == IPV6_HEADER else 28
        flow = FourTuple(source, 0, destination, 0)
        super().__init__(flow, header + 8 + quoted)
        self.kind = kind
        self.mtu = mtu
        self.quoted_flow = cause.flow
        self.quoted_seq = cause.seq
        self.quoted_sequences = cause.sequences
        self.cause = cause
        self.quote = quote

    def clone(self) -> IcmpError:
        """Return a copy that may be modified."""
        other = IcmpError(self.flow.src, self.cause, self.kind, self.mtu, self.quote)
        other.take_header(self)
        return other
