"""How long a sender was busy, and how long each limit held it back.

The chronograph of Linux (``tcp_chrono_start``, ``tcp_chrono_stop`` in ``net/ipv4/tcp_output.c``). It is moved
where the limit is found, not for each segment.
"""

from __future__ import annotations

from typing import Final

#: Nothing is queued or outstanding; something is; the peer's window holds it back; the send buffer does.
#: Of two limits at once the higher number counts, as in Linux.
IDLE: Final = 0
BUSY: Final = 1
RWND_LIMITED: Final = 2
SNDBUF_LIMITED: Final = 3


class Chrono:
    """Measures which limit holds a sender back; times in ns.

    Attributes:
        kind: ``IDLE``, ``BUSY``, ``RWND_LIMITED`` or ``SNDBUF_LIMITED``.
        since: when the present ``kind`` began.
        unlimited, rwnd_limited, sndbuf_limited: the time in each of the last three until ``since``.
        writer_waits: the application waits for room in the send buffer.
    """

    __slots__ = ("kind", "rwnd_limited", "since", "sndbuf_limited", "unlimited", "writer_waits")

    def __init__(self) -> None:
        self.kind: int = IDLE
        self.since: int = 0
        self.unlimited: int = 0
        self.rwnd_limited: int = 0
        self.sndbuf_limited: int = 0
        self.writer_waits: bool = False

    def start_waiting(self) -> None:
        """The application waits for room in the send buffer."""
        self.writer_waits = True

    def stop_waiting(self) -> None:
        """The application does not wait for room any more."""
        self.writer_waits = False

    def switch(self, kind: int, now: int) -> None:
        """Begin to measure another kind of time."""
        spent = now - self.since
        if self.kind == BUSY:
            self.unlimited += spent
        elif self.kind == RWND_LIMITED:
            self.rwnd_limited += spent
        elif self.kind == SNDBUF_LIMITED:
            self.sndbuf_limited += spent
        self.kind = kind
        self.since = now

    def until(self, now: int) -> tuple[int, int, int]:
        """Return the busy time, limits included, and the time under each limit, up to ``now``."""
        spent = now - self.since
        rwnd = self.rwnd_limited + (spent if self.kind == RWND_LIMITED else 0)
        sndbuf = self.sndbuf_limited + (spent if self.kind == SNDBUF_LIMITED else 0)
        busy = self.unlimited + (spent if self.kind == BUSY else 0)
        return busy + rwnd + sndbuf, rwnd, sndbuf
