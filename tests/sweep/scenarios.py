"""Short sweeps, and the command line that carries them out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from mptcpsim.cli import app
from tests.paths import ROOT

BASE = """\
title = "Short transfers"
duration = "3s"
[hosts.A]
interfaces = { A1 = "192.168.0.10/24" }
[hosts.B]
interfaces = { B1 = "192.168.0.20/24" }
[switches.S]
[[links]]
name = "a"
ends = ["A:A1", "S"]
rate = "10Mbps"
delay = "5ms"
loss = 0.01
[[links]]
name = "b"
ends = ["S", "B:B1"]
rate = "5Mbps"
queue = 20
[[flows]]
name = "bulk"
client = "A"
server = "B"
bytes = "100kB"
"""

#: 2 x 3 points, 2 runs each.
GRID = """
[sweep]
replicates = 2
[sweep.grid]
"links.a.delay" = ["5ms", "20ms"]
"links.b.rate" = ["1Mbps", "2Mbps", "4Mbps"]
"""

#: The environment of a program that runs this very source tree.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def written(directory: Path, sweep: str = GRID, base: str = BASE, name: str = "short.toml") -> Path:
    """Write a scenario into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_text(base + sweep, encoding="utf-8")
    return file


def sweep(*arguments: str | Path) -> Result:
    """Call ``mptcpsim sweep`` in this process."""
    return CliRunner().invoke(app, ["sweep", *(str(argument) for argument in arguments)])


def run(scenario: Path, out: Path, *arguments: str, jobs: int = 2) -> Result:
    """Carry out a campaign without figures."""
    return sweep("run", scenario, "--out", out, "--jobs", str(jobs), "--no-figures", *arguments)


def program(*arguments: str | Path) -> list[str]:
    """Return the command that calls ``mptcpsim sweep`` as a program."""
    return [sys.executable, "-m", "mptcpsim", "sweep", *(str(argument) for argument in arguments)]


def start(*arguments: str | Path, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``mptcpsim sweep`` as a program, with more in its environment."""
    return subprocess.Popen(
        program(*arguments),
        env={**ENVIRONMENT, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """What a shell starts in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def table(campaign: Path, *arguments: str) -> str:
    """Return the exported table of a campaign."""
    out = campaign.parent / f"{campaign.name}.csv"
    result = sweep("export", campaign, "--format", "csv", "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    return out.read_text(encoding="utf-8")
