"""Timers for a window that keeps the sender from sending.

The persist timer (RFC 9293 section 3.8.6.1) probes a closed window. The override time-out of the
sender's silly-window avoidance (section 3.8.6.2.1) uses a window that stays too small.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.segment import ACK, FIN, PSH
from mptcpsim.core.tcp.send_state import SendState
from mptcpsim.core.window_log import CLOSED, OVERRIDE, PROBE
from mptcpsim.units import MILLISECOND, NEVER

#: RFC 9293 section 3.8.6.2.1: 0.1 to 1 s.
SWS_OVERRIDE: Final = 200 * MILLISECOND


class WindowProbe:
    """The state of probing; times in ns.

    Attributes:
        at: when the persist timer is due.
        override_at: when a small window is used after all.
        end: end of what probes carried beyond SND.NXT; an ACK may go that far.
        interval: how long the timer runs this time.
        shift: how often the persist interval was doubled.
        unanswered: probes since the peer was last heard.
    """

    __slots__ = ("_sender", "at", "end", "interval", "override_at", "shift", "unanswered")

    def __init__(self, sender: SendState) -> None:
        self._sender = sender
        self.at: int = NEVER
        self.override_at: int = NEVER
        self.end: int = 0
        self.interval: int = 0
        self.shift: int = 0
        self.unanswered: int = 0

    def start(self, end: int) -> None:
        """Nothing was probed yet: the SYN ends at ``end``."""
        self.end = end

    def on_first_sent(self) -> None:
        """Data is in flight, and was not before: the retransmission timer takes over."""
        self.at = NEVER

    def on_data_sent(self) -> None:
        """New data was sent: no small window holds it back."""
        self.override_at = NEVER

    def stop(self) -> None:
        """The connection has ended."""
        self.at = self.override_at = NEVER

    def wait(self, now: int) -> None:
        """Data is pending and nothing is in flight: make sure that some timer is running."""
        sender = self._sender
        if self._closed():
            if self.at == NEVER:
                self.shift = 0
                self._arm(now)
                sender.tcp.note("window closed by peer", f"edge {sender.wnd_end}")
                sender.tcp.log(CLOSED, now, sender.nxt, 0)
        elif self.override_at == NEVER:
            self.override_at = now + SWS_OVERRIDE
            sender.tcp.wake_by(self.override_at)

    def on_ack(self) -> None:
        """The peer was heard, if only in answer to a probe: it lives.

        As long as it answers the connection stays open, whatever its answers say of the window (RFC 9293
        section 3.8.6.1): they may be too old to name one, where its own data waits to be acknowledged.
        """
        self.unanswered = 0

    def on_window(self) -> None:
        """The peer named its window; how the probing goes on is decided in ``output``."""
        if self.at != NEVER and not self._closed():
            self.at = NEVER
            self.shift = 0

    def _closed(self) -> bool:
        """Return whether a window keeps data back: the subflow's, or under MPTCP the connection's."""
        sender = self._sender
        extension = sender.tcp.extension
        if extension is not None and extension.is_active:
            return extension.is_blocked()
        return sender.wnd_end <= sender.nxt

    def _arm(self, now: int) -> None:
        sender = self._sender
        least = 0
        shift = self.shift
        source = sender.source
        if source is not None:
            least = source.persist_min
            shift = max(shift, source.persist_shift)
        self.interval = min(max(sender.rtt.rto << min(shift, 32), least), sender.tcp.config.persist_max)
        self.at = now + self.interval
        sender.tcp.wake_by(self.at)

    def on_timer(self, now: int) -> None:
        """The window is still closed: probe it, and back off."""
        self.at = NEVER
        sender = self._sender
        tcp = sender.tcp
        if len(sender.board) or not self._closed():
            sender.output(now)
            return
        if self.unanswered >= tcp.config.data_retries:
            tcp.give_up("timed out: window probes were not answered", now)
            return
        self.unanswered += 1
        tcp.count("TcpExtTCPWinProbe")
        nxt = sender.nxt
        if self._is_empty():
            # Linux: an old sequence number, which the peer must answer with an ACK.
            tcp.emit(sender.una - 1, 0, ACK, False, now)
        else:
            # RFC 9293: at least one octet of new data; where only the FIN is left, the FIN.
            self.end = max(self.end, nxt + 1)
            if nxt < sender.end:
                tcp.emit(nxt, 1, ACK | (PSH if nxt + 1 == sender.end else 0), False, now)
            else:
                tcp.emit(nxt, 0, ACK | FIN, False, now)
        tcp.log(PROBE, now, tcp.last_sent().seq, tcp.last_sent().length)
        self.shift += 1
        self._arm(now)

    def _is_empty(self) -> bool:
        """Return whether a probe carries no data: under MPTCP only mapped data could be sent."""
        sender = self._sender
        config = sender.tcp.config
        if sender.source is not None:
            return sender.source.probe == "empty" or sender.nxt >= sender.end
        return config.zero_window_probe == "empty"

    def on_override(self, now: int) -> None:
        """A window too small to be worth a segment has been offered for long enough: use it."""
        self.override_at = NEVER
        sender = self._sender
        if sender.nxt < sender.end and not len(sender.board):
            if sender.send_new_segment(now):
                sent = sender.tcp.last_sent()
                sender.tcp.log(OVERRIDE, now, sent.seq, sent.length)
            else:
                self.wait(now)
