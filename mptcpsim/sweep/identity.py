"""What makes two runs the same run: resolved scenario, seed, code.

The code is the package's own files, as far as they can change a result, and the user's
plug-ins. The versions of Python and of the libraries are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.sweep_settings import SweepSpec

#: What only plans, stores, prints or draws, as the beginnings of paths below the package.
NO_PART_OF_A_RUN = (
    "__main__.py", "cli.py", "commands/", "sweep/", "wire/", "results/figures.py", "results/report.py",
    "results/meta.py", "results/rundir.py", "results/directories.py", "scenario/reference.py",
    "scenario/sweep_settings.py",
)  # fmt: skip

#: Hexadecimal digits of a run's, a point's and the code's name: 64 bits.
DIGITS = 16


class PluginFile(NamedTuple):
    """A plug-in file of the user's, as it is sent to the worker that runs the scenario."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """The hash of its content."""
        return digest(self.text.encode())


def digest(data: bytes) -> str:
    """Return the first ``DIGITS`` digits of a SHA-256."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


@cache
def package_version() -> str:
    """Return the hash of the package's sources that a run depends on."""
    root = Path(__file__).resolve().parents[1]
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(NO_PART_OF_A_RUN):
            found.update(f"{name}\n".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:DIGITS]


def code_version(plugins: Sequence[PluginFile]) -> str:
    """Return the version of package and plug-ins together."""
    if not plugins:
        return package_version()
    return digest("\n".join([package_version(), *(plugin.digest for plugin in plugins)]).encode())


def scenario_data(scenario: Scenario) -> dict[str, Any]:
    """Return a resolved scenario as data, every default written out, but for its seed and plug-in files."""
    data = scenario.model_dump(mode="json", exclude_none=True, exclude={"sweep", "plugins", "seed"})
    assert isinstance(data, dict)
    return data


def point_id(data: dict[str, Any]) -> str:
    """Return the name of a resolved scenario but for its title and description.

    The order of its tables counts, as it does in a run.
    """
    return digest(json.dumps({**data, "title": "", "description": ""}, ensure_ascii=False).encode())


def plan_id(spec: SweepSpec, points: Sequence[tuple[str, int, dict[str, Any]]]) -> str:
    """Return the name of all that a plan wants, whatever the shard: ``--set`` and files are in the points.

    Args:
        spec: the table ``[sweep]``.
        points: the name of each point, its scenario's seed and its values.
    """
    replicates = spec.model_dump(mode="json", include={"replicates", "seeds", "precision"})
    return digest(json.dumps([replicates, points], ensure_ascii=False, default=str).encode())


def run_id(point: str, seed: int, code: str) -> str:
    """Return the name of a run."""
    return digest(f"{point}/{seed}/{code}".encode())
