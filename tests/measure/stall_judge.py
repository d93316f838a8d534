"""An independent judge of stalls: it finds them by their definition.

The definition is that of docs/design.md, section "Stalls". Nothing of ``mptcpsim`` is imported here, and no
result of a run is believed: deliveries, round trips and windows are those of the captures (``stall_traces``),
room is what the application of the receiver has read, data what that of the sender has written.
``contradiction`` asks whether the packets can be reconciled with a cause that somebody names.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby
from typing import NamedTuple

from tests.measure.stall_checks import CHECKS
from tests.measure.stall_traces import DURATION, FAR, SHORTEST, Receiver, Run, Sender, Sent, Told


class Gap(NamedTuple):
    """A gap, and how long one must last to be a stall: surely from ``most`` on, not below ``least``."""

    start: int
    end: int
    least: int
    most: int

    @property
    def lasted(self) -> int:
        return self.end - self.start


class Judge:
    """What happened in a run, found without a look at its results."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.receiver = Receiver(run)
        self.sender = Sender(run)
        self.least_free = min(self.receiver.trace.mss, run.buffer // 2)

    def gaps(self) -> list[Gap]:
        """Return the gaps that may be stalls, by the definition."""
        run = self.run
        begin = max(self.receiver.established, self.sender.established)
        if min(self.receiver.established, self.sender.established) < 0:
            return []
        over = DURATION if run.failed_at < 0 else min(DURATION, run.failed_at)
        events = [(time, "deliver", total) for time, total in self.receiver.deliveries]
        events += [act for act in run.wrote if act.what != "read"]
        events += [act for act in run.read if act.what == "read"]
        events.append((begin, "begin", 0))
        delivered = written = consumed = 0
        waits = begun = False
        since = -1
        found: list[tuple[int, int]] = []
        # What is so at an instant is what all that happens at this instant leads to.
        for time, acts in groupby(sorted(events, key=lambda e: e[0]), key=lambda e: e[0]):
            if time > over:
                break
            arrived = False
            for _, what, size in acts:
                if what == "deliver":
                    arrived = True
                    delivered = size
                elif what == "begin":
                    begun = True
                elif what == "read":
                    consumed += size
                elif what == "write":
                    written += size
                else:
                    waits = what == "wait"
            if run.eager:
                consumed = delivered
            room = run.buffer - (delivered - consumed) >= self.least_free
            goes_on = begun and room and (written > delivered or waits)
            if since >= 0 and (arrived or not goes_on):
                found.append((since, time))
                since = -1
            if goes_on and since < 0:
                since = time
        if since >= 0:
            found.append((since, over))
        assert delivered <= written, f"{delivered} bytes delivered, {written} written"
        assert consumed <= delivered, f"{consumed} bytes read, {delivered} delivered"
        gaps = [Gap(a, b, *self.sender.limits_at(b)) for a, b in found]
        return [gap for gap in gaps if gap.lasted >= gap.least]

    # --- What others say --------------------------------------------------------------------------

    def verdict(self) -> list[str]:
        """Return what is wrong with the stalls of the run; nothing if all is right."""
        wrong = []
        gaps = self.gaps()
        told = [(round(s["start_s"] * 1e9), round(s["end_s"] * 1e9)) for s in self.run.stalls]
        for gap in gaps:
            if gap.lasted >= gap.most and not any(near((gap.start, gap.end), other) for other in told):
                wrong.append(f"missed: a stall from {gap.start} to {gap.end} ns")
        for span, stall in zip(told, self.run.stalls, strict=True):
            if not any(near((gap.start, gap.end), span) for gap in gaps):
                wrong.append(f"invented: {stall['cause']} from {span[0]} to {span[1]} ns")
                continue
            for part in stall.get("parts") or [stall]:
                start, end = round(part["start_s"] * 1e9), round(part["end_s"] * 1e9)
                why = self.contradiction(part["cause"], start, end)
                if why:
                    wrong.append(f"contradicted: {part['cause']} from {start} to {end} ns: {why}")
            why = self.ending(stall["ended"]["by"], *span)
            if why:
                wrong.append(f"contradicted: ended by {stall['ended']['by']} at {span[1]} ns: {why}")
        return wrong

    def ending(self, by: str, start: int, end: int) -> str:
        """Return why the packets cannot be reconciled with what is said to have ended a stall."""
        if by in ("end of the run", "connection failed"):
            over = DURATION if by == "end of the run" else self.run.failed_at
            return "" if abs(end - over) <= 1 else f"that was at {over}"
        byte = self.delivered_at(start) + 1
        if by == "nothing left to send":
            return f"byte {byte} arrived" if self.delivered_at(end) >= byte else ""
        if self.delivered_at(end) < byte:
            return "nothing arrived"
        # The segment that brought it, or filled the hole in front of it on its subflow.
        arrived = {raw for raw, times in self.receiver.heard.items() if end in times}
        brought = [s for s in self.sender.sent if s.raw in arrived and s.time < end]
        assert brought, f"nobody has sent what arrived at {end}"
        last = brought[-1]
        before = self.sent(last.left, end)
        # It was under way before the stall, or is the earlier copy of what was sent again meanwhile.
        late = last.time <= start
        may_be = late or any(s.time > last.time for s in before)
        if may_be < (by == "late arrival") or late > (by == "late arrival"):
            return f"what arrived was sent at {last.time}"
        if by == "window probe" and not any(start - SHORTEST < time < end for time in self.sender.probes):
            return "no probe was sent"
        if by == "window update" and not any(
            self.arrived(told, end) for told in self.updates(start - SHORTEST, end)
        ):
            return "no update has arrived"
        if by == "new subflow":
            way = self.sender.trace.order[last.subflow]
            added = [time for time in (way.established, way.usable) if start <= time < end]
            if not added:
                return f"subflow {last.subflow} was not added then"
            # What is new goes at once; else something other than the lack of a subflow has held it.
            if last.time > max(added) and len({s.subflow for s in before}) < 2:
                return f"it was sent for the first time at {last.time}, later than that"
        # Where data is mapped ahead, the other subflow may have had it without sending it.
        if by == "reinjection" and len({s.subflow for s in before}) < 2 and self.run.profile != "caia-v0.4":
            return "it was sent on one subflow only"
        if by == "retransmission" and len(before) < 2:
            return "it was sent once"
        return ""

    def contradiction(self, cause: str, start: int, end: int) -> str:
        """Return why the packets cannot be reconciled with a cause; nothing if they can.

        What holds for less than half of the time is no reason to call a cause wrong.
        """
        assert cause in CHECKS, f"no packets are known that would contradict the cause {cause!r}"
        check = CHECKS[cause]
        return check(self, start, end) if check else ""

    def delivered_at(self, time: int) -> int:
        """Return how many bytes had been delivered up to an instant."""
        found = bisect_right(self.receiver.deliveries, (time, FAR))
        return self.receiver.deliveries[found - 1][1] if found else 0

    def arrived(self, told: Told, until: int) -> bool:
        """Return whether a segment of the receiver has come to the sender up to an instant.

        Of segments that are the same to the last byte as many have to come as were sent.
        """
        came = sum(told.time <= time <= until for time in self.sender.heard.get(told.raw, ()))
        sent = sum(told.time <= other.time <= until for other in self.receiver.told if other.raw == told.raw)
        return came >= sent

    def sent(self, byte: int, until: int) -> list[Sent]:
        """Return the segments with a byte of the stream (1: the first) that were sent before an instant."""
        return [s for s in self.sender.sent if s.left <= byte < s.right and s.time < until]

    def came(self, sent: Sent, until: int) -> bool:
        """Return whether a segment of the sender has come to the receiver up to an instant."""
        same = sum(s.raw == sent.raw and sent.time <= s.time <= until for s in self.sender.sent)
        return sum(sent.time <= t <= until for t in self.receiver.heard.get(sent.raw, ())) >= same

    def updates(self, start: int, end: int) -> list[Told]:
        """Return the segments of the receiver that, after a read, told of more room than any one before."""
        reads = {act.time for act in self.run.read if act.what == "read" and act.size}
        edges: dict[int, int] = {}
        grew: dict[int, int] = {}
        found = []
        for told in self.receiver.told:
            if self.receiver.shared and not told.with_ack:
                continue
            # Where the window is not one, each subflow has a right edge of its own.
            number, edge = (0, told.edge) if self.receiver.shared else (told.subflow, told.own_edge)
            if edge > edges.get(number, 0):
                edges[number] = edge
                grew[number] = told.time
            # One update goes out on each subflow: what one loses another may bring.
            grows = edge == edges.get(number, 0) and told.time == grew.get(number)
            if grows and start <= told.time < end and told.time in reads:
                found.append(told)
        return found


def near(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two spans are the same to the last digit that a number of seconds has."""
    return abs(one[0] - other[0]) <= 1 and abs(one[1] - other[1]) <= 1
