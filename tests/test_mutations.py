"""Proof that the machine can fail: three faults put into the core, each of which it must find.

Each fault is a textual change of one module in a copy of the package without its extension
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
    """A fault: in ``module`` every ``old`` text becomes the ``new`` one; ``invariants`` notice."""

    module: str
    changes: tuple[tuple[str, str], ...]
    test: str
    invariant: str


MUTATIONS = {
    "persist timer not armed again": Mutation(
        "core/window_probe.py",
        (
            (
                "        self.at = now + interval\n        sender.tcp.wake_by(self.at)\n",
                "        self.at = NEVER\n",
            ),
        ),
        "test_machine.py::test_tcp_machine[RackMachine]",
        "data pending without a timer",
    ),
    "right edge not checked": Mutation(
        "core/receiver.py",
        (("        if nxt + (field << scale) < edge:\n", "        if False:\n"),),
        "test_machine.py::test_tcp_machine[RackMachine]",
        "right edge moved left",
    ),
    "duplicates delivered": Mutation(
        "core/receiver.py",
        (("            left = nxt\n        if left >= right:\n", "        if left >= right:\n"),),
        "test_machine.py::test_tcp_machine[RackMachine]",
        "were delivered where byte",
    ),
}


def mutate(mutation: Mutation, directory: Path) -> None:
    """Copy the package's sources to ``directory`` and put the fault in."""
    copy = directory / "mptcpsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    module = copy / mutation.module
    source = module.read_text(encoding="utf-8")
    for old, new in mutation.changes:
        assert source.count(old) == 1, f"{mutation.module} does not contain once: {old!r}"
        source = source.replace(old, new)
    module.write_text(source, encoding="utf-8")


def run(test: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a test of the suite on the package in ``directory``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "MPTCPSIM_EXPECT": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / test)]
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
    assert mutation.invariant in result.stdout, result.stdout
