"""The direction of imports, checked over the syntax trees (docs/design.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import networkx
import pytest

import mptcpsim

PACKAGE = Path(mptcpsim.__file__).resolve().parent

#: Layers from the ground up; a module imports from lower layers and from its own package. The core has
#: four: what lies in ``core`` itself, TCP, MPTCP, and the stack that joins them.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("units", "streams", "suggest", "guard", "cursor", "settings"),
    ("sim.loop",),
    ("plugins",),
    ("core",),
    ("core.tcp",),
    ("core.mptcp",),
    ("core.stack",),
    ("congestion", "schedulers", "pathmanagers", "qdiscs", "codec", "net"),
    ("middleboxes",),
    ("freebsd", "topologies"),
    ("sim",),
    ("wire",),
    ("results",),
    ("measure",),
    ("scenario",),
    ("route",),
    ("lint",),
    ("sweep",),
    ("commands",),
    ("cli",),
    ("__main__",),
)

#: The core has no clock and no event loop, though the loop lies below it.
FORBIDDEN_PAIRS = dict.fromkeys(
    ("core", "core.tcp", "core.mptcp", "core.stack", "plugins", "codec"), ("sim.loop",)
)

#: Modules that only some parts may import.
EXTERNAL: dict[str, tuple[str, ...]] = {
    "simpy": ("sim.", "scenario.", "wire."),
    "pyroute2": ("wire.",),
    "h11": ("wire.",),
    "subprocess": ("results.meta", "sweep.pgf", "wire."),
    "fcntl": ("sweep.", "wire."),
    "matplotlib": ("results.figures", "sweep.figures", "sweep.pgf"),
    "pyarrow": ("results.", "sweep."),
    "pydantic": ("scenario.",),
    "tomlkit": ("scenario.",),
    "scipy": ("sweep.",),
    "sqlite3": ("sweep.store",),
    "pandas": ("sweep.campaign",),
    "duckdb": ("sweep.campaign",),
    "distributed": ("sweep.pool",),
    "multiprocessing": ("sweep.pool",),
    "concurrent": ("sweep.",),
    "threading": ("sweep.pool", "sweep.worker", "wire."),
    "signal": ("commands.", "scenario.hook_watch", "sweep.pool", "sweep.worker", "wire."),
    "typer": ("cli", "commands."),
    "rich": ("cli", "commands.", "results.report", "results.terminal", "sweep.tables"),
    "socket": ("wire.",),
    "select": ("wire.",),
    "selectors": ("wire.",),
    "asyncio": ("wire.",),
    "time": ("wire.", "commands.progress", "results.meta", "sweep."),
    "datetime": ("wire.", "cli", "results.meta"),
}


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def layer_of(name: str) -> tuple[int, str] | None:
    """Return the number of the layer and the package of a module, the longest prefix first."""
    best: tuple[int, str] | None = None
    for number, packages in enumerate(LAYERS):
        for package in packages:
            inside = name == package or name.startswith(package + ".")
            if inside and (best is None or len(package) > len(best[1])):
                best = number, package
    return best


def imports_of(tree: ast.AST, name: str, is_package: bool = False) -> list[tuple[int, str]]:
    """Return (line, absolute name) of everything that a module imports."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = ["mptcpsim", *name.split(".")]
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join([*parts[:keep], *([base] if base else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def violations(name: str, source: str, is_package: bool = False) -> list[str]:
    """Return a line for each import of a module that the rules forbid."""
    own = layer_of(name)
    problems = []
    if name and own is None:
        return [f"mptcpsim.{name} belongs to no layer: add it to LAYERS"]
    for line, target in imports_of(ast.parse(source), name, is_package):
        top = target.split(".")[0]
        if top == "mptcpsim":
            other = layer_of(target.removeprefix("mptcpsim").removeprefix("."))
            if own is None or other is None:  # the package's own __init__ imports from anywhere
                continue
            if other[1] in FORBIDDEN_PAIRS.get(own[1], ()):
                problems.append(f"mptcpsim.{name}:{line} imports {target}: {own[1]} keeps no event loop")
            elif other[1] != own[1] and other[0] >= own[0]:
                problems.append(f"mptcpsim.{name}:{line} imports {target}: {own[1]} is not above {other[1]}")
        elif top in EXTERNAL and not any((name + ".").startswith(part) for part in EXTERNAL[top]):
            allowed = ", ".join(EXTERNAL[top])
            problems.append(f"mptcpsim.{name}:{line} imports {target}: allowed only in {allowed}")
    return problems


def circles(sources: Mapping[str, str], packages: frozenset[str]) -> list[list[str]]:
    """Return the circles among modules: those that import each other, even for a type hint only.

    Args:
        sources: the text of each module by its name in the package, the package's own being "".
        packages: the names that are packages.
    """
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for name, source in sources.items():
        for _, target in imports_of(ast.parse(source), name, name in packages):
            # ``from mptcpsim.core import tcp`` imports that module; so does ``... import Tcp`` from it.
            inside = target.removeprefix("mptcpsim").removeprefix(".")
            while inside and inside not in sources:
                inside = inside.rpartition(".")[0]
            if target.split(".")[0] == "mptcpsim" and inside in sources:
                graph.add_edge(name, inside)
    found = [component for component in networkx.strongly_connected_components(graph) if len(component) > 1]
    found += [{name} for name in networkx.nodes_with_selfloops(graph)]
    return sorted(sorted(component) for component in found)


MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = {module_name(path, PACKAGE): path.read_text(encoding="utf-8") for path in MODULES}
PACKAGES = frozenset(module_name(path, PACKAGE) for path in MODULES if path.name == "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert violations(module_name(path, PACKAGE), source, path.name == "__init__.py") == []


def test_no_circle_of_imports() -> None:
    assert circles(SOURCES, PACKAGES) == []


@pytest.mark.parametrize(
    ("name", "line", "circle"),
    [
        # A type hint is enough, also one inside of a function.
        ("net.pipe", "if TYPE_CHECKING:\n    from mptcpsim.net.link import Link", {"net.link", "net.pipe"}),
        ("lint.remark", "if T:\n    from mptcpsim.lint import subject", {"lint.remark", "lint.subject"}),
        ("units", "def f():\n    import mptcpsim.scenario.quantities", {"units", "scenario.quantities"}),
        ("results.meta", "import mptcpsim", {"", "results.meta"}),
        (
            "core.mptcp.mappings",
            "if TYPE_CHECKING:\n    from mptcpsim.core.mptcp.connection import MptcpConnection",
            {"core.mptcp.mappings", "core.mptcp.connection"},
        ),
        ("streams", "from mptcpsim import streams", {"streams"}),
    ],
)
def test_a_circle_is_found(name: str, line: str, circle: set[str]) -> None:
    found = circles({**SOURCES, name: f"{SOURCES[name]}\n{line}\n"}, PACKAGES)
    assert any(circle <= set(names) for names in found)


def names_of_types(source: str) -> list[str]:
    """Return the names of the classes and of the aliases of types that a module defines."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found += [name for name in targets if re.fullmatch(r"_?[A-Z][a-z]\w*", name)]
    return found


def test_one_name_for_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for module, source in SOURCES.items():
        for name in names_of_types(source):
            homes.setdefault(name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_a_type_of_any_form_has_a_name() -> None:
    source = "class End:\n    pass\n_Pair = tuple[int, int]\nMOST = 3\nnext_one = 4\nEnds: int = 5\n"
    assert names_of_types(source) == ["End", "_Pair"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 700, f"{path} has {lines} lines: split it by concept"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("core.tcp.endpoint", "import simpy"),
        ("core.tcp.endpoint", "from mptcpsim.sim.loop import Loop"),
        ("core.tcp.endpoint", "from mptcpsim.congestion.reno import Reno"),
        ("core.tcp.endpoint", "def f():\n    import time"),
        ("core.tcp.endpoint", "import socket as s"),
        # TCP knows nothing of MPTCP, not by a type hint and not inside of a function.
        ("core.tcp.endpoint", "from mptcpsim.core.mptcp.subflow import Subflow"),
        ("core.tcp.endpoint", "from mptcpsim.core import mptcp"),
        ("core.tcp.endpoint", "from ..mptcp.subflow import Subflow"),
        ("core.tcp.endpoint", "if TYPE_CHECKING:\n    from mptcpsim.core.mptcp.subflow import Subflow"),
        ("core.tcp.endpoint", "def f():\n    import mptcpsim.core.mptcp.subflow"),
        # The other ways up in the core.
        ("core.segment", "from mptcpsim.core.tcp.arrives import Tcp"),
        ("core.segment", "if TYPE_CHECKING:\n    from mptcpsim.core.mptcp.mappings import Mapping"),
        ("core.host", "if TYPE_CHECKING:\n    from mptcpsim.core.stack import Stack"),
        ("core.tcp.stack", "from mptcpsim.core.stack import Stack"),
        ("core.mptcp.host", "if TYPE_CHECKING:\n    from mptcpsim.core import stack"),
        ("core.stack", "from mptcpsim.sim.loop import Loop"),
        ("congestion.cubic", "from mptcpsim.codec import packet"),
        ("congestion.cubic", "from ..codec import packet"),
        ("net.pipe", "from mptcpsim.sim.engine import Environment"),
        # A type hint points upwards, too.
        ("net.pipe", "if TYPE_CHECKING:\n    from mptcpsim.sim.engine import Environment"),
        ("net.pipe", "import matplotlib.pyplot"),
        ("results.series", "import matplotlib"),
        ("sim.apps", "from mptcpsim.scenario.schema import Scenario"),
        ("units", "from mptcpsim import plugins"),
        ("plugins", "from mptcpsim.core.config import TcpConfig"),
        ("strange", "import math"),
    ],
)
def test_a_forbidden_import_is_found(name: str, source: str) -> None:
    assert violations(name, source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("core.tcp.endpoint", "from mptcpsim.core.segment import Segment\nimport random"),
        ("core.tcp.endpoint", "from mptcpsim.plugins import find"),
        ("core.tcp.endpoint", "from mptcpsim.core.mptcp_options import MptcpOption"),
        ("core.mptcp.subflow", "from mptcpsim.core.tcp.arrives import Tcp"),
        ("core.stack", "from mptcpsim.core.mptcp.connection import MptcpConnection"),
        ("congestion.cubic", "from mptcpsim.congestion.reno import Reno"),
        ("net.pipe", "from mptcpsim.sim.loop import Loop"),
        ("sim.engine", "import simpy\nfrom mptcpsim.sim.loop import Loop"),
        ("scenario.build", "import simpy\nfrom mptcpsim.net.link import Link"),
        ("results.figures", "import matplotlib"),
        ("", "from mptcpsim.scenario.load import load"),
    ],
)
def test_an_allowed_import_passes(name: str, source: str) -> None:
    assert violations(name, source, is_package=name == "") == []
