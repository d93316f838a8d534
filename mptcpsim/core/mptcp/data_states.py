"""The states of an MPTCP connection, as a table (RFC 8684 appendix D, RFC 6824 appendix C).

They follow the DATA_FINs of both ends and have nothing to do with the states of the subflows.
"""

from __future__ import annotations

from typing import Final

M_CLOSED: Final = 0
#: The handshake of the first subflow is not complete, or has led to plain TCP.
M_INIT: Final = 1
M_ESTAB: Final = 2
M_FIN_WAIT_1: Final = 3
M_FIN_WAIT_2: Final = 4
M_CLOSE_WAIT: Final = 5
M_CLOSING: Final = 6
M_LAST_ACK: Final = 7
M_TIME_WAIT: Final = 8
#: MP_FASTCLOSE was sent on an ACK and waits for a RST (section 3.5).
M_FASTCLOSE_WAIT: Final = 9

DATA_STATE_NAMES: Final = (
    "M_CLOSED",
    "M_INIT",
    "M_ESTAB",
    "M_FIN_WAIT_1",
    "M_FIN_WAIT_2",
    "M_CLOSE_WAIT",
    "M_CLOSING",
    "M_LAST_ACK",
    "M_TIME_WAIT",
    "M_FASTCLOSE_WAIT",
)

# What moves a connection from state to state.
ESTABLISHED: Final = "established"
DATA_FIN_SENT: Final = "close"
DATA_FIN_ARRIVED: Final = "DATA_FIN"
DATA_FIN_ACKED: Final = "DATA_ACK of DATA_FIN"
SUBFLOWS_CLOSED: Final = "all subflows closed"
FASTCLOSE_SENT: Final = "fast close"
ABORTED: Final = "abort"
FASTCLOSE_ARRIVED: Final = "MP_FASTCLOSE"
TIMED_OUT: Final = "time-out"
#: No subflow is left, and no new one has come in time or would be of use.
ABANDONED: Final = "no subflow"

#: These end a connection in any state.
ENDINGS: Final = (ABORTED, FASTCLOSE_ARRIVED, TIMED_OUT, ABANDONED)

#: RFC 8684 figure 18, with MP_FASTCLOSE (section 3.5).
DATA_TRANSITIONS: Final[dict[tuple[int, str], int]] = {
    (M_INIT, ESTABLISHED): M_ESTAB,
    (M_ESTAB, DATA_FIN_SENT): M_FIN_WAIT_1,
    (M_ESTAB, DATA_FIN_ARRIVED): M_CLOSE_WAIT,
    (M_FIN_WAIT_1, DATA_FIN_ACKED): M_FIN_WAIT_2,
    (M_FIN_WAIT_1, DATA_FIN_ARRIVED): M_CLOSING,
    (M_FIN_WAIT_2, DATA_FIN_ARRIVED): M_TIME_WAIT,
    (M_CLOSING, DATA_FIN_ACKED): M_TIME_WAIT,
    (M_CLOSE_WAIT, DATA_FIN_SENT): M_LAST_ACK,
    (M_LAST_ACK, DATA_FIN_ACKED): M_CLOSED,
    (M_TIME_WAIT, SUBFLOWS_CLOSED): M_CLOSED,
    (M_ESTAB, FASTCLOSE_SENT): M_FASTCLOSE_WAIT,
    (M_CLOSE_WAIT, FASTCLOSE_SENT): M_FASTCLOSE_WAIT,
    (M_FIN_WAIT_1, FASTCLOSE_SENT): M_FASTCLOSE_WAIT,
    (M_FIN_WAIT_2, FASTCLOSE_SENT): M_FASTCLOSE_WAIT,
    (M_CLOSING, FASTCLOSE_SENT): M_FASTCLOSE_WAIT,
    (M_LAST_ACK, FASTCLOSE_SENT): M_FASTCLOSE_WAIT,
    **{(state, cause): M_CLOSED for state in range(M_INIT, M_FASTCLOSE_WAIT + 1) for cause in ENDINGS},
}

#: Each transition in words, for event logs.
DATA_TRANSITION_TEXTS: Final[dict[tuple[int, str], str]] = {
    (before, cause): f"{DATA_STATE_NAMES[before]} -> {DATA_STATE_NAMES[after]} ({cause})"
    for (before, cause), after in DATA_TRANSITIONS.items()
}
