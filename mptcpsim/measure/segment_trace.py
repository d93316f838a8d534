"""Records the segments of every flow at both its ends, for ``results.segments``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.segment import SYN, FourTuple, Packet, Segment
from mptcpsim.core.tcp.endpoint import Tcp
from mptcpsim.measure.ends import numbers_of
from mptcpsim.net.node import Interface
from mptcpsim.results.segments import AGAIN, DATA, HEARD, PROBE, TOLD, Row, SegmentRecorder
from mptcpsim.sim.flow import Flow
from mptcpsim.units import SECOND


class _Known(NamedTuple):
    """A subflow: its flow, and its state at the end that sends the data."""

    flow: Flow
    tcp: Tcp


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
        known = self._find(segment.flow)
        if known is not None:
            # Towards the receiver: it counts where it is sent.
            if outgoing:
                self._sent(known, segment, now)
            return
        known = self._find(segment.flow.reverse())
        if known is not None and not segment.length:
            self._acked(known, segment, now, TOLD if outgoing else HEARD)

    def _find(self, flow: FourTuple) -> _Known | None:
        known = self._known.get(flow)
        if known is None:
            for each in self._flows:
                sender, receiver = each.sender, each.receiver
                if sender is None:
                    continue
                for tcp in sender.subflows:
                    self._known.setdefault(tcp.flow, _Known(each, tcp))
                if receiver is None:
                    continue
                for theirs, number in numbers_of(sender, receiver).items():
                    arrives_as = receiver.subflows[theirs].flow.reverse()
                    self._known.setdefault(arrives_as, _Known(each, sender.subflows[number]))
            known = self._known.get(flow)
        return known

    def _sent(self, known: _Known, segment: Segment, now: int) -> None:
        tcp = known.tcp
        name = known.flow.name
        if segment.length:
            dsn = segment.offset + 1
            end = dsn + segment.length
            highest = self._highest.get(name, 1)
            kind = DATA if end > highest else AGAIN
            if segment.length == 1 and (kind == AGAIN or tcp.sender.edge <= tcp.sender.nxt):
                kind = PROBE
            self._highest[name] = max(highest, end)
            self._add(now, name, kind, tcp, dsn, segment.length, segment)
        elif segment.seq == tcp.sender.una - 1 and tcp.sender.window_probe.shift:
            self._add(now, name, PROBE, tcp, self._highest.get(name, 1), 0, segment)

    def _acked(self, known: _Known, segment: Segment, now: int, kind: str) -> None:
        tcp = known.tcp
        connection = tcp.connection
        ack = segment.ack
        if isinstance(connection, MptcpConnection) and not connection.is_plain:
            dss = segment.dss
            ack = -1
            if dss is not None and dss.data_ack_octets:
                ack = connection.outbound.relative(dss.data_ack, dss.data_ack_octets)
        self._add(now, known.flow.name, kind, tcp, ack, segment.window << tcp.snd_scale, segment)

    def _add(self, now: int, name: str, kind: str, tcp: Tcp, dsn: int, size: int, segment: Segment) -> None:
        self._recorder.append(
            Row(now / SECOND, name, kind, tcp.identifier, dsn, size, segment.seq, segment.ack)
        )
