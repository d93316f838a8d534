"""A copy of the package with something put in, and runs of scenarios in it: what is done to add an option."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mptcpsim

PACKAGE = Path(mptcpsim.__file__).resolve().parent

#: What is inserted into each file, and the text that it is inserted before.
Insertions = Mapping[str, Sequence[tuple[str, str]]]


def patch(directory: Path, insertions: Insertions) -> Path:
    """Copy the package's sources into a folder, put the insertions in, and return the folder."""
    copy = directory / "mptcpsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name, pairs in insertions.items():
        source = (copy / name).read_text(encoding="utf-8")
        for anchor, text in pairs:
            assert source.count(anchor) == 1, f"{name} does not contain once: {anchor!r}"
            source = source.replace(anchor, text + anchor)
        (copy / name).write_text(source, encoding="utf-8")
    return directory


def run(
    package: Path, scenario: str, out: Path, *options: str
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run a scenario with the package in a folder; return the run's directory and the ended process."""
    file = out.with_suffix(".toml")
    file.write_text(scenario, encoding="utf-8")
    command = [sys.executable, "-m", "mptcpsim", "run", str(file), "--out", str(out), "--pcap", "merged"]
    done = subprocess.run(
        [*command, *options],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return out, done


def capture(out: Path) -> bytes:
    """Return the capture of a run."""
    (path,) = out.glob("*.pcapng")
    return path.read_bytes()


def segments(out: Path, *fields: str) -> list[dict[str, str]]:
    """Return these fields of each TCP segment in the capture of a run, as tshark reads them."""
    (path,) = out.glob("*.pcapng")
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    read = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [dict(zip(fields, line.split("|"), strict=True)) for line in read.splitlines()]


def summary(out: Path) -> dict[str, Any]:
    """Return ``summary.json`` of a run."""
    read: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return read
