"""Rules about instants: what comes too late, or twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mptcpsim.lint.changes import courses, idle_sets
from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.scenario.events import ApplicationEvent, InterfaceEvent, LinkEvent, RouteEvent, SetEvent
from mptcpsim.units import SECOND, format_rate, format_time

FAMILY: Final = Family()

#: What the events that may change nothing are about.
_KINDS: Final[dict[type, str]] = {
    LinkEvent: "link",
    InterfaceEvent: "interface",
    RouteEvent: "route",
    ApplicationEvent: "flow and the side",
}


@FAMILY.rule("W701", "after-the-end")
def after_the_end(subject: Subject) -> Iterator[Remark]:
    """An event is due when the run has ended.

    It never takes place.
    """
    duration = subject.scenario.duration
    for index, event in enumerate(subject.scenario.events):
        if event.at >= duration:
            yield Remark(
                ("events", index, "at"),
                f"the event is due at {format_time(event.at)}, and the run ends at {format_time(duration)}",
                "choose an earlier time or raise the duration",
            )


@FAMILY.rule("N702", "cut-by-the-end")
def cut_by_the_end(subject: Subject) -> Iterator[Remark]:
    """The run ends before a flow has sent for as long as it should.

    The mean rates in the summary are those of a flow that was cut off, and so is the end of the capture.
    """
    duration = subject.scenario.duration
    for index, flow in enumerate(subject.scenario.flows):
        lasts = getattr(flow, "duration", None)
        if lasts is not None and flow.start + lasts > duration:
            yield Remark(
                ("flows", index, "duration"),
                f"flow {flow.name!r} sends until {format_time(flow.start + lasts)}, and the run ends at "
                f"{format_time(duration)}",
                "raise the duration of the scenario, or lower that of the flow",
            )


@FAMILY.rule("W703", "changes-nothing")
def changes_nothing(subject: Subject) -> Iterator[Remark]:
    """An event changes nothing: a link is down already, or has that rate, a route is not there.

    Usually another link, interface, route or flow is meant, or the event in between is missing. ``ip route``
    refuses to delete what is not there, and to add a route to a prefix that has one with the same metric.
    """
    for index in idle_sets(subject.scenario):
        link = subject.scenario.events[index]
        assert isinstance(link, SetEvent)
        yield Remark(
            ("events", index),
            f"link {link.link!r} has what is set already at {format_time(link.at)}",
            "name the link and the value that are meant, or leave the event out",
        )
    for index in subject.idle_events:
        event = subject.scenario.events[index]
        when = format_time(event.at)
        if isinstance(event, LinkEvent):
            what, state = f"link {event.link!r}", f"is {event.action} already"
        elif isinstance(event, InterfaceEvent):
            what, state = f"interface {event.interface}", f"is {event.action.partition('-')[2]} already"
        elif isinstance(event, RouteEvent):
            what = f"table {event.table} of {event.node!r}"
            has = "has a route to this prefix with this metric already, which stays"
            state = has if event.action == "add-route" else f"has no route {event.route!r}"
        else:
            assert isinstance(event, ApplicationEvent)
            what = f"the {event.side} of flow {event.flow!r}"
            state = "is paused already" if event.action == "pause" else "is not paused"
        remedy = f"name the {_KINDS[type(event)]} that is meant, or leave the event out"
        yield Remark(("events", index), f"{what} {state} at {when}", remedy)


#: For so long the link may be held up without a word: by a packet that takes longer than the low rate
#: lasts, and in any case, ns.
_HELD_BY_A_DIP: Final = SECOND // 5
_HELD: Final = SECOND


@FAMILY.rule("W705", "rate-holds-a-packet")
def rate_holds_a_packet(subject: Subject) -> Iterator[Remark]:
    """A rate is low for a while, and the packet in service holds up the link when it rises again.

    A packet is transmitted to its end at the rate with which it has begun: at 1 kbit/s one of 1,500 bytes
    takes 12 s, be the rate low for 10 ms only.
    """
    scenario = subject.scenario
    told: set[int] = set()
    for course in courses(scenario):
        link = scenario.links[course.link]
        for low, high in pairwise(course.states):
            event = scenario.events[high.event]
            assert isinstance(event, SetEvent)
            if high.event in told or event.in_service == "new-rate" or not low.rate:
                continue
            if high.rate and high.rate <= low.rate:
                continue
            held = (link.mtu + link.overhead_bytes) * 8 * SECOND // low.rate
            lasts = high.at - low.at
            if held >= _HELD or (held >= _HELD_BY_A_DIP and held > lasts):
                told.add(high.event)
                yield Remark(
                    ("events", high.event, "rate"),
                    f"link {link.name!r} has {format_rate(low.rate)} for {format_time(lasts)}, at which a "
                    f"packet of {link.mtu} bytes takes {format_time(held)}: one that is in service at "
                    f"{format_time(high.at)} goes on at that rate, and holds up the link",
                    'write in_service = "new-rate" in this event, so that what is left of it goes on at the '
                    "new rate; for a link that is dead for a while write down and up",
                )


@FAMILY.rule("E704", "nobody-listens")
def nobody_listens(subject: Subject) -> Iterator[Remark]:
    """A flow connects to a port where nobody listens at that time.

    The connection is refused with a RST. A server has to be started before its client, and if it is bound
    to an address the client has to connect to that one.
    """
    for talk in subject.talks:
        spec, address = talk.spec, talk.ends[1].address
        where = f"port {spec.port} of {spec.server}"
        if spec.listen < 0:
            problem, remedy = (
                f"nobody listens at {where}",
                f"start a server there, such as iperf -s at {spec.server}",
            )
        elif spec.listen > spec.start:
            problem = f"the server at {where} is started at {format_time(spec.listen)}, the client at "
            problem += f"{format_time(spec.start)}"
            remedy = "start the server first"
        elif spec.bind is not None and spec.bind != address:
            problem = f"the server at {where} is bound to {spec.bind}, and the client connects to {address}"
            remedy = f"connect to {spec.bind}, or leave the address of the server out"
        else:
            continue
        yield Remark(("flows", talk.number), f"flow {spec.name!r} is refused: {problem}", remedy)
