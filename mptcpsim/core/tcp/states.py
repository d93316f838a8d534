"""The connection states of RFC 9293 section 3.3.2 and the transitions between them."""

from __future__ import annotations

from typing import Final

CLOSED: Final = 0
LISTEN: Final = 1
SYN_SENT: Final = 2
SYN_RECEIVED: Final = 3
ESTABLISHED: Final = 4
FIN_WAIT_1: Final = 5
FIN_WAIT_2: Final = 6
CLOSE_WAIT: Final = 7
CLOSING: Final = 8
LAST_ACK: Final = 9
TIME_WAIT: Final = 10

STATE_NAMES: Final = (
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
)

# What moves a connection from state to state.
ACTIVE_OPEN: Final = "active open"
PASSIVE_OPEN: Final = "passive open"
SYN_ARRIVED: Final = "SYN"
SYN_ACK_ARRIVED: Final = "SYN,ACK"
SYN_ACKED: Final = "ACK of SYN"
CLOSE: Final = "close"
FIN_ARRIVED: Final = "FIN"
FIN_ACKED: Final = "ACK of FIN"
WAIT_OVER: Final = "wait is over"
#: RST, time-out, user abort, or the end that another transition has led to.
ENDED: Final = "end"

#: RFC 9293 figure 5, with simultaneous open and close, and with the end of FIN-WAIT-2 for who reads no
#: more. ``ENDED`` leads to CLOSED from everywhere.
#: SYN-RECEIVED is left by an ACK alone: a FIN carries one, which comes first (section 3.10.7.4), and a
#: CLOSE waits for it.
TRANSITIONS: Final[dict[tuple[int, str], int]] = {
    (CLOSED, ACTIVE_OPEN): SYN_SENT,
    (CLOSED, PASSIVE_OPEN): LISTEN,
    (LISTEN, SYN_ARRIVED): SYN_RECEIVED,
    (SYN_SENT, SYN_ARRIVED): SYN_RECEIVED,
    (SYN_SENT, SYN_ACK_ARRIVED): ESTABLISHED,
    (SYN_RECEIVED, SYN_ACKED): ESTABLISHED,
    (ESTABLISHED, CLOSE): FIN_WAIT_1,
    (ESTABLISHED, FIN_ARRIVED): CLOSE_WAIT,
    (FIN_WAIT_1, FIN_ACKED): FIN_WAIT_2,
    (FIN_WAIT_1, FIN_ARRIVED): CLOSING,
    (FIN_WAIT_2, FIN_ARRIVED): TIME_WAIT,
    (CLOSE_WAIT, CLOSE): LAST_ACK,
    (CLOSING, FIN_ACKED): TIME_WAIT,
    (LAST_ACK, FIN_ACKED): CLOSED,
    (FIN_WAIT_2, WAIT_OVER): CLOSED,
    (TIME_WAIT, WAIT_OVER): CLOSED,
    **{(state, ENDED): CLOSED for state in range(CLOSED, TIME_WAIT + 1)},
}

#: Each transition in words, for event logs.
TRANSITION_TEXTS: Final[dict[tuple[int, str], str]] = {
    (before, cause): f"{STATE_NAMES[before]} -> {STATE_NAMES[after]} ({cause})"
    for (before, cause), after in TRANSITIONS.items()
}
