"""Carry out a plan: resolve its points, run what is missing, store each result as it comes."""

from __future__ import annotations

import heapq
import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple

from mptcpsim.sweep.agenda import Agenda, Shard, Sweep, same_code
from mptcpsim.sweep.identity import code_version, plan_id
from mptcpsim.sweep.observer import Observer
from mptcpsim.sweep.plan import Point
from mptcpsim.sweep.pool import Pool, WorkerDied
from mptcpsim.sweep.store import SCENARIO, PlannedRun, Store
from mptcpsim.sweep.worker import DIED, Outcome, Resolved, Task, carry_out

#: Calls handed to the pool for each of its slots: one in hand, one to go on with.
DEPTH = 2

#: Seconds after which the loop looks up though nothing has happened.
LOOK_UP_S = 1.0


class Tally(NamedTuple):
    """What a call of ``Execution.run`` has done."""

    #: Runs of the plan by the way they ended, those of former calls included.
    statuses: Counter[str]
    #: Runs carried out in this call.
    carried_out: int
    elapsed_s: float
    #: Seconds of simulation, and of everything that the workers did.
    simulated_s: float
    worked_s: float
    slots: int

    @property
    def overhead_s(self) -> float:
        """Seconds a run of everything but the simulation: idle workers, start, planning, storing."""
        return (self.elapsed_s * self.slots - self.simulated_s) / max(1, self.carried_out)

    @property
    def busy(self) -> float:
        """The part of the time in which the workers had a run in hand."""
        return self.worked_s / (self.elapsed_s * self.slots) if self.elapsed_s else 0.0


class Execution:
    """A sweep on its way into a store."""

    def __init__(
        self,
        sweep: Sweep,
        resolved: Sequence[Resolved],
        store: Store,
        pool: Pool,
        shard: Shard | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._sweep = sweep
        self._resolved = resolved
        self._store = store
        self._pool = pool
        self._shard = shard or Shard()
        self._observer = observer or Observer()
        self._code = code_version(sweep.plugins)
        self._agenda: Agenda | None = None
        self._runs: dict[str, PlannedRun] = {}
        self._ended: dict[str, str] = {}
        self._pending: list[tuple[float, int, int, PlannedRun]] = []
        self._flying: dict[Future[Outcome], PlannedRun] = {}
        self._carried_out = 0
        self._simulated_s = self._worked_s = 0.0

    def run(self, *, retry: Sequence[str] = ()) -> Tally:
        """Run everything that is planned and has no result.

        Args:
            retry: the ways to end after which a run is carried out again.

        Raises:
            ScenarioError: precision asks for a metric that the runs do not have.
            PoolError: the workers have gone, or run other code.
            StoreFull: a result cannot be stored.
        """
        started = time.perf_counter()
        self._prepare(retry)
        try:
            while self._pending or self._flying:
                self._submit()
                done, _ = wait(self._flying, timeout=LOOK_UP_S, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(future)
        except KeyboardInterrupt:
            for future in [future for future in self._flying if future.done()]:
                self._take(future)
            raise
        return Tally(
            Counter(self._ended.get(run, "") for run in self._runs),
            self._carried_out,
            time.perf_counter() - started,
            self._simulated_s,
            self._worked_s,
            self._pool.slots(),
        )

    # --- Plan ---------------------------------------------------------------------------------

    def _prepare(self, retry: Sequence[str]) -> None:
        sweep, resolved = self._sweep, self._resolved
        self._ended.update(self._store.statuses())
        self._agenda = Agenda(sweep, resolved, self._shard, self._ended, self._store.summary)
        mine = self._agenda.runs()
        self._runs = {run.run: run for run in mine}
        self._store.begin(
            {
                "scenario": sweep.source.text,
                "name": sweep.source.name,
                "title": sweep.title,
                "sweep": sweep.spec.model_dump_json(),
                "axes": json.dumps(sweep.plan.axes),
                "code": self._code,
                "plan": plan_id(
                    sweep.spec,
                    [
                        (found.point, found.base_seed, point.parameters)
                        for found, point in zip(resolved, sweep.plan.points, strict=True)
                    ],
                ),
            },
            sweep.plugins,
            ((found.point, found.scenario) for found in resolved),
            mine,
            is_part=self._shard.parts > 1,
        )
        changes = "".join(f"# changed by --set {text}\n" for text in sweep.source.overrides)
        text = f"{sweep.source.text.rstrip()}\n\n{changes}" if changes else sweep.source.text
        (self._store.path / SCENARIO).write_text(text, encoding="utf-8")
        if retry and self._store.forget(retry):
            self._ended.clear()
            self._ended.update(self._store.statuses())
        missing = [run for run in mine if run.run not in self._ended]
        for run in missing:
            self._queue(run)
        self._observer.begun(len(mine), len(mine) - len(missing), sum(run.cost for run in missing))

    # --- Runs ---------------------------------------------------------------------------------

    def _queue(self, run: PlannedRun) -> None:
        heapq.heappush(self._pending, (-run.cost, run.number, run.replicate, run))

    def _submit(self) -> None:
        """Hand the longest runs to the pool, no more of them than it has use for."""
        room = DEPTH * max(1, self._pool.slots()) - len(self._flying)
        spec = self._sweep.spec
        for _ in range(min(room, len(self._pending))):
            run = heapq.heappop(self._pending)[-1]
            task = Task(
                run.run,
                self._store.scenario(run.point),
                run.seed,
                self._sweep.plugins,
                spec.time_limit,
                spec.series,
            )
            self._flying[self._pool.submit(carry_out, task)] = run

    def _take(self, future: Future[Outcome]) -> None:
        """Store the result of a run that has ended."""
        run = self._flying[future]
        try:
            outcome = future.result()
            same_code(outcome.code, self._code)
        except WorkerDied as error:
            outcome = Outcome(run.run, DIED, str(error), code=self._code)
        self._store.add(outcome)
        del self._flying[future]
        self._ended[run.run] = outcome.status
        self._carried_out += 1
        self._simulated_s += outcome.wall_s
        self._worked_s += outcome.task_s
        self._observer.finished(run, outcome)
        if self._sweep.spec.precision is not None:
            self._grow(self._sweep.plan.points[run.number])

    def _grow(self, point: Point) -> None:
        """Queue another batch of replicates where one is complete and too wide."""
        assert self._agenda is not None
        more = [run for run in self._agenda.wanted(point) if run.run not in self._runs]
        if not more:
            return
        self._store.extend(more)
        missing = [run for run in more if run.run not in self._ended]
        for run in more:
            self._runs[run.run] = run
        for run in missing:
            self._queue(run)
        self._observer.grown(len(more), sum(run.cost for run in missing))
