"""Window updates after a read, and the window that a subflow announces if it has one of its own.

RFC 8684 has one window, relative to the DATA_ACK, and does not say on which subflow an update goes.
What else there is, is in ``MptcpConfig``: ``window_update``, ``window_update_rule``, ``receive_window``.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.window_log import UPDATE, WITHHELD

_MAX_FIELD: Final = 0xFFFF


class WindowUpdates:
    """Decides on which subflows a read is followed by a window update, at one end of a connection."""

    __slots__ = ("_connection", "_inbound", "_turn")

    def __init__(self, connection: Session, inbound: DataReceiver) -> None:
        self._connection = connection
        self._inbound = inbound
        #: The subflow whose turn the last read was, where the subflows take turns.
        self._turn: int = -1

    def after_read(self, now: int) -> None:
        """Send a window update after a read, if it is worth a segment."""
        connection = self._connection
        mptcp = connection.config.mptcp
        if connection.peer_closed or mptcp.window_update == "none":
            return
        if mptcp.window_update == "one":
            chosen = self._whose_turn()
            if chosen is not None:
                missing = self.missing_to_update(chosen)
                if missing <= 0:
                    self._update(chosen, now)
                else:
                    self._withheld(chosen.number, missing, now)
            return
        alive = connection.alive()
        missing = min([self.missing_to_update(subflow) for subflow in alive], default=0)
        if alive and missing > 0:
            self._withheld(-1, missing, now)
            return
        for subflow in alive:
            self._update(subflow, now)

    def _whose_turn(self) -> SubflowState | None:
        """Return the subflow that may send an update for this read; the subflows take turns at every read."""
        alive = self._connection.alive()
        usable = [subflow for subflow in alive if not subflow.failing] or alive
        if not usable:
            return None
        chosen = usable[0]
        for subflow in usable:
            if subflow.number > self._turn:
                chosen = subflow
                break
        self._turn = chosen.number
        return chosen

    def missing_to_update(self, subflow: SubflowState) -> int:
        """Return how many bytes more must be read before an update is worth a segment; 0 or less: none."""
        connection = self._connection
        inbound = self._inbound
        receiver = subflow.tcp.receiver
        announces_own = connection.config.mptcp.receive_window != "connection"
        mss = inbound.mss
        if announces_own:
            space = self.own_space(subflow)
            offered = receiver.wnd_end - receiver.nxt
        else:
            space = min(inbound.limit - inbound.nxt, _MAX_FIELD << receiver.scale)
            offered = inbound.wnd_end - inbound.nxt
        gain = space - offered
        if connection.config.mptcp.window_update_rule == "rfc":
            return inbound.least_gain(receiver.scale) - gain
        if connection.config.mptcp.window_update_rule == "linux":
            # tcp_cleanup_rbuf: the window is at least twice what the peer still holds.
            return max(2 * offered, inbound.least_step(receiver.scale)) - space
        # FreeBSD's tcp_output: two segments that are a quarter of the buffer, or that come to a window of an
        # eighth of it at most, or any two segments of a small buffer; or half of the buffer.
        buffer = inbound.buffer
        two = 2 * mss - gain
        if 8 * (space + max(two, 0)) <= buffer or buffer <= 8 * mss:
            return min(two, (buffer + 1) // 2 - gain)
        return min(max(two, (buffer + 3) // 4 - gain), (buffer + 1) // 2 - gain)

    def _update(self, subflow: SubflowState, now: int) -> None:
        tcp = subflow.tcp
        tcp.send_ack(now)
        tcp.log(UPDATE, now, tcp.sender.nxt, 0)

    def _withheld(self, number: int, missing: int, now: int) -> None:
        log = self._connection.window_log
        if log is not None:
            log.add(WITHHELD, now, number, 0, 0, missing, 0)

    # --- A receive window of the subflow's own ------------------------------------------------------

    def own_space(self, subflow: SubflowState) -> int:
        """Return the room that a subflow sees which announces a window of its own."""
        connection = self._connection
        inbound = self._inbound
        if connection.config.mptcp.receive_window == "own":
            return inbound.buffer
        # FreeBSD does not count the reassembly queue, which holds the data out of order.
        return max(0, inbound.limit - inbound.nxt)

    def own_window_field(self, subflow: SubflowState) -> int:
        """Return the window field of a subflow that announces its own window, and note the edge it promises.

        FreeBSD: nothing below a segment and a quarter of the buffer, and never less than was promised.
        """
        tcp = subflow.tcp
        receiver = tcp.receiver
        inbound = self._inbound
        scale = receiver.scale
        space = self.own_space(subflow)
        if space < inbound.mss and 4 * space < inbound.buffer:
            space = 0
        promised = receiver.wnd_end - receiver.nxt
        # A shift that would take back a part of a promise is rounded up (RFC 7323 section 2.4).
        unit = (1 << scale) - 1
        field = min((promised + unit) >> scale if space <= promised else space >> scale, _MAX_FIELD)
        if (field << scale) < promised:
            field = min((promised + unit) >> scale, _MAX_FIELD)
        receiver.promise(receiver.nxt + (field << scale))
        receiver.note_window(field)
        return field

    def after_join(self, subflow: SubflowState, now: int) -> None:
        """Send on a new subflow the update of a read that no subflow could carry."""
        connection = self._connection
        usual = (
            connection.config.mptcp.window_update == "all"
            and connection.config.mptcp.receive_window == "connection"
        )
        if usual and not connection.peer_closed and self._inbound.owes_update(subflow.tcp.receiver.scale):
            self._update(subflow, now)
