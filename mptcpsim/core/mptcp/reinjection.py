"""Data that goes out again at the connection: the whole rule (RFC 8684 section 3.3.6).

*Who asks, and for what.* When the retransmission timer of a subflow expires, everything that it has
outstanding is queued for the others, once (``on_timeout``). When a subflow ends, or its FIN is acknowledged,
the others take over all that it sent and the connection has not acknowledged (``take_over``). The timer of
the connection repeats what subflows have acknowledged and the connection has not
(``on_connection_timeout``). A scheduler may have the oldest data repeated on another subflow when it holds up
the window (``on_blocked``). A redundant scheduler has every subflow carry everything; that is not reinjection
(``DataSender``).

*When, and how much.* Queued data goes before new data, lowest DSN first, a segment at a time. The scheduler
chooses among the subflows that the data does not come from (``push``). A repair begins with one segment; when
that does not help, everything follows, after each DATA_ACK twice as much as before (``Repair``).

Numbers are relative data sequence numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from mptcpsim.core.mptcp.data_send_state import DataSendState
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX
from mptcpsim.plugins import PENALISE, RESEND
from mptcpsim.units import NEVER

#: Retransmissions at the connection without an answer before subflows without DATA_ACKs are suspected.
_PATIENCE: Final = 4

#: Origin of data that any subflow may carry.
NO_ORIGIN: Final = -1


class Reinjection(NamedTuple):
    """Data that another subflow than ``origin`` is to carry, too; relative DSNs [dsn, end)."""

    dsn: int
    end: int
    origin: int


#: The queue of a connection that has nothing to send again, which is nearly always: it takes no item.
_NOTHING: Final[deque[Reinjection]] = deque(maxlen=0)


def unqueued(mappings: Iterable[Mapping], una: int, origin: int) -> list[Reinjection]:
    """Return what of these mappings the connection has not acknowledged; mark it as queued for others.

    Args:
        mappings: of one subflow, the oldest first.
        una: the DATA_ACK.
        origin: the subflow that does not carry it again, or ``NO_ORIGIN``.
    """
    items: list[Reinjection] = []
    for mapping in mappings:
        end = mapping.dsn + mapping.length
        if mapping.reinjected or end <= una:
            continue
        mapping.on_reinjected()
        if items and items[-1].end == mapping.dsn:
            items[-1] = Reinjection(items[-1].dsn, end, origin)
        else:
            items.append(Reinjection(max(mapping.dsn, una), end, origin))
    return items


def merged(items: Iterable[Reinjection]) -> deque[Reinjection]:
    """Return a queue, lowest DSN first, that lists data of the same origin once."""
    queued: list[Reinjection] = []
    right: dict[int, int] = {}
    for item in sorted(items):
        dsn = max(item.dsn, right.get(item.origin, 0))
        if dsn < item.end:
            queued.append(Reinjection(dsn, item.end, item.origin))
            right[item.origin] = item.end
    return deque(sorted(queued))


class Repair:
    """What follows a retransmission of the connection, as a partial ACK follows one of TCP (RFC 6582).

    The subflows have acknowledged data that the connection has not. Where the DATA_ACK of what was sent
    again comes to a byte that again no subflow carries, the next piece goes out at once, twice as long: one
    lost mapping costs one segment, many of them a few round trips.

    Attributes:
        end: DSN up to which data was sent again; ``NEVER`` while nothing is repaired.
        point: DSN up to which data had been sent when the retransmission began.
    """

    __slots__ = ("_length", "end", "point")

    def __init__(self) -> None:
        self.end: int = NEVER
        self.point: int = 0
        self._length: int = 0

    def begin(self, una: int, end: int, nxt: int) -> None:
        """The connection's timer has [una, end) sent again; ``nxt`` comes next for the first time."""
        self._length = end - una
        self.end = end
        self.point = nxt

    def follow(self, una: int, nxt: int, origin: int) -> Reinjection:
        """Return the piece that follows, for others than ``origin``."""
        self._length *= 2
        self.end = min(una + self._length, nxt)
        return Reinjection(una, self.end, origin)

    def stop(self) -> None:
        """Nothing is missing any more, or some subflow has it."""
        self.end = NEVER


class Reinjections:
    """The reinjection of one connection: the data queued for it, and how much was sent.

    Attributes:
        queue: data to be sent on other subflows, too, lowest DSN first.
        repair: how a retransmission of the connection goes on.
    """

    __slots__ = ("_connection", "_data", "_held_up_at", "_sent", "queue", "repair")

    def __init__(self, connection: Session, data: DataSendState) -> None:
        self._connection = connection
        self._data = data
        self.queue: deque[Reinjection] = _NOTHING
        self.repair = Repair()
        #: Bytes sent again, by the number of the subflow; None before the first.
        self._sent: dict[int, int] | None = None
        #: The DSN that was last sent on a subflow because another one held it up, by its number.
        self._held_up_at: dict[int, int] | None = None

    # --- Questions ------------------------------------------------------------------------------

    def bytes_on(self, number: int) -> int:
        """Return how many bytes were sent again on a subflow."""
        return 0 if self._sent is None else self._sent.get(number, 0)

    def held_up_at(self, number: int) -> int:
        """Return the DSN that was last sent on a subflow because another one held it up, or -1."""
        return -1 if self._held_up_at is None else self._held_up_at.get(number, -1)

    def has_queued_from_others(self, number: int) -> bool:
        """Return whether data is queued that a subflow other than this one failed to deliver."""
        return any(item.origin != number and item.end > self._data.una for item in self.queue)

    def oldest_is_assigned(self) -> bool:
        """Return whether a working subflow still has to deliver the oldest data."""
        data = self._data
        usable = self._connection.usable()
        if not usable:
            # All of them are in time-out, and repeat their data themselves.
            return True
        for subflow in usable:
            if subflow.mappings.carries(data.una):
                return True
        for item in self.queue:
            if item.dsn <= data.una < item.end and any(s.number != item.origin for s in usable):
                return True
        return False

    # --- Who asks -------------------------------------------------------------------------------

    def on_timeout(self, subflow: SubflowState) -> None:
        """A subflow is in time-out: others carry what it has outstanding, too."""
        self.add(unqueued(subflow.mappings.outstanding(), self._data.una, subflow.number))

    def take_over(self, subflow: SubflowState) -> None:
        """Queue for others all data that a subflow leaves, because it sends nothing any more.

        Data that was acknowledged on the subflow but not at the connection is included: its mapping may never
        have arrived, and the subflow will not repeat it.
        """
        self.add(unqueued(subflow.mappings.undelivered(), self._data.una, NO_ORIGIN))

    def on_connection_timeout(self, unanswered: int, now: int) -> bool:
        """The subflows have acknowledged the oldest data, the connection has not, and its timer expired.

        Args:
            unanswered: how often it has expired since the last DATA_ACK that advanced.
            now: ns.

        Returns:
            False if subflows were reset instead of a retransmission.
        """
        if unanswered >= _PATIENCE and self.reset_silent(now):
            return False
        data = self._data
        self._connection.note("data retransmission", f"dsn {data.una}")
        # First a segment; when that did not help, everything, as after a time-out of TCP.
        length = data.nxt - data.una if unanswered else self._connection.config.mptcp.data_retransmit
        end = min(data.nxt, data.una + length)
        self.add([Reinjection(data.una, end, self._origin_of_oldest())])
        self.repair.begin(data.una, end, data.nxt)
        return True

    def continue_repair(self) -> None:
        """Send the next piece of a repair if the byte after the DATA_ACK is missing, too."""
        data = self._data
        repair = self.repair
        if data.una >= data.nxt or self._connection.awaits_fallback():
            repair.stop()
        elif not self.oldest_is_assigned():
            self.add([repair.follow(data.una, data.nxt, self._origin_of_oldest())])
        elif data.una >= repair.point:
            repair.stop()

    def reset_silent(self, now: int) -> bool:
        """Reset subflows that acknowledge data and never bring a DATA_ACK; return whether there were any.

        The options have vanished in this direction alone: the peer cannot notice (section 3.7).
        """
        silent = [subflow for subflow in self._connection.alive() if subflow.acks_without_data_ack]
        for subflow in silent:
            subflow.reset(REASON_MIDDLEBOX, "no DATA_ACK passes any more", now)
        return len(silent) > 0

    def _origin_of_oldest(self) -> int:
        """Return the subflow that acknowledged the oldest data without a DATA_ACK, if there is another."""
        usable = self._connection.usable()
        if len(usable) > 1:
            for subflow in usable:
                if subflow.mappings.has_left(self._data.una):
                    return subflow.number
        return NO_ORIGIN

    def add(self, items: list[Reinjection]) -> None:
        """Queue data for other subflows; what one subflow carries twice is queued once."""
        self.queue = merged([*self.queue, *items])
        self._data.wake()

    def stop(self) -> None:
        """Send nothing any more: the connection was aborted."""
        self.queue = _NOTHING

    # --- When, and how much -----------------------------------------------------------------------

    def push(self, usable: list[SubflowState], now: int) -> None:
        """Send again, elsewhere, what a failed subflow has not delivered (section 3.3.6)."""
        data = self._data
        queue = self.queue
        if not queue:
            return
        # Data that only its own subflow could carry does not hold up data from another subflow.
        kept: deque[Reinjection] = deque()
        while queue:
            item = queue.popleft()
            dsn = max(item.dsn, data.una)
            if dsn >= item.end:
                continue
            left = item.end - dsn
            subflow = data.choose(usable, left, item.origin, now)
            if subflow is None:
                kept.append(item)
                continue
            length = min(left, subflow.tcp.sender.mss)
            if dsn + length < item.end:
                queue.appendleft(Reinjection(dsn + length, item.end, item.origin))
            self.resend(subflow, dsn, length, now)
        self.queue = kept or _NOTHING

    def resend(self, subflow: SubflowState, dsn: int, length: int, now: int) -> None:
        """Send bytes again on a subflow."""
        data = self._data
        if self._sent is None:
            self._sent = {}
        self._sent[subflow.number] = self._sent.get(subflow.number, 0) + length
        data.on_repeated(length)
        self._connection.count("MPTcpExtMPTCPRetrans")
        fin = data.fin_sent and dsn + length == data.end
        subflow.send_data(dsn, length, fin, dsn + length == data.end, now)

    def resend_first(self, subflow: SubflowState, most: int, now: int) -> int:
        """Send the first queued bytes that a subflow may carry on it, at most ``most``; return how many.

        As in ``push``, data that only its own subflow could carry does not hold up data from another one.
        """
        una = self._data.una
        for item in self.queue:
            dsn = max(item.dsn, una)
            if item.origin != subflow.number and dsn < item.end:
                length = min(item.end - dsn, most)
                self.resend(subflow, dsn, length, now)
                return length
        return 0

    def on_blocked(self, usable: list[SubflowState], now: int) -> None:
        """Nothing new can be sent: maybe the oldest data is held up on a subflow that is slower.

        That is opportunistic retransmission and penalisation (Raiciu et al., NSDI 2012, section 4.2).
        """
        data = self._data
        una = data.una
        holder: SubflowState | None = None
        for subflow in usable:
            if subflow.mappings.carries(una):
                holder = subflow
                break
        if holder is None:
            return
        for path in usable:
            if path is holder or self.held_up_at(path.number) == una:
                continue
            length = min(data.nxt - una, path.tcp.sender.mss)
            if length <= 0 or path.room(now) < length:
                continue
            verdict = data.scheduler.on_blocked(path, holder, now)
            if verdict & PENALISE:
                holder.penalise()
            if verdict & RESEND:
                if self._held_up_at is None:
                    self._held_up_at = {}
                self._held_up_at[path.number] = una
                self.resend(path, una, length, now)
