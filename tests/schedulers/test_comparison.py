"""Schedulers that compare two paths at a time do just what their ``choose`` does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.mptcp.data_send_state import compares
from mptcpsim.plugins import Path, Scheduler
from mptcpsim.schedulers.minrtt import MinRtt
from mptcpsim.schedulers.redundant import Redundant
from mptcpsim.schedulers.roundrobin import RoundRobin
from tests.profiles import examples


class Plain(Path):
    """A path of which only number and round-trip time are known."""

    def __init__(self, number: int, rtt: int) -> None:
        self._number = number
        self._rtt = rtt

    @property
    def identifier(self) -> int:
        return self._number

    @property
    def srtt(self) -> int:
        return self._rtt


class Last(MinRtt):
    """A user's plug-in: its ``choose`` counts, not what it inherits."""

    def choose(self, available: list[Path], now: int) -> Path | None:
        return available[-1]


class Slowest(MinRtt):
    """A user's plug-in that defines both."""

    def choose(self, available: list[Path], now: int) -> Path | None:
        return max(available, key=lambda path: path.srtt)

    def better(self, best: Path | None, path: Path) -> Path:
        return path if best is None or path.srtt > best.srtt else best


def test_who_compares() -> None:
    assert all(compares(scheduler()) for scheduler in (MinRtt, RoundRobin, Redundant, Slowest))
    assert not compares(Last())


SCHEDULERS = st.one_of(
    st.builds(lambda: (MinRtt(), MinRtt())),
    st.builds(lambda: (Redundant(), Redundant())),
    st.builds(lambda: (Slowest(), Slowest())),
    st.integers(1, 4).map(lambda segments: (_turns(segments), _turns(segments))),
)


def _turns(segments: int) -> RoundRobin:
    scheduler = RoundRobin()
    scheduler.configure({"segments": segments})
    return scheduler


@examples(300)
@given(
    SCHEDULERS,
    st.lists(st.dictionaries(st.integers(0, 5), st.integers(0, 4), min_size=1), min_size=1, max_size=20),
)
def test_comparing_is_choosing(twins: tuple[Scheduler, Scheduler], rounds: list[dict[int, int]]) -> None:
    one, other = twins
    for available in rounds:
        paths: list[Path] = [Plain(number, available[number]) for number in sorted(available)]
        best: Path | None = None
        for path in paths:
            best = other.better(best, path)
        assert best is not None
        other.on_chosen(best)
        assert best is one.choose(paths, 0)
