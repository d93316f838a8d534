"""What MPTCP wants of its host beyond what TCP does: addresses, tokens, versions, further subflows."""

from __future__ import annotations

from mptcpsim.core.host import Host, TimerOwner
from mptcpsim.plugins import OpenSubflow, current_scope


class MptcpHost(Host):
    """The host of an MPTCP connection; ``core.stack.Stack`` fills it in.

    Attributes:
        plugins: those of the user, of the scenario that was current when the host was made.
    """

    __slots__ = ("plugins",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.plugins = current_scope()

    def local_addresses(self) -> list[str]:
        """Return the addresses from which something may be sent."""
        raise NotImplementedError

    def has_address(self, address: str) -> bool:
        """Return whether something may be sent from an address."""
        raise NotImplementedError

    def source_for(self, remote: str) -> str:
        """Return the own address from which routing reaches ``remote``; empty: none."""
        raise NotImplementedError

    def open_join(self, connection: TimerOwner, action: OpenSubflow) -> int:
        """Give a connection a further subflow in state CLOSED; return its number, -1 if it cannot be."""
        raise NotImplementedError

    def nonce(self) -> int:
        """Return a fresh random number of 32 bits."""
        raise NotImplementedError

    def rename_token(self, old: int, new: int, connection: TimerOwner) -> bool:
        """Give a connection another token; return False if that is taken."""
        raise NotImplementedError

    def release_token(self, token: int, connection: TimerOwner) -> None:
        """Forget a token; harmless if the connection has not got it."""
        raise NotImplementedError

    def note_refusal(self, peer: str, version: int) -> None:
        """Remember that a peer has not answered a version of MPTCP."""
        raise NotImplementedError
