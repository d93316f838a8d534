"""``meta.json``: everything about a run that may differ between two equal runs."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

#: Libraries whose versions may matter to a result.
LIBRARIES = ("simpy", "numpy", "networkx", "matplotlib", "pydantic", "pyarrow")


class Stopwatch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def wall_s(self) -> float:
        """Return wall-clock seconds."""
        return time.perf_counter() - self._wall

    def cpu_s(self) -> float:
        """Return CPU seconds of this process."""
        return time.process_time() - self._cpu


def is_compiled() -> bool:
    """Return whether the modules on the packet path are compiled."""
    found = importlib.util.find_spec("mptcpsim.sim.loop")
    return found is not None and not str(found.origin).endswith(".py")


def core() -> str:
    """Return which core runs: ``interpreted``, or what compiled it."""
    if not is_compiled():
        return "interpreted"
    library = importlib.import_module("mptcpsim.compiled__mypyc")
    return f"compiled by mypyc {library.mypyc} and {library.compiler}"


def version(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """Return the revision of the source tree, with ``-dirty`` if it was changed; None outside of git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def collect(seed: int, events: int, watch: Stopwatch, options: dict[str, Any]) -> dict[str, Any]:
    """Return the content of ``meta.json``.

    Args:
        seed: the seed of the run.
        events: callbacks that the event loop ran.
        watch: started when the run began.
        options: how the run was asked for.
    """
    return {
        "mptcpsim": version("mptcpsim"),
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "system": platform.system(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "compiled": is_compiled(),
        "core": core(),
        "seed": seed,
        "complete": True,
        "options": options,
        "events": events,
        "wall_s": round(watch.wall_s(), 6),
        "cpu_s": round(watch.cpu_s(), 6),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
