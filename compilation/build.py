"""Build extension modules, and compile again only what has changed."""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from mypyc.build import mypycify
from setuptools.command.build_ext import build_ext

from compilation.units import make_units

#: The library that holds all modules, so that calls between them are direct.
LIBRARY = "mptcpsim.compiled"

#: What is generated and kept from one build to the next.
DIRECTORY = Path("build")

#: Beside what units.py says, for what the units and mypyc's runtime define themselves.
VISIBILITY = ["-fvisibility=hidden", "-fno-semantic-interposition"]

#: How many objects of a unit are kept: a way back to the commit before, or to other compiler flags, is short.
KEPT = 4


def extensions(modules: list[str], optimization: str) -> list[Any]:
    """Return the extension modules for ``modules``, whose C files are generated now if the sources changed.

    Types of unchanged modules outside the library, those of numpy for one, come from a cache of mypy's own.
    The modules are compiled together rather than as ``separate`` ones: mypyc then knows all subclasses and
    all writers of an attribute, calls methods directly and leaves out checks whether an attribute is set.
    That is a fifth of the instructions of W1, for some thirty seconds of generating C after each edit.
    ``optimization`` is the compiler's level; 0 also lets the runtime of mypyc check itself, and keeps symbols
    for a debugger.
    """
    made = mypycify(
        ["--cache-dir", str(DIRECTORY / "mypy"), *modules],
        opt_level=optimization,
        debug_level="2" if optimization == "0" else "0",
        multi_file=True,
        group_name=LIBRARY,
        target_dir=str(DIRECTORY / "generated"),
    )
    unit_of = make_units(
        DIRECTORY / "generated", DIRECTORY / "units", LIBRARY, importlib.metadata.version("mypy")
    )
    for extension in made:
        extension.sources = [str(unit_of.get(Path(source), source)) for source in extension.sources]
        extension.extra_compile_args += VISIBILITY
    return made


class BuildUnits(build_ext):
    """Builds the extension modules from objects that are kept under the hash of all that goes into them.

    Sources must not include generated files (see units.py). Objects are compiled in parallel.
    """

    def run(self) -> None:
        """Build everything, and let the extension modules beside the sources be those of this build."""
        start = time.time()
        super().run()
        if self.inplace:
            settle(
                {Path(self.get_ext_fullpath(extension.name)).resolve() for extension in self.extensions},
                start,
            )

    def build_extensions(self) -> None:
        """Build the extension modules with the objects that are there, and make the others."""
        self.parallel: int = cores()
        self._objects = DIRECTORY / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._tools = tools(self.compiler.compiler_so)
        self._compile = self.compiler.compile
        self.compiler.compile = self._compile_sources
        super().build_extensions()

    def _compile_sources(self, sources: list[str], **options: Any) -> list[str]:
        with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(lambda source: self._object(source, options), sources))

    def _object(self, source: str, options: dict[str, Any]) -> str:
        """Return the path of the object of ``source``, which is compiled if it is not there."""
        flags = {name: options[name] for name in sorted(options) if name not in ("output_dir", "depends")}
        key = hashlib.sha256(f"{self._tools}\n{flags}\n".encode() + Path(source).read_bytes()).hexdigest()
        stem = source.removesuffix(".c").replace(os.sep, ".")
        kept = self._objects / f"{stem}-{key[:24]}.o"
        if kept.exists():
            os.utime(kept)
            return str(kept)
        with tempfile.TemporaryDirectory(dir=self._objects) as directory:
            (made,) = self._compile([source], **options | {"output_dir": directory})
            os.replace(made, kept)
        before = sorted(self._objects.glob(f"{stem}-*.o"), key=lambda path: path.stat().st_mtime)
        for path in before[:-KEPT]:
            path.unlink(missing_ok=True)
        return str(kept)


def tools(compiler: list[str]) -> str:
    """Return all that decides over an object beside its source and its flags."""
    version = subprocess.run([compiler[0], "--version"], capture_output=True, text=True, check=True).stdout
    return f"{compiler} {version} {sys.version} mypy {importlib.metadata.version('mypy')}"


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def settle(built: set[Path], start: float) -> None:
    """Give what was built the time at which its sources were read, and remove what lost its source.

    Modules whose sources did not change were not linked again, and have the time of an earlier build. One
    edited while the build ran must count as newer than what is built.
    """
    for path in built:
        os.utime(path, (start, start))
    for folder in {path.parent for path in built}:
        for path in set(folder.glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}")) - built:
            path.unlink()
