"""Proof that the machine can fail: faults put into the core, each of which it must find.

Each fault is a textual change in a copy of the package without its extension
modules, so that the proof is the same whether the hot modules are compiled or not. On the
copy runs a test of the suite, which must fail with the name of the invariant.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import mptcpsim

TESTS = Path(__file__).resolve().parent
PACKAGE = Path(mptcpsim.__file__).resolve().parent


class Mutation(NamedTuple):
    """A fault, as (module, text that stands there once, its replacement), and who notices it."""

    changes: tuple[tuple[str, str, str], ...]
    invariant: str
    test: str = "test_machine.py::test_tcp_machine[RackMachine]"


NO_TRIMMING = (
    "core/receiver.py",
    "            left = nxt\n        if left >= right:\n",
    "        if left >= right:\n",
)

MUTATIONS = {
    "persist timer not armed": Mutation(
        changes=(
            (
                "core/window_probe.py",
                "        self.at = now + interval\n        sender.tcp.wake_by(self.at)\n",
                "        self.at = NEVER\n",
            ),
        ),
        invariant="data pending without a timer",
    ),
    "persist timer not armed again": Mutation(
        changes=(
            (
                "core/window_probe.py",
                "        self.shift += 1\n        self._arm(now)\n",
                "        self.shift += 1\n",
            ),
        ),
        invariant="data pending without a timer",
    ),
    "right edge not checked": Mutation(
        changes=(("core/receiver.py", "        if nxt + (field << scale) < edge:\n", "        if False:\n"),),
        invariant="right edge moved left",
    ),
    "duplicates delivered": Mutation(changes=(NO_TRIMMING,), invariant="were delivered where byte"),
    "duplicates delivered, and no check of the offset": Mutation(
        changes=(
            NO_TRIMMING,
            ("core/connection.py", "        if offset != self.delivered:\n", "        if False:\n"),
        ),
        invariant="delivered is no prefix of written",
    ),
    "window of the peer not obeyed": Mutation(
        changes=(("core/sender.py", "            usable = edge - nxt\n", "            usable = length\n"),),
        invariant="data beyond the right edge",
    ),
    "retransmission timer not restarted": Mutation(
        changes=(
            (
                "core/sender.py",
                "        self.tcp.wake_by(self.rto_at)\n        self._probe_stale = True\n",
                "        self.rto_at = NEVER\n        self._probe_stale = True\n",
            ),
        ),
        invariant="data in flight without a timer",
    ),
    "memory of the receiver not bounded": Mutation(
        changes=(
            ("core/receiver.py", "        if self.limit + self.buffer < right:\n", "        if False:\n"),
        ),
        invariant="receive memory unbounded",
        test="test_machine.py",
    ),
}


def mutate(mutation: Mutation, directory: Path) -> None:
    """Copy the package's sources to ``directory`` and put the fault in."""
    copy = directory / "mptcpsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    for name, old, new in mutation.changes:
        module = copy / name
        source = module.read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{name} does not contain once: {old!r}"
        module.write_text(source.replace(old, new), encoding="utf-8")


def run(test: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a test of the suite on the package in ``directory``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "MPTCPSIM_EXPECT": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(TESTS / test)]
    return subprocess.run(
        [*command, "--hypothesis-profile=first", "-o", "addopts="],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_machine_finds(name: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[name]
    mutate(mutation, tmp_path)
    result = run(mutation.test, tmp_path)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    # pytest begins the lines of an exception with "E"; the invariant's name stands in the source, too.
    raised = [line for line in result.stdout.splitlines() if line.startswith("E ")]
    assert any(mutation.invariant in line for line in raised), result.stdout
