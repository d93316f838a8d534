"""A connection as its path manager sees it."""

from __future__ import annotations

from mptcpsim.core.mptcp.addresses import Addresses
from mptcpsim.core.mptcp.session import Session
from mptcpsim.plugins import PathView, RemoteAddress, SubflowInfo


class ConnectionPaths(PathView):
    """The view of one connection."""

    __slots__ = ("_addresses", "_connection")

    def __init__(self, connection: Session, addresses: Addresses) -> None:
        self._connection = connection
        self._addresses = addresses

    @property
    def is_client(self) -> bool:
        """This end opened the connection."""
        return self._connection.is_client

    @property
    def local_addresses(self) -> list[str]:
        """The addresses of the host."""
        return self._connection.host_addresses()

    @property
    def remote_addresses(self) -> list[RemoteAddress]:
        """Addresses of the peer to which subflows may be opened."""
        remote = self._addresses.remote
        denied = self._connection.agreed.denies_initial
        return [remote[i] for i in sorted(remote) if i or not denied]

    @property
    def subflows(self) -> list[SubflowInfo]:
        """The subflows that are open or being opened."""
        return [subflow.info() for subflow in self._connection.open_subflows()]

    @property
    def announced(self) -> list[str]:
        """Own addresses that were announced."""
        return list(self._addresses.announced)

    def local_id(self, address: str) -> int:
        """Return the identifier of an own address."""
        return self._addresses.local_id(address)

    def source_for(self, remote: str) -> str:
        """Return the own address from which routing reaches ``remote``; empty: none."""
        return self._connection.source_for(remote)
