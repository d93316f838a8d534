"""What ``ipfw pipe show`` prints, as far as it means something here.

The last columns count what came out of a queue, what is waiting in it, and what it has dropped for any
reason. Buckets are those of a hash table, which there is none here: their column counts lines.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.shared import FlowKey
from mptcpsim.units import MILLISECOND

_HEADER: Final = "BKT Prot ___Source IP/port____ ____Dest. IP/port____ Tot_pkt/bytes Pkt/Byte Drp"
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}


class QueueReport(NamedTuple):
    """What one pipe or queue has done.

    Attributes:
        kind: "pipe", "sched" or "queue". Packets that went on from a queue are counted at its sched again.
        name: such as ``r1 pipe 1``, with the flow behind it if there is a mask.
        flow: version, protocol, source address and port, destination address and port under the mask;
            empty without one.
        packets: that came out.
        bytes: of those.
        waiting: packets in the queue.
        waiting_bytes: of those.
        marks: packets with a congestion mark.
        drops: by reason.
    """

    kind: str
    name: str
    flow: FlowKey
    packets: int
    bytes: int
    waiting: int
    waiting_bytes: int
    marks: int
    drops: dict[str, int]


def bandwidth_text(rate_bps: int) -> str:
    """Return a bandwidth as ipfw prints it."""
    if rate_bps == 0:
        return "unlimited"
    for unit, factor in (("Mbit/s", 10**6), ("Kbit/s", 10**3)):
        if rate_bps >= factor:
            return f"{rate_bps / factor:7.3f} {unit}"
    return f"{rate_bps:7.3f} bit/s "


def link_text(number: int, settings: PipeSettings) -> str:
    """Return the line of a link: bandwidth, delay and burst."""
    delay, burst = settings.delay_ns // MILLISECOND, settings.burst_bits // 8
    return f"{number:05d}: {bandwidth_text(settings.rate_bps)} {delay:4d} ms burst {burst}"


def queue_lines(config: Config, settings: PipeSettings, flows: int, sched: int) -> list[str]:
    """Return the lines of a queue's parameters."""
    words = [f"q{config.number:05d} {settings.limit} {'B' if settings.limit_in_bytes else 'sl.'}"]
    if config.plr is not None:
        words.append("plr " + ",".join(f"{value:f}" for value in config.plr))
    words.append(f"{flows} flows ({config.buckets or 1} buckets) sched {sched} weight {config.weight or 0}")
    words.append(str(config.red or config.aqm or "droptail"))
    lines = [" ".join(words)]
    if config.mask is not None:
        lines.append(f"    {config.mask}")
    return lines


def sched_lines(config: Config, kind: str) -> list[str]:
    """Return the lines of a scheduler's parameters."""
    words = [f" sched {config.number} type {kind}"]
    if config.flow_queues is not None:
        words += config.flow_queues.words()
    lines = [" ".join(words)]
    if config.mask is not None and config.kind == "sched":
        lines.append(f"    {config.mask}")
    return lines


def flow_lines(reports: Sequence[QueueReport]) -> list[str]:
    """Return the table of those that had packets, with its header, if there are any."""
    used = [report for report in reports if report.packets or report.waiting or report.drops]
    lines = [
        f"{number:3d} {_ends(report.flow)} {report.packets:6d} {report.bytes:8d} "
        f"{report.waiting:3d} {report.waiting_bytes:5d} {sum(report.drops.values()):3d}"
        for number, report in enumerate(used)
    ]
    return [_HEADER, *lines] if lines else []


def _ends(flow: FlowKey) -> str:
    if not flow:
        return f"{'ip':4s} {'0.0.0.0/0':>21s} {'0.0.0.0/0':>21s}"
    version, protocol, source, sport, destination, dport = flow
    make = ipaddress.IPv6Address if version == 6 else ipaddress.IPv4Address
    prot = _PROTOCOLS.get(protocol, "ip")
    return f"{prot:4s} {f'{make(source)}/{sport}':>21s} {f'{make(destination)}/{dport}':>21s}"
