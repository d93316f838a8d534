"""WF2Q+, worst-case fair weighted fair queueing, as dummynet's default scheduler has it.

J. Bennett, H. Zhang: Hierarchical Packet Fair Queueing Algorithms, IEEE/ACM Transactions on Networking
5(5), 1997. A queue has a virtual start and a virtual finish of the packet at its head; among those whose
start is not in the future (eligible) the one with the earliest finish goes next.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import FlowQueue, Parameter, QueueScheduler, register

#: Virtual time per byte and unit of weight. Integers keep the arithmetic exact in every order.
_SCALE: Final = 1 << 20


@mypyc_attr(allow_interpreted_subclasses=True)
class Wf2qPlus(QueueScheduler):
    """Weighted fair queueing: queues with packets share the link by their weights, packet by packet.

    No queue is served ahead of its share by more than a packet, and none waits longer than its
    share would have it by more than a packet (worst-case fairness).

    A queue is in one of three heaps, of tuples (time, number, queue): eligible ones by ``finish``, others
    with packets by ``begin``, and idle ones, which still count as long as their ``finish`` is in the
    future. ``listed`` is the number of the valid tuple, negative for an idle queue; one that gets a packet
    leaves a void tuple behind. ``credit`` is the weight with which a queue is counted in the sum.
    """

    NAME: ClassVar[str] = "wf2q+"
    SUMMARY: ClassVar[str] = "worst-case fair queueing over flows; the link's queue does not count"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("flows", 1024, "queues, to which flows are hashed", 1, 65536),
        Parameter("limit", 10240, "packets in all queues together", 1, 1_000_000),
    )

    def __init__(self) -> None:
        self._virtual: int = 0
        #: Sum of the weights of all queues in the heaps.
        self._weights: int = 0
        self._number: int = 0
        self._eligible: list[tuple[int, int, FlowQueue]] = []
        self._future: list[tuple[int, int, FlowQueue]] = []
        self._idle: list[tuple[int, int, FlowQueue]] = []

    def arrived(self, queue: FlowQueue, size: int, now: int) -> None:
        """A queue that was idle begins at its last finish, or now if that is past."""
        if queue.packets > 1:
            return
        if queue.listed > 0:
            # It lost its packets otherwise than by being served, and is still in its place.
            return
        if queue.listed == 0:
            queue.begin = self._virtual
            queue.credit = queue.weight
            self._weights += queue.credit
        else:
            queue.begin = max(queue.finish, self._virtual)
        queue.finish = queue.begin + size * _SCALE // queue.weight
        if not self._eligible and not self._future:
            self._virtual = max(queue.begin, self._virtual)
        self._push(queue)

    def select(self, now: int) -> FlowQueue | None:
        """Return the eligible queue that finishes first; if none is eligible, the clock moves on."""
        while True:
            if not self._eligible:
                if not self._future:
                    # No queue has packets: forget the past.
                    self._forget(-1)
                    self._virtual = 0
                    return None
                self._virtual = max(self._virtual, self._future[0][0])
            while self._future and self._future[0][0] <= self._virtual:
                queue = heappop(self._future)[2]
                heappush(self._eligible, (queue.finish, queue.listed, queue))
            queue = self._eligible[0][2]
            if queue.packets:
                return queue
            heappop(self._eligible)
            self._rest(queue)

    def served(self, queue: FlowQueue, size: int, now: int) -> None:
        """Move the virtual time on by the service that each unit of weight has got."""
        heappop(self._eligible)
        self._forget(self._virtual)
        self._virtual += size * _SCALE // self._weights
        if queue.packets == 0:
            self._rest(queue)
            return
        queue.begin = queue.finish
        queue.finish += queue.head * _SCALE // queue.weight
        self._push(queue)

    def _push(self, queue: FlowQueue) -> None:
        """Put a queue with packets into the heap that it belongs to."""
        self._number += 1
        queue.listed = self._number
        if queue.begin <= self._virtual:
            heappush(self._eligible, (queue.finish, queue.listed, queue))
        else:
            heappush(self._future, (queue.begin, queue.listed, queue))

    def _rest(self, queue: FlowQueue) -> None:
        """Put a queue without packets among the idle ones."""
        self._number += 1
        queue.listed = -self._number
        heappush(self._idle, (queue.finish, queue.listed, queue))

    def _forget(self, until: int) -> None:
        """Forget idle queues whose finish is not after ``until``, or all of them if that is negative."""
        idle = self._idle
        while idle and (until < 0 or idle[0][0] <= until):
            _, listed, queue = heappop(idle)
            if queue.listed == listed:
                queue.listed = 0
                self._weights -= queue.credit


register(Wf2qPlus)
