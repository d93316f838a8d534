"""How the hot modules are built: a unit for each, independent of what it does not use."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compilation.units import (
    Declarations,
    UnexpectedText,
    declared_name,
    literal_names,
    with_literals_defined,
    with_named_literals,
)
from tests.paths import TESTS

ROOT = TESTS.parent

TYPES = """#ifndef MYPYC_NATIVE_group_H
#define MYPYC_NATIVE_group_H
#include <Python.h>
#include <CPy.h>
#ifndef MYPYC_DECLARED_tuple_T1O
#define MYPYC_DECLARED_tuple_T1O
typedef struct tuple_T1O {
    PyObject *f0;
} tuple_T1O;
#endif

typedef struct {
    PyObject_HEAD
    tuple_T1O _pair;
} PointObject;
typedef struct {
    PyObject_HEAD
} OtherObject;
struct export_table_group {
    PyTypeObject **CPyType_Point;
    tuple_T1O (*CPyDef_pair)(PyObject *cpy_r_self);
};
#endif
"""

FUNCTIONS = """#ifndef MYPYC_LIBRT_INTERNAL_group_H
#define MYPYC_LIBRT_INTERNAL_group_H
#include <Python.h>
#include <CPy.h>
#include "__native_group.h"

int CPyGlobalsInit(void);

extern PyObject *CPyStatics[];
extern PyTypeObject *CPyType_Point;
extern tuple_T1O CPyDef_pair(PyObject *cpy_r_self);
extern char CPyDef_other(PyObject *cpy_r_self);
#endif
"""

SHARED = """PyObject *CPyStatics[12];
const char * const CPyLit_Str[] = {
    "\\002\\003one\\005t\\"wo\\?",
    "",
};
const char * const CPyLit_Bytes[] = {
    "\\001\\003one",
    "",
};
const char * const CPyLit_Int[] = {
    "\\00220000000000\\000-30000000000",
    "",
};
const double CPyLit_Float[] = {1, 0.5};
const double CPyLit_Complex[] = {0};
const int CPyLit_Tuple[] = {
    2, 2, 3, 0, 1, 11,
};
const int CPyLit_FrozenSet[] = {1, 1, 4};
int CPyGlobalsInit(void)
{
    if (CPyStatics_Initialize(CPyStatics, CPyLit_Str, CPyLit_Bytes) < 0) {
        return -1;
    }
}
"""


def test_a_unit_has_the_declarations_it_uses_and_no_others() -> None:
    text = '#include "__native_group.h"\n#include "__native_internal_group.h"\nint i = CPyDef_pair(0);\n'
    unit = Declarations([TYPES, FUNCTIONS]).unit(text)
    assert "__native" not in unit
    assert "CPyDef_pair(PyObject *cpy_r_self);" in unit
    assert "tuple_T1O;" in unit, "the type of what is declared"
    assert not [
        name for name in ("PointObject", "OtherObject", "CPyDef_other", "export_table") if name in unit
    ]
    assert (
        unit.index("#include <Python.h>")
        < unit.index("visibility push(hidden)")
        < unit.index("#include <CPy.h>")
    )


def test_a_new_declaration_changes_only_the_units_that_use_it() -> None:
    changed = FUNCTIONS.replace(
        "extern char CPyDef_other", "extern char CPyDef_new(void);\nextern int CPyDef_other"
    )
    before, after = Declarations([TYPES, FUNCTIONS]), Declarations([TYPES, changed])
    assert before.unit("CPyDef_pair") == after.unit("CPyDef_pair")
    assert before.unit("CPyDef_other") != after.unit("CPyDef_other")
    wider = TYPES.replace("PyObject *f0;", "PyObject *f0;\n    PyObject *f1;")
    assert before.unit("CPyDef_pair") != Declarations([wider, FUNCTIONS]).unit("CPyDef_pair")
    assert before.unit("CPyDef_other") == Declarations([wider, FUNCTIONS]).unit("CPyDef_other")


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("extern const char * const CPyLit_Str[];", "CPyLit_Str"),
        ("extern PyObject *CPyDef_f(PyObject *cpy_r_a, CPyTagged cpy_r_b);", "CPyDef_f"),
        ("typedef struct {\n    char (*f)(int a);\n} Name;", "Name"),
        ("struct table_x {\n    int a;\n};", "table_x"),
    ],
)
def test_the_name_of_a_declaration(item: str, name: str) -> None:
    assert declared_name(item) == name


def test_a_declaration_without_an_end_is_refused() -> None:
    with pytest.raises(UnexpectedText, match="no end"):
        Declarations(["typedef struct {\n    int a;\n"])


def test_the_name_of_a_literal_depends_on_its_value_alone() -> None:
    names = literal_names(SHARED)
    assert sorted(names) == list(range(3, 12))
    assert len(set(names.values())) == 9, "a str and bytes of the same letters are different literals"
    more = SHARED.replace("[12]", "[13]").replace('"\\002\\003one', '"\\003\\003new\\003one')
    more = more.replace("2, 2, 3, 0, 1, 11", "2, 2, 4, 0, 1, 12").replace("{1, 1, 4}", "{1, 1, 5}")
    shifted = literal_names(more)
    assert {index: shifted[index + 1] for index in names} == names
    code = "a = CPyStatics[%d]; b = CPyStatics[2];"
    assert with_named_literals(code % 4, names) == with_named_literals(code % 5, shifted)
    assert with_named_literals(code % 4, names).endswith("b = CPyStatics[2];")


def test_named_literals_are_defined_and_set() -> None:
    names = literal_names(SHARED)
    text = with_literals_defined(SHARED, names)
    for index, name in names.items():
        assert text.count(f"PyObject *{name};") == 1
        assert text.index(f"{name} = CPyStatics[{index}];") > text.index("CPyStatics_Initialize")


@pytest.mark.parametrize(
    ("found", "other"),
    [
        ("CPyStatics[12]", "CPyStatics[13]"),
        ("CPyLit_Float", "CPyLit_Double"),
        ("CPyLit_Str[]", "CPyLit_Text[]"),
    ],
)
def test_another_layout_of_the_literals_is_refused(found: str, other: str) -> None:
    with pytest.raises(UnexpectedText):
        literal_names(SHARED.replace(found, other))


FIRST = """
from __future__ import annotations

from mptcpsim.second import twice


def values() -> list[object]:
    return [twice(3), "text", b"bytes", 2**70, 0.25, (1, ("text", None)), "\\u20ac", 1j, "x" in {"x", "y"}]
"""

SECOND = """
from __future__ import annotations


class Box:
    def __init__(self, side: int) -> None:
        self.side = side

    def twice(self) -> int:
        return 2 * self.side


def twice(side: int) -> int:
    return Box(side).twice()
"""

WIDER = SECOND.replace("self.side = side", 'self.side = side\n        self.name = "another literal"')


@pytest.mark.slow
def test_only_what_changed_is_compiled_again(tmp_path: Path) -> None:
    """A small package of two modules, with a literal of each kind, is built, changed and built again."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is installed")
    shutil.copytree(ROOT / "compilation", tmp_path / "compilation")
    shutil.copy(ROOT / "setup.py", tmp_path)
    patterns = '[tool.mptcpsim]\ncompiled = ["mptcpsim/*.py"]\ninterpreted = []\n'
    project = '[project]\nname = "small"\nversion = "1"\n[tool.setuptools]\npackages = ["mptcpsim"]\n'
    (tmp_path / "pyproject.toml").write_text(project + patterns)
    package = tmp_path / "mptcpsim"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text(FIRST)

    def build(second: str) -> set[str]:
        """Return the objects after a build, and check what the package does."""
        (package / "second.py").write_text(second)
        environment = os.environ | {"MPTCPSIM_COMPILE": "1", "MPTCPSIM_OPT": "0", "PYTHONPATH": ""}
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        show = "from mptcpsim import first, compiled__mypyc as c; print(first.values(), c.__file__, c.mypyc)"
        shown = subprocess.run(
            [sys.executable, "-c", show],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        expected = [6, "text", b"bytes", 2**70, 0.25, (1, ("text", None)), "\u20ac", 1j, True]
        assert shown.startswith(repr(expected))
        assert shown.split()[-2].endswith(".so")
        assert shown.split()[-1] == importlib.metadata.version("mypy")
        assert min(path.stat().st_mtime for path in package.glob("*.so")) >= max(
            path.stat().st_mtime for path in package.glob("*.py")
        ), "a build makes nothing that counts as older than its source"
        return {path.name for path in (tmp_path / "build" / "objects").glob("*.o")}

    before = build(SECOND)
    after = build(WIDER)
    made = {re.sub("-[0-9a-f]+.o$", "", name) for name in after - before}
    assert made == {"build.units.mptcpsim.__native_compiled", "build.units.__native_mptcpsim___second"}
    assert build(SECOND) == after, "objects of the build before are used again"
