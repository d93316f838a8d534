"""Keepalive (RFC 9293 section 3.8.4): is the peer of an idle connection still there?"""

from __future__ import annotations

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import ACK
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.send_state import SendState
from mptcpsim.core.tcp.states import CLOSE_WAIT, ESTABLISHED
from mptcpsim.units import NEVER


class Keepalive:
    """The keepalive timer of one connection; times in ns.

    Attributes:
        at: when the next probe is due; ``NEVER`` while keepalive is off.
        unanswered: probes sent since the peer was last heard.
    """

    __slots__ = ("_config", "_sender", "_tcp", "at", "unanswered")

    def __init__(self, tcp: ControlBlock, sender: SendState, config: TcpConfig) -> None:
        self._tcp = tcp
        self._sender = sender
        self._config = config
        self.at: int = NEVER
        self.unanswered: int = 0

    def start(self, now: int) -> None:
        """The connection is established."""
        self.at = now + self._config.keepalive_idle
        self._tcp.wake_by(self.at)

    def stop(self) -> None:
        """The connection has ended."""
        self.at = NEVER

    def on_timer(self, now: int) -> None:
        """Probe a connection on which nothing was heard for long, or give it up."""
        config = self._config
        tcp = self._tcp
        if tcp.state not in (ESTABLISHED, CLOSE_WAIT):
            self.at = NEVER
            return
        idle_until = tcp.last_heard + config.keepalive_idle
        joining = tcp.extension is not None and tcp.extension.is_joining()
        if idle_until > now or len(self._sender.board) or joining:
            # Something was heard meanwhile, or another timer watches over the connection: that of the
            # retransmissions, or the one that repeats the third ACK of a join.
            self.unanswered = 0
            self.at = idle_until if idle_until > now else now + config.keepalive_interval
            return
        if tcp.last_heard >= self.at - config.keepalive_interval:
            # The last probe was answered, though longer than the idle time ago.
            self.unanswered = 0
        if self.unanswered >= config.keepalive_probes:
            tcp.give_up("timed out: keepalives were not answered", now)
            return
        self.unanswered += 1
        tcp.count("TcpExtTCPKeepAlive")
        tcp.emit(self._sender.nxt - 1, 0, ACK, False, now)
        self.at = now + config.keepalive_interval
