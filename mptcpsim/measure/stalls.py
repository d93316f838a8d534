"""Stalls: what they are, and what a report says of one.

The definition is in docs/design.md, section "Stalls". In short: a *gap* is a time in which the
sender has data for the receiver, the receiver has room for it, and nothing is delivered for the
first time. One of max(2 SRTT, 200 ms) or more is a *pause*; one that lasts ``least_stall``, too, is a
*stall*. A run whose pace is set by a slow reader has zero windows but neither.

``measure.stall_causes`` has the causes and explains a gap, ``measure.stall_ends`` says what ended it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.segment import FourTuple
from mptcpsim.core.tcp.info import ConnectionInfo, TcpInfo
from mptcpsim.measure.ends import End
from mptcpsim.units import MILLISECOND, SECOND

#: A gap that is shorter is the ordinary life of a transport protocol.
SHORTEST: Final = 200 * MILLISECOND

#: A gap that is shorter is no stall: loss recovery may take so long.
LEAST_STALL: Final = SECOND


class Witness(NamedTuple):
    """A segment that shows a cause: sent or received at an end, at an instant.

    Attributes:
        what: in a few words.
        time: ns.
        at_sender: it passed at the end that sends the data, else at the one that receives it.
        outgoing: that end sent it.
        subflow: number at the end that sends the data.
        flow: addresses and ports of the segment.
        seq: on the wire.
        length: payload bytes.
    """

    what: str
    time: int
    at_sender: bool
    outgoing: bool
    subflow: int
    flow: FourTuple
    seq: int
    length: int


class Explanation(NamedTuple):
    """Why a connection is stalled: one of ``stall_causes.CAUSES``, in words, with the segments that show it.

    ``timeouts``: the retransmission time-outs in a row that it speaks of. ``since``: it has been so since
    that instant, ns, if that is known, or -1.
    """

    cause: str
    words: str
    witnesses: tuple[Witness, ...] = ()
    timeouts: int = 0
    since: int = -1


def waiting(sender: ConnectionInfo, receiver: ConnectionInfo) -> bool:
    """Return whether the sender has data that is not delivered, or could have but for its buffer."""
    if sender.error or receiver.error:
        return False
    if sender.written > receiver.delivered:
        return True
    return sender.waits_to_write and not sender.closing and 3 * sender.writable < sender.send_buffer


def gap_since(sender: End, receiver: End, delivered_at: int, data_since: int) -> int:
    """Return since when something could have arrived, and nothing did, ns.

    Args:
        sender: the end that sends the data, established.
        receiver: the other one, established.
        delivered_at: when bytes were last delivered for the first time, ns, or -1.
        data_since: since when the sender's application has something for the receiver, ns.
    """
    return max(
        delivered_at,
        data_since,
        receiver.info.free_since,
        sender.info.established_at,
        receiver.info.established_at,
    )


def quiet(sender: End) -> int:
    """Return how long a gap must last to count at all, ns: max(2 SRTT, 200 ms)."""
    return max(2 * max(tcp.srtt for tcp in _working(sender)), SHORTEST)


def least_stall(sender: End, threshold: int | None) -> int:
    """Return how long a gap must last to be a stall, ns.

    ``threshold``: as the user wants it; by default 1 s, and twice the largest time-out of a working subflow.
    """
    if threshold is not None:
        return max(threshold, quiet(sender))
    longest = max(tcp.rto for tcp in _working(sender))
    return max(LEAST_STALL, 2 * longest, quiet(sender))


def _working(sender: End) -> list[TcpInfo]:
    """Return the subflows that are established and have not ended; all of them if there are none."""
    return [tcp for tcp in sender.subflows if tcp.established_at >= 0 and not tcp.ended] or sender.subflows
