"""Finds the packets of an explanation in the captures of the run: file and frame number, as in Wireshark."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mptcpsim.codec.errors import DecodeError
from mptcpsim.codec.pcap import OUTBOUND
from mptcpsim.codec.pcap_reader import CapturedPacket, read_capture
from mptcpsim.codec.raw import parse_ip
from mptcpsim.results.summary import PacketRecord
from mptcpsim.units import SECOND

_TCP: Final = 6
#: Bytes of a TCP header up to its length.
_TCP_START: Final = 13


class _FrameKey(NamedTuple):
    """What a packet is found by: host, instant (ns), direction, address and port, number, payload."""

    host: str
    time_ns: int
    sent: bool
    source: str
    raw_seq: int
    length: int


def locate(
    captures: Iterable[Path], hosts: Mapping[str, str], explanations: Iterable[list[PacketRecord]]
) -> None:
    """Fill in file, frame, filter and time of the packets that captures of a run have.

    Two packets that an explanation names may be equal in all that they are found by, such as two window
    updates of one nanosecond: the first one is the first frame, the second one the second. The captures
    are read once, and only if there is something to look for.

    Args:
        captures: files of one or more interfaces.
        hosts: whose interface is whose, by its name in the captures.
        explanations: the packets of each.
    """
    wanted: dict[_FrameKey, dict[int, list[PacketRecord]]] = {}
    for packets in explanations:
        copies: Counter[_FrameKey] = Counter()
        for packet in packets:
            key = _FrameKey(
                packet.host,
                round(packet.time_s * SECOND),
                packet.sent,
                packet.source,
                packet.raw_seq,
                packet.length,
            )
            wanted.setdefault(key, {}).setdefault(copies[key], []).append(packet)
            copies[key] += 1
    instants = {key.time_ns for key in wanted}
    seen: Counter[_FrameKey] = Counter()
    for path in captures if wanted else ():
        first = -1
        for number, captured in enumerate(read_capture(path), 1):
            if first < 0:
                first = captured.time_ns
            if captured.time_ns not in instants:
                continue
            found = _key(captured, hosts.get(captured.interface, ""))
            if found is None or found not in wanted:
                continue
            for packet in wanted[found].get(seen[found], ()):
                packet.capture = path.name
                packet.frame = number
                packet.filter = f"frame.number == {number}"
                packet.capture_time_s = (captured.time_ns - first) / SECOND
            seen[found] += 1


def _key(captured: CapturedPacket, host: str) -> _FrameKey | None:
    """Return what a captured packet is found by, None if it is no segment, or cut off before its end."""
    try:
        ip = parse_ip(captured.data)
    except DecodeError:
        return None
    tcp = ip.payload
    if ip.protocol != _TCP or len(tcp) < _TCP_START:
        return None
    (port,), seq, offset = struct.unpack(">H", tcp[:2]), int.from_bytes(tcp[4:8], "big"), tcp[12] >> 4
    length = ip.length - ip.header_length - 4 * offset
    return _FrameKey(host, captured.time_ns, captured.direction == OUTBOUND, f"{ip.src}:{port}", seq, length)
