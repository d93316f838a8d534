"""The comparison of coverage that ends ``make coverage``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mptcpsim
from tests import coverage_table
from tests.coverage_table import LEAST, MARGIN, STORED, Share

PACKAGE = Path(mptcpsim.__file__).resolve().parent


def report(**files: tuple[int, int]) -> dict[str, Any]:
    """Return a report of modules, each with statements and executed ones; ``__`` stands for a slash."""
    return {
        "files": {
            f"mptcpsim/{name.replace('__', '/')}.py": {
                "summary": {"num_statements": statements, "covered_lines": executed}
            }
            for name, (statements, executed) in files.items()
        }
    }


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    """Return a function that compares a report with stored values and returns the exit status."""

    def run(measured: dict[str, Any], stored: str, *options: str) -> int:
        (tmp_path / "report.json").write_text(json.dumps(measured))
        (tmp_path / "stored.toml").write_text(stored)
        arguments = [str(tmp_path / "report.json"), "--stored", str(tmp_path / "stored.toml"), *options]
        return coverage_table.main(arguments)

    return run


def test_modules_are_summed_by_folder() -> None:
    measured = coverage_table.shares(report(units=(10, 9), core__tcp__rtt=(30, 30), core__tcp__prr=(10, 0)))
    assert measured == {".": Share(10, 9), "core/tcp": Share(40, 30)}


@pytest.mark.parametrize(
    ("executed", "status"), [(80, 0), (81, 0), (79, 1)], ids=["the same", "more", "less"]
)
def test_no_folder_falls_below_its_stored_value(compare: Any, executed: int, status: int) -> None:
    assert compare(report(lint__pf=(100, executed)), "lint = 80") == status


@pytest.mark.parametrize("folder", ["core__tcp__rtt", "codec__packet", "net__link"])
@pytest.mark.parametrize(("executed", "status"), [(90, 0), (89, 1)])
def test_the_packet_path_is_covered_whatever_is_stored(
    compare: Any, folder: str, executed: int, status: int
) -> None:
    name = folder.rpartition("__")[0].replace("__", "/")
    assert compare(report(**{folder: (100, executed)}), f'"{name}" = 50') == status


def test_a_folder_without_a_value_and_a_value_without_a_folder_are_told(
    compare: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(report(lint__pf=(100, 100)), "route = 80") == 1
    printed = capsys.readouterr()
    assert "new: store its value" in printed.out
    assert "not measured" in printed.out
    assert "--store" in printed.err


def test_values_are_stored_with_a_margin_and_then_hold(
    compare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = report(units=(1000, 912), net__link=(1000, 910))
    assert compare(measured, "", "--store") == 0
    stored = tomllib.loads((tmp_path / "stored.toml").read_text())
    assert stored == {".": 90, "net": 90}
    assert 91.2 - MARGIN < 91
    assert compare(measured, (tmp_path / "stored.toml").read_text()) == 0


def test_each_folder_of_the_package_has_a_value() -> None:
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    stored = tomllib.loads(STORED.read_text(encoding="utf-8"))
    assert set(stored) == folders
    assert all(stored[folder] >= LEAST.get(folder.split("/")[0], 0) for folder in stored)
