"""What keeps a subflow from sending: one of a few limits, at an instant.

In the spirit of Linux's ``tcp_chrono`` (busy, limited by the receive window, by the send buffer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.subflow import subflow_of
from mptcpsim.core.tcp.states import CLOSE_WAIT, ESTABLISHED

if TYPE_CHECKING:
    from mptcpsim.core.tcp.connection import Connection
    from mptcpsim.core.tcp.endpoint import Tcp

#: There is nothing to send, or too little while something is outstanding (Nagle's algorithm): the application
#: is the limit, or its send buffer.
APPLICATION: Final = "application"
#: The window of the connection, that of the subflow alone, the congestion window.
CONNECTION_WINDOW: Final = "connection_window"
SUBFLOW_WINDOW: Final = "subflow_window"
CWND: Final = "cwnd"
#: It could send, and is not asked to: the scheduler, or a time-out.
SCHEDULER: Final = "scheduler"

LIMITS: Final = (CWND, CONNECTION_WINDOW, SUBFLOW_WINDOW, APPLICATION, SCHEDULER)


def limit_of(connection: Connection, tcp: Tcp) -> str:
    """Return what keeps a subflow of the end that sends from sending more; empty if it is not open."""
    if tcp.state not in (ESTABLISHED, CLOSE_WAIT):
        return ""
    sender = tcp.sender
    room = sender.congestion.cwnd - sender.pipe()
    if isinstance(connection, MptcpConnection) and not connection.is_plain:
        return _of_subflow(connection, tcp, room)
    unsent = sender.end - sender.nxt
    if not unsent:
        return APPLICATION
    least = min(unsent, sender.mss)
    if sender.edge - sender.nxt < least:
        return SUBFLOW_WINDOW
    if held_by_nagle(connection, unsent, sender.mss, len(sender.board) > 0):
        return APPLICATION
    return _cwnd_or_not(tcp, room, least)


def _of_subflow(connection: MptcpConnection, tcp: Tcp, room: int) -> str:
    out = connection.outbound
    sender = tcp.sender
    subflow = subflow_of(tcp)
    assert subflow is not None
    ahead = sender.end - sender.nxt
    unsent = ahead or out.end - out.nxt
    if not unsent and not out.reinjections:
        return APPLICATION
    least = min(unsent, sender.mss) or 1
    if not ahead and not out.reinjections and out.edge - out.nxt < least:
        return CONNECTION_WINDOW
    if (ahead or not connection.config.mptcp.share_send_window) and sender.edge - sender.nxt < least:
        return SUBFLOW_WINDOW
    mss = sender.mss
    if not ahead and not out.reinjections and held_by_nagle(connection, unsent, mss, out.nxt > out.una):
        return APPLICATION
    return _cwnd_or_not(tcp, room, least)


def held_by_nagle(connection: Connection, unsent: int, mss: int, outstanding: bool) -> bool:
    """Return whether what is left is too little to be sent while something is not acknowledged.

    That is Nagle's algorithm (RFC 9293 section 3.7.4).

    Args:
        connection: the end that sends.
        unsent: bytes.
        mss: bytes.
        outstanding: something was sent that is not acknowledged.
    """
    return outstanding and unsent < mss and connection.config.nagle and not connection.closing


def _cwnd_or_not(tcp: Tcp, room: int, least: int) -> str:
    # In a time-out the window is one segment, and that it is full says nothing.
    return CWND if room < least and not tcp.sender.timeouts_in_a_row else SCHEDULER
