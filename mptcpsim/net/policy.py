"""What a node asks about packets besides its routing table: one mechanism for ip rule, pf and ipfw.

A packet of a node's own, or one that it forwards, takes these steps; the explanation of each is a line
that ``mptcpsim route`` prints:

1. inbound (arriving packets only): every filter of the node, in order, is asked ``inbound``;
2. routing: the tables, by the rules of ``net.rules`` if the node has some, else its one table. What is
   for the node itself is taken here;
3. outbound: every filter is asked ``outbound`` about the interface and gateway that routing chose.

A verdict with an interface of its own sends the packet there, and nothing further is asked, neither
filters nor routing. A node keeps the outcome for a flow as long as all verdicts were ``lasting`` and
nothing was changed, so a filter costs the packets that follow little. Filters are asked anew about
every packet with SYN and about every ICMP error. ``net.forwarding`` has all this as code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.segment import Packet

if TYPE_CHECKING:
    from mptcpsim.net.node import Interface


@mypyc_attr(allow_interpreted_subclasses=True)
class Queue:
    """What a verdict can send a packet through: a pipe or queue that many flows share."""

    def enter(self, packet: Packet, onward: Callable[[Packet], None]) -> None:
        """Take a packet; ``onward`` is called with it when it comes out, unless it is dropped inside."""
        raise NotImplementedError


class Verdict:
    """What a filter says of a packet; never changed once it is made.

    Attributes:
        reason: empty when the packet passes; else what its drop is counted as.
        interface: where it goes instead of where routing sends it, or None.
        gateway: the next hop there; empty is the packet's own destination.
        queue: what it goes through first, or None.
        resume: behind the queue the packet is shown to ``resume`` instead of going on.
        answer: of a dropped segment: its sender gets a RST.
        unreachable: of a dropped segment: the ICMP error that its sender gets; empty: none.
        lasting: the next packets of the flow without SYN get the same verdict.
        steps: why, a sentence each.
    """

    __slots__ = (
        "answer",
        "gateway",
        "interface",
        "lasting",
        "queue",
        "reason",
        "resume",
        "steps",
        "unreachable",
    )

    def __init__(
        self,
        steps: tuple[str, ...],
        reason: str = "",
        interface: Interface | None = None,
        gateway: str = "",
        queue: Queue | None = None,
        resume: Callable[[Packet], Verdict] | None = None,
        answer: bool = False,
        lasting: bool = True,
        unreachable: str = "",
    ) -> None:
        self.steps = steps
        self.reason = reason
        self.interface = interface
        self.gateway = gateway
        self.queue = queue
        self.resume = resume
        self.answer = answer
        self.lasting = lasting
        self.unreachable = unreachable


#: Passes without a word.
PASSES: Final = Verdict(())


@mypyc_attr(allow_interpreted_subclasses=True)
class PacketFilter:
    """A firewall of a node: pf, ipfw, or one of a user's.

    Attributes:
        on_change: to be called whenever verdicts given earlier may no longer hold (a rule or a state
            has come or gone); the node sets it and forgets what it has kept.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        """Return what becomes of a packet that has arrived by ``interface``."""
        return PASSES

    def outbound(
        self, packet: Packet, interface: Interface, gateway: str, received: Interface | None
    ) -> Verdict:
        """Return what becomes of a packet that is about to leave.

        Args:
            packet: the packet.
            interface: by which routing sends it.
            gateway: its next hop there; empty is the destination itself.
            received: by which it arrived; None for a packet of the node's own.
        """
        return PASSES

    def changed(self) -> None:
        """Tell the node that verdicts may be others now."""
        if self.on_change is not None:
            self.on_change()
