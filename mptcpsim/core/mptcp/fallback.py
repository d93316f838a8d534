"""The fallback from MPTCP to plain TCP (RFC 8684 section 3.7, RFC 6824 section 3.6).

A fallback is permanent. The remaining subflow continues as an ordinary TCP connection. Its sequence
numbers and the offsets of the stream differ by a constant (``send_shift``, ``receive_shift`` of ``Tcp``).
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp.stages import PRE_ESTABLISHED, READY
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX, Dss, MpFail
from mptcpsim.core.segment import FIN, Segment
from mptcpsim.core.sequences import unwrap
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED

_MASK: Final = 0xFFFFFFFF


class Fallback:
    """Whether one connection still speaks MPTCP, and how it tells the peer that it has stopped.

    Attributes:
        is_plain: it speaks plain TCP, by negotiation or after a fallback.
        fell_back: it spoke MPTCP before that.
    """

    __slots__ = (
        "_announced_on",
        "_connection",
        "_inbound",
        "_infinite_mapping",
        "_mapping_with_ack",
        "_mapping_with_data",
        "_outbound",
        "_survivor",
        "fell_back",
        "is_plain",
    )

    def __init__(self, connection: Session, outbound: DataSender, inbound: DataReceiver) -> None:
        self._connection = connection
        self._outbound = outbound
        self._inbound = inbound
        self.is_plain: bool = False
        self.fell_back: bool = False
        self._survivor: Tcp | None = None
        #: Our infinite mapping, kept to be repeated; None if the peer needs none.
        self._infinite_mapping: Dss | None = None
        #: It goes with the next new data, and with the next ACK.
        self._mapping_with_data: bool = False
        self._mapping_with_ack: bool = False
        #: The subflow on which the infinite mapping of the peer came last, or -1.
        self._announced_on: int = -1

    def survivor(self) -> Tcp:
        """Return the subflow that a plain connection goes on with."""
        survivor = self._survivor
        return survivor if survivor is not None else self._connection.subflows[0]

    # --- The decision -------------------------------------------------------------------------------

    def may_be_plain(self, subflow: SubflowState) -> bool:
        """Return whether the peer may be plain TCP, or become so with our FIN, which would end our stream.

        The peer may have received our MP_FAIL. Or options do not pass: until the peer has acknowledged our
        data with a DATA_ACK, it notices that on our data, on ACKs of its data or on a FIN
        (``on_options_missing``).
        """
        if subflow.awaits_fallback():
            return True
        if subflow.is_join or subflow.fin_with_dss or self._had_joins(subflow, READY):
            return False
        return not subflow.dss_received or self._outbound.una == 1

    def _had_joins(self, subflow: SubflowState, stage: int) -> bool:
        """Return whether another subflow has ever reached a stage."""
        return any(other is not subflow and other.stage >= stage for other in self._connection.extensions)

    def _is_at_the_start(self, subflow: SubflowState) -> bool:
        """Return whether the peer cannot know yet that options pass.

        A DSS that acknowledges the peer's data confirms to it that options pass (section 3.7). From then on
        it does not fall back when they are missing. It would follow us to plain TCP only if it received the
        infinite mapping. Otherwise we would mistake its reinjections, and the FIN of a subflow, for its
        stream.
        """
        return subflow.tcp.receiver.last_ack_sent <= 1 and not self._had_joins(subflow, PRE_ESTABLISHED)

    def _is_contiguous(self, subflow: SubflowState, ack: int = 0) -> bool:
        """Return whether the data in flight is one piece of the stream, on this subflow alone.

        Args:
            subflow: the subflow.
            ack: what a segment acknowledges on it whose DATA_ACK is taken already, and its ACK not yet.
        """
        outbound = self._outbound
        sender = subflow.tcp.sender
        if sender.fin_sent:
            # Nothing can follow the FIN of the subflow, and nothing has to if all was acknowledged.
            return outbound.una > outbound.end
        shift = outbound.nxt - sender.end
        ack = max(ack, sender.una)
        outstanding = [
            mapping for mapping in subflow.mappings.outstanding() if mapping.ssn + mapping.length > ack
        ]
        if any(mapping.dsn - mapping.ssn != shift for mapping in outstanding):
            return False
        if outbound.reinjections.has_queued_from_others(subflow.number):
            # Data that another subflow has failed to deliver.
            return False
        return not outstanding or max(outstanding[0].ssn, ack) + shift >= outbound.una

    # --- What leads to a fallback -------------------------------------------------------------------

    def on_options_missing(self, subflow: SubflowState, why: str, now: int) -> bool:
        """Data or its ACK came without options before it was sure that they pass.

        At the start of the first subflow that is a fallback; later the path has broken during operation
        (section 3.7). Return False if the subflow was reset for it.
        """
        connection = self._connection
        start = connection.is_only(subflow) and not subflow.is_join and self._is_at_the_start(subflow)
        if start and connection.config.mptcp.infinite_mapping and self._is_contiguous(subflow):
            connection.count("MPTcpExtMPCapableDataFallback")
            self._fall_back(subflow, why, now)
            return True
        connection.count("MPTcpExtFallbackFailed")
        subflow.reset(REASON_MIDDLEBOX, why, now)
        return False

    def on_first_data_unmapped(self, subflow: SubflowState, now: int) -> bool:
        """The first data has no mapping, which is on every segment until a DATA_ACK (section 3.7)."""
        connection = self._connection
        why = "the first data came without DSS"
        closed = subflow.tcp.sender.fin_sent
        if subflow.dss_sent or closed or not connection.config.mptcp.infinite_mapping:
            # Missing DATA_ACKs alone do not show the peer that this end has fallen back: tell it.
            return self.on_options_missing(subflow, why, now)
        # The handshake was compromised: from the missing options the peer knows that this end is plain (3.1).
        connection.count("MPTcpExtDssFallback")
        self.become_plain(subflow, why, now)
        return True

    def on_infinite_mapping(self, subflow: SubflowState, dsn: int, ssn: int, ack: int, now: int) -> bool:
        """The peer has fallen back: everything from ``ssn`` on is the stream from ``dsn`` on.

        The segment that says so acknowledges what comes before ``ack`` on the subflow. Return False if the
        subflow was reset for it.
        """
        self._count_infinite(subflow)
        inbound = self._inbound
        # It acts retroactively: what was held before the byte that comes next is sent again behind it.
        start = ssn + inbound.nxt - dsn
        if not self._is_contiguous(subflow, ack) or not subflow.skip_to(start, inbound.nxt):
            why = "an infinite mapping that does not fit"
            subflow.reset(REASON_MIDDLEBOX, why, now)
            return False
        # A peer that has found our data changed, too, waits for ours: it repeats its MP_FAIL.
        self._infinite_mapping = self._infinite(subflow)
        self.become_plain(subflow, "infinite mapping of the peer", now)
        return True

    def on_checksum_failure(self, subflow: SubflowState, mapping: Mapping, now: int) -> None:
        """The payload was changed on its way: send MP_FAIL, with a RST unless this is the only subflow."""
        connection = self._connection
        inbound = self._inbound
        connection.count("MPTcpExtDataCsumErr")
        connection.note_subflow(subflow, "checksum wrong", f"dsn {mapping.dsn}")
        contiguous = mapping.dsn <= inbound.nxt and not inbound.out_of_order.total
        contiguous = contiguous and self._is_contiguous(subflow)
        if connection.is_only(subflow) and contiguous and connection.config.mptcp.infinite_mapping:
            connection.count("MPTcpExtDSSCorruptionFallback")
            subflow.ask_to_fall_back(mapping.dsn, now)
            return
        connection.count("MPTcpExtDSSCorruptionReset")
        subflow.fail(mapping.dsn, "a checksum was wrong", now)

    def on_fail_answered(self, subflow: SubflowState, now: int) -> None:
        """New data without a mapping follows our MP_FAIL: the peer is plain, though it does not say so.

        Linux counts an infinite mapping as sent that segmentation offload does not put on the wire.
        """
        if self._is_contiguous(subflow) and subflow.skip_to(subflow.ssn_of_next_dsn(), self._inbound.nxt):
            self._fall_back(subflow, "MP_FAIL was answered by data without a mapping", now)
        else:
            subflow.reset(REASON_MIDDLEBOX, "data after MP_FAIL does not fit", now)

    def on_mp_fail(self, subflow: SubflowState, now: int) -> None:
        """The peer has found a wrong checksum in what we sent."""
        connection = self._connection
        connection.count("MPTcpExtMPFailRx")
        if subflow.tcp.state == CLOSED or self.is_plain or not connection.is_only(subflow):
            # It came with a RST: other subflows take over the data, as whenever a subflow ends.
            return
        inbound = self._inbound
        # What the subflow has acknowledged and the connection refused is not sent again by plain TCP.
        lacks = inbound.nxt < inbound.refused_end
        if lacks or not self._is_contiguous(subflow) or not connection.config.mptcp.infinite_mapping:
            subflow.fail(inbound.nxt, "data after MP_FAIL is not contiguous", now)
            return
        if subflow.awaits_fallback():
            # It answers ours, and the infinite mapping that follows says how to go on. Or data was changed in
            # both directions: then the peer waits for our infinite mapping.
            outbound = self._outbound
            if outbound.una < outbound.nxt and subflow.tcp.answers.allowed(now):
                subflow.send_ack_with(self._infinite(subflow), (), now)
            return
        # It reverts to plain TCP in both directions (section 3.7).
        connection.count("MPTcpExtMPFailTx")
        subflow.send_ack_with(inbound.ack_dss(), (MpFail(inbound.absolute(inbound.nxt)),), now)
        self._fall_back(subflow, "MP_FAIL of the peer", now)

    def _count_infinite(self, subflow: SubflowState) -> None:
        """The infinite mapping of the peer has come: count it once for each subflow."""
        if self._announced_on != subflow.number:
            self._announced_on = subflow.number
            self._connection.count("MPTcpExtInfiniteMapRx")

    def _infinite(self, subflow: SubflowState) -> Dss:
        """Return the infinite mapping, which begins at the first byte that is not DATA_ACKed."""
        connection = self._connection
        outbound = self._outbound
        dsn = outbound.una
        ssn = subflow.tcp.sender.end - (outbound.nxt - dsn)
        return Dss(
            dsn_octets=outbound.octets,
            dsn=dsn,
            ssn=ssn & _MASK,
            data_level_length=0,
            checksum=0 if connection.agreed.checksum else -1,
            dsn_numbers=outbound.numbers,
        )

    # --- The fallback itself ------------------------------------------------------------------------

    def _fall_back(self, subflow: SubflowState, why: str, now: int) -> None:
        """Become plain, and tell the peer with an infinite mapping.

        The next new data carries it, and an ACK at once: there may be no new data.
        """
        dss = self._infinite(subflow)
        self._infinite_mapping = dss
        self._mapping_with_data = True
        self._connection.count("MPTcpExtInfiniteMapTx")
        self._become_plain(subflow, why, dss, now)

    def become_plain(self, subflow: SubflowState, why: str, now: int) -> None:
        """Make the connection a plain TCP connection on this subflow, from the next byte on."""
        if not self.is_plain:
            self._become_plain(subflow, why, None, now)

    def _become_plain(self, subflow: SubflowState, why: str, dss: Dss | None, now: int) -> None:
        connection = self._connection
        tcp = subflow.tcp
        self.is_plain = True
        self.fell_back = subflow.is_active
        self._survivor = tcp
        connection.note_subflow(subflow, "fallback", why)
        connection.local_release()
        if self.fell_back:
            connection.uncount_established()
        subflow.become_plain()
        for other in list(connection.subflows):
            if other is not tcp and other.state != CLOSED:
                other.abort(now, "the connection has fallen back to plain TCP")
        held = self._hand_streams_to(tcp, subflow)
        if not self._mapping_with_data:
            tcp.set_signal_bytes(0)
        if held:
            connection.take_held(tcp, held, now)
        if dss is not None:
            subflow.send_ack_with(dss, (), now)
        if self._outbound.fin_wanted:
            tcp.close(now)
        if tcp.receiver.fin_at >= 0 and tcp.receiver.nxt > tcp.receiver.fin_at:
            # The FIN came before the segment that makes it the end of the stream.
            connection.on_peer_closed(tcp.identifier, now)
        connection.notify_application()

    def _hand_streams_to(self, tcp: Tcp, subflow: SubflowState) -> int:
        """Continue both directions of the stream as plain TCP; return how many bytes MPTCP held.

        This subflow carries the data that is not mapped yet. It has mapped data without gaps, sent or not.
        """
        connection = self._connection
        outbound = self._outbound
        done = subflow.delivered_up_to()
        tcp.detach_extension(outbound.nxt - 1, outbound.end - 1, connection.delivered, done)
        held = subflow.release(tcp.receive_shift)
        if tcp.state >= ESTABLISHED:
            tcp.receiver.use_own_buffer(connection.receive_buffer - connection.readable - held)
        return held

    # --- After a fallback ---------------------------------------------------------------------------

    def on_options_when_plain(self, subflow: SubflowState, segment: Segment, now: int) -> bool:
        """The peer may be plain or not yet; return False if the subflow ended with the segment.

        The peer's infinite mapping may follow its MP_FAIL. A peer that repeats MP_FAIL, or goes on mapping
        its data, has missed ours. Data that it maps to another place than plain TCP gives it is refused: it
        was sent twice.
        """
        tcp = subflow.tcp
        dss = segment.dss
        if dss is not None and dss.is_infinite():
            self._count_infinite(subflow)
        elif (
            dss is not None
            and dss.dsn_octets
            and self.fell_back
            # Old data was taken as it came first: a late copy says nothing new.
            and segment.seq + segment.length > max(segment.seq, tcp.receiver.nxt)
        ):
            inbound = self._inbound
            start = inbound.dsn_of(dss) - unwrap(dss.ssn, segment.seq)
            if start != tcp.receive_shift + 1:
                tcp.abort(now, "the peer still speaks MPTCP (middlebox interference)")
                return False
            self._mapping_with_ack = True
        repeated = self._infinite_mapping
        for option in segment.options or ():
            if isinstance(option, MpFail) and repeated is not None and tcp.answers.allowed(now):
                subflow.send_ack_with(repeated, (), now)
                break
        return True

    def mapping_for(self, segment: Segment) -> Dss | None:
        """Return the infinite mapping if a segment of plain TCP that is being sent has to carry it.

        The first new data carries it, an ACK where the peer has missed it, and every FIN: without it the peer
        does not take a FIN for the end of the stream.
        """
        dss = self._infinite_mapping
        if dss is None:
            return None
        if segment.length:
            due = self._mapping_with_data
            self._mapping_with_data = False
        else:
            due = self._mapping_with_ack or bool(segment.flags & FIN)
            self._mapping_with_ack = False
        return dss if due else None
