"""A connection and its subflows, as the mechanisms of MPTCP see them.

Handshake, joins, fallback, closing, reinjection and the other mechanisms are classes of their own. This
module declares what they may ask of their connection and of a subflow. ``connection.MptcpConnection`` and
``subflow.Subflow`` put the mechanisms together and pass on what one asks of another. A mechanism therefore
imports only modules below it.
"""

from __future__ import annotations

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.counters import Counters
from mptcpsim.core.mptcp.agreement import Agreement
from mptcpsim.core.mptcp.host import MptcpHost
from mptcpsim.core.mptcp.keys import Key
from mptcpsim.core.mptcp.mappings import Mapping, SentMappings
from mptcpsim.core.mptcp.stages import OPENING, READY
from mptcpsim.core.mptcp_options import Dss, MptcpOption
from mptcpsim.core.segment import Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.recovery import OPEN
from mptcpsim.core.tcp.seams import Extension
from mptcpsim.core.tcp.states import CLOSE_WAIT, CLOSED, ESTABLISHED, TIME_WAIT
from mptcpsim.plugins import Action, OpenSubflow, PathManager, PathView, SubflowInfo
from mptcpsim.units import NEVER


class SubflowState(Extension):
    """A subflow. Numbers relative, sizes in bytes, times in ns.

    Attributes:
        connection: the connection that it belongs to.
        tcp: the TCP connection that carries it.
        number: identifier within the connection; 0 is the first subflow.
        is_join: it was opened with MP_JOIN.
        stage: ``OPENING``, ``PRE_ESTABLISHED``, ``READY`` or ``PLAIN``; ``Subflow.advance`` changes it.
        fully_established: a DATA_ACK has arrived, so the peer has our keys.
        dss_passes: a DATA_ACK has acknowledged data, so the DSS passes in both directions (section 3.7).
        dss_received: a DSS has arrived.
        dss_sent: a DSS was sent, from which the peer may have learned that options pass.
        fin_with_dss: the FIN of the peer carried options of MPTCP, so the peer has not fallen back.
        keys_due: the peer may not have our key yet: MP_CAPABLE goes with ACKs and the first data.
        mappings: mappings that were sent and are not acknowledged on this subflow.
        acks_without_data_ack: ACKs of new data since the last DATA_ACK came.
        room_left: bytes of new data that may still be sent, as the connection divides them.
    """

    __slots__ = (
        "_own_window",
        "acks_without_data_ack",
        "connection",
        "dss_passes",
        "dss_received",
        "dss_sent",
        "fin_with_dss",
        "fully_established",
        "is_join",
        "keys_due",
        "mappings",
        "number",
        "room_left",
        "stage",
        "tcp",
    )

    def __init__(self, connection: Session, tcp: Tcp) -> None:
        super().__init__()
        self.connection = connection
        self.tcp = tcp
        self.number: int = tcp.identifier
        self.is_join: bool = tcp.identifier > 0
        self.stage: int = OPENING
        self.fully_established: bool = False
        self.dss_passes: bool = False
        self.dss_received: bool = False
        self.dss_sent: bool = False
        self.fin_with_dss: bool = False
        self.keys_due: bool = False
        self.mappings = SentMappings()
        self.acks_without_data_ack: int = 0
        self.room_left: int = 0
        #: The window of the subflow applies in addition to the connection's.
        self._own_window: bool = not connection.config.mptcp.share_send_window

    # --- What a scheduler sees ------------------------------------------------------------------

    @property
    def identifier(self) -> int:
        """Number of the subflow within its connection."""
        return self.number

    @property
    def srtt(self) -> int:
        """Smoothed round-trip time."""
        return self.tcp.sender.rtt.srtt

    @property
    def cwnd(self) -> int:
        """Congestion window."""
        return self.tcp.sender.congestion.cwnd

    @property
    def in_flight(self) -> int:
        """Bytes in flight."""
        return self.tcp.sender.pipe()

    @property
    def mss(self) -> int:
        """Payload of a full segment."""
        return self.tcp.sender.mss

    # --- Questions --------------------------------------------------------------------------------

    @property
    def works(self) -> bool:
        """Established in both directions, and neither end has begun to close it."""
        tcp = self.tcp
        return self.stage == READY and tcp.state == ESTABLISHED and not tcp.sender.fin_wanted

    @property
    def failing(self) -> bool:
        """A retransmission time-out was not answered yet (Linux's out-of-tree line: potentially failed)."""
        return self.tcp.sender.timeouts_in_a_row > 0

    def room(self, now: int) -> int:
        """Return how many bytes of new data may be sent now; 0 or less for none."""
        return self.tcp.sender.room(now, self._own_window)

    def look_for_room(self, now: int) -> None:
        """Note the room that there is now."""
        self.room_left = self.tcp.sender.room(now, self._own_window)

    def use_room(self, count: int) -> None:
        """So many bytes of it were used."""
        self.room_left -= count

    def own_window_closed(self) -> bool:
        """Return whether the window of this subflow alone keeps it from sending."""
        sender = self.tcp.sender
        return self._own_window and sender.wnd_end <= sender.nxt

    def local_id(self) -> int:
        """Return the identifier of the own address that it uses."""
        raise NotImplementedError

    def remote_id(self) -> int:
        """Return the identifier of the address of the peer that it uses."""
        raise NotImplementedError

    def awaits_fallback(self) -> bool:
        """Return whether MP_FAIL was sent here: the data in flight has to stay contiguous."""
        raise NotImplementedError

    def next_has_keys(self) -> bool:
        """Return whether the next mapping travels as MP_CAPABLE (RFC 8684 section 3.1)."""
        raise NotImplementedError

    def unmapped(self) -> int:
        """Return how many bytes wait for a mapping that has not come."""
        raise NotImplementedError

    def info(self) -> SubflowInfo:
        """Return what a path manager may know of it."""
        raise NotImplementedError

    # --- The handshake and the end ------------------------------------------------------------------

    def advance(self, cause: str) -> None:
        """Change the stage according to the transition table."""
        raise NotImplementedError

    def open(self, backup: bool, now: int) -> None:
        """Send the SYN of a join, perhaps as a backup."""
        raise NotImplementedError

    def third_ack_option(self) -> MptcpOption:
        """Return the option of the third ACK."""
        raise NotImplementedError

    def on_mp_prio(self, backup: bool) -> None:
        """The peer wants it used as a backup only, or no longer."""
        raise NotImplementedError

    def on_remote_address_removed(self, now: int) -> None:
        """The peer has removed the address that the subflow goes to."""
        raise NotImplementedError

    def reset(self, reason: int, why: str, now: int) -> None:
        """Reset it, with the reason if the version has one (section 3.6)."""
        raise NotImplementedError

    def on_fast_close(self) -> None:
        """The connection is aborted: the RST that ends the subflow says so, where it can."""
        raise NotImplementedError

    # --- Sending ------------------------------------------------------------------------------------

    def send_data(self, dsn: int, length: int, data_fin: bool, push: bool, now: int) -> None:
        """Map bytes of the connection onto this subflow and send them at once."""
        raise NotImplementedError

    def send_data_fin(self, now: int) -> None:
        """Send a DATA_FIN that no data goes with."""
        raise NotImplementedError

    def send_ack_with(self, dss: Dss | None, options: tuple[MptcpOption, ...], now: int) -> None:
        """Send an ACK with just these options of MPTCP beside the timestamps."""
        raise NotImplementedError

    def flush_signals(self, now: int) -> None:
        """Send ACKs for the options that wait."""
        raise NotImplementedError

    def penalise(self) -> None:
        """Halve the window of a subflow that holds the connection up; the scheduler decides how often."""
        sender = self.tcp.sender
        if sender.recovery.ca_state == OPEN:
            sender.window.halve(sender.mss)

    def log_heard(self, what: str, segment: Segment, now: int) -> None:
        """Note what a segment of the peer did to a window."""
        log = self.connection.window_log
        if log is not None:
            window = segment.window << self.tcp.snd_scale
            log.add(what, now, self.number, segment.seq, segment.ack, window, segment.length)

    # --- On the way to plain TCP ----------------------------------------------------------------------

    def ask_to_fall_back(self, dsn: int, now: int) -> None:
        """A checksum was wrong, and no other subflow could carry the data: send MP_FAIL."""
        raise NotImplementedError

    def fail(self, dsn: int, why: str, now: int) -> None:
        """Reset it with MP_FAIL: a checksum was wrong, or the data cannot go on as plain TCP."""
        raise NotImplementedError

    def become_plain(self) -> None:
        """Leave MPTCP permanently: the connection continues as plain TCP on this subflow."""
        raise NotImplementedError

    def skip_to(self, seq: int, dsn: int) -> bool:
        """Map everything from ``seq`` on to the stream from ``dsn`` on, and drop held data below ``seq``.

        Return False if data has not arrived so far, or what has arrived belongs elsewhere.
        """
        raise NotImplementedError

    def ssn_of_next_dsn(self) -> int:
        """Return the subflow sequence number of the next DSN, by the mapping of the first byte held."""
        raise NotImplementedError

    def delivered_up_to(self) -> int:
        """Return the subflow sequence number up to which data was delivered to the connection."""
        raise NotImplementedError

    def release(self, shift: int) -> int:
        """Go over to plain TCP: check the bytes that were held; return how many there are.

        Args:
            shift: stream offset minus relative sequence number of the subflow, of any byte from now on.
        """
        raise NotImplementedError


class Session(Connection):
    """An MPTCP connection.

    Attributes:
        is_client: this end opened the connection.
        agreed: version, keys and checksums, offered or agreed on.
        extensions: what MPTCP adds to each of ``subflows``.
        open: those of them that are not closed.
        path_manager: the plug-in that decides which subflows there are.
        paths: what it sees.
    """

    __slots__ = (
        "_counted",
        "_skips_persist",
        "_stack",
        "agreed",
        "extensions",
        "is_client",
        "open",
        "path_manager",
        "paths",
    )

    path_manager: PathManager
    paths: PathView

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
        super().__init__(stack, identifier, config, local_port, eager)
        self._stack = stack
        self.is_client = is_client
        self.agreed = Agreement(config.mptcp, version, key)
        self.extensions: list[SubflowState] = []
        self.open: list[SubflowState] = []
        self._counted: bool = False
        #: A subflow in persist gets no data.
        self._skips_persist: bool = config.mptcp.persist_blocks

    # --- Services of the host ---------------------------------------------------------------------

    def count(self, name: str) -> None:
        """Count under a name of Linux's MIB."""
        self._stack.counters.add(name)

    def counters(self) -> Counters:
        """Return the counters of the host."""
        return self._stack.counters

    def note(self, what: str, detail: str) -> None:
        """Put an event of the connection on the event log."""
        self._stack.note(self.identifier, UNKNOWN, what, detail)

    def note_subflow(self, subflow: SubflowState, what: str, detail: str) -> None:
        """Put an event of a subflow on the event log."""
        self._stack.note(self.identifier, subflow.number, what, detail)

    def now(self) -> int:
        """Return the instant of the present call, ns."""
        return self._stack.now

    def nonce(self) -> int:
        """Return a fresh random number of 32 bits."""
        return self._stack.nonce()

    def host_addresses(self) -> list[str]:
        """Return the addresses of the host."""
        return self._stack.local_addresses()

    def source_for(self, remote: str) -> str:
        """Return the own address from which routing reaches ``remote``."""
        return self._stack.source_for(remote)

    def new_join(self, action: OpenSubflow, now: int) -> SubflowState | None:
        """Return a new subflow in state CLOSED, None if it cannot be."""
        number = self._stack.open_join(self, action)
        return None if number == UNKNOWN else self.extensions[number]

    def rename_token(self, token: int) -> bool:
        """Take another token; return False if a connection of this host has it."""
        return self._stack.rename_token(self.agreed.local_key.token, token, self)

    def local_release(self) -> None:
        """The token is free again."""
        self._stack.release_token(self.agreed.local_key.token, self)

    def note_refusal(self, peer: str) -> None:
        """Remember that a peer has not answered the version offered."""
        self._stack.note_refusal(peer, self.agreed.version)

    def count_established(self) -> None:
        """It is an established MPTCP connection (``MPCurrEstab`` is a gauge)."""
        self._counted = True
        self.count("MPTcpExtMPCurrEstab")

    def uncount_established(self) -> None:
        """Take the connection out of ``MPCurrEstab`` again."""
        if self._counted:
            self._counted = False
            self._stack.counters.add("MPTcpExtMPCurrEstab", -1)

    # --- Questions about subflows -------------------------------------------------------------------

    def usable(self) -> list[SubflowState]:
        """Return the subflows that may carry new data: backups only if no regular subflow works."""
        found: list[SubflowState] = []
        only_backups = True
        for subflow in self.open:
            tcp = subflow.tcp
            if (
                subflow.stage == READY
                and tcp.state in (ESTABLISHED, CLOSE_WAIT)
                and not tcp.sender.fin_wanted
                and not tcp.sender.timeouts_in_a_row
            ):
                backup = subflow.backup
                if only_backups and not backup:
                    only_backups = False
                    found.clear()
                if backup == only_backups:
                    found.append(subflow)
        if self._skips_persist:
            return [s for s in found if s.tcp.sender.window_probe.at == NEVER]
        return found

    def alive(self) -> list[SubflowState]:
        """Return the subflows on which ACKs and their options can be sent."""
        return [s for s in self.open if s.stage == READY and ESTABLISHED <= s.tcp.state <= CLOSE_WAIT]

    def open_subflows(self) -> list[SubflowState]:
        """Return the subflows that are open or being opened."""
        over = (CLOSED, TIME_WAIT)
        return [subflow for subflow in self.open if subflow.tcp.state not in over]

    def has_room(self) -> bool:
        """Return whether the connection may have one more subflow."""
        return len(self.open_subflows()) < self.config.mptcp.max_subflows

    def is_only(self, subflow: SubflowState) -> bool:
        """Return whether no other subflow was added; subflows that the peer has not answered do not count."""
        return all(o is subflow or o.tcp.state == TIME_WAIT or o.stage == OPENING for o in self.open)

    def awaits_fallback(self) -> bool:
        """Return whether a subflow has sent MP_FAIL: the data in flight has to stay contiguous."""
        return any(subflow.awaits_fallback() for subflow in self.open)

    def subflows_of_local(self, identifier: int) -> list[SubflowState]:
        """Return the subflows that use an own address."""
        return [s for s in self.open_subflows() if s.local_id() == identifier]

    def subflows_of_remote(self, identifier: int) -> list[SubflowState]:
        """Return the subflows that use an address of the peer."""
        return [s for s in self.open_subflows() if s.remote_id() == identifier]

    # --- The state of the connection ------------------------------------------------------------------

    @property
    def is_plain(self) -> bool:
        """It speaks plain TCP, by negotiation or after a fallback."""
        raise NotImplementedError

    @property
    def state(self) -> int:
        """Its state at the data level, one of ``core.mptcp.data_states``."""
        raise NotImplementedError

    def notify_application(self) -> None:
        """Wake an application that waits for a change of state."""
        self._state_changed()

    def fail(self, error: str) -> None:
        """The connection has failed: reads and writes of the application raise from now on."""
        self.error = error
        self._state_changed()

    def on_ended(self, error: str) -> None:
        """The connection is over at both levels; an empty ``error`` is an orderly end."""
        self.ended = True
        if error:
            self.error = error
        self.note("CLOSED", error)
        self._forget_bytes()
        self.uncount_established()
        self.local_release()
        self._state_changed()

    # --- What one mechanism asks of another ---------------------------------------------------------

    def act(self, actions: list[Action], now: int) -> None:
        """Carry out what the path manager wants."""
        raise NotImplementedError

    def signal(self, option: MptcpOption, now: int) -> None:
        """Send an option on one of the subflows."""
        raise NotImplementedError

    def signal_elsewhere(self, option: MptcpOption, local_id: int, now: int) -> None:
        """Send an option on a subflow that does not use an own address, if there is one."""
        raise NotImplementedError

    def take_options(self, subflow: SubflowState, segment: Segment, now: int) -> bool:
        """Act on the options of an acceptable segment, but for the DSS; return False if the subflow ended."""
        raise NotImplementedError

    def take_options_of_reset(self, subflow: SubflowState, segment: Segment, now: int) -> None:
        """Act on the options of a RST."""
        raise NotImplementedError

    def on_third_ack_sent(self, now: int) -> None:
        """The third ACK of a subflow is on its way."""
        raise NotImplementedError

    def on_dss(self, now: int) -> None:
        """The peer has shown that it speaks MPTCP: joins may follow (section 3.1)."""
        raise NotImplementedError

    def on_fully_established(self, subflow: SubflowState, now: int) -> None:
        """The first DATA_ACK of a subflow has arrived."""
        raise NotImplementedError

    def on_join_complete(self, subflow: SubflowState, now: int) -> None:
        """The fourth ACK has arrived at the initiator of a join."""
        raise NotImplementedError

    def on_add_addr(self, now: int) -> None:
        """The peer has announced an address."""
        raise NotImplementedError

    def on_subflow_timeout(self, subflow: SubflowState, now: int) -> None:
        """A subflow is in time-out: others may carry what it has."""
        raise NotImplementedError

    def on_longer_numbers(self) -> None:
        """DSNs or DATA_ACKs have 8 octets from now on: less payload fits."""
        raise NotImplementedError

    def deliver(self, dsn: int, length: int, subflow: SubflowState, now: int) -> None:
        """Take the next bytes of the peer's stream."""
        super().on_data(subflow.number, dsn - 1, length, now)

    def on_data_fin(self, subflow: SubflowState, now: int) -> None:
        """The peer's stream has ended and was delivered completely."""
        raise NotImplementedError

    def on_data_fin_sent(self) -> None:
        """Our DATA_FIN has left."""
        raise NotImplementedError

    def on_data_fin_acked(self, subflow: SubflowState, now: int) -> None:
        """Our DATA_FIN was acknowledged on a subflow."""
        raise NotImplementedError

    def time_out(self, why: str, now: int) -> None:
        """The peer does not answer at the connection any more."""
        raise NotImplementedError

    def become_plain(self, subflow: SubflowState, why: str, now: int) -> None:
        """Go on as plain TCP on a subflow."""
        raise NotImplementedError

    def on_checksum_failure(self, subflow: SubflowState, mapping: Mapping, now: int) -> None:
        """The payload of a mapping was changed on its way."""
        raise NotImplementedError

    def on_fail_answered(self, subflow: SubflowState, now: int) -> None:
        """New data without a mapping follows our MP_FAIL."""
        raise NotImplementedError

    def take_held(self, tcp: Tcp, count: int, now: int) -> None:
        """Take bytes that waited for a mapping when the connection became plain TCP."""
        super().on_data(tcp.identifier, self.delivered, count, now)
