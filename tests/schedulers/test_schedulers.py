"""Schedulers: lowest RTT, round robin, redundant, and the contract of every plug-in."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mptcpsim.schedulers
from mptcpsim import plugins
from mptcpsim.plugins import PENALISE, RESEND, WAIT, Path, PluginError, Scheduler, SendView
from mptcpsim.units import MILLISECOND
from tests.profiles import examples

assert mptcpsim.schedulers

MS = MILLISECOND
MSS = 1400

FAMILY = plugins.families()["scheduler"]


class FakePath(Path):
    """A path as a test wants it; ``srtt`` in ms, windows in segments."""

    def __init__(self, identifier: int, srtt: int, cwnd: int = 10, in_flight: int = 0) -> None:
        self._identifier = identifier
        self._srtt = srtt * MS
        self._cwnd = cwnd * MSS
        self._in_flight = in_flight * MSS

    @property
    def identifier(self) -> int:
        return self._identifier

    @property
    def backup(self) -> bool:
        return False

    @property
    def srtt(self) -> int:
        return self._srtt

    @property
    def cwnd(self) -> int:
        return self._cwnd

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def mss(self) -> int:
        return MSS


class FakeView(SendView):
    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    @property
    def paths(self) -> list[Path]:
        return self._paths

    @property
    def unsent(self) -> int:
        return 1_000_000

    @property
    def window(self) -> int:
        return 100_000


def make(name: str, paths: list[Path], **parameters: Any) -> Scheduler:
    cls = plugins.find("scheduler", name)
    scheduler = cls()
    assert isinstance(scheduler, Scheduler)
    scheduler.configure(plugins.complete(cls, parameters))
    scheduler.start(FakeView(paths))
    return scheduler


def fakes(*srtts: int) -> list[Path]:
    """Return paths of these round-trip times, ms."""
    return [FakePath(identifier, srtt) for identifier, srtt in enumerate(srtts)]


def choices(scheduler: Scheduler, available: list[Path], count: int) -> list[int]:
    """Return the identifiers of so many choices among the same paths."""
    chosen = [scheduler.choose(available, 0) for _ in range(count)]
    return [-1 if path is None else path.identifier for path in chosen]


# --- minrtt ------------------------------


def test_minrtt_takes_the_lowest() -> None:
    paths = fakes(30, 10, 20)
    scheduler = make("minrtt", paths)
    assert choices(scheduler, paths, 3) == [1, 1, 1]
    assert choices(scheduler, [paths[0], paths[2]], 2) == [2, 2]
    assert choices(scheduler, paths[:1], 1) == [0]


def test_minrtt_takes_the_first_of_equals() -> None:
    paths = fakes(20, 10, 10)
    assert choices(make("minrtt", paths), paths, 2) == [1, 1]


def test_minrtt_takes_an_unmeasured_path_first() -> None:
    paths = fakes(10, 0, 5)
    assert choices(make("minrtt", paths), paths, 1) == [1]


@pytest.mark.parametrize(
    ("srtt", "holder_srtt", "cwnd", "resend"),
    [
        (10, 40, 5, False),
        (10, 41, 5, True),
        (10, 20, 4, True),
        (40, 10, 4, True),
        (40, 10, 5, False),
        (0, 10, 5, True),
    ],
)
def test_minrtt_opportunistic_retransmission(srtt: int, holder_srtt: int, cwnd: int, resend: bool) -> None:
    """Four segments or fewer at the holder, or more than four round trips in one of the holder's."""
    path, holder = FakePath(0, srtt), FakePath(1, holder_srtt, cwnd)
    scheduler = make("minrtt", [path, holder], penalise=False)
    for now in (0, 0, 500 * MS):
        assert scheduler.on_blocked(path, holder, now) == (RESEND if resend else WAIT)
    never = make("minrtt", [path, holder], penalise=False, opportunistic=False)
    assert never.on_blocked(path, holder, 0) == WAIT


def test_minrtt_penalises_once_a_round_trip_of_the_fast_path() -> None:
    path, holder = FakePath(0, 10), FakePath(1, 11)
    scheduler = make("minrtt", [path, holder])
    penalised = {
        5: True,
        6: False,
        14: False,
        15: True,
        16: False,
        24: False,
        25: True,
        100: True,
        109: False,
    }
    for now, expected in penalised.items():
        assert scheduler.on_blocked(path, holder, now * MS) == (PENALISE if expected else WAIT)
        assert scheduler.on_blocked(path, holder, now * MS) == WAIT


def test_minrtt_each_fast_path_penalises_by_itself() -> None:
    first, second, holder = FakePath(0, 10), FakePath(1, 20), FakePath(2, 60)
    scheduler = make("minrtt", [first, second, holder], opportunistic=False)
    assert scheduler.on_blocked(first, holder, 0) == PENALISE
    assert scheduler.on_blocked(second, holder, 0) == PENALISE
    assert scheduler.on_blocked(first, holder, 10 * MS) == PENALISE
    assert scheduler.on_blocked(second, holder, 10 * MS) == WAIT


@pytest.mark.parametrize(("srtt", "holder_srtt"), [(20, 20), (30, 20), (20, 0), (0, 20)])
def test_minrtt_penalises_slower_paths_only(srtt: int, holder_srtt: int) -> None:
    path, holder = FakePath(0, srtt), FakePath(1, holder_srtt)
    scheduler = make("minrtt", [path, holder], opportunistic=False)
    assert scheduler.on_blocked(path, holder, 0) == WAIT
    assert make("minrtt", [path, holder]).on_blocked(path, holder, 0) & PENALISE == 0


def test_minrtt_does_both_or_what_it_may() -> None:
    path, holder = FakePath(0, 10), FakePath(1, 100)
    assert make("minrtt", []).on_blocked(path, holder, 0) == RESEND | PENALISE
    assert make("minrtt", [], penalise=False).on_blocked(path, holder, 0) == RESEND
    assert make("minrtt", [], opportunistic=False).on_blocked(path, holder, 0) == PENALISE


# --- roundrobin ------------------------------


def test_roundrobin_takes_turns() -> None:
    paths = fakes(50, 10, 0)
    assert choices(make("roundrobin", paths), paths, 7) == [0, 1, 2, 0, 1, 2, 0]


def test_roundrobin_segments_in_a_row() -> None:
    paths = fakes(10, 10)
    assert choices(make("roundrobin", paths, segments=3), paths, 8) == [0, 0, 0, 1, 1, 1, 0, 0]


def test_roundrobin_skips_who_cannot_send() -> None:
    """The turn passes on; who comes back has a whole one when it is due again."""
    paths = fakes(10, 10, 10, 10)
    scheduler = make("roundrobin", paths, segments=2)
    assert choices(scheduler, paths, 3) == [0, 0, 1]
    assert choices(scheduler, [paths[0], paths[3]], 3) == [3, 3, 0]
    assert choices(scheduler, paths, 4) == [0, 1, 1, 2]
    assert choices(scheduler, [paths[1]], 5) == [1, 1, 1, 1, 1]
    assert choices(scheduler, paths, 3) == [1, 2, 2]


def test_roundrobin_takes_in_a_new_path_and_forgets_one_that_left() -> None:
    paths = fakes(10, 10, 10)
    scheduler = make("roundrobin", paths)
    assert choices(scheduler, paths[:2], 2) == [0, 1]
    assert choices(scheduler, paths, 2) == [2, 0]
    assert choices(scheduler, [paths[0], paths[2]], 3) == [2, 0, 2]


@examples(60)
@given(count=st.integers(1, 8), segments=st.integers(1, 5), rounds=st.integers(1, 4))
def test_roundrobin_is_fair(count: int, segments: int, rounds: int) -> None:
    paths = fakes(*[10] * count)
    scheduler = make("roundrobin", paths, segments=segments)
    chosen = Counter(choices(scheduler, paths, count * segments * rounds))
    assert chosen == dict.fromkeys(range(count), segments * rounds)


# --- redundant ------------------------------


def test_only_redundant_is_redundant() -> None:
    for name in ("minrtt", "roundrobin", "redundant"):
        assert (name == "redundant") == make(name, []).REDUNDANT


# --- The contract ------------------------------

#: What a connection asks: a subset of the paths, or a pair of which one is blocked by the other.
QUESTIONS = st.lists(
    st.tuples(st.sets(st.integers(0, 4), min_size=1), st.integers(0, 500), st.booleans()), max_size=60
)
SRTTS = st.lists(st.integers(0, 400), min_size=5, max_size=5)


def answers(
    scheduler: Scheduler, paths: list[Path], questions: list[tuple[set[int], int, bool]]
) -> list[int | None]:
    """Ask as a connection does; return identifiers, None, and what to do about a blockade."""
    now = 0
    given_: list[int | None] = []
    for members, wait, blocked in questions:
        now += wait * MS
        available = [paths[number] for number in sorted(members)]
        if blocked and len(available) > 1:
            answer = scheduler.on_blocked(available[-1], available[0], now)
            assert answer in (WAIT, RESEND, PENALISE, RESEND | PENALISE)
            given_.append(answer)
            continue
        before = list(available)
        path = scheduler.choose(available, now)
        assert available == before
        assert path is None or any(path is member for member in available)
        given_.append(None if path is None else path.identifier)
    return given_


@pytest.mark.parametrize("name", sorted(FAMILY))
class TestContract:
    """What a connection relies on, for every registered scheduler."""

    @examples(60)
    @given(srtts=SRTTS, questions=QUESTIONS)
    def test_chooses_from_what_is_available(
        self, name: str, srtts: list[int], questions: list[tuple[set[int], int, bool]]
    ) -> None:
        paths = fakes(*srtts)
        given_ = answers(make(name, paths), paths, questions)
        if name in ("minrtt", "roundrobin", "redundant"):
            assert None not in given_

    @examples(30)
    @given(srtts=SRTTS, questions=QUESTIONS)
    def test_deterministic(
        self, name: str, srtts: list[int], questions: list[tuple[set[int], int, bool]]
    ) -> None:
        """Connections do not influence each other, and nothing depends on the identity of objects."""
        one, other = fakes(*srtts), fakes(*srtts)
        first, second = make(name, one), make(name, other)
        assert answers(first, one, questions) == answers(second, other, questions)

    def test_sends_on_a_single_path(self, name: str) -> None:
        """Where there is nothing to decide, no scheduler holds data back."""
        for srtt in (0, 10):
            paths = fakes(srtt)
            assert choices(make(name, paths), paths, 20) == [0] * 20

    def test_describes_itself(self, name: str) -> None:
        cls = FAMILY[name]
        assert name == cls.NAME
        assert cls.SUMMARY
        for parameter in cls.PARAMETERS:
            assert parameter.help
            with pytest.raises(PluginError):
                plugins.complete(cls, {parameter.name: "nonsense"})
