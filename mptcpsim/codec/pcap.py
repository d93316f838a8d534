"""Captures: a pcapng file of what passes chosen interfaces.

The format is that of draft-ietf-opsawg-pcapng, and the link type LINKTYPE_RAW:
each packet starts with its IP header. The simulator has no link layer addresses,
and a capture should show no header that nothing sent. Times are nanoseconds of
the simulation, so that a run starts at 1970-01-01 00:00:00.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from mptcpsim.codec.packet import encode
from mptcpsim.core.segment import Packet

LINKTYPE_RAW: Final = 101

# Block types and options.
SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
SIMPLE_PACKET: Final = 3
ENHANCED_PACKET: Final = 6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
OPTION_IF_NAME: Final = 2
OPTION_IF_DESCRIPTION: Final = 3
OPTION_IF_TSRESOL: Final = 9
OPTION_IF_TSOFFSET: Final = 14
OPTION_EPB_FLAGS: Final = 2
_OPTION_END: Final = 0
_OPTIONS_SHB: Final = (2, 3, 4)  # hardware, operating system, application

#: Directions of a packet, as the two low bits of ``epb_flags``.
DIRECTION_UNKNOWN: Final = 0
INBOUND: Final = 1
OUTBOUND: Final = 2

_WRITER: Final = "mptcpsim"
_NANOSECONDS: Final = 9
_BUFFER: Final = 1 << 20

_PACKET_HEAD: Final = struct.Struct("<IIIIIII")
# The option epb_flags, the end of options and the block length that closes a packet block.
_PACKET_TAIL: Final = struct.Struct("<HHIHHI")
_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))


class CaptureWriter:
    """Writes a pcapng file.

    The file has a temporary name beside ``path`` until ``close``, so that ``path``
    never is half a capture. As a context manager it closes, or discards the file if
    an exception leaves the block.

    Args:
        path: where the capture will be.
        snap_length: bytes kept of each packet; 0 keeps all.
    """

    def __init__(self, path: str | os.PathLike[str], snap_length: int = 0) -> None:
        self.path = Path(path)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._snap_length = snap_length
        self._interfaces = 0
        self._file: BinaryIO | None = open(self._temporary, "wb", buffering=_BUFFER)  # noqa: SIM115
        body = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
        self._write_block(
            SECTION_HEADER, body + _options([(code, _WRITER.encode()) for code in _OPTIONS_SHB])
        )

    def add_interface(self, name: str, description: str = "") -> int:
        """Begin an interface and return its number."""
        options = [(OPTION_IF_NAME, name.encode())]
        if description:
            options.append((OPTION_IF_DESCRIPTION, description.encode()))
        options.append((OPTION_IF_TSRESOL, bytes((_NANOSECONDS,))))
        body = struct.pack("<HHI", LINKTYPE_RAW, 0, self._snap_length)
        self._write_block(INTERFACE_DESCRIPTION, body + _options(options))
        self._interfaces += 1
        return self._interfaces - 1

    def write(self, interface: int, time_ns: int, data: bytes, direction: int = DIRECTION_UNKNOWN) -> None:
        """Write the bytes of an IP packet.

        Args:
            interface: number from ``add_interface``.
            time_ns: nanoseconds.
            data: the packet from its IP header on.
            direction: ``INBOUND``, ``OUTBOUND`` or ``DIRECTION_UNKNOWN``.

        Raises:
            ValueError: an unknown interface, or the capture is closed.
        """
        if not 0 <= interface < self._interfaces:
            raise ValueError(f"interface {interface} of a capture with {self._interfaces}")
        original = len(data)
        if self._snap_length and original > self._snap_length:
            data = data[: self._snap_length]
        captured = len(data)
        padding = _PADDING[captured & 3]
        total = _PACKET_HEAD.size + captured + len(padding) + _PACKET_TAIL.size
        head = _PACKET_HEAD.pack(
            ENHANCED_PACKET, total, interface, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, original
        )
        tail = _PACKET_TAIL.pack(OPTION_EPB_FLAGS, 4, direction, _OPTION_END, 0, total)
        self._open_file().write(b"".join((head, data, padding, tail)))

    def write_packet(
        self, interface: int, time_ns: int, packet: Packet, direction: int = DIRECTION_UNKNOWN
    ) -> None:
        """Write a packet of the simulator; see ``write``.

        Raises:
            ValueError: as ``write``.
            EncodeError: the packet has no bytes.
        """
        self.write(interface, time_ns, encode(packet), direction)

    def close(self) -> None:
        """Write what is left and give the file its name; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
            os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Leave no file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"the capture {self.path} is closed")
        return self._file

    def _write_block(self, kind: int, body: bytes) -> None:
        total = len(body) + 12
        self._open_file().write(struct.pack("<II", kind, total) + body + struct.pack("<I", total))


def _options(options: list[tuple[int, bytes]]) -> bytes:
    parts = [
        struct.pack("<HH", code, len(value)) + value + _PADDING[len(value) & 3] for code, value in options
    ]
    return b"".join([*parts, struct.pack("<HH", _OPTION_END, 0)])
