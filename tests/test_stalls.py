"""Stalls found in samples."""

from __future__ import annotations

from mptcpsim.results.stalls import StallDetector
from mptcpsim.results.summary import Stall
from mptcpsim.units import MILLISECOND, SECOND


def detect(samples: list[tuple[int, bool, str]], step: int = 100 * MILLISECOND) -> list[Stall]:
    detector = StallDetector()
    now = 0
    for delivered, pending, cause in samples:
        now += step
        detector.sample(now, delivered, pending, cause)
    detector.finish(now)
    return detector.found


def test_steady_progress_is_no_stall() -> None:
    assert detect([(n, True, "path") for n in range(50)]) == []


def test_an_idle_flow_does_not_stall() -> None:
    assert detect([(7, False, "path")] * 50) == []


def test_a_short_pause_is_no_stall() -> None:
    assert detect([(1, True, "path")] * 5 + [(2, True, "path")]) == [Stall(0.1, 0.6, "path")]
    assert detect([(1, True, "path")] * 4 + [(2, True, "path")]) == []


def test_begin_end_and_the_commonest_cause() -> None:
    samples = [
        (1, True, "path"),
        *[(1, True, "zero-window")] * 6,
        *[(1, True, "timeout")] * 3,
        (2, True, "path"),
    ]
    assert detect(samples) == [Stall(0.1, 1.1, "zero-window")]


def test_two_stalls_are_two() -> None:
    samples = [*[(1, True, "timeout")] * 10, *[(2, True, "timeout")] * 10]
    assert [(stall.start_s, stall.end_s) for stall in detect(samples)] == [(0.1, 1.1), (1.1, 2.0)]


def test_a_stall_may_last_to_the_end() -> None:
    assert detect([(0, True, "handshake")] * 3, step=SECOND) == [Stall(1.0, 3.0, "handshake")]


def test_a_stall_ends_when_nothing_is_pending_any_more() -> None:
    samples = [*[(1, True, "path")] * 8, *[(1, False, "path")] * 8]
    assert detect(samples) == [Stall(0.1, 0.9, "path")]
