"""Builds the hot modules with mypyc when MPTCPSIM_COMPILE=1; otherwise the package is pure Python.

``pyproject.toml`` says everything else. The list of modules stands there too, in ``[tool.mptcpsim]``.
"""

import os
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent


def hot_modules() -> list[str]:
    """Return the modules to compile, relative to the project's directory, sorted."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mptcpsim"]
    chosen = {path for pattern in settings["compiled"] for path in ROOT.glob(pattern)}
    chosen -= {ROOT / name for name in settings["interpreted"]}
    return sorted(str(path.relative_to(ROOT)) for path in chosen if path.name != "__init__.py")


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
