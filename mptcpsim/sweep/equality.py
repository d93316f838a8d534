"""What a campaign's results show to have changed nothing: axes of equal points, replicates of equal runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from mptcpsim.sweep.identity import digest
from mptcpsim.sweep.plan import SEED
from mptcpsim.sweep.store import StoredRun

#: What a summary says of its scenario and not of the run.
_NOT_MEASURED: Final = ("scenario", "seed")


class Result(NamedTuple):
    """A run that is done.

    Attributes:
        values: of the axes, each as JSON.
        replicate: its number.
        mark: equal for equal results.
    """

    values: dict[str, str]
    replicate: int
    mark: str


def results_of(runs: Iterable[StoredRun]) -> list[Result]:
    """Return the runs that are done, their summaries as marks."""
    found = []
    for run in runs:
        if run.status == "done" and run.summary:
            values = {name: _text(value) for name, value in run.plan.parameters.items()}
            found.append(Result(values, run.plan.replicate, _mark(run.summary)))
    return found


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _mark(summary: str) -> str:
    measured = {key: value for key, value in json.loads(summary).items() if key not in _NOT_MEASURED}
    return digest(_text(measured).encode())


def equalities(results: Sequence[Result], axes: Sequence[str]) -> list[str]:
    """Return what has changed nothing, a sentence each.

    An axis is judged by runs that differ in nothing else. Where there are none, as axes change together, it
    is judged with the others of that kind.
    """
    lines = []
    together = []
    for axis in axes:
        values = {result.values[axis] for result in results}
        if len(values) < 2:
            continue
        verdict = _equal(results, {axis}, axes)
        if verdict is None:
            together.append(axis)
        elif verdict:
            lines.append(_of_axes([axis], len(values)))
    if together and _equal(results, set(together), axes):
        lines.append(_of_axes(together, len({_point(result, together) for result in results})))
    counts: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        counts.setdefault(_point(result, axes), []).append(result.mark)
    several = [marks for marks in counts.values() if len(marks) > 1]
    if several and all(len(set(marks)) == 1 for marks in several):
        most = max(map(len, several))
        lines.append(f"the {most} replicates of each point are equal: nothing in these runs is random")
    return lines


def _point(result: Result, axes: Iterable[str]) -> tuple[str, ...]:
    return tuple(result.values[axis] for axis in axes)


def _equal(results: Sequence[Result], judged: set[str], axes: Sequence[str]) -> bool | None:
    """Return whether runs are equal that differ in the judged axes only; None if there are no such runs."""
    others = [axis for axis in axes if axis not in judged]
    groups: dict[tuple[object, ...], dict[tuple[str, ...], str]] = {}
    for result in results:
        group = groups.setdefault((*_point(result, others), result.replicate), {})
        group[_point(result, sorted(judged))] = result.mark
    several = [group for group in groups.values() if len(group) > 1]
    return all(len(set(group.values())) == 1 for group in several) if several else None


def _of_axes(axes: Sequence[str], values: int) -> str:
    if axes == [SEED]:
        return f"the runs of all {values} seeds are equal: nothing in them is random"
    named = " and ".join(repr(axis) for axis in axes)
    what, change = ("the axis", "has changed") if len(axes) == 1 else ("the axes", "have changed")
    return f"{what} {named} {change} nothing: the runs of all {values} values are equal"
