"""The two ends of a connection as they are seen from outside: by their snapshots and event logs only."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.events import Event
from mptcpsim.core.mptcp.info import (
    MappingInfo,
    MptcpInfo,
    carriers,
    mapping_at,
    mptcp_info,
    requeued_from,
)
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import (
    ConnectionInfo,
    SegmentInfo,
    TcpInfo,
    connection_info,
    segment_at,
    tcp_infos,
)
from mptcpsim.core.window_log import WindowEvent

_FIRST: Final = -1


class End:
    """One end of a connection at an instant; not to be kept longer, for its records are taken when asked for.

    Attributes:
        now: the instant, ns.
        info: what the application could know.
    """

    __slots__ = ("_connection", "_mptcp", "_subflows", "info", "now")

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self.now = now
        self.info: ConnectionInfo = connection_info(connection)
        self._mptcp: MptcpInfo | None = None
        self._subflows: list[TcpInfo] = []

    @property
    def mptcp(self) -> MptcpInfo | None:
        """What MPTCP says, None for a connection that never offered it."""
        if self._mptcp is None:
            self._mptcp = mptcp_info(self._connection, self.now)
        return self._mptcp

    @property
    def subflows(self) -> list[TcpInfo]:
        """What each subflow says, those that have ended included."""
        if not self._subflows:
            self._subflows = tcp_infos(self._connection, self.now)
        return self._subflows

    @property
    def identifier(self) -> int:
        """Number of the connection at its host."""
        return self.info.identifier

    @property
    def active_mptcp(self) -> MptcpInfo | None:
        """The snapshot of MPTCP, or None if the connection does not speak MPTCP (any more)."""
        mptcp = self.mptcp
        return None if mptcp is None or mptcp.is_plain else mptcp

    @property
    def only(self) -> TcpInfo:
        """The subflow that a plain connection has, or goes on with."""
        return self.subflows[0 if self.mptcp is None else self.mptcp.plain_subflow]

    @property
    def open(self) -> list[TcpInfo]:
        """The subflows of a connection with MPTCP that are not closed."""
        assert self.mptcp is not None
        return [self.subflows[each.number] for each in self.mptcp.each if each.is_open]

    @property
    def usable(self) -> list[TcpInfo]:
        """Of these, those to which new data may go."""
        assert self.mptcp is not None
        return [self.subflows[each.number] for each in self.mptcp.each if each.is_usable]

    # --- What has to be looked up -------------------------------------------------------------------

    def segment(self, subflow: TcpInfo, seq: int) -> SegmentInfo | None:
        """Return the segment that carries a byte of a subflow, None if it is not outstanding."""
        return segment_at(self._connection, subflow.identifier, seq)

    def carriers(self, dsn: int) -> list[MappingInfo]:
        """Return the mappings of open subflows that have a byte of the connection to deliver yet."""
        return carriers(self._connection, dsn)

    def mapping(self, subflow: TcpInfo, seq: int) -> MappingInfo | None:
        """Return the mapping of a byte of a subflow, None if nothing of it is outstanding."""
        return mapping_at(self._connection, subflow.identifier, seq)

    def requeued_from(self, dsn: int) -> set[int]:
        """Return the subflows that had a byte of the connection when it was queued for others."""
        return requeued_from(self._connection, dsn)

    # --- Events -------------------------------------------------------------------------------------

    @property
    def window_events(self) -> list[WindowEvent]:
        """What happened to the windows, oldest first."""
        log = self._connection.window_log
        return log.events if log is not None else []

    def events(self) -> list[Event]:
        """Return what the host has noted of all its connections, oldest first."""
        return self._connection.host_events()

    def is_mine(self, event: Event) -> bool:
        """Return whether an event of the host is one of this connection."""
        return event.connection == self.info.identifier


def numbers_of(sender: End | None, receiver: End) -> dict[int, int]:
    """Return the numbers that ``sender`` has for its subflows, by those that ``receiver`` has for them.

    Each end counts the subflows in the order in which it has met them, and behind a NAT it knows them by
    other addresses. What both know is the random number of the SYN with MP_JOIN; the first one has none.
    """
    known = {mark: number for number, mark in enumerate(_marks(sender))} if sender is not None else {}
    return {number: known[mark] for number, mark in enumerate(_marks(receiver)) if mark in known}


def _marks(end: End) -> list[int]:
    if end.mptcp is None:
        return [_FIRST] * len(end.subflows)
    return [each.join_nonce for each in end.mptcp.each]
