"""The summary of a simulation that has run, and everything noteworthy that happened in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

from mptcpsim.core.events import Event
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import TcpInfo
from mptcpsim.core.window_log import TIMED_OUT, WITHHELD, WindowEvent
from mptcpsim.freebsd.system import System
from mptcpsim.measure.ends import End
from mptcpsim.measure.sampler import FlowProbe, Sampler
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.middlebox import BoxCounts
from mptcpsim.net.node import Node
from mptcpsim.net.pipe import Pipe
from mptcpsim.net.router import Router
from mptcpsim.net.tracks import Tracks
from mptcpsim.results.summary import (
    INTACT,
    BoxDirection,
    DirectionResult,
    FlowResult,
    LinkResult,
    MiddleboxResult,
    NodeResult,
    QueueResult,
    SubflowResult,
    Summary,
)
from mptcpsim.scenario.flows import FlowSpec
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.sim.flow import Flow
from mptcpsim.units import MILLISECOND, SECOND

#: The event that says why a connection has become plain TCP.
FALLBACK = "fallback"


def summarise(simulation: Simulation, sampler: Sampler) -> Summary:
    """Return the summary of a simulation that has run."""
    scenario = simulation.scenario
    now = simulation.env.now
    tracks = Tracks(simulation.topology)
    return Summary(
        scenario=scenario.title,
        seed=scenario.seed,
        duration_s=now / SECOND,
        flows=[
            _flow_result(simulation, spec, flow, probe, tracks)
            for spec, flow, probe in zip(scenario.flows, simulation.flows, sampler.flows, strict=True)
        ],
        counters={name: host.stack.counters.as_dict() for name, host in simulation.hosts.items()},
        links={name: _link_result(link, now) for name, link in simulation.topology.links.items()},
        nodes={
            name: _node_result(node, simulation.systems.get(name))
            for name, node in simulation.topology.nodes.items()
        },
    )


def _flow_result(
    simulation: Simulation, spec: FlowSpec, flow: Flow, probe: FlowProbe, tracks: Tracks
) -> FlowResult:
    now = simulation.env.now
    sender, receiver = _end(flow.sender, now), _end(flow.receiver, now)
    written, delivered = flow.written, flow.delivered
    completed = flow.completed_at >= 0
    elapsed = (flow.completed_at if completed else now) - spec.start
    version = spoken(_end(flow.client, now))
    reason = "" if version is not None else _fallback_reason(simulation, spec, flow)
    return FlowResult(
        name=spec.name,
        client=spec.client,
        server=spec.server,
        bytes_written=written,
        bytes_delivered=delivered,
        goodput_bps=_rate(delivered, elapsed),
        completed_s=flow.completed_at / SECOND if completed else None,
        integrity=integrity(written, delivered, completed),
        multipath=version is not None,
        fallback=bool(reason),
        mptcp_version=version,
        fallback_reason=reason or None,
        failed=bool(flow.error) and not completed,
        failed_s=flow.failed_at / SECOND if flow.error and not completed else None,
        error=flow.error or None,
        latency_ms=_latencies(flow.latencies),
        stalls=probe.watch.found,
        stalled_s=probe.watch.stalled / SECOND,
        pauses=probe.watch.pauses,
        bytes_duplicate=_duplicates(receiver),
        bytes_repeated_while_closed=_repeated_while_closed(sender),
        bytes_unread_most=probe.unread,
        subflows=[]
        if sender is None
        else [
            _subflow_result(sender, tcp, elapsed, tracks, probe.limited(tcp.identifier))
            for tcp in sender.subflows
        ],
    )


def _end(connection: Connection | None, now: int) -> End | None:
    return None if connection is None else End(connection, now)


def _duplicates(receiver: End | None) -> int:
    if receiver is None:
        return 0
    if receiver.active_mptcp is not None:
        return receiver.active_mptcp.duplicate_bytes
    return sum(tcp.duplicate_bytes for tcp in receiver.subflows)


def _repeated_while_closed(sender: End | None) -> int:
    return 0 if sender is None or sender.mptcp is None else sender.mptcp.repeated_while_closed


def spoken(client: End | None) -> int | None:
    """Return the version of MPTCP that a client's end of a flow speaks, None for plain TCP."""
    if client is None or client.active_mptcp is None or not client.info.established:
        return None
    return client.active_mptcp.version


def _fallback_reason(simulation: Simulation, spec: FlowSpec, flow: Flow) -> str:
    """Return why the connection is plain TCP though the client wanted MPTCP, else an empty string.

    The end that has given MPTCP up knows the reason; the other one has seen the consequence.
    """
    now = simulation.env.now
    client = _end(flow.client, now)
    if client is None or not client.info.established or not flow.wants_mptcp:
        return ""
    found = [
        (event.time, event.detail)
        for end in (client, _end(flow.server, now))
        if end is not None
        for event in end.events()
        if event.what == FALLBACK and end.is_mine(event)
    ]
    return min(found)[1] if found else "the peer has refused every version before"


def integrity(written: int, delivered: int, completed: bool) -> str:
    """Return ``ok``, or what is wrong with the number of bytes delivered.

    That each byte is the right one is checked on delivery (``core.tcp.connection``).
    """
    if delivered > written:
        return f"{delivered - written} bytes were delivered that nobody wrote"
    if completed and delivered < written:
        return f"{written - delivered} bytes are missing at the end of the stream"
    return INTACT


def _subflow_result(
    end: End, tcp: TcpInfo, elapsed: int, tracks: Tracks, limited: dict[str, float]
) -> SubflowResult:
    flow = tcp.flow
    extra = None if end.mptcp is None else end.mptcp.each[tcp.identifier]
    return SubflowResult(
        id=tcp.identifier,
        local=endpoint(flow.src, flow.sport),
        remote=endpoint(flow.dst, flow.dport),
        initiated_by="remote" if tcp.passive else "local",
        established_s=tcp.established_at / SECOND if tcp.established_at >= 0 else None,
        bytes_sent=tcp.sent_bytes,
        bytes_acked=tcp.acked_bytes,
        bytes_retransmitted=tcp.retransmitted_bytes,
        bytes_reinjected=extra.reinjected_bytes if extra is not None else 0,
        goodput_bps=_rate(tcp.acked_bytes, elapsed),
        srtt_ms=tcp.srtt / MILLISECOND if tcp.srtt else None,
        cwnd_bytes=tcp.cwnd,
        backup=extra.is_backup if extra is not None else False,
        error=tcp.error or None,
        links=list(tracks.of_flow(flow)) if tcp.established_at >= 0 else [],
        limited_s=limited,
    )


def endpoint(address: str, port: int) -> str:
    """Return ``10.0.0.1:80`` or ``[fd00::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _rate(size: int, elapsed: int) -> float | None:
    """Return bit/s; None if the bytes took no time, for that is no number (RFC 8259 knows no infinity)."""
    if size == 0:
        return 0.0
    return size * 8 * SECOND / elapsed if elapsed > 0 else None


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
    boxes = [
        MiddleboxResult(box.NAME, _box_direction(box.forward), _box_direction(box.backward))
        for box in link.middleboxes
    ]
    return LinkResult.of(
        _direction_result(link.forward, now, [(box.name, box.forward.dropped) for box in boxes]),
        _direction_result(link.backward, now, [(box.name, box.backward.dropped) for box in boxes]),
        boxes,
    )


def _box_direction(counts: BoxCounts) -> BoxDirection:
    return BoxDirection(counts.packets, counts.changed, counts.dropped, counts.sent)


def _direction_result(pipe: Pipe, now: int, by_boxes: list[tuple[str, int]]) -> DirectionResult:
    busy = pipe.busy_time(now) / now if pipe.rate_bps and now else None
    drops = dict(pipe.drops)
    for name, count in by_boxes:
        if count:
            reason = f"middlebox {name}"
            drops[reason] = drops.get(reason, 0) + count
    return DirectionResult(
        packets=pipe.packets,
        bytes=pipe.bytes,
        drops=dict(sorted(drops.items())),
        utilisation=busy,
        marks=pipe.marks,
        duplicates=pipe.duplicates,
        corrupted=pipe.corrupted,
    )


def _node_result(node: Node, system: System | None) -> NodeResult:
    errors = node.errors_sent if isinstance(node, Router) else {}
    reports = system.dummynet.reports() if system is not None else []
    return NodeResult(
        drops=dict(sorted(node.drops.items())),
        icmp_errors=dict(sorted(errors.items())),
        dummynet=[
            QueueResult(one.name, one.kind, one.packets, one.bytes, one.marks, one.drops) for one in reports
        ],
    )


#: A line of ``events.jsonl``, with its instant, ns.
_Line = tuple[int, dict[str, Any]]


def event_lines(simulation: Simulation, summary: Summary) -> Iterator[dict[str, Any]]:
    """Yield everything noteworthy that happened, in the order of time, for ``events.jsonl``.

    Of what happened at one instant the hosts come first, then changes, commands, windows and stalls. The
    lines are made one by one: those of a long run take many times the memory of what they are made from.
    """
    names = _flow_names(simulation)
    sources = [_host_lines(name, host, names) for name, host in simulation.hosts.items()]
    sources.append(_in_order(_change_lines(simulation)))
    sources.append(_in_order(simulation.notes))
    for flow in simulation.flows:
        for name, end in _ends_of(flow, simulation.env.now):
            sources.append(_window_lines(name, flow.name, end.window_events))
    sources.append(_in_order(_stall_lines(summary)))
    for _, line in merge(*sources, key=_instant):
        yield line


def _instant(line: _Line) -> int:
    return line[0]


def _in_order(lines: Iterable[_Line]) -> Iterator[_Line]:
    return iter(sorted(lines, key=_instant))


def _host_lines(host_name: str, host: Host, names: dict[tuple[str, int], str]) -> Iterator[_Line]:
    for event in sorted(host.stack.events, key=_time):
        line: dict[str, Any] = {"time_s": event.time / SECOND, "host": host_name, "event": event.what}
        if event.connection >= 0:
            line["connection"] = names.get((host_name, event.connection), str(event.connection))
        if event.subflow >= 0:
            line["subflow"] = event.subflow
        if event.detail:
            line["detail"] = event.detail
        yield event.time, line


def _change_lines(simulation: Simulation) -> Iterator[_Line]:
    for change in simulation.scenario.events:
        given = change.model_dump(mode="json", exclude_none=True, exclude={"at", "action"})
        yield change.at, {"time_s": change.at / SECOND, "event": change.action, **given}


def _stall_lines(summary: Summary) -> Iterator[_Line]:
    for result in summary.flows:
        for stall in result.stalls:
            line = {"time_s": stall.start_s, "event": "stall", "connection": result.name}
            line |= {"detail": f"{stall.cause}: {stall.words}", "until_s": stall.end_s}
            line["ended"] = f"{stall.ended.by}: {stall.ended.words}"
            yield round(stall.start_s * SECOND), line


def _window_lines(host: str, name: str, events: list[WindowEvent]) -> Iterator[_Line]:
    """Yield what an end has noted of its windows; sequence numbers are relative."""
    for event in sorted(events, key=_time):
        if event.what == TIMED_OUT:
            # The host has noted it, too.
            continue
        line: dict[str, Any] = {"time_s": event.time / SECOND, "host": host, "event": event.what}
        line["connection"] = name
        if event.subflow >= 0:
            line["subflow"] = event.subflow
        if event.what == WITHHELD:
            line["detail"] = (
                f"{event.window} bytes are missing; {event.times} reads up to {event.last / SECOND} s"
            )
        else:
            line["detail"] = f"seq {event.seq} ack {event.ack} length {event.length} window {event.window}"
        yield event.time, line


def _time(event: Event | WindowEvent) -> int:
    return event.time


def _flow_names(simulation: Simulation) -> dict[tuple[str, int], str]:
    """Return the flow of each connection, by host and identifier."""
    names: dict[tuple[str, int], str] = {}
    for flow in simulation.flows:
        for host, end in _ends_of(flow, simulation.env.now):
            names[host, end.identifier] = flow.name
    return names


def _ends_of(flow: Flow, now: int) -> list[tuple[str, End]]:
    """Return the ends of a flow that there are, each with its host."""
    ends = ((flow.client_host, flow.client), (flow.server_host, flow.server))
    return [(host, End(connection, now)) for host, connection in ends if connection is not None]
