"""The variables of the sending half of a TCP connection (SND.UNA and the others of RFC 9293 section 3.3.1).

``sender.Sender`` decides what is sent. Recovery and window probes see only this part of it.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.options import OPTION_SPACE
from mptcpsim.core.segment import TCP_HEADER, ip_header_length, is_ipv6
from mptcpsim.core.tcp.congestion_window import CongestionWindow
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.receiver import Receiver
from mptcpsim.core.tcp.rtt import RttEstimator
from mptcpsim.core.tcp.scoreboard import Scoreboard, Sent
from mptcpsim.core.tcp.seams import DataSource
from mptcpsim.plugins import CongestionControl
from mptcpsim.units import NEVER

#: RFC 9293 section 3.7.1: the MSS of a peer that names none.
DEFAULT_MSS_IPV4: Final = 536
DEFAULT_MSS_IPV6: Final = 1220
#: A smaller MSS, of the peer or of an MTU, is not obeyed: 40 bytes of options leave no room (as in Linux).
LEAST_MSS: Final = OPTION_SPACE + 8


class SendState:
    """Send state; sequence numbers relative, sizes in bytes, times in ns.

    Attributes:
        una, nxt: SND.UNA, SND.NXT.
        wnd_end: right edge of the peer's window (SND.UNA + SND.WND as of the last update).
        max_window: largest window the peer ever offered.
        end: sequence number after the last byte that the application wrote.
        fin_wanted, fin_sent: the application closed; the FIN has a sequence number.
        mss: payload bytes of a full segment as things are (options subtracted); 0 before the peer's SYN.
        peer_mss: what the peer's SYN says of it.
        rto_at: when the retransmission timer is due.
        window: what TCP does to the congestion window.
        receiver: the other half of the connection.
        source: where data comes from under MPTCP, which assigns it as it is sent; else None.
        sent_bytes, resent_bytes: payload bytes sent, all copies; and sent again.
        resent_segments: segments sent again.
    """

    __slots__ = (
        "_probe_stale",
        "board",
        "congestion",
        "cwr_due",
        "ecn",
        "ecn_echoed",
        "ecn_point",
        "end",
        "fin_sent",
        "fin_wanted",
        "last_sent_at",
        "max_window",
        "mss",
        "nagle",
        "nxt",
        "peer_mss",
        "receiver",
        "resent_bytes",
        "resent_segments",
        "rto_at",
        "rtt",
        "sent_bytes",
        "source",
        "tcp",
        "timeouts_in_a_row",
        "una",
        "window",
        "wl1",
        "wl2",
        "wnd_end",
    )

    def __init__(
        self, tcp: ControlBlock, receiver: Receiver, congestion: CongestionControl, config: TcpConfig
    ) -> None:
        self.tcp = tcp
        self.receiver = receiver
        self.congestion = congestion
        self.window = CongestionWindow(congestion)
        self.board = Scoreboard()
        self.rtt = RttEstimator(config.rto_initial, config.rto_min, config.rto_max, config.rto_granularity)
        self.una: int = 0
        self.nxt: int = 0
        self.wnd_end: int = 0
        self.max_window: int = 0
        self.wl1: int = 0
        self.wl2: int = 0
        self.end: int = 1
        self.fin_wanted: bool = False
        self.fin_sent: bool = False
        self.mss: int = 0
        self.peer_mss: int = DEFAULT_MSS_IPV6 if is_ipv6(tcp.flow.dst) else DEFAULT_MSS_IPV4
        self.nagle: bool = config.nagle
        self.rto_at: int = NEVER
        self.timeouts_in_a_row: int = 0
        self.last_sent_at: int = 0
        self.ecn: bool = False
        self.cwr_due: bool = False
        self.ecn_point: int = 0
        #: The present ACK carries an ECN echo.
        self.ecn_echoed: bool = False
        self.sent_bytes: int = 0
        self.resent_bytes: int = 0
        self.resent_segments: int = 0
        #: The loss probe has to be scheduled anew at the end of ``output``.
        self._probe_stale: bool = False
        self.source: DataSource | None = None

    # --- The size of segments -----------------------------------------------------------------

    def update_mss(self) -> None:
        """RFC 9293 section 3.7.1: Eff.snd.MSS = max(min(SendMSS, MTU - headers), floor) - options."""
        tcp = self.tcp
        fits = tcp.mtu - ip_header_length(tcp.flow.dst) - TCP_HEADER
        self.mss = max(min(self.peer_mss, fits), LEAST_MSS) - tcp.option_bytes - tcp.signal_bytes

    def pipe(self) -> int:
        """Return the bytes in flight as far as is known (RFC 6675 section 4, SetPipe)."""
        board = self.board
        return self.nxt - self.una - board.sacked - board.lost + board.resent

    # --- For recovery and window probes ---------------------------------------------------------

    def restart_rto(self, now: int) -> None:
        """Let the retransmission timer run from now on."""
        self.rto_at = now + self.rtt.timeout()
        self.tcp.wake_by(self.rto_at)

    def window_reduced(self) -> None:
        """The congestion window was reduced, for whatever reason: tell the peer (RFC 3168 section 6.1.2)."""
        self.cwr_due = self.ecn
        self.ecn_point = self.nxt

    def output(self, now: int) -> None:
        """Send all that the windows allow."""
        raise NotImplementedError

    def retransmit(self, record: Sent, now: int) -> None:
        """Send a segment again."""
        raise NotImplementedError

    def send_new_segment(self, now: int) -> bool:
        """Send one segment of new data whatever cwnd and Nagle say; return whether there was one."""
        raise NotImplementedError
