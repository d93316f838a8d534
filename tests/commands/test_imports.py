"""What a command does not import or do: heavy libraries take more time than a small run."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mptcpsim import cli
from mptcpsim.sim.garbage import RARELY
from tests.paths import TESTS

ROOT = TESTS.parent

TINY = """
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
[[flows]]
client = "a"
server = "b"
bytes = "100kB"
"""

PROGRAM = """
import json, sys
from mptcpsim.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

#: Never needed by one run, whatever it writes; `pandas` is imported by pyarrow if one lets it.
NEVER = {
    "pandas",
    "scipy",
    "duckdb",
    "dask",
    "distributed",
    "matplotlib.pyplot",
    "pyarrow.dataset",
    "asyncio",
}


def modules(directory: Path, *arguments: str) -> set[str]:
    """Return the modules in a process after a command."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a small scenario."""
    path = tmp_path_factory.mktemp("imports")
    (path / "tiny.toml").write_text(TINY)
    return path


def test_a_run_without_figures(directory: Path) -> None:
    found = modules(directory, "run", "tiny.toml", "--out", "plain", "--no-figures", "--dsn")
    assert not found & (NEVER | {"networkx", "matplotlib"})
    assert "pyarrow" in found, "what is asked after is what was imported"
    assert (directory / "plain" / "series.parquet").exists()
    assert (directory / "plain" / "segments.parquet").exists()


def test_a_run_with_figures(directory: Path) -> None:
    assert not modules(directory, "run", "tiny.toml", "--out", "drawn", "--dsn") & NEVER
    assert (directory / "drawn" / "cwnd.pdf").exists()
    assert not modules(directory, "plot", "drawn") & (NEVER | {"networkx", "simpy"})


def test_python_looks_for_garbage_rarely_while_a_command_runs(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a fifth of the time in which figures are drawn otherwise."""
    before, seen = gc.get_threshold(), []

    def draw(*arguments: object) -> bool:
        seen.append(gc.get_threshold())
        return True

    monkeypatch.setattr(cli, "_draw", draw)
    monkeypatch.chdir(directory)
    done = CliRunner().invoke(cli.app, ["run", "tiny.toml", "--out", "rarely"])
    assert done.exit_code == 0, done.output
    assert seen == [RARELY]
    assert gc.get_threshold() == before


def test_help_and_version(directory: Path) -> None:
    for argument in ("--help", "--version"):
        heavy = {"networkx", "matplotlib", "numpy", "pyarrow", "pydantic", "simpy", "tomlkit"}
        assert not modules(directory, argument) & (NEVER | heavy)


def test_list(directory: Path) -> None:
    assert not modules(directory, "list") & (NEVER | {"networkx", "matplotlib", "pyarrow", "simpy"})


def test_a_sweep(directory: Path) -> None:
    (directory / "sweep.toml").write_text(TINY + '[sweep.grid]\n"links.link.queue" = [10, 20]\n')
    found = modules(directory, "sweep", "run", "sweep.toml", "--out", "sweep", "--jobs", "1", "--no-figures")
    assert not found & {"pandas", "scipy", "duckdb", "dask", "distributed", "matplotlib"}
