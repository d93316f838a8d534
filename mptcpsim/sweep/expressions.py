"""Small expressions over the axes of a sweep: arithmetic, comparisons, ``and``, ``or``, ``not``, ``in``.

They are Python's, read as a syntax tree and evaluated here: names are axes and nothing can
be called but ``min``, ``max``, ``round`` and ``abs``. In a comparison a quantity counts as a
number of its base unit, so that ``buffer <= "64KiB"`` is true of ``"8KiB"``.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from mptcpsim.scenario.sweep_settings import quantity
from mptcpsim.units import UnitError

#: The largest exponent: beyond it only memory would be tested.
_MAX_EXPONENT = 1000

_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"min": min, "max": max, "round": round, "abs": abs}

#: ``links.0.rate``: a key of a scenario that is no name in an expression.
_NUMBERED = re.compile(r"[A-Za-z_]\w*\.\d")

_FIELD = re.compile(r"\{([^{}]*)\}")


class ExpressionError(ValueError):
    """An expression that cannot be read or evaluated; the text says why and what to write."""


class Expression:
    """An expression, read once and evaluated for every point.

    Attributes:
        text: as it was written.
        names: the axes that occur in it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            remedy = "write one over the axes, such as 'ratio > 1 and queue < 50'"
            if _NUMBERED.search(text):
                remedy = (
                    "a key with a number in it cannot stand here; give the axis a word of your own, and "
                    "[sweep.set] the key"
                )
            raise ExpressionError(f"{text!r} is not an expression: {remedy}") from None
        self.names = _names(self._tree)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the expression.

        Raises:
            ExpressionError: a name is no axis, or the operation does not suit the values.
        """
        try:
            return self._value(self._tree, values)
        except (TypeError, ZeroDivisionError, OverflowError, ValueError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f"{self.text!r} cannot be evaluated: {error}") from None

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if (name := _dotted(node)) is not None:
            if name not in values:
                raise ExpressionError(
                    f"{self.text!r}: {name!r} is no axis of the sweep; axes are {', '.join(values) or 'none'}"
                )
            return values[name]
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(item, values) for item in node.elts]
        if isinstance(node, ast.BoolOp):
            return self._logic(node, values)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            return _UNARY[type(node.op)](self._value(node.operand, values))
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            left, right = self._number(node.left, values), self._number(node.right, values)
            if isinstance(node.op, ast.Pow) and abs(right) > _MAX_EXPONENT:
                raise ExpressionError(f"{self.text!r}: the exponent {right} is too large")
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            return self._comparison(node, values)
        if isinstance(node, ast.IfExp):
            chosen = node.body if self._value(node.test, values) else node.orelse
            return self._value(chosen, values)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            function = _FUNCTIONS.get(node.func.id)
            if function is not None:
                return function(*(self._number(item, values) for item in node.args))
        raise ExpressionError(
            f"{self.text!r}: {ast.unparse(node)!r} is not allowed; use numbers, text, axes, arithmetic, "
            f"comparisons, and, or, not, in, {', '.join(_FUNCTIONS)}"
        )

    def _number(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        value = self._value(node, values)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ExpressionError(
                f"{self.text!r}: {value!r} is not a number; make the axis one of plain numbers and write "
                'the unit in [sweep.set], such as "{10 * ratio}ms"'
            )
        return value

    def _logic(self, node: ast.BoolOp, values: Mapping[str, Any]) -> bool:
        wanted = isinstance(node.op, ast.Or)
        return wanted if any(bool(self._value(v, values)) is wanted for v in node.values) else not wanted

    def _comparison(self, node: ast.Compare, values: Mapping[str, Any]) -> bool:
        left = self._value(node.left, values)
        for operation, item in zip(node.ops, node.comparators, strict=True):
            if type(operation) not in _COMPARE:
                raise ExpressionError(f"{self.text!r}: compare with == and !=, not with is")
            right = self._value(item, values)
            kinds = _kind(left), _kind(right)
            if kinds[0] != kinds[1] and "" not in kinds:
                raise ExpressionError(
                    f"{self.text!r} compares {left!r}, a {kinds[0]}, with {right!r}, a {kinds[1]}: "
                    "write both in one unit"
                )
            if not _COMPARE[type(operation)](_comparable(left), _comparable(right)):
                return False
            left = right
        return True


def _dotted(node: ast.expr) -> str | None:
    """Return the name ``a.b.c`` that a node spells, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)) is not None:
        return f"{inner}.{node.attr}"
    return None


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.expr) and (name := _dotted(node)) is not None:
        return {name}
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.Call):
        children = iter(node.args)
    return {name for child in children for name in _names(child)}


def _kind(value: Any) -> str:
    """Return ``number``, ``time``, ``rate`` or ``size``, "" for anything else."""
    if isinstance(value, str):
        try:
            return quantity(value)[1]
        except UnitError:
            return ""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    if isinstance(value, str):
        try:
            return quantity(value)[0]
        except UnitError:
            return value
    return value


class Template:
    """A value of ``[sweep.set]``: text in which ``{expressions}`` are replaced, in lists and tables as well.

    A text that is one expression and nothing else keeps the expression's type.

    Attributes:
        names: the axes that occur in it.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        self._parts: list[Expression] = []
        if isinstance(value, str):
            self._parts = [Expression(inner) for inner in _FIELD.findall(value)]
        self._items: dict[Any, Template] = {}
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            self._items = {key: Template(item) for key, item in pairs}
        names = [part.names for part in self._parts] + [item.names for item in self._items.values()]
        self.names: set[str] = set().union(*names)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Return the value at a point.

        Raises:
            ExpressionError: as ``Expression``.
        """
        if self._items:
            filled = {key: item(values) for key, item in self._items.items()}
            return filled if isinstance(self._value, dict) else list(filled.values())
        if not self._parts:
            return self._value
        if _FIELD.fullmatch(self._value):
            return self._parts[0](values)
        results = iter([_text(part(values)) for part in self._parts])
        return _FIELD.sub(lambda match: next(results), self._value)


def _text(value: Any) -> str:
    """Return a value for a text; a whole float without its point, any other as short as it is exact."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
