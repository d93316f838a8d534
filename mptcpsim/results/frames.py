"""Finds the packets of an explanation in the captures of the run: file and frame number, as in Wireshark."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from mptcpsim.codec.pcap import OUTBOUND
from mptcpsim.codec.pcap_reader import CapturedPacket, read_capture
from mptcpsim.codec.raw import parse_ip
from mptcpsim.results.summary import Packet
from mptcpsim.units import SECOND


def locate(directory: Path, packets: Iterable[Packet]) -> None:
    """Fill in ``capture`` and ``frame`` of packets that captures ``HOST.INTERFACE.pcapng`` of a run have.

    A packet is found by its instant, its direction and its sequence number; the captures are read once, and
    only if there is something to look for.
    """
    wanted: dict[tuple[str, int], list[Packet]] = {}
    for packet in packets:
        wanted.setdefault((packet.host, round(packet.time_s * SECOND)), []).append(packet)
    if not wanted:
        return
    for path in sorted(directory.glob("*.pcapng")):
        host = path.name.partition(".")[0]
        if not any(key[0] == host for key in wanted):
            continue
        for number, captured in enumerate(read_capture(path), 1):
            for packet in wanted.get((host, captured.time_ns), ()):
                if packet.frame is None and _is(packet, captured):
                    packet.capture = path.name
                    packet.frame = number


def _is(packet: Packet, captured: CapturedPacket) -> bool:
    if packet.sent != (captured.direction == OUTBOUND):
        return False
    ip = parse_ip(captured.data)
    tcp = captured.data[ip.header_length :]
    ports, seq, offset = tcp[:4], tcp[4:8], tcp[12] >> 4
    if f"{ip.src}:{struct.unpack('>H', ports[:2])[0]}" != packet.source:
        return False
    length = len(captured.data) - ip.header_length - 4 * offset
    return int.from_bytes(seq, "big") == packet.raw_seq and length == packet.length
