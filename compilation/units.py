"""Make the C files that mypyc generates independent of each other.

mypyc writes one C file for each module, and two headers that declare what all of them define. A new
function or attribute changes the headers, and a new literal shifts the index of others in the one array of
literals: after either, every file would have to be compiled again. Here each file becomes a unit that says
all it needs itself: it holds the declarations it uses, no others, and it refers to a literal by a name made
from its value. The text of a unit changes only if something changes that it uses, so that its object can be
kept under the hash of the text (see build.py).

Symbols are hidden: what is defined in another unit is called and read without the indirection that a shared
library needs for symbols that others may replace.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")

#: Where a declaration has the name it declares: behind the body of a type, or before a parameter list, an
#: array bound or the end.
TYPE_NAME = re.compile(r"\}\s*(\w+)\s*;")
TAG_NAME = re.compile(r"struct (\w+)\s*\{")
NAME = re.compile(r"(\w+)\s*[(\[;]")

#: Python.h comes first: its symbols are those of another library, which are not hidden.
PYTHON = "#include <Python.h>"
HIDDEN = "#pragma GCC visibility push(hidden)"

#: The array of literals; the indices below SINGLETONS never change.
STATIC = re.compile(r"\bCPyStatics\[(\d+)\]")
STATICS_DECLARED = re.compile(r"^extern PyObject \*CPyStatics\[\d+\];$", re.MULTILINE)
STATICS_DEFINED = re.compile(r"^PyObject \*CPyStatics\[(\d+)\];$", re.MULTILINE)
STATICS_FILLED = re.compile(r"if \(CPyStatics_Initialize\(CPyStatics, [^;{]*\) < 0\) \{\s*return -1;\s*\}")
SINGLETONS = 3

#: Where the library begins to fill its module.
LIBRARY_BEGINS = "if (intern_strings() < 0) goto fail;"

COMPILER = """#ifdef __clang__
#define UNITS_COMPILER __VERSION__
#else
#define UNITS_COMPILER "GCC " __VERSION__
#endif
"""


class UnexpectedText(Exception):
    """mypyc generated something that this module does not know: its version is too new, or too old."""


def make_units(generated: Path, directory: Path, group: str, mypyc: str) -> dict[Path, Path]:
    """Write the units of the files in ``generated``, and return them by the file that each was made from.

    The dotted name ``group`` is that of the library for which mypyc, of the version ``mypyc``, made them.

    Raises:
        UnexpectedText: mypyc writes something else than this module knows.
    """
    folder, _, name = group.replace(".", "/").rpartition("/")
    shared = generated / folder / f"__native_{name}.c"
    headers = [shared.with_suffix(".h"), shared.with_name(f"__native_internal_{name}.h")]
    text = shared.read_text(encoding="utf-8")
    names = literal_names(text)
    declared = "\n".join(f"extern PyObject *{name};" for name in dict.fromkeys(names.values()))
    # The array of literals without its length, which changes with each new one.
    known = [
        STATICS_DECLARED.sub("extern PyObject *CPyStatics[];", path.read_text("utf-8")) for path in headers
    ]
    declarations = Declarations([*known, declared])
    texts = {shared: with_builder(with_literals_defined(text, names), mypyc)}
    for path in sorted(generated.glob("__native_*.c")):
        texts[path] = with_named_literals(path.read_text("utf-8"), names)
    units = {path: directory / path.relative_to(generated) for path in texts}
    for path, text in texts.items():
        write(units[path], declarations.unit(text))
    return units


def write(path: Path, text: str) -> None:
    """Write ``text``, unless it is there already: setuptools links again what has a newer source."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def with_builder(text: str, mypyc: str) -> str:
    """Return the text of the shared file, which also tells by which mypyc and compiler it was made."""
    if text.count(LIBRARY_BEGINS) != 1:
        raise UnexpectedText("the library fills its module elsewhere")
    constants = (f'"mypyc", "{mypyc}"', '"compiler", UNITS_COMPILER')
    added = "".join(
        f"if (PyModule_AddStringConstant(module, {each}) < 0) goto fail;\n    " for each in constants
    )
    return COMPILER + text.replace(LIBRARY_BEGINS, added + LIBRARY_BEGINS)


# --- Declarations --------------------------------------------------------------------------------


class Declarations:
    """What the headers declare, from which each unit takes what it uses.

    Attributes:
        includes: the headers of Python and mypyc's runtime, as lines.
        items: the declarations, in the order of the headers.
    """

    def __init__(self, headers: Iterable[str]) -> None:
        self.includes: list[str] = []
        self.items: list[str] = []
        for header in headers:
            self._split(without_guard(header))
        self._of_name: dict[str, list[int]] = {}
        for number, item in enumerate(self.items):
            self._of_name.setdefault(declared_name(item), []).append(number)
        self._uses = [self._known(item) for item in self.items]

    def unit(self, text: str) -> str:
        """Return ``text`` with the declarations that it needs in place of the headers that it includes."""
        kept = [line for line in text.splitlines() if not line.startswith('#include "__native')]
        body = "\n".join(kept) + "\n"
        chosen: set[int] = set()
        waiting = self._known(body)
        while waiting:
            found = {number for name in waiting for number in self._of_name[name]} - chosen
            chosen |= found
            waiting = {name for number in found for name in self._uses[number]}
        declarations = [self.items[number] for number in sorted(chosen)]
        return "\n".join([PYTHON, HIDDEN, *self.includes, *declarations, body])

    def _known(self, text: str) -> set[str]:
        return self._of_name.keys() & IDENTIFIER.findall(text)

    def _split(self, lines: list[str]) -> None:
        """Add the declarations in ``lines``, each of which ends with its semicolon or its ``#endif``."""
        item: list[str] = []
        conditions = braces = 0
        for line in lines:
            if line.startswith("#include"):
                if "__native" not in line and line not in [PYTHON, *self.includes]:
                    self.includes.append(line)
                continue
            if not (item or line.strip()):
                continue
            item.append(line)
            conditions += line.startswith("#if") - line.startswith("#endif")
            braces += line.count("{") - line.count("}")
            if conditions == braces == 0 and line.rstrip().endswith((";", "#endif")):
                self.items.append("\n".join(item))
                item = []
        if item:
            raise UnexpectedText(f"a declaration has no end: {item[0]}")


def without_guard(header: str) -> list[str]:
    """Return the lines of ``header`` without the condition that lets it count only once."""
    lines = header.splitlines()
    guards = [number for number, line in enumerate(lines) if line.startswith("#ifndef")][:1]
    for number in guards:
        guard = lines[number].split()[1]
        if lines[number + 1] == f"#define {guard}" and lines[-1] == "#endif" and "DECLARED" not in guard:
            return lines[:number] + lines[number + 2 : -1]
    return lines


def declared_name(item: str) -> str:
    """Return the name that the declaration ``item`` declares."""
    match = TYPE_NAME.search(item) or TAG_NAME.search(item) or NAME.search(item)
    if match is None:
        raise UnexpectedText(f"a declaration without a name: {item}")
    return match[1]


# --- Literals ------------------------------------------------------------------------------------


def literal_names(shared: str) -> dict[int, str]:
    """Return a name for each literal, by its index, as the shared file ``shared`` defines them.

    The first three are None, False and True. Each of the others gets a name made from what it is, and from
    nothing else.
    """
    described: list[tuple[str, list[bytes] | list[int]]] = [
        *(("str", [text]) for text in counted_strings(shared, "CPyLit_Str")),
        *(("bytes", [text]) for text in counted_strings(shared, "CPyLit_Bytes")),
        *(("int", [text]) for text in integers(shared)),
        *(("float", [text]) for text in numbers(shared, "CPyLit_Float", 1)),
        *(("complex", [text]) for text in numbers(shared, "CPyLit_Complex", 2)),
        *(("tuple", items) for items in collections(shared, "CPyLit_Tuple")),
        *(("frozenset", items) for items in collections(shared, "CPyLit_FrozenSet")),
    ]
    match = STATICS_DEFINED.search(shared)
    if match is None or int(match[1]) != len(described) + SINGLETONS:
        raise UnexpectedText(f"{len(described)} literals are described, CPyStatics says otherwise")
    names = dict(enumerate(("None", "False", "True")))

    def name(index: int) -> str:
        if index not in names:
            kind, parts = described[index - SINGLETONS]
            words = [part if isinstance(part, bytes) else name(part).encode() for part in parts]
            digest = hashlib.sha256(b"\0".join([kind.encode(), *words])).hexdigest()
            names[index] = f"CPyLiteral_{digest[:16]}"
        return names[index]

    return {index: name(index) for index in range(SINGLETONS, len(described) + SINGLETONS)}


def strings(shared: str, table: str) -> list[bytes]:
    """Return the C strings of a table, each of which begins with how many literals it has."""
    match = re.search(rf"\b{table}\[\] = \{{\n((?: *\".*\",\n)*)\}};", shared)
    if match is None:
        raise UnexpectedText(f"there is no table {table}")
    found = [
        ast.literal_eval(f"b{line.strip().rstrip(',')}") for line in match[1].replace(r"\?", "?").splitlines()
    ]
    return found[:-1]  # the last is empty and ends the table


def counted_strings(shared: str, table: str) -> list[bytes]:
    """Return the literals of a table in which each follows its length."""
    literals = []
    for text in strings(shared, table):
        count, at = varint(text, 0)
        for _ in range(count):
            length, at = varint(text, at)
            literals.append(text[at : at + length])
            at += length
        if at != len(text):
            raise UnexpectedText(f"{table} has {text!r}")
    return literals


def varint(text: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at``, in groups of seven bits, the highest first, and where it ends."""
    value = 0
    while text[at] & 0x80:
        value, at = (value | text[at] & 0x7F) << 7, at + 1
    return value | text[at], at + 1


def integers(shared: str) -> list[bytes]:
    """Return the integers too big to be written in the code, in decimal digits."""
    return [
        word for text in strings(shared, "CPyLit_Int") for word in text[varint(text, 0)[1] :].split(b"\0")
    ]


def array(shared: str, table: str) -> list[str]:
    """Return the items of an array of numbers behind the first, which says how many literals follow."""
    match = re.search(rf"\b{table}\[\] = \{{([^}}]*)\}};", shared)
    if match is None:
        raise UnexpectedText(f"there is no table {table}")
    return [word.strip() for word in match[1].split(",") if word.strip()][1:]


def numbers(shared: str, table: str, size: int) -> list[bytes]:
    """Return the literals of an array in which each has ``size`` items."""
    words = array(shared, table)
    return [" ".join(words[at : at + size]).encode() for at in range(0, len(words), size)]


def collections(shared: str, table: str) -> list[list[int]]:
    """Return the literals of an array in which the indices of the items follow their number."""
    words = [int(word) for word in array(shared, table)]
    found, at = [], 0
    while at < len(words):
        found.append(words[at + 1 : at + 1 + words[at]])
        at += 1 + words[at]
    return found


def with_named_literals(text: str, names: dict[int, str]) -> str:
    """Return ``text`` with the names of literals; None, False and True keep their index."""
    return STATIC.sub(lambda match: names.get(int(match[1]), match[0]), text)


def with_literals_defined(text: str, names: dict[int, str]) -> str:
    """Return the text of the shared file, which also defines the named literals and sets them."""
    defined = "".join(f"\nPyObject *{name};" for name in dict.fromkeys(names.values()))
    filled = "".join(f"\n    {name} = CPyStatics[{index}];" for index, name in names.items())
    text, defined_count = STATICS_DEFINED.subn(lambda match: match[0] + defined, text)
    text, filled_count = STATICS_FILLED.subn(lambda match: match[0] + filled, text)
    if (defined_count, filled_count) != (1, 1):
        raise UnexpectedText("mypyc keeps its literals elsewhere than in CPyStatics")
    return text
