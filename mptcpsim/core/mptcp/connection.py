"""A connection that speaks, or offers to speak, Multipath TCP.

It owns the data sequence space of both directions (``outbound``, ``inbound``), the keys, the addresses and
the subflows. Its ``Fallback`` takes it back to plain TCP; its ``Closing`` owns the state of the connection
and ends it. After a fallback the connection behaves as a plain ``Connection``.
"""

from __future__ import annotations

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.host import TimerOwner
from mptcpsim.core.mptcp.addresses import Addresses
from mptcpsim.core.mptcp.arriving_options import ArrivingOptions
from mptcpsim.core.mptcp.closing import Closing
from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.data_states import (
    M_CLOSED,
    M_FASTCLOSE_WAIT,
    M_INIT,
    M_TIME_WAIT,
)
from mptcpsim.core.mptcp.fallback import Fallback
from mptcpsim.core.mptcp.further_options import FurtherMptcpOptions, further_options
from mptcpsim.core.mptcp.host import MptcpHost
from mptcpsim.core.mptcp.joining import Joins
from mptcpsim.core.mptcp.keys import Key
from mptcpsim.core.mptcp.late_acks import LateReceiver
from mptcpsim.core.mptcp.mappings import Mapping
from mptcpsim.core.mptcp.paths import ConnectionPaths
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp.subflow import Subflow
from mptcpsim.core.mptcp.window_updates import WindowUpdates
from mptcpsim.core.mptcp_options import REASON_MIDDLEBOX, MptcpOption
from mptcpsim.core.segment import Segment
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.seams import Extension
from mptcpsim.core.tcp.states import CLOSED, SYN_SENT
from mptcpsim.core.tcp.states import ESTABLISHED as TCP_ESTABLISHED
from mptcpsim.plugins import (
    Action,
    Announce,
    CongestionControl,
    OpenSubflow,
    PathManager,
    Scheduler,
    SetBackup,
    Withdraw,
    create,
)


class MptcpConnection(Session):
    """One end of an MPTCP connection.

    Attributes:
        outbound, inbound: the two directions of the data sequence space.
        fallback: whether it still speaks MPTCP.
        ending: its state at the data level, and its way to the end.
        joins: the subflows that the path manager wants to open.
        addresses: which addresses there are, and what the peer was told of them.
        window_updates: who is told of room after a read.
        group: the congestion controls of the subflows in use.
    """

    __slots__ = (
        "_arriving",
        "_further_options",
        "addresses",
        "ending",
        "fallback",
        "group",
        "inbound",
        "joins",
        "outbound",
        "window_updates",
    )

    def __init__(
        self,
        stack: MptcpHost,
        identifier: int,
        config: TcpConfig,
        local_port: int,
        eager: bool,
        is_client: bool,
        version: int,
        key: Key,
    ) -> None:
        super().__init__(stack, identifier, config, local_port, eager, is_client, version, key)
        mptcp = config.mptcp
        chosen = create("scheduler", mptcp.scheduler, mptcp.scheduler_parameters, stack.plugins)
        assert isinstance(chosen, Scheduler)
        self.outbound = DataSender(self, chosen, key.idsn)
        chosen.start(self.outbound)
        octets = mptcp.data_ack_octets
        if mptcp.data_ack_lag:
            self.inbound: DataReceiver = LateReceiver(self, config.receive_buffer, octets, mptcp.data_ack_lag)
        else:
            self.inbound = DataReceiver(self, config.receive_buffer, octets)
        managing = create("pathmanager", mptcp.path_manager, mptcp.path_manager_parameters, stack.plugins)
        assert isinstance(managing, PathManager)
        self.path_manager = managing
        self.fallback = Fallback(self, self.outbound, self.inbound)
        self.ending = Closing(self, self.outbound, self.inbound)
        self.addresses = Addresses(self, self.fallback)
        self.paths = ConnectionPaths(self, self.addresses)
        self.group: list[CongestionControl] = []
        self.window_updates = WindowUpdates(self, self.inbound)
        self.joins = Joins(self, self.outbound)
        self._further_options: FurtherMptcpOptions | None = further_options(mptcp)
        self._arriving = ArrivingOptions(
            self, self.addresses, self.fallback, self.ending, self._further_options
        )

    def subflow_of(self, number: int) -> Subflow:
        """Return the subflow with an identifier."""
        subflow = self.extensions[number]
        assert isinstance(subflow, Subflow)
        return subflow

    def extension_of(self, tcp: TimerOwner) -> Extension:
        """Return what MPTCP adds to a new subflow; all but the first one are joins."""
        assert isinstance(tcp, Tcp)
        subflow = Subflow(
            self, tcp, self.outbound, self.inbound, self.fallback, self.addresses, self.window_updates
        )
        self.extensions.append(subflow)
        self.open.append(subflow)
        return subflow

    # --- What the application sees ----------------------------------------------------------------

    @property
    def is_plain(self) -> bool:
        """It speaks plain TCP, by negotiation or after a fallback."""
        return self.fallback.is_plain

    @property
    def fell_back(self) -> bool:
        """It speaks plain TCP, and has spoken MPTCP before."""
        return self.fallback.fell_back

    @property
    def state(self) -> int:
        """Its state at the data level, one of ``core.mptcp.data_states``."""
        return self.ending.state

    @property
    def closed(self) -> bool:
        """It has ended at both levels."""
        if self.open:
            return False
        return self.is_plain or self.state in (M_INIT, M_CLOSED)

    @property
    def acked(self) -> int:
        """Bytes of the own stream that the peer has acknowledged."""
        if self.fallback.is_plain:
            tcp = self.fallback.survivor()
            sender = tcp.sender
            return max(0, min(sender.una, sender.end) + tcp.send_shift)
        return min(self.outbound.una, self.outbound.end) - 1

    @property
    def writable(self) -> int:
        """Bytes that a write would accept now.

        Data leaves the buffer when it is DATA_ACKed, and acknowledged on every subflow that carried it
        (RFC 8684 section 3.3.2).
        """
        if self.closing or self.closed:
            return 0
        acked = self.acked
        kept = self.written - acked
        if not self.fallback.is_plain and self.config.mptcp.keep_until_acked:
            for subflow in self.open:
                kept += subflow.mappings.bytes_below(acked + 1)
        return max(0, self.send_buffer - kept)

    def _send_written(self, count: int, now: int) -> None:
        """Send bytes that the application has just written, as far as they may be sent."""
        if self.fallback.is_plain:
            tcp = self.fallback.survivor()
            tcp.sender.append(count)
            if tcp.state >= TCP_ESTABLISHED:
                tcp.sender.output(now)
        else:
            self.outbound.append(count)
            if self.ending.state != M_INIT:
                self._push(now)

    def read(self, limit: int, now: int) -> int:
        """Take up to ``limit`` bytes that arrived and return how many (0: nothing there, or the end)."""
        if self.fallback.is_plain:
            return super().read(limit, now)
        if limit < 0:
            raise LocalProtocolError(f"cannot read {limit} bytes")
        count = min(limit, self.readable)
        if count:
            self._before_read(count, now)
            self._consume(count)
            self.inbound.make_room(count)
            self.window_updates.after_read(now)
            self.inbound.on_read(count, now)
        return count

    def grow_receive_buffer(self, size: int) -> None:
        """Autotuning: the receive buffer has ``size`` bytes from now on."""
        if self.is_plain:
            super().grow_receive_buffer(size)
        else:
            self.inbound.grow(size - self.receive_buffer)
            self.receive_buffer = size

    def close(self, now: int) -> None:
        """Close the own direction once everything written was sent; reading goes on."""
        if self.closing:
            return
        self._stop_writing(now)
        first = self.subflows[0]
        if self.is_plain:
            self.fallback.survivor().close(now)
        elif self.state == M_INIT and first.state in (SYN_SENT, CLOSED):
            first.close(now)
        else:
            self.outbound.close()
            if self.state != M_INIT:
                self._push(now)
                self._state_changed()

    def abort(self, now: int) -> None:
        """Reset the connection; what is not acknowledged may be lost (RFC 8684 section 3.5)."""
        self.closing = True
        if self.is_plain or self.state == M_INIT:
            for tcp in list(self.subflows):
                tcp.abort(now)
        else:
            self.ending.fast_close(now)

    def _push(self, now: int) -> None:
        self.outbound.push(now)

    # --- Subflows -----------------------------------------------------------------------------------

    def on_established(self, number: int, now: int) -> None:
        """A subflow has completed its TCP handshake."""
        subflow = self.subflow_of(number)
        if subflow.join is None:
            if subflow.stage == READY and not self.is_plain:
                self._established(subflow, now)
            else:
                super().on_established(number, now)
            return
        if subflow.stage == READY:
            self._join_established(subflow, now)
        else:
            subflow.join.await_answer(now)
        self._state_changed()

    def _established(self, first: SubflowState, now: int) -> None:
        tcp = first.tcp
        flow = tcp.flow
        self.ending.on_established()
        self.inbound.on_established(tcp.announced_mss())
        self.addresses.start(flow.src, flow.dst, flow.dport)
        self._couple(tcp)
        self.count_established()
        token = self.agreed.local_key.token
        self.note("CREATED", f"token {token:08x}")
        self.note("ESTABLISHED", f"version {self.agreed.version} token {token:08x}")
        Connection.on_established(self, first.number, now)
        self.act(self.path_manager.on_established(self.paths), now)
        if self._further_options is not None:
            self._further_options.on_ready(self.subflow_of(first.number).signals, now)

    def _couple(self, tcp: Tcp) -> None:
        tcp.sender.take_data_from(self.outbound)
        tcp.receiver.lift_limit()
        self.group.append(tcp.sender.congestion)
        tcp.sender.congestion.couple(self.group)

    def on_third_ack_sent(self, now: int) -> None:
        """The third ACK of a subflow is on its way: joins may follow that of the first one."""
        self.joins.on_third_ack_sent(now)

    def on_dss(self, now: int) -> None:
        """The peer has shown that it speaks MPTCP: joins may follow."""
        self.joins.on_dss(now)

    def on_fully_established(self, subflow: SubflowState, now: int) -> None:
        """The first DATA_ACK of a subflow has arrived."""
        self.joins.on_dss(now)
        subflow.flush_signals(now)

    def act(self, actions: list[Action], now: int) -> None:
        """Carry out what the path manager wants."""
        for action in actions:
            if isinstance(action, OpenSubflow):
                self.joins.open(action, now)
            elif isinstance(action, Announce):
                self.addresses.announce(action.address, action.port, now)
            elif isinstance(action, Withdraw):
                self.addresses.withdraw(action.address, now)
            elif isinstance(action, SetBackup):
                self.subflow_of(action.subflow).priority.change(action.backup, now)

    def on_join_complete(self, subflow: SubflowState, now: int) -> None:
        """The fourth ACK has arrived at the initiator of a join."""
        self._join_established(subflow, now)
        self._push(now)

    def _join_established(self, subflow: SubflowState, now: int) -> None:
        tcp = subflow.tcp
        self.ending.on_join_established()
        self._couple(tcp)
        if tcp.passive:
            self.addresses.learn(subflow.remote_id(), tcp.flow.dst, tcp.flow.dport)
        self.note_subflow(
            subflow, "SF_ESTABLISHED", f"{tcp.flow.src}:{tcp.flow.sport} > {tcp.flow.dst}:{tcp.flow.dport}"
        )
        self.window_updates.after_join(subflow, now)
        if self._further_options is not None:
            self._further_options.on_ready(self.subflow_of(subflow.number).signals, now)

    def on_local_address(self, address: str, up: bool, now: int) -> None:
        """Take note of a local address that was added or is going; subflows of the latter end."""
        if self.is_plain or self.state in (M_INIT, M_CLOSED):
            return
        if not up:
            self.addresses.lose(address, now)
        self.act(self.path_manager.on_local_address(self.paths, address, up), now)

    # --- Signals ------------------------------------------------------------------------------------

    def take_options(self, subflow: SubflowState, segment: Segment, now: int) -> bool:
        """Act on the options of an acceptable segment, but for the DSS; return False if the subflow ended."""
        return self._arriving.take(self.subflow_of(subflow.number), segment, now)

    def take_options_of_reset(self, subflow: SubflowState, segment: Segment, now: int) -> None:
        """Act on the options of a RST."""
        self._arriving.take_from_reset(self.subflow_of(subflow.number), segment, now)

    def on_add_addr(self, now: int) -> None:
        """The peer has announced an address."""
        self.joins.on_add_addr(now)

    def signal(self, option: MptcpOption, now: int) -> None:
        """Send an option on one of the subflows."""
        alive = self.alive()
        if alive:
            working = [s for s in alive if not s.failing and s.works]
            self.subflow_of((working or alive)[0].number).signals.send(option, now)

    def signal_elsewhere(self, option: MptcpOption, local_id: int, now: int) -> None:
        """Send an option on a subflow that does not use an own address, if there is one."""
        # Nothing can be sent from an address that was removed.
        alive = [s for s in self.alive() if self._stack.has_address(s.tcp.flow.src)]
        others = [s for s in alive if s.local_id() != local_id] or alive
        if others:
            working = [s for s in others if not s.failing and s.works]
            self.subflow_of((working or others)[0].number).signals.send(option, now)

    # --- Data -----------------------------------------------------------------------------------------

    def on_longer_numbers(self) -> None:
        """DSNs or DATA_ACKs have 8 octets from now on: less payload fits."""
        for subflow in self.open_subflows():
            if subflow.is_active:
                self.subflow_of(subflow.number).on_longer_numbers()

    def grow_limit(self, number: int, count: int) -> None:
        """The application has read at once what arrived."""
        if self.fallback.is_plain:
            self.subflows[number].receiver.on_read(count)
        else:
            self.inbound.make_room(count)

    def on_acked(self, number: int, now: int) -> None:
        """Data was acknowledged on a subflow."""
        if not self.fallback.is_plain:
            subflow = self.subflow_of(number)
            subflow.mappings.acknowledge(subflow.tcp.sender.una, self.outbound.una)
            if subflow.watch.stale:
                subflow.watch.on_progress()
        if self.sent_bytes is not None:
            self.sent_bytes.forget_below(self.acked if self.is_plain else self._lowest_to_send())
        if not self.wants_write:
            return
        if not self.fallback.is_plain:
            # At most this much is free: usually enough to know that it is too early.
            free = self.send_buffer - self.written + self.outbound.una - 1
            if free * 3 < self.send_buffer:
                return
        room = self.writable
        if room and room * 3 >= self.send_buffer:
            self.wants_write = False
            self._stack.mark_ready(self)

    def _lowest_to_send(self) -> int:
        """Return the offset of the first byte that may have to be sent, for the first time or again.

        What was DATA_ACKed is still sent again on a subflow that has not acknowledged it (RFC 8684 section
        3.3.2: until both have happened it is kept), or as the probe of a closed window.
        """
        dsn = self.outbound.lowest_to_send()
        for subflow in self.open:
            dsn = min(dsn, subflow.mappings.lowest())
        return dsn - 1

    def on_subflow_timeout(self, subflow: SubflowState, now: int) -> None:
        """A subflow is in time-out: others may carry what it has."""
        self.outbound.reinjections.on_timeout(subflow)
        self._push(now)

    # --- DATA_FIN and the end -------------------------------------------------------------------------

    def on_data_fin(self, subflow: SubflowState, now: int) -> None:
        """The peer's stream has ended and was delivered completely."""
        self.peer_closed = True
        self.ending.on_data_fin(subflow, now)

    def on_peer_closed(self, number: int, now: int) -> None:
        """The peer has sent a FIN on a subflow: at the connection it means nothing (section 3.3.3)."""
        if self.is_plain:
            super().on_peer_closed(number, now)
            return
        subflow = self.subflow_of(number)
        if subflow.awaits_fallback():
            # A peer that has got our MP_FAIL may be plain already: its infinite mapping is under way.
            return
        if not self.peer_closed and self.fallback.may_be_plain(subflow):
            # Is it the end of its stream? Our FIN would be the end of ours, and there may be more to come.
            subflow.reset(REASON_MIDDLEBOX, "a FIN came before MPTCP is sure", now)
            return
        done = not self.peer_closed or self.state == M_TIME_WAIT
        if done and not subflow.tcp.sender.fin_wanted:
            # The peer's stream continues on other subflows, or both streams have ended: close our direction,
            # too. Outstanding data is still repeated.
            subflow.tcp.close(now)

    def on_closed(self, number: int, now: int) -> None:
        """A subflow has reached CLOSED."""
        subflow = self.subflow_of(number)
        tcp = subflow.tcp
        if subflow in self.open:
            self.open.remove(subflow)
        if self.is_plain and tcp is not self.fallback.survivor():
            return
        if self.is_plain or (self.state == M_INIT and not subflow.is_join):
            self.local_release()
            super().on_closed(number, now)
            return
        if tcp.sender.congestion in self.group:
            self.group.remove(tcp.sender.congestion)
        subflow.incoming.stop()
        self.note_subflow(subflow, "SF_CLOSED", tcp.error or "closed")
        info = subflow.info()
        if subflow.stage != READY and not tcp.passive:
            self.addresses.on_join_failed(tcp.flow.dst)
        if self.state not in (M_CLOSED, M_FASTCLOSE_WAIT):
            self.act(self.path_manager.on_subflow_closed(self.paths, info), now)
            self._hand_over(subflow, now)
        self.ending.on_subflow_closed(now)
        self._state_changed()

    def on_fin_acked(self, number: int, now: int) -> None:
        """Hand over data that the peer acknowledged on the subflow, FIN included, but did not DATA_ACK."""
        subflow = self.subflow_of(number)
        if subflow.is_active and self.state not in (M_CLOSED, M_FASTCLOSE_WAIT):
            self._hand_over(subflow, now)

    def _hand_over(self, subflow: SubflowState, now: int) -> None:
        """A subflow sends nothing any more: others take what it leaves, the DATA_FIN included."""
        outbound = self.outbound
        outbound.reinjections.take_over(subflow)
        outbound.push(now)
        if outbound.fin_sent and outbound.una == outbound.end:
            outbound.send_fin(now)

    def on_data_fin_sent(self) -> None:
        """Our DATA_FIN has left."""
        self.ending.on_data_fin_sent()

    def on_data_fin_acked(self, subflow: SubflowState, now: int) -> None:
        """Our DATA_FIN was acknowledged on a subflow."""
        self.ending.on_data_fin_acked(subflow, now)

    def time_out(self, why: str, now: int) -> None:
        """The peer does not answer at the connection any more."""
        self.ending.time_out(why, now)

    # --- The way to plain TCP -------------------------------------------------------------------------

    def become_plain(self, subflow: SubflowState, why: str, now: int) -> None:
        """Go on as plain TCP on a subflow."""
        self.fallback.become_plain(subflow, why, now)

    def on_checksum_failure(self, subflow: SubflowState, mapping: Mapping, now: int) -> None:
        """The payload of a mapping was changed on its way."""
        self.fallback.on_checksum_failure(subflow, mapping, now)

    def on_fail_answered(self, subflow: SubflowState, now: int) -> None:
        """New data without a mapping follows our MP_FAIL."""
        self.fallback.on_fail_answered(subflow, now)

    # --- Timers -----------------------------------------------------------------------------------------

    def next_deadline(self) -> int:
        """Return when the next timer is due, ns, or ``NEVER``."""
        outbound = self.outbound
        return min(
            outbound.rto_at,
            outbound.override_at,
            self.addresses.next_deadline(),
            self.ending.next_deadline(),
        )

    def handle_timers(self, now: int) -> None:
        """Do what is due."""
        if self.state not in (M_INIT, M_CLOSED) and not self.is_plain:
            self.outbound.on_timer(now)
            self.addresses.handle_timers(now)
            self.ending.handle_timers(now)
            self.wake_by(self.next_deadline())
