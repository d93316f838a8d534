"""``mptcpsim sweep``: many runs of one scenario, and what they amount to.

Exit status: 0 everything that is planned is done; 1 some runs failed, or a repeated run
differs; 2 wrong input; 5 results cannot be stored; 130 interrupted. Whatever the status,
what is stored is whole, and the same call goes on from there.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from mptcpsim.commands.progress import Progress
from mptcpsim.sweep.observer import Observer

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from mptcpsim.results.terminal import Terminal
    from mptcpsim.sweep.agenda import Shard, Sweep
    from mptcpsim.sweep.execute import Tally
    from mptcpsim.sweep.pool import Pool
    from mptcpsim.sweep.store import PlannedRun, Store
    from mptcpsim.sweep.worker import Outcome

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_STORE = 5
EXIT_INTERRUPTED = 130

#: Failed runs that are named at the end of a campaign.
NAMED = 5

app = typer.Typer(
    name="sweep",
    help="Run a scenario for many values of its keys, on all cores or on a cluster.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

CampaignPath = Annotated[Path, typer.Argument(help="The directory of a campaign.", metavar="CAMPAIGN")]


def _fail(message: str, status: int) -> NoReturn:
    print(f"mptcpsim: {message}", file=sys.stderr)
    raise typer.Exit(status)


def _say(message: str) -> None:
    print(f"mptcpsim: {message}", file=sys.stderr)


# --- run ----------------------------------------------------------------------------------------


@app.command(
    epilog="Example: [bold]mptcpsim sweep run experiments/heterogeneous-rtt/scenario.toml --jobs 2 "
    "--out runs/rtt[/bold]"
)
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
        _fail(str(error), EXIT_INPUT)
    except StoreFull as error:
        _fail(str(error), EXIT_STORE)
    except KeyboardInterrupt:
        _fail(f"interrupted; what had ended is stored in {target}, call again to go on", EXIT_INTERRUPTED)


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
        _fail(f"--shard {text!r} is no part of a whole: write for instance --shard 1/4", EXIT_INPUT)
    return Shard(int(part), int(parts))


def _pool(executor: str, address: str | None, jobs: int | None) -> Pool:
    from mptcpsim.sweep.pool import DaskPool, ProcessPool, available_cores

    if executor == "dask":
        if address is None:
            _fail("--executor dask needs --address HOST:PORT, the scheduler's", EXIT_INPUT)
        if jobs is not None:
            _fail(
                "--jobs is for processes; a Dask cluster has as many workers as it has: drop it", EXIT_INPUT
            )
        return DaskPool(address)
    if address is not None:
        _fail("--address goes with --executor dask: add that, or drop it", EXIT_INPUT)
    return ProcessPool(jobs or available_cores())


def _advise(sweep: Sweep) -> None:
    """Say what lint has found at the points."""
    for line in sweep.advice:
        _say(line)


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
    time_left = _duration(cost * each / pool.slots())
    print(f"{len(missing)} to run: about {time_left} on {pool.slots()} workers ({basis})")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
        _say(line)
    if bare:
        _say(
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
            _say(f"run {found.plan.run} {found.status}: {found.message}")
        _say(
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
            drawn = list(draw_campaign(Campaign(target), target / "figures", _say))
        for path in drawn:
            print(path)
    except StoreError as error:
        _fail(f"the figures cannot be drawn: {error}", EXIT_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(f"{target}: the figures cannot be written: {error.strerror}", EXIT_STORE)


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


# --- status, show -------------------------------------------------------------------------------


@app.command()
def status(campaign: CampaignPath) -> None:
    """Say how far a campaign has come."""
    from mptcpsim.sweep.store import Store, StoreError

    try:
        with Store(campaign) as store:
            counts: Counter[str] = Counter()
            left = 0.0
            for found in store.runs():
                counts[found.status or "missing"] += 1
                left += 0.0 if found.status else found.plan.cost
            packets, seconds = store.measured()
            codes = store.codes()
            title, code = store.value("title"), store.value("code")
    except StoreError as error:
        _fail(str(error), EXIT_INPUT)
    print(f"{campaign}: {title}")
    print(f"{sum(counts.values())} runs: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    if seconds:
        print(f"{_duration(seconds)} of work done", end="")
        print(f", about {_duration(left * seconds / packets)} to do, on one worker" if left else "")
    for version, count in sorted(codes.items()):
        print(
            f"code {version}: {count} results{' (the plan)' if version == code else ', of another version'}"
        )


@app.command()
def show(
    campaign: CampaignPath,
    which: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="One run, by the beginning of its name.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A column to show the mean of; goodput_bps by default. Repeatable."),
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="An axis to group by; all of them by default. Repeatable.")
    ] = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Intervals by bootstrap, not by t.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs instead.")] = False,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="With --runs: former plans and other versions of the code, too."),
    ] = False,
) -> None:
    """Show means with 95 % intervals, the runs, or one run."""
    from mptcpsim.results.rundir import RunDirectoryError
    from mptcpsim.results.terminal import Terminal
    from mptcpsim.sweep.campaign import Campaign
    from mptcpsim.sweep.metrics import DEFAULT
    from mptcpsim.sweep.store import StoreError
    from mptcpsim.sweep.tables import means_table, run_table

    console = Terminal()
    try:
        found = Campaign(campaign)
        if which is not None:
            _show_run(campaign, which, console)
        elif runs:
            console.show(run_table(found, everything))
        else:
            console.show(means_table(found, metric or [DEFAULT], by, "bootstrap" if bootstrap else "t"))
    except (StoreError, RunDirectoryError) as error:
        _fail(str(error), EXIT_INPUT)


def _show_run(campaign: Path, which: str, console: Terminal) -> None:
    import json

    from mptcpsim.results.report import flow_table, link_table
    from mptcpsim.sweep.store import Store

    with Store(campaign) as store:
        found = store.find(which)
    plan = found.plan
    print(
        f"run {plan.run}: point {plan.number}, replicate {plan.replicate}, seed {plan.seed}, code {plan.code}"
    )
    for name, value in plan.parameters.items():
        print(f"  {name} = {value!r}")
    print(f"{found.status or 'not run yet'}{': ' if found.message else ''}{found.message}")
    if found.status:
        print(
            f"{found.wall_s:.3f} s of simulation, {found.events} events, on {found.worker or 'no worker'}, "
            f"{found.finished}"
        )
    if found.traceback:
        print(found.traceback.rstrip())
    if found.summary:
        summary = json.loads(found.summary)
        console.show(flow_table(summary))
        console.show(link_table(summary))
    print(f"Again, with all files: mptcpsim sweep repro {campaign}/{plan.run}")


# --- repro --------------------------------------------------------------------------------------


@app.command(epilog="Example: [bold]mptcpsim sweep repro runs/rtt/3f62a0c1 --pcap[/bold]")
def repro(
    which: Annotated[
        str, typer.Argument(metavar="CAMPAIGN/RUN", help="A run, by the beginning of its name.")
    ],
    out: Annotated[Path | None, typer.Option(help="The run directory; runs/RUN by default.")] = None,
    pcap: Annotated[bool, typer.Option("--pcap", help="Write a capture for each chosen interface.")] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a directory that a run has written.")
    ] = False,
) -> None:
    """Run one run of a campaign again, into a run directory, and compare the summaries."""
    from mptcpsim.results.rundir import RunDirectory, RunDirectoryError, free_name
    from mptcpsim.sweep.repro import reproduce
    from mptcpsim.sweep.store import Store, StoreError

    campaign, _, name = which.rstrip("/").rpartition("/")
    if not campaign:
        _fail(f"{which!r} names no run: write it as CAMPAIGN/RUN", EXIT_INPUT)
    try:
        with Store(Path(campaign)) as store:
            found = store.find(name)
            directory = RunDirectory(out or free_name(Path("runs"), found.plan.run), force)
            again = reproduce(store, found, directory, pcap=pcap, figures=figures)
    except (StoreError, RunDirectoryError) as error:
        _fail(str(error), EXIT_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", EXIT_INTERRUPTED)
    if again.other_code:
        _say(f"the run was made by version {found.plan.code} of the code; this is {again.other_code}")
    if again.error:
        _say(f"the run fails: {again.error}")
    else:
        print(f"Results: {directory.final}")
    if not again.identical:
        was = f"{found.status}{': ' if found.message else ''}{found.message}"
        if not was:
            _fail("the campaign has no result of this run yet, there is nothing to compare", EXIT_FAILED)
        _fail(f"the run is not as it was stored ({was})", EXIT_FAILED)
    print("identical to the stored run")


# --- export, merge, plot ------------------------------------------------------------------------


@app.command(epilog="Example: [bold]mptcpsim sweep export runs/rtt --format csv --out rtt.csv[/bold]")
def export(
    campaign: CampaignPath,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    kind: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="The kind of file.")] = "csv",
    timings: Annotated[
        bool,
        typer.Option("--timings", help="With wall-clock times and workers, which differ from call to call."),
    ] = False,
    means: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="A row a point with the mean of this column and its 95 % interval. Repeatable.",
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Runs of former plans and of other versions of the code, too."),
    ] = False,
) -> None:
    """Write the table of a campaign, a row a run, or the means of its points."""
    from mptcpsim.sweep.campaign import Campaign
    from mptcpsim.sweep.export import export as write
    from mptcpsim.sweep.export import export_means
    from mptcpsim.sweep.store import StoreError

    if means and (timings or everything):
        option = "--timings" if timings else "--everything"
        _fail(f"{option} is for a row a run, not for --means: drop one of the two", EXIT_INPUT)
    try:
        found = Campaign(campaign)
        if means:
            rows = export_means(found, means, kind, out)
        else:
            rows = write(found, kind, out, timings=timings, everything=everything)
        _mention_others(campaign, everything)
    except StoreError as error:
        _fail(str(error), EXIT_INPUT)
    print(f"{out}: {rows} rows")


def _mention_others(campaign: Path, everything: bool) -> None:
    """Say that a campaign holds results of several versions of the code."""
    from mptcpsim.sweep.store import Store

    with Store(campaign) as store:
        codes, code = store.codes(), store.value("code")
    others = sum(count for version, count in codes.items() if version != code)
    if others:
        what = "are in the table; the column code tells them apart" if everything else "are left out"
        _say(f"{others} results of other versions of the code {what}")


@app.command(epilog="Example: [bold]mptcpsim sweep merge runs/rtt runs/rtt-2 runs/rtt-3[/bold]")
def merge(
    into: Annotated[Path, typer.Argument(metavar="INTO", help="The campaign that takes the others' runs.")],
    others: Annotated[
        list[Path], typer.Argument(metavar="FROM...", help="Campaigns, which stay as they are.")
    ],
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Even if scenario or version of the code differ.")
    ] = False,
) -> None:
    """Put the runs of some campaigns, such as the shards of one, into another one."""
    from mptcpsim.sweep.store import Store, StoreError, StoreFull

    try:
        with Store(into) as store:
            for path in others:
                with Store(path) as other:
                    _same(store, other, mixed)
            store.lock()
            for path in others:
                with Store(path) as other:
                    former = store.beside()
                    print(f"{into}: {store.take(other)} results from {path}")
                    if more := store.beside() - former:
                        _say(
                            f"{more} of them have the values and seeds of other runs, or belonged to "
                            "former plans: they are kept beside the plan (--everything shows them)"
                        )
    except StoreError as error:
        _fail(str(error), EXIT_INPUT)
    except StoreFull as error:
        _fail(str(error), EXIT_STORE)


def _same(store: Store, other: Store, mixed: bool) -> None:
    from mptcpsim.sweep.store import StoreError

    for key, what in (
        ("code", "version of the code"),
        ("sweep", "sweep"),
        ("scenario", "scenario"),
        ("plan", "scenario (by --set, or in a file that it names)"),
    ):
        mine, theirs = store.value(key), other.value(key)
        if key == "plan" and not (mine and theirs):
            continue
        if mine != theirs and not mixed:
            raise StoreError(
                f"{other.path}: has another {what} than {store.path}; --mixed merges them all the same, "
                "the column code tells versions apart"
            )


@app.command()
def plot(
    campaign: CampaignPath,
    out: Annotated[Path | None, typer.Option(help="The directory; CAMPAIGN/figures by default.")] = None,
) -> None:
    """Draw the figures of a campaign: PNG, PDF, and PGF for LaTeX."""
    from mptcpsim.sweep.campaign import Campaign
    from mptcpsim.sweep.figures import draw_campaign
    from mptcpsim.sweep.store import StoreError

    try:
        with Progress("drawing the figures"):
            drawn = list(draw_campaign(Campaign(campaign), out or campaign / "figures", _say))
        for path in drawn:
            print(path)
    except StoreError as error:
        _fail(str(error), EXIT_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(f"{campaign}: the figures cannot be written: {error.strerror}", EXIT_INPUT)
