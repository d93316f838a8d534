"""Options of MPTCP, other than the DSS, that a subflow sends: which go with an ACK, and when.

They travel on ACKs without data, which TCP does not repeat. What does not fit into the 40
bytes of an ACK is counted as dropped and goes with a later one.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.fail_signal import FailSignal
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.stages import PRE_ESTABLISHED, READY
from mptcpsim.core.mptcp_options import AddAddr, Dss, MptcpOption, RemoveAddr, padded_length
from mptcpsim.core.options import OPTION_SPACE
from mptcpsim.core.tcp.states import CLOSE_WAIT, ESTABLISHED
from mptcpsim.units import NEVER

#: Section 4 of RFC 8684: more ACKs with signals in a row could be taken for duplicate ACKs.
_ACKS_IN_A_ROW: Final = 2
#: Signals that wait before further echoes are left out.
_MOST_WAITING: Final = 16

_SENT: Final[dict[str, str]] = {
    "RemoveAddr": "MPTcpExtRmAddrTx",
    "MpPrio": "MPTcpExtMPPrioTx",
    "MpFail": "MPTcpExtMPFailTx",
    "MpFastclose": "MPTcpExtMPFastcloseTx",
}


class Signals:
    """The signals of one subflow. Times in ns.

    Attributes:
        waiting: options that wait for room on an ACK, oldest first.
        send_at: when ACKs may be sent for them again.
    """

    __slots__ = ("_acks", "_data_end", "_fail", "_inbound", "_subflow", "send_at", "waiting")

    def __init__(self, subflow: SubflowState, inbound: DataReceiver, fail: FailSignal) -> None:
        self._subflow = subflow
        self._inbound = inbound
        self._fail = fail
        self.waiting: list[MptcpOption] = []
        self.send_at: int = NEVER
        #: ACKs sent for signals, with no data in between: the subflow's data ended at ``_data_end`` then.
        self._acks: int = 0
        self._data_end: int = 1

    def send(self, option: MptcpOption, now: int) -> None:
        """Send an option: on an ACK now, or on a later one.

        The peer may ask for more echoes than there are ACKs: an echo that waits already is not queued
        again, and the number of signals that wait is limited. The peer repeats what was not echoed.
        """
        waiting = self.waiting
        if (
            isinstance(option, AddAddr)
            and option.echo
            and (option in waiting or len(waiting) >= _MOST_WAITING)
        ):
            self._count_dropped(option)
            return
        waiting.append(option)
        self.flush(now)

    def flush(self, now: int) -> None:
        """Send ACKs for the options that wait, at most two in a row."""
        subflow = self._subflow
        tcp = subflow.tcp
        while self.waiting and subflow.stage == READY and tcp.state in (ESTABLISHED, CLOSE_WAIT):
            end = tcp.sender.end
            if end != self._data_end:
                self._data_end = end
                self._acks = 0
            if subflow.keys_due or self._acks >= _ACKS_IN_A_ROW:
                self.send_at = now + max(tcp.sender.rtt.srtt, tcp.config.rto_min)
                tcp.wake_by(self.send_at)
                return
            self._acks += 1
            tcp.send_ack(now)

    def stop(self) -> None:
        """Send none of them any more: the connection has become plain TCP."""
        self.waiting = []
        self.send_at = NEVER

    def handle_timers(self, now: int) -> None:
        """Send what waits if that is due."""
        if self.send_at <= now:
            self.send_at = NEVER
            self._acks = 0
            self.flush(now)

    def take_for_ack(self, room: int) -> tuple[Dss | None, tuple[MptcpOption, ...] | None, bool]:
        """Return what goes with an ACK without data: DSS, other options, and whether timestamps do.

        Args:
            room: bytes of options that the timestamps leave.
        """
        subflow = self._subflow
        joining = subflow.stage == PRE_ESTABLISHED
        chosen: list[MptcpOption] = []
        if not joining and self._fail.due:
            chosen.append(self._fail.option())
        elif joining or subflow.keys_due:
            chosen.append(subflow.third_ack_option())
        left = room
        for option in chosen:
            left -= padded_length(option)
        stamped = subflow.tcp.timestamps
        ack = self._inbound.ack_dss()
        # An ACK of new data has a DATA_ACK: without it the peer suspects a middlebox (section 3.7).
        receiver = subflow.tcp.receiver
        acks_data = receiver.nxt > receiver.last_ack_sent
        speaks_dss = (subflow.dss_received or not subflow.keys_due) and not joining
        needed = padded_length(ack) if speaks_dss else 0
        if self.waiting:
            waiting, self.waiting = self.waiting, []
        else:
            waiting = self.waiting
        for option in waiting:
            size = padded_length(option)
            alone = not chosen and not acks_data
            if not joining and (size + needed <= left or (alone and size <= left)):
                chosen.append(option)
                left -= size
                self._count_sent(option)
            elif not joining and alone and room < size <= OPTION_SPACE:
                # An IPv6 address with a port and its HMAC only fits in place of the timestamps.
                chosen.append(option)
                stamped = False
                left = OPTION_SPACE - size
                self._count_sent(option)
            else:
                self.waiting.append(option)
                self._count_dropped(option)
        dss: Dss | None = None
        if speaks_dss and needed <= left:
            dss = ack
        return dss, tuple(chosen) if chosen else None, stamped

    def _count_sent(self, option: MptcpOption) -> None:
        if isinstance(option, AddAddr):
            self._subflow.connection.count("MPTcpExtEchoAddTx" if option.echo else "MPTcpExtAddAddrTx")
        else:
            name = _SENT.get(type(option).__name__)
            if name is not None:
                self._subflow.connection.count(name)

    def _count_dropped(self, option: MptcpOption) -> None:
        if isinstance(option, AddAddr):
            name = "MPTcpExtEchoAddTxDrop" if option.echo else "MPTcpExtAddAddrTxDrop"
            self._subflow.connection.count(name)
        elif isinstance(option, RemoveAddr):
            self._subflow.connection.count("MPTcpExtRmAddrTxDrop")
