"""The protocol stack of one host: its TCP, and what MPTCP adds to it.

``TcpStack`` says how a driver runs it. Here stands what a connection of several subflows needs of its
host: tokens, joins, offers and the versions that peers refused.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.host import TimerOwner
from mptcpsim.core.mptcp.agreement import answer_version, is_to_be_ignored
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.host import MptcpHost
from mptcpsim.core.mptcp.keys import Key, derive, generate
from mptcpsim.core.mptcp_options import (
    REASON_MPTCP_SPECIFIC,
    VERSION_0,
    VERSION_1,
    MpCapable,
    MpJoinSyn,
    MptcpOption,
    MpTcprst,
)
from mptcpsim.core.segment import FourTuple, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.stack import Listener as Listener

if TYPE_CHECKING:
    from mptcpsim.core.mptcp_config import MptcpConfig
    from mptcpsim.plugins import OpenSubflow


class Stack(MptcpHost):
    """The transport layer of one host: TCP and MPTCP.

    Attributes:
        tokens: MPTCP connections by the token of their own key.
        versions_refused: versions of MPTCP that a peer did not answer, by its address.
    """

    __slots__ = ("_spoken", "tokens", "versions_refused")

    def __init__(self, name: str, rng: random.Random, config: TcpConfig) -> None:
        super().__init__(name, rng, config)
        self.tokens: dict[int, MptcpConnection] = {}
        self.versions_refused: dict[str, set[int]] = {}
        #: By version of MPTCP: how many listeners and connections of ``tokens`` speak it.
        self._spoken: dict[int, int] = {}

    # --- Versions -------------------------------------------------------------------------------

    def listen(self, port: int, config: TcpConfig | None = None, address: str = "") -> Listener:
        """Accept connections on ``port``, on every local address or on one.

        Raises:
            LocalProtocolError: the port is in use or not a port.
        """
        listener = super().listen(port, config, address)
        self._count_versions(listener.config.mptcp, 1)
        return listener

    def unlisten(self, listener: Listener, now: int) -> None:
        """Accept no more connections by a listener, and reset those that nobody has taken.

        Raises:
            LocalProtocolError: it is closed already.
        """
        super().unlisten(listener, now)
        self._count_versions(listener.config.mptcp, -1)

    def _count_versions(self, config: MptcpConfig, change: int) -> None:
        """Note that one more, or one less, listener or connection has these settings."""
        if config.enabled:
            for version in config.versions:
                self._spoken[version] = self._spoken.get(version, 0) + change

    def speaks(self, version: int) -> bool:
        """Return whether the host, a listener or a connection of it speaks a version of MPTCP."""
        own = self.config.mptcp
        return self._spoken.get(version, 0) > 0 or (own.enabled and version in own.versions)

    def _speaks_any(self) -> bool:
        """Return whether options of MPTCP mean anything here."""
        return any(self.speaks(version) for version in (VERSION_0, VERSION_1))

    # --- Addresses ------------------------------------------------------------------------------

    def change_address(self, address: str, up: bool, now: int) -> None:
        """Tell every MPTCP connection that an address has come or is about to go."""
        super().change_address(address, up, now)
        if up:
            for connection in list(self.tokens.values()):
                connection.on_local_address(address, True, now)

    def lose_addresses(self, addresses: list[str], now: int) -> None:
        """Send nothing from these addresses any more, and tell every MPTCP connection that they go.

        All are removed at once, so that no announcement of one removal leaves from another of them.
        """
        super().lose_addresses(addresses, now)
        for connection in list(self.tokens.values()):
            for address in addresses:
                connection.on_local_address(address, False, now)

    # --- Offers (RFC 8684 section 3.1) ------------------------------------------------------------

    def _new_client(self, config: TcpConfig, remote: str, port: int) -> Connection:
        """Return a connection that offers the first version of ours that the peer has not refused."""
        version = UNKNOWN
        if config.mptcp.enabled:
            refused = self.versions_refused.get(remote, set())
            for candidate in config.mptcp.versions:
                if candidate not in refused:
                    version = candidate
                    break
            if version == UNKNOWN:
                self.counters.add("MPTcpExtMPCapableSYNTXDisabled")
        return self._new_multipath(config, True, version, port)

    def _new_multipath(
        self, config: TcpConfig, is_client: bool, version: int, port: int, eager: bool = False
    ) -> Connection:
        """Return a connection that offers or answers MPTCP, a plain one without a version or a key."""
        if version == UNKNOWN:
            return self._new_plain(config, port, eager)
        key = self._new_key(config.mptcp, version)
        if key is None:
            self.counters.add("MPTcpExtMPFallbackTokenInit")
            return self._new_plain(config, port, eager)
        connection = MptcpConnection(
            self, self._connections_ever, config, port, eager, is_client, version, key
        )
        self._keep_token(key.token, connection)
        return connection

    def _new_key(self, config: MptcpConfig, version: int) -> Key | None:
        # Drawn in any case, so that fixing it changes nothing else.
        drawn = generate(self._rng, version, self.tokens)
        value = config.initial_key
        if value == UNKNOWN:
            if drawn is None:
                return None
            value = drawn.value
        key = derive(value, version, config.initial_dsn)
        return None if key.token in self.tokens else key

    def _on_syn(self, segment: Segment, listener: Listener | None, now: int) -> None:
        """Answer a SYN: with MP_JOIN, with MP_CAPABLE, or as TCP does."""
        offer: MpCapable | None = None
        for option in segment.options or ():
            if isinstance(option, MpJoinSyn) and self._speaks_any():
                self._join(segment, option, now)
                return
            if isinstance(option, MpCapable):
                offer = option
        if offer is None or listener is None or not listener.config.mptcp.enabled:
            # Where MPTCP is off, the option is unknown and is not counted.
            super()._on_syn(segment, listener, now)
            return
        self.counters.add("MPTcpExtMPCapableSYNRX")
        if is_to_be_ignored(offer):
            return
        version = answer_version(offer, listener.config.mptcp)
        connection = self._new_multipath(listener.config, False, version, listener.port, listener.eager)
        self._add(connection)
        tcp = self._new_tcp(connection, segment.flow.reverse())
        if isinstance(connection, MptcpConnection):
            connection.subflow_of(tcp.identifier).handshake.on_syn(offer, segment)
        tcp.open_passive(segment, now)

    # --- Joins (RFC 8684 section 3.2) -----------------------------------------------------------

    def _join(self, segment: Segment, join: MpJoinSyn, now: int) -> None:
        """A SYN with MP_JOIN: it belongs to the connection of its token, whatever its port."""
        self.counters.add("MPTcpExtMPJoinSynRx")
        if join.backup:
            self.counters.add("MPTcpExtMPJoinSynBackupRx")
        connection = self.tokens.get(join.token)
        if connection is None:
            self.counters.add("MPTcpExtMPJoinNoTokenFound")
            self._refuse(segment, REASON_MPTCP_SPECIFIC)
            return
        reason = connection.joins.refusal(segment.flow)
        if reason != UNKNOWN:
            self.counters.add("MPTcpExtMPJoinRejected")
            self._refuse(segment, reason)
            return
        tcp = self._new_tcp(connection, segment.flow.reverse())
        connection.subflow_of(tcp.identifier).handshake.on_syn(join, segment)
        tcp.open_passive(segment, now)

    def _refuse(self, join: Segment, reason: int) -> None:
        """Answer a SYN with MP_JOIN by a RST, with the reason if the version has one (section 3.6)."""
        options: tuple[MptcpOption, ...] | None = None
        if self.speaks(VERSION_1):
            options = (MpTcprst(reason),)
            self.counters.add("MPTcpExtMPRstTx")
        self._reset(join, options)

    def open_join(self, connection: TimerOwner, action: OpenSubflow) -> int:
        """Give a connection a further subflow in state CLOSED; return its number, -1 if it cannot be."""
        assert isinstance(connection, MptcpConnection)
        if not self.has_address(action.local):
            return UNKNOWN
        remote = (action.remote, action.port)
        port = action.local_port or self._free_port(action.local, remote)
        flow = FourTuple(action.local, port, action.remote, action.port)
        if flow.reverse() in self._tcps:
            return UNKNOWN
        return self._new_tcp(connection, flow).identifier

    def nonce(self) -> int:
        """Return a fresh random number of 32 bits."""
        return self._rng.getrandbits(32)

    def rename_token(self, old: int, new: int, connection: TimerOwner) -> bool:
        """Give a connection another token; return False if that is taken."""
        assert isinstance(connection, MptcpConnection)
        if new in self.tokens:
            return False
        self.release_token(old, connection)
        self._keep_token(new, connection)
        return True

    def _keep_token(self, token: int, connection: MptcpConnection) -> None:
        self.tokens[token] = connection
        self._count_versions(connection.config.mptcp, 1)

    def release_token(self, token: int, connection: TimerOwner) -> None:
        """Forget a token; harmless if the connection has not got it."""
        if self.tokens.get(token) is connection:
            del self.tokens[token]
            assert isinstance(connection, MptcpConnection)
            self._count_versions(connection.config.mptcp, -1)

    def note_refusal(self, peer: str, version: int) -> None:
        """Remember that a peer has not answered a version of MPTCP."""
        self.versions_refused.setdefault(peer, set()).add(version)
