"""Which subflow of the one end of a connection is which of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mptcpsim.core.mptcp.subflow import subflow_of

if TYPE_CHECKING:
    from mptcpsim.core.tcp.connection import Connection
    from mptcpsim.core.tcp.endpoint import Tcp

_FIRST: Final = -1


def numbers_of(sender: Connection | None, receiver: Connection) -> dict[int, int]:
    """Return the numbers that ``sender`` has for its subflows, by those that ``receiver`` has for them.

    Each end counts the subflows in the order in which it has met them, and behind a NAT it knows them by
    other addresses. What both know is the random number of the SYN with MP_JOIN; the first one has none.
    """
    known = {_mark(tcp): tcp.identifier for tcp in sender.subflows} if sender is not None else {}
    return {tcp.identifier: known[_mark(tcp)] for tcp in receiver.subflows if _mark(tcp) in known}


def _mark(tcp: Tcp) -> int:
    subflow = subflow_of(tcp)
    if subflow is None or subflow.join is None:
        return _FIRST
    return subflow.join.initiator_nonce
