"""Rules about sizes: queues against packets and disciplines, MTUs against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.net.pipe_settings import PipeSettings
from mptcpsim.plugins import QueueScheduler, find
from mptcpsim.qdiscs.red import Red
from mptcpsim.scenario.errors import KeyPath
from mptcpsim.scenario.events import SetEvent
from mptcpsim.scenario.link_values import QueueLimit
from mptcpsim.scenario.pipes import pipe_settings

FAMILY: Final = Family()


@FAMILY.rule("W603", "queue-below-a-packet")
def queue_below_a_packet(subject: Subject) -> Iterator[Remark]:
    """A queue in bytes is smaller than one packet.

    It takes a packet only while nothing waits, and drops the second one of every burst. Most often the unit
    is wrong: 50 is fifty packets, "50B" is fifty bytes.
    """
    for index, link in enumerate(subject.scenario.links):
        place: KeyPath = ("links", index)
        queues = {place: link.queue}
        for name, side in (("forward", link.forward), ("backward", link.backward)):
            if side.queue is not None:
                queues[*place, name] = side.queue
        for path, queue in queues.items():
            if not queue.slots and queue.size < link.mtu:
                yield Remark(
                    (*path, "queue"),
                    f"the queue of link {link.name!r} is {queue.size} bytes, a packet has up to {link.mtu}",
                    f"write a number of packets, such as {queue.size}, or a size above {link.mtu} bytes",
                )
    mtus = {link.name: link.mtu for link in subject.scenario.links}
    for number, event in enumerate(subject.scenario.events):
        if isinstance(event, SetEvent) and event.queue and 0 < event.queue.size < mtus[event.link]:
            yield Remark(
                ("events", number, "queue"),
                f"the queue of link {event.link!r} becomes {event.queue.size} bytes, a packet has up to "
                f"{mtus[event.link]}",
                f"write a size above {mtus[event.link]} bytes",
            )


@FAMILY.rule("W606", "red-thresholds")
def red_thresholds(subject: Subject) -> Iterator[Remark]:
    """The thresholds of RED are in another unit than its queue, or out of its reach.

    They are in bytes where the queue is in bytes, else in packets, as in dummynet. Below one packet RED drops
    whatever comes while anything waits; thresholds that the queue never reaches are none.
    """
    for index, link in enumerate(subject.scenario.links):
        told: set[str] = set()
        for side in ("forward", "backward"):
            pipe = pipe_settings(link, link.direction(side == "forward"))
            if not issubclass(find("qdisc", pipe.qdisc), Red):
                continue
            values = pipe.qdisc_parameters
            thresholds = float(values["min_th"]), float(values["max_th"])
            limit = QueueLimit(size=pipe.limit) if pipe.limit_in_bytes else QueueLimit(slots=pipe.limit)
            found = _beside(f"link {link.name!r}", limit, thresholds, link.mtu)
            if found is not None and found[0] not in told:
                told.add(found[0])
                own = getattr(link, side).qdisc is not None
                place: KeyPath = ("links", index, side, "qdisc") if own else ("links", index, "qdisc")
                yield Remark(place, *found)
    for host in subject.systems:
        for config in host.configs:
            if config.red is None:
                continue
            limit = QueueLimit(size=config.octets) if config.octets else QueueLimit(slots=config.slots or 50)
            thresholds = float(config.red.lowest), float(config.red.highest)
            found = _beside(f"{config.kind} {config.number} of {host.name}", limit, thresholds, _USUAL_MTU)
            if found is not None:
                yield host.remark(config.at, *found, cause=False)


#: The length of a queue of which the scenario says nothing.
_USUAL_SLOTS: Final = PipeSettings().limit

#: Bytes of a packet, where it is not known which links a pipe's packets come from.
_USUAL_MTU: Final = 1500


def _beside(
    whose: str, queue: QueueLimit, thresholds: tuple[float, float], mtu: int
) -> tuple[str, str] | None:
    """Return what is wrong with the thresholds of RED beside a queue, and a remedy; None if nothing is."""
    lowest, highest = thresholds
    least, most = f"{lowest:g}", f"{highest:g}"
    if queue.size and highest < mtu:
        return (
            f"the queue of {whose} is in bytes ({queue.size}), and so are the thresholds of RED, {least} "
            f"and {most}: less than a packet, of which all are dropped while anything waits",
            f"write them in bytes, such as {lowest * mtu:g} and {highest * mtu:g}, or the queue in packets",
        )
    if queue.slots and lowest >= queue.slots:
        return (
            f"the queue of {whose} is in packets ({queue.slots}), and so are the thresholds of RED, {least} "
            f"and {most}: it never comes to them",
            "write them in packets, or the queue in bytes, such as "
            f'"{max(1, round(queue.slots * mtu / 1000))}kB"',
        )
    if queue.size and lowest >= queue.size:
        return (
            f"the queue of {whose} holds {queue.size} bytes, and never comes to the thresholds of RED, "
            f"{least} and {most}",
            "lower them, or make the queue longer",
        )
    return None


@FAMILY.rule("W604", "mtu-differs")
def mtu_differs(subject: Subject) -> Iterator[Remark]:
    """Neighbours in one network have different MTUs.

    All in one network have to agree on the size of packets (RFC 894, RFC 1122 section 3.3.3). A switch drops
    what is too large for the next port without a word, for it sends no ICMP: path MTU discovery is blind.
    """
    for ports in subject.networks_of_links:
        sizes = {subject.interface(port).mtu for port in ports}
        if len(sizes) < 2:
            continue
        small, large = min(sizes), max(sizes)
        odd = next(port for port in ports if subject.interface(port).mtu == large)
        told = ", ".join(f"{subject.called(port)}: {subject.interface(port).mtu}" for port in ports)
        yield Remark(
            subject.link_path(odd, "mtu"),
            f"interfaces in one network have different MTUs ({told}): packets above {small} bytes vanish",
            f"write the same mtu at every link of this network, such as {small}",
        )


@FAMILY.rule("W605", "queue-without-effect")
def queue_without_effect(subject: Subject) -> Iterator[Remark]:
    """A link has a queue length that its discipline does not look at.

    Disciplines with several queues (fq_codel, fq_pie, drr, wf2q+) have a limit of their own, in packets over
    all queues: 10,240 unless it is given.
    """
    for index, link in enumerate(subject.scenario.links):
        for side in ("forward", "backward"):
            pipe = pipe_settings(link, link.direction(side == "forward"))
            name = pipe.qdisc
            slots = 0 if pipe.limit_in_bytes else pipe.limit
            if slots == _USUAL_SLOTS or not issubclass(find("qdisc", name), QueueScheduler):
                continue
            place: KeyPath = ("links", index)
            own = getattr(link, side).queue is not None
            yield Remark(
                (*place, side, "queue") if own else (*place, "queue"),
                f"the queue of link {link.name!r} has no effect: its discipline {name} has queues of its own",
                f'write qdisc = {{ name = "{name}", limit = {slots or 1000} }}, and leave queue out',
            )
            if not own:
                break
    links = {link.name: link for link in subject.scenario.links}
    for number, event in enumerate(subject.scenario.events):
        if not isinstance(event, SetEvent) or event.queue is None:
            continue
        sides = ("forward", "backward") if event.direction == "both" else (event.direction,)
        names = [
            qdisc.name for side in sides if (qdisc := links[event.link].direction(side == "forward").qdisc)
        ]
        if all(issubclass(find("qdisc", name), QueueScheduler) for name in names):
            yield Remark(
                ("events", number, "queue"),
                f"the queue has no effect: the discipline of link {event.link!r}, {names[0]}, has queues of "
                "its own, whose limit no event changes",
                "leave it out",
            )
