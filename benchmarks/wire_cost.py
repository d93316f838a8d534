"""W6: segments to bytes and back."""

from __future__ import annotations

from collections.abc import Callable

from report import Figures, peak_mib, user_cpu
from w2 import W2

from mptcpsim.codec.packet import decode, encode
from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.core.sequences import SequenceMap

#: Segments that the figures are taken from: data with a DSS, and ACKs.
SEGMENTS = 200


def segments() -> list[Packet]:
    """Return segments of W2 as they pass the client's first interface, once both subflows are in use."""
    workload = W2()
    found: list[Packet] = []
    interface = workload.client.interfaces["if1"]

    def tap(packet: Packet, now: int, outgoing: bool) -> None:
        if len(found) < SEGMENTS:
            found.append(packet.clone())

    workload.run(0.5)
    interface.tap = tap
    workload.run(1.0)
    return found


def codec(rounds: int) -> Figures:
    """Return what it costs to encode and to decode a segment; each passes ``rounds`` times.

    Raises:
        RuntimeError: the bytes of what was decoded differ.
    """
    packets = segments()
    lines = [encode(packet) for packet in packets]
    lookups: list[Callable[[FourTuple], SequenceMap]] = []
    for packet in packets:
        numbers = packet.sequences.reverse()  # type: ignore[attr-defined]
        lookups.append(lambda _, numbers=numbers: numbers)  # type: ignore[misc]
    begun = user_cpu()
    for _ in range(rounds):
        for packet in packets:
            encode(packet)
    encoded = user_cpu()
    for _ in range(rounds):
        for line, lookup in zip(lines, lookups, strict=True):
            decode(line, lookup)
    decoded = user_cpu()
    again = [encode(decode(line, lookup)) for line, lookup in zip(lines, lookups, strict=True)]
    if again != lines:
        raise RuntimeError("a segment does not come back from its bytes as it was")
    count = rounds * len(packets)
    return {
        "encode us/packet": (encoded - begun) / count * 1e6,
        "decode us/packet": (decoded - encoded) / count * 1e6,
        "peak MiB": peak_mib(),
        "packets": len(packets),
        "bytes": sum(map(len, lines)) / len(lines),
    }
