"""What is measured while a simulation runs: flows and queues, looked at in equal intervals."""

from __future__ import annotations

from collections.abc import Sequence

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.subflow import subflow_of
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.endpoint import Tcp
from mptcpsim.core.tcp.states import CLOSED
from mptcpsim.measure.drops import DropLog, watch_drops
from mptcpsim.measure.ends import numbers_of
from mptcpsim.measure.limits import LIMITS, limit_of
from mptcpsim.measure.stall_watch import StallWatch
from mptcpsim.net.host import Host
from mptcpsim.net.pipe import Pipe
from mptcpsim.net.topology import Topology
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.sim.flow import Flow
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND, SECOND

#: A slow-start threshold from which on it is "arbitrarily high" (RFC 5681 section 3.1): no series.
_NO_THRESHOLD = 1 << 40


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
        """
        self._loop = loop
        self._end = end
        self._interval = interval
        drops = watch_drops(topology, loop)
        self.flows = [FlowProbe(flow, recorder, interval, loop, drops, stall_threshold) for flow in flows]
        for node in topology.nodes.values():
            if isinstance(node, Host):
                node.stack.logs_windows = node.stack.remembers = True
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
        self._packets = recorder.series(name, None, None, "queue_packets")
        self._bytes = recorder.series(name, None, None, "queue_bytes")

    def sample(self, now: int) -> None:
        self._recorder.append(self._packets, now, float(self._pipe.queue_packets(now)))
        self._recorder.append(self._bytes, now, float(self._pipe.queue_bytes(now)))


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
    ) -> None:
        self._flow = flow
        self._recorder = recorder
        self._interval = interval
        self._received: dict[int, int] = {}
        self._sender, self._receiver = flow.sender_host, flow.receiver_host
        self.watch = StallWatch(loop, flow, drops, threshold)
        self.unread: int = 0
        #: Samples in which a limit has held a subflow back, by subflow and limit.
        self._limited: dict[int, dict[str, int]] = {}

    def sample(self, now: int) -> None:
        """Record the state of this instant, ns."""
        flow = self._flow
        sender, receiver = flow.sender, flow.receiver
        if sender is not None:
            if isinstance(sender, MptcpConnection) and not sender.is_plain:
                self._sample_window(sender, now)
            for subflow in sender.subflows:
                self._sample_sender(sender, subflow, now)
        if receiver is not None:
            self._append(self._receiver, None, "bytes_delivered", now, receiver.delivered)
            self._append(self._receiver, None, "bytes_readable", now, receiver.readable)
            self.unread = max(self.unread, receiver.readable)
            numbers = numbers_of(sender, receiver)
            for subflow in receiver.subflows:
                number = numbers.get(subflow.identifier)
                if number is not None:
                    self._sample_receiver(subflow, number, now)

    def _sample_window(self, sender: MptcpConnection, now: int) -> None:
        """Record what the subflows have in common: the window of the connection."""
        outbound = sender.outbound
        self._append(self._sender, None, "outstanding_bytes", now, outbound.nxt - outbound.una)
        self._append(self._sender, None, "send_window_bytes", now, max(0, outbound.edge - outbound.una))

    def _sample_sender(self, connection: Connection, subflow: Tcp, now: int) -> None:
        if subflow.established_at < 0:
            return
        number = subflow.identifier
        sender = subflow.sender
        limit = limit_of(connection, subflow) if self._flow.completed_at < 0 else ""
        if limit:
            times = self._limited.setdefault(number, {})
            times[limit] = times.get(limit, 0) + 1
        if not _outlived(connection, subflow):
            self._append(self._sender, number, "cwnd_bytes", now, sender.congestion.cwnd)
            if sender.congestion.ssthresh < _NO_THRESHOLD:
                self._append(self._sender, number, "ssthresh_bytes", now, sender.congestion.ssthresh)
            if sender.rtt.srtt:
                self._append(self._sender, number, "srtt_ms", now, sender.rtt.srtt / MILLISECOND)
        self._append(self._sender, number, "outstanding_bytes", now, sender.nxt - sender.una)
        self._append(self._sender, number, "send_window_bytes", now, max(0, sender.edge - sender.una))
        self._append(self._sender, number, "bytes_sent", now, sender.sent_bytes)
        self._append(self._sender, number, "bytes_retransmitted", now, sender.resent_bytes)
        extension = subflow_of(subflow)
        if extension is not None:
            self._append(self._sender, number, "bytes_reinjected", now, extension.reinjected_bytes)

    def _sample_receiver(self, subflow: Tcp, number: int, now: int) -> None:
        received = received_bytes(subflow)
        before = self._received.get(number, 0)
        self._received[number] = received
        rate = (received - before) * 8 * SECOND / self._interval
        self._append(self._receiver, number, "throughput_bps", now, rate)

    def limited(self, number: int) -> dict[str, float]:
        """Return how long each limit has held a subflow back, in seconds."""
        times = self._limited.get(number, {})
        return {limit: times.get(limit, 0) * self._interval / SECOND for limit in LIMITS}

    def _append(self, host: str, subflow: int | None, metric: str, now: int, value: float) -> None:
        recorder = self._recorder
        recorder.append(recorder.series(host, self._flow.name, subflow, metric), now, float(value))


def received_bytes(subflow: Tcp) -> int:
    """Return the bytes of payload that have arrived on a subflow, in order or not, copies not counted."""
    receiver = subflow.receiver
    end = 1 if 0 <= receiver.fin_at < receiver.nxt else 0
    return max(0, receiver.nxt - 1 - end) + receiver.out_of_order.total


def _outlived(connection: Connection, subflow: Tcp) -> bool:
    """Return whether a subflow has ended, and its connection has not."""
    return subflow.state == CLOSED and not connection.closed
