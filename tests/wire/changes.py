"""What a box on the path does to packets: it removes options, damages payload, marks, knows a small MTU.

Those with ``hits`` count what they have done: a row in which they have done nothing shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mptcpsim.codec.errors import DecodeError
from mptcpsim.codec.icmp import encode_error
from mptcpsim.codec.raw import (
    PROTOCOL_TCP,
    RawIp,
    RawTcp,
    build_ip,
    parse_ip,
    parse_tcp,
    rebuild_tcp,
)
from mptcpsim.codec.segments import decode_segment
from mptcpsim.core.segment import ICMP_FRAGMENTATION_NEEDED, SYN, IcmpError
from mptcpsim.wire.faults import Change

MPTCP: Final = 30
_NOP: Final = 1

#: Changes a segment, or returns None to leave it as it is.
Edit = Callable[[RawTcp], RawTcp | None]


def segments(edit: Edit) -> Change:
    """Return a change of TCP segments; their checksums are right afterwards."""

    def change(data: bytes) -> bytes:
        try:
            ip = parse_ip(data)
            if ip.protocol != PROTOCOL_TCP:
                return data
            edited = edit(parse_tcp(ip.payload))
        except DecodeError:
            return data
        if edited is None:
            return data
        payload = rebuild_tcp(edited, ip.src, ip.dst)
        return build_ip(ip._replace(payload=payload, length=ip.header_length + len(payload)))

    return change


def without(options: bytes, kind: int = MPTCP) -> bytes:
    """Return TCP options in which those of a kind are padding."""
    found = bytearray(options)
    place = 0
    while place < len(found) and found[place]:
        if found[place] == _NOP:
            place += 1
            continue
        if place + 1 >= len(found) or found[place + 1] < 2:
            break
        length = found[place + 1]
        if found[place] == kind:
            found[place : place + length] = bytes((_NOP,)) * length
        place += length
    return bytes(found)


def strip(syn: bool | None = None, kind: int = MPTCP) -> Change:
    """Return a change that removes an option: from SYNs, from all others, or (None) from everything."""

    def edit(tcp: RawTcp) -> RawTcp | None:
        if syn is not None and bool(tcp.flags & SYN) != syn:
            return None
        return tcp._replace(options=without(tcp.options, kind))

    return segments(edit)


class DamageOnce:
    """Changes one byte in the middle of the payload of the next large segment, and of no other.

    One that is sent again is left alone: of what arrives twice the first copy counts.
    """

    def __init__(self) -> None:
        self.hits = 0
        self._seen: dict[int, int] = {}
        self._change = segments(self._edit)

    def __call__(self, data: bytes) -> bytes | None:
        return self._change(data)

    def _edit(self, tcp: RawTcp) -> RawTcp | None:
        if self.hits or len(tcp.payload) < 1000:
            return None
        before = self._seen.get(tcp.sport)
        self._seen[tcp.sport] = tcp.seq
        if before is None or not 0 < tcp.seq - before & 0xFFFFFFFF < 1 << 20:
            return None
        self.hits += 1
        middle = len(tcp.payload) // 2
        payload = bytearray(tcp.payload)
        payload[middle] ^= 0xFF
        return tcp._replace(payload=bytes(payload))


def mark(every: int) -> Change:
    """Return a change that marks every n-th ECN-capable packet (RFC 3168: CE)."""
    seen = 0

    def change(data: bytes) -> bytes:
        nonlocal seen
        ip = parse_ip(data)
        if ip.traffic_class & 3 in (1, 2):
            seen += 1
            if seen % every == 0:
                return build_ip(ip._replace(traffic_class=ip.traffic_class | 3))
        return data

    return change


class SmallMtu:
    """A link whose MTU neither end knows: what is larger does not pass, and its sender is told.

    Args:
        mtu: bytes.
        tell: takes the ICMP error, on its way to the sender.
    """

    def __init__(self, mtu: int, tell: Callable[[bytes], None]) -> None:
        self.mtu = mtu
        self.hits = 0
        self._tell = tell

    def __call__(self, data: bytes) -> bytes | None:
        if len(data) <= self.mtu:
            return data
        ip: RawIp = parse_ip(data)
        cause = decode_segment(ip, lambda flow: None)
        error = IcmpError(_router(ip.src), cause, ICMP_FRAGMENTATION_NEEDED, self.mtu)
        error.quote = data[: 28 if ip.version == 4 else 1232]
        error.size = (28 if ip.version == 4 else 48) + len(error.quote)
        self.hits += 1
        self._tell(encode_error(error))
        return None


def _router(address: str) -> str:
    """Return the address of a router in the network of an address."""
    return address.rpartition(":")[0] + ":fe" if ":" in address else address.rpartition(".")[0] + ".254"


class LoseUpdate:
    """Loses the first segment that opens a window which was closed, and nothing else."""

    def __init__(self) -> None:
        self.hits = 0
        self._closed = False

    def __call__(self, data: bytes) -> bytes | None:
        try:
            ip = parse_ip(data)
            if ip.protocol != PROTOCOL_TCP:
                return data
            window = parse_tcp(ip.payload).window
        except DecodeError:
            return data
        if not window:
            self._closed = True
        elif self._closed:
            self._closed = False
            if not self.hits:
                self.hits += 1
                return None
        return data
