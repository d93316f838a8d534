"""What MPTCP adds to one TCP subflow: mappings, DSS, signals, the state of its handshake.

A ``Tcp`` has a ``Subflow`` if its connection may speak MPTCP. What goes out passes
``emit``, what comes in ``take`` (after TCP has found the segment acceptable, RFC 8684
section 3) and ``deliver`` (bytes that are in order on this subflow).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp.dss_checksum import checksum_is_right, dss_checksum, payload_sum
from mptcpsim.core.mptcp.fail_signal import FailSignal
from mptcpsim.core.mptcp.handshake import CapableHandshake
from mptcpsim.core.mptcp.join_handshake import JoinHandshake
from mptcpsim.core.mptcp.mapped_data import MappedData
from mptcpsim.core.mptcp.mappings import Mapping, narrow, widen
from mptcpsim.core.mptcp.path_watch import PathWatch
from mptcpsim.core.mptcp.priority import Priority
from mptcpsim.core.mptcp.signals import Signals
from mptcpsim.core.mptcp.stages import FELL_BACK, KEYS_ARRIVED, PLAIN, PRE_ESTABLISHED, STAGE_TRANSITIONS
from mptcpsim.core.mptcp.subflow_state import SubflowState
from mptcpsim.core.mptcp_options import (
    REASON_MPTCP_SPECIFIC,
    VERSION_0,
    Dss,
    MptcpOption,
    mptcp_length,
)
from mptcpsim.core.options import OPTION_SPACE, TIMESTAMPS_LENGTH, sack_blocks_that_fit, sack_length
from mptcpsim.core.payload import content_is, pattern
from mptcpsim.core.segment import ACK, ECE, ECT0, FIN, NOT_ECT, Segment
from mptcpsim.core.sequences import UNKNOWN, unwrap
from mptcpsim.core.window_log import IGNORED, ZERO
from mptcpsim.plugins import SubflowInfo
from mptcpsim.units import NEVER

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.tcp.arrives import Tcp

_MASK: Final = 0xFFFFFFFF


class Subflow(SubflowState):
    """The MPTCP side of a subflow: what TCP asks of it, what it sends, and what it takes from segments."""

    __slots__ = ()

    def __init__(self, connection: MptcpConnection, tcp: Tcp, is_join: bool) -> None:
        super().__init__(connection, tcp, is_join)
        self.incoming = MappedData(self)
        self.watch = PathWatch(self)
        self.fail = FailSignal(self)
        self.signals = Signals(self, connection.inbound, self.fail)
        self.priority = Priority(self, connection.outbound, self.signals)
        self.join = JoinHandshake(self, connection.addresses, self.priority) if is_join else None
        self.handshake = self.join or CapableHandshake(self, connection.outbound, connection.inbound)

    # --- The stage --------------------------------------------------------------------------------

    def advance(self, cause: str) -> None:
        """Change the stage as the table has it."""
        self.stage = STAGE_TRANSITIONS[self.stage, cause]
        if cause == KEYS_ARRIVED:
            self.keys_due = True
        if not self.speaks and self.stage != PLAIN:
            self.speaks = True
            self.tcp.set_signal_bytes(self.data_option_space())

    def become_plain(self) -> None:
        """Leave MPTCP for ever: the connection goes on as plain TCP on this subflow."""
        self.advance(FELL_BACK)
        self.speaks = False
        self.handshake.stop()
        self.signals.stop()
        self.watch.stop()
        self.fail.stop()

    # --- What the connection asks for -------------------------------------------------------------

    def info(self) -> SubflowInfo:
        """Return what a path manager may know of the subflow."""
        tcp = self.tcp
        flow = tcp.flow
        handshake = self.handshake
        return SubflowInfo(
            self.number,
            flow.src,
            handshake.local_id,
            flow.dst,
            handshake.remote_id,
            flow.dport,
            self.priority.is_backup,
            not tcp.passive,
        )

    def open(self, backup: bool, now: int) -> None:
        """Send the SYN of a join, perhaps as a backup."""
        assert self.join is not None
        self.join.begin(backup)
        self.tcp.open_active(now)

    def third_ack_option(self) -> MptcpOption:
        """Return the option of the third ACK."""
        return self.handshake.third_ack_option()

    def on_remote_address_removed(self, now: int) -> None:
        """The peer has removed the address that the subflow goes to."""
        self.watch.on_address_removed(now)

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
        self.connection.joins.on_third_ack_sent(now)

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
        dss = self.connection.fallback.mapping_for(segment)
        if dss is not None:
            segment.say(dss, None, self.tcp.header)
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
        if incoming.current_dsn == UNKNOWN:
            incoming.keep(segment, left, left + segment.length)
        incoming.deliver(left, segment.length, now)

    def on_fin(self, segment: Segment) -> None:
        """The FIN of the peer has arrived: with a DSS it is no plain peer's end of stream."""
        self.fin_with_dss = segment.dss is not None or segment.options is not None

    def on_reset(self, segment: Segment, now: int) -> None:
        """Note why the peer resets this subflow."""
        self.connection.take_options_of_reset(self, segment, now)

    def most_timeouts(self, most: int) -> int:
        """Return how many time-outs in a row are borne: fewer where another subflow works."""
        if len(self.connection.usable()):
            return min(most, self.connection.config.mptcp.subflow_retries)
        return most

    # --- Sending ----------------------------------------------------------------------------------

    def data_option_space(self) -> int:
        """Return the bytes that a mapping with a DATA_ACK takes on a data segment (section 3.3)."""
        connection = self.connection
        numbers = connection.inbound.ack_octets + connection.outbound.octets
        length = numbers + (12 if connection.agreed.checksum else 10)
        return max((length + 3) & ~3, 24 if self.keys_due and connection.agreed.version != VERSION_0 else 0)

    def next_has_keys(self) -> bool:
        """Return whether the next mapping travels as MP_CAPABLE (RFC 8684 section 3.1)."""
        connection = self.connection
        first = self.tcp.sender.end == 1 and connection.outbound.nxt == 1
        return self.keys_due and connection.agreed.version != VERSION_0 and first

    def send_data(self, dsn: int, length: int, data_fin: bool, push: bool, now: int) -> None:
        """Map bytes of the connection onto this subflow and send them at once."""
        sender = self.tcp.sender
        ssn = sender.end
        if ssn + length > sender.edge and not self._ahead:
            # The window of the connection has stretched that of the subflow.
            self.connection.count("MPTcpExtSndWndShared")
        checksum = UNKNOWN
        connection = self.connection
        if connection.agreed.checksum:
            full = (connection.outbound.idsn + dsn) & 0xFFFFFFFFFFFFFFFF
            total = length + 1 if data_fin else length
            checksum = dss_checksum(full, ssn & _MASK, total, payload_sum(pattern(dsn - 1, length)))
        self.mappings.append(Mapping(ssn, dsn, length, data_fin, checksum))
        if self._ahead:
            sender.send_when_possible(length, now)
        else:
            sender.send_now(length, push, now)

    def send_data_fin(self, now: int) -> None:
        """Send a DATA_FIN that no data goes with: subflow sequence number 0, length 1."""
        self.emit(self.tcp.sender.nxt, 0, ACK, False, now, data_fin=True)

    def _mapping_dss(self, mapping: Mapping) -> Dss:
        connection = self.connection
        ack = connection.inbound.ack_dss()
        octets = connection.outbound.octets
        return Dss(
            ack.data_ack_octets,
            ack.data_ack,
            octets,
            narrow(mapping.dsn, octets, connection.outbound.idsn),
            mapping.ssn & _MASK,
            mapping.length + 1 if mapping.data_fin else mapping.length,
            mapping.checksum,
            mapping.data_fin,
        )

    def _data_fin_dss(self) -> Dss:
        """RFC 8684 section 3.3.3: without data the checksum covers the pseudo header alone."""
        connection = self.connection
        outbound = connection.outbound
        ack = connection.inbound.ack_dss()
        octets = connection.outbound.octets
        checksum = UNKNOWN
        if connection.agreed.checksum:
            checksum = dss_checksum((outbound.idsn + outbound.end) & 0xFFFFFFFFFFFFFFFF, 0, 1, 0)
        return Dss(
            ack.data_ack_octets,
            ack.data_ack,
            octets,
            narrow(outbound.end, octets, outbound.idsn),
            0,
            1,
            checksum,
            True,
        )

    def send_ack_with(self, dss: Dss | None, options: tuple[MptcpOption, ...], now: int) -> None:
        """Send an ACK with just these options of MPTCP beside the timestamps."""
        self.tcp.send_ack(now)
        segment = self.tcp.last_sent()
        segment.say(dss, options or None, self.tcp.header)
        if self.tcp.further_options is not None:
            self.tcp.further_options.complete(segment)

    def emit(self, seq: int, length: int, flags: int, ect: bool, now: int, data_fin: bool = False) -> None:
        """Send one segment with the options of MPTCP; the 40 bytes of options are divided here.

        The timestamps come first, then what MPTCP has to say; SACK blocks take what is left, so that a
        block is dropped before a DATA_ACK is (RFC 8684 appendix A).
        """
        tcp = self.tcp
        receiver = tcp.receiver
        inbound = self.connection.inbound
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
        elif self.signals.waiting or self.keys_due or self.stage == PRE_ESTABLISHED or self.fail.due:
            dss, options, stamped = self.signals.take_for_ack(
                OPTION_SPACE - TIMESTAMPS_LENGTH if stamped else OPTION_SPACE
            )
            used = mptcp_length(dss, options)
        elif self._ack_on_updates:
            dss = inbound.ack_dss()
            used = 4 + inbound.ack_octets
        elif receiver.nxt > receiver.last_ack_sent or inbound.nxt > inbound.last_sent:
            dss = inbound.say_ack()
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
        if self._own_books:
            field = self.connection.window_updates.own_window_field(self)
        else:
            field = inbound.window_field(receiver.scale)
            receiver.promise(nxt + (field << receiver.scale))
            edge = inbound.edge
            if edge != self._edge_sent:
                self._edge_sent = edge
                if not inbound.is_news(edge):
                    # Another subflow has announced this edge before (section 3.3.5).
                    self.connection.count("MPTcpExtRcvWndShared")
        if not field:
            tcp.log(ZERO, now, seq, length)
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
        )
        if dss is not None:
            self.dss_sent = True
        if tcp.further_options is not None:
            tcp.further_options.complete(segment)
        receiver.on_ack_sent()
        tcp.send_out(segment)

    # --- Receiving ----------------------------------------------------------------------------------

    def take(self, segment: Segment, now: int) -> bool:
        """Act on the options of an acceptable segment; return False if the subflow ended with it."""
        incoming = self.incoming
        incoming.begin()
        if self.stage == PLAIN:
            if segment.options is not None or segment.dss is not None:
                return self.connection.fallback.on_options_when_plain(self, segment, now)
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
        if not self.speaks:
            return True
        dss = segment.dss
        if dss is None:
            return self._take_without_dss(segment, now)
        self.dss_received = True
        if dss.data_ack_octets:
            self.bare_acks = 0
            if not self.confirmed:
                self.confirmed = True
                self.on_confirmed(now)
            if not self.proven and segment.ack > 1:
                self.proven = True
            if dss.data_ack != self._seen_ack or segment.window != self._seen_window:
                # What says the same as the segment before is no news: most data, when data flows one way.
                self._seen_ack = dss.data_ack
                self._seen_window = segment.window
                outbound = self.connection.outbound
                ack = widen(dss.data_ack, dss.data_ack_octets, outbound.idsn, outbound.una)
                outbound.on_data_ack(ack, segment.window << self.tcp.snd_scale, self, segment, now)
                if self.tcp.ended:
                    return False
        elif not segment.length:
            self._ignore_window(segment, now)
        if dss.dsn_octets:
            if (
                segment.seq == incoming.done
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
        if self.dss_received and segment.ack + (segment.window << self.tcp.snd_scale) > sender.edge:
            self.connection.count("MptcpsimUpdateWithoutDataAck")
            self.log_heard(IGNORED, segment, now)

    def log_heard(self, what: str, segment: Segment, now: int) -> None:
        """Note what a segment of the peer did to a window."""
        log = self.connection.window_log
        if log is not None:
            window = segment.window << self.tcp.snd_scale
            log.add(what, now, self.number, segment.seq, segment.ack, window, segment.length)

    def on_confirmed(self, now: int) -> None:
        """The peer has our keys: the first DATA_ACK came."""
        if self.keys_due:
            self.keys_due = False
            self.tcp.set_signal_bytes(self.data_option_space())
        self.connection.on_confirmed(self, now)

    def _take_without_dss(self, segment: Segment, now: int) -> bool:
        """A segment without DSS is either nothing special or the sign of a middlebox (section 3.7)."""
        sender = self.tcp.sender
        if segment.ack > sender.una:
            self.bare_acks += 1
        elif not segment.length:
            self._ignore_window(segment, now)
        news = segment.ack > max(sender.una, 1)
        if not self.proven and news and segment.options is None and not self.incoming.covers(segment):
            # Data of ours is acknowledged on the subflow, and there is no DATA_ACK; nor another option of
            # MPTCP, which may have left no room for one, and shows that options pass.
            why = "an ACK of data came without DATA_ACK"
            return self.connection.fallback.on_options_missing(self, why, now)
        bare_fin = segment.flags & FIN and segment.options is None
        unmapped = (segment.length or bare_fin) and not self.incoming.covers(segment)
        # A FIN, too: where it is the first that is heard, it ends the stream of a peer that speaks TCP.
        if unmapped and not self.dss_received and self.connection.is_only(self) and not self.is_join:
            return self.connection.fallback.on_first_data_unmapped(self, now)
        return True

    def _takes_usual(self, dss: Dss, segment: Segment) -> bool:
        """Take the mapping of a segment that is next in order and that it covers exactly.

        The short path of ``_take_mapping``: what it takes, that one would take alike.
        """
        connection = self.connection
        inbound = connection.inbound
        incoming = self.incoming
        if (
            incoming.received.mappings
            or connection.agreed.checksum
            or dss.dsn_octets > inbound.ack_octets
            or not segment.length
            or not connection.config.header_prediction
            or segment.seq != self.tcp.receiver.nxt
        ):
            return False
        dsn = widen(dss.dsn, dss.dsn_octets, inbound.idsn, inbound.nxt)
        if not content_is(segment, dsn - 1):
            return False
        incoming.take_whole(segment, dsn)
        return True

    def _take_mapping(self, dss: Dss, segment: Segment, now: int) -> bool:
        connection = self.connection
        # Section 3.3: whether there is a checksum was agreed on. RFC 6824 section 3.3 passes over one
        # that was not.
        mismatch = (dss.checksum != UNKNOWN) != connection.agreed.checksum and not dss.is_infinite()
        if mismatch and (connection.agreed.checksum or connection.agreed.version != VERSION_0):
            connection.reset_subflow(self, REASON_MPTCP_SPECIFIC, "checksum presence", now)
            return False
        inbound = connection.inbound
        dsn = inbound.relative(dss.dsn, dss.dsn_octets)
        if dss.dsn_octets == 8 and inbound.widen_ack():
            connection.on_longer_numbers()
        if dss.data_level_length == 0:
            ssn = unwrap(dss.ssn, self.tcp.receiver.nxt)
            return connection.fallback.on_infinite_mapping(self, dsn, ssn, segment.ack, now)
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
                    # Again is no news. But our answer may be lost, and Linux has it on every ACK till then.
                    self.tcp.receiver.request_ack()
                inbound.on_fin(dsn, self, now)
                return not self.tcp.ended
        ssn = unwrap(dss.ssn, self.tcp.receiver.nxt)
        return self.take_mapping(Mapping(ssn, dsn, length, dss.data_fin, dss.checksum), segment, now)

    def take_first_mapping(self, length: int, checksum: int, segment: Segment, now: int) -> bool:
        """Take the MP_CAPABLE that stands in for the first DSS; return False if the subflow was reset."""
        self.dss_received = True
        self.connection.joins.on_dss(now)
        return self.take_mapping(Mapping(1, 1, length, False, checksum), segment, now)

    def take_mapping(self, mapping: Mapping, segment: Segment, now: int) -> bool:
        """Take a mapping that a segment brought; return False if the subflow was reset for it."""
        if mapping.data_fin:
            self.connection.inbound.on_fin(mapping.dsn + mapping.length, self, now)
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
            self.fail.next_deadline(),
        )

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        self.handshake.handle_timers(now)
        self.signals.handle_timers(now)
        self.watch.handle_timers(now)
        self.fail.handle_timers(now)


def subflow_of(tcp: Tcp) -> Subflow | None:
    """Return what MPTCP adds to a TCP connection, None if it adds nothing."""
    extension = tcp.extension
    return extension if isinstance(extension, Subflow) else None
