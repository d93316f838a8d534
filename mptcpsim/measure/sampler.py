"""What is measured while a simulation runs: flows and queues, looked at in equal intervals.

Which series there are is said by the table of ``measure.metrics``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mptcpsim.core.tcp.info import TcpInfo
from mptcpsim.measure.drops import DropLog, watch_drops
from mptcpsim.measure.ends import End, numbers_of
from mptcpsim.measure.limits import LIMITS, limit_of
from mptcpsim.measure.metrics import (
    MPTCP_FIELDS,
    QUEUE,
    RECEIVING,
    RECEIVING_SUBFLOW,
    SENDING,
    SENDING_SUBFLOW,
    TCP_FIELDS,
    QueueSample,
    SubflowSample,
)
from mptcpsim.measure.stall_watch import StallWatch
from mptcpsim.net.host import Host
from mptcpsim.net.pipe import Pipe
from mptcpsim.net.topology import Topology
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.sim.flow import Flow
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND


class Sampler:
    """Looks at every flow and link at equal intervals and records what it sees.

    Attributes:
        flows: what was seen of each flow, in their order.
    """

    def __init__(
        self,
        recorder: SeriesRecorder,
        loop: Loop,
        topology: Topology,
        flows: Sequence[Flow],
        *,
        interval: int,
        end: int,
        stall_threshold: int | None = None,
        record: Sequence[str] = (),
    ) -> None:
        """Begin to measure a simulation that was just built.

        Args:
            recorder: takes the time series.
            loop: the clock.
            topology: hosts, other nodes and links.
            flows: as they were built.
            interval: between two samples, ns.
            end: of the run, ns.
            stall_threshold: gaps from this duration on are stalls, ns; None: see
                ``measure.stalls.least_stall``.
            record: fields of ``measure.metrics.FIELDS`` that are recorded, too.
        """
        self._loop = loop
        self._end = end
        self._interval = interval
        drops = watch_drops(topology, loop)
        self.flows = [
            FlowProbe(flow, recorder, interval, loop, drops, stall_threshold, record) for flow in flows
        ]
        for node in topology.nodes.values():
            if isinstance(node, Host):
                node.stack.logs_windows = node.stack.keeps_ended = True
        self._links = [
            _QueueProbe(f"{name} {direction}", pipe, recorder)
            for name, link in topology.links.items()
            for direction, pipe in (("forward", link.forward), ("backward", link.backward))
        ]
        loop.schedule(interval, self._tick)

    def _tick(self) -> None:
        self.sample()
        if self._loop.now + self._interval < self._end:
            self._loop.schedule(self._loop.now + self._interval, self._tick)

    def sample(self) -> None:
        """Record the state of this instant."""
        now = self._loop.now
        for flow in self.flows:
            flow.sample(now)
        for link in self._links:
            link.sample(now)

    def finish(self) -> None:
        """Take the last sample, at the end of the run, and close the stalls that are open."""
        if self._loop.now == self._end and self._end % self._interval == 0:
            self.sample()
        for flow in self.flows:
            flow.watch.finish(self._loop.now)


class _QueueProbe:
    """The queue of one direction of a link."""

    def __init__(self, name: str, pipe: Pipe, recorder: SeriesRecorder) -> None:
        self._pipe = pipe
        self._recorder = recorder
        self._metrics = [(metric.value, recorder.series(name, None, None, metric.name)) for metric in QUEUE]

    def sample(self, now: int) -> None:
        queue = QueueSample(self._pipe, now)
        for value, series in self._metrics:
            found = value(queue)
            if found is not None:
                self._recorder.append(series, now, float(found))


class FlowProbe:
    """A flow: its connection as a whole, and each subflow at both ends.

    Attributes:
        watch: finds its stalls.
        unread: the most that has waited for the application to read it, bytes.
    """

    def __init__(
        self,
        flow: Flow,
        recorder: SeriesRecorder,
        interval: int,
        loop: Loop,
        drops: DropLog,
        threshold: int | None,
        record: Sequence[str] = (),
    ) -> None:
        self._flow = flow
        self._recorder = recorder
        self._interval = interval
        #: The last value of each rate, by metric and subflow.
        self._before: dict[tuple[str, int], float] = {}
        self._sender, self._receiver = flow.sender_host, flow.receiver_host
        self._tcp_fields = [name for name in record if name in TCP_FIELDS]
        self._mptcp_fields = [name for name in record if name in MPTCP_FIELDS]
        self.watch = StallWatch(loop, flow, drops, threshold)
        self.unread: int = 0
        #: Samples in which a limit has held a subflow back, by subflow and limit.
        self._limited: dict[int, dict[str, int]] = {}
        #: Numbers of series, by host, subflow and metric.
        self._numbers: dict[tuple[str, int | None, str], int] = {}
        #: What the present sample has recorded: numbers of series with values.
        self._rows: list[tuple[int, float]] = []
        #: The flow was over at the last sample; and what every sample records from then on, or None.
        self._was_over = False
        self._for_ever: list[tuple[int, float]] | None = None

    def sample(self, now: int) -> None:
        """Record the state of this instant, ns; of a flow that is over, what does not change any more."""
        if self._for_ever is not None:
            for series, value in self._for_ever:
                self._recorder.append(series, now, value)
            return
        self._rows = []
        is_over = self._look(now)
        if is_over and self._was_over:
            self._for_ever = self._rows
        self._was_over = is_over

    def _look(self, now: int) -> bool:
        """Record the state of this instant, ns; return whether the flow is over."""
        flow = self._flow
        sender = None if flow.sender is None else End(flow.sender, now)
        if sender is not None:
            for metric in SENDING:
                self._append(self._sender, None, metric.name, now, metric.value(sender))
            for tcp in sender.subflows:
                if tcp.established_at >= 0:
                    self._sample_sender(SubflowSample(sender, tcp))
            if self._mptcp_fields:
                self._record_mptcp(self._sender, sender)
        if flow.receiver is not None:
            receiver = End(flow.receiver, now)
            for metric in RECEIVING:
                self._append(self._receiver, None, metric.name, now, metric.value(receiver))
            self.unread = max(self.unread, receiver.info.delivered - receiver.info.consumed)
            for theirs, number in numbers_of(sender, receiver).items():
                self._sample_receiver(SubflowSample(receiver, receiver.subflows[theirs]), number)
            if self._mptcp_fields:
                self._record_mptcp(self._receiver, receiver)
            return sender is not None and self._is_over(sender, receiver)
        return False

    def _is_over(self, sender: End, receiver: End) -> bool:
        """Return whether both ends are closed, and nothing is left to be read or to be counted in time."""
        info = receiver.info
        if self._tcp_fields or self._mptcp_fields:
            # There are times among them that go on.
            return False
        return sender.info.closed and info.closed and info.delivered == info.consumed

    def _sample_sender(self, subflow: SubflowSample) -> None:
        tcp = subflow.tcp
        number = tcp.identifier
        limit = limit_of(subflow.end, tcp) if self._flow.completed_at < 0 else ""
        if limit:
            times = self._limited.setdefault(number, {})
            times[limit] = times.get(limit, 0) + 1
        for metric in SENDING_SUBFLOW:
            self._append(self._sender, number, metric.name, tcp.now, metric.value(subflow))
        self._record_tcp(self._sender, number, tcp)

    def _sample_receiver(self, subflow: SubflowSample, number: int) -> None:
        tcp = subflow.tcp
        for metric in RECEIVING_SUBFLOW:
            value = metric.value(subflow)
            if value is not None and metric.is_rate:
                key = metric.name, number
                value, self._before[key] = value - self._before.get(key, 0), value
                value = value * 8 * SECOND / self._interval
            self._append(self._receiver, number, metric.name, tcp.now, value)
        if tcp.established_at >= 0:
            self._record_tcp(self._receiver, number, tcp)

    def _record_tcp(self, host: str, number: int, tcp: TcpInfo) -> None:
        for name in self._tcp_fields:
            self._append(host, number, name, tcp.now, getattr(tcp, name))

    def _record_mptcp(self, host: str, end: End) -> None:
        if end.mptcp is not None and end.info.established:
            for name in self._mptcp_fields:
                self._append(host, None, name, end.now, getattr(end.mptcp, name))

    def limited(self, number: int) -> dict[str, float]:
        """Return how long each limit has held a subflow back, in seconds."""
        times = self._limited.get(number, {})
        return {limit: times.get(limit, 0) * self._interval / SECOND for limit in LIMITS}

    def _append(self, host: str, subflow: int | None, metric: str, now: int, value: float | None) -> None:
        if value is None:
            return
        key = host, subflow, metric
        series = self._numbers.get(key)
        if series is None:
            series = self._numbers[key] = self._recorder.series(host, self._flow.name, subflow, metric)
        number = float(value)
        self._rows.append((series, number))
        self._recorder.append(series, now, number)
