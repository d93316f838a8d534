"""Deficit round robin (M. Shreedhar, G. Varghese, SIGCOMM 1995), as dummynet's scheduler ``rr`` has it."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import FlowQueue, Parameter, QueueScheduler, Value, register


@mypyc_attr(allow_interpreted_subclasses=True)
class Drr(QueueScheduler):
    """Deficit round robin: in each round a queue may send ``quantum`` x its weight bytes.

    Over any time in which both have packets, two queues differ in bytes per weight by at most a quantum
    and a largest packet of each.
    """

    NAME: ClassVar[str] = "drr"
    SUMMARY: ClassVar[str] = "deficit round robin over flows; the link's queue does not count"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("quantum", 1500, "bytes that a flow may send before the next one's turn", 1, 1_000_000),
        Parameter("flows", 1024, "queues, to which flows are hashed", 1, 65536),
        Parameter("limit", 10240, "packets in all queues together", 1, 1_000_000),
    )

    def __init__(self) -> None:
        self.quantum: int = 1500
        #: The queues in this round, the one whose turn it is first; ``listed`` is 1 for those in it.
        self._round: deque[FlowQueue] = deque()

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        super().configure(values)
        self.quantum = int(values["quantum"])

    def arrived(self, queue: FlowQueue, size: int, now: int) -> None:
        """A queue that was empty joins the round at its end, with a fresh quantum."""
        if not queue.listed:
            queue.listed = 1
            queue.credit = self.quantum * queue.weight
            self._round.append(queue)

    def select(self, now: int) -> FlowQueue | None:
        """Return the first queue whose credit covers its head; the others wait for the next round."""
        turn = self._round
        while turn:
            queue = turn[0]
            if queue.packets == 0:
                # Whoever has run out of packets loses what is left of its credit.
                queue.listed = 0
                turn.popleft()
            elif queue.head > queue.credit:
                queue.credit += self.quantum * queue.weight
                turn.rotate(-1)
            else:
                return queue
        return None

    def served(self, queue: FlowQueue, size: int, now: int) -> None:
        """Charge the queue."""
        queue.credit -= size


register(Drr)
