"""What packets have to show if a cause of a stall is to be believed.

Each check takes the judge and the begin and end of what is explained, ns, and returns why the packets cannot
be reconciled with the cause; nothing if they can. What holds for less than half of the time is no reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.measure.stall_judge import Judge


def _never_sent(judge: Judge, start: int, end: int) -> str:
    """Head-of-line: the next byte was sent, and has not arrived."""
    missing = judge.delivered_at(start) + 1
    return "" if judge.sent(missing, end) else f"byte {missing}, the next one, was not sent before"


def _not_lost(judge: Judge, start: int, end: int) -> str:
    """Loss of whatever kind: the next byte was sent, and that did not arrive."""
    missing = judge.delivered_at(start) + 1
    before = judge.sent(missing, end)
    if not before:
        return f"byte {missing}, the next one, was not sent before"
    if any(not judge.came(s, end) for s in before):
        return ""
    # It may have arrived and wait behind a hole of its subflow.
    on = {s.subflow for s in before}
    ahead = [s for s in judge.sender.sent if s.subflow in on and s.time <= before[-1].time]
    return "" if any(not judge.came(s, end) for s in ahead) else f"byte {missing} was never lost"


def _no_time_out(judge: Judge, start: int, end: int) -> str:
    """Retransmission time-out: the next byte was lost, or an ACK was, and something was sent again."""
    missing = judge.delivered_at(start) + 1
    if judge.sent(missing, (start + end) // 2):
        return _not_lost(judge, start, end)
    since = max((time for time, _ in judge.receiver.deliveries if time <= start), default=0)
    again = [s for s in judge.sender.sent if since <= s.time < end and len(judge.sent(s.left, end)) > 1]
    return "" if again else "nothing was sent again"


def _not_in_a_box(judge: Judge, start: int, end: int) -> str:
    """Dropped by a middlebox: there is one."""
    return "no box drops anything" if '"drop"' not in judge.run.text else _not_lost(judge, start, end)


def _passes(judge: Judge, start: int, end: int) -> str:
    """Path-MTU black hole, a node that drops: no path has a narrow link, or a node in between."""
    return "the paths take packets of every size that is sent"


def _acks_arrived(judge: Judge, start: int, end: int) -> str:
    """Acknowledgments lost: what was sent has arrived, and ACKs have not."""
    middle = (start + end) // 2
    missing = judge.delivered_at(start) + 1
    if judge.sent(missing, middle):
        return f"byte {missing}, the next one, had been sent"
    if all(judge.arrived(told, end) for told in judge.receiver.told if told.time < end):
        return "all ACKs have arrived"
    return ""


def _no_persist(judge: Judge, start: int, end: int) -> str:
    """Persist back-off: the window is closed, and nobody has told of room."""
    middle = (start + end) // 2
    highest, edge = judge.sender.state_at(middle)
    if judge.receiver.shared and edge >= highest + judge.least_free:
        return f"the window was open at {middle}: {edge - highest} bytes more"
    early = [told for told in judge.updates(start, middle) if judge.arrived(told, middle)]
    lost = [told for told in judge.updates(start, middle) if not judge.arrived(told, end)]
    if early or lost:
        return f"a window update was sent at {(early or lost)[0].time}"
    return ""


def _nothing_lost(judge: Judge, start: int, end: int) -> str:
    """Window update lost: a segment told of more than the sender knows, and did not arrive."""
    _, edge = judge.sender.state_at((start + end) // 2)
    for told in judge.receiver.told:
        newer = told.with_ack and told.edge > edge if judge.receiver.shared else told.window > 0
        if told.time < end and newer and not judge.arrived(told, end):
            return ""
    return f"every segment that told of more than {edge} has arrived"


def _nothing_elsewhere(judge: Judge, start: int, end: int) -> str:
    """Update sent on another subflow: on one or some, and not on all."""
    updated = {told.subflow for told in judge.receiver.told if start <= told.time < end and told.window}
    subflows = {number for number, way in enumerate(judge.sender.trace.order) if way.established >= 0}
    if not updated:
        return "no update was sent"
    return (
        ""
        if subflows - updated or (len(subflows) > 1 and not judge.receiver.shared)
        else "all subflows had one"
    )


def _not_withheld(judge: Judge, start: int, end: int) -> str:
    """Update withheld: the sender has no room for a segment, though the application reads."""
    if not judge.receiver.shared:
        return ""
    middle = (start + end) // 2
    highest, edge = judge.sender.state_at(middle)
    if edge >= highest + judge.least_free:
        return f"the window was open at {middle}: {edge - highest} bytes more"
    return ""


def _may_not_send(judge: Judge, start: int, end: int) -> str:
    """No subflow schedulable: the window is open, what comes next was not sent, or everything has ended."""
    ways = [way for way in judge.sender.trace.order if way.established >= 0]
    if all(way.ended < end for way in ways):
        return ""
    middle = (start + end) // 2
    highest, edge = judge.sender.state_at(middle)
    missing = judge.delivered_at(start) + 1
    if judge.receiver.shared and edge <= highest:
        return f"the window was closed at {middle}"
    return f"byte {missing}, the next one, had been sent" if judge.sent(missing, start) else ""


def _has_data_ack(judge: Judge, start: int, end: int) -> str:
    """Update without DATA_ACK: there is one."""
    return "" if any(time < end for time in judge.sender.without_ack) else "all had a DATA_ACK"


def _has_unsent(judge: Judge, start: int, end: int) -> str:
    """Send buffer starved: everything written is delivered, and the application waits to write."""
    written = sum(
        act.size for act in judge.run.wrote if act.what == "write" and act.time <= (start + end) // 2
    )
    delivered = judge.delivered_at(start)
    return f"{written - delivered} bytes were written that are not delivered" if written > delivered else ""


def _not_short(judge: Judge, start: int, end: int) -> str:
    """Nagle: less than a segment is left, what comes next was not sent, and something before it was."""
    middle = (start + end) // 2
    highest, edge = judge.sender.state_at(middle)
    missing = judge.delivered_at(start) + 1
    if judge.sent(missing, middle):
        return f"byte {missing}, the next one, had been sent"
    written = sum(act.size for act in judge.run.wrote if act.what == "write" and act.time <= middle)
    if written - missing + 1 >= judge.receiver.trace.mss:
        return f"{written - missing + 1} bytes were left"
    if missing == 1:
        return "nothing was sent before it"
    if judge.receiver.shared and edge <= highest:
        return f"the window was closed at {middle}"
    return ""


CHECKS: dict[str, Callable[[Judge, int, int], str] | None] = {
    "head-of-line": _never_sent,
    "loss recovery": _not_lost,
    "retransmission time-out": _no_time_out,
    "acknowledgments lost": _acks_arrived,
    "path-MTU black hole": _passes,
    "dropped by a node": _passes,
    "dropped by a middlebox": _not_in_a_box,
    "scheduler": _may_not_send,
    "persist back-off": _no_persist,
    "window update lost": _nothing_lost,
    "update sent on another subflow": _nothing_elsewhere,
    "update withheld": _not_withheld,
    "no subflow schedulable": _may_not_send,
    "update without DATA_ACK": _has_data_ack,
    "send buffer starved": _has_unsent,
    "Nagle": _not_short,
    "unknown": None,
}
