"""Builds the hot modules with mypyc when MPTCPSIM_COMPILE=1; otherwise the package is pure Python.

``pyproject.toml`` says everything else; the patterns of the hot modules are in its ``[tool.mptcpsim]``.
"""

import os
import tomllib
from pathlib import Path

from setuptools import setup

PYPROJECT = Path(__file__).resolve().parent / "pyproject.toml"


def hot_modules(pyproject: Path = PYPROJECT) -> list[str]:
    """Return the modules to compile, relative to the project's directory, sorted."""
    root = pyproject.parent
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["mptcpsim"]
    chosen = {path for pattern in settings["compiled"] for path in root.glob(pattern)}
    chosen -= {root / name for name in settings["interpreted"]}
    return sorted(str(path.relative_to(root)) for path in chosen if path.name != "__init__.py")


def main() -> None:
    """Set the package up, as pip and ``make compiled`` ask."""
    extensions = []
    if os.environ.get("MPTCPSIM_COMPILE") == "1":
        from mypyc.build import mypycify

        # One library for all of them, so that calls between the modules are direct.
        extensions = mypycify(
            [*hot_modules()],
            opt_level=os.environ.get("MPTCPSIM_OPT", "3"),
            debug_level="0",
            group_name="mptcpsim.compiled",
        )
    setup(ext_modules=extensions)


if __name__ == "__main__":
    main()
