"""``core/tcp`` is built and used alone: a copy of the package without MPTCP runs a transfer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mptcpsim

PACKAGE = Path(mptcpsim.__file__).resolve().parent
PROGRAM = Path(__file__).with_name("alone.py").read_text(encoding="utf-8")

#: What TCP stands on: the ground floor, the plug-ins and their watch, one family of them.
GROUND = ("__init__.py", "units.py", "suggest.py", "guard.py", "settings.py", "plugins.py")
FOLDERS = ("core", "core/tcp", "congestion")


def copy_of_tcp(directory: Path) -> Path:
    """Copy TCP and what it stands on, as sources, and return the directory of the package."""
    package = directory / "mptcpsim"
    for folder in FOLDERS:
        (package / folder).mkdir(parents=True)
        for path in (PACKAGE / folder).glob("*.py"):
            shutil.copy(path, package / folder)
    for name in GROUND:
        shutil.copy(PACKAGE / name, package)
    (package / "core" / "stack.py").unlink()
    return package


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the transfer on the copy; ``-S`` passes over an editable installation, which would fill gaps."""
    libraries = [path for path in sys.path if path.endswith("-packages")]
    return subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(libraries)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_transfer_over_tcp_alone(tmp_path: Path) -> None:
    package = copy_of_tcp(tmp_path)
    assert not (package / "core" / "mptcp").exists()
    done = run(tmp_path)
    assert done.stdout.splitlines() == [
        "client: 100000 bytes delivered, 1 sent again, closed",
        "server: 100000 bytes delivered, 0 sent again, closed",
        f"with {package / '__init__.py'}",
    ], done.stderr


@pytest.mark.parametrize(
    ("path", "line", "missed"),
    [
        ("core/tcp/sender.py", "from mptcpsim.core.mptcp.mappings import Mappings", "mptcpsim.core.mptcp"),
        ("core/segment.py", "import mptcpsim.core.stack", "mptcpsim.core.stack"),
        ("core/tcp/connection.py", "from mptcpsim.codec import tcp", "mptcpsim.codec"),
    ],
)
def test_whatever_lies_above_is_missed(tmp_path: Path, path: str, line: str, missed: str) -> None:
    changed = copy_of_tcp(tmp_path) / path
    changed.write_text(f"{changed.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(f"ModuleNotFoundError: No module named '{missed}'\n")
