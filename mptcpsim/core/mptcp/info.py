"""Snapshots of an MPTCP connection: ``mptcp_info`` in Linux's names and units, and exact values beside it.

As ``core.tcp.info`` for a subflow: exact fields, and properties ``mptcpi_...`` after ``struct mptcp_info``
(Linux's ``include/uapi/linux/mptcp.h``, filled in by ``mptcp_diag_fill_info``). Data sequence numbers are
relative, the first byte is 1; Linux has them as on the wire, with the IDSN added. What is only a setting of
a path manager (the limits ``mptcpi_..._max``) is left out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.session import SubflowState
from mptcpsim.core.mptcp.subflow import Subflow
from mptcpsim.core.segment import Segment
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.info import ConnectionInfo as ConnectionInfo
from mptcpsim.core.tcp.info import SegmentInfo as SegmentInfo
from mptcpsim.core.tcp.info import TcpInfo as TcpInfo
from mptcpsim.units import MILLISECOND

#: Bits of ``mptcpi_flags``.
MPTCP_INFO_FLAG_FALLBACK: Final = 1
MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED: Final = 2

#: ``MptcpSubflowInfo.join_nonce`` of the first subflow.
NO_JOIN: Final = -1


class MptcpSubflowInfo(NamedTuple):
    """What MPTCP adds to a subflow, at an instant. Sizes in bytes.

    Attributes:
        number: that of the subflow, ``TcpInfo.identifier``.
        join_nonce: random number of the SYN with MP_JOIN, known to both ends; ``NO_JOIN`` for the first one.
        is_open: it is not closed.
        is_usable: it may carry new data: it works, and it is not a backup while a regular subflow works.
        is_backup: one of the two ends wants it used as a backup only.
        reinjected_bytes: payload sent here that had been sent on another subflow before.
        own_window_closed: its own window keeps it from sending.
        kept_bytes: bytes that the connection has acknowledged and this subflow has not.
        blocked_at: the DSN that was last sent here because another subflow held it up, or -1.
    """

    number: int
    join_nonce: int
    is_open: bool
    is_usable: bool
    is_backup: bool
    reinjected_bytes: int
    own_window_closed: bool
    kept_bytes: int
    blocked_at: int


class MptcpInfo(NamedTuple):
    """A connection that speaks MPTCP, or has, at an instant. Sizes in bytes, times in ns, numbers relative.

    Attributes:
        now: the instant.
        version: in use, or being offered.
        is_plain: it speaks plain TCP, by negotiation or after a fallback.
        plain_subflow: number of the subflow that a plain connection goes on with.
        token: the own one.
        local_idsn: the own initial data sequence number.
        has_remote_key: the peer's key has come.
        has_checksum: DSS checksums are in use.
        shares_send_window: only the connection's window limits a subflow, not the subflow's own.
        snd_una, snd_nxt: the lowest DSN that is not acknowledged; the next one to be sent.
        write_seq: the DSN of the next byte that the application writes.
        snd_wnd_end: right edge of the peer's window.
        unsent_bytes: written, and never sent.
        requeued: pieces of data that wait to be sent on another subflow, too.
        bytes_reinjected: payload sent again at the connection.
        timeouts_in_a_row: retransmissions by the connection's timer since something was acknowledged.
        rto_at: when that timer is due, or ``NEVER``.
        retransmitted_at: when it last made data go, or -1.
        override_at: when a small window is used after all, or ``NEVER``.
        may_push: the sender does not wait for a DATA_ACK before it sends.
        scheduler: its name.
        declined_at: when the scheduler was last asked and chose none, or -1.
        repeated_while_closed: bytes sent again while the peer's window was closed.
        rcv_nxt: the DATA_ACK.
        rcv_wnd_end: right edge of the window that was offered.
        received_bytes: payload that arrived in order.
        duplicate_bytes: payload that had arrived before.
        last_sent_at, delivered_at, last_heard: when data was sent last, when data last arrived in order
            (or -1), when a segment came last.
        announced: own addresses that the peer was told.
        accepted: addresses of the peer, but for the first one, to which this end has opened subflows.
        local_used: own addresses, but for the first one, from which it has.
        subflows: open, or being opened.
        joins: of these, those that are not the first one.
        each: every subflow, those that have ended included.
    """

    now: int
    version: int
    is_plain: bool
    plain_subflow: int
    token: int
    local_idsn: int
    has_remote_key: bool
    has_checksum: bool
    shares_send_window: bool
    snd_una: int
    snd_nxt: int
    write_seq: int
    snd_wnd_end: int
    unsent_bytes: int
    requeued: int
    bytes_reinjected: int
    timeouts_in_a_row: int
    rto_at: int
    retransmitted_at: int
    override_at: int
    may_push: bool
    scheduler: str
    declined_at: int
    repeated_while_closed: int
    rcv_nxt: int
    rcv_wnd_end: int
    received_bytes: int
    duplicate_bytes: int
    last_sent_at: int
    delivered_at: int
    last_heard: int
    announced: int
    accepted: int
    local_used: int
    subflows: int
    joins: int
    each: tuple[MptcpSubflowInfo, ...]

    # --- struct mptcp_info, in its order ----------------------------------------------------------

    @property
    def mptcpi_subflows(self) -> int:
        """Subflows beside the first one."""
        return self.joins

    @property
    def mptcpi_add_addr_signal(self) -> int:
        """Own addresses that were announced."""
        return self.announced

    @property
    def mptcpi_add_addr_accepted(self) -> int:
        """Addresses of the peer that have led to subflows."""
        return self.accepted

    @property
    def mptcpi_flags(self) -> int:
        """1 after a fallback, 2 if the peer's key has come, added up."""
        return (MPTCP_INFO_FLAG_FALLBACK if self.is_plain else 0) | (
            MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED if self.has_remote_key else 0
        )

    @property
    def mptcpi_token(self) -> int:
        """The own token."""
        return self.token

    @property
    def mptcpi_write_seq(self) -> int:
        """DSN of the next byte that the application writes, relative."""
        return self.write_seq

    @property
    def mptcpi_snd_una(self) -> int:
        """The lowest DSN that is not acknowledged, relative."""
        return self.snd_una

    @property
    def mptcpi_rcv_nxt(self) -> int:
        """The DATA_ACK, relative."""
        return self.rcv_nxt

    @property
    def mptcpi_local_addr_used(self) -> int:
        """Own addresses from which subflows were opened, but for the first one."""
        return self.local_used

    @property
    def mptcpi_csum_enabled(self) -> int:
        """1 if DSS checksums are in use."""
        return int(self.has_checksum)

    @property
    def mptcpi_retransmits(self) -> int:
        """Retransmissions by the connection's timer in a row."""
        return self.timeouts_in_a_row

    @property
    def mptcpi_bytes_retrans(self) -> int:
        """Payload sent again at the connection, bytes."""
        return self.bytes_reinjected

    @property
    def mptcpi_bytes_sent(self) -> int:
        """Payload sent for the first time, bytes."""
        return self.snd_nxt - 1

    @property
    def mptcpi_bytes_received(self) -> int:
        """Payload that arrived in order, bytes."""
        return self.received_bytes

    @property
    def mptcpi_bytes_acked(self) -> int:
        """Payload acknowledged at the connection, bytes."""
        return min(self.snd_una, self.snd_nxt) - 1

    @property
    def mptcpi_subflows_total(self) -> int:
        """Subflows, the first one included."""
        return self.subflows

    @property
    def mptcpi_last_data_sent(self) -> int:
        """Time since data was sent, ms."""
        return (self.now - self.last_sent_at) // MILLISECOND

    @property
    def mptcpi_last_data_recv(self) -> int:
        """Time since data arrived in order, ms."""
        return (self.now - max(0, self.delivered_at)) // MILLISECOND

    @property
    def mptcpi_last_ack_recv(self) -> int:
        """Time since an ACK came, ms."""
        return (self.now - self.last_heard) // MILLISECOND


class MappingInfo(NamedTuple):
    """A mapping: [dsn, dsn + length) of the connection is what begins with ``ssn`` on a subflow."""

    subflow: int
    ssn: int
    dsn: int
    length: int


def mptcp_info(connection: Connection, now: int) -> MptcpInfo | None:
    """Return a snapshot of a connection at an instant, ns; None if it never offered MPTCP."""
    if not isinstance(connection, MptcpConnection):
        return None
    agreed = connection.agreed
    out = connection.outbound
    inbound = connection.inbound
    usable = connection.usable()
    current = connection.open_subflows()
    acked = connection.acked
    each: list[MptcpSubflowInfo] = []
    reinjected = 0
    for number in range(len(connection.extensions)):
        subflow = connection.subflow_of(number)
        reinjected += subflow.reinjected_bytes
        each.append(_subflow_info(connection, subflow, usable, acked))
    opened = [subflow for subflow in current if subflow.is_join and not subflow.tcp.passive]
    return MptcpInfo(
        now=now,
        version=agreed.version,
        is_plain=connection.is_plain,
        plain_subflow=connection.fallback.survivor().identifier,
        token=agreed.local_key.token,
        local_idsn=out.idsn,
        has_remote_key=agreed.remote_key.value != 0,
        has_checksum=agreed.checksum,
        shares_send_window=connection.config.mptcp.share_send_window,
        snd_una=out.una,
        snd_nxt=out.nxt,
        write_seq=out.end + (1 if out.fin_wanted or out.fin_sent else 0),
        snd_wnd_end=out.wnd_end,
        unsent_bytes=out.end - out.nxt,
        requeued=len(out.reinjections.queue),
        bytes_reinjected=reinjected,
        timeouts_in_a_row=out.backoff,
        rto_at=out.rto_at,
        retransmitted_at=out.timer_at,
        override_at=out.override_at,
        may_push=out.may_push,
        scheduler=out.scheduler.NAME,
        declined_at=out.declined_at,
        repeated_while_closed=out.repeated_while_closed,
        rcv_nxt=inbound.nxt,
        rcv_wnd_end=inbound.wnd_end,
        received_bytes=connection.delivered,
        duplicate_bytes=inbound.duplicate_bytes,
        last_sent_at=max(tcp.sender.last_sent_at for tcp in connection.subflows),
        delivered_at=connection.delivered_at,
        last_heard=max(tcp.last_heard for tcp in connection.subflows),
        announced=len(connection.addresses.announced),
        accepted=len({subflow.remote_id() for subflow in opened} - {0}),
        local_used=len({subflow.local_id() for subflow in opened} - {0}),
        subflows=len(current),
        joins=sum(subflow.is_join for subflow in current),
        each=tuple(each),
    )


def _subflow_info(
    connection: MptcpConnection, subflow: Subflow, usable: list[SubflowState], acked: int
) -> MptcpSubflowInfo:
    is_open = subflow in connection.open
    return MptcpSubflowInfo(
        number=subflow.number,
        join_nonce=NO_JOIN if subflow.join is None else subflow.join.initiator_nonce,
        is_open=is_open,
        is_usable=subflow in usable,
        is_backup=subflow.backup,
        reinjected_bytes=subflow.reinjected_bytes,
        own_window_closed=subflow.own_window_closed(),
        kept_bytes=subflow.mappings.bytes_below(acked + 1) if is_open else 0,
        blocked_at=subflow.blocked_at,
    )


def data_ack_of(connection: Connection, segment: Segment) -> int:
    """Return the DATA_ACK of a segment that a connection gets, relative, -1 if it has none.

    Of a connection that speaks plain TCP it is the acknowledgment number.
    """
    if not isinstance(connection, MptcpConnection) or connection.is_plain:
        return segment.ack
    dss = segment.dss
    if dss is None or not dss.data_ack_octets:
        return -1
    return connection.outbound.ack_of(dss)


def carriers(connection: Connection, dsn: int) -> list[MappingInfo]:
    """Return the mappings that have the byte of a DSN and that their open subflows have to deliver yet."""
    assert isinstance(connection, MptcpConnection)
    return [
        MappingInfo(subflow.number, mapping.ssn, mapping.dsn, mapping.length)
        for subflow in connection.open
        for mapping in subflow.mappings.outstanding()
        if mapping.dsn <= dsn < mapping.dsn + mapping.length
    ]


def mapping_at(connection: Connection, number: int, ssn: int) -> MappingInfo | None:
    """Return the mapping of a sequence number of a subflow; None if nothing is outstanding there."""
    assert isinstance(connection, MptcpConnection)
    subflow = connection.subflow_of(number)
    if not len(subflow.mappings):
        return None
    mapping = subflow.mappings.at(ssn)
    return MappingInfo(number, mapping.ssn, mapping.dsn, mapping.length)


def requeued_from(connection: Connection, dsn: int) -> set[int]:
    """Return the subflows that had the byte of a DSN when it was queued for others, as far as is known."""
    assert isinstance(connection, MptcpConnection)
    return {
        subflow.number
        for subflow in connection.extensions
        if any(
            mapping.reinjected and mapping.dsn <= dsn < mapping.dsn + mapping.length
            for mapping in subflow.mappings.undelivered()
        )
    }
