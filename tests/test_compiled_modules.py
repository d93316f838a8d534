"""Which modules are compiled: those that are meant, no more and no fewer.

The patterns in pyproject.toml choose what ``make compiled`` builds. A pattern that misses a folder
leaves its modules interpreted, and nothing but the speed would show it. So what is meant is written
down here once more, by folder and without patterns, and compared with what setup.py chooses and with
what is built.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import mptcpsim
from tests.conftest import compiled_modules

PACKAGE = Path(mptcpsim.__file__).resolve().parent
ROOT = PACKAGE.parent

#: Folders that are compiled, and of each the modules that stay interpreted: not on the packet path.
COMPILED_FOLDERS: dict[str, tuple[str, ...]] = {
    "core": (),
    "core/tcp": ("info.py",),
    "core/mptcp": ("info.py",),
    "congestion": (),
    "schedulers": (),
    "qdiscs": (),
    "codec": (),
    "net": ("paths.py", "topology.py", "tracks.py"),
}

#: Folders that stay interpreted, and of each the modules that are compiled.
INTERPRETED_FOLDERS: dict[str, tuple[str, ...]] = {
    ".": ("plugins.py",),
    "commands": (),
    "freebsd": (),
    "lint": (),
    "measure": (),
    "middleboxes": (),
    "pathmanagers": (),
    "results": (),
    "route": (),
    "scenario": (),
    "sim": ("heapq_loop.py", "loop.py"),
    "sweep": (),
    "topologies": (),
    "wire": (),
}


def modules_of(folder: str) -> set[str]:
    """Return the modules in a folder of the package, those in folders below it and ``__init__`` excepted."""
    names = (path.name for path in (PACKAGE / folder).glob("*.py") if path.name != "__init__.py")
    return {(Path(folder) / name).as_posix() for name in names}


def meant() -> set[str]:
    """Return the modules that are meant to be compiled, relative to the package."""
    chosen: set[str] = set()
    for folder, exceptions in COMPILED_FOLDERS.items():
        chosen |= modules_of(folder) - {f"{folder}/{name}" for name in exceptions}
    for folder, exceptions in INTERPRETED_FOLDERS.items():
        chosen |= {(Path(folder) / name).as_posix() for name in exceptions}
    return chosen


def setup_script() -> Any:
    """Import setup.py, which does nothing but define its functions then."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def selected(pyproject: Path) -> set[str]:
    """Return the modules that setup.py chooses by the patterns in ``pyproject``, relative to the package."""
    return {name.removeprefix("mptcpsim/") for name in setup_script().hot_modules(pyproject)}


def built() -> set[str]:
    """Return the modules, relative to the package, that Python imports from an extension module."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name == "__init__.py":
            continue
        spec = importlib.util.find_spec(".".join(path.relative_to(ROOT).with_suffix("").parts))
        assert spec is not None
        if str(spec.origin).endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
            found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_each_folder_is_compiled_or_not() -> None:
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    decided = [*COMPILED_FOLDERS, *INTERPRETED_FOLDERS]
    assert sorted(folders) == sorted(decided), "say of each folder with modules whether it is compiled"


def test_each_exception_exists() -> None:
    for folder, exceptions in (COMPILED_FOLDERS | INTERPRETED_FOLDERS).items():
        assert {(Path(folder) / name).as_posix() for name in exceptions} <= modules_of(folder)


def test_the_patterns_choose_what_is_meant() -> None:
    assert sorted(selected(ROOT / "pyproject.toml")) == sorted(meant())


def test_what_is_built_is_what_is_meant() -> None:
    """All of it or nothing: a half of the modules compiled is what a forgotten pattern looks like.

    ``MPTCPSIM_EXPECT=compiled``, as ``make compiled`` sets it, refuses to start where nothing is built.
    """
    assert sorted(built()) == (sorted(meant()) if compiled_modules() else [])


@pytest.mark.parametrize(
    ("mutation", "lost", "gained"),
    [
        (("mptcpsim/core/**/*.py", "mptcpsim/core/*.py"), "core/tcp/sender.py", None),
        (("mptcpsim/core/**/*.py", "mptcpsim/core/tcp/*.py"), "core/mptcp/connection.py", None),
        (('"mptcpsim/net/paths.py",', ""), None, "net/paths.py"),
        (("mptcpsim/sim/loop.py", "mptcpsim/sim/*.py"), None, "sim/apps.py"),
    ],
    ids=["a pattern that is not recursive", "one folder only", "a forgotten exception", "too wide"],
)
def test_a_wrong_pattern_is_found(
    tmp_path: Path, mutation: tuple[str, str], lost: str | None, gained: str | None
) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count(mutation[0]) == 1
    (tmp_path / "pyproject.toml").write_text(text.replace(*mutation), encoding="utf-8")
    (tmp_path / "mptcpsim").symlink_to(PACKAGE)
    chosen = selected(tmp_path / "pyproject.toml")
    assert chosen != meant()
    assert lost is None or lost in meant() - chosen
    assert gained is None or gained in chosen - meant()
