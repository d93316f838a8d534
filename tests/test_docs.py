"""What the documents name is there: modules, files, classes and their methods.

The tree of docs/design.md is compared with the package in both directions.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import mptcpsim
from tests.paths import DOCS, ROOT
from tests.test_layering import imports_of

PACKAGE = Path(mptcpsim.__file__).resolve().parent
DESIGN = DOCS / "design.md"
DOCUMENTS = sorted(
    [*DOCS.glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
)
FOLDERS = ("mptcpsim", "tests", "experiments", "benchmarks", "compilation")
#: Programs, this one excepted, which names what is not there.
SOURCES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__).resolve()
)
MODULES = frozenset(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
#: Packages of mptcpsim, as the first word of a dotted name.
PACKAGES = frozenset(name.partition(".")[0] for name in MODULES if (PACKAGE / name).is_dir())

#: Files that documents name and that are not ours: what a user writes, other simulators.
OTHERS_FILES = frozenset({"careful.py", "my_congestion.py", "ns.py"})

#: Dotted names that look like those of a module: a key of a scenario, a table of a campaign.
NO_MODULES = frozenset({"results.stall_threshold", "sweep.series"})


def tree(text: str) -> Iterator[tuple[str, str]]:
    """Return each module that the tree of design.md names, with what is said of it."""
    block = text.partition("```\nmptcpsim/\n")[2].partition("```")[0]
    folders: list[str] = []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        name, _, words = line.strip().partition(" ")
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name)
        else:
            yield "".join([*folders, name]), words.strip()


def test_the_tree_of_the_design_is_that_of_the_package() -> None:
    named = dict(tree(DESIGN.read_text(encoding="utf-8")))
    there = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"
    }
    assert there - set(named) == set(), "modules that the tree of docs/design.md does not name"
    assert set(named) - there == set(), "modules in the tree of docs/design.md that are not there"
    assert [module for module, words in named.items() if not words] == []


def name_of(module: str) -> str:
    """Return the dotted name of a module of the tree."""
    return module.removesuffix(".py").replace("/", ".")


def out_of_order(modules: list[str]) -> list[str]:
    """Return which of these modules import one that stands behind them, with its name."""
    names = [name_of(module) for module in modules]
    found = []
    for number, module in enumerate(modules):
        source = (PACKAGE / module).read_text(encoding="utf-8")
        targets = [target for _, target in imports_of(ast.parse(source), names[number])]
        found += [
            f"{names[number]} imports {later}"
            for later in names[number + 1 :]
            if any(f"{target}.".startswith(f"mptcpsim.{later}.") for target in targets)
        ]
    return found


def test_the_core_stands_in_the_order_of_reading() -> None:
    core = [module for module, _ in tree(DESIGN.read_text(encoding="utf-8")) if module.startswith("core/")]
    assert out_of_order(core) == []
    assert out_of_order(["core/stack.py", "core/tcp/stack.py"]) == ["core.stack imports core.tcp.stack"]


def test_the_tree_is_read_by_its_indentation() -> None:
    block = "  a.py   one\n  b/  two\n    c.py  three\n    d/\n      e.py\n  f.py  four\n"
    text = f"```\nmptcpsim/\n{block}```\nmore.py  x\n"
    assert list(tree(text)) == [("a.py", "one"), ("b/c.py", "three"), ("b/d/e.py", ""), ("f.py", "four")]


@cache
def files() -> tuple[str, ...]:
    """Return the paths of the repository's files of Python, each behind a slash."""
    paths = [*SOURCES, Path(__file__).resolve(), ROOT / "setup.py"]
    return tuple("/" + path.relative_to(ROOT).as_posix() for path in paths)


def missing_files(text: str) -> list[str]:
    """Return the files of Python that a text names and that are nowhere in the repository."""
    named = set(re.findall(r"[\w/.-]*\w\.py\b", text)) - OTHERS_FILES
    return sorted(name for name in named if not any(f.endswith("/" + name.lstrip("./")) for f in files()))


def offences(paths: list[Path], missing: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return what each file names and is not there; nothing for a file that names only what is."""
    found = {path.relative_to(ROOT).as_posix(): missing(path.read_text(encoding="utf-8")) for path in paths}
    return {path: names for path, names in found.items() if names}


def test_files_that_texts_name_are_there() -> None:
    package = [path for path in SOURCES if path.is_relative_to(PACKAGE)]
    assert offences([*DOCUMENTS, *package], missing_files) == {}


def is_there(name: str) -> bool:
    """Return whether the package has what a dotted name, such as ``core.tcp.info.TcpInfo``, names."""
    parts = name.removeprefix("mptcpsim.").split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in MODULES:
            found: object = importlib.import_module(".".join(["mptcpsim", *parts[:length]]))
            for part in parts[length:]:
                if not hasattr(found, part):
                    return False
                found = getattr(found, part)
            return True
    return False


def missing_names(text: str) -> list[str]:
    """Return the dotted names of modules, and of what is in them, that a text has and the package has not."""
    named = set(re.findall(r"`(?:mptcpsim\.)?([a-z_]+(?:\.\w+)+)`", text)) - NO_MODULES
    return sorted(
        name
        for name in named
        if name.partition(".")[0] in PACKAGES
        and not name.startswith("net.inet")
        and not re.search(r"\.(py|md|toml|json)$", name)
        and not is_there(name)
    )


def test_modules_that_texts_name_are_there() -> None:
    # The changelog has the old names of what was moved, too.
    present = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
    assert offences([*present, *SOURCES], missing_names) == {}


@cache
def members() -> dict[str, set[str]]:
    """Return the names that each class of the package has, inherited ones included."""
    own: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            names = own.setdefault(node.name, set())
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    names.add(inner.name)
                elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    names.add(inner.attr)
                elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    names.add(inner.target.id)
            bases.setdefault(node.name, set()).update(
                base.id for base in node.bases if isinstance(base, ast.Name)
            )

    def all_of(name: str) -> set[str]:
        return own.get(name, set()).union(*(all_of(base) for base in bases.get(name, ())))

    return {name: all_of(name) for name in own}


def missing_members(text: str) -> list[str]:
    """Return names ``Class.member`` that a text has in code, and whose class or member is not there."""
    named = set(re.findall(r"`_?([A-Z][a-z]\w*)\.(\w+)(?:\(\))?`", text))
    return sorted(
        f"{owner}.{member}"
        for owner, member in named
        if owner != "Class" and not hasattr(builtins, owner) and member not in members().get(owner, set())
    )


def missing_classes(text: str) -> list[str]:
    """Return names of classes in code, ``LikeThis``, that the package has not."""
    named = set(re.findall(r"`_?([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", text))
    return sorted(named - set(members()))


def test_classes_and_methods_that_texts_name_are_there() -> None:
    assert offences([*DOCUMENTS, *SOURCES], missing_members) == {}
    assert offences([DESIGN], missing_classes) == {}


def test_what_is_not_there_is_found() -> None:
    assert missing_files("see `core/tcp.py`, core/tcp/info.py and `info.py`") == ["core/tcp.py"]
    assert missing_names("`core.multipath`, `core.tcp.info.TcpInfo.tcpi_rto`, `core.tcp.info.Nothing`") == [
        "core.multipath",
        "core.tcp.info.Nothing",
    ]
    assert missing_members("`Subflow.emit`, `Subflow.tcp`, `Subflow.sing`, `Nobody.emit`") == [
        "Nobody.emit",
        "Subflow.sing",
    ]
    assert missing_classes("`MappedData`, `MappedBytes`") == ["MappedBytes"]
