"""A scheduler of one's own: the fast path, and a fixed share of all segments on the others."""

from mptcpsim import Parameter, Scheduler, register


@register
class Weighted(Scheduler):
    NAME = "weighted"
    SUMMARY = "the lowest RTT, but every n-th segment elsewhere"
    PARAMETERS = (Parameter("every", 5, "of so many segments one avoids the fastest path", 2, 1000),)

    def configure(self, values):
        self.every = values["every"]
        self.sent = 0

    def choose(self, available, now):
        self.sent += 1
        fastest = min(self.view.paths, key=lambda path: path.srtt)
        others = [path for path in available if path is not fastest]
        if self.sent % self.every == 0 or fastest not in available:
            return others[0] if others else fastest
        return fastest
