"""Counters under the names that Linux gives them (``nstat``), one set a host.

Only rare things are counted by name; what happens for every segment, also while segments are lost or come
out of order, is counted in plain attributes and joined in ``as_dict``.
"""

from __future__ import annotations

from typing import Final

#: Counters that every host reports even while they are zero.
COMMON: Final = (
    "TcpActiveOpens",
    "TcpPassiveOpens",
    "TcpAttemptFails",
    "TcpEstabResets",
    "TcpInErrs",
    "TcpOutRsts",
    "TcpRetransSegs",
    "TcpExtTCPTimeouts",
    "TcpExtTCPLossProbes",
    "TcpExtTCPFastRetrans",
)


class Counters:
    """Named counters of a host.

    Attributes:
        in_segs, out_segs: TCP segments received and sent (``TcpInSegs``, ``TcpOutSegs``).
        queued: segments that came before their turn (``TcpExtTCPOFOQueue``).
        retransmitted, fast_retransmitted: segments sent again, and those of them that fast recovery sent
            (``TcpRetransSegs``, ``TcpExtTCPFastRetrans``).
        ofo_queue, ofo_queue_tail: data that came before its turn at an MPTCP connection, and what of it
            came after all that was there (``MPTcpExtOFOQueue``, ``MPTcpExtOFOQueueTail``).
        ofo_merged: how often data filled the gap in front of it (``MPTcpExtOFOMerge``).
        send_shared, receive_shared: segments beyond the window of their subflow, which that of the connection
            allows, and windows announced that another subflow had announced before
            (``MPTcpExtSndWndShared``, ``MPTcpExtRcvWndShared``).
    """

    __slots__ = (
        "_named",
        "fast_retransmitted",
        "in_segs",
        "ofo_merged",
        "ofo_queue",
        "ofo_queue_tail",
        "out_segs",
        "queued",
        "receive_shared",
        "retransmitted",
        "send_shared",
    )

    def __init__(self) -> None:
        self.in_segs: int = 0
        self.out_segs: int = 0
        self.ofo_queue: int = 0
        self.ofo_queue_tail: int = 0
        self.ofo_merged: int = 0
        self.queued: int = 0
        self.retransmitted: int = 0
        self.fast_retransmitted: int = 0
        self.send_shared: int = 0
        self.receive_shared: int = 0
        self._named: dict[str, int] = dict.fromkeys(COMMON, 0)

    def count_in(self) -> None:
        """A TCP segment has arrived."""
        self.in_segs += 1

    def count_out(self) -> None:
        """A TCP segment was sent."""
        self.out_segs += 1

    def count_queued(self) -> None:
        """A segment came before its turn."""
        self.queued += 1

    def count_retransmitted(self, fast: bool) -> None:
        """A segment was sent again; ``fast``: in fast recovery."""
        self.retransmitted += 1
        if fast:
            self.fast_retransmitted += 1

    def count_merged(self) -> None:
        """Data filled a gap at an MPTCP connection."""
        self.ofo_merged += 1

    def count_send_shared(self) -> None:
        """The window of the connection allows what that of the subflow does not."""
        self.send_shared += 1

    def count_receive_shared(self) -> None:
        """A subflow announced a window that another one had announced before."""
        self.receive_shared += 1

    def count_out_of_order(self, is_last: bool) -> None:
        """Data came out of order at an MPTCP connection; ``is_last``: with the highest DSN so far."""
        self.ofo_queue += 1
        if is_last:
            self.ofo_queue_tail += 1

    def add(self, name: str, n: int = 1) -> None:
        """Add ``n`` to the counter ``name``."""
        self._named[name] = self._named.get(name, 0) + n

    def __getitem__(self, name: str) -> int:
        """Return a counter; 0 if nothing was counted under that name."""
        return self.as_dict().get(name, 0)

    def as_dict(self) -> dict[str, int]:
        """Return all counters, sorted by name."""
        everything = dict(self._named)
        everything["TcpInSegs"] = self.in_segs
        everything["TcpOutSegs"] = self.out_segs
        everything["TcpRetransSegs"] += self.retransmitted
        everything["TcpExtTCPFastRetrans"] += self.fast_retransmitted
        for name, count in (
            ("TcpExtTCPOFOQueue", self.queued),
            ("MPTcpExtOFOMerge", self.ofo_merged),
            ("MPTcpExtSndWndShared", self.send_shared),
            ("MPTcpExtRcvWndShared", self.receive_shared),
        ):
            if count:
                everything[name] = count
        if self.ofo_queue:
            everything["MPTcpExtOFOQueue"] = self.ofo_queue
            everything["MPTcpExtOFOQueueTail"] = self.ofo_queue_tail
        return dict(sorted(everything.items()))
