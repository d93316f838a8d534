"""A middlebox of one's own: it lowers the MSS that SYNs offer, as routers in front of a tunnel do."""

from mptcpsim import Middlebox, Parameter, Segment, register


@register
class Clamp(Middlebox):
    NAME = "clamp"
    SUMMARY = "lowers the MSS that SYNs offer"
    PARAMETERS = (Parameter("mss", 1300, "the largest MSS that passes, bytes", 64, 65535),)

    def configure(self, values):
        self.mss = values["mss"]

    def on_packet(self, packet, forward, now):
        if not isinstance(packet, Segment) or packet.syn is None or packet.syn.mss <= self.mss:
            return packet
        changed = packet.clone()
        changed.syn = packet.syn._replace(mss=self.mss)
        return changed
