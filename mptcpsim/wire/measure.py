"""What a transfer over the wire does, second by second and subflow by subflow, and in iperf3's shape.

Source of the shape: the JSON that iperf 3.12 prints with ``-J``. What it has no place for, the subflows of
each connection, stands beside it under ``subflows``.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from mptcpsim.core.tcp.info import tcp_infos
from mptcpsim.sim.apps import Process
from mptcpsim.sim.engine import Environment
from mptcpsim.units import SECOND
from mptcpsim.wire.transfer import Transfer


@dataclass
class SubflowInterval:
    """What one subflow did in an interval.

    Attributes:
        number: of the subflow in its connection.
        local, remote: address and port.
        sent, received: bytes of payload that were acknowledged, and that came in order.
        retransmits: segments sent again.
        cwnd: congestion window at its end, bytes.
        rtt: smoothed round-trip time at its end, microseconds.
    """

    number: int
    local: str
    remote: str
    sent: int
    received: int
    retransmits: int
    cwnd: int
    rtt: int


@dataclass
class FlowInterval:
    """What one connection did in an interval; times in seconds since the beginning of the measurement."""

    flow: int
    start: float
    end: float
    sent: int
    received: int
    subflows: list[SubflowInterval] = field(default_factory=list)


class WireMeter:
    """Looks at transfers at equal intervals.

    Attributes:
        intervals: of all connections, in the order of time.
    """

    def __init__(self, env: Environment, transfers: list[Transfer], interval: int = SECOND) -> None:
        self.intervals: list[FlowInterval] = []
        self._env = env
        self._transfers = transfers
        self._interval = interval
        self._before: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._flows: dict[int, tuple[int, int]] = {}
        self._began = env.now
        self._last = env.now

    def run(self, on_interval: Any = None) -> Process:
        """Look for ever; ``on_interval`` is called with the records of each interval."""
        while True:
            yield self._env.timeout(self._interval)
            found = self.look()
            if on_interval is not None:
                on_interval(found)

    def look(self) -> list[FlowInterval]:
        """Note what has happened since the last look; a rest that is too short to count is left out."""
        now = self._env.now
        if now - self._last < self._interval // 100:
            return []
        start, end = ((at - self._began) / SECOND for at in (self._last, now))
        self._last = now
        found = []
        for flow, transfer in enumerate(self._transfers):
            connection = transfer.socket.connection
            sent, received = connection.acked, connection.delivered
            before = self._flows.get(flow, (0, 0))
            self._flows[flow] = (sent, received)
            record = FlowInterval(flow, start, end, max(0, sent - before[0]), received - before[1])
            for number, (info, tcp) in enumerate(
                zip(tcp_infos(connection, now), connection.subflows, strict=True)
            ):
                counts = (
                    max(0, min(tcp.sender.una, tcp.sender.end) - 1),
                    max(0, tcp.receiver.nxt - 1),
                    info.tcpi_total_retrans,
                )
                old = self._before.get((flow, number), (0, 0, 0))
                self._before[flow, number] = counts
                record.subflows.append(
                    SubflowInterval(
                        number,
                        f"{tcp.flow.src}:{tcp.flow.sport}",
                        f"{tcp.flow.dst}:{tcp.flow.dport}",
                        max(0, counts[0] - old[0]),
                        max(0, counts[1] - old[1]),
                        max(0, counts[2] - old[2]),
                        info.tcpi_snd_cwnd * info.tcpi_snd_mss,
                        info.tcpi_rtt,
                    )
                )
            found.append(record)
        self.intervals += found
        return found


def report_lines(found: list[FlowInterval], reverse: bool) -> list[str]:
    """Return the lines for people about one interval: each subflow, and each connection of several."""
    lines = []
    for record in found:
        seconds = max(1e-9, record.end - record.start)
        span = f"{record.start:6.2f}-{record.end:<6.2f} s"
        for subflow in record.subflows:
            count = subflow.received if reverse else subflow.sent
            lines.append(
                f"[{record.flow + 1}.{subflow.number}] {span} {count / 1e6:9.2f} MB "
                f"{count * 8 / seconds / 1e6:9.2f} Mbit/s  retr {subflow.retransmits:4d}  "
                f"cwnd {subflow.cwnd / 1e3:7.1f} kB  rtt {subflow.rtt / 1e3:7.2f} ms  "
                f"{subflow.local} {subflow.remote}"
            )
        if len(record.subflows) > 1:
            count = record.received if reverse else record.sent
            lines.append(
                f"[{record.flow + 1}]   {span} {count / 1e6:9.2f} MB {count * 8 / seconds / 1e6:9.2f} Mbit/s"
            )
    return lines


def iperf_json(
    meter: WireMeter, transfers: list[Transfer], reports: list[dict[str, Any]], reverse: bool, title: str
) -> dict[str, Any]:
    """Return a run in the shape of ``iperf3 -J``.

    Args:
        meter: what it did, interval by interval.
        transfers: our ends.
        reports: what the kernel's ends say.
        reverse: the kernel sends.
        title: what ran.
    """
    counted = {report.get("connection"): report for report in reports}
    ends = []
    for number, transfer in enumerate(transfers):
        seconds = max(1e-9, transfer.seconds())
        theirs = counted.get(number, {})
        sent, received = transfer.sent, theirs.get("received", 0)
        if reverse:
            sent, received = theirs.get("sent", 0), transfer.received
        retransmits = sum(
            info.tcpi_total_retrans for info in tcp_infos(transfer.socket.connection, transfer.env.now)
        )
        end: dict[str, Any] = {"socket": number + 1, "start": 0, "end": seconds, "seconds": seconds}
        ends.append(
            {
                "sender": {
                    **end,
                    "bytes": sent,
                    "bits_per_second": sent * 8 / seconds,
                    "retransmits": retransmits,
                    "sender": not reverse,
                },
                "receiver": {
                    **end,
                    "bytes": received,
                    "bits_per_second": received * 8 / seconds,
                    "sender": not reverse,
                },
            }
        )
    return {
        "start": {
            "connected": [
                {
                    "socket": number + 1,
                    "local_host": transfer.socket.connection.subflows[0].flow.src,
                    "local_port": transfer.socket.connection.subflows[0].flow.sport,
                    "remote_host": transfer.socket.connection.subflows[0].flow.dst,
                    "remote_port": transfer.socket.connection.subflows[0].flow.dport,
                }
                for number, transfer in enumerate(transfers)
            ],
            "version": title,
            "system_info": " ".join(os.uname()),
            "timestamp": {
                "time": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
                "timesecs": int(time.time()),
            },
            "test_start": {"protocol": "TCP", "num_streams": len(transfers), "reverse": int(reverse)},
        },
        "intervals": _intervals(meter.intervals, reverse),
        "end": {
            "streams": ends,
            "sum_sent": _sum([end["sender"] for end in ends], not reverse),
            "sum_received": _sum([end["receiver"] for end in ends], not reverse),
        },
    }


def _intervals(found: list[FlowInterval], reverse: bool) -> list[dict[str, Any]]:
    by_time: dict[tuple[float, float], list[FlowInterval]] = {}
    for record in found:
        by_time.setdefault((record.start, record.end), []).append(record)
    result = []
    for (start, end), records in by_time.items():
        streams = [_stream(record, reverse) for record in records]
        total = {**_sum(streams, not reverse), "start": start, "end": end, "seconds": end - start}
        result.append({"streams": streams, "sum": total})
    return result


def _stream(record: FlowInterval, reverse: bool) -> dict[str, Any]:
    seconds = record.end - record.start
    count = record.received if reverse else record.sent
    first = record.subflows[0]
    return {
        "socket": record.flow + 1,
        "start": record.start,
        "end": record.end,
        "seconds": seconds,
        "bytes": count,
        "bits_per_second": count * 8 / seconds,
        "retransmits": sum(subflow.retransmits for subflow in record.subflows),
        "snd_cwnd": sum(subflow.cwnd for subflow in record.subflows),
        "rtt": first.rtt,
        "omitted": False,
        "sender": not reverse,
        "subflows": [
            {
                "subflow": subflow.number,
                "local": subflow.local,
                "remote": subflow.remote,
                "bytes": subflow.received if reverse else subflow.sent,
                "bits_per_second": (subflow.received if reverse else subflow.sent) * 8 / seconds,
                "retransmits": subflow.retransmits,
                "snd_cwnd": subflow.cwnd,
                "rtt": subflow.rtt,
            }
            for subflow in record.subflows
        ],
    }


def _sum(streams: list[dict[str, Any]], sender: bool) -> dict[str, Any]:
    seconds = max((stream["seconds"] for stream in streams), default=0.0)
    count = sum(stream["bytes"] for stream in streams)
    return {
        "start": 0,
        "end": seconds,
        "seconds": seconds,
        "bytes": count,
        "bits_per_second": count * 8 / seconds if seconds else 0.0,
        "retransmits": sum(stream.get("retransmits", 0) for stream in streams),
        "sender": sender,
    }
