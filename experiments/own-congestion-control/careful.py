"""A congestion control of one's own: Reno that gives up a third at a loss and grows half as fast."""

from mptcpsim import Parameter, register
from mptcpsim.congestion.reno import Reno


@register
class Careful(Reno):
    NAME = "careful"
    SUMMARY = "Reno with a smaller sawtooth"
    PARAMETERS = (*Reno.PARAMETERS, Parameter("keep", 0.67, "share of the window kept at a loss", 0.1, 0.9))

    def configure(self, values):
        super().configure(values)
        self.keep = values["keep"]

    def on_ack(self, acked, now, srtt, in_flight):
        slow_start = self.cwnd < self.ssthresh
        super().on_ack(acked if slow_start else acked // 2, now, srtt, in_flight)

    def ssthresh_after_loss(self, in_flight, now):
        super().ssthresh_after_loss(in_flight, now)
        return max(int(in_flight * self.keep), 2 * self.mss)
