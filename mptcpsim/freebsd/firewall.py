"""pf and ipfw of one node, in the order in which FreeBSD asks them.

Packet filters hang on pfil(9), which keeps its list for arriving packets in the reverse order of
that for leaving ones. pf is started at boot, by rc.conf, and ipfw when its first command is typed,
so that ipfw is next to the wire: an arriving packet meets ipfw and then pf, a leaving one pf and then ipfw.

What pf's ``route-to`` or ``reply-to`` has sent away leaves by that interface at once (``pf_route`` hands
it to the driver), and what ipfw's ``fwd`` has sent away is marked as seen: neither meets the other filter.
Simplified: in FreeBSD a leaving packet that comes out of a pipe is shown to pf once more.
"""

from __future__ import annotations

from collections.abc import Callable

from mptcpsim.core.segment import Packet
from mptcpsim.freebsd.ipfw_filter import IpfwFilter
from mptcpsim.freebsd.pf_filter import PfFilter
from mptcpsim.net.node import Interface
from mptcpsim.net.policy import PASSES, PacketFilter, Verdict


class Firewall(PacketFilter):
    """Both filters of a node as one.

    Attributes:
        pf: disabled until ``pfctl -e``.
        ipfw: None until the first command of ipfw is typed (``attach``).
    """

    def __init__(self, pf: PfFilter) -> None:
        super().__init__()
        self.pf = pf
        self.ipfw: IpfwFilter | None = None
        pf.on_change = self.changed

    @property
    def asks(self) -> bool:
        """One of the two looks at packets."""
        return self.pf.enabled or self.ipfw is not None

    def attach(self, ipfw: IpfwFilter) -> None:
        """Let ipfw look at packets, too."""
        self.ipfw = ipfw
        ipfw.on_change = self.changed
        self.changed()

    def inbound(self, packet: Packet, interface: Interface) -> Verdict:
        """Return what becomes of a packet that has arrived: ipfw, then pf."""
        if self.ipfw is None:
            return self.pf.inbound(packet, interface)
        first = self.ipfw.inbound(packet, interface)
        return _then(first, packet, lambda packet: self.pf.inbound(packet, interface))

    def outbound(
        self, packet: Packet, interface: Interface, gateway: str, received: Interface | None
    ) -> Verdict:
        """Return what becomes of a packet that is about to leave: pf, then ipfw."""
        first = self.pf.outbound(packet, interface, gateway, received)
        ipfw = self.ipfw
        if ipfw is None:
            return first
        return _then(first, packet, lambda packet: ipfw.outbound(packet, interface, gateway, received))


def _then(first: Verdict, packet: Packet, ask: Callable[[Packet], Verdict]) -> Verdict:
    """Return what two filters say together, the second one asked where the first lets the packet go on."""
    if first.reason or first.interface is not None:
        return first
    if first.queue is not None:
        before = first.resume

        def resume(packet: Packet) -> Verdict:
            return _then(PASSES if before is None else before(packet), packet, ask)

        return Verdict(first.steps, queue=first.queue, resume=resume, lasting=first.lasting)
    second = ask(packet)
    if first is PASSES:
        return second
    return Verdict(
        (*first.steps, *second.steps),
        second.reason,
        second.interface,
        second.gateway,
        second.queue,
        second.resume,
        second.answer,
        first.lasting and second.lasting,
        second.unreachable,
    )
