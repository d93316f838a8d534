"""The ways from MPTCP back to plain TCP (RFC 8684 section 3.7, RFC 6824 section 3.6).

A fallback is for ever. The subflow that is left goes on as an ordinary TCP connection;
its sequence numbers and the offsets of the stream differ by a constant (``send_shift``,
``receive_shift`` of ``Tcp``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mptcpsim.core.mptcp.mappings import Mapping, narrow
from mptcpsim.core.mptcp.stages import PLAIN, PRE_ESTABLISHED, READY
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX, Dss, MpFail, MptcpOption, MpTcprst
from mptcpsim.core.options import mptcp_length
from mptcpsim.core.segment import FIN, Segment
from mptcpsim.core.sequences import unwrap
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED

if TYPE_CHECKING:
    from mptcpsim.core.mptcp.connection import MptcpConnection
    from mptcpsim.core.mptcp.subflow import Subflow
    from mptcpsim.core.tcp.endpoint import Tcp

_MASK = 0xFFFFFFFF


def survivor(connection: MptcpConnection) -> Tcp:
    """Return the subflow that a plain connection goes on with."""
    for subflow in connection.extensions:
        if subflow.stage == PLAIN:
            return subflow.tcp
    return connection.subflows[0]


def become_plain(
    connection: MptcpConnection, subflow: Subflow, why: str, now: int, dss: Dss | None = None
) -> None:
    """Make the connection a plain TCP connection on this subflow, from the next byte on.

    An infinite mapping ``dss`` tells the peer so.
    """
    if connection.is_plain:
        return
    tcp = subflow.tcp
    sender = tcp.sender
    outbound = connection.outbound
    connection.is_plain = True
    connection.fell_back = subflow.speaks
    connection.note_subflow(subflow, "fallback", why)
    connection.local_release()
    if subflow.speaks:
        connection.uncount_established()
    subflow.become_plain()
    for other in list(connection.subflows):
        if other is not tcp and other.state != CLOSED:
            other.abort(now, "the connection has fallen back to plain TCP")
    # What is not mapped yet goes out on this subflow; what is lies there without gaps, sent or not.
    mapped_end = max(sender.end, 1)
    tcp.send_shift = outbound.nxt - 1 - mapped_end
    sender.source = None
    sender.nagle = connection.config.nagle
    sender.end = mapped_end + outbound.end - outbound.nxt
    tcp.receive_shift = connection.delivered - subflow.incoming.done
    held = subflow.incoming.release(tcp.receive_shift)
    if tcp.state >= ESTABLISHED:
        tcp.receiver.limit = tcp.receiver.nxt + connection.receive_buffer - connection.readable - held
        tcp.receiver.edge = max(tcp.receiver.edge, tcp.receiver.nxt)
    if tcp.final_dss is None:
        tcp.set_signal_bytes(0)
    if held:
        connection.take_held(tcp, held, now)
    if dss is not None:
        # The next new data carries it. It goes ahead on an ACK, too: there may be no new data.
        send_with(tcp, dss, (), now)
    if outbound.fin_wanted:
        tcp.close(now)
    if tcp.receiver.fin_at >= 0 and tcp.receiver.nxt > tcp.receiver.fin_at:
        # The FIN has come before what says that it is the end of the stream.
        connection.on_peer_closed(tcp.identifier, now)
    connection.settle()


def may_be_plain(connection: MptcpConnection, subflow: Subflow) -> bool:
    """Return whether the peer may be plain, or become so with our FIN, which would end our stream to it.

    It may have got our MP_FAIL. Or options do not pass, which it finds out (``on_options_missing``) until it
    has acknowledged data of ours at the connection: from data of ours, from ACKs of its own, or from a FIN.
    """
    if subflow.fail.dsn >= 0:
        return True
    if subflow.is_join or subflow.fin_with_dss or _had_joins(connection, subflow, READY):
        return False
    return not subflow.heard or connection.outbound.una == 1


def _had_joins(connection: MptcpConnection, subflow: Subflow, stage: int) -> bool:
    """Return whether another subflow has ever come so far."""
    return any(other.stage >= stage for other in connection.extensions if other is not subflow)


def _is_at_the_start(connection: MptcpConnection, subflow: Subflow) -> bool:
    """Return whether options that are missing have never passed, as far as the peer can know (section 3.7).

    A peer whose data was acknowledged with a DSS has the confirmation that it passes, and does not look
    out for its absence any more. Were we to become plain, it would follow only if it heard the infinite
    mapping; else what it repeats at the connection, and the FIN of a subflow, were taken for its stream.
    """
    return subflow.tcp.receiver.last_ack_sent <= 1 and not _had_joins(connection, subflow, PRE_ESTABLISHED)


def _is_contiguous(connection: MptcpConnection, subflow: Subflow, ack: int = 0) -> bool:
    """Return whether the data in flight is one piece of the stream, on this subflow alone.

    Args:
        connection: the connection.
        subflow: the subflow.
        ack: what a segment acknowledges on it whose DATA_ACK is taken already, and its ACK not yet.
    """
    outbound = connection.outbound
    sender = subflow.tcp.sender
    if sender.fin_sent:
        # After the FIN of the subflow nothing can go on, but nothing has to if all was acknowledged.
        return outbound.una > outbound.end
    shift = outbound.nxt - sender.end
    ack = max(ack, sender.una)
    outstanding = [
        mapping for mapping in subflow.mappings.outstanding() if mapping.ssn + mapping.length > ack
    ]
    if any(mapping.dsn - mapping.ssn != shift for mapping in outstanding):
        return False
    if any(item.origin != subflow.number and item.end > outbound.una for item in outbound.reinjections):
        # What another subflow has left undone.
        return False
    return not outstanding or max(outstanding[0].ssn, ack) + shift >= outbound.una


def _infinite(connection: MptcpConnection, subflow: Subflow) -> Dss:
    """Return the infinite mapping: from the first byte that was not DATA_ACKed, linearly for ever."""
    outbound = connection.outbound
    dsn = outbound.una
    ssn = subflow.tcp.sender.end - (outbound.nxt - dsn)
    octets = outbound.octets
    checksum = 0 if connection.agreed.checksum else -1
    return Dss(
        dsn_octets=octets,
        dsn=narrow(dsn, octets, outbound.idsn),
        ssn=ssn & _MASK,
        data_level_length=0,
        checksum=checksum,
    )


def _fall_back(connection: MptcpConnection, subflow: Subflow, why: str, now: int) -> None:
    dss = _infinite(connection, subflow)
    subflow.tcp.infinite_dss = subflow.tcp.final_dss = dss
    connection.count("MPTcpExtInfiniteMapTx")
    become_plain(connection, subflow, why, now, dss)


def on_options_missing(connection: MptcpConnection, subflow: Subflow, why: str, now: int) -> bool:
    """Data or its ACK came without options before it was sure that they pass.

    At the start of the first subflow that is a fallback; later it has broken during operation (section 3.7).
    """
    start = connection.is_only(subflow) and not subflow.is_join and _is_at_the_start(connection, subflow)
    if start and connection.config.mptcp.infinite_mapping and _is_contiguous(connection, subflow):
        connection.count("MPTcpExtMPCapableDataFallback")
        _fall_back(connection, subflow, why, now)
        return True
    connection.count("MPTcpExtFallbackFailed")
    connection.reset_subflow(subflow, REASON_MIDDLEBOX, why, now)
    return False


def on_first_data_unmapped(connection: MptcpConnection, subflow: Subflow, now: int) -> bool:
    """The first data has no mapping, which is on every segment until a DATA_ACK (section 3.7)."""
    why = "the first data came without DSS"
    closed = subflow.tcp.sender.fin_sent
    if subflow.spoke or closed or not connection.config.mptcp.infinite_mapping:
        # The peer may take the missing DATA_ACKs for nothing special: it has to be told.
        return on_options_missing(connection, subflow, why, now)
    # The handshake was compromised: no option any more, and from that the peer knows (section 3.1).
    connection.count("MPTcpExtDssFallback")
    become_plain(connection, subflow, why, now)
    return True


def _count_infinite(connection: MptcpConnection, subflow: Subflow) -> None:
    if not subflow.took_infinite:
        subflow.took_infinite = True
        connection.count("MPTcpExtInfiniteMapRx")


def on_infinite_mapping(
    connection: MptcpConnection, subflow: Subflow, dsn: int, ssn: int, ack: int, now: int
) -> bool:
    """The peer has fallen back: everything from ``ssn`` on is the stream from ``dsn`` on.

    The segment that says so acknowledges what comes before ``ack`` on the subflow.
    """
    _count_infinite(connection, subflow)
    # It acts retroactively: what was held before the byte that comes next is sent again behind it.
    start = ssn + connection.inbound.nxt - dsn
    if not _is_contiguous(connection, subflow, ack) or not subflow.incoming.skip_to(
        start, connection.inbound.nxt
    ):
        connection.reset_subflow(subflow, REASON_MIDDLEBOX, "an infinite mapping that does not fit", now)
        return False
    # Should the peer wait for one, too, having found our data damaged, it asks again.
    subflow.tcp.infinite_dss = _infinite(connection, subflow)
    become_plain(connection, subflow, "infinite mapping of the peer", now)
    return True


def on_checksum_failure(connection: MptcpConnection, subflow: Subflow, mapping: Mapping, now: int) -> None:
    """The payload was changed on its way: MP_FAIL, with a RST unless this is the only subflow."""
    connection.count("MPTcpExtDataCsumErr")
    connection.note_subflow(subflow, "checksum wrong", f"dsn {mapping.dsn}")
    contiguous = mapping.dsn <= connection.inbound.nxt and not connection.inbound.out_of_order.total
    contiguous = contiguous and _is_contiguous(connection, subflow)
    if connection.is_only(subflow) and contiguous and connection.config.mptcp.infinite_mapping:
        connection.count("MPTcpExtDSSCorruptionFallback")
        subflow.fail.begin(mapping.dsn, now)
        return
    connection.count("MPTcpExtDSSCorruptionReset")
    connection.count("MPTcpExtMPFailTx")
    subflow.extra_reset_option = MpFail(connection.inbound.absolute(mapping.dsn))
    connection.reset_subflow(subflow, REASON_MIDDLEBOX, "a checksum was wrong", now)


def on_fail_answered(connection: MptcpConnection, subflow: Subflow, now: int) -> None:
    """New data without a mapping follows our MP_FAIL: the peer is plain, though it does not say so.

    Linux counts its infinite mapping, and with segmentation offload it is not on the wire.
    """
    incoming = subflow.incoming
    if _is_contiguous(connection, subflow) and incoming.skip_to(incoming.line(), connection.inbound.nxt):
        _fall_back(connection, subflow, "MP_FAIL was answered by data without a mapping", now)
    else:
        connection.reset_subflow(subflow, REASON_MIDDLEBOX, "data after MP_FAIL does not fit", now)


def on_mp_fail(connection: MptcpConnection, option: MpFail, subflow: Subflow, now: int) -> None:
    """The peer has found a wrong checksum in what we sent."""
    connection.count("MPTcpExtMPFailRx")
    if subflow.tcp.state == CLOSED or connection.is_plain or not connection.is_only(subflow):
        # On a RST: the data goes to other subflows, as that of any subflow that ends.
        return
    if not _is_contiguous(connection, subflow) or not connection.config.mptcp.infinite_mapping:
        subflow.extra_reset_option = MpFail(connection.inbound.absolute(connection.inbound.nxt))
        connection.count("MPTcpExtMPFailTx")
        connection.reset_subflow(subflow, REASON_MIDDLEBOX, "data after MP_FAIL is not contiguous", now)
        return
    if subflow.fail.dsn >= 0:
        # The answer to ours, and the infinite mapping follows it: only that says how to go on. Or both
        # directions are damaged: then the peer waits for ours.
        if connection.outbound.una < connection.outbound.nxt and subflow.tcp.answers.allowed(now):
            send_with(subflow.tcp, _infinite(connection, subflow), (), now)
        return
    # It reverts to plain TCP in both directions (section 3.7).
    connection.count("MPTcpExtMPFailTx")
    fail = MpFail(connection.inbound.absolute(connection.inbound.nxt))
    send_with(subflow.tcp, connection.inbound.ack_dss(), (fail,), now)
    _fall_back(connection, subflow, "MP_FAIL of the peer", now)


def on_options_when_plain(connection: MptcpConnection, subflow: Subflow, segment: Segment, now: int) -> bool:
    """The peer may be plain or not yet; return False if the subflow ended with the segment.

    The infinite mapping may come behind an MP_FAIL; a peer that repeats that one has missed ours, and so
    has one that goes on to map its data. What it maps to another place than plain TCP has it cannot be
    taken: that is data sent twice.
    """
    tcp = subflow.tcp
    dss = segment.dss
    if dss is not None and dss.is_infinite():
        _count_infinite(connection, subflow)
    elif (
        dss is not None
        and dss.dsn_octets
        and connection.fell_back
        # What is old was taken as it came first: a late copy is no news.
        and segment.seq + segment.length > max(segment.seq, tcp.receiver.nxt)
    ):
        start = connection.inbound.relative(dss.dsn, dss.dsn_octets) - unwrap(dss.ssn, segment.seq)
        if start != tcp.receive_shift + 1:
            tcp.abort(now, "the peer still speaks MPTCP (middlebox interference)")
            return False
        tcp.infinite_due = tcp.infinite_dss is not None
    for option in segment.options or ():
        if isinstance(option, MpFail) and tcp.infinite_dss is not None and tcp.answers.allowed(now):
            send_with(tcp, tcp.infinite_dss, (), now)
            break
    return True


def reset_options(subflow: Subflow) -> tuple[MptcpOption, ...]:
    """Return what goes with the RST of a subflow."""
    options = [o for o in (subflow.extra_reset_option, subflow.reset_option) if o is not None]
    if any(isinstance(option, MpTcprst) for option in options):
        subflow.connection.count("MPTcpExtMPRstTx")
    return tuple(options)


# --- Sending ----------------------------------------------------------------------------------------


def shift(tcp: Tcp, segment: Segment) -> None:
    """Finish a segment of plain TCP: the place of its payload, and once the infinite mapping.

    A FIN has it however often it is sent: who does not know it does not take a FIN for the end of the stream.
    """
    segment.offset = segment.seq + tcp.send_shift
    if segment.length:
        dss, tcp.final_dss = tcp.final_dss, None
    elif tcp.infinite_due or segment.flags & FIN:
        dss = tcp.infinite_dss
        tcp.infinite_due = False
    else:
        return
    if dss is not None:
        segment.sack = None
        segment.dss = dss
        segment.size = tcp.header + segment.length + mptcp_length(dss, None)
        if segment.length:
            tcp.set_signal_bytes(0)


def send_with(tcp: Tcp, dss: Dss | None, options: tuple[MptcpOption, ...], now: int) -> None:
    """Send an ACK with just these options of MPTCP beside the timestamps."""
    tcp.send_ack(now)
    segment = tcp.last_sent()
    segment.sack = None
    segment.dss = dss
    segment.options = options or None
    segment.size = tcp.header + mptcp_length(dss, segment.options)
