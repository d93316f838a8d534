"""The sending half of an MPTCP connection: which byte goes out on which subflow, and when again.

RFC 8684 sections 3.3.1, 3.3.3, 3.3.5 and 3.3.6. Data sequence numbers are relative: the
first byte is 1. Bytes are assigned to a subflow at the moment they are sent, so that a
subflow never holds data that another one could carry.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp.mappings import widen
from mptcpsim.core.mptcp.reinjection import NOBODY, Reinjection, Repair, merged
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX
from mptcpsim.core.tcp.seams import DataSource
from mptcpsim.core.tcp.window_probe import SWS_OVERRIDE
from mptcpsim.core.window_log import OPENED, OVERRIDE, PROBE
from mptcpsim.plugins import PENALISE, RESEND, Path, Scheduler
from mptcpsim.units import MINUTE, NEVER

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.mptcp.subflow import Subflow
    from mptcpsim.core.segment import Segment

#: Bytes after which the rate is looked at, and the Maximum Segment Lifetime (RFC 9293 section 3.4.2).
_RATE_SPAN: Final = 1 << 26
_MSL: Final = 2 * MINUTE

#: Retransmissions at the connection without an answer before subflows without DATA_ACKs are suspected.
_PATIENCE: Final = 4


class DataSender(DataSource):
    """Send state of a connection; sizes in bytes, times in ns.

    Attributes:
        una: the DATA_ACK: the lowest DSN that is not acknowledged.
        nxt: the next DSN to send for the first time.
        end: DSN after the last byte that the application wrote.
        edge: right edge of the peer's window: the largest DATA_ACK + window seen on any subflow.
        fin_wanted, fin_sent: the application closed; the DATA_FIN has a number (``end``) and was sent.
        rto_at: when the connection-level retransmission timer is due.
        override_at: when a small window is used after all.
        reinjections: data to be sent on other subflows, too, lowest DSN first.
        repair: how a retransmission of the connection goes on.
        repeated_while_closed: bytes sent again while the peer's window was closed, probes included.
        awake: ``push`` is not waiting for a DATA_ACK, which it does where a window alone does not wake it.
        ahead: data is mapped onto a subflow before the subflow may send it.
        declined_at: when the scheduler was last asked for a subflow and chose none, ns, or -1.
        timer_at: when the connection-level retransmission timer last made data go, ns, or -1.
    """

    __slots__ = (
        "_connection",
        "_copies",
        "_fills",
        "_first_try",
        "_fixed",
        "_probes",
        "_probing",
        "_progress_at",
        "_pushing",
        "_rate_from",
        "_rate_since",
        "_retries",
        "_subflows_probe",
        "_wakes",
        "ahead",
        "awake",
        "backoff",
        "declined_at",
        "edge",
        "end",
        "fin_sent",
        "fin_wanted",
        "idsn",
        "max_window",
        "nxt",
        "octets",
        "override_at",
        "reinjections",
        "repair",
        "repeated_while_closed",
        "rto_at",
        "scheduler",
        "timer_at",
        "una",
        "view",
    )

    def __init__(self, connection: MptcpConnection, scheduler: Scheduler, idsn: int) -> None:
        mptcp = connection.config.mptcp
        super().__init__(mptcp.subflow_probe, mptcp.persist_min, mptcp.persist_shift)
        self._connection = connection
        self.scheduler = scheduler
        #: The own IDSN.
        self.idsn = idsn
        #: Octets of a DSN that is sent, 4 or 8; with 4, where and when the rate was last looked at.
        self.octets: int = mptcp.dsn_octets
        self.ahead: bool = mptcp.map_ahead
        self.awake: bool = True
        self.declined_at: int = -1
        self.timer_at: int = -1
        self._wakes: bool = mptcp.wake_on_window
        self._probes: bool = mptcp.data_probe
        self._subflows_probe: bool = mptcp.subflow_probe != "none"
        self._fixed: int = mptcp.data_timeout
        self._first_try: int = mptcp.data_retransmit
        self._fills: bool = mptcp.fill_window
        config = connection.config
        self._retries: int = config.data_retries if mptcp.data_retries < 0 else mptcp.data_retries
        #: Some subflow has a byte that probes the window of the connection, see ``Subflow.probe_dsn``.
        self._probing: bool = False
        self._rate_from: int = 1
        self._rate_since: int = 0
        self.una: int = 1
        self.nxt: int = 1
        self.end: int = 1
        self.edge: int = 1 if mptcp.connection_window else NEVER
        self.max_window: int = 0
        self.fin_wanted: bool = False
        self.fin_sent: bool = False
        self.backoff: int = 0
        self.rto_at: int = NEVER
        self.override_at: int = NEVER
        self.reinjections: deque[Reinjection] = deque()
        self.repair = Repair()
        self.repeated_while_closed: int = 0
        #: Under a redundant scheduler: how far each subflow has gone through the stream.
        self._copies: dict[int, int] = {}
        self._pushing: bool = False
        #: When the DATA_ACK advanced, or the first of the data outstanding was sent.
        self._progress_at: int = 0

    # --- What a scheduler sees ----------------------------------------------------------------

    @property
    def paths(self) -> list[Path]:
        """The subflows that work."""
        paths: list[Path] = []
        for subflow in self._connection.usable():
            paths.append(subflow)
        return paths

    @property
    def unsent(self) -> int:
        """Bytes written and not sent."""
        return self.end - self.nxt

    @property
    def window(self) -> int:
        """Bytes that the connection's window allows."""
        return max(0, self.edge - self.nxt)

    # --- DATA_ACK -------------------------------------------------------------------------------

    def relative(self, wire: int, octets: int) -> int:
        """Return the relative form of a DATA_ACK."""
        return widen(wire, octets, self.idsn, self.una)

    def start(self, idsn: int, window: int) -> None:
        """The version is agreed on, and with it the own IDSN; take the window of the peer's SYN (3.3.5)."""
        self.idsn = idsn
        self.edge = max(self.edge, 1 + window)
        self.max_window = window

    def on_data_ack(self, ack: int, window: int, subflow: Subflow, segment: Segment, now: int) -> None:
        """Take a DATA_ACK and the window that came with it, in a segment on a subflow."""
        highest = self.end + 1 if self.fin_sent else self.nxt
        if ack > highest:
            # It acknowledges what was never sent.
            return
        if ack + window > self.edge:
            if self.edge <= self.nxt:
                subflow.log_heard(OPENED, segment, now)
            self.edge = ack + window
            self.moved = True
            if window > self.max_window:
                self.max_window = window
        elif self.edge == NEVER:
            self.max_window = max(self.max_window, window)
        elif ack + window < self.edge and ack >= self.una:
            # A right edge that moves left is not honoured (section 3.3.4).
            self._connection.count("MptcpsimRightEdgeLeft")
        if ack <= self.una:
            return
        self.una = ack
        self.moved = self.awake = True
        self.backoff = 0
        self._progress_at = now
        if self.fin_sent and ack > self.end:
            self._connection.ending.on_data_fin_acked(subflow, now)
        elif self._connection.wants_write:
            # Maybe the subflow has acknowledged it before.
            self._connection.on_acked(subflow.number, now)

    def highest(self) -> int:
        """Return the highest DATA_ACK that makes sense."""
        return self.end + 1 if self.fin_sent else self.nxt

    # --- Sending --------------------------------------------------------------------------------

    def push(self, now: int) -> None:
        """Send all that windows and scheduler allow: reinjections, new data, the DATA_FIN."""
        self.moved = False
        if self._pushing or not self.awake:
            return
        if self.una >= self.repair.end:
            self._go_on_repairing()
        new = self.nxt < self.end
        if not new and not self.reinjections and not (self.fin_wanted and not self.fin_sent):
            if self.una < self.nxt:
                if self.scheduler.REDUNDANT:
                    self._push_copies(self._connection.usable(), now)
                elif self._connection.wants_write:
                    # The send buffer is full of what is on its way.
                    self._blocked(self._connection.usable(), now)
            return
        self._pushing = True
        usable = self._connection.usable()
        if usable:
            if self.reinjections:
                self._push_reinjections(usable, now)
            if self._probing and self.edge > self.nxt:
                self._send_probes(usable, now)
            if self.scheduler.REDUNDANT:
                self._push_copies(usable, now)
            elif new and self.ahead:
                self._push_ahead(usable, now)
            elif new:
                self._push_new(usable, now)
            if self.fin_wanted and not self.fin_sent and self.nxt == self.end:
                self.send_fin(now)
            if self.nxt < self.end or self.reinjections:
                self._wait(usable, now)
        elif self._fixed and self.rto_at == NEVER and new:
            self._start_timer(now)
        self._pushing = False

    def _push_new(self, usable: list[Subflow], now: int) -> None:
        # What does not change between two segments is asked once: this runs for every ACK.
        rooms = [subflow.room(now) for subflow in usable]
        several = len(usable) > 1
        segments = self._connection.config.mptcp.mapping_segments
        while self.nxt < self.end:
            right = self.end if self.end < self.edge else self.edge
            left = right - self.nxt
            if left <= 0:
                self._blocked(usable, now)
                break
            index = 0
            if several:
                index = self._choose_by_room(usable, rooms, left, now)
                if index < 0:
                    break
            subflow = usable[index]
            mss = subflow.tcp.sender.mss
            length = left
            if left > mss:
                length = mss if segments == 1 else self._several(left, mss * segments, rooms[index], mss)
            if rooms[index] < length:
                break
            if length < mss and self._wait_for_more(length):
                if self.nxt + length < self.end or self._connection.wants_write:
                    # A window or the send buffer, not the application, has no more for the next segment.
                    self._blocked(usable, now)
                break
            self._send_new(subflow, length, now)
            rooms[index] -= length

    def _push_ahead(self, usable: list[Subflow], now: int) -> None:
        """Map data onto every subflow that has sent what it had, whether it may send more or not."""
        segments = self._connection.config.mptcp.mapping_segments
        while self.nxt < self.end:
            idle: list[Path] = []
            for subflow in usable:
                if subflow.tcp.sender.nxt >= subflow.tcp.sender.end:
                    idle.append(subflow)
            if not idle:
                break
            chosen = self.scheduler.choose(idle, now)
            if chosen is None:
                self.declined_at = now
                break
            subflow = self._connection.subflow_of(chosen.identifier)
            most = subflow.tcp.sender.mss * segments
            length = min(self.end - self.nxt, self.edge - self.nxt, most)
            if length <= 0 or (length < subflow.tcp.sender.mss and self._wait_for_more(length)):
                break
            self._send_new(subflow, length, now)

    def _several(self, left: int, most: int, room: int, mss: int) -> int:
        """Return the length of a mapping over several segments: whole ones, at least one."""
        return max(mss, min(left, most, room) // mss * mss)

    def _choose_by_room(self, usable: list[Subflow], rooms: list[int], left: int, now: int) -> int:
        """Have the scheduler choose among those with room for the next segment; return the index or -1."""
        available: list[Path] = []
        last = -1
        for index in range(len(usable)):
            subflow = usable[index]
            mss = subflow.tcp.sender.mss
            if rooms[index] >= (left if left < mss else mss):
                available.append(subflow)
                last = index
        if last < 0:
            return -1
        chosen = self.scheduler.choose(available, now)
        if chosen is None:
            self.declined_at = now
            return -1
        if chosen is usable[last]:
            return last
        return [subflow.number for subflow in usable].index(chosen.identifier)

    def _wait_for_more(self, length: int) -> bool:
        """Return whether a short segment had better wait (RFC 9293 sections 3.7.4 and 3.8.6.2.1)."""
        outstanding = self.nxt > self.una
        nagle = self._connection.config.nagle
        if self.nxt + length == self.end:
            return nagle and outstanding and not self.fin_wanted
        if self._fills:
            return False
        # The window cuts the segment: worth it only if it is half of the largest window.
        return length * 2 < self.max_window or (nagle and outstanding)

    def _choose(
        self, scheduler: Scheduler, usable: list[Subflow], left: int, excluded: int, now: int
    ) -> Subflow | None:
        available: list[Path] = []
        for subflow in usable:
            sender = subflow.tcp.sender
            if subflow.number == excluded or sender.nxt < sender.end:
                # What was mapped ahead comes first.
                continue
            if subflow.room(now) >= min(left, subflow.tcp.sender.mss):
                available.append(subflow)
        if not available:
            return None
        chosen = scheduler.choose(available, now)
        if chosen is None:
            self.declined_at = now
            return None
        return self._connection.subflow_of(chosen.identifier)

    def _send_new(self, subflow: Subflow, length: int, now: int) -> None:
        dsn = self.nxt
        # MP_CAPABLE, which stands in for the first mapping of version 1, has no flag for it.
        fin = self.fin_wanted and dsn + length == self.end and not subflow.next_has_keys()
        if self.una == dsn:
            self._progress_at = now
            self._arm(now)
        if self._probing and subflow.probe_dsn:
            self._send_probe(subflow, now)
        self.nxt = dsn + length
        if fin:
            self.fin_sent = True
        subflow.send_data(dsn, length, fin, self.nxt == self.end, now)
        if dsn >= self._rate_from + _RATE_SPAN and self.octets == 4:
            self._look_at_rate(now)
        if fin:
            self._connection.ending.on_data_fin_sent()

    def _send_probes(self, usable: list[Subflow], now: int) -> None:
        """The window has reopened: what probes it goes first, where the subflow's own window allows it."""
        waiting = False
        for subflow in usable:
            if subflow.probe_dsn:
                if subflow.tcp.sender.edge > subflow.tcp.sender.nxt:
                    self._send_probe(subflow, now)
                else:
                    waiting = True
        self._probing = waiting

    def _send_probe(self, subflow: Subflow, now: int) -> None:
        dsn = subflow.probe_dsn
        subflow.probe_dsn = 0
        self.repeated_while_closed += 1
        subflow.send_data(dsn, 1, False, True, now)
        sender = subflow.tcp.sender
        subflow.tcp.log(PROBE, now, sender.nxt - 1, 1)

    def _look_at_rate(self, now: int) -> None:
        """Go over to 8 octets if 4 could wrap within one MSL (section 3.3.1: "MUST")."""
        if (now - self._rate_since) * ((1 << 32) // _RATE_SPAN) < _MSL:
            self.octets = 8
            self._connection.on_longer_numbers()
        self._rate_from = self.nxt
        self._rate_since = now

    def _push_reinjections(self, usable: list[Subflow], now: int) -> None:
        """Send again, elsewhere, what a failed subflow has not delivered (section 3.3.6)."""
        queue = self.reinjections
        # What its own subflow alone could carry does not hold up what comes from another one.
        kept: deque[Reinjection] = deque()
        while queue:
            item = queue.popleft()
            dsn = max(item.dsn, self.una)
            if dsn >= item.end:
                continue
            left = item.end - dsn
            subflow = self._choose(self.scheduler, usable, left, item.origin, now)
            if subflow is None:
                kept.append(item)
                continue
            length = min(left, subflow.tcp.sender.mss)
            if dsn + length < item.end:
                queue.appendleft(Reinjection(dsn + length, item.end, item.origin))
            self._resend(subflow, dsn, length, now)
        self.reinjections = kept

    def _resend(self, subflow: Subflow, dsn: int, length: int, now: int) -> None:
        subflow.reinjected_bytes += length
        if self.edge <= self.nxt:
            self.repeated_while_closed += length
        self._connection.count("MPTcpExtMPTCPRetrans")
        fin = self.fin_sent and dsn + length == self.end
        subflow.send_data(dsn, length, fin, dsn + length == self.end, now)

    def _push_copies(self, usable: list[Subflow], now: int) -> None:
        """Every subflow carries everything that is not acknowledged, in order."""
        for subflow in usable:
            while True:
                dsn = max(self._copies.get(subflow.number, 1), self.una)
                right = min(self.end, self.edge)
                mss = subflow.tcp.sender.mss
                length = min(right - dsn, mss)
                if length <= 0 or subflow.room(now) < length:
                    break
                if dsn + length > self.nxt and length < mss and self._wait_for_more(length):
                    break
                self._copies[subflow.number] = dsn + length
                if dsn + length > self.nxt:
                    # Partly new: whoever comes first sends it as such.
                    if dsn < self.nxt:
                        length = self.nxt - dsn
                        self._copies[subflow.number] = self.nxt
                        subflow.send_data(dsn, length, False, False, now)
                    else:
                        self._send_new(subflow, length, now)
                else:
                    fin = self.fin_sent and dsn + length == self.end
                    subflow.send_data(dsn, length, fin, dsn + length == self.end, now)

    def _blocked(self, usable: list[Subflow], now: int) -> None:
        """Nothing new can be sent: maybe the oldest data is held up on a subflow that is slower.

        That is opportunistic retransmission and penalisation (Raiciu et al., NSDI 2012, section 4.2).
        """
        holder: Subflow | None = None
        for subflow in usable:
            if subflow.mappings.carries(self.una):
                holder = subflow
                break
        if holder is None:
            return
        for path in usable:
            if path is holder or path.blocked_at == self.una:
                continue
            length = min(self.nxt - self.una, path.tcp.sender.mss)
            if length <= 0 or path.room(now) < length:
                continue
            verdict = self.scheduler.on_blocked(path, holder, now)
            if verdict & PENALISE:
                holder.penalise()
            if verdict & RESEND:
                path.blocked_at = self.una
                self._resend(path, self.una, length, now)

    def _wait(self, usable: list[Subflow], now: int) -> None:
        """Data is left over: where nothing is in flight, some timer has to run."""
        idle = True
        closed = self.nxt < self.end and self.edge <= self.nxt
        if not self._wakes:
            self.awake = False
        if self._fixed and self.rto_at == NEVER:
            self._start_timer(now)
        for subflow in usable:
            board = subflow.tcp.sender.board
            if board.head < len(board.records):
                idle = False
            elif closed or subflow.own_window_closed():
                if not self._subflows_probe or (self._probes and self.una < self.nxt):
                    # Linux: the byte below gives a subflow something to probe with, once all is acknowledged.
                    continue
                subflow.tcp.sender.window_probe.wait(now)
                if closed and self._probes and self.una > 1 and not subflow.probe_dsn:
                    self._connection.count("MPTcpExtWinProbe")
                    subflow.probe_dsn = self.una - 1
                    self._probing = True
        if idle and not closed and self.override_at == NEVER:
            self.override_at = now + SWS_OVERRIDE
            self._connection.wake_by(self.override_at)

    # --- DATA_FIN and timers --------------------------------------------------------------------

    def send_fin(self, now: int) -> None:
        """Send a DATA_FIN without data (section 3.3.3), for the first time or again."""
        usable = self._connection.usable() or self._connection.alive()
        if not usable:
            return
        if not self.fin_sent:
            self.fin_sent = True
            self._progress_at = now
            self._arm(now)
            usable[0].send_data_fin(now)
            self._connection.ending.on_data_fin_sent()
        else:
            for subflow in usable:
                subflow.send_data_fin(now)

    def stop(self) -> None:
        """Send nothing any more: the connection was aborted."""
        self.end = self.nxt
        self.fin_wanted = False
        self.rto_at = self.override_at = NEVER
        self.reinjections.clear()

    def reinject(self, items: list[Reinjection]) -> None:
        """Queue data for other subflows, lowest DSN first; what one subflow carries twice is queued once."""
        self.reinjections = merged([*self.reinjections, *items])
        self.awake = True

    def _timeout(self) -> int:
        if self._fixed:
            return self._fixed
        longest = 0
        for subflow in self._connection.alive():
            longest = max(longest, subflow.tcp.sender.rtt.rto)
        config = self._connection.config
        return min((longest or config.rto_initial) << min(self.backoff, 8), config.rto_max)

    def _start_timer(self, now: int) -> None:
        self._progress_at = now
        self._arm(now)

    def _arm(self, now: int) -> None:
        self.rto_at = now + self._timeout()
        self._connection.wake_by(self.rto_at)

    def on_timer(self, now: int) -> None:
        """The connection-level timers are due."""
        if self.override_at <= now:
            self.override_at = NEVER
            self._use_small_window(now)
        if self.rto_at > now:
            return
        self.rto_at = NEVER
        waiting = self._fixed > 0 and self.nxt < self.end
        if self.una >= self.highest() and not waiting:
            return
        if self._progress_at + self._timeout() > now:
            # DATA_ACKs do not touch the timer: what they are worth shows here.
            self._arm(self._progress_at)
            return
        if self.backoff >= self._retries:
            self._connection.ending.time_out("nothing was acknowledged at the connection", now)
            return
        if any(subflow.fail.dsn >= 0 for subflow in self._connection.open):
            # On the way back to plain TCP what is in flight has to stay one piece of the stream.
            self._arm(now)
            return
        if self.una < self.nxt and not self._held():
            # The subflows have acknowledged the oldest data, the connection has not (section 3.3.6).
            if self.backoff >= _PATIENCE and self._reset_silent(now):
                self._arm(now)
                return
            self._connection.note("data retransmission", f"dsn {self.una}")
            # First a segment; when that did not help, everything, as after a time-out of TCP.
            end = self.nxt if self.backoff else min(self.nxt, self.una + self._first_try)
            self.reinject([Reinjection(self.una, end, self._misled())])
            self.repair.begin(self.una, end, self.nxt)
            self.backoff += 1
        elif self.una == self.nxt and self.fin_sent:
            self.send_fin(now)
            self.backoff += 1
        elif self._fixed:
            self.backoff += 1
        self._arm(now)
        self.awake = True
        self.timer_at = now
        self.push(now)

    def _reset_silent(self, now: int) -> bool:
        """Reset subflows that acknowledge data and never bring a DATA_ACK; return whether there were any.

        The options have vanished in this direction alone: the peer cannot notice (section 3.7).
        """
        silent = [subflow for subflow in self._connection.alive() if subflow.bare_acks]
        for subflow in silent:
            self._connection.reset_subflow(subflow, REASON_MIDDLEBOX, "no DATA_ACK passes any more", now)
        return len(silent) > 0

    def _misled(self) -> int:
        """Return the subflow that has acknowledged the oldest data in vain, if another one can have it."""
        usable = self._connection.usable()
        if len(usable) > 1:
            for subflow in usable:
                if subflow.mappings.has_left(self.una):
                    return subflow.number
        return NOBODY

    def _go_on_repairing(self) -> None:
        """What was sent again is DATA_ACKed: is the next byte missing, too?"""
        repair = self.repair
        if self.una >= self.nxt or any(subflow.fail.dsn >= 0 for subflow in self._connection.open):
            repair.stop()
        elif not self._held():
            self.reinject([repair.follow(self.una, self.nxt, self._misled())])
        elif self.una >= repair.point:
            repair.stop()

    def _held(self) -> bool:
        """Return whether a subflow that works still has the oldest data to deliver."""
        usable = self._connection.usable()
        if not usable:
            # All of them are in time-out, and send again themselves what they have.
            return True
        for subflow in usable:
            if subflow.mappings.carries(self.una):
                return True
        for item in self.reinjections:
            if item.dsn <= self.una < item.end and any(s.number != item.origin for s in usable):
                return True
        return False

    def _use_small_window(self, now: int) -> None:
        usable = self._connection.usable()
        if any(len(subflow.tcp.sender.board) for subflow in usable):
            return
        left = min(self.end - self.nxt, self.edge - self.nxt)
        again = self.reinjections[0] if self.reinjections else None
        for subflow in usable:
            sender = subflow.tcp.sender
            most = min(subflow.room(now), sender.mss)
            if most <= 0 or sender.nxt < sender.end:
                continue
            if again is not None:
                if subflow.number != again.origin and self.una < again.end:
                    dsn = max(again.dsn, self.una)
                    length = min(again.end - dsn, most)
                    self._resend(subflow, dsn, length, now)
                    subflow.tcp.log(OVERRIDE, now, sender.nxt - length, length)
                    return
            elif left > 0:
                length = min(left, most)
                self._send_new(subflow, length, now)
                subflow.tcp.log(OVERRIDE, now, sender.nxt - length, length)
                return
