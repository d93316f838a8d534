"""Campaigns whose runs go on only when a test lets them, however fast the machine is.

Each run of a gated scenario waits, once it has begun, until it can take a pass out of a directory.
So a test knows how many runs can have ended, and that every worker has one in hand.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.sweep.scenarios import BASE

#: Names the directory of the passes; without it nothing waits.
VARIABLE = "MPTCPSIM_TEST_GATE"

PLUGIN = f"""\
import os
import time

from mptcpsim import Parameter, register
from mptcpsim.congestion.reno import Reno


def take_a_pass():
    gate = os.environ.get("{VARIABLE}", "")
    while os.path.isdir(gate):
        for name in os.listdir(gate):
            try:
                os.unlink(os.path.join(gate, name))
            except FileNotFoundError:
                continue
            return
        time.sleep(0.01)


@register
class Gated(Reno):
    NAME = "gated"
    SUMMARY = "Reno that waits for a test, then grows by a share of what is acknowledged"
    PARAMETERS = (Parameter("share", 1.0, "the share"),)

    def configure(self, values):
        self.share = values["share"]
        self.waited = False

    def on_ack(self, acked, now, srtt, in_flight):
        if not self.waited:
            self.waited = True
            take_a_pass()
        super().on_ack(int(acked * self.share), now, srtt, in_flight)
"""

#: A scenario whose sender asks for a pass; the plug-in is a file beside it.
GATED = BASE.replace('duration = "3s"', 'duration = "3s"\nplugins = ["gated.py"]').replace(
    "[hosts.A]", '[hosts.A]\ntcp = { congestion = { name = "gated" } }'
)


class Gate:
    """A directory of passes."""

    def __init__(self, home: Path) -> None:
        """Make a closed gate, and put the plug-in where a scenario in ``home`` finds it."""
        (home / "gated.py").write_text(PLUGIN)
        self._passes = home / "gate"
        self._given = 0
        self.environment = {VARIABLE: str(self._passes)}
        self.close()

    def close(self) -> None:
        """Let no run go on without a pass."""
        self._passes.mkdir()

    def let(self, runs: int) -> None:
        """Let some more runs go on."""
        for _ in range(runs):
            self._given += 1
            (self._passes / str(self._given)).touch()

    def open(self) -> None:
        """Let all runs go on."""
        shutil.rmtree(self._passes)
