"""What MPTCP wants of its host beyond what TCP does: tokens, versions, further subflows."""

from __future__ import annotations

from mptcpsim.core.host import TimerOwner
from mptcpsim.core.tcp.stack import TcpStack
from mptcpsim.plugins import OpenSubflow


class MptcpHost(TcpStack):
    """The host of an MPTCP connection; ``core.stack.Stack`` fills it in."""

    __slots__ = ()

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
