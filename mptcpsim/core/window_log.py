"""What happened to the windows of a connection: the evidence from which a stall is explained.

Only rare events are noted, and only if the host asks for them (``Stack.logs_windows``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: At the end that sends data. A window closed (``subflow`` -1: the connection's) or opened again; a probe
#: was sent; an update came that says nothing to the connection, because it has no DATA_ACK; a probe for a
#: lost tail went out (RFC 8985 section 7), which is no probe of a window; the retransmission timer expired;
#: a segment went out because nothing else had for a while (RFC 9293 section 3.8.6.2.1).
CLOSED: Final = "window closed"
OPENED: Final = "window opened"
PROBE: Final = "window probe"
IGNORED: Final = "window without DATA_ACK"
LOSS_PROBE: Final = "loss probe"
TIMED_OUT: Final = "retransmission time-out"
OVERRIDE: Final = "small window used"

#: At the end that receives. A segment with window 0 was sent; an update after a read; a read was not worth
#: one; a probe was answered, or not because of the rate limit.
ZERO: Final = "zero window"
UPDATE: Final = "window update"
WITHHELD: Final = "window update withheld"
ANSWER: Final = "window probe answered"
LIMITED: Final = "window probe not answered"

_MOST: Final = 8192


class WindowEvent(NamedTuple):
    """An event of a window.

    Attributes:
        time: ns.
        what: see above.
        subflow: its identifier at this end, -1: the connection.
        seq, ack, window, length: of the segment that was sent or came, relative, window in bytes;
            0 where there is none. ``window`` of ``WITHHELD``: the bytes that are missing to an update.
        last: when the same thing happened last, ns.
        times: how often it happened since nothing else did.
    """

    time: int
    what: str
    subflow: int
    seq: int
    ack: int
    window: int
    length: int
    last: int
    times: int


class WindowLog:
    """The events of one end of a connection, oldest first; of very many the oldest are forgotten.

    ``zero_at``: when a segment with window 0 was sent last, ns, or -1.
    """

    __slots__ = ("events", "zero_at")

    def __init__(self) -> None:
        self.events: list[WindowEvent] = []
        self.zero_at: int = -1

    def add(self, what: str, now: int, subflow: int, seq: int, ack: int, window: int, length: int) -> None:
        """Note an event; a run of reads that are not worth an update is one."""
        events = self.events
        if what == ZERO:
            self.zero_at = now
        time = now
        times = 1
        if what == WITHHELD and events and events[-1].what == WITHHELD:
            before = events.pop()
            time = before.time
            times = before.times + 1
        events.append(WindowEvent(time, what, subflow, seq, ack, window, length, now, times))
        if len(events) > _MOST:
            del events[: _MOST // 2]
