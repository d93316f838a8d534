"""Lowest round-trip time first, the default of Linux' out-of-tree MPTCP (0.9x)."""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import PENALISE, RESEND, WAIT, Parameter, Path, Scheduler, Value, register

#: A holder of so few segments gets no further by itself.
_SMALL_WINDOW: Final = 4
#: So many round trips of the one path in one of the other make sending again worth it.
_MUCH_FASTER: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class MinRtt(Scheduler):
    """The path of the lowest smoothed round-trip time, the first one of equals.

    A path without a sample has an srtt of 0, as in 0.9x, and is taken first: that measures it.
    """

    NAME: ClassVar[str] = "minrtt"
    SUMMARY: ClassVar[str] = "the lowest round-trip time first; resends and penalises as Linux 0.9x does"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("opportunistic", True, "resend what holds the connection up on a much faster path"),
        Parameter("penalise", True, "halve the window of the slower path that holds the connection up"),
    )

    def __init__(self) -> None:
        self.opportunistic: bool = True
        self.penalise: bool = True
        #: When each path, by identifier, last had another one penalised, ns.
        self.penalised_at: dict[int, int] = {}

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.opportunistic = bool(values["opportunistic"])
        self.penalise = bool(values["penalise"])

    def choose(self, available: list[Path], now: int) -> Path | None:
        """Return the path of the lowest srtt."""
        best = available[0]
        lowest = best.srtt
        for path in available:
            srtt = path.srtt
            if srtt < lowest:
                best = path
                lowest = srtt
        return best

    def better(self, best: Path | None, path: Path) -> Path:
        """Return the path of the lower srtt, the first one of equals."""
        return path if best is None or path.srtt < best.srtt else best

    def on_blocked(self, path: Path, holder: Path, now: int) -> int:
        """Opportunistic retransmission, and penalisation once a round trip of the faster path."""
        srtt = path.srtt
        decision = WAIT
        if self.opportunistic and (
            holder.cwnd <= _SMALL_WINDOW * holder.mss or _MUCH_FASTER * srtt < holder.srtt
        ):
            decision += RESEND
        # No path counts as slower than one that was never measured.
        if self.penalise and 0 < srtt < holder.srtt:
            last = self.penalised_at.get(path.identifier)
            if last is None or now - last >= srtt:
                self.penalised_at[path.identifier] = now
                decision += PENALISE
        return decision


register(MinRtt)
