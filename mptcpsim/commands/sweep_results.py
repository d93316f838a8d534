"""``mptcpsim sweep status | show | repro | export | merge | plot``: what a campaign has come to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mptcpsim.commands.progress import Progress
from mptcpsim.commands.sweep_base import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_STORE,
    CampaignPath,
    duration_text,
    fail,
    say,
)

if TYPE_CHECKING:
    from mptcpsim.results.terminal import Terminal
    from mptcpsim.sweep.store import Store


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
        fail(str(error), EXIT_INPUT)
    print(f"{campaign}: {title}")
    print(f"{sum(counts.values())} runs: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    if seconds:
        print(f"{duration_text(seconds)} of work done", end="")
        print(f", about {duration_text(left * seconds / packets)} to do, on one worker" if left else "")
    for version, count in sorted(codes.items()):
        print(
            f"code {version}: {count} results{' (the plan)' if version == code else ', of another version'}"
        )


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
        fail(str(error), EXIT_INPUT)


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
        fail(f"{which!r} names no run: write it as CAMPAIGN/RUN", EXIT_INPUT)
    try:
        with Store(Path(campaign)) as store:
            found = store.find(name)
            directory = RunDirectory(out or free_name(Path("runs"), found.plan.run), force)
            again = reproduce(store, found, directory, pcap=pcap, figures=figures)
    except (StoreError, RunDirectoryError) as error:
        fail(str(error), EXIT_INPUT)
    except KeyboardInterrupt:
        fail("interrupted; nothing was written", EXIT_INTERRUPTED)
    if again.other_code:
        say(f"the run was made by version {found.plan.code} of the code; this is {again.other_code}")
    if again.error:
        say(f"the run fails: {again.error}")
    else:
        print(f"Results: {directory.final}")
    if not again.identical:
        was = f"{found.status}{': ' if found.message else ''}{found.message}"
        if not was:
            fail("the campaign has no result of this run yet, there is nothing to compare", EXIT_FAILED)
        fail(f"the run is not as it was stored ({was})", EXIT_FAILED)
    print("identical to the stored run")


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
        fail(f"{option} is for a row a run, not for --means: drop one of the two", EXIT_INPUT)
    try:
        found = Campaign(campaign)
        if means:
            rows = export_means(found, means, kind, out)
        else:
            rows = write(found, kind, out, timings=timings, everything=everything)
        _mention_others(campaign, everything)
    except StoreError as error:
        fail(str(error), EXIT_INPUT)
    print(f"{out}: {rows} rows")


def _mention_others(campaign: Path, everything: bool) -> None:
    """Say that a campaign holds results of several versions of the code."""
    from mptcpsim.sweep.store import Store

    with Store(campaign) as store:
        codes, code = store.codes(), store.value("code")
    others = sum(count for version, count in codes.items() if version != code)
    if others:
        what = "are in the table; the column code tells them apart" if everything else "are left out"
        say(f"{others} results of other versions of the code {what}")


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
                        say(
                            f"{more} of them have the values and seeds of other runs, or belonged to "
                            "former plans: they are kept beside the plan (--everything shows them)"
                        )
    except StoreError as error:
        fail(str(error), EXIT_INPUT)
    except StoreFull as error:
        fail(str(error), EXIT_STORE)


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
            drawn = list(draw_campaign(Campaign(campaign), out or campaign / "figures", say))
        for path in drawn:
            print(path)
    except StoreError as error:
        fail(str(error), EXIT_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{campaign}: the figures cannot be written: {error.strerror}", EXIT_INPUT)
