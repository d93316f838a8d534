"""From data to a model, and from pydantic's errors to a ``Problem`` in the words of TOML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.scenario.events import EVENTS, actions_with
from mptcpsim.scenario.flows import FLOWS
from mptcpsim.suggest import did_you_mean

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], data: Any, at: KeyPath = (), more: Sequence[str] = ()) -> M:
    """Return the model of some data.

    Args:
        model: what the data are to be.
        data: as they were read.
        at: where in the scenario they stand.
        more: keys beside the model's that may stand at its top, to suggest them.

    Raises:
        Problem: the mistake that most likely causes the others.
    """
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        problem = _problem(_first(failure.errors(include_url=False)), model, more)
        raise Problem((*at, *problem.path), problem.text) from None


def _first(errors: list[ErrorDetails]) -> ErrorDetails:
    """Return the error that most likely causes the others: an unknown key before a missing one."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def _path(loc: tuple[int | str, ...]) -> KeyPath:
    """Return the path of a key without the marks that tell the members of a union apart."""
    parts = [part for part in loc if not (isinstance(part, str) and part.startswith("<"))]
    if len(parts) > 2 and parts[0] == "flows" and parts[2] in FLOWS:
        del parts[2]
    return tuple(parts)


def _model_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model whose fields may stand at a place, to suggest a key."""
    found: Any = root
    for part in loc:
        if isinstance(part, str) and part in FLOWS:
            found = FLOWS[part]
        elif isinstance(found, type) and issubclass(found, BaseModel) and part in found.model_fields:
            found = found.model_fields[str(part)].annotation
        else:
            found = _element(found, part)
        if found is None:
            return None
    return next((item for item in _flatten(found) if issubclass(item, BaseModel)), None)


def _keys_below(model: type[BaseModel]) -> list[str]:
    """Return the keys of the tables in a table, as ``tcp.congestion``: there they may be meant."""
    return [
        f"{name}.{key}"
        for name, field in model.model_fields.items()
        if isinstance(field.default, BaseModel)
        for key in type(field.default).model_fields
    ]


def _element(annotation: Any, part: int | str) -> Any:
    """Return the type of an entry of a list or a table type, or the member of a union by its tag."""
    if hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    for argument in get_args(annotation):
        if isinstance(part, str) and part.startswith("<"):
            tags = [getattr(mark, "tag", None) for mark in getattr(argument, "__metadata__", ())]
            if part in tags:
                return get_args(argument)[0]
    arguments = [item for item in get_args(annotation) if item not in (Ellipsis, str, type(None))]
    return arguments[0] if arguments else None


def _flatten(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _flatten(argument)]


def _problem(error: ErrorDetails, root: type[BaseModel], more: Sequence[str]) -> Problem:
    loc = error["loc"]
    path = _path(loc)
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        wanted = actions_with(str(loc[-1])) if path[:1] == ("events",) else ()
        if wanted and len(path) == 3:
            names = " and ".join(map(repr, wanted))
            return Problem(path, f"{loc[-1]} belongs to action {names}: leave it out, or write that action")
        model = _model_at(root, loc[:-1])
        keys = [*(model.model_fields if model else ()), *(more if len(loc) == 1 else ())]
        hint = did_you_mean(str(loc[-1]), keys, _keys_below(model) if model else ())
        return Problem(path, f"unknown key {str(loc[-1])!r}; {hint}")
    if kind == "missing":
        return Problem(path, f"the key {str(loc[-1])!r} is missing: add it")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = "action" if path[:1] == ("events",) else "app"
        known = list(EVENTS if key == "action" else FLOWS)
        given = error["input"].get(key) if isinstance(error["input"], dict) else None
        if given is None:
            return Problem(path, f"the key {key!r} is missing: add it")
        return Problem((*path, key), f"unknown {key} {given!r}; {did_you_mean(str(given), known)}")
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind == "too_short":
        what = str(path[-1]) if path else "it"
        return Problem(path, f"{what} has too few entries: give at least {context['min_length']}")
    if kind == "too_long":
        return Problem(path, f"too many entries: give {context['max_length']} at most")
    return Problem(path, f"{_plain(error)} (got {error['input']!r})")


def _plain(error: ErrorDetails) -> str:
    """Return pydantic's text in the words of TOML."""
    texts = {
        "string_type": 'write a string in quotes, such as "name"',
        "string_too_short": "it is empty: write a name",
        "dict_type": "write a table of named entries here",
        "tuple_type": "write a list here, in brackets",
        "model_type": "write a table of keys here",
        "model_attributes_type": "write a table of keys here",
        "bool_type": "write true or false",
        "bool_parsing": "write true or false",
    }
    message = error["msg"].replace("Input should be", "it must be")
    return texts.get(error["type"], message)
