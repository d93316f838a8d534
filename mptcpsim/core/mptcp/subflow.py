"""What MPTCP adds to one TCP subflow: mappings, DSS, signals, the state of its handshake.

A ``Tcp`` has a ``Subflow`` if its connection may speak MPTCP. What goes out passes
``emit``, what comes in ``take`` (after TCP has found the segment acceptable, RFC 8684
section 3) and ``deliver`` (bytes that are in order on this subflow).
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.dss_checksum import checksum_is_right
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.stages import PLAIN, PRE_ESTABLISHED
from mptcpsim.core.mptcp.subflow_output import SubflowOutput
from mptcpsim.core.mptcp_options import (
    REASON_MPTCP_SPECIFIC,
    VERSION_0,
    Dss,
    MptcpOption,
)
from mptcpsim.core.payload import content_is
from mptcpsim.core.segment import FIN, Segment
from mptcpsim.core.sequences import UNKNOWN, unwrap
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.window_log import IGNORED
from mptcpsim.units import NEVER

_MASK: Final = 0xFFFFFFFF


class Subflow(SubflowOutput):
    """A complete subflow: it answers TCP's calls and takes the segments that arrive."""

    __slots__ = ()

    # --- What TCP asks for ------------------------------------------------------------------------

    def syn_option(self, answer: bool, transmissions: int) -> MptcpOption | None:
        """Return the option of a SYN, or with ``answer`` of a SYN/ACK."""
        handshake = self.handshake
        return handshake.syn_ack_option() if answer else handshake.syn_option(transmissions)

    def on_syn_ack(self, segment: Segment, now: int) -> bool:
        """Take a SYN/ACK; return False if the subflow was reset."""
        return self.handshake.on_syn_ack(segment, now)

    def on_third_ack_sent(self, now: int) -> None:
        """The third ACK is on its way: joins may follow that of the first subflow."""
        self.connection.on_third_ack_sent(now)

    def on_third_ack(self, segment: Segment, now: int) -> bool:
        """Take the ACK of our SYN/ACK; return False if it does not complete the handshake."""
        return self.handshake.on_third_ack(segment, now)

    def on_simultaneous_open(self, now: int) -> bool:
        """Both ends have sent a SYN; return False if the subflow was given up."""
        return self.handshake.on_simultaneous_open(now)

    def answers_with_syn(self) -> bool:
        """Return whether it is a join: its opener would take an ACK for the fourth one (section 3.2)."""
        return self.is_join

    def is_joining(self) -> bool:
        """Return whether the third ACK of a join is repeated."""
        return self.stage == PRE_ESTABLISHED

    def complete(self, segment: Segment) -> None:
        """Complete a segment of plain TCP: its place in the stream, and the infinite mapping where due."""
        dss = self._fallback.mapping_for(segment)
        if dss is not None:
            segment.set_mptcp_options(dss, None, self.tcp.header)
            if segment.length:
                self.tcp.set_signal_bytes(0)

    def reset_options(self) -> tuple[MptcpOption, ...]:
        """Return what goes with the RST of this subflow."""
        return self.reset_reason.options()

    def keep(self, segment: Segment, left: int, right: int) -> None:
        """Keep new bytes of a segment until their mapping is known."""
        self.incoming.keep(segment, left, right)

    def deliver(self, left: int, length: int, now: int) -> None:
        """Take bytes that are in order on this subflow."""
        self.incoming.deliver(left, length, now)

    def deliver_whole(self, segment: Segment, now: int) -> None:
        """Take all of a segment, which comes next on this subflow."""
        incoming = self.incoming
        left = segment.seq
        incoming.keep(segment, left, left + segment.length)
        incoming.deliver(left, segment.length, now)

    def on_fin(self, segment: Segment) -> None:
        """Note whether the FIN of the peer carries options: then the peer has not fallen back."""
        self.fin_with_dss = segment.dss is not None or segment.options is not None

    def on_reset(self, segment: Segment, now: int) -> None:
        """Note why the peer resets this subflow."""
        self.connection.take_options_of_reset(self, segment, now)

    def most_timeouts(self, most: int) -> int:
        """Return after how many time-outs in a row to give up: fewer if another subflow works."""
        if len(self.connection.usable()):
            return min(most, self.connection.config.mptcp.subflow_retries)
        return most

    # --- Receiving ----------------------------------------------------------------------------------

    def take(self, segment: Segment, now: int) -> bool:
        """Act on the options of an acceptable segment; return False if the subflow ended with it."""
        incoming = self.incoming
        incoming.begin()
        if self.stage == PLAIN:
            if segment.options is not None or segment.dss is not None:
                return self._fallback.on_options_when_plain(self, segment, now)
            return True
        # Old segments may carry news in their DSS, but are not believed to signal (section 3.4.1: the checks
        # of TCP come first). As in Linux, old is what ends below the last ACK sent.
        if (
            segment.options is not None
            and segment.end >= self.tcp.receiver.last_ack_sent
            and not self.connection.take_options(self, segment, now)
        ):
            return False
        if self.stage == PRE_ESTABLISHED:
            # Any segment of the peer answers the third ACK (section 3.2).
            assert self.join is not None
            self.join.on_answer(now)
        if self.watch.probe_at != NEVER:
            self.watch.on_segment(segment, now)
        if not self.is_active:
            return True
        dss = segment.dss
        if dss is None:
            return self._take_without_dss(segment, now)
        self.dss_received = True
        if dss.data_ack_octets:
            self.acks_without_data_ack = 0
            if not self.fully_established:
                self.fully_established = True
                self.on_fully_established(now)
            if not self.dss_passes and segment.ack > 1:
                self.dss_passes = True
            if segment.window != self._seen_window or not dss.repeats_ack_of(self._seen_dss):
                # A DATA_ACK and window that repeat the last segment's are skipped: the usual case.
                self._seen_dss = dss
                self._seen_window = segment.window
                outbound = self._outbound
                ack = outbound.ack_of(dss)
                outbound.on_data_ack(ack, segment.window << self.tcp.snd_scale, self, segment, now)
                if self.tcp.ended:
                    return False
        elif not segment.length:
            self._ignore_window(segment, now)
        if dss.dsn_octets:
            if (
                segment.seq == incoming.delivered_end
                and segment.length == dss.data_level_length
                and segment.seq & _MASK == dss.ssn
                and not dss.data_fin
                and dss.checksum == UNKNOWN
                and self._takes_usual(dss, segment)
            ):
                return True
            return self._take_mapping(dss, segment, now)
        return not self.tcp.ended

    def _ignore_window(self, segment: Segment, now: int) -> None:
        """A window without a DATA_ACK says nothing to the connection (section 3.3.5)."""
        sender = self.tcp.sender
        if self.dss_received and segment.ack + (segment.window << self.tcp.snd_scale) > sender.wnd_end:
            self.connection.count("MptcpsimUpdateWithoutDataAck")
            self.log_heard(IGNORED, segment, now)

    def on_fully_established(self, now: int) -> None:
        """The peer has our keys: the first DATA_ACK came."""
        if self.keys_due:
            self.keys_due = False
            self.tcp.set_signal_bytes(self.data_option_space())
        self.connection.on_fully_established(self, now)

    def _take_without_dss(self, segment: Segment, now: int) -> bool:
        """Take a segment without DSS, which may be the sign of a middlebox (section 3.7)."""
        sender = self.tcp.sender
        if segment.ack > sender.una:
            self.acks_without_data_ack += 1
        elif not segment.length:
            self._ignore_window(segment, now)
        news = segment.ack > max(sender.una, 1)
        if not self.dss_passes and news and segment.options is None and not self.incoming.covers(segment):
            # Our data is acknowledged on the subflow without a DATA_ACK. No other option of MPTCP is there
            # either, which could have taken its room and would show that options pass.
            why = "an ACK of data came without DATA_ACK"
            return self._fallback.on_options_missing(self, why, now)
        bare_fin = segment.flags & FIN and segment.options is None
        unmapped = (segment.length or bare_fin) and not self.incoming.covers(segment)
        # This includes a FIN: as the first segment of the peer, it ends the stream of a peer that speaks TCP.
        if unmapped and not self.dss_received and self.connection.is_only(self) and not self.is_join:
            return self._fallback.on_first_data_unmapped(self, now)
        return True

    def _takes_usual(self, dss: Dss, segment: Segment) -> bool:
        """Take the mapping of a segment that is next in order and that it covers exactly.

        This is the short path of ``_take_mapping``, with the same result.
        """
        connection = self.connection
        inbound = self._inbound
        incoming = self.incoming
        if (
            not incoming.received.begin_at(segment.seq + segment.length)
            or connection.agreed.checksum
            or dss.dsn_octets > inbound.ack_octets
            or not segment.length
            or not connection.config.header_prediction
            or segment.seq != self.tcp.receiver.nxt
        ):
            return False
        dsn = inbound.dsn_of(dss)
        if connection.received_bytes is None and not content_is(segment, dsn - 1):
            return False
        incoming.take_whole(segment, dsn)
        return True

    def _take_mapping(self, dss: Dss, segment: Segment, now: int) -> bool:
        connection = self.connection
        # Section 3.3: whether there is a checksum was agreed on. RFC 6824 section 3.3 passes over one
        # that was not.
        mismatch = (dss.checksum != UNKNOWN) != connection.agreed.checksum and not dss.is_infinite()
        if mismatch and (connection.agreed.checksum or connection.agreed.version != VERSION_0):
            self.reset(REASON_MPTCP_SPECIFIC, "checksum presence", now)
            return False
        inbound = self._inbound
        dsn = inbound.dsn_of(dss)
        if dss.dsn_octets == 8 and inbound.widen_ack():
            connection.on_longer_numbers()
        if dss.data_level_length == 0:
            ssn = unwrap(dss.ssn, self.tcp.receiver.nxt)
            return self._fallback.on_infinite_mapping(self, dsn, ssn, segment.ack, now)
        length = dss.data_level_length
        if dss.data_fin:
            length -= 1
            if length == 0:
                if connection.agreed.checksum and not checksum_is_right(
                    (inbound.idsn + dsn) & 0xFFFFFFFFFFFFFFFF, dss.ssn, 1, 0, dss.checksum
                ):
                    connection.count("MPTcpExtDataCsumErr")
                    return True
                news = inbound.fin_at == UNKNOWN and dsn >= inbound.nxt
                if news or self.tcp.answers.allowed(now):
                    # A repeated DATA_FIN is answered, too: our answer may be lost. Linux has it on every ACK.
                    self.tcp.receiver.request_ack()
                inbound.on_fin(dsn, self, now)
                return not self.tcp.ended
        ssn = unwrap(dss.ssn, self.tcp.receiver.nxt)
        return self.take_mapping(Mapping(ssn, dsn, length, dss.data_fin, dss.checksum), segment, now)

    def take_first_mapping(self, length: int, checksum: int, segment: Segment, now: int) -> bool:
        """Take the MP_CAPABLE that stands in for the first DSS; return False if the subflow was reset."""
        self.dss_received = True
        self.connection.on_dss(now)
        return self.take_mapping(Mapping(1, 1, length, False, checksum), segment, now)

    def take_mapping(self, mapping: Mapping, segment: Segment, now: int) -> bool:
        """Take a mapping that a segment brought; return False if the subflow was reset for it."""
        if mapping.data_fin:
            self._inbound.on_fin(mapping.dsn + mapping.length, self, now)
        return self.incoming.take(mapping, segment, now)

    # --- Acknowledgments and failure ------------------------------------------------------------------

    def on_timeout(self, now: int) -> None:
        """The subflow's retransmission timer expired: what it carries goes elsewhere, too."""
        self.connection.on_subflow_timeout(self, now)
        self.watch.on_timeout(now)

    # --- Timers ---------------------------------------------------------------------------------------

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        return min(
            self.handshake.repeat_at,
            self.signals.send_at,
            self.watch.next_deadline(),
            self.fail_signal.next_deadline(),
        )

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        self.handshake.handle_timers(now)
        self.signals.handle_timers(now)
        self.watch.handle_timers(now)
        self.fail_signal.handle_timers(now)


def subflow_of(tcp: Tcp) -> Subflow | None:
    """Return what MPTCP adds to a TCP connection, None if it adds nothing."""
    extension = tcp.extension
    return extension if isinstance(extension, Subflow) else None
