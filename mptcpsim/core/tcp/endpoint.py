"""One TCP connection, or one subflow of an MPTCP connection: segments, commands, timers.

``TcpEndpoint`` holds the two halves (``sender``, ``receiver``) and follows RFC 9293: its
section 3.10 is the order of this file. What becomes of a segment that arrives is in ``arrives``.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.host import TransportHost
from mptcpsim.core.mptcp_options import mptcp_length, padded_length
from mptcpsim.core.options import TIMESTAMPS_LENGTH, sack_length, syn_options_length
from mptcpsim.core.segment import (
    ACK,
    CWR,
    ECE,
    ECT0,
    NOT_ECT,
    OFFSET_OF_TCP,
    RST,
    SYN,
    TCP_HEADER,
    FlowWay,
    FourTuple,
    Packet,
    Segment,
    SynOptions,
    ip_header_length,
)
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp import states
from mptcpsim.core.tcp.answers import Answers
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.further_options import FurtherOptions, further_options
from mptcpsim.core.tcp.keepalive import Keepalive
from mptcpsim.core.tcp.receiver import MAX_SHIFT, Receiver, window_shift
from mptcpsim.core.tcp.seams import Owner
from mptcpsim.core.tcp.sender import Sender
from mptcpsim.core.tcp.states import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LISTEN,
    STATE_NAMES,
    SYN_RECEIVED,
    SYN_SENT,
)
from mptcpsim.core.window_log import OPENED, UPDATE, WITHHELD
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import MILLISECOND, NEVER

_MASK: Final = 0xFFFFFFFF


class TcpEndpoint(ControlBlock):
    """A TCP connection but for the arrival of segments: what it sends, its commands, its timers.

    Attributes:
        sender, receiver: the two halves.
        keepalive: the timer that probes an idle connection, None if that is off.
        answers: ACKs that answer unacceptable segments.
        further_options: options that TCP does not need itself, None without any.
        send_shift, receive_shift: stream offset minus relative sequence number of payload, in the two
            directions; -1 unless the extension was active and is not any more.
        way: where the network notes how the segments of the flow go, so that it need not look it up.
    """

    __slots__ = (
        "_offered_scale",
        "_outbox",
        "_syn_sent_at",
        "_syn_transmissions",
        "answers",
        "further_options",
        "keepalive",
        "receive_shift",
        "receiver",
        "send_shift",
        "sender",
        "way",
    )

    def __init__(
        self,
        host: TransportHost,
        connection: Owner,
        identifier: int,
        flow: FourTuple,
        config: TcpConfig,
        congestion: CongestionControl,
        mtu: int,
        iss: int,
        timestamp_offset: int,
    ) -> None:
        super().__init__(host, connection, identifier, flow, config, mtu, iss, timestamp_offset)
        self._outbox: list[Packet] = host.outbox
        self.way: FlowWay = FlowWay()
        self._offered_scale: int = window_shift(config) if config.window_scaling else UNKNOWN
        self._syn_sent_at: int = 0
        self._syn_transmissions: int = 0
        self.receive_shift: int = -1
        self.send_shift: int = -1
        self.receiver = Receiver(self, config)
        self.sender = Sender(self, self.receiver, congestion, config)
        self.keepalive = Keepalive(self, self.sender, config) if config.keepalive else None
        self.answers = Answers(self, config)
        self.further_options: FurtherOptions | None = further_options(config)
        self.extension = connection.extension_of(self)

    # --- Small services for the two halves ----------------------------------------------------

    def log(self, what: str, now: int, seq: int, length: int) -> None:
        """Note an event of the windows, if the host logs them."""
        log = self.connection.window_log
        if log is not None:
            receiver = self.receiver
            window = receiver.wnd_end - receiver.nxt
            log.add(what, now, self.identifier, seq, receiver.nxt, window, length)

    def log_opened(self, segment: Segment) -> None:
        """Note that a segment has opened a window that was closed."""
        log = self.connection.window_log
        if log is not None:
            window = segment.window << self.snd_scale
            now = self._host.now
            log.add(OPENED, now, self.identifier, segment.seq, segment.ack, window, segment.length)

    def log_now(self, what: str) -> None:
        """The same of an ACK that is being sent."""
        self.log(what, self._host.now, self.sender.nxt, 0)

    @property
    def scales_windows(self) -> bool:
        """Whether both ends scale their windows (RFC 7323 section 2.2)."""
        return self._offered_scale != UNKNOWN and self.receiver.nxt > 0

    @property
    def syn_retransmissions(self) -> int:
        """How often the SYN, or the SYN/ACK, was sent again."""
        return max(0, self._syn_transmissions - 1)

    def initial_window(self) -> int:
        """RFC 6928 section 2, in bytes; one segment after a SYN was lost more than once (RFC 6928 s. 2)."""
        mss = self.sender.mss
        if self._syn_transmissions > 2:
            return mss
        segments = self.config.initial_window_segments
        return min(segments * mss, max(2 * mss, segments * 1460))

    def deliver(self, left: int, length: int, now: int) -> None:
        """Hand on the next bytes: to the connection, or to MPTCP, which knows where they belong."""
        extension = self.extension
        if extension is not None and extension.is_active:
            extension.deliver(left, length, now)
        else:
            self.connection.on_data(self.identifier, left + self.receive_shift, length, now)

    def deliver_whole(self, segment: Segment, now: int) -> None:
        """Check and hand on all of a segment, which comes next."""
        extension = self.extension
        if extension is not None and extension.is_active:
            extension.deliver_whole(segment, now)
            return
        length = segment.length
        left = segment.seq
        if (
            segment.corrupt_payload
            or segment.payload is not None
            or segment.offset != left - 1
            or self.connection.received_bytes is not None
        ):
            self.check(segment, left, left + length)
        self.connection.on_data(self.identifier, left + self.receive_shift, length, now)

    def check(self, segment: Segment, left: int, right: int) -> None:
        """Take the content of bytes of a segment that have not arrived before.

        Old bytes are not looked at: whatever they are, they were taken as they came first
        (RFC 9293 section 3.10.7.4: segments are trimmed to what is new).
        """
        extension = self.extension
        if extension is not None and extension.is_active:
            extension.keep(segment, left, right)
        else:
            self.connection.take_new(segment, left, right, left + self.receive_shift)

    def acknowledged(self, now: int) -> None:
        """Data of ours was acknowledged."""
        self.connection.on_acked(self.identifier, now)

    def fin_was_sent(self) -> None:
        """Our FIN has a sequence number now: the state follows."""
        self.move(states.CLOSE)

    # --- Sending ------------------------------------------------------------------------------

    def emit(self, seq: int, length: int, flags: int, ect: bool, now: int) -> None:
        """Send one segment with the current acknowledgment, window and options."""
        extension = self.extension
        if extension is not None and extension.is_active:
            extension.emit(seq, length, flags, ect, now)
            return
        receiver = self.receiver
        size = self.header + length
        sack = receiver.sack_blocks()
        if sack is not None:
            size += sack_length(len(sack))
        if receiver.ecn_echo and self.ecn:
            flags |= ECE
        payload: bytes | None = None
        if length and self.connection.sent_bytes is not None:
            payload = self.connection.sent_bytes.take(seq + self.send_shift, length)
        segment = Segment(
            self.flow,
            size,
            self.sequences,
            flags,
            seq,
            receiver.nxt,
            receiver.window_field(),
            length,
            (now // MILLISECOND + self._timestamp_offset) & _MASK if self.timestamps else UNKNOWN,
            receiver.ts_recent if self.timestamps else UNKNOWN,
            sack,
            ECT0 if ect else NOT_ECT,
            None,
            None,
            seq + self.send_shift,
            payload=payload,
            way=self.way,
        )
        if extension is not None:
            extension.complete(segment)
        if self.further_options is not None:
            self.further_options.complete(segment)
        receiver.on_ack_sent()
        self.send_out(segment)

    def discard_output(self) -> None:
        """Discard all output from now on: the host has lost the local address."""
        self._outbox = self._host.discarded

    def resume_output(self) -> None:
        """Send again: the host has the local address back."""
        self._outbox = self._host.outbox

    def last_sent(self) -> Segment:
        """Return the segment that was put on the outbox last."""
        segment = self._outbox[-1]
        assert isinstance(segment, Segment)
        return segment

    def send_out(self, segment: Segment) -> None:
        """Put a segment on the outbox."""
        self._host.counters.count_out()
        self._outbox.append(segment)

    def set_signal_bytes(self, count: int) -> None:
        """Set the room that options of MPTCP take on data segments; the MSS follows."""
        if count == self.signal_bytes:
            return
        self.signal_bytes = count
        sender = self.sender
        if sender.mss:
            sender.update_mss()
            if sender.congestion.mss:
                sender.congestion.on_mss(sender.mss)

    def detach_extension(self, sent: int, written: int, delivered: int, done: int) -> None:
        """Continue both directions of the stream as plain TCP, without the extension.

        Args:
            sent: stream offset of the byte after the last one that this connection was given.
            written: stream offset of the byte after the last one that the application has written.
            delivered: stream offset of the next byte of the peer.
            done: relative sequence number of that byte.
        """
        sender = self.sender
        end = max(sender.end, 1)
        self.send_shift = sent - end
        self.receive_shift = delivered - done
        sender.detach_source(end + written - sent)

    def send_ack(self, now: int) -> None:
        """Send a segment without data."""
        self.emit(self.sender.nxt, 0, ACK, False, now)

    def emit_syn(self, now: int) -> None:
        """Send the SYN, or the SYN,ACK, again or for the first time (RFC 7323 2.2, RFC 3168 6.1.1)."""
        flags = SYN
        answer = self.state == SYN_RECEIVED
        if answer:
            flags |= ACK
        if self.ecn:
            flags |= ECE if answer else ECE | CWR
        receiver = self.receiver
        offer_sack = self.config.sack if not answer else receiver.sack
        options = SynOptions(self.announced_mss(), self._offered_scale, offer_sack)
        size = ip_header_length(self.flow.dst) + TCP_HEADER + syn_options_length(options, self.timestamps)
        extension = self.extension
        signal = None if extension is None else extension.syn_option(answer, self._syn_transmissions)
        size += padded_length(signal) if signal is not None else 0
        segment = Segment(
            self.flow,
            size,
            self.sequences,
            flags,
            0,
            receiver.nxt,
            receiver.syn_window() if extension is None else extension.syn_window(),
            0,
            self.timestamp(now) if self.timestamps else UNKNOWN,
            (receiver.ts_recent if answer else 0) if self.timestamps else UNKNOWN,
            None,
            NOT_ECT,
            None,
            None if signal is None else (signal,),
            OFFSET_OF_TCP,
            options,
            self.sequences.iss,
        )
        if self.further_options is not None:
            self.further_options.complete_syn(segment, answer)
        self.sender.on_syn_sent()
        if answer:
            receiver.on_ack_sent()
        self._syn_transmissions += 1
        self._syn_sent_at = now
        self.send_out(segment)
        self.sender.restart_rto(now)

    def announced_mss(self) -> int:
        """Return the MSS option to send (RFC 6691): what fits the MTU without any option."""
        fits = self.mtu - ip_header_length(self.flow.dst) - TCP_HEADER
        return min(self.config.mss, fits) if self.config.mss else fits

    def send_reset(self, seq: int, with_ack: bool, now: int) -> None:
        """Send a RST with sequence number ``seq``."""
        stamped = self.timestamps and self.option_bytes != 0
        header = ip_header_length(self.flow.dst) + TCP_HEADER + (TIMESTAMPS_LENGTH if stamped else 0)
        options = () if self.extension is None else self.extension.reset_options()
        segment = Segment(
            self.flow,
            header + mptcp_length(None, options),
            self.sequences,
            RST | ACK if with_ack else RST,
            seq,
            self.receiver.nxt if with_ack else 0,
            0,
            0,
            self.timestamp(now) if stamped else UNKNOWN,
            self.receiver.ts_recent if stamped else UNKNOWN,
            None,
            NOT_ECT,
            None,
            options or None,
        )
        self.count("TcpOutRsts")
        self.send_out(segment)

    # --- Commands (RFC 9293 sections 3.10.1, 3.10.4, 3.10.5) --------------------------------------

    def open_active(self, now: int) -> None:
        """OPEN: send a SYN."""
        self.move(states.ACTIVE_OPEN)
        self.count("TcpActiveOpens")
        self.emit_syn(now)

    def open_passive(self, syn: Segment, now: int) -> None:
        """A SYN reached a listener (section 3.10.7.2, third step)."""
        self._enter(states.PASSIVE_OPEN)
        self.passive = True
        self.take_syn(syn, now)
        self.move(states.SYN_ARRIVED)
        self.emit_syn(now)

    def close(self, now: int) -> None:
        """CLOSE: no more data will be written; the FIN follows what is queued."""
        if self.state in (CLOSED, LISTEN) or self.sender.fin_wanted:
            return
        if self.state == SYN_SENT:
            self.finish("closed before it was established", now)
            return
        self.sender.close()
        if self.state != SYN_RECEIVED:
            self.sender.output(now)

    def abort(self, now: int, reason: str = "aborted") -> None:
        """ABORT: reset the connection, unless both ends have closed it already."""
        answered = self.state == SYN_SENT and self.receiver.nxt > 0
        if answered or self.state in (SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
            self.send_reset(self.sender.nxt, True, now)
        self.finish(reason, now)

    def give_up(self, reason: str, now: int) -> None:
        """The peer does not answer any more (section 3.8.3)."""
        self.count("TcpExtTCPAbortOnTimeout")
        self.abort(now, reason)

    def most_timeouts(self) -> int:
        """Return how many time-outs in a row are borne."""
        extension = self.extension
        most = self.config.data_retries
        return most if extension is None or not extension.is_active else extension.most_timeouts(most)

    def on_read(self, now: int) -> None:
        """The application made room in the receive buffer: tell the peer if it is worth a segment."""
        if self.state not in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            return
        missing = self.receiver.missing_to_update()
        if missing <= 0:
            self.send_ack(now)
            self.log(UPDATE, now, self.sender.nxt, 0)
        elif self.connection.window_log is not None:
            self.connection.window_log.add(WITHHELD, now, self.identifier, 0, 0, missing, 0)

    def finish(self, error: str, now: int) -> None:
        """Enter CLOSED and tell the connection; an empty ``error`` is an orderly end."""
        if self.ended:
            return
        self.ended = True
        before = self._enter(states.ENDED)
        if before in (SYN_SENT, SYN_RECEIVED):
            # RFC 4022: tcpAttemptFails and tcpEstabResets count direct transitions to CLOSED.
            self.count("TcpAttemptFails")
        elif before in (ESTABLISHED, CLOSE_WAIT):
            self.count("TcpEstabResets")
        if error:
            self.error = error
            self.note("closed", f"{STATE_NAMES[before]} -> CLOSED: {error}")
        self.wait_over_at = NEVER
        self.sender.stop(now)
        self.receiver.stop()
        if self.keepalive is not None:
            self.keepalive.stop()
        self._host.forget(self.flow)
        self.connection.on_closed(self.identifier, now)

    # --- The handshake ------------------------------------------------------------------------

    def take_syn(self, syn: Segment, now: int) -> None:
        """Take the peer's sequence number and options from its SYN."""
        self.sequences.on_syn(syn.iss)
        options = syn.syn
        if options is None:
            options = SynOptions(self.sender.peer_mss, UNKNOWN, False)
        if options.window_scale == UNKNOWN:
            self._offered_scale = UNKNOWN
        if syn.ts_val == UNKNOWN:
            self.timestamps = False
        sack = self.config.sack and options.sack_permitted
        answer = (syn.flags & (ECE | CWR)) == (ECE if syn.flags & ACK else ECE | CWR)
        self.ecn = self.ecn and answer
        scale = 0
        if self._offered_scale != UNKNOWN:
            scale = self._offered_scale
            self.snd_scale = min(options.window_scale, MAX_SHIFT)
        self.receiver.on_syn(syn, self.announced_mss(), scale, sack, now)
        self.option_bytes = TIMESTAMPS_LENGTH if self.timestamps else 0
        self.header = ip_header_length(self.flow.dst) + TCP_HEADER + self.option_bytes
        if self.further_options is not None:
            self.further_options.take_syn(syn)
            self.option_bytes += self.further_options.length
        self.sender.on_syn(syn, options.mss)

    def establish(self, now: int) -> None:
        """The handshake is complete."""
        rtt = now - self._syn_sent_at if self._syn_transmissions == 1 else -1
        self.sender.establish(rtt, self.receiver.sack, now)
        self.established_at = now
        if self.keepalive is not None:
            self.keepalive.start(now)
        self.connection.on_established(self.identifier, now)

    def restart_time_wait(self, now: int) -> None:
        """Enter TIME-WAIT, or begin its 2 MSL again."""
        self.sender.cancel_timers()
        self.wait_over_at = now + self.config.time_wait
        self.wake_by(self.wait_over_at)

    def wait_for_fin(self, now: int) -> None:
        """In FIN-WAIT-2, bound the wait for the peer's FIN unless the application may still read.

        RFC 9293 section 3.6 has no end of it: after a half-close reading goes on as long as the peer
        likes. A connection that its application has given up is forgotten by itself (Linux:
        ``tcp_fin_timeout``), whatever the peer does, and so is a subflow for which no data can come.
        """
        if self.state == FIN_WAIT_2 and self.wait_over_at == NEVER and not self.connection.receives:
            self.wait_over_at = now + self.config.fin_timeout
            self.wake_by(self.wait_over_at)

    # --- Path MTU discovery (RFC 1191, RFC 8201) --------------------------------------------------

    def on_path_mtu(self, mtu: int, now: int) -> None:
        """A router says that no more than ``mtu`` bytes pass."""
        if mtu >= self.mtu:
            return
        self.mtu = mtu
        self.note("path mtu", f"{mtu}")
        sender = self.sender
        if sender.mss == 0:
            return
        sender.update_mss()
        if self.state >= ESTABLISHED:
            sender.congestion.on_mss(sender.mss)
            sender.on_smaller_mss(now)

    def on_soft_error(self, kind: str) -> None:
        """An ICMP error that may pass: remembered, and reported if the connection times out."""
        self.soft_error = kind
        self.note("icmp", kind)

    # --- Timers -------------------------------------------------------------------------------

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        sender = self.sender
        recovery = sender.recovery
        return min(
            sender.rto_at,
            sender.window_probe.at,
            sender.window_probe.override_at,
            recovery.tlp_at,
            recovery.reo_at,
            self.receiver.ack_at,
            self.wait_over_at,
            NEVER if self.keepalive is None else self.keepalive.at,
            NEVER if self.extension is None else self.extension.next_deadline(),
        )

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        sender = self.sender
        recovery = sender.recovery
        if self.receiver.ack_at <= now:
            self.count("TcpExtDelayedACKs")
            self.send_ack(now)
        if recovery.reo_at <= now:
            recovery.on_reordering_timer(now)
        if recovery.tlp_at <= now:
            recovery.on_probe_timer(now)
        if sender.rto_at <= now:
            if self.state in (SYN_SENT, SYN_RECEIVED):
                self._on_syn_timeout(now)
            else:
                sender.on_rto(now)
        if sender.window_probe.at <= now:
            sender.window_probe.on_timer(now)
        if sender.window_probe.override_at <= now:
            sender.window_probe.on_override(now)
        if self.keepalive is not None and self.keepalive.at <= now:
            self.keepalive.on_timer(now)
        if self.extension is not None:
            self.extension.handle_timers(now)
        if self.wait_over_at <= now and not self.ended:
            self.move(states.WAIT_OVER)
            self.finish("", now)
        self.wake_by(self.next_deadline())

    def _on_syn_timeout(self, now: int) -> None:
        """The SYN or SYN,ACK was not answered (RFC 6298 section 5.7, RFC 9293 section 3.8.3)."""
        if self.sender.rtt.backoff >= self.config.syn_retries:
            self.finish(self.soft_error or "timed out: the SYN was not answered", now)
            return
        self.count("TcpExtTCPTimeouts")
        self.count("TcpExtTCPSynRetrans")
        self.count("TcpRetransSegs")
        self.sender.rtt.back_off()
        self.emit_syn(now)
