"""Captures as the judge of stalls reads them: pcapng, IPv4, TCP and the options of MPTCP, from bytes alone.

Nothing here comes from the package that is judged. What is read: RFC 791, RFC 9293, RFC 7323, RFC 8684 and
RFC 6824, and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_ENHANCED_PACKET = 6
_OPTION_FLAGS = 2
_OUTBOUND = 2

#: Addresses and ports: source, source port, destination, destination port.
Four = tuple[str, int, str, int]


class Mapping(NamedTuple):
    """Where bytes of a subflow belong: numbers as on the wire, ``octets`` those of ``dsn``."""

    dsn: int
    octets: int
    ssn: int
    length: int


class Capable(NamedTuple):
    """An MP_CAPABLE: its version, its keys, and the length of the data that it maps (-1: none)."""

    version: int
    keys: tuple[bytes, ...]
    length: int


class Seen:
    """A TCP segment in a capture; numbers as on the wire, time in ns."""

    __slots__ = (
        "ack",
        "capable",
        "data_ack",
        "data_ack_octets",
        "flags",
        "flow",
        "is_join",
        "length",
        "mapping",
        "mss",
        "outgoing",
        "raw",
        "sack",
        "scale",
        "seq",
        "time",
        "ts_ecr",
        "ts_val",
        "window",
    )

    def __init__(self, time: int, outgoing: bool, data: bytes) -> None:
        self.time = time
        self.outgoing = outgoing
        header = (data[0] & 15) * 4
        total = int.from_bytes(data[2:4], "big")
        source, destination = (".".join(map(str, data[i : i + 4])) for i in (12, 16))
        #: Everything that stays the same on the way.
        self.raw = data[12:20] + data[header:total]
        tcp = data[header:total]
        self.seq: int
        self.ack: int
        self.flags: int
        self.window: int
        sport, dport, self.seq, self.ack, offset, self.flags, self.window = struct.unpack_from(
            ">HHIIBBH", tcp
        )
        self.flow: Four = (source, sport, destination, dport)
        start = (offset >> 4) * 4
        self.length = len(tcp) - start
        self.scale = -1
        self.mss = 0
        self.sack: list[tuple[int, int]] = []
        self.ts_val = self.ts_ecr = -1
        self.data_ack = -1
        self.data_ack_octets = 0
        self.mapping: Mapping | None = None
        self.capable: Capable | None = None
        self.is_join = False
        for kind, body in _options(tcp[20:start]):
            if kind == 2:
                self.mss = int.from_bytes(body, "big")
            elif kind == 3:
                self.scale = body[0]
            elif kind == 5:
                self.sack = list(struct.iter_unpack(">II", body))
            elif kind == 8:
                self.ts_val, self.ts_ecr = struct.unpack(">II", body)
            elif kind == 30:
                self._take_mptcp(body)

    def _take_mptcp(self, body: bytes) -> None:
        subtype = body[0] >> 4
        if subtype == 0:
            keys = tuple(body[i : i + 8] for i in (2, 10) if len(body) >= i + 8)
            length = int.from_bytes(body[18:20], "big") if len(body) >= 20 else -1
            self.capable = Capable(body[0] & 15, keys, length)
        elif subtype == 1:
            self.is_join = True
        elif subtype == 2:
            flags = body[1]
            at = 2
            if flags & 1:
                self.data_ack_octets = 8 if flags & 2 else 4
                self.data_ack = int.from_bytes(body[at : at + self.data_ack_octets], "big")
                at += self.data_ack_octets
            if flags & 4:
                octets = 8 if flags & 8 else 4
                dsn = int.from_bytes(body[at : at + octets], "big")
                ssn, length = struct.unpack_from(">IH", body, at + octets)
                self.mapping = Mapping(dsn, octets, ssn, length - (1 if flags & 16 else 0))

    def __repr__(self) -> str:
        return (
            f"<{self.time} {'out' if self.outgoing else 'in'} {self.flow} flags {self.flags:#x} "
            f"seq {self.seq} ack {self.ack} win {self.window} len {self.length} dack {self.data_ack} "
            f"{self.mapping}>"
        )


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        length = data[at + 1]
        yield data[at], data[at + 2 : at + length]
        at += length


def read(path: Path) -> list[Seen]:
    """Return the TCP segments of a capture, in the order in which they passed."""
    data = path.read_bytes()
    found: list[Seen] = []
    at = 0
    while at < len(data):
        kind, total = struct.unpack_from("<II", data, at)
        if kind == _ENHANCED_PACKET:
            _, high, low, captured, original = struct.unpack_from("<IIIII", data, at + 8)
            assert captured == original
            packet = data[at + 28 : at + 28 + captured]
            if packet[0] >> 4 == 4 and packet[9] == 6:
                options = data[at + 28 + (captured + 3 & ~3) : at + total - 4]
                code, size, direction = struct.unpack_from("<HHI", options)
                assert (code, size) == (_OPTION_FLAGS, 4)
                found.append(Seen(high << 32 | low, direction & 3 == _OUTBOUND, packet))
        at += total
    return found


def first_data_number(version: int, key: bytes) -> int:
    """Return the IDSN that belongs to a key: the last 64 bits of its hash (RFC 8684 section 3.1)."""
    digest = hashlib.sha256(key) if version else hashlib.sha1(key)
    return int.from_bytes(digest.digest()[-8:], "big")


def relative(number: int, first: int, octets: int = 4) -> int:
    """Return how far a number is from the first one; it may have been cut to some octets, and be before."""
    bits = 8 * octets
    found = (number - first) % (1 << bits)
    return found - (1 << bits) if found >> (bits - 1) else found
