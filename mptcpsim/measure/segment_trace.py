"""Records the segments of every flow at both its ends, for ``results.segments``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mptcpsim.core.mptcp.info import data_ack_of
from mptcpsim.core.segment import SYN, FourTuple, Packet, Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import tcp_info, tcp_infos
from mptcpsim.measure.ends import End, numbers_of
from mptcpsim.net.node import Interface
from mptcpsim.results.segments import AGAIN, DATA, HEARD, PROBE, TOLD, Row, SegmentRecorder
from mptcpsim.sim.flow import Flow
from mptcpsim.units import SECOND


class _Known(NamedTuple):
    """A subflow: its flow, the end that sends the data, and the number that it has there."""

    flow: Flow
    sender: Connection
    number: int


class SegmentTrace:
    """Taps the interfaces of the hosts that have flows; after what taps them already."""

    def __init__(
        self, flows: Sequence[Flow], interfaces: Iterable[Interface], recorder: SegmentRecorder
    ) -> None:
        self._recorder = recorder
        self._flows = flows
        #: By four-tuple of what the data's sender sends, as it leaves there and (NAT) as it arrives.
        self._known: dict[FourTuple, _Known] = {}
        #: The highest DSN sent so far, by flow.
        self._highest: dict[str, int] = {}
        #: The window shift of acknowledgments, by their four-tuple.
        self._scales: dict[FourTuple, int] = {}
        for interface in interfaces:
            self._tap(interface)

    def _tap(self, interface: Interface) -> None:
        before = interface.tap

        def tap(packet: Packet, now: int, outgoing: bool) -> None:
            if before is not None:
                before(packet, now, outgoing)
            if isinstance(packet, Segment) and not packet.flags & SYN:
                self._take(packet, now, outgoing)

        interface.tap = tap

    def _take(self, segment: Segment, now: int, outgoing: bool) -> None:
        flow = segment.flow
        known = self._known.get(flow)
        opposite = self._known.get(flow.reverse()) if known is None else None
        if known is None and opposite is None:
            # Looking for it costs a snapshot of every connection: only where neither direction is known.
            known = self._find(flow, now)
        if known is not None:
            # Towards the receiver: it counts where it is sent.
            if outgoing:
                self._sent(known, segment, now)
            return
        known = opposite or self._find(flow.reverse(), now)
        if known is not None and not segment.length:
            self._acked(known, segment, now, TOLD if outgoing else HEARD)

    def _find(self, flow: FourTuple, now: int) -> _Known | None:
        known = self._known.get(flow)
        if known is None:
            for each in self._flows:
                if each.sender is None:
                    continue
                for tcp in tcp_infos(each.sender, now):
                    self._known.setdefault(tcp.flow, _Known(each, each.sender, tcp.identifier))
                if each.receiver is None:
                    continue
                receiver = End(each.receiver, now)
                for theirs, number in numbers_of(End(each.sender, now), receiver).items():
                    arrives_as = receiver.subflows[theirs].flow.reverse()
                    self._known.setdefault(arrives_as, _Known(each, each.sender, number))
            known = self._known.get(flow)
        return known

    def _sent(self, known: _Known, segment: Segment, now: int) -> None:
        name = known.flow.name
        if segment.length:
            dsn = segment.offset + 1
            end = dsn + segment.length
            highest = self._highest.get(name, 1)
            kind = DATA if end > highest else AGAIN
            if segment.length == 1:
                tcp = tcp_info(known.sender, now, known.number)
                if kind == AGAIN or tcp.snd_wnd_end <= tcp.snd_nxt:
                    kind = PROBE
            self._highest[name] = max(highest, end)
            self._add(now, known, kind, dsn, segment.length, segment)
        else:
            tcp = tcp_info(known.sender, now, known.number)
            if segment.seq == tcp.snd_una - 1 and tcp.probe_shift:
                self._add(now, known, PROBE, self._highest.get(name, 1), 0, segment)

    def _acked(self, known: _Known, segment: Segment, now: int, kind: str) -> None:
        scale = self._scales.get(segment.flow)
        if scale is None:
            # The handshake is over: it never changes.
            scale = self._scales[segment.flow] = tcp_info(known.sender, now, known.number).snd_scale
        self._add(now, known, kind, data_ack_of(known.sender, segment), segment.window << scale, segment)

    def _add(self, now: int, known: _Known, kind: str, dsn: int, size: int, segment: Segment) -> None:
        self._recorder.append(
            Row(now / SECOND, known.flow.name, kind, known.number, dsn, size, segment.seq, segment.ack)
        )
