"""The receiving half of a TCP connection: reassembly, the window that is offered, when to ACK."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.options import SACK_BLOCK, SACK_HEADER, sack_blocks_that_fit
from mptcpsim.core.ranges import Ranges
from mptcpsim.core.segment import CE, CWR, RST, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.window_log import LIMITED, ZERO
from mptcpsim.units import NEVER

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000
_MAX_FIELD: Final = 0xFFFF


#: RFC 7323 section 2.3.
MAX_SHIFT: Final = 14


def window_shift(config: TcpConfig) -> int:
    """Return the shift that a configuration wants, or the smallest that offers the whole buffer.

    Two units of the window fit into the buffer, also before autotuning has let it grow. Otherwise the field
    could not express any open window, and the window would stay closed.
    """
    wanted = config.window_scale
    largest = config.receive_buffer
    if config.receive_autotune:
        largest = max(largest, config.receive_buffer_max)
    shift = 0
    while shift < MAX_SHIFT and config.receive_buffer >> shift >= 4:
        if largest >> shift <= 0xFFFF if wanted < 0 else shift >= wanted:
            break
        shift += 1
    return shift


class Receiver:
    """Receive state; sequence numbers relative, sizes in bytes, times in ns.

    Attributes:
        nxt: RCV.NXT.
        wnd_end: right edge of the window as the peer reads it, after scaling; never moves left.
        limit: right edge that the receive buffer allows now; the application moves it by reading.
        out_of_order: ranges above ``nxt`` that have arrived.
        fin_at: sequence number of the peer's FIN, or -1.
        ack_at: when a delayed ACK is due.
        ack_now: an ACK must be sent at once.
        recent: the blocks to report, newest first.
        dsack: a duplicate to report, or None.
    """

    __slots__ = (
        "_answered_at",
        "_field",
        "_seen_limit",
        "_seen_nxt",
        "ack_at",
        "ack_every",
        "ack_now",
        "buffer",
        "delayed_ack",
        "dsack",
        "duplicate_bytes",
        "ecn_echo",
        "fin_at",
        "last_ack_sent",
        "limit",
        "mss",
        "nxt",
        "out_of_order",
        "rcv_mss",
        "recent",
        "sack",
        "scale",
        "sws_step",
        "tcp",
        "ts_recent",
        "ts_recent_at",
        "unacked",
        "wnd_end",
        "zero_window",
    )

    def __init__(self, tcp: ControlBlock, config: TcpConfig) -> None:
        self.tcp = tcp
        self.nxt: int = 0
        self.wnd_end: int = 0
        self.buffer: int = config.receive_buffer
        self.limit: int = 1 + config.receive_buffer
        self.scale: int = 0
        self.mss: int = 536
        self.sws_step: int = 0
        self.out_of_order = Ranges()
        self.fin_at: int = -1
        self.sack: bool = False
        self.ack_every: int = config.ack_every
        self.delayed_ack: int = config.delayed_ack
        self.unacked: int = 0
        #: Largest payload seen: what counts as a full-sized segment (RFC 5681 section 4.2).
        self.rcv_mss: int = 1
        self.ack_now: bool = False
        self.ack_at: int = NEVER
        self.ts_recent: int = 0
        self.ts_recent_at: int = 0
        self.last_ack_sent: int = 0
        self.ecn_echo: bool = False
        self.duplicate_bytes: int = 0
        self.zero_window: bool = False
        self.dsack: tuple[int, int] | None = None
        self.recent: list[tuple[int, int]] = []
        #: When a segment outside of the window was last answered.
        self._answered_at: int = -1
        self._field: int = 0
        self._seen_nxt: int = -1
        self._seen_limit: int = -1

    def on_syn(self, syn: Segment, mss: int, scale: int, sack: bool, now: int) -> None:
        """Take the peer's SYN, and what it agrees to; the window of SYNs is never scaled (RFC 7323 2.2)."""
        self.nxt = 1
        if self.tcp.timestamps:
            self.ts_recent = syn.ts_val
            self.ts_recent_at = now
        self.mss = mss
        self.scale = scale
        self.sack = sack
        # The window field cannot express a step smaller than its unit.
        self.sws_step = max(min(mss, self.buffer // 2), 1 << scale)

    def stop(self) -> None:
        """The connection has ended."""
        self.ack_at = NEVER

    def request_ack(self) -> None:
        """Have an ACK sent at once, at the latest after the present segment."""
        self.ack_now = True

    def on_read(self, count: int) -> None:
        """The application has read ``count`` bytes: the buffer has that much room again."""
        self.limit += count

    def grow(self, more: int) -> None:
        """The buffer has ``more`` bytes."""
        self.buffer += more
        self.limit += more

    def lift_limit(self) -> None:
        """The buffer belongs to an MPTCP connection, which limits by itself what it takes."""
        self.limit = NEVER

    def use_own_buffer(self, room: int) -> None:
        """Use a buffer of this connection's own from now on, with ``room`` bytes free."""
        self.limit = self.nxt + room
        self.promise(self.nxt)

    # --- The window offered -------------------------------------------------------------------

    def syn_window(self) -> int:
        """Return the window field of a SYN, and note the edge that it promises."""
        field = min(self.buffer, _MAX_FIELD)
        # Before the peer's SYN is known its first byte counts as number 1.
        self.promise(1 + field)
        return field

    def promise(self, edge: int) -> None:
        """Note a right edge that the peer is told; the edge never moves left."""
        if edge > self.wnd_end:
            self.wnd_end = edge

    def window_field(self) -> int:
        """Return the window field to send with an ACK of ``nxt``, and note the edge that it promises.

        The edge moves by at least min(MSS, buffer / 2) (RFC 9293 section 3.8.6.2.2) and never to
        the left as the peer reads it. A shift rounds down; where that would take back
        a promise it rounds up instead (RFC 7323 section 2.4).
        """
        nxt = self.nxt
        limit = self.limit
        if nxt == self._seen_nxt and limit == self._seen_limit:
            return self._field
        self._seen_nxt = nxt
        self._seen_limit = limit
        edge = self.wnd_end
        scale = self.scale
        target = limit if limit - edge >= self.sws_step else edge
        field = (target - nxt) >> scale
        if field > _MAX_FIELD:
            field = _MAX_FIELD
        if nxt + (field << scale) < edge:
            field = (edge - nxt + (1 << scale) - 1) >> scale
        self.wnd_end = nxt + (field << scale)
        self.note_window(field)
        self._field = field
        return field

    def note_window(self, field: int) -> None:
        """Note that the window was closed, or opened again, by a segment that is sent now."""
        if field == 0 and not self.zero_window:
            self.zero_window = True
            self.tcp.count("TcpExtTCPToZeroWindowAdv")
            self.tcp.note("zero window advertised", f"ack {self.nxt}")
            self.tcp.log_now(ZERO)
        elif field and self.zero_window:
            self.zero_window = False
            self.tcp.count("TcpExtTCPFromZeroWindowAdv")
            self.tcp.note("window reopened", f"edge {self.wnd_end}")

    def may_answer(self, now: int, skipped: str) -> bool:
        """Return whether a segment without data that PAWS or the window rejects gets an answer.

        Linux limits such answers (``tcp_invalid_ratelimit``), one limit for both.

        Args:
            now: ns.
            skipped: counts those that get none.
        """
        tcp = self.tcp
        pause = tcp.config.mptcp.invalid_ratelimit
        if pause and self._answered_at >= 0 and now - self._answered_at < pause:
            tcp.count(skipped)
            tcp.log_now(LIMITED)
            return False
        self._answered_at = now
        return True

    def wants_window_update(self) -> bool:
        """Return whether the application has read enough for a window update.

        Two segments or half the buffer are enough, or one segment when the window is nearly closed.
        """
        return self.missing_to_update() <= 0

    def missing_to_update(self) -> int:
        """Return how many bytes more must be read before an update is worth a segment; 0 or less: none."""
        gain = min(self.limit, self.nxt + (_MAX_FIELD << self.scale)) - self.wnd_end
        if self.wnd_end - self.nxt < self.mss:
            return self.sws_step - gain
        return max(min(2 * self.mss, self.buffer // 2), self.sws_step) - gain

    def on_fin(self, seq: int) -> None:
        """The peer's FIN has arrived, perhaps before its turn: note its sequence number."""
        self.fin_at = seq
        self.ack_now = True

    def pass_fin(self) -> None:
        """The FIN is next in order: it takes a number, and no room."""
        self.nxt += 1
        self.promise(self.nxt)
        self.limit += 1
        self.ack_now = True

    # --- Segments -----------------------------------------------------------------------------

    def acceptable(self, segment: Segment) -> bool:
        """RFC 9293 section 3.10.7.4 first step: does the segment lie in the window?"""
        seq = segment.seq
        length = segment.end - seq
        nxt = self.nxt
        window = self.wnd_end - nxt
        if length == 0:
            if seq == nxt + window and not segment.flags & RST:
                # The RFC excludes the edge itself. But the ACKs of a peer that has filled the window have
                # this number, and they are needed while a part of the window is lost. So do Linux and BSD.
                return True
            return seq == nxt if window <= 0 else nxt <= seq < nxt + window
        if window <= 0:
            return False
        return nxt <= seq < nxt + window or nxt <= seq + length - 1 < nxt + window

    def on_expected_data(self, segment: Segment, now: int) -> None:
        """Take the data of the common case: the next bytes, nothing out of order, no FIN."""
        length = segment.length
        self.nxt += length
        self.tcp.deliver_whole(segment, now)
        if length > self.rcv_mss:
            self.rcv_mss = length
        self.unacked += length
        if self.ack_every == 1 or self.unacked >= self.ack_every * self.rcv_mss:
            self.ack_now = True
        elif self.ack_at == NEVER:
            self.ack_at = now + self.delayed_ack
            self.tcp.wake_by(self.ack_at)

    def on_data(self, segment: Segment, now: int) -> None:
        """Take any data that is at least partly in the window (RFC 9293 3.10.7.4 step 7, RFC 2018)."""
        seq = segment.seq
        left = seq
        right = min(seq + segment.length, self.wnd_end)
        nxt = self.nxt
        if left < nxt:
            # Old bytes: report them (RFC 2883 section 4) and go on with the rest.
            self._note_duplicate(left, min(right, nxt))
            left = nxt
        if left >= right:
            self.ack_now = True
            return
        if self.limit + self.buffer < right:
            # Promises were rounded up so often that twice the buffer is in use (Linux: TCPRcvQDrop).
            self.tcp.count("TcpExtTCPRcvQDrop")
            self.ack_now = True
            return
        if left > nxt:
            self._queue_out_of_order(segment, left, right)
            return
        gap_filled = len(self.out_of_order) > 0
        if gap_filled:
            right = self._fill_gap(segment, left, right)
        else:
            self.tcp.check(segment, left, right)
        self.nxt = right
        # The bytes behind this segment's own were checked when they were queued.
        self.tcp.deliver(left, right - left, now)
        if segment.length > self.rcv_mss:
            self.rcv_mss = segment.length
        self.unacked += right - left
        if gap_filled or self.ack_every == 1 or self.unacked >= self.ack_every * self.rcv_mss:
            self.ack_now = True
        elif self.ack_at == NEVER:
            self.ack_at = now + self.delayed_ack
            self.tcp.wake_by(self.ack_at)

    def _fill_gap(self, segment: Segment, left: int, right: int) -> int:
        """Take bytes that come next while others wait behind a gap; return up to where all is in order."""
        ranges = self.out_of_order
        end = ranges.take_first(right)
        if end >= 0:
            self.tcp.check(segment, left, right)
            if end == right:
                return end
        else:
            fresh = ranges.add(left, right)
            for low, high in fresh:
                self.tcp.check(segment, low, high)
            self._note_known(left, right, fresh)
            merged = ranges.around(left)
            assert merged is not None
            end = merged[1]
            ranges.remove_below(end)
        self.recent = [block for block in self.recent if block[0] > end]
        self._recall_blocks()
        return end

    def _queue_out_of_order(self, segment: Segment, left: int, right: int) -> None:
        """Keep data that does not come next, and ACK at once (RFC 5681 section 4.2)."""
        self.ack_now = True
        ranges = self.out_of_order
        recent = self.recent
        if ranges.add_above(left, right):
            self.tcp.check(segment, left, right)
            self.tcp.counters().count_queued()
            block = ranges.last()
            if recent and recent[0][0] == block[0]:
                # It goes on where the last one ended.
                recent[0] = block
                return
            if block[0] == left:
                recent.insert(0, block)
                if len(recent) > 4:
                    recent.pop()
                return
        else:
            fresh = ranges.add(left, right)
            for low, high in fresh:
                self.tcp.check(segment, low, high)
            self._note_known(left, right, fresh)
            if fresh:
                self.tcp.counters().count_queued()
            found = ranges.around(left)
            assert found is not None
            block = found
        self.recent = [block, *[b for b in recent if b[1] <= block[0] or b[0] > block[1]]][:4]
        self._recall_blocks()

    def _recall_blocks(self) -> None:
        """Report older blocks again that newer ones had displaced, as room permits (RFC 2018 section 4)."""
        recent = self.recent
        if len(recent) >= min(4, len(self.out_of_order)):
            return
        for block in self.out_of_order.highest_ranges(4):
            if block not in recent:
                recent.append(block)
                if len(recent) == 4:
                    return

    def note_old(self, left: int, right: int) -> None:
        """A segment arrived whose bytes were all delivered before."""
        self._note_duplicate(left, min(right, self.nxt))

    def note_rejected(self, left: int, right: int) -> None:
        """Report the bytes of a segment rejected by PAWS that had arrived before (RFC 2883 section 4)."""
        if left < self.nxt:
            right = min(right, self.nxt)
        else:
            known = self.out_of_order.around(left)
            right = left if known is None else min(right, known[1])
        if left < right:
            self._note_duplicate(left, right)

    def _note_known(self, left: int, right: int, fresh: list[tuple[int, int]]) -> None:
        """Report the parts of [left, right) that are not in ``fresh``: they had arrived before."""
        position = left
        for low, high in fresh:
            if low > position:
                self._note_duplicate(position, low)
            position = high
        if position < right:
            self._note_duplicate(position, right)

    def _note_duplicate(self, left: int, right: int) -> None:
        self.duplicate_bytes += right - left
        self.ack_now = True
        if self.sack:
            if self.dsack is None:
                self.dsack = (left, right)
            self.tcp.count("TcpExtTCPDSACKOldSent")

    # --- What an ACK carries ------------------------------------------------------------------

    def sack_space(self) -> int:
        """Return the bytes that the SACK option of a segment sent now takes."""
        if not self.sack or (not self.recent and self.dsack is None) or self.tcp.signal_bytes:
            # A mapping leaves no room, or only at the cost of payload.
            return 0
        blocks = min(len(self.recent) + (0 if self.dsack is None else 1), self._most_blocks())
        return SACK_HEADER + SACK_BLOCK * blocks

    def _most_blocks(self) -> int:
        return min(4, sack_blocks_that_fit(self.tcp.option_bytes))

    def sack_blocks(self, most: int = 4) -> tuple[tuple[int, int], ...] | None:
        """Return the SACK blocks to send, at most ``most``, newest first; a duplicate is reported once."""
        if not self.sack or (not self.recent and self.dsack is None):
            return None
        blocks = list(self.recent)
        if self.dsack is not None:
            # RFC 2883 section 4: the block that holds the duplicate comes second.
            enclosing = self.out_of_order.around(self.dsack[0])
            if enclosing is not None:
                blocks = [enclosing, *(b for b in blocks if b != enclosing)]
            blocks.insert(0, self.dsack)
            self.dsack = None
        return tuple(blocks[: min(most, self._most_blocks())])

    def on_ack_sent(self) -> None:
        """A segment with an ACK is on its way: nothing is owed to the peer."""
        self.unacked = 0
        self.ack_now = False
        self.ack_at = NEVER
        self.last_ack_sent = self.nxt

    def timestamp_is_old(self, segment: Segment) -> bool:
        """PAWS (RFC 7323 section 5.2): is TSval older than TS.Recent?"""
        return (segment.ts_val - self.ts_recent) & _MASK >= _HALF

    def take_timestamp(self, segment: Segment, now: int) -> None:
        """Remember TSval for echoing (RFC 7323 section 4.3, rule 2)."""
        if segment.ts_val == UNKNOWN or segment.seq > self.last_ack_sent:
            return
        # PAWS has passed it: it is not older than TS.Recent, or that has expired (section 5.5).
        self.ts_recent = segment.ts_val
        self.ts_recent_at = now

    def on_ecn(self, segment: Segment) -> None:
        """RFC 3168 section 6.1.3: echo CE until the sender says CWR."""
        if segment.flags & CWR:
            self.ecn_echo = False
        if segment.ecn == CE:
            self.ecn_echo = True
            self.tcp.count("TcpExtInCEPkts")
