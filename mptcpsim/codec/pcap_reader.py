"""Reads captures of any writer, pcapng and classic pcap.

Formats: draft-ietf-opsawg-pcapng and draft-ietf-opsawg-pcap. Only IP packets come
out; frames of anything else are passed over.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

from mptcpsim.codec.pcap import (
    BYTE_ORDER_MAGIC,
    DIRECTION_UNKNOWN,
    ENHANCED_PACKET,
    INTERFACE_DESCRIPTION,
    LINKTYPE_RAW,
    OPTION_EPB_FLAGS,
    OPTION_IF_NAME,
    OPTION_IF_TSOFFSET,
    OPTION_IF_TSRESOL,
    SECTION_HEADER,
    SIMPLE_PACKET,
)
from mptcpsim.units import SECOND

#: No block or record of a sane capture is longer.
_LONGEST: Final = 1 << 26

_MICROSECONDS: Final = 0xA1B2C3D4
_NANOSECONDS: Final = 0xA1B23C4D

_ETHERTYPE_VLANS: Final = (b"\x81\x00", b"\x88\xa8")
_ETHERTYPE_IP: Final = (b"\x08\x00", b"\x86\xdd")


class CaptureError(ValueError):
    """A file that is no capture, or that breaks off or contradicts itself."""


class CapturedPacket(NamedTuple):
    """An IP packet in a capture.

    Attributes:
        interface: name of the interface; its number where the file gives no name.
        time_ns: nanoseconds since the epoch of the file.
        data: the packet from its IP header on, perhaps cut off.
        direction: ``pcap.INBOUND``, ``OUTBOUND`` or ``DIRECTION_UNKNOWN``.
    """

    interface: str
    time_ns: int
    data: bytes
    direction: int


# --- Link types -------------------------------------------------------------------------------


def _raw(frame: bytes) -> bytes | None:
    return frame if frame and frame[0] >> 4 in (4, 6) else None


def _ethernet(frame: bytes) -> bytes | None:
    position = 12
    while frame[position : position + 2] in _ETHERTYPE_VLANS:
        position += 4
    return frame[position + 2 :] if frame[position : position + 2] in _ETHERTYPE_IP else None


def _linux_cooked(frame: bytes) -> bytes | None:
    return frame[16:] if frame[14:16] in _ETHERTYPE_IP else None


def _linux_cooked_2(frame: bytes) -> bytes | None:
    return frame[20:] if frame[0:2] in _ETHERTYPE_IP else None


def _null(frame: bytes) -> bytes | None:
    return _raw(frame[4:])


def _ppp(frame: bytes) -> bytes | None:
    start = 2 if frame.startswith(b"\xff\x03") else 0
    return frame[start + 2 :] if frame[start : start + 2] in (b"\x00\x21", b"\x00\x57") else None


#: How the IP packet is found in a frame, by link type.
_LINK_TYPES: Final[dict[int, Callable[[bytes], bytes | None]]] = {
    0: _null,
    1: _ethernet,
    9: _ppp,
    12: _raw,
    LINKTYPE_RAW: _raw,
    108: _null,
    113: _linux_cooked,
    228: _raw,
    229: _raw,
    276: _linux_cooked_2,
}


def _strip(link_type: int, frame: bytes) -> bytes | None:
    reader = _LINK_TYPES.get(link_type)
    if reader is None:
        raise CaptureError(f"link type {link_type} is not supported; known are {sorted(_LINK_TYPES)}")
    return reader(frame)


# --- Files ------------------------------------------------------------------------------------


def read_capture(path: str | os.PathLike[str]) -> Iterator[CapturedPacket]:
    """Yield the IP packets of a capture file, in the order of the file.

    Raises:
        CaptureError: the file is no capture, breaks off, contradicts itself, or has a
            link type that is not supported.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        yield from read_stream(file)


def read_stream(file: BinaryIO) -> Iterator[CapturedPacket]:
    """Yield the IP packets of a capture; see ``read_capture``."""
    start = _exactly(file, 4, "the first four bytes")
    for order in ("<", ">"):
        (magic,) = struct.unpack(order + "I", start)
        if magic == SECTION_HEADER:
            yield from _read_pcapng(file)
            return
        if magic in (_MICROSECONDS, _NANOSECONDS):
            yield from _read_pcap(file, order, 1 if magic == _NANOSECONDS else 1000)
            return
    raise CaptureError(f"a file that starts with {start.hex()} is neither pcap nor pcapng")


def _exactly(file: BinaryIO, size: int, what: str) -> bytes:
    if size > _LONGEST:
        raise CaptureError(f"{what} would have {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise CaptureError(f"the file breaks off in {what}")
    return data


def _read_pcap(file: BinaryIO, order: str, unit: int) -> Iterator[CapturedPacket]:
    *_, link_type = struct.unpack(order + "HHiIII", _exactly(file, 20, "the file header"))
    link_type &= 0xFFFF  # above it are the length of a checksum and its flag
    record = struct.Struct(order + "IIII")
    while head := file.read(record.size):
        if len(head) < record.size:
            raise CaptureError("the file breaks off in a record header")
        seconds, fraction, captured, _ = record.unpack(head)
        data = _strip(link_type, _exactly(file, captured, "a record"))
        if data is not None:
            yield CapturedPacket("0", seconds * SECOND + fraction * unit, data, DIRECTION_UNKNOWN)


class _Interface(NamedTuple):
    name: str
    link_type: int
    ticks_per_second: int
    offset_ns: int
    snap_length: int

    def nanoseconds(self, ticks: int) -> int:
        return ticks * SECOND // self.ticks_per_second + self.offset_ns


def _read_pcapng(file: BinaryIO) -> Iterator[CapturedPacket]:
    """Read blocks; the first four bytes of the file, a block type, are already read."""
    order = "<"
    interfaces: list[_Interface] = []
    kind_bytes = struct.pack("<I", SECTION_HEADER)  # a palindrome: the same in either order
    while kind_bytes:
        if len(kind_bytes) < 4:
            raise CaptureError("the file breaks off in a block type")
        (kind,) = struct.unpack(order + "I", kind_bytes)
        length_bytes = _exactly(file, 4, "a block length")
        magic = b""
        if kind == SECTION_HEADER:
            magic = _exactly(file, 4, "a section header")
            order = _byte_order(magic)
            interfaces = []
        (total,) = struct.unpack(order + "I", length_bytes)
        rest = total - 8 - len(magic)
        if total & 3 or rest < 4:
            raise CaptureError(f"a block of {total} bytes")
        block = _exactly(file, rest, "a block")
        if block[-4:] != length_bytes:
            raise CaptureError(f"a block of {total} bytes that ends with another length")
        body = block[:-4]
        if kind == INTERFACE_DESCRIPTION:
            interfaces.append(_interface(order, body, len(interfaces)))
        elif kind == ENHANCED_PACKET:
            yield from _enhanced_packet(order, body, interfaces)
        elif kind == SIMPLE_PACKET:
            yield from _simple_packet(order, body, interfaces)
        kind_bytes = file.read(4)


def _byte_order(magic: bytes) -> str:
    for order in ("<", ">"):
        if struct.unpack(order + "I", magic)[0] == BYTE_ORDER_MAGIC:
            return order
    raise CaptureError(f"a section header with the byte order {magic.hex()}")


def _options(order: str, data: bytes) -> dict[int, bytes]:
    """Return the options of a block, the first of each code."""
    options: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, position)
        if code == 0:
            break
        position += 4
        if position + length > len(data):
            raise CaptureError(f"an option of {length} bytes that is longer than its block")
        options.setdefault(code, data[position : position + length])
        position += (length + 3) & ~3
    return options


def _interface(order: str, body: bytes, number: int) -> _Interface:
    if len(body) < 8:
        raise CaptureError("an interface description that is too short")
    link_type, _, snap_length = struct.unpack_from(order + "HHI", body)
    options = _options(order, body[8:])
    name = options.get(OPTION_IF_NAME, str(number).encode()).decode(errors="replace")
    resolution = options.get(OPTION_IF_TSRESOL, b"\x06")
    offset = options.get(OPTION_IF_TSOFFSET, bytes(8))
    if len(resolution) != 1 or len(offset) != 8:
        raise CaptureError("an interface description with an option of a wrong length")
    # The high bit says that the rest is an exponent of 2, not of 10.
    exponent = resolution[0] & 0x7F
    ticks_per_second = 2**exponent if resolution[0] & 0x80 else 10**exponent
    seconds: int = struct.unpack(order + "q", offset)[0]
    return _Interface(name, link_type, ticks_per_second, seconds * SECOND, snap_length)


def _enhanced_packet(order: str, body: bytes, interfaces: list[_Interface]) -> Iterator[CapturedPacket]:
    if len(body) < 20:
        raise CaptureError("a packet block that is too short")
    number, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
    if number >= len(interfaces):
        raise CaptureError(f"a packet of interface {number}, of which there are {len(interfaces)}")
    if captured > len(body) - 20:
        raise CaptureError(f"a packet of {captured} bytes that is longer than its block")
    interface = interfaces[number]
    data = _strip(interface.link_type, body[20 : 20 + captured])
    flags = _options(order, body[20 + (captured + 3 & ~3) :]).get(OPTION_EPB_FLAGS, bytes(4))
    if len(flags) != 4:
        raise CaptureError("a packet block with flags of a wrong length")
    direction = struct.unpack(order + "I", flags)[0] & 3
    if data is not None:
        time_ns = interface.nanoseconds(high << 32 | low)
        yield CapturedPacket(interface.name, time_ns, data, direction)


def _simple_packet(order: str, body: bytes, interfaces: list[_Interface]) -> Iterator[CapturedPacket]:
    """Read a block that has neither time nor interface: it is of the first one, at 0."""
    if len(body) < 4 or not interfaces:
        raise CaptureError("a simple packet block that is too short, or without an interface")
    interface = interfaces[0]
    (original,) = struct.unpack_from(order + "I", body)
    captured = min(original, interface.snap_length or original, len(body) - 4)
    data = _strip(interface.link_type, body[4 : 4 + captured])
    if data is not None:
        yield CapturedPacket(interface.name, 0, data, DIRECTION_UNKNOWN)
