"""Each state variable of the core has one owner: writes into another object are counted over syntax trees.

A write is an assignment to ``x.y``, in whatever form, where ``x`` is not the ``self`` of the method: plain,
augmented, annotated, in a tuple or list, starred, as the target of a ``for``, a ``with`` or a comprehension,
and ``del``. ``setattr`` and its kin count as well, and so does a call of a method that only stores its
arguments in its object, which is an assignment in disguise. Such a call is known by the name of the method
and the number of arguments, whatever the class of the object may be.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import mptcpsim

PACKAGE = Path(mptcpsim.__file__).resolve().parent

#: So many writes into another object there may be at most; there were 272 before the core had owners.
MOST = 27

#: The modules in which writes are counted, by their path.
CORE = {
    path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.glob("core/**/*.py")
}
#: Those in which methods that only store are looked for.
SOURCES = {**CORE, "plugins.py": (PACKAGE / "plugins.py").read_text("utf-8")}


class Write(NamedTuple):
    """A write into another object: the file, the class and method, what is written or called."""

    file: str
    where: str
    target: str


_WINDOW = "plug-in interface: a plug-in keeps its window in public fields; TCP decides when a loss sets"
_START = "plug-in interface: other plug-ins do more at the start than the base class, which stores"
_IDSN = "the peer's key is known: all that is to be done is to note where its stream begins"

#: The writes that are left, each with its reason.
REASONS = {
    Write("core/tcp/congestion_window.py", "CongestionWindow._use", "self.control.cwnd"): f"{_WINDOW} cwnd",
    Write("core/tcp/congestion_window.py", "CongestionWindow._take_threshold", "control.ssthresh"): (
        f"{_WINDOW} ssthresh"
    ),
    Write("core/tcp/congestion_window.py", "CongestionWindow.halve", "control.ssthresh"): (
        f"{_WINDOW} ssthresh, or a penalty of MPTCP halves it"
    ),
    Write("core/tcp/output.py", "Output.establish", "self.congestion.start()"): _START,
    Write("core/mptcp/connection.py", "MptcpConnection.__init__", "chosen.start()"): _START,
    Write("core/tcp/output.py", "Output.on_syn_sent", "self.window_probe.start()"): (
        "nothing was probed yet: all that is to be done is to note where the SYN ends"
    ),
    Write("core/tcp/endpoint.py", "TcpEndpoint.take_syn", "self.sequences.on_syn()"): (
        "the peer's SYN has come: all that is to be done is to note its sequence number"
    ),
    Write("core/tcp/arrives.py", "Tcp._text_and_fin", "receiver.on_fin()"): (
        "a FIN may come before its turn: its number is noted, and the receiver owes an ACK"
    ),
    Write("core/mptcp/connection.py", "MptcpConnection._established", "self.inbound.on_established()"): (
        "the first subflow is established: all that is to be done is to note the size of its segments"
    ),
    Write("core/mptcp/connection.py", "MptcpConnection._couple", "tcp.sender.take_data_from()"): (
        "a seam: a subflow gets its source of data, and Nagle's rule is for that source to apply"
    ),
    Write("core/mptcp/handshake.py", "CapableHandshake.on_syn", "self._inbound.start()"): _IDSN,
    Write("core/mptcp/handshake.py", "CapableHandshake.on_syn_ack", "self._inbound.start()"): _IDSN,
    Write("core/mptcp/handshake.py", "CapableHandshake.on_third_ack", "self._inbound.start()"): _IDSN,
}

#: Calls that look like one of those, by name and number of arguments, and the method that is called.
NAMESAKES = {
    Write("core/tcp/arrives.py", "Tcp._text_and_fin", "self.extension.on_fin()"): "Subflow.on_fin",
    Write("core/tcp/endpoint.py", "TcpEndpoint.establish", "self.keepalive.start()"): "Keepalive.start",
    Write("core/mptcp/connection.py", "MptcpConnection._established", "self.path_manager.on_established()"): (
        "PathManager.on_established"
    ),
}


# --- Which methods only store their arguments ---------------------------------------------------------


def methods_of(trees: Iterable[ast.Module]) -> dict[str, ast.FunctionDef]:
    """Return the methods of all classes by ``Class.method``."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {f"{c.name}.{m.name}": m for c in classes for m in c.body if isinstance(m, ast.FunctionDef)}


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    arguments = function.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def is_constant(node: ast.expr) -> bool:
    """Return whether an expression is a literal, or the name of a constant such as ``NEVER``."""
    if isinstance(node, ast.Name | ast.Attribute):
        return last_name(node).isupper()
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def only_stores(method: ast.FunctionDef) -> bool:
    """Return whether a method does nothing but to store arguments, and constants beside, in ``self``."""
    given = parameters(method)[1:]
    body = method.body[1:] if ast.get_docstring(method) is not None else method.body
    stored = 0
    for statement in body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            return False
        for target in [part for whole in targets for part in parts_of(whole)]:
            if not (isinstance(target, ast.Attribute) and is_name(target.value, "self")):
                return False
        for part in parts_of(value):
            if isinstance(part, ast.Name) and part.id in given:
                stored += 1
            elif not is_constant(part):
                return False
    return stored > 0


def parts_of(node: ast.expr) -> list[ast.expr]:
    """Return the elements of a tuple or a list, anything else alone."""
    return list(node.elts) if isinstance(node, ast.Tuple | ast.List) else [node]


def fits(call: ast.Call, method: ast.FunctionDef) -> bool:
    """Return whether a method can be called with as many arguments."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return True
    most = len(parameters(method)) - 1
    needed = most - len(method.args.defaults) - sum(d is not None for d in method.args.kw_defaults)
    return needed <= len(call.args) + len(call.keywords) <= most


def last_name(node: ast.expr) -> str:
    """Return the last name of ``a.b.c`` or ``a.b.c[i]``; of anything else an empty string."""
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


# --- The writes -----------------------------------------------------------------------------------------


class Writes(ast.NodeVisitor):
    """The writes into another object in one module."""

    def __init__(self, file: str, storing: Mapping[str, list[ast.FunctionDef]]) -> None:
        self.file = file
        #: The methods that only store, by name.
        self.storing = storing
        self.found: list[Write] = []
        self._names: list[str] = []
        self._class: bool = False
        #: ``self`` is the object of the method here.
        self._has_self: bool = False

    def _add(self, target: str) -> None:
        self.found.append(Write(self.file, ".".join(self._names), target))

    def _own(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call) and is_name(node.func, "super"):
            return self._has_self
        return self._has_self and is_name(node, "self")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node, node.name, True, False)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        given = parameters(node)
        method = self._class and given[:1] == ["self"]
        self._inside(node, node.name, False, method or (self._has_self and "self" not in given))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node, "<lambda>", False, self._has_self and "self" not in parameters(node))

    def _inside(self, node: ast.AST, name: str, is_class: bool, has_self: bool) -> None:
        before = self._class, self._has_self
        self._names.append(name)
        self._class, self._has_self = is_class, has_self
        self.generic_visit(node)
        self._class, self._has_self = before
        self._names.pop()

    def visit_Name(self, node: ast.Name) -> None:
        if node.id == "self" and not isinstance(node.ctx, ast.Load):
            self._add("self")  # from here on it is another object

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:  # else nothing is written
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not self._own(node.value):
            written = not isinstance(node.ctx, ast.Load)
            if written or node.attr == "__dict__" or self._stores(node, None):
                self._add(ast.unparse(node))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = last_name(function)
        if name in ("setattr", "delattr", "__setattr__", "__delattr__", "vars"):
            # ``setattr(x, ...)``, ``object.__setattr__(x, ...)`` or ``x.__setattr__(...)``
            bound = name.startswith("__") and len(node.args) < (3 if name == "__setattr__" else 2)
            whom = [function.value] if bound and isinstance(function, ast.Attribute) else node.args[:1]
            if not all(self._own(one) for one in whom):
                self._add(f"{ast.unparse(function)}({', '.join(ast.unparse(a) for a in node.args[:2])})")
        elif isinstance(function, ast.Attribute) and not self._own(function.value):
            if self._stores(function, node):
                self._add(f"{ast.unparse(function)}()")
            self.visit(function.value)
            for part in (*node.args, *node.keywords):
                self.visit(part)
            return
        self.generic_visit(node)

    def _stores(self, node: ast.Attribute, call: ast.Call | None) -> bool:
        """Return whether a call, or a method that is handed on, may be one that only stores."""
        methods = self.storing.get(node.attr, [])
        return any(call is None or fits(call, method) for method in methods)


def writes(sources: Mapping[str, str], looked_at: Iterable[str]) -> list[Write]:
    """Return the writes into another object in some of the modules, oldest file name first."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    storing: dict[str, list[ast.FunctionDef]] = {}
    for method in methods_of(trees.values()).values():
        if method.name != "__init__" and only_stores(method):
            storing.setdefault(method.name, []).append(method)
    found = []
    for name in sorted(looked_at):
        visitor = Writes(name, storing)
        visitor.visit(trees[name])
        found += visitor.found
    return found


def test_each_variable_has_one_owner() -> None:
    found = writes(SOURCES, CORE)
    expected = dict.fromkeys([*REASONS, *NAMESAKES], 1)
    assert Counter(found) == expected, "let the owner do it, or give a reason; take out what is there no more"
    assert len(found) - len(NAMESAKES) == len(REASONS) <= MOST


def test_namesakes_do_more() -> None:
    methods = methods_of(ast.parse(source) for source in SOURCES.values())
    assert [name for name in NAMESAKES.values() if only_stores(methods[name])] == []


# --- Mutations: each kind of write is found -------------------------------------------------------------

STORING = """
class Owner:
    def __init__(self, value):
        self.value = value

    def put(self, value):
        "Store it."
        self.value = value

    def put_both(self, first, second=0, *, third=0):
        self.first, self.second = first, second
        self.third: int = third

    def put_and_mark(self, value):
        self.value = self.last = value
        self.marked, self.at = -1, NEVER

    def add(self, value):
        self.value += value

    def mark(self):
        self.marked = True

    def choose(self, value):
        if value:
            self.value = value

    def double(self, value):
        self.value = 2 * value
"""


def found_in(line: str, header: str = "def act(self, other, one, two):") -> list[str]:
    """Return the targets of the writes of a line in a method of a class, beside ``STORING``."""
    body = "\n        ".join(line.split("\n"))
    source = f"{STORING}\nclass Actor:\n    {header}\n        {body}\n"
    found = writes({"core/actor.py": source}, ["core/actor.py"])
    assert all(write[:2] == ("core/actor.py", "Actor.act") for write in found)
    return [write.target for write in found]


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("other.value = 1", ["other.value"]),
        ("self.other.value = 1", ["self.other.value"]),
        ("self.others[0].value = 1", ["self.others[0].value"]),
        ("self.find(1).value = 1", ["self.find(1).value"]),
        ("self.own = other.value = 1", ["other.value"]),
        ("other.value += 1", ["other.value"]),
        ("other.value: int = 1", ["other.value"]),
        ("self.own, other.value = 1, 2", ["other.value"]),
        ("[self.own, (one, other.value)] = 1, (2, 3)", ["other.value"]),
        ("self.own, *other.value = 1, 2", ["other.value"]),
        ("for other.value in one:\n    pass", ["other.value"]),
        ("for one, other.value in two:\n    pass", ["other.value"]),
        ("self.own = [0 for other.value in one]", ["other.value"]),
        ("with one as other.value:\n    pass", ["other.value"]),
        ("with one as (two, other.value):\n    pass", ["other.value"]),
        ("del other.value", ["other.value"]),
        ("if one:\n    other.value = 1", ["other.value"]),
        ("other.value = 1\nother.value = 2", ["other.value", "other.value"]),
        # A walrus takes a plain name only: what it names is another object all the same.
        ("(one := other).value = 1", ["(one := other).value"]),
        ("if self := other:\n    pass", ["self"]),
        ("self = other", ["self"]),
        # ``self`` by another name, and another ``self``.
        ("one = self\none.value = 1", ["one.value"]),
        ("setattr(other, 'value', 1)", ["setattr(other, 'value')"]),
        ("delattr(other, 'value')", ["delattr(other, 'value')"]),
        ("object.__setattr__(other, 'value', 1)", ["object.__setattr__(other, 'value')"]),
        ("other.__setattr__('value', 1)", ["other.__setattr__('value', 1)"]),
        ("object.__delattr__(other, 'value')", ["object.__delattr__(other, 'value')"]),
        ("other.__dict__['value'] = 1", ["other.__dict__"]),
        ("vars(other)['value'] = 1", ["vars(other)"]),
        # Methods that only store.
        ("other.put(1)", ["other.put()"]),
        ("self.other.put(value=one)", ["self.other.put()"]),
        ("one = self.find(2).put(1)", ["self.find(2).put()"]),
        ("other.put_both(1)", ["other.put_both()"]),
        ("other.put_both(1, 2, third=3)", ["other.put_both()"]),
        ("other.put_both(*one)", ["other.put_both()"]),
        ("other.put_and_mark(1)", ["other.put_and_mark()"]),
        ("self.later(other.put)", ["other.put"]),
    ],
)
def test_a_write_is_found(line: str, targets: list[str]) -> None:
    assert found_in(line) == targets


@pytest.mark.parametrize(
    "header", ["def act(this, self):", "@staticmethod\n    def act(other, self):", "def act(other, *, self):"]
)
def test_another_self_is_another_object(header: str) -> None:
    assert found_in("self.value = 1", header) == ["self.value"]


def test_a_write_outside_of_methods_is_found() -> None:
    source = "def act(self):\n    self.value = 1\n\nSOME.value = 1\n"
    found = writes({"core/actor.py": source}, ["core/actor.py"])
    assert [write[1:] for write in found] == [("act", "self.value"), ("", "SOME.value")]


@pytest.mark.parametrize(
    "line",
    [
        "self.value = other.value",
        "self.one, self.two = other.one, other.two",
        "self.value: int = 1",
        "other.value: int",
        "self.values[other.key] = 1",
        "one = two = other",
        "setattr(self, 'value', 1)",
        "object.__setattr__(self, 'value', 1)",
        "super().__setattr__('value', 1)",
        "def inner():\n    self.value = 1",
        # Its own, or a verb: it does more than to store what it is given.
        "self.put(1)",
        "super().put(1)",
        "self.own = Owner(1)",
        "other.add(1)",
        "other.mark()",
        "other.choose(1)",
        "other.double(1)",
        # Another method of that name: this one takes as many arguments.
        "other.put(1, 2)",
        "other.put_both()",
    ],
)
def test_no_write_into_another_object(line: str) -> None:
    assert found_in(line) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (
            "core/tcp/output.py",
            "        self.congestion.start(",
            "        self.tcp.ecn = False\n        self.congestion.start(",
        ),
        ("core/tcp/scoreboard.py", "        record.retire()\n", "        record.lost = False\n"),
        ("core/tcp/endpoint.py", "self.sequences.on_syn(syn.iss)", "self.sequences.irs = syn.iss"),
    ],
)
def test_a_write_in_the_core_is_refused(file: str, old: str, new: str) -> None:
    assert SOURCES[file].count(old) == 1
    changed = {**SOURCES, file: SOURCES[file].replace(old, new)}
    assert Counter(writes(changed, CORE)) != dict.fromkeys([*REASONS, *NAMESAKES], 1)
