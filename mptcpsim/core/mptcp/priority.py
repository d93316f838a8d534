"""Whether a subflow is a backup: what the SYNs of a join and MP_PRIO say (RFC 8684 section 3.3.8)."""

from __future__ import annotations

from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.signals import Signals
from mptcpsim.core.mptcp_options import MpPrio


class Priority:
    """The priority of one subflow.

    Attributes:
        own: this end asks the peer to use it as a backup only.
        is_backup: one of the two ends does.
    """

    __slots__ = ("_outbound", "_peer", "_signals", "_subflow", "is_backup", "own")

    def __init__(self, subflow: SubflowState, outbound: DataSender, signals: Signals) -> None:
        self._subflow = subflow
        self._outbound = outbound
        self._signals = signals
        self.own: bool = False
        self._peer: bool = False
        self.is_backup: bool = False

    def on_own_syn(self, backup: bool) -> None:
        """The SYN or SYN/ACK of this end will say whether the subflow is a backup."""
        self.own = backup
        self.is_backup = backup or self._peer

    def on_request(self, backup: bool) -> None:
        """The peer has said, in its SYN, its SYN/ACK or an MP_PRIO, whether the subflow is a backup."""
        self._peer = backup
        self.is_backup = backup or self.own

    def change(self, backup: bool, now: int) -> None:
        """Ask the peer to use the subflow as a backup, or no longer, with MP_PRIO."""
        subflow = self._subflow
        self.own = backup
        self.is_backup = backup or self._peer
        self._signals.send(MpPrio(backup), now)
        subflow.connection.note_subflow(subflow, "SF_PRIO", f"backup {int(backup)}")
        self._outbound.push(now)

    def on_mp_prio(self, backup: bool) -> None:
        """The peer asks to use the subflow as a backup, or no longer, with MP_PRIO."""
        self.on_request(backup)
        self._subflow.connection.note_subflow(self._subflow, "SF_PRIO", f"backup {int(backup)}")
