"""Ways as text for people, in the manner of traceroute, and as data for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from mptcpsim.core.segment import ACK, SYN
from mptcpsim.net.pipe import Pipe
from mptcpsim.route.way import Way, WayHop
from mptcpsim.units import format_rate, format_time

#: What the reason of a drop means, where the last step does not say so.
REASONS: Final = {
    "no-route": "there is no route to {destination}",
    "no-address": "its source is no address of {node}",
    "not-local": "{destination} is no address of {node}, and {node} does not forward",
    "ttl": "the time to live has run out: the packet runs in a circle",
    "too-big": "the packet is larger than the MTU of {interface}, {mtu} bytes",
    "no-link": "no link is attached to {interface}",
    "blackhole": "a rule says: blackhole",
    "unreachable": "a rule says: unreachable",
    "prohibit": "a rule says: prohibit",
}


class RoundTrip(NamedTuple):
    """A probe and the answer to it.

    Attributes:
        out: the way of the SYN.
        back: the way of the SYN, ACK; None if the SYN does not arrive.
    """

    out: Way
    back: Way | None

    @property
    def arrived(self) -> bool:
        """Both have arrived."""
        return self.out.arrived and self.back is not None and self.back.arrived


def text_of(trip: RoundTrip) -> str:
    """Return a round trip for people: each hop with its reasons, and how it ends."""
    rows = [row for way in (trip.out, trip.back) if way is not None for row in _rows(way)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = _way_lines("out", trip.out, widths)
    if trip.back is None:
        lines += ["", f"dropped on the way out: {why(trip.out)}"]
    else:
        lines += ["", *_way_lines("back", trip.back, widths), ""]
        lines.append("arrives, and so does the answer" if trip.back.arrived else
                     f"dropped on the way back: {why(trip.back)}")  # fmt: skip
    return "\n".join(lines)


def line_of(trip: RoundTrip) -> str:
    """Return a round trip in one line."""
    flow = trip.out.flow
    ends = f"{trip.out.hops[0].node.name} {flow.src} > {flow.dst}"
    if trip.back is None:
        return f"{ends}: dropped on the way out: {why(trip.out)}"
    if not trip.back.arrived:
        return f"{ends}: dropped on the way back: {why(trip.back)}"
    if len(trip.out.hops) == 1:
        return f"{ends}: local delivery"
    return f"{ends}: {' '.join(_names(trip.out)[1:])}; back: {' '.join(_names(trip.back)[1:])}"


def why(way: Way) -> str:
    """Return where and why a probe was dropped, in words."""
    hop = way.hops[-1]
    interface = hop.interface
    text = REASONS.get(hop.reason)
    if text is None:
        meant = hop.steps[-1] if hop.steps else "it is dropped"
    else:
        meant = text.format(
            destination=way.arrived_as.flow.dst,
            node=hop.node.name,
            interface="" if interface is None else interface.name,
            mtu=0 if interface is None else interface.mtu,
        )
    return f"at {hop.node.name}: {meant} ({hop.reason})"


def _names(way: Way) -> list[str]:
    return [hop.node.name for hop in way.hops]


def _rows(way: Way) -> list[tuple[str, ...]]:
    """Return number, node, both interfaces and next hop of each hop."""
    return [
        (
            str(number),
            hop.node.name,
            "" if hop.received is None else hop.received.name,
            "" if hop.interface is None else hop.interface.name,
            hop.next_hop,
        )
        for number, hop in enumerate(way.hops, 1)
    ]


def _way_lines(word: str, way: Way, widths: Sequence[int]) -> list[str]:
    flow = way.flow
    flags = "SYN, ACK" if way.probe.flags & (SYN | ACK) == SYN | ACK else "SYN"
    lines = [f"{word}: {flow.src}:{flow.sport} > {flow.dst}:{flow.dport} ({flags})"]
    for row, hop in zip(_rows(way), way.hops, strict=True):
        number, node, received, interface, next_hop = (
            f"{cell:{side}{width}}" for cell, side, width in zip(row, "><><<", widths, strict=True)
        )
        links = ", ".join(map(_link, hop.pipes))
        lines.append(f"{number}  {node}  {received} > {interface}  {next_hop}  {links}".rstrip(" >"))
        lines += [f"{'':{widths[0]}}    {step}" for step in hop.steps]
    return lines


def _link(pipe: Pipe) -> str:
    """Return the name of the link of a pipe, its rate and its delay."""
    name = pipe.name.rpartition(":")[0]
    rate = format_rate(pipe.rate_bps) if pipe.rate_bps else "unlimited"
    return f"{name} ({rate}, {format_time(pipe.delay_ns)})"


# --- For programs --------------------------------------------------------------------------------


def data_of(trip: RoundTrip) -> dict[str, Any]:
    """Return a round trip for JSON."""
    return {
        "arrived": trip.arrived,
        "out": _way_data(trip.out),
        "back": None if trip.back is None else _way_data(trip.back),
    }


def _way_data(way: Way) -> dict[str, Any]:
    flow = way.flow
    return {
        "source": flow.src,
        "source_port": flow.sport,
        "destination": flow.dst,
        "destination_port": flow.dport,
        "arrived": way.arrived,
        "reason": way.reason,
        "why": "" if way.arrived else why(way),
        "hops": [_hop_data(hop) for hop in way.hops],
    }


def _hop_data(hop: WayHop) -> dict[str, Any]:
    return {
        "node": hop.node.name,
        "received": None if hop.received is None else hop.received.name,
        "interface": None if hop.interface is None else hop.interface.name,
        "next_hop": hop.next_hop,
        "links": [pipe.name.rpartition(":")[0] for pipe in hop.pipes],
        "steps": list(hop.steps),
    }
