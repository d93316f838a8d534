"""What is measured while a simulation runs, and the summary at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mptcpsim.net.link import Link
from mptcpsim.net.pipe import Pipe
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.results.stalls import StallDetector
from mptcpsim.results.summary import (
    INTACT,
    DirectionResult,
    FlowResult,
    LinkResult,
    SubflowResult,
    Summary,
)
from mptcpsim.scenario.schema import FlowSpec, RequestResponseFlow
from mptcpsim.sim.flow import Flow
from mptcpsim.units import MILLISECOND, NEVER, SECOND

if TYPE_CHECKING:
    from mptcpsim.core.connection import Connection
    from mptcpsim.core.tcp import Tcp
    from mptcpsim.scenario.build import Simulation

#: A slow-start threshold from which on it is "arbitrarily high" (RFC 5681 section 3.1): no series.
_NO_THRESHOLD = 1 << 40


class Sampler:
    """Looks at every flow and link at equal intervals and records what it sees."""

    def __init__(self, simulation: Simulation, recorder: SeriesRecorder) -> None:
        self._loop = simulation.env.loop
        self._end = simulation.scenario.duration
        self._interval = simulation.scenario.output.sample_interval
        pairs = zip(simulation.scenario.flows, simulation.flows, strict=True)
        self.flows = [_FlowProbe(spec, flow, recorder, self._interval) for spec, flow in pairs]
        self._links = [
            _QueueProbe(f"{name} {direction}", pipe, recorder)
            for name, link in simulation.topology.links.items()
            for direction, pipe in (("forward", link.forward), ("backward", link.backward))
        ]
        self._loop.schedule(self._interval, self._tick)

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
        if self._end % self._interval == 0:
            self.sample()
        for flow in self.flows:
            flow.stalls.finish(self._loop.now)


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


class _FlowProbe:
    """A flow: its connection as a whole, and each subflow at both ends."""

    def __init__(self, spec: FlowSpec, flow: Flow, recorder: SeriesRecorder, interval: int) -> None:
        self._spec = spec
        self._flow = flow
        self._recorder = recorder
        self._interval = interval
        self._received: dict[int, int] = {}
        self.stalls = StallDetector()
        ends = (spec.client, spec.server)
        self._sender, self._receiver = ends if _client_sends(spec) else ends[::-1]

    def sample(self, now: int) -> None:
        flow = self._flow
        sender, receiver = flow.sender, flow.receiver
        if flow.client is not None:
            delivered = receiver.delivered if receiver is not None else 0
            pending = sender is not None and sender.written > delivered and flow.completed_at < 0
            self.stalls.sample(now, delivered, pending, stall_cause(sender, receiver))
        if sender is not None:
            for subflow in sender.subflows:
                self._sample_sender(subflow, now)
        if receiver is not None:
            self._append(self._receiver, None, "bytes_delivered", now, receiver.delivered)
            self._append(self._receiver, None, "bytes_readable", now, receiver.readable)
            for subflow in receiver.subflows:
                self._sample_receiver(subflow, now)

    def _sample_sender(self, subflow: Tcp, now: int) -> None:
        if subflow.established_at < 0:
            return
        number = subflow.identifier
        sender = subflow.sender
        self._append(self._sender, number, "cwnd_bytes", now, sender.congestion.cwnd)
        if sender.congestion.ssthresh < _NO_THRESHOLD:
            self._append(self._sender, number, "ssthresh_bytes", now, sender.congestion.ssthresh)
        if sender.rtt.srtt:
            self._append(self._sender, number, "srtt_ms", now, sender.rtt.srtt / MILLISECOND)
        self._append(self._sender, number, "outstanding_bytes", now, sender.nxt - sender.una)
        self._append(self._sender, number, "send_window_bytes", now, max(0, sender.edge - sender.una))
        self._append(self._sender, number, "bytes_sent", now, sender.sent_bytes)
        self._append(self._sender, number, "bytes_retransmitted", now, sender.resent_bytes)

    def _sample_receiver(self, subflow: Tcp, now: int) -> None:
        received = received_bytes(subflow)
        before = self._received.get(subflow.identifier, 0)
        self._received[subflow.identifier] = received
        rate = (received - before) * 8 * SECOND / self._interval
        self._append(self._receiver, subflow.identifier, "throughput_bps", now, rate)

    def _append(self, host: str, subflow: int | None, metric: str, now: int, value: float) -> None:
        recorder = self._recorder
        recorder.append(recorder.series(host, self._spec.name, subflow, metric), now, float(value))


def _client_sends(spec: FlowSpec) -> bool:
    """Return whether the client's end is the one that sends the data (responses are the data)."""
    return not isinstance(spec, RequestResponseFlow) and not getattr(spec, "reverse", False)


def received_bytes(subflow: Tcp) -> int:
    """Return the bytes of payload that have arrived on a subflow, in order or not, copies not counted."""
    receiver = subflow.receiver
    end = 1 if subflow.connection.peer_closed else 0
    return max(0, receiver.nxt - 1 - end) + receiver.out_of_order.total


def stall_cause(sender: Connection | None, receiver: Connection | None) -> str:
    """Return why nothing arrives, as far as the two ends know.

    ``handshake``: not established. ``zero-window``: the receiver's window is closed.
    ``timeout``: a retransmission time-out is running in back-off. ``path``: none of these.
    """
    if sender is None or receiver is None or not sender.established:
        return "handshake"
    for subflow in sender.subflows:
        if subflow.sender.window_probe.at < NEVER:
            return "zero-window"
    if all(subflow.sender.timeouts_in_a_row > 0 for subflow in sender.subflows):
        return "timeout"
    return "path"


# --- Summary ------------------------------------------------------------------------------------


def summarise(simulation: Simulation, sampler: Sampler) -> Summary:
    """Return the summary of a simulation that has run."""
    scenario = simulation.scenario
    now = simulation.env.now
    return Summary(
        scenario=scenario.title,
        seed=scenario.seed,
        duration_s=scenario.duration / SECOND,
        flows=[
            _flow_result(spec, flow, probe.stalls, now)
            for spec, flow, probe in zip(scenario.flows, simulation.flows, sampler.flows, strict=True)
        ],
        counters={name: host.stack.counters.as_dict() for name, host in simulation.hosts.items()},
        links={name: _link_result(link, now) for name, link in simulation.topology.links.items()},
    )


def _flow_result(spec: FlowSpec, flow: Flow, stalls: StallDetector, now: int) -> FlowResult:
    sender, receiver = flow.sender, flow.receiver
    written = sender.written if sender is not None else 0
    delivered = receiver.delivered if receiver is not None else 0
    completed = flow.completed_at >= 0
    elapsed = (flow.completed_at if completed else now) - spec.start
    return FlowResult(
        name=spec.name,
        client=spec.client,
        server=spec.server,
        bytes_written=written,
        bytes_delivered=delivered,
        goodput_bps=_rate(delivered, elapsed),
        completed_s=flow.completed_at / SECOND if completed else None,
        integrity=integrity(written, delivered, completed),
        multipath=False,
        fallback=False,
        error=flow.error or None,
        latency_ms=_latencies(flow.latencies),
        stalls=stalls.found,
        subflows=[_subflow_result(subflow, elapsed) for subflow in (sender.subflows if sender else ())],
    )


def integrity(written: int, delivered: int, completed: bool) -> str:
    """Return ``ok``, or what is wrong with the number of bytes delivered.

    That each byte is the right one is checked on delivery (``core.connection``).
    """
    if delivered > written:
        return f"{delivered - written} bytes were delivered that nobody wrote"
    if completed and delivered < written:
        return f"{written - delivered} bytes are missing at the end of the stream"
    return INTACT


def _subflow_result(subflow: Tcp, elapsed: int) -> SubflowResult:
    sender = subflow.sender
    flow = subflow.flow
    acked = max(0, min(sender.una, sender.end) - 1)
    return SubflowResult(
        id=subflow.identifier,
        local=endpoint(flow.src, flow.sport),
        remote=endpoint(flow.dst, flow.dport),
        initiated_by="remote" if subflow.passive else "local",
        established_s=subflow.established_at / SECOND if subflow.established_at >= 0 else None,
        bytes_sent=sender.sent_bytes,
        bytes_acked=acked,
        bytes_retransmitted=sender.resent_bytes,
        bytes_reinjected=0,
        goodput_bps=_rate(acked, elapsed),
        srtt_ms=sender.rtt.srtt / MILLISECOND if sender.rtt.srtt else None,
        cwnd_bytes=sender.congestion.cwnd,
        backup=False,
    )


def endpoint(address: str, port: int) -> str:
    """Return ``10.0.0.1:80`` or ``[fd00::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _rate(size: int, elapsed: int) -> float:
    return size * 8 * SECOND / elapsed if elapsed > 0 else 0.0


def _latencies(latencies: list[int]) -> dict[str, float] | None:
    if not latencies:
        return None
    ordered = sorted(latencies)
    count = len(ordered)

    def quantile(percent: int) -> float:
        return ordered[min(count - 1, count * percent // 100)] / MILLISECOND

    return {
        "requests": float(count),
        "mean": sum(ordered) / count / MILLISECOND,
        "median": quantile(50),
        "p95": quantile(95),
        "max": ordered[-1] / MILLISECOND,
    }


def _link_result(link: Link, now: int) -> LinkResult:
    return LinkResult.of(_direction_result(link.forward, now), _direction_result(link.backward, now))


def _direction_result(pipe: Pipe, now: int) -> DirectionResult:
    busy = pipe.busy_time(now) / now if pipe.rate_bps and now else None
    return DirectionResult(
        packets=pipe.packets, bytes=pipe.bytes, drops=dict(sorted(pipe.drops.items())), utilisation=busy
    )


def event_lines(simulation: Simulation) -> list[dict[str, Any]]:
    """Return everything noteworthy that happened, in the order of time, for ``events.jsonl``."""
    found: list[tuple[int, dict[str, Any]]] = []
    names = _flow_names(simulation)
    for name, host in simulation.hosts.items():
        for event in host.stack.events:
            line: dict[str, Any] = {"time_s": event.time / SECOND, "host": name, "event": event.what}
            if event.connection >= 0:
                line["connection"] = names.get((name, event.connection), str(event.connection))
            if event.subflow >= 0:
                line["subflow"] = event.subflow
            if event.detail:
                line["detail"] = event.detail
            found.append((event.time, line))
    for change in simulation.scenario.events:
        given = change.model_dump(mode="json", exclude_none=True, exclude={"at", "link", "action"})
        line = {"time_s": change.at / SECOND, "link": change.link, "event": change.action, **given}
        found.append((change.at, line))
    return [line for _, line in sorted(found, key=lambda item: item[0])]


def _flow_names(simulation: Simulation) -> dict[tuple[str, int], str]:
    """Return the flow of each connection, by host and identifier."""
    names: dict[tuple[str, int], str] = {}
    for spec, flow in zip(simulation.scenario.flows, simulation.flows, strict=True):
        for host, connection in ((spec.client, flow.client), (spec.server, flow.server)):
            if connection is not None:
                names[host, connection.identifier] = spec.name
    return names
