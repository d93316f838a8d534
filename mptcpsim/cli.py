"""The command line: ``mptcpsim run | plot | list | sweep | lint | route | wire``.

Exit status: 0 success; 1 a flow failed (it was refused, reset or timed out); 2 wrong input, with one
message on stderr that says what to do; 3 the event budget was used up (the run makes no progress in
time); 4 bytes were delivered wrongly; 130 interrupted (what was measured until then is kept); 141
nobody reads what is printed. Heavy modules are imported by the commands that need them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mptcpsim.commands.captures import Pcap, WithPcap
from mptcpsim.commands.lint import lint, warn_of
from mptcpsim.commands.progress import Progress
from mptcpsim.commands.route import route
from mptcpsim.commands.sweep import app as sweep_app
from mptcpsim.commands.wire import app as wire_app
from mptcpsim.guard import PluginFailure
from mptcpsim.sim.garbage import rare_collections

if TYPE_CHECKING:
    from rich.table import Table

    from mptcpsim.results.rundir import RunDirectory
    from mptcpsim.results.summary import Summary
    from mptcpsim.scenario.schema import Scenario

EXIT_INPUT = 2
EXIT_BUDGET = 3
EXIT_INTEGRITY = 4
EXIT_PIPE = 141
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

#: What ``list`` calls the profiles of MPTCP, which are no plug-ins.
PROFILE = "profile"

#: The tables of a scenario whose keys ``list`` shows when it is asked for them.
KEYS = ("tcp", "mptcp", "link")

#: What ``list`` calls the time series of a run.
METRICS = "metrics"

#: Where runs go that are given no directory.
RUNS = Path("runs")


class Commands(TyperGroup):
    """The commands; who reads no further what they print (``| head``) ends them without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            # Importing and drawing make many objects, and next to no garbage.
            with rare_collections():
                result = super().invoke(ctx)
            sys.stdout.flush()
        except PluginFailure as error:
            print(f"mptcpsim: {error}", file=sys.stderr)
            raise typer.Exit(EXIT_INPUT) from None
        except BrokenPipeError:
            # What is still in the buffers goes nowhere, and their last flush does not complain.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())
            raise typer.Exit(EXIT_PIPE) from None
        return result


app = typer.Typer(
    name="mptcpsim",
    cls=Commands,
    help="Simulate multipath TCP: scenarios in, measurements, captures and figures out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(sweep_app)
app.add_typer(wire_app)


def main() -> None:
    """Run the command line."""
    app()


def _fail(message: str, status: int) -> NoReturn:
    print(f"mptcpsim: {message}", file=sys.stderr)
    raise typer.Exit(status)


def _version(asked: bool) -> None:
    if asked:
        from mptcpsim.results.meta import core, version

        print(f"mptcpsim {version('mptcpsim')} (core: {core()})")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the version, and whether the core is compiled.",
        ),
    ] = False,
) -> None:
    """Options of the program as a whole."""


# --- run ----------------------------------------------------------------------------------------


@app.command(
    cls=WithPcap,
    epilog="Example: [bold]mptcpsim run experiments/demo/scenario.toml --set links.bottleneck.rate=5Mbps "
    "--seed 7 --out runs/slow --pcap[/bold]",
)
def run(
    scenario: Annotated[Path, typer.Argument(help="The scenario file (TOML).")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key, such as links.0.rate=8Mbps or flows.bulk.tcp.congestion=reno. Repeatable.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of every random stream.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The directory to write; by default a new one in runs/.")
    ] = None,
    pcap: Annotated[
        Pcap | None,
        typer.Option(
            "--pcap",
            help="Write captures (pcapng) of the interfaces in output.capture, or of all hosts: one for "
            "each, or with `--pcap merged` one of all (docs/captures.md).",
        ),
    ] = None,
    snaplen: Annotated[
        int | None,
        typer.Option(
            "--pcap-snaplen", min=1, metavar="BYTES", help="Keep so much of each packet in captures."
        ),
    ] = None,
    dsn: Annotated[
        bool,
        typer.Option(
            "--dsn", help="Record every segment of the flows and draw data sequence numbers over time."
        ),
    ] = False,
    stall_threshold: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Gaps in a flow's delivery from this duration on are stalls, such as 200ms; "
            "the same as --set results.stall_threshold=TIME.",
        ),
    ] = None,
    roundtrip: Annotated[
        bool, typer.Option("--roundtrip", help="Encode and decode every packet at every hop.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw the figures; `plot` does it later.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a directory that a run has written.")
    ] = False,
    warn: Annotated[
        bool, typer.Option("--lint/--no-lint", help="Say first what `lint` finds, briefly, and go on.")
    ] = True,
) -> None:
    """Run a scenario and write its results into a directory."""
    from mptcpsim.results.rundir import RunDirectory, RunDirectoryError
    from mptcpsim.scenario.errors import ScenarioError
    from mptcpsim.scenario.load import open_source

    overrides = [*(changes or []), *([] if seed is None else [f"seed={seed}"])]
    if stall_threshold is not None:
        overrides.append(f"results.stall_threshold={stall_threshold}")
    if snaplen is not None and pcap is None:
        _fail("--pcap-snaplen has no effect without --pcap; add it, or leave both out", EXIT_INPUT)
    directory: RunDirectory | None = None
    try:
        with Progress("reading the scenario"):
            loaded, places = open_source(scenario, overrides).read()
            if loaded.sweep is not None:
                print(
                    "mptcpsim: the scenario has a [sweep]; this is one run, of the values in the file. "
                    f"All of it: mptcpsim sweep run {scenario}",
                    file=sys.stderr,
                )
            directory = RunDirectory(_default_directory(scenario) if out is None else out, force)
            if warn:
                warn_of(loaded, places)
        _run(loaded, directory, pcap, snaplen or 0, dsn, roundtrip, figures)
    except (ScenarioError, RunDirectoryError) as error:
        _fail(str(error), EXIT_INPUT)
    except KeyboardInterrupt:
        what = "nothing was written"
        if directory is not None and directory.published:
            what = f"the results are in {directory.final}"
        _fail(f"interrupted; {what}", EXIT_INTERRUPTED)


def _default_directory(scenario: Path) -> Path:
    from mptcpsim.results.rundir import free_name

    stem = scenario.stem
    if stem == "scenario":
        stem = scenario.resolve().parent.name or stem
    return free_name(RUNS, stem)


def _run(
    scenario: Scenario,
    directory: RunDirectory,
    captures: Pcap | None,
    snaplen: int,
    dsn: bool,
    roundtrip: bool,
    figures: bool,
) -> None:
    from mptcpsim.commands.interrupts import Interrupts
    from mptcpsim.core.errors import IntegrityError
    from mptcpsim.results.report import failure_lines, pause_lines, speed_line, stall_lines, tables
    from mptcpsim.results.rundir import META, read_json
    from mptcpsim.results.terminal import Terminal
    from mptcpsim.scenario.run import run_scenario
    from mptcpsim.sim.loop import EventBudgetExceeded

    pcap = captures is not None
    try:
        with (
            Interrupts() as interrupts,
            directory,
            Progress("building the network", scenario.duration) as progress,
        ):
            summary = run_scenario(
                scenario,
                directory,
                pcap=pcap,
                merged=captures is Pcap.MERGED,
                snaplen=snaplen,
                dsn=dsn or pcap,
                roundtrip=roundtrip,
                progress=progress,
                stop=interrupts.stop,
            )
            if figures and not interrupts.stop.asked:
                progress.begin("drawing the figures")
                stalled = any(flow.stalls for flow in summary.flows)
                drawn = _draw(directory.path, scenario.title, summary, dsn or (pcap and stalled))
            else:
                drawn = not interrupts.stop.asked
    except PluginFailure as error:
        _fail(f"{error}; nothing was written", EXIT_INPUT)
    except EventBudgetExceeded as error:
        _fail(f"{error}; nothing was written", EXIT_BUDGET)
    except IntegrityError as error:
        _fail(f"the bytes delivered are not those sent: {error}; nothing was written", EXIT_INTEGRITY)
    meta = read_json(directory.final / META)
    console = Terminal()
    found = summary.as_dict()
    for table in tables(found):
        console.show(table)
    stalls = stall_lines(found)
    for line in [*pause_lines(found), *stalls]:
        console.print(line, highlight=False, soft_wrap=True)
    if stalls and not (dsn or pcap):
        console.print(
            "To see it, run again with --dsn (data sequence numbers over time) or --pcap (that and captures)."
        )
    console.print(speed_line(meta, summary.duration_s), highlight=False)
    console.print(f"Results: {directory.final}", highlight=False, soft_wrap=True)
    if not summary.intact:
        broken = "; ".join(f"flow {f.name!r}: {f.integrity}" for f in summary.flows if f.integrity != "ok")
        _fail(f"the bytes delivered are not those sent: {broken}", EXIT_INTEGRITY)
    if not drawn:
        ended = meta.get("ended", "interrupted when all was simulated")
        _fail(
            f"{ended}; what was measured is in {directory.final}; `mptcpsim plot {directory.final}` draws it",
            EXIT_INTERRUPTED,
        )
    if failures := failure_lines(found):
        _fail("; ".join(failures), EXIT_FAILED)


def _draw(directory: Path, title: str, summary: Summary, dsn: bool) -> bool:
    """Draw the figures of a run; return False, and leave none, if that is interrupted."""
    from mptcpsim.results.figures import draw_figures

    try:
        draw_figures(directory, title)
        if dsn:
            from mptcpsim.results.figures_dsn import draw_dsn

            draw_dsn(directory, summary.as_dict())
    except KeyboardInterrupt:
        for picture in (*directory.glob("*.png"), *directory.glob("*.pdf")):
            picture.unlink()
        return False
    return True


app.command(epilog="Example: [bold]mptcpsim route experiments/demo/scenario.toml bob bob server[/bold]")(
    route
)
app.command(epilog="Example: [bold]mptcpsim lint experiments/demo/scenario.toml[/bold]")(lint)


# --- plot, list ---------------------------------------------------------------------------------


@app.command(
    epilog="Example: [bold]mptcpsim plot runs/slow[/bold], "
    "or [bold]mptcpsim plot --topology scenario.toml --out pictures[/bold]"
)
def plot(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY",
            help="A directory that `mptcpsim run` wrote; with --topology also a scenario, or a graph "
            "(GraphML, GML, node-link JSON).",
        ),
    ],
    topology: Annotated[
        bool,
        typer.Option("--topology", help="Draw the topology instead, with the paths of the subflows on it."),
    ] = False,
    dsn: Annotated[
        bool,
        typer.Option(
            "--dsn", help="Draw data sequence numbers over time instead; the run had --dsn or --pcap."
        ),
    ] = False,
    start: Annotated[float | None, typer.Option("--from", help="With --dsn: from this second on.")] = None,
    end: Annotated[float | None, typer.Option("--to", help="With --dsn: up to this second.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the topology goes; by default the run directory, else the current one."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the scenario first, as for `run`."),
    ] = None,
) -> None:
    """Draw the figures of a run again, from its stored series; or the topology."""
    from mptcpsim.results.rundir import RunDirectoryError
    from mptcpsim.scenario.errors import ScenarioError

    if not topology and (out is not None or changes):
        _fail("--out and --set are for --topology: add that, or leave them out", EXIT_INPUT)
    if topology and dsn:
        _fail("--topology and --dsn are two pictures: ask for one of them", EXIT_INPUT)
    _check_span(start, end, dsn)
    written = out or source
    try:
        if topology:
            from mptcpsim.results.directories import made
            from mptcpsim.results.figures_topology import draw_topology
            from mptcpsim.scenario.picture import picture_of

            with Progress("drawing"):
                drawn = picture_of(source, changes or [])
                written = out or (source if source.is_dir() else Path())
                with made(written):
                    picture = draw_topology(drawn, written)
            print(picture)
        elif dsn:
            from mptcpsim.results.figures_dsn import draw_dsn
            from mptcpsim.results.rundir import read_json

            with Progress("drawing"):
                pictures = draw_dsn(source, read_json(source / "summary.json"), start, end)
            for picture in pictures:
                print(picture)
        else:
            _draw_again(source)
    except (ScenarioError, RunDirectoryError) as error:
        _fail(str(error), EXIT_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(f"{written}: cannot be written: {error.strerror}; check its permissions", EXIT_INPUT)


def _check_span(start: float | None, end: float | None, dsn: bool) -> None:
    """Refuse times of a figure between which nothing lies."""
    given = {"--from": start, "--to": end}
    for option, value in given.items():
        if value is None:
            continue
        if not dsn:
            _fail(f"{option} is for --dsn: add that, or leave it out", EXIT_INPUT)
        if not (0 <= value < float("inf")):
            _fail(f"{option} {value:g} is no time of a run: write seconds from 0 on", EXIT_INPUT)
    if start is not None and end is not None and start >= end:
        _fail(
            f"--from {start:g} --to {end:g} shows nothing: the first has to be less than the second",
            EXIT_INPUT,
        )


def _draw_again(directory: Path) -> None:
    from mptcpsim.results.figures import draw_figures
    from mptcpsim.results.rundir import META, read_json

    summary = read_json(directory / "summary.json")
    with Progress("drawing"):
        pictures = draw_figures(directory, str(summary.get("scenario", "")))
    ended = read_json(directory / META).get("ended") if (directory / META).exists() else None
    if ended:
        print(f"mptcpsim: {directory}: the run was {ended}", file=sys.stderr)
    for picture in pictures:
        print(picture)


@app.command("list", epilog="Example: [bold]mptcpsim list congestion[/bold]")
def list_(
    family: Annotated[
        str | None,
        typer.Argument(
            help="Only this family, such as congestion; or the keys of this table, such as tcp; or metrics."
        ),
    ] = None,
) -> None:
    """Show every plug-in with its parameters, defaults and ranges, and the profiles of MPTCP.

    With the name of a table, tcp, mptcp or link, show its keys: values, default, help and source;
    with "metrics" show the time series of a run.
    """
    from mptcpsim.plugins import families
    from mptcpsim.results.report import plugin_table
    from mptcpsim.results.terminal import Terminal
    from mptcpsim.scenario.catalogue import load_plugins
    from mptcpsim.suggest import did_you_mean

    load_plugins()
    known = families()
    if family is not None and family not in (names := [*known, PROFILE, *KEYS, METRICS]):
        _fail(f"there is no family of plug-ins called {family!r}; {did_you_mean(family, names)}", EXIT_INPUT)
    console = Terminal()
    for name, plugins in known.items():
        if family in (None, name):
            console.show(plugin_table(name, plugins))
    if family in (None, PROFILE):
        console.show(_profiles())
    if family in KEYS:
        console.show(_keys(family))
    if family == METRICS:
        console.show(_metrics())


def _table(title: str, *columns: str) -> Table:
    """Return an empty table whose first column is not wrapped."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    return table


def _keys(name: str) -> Table:
    """Return a table of the keys of a scenario's table."""
    from mptcpsim.scenario.reference import TABLES, reference

    table = _table(f"keys of {name}", "key", "values", "default", "what it is for", "source")
    for entry in reference(TABLES[name]):
        table.add_row(*entry)
    return table


def _metrics() -> Table:
    """Return a table of the time series: those that every run has, and those that output.record names."""
    from mptcpsim.measure.metrics import MPTCP_FIELDS, TABLES, TCP_FIELDS

    table = _table("time series of a run", "name", "of", "what it is")
    for scope, metrics in TABLES.items():
        for metric in metrics:
            table.add_row(metric.name, scope, metric.words)
    for scope, fields in (("subflow, if recorded", TCP_FIELDS), ("connection, if recorded", MPTCP_FIELDS)):
        for name, words in fields.items():
            table.add_row(name, scope, words)
    return table


def _switch_value(key: str, value: Any) -> str:
    """Return the value of a switch as a scenario has it; those that are times have a unit."""
    from mptcpsim.core.mptcp_config import MptcpConfig
    from mptcpsim.settings import TIME, settings_of
    from mptcpsim.units import format_time

    setting = settings_of(MptcpConfig).get(key)
    if setting is not None and setting.kind == TIME and value:
        return format_time(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _profiles() -> Table:
    """Return a table of the profiles of MPTCP: a sentence each, switches, and where those are known from."""
    from mptcpsim.core.mptcp.profiles import PROFILES, SUMMARIES, TABLE

    table = _table(PROFILE, "name", "what it is")
    for name in PROFILES:
        table.add_row(name, SUMMARIES[name])
        for switch in TABLE[name]:
            table.add_row(f"  {switch.key}", f"{_switch_value(switch.key, switch.value)} - {switch.known}")
    return table
