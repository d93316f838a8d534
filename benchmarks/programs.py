"""W7 and W8: the program as a user starts it, in a process of its own, measured from outside."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from report import Figures

TINY = """\
title = "Tiny"
duration = "1s"
[hosts.a]
interfaces = { eth0 = "10.0.0.1/24" }
[hosts.b]
interfaces = { eth0 = "10.0.0.2/24" }
[[links]]
name = "link"
ends = ["a:eth0", "b:eth0"]
rate = "10Mbps"
delay = "5ms"
[[flows]]
client = "a"
server = "b"
bytes = "100kB"
"""

CAMPAIGN = """\
title = "Short transfers"
duration = "2s"
[hosts.a]
interfaces = {{ eth0 = "10.0.0.1/24" }}
[hosts.b]
interfaces = {{ eth0 = "10.0.0.2/24" }}
[switches.s]
[[links]]
name = "access"
ends = ["a:eth0", "s"]
rate = "100Mbps"
delay = "1ms"
[[links]]
name = "core"
ends = ["s", "b:eth0"]
rate = "20Mbps"
loss = 0.001
[[flows]]
client = "a"
server = "b"
bytes = "3MB"
[sweep]
replicates = 5
[sweep.grid]
"links.core.delay" = {{ from = "1ms", to = "20ms", steps = {delays} }}
"links.core.queue" = {{ from = 10, to = 200, steps = {queues} }}
"""


def timed(arguments: Sequence[str], directory: Path) -> Figures:
    """Run ``python -m mptcpsim`` to its end; return wall and user CPU seconds and peak memory.

    Raises:
        RuntimeError: it ended with an error.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mptcpsim", *arguments],
        cwd=directory,
        env=os.environ | {"MPLCONFIGDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - begun
    if done.returncode != 0:
        raise RuntimeError(f"mptcpsim {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall s": wall, "user CPU s": usage.ru_utime - before, "peak MiB": usage.ru_maxrss / 1024}


def start_up(figures: bool) -> Figures:
    """Return what a tiny run takes, until all that it writes is on disk.

    A first run, which is not measured, has the modules compiled to bytecode and fonts looked up.

    Raises:
        RuntimeError: it wrote figures when none were asked for, or none when they were.
    """
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "tiny.toml").write_text(TINY, encoding="utf-8")
        arguments = ["run", "tiny.toml", "--figures" if figures else "--no-figures", "--out"]
        timed([*arguments, "first"], home)
        cost = timed([*arguments, "second"], home)
        if any((home / "second").rglob("*.png")) != figures:
            raise RuntimeError("the figures are not as asked for")
    return cost


def sweep(runs: int, jobs: int) -> Figures:
    """Return what a campaign of short runs takes on ``jobs`` processes, start and end included.

    Raises:
        RuntimeError: it did not carry out all runs.
    """
    points = max(1, runs // 5)
    delays = min(20, points)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        text = CAMPAIGN.format(delays=delays, queues=max(1, points // delays))
        (home / "sweep.toml").write_text(text, encoding="utf-8")
        command = ["sweep", "run", "sweep.toml", "--out", "campaign", "--jobs", str(jobs), "--no-figures"]
        cost = timed(command, home)
        exported = ["sweep", "export", "campaign", "--out", "runs.csv"]
        timed(exported, home)
        rows = len((home / "runs.csv").read_text(encoding="utf-8").splitlines()) - 1
    expected = 5 * delays * max(1, points // delays)
    if rows != expected:
        raise RuntimeError(f"{rows} of {expected} runs are in the campaign")
    return {
        "ms/run": cost["wall s"] / rows * 1000,
        "simulated/wall": 2 * rows / cost["wall s"],
        "peak MiB": cost["peak MiB"],
        "wall s": cost["wall s"],
        "runs": rows,
    }
