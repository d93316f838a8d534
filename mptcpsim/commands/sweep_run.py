"""``mptcpsim sweep run``: what is missing of a campaign is carried out."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from mptcpsim.commands.progress import Progress
from mptcpsim.commands.sweep_base import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_STORE,
    duration_text,
    fail,
    say,
)
from mptcpsim.sweep.observer import Observer

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from mptcpsim.sweep.agenda import Shard, Sweep
    from mptcpsim.sweep.execute import Tally
    from mptcpsim.sweep.pool import Pool
    from mptcpsim.sweep.store import PlannedRun, Store
    from mptcpsim.sweep.worker import Outcome


#: Failed runs that are named at the end of a campaign.
NAMED = 5


def run(
    scenario: Annotated[Path, typer.Argument(help="A scenario file with a table \\[sweep].")],
    out: Annotated[
        Path | None, typer.Option(help="The campaign to begin or to go on with; runs/NAME-sweep by default.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; one a core by default.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the scenario. Repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every point, print the number of runs and the time.")
    ] = False,
    executor: Annotated[
        Literal["processes", "dask"], typer.Option(help="Where the runs are carried out.")
    ] = "processes",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The Dask scheduler, for --executor dask.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the part I of N; `merge` joins the parts.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat the runs that failed before.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw the figures when all is done.")
    ] = True,
    warn: Annotated[
        bool, typer.Option("--lint/--no-lint", help="Say first what `lint` finds at the points, and go on.")
    ] = True,
) -> None:
    """Run what is missing of a campaign; called again, it goes on where it was."""
    from mptcpsim.scenario.errors import ScenarioError
    from mptcpsim.scenario.load import open_source
    from mptcpsim.sweep.agenda import Sweep
    from mptcpsim.sweep.pool import PoolError
    from mptcpsim.sweep.store import StoreError, StoreFull

    part = _shard(shard)
    target = _default_directory(scenario) if out is None else out
    try:
        sweep = Sweep(open_source(scenario, changes or []))
        pool = _pool(executor, address, jobs)
        try:
            if dry_run:
                _dry_run(sweep, pool, target, part, warn)
            else:
                _run(sweep, pool, target, part, retry_failed, figures, warn)
        finally:
            pool.stop()
    except (ScenarioError, StoreError, PoolError) as error:
        fail(str(error), EXIT_INPUT)
    except StoreFull as error:
        fail(str(error), EXIT_STORE)
    except KeyboardInterrupt:
        fail(f"interrupted; what had ended is stored in {target}, call again to go on", EXIT_INTERRUPTED)


def _default_directory(scenario: Path) -> Path:
    stem = scenario.stem
    if stem == "scenario":
        stem = scenario.resolve().parent.name or stem
    return Path("runs") / f"{stem}-sweep"


def _shard(text: str | None) -> Shard:
    from mptcpsim.sweep.agenda import Shard

    if text is None:
        return Shard()
    part, slash, parts = text.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal() or not 1 <= int(part) <= int(parts):
        fail(f"--shard {text!r} is no part of a whole: write for instance --shard 1/4", EXIT_INPUT)
    return Shard(int(part), int(parts))


def _pool(executor: str, address: str | None, jobs: int | None) -> Pool:
    from mptcpsim.sweep.pool import DaskPool, ProcessPool, available_cores

    if executor == "dask":
        if address is None:
            fail("--executor dask needs --address HOST:PORT, the scheduler's", EXIT_INPUT)
        if jobs is not None:
            fail("--jobs is for processes; a Dask cluster has as many workers as it has: drop it", EXIT_INPUT)
        return DaskPool(address)
    if address is not None:
        fail("--address goes with --executor dask: add that, or drop it", EXIT_INPUT)
    return ProcessPool(jobs or available_cores())


def _advise(sweep: Sweep) -> None:
    """Say what lint has found at the points."""
    for line in sweep.advice:
        say(line)


def _dry_run(sweep: Sweep, pool: Pool, target: Path, shard: Shard, warn: bool) -> None:
    from mptcpsim.sweep.agenda import Agenda
    from mptcpsim.sweep.estimate import seconds_per_packet
    from mptcpsim.sweep.store import DATABASE, Store

    with Progress("checking every point"):
        resolved = sweep.resolve(pool)
    if warn:
        _advise(sweep)
    packets = seconds = 0.0
    if (target / DATABASE).exists():
        with Store(target, create=True) as store:  # be it without a plan
            packets, seconds = store.measured()
            ended = store.statuses()
            runs = Agenda(sweep, resolved, shard, ended, store.summary).runs()
    else:
        ended = {}
        runs = Agenda(sweep, resolved, shard, ended, lambda run: "").runs()
    missing = [run for run in runs if run.run not in ended]
    cost = sum(run.cost for run in missing)
    if packets:
        each, basis = seconds / packets, "from the runs that are stored"
    else:
        each, basis = (
            seconds_per_packet(resolved),
            "from a trial of a few seconds, within a factor of two or so",
        )
    points = len({run.number for run in runs})
    spec = sweep.spec
    print(f"{points} points, {len(runs)} runs, {len(runs) - len(missing)} of them stored")
    if spec.precision is not None:
        most = points * spec.precision.max_replicates
        print(f"up to {most} runs, as precision needs")
    time_left = duration_text(cost * each / pool.slots())
    print(f"{len(missing)} to run: about {time_left} on {pool.slots()} workers ({basis})")


def _run(
    sweep: Sweep, pool: Pool, target: Path, shard: Shard, retry_failed: bool, figures: bool, warn: bool
) -> None:
    from mptcpsim.sweep.equality import equalities, results_of
    from mptcpsim.sweep.execute import Execution
    from mptcpsim.sweep.store import Store, refuse_taken
    from mptcpsim.sweep.worker import DIED, FAILED, TIMEOUT

    refuse_taken(target)
    # All that can be refused is refused before anything is written.
    with Progress("checking every point"):
        resolved = sweep.resolve(pool)
    if warn:
        _advise(sweep)
    former = signal.signal(signal.SIGTERM, _terminated)
    try:
        with Store(target, create=True) as store, Bar(pool) as bar:
            store.lock()
            execution = Execution(sweep, resolved, store, pool, shard, bar)
            tally = execution.run(retry=(FAILED, TIMEOUT, DIED) if retry_failed else ())
            others = store.beside()
            equal = equalities(results_of(store.runs()), sweep.plan.axes)
            bare = _without_series(store) if sweep.spec.series else 0
    finally:
        signal.signal(signal.SIGTERM, former)
    print(_report(tally, target, others))
    for line in equal:
        say(line)
    if bare:
        say(
            f"{bare} runs have no series, which were not wanted when they ran; `mptcpsim sweep repro` makes "
            "those of one run, another --out those of all"
        )
    failed = _failures(target, tally.statuses)
    if figures and tally.statuses["done"]:
        _draw(target)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _without_series(store: Store) -> int:
    """Return how many runs of the plan are done, and have no file of series."""
    done = (found.plan.run for found in store.runs() if found.status == "done")
    return sum(not store.series_path(run).exists() for run in done)


def _terminated(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _report(tally: Tally, target: Path, others: int) -> str:
    total = sum(tally.statuses.values())
    lines = [f"{target}: {tally.statuses['done']} of {total} runs done"]
    if tally.carried_out:
        lines.append(
            f"{tally.carried_out} runs now, in {tally.elapsed_s:.1f} s on {tally.slots} workers: "
            f"{100 * tally.busy:.0f} % busy, {1000 * tally.overhead_s:.1f} ms a run beside the simulation"
        )
    if others > 0:
        lines.append(
            f"{others} results of former plans or other versions of the code are kept beside them "
            "(--everything shows them)"
        )
    return "\n".join(lines)


def _failures(target: Path, statuses: Counter[str]) -> int:
    """Name some of the runs that failed on stderr; return how many there are."""
    from mptcpsim.sweep.store import Store

    failed = sum(count for status, count in statuses.items() if status != "done")
    if failed:
        with Store(target) as store:
            bad = [found for found in store.runs() if found.status not in ("done", "")]
        for found in bad[:NAMED]:
            say(f"run {found.plan.run} {found.status}: {found.message}")
        say(
            f"{failed} runs failed; `mptcpsim sweep show {target} RUN` tells more, "
            "--retry-failed repeats them"
        )
    return failed


def _draw(target: Path) -> None:
    from mptcpsim.sweep.campaign import Campaign
    from mptcpsim.sweep.figures import draw_campaign
    from mptcpsim.sweep.store import StoreError

    try:
        with Progress("drawing the figures"):
            drawn = list(draw_campaign(Campaign(target), target / "figures", say))
        for path in drawn:
            print(path)
    except StoreError as error:
        fail(f"the figures cannot be drawn: {error}", EXIT_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{target}: the figures cannot be written: {error.strerror}", EXIT_STORE)


class Bar(Observer):
    """The progress bar of a campaign, on stderr; time left by the expected cost of what is left."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._bars: Bars | None = None
        self._task: Any = None
        self._failed = 0

    def __enter__(self) -> Bar:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        from mptcpsim.results.terminal import Terminal

        console = Terminal(stderr=True)
        self._bars = Bars(
            TextColumn("{task.fields[ended]} of {task.fields[runs]} runs{task.fields[failed]}"),
            BarColumn(bar_width=None),
            TextColumn("left:"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bars.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def begun(self, total: int, stored: int, cost: float) -> None:
        """Show the bar; what was stored before is no part of it."""
        assert self._bars is not None
        self._task = self._bars.add_task("", total=cost, ended=stored, runs=total, failed="")

    def grown(self, more: int, cost: float) -> None:
        """Make the bar longer."""
        assert self._bars is not None
        task = self._bars.tasks[0]
        self._bars.update(self._task, total=(task.total or 0.0) + cost, runs=task.fields["runs"] + more)

    def finished(self, run: PlannedRun, outcome: Outcome) -> None:
        """Advance by a run."""
        assert self._bars is not None
        self._failed += outcome.status != "done"
        failed = f", {self._failed} failed" if self._failed else ""
        ended = self._bars.tasks[0].fields["ended"] + 1
        self._bars.update(self._task, advance=run.cost, ended=ended, failed=failed)
