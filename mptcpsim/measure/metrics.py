"""The table of what is sampled: each time series, whose it is, what it means and how it is read.

**To add a metric, add a line here.** What its value needs and no snapshot has is a field of
``core.tcp.info`` or ``core.mptcp.info``. Every field ``tcpi_...`` and ``mptcpi_...`` of these is a metric
already, which ``output.record`` of a scenario names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from mptcpsim.core.mptcp.info import MptcpInfo
from mptcpsim.core.tcp.info import TCP_CLOSE, TcpInfo
from mptcpsim.measure.ends import End
from mptcpsim.net.pipe import Pipe
from mptcpsim.units import MILLISECOND

_Of = TypeVar("_Of")

#: A slow-start threshold from which on it is "arbitrarily high" (RFC 5681 section 3.1): no value.
_NO_THRESHOLD: Final = 1 << 40


class SubflowSample(NamedTuple):
    """A subflow as one end sees it at an instant, and that end."""

    end: End
    tcp: TcpInfo

    @property
    def outlived(self) -> bool:
        """Whether it has ended, and its connection has not."""
        return self.tcp.tcpi_state == TCP_CLOSE and not self.end.info.closed


class QueueSample(NamedTuple):
    """The queue of a pipe at an instant, ns."""

    pipe: Pipe
    now: int


def _fields(record: type, prefix: str) -> dict[str, str]:
    """Return the fields of Linux that a record has, with what they mean."""
    return {name: str(f.__doc__).rstrip(".") for name, f in vars(record).items() if name.startswith(prefix)}


class Metric(NamedTuple, Generic[_Of]):
    """A time series.

    Attributes:
        name: as in ``series.parquet``; it ends with the unit.
        words: what it is.
        value: reads it; None where there is no value at present.
        is_rate: what is recorded is how ``value``, in bytes, has grown since the last sample, in bit/s.
    """

    name: str
    words: str
    value: Callable[[_Of], float | None]
    is_rate: bool = False


#: Of the connection, at the end that sends the data.
SENDING: Final[tuple[Metric[End], ...]] = (
    Metric(
        "outstanding_bytes",
        "sent and not acknowledged at the connection (MPTCP)",
        lambda end: None if (m := end.active_mptcp) is None else m.snd_nxt - m.snd_una,
    ),
    Metric(
        "send_window_bytes",
        "the peer's window for the connection (MPTCP)",
        lambda end: None if (m := end.active_mptcp) is None else max(0, m.snd_wnd_end - m.snd_una),
    ),
)

#: Of each subflow, at the end that sends the data.
SENDING_SUBFLOW: Final[tuple[Metric[SubflowSample], ...]] = (
    Metric("cwnd_bytes", "congestion window", lambda s: None if s.outlived else s.tcp.cwnd),
    Metric(
        "ssthresh_bytes",
        "slow-start threshold, once there is one",
        lambda s: s.tcp.ssthresh if not s.outlived and s.tcp.ssthresh < _NO_THRESHOLD else None,
    ),
    Metric(
        "srtt_ms",
        "smoothed round-trip time",
        lambda s: s.tcp.srtt / MILLISECOND if not s.outlived and s.tcp.srtt else None,
    ),
    Metric("outstanding_bytes", "sent and not acknowledged", lambda s: s.tcp.snd_nxt - s.tcp.snd_una),
    Metric("send_window_bytes", "the peer's window", lambda s: s.tcp.tcpi_snd_wnd),
    Metric("bytes_sent", "payload sent, all copies", lambda s: s.tcp.sent_bytes),
    Metric("bytes_retransmitted", "payload sent again on this subflow", lambda s: s.tcp.retransmitted_bytes),
    Metric(
        "bytes_reinjected",
        "payload sent here that another subflow had before (MPTCP)",
        lambda s: None if (m := s.end.mptcp) is None else m.each[s.tcp.identifier].reinjected_bytes,
    ),
)

#: Of the connection, at the end that receives the data.
RECEIVING: Final[tuple[Metric[End], ...]] = (
    Metric("bytes_delivered", "arrived in order", lambda end: end.info.delivered),
    Metric(
        "bytes_readable",
        "of these, what waits for the application",
        lambda end: end.info.delivered - end.info.consumed,
    ),
)

#: Of each subflow, at the end that receives the data.
RECEIVING_SUBFLOW: Final[tuple[Metric[SubflowSample], ...]] = (
    Metric("throughput_bps", "payload that arrives, copies not counted", lambda s: s.tcp.arrived_bytes, True),
)

#: Of each direction of a link.
QUEUE: Final[tuple[Metric[QueueSample], ...]] = (
    Metric("queue_packets", "packets that wait", lambda queue: queue.pipe.queue_packets(queue.now)),
    Metric("queue_bytes", "their bytes", lambda queue: queue.pipe.queue_bytes(queue.now)),
)

#: All of them, by whose they are.
TABLES: Final[dict[str, tuple[Metric[Any], ...]]] = {
    "connection, sender": SENDING,
    "subflow, sender": SENDING_SUBFLOW,
    "connection, receiver": RECEIVING,
    "subflow, receiver": RECEIVING_SUBFLOW,
    "direction of a link": QUEUE,
}

#: The fields of Linux that a scenario may have recorded, of each subflow and of the connection, at both ends:
#: name and meaning.
TCP_FIELDS: Final[dict[str, str]] = _fields(TcpInfo, "tcpi_")
MPTCP_FIELDS: Final[dict[str, str]] = _fields(MptcpInfo, "mptcpi_")
FIELDS: Final[dict[str, str]] = TCP_FIELDS | MPTCP_FIELDS

#: What is recorded in any case.
ALWAYS: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(metric.name for table in TABLES.values() for metric in table)
)
