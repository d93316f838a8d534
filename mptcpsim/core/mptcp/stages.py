"""How far a subflow has come, beyond what TCP knows of it (RFC 8684 section 3.2, figure 6)."""

from __future__ import annotations

from typing import Final

OPENING: Final = 0
#: A join's third ACK was sent; the peer has not answered it. Nothing may be sent.
PRE_ESTABLISHED: Final = 1
READY: Final = 2
#: The connection speaks plain TCP on this subflow.
PLAIN: Final = 3
