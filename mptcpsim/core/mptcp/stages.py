"""How far a subflow has come, beyond what TCP knows of it, as a table (RFC 8684 section 3.2, figure 6).

The stage changes only in ``Subflow.advance``, which looks the change up here.
"""

from __future__ import annotations

from typing import Final

OPENING: Final = 0
#: A join's third ACK was sent; the peer has not answered it. Nothing may be sent.
PRE_ESTABLISHED: Final = 1
READY: Final = 2
#: The connection speaks plain TCP on this subflow.
PLAIN: Final = 3

# What moves a subflow from stage to stage.
KEYS_ARRIVED: Final = "SYN/ACK with MP_CAPABLE"
KEYS_CONFIRMED: Final = "third ACK with MP_CAPABLE"
JOIN_ANSWERED: Final = "SYN/ACK with a valid MP_JOIN"
JOIN_PROVEN: Final = "third ACK with a valid MP_JOIN"
THIRD_ACK_ANSWERED: Final = "answer to the third ACK of a join"
FELL_BACK: Final = "fallback"

STAGE_TRANSITIONS: Final[dict[tuple[int, str], int]] = {
    (OPENING, KEYS_ARRIVED): READY,
    (OPENING, KEYS_CONFIRMED): READY,
    (OPENING, JOIN_ANSWERED): PRE_ESTABLISHED,
    (OPENING, JOIN_PROVEN): READY,
    (PRE_ESTABLISHED, THIRD_ACK_ANSWERED): READY,
    (OPENING, FELL_BACK): PLAIN,
    (PRE_ESTABLISHED, FELL_BACK): PLAIN,
    (READY, FELL_BACK): PLAIN,
}
