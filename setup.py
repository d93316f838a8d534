"""Builds the hot modules with mypyc when MPTCPSIM_COMPILE=1; otherwise the package is pure Python.

``pyproject.toml`` says everything else; the patterns of the hot modules are in its ``[tool.mptcpsim]``.
``MPTCPSIM_OPT`` is the level of optimization of the C compiler, 3 unless it is set; with 0 the build takes
less time, and mypyc's runtime checks itself.
"""

import importlib.util
import os
import sys
import tomllib
from pathlib import Path

from setuptools import setup

PYPROJECT = Path(__file__).resolve().parent / "pyproject.toml"

#: What the build of compiled modules needs: the first mypyc that knows ``acyclic`` and ``free_list_len``.
MYPYC = "mypy[mypyc]>=1.20"


def hot_modules(pyproject: Path = PYPROJECT) -> list[str]:
    """Return the modules to compile, relative to the project's directory, sorted."""
    root = pyproject.parent
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["mptcpsim"]
    chosen = {path for pattern in settings["compiled"] for path in root.glob(pattern)}
    chosen -= {root / name for name in settings["interpreted"]}
    return sorted(str(path.relative_to(root)) for path in chosen if path.name != "__init__.py")


def main() -> None:
    """Set the package up, as pip and ``make compiled`` ask.

    pip asks first what the build needs, in an environment that does not have it yet.
    """
    if os.environ.get("MPTCPSIM_COMPILE") != "1":
        setup()
    elif importlib.util.find_spec("mypyc") is None:
        setup(setup_requires=[MYPYC])
    else:
        sys.path.insert(0, str(PYPROJECT.parent))
        from compilation.build import BuildUnits, extensions

        setup(
            ext_modules=extensions(hot_modules(), os.environ.get("MPTCPSIM_OPT", "3")),
            cmdclass={"build_ext": BuildUnits},
        )


if __name__ == "__main__":
    main()
