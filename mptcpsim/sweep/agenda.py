"""Which runs a sweep wants: the replicates of its points, this shard's part, more where precision asks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mptcpsim.scenario.errors import Problem, ScenarioError
from mptcpsim.scenario.load import ScenarioSource
from mptcpsim.scenario.overrides import Override
from mptcpsim.scenario.sweep_settings import SweepSpec
from mptcpsim.suggest import did_you_mean
from mptcpsim.sweep.advice import advice, point_text, sample
from mptcpsim.sweep.identity import PluginFile, code_version, run_id
from mptcpsim.sweep.metrics import metrics
from mptcpsim.sweep.plan import Plan, Point
from mptcpsim.sweep.pool import Pool, PoolError, ProcessPool, available_cores
from mptcpsim.sweep.statistics import is_narrow
from mptcpsim.sweep.store import PlannedRun
from mptcpsim.sweep.worker import DONE, Question, Resolved, resolve

#: Points that are resolved in one call, at most.
CHUNK = 50


class Shard(NamedTuple):
    """One part of a campaign that is divided into ``parts`` of them, from 1."""

    part: int = 1
    parts: int = 1


class Sweep:
    """A scenario with a plan, ready to be carried out.

    Attributes:
        source: the scenario's text.
        spec: its table ``[sweep]``.
        plan: the points.
        plugins: the user's plug-in files.
        title: the scenario's title.
        advice: what lint says of the points, once they are resolved; a line each.
    """

    def __init__(self, source: ScenarioSource) -> None:
        """Check the base scenario and work out the plan.

        Raises:
            ScenarioError: the scenario or its sweep is wrong.
        """
        self.source = source
        self.advice: list[str] = []
        scenario = source.scenario()
        if scenario.sweep is None:
            raise ScenarioError(
                f"{source.name}: the scenario has no table [sweep]; add one, or use `mptcpsim run`"
            )
        self.spec: SweepSpec = scenario.sweep
        self.title = scenario.title
        self.plugins = tuple(
            PluginFile(Path(path).name, Path(path).read_text(encoding="utf-8")) for path in scenario.plugins
        )
        try:
            self.plan = Plan(self.spec)
            self.plan.refuse_vain([Override(text) for text in source.overrides])
        except Problem as problem:
            raise source.error(problem) from None

    def resolve(self, pool: Pool) -> list[Resolved]:
        """Turn every point into a scenario, and check it; on this machine, which has the scenario's files.

        Raises:
            ScenarioError: a point is no scenario, or the same as another one.
        """
        if not isinstance(pool, ProcessPool):
            with ProcessPool(available_cores()) as local:
                return self.resolve(local)
        question = Question(self.source, self.plugins, self.plan, sample(len(self.plan.points)))
        points = self.plan.points
        size = max(1, min(CHUNK, len(points) // (4 * pool.slots())))
        chunks = [points[start : start + size] for start in range(0, len(points), size)]
        resolved = []
        for future in [pool.submit(resolve, question, chunk) for chunk in chunks]:
            for found in future.result():
                if found.error:
                    raise ScenarioError(found.error)
                resolved.append(found)
        self._refuse_twins(resolved)
        self.advice = advice(self.plan.points, [found.look for found in resolved], self.plan.axes)
        return resolved

    def _refuse_twins(self, resolved: Sequence[Resolved]) -> None:
        """Refuse two points that are one scenario: each run has one place in the table."""
        seen: dict[tuple[str, int], Point] = {}
        for point, found in zip(self.plan.points, resolved, strict=True):
            mark = found.point, self.plan.seed(found.base_seed, point, 0)
            if (twin := seen.setdefault(mark, point)) is not point:
                both = f"{point_text(twin)} and {point_text(point)}"
                raise self.source.error(
                    Problem(
                        ("sweep",),
                        f"the points {both} are one and the same scenario: drop one of them, or the axis in "
                        "which they differ",
                    )
                )


def same_code(found: str, own: str) -> None:
    """Refuse what a worker says that runs other code than this process.

    Raises:
        PoolError: it does.
    """
    if found != own:
        raise PoolError(
            f"a worker has version {found} of the code, this process {own}: "
            "install the same mptcpsim everywhere"
        )


class Agenda:
    """The runs that are wanted, as far as the results so far tell."""

    def __init__(
        self,
        sweep: Sweep,
        resolved: Sequence[Resolved],
        shard: Shard,
        ended: Mapping[str, str],
        summary: Callable[[str], str],
    ) -> None:
        """Take the points as they were resolved.

        Args:
            sweep: what the points belong to.
            resolved: one for each point.
            shard: the part of the campaign that is wanted.
            ended: how runs ended, looked at again with every question.
            summary: returns the summary of a run that has one.
        """
        self._sweep = sweep
        # The packed scenarios are the store's, they are not kept here.
        self._resolved = [found._replace(scenario=b"") for found in resolved]
        self._shard = shard
        self._ended = ended
        self._summary = summary
        self._code = code_version(sweep.plugins)
        self._values: dict[str, float] = {}

    def runs(self) -> list[PlannedRun]:
        """Return the runs of this shard that are wanted by now, in the order of the plan.

        Dealt out by expected cost, so that the shards take equally long. Replicates of one point
        stay together where their number depends on one another's results.
        """
        part, parts = self._shard
        points = self._sweep.plan.points
        wanted = {point.number: self.wanted(point) for point in points}
        ranked = sorted(points, key=lambda point: (-self._resolved[point.number].cost, point.number))
        if self._sweep.spec.precision is not None:
            own = {point.number for rank, point in enumerate(ranked) if rank % parts == part - 1}
            dealt = {run.run for number in own for run in wanted[number]}
        else:
            hands = [run.run for point in ranked for run in wanted[point.number]]
            dealt = set(hands[part - 1 :: parts])
        return [run for point in points for run in wanted[point.number] if run.run in dealt]

    def wanted(self, point: Point) -> list[PlannedRun]:
        """Return the replicates of a point that are wanted, as far as the stored results tell."""
        spec = self._sweep.spec
        count = spec.replicates
        while True:
            runs = [self._planned(point, replicate) for replicate in range(count)]
            if spec.precision is None or count >= spec.precision.max_replicates:
                return runs
            if any(run.run not in self._ended for run in runs):
                return runs
            if is_narrow([self._value(run) for run in runs], spec.precision.relative):
                return runs
            count = min(count + spec.replicates, spec.precision.max_replicates)

    def _planned(self, point: Point, replicate: int) -> PlannedRun:
        found = self._resolved[point.number]
        seed = self._sweep.plan.seed(found.base_seed, point, replicate)
        return PlannedRun(
            run_id(found.point, seed, self._code),
            point.number,
            replicate,
            found.point,
            seed,
            self._code,
            tuple(plugin.digest for plugin in self._sweep.plugins),
            point.parameters,
            found.cost,
        )

    def _value(self, run: PlannedRun) -> float:
        """Return what a run says of the metric that has to become precise, NaN if it says nothing."""
        if run.run not in self._values:
            spec = self._sweep.spec
            assert spec.precision is not None
            text = self._summary(run.run) if self._ended[run.run] == DONE else ""
            found = metrics(json.loads(text), spec.metrics) if text else {}
            value = found.get(spec.precision.metric)
            if found and spec.precision.metric not in found:
                raise self._sweep.source.error(
                    Problem(
                        ("sweep", "precision", "metric"),
                        f"the runs have no metric {spec.precision.metric!r}; "
                        f"{did_you_mean(spec.precision.metric, list(found))}",
                    )
                )
            if isinstance(value, str):
                raise self._sweep.source.error(
                    Problem(
                        ("sweep", "precision", "metric"),
                        f"{spec.precision.metric!r} is text, and has no mean: choose another metric",
                    )
                )
            self._values[run.run] = math.nan if value is None else float(value)
        return self._values[run.run]
