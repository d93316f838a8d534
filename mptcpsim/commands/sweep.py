"""``mptcpsim sweep``: many runs of one scenario, and what they amount to."""

from __future__ import annotations

import typer

from mptcpsim.commands.sweep_results import export, merge, plot, repro, show, status
from mptcpsim.commands.sweep_run import run

app = typer.Typer(
    name="sweep",
    help="Run a scenario for many values of its keys, on all cores or on a cluster.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

app.command(
    epilog="Example: [bold]mptcpsim sweep run experiments/heterogeneous-rtt/scenario.toml --jobs 2 "
    "--out runs/rtt[/bold]"
)(run)
app.command()(status)
app.command()(show)
app.command(epilog="Example: [bold]mptcpsim sweep repro runs/rtt/3f62a0c1 --pcap[/bold]")(repro)
app.command(epilog="Example: [bold]mptcpsim sweep export runs/rtt --format csv --out rtt.csv[/bold]")(export)
app.command(epilog="Example: [bold]mptcpsim sweep merge runs/rtt runs/rtt-2 runs/rtt-3[/bold]")(merge)
app.command()(plot)
