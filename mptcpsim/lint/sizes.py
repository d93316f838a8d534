"""Rules about sizes: queues against packets and disciplines, MTUs against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mptcpsim.lint.finding import Family, Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.plugins import QueueScheduler, find
from mptcpsim.scenario.errors import Path
from mptcpsim.scenario.links import DEFAULT_QUEUE_SLOTS

FAMILY: Final = Family()


@FAMILY.rule("W603", "queue-below-a-packet")
def queue_below_a_packet(subject: Subject) -> Iterator[Remark]:
    """A queue in bytes is smaller than one packet.

    It takes a packet only while nothing waits, and drops the second one of every burst. Most often the unit
    is wrong: 50 is fifty packets, "50B" is fifty bytes.
    """
    for index, link in enumerate(subject.scenario.links):
        place: Path = ("links", index)
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
            direction = link.direction(side == "forward")
            assert direction.queue is not None
            assert direction.qdisc is not None
            name = direction.qdisc.name
            if direction.queue.slots == DEFAULT_QUEUE_SLOTS or not issubclass(
                find("qdisc", name), QueueScheduler
            ):
                continue
            place: Path = ("links", index)
            own = getattr(link, side).queue is not None
            yield Remark(
                (*place, side, "queue") if own else (*place, "queue"),
                f"the queue of link {link.name!r} has no effect: its discipline {name} has queues of its own",
                f'write qdisc = {{ name = "{name}", limit = {direction.queue.slots or 1000} }}, '
                "and leave queue out",
            )
            if not own:
                break
