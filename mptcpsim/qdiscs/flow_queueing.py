"""Flow queueing with active queue management: FQ-CoDel (RFC 8290), and FQ-PIE in the same manner."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import FlowQueue, Parameter, QueueDiscipline, QueueScheduler, Value, register
from mptcpsim.qdiscs.codel import CoDel
from mptcpsim.qdiscs.pie import PIE_PARAMETERS, Pie
from mptcpsim.units import MILLISECOND

_PARAMETERS: Final = (
    Parameter("quantum", 1514, "bytes that a flow may send before the next one's turn", 1, 1_000_000),
    Parameter("limit", 10240, "packets in all queues together", 1, 1_000_000),
    Parameter("flows", 1024, "queues, to which flows are hashed", 1, 65536),
)

# What ``listed`` of a queue says.
_NOWHERE: Final = 0
_LISTED: Final = 1


@mypyc_attr(allow_interpreted_subclasses=True)
class FlowQueueing(QueueScheduler):
    """Deficit round robin that serves new queues before old ones (RFC 8290 section 4).

    A queue is new from its first packet until it has used up a quantum or is found empty; a flow that
    sends less than a quantum in a round therefore waits for nobody but others like it.
    """

    def __init__(self) -> None:
        self.quantum: int = 1514
        self._new: deque[FlowQueue] = deque()
        self._old: deque[FlowQueue] = deque()

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        super().configure(values)
        self.quantum = int(values["quantum"])

    def arrived(self, queue: FlowQueue, size: int, now: int) -> None:
        """A queue that is in no list is new (section 4.1.3)."""
        if queue.listed == _NOWHERE:
            queue.listed = _LISTED
            queue.credit = self.quantum
            self._new.append(queue)

    def select(self, now: int) -> FlowQueue | None:
        """Return the first queue with credit, new ones first (section 4.2)."""
        new, old = self._new, self._old
        while True:
            is_new = len(new) > 0
            if not is_new and not old:
                return None
            turn = new if is_new else old
            queue = turn[0]
            if queue.credit <= 0:
                queue.credit += self.quantum
                turn.popleft()
                old.append(queue)
            elif queue.packets == 0:
                turn.popleft()
                if is_new:
                    # It passes through the old ones first, or new packets would let it starve them.
                    old.append(queue)
                else:
                    queue.listed = _NOWHERE
            else:
                return queue

    def served(self, queue: FlowQueue, size: int, now: int) -> None:
        """Charge the queue."""
        queue.credit -= size


@mypyc_attr(allow_interpreted_subclasses=True)
class FqCoDel(FlowQueueing):
    """FQ-CoDel: CoDel on each flow's queue; too many packets cost the longest queue half of its own."""

    NAME: ClassVar[str] = "fq_codel"
    SUMMARY: ClassVar[str] = (
        "flow queueing with CoDel on each queue (RFC 8290); the link's queue does not count"
    )
    DROPS_FROM_LONGEST: ClassVar[bool] = True
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        *_PARAMETERS,
        Parameter("target", 5 * MILLISECOND, "acceptable standing delay of a queue, ns", 1),
        Parameter("interval", 100 * MILLISECOND, "time over which the delay must stay above target, ns", 1),
        Parameter("ecn", True, "mark ECN-capable packets instead of dropping them"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._codel: dict[str, Value] = {}

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        super().configure(values)
        self._codel = {parameter.name: values[parameter.name] for parameter in CoDel.PARAMETERS}

    def discipline(self) -> QueueDiscipline | None:
        """Return a CoDel for a new queue."""
        codel = CoDel()
        codel.configure(self._codel)
        return codel


@mypyc_attr(allow_interpreted_subclasses=True)
class FqPie(FlowQueueing):
    """FQ-PIE: PIE on each flow's queue; when there are too many packets, what arrives is refused."""

    NAME: ClassVar[str] = "fq_pie"
    SUMMARY: ClassVar[str] = "flow queueing with PIE on each queue; the link's queue does not count"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (*_PARAMETERS, *PIE_PARAMETERS)

    def __init__(self) -> None:
        super().__init__()
        self._pie: dict[str, Value] = {}

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        super().configure(values)
        self._pie = {parameter.name: values[parameter.name] for parameter in PIE_PARAMETERS}

    def discipline(self) -> QueueDiscipline | None:
        """Return a PIE for a new queue."""
        pie = Pie()
        pie.configure(self._pie)
        return pie


register(FqCoDel)
register(FqPie)
