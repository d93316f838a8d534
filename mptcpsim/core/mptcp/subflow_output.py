"""What a subflow sends: mappings, the DSS of every segment, and how the 40 bytes of options are divided."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.dss_checksum import dss_checksum, payload_sum
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.stages import PRE_ESTABLISHED
from mptcpsim.core.mptcp.subflow_parts import SubflowParts
from mptcpsim.core.mptcp_options import (
    VERSION_0,
    Dss,
    MptcpOption,
    mptcp_length,
)
from mptcpsim.core.options import OPTION_SPACE, TIMESTAMPS_LENGTH, sack_blocks_that_fit, sack_length
from mptcpsim.core.segment import ACK, ECE, ECT0, FIN, NOT_ECT, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.window_log import ZERO

_MASK: Final = 0xFFFFFFFF


class SubflowOutput(SubflowParts):
    """The sending side of a subflow: what goes out passes ``emit``."""

    __slots__ = ()

    # --- Windows --------------------------------------------------------------------------------------

    def syn_window(self) -> int:
        """Return the window field of a SYN, and note the edge that it promises on this subflow."""
        inbound = self._inbound
        field = inbound.syn_window()
        self.tcp.receiver.promise(1 + field)
        self._wnd_end_sent = inbound.wnd_end
        inbound.note_announced(inbound.wnd_end)
        return field

    def extend_window(self, segment: Segment) -> None:
        """A segment is judged by the connection's window, not the subflow's (RFC 8684 section 3.3.4)."""
        receiver = self.tcp.receiver
        inbound = self._inbound
        # A FIN of the subflow takes no number there: it is welcome in a closed window, too.
        fin = 1 if segment.flags & FIN and not segment.length else 0
        if self._announces_own:
            receiver.promise(receiver.nxt + fin)
            return
        receiver.promise(receiver.nxt + max(inbound.wnd_end - inbound.nxt, fin))

    def is_blocked(self) -> bool:
        """Return whether data waits for a window to open, this one's or the connection's."""
        outbound = self._outbound
        sender = self.tcp.sender
        if sender.nxt < sender.end:
            return sender.wnd_end <= sender.nxt
        if outbound.nxt < outbound.end and outbound.wnd_end <= outbound.nxt:
            return True
        return (
            outbound.nxt < outbound.end or len(outbound.reinjections.queue) > 0
        ) and self.own_window_closed()

    @property
    def reinjected_bytes(self) -> int:
        """Bytes sent here that another subflow had carried before."""
        return self._outbound.reinjections.bytes_on(self.number)

    @property
    def blocked_at(self) -> int:
        """The DSN that was last sent here because another subflow held it up, or -1."""
        return self._outbound.reinjections.held_up_at(self.number)

    # --- Sending ----------------------------------------------------------------------------------

    def next_has_keys(self) -> bool:
        """Return whether the next mapping travels as MP_CAPABLE (RFC 8684 section 3.1)."""
        connection = self.connection
        first = self.tcp.sender.end == 1 and self._outbound.nxt == 1
        return self.keys_due and connection.agreed.version != VERSION_0 and first

    def send_data(self, dsn: int, length: int, data_fin: bool, push: bool, now: int) -> None:
        """Map bytes of the connection onto this subflow and send them at once."""
        sender = self.tcp.sender
        ssn = sender.end
        if ssn + length > sender.wnd_end and not self._maps_ahead:
            # The window of the connection has stretched that of the subflow.
            self.connection.counters().count_send_shared()
        checksum = UNKNOWN
        connection = self.connection
        if connection.agreed.checksum:
            full = (self._outbound.idsn + dsn) & 0xFFFFFFFFFFFFFFFF
            total = length + 1 if data_fin else length
            checksum = dss_checksum(
                full, ssn & _MASK, total, payload_sum(connection.bytes_of(dsn - 1, length))
            )
        self.mappings.append(Mapping(ssn, dsn, length, data_fin, checksum))
        if self._maps_ahead:
            sender.send_when_possible(length, now)
        else:
            sender.send_now(length, push, now)

    def send_data_fin(self, now: int) -> None:
        """Send a DATA_FIN that no data goes with: subflow sequence number 0, length 1."""
        self.emit(self.tcp.sender.nxt, 0, ACK, False, now, data_fin=True)

    def _mapping_dss(self, mapping: Mapping) -> Dss:
        ack = self._inbound.ack_dss()
        outbound = self._outbound
        return Dss(
            ack.data_ack_octets,
            ack.ack,
            outbound.octets,
            mapping.dsn,
            mapping.ssn & _MASK,
            mapping.length + 1 if mapping.data_fin else mapping.length,
            mapping.checksum,
            mapping.data_fin,
            0,
            ack.ack_numbers,
            outbound.numbers,
        )

    def _data_fin_dss(self) -> Dss:
        """RFC 8684 section 3.3.3: without data the checksum covers the pseudo header alone."""
        connection = self.connection
        outbound = self._outbound
        ack = self._inbound.ack_dss()
        checksum = UNKNOWN
        if connection.agreed.checksum:
            checksum = dss_checksum((outbound.idsn + outbound.end) & 0xFFFFFFFFFFFFFFFF, 0, 1, 0)
        return Dss(
            ack.data_ack_octets,
            ack.ack,
            outbound.octets,
            outbound.end,
            0,
            1,
            checksum,
            True,
            0,
            ack.ack_numbers,
            outbound.numbers,
        )

    def send_ack_with(self, dss: Dss | None, options: tuple[MptcpOption, ...], now: int) -> None:
        """Send an ACK with just these options of MPTCP beside the timestamps."""
        self.tcp.send_ack(now)
        segment = self.tcp.last_sent()
        segment.set_mptcp_options(dss, options or None, self.tcp.header)
        if self.tcp.further_options is not None:
            self.tcp.further_options.complete(segment)

    def emit(self, seq: int, length: int, flags: int, ect: bool, now: int, data_fin: bool = False) -> None:
        """Send one segment with the options of MPTCP; the 40 bytes of options are divided here.

        The timestamps come first, then the options of MPTCP. SACK blocks take the room that is left, so that
        a block is dropped before a DATA_ACK is (RFC 8684 appendix A).
        """
        tcp = self.tcp
        receiver = tcp.receiver
        inbound = self._inbound
        dss: Dss | None = None
        options: tuple[MptcpOption, ...] | None = None
        offset = seq - 1
        stamped = tcp.timestamps
        if length:
            mapping = self.mappings.at(seq)
            offset = mapping.dsn - 1 + seq - mapping.ssn
            if self.keys_due and mapping.ssn == 1 and mapping.dsn == 1:
                option = self.handshake.first_data_option(mapping)
                options = (option,) if option is not None else None
            if options is None:
                dss = self._mapping_dss(mapping)
            used = mptcp_length(dss, options) if self.keys_due else tcp.signal_bytes
        elif data_fin:
            dss = self._data_fin_dss()
            used = mptcp_length(dss, None)
        elif self.signals.waiting or self.keys_due or self.stage == PRE_ESTABLISHED or self.fail_signal.due:
            dss, options, stamped = self.signals.take_for_ack(
                OPTION_SPACE - TIMESTAMPS_LENGTH if stamped else OPTION_SPACE
            )
            used = mptcp_length(dss, options)
        elif self._ack_on_updates:
            dss = inbound.ack_dss()
            used = 4 + inbound.ack_octets
        elif receiver.nxt > receiver.last_ack_sent or inbound.nxt > inbound.last_ack_sent:
            dss = inbound.note_ack_sent()
            used = 4 + inbound.ack_octets
        else:
            used = 0
        header = tcp.header if stamped == tcp.timestamps else tcp.header - TIMESTAMPS_LENGTH
        sack = None
        if receiver.recent or receiver.dsack is not None:
            # A data segment has an MSS without SACK blocks: they only go where its payload is shorter.
            spare = OPTION_SPACE - tcp.sender.mss + length if length else 0
            room = sack_blocks_that_fit(max(used + (tcp.option_bytes if stamped else 0), spare))
            sack = receiver.sack_blocks(room) if room else None
            if sack is not None:
                used += sack_length(len(sack))
        if receiver.ecn_echo and tcp.ecn:
            flags |= ECE
        nxt = receiver.nxt
        if self._announces_own:
            field = self._updates.own_window_field(self)
        else:
            field = inbound.window_field(receiver.scale)
            receiver.promise(nxt + (field << receiver.scale))
            edge = inbound.wnd_end
            if edge != self._wnd_end_sent:
                self._wnd_end_sent = edge
                if not inbound.note_announced(edge):
                    # Another subflow has announced this edge before (section 3.3.5).
                    self.connection.counters().count_receive_shared()
        if not field:
            tcp.log(ZERO, now, seq, length)
        payload: bytes | None = None
        if length and self.connection.sent_bytes is not None:
            payload = self.connection.sent_bytes.take(offset, length)
        segment = Segment(
            tcp.flow,
            header + length + used,
            tcp.sequences,
            flags,
            seq,
            nxt,
            field,
            length,
            tcp.timestamp(now) if stamped else UNKNOWN,
            receiver.ts_recent if stamped else UNKNOWN,
            sack,
            ECT0 if ect else NOT_ECT,
            dss,
            options,
            offset,
            payload=payload,
            way=tcp.way,
        )
        if dss is not None:
            self.dss_sent = True
        if tcp.further_options is not None:
            tcp.further_options.complete(segment)
        receiver.on_ack_sent()
        tcp.send_out(segment)
