"""Further subflows: when this end may open one, and whether it takes one (RFC 8684 section 3.2)."""

from __future__ import annotations

from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.data_states import M_CLOSED, M_FASTCLOSE_WAIT, M_INIT, M_TIME_WAIT
from mptcpsim.core.mptcp.session import Session
from mptcpsim.core.mptcp_options import REASON_LACK_OF_RESOURCES, REASON_MPTCP_SPECIFIC, REASON_PROHIBITED
from mptcpsim.core.segment import FourTuple
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.plugins import OpenSubflow, SubflowInfo


class Joins:
    """The subflows that a path manager wants opened, until the connection may open them.

    RFC 8684 section 3.1: not before a DSS has arrived. Profiles differ (``MptcpConfig.join_after``).
    """

    __slots__ = ("_allowed", "_before_third_ack", "_connection", "_failing", "_outbound", "_waiting")

    def __init__(self, connection: Session, outbound: DataSender) -> None:
        self._connection = connection
        self._outbound = outbound
        self._allowed: bool = connection.config.mptcp.join_after == "at-once"
        #: The third ACK of the first subflow was not sent: a SYN before it would find no connection to join.
        self._before_third_ack: bool = connection.is_client
        #: None while nothing has to wait.
        self._waiting: list[OpenSubflow] | None = None
        #: Joins that failed and whose failure is being reported to the path manager.
        self._failing: tuple[OpenSubflow, ...] = ()

    # --- The initiator --------------------------------------------------------------------------

    def open(self, action: OpenSubflow, now: int) -> None:
        """Open a subflow, now or as soon as it is allowed."""
        if self._allowed and not self._before_third_ack:
            self._open(action, now)
        else:
            if self._waiting is None:
                self._waiting = []
            self._waiting.append(action)

    def on_third_ack_sent(self, now: int) -> None:
        """The third ACK of a subflow is on its way."""
        self._before_third_ack = False
        self._open_waiting(now)

    def on_dss(self, now: int) -> None:
        """The first DSS has arrived, or an MP_CAPABLE that stands in for one."""
        if self._connection.config.mptcp.join_after in ("dss", "add-addr"):
            self._allowed = True
        self._open_waiting(now)

    def on_add_addr(self, now: int) -> None:
        """An ADD_ADDR has arrived: in Linux a reason to allow joins."""
        if self._connection.config.mptcp.join_after == "add-addr":
            self._allowed = True
            self._open_waiting(now)

    def _open_waiting(self, now: int) -> None:
        waiting = self._waiting
        if self._allowed and not self._before_third_ack and waiting is not None:
            self._waiting = None
            for action in waiting:
                self._open(action, now)

    def _open(self, action: OpenSubflow, now: int) -> None:
        connection = self._connection
        ending = connection.peer_closed and self._outbound.fin_sent
        if connection.is_plain or connection.state in (M_CLOSED, M_FASTCLOSE_WAIT) or ending:
            return
        first = connection.subflows[0].flow
        if connection.agreed.denies_initial and (action.remote, action.port) == (first.dst, first.dport):
            # Flag C of the peer's MP_CAPABLE: "MUST NOT" (section 3.1).
            return
        subflow = connection.new_join(action, now) if connection.has_room() else None
        if subflow is None:
            self._fail(action, now)
            return
        connection.count("MPTcpExtMPJoinSynTx")
        subflow.open(action.backup, now)

    def _fail(self, action: OpenSubflow, now: int) -> None:
        """Tell the path manager that a subflow could not be opened."""
        connection = self._connection
        connection.count("MPTcpExtMPJoinSynTxBindErr")
        if action in self._failing:
            # The path manager answers the failure with the same action.
            return
        info = SubflowInfo(
            UNKNOWN, action.local, UNKNOWN, action.remote, UNKNOWN, action.port, action.backup, True
        )
        before = self._failing
        self._failing = (*before, action)
        connection.act(connection.path_manager.on_subflow_closed(connection.paths, info), now)
        self._failing = before

    # --- The responder --------------------------------------------------------------------------

    def refusal(self, flow: FourTuple) -> int:
        """Return why a join over ``flow`` (as received) is refused, ``UNKNOWN`` if it is not."""
        connection = self._connection
        if connection.is_plain or connection.state in (M_INIT, M_CLOSED, M_TIME_WAIT, M_FASTCLOSE_WAIT):
            return REASON_MPTCP_SPECIFIC
        if not connection.has_room() or not connection.path_manager.may_join(connection.paths):
            return REASON_LACK_OF_RESOURCES
        first = connection.subflows[0].flow
        to_first = flow.dst == first.src and flow.dport == first.sport
        if connection.agreed.denies_own_initial and to_first:
            # Flag C of our MP_CAPABLE said so (section 3.1).
            return REASON_PROHIBITED
        return UNKNOWN
