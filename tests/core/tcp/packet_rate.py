"""How many packets an end may send: each needs a reason, and another packet without content is none.

Two ends can build a pair of "an answer to every X" and "X in every answer", which never ends. It shows in
the number of packets: those without payload are earned by payload that arrives, by what applications do
and by time, in which timers expire; and the same byte is sent so many times only for losses and time-outs.
"""

from __future__ import annotations

from collections.abc import Callable

from mptcpsim.core.segment import FIN, RST, SYN, Segment
from mptcpsim.units import SECOND

#: Packets without payload that an end may send at the beginning, and the most that time alone gives it.
BURST = 200
#: The most that it can save up: what it earned long ago is no reason for what it sends now.
SAVED = 2_000
#: What it earns in a second: probes, keepalives and answers to those of the peer, on every subflow.
A_SECOND = 25
#: What each packet earns that arrives and has to be acknowledged: an ACK, an echo and an update.
ARRIVAL = 3
#: What it earns with each thing that an application, a path manager or the network does.
EVENT = 40

#: Times that a byte may be sent on one subflow without a loss or a time-out.
COPIES = 8

Hold = Callable[[str, bool, Callable[..., str]], None]


class Purse:
    """What one end has earned and not spent."""

    def __init__(self) -> None:
        self.packets: float = BURST
        self.at = 0

    def earn(self, count: float) -> None:
        """Earn so many packets."""
        self.packets = min(self.packets + count, SAVED)

    def until(self, now: int) -> None:
        """Earn what time brings."""
        self.packets = max(self.packets, min(self.packets + (now - self.at) / SECOND * A_SECOND, BURST))
        self.at = now


class PacketRate:
    """Watches the packets of both ends of a path, and holds them to their reasons."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self.purses = {"c>s": Purse(), "s>c": Purse()}
        #: By flow and sequence number: when a segment was first sent, losses and events then, and how often.
        self._copies: dict[tuple[object, int], list[int]] = {}
        self.lost = 0
        self.events = 0

    def on_event(self) -> None:
        """Something happens that either end may react to."""
        self.events += 1
        for purse in self.purses.values():
            purse.earn(EVENT)

    def on_arrival(self, way: str, segment: Segment) -> None:
        """A segment that travelled this way arrives.

        Not when it is sent: a window on its way may have more segments than an end can save up for, and
        each of them may be acknowledged when it arrives (RFC 5681 section 4.2).
        """
        if segment.length or segment.flags & (SYN | FIN):
            self.purses["s>c" if way == "c>s" else "c>s"].earn(ARRIVAL)

    def on_sent(self, way: str, segment: Segment, now: int) -> None:
        """An end has sent a segment."""
        if segment.flags & RST:
            return
        if not segment.length:
            purse = self.purses[way]
            purse.until(now)
            purse.packets -= 1
            self._hold(
                "more packets than reasons", purse.packets >= 0, lambda: f"{way} {segment!r} at {now} ns"
            )
            return
        entry = self._copies.setdefault((segment.flow, segment.seq), [now, self.lost + self.events, 0])
        entry[2] += 1
        spared = COPIES + 2 * (self.lost + self.events - entry[1]) + 10 * (now - entry[0]) // SECOND
        self._hold(
            "the same data without a reason",
            entry[2] <= spared,
            lambda: f"{way} {segment!r} at {now} ns: {entry[2]} times",
        )
