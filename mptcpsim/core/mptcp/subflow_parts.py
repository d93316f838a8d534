"""What MPTCP adds to one TCP subflow, put together: its mechanisms, and what they ask of it."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.addresses import Addresses
from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp.data_sender import DataSender
from mptcpsim.core.mptcp.fail_signal import FailSignal
from mptcpsim.core.mptcp.fallback import Fallback
from mptcpsim.core.mptcp.handshake import CapableHandshake, Handshake
from mptcpsim.core.mptcp.join_handshake import JoinHandshake
from mptcpsim.core.mptcp.mapped_data import MappedData
from mptcpsim.core.mptcp.path_watch import PathWatch
from mptcpsim.core.mptcp.priority import Priority
from mptcpsim.core.mptcp.reset_reason import ResetReason
from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp.signals import Signals
from mptcpsim.core.mptcp.stages import FELL_BACK, KEYS_ARRIVED, PLAIN, STAGE_TRANSITIONS
from mptcpsim.core.mptcp.window_updates import WindowUpdates
from mptcpsim.core.mptcp_options import (
    REASON_MIDDLEBOX,
    REASON_NAMES,
    VERSION_0,
    Dss,
    MptcpOption,
)
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.plugins import SubflowInfo

_MASK: Final = 0xFFFFFFFF


class SubflowParts(SubflowState):
    """A subflow with its mechanisms.

    Attributes:
        handshake: the exchange that opens it.
        join: the same if that is MP_JOIN, else None.
        priority: whether it is a backup.
        incoming: data that has arrived, and where it belongs.
        watch: probes whether its path works.
        fail_signal: MP_FAIL, where it is the only subflow.
        reset_reason: what the RST that ends it says.
        signals: options that wait for room on an ACK.
    """

    __slots__ = (
        "_ack_on_updates",
        "_announces_own",
        "_fallback",
        "_inbound",
        "_maps_ahead",
        "_outbound",
        "_seen_dss",
        "_seen_window",
        "_updates",
        "_wnd_end_sent",
        "fail_signal",
        "handshake",
        "incoming",
        "join",
        "priority",
        "reset_reason",
        "signals",
        "watch",
    )

    def __init__(
        self,
        connection: Session,
        tcp: Tcp,
        outbound: DataSender,
        inbound: DataReceiver,
        fallback: Fallback,
        addresses: Addresses,
        updates: WindowUpdates,
    ) -> None:
        super().__init__(connection, tcp)
        self._outbound = outbound
        self._inbound = inbound
        self._fallback = fallback
        self._updates = updates
        #: DSS and window field of the last segment with news for the connection.
        self._seen_dss = Dss(data_ack=UNKNOWN)
        self._seen_window: int = UNKNOWN
        mptcp = connection.config.mptcp
        #: It announces a receive window of its own, not the connection's.
        self._announces_own: bool = mptcp.receive_window != "connection"
        self._ack_on_updates: bool = mptcp.data_ack_on_updates
        self._maps_ahead: bool = mptcp.map_ahead
        #: The right edge of the connection's window that was announced here last.
        self._wnd_end_sent: int = 1
        self.reset_reason = ResetReason(connection.agreed, inbound, connection.counters())
        self.fail_signal = FailSignal(self, inbound)
        self.incoming = MappedData(self, inbound, self.fail_signal)
        self.watch = PathWatch(self)
        self.signals = Signals(self, inbound, self.fail_signal)
        self.priority = Priority(self, outbound, self.signals)
        self.join: JoinHandshake | None = (
            JoinHandshake(self, addresses, self.priority) if self.is_join else None
        )
        self.handshake: Handshake = self.join or CapableHandshake(self, outbound, inbound)

    @property
    def backup(self) -> bool:
        """One of the two ends wants it used as a backup only."""
        return self.priority.is_backup

    # --- The stage --------------------------------------------------------------------------------

    def advance(self, cause: str) -> None:
        """Change the stage according to the transition table."""
        self.stage = STAGE_TRANSITIONS[self.stage, cause]
        if cause == KEYS_ARRIVED:
            self.keys_due = True
        if not self.is_active and self.stage != PLAIN:
            self.is_active = True
            self.tcp.set_signal_bytes(self.data_option_space())

    def become_plain(self) -> None:
        """Leave MPTCP permanently: the connection continues as plain TCP on this subflow."""
        self.advance(FELL_BACK)
        self.is_active = False
        self.handshake.stop()
        self.signals.stop()
        self.watch.stop()
        self.fail_signal.stop()

    def data_option_space(self) -> int:
        """Return the bytes that a mapping with a DATA_ACK takes on a data segment (section 3.3)."""
        connection = self.connection
        numbers = self._inbound.ack_octets + self._outbound.octets
        length = numbers + (12 if connection.agreed.checksum else 10)
        return max((length + 3) & ~3, 24 if self.keys_due and connection.agreed.version != VERSION_0 else 0)

    def on_longer_numbers(self) -> None:
        """DSNs or DATA_ACKs have 8 octets from now on: less payload fits."""
        self.tcp.set_signal_bytes(self.data_option_space())

    # --- What the connection asks for -------------------------------------------------------------

    def info(self) -> SubflowInfo:
        """Return what a path manager may know of the subflow."""
        tcp = self.tcp
        flow = tcp.flow
        handshake = self.handshake
        return SubflowInfo(
            self.number,
            flow.src,
            handshake.local_id,
            flow.dst,
            handshake.remote_id,
            flow.dport,
            self.priority.is_backup,
            not tcp.passive,
        )

    def open(self, backup: bool, now: int) -> None:
        """Send the SYN of a join, perhaps as a backup."""
        assert self.join is not None
        self.join.begin(backup)
        self.tcp.open_active(now)

    def third_ack_option(self) -> MptcpOption:
        """Return the option of the third ACK."""
        return self.handshake.third_ack_option()

    def on_remote_address_removed(self, now: int) -> None:
        """The peer has removed the address that the subflow goes to."""
        self.watch.on_address_removed(now)

    # --- What mechanisms ask for --------------------------------------------------------------------

    def local_id(self) -> int:
        """Return the identifier of the own address that it uses."""
        return self.handshake.local_id

    def remote_id(self) -> int:
        """Return the identifier of the address of the peer that it uses."""
        return self.handshake.remote_id

    def awaits_fallback(self) -> bool:
        """Return whether MP_FAIL was sent here."""
        return self.fail_signal.dsn >= 0

    def unmapped(self) -> int:
        """Return how many bytes wait for a mapping that has not come."""
        return self.incoming.unmapped()

    def reset(self, reason: int, why: str, now: int) -> None:
        """Reset it, with the reason if the version has one (section 3.6)."""
        self.reset_reason.on_reset(reason)
        self.tcp.abort(now, f"{why} ({REASON_NAMES[reason]})")

    def fail(self, dsn: int, why: str, now: int) -> None:
        """Reset it with MP_FAIL."""
        self.reset_reason.on_fail(dsn)
        self.reset(REASON_MIDDLEBOX, why, now)

    def on_fast_close(self) -> None:
        """The connection is aborted: the RST that ends the subflow says so, where it can."""
        self.reset_reason.on_fast_close()

    def on_mp_prio(self, backup: bool) -> None:
        """The peer wants it used as a backup only, or no longer."""
        self.priority.on_mp_prio(backup)

    def flush_signals(self, now: int) -> None:
        """Send ACKs for the options that wait."""
        self.signals.flush(now)

    def ask_to_fall_back(self, dsn: int, now: int) -> None:
        """Send MP_FAIL."""
        self.fail_signal.begin(dsn, now)

    def skip_to(self, seq: int, dsn: int) -> bool:
        """Take what follows ``seq`` for the stream from ``dsn`` on; return False if that does not fit."""
        return self.incoming.skip_to(seq, dsn)

    def ssn_of_next_dsn(self) -> int:
        """Return the subflow sequence number of the next DSN, by the mapping of the first byte held."""
        return self.incoming.ssn_of_next_dsn()

    def delivered_up_to(self) -> int:
        """Return the sequence number up to which data was handed to the connection."""
        return self.incoming.delivered_end

    def release(self, shift: int) -> int:
        """Go over to plain TCP: check the bytes that were held; return how many there are."""
        return self.incoming.release(shift)
