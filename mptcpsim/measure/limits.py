"""What keeps a subflow from sending: one of a few limits, at an instant.

In the spirit of Linux's ``tcp_chrono`` (busy, limited by the receive window, by the send buffer).
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.info import MptcpInfo
from mptcpsim.core.tcp.info import TCP_CLOSE_WAIT, TCP_ESTABLISHED, ConnectionInfo, TcpInfo
from mptcpsim.measure.ends import End

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


def limit_of(end: End, tcp: TcpInfo) -> str:
    """Return what keeps a subflow of the end that sends from sending more; empty if it is not open."""
    if tcp.tcpi_state not in (TCP_ESTABLISHED, TCP_CLOSE_WAIT):
        return ""
    room = tcp.cwnd - tcp.in_flight
    if end.active_mptcp is not None:
        return _of_subflow(end.info, end.active_mptcp, tcp, room)
    unsent = tcp.snd_end - tcp.snd_nxt
    if not unsent:
        return APPLICATION
    least = min(unsent, tcp.snd_mss)
    if tcp.snd_wnd_end - tcp.snd_nxt < least:
        return SUBFLOW_WINDOW
    if held_by_nagle(end.info, unsent, tcp.snd_mss, tcp.unacked > 0):
        return APPLICATION
    return _cwnd_or_not(tcp, room, least)


def _of_subflow(connection: ConnectionInfo, mptcp: MptcpInfo, tcp: TcpInfo, room: int) -> str:
    ahead = tcp.snd_end - tcp.snd_nxt
    unsent = ahead or mptcp.unsent_bytes
    if not unsent and not mptcp.requeued:
        return APPLICATION
    mss = tcp.snd_mss
    least = min(unsent, mss) or 1
    if not ahead and not mptcp.requeued and mptcp.snd_wnd_end - mptcp.snd_nxt < least:
        return CONNECTION_WINDOW
    if (ahead or not mptcp.shares_send_window) and tcp.snd_wnd_end - tcp.snd_nxt < least:
        return SUBFLOW_WINDOW
    outstanding = mptcp.snd_nxt > mptcp.snd_una
    if not ahead and not mptcp.requeued and held_by_nagle(connection, unsent, mss, outstanding):
        return APPLICATION
    return _cwnd_or_not(tcp, room, least)


def held_by_nagle(connection: ConnectionInfo, unsent: int, mss: int, outstanding: bool) -> bool:
    """Return whether what is left is too little to be sent while something is not acknowledged.

    That is Nagle's algorithm (RFC 9293 section 3.7.4).

    Args:
        connection: the end that sends.
        unsent: bytes.
        mss: bytes.
        outstanding: something was sent that is not acknowledged.
    """
    return outstanding and unsent < mss and connection.nagle and not connection.closing


def _cwnd_or_not(tcp: TcpInfo, room: int, least: int) -> str:
    # In a time-out the window is one segment, and that it is full says nothing.
    return CWND if room < least and not tcp.timeouts_in_a_row else SCHEDULER
